"""Calibration: closed forms, the shipped commands, what is flat, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import time
from math import exp, log, log1p, sqrt

import numpy as np
import pytest
import yaml
from scipy.optimize import minimize

from conftest import ROOT
from trialsim import load_template
from trialsim.cli.parser import parse
from trialsim.errors import RequestError
from trialsim.kernels.likelihood import coverage_of_interval, log_likelihood
from trialsim.studies.fitted.calibration import (
    CalibrationRequest,
    calibration_request,
    plan_calibration,
)
from trialsim.trial import Measure

CHIEN = "chien-1998:complete-response-18mo"
MUTCHNICK = (
    "mutchnick-1999:complete-response-12mo",
    "mutchnick-1999:complete-response-delayed@18 mo",
)
YOU = (
    "you-2006:complete-response-end-of-therapy-v-historical",
    "you-2006:complete-response-6mo-v-historical",
)
TEMPLATE = ROOT / "protocols" / "chronic-hepatitis-b.yaml"
DAYS_18, DAYS_26_WK, YEAR = 547.875, 182.0, 365.25
COMMAND = re.compile(r"# (trialsim calibrate .*)\n +- id: (\S+)")

OWN = """
schema_version: 1
evidence:
  - id: mine
    kind: trial
    title: Mine
    citation: Made up for a test.
    condition: hepatitis-b
    design: {randomised: true}
    results:
      - id: at-18
        outcome: response
        at: 18 mo
        experimental: {n: 30, events: 30}
        control: {n: 30, events: 0}
      - {id: percent, outcome: response, at: 18 mo, unit: "%", control: {value: 12}}
  - {id: pool-a, kind: pool, title: A, citation: x, condition: c, outcome: o,
     includes: [chien-1998], at: 12 mo,
     effects: [{measure: odds ratio, value: 2, ci: [1, 4], status: derived}]}
  - {id: pool-b, kind: pool, title: B, citation: y, condition: c, outcome: o,
     includes: [chien-1998], at: 18 mo,
     effects: [{measure: odds ratio, value: 3, ci: [1.5, 6], status: derived}]}
  - {id: pool-c, kind: pool, title: C, citation: z, condition: c, outcome: o,
     at: 18 mo, effects: [{measure: risk ratio, value: 3, ci: [1.5, 6], status: derived}]}
"""


@pytest.fixture(scope="module")
def own_evidence(tmp_path_factory):
    path = tmp_path_factory.mktemp("evidence") / "own.yaml"
    path.write_text(OWN)
    return path


def planned(*to, free=("control", "treated"), scenario=None, accept_flat=False, **loading):
    resolved = load_template("chronic-hepatitis-b", **loading)
    return plan_calibration(resolved, CalibrationRequest(to, free, scenario, accept_flat))


def by_name(plan, **more):
    return {e.parameter.name: e for e in plan.estimates(**more)}


def test_analytic_chien_1998_is_the_closed_form_and_fits_its_points():
    plan = planned(CHIEN)
    found = by_name(plan)
    control = -log1p(-3 / 32) / DAYS_18
    treated = (-log1p(-13 / 32) - control * DAYS_26_WK) / (DAYS_18 - DAYS_26_WK)
    assert found["control-1"].value == pytest.approx(control * YEAR, rel=1e-7)
    assert found["treated-2"].value == pytest.approx(treated * YEAR, rel=1e-7)
    assert [p.fitted for p in plan.fitted_points] == pytest.approx([3 / 32, 13 / 32], abs=1e-8)
    assert [p.residual for p in plan.fitted_points] == pytest.approx([0, 0], abs=1e-6)


def test_analytic_the_likelihood_is_that_of_increments_so_intervals_ignore_other_times():
    """The first hazard's interval is that of 2/48 alone, whatever came later."""
    alone = by_name(
        planned(f"{MUTCHNICK[0]}:control", free=("control-1",), scenario="mutchnick-1999")
    )
    both = by_name(planned(*MUTCHNICK, scenario="mutchnick-1999"))
    for end in ("value", "lower", "upper"):
        assert getattr(both["control-1"], end) == pytest.approx(
            getattr(alone["control-1"], end), rel=1e-5
        )
    # and the second that of 4 of the 46 left, over half a year
    year = DAYS_18 / YEAR - 1
    assert both["control-2"].value == pytest.approx(-log1p(-4 / 46) / year, rel=1e-6)


def test_analytic_a_published_rate_has_the_normal_interval_of_its_logarithm():
    found = by_name(planned("lee-2021", scenario="untreated-north-america", variant="calibrated"))[
        "control-1"
    ]
    half = 1.959963984540054 / sqrt(164)
    expected = (0.114, 0.114 * exp(-half), 0.114 * exp(half))
    assert (found.value, found.lower, found.upper) == pytest.approx(expected, rel=1e-6)


