"""The designs that are timed: kernels alone, whole runs, and the floor neither can pass.

A kernel is timed from random numbers to decisions, as an event-driven trial of the peers: 400
patients, one enters every 0.03 months, arms alternate, control hazard log(2)/10 a month. A whole
run goes through the engine from a protocol: random permuted blocks, random entry, Cox hazard ratio
with its interval, every look, everything that is kept of a trial.

The floor is what the numbers themselves cost: drawing them, finding the last event, sorting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from math import log
from statistics import median

import numpy as np

from trialsim import load_template
from trialsim.analyse.looks import event_cuts
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.generate.binary import draw_counts
from trialsim.kernels import maxcombo, survival, survival_fast
from trialsim.kernels.hazards import Hazard
from trialsim.kernels.pooling import Effects, Tables, effects
from trialsim.kernels.proportions import Scale, pearson_z
from trialsim.kernels.random_effects import Estimator, RandomEffects, random_effects
from trialsim.kernels.survival import FlemingHarrington, FollowUp, Reading
from trialsim.protocol.design import Look, Trigger
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, Kernel

N, EVENTS, BLOCK = 400, 250, 256
CONTROL = log(2) / 10  # a month
PROPORTIONAL = ((Hazard((), (CONTROL,)), Hazard((), (0.7 * CONTROL,))),)
DELAYED = ((Hazard((), (CONTROL,)), Hazard((4.0,), (CONTROL, 0.6 * CONTROL))),)
LOG_RANK = Reading(cox=None)
FOUR = Reading(tuple(FlemingHarrington(r, g) for r, g in ((0, 0), (0, 1), (1, 0), (1, 1))), None)
THREE_LOOKS = (83, 167, 250)
SURVIVAL_BOUNDS = (3.47837047, 2.45220428, 2.00421763)  # O'Brien-Fleming; rpact 3.3.4
BINARY_BOUNDS = (3.46970088, 2.45344902, 2.00413815)


@cache
def entered(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Entry and assignment, the same in every trial."""
    treated = np.zeros((n, BLOCK), dtype=bool)
    treated[::2] = True
    return (0.03 * 400 / n * np.arange(1, n + 1))[:, None], treated


def follow_up(
    rng: np.random.Generator, hazards: tuple[tuple[Hazard, Hazard], ...], n: int = N
) -> FollowUp:
    """One block of trials."""
    return FollowUp(rng.standard_exponential((n, BLOCK)), *entered(n), hazards)


@cache
def cuts(events: tuple[int, ...]) -> survival.CutRule:
    """Looks at these numbers of events."""
    return partial(event_cuts, tuple(Look(at=Trigger(events=count)) for count in events))


def log_rank(
    rng: np.random.Generator,
    hazards: tuple[tuple[Hazard, Hazard], ...] = PROPORTIONAL,
    events: tuple[int, ...] = (EVENTS,),
    bounds: tuple[float, ...] = (1.959963984540054,),
    n: int = N,
    kernel: Callable[..., survival.LookNumbers] = survival_fast.read_looks,
) -> np.ndarray:
    """Simulate a block; whether each trial finds the effect."""
    found = kernel(follow_up(rng, hazards, n), cuts(events), LOG_RANK)
    z = -found.score[:, :, 0] / np.sqrt(found.covariance[:, :, 0, 0])
    return (z >= np.array(bounds)).any(axis=1)


def max_combo(rng: np.random.Generator, *, p_values: bool = False) -> np.ndarray:
    """Simulate a block with four weighted tests; decide at 2.5%, or compute every P value."""
    found = survival_fast.read_looks(follow_up(rng, DELAYED), cuts((EVENTS,)), FOUR)
    score, covariance = found.score[:, 0], found.covariance[:, 0]
    z = -score / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    correlation = maxcombo.correlations(covariance)
    if p_values:
        return maxcombo.p_value(z, correlation) <= 0.025
    return maxcombo.rejects(z, correlation, 0.025)


