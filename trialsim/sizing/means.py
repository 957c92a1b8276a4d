"""Sample size and power for two means: t, Welch, z, and adjusted for a covariate."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt

import numpy as np
from scipy.special import gammainccinv, gammaincinv, ndtr, stdtrit

from trialsim.errors import Problem
from trialsim.sizing.fixed import (
    EQUAL,
    SUPERIORITY,
    TWO_SIDED_5,
    Allocation,
    FixedSize,
    Hypothesis,
    Level,
    Margin,
    check_power,
    check_sizes,
    margin_problems,
    problem_unless,
    refuse,
    rounded_size,
    smallest_total,
)

__all__ = [
    "Adjusted",
    "KnownDeviations",
    "PooledDeviation",
    "SeparateDeviations",
    "Spread",
    "TwoMeans",
    "means_conventions",
    "means_power",
    "means_size",
    "one_mean_power",
    "seen_deviations",
]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_NEGLIGIBLE = 1e-18


@dataclass(frozen=True)
class PooledDeviation:
    """Student's t: one standard deviation in both arms, estimated."""

    deviation: float


@dataclass(frozen=True)
class SeparateDeviations:
    """Welch's t: two standard deviations, both estimated."""

    treated: float
    control: float


@dataclass(frozen=True)
class KnownDeviations:
    """The z test: standard deviations taken as known."""

    treated: float
    control: float


@dataclass(frozen=True)
class Adjusted:
    """Analysis of covariance: one standard deviation, reduced by covariates, estimated.

    Attributes
    ----------
    deviation : float
        Of the outcome, before adjustment.
    correlation : float
        Of the outcome with the covariates within arms (the multiple correlation), in (-1, 1).
    covariates : int
        Each costs a degree of freedom.
    """

    deviation: float
    correlation: float
    covariates: int = 1


Spread = PooledDeviation | SeparateDeviations | KnownDeviations | Adjusted


@dataclass(frozen=True)
class TwoMeans:
    """A comparison of two means.

    Attributes
    ----------
    difference : float
        Expected, treated minus control, in the unit of the outcome.
    spread : PooledDeviation, SeparateDeviations, KnownDeviations or Adjusted
        Names the test.
    hypothesis : Superiority, NonInferiority or SuperiorityByMargin
    """

    difference: float
    spread: Spread
    hypothesis: Hypothesis = SUPERIORITY


def seen_deviations(spread: Spread) -> tuple[float, float]:
    """Return the standard deviation of the treated and the control arm that the test sees."""
    if isinstance(spread, SeparateDeviations | KnownDeviations):
        return spread.treated, spread.control
    deviation = spread.deviation
    if isinstance(spread, Adjusted):
        deviation *= sqrt(1 - spread.correlation**2)
    return deviation, deviation


def _spread_problems(spread: Spread) -> tuple[Problem, ...]:
    if isinstance(spread, Adjusted):
        found = problem_unless(
            -1 < spread.correlation < 1,
            "correlation",
            spread.correlation,
            "must be in (-1, 1)",
            "Write for example 0.5.",
        ) + problem_unless(
            spread.covariates >= 1,
            "covariates",
            spread.covariates,
            "must be at least 1",
            "Add one.",
        )
        if found:
            return found
    rule, remedy = "must be a number above 0", "Write the standard deviation of the outcome."
    return tuple(
        problem
        for deviation in seen_deviations(spread)[: 1 if hasattr(spread, "deviation") else 2]
        for problem in problem_unless(
            deviation > 0 and isfinite(deviation), "deviation", deviation, rule, remedy
        )
    )


def _check(design: TwoMeans, level: Level) -> None:
    rule = "must be finite"
    refuse(
        _spread_problems(design.spread),
        problem_unless(
            isfinite(design.difference), "difference", design.difference, rule, "State a number."
        ),
        margin_problems(design.hypothesis, design.difference, 0.0, level),
    )


def _distance(design: TwoMeans) -> float:
    return abs(design.difference - getattr(design.hypothesis, "margin", 0.0))


def _least(spread: Spread) -> float:
    """Return the patients above which the variance can be estimated."""
    return 3.0 + spread.covariates if isinstance(spread, Adjusted) else 3.0


def _freedom(spread: Spread, n_treated: float, n_control: float) -> float:
    if isinstance(spread, KnownDeviations):
        return inf
    if isinstance(spread, SeparateDeviations):
        v1, v0 = spread.treated**2 / n_treated, spread.control**2 / n_control
        return (v1 + v0) ** 2 / (v1**2 / (n_treated - 1) + v0**2 / (n_control - 1))
    return n_treated + n_control - _least(spread) + 1


def means_power(
    design: TwoMeans, n_treated: float, n_control: float, level: Level = TWO_SIDED_5
) -> float:
    """Power of a comparison of two means, exact under normality; Welch's by Satterthwaite.

    Parameters
    ----------
    design : TwoMeans
    n_treated, n_control : float
        Patients; at least 1 per arm, 2 for Welch's t.
    level : Level

    Raises
    ------
    DesignError
        If a standard deviation is not above 0, the means are equal, the margin is on the wrong
        side, or there are too few patients to estimate the variance.

    References
    ----------
    Julious (2004), Statistics in Medicine 23:1921-1986; Moser, Stevens and
    Watts (1989), Communications in Statistics A 18:3963-3975 (Welch); Borm, Fransen and Lemmens
    (2007), Journal of Clinical Epidemiology 60:1234-1238 (analysis of covariance).
    """
    _check(design, level)
    separate = isinstance(design.spread, SeparateDeviations)
    check_sizes(n_treated, n_control, 2 if separate else 1)
    known = isinstance(design.spread, KnownDeviations)
    enough = known or n_treated + n_control >= _least(design.spread)
    rule, remedy = "must leave a degree of freedom", "Add patients."
    refuse(problem_unless(enough, "patients", n_treated + n_control, rule, remedy))
    return _power(design, n_treated, n_control, level)


