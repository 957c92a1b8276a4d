"""Effects that vary between trials: how much, the mean effect, and whether a covariate explains it.

Many literatures at once: estimates and variances have one row per literature and one column per
trial, with NaN where a trial was not published. An iterative estimator that does not converge gives
NaN and is counted; it is never replaced by another estimator.

With weights ``w = 1 / (v + tau2)``, ``P = W - W X (X'WX)^-1 X'W`` is what weighting and the mean
(or the line) leave over. It is held as W less the squares of one or two vectors, so that every
estimator is a few sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, ndtr, ndtri, stdtr, stdtrit

from trialsim.kernels.pooling import CONFIDENCE

__all__ = [
    "BetweenTrials",
    "Estimator",
    "Inference",
    "MetaRegression",
    "ProfileInterval",
    "RandomEffects",
    "between_trials",
    "log_likelihoods",
    "meta_regression",
    "q_profile",
    "random_effects",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_MOST_STEPS = 200
_GRID = 24  # values of tau2 at which a likelihood is looked at before its maximum is refined
_CONVERGED = 1e-11  # of tau2 plus the harmonic mean of the variances
_ROUNDING = 1e-12  # of a log likelihood


class Estimator(StrEnum):
    """How the variance between trials, tau2, is estimated; values are metafor's names."""

    EQUAL_EFFECTS = "FE"  # none: tau2 is 0
    DERSIMONIAN_LAIRD = "DL"
    HEDGES = "HE"
    SIDIK_JONKMAN = "SJ"
    MAXIMUM_LIKELIHOOD = "ML"
    RESTRICTED_MAXIMUM_LIKELIHOOD = "REML"
    PAULE_MANDEL = "PM"
    EMPIRICAL_BAYES = "EB"
    HUNTER_SCHMIDT = "HS"


class Inference(StrEnum):
    """How tests and intervals of the mean effect are made."""

    NORMAL = "z"
    KNAPP_HARTUNG = "Knapp-Hartung"
    KNAPP_HARTUNG_FLOORED = "Knapp-Hartung, never narrower than z"


@dataclass(frozen=True)
class BetweenTrials:
    """The variance between trials.

    Attributes
    ----------
    tau2, standard_error : ndarray of float, shape (n_literatures,)
        NaN where `too_few` or `not_converged`; the error of equal effects is NaN.
    too_few : ndarray of bool, shape (n_literatures,)
        No more trials than coefficients (one, or two with a covariate; equal effects need one), or
        a covariate that does not vary.
    not_converged : ndarray of bool, shape (n_literatures,)
    """

    tau2: Floats
    standard_error: Floats
    too_few: Bools
    not_converged: Bools


@dataclass(frozen=True)
class RandomEffects:
    """The mean effect of each literature, and how far trials lie apart.

    Attributes
    ----------
    estimate, standard_error, statistic, p_value, lower, upper : ndarray, shape (n_literatures,)
        The statistic is z or, by Knapp and Hartung, t with `degrees_of_freedom`.
    degrees_of_freedom : ndarray of float, shape (n_literatures,)
        Infinity for z.
    prediction_lower, prediction_upper : ndarray of float, shape (n_literatures,)
        Where the true effect of a further trial lies; NaN for equal effects.
    q, q_p_value : ndarray of float, shape (n_literatures,)
        Cochran's Q, weights ``1 / v``.
    i2, h2 : ndarray of float, shape (n_literatures,)
        Percent of the variance that is between trials; total over typical variance within.
    n_trials : ndarray of int, shape (n_literatures,)
    between : BetweenTrials
    """

    estimate: Floats
    standard_error: Floats
    statistic: Floats
    degrees_of_freedom: Floats
    p_value: Floats
    lower: Floats
    upper: Floats
    prediction_lower: Floats
    prediction_upper: Floats
    q: Floats
    q_p_value: Floats
    i2: Floats
    h2: Floats
    n_trials: Ints
    between: BetweenTrials

    @property
    def failed(self) -> Bools:
        """Where the literature has no estimate; shape (n_literatures,)."""
        return np.isnan(self.estimate)


