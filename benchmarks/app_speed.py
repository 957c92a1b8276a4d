"""The local page in figures: start, first room, a slider, twenty users, memory.

Run it on an idle Linux machine with Chromium: ``python benchmarks/app_speed.py``. It exits with 1
where a bound is missed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
MOVES, USERS, REQUESTS = 45, 20, 8


def p95(values: list[float]) -> float:
    """Return the 95th percentile, the nearest rank."""
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


@contextmanager
def served() -> Iterator[tuple[str, int, float]]:
    """Start the page; yield its address, its process and the seconds until it answered."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "trialsim", "app", "--no-browser", "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:[0-9]+", process.stderr.readline())
        assert found
        ready = time.perf_counter() - began
        try:
            yield found[0], process.pid, ready
        finally:
            process.terminate()
            process.wait(20)
            process.stderr.close()


def first_room(browser: Browser, address: str) -> float:
    """Return the seconds until the first room is painted with its answer, nothing kept before."""
    tab = browser.new_page()
    began = time.perf_counter()
    tab.goto(f"{address}/size")
    tab.locator("#n-total").wait_for()
    seconds = time.perf_counter() - began
    tab.close()
    return seconds


def slider(browser: Browser, address: str) -> list[float]:
    """Return the seconds from a key on the slider to the answer and its charts on the page."""
    tab = browser.new_page()
    tab.goto(f"{address}/size?power=50")
    tab.locator("#n-total").wait_for()
    taken = []
    for power in range(51, 51 + MOVES):
        began = time.perf_counter()
        tab.locator("[data-slides=f-power]").press("ArrowRight")
        option = "" if power == 80 else f" --power {power / 100:g}"  # 80% is at rest
        tab.locator("#command", has_text=re.compile(f"size sepsis{option}$")).wait_for()
        taken.append(time.perf_counter() - began)
    tab.close()
    return taken


async def users(address: str) -> tuple[list[float], int]:
    """Return the seconds of every answer of all users together, and how many were lost."""
    taken: list[float] = []
    lost = 0

    async def one(number: int) -> None:
        nonlocal lost
        async with httpx.AsyncClient(timeout=60) as client:
            for step in range(REQUESTS):
                total = 400 + 20 * (number * REQUESTS + step)
                began = time.perf_counter()
                while True:
                    reply = await client.get(f"{address}/size?total={total}")
                    if "data-job" not in reply.text:
                        break
                    await asyncio.sleep(0.1)
                taken.append(time.perf_counter() - began)
                lost += "n-total" not in reply.text
                await asyncio.sleep(0.5)  # a person looks at the answer

    await asyncio.gather(*(one(number) for number in range(USERS)))
    return taken, lost


def megabytes(pid: int) -> float:
    """Return the memory of a process and all below it, what they share counted once."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # each thread has its own
    children = [child for task in tasks for child in task.read_text().split()]
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:"))
    return own / 1024 + sum(megabytes(int(child)) for child in children)


def main() -> int:
    """Measure and print; say what misses its bound."""
    if not (shutil.which("chromium") and Path("/proc").is_dir()):
        print("needs Linux and Chromium")
        return 0
    with served() as (address, pid, ready), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        first = first_room(browser, address)
        moves = slider(browser, address)
        tabs = [browser.new_page() for _ in range(4)]
        for tab, room in zip(tabs, ("size", "followup", "bias-lab", "evidence"), strict=True):
            tab.goto(f"{address}/{room}")
        with ThreadPoolExecutor(1) as apart:  # the browser's driver has a loop of its own
            answers, lost = apart.submit(lambda: asyncio.run(users(address))).result()
        memory = megabytes(pid)
        browser.close()
    rows = (
        ("ready, s", ready, 3.0),
        ("first room with its answer, s", first, 1.0),
        (f"slider, p95 of {len(moves)} moves, s (median {median(moves):.3f})", p95(moves), 0.3),
        (
            f"{USERS} users, p95 of {len(answers)}, s (median {median(answers):.3f})",
            p95(answers),
            2,
        ),
        ("answers lost", lost, 0.5),
        ("memory with four tabs, MB", memory, 400),
    )
    for what, value, bound in rows:
        print(f"{what:52} {value:8.3f}   bound {bound:g}{'' if value < bound else '   MISSED'}")
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return any(value >= bound for _, value, bound in rows)


if __name__ == "__main__":
    sys.exit(main())
