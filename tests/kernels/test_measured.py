"""Means of two arms against scipy, statsmodels, the noncentral t, and their own symmetries."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trialsim.kernels.contrasts import Alternative
from trialsim.kernels.measured import ancova, student, welch

EXACT = {"rel": 1e-10, "abs": 1e-12}
SIDES = {
    Alternative.DIFFERENT: "two-sided",
    Alternative.LARGER: "greater",
    Alternative.SMALLER: "less",
}


def trials(seed, n_patients=40, n_reps=6, missing=0.2):
    """Uneven arms and variances, a baseline, a large common value, and patients left out as NaN."""
    rng = np.random.default_rng(seed)
    treated = rng.random((n_patients, n_reps)) < 0.4
    treated[:4] = np.array([True, True, False, False])[:, None]
    baseline = rng.normal(70, 8, treated.shape)
    values = 500 + 0.6 * baseline + rng.normal(0, np.where(treated, 9, 4)) + 3 * treated
    included = rng.random(treated.shape) >= missing
    included[:4] = True
    return np.where(included, values, np.nan), baseline, treated, included


def arms(values, treated, included, rep):
    own = included[:, rep]
    return values[own & treated[:, rep], rep], values[own & ~treated[:, rep], rep]


@pytest.mark.parametrize(("test", "equal"), [(student, True), (welch, False)])
def test_reference_t_tests_equal_scipy(test, equal):
    values, _, treated, included = trials(1)
    found = test(values, treated, included, confidence_level=0.9)
    for rep in range(values.shape[1]):
        one, other = arms(values, treated, included, rep)
        for alternative, words in SIDES.items():
            seen = stats.ttest_ind(one, other, equal_var=equal, alternative=words)
            assert found.p_value(alternative)[rep] == pytest.approx(seen.pvalue, **EXACT)
        seen = stats.ttest_ind(one, other, equal_var=equal)
        limits = seen.confidence_interval(0.9)
        assert found.statistic[rep] == pytest.approx(seen.statistic, **EXACT)
        assert found.degrees_of_freedom[rep] == pytest.approx(seen.df, **EXACT)
        assert found.lower[rep] == pytest.approx(limits.low, **EXACT)
        assert found.upper[rep] == pytest.approx(limits.high, **EXACT)
        assert found.estimate[rep] == pytest.approx(one.mean() - other.mean(), **EXACT)
    assert not found.failed.any()


def test_reference_ancova_equals_statsmodels():
    values, baseline, treated, included = trials(2)
    found = ancova(values, baseline, treated, included)
    for rep in range(values.shape[1]):
        own = included[:, rep]
        # centred, because statsmodels' own digits suffer where the columns are nearly collinear
        x = baseline[own, rep] - baseline[own, rep].mean()
        columns = sm.add_constant(np.column_stack([treated[own, rep], x]))
        seen = sm.OLS(values[own, rep], columns).fit()
        assert found.estimate[rep] == pytest.approx(seen.params[1], **EXACT)
        assert found.standard_error[rep] == pytest.approx(seen.bse[1], **EXACT)
        assert found.p_value(Alternative.DIFFERENT)[rep] == pytest.approx(seen.pvalues[1], **EXACT)
        assert found.degrees_of_freedom[rep] == own.sum() - 3
        low, high = seen.conf_int()[1]
        assert (found.lower[rep], found.upper[rep]) == pytest.approx((low, high), **EXACT)


def simulated(n_treated, n_control, difference, n_reps, seed):
    normals = np.random.default_rng(seed).normal(size=(n_treated + n_control, n_reps))
    treated = np.zeros(normals.shape, dtype=bool)
    treated[:n_treated] = True
    return normals + difference * treated, treated


def noncentral_power(n_treated, n_control, standardised, df):
    limit = stats.t.ppf(0.975, df)
    shift = standardised / sqrt(1 / n_treated + 1 / n_control)
    return stats.nct.sf(limit, df, shift) + stats.nct.cdf(-limit, df, shift)


@pytest.mark.parametrize("difference", [0.0, 1.1])
def test_property_student_rejects_as_the_noncentral_t_says(difference):
    n_reps = 20_000
    values, treated = simulated(12, 18, difference, n_reps, 3)
    rejected = (student(values, treated).p_value(Alternative.DIFFERENT) < 0.05).mean()
    power = noncentral_power(12, 18, difference, 28)
    if difference == 0:
        assert power == pytest.approx(0.05)
    assert rejected == pytest.approx(power, abs=4 * sqrt(power * (1 - power) / n_reps))


@pytest.mark.parametrize("difference", [0.0, 0.9])
def test_property_ancova_rejects_as_the_noncentral_t_says(difference):
    n_reps = 20_000
    residual, treated = simulated(15, 15, difference, n_reps, 4)
    rng = np.random.default_rng(5)
    baseline = np.repeat(rng.normal(size=(30, 1)), n_reps, axis=1)
    rejected = ancova(residual + 2 * baseline, baseline, treated).p_value(Alternative.DIFFERENT)
    # given one baseline, shared here by all trials, the statistic is exactly a noncentral t
    x = baseline[:, 0]
    apart = np.where(treated[:, 0], x - x[:15].mean(), x - x[15:].mean())
    variance = 2 / 15 + (x[:15].mean() - x[15:].mean()) ** 2 / (apart**2).sum()
    limit, shift = stats.t.ppf(0.975, 27), difference / sqrt(variance)
    power = stats.nct.sf(limit, 27, shift) + stats.nct.cdf(-limit, 27, shift)
    tolerance = 4 * sqrt(power * (1 - power) / n_reps)
    assert (rejected < 0.05).mean() == pytest.approx(power, abs=tolerance)


def welch_level(n_treated, n_control, ratio):
    """Level of Welch's test of 5%, integrated over the two variances; ratio of deviations."""
    share = (np.arange(600) + 0.5) / 600
    v1 = ratio**2 * stats.chi2.ppf(share, n_treated - 1)[:, None] / (n_treated - 1) / n_treated
    v0 = stats.chi2.ppf(share, n_control - 1) / (n_control - 1) / n_control
    df = (v1 + v0) ** 2 / (v1**2 / (n_treated - 1) + v0**2 / (n_control - 1))
    limit = stats.t.isf(0.025, df) * np.sqrt((v1 + v0) / (ratio**2 / n_treated + 1 / n_control))
    return 2 * stats.norm.sf(limit).mean()


