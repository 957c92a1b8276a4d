"""Several horizons of the same patients: against closed forms, enumeration and one another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import exp

import numpy as np
import pytest
from scipy.stats import binom

from trialsim import load_template
from trialsim.engine.blocks import draw_patients
from trialsim.errors import RequestError
from trialsim.studies.horizons.followup import Choice, followup_request, plan_followup
from trialsim.trial import Measure

FIXED = [
    "protocol.sample_size={per_arm: {thymalfasin: 32, untreated: 32}}",
    "protocol.allocation={}",
]


@dataclass
class Words:
    at: str | None = None
    clock: str | None = None
    reference: str | None = None
    choose: str | None = None
    power: float = 0.8
    accept_claim: bool = False
    futility: float | None = None


def planned(template, words, settings=(), scenarios=(), variant=""):
    resolved = load_template(template, settings=list(settings), variant=variant)
    return plan_followup(resolved, followup_request(resolved, words), scenarios)


def rows_of(result, scenario, horizon, measure, **more):
    return [
        row
        for row in result.rows
        if (row.scenario, row.horizon, row.measure) == (scenario, horizon, measure)
        and all(getattr(row, name) == value for name, value in more.items())
    ]


def exact_power(n, p1, p0):
    a, b = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    pooled = (a + b) / (2 * n)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (a - b) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
    return (binom.pmf(a, n, p1) * binom.pmf(b, n, p0) * (np.abs(z) >= 1.959963984540054)).sum()


def test_analytic_power_at_every_horizon_within_4_mcse_of_enumeration():
    plan = planned(
        "chronic-hepatitis-b",
        Words("0 mo,6 mo,12 mo", "end-of-therapy"),
        FIXED,
        ["chien-1998", "mutchnick-1999"],
    )
    result = plan.result(replicates=10_000, seed=3)
    for index, scenario in enumerate(plan.scenarios):
        for h, horizon in enumerate(plan.horizons):
            control, treated = plan.risks(h, index)
            at = str(horizon.time.after)
            (found,) = rows_of(result, scenario.id, at, Measure.POWER)
            exact = exact_power(32, treated, control)
            assert abs(found.value - exact) <= 4 * (exact * (1 - exact) / 10_000) ** 0.5
            (wrong,) = rows_of(result, scenario.id, at, Measure.WRONG_VERDICT)
            assert 1 - found.value <= wrong.value <= 1  # also finds in the wrong direction


def test_analytic_without_delay_or_relapse_the_curve_is_the_closed_form():
    course = "[{until: 18 mo, hazard_per_year: %g}]"
    here = "scenarios.chien-1998.response"
    settings = [f"{here}.control={course % 0.1}", f"{here}.treated={course % 0.4}"]
    words = Words("3 mo,9 mo,18 mo", "entry")
    plan = planned("chronic-hepatitis-b", words, settings, ["chien-1998"])
    for h, horizon in enumerate(plan.horizons):
        years = horizon.day / 365.25
        expected = (1 - exp(-0.1 * years), 1 - exp(-0.4 * years))
        assert plan.risks(h, 0) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("scenario", "sizes"), [("chien-1998", (63, 29)), ("mutchnick-1999", (128, 164))]
)
def test_reference_sizes_at_12_and_18_months_after_entry(scenario, sizes):
    """By the pooled-variance formula at each truth's probabilities."""
    plan = planned("chronic-hepatitis-b", Words("12 mo,18 mo", "entry"), scenarios=[scenario])
    assert tuple(design.per_arm for design in plan.designs(0)) == sizes


