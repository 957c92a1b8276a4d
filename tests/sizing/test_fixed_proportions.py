"""Two proportions: sizes of R packages and published trials, round trips, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm

from conftest import ROOT
from trialsim.errors import DesignError
from trialsim.kernels.exact import ExactTest
from trialsim.kernels.proportions import Scale, ScoreVariance, score_z
from trialsim.sizing.fixed import (
    Allocation,
    Better,
    Level,
    NonInferiority,
    OppositeTail,
    SuperiorityByMargin,
    lasting_size,
)
from trialsim.sizing.proportions import (
    Continuity,
    NullVariance,
    TwoProportions,
    exact_proportions_power,
    exact_proportions_size,
    n_per_arm_pooled,
    proportions_power,
    proportions_size,
)
from trialsim.studies.size.margin_by_simulation import MarginTrial, margin_power, margin_z

FIGURES = {
    figure["id"]: figure["value"]
    for figure in json.loads((ROOT / "tests/reference/fixed_designs.json").read_text())["results"]
}
ONE_SIDED, TWO_SIDED = Level(0.025, 1), Level()
BOTH_TAILS = Level(opposite_tail=OppositeTail.COUNTED)
DIFFERENCE, RATIO, ODDS = Scale
POOLED, RESTRICTED, UNPOOLED, MIETTINEN = NullVariance


def by_odds_ratio(odds_ratio, control=0.241):
    odds = odds_ratio * control / (1 - control)
    return odds / (1 + odds)


def non_inferior(p1, p0, margin, better, scale=DIFFERENCE, variance=RESTRICTED):
    return TwoProportions(p1, p0, scale, NonInferiority(margin, better), variance)


@pytest.mark.parametrize(
    ("figure", "design", "allocation"),
    [
        ("rates_rd_2to1", TwoProportions(0.5, 0.35), Allocation(2, 1)),
        (
            "rates_rd_ni_m10_unequal",
            non_inferior(0.8, 0.85, -0.15, Better.HIGHER),
            Allocation(2, 1),
        ),
        ("rates_rr_sup", TwoProportions(0.2, 0.3, RATIO), Allocation()),
        ("rates_rr_ni", non_inferior(0.3, 0.3, 1.3, Better.LOWER, RATIO), Allocation()),
    ],
)
def test_reference_sizes_of_rpact(figure, design, allocation):
    found = proportions_size(design, 0.9, ONE_SIDED, allocation)
    assert found.total_unrounded == pytest.approx(FIGURES[figure]["nFixed"], rel=1e-9)
    assert found.n_treated_unrounded == pytest.approx(FIGURES[figure]["nFixed1"], rel=1e-9)
    assert found.n_control_unrounded == pytest.approx(FIGURES[figure]["nFixed2"], rel=1e-9)


@pytest.mark.parametrize(
    ("figure", "design", "power", "level"),
    [
        ("nBinomial_diff_sup", TwoProportions(0.24, 0.2), 0.9, ONE_SIDED),
        ("nBinomial_diff_sup_2s", TwoProportions(0.24, 0.2), 0.8, TWO_SIDED),
        ("nBinomial_NI_diff2", non_inferior(0.85, 0.85, -0.1, Better.HIGHER), 0.9, ONE_SIDED),
        ("nBinomial_RR_sup", TwoProportions(0.3, 0.2, RATIO), 0.9, ONE_SIDED),
        ("nBinomial_OR_sup", TwoProportions(0.3, 0.2, ODDS), 0.9, ONE_SIDED),
        ("nBinomial_lnRR", TwoProportions(0.3, 0.2, ODDS), 0.9, ONE_SIDED),
    ],
)
def test_reference_sizes_of_gs_design(figure, design, power, level):
    found = proportions_size(design, power, level)
    assert found.total_unrounded == pytest.approx(FIGURES[figure], rel=1e-9)


def test_reference_fixed_part_of_a_group_sequential_design_and_power_prop_test():
    found = proportions_size(TwoProportions(0.2, 0.24))
    assert found.total_unrounded == pytest.approx(FIGURES["rates_rd_gs3_asOF"]["nFixed"], rel=1e-9)
    # its uniroot stops at 1e-4 patients at best: 1,682.40531443 for 1,682.40528502
    assert found.n_control_unrounded == pytest.approx(FIGURES["power.prop.test_n"], rel=1e-6)


def test_reference_power_of_stata_with_unequal_arms():
    """statsmodels #8049; Stata counts both tails."""
    for treated, control, power in ((154, 308, 0.7995659), (308, 154, 0.8260347)):
        found = proportions_power(TwoProportions(0.1, 0.2), treated, control, BOTH_TAILS)
        assert found == pytest.approx(power, abs=5e-8)


