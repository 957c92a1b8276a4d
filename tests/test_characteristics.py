"""Operating characteristics and their Monte Carlo standard errors."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import norm

from trialsim.characteristics import characteristics, mid_percentile, true_effect
from trialsim.protocol.endpoints import Summary
from trialsim.trial import LookResults, Measure

THETA = log(0.7)
CONTROL = 0.3
ODDS = exp(THETA) * CONTROL / (1 - CONTROL)
RISKS = (CONTROL, ODDS / (1 + ODDS))


def normal_results(theta, se, n, seed=1, failed=0):
    """Replicates of an estimator that is exactly normal, so that every answer is known."""
    rng = np.random.default_rng(seed)
    estimate = theta + se * rng.standard_normal((n, 1))
    model = np.full((n, 1), se)
    z = norm.ppf(0.975)
    p = 2 * norm.sf(np.abs(estimate / se))
    bad = np.zeros((n, 1), bool)
    bad[:failed] = True
    return LookResults(
        estimate=np.where(bad, np.nan, estimate),
        standard_error=model,
        lower=estimate - z * se,
        upper=estimate + z * se,
        p_value=p,
        rejected=(p <= 0.05) & ~bad,
        corrected=np.zeros((n, 1), bool),
        failed=bad,
        z=-estimate / se,
        information=np.full((n, 1), 100.0),
        enrolled=np.full((n, 1), 100.0),
        day=np.full((n, 1), np.nan),
        short=np.zeros((n, 1), bool),
    )


def by_measure(results, risks=RISKS):
    theta = true_effect(risks, Summary.ODDS_RATIO)
    return {c.measure: c for c in characteristics(results, theta, Summary.ODDS_RATIO)}


def test_analytic_true_effects():
    assert true_effect(RISKS, Summary.ODDS_RATIO) == pytest.approx(THETA)
    assert true_effect(RISKS, Summary.RISK_RATIO) == pytest.approx(log(RISKS[1] / 0.3))
    assert true_effect(RISKS, Summary.RISK_DIFFERENCE) == pytest.approx(RISKS[1] - 0.3)


def test_analytic_a_normal_estimator_within_4_mcse():
    se, n = 0.2, 20_000
    found = by_measure(normal_results(THETA, se, n))
    shift = THETA / se
    power = norm.cdf(-1.96 - shift) + norm.cdf(-1.96 + shift)
    expected = {
        Measure.POWER: power,
        Measure.BIAS: 0.0,
        Measure.EMPIRICAL_SE: se,
        Measure.COVERAGE: 0.95,
        Measure.MSE: se**2,
        Measure.ESTIMATE_MEDIAN: exp(THETA),
    }
    for measure, value in expected.items():
        assert abs(found[measure].value - value) < 4 * found[measure].mcse, measure
    assert found[Measure.MODEL_SE].value == pytest.approx(se)
    assert found[Measure.MODEL_SE].mcse == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("effect", "se", "type_s", "type_m"), [(0.1, 3.28, 0.464, 76.7), (2, 8.1, 0.240, 9.54)]
)
def test_reference_type_s_and_type_m_of_gelman_and_carlin(effect, se, type_s, type_m):
    # by integration (the paper prints 0.46 and 77, then 0.24 and 9.5); here 400,000 replicates
    odds = exp(effect) * CONTROL / (1 - CONTROL)
    risks = (CONTROL, odds / (1 + odds))
    found = by_measure(normal_results(effect, se, 400_000), risks)
    assert abs(found[Measure.TYPE_S].value - type_s) < 4 * found[Measure.TYPE_S].mcse + 5e-4
    assert abs(found[Measure.TYPE_M].value - type_m) < 4 * found[Measure.TYPE_M].mcse + 0.05


@pytest.mark.parametrize(
    "measure",
    [
        Measure.BIAS,
        Measure.EMPIRICAL_SE,
        Measure.MSE,
        Measure.POWER,
        Measure.COVERAGE,
        Measure.TYPE_M,
        Measure.TYPE_S,
        Measure.ESTIMATE_Q025,
        Measure.ESTIMATE_MEDIAN,
    ],
)
def test_reference_mcse_agrees_with_the_spread_over_repeated_runs(measure):
    effect = -0.05 if measure is Measure.TYPE_S else -0.25  # else too few wrong signs to spread
    odds = exp(effect) * CONTROL / (1 - CONTROL)
    risks = (CONTROL, odds / (1 + odds))
    runs = [by_measure(normal_results(effect, 0.2, 1000, seed), risks) for seed in range(400)]
    spread = np.std([run[measure].value for run in runs], ddof=1)
    stated = np.mean([run[measure].mcse for run in runs])
    assert stated == pytest.approx(spread, rel=4 / sqrt(2 * 399))  # 4 SE of a standard deviation


def test_regression_failed_replicates_are_left_out_not_scored_as_negative():
    whole = by_measure(normal_results(THETA, 0.2, 4000))
    part = by_measure(normal_results(THETA, 0.2, 4000, failed=2000))
    assert part[Measure.POWER].n == 2000
    assert (
        abs(part[Measure.POWER].value - whole[Measure.POWER].value) < 4 * part[Measure.POWER].mcse
    )


def test_regression_below_100_replicates_no_power_is_given():
    row, failures = characteristics(normal_results(THETA, 0.2, 99), THETA, Summary.ODDS_RATIO)
    assert (failures.measure, failures.value) == (Measure.N_FAILED, 0)
    assert row.value is None
    assert "at least 100" in row.why


def test_regression_no_effect_has_no_direction_and_no_size_to_exaggerate():
    null = (CONTROL, CONTROL)
    found = by_measure(normal_results(0.0, 0.2, 1000), null)
    assert found[Measure.TYPE_M].value is None
    assert "no effect" in found[Measure.TYPE_M].why
    assert found[Measure.TYPE_I_ERROR].value == found[Measure.POWER].value


def test_analytic_mid_percentile_counts_ties_half():
    assert mid_percentile(np.array([1.0, 2.0, 2.0, 3.0]), 2.0).value == 0.5
    assert mid_percentile(np.arange(100.0), 24.5).value == 0.25
