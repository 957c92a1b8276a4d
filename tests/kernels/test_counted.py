"""Counts against R, statsmodels, scipy's distributions and Zhu and Lakkis's power."""

from __future__ import annotations

import json
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.discrete.discrete_model import NegativeBinomial

from conftest import ROOT
from trialsim.kernels.contrasts import Alternative
from trialsim.kernels.counted import Information, count_of, rate_ratio

FIGURES = json.loads((ROOT / "tests/reference/endpoint_kinds.json").read_text())
Z95 = stats.norm.ppf(0.975)


def trials(seed, n_patients=80, n_reps=8, dispersion=0.8, rate=2.0, ratio=0.7):
    """Counts of unequal arms, exposures, and who is analysed."""
    rng = np.random.default_rng(seed)
    treated = rng.random((n_patients, n_reps)) < 0.4
    exposure = rng.uniform(0.2, 1.5, treated.shape)
    mean = np.where(treated, ratio, 1) * rate * exposure
    counts = count_of(rng.random(treated.shape), mean, dispersion)
    return counts, exposure, treated, rng.random(treated.shape) < 0.9


@pytest.mark.parametrize("case", FIGURES["negative_binomial"])
def test_reference_rate_ratio_equals_glm_nb(case):
    columns = (np.array(case[name])[:, None] for name in ("counts", "exposure"))
    treated = np.array(case["treated"], dtype=bool)[:, None]
    found = rate_ratio(*columns, treated)
    contrast = found.contrast
    assert contrast.estimate[0] == pytest.approx(case["log_rate_ratio"], abs=1e-5)
    assert contrast.standard_error[0] == pytest.approx(case["standard_error"], rel=1e-5)
    assert found.dispersion[0] == pytest.approx(case["dispersion"], rel=1e-5)
    assert contrast.estimate[0] == pytest.approx(log(found.rate_treated[0] / found.rate_control[0]))
    half = Z95 * contrast.standard_error[0]
    limits = contrast.estimate[0] - half, contrast.estimate[0] + half
    assert (contrast.lower[0], contrast.upper[0]) == pytest.approx(limits)
    p = 2 * stats.norm.sf(abs(contrast.estimate[0]) / contrast.standard_error[0])
    assert contrast.p_value(Alternative.DIFFERENT)[0] == pytest.approx(p)


def test_reference_observed_information_equals_statsmodels():
    counts, exposure, treated, included = trials(1, n_reps=4)
    found = rate_ratio(counts, exposure, treated, included, information=Information.OBSERVED)
    for rep in range(4):
        own = included[:, rep]
        columns = np.column_stack([np.ones(own.sum()), treated[own, rep]])
        model = NegativeBinomial(counts[own, rep], columns, exposure=exposure[own, rep])
        seen = model.fit(method="bfgs", disp=False, maxiter=500, gtol=1e-8)
        assert found.contrast.estimate[rep] == pytest.approx(seen.params[1], abs=1e-5)
        assert found.dispersion[rep] == pytest.approx(seen.params[2], abs=1e-5)
        assert found.contrast.standard_error[rep] == pytest.approx(seen.bse[1], rel=1e-5)


def log_likelihood(counts, exposure, treated, rates, dispersion):
    mean = np.where(treated, *rates) * exposure
    if dispersion == 0:
        return stats.poisson.logpmf(counts, mean).sum()
    share = 1 / (1 + dispersion * mean)
    return stats.nbinom.logpmf(counts, 1 / dispersion, share).sum()


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.5, 4.0]))
def test_property_no_other_rates_and_dispersion_are_more_likely(seed, dispersion):
    columns = trials(seed, n_reps=1, dispersion=dispersion)[:3]
    found = rate_ratio(*columns)
    rates = np.array([found.rate_treated[0], found.rate_control[0]])
    best = log_likelihood(*columns, rates, found.dispersion[0])
    for up in (0.99, 1.01):
        for rate in ([up, 1], [1, up], [up, up]):
            assert log_likelihood(*columns, rates * rate, found.dispersion[0]) < best
    for k in np.geomspace(1e-4, 20, 40):
        assert log_likelihood(*columns, rates, k) <= best + 1e-8


