"""Marginal likelihoods of explanations: exact cases, brute force, and what draws must give back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from trialsim.kernels.explanations import (
    Contrasts,
    FilteredExplanation,
    LinearExplanation,
    NextRecords,
    Records,
    SelectedMean,
    draw_ahead,
    draw_records,
    log_marginal,
    log_predictive,
    posterior_of,
)

RECORDS = Records(np.array([0.053, 0.020, 0.071, 0.40]), np.array([1.0, 1.0, 6.0, 3.0]))
PARTS = Contrasts(np.array([0.28, 0.30]), np.array([True, False]))
NONE = Contrasts()
Y = np.array([-0.43, -0.04, -0.89, -1.01])
C = np.array([-0.72, -0.69])
SD = 0.35
ONES = np.ones((4, 1))
CHANCE = LinearExplanation(ONES, np.zeros(1), np.array([SD**2]), np.zeros(4))
LOWER = np.array([[1.0, 0], [1, 0], [1, 1], [1, 0]])
QUALITY = LinearExplanation(
    LOWER, np.array([0.0, -0.31]), np.array([SD**2, 0.04]), np.array([0, 0, 0.011, 0])
)
VARYING = LinearExplanation(ONES, np.zeros(1), np.array([SD**2]), np.zeros(4), 0.35)
FILTER = FilteredExplanation(np.array([False, False, True, True]), 0, SD, 1.36, 0.82, 0.73)
EVERY = {"chance": CHANCE, "quality": QUALITY, "varying": VARYING, "filter": FILTER}


def marginal(own, records=RECORDS, parts=PARTS, y=Y, c=C):
    return float(log_marginal(own, records, parts, y[None, :], c[None, :])[0])


def test_analytic_one_effect_is_the_conjugate_normal():
    covariance = np.diag(RECORDS.variances) + SD**2
    exact = stats.multivariate_normal(np.zeros(4), covariance).logpdf(Y)
    assert marginal(CHANCE, parts=NONE, c=np.zeros(0)) == pytest.approx(exact, abs=1e-9)
    found = posterior_of(CHANCE, RECORDS, NONE, Y, np.zeros(0))
    precision = 1 / SD**2 + (1 / RECORDS.variances).sum()
    assert found.means[0, 0] == pytest.approx((Y / RECORDS.variances).sum() / precision, abs=1e-12)
    assert found.covariances[0, 0, 0] == pytest.approx(1 / precision, abs=1e-12)


def test_analytic_a_known_shift_of_0_and_a_filter_that_holds_nothing_back_are_chance():
    nothing = LinearExplanation(LOWER, np.zeros(2), np.array([SD**2, 1e-14]), np.zeros(4))
    assert marginal(nothing) == pytest.approx(marginal(CHANCE), abs=1e-9)
    open_filter = FilteredExplanation(np.zeros(4, dtype=bool), 0, SD, 1.36, 0.82, 0.73)
    assert marginal(open_filter) == pytest.approx(marginal(CHANCE), abs=1e-7)
    all_out = FilteredExplanation(np.ones(4, dtype=bool), 0, SD, -60.0, 1.0, 0.73)
    assert marginal(all_out) == pytest.approx(marginal(CHANCE), abs=2e-3)


def test_analytic_spread_between_populations_is_its_integral():
    def at(tau):
        covariance = np.diag(RECORDS.variances + tau**2 / RECORDS.n_trials) + SD**2
        both = np.sqrt(PARTS.errors**2 + 2 * tau**2)
        own = stats.norm.pdf(C, 0, both)
        own[0] /= 2 * stats.norm.cdf(-1.959963984540054 * PARTS.errors[0] / both[0])
        prior = 2 * stats.norm.pdf(tau, 0, 0.35)
        return prior * own.prod() * stats.multivariate_normal(np.zeros(4), covariance).pdf(Y)

    exact = integrate.quad(at, 0, 0.35 * 8, epsabs=0, epsrel=1e-10)[0]
    assert np.exp(marginal(VARYING)) == pytest.approx(exact, rel=1e-7)


def test_analytic_a_filter_over_single_trials_is_its_integral():
    records = Records(RECORDS.variances[:3], np.ones(3))
    own = FilteredExplanation(np.array([False, True, True]), 0, SD, 1.36, 0.82, 0.73)
    error = np.sqrt(records.variances)

    def at(effect, log_odds):
        odds = 0.73 / 0.27 / np.exp(log_odds)
        held = np.maximum(0.0, 1 - odds / (1 + odds) / 0.73)
        density = stats.norm.pdf(Y[0], effect, error[0])
        for i in (1, 2):
            cut = -1.959963984540054 * error[i]
            favour = stats.norm.cdf(cut, effect, error[i])
            share = (1 if Y[i] < cut else 1 - held) / (favour + (1 - held) * (1 - favour))
            density = density * stats.norm.pdf(Y[i], effect, error[i]) * share
        return density * stats.norm.pdf(effect, 0, SD) * stats.norm.pdf(log_odds, 1.36, 0.82)

    x, w = np.polynomial.legendre.leggauss(200)
    effects, exact = 6 * SD * x, 0.0
    for low, high in ((-6, 0), (0, 7)):  # the strength has a kink at 0
        log_odds = low + (high - low) * (x + 1) / 2
        values = at(effects[:, None], log_odds)
        exact += w @ values @ w * 6 * SD * (high - low) / 2
    found = np.exp(marginal(own, records, NONE, Y[:3], np.zeros(0)))
    assert found == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("name", ["chance", "quality", "varying"])
def test_property_marginal_likelihood_is_the_mean_over_the_prior(name):
    own, n = EVERY[name], 400_000
    rng = np.random.default_rng(11)
    coefficients = own.means + np.sqrt(own.variances) * rng.standard_normal((n, len(own.means)))
    tau2 = (own.tau_scale * rng.standard_normal((n, 1))) ** 2
    spread = RECORDS.variances + (own.own_variances + tau2) / RECORDS.n_trials
    likelihood = stats.norm.pdf(Y, coefficients @ own.design.T, np.sqrt(spread)).prod(axis=1)
    both = np.sqrt(PARTS.errors**2 + 2 * tau2)
    parts = stats.norm.pdf(C, 0, both)
    parts[:, 0] /= 2 * stats.norm.cdf(-1.959963984540054 * PARTS.errors[0] / both[:, 0])
    likelihood *= parts.prod(axis=1)
    mcse = likelihood.std() / np.sqrt(n)
    assert abs(np.exp(marginal(own)) - likelihood.mean()) < 4 * mcse


def test_property_filtered_means_are_as_dense_as_trials_drawn_one_by_one():
    rng, n, error, effect, strength = np.random.default_rng(5), 400_000, 0.266, -0.2, 0.44
    z = rng.standard_normal((3 * n, 6)) + effect / (error * np.sqrt(6))
    out = (z < -1.959963984540054) | (rng.uniform(size=z.shape) >= strength)
    published = z[out][: 6 * n].reshape(n, 6) * error * np.sqrt(6)
    means = published.mean(axis=1)
    edges = np.quantile(means, np.linspace(0.02, 0.98, 13))
    kernel = SelectedMean(np.array([effect]), np.array([strength]), error, 6)
    grid = np.concatenate([np.linspace(a, b, 201) for a, b in pairwise(edges)])
    density = np.exp(kernel.log_density(grid)[:, 0, 0]).reshape(12, 201)
    width = np.diff(edges) / 200
    shares = np.trapezoid(density, axis=1) * width
    drawn = np.histogram(means, edges)[0] / n
    assert np.all(np.abs(shares - drawn) < 4 * np.sqrt(drawn * (1 - drawn) / n))


@pytest.mark.parametrize("name", list(EVERY))
def test_property_literatures_of_an_explanation_come_back_with_expectation_1(name):
    """Under A the mean of p(y | B) / p(y | A) is 1."""
    own, other = EVERY[name], CHANCE if name != "chance" else QUALITY
    y, c = draw_records(own, RECORDS, PARTS, 3_000, np.random.default_rng(3))
    data = (RECORDS, PARTS, y, c)
    ratio = np.exp(log_marginal(other, *data) - log_marginal(own, *data))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))


@pytest.mark.parametrize("name", list(EVERY))
def test_property_predictions_are_drawn_from_the_density_they_have(name):
    found = posterior_of(EVERY[name], RECORDS, PARTS, Y, C)
    design = np.ones((1, found.means.shape[1]))
    ahead = NextRecords(
        Records(np.array([0.03]), np.array([1.0])), design, np.zeros(1), Contrasts()
    )
    y, c = draw_ahead(found, ahead, 20_000, np.random.default_rng(2))
    assert abs(found.weights.sum() - 1) < 1e-12
    grid = np.linspace(-8, 7, 6001)[:, None]
    density = np.exp(log_predictive(found, ahead, grid, np.zeros((6001, 0))))
    step = 15 / 6000
    assert density.sum() * step == pytest.approx(1, abs=1e-6)
    mean = (density * grid[:, 0]).sum() * step
    assert abs(y.mean() - mean) < 4 * y.std() / np.sqrt(len(y))
    squared = (y - mean) ** 2
    variance = (density * (grid[:, 0] - mean) ** 2).sum() * step
    assert abs(squared.mean() - variance) < 4 * squared.std() / np.sqrt(len(y))
    assert c.shape == (20_000, 0)
