"""The section of a report on follow-up durations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any

from trialsim.report.parts.horizon_estimands import estimand_lines, estimand_words
from trialsim.report.parts.missing_read_outs import MISSING_HEADER, missing_lines, missing_words
from trialsim.report.run_reader import FinishedRun
from trialsim.report.screens.regimens_screen import regimen_tables
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section
from trialsim.studies.horizons.delayed_effect import short_name

__all__ = ["followup_section"]

_Row = dict[str, Any]


def followup_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run compares horizons."""
    found = [run for run in runs if run.document["command"] == "followup"]
    blocks = [block for number, run in enumerate(found) for block in _of_run(run, number)]
    if not blocks:
        return None
    if all("regimen" in row for run in found for row in run.document["rows"]):
        return Section("followup", "Regimens", tuple(blocks))
    blocks.append(
        Paragraph(
            "The same simulated patients are read out at every horizon, and differences between "
            "horizons are taken within trials. A verdict is wrong where an effect exists at the "
            "reference horizon and is not found in its direction, or none exists there and one is "
            "found. Bias is that of the estimate for the effect at the reference, on the log scale "
            "of a ratio. Sizes are per arm, by the pooled-variance formula."
        )
    )
    return Section("followup", "Follow-up durations", tuple(blocks))


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    every = run.document["rows"]
    missing = [r for r in every if "missing" in r or r["measure"] == "risk_without_loss"]
    asked = [row for row in every if "estimand" in row]
    rows = [row for row in every if row not in missing and row not in asked]
    titles = {scenario.id: scenario.title for scenario in run.resolved.template.scenarios}
    drawn = {name: run.svgs.get(name) for name in ("followup", "lags", "regimens")}
    if any("regimen" in row for row in rows):
        yield from _regimens(rows, titles, drawn["regimens"], number)
        rows = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [row for row in rows if row["scenario"] == scenario and "lag" not in row]
        grid = _horizons(f"If the truth is {titles[scenario]} [{scenario}]", own)
        yield _with_drawing(f"followup-{number}", drawn.pop("followup", None), grid)
        several = [row for row in own if row["measure"] == "power"]
        if len({row["analysis"] for row in several}) > 1:
            yield _analyses(f"The same by other analyses [{scenario}]", several)
        stopped = [row for row in own if row["measure"] == "stop_probability"]
        if stopped:
            yield _futility(f"If trials were stopped early for futility [{scenario}]", own)
        late = [row for row in rows if row["scenario"] == scenario and "lag" in row]
        if late:
            grid = _analyses(f"If the effect started later [{scenario}]", late)
            yield _with_drawing(f"lags-{number}", drawn.pop("lags", None), grid)
    yield from _through_visits(missing, asked)
    yield from _pictures(run, rows, number)
    for told in run.document["texts"].values():
        yield Paragraph(told)
    for warning in run.document["warnings"]:
        yield Paragraph(warning["text"].partition(" More: ")[0])


def _through_visits(missing: list[dict[str, Any]], asked: list[dict[str, Any]]) -> Iterator[Block]:
    """Yield what ways to deal with missing read-outs, and what estimands, say per horizon."""
    header = tuple(words.replace("-\n", "").replace("\n", " ") for words in MISSING_HEADER)
    for scenario in dict.fromkeys(row["scenario"] for row in missing):
        own = [row for row in missing if row["scenario"] == scenario]
        caption = f"How missing read-outs are dealt with [{scenario}]"
        names = {(row["horizon"], row["clock"]): _at(row) for row in own}
        yield Grid(caption, header, tuple(missing_lines(own, names)))
    if missing:
        yield Paragraph(missing_words(missing))
    horizons = {(row["horizon"], row["clock"]): _at(row) for row in asked}
    for scenario in dict.fromkeys(row["scenario"] for row in asked):
        lines = estimand_lines([r for r in asked if r["scenario"] == scenario], horizons)
        caption = f"Estimands at every horizon, true effect / found % [{scenario}]"
        yield Grid(caption, ("Estimand", *horizons.values()), tuple(lines))
    if asked:
        yield Paragraph(estimand_words(asked))


def _pictures(run: FinishedRun, rows: list[dict[str, Any]], number: int) -> Iterator[Block]:
    """Yield what waiting costs, and twenty patients per scenario."""
    if svg := run.svgs.get("frontier"):
        yield Drawing(
            f"frontier-{number}",
            svg,
            _described(svg),
            _designs(rows, run.document["arguments"].get("power", 0.8)),
        )
    for name in sorted(name for name in run.svgs if name.startswith("swimmer")):
        svg = run.svgs[name]
        told, *patients = _described(svg).split("\n")
        header = ("Patient", "Followed to", "In response", "Seen in response", "Not", "Missed")
        grid = Grid("Twenty patients", header, tuple(tuple(p.split(" | ")) for p in patients))
        yield Drawing(f"{name}-{number}", svg, told, grid)


