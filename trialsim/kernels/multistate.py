"""Continuous-time states with hazards constant between breaks: exact probabilities, and paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.hazards import Hazard, day_of

__all__ = ["STATES", "probability_in_response", "state_probabilities", "times_to_event"]

STATES = ("none", "response", "relapse", "death", "loss")
# response first: no triangular matrix, of which scipy divides differences of nearly equal hazards
_ORDER = np.ix_((1, 0, 2, 3, 4), (1, 0, 2, 3, 4))
Floats = NDArray[np.float64]


def state_probabilities(
    days: Floats,
    breaks: tuple[float, ...],
    response: tuple[float, ...],
    relapse: float,
    death: float,
    loss: float,
    again: float = 0.0,
    loss_ratios: tuple[float, float] = (1.0, 1.0),
) -> Floats:
    """Probabilities of every state, by products of matrix exponentials.

    Parameters
    ----------
    days : ndarray, shape (n_times,)
        Days since start of therapy, at least 0.
    breaks, response : tuple of float
        Ends of pieces in days, and hazard of response per day in each; the last goes on.
    relapse, death, loss, again : float
        Hazards per day; `again` from relapse back to response.
    loss_ratios : tuple of float
        How many times the hazard of loss is in response, and after relapse.

    Returns
    -------
    probabilities : ndarray, shape (n_times, 5)
        In the order of `STATES`; everyone starts in "none".

    References
    ----------
    Kolmogorov's forward equations: Cox and Miller (1965), The Theory of Stochastic Processes,
    section 4.5; exponentials by scaling and squaring, Al-Mohy and Higham (2010), SIAM Journal on
    Matrix Analysis 31:970-989 (scipy).
    """
    from scipy.linalg import expm

    starts = (0.0, *breaks)
    ends = (*breaks, np.inf)
    hazards = (*response, response[-1])
    found = []
    for day in np.asarray(days, dtype=float):
        state = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
        for start, end, hazard in zip(starts, ends, hazards, strict=False):
            if start < day:
                generator = _generator(hazard, relapse, death, loss, again, loss_ratios)
                moved = expm(generator[_ORDER] * (min(end, day) - start))
                state = state @ moved[_ORDER]
        found.append(state)
    return np.array(found)


def _generator(
    response: float,
    relapse: float,
    death: float,
    loss: float,
    again: float,
    loss_ratios: tuple[float, float],
) -> Floats:
    q = np.zeros((5, 5))
    q[0, 1], q[1, 2], q[2, 1] = response, relapse, again
    q[:3, 3], q[:3, 4] = death, (loss, loss * loss_ratios[0], loss * loss_ratios[1])
    np.fill_diagonal(q, -q.sum(axis=1))
    return q


def times_to_event(
    uniforms: Floats,
    breaks: tuple[float, ...],
    hazards: tuple[float, ...],
    times: Floats | float = 1.0,
) -> Floats:
    """Event times under a piecewise-constant hazard, by inverse of the cumulative hazard.

    Parameters
    ----------
    uniforms : ndarray, any shape
        In [0, 1); larger means later.
    breaks, hazards : tuple of float
        As in `state_probabilities`.
    times : ndarray of the same shape, or float
        How many times the hazards each patient's are.

    Returns
    -------
    times : ndarray, same shape
        Infinity where the hazard ends at 0 before the event.
    """
    rates = (*hazards, hazards[-1])[: len(breaks) + 1]
    return day_of(-np.log1p(-uniforms) / times, Hazard(breaks, rates))


def probability_in_response(
    since: Floats, until: Floats, ends: Floats, hazards: Floats, relapse: Floats, leaving: float
) -> tuple[Floats, Floats, Floats]:
    """Probabilities on a day of patients who had no response on an earlier one, for many courses.

    Parameters
    ----------
    since, until : ndarray, shape (n_points,)
        Days since start of therapy.
    ends : ndarray, shape (n_courses, n_pieces)
        Ends of the pieces, not falling; the last piece goes on. Pieces may be empty.
    hazards : ndarray, shape (n_courses, n_pieces)
        Of response, per day.
    relapse : ndarray, shape (n_courses,)
        Per day.
    leaving : float
        Death and loss together, per day.

    Returns
    -------
    none, response, cumulative : ndarray, shape (n_courses, n_points)
        Probability to have had no response and of being in response, and the cumulative hazard.

    References
    ----------
    Cox and Miller (1965), section 4.5, piece by piece.
    """
    since, until = np.asarray(since, dtype=float), np.asarray(until, dtype=float)
    none, response = np.ones((len(ends), len(since))), np.zeros((len(ends), len(since)))
    cumulative = np.zeros_like(none)
    gone, start = relapse[:, None], np.zeros((len(ends), 1))
    for piece in range(ends.shape[1]):
        last = piece == ends.shape[1] - 1
        end = np.full((len(ends), 1), np.inf) if last else ends[:, piece, None]
        days = np.clip(np.minimum(end, until) - np.maximum(start, since), 0.0, None)
        hazard = hazards[:, piece, None]
        gap = np.abs(gone - hazard) * days
        slower = np.exp(-np.minimum(hazard, gone) * days)
        part = np.where(gap > 1e-12, -np.expm1(-gap) / np.where(gap > 1e-12, gap, 1.0), 1.0)
        response = response * np.exp(-gone * days) + none * hazard * slower * part * days
        none = none * np.exp(-hazard * days)
        cumulative = cumulative + hazard * days
        start = np.maximum(start, end)
    stay = np.exp(-leaving * (until - since))
    return none * stay, response * stay, cumulative
