"""The section of a report on a class whose students replayed one trial each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape

from trialsim.report.run_reader import FinishedRun
from trialsim.report.screens.class_screen import class_tables
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["class_section"]


def class_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run is of a class."""
    found = [
        run
        for run in runs
        if run.document["command"] == "synthesise" and "class" in run.document["arguments"]
    ]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    title = "A class of one trial each"
    return Section("class", title, tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    given = run.document["arguments"]
    yield Paragraph(
        f"{given['class']:,} students, seed {run.document['seed']}, scenario "
        f"{given['scenario'][0]}, conduct '{given['conduct']['id']}'."
    )
    for told in class_tables(run.document["rows"]):
        grid = Grid(told.caption, told.header, told.lines)
        drawing = run.svgs.get("class") if told.header[0] == "student" else None
        if drawing:
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"class-{number}", drawing, words, grid)
        else:
            yield grid
    for text in run.document["texts"].values():
        yield Paragraph(text)
    for warning in run.document["warnings"]:
        yield Paragraph(warning["text"].partition(" More: ")[0])
