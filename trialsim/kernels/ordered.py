"""Ordinal outcomes: two arms' ordered categories over many trials at once.

Categories run from 0, the worst, to n_categories - 1: days alive and out of hospital, with death
as 0, are such a score. Tests take the number of patients per category and arm, one column per
trial. Positive statistics and ratios above 1 speak for higher categories on treatment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

from trialsim.kernels.contrasts import ArmContrast, wald

__all__ = [
    "category_of",
    "common_odds_ratio",
    "counts_by_arm",
    "shifted",
    "wilcoxon_mann_whitney",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_STEPS = 100  # of Newton; eight are usual
_CONVERGED = 1e-9  # on the log odds: the step after the last would be about its square


def category_of(uniform: Floats, probabilities: ArrayLike) -> Ints:
    """Category of each patient by inverse CDF: more luck is never a lower category.

    Parameters
    ----------
    uniform : ndarray of float, any shape
        In [0, 1).
    probabilities : array of float, shape (n_categories,)
        From the worst category to the best, adding up to 1.

    Returns
    -------
    category : ndarray of int, shape of `uniform`
    """
    up_to = np.cumsum(np.asarray(probabilities, dtype=float))
    return np.searchsorted(up_to[:-1] / up_to[-1], uniform, side="right")


def shifted(probabilities: ArrayLike, odds_ratio: ArrayLike) -> Floats:
    """Probabilities on treatment under one odds ratio of a higher category, at every cut.

    Parameters
    ----------
    probabilities : array of float, shape (n_categories, ...)
        On control, from the worst category to the best, adding up to 1.
    odds_ratio : array of float, shape (...)
        Treated to control; above 0.

    Returns
    -------
    treated : ndarray of float, shape (n_categories, ...)

    References
    ----------
    McCullagh (1980), Journal of the Royal Statistical Society B 42:109-142.
    """
    p = np.asarray(probabilities, dtype=float)
    ratio = np.asarray(odds_ratio, dtype=float)
    p, ratio = np.broadcast_arrays(p, ratio)
    up_to = np.cumsum(p, axis=0)
    below = up_to - p
    above = np.cumsum(p[::-1], axis=0)[::-1] - p
    # a difference of two odds-shifted probabilities, without the difference
    return np.asarray(
        ratio * p * (up_to + above) / ((up_to + ratio * above) * (below + ratio * (p + above)))
    )


def counts_by_arm(
    categories: Ints, treated: Bools, n_categories: int, included: Bools | None = None
) -> tuple[Ints, Ints]:
    """Count each arm's patients per category.

    Parameters
    ----------
    categories : ndarray of int, shape (n_patients, n_reps)
        From 0 to `n_categories` - 1 where `included`.
    treated : ndarray of bool, shape (n_patients, n_reps)
    n_categories : int
    included : ndarray of bool, shape (n_patients, n_reps), optional
        Who is analysed; everyone if not given.

    Returns
    -------
    treated_counts, control_counts : ndarray of int, shape (n_categories, n_reps)
    """
    n_reps = categories.shape[1]
    group = np.where(treated, categories, categories + n_categories)
    if included is not None:
        group = np.where(included, group, 2 * n_categories)
    cell = group * n_reps + np.arange(n_reps)
    size = (2 * n_categories + 1) * n_reps
    counts = np.bincount(cell.ravel(), minlength=size).reshape(-1, n_reps)
    return counts[:n_categories], counts[n_categories : 2 * n_categories]


def wilcoxon_mann_whitney(
    treated_counts: ArrayLike, control_counts: ArrayLike, *, confidence_level: float = 0.95
) -> ArmContrast:
    """Wilcoxon-Mann-Whitney test and the win probability P(T > C) + P(T = C) / 2.

    Parameters
    ----------
    treated_counts, control_counts : array of int, shape (n_categories, n_reps)
        Patients per category, from the worst to the best.
    confidence_level : float
        Two-sided.

    Returns
    -------
    contrast : ArmContrast
        `estimate` is the win probability, 0.5 under no effect. `statistic` is z by the normal
        approximation, with the variance under no effect corrected for ties and no continuity
        correction. `standard_error` holds under any effect, so z is not the estimate's distance
        from 0.5 in these; the interval is Wald's on the logit scale. Standard error and interval
        are NaN where an arm has one patient or every treated patient beats, or loses to, every
        control. `failed` where an arm is empty or all patients share one category.

    References
    ----------
    Mann and Whitney (1947), Annals of Mathematical Statistics 18:50-60; Kruskal and Wallis (1952),
    Journal of the American Statistical Association 47:583-621 (ties). Standard error from
    placements: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845, the same as that of
    Brunner and Munzel (2000), Biometrical Journal 42:17-25.
    """
    t, c = (np.asarray(counts, dtype=float) for counts in (treated_counts, control_counts))
    n1, n0 = t.sum(axis=0), c.sum(axis=0)
    n, tied = n1 + n0, t + c
    with np.errstate(invalid="ignore", divide="ignore"):
        beaten = (np.cumsum(c, axis=0) - c / 2) / n0  # share of controls, by a treated in each
        lost_to = 1 - (np.cumsum(t, axis=0) - t / 2) / n1
        win = (t * beaten).sum(axis=0) / n1
        v1 = (t * (beaten - win) ** 2).sum(axis=0) / (n1 - 1)
        v0 = (c * (lost_to - win) ** 2).sum(axis=0) / (n0 - 1)
        error = np.sqrt(v1 / n1 + v0 / n0)
        ties = (tied * (tied**2 - 1)).sum(axis=0) / (n * (n - 1))
        z = (win - 0.5) / np.sqrt((n + 1 - ties) / (12 * n1 * n0))
        failed = (np.minimum(n1, n0) == 0) | (tied.max(axis=0, initial=0.0) == n)
        error = np.where((win > 0) & (win < 1) & (error > 0) & ~failed, error, np.nan)
        half = ndtri((1 + confidence_level) / 2) * error / (win * (1 - win))
        middle = np.log(win / (1 - win))
    return ArmContrast(
        np.where(failed, np.nan, win),
        error,
        expit(middle - half),
        expit(middle + half),
        np.where(failed, np.nan, z),
        np.where(failed, np.nan, np.inf),
        failed,
    )


def common_odds_ratio(
    treated_counts: ArrayLike, control_counts: ArrayLike, *, confidence_level: float = 0.95
) -> ArmContrast:
    """Log of the common odds ratio of a higher category, by maximum likelihood.

    The proportional-odds model logit P(Y >= k) = a_k + b [treated]. Categories nobody is in are
    left out, which changes nothing else.

    Parameters
    ----------
    treated_counts, control_counts : array of int, shape (n_categories, n_reps)
        Patients per category, from the worst to the best.
    confidence_level : float
        Two-sided.

    Returns
    -------
    contrast : ArmContrast
        Estimate, standard error (from the observed information) and limits are logarithms;
        `statistic` is Wald's z. `failed` where there is no finite estimate: an arm is empty, or no
        treated patient is lower than a control, or none higher. There `wilcoxon_mann_whitney`
        may still have a test.

    References
    ----------
    McCullagh (1980), Journal of the Royal Statistical Society B 42:109-142; its likelihood is
    concave: Pratt (1981), Journal of the American Statistical Association 76:103-106.
    """
    t, c = (np.asarray(counts, dtype=float) for counts in (treated_counts, control_counts))
    higher, lower = ((x * (np.cumsum(y, axis=0) - y)).sum(axis=0) for x, y in ((t, c), (c, t)))
    finite = np.flatnonzero((higher > 0) & (lower > 0))
    estimate, error = np.full((2, t.shape[1]), np.nan)
    step = max(1, 32_768 // len(t))  # what stays in cache
    for start in range(0, len(finite), step):
        chunk = finite[start : start + step]
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate[chunk], error[chunk] = _proportional_odds(t[:, chunk], c[:, chunk])
    return wald(estimate, error, confidence_level)


class _Step(NamedTuple):
    """Newton's step of the cuts and of the log odds ratio, whose variance this is."""

    cuts: Floats
    log_ratio: Floats
    variance: Floats


