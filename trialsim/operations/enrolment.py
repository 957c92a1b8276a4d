"""When patients enter and who is lost, of many trials at once: the shortcut for power.

What is drawn is what the simulation event by event draws, without its events: sites open, have
their rates, and patients come until the trial is full. Doses, visits, supply and the board take no
part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.hazards import Hazard, day_of
from trialsim.kernels.recruitment import (
    Accrual,
    Arrivals,
    GammaDelay,
    arrivals,
    gamma_times,
    invitation_days,
    prepare_arrivals,
)
from trialsim.protocol.operations import Delay, OperationalNature, Operations
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.survival import Dropout
from trialsim.streams import Decision, Streams

__all__ = [
    "LEFT_OUT",
    "Conducted",
    "Enrolled",
    "accrual_of",
    "draw_conduct",
    "draw_enrolment",
    "draw_sites",
    "merged_pauses",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NODES = 40  # quantiles of the time screening takes
# what a run that draws entries this way does not carry out
LEFT_OUT = (
    "supply and stock-outs",
    "single doses and adherence",
    "visits",
    "data-entry lag",
    "the board's pace",
)


def _delay(delay: Delay) -> GammaDelay:
    return GammaDelay(delay.mean.days, float(delay.cv))


def merged_pauses(nature: OperationalNature) -> tuple[tuple[float, float], ...]:
    """Return the days in which nobody is screened, in order and without overlap."""
    merged: list[tuple[float, float]] = []
    pauses = nature.recruitment.pauses
    for start, end in sorted((pause.after.days, pause.until.days) for pause in pauses):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def accrual_of(operations: Operations, nature: OperationalNature) -> Accrual:
    """Return how a trial recruits, as arrays, in days."""
    sites, recruitment = operations.sites, nature.recruitment
    return Accrual(
        invitation_days(sites.planned, sites.invited_over.days),
        recruitment.per_site_month.value / DAYS_PER_UNIT["mo"],
        recruitment.shape.value if recruitment.shape else inf,
        _delay(nature.activation.takes),
        nature.activation.failing.value,
        recruitment.ramp_up.days if recruitment.ramp_up else 0.0,
        merged_pauses(nature),
        _delay(nature.screening.takes),
    )


@dataclass(frozen=True)
class Conducted:
    """One block of trials, carried out.

    Attributes
    ----------
    opened : ndarray, shape (n_sites, n_reps)
        Days; infinity for sites that never open.
    entry : ndarray, shape (n_patients, n_reps)
        Day of randomisation since the first invitation, rising; infinity where no site opens.
    withdrawn : ndarray, shape (n_patients, n_reps)
        Days from randomisation to withdrawal; infinity for never.
    screened, in_screening : ndarray of int, shape (n_reps,)
        By the last entry: patients screened, and those of them not yet through.
    """

    opened: Floats
    entry: Floats
    withdrawn: Floats
    screened: NDArray[np.int64]
    in_screening: NDArray[np.int64]

    def lost(self, days: float) -> NDArray[np.int64]:
        """Return how many withdraw within so many days of follow-up, shape (n_reps,)."""
        return np.asarray((self.withdrawn < days).sum(axis=0))


def draw_sites(accrual: Accrual, streams: Streams, block: int, width: int) -> tuple[Floats, Floats]:
    """Draw opening days and rates per day, shape (n_sites, width); more sites leave the rest."""
    shape = (accrual.n_sites, 2, width)
    luck = streams.generator(Decision.ACTIVATION, block).random(shape)
    opened = accrual.invited[:, None] + accrual.activation.of(luck[:, 0])
    opened = np.where(luck[:, 1] < accrual.failing, inf, opened)
    if accrual.shape == inf:
        return opened, np.full(opened.shape, accrual.per_day)
    luck = streams.generator(Decision.SITE_RATE, block).random(opened.shape)
    return opened, gamma_times(luck, accrual.per_day, accrual.shape**-0.5)


@dataclass(frozen=True)
class Enrolled:
    """Patients who came through screening, in order of entry.

    Attributes
    ----------
    entry : ndarray, shape (n_patients, n_reps)
    started : ndarray, shape (n_started, n_reps)
        Days on which screening began of patients who come through, more than enter.
    """

    entry: Floats
    started: Floats


def draw_enrolment(
    accrual: Accrual, prepared: Arrivals, n_patients: int, streams: Streams, block: int
) -> Enrolled:
    """Draw the days on which patients enter, until the trials are full.

    Screening takes each patient a time of its own, so those who enter are not the first to come:
    patients are drawn until nobody who comes later could be among them.
    """
    width = prepared.starts.shape[1]
    luck = streams.generator(Decision.ARRIVAL, block)
    latent = np.cumsum(luck.standard_exponential((n_patients, width)), axis=0)
    started = arrivals(latent, prepared)
    mean, cv = accrual.screening.mean, accrual.screening.cv
    if not mean or not cv:
        return Enrolled(started + mean, started)
    delay = _delays(mean, cv, streams, block)
    entry = started + delay(started.shape)
    while np.any(started[-1] < _nth(entry, n_patients)):
        more = latent[-1] + np.cumsum(
            luck.standard_exponential((max(16, n_patients // 8), width)), axis=0
        )
        latent = np.concatenate([latent[-1:], more])
        came = arrivals(more, prepared)
        started = np.concatenate([started, came])
        entry = np.concatenate([entry, came + delay(came.shape)])
    return Enrolled(np.sort(entry, axis=0)[:n_patients], started)


def _delays(
    mean: float, cv: float, streams: Streams, block: int
) -> Callable[[tuple[int, ...]], Floats]:
    luck = streams.generator(Decision.SCREENING, block)
    shape = cv**-2.0
    return lambda size: luck.standard_gamma(shape, size) * (mean / shape)


def _nth(entry: Floats, n: int) -> Floats:
    return np.asarray(np.partition(entry, n - 1, axis=0)[n - 1])


def draw_conduct(
    accrual: Accrual,
    n_patients: int,
    streams: Streams,
    block: int,
    width: int,
    *,
    passing: float = 1.0,
    withdrawal: Dropout | None = None,
) -> Conducted:
    """Draw one block of trials: when patients enter, how many are screened, who withdraws.

    Parameters
    ----------
    accrual : Accrual
    n_patients : int
        To be randomised.
    streams : Streams
    block, width : int
        Which block, from 0; trials in it.
    passing : float
        Share of patients screened who are randomised.
    withdrawal : Dropout or None
        Time from randomisation to withdrawal.
    """
    opened, rates = draw_sites(accrual, streams, block, width)
    prepared = prepare_arrivals(opened, rates, accrual.ramp_days, accrual.pauses)
    enrolled = draw_enrolment(accrual, prepared, n_patients, streams, block)
    last = enrolled.entry[-1]
    came = (enrolled.started <= last).sum(axis=0)
    screened, waiting = came, came - n_patients
    if passing < 1:
        luck = streams.generator(Decision.SCREENING, block, "failed")
        by_end = prepared.by(last)
        waits = accrual.screening.nodes(_NODES)
        through = sum((prepared.by(last - wait) for wait in waits), 0.0 * last) / len(waits)
        odds = (1 - passing) / passing
        ended = luck.poisson(odds * np.where(np.isfinite(last), through, 0.0))
        open_still = luck.poisson(odds * np.where(np.isfinite(last), by_end - through, 0.0))
        screened, waiting = came + ended + open_still, waiting + open_still
    withdrawn = np.full(enrolled.entry.shape, inf)
    if withdrawal:
        luck = streams.generator(Decision.WITHDRAWAL, block)
        withdrawn = day_of(luck.standard_exponential(withdrawn.shape), Hazard(*withdrawal.curve))
    return Conducted(opened, enrolled.entry, withdrawn, screened, waiting)
