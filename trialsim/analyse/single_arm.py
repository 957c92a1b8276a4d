"""Analysis of a single arm against its historical control."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import binary, measured
from trialsim.analyse.binary import Columns, analyse_counts
from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.analyse.looks import decided
from trialsim.generate.historical import HistoricalSample, SingleArmBatch
from trialsim.generate.outcomes import MeasuredBatch
from trialsim.kernels.one_sample import (
    Stages,
    exact_interval,
    exact_p_values,
    one_sample_t,
    patients_used,
    two_sample_t,
)
from trialsim.protocol.endpoints import Better, MeasuredTest, Summary
from trialsim.protocol.historical import HistoricalControl
from trialsim.trial import EXPERIMENTAL, AnalysisPlan, LookResults, TrialBatch

__all__ = ["analyse", "of_published_arm", "patients", "rejects_after", "score", "stages_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def analyse(batch: SingleArmBatch, plan: AnalysisPlan) -> LookResults:
    """Compare everyone recruited with the historical control, as if nothing else differed.

    Estimates are of the summary against the historical value, which is taken for a concurrent one:
    what drift, concurrent therapy and selection add is in them.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1).
    """
    own = batch.patients
    if isinstance(own, TrialBatch):
        return _risks(own, batch.sample, plan)
    return _means(own, batch.sample, plan)


def stages_of(plan: AnalysisPlan) -> Stages:
    """Return the stages of a plan."""
    rule = plan.two_stage
    if rule is None:
        return Stages.single(plan.n_total)
    return Stages(plan.n_total, rule.first, rule.stop_if_at_most)


def rejects_after(plan: AnalysisPlan) -> NDArray[np.bool_]:
    """Return which numbers of good outcomes, 0 .. n, reject the historical risk."""
    return _table(plan).rejected


def of_published_arm(events: int, n: int, plan: AnalysisPlan) -> tuple[float, float, float]:
    """Return the estimate of an arm of known counts, with its interval, on the analysis scale.

    A historical risk that was seen in so many patients is taken as the nearest count of them.
    """
    control = _control(plan)
    if control.n is not None:
        found = analyse_counts(events, n, round(control.value * control.n), control.n, plan)
        return float(found.estimate[0, 0]), float(found.lower[0, 0]), float(found.upper[0, 0])
    table = _table(plan)
    good = events if plan.better is Better.HIGHER else n - events
    return float(table.estimate[good]), float(table.lower[good]), float(table.upper[good])


def _control(plan: AnalysisPlan) -> HistoricalControl:
    assert plan.historical is not None  # of every plan of a single arm
    return plan.historical


def _risks(own: TrialBatch, sample: HistoricalSample | None, plan: AnalysisPlan) -> LookResults:
    happened = own.events[EXPERIMENTAL]
    if sample is not None:
        control = _control(plan)
        events, n = happened.sum(axis=0), len(happened)
        assert sample.events is not None
        assert control.n is not None
        found = analyse_counts(events, n, sample.events, control.n, plan)
        own_n = np.full(found.z.shape, float(n))
        found = replace(found, information=own_n, enrolled=own_n)
    else:
        found = _exact(happened, plan)
    _, day = decided(plan, own.entry, found.enrolled.astype(np.int64))
    return replace(found, day=day)


def _exact(happened: NDArray[np.bool_], plan: AnalysisPlan) -> LookResults:
    good = happened if plan.better is Better.HIGHER else ~happened
    stages, table = stages_of(plan), _table(plan)
    outcome = good.sum(axis=0)
    if stages.most_to_stop >= 0:
        first = good[: stages.n_first].sum(axis=0)
        outcome = np.where(first <= stages.most_to_stop, first, outcome)
    column = outcome[:, None]
    shape = column.shape
    return LookResults(
        estimate=table.estimate[column],
        standard_error=table.standard_error[column],
        lower=table.lower[column],
        upper=table.upper[column],
        p_value=table.p_value[column],
        rejected=table.rejected[column],
        corrected=table.corrected[column],
        failed=np.zeros(shape, dtype=bool),
        z=np.full(shape, np.nan),
        information=table.n[column].astype(float),
        enrolled=table.n[column].astype(float),
        day=np.full(shape, np.nan),
        short=np.zeros(shape, dtype=bool),
    )


@dataclass(frozen=True)
class _Table:
    """What every number of good outcomes, 0 .. n, leads to."""

    n: Ints
    estimate: Floats
    standard_error: Floats
    lower: Floats
    upper: Floats
    p_value: Floats
    rejected: NDArray[np.bool_]
    corrected: NDArray[np.bool_]


@lru_cache(maxsize=64)  # once per plan, not once per block
def _table(plan: AnalysisPlan) -> _Table:
    stages, known = stages_of(plan), _control(plan).value
    higher = plan.better is Better.HIGHER
    n, good = patients_used(stages), np.arange(stages.n + 1)
    p = exact_p_values(stages, known if higher else 1 - known)
    p_value = p.larger if plan.sides == 1 else p.different
    limits = exact_interval(stages, confidence_level(plan))
    lower, upper = limits if higher else (1 - limits[1], 1 - limits[0])
    events = good if higher else n - good
    assert isinstance(plan.summary, Summary)
    estimate, se, corrected = _against_known(events, n, known, plan.summary)
    with np.errstate(divide="ignore"):
        lower, upper = (_on_scale(risk, known, plan.summary) for risk in (lower, upper))
    rejected = p_value <= plan.alpha
    if plan.two_stage:
        rejected = good > plan.two_stage.reject_if_above
    return _Table(n, estimate, se, lower, upper, p_value, rejected, corrected)


def _on_scale(risk: Floats, known: float, summary: Summary) -> Floats:
    """Return an effect on the analysis scale, against a risk that is known."""
    match summary:
        case Summary.ODDS_RATIO:
            return np.asarray(np.log(risk) - np.log1p(-risk) - np.log(known / (1 - known)))
        case Summary.RISK_RATIO:
            return np.asarray(np.log(risk / known))
        case Summary.RISK_DIFFERENCE:
            return risk - known


def _against_known(
    events: Ints, n: Ints, known: float, summary: Summary
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return estimate, standard error and where 0.5 was added to events and to others."""
    if summary is Summary.RISK_DIFFERENCE:
        risk = events / n
        return risk - known, np.sqrt(risk * (1 - risk) / n), np.zeros(len(n), dtype=bool)
    corrected = (events == 0) | (events == n)
    x = np.where(corrected, events + 0.5, events)
    size = np.where(corrected, n + 1.0, n)
    estimate = _on_scale(x / size, known, summary)
    other = 1 / (size - x) if summary is Summary.ODDS_RATIO else -1 / size
    return estimate, np.sqrt(1 / x + other), corrected