def test_reference_non_inferiority_of_chow_shao_wang_by_wald_and_by_farrington_manning():
    """samplics-org/svy PR 84: 4,217.46 per arm; 774.6 with the sign of the difference flipped."""
    wald = non_inferior(0.58, 0.60, -0.05, Better.HIGHER, variance=UNPOOLED)
    found = proportions_size(wald, 0.8, ONE_SIDED)
    assert found.n_treated_unrounded == pytest.approx(4217.46, abs=6e-3)
    assert (found.n_treated, found.n_control) == (4218, 4218)
    flipped = non_inferior(0.60, 0.58, -0.05, Better.HIGHER, variance=UNPOOLED)
    assert proportions_size(flipped, 0.8, ONE_SIDED).n_treated_unrounded == pytest.approx(
        774.6, abs=0.05
    )
    restricted = non_inferior(0.58, 0.60, -0.05, Better.HIGHER)
    assert proportions_size(restricted, 0.8, ONE_SIDED).n_treated == 4212


def test_reference_etass_334_patients_by_unpooled_variance():
    """Wu 2013, Critical Care 17:R8: 50% to 35%, two-sided 0.05, 80%."""
    unpooled = proportions_size(TwoProportions(0.35, 0.5, variance=UNPOOLED))
    assert unpooled.n_treated_unrounded == pytest.approx(166.57, abs=5e-3)
    assert unpooled.total == 334
    pooled = proportions_size(TwoProportions(0.35, 0.5))
    assert pooled.n_treated_unrounded == pytest.approx(169.3, abs=0.05)


@pytest.mark.parametrize(
    ("treated", "control", "n"),
    [
        (by_odds_ratio(0.41), 0.241, 144),
        (by_odds_ratio(0.73), 0.241, 947),
        (by_odds_ratio(0.82), 0.241, 2301),
        (127 / 542, 132 / 547, 58_086),
    ],
)
def test_reference_sizes_of_beliefs_about_sepsis(treated, control, n):
    found = proportions_size(TwoProportions(treated, control))
    assert (found.n_treated, found.n_control) == (n, n)
    assert n_per_arm_pooled(treated, control) == n


def test_reference_exact_power_of_144_per_arm():
    """Every table of two of scipy's binomials whose chi-square is significant."""
    p1 = by_odds_ratio(0.41)
    found = exact_proportions_power(ExactTest.CHI_SQUARE, p1, 0.241, 144, 144)
    assert found == pytest.approx(0.809, abs=5e-4)


def test_analytic_continuity_correction_of_fleiss_tytun_and_ury():
    """With n' patients before correction, n = n' / 4 (1 + sqrt(1 + 4 / (n' |d|)))^2 at 1:1."""
    before = proportions_size(TwoProportions(0.35, 0.5)).n_treated_unrounded
    corrected = TwoProportions(0.35, 0.5, continuity=Continuity.YATES)
    expected = before / 4 * (1 + (1 + 4 / (before * 0.15)) ** 0.5) ** 2
    assert proportions_size(corrected).n_treated_unrounded == pytest.approx(expected, rel=1e-12)


RISKS = st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).filter(
    lambda p: abs(p[0] - p[1]) > 0.03
)
ALLOCATIONS = st.builds(Allocation, st.integers(1, 3), st.integers(1, 3))
POWERS = st.sampled_from([0.5, 0.8, 0.9, 0.975])


@given(
    RISKS,
    ALLOCATIONS,
    POWERS,
    st.sampled_from(list(Scale)),
    st.sampled_from(list(NullVariance)),
    st.sampled_from([ONE_SIDED, TWO_SIDED, BOTH_TAILS]),
)
def test_property_superiority_round_trip(risks, allocation, power, scale, variance, level):
    design = TwoProportions(*risks, scale, variance=variance)
    check_round_trip(design, power, level, allocation)


@given(RISKS, ALLOCATIONS, POWERS, st.sampled_from([ONE_SIDED, TWO_SIDED]))
def test_property_corrected_round_trip(risks, allocation, power, level):
    check_round_trip(TwoProportions(*risks, continuity=Continuity.YATES), power, level, allocation)


