"""Does the effect differ? Tests between subgroups, and per unit of a covariate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, expit

from trialsim.kernels.contrasts import arm_masks

__all__ = ["Heterogeneity", "Slopes", "heterogeneity", "linear_interaction", "logistic_interaction"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MOST_STEPS = 30
_CONVERGED = 1e-9  # of a step, in log odds (per unit of the covariate)
_LARGEST = 40.0  # log odds: beyond it the likelihood has no maximum


class Heterogeneity(NamedTuple):
    """Cochran's test, one element per trial.

    Attributes
    ----------
    statistic : ndarray of float, shape (n_reps,)
        Q; of two subgroups the square of z.
    p_value : ndarray of float, shape (n_reps,)
    failed : ndarray of bool, shape (n_reps,)
        A subgroup had no estimate.
    """

    statistic: Floats
    p_value: Floats
    failed: Bools


class Slopes(NamedTuple):
    """How much more the outcome rises with a covariate on treatment than on control.

    Attributes
    ----------
    estimate, standard_error : ndarray of float, shape (n_reps,)
        Log odds, or the outcome's unit, per unit of the covariate; NaN where `failed`.
    degrees_of_freedom : ndarray of float, shape (n_reps,)
        Infinity for a likelihood.
    failed : ndarray of bool, shape (n_reps,)
    """

    estimate: Floats
    standard_error: Floats
    degrees_of_freedom: Floats
    failed: Bools


def heterogeneity(estimates: Floats, standard_errors: Floats) -> Heterogeneity:
    """Test that independent subgroups have one effect.

    ``Q = sum(w (e - mean)**2)`` with ``w = 1 / se**2`` and the mean weighted by ``w``, against the
    chi-square distribution with one degree of freedom less than there are subgroups.

    Parameters
    ----------
    estimates, standard_errors : ndarray of float, shape (n_subgroups, n_reps)
        On the analysis scale: ratios as logarithms.

    References
    ----------
    Cochran (1954), Biometrics 10:101-129; of two subgroups Altman and Bland (2003), BMJ 326:219.
    """
    failed = ~(np.isfinite(estimates) & np.isfinite(standard_errors) & (standard_errors > 0))
    any_failed = np.asarray(failed.any(axis=0))
    weights = np.where(failed, 0.0, 1 / np.where(failed, 1.0, standard_errors) ** 2)
    known = np.where(failed, 0.0, estimates)
    total = np.where(any_failed, 1.0, weights.sum(axis=0))
    mean = (weights * known).sum(axis=0) / total
    q = np.where(any_failed, np.nan, (weights * (known - mean) ** 2).sum(axis=0))
    return Heterogeneity(q, np.asarray(chdtrc(len(estimates) - 1, q)), any_failed)


def logistic_interaction(
    events: Bools, treated: Bools, covariate: Floats, included: Bools | None = None
) -> Slopes:
    """Return the interaction of a logistic model: treatment, covariate and their product.

    With treatment in the model alone and in the product, the likelihood is one of the treated times
    one of the controls: each arm has its own line, fitted by iteratively reweighted least squares,
    and the coefficient of the product is the difference of the slopes.

    Parameters
    ----------
    events, treated : ndarray of bool, shape (n_patients, n_reps)
    covariate : ndarray of float, shape (n_patients, n_reps)
        Of spread near 1.
    included : ndarray of bool, shape (n_patients, n_reps), optional
        Who is analysed; everyone if not given.

    Returns
    -------
    Slopes
        `failed` where an arm's likelihood has no maximum (all or none with the event, or events
        separated by the covariate).

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, sections 2.5 and 4.4.
    """
    arms = arm_masks(treated, included)
    slopes, variances, failed = zip(*(_line(events, covariate, arm) for arm in arms), strict=True)
    bad = failed[0] | failed[1]
    se = np.sqrt(np.where(bad, np.nan, variances[0] + variances[1]))
    estimate = np.where(bad, np.nan, slopes[0] - slopes[1])
    return Slopes(estimate, se, np.full(estimate.shape, np.inf), bad)


def _line(events: Bools, x: Floats, arm: Bools) -> tuple[Floats, Floats, Bools]:
    """Return the slope of a logistic line in one arm, its variance, and where there is none."""
    n_reps = arm.shape[1]
    n, happened = arm.sum(axis=0), (events & arm).sum(axis=0)
    failed = (happened == 0) | (happened == n)
    p = np.where(failed, 0.5, happened / np.maximum(n, 1))
    a, b, variance = np.log(p / (1 - p)), np.zeros(n_reps), np.full(n_reps, np.nan)
    y = events.astype(float)
    going = np.flatnonzero(~failed)
    for _ in range(_MOST_STEPS):
        own_x, own = x[:, going], arm[:, going]
        fitted = expit(a[going] + b[going] * own_x)
        weight = np.where(own, fitted * (1 - fitted), 0.0)
        rest = np.where(own, y[:, going] - fitted, 0.0)
        s0, s1, s2 = (
            weight.sum(axis=0),
            (weight * own_x).sum(axis=0),
            (weight * own_x**2).sum(axis=0),
        )
        u0, u1 = rest.sum(axis=0), (rest * own_x).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            determinant = s0 * s2 - s1**2
            step_a, step_b = (s2 * u0 - s1 * u1) / determinant, (s0 * u1 - s1 * u0) / determinant
            variance[going] = s0 / determinant
        a[going], b[going] = a[going] + step_a, b[going] + step_b
        lost = ~np.isfinite(step_a + step_b) | (np.abs(a[going]) + np.abs(b[going]) > _LARGEST)
        failed[going[lost]] = True
        still = (np.maximum(np.abs(step_a), np.abs(step_b)) > _CONVERGED) & ~lost
        going = going[still]
        if not len(going):
            break
    failed[going] = True
    return b, variance, failed


def linear_interaction(
    values: Floats, treated: Bools, covariate: Floats, included: Bools | None = None
) -> Slopes:
    """Return the interaction of a linear model: treatment, covariate and their product.

    Each arm has its own line; their residuals share one variance, with n - 4 degrees of freedom.

    Parameters
    ----------
    values : ndarray of float, shape (n_patients, n_reps)
        Read only where `included`.
    treated : ndarray of bool, shape (n_patients, n_reps)
    covariate : ndarray of float, shape (n_patients, n_reps)
    included : ndarray of bool, shape (n_patients, n_reps), optional
        Who is analysed; everyone if not given.
    """
    slopes, squares, residual, n = [], [], np.zeros(values.shape[1]), np.zeros(values.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for arm in arm_masks(treated, included):
            size = arm.sum(axis=0)
            x, y = (np.where(arm, v, 0.0) for v in (covariate, values))
            x = np.where(arm, x - x.sum(axis=0) / size, 0.0)
            y = np.where(arm, y - y.sum(axis=0) / size, 0.0)
            sxx, sxy = (x * x).sum(axis=0), (x * y).sum(axis=0)
            slopes.append(sxy / sxx)
            squares.append(1 / sxx)
            residual, n = residual + (y * y).sum(axis=0) - sxy**2 / sxx, n + size
        df = n - 4
        se = np.sqrt(residual / df * (squares[0] + squares[1]))
        estimate = slopes[0] - slopes[1]
    failed = ~(np.isfinite(estimate) & np.isfinite(se) & (se > 0) & (df > 0))
    estimate, se = (np.where(failed, np.nan, column) for column in (estimate, se))
    return Slopes(estimate, se, np.where(failed, np.nan, df), failed)
