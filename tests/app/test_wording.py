"""The page names its own fields, and never an option that nobody typed."""

from __future__ import annotations

import re
from html import unescape

import pytest

from trialsim.app.rooms import ROOMS
from trialsim.app.rooms.bias_lab import BiasState
from trialsim.app.rooms.evidence import EvidenceState
from trialsim.app.rooms.followup import FollowupState
from trialsim.app.rooms.size import SizeState
from trialsim.app.web import Answer
from trialsim.app.wording import answer_on_page, problem_on_page
from trialsim.errors import Problem

CELLS = re.compile(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>")
ONE_ARM, COURSES = "solid-tumour-monotherapy", "chronic-hepatitis-b"
BAD = [  # room, template, what is entered, what the page says of it
    ("size", "sepsis", {"looks": "0.5,1"}, "Add 'Stopping for efficacy': O'Brien-Fleming bounds"),
    ("size", "sepsis", {"effect": "XX 3"}, "Or an effect of your own"),
    ("size", "sepsis", {"effect": "--out=x"}, "Or an effect of your own"),
    ("size", "sepsis", {"scenario": "zzz"}, "Truth planned for"),
    ("size", "sepsis", {"scenario": "--out"}, "is not for the page"),
    ("size", "sepsis", {"scenario": "or-041"}, "Add 'Plan for a number that only a document"),
    ("size", "sepsis", {"control_risk": "30"}, "30 %"),
    ("size", "sepsis", {"futility": "0"}, "Add 'Test': one-sided, 2.5%."),
    ("size", "sepsis", {"prior": "zzz"}, "Assurance over"),
    ("size", "sepsis", {"effect": "OR 0.7", "scenario": "or-073"}, "beside 'Truth planned for'"),
    ("size", "sepsis", {"effect": "adjusted"}, "Add 'Plan for a number that only a document"),
    ("size", ONE_ARM, {"ratio": "3:1"}, "Treated to control"),
    ("size", ONE_ARM, {"looks": "0.5,1", "bounds": "obf"}, "Interim looks at"),
    ("size", ONE_ARM, {"scenario": "no-effect"}, "Name another with 'Truth planned for'."),
    ("size", COURSES, {"effect": "OR 0.7"}, "Plan for a scenario: 'Truth planned for'"),
    ("followup", COURSES, {"at": "6"}, "Write 'Compare these times': \"6 mo\" and 'which count"),
    ("followup", COURSES, {"at": "6 mo"}, "'which count from': end of therapy for 12 mo"),
    ("followup", COURSES, {"at": "x"}, "Write for example 'Compare these times': \"6 mo\""),
    ("followup", COURSES, {"at": "600 mo", "clock": "entry"}, "Compare these times"),
    ("followup", ONE_ARM, {}, "is not read at several times yet"),
    ("evidence", "hbv-aclf", {"look": "reconcile"}, "is needed: none ships for this"),
    ("evidence", COURSES, {}, "Say 'Kind of outcome'"),
    (
        "evidence",
        COURSES,
        {"look": "explain", "first": "gu-2025", "second": "zzz"},
        "'trialsim synthesise' on the command line",
    ),
    ("bias-lab", "sepsis", {"scenario": "zzz"}, "If the truth is"),
    ("bias-lab", "sepsis", {"scenario": "no-effect", "odds_ratio": "2"}, "True odds ratio instead"),
    ("bias-lab", COURSES, {"foreseen_allocation": "70"}, "This page has no field for it"),
]


@pytest.mark.parametrize(("room", "template", "entered", "words"), BAD)
def test_property_no_problem_on_the_page_names_an_option(at_once, room, template, entered, words):
    text = at_once(f"/{room}", template=template, part="answer", **entered).text
    told = [cells for row in CELLS.findall(text) for cells in (row[:3], row[4:])]
    told += re.findall(r"<li>(.*?)</li>", text)
    assert told
    assert words in unescape(text)
    assert not [cell for cells in told for cell in cells if "--" in unescape(cell)]
    saved = at_once(f"/save/{room}", template=template, **entered)
    if saved.status_code == 422:  # as plain text, too, but for what was typed
        assert "--" not in re.sub("got --[^ ]+", "", saved.text)


def test_property_every_room_is_asked_something_wrong():
    assert {room for room, *_ in BAD} == set(ROOMS)


@pytest.mark.parametrize(
    ("state", "remedy", "told"),
    [
        (SizeState, "Write for example --total 400.", "'Or: the power of so many': 400."),
        (SizeState, "Try --power 0.9.", "Try 'Power aimed at': 90 %."),
        (SizeState, "Test both sides: --set protocol.test.sides=2.", "'Test': two-sided, 5%."),
        (SizeState, "Add --by simulation. Or stop.", "the command line has. Or stop."),
        (SizeState, "Add --set 'nature.x=1'.", "Add nature.x=1 in the protocol's file."),
        (FollowupState, "Name one with --scenario: a, b.", "with 'If the truth is': a, b."),
        (EvidenceState, "'trialsim size --help' shows it.", "'trialsim size' on the command line"),
        (BiasState, "More --replicates.", "More 'Simulated trials'."),
        (BiasState, "No option: 1 - 2 -- 3.", "No option: 1 - 2 -- 3."),
    ],
)
def test_property_an_option_is_the_field_of_the_room(state, remedy, told):
    assert told in problem_on_page(Problem("is wrong", remedy, "x"), state).remedy


def test_property_what_an_option_set_is_the_field_it_came_from():
    of_option = Problem("is too high", "Lower it.", "scenarios.a.effect", file="--set scenarios.a")
    assert problem_on_page(of_option, SizeState).file == ""
    setting = "--set scenarios.or-082.effect.odds_ratio=9"
    ratio = problem_on_page(Problem("is too high", "Lower it.", "a.b", file=setting), BiasState)
    assert (ratio.field, ratio.file) == ("True odds ratio instead", "")
    both = problem_on_page(Problem("rises", "Lower it.", "--bounds or --spending"), SizeState)
    assert both.field == "Stopping for efficacy"


def test_property_reasons_and_warnings_are_worded_and_downloads_are_not():
    rows = [{"measure": "x", "value": None, "why": "give --template of another"}]
    document = {"rows": rows, "warnings": [{"text": "raise --total"}], "texts": {"a": "by --at"}}
    answer = Answer(document, json_text="--", csv_text="--")
    found = answer_on_page(answer, FollowupState)
    assert found.document["rows"][0]["why"] == "give 'Protocol' of another"
    assert found.document["warnings"] == [{"text": "raise total"}]
    assert found.document["texts"] == {"a": "by 'Compare these times'"}
    assert (found.json_text, found.csv_text) == ("--", "--")
    assert rows[0]["why"] == "give --template of another"  # what is kept stays as it is
