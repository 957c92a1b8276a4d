"""Lesson 3: how many of a class find a benefit or harm that is not there, by looks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import exact
from lessons import Commands, main

LOOKS = {
    "1": ("five", "none"),
    "5": ("five", "undeclared-looks"),
    "10": ("ten", "undeclared-looks"),
}
# Of normal outcomes: Armitage, McPherson and Rowe (1969), JRSS A 132:235-244, table 2
NORMAL = {"1": 5.0, "5": 14.2, "10": 19.3}


def answers(commands: Commands) -> dict[str, Any]:
    """Return the answers of the sheets."""
    runs = {name: commands.run(name) for name in ("five", "ten")}
    five, ten = commands.run("class-five"), commands.run("class-ten")
    rooms = {
        "1": five.students("rigorous"),
        "5": five.students("five-looks"),
        "10": ten.students("ten-looks"),
    }
    hands = {
        looks: [student for student, (_, found) in room.items() if found]
        for looks, room in rooms.items()
    }
    found: dict[str, Any] = {}
    for looks, (name, mechanism) in LOOKS.items():
        share = exact.significant_after_looks(100, 0.3, int(looks))
        found |= {
            f"exact_{looks}": 100 * share,
            f"expected_hands_{looks}": 40 * share,
            f"normal_{looks}": NORMAL[looks],
            f"significant_{looks}": runs[name].number("power", mechanism=mechanism).percent,
            f"hands_{looks}": len(hands[looks]),
            f"laptops_{looks}": ", ".join(map(str, hands[looks])) or "none",
        }
    fewest, most = exact.central_hands(40, exact.significant_after_looks(100, 0.3, 5))
    return {**found, "spread_5": f"{fewest} to {most}"}


if __name__ == "__main__":
    main(answers, Path(__file__).parent)
