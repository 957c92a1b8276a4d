"""Sample size and power for two proportions: by normal approximation, and exactly."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import ceil, log, sqrt
from statistics import NormalDist

import numpy as np

from trialsim.errors import DesignError, Problem
from trialsim.kernels.exact import ExactTest, rejection_probability, rejection_region
from trialsim.kernels.proportions import Scale, restricted_risks
from trialsim.sizing.fixed import (
    EQUAL,
    SUPERIORITY,
    TWO_SIDED_5,
    Allocation,
    FixedSize,
    Hypothesis,
    Level,
    Margin,
    Superiority,
    check_power,
    check_sizes,
    lasting_size,
    margin_problems,
    problem_unless,
    refuse,
    rounded_size,
    smallest_total,
)

__all__ = [
    "Continuity",
    "NullVariance",
    "TwoProportions",
    "exact_proportions_power",
    "exact_proportions_size",
    "n_per_arm_pooled",
    "proportions_conventions",
    "proportions_power",
    "proportions_size",
]

_SCANNED = 10  # allocation units on both sides of a size found by enumeration, at least
_MOST_ENUMERATED = 20_000  # patients for which the tests but chi-square are enumerated


class NullVariance(StrEnum):
    """Variance of the effect under the null hypothesis.

    Pooled: one risk in both arms, superiority only. Restricted: maximum likelihood at the margin
    (Farrington-Manning), equal to pooled without one. Miettinen-Nurminen: restricted, times
    N / (N - 1). Unpooled: as under the alternative (Wald).
    """

    POOLED = "pooled"
    RESTRICTED = "restricted"
    UNPOOLED = "unpooled"
    MIETTINEN_NURMINEN = "Miettinen-Nurminen"

    @property
    def is_restricted(self) -> bool:
        """Whether the risks under the null hypothesis are held at the margin."""
        return self in (NullVariance.RESTRICTED, NullVariance.MIETTINEN_NURMINEN)


class Continuity(StrEnum):
    """Whether the test of a risk difference is corrected for continuity."""

    NONE = "none"
    YATES = "Yates"


@dataclass(frozen=True)
class TwoProportions:
    """A comparison of two risks by a normal approximation.

    Attributes
    ----------
    treated_risk, control_risk : float
        Expected, in (0, 1).
    scale : Scale
        A risk ratio is tested by ``p1 - null p0``, unpooled by its logarithm; an odds ratio always
        by its logarithm.
    hypothesis : Superiority, NonInferiority or SuperiorityByMargin
    variance : NullVariance
    continuity : Continuity
        Of the risk difference only.
    """

    treated_risk: float
    control_risk: float
    scale: Scale = Scale.RISK_DIFFERENCE
    hypothesis: Hypothesis = SUPERIORITY
    variance: NullVariance = NullVariance.POOLED
    continuity: Continuity = Continuity.NONE

    @property
    def no_effect(self) -> float:
        """Value of the contrast when the arms are alike."""
        return 0.0 if self.scale is Scale.RISK_DIFFERENCE else 1.0

    @property
    def by_logarithm(self) -> bool:
        """Whether the statistic is a log ratio."""
        unpooled = self.variance is NullVariance.UNPOOLED
        return self.scale is Scale.ODDS_RATIO or (self.scale is Scale.RISK_RATIO and unpooled)

    @property
    def effect(self) -> float:
        """The contrast expected, treated to control."""
        p1, p0 = self.treated_risk, self.control_risk
        if self.scale is Scale.RISK_DIFFERENCE:
            return p1 - p0
        return p1 / p0 if self.scale is Scale.RISK_RATIO else p1 * (1 - p0) / (p0 * (1 - p1))

    @property
    def null(self) -> float:
        """The contrast under the null hypothesis."""
        return getattr(self.hypothesis, "margin", self.no_effect)


def _risk_problems(treated_risk: float, control_risk: float) -> tuple[Problem, ...]:
    rule, remedy = "must be in (0, 1)", "Write a risk of 24% as 0.24."
    return (
        *problem_unless(0 < treated_risk < 1, "treated_risk", treated_risk, rule, remedy),
        *problem_unless(0 < control_risk < 1, "control_risk", control_risk, rule, remedy),
    )


def _check(design: TwoProportions, level: Level) -> None:
    refuse(_risk_problems(design.treated_risk, design.control_risk))
    ratio = design.scale is not Scale.RISK_DIFFERENCE
    margin, superior = design.null, isinstance(design.hypothesis, Superiority)
    refuse(
        problem_unless(
            margin > 0 if ratio else -1 < margin < 1,
            "margin",
            margin,
            "must be above 0 for a ratio" if ratio else "must be in (-1, 1)",
            "Write the margin on the scale of the effect, ratios not as logarithms.",
        ),
        margin_problems(design.hypothesis, design.effect, design.no_effect, level),
        problem_unless(
            superior or design.variance is not NullVariance.POOLED,
            "variance",
            design.variance,
            "must not be pooled under a margin, where the risks differ",
            "Choose restricted (Farrington-Manning), Miettinen-Nurminen or unpooled.",
        ),
        problem_unless(
            not ratio or design.continuity is Continuity.NONE,
            "continuity",
            design.continuity,
            "must be none for a ratio",
            "Only a risk difference is corrected.",
        ),
        problem_unless(
            design.variance is not NullVariance.MIETTINEN_NURMINEN
            or design.continuity is Continuity.NONE,
            "continuity",
            design.continuity,
            "must be none for a Miettinen-Nurminen test",
            "The test has its own correction, N / (N - 1).",
        ),
    )


@dataclass(frozen=True)
class _Moments:
    """Distance from the null, and standard deviations per root of the total."""

    distance: float
    under_null: float
    under_effect: float
    corrected: bool

    def power(self, total: float, level: Level, taken_off: float = 0.0) -> float:
        """Power with so many patients, a continuity correction taken off the distance."""
        under_null = self.under_null * (sqrt(total / (total - 1)) if self.corrected else 1.0)
        distance = (self.distance - taken_off) * sqrt(total)
        return level.normal_power(distance, under_null, self.under_effect)

    def total(self, power: float, level: Level) -> float:
        """Patients in all for a power, unrounded."""
        if self.corrected:
            return smallest_total(lambda total: self.power(total, level), power, 2.0)
        return level.normal_total(power, self.distance, self.under_null, self.under_effect)


def _moments(design: TwoProportions, share: float) -> _Moments:
    p1, p0, null = design.treated_risk, design.control_risk, design.null
    if design.variance is NullVariance.POOLED:
        q1 = q0 = share * p1 + (1 - share) * p0
    elif design.variance.is_restricted:
        found = restricted_risks(p1, share, p0, 1 - share, null, design.scale)
        q1, q0 = float(found[0]), float(found[1])
    else:
        q1, q0 = p1, p0
    by_logarithm = design.by_logarithm
    weight = null if design.scale is Scale.RISK_RATIO else 1.0

    def deviation(r1: float, r0: float) -> float:
        v1, v0 = r1 * (1 - r1), r0 * (1 - r0)
        if not by_logarithm:
            return sqrt(v1 / share + weight**2 * v0 / (1 - share))
        if design.scale is Scale.RISK_RATIO:
            v1, v0 = r1 / (1 - r1), r0 / (1 - r0)
        return sqrt(1 / (share * v1) + 1 / ((1 - share) * v0))

    if by_logarithm:
        distance = log(design.effect) - log(null)
    else:
        distance = p1 - p0 - null if design.scale is Scale.RISK_DIFFERENCE else p1 - null * p0
    corrected = design.variance is NullVariance.MIETTINEN_NURMINEN
    return _Moments(abs(distance), deviation(q1, q0), deviation(p1, p0), corrected)


def proportions_conventions(design: TwoProportions, level: Level = TWO_SIDED_5) -> tuple[str, ...]:
    """Return in words every choice the power of a comparison of two risks depends on."""
    said = {
        NullVariance.POOLED: "pooled variance under the null hypothesis, unpooled under the effect",
        NullVariance.RESTRICTED: "restricted maximum-likelihood variance under the null hypothesis "
        "(Farrington-Manning), unpooled under the effect",
        NullVariance.MIETTINEN_NURMINEN: "restricted maximum-likelihood variance times N / (N - 1) "
        "under the null hypothesis (Miettinen-Nurminen), unpooled under the effect",
        NullVariance.UNPOOLED: "unpooled (Wald) variance under both hypotheses",
    }
    margin = "superiority"
    if isinstance(design.hypothesis, Margin):
        margin = f"{design.hypothesis.in_words(design.scale)}, {design.hypothesis.better} is better"
    corrected = design.continuity is Continuity.YATES
    return (
        level.convention,
        f"{margin}; {design.scale}, treated to control",
        said[design.variance],
        "continuity correction (Yates)" if corrected else "no continuity correction",
        f"normal approximation to the {'log ' * design.by_logarithm}{design.scale}",
    )


def proportions_power(
    design: TwoProportions, n_treated: float, n_control: float, level: Level = TWO_SIDED_5
) -> float:
    """Power of a comparison of two risks by normal approximation.

    Parameters
    ----------
    design : TwoProportions
    n_treated, n_control : float
        Patients.
    level : Level

    Raises
    ------
    DesignError
        If a risk is outside (0, 1), the arms are alike, or the margin is on the wrong side.

    References
    ----------
    Farrington and Manning (1990), Statistics in Medicine 9:1447-1454; Miettinen and Nurminen
    (1985), Statistics in Medicine 4:213-226 (the factor N / (N - 1)); Fleiss, Levin and Paik
    (2003), Statistical Methods for Rates and Proportions, section 4.
    """
    _check(design, level)
    check_sizes(n_treated, n_control)
    total = n_treated + n_control
    found = _moments(design, n_treated / total)
    yates = design.continuity is Continuity.YATES
    return found.power(total, level, (1 / n_treated + 1 / n_control) / 2 if yates else 0.0)


def proportions_size(
    design: TwoProportions,
    power: float = 0.8,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> FixedSize:
    """Patients for a comparison of two risks by normal approximation.

    Raises
    ------
    DesignError
        As `proportions_power`; if the power is not above alpha; if more than 10 million patients
        would be needed.

    References
    ----------
    Fleiss, Tytun and Ury (1980), Biometrics 36:343-346 (any ratio, and the continuity correction);
    Farrington and Manning (1990), Statistics in Medicine 9:1447-1454.
    """
    _check(design, level)
    check_power(power, level)
    share = allocation.treated_share
    found = _moments(design, share)
    total = found.total(power, level)
    if design.continuity is Continuity.YATES:
        lost = 2 / (total * share * (1 - share) * found.distance)
        total *= (1 + sqrt(1 + lost)) ** 2 / 4  # Fleiss, Tytun and Ury (1980)
    return rounded_size(
        total,
        allocation,
        lambda n1, n0: proportions_power(design, n1, n0, level),
        proportions_conventions(design, level),
    )


def _check_exact(treated_risk: float, control_risk: float) -> None:
    refuse(_risk_problems(treated_risk, control_risk))
    refuse(margin_problems(SUPERIORITY, treated_risk - control_risk, 0.0, TWO_SIDED_5))


def exact_proportions_power(
    test: ExactTest,
    treated_risk: float,
    control_risk: float,
    n_treated: int,
    n_control: int,
    level: Level = TWO_SIDED_5,
) -> float:
    """Power by enumeration of all pairs of event counts.

    Parameters
    ----------
    test : ExactTest
        A one-sided test looks in the direction of the effect.
    treated_risk, control_risk : float
        In (0, 1).
    n_treated, n_control : int
        Up to 20,000 patients in all, except for chi-square.

    Raises
    ------
    DesignError
        If a risk is outside (0, 1), the risks are equal, or the arms are too large.

    References
    ----------
    Casagrande, Pike and Smith (1978), Applied Statistics 27:212-219, for Fisher's test.
    """
    _check_exact(treated_risk, control_risk)
    check_sizes(n_treated, n_control)
    rule = f"must not exceed {_MOST_ENUMERATED:,} for the {test} test"
    refuse(
        problem_unless(
            test is ExactTest.CHI_SQUARE or n_treated + n_control <= _MOST_ENUMERATED,
            "total patients",
            n_treated + n_control,
            rule,
            "Use chi-square: at this size the tests agree.",
        )
    )
    arms = (treated_risk, n_treated), (control_risk, n_control)
    (low, n_low), (high, n_high) = arms if treated_risk < control_risk else arms[::-1]
    region = rejection_region(test, n_low, n_high, level.alpha, level.sides)
    if not level.counts_both:
        region = region._replace(at_least=np.full_like(region.at_least, n_low + 1))
    return rejection_probability(region, low, high)


def exact_proportions_size(
    test: ExactTest,
    treated_risk: float,
    control_risk: float,
    power: float = 0.8,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> FixedSize:
    """Smallest size from which exact power does not fall below its target again.

    Power rises with size as a saw does. The search starts at the size by normal approximation,
    goes down to a size without the power, and up until power exceeds the target by twice the
    deepest fall seen on the way.

    Raises
    ------
    DesignError
        As `exact_proportions_power` and `proportions_size`.
    """
    _check_exact(treated_risk, control_risk)
    start = proportions_size(TwoProportions(treated_risk, control_risk), power, level, allocation)
    units = start.total // allocation.unit
    at = partial(_power_of_units, test, treated_risk, control_risk, level, allocation)
    first = lasting_size(at, power, units, _SCANNED)
    n_treated, n_control = first * allocation.treated, first * allocation.control
    return FixedSize(
        n_treated_unrounded=n_treated,
        n_control_unrounded=n_control,
        n_treated=n_treated,
        n_control=n_control,
        power=at(first),
        conventions=(
            level.convention,
            f"{test} test, power by enumeration of both binomials",
            "smallest size from which power does not fall below the target again",
            allocation.convention,
        ),
    )


def _power_of_units(
    test: ExactTest, p1: float, p0: float, level: Level, allocation: Allocation, units: int
) -> float:
    n_treated, n_control = units * allocation.treated, units * allocation.control
    return exact_proportions_power(test, p1, p0, n_treated, n_control, level)


def n_per_arm_pooled(
    treated_risk: float,
    control_risk: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    sides: int = 2,
) -> int:
    """Patients per arm, 1:1, for Pearson's chi-square: pooled variance under no effect.

    Parameters
    ----------
    treated_risk, control_risk : float
        Strictly between 0 and 1, and different.
    power, alpha : float
    sides : {1, 2}

    Returns
    -------
    n : int
        Rounded up to whole patients.

    Raises
    ------
    DesignError
        If the two risks are equal: no size has the power.

    References
    ----------
    Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, equation 4.14.
    """
    if treated_risk == control_risk:
        rule = "cannot be sized: the two risks are equal"
        raise DesignError(Problem(rule, "State a scenario with an effect."))
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha / sides), NormalDist().inv_cdf(power)
    pooled = (treated_risk + control_risk) / 2
    under_null = z_alpha * sqrt(2 * pooled * (1 - pooled))
    variance = treated_risk * (1 - treated_risk) + control_risk * (1 - control_risk)
    return ceil(((under_null + z_beta * sqrt(variance)) / (treated_risk - control_risk)) ** 2)
