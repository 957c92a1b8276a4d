"""Sums over patients, drawn without the patients: what a group-sequential look adds.

Everything is an inverse distribution function of a uniform, so that two truths given the same
uniforms stay paired: a higher risk never gives fewer events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri

__all__ = ["binomial", "hypergeometric", "normal_increments"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def binomial(uniforms: Floats, n: Ints, p: float) -> Ints:
    """Draw the successes among `n` at probability `p`; shapes (n_reps,)."""
    return _by_distribution(uniforms, n, lambda size: _binomial(size, p))


def hypergeometric(uniforms: Floats, marked: Ints, left: int, drawn: int) -> Ints:
    """Draw the marked ones among `drawn` of `left`, of which `marked` are; shapes (n_reps,)."""
    if drawn == 0:
        return np.zeros(len(uniforms), dtype=np.int64)
    return _by_distribution(uniforms, marked, lambda own: _hypergeometric(own, left, drawn))


_CELLS = 1024  # a power of two: which cell a uniform lies in is then exact


class _Distribution(NamedTuple):
    """Distribution function from its first value on, and where to start looking in it.

    Attributes
    ----------
    first : int
        The value of ``cdf[0]``.
    cdf : ndarray
        Ends with 1.
    guide : ndarray of int, shape (_CELLS,)
        Per cell of the unit interval, the first position above its lower end.
    """

    first: int
    cdf: Floats
    guide: Ints


def _by_distribution(
    uniforms: Floats, parameters: Ints, distribution_of: Callable[[int], _Distribution]
) -> Ints:
    """Invert each trial's own distribution function, by guide table.

    References
    ----------
    Chen and Asau (1974), AIIE Transactions 6:163-166.
    """
    lowest = int(parameters.min())
    rank = np.bincount(parameters - lowest)
    present = np.flatnonzero(rank)
    rank[present] = np.arange(len(present))
    own = [distribution_of(lowest + int(value)) for value in present]
    starts = np.cumsum([0, *(len(d.cdf) for d in own[:-1])])
    cdf = np.concatenate([d.cdf for d in own])
    guide = np.concatenate([d.guide + start for d, start in zip(own, starts, strict=True)])
    which = rank[parameters - lowest]
    at = guide[which * _CELLS + (uniforms * _CELLS).astype(np.int64)]
    behind = np.flatnonzero(cdf[at] <= uniforms)
    while len(behind):
        at[behind] += 1
        behind = behind[cdf[at[behind]] <= uniforms[behind]]
    value_of_start = np.array([d.first for d in own]) - starts
    drawn: Ints = at + value_of_start[which]
    return drawn


@lru_cache(maxsize=4096)
def _binomial(n: int, p: float) -> _Distribution:
    k = np.arange(n + 1)
    log_choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return _summed(log_choose + k * np.log(p) + (n - k) * np.log1p(-p))


@lru_cache(maxsize=4096)
def _hypergeometric(marked: int, left: int, drawn: int) -> _Distribution:
    k = np.arange(drawn + 1)
    possible = (k <= marked) & (drawn - k <= left - marked)
    own, other = np.where(possible, k, 0), np.where(possible, drawn - k, 0)
    log_weight = (
        -gammaln(own + 1)
        - gammaln(np.maximum(marked - own, 0) + 1)
        - gammaln(other + 1)
        - gammaln(np.maximum(left - marked - other, 0) + 1)
    )
    return _summed(np.where(possible, log_weight, -np.inf))


def _summed(log_weight: Floats) -> _Distribution:
    weight = np.exp(log_weight - log_weight.max())
    cdf = np.cumsum(weight) / weight.sum()
    # uniforms are multiples of 2**-53: what lies further out is never drawn
    first = int(np.searchsorted(cdf, 2.0**-60))
    last = int(np.flatnonzero(weight / weight.sum() > 2.0**-60)[-1])
    cdf = cdf[first : last + 1].copy()
    cdf[-1] = 1.0
    cells = np.arange(_CELLS) / _CELLS
    return _Distribution(first, cdf, np.searchsorted(cdf, cells, side="right"))


def normal_increments(uniforms: Floats, n: Ints, mean: float, standard_deviation: float) -> Floats:
    """Draw running sums of normal observations by each look.

    Parameters
    ----------
    uniforms : ndarray, shape (n_reps, n_looks)
    n : ndarray of int, shape (n_looks,)
        Observations by each look, rising.

    Returns
    -------
    sums : ndarray, shape (n_reps, n_looks)
    """
    added = np.diff(n, prepend=0)
    luck = ndtri(np.maximum(uniforms, 2.0**-54))
    return np.cumsum(added * mean + np.sqrt(added) * standard_deviation * luck, axis=1)
