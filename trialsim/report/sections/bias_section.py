"""The section of a report on flaws of conduct."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp
from typing import Any

from trialsim.report.parts.flawed_patients import flaw_in_words
from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section
from trialsim.report.sections.flawed_section import (
    ONE_TRIAL,
    described,
    one_trial,
    patients_per_1000,
)

__all__ = ["bias_section"]

_AGAINST_NONE = (
    ("Ratio of odds ratios", "ratio_of_odds_ratios"),
    ("Ratio to no flaw", "ratio_of_ratios"),
    ("Less no flaw", "difference_of_differences"),
)
_COLUMNS = (
    ("Mean estimate", "estimate_mean"),
    *_AGAINST_NONE,
    ("Significant", "power"),
    ("Covers", "coverage"),
    ("Exaggeration", "type_m"),
    ("Wrong direction", "type_s"),
    ("Published", "published_share"),
)


def bias_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run is about flaws."""
    found = [run for run in runs if run.document["command"] == "bias"]
    found = [run for run in found if not run.document["arguments"].get("calibrate")]
    every = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    blocks = list(dict.fromkeys(reversed(every)))[::-1]  # what holds for several runs, once
    return Section("bias", "From truth to publication", tuple(blocks)) if blocks else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows, conduct = run.document["rows"], run.document["arguments"]["conduct"]
    only = run.document["arguments"].get("only")
    dial = f" Here {only} alone, at rising strength." if only else ""
    told = f"Conduct '{conduct['id']}': {conduct['title']}. {conduct.get('note', '')}"
    yield Paragraph(f"{told.strip()}{dial}")
    drawing = run.svgs.get("bias")
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [row for row in rows if row["scenario"] == scenario]
        grid = _flaws(scenario, own)
        if drawing:
            yield Drawing(f"bias-{number}", drawing, described(drawing), grid)
            drawing = None
        else:
            yield grid
        bars = [row for row in own if row["measure"] == "attribution"]
        if bars:
            lines = tuple(
                (row["mechanism"], _number(row, 3), f"{row['n_replicates']:,}") for row in bars
            )
            caption = f"Shares of the bias, {bars[0]['scale']} [{scenario}]"
            yield Grid(caption, ("Step", "By", "Trials"), lines)
    yield Paragraph(
        "Estimates are of the trials published, as many as the last column says; every line has "
        "the same simulated patients. The "
        f"{_against_none(rows)} is against trials without flaws. Shares are Shapley values: what a "
        "flaw adds to the mean, averaged over all orders of switching flaws on; they add up to the "
        "mean published less the truth. +- is one Monte Carlo standard error."
    )
    yield from patients_per_1000(run, number)
    yield from one_trial(run, number)
    for subject, told in run.document["texts"].items():
        if subject != ONE_TRIAL:
            yield Paragraph(told)
    for warning in run.document["warnings"]:
        yield Paragraph(warning["text"].partition(" More: ")[0])


def _against_none(rows: Sequence[dict[str, Any]]) -> str:
    """Say what tells an effect with flaws from that without, in lower case."""
    told = {
        "ratio_of_odds_ratios": "ratio of odds ratios",
        "ratio_of_ratios": "ratio of estimates",
        "difference_of_differences": "difference of estimates",
    }
    return next(told[row["measure"]] for row in rows if row["measure"] in told)


def _flaws(scenario: str, rows: Sequence[dict[str, Any]]) -> Grid:
    there = {row["measure"] for row in rows}
    columns = [c for c in _COLUMNS if c not in _AGAINST_NONE or c[1] in there]
    lines = []
    for key in dict.fromkeys((r["mechanism"], r.get("strength")) for r in rows):
        own = {r["measure"]: r for r in rows if (r["mechanism"], r.get("strength")) == key}
        if "power" not in own:
            continue  # a share
        shown = [_cell(own.get(measure)) for _, measure in columns]
        n = f"{own['estimate_mean']['n_replicates']:,}"
        lines.append((flaw_in_words(*key), *shown, n))
    header = ("Flaw", *(words for words, _ in columns), "Trials")
    return Grid(f"What trials with these flaws publish [{scenario}]", header, tuple(lines))


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    if row["measure"] in ("power", "coverage", "published_share", "type_s"):
        return f"{100 * row['value']:.1f}% +-{100 * row['mcse']:.1f}"
    if row["measure"] == "estimate_mean" and "ratio" in row["scale"]:
        return f"{exp(row['value']):.3f} +-{exp(row['value']) * row['mcse']:.3f}"
    return _number(row, 2 if row["mcse"] >= 0.005 else 3)


def _number(row: dict[str, Any], digits: int) -> str:
    return f"{row['value']:.{digits}f} +-{row['mcse']:.{digits}f}"
