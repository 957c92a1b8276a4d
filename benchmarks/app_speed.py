"""The local page in figures: start, first room, sliders, the lab's dial, twenty users, memory.

Run it on an idle Linux machine with Chromium: ``python benchmarks/app_speed.py``. It exits with 1
where a bound is missed.

A slider is moved by an arrow key in the browser; its time runs, by the browser's own clock, from
the key to the frame after the one in which the answer was put on the page. Every move asks for what
nobody asked before. The lab's dial has three times: a first answer of 256 trials (its bound is that
of a slider), the whole one, and the trials one by one; the same without a browser is the bare
round trip to the server. Processor seconds are those of the server and its processes.
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
from math import inf
from pathlib import Path
from statistics import median

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
MOVES, DIAL_MOVES, USERS, REQUESTS = 45, 24, 20, 8
# Of a page: begins at the next key, and notes when each regular expression first fits the command
# and the address of an answer that has the element named with it.
WATCH = """steps => {
  const seen = {}, answer = document.getElementById("answer");
  let began = 0;
  addEventListener("keydown", event => { began ||= event.timeStamp; }, {capture: true});
  const look = () => {
    const command = document.getElementById("command");
    for (const [name, fits, element] of steps) {
      const told = `${command ? command.textContent.trim() : ""} ${location.search}`.trim();
      if (name in seen || !RegExp(fits).test(told)) continue;
      if (!answer.querySelector(element)) continue;
      seen[name] = null;
      const note = () => { seen[name] = performance.now() - began; };
      requestAnimationFrame(() => requestAnimationFrame(note));
    }
    if (Object.keys(seen).length === steps.length) watcher.disconnect();
  };
  const watcher = new MutationObserver(look);
  watcher.observe(document.body, {childList: true, subtree: true});
  window.seen = seen;
}"""
Step = tuple[str, str, str]  # name, what fits command and address, the element that is then there


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


def moved(tab: Page, slider: str, key: str, steps: list[Step]) -> dict[str, float]:
    """Press a key on a slider; return the seconds from it until each step is painted."""
    tab.evaluate(WATCH, steps)
    tab.locator(f"[data-slides={slider}]").press(key)
    names = [name for name, _, _ in steps]
    tab.wait_for_function("names => names.every(name => window.seen[name])", arg=names)
    seen = tab.evaluate("window.seen")
    return {name: seen[name] / 1_000 for name in names}


def size_slider(browser: Browser, address: str) -> list[float]:
    """Return the seconds from a key on the power wanted to the answer and its charts."""
    tab = browser.new_page()
    tab.goto(f"{address}/size?power=50")
    tab.locator("#n-total").wait_for()
    taken = []
    for power in range(51, 51 + MOVES):
        option = "" if power == 80 else f" --power {power / 100:g}"  # 80% is at rest
        steps = [("answer", rf"size sepsis{option}( \?|$)", "#n-total")]
        taken.append(moved(tab, "f-power", "ArrowRight", steps)["answer"])
    tab.close()
    return taken


def followup_slider(browser: Browser, address: str) -> list[float]:
    """Return the seconds from a key on the day of the read-out to the answer and its charts."""
    tab = browser.new_page()
    tab.goto(f"{address}/followup?horizon=30")
    tab.locator("#power").wait_for()
    taken = []
    for half_months in range(59, 59 - DIAL_MOVES, -1):
        months = half_months / 2
        steps = [("answer", rf"\?horizon={months:g}$", "#power")]
        taken.append(moved(tab, "f-horizon", "ArrowLeft", steps)["answer"])
    tab.close()
    return taken


def lab_dial(browser: Browser, address: str) -> list[dict[str, float]]:
    """Return, per move of a flaw's strength, the seconds to each of the three answers."""
    tab = browser.new_page()
    tab.goto(f"{address}/bias-lab")
    tab.locator("#n-published").wait_for()  # all of it is there
    taken = []
    for percent in range(18, 18 + DIAL_MOVES):
        flaw = f"--flaw exclusion={percent / 100:g}\\s"
        whole = f"{flaw}.*--replicates 1000 "
        taken.append(
            moved(
                tab,
                "f-exclusion",
                "ArrowRight",
                [
                    ("first", flaw, "#published"),
                    ("whole", whole, "#published"),
                    ("one by one", whole, "#n-published"),
                ],
            )
        )
    tab.close()
    return taken


