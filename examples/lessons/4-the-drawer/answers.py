"""Lesson 4: what is left of many small trials where only a significant benefit is published."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import exact
from lessons import Answer, Commands, main


def answers(commands: Commands) -> dict[str, Any]:
    """Return the answers of the sheets."""
    small, large = commands.run("drawer"), commands.run("larger")
    counted = exact.small_trials(30, 0.30, 0.82)
    room = commands.run("class")
    found = room.students("rigorous").values()
    return {
        "all_small": small.number("estimate_mean", mechanism="none").ratio,
        "published_small": small.number("estimate_mean", mechanism="publication").ratio,
        "significant_small": small.number("power", mechanism="none").percent,
        "wrong_way_small": small.number("type_s", mechanism="none").percent,
        "published_share_small": small.number("published_share", mechanism="publication").percent,
        "published_large": large.number("estimate_mean", mechanism="publication").ratio,
        "significant_large": large.number("power", mechanism="none").percent,
        "exact_all": counted.every,
        "exact_published": counted.favourable,
        "exact_plain": counted.plain,
        "exact_half": counted.half_in_every_cell,
        "exact_wrong_way": 100 * counted.wrong_way,
        "one_in": 1 / counted.wrong_way,
        "exact_significant": 100 * counted.power,
        "weakest": counted.weakest,
        "expected_students": 40 * counted.power,
        "students_significant": sum(significant for _, significant in found),
        "students_favourable": sum(significant and ratio < 1 for ratio, significant in found),
        "picture": room.picture("class", "Odds ratios of 40 students, and of those published"),
        "students_published": int(room.number("published", conduct="drawer", analysis=None).value),
        "students_pooled": _pooled(room, None),
        "students_pooled_published": _pooled(room, "published"),
        "students_below": sum(ratio < 0.82 for ratio, _ in found),
    }


def _pooled(room: Answer, stratum: str | None) -> float:
    where = {"conduct": "drawer", "analysis": "Mantel-Haenszel", "stratum": stratum}
    return room.number("estimate", **where).value


if __name__ == "__main__":
    main(answers, Path(__file__).parent)
