"""A page's commands, and what it shows of their output.

A console block holds commands (``$ ...``) and what each printed. Where a line ``...`` stands, only
the paragraphs that begin like those shown are kept, in their order. A figure names, in a comment
behind it, the file that a command of the page drew: ``![...](x.svg)<!-- run/figures/x.svg -->``.
Python blocks without a file's name are cells; an ``output`` block has what the last one printed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
Run = Callable[[list[str], str], str]  # the words of a command and a folder -> what it printed

FENCE = re.compile(r"```(\w+)(?: (\S+))?\n(.*?)```", flags=re.DOTALL)
FIGURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)<!-- (\S+) -->")
LEFT_OUT = "..."
_RUN = re.compile(r"^```(console\n\$ |python$)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is (or ""), its text."""

    language: str
    name: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    for found in FENCE.finditer(text):
        yield Block(found[1], found[2] or "", found[3])


def commands(console: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with what stands under it."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def shown_of(said: str, shown: str) -> str:
    """Return what a page shows of what a command said.

    Raises
    ------
    ValueError
        If a paragraph shown is no longer there.
    """
    if LEFT_OUT not in shown.splitlines():
        return said
    left, kept = [p for p in re.split(r"\n{2,}", said.strip("\n")) if p], []
    for part in re.split(r"(?m)^\.\.\.$", shown):
        told = []
        for wanted in (p for p in re.split(r"\n{2,}", part.strip("\n")) if p):
            index = _nearest(left, wanted.splitlines()[0])
            told.append(left[index])
            left = left[index + 1 :]
        kept.append("\n\n".join(told))
    return f"\n{LEFT_OUT}\n".join(kept).strip("\n") + "\n"


def _nearest(paragraphs: list[str], wanted: str) -> int:
    """Return in which paragraph one of the first lines begins most like `wanted`."""
    heads = [paragraph.splitlines()[:4] for paragraph in paragraphs]
    alike = [max(_same(line, wanted) for line in lines) for lines in heads]
    best = max(alike, default=0)
    if best < min(len(wanted), 8):
        raise ValueError(f"no paragraph begins like '{wanted}'")
    return alike.index(best)


def _told(command: str, shown: str, once: Callable[[str], str]) -> str:
    said = once(command)
    try:
        return f"$ {command}\n{shown_of(said, shown)}"
    except ValueError as error:
        raise ValueError(f"{command}: {error}, in:\n{said}") from None


def _same(text: str, other: str) -> int:
    """Return how many letters two texts begin alike with."""
    pairs = zip(text, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def retold(page: Path, run: Run, *, draw: bool = True) -> str:
    """Return a page as its own commands tell it now; with `draw`, put its figures beside it.

    Blocks that name a file are written, blocks of a console are run, one after another in an empty
    folder; what a command prints replaces what stood under it. A command that stands twice is run
    once, and may show other paragraphs; again, if a file has been written in between.
    """
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        cells, printed_last = Cells(Path(folder)), ""
        once = functools.cache(lambda command: run(shlex.split(command), folder))

        def again(found: re.Match[str]) -> str:
            nonlocal printed_last
            block = Block(found[1], found[2] or "", found[3])
            if block.name:
                (Path(folder) / block.name).write_text(block.text, encoding="utf-8")
                once.cache_clear()
            elif block.language == "python":
                printed_last = cells.run(block.text)
            elif block.language == "output":
                return f"```output\n{printed_last}```"
            elif block.language == "console":
                told = [_told(*each, once) for each in commands(block.text)]
                return f"```console\n{''.join(told)}```"
            return found[0]

        told = FENCE.sub(again, text)
        for target, drawn in FIGURE.findall(text) if draw else ():
            (page.parent / target).parent.mkdir(exist_ok=True)
            shutil.copy(Path(folder) / drawn, page.parent / target)
    return told


class Cells:
    """The Python blocks of a page, run one after another like cells of a notebook."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, object] = {"__name__": "__main__"}

    def run(self, text: str) -> str:
        """Run one block in the page's folder; return what it printed."""
        said = io.StringIO()
        with contextlib.chdir(self._folder), contextlib.redirect_stdout(said):
            exec(compile(text, "cell", "exec"), self._names)
        return said.getvalue()


def told_pages() -> list[Path]:
    """Return the pages with commands or Python to be run."""
    found = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
    return sorted(p for p in found if _RUN.search(p.read_text(encoding="utf-8")))


def printed(words: list[str], folder: str) -> str:
    """Return what a command prints; of one that is refused, why."""
    program, *words = words
    there = Path(sys.executable)
    there = there if program == "python" else there.with_name(program)
    done = subprocess.run(
        [str(there), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    said = done.stdout + (done.stderr if done.returncode else "")
    return re.sub(r" in [0-9.]+s$", "", said.replace(str(there), program), flags=re.MULTILINE)
