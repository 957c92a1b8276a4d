"""Continuous outcomes: the difference of two arms' means over many trials at once.

One row per patient, one column per trial. A change from baseline is a t test of the differences.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.contrasts import ArmContrast, arm_masks, wald

__all__ = ["ancova", "from_summaries", "student", "welch"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ROUNDING = 8 * np.finfo(float).eps  # of the largest value: variation below this is none


class Summarised(Protocol):
    """What a paper says of one arm."""

    @property
    def n(self) -> int:
        """Patients."""

    @property
    def mean(self) -> float:
        """Their mean."""

    @property
    def sd(self) -> float:
        """Their standard deviation, with n - 1."""


def from_summaries(
    treated: Summarised,
    control: Summarised,
    *,
    pooled: bool = True,
    confidence_level: float = 0.95,
) -> ArmContrast:
    """Difference of two published means, treated minus control; arrays of shape (1,).

    Parameters
    ----------
    treated, control : Summarised
        At least two patients each, standard deviations above 0.
    pooled : bool
        Student's t test; else Welch's.
    confidence_level : float
        Two-sided.
    """
    own = [arm.sd**2 / arm.n for arm in (treated, control)]
    if pooled:
        df = float(treated.n + control.n - 2)
        squares = (treated.n - 1) * treated.sd**2 + (control.n - 1) * control.sd**2
        variance = squares / df * (1 / treated.n + 1 / control.n)
    else:
        variance = sum(own)
        df = variance**2 / (own[0] ** 2 / (treated.n - 1) + own[1] ** 2 / (control.n - 1))
    return wald(
        np.array([treated.mean - control.mean]),
        np.sqrt(np.array([variance])),
        confidence_level,
        degrees_of_freedom=df,
    )


class _Arm(NamedTuple):
    """One arm's patients, mean and sum of squares about it, each (n_reps,)."""

    n: Floats
    mean: Floats
    squares: Floats


class _Centred(NamedTuple):
    """Values less their arm's mean, and what makes their variation indistinguishable from none."""

    within: Floats
    treated: _Arm
    control: _Arm
    negligible: Floats


def _centred(values: Floats, treated: Bools, included: Bools | None) -> _Centred:
    masks = arm_masks(treated, included)
    within = np.zeros(np.broadcast_shapes(values.shape, treated.shape))
    arms: list[_Arm] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for mask in masks:
            own = np.where(mask, values, 0.0)
            n = mask.sum(axis=0, dtype=float)
            mean = own.sum(axis=0) / n
            apart = np.where(mask, own - mean, 0.0)
            # a second pass takes out the rounding of the first mean
            correction = apart.sum(axis=0) / n
            apart = np.where(mask, apart - correction, 0.0)
            arms.append(_Arm(n, mean + correction, np.einsum("ij,ij->j", apart, apart)))
            within += apart
    known = values if included is None else np.where(included, values, 0.0)
    size = np.abs(known).max(axis=0, initial=0.0)
    negligible = (arms[0].n + arms[1].n) * (_ROUNDING * size) ** 2
    return _Centred(within, arms[0], arms[1], negligible)


def student(
    values: Floats,
    treated: Bools,
    included: Bools | None = None,
    *,
    confidence_level: float = 0.95,
) -> ArmContrast:
    """Difference in means, treated minus control, by Student's t test with pooled variance.

    Parameters
    ----------
    values : ndarray of float, shape (n_patients, n_reps)
        In the outcome's unit; read only where `included`.
    treated : ndarray of bool, shape (n_patients, n_reps)
    included : ndarray of bool, shape (n_patients, n_reps), optional
        Who is analysed; everyone if not given.
    confidence_level : float
        Two-sided.

    Returns
    -------
    contrast : ArmContrast
        n - 2 degrees of freedom. `failed` where an arm is empty, neither has two patients, or no
        value differs from its arm's mean.

    References
    ----------
    Student (1908), Biometrika 6:1-25; Fisher (1925), Metron 5:90-104 (two samples).
    """
    y = _centred(values, treated, included)
    df = y.treated.n + y.control.n - 2
    squares = y.treated.squares + y.control.squares
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(squares / df * (1 / y.treated.n + 1 / y.control.n))
    return wald(
        y.treated.mean - y.control.mean,
        error,
        confidence_level,
        degrees_of_freedom=df,
        failed=(df < 1) | ~(squares > y.negligible),
    )


def welch(
    values: Floats,
    treated: Bools,
    included: Bools | None = None,
    *,
    confidence_level: float = 0.95,
) -> ArmContrast:
    """Difference in means, treated minus control, with a variance of its own for each arm.

    Parameters
    ----------
    values, treated, included, confidence_level
        As in `student`.

    Returns
    -------
    contrast : ArmContrast
        Degrees of freedom by Satterthwaite's formula. `failed` where an arm has fewer than two
        patients, or no value differs from its arm's mean.

    References
    ----------
    Welch (1938), Biometrika 29:350-362; Satterthwaite (1946), Biometrics Bulletin 2:110-114.
    """
    y = _centred(values, treated, included)
    with np.errstate(invalid="ignore", divide="ignore"):
        v1, v0 = (arm.squares / (arm.n - 1) / arm.n for arm in (y.treated, y.control))
        df = (v1 + v0) ** 2 / (v1**2 / (y.treated.n - 1) + v0**2 / (y.control.n - 1))
    return wald(
        y.treated.mean - y.control.mean,
        np.sqrt(v1 + v0),
        confidence_level,
        degrees_of_freedom=df,
        failed=(np.minimum(y.treated.n, y.control.n) < 2)
        | ~(y.treated.squares + y.control.squares > y.negligible),
    )


def ancova(
    values: Floats,
    baseline: Floats,
    treated: Bools,
    included: Bools | None = None,
    *,
    confidence_level: float = 0.95,
) -> ArmContrast:
    """Difference in means, treated minus control, adjusted for a baseline with one slope.

    Least squares of the outcome on arm and baseline, in closed form.

    Parameters
    ----------
    values, baseline : ndarray of float, shape (n_patients, n_reps)
        Read only where `included`.
    treated, included, confidence_level
        As in `student`.

    Returns
    -------
    contrast : ArmContrast
        n - 3 degrees of freedom. `failed` where an arm is empty, there are fewer than four
        patients, the baseline does not vary within the arms, or the fit is perfect.

    References
    ----------
    Cochran (1957), Biometrics 13:261-281.
    """
    y, x = (_centred(v, treated, included) for v in (values, baseline))
    df = y.treated.n + y.control.n - 3
    spread = x.treated.squares + x.control.squares
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.einsum("ij,ij->j", x.within, y.within) / spread
        residual = y.within - slope * x.within
        squares = np.einsum("ij,ij->j", residual, residual)
        gap = x.treated.mean - x.control.mean
        error = np.sqrt(squares / df * (1 / y.treated.n + 1 / y.control.n + gap**2 / spread))
    return wald(
        y.treated.mean - y.control.mean - slope * gap,
        error,
        confidence_level,
        degrees_of_freedom=df,
        failed=(df < 1) | ~(spread > x.negligible) | ~(squares > y.negligible),
    )
