"""Published single arms held against simulated ones, where the answer is known exactly."""

from __future__ import annotations

from math import log, sqrt

import pytest
from scipy.stats import binom, norm, t

from conftest import CORPUS
from trialsim import load_template, plan_simulation
from trialsim.trial import Measure

RISK, MEAN = (CORPUS / "valid" / f"{name}.yaml" for name in ("single-arm", "single-arm-cd4"))
REPLICATES = 2048
OWN = """evidence:
  - id: own-2020
    kind: trial
    title: Own
    citation: Own A. Journal 2020.
    condition: sepsis
    design: {randomised: false}
    results:
      - {id: response, outcome: response, at: 12 wk, experimental: {n: 24, events: 9}}
      - id: cd4
        outcome: change in CD4 count
        unit: cells/uL
        at: 6 mo
        experimental: {n: 50, value: 90, sd: 100}
      - {id: cd4-cd8, outcome: ratio, at: 6 mo, experimental: {n: 60, value: 1.2}}
"""


def held_against(file, tmp_path, observed, *settings):
    path = tmp_path / "own.yaml"
    path.write_text(file.read_text() + OWN)
    resolved = load_template(str(path), settings=[f"observed=[{observed}]", *settings])
    return resolved, plan_simulation(resolved).simulate(replicates=REPLICATES, seed=2)


def row(result, measure, scenario=None):
    found = (r for r in result.observed if (r.measure, r.scenario) == (measure, scenario))
    return next(found)


def within(found, exact):
    return abs(found.value - exact) <= 4 * sqrt(exact * (1 - exact) / REPLICATES)


def test_analytic_a_number_of_responses_is_binomial_in_todays_patients(tmp_path):
    """Drift and other therapy take the historical 0.2 to 0.328; the effect adds 0.2."""
    resolved, result = held_against(RISK, tmp_path, "own-2020", "protocol.two_stage=null")
    for scenario in resolved.scenarios():
        risk = resolved.truth(scenario).treated_risk
        exact = binom.cdf(8, 24, risk) + 0.5 * binom.pmf(9, 24, risk)
        assert within(row(result, Measure.PERCENTILE, scenario.id), exact)
    estimate = row(result, Measure.ESTIMATE)
    assert estimate.value == pytest.approx(9 / 24 - 0.2)
    assert "saw 9 of 24" in result.texts["own-2020"]


def test_analytic_two_stages_of_the_protocol_are_not_those_of_the_published_arm(tmp_path):
    resolved, result = held_against(RISK, tmp_path, "own-2020")
    risk = resolved.truth(resolved.scenarios()[0]).treated_risk
    exact = binom.cdf(8, 24, risk) + 0.5 * binom.pmf(9, 24, risk)
    assert within(row(result, Measure.PERCENTILE, "no-effect"), exact)


def test_analytic_a_mean_change_is_normal_at_its_own_size(tmp_path):
    uncut = "nature.outcomes.cd4.baseline={mean: 420, sd: 120, correlation: 0.6}"
    _, result = held_against(MEAN, tmp_path, "{evidence: own-2020, result: cd4}", uncut)
    se = 120 * sqrt(2 * (1 - 0.6)) / sqrt(50)
    for scenario, mean in (("no-effect", 50.0), ("md-50", 100.0)):  # drift 10, therapy 40
        exact = norm.cdf((90 - mean) / se)
        assert within(row(result, Measure.PERCENTILE, scenario), exact)
    estimate = row(result, Measure.ESTIMATE)
    assert estimate.upper == pytest.approx(90 + t.isf(0.025, 49) * 100 / sqrt(50))


def test_analytic_a_ratio_of_another_endpoint_is_log_normal(tmp_path):
    uncut = "nature.outcomes.cd4.baseline={mean: 420, sd: 120, correlation: 0.6}"
    named = "{evidence: own-2020, endpoint: cd4-cd8}"
    _, result = held_against(MEAN, tmp_path, named, uncut)
    se = log(1.5) * sqrt(2 * (1 - 0.6)) / sqrt(60)
    exact = norm.cdf((log(1.2) - log(1.08)) / se)
    assert within(row(result, Measure.PERCENTILE, "no-effect"), exact)
    assert row(result, Measure.ESTIMATE).lower is None


def test_analytic_a_scenario_may_repeat_a_single_arm(tmp_path):
    own = "scenarios.hoped-for"
    settings = (f"{own}.effect=null", f"{own}.as_observed=own-2020")
    resolved, result = held_against(RISK, tmp_path, "own-2020", *settings)
    truth = resolved.truth(resolved.scenarios(["hoped-for"])[0])
    assert truth.treated_risk == 9 / 24
    assert row(result, Measure.PERCENTILE, "hoped-for").analysis == "same data"


def test_regression_a_cohort_known_from_a_document_is_marked(tmp_path):
    name, change = "cohort-of-document-003", "cd4-change-6mo"
    _, result = held_against(MEAN, tmp_path, f"{{evidence: {name}, result: {change}}}")
    assert "DOCUMENT" in result.texts[name]
    assert row(result, Measure.PERCENTILE, "no-effect").value == 1.0