def test_property_horizons_see_the_same_patients_and_differences_are_paired():
    plan = planned("chronic-hepatitis-b", Words("6 mo,12 mo", "end-of-therapy"))
    result = plan.result(replicates=2_000)
    for scenario in plan.scenarios:
        power = {at: rows_of(result, scenario.id, at, Measure.POWER)[0] for at in ("6 mo", "12 mo")}
        (difference,) = rows_of(result, scenario.id, "6 mo", Measure.POWER_DIFFERENCE)
        assert difference.value == pytest.approx(power["6 mo"].value - power["12 mo"].value)
        apart = sum(row.mcse**2 for row in power.values()) ** 0.5
        assert difference.mcse < apart  # the trials are the same ones
        (change,) = rows_of(result, scenario.id, "12 mo", Measure.VERDICT_CHANGES)
        assert change.value == 0
    # with no relapse and no death, who has responded stays a responder
    _, batches = draw_patients(plan.jobs[0], 1, 0, frozenset())
    response = batches[1][plan.horizons[0].endpoint].response
    early, late = (response <= horizon.day for horizon in plan.horizons)
    assert (early <= late).all()
    assert (early < late).any()


def test_analytic_a_futility_look_at_the_end_of_therapy_stops_as_enumerated():
    words = Words("0 mo,12 mo", "end-of-therapy", futility=0.0)
    plan = planned("chronic-hepatitis-b", words, FIXED, ["chien-1998"])
    result = plan.result(replicates=10_000, seed=5)
    control, treated = plan.risks(0, 0)
    a, b = np.arange(33)[:, None], np.arange(33)[None, :]
    exact = (binom.pmf(a, 32, treated) * binom.pmf(b, 32, control) * (a <= b)).sum()
    (stops,) = rows_of(result, "chien-1998", "0 mo", Measure.STOP_PROBABILITY)
    assert abs(stops.value - exact) <= 4 * (exact * (1 - exact) / 10_000) ** 0.5
    (wrongly,) = rows_of(result, "chien-1998", "0 mo", Measure.STOPS_WRONGLY)
    (found,) = rows_of(result, "chien-1998", "12 mo", Measure.POWER)
    assert wrongly.n_replicates == pytest.approx(found.value * 10_000, abs=50)
    assert wrongly.value > 0.5  # more than half of the trials that would find it
    assert not rows_of(result, "chien-1998", "12 mo", Measure.STOP_PROBABILITY)


def test_property_who_has_died_by_28_days_has_died_by_90():
    plan = planned("sepsis", Words("28 d,90 d", "entry"), scenarios=["or-082"])
    batches = [draw_patients(job, 1, 0, frozenset())[1][0] for job in plan.jobs]
    early, late = (next(iter(batch.values())).events for batch in batches)
    assert (early <= late).all()
    assert (early < late).any()


def test_property_an_early_effect_that_does_not_last_is_a_wrong_verdict():
    """Found at 28 days in about 57 of 100, while nothing is left of it by 90 days."""
    settings = ["scenarios.or-073.effect_from=[{since: 90 d, effect: {odds_ratio: 1}}]"]
    words = Words("28 d,90 d", "entry", "90 d")
    plan = planned("sepsis", words, settings, ["or-073"])
    result = plan.result(replicates=4_000)
    (power,) = rows_of(result, "or-073", "28 d", Measure.POWER)
    (wrong,) = rows_of(result, "or-073", "28 d", Measure.WRONG_VERDICT)
    assert wrong.value == power.value > 0.5
    (at_90,) = rows_of(result, "or-073", "90 d", Measure.POWER)
    assert abs(at_90.value - 0.05) <= 4 * at_90.mcse


def test_property_between_two_risks_the_hazard_is_constant():
    plan = planned("sepsis", Words("14 d,28 d,59 d,90 d", "entry"), scenarios=["no-effect"])
    risks = [plan.risks(h, 0)[0] for h in range(4)]
    assert risks[1] == 0.241
    assert risks[3] == 0.324
    assert 1 - risks[0] == pytest.approx((1 - 0.241) ** 0.5)
    assert 1 - risks[2] == pytest.approx(((1 - 0.241) * (1 - 0.324)) ** 0.5)