def one_mean_power(
    difference: float, deviation: float, n: int, level: Level = TWO_SIDED_5
) -> float:
    """Power of Student's t for one mean against a known value, exact under normality.

    Parameters
    ----------
    difference : float
        Of the mean from the known value, above 0 in the direction that is tested.
    deviation : float
        Standard deviation of the outcome, above 0.
    n : int
        Patients, at least 2.
    level : Level

    Raises
    ------
    DesignError
        If the deviation is not above 0, or there is one patient.

    References
    ----------
    Johnson and Welch (1940), Biometrika 31:362-389.
    """
    rule = "must be a number above 0"
    refuse(
        problem_unless(deviation > 0, "deviation", deviation, rule, "Write the outcome's SD."),
        problem_unless(n >= 2, "n", n, "must be at least 2", "Add patients."),
    )
    mean, critical = difference / deviation * sqrt(n), float(stdtrit(n - 1, 1 - level.per_side))
    power = _noncentral_t_above(critical, n - 1, mean)
    return power + (_noncentral_t_above(critical, n - 1, -mean) if level.counts_both else 0.0)


def _power(design: TwoMeans, n_treated: float, n_control: float, level: Level) -> float:
    s1, s0 = seen_deviations(design.spread)
    distance = _distance(design) / sqrt(s1**2 / n_treated + s0**2 / n_control)
    freedom = _freedom(design.spread, n_treated, n_control)
    if freedom == inf:
        return level.normal_power(distance, 1.0, 1.0)
    critical = float(stdtrit(freedom, 1 - level.per_side))
    power = _noncentral_t_above(critical, freedom, distance)
    if level.counts_both:
        power += _noncentral_t_above(critical, freedom, -distance)
    return power


def _noncentral_t_above(critical: float, freedom: float, mean: float) -> float:
    """Return the upper tail of the noncentral t distribution.

    The normal tail given the ratio of estimated to true deviation, averaged over that ratio, whose
    square is gamma-distributed. (`scipy.special.nctdtr` 1.17 is NaN at some negative means.)
    """
    half = freedom / 2
    least, most = (
        sqrt(float(edge) / half)
        for edge in (gammaincinv(half, _NEGLIGIBLE), gammainccinv(half, _NEGLIGIBLE))
    )
    steep = np.array([-8.0, -4.0, 0.0, 4.0, 8.0]) / critical + mean / critical
    edges = np.unique(np.clip([*np.geomspace(least, most, 25), *steep], least, most))
    width = np.diff(edges)[:, None] / 2
    ratio = edges[:-1, None] + width * (1 + _NODES)
    weight = width * _WEIGHTS * np.exp((freedom - 1) * np.log(ratio) - half * (ratio**2 - 1))
    return float((weight * ndtr(mean - critical * ratio)).sum() / weight.sum())


def means_size(
    design: TwoMeans,
    power: float = 0.8,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> FixedSize:
    """Patients for a comparison of two means.

    Raises
    ------
    DesignError
        As `means_power`; if the power is not above alpha; if more than 10 million patients would
        be needed.

    References
    ----------
    As `means_power`.
    """
    _check(design, level)
    check_power(power, level)
    share = allocation.treated_share
    if isinstance(design.spread, KnownDeviations):
        s1, s0 = seen_deviations(design.spread)
        deviation = sqrt(s1**2 / share + s0**2 / (1 - share))
        total = level.normal_total(power, _distance(design), deviation, deviation)
    else:
        separate = isinstance(design.spread, SeparateDeviations)
        least = max(_least(design.spread), (2 if separate else 1) / min(share, 1 - share))
        total = smallest_total(
            lambda n: _power(design, n * share, n * (1 - share), level), power, least
        )
    return rounded_size(
        total,
        allocation,
        lambda n1, n0: _power(design, n1, n0, level),
        means_conventions(design, level),
    )


def means_conventions(design: TwoMeans, level: Level = TWO_SIDED_5) -> tuple[str, ...]:
    """Return in words every choice the power of a comparison of two means depends on."""
    spread = design.spread
    if isinstance(spread, PooledDeviation):
        test = "Student's t, power by the noncentral t distribution"
    elif isinstance(spread, SeparateDeviations):
        test = "Welch's t, noncentral t distribution with Satterthwaite's degrees of freedom"
    elif isinstance(spread, KnownDeviations):
        test = "z test, standard deviations taken as known"
    else:
        fewer = "1 degree" if spread.covariates == 1 else f"{spread.covariates} degrees"
        test = (
            f"analysis of covariance: variance times 1 - {spread.correlation:g}^2, noncentral t "
            f"distribution with {fewer} of freedom fewer than Student's"
        )
    margin = "superiority"
    if isinstance(design.hypothesis, Margin):
        named, better = design.hypothesis.name, design.hypothesis.better
        margin = f"{named}, margin {design.hypothesis.margin:g}, {better} is better"
    return level.convention, f"{margin}; difference of means, treated minus control", test