@dataclass(frozen=True)
class MetaRegression:
    """A line through the effects of each literature.

    Attributes
    ----------
    coefficients, standard_errors, statistics, p_values : ndarray, shape (n_literatures, 2)
        Effect where the covariate is 0, and change per unit of it.
    lower, upper : ndarray of float, shape (n_literatures, 2)
    degrees_of_freedom : ndarray of float, shape (n_literatures,)
        Infinity for z.
    q, q_p_value, i2, h2 : ndarray of float, shape (n_literatures,)
        Of what the line leaves over.
    between : BetweenTrials
    """

    coefficients: Floats
    standard_errors: Floats
    statistics: Floats
    p_values: Floats
    lower: Floats
    upper: Floats
    degrees_of_freedom: Floats
    q: Floats
    q_p_value: Floats
    i2: Floats
    h2: Floats
    between: BetweenTrials


@dataclass(frozen=True)
class ProfileInterval:
    """The Q-profile interval of tau2, and what it says of I2 and H2.

    Attributes
    ----------
    tau2_lower, tau2_upper, i2_lower, i2_upper, h2_lower, h2_upper : ndarray, shape (n_literatures,)
        NaN with fewer than two trials.
    empty : ndarray of bool, shape (n_literatures,)
        The trials differ less than any tau2 lets expect; both ends are then 0.
    """

    tau2_lower: Floats
    tau2_upper: Floats
    i2_lower: Floats
    i2_upper: Floats
    h2_lower: Floats
    h2_upper: Floats
    empty: Bools


@dataclass(frozen=True)
class _Projected:
    """P at some tau2, as ``diag(w) - sum(u u')``, one per literature."""

    w: Floats
    u: tuple[Floats, ...]

    def of(self, y: Floats) -> Floats:
        left = self.w * y
        for u in self.u:
            left = left - u * _dot(u, y)[:, None]
        return left

    def trace(self, a: Floats | float = 1.0) -> Floats:
        """Return the trace of P A, A diagonal."""
        return _sum(self.w * a) - sum(_sum(u * u * a) for u in self.u)

    def trace_of_square(self, a: Floats | float = 1.0, b: Floats | float = 1.0) -> Floats:
        """Return the trace of P A P B, both diagonal."""
        found = _sum(self.w * self.w * a * b)
        for u in self.u:
            found = found - 2 * _sum(u * u * self.w * a * b)
            for other in self.u:
                found = found + _sum(u * other * a) * _sum(u * other * b)
        return found


