"""The Bias lab: a dial for every flaw, bars that add up, trials as a class replays them."""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from itertools import pairwise

import pytest

from trialsim import RequestError, load_template
from trialsim.app.about import about_template
from trialsim.app.answers import Answers
from trialsim.app.files import Files
from trialsim.app.lab_charts import Scale, Step, Trial, funnel, waterfall
from trialsim.app.lab_figures import funnel_files
from trialsim.app.pool import Pool
from trialsim.app.rooms.bias_lab import (
    DIALS,
    EACH,
    ROOM,
    SIZES,
    BiasState,
    _of_class,
    _steps,
    fitted,
    funnel_order,
)
from trialsim.app.rooms.lessons import LESSONS
from trialsim.app.worker import Order, Want, answered
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.reading.load import load_conduct, shipped_evidence
from trialsim.protocol.reading.places import lesson_paths, lessons_folder
from trialsim.studies.conduct.bias import with_strengths
from trialsim.studies.literature.literature_trials import _DOMAINS

OFF = BiasState(foreseen_allocation_on=False, exclusion_on=False, publication_on=False, trials=200)


def test_property_every_flaw_has_a_dial_its_domain_and_the_strength_of_the_profile():
    profile = load_conduct("bias-lab")
    assert sorted(d.mechanism for d in DIALS) == sorted(Mechanism)
    named = ("randomisation", "deviations", "missing", "measurement", "selection")
    domains = {
        str(flaw): f"{number}, "
        for number, name in enumerate(named, 1)
        for flaw in _DOMAINS[f"rob_{name}"]
    }
    for dial in DIALS:
        flaw = profile.of(Mechanism(dial.mechanism))
        assert flaw.strength.value == dial.at_rest
        assert dial.domain.startswith(domains.get(dial.mechanism, "Beside RoB 2"))
        cited = set(re.findall(r"[a-z]+-\d{4}", dial.source))
        assert cited <= shipped_evidence().records.keys()
        assert {flaw.strength.source} - {None} <= cited
    assert BiasState().words()[-4:] == ("--scenario", "or-082", "--replicates", "1000")


def test_property_a_strength_of_0_is_a_profile_without_the_flaw():
    profile = load_conduct("bias-lab")
    found = with_strengths(profile, ["exclusion=0", "publication=0"])
    assert found.mechanisms == (Mechanism.FORESEEN_ALLOCATION,)
    assert with_strengths(profile, ["exclusion=0.17"]).mechanisms == profile.mechanisms
    assert with_strengths(profile, []) == profile


@pytest.mark.parametrize(
    ("profile", "words", "told"),
    [
        ("bias-lab", ["exclussion=0.1"], "Did you mean 'exclusion'"),
        ("bias-lab", ["exclusion"], "is no strength of a flaw"),
        ("bias-lab", ["exclusion=1.5", "best-of=nan"], "best-of=nan"),
        ("poor", ["best-of=0.5"], "has no best-of.*'bias-lab' has each"),
        ("bias-lab", ["per-protocol=1", "as-treated=1"], "per_protocol and as_treated"),
        ("bias-lab", ["historical-controls=1"], "historical controls are not allocated"),
    ],
)
def test_regression_a_flaw_that_cannot_be_set_is_refused_in_words(profile, words, told):
    with pytest.raises(RequestError, match=told):
        with_strengths(load_conduct(profile), words)


def test_property_all_dials_at_0_publish_what_sound_trials_find():
    found = answered(Order(OFF.words()))
    assert {row.get("mechanism") for row in found.document["rows"]} <= {
        *("none", "truth", "small-sample bias")
    }
    steps, truth = _steps(found.document["rows"], "none")
    assert math.exp(truth) == pytest.approx(0.82, abs=1e-9)
    (step,) = steps
    assert abs(step.end - truth) < 4 * step.mcse


def test_property_the_bars_lead_from_the_truth_to_publication():
    state = OFF.but(exclusion_on=True, publication_on=True)
    rows = answered(Order(state.words())).document["rows"]
    steps, truth = _steps(rows, "all")
    assert math.exp(truth) == pytest.approx(0.82, abs=1e-9)
    published = [r for r in rows if r["measure"] == "estimate_mean" and r["mechanism"] == "all"]
    assert steps[-1].end == pytest.approx(published[0]["value"], abs=1e-12)
    assert all(a.end == b.start for a, b in pairwise(steps))


