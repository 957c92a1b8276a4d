"""What records of flawed trials look like: events per 1,000, and prognosis by arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import competing, survival
from trialsim.characteristics import mean
from trialsim.conduct.records import Records
from trialsim.conduct.reporting import looking_at
from trialsim.engine.blocks import Job
from trialsim.engine.conducted import seen_in
from trialsim.engine.flawed_trials import (
    Counts,
    FlawedBlock,
    first_trials,
    imbalance,
    prognosis,
    reached,
)
from trialsim.engine.kept_draws import kept
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.conduct import Conduct
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row

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
    timed : bool
        Of times to an event, estimated by the horizon; prognosis is then not told.
    """

    treated: Floats
    control: Floats
    imbalance: Floats | None
    complete: bool
    timed: bool = False

    @classmethod
    def joined(cls, parts: Sequence[LookedInto], n: int) -> LookedInto:
        """Return the first n trials of several blocks."""
        apart = [p.imbalance for p in parts if p.imbalance is not None]
        return cls(
            np.concatenate([p.treated for p in parts])[:n],
            np.concatenate([p.control for p in parts])[:n],
            np.concatenate(apart)[:n] if len(apart) == len(parts) else None,
            all(p.complete for p in parts),
            parts[0].timed,
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
        if self.timed:
            return
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
        Of the study, with a risk or a time to an event.
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
    width, plan = job.block_width, replace(job.plans[0], conduct=None)
    parts: list[dict[Conduct, list[LookedInto]]] = [{own: [] for own in one} for one in found]
    for number in range(-(-n // width)):
        block = FlawedBlock(job, seed, number)
        here = slice(number * width, min((number + 1) * width, n))
        for truth, one in enumerate(found):
            for conduct, results in one.items():
                own = partial(_of_block, job, block, truth, conduct, results.only(here))
                about = ("looked into", truth, plan, conduct, job.drawn_by, seed, number, here)
                parts[truth][conduct].append(kept(about, own))
    return [{conduct: LookedInto.joined(own, n) for conduct, own in one.items()} for one in parts]


def _of_block(
    job: Job, block: FlawedBlock, truth: int, conduct: Conduct, results: LookResults
) -> LookedInto:
    plan, n = job.plans[0], len(results.failed)
    last = block.reported(truth, plan, conduct)
    if last.worse_by is not None:
        return _of_times(block, truth, replace(plan, conduct=conduct), last, results)
    records = first_trials(last, n)
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


def _of_times(
    block: FlawedBlock, truth: int, plan: AnalysisPlan, records: Records, results: LookResults
) -> LookedInto:
    """Estimate events per 1,000 by the horizon from the records each result was read of."""
    conduct = plan.conduct
    assert conduct is not None  # the caller named it
    batch, under = block.batch(truth, plan, conduct), block.truths[truth]
    seen = seen_in(batch, records, plan, under, records)
    declared, flaw = replace(plan, conduct=None), conduct.undeclared_looks
    n = len(results.failed)
    risks, known = np.full((n, 2), np.nan), np.zeros(n, dtype=bool)
    plans = [declared, looking_at(declared, flaw)] if flaw and flaw.acts else [declared]
    for own in plans:
        each = block.kind(plan).analyse(seen, own).estimate[:n]
        there = results.estimate[:, -1:]
        same = np.isclose(each, there, rtol=1e-9, atol=1e-12, equal_nan=True)
        found = risks_by_look(seen, own)[:n]
        first = same.any(axis=1) & ~known
        risks[first] = found[first, same.argmax(axis=1)[first]]
        known |= first
    per_1000 = 1_000 * risks
    return LookedInto(per_1000[:, 1], per_1000[:, 0], None, bool(known.all()), timed=True)


def risks_by_look(batch: Any, plan: AnalysisPlan) -> Floats:
    """Return what is estimated of the risk by the plan's day, shape (n_reps, n_looks, 2)."""
    if isinstance(batch, FollowUp):
        return survival.risks_seen(batch, plan)
    return competing.risks_seen(batch)


def _per_1000(events: NDArray[np.int64], n: NDArray[np.int64]) -> Floats:
    risk = np.divide(events, n, out=np.full(n.shape, np.nan), where=n > 0)
    return np.asarray(1_000 * risk)