@dataclass(frozen=True)
class _Literatures:
    """Effects around their weighted mean; 0 (variances: 1) where a trial was not published."""

    y: Floats
    v: Floats
    known: Bools
    x: Floats | None
    centre: Floats

    @classmethod
    def of(cls, estimates: Floats, variances: Floats, covariate: Floats | None) -> _Literatures:
        estimates, variances = (np.asarray(a, dtype=float) for a in (estimates, variances))
        if estimates.ndim != 2 or estimates.shape != variances.shape:
            raise ValueError(
                "estimates and variances must have one shape, (n_literatures, n_trials); got "
                f"{estimates.shape} and {variances.shape}. Give one literature as one row."
            )
        known = ~np.isnan(estimates + variances)
        x = None
        if covariate is not None:
            x = np.broadcast_to(np.asarray(covariate, dtype=float), estimates.shape)
            known = known & ~np.isnan(x)
        if (variances[known] <= 0).any():
            raise ValueError("variances must be above 0. Give NaN for a trial without an estimate.")
        v = np.where(known, variances, 1.0)
        y = np.where(known, estimates, 0.0)
        w = known / v
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = _sum(w * y) / _sum(w)
        y = np.where(known, y - centre[:, None], 0.0)
        return cls(y, v, known, None if x is None else np.where(known, x, 0.0), centre)

    @property
    def n_coefficients(self) -> int:
        return 1 if self.x is None else 2

    @property
    def n_trials(self) -> Ints:
        return np.asarray(self.known.sum(axis=1))

    @property
    def residual_df(self) -> Ints:
        return self.n_trials - self.n_coefficients

    def rows(self, which: Bools | Ints) -> _Literatures:
        x = None if self.x is None else self.x[which]
        return _Literatures(self.y[which], self.v[which], self.known[which], x, self.centre[which])

    def weighted(self, w: Floats) -> _Projected:
        total = _sum(w)[:, None]
        u = w / np.sqrt(total)
        if self.x is None:
            return _Projected(w, (u,))
        away = np.where(self.known, self.x - _dot(w, self.x)[:, None] / total, 0.0)
        return _Projected(w, (u, w * away / np.sqrt(_sum(w * away**2))[:, None]))

    def at(self, tau2: Floats | float) -> _Projected:
        between = np.broadcast_to(np.asarray(tau2, dtype=float), len(self.y))[:, None]
        return self.weighted(self.known / (self.v + between))

    def usable(self, estimator: Estimator) -> Bools:
        enough = self.residual_df >= (0 if estimator is Estimator.EQUAL_EFFECTS else 1)
        if self.x is None:
            return enough
        low = np.where(self.known, self.x, np.inf).min(axis=1)
        high = np.where(self.known, self.x, -np.inf).max(axis=1)
        return np.asarray(enough & (high > low))

    def typical_variance(self) -> Floats:
        """Return the variance within trials of I2 and H2 (Higgins and Thompson 2002)."""
        return self.residual_df / self.at(0.0).trace()

    def scale(self) -> Floats:
        return self.n_trials / _sum(self.known / self.v)


def between_trials(
    estimates: Floats, variances: Floats, estimator: Estimator, covariate: Floats | None = None
) -> BetweenTrials:
    """Estimate the variance between trials, around their mean or around a line.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)
        NaN where a trial was not published; variances above 0.
    estimator : Estimator
    covariate : ndarray of float, shape (n_literatures, n_trials), optional

    Notes
    -----
    With k trials, p coefficients, P at ``tau2 = 0`` unless said otherwise, all not below 0:

    - DL ``(y'Py - (k - p)) / tr(P)`` (DerSimonian and Laird 1986; Raudenbush 2009);
    - HE ``(y'Ey - tr(EV)) / (k - p)``, E being P with equal weights (Hedges 1983);
    - HS ``(y'Py - k) / sum(w)`` (Schmidt and Hunter; Viechtbauer 2005);
    - SJ ``t y'Py / (k - p)``, P at ``t``, the variance of the effects over k (Sidik and Jonkman
      2005);
    - PM and EB the root of ``y'Py = k - p`` (Paule and Mandel 1982; Morris 1983): one equation,
      solved by Newton steps for ``1 / y'Py``, which is concave, so that they never overshoot;
    - ML, REML: the highest maximum of the likelihood (Viechtbauer 2005; Raudenbush 2009), by Fisher
      scoring between the neighbours of the best of 24 values, halving the bracket where a step
      leaves it or does not shrink. metafor climbs from HE and can end on a lower maximum.

    Standard errors as in Viechtbauer et al. (2015), Psychological Methods 20:360-374; of PM and EB
    ``sqrt(2 k^2 / (k - p)) / sum(w)``.
    """
    data = _Literatures.of(estimates, variances, covariate)
    return _between(data, estimator)


def _between(data: _Literatures, estimator: Estimator) -> BetweenTrials:
    usable = data.usable(estimator)
    n = len(usable)
    tau2, se, converged = np.full(n, np.nan), np.full(n, np.nan), np.ones(n, dtype=bool)
    if usable.any():
        some = data.rows(usable)
        tau2[usable], se[usable], converged[usable] = _estimate(some, estimator)
    tau2, se = (np.where(converged, column, np.nan) for column in (tau2, se))
    return BetweenTrials(tau2, se, ~usable, ~converged)


