"""The largest of several correlated statistics: its P value, and whether that is below alpha.

Each trial has its own correlations, so no table helps. Bounds settle most decisions; the rest, and
P values asked for, are integrated: by Plackett's identity the probability that all statistics stay
below a limit, with correlations t R, changes with t at a rate that is a sum over pairs of a density
times a probability in two dimensions fewer. Four statistics thus need one integral over t of
bivariate probabilities, and none needs the correlations to be of full rank.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["MAX_STATISTICS", "correlations", "p_value", "rejects"]

Floats = NDArray[np.float64]
MAX_STATISTICS = 4

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)
_UNIT_NODES, _UNIT_WEIGHTS = (1 + _NODES) / 2, _NODE_WEIGHTS / 2
_ALMOST_ONE = 1 - 1e-12


def correlations(covariance: Floats) -> Floats:
    """Return correlations of covariances, shape (n_reps, k, k); 0 beside a variance of 0."""
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    scale = deviation[:, :, None] * deviation[:, None, :]
    found = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return np.asarray(np.clip(found, -_ALMOST_ONE, _ALMOST_ONE))


def p_value(z: Floats, correlation: Floats) -> Floats:
    """Return the probability that the largest statistic is at least the one seen.

    Parameters
    ----------
    z : ndarray, shape (n_reps, k)
        Standard normal under no effect, large values against it; k from 1 to 4.
    correlation : ndarray, shape (n_reps, k, k)

    Returns
    -------
    p : ndarray, shape (n_reps,)
        To 1e-4 (tested against scipy's integration; typically 1e-6).

    References
    ----------
    Plackett (1954), Biometrika 41:351-360, equation 3; MaxCombo: Roychoudhury, Anderson, Ye and
    Mukhopadhyay (2023), Statistics in Biopharmaceutical Research 15:304-314 (one-sided).
    """
    limit, k = z.max(axis=1), z.shape[1]
    below = ndtr(limit) ** k
    angle = np.pi / 2 * _UNIT_NODES  # t = sin(angle): closer together where densities rise
    t, dt = np.sin(angle), np.cos(angle) * np.pi / 2 * _UNIT_WEIGHTS
    m = limit[:, None]
    for i, j in combinations(range(k), 2):
        r = correlation[:, i, j, None] * t
        rest = [other for other in range(k) if other not in (i, j)]
        density = np.exp(-(m**2) / (1 + r)) / (2 * np.pi * np.sqrt(1 - r**2))
        inside = _conditional(m, correlation, t, r, i, j, rest)
        below = below + correlation[:, i, j] * (density * inside * dt).sum(axis=1)
    return np.asarray(np.clip(1 - below, 0.0, 1.0))


def _conditional(
    m: Floats, correlation: Floats, t: Floats, r: Floats, i: int, j: int, rest: list[int]
) -> Floats:
    """Probability that the rest stay below the limit, given that i and j are at it."""
    if not rest:
        return np.ones_like(r)
    a = [correlation[:, other, i, None] * t for other in rest]
    b = [correlation[:, other, j, None] * t for other in rest]
    left = 1 - r**2
    limits, deviations = [], []
    for x, y in zip(a, b, strict=True):
        variance = 1 - (x**2 + y**2 - 2 * r * x * y) / left
        deviation = np.sqrt(np.maximum(variance, 1e-15))
        limits.append((m - m * (x + y) / (1 + r)) / deviation)
        deviations.append(deviation)
    if len(rest) == 1:
        return np.asarray(ndtr(limits[0]))
    both = correlation[:, rest[0], rest[1], None] * t
    explained = (a[0] * a[1] + b[0] * b[1] - r * (a[0] * b[1] + b[0] * a[1])) / left
    conditional = (both - explained) / (deviations[0] * deviations[1])
    first, second = limits
    return _both_below(first, second, np.clip(conditional, -_ALMOST_ONE, _ALMOST_ONE))


def _both_below(h: Floats, k: Floats, r: Floats) -> Floats:
    """Bivariate normal probability (Drezner and Wesolowsky 1990, J Stat Comput Simul 35:101-107).

    Any shapes that broadcast; one more axis is summed over.
    """
    reach = np.arcsin(r)[..., None]
    angle = reach * _UNIT_NODES
    h_, k_ = np.clip(h, -40, 40)[..., None], np.clip(k, -40, 40)[..., None]
    exponent = -(h_**2 + k_**2 - 2 * h_ * k_ * np.sin(angle)) / (2 * np.cos(angle) ** 2)
    integral = (np.exp(exponent) * _UNIT_WEIGHTS).sum(axis=-1) * reach[..., 0]
    return np.asarray(ndtr(h) * ndtr(k) + integral / (2 * np.pi))


def rejects(z: Floats, correlation: Floats, alpha: float) -> NDArray[np.bool_]:
    """Return whether `p_value` is at most `alpha`, integrating only where bounds do not tell.

    Parameters
    ----------
    z, correlation
        As in `p_value`.
    alpha : float
        One-sided.

    Returns
    -------
    rejected : ndarray of bool, shape (n_reps,)

    References
    ----------
    Upper bound: Hunter (1976), Journal of Applied Probability 13:597-603, with a star as the tree;
    lower: any two of the events.
    """
    limit, k = z.max(axis=1), z.shape[1]
    single = ndtr(-limit)
    rejected = k * single <= alpha
    if k == 1:
        return np.asarray(rejected)
    open_ = np.flatnonzero(~rejected & (single <= alpha))
    if not len(open_):
        return np.asarray(rejected)
    limit, single, own = limit[open_], single[open_], correlation[open_]
    pairs = list(combinations(range(k), 2))
    r = np.stack([own[:, i, j] for i, j in pairs], axis=1)
    both = 2 * single[:, None] - 1 + _both_below(limit[:, None], limit[:, None], r)
    lower = 2 * single - both.min(axis=1)
    stars = np.stack(
        [
            both[:, [n for n, p in enumerate(pairs) if centre in p]].sum(axis=1)
            for centre in range(k)
        ]
    )
    upper = k * single - stars.max(axis=0)
    margin = 1e-6  # of the bivariate probabilities
    rejected[open_] = upper <= alpha - margin
    unclear = np.flatnonzero((upper > alpha - margin) & (lower <= alpha + margin))
    if len(unclear):
        rejected[open_[unclear]] = p_value(z[open_[unclear]], own[unclear]) <= alpha
    return np.asarray(rejected)
