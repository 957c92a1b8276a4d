"""Sample size and power for an ordinal outcome under proportional odds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import inf, log, sqrt

from trialsim.sizing.fixed import (
    EQUAL,
    SUPERIORITY,
    TWO_SIDED_5,
    Allocation,
    FixedSize,
    Level,
    check_power,
    check_sizes,
    margin_problems,
    problem_unless,
    refuse,
    rounded_size,
)

__all__ = [
    "log_odds_ratio_deviation",
    "ordinal_conventions",
    "ordinal_power",
    "ordinal_size",
    "treated_probabilities",
]


def _check(control: Sequence[float], odds_ratio: float) -> None:
    rule = "must be at least two probabilities above 0 that add up to 1"
    good = len(control) > 1 and min(control) > 0 and abs(sum(control) - 1) < 1e-9
    ratio_rule, remedy = "must be a ratio above 0", "Write the ratio itself, not its logarithm."
    refuse(
        problem_unless(good, "control", list(control), rule, "Merge categories nobody is in."),
        problem_unless(0 < odds_ratio < inf, "odds_ratio", odds_ratio, ratio_rule, remedy),
    )


def treated_probabilities(control: Sequence[float], odds_ratio: float) -> tuple[float, ...]:
    """Probabilities of every category on treatment under proportional odds.

    Parameters
    ----------
    control : sequence of float
        Probability of each category, in order; above 0, adding up to 1.
    odds_ratio : float
        Of being in a category or an earlier one, treated to control.

    Raises
    ------
    DesignError
        If the probabilities or the odds ratio are impossible.
    """
    _check(control, odds_ratio)
    reached = [
        odds_ratio * up_to / (1 - up_to + odds_ratio * up_to)
        for up_to in [*accumulate(control[:-1])]
    ]
    return tuple(b - a for a, b in pairwise((0.0, *reached, 1.0)))


def log_odds_ratio_deviation(
    control: Sequence[float], odds_ratio: float, treated_share: float
) -> float:
    """Return the standard deviation of the log odds ratio with one patient, under no effect."""
    refuse(margin_problems(SUPERIORITY, odds_ratio, 1.0, TWO_SIDED_5))
    treated = treated_probabilities(control, odds_ratio)
    together = (
        treated_share * p1 + (1 - treated_share) * p0
        for p1, p0 in zip(treated, control, strict=True)
    )
    untied = 1 - sum(p**3 for p in together)
    return sqrt(3 / (treated_share * (1 - treated_share) * untied))


def ordinal_power(
    control: Sequence[float],
    odds_ratio: float,
    n_treated: float,
    n_control: float,
    level: Level = TWO_SIDED_5,
) -> float:
    """Power of the proportional-odds (Wilcoxon) test.

    Raises
    ------
    DesignError
        As `ordinal_size`.

    References
    ----------
    As `ordinal_size`.
    """
    _check(control, odds_ratio)
    check_sizes(n_treated, n_control)
    total = n_treated + n_control
    deviation = log_odds_ratio_deviation(control, odds_ratio, n_treated / total)
    return level.normal_power(abs(log(odds_ratio)) * sqrt(total), deviation, deviation)


def ordinal_size(
    control: Sequence[float],
    odds_ratio: float,
    power: float = 0.8,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> FixedSize:
    """Patients for the proportional-odds (Wilcoxon) test.

    Parameters
    ----------
    control : sequence of float
        Probability of each category under control, in order.
    odds_ratio : float
        Of being in a category or an earlier one, treated to control.

    Raises
    ------
    DesignError
        If the probabilities or the odds ratio are impossible, the odds ratio is 1, the power is
        not above alpha, or more than 10 million patients would be needed.

    References
    ----------
    Whitehead (1993), Statistics in Medicine 12:2257-2271: ``3 z^2 / (f1 f0 log(OR)^2 (1 - sum
    p^3))`` patients, z the sum of both quantiles, f the shares of the arms, p those of the
    categories among all patients.
    """
    _check(control, odds_ratio)
    check_power(power, level)
    deviation = log_odds_ratio_deviation(control, odds_ratio, allocation.treated_share)
    total = level.normal_total(power, abs(log(odds_ratio)), deviation, deviation)
    return rounded_size(
        total,
        allocation,
        lambda n1, n0: ordinal_power(control, odds_ratio, n1, n0, level),
        ordinal_conventions(level),
    )


def ordinal_conventions(level: Level = TWO_SIDED_5) -> tuple[str, ...]:
    """Return in words every choice the power of the proportional-odds test depends on."""
    return (
        level.convention,
        "superiority; odds ratio of a category or an earlier one, treated to control",
        "Whitehead's formula: log odds ratio with the variance under no effect, ties by the "
        "category probabilities of both arms together",
    )
