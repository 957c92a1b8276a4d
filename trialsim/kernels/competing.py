"""Two groups compared on an event that another event can prevent, many trials at once.

A patient ends follow-up by the event of interest, by the competing event, or censored. Everything
rests on one table per trial: at every time, how many per arm were at risk and how each ended.

Three questions are answered. How many have had the event by a day: `cumulative_incidence`. Does
treatment change its rate among those still free of both: the log-rank test and the Cox model of
`trialsim.kernels.survival` on `CompetingTable.cause_specific`. Does it change the incidence:
`fine_gray`, whose hazard ratio is that of the subdistribution.

Ties as in `trialsim.kernels.survival`: times that agree to 2 parts in 10^10 are tied, and a patient
censored at an event time was still at risk.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialsim.errors import Problem, RequestError
from trialsim.kernels.hazards import Hazard, day_of
from trialsim.kernels.survival import RiskTable, Ties, cox, snapped

__all__ = [
    "Cause",
    "CompetingTable",
    "FineGray",
    "Incidence",
    "competing_table",
    "competing_times",
    "cumulative_incidence",
    "fine_gray",
    "followed_until",
    "incidence_on",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ABSENT = 6  # after the codes of a patient, 2 cause + arm; all of them fit in CODE_BITS
CODE_BITS = 7
NEVER = 2.0**1000  # sorts after every day, and unlike infinity has low bits for a code


class Cause(IntEnum):
    """How follow-up ended."""

    CENSORED = 0
    EVENT = 1
    COMPETING = 2


class CompetingTable(NamedTuple):
    """Who was at risk, and how they left. Rows as in `trialsim.kernels.survival.RiskTable`.

    One row per patient in order of time; who left at a tie stands in its last row, and its other
    rows are empty.

    Attributes
    ----------
    time : ndarray of float, shape (n_reps, n_rows)
        Infinity in the last rows of a trial that not all have entered.
    at_risk : ndarray of float, shape (2, n_reps, n_rows)
        Just before `time`, control and treated.
    left : ndarray of float, shape (3, 2, n_reps, n_rows)
        Patients who leave at `time`, by cause, control and treated.
    """

    time: Floats
    at_risk: Floats
    left: Floats

    def cause_specific(self, cause: Cause = Cause.EVENT) -> RiskTable:
        """Return the table of one cause, the other being censoring, for ``cox`` and the log-rank.

        References
        ----------
        Prentice, Kalbfleisch, Peterson, Flournoy, Farewell and Breslow (1978), Biometrics
        34:541-554.
        """
        events, leaving = self.left[cause], self.left.sum(axis=0)
        return RiskTable(
            self.time,
            self.at_risk.sum(axis=0),
            events.sum(axis=0),
            self.at_risk[1],
            events[1],
            leaving.sum(axis=0),
            leaving[1],
        )


def competing_table(time: ArrayLike, cause: ArrayLike, treated: ArrayLike) -> CompetingTable:
    """Sort and count the patients of many trials.

    Parameters
    ----------
    time : array of float, shape (n_patients, n_reps)
        Days from entry to the end of follow-up, above 0; infinity for who has not entered, as in
        `trialsim.kernels.survival.SurvivalData`: follow-up without end must be ended first
        (`followed_until`).
    cause : array of int, same shape
        Values of `Cause`.
    treated : array of bool, same shape
    """
    days = snapped(np.asarray(time, dtype=float).T)
    code = 2 * np.asarray(cause, dtype=np.int64).T + np.asarray(treated, dtype=np.int64).T
    here = np.isfinite(days)
    # one number per patient: sorting plain floats is several times faster than sorting indices
    bits = np.where(here, days, NEVER).view(np.int64) | np.where(here, code, ABSENT)
    bits = np.sort(bits.view(np.float64), axis=1).view(np.int64)
    code, days = bits & CODE_BITS, (bits & ~CODE_BITS).view(np.float64)
    who = code == np.arange(ABSENT)[:, None, None]
    left = who.astype(float)
    arms = left.reshape(3, 2, *code.shape).sum(axis=0)
    at_risk = np.cumsum(arms[:, :, ::-1], axis=2)[:, :, ::-1]
    tied = days[:, 1:] == days[:, :-1]
    if tied.any():
        first, last = _ends_of_ties(tied)
        at_risk = np.take_along_axis(at_risk, first[None], axis=2)
        counted = np.zeros((ABSENT, len(days), days.shape[1] + 1))
        np.cumsum(left, axis=2, out=counted[:, :, 1:])
        left = counted[:, :, 1:] - np.take_along_axis(counted, first[None], axis=2)
        left *= last
    days = np.where(code < ABSENT, days, np.inf)
    return CompetingTable(days, at_risk, left.reshape(3, 2, *code.shape))


def _ends_of_ties(tied: Bools) -> tuple[Ints, Bools]:
    """First row of every row's tie, and whether it is the last."""
    n_reps, n_rows = len(tied), tied.shape[1] + 1
    new, last = np.ones((2, n_reps, n_rows), dtype=bool)
    new[:, 1:] = last[:, :-1] = ~tied
    return np.maximum.accumulate(np.where(new, np.arange(n_rows), 0), axis=1), last