def test_analytic_months_and_cost_add_up():
    plan = planned("chronic-hepatitis-b", Words("12 mo", "end-of-therapy"))
    (horizon,) = plan.horizons
    months = 12 + (182 + 12 * 30.4375) / 30.4375
    assert plan.months(horizon, 64) == pytest.approx(months)
    assert plan.months(horizon, 128) == pytest.approx(months + 12)
    visits, running = 7, 6000 + 8 * 400  # from entry to 12 months after therapy
    once = 8 * 5000 + 32 * 52 * 30 + 8000  # sites started, two doses a week in one arm, a look
    expected = 64 * (3000 + visits * 250) + months * running + once
    assert plan.cost(horizon, 64) == pytest.approx(expected)


def test_regression_a_horizon_nothing_published_reaches_is_never_chosen():
    words = Words("12 mo,18 mo", "end-of-therapy", choose="power")
    plan = planned("chronic-hepatitis-b", words, scenarios=["chien-1998"])
    sizes = [design.per_arm for design in plan.designs(0)]
    assert sizes[1] < sizes[0]  # it would be
    assert str(plan.recommended(0).horizon.time.after) == "12 mo"
    assert "Left out" in plan.result(replicates=200).texts["choice"]


@pytest.mark.parametrize(
    ("template", "words", "settings", "expected"),
    [
        ("chronic-hepatitis-b", Words("6"), [], ["has no unit", "6 mo after randomisation, or"]),
        (
            "chronic-hepatitis-b",
            Words("6 mo"),
            [],
            ["from when it counts", "end-of-therapy for 12"],
        ),
        ("sepsis", Words("28,60 d", "entry"), [], ["has no unit", "28 d after randomisation"]),
        ("chronic-hepatitis-b", Words("soon", "entry"), [], ["is not a length of time"]),
        ("chronic-hepatitis-b", Words("1 mo", "entry"), [], ["before anyone is read out"]),
        ("chronic-hepatitis-b", Words("5 yr", "entry"), [], ["beyond follow-up", "Add a visit"]),
        ("sepsis", Words("1 yr", "entry"), [], ["beyond follow-up", "control_risk_by"]),
        ("sepsis", Words("28 d,4 wk", "entry"), [], ["is the same day twice"]),
        ("sepsis", Words("28 d", "entry", "90 d"), [], ["is not one of the horizons"]),
        ("sepsis", Words("28 d", "entry", choose="power"), [], ["only a document states"]),
        ("sepsis", Words("28 d", "entry", choose="time"), [], ["when patients enter"]),
        ("sepsis", Words("28 d", "entry", choose="cost"), [], ["needs prices"]),
        ("sepsis", Words("28 d", "entry", power=0.04), [], ["must be between alpha"]),
        ("sepsis", Words("28 d", "entry", futility=9.0), [], ["must be a z from -5 to 5"]),
        ("sepsis", Words("28 d,90 d", "entry"), ["nature.control_risk=0.4"], ["must rise"]),
        (
            "sepsis",
            Words("28 d,90 d", "entry"),
            ["scenarios.or-082.effect_from=[{since: 60 d, effect: {odds_ratio: 0.2}}]"],
            ["has fewer patients with the event by 90 d", "effect_from"],
        ),
        ("delayed-effect", Words(), [], ["does not read an endpoint of kind time-to-event"]),
    ],
)
def test_regression_bad_horizons_are_refused_with_a_remedy(template, words, settings, expected):
    with pytest.raises(RequestError) as caught:
        planned(template, words, settings)
    shown = " ".join(map(str, caught.value.problems))
    assert all(part in shown for part in expected), shown
    assert all(problem.remedy for problem in caught.value.problems)


def test_regression_a_choice_under_a_claim_needs_to_be_accepted():
    words = Words("28 d,90 d", "entry", choose="power", accept_claim=True)
    plan = planned("sepsis", words, scenarios=["or-041"])
    assert plan.recommended(0).by(Choice.POWER) == 113