def test_analytic_three_odds_ratios_are_met():
    to = ("chan-2001-end-of-therapy", "chan-2001-6mo", "chan-2001-12mo")
    plan = planned(*to, scenario="chan-2001", variant="calibrated")
    fitted = [exp(p.fitted) for p in plan.fitted_points]
    assert fitted == pytest.approx([0.56, 1.67, 2.67], rel=1e-7)
    resolved = load_template("chronic-hepatitis-b", variant="calibrated")
    (scenario,) = resolved.scenarios(["chan-2001"])
    c, t = resolved.truth(scenario).risks_on(DAYS_26_WK)
    assert t / (1 - t) * (1 - c) / c == pytest.approx(0.56, rel=1e-4)  # six digits in the file


def test_property_a_course_that_misses_a_point_says_so():
    result = planned(CHIEN, scenario="no-effect").result(replicates=50)
    assert f"misses {CHIEN}, control (-2.26)" in result.texts["misfit"]
    assert "misfit" not in planned(CHIEN).result(replicates=50).texts


SHIPPED = COMMAND.findall(TEMPLATE.read_text(encoding="utf-8"))


def test_property_every_calibrated_scenario_names_its_command():
    named = {scenario for _, scenario in SHIPPED}
    assert named == {
        *("chien-1998", "mutchnick-1999", "you-2006", "chan-2001"),
        *("untreated-in-trials", "untreated-north-america", "untreated-taiwan"),
    }


@pytest.mark.parametrize(("command", "scenario"), SHIPPED, ids=[name for _, name in SHIPPED])
def test_regression_the_command_beside_a_scenario_gives_its_hazards(command, scenario):
    options = parse(shlex.split(command)[1:])
    resolved = load_template(options.template, variant=options.variant)
    plan = plan_calibration(resolved, calibration_request(options))
    assert plan.scenario.id == scenario
    for e in plan.estimates():
        assert e.determined
        assert f"{e.value:.6g}" == f"{e.parameter.shown(e.parameter.value):.6g}"
    assert {p.name for p in plan.parameters} >= {"control-1"} or scenario == "chan-2001"


def test_regression_the_template_without_variant_is_what_it_was():
    resolved = load_template("chronic-hepatitis-b")
    assert [s.id for s in resolved.template.scenarios] == [
        "no-effect",
        "chien-1998",
        "mutchnick-1999",
    ]
    source = load_template("chronic-hepatitis-b", variant="calibrated")
    (you,) = source.scenarios(["you-2006"])
    assert source.truth(you).from_data_of == "you-2006"


THREE = (
    "scenarios.mutchnick-1999.response.control=[{until: 6 mo, hazard_per_year: 0.1}, "
    "{until: 12 mo, hazard_per_year: 0.1}, {until: 18 mo, hazard_per_year: 0.1}]"
)


def test_analytic_three_hazards_and_two_points_are_flat_and_said_to_be():
    to = [f"{MUTCHNICK[0]}:control", "mutchnick-1999:complete-response-delayed:control@18 mo"]
    flat = {"free": ("control",), "scenario": "mutchnick-1999", "settings": [THREE]}
    plan = planned(*to, accept_flat=True, **flat)
    found = by_name(plan, replicates=100)
    assert [e.determined for e in found.values()] == [False, False, True]
    assert [e.coverage is None for e in found.values()] == [True, True, False]
    assert found["control-1"].lower == found["control-2"].lower == 0
    total = 0.5 * (found["control-1"].value + found["control-2"].value)
    assert total == pytest.approx(-log1p(-2 / 48), rel=1e-6)  # over a year, in halves
    result = plan.result(replicates=100)
    said = " ".join(text for key, text in result.texts.items() if key.startswith("undetermined"))
    assert "before and after 6 mo (control-1 and control-2): only what they add up to by 12" in said
    hazards = [row for row in result.rows if row.measure is Measure.HAZARD]
    assert [row.value is None for row in hazards] == [True, True, False]
    with pytest.raises(
        RequestError, match=r"3 parameters .* of 2 points.*--free control-1,control-3"
    ):
        planned(*to, **flat)


def test_analytic_relapse_that_one_time_cannot_tell_is_flat():
    plan = planned(CHIEN, free=("control", "treated", "relapse"), accept_flat=True)
    assert not any(e.determined for e in by_name(plan).values())
    texts = plan.result(replicates=100).texts
    assert "responses that come faster and are lost faster look the same" in texts["undetermined-1"]