def _ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, 0 where there is nothing to divide by."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.divide(above, below, out=np.zeros(shape), where=below > 0)


def _before(running: NDArray[np.floating[Any]], start: float) -> Floats:
    """Return what a running total or product was one row earlier."""
    before = np.full(running.shape, start)
    before[..., 1:] = running[..., :-1]
    return before


class Incidence(NamedTuple):
    """Cumulative incidences on a day. The axis of arms: control, treated.

    Attributes
    ----------
    incidence : ndarray of float, shape (n_reps, 2, 2)
        Per arm, of the event and of the competing event. NaN where unknown: the arm's follow-up
        ends before the day with patients free of both, or the arm is empty.
    variance : ndarray of float, shape (n_reps, 2, 2)
    survival : ndarray of float, shape (n_reps, 2)
        Kaplan-Meier estimate of being free of both: 1 less both incidences.
    """

    incidence: Floats
    variance: Floats
    survival: Floats

    @property
    def known(self) -> Bools:
        """Where both arms have estimates, shape (n_reps,)."""
        return np.asarray(~np.isnan(self.survival).any(axis=1))

    @property
    def difference(self) -> Floats:
        """Treated minus control, of both causes, shape (n_reps, 2)."""
        return np.asarray(self.incidence[:, 1] - self.incidence[:, 0])

    @property
    def standard_error(self) -> Floats:
        """Standard error of the difference, shape (n_reps, 2); 0 where all agree."""
        return np.asarray(np.sqrt(self.variance.sum(axis=1)))


def cumulative_incidence(table: CompetingTable, day: float) -> Incidence:
    """Estimate both cumulative incidences of both arms on a day.

    Parameters
    ----------
    table : CompetingTable
    day : float
        Above 0.

    Notes
    -----
    With n at risk of whom k leave by the cause and o by the other, F the incidence and S the
    survival after it, S- before it, all at one time, and f the incidence on the day, the variance
    is the sum over times, with u = (f - F) / S, of
    ``(S- / n)^2 ((1 - u)^2 k (n - k) / (n - 1) + u^2 o (n - o) / (n - 1))``, where k (n - k) /
    (n - 1) is 1 for the only patient left, and u is 0 where S is.

    References
    ----------
    Aalen and Johansen (1978), Scandinavian Journal of Statistics 5:141-150; variance: Aalen (1978),
    Annals of Statistics 6:534-545, as R's ``cmprsk::cuminc`` has it.
    """
    n, day = table.at_risk, float(snapped([day])[0])
    k = np.where(table.time <= day, table.left[1:], 0.0)
    d = k.sum(axis=0)
    stays = 1 - _ratio(d, n)
    survival = np.asarray(np.cumprod(stays, axis=2), dtype=float)
    before = _before(survival, 1.0)
    steps = before * _ratio(k, n)
    running = np.cumsum(steps, axis=3)
    drawn = np.where(k == 1, 1.0, _ratio(k * (n - k), n - 1))
    later = _ratio(running[..., -1:] - running, survival)
    variance = (_ratio(before, n) ** 2 * ((1 - later) ** 2 * drawn + later**2 * drawn[::-1])).sum(
        axis=3
    )
    own = np.where(table.left.sum(axis=0) > 0, table.time, 0.0).max(axis=2, initial=0.0)
    at_end = survival[..., -1]
    known = (own >= day) | (at_end == 0)
    return Incidence(
        np.where(known, running[..., -1], np.nan).transpose(2, 1, 0),
        np.where(known, variance, np.nan).transpose(2, 1, 0),
        np.where(known, at_end, np.nan).T,
    )