def test_regression_the_command_line_says_what_the_study_found(trialsim, tmp_path):
    words = ("followup", "chronic-hepatitis-b", "--at", "6 mo,12 mo", "--from", "end-of-therapy")
    done = trialsim(*words, "--replicates", "500", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.isascii()
    assert len(list(tmp_path.glob("trialsim-runs/*/figures/followup.svg"))) == 1
    told = trialsim(*words, "--replicates", "500", "--json", cwd=tmp_path)
    reported = trialsim("report", "last", "--markdown", "followup.md", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    page = (tmp_path / "followup.md").read_text(encoding="utf-8")
    assert "## Follow-up durations" in page
    assert "Operating characteristics" not in page  # of a simulation there is none
    document = json.loads(told.stdout)
    plan = planned("chronic-hepatitis-b", Words("6 mo,12 mo", "end-of-therapy"))
    assert document["rows"] == [row.as_dict() for row in plan.result(replicates=500).rows]


def test_regression_the_cost_of_a_horizon_does_not_depend_on_the_others():
    """Every horizon added a visit, which all later ones paid."""
    alone = planned("chronic-hepatitis-b", Words("18 mo", "entry"))
    others = planned("chronic-hepatitis-b", Words("3 mo,5 mo,7 mo,18 mo", "entry"))
    visits = (
        7  # of the file: at 3 months, the end of therapy, and 3, 6, 9, 12 months after it; entry
    )
    months_running = 12 + 547.875 / 30.4375
    once = 8 * 5000 + 32 * 52 * 30 + 8000
    expected = 64 * (3000 + 250 * visits) + months_running * (6000 + 8 * 400) + once
    assert alone.cost(alone.horizons[-1], 64) == pytest.approx(expected, rel=1e-6)
    assert others.cost(others.horizons[-1], 64) == alone.cost(alone.horizons[-1], 64)


def test_regression_the_reference_is_the_last_in_time_whatever_was_typed_first():
    assert str(planned("chronic-hepatitis-b", Words("12 mo,6 mo", "entry")).reference.time) == str(
        planned("chronic-hepatitis-b", Words("6 mo,12 mo", "entry")).reference.time
    )
    primary = planned("chronic-hepatitis-b", Words("18 mo,21 mo", "entry")).reference
    assert str(primary.time.after) == "18 mo"  # 12 months after 26 weeks of therapy


@pytest.mark.parametrize(
    ("template", "words", "expected"),
    [
        ("sepsis", Words("28,60", "entry"), 'Write --at "28 d" --from entry'),
        ("sepsis", Words("120 d", "entry"), "{by: 120 d, risk: P}"),
        ("sepsis", Words("28 d", "entry", "90"), 'Write --reference "90 d" --from entry'),
        ("sepsis", Words("28 d", "entry", futility=0.0), "Add an earlier time to --at"),
    ],
)
def test_regression_remedies_can_be_typed(template, words, expected):
    with pytest.raises(RequestError) as caught:
        planned(template, words)
    assert any(expected in str(problem) for problem in caught.value.problems)


def test_regression_screen_and_report_say_what_was_set_and_what_is_assumed(trialsim, tmp_path):
    words = ("followup", "chronic-hepatitis-b", "--replicates", "300", "--futility", "0")
    words += ("--set", "nature.response.loss_per_year=0.2", "--scenario", "chien-1998")
    done = trialsim(*words, "--choose", "cost", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    shown = " ".join(done.stdout.split())
    for told in (
        "nature.response.loss_per_year: set by you: 0.2",
        "less what 18 mo finds in the same trials: 3 mo -",
        "Prices are assumed.",
        "the more are lost, the more of those who stay respond",
    ):
        assert told in shown
    assert trialsim("report", "last", "--markdown", "r.md", cwd=tmp_path).returncode == 0
    page = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "| loss per year | 0.2 | set by you |" in page
    assert "If trials were stopped early for futility" in page
    (document,) = tmp_path.glob("trialsim-runs/*/results/followup.json")
    assert json.loads(document.read_text())["arguments"]["futility"] == 0
