"""The lessons: their commands run, give what the sheets say, and the sheets print and show."""

from __future__ import annotations

import html
import importlib.util
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise, permutations
from math import exp

import numpy as np
import pytest

from conftest import ROOT, needs
from trialsim.conduct.allocation import AllocationList, guesses

HERE = ROOT / "examples" / "lessons"
NAMES = sorted(path.parent.name for path in HERE.glob("*/answers.py"))
QUICK = {"1": 400, "2": 400, "3": 1_000, "4": 4_000, "5": 400}  # trials, or literatures
PAGES = ("student", "teacher", "slides")


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


exact, lessons = _module("exact"), _module("lessons")


@pytest.fixture(scope="module")
def told():
    """Answers by lesson, each computed once, at reduced counts."""
    found = {}

    def of(number: str):
        if number not in found:
            (lesson,) = HERE.glob(f"{number}-*")
            commands = lessons.Commands(lesson, QUICK[number])
            found[number] = lessons.answers_of(lesson)(commands)
        return found[number]

    return of


def near(number, truth):
    return abs(number.value - truth) <= 4 * number.mcse


# --- 1: concealment


def test_analytic_one_assignment_in_three_of_a_block_of_four_is_certain():
    for size in (2, 4, 6):
        orders = set(permutations("t" * (size // 2) + "c" * (size // 2)))
        certain = sum(len(set(order[i:])) == 1 for order in orders for i in range(size))
        share = Fraction(certain, size * len(orders))
        assert exact.certain_share(size) == share == Fraction(1, size // 2 + 1)
    assert exact.certain_share(4) == Fraction(1, 3)


def test_analytic_lists_of_blocks_of_four_are_as_certain_and_as_guessable_as_the_sheet_says():
    n, reps = 400, 1_000
    uniforms = np.random.default_rng(1).random((n, reps))
    lists = AllocationList.in_blocks_of_4(uniforms)
    blocks = lists.assigned.reshape(n // 4, 4, reps)
    after = blocks[:, ::-1].cumsum(axis=1)[:, ::-1]  # treated from here to the end of the block
    left = np.array([4, 3, 2, 1])[:, None]
    certain = ((after == 0) | (after == left)).mean(axis=1).ravel()
    mcse = certain.std(ddof=1) / np.sqrt(certain.size)
    assert abs(certain.mean() - exact.certain_share(4)) <= 4 * mcse
    guess = guesses(lists)
    right = np.where(guess == 0, 0.5, (guess == 1) == lists.assigned).mean(axis=0)
    mcse = right.std(ddof=1) / np.sqrt(reps)
    assert abs(right.mean() - exact.guessed_right(4)) <= 4 * mcse


def test_property_the_dial_falls_from_one_and_no_outcome_is_falsified(told):
    answers = told("1")
    dial = [answers[f"odds_ratio_{s}"] for s in (0, 25, 50, 75, 100)]
    assert near(dial[0], 1)
    assert all(lower.value < higher.value for higher, lower in pairwise(dial))
    assert dial[0].value - dial[-1].value > 4 * (dial[0].mcse + dial[-1].mcse)
    assert answers["students_lower"] > 20
    assert near(answers["students_guessed_percent"], 100 * float(exact.guessed_right(4)))
    commands = lessons.Commands(HERE / "1-concealment")
    patients = commands.run("one-trial", 7).document["rows"]
    assert len(patients) == sum(p["analysed_reported"] for p in patients) == 200
    assert any(p["arm_planned"] != p["arm_reported"] for p in patients)
    stayed = [p for p in patients if p["arm_planned"] == p["arm_reported"]]
    assert all(p["event_planned"] == p["event_reported"] for p in stayed)


@pytest.mark.parametrize(
    ("name", "room", "trial", "profile"),
    [
        ("1-concealment", "class", "one-trial", "foreseen"),
        ("2-early-deaths", "class", "one-trial", "left-out"),
        ("3-peeking", "class-five", "five-looks", "five-looks"),
        ("4-the-drawer", "class", "one-trial", "drawer"),
    ],
)
def test_property_the_class_on_one_screen_is_what_each_laptop_shows(name, room, trial, profile):
    commands = lessons.Commands(HERE / name)
    whole = commands.run(room)
    for student in (1, 29, 40):
        own = commands.run(trial, student).before_and_after
        for when, conduct in (("planned", "rigorous"), ("reported", profile)):
            ratio, significant = whole.students(conduct)[student]
            assert own[when] == (pytest.approx(ratio, rel=0.005), significant)


# --- 2: early deaths


def test_analytic_half_of_the_treated_deaths_left_out_halves_the_odds_ratio(told):
    answers = told("2")
    mean = exact.log_odds_ratio_after_exclusion(200, 0.3, 0.5)
    assert near(answers["half_left_out"], exp(mean))
    assert exp(mean) == pytest.approx(0.5, abs=0.005)  # small-sample bias beside exactly 1 - 1/2
    assert near(answers["intention_to_treat"], 1)
    assert near(answers["significant_itt"], 100 * exact.significant_after_looks(200, 0.3, 1))


# --- 3: peeking


def test_analytic_hands_are_two_six_and_eight(told):
    answers = told("3")
    for looks in ("1", "5", "10"):
        assert near(answers[f"significant_{looks}"], answers[f"exact_{looks}"])
    assert [round(answers[f"expected_hands_{k}"]) for k in ("1", "5", "10")] == [2, 6, 8]
    hands = [answers[f"hands_{looks}"] for looks in ("1", "5", "10")]
    assert hands == sorted(hands)  # who stops at one of five looks stops at one of ten
    shown = (HERE / "sheets" / "3-peeking-teacher.html").read_text(encoding="utf-8")
    assert re.findall(r"<td><strong>(\d+)</strong>", shown) == [str(n) for n in hands]
    fewest, most = map(int, answers["spread_5"].split(" to "))
    assert fewest <= answers["hands_5"] <= most


def test_reference_looks_at_many_patients_come_near_those_at_normal_outcomes():
    """Armitage, McPherson and Rowe 1969, table 2."""
    # Armitage, McPherson and Rowe (1969), JRSS A 132:235-244, table 2
    for looks, share in {1: 0.05, 2: 0.0831, 5: 0.1417, 10: 0.1934}.items():
        assert exact.significant_after_looks(200, 0.3, looks) == pytest.approx(share, abs=0.005)


# --- 4: the drawer


def test_analytic_small_trials_give_what_counting_every_possible_trial_gives(told):
    answers = told("4")
    assert near(answers["published_small"], answers["exact_published"])
    assert near(answers["significant_small"], answers["exact_significant"])
    assert near(answers["wrong_way_small"], answers["exact_wrong_way"])
    assert answers["exact_published"] == pytest.approx(0.219853, abs=1e-5)  # by scipy's binomial
    assert answers["exact_plain"] == pytest.approx(0.230010, abs=1e-5)
    assert answers["exact_half"] == pytest.approx(0.241606, abs=1e-5)
    assert near(answers["all_small"], answers["exact_all"])
    assert answers["one_in"] == pytest.approx(6, abs=0.1)
    assert answers["published_large"].value > 0.65


# --- 5: the meta-analysis


def test_property_chance_alone_rarely_gives_the_gap_and_published_flaws_give_part_of_it(told):
    answers = told("5")
    assert near(answers["gap_chance"], 0.5) or answers["gap_chance"].value == 0  # about 0.4%
    assert answers["gap_chance"].value < answers["gap_typical"].value < answers["gap_reach"].value
    assert 0.45 < answers["lower_typical"].value < 0.7
    assert near(answers["lower_reach"], 0.41)
    assert near(answers["needed"], 1 - 0.83)  # 1 - f is the ratio of odds ratios
    assert answers["six"] == "0.41 (0.24 to 0.68)"


# --- the sheets


@pytest.mark.parametrize("name", NAMES)
def test_property_a_sheet_asks_before_it_answers(name, told):
    pages = lessons.pages_of(HERE / name, told(name[0]))
    student, teacher, slides = (pages[f"{name}-{page}.html"] for page in PAGES)
    for page in (student, slides):
        guess = page.index('class="guess"')
        assert guess < page.find("<h2>Answers") or "<h2>Answers" not in page
    assert "<h2>Answers" not in student
    assert student.index('class="guess"') < student.index("<pre>")
    assert "<h2>Answers" in slides
    for heading in ("Time plan", "What to say", "Guesses to expect", "Answers", "Misunderst"):
        assert f"<h2>{heading}" in teacher
    assert "cannot" in teacher
    assert "±" in teacher


@pytest.mark.parametrize("name", NAMES)
def test_property_no_page_needs_network_or_script(name):
    for page in PAGES:
        text = (HERE / "sheets" / f"{name}-{page}.html").read_text(encoding="utf-8")
        assert not re.search(r"https?:|<script|<link|@import|url\(", text)
        assert re.findall(r'src="(.{5})', text) == ["data:"] * text.count("<img")
        assert "{{" not in text


@pytest.mark.parametrize("name", NAMES)
def test_regression_committed_sheets_hold_the_text_of_their_sources(name, told):
    """Everything but simulated figures and pictures; these are compared at full length."""
    for page, text in lessons.pages_of(HERE / name, told(name[0])).items():
        there = (HERE / "sheets" / page).read_text(encoding="utf-8")
        assert _words(there) == _words(text), "run: make docs"


def _words(page: str) -> list[str]:
    text = re.sub(r"<img[^>]*>", "", page)
    return re.findall(r"[A-Za-z<>/]+", html.unescape(text))


@pytest.mark.parametrize("name", NAMES)
def test_property_a_lesson_uses_no_shell(name):
    for words in lessons.Commands(HERE / name).words.values():
        assert words[0] == "trialsim"
        assert not {"|", ">", "&&", ";", "$", "*"} & set("".join(words))
        assert not any("/" in word or "\\" in word for word in words)


def test_regression_a_lesson_runs_as_a_script_from_anywhere(tmp_path):
    script = HERE / "2-early-deaths" / "answers.py"
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert re.search(r"^half_left_out: 0\.49\d* . 0\.002\d* \(4,000 trials\)$", done.stdout, re.M)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("page", "width", "height"),
    [("student", 210, 297), ("teacher", 210, 297), ("slides", 338.7, 190.5)],
)
def test_regression_pages_print_on_a4_and_as_slides(page, width, height, tmp_path):
    chromium = shutil.which("chromium")
    needs("browser", chromium)
    made = tmp_path / "page.pdf"
    subprocess.run(
        [
            str(chromium),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={made}",
            (HERE / "sheets" / f"{NAMES[0]}-{page}.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    boxes = re.findall(rb"/MediaBox ?\[0 0 ([0-9.]+) ([0-9.]+)\]", made.read_bytes())
    assert boxes
    for across, down in boxes:
        assert float(across) == pytest.approx(width / 25.4 * 72, abs=1)
        assert float(down) == pytest.approx(height / 25.4 * 72, abs=1)
    if page == "slides":
        sections = (HERE / "sheets" / f"{NAMES[0]}-slides.html").read_text(encoding="utf-8")
        assert len(boxes) == sections.count("<section>")
