"""Sepsis with low mHLA-DR: who is enrolled, what one status means, and ETASS' unequal arms."""

from __future__ import annotations

from math import sqrt

import pytest
from scipy.stats import norm

from trialsim import load_template, plan_simulation
from trialsim.errors import ProtocolError
from trialsim.protocol.endpoints import MeasuredTest
from trialsim.studies.imbalance import TESTS, imbalance_rows

ID = "sepsis-enriched"


def odds(p):
    return p / (1 - p)


def rows_of(resolved, n=2_000, seed=1):
    return list(imbalance_rows(resolved, resolved.template.scenarios, n, seed))


def one(rows, measure, test, *, exact=False):
    (row,) = (
        r
        for r in rows
        if r.measure.value == measure and r.analysis == str(test) and (r.mcse is None) == exact
    )
    return row


@pytest.mark.parametrize("variant", ["", "correlation-half"])
def test_analytic_unequal_arms_at_entry_regress_as_the_correlation_says(variant):
    resolved = load_template(ID, variant=variant)
    rows = rows_of(resolved)
    for test in TESTS:
        simulated = one(rows, "estimate_imbalanced", test)
        exact = one(rows, "estimate_imbalanced", test, exact=True)
        assert simulated.value == pytest.approx(exact.value, abs=4 * simulated.mcse)
    r = 0.5 if variant else 0.87
    change = one(rows, "estimate_imbalanced", MeasuredTest.CHANGE, exact=True)
    assert change.value == pytest.approx((r - 1) * (47.1 - 58.0))


def test_analytic_chance_of_a_false_change_is_that_of_a_shifted_normal():
    rows = rows_of(load_template(ID, variant="correlation-half"), 4_000)
    found = one(rows, "power_imbalanced", MeasuredTest.CHANGE)
    # given the means at entry the change varies by the read-out's own part, and is judged by all
    own, judged = 25 * sqrt(0.75) * sqrt(2 / 57), 25 * sqrt(1) * sqrt(2 / 57)
    expected = norm.sf((norm.isf(0.025) * judged - 5.45) / own)
    assert found.value == pytest.approx(expected, abs=4 * found.mcse + 0.01)  # normal for t
    adjusted = one(rows, "power_imbalanced", MeasuredTest.ANCOVA)
    assert adjusted.value == pytest.approx(0.025, abs=4 * adjusted.mcse)


def test_property_unequal_arms_cost_the_trial_itself_no_random_numbers():
    # the same patients, whether or not a published trial's imbalance is looked into
    looked = load_template(ID)
    without = load_template(ID, settings=["nature.outcomes.mhla-dr.baseline.imbalance_seen=null"])

    def powers(resolved):
        result = plan_simulation(resolved, ["no-effect"]).simulate(replicates=256)
        return [row.value for row in result.rows if row.measure.value == "power"]

    assert powers(looked) == powers(without)


def test_property_an_imbalance_must_stand_in_its_record():
    setting = "nature.outcomes.mhla-dr.baseline.imbalance_seen.result=mortality-28d"
    with pytest.raises(ProtocolError, match="names no result of etass-2013"):
        load_template(ID, settings=[setting])


def test_analytic_the_correlation_is_the_one_that_fits_etass():
    # equal SDs and the same patients: SE of the change over SE at entry is sqrt(2 (1 - r))
    at_entry = (58.0 - 47.1) / norm.isf(0.02 / 2)
    change = (10.5 - 1.0) / (2 * norm.isf(0.025))
    assert 1 - (change / at_entry) ** 2 / 2 == pytest.approx(0.87, abs=0.005)
    assert 2 * (25 / at_entry) ** 2 == pytest.approx(57, abs=1)


def test_analytic_screening_failures_are_baselines_above_the_threshold():
    nature = load_template(ID).template.nature
    baseline = nature.outcomes["mhla-dr"].baseline
    share = norm.sf((baseline.at_most - baseline.mean) / baseline.sd)
    assert nature.screening_failures.value == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("variant", ["", "all-comers"])
def test_analytic_predictive_effect_is_the_same_in_the_immunosuppressed_of_both_trials(variant):
    resolved = load_template(ID, variant=variant)
    (scenario,) = resolved.scenarios(["predictive"])
    truth = resolved.truth(scenario)
    status = next(f for f in truth.factors if f.id == "immune-status")
    share = status.levels[0].share.value
    # risks in both levels from the control arm's average and the prognostic odds ratio
    low, high = 0.0, 1.0
    for _ in range(80):
        p0 = (low + high) / 2
        p1 = 2 * odds(p0) / (1 + 2 * odds(p0))
        low, high = (p0, high) if share * p1 + (1 - share) * p0 < truth.control_risk else (low, p0)
    treated = (truth.treated_risk - (1 - share) * p0) / share
    assert odds(treated) / odds(p1) == pytest.approx(0.7, abs=0.003)


def test_regression_enrichment_finds_a_predictive_effect_more_often_and_no_prognostic_one():
    def power(variant):
        resolved = load_template(ID, variant=variant)
        plan = plan_simulation(resolved, ["prognostic-only", "predictive"])
        result = plan.simulate(replicates=512)
        return {
            row.scenario: (row.value, row.mcse)
            for row in result.rows
            if row.measure.value == "power" and row.endpoint == "mortality-28d" and not row.stratum
        }

    enriched, everybody = power(""), power("all-comers")
    gain = enriched["predictive"][0] - everybody["predictive"][0]
    assert gain > 4 * (enriched["predictive"][1] + everybody["predictive"][1])
    prognostic = enriched["prognostic-only"][0] - everybody["prognostic-only"][0]
    assert prognostic < gain / 2  # only the higher risk of death helps


def test_reference_means_of_mhla_dr_are_those_of_both_arms_of_etass_together():
    """The record etass-2013."""
    resolved = load_template(ID)
    etass = resolved.evidence.records["etass-2013"]
    arms = {r.id: (r.experimental.value, r.control.value) for r in etass.results if r.control}
    own = resolved.template.nature.outcomes["mhla-dr"]
    at_entry = sum(arms["mhla-dr-baseline"]) / 2
    assert own.baseline.mean == pytest.approx(at_entry)
    for mean, change in zip(own.mean, ("mhla-dr-change-3d", "mhla-dr-change-7d"), strict=True):
        assert mean.value == pytest.approx(at_entry + sum(arms[change]) / 2)