def _proportional_odds(treated: Floats, control: Floats) -> tuple[Floats, Floats]:
    """Return the log odds ratio and its standard error; NaN without convergence."""
    present = treated + control > 0
    n_present = present.sum(axis=0)
    packed = np.argsort(~present, axis=0, kind="stable")[: n_present.max()]
    counts = tuple(np.take_along_axis(arm, packed, axis=0) for arm in (control, treated))

    at_least = np.cumsum((counts[0] + counts[1])[::-1], axis=0)[-2::-1]
    # a cut beyond the last category is at minus infinity
    cuts = np.log(at_least / (at_least[0] + counts[0][0] + counts[1][0] - at_least))
    log_ratio = np.zeros(treated.shape[1])
    likelihood = _likelihood(cuts, log_ratio, counts)
    for _ in range(_STEPS):
        step = _newton(cuts, log_ratio, counts)
        size = np.ones_like(log_ratio)
        while True:
            at = cuts + size * step.cuts, log_ratio + size * step.log_ratio
            found = _likelihood(*at, counts)
            worse = ~(found >= likelihood - 1e-9 * np.abs(likelihood)) & (size > 1e-9)
            if not worse.any():
                break
            size[worse] /= 2
        (cuts, log_ratio), likelihood = at, found
        largest = np.maximum(np.abs(step.cuts).max(axis=0), np.abs(step.log_ratio))
        converged = largest < _CONVERGED
        if converged.all():
            break
    return np.where(converged, log_ratio, np.nan), np.sqrt(step.variance)


