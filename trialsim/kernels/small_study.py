"""Whether small trials say something else, and which trial carries a result.

Tests of a funnel's asymmetry, trim and fill; leave-one-out and cumulative pooling.

Many literatures at once: arrays have one row per literature and one column per trial, with NaN
where a trial was not published.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from trialsim.kernels.pooling import CONFIDENCE, Tables, effects, observed_less_expected
from trialsim.kernels.proportions import Scale
from trialsim.kernels.random_effects import (
    BetweenTrials,
    Estimator,
    Inference,
    RandomEffects,
    meta_regression,
    random_effects,
)

__all__ = [
    "Asymmetry",
    "MissingCount",
    "RankCorrelation",
    "TrimAndFill",
    "cumulative",
    "egger",
    "harbord",
    "leave_one_out",
    "peters",
    "rank_test",
    "trim_and_fill",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_ROUNDING = 1e-12  # relative: nearer values are tied
_MOST_ROUNDS = 100


class MissingCount(StrEnum):
    """How many trials trim and fill takes to be missing (Duval and Tweedie's names)."""

    L0 = "L0"
    R0 = "R0"
    Q0 = "Q0"


@dataclass(frozen=True)
class Asymmetry:
    """A line through a funnel: how the effect changes with the size of the trial.

    Attributes
    ----------
    slope, standard_error, statistic, p_value : ndarray of float, shape (n_literatures,)
        Two-sided; NaN where there are too few trials, or all of one size.
    degrees_of_freedom : ndarray of float, shape (n_literatures,)
        Of t; infinity for z.
    limit, limit_lower, limit_upper : ndarray of float, shape (n_literatures,)
        The effect the line gives a trial without sampling error.
    """

    slope: Floats
    standard_error: Floats
    statistic: Floats
    p_value: Floats
    degrees_of_freedom: Floats
    limit: Floats
    limit_lower: Floats
    limit_upper: Floats

    @property
    def failed(self) -> Bools:
        """Where there is no test; shape (n_literatures,)."""
        return np.isnan(self.p_value)


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's correlation of effects with their variances.

    Attributes
    ----------
    tau, p_value : ndarray of float, shape (n_literatures,)
        tau-b; NaN with fewer than two trials or all tied.
    exact : ndarray of bool, shape (n_literatures,)
        No ties: P from all orders of the trials; else from the normal distribution.
    """

    tau: Floats
    p_value: Floats
    exact: Bools


@dataclass(frozen=True)
class TrimAndFill:
    """A literature with the mirror images of the trials that its asymmetry suggests are missing.

    Attributes
    ----------
    n_missing, n_missing_se : ndarray of float, shape (n_literatures,)
        NaN where `not_converged` or there are too few trials.
    missing_right : ndarray of bool, shape (n_literatures,)
        On which side, by the sign of Egger's slope.
    estimates, variances : ndarray of float, shape (n_literatures, 2 n_trials)
        The published trials, then the filled ones; NaN elsewhere.
    pooled : RandomEffects
        Of these.
    not_converged : ndarray of bool, shape (n_literatures,)
        The number of missing trials did not settle, or has no value (Q0 of a root that is
        negative).
    """

    n_missing: Floats
    n_missing_se: Floats
    missing_right: Bools
    estimates: Floats
    variances: Floats
    pooled: RandomEffects
    not_converged: Bools


def egger(
    estimates: Floats,
    variances: Floats,
    estimator: Estimator = Estimator.EQUAL_EFFECTS,
    inference: Inference = Inference.KNAPP_HARTUNG,
    confidence: float = CONFIDENCE,
) -> Asymmetry:
    """Regress effects on their standard errors.

    As it stands Egger's test: least squares weighted by ``1 / v``, residual variance estimated, t
    with k - 2 degrees of freedom (metafor's ``regtest(model="lm")``). With another estimator and
    `Inference.NORMAL` the mixed-effects version (``model="rma"``).

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)

    References
    ----------
    Egger, Davey Smith, Schneider and Minder (1997), BMJ 315:629-634; Sterne and Egger (2005), in
    Rothstein, Sutton and Borenstein, chapter 6.
    """
    return _line(estimates, variances, np.sqrt(variances), estimator, inference, confidence)


def harbord(tables: Tables, confidence: float = CONFIDENCE) -> Asymmetry:
    """Regress the score of the log odds ratio over its information on ``1 / sqrt(information)``.

    Score: observed less expected events; information: its hypergeometric variance. Weighted by the
    information, t with k - 2 degrees of freedom. Trials without events, or with nothing but
    events, say nothing and are left out; no cell is corrected.

    References
    ----------
    Harbord, Egger and Sterne (2006), Statistics in Medicine 25:3443-3457.
    """
    score, information = observed_less_expected(tables)
    information = np.where(information > 0, information, np.nan)
    return _line(
        score / information,
        1 / information,
        1 / np.sqrt(information),
        Estimator.EQUAL_EFFECTS,
        Inference.KNAPP_HARTUNG,
        confidence,
    )


def peters(tables: Tables, confidence: float = CONFIDENCE) -> Asymmetry:
    """Regress log odds ratios on one over the number of patients.

    Weighted by ``1 / (1/events + 1/others)``, both arms together, t with k - 2 degrees of freedom;
    log odds ratios as in `effects`. Trials without events, or with nothing but events, have weight
    0 and are left out.

    References
    ----------
    Peters, Sutton, Jones, Abrams and Rushton (2006), JAMA 295:676-680.
    """
    a, b, c, d = tables.cells()
    with np.errstate(divide="ignore"):
        variances = 1 / (a + c) + 1 / (b + d)
    variances = np.where(np.isfinite(variances), variances, np.nan)
    one_over_n = 1 / np.maximum(a + b + c + d, 1)
    return _line(
        effects(tables, Scale.ODDS_RATIO).estimates,
        variances,
        one_over_n,
        Estimator.EQUAL_EFFECTS,
        Inference.KNAPP_HARTUNG,
        confidence,
    )


def _line(
    estimates: Floats,
    variances: Floats,
    size: Floats,
    estimator: Estimator,
    inference: Inference,
    confidence: float,
) -> Asymmetry:
    fit = meta_regression(estimates, variances, size, estimator, inference, confidence)
    return Asymmetry(
        fit.coefficients[:, 1],
        fit.standard_errors[:, 1],
        fit.statistics[:, 1],
        fit.p_values[:, 1],
        fit.degrees_of_freedom,
        fit.coefficients[:, 0],
        fit.lower[:, 0],
        fit.upper[:, 0],
    )


def rank_test(estimates: Floats, variances: Floats) -> RankCorrelation:
    """Correlate effects, less their mean and over their standard deviation, with their variances.

    ``(y - mean) / sqrt(v - 1 / sum(1 / v))``; Kendall's tau-b, P from all orders of the trials, or
    with ties from the normal distribution with the variance that ties leave. Values within a
    relative 1e-12 are tied.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)

    References
    ----------
    Begg and Mazumdar (1994), Biometrics 50:1088-1101; Kendall (1970), Rank Correlation Methods.
    """
    known = ~np.isnan(estimates + variances)
    v = np.where(known, variances, np.nan)
    n = known.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.nansum(1 / v, axis=1)[:, None]
        mean = np.nansum(estimates / v, axis=1)[:, None] / total
        deviates = (estimates - mean) / np.sqrt(v - 1 / total)
        sum_of_signs, ties, pairs = _concordance(deviates, v)
        t1, t2 = (((t - 1) * known).sum(axis=1) / 2 for t in ties)
        tau = sum_of_signs / np.sqrt((pairs - t1) * (pairs - t2))
    usable = (n > 1) & np.isfinite(tau)
    exact = usable & (t1 == 0) & (t2 == 0)
    p_value = np.full(len(n), np.nan)
    concordant = np.rint((sum_of_signs + pairs) / 2).astype(np.int64)
    for k in np.unique(n[exact]):
        rows = exact & (n == k)
        p_value[rows] = _two_sided(int(k), concordant[rows])
    tied = usable & ~exact
    if tied.any():
        spread = np.sqrt(_tied_variance(n[tied], (ties[0][tied], ties[1][tied]), known[tied]))
        p_value[tied] = 2 * ndtr(-np.abs(sum_of_signs[tied]) / spread)
    return RankCorrelation(np.where(usable, tau, np.nan), p_value, exact)


def _concordance(x: Floats, y: Floats) -> tuple[Floats, tuple[Floats, Floats], Floats]:
    """Return concordant less discordant pairs, how many share each value, and pairs in all."""
    total, pairs = np.zeros(len(x)), np.zeros(len(x))
    ties = (np.ones(x.shape), np.ones(x.shape))
    for apart in range(1, x.shape[1]):
        both = ~np.isnan(x[:, apart:] + x[:, :-apart])
        signs = []
        for values, shared in zip((x, y), ties, strict=True):
            sign = _sign(values[:, apart:], values[:, :-apart])
            tied = both & (sign == 0)
            shared[:, apart:] += tied
            shared[:, :-apart] += tied
            signs.append(sign)
        total += np.where(both, signs[0] * signs[1], 0.0).sum(axis=1)
        pairs += both.sum(axis=1)
    return total, ties, pairs


def _sign(a: Floats, b: Floats) -> Floats:
    near = np.abs(a - b) <= _ROUNDING * np.maximum(np.abs(a), np.abs(b))
    return np.where(near, 0.0, np.sign(a - b))


def _tied_variance(n: Ints, ties: tuple[Floats, Floats], known: Bools) -> Floats:
    """Return the variance of the sum of signs; ties: how many share each trial's value."""
    t, u = (np.where(known, shared, 1.0) for shared in ties)

    def both(power: int) -> Floats:
        parts = [(s - 1) * (s - 2) if power == 3 else s - 1 for s in (t, u)]
        return np.asarray(parts[0].sum(axis=1) * parts[1].sum(axis=1))

    alone = n * (n - 1.0) * (2 * n + 5)
    lost = sum(((s - 1) * (2 * s + 5)).sum(axis=1) for s in (t, u))
    triples = 9 * n * (n - 1.0) * np.maximum(n - 2.0, 1.0)
    return np.asarray((alone - lost) / 18 + both(2) / (2 * n * (n - 1.0)) + both(3) / triples)


