"""Ordinal outcomes against R, statsmodels, scipy, enumeration of pairs and Whitehead's power."""

from __future__ import annotations

import json
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel

from conftest import ROOT
from trialsim.kernels.contrasts import Alternative
from trialsim.kernels.ordered import (
    category_of,
    common_odds_ratio,
    counts_by_arm,
    shifted,
    wilcoxon_mann_whitney,
)

FIGURES = json.loads((ROOT / "tests/reference/endpoint_kinds.json").read_text())
EXACT = {"rel": 1e-10, "abs": 1e-12}
CONTROL = np.array([0.25, 0.1, 0.05, 0.2, 0.3, 0.1])
Z95 = stats.norm.ppf(0.975)


def trials(seed, n_categories=7, n_reps=8, n_patients=60, odds_ratio=1.5):
    """Scores of unequal arms, and who has one."""
    rng = np.random.default_rng(seed)
    control = rng.dirichlet(np.ones(n_categories))
    treated = rng.random((n_patients, n_reps)) < 0.4
    luck = rng.random(treated.shape)
    on_treatment = category_of(luck, shifted(control, odds_ratio))
    categories = np.where(treated, on_treatment, category_of(luck, control))
    return categories, treated, rng.random(treated.shape) < 0.9


def arms(categories, treated, included, rep):
    own = included[:, rep]
    return categories[own & treated[:, rep], rep], categories[own & ~treated[:, rep], rep]


def test_reference_wilcoxon_equals_scipy():
    categories, treated, included = trials(1)
    found = wilcoxon_mann_whitney(*counts_by_arm(categories, treated, 7, included))
    sides = {"DIFFERENT": "two-sided", "LARGER": "greater", "SMALLER": "less"}
    for rep in range(categories.shape[1]):
        one, other = arms(categories, treated, included, rep)
        for name, words in sides.items():
            seen = stats.mannwhitneyu(
                one, other, use_continuity=False, method="asymptotic", alternative=words
            )
            p = found.p_value(Alternative[name])[rep]
            assert p == pytest.approx(seen.pvalue, **EXACT)
        win = seen.statistic / (len(one) * len(other))
        assert found.estimate[rep] == pytest.approx(win, **EXACT)
        assert np.sign(found.statistic[rep]) == np.sign(win - 0.5)


def test_reference_standard_error_of_the_win_probability_is_brunner_and_munzels():
    categories, treated, included = trials(2)
    found = wilcoxon_mann_whitney(*counts_by_arm(categories, treated, 7, included))
    for rep in range(categories.shape[1]):
        one, other = arms(categories, treated, included, rep)
        seen = stats.brunnermunzel(other, one).statistic  # positive where the second is larger
        own = (found.estimate[rep] - 0.5) / found.standard_error[rep]
        assert own == pytest.approx(seen, **EXACT)


def test_analytic_win_probability_counts_every_pair():
    categories, treated, included = trials(3)
    found = wilcoxon_mann_whitney(*counts_by_arm(categories, treated, 7, included))
    for rep in range(categories.shape[1]):
        one, other = arms(categories, treated, included, rep)
        pairs = np.sign(one[:, None] - other) / 2 + 0.5
        placements = pairs.mean(axis=1), pairs.mean(axis=0)
        variance = sum(p.var(ddof=1) / len(p) for p in placements)
        assert found.estimate[rep] == pytest.approx(pairs.mean(), **EXACT)
        assert found.standard_error[rep] == pytest.approx(sqrt(variance), **EXACT)
        slope = pairs.mean() * (1 - pairs.mean())
        odds = [p / (1 - p) for p in (found.lower[rep], found.estimate[rep], found.upper[rep])]
        half = exp(Z95 * sqrt(variance) / slope)
        assert (odds[1] / odds[0], odds[2] / odds[1]) == pytest.approx((half, half))


@pytest.mark.parametrize("case", FIGURES["proportional_odds"])
def test_reference_proportional_odds_equal_polr(case):
    counts = ([[n] for n in case[arm]] for arm in ("treated", "control"))
    found = common_odds_ratio(*counts)
    assert found.estimate[0] == pytest.approx(case["log_odds_ratio"], abs=1e-5)
    assert found.standard_error[0] == pytest.approx(case["standard_error"], rel=1e-5)
    assert found.statistic[0] == found.estimate[0] / found.standard_error[0]
    half = Z95 * found.standard_error[0]
    limits = (found.estimate[0] - half, found.estimate[0] + half)
    assert (found.lower[0], found.upper[0]) == pytest.approx(limits)