def test_property_the_funnels_trials_are_those_of_the_class():
    """With exclusion, no trial finds more deaths of the treated than as planned."""
    state = OFF.but(exclusion_on=True, exclusion=1.0, publication_on=True)
    document = answered(Order(state.class_of(150))).document
    trials = list(_of_class(document))
    rows = document["rows"]
    total = next(r for r in rows if r["measure"] == "published" and "analysis" not in r)
    assert len(trials) == EACH
    assert {t.patients for t in trials} == {150}
    assert sum(t.published for t in trials) == total["value"]
    assert all(t.reported[0] < t.planned[0] for t in trials)
    first = [r for r in rows if r["measure"] == "estimate" and r.get("analysis") == "student 1"]
    assert [math.exp(x) for x in (trials[0].planned[0], trials[0].reported[0])] == pytest.approx(
        [r["value"] for r in first]
    )


def test_property_a_funnel_holds_each_trial_once_and_hollow_where_in_the_drawer():
    trials = [
        Trial(1, 60, (-0.2, 0.5), (-0.4, 0.52), published=True),
        Trial(2, 60, (0.3, 0.5), (0.2, 0.51), published=False),
        Trial(3, 60, (math.nan, math.nan), (0.2, 0.51), published=False),  # not analysable
    ]
    ratio = Scale("odds ratio")
    drawn = str(funnel(trials, math.log(0.82), "<b>", ratio))
    assert drawn.count('<g class="trial') == 2
    assert drawn.count('<g class="trial drawer"') == 1
    assert "0.819 as planned, 0.670 as reported" in drawn
    bars = str(waterfall([Step("<i>", 0.0, -0.1, 0.01, favours=True)], 0.0, "<b>", ratio))
    assert "x 0.905" in bars
    for svg in (drawn, bars):
        assert "<b>" not in svg
        assert "<i>" not in svg
        assert "style=" not in svg


def test_property_a_lessons_commands_are_those_of_its_sheets():
    for lesson in LESSONS.values():
        folder = lessons_folder() / lesson.folder
        sheets = "".join((folder / f"{who}.md").read_text() for who in ("student", "teacher"))
        printed = {
            (name, tuple(shlex.split(command)[1:]))
            for name, command in re.findall(r"```console (\S+)\n(.*?)```", sheets, re.DOTALL)
        }
        assert set(lesson.commands.items()) <= printed
        assert lesson.title in sheets
        assert lesson_paths()[lesson.id].parent.name in (lesson.folder, "protocols")
        if lesson.classroom:
            resolved = load_template(str(lesson_paths()[lesson.id]))
            (scenario,) = resolved.template.scenarios
            assert scenario.effect.odds_ratio.value == lesson.true_ratio
    assert list(LESSONS) == list(lesson_paths())


def test_property_a_lessons_story_is_that_of_its_sheet():
    for lesson in LESSONS.values():
        sheet = (lessons_folder() / lesson.folder / "student.md").read_text(encoding="utf-8")
        above = re.match(r"# [^\n]*\n\n([^\n{]*)", sheet)[1].replace("*", "").strip()
        assert lesson.story.startswith(above)
        guess = re.search(r'class="guess">\n\n(.*?)Write down', sheet)[1].replace("*", "").strip()
        assert lesson.story.endswith(guess)
        assert not re.search(r"[<{*]|&\w+;|Write down", lesson.story.replace("P < 0.05", ""))
    assert "quotes it; among the five" in LESSONS["lesson-5"].story


