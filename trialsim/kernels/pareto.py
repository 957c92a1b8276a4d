"""Which of many points no other is better than, when several things are to be small at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["knee", "non_dominated"]

Bools = NDArray[np.bool_]
_ROWS = 2_000_000  # comparisons held in memory at once


def non_dominated(points: ArrayLike) -> Bools:
    """Tell which points no other dominates: is as small in everything, and smaller in something.

    Points that are equal do not dominate one another.

    Parameters
    ----------
    points : array_like, shape (n_points, n_objectives)
        Smaller is better in every column; no NaN. Infinity is worse than any number.

    Returns
    -------
    ndarray of bool, shape (n_points,)

    References
    ----------
    Kung, Luccio and Preparata (1975), Journal of the ACM 22:469-476: in lexicographic order no
    point is dominated by a later one, so each is held against the undominated ones before it.
    """
    values = np.asarray(points, dtype=float)
    if values.ndim != 2 or np.isnan(values).any():
        raise ValueError("points must be a table of numbers")
    unique, place = np.unique(values, axis=0, return_inverse=True)  # in lexicographic order
    kept = np.zeros(len(unique), dtype=np.bool_)
    front = np.empty((0, values.shape[1]))
    step = max(1, min(256, _ROWS // max(1, len(unique))))
    for first in range(0, len(unique), step):
        some = unique[first : first + step]
        free = ~np.any(_as_small(front, some), axis=1)
        some, at = some[free], np.flatnonzero(free) + first
        beaten = _as_small(some, some)  # all differ
        np.fill_diagonal(beaten, False)
        own = ~np.any(beaten, axis=1)
        kept[at[own]] = True
        front = np.concatenate([front, some[own]])
    return np.asarray(kept[place.reshape(-1)])


def _as_small(those: NDArray[np.float64], own: NDArray[np.float64]) -> Bools:
    """Tell which of those (second axis) are as small as which of the others (first) everywhere."""
    return np.asarray(np.all(those[None, :, :] <= own[:, None, :], axis=2))


def knee(points: ArrayLike) -> int:
    """Return the point nearest to the best of every column, each scaled to its range.

    Parameters
    ----------
    points : array_like, shape (n_points, n_objectives)
        Smaller is better; finite.

    References
    ----------
    The compromise solution of Yu (1973), Management Science 19:936-946, with Euclidean distance;
    the scaling by ranges is assumed.
    """
    values = np.asarray(points, dtype=float)
    low, high = values.min(axis=0), values.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    return int((((values - low) / width) ** 2).sum(axis=1).argmin())
