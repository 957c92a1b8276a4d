"""What estimands and intercurrent events must not say, beyond the files of the corpus."""

from __future__ import annotations

import pytest

from trialsim import ProtocolError, check_file

STOPPING = "[{id: stopping, control: {hazard_per_year: 0.3}%s}]"
RISK = "kind: binary, event: relapse, at: 6 mo, better: lower"
SCORE = "kind: ordinal, variable: state, at: 28 d, better: higher, categories: [a, b, c]"
VALUE = "kind: continuous, variable: score, unit: points, at: [28 d], better: lower"
COUNT = "kind: count, event: attacks, at: 6 mo, better: lower"
MODEL = {
    SCORE: "{probabilities: [0.2, 0.3, 0.5]}",
    VALUE: "{mean: 20, sd: 8}",
    COUNT: "{rate_per_year: 2}",
}
CASES = {
    "imputes a stratum": (
        RISK,
        "further_estimands: [{id: other, intercurrent_events: {stopping: principal stratum}, "
        "missing: multiple imputation}]",
        "",
        "imputes, beside a principal stratum",
        "Use complete case.",
    ),
    "imputes ranks": (
        VALUE,
        "estimand: {intercurrent_events: {stopping: composite variable}, "
        "missing: multiple imputation}",
        "",
        "imputes, beside a composite strategy",
        "Use complete case or missing is failure.",
    ),
    "an estimand called main": (
        RISK,
        "further_estimands: [{id: main}]",
        "",
        "stands twice",
        "'main' is the endpoint's own estimand.",
    ),
    "while on a score": (
        SCORE,
        "further_estimands: [{id: other, intercurrent_events: {stopping: while on treatment}}]",
        "",
        "is scored once, so nothing is known earlier",
        "Use another strategy.",
    ),
    "while on a value without baseline": (
        VALUE,
        "further_estimands: [{id: other, intercurrent_events: {stopping: while on treatment}}]",
        "",
        "needs a value of who has the event before the first visit: the baseline",
        "Add baseline:",
    ),
    "a hypothetical score without a method": (
        SCORE,
        "further_estimands: [{id: other, intercurrent_events: {stopping: hypothetical}}]",
        "",
        "is 'multiple imputation', which a hypothetical strategy asks for, but an endpoint of kind "
        "ordinal has no such method",
        "Use complete case or missing is failure.",
    ),
    "a worst count": (
        COUNT,
        "estimand: {intercurrent_events: {stopping: composite variable}}",
        "",
        "has no worst number of events",
        "Use another strategy.",
    ),
    "a hazard by the value of a risk": (
        RISK,
        "",
        ", hazard_ratio_per_sd: {endpoint: y, previous: 2}",
        "must be a continuous endpoint under nature.outcomes",
        "nature.correlations",
    ),
    "a hazard by no value": (
        VALUE,
        "",
        ", hazard_ratio_per_sd: {endpoint: y}",
        "must have 'previous' or 'current'",
        "previous: 1.5",
    ),
    "a hazard by the state of a risk": (
        RISK,
        "",
        ", by_state: {response: 0.5}",
        "is for a primary endpoint of kind response",
        "Use hazard_ratio_per_sd, or nature.correlations.",
    ),
    "an effect on another scale": (
        RISK,
        "",
        ", then: {effect: {y: {mean_difference: 1}}}",
        "must be one odds_ratio for an endpoint of kind binary",
        "{odds_ratio: 1.5}",
    ),
}


def problems_of(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ProtocolError) as caught:
        check_file(str(path))
    return caught.value.problems


def written(kind, beside="", event="", nature="", scenario=""):
    model = f"outcomes: {{y: {MODEL[kind]}}}" if kind in MODEL else "control_risk: 0.4"
    return f"""
schema_version: 1
id: asked
title: Several questions
protocol:
  arms: [{{id: drug, role: experimental}}, {{id: placebo, role: control}}]
  endpoints:
    - {{id: y, level: primary, {kind}{", " if beside else ""}{beside}}}
  sample_size: {{total: 200}}
nature:
  {model}
  intercurrent_events: {STOPPING % event}
  {nature}
scenarios:
  - {{id: none, title: no effect{scenario}}}
"""


@pytest.mark.parametrize("case", CASES)
def test_regression_what_cannot_be_is_said_with_a_remedy(tmp_path, case):
    kind, beside, event, rule, remedy = CASES[case]
    (problem,) = problems_of(tmp_path, written(kind, beside, event))
    assert rule in problem.rule
    assert remedy in problem.remedy
    assert problem.line


def test_regression_an_event_has_an_id_of_its_own(tmp_path):
    text = written(RISK).replace("id: stopping", "id: y")
    (problem,) = problems_of(tmp_path, text)
    assert problem.rule == "is the id of an endpoint too"


def test_regression_a_scenario_changes_only_what_there_is(tmp_path):
    changed = ", intercurrent_events: {stoping: {treated: {hazard_per_year: 1}}}"
    (problem,) = problems_of(tmp_path, written(RISK, scenario=changed))
    assert problem.rule == "is no process under nature.intercurrent_events"
    assert problem.remedy == "Did you mean 'stopping'?"


def test_regression_every_mistake_is_said_at_once(tmp_path):
    beside = "further_estimands: [{id: a, missing: jump to reference}, {id: a}]"
    found = problems_of(tmp_path, written(RISK, beside, ", then: {effect: {x: {odds_ratio: 2}}}"))
    assert len(found) == 3


def test_regression_a_time_to_an_event_has_no_such_events_yet(tmp_path):
    text = written("kind: time-to-event, event: death, at: 12 mo, better: lower")
    text = text.replace("control_risk: 0.4", "survival: {median: 10 mo}\n  enrolment: {even: 6 mo}")
    text = text.replace("  sample_size", "  looks: [{at: {events: 50}}]\n  sample_size")
    rules = [problem.rule for problem in problems_of(tmp_path, text)]
    assert "is of kind time-to-event, which has no intercurrent events yet" in rules