@given(
    st.floats(0.1, 0.9),
    st.floats(0.02, 0.09),
    ALLOCATIONS,
    POWERS,
    st.sampled_from(list(Scale)),
    st.sampled_from([RESTRICTED, UNPOOLED, MIETTINEN]),
    st.sampled_from(list(Better)),
)
def test_property_non_inferiority_round_trip(
    risk, margin, allocation, power, scale, variance, better
):
    sign = 1 if better is Better.LOWER else -1
    limit = sign * margin if scale is DIFFERENCE else (1 + 5 * margin) ** sign
    check_round_trip(
        non_inferior(risk, risk, limit, better, scale, variance), power, ONE_SIDED, allocation
    )


@given(
    st.floats(0.2, 0.8),
    ALLOCATIONS,
    POWERS,
    st.sampled_from(list(Scale)),
    st.sampled_from([RESTRICTED, UNPOOLED, MIETTINEN]),
    st.sampled_from(list(Better)),
)
def test_property_superiority_by_a_margin_round_trip(
    risk, allocation, power, scale, variance, better
):
    sign = -1 if better is Better.LOWER else 1
    limit = 0.04 * sign if scale is DIFFERENCE else 1.1**sign
    hypothesis = SuperiorityByMargin(limit, better)
    treated = by_odds_ratio(2.5**sign, risk)
    design = TwoProportions(treated, risk, scale, hypothesis, variance)
    check_round_trip(design, power, ONE_SIDED, allocation)
    assert (
        proportions_size(design, power, ONE_SIDED, allocation)
        .conventions[1]
        .startswith(f"superiority by a margin, margin {limit:g} on the {scale}")
    )


SCORE_DESIGNS = [
    (DIFFERENCE, 0.58, 0.60, -0.15, Better.HIGHER, Allocation()),
    (DIFFERENCE, 0.20, 0.24, 0.08, Better.LOWER, Allocation(2, 1)),
    (RATIO, 0.30, 0.30, 1.5, Better.LOWER, Allocation()),
    (ODDS, 0.24, 0.241, 1.8, Better.LOWER, Allocation(1, 2)),
]


@pytest.mark.parametrize(("scale", "p1", "p0", "margin", "better", "allocation"), SCORE_DESIGNS)
def test_analytic_miettinen_nurminen_is_farrington_manning_at_a_wider_critical_value(
    scale, p1, p0, margin, better, allocation
):
    """Z times sqrt((N - 1) / N): the same test at the level of z sqrt(N / (N - 1))."""
    ours, theirs = (
        non_inferior(p1, p0, margin, better, scale, variance)
        for variance in (MIETTINEN, RESTRICTED)
    )
    found = proportions_size(ours, 0.8, ONE_SIDED, allocation)
    n1, n0 = found.n_treated_unrounded, found.n_control_unrounded
    wider = ONE_SIDED.critical_z * ((n1 + n0) / (n1 + n0 - 1)) ** 0.5
    level = Level(float(norm.sf(wider)), 1)
    assert proportions_power(theirs, n1, n0, level) == pytest.approx(0.8, abs=1e-9)
    restricted = proportions_size(theirs, 0.8, ONE_SIDED, allocation)
    # to first order z_a s0 / (z_a s0 + z_b s1), below one patient
    assert 0.5 < found.total_unrounded - restricted.total_unrounded < 1
    assert "(Miettinen-Nurminen)" in found.conventions[2]


@pytest.mark.parametrize(("scale", "p1", "p0", "margin", "better", "allocation"), SCORE_DESIGNS)
def test_analytic_simulated_type_i_error_and_power_of_the_miettinen_nurminen_test(
    scale, p1, p0, margin, better, allocation
):
    """Against enumeration of both binomials; the formula is within 0.01 of that."""
    design = non_inferior(p1, p0, margin, better, scale, MIETTINEN)
    found = proportions_size(design, 0.8, ONE_SIDED, allocation)
    at_margin = {DIFFERENCE: p0 + margin, RATIO: p0 * margin, ODDS: by_odds_ratio(margin, p0)}
    null = replace(design, treated_risk=at_margin[scale])
    for truth, formula in ((design, found.power), (null, 0.025)):
        exact = enumerated(truth, found.n_treated, found.n_control)
        trial = MarginTrial(truth, found.n_treated, found.n_control, ONE_SIDED)
        simulated = margin_power(trial, replicates=20_000, seed=3)
        assert abs(simulated.value - exact) < 4 * simulated.mcse
        assert exact == pytest.approx(formula, abs=0.01)


