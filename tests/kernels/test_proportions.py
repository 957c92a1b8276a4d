"""Tests, effects and intervals of two proportions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trialsim.kernels import proportions as pr

TABLES = st.tuples(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1)).map(
    lambda t: (round(t[2] * t[0]), t[0], round(t[3] * t[1]), t[1])
)

# Published trials: events and patients, treated then control, with P values that were printed.
# Chien 1998 (P = .004 published; Fisher .0081 re-derived), ETASS 2013 (P = 0.062; Fisher 0.068),
# TESTS 2025 (0.79 re-derived), You 2006 (chi-square 2.918 and 15.71, printed).
CHIEN, ETASS, TESTS = (13, 32, 3, 32), (47, 181, 63, 180), (127, 542, 132, 547)


@pytest.mark.parametrize(
    ("table", "p"),
    [(CHIEN, 0.0039), (ETASS, 0.062), (TESTS, 0.79)],
    ids=["chien", "etass", "tests"],
)
def test_reference_chi_square_p_as_published(table, p):
    """Chien 1998, ETASS (Wu 2013) and TESTS (Wu 2025), from their counts."""
    assert float(pr.normal_p(pr.pearson_z(*table), 2)) == pytest.approx(
        p, abs=5 * 10 ** -len(f"{p}"[1:])
    )


@pytest.mark.parametrize(
    ("table", "chi_square"), [((14, 29, 9, 33), 2.918), ((14, 29, 1, 30), 15.71)]
)
def test_reference_chi_square_statistics_of_you_2006(table, chi_square):
    """You 2006, World J Gastroenterol 12:6715-21."""
    assert float(pr.pearson_z(*table)) ** 2 == pytest.approx(chi_square, abs=5e-3)


@pytest.mark.parametrize(("table", "p"), [(CHIEN, 0.0081), (ETASS, 0.068)])
def test_reference_fisher_p_of_published_trials(table, p):
    """Derived from the counts of Chien 1998 and ETASS (Wu 2013) with R."""
    assert float(pr.fisher_p(*table)) == pytest.approx(p, abs=6e-4)


@given(TABLES)
def test_reference_fisher_equals_scipy(table):
    x1, n1, x0, n0 = table
    cells = [[x1, n1 - x1], [x0, n0 - x0]]
    assert float(pr.fisher_p(*table)) == pytest.approx(stats.fisher_exact(cells).pvalue, rel=1e-9)
    one_sided = stats.fisher_exact(cells, alternative="less").pvalue
    assert float(pr.fisher_p(*table, sides=1)) == pytest.approx(one_sided, rel=1e-9)


@given(TABLES)
def test_reference_pearson_equals_scipy(table):
    x1, n1, x0, n0 = table
    if 0 < x1 + x0 < n1 + n0:
        cells = [[x1, n1 - x1], [x0, n0 - x0]]
        expected = stats.chi2_contingency(cells, correction=False)
        assert float(pr.pearson_z(*table)) ** 2 == pytest.approx(expected.statistic, abs=1e-9)
        assert float(pr.normal_p(pr.pearson_z(*table), 2)) == pytest.approx(
            expected.pvalue, rel=1e-9
        )


@given(TABLES)
def test_property_swapping_arms_flips_every_sign(table):
    x1, n1, x0, n0 = table
    swapped = (x0, n0, x1, n1)
    assert pr.pearson_z(*table) == pytest.approx(-pr.pearson_z(*swapped))
    for effect in (pr.log_odds_ratio, pr.log_risk_ratio, pr.risk_difference):
        ours, theirs = effect(*table), effect(*swapped)
        assert float(ours.estimate) == pytest.approx(-float(theirs.estimate), abs=1e-12)
        assert float(ours.standard_error) == pytest.approx(float(theirs.standard_error))


@given(st.lists(TABLES, min_size=1, max_size=30))
def test_property_fisher_of_many_tables_is_fisher_of_each(tables):
    together = pr.fisher_p(*np.array(tables).T)
    alone = [float(pr.fisher_p(*table)) for table in tables]
    assert together == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("table", [(5, 5, 7, 7), (0, 5, 0, 7)])
def test_regression_all_or_no_patients_with_the_event_gives_zero_not_nan(table):
    assert float(pr.pearson_z(*table)) == 0.0
    assert float(pr.fisher_p(*table)) == 1.0


def test_reference_etass_effects_as_published():
    """Wu 2013, Critical Care 17:R8: relative risk; the odds ratio is derived from its counts."""
    ratio = pr.log_risk_ratio(*ETASS)
    low, high = (
        ratio.estimate - 1.96 * ratio.standard_error,
        ratio.estimate + 1.96 * ratio.standard_error,
    )
    assert np.exp([ratio.estimate, low, high]) == pytest.approx([0.742, 0.541, 1.018], abs=6e-4)
    odds = pr.log_odds_ratio(*ETASS)
    low, high = (
        odds.estimate - 1.96 * odds.standard_error,
        odds.estimate + 1.96 * odds.standard_error,
    )
    assert np.exp([odds.estimate, low, high]) == pytest.approx([0.65, 0.41, 1.02], abs=6e-3)


def test_reference_zero_cell_adds_a_half_to_all_four_cells():
    """Woolf's formula with 0.5 in every cell (Haldane, Anscombe), written out."""
    odds = pr.log_odds_ratio([0, 3], [10, 10], [4, 4], [10, 10])
    assert odds.corrected.tolist() == [True, False]
    assert odds.estimate[0] == pytest.approx(np.log(0.5 * 6.5 / (10.5 * 4.5)))
    assert odds.standard_error[0] == pytest.approx(np.sqrt(1 / 0.5 + 1 / 10.5 + 1 / 4.5 + 1 / 6.5))
    ratio = pr.log_risk_ratio([0], [10], [4], [10])
    assert ratio.estimate[0] == pytest.approx(np.log((0.5 / 11) / (4.5 / 11)))


def test_regression_an_empty_arm_gives_nan_and_is_not_corrected():
    for effect in (pr.log_odds_ratio, pr.log_risk_ratio, pr.risk_difference):
        contrast = effect([0], [0], [4], [10])
        assert np.isnan(contrast.estimate[0])
        assert not contrast.corrected[0]


def test_reference_newcombe_1998_table_ii():
    """Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10."""
    # Newcombe 1998, table II, method 10: 56/70 v 48/80; 9/10 v 3/10; 5/56 v 0/29; 10/10 v 0/10
    cases = [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((10, 10, 0, 10), (0.6075, 1.0000)),
    ]
    for table, limits in cases:
        assert np.array(pr.newcombe_interval(*table, z=1.959964)) == pytest.approx(
            limits, abs=5.1e-5
        )


@given(st.integers(1, 200), st.floats(0, 1))
def test_reference_wilson_equals_scipy(n, share):
    x = round(share * n)
    expected = stats.binomtest(x, n).proportion_ci(0.95, method="wilson")
    assert np.array(pr.wilson_interval(x, n, 1.959963984540054)) == pytest.approx(
        [expected.low, expected.high], abs=1e-9
    )
