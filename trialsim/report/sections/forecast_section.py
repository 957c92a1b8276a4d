"""The section of a report on a trial run on paper: months, patients, doses, kits and money."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from trialsim.errors import counted
from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["forecast_section"]

_Row = Mapping[str, Any]
_HEADER = ("", "Mean", "Monte Carlo error", "Middle 90% of trials")
_TABLES = (
    ("milestones", "Months since the first invitation of a site", ("milestone_months",)),
    ("power", "Chance to find the effect, and what of it is lost", ("power", "power_lost")),
    ("looks", "How trials end, share of them", ("stop_probability",)),
    ("consort", "Patients, mean over simulated trials", ("patients",)),
    ("supply", "Doses, drug and kits", ("doses", "drug_used", "exposure", "kits", "stock_outs")),
    ("cost", "Cost", ("cost",)),
)


def forecast_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run is a forecast."""
    found = [
        run
        for run in runs
        if run.document["command"] == "forecast"
        and "enrolled_sha256" not in run.document["arguments"]
    ]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    return Section("forecast", "The trial on paper", tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows, texts = run.document["rows"], run.document["texts"]
    yield Paragraph(texts["answer"])
    for figure, caption, measures in _TABLES:
        own = [row for row in rows if row["measure"] in measures]
        if not own:
            continue
        if figure == "looks" and (decided := texts.get("looks")):
            yield Paragraph(decided)
        grid = Grid(caption, _HEADER, tuple(map(_line, own)))
        yield from _drawn(run, figure, number, grid)
        if figure == "milestones":
            enrolling = [row for row in own if "enrolled" in (row.get("milestone") or "")]
            fan = Grid("Enrolment, months", _HEADER, tuple(map(_line, enrolling)))
            yield from _drawn(run, "recruitment", number, fan, without="")
            if shortcut := texts.get("shortcut"):
                yield Paragraph(shortcut)
            if observed := texts.get("observed times"):
                yield Paragraph(observed)
    yield Paragraph(texts["basis"])
    yield Paragraph(
        f"{counted(rows[0]['n_replicates'], 'simulated trial')}, event by event, seed "
        f"{run.document['seed']}. Repeat with: {_command(run)}"
    )


def _command(run: FinishedRun) -> str:
    """Return what gives these numbers again."""
    given = run.document["arguments"]
    months = given.get("observed_months")
    words = ["trialsim", "forecast", run.document["protocol"]]
    for name, values in (
        ("--variant", [given.get("variant")]),
        ("--set", given.get("set", ())),
        ("--scenario", [given.get("scenario")]),
        ("--observed-enrolment", [months and f"{months:g} mo"]),
        ("--runs", [str(given["runs"])]),
        ("--seed", [str(run.document["seed"])]),
    ):
        words += [word for value in values if value for word in (name, value)]
    return shlex.join(words)


def _drawn(
    run: FinishedRun, name: str, number: int, grid: Grid, without: str | None = None
) -> Iterator[Block]:
    """Yield a figure over its table, or the table alone."""
    if drawing := run.svgs.get(name):
        words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
        yield Drawing(f"{name}-{number}", drawing, words, grid)
    elif without is None:
        yield grid


def _line(row: _Row) -> tuple[str, ...]:
    name = row.get("category") or row.get("milestone") or row["measure"].replace("_", " ")
    if row.get("look") and row.get("category"):
        name += f", look {row['look']}"
    if row.get("arm"):
        name += f", {row['arm']}"
    if row["measure"] == "stop_probability":
        name = f"look {row['look']}: {row['analysis']}" if row.get("look") else row["analysis"]
    if row["measure"] == "doses":
        name = f"doses {name}"
    if row["measure"] == "stock_outs":
        name = "doses due without a kit" + (f": {row['category']}" if "category" in row else "")
    if row["measure"] == "kits":
        name = f"kits {name}"
    if row["value"] is None:
        return name, "-", "-", row.get("why", "-")
    if row["measure"] in ("power", "power_lost"):
        name = f"{'lost: ' if row['measure'] == 'power_lost' else ''}{row['analysis']}"
    share = row["measure"] in ("exposure", "stop_probability", "power", "power_lost")
    numbers = [row["value"], row.get("mcse") or 0.0, row.get("lower"), row.get("upper")]
    digits = 0 if abs(row["value"]) >= 1000 else 2
    value, error, low, high = (
        "-" if x is None else f"{100 * x:.2f}%" if share else f"{x:,.{digits}f}" for x in numbers
    )
    if share and row["measure"] != "exposure":  # its limits are an interval of its own
        return name, value, error, "-"
    unit = f" {row['unit']}" if row.get("unit") and row["measure"] == "drug_used" else ""
    return name, value + unit, error, f"{low} to {high}"