def _estimate(data: _Literatures, estimator: Estimator) -> tuple[Floats, Floats, Bools]:
    """Return tau2, its standard error, and where the search for it ended."""
    k, df = data.n_trials, data.residual_df
    sure = np.ones(len(k), dtype=bool)
    match estimator:
        case Estimator.EQUAL_EFFECTS:
            return np.zeros(len(k)), np.full(len(k), np.nan), sure
        case Estimator.DERSIMONIAN_LAIRD:
            p = data.at(0.0)
            tau2 = np.maximum(0.0, (_dot(data.y, p.of(data.y)) - df) / p.trace())
            se = np.sqrt(_moment_variance(p, tau2, df)) / p.trace()
        case Estimator.HUNTER_SCHMIDT:
            p = data.at(0.0)
            tau2 = np.maximum(0.0, (_dot(data.y, p.of(data.y)) - k) / _sum(p.w))
            se = np.sqrt(_moment_variance(p, tau2, df)) / _sum(p.w)
        case Estimator.HEDGES:
            tau2 = _hedges(data)
            p = data.weighted(data.known.astype(float))
            se = _quadratic_error(p, data.v, tau2) / df
        case Estimator.SIDIK_JONKMAN:
            start = _spread(data)
            p = data.at(start)
            tau2 = start * _dot(data.y, p.of(data.y)) / df
            se = _quadratic_error(p, data.v, tau2) * start / df
        case Estimator.PAULE_MANDEL | Estimator.EMPIRICAL_BAYES:
            tau2, sure = _where_q_is(data, df.astype(float))
            se = np.sqrt(2 * k**2 / df) / _sum(data.at(tau2).w)
        case Estimator.MAXIMUM_LIKELIHOOD:
            tau2, sure = _maximise(data, restricted=False)
            se = np.sqrt(2 / _sum(data.at(tau2).w ** 2))
        case Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD:
            tau2, sure = _maximise(data, restricted=True)
            se = np.sqrt(2 / data.at(tau2).trace_of_square())
    return tau2, se, sure


def _moment_variance(p: _Projected, tau2: Floats, df: Ints) -> Floats:
    """Variance of y'Py where P is at 0 and the effects have variance v + tau2."""
    return 2 * df + 4 * tau2 * p.trace() + 2 * tau2**2 * p.trace_of_square()


def _quadratic_error(p: _Projected, v: Floats, tau2: Floats) -> Floats:
    """Return the standard deviation of y'Py for any P, where the effects have variance v + tau2."""
    return np.sqrt(
        2 * p.trace_of_square(v, v)
        + 4 * tau2 * p.trace_of_square(v)
        + 2 * tau2**2 * p.trace_of_square()
    )


def _hedges(data: _Literatures) -> Floats:
    p = data.weighted(data.known.astype(float))
    return np.maximum(0.0, (_dot(data.y, p.of(data.y)) - p.trace(data.v)) / data.residual_df)


def _spread(data: _Literatures) -> Floats:
    k = data.n_trials
    mean = _sum(data.y) / k
    return _sum(np.where(data.known, data.y - mean[:, None], 0.0) ** 2) / k


def _where_q_is(data: _Literatures, target: Floats) -> tuple[Floats, Bools]:
    """Return the tau2 at which y'Py falls to a target, 0 where it lies below at 0."""
    tau2, converged = np.zeros(len(target)), np.zeros(len(target), dtype=bool)
    going, scale = np.arange(len(target)), data.scale()
    for _ in range(_MOST_STEPS):
        some, aim = data.rows(going), target[going]
        left = some.at(tau2[going]).of(some.y)
        q, slope = _dot(some.y, left), _dot(left, left)
        above = q > aim
        step = np.where(above, q * (q - aim) / (aim * np.where(above, slope, 1.0)), 0.0)
        tau2[going] += step
        done = step <= _CONVERGED * (tau2[going] + scale[going])
        converged[going[done]] = True
        going = going[~done]
        if not len(going):
            break
    return tau2, converged