def test_reference_proportional_odds_equal_statsmodels():
    categories, treated, included = trials(4, n_reps=3)
    found = common_odds_ratio(*counts_by_arm(categories, treated, 7, included))
    for rep in range(3):
        own = included[:, rep]
        codes = np.unique(categories[own, rep], return_inverse=True)[1]
        model = OrderedModel(codes, treated[own, rep, None].astype(float), distr="logit")
        seen = model.fit(method="newton", disp=False, maxiter=100)
        assert found.estimate[rep] == pytest.approx(seen.params[0], abs=1e-5)
        assert found.standard_error[rep] == pytest.approx(seen.bse[0], abs=1e-5)


def test_analytic_two_categories_are_a_two_by_two_table():
    treated, control = np.array([[12, 30], [28, 10]]), np.array([[20, 25], [15, 14]])
    found = common_odds_ratio(treated, control)
    ratio = treated[1] * control[0] / (treated[0] * control[1])
    assert found.estimate == pytest.approx(np.log(ratio), **EXACT)
    error = np.sqrt(1 / treated[0] + 1 / treated[1] + 1 / control[0] + 1 / control[1])
    assert found.standard_error == pytest.approx(error, **EXACT)


@given(st.integers(0, 10_000))
def test_property_empty_categories_change_nothing(seed):
    categories, treated, _ = trials(seed, n_categories=6, n_reps=4)
    spread = np.array([1, 2, 9, 20, 21, 38])[categories]
    one = counts_by_arm(categories, treated, 6), counts_by_arm(spread, treated, 40)
    for test in (common_odds_ratio, wilcoxon_mann_whitney):
        few, many = test(*one[0]), test(*one[1])
        for a, b in zip(few, many, strict=True):
            assert a == pytest.approx(b, rel=1e-8, abs=1e-12, nan_ok=True)


@given(st.integers(0, 10_000))
def test_property_swapping_arms_or_turning_the_order_flips_the_sign(seed):
    counts = counts_by_arm(*trials(seed, n_categories=12)[:2], 12)
    found = common_odds_ratio(*counts)
    for other in (common_odds_ratio(*counts[::-1]), common_odds_ratio(*(c[::-1] for c in counts))):
        assert found.estimate == pytest.approx(-other.estimate, rel=1e-8, abs=1e-8, nan_ok=True)
        assert found.upper == pytest.approx(-other.lower, rel=1e-8, abs=1e-8, nan_ok=True)
    test, turned = wilcoxon_mann_whitney(*counts), wilcoxon_mann_whitney(*counts[::-1])
    assert test.statistic == pytest.approx(-turned.statistic)
    assert test.estimate == pytest.approx(1 - turned.estimate)
    assert test.upper == pytest.approx(1 - turned.lower, nan_ok=True)


@given(st.integers(0, 10_000), st.floats(0.05, 20))
def test_property_shifted_has_the_odds_ratio_at_every_cut(seed, odds_ratio):
    control = np.random.default_rng(seed).dirichlet(np.ones(9))
    treated = shifted(control, odds_ratio)
    above = [p[::-1].cumsum()[::-1][1:] for p in (treated, control)]
    below = [p.cumsum()[:-1] for p in (treated, control)]
    ratio = above[0] / below[0] / (above[1] / below[1])
    assert ratio == pytest.approx(np.full(8, odds_ratio), rel=1e-9)
    assert treated.sum() == pytest.approx(1)
    assert shifted(treated, 1 / odds_ratio) == pytest.approx(control, rel=1e-9)
    each = shifted(control[:, None], np.array([odds_ratio, 1.0]))
    assert each == pytest.approx(np.stack([treated, control], axis=1))


@given(st.integers(0, 10_000), st.floats(1, 20))
def test_property_the_same_luck_is_never_worse_under_a_better_truth(seed, odds_ratio):
    rng = np.random.default_rng(seed)
    control, luck = rng.dirichlet(np.ones(5)), rng.random(300)
    better = category_of(luck, shifted(control, odds_ratio))
    assert (better >= category_of(luck, control)).all()


def test_analytic_categories_have_their_probabilities_and_none_is_impossible():
    luck = (np.arange(20_000) + 0.5) / 20_000
    shares = np.bincount(category_of(luck, CONTROL), minlength=6) / 20_000
    assert shares == pytest.approx(CONTROL, abs=1e-9)
    edges = np.array([0.0, 0.5, 1 - 2**-53])
    assert category_of(edges, [0, 0.5, 0, 0.5, 0]).tolist() == [1, 3, 3]


def simulated(odds_ratio, n_treated, n_control, n_reps, seed):
    rng = np.random.default_rng(seed)
    arms = ((n_treated, shifted(CONTROL, odds_ratio)), (n_control, CONTROL))
    return tuple(rng.multinomial(n, p, size=n_reps).T for n, p in arms)


