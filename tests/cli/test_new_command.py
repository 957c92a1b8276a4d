"""`trialsim new`: a first file by options or by questions, which `check` accepts as it is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from trialsim.cli.first_draft import check_draft
from trialsim.errors import RequestError
from trialsim.protocol.reading.first_draft import EFFECTS, QUESTIONS, Draft, DraftKind
from trialsim.protocol.reading.load import load_template


def written(draft, folder):
    path = folder / f"{draft.id}.yaml"
    path.write_text(draft.text, encoding="utf-8")
    return load_template(str(path))


@pytest.mark.parametrize("kind", list(DraftKind))
def test_property_a_draft_without_any_answer_is_right_and_marks_what_it_assumes(kind, tmp_path):
    draft = Draft("blank", kind)
    check_draft(draft)
    resolved = written(draft, tmp_path)
    assert resolved.template.protocol.primary.kind == kind
    assert draft.text.count("left out, so assumed") >= 4
    assert [s.id for s in resolved.template.scenarios] == ["no-effect", "hoped-for"]


@pytest.mark.parametrize(
    ("effect", "value", "treated"),
    [
        ("odds_ratio", "0.5", 0.5 * 0.4 / (0.6 + 0.5 * 0.4)),
        ("risk_ratio", "0.5", 0.2),
        ("risk_difference", "-0.1", 0.3),
        ("treated_risk", "0.25", 0.25),
    ],
)
def test_analytic_an_effect_is_the_one_stated_on_its_scale(effect, value, treated, tmp_path):
    draft = Draft("risks", control_risk="0.4", **{effect: value})
    check_draft(draft)
    resolved = written(draft, tmp_path)
    truth = resolved.truth(resolved.template.scenarios[1])
    assert (truth.control_risk, truth.treated_risk) == (0.4, pytest.approx(treated))
    assert "assumed: control risk" not in draft.text


def test_property_words_of_any_kind_stay_words(tmp_path):
    strange = 'a "quoted": {name} # no comment\\'
    draft = Draft("words", title=strange, drug="1,25(OH)2-D", control="1.25 OH 2 D", event=strange)
    check_draft(draft)
    resolved = written(draft, tmp_path)
    assert resolved.template.title == strange
    assert resolved.template.protocol.primary.event == strange
    assert len({arm.id for arm in resolved.template.protocol.arms}) == 2


@pytest.mark.parametrize(
    ("draft", "option"),
    [
        (Draft("d", control_risk="1.3"), "--control-risk"),
        (Draft("d", odds_ratio="-2"), "--odds-ratio"),
        (Draft("d", risk_difference="0.9"), "--risk-difference"),
        (Draft("d", total="1"), "--total"),
        (Draft("d", at="soon"), "--at"),
        (Draft("d", better="maybe"), "--better"),
        (Draft("d", DraftKind.CONTINUOUS, sd="0"), "--sd"),
        (Draft("d", DraftKind.TIME_TO_EVENT, hazard_ratio="0"), "--hazard-ratio"),
        (Draft("d", DraftKind.TIME_TO_EVENT, follow_up="long"), "--follow-up"),
        (Draft("d", DraftKind.TIME_TO_EVENT, control_median="long"), "--control-median"),
    ],
)
def test_property_a_wrong_answer_is_named_by_its_option(draft, option):
    with pytest.raises(RequestError) as refused:
        check_draft(draft)
    assert {problem.field for problem in refused.value.problems} == {option}
    assert all(problem.remedy for problem in refused.value.problems)


@pytest.mark.parametrize("kind", list(DraftKind))
def test_regression_the_effect_assumed_is_a_benefit_whichever_way_is_better(kind, tmp_path):
    for better in ("lower", "higher"):
        resolved = written(Draft(better, kind, better=better), tmp_path)
        truth = resolved.truth(resolved.template.scenarios[1])
        own = truth.outcome(resolved.template.protocol.primary.id)
        control, treated = own.arms if own else (truth.control_risk, truth.treated_risk)
        if kind is DraftKind.TIME_TO_EVENT:
            control, treated = (
                curve[0].survival(365)
                for curve in (truth.lifetimes.treated, truth.lifetimes.control)
            )
        assert (treated > control) == (better == "higher"), (kind, better)


@pytest.mark.parametrize("option", ["drug", "control", "condition", "event", "title"])
def test_regression_an_empty_answer_is_named_by_its_option(option):
    with pytest.raises(RequestError) as refused:
        check_draft(Draft("empty", **{option: ""}))
    assert [p.field for p in refused.value.problems] == [f"--{option}"]


def test_regression_the_end_of_input_is_no_traceback(tmp_path):
    inner, outer = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-m", "trialsim", "new", "asked.yaml"],
        cwd=tmp_path,
        stdin=outer,
        stdout=outer,
        stderr=subprocess.PIPE,
    )
    os.close(outer)
    os.write(inner, b"\x04")
    _, said = asking.communicate(timeout=60)
    os.close(inner)
    assert b"Traceback" not in said
    assert b"interrupted" in said
    assert not (tmp_path / "asked.yaml").exists()


def test_property_every_answer_can_be_given_as_an_option(trialsim, tmp_path):
    helped = trialsim("new", "--help", cwd=tmp_path).stdout
    effects = [f"--{name.replace('_', '-')}" for names in EFFECTS.values() for name in names]
    for option in {*(q.option for q in QUESTIONS), *effects}:
        assert f"{option} " in helped


def test_regression_the_file_of_the_options_runs(trialsim, tmp_path):
    options = {"endpoint": "binary", "control-risk": "0.3", "odds-ratio": "0.7", "total": "400"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert trialsim("new", "mine.yaml", *words, cwd=tmp_path).returncode == 0
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert "control_risk: 0.3\n" in text
    assert "{total: 400}\n" in text
    assert trialsim("check", "mine.yaml", cwd=tmp_path).returncode == 0
    again = trialsim("new", "mine.yaml", *words, cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    wrong = trialsim("new", "other.yaml", "--sd", "3", "--odds-ratio", "2", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--sd does not belong to a binary endpoint" in wrong.stderr
    assert not (tmp_path / "other.yaml").exists()


def test_regression_on_a_terminal_everything_is_asked_for(tmp_path):
    inner, outer = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-m", "trialsim", "new", "asked.yaml"],
        cwd=tmp_path,
        stdin=outer,
        stdout=outer,
        stderr=outer,
    )
    os.close(outer)
    # kind, then the questions of a binary endpoint; 1.5 is no risk, and is asked again
    answers = ["binary", "Asked", *[""] * 6, "300", "1.5", "0.2", "0.6"]
    os.write(inner, "".join(f"{answer}\n" for answer in answers).encode())
    said = b""
    while True:
        try:
            said += (more := os.read(inner, 4096))
        except OSError:  # the other end is closed
            break
        if not more:
            break
    assert asking.wait(timeout=60) == 0, said.decode()
    assert b"Must be below 1" in said
    protocol = load_template(str(tmp_path / "asked.yaml"))
    assert protocol.template.title == "Asked"
    assert protocol.template.protocol.n_total == 300
    assert protocol.template.nature.control_risk.value == 0.2
