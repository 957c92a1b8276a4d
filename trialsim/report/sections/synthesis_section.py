"""The section of a report on simulated literatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from trialsim.protocol.published.literature import Literature
from trialsim.report.parts.literature_words import TRIALS_HEADER, trials_alike
from trialsim.report.run_reader import FinishedRun
from trialsim.report.screens.synthesis_screen import range_errors, status_in_words, with_error
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section

__all__ = ["synthesis_section"]

_Row = Mapping[str, Any]
_POOLED = (("Mantel-Haenszel", "median (95% of literatures)"), ("REML", "by REML"))
_SHARES = (
    ("gap_as_large", "a gap as large as published, or larger"),
    ("power_interaction", "interaction P 0.05 or less"),
)


def synthesis_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run simulates literatures."""
    found = [
        run
        for run in runs
        if run.document["command"] == "synthesise" and "literature" in run.document["arguments"]
    ]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    return Section("literatures", "Simulated literatures", tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    literature, rows = run.document["arguments"]["literature"], run.document["rows"]
    yield Paragraph(f"{literature['title']}: {literature.get('note', '')}")
    alike = trials_alike(Literature.model_validate(literature))
    yield Grid(
        "The trials of a literature, and who states their numbers", TRIALS_HEADER, tuple(alike)
    )
    seen = [row for row in run.document["observed"] if row["measure"] == "estimate"]
    if seen:
        lines = tuple(
            (row["stratum"], _published(row), row.get("evidence", "-"), _status(row))
            for row in seen
        )
        yield Grid("What was published", ("Stratum", "Odds ratio", "Evidence", "Status"), lines)
    drawing = run.svgs.get("gap")
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [row for row in rows if row["scenario"] == scenario]
        sets = list(dict.fromkeys(row["conduct"] for row in own))
        caption = f"A true odds ratio of {scenario.removeprefix('or-').replace('-', '.')}"
        grid = Grid(caption, ("", *sets), tuple(_lines(own, sets)))
        if drawing:
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"gap-{number}", drawing, words, grid)
            drawing = None
        else:
            yield grid
    yield from _one_literature(run, number)
    for about, told in run.document["texts"].items():
        if about != _ONE_LITERATURE:
            yield Paragraph(told)
    yield Paragraph(
        f"{rows[-1]['n_replicates']:,} literatures per column; +- is one Monte Carlo standard "
        f"error. {range_errors(rows)} Odds ratios are pooled over the trials published; a trial "
        "that is not published is followed by another of its kind."
    )
    for warning in run.document["warnings"]:
        yield Paragraph(warning["text"].partition(" More: ")[0])


def _lines(rows: Sequence[_Row], sets: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield what pools to what, one cell per set of conduct."""

    def cells(told: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(told.get(name, "-") for name in sets)

    for stratum in dict.fromkeys(row["stratum"] for row in rows):
        own = [row for row in rows if row["stratum"] == stratum]
        of_one = "=" in stratum
        name = stratum.partition("=")[2] if of_one else "ratio of the two"
        for analysis, words in _POOLED:
            by = {
                (row["conduct"], row["measure"]): row
                for row in own
                if row.get("analysis") == analysis
                and not row.get("scale", "").startswith("log")
                and row.get("scale") != "P value"
            }
            told = {
                conduct: _pooled([by[conduct, f"estimate_{part}"] for part in _PARTS])
                for conduct in sets
                if (conduct, "estimate_median") in by
            }
            if told:
                yield f"{name}: {'odds ratio, ' if of_one else ''}{words}", *cells(told)
        for measure, words in (("published_share", "published, of trials"), *_SHARES):
            told = {r["conduct"]: _share(r) for r in own if r["measure"] == measure}
            if told:
                yield f"{name}: {words}", *cells(told)


def _one_literature(run: FinishedRun, number: int) -> Iterator[Block]:
    """Yield the first literature without flaws and with, as funnels and a forest."""
    told = run.document["texts"].get(_ONE_LITERATURE)
    if not told:
        return
    lines = []
    for line in told.splitlines():
        trial, _, found = line.partition(": ")
        lines.append((trial, *found.split("; ")))
    header = ("Trial", "Rigorous: events/patients", "With flaws", "Before it, not published")
    grid = Grid("One literature twice, the same luck", header, tuple(lines))
    for name in ("literature", "literatureforest"):
        if drawing := run.svgs.get(name):
            words = unescape(drawing.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"{name}-{number}", drawing, words, grid)


_ONE_LITERATURE = "one literature"
_PARTS = ("median", "q025", "q975")


def _pooled(parts: Sequence[_Row]) -> str:
    middle, low, high = parts
    ends = f"({low['value']:.2f} to {high['value']:.2f})"
    return f"{with_error(middle['value'], middle['mcse'])} {ends}"


def _published(row: _Row) -> str:
    return f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"


def _status(row: _Row) -> str:
    derived = "=" not in row["stratum"] and row.get("status") != "derived"
    return f"{'derived, ' * derived}{status_in_words(row.get('status', '-'))}"


def _share(row: _Row) -> str:
    return f"{100 * row['value']:.2f}% +-{100 * row['mcse']:.2f}"
