"""Analysis of the time to an event at every look."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns
from trialsim.analyse.looks import event_cuts, events_wanted
from trialsim.kernels import maxcombo, survival
from trialsim.kernels.proportions import normal_p
from trialsim.kernels.survival import FollowUp, LookNumbers, Reading
from trialsim.protocol.endpoints import (
    CoxTest,
    FlemingHarringtonWeight,
    LogRankTest,
    LogRankWeight,
    MaxComboTest,
    MilestoneTest,
    PublishedSummary,
    RestrictedMeanTest,
)
from trialsim.trial import AnalysisPlan, Kernel, LookResults

__all__ = ["analyse", "max_combo", "patients", "reading_of", "score"]

Floats = NDArray[np.float64]


def analyse(batch: FollowUp, plan: AnalysisPlan) -> LookResults:
    """Analyse everyone as assigned, censored at the data cut-off or at loss.

    Estimates are Cox hazard ratios with Wald intervals, or differences at a milestone or in
    restricted means; the test is the plan's.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks).
    """
    numbers = _read(batch, plan, reading_of(plan))
    estimate, se = _estimate(numbers, plan)
    z, p, rejected = _test(numbers, plan)
    failed = ~(np.isfinite(estimate) & np.isfinite(se) & np.isfinite(z)) | (se <= 0)
    if plan.summary is PublishedSummary.MEDIAN_RATIO:
        estimate, se = _ratio_of_medians(batch, numbers.cut), np.full(estimate.shape, np.nan)
        failed = np.isnan(estimate) | ~np.isfinite(z)
    two_sided_alpha = plan.alpha if plan.sides == 2 else 2 * plan.alpha
    half = -NormalDist().inv_cdf(two_sided_alpha / 2) * se
    estimate, se, lower, upper, p, z = (
        np.where(failed, np.nan, column)
        for column in (estimate, se, estimate - half, estimate + half, p, z)
    )
    day = numbers.cut + plan.lag_days
    entry = np.broadcast_to(batch.entry, batch.latent.shape)
    enrolled = np.stack([(entry <= day[:, k]).sum(axis=0) for k in range(day.shape[1])], axis=1)
    wanted = np.array([events or 0 for events in events_wanted(plan.looks)])
    return LookResults(
        estimate=estimate,
        standard_error=se,
        lower=lower,
        upper=upper,
        p_value=p,
        rejected=rejected & ~failed,
        corrected=np.zeros(failed.shape, dtype=bool),
        failed=failed,
        z=z,
        information=numbers.events,
        enrolled=enrolled.astype(float),
        day=day if plan.looks else np.full(day.shape, np.nan),  # each patient's own follow-up
        short=numbers.events < wanted,
    )


def patients(batch: FollowUp, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return the follow-up of each patient of one trial at a look, and why it ended.

    Everyone who has entered by the data cut-off is there, in order of arrival.
    """
    one = _of_one_trial(batch, replicate)
    cut = survival.read_looks(one, partial(event_cuts, plan.looks), Reading((), None)).cut[0, look]
    entry = one.entry[:, 0]
    times, events = survival.followed(one)
    time, event = times[:, 0], events[:, 0]
    there = entry < cut
    seen = entry + time <= cut
    days = np.where(seen, time, cut - entry)
    ended = "lost" if one.loss is not None else "end of follow-up"
    why = np.where(seen & ~event, ended, np.where(seen, "", "data cut-off"))
    if one.loss is not None:
        why = np.where(seen & ~event & (time >= one.most_days), "end of follow-up", why)
    columns = {
        "treated": one.treated[:, 0],
        "days": days,
        "event": event & seen,
        "why_not_seen": why,
    }
    return {name: column[there] for name, column in columns.items()}


def _of_one_trial(batch: FollowUp, replicate: int) -> FollowUp:
    own = slice(replicate, replicate + 1)
    columns = {
        name: column[:, own] if column.shape[1] > 1 else column
        for name in ("latent", "entry", "treated", "level", "stratum", "loss")
        if (column := getattr(batch, name)) is not None
    }
    return batch._replace(**columns)


def risks_seen(batch: FollowUp, plan: AnalysisPlan) -> Floats:
    """Return 1 less the Kaplan-Meier estimate on the plan's day at every look.

    Returns
    -------
    ndarray of float, shape (n_reps, n_looks, 2)
        Control, treated; NaN where unknown.
    """
    reading = Reading((), None, milestone_day=plan.day)
    numbers = _read(batch, plan, reading)
    return np.asarray(1 - numbers.milestone[..., 0])


def _ratio_of_medians(batch: FollowUp, cut: Floats) -> Floats:
    """Return the log ratio of Kaplan-Meier medians, treated to control, at every look.

    A median is the first time at which the estimate is at most one half. Infinite where only the
    treated arm's is not reached, minus infinity where only the control arm's; NaN where neither is.
    """
    time, event = survival.followed(batch)
    entry = np.broadcast_to(batch.entry, time.shape)
    found = np.empty(cut.shape)
    for look in range(cut.shape[1]):
        left = cut[:, look] - entry
        seen = event & (time <= left)
        days = np.where(left > 0, np.minimum(time, left), np.inf)
        control, treated = (
            _medians(np.where(batch.treated == bool(arm), days, np.inf), seen) for arm in (0, 1)
        )
        with np.errstate(invalid="ignore"):
            found[:, look] = np.log(treated) - np.log(control)
    return found


