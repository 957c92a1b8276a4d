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
from trialsim.protocol.operations import Delay
from trialsim.protocol.truths.site_enrolment import SiteEnrolment
from trialsim.streams import Decision, Streams

__all__ = [
    "Conducted",
    "Enrolled",
    "accrual_of",
    "draw_conduct",
    "draw_enrolment",
    "draw_sites",
    "entry_days",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NODES = 40  # quantiles of the time screening takes


def accrual_of(sites: SiteEnrolment) -> Accrual:
    """Return how sites enrol, as arrays."""
    return Accrual(
        invitation_days(sites.n_sites, sites.invited_over_days),
        sites.per_day,
        sites.shape,
        _delay(sites.activation),
        sites.failing,
        sites.ramp_up_days,
        sites.pauses,
        _delay(sites.screening),
    )


def _delay(delay: Delay) -> GammaDelay:
    return GammaDelay(delay.mean.days, float(delay.cv))


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
    luck = streams.generator(Decision.OPENINGS, block).random(shape)
    opened = accrual.invited[:, None] + accrual.activation.of(luck[:, 0])
    opened = np.where(luck[:, 1] < accrual.failing, inf, opened)
    if accrual.shape == inf:
        return opened, np.full(opened.shape, accrual.per_day)
    luck = streams.generator(Decision.RATES_OF_SITES, block).random(opened.shape)
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
    luck = streams.generator(Decision.ARRIVALS, block)
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
    luck = streams.generator(Decision.SCREENINGS, block)
    shape = cv**-2.0
    return lambda size: luck.standard_gamma(shape, size) * (mean / shape)


def _nth(entry: Floats, n: int) -> Floats:
    return np.asarray(np.partition(entry, n - 1, axis=0)[n - 1])


def entry_days(
    sites: SiteEnrolment, shape: tuple[int, int], streams: Streams, block: int
) -> Floats:
    """Return the days of entry since the first patient's, shape (n_patients, n_reps).

    A trial none of whose sites opens (at most one in a million, by the rules) has its first site.
    """
    accrual = accrual_of(sites)
    opened, rates = draw_sites(accrual, streams, block, shape[1])
    opened[0] = np.where(np.isfinite(opened).any(axis=0), opened[0], accrual.activation.mean)
    prepared = prepare_arrivals(opened, rates, accrual.ramp_days, accrual.pauses)
    entry = draw_enrolment(accrual, prepared, shape[0], streams, block).entry
    return np.asarray(entry - entry[0])


def draw_conduct(
    sites: SiteEnrolment, n_patients: int, streams: Streams, block: int, width: int
) -> Conducted:
    """Draw one block of trials: when patients enter, how many are screened, who leaves.

    Parameters
    ----------
    sites : SiteEnrolment
    n_patients : int
        To be randomised.
    streams : Streams
    block, width : int
        Which block, from 0; trials in it.
    """
    accrual = accrual_of(sites)
    opened, rates = draw_sites(accrual, streams, block, width)
    prepared = prepare_arrivals(opened, rates, accrual.ramp_days, accrual.pauses)
    enrolled = draw_enrolment(accrual, prepared, n_patients, streams, block)
    last = enrolled.entry[-1]
    came = (enrolled.started <= last).sum(axis=0)
    screened, waiting = came, came - n_patients
    if sites.passing < 1:
        ended, begun = _not_passing(accrual, prepared, last)
        odds = (1 - sites.passing) / sites.passing
        luck = streams.generator(Decision.SCREENINGS, block, "not passing")
        through, open_still = luck.poisson(odds * ended), luck.poisson(odds * begun)
        screened, waiting = came + through + open_still, waiting + open_still
    withdrawn = np.full(enrolled.entry.shape, inf)
    if sites.leaving:
        luck = streams.generator(Decision.WITHDRAWALS, block)
        withdrawn = day_of(luck.standard_exponential(withdrawn.shape), Hazard(*sites.leaving))
    return Conducted(opened, enrolled.entry, withdrawn, screened, waiting)


def _not_passing(accrual: Accrual, prepared: Arrivals, last: Floats) -> tuple[Floats, Floats]:
    """Return cumulative rates of patients through screening by a day, and still in it."""
    begun = np.where(last < inf, prepared.by(last), 0.0)
    waits = accrual.screening.nodes(_NODES)
    ended = sum((prepared.by(last - wait) for wait in waits), 0.0 * begun) / len(waits)
    ended = np.where(last < inf, np.minimum(ended, begun), 0.0)
    return ended, begun - ended