def enumerated(design, n1, n0):
    x1, x0 = np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1), indexing="ij")
    z = score_z(x1, n1, x0, n0, design.null, design.scale, ScoreVariance.MIETTINEN_NURMINEN)
    better = design.hypothesis.better
    rejects = (-z if better is Better.LOWER else z) >= ONE_SIDED.critical_z
    chances = [
        binom.pmf(np.arange(n + 1), n, p)
        for n, p in ((n1, design.treated_risk), (n0, design.control_risk))
    ]
    return float(chances[0] @ rejects @ chances[1])


@pytest.mark.parametrize(("x1", "n1", "x0", "n0"), [(30, 150, 25, 140), (9, 40, 3, 38)])
def test_analytic_the_miettinen_nurminen_statistic_by_searching_the_likelihood(x1, n1, x0, n0):
    """Not against statsmodels 0.14, whose restricted risks are not where the likelihood peaks."""

    def minus_log_likelihood(control):
        treated = control + 0.08
        return -binom.logpmf(x1, n1, treated) - binom.logpmf(x0, n0, control)

    q0 = minimize_scalar(
        minus_log_likelihood, bounds=(1e-6, 0.92 - 1e-6), method="bounded", options={"xatol": 1e-9}
    ).x
    q1, total = q0 + 0.08, n1 + n0
    variance = (q1 * (1 - q1) / n1 + q0 * (1 - q0) / n0) * total / (total - 1)
    expected = -(x1 / n1 - x0 / n0 - 0.08) / variance**0.5
    design = non_inferior(0.2, 0.2, 0.08, Better.LOWER, variance=MIETTINEN)
    counts = (np.array([n]) for n in (x1, n1, x0, n0))
    assert margin_z(design, *counts)[0] == pytest.approx(expected, abs=1e-6)


def check_round_trip(design, power, level, allocation):
    found = proportions_size(design, power, level, allocation)
    assert found.power >= power - 1e-9
    assert found.total % allocation.unit == 0
    assert found.n_treated * allocation.control == found.n_control * allocation.treated
    assert found.power == proportions_power(design, found.n_treated, found.n_control, level)
    fewer = found.n_treated - allocation.treated, found.n_control - allocation.control
    if min(fewer) > 0:
        assert proportions_power(design, *fewer, level) < power


