"""Files that once broke something: each is answered in words, at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import CORPUS
from trialsim import ProtocolError, RequestError, check_file, load_template, plan_simulation
from trialsim.protocol.reading.load import shipped_evidence
from trialsim.trial import Measure

TEN_LINES = (CORPUS / "valid" / "ten-lines.yaml").read_text(encoding="utf-8")
POOL = """evidence:
  - {id: one, kind: pool, title: One, citation: x, condition: any, outcome: death, includes: [two],
     effects: [{measure: odds ratio, value: 0.7, status: published}]}
  - {id: two, kind: pool, title: Two, citation: x, condition: any, outcome: death, includes: [one],
     effects: [{measure: odds ratio, value: 0.7, status: published}]}
"""


def problems_of(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "f.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError) as caught:
        check_file(str(path))
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title: My", "value: 3\ntitle: My", "value is not a known key"),
        ("0.30", "1.2.3%", "must be a number"),
        ("0.30", "{value: 0.00001, source: tests-2025}", "cites tests-2025, which states 0.2413"),
        ("{total: 400}", "{total: 400}\n  test: {alpha: 1.0e-17}", "must be at least 1e-06"),
        ("at: 28 d", "at: 0 d", "must come after entry"),
        ("at: 28 d", f"at: {'9' * 400} d", "must be a number with a unit of time"),
        (
            "{odds_ratio: 0.70}",
            "{hazard_ratio: 0.70}",
            "a hazard ratio needs a time-to-event endpoint",
        ),
        (
            "scenarios:",
            "observed: [gu-2025, gu-2025]\nscenarios:",
            "stands twice in observed",
        ),
    ],
)
def test_regression_is_refused_in_one_message(old, new, words, tmp_path):
    (message,) = problems_of(TEN_LINES.replace(old, new, 1), tmp_path)
    assert words in message


def test_regression_twenty_thousand_typos_show_fifty_problems_at_once(tmp_path):
    text = TEN_LINES + "".join(f"titel{i}: x\n" for i in range(20_000))
    assert len(problems_of(text, tmp_path)) == 50


def test_regression_pools_that_include_each_other_end(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text(TEN_LINES + POOL, encoding="utf-8")
    evidence = check_file(str(path)).evidence
    assert evidence.shares_patients("one", "two")


def test_regression_own_records_do_not_replace_shipped_ones(tmp_path):
    record = (
        "evidence:\n  - {id: etass-2013, kind: document, title: x, citation: x, condition: any}\n"
    )
    (message,) = problems_of(TEN_LINES + record, tmp_path)
    assert "stands already among the shipped records" in message


def test_regression_a_set_value_key_drops_the_source_too():
    changed = load_template("sepsis", settings=["nature.control_risk.value=0.3"])
    assert changed.template.nature.control_risk.source is None
    assert changed.set_by_user("nature.control_risk").endswith("template: 0.241, tests-2025")


@pytest.mark.parametrize("setting", ["title=\udcff", "nature.control_risk="])
def test_regression_odd_settings_are_refused(setting):
    with pytest.raises((ProtocolError, RequestError)):
        load_template("sepsis", settings=[setting])


@pytest.mark.parametrize(
    "setting", ["scenarios.or-082.effect.odds_ratio=1", "scenarios.or-082.effect={odds_ratio: 1}"]
)
def test_regression_an_odds_ratio_of_one_is_no_effect(setting):
    resolved = load_template("sepsis", settings=[setting])
    result = plan_simulation(resolved, ["or-082"]).simulate(replicates=200)
    for row in (*result.rows, *result.observed):
        if row.measure is Measure.TYPE_M:
            assert row.value is None
    assert any(row.measure is Measure.TYPE_I_ERROR for row in result.rows)


def test_regression_a_set_control_risk_is_told_only_where_it_acts():
    resolved = load_template("sepsis", settings=["nature.control_risk=0.3"])
    result = plan_simulation(resolved).simulate(replicates=100)
    told = {r.scenario for r in result.rows if r.measure is Measure.RISK and r.set_by}
    assert told == {"no-effect", "or-082", "or-073", "or-041"}


def test_regression_few_replicates_place_no_trial():
    result = plan_simulation(load_template("sepsis")).simulate(replicates=50)
    assert {finding.verdict for finding in result.findings} == {"not placed"}


def test_regression_a_scenario_citing_a_trial_is_the_same_data():
    setting = "scenarios.or-082.effect={odds_ratio: {value: 0.65, source: etass-2013}}"
    result = plan_simulation(load_template("sepsis", settings=[setting]), ["or-082"])
    rows = result.simulate(replicates=200).observed
    own = next(r for r in rows if r.evidence == "etass-2013" and r.measure is Measure.POWER)
    assert own.value is None
    assert own.analysis == "same data"


def test_regression_a_tiny_risk_difference_gives_no_nan():
    settings = [
        "nature.control_risk=1.0e-300",
        "protocol.endpoints.mortality-28d.estimand.summary=risk difference",
        "observed=[]",
    ]
    result = plan_simulation(load_template("sepsis", settings=settings), ["or-082"])
    rows = [row.as_dict() for row in result.simulate(replicates=200).rows]
    json.dumps(rows, allow_nan=False)


def test_property_every_shipped_conflict_names_results_that_exist():
    assert len(shipped_evidence().conflicts) >= 8  # loading them has checked their sides
