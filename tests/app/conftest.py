"""One page and one browser for all tests of the page."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import ROOT, needs
from trialsim.app import worker
from trialsim.app.pool import Job, Pool
from trialsim.app.web import make_app

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


def started(folder: Path, port: str = "0") -> Page:
    process = subprocess.Popen(
        [sys.executable, "-m", "trialsim", "app", "--no-browser", "--port", port],
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
    page.process.terminate()  # a killed one has ended already
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


class AtOnce(Pool):
    """Computes what is asked for before it is asked again, in this process."""

    def submit(self, what: str, order: Any, tab: str = "", *, long: bool = False) -> Job:
        job = super().submit(what, order, tab, long=long)
        self._waiting.clear()
        found, trouble = worker._served(self, what, order)
        assert not trouble, trouble
        job.outcome.set_result(found)
        return job

    def send(self, told: object) -> None:
        """Take what a process says of its progress."""


def visited(app: Any, *requests: httpx.Request) -> list[httpx.Response]:
    """Return what an application answers, one request after another, without a server."""

    async def visits() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [await client.send(request) for request in requests]

    return asyncio.run(visits())


@pytest.fixture
def at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., httpx.Response]:
    """Return a function that asks a page without processes: ``at_once("/size?power=90")``."""
    monkeypatch.chdir(tmp_path)  # where a page started there reads files from
    app = make_app(hosts=frozenset({"here"}), pool=AtOnce())

    def asked(path: str, **query: str) -> httpx.Response:
        (found,) = visited(app, httpx.Request("GET", f"http://here{path}", params=query or None))
        return found

    return asked


@dataclass
class Visitor:
    """A browser window that notes what it should never have to."""

    tab: Any
    requests: list[str]
    complaints: list[str]

    def leaves_nothing_to_complain_of(self, address: str) -> None:
        """Fail where something left the machine, or the console has an error."""
        outside = [url for url in self.requests if not url.startswith((f"{address}/", "data:"))]
        assert not outside
        assert not self.complaints


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens a window: ``visitor(color_scheme="dark")``."""
    contexts = []

    def opened(**how: Any) -> Visitor:
        context = chromium.new_context(**how)
        contexts.append(context)
        found = Visitor(context.new_page(), [], [])
        found.tab.set_default_timeout(60_000)
        found.tab.on("request", lambda request: found.requests.append(request.url))
        found.tab.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.tab.on(
            "console",
            lambda told: told.type in ("error", "warning") and found.complaints.append(told.text),
        )
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")  # its driver must not be there while others parse Python
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium")
    needs("browser", path)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