def _maximise(data: _Literatures, *, restricted: bool) -> tuple[Floats, Bools]:
    """Return the tau2 of the highest likelihood: the best of a grid, refined between neighbours."""
    n = len(data.y)
    tau2, highest, cell = np.zeros(n), np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    grid = _grid(data)
    for number, here in enumerate(grid):
        likelihood = _log_likelihood(data, here, data.at(here), restricted=restricted)
        better = likelihood > highest
        tau2, highest = np.where(better, here, tau2), np.where(better, likelihood, highest)
        cell = np.where(better, number, cell)
    every, last = np.arange(n), len(grid) - 1
    lower, upper = grid[np.maximum(cell - 1, 0), every], grid[np.minimum(cell + 1, last), every]
    tau2, converged = _root_of_score(data, tau2, lower, upper, restricted=restricted)
    reached = _log_likelihood(data, tau2, data.at(tau2), restricted=restricted)
    return tau2, converged & (reached >= highest - _ROUNDING * (1 + np.abs(highest)))


def _grid(data: _Literatures) -> Floats:
    """Return values of tau2 from 0 to where both likelihoods fall, even in log(v + tau2).

    Shape (_GRID, n_literatures). Beyond the squared range of the effects the score is negative.
    """
    low = np.where(data.known, data.v, np.inf).min(axis=1)
    highest = np.where(data.known, data.y, -np.inf).max(axis=1)
    lowest = np.where(data.known, data.y, np.inf).min(axis=1)
    ratio = 1 + 4 * (highest - lowest) ** 2 / low
    return np.asarray(low * (ratio ** np.linspace(0, 1, _GRID)[:, None] - 1))


def _root_of_score(
    data: _Literatures, tau2: Floats, lower: Floats, upper: Floats, *, restricted: bool
) -> tuple[Floats, Bools]:
    """Return where the score is 0 (or 0, if it falls there): Fisher scoring kept in a bracket."""
    tau2, lower, upper = tau2.copy(), lower.copy(), upper.copy()
    going, scale = np.arange(len(tau2)), data.scale()
    before, converged = upper - lower, np.zeros(len(tau2), dtype=bool)
    for _ in range(_MOST_STEPS):
        some, here = data.rows(going), tau2[going]
        step = _scoring_step(some, some.at(here), restricted=restricted)
        lower[going] = low = np.where(step > 0, here, lower[going])
        upper[going] = high = np.where(step > 0, upper[going], here)
        onwards = here + step
        astray = (onwards <= low) | (onwards >= high) | (np.abs(step) > before[going] / 2)
        tau2[going] = np.where(astray, (low + high) / 2, onwards)
        before[going] = moved = np.abs(tau2[going] - here)
        done = moved <= _CONVERGED * (here + scale[going])
        converged[going[done]] = True
        going = going[~done]
        if not len(going):
            break
    return tau2, converged


def _scoring_step(data: _Literatures, p: _Projected, *, restricted: bool) -> Floats:
    """Return Fisher's step: score over expected information."""
    left = p.of(data.y)
    squares = _dot(left, left)
    if restricted:
        return (squares - p.trace()) / p.trace_of_square()
    return (squares - _sum(p.w)) / _dot(p.w, p.w)


def _log_likelihood(data: _Literatures, tau2: Floats, p: _Projected, *, restricted: bool) -> Floats:
    """Return the log likelihood but for what does not depend on tau2."""
    logs = _sum(np.log(np.where(data.known, data.v + tau2[:, None], 1.0)))
    found = -(logs + _dot(data.y, p.of(data.y))) / 2
    return found - _log_determinant(data, p.w) / 2 if restricted else found


def _log_determinant(data: _Literatures, w: Floats) -> Floats:
    """Return the log determinant of X'WX."""
    total = _sum(w)
    if data.x is None:
        return np.log(total)
    away = data.x - (_dot(w, data.x) / total)[:, None]
    return np.log(total) + np.log(_sum(w * away**2))


