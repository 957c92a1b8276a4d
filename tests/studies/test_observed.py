"""Observed v simulated: published trials at their own sizes and control risks."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom

from trialsim import load_template, plan_simulation
from trialsim.studies.observed import observed_trials, out_of_100
from trialsim.trial import Measure

SEPSIS = load_template("sepsis")
PLAN = plan_simulation(SEPSIS)
RESULT = PLAN.simulate(replicates=4000, seed=2)


def row(evidence, scenario, measure):
    return next(
        r
        for r in RESULT.observed
        if (r.evidence, r.scenario, r.measure) == (evidence, scenario, measure)
    )


def test_reference_trials_are_simulated_at_their_own_sizes_and_control_risk():
    """ETASS (Wu 2013) and TESTS (Wu 2025)."""
    etass, tests = observed_trials(SEPSIS, SEPSIS.scenarios())
    assert etass.protocol.arm_sizes == (181, 180)
    assert tests.protocol.arm_sizes == (542, 547)
    assert {t.control_risk for t in etass.truths} == {63 / 180}
    assert {t.control_risk for t in tests.truths} == {132 / 547}
    assert np.exp([etass.estimate, etass.lower, etass.upper]) == pytest.approx(
        [0.65, 0.41, 1.02], abs=6e-3
    )
    assert np.exp([tests.estimate, tests.lower, tests.upper]) == pytest.approx(
        [0.96, 0.73, 1.27], abs=6e-3
    )


@pytest.mark.parametrize(
    ("scenario", "ratio"), [("no-effect", 1.0), ("or-082", 0.82), ("or-041", 0.41)]
)
def test_analytic_percentile_of_etass_within_4_mcse_of_enumeration(scenario, ratio):
    n1, x1, n0, x0 = 181, 47, 180, 63
    p0 = x0 / n0
    p1 = ratio * p0 / (1 - p0) / (1 + ratio * p0 / (1 - p0))
    a, b = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):  # cells the zero rule does not reach
        estimate = np.log((a + 0.5 * (a == 0)) * (n0 - b) / ((n1 - a) * (b + 0.5 * (b == 0))))
    seen = np.log(x1 * (n0 - x0) / ((n1 - x1) * x0))
    probability = binom.pmf(a, n1, p1) * binom.pmf(b, n0, p0)
    tied = np.isclose(estimate, seen, rtol=0, atol=1e-12)
    exact = (probability * np.where(tied, 0.5, estimate < seen)).sum()
    found = row("etass-2013", scenario, Measure.PERCENTILE)
    assert abs(found.value - exact) < 4 * sqrt(exact * (1 - exact) / found.n_replicates)  # 4 MCSE


def test_regression_power_at_a_trials_own_observed_effect_is_not_given():
    own = row("tests-2025", "tests-as-observed", Measure.POWER)
    assert own.value is None
    assert own.analysis == "same data"
    assert row("etass-2013", "tests-as-observed", Measure.POWER).value is not None


def test_property_pools_are_shown_but_never_placed():
    pooled = [r for r in RESULT.observed if (r.evidence or "").startswith("gu-2025")]
    assert {r.measure for r in pooled} == {Measure.ESTIMATE, Measure.PERCENTILE}
    for r in pooled:
        if r.measure is Measure.PERCENTILE:
            assert r.value is None
            assert "simulated literature" in r.why
    units = {job.unit for job in PLAN.jobs}
    assert units == {"", "etass-2013", "tests-2025"}


def test_property_scenarios_resting_on_a_trials_patients_say_so():
    assert row("tests-2025", "or-082", Measure.PERCENTILE).analysis == "shares patients"
    assert row("etass-2013", "etass-planning", Measure.PERCENTILE).analysis is None
    assert row("etass-2013", "or-041", Measure.PERCENTILE).analysis is None


def test_regression_an_effect_that_cannot_be_carried_over_is_said_not_simulated():
    changed = load_template(
        "sepsis",
        settings=[
            "scenarios.or-041.effect={risk_difference: -0.3}",
            "scenarios.or-041.control_risk=0.5",
            "observed=[tests-2025, etass-2013]",
        ],
    )
    result = plan_simulation(changed, ["or-041"]).simulate(replicates=200)
    refused = next(
        r
        for r in result.observed
        if r.value is None
        and r.evidence == "tests-2025"
        and "takes a control risk" in (r.why or "")
    )
    assert refused.scenario == "or-041"


def test_regression_another_read_out_time_is_not_compared():
    later = load_template("sepsis", settings=["protocol.endpoints.mortality-28d.at=90 d"])
    result = plan_simulation(later, ["or-082"]).simulate(replicates=200)
    assert "read at 28 d, the endpoint at 90 d" in result.texts["tests-2025"]


def test_property_every_monte_carlo_number_has_its_error_and_count():
    analytic = {Measure.RISK, Measure.TRUE_EFFECT, Measure.CONDITIONAL_EFFECT}
    analytic |= {Measure.ESTIMATE, Measure.N_PER_ARM}
    analytic |= {Measure.EVENT_CHANCE, Measure.EVENTS_EXPECTED, Measure.UPPER_IF_NONE}
    for r in (*RESULT.rows, *RESULT.observed):
        if r.value is None:
            assert r.why
        elif r.measure in (Measure.N_CORRECTED, Measure.N_FAILED):
            assert r.n_replicates == 4000
        elif r.measure in analytic:
            assert r.mcse is None
        else:
            assert r.mcse is not None
            assert r.n_replicates
            assert r.n_failed is not None


def test_analytic_counts_out_of_100():
    assert [out_of_100(p) for p in (0, 0.004, 0.005, 0.154, 0.995, 0.996)] == [
        "fewer than 1",
        "fewer than 1",
        "0",
        "15",
        "100",
        "more than 99",
    ]


def test_property_conflicts_stand_beside_the_numbers_they_touch():
    codes = {w.code: w for w in RESULT.warnings}
    assert "tests-2025" in codes["tests-2025-benefit"].touches
    assert "127/542 v 132/547" in codes["tests-2025-benefit"].text
    assert "gu-2025-lower-quality-source" in codes


def test_regression_an_unexplained_weak_number_gets_its_own_caution(tmp_path):
    text = """schema_version: 1
evidence:
  - id: word-of-mouth-2024
    kind: pool
    title: Word of mouth
    citation: Somebody said so.
    condition: sepsis
    outcome: death
    effects: [{measure: odds ratio, value: 0.5, status: unverified}]
"""
    path = tmp_path / "more.yaml"
    path.write_text(text)
    setting = "scenarios.or-041.effect={odds_ratio: {value: 0.5, source: word-of-mouth-2024}}"
    resolved = load_template("sepsis", settings=[setting], evidence_files=[path])
    result = plan_simulation(resolved, ["or-041"]).simulate(replicates=200)
    (caution,) = [w for w in result.warnings if w.code == "weak-claim"]
    assert "not checked against the publication" in caution.text
