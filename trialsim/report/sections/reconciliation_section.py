"""The section of a report on what could explain conflicting results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape

from trialsim.report.run_reader import FinishedRun
from trialsim.report.screens.reconciliation_screen import left_out_in_words, reconciliation_tables
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["reconciliation_section"]


def reconciliation_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run is a reconciliation."""
    found = [run for run in runs if run.document["command"] == "reconcile"]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    title = "What could explain conflicting results"
    return Section("reconciliation", title, tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    document = run.document
    file = document["arguments"]["conflict"]
    yield Paragraph(f"{file['title']}. Seed {document['seed']}.")
    texts = document["texts"]
    for key in ("template", "verdict", "choices", "documents", "parts"):
        if key in texts:
            yield Paragraph(texts[key])
    for told in reconciliation_tables(file, document["rows"], document.get("observed", ())):
        grid = Grid(told.caption, told.header, told.lines)
        drawing = run.svgs.get(told.figure)
        if drawing:
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"{told.figure}-{number}", drawing, words, grid)
        else:
            yield grid
        if told.below:
            yield Paragraph(told.below)
    if left_out := left_out_in_words(file):
        yield Paragraph(left_out)
    for key in ("no-data", "alike", "matrix", "note"):
        if key in texts:
            yield Paragraph(texts[key])
    for line in texts.get("priors", "").splitlines():
        yield Paragraph(f"Prior: {line}")
