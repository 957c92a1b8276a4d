"""Events per 1,000 and prognosis by arm, flaw by flaw: cells that screen and report share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["flaw_in_words", "table_per_1000", "trials_looked_into"]

_OWN = ("events_per_1000", "baseline_imbalance")
Rows = Sequence[Mapping[str, Any]]


def table_per_1000(
    rows: Rows, arms: tuple[str, str], first: str = "flaw"
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and lines under one truth, the truth first; no lines where there are none.

    Prognosis is the last column, where it is known.

    Parameters
    ----------
    rows : sequence of mapping
        In the form of the document.
    arms : (control, experimental)
        Their ids.
    first : str
        What lines are about.
    """
    header = (first, arms[1], arms[0], "difference", "prognosis, SD")
    lines = _lines(rows, arms)
    known = any(line[-1] != "-" for line in lines)
    return (header, lines) if known else (header[:-1], [line[:-1] for line in lines])


def _lines(rows: Rows, arms: tuple[str, str]) -> list[tuple[str, ...]]:
    own = [row for row in rows if row["measure"] in _OWN]
    lines: list[tuple[str, ...]] = []
    for key in dict.fromkeys((row["mechanism"], row.get("strength")) for row in own):
        here = [row for row in own if (row["mechanism"], row.get("strength")) == key]
        events = {row.get("arm"): row for row in here if row["measure"] == "events_per_1000"}
        apart = next((row for row in here if row["measure"] == "baseline_imbalance"), None)
        lines.append(
            (
                flaw_in_words(*key),
                _cell(events[arms[1]], 1),
                _cell(events[arms[0]], 1),
                _cell(events[None], 1, sign="+"),
                _cell(apart, 3, sign="+"),
            )
        )
    return lines


def trials_looked_into(rows: Rows) -> int:
    """Return how many trials without flaws these numbers rest on."""
    found = [r for r in rows if r["measure"] == "events_per_1000" and r["mechanism"] == "none"]
    return max((int(row.get("n_replicates") or 0) for row in found), default=0)


def flaw_in_words(mechanism: str, strength: float | None = None) -> str:
    """Return what a line about a flaw, none or all of them is called."""
    if strength is not None:
        return f"{mechanism} at {strength:g}"
    return {"truth": "the truth", "none": "no flaw", "all": "all of them"}.get(mechanism, mechanism)


def _cell(row: Mapping[str, Any] | None, digits: int, *, sign: str = "") -> str:
    if row is None or row["value"] is None:
        return "-"
    value = f"{row['value']:{sign}.{digits}f}"
    return value if row.get("mcse") is None else f"{value} +-{row['mcse']:.{digits}f}"