def test_regression_a_lesson_is_answered_from_its_own_files_and_no_other(tmp_path):
    files = Files(tmp_path)
    (tmp_path / "mine.yaml").write_text("id: mine\n")
    words, folder = files.named(LESSONS["lesson-2"].first, "lesson-2")
    assert words[1] == f"{folder}/trial.yaml"
    assert words[3] == f"{folder}/left-out.yaml"
    assert files.named(("bias", "x", "mine.yaml"), "lesson-2")[0][2] == "mine.yaml"
    with pytest.raises(RequestError, match="is not a template"):
        files.named(("bias", "lesson-9"), "lesson-9")
    lab = BiasState(template="lesson-2", scenario="../../secret.yaml", odds_ratio=0.5)
    assert lab.words() == LESSONS["lesson-2"].first
    answers = Answers(Pool(), files)
    with pytest.raises(RequestError, match="must be the id of a shipped file"):
        answers.job(("bias", "sepsis", "--conduct", "mine.yaml"), "sepsis", Want.NUMBERS)
    files.close()


def test_property_a_scenario_of_the_address_changes_no_other_field():
    words = BiasState(scenario="x=1", odds_ratio=0.5).words()
    assert "--set" not in words


def test_property_a_dial_says_why_its_flaw_cannot_act():
    flaws = dict(about_template("sepsis").flaws)
    assert flaws == {
        "assessment": "misreads outcomes, and 'death from any cause' cannot be misread"
    }
    assert about_template("lesson-9").flaws == ()


def test_property_a_first_answer_has_fewer_trials_and_says_so():
    assert BiasState(trials=1_000).first == BiasState(trials=256)
    assert OFF.first == OFF  # as many as asked for
    assert BiasState(template="lesson-1").first is None


def test_property_at_rest_a_dial_is_on_where_its_flaw_can_act():
    about = about_template("chronic-hepatitis-b")
    state = fitted(BiasState(template=about.id), about)
    assert not state.foreseen_allocation_on
    assert state.scenario == about.first_truth == "chien-1998"
    asked = BiasState(template=about.id, foreseen_allocation=0.7)  # is refused in words
    assert fitted(asked, about).foreseen_allocation_on
    sepsis = about_template("sepsis")
    assert fitted(BiasState(), sepsis) == BiasState()


def test_property_a_difference_has_bars_and_trials_on_its_own_scale():
    about = about_template("hbv-aclf")
    state = fitted(BiasState(template=about.id, trials=200), about)
    answer = answered(Order(state.words()))
    more = {name: answered(Order(words)) for name, words in ROOM.more(state).items()}
    seen = ROOM.view(state, answer, about, more)
    assert seen["truth"] == "+0.108"  # half of 21.5 points: the protocol's scenario
    assert "risk difference" in seen["waterfall"]
    rows = [r for found in more.values() for r in found.document["rows"]]
    shown = {f"{t.planned[0]:.9f}" for t in seen["trials"]}
    planned = [r for r in rows if r["measure"] == "estimate" and r["conduct"] == "rigorous"]
    assert shown == {f"{r['value']:.9f}" for r in planned if r["analysis"].startswith("student ")}


def test_property_the_funnel_is_a_figure_with_the_commands_that_repeat_it():
    """Its table holds each trial before and after as the command of its row gives them."""
    state = OFF.but(exclusion_on=True, exclusion=0.5, publication_on=True, trials=200)
    more = {str(size): answered(Order(state.class_of(size))) for size in SIZES}
    answer = answered(Order(state.words()))
    order = funnel_order(state, answer, more, lambda words: shlex.join(("trialsim", *words)))
    drawn = funnel_files(order)
    assert drawn.png.startswith(b"\x89PNG")
    assert 'role="img"' in drawn.svg
    assert "as planned" in drawn.svg
    assert "as reported; hollow" in drawn.svg
    rows = list(csv.DictReader(io.StringIO(drawn.csv)))
    assert len(rows) == len(order.trials) == EACH * len(SIZES)
    for row in (rows[0], rows[3], rows[-1]):
        assert row["command"] in drawn.svg
        words = tuple(shlex.split(row["command"])[1:])
        (size,) = (size for size in SIZES if words == state.class_of(size))
        found = [
            r["value"]
            for r in more[str(size)].document["rows"]
            if r.get("analysis") == f"student {row['trial']}" and r["measure"] == "estimate"
        ]
        assert [float(row["planned"]), float(row["reported"])] == pytest.approx(found)
    assert funnel_order(state, answer, {}, str) is None  # its trials are not there yet
    assert funnel_order(BiasState(template="lesson-5"), answer, {}, str) is None  # it has no class
