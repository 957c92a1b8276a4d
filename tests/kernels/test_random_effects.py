"""Random effects: against metafor, by hand, by a general maximiser, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats

from literatures import CALLS, EFFECTS, LATITUDE, METAFOR, random_tables
from trialsim.kernels import random_effects as module
from trialsim.kernels.pooling import effects
from trialsim.kernels.proportions import Scale
from trialsim.kernels.random_effects import (
    Estimator,
    Inference,
    between_trials,
    log_likelihoods,
    meta_regression,
    q_profile,
    random_effects,
)

TESTS = {
    "z": Inference.NORMAL,
    "knha": Inference.KNAPP_HARTUNG,
    "adhoc": Inference.KNAPP_HARTUNG_FLOORED,
}
NAMES = {
    "beta": "estimate",
    "se": "standard_error",
    "zval": "statistic",
    "pval": "p_value",
    "ci.lb": "lower",
    "ci.ub": "upper",
    "pi.lb": "prediction_lower",
    "pi.ub": "prediction_upper",
    "ddf": "degrees_of_freedom",
    "I2": "i2",
    "H2": "h2",
    "QE": "q",
    "QEp": "q_p_value",
    "k": "n_trials",
}
FITS = [
    (figure, *figure.rsplit("_", 2))
    for figure in METAFOR
    if figure.rsplit("_", 1)[1] in TESTS and "metareg" not in figure
]
RANDOM = effects(random_tables(60), Scale.ODDS_RATIO)
REML = Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD


@pytest.mark.parametrize(("figure", "data", "estimator", "test"), FITS, ids=[f[0] for f in FITS])
def test_reference_pooling_is_that_of_metafor(figure, data, estimator, test):
    theirs, own = METAFOR[figure], EFFECTS[data]
    found = random_effects(own.estimates, own.variances, Estimator(estimator), TESTS[test])
    for name, ours in NAMES.items():
        if name in theirs:
            assert_allclose(getattr(found, ours)[0], theirs[name], rtol=1e-6, err_msg=name)
    assert_allclose(found.between.tau2[0], theirs["tau2"], rtol=1e-6)
    if "se.tau2" in theirs:
        assert_allclose(found.between.standard_error[0], theirs["se.tau2"], rtol=1e-6)
    likelihoods = log_likelihoods(own.estimates, own.variances, found.between.tau2)
    assert_allclose(np.ravel(likelihoods), theirs["ll"], rtol=1e-8)


def test_property_every_fit_of_the_reference_file_is_compared():
    asked = {figure for figure, call in CALLS.items() if call.startswith("rma(yi,vi,")}
    assert {figure for figure, *_ in FITS} == asked
    assert len(asked) == 51


@pytest.mark.parametrize("test", ["z", "knha"])
def test_reference_a_line_through_the_effects_is_that_of_metafor(test):
    theirs = METAFOR["bcg_metareg_ablat_REML" + ("_knha" if test == "knha" else "")]
    own = EFFECTS["bcg"]
    found = meta_regression(own.estimates, own.variances, LATITUDE, REML, TESTS[test])
    for name, ours in {
        "beta": "coefficients",
        "se": "standard_errors",
        "zval": "statistics",
        "pval": "p_values",
        "ci.lb": "lower",
        "ci.ub": "upper",
        "I2": "i2",
        "H2": "h2",
        "QE": "q",
        "QEp": "q_p_value",
    }.items():
        assert_allclose(getattr(found, ours)[0], theirs[name], rtol=1e-6, err_msg=name)
    assert_allclose(found.between.tau2[0], theirs["tau2"], rtol=1e-6)
    likelihoods = log_likelihoods(own.estimates, own.variances, found.between.tau2, LATITUDE)
    assert_allclose(np.ravel(likelihoods), theirs["ll"], rtol=1e-8)


def test_analytic_the_profile_interval_ends_where_q_meets_its_quantiles():
    """The reference file's ends are 1e-4 off: the root finder stopped at its default tolerance."""
    own = EFFECTS["bcg_or"]
    found = q_profile(own.estimates, own.variances)
    y, v = own.estimates[0], own.variances[0]
    for end, probability in ((found.tau2_lower[0], 0.975), (found.tau2_upper[0], 0.025)):
        w = 1 / (v + end)
        q = (w * (y - np.average(y, weights=w)) ** 2).sum()
        assert_allclose(q, stats.chi2.ppf(probability, 12), rtol=1e-9)
    tau2, _, i2, h2 = METAFOR["bcg_or_confint_tau2_Qprofile"]
    assert_allclose([found.tau2_lower[0], found.tau2_upper[0]], tau2[1:], rtol=1e-4)
    assert_allclose([found.i2_lower[0], found.i2_upper[0]], i2[1:], rtol=1e-4)
    assert_allclose([found.h2_lower[0], found.h2_upper[0]], h2[1:], rtol=1e-4)


