"""What turns the Markdown of ``docs/`` and ``examples/`` into the site: a hook of mkdocs.

Formulas become MathML here, once, so that a page needs no script to show them; pages that the
program itself can tell are told by it; links to files that are no pages become their names.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from reference import reference_pages

ROOT = Path(__file__).parents[1]

_VERBATIM = re.compile(r"(^ *```.*?^ *```$|^ {4}.*?$|`+[^`\n]+`+)", flags=re.DOTALL | re.MULTILINE)
_FORMULA = re.compile(
    r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?=\S)(?P<inline>[^$\n]+?)(?<=\S)\$(?![\w$])",
    flags=re.DOTALL,
)
_NAMED_FENCE = re.compile(r"^```(\w+) (\S+)$", flags=re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")
_STASHED = re.compile(r"<p>formula(\d+)stashed</p>|formula(\d+)stashed")


def with_formulas(text: str, formulas: list[str]) -> str:
    """Return Markdown with each formula, ``$...$`` or ``$$...$$``, taken out.

    The MathML goes to the end of ``formulas``, where Markdown cannot touch it; a word with its
    place is left. Code is left alone.
    """

    def taken(found: re.Match[str]) -> str:
        display = str(found.lastgroup)
        formulas.append(convert(found[display].strip(), display=display))
        return f"formula{len(formulas) - 1}stashed"

    parts = _VERBATIM.split(text)
    parts[::2] = [_FORMULA.sub(taken, part) for part in parts[::2]]
    return "".join(parts)


def with_links(text: str, page: str) -> str:
    """Return Markdown in which links out of ``docs/`` lead to pages of the site, or nowhere."""

    def led(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        here = posixpath.dirname(source_of(page))
        there = posixpath.normpath(posixpath.join(here, target))
        if not there.startswith(("docs/", "examples/")):
            if not (ROOT / there).exists():
                raise FileNotFoundError(f"{page}: {target} is no file")
            return words
        wanted = there.removeprefix("docs/")
        return f"[{words}]({posixpath.relpath(wanted, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(led, text)


def source_of(page: str) -> str:
    """Return the path in the repository of a page of the site."""
    return page if page.startswith("examples/") else f"docs/{page}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the program tells, and what lies outside ``docs/``: examples, sheets of lessons."""
    for at, text in reference_pages().items():
        files.append(File.generated(config, at, content=text))
    for path in sorted((ROOT / "examples").rglob("*")):
        if path.suffix in (".html", ".svg", ".md", ".ipynb") and path.name not in _NO_PAGES:
            at = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, at, abs_src_path=str(path)))
    return files


_NO_PAGES = ("student.md", "teacher.md")  # what the sheets of the lessons are made of


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Prepare a page for the Markdown processor."""
    formulas: list[str] = []
    page.meta["formulas"] = formulas
    text = with_links(markdown, page.file.src_uri)
    text = _NAMED_FENCE.sub(r'```\1 title="\2"', text)
    return with_formulas(text, formulas)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Put the formulas back."""
    formulas = page.meta["formulas"]
    return _STASHED.sub(lambda found: formulas[int(found[1] or found[2])], html)


def on_post_build(config: MkDocsConfig) -> None:
    """Take the two addresses out of the theme's script from which it could load another.

    The page for a server that finds nothing has addresses that lead nowhere on a disk: it goes.
    """
    (Path(config.site_dir) / "404.html").unlink()
    for script in Path(config.site_dir).glob("assets/javascripts/bundle.*.js"):
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace("https://unpkg.com/", "not-shipped/"), encoding="utf-8")
    for left in Path(config.site_dir).glob("assets/**/*.map"):
        left.unlink()
    shutil.rmtree(Path(config.site_dir) / "assets" / "javascripts" / "lunr")  # other languages
