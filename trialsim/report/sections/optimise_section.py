"""The section of a report on the design that buys most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section
from trialsim.report.sections.flawed_section import described

__all__ = ["optimise_section"]

_MOST = 12
_COLUMNS = (  # heading, measure, what it is of, whether more is better
    ("Power", "power_achieved", None, True),
    ("Months", "duration_months", "if it runs to its end", False),
    ("Cost", "cost", "if it runs to its end", False),
    ("Expected months", "duration_months", "expected", False),
    ("Expected in the worse arm", "expected_n", "in the worse arm", False),
)


def optimise_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run compares designs."""
    found = [run for run in runs if run.document["command"] == "optimise"]
    every = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    return Section("designs", "The design that buys most", tuple(every)) if every else None


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows, texts = run.document["rows"], run.document["texts"]
    yield Paragraph(f"{texts['asked']} Chosen: {texts['chosen']}")
    if "binds" in texts:
        yield Paragraph(f"What binds: {texts['binds']}.")
    if "worst" in texts:
        yield Paragraph(texts["worst"])
    grid = _front(rows)
    if drawing := run.svgs.get("pareto"):
        yield Drawing(f"pareto-{number}", drawing, described(drawing), grid)
    else:
        yield grid
    yield _simulated(rows)
    yield Paragraph(texts["more"])
    yield Paragraph(texts["assumed"])


def _front(rows: Sequence[dict[str, Any]]) -> Grid:
    """Return the chosen design, and others of the front evenly between its ends."""
    designs = list(dict.fromkeys(r["set_by"] for r in rows if r["measure"] == "power_achieved"))
    chosen = next(r["set_by"] for r in rows if r.get("headline"))
    by_power = sorted(designs, key=lambda name: _worst(rows, name, *_COLUMNS[0][1:]) or 0.0)
    step = max(1, -(-len(by_power) // (_MOST - 1)))
    kept = dict.fromkeys([*by_power[::step], by_power[-1], chosen])
    shown = [name for name in by_power if name in kept]
    columns = [c for c in _COLUMNS if any(_worst(rows, name, *c[1:]) is not None for name in shown)]
    money = next((r["unit"] for r in rows if r["measure"] == "cost"), "")
    header = tuple(f"{c[0]}, {money}" if c[0] == "Cost" else c[0] for c in columns)
    lines = tuple(
        (
            f"{name} (chosen)" if name == chosen else name,
            *(_cell(c[0], _worst(rows, name, *c[1:])) for c in columns),
        )
        for name in shown
    )
    caption = (
        f"{len(shown)} of the {len(designs)} designs that no other is as good as in everything; "
        "each number under the scenario where it is worst"
    )
    return Grid(caption, ("Design", *header), lines)


def _worst(
    rows: Sequence[dict[str, Any]], name: str, measure: str, analysis: str | None, more: bool
) -> float | None:
    own = [
        row["value"]
        for row in rows
        if row["set_by"] == name
        and row["measure"] == measure
        and (analysis is None or row["analysis"] == analysis)
    ]
    if not own:
        return None
    return float(min(own) if more else max(own))


def _cell(heading: str, value: float | None) -> str:
    if value is None:
        return "-"
    if heading == "Power":
        return f"{100 * value:.1f}%"
    return f"{value:,.1f}" if "onths" in heading else f"{value:,.0f}"


def _simulated(rows: Sequence[dict[str, Any]]) -> Grid:
    lines = []
    for row in rows:
        if row["measure"] != "power_simulated" or row["value"] is None:
            continue
        formula = next(
            r["value"]
            for r in rows
            if r["measure"] == "power_achieved"
            and (r["set_by"], r["scenario"]) == (row["set_by"], row["scenario"])
        )
        lines.append(
            (
                f"{row['set_by']} ({row['analysis']})",
                row["scenario"],
                f"{100 * formula:.1f}%",
                f"{100 * row['value']:.1f}% +-{100 * row['mcse']:.1f}",
                f"{row['n_replicates']:,}",
            )
        )
    header = ("Design", "If the truth is", "Power", "Simulated", "Trials")
    return Grid("The chosen design and the ends of the front, simulated", header, tuple(lines))
