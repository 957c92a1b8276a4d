"""The section of a report on published effects less the bias of trials like them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any

from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["adjustment_section"]


def adjustment_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run adjusts published effects."""
    found = [run for run in runs if run.document["command"] == "evidence adjust"]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    title = "Published effects, adjusted for bias"
    return Section("adjusted", title, tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows = run.document["rows"]
    for text in run.document["texts"].values():
        yield Paragraph(text)
    header = ("Odds ratio (95% interval)", "As published", "Adjusted")
    lines = []
    for index, row in enumerate(rows):
        if row.get("which") == "naive":
            fits = (r for r in rows[index + 1 :] if _about(r) == _about(row))
            adjusted = next(r for r in fits if r["which"] == "adjusted")
            lines.append((_about(row), _interval(row), _interval(adjusted)))
    caption = "Published effects, and less the bias of trials with their flaws"
    yield _drawn(run, "adjusted", number, Grid(caption, header, tuple(lines)))
    bars: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["measure"] == "assumption":
            bars.setdefault(row["which"], []).append(row)
    if bars:
        header = ("Assumption", "At one end", "At the other")
        lines = [
            (name, f"{first['value']:.3f}", f"{second['value']:.3f}")
            for name, (first, second) in bars.items()
        ]
        grid = Grid(
            "Adjusted odds ratio (equal effects), each assumption moved", header, tuple(lines)
        )
        yield _drawn(run, "tornado", number, grid)
    yield Paragraph(
        "A mean bias is moved to the ends of its 95% interval, with phi; kappa to 0 and doubled; a "
        "flaw is taken as harmless, and as it is; from another published estimate, and as it is. "
        "Nothing is simulated."
    )


def _about(row: dict[str, Any]) -> str:
    if row["measure"] == "study":
        return f"{row['study']} ({', '.join(row['flaws']) or 'no flaw counted'})"
    return ", ".join(word for word in (row["measure"], row.get("analysis")) if word)


def _interval(row: dict[str, Any]) -> str:
    return f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"


def _drawn(run: FinishedRun, name: str, number: int, grid: Grid) -> Block:
    drawing = run.svgs.get(name)
    if not drawing:
        return grid
    words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
    return Drawing(f"{name}-{number}", drawing, words, grid)
