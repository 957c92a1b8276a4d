"""Exact tests of two proportions against enumeration by scipy, and R's figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conftest import ROOT
from trialsim.kernels import exact
from trialsim.kernels import proportions as pr
from trialsim.kernels.exact import ExactTest
from trialsim.kernels.proportions import Scale, ScoreVariance

FIGURES = {
    figure["id"]: figure["value"]
    for figure in json.loads((ROOT / "tests/reference/fixed_designs.json").read_text())["results"]
}
ARMS = st.tuples(st.integers(2, 25), st.integers(2, 25))
LEVELS = st.sampled_from([0.01, 0.025, 0.05, 0.1, 0.2])
Z = 1.959963984540054


def power(test, n1, n0, alpha, sides, p1, p0):
    region = exact.rejection_region(test, n1, n0, alpha, sides)
    return exact.rejection_probability(region, p1, p0)


def rejected(region):
    """The region as a matrix, events on treatment by events on control."""
    x1 = np.arange(region.n_treated + 1)[:, None]
    m = x1 + np.arange(region.n_control + 1)
    return (x1 <= region.at_most[m]) | (x1 >= region.at_least[m])


def null_probability(matrix, risk):
    n1, n0 = (size - 1 for size in matrix.shape)
    p1 = stats.binom.pmf(np.arange(n1 + 1), n1, risk)
    return p1 @ matrix @ stats.binom.pmf(np.arange(n0 + 1), n0, risk)


@pytest.mark.parametrize(
    ("figure", "test", "n", "alpha", "sides", "p1", "p0"),
    [
        ("fisher_power_enumerated_1s_n20_0.1_0.4", ExactTest.FISHER, 20, 0.025, 1, 0.1, 0.4),
        ("fisher_power_enumerated_2s_n30_0.2_0.5", ExactTest.FISHER, 30, 0.05, 2, 0.2, 0.5),
        ("fisher_power_enumerated_2s_n15_0.05_0.5", ExactTest.FISHER, 15, 0.05, 2, 0.05, 0.5),
        ("fisher_power_enumerated_2s_n50_0.24_0.5", ExactTest.FISHER, 50, 0.05, 2, 0.24, 0.5),
        ("fisher_power_enumerated_1s_n50_0.24_0.5", ExactTest.FISHER, 50, 0.025, 1, 0.24, 0.5),
        ("uncond_power_z-pooled_n20_0.1_0.4", ExactTest.BARNARD, 20, 0.025, 1, 0.1, 0.4),
        ("uncond_power_boschloo_n20_0.1_0.4", ExactTest.BOSCHLOO, 20, 0.025, 1, 0.1, 0.4),
    ],
)
def test_reference_power_by_enumeration(figure, test, n, alpha, sides, p1, p0):
    assert power(test, n, n, alpha, sides, p1, p0) == pytest.approx(FIGURES[figure], rel=1e-9)


@pytest.mark.parametrize(
    "table", [(7, 19, 1, 18), (3, 18, 10, 20), (0, 10, 4, 10), (30, 60, 12, 45)]
)
@pytest.mark.parametrize("sides", [1, 2])
def test_reference_unconditional_p_values_of_scipy(table, sides):
    x1, n1, x0, n0 = table
    cells, of = [[x1, x0], [n1 - x1, n0 - x0]], {1: "less", 2: "two-sided"}[sides]
    expected = stats.boschloo_exact(cells, alternative=of, n=256).pvalue
    assert exact.boschloo_p(*table, sides=sides) == pytest.approx(expected, rel=1e-8)
    expected = stats.barnard_exact(cells, alternative=of, n=256).pvalue
    assert exact.barnard_p(*table, sides=sides) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("table", [(7, 19, 1, 18), (3, 18, 10, 20), (0, 10, 4, 10)])
def test_reference_boschloo_p_of_exact2x2_is_our_supremum_on_its_grid(table):
    """exact2x2 takes the supremum over 100 risks from 0 to 1, which lies up to 6.4e-6 below it."""
    x1, n1, x0, n0 = table
    reported = FIGURES[f"boschloo_{x1}_{n1 - x1}_{x0}_{n0 - x0}"]["p"]
    x, n, y, k = table if x1 / n1 < x0 / n0 else (x0, n0, x1, n1)
    events = np.arange(n + 1)[:, None]
    fisher = stats.hypergeom.cdf(events, n + k, n, events + np.arange(k + 1))
    as_extreme = fisher <= fisher[x, y] * (1 + 1e-9)
    on_grid = 2 * max(null_probability(as_extreme, risk) for risk in np.linspace(0, 1, 100))
    found = exact.boschloo_p(*table)
    assert reported == pytest.approx(on_grid, rel=1e-11)
    assert reported < found < reported + 1e-5
    finely = np.linspace(0, 1, 20_001)[1:-1]
    assert found == pytest.approx(
        2 * max(null_probability(as_extreme, r) for r in finely), rel=1e-7
    )


@given(ARMS, LEVELS, st.sampled_from([1, 2]))
def test_property_regions_reject_where_p_values_say(arms, alpha, sides):
    n1, n0 = arms
    x1, x0 = (a.ravel() for a in np.indices((n1 + 1, n0 + 1)))
    p_values = {
        ExactTest.FISHER: pr.fisher_p(x1, n1, x0, n0, sides),
        ExactTest.CHI_SQUARE: pr.normal_p(pr.pearson_z(x1, n1, x0, n0), sides),
    }
    for test, p in p_values.items():
        found = rejected(exact.rejection_region(test, n1, n0, alpha, sides)).ravel()
        clear = np.abs(p - alpha) > 1e-9 * alpha
        assert np.array_equal(found[clear], (p <= alpha)[clear]), test


@given(st.tuples(st.integers(2, 8), st.integers(2, 8)), LEVELS, st.sampled_from([1, 2]))
def test_property_unconditional_regions_reject_where_p_values_say(arms, alpha, sides):
    n1, n0 = arms
    for test, p_value in (
        (ExactTest.BOSCHLOO, exact.boschloo_p),
        (ExactTest.BARNARD, exact.barnard_p),
    ):
        found = rejected(exact.rejection_region(test, n1, n0, alpha, sides))
        for (x1, x0), rejects in np.ndenumerate(found):
            p = p_value(x1, n1, x0, n0, sides)
            if abs(p - alpha) > 1e-6:
                assert rejects == (p <= alpha), (test, x1, x0, p)


@given(ARMS, LEVELS, st.sampled_from([1, 2]), st.just(0.0) | st.floats(1e-9, 1))
def test_property_exact_tests_keep_their_level(arms, alpha, sides, risk):
    regions = {t: exact.rejection_region(t, *arms, alpha, sides) for t in ExactTest}
    for test, region in regions.items():
        size = exact.type_1_error(region)
        assert null_probability(rejected(region), risk) <= size + 1e-7
        if test is not ExactTest.CHI_SQUARE:
            assert size <= alpha * (1 + 1e-6)
    if sides == 1:  # Boschloo contains Fisher
        fisher, boschloo = (rejected(regions[t]) for t in (ExactTest.FISHER, ExactTest.BOSCHLOO))
        assert not (fisher & ~boschloo).any()


@given(ARMS, st.sampled_from(list(ExactTest)), st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_analytic_probability_equals_the_sum_over_all_tables(arms, test, p1, p0):
    n1, n0 = arms
    region = exact.rejection_region(test, n1, n0, 0.05, 2)
    expected = (
        stats.binom.pmf(np.arange(n1 + 1), n1, p1)
        @ rejected(region)
        @ stats.binom.pmf(np.arange(n0 + 1), n0, p0)
    )
    assert exact.rejection_probability(region, p1, p0) == pytest.approx(expected, abs=1e-12)


def test_analytic_unequal_arms_of_hundreds_equal_the_sum_over_all_tables():
    x1, x0 = (a.ravel() for a in np.indices((251, 131)))
    p = stats.binom.pmf(x1, 250, 0.3) * stats.binom.pmf(x0, 130, 0.45)
    for test, p_value in (
        (ExactTest.CHI_SQUARE, pr.normal_p(pr.pearson_z(x1, 250, x0, 130), 2)),
        (ExactTest.FISHER, pr.fisher_p(x1, 250, x0, 130)),
    ):
        expected = p[p_value <= 0.05].sum()
        assert power(test, 250, 130, 0.05, 2, 0.3, 0.45) == pytest.approx(expected, rel=1e-10)


def test_analytic_a_p_value_equal_to_alpha_rejects():
    """0 of 3 against 3 of 3 has a one-sided Fisher P value of exactly 1 / 20."""
    region = exact.rejection_region(ExactTest.FISHER, 3, 3, 0.05, 1)
    assert rejected(region)[0, 3]
    assert rejected(region).sum() == 1


@pytest.mark.parametrize("test", list(ExactTest))
def test_regression_one_patient_per_arm(test):
    assert power(test, 1, 1, 0.05, 2, 0.1, 0.9) == 0
    assert 0 <= power(test, 1, 5, 0.3, 2, 0.1, 0.9) <= 1


def test_regression_ten_thousand_patients_do_not_overflow():
    exactly, nearly = (
        power(test, 5000, 5000, 0.05, 2, 0.2, 0.22)
        for test in (ExactTest.FISHER, ExactTest.CHI_SQUARE)
    )
    assert nearly - 0.015 < exactly < nearly


@pytest.mark.parametrize(
    ("figure", "table", "null", "scale"),
    [
        ("Difference_56_70_48_80_0", (56, 70, 48, 80), 0, Scale.RISK_DIFFERENCE),
        ("Difference_45_50_47_52_0.1", (45, 50, 47, 52), 0.1, Scale.RISK_DIFFERENCE),
        ("RR_45_50_47_52_-0.1", (45, 50, 47, 52), np.exp(-0.1), Scale.RISK_RATIO),
        ("OR_45_50_47_52_-0.1", (45, 50, 47, 52), np.exp(-0.1), Scale.ODDS_RATIO),
        ("OR_45_50_47_52_0.1", (45, 50, 47, 52), np.exp(0.1), Scale.ODDS_RATIO),
        ("OR_10_50_20_50_0", (10, 50, 20, 50), 1, Scale.ODDS_RATIO),
    ],
)
def test_reference_score_statistics_of_gs_design(figure, table, null, scale):
    found = pr.score_z(*table, null, scale)
    assert float(found) == pytest.approx(FIGURES[f"testBinomial_FM_{figure}"], rel=1e-9)


INTERVALS = [
    ("RR_56_70_48_80", (56, 70, 48, 80), Scale.RISK_RATIO),
    ("Difference_10_50_20_50", (10, 50, 20, 50), Scale.RISK_DIFFERENCE),
    ("RR_10_50_20_50", (10, 50, 20, 50), Scale.RISK_RATIO),
    ("OR_10_50_20_50", (10, 50, 20, 50), Scale.ODDS_RATIO),
    ("RR_45_50_47_52", (45, 50, 47, 52), Scale.RISK_RATIO),
    ("Difference_0_20_3_20", (0, 20, 3, 20), Scale.RISK_DIFFERENCE),
]


@pytest.mark.parametrize(("figure", "table", "scale"), INTERVALS)
def test_reference_score_intervals_of_gs_design_within_its_root_finder(figure, table, scale):
    """R's uniroot stops 1.2e-4 from the root, so theirs solve the equation to 4 digits, ours to 9.

    Without the factor N / (N - 1), which gsDesign's ciBinomial leaves out unless asked.
    """
    variance = ScoreVariance.FARRINGTON_MANNING
    limits = pr.score_interval(*table, Z, scale, variance)
    theirs = FIGURES[f"ciBinomial_MN_{figure}"]
    for limit, other, target in zip(limits, theirs.values(), (Z, -Z), strict=True):
        assert float(limit) == pytest.approx(other, abs=np.finfo(float).eps ** 0.25)
        ours = abs(pr.score_z(*table, limit, scale, variance) - target)
        assert ours < 1e-9 < abs(pr.score_z(*table, other, scale, variance) - target)


@pytest.mark.parametrize(
    ("figure", "table", "scale"), [i for i in INTERVALS if i[2] is not Scale.RISK_DIFFERENCE]
)
def test_reference_miettinen_nurminen_limits_have_p_values_of_five_percent_in_statsmodels(
    figure, table, scale
):
    """Ratios only: at a difference other than 0, statsmodels 0.15 does not find gsDesign's z."""
    from statsmodels.stats.proportion import test_proportions_2indep as score_test

    compare = {Scale.RISK_RATIO: "ratio", Scale.ODDS_RATIO: "odds-ratio"}[scale]
    for limit in pr.score_interval(*table, Z, scale):
        found = score_test(
            *table, value=float(limit), method="score", compare=compare, correction=True
        )
        assert found.pvalue == pytest.approx(0.05, rel=1e-6)


