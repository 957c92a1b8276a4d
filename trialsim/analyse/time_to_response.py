"""Analysis of the time to the first response that a visit saw."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import inf

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.analyse.survival import max_combo, reading_of
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.contrasts import wald
from trialsim.kernels.interval_censored import interval_log_rank, tabulated
from trialsim.kernels.survival import (
    LookNumbers,
    RiskTable,
    SurvivalData,
    milestone,
    restricted_mean,
    risk_tables,
    snapped,
    weighted_log_rank,
)
from trialsim.protocol.endpoints import (
    IntervalCensoredTest,
    MaxComboTest,
    MilestoneTest,
    RestrictedMeanTest,
)
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse_times", "intervals_seen", "times_seen"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def intervals_seen(batch: ResponseBatch, read_out: int) -> tuple[Ints, Ints]:
    """Return between which visits the first response seen came, as their numbers from 1.

    Shapes (n_patients, n_reps): the last visit attended without response before one with it (0 for
    none), and the first that saw response (0 for none).

    Parameters
    ----------
    batch : ResponseBatch
    read_out : int
        Position of the last visit that counts.
    """
    shape = batch.assigned.shape
    last, first = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for number in range(read_out + 1):
        day = batch.visits[number]
        seen = batch.attended[number] & (day < batch.leaving) & (first == 0)
        response = batch.in_response(day)
        first = np.where(seen & response, number + 1, first)
        last = np.where(seen & ~response, number + 1, last)
    return last, first


def times_seen(batch: ResponseBatch, read_out: int, at_day: float) -> tuple[Floats, Bools]:
    """Return days to the first visit that saw response, else to the last attended; and which.

    Shapes (n_patients, n_reps).

    Parameters
    ----------
    batch : ResponseBatch
    read_out : int
        Position of the last visit that counts,
    at_day : float
        and its nominal day, on which it is taken to be whatever its window.
    """
    shape = batch.assigned.shape
    first, last = np.full(shape, inf), np.zeros(shape)
    for number in range(read_out + 1):
        day = batch.visits[number]
        seen = batch.attended[number] & (day < batch.leaving)
        shown = np.full(day.shape, at_day) if number == read_out else day
        last = np.where(seen, shown, last)
        found = seen & batch.in_response(day)
        first = np.where(found, np.minimum(first, shown), first)
    event = np.isfinite(first)
    return np.where(event, first, last), event


def analyse_times(batch: ResponseBatch, plan: AnalysisPlan) -> LookResults:
    """Compare the arms as assigned by one of the tests of times to an event.

    The estimate beside a log-rank test is Peto's one-step log hazard ratio, U / V (Peto and Peto
    1972, Journal of the Royal Statistical Society A 135:185-207); beside MaxCombo, that of its
    first weight. A time known to lie between visits is compared as such, by the visits' numbers. A
    trial in which nothing is at stake (no response, or none that counts) has a P
    value of 1.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1); information is the number of responses.
    """
    if isinstance(plan.test, IntervalCensoredTest):
        last, first = intervals_seen(batch, plan.visit)
        counted = tabulated(last, first, batch.assigned, plan.visit + 1)
        score, variance, _, _ = interval_log_rank(counted)
        table, n_events = None, (first > 0).sum(axis=0).astype(float)
        estimate, error, nothing = _one_step(score, variance)
    else:
        table, n_events = _table(batch, plan.visit, plan.day)
        estimate, error, nothing = _compared(table, plan)
    contrast = wald(estimate, error, confidence_level(plan))
    found = read_once(contrast, plan, n_events, len(batch.assigned))
    if isinstance(plan.test, MaxComboTest) and table:
        z, p, rejected = max_combo(_numbers(table, plan), plan)
        found = replace(found, z=z, p_value=p, rejected=rejected & ~found.failed)
    return replace(
        found,
        failed=found.failed & ~nothing[:, None],
        z=np.where(nothing[:, None], 0.0, found.z),
        p_value=np.where(nothing[:, None], 1.0, found.p_value),
    )


@lru_cache(maxsize=1)  # several analyses of one read-out follow one another
def _table(batch: ResponseBatch, read_out: int, at_day: float) -> tuple[RiskTable, Floats]:
    time, event = times_seen(batch, read_out, at_day)
    data = SurvivalData(
        np.ascontiguousarray(snapped(time).T),
        np.ascontiguousarray(event.T),
        np.ascontiguousarray(batch.assigned.T),
    )
    (table,) = risk_tables(data)
    return table, event.sum(axis=0).astype(float)


def _compared(table: RiskTable, plan: AnalysisPlan) -> tuple[Floats, Floats, Bools]:
    """Return estimates, standard errors, and where nothing was at stake."""
    match plan.test:
        case MilestoneTest():
            difference, error = milestone(table, plan.test.at.days)
            return difference, error, (error == 0) & (difference == 0)
        case RestrictedMeanTest():
            until = plan.test.until.days
            treated, control = (restricted_mean(table, until, treated=arm) for arm in (True, False))
            error = np.hypot(treated.standard_error, control.standard_error)
            difference = treated.mean - control.mean
            return difference, error, (error == 0) & (difference == 0)
        case _:
            found = weighted_log_rank([table], reading_of(plan).weights[:1])
            return _one_step(found.score[:, 0], found.covariance[:, 0, 0])


def _one_step(score: Floats, variance: Floats) -> tuple[Floats, Floats, Bools]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return score / variance, 1 / np.sqrt(variance), variance == 0


def _numbers(table: RiskTable, plan: AnalysisPlan) -> LookNumbers:
    weights = reading_of(plan).weights
    numbers = LookNumbers.empty(len(table.time), 1, len(weights))
    numbers.score[:, 0], numbers.covariance[:, 0] = weighted_log_rank([table], weights)
    return numbers