def _means(own: MeasuredBatch, sample: HistoricalSample | None, plan: AnalysisPlan) -> LookResults:
    values, level = own.visits[:, -1], confidence_level(plan)
    if plan.test is MeasuredTest.CHANGE:
        assert own.baseline is not None  # required by the rules
        values = values - own.baseline
    seen = np.isfinite(values)
    included = None if seen.all() else seen
    control = _control(plan)
    if sample is None:
        contrast = one_sample_t(values, control.value, included, confidence_level=level)
    else:
        assert sample.mean is not None
        assert sample.sd is not None
        assert control.n is not None
        contrast = two_sample_t(
            values,
            sample.mean,
            sample.sd,
            control.n,
            included,
            pooled=plan.test is not MeasuredTest.WELCH,
            confidence_level=level,
        )
    return read_once(contrast, plan, seen.sum(axis=0), len(seen))


def patients(batch: SingleArmBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return what is seen of each patient of one trial; after two stages, of those recruited."""
    own = batch.patients
    if isinstance(own, MeasuredBatch):
        return measured.patients(own, plan, replicate, look)
    columns = binary.patients(own, plan, replicate, look)
    if plan.two_stage is None:
        return columns
    one = _exact(own.events[EXPERIMENTAL][:, [replicate]], plan)
    there = int(one.enrolled[0, 0])
    return {name: column[:there] for name, column in columns.items()}


def score(batch: SingleArmBatch, plan: AnalysisPlan) -> tuple[Floats, NDArray[np.bool_]]:
    """Return one number per patient, and that everyone is treated."""
    own = batch.patients
    if isinstance(own, TrialBatch):
        return binary.score(own, plan)
    return measured.score(own, plan)
