"""A trial as its records have it: the same outcomes, but who counts where and who is analysed.

What a flaw of conduct needs to know of a kind of endpoint stands here: which outcome is the
unfavourable one, and the batch of that kind with other arms and fewer patients, which the kind's
own analysis then takes as any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from trialsim.analyse.looks import event_cuts
from trialsim.analyse.response import responding
from trialsim.analyse.subgroups import only
from trialsim.conduct.records import Reading, Records
from trialsim.generate.outcomes import CompetingBatch, CountedBatch, MeasuredBatch, OrderedBatch
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.competing import Cause, competing_times, followed_until
from trialsim.kernels.counted import count_of
from trialsim.kernels.hazards import Hazard, survival_on
from trialsim.kernels.ordered import category_of
from trialsim.kernels.survival import FollowUp, followed
from trialsim.protocol.endpoints import Better
from trialsim.protocol.outcomes import (
    CompetingTruth,
    CountTruth,
    MeasuredTruth,
    OrderedTruth,
    OutcomeTruth,
)
from trialsim.trial import CONTROL, EXPERIMENTAL, AnalysisPlan, TrialBatch

__all__ = [
    "event_days",
    "recorded",
    "rewritten",
    "unfavourable",
    "value_of",
    "written_down",
    "yes_or_no",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def yes_or_no(batch: Any, plan: AnalysisPlan) -> Any:
    """Return response at a visit as an event that is there or not; other batches as they are."""
    if not isinstance(batch, ResponseBatch):
        return batch
    event = responding(batch, plan)
    return TrialBatch(batch.assigned, np.stack([event, event]), None, batch.included)


def unfavourable(batch: Any, plan: AnalysisPlan) -> Bools:
    """Return whose outcome is the unfavourable one, shape (n_patients, n_reps).

    An event that is bad for patients, or a good one that failed to come; of a time to an event, or
    of an event that another precludes, one that the trial sees by the read-out. A measurement, a
    category or a count that is worse than the median of its trial, both arms together; nobody's
    that is not known. Of days alive and free, death.

    Parameters
    ----------
    batch : batch of any kind
        As drawn.
    plan : AnalysisPlan
    """
    lower = plan.better is Better.LOWER
    match batch:
        case TrialBatch():
            event = np.where(batch.assigned, batch.events[EXPERIMENTAL], batch.events[CONTROL])
        case ResponseBatch():
            event = responding(batch, plan)
        case FollowUp():
            event = _seen_by_read_out(batch, plan)
        case CompetingBatch():
            event = batch.cause == Cause.EVENT
        case OrderedBatch(days=True):
            return np.asarray(batch.category == 0)
        case OrderedBatch():
            return _worse_than_median(batch.category.astype(float), plan.n_total, lower=lower)
        case CountedBatch():
            return _worse_than_median(batch.count.astype(float), plan.n_total, lower=lower)
        case MeasuredBatch():
            return _worse_than_median(batch.visits[:, -1], plan.n_total, lower=lower)
        case _:
            raise AssertionError(f"{type(batch).__name__} is no batch")
    return np.asarray(event if lower else ~event)


def _worse_than_median(values: Floats, planned: int, *, lower: bool) -> Bools:
    """Compare with the median of the patients planned, who come first."""
    own = values[: planned or None]
    known = np.isfinite(own).all()
    median = np.median(own, axis=0) if known else np.nanmedian(own, axis=0)
    return np.asarray(values > median if lower else values < median)  # never where NaN


class _LastFollowed:
    """The batch followed last: every flaw of a profile asks about the same patients."""

    kept: tuple[FollowUp, tuple[Floats, Bools]] | None = None

    def of(self, batch: FollowUp) -> tuple[Floats, Bools]:
        """Return days from entry to event or loss, and whether it is the event."""
        kept = self.kept
        if kept is None or kept[0] is not batch:
            kept = self.kept = batch, followed(batch)
            for array in kept[1]:
                array.flags.writeable = False
        return kept[1]


_LAST = _LastFollowed()


def _seen_by_read_out(batch: FollowUp, plan: AnalysisPlan) -> Bools:
    """Return whose event came by the read-out, and before the last data cut-off."""
    time, event = _LAST.of(batch)
    calendar = np.broadcast_to(batch.entry, time.shape) + time
    entered = np.where(np.isfinite(calendar), calendar, batch.entry)
    happened = np.ascontiguousarray(np.where(event, calendar, np.inf).T)
    entry = np.ascontiguousarray(batch.entry.T)
    cut = event_cuts(plan.looks, happened, entry, lambda: entered.max(axis=0))[:, -1]
    return np.asarray(event & (time <= plan.day) & (calendar <= cut))


def recorded(batch: Any, treated: Bools, included: Bools) -> Any:
    """Return a batch of any kind in which patients count in other arms, and some nowhere.

    Outcomes stay those of the treatment assigned.

    Parameters
    ----------
    batch : batch of any kind but response
    treated, included : ndarray of bool, shape (n_patients, n_reps)
    """
    match batch:
        case TrialBatch():
            event = np.where(batch.assigned, batch.events[EXPERIMENTAL], batch.events[CONTROL])
            own: Any = replace(batch, assigned=treated, events=np.stack([event, event]))
        case FollowUp():
            own = _crossed(batch, treated)
        case MeasuredBatch() | OrderedBatch() | CountedBatch() | CompetingBatch():
            own = replace(batch, assigned=treated)
        case _:
            raise AssertionError(f"{type(batch).__name__} has no arms of its own to count in")
    return own if included.all() else only(own, included)


def _crossed(batch: FollowUp, treated: Bools) -> FollowUp:
    """Let who counts in the other arm keep the own hazards, as a level of their own."""
    crossed = treated != batch.treated
    if not crossed.any():
        return batch
    level = np.zeros(crossed.shape, dtype=np.int64) if batch.level is None else batch.level
    swapped = tuple((other, own) for own, other in batch.hazards)
    return batch._replace(
        treated=treated,
        hazards=(*batch.hazards, *swapped),
        level=level + len(batch.hazards) * crossed,
    )


def rewritten(batch: TrialBatch, unfavourable: Bools, better: Better) -> TrialBatch:
    """Return a batch in which other outcomes are written down, the same in either arm."""
    event = unfavourable if better is Better.LOWER else ~unfavourable
    return replace(batch, events=np.stack([event, event]))


def event_days(batch: Any) -> Floats | None:
    """Return when a time to an event came, infinity for never; None of other kinds."""
    if not isinstance(batch, FollowUp):
        return None
    time, event = _LAST.of(batch)
    return np.where(event, time, np.inf)


def value_of(batch: Any) -> Floats | None:
    """Return one number per patient that tells an outcome, on its own scale.

    The measurement at the read-out, the category, the count; the day of the event, infinity where
    none was seen; None of what is a yes or no.
    """
    match batch:
        case MeasuredBatch():
            return np.asarray(np.exp(batch.visits[:, -1]) if batch.log else batch.visits[:, -1])
        case OrderedBatch():
            return np.asarray(batch.category - int(batch.days), dtype=float)
        case CountedBatch():
            return np.asarray(batch.count, dtype=float)
        case CompetingBatch():
            return np.where(batch.cause == Cause.EVENT, batch.time, np.inf)
        case _:
            return event_days(batch)


def written_down(
    batch: Any, records: Records, plan: AnalysisPlan, truth: OutcomeTruth | None
) -> Any:
    """Return a batch in which other outcomes are written down than happened, patient by patient.

    Every patient keeps the own luck: a measurement moves by SDs of its read-out at every visit
    after baseline, the odds of a higher category, the rate of events and the hazard are multiplied.
    Then events are read: one missed is never seen, and the patient followed on without it; a false
    one comes where nothing came by the read-out, in proportion to the own hazard of a time to an
    event, evenly over follow-up where another event may preclude it. Of a count each event is
    missed alone.

    Parameters
    ----------
    batch : batch of any kind but binary and response
        As drawn, each patient in the arm assigned.
    records : Records
    plan : AnalysisPlan
    truth : OutcomeTruth or None
        Of the endpoint, where it stands under ``outcomes:``.
    """
    from scipy.stats import binom  # half a second, which most workers never need

    if not records.is_rewritten:
        return batch
    assert records.worse_by is not None
    up = records.worse_by if plan.better is Better.LOWER else -records.worse_by
    moved, reading = up != 0, records.reading
    match batch, truth:
        case MeasuredBatch(), MeasuredTruth():
            shift = up[:, None, :] * np.array(truth.sds)[: batch.visits.shape[1], None]
            return replace(batch, visits=batch.visits + shift)
        case OrderedBatch(), OrderedTruth():
            assert batch.luck is not None
            luck = expit(logit(batch.luck) + up)
            arms = [category_of(luck, np.array(arm)) for arm in (truth.control, truth.treated)]
            other = np.where(batch.assigned, arms[1], arms[0])
            return replace(batch, category=np.where(moved, other, batch.category))
        case CountedBatch(), CountTruth():
            assert batch.luck is not None
            mean = batch.days * np.where(batch.assigned, truth.treated, truth.control)
            count = batch.count
            if moved.any():
                other = count_of(batch.luck, mean * np.exp(up), truth.dispersion)
                count = np.where(moved, other, count)
            if reading:
                read = np.asarray(
                    binom.ppf(reading.luck, count, reading.sensitivity), dtype=np.int64
                )
                count = np.where(reading.sensitivity < 1, np.clip(read, 0, count), count)
            return replace(batch, count=count)
        case CompetingBatch(), CompetingTruth():
            return _competing(batch, truth, np.where(moved, np.exp(up), 1.0), reading, plan)
        case FollowUp(), _:
            latent = np.where(moved, batch.latent / np.exp(up), batch.latent)
            return batch._replace(latent=_read(batch, latent, reading, plan) if reading else latent)
        case _:
            raise AssertionError(f"{type(batch).__name__} is a yes or no")


def _of_event(reading: Reading, plan: AnalysisPlan) -> tuple[Bools, Bools]:
    """Return of whom an event would be missed, and of whom one would be made up."""
    sees, clears = reading.sensitivity, reading.specificity
    if plan.better is Better.HIGHER:  # then it is its absence that is unfavourable
        sees, clears = clears, sees
    return reading.luck < 1 - sees, reading.luck < 1 - clears


def _read(batch: FollowUp, latent: Floats, reading: Reading, plan: AnalysisPlan) -> Floats:
    missed, made_up = _of_event(reading, plan)
    by_read_out = np.empty(latent.shape)
    for index, pair in enumerate(batch.hazards):
        for arm, hazard in enumerate(pair):
            who = batch.treated == bool(arm)
            if batch.level is not None:
                who = who & (batch.level == index)
            by_read_out[who] = -np.log(survival_on(np.array(plan.day), hazard))
    later = latent > by_read_out
    read = np.where(missed & ~later, np.inf, latent)
    return np.where(made_up & later, reading.place * by_read_out, read)


def _competing(
    batch: CompetingBatch,
    truth: CompetingTruth,
    ratio: Floats,
    reading: Reading | None,
    plan: AnalysisPlan,
) -> CompetingBatch:
    assert batch.luck is not None
    total, which, end = batch.luck
    time, cause = batch.time.copy(), batch.cause.copy()
    for arm in (False, True):
        breaks, rates = truth.event[arm]
        for own in np.unique(ratio[batch.assigned == arm]):
            if own == 1:
                continue
            who = (batch.assigned == arm) & (ratio == own)
            event = Hazard(breaks, tuple(rate * own for rate in rates))
            found = competing_times(total[who], which[who], event, Hazard(*truth.competing[arm]))
            time[who], cause[who] = followed_until(*found, end[who])
    if reading:
        missed, made_up = _of_event(reading, plan)
        ends = followed_until(end, cause, end)[0]
        gone = missed & (cause == Cause.EVENT)
        false = made_up & (cause == Cause.CENSORED)
        time = np.where(gone, ends, np.where(false, reading.place * ends, time))
        cause = np.where(gone, Cause.CENSORED, np.where(false, Cause.EVENT, cause))
    return replace(batch, time=time, cause=cause)
