"""Effects of trials less what is known of their bias, pooled.

Arrays hold one trial per element, on the log scale of a ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["AdjustedPool", "NextEffect", "adjusted_pool", "bias_moments", "next_effect"]

Floats = NDArray[np.float64]

_TAU_NODES, _TAU_REACH = 200, 6.0  # of the half-normal prior, in its scales


class AdjustedPool(NamedTuple):
    """A pooled effect, adjusted for bias.

    Attributes
    ----------
    estimate, standard_error : float
        Of the mean effect; NaN where no trial is left.
    tau2 : float
        Variance of true effects between trials.
    weights : ndarray of float, shape (n_trials,)
        Shares of the trials in the estimate; they add up to 1, and one that is correlated with
        the others by a shared bias can be below 0.
    """

    estimate: float
    standard_error: float
    tau2: float
    weights: Floats


@dataclass(frozen=True)
class NextEffect:
    """The true effect of a further, unbiased trial: a mixture of normals over the spread.

    Attributes
    ----------
    means, errors, weights : ndarray of float, shape (nodes,)
        Weights add up to 1.
    tau : float
        Posterior median of the standard deviation between trials.
    """

    means: Floats
    errors: Floats
    weights: Floats
    tau: float

    @property
    def mean(self) -> float:
        """Its mean."""
        return float(self.weights @ self.means)

    @property
    def stdev(self) -> float:
        """Its standard deviation."""
        return float(np.sqrt(self.weights @ (self.errors**2 + (self.means - self.mean) ** 2)))

    def cdf(self, x: float) -> float:
        """Return the chance of an effect of at most `x`."""
        return float(self.weights @ ndtr((x - self.means) / self.errors))

    def pdf(self, x: float) -> float:
        """Return the density at `x`."""
        z = (x - self.means) / self.errors
        return float(self.weights @ (np.exp(-(z**2) / 2) / self.errors / np.sqrt(2 * np.pi)))

    def inv_cdf(self, p: float) -> float:
        """Return the effect that has the chance `p`, above 0 and below 1, below it."""
        from scipy.optimize import brentq  # a quarter of a second, which 'size' does not need

        far = 40 * float(self.errors.max()) + float(np.ptp(self.means))
        found = brentq(lambda x: self.cdf(x) - p, self.mean - far, self.mean + far)
        return float(found)


def next_effect(
    estimates: Floats,
    variances: Floats,
    bias_mean: Floats,
    bias_variance: Floats,
    shared: Floats | None = None,
    *,
    tau_scale: float,
) -> NextEffect:
    """Return what trials less their bias say of a further one, the spread between them unknown.

    Parameters
    ----------
    estimates, variances, bias_mean, bias_variance, shared
        As in `adjusted_pool`.
    tau_scale : float
        Scale of the half-normal prior of the standard deviation between trials.

    Raises
    ------
    ValueError
        Where no trial is left.

    Notes
    -----
    Given tau the mean effect is that of generalised least squares, with a flat prior, and the next
    effect N(mean, se^2 + tau^2); tau has its prior times the restricted likelihood, by Gauss and
    Legendre over 6 scales. Of one trial the restricted likelihood is flat, and tau has its prior.

    References
    ----------
    Higgins, Thompson and Spiegelhalter (2009), Journal of the Royal Statistical Society A
    172:137-159, section 4.2 (predictive distribution, tau unknown); its interval by t with k - 2
    degrees of freedom (section 3) does not exist for two trials.
    """
    kept = np.isfinite(bias_variance)
    if not kept.any():
        raise ValueError("no trial is left")
    y, covariance = _of_trials(estimates, variances, bias_mean, bias_variance, shared, kept)
    x, w = np.polynomial.legendre.leggauss(_TAU_NODES)
    standard = (x + 1) * _TAU_REACH / 2
    taus = tau_scale * standard
    roots, vectors = np.linalg.eigh(covariance)  # tau^2 is added to each root
    own, ones = vectors.T @ y, vectors.sum(axis=0)
    precision = 1 / (roots + taus[:, None] ** 2)
    total = precision @ ones**2
    means = precision @ (own * ones) / total
    fit = (precision * (own - means[:, None] * ones) ** 2).sum(axis=1)
    logs = (np.log(precision).sum(axis=1) - np.log(total) - fit - standard**2) / 2
    weights = w * np.exp(logs - logs.max())
    weights /= weights.sum()
    errors = np.sqrt(1 / total + taus**2)
    median = float(np.interp(0.5, np.cumsum(weights) - weights / 2, taus))
    return NextEffect(means, errors, weights, median)


def _of_trials(
    estimates: Floats,
    variances: Floats,
    bias_mean: Floats,
    bias_variance: Floats,
    shared: Floats | None,
    kept: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Return estimates less their mean bias, and their covariance."""
    covariance = np.diag((variances + bias_variance)[kept])
    if shared is not None:
        covariance = covariance + shared[np.ix_(kept, kept)]
    return (estimates - bias_mean)[kept], covariance


