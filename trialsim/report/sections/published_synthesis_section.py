"""The section of a report on published trials that were pooled as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape

from trialsim.report.run_reader import FinishedRun
from trialsim.report.screens.published_synthesis_screen import (
    NOT_ADVICE,
    model_tables,
    synthesis_tables,
)
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section
from trialsim.studies.literature.published_synthesis import SIMULATED

__all__ = ["published_synthesis_section"]


def published_synthesis_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run pools published trials."""
    found = [run for run in runs if _is_published(run)]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    every_simulated = all(SIMULATED in run.document["texts"] for run in found)
    title = f"{'Simulated' if every_simulated else 'Published'} trials, pooled"
    return Section("published-trials", title, tuple(blocks)) if blocks else None


def _is_published(run: FinishedRun) -> bool:
    given = run.document["arguments"]
    return run.document["command"] == "synthesise" and ("observed" in given or "table" in given)


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    given = run.document["arguments"]
    source = f"the table {given['table']}" if "table" in given else "published records"
    whose = f"nothing was simulated. {NOT_ADVICE}"
    if SIMULATED in run.document["texts"]:
        whose = f"a simulated literature. {DISCLAIMER}"
    yield Paragraph(f"Pooled as they are, from {source}; {whose}")
    told = synthesis_tables(run.document["rows"], run.document["observed"])
    for index, one in enumerate(told):
        grid = Grid(one.caption, one.header, one.lines)
        name = ("pooled", "funnel")[index] if index < 2 else ""
        if drawing := run.svgs.get(name):
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"{name}-{number}", drawing, words, grid)
        else:
            yield grid
        for note in one.notes:
            yield Paragraph(note)
    for one in model_tables(run.document["rows"]):
        yield Grid(one.caption, one.header, one.lines)
    for text in run.document["texts"].values():
        yield Paragraph(text)
    for warning in run.document["warnings"]:
        yield Paragraph(warning["text"].partition(" More: ")[0])
