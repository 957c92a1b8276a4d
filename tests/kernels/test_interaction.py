"""Tests of interaction: against R, by a general maximiser, and at the edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from conftest import ROOT
from trialsim.kernels.interaction import heterogeneity, linear_interaction, logistic_interaction

FIGURES = json.loads((ROOT / "tests/reference/interaction.json").read_text())
TRIALS = FIGURES["trials"]


def column(trial, name, kind=float):
    return np.array(trial[name], dtype=kind)[:, None]


@pytest.mark.parametrize("trial", TRIALS, ids=range(len(TRIALS)))
def test_reference_logistic_interaction_is_that_of_glm(trial):
    found = logistic_interaction(
        column(trial, "event", bool), column(trial, "treated", bool), column(trial, "covariate")
    )
    estimate, se = trial["logistic"]
    assert_allclose([found.estimate[0], found.standard_error[0]], [estimate, se], rtol=1e-7)
    assert not found.failed[0]


@pytest.mark.parametrize("trial", TRIALS, ids=range(len(TRIALS)))
def test_reference_linear_interaction_is_that_of_lm(trial):
    found = linear_interaction(
        column(trial, "value"), column(trial, "treated", bool), column(trial, "covariate")
    )
    estimate, se = trial["linear"]
    assert_allclose([found.estimate[0], found.standard_error[0]], [estimate, se], rtol=1e-9)
    assert found.degrees_of_freedom[0] == trial["df"]
    p = 2 * stats.t.sf(abs(found.estimate[0] / found.standard_error[0]), trial["df"])
    assert_allclose(p, trial["linear_p"], rtol=1e-8)


@pytest.mark.parametrize("case", FIGURES["heterogeneity"], ids=lambda c: len(c["estimates"]))
def test_reference_heterogeneity_is_that_of_a_weighted_mean(case):
    found = heterogeneity(column(case, "estimates"), column(case, "standard_errors"))
    assert_allclose([found.statistic[0], found.p_value[0]], [case["q"], case["p"]], rtol=1e-9)


def test_property_trials_side_by_side_are_each_their_own_and_the_left_out_are_not_read():
    random = np.random.default_rng(5)
    treated = random.random((60, 7)) < 0.5
    x = random.standard_normal((60, 7))
    event = random.random((60, 7)) < 0.4
    included = random.random((60, 7)) < 0.8
    together = logistic_interaction(event, treated, x, included)
    for k in range(7):
        own = included[:, k]
        alone = logistic_interaction(
            event[own, k : k + 1], treated[own, k : k + 1], x[own, k : k + 1]
        )
        assert_allclose(together.estimate[k], alone.estimate[0], rtol=1e-8)
        assert_allclose(together.standard_error[k], alone.standard_error[0], rtol=1e-8)


def test_analytic_the_product_of_two_lines_is_the_model_of_four_coefficients():
    random = np.random.default_rng(6)
    treated, x = random.random(80) < 0.5, random.standard_normal(80)
    y = random.random(80) < 0.35
    design = np.stack([np.ones(80), treated, x, treated * x], axis=1)

    def minus_log_likelihood(beta):
        eta = design @ beta
        return (np.logaddexp(0, eta) - y * eta).sum()

    best = optimize.minimize(minus_log_likelihood, np.zeros(4), method="BFGS", tol=1e-10)
    found = logistic_interaction(y[:, None], treated[:, None], x[:, None])
    assert_allclose(found.estimate[0], best.x[3], atol=1e-5)


def test_property_no_maximum_is_a_failure_not_a_number():
    treated = np.array([True] * 6 + [False] * 6)[:, None]
    x = np.array([-3, -2, -1, 1, 2, 3] * 2, dtype=float)[:, None]
    mixed = np.array([1, 0, 1, 0, 1, 0] * 2, dtype=bool)[:, None]
    separated, none = mixed.copy(), mixed.copy()
    separated[:6, 0] = x[:6, 0] > 0
    none[6:] = False
    assert not logistic_interaction(mixed, treated, x).failed[0]
    for events in (separated, none):
        found = logistic_interaction(events, treated, x)
        assert found.failed[0]
        assert np.isnan(found.estimate[0])
    few = np.where(np.arange(12) < 2, True, False)[:, None]
    assert linear_interaction(x, treated, x, few).failed[0]
    estimates = np.array([[0.1, np.nan], [0.2, 0.1]])
    both = heterogeneity(estimates, np.full((2, 2), 0.1))
    assert both.failed.tolist() == [False, True]
    assert np.isnan(both.p_value[1])