def whitehead_power(odds_ratio, n_treated, n_control):
    """Whitehead (1993), Statistics in Medicine 12:2257-2271."""
    n = n_treated + n_control
    together = (n_treated * shifted(CONTROL, odds_ratio) + n_control * CONTROL) / n
    information = n_treated * n_control / (3 * n) * (1 - (together**3).sum())
    return stats.norm.cdf(abs(log(odds_ratio)) * sqrt(information) - Z95)


@pytest.mark.parametrize("test", [wilcoxon_mann_whitney, common_odds_ratio])
def test_property_power_is_whiteheads(test):
    n_reps = 10_000
    power = whitehead_power(1.9, 120, 80)
    found = test(*simulated(1.9, 120, 80, n_reps, 5))
    rejected = (found.p_value(Alternative.DIFFERENT) < 0.05).mean()
    tolerance = 4 * sqrt(power * (1 - power) / n_reps) + 0.02  # his is an approximation
    assert rejected == pytest.approx(power, abs=tolerance)
    assert not found.failed.any()


@pytest.mark.parametrize("test", [wilcoxon_mann_whitney, common_odds_ratio])
def test_property_level_is_five_percent(test):
    n_reps = 20_000
    found = test(*simulated(1.0, 120, 80, n_reps, 6))
    rejected = (found.p_value(Alternative.DIFFERENT) < 0.05).mean()
    # both are asymptotic: 0.002 is allowed for that beside 4 standard errors
    assert rejected == pytest.approx(0.05, abs=4 * sqrt(0.05 * 0.95 / n_reps) + 0.002)


def test_property_intervals_cover_the_truth():
    n_reps = 10_000
    counts = simulated(1.7, 100, 100, n_reps, 7)
    tolerance = 4 * sqrt(0.05 * 0.95 / n_reps) + 0.005  # Wald's are asymptotic
    treated = shifted(CONTROL, 1.7)
    win = (treated * (CONTROL.cumsum() - CONTROL / 2)).sum()
    for found, truth in (
        (common_odds_ratio(*counts), log(1.7)),
        (wilcoxon_mann_whitney(*counts), win),
    ):
        covered = (found.lower <= truth) & (truth <= found.upper)
        assert covered.mean() == pytest.approx(0.95, abs=tolerance)
        assert found.estimate.mean() == pytest.approx(truth, abs=0.03)
        assert found.standard_error.mean() == pytest.approx(found.estimate.std(), rel=0.03)


def test_regression_no_estimate_is_nan_and_failed_while_its_neighbours_stand():
    treated = np.array([[0, 5, 0, 3, 3, 9], [0, 0, 4, 3, 0, 9], [8, 0, 4, 9, 0, 1]])
    control = np.array([[6, 5, 4, 3, 0, 2], [2, 0, 4, 9, 0, 5], [0, 0, 0, 3, 0, 9]])
    # apart; one category; touching; overlapping; no control; overlapping
    found = common_odds_ratio(treated, control)
    assert found.failed.tolist() == [True, True, True, False, True, False]
    for column in (*found[:5], found.p_value(Alternative.LARGER)):
        assert np.isnan(column).tolist() == found.failed.tolist()
    test = wilcoxon_mann_whitney(treated, control)
    assert test.failed.tolist() == [False, True, False, False, True, False]
    assert test.estimate[0] == 1
    assert test.statistic[0] > 3
    assert np.isnan([test.standard_error[0], test.lower[0], test.upper[0]]).all()
    assert np.isnan(test.p_value(Alternative.DIFFERENT)).tolist() == test.failed.tolist()


def test_reference_arms_almost_apart_equal_polr():
    case = FIGURES["almost_apart"]  # its standard error, from differences, has four digits here
    found = common_odds_ratio(*([[n] for n in case[arm]] for arm in ("treated", "control")))
    assert found.estimate[0] == pytest.approx(case["log_odds_ratio"], abs=1e-5)
    assert found.standard_error[0] == pytest.approx(case["standard_error"], rel=1e-4)


def test_regression_hard_tables_converge():
    """An arm of two over forty categories; one patient in 100,000 out of order."""
    treated, control = np.zeros((2, 40, 2), dtype=int)
    treated[[0, 39], 0] = 1
    control[:, 0] = 25
    treated[39, 1], treated[0, 1], control[0, 1], control[39, 1] = 99_999, 1, 99_999, 1
    found = common_odds_ratio(treated, control)
    assert not found.failed.any()
    assert found.estimate == pytest.approx([0, 2 * log(99_999)], rel=1e-9, abs=1e-9)
