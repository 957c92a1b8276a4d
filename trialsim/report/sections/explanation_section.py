"""The section of a report on why two published trials disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any

from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["explanation_section"]


def explanation_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run explains a disagreement."""
    found = [run for run in runs if run.document["command"] == "explain"]
    every = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    return Section("explained", "Why two trials disagree", tuple(every)) if every else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows, texts = run.document["rows"], run.document["texts"]
    one, other = run.document["arguments"]["ids"]
    for subject in ("gap", "chance"):
        if subject in texts:
            yield Paragraph(texts[subject])
    parts = [row for row in rows if row["measure"] == "part_of_gap"]
    apart = {
        (row["subject"], row["what"], row["source"]): row
        for row in rows
        if row["measure"] == "gap_as_large" and "source" in row
    }
    known = list(dict.fromkeys((r["subject"], r["what"], r["one"], r["other"]) for r in parts))
    lines = tuple((_named(subject, what), mine, theirs) for subject, what, mine, theirs in known)
    yield Grid("What the records say", ("", one, other), lines)
    shown = tuple(_line(row, apart) for row in parts if not row["same"])
    header = ("Difference", "Source", "Part of the gap (central 95%)", "So far apart")
    grid = Grid("What each difference can carry", header, shown)
    if drawing := run.svgs.get("explained"):
        words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
        yield Drawing(f"explained-{number}", drawing, words, grid)
    else:
        yield grid
    yield Paragraph(
        "Part of the gap: of the logarithm of the ratio; below 0 it hides some of it. So far "
        "apart: share of simulated pairs with that difference and otherwise one effect. +- is one "
        "Monte Carlo standard error."
    )
    for subject, text in texts.items():
        if subject not in ("gap", "chance"):
            yield Paragraph(text)


def _named(subject: str, what: str) -> str:
    return subject if subject == what else f"{subject}, {what}"


def _line(row: dict[str, Any], apart: dict[Any, dict[str, Any]]) -> tuple[str, ...]:
    name = _named(row["subject"], row["what"])
    if row["value"] is None:
        return name, "-", row["why"], "-"
    ends = f"({100 * row['lower']:.0f}% to {100 * row['upper']:.0f}%)"
    part = f"{100 * row['value']:.0f}% {ends} +-{100 * row['mcse']:.1f}%"
    share = apart[row["subject"], row["what"], row["source"]]
    said = (
        f"{100 * share['value']:.1f}% +-{100 * share['mcse']:.1f}%, n = {share['n_replicates']:,}"
    )
    return name, row["source"], part, said