def _two_sided(n: int, concordant: Ints) -> Floats:
    """Return twice the smaller tail, at most 1, where all orders of n are equally likely."""
    fewer = np.minimum(concordant, n * (n - 1) // 2 - concordant)
    return np.minimum(1.0, 2 * _orders(n)[fewer])


@lru_cache(maxsize=256)
def _orders(n: int) -> Floats:
    """Return the share of the orders of n that have at most so many pairs in order."""
    law = np.ones(1)
    for k in range(2, n + 1):
        # One more can stand behind any number of the others.
        law = np.convolve(law, np.full(k, 1 / k))
    return np.cumsum(law)


def trim_and_fill(
    estimates: Floats,
    variances: Floats,
    estimator: Estimator,
    count: MissingCount = MissingCount.L0,
    inference: Inference = Inference.NORMAL,
    confidence: float = CONFIDENCE,
) -> TrimAndFill:
    """Trim what is extreme until the rest is symmetric; put it back with its mirror images.

    Missing trials are sought on the right where Egger's slope (by `estimator`) is negative, else on
    the left. Trials are trimmed on the other side and the rest pooled by `estimator`, until their
    number does not change.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)
    estimator : Estimator
    count : MissingCount
    inference : Inference
        Of the pooled result.
    confidence : float

    Notes
    -----
    With S the sum of the ranks, by ``|y - mean|`` among all k trials, of those on the side that is
    trimmed: ``L0 = (4 S - k (k + 1)) / (2 k - 1)``, ``Q0 = k - 1/2 - sqrt(2 k^2 - 4 S + 1/4)``;
    ``R0`` is k, less the highest rank on the other side, less 1. Rounded, not below 0 (Duval and
    Tweedie 2000, Biometrics 56:455-463 and JASA 95:89-98).
    """
    slope = egger(estimates, variances, estimator, Inference.NORMAL).slope
    right = slope < 0
    known = ~np.isnan(estimates + variances)
    y = np.where(known, np.where(right, -1, 1)[:, None] * estimates, np.nan)
    v = np.where(known, variances, np.nan)
    order = np.lexsort((v, y), axis=1)  # NaN last
    y, v = (np.take_along_axis(a, order, axis=1) for a in (y, v))
    sided = np.flatnonzero(~np.isnan(slope))
    missing, se, centre, settled = _settle(y, v, estimator, count, sided)
    n = known.sum(axis=1)
    filled = _mirrored(y, centre, n, missing)
    back = np.where(right, -1, 1)[:, None] * filled
    all_y = np.concatenate([estimates, back], axis=1)
    all_v = np.concatenate([variances, np.where(np.isnan(filled), np.nan, v)], axis=1)
    lost = ~settled
    all_y[lost] = np.nan
    pooled = random_effects(all_y, all_v, estimator, inference, confidence)
    missing, se = (np.where(settled, a, np.nan) for a in (missing, se))
    return TrimAndFill(missing, se, right, all_y, all_v, pooled, lost & ~np.isnan(slope))


def _settle(
    y: Floats, v: Floats, estimator: Estimator, count: MissingCount, going: Ints
) -> tuple[Floats, Floats, Floats, Bools]:
    """Return how many are missing, its error, the mean of the rest, and where that settled."""
    n_literatures = len(y)
    missing, se, centre = np.zeros(n_literatures), np.zeros(n_literatures), np.zeros(n_literatures)
    settled = np.zeros(n_literatures, dtype=bool)
    column = np.arange(y.shape[1])
    for _ in range(_MOST_ROUNDS):
        some_y, some_v, before = y[going], v[going], missing[going]
        n = (~np.isnan(some_y)).sum(axis=1)
        kept = column < (n - before)[:, None]
        mean = _mean(np.where(kept, some_y, np.nan), np.where(kept, some_v, np.nan), estimator)
        now, error = _count(some_y, mean, n, count)
        missing[going], se[going], centre[going] = now, error, mean
        lost = ~np.isfinite(now)
        done = (now == before) & ~lost
        settled[going[done]] = True
        going = going[~done & ~lost]
        if not len(going):
            break
    return missing, se, centre, settled


def _mean(y: Floats, v: Floats, estimator: Estimator) -> Floats:
    mean = random_effects(y, v, estimator).estimate
    single = (~np.isnan(y)).sum(axis=1) == 1  # whatever tau2, the mean is that trial
    if single.any():
        mean[single] = np.nansum(y[single], axis=1)
    return mean


def _count(y: Floats, mean: Floats, n: Ints, count: MissingCount) -> tuple[Floats, Floats]:
    """Return how many trials are missing on the left of sorted effects, and its standard error."""
    away = y - mean[:, None]
    away = np.where(np.abs(away) <= _ROUNDING * np.nanmax(np.abs(y), axis=1)[:, None], 0.0, away)
    ranks = np.empty_like(y)
    order = np.argsort(np.abs(away), axis=1, kind="stable")  # NaN last
    np.put_along_axis(ranks, order, np.arange(1.0, y.shape[1] + 1)[None, :], axis=1)
    if count is MissingCount.R0:
        left = np.where(away < 0, ranks, 0.0).max(axis=1)
        k0 = np.where((away < 0).any(axis=1), n - left - 1, 0.0)
        return np.maximum(0.0, k0), np.sqrt(2 * np.maximum(0.0, k0) + 2)
    s = np.where(away > 0, ranks, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        if count is MissingCount.L0:
            k0 = (4 * s - n * (n + 1)) / (2 * n - 1)
            factor = 4 / (2.0 * n - 1)
        else:
            k0 = n - 0.5 - np.sqrt(2 * n**2 - 4 * s + 0.25)
            factor = 2 / np.sqrt((n - 0.5) ** 2 - k0 * (2 * n - k0 - 1))
        variance = (
            n * (n + 1) * (2 * n + 1)
            + 10 * k0**3
            + 27 * k0**2
            + 17 * k0
            - 18 * n * k0**2
            - 18 * n * k0
            + 6 * n**2 * k0
        ) / 24
        error = factor * np.sqrt(np.maximum(variance, 0.0))
    return np.maximum(0.0, np.rint(k0)), error


def _mirrored(y: Floats, centre: Floats, n: Ints, missing: Floats) -> Floats:
    """Return the mirror images of the `missing` largest effects, each in its original's place."""
    column = np.arange(y.shape[1])
    last = n[:, None]
    extreme = (column >= last - missing[:, None]) & (column < last)
    return np.where(extreme, 2 * centre[:, None] - y, np.nan)


def leave_one_out(
    estimates: Floats,
    variances: Floats,
    estimator: Estimator,
    inference: Inference = Inference.NORMAL,
    confidence: float = CONFIDENCE,
) -> RandomEffects:
    """Pool every literature without each of its trials in turn.

    Returns
    -------
    RandomEffects
        Every array of shape (n_literatures, n_trials): without the trial of that column; NaN where
        that was not published.
    """
    known = ~np.isnan(estimates + variances)
    without = ~np.eye(estimates.shape[1], dtype=bool)
    return _pool_parts(
        estimates, variances, without[None] & known[:, :, None], estimator, inference, confidence
    )


def cumulative(
    estimates: Floats,
    variances: Floats,
    estimator: Estimator,
    inference: Inference = Inference.NORMAL,
    confidence: float = CONFIDENCE,
) -> RandomEffects:
    """Pool every literature up to each of its trials, in the order of the columns.

    Returns
    -------
    RandomEffects
        Every array of shape (n_literatures, n_trials): up to and with the trial of that column; NaN
        where that was not published, and where there are too few to estimate tau2.
    """
    known = ~np.isnan(estimates + variances)
    so_far = np.tri(estimates.shape[1], dtype=bool)
    return _pool_parts(
        estimates, variances, so_far[None] & known[:, :, None], estimator, inference, confidence
    )


def _pool_parts(
    estimates: Floats,
    variances: Floats,
    parts: Bools,
    estimator: Estimator,
    inference: Inference,
    confidence: float,
) -> RandomEffects:
    """Pool many parts of each literature; parts have shape (n_literatures, n_parts, n_trials)."""
    n_literatures, n_parts, n_trials = parts.shape
    y, v = (
        np.where(parts, values[:, None, :], np.nan).reshape(-1, n_trials)
        for values in (estimates, variances)
    )
    found = random_effects(y, v, estimator, inference, confidence)
    return _reshaped(found, (n_literatures, n_parts))


def _reshaped(found: RandomEffects, shape: tuple[int, int]) -> RandomEffects:
    between: BetweenTrials = replace(
        found.between,
        **{f.name: getattr(found.between, f.name).reshape(shape) for f in fields(found.between)},
    )
    columns = {
        f.name: getattr(found, f.name).reshape(shape) for f in fields(found) if f.name != "between"
    }
    return replace(found, between=between, **columns)
