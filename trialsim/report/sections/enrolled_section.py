"""The section of a report on a trial under way: when it will be full, what more sites do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from trialsim.errors import counted
from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["enrolled_section"]

_TABLES = (
    ("Months from the first invitation to the last patient enrolled", "milestone_months"),
    ("Months saved by sites added now", "months_saved"),
    ("Share of futures that are full by the planned day", "on_time"),
    ("Patients per open site and month", "site_rate"),
)


def enrolled_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run forecasts a trial under way."""
    found = [run for run in runs if "enrolled_sha256" in run.document["arguments"]]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    return Section("under-way", "The trial under way", tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows, texts = run.document["rows"], run.document["texts"]
    yield Paragraph(texts["answer"])
    for caption, measure in _TABLES:
        own = tuple(_line(row) for row in rows if row["measure"] == measure)
        grid = Grid(caption, ("", "Value", "Monte Carlo error", "9 in 10"), own)
        drawing = run.svgs.get("enrolled") if measure == "milestone_months" else None
        if drawing:
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"enrolled-{number}", drawing, words, grid)
        else:
            yield grid
    if observed := texts.get("observed times"):
        yield Paragraph(observed)
    yield Paragraph(texts["basis"])
    yield Paragraph(
        f"{counted(run.document['arguments']['runs'], 'future')}, seed {run.document['seed']}. "
        f"Repeat with: trialsim forecast {run.document['protocol']} --enrolled FILE.csv"
    )


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = row.get("category") or "as planned"
    if row.get("analysis") == "closed form":
        name += ", closed form"
    share = row["measure"] == "on_time"
    interval = (None, None) if share else (row.get("lower"), row.get("upper"))
    numbers = (row["value"], row.get("mcse"), *interval)
    value, error, low, high = (
        "-" if x is None else f"{100 * x:.1f}%" if share else f"{x:.2f}" for x in numbers
    )
    return name, value, error, f"{low} to {high}" if low != "-" else "-"
