"""What a single-arm file must not say, and what stands in no other: one rule, one message."""

from __future__ import annotations

import pytest

from conftest import CORPUS
from trialsim import ProtocolError, load_template

RISK, MEAN = (str(CORPUS / "valid" / f"{name}.yaml") for name in ("single-arm", "single-arm-cd4"))
PARALLEL = str(CORPUS / "valid" / "ten-lines.yaml")
ARM = "protocol.arms.earlier-patients"
RESPONSE = "protocol.endpoints.response"
CD4 = "protocol.endpoints.cd4"
BASELINE = "nature.outcomes.cd4.baseline"


def problems_of(file, *settings):
    with pytest.raises(ProtocolError) as caught:
        load_template(file, settings=settings)
    return [str(problem) for problem in caught.value.problems]


WRONG = [
    (RISK, ["protocol.allocation={method: simple}"], "allocation.method does not apply"),
    (RISK, ["protocol.blinding=[assessors]"], "blinding does not apply to a single arm"),
    (RISK, ["protocol.sample_size={per_arm: {drug: 43}}"], "per_arm names arms"),
    (RISK, ["protocol.looks=[{at: {information: 1}}]"], "looks are of two arms"),
    (RISK, ["observed=[tests-2025]"], "with events and patients in the treated arm"),
    (RISK, ["observed=[gu-2025]"], "is no trial, whose treated arm"),
    (
        RISK,
        ["observed=[{evidence: dillman-1987, result: response-nsclc, measure: odds ratio}]"],
        "compares two arms, but this trial has a single one",
    ),
    (RISK, ["observed=[{evidence: dillman-1987, endpoint: x}]"], "is no endpoint that is simul"),
    (MEAN, ["observed=[dillman-1987]"], "with mean and n in the treated arm"),
    (RISK, [f"{ARM}.historical=null"], "must state the historical risk of 'response'"),
    (RISK, [f"{ARM}.historical={{response: {{mean: 3}}}}"], "must state the historical risk"),
    (RISK, [f"{ARM}.historical={{response: {{risk: 0.2, n: 30}}}}"], "as known, but that is seen"),
    (RISK, [f"{ARM}.historical={{response: {{risk: 0.2}}, x: {{risk: 0.2}}}}"], "is no endpoint"),
    (RISK, ["nature.historical={x: {drift: {odds_ratio: 2}}}"], "is no endpoint that is simulated"),
    (
        RISK,
        ["nature.historical={response: {drift: {mean_difference: 2}}}"],
        "must be odds_ratio for this endpoint",
    ),
    (
        RISK,
        [f"{RESPONSE}.analysis=fisher", "protocol.two_stage=null"],
        "compares two samples, but the historical risk is stated as known",
    ),
    (RISK, ["protocol.test.sides=2"], "is one-sided"),
    (RISK, ["protocol.two_stage.first=43"], "must be below 43, the patients in all"),
    (RISK, ["protocol.two_stage.reject_if_above=43"], "must be below 43, the patients in all"),
    (RISK, ["protocol.two_stage.reject_if_above=3"], "which everyone who goes on has reached"),
    (RISK, ["scenarios.hoped-for.effect.risk_difference=0.8"], "is not between 0 and 1"),
    (
        RISK,
        ["scenarios.no-effect.as_observed=tests-2025"],
        "in the treated arm for 'response', neither none nor all",
    ),
    (MEAN, [f"{CD4}.analysis=ancova"], "must not be ancova in a single arm"),
    (MEAN, [f"{CD4}.analysis=t-test"], "must state the historical mean of 'cd4'"),
    (
        MEAN,
        ["protocol.arms.as-at-entry.historical={cd4-cd8: {mean: 1}}"],
        "must be 'geometric_mean' on this endpoint's scale",
    ),
    (
        MEAN,
        ["protocol.arms.as-at-entry.historical={cd4: {mean: 1, n: 30}}"],
        "must have both of 'n' and 'sd', or neither",
    ),
    (
        MEAN,
        [f"{CD4}.analysis=welch", "protocol.arms.as-at-entry.historical={cd4: {mean: 1}}"],
        "compares two samples, but the historical value",
    ),
    (MEAN, ["protocol.two_stage={first: 9, stop_if_at_most: 1, reject_if_above: 5}"], "responses"),
    (MEAN, [f"{BASELINE}.at_most=5000"], "leaves out nobody"),
    (MEAN, [f"{BASELINE}.at_most=-800"], "leaves nobody eligible"),
    (MEAN, [f"{BASELINE}.at_least=450"], "leaves nobody eligible"),
    (
        MEAN,
        ["nature.outcomes.cd4-cd8.baseline.at_most=0.7"],
        "is a second cut, beside that of 'cd4'",
    ),
    (
        MEAN,
        ["nature.correlations=[{between: [cd4, severity], value: 0.3}]"],
        "correlates with 'cd4', whose baseline decides",
    ),
    (PARALLEL, ["protocol.arms.usual-care.historical={x: {risk: 0.3}}"], "is for the historical"),
    (PARALLEL, ["nature.historical={x: {}}"], "a concurrent control arm meets the same"),
    (PARALLEL, ["protocol.endpoints.death-28d.analysis=exact-binomial"], "compares a single arm"),
    (
        PARALLEL,
        ["protocol.two_stage={first: 9, stop_if_at_most: 1, reject_if_above: 5}"],
        "two_stage is for a single arm",
    ),
    (PARALLEL, ["protocol.design=single-arm"], "must have one experimental and one historical arm"),
]


@pytest.mark.parametrize(("file", "settings", "words"), WRONG, ids=[w for _, _, w in WRONG])
def test_property_what_cannot_be_in_one_arm_is_refused_with_a_remedy(file, settings, words):
    problems = problems_of(file, *settings)
    assert len(problems) == 1, problems
    assert words in problems[0]
    assert problems[0].endswith((".", "?"))


def test_property_an_endpoint_of_another_kind_is_refused_by_name():
    endpoint = (
        f"{RESPONSE}={{id: response, level: primary, kind: response, event: response, at: 12 wk, "
        "better: higher}"
    )
    problems = problems_of(RISK, endpoint)
    assert any("is of kind response, which a single arm does not have yet" in p for p in problems)


def test_property_a_cited_historical_risk_must_stand_in_its_record():
    settings = f"{ARM}.historical={{response: {{risk: {{value: 0.31, source: tests-2025}}}}}}"
    (problem,) = problems_of(RISK, settings)
    assert "cites tests-2025, which states" in problem
    right = settings.replace("0.31,", "0.241,")
    assert load_template(RISK, settings=[right]).template.protocol.control.historical


def test_analytic_the_truth_states_historical_and_concurrent_risks():
    resolved = load_template(RISK)
    null, effect = (resolved.truth(s) for s in resolved.template.scenarios)
    odds = 0.25 * 1.5 * 1.3
    assert null.control_risk == null.treated_risk == pytest.approx(odds / (1 + odds))
    assert effect.treated_risk == pytest.approx(odds / (1 + odds) + 0.2)
    assert effect.comparison("response").control.value == 0.2
    assert null.is_null
    assert not effect.is_null


def test_property_nature_may_state_the_risk_of_patients_like_todays():
    resolved = load_template(RISK, settings=["nature.control_risk=0.25", "nature.historical=null"])
    truth = resolved.truth(resolved.template.scenarios[0])
    assert truth.control_risk == 0.25
    assert truth.comparison("response").control.value == 0.2
