"""``trialsim bias --calibrate`` at the command line: screen, document, figure, report, refusals."""

from __future__ import annotations

import json

import pytest

from conftest import ROOT

FAST = ("--total", "120", "--replicates", "560", "--calibrate")
TEN_LINES = str(ROOT / "tests" / "protocols" / "valid" / "ten-lines.yaml")
BLIND = """schema_version: 1
id: open
title: open label
co_intervention: {strength: 0.5, averts: 0.6}
"""


@pytest.fixture(scope="module")
def calibrated(trialsim, tmp_path_factory):
    """Return the folder of one run, and its screen."""
    here = tmp_path_factory.mktemp("calibrated")
    return here, trialsim("bias", "sepsis", *FAST, "--out", "run", cwd=here).stdout


def test_property_the_screen_shows_strengths_with_record_status_and_setting(calibrated):
    shown = calibrated[1]
    for words in (
        "taken as mortality",
        "Reference setting: no effect (no-effect), true 24.1 % under",
        "all others",
        "120 patients",
        "herbison-2011",
        "abraha-2015",
        "UNVERIFIED",  # the size class of 120 patients
        "Not identified",
        "not reached",
        "0.438",
        "= 0.438",
        "Not evidence",
    ):
        assert words in shown or words in " ".join(shown.split()), words
    folded = [line for line in shown.splitlines() if " more: " not in line]  # commands are not
    assert max(map(len, folded)) <= 80
    assert shown.isascii()


def test_property_the_document_has_one_number_per_row_and_a_report_shows_it(trialsim, calibrated):
    here = calibrated[0]
    (path,) = (here / "run" / "results").glob("*.json")
    document = json.loads(path.read_text("utf-8"))
    needed = [r for r in document["rows"] if r["measure"] == "strength_needed"]
    for row in needed:
        assert row["status"] in ("published", "derived", "unverified")
        assert row["evidence"]
        assert row["source"]
        assert ("why" in row) if row["value"] is None else (row["mcse"] >= 0)
    found = {(r["evidence"], r["source"], r.get("analysis")): r["value"] for r in needed}
    low, at, high = (
        found["abraha-2015", "mitt", e] for e in ("upper end", "estimate", "lower end")
    )
    assert 0 < low < at < high < 0.4
    assert found["brando-2012", "concealment-mortality", "estimate"] == 0  # 1.03
    drawn = next((here / "run").rglob("dials.svg")).read_text("utf-8")
    assert "abraha-2015 mitt, published 0.83: strength 0.1" in drawn
    report = trialsim("report", "run", "--out", "r.html", cwd=here)
    assert report.returncode == 0
    page = (here / "r.html").read_text(encoding="utf-8")
    assert "Strength of flaws that published ratios need" in page
    assert "From truth to publication" not in page


def test_property_same_command_same_bytes(trialsim, tmp_path):
    words = ("bias", "sepsis", *FAST, "--only", "exclusion", "--json")
    one = trialsim(*words, cwd=tmp_path).stdout
    assert one == trialsim(*words, "--workers", "2", cwd=tmp_path).stdout
    assert {r.get("mechanism") for r in json.loads(one)["rows"]} == {None, "exclusion"}


def test_property_outcomes_are_said_where_death_is_not(trialsim, tmp_path):
    (tmp_path / "open.yaml").write_text(BLIND)
    words = ("bias", TEN_LINES, "--conduct", "open.yaml", "--replicates", "256", "--calibrate")
    refused = trialsim(*words, cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "--outcomes mortality, objective, subjective" in " ".join(refused.stderr.split())
    shown = trialsim(*words, "--outcomes", "objective", cwd=tmp_path).stdout
    assert "UNVERIFIED" in shown
    assert "metablind-2020" in shown
    assert "no mean of" in shown


def test_property_refusals_have_a_remedy_and_no_traceback(trialsim, tmp_path):
    (tmp_path / "open.yaml").write_text(BLIND)
    for more, words in (
        (("--calibrate", "--only", "exclusion", "--strength", "0:1:0.1"), "turns the whole dial"),
        (("--calibrate", "--outcomes", "subjective"), "does not fit 'death from any cause'"),
        (("--outcomes", "objective"), "needs --calibrate"),
        (("--calibrate", "--scenario", "no-effect", "--scenario", "or-082"), "one setting"),
        (("--calibrate", "--conduct", "every-flaw"), "cannot be misread"),
    ):
        done = trialsim("bias", "sepsis", *more, cwd=tmp_path, check=False)
        assert done.returncode == 2, more
        told = " ".join(done.stderr.split())
        assert words in told, told
        assert "Traceback" not in told


def test_regression_a_profile_may_cite_own_evidence(trialsim, tmp_path):
    (tmp_path / "ev.yaml").write_text("""schema_version: 1
evidence:
  - id: mine-2024
    kind: trial
    title: My very own trial
    citation: Mine A. 2024.
    condition: sepsis
    design: {randomised: true}
    results:
      - id: mortality-28d
        outcome: death
        at: 28 d
        experimental: {n: 50, events: 5}
        control: {n: 50, events: 15}
""")
    (tmp_path / "own.yaml").write_text(
        "id: own\ntitle: t\nexclusion: {strength: {value: 0.2, source: mine-2024}}\n"
    )
    words = ("bias", "sepsis", "--conduct", "own.yaml", "--evidence", "ev.yaml")
    for more in (("--calibrate",), ("--scenario", "or-082")):
        done = trialsim(*words, *more, "--replicates", "256", "--total", "240", cwd=tmp_path)
        assert "mine-2024" in done.stdout, done.stderr
