"""The sheets of the lessons at full length, and their answers with many more trials."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest

from conftest import ROOT

HERE = ROOT / "examples" / "lessons"
LESSONS = sorted(path.parent for path in HERE.glob("*/answers.py"))


@pytest.fixture(scope="module")
def lessons():
    sys.path.insert(0, str(HERE))
    spec = importlib.util.spec_from_file_location("lessons", HERE / "lessons.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["lessons"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(HERE))


def _without_pictures(page: str) -> str:
    return re.sub(r"<img[^>]*>", "", page)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.name)
def test_regression_sheets_hold_the_figures_their_commands_print(lesson, lessons):
    answers = lessons.answers_of(lesson)(lessons.Commands(lesson))
    for name, page in lessons.pages_of(lesson, answers).items():
        there = (HERE / "sheets" / name).read_text(encoding="utf-8")
        assert _without_pictures(there) == _without_pictures(page), "run: make docs"


@pytest.mark.parametrize(
    ("number", "pairs"),
    [
        ("2", {"half_left_out": "exact_mean"}),
        ("3", {f"significant_{looks}": f"exact_{looks}" for looks in (1, 5, 10)}),
        (
            "4",
            {
                "all_small": "exact_all",
                "published_small": "exact_published",
                "wrong_way_small": "exact_wrong_way",
                "significant_small": "exact_significant",
            },
        ),
    ],
)
def test_analytic_answers_of_a_hundred_thousand_trials_are_exact_ones(number, pairs, lessons):
    (lesson,) = HERE.glob(f"{number}-*")
    answers = lessons.answers_of(lesson)(lessons.Commands(lesson, 100_000))
    for simulated, counted in pairs.items():
        found = answers[simulated]
        assert abs(found.value - answers[counted]) <= 4 * found.mcse, simulated
