"""Two groups compared on a time known only to lie between visits, many trials at once.

Visits cut time into cells 1 .. K. A patient is known by (l, r): free of the event at visit l, with
it at visit r; or by l alone, free of it when last seen. Arrays hold one trial per first element.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["GroupedTimes", "IntervalLogRank", "interval_log_rank", "tabulated"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TOLERANCE, _MOST_STEPS = 1e-8, 5_000  # of a hazard


class GroupedTimes(NamedTuple):
    """Patients by what is known of them.

    Attributes
    ----------
    events : ndarray of float, shape (n_reps, 2, K + 1, K + 1)
        Control and treated patients, by l and r; 0 unless l < r.
    free : ndarray of float, shape (n_reps, 2, K + 1)
        Patients who were never seen with the event, by l.
    """

    events: Floats
    free: Floats


class IntervalLogRank(NamedTuple):
    """A score statistic per trial, treated compared with control.

    Attributes
    ----------
    score : ndarray of float, shape (n_reps,)
        Events in the treated arm less those expected, over all that the intervals may hold.
    variance : ndarray of float, shape (n_reps,)
        From the observed information; 0 where nothing is at stake.
    hazards : ndarray of float, shape (n_reps, K)
        Both arms' together, of each cell.
    n_steps : int
        Of the algorithm, in the slowest trial.
    """

    score: Floats
    variance: Floats
    hazards: Floats
    n_steps: int


def tabulated(last_free: Ints, first_seen: Ints, treated: Bools, n_visits: int) -> GroupedTimes:
    """Count patients by what is known of them.

    Parameters
    ----------
    last_free : ndarray of int, shape (n_patients, n_reps)
        Number of the last visit, from 1, that saw no event before one did; 0 for none.
    first_seen : ndarray of int, shape (n_patients, n_reps)
        Number of the first visit that saw the event; 0 for none.
    treated : ndarray of bool, shape (n_patients, n_reps)
    n_visits : int
    """
    k, n_reps = n_visits + 1, treated.shape[1]
    code = ((np.arange(n_reps) * 2 + treated) * k + last_free) * k + first_seen
    counts = np.bincount(code.ravel(), minlength=n_reps * 2 * k * k)
    counted = counts.reshape(n_reps, 2, k, k).astype(float)
    free = counted[:, :, :, 0].copy()
    counted[:, :, :, 0] = 0.0
    return GroupedTimes(counted, free)


def interval_log_rank(times: GroupedTimes) -> IntervalLogRank:
    """Score test of no difference, for times known to lie between visits.

    Notes
    -----
    The hazards of the cells are discrete; treatment multiplies their odds by one number. Under no
    difference they are Turnbull's (1976) non-parametric maximum likelihood estimate, here by the EM
    algorithm. A patient's score is the sum over cells of the probability to have had the event
    there, less the hazard times the probability to be at risk, both given what is known: with
    every visit attended the log-rank score, so that the statistic is observed less expected events
    (Sun 1996). Its variance is that of the observed information (Louis 1982), hazards estimated:
    with every visit attended the sum of n1 n0 d (n - d) / n^3.

    References
    ----------
    Finkelstein (1986), Biometrics 42:845-854; Sun (1996), Statistics in Medicine 15:1387-1395; Fay
    (1999), Statistics in Medicine 18:273-285; Turnbull (1976), Journal of the Royal Statistical
    Society B 38:290-295; Louis (1982), Journal of the Royal Statistical Society B 44:226-233.
    """
    rows, columns = np.triu_indices(times.events.shape[-1], 1)
    cells = np.arange(1, times.events.shape[-1])
    inside = (rows[:, None] < cells) & (cells <= columns[:, None])  # (n_patterns, K)
    events = times.events[:, :, rows, columns]
    until = (cells <= np.arange(len(cells) + 1)[:, None]).astype(float)  # (K + 1, K)
    hazards, n_steps = _turnbull(events.sum(axis=1), times.free.sum(axis=1), inside, until)
    return _scored(events, times.free, inside, until, hazards, n_steps)


def _given(hazards: Floats, inside: Bools) -> Floats:
    """Return the probabilities of the cells given each interval, (n_reps, n_patterns, K)."""
    staying = np.cumprod(1 - hazards, axis=1)
    mass = hazards * np.concatenate([np.ones((len(hazards), 1)), staying[:, :-1]], axis=1)
    shared = mass[:, None] * inside
    total = shared.sum(axis=2, keepdims=True)
    even = inside / inside.sum(axis=1, keepdims=True)  # of no patient, where there is no mass
    return np.asarray(np.where(total > 0, shared / np.where(total > 0, total, 1.0), even))


def _at_risk(given: Floats) -> Floats:
    return np.asarray(np.cumsum(given[..., ::-1], axis=-1)[..., ::-1])


def _turnbull(events: Floats, free: Floats, inside: Bools, until: Floats) -> tuple[Floats, int]:
    hazards = np.full((len(events), inside.shape[1]), 0.1)
    censored = free @ until
    active, step = np.arange(len(events)), 0
    while len(active) and step < _MOST_STEPS:
        step += 1
        given = _given(hazards[active], inside)
        had = np.einsum("rp,rpk->rk", events[active], given)
        risk = np.einsum("rp,rpk->rk", events[active], _at_risk(given)) + censored[active]
        new = np.where(risk > 0, had / np.where(risk > 0, risk, 1.0), 0.0)
        moving = np.abs(new - hazards[active]).max(axis=1) > _TOLERANCE
        hazards[active] = new
        active = active[moving]
    return hazards, step


def _scored(
    events: Floats, free: Floats, inside: Bools, until: Floats, hazards: Floats, n_steps: int
) -> IntervalLogRank:
    given = _given(hazards, inside)
    risk = _at_risk(given)
    own = given - hazards[:, None] * risk  # scores of the cells, (n_reps, n_patterns, K)
    own_free = -hazards[:, None] * until
    score = np.einsum("rp,rpk->r", events[:, 1], own)
    score += np.einsum("rl,rlk->r", free[:, 1], own_free)
    every = _information(events.sum(axis=1), free.sum(axis=1), given, own, risk, until, hazards)
    arm = _information(events[:, 1], free[:, 1], given, own, risk, until, hazards)
    fixed = hazards * (1 - hazards) < 1e-12  # at the edge: not estimated
    every = np.where(fixed[:, :, None] | fixed[:, None], 0.0, every)
    every += fixed[:, :, None] * np.eye(hazards.shape[1])
    arm = np.where(fixed[:, :, None] | fixed[:, None], 0.0, arm)
    across = arm.sum(axis=2)
    solved = np.linalg.solve(every, across[:, :, None])[:, :, 0]
    variance = arm.sum(axis=(1, 2)) - (across * solved).sum(axis=1)
    variance = np.where(variance > 1e-10, variance, 0.0)
    return IntervalLogRank(score, variance, hazards, n_steps)


def _information(
    events: Floats,
    free: Floats,
    given: Floats,
    own: Floats,
    risk: Floats,
    until: Floats,
    hazards: Floats,
) -> Floats:
    """Return the observed information of the cells' log odds in some patients, (n_reps, K, K)."""
    n_cells = hazards.shape[1]
    at_risk = np.einsum("rp,rpk->rk", events, risk) + free @ until
    complete = (hazards * (1 - hazards) * at_risk)[:, :, None] * np.eye(n_cells)
    in_cell = np.eye(n_cells) - hazards[:, None] * np.tri(n_cells)  # score if the event is in j
    had = np.einsum("rp,rpk->rk", events, given)
    second = np.einsum("rj,rjk,rjm->rkm", had, in_cell, in_cell)
    first = np.einsum("rp,rpk,rpm->rkm", events, own, own)
    return np.asarray(complete - second + first)