def test_analytic_no_event_and_only_events(own_evidence):
    plan = planned("mine:at-18", evidence_files=[own_evidence])
    found = by_name(plan, replicates=100)
    years = DAYS_18 / YEAR
    assert found["control-1"].value == found["control-1"].lower == 0
    # profiled over the treated arm, whose 30/30 are met whatever the control arm does
    assert found["control-1"].upper == pytest.approx(3.841459 / 2 / (30 * years), rel=1e-3)
    assert found["treated-2"].upper is None
    assert found["treated-2"].lower > 0
    said = " ".join(plan.result(replicates=100).texts.values())
    assert "control-1: may be 0" in said
    assert "the points give no upper limit" in said


def test_analytic_enumerated_coverage_is_that_of_one_proportion_and_of_the_simulation():
    plan = planned(f"{MUTCHNICK[0]}:control", free=("control-1",), scenario="mutchnick-1999")
    (e,) = plan.estimates(replicates=1)
    assert e.mcse is None
    assert e.coverage == pytest.approx(coverage_of_interval(48, 2 / 48), abs=1e-4)
    assert round(e.coverage, 2) == 0.86
    plan = planned(CHIEN)
    exact = plan.coverage(1, 1)
    plan.__dict__["tables"] = lambda: None  # as if there were too many
    simulated = plan.coverage(4_000, 1)
    for one, other in zip(exact, simulated, strict=True):
        assert abs(one.value - other.value) <= 4 * other.mcse


def test_reference_maximum_and_profile_with_relapse_are_scipys():
    """Nelder and Mead's simplex on the log-likelihood, from several places."""
    to = ("you-2006:complete-response-end-of-therapy", "you-2006:complete-response-6mo")
    plan = planned(
        *to, free=("control", "treated", "relapse"), scenario="you-2006", variant="calibrated"
    )

    def best_by_simplex(place, at):
        def minus(others):
            theta = np.insert(others, place, at) if place is not None else others
            if (theta < plan.low).any() or (theta > plan.high).any():
                return 1e9
            return -log_likelihood(plan.data, *plan.terms(theta[None]))[0]

        starts = plan.starts[0][[0, 3, 7]]
        starts = np.vstack([starts, plan.best])
        if place is not None:
            starts = np.delete(starts, place, axis=1)
        options = {"maxiter": 4_000, "maxfev": 4_000, "xatol": 1e-8, "fatol": 1e-10}
        found = [minimize(minus, s, method="Nelder-Mead", options=options).fun for s in starts]
        return -min(found)

    top = log_likelihood(plan.data, *plan.terms(plan.best[None]))[0]
    assert top == pytest.approx(best_by_simplex(None, 0.0), abs=1e-6)
    place = [p.name for p in plan.parameters].index("relapse")
    for end in (limit[place] for limit in plan.limits):
        assert top - best_by_simplex(place, end) == pytest.approx(3.841459 / 2, abs=1e-4)


@pytest.mark.parametrize("missed", [0.0, 0.2])
def test_analytic_simulated_counts_have_the_probabilities_of_the_fit(missed):
    to = ("you-2006:complete-response-end-of-therapy", "you-2006:complete-response-6mo")
    settings = [f"nature.response.missed_visits={missed}"]
    free = ("control", "treated", "relapse")
    plan = planned(*to, free=free, scenario="you-2006", variant="calibrated", settings=settings)
    n_sets = 4_000
    events, _ = plan.simulated(np.random.default_rng(5), n_sets)
    for index, found in enumerate(plan.fitted_points):
        n, p = plan.counts[index].n, found.fitted
        error = sqrt(p * (1 - p) / n / n_sets)
        assert abs(events[:, index].mean() / n - p) <= 4 * error
        assert events[:, index].var() / n == pytest.approx(p * (1 - p), rel=0.12)


@pytest.mark.parametrize(
    ("to", "more"),
    [
        ((CHIEN,), {}),
        ((CHIEN,), {"free": ("control", "treated", "relapse", "delay"), "accept_flat": True}),
        (YOU, {"scenario": "you-2006", "variant": "calibrated"}),
        (("chan-2001-6mo", "chan-2001-12mo"), {"free": ("treated-2", "delay")}),
    ],
)
def test_property_the_scenario_printed_is_a_scenario(to, more, tmp_path):
    plan = planned(*to, **more)
    result = plan.result(replicates=50, made_by="trialsim calibrate chronic-hepatitis-b --to x")
    block = yaml.safe_load(result.texts["scenarios"])
    content = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    del content["variants"], content["qc"]
    content["scenarios"] = block["scenarios"]
    content["nature"]["response"] |= block.get("nature", {}).get("response", {})
    path = tmp_path / "pasted.yaml"
    path.write_text(json.dumps(content))
    resolved = load_template(str(path))
    (scenario,) = resolved.scenarios()
    truth = resolved.truth(scenario)
    for day in (100.0, 300.0, 500.0):
        fitted = [
            plan.model.response(arm, plan.fitted, np.array([day]))[0, 0]
            for arm in ("control", "treated")
        ]
        assert truth.risks_on(day) == pytest.approx(fitted, abs=2e-6)


