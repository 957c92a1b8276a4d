"""What a second worker gains on a run of half a minute, and what keeping results costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trialsim import load_template, plan_simulation
from trialsim.engine.run import run
from trialsim.engine.store import ChunkFolder

COMMAND = str(Path(sys.executable).with_name("trialsim"))
REPLICATES = 250_000


class Timed(ChunkFolder):
    """A store that knows how long it took."""

    seconds = 0.0

    def keep(self, chunks, first, count):  # type: ignore[no-untyped-def]
        """Keep, and look at the clock."""
        start = time.perf_counter()
        super().keep(chunks, first, count)
        self.seconds += time.perf_counter() - start


def seconds_with(workers: int) -> float:
    """Wall time of the installed command, everything included."""
    words = [COMMAND, "simulate", "sepsis", "--replicates", str(REPLICATES)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [*words, "--workers", str(workers), "--out", "run"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> int:
    """Measure and print."""
    alone = seconds_with(1)
    print(f"workers  seconds  gain    ({REPLICATES:,} trials of sepsis, six scenarios)")
    print(f"{1:7}  {alone:7.1f}  1.00 x")
    for workers in range(2, min(8, os.cpu_count() or 1) + 1):
        seconds = seconds_with(workers)
        print(f"{workers:7}  {seconds:7.1f}  {alone / seconds:4.2f} x")
    (job, *_) = plan_simulation(load_template("sepsis")).jobs
    with tempfile.TemporaryDirectory() as folder, Timed(Path(folder)) as store:
        start = time.perf_counter()
        run([job], n_replicates=40_960, seed=1, store=store)
        whole = time.perf_counter() - start
        share = 100 * store.seconds / whole
    print(f"keeping results: {share:.1f}% of the time of one worker")
    return 0


if __name__ == "__main__":
    sys.exit(main())
