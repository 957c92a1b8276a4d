"""The template of liver failure: its numbers are its sources', and its trials are theirs."""

from __future__ import annotations

from math import erfc, log, sqrt
from statistics import NormalDist

import pytest
import yaml

from trialsim import ProtocolError, load_template
from trialsim.kernels.exact import ExactTest, rejection_probability, rejection_region
from trialsim.protocol.template import Template
from trialsim.protocol.truths.pool import dosings_of
from trialsim.report.screens.protocol_screen import template_lines
from trialsim.studies.simulation import plan_simulation
from trialsim.studies.size.planned import SizeRequest, plan_size
from trialsim.trial import Measure

LIVER = load_template("hbv-aclf")
SCENARIOS = {s.id: s for s in LIVER.template.scenarios}
PLAN = plan_simulation(LIVER)
RESULT = PLAN.simulate(replicates=2_000, seed=1)


def row(measure, scenario, endpoint="survival-90d-lt-free", **keys):
    return next(
        r
        for r in RESULT.rows
        if (r.measure, r.scenario, r.endpoint) == (measure, scenario, endpoint)
        and all(getattr(r, name) == value for name, value in keys.items())
    )


def chance(scenario):
    return Measure.TYPE_I_ERROR if scenario == "no-effect" else Measure.POWER


