"""When looks are held, and where trials stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from math import ceil

import numpy as np
from numpy.typing import NDArray

from trialsim.protocol.design import Look
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["Reason", "Stops", "event_cuts", "patient_cuts", "stop"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def events_wanted(looks: tuple[Look, ...]) -> list[int | None]:
    """Events that set off each look of a time to an event; None for other triggers."""
    if not looks:
        return [None]
    last = looks[-1].at.events
    return [
        look.at.events
        or (ceil(look.at.information * last - 1e-9) if look.at.information and last else None)
        for look in looks
    ]


def event_cuts(
    looks: tuple[Look, ...],
    event_calendar: Floats,
    entry: Floats,
    last_day: Callable[[], Floats],
) -> Floats:
    """Return the day of every look's data cut-off, shape (n_reps, n_looks).

    A look whose events never come is held when nothing more can happen. A look is never held
    before the one that precedes it.

    Parameters
    ----------
    looks : tuple of Look
        None for one look when nothing more can happen.
    event_calendar : ndarray, shape (n_reps, n_patients)
        Day of the trial of each event, else infinity. Is reordered.
    entry : ndarray, shape (n_reps, n_patients) or (1, n_patients)
    last_day : callable
        Gives the day after which nothing can happen, shape (n_reps,).
    """
    if not looks:
        return last_day()[:, None]
    wanted = events_wanted(looks)
    ranks = [events - 1 for events in wanted if events is not None]
    if len(ranks) == 1:  # positive numbers are ordered as their bits, and partitioned faster
        event_calendar.view(np.int64).partition(ranks[0], axis=1)
    elif ranks:
        event_calendar.sort(axis=1)
    cuts = np.empty((len(event_calendar), len(looks)))
    for index, (look, events) in enumerate(zip(looks, wanted, strict=True)):
        if events is not None:
            cuts[:, index] = event_calendar[:, events - 1]
        elif look.at.enrolled is not None:
            cuts[:, index] = entry[:, look.at.enrolled - 1]
        else:
            assert look.at.calendar is not None  # a share of no stated events sets off nothing
            cuts[:, index] = look.at.calendar.days
    missing = np.isinf(cuts)
    if missing.any():
        cuts = np.where(missing, last_day()[:, None], cuts)
    return np.maximum.accumulate(cuts, axis=1)


def patient_cuts(
    looks: tuple[Look, ...],
    read_out_days: float,
    entry: Floats | None,
    events: Bools,
) -> tuple[Ints, Bools]:
    """Return how many patients are read out at each look, and where its trigger never came.

    Parameters
    ----------
    looks : tuple of Look
        None for one look at everyone.
    read_out_days : float
        From entry to a patient's outcome.
    entry : ndarray or None, shape (n_patients, n_reps) or (n_patients, 1)
    events : ndarray of bool, shape (n_patients, n_reps)

    Returns
    -------
    read, short : ndarray, shape (n_reps, n_looks)
        Patients are read out in order of arrival.
    """
    n, n_reps = events.shape
    if not looks:
        return np.full((n_reps, 1), n), np.zeros((n_reps, 1), dtype=bool)
    read = np.empty((n_reps, len(looks)), dtype=np.int64)
    short = np.zeros(read.shape, dtype=bool)
    for index, look in enumerate(looks):
        at = look.at
        if at.information is not None:
            read[:, index] = ceil(n * at.information - 1e-9)
        elif at.events is not None:
            so_far = np.cumsum(events, axis=0, dtype=np.int32)
            reached = so_far >= at.events
            short[:, index] = ~reached[-1]
            read[:, index] = np.where(reached[-1], reached.argmax(axis=0) + 1, n)
        else:
            assert entry is not None  # required by the rules
            day = entry[at.enrolled - 1] if at.enrolled else at.calendar.days if at.calendar else 0
            read[:, index] = (entry + read_out_days <= day).sum(axis=0)
    return np.maximum.accumulate(read, axis=1), short


def decided(plan: AnalysisPlan, entry: Floats | None, read: Ints) -> tuple[Floats, Floats]:
    """Return patients enrolled and day of the trial at each decision, shape (n_reps, n_looks).

    The last patient read out sets the data cut-off; patients go on entering until the decision.
    Without enrolment nobody is in the pipeline, and there is no day.
    """
    if entry is None:
        return read.astype(float), np.full(read.shape, np.nan)
    last = np.maximum(read - 1, 0)
    rows = np.broadcast_to(entry, (len(entry), len(read)))
    cut = np.take_along_axis(rows.T, last, axis=1) + plan.day
    day = cut + plan.lag_days
    enrolled = np.stack(
        [(rows <= day[:, k]).sum(axis=0) for k in range(read.shape[1])], axis=1
    ).astype(float)
    return enrolled, day


class Reason(StrEnum):
    """Why a trial ended."""

    EFFICACY = "efficacy"
    FUTILITY = "futility"
    END = "end, no effect found"


@dataclass(frozen=True)
class Stops:
    """Where every trial stopped.

    Attributes
    ----------
    look : ndarray of int, shape (n_reps,)
        Position of the look, from 0.
    futile : ndarray of bool, shape (n_reps,)
        Stopped for futility, early.
    final : LookResults
        What that look found, arrays of shape (n_reps, 1); nothing is found after futility.
    """

    look: Ints
    futile: Bools
    final: LookResults

    def because(self, reason: Reason, look: int) -> Bools:
        """Return which trials stopped at a look (from 0) for a reason, shape (n_reps,)."""
        here, found = self.look == look, self.final.rejected[:, 0]
        why = {
            Reason.EFFICACY: found,
            Reason.FUTILITY: self.futile,
            Reason.END: ~found & ~self.futile,
        }
        return np.asarray(here & why[reason])


def stop(results: LookResults, plan: AnalysisPlan, *, heed_futility: bool = True) -> Stops:
    """Stop every trial at the first look that crosses a bound, or at the last.

    Parameters
    ----------
    results : LookResults
        Of every look, as if none had stopped the trial.
    plan : AnalysisPlan
    heed_futility : bool
        False ignores bounds that are not binding.
    """
    n_reps, n_looks = results.z.shape
    bounds = np.full(n_looks, -np.inf)
    for index, look in enumerate(plan.looks):
        if look.futility_z is not None and (heed_futility or look.binding):
            bounds[index] = look.futility_z
    futile = (results.z <= bounds) & ~results.rejected
    over = results.rejected | futile
    over[:, -1] = True
    at = over.argmax(axis=1)
    picked = np.arange(n_reps), at
    final = LookResults(*(getattr(results, f.name)[picked][:, None] for f in fields(results)))
    return Stops(at, futile[picked] & (at < n_looks - 1), final)