def _medians(days: Floats, event: NDArray[np.bool_]) -> Floats:
    """Return the Kaplan-Meier median of every trial; infinity where it is not reached.

    Parameters
    ----------
    days : ndarray, shape (n_patients, n_reps)
        Infinity for who is not in the arm or has not entered.
    event : ndarray of bool, same shape
    """
    order = np.lexsort((~event, days), axis=0)
    days = np.asarray(np.take_along_axis(days, order, axis=0))
    event = np.asarray(np.take_along_axis(event, order, axis=0))
    there = np.isfinite(days)
    at_risk = there.sum(axis=0) - np.arange(len(days))[:, None]
    left = np.cumprod(np.where(event & there, 1 - 1 / np.maximum(at_risk, 1), 1.0), axis=0)
    reached = there & (left <= 0.5 + 1e-9)
    first = reached.argmax(axis=0)
    median = np.take_along_axis(days, first[None], axis=0)[0]
    return np.where(reached.any(axis=0), median, np.inf)


def reading_of(plan: AnalysisPlan) -> Reading:
    """Return what a plan needs to know of every look."""
    test = plan.test
    match test:
        case LogRankTest():
            return Reading((_weight(test.weight),))
        case MaxComboTest():
            return Reading(tuple(_fleming_harrington(weight) for weight in test.weights))
        case CoxTest():
            return Reading((), survival.Ties(test.ties.value))
        case MilestoneTest():
            return Reading((), None, milestone_day=test.at.days)
        case RestrictedMeanTest():
            return Reading((), None, mean_until=test.until.days)
        case _:
            raise AssertionError(f"{test} is not a test of times to an event")


def _fleming_harrington(weight: FlemingHarringtonWeight) -> survival.FlemingHarrington:
    return survival.FlemingHarrington(weight.rho, weight.gamma)


def _weight(weight: LogRankWeight | None) -> survival.Weight:
    if weight is None:
        return survival.LOG_RANK
    if weight.fleming_harrington:
        return _fleming_harrington(weight.fleming_harrington)
    if weight.zero_before:
        return survival.ZeroBefore(weight.zero_before.days)
    modest = weight.modestly_weighted
    assert modest is not None  # one of three, by the model
    if modest.s_star is not None:
        return survival.ModestlyWeighted(most=1 / modest.s_star)
    return survival.ModestlyWeighted(until=modest.t_star.days if modest.t_star else np.inf)


def _read(batch: FollowUp, plan: AnalysisPlan, reading: Reading) -> LookNumbers:
    rule = partial(event_cuts, plan.looks)
    if plan.kernel is Kernel.NUMBA:
        from trialsim.kernels import survival_fast

        return survival_fast.read_looks(batch, rule, reading)
    return survival.read_looks(batch, rule, reading)


def _estimate(numbers: LookNumbers, plan: AnalysisPlan) -> tuple[Floats, Floats]:
    match plan.test:
        case MilestoneTest():
            s, v = numbers.milestone[..., 0], numbers.milestone[..., 1]
            return s[..., 1] - s[..., 0], np.sqrt((s**2 * v).sum(axis=-1))
        case RestrictedMeanTest():
            mean, variance = (numbers.restricted_mean[..., i] for i in (0, 1))
            return mean[..., 1] - mean[..., 0], np.sqrt(variance.sum(axis=-1))
        case _:
            return numbers.cox[..., 0], numbers.cox[..., 1]


def _test(numbers: LookNumbers, plan: AnalysisPlan) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Z in favour of the experimental arm, P value, and whether each look finds an effect."""
    if isinstance(plan.test, MaxComboTest):
        return max_combo(numbers, plan)
    estimate, se = _estimate(numbers, plan)
    with np.errstate(divide="ignore", invalid="ignore"):
        match plan.test:
            case LogRankTest():
                raw = numbers.score[..., 0] / np.sqrt(numbers.covariance[..., 0, 0])
            case MilestoneTest(scale="log-log"):
                s, v = numbers.milestone[..., 0], numbers.milestone[..., 1]
                logs = np.log(s)
                difference = np.log(-logs[..., 0]) - np.log(-logs[..., 1])
                raw = difference / np.sqrt((v / logs**2).sum(axis=-1))
            case _:
                raw = estimate / se
    z = plan.benefit * raw
    p = normal_p(-z, plan.sides)
    return z, p, plan.rejects(z, p)


def max_combo(numbers: LookNumbers, plan: AnalysisPlan) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Decide at alpha by each replicate's own correlations; the P value is not needed for that."""
    score, covariance = numbers.score[:, 0], numbers.covariance[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = plan.benefit * score / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    usable = np.asarray(np.isfinite(each).all(axis=1))
    each = np.where(usable[:, None], each, 0.0)
    correlation = maxcombo.correlations(covariance)
    found: NDArray[np.bool_] = maxcombo.rejects(each, correlation, plan.one_sided_alpha)
    if plan.sides == 2:
        found = np.asarray(found | maxcombo.rejects(-each, correlation, plan.one_sided_alpha))
    z = np.where(usable, each.max(axis=1), np.nan).reshape(-1, 1)
    return z, np.full(z.shape, np.nan), np.asarray(found & usable).reshape(-1, 1)


def score(batch: FollowUp, plan: AnalysisPlan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return every patient's days followed, and who is treated."""
    del plan  # the same for all
    return survival.followed(batch)[0], batch.treated