def floor(rng: np.random.Generator, latent: np.ndarray, batch: np.ndarray) -> None:
    """Draw a block, and find the 250th event and sort in batches of 64, all in place."""
    rng.standard_exponential(out=latent)
    rows = latent.reshape(-1, 64, N)
    for own in rows:
        np.copyto(batch, own)
        batch.partition(EVENTS - 1, axis=1)
        np.copyto(batch, own)
        batch.sort(axis=1)


@dataclass(frozen=True)
class BinaryTrial:
    """1,106 patients, three looks, OR 0.82 at a control risk of 24.1%."""

    job: Job

    @classmethod
    def make(cls) -> BinaryTrial:
        """Read it from the sepsis protocol."""
        looks = ", ".join(
            f"{{at: {{information: {share}}}, efficacy_z: {z}}}"
            for share, z in zip((369 / 1106, 738 / 1106, 1), BINARY_BOUNDS, strict=True)
        )
        return cls(
            _job(
                "sepsis",
                "or-082",
                [
                    "protocol.allocation={}",
                    "protocol.test={alpha: 0.025, sides: 1}",
                    f"protocol.looks=[{looks}]",
                ],
            )
        )

    def counts(self, block: int) -> np.ndarray:
        """Simulate one block of 4,096 by the kernel alone."""
        plan = self.job.plans[0]
        (drawn,) = draw_counts(self.job.protocol, self.job.truths, plan.looks, Streams(1), block)
        z = -pearson_z(drawn.events_treated, drawn.n_treated, drawn.events_control, drawn.n_control)
        return (z >= np.array(BINARY_BOUNDS)).any(axis=1)


def _job(name: str, scenario: str, settings: list[str]) -> Job:
    resolved = load_template(name, settings=settings)
    protocol = resolved.template.protocol
    truth = resolved.truth(resolved.scenarios([scenario])[0])
    plan = replace(AnalysisPlan.of(protocol), kernel=Kernel.NUMBA)
    return Job(protocol, (plan,), (truth,), kernel=Kernel.NUMBA).on_its_shortest_path()


def survival_job(survival_: str = "{hazard_ratio: 0.7}", looks: str = "{at: {events: 250}}") -> Job:
    """The survival design as a protocol, as a user would run it."""
    return _job(
        "delayed-effect",
        "at-once",
        [
            "protocol.sample_size={total: 400}",
            "protocol.allocation={}",
            f"protocol.looks=[{looks}]",
            "nature.enrolment={uniform: 12 mo}",
            "nature.dropout=null",
            "nature.survival={median: 10 mo}",
            f"scenarios.at-once.survival={survival_}",
            "scenarios.after-3-months.survival=null",
            "scenarios.after-4-5-months.survival=null",
        ],
    )


def whole_run(job: Job, n_replicates: int) -> None:
    """Run a job on one core."""
    run([job], n_replicates=n_replicates, seed=1)


def per_second(
    work: Callable[[], object], trials: int, seconds: float = 1.0, repeats: int = 5
) -> list[float]:
    """Return measurements of trials a second, warm, each of about `seconds`."""
    work()
    start = time.perf_counter()
    work()
    times = max(1, round(seconds / max(time.perf_counter() - start, 1e-6)))
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(times):
            work()
        found.append(times * trials / (time.perf_counter() - start))
    return found


@cache
def literatures(n: int) -> Effects:
    """Log odds ratios of 11 trials of 40 per arm, a true variance of 0.1 between trials."""
    rng = np.random.Generator(np.random.SFC64(1))
    odds = 0.3 / 0.7 * np.exp(rng.normal(-0.2, 0.1**0.5, (n, 11)))
    size = np.full((n, 11), 40)
    tables = Tables(rng.binomial(size, odds / (1 + odds)), size, rng.binomial(size, 0.3), size)
    return effects(tables, Scale.ODDS_RATIO)


def reml(own: Effects) -> RandomEffects:
    """Pool them by REML, with tests and intervals."""
    return random_effects(own.estimates, own.variances, Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD)


def power_of(work: Callable[[], np.ndarray], blocks: int = 200) -> float:
    """Share of trials that find the effect."""
    return float(np.mean([work().mean() for _ in range(blocks)]))


def middle(values: list[float]) -> float:
    """Median."""
    return median(values)
