"""Bad input of `evidence check`, `evidence adjust`, `explain` and `reconcile`, line by line."""

from __future__ import annotations

import pytest

from trialsim.cli import main
from trialsim.protocol.reading.catalogue import reconciliation_paths
from trialsim.studies.evidence_check.finding import p_equals

RECORD = """schema_version: 1
evidence:
  - id: mine-2020
    kind: trial
    title: Mine
    citation: A trial of one's own.
    condition: sepsis
    design: {randomised: true, n_randomised: 80}
    results:
      - id: mortality-28d
        outcome: death from any cause
        at: 28 d
        experimental: {n: 40, events: 8}
        control: {n: 40, events: 18}
        effects: [{measure: odds ratio, value: 0.31, ci: [0.11, 0.83], status: published}]
    checks: [{kind: counts, result: mortality-28d, percentages: [20.0, 45.0]}]
    quantities: [{id: women, what: women, value: 30, unit: "%", n: 80, status: published}]
"""
PERCENTAGE = ("percentages: [20.0, 45.0]", "percentages: [20.0, 145.0]")
SHARE = ("value: 30,", "value: 130,")
INTERVAL = ("ci: [0.11, 0.83]", "ci: [0.41, 0.83]")
EVENTS = ("events: 18", "events: 48")
NO_SOURCE = ("    citation: A trial of one's own.\n", "")
NO_STATUS = (", status: published}]\n    checks", "}]\n    checks")
CHECK = ("evidence", "check", "FILE")
ADJUST = ("evidence", "adjust", "sepsis", "--evidence", "FILE")
EXPLAIN = ("explain", "mine-2020", "tests-2025", "--evidence", "FILE")
RECONCILE = ("reconcile", "sepsis", "--quick", "--evidence", "FILE")


@pytest.fixture
def answer(capsys, tmp_path, monkeypatch):
    """Run a command on the record with a text of it replaced; return status and what is said."""
    monkeypatch.chdir(tmp_path)

    def run(words, change=("", "")):
        before, after = change
        assert before in RECORD
        (tmp_path / "mine.yaml").write_text(RECORD.replace(before, after, 1), encoding="utf-8")
        capsys.readouterr()
        code = main(["mine.yaml" if word == "FILE" else word for word in words])
        told = capsys.readouterr()
        return code, " ".join((told.out + told.err).split())

    return run


@pytest.mark.parametrize(
    ("words", "change", "said", "remedy"),
    [
        (CHECK, PERCENTAGE, "percentages between 0 and 100, not 145", "against its source"),
        (CHECK, SHARE, "at most 100, as a percentage of patients", "has a unit such as '% change'"),
        (EXPLAIN, PERCENTAGE, "percentages between 0 and 100, not 145", "against its source"),
        (CHECK, EVENTS, "events must be at most n, which is 40; got 48", "against its source"),
        (RECONCILE, EVENTS, "events must be at most n, which is 40; got 48", "against its source"),
        (ADJUST, INTERVAL, "must hold the estimate between its two limits", "against its source"),
        (EXPLAIN, INTERVAL, "must hold the estimate between its two limits", "against its source"),
        (CHECK, NO_SOURCE, "citation is required", "Add it."),
        (RECONCILE, NO_SOURCE, "citation is required", "Add it."),
        (CHECK, NO_STATUS, "status is required", "Add it."),
    ],
)
def test_property_bad_numbers_are_refused_with_place_and_remedy(
    answer, words, change, said, remedy
):
    code, told = answer(words, change)
    assert code == 2
    assert told.startswith("mine.yaml:")
    assert "evidence.mine-2020" in told
    assert said in told
    assert remedy in told


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (
            ("evidence", "adjust", "sepsis", "--record", "gu-2025", "--record", "etass-2013"),
            "gu-2025 includes etass-2013: pooled together, patients would count twice",
            "Leave one out: gu-2025 or etass-2013.",
        ),
        (
            ("explain", "tlcr-2025", "asco-ta1-2023"),
            "rest on some of the same patients",
            "held together by 'trialsim evidence check'",
        ),
    ],
)
def test_property_overlapping_records_are_refused_where_patients_would_count_twice(
    answer, words, said, remedy
):
    code, told = answer(words)
    assert code == 2
    assert said in told
    assert remedy in told


def test_property_overlapping_records_of_a_conflict_are_refused(answer, tmp_path):
    text = reconciliation_paths()["sepsis"].read_text(encoding="utf-8")
    both = text.replace("effect: {evidence: gu-2025-lower-quality}", "effect: {evidence: gu-2025}")
    assert both != text
    (tmp_path / "conflict.yaml").write_text(both, encoding="utf-8")
    code, told = answer(("reconcile", "--conflict", "conflict.yaml"))
    assert code == 2
    assert "conflict.yaml:" in told
    assert "rests on some of the same patients as" in told
    assert "Leave one out, or take it off the other with `less`." in told


def test_property_where_a_verdict_is_the_answer_it_is_given(answer, tmp_path):
    """An interval that excludes its estimate, and a pool that counts patients twice."""
    code, told = answer(CHECK, INTERVAL)
    assert code == 0
    assert "stated 0.31, which the interval excludes" in told
    assert "cannot all be right together" in told
    (tmp_path / "pool.yaml").write_text(
        "schema_version: 1\nevidence:\n  - {id: my-pool, kind: pool, title: Mine, citation: Mine., "
        "condition: sepsis, includes: [chen-h-2009, zhang-2008], outcome: death, effects: "
        "[{measure: odds ratio, value: 0.73, ci: [0.59, 0.9], status: published}]}\n",
        encoding="utf-8",
    )
    code, told = answer(("evidence", "check", "pool.yaml"))
    assert code == 0
    assert "chen-h-2009 and zhang-2008 share patients: counted twice" in told


def test_property_the_record_as_it_is_is_right(answer):
    code, told = answer(CHECK)
    assert code == 0
    assert "20% is 8/40" in told


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (("reconcile", "sepsis", "--set", "x=1"), "--set has no effect", "copy the conflict's"),
        (("reconcile", "sepsis", "--variant", "x"), "--variant has no effect", "Leave it out"),
        (("evidence", "check", "--out", "d"), "--out has no effect on 'evidence check'", "adjust"),
        (("evidence", "check", "--flaw", "a=b"), "--flaw has no effect", "adjust TEMPLATE"),
        (("evidence", "show", "tests-2025", "--outcomes", "objective"), "--outcomes", "adjust"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_property_an_option_without_effect_is_refused(answer, words, said, remedy):
    code, told = answer(words)
    assert code == 2
    assert said in told
    assert remedy in told


def test_property_a_conflict_of_no_template_is_refused(answer, tmp_path):
    text = reconciliation_paths()["sepsis"].read_text(encoding="utf-8")
    changed = text.replace("template: sepsis", "template: nonsense")
    (tmp_path / "nonsense.yaml").write_text(changed, encoding="utf-8")
    code, told = answer(("reconcile", "sepsis", "--quick", "--conflict", "nonsense.yaml"))
    assert code == 2
    assert "names no template" in told
    assert "got 'nonsense'" in told


def test_property_a_p_value_too_small_to_print_is_a_limit():
    assert p_equals("< 1e-9") == "P < 1e-9"
    assert p_equals("0.03") == "P = 0.03"