def test_analytic_dersimonian_and_laird_by_hand():
    """Effects 0, 1, 2 with variances 1, 1/2, 1/2: w 1, 2, 2; mean 1.2; Q 2.8; C 3.2."""
    y, v = np.array([[0.0, 1.0, 2.0]]), np.array([[1.0, 0.5, 0.5]])
    found = random_effects(y, v, Estimator.DERSIMONIAN_LAIRD)
    assert_allclose(found.q, 2.8, rtol=1e-14)
    assert_allclose(found.between.tau2, 0.8 / 3.2, rtol=1e-14)
    w = np.array([1 / 1.25, 1 / 0.75, 1 / 0.75])
    assert_allclose(found.estimate, (w[1] + 2 * w[2]) / w.sum(), rtol=1e-14)
    assert_allclose(found.standard_error, w.sum() ** -0.5, rtol=1e-14)


@pytest.mark.parametrize("restricted", [False, True])
def test_analytic_likelihoods_are_those_of_the_normal_distribution(restricted):
    own = EFFECTS["small_rd"]
    y, v, tau2 = own.estimates[0], own.variances[0], 0.001
    if restricted:  # of contrasts that know nothing of the mean
        contrasts = np.linalg.svd(np.ones((1, 11)))[2][1:]
        law = stats.multivariate_normal(cov=contrasts @ np.diag(v + tau2) @ contrasts.T)
        expected = law.logpdf(contrasts @ y)
    else:
        mean = np.average(y, weights=1 / (v + tau2))
        expected = stats.norm.logpdf(y, mean, np.sqrt(v + tau2)).sum()
    found = log_likelihoods(own.estimates, own.variances, np.array([tau2]))[restricted]
    assert_allclose(found[0], expected, rtol=1e-12)


@pytest.mark.parametrize("restricted", [False, True])
def test_analytic_no_tau2_is_more_likely_than_the_one_found(restricted):
    estimator = REML if restricted else Estimator.MAXIMUM_LIKELIHOOD
    y, v = RANDOM.estimates, RANDOM.variances
    found = between_trials(y, v, estimator)
    assert not found.not_converged.any()

    def likelihood(tau2):
        return log_likelihoods(y, v, np.broadcast_to(tau2, len(y)))[restricted]

    reached = likelihood(found.tau2)
    for tau2 in (0.0, *np.geomspace(1e-6, 20, 300)):
        assert (likelihood(tau2) <= reached + 1e-10).all()
    some = np.flatnonzero(found.tau2 > 0)[:8]
    for k in some:
        best = optimize.minimize_scalar(
            lambda t, k=k: -log_likelihoods(y[[k]], v[[k]], np.array([t]))[restricted][0],
            bracket=(found.tau2[k] * 0.8, found.tau2[k], found.tau2[k] * 1.2),
            tol=1e-12,
        )
        assert_allclose(found.tau2[k], best.x, rtol=1e-5)


def test_analytic_paule_and_mandel_and_empirical_bayes_solve_their_equations():
    y, v = RANDOM.estimates, RANDOM.variances
    found = between_trials(y, v, Estimator.PAULE_MANDEL).tau2
    k = (~np.isnan(y)).sum(axis=1)
    w = 1 / (v + found[:, None])
    mean = np.nansum(w * y, axis=1) / np.nansum(w, axis=1)
    q = np.nansum(w * (y - mean[:, None]) ** 2, axis=1)
    assert (found > 0).sum() > 20
    assert_allclose(q[found > 0], k[found > 0] - 1, rtol=1e-9)
    assert (q[found == 0] <= k[found == 0] - 1).all()
    assert_array_equal(between_trials(y, v, Estimator.EMPIRICAL_BAYES).tau2, found)


@pytest.mark.parametrize("estimator", Estimator)
def test_analytic_with_equal_variances_estimators_have_closed_forms(estimator):
    """Equal variances v, sum of squares S around the mean, k = 5."""
    y, v = np.array([[0.1, -1.2, 0.9, 2.0, 0.4]]), np.full((1, 5), 0.3)
    squares = ((y - y.mean()) ** 2).sum()
    moments = squares / 4 - 0.3
    expected = {
        "FE": 0.0,
        "ML": squares / 5 - 0.3,
        "HS": squares / 5 - 0.3,
        "SJ": squares / 5 * (squares / (0.3 + squares / 5)) / 4,
    }
    tau2 = between_trials(y, v, estimator).tau2[0]
    assert_allclose(tau2, expected.get(estimator.value, moments), rtol=1e-10)


