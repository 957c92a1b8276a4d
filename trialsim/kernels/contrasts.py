"""What a comparison of two arms gives, one element per trial, whatever was measured."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

__all__ = ["Alternative", "ArmContrast", "arm_masks", "wald"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Alternative(StrEnum):
    """What a small P value speaks for."""

    DIFFERENT = "different"
    LARGER = "larger on treatment"
    SMALLER = "smaller on treatment"


class ArmContrast(NamedTuple):
    """Treated compared with control in each trial.

    Attributes
    ----------
    estimate, standard_error, lower, upper : ndarray of float, shape (n_reps,)
        NaN where there is none.
    statistic : ndarray of float, shape (n_reps,)
        t or z, positive where the treated are larger; NaN where `failed`.
    degrees_of_freedom : ndarray of float, shape (n_reps,)
        Of the t distribution; infinity for z.
    failed : ndarray of bool, shape (n_reps,)
        No test was possible.
    """

    estimate: Floats
    standard_error: Floats
    lower: Floats
    upper: Floats
    statistic: Floats
    degrees_of_freedom: Floats
    failed: Bools

    def p_value(self, alternative: Alternative) -> Floats:
        """Return the P value of no difference, shape (n_reps,); NaN where `failed`."""
        df, t = self.degrees_of_freedom, self.statistic
        if alternative is Alternative.DIFFERENT:
            return np.asarray(2 * stdtr(df, -np.abs(t)))
        return np.asarray(stdtr(df, t if alternative is Alternative.SMALLER else -t))


def wald(
    estimate: Floats,
    standard_error: Floats,
    confidence_level: float,
    *,
    degrees_of_freedom: ArrayLike = np.inf,
    failed: ArrayLike = False,
) -> ArmContrast:
    """Test that an effect is 0, and its interval, from its standard error.

    Parameters
    ----------
    estimate, standard_error : ndarray of float, shape (n_reps,)
    confidence_level : float
        Two-sided, in (0, 1).
    degrees_of_freedom : array of float, shape (n_reps,)
        Infinity, the default, for the normal distribution.
    failed : array of bool, shape (n_reps,)
        Trials known to have no estimate. Those without a finite estimate, or without a standard
        error above 0, are added.
    """
    failed = np.asarray(failed) | ~np.isfinite(estimate)
    failed = failed | ~(np.isfinite(standard_error) & (standard_error > 0))
    estimate, standard_error, df = (
        np.where(failed, np.nan, a) for a in (estimate, standard_error, degrees_of_freedom)
    )
    half = stdtrit(df, (1 + confidence_level) / 2) * standard_error
    return ArmContrast(
        estimate,
        standard_error,
        estimate - half,
        estimate + half,
        estimate / standard_error,
        df,
        failed,
    )


def arm_masks(treated: Bools, included: Bools | None) -> tuple[Bools, Bools]:
    """Return who is analysed in the treated and in the control arm."""
    if included is None:
        return treated, ~treated
    return treated & included, ~treated & included