def test_analytic_counts_no_more_varied_than_poissons_have_poissons_fit():
    counts, exposure, treated, _ = trials(2, dispersion=0.0, n_reps=200)
    found = rate_ratio(counts, exposure, treated)
    poisson = found.dispersion == 0
    assert 0.3 < poisson.mean() < 0.7
    events = np.array([(counts * arm).sum(axis=0) for arm in (treated, ~treated)])
    time = np.array([(exposure * arm).sum(axis=0) for arm in (treated, ~treated)])
    crude = np.log(events / time)
    estimate = (crude[0] - crude[1])[poisson]
    assert found.contrast.estimate[poisson] == pytest.approx(estimate, rel=1e-10)
    error = np.sqrt((1 / events).sum(axis=0))[poisson]
    assert found.contrast.standard_error[poisson] == pytest.approx(error, rel=1e-10)


def test_analytic_equal_exposures_have_crude_rates():
    counts, _, treated, _ = trials(3)
    found = rate_ratio(counts, np.ones(counts.shape), treated)
    crude = [np.where(arm, counts, 0).sum(axis=0) / arm.sum(axis=0) for arm in (treated, ~treated)]
    assert found.rate_treated == pytest.approx(crude[0], rel=1e-9)
    assert found.rate_control == pytest.approx(crude[1], rel=1e-9)
    # and the expected information in closed form
    variance = sum(
        (1 / rate + found.dispersion) / arm.sum(axis=0)
        for rate, arm in zip(crude, (treated, ~treated), strict=True)
    )
    assert found.contrast.standard_error == pytest.approx(np.sqrt(variance), rel=1e-9)


@given(st.integers(0, 10_000), st.floats(0.001, 1000))
def test_property_swapping_arms_flips_the_sign_and_units_of_time_cancel(seed, unit):
    counts, exposure, treated, included = trials(seed, n_reps=3)
    one = rate_ratio(counts, exposure, treated, included)
    other = rate_ratio(counts, unit * exposure, ~treated, included)
    assert one.contrast.estimate == pytest.approx(-other.contrast.estimate, rel=1e-7, abs=1e-9)
    assert one.contrast.upper == pytest.approx(-other.contrast.lower, rel=1e-7, abs=1e-9)
    assert one.dispersion == pytest.approx(other.dispersion, rel=1e-7)
    assert one.rate_treated == pytest.approx(unit * other.rate_control, rel=1e-7)


def simulated(ratio, n_reps, seed, *, n=150, rate=1.2, dispersion=0.7):
    rng = np.random.default_rng(seed)
    treated = np.zeros((2 * n, n_reps), dtype=bool)
    treated[:n] = True
    mean = np.where(treated, ratio * rate, rate)
    counts = count_of(rng.random(treated.shape), mean, dispersion)
    return rate_ratio(counts, np.ones(treated.shape), treated)


def test_property_power_is_zhu_and_lakkis():
    """Zhu and Lakkis (2014), Statistics in Medicine 33:376-387: variance at the true rates."""
    n_reps, ratio = 5_000, 0.7
    variance = (1 / 1.2 * (1 + 1 / ratio) + 2 * 0.7) / 150
    power = stats.norm.cdf(-log(ratio) / sqrt(variance) - Z95)
    found = simulated(ratio, n_reps, 5)
    rejected = (found.contrast.p_value(Alternative.DIFFERENT) < 0.05).mean()
    tolerance = 4 * sqrt(power * (1 - power) / n_reps) + 0.02  # theirs is an approximation
    assert rejected == pytest.approx(power, abs=tolerance)
    assert not found.contrast.failed.any()


def test_property_level_is_five_percent():
    n_reps = 10_000
    found = simulated(1.0, n_reps, 6)
    rejected = (found.contrast.p_value(Alternative.DIFFERENT) < 0.05).mean()
    # asymptotic: 0.004 is allowed for that beside 4 standard errors
    assert rejected == pytest.approx(0.05, abs=4 * sqrt(0.05 * 0.95 / n_reps) + 0.004)
    assert found.dispersion.mean() == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("dispersion", [0.0, 1e-300, 1e-9, 1e-3, 0.6, 5.0])
