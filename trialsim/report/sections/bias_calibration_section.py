"""The section of a report on the strengths that published ratios need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape

from trialsim.report.run_reader import FinishedRun
from trialsim.report.screens.bias_calibration_screen import calibration_tables, calibration_words
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["bias_calibration_section"]


def bias_calibration_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run asks for strengths."""
    found = [
        run
        for run in runs
        if run.document["command"] == "bias" and run.document["arguments"].get("calibrate")
    ]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    title = "Strength of flaws that published ratios need"
    return Section("bias-calibration", title, tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows, conduct = run.document["rows"], run.document["arguments"]["conduct"]
    (risk,) = (row for row in rows if row["measure"] == "risk")
    yield Paragraph(
        f"Conduct '{conduct['id']}': {conduct['title']}. Reference setting: scenario "
        f"{risk['scenario']}, {run.resolved.template.protocol.n_total:,} patients, a true risk of "
        f"{100 * risk['value']:.1f}% under control; each flaw alone, all others off."
    )
    drawing = run.svgs.get("dials")
    for told in calibration_tables(rows, run.document["observed"]):
        lines = [line for cells in told.lines for line in _lines(cells)]
        grid = Grid(told.caption, told.header, tuple(lines))
        if drawing:
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"dials-{number}", drawing, words, grid)
            drawing = None
        else:
            yield grid
    yield Paragraph(calibration_words())
    for text in run.document["texts"].values():
        yield Paragraph(text)
    for warning in run.document["warnings"]:
        yield Paragraph(warning["text"].partition(" More: ")[0])


def _lines(cells: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield a line per end of the interval; only the first says whose they are."""
    name = ", ".join(cells[0].split("\n"))
    columns = [cell.split("\n") for cell in cells[1:]]
    if len({len(column) for column in columns}) > 1:
        yield (name, *(" ".join(column) for column in columns))
        return
    for number, line in enumerate(zip(*columns, strict=True)):
        yield ("" if number else name, *line)