def lab_over_http(address: str) -> list[dict[str, float]]:
    """Return the same of a client that asks as the page's script does, and draws nothing."""
    taken = []
    with httpx.Client(timeout=60, headers={"x-tab": "0123456789abcdef"}) as client:
        for percent in range(50, 50 + DIAL_MOVES):
            asked = {"exclusion": str(percent), "part": "answer"}
            began, seen = time.perf_counter(), {}
            text = client.get(f"{address}/bias-lab", params={**asked, "quick": "1"}).text
            assert "published" in text
            seen["first"] = time.perf_counter() - began
            while "one by one" not in seen:
                text = client.get(f"{address}/bias-lab", params=asked).text
                now = time.perf_counter() - began
                if "--replicates 1000" in text.partition('id="command"')[2].partition("<")[0]:
                    seen.setdefault("whole", now)
                    if 'id="n-published"' in text:
                        seen["one by one"] = now
                time.sleep(0.02)
            taken.append(seen)
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


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # each thread has its own
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [pid, *(below for child in children for below in family(child))]


def megabytes(pid: int, kind: str) -> float:
    """Return the memory of a process: Rss, or Pss, in which what is shared is counted once."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) for line in told.splitlines() if line.startswith(f"{kind}:"))
    return own / 1024


def processor_seconds(pid: int) -> float:
    """Return what a process and all below it have computed so far."""
    taken = 0.0
    for own in family(pid):
        counted = Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()
        taken += (int(counted[11]) + int(counted[12])) / os.sysconf("SC_CLK_TCK")
    return taken


def _row(what: str, taken: list[float], bound: float = inf) -> tuple[str, float, float]:
    told = f"{what}, p95 of {len(taken)}, s (median {median(taken):.3f})"
    return told, p95(taken), bound


def main() -> int:
    """Measure and print; say what misses its bound."""
    if not (shutil.which("chromium") and Path("/proc").is_dir()):
        print("needs Linux and Chromium")
        return 0
    load = os.getloadavg()[0]
    with served() as (address, pid, ready), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        first = first_room(browser, address)
        moves, horizons = size_slider(browser, address), followup_slider(browser, address)
        before = processor_seconds(pid)
        dial = lab_dial(browser, address)
        computed = (processor_seconds(pid) - before) / len(dial)
        bare = lab_over_http(address)
        tabs = [browser.new_page() for _ in range(4)]
        for tab, room in zip(tabs, ("size", "followup", "bias-lab", "evidence"), strict=True):
            tab.goto(
                f"{address}/{room}?exclusion=90" if room == "bias-lab" else f"{address}/{room}"
            )
        tabs[2].locator("#n-published").wait_for()
        with ThreadPoolExecutor(1) as apart:  # the browser's driver has a loop of its own
            answers, lost = apart.submit(lambda: asyncio.run(users(address))).result()
        processes = family(pid)
        shared = [megabytes(own, "Pss") for own in processes]
        resident = [megabytes(own, "Rss") for own in processes]
        browser.close()
    rows = (
        ("ready, s", ready, 3.0),
        ("first room with its answer, s", first, 1.0),
        _row("Size: slider", moves, 0.3),
        _row("Follow-up: slider", horizons, 0.3),
        _row("Bias lab: dial, first answer", [move["first"] for move in dial], 0.3),
        _row("Bias lab: dial, whole answer", [move["whole"] for move in dial]),
        _row("Bias lab: dial, trials one by one", [move["one by one"] for move in dial]),
        _row("Bias lab over HTTP, first answer", [move["first"] for move in bare], 0.3),
        _row("Bias lab over HTTP, whole answer", [move["whole"] for move in bare]),
        _row("Bias lab over HTTP, one by one", [move["one by one"] for move in bare]),
        ("Bias lab: processor seconds a move, all three", computed, inf),
        _row(f"{USERS} users", answers, 2),
        ("answers lost", lost, 0.5),
        ("memory with four tabs, Pss, MB", sum(shared), 400),
    )
    for what, value, bound in rows:
        told = "" if bound == inf else f"   bound {bound:g}{'' if value < bound else '   MISSED'}"
        print(f"{what:62} {value:8.3f}{told}")
    each = zip(resident, shared, strict=True)
    told = ", ".join(f"{rss:.0f} ({pss:.0f})" for rss, pss in each)
    print(f"Rss (Pss) of each process, MB: {told}")
    print(f"load of the machine {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end,")
    print(f"on {os.cpu_count()} processors")
    return any(value >= bound for _, value, bound in rows)


if __name__ == "__main__":
    sys.exit(main())
