"""Regimens on the same patients: against exact probabilities, enumeration and one another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_followup import exact_power

from trialsim import load_template
from trialsim.engine.blocks import draw_patients
from trialsim.engine.run import run
from trialsim.errors import RequestError, TrialsimError
from trialsim.protocol.truths.pool import Dosing
from trialsim.studies.horizons.regimens import plan_regimens, regimens_from_words
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

PLANNED = Dosing.model_validate({"dose": "1.6 mg", "every": "3.5 d", "for": "26 wk"})
FIXED = [
    "protocol.sample_size={per_arm: {thymalfasin: 32, untreated: 32}}",
    "protocol.allocation={}",
]


def planned(words="", scenarios=("pool-8-weeks",), settings=(), variant="dosing", **more):
    resolved = load_template("chronic-hepatitis-b", variant=variant, settings=list(settings))
    return plan_regimens(resolved, words, list(scenarios), **more)


def of(result, measure, regimen, clock=None, **more):
    (row,) = (
        row
        for row in result.rows
        if (row.measure, row.regimen, row.clock) == (measure, regimen, clock)
        and all(getattr(row, name) == value for name, value in more.items())
    )
    return row


def test_analytic_power_under_every_regimen_and_reading_within_4_mcse_of_enumeration():
    plan = planned(settings=FIXED)
    result = plan.result(replicates=10_000, seed=3)
    for index, own in enumerate(plan.regimens):
        for clock, (control, treated) in zip(
            ("entry", "end-of-therapy"), plan.risks(index, 0), strict=True
        ):
            row = of(result, Measure.POWER, str(own.dosing), clock)
            expected = exact_power(32, treated, control)
            assert abs(row.value - expected) < 4 * row.mcse


@pytest.mark.parametrize("words", ["for 52 wk", "0.8 mg", "daily"])
def test_analytic_simulated_response_within_4_mcse_of_exact(words):
    plan = planned(words)
    own = plan.regimens[1]
    _, batches = draw_patients(own.job, 1, 0, frozenset())
    (batch,) = {id(b): b for b in batches[0].values()}.values()
    for day, exact in zip(own.days, plan.risks(1, 0), strict=True):
        seen = batch.response <= day  # nobody relapses, dies or is lost
        for arm, risk in enumerate(exact):
            n = seen[arm].size
            assert abs(seen[arm].mean() - risk) < 4 * np.sqrt(risk * (1 - risk) / n)


def test_analytic_both_readings_are_at_equal_times():
    plan = planned()
    for own in plan.regimens:
        since_entry, since_therapy = own.days
        assert since_entry == pytest.approx(26 * 7 + 365.25)
        assert since_therapy - own.dosing.lasting.days == pytest.approx(365.25)


def test_property_the_difference_of_readings_is_that_of_the_two_readings():
    result = planned("for 52 wk").result(replicates=500, seed=5)
    told = "1.6 mg every 3.5 d for 52 wk"
    early, late = (of(result, Measure.POWER, told, c) for c in ("entry", "end-of-therapy"))
    between = of(result, Measure.POWER_DIFFERENCE, told)
    assert between.value == pytest.approx(late.value - early.value)
    for arm in ("untreated", "thymalfasin"):
        early, late = (of(result, Measure.RISK, told, c, arm=arm) for c in ("entry", late.clock))
        change = of(result, Measure.RISK_CHANGE, told, arm=arm)
        assert change.value == pytest.approx(late.value - early.value)
    assert of(result, Measure.DRUG_PER_PATIENT, told).value == pytest.approx(104 * 1.6)
    same = "1.6 mg every 3.5 d for 26 wk"  # whose two readings are one
    assert of(result, Measure.POWER_DIFFERENCE, same).value == 0


def test_property_the_planned_regimen_is_found_as_without_regimens():
    result = planned("for 52 wk").result(replicates=400, seed=2)
    resolved = load_template("chronic-hepatitis-b", variant="dosing")
    jobs = plan_simulation(resolved, ["pool-8-weeks"]).jobs
    (alone,) = run(jobs[:1], n_replicates=400, seed=2)
    power = alone.results[0][0].rejected[:, -1].mean()
    assert of(result, Measure.POWER, str(PLANNED), "entry").value == pytest.approx(power)


def test_property_with_no_effect_regimens_find_the_same_at_the_same_time_since_entry():
    plan = planned(scenarios=["no-effect", "pool-8-weeks"])
    result = plan.result(replicates=300, seed=4)
    found = {
        row.value
        for row in result.rows
        if (row.scenario, row.measure, row.clock) == ("no-effect", Measure.POWER, "entry")
    }
    assert len(found) == 1


def test_reference_all_pools_say_13_of_32_and_disagree_under_52_weeks():
    """Chien 1998: 13 of 32 after 26 weeks of therapy, 9 of 34 after 52."""
    plan = planned(scenarios=())
    fitted = [held for held in plan.held_against if held.fitted]
    longer = [held for held in plan.held_against if not held.fitted]
    assert [held.said for held in fitted] == pytest.approx([13 / 32] * 3, abs=1e-9)
    assert {(held.arm.events, held.arm.n) for held in longer} == {(9, 34)}
    said = [held.said for held in longer]
    assert min(said) > 13 / 32  # no pool says that longer treatment does worse
    assert max(said) - min(said) > 0.1


@pytest.mark.parametrize(
    "leaving",
    [
        {"relapse_per_year": 0.1},
        {"relapse_per_year": 0.2, "again_per_year": 0.3, "death_per_year": 0.02},
        {"frailty_sd": 0.7, "loss_per_year": 0.03},
    ],
)
def test_analytic_a_pool_reaches_its_result_with_relapse_loss_and_frailty(leaving):
    setting = f"nature.response={json.dumps(leaving)}"
    control = "scenarios.pool-8-weeks.response.control=[{until: 18 mo, hazard_per_year: 0.07}]"
    resolved = load_template("chronic-hepatitis-b", variant="dosing", settings=[setting, control])
    (scenario,) = resolved.scenarios(["pool-8-weeks"])
    _, treated = resolved.truth(scenario).risks_on(18 * 30.4375)
    assert treated == pytest.approx(13 / 32, abs=1e-9)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("for 52 wk", "1.6 mg every 3.5 d for 52 wk"),
        ("0.8 mg", "0.8 mg every 3.5 d for 26 wk"),
        ("daily", "1.6 mg every 1 d for 26 wk"),
        ("0.8 mg twice daily for 12 wk", "0.8 mg every 12 h for 12 wk"),
        ("1.6mg every 7 d", "1.6 mg every 7 d for 26 wk"),
    ],
)
def test_property_what_a_regimen_leaves_out_is_as_planned(words, expected):
    assert [str(dosing) for dosing in regimens_from_words(words, PLANNED)] == [
        str(PLANNED),
        expected,
    ]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("8 pills", "must be a number with a unit of dose"),
        ("0.8 mg; often", "is not a dose, how often it is given, or for how long"),
        ("for 0 wk", "must give some drug"),
        ("80 IU", "in doses of 1.6 mg"),
        ("0.8 mg/kg", "in doses of 1.6 mg"),
        ("every 0.001 h", "must give at most 20,000 doses"),
        (";", "is not a dose"),
    ],
)
def test_regression_words_that_mean_nothing_are_refused_with_an_example(words, rule):
    with pytest.raises(RequestError) as caught:
        planned(words)
    assert all(rule in problem.rule for problem in caught.value.problems)
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("arguments", "rule", "remedy"),
    [
        ({"variant": "", "scenarios": ()}, "treated arm follows from doses", "--variant dosing"),
        ({"scenarios": ["chien-1998"]}, "does not answer to regimens", "pool-2-weeks"),
        ({"at": "6 mo,12 mo", "clock": "entry"}, "must be one time", "--at"),
        ({"at": "3 mo", "clock": "entry"}, "is before the planned therapy ends", "later"),
        (
            {"settings": ["protocol.arms.thymalfasin.regimen.every=null"]},
            "needs",
            "regimen",
        ),
    ],
)
def test_regression_what_has_no_answer_is_refused_with_a_remedy(arguments, rule, remedy):
    with pytest.raises(TrialsimError) as caught:
        planned(**arguments)
    problems = caught.value.problems
    assert any(rule in p.rule and remedy in f"{p.remedy} {p.rule}" for p in problems)


def test_regression_the_command_draws_writes_and_reports(trialsim, tmp_path):
    words = ("followup", "chronic-hepatitis-b", "--variant", "dosing", "--regimens")
    done = trialsim(*words, "--replicates", "200", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "26.5 % (9/34)" in done.stdout
    assert len(list(tmp_path.glob("trialsim-runs/*/figures/regimens.svg"))) == 1
    (written,) = tmp_path.glob("trialsim-runs/*/results/followup.json")
    document = json.loads(written.read_text(encoding="utf-8"))
    assert {row["regimen"] for row in document["rows"]} >= {"0.8 mg every 3.5 d for 26 wk"}
    reported = trialsim("report", "last", "--markdown", "regimens.md", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    page = (tmp_path / "regimens.md").read_text(encoding="utf-8")
    assert "between readings" in page
    assert "| pool-8-weeks |" in page
