"""What records of flawed trials look like: events per 1,000, and prognosis by arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import mean
from trialsim.engine.blocks import Job
from trialsim.engine.flawed_trials import (
    Counts,
    FlawedBlock,
    first_trials,
    imbalance,
    prognosis,
    reached,
)
from trialsim.protocol.conduct import Conduct
from trialsim.trial import LookResults, Measure, Row

__all__ = ["LOOKED_INTO", "LookedInto", "look_into", "true_rows"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

LOOKED_INTO = 1_024  # trials: means per 1,000 are then known to about 1
_CHOSEN = "the result is chosen among several, and its table is not kept"
_ALIKE = "nothing is known of patients to tell their prognosis by"


@dataclass(frozen=True)
class LookedInto:
    """What the records of the first trials with some flaws say, whether published or not.

    Attributes
    ----------
    treated, control : ndarray of float, shape (n_reps,)
        Events per 1,000 of those analysed; NaN where there are none.
    imbalance : ndarray of float, shape (n_reps,), or None
        Mean prognosis of the treated less that of controls, in SDs of the trial; among those of the
        declared analysis, where the result is chosen among several.
    complete : bool
        Whether every table gives the estimate its trial reports.
    """

    treated: Floats
    control: Floats
    imbalance: Floats | None
    complete: bool

    @classmethod
    def joined(cls, parts: Sequence[LookedInto], n: int) -> LookedInto:
        """Return the first n trials of several blocks."""
        apart = [p.imbalance for p in parts if p.imbalance is not None]
        return cls(
            np.concatenate([p.treated for p in parts])[:n],
            np.concatenate([p.control for p in parts])[:n],
            np.concatenate(apart)[:n] if len(apart) == len(parts) else None,
            all(p.complete for p in parts),
        )

    def rows(self, out: Bools, blank: Row, arms: tuple[str, str]) -> Iterator[Row]:
        """Yield means over the trials published.

        Parameters
        ----------
        out : ndarray of bool
            Which of all trials are published; the first are these.
        arms : (control, experimental)
            Their ids.
        """
        own = out[: len(self.treated)]
        per_arm = (
            (arms[1], self.treated),
            (arms[0], self.control),
            (None, self.treated - self.control),
        )
        for arm, values in per_arm:
            here = replace(blank, arm=arm, unit="per 1,000")
            why = "" if self.complete else _CHOSEN
            yield _mean(Measure.EVENTS_PER_1000, values[own], here, why)
        here = replace(blank, unit="SD")
        why = _ALIKE if self.imbalance is None else ""
        values = np.empty(0) if self.imbalance is None else self.imbalance[own]
        yield _mean(Measure.BASELINE_IMBALANCE, values, here, why)


def _mean(measure: Measure, values: Floats, blank: Row, why: str) -> Row:
    known = values[np.isfinite(values)]
    if not why and len(known) < 2:
        why = f"{len(known)} of the trials looked into were published"
    if why:
        return replace(blank, measure=measure, value=None, why=why)
    return mean(measure, known).row(blank)


def true_rows(risks: tuple[float, float], blank: Row, arms: tuple[str, str]) -> Iterator[Row]:
    """Yield the true events per 1,000 of (control, treated) risks, under mechanism "truth"."""
    control, treated = (1_000 * risk for risk in risks)
    told = replace(blank, measure=Measure.EVENTS_PER_1000, mechanism="truth", unit="per 1,000")
    yield replace(told, arm=arms[1], value=treated)
    yield replace(told, arm=arms[0], value=control)
    yield replace(told, value=treated - control)


def look_into(
    job: Job, found: Sequence[Mapping[Conduct, LookResults]], seed: int, n: int
) -> list[dict[Conduct, LookedInto]]:
    """Draw the first trials of a study of flaws again, and look into their records.

    Parameters
    ----------
    job : Job
        Of the study, with a binary or response endpoint.
    found : sequence of mapping
        Per truth of the job, what trials with each conduct report; arrays of shape
        (n_replicates, n_looks), n_replicates at least n.
    seed : int
    n : int
        How many trials.

    Returns
    -------
    list of dict
        Per truth, by conduct.
    """
    width = job.block_width
    parts: list[dict[Conduct, list[LookedInto]]] = [{own: [] for own in one} for one in found]
    for number in range(-(-n // width)):
        block = FlawedBlock(job, seed, number)
        here = slice(number * width, min((number + 1) * width, n))
        for truth, one in enumerate(found):
            for conduct, results in one.items():
                parts[truth][conduct].append(
                    _of_block(job, block, truth, conduct, results.only(here))
                )
    return [{conduct: LookedInto.joined(own, n) for conduct, own in one.items()} for one in parts]


def _of_block(
    job: Job, block: FlawedBlock, truth: int, conduct: Conduct, results: LookResults
) -> LookedInto:
    plan, n = job.plans[0], len(results.failed)
    steps = block.steps(truth, plan, conduct)
    records = first_trials(steps[-1].after if steps else block.planned(truth, plan), n)
    who = reached(records, results)
    counts = Counts.of(records, who, plan.better)
    own = counts.gives(results, plan)
    declared = records.included & (np.arange(len(who)) < plan.n_total)[:, None]
    who = np.where(own, who, declared)
    known = prognosis(block.drawn(conduct)[0], plan.better)
    return LookedInto(
        _per_1000(counts.events_treated, counts.n_treated),
        _per_1000(counts.events_control, counts.n_control),
        None if known is None else imbalance(known[:, :n], records.treated, who),
        bool(own.all()),
    )


def _per_1000(events: NDArray[np.int64], n: NDArray[np.int64]) -> Floats:
    risk = np.divide(events, n, out=np.full(n.shape, np.nan), where=n > 0)
    return np.asarray(1_000 * risk)
