"""The section of a report on intercurrent events, estimands and missing data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any

from trialsim.characteristics import Z95
from trialsim.protocol.intercurrent import IntercurrentEvent, estimands_of
from trialsim.report.parts.estimands import estimate_in_words, number_in_words, percent_in_words
from trialsim.report.run_reader import FinishedRun
from trialsim.report.sections.content import Block, Drawing, Grid, Paragraph, Section, label_of

__all__ = ["estimand_section"]


def estimand_section(runs: Sequence[FinishedRun]) -> Section | None:
    """Return the section; None where no run has intercurrent events."""
    blocks = [block for number, run in enumerate(runs) for block in _of_run(run, number)]
    if not blocks:
        return None
    blocks.append(
        Paragraph(
            "What is true is computed from the potential outcomes of patients of their own, each "
            "under both treatments, by the estimand's own strategies and with nothing missing "
            "(ICH E9(R1) 2019). Bias is against it, and its standard error holds that of both. A "
            "principal stratum is analysed naively, in those without the event in their own arm. "
            "Imputations are pooled by Rubin's rules (Barnard and Rubin 1999); reference-based "
            "ones are those of Carpenter, Roger and Kenward 2013."
        )
    )
    return Section("estimands", "Estimands and intercurrent events", tuple(blocks))


def _of_run(run: FinishedRun, number: int) -> Iterator[Block]:
    rows = [row for row in run.document["rows"] if "estimand" in row]
    if not rows:
        return
    nature = run.resolved.template.nature
    yield Grid(
        f"Processes that come between treatment and outcome ({label_of(run)}); all assumed",
        ("Event", "Per year, control", "Per year, treated", "What follows"),
        tuple(_process(event) for event in nature.intercurrent_events),
    )
    yield _shares(run, rows)
    for endpoint in dict.fromkeys(row["endpoint"] for row in rows):
        own = [row for row in rows if row["endpoint"] == endpoint]
        yield _questions(run, endpoint)
        grid = _found(run, endpoint, own)
        svg = run.svgs.get("estimands")
        primary = endpoint == run.resolved.template.protocol.primary.id
        if svg and primary:
            alt_text = unescape(svg.partition("</desc>")[0].rpartition(">")[2])
            yield Drawing(f"estimands-{number}", svg, alt_text, grid)
        else:
            yield grid


def _process(event: IntercurrentEvent) -> tuple[str, ...]:
    name = event.id if event.title is None else f"{event.title} [{event.id}]"
    treated = event.treated.in_words if event.treated else "as control"
    return name, event.control.in_words, treated, event.in_words


def _shares(run: FinishedRun, rows: list[dict[str, Any]]) -> Grid:
    """Return who has which event by each read-out."""
    protocol = run.resolved.template.protocol
    titles = {s.id: s.title for s in run.resolved.template.scenarios}
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["measure"] == "event_share":
            read = f"{row['horizon']} from {row['clock']}"
            found.setdefault((row["scenario"], read, row["analysis"]), {}).setdefault(
                row["arm"], row
            )
    arms = (protocol.control.id, protocol.experimental.id)
    lines = [
        (titles.get(scenario, scenario), read, event, *(_percent(shares[arm]) for arm in arms))
        for (scenario, read, event), shares in found.items()
    ]
    header = ("If the truth is", "By", "Event", *arms)
    return Grid("Patients with each event; value +- MCSE", header, tuple(lines))


def _questions(run: FinishedRun, endpoint: str) -> Grid:
    events = run.resolved.template.nature.intercurrent_events
    asked = estimands_of(run.resolved.endpoint(endpoint), events)
    lines = tuple((each.id, each.in_words) for each in asked)
    return Grid(f"Estimands of {endpoint}", ("Estimand", "Strategies (ICH E9(R1))"), lines)


def _found(run: FinishedRun, endpoint: str, rows: list[dict[str, Any]]) -> Grid:
    titles = {s.id: s.title for s in run.resolved.template.scenarios}
    found = {(row["scenario"], row["estimand"], row["measure"]): row for row in rows}
    lines = []
    for scenario, name in dict.fromkeys((row["scenario"], row["estimand"]) for row in rows):
        here = {key[2]: row for key, row in found.items() if key[:2] == (scenario, name)}
        power = here["power"]
        lines.append(
            (
                titles.get(scenario, scenario),
                name,
                f"{here['true_effect']['scale']} {_value(here['true_effect'])}",
                _estimate(here.get("estimate_mean")),
                _value(here.get("bias")),
                _value(here.get("estimate_difference")),
                _percent(here.get("coverage")),
                _percent(power),
                f"{power.get('n_replicates', 0):,}",
            )
        )
    header = (
        "If the truth is",
        "Estimand",
        "What is true",
        "Mean estimate",
        "Bias (ratios: of the logarithm)",
        "Apart from main, same trials",
        "Coverage",
        "Chance to find it",
        "Trials",
    )
    return Grid(f"What is found of {endpoint}; value +- MCSE", header, tuple(lines))


def _estimate(row: dict[str, Any] | None) -> str:
    row = row or {}
    return estimate_in_words(row.get("value"), row.get("mcse"), row.get("scale", ""))


def _value(row: dict[str, Any] | None) -> str:
    row = row or {}
    return number_in_words(row.get("value"), row.get("mcse"))


def _percent(row: dict[str, Any] | None) -> str:
    row = row or {}
    mcse = row.get("mcse")
    if mcse == 0 and "lower" in row:
        mcse = (row["upper"] - row["lower"]) / (2 * Z95)
    return percent_in_words(row.get("value"), mcse)