def _regimens(
    rows: Sequence[_Row], titles: dict[str, str], svg: str | None, number: int
) -> Iterator[Block]:
    """Yield two tables per scenario: what is true of every regimen, and what is found."""
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [row for row in rows if row["scenario"] == scenario]
        for caption, header, lines in regimen_tables(own):
            words = tuple(word.replace("\n", " ") for word in header)
            told = f"If the truth is {titles[scenario]} [{scenario}]: {caption.rstrip(':')}"
            yield _with_drawing(f"regimens-{number}", svg, Grid(told, words, tuple(lines)))
            svg = None
    yield Paragraph(
        "Regimens are given to the same simulated patients and read twice: at an equal time after "
        "entry, and at an equal time after the end of each regimen's own therapy; between readings "
        "is the second less the first. No parameter of the pool is identified by published results."
    )
    held = [row for row in rows if row.get("evidence")]
    said = {
        (row["scenario"], row["regimen"], row["evidence"]): 100 * row["value"]
        for row in held
        if row["measure"] == "fitted"
    }
    lines = [
        (row["scenario"], row["regimen"], f"{said[key]:.1f}%", f"{100 * row['value']:.1f}%")
        for row in held
        if row["measure"] == "estimate"
        and (key := (row["scenario"], row["regimen"], row["evidence"])) in said
    ]
    if lines:
        header = ("Pool", "Regimen seen", "It says", "Published")
        yield Grid("What the pools say of published results", header, tuple(lines))


def _with_drawing(name: str, svg: str | None, grid: Grid) -> Block:
    if not svg:
        return grid
    return Drawing(name, svg, _described(svg), grid)


def _described(svg: str) -> str:
    return unescape(svg.partition("</desc>")[0].rpartition(">")[2])


def _designs(rows: Sequence[_Row], power: float) -> Grid:
    """Return the trials of the power wanted, behind the frontier."""
    lines = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        own = [r for r in rows if r["scenario"] == scenario and r.get("level") == power]
        for at in dict.fromkeys(map(_at, own)):
            here = {row["measure"]: row for row in own if _at(row) == at}
            wanted = ("n_per_arm", "duration_months", "cost")
            lines.append((scenario, at, *(_number(here.get(name)) for name in wanted)))
    header = ("If the truth is", "Read", "Per arm", "Months", "Cost")
    return Grid(f"Trials of {100 * power:g}% power", header, tuple(lines))


def _at(row: _Row) -> str:
    since = "entry" if row["clock"] == "entry" else "therapy"
    return f"{row['horizon']} after {since}"


def _share(row: _Row | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    return f"{100 * row['value']:.1f}% +-{100 * row['mcse']:.1f}"


def _horizons(caption: str, rows: Sequence[_Row]) -> Grid:
    lines = []
    for at in dict.fromkeys(map(_at, rows)):
        here = [row for row in rows if _at(row) == at]

        def first(measure: str, level: float | None = None, here: list[_Row] = here) -> _Row | None:
            wanted = (row for row in here if row["measure"] == measure)
            return next((r for r in wanted if level is None or r.get("level") == level), None)

        risks = [f"{100 * row['value']:.1f}%" for row in here if row["measure"] == "risk"]
        bias = first("bias_from_reference")
        planned = [
            next((r for r in here if r["measure"] == name and "level" not in r), None)
            for name in ("duration_months", "cost")
        ]
        lines.append(
            (
                at,
                " v ".join(reversed(risks)),
                _share(first("power")),
                _share(first("wrong_verdict")),
                f"{bias['value']:+.2f} +-{bias['mcse']:.2f}" if bias else "-",
                _share(first("power_difference")),
                *(_number(first("n_per_arm", level)) for level in (0.8, 0.9)),
                *map(_number, planned),
            )
        )
    money = next((row.get("unit") for row in rows if row["measure"] == "cost"), None)
    header = (
        *("Read", "Treated v control", "Found", "Wrong verdict", "Bias"),
        *("Found, less the reference's", "For 80%", "For 90%", "Months"),
        f"Cost, {money}" if money else "Cost",
    )
    return Grid(caption, header, tuple(lines))


def _futility(caption: str, rows: Sequence[_Row]) -> Grid:
    """Return how often a look for futility stops, and stops what would have found the effect."""
    asked = [row for row in rows if row["measure"] in ("stop_probability", "stops_wrongly")]
    lines = []
    for at in dict.fromkeys(map(_at, asked)):
        here = {row["measure"]: row for row in asked if _at(row) == at}
        stops = here["stop_probability"]
        shown = (_share(stops), _share(here.get("stops_wrongly")))
        lines.append((at, stops["analysis"].partition(": ")[2], *shown))
    header = ("Look", "Stops where", "Stops", "Of trials that would find it")
    return Grid(caption, header, tuple(lines))


def _number(row: _Row | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    return f"{row['value']:,.1f}" if row["measure"] == "duration_months" else f"{row['value']:,.0f}"


def _analyses(caption: str, rows: Sequence[_Row]) -> Grid:
    horizons = list(dict.fromkeys(map(_at, rows)))
    found = {(row.get("lag", ""), short_name(row["analysis"]), _at(row)): row for row in rows}
    lines = tuple(
        (*((lag,) if lag else ()), test, *(_share(found.get((lag, test, at))) for at in horizons))
        for lag, test in dict.fromkeys((lag, test) for lag, test, _ in found)
    )
    starts = ("Starts, after entry",) if "lag" in rows[0] else ()
    return Grid(caption, (*starts, "Analysis", *horizons), lines)
