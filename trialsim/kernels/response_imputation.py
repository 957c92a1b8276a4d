"""Multiple imputation of response at visits: each visit from the one before it, within arms.

Arrays hold one trial per last element; random numbers are passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

__all__ = ["SeenVisits", "impute_response"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_NONE, _RESPONSE, _RELAPSE, _DEAD = range(4)  # as the visits so far have shown it


class SeenVisits(NamedTuple):
    """What a trial knows of every patient, visit by visit. Shapes (n_visits, n_patients, n_reps).

    Attributes
    ----------
    attended : ndarray of bool
        Seen at the visit.
    responding : ndarray of bool
        Seen in response, at visits attended.
    dead : ndarray of bool
        Known to have died by the visit.
    lost : ndarray of bool
        Lost by the visit: not even whether they are alive is known. Who is none of the three has
        missed the visit and is alive.
    """

    attended: Bools
    responding: Bools
    dead: Bools
    lost: Bools


def impute_response(
    seen: SeenVisits,
    treated: Bools,
    uniforms: Callable[[int, tuple[int, ...]], Floats],
    n_imputations: int,
) -> Ints:
    """Complete response at every visit, and count it.

    Parameters
    ----------
    seen : SeenVisits
    treated : ndarray of bool, shape (n_patients, n_reps)
    uniforms : callable
        The number of a visit and a shape -> uniforms on (0, 1).
    n_imputations : int

    Returns
    -------
    counts : ndarray of int, shape (n_imputations, n_visits, 2, n_reps)
        Patients in response in the control and the treated arm.

    Notes
    -----
    Missing at random given arm and the state last seen: no response so far, response, or relapse;
    before the first visit nobody has responded. At each visit, death and then response are drawn
    from patients of the same arm and state who were seen at the visit before and are known at this
    one. Their share is not taken as known but drawn by the Bayesian bootstrap: k of n donors give
    Beta(k, n - k), whose mean is k / n whatever is rare. Where an arm has no donor both arms give
    it; where neither has, the state stays as it is.

    References
    ----------
    Rubin (1981), Annals of Statistics 9:130-134; Rubin (1987), Multiple Imputation for Nonresponse
    in Surveys, sections 4.4 and 5.4 (monotone patterns).
    """
    n_visits, *shape = seen.attended.shape
    counts = np.empty((n_imputations, n_visits, 2, shape[1]), dtype=np.int64)
    state = np.zeros((n_imputations, *shape), dtype=np.int8)
    before, known_before = np.zeros(shape, dtype=np.int8), np.ones(shape, dtype=bool)
    ever = np.zeros(shape, dtype=bool)
    for visit in range(n_visits):
        attended, responding = seen.attended[visit], seen.responding[visit]
        dead, lost = seen.dead[visit], seen.lost[visit]
        followed = known_before & ~lost
        cells = (n_imputations, 2, 3, shape[1])
        dying = _drawn(dead, followed, before, treated, uniforms(4 * visit, cells), 0)
        coming = _drawn(
            responding, known_before & attended, before, treated, uniforms(4 * visit + 1, cells), 1
        )
        state = _next(state, attended, dead, lost, treated, dying, coming, _Luck(uniforms, visit))
        ever |= attended & responding
        now = np.where(responding, _RESPONSE, np.where(ever, _RELAPSE, _NONE)).astype(np.int8)
        state = np.where(attended, now, state)
        state = np.where(dead, np.int8(_DEAD), state)
        before, known_before = now, attended
        here = state == _RESPONSE
        counts[:, visit, 0] = (here & ~treated).sum(axis=1)
        counts[:, visit, 1] = (here & treated).sum(axis=1)
    return counts


def _drawn(
    happened: Bools, donors: Bools, before: NDArray[np.int8], treated: Bools, u: Floats, stays: int
) -> Floats:
    """Return drawn shares per imputation, arm, state and trial, (n_imputations, 2, 3, n_reps)."""
    n, k = np.empty(u.shape[1:]), np.empty(u.shape[1:])
    for state in range(3):
        own = donors & (before == state)
        for arm, who in enumerate((own & ~treated, own & treated)):
            n[arm, state], k[arm, state] = who.sum(axis=0), (who & happened).sum(axis=0)
    n, k = (np.where(n > 0, x, x.sum(axis=0)) for x in (n, k))
    share = np.where(k > 0, 1.0, 0.0)
    varies = (k > 0) & (k < n)
    own = betaincinv(np.where(varies, k, 1.0), np.where(varies, n - k, 1.0), u)
    staying = np.array([0.0, float(stays), 0.0])[:, None]
    return np.where(n > 0, np.where(varies, own, share), staying)


class _Luck(NamedTuple):
    """The uniforms of the patients of one visit."""

    uniforms: Callable[[int, tuple[int, ...]], Floats]
    visit: int

    def of(self, what: int, shape: tuple[int, ...]) -> Floats:
        return self.uniforms(4 * self.visit + 2 + what, shape)


def _next(
    state: NDArray[np.int8],
    attended: Bools,
    dead: Bools,
    lost: Bools,
    treated: Bools,
    dying: Floats,
    coming: Floats,
    luck: _Luck,
) -> NDArray[np.int8]:
    """Return the states at a visit, drawn for those who are neither seen nor known to be dead."""
    patient, trial = np.nonzero(~attended & ~dead)
    if not len(patient):
        return state
    own, arm = state[:, patient, trial], treated[patient, trial].astype(int)
    lookup, rows = np.minimum(own, 2), np.arange(len(own))[:, None]
    u_death, u_response = (luck.of(what, own.shape) for what in (0, 1))
    dies = lost[patient, trial] & (u_death < dying[rows, arm, lookup, trial])
    responds = u_response < coming[rows, arm, lookup, trial]
    drawn = np.where(responds, _RESPONSE, np.where(own == _NONE, _NONE, _RELAPSE))
    drawn = np.where(dies | (own == _DEAD), _DEAD, drawn)
    found = state.copy()
    found[:, patient, trial] = drawn
    return found
