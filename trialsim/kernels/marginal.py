"""Coefficients of a logistic model that give stated marginal risks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

__all__ = ["intercept_for", "score_distribution"]

Floats = NDArray[np.float64]


def score_distribution(
    severity_slope: float, factors: tuple[tuple[Floats, Floats], ...]
) -> tuple[Floats, Floats]:
    """Return the distribution of a patient's prognostic score, as points and their probabilities.

    Parameters
    ----------
    severity_slope : float
        Log odds per standard deviation of a standard normal severity.
    factors : tuple of (shares, odds_ratios)
        Independent factors; arrays of shape (n_levels,).

    Returns
    -------
    scores, probabilities : ndarray, shape (n_points,)
        Log odds added to the intercept.

    Notes
    -----
    Severity is integrated by the trapezoidal rule on 401 points over +-9 standard deviations,
    which for an analytic integrand converges geometrically (Trefethen and Weideman 2014, SIAM
    Review 56:385-458): errors are below 1e-12 for slopes up to 10.
    """
    scores: Floats = np.zeros(1)
    probabilities: Floats = np.ones(1)
    for shares, odds_ratios in factors:
        if np.all(odds_ratios == 1):
            continue
        scores = np.add.outer(scores, np.log(odds_ratios)).ravel()
        probabilities = np.multiply.outer(probabilities, shares).ravel()
        distinct, same = np.unique(scores, return_inverse=True)
        probabilities = np.bincount(same, weights=probabilities).astype(float)
        scores = np.asarray(distinct, dtype=float)
    if severity_slope:
        severity = np.linspace(-9.0, 9.0, 401)
        weight = np.exp(-(severity**2) / 2)
        scores = np.add.outer(scores, severity_slope * severity).ravel()
        probabilities = np.multiply.outer(probabilities, weight / weight.sum()).ravel()
    return scores, probabilities


def intercept_for(risk: float, scores: Floats, probabilities: Floats) -> float:
    """Solve ``sum(probabilities * expit(intercept + scores)) = risk`` for the intercept.

    Newton's method inside a bracket; the marginal risk rises with the intercept, so the root is
    unique. The residual is below 1e-13 of the risk.
    """
    low, high = logit(risk) - scores.max(), logit(risk) - scores.min()
    intercept = float(np.clip(logit(risk) - probabilities @ scores, low, high))
    for _ in range(200):
        p = expit(intercept + scores)
        excess = float(probabilities @ p) - risk
        if abs(excess) < 1e-14 * min(risk, 1 - risk) or high - low < 1e-15:
            break
        low, high = (low, intercept) if excess > 0 else (intercept, high)
        step = intercept - excess / float(probabilities @ (p * (1 - p)))
        intercept = step if low < step < high else (low + high) / 2
    return intercept
