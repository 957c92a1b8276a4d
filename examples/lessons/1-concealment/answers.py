"""Lesson 1: what a recruiter who counts the block does to a drug that does nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import exact
from lessons import Commands, Number, main


def answers(commands: Commands) -> dict[str, Any]:
    """Return the answers of the sheets."""
    dial = commands.run("dial")
    flaw = {"mechanism": "foreseen-allocation"}
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0)
    guessed = [
        answer.guessed_right for answer in commands.students("one-trial", range(1, 11)).values()
    ]
    room = commands.run("class")
    before, after = (room.students(conduct) for conduct in ("rigorous", "foreseen"))
    return {
        "certain": exact.certain_share(4),
        "guessed_right": exact.guessed_right(4),
        "certain_6": exact.certain_share(6),
        "guessed_right_percent": float(100 * exact.guessed_right(4)),
        "students_guessed_percent": Number(
            mean(guessed), stdev(guessed) / len(guessed) ** 0.5, len(guessed)
        ),
        **{
            f"odds_ratio_{100 * s:.0f}": dial.number("estimate_mean", strength=s, **flaw).ratio
            for s in strengths
        },
        "significant_0": dial.number("power", strength=0.0, **flaw).percent,
        "significant_100": dial.number("power", strength=1.0, **flaw).percent,
        "students_lower": sum(after[i][0] < before[i][0] for i in before),
        "students_below_1_before": sum(ratio < 1 for ratio, _ in before.values()),
        "students_below_1_after": sum(ratio < 1 for ratio, _ in after.values()),
        "picture": dial.picture("bias", "The odds ratio falls as the dial turns from 0 to 1"),
    }


if __name__ == "__main__":
    main(answers, Path(__file__).parent)