def log_likelihoods(
    estimates: Floats, variances: Floats, tau2: Floats, covariate: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return the log likelihood and the restricted one at some tau2, each (n_literatures,).

    The restricted one includes ``log|X'X| / 2``, as R's lme and metafor have it.
    """
    data = _Literatures.of(estimates, variances, covariate)
    k, df = data.n_trials, data.residual_df
    with np.errstate(invalid="ignore", divide="ignore"):
        p = data.at(tau2)
        full = _log_likelihood(data, tau2, p, restricted=False)
        part = _log_likelihood(data, tau2, p, restricted=True)
        ones = _log_determinant(data, data.known.astype(float))
    constant = np.log(2 * np.pi) / 2
    return full - k * constant, part - df * constant + ones / 2


def random_effects(
    estimates: Floats,
    variances: Floats,
    estimator: Estimator,
    inference: Inference = Inference.NORMAL,
    confidence: float = CONFIDENCE,
) -> RandomEffects:
    """Pool literatures: the inverse-variance mean with tau2 as `estimator` has it.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)
        Ratios on the log scale; NaN where a trial was not published; variances above 0.
    estimator : Estimator
        `EQUAL_EFFECTS` is the inverse-variance method.
    inference : Inference
    confidence : float
        Of the interval and of the prediction interval.

    Raises
    ------
    ValueError
        Where shapes differ or a variance is not above 0.

    Notes
    -----
    By Knapp and Hartung the squared standard error is multiplied by ``y'Py / (k - 1)``, floored:
    where that is above 1, and t with k - 1 degrees of freedom replaces z (Hartung and Knapp 2001;
    Sidik and Jonkman 2002; the floor: Knapp and Hartung 2003). The prediction interval is estimate
    -+ quantile ``sqrt(se^2 + tau2)`` with the quantile of the test, z or t with k - 1 degrees of
    freedom, as in metafor; Higgins, Thompson and Spiegelhalter (2009) take t with k - 2. I2 and H2
    compare tau2 with the typical variance within trials (Higgins and Thompson 2002), of equal
    effects Q with its degrees of freedom.
    """
    data = _Literatures.of(estimates, variances, None)
    between = _between(data, estimator)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = data.at(between.tau2)
        total = _sum(p.w)
        estimate = data.centre + _dot(p.w, data.y) / total
        factor, df = _inflation(data, p, inference)
        se = np.sqrt(factor / total)
        statistic, p_value, quantile = _tested(estimate, se, df, confidence)
        q, q_p_value, i2, h2 = _heterogeneity(data, between.tau2, estimator)
        reach = quantile * np.sqrt(se**2 + between.tau2)
    if estimator is Estimator.EQUAL_EFFECTS:
        reach = np.full(len(reach), np.nan)
    return RandomEffects(
        estimate,
        se,
        statistic,
        df,
        p_value,
        estimate - quantile * se,
        estimate + quantile * se,
        estimate - reach,
        estimate + reach,
        q,
        q_p_value,
        i2,
        h2,
        data.n_trials,
        between,
    )


def meta_regression(
    estimates: Floats,
    variances: Floats,
    covariate: Floats,
    estimator: Estimator,
    inference: Inference = Inference.NORMAL,
    confidence: float = CONFIDENCE,
) -> MetaRegression:
    """Fit a line through the effects, with tau2 around it as `estimator` has it.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)
    covariate : ndarray of float, shape (n_literatures, n_trials) or (n_trials,)
        NaN leaves the trial out.
    estimator : Estimator
    inference : Inference
    confidence : float

    Raises
    ------
    ValueError
        Where shapes differ or a variance is not above 0.

    References
    ----------
    Raudenbush (2009), in Cooper, Hedges and Valentine, chapter 16; Knapp and Hartung (2003),
    Statistics in Medicine 22:2693-2710.
    """
    data = _Literatures.of(estimates, variances, covariate)
    assert data.x is not None
    between = _between(data, estimator)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = data.at(between.tau2)
        total = _sum(p.w)
        mean = _dot(p.w, data.x) / total
        away = np.where(data.known, data.x - mean[:, None], 0.0)
        squares = _sum(p.w * away**2)
        slope = _sum(p.w * away * data.y) / squares
        intercept = data.centre + _dot(p.w, data.y) / total - slope * mean
        factor, df = _inflation(data, p, inference)
        unscaled = np.stack([1 / total + mean**2 / squares, 1 / squares], axis=1)
        errors = np.sqrt(factor[:, None] * unscaled)
        coefficients = np.stack([intercept, slope], axis=1)
        statistics, p_values, quantile = _tested(coefficients, errors, df[:, None], confidence)
        q, q_p_value, i2, h2 = _heterogeneity(data, between.tau2, estimator)
    return MetaRegression(
        coefficients,
        errors,
        statistics,
        p_values,
        coefficients - quantile * errors,
        coefficients + quantile * errors,
        df,
        q,
        q_p_value,
        i2,
        h2,
        between,
    )


def _inflation(data: _Literatures, p: _Projected, inference: Inference) -> tuple[Floats, Floats]:
    """Return what Knapp and Hartung multiply the variance by, and the degrees of freedom."""
    if inference is Inference.NORMAL:
        return np.ones(len(data.y)), np.full(len(data.y), np.inf)
    df = np.where(data.residual_df > 0, data.residual_df, np.nan)
    factor = _dot(data.y, p.of(data.y)) / df
    if inference is Inference.KNAPP_HARTUNG_FLOORED:
        factor = np.maximum(factor, 1.0)
    return factor, df


def _tested(
    estimate: Floats, se: Floats, df: Floats, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Return the statistic, its two-sided P value, and the quantile of an interval."""
    statistic = estimate / se
    normal = np.isinf(df)
    finite = np.where(normal, 1.0, df)
    tail = np.where(normal, ndtr(-np.abs(statistic)), stdtr(finite, -np.abs(statistic)))
    upper = (1 + confidence) / 2
    return statistic, 2 * tail, np.where(normal, ndtri(upper), stdtrit(finite, upper))


