"""Group-sequential recursion against scipy's normal integrals, closed forms and its own inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from trialsim.kernels import boundaries
from trialsim.kernels.boundaries import NormalPrior, Region, Standing

INF = np.inf
PAIRS = [(0.5, 1.0), (0.05, 1.0), (0.95, 1.0), (0.01, 0.02), (0.99, 1.0)]
BOUNDS = [(-INF, 2.2), (-2.2, 2.2), (0.3, 2.5), (-INF, INF), (-1.0, INF)]
DRIFTS = [0.0, 1.0, 3.0, 10.0, -4.0]


def rectangle(low, high, correlation):
    """Probability of a box under a standard bivariate normal, by scipy."""
    law = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    reach = 12.0
    return law.cdf(np.clip(high, -reach, reach), lower_limit=np.clip(low, -reach, reach))


@pytest.mark.parametrize("t", PAIRS)
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("drift", DRIFTS)
def test_analytic_two_looks_equal_the_bivariate_normal(t, bounds, drift):
    low, high = bounds
    found = boundaries.crossing_probabilities(t, [low, 0.5], [high, 1.9], drift)
    mean = drift * np.sqrt(t)
    correlation = np.sqrt(t[0] / t[1])
    above = rectangle([low - mean[0], 1.9 - mean[1]], [high - mean[0], INF], correlation)
    below = rectangle([low - mean[0], -INF], [high - mean[0], 0.5 - mean[1]], correlation)
    assert found.upper == pytest.approx([norm.sf(high - mean[0]), above], abs=1e-8)
    assert found.lower == pytest.approx([norm.cdf(low - mean[0]), below], abs=1e-8)


@pytest.mark.parametrize("t", [(0.3, 0.7, 1.0), (0.9, 0.95, 1.0), (0.05, 0.1, 1.0)])
@pytest.mark.parametrize("drift", [0.0, 2.5, 10.0])
def test_analytic_three_looks_equal_an_integral_over_the_first(t, drift):
    low, high, last = (-0.5, 0.2), (2.8, 2.3), 2.0
    t1, t2, t3 = t
    correlation = np.sqrt((t2 - t1) / (t3 - t1))

    def given_first(z):
        def standard(bound, at):
            mean = z * np.sqrt(t1 / at) + drift * (at - t1) / np.sqrt(at)
            return (bound - mean) / np.sqrt(1 - t1 / at)

        box = rectangle(
            [standard(low[1], t2), standard(last, t3)], [standard(high[1], t2), INF], correlation
        )
        return norm.pdf(z - drift * np.sqrt(t1)) * box

    exact = quad(given_first, low[0], high[0], epsabs=1e-11, epsrel=1e-9, limit=200)[0]
    found = boundaries.crossing_probabilities(t, [*low, -INF], [*high, last], drift)
    assert found.upper[2] == pytest.approx(exact, abs=1e-8)


def test_analytic_orthant_of_two_looks():
    found = boundaries.crossing_probabilities([0.25, 1.0], [-INF, 0.0], [0.0, INF])
    assert found.lower[1] == pytest.approx(0.25 + np.arcsin(0.5) / (2 * np.pi), abs=1e-11)


@pytest.mark.parametrize("gap", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("drift", [0.0, 3.0, 10.0])
def test_analytic_twenty_close_looks_without_a_test_change_nothing(gap, drift):
    t = 1 - gap * np.arange(20)[::-1]
    t = t + (0.01 if t[0] <= 0 else 0.0)
    free = np.full(20, INF)
    upper = free.copy()
    upper[[10, 19]] = 2.1, 1.9
    found = boundaries.crossing_probabilities(t, -free, upper, drift)
    direct = boundaries.crossing_probabilities(t[[10, 19]], [-INF, -INF], [2.1, 1.9], drift)
    assert found.upper[[10, 19]] == pytest.approx(direct.upper, abs=1e-9)
    assert found.upper.sum() == pytest.approx(direct.upper.sum(), abs=1e-9)


@pytest.mark.parametrize("gap", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("bounds", BOUNDS)
def test_property_four_times_the_nodes_change_nothing(monkeypatch, gap, drift, bounds):
    t = 0.03 + gap * np.arange(1, 9)
    low, high = (np.full(8, b) for b in bounds)
    found = boundaries.crossing_probabilities(t, low, high, drift)
    monkeypatch.setattr(boundaries, "_NODES_PER_WIDTH", 4 * boundaries._NODES_PER_WIDTH)
    monkeypatch.setattr(boundaries, "_REACH", 9.0)
    finer = boundaries.crossing_probabilities(t, low, high, drift)
    assert found.upper == pytest.approx(finer.upper, abs=1e-10)
    assert found.lower == pytest.approx(finer.lower, abs=1e-10)


@st.composite
def information(draw, least=1, most=8):
    steps = draw(st.lists(st.floats(0.01, 1.0), min_size=least, max_size=most))
    return np.cumsum(steps) / sum(steps)


@given(information(), st.floats(-3, 6), st.floats(0.5, 3), st.floats(-2, 0.4))
def test_property_every_trial_stops_once_and_mirrors_swap_the_sides(t, drift, high, low):
    low, high = np.full(len(t), low), np.full(len(t), high)
    low[-1] = high[-1]
    found = boundaries.crossing_probabilities(t, low, high, drift)
    assert found.upper.sum() + found.lower.sum() == pytest.approx(1, abs=1e-10)
    mirrored = boundaries.crossing_probabilities(t, -high, -low, -drift)
    assert mirrored.upper == pytest.approx(found.lower, abs=1e-11)
    assert mirrored.lower == pytest.approx(found.upper, abs=1e-11)


@given(
    information(least=2),
    st.floats(1e-4, 0.1),
    st.sampled_from([Region(), Region(symmetric=True), Region(lower=np.full(8, -0.5))]),
)
def test_property_bounds_spend_what_they_were_asked_to(t, total, region):
    spent = np.diff(total * t**2, prepend=0)
    upper = boundaries.spending_bounds(t, spent, region)
    lower = np.array([region.below(k, u) for k, u in enumerate(upper)])
    found = boundaries.crossing_probabilities(t, lower, upper)
    assert found.upper == pytest.approx(spent, abs=1e-10)


@given(information(least=2), st.floats(0.005, 0.1), st.floats(-0.5, 0.7), st.booleans())
def test_property_scaled_bounds_keep_their_shape_and_total(t, total, delta, symmetric):
    shape = t ** (delta - 0.5)
    upper = boundaries.scaled_bounds(t, shape, total, Region(symmetric=symmetric))
    lower = -upper if symmetric else np.full(len(t), -INF)
    assert upper / shape == pytest.approx(upper[-1])
    found = boundaries.crossing_probabilities(t, lower, upper)
    assert found.upper.sum() == pytest.approx(total, abs=1e-9)


@given(
    information(least=1),
    st.floats(1e-4, 0.3),
    st.floats(-1, 1),
    st.sampled_from(["below", "symmetric", "above a bound"]),
)
def test_property_scaled_bounds_are_found_to_a_millionth_of_z(t, total, delta, goes_on):
    """Against the same root searched to its end; the search for it stops early, to be quick."""
    shape = t ** (delta - 0.5)
    lower = np.append(np.full(len(t) - 1, -0.5), -INF)
    region = Region(
        lower=lower if goes_on == "above a bound" else None, symmetric=goes_on == "symmetric"
    )
    found = boundaries.scaled_bounds(t, shape, total, region)

    def surplus(constant):
        upper = constant * shape
        below = [region.below(k, u) for k, u in enumerate(upper)]
        crossed = boundaries.crossing_probabilities(t, below, upper).upper.sum()
        return norm.ppf(total) - norm.ppf(crossed)

    near = found[-1] / shape[-1]
    exact = brentq(surplus, near - 0.01, near + 0.01, xtol=1e-12)
    assert found == pytest.approx(exact * shape, abs=1e-6)


def test_analytic_tiny_probabilities_have_exact_bounds():
    spent = [1e-30, 1e-20, 0.02]
    t = [0.1, 0.2, 1.0]
    upper = boundaries.spending_bounds(t, spent)
    assert upper[:2] == pytest.approx(norm.isf([1e-30, 1e-20]), abs=1e-6)
    mirrored = boundaries.beta_spending_bounds(t, np.zeros(3), spent, 0.0, np.full(3, INF))
    assert mirrored.lower[:2] == pytest.approx(-upper[:2], abs=1e-9)


def test_analytic_nothing_spent_is_no_test_and_too_much_is_no_bound():
    upper = boundaries.spending_bounds([0.3, 0.6, 1.0], [0.0, 0.02, 1.0])
    assert upper[0] == INF
    assert upper[1] == pytest.approx(norm.isf(0.02), abs=1e-9)
    assert upper[2] == -INF


@pytest.mark.parametrize("low", [1.0, 1.6])
def test_analytic_where_bounds_meet_every_trial_stops(low):
    found = boundaries.crossing_probabilities([0.5, 1.0], [low, 0.0], [1.0, 2.0], 0.7)
    mean = 0.7 * np.sqrt(0.5)
    assert found.upper == pytest.approx([norm.sf(1 - mean), 0])
    assert found.lower == pytest.approx([norm.cdf(1 - mean), 0])


@pytest.mark.parametrize("prior", [NormalPrior(), NormalPrior(1.5, 0.4), NormalPrior(-1.0, 3.0)])
def test_analytic_prior_is_an_average_over_theta(prior):
    """The predictive walk beside Gauss-Hermite over the posterior of theta."""
    now, t = Standing(0.3, 1.2), [0.5, 0.8, 1.0]
    lower, upper = [0.0, 0.7, -INF], [2.7, 2.3, 2.0]
    known = now.information + prior.information
    mean = (now.z * np.sqrt(now.information) + prior.mean * prior.information) / known
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    crossings = [
        boundaries.crossing_probabilities(t, lower, upper, mean + x / np.sqrt(known), now)
        for x in nodes
    ]
    weights = weights / weights.sum()
    found = boundaries.crossing_probabilities(t, lower, upper, prior, now)
    assert found.upper == pytest.approx(weights @ [c.upper for c in crossings], abs=1e-9)
    assert found.lower == pytest.approx(weights @ [c.lower for c in crossings], abs=1e-9)


@pytest.mark.parametrize("binding", [True, False])
def test_property_beta_spending_spends_both_errors(binding):
    t, theta = np.array([0.3, 0.6, 1.0]), 3.4
    alpha, beta = np.array([0.001, 0.008, 0.016]), np.array([0.02, 0.03, 0.05])
    free = boundaries.spending_bounds(t, alpha)
    found = boundaries.beta_spending_bounds(t, alpha, beta, theta, None if binding else free)
    lower = found.lower if binding else np.full(3, -INF)
    null = boundaries.crossing_probabilities(t, lower, found.upper)
    under = boundaries.crossing_probabilities(t, found.lower, found.upper, theta)
    assert null.upper == pytest.approx(alpha, abs=1e-10)
    assert under.lower[:2] == pytest.approx(beta[:2], abs=1e-10)
    assert under.lower.sum() == pytest.approx(found.type_ii_error, abs=1e-10)
    assert found.lower[2] == found.upper[2]


def test_regression_theta_too_large_for_beta_meets_the_upper_bound():
    t, alpha = np.array([0.5, 1.0]), np.array([0.01, 0.015])
    found = boundaries.beta_spending_bounds(t, alpha, np.array([0.1, 0.1]), 12.0)
    assert found.lower[0] == found.upper[0]
    assert found.type_ii_error < 0.1


@pytest.mark.parametrize(
    ("function", "root"),
    [(lambda x: x - 3, 3), (lambda x: np.tanh(x) - 0.5, np.arctanh(0.5)), (lambda x: x**3 - 8, 2)],
)
def test_analytic_roots(function, root):
    for first, second in ((0.0, 0.1), (10.0, 9.0), (root, root + 1)):
        assert boundaries.increasing_root(function, first, second) == pytest.approx(root, abs=1e-9)