def test_property_it_round_trips():
    text = yaml.safe_dump(LIVER.template.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert Template.model_validate(yaml.safe_load(text)) == LIVER.template


def test_reference_the_regimen_is_daily_for_a_week_then_twice_weekly_to_week_12():
    """29 injections of 1.6 mg, counted by hand."""
    regimen = LIVER.template.protocol.experimental.regimen
    assert str(regimen).endswith(
        "1.6 mg subcutaneous every 1 d for 1 wk, then every 3.5 d for 11 wk"
    )
    assert LIVER.template.protocol.therapy.days == 84
    phases = dosings_of(regimen)
    assert [phase.n_doses for phase in phases] == [7, 22]
    assert sum(phase.given for phase in phases) == pytest.approx(46.4)
    assert "29 injections, 46.4 mg per patient" in template_lines(LIVER, "trialsim")


def test_reference_as_observed_has_exactly_the_published_counts():
    truth = LIVER.truth(SCENARIOS["as-observed"])
    assert (truth.treated_risk, truth.control_risk) == (42 / 56, 31 / 58)
    arms = {name: tuple(round(100 * p, 1) for p in own.arms) for name, own in truth.outcomes}
    assert arms["new-infection"] == (58.6, 32.1)
    assert arms["encephalopathy"] == arms["infection-death"] == (24.1, 8.9)


def test_reference_as_in_document_has_exactly_the_figures_of_the_document():
    """The record document-002."""
    truth = LIVER.truth(SCENARIOS["as-in-document"])
    assert (truth.control_risk, truth.treated_risk) == (0.45, 0.65)
    assert LIVER.status_of(SCENARIOS["as-in-document"]) == "document"
    outcomes = dict(truth.outcomes)
    assert outcomes["meld-change"].arms == pytest.approx((-1.2, -3.5))
    assert outcomes["cd4"].arms == pytest.approx((1, 2.3))
    assert outcomes["tnf-alpha"].arms == pytest.approx((1, 0.65))


def test_analytic_the_time_to_the_event_ends_where_the_counts_do():
    for name in ("no-effect", "half-of-it", "as-observed"):
        truth = LIVER.truth(SCENARIOS[name])
        outcomes = dict(truth.outcomes)
        alive = [1 - risk for risk in outcomes["death-or-transplant"].arms]
        assert alive == pytest.approx([truth.control_risk, truth.treated_risk], abs=6e-4)
        death = outcomes["death-transplant-competing"]
        daily = [sum(own[1][0] for own in (death.event[k], death.competing[k])) for k in (0, 1)]
        assert [-90 * rate for rate in daily] == pytest.approx([log(p) for p in alive], abs=1e-3)


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_analytic_the_chance_to_find_it_is_that_of_the_enumerated_test(name):
    region = rejection_region(ExactTest.CHI_SQUARE, 60, 60, 0.05, 2)
    truth = LIVER.truth(SCENARIOS[name])
    exact = rejection_probability(region, truth.treated_risk, truth.control_risk)
    found = row(chance(name), name)
    assert abs(found.value - exact) <= 4 * found.mcse


def test_analytic_the_variant_of_times_has_the_power_of_schoenfelds_formula():
    resolved = load_template("hbv-aclf", variant="time-to-event")
    names = ["as-observed", "as-in-document"]
    result = plan_simulation(resolved, names).simulate(replicates=2_000, seed=1)
    for name in names:
        scenario = next(s for s in resolved.template.scenarios if s.id == name)
        control, treated = resolved.truth(scenario).risks_on(90)
        published = LIVER.truth(SCENARIOS[name])
        arms = [1 - published.control_risk, 1 - published.treated_risk]
        assert [control, treated] == pytest.approx(arms, abs=1e-6)
        events, ratio = 60 * (control + treated), log(1 - treated) / log(1 - control)
        power = NormalDist().cdf(-log(ratio) * sqrt(events) / 2 - NormalDist().inv_cdf(0.975))
        found = next(
            r
            for r in result.rows
            if (r.measure, r.scenario, r.endpoint) == (Measure.POWER, name, "death-or-transplant")
        )
        assert abs(found.value - power) <= 0.02 + 4 * found.mcse  # Schoenfeld's is an approximation


def test_reference_the_p_values_from_counts_are_those_on_record():
    def p_value(treated, n_treated, control, n_control):
        pooled = (treated + control) / (n_treated + n_control)
        z = (treated / n_treated - control / n_control) / sqrt(
            pooled * (1 - pooled) * (1 / n_treated + 1 / n_control)
        )
        return erfc(abs(z) / sqrt(2))

    records = LIVER.evidence.records
    result = records["chen-2022"].result("survival-90d-lt-free")
    stated = {test.name: test.p for test in result.tests}
    assert stated == {"as published": 0.030, "chi-square": round(p_value(42, 56, 31, 58), 3)}
    own = {q.id: q.value for q in records["document-002"].quantities}
    # 65% of 56 and 45% of 58 are no whole patients; 36 and 26 are the nearest
    assert round(p_value(36, 56, 26, 58), 3) == own["survival-p-chi-square"]


def test_regression_arms_of_any_two_sizes_can_be_sized_from():
    sizes = "protocol.sample_size={per_arm: {thymalfasin: 56, standard: 58}}"
    uneven = load_template(
        "hbv-aclf",
        settings=[sizes, "protocol.allocation={method: random-allocation-rule}"],
    )
    own = next(s for s in uneven.template.scenarios if s.id == "as-observed")
    assert uneven.template.protocol.ratio == (28, 29)
    found = plan_size(uneven, SizeRequest(scenario=own)).result(replicates=200, seed=1)
    totals = [r.value for r in found.rows if r.measure is Measure.N_TOTAL and r.value]
    assert totals
    assert all(total % 57 == 0 for total in totals)


def test_property_the_primary_outcome_and_its_time_agree_on_who_had_it():
    times = row(Measure.POWER, "as-observed", "death-or-transplant")
    counts = row(Measure.POWER, "as-observed")
    assert abs(times.value - counts.value) < 0.05  # nobody is lost: the same events, by their order


def test_regression_the_observed_trial_has_a_percentile_under_every_scenario():
    places = [r for r in RESULT.observed if r.measure is Measure.PERCENTILE]
    assert {r.scenario for r in places if r.evidence == "chen-2022"} == set(SCENARIOS)
    same = [r.scenario for r in places if r.analysis == "same data"]
    assert same == ["as-observed"]


def test_regression_a_phase_after_one_without_an_end_is_refused():
    setting = "protocol.arms.thymalfasin.regimen.for=null"
    with pytest.raises(ProtocolError, match="how long its first phase lasts"):
        load_template("hbv-aclf", settings=[setting])


def test_property_a_phase_keeps_what_it_does_not_change():
    setting = (
        "protocol.arms.thymalfasin.regimen.then=[{dose: 0.8 mg, for: 3 d}, {every: 7 d, for: 2 wk}]"
    )
    regimen = load_template("hbv-aclf", settings=[setting]).template.protocol.experimental.regimen
    assert [(str(p.dose), p.every.days) for p in regimen.phases] == [
        ("1.6 mg", 1),
        ("0.8 mg", 1),
        ("0.8 mg", 7),
    ]
    assert regimen.length.days == 7 + 3 + 14
    assert sum(phase.given for phase in dosings_of(regimen)) == pytest.approx(7 * 1.6 + 5 * 0.8)