def _reached(cuts: Floats, log_ratio: Floats) -> Floats:
    """Probability of being in each category or higher, with 1 before and 0 after."""
    edge = np.ones((1, cuts.shape[1]))
    return np.concatenate([edge, expit(cuts + log_ratio), 0 * edge])


def _likelihood(cuts: Floats, log_ratio: Floats, counts: tuple[Floats, ...]) -> Floats:
    total = np.zeros_like(log_ratio)
    for n, ratio in zip(counts, (0 * log_ratio, log_ratio), strict=True):
        reached = _reached(cuts, ratio)
        p = reached[:-1] - reached[1:]
        total += np.where(n > 0, n * np.log(np.maximum(p, 0.0)), 0.0).sum(axis=0)
    return total


def _newton(cuts: Floats, log_ratio: Floats, counts: tuple[Floats, ...]) -> _Step:
    """Newton's step: the information is tridiagonal in the cuts, with the log odds ratio beside."""
    score = np.zeros_like(cuts)
    diagonal, beside = np.zeros_like(cuts), np.zeros_like(cuts)
    for n, ratio in zip(counts, (0 * log_ratio, log_ratio), strict=True):
        reached = _reached(cuts, ratio)
        p = np.where(n > 0, reached[:-1] - reached[1:], 1.0)
        first, second = n / p, n / p**2
        reached = reached[1:-1]
        density = reached * (1 - reached)
        change = first[1:] - first[:-1]
        own_score = density * change
        own = density**2 * (second[1:] + second[:-1]) - (1 - 2 * reached) * own_score
        off = -density[:-1] * density[1:] * second[1:-1]
        score, diagonal = score + own_score, diagonal + own
        beside[:-1] += off
    # of the treated arm, which comes last: its log odds all move with the log odds ratio
    shared = own
    shared[:-1] += off
    shared[1:] += off
    diagonal[~np.isfinite(cuts)] = 1.0
    by_score, by_shared = _tridiagonal(diagonal, beside[:-1], score, shared)
    variance = 1 / (shared.sum(axis=0) - (shared * by_shared).sum(axis=0))
    log_step = (own_score.sum(axis=0) - (shared * by_score).sum(axis=0)) * variance
    return _Step(by_score - by_shared * log_step, log_step, variance)


def _tridiagonal(
    diagonal: Floats, beside: Floats, one: Floats, other: Floats
) -> tuple[Floats, Floats]:
    """Solve symmetric positive definite systems, one per column, for two right-hand sides."""
    pivot, one, other = diagonal.copy(), one.copy(), other.copy()
    for k in range(1, len(pivot)):
        ratio = beside[k - 1] / pivot[k - 1]
        pivot[k] -= ratio * beside[k - 1]
        one[k] -= ratio * one[k - 1]
        other[k] -= ratio * other[k - 1]
    one[-1] /= pivot[-1]
    other[-1] /= pivot[-1]
    for k in range(len(pivot) - 2, -1, -1):
        one[k] = (one[k] - beside[k] * one[k + 1]) / pivot[k]
        other[k] = (other[k] - beside[k] * other[k + 1]) / pivot[k]
    return one, other
