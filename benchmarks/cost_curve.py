"""How cost grows with replicates and with patients: a table, and docs/images/cost-curve.svg."""

from __future__ import annotations

import sys
import time
from math import log2
from pathlib import Path
from statistics import median

import designs
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator

from trialsim.figures.style import save_svg

PATIENTS = (50, 100, 200, 400, 800, 1600, 3200)
REPLICATES = (5_120, 10_240, 20_480, 40_960, 81_920)
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def of_patients(n: int) -> float:
    """Microseconds a trial of n patients, log-rank at 5/8 n events, the kernel alone."""
    rng = np.random.Generator(np.random.SFC64(1))
    rates = designs.per_second(
        lambda: designs.log_rank(rng, events=(n * 5 // 8,), n=n), designs.BLOCK, 0.2
    )
    return 1e6 / median(rates)


def of_replicates(n: int) -> float:
    """Seconds of a whole run of n trials of 400."""
    job = designs.survival_job()
    designs.whole_run(job, 256)
    found = []
    for _ in range(3):
        start = time.perf_counter()
        designs.whole_run(job, n)
        found.append(time.perf_counter() - start)
    return median(found)


def main() -> int:
    """Measure, print, draw."""
    patients = [of_patients(n) for n in PATIENTS]
    replicates = [of_replicates(n) for n in REPLICATES]
    print("patients   us a trial   ns per n log2 n")
    for n, cost in zip(PATIENTS, patients, strict=True):
        print(f"{n:8,}   {cost:10.2f}   {1e3 * cost / (n * log2(n)):15.2f}")
    print("trials     seconds      us a trial")
    for n, cost in zip(REPLICATES, replicates, strict=True):
        print(f"{n:8,}   {cost:7.2f}      {1e6 * cost / n:10.1f}")
    draw(patients, replicates)
    return 0


def draw(patients: list[float], replicates: list[float]) -> None:
    """Draw microseconds a trial by patients, and seconds a run by trials."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.loglog(PATIENTS, patients, "o-", label="measured")
    scale = patients[3] / (400 * log2(400))
    left.loglog(PATIENTS, [scale * n * log2(n) for n in PATIENTS], ":", label="n log n")
    left.set(xlabel="patients", ylabel="microseconds a trial", title="One log-rank trial")
    right.loglog(REPLICATES, replicates, "o-", label="measured")
    right.loglog(
        REPLICATES, [replicates[-1] * n / REPLICATES[-1] for n in REPLICATES], ":", label="linear"
    )
    right.set(xlabel="simulated trials", ylabel="seconds", title="A whole run, 400 patients")
    for axes, sizes in ((left, PATIENTS), (right, REPLICATES)):
        axes.legend(frameon=False)
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
        axes.yaxis.set_major_formatter(lambda cost, _: f"{cost:g}")
        axes.minorticks_off()
    with (IMAGES / "cost-curve.svg").open("w", encoding="utf-8", newline="\n") as stream:
        what = "Cost grows as n log n in patients and linearly in trials."
        save_svg(figure, stream, "cost-curve", what)


if __name__ == "__main__":
    sys.exit(main())
