"""Effects of trials less what is known of their bias, pooled.

Arrays hold one trial per element, on the log scale of a ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["AdjustedPool", "adjusted_pool", "bias_moments"]

Floats = NDArray[np.float64]


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

    @property
    def predictive_error(self) -> float:
        """Standard deviation of the true effect of a further, unbiased trial."""
        return float(np.sqrt(self.standard_error**2 + self.tau2))


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
    y = (estimates - bias_mean)[kept]
    covariance = np.diag((variances + bias_variance)[kept])
    if shared is not None:
        covariance = covariance + shared[np.ix_(kept, kept)]
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
