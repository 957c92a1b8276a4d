"""Designs judged and chosen: against enumeration, brute force, closed forms and simulation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, norm

from conftest import ROOT
from trialsim.errors import DesignError, RequestError
from trialsim.kernels.pareto import knee
from trialsim.protocol.optimisation import (
    Quantity,
    constraints_from_words,
    vary_from_words,
)
from trialsim.protocol.reading.load import TemplateFile, check_file
from trialsim.studies.operations.designs import Design
from trialsim.studies.operations.forecast import plan_forecast
from trialsim.studies.operations.optimisation import optimise_request, plan_optimisation
from trialsim.trial import Measure

FILE = """\
schema_version: 1
id: small
title: a small trial # of nothing

protocol:
  arms:
    - {id: drug, role: experimental, regimen: {drug: x, dose: 1 mg, every: 1 d, for: 7 d}}
    - {id: placebo, role: control, regimen: {drug: y, dose: 1 mg, every: 1 d, for: 7 d}}
  operations: {sites: {planned: 8}}
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower, analysis: chi-square}
  visits: [{at: 0 d}, {at: 7 d}, {at: 28 d}]
  sample_size: {total: 200} # as it was

nature:
  control_risk: 0.4
  enrolment: {uniform: 20 mo} # at eight sites
  screening_failures: 0.5

scenarios:
  - {id: no-effect, title: no effect}
  - {id: large, title: large, effect: {odds_ratio: 0.3}}
  - {id: small, title: small, effect: {odds_ratio: 0.5}}