def test_property_welch_has_its_level_where_variances_differ_and_student_has_not():
    n_reps = 20_000
    values, treated = simulated(6, 24, 0.0, n_reps, 6)
    values = values * np.where(treated, 3, 1)
    level = welch_level(6, 24, 3)
    rejected = (welch(values, treated).p_value(Alternative.DIFFERENT) < 0.05).mean()
    assert rejected == pytest.approx(level, abs=4 * sqrt(level * (1 - level) / n_reps))
    assert level == pytest.approx(0.05, abs=0.005)
    assert (student(values, treated).p_value(Alternative.DIFFERENT) < 0.05).mean() > 0.15


@given(st.integers(0, 10_000), st.sampled_from([student, welch]))
def test_property_swapping_arms_flips_the_sign(seed, test):
    values, _, treated, included = trials(seed)
    one, other = test(values, treated, included), test(values, ~treated, included)
    assert one.statistic == pytest.approx(-other.statistic)
    assert one.lower == pytest.approx(-other.upper)
    larger, smaller = one.p_value(Alternative.LARGER), other.p_value(Alternative.SMALLER)
    assert larger == pytest.approx(smaller)


@given(st.integers(0, 10_000), st.floats(-5, 5))
def test_property_ancova_is_blind_to_multiples_of_the_baseline(seed, slope):
    values, baseline, treated, included = trials(seed)
    one = ancova(values, baseline, treated, included)
    other = ancova(values + slope * baseline, baseline, treated, included)
    assert one.statistic == pytest.approx(other.statistic, rel=1e-8)
    assert one.lower == pytest.approx(other.lower, rel=1e-8)


def test_regression_who_is_left_out_is_not_read():
    values, baseline, treated, included = trials(7)
    arguments = (np.where(included, baseline, np.nan), treated, included)
    other = np.where(included, values, 1e300)
    assert np.array_equal(ancova(values, *arguments).statistic, ancova(other, *arguments).statistic)


def test_regression_no_test_is_nan_and_failed_while_its_neighbours_stand():
    values, baseline, treated, _ = trials(8, missing=0.0)
    n_patients, n_reps = values.shape
    alone = student(values, treated).statistic
    values[:, 0] = 0.1 * treated[:, 0] + 0.7  # constant within the arms
    baseline[:, 0] = 0.3  # constant
    included = np.ones((n_patients, n_reps), dtype=bool)
    included[:, 1] = treated[:, 1]  # nobody in control
    included[:, 2] = np.arange(n_patients) == 0  # one patient
    values[0, 3] = np.nan  # forgotten
    expected = [True, True, True, True, False, False]
    for found in (
        student(values, treated, included),
        welch(values, treated, included),
        ancova(values, baseline, treated, included),
    ):
        assert found.failed.tolist() == expected
        for column in (*found[:5], found.p_value(Alternative.DIFFERENT)):
            assert np.isnan(column).tolist() == expected
    assert np.array_equal(student(values, treated, included).statistic[4:], alone[4:])


def test_regression_a_perfect_fit_and_one_patient_against_many():
    values, baseline, treated, _ = trials(9, missing=0.0)
    assert ancova(2 * baseline + treated, baseline, treated).failed.all()
    included = ~treated | (np.arange(len(values)) == 0)[:, None]
    assert welch(values, treated, included).failed.all()
    found = student(values, treated, included)
    seen = stats.ttest_ind(*arms(values, treated, included, 0))
    assert found.statistic[0] == pytest.approx(seen.statistic, **EXACT)