@pytest.mark.parametrize("estimator", Estimator)
@pytest.mark.parametrize("inference", Inference)
def test_property_alone_as_in_company_in_any_order_and_on_any_scale(estimator, inference):
    y, v = RANDOM.estimates, RANDOM.variances
    together = random_effects(y, v, estimator, inference)
    order = np.random.default_rng(3).permutation(11)
    shuffled = random_effects(y[:, order], v[:, order], estimator, inference)
    scaled = random_effects(100 * y, 1e4 * v, estimator, inference)
    assert not together.failed.any()
    assert_allclose(scaled.between.tau2, 1e4 * together.between.tau2, rtol=1e-7, atol=1e-6)
    assert_allclose(scaled.estimate, 100 * together.estimate, rtol=1e-7)
    for k in range(0, len(y), 7):
        alone = random_effects(y[[k]], v[[k]], estimator, inference)
        seen = ~np.isnan(y[k])
        compact = random_effects(y[[k]][:, seen], v[[k]][:, seen], estimator, inference)
        for name in ("estimate", "standard_error", "p_value", "q", "prediction_upper", "i2"):
            value = getattr(together, name)[k]
            assert_array_equal(getattr(alone, name)[0], value)
            assert_allclose(getattr(compact, name)[0], value, rtol=1e-8, atol=1e-10)
            assert_allclose(getattr(shuffled, name)[k], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("estimator", Estimator)
def test_property_equal_trials_have_no_variance_between_them(estimator):
    v = np.array([[0.1, 0.4, 0.2, 0.7]])
    found = random_effects(np.full((1, 4), -0.3), v, estimator)
    assert found.between.tau2[0] == 0
    assert_allclose(found.estimate, -0.3, rtol=1e-12)
    assert found.i2[0] == 0
    profile = q_profile(np.full((1, 4), -0.3), v)
    assert (profile.tau2_lower[0], profile.tau2_upper[0], profile.empty[0]) == (0, 0, True)


@pytest.mark.parametrize("estimator", Estimator)
def test_property_too_few_trials_are_said_and_give_no_number(estimator):
    nan = np.nan
    y = np.array([[nan, nan, nan], [0.2, nan, nan], [0.2, 0.4, nan]])
    found = random_effects(y, np.full((3, 3), 0.1), estimator)
    none, one = (True, False) if estimator is Estimator.EQUAL_EFFECTS else (True, True)
    assert_array_equal(found.between.too_few, [none, one, False])
    assert_array_equal(found.failed, [none, one, False])
    assert_array_equal(np.isnan(found.between.tau2), found.failed)
    assert_array_equal(np.isnan(found.q), [True, True, False])
    assert not found.between.not_converged.any()


@pytest.mark.parametrize("estimator", ["ML", "REML", "PM", "EB"])
def test_property_what_does_not_converge_is_counted_and_gives_no_number(estimator, monkeypatch):
    y, v = RANDOM.estimates, RANDOM.variances
    full = between_trials(y, v, Estimator(estimator))
    monkeypatch.setattr(module, "_MOST_STEPS", 2)
    cut = random_effects(y, v, Estimator(estimator))
    lost = cut.between.not_converged
    assert 0 < lost.sum() < len(y)
    assert not full.not_converged.any()
    for name in ("estimate", "standard_error", "p_value", "i2", "prediction_lower"):
        assert_array_equal(np.isnan(getattr(cut, name)), lost)
    assert_allclose(cut.between.tau2[~lost], full.tau2[~lost], rtol=1e-9, atol=1e-12)


def test_property_a_variance_of_zero_is_refused():
    with pytest.raises(ValueError, match="variances must be above 0"):
        random_effects(np.zeros((1, 2)), np.array([[0.1, 0.0]]), REML)
    with pytest.raises(ValueError, match="must have one shape"):
        random_effects(np.zeros((1, 2)), np.ones((1, 3)), REML)


def test_analytic_coverage_of_normal_literatures():
    """Equal variances: by Knapp and Hartung exactly 95% of intervals hold the mean; so do profiles.

    20,000 literatures of 8 trials, v = 0.1, tau2 = 0.2.
    """
    rng = np.random.default_rng(20)
    y = rng.normal(-0.2, np.sqrt(0.3), (20_000, 8))
    v = np.full(y.shape, 0.1)
    found = random_effects(y, v, REML, Inference.KNAPP_HARTUNG)
    held = (found.lower < -0.2) & (found.upper > -0.2)
    profile = q_profile(y, v)
    inside = (profile.tau2_lower <= 0.2) & (profile.tau2_upper >= 0.2)
    mcse = np.sqrt(0.95 * 0.05 / len(y))
    assert abs(held.mean() - 0.95) < 4 * mcse
    assert abs(inside.mean() - 0.95) < 4 * mcse
