"""Speed beside the peers', on the same designs, on this machine, in this run: ``make bench-peers``.

Needs R with rpact (Debian: r-cran-rpact); Mediana (r-cran-mediana) and metafor (r-cran-metafor)
where present. Prints a table of medians of five runs, one core, warm.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import designs  # noqa: E402


@dataclass(frozen=True)
class Ours:
    """One way of simulating a design."""

    words: str
    rates: list[float]
    power: float | None = None

    @property
    def rate(self) -> float:
        return designs.middle(self.rates)


def peer(script: str, rscript: str, *, quick: bool) -> dict[str, dict[str, object]]:
    """Run an R script; its designs by id, or nothing where its package is missing."""
    words = [rscript, str(HERE / script), *(["--quick"] if quick else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        print(f"{script}: not measured ({reason[0]})")
        return {}
    document = json.loads(done.stdout)
    print(f"{document['package']} {document['version']}, {document['r']}")
    return {design["id"]: design for design in document["designs"]}


def ours(seconds: float) -> dict[str, list[Ours]]:
    """Measure every design, the kernel alone and the whole run."""
    rng = np.random.Generator(np.random.SFC64(1))

    def kernel(words: str, work: Callable[[], np.ndarray], trials: int = designs.BLOCK) -> Ours:
        return Ours(words, designs.per_second(work, trials, seconds), designs.power_of(work))

    def whole(job: designs.Job, n: int = 10_240) -> Ours:
        rates = designs.per_second(lambda: designs.whole_run(job, n), n, seconds)
        return Ours("whole run", rates)

    three = ", ".join(
        f"{{at: {{events: {events}}}, efficacy_z: {z}}}"
        for events, z in zip(designs.THREE_LOOKS, designs.SURVIVAL_BOUNDS, strict=True)
    )
    delay = "{hazard_ratios: [{until: 4 mo, ratio: 1}, {ratio: 0.6}]}"
    looks = {"events": designs.THREE_LOOKS, "bounds": designs.SURVIVAL_BOUNDS}
    binary = designs.BinaryTrial.make()
    blocks = iter(range(10**9))
    return {
        "log-rank": [
            kernel("kernel", lambda: designs.log_rank(rng)),
            whole(designs.survival_job()),
        ],
        "log-rank-delay": [
            kernel("kernel", lambda: designs.log_rank(rng, designs.DELAYED)),
            whole(designs.survival_job(delay)),
        ],
        "log-rank-three-looks": [
            kernel("kernel", lambda: designs.log_rank(rng, **looks)),
            whole(designs.survival_job(looks=three)),
        ],
        "binary-three-looks": [
            kernel("kernel, counts", lambda: binary.counts(next(blocks)), 4096),
            whole(binary.job, 40_960),
        ],
    }


DEMANDS = {
    "log-rank": 9, "log-rank-delay": 20, "log-rank-three-looks": 12, "binary-three-looks": 40,
}  # fmt: skip


def main() -> int:
    """Print the table; 0 also where there is no R."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, rough")
    quick = parser.parse_args().quick
    rscript = shutil.which("Rscript")
    if rscript is None:
        print("R not found: nothing to compare with. On Debian: apt-get install r-cran-rpact")
        return 0
    seconds = 0.2 if quick else 1.0
    theirs = peer("rpact.R", rscript, quick=quick)
    mediana = peer("mediana.R", rscript, quick=quick)
    measured = ours(seconds)
    print(f"{'design':22} {'':14} {'trials/s':>10} {'rpact':>8} {'ratio':>6} {'asked':>6}  power")
    for name, ways in measured.items():
        seen = theirs.get(name)
        rate = designs.middle(seen["trials_per_second"]) if seen else None
        for way in ways:
            ratio = f"{way.rate / rate:6.1f}" if rate else "     -"
            asked = f"{DEMANDS[name]:>6}" if way is ways[0] else "      "
            power = f"{way.power:.4f} (rpact {seen['power']:.4f})" if way.power and seen else ""
            shown = f"{rate:8,.0f}" if rate else "       -"
            print(f"{name:22} {way.words:14} {way.rate:10,.0f} {shown} {ratio} {asked}  {power}")
    literatures_pooled(peer("metafor.R", rscript, quick=quick), seconds)
    if mediana:
        rate = designs.middle(mediana["binary"]["trials_per_second"])
        print(f"{'binary, one look':22} {'Mediana':14} {rate:10,.0f}")
    rng = np.random.Generator(np.random.SFC64(2))
    late, decided, p_values, plain, lowest = interleaved(rng, seconds)
    print("\nof plain log-rank on the same trials, with the delay:")
    print(f"  {decided / late:4.2f} x  MaxCombo of four, decided at 2.5% (asked: at most 2.5)")
    print(f"  {p_values / late:4.2f} x  MaxCombo of four, every P value (asked: at most 20)")
    print(f"of the floor, {1e6 * lowest:.2f} us a trial:")
    print(f"  {plain / lowest:4.2f} x  log-rank (asked: at most 1.5)")
    return 0


def literatures_pooled(theirs: dict[str, dict[str, object]], seconds: float) -> None:
    """Print REML fits a second, from effects and variances, beside metafor's."""
    own = designs.literatures(10_000)
    rate = designs.middle(designs.per_second(lambda: designs.reml(own), 10_000, seconds))
    seen = designs.middle(theirs["reml"]["trials_per_second"]) if theirs else None
    ratio = f"{seen:8,.0f} {rate / seen:6.0f}" if seen else f"{'-':>8} {'-':>6}"
    print(f"{'REML, 11 trials':22} {'literatures':14} {rate:10,.0f} {ratio} {100:>6}  (metafor)")


def interleaved(rng: np.random.Generator, seconds: float) -> tuple[float, ...]:
    """Seconds a trial: log-rank and MaxCombo with the delay, log-rank without, and the floor.

    Medians of five, all measured in every round, so that a change of clock meets all.
    """
    latent, batch = np.empty((designs.BLOCK, designs.N)), np.empty((64, designs.N))
    ways = (
        lambda: designs.log_rank(rng, designs.DELAYED),
        lambda: designs.max_combo(rng),
        lambda: designs.max_combo(rng, p_values=True),
        lambda: designs.log_rank(rng),
        lambda: designs.floor(rng, latent, batch),
    )
    rounds = [
        [designs.per_second(way, designs.BLOCK, seconds, repeats=1)[0] for way in ways]
        for _ in range(5)
    ]
    return tuple(1 / designs.middle(list(rates)) for rates in zip(*rounds, strict=True))


if __name__ == "__main__":
    sys.exit(main())