@pytest.mark.parametrize("mean", [0.02, 3.0, 60.0, 299.0, 301.0, 2000.0])
def test_reference_counts_are_scipys_quantiles(mean, dispersion):
    luck = np.append(np.random.default_rng(7).random(500), [0.0, 1e-9, 1 - 1e-9, 1 - 2**-53])
    found = count_of(luck, mean, dispersion)
    if dispersion < 1e-100:
        law = stats.poisson(mean)
    else:
        law = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
    rounding = 1e-12 if dispersion != 1e-9 else 1e-8  # 1 / (1 + 1e-9 mean) has lost digits
    assert (law.cdf(found) >= luck - rounding).all()
    assert (law.cdf(found - 1) <= luck + rounding).all()


def test_analytic_counts_have_the_mean_and_variance_asked_for():
    luck = (np.arange(200_000) + 0.5) / 200_000
    for mean, dispersion in ((0.7, 0.0), (4.0, 0.5), (500.0, 0.1)):
        counts = count_of(luck, mean, dispersion)
        assert counts.mean() == pytest.approx(mean, rel=1e-3)
        assert counts.var() == pytest.approx(mean + dispersion * mean**2, rel=3e-3)


@given(st.integers(0, 10_000), st.floats(0, 400), st.floats(1, 3), st.floats(0, 5))
def test_property_the_same_luck_with_a_larger_mean_is_never_a_smaller_count(
    seed, mean, more, dispersion
):
    luck = np.random.default_rng(seed).random((20, 10))
    assert (count_of(luck, more * mean, dispersion) >= count_of(luck, mean, dispersion)).all()
    assert (np.diff(count_of(np.sort(luck.ravel()), mean, dispersion)) >= 0).all()


def test_regression_no_mean_no_event_and_each_patient_has_his_own_law():
    luck = np.full((2, 3), 0.9)
    mean = np.array([0.0, 2.0, 900.0])
    dispersion = np.array([[0.0], [1.5]])
    found = count_of(luck, mean, dispersion)
    expected = [
        [0, *stats.poisson.ppf(0.9, mean[1:])],
        [0, *stats.nbinom.ppf(0.9, 1 / 1.5, 1 / (1 + 1.5 * mean[1:]))],
    ]
    assert found.tolist() == expected


def test_regression_no_estimate_is_nan_and_failed_while_its_neighbours_stand():
    counts, exposure, treated, _ = trials(8)
    alone = rate_ratio(counts, exposure, treated).contrast.statistic
    included = np.ones(treated.shape, dtype=bool)
    included[:, 0] = treated[:, 0]  # nobody in control
    counts[treated[:, 1], 1] = 0  # no event
    exposure[~treated[:, 2], 2] = 0  # no exposure
    included[:, 3] = False
    found = rate_ratio(counts, exposure, treated, included).contrast
    assert found.failed.tolist() == [True] * 4 + [False] * 4
    for column in (*found[:5], found.p_value(Alternative.SMALLER)):
        assert np.isnan(column).tolist() == found.failed.tolist()
    assert found.statistic[4:] == pytest.approx(alone[4:], rel=1e-10)


def test_regression_who_is_left_out_is_not_read():
    counts, exposure, treated, included = trials(9)
    one = rate_ratio(counts, exposure, treated, included)
    other = rate_ratio(
        np.where(included, counts, -5), np.where(included, exposure, np.nan), treated, included
    )
    assert np.array_equal(one.contrast.statistic, other.contrast.statistic)


def test_regression_hard_counts_converge():
    """One patient with all events of an arm; counts in the thousands; one patient per arm."""
    treated = np.repeat(np.array([[True], [False]]), 20, axis=0) & np.ones(3, dtype=bool)
    counts = np.ones(treated.shape, dtype=int)
    counts[treated[:, 0], 0] = 0
    counts[0, 0] = 500
    counts[:, 1] = count_of(np.linspace(0.01, 0.99, 40), 3000.0, 2.0)
    exposure = np.ones(treated.shape)
    exposure[1:20, 2] = exposure[21:, 2] = 0
    found = rate_ratio(counts, exposure, treated)
    assert not found.contrast.failed.any()
    assert found.contrast.estimate[[0, 2]] == pytest.approx([log(25), 0], abs=1e-9)
    assert found.dispersion[2] == 0
