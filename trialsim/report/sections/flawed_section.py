"""Of the section on flaws: events per 1,000, prognosis by arm, and one trial before and after."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape

from trialsim.report.parts.flawed_patients import table_per_1000, trials_looked_into
from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph

__all__ = ["ONE_TRIAL", "described", "one_trial", "patients_per_1000"]

ONE_TRIAL = "one trial"
_PROGNOSIS = (
    " Prognosis is the mean of the treated less that of controls among those analysed, in standard "
    "deviations of the trial; above 0 the treated would have fared better without treatment."
)


def described(drawing: str) -> str:
    """Return the alternative text inside a drawing."""
    return unescape(drawing.partition("</desc>")[0].rpartition(">")[2])


def patients_per_1000(run: FinishedRun, number: int) -> Iterator[Block]:
    """Yield events per 1,000 and prognosis by arm, under every scenario."""
    protocol, rows = run.resolved.template.protocol, run.document["rows"]
    arms = (protocol.control.id, protocol.experimental.id)
    drawing = run.svgs.get("imbalance")
    shown = False
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [row for row in rows if row["scenario"] == scenario]
        header, lines = table_per_1000(own, arms, "Flaw")
        if not lines:
            continue
        shown = True
        caption = f"Of 1,000 patients: {protocol.primary.event} [{scenario}]"
        grid = Grid(caption, header, tuple(lines))
        if drawing:
            yield Drawing(f"imbalance-{number}", drawing, described(drawing), grid)
            drawing = None
        else:
            yield grid
    if shown:
        yield Paragraph(
            "Events are those of 1,000 patients in the tables published: means of the trials "
            f"published among the first {trials_looked_into(rows):,}."
            + (_PROGNOSIS if "imbalance" in run.svgs else "")
        )


def one_trial(run: FinishedRun, number: int) -> Iterator[Block]:
    """Yield the trial that was drawn before and after its flaws."""
    told, drawing = run.document["texts"].get(ONE_TRIAL), run.svgs.get("onetrial")
    if told is None:
        return
    lines = tuple((who, words) for who, _, words in (t.partition(": ") for t in told.splitlines()))
    grid = Grid("One trial before and after its flaws", ("", ""), lines)
    if drawing is None:
        yield grid
        return
    yield Drawing(f"onetrial-{number}", drawing, described(drawing), grid)
    yield Paragraph(
        "Every mark is a patient, in the same place in both panels but for the row; its shape is "
        "that of the first flaw that touched it. 'trialsim replay' shows any other trial."
    )