@given(
    st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99)
)
def test_property_restricted_risks_have_the_contrast_and_the_largest_likelihood(n1, n0, a, b, u):
    x1, x0 = round(a * n1), round(b * n0)
    for scale in Scale:
        null = 2 * u - 1 if scale is Scale.RISK_DIFFERENCE else u / (1 - u)
        p1, p0 = (float(p) for p in pr.restricted_risks(x1 / n1, n1, x0 / n0, n0, null, scale))
        control = np.linspace(0, 1, 4001)[1:-1]
        if scale is Scale.ODDS_RATIO:
            treated = control * null / (1 + control * (null - 1))
        else:
            treated = control + null if scale is Scale.RISK_DIFFERENCE else control * null
        possible = (treated >= 0) & (treated <= 1)
        likelihood = stats.binom.logpmf(x1, n1, treated[possible]) + stats.binom.logpmf(
            x0, n0, control[possible]
        )
        ours = stats.binom.logpmf(x1, n1, np.clip(p1, 0, 1)) + stats.binom.logpmf(x0, n0, p0)
        assert ours >= likelihood.max(initial=-np.inf) - 1e-6, scale


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_property_intervals_cover_the_estimate_and_swap_with_the_arms(n1, n0, a, b):
    x1, x0 = round(a * n1), round(b * n0)
    for scale in Scale:
        low, high = (float(v) for v in pr.score_interval(x1, n1, x0, n0, Z, scale))
        other_low, other_high = (float(v) for v in pr.score_interval(x0, n0, x1, n1, Z, scale))
        assert low <= high
        if scale is Scale.RISK_DIFFERENCE:
            assert low - 1e-9 <= x1 / n1 - x0 / n0 <= high + 1e-9
            assert (low, high) == pytest.approx((-other_high, -other_low), abs=1e-6)
        elif 0 < x1 < n1 and 0 < x0 < n0:
            assert low == pytest.approx(1 / other_high, rel=1e-6)
            assert high == pytest.approx(1 / other_low, rel=1e-6)


def test_regression_no_events_at_all_say_nothing_about_a_ratio():
    for scale in (Scale.RISK_RATIO, Scale.ODDS_RATIO):
        low, high = pr.score_interval(0, 20, 0, 20, Z, scale)
        assert (float(low), float(high)) == (0, np.inf)
    low, high = pr.score_interval(20, 20, 20, 20, Z, Scale.ODDS_RATIO)
    assert (float(low), float(high)) == (0, np.inf)