@pytest.mark.parametrize(
    ("to", "more", "expected"),
    [
        (["chein-1998"], {}, ["no known evidence record", "Did you mean 'chien-1998'?"]),
        (["chien-1998:complete-response-18"], {}, ["names no result", "Did you mean"]),
        (["chien-1998"], {}, ["share patients: one arm of one trial on one day", "Name one of"]),
        ([CHIEN, CHIEN], {}, ["is named twice"]),
        (["iino-2005"], {}, ["has no result with counts"]),
        (["iino-2005:alt-normal-72wk"], {}, ["states no counts"]),
        (["mine:percent"], {}, ["states no counts"]),
        (["mutchnick-1999:delayed-response"], {}, ["not published", "@18 mo"]),
        ([f"{CHIEN}@6 mo"], {}, ["has a time of its own"]),
        ([f"{CHIEN}:placebo"], {}, ["names no arm: 'placebo'"]),
        (["mutchnick-1999:delayed-response@soon"], {}, ["no length of time", "@18 mo"]),
        (["you-2006:complete-response-end-of-therapy", "you-2006:complete-response-6mo"], {},
         ["fewer in response in the control arm (9/33) than before (15/33)", "relapse"]),
        (["pool-a", "pool-b"], {}, ["pool-a, pool-b, which share patients", "--to pool-b"]),
        (["pool-b", CHIEN], {}, ["share patients: one contains the other", f"--to {CHIEN}"]),
        (["pool-c"], {}, ["gives no odds ratio"]),
        (["yang-2008-6mo-virological", "yang-2008-6mo-complete"], {},
         ["one publication and one day"]),
        (["lee-2021:hbeag-los"], {}, ["names no quantity", "hbeag-loss"]),
        (["yuen-2003"], {}, ["no rate per 100 person-years"]),
        (["zhang-2009"], {}, ["kind document"]),
        ([CHIEN], {"free": ("control", "treated", "relapse")},
         ["3 parameters", "of 2 points", "--free control-1,treated-2", "--accept-flat"]),
        ([CHIEN], {"free": ("contrl",)}, ["no parameter of this scenario", "'control'"]),
        ([f"{CHIEN}:control"], {"free": ("treated",)}, ["no point speaks of it"]),
    ],
)  # fmt: skip
def test_regression_bad_requests_are_refused_with_a_remedy(to, more, expected, own_evidence):
    with pytest.raises(RequestError) as caught:
        planned(*to, evidence_files=[own_evidence], **more)
    shown = " ".join(map(str, caught.value.problems))
    assert all(part in shown for part in expected), shown
    assert all(problem.remedy for problem in caught.value.problems)


def test_regression_other_endpoints_are_refused_by_name():
    with pytest.raises(RequestError, match=r"of kind binary.*as_observed"):
        plan_calibration(load_template("sepsis"), CalibrationRequest(("tests-2025",)))


def test_regression_impossible_counts_are_refused_where_they_stand(trialsim, tmp_path):
    (tmp_path / "bad.yaml").write_text(OWN.replace("events: 0", "events: 31"))
    words = ("--to", "mine:at-18", "--evidence", "bad.yaml")
    done = trialsim("calibrate", "chronic-hepatitis-b", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.yaml:15" in done.stderr
    assert "must be at most n, which is 30" in done.stderr


def test_regression_the_command_line_says_what_the_study_found(trialsim, tmp_path):
    words = ("calibrate", "chronic-hepatitis-b", "--to", CHIEN)
    done = trialsim(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.isascii()
    assert len(list(tmp_path.glob("trialsim-runs/*/figures/calibration.svg"))) == 1
    report = trialsim("report", "last", "--out", "r.html", "--markdown", "r.md", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert "Calibration to published results" in (tmp_path / "r.html").read_text()
    assert "Nothing is known after 18 mo" in (tmp_path / "r.md").read_text()
    document = json.loads(trialsim(*words, "--json", cwd=tmp_path).stdout)
    result = planned(CHIEN).result(made_by=" ".join(("trialsim", *words)))
    assert document["rows"] == [row.as_dict() for row in result.rows]
    assert document["observed"] == [row.as_dict() for row in result.observed]
    assert document["texts"] == dict(result.texts)


def test_property_a_calibration_takes_less_than_five_seconds():
    started = time.process_time()
    plan = planned(*MUTCHNICK, scenario="mutchnick-1999")
    plan.result()
    plan.profiles()
    assert time.process_time() - started < 5
    assert log(plan.estimates()[0].value) == pytest.approx(plan.best[0] + log(YEAR))
