"""The documentation site: built as `make docs` builds it, then read from the disk, offline."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from cli.test_browser import FLAGS
from conftest import ROOT, needs
from trialsim.cli.parser import command_line
from trialsim.protocol.reading.load import json_schemas
from trialsim.protocol.reading.places import template_paths
from trialsim.protocol.rules.scope import refused_designs
from trialsim.trial import Measure

OUTSIDE = re.compile(r"^\s*(https?:)?//", flags=re.IGNORECASE)
LOADED = ("src", "srcset", "data", "poster", "background", "action", "formaction", "manifest")
STYLE = re.compile(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)")
# An address from which a script could load another script, a style, a font or a picture.
LOADABLE = re.compile(r"(?:https?:)?//[\w.-]+/[^\s\"'`]*\.(?:m?js|css|woff2?|ttf|svg|png)\b|unpkg")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    needs("site", importlib.util.find_spec("mkdocs") and importlib.util.find_spec("material"))
    at = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(at)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return at


class Resources(HTMLParser):
    """What a page loads without being asked; links that a reader follows are not among it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.styles = False

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in LOADED or (name == "href" and tag not in ("a", "area")):
                self.found += [value or ""] if name != "srcset" else (value or "").split(",")
            elif name == "style":
                self.found += styled(value or "")
        self.styles = tag == "style"

    def handle_data(self, data):
        if self.styles:
            self.found += styled(data)


def styled(text: str) -> list[str]:
    return [found[1] or found[2] for found in STYLE.finditer(text)]


def resources(path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".html", ".svg"):
        page = Resources()
        page.feed(text)
        return page.found
    return styled(text) if path.suffix == ".css" else LOADABLE.findall(text)


def test_property_no_resource_of_the_site_comes_from_outside(site):
    kinds = (".html", ".svg", ".css", ".js")
    read = [path for path in site.rglob("*") if path.suffix in kinds]
    assert {path.suffix for path in read} == {*kinds}
    for path in read:
        outside = [what for what in resources(path) if OUTSIDE.match(what) or "unpkg" in what]
        assert not outside, f"{path.name}: {outside}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<link rel="stylesheet" href="https://fonts.example/css">'),
        ("a.html", '<script src="//cdn.example/x.js"></script>'),
        ("a.html", "<style>p { background: url('http://x.example/p.png') }</style>"),
        ("a.css", "@import 'https://x.example/y.css';"),
        ("a.js", 'load("https://unpkg.com/mermaid@11/dist/mermaid.min.js")'),
    ],
)
def test_property_a_resource_from_outside_would_be_found(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    found = resources(tmp_path / name)
    assert any(OUTSIDE.match(what) or "unpkg" in what for what in found)


def test_property_every_link_within_the_site_leads_to_a_file_of_it(site):
    for page in site.rglob("*.html"):
        links = re.findall(r"<a[^>]* href=\"([^\"#?]+)", page.read_text(encoding="utf-8"))
        for link in (a for a in links if not re.match(r"\w+:|//", a)):
            at = site / link.lstrip("/") if link.startswith("/") else page.parent / link
            assert at.exists(), f"{page.name}: {link}"


def test_regression_formulas_are_mathml_and_code_stays_as_it_is():
    needs("site", importlib.util.find_spec("latex2mathml"))
    import website

    formulas: list[str] = []
    code = "```console\n$ trialsim list\n$ x\n```\n`$HOME` $5 and $6."
    text = f"A $n_1$ and\n\n$$\\frac{{a}}{{b}}$$\n\n{code}"
    left = website.with_formulas(text, formulas)
    assert left == f"A formula0stashed and\n\nformula1stashed\n\n{code}"
    assert "<msub><mi>n</mi><mn>1</mn></msub>" in formulas[0]
    assert 'display="block"' in formulas[1]
    assert "<mfrac>" in formulas[1]


def test_regression_the_search_answers_from_the_disk_and_nothing_fails(site, tmp_path):
    chromium = shutil.which("chromium")
    needs("browser", chromium)
    seen = subprocess.run(
        [
            str(chromium),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=8000",
            "--dump-dom",
            f"{(site / 'index.html').as_uri()}?q=MaxCombo",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert re.search(r"search-result__meta\">\d+ matching documents", seen.stdout)
    assert "CONSOLE" not in seen.stderr  # no error, no refused request


def test_property_every_command_key_measure_and_template_has_its_place_on_the_site(site):
    def page(name: str) -> str:
        return (site / f"{name}.html").read_text(encoding="utf-8")

    commands = page("reference/commands")
    for parser in command_line()._subparsers._group_actions[0].choices.values():
        for action in parser._actions:
            told = action.help is argparse.SUPPRESS or action.dest == "help"
            assert told or action.option_strings == [] or f">{action.option_strings[0]}" in commands
    keys = page("reference/keys")
    for name, schema in json_schemas()["protocol"]["$defs"].items():
        for key in schema.get("properties", {}):
            assert f"<code>{key}</code>" in keys, f"{name}.{key}"
    results = page("reference/results")
    assert all(f"<td>{measure.value}</td>" in results for measure in Measure)
    for name in template_paths():
        assert f"trialsim show {name}" in re.sub("<[^>]+>", "", page(f"catalogue/{name}"))
    refused = page("not-supported")
    assert all(what in refused for what, _ in refused_designs())
