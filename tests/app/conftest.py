"""One page and one browser for all tests of the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, needs

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
HOSTILE_TITLE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@dataclass(frozen=True)
class Page:
    """A page that runs: where it is, and the folder it was started in."""

    address: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://")


def started(folder: Path) -> Page:
    process = subprocess.Popen(
        [sys.executable, "-m", "trialsim", "app", "--no-browser", "--port", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:[0-9]+", told)
    assert found, told
    return Page(found[0], folder, process)


def ended(page: Page) -> None:
    page.process.terminate()
    page.process.wait(20)
    assert page.process.stderr is not None
    page.process.stderr.close()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    outside = tmp_path_factory.mktemp("outside") / "secret.yaml"
    outside.write_text((ROOT / "protocols" / "sepsis.yaml").read_text())
    folder = tmp_path_factory.mktemp("working")
    text = (ROOT / "protocols" / "sepsis.yaml").read_text()
    hostile = re.sub(r"^title: .*$", f"title: '{HOSTILE_TITLE}'", text, count=1, flags=re.MULTILINE)
    (folder / "hostile.yaml").write_text(hostile)
    (folder / "notes.txt").write_text("not for anybody\n")
    (folder / "link.yaml").symlink_to(outside)
    found = started(folder)
    yield found
    ended(found)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium")
    needs("browser", path)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
