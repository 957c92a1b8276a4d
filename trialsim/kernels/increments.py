"""Sums over patients, drawn without the patients: what a group-sequential look adds.

Everything is an inverse distribution function of a uniform, so that two truths given the same
uniforms stay paired: a higher risk never gives fewer events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri

__all__ = ["binomial", "hypergeometric", "normal_increments"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def binomial(uniforms: Floats, n: Ints, p: float) -> Ints:
    """Draw the successes among `n` at probability `p`; shapes (n_reps,)."""
    return _by_distribution(uniforms, n[:, None], lambda size: _binomial_cdf(size, p))


def hypergeometric(uniforms: Floats, marked: Ints, left: int, drawn: int) -> Ints:
    """Draw the marked ones among `drawn` of `left`, of which `marked` are; shapes (n_reps,)."""
    if drawn == 0:
        return np.zeros(len(uniforms), dtype=np.int64)
    return _by_distribution(
        uniforms, marked[:, None], lambda own: _hypergeometric_cdf(own, left, drawn)
    )


def _by_distribution(uniforms: Floats, parameters: Ints, cdf_of: Callable[[int], Floats]) -> Ints:
    column = parameters[:, 0]
    first = int(column[0])
    if (column == first).all():
        return np.searchsorted(cdf_of(first), uniforms, side="right")
    found = np.empty(len(uniforms), dtype=np.int64)
    for value in np.unique(column):
        here = column == value
        found[here] = np.searchsorted(cdf_of(int(value)), uniforms[here], side="right")
    return found


@lru_cache(maxsize=4096)
def _binomial_cdf(n: int, p: float) -> Floats:
    k = np.arange(n + 1)
    log_choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return _summed(log_choose + k * np.log(p) + (n - k) * np.log1p(-p))


@lru_cache(maxsize=4096)
def _hypergeometric_cdf(marked: int, left: int, drawn: int) -> Floats:
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


def _summed(log_weight: Floats) -> Floats:
    weight = np.exp(log_weight - log_weight.max())
    cdf: Floats = np.cumsum(weight) / weight.sum()
    last = np.flatnonzero(weight > 0)[-1]
    cdf[last:] = 1.0  # uniforms are below 1: nothing beyond the last possible value
    return cdf


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