cost: {currency: EUR, year: 2025, per_patient: 1000, per_visit: 100, screening: 50, per_month: 2000, per_site_month: 300, start_up: 4000, per_dose: 2, per_look: 500, sites: 8}
"""  # noqa: E501
MONTH = 30.4375


def file_of(tmp_path, text=FILE, name="small.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return TemplateFile.of(str(path))


def planned_for(file, *, vary=(), constraints=(), under=(), choose=None, accept_claim=False):
    request = optimise_request(
        file.resolved(file.tree()),
        vary=vary_from_words(vary),
        constraints=constraints_from_words(constraints),
        under=under,
        choose=choose,
        accept_claim=accept_claim,
    )
    return plan_optimisation(file, request)


def exact_power(n1, p1, n0, p0):
    """P(chi-square rejects at 5%, two-sided, with fewer events on treatment), table by table."""
    a, b = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
    pooled = (a + b) / (n1 + n0)
    se = np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(se > 0, (a / n1 - b / n0) / se, 0.0)
    tables = binom.pmf(a, n1, p1) * binom.pmf(b, n0, p0)
    return float(tables[z <= -1.959963984540054].sum())


SIZES, SITES, RATIOS = range(60, 360, 12), (4, 8, 16), ((1, 1), (2, 1), (3, 2))


def test_analytic_the_front_of_200_designs_is_that_of_brute_force_by_exact_power(tmp_path):
    planned = planned_for(
        file_of(tmp_path),
        vary=["size=60:348:12", "sites=4,8,16", "looks=1", "ratio=1:1,2:1,3:2"],
        constraints=["power >= 0.8 under small"],
    )
    assert planned.by_enumeration
    expected = {}
    control, treated = 0.4, 0.5 * (0.4 / 0.6) / (1 + 0.5 * 0.4 / 0.6)
    for (t, c), size in product(RATIOS, SIZES):
        n = -(-size // (t + c)) * (t + c)
        n1 = round(n * t / (t + c))
        power = exact_power(n1, treated, n - n1, control)
        for sites in SITES:
            months = 20 * n / 200 * 8 / sites + 28 / MONTH
            running = months * (2000 + 300 * sites) + sites * 4000 + 500
            cost = n * (1000 + 3 * 100 + 50 / 0.5 + 7 * 2) + running
            expected[n, sites, t, c] = (-power, months, cost, n - n1)
    assert len(planned.designs) == len(expected) >= 200
    own = {}
    for judged in planned.designs:
        design, values = judged.design, judged.values
        key = design.size, design.sites, design.ratio.treated, design.ratio.control
        own[key] = judged
        found = (
            -values[Quantity.POWER][0],
            values[Quantity.MONTHS][0],
            values[Quantity.COST][0],
            values[Quantity.WORSE_ARM][0],
        )
        assert found == pytest.approx(expected[key], rel=1e-9), key

    def beaten(key):
        a = expected[key]
        return any(
            all(x <= y + 1e-12 for x, y in zip(b, a, strict=True)) and b != a
            for b in expected.values()
        )

    kept = {key for key in expected if not beaten(key)}
    on = {key for key, judged in own.items() if planned.on_front[planned.designs.index(judged)]}
    assert on == kept
    assert 20 < len(on) < len(expected)
    cheapest = min((v[2], key) for key, v in expected.items() if v[0] <= -0.8)
    chosen = planned.chosen.design
    assert (chosen.size, chosen.sites, chosen.ratio.treated, chosen.ratio.control) == cheapest[1]


@pytest.fixture(scope="module")
def default():
    file = TemplateFile.of("sepsis")
    return planned_for(file, vary=["sites=30,60"])


def test_property_the_default_problem_holds_no_dominated_design(default):
    points = default.points(default.designs)
    front = points[default.on_front]
    assert len(default.designs) >= 200
    for own in front:
        assert not ((points <= own).all(axis=1) & (points < own).any(axis=1)).any()
    for own in points[~default.on_front]:
        assert ((front <= own).all(axis=1) & (front < own).any(axis=1)).any()
    chosen = default.chosen
    assert chosen in default.front
    assert chosen.worst(Quantity.POWER) >= 0.8
    assert str(default.constraints[0]) == "power >= 0.8"
    assert any("80% power is assumed" in told for told in default.assumed)


def test_reference_the_size_for_a_power_is_that_of_the_size_command(default):
    # trialsim size sepsis: 4,602 for OR 0.82 at 24.1%, as rpact has it (tests/reference)
    one = [
        j.design.size
        for j in default.designs
        if j.design.looks.number == 1 and j.design.ratio.treated == 1
        and j.worst(Quantity.POWER) >= 0.8
    ]  # fmt: skip
    assert min(one) == 4602


def test_property_the_worst_of_several_scenarios_counts_and_is_named(tmp_path):
    file, vary = file_of(tmp_path), ["size=100,200,300", "looks=1,3 obf", "sites=8"]
    both = planned_for(file, vary=vary, under=["large", "small"])
    for index, name in enumerate(("large", "small")):
        alone = planned_for(file, vary=vary, under=[name])
        for one, together in zip(alone.designs, both.designs, strict=True):
            assert one.design == together.design
            for quantity in (Quantity.POWER, Quantity.WORSE_ARM, Quantity.EXPECTED_COST):
                own = one.values[quantity][0]
                assert together.under(quantity, index) == own
                worse = min if quantity.larger_is_better else max
                assert together.worst(quantity) == worse(together.values[quantity])
    judged = both.designs[-1]
    assert both.binding_scenario(Quantity.POWER, judged) == "small"
    assert both.binding_scenario(Quantity.WORSE_ARM, judged) == "small"  # stops later
    assert both.binding_scenario(Quantity.MONTHS, judged) == ""


def test_analytic_what_looks_save_agrees_with_simulation(tmp_path):
    planned = planned_for(
        file_of(tmp_path), vary=["size=300", "looks=3 obf", "ratio=2:1", "sites=8"], under=["large"]
    )
    (judged,) = planned.designs
    found = planned.simulated(judged, "x", 4000, 3)
    for quantity, simulated, slack in (
        (Quantity.POWER, found.power[0], 0.01),  # normal theory
        (Quantity.EXPECTED_PATIENTS, found.patients[0], 2.0),
        (Quantity.EXPECTED_MONTHS, found.months[0], 0.2),
    ):
        own = judged.values[quantity][0]
        assert abs(simulated.value - own) < 4 * simulated.mcse + slack, quantity
    assert judged.values[Quantity.EXPECTED_PATIENTS][0] < 290  # and it does save
    expected = judged.values[Quantity.EXPECTED_PATIENTS][0] / 3
    assert judged.values[Quantity.WORSE_ARM][0] == pytest.approx(expected)


def test_property_the_chosen_file_runs_and_keeps_what_it_had(tmp_path):
    file = file_of(tmp_path)
    constraints = ["power >= 0.85 under small", "months <= 30", "cost <= 9e5", "patients <= 400"]
    planned = planned_for(file, constraints=constraints, choose=Quantity.COST)
    text = planned.text("trialsim optimise small.yaml")
    path = tmp_path / "chosen.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = check_file(str(path))
    design, protocol = planned.chosen.design, loaded.template.protocol
    assert protocol.n_total == design.size
    assert protocol.operations.sites.planned == design.sites == loaded.template.cost.sites
    assert text.startswith("# trialsim optimise small.yaml\n# Chosen: ")
    told = text.partition("schema_version: 1\n")[0]
    assert all(line.startswith("# ") for line in told.splitlines())
    assert text.count("\n\n") == FILE.count("\n\n")  # what stands apart still does
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "title: a small trial # of nothing" in text
    assert "# as it was" not in text  # the value it stood behind is gone
    before, after = file.tree(), TemplateFile.of(str(path)).tree()
    assert {k for k in before if before[k] != after[k]} <= {"protocol", "nature", "cost"}
    again = planned.simulated(planned.chosen, "chosen", 2000, 99)
    assert again.power[0].value > 0.85 - 4 * again.power[0].mcse
    assert again.months[0].value < 30 + 4 * again.months[0].mcse
    assert planned.chosen.worst(Quantity.COST) <= 9e5


def test_property_constraints_nobody_can_meet_are_named_with_the_nearest(tmp_path):
    file = file_of(tmp_path)
    with pytest.raises(DesignError) as refused:
        planned_for(
            file, vary=["sites=4,8"], constraints=["power >= 0.8 under small", "months <= 20"]
        ).check()
    first, second = refused.value.problems
    assert first.field == "power >= 0.8 under small"
    assert second.field == "months <= 20"
    assert "once the others hold" in second.rule
    with pytest.raises(DesignError) as alone:
        planned_for(file, vary=["size=100,200"], constraints=["power >= 0.99 under small"]).check()
    (only,) = alone.value.problems
    assert "alone" in only.rule
    assert "200 patients" in only.rule  # the nearest
    # what the remedy asks for can be met
    asked = only.remedy.split('"')[1]
    relaxed = planned_for(file, vary=["size=100,200"], constraints=[asked])
    assert relaxed.chosen.design.size == 200


def test_property_a_weak_claim_is_refused_unless_accepted():
    file = TemplateFile.of("sepsis")
    with pytest.raises(RequestError, match="which only a document states"):
        planned_for(file, constraints=["power >= 0.9 under or-041"])
    planned = planned_for(
        file, constraints=["power >= 0.9 under or-041"], vary=["sites=10"], accept_claim=True
    )
    assert planned.statuses == ("document",)
    assert "DOCUMENT" in planned.asked_in_words


def test_property_what_more_buys_is_that_design_judged(tmp_path):
    planned = planned_for(file_of(tmp_path), constraints=["power >= 0.8 under small"])
    month, patients, site = planned.bought
    assert patients.after.design.size - planned.chosen.design.size in (100, 101, 102)
    assert site.after.design.sites == planned.chosen.design.sites + 1
    longer = month.after.worst(Quantity.MONTHS) - month.before.worst(Quantity.MONTHS)
    assert 0.7 < longer <= 1.0
    for bought in planned.bought:
        again = planned.bench_of(bought.after.design).judged(bought.after.design)
        assert again.values == bought.after.values


def test_property_another_read_out_moves_risks_and_is_written(tmp_path):
    text = FILE.replace("  control_risk: 0.4\n", "  control_risk: 0.4\n"
                        "  control_risk_by: [{by: 90 d, risk: 0.5}]\n")  # fmt: skip
    file = file_of(tmp_path, text)
    planned = planned_for(
        file, vary=["follow-up=28 d,90 d", "size=200", "looks=1", "sites=8", "ratio=1:1"],
        under=["small"], choose=Quantity.POWER, constraints=["patients <= 300"],
    )  # fmt: skip
    early, late = planned.designs
    assert late.values[Quantity.MONTHS][0] - early.values[Quantity.MONTHS][0] == pytest.approx(
        62 / MONTH
    )
    odds = 0.5 * 1.0
    assert late.values[Quantity.POWER][0] == pytest.approx(
        exact_power(100, odds / (1 + odds), 100, 0.5), abs=1e-9
    )
    assert planned.chosen is late
    path = tmp_path / "late.yaml"
    path.write_text(planned.text("x"), encoding="utf-8")
    template = check_file(str(path)).template
    assert template.protocol.primary.read_out.after.days == 90
    assert template.nature.control_risk.value == 0.5
    assert template.nature.control_risk_by[0].risk.value == 0.4


def test_property_variants_are_decisions_too():
    file = TemplateFile.of("sepsis-enriched")
    planned = planned_for(
        file,
        vary=[
            "variant=as it stands,all-comers",
            "size=1500,3000",
            "looks=1",
            "sites=22",
            "threshold=30",
        ],
        under=["predictive"],
        constraints=["patients <= 4000"],
    )
    assert {judged.design.variant for judged in planned.designs} == {"", "all-comers"}
    by = {(j.design.variant, j.design.size, j.design.ratio.treated): j for j in planned.designs}
    enriched, everybody = by["", 3000, 1], by["all-comers", 3000, 1]
    assert enriched.worst(Quantity.POWER) > everybody.worst(Quantity.POWER) + 0.2
    assert enriched.worst(Quantity.COST) > everybody.worst(Quantity.COST)  # screening


def test_analytic_times_to_an_event_are_judged_as_they_are_simulated(tmp_path):
    planned = planned_for(
        TemplateFile.of("delayed-effect", variant="three-looks"),
        vary=["size=240", "looks=1,2 obf", "ratio=1:1"],
        constraints=["power >= 0.5"],
    )
    one, two = planned.designs
    for judged in (one, two):
        found = planned.simulated(judged, "x", 1000, 5)
        own = judged.values[Quantity.POWER][0]
        assert abs(found.power[0].value - own) < 4 * found.power[0].mcse + 0.02
        months = found.months[0]
        expected = judged.values[Quantity.EXPECTED_MONTHS][0]
        assert abs(months.value - expected) < 4 * months.mcse + 0.02 * expected
    assert two.values[Quantity.EXPECTED_MONTHS][0] < one.values[Quantity.MONTHS][0]
    text = planned.text("x")
    path = tmp_path / "events.yaml"
    path.write_text(text, encoding="utf-8")
    looks = check_file(str(path)).template.protocol.looks
    own = planned.resolved.template.protocol
    assert looks[-1].at.events == -(-own.looks[-1].at.events * 240 // own.n_total)


def test_property_rows_say_of_which_design_they_are(tmp_path):
    planned = planned_for(
        file_of(tmp_path), vary=["size=100:300:100", "sites=8"], constraints=["power >= 0.3"]
    )
    result = planned.result(replicates=300)
    chosen = [row for row in result.rows if row.headline]
    (own,) = chosen
    assert own.set_by == planned.chosen.design.in_words()
    assert own.value == planned.chosen.values[Quantity.POWER][0]
    simulated = [row for row in result.rows if row.measure is Measure.POWER_SIMULATED]
    assert {row.analysis for row in simulated} >= {"chosen"}
    assert all(row.mcse is not None and row.n_replicates == 300 for row in simulated)
    names = {judged.design.in_words() for judged in planned.front}
    assert {row.set_by for row in result.rows} == names


def test_analytic_the_calendar_of_sites_is_that_of_its_file_simulated(tmp_path):
    text = FILE.replace(
        "  enrolment: {uniform: 20 mo} # at eight sites\n",
        "  operations:\n"
        "    activation: {takes: {mean: 60 d}}\n"
        "    recruitment: {per_site_month: 1.5, shape: 3, ramp_up: 2 mo}\n",
    ).replace("sites: {planned: 8}", "sites: {planned: 8, invited_over: 4 mo}")
    planned = planned_for(
        file_of(tmp_path, text), vary=["size=160", "sites=6,12", "looks=2 obf", "ratio=1:1"],
        constraints=["power >= 0.1"], under=["small"],
    )  # fmt: skip
    few, many = planned.designs
    assert few.worst(Quantity.MONTHS) > 1.5 * many.worst(Quantity.MONTHS)
    for judged in (few, many):
        months = planned.simulated(judged, "x", 2000, 11).months[0]
        expected = judged.worst(Quantity.EXPECTED_MONTHS)
        assert expected < judged.worst(Quantity.MONTHS) - 0.3
        assert abs(months.value - expected) < 4 * months.mcse + 0.01 * expected
        written = planned.resolved_of(judged.design).template
        assert written.protocol.operations.sites.planned == judged.design.sites
        assert written.nature.enrolment is None
    forecast = plan_forecast(planned.resolved_of(many.design)).forecast(runs=30, seed=5)
    (last,) = (row for row in forecast.result.rows if row.milestone == "last visit")
    whole = planned.months_from_invitation(many)
    assert whole > many.worst(Quantity.MONTHS) + 1
    assert abs(last.value - whole) < 4 * last.mcse
    assert any("'forecast' counts from the first invitation" in told for told in planned.assumed)


def test_property_a_demand_that_cannot_be_met_states_its_time(tmp_path):
    file = TemplateFile.of("sepsis")
    with pytest.raises(DesignError, match="years"):
        planned_for(file, vary=["sites=1", "size=4000,5000"], under=["or-082"]).check()


def test_property_a_design_reads_aloud():
    from trialsim.protocol.optimisation import LookPlan, RatioOfArms

    design = Design(1200, 22, LookPlan.model_validate("3 obf"), RatioOfArms.model_validate("2:1"))
    assert design.in_words() == "1,200 patients, 22 sites, 3 looks obf, 2:1"


def test_analytic_doses_are_paid_in_the_arms_that_get_them_and_kits_grow_with_these(tmp_path):
    supply = (
        "operations: {sites: {planned: 8}, supply: {doses_per_kit: 7, kits_at_opening: 2, "
        "reorder_at: 1, order_up_to: 3, kits_at_start: 40, produced: {every: 3 mo, kits: 12}}}"
    )
    text = FILE.replace("operations: {sites: {planned: 8}}", supply)
    text = text.replace("drug: y, dose: 1 mg, every: 1 d", "drug: y, dose: 1 mg, every: 7 d")
    file = file_of(tmp_path, text)
    planned = planned_for(
        file, vary=["size=600", "looks=1", "ratio=1:1,2:1", "sites=16"], under=["small"],
        constraints=["patients <= 900"], choose=Quantity.WORSE_ARM,
    )  # fmt: skip
    one, two = (judged.values[Quantity.COST][0] for judged in planned.designs)
    assert two - one == pytest.approx(2 * (400 * 7 + 200 * 1 - 300 * 7 - 300 * 1))
    design = planned.chosen.design
    assert (design.ratio.treated, design.ratio.control) == (2, 1)
    written = planned.resolved_of(design).template.protocol.operations.supply
    arm = (2 / 3) / (1 / 2)  # of the patients, in the arm that has more of them than it had
    assert written.kits_at_start == np.ceil(40 * arm * 16 / 8 - 1e-9)
    times = 20 * 600 / 200 * 8 / 16 / 3  # 30 months, every 3
    made = 12 * arm * 16 / 8 + 40 * arm * (600 / 200 - 16 / 8) / times
    assert written.produced.kits == np.ceil(made - 1e-9)
    whole = written.kits_at_start + written.produced.kits * times
    assert whole >= arm * 600 / 200 * (40 + 12 * 20 / 3)  # as many per patient
    assert any("Kits of the file" in told for told in planned.assumed)


@pytest.mark.parametrize(
    ("words", "field", "told"),
    [
        (["looks=2 wt:9"], "looks", "must be in"),
        (["looks=3 hsd"], "looks", "must end in a number"),
        (["follow-up=90 d"], "--vary", "is beyond follow-up"),
        (["variant=nobody"], "--vary", "is not a variant"),
    ],
)
def test_regression_what_cannot_be_tried_is_told_by_the_word_that_asked(
    tmp_path, words, field, told
):
    with pytest.raises(RequestError, match=told) as refused:
        planned_for(file_of(tmp_path), vary=[*words, "size=100"]).check()
    (problem,) = refused.value.problems
    assert problem.field == field
    assert problem.value in (words[0], words[0].partition("=")[2])


def test_regression_power_without_an_effect_cannot_be_asked_for(tmp_path):
    planned = planned_for(file_of(tmp_path), vary=["size=100"], under=["no-effect"])
    with pytest.raises(DesignError, match="Plan for a scenario with an effect"):
        planned.check()


def test_regression_the_remedy_of_a_whole_number_is_that_number(tmp_path):
    file, small = file_of(tmp_path), ["size=100", "sites=8"]
    with pytest.raises(DesignError, match="patients <= 100"):
        planned_for(
            file, vary=[*small, "looks=1", "ratio=1:1"], constraints=["patients <= 8"]
        ).check()


def test_analytic_looks_are_paid_and_stop_for_either_bound(tmp_path):
    planned = planned_for(
        file_of(tmp_path), vary=["size=300", "looks=1,2 pocock", "ratio=1:1", "sites=8"],
        under=["no-effect"], constraints=["patients <= 400"],
    )  # fmt: skip
    one, two = planned.designs
    assert two.values[Quantity.COST][0] - one.values[Quantity.COST][0] == pytest.approx(500)
    # Pocock's bound for two looks at 5%, two-sided, is 2.178: either is crossed at the first
    saved = 300 - two.values[Quantity.EXPECTED_PATIENTS][0]
    entered = 150 + 28 / (20 * 300 / 200 * MONTH) * 300  # until these are read out
    assert saved == pytest.approx(2 * norm.sf(2.178) * (300 - entered), rel=0.01)


def test_analytic_a_test_of_one_side_does_not_find_harm_and_losses_take_patients(tmp_path):
    text = FILE.replace("scenarios:\n", "scenarios:\n  - {id: harms, title: harms, effect: "
                        "{odds_ratio: 2}}\n")  # fmt: skip
    text = text.replace("  sample_size:", "  test: {alpha: 0.025, sides: 1}\n  sample_size:")
    vary = ["size=100", "looks=1", "ratio=1:1", "sites=8"]
    planned = planned_for(file_of(tmp_path, text), vary=vary, under=["harms"],
                          constraints=["patients <= 400"])  # fmt: skip
    assert planned.designs[0].values[Quantity.POWER] == (0.0,)
    assert planned.designs[0].values[Quantity.WORSE_ARM][0] == 50


def test_analytic_patients_who_are_lost_do_not_count(tmp_path):
    scored = ROOT / "tests" / "protocols" / "valid" / "means-primary.yaml"
    text = scored.read_text(encoding="utf-8")
    with_loss, without = (
        planned_for(
            file_of(tmp_path, text.replace("lost_per_visit: 0.05", f"lost_per_visit: {lost}")),
            vary=[f"size={n}", "looks=1", "ratio=1:1"], constraints=["patients <= 900"],
        ).designs[0].values[Quantity.POWER][0]
        for lost, n in ((0.05, 400), (0, 361 - 1))
    )  # fmt: skip
    assert with_loss == pytest.approx(without, abs=0.002)  # two more visits: 0.95^2 of 400 are 361


def test_property_a_constraint_under_a_scenario_is_about_that_alone(tmp_path):
    file, vary = file_of(tmp_path), ["size=100:300:50", "looks=1", "sites=4,8", "ratio=1:1"]
    planned = planned_for(
        file, vary=vary, under=["large", "small"], constraints=["power >= 0.9 under large"],
        choose=Quantity.PATIENTS,
    )  # fmt: skip
    for judged, ok in zip(planned.designs, planned.feasible, strict=True):
        assert ok == (judged.under(Quantity.POWER, 0) >= 0.9)
    assert planned.chosen.worst(Quantity.POWER) < 0.8
    tied = planned_for(
        file, vary=["size=200", "looks=3 obf,1", "sites=8", "ratio=1:1"], under=["small"],
        constraints=["patients <= 300"], choose=Quantity.PATIENTS,
    )  # fmt: skip
    assert len(tied.front) == 2
    assert tied.chosen.design.looks.number == 1  # of as many patients, the one with more power
    with pytest.raises(DesignError) as refused:
        planned_for(file, vary=vary, constraints=["cost <= 10"]).check()
    (binding,) = planned_for(file, vary=vary, constraints=["cost <= 10"]).bindings()
    remedy = refused.value.problems[0].remedy
    asked = remedy.split('"')[1]
    assert remedy.endswith(", or relax another constraint.")  # sites and patients cost more
    assert 0 <= float(asked.removeprefix("cost <= ")) - binding.nearest < 10
    assert planned_for(file, vary=vary, constraints=[asked]).chosen.design.size == 100


def test_property_a_constraint_typed_replaces_that_of_the_file_on_the_same(tmp_path):
    text = FILE + "optimise: {constraints: [power >= 0.9 under small, months <= 60]}\n"
    planned = planned_for(file_of(tmp_path, text), constraints=["power >= 0.6 under small"])
    assert [str(own) for own in planned.constraints] == ["months <= 60", "power >= 0.6 under small"]


def test_property_a_file_with_blocks_sites_and_looks_of_its_own_gets_those_of_the_design(tmp_path):
    text = FILE.replace("  operations: {sites: {planned: 8}}\n", (
        "  allocation: {method: permuted-blocks, block_sizes: [4], stratify_by: [site]}\n"
        "  operations: {sites: {planned: 8}}\n"
        "  looks: [{at: {information: 0.5}, efficacy_z: 2.8}, "
        "{at: {information: 1}, efficacy_z: 1.98}]\n"
    )).replace("nature:\n", "nature:\n  factors: [{id: site, equal_levels: 8}]\n")  # fmt: skip
    planned = planned_for(
        file_of(tmp_path, text), vary=["size=300", "looks=1", "ratio=2:1", "sites=16"],
        under=["small"], constraints=["patients <= 400"],
    )  # fmt: skip
    written = planned.resolved_of(planned.chosen.design).template
    assert written.protocol.looks == ()
    assert written.protocol.allocation.block_sizes == (6,)
    assert written.nature.factors[0].equal_levels == 16


def test_property_the_knee_is_chosen_where_it_is_asked_for(tmp_path):
    file = file_of(tmp_path)
    planned = planned_for(file, vary=["sites=8"], under=["small"], choose="knee")
    points = planned.points(planned.front)
    assert planned.chosen is planned.front[knee(points)]
    assert planned.front[0] is not planned.chosen is not planned.front[-1]


def test_property_the_chosen_design_has_all_of_the_replicates_and_a_bad_formula_is_told(
    tmp_path, monkeypatch
):
    planned = planned_for(
        file_of(tmp_path), vary=["size=24,48", "looks=3 pocock", "sites=8", "ratio=3:1"],
        under=["large"], constraints=["power >= 0.1"],
    )  # fmt: skip
    result = planned.result(replicates=2000)
    rows = [row for row in result.rows if row.measure is Measure.POWER_SIMULATED]
    assert {row.n_replicates for row in rows if row.analysis == "chosen"} == {2000}
    assert {row.n_replicates for row in rows if row.analysis != "chosen"} == {1000}
    assert "formula" not in [caution.code for caution in result.warnings]
    (own, *_) = result.figure_data["confirmed"]
    other = replace(own, power=(replace(own.power[0], value=own.power[0].value / 2),))
    monkeypatch.setattr(type(planned), "confirmed", lambda *_, **__: iter([other]))
    assert "formula" in [caution.code for caution in planned.result(replicates=2000).warnings]


def test_property_looks_are_refused_where_the_endpoint_has_none():
    path = ROOT / "tests" / "protocols" / "valid" / "ordinal-primary.yaml"
    with pytest.raises(RequestError, match="this endpoint and test have no looks"):
        planned_for(TemplateFile.of(str(path)), vary=["looks=3 obf"])


def test_property_the_dearest_scenario_is_paid_and_a_lag_delays_looks_on_events():
    prices = "cost={currency: EUR, year: 2025, per_month: 1000}"
    looks = "protocol.looks=[{at: {events: 120}}]"
    months = {}
    for lag in ("0 d", "3 mo"):
        file = TemplateFile.of("delayed-effect", [prices, looks, f"protocol.read_out_lag={lag}"])
        own = {
            names: planned_for(file, vary=["size=240", "looks=2 obf", "ratio=1:1"], under=names,
                               constraints=["patients <= 400"]).designs[0].values
            for names in (("no-effect",), ("after-3-months",), ("no-effect", "after-3-months"))
        }  # fmt: skip
        alone = [own[name,][Quantity.COST][0] for name in ("no-effect", "after-3-months")]
        assert alone[0] < alone[1]  # fewer die
        assert own["no-effect", "after-3-months"][Quantity.COST] == (max(alone),)
        months[lag] = own["after-3-months",][Quantity.EXPECTED_MONTHS][0]
    assert months["3 mo"] - months["0 d"] == pytest.approx(3, abs=1e-6)


def test_analytic_a_look_on_a_day_waits_for_the_patients_of_a_larger_trial():
    planned = planned_for(
        TemplateFile.of("delayed-effect"), vary=["size=360,720", "looks=1", "ratio=2:1"],
        constraints=["patients <= 900"],
    )  # fmt: skip
    few, many = (judged.worst(Quantity.MONTHS) for judged in planned.designs)
    assert few == pytest.approx(25, abs=0.01)
    assert many == pytest.approx(25 + 14, abs=0.01)  # at the same pace enrolment takes 28 months