def bias_moments(
    flawed: NDArray[np.bool_], mean: Floats, mean_variance: Floats, kappa: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the means, variances and shared covariance of the biases of trials.

    Parameters
    ----------
    flawed : ndarray of bool, shape (n_trials, n_flaws)
        Which trial has which flaw; biases of several flaws add up.
    mean : ndarray of float, shape (n_flaws,)
        Mean bias, a log ratio of odds ratios; below 0 flaws flatter.
    mean_variance : ndarray of float, shape (n_flaws,)
        Of the mean bias in this meta-analysis: squared error of the published mean plus ``phi^2``.
    kappa : ndarray of float, shape (n_flaws,)
        Standard deviation of the bias between trials of one meta-analysis; infinite: nothing is
        known of it.

    Returns
    -------
    mean, variance : ndarray of float, shape (n_trials,)
        Variance: of what each trial has of its own.
    shared : ndarray of float, shape (n_trials, n_trials)
        Covariance by the mean bias that trials with the same flaw share.

    References
    ----------
    Welton, Ades, Carlin, Altman and Sterne (2009), Journal of the Royal Statistical Society A
    172:119-136, section 3.
    """
    x = flawed.astype(float)
    spread = np.where(flawed, kappa**2, 0.0).sum(axis=1)
    return x @ mean, spread, (x * mean_variance) @ x.T


def adjusted_pool(
    estimates: Floats,
    variances: Floats,
    bias_mean: Floats,
    bias_variance: Floats,
    shared: Floats | None = None,
    *,
    tau2: float | None = None,
) -> AdjustedPool:
    """Pool effects less the mean of their bias, each with the variance of its bias added.

    Parameters
    ----------
    estimates, variances : ndarray of float, shape (n_trials,)
        Log ratios; variances above 0.
    bias_mean, bias_variance : ndarray of float, shape (n_trials,)
        Of each trial's own bias. A trial of infinite bias variance drops out.
    shared : ndarray of float, shape (n_trials, n_trials), optional
        Covariance of biases between trials.
    tau2 : float, optional
        Variance of true effects between trials; by restricted maximum likelihood unless stated.

    Notes
    -----
    Generalised least squares with covariance ``diag(variances + bias_variance) + shared + tau2 I``:
    the posterior mean under a flat prior of the mean effect. Without any bias it is the
    inverse-variance or random-effects mean.

    References
    ----------
    Turner, Spiegelhalter, Smith and Thompson (2009), Journal of the Royal Statistical Society A
    172:21-47 (own bias per trial); Welton et al. (2009), the same volume, 119-136 (shared mean).
    """
    kept = np.isfinite(bias_variance)
    weights = np.zeros(len(estimates))
    if not kept.any():
        return AdjustedPool(np.nan, np.nan, np.nan, weights)
    y, covariance = _of_trials(estimates, variances, bias_mean, bias_variance, shared, kept)
    between = _restricted_tau2(y, covariance) if tau2 is None else tau2
    inverse = np.linalg.inv(covariance + between * np.eye(len(y)))
    total = inverse.sum()
    weights[kept] = inverse.sum(axis=0) / total
    return AdjustedPool(float(weights[kept] @ y), float(total**-0.5), float(between), weights)


def _restricted_tau2(y: Floats, covariance: Floats) -> float:
    """Return the highest maximum of the restricted likelihood: the best of a grid, then bisected.

    The score is ``(r'PPr - tr P) / 2`` (Raudenbush 2009), r being what is left of the mean.
    """
    if len(y) < 2:
        return 0.0
    left, eye = y - y.mean(), np.eye(len(y))

    def projected(tau2: float) -> tuple[Floats, Floats]:
        inverse = np.asarray(np.linalg.inv(covariance + tau2 * eye), dtype=np.float64)
        row = inverse.sum(axis=0)
        return inverse, inverse - np.outer(row, row) / row.sum()

    def likelihood(tau2: float) -> float:
        inverse, p = projected(tau2)
        return float(np.linalg.slogdet(inverse)[1] - np.log(inverse.sum()) - left @ p @ left)

    def score(tau2: float) -> float:
        p = projected(tau2)[1]
        return float(left @ p @ p @ left - np.trace(p))

    top = float(4 * (left @ left) + covariance.diagonal().mean())
    grid = np.concatenate([[0.0], np.geomspace(top * 1e-8, top, 48)])
    best = int(np.argmax([likelihood(t) for t in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if best == 0 and score(0.0) <= 0:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if score(middle) > 0 else (low, middle)
    return float((low + high) / 2)
