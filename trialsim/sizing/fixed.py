"""What every design of fixed size shares: level, allocation, hypothesis, and the size returned.

A design that cannot be met is refused, never answered with a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, exp, inf, isfinite, log, sqrt
from statistics import NormalDist
from typing import ClassVar

from trialsim.errors import DesignError, Problem
from trialsim.kernels.boundaries import increasing_root

__all__ = [
    "EQUAL",
    "MOST_PATIENTS",
    "SUPERIORITY",
    "TWO_SIDED_5",
    "Allocation",
    "Better",
    "FixedSize",
    "Hypothesis",
    "Level",
    "Margin",
    "NonInferiority",
    "OppositeTail",
    "Superiority",
    "SuperiorityByMargin",
    "check_power",
    "check_sizes",
    "lasting_size",
    "margin_problems",
    "problem_unless",
    "refuse",
    "rounded_size",
    "smallest_total",
]

MOST_PATIENTS = 10_000_000
_PHI = NormalDist()
_CLOSE = 4e-13  # of a total
_SLACK = 1e-9  # of an allocation unit: a size that is whole but for rounding error stays


def problem_unless(
    holds: bool, field: str, value: object, rule: str, remedy: str
) -> tuple[Problem, ...]:
    """Return nothing where a rule holds, else the problem; NaN holds no comparison."""
    return () if holds else (Problem(rule, remedy, field, str(value)),)


def refuse(*found: tuple[Problem, ...]) -> None:
    """Raise all problems at once.

    Raises
    ------
    DesignError
        If there is any.
    """
    problems = [problem for several in found for problem in several]
    if problems:
        raise DesignError(problems)


class Better(StrEnum):
    """Which direction of the outcome helps the patient: fewer deaths are lower."""

    LOWER = "lower"
    HIGHER = "higher"


class OppositeTail(StrEnum):
    """Whether a two-sided test that rejects in the wrong direction counts as power."""

    IGNORED = "ignored"
    COUNTED = "counted"


@dataclass(frozen=True)
class Level:
    """Type I error of the test, and what counts as power.

    Attributes
    ----------
    alpha : float
        In (0, 0.5), over all sides.
    sides : int
        1 or 2.
    opposite_tail : OppositeTail
        Most formulas ignore it, pwr and Stata count it: a millionth at 80% power.
    """

    alpha: float = 0.05
    sides: int = 2
    opposite_tail: OppositeTail = OppositeTail.IGNORED

    def __post_init__(self) -> None:
        refuse(
            problem_unless(
                0 < self.alpha < 0.5, "alpha", self.alpha, "must be in (0, 0.5)", "5% is 0.05."
            ),
            problem_unless(
                self.sides in (1, 2), "sides", self.sides, "must be 1 or 2", "Write 1 or 2."
            ),
        )

    @property
    def per_side(self) -> float:
        """Type I error in each direction that is tested."""
        return self.alpha / self.sides

    @property
    def critical_z(self) -> float:
        """Standard normal quantile of one side."""
        return _PHI.inv_cdf(1 - self.per_side)

    @property
    def counts_both(self) -> bool:
        """Whether rejection in either direction is power."""
        return self.sides == 2 and self.opposite_tail is OppositeTail.COUNTED

    def normal_power(self, distance: float, under_null: float, under_effect: float) -> float:
        """Power of a normal statistic.

        Parameters
        ----------
        distance : float
            From the null hypothesis, at least 0.
        under_null, under_effect : float
            Standard deviations of the estimate.
        """
        critical = self.critical_z * under_null
        power = _PHI.cdf((distance - critical) / under_effect)
        if self.counts_both:
            power += _PHI.cdf((-distance - critical) / under_effect)
        return power

    def normal_total(
        self, power: float, distance: float, under_null: float, under_effect: float
    ) -> float:
        """Patients for a power, where standard deviations fall with the root of patients.

        Parameters
        ----------
        distance : float
            From the null hypothesis, above 0.
        under_null, under_effect : float
            Standard deviations of the estimate with one patient.
        """
        z_power = _PHI.inv_cdf(power)
        total = ((self.critical_z * under_null + z_power * under_effect) / distance) ** 2
        if not self.counts_both:
            return total
        return smallest_total(
            lambda n: self.normal_power(distance * sqrt(n), under_null, under_effect),
            power,
            total / 2,
        )

    @property
    def convention(self) -> str:
        """Sidedness in words."""
        if self.sides == 1:
            return f"one-sided, alpha {self.alpha:g}"
        return (
            f"two-sided, alpha {self.alpha:g}, {self.per_side:g} in each tail; rejection in the "
            f"wrong direction {self.opposite_tail} as power"
        )


@dataclass(frozen=True)
class Allocation:
    """Patients per allocation unit in each arm: 2 and 1 for 2:1.

    Attributes
    ----------
    treated, control : int
        At least 1.
    """

    treated: int = 1
    control: int = 1

    def __post_init__(self) -> None:
        rule, remedy = "must be a whole number of at least 1", "Write 3 and 2 for 1.5:1."
        refuse(
            *(
                problem_unless(isinstance(n, int) and n >= 1, f"allocation.{arm}", n, rule, remedy)
                for arm, n in (("treated", self.treated), ("control", self.control))
            )
        )

    @property
    def unit(self) -> int:
        """Patients in one allocation unit."""
        return self.treated + self.control

    @property
    def treated_share(self) -> float:
        """Share of patients on treatment."""
        return self.treated / self.unit

    @property
    def convention(self) -> str:
        """Direction of the ratio and rounding in words."""
        return (
            f"allocation treated:control {self.treated}:{self.control}; total rounded up to a "
            f"multiple of {self.unit}"
        )


@dataclass(frozen=True)
class Superiority:
    """The null hypothesis is no effect; the test is in the direction of the effect, or both."""


@dataclass(frozen=True)
class Margin:
    """The null hypothesis is an effect no better than a margin.

    Attributes
    ----------
    margin : float
        On the scale of the effect, treated to control: 0.05 more deaths, a hazard ratio of 1.3.
    better : Better
    """

    margin: float
    better: Better
    name: ClassVar[str]
    tolerates_harm: ClassVar[bool]

    def in_words(self, scale: str) -> str:
        """Return the hypothesis with its margin on a scale."""
        return f"{self.name}, margin {self.margin:g} on the {scale}"


@dataclass(frozen=True)
class NonInferiority(Margin):
    """The null hypothesis is an effect worse than a margin, which lies on the side of harm."""

    name: ClassVar[str] = "non-inferiority"
    tolerates_harm: ClassVar[bool] = True


@dataclass(frozen=True)
class SuperiorityByMargin(Margin):
    """The null hypothesis is a benefit smaller than a margin, which lies on the side of benefit."""

    name: ClassVar[str] = "superiority by a margin"
    tolerates_harm: ClassVar[bool] = False


Hypothesis = Superiority | Margin
SUPERIORITY, TWO_SIDED_5, EQUAL = Superiority(), Level(), Allocation()


def margin_problems(
    hypothesis: Hypothesis, effect: float, no_effect: float, level: Level
) -> tuple[Problem, ...]:
    """Return what is wrong with a margin, or with testing an effect of this size.

    Parameters
    ----------
    effect, no_effect : float
        The true effect and the value of no effect, on the scale of the margin.
    """
    if isinstance(hypothesis, Superiority):
        rule = "must differ between the arms: no size has the power"
        return problem_unless(
            effect != no_effect, "effect", f"{effect:g}", rule, "State an effect that is not nil."
        )
    sign = 1 if hypothesis.better is Better.LOWER else -1
    side_of_margin = sign if hypothesis.tolerates_harm else -sign
    margin = hypothesis.margin
    side = "above" if side_of_margin > 0 else "below"
    meaning, beyond = (
        (
            "A margin is the worst effect still acceptable, treated to control.",
            "A treatment beyond the margin is inferior at any size.",
        )
        if hypothesis.tolerates_harm
        else (
            "Such a margin is the least benefit worth showing, treated to control.",
            "A benefit smaller than the margin is shown by no size.",
        )
    )
    return (
        *problem_unless(
            level.sides == 1,
            "sides",
            level.sides,
            f"must be 1 for {hypothesis.name}",
            f"Write one side with alpha {level.per_side:g}.",
        ),
        *problem_unless(
            side_of_margin * (margin - no_effect) > 0 and isfinite(margin),
            "margin",
            margin,
            f"must lie {side} {no_effect:g} where {hypothesis.better} is better",
            meaning,
        ),
        *problem_unless(
            sign * (margin - effect) > 0,
            "effect",
            f"{effect:g}",
            f"must be better than the margin {margin:g}",
            beyond,
        ),
    )


@dataclass(frozen=True)
class FixedSize:
    """Patients a design needs.

    Attributes
    ----------
    n_treated_unrounded, n_control_unrounded : float
        As the formula gives them; for designs found by enumeration, whole.
    n_treated, n_control : int
        Rounded up to whole allocation units.
    power : float
        Achieved at the rounded size, by the same method.
    conventions : tuple of str
        Every choice on which the numbers depend.
    events_unrounded, events : float, int or None
        Expected at the unrounded size, and rounded up.
    """

    n_treated_unrounded: float
    n_control_unrounded: float
    n_treated: int
    n_control: int
    power: float
    conventions: tuple[str, ...]
    events_unrounded: float | None = None
    events: int | None = None

    @property
    def total(self) -> int:
        """Patients in both arms."""
        return self.n_treated + self.n_control

    @property
    def total_unrounded(self) -> float:
        """Patients in both arms before rounding."""
        return self.n_treated_unrounded + self.n_control_unrounded


def check_power(power: float, level: Level) -> None:
    """Refuse a power no design has to be made for.

    Raises
    ------
    DesignError
        If power is not above alpha and below 1.
    """
    rule = f"must be above alpha, {level.alpha:g}, and below 1"
    refuse(problem_unless(level.alpha < power < 1, "power", power, rule, "80% is 0.8."))


def check_sizes(n_treated: float, n_control: float, least: float = 1) -> None:
    """Refuse arms that are too small or too large to ask for the power of.

    Raises
    ------
    DesignError
        If an arm has fewer patients than `least`, or more than `MOST_PATIENTS`.
    """
    rule = f"must be from {least:g} to {MOST_PATIENTS:,}"
    refuse(
        *(
            problem_unless(
                least <= n <= MOST_PATIENTS, name, n, rule, "Correct the number of patients."
            )
            for name, n in (("n_treated", n_treated), ("n_control", n_control))
        )
    )


def rounded_size(
    total: float,
    allocation: Allocation,
    power_at: Callable[[float, float], float],
    conventions: tuple[str, ...],
    events_per_patient: float | None = None,
) -> FixedSize:
    """Return the size in whole allocation units.

    Parameters
    ----------
    total : float
        Patients in both arms, unrounded.
    power_at : callable (n_treated, n_control) -> float
    conventions : tuple of str
        Beside those of the allocation.
    events_per_patient : float or None

    Raises
    ------
    DesignError
        If the total exceeds `MOST_PATIENTS`.
    """
    rule, remedy = f"must not exceed {MOST_PATIENTS:,}", "State a larger effect or margin."
    found = f"{total:.4g}" if isfinite(total) else "more at any size tried"
    refuse(problem_unless(total <= MOST_PATIENTS, "total patients", found, rule, remedy))
    units = max(1, ceil(total / allocation.unit - _SLACK))
    n_treated, n_control = units * allocation.treated, units * allocation.control
    events = None if events_per_patient is None else total * events_per_patient
    return FixedSize(
        n_treated_unrounded=total * allocation.treated_share,
        n_control_unrounded=total * (1 - allocation.treated_share),
        n_treated=n_treated,
        n_control=n_control,
        power=power_at(n_treated, n_control),
        conventions=(*conventions, allocation.convention),
        events_unrounded=events,
        events=None if events is None else ceil(events - _SLACK),
    )


def smallest_total(power_at: Callable[[float], float], power: float, least: float) -> float:
    """Return the real total at which a rising power reaches its target; infinity for never.

    Parameters
    ----------
    power_at : callable total -> float
    least : float
        Smallest total at which `power_at` is defined; returned where it has the power already.
    """
    low, high = least, least
    while not power_at(high) >= power:  # a power that is not a number is none
        low, high = high, 2 * high
        if low > MOST_PATIENTS:
            return inf
    low, high = _narrowed(power_at, power, low, high)
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if power_at(middle) < power else (low, middle)
    return high


def _narrowed(
    power_at: Callable[[float], float], power: float, low: float, high: float
) -> tuple[float, float]:
    """Return totals close on both sides of the target, else as they were.

    The probit of power is nearly straight in the logarithm of the total.
    """
    if low == high:
        return low, high

    def surplus(at: float) -> float:
        found = min(max(power_at(exp(at)), 1e-15), 1 - 1e-15)
        return _PHI.inv_cdf(found) - _PHI.inv_cdf(power)

    root = exp(increasing_root(surplus, log(low), log(high), 1e-12))
    below, above = root * (1 - _CLOSE), root * (1 + _CLOSE)
    if low <= below and above <= high and power_at(below) < power <= power_at(above):
        return below, above
    return low, high


def lasting_size(power_at: Callable[[int], float], power: float, start: int, scanned: int) -> int:
    """Return the smallest size from which a power that rises as a saw does stays at its target.

    The saw's teeth get smaller as size grows: once power has been above the target by more than the
    depth of the last tooth that reached below it, and for `scanned` sizes, no later one will.

    Parameters
    ----------
    power_at : callable size -> float
    start : int
        A size near the answer; the search goes down from it to a size without the power.
    scanned : int
        Sizes on both sides of the answer to look at, at least.
    """
    size = start
    while size > 1 and power_at(size) >= power:
        size -= max(1, size // 1000)
    size = max(size - scanned, 1)
    first, highest, deepest = size, 0.0, 0.0
    enough = 1 - (1 - power) / 10  # where even a whole tooth is small
    while highest < min(power + 1.2 * deepest, enough) or size < first + scanned:
        found = power_at(size)
        size += 1
        highest = max(highest, found)
        if found < power:
            first, deepest = size, highest - found
        deepest = max(deepest, highest - found)
    return first