@given(
    st.sampled_from(list(ExactTest)),
    st.floats(0.05, 0.4),
    st.floats(0.35, 0.55),
    st.builds(Allocation, st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from([ONE_SIDED, TWO_SIDED, BOTH_TAILS]),
    st.booleans(),
)
def test_property_exact_power_stays_at_its_target(test, low, apart, allocation, level, swapped):
    risks = (low + apart, low) if swapped else (low, low + apart)
    found = exact_proportions_size(test, *risks, 0.8, level, allocation)
    units = found.n_treated // allocation.treated

    def power(u):
        n1, n0 = u * allocation.treated, u * allocation.control
        return exact_proportions_power(test, *risks, n1, n0, level)

    assert found.power == power(units)
    assert all(power(u) >= 0.8 for u in range(units, units + 12))
    assert power(units - 1) < 0.8


@pytest.mark.parametrize("risks", [(0.1, 0.3), (0.02, 0.1), (0.45, 0.6)])
def test_analytic_lasting_sizes_of_chi_square_equal_a_search_of_all_sizes(risks):
    found = exact_proportions_size(ExactTest.CHI_SQUARE, *risks)
    powers = [
        exact_proportions_power(ExactTest.CHI_SQUARE, *risks, n, n)
        for n in range(1, 4 * found.n_treated)
    ]
    assert found.n_treated == 1 + max(n for n, power in enumerate(powers, 1) if power < 0.8)
    assert any(b < a for a, b in pairwise(powers))  # a saw


def test_property_a_saw_with_teeth_that_get_smaller_is_searched_to_its_last_low():
    def saw(n):
        return 0.7 + 0.001 * n - 0.3 / n**0.5 * (n % 9 == 0)

    expected = 1 + max(n for n in range(1, 1000) if saw(n) < 0.8)
    for start in (20, 100, 110, 130, 250):
        assert lasting_size(saw, 0.8, start, 10) == expected


MARGIN = NonInferiority(0.05, Better.LOWER)


@pytest.mark.parametrize(
    ("design", "more", "message"),
    [
        (TwoProportions(0.2, 0.2), {}, "effect must differ between the arms"),
        (TwoProportions(0, 0.2), {}, "treated_risk must be in (0, 1); got 0."),
        (TwoProportions(0.1, 24), {}, "control_risk must be in (0, 1); got 24."),
        (TwoProportions(0.1, float("nan")), {}, "control_risk must be in (0, 1); got nan."),
        (TwoProportions(0.1, 0.2), {"power": 0.05}, "power must be above alpha, 0.05"),
        (TwoProportions(0.2, 0.2001), {}, "total patients must not exceed 10,000,000"),
        (
            TwoProportions(0.2, 0.2, hypothesis=MARGIN, variance=RESTRICTED),
            {},
            "sides must be 1 for non-inferiority; got 2. Write one side with alpha 0.025.",
        ),
        (
            non_inferior(0.2, 0.2, -0.05, Better.LOWER),
            {"level": ONE_SIDED},
            "margin must lie above 0 where lower is better; got -0.05.",
        ),
        (
            non_inferior(0.3, 0.2, 0.05, Better.LOWER),
            {"level": ONE_SIDED},
            "effect must be better than the margin 0.05; got 0.1.",
        ),
        (
            non_inferior(0.2, 0.2, 0.05, Better.LOWER, variance=POOLED),
            {"level": ONE_SIDED},
            "variance must not be pooled under a margin",
        ),
        (
            non_inferior(0.2, 0.2, -1.3, Better.LOWER, RATIO),
            {"level": ONE_SIDED},
            "margin must be above 0 for a ratio; got -1.3.",
        ),
        (
            TwoProportions(0.1, 0.2, hypothesis=SuperiorityByMargin(0.02, Better.LOWER)),
            {"level": ONE_SIDED},
            "margin must lie below 0 where lower is better; got 0.02. Such a margin is the least",
        ),
        (
            TwoProportions(
                *(0.19, 0.2, DIFFERENCE, SuperiorityByMargin(-0.02, Better.LOWER), MIETTINEN)
            ),
            {"level": ONE_SIDED},
            "effect must be better than the margin -0.02; got -0.01. A benefit smaller than",
        ),
        (
            TwoProportions(0.1, 0.2, variance=MIETTINEN, continuity=Continuity.YATES),
            {},
            "continuity must be none for a Miettinen-Nurminen test",
        ),
        (
            TwoProportions(0.1, 0.2, ODDS, continuity=Continuity.YATES),
            {},
            "continuity must be none for a ratio",
        ),
    ],
)
def test_regression_designs_that_cannot_be_met_are_refused(design, more, message):
    with pytest.raises(DesignError) as caught:
        proportions_size(design, **more)
    assert message in str(caught.value)


def test_regression_impossible_levels_allocations_and_exact_sizes_are_refused():
    with pytest.raises(DesignError, match=r"alpha must be in \(0, 0.5\); got 5"):
        Level(5)
    with pytest.raises(DesignError, match="sides must be 1 or 2"):
        Level(0.05, 3)
    with pytest.raises(DesignError, match=r"allocation\.control must be a whole number"):
        Allocation(2, 0)
    with pytest.raises(DesignError, match="must not exceed 20,000 for the Fisher test"):
        exact_proportions_power(ExactTest.FISHER, 0.1, 0.2, 11_000, 11_000)
    with pytest.raises(DesignError, match="n_control must be from 1"):
        exact_proportions_power(ExactTest.FISHER, 0.1, 0.2, 10, 0)


def test_regression_conventions_are_said():
    found = proportions_size(TwoProportions(0.35, 0.5), allocation=Allocation(2, 1))
    assert found.conventions == (
        "two-sided, alpha 0.05, 0.025 in each tail; rejection in the wrong direction ignored as "
        "power",
        "superiority; risk difference, treated to control",
        "pooled variance under the null hypothesis, unpooled under the effect",
        "no continuity correction",
        "normal approximation to the risk difference",
        "allocation treated:control 2:1; total rounded up to a multiple of 3",
    )