class FineGray(NamedTuple):
    """A proportional subdistribution hazards model with treatment alone. All shapes (n_reps,).

    Attributes
    ----------
    log_hazard_ratio : ndarray of float
        Of the subdistribution of the event, treated to control.
    standard_error : ndarray of float
        Robust, and aware that the weights are estimated.
    converged : ndarray of bool
        Elsewhere the others are NaN: the likelihood has no maximum (all events in one arm, or
        none).
    """

    log_hazard_ratio: Floats
    standard_error: Floats
    converged: Bools


def fine_gray(table: CompetingTable, cause: Cause = Cause.EVENT) -> FineGray:
    """Fit subdistribution hazard ratios by Newton's method.

    Who had the other event stays at risk, with a weight that falls as the censoring distribution
    G does: ``G(t-) / G(X-)`` at t after leaving at X. G is the Kaplan-Meier estimate of both arms
    together. Ties as Breslow (1974). These are the choices of R's ``cmprsk::crr``; R's
    ``survival::finegray`` differs where a time has both events and censorings, for it takes who had
    an event at that time as no longer at risk of censoring.

    Parameters
    ----------
    table : CompetingTable
    cause : Cause
        The event of interest: either event.

    References
    ----------
    Fine and Gray (1999), Journal of the American Statistical Association 94:496-509; variance:
    equations 7 and 8.
    """
    events, others = table.left[cause], table.left[Cause.EVENT + Cause.COMPETING - cause]
    n = table.at_risk.sum(axis=0)
    censoring = _ratio(table.left[Cause.CENSORED].sum(axis=0), n)
    g = _before(np.cumprod(1 - censoring, axis=1), 1.0)
    gone = _before(np.cumsum(_ratio(others, g), axis=2), 0.0)
    at_risk = table.at_risk + g * gone
    d = events.sum(axis=0)
    both = at_risk.sum(axis=0)
    fit = cox([RiskTable(table.time, both, d, at_risk[1], events[1], d, events[1])], Ties.BRESLOW)
    found = np.isfinite(fit.log_hazard_ratio)

    ratio = np.ones((2, len(n), 1))
    ratio[1, :, 0] = np.exp(np.where(found, fit.log_hazard_ratio, 0.0))
    weight = at_risk * ratio
    total = weight.sum(axis=0)
    mean = _ratio(weight[1], total)
    apart = np.stack([-mean, 1 - mean])  # covariate less its mean, control and treated
    pulls = apart * ratio * _ratio(d, total)
    drift = np.cumsum(pulls, axis=2)  # score that a patient at risk until here has been expected
    weighted = np.cumsum(pulls * g, axis=2)
    later = weighted[..., -1:] - weighted
    # by how much a censoring here moves the score, through the weights of those already gone
    through = _ratio((gone * (weighted[..., -1:] - _before(weighted, 0.0))).sum(axis=0), n)
    expected = np.cumsum(through * censoring, axis=1)
    drift += expected
    squares = (
        events * (apart - drift) ** 2
        + others * (drift + _ratio(later, g)) ** 2
        + table.left[Cause.CENSORED] * (through - drift) ** 2
    ).sum(axis=(0, 2))
    return FineGray(
        fit.log_hazard_ratio,
        np.sqrt(squares) * fit.standard_error**2,
        found,
    )


