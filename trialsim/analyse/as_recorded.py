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

from trialsim.analyse.looks import event_cuts
from trialsim.analyse.response import responding
from trialsim.analyse.subgroups import only
from trialsim.generate.outcomes import CompetingBatch, CountedBatch, MeasuredBatch, OrderedBatch
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.competing import Cause
from trialsim.kernels.survival import FollowUp, followed
from trialsim.protocol.endpoints import Better
from trialsim.trial import CONTROL, EXPERIMENTAL, AnalysisPlan, TrialBatch

__all__ = ["recorded", "rewritten", "unfavourable", "yes_or_no"]

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
            return _worse_than_median(batch.category.astype(float), lower=lower)
        case CountedBatch():
            return _worse_than_median(batch.count.astype(float), lower=lower)
        case MeasuredBatch():
            return _worse_than_median(batch.visits[:, -1], lower=lower)
        case _:
            raise AssertionError(f"{type(batch).__name__} is no batch")
    return np.asarray(event if lower else ~event)


def _worse_than_median(values: Floats, *, lower: bool) -> Bools:
    known = np.isfinite(values).all()
    median = np.median(values, axis=0) if known else np.nanmedian(values, axis=0)
    return np.asarray(values > median if lower else values < median)  # never where NaN


def _seen_by_read_out(batch: FollowUp, plan: AnalysisPlan) -> Bools:
    """Return whose event came by the read-out, and before the last data cut-off."""
    time, event = followed(batch)
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