def _heterogeneity(
    data: _Literatures, tau2: Floats, estimator: Estimator
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return Q, its P value, I2 in percent and H2; NaN without degrees of freedom."""
    df = np.where(data.usable(Estimator.DERSIMONIAN_LAIRD), data.residual_df, np.nan)
    q = np.maximum(0.0, _dot(data.y, data.at(0.0).of(data.y))) + 0 * df
    p_value = chdtrc(df, q)
    if estimator is Estimator.EQUAL_EFFECTS:
        return q, p_value, 100 * np.where(q > df, (q - df) / q, 0.0 * df), q / df
    typical = data.typical_variance()
    return q, p_value, 100 * tau2 / (typical + tau2), tau2 / typical + 1


def q_profile(
    estimates: Floats, variances: Floats, confidence: float = CONFIDENCE
) -> ProfileInterval:
    """Return the interval of tau2 from the distribution of the generalised Q.

    The ends are where ``y'Py`` meets the quantiles of chi-square with k - 1 degrees of freedom, 0
    where it lies below at ``tau2 = 0``.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)

    References
    ----------
    Viechtbauer (2007), Statistics in Medicine 26:37-52.
    """
    data = _Literatures.of(estimates, variances, None)
    n = len(data.y)
    enough = data.usable(Estimator.PAULE_MANDEL)
    ends = np.full((2, n), np.nan)
    empty = np.zeros(n, dtype=bool)
    some = data.rows(enough)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    for row, upper_tail in enumerate(tails):
        target = chdtri(some.residual_df.astype(float), upper_tail).astype(float)
        found, converged = _where_q_is(some, target)
        ends[row, enough] = np.where(converged, found, np.nan)
    low = chdtri(some.residual_df.astype(float), tails[1])
    empty[enough] = _dot(some.y, some.at(0.0).of(some.y)) < low
    typical = np.full(n, np.nan)
    typical[enough] = some.typical_variance()
    i2, h2 = 100 * ends / (typical + ends), ends / typical + 1
    return ProfileInterval(ends[0], ends[1], i2[0], i2[1], h2[0], h2[1], empty)


def _sum(values: Floats) -> Floats:
    return np.asarray(values.sum(axis=1))


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray((a * b).sum(axis=1))
