"""Lesson 5: what chance, and flaws as strong as published, do to eleven trials of sepsis."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lessons import Answer, Commands, Number, main

POOLED = {"analysis": "Mantel-Haenszel", "scale": "odds ratio"}


def answers(commands: Commands) -> dict[str, Any]:
    """Return the answers of the sheets."""
    dials, quality, centres = (commands.run(name) for name in ("dials", "quality", "centres"))

    def median(answer: Answer, stratum: str, conduct: str) -> Number:
        return answer.number("estimate_median", stratum=stratum, conduct=conduct, **POOLED)

    def gap(answer: Answer, split: str, conduct: str) -> Number:
        return answer.number("gap_as_large", stratum=split, conduct=conduct).percent

    def observed(answer: Answer, stratum: str) -> str:
        (row,) = (
            row
            for row in answer.document["observed"]
            if row["measure"] == "estimate" and row["stratum"] == stratum
        )
        return f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"

    needed = {
        end: dials.number("strength_needed", source="mitt", analysis=end)
        for end in ("estimate", "lower end", "upper end")
    }
    (abraha,) = (
        row
        for row in dials.document["observed"]
        if row.get("evidence") == "abraha-2015" and row.get("source") == "mitt"
    )
    told = quality.document["texts"]["quality or centres"]
    same = re.search(r"put (\d+) of (\d+) trials on the same side", told)
    assert same is not None
    return {
        "same_side": same[1],
        "all_trials": same[2],
        "six": observed(quality, "quality=lower"),
        "five": observed(quality, "quality=higher"),
        "ratio": observed(quality, "quality"),
        "single": observed(centres, "centres=single"),
        "multi": observed(centres, "centres=multi"),
        "abraha": f"{abraha['value']:.2f}",
        "needed": needed["estimate"],
        "needed_most": needed["lower end"],
        "needed_least": needed["upper end"],
        "lower_chance": median(quality, "quality=lower", "chance"),
        "lower_typical": median(quality, "quality=lower", "typical"),
        "lower_reach": median(quality, "quality=lower", "to-reach-041"),
        "gap_chance": gap(quality, "quality", "chance"),
        "gap_typical": gap(quality, "quality", "typical"),
        "gap_reach": gap(quality, "quality", "to-reach-041"),
        "single_chance": median(centres, "centres=single", "chance"),
        "single_typical": median(centres, "centres=single", "typical"),
        "centres_gap_chance": gap(centres, "centres", "chance"),
        "centres_gap_typical": gap(centres, "centres", "typical"),
        "picture": quality.picture("gap", "Simulated ratios of the strata, and the published one"),
    }


if __name__ == "__main__":
    main(answers, Path(__file__).parent)
