"""MaxCombo against scipy's and mvtnorm's integration, and its decisions against its P values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from conftest import ROOT
from trialsim.kernels import maxcombo


def log_rank_family(seed, k):
    """Statistics with correlations as weighted log-rank tests have them: high, some of low rank."""
    rng = np.random.default_rng(seed)
    s = np.sort(rng.random(200))[::-1]
    weights = np.stack([np.ones(200), 1 - s, s, s * (1 - s)][:k])
    drawn = weights * (rng.random(200) < 0.8)
    covariance = (drawn @ drawn.T)[None]
    return maxcombo.correlations(covariance)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_reference_p_values_of_scipy(seed, k):
    correlation = log_rank_family(seed, k)
    correlation = (correlation + 0.01 * np.eye(k)) / 1.01  # of full rank: scipy errs where not
    for limit in (0.5, 1.5, 2.1, 2.6):
        z = np.full((1, k), limit - 1.0)
        z[0, 0] = limit
        exact = multivariate_normal(np.zeros(k), correlation[0], abseps=1e-7, maxpts=400_000).cdf(
            np.full(k, limit)
        )
        assert maxcombo.p_value(z, correlation)[0] == pytest.approx(1 - exact, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_analytic_p_values_of_three_statistics_that_lie_in_a_plane(seed):
    """FH(0,0) is FH(1,0) plus FH(0,1): in polar coordinates one integral over the angle."""
    correlation = log_rank_family(seed, 3)
    values, vectors = np.linalg.eigh(correlation[0])
    assert abs(values[0]) < 1e-9
    loadings = vectors[:, 1:] * np.sqrt(values[1:])
    for limit in (0.5, 1.5, 2.1, 2.6):

        def inside(angle, limit=limit):
            along = loadings @ [np.cos(angle), np.sin(angle)]
            return 1 - np.exp(-0.5 * (limit / along[along > 0]).min(initial=np.inf) ** 2)

        exact = 1 - quad(inside, 0, 2 * np.pi, limit=500, epsabs=1e-10)[0] / (2 * np.pi)
        found = maxcombo.p_value(np.full((1, 3), limit), correlation)
        assert found[0] == pytest.approx(exact, abs=1e-4)


def test_reference_p_value_of_mvtnorm_on_200_patients():
    figures = json.loads((ROOT / "tests/reference/survival_tests.json").read_text())["results"]
    seen = next(f["value"] for f in figures if f["id"].startswith("maxcombo"))
    correlation = np.array([list(row.values()) for row in seen["corr"]])[None]
    found = maxcombo.p_value(-np.array([seen["z"]]), correlation)
    assert found[0] == pytest.approx(seen["p_value"], abs=1e-3)  # its integration is random
    assert found[0] == pytest.approx(seen["p_value"], abs=1e-4)


def test_analytic_independent_and_identical_statistics():
    for k in (1, 2, 3, 4):
        z = np.full((1, k), 2.2)
        alone = norm.sf(2.2)
        found = maxcombo.p_value(z, np.eye(k)[None])
        assert found[0] == pytest.approx(1 - (1 - alone) ** k, abs=1e-6)
        same = maxcombo.correlations(np.ones((1, k, k)))
        assert maxcombo.p_value(z, same)[0] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.005, 0.025, 0.1])
def test_property_bounds_decide_as_the_p_value_does(alpha):
    rng = np.random.default_rng(1)
    z, correlations = [], []
    for seed in range(30):
        correlation = log_rank_family(seed, 4)
        draws = rng.multivariate_normal(np.full(4, 1.5), correlation[0], 20, check_valid="ignore")
        z.append(draws)
        correlations.append(np.repeat(correlation, 20, axis=0))
    z, correlation = np.concatenate(z), np.concatenate(correlations)
    p = maxcombo.p_value(z, correlation)
    clear = np.abs(p - alpha) > 1e-5
    assert clear.mean() > 0.99
    found = maxcombo.rejects(z, correlation, alpha)
    assert np.array_equal(found[clear], (p <= alpha)[clear])
    assert 0.1 < found.mean() < 0.9


def test_regression_a_statistic_without_variance_does_not_spoil_the_others():
    covariance = np.diag([1.0, 0.0])[None]
    correlation = maxcombo.correlations(covariance)
    assert np.isfinite(maxcombo.p_value(np.array([[2.0, 0.0]]), correlation)).all()
