"""Effects less their bias: the exact identities, other kernels, and simulated literatures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from conftest import ROOT
from trialsim.kernels.bias_adjustment import adjusted_pool, bias_moments, next_effect
from trialsim.kernels.random_effects import Estimator, random_effects

R = json.loads((ROOT / "tests" / "reference" / "bias_adjustment.json").read_text(encoding="utf-8"))
RANDOM = np.random.default_rng(12)
LITERATURES = [
    (RANDOM.normal(-0.3, 0.4, k), RANDOM.uniform(0.01, 0.3, k)) for k in (2, 3, 5, 11, 30)
]
FIRST = np.log([0.41, 0.82]), np.array([0.266, 0.117]) ** 2


def none(y):
    return np.zeros(len(y)), np.zeros(len(y))


@pytest.mark.parametrize(("y", "v"), LITERATURES)
def test_analytic_without_bias_it_is_the_naive_pool(y, v):
    fixed = random_effects(y[None], v[None], Estimator.EQUAL_EFFECTS)
    reml = random_effects(y[None], v[None], Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD)
    equal = adjusted_pool(y, v, *none(y), tau2=0.0)
    assert abs(equal.estimate - fixed.estimate[0]) <= 1e-12
    assert abs(equal.standard_error - fixed.standard_error[0]) <= 1e-12
    random = adjusted_pool(y, v, *none(y), np.zeros((len(y), len(y))))
    assert random.tau2 == pytest.approx(reml.between.tau2[0], abs=1e-9)
    assert random.estimate == pytest.approx(reml.estimate[0], abs=1e-9)
    same = adjusted_pool(y, v, *none(y))
    assert abs(random.estimate - same.estimate) <= 1e-12
    assert random.weights.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("y", "v"), [*LITERATURES, FIRST])
@pytest.mark.parametrize("tau2", [0.0, 0.05, None])
def test_analytic_one_mean_bias_in_every_trial_is_taken_off(y, v, tau2):
    naive = adjusted_pool(y, v, *none(y), tau2=tau2)
    adjusted = adjusted_pool(y, v, np.full(len(y), -0.223), np.zeros(len(y)), tau2=tau2)
    assert abs(adjusted.estimate - (naive.estimate + 0.223)) <= 1e-12
    assert abs(adjusted.standard_error - naive.standard_error) <= 1e-12


@pytest.mark.parametrize(("y", "v"), LITERATURES[1:])
@pytest.mark.parametrize("tau2", [0.0, None])
def test_analytic_a_trial_of_infinite_bias_variance_drops_out(y, v, tau2):
    variance = np.zeros(len(y))
    variance[1] = np.inf
    shared = np.full((len(y), len(y)), 0.01)
    adjusted = adjusted_pool(y, v, np.zeros(len(y)), variance, shared, tau2=tau2)
    rest = np.arange(len(y)) != 1
    without = adjusted_pool(y[rest], v[rest], *none(y[rest]), shared[1:, 1:], tau2=tau2)
    assert abs(adjusted.estimate - without.estimate) <= 1e-12
    assert adjusted.weights[1] == 0
    variance[1] = 1e12  # and it is the limit of ever larger ones
    near = adjusted_pool(y, v, np.zeros(len(y)), variance, shared, tau2=without.tau2)
    assert near.estimate == pytest.approx(without.estimate, abs=1e-9)


@pytest.mark.parametrize("case", R["cases"], ids=lambda c: f"{len(c['y'])} trials")
def test_reference_a_shared_covariance_is_that_of_metafor(case):
    keys = ("flawed", "mean", "mean_variance", "kappa")
    flawed, *numbers = (np.array(case[key], dtype=float) for key in keys)
    moments = bias_moments(flawed.reshape(len(case["y"]), -1).astype(bool), *numbers)
    y, v = np.array(case["y"]), np.array(case["v"])
    equal = adjusted_pool(y, v, *moments, tau2=0.0)
    assert equal.estimate == pytest.approx(case["equal"], abs=1e-9)
    assert equal.standard_error == pytest.approx(case["equal_se"], abs=1e-9)
    random = adjusted_pool(y, v, *moments)
    assert random.tau2 == pytest.approx(case["tau2"], abs=1e-6)
    assert random.estimate == pytest.approx(case["estimate"], abs=1e-6)
    assert random.standard_error == pytest.approx(case["se"], abs=1e-6)


def test_analytic_no_trial_left_has_no_estimate():
    y, v = FIRST
    gone = adjusted_pool(y, v, np.zeros(2), np.full(2, np.inf))
    assert np.isnan(gone.estimate)
    assert not gone.weights.any()
    assert adjusted_pool(y, v, np.zeros(2), np.array([np.inf, 0.0])).tau2 == 0.0


def test_analytic_a_shared_bias_is_that_of_brute_force_integration():
    # y1, y2 flawed with one mean bias b ~ N(m, s2), y3 sound: integrate b out numerically
    y, v = np.array([-0.9, -0.7, -0.1]), np.array([0.05, 0.08, 0.02])
    flawed = np.array([[True], [True], [False]])
    m, s2, kappa = -0.3, 0.09, 0.1
    moments = bias_moments(flawed, np.array([m]), np.array([s2]), np.array([kappa]))
    found = adjusted_pool(y, v, *moments, tau2=0.01)
    b = np.linspace(m - 8 * s2**0.5, m + 8 * s2**0.5, 4001)
    total = v + 0.01 + np.array([kappa**2, kappa**2, 0])
    precision = (1 / total).sum()
    mean = ((y - np.outer(b, [1, 1, 0])) / total).sum(axis=1) / precision
    left = y - np.outer(b, [1, 1, 0]) - mean[:, None]
    weight = np.exp(-0.5 * (left**2 / total).sum(axis=1) - (b - m) ** 2 / (2 * s2))
    weight /= weight.sum()
    expected = (weight * mean).sum()
    variance = 1 / precision + (weight * (mean - expected) ** 2).sum()
    assert found.estimate == pytest.approx(expected, abs=1e-9)
    assert found.standard_error == pytest.approx(variance**0.5, abs=1e-9)


def test_property_adjusted_intervals_cover_where_the_priors_are_right():
    random, n, k = np.random.default_rng(7), 4_000, 8
    flawed = np.arange(k)[:, None] < np.array([5, 3])
    mean, mean_variance = np.array([-0.25, -0.1]), np.array([0.01, 0.02])
    kappa, v, tau2, effect = np.array([0.1, 0.15]), np.linspace(0.02, 0.2, k), 0.02, -0.1
    moments = bias_moments(flawed, mean, mean_variance, kappa)
    inside = np.empty(n)
    for i in range(n):
        own = random.normal(mean, np.sqrt(mean_variance)) + random.normal(0, kappa, (k, 2))
        y = random.normal(effect, np.sqrt(v + tau2)) + np.where(flawed, own, 0).sum(axis=1)
        found = adjusted_pool(y, v, *moments, tau2=tau2)
        inside[i] = abs(found.estimate - effect) <= 1.959964 * found.standard_error
    assert abs(inside.mean() - 0.95) <= 4 * (0.95 * 0.05 / n) ** 0.5


def chance_below(x, y, v, scale):
    """Mean effect, spread and next effect from scratch, on a grid: no pooling formula."""
    tau = (np.arange(500) + 0.5) / 500 * 5 * scale
    mu = np.linspace(-5, 5, 501)[:, None]
    log_joint = stats.halfnorm.logpdf(tau, scale=scale) + np.zeros_like(mu)
    for value, variance in zip(y, v, strict=True):
        log_joint = log_joint + stats.norm.logpdf(value, mu, np.sqrt(variance + tau**2))
    joint = np.exp(log_joint - log_joint.max())
    return float((joint * stats.norm.cdf(x, mu, tau)).sum() / joint.sum())


@pytest.mark.parametrize(("y", "v"), [LITERATURES[0], FIRST, LITERATURES[3]])
@pytest.mark.parametrize("scale", [0.5])
def test_analytic_the_next_effect_is_that_of_brute_force_integration(y, v, scale):
    found = next_effect(y, v, *none(y), tau_scale=scale)
    for x in (-1.5, -0.6, 0.1, 1.0):
        assert found.cdf(x) == pytest.approx(chance_below(x, y, v, scale), abs=1e-4)
    assert found.cdf(found.inv_cdf(0.9)) == pytest.approx(0.9, abs=1e-9)
    step = 1e-4
    slope = (found.cdf(0.2 + step) - found.cdf(0.2 - step)) / (2 * step)
    assert found.pdf(0.2) == pytest.approx(slope, rel=1e-5)


def test_analytic_one_trial_leaves_the_spread_at_its_prior():
    y, v = np.array([-0.4]), np.array([0.05])
    found = next_effect(y, v, *none(y), tau_scale=0.5)
    assert found.mean == pytest.approx(-0.4, abs=1e-12)
    assert found.stdev == pytest.approx((0.05 + 2 * 0.5**2) ** 0.5, abs=1e-6)  # v + E 2 tau^2
    assert found.tau == pytest.approx(0.5 * stats.norm.ppf(0.75), abs=1e-3)


def test_analytic_of_many_trials_it_is_the_plug_in_interval():
    random = np.random.default_rng(5)
    v = random.uniform(0.01, 0.05, 120)
    y = random.normal(-0.3, np.sqrt(v + 0.3**2))
    found = next_effect(y, v, *none(y), tau_scale=0.5)
    pool = adjusted_pool(y, v, *none(y))
    plugged = (pool.standard_error**2 + pool.tau2) ** 0.5
    assert found.mean == pytest.approx(pool.estimate, abs=1e-3)
    assert found.stdev == pytest.approx(plugged, rel=0.02)


def test_property_a_bias_of_unknown_mean_widens_the_next_effect():
    y, v = FIRST
    naive = next_effect(y, v, *none(y), tau_scale=0.5)
    shared = np.full((2, 2), 0.2)
    wide = next_effect(y, v, *none(y), shared, tau_scale=0.5)
    assert wide.stdev**2 == pytest.approx(naive.stdev**2 + 0.2, rel=1e-9)
    gone = next_effect(y, v, np.zeros(2), np.array([np.inf, 0.0]), tau_scale=0.5)
    alone = next_effect(y[1:], v[1:], *none(y[1:]), tau_scale=0.5)
    assert gone.stdev == alone.stdev
    with pytest.raises(ValueError, match="no trial"):
        next_effect(y, v, np.zeros(2), np.full(2, np.inf), tau_scale=0.5)