def _together(hazard1: Hazard, hazard2: Hazard) -> tuple[Hazard, Floats]:
    """Hazard of either event, and the share of the first in every piece."""
    if hazard1.shape != hazard2.shape or hazard1.cured or hazard2.cured:
        rule = "must have the same shape and leave nobody cured"
        remedy = "Give the two events one shape, and write a low rate where few have one."
        raise RequestError(Problem(rule, remedy, "competing hazards"))
    breaks = tuple(sorted({*hazard1.breaks, *hazard2.breaks}))
    starts = np.array((0.0, *breaks))
    first, second = (
        np.array(hazard.rates, dtype=float)[np.searchsorted(hazard.breaks, starts, side="right")]
        for hazard in (hazard1, hazard2)
    )
    both = first + second
    return Hazard(breaks, tuple(both.tolist()), hazard1.shape), _ratio(first, both)


def competing_times(
    latent: Floats, uniform: Floats, hazard1: Hazard, hazard2: Hazard
) -> tuple[Floats, Ints]:
    """Return the day of the first of two events, and which it is.

    Parameters
    ----------
    latent : ndarray of float, any shape
        Standard exponential: the cumulative hazard of either event at which one occurs.
    uniform : ndarray of float, same shape
        In [0, 1): the event of interest where it is below that event's share of the hazard.
    hazard1, hazard2 : Hazard
        Cause-specific, of the event and of the competing event. One `shape`, none `cured`; breaks
        may differ.

    Returns
    -------
    time : ndarray of float
        Days; infinity for neither ever.
    cause : ndarray of int
        Values of `Cause`; ``Cause.CENSORED`` for neither.

    Raises
    ------
    RequestError
        Shapes differ or a fraction is cured.

    References
    ----------
    Beyersmann, Latouche, Buchholz and Schumacher (2009), Statistics in Medicine 28:956-971.
    """
    total, share = _together(hazard1, hazard2)
    time = day_of(latent, total)
    # by the cumulative hazard, as `day_of` does it: a day rounded up to a break is not misread
    piece = np.searchsorted(total.clock[2], latent, side="right") - 1
    cause = np.where(uniform < share[piece], Cause.EVENT, Cause.COMPETING)
    return time, np.where(np.isfinite(time), cause, Cause.CENSORED).astype(np.int64)


def followed_until(time: Floats, cause: Ints, ends: ArrayLike) -> tuple[Floats, Ints]:
    """Return time and cause where follow-up ends by a day; an event on that day counts.

    Parameters
    ----------
    time, cause : ndarray
        As `competing_times` gives them.
    ends : array of float, broadcasting against `time`
        Days from entry.
    """
    time, ends = snapped(time), snapped(np.broadcast_to(np.asarray(ends, dtype=float), time.shape))
    return np.minimum(time, ends), np.where(time <= ends, cause, Cause.CENSORED)


def incidence_on(days: ArrayLike, hazard1: Hazard, hazard2: Hazard) -> tuple[Floats, Floats]:
    """Return the true cumulative incidences of both events on each day, same shape as `days`.

    In a piece from survival S with hazards a and b, the first grows by
    ``S a / (a + b) (1 - exp(-(a + b) t))``.

    Parameters
    ----------
    days : array of float
        At least 0; infinity for ever.
    hazard1, hazard2 : Hazard
        As for `competing_times`.

    Raises
    ------
    RequestError
        Shapes differ or a fraction is cured.
    """
    total, share = _together(hazard1, hazard2)
    starts, slopes, at_start = total.clock
    clock = np.asarray(days, dtype=float)[..., None] ** total.shape
    lengths = np.append(np.diff(starts), 1e300)  # not infinity: it may meet a rate of 0
    spent = np.clip(clock - starts, 0.0, lengths) / slopes
    falls = np.exp(-at_start) * -np.expm1(-spent)
    return np.asarray((falls * share).sum(axis=-1)), np.asarray((falls * (1 - share)).sum(axis=-1))
