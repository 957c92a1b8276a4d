"""Lesson 2: what leaving out half of the treated who died does to a drug that does nothing."""

from __future__ import annotations

import sys
from math import exp
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import exact
from lessons import Commands, main


def answers(commands: Commands) -> dict[str, Any]:
    """Return the answers of the sheets."""
    dial = commands.run("dial")
    flaw = {"mechanism": "exclusion"}
    room = commands.run("class")
    before, after = (room.students(conduct).values() for conduct in ("rigorous", "left-out"))
    return {
        "intention_to_treat": dial.number("estimate_mean", strength=0.0, **flaw).ratio,
        "half_left_out": dial.number("estimate_mean", strength=0.5, **flaw).ratio,
        "quarter_left_out": dial.number("estimate_mean", strength=0.25, **flaw).ratio,
        "significant_itt": dial.number("power", strength=0.0, **flaw).percent,
        "significant_half": dial.number("power", strength=0.5, **flaw).percent,
        "exact_mean": exp(exact.log_odds_ratio_after_exclusion(200, 0.3, 0.5)),
        "students_significant_before": sum(found for _, found in before),
        "students_significant_after": sum(found for _, found in after),
        "picture": dial.picture("bias", "The odds ratio falls with the share left out"),
    }


if __name__ == "__main__":
    main(answers, Path(__file__).parent)
