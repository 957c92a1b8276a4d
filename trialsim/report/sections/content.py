"""What a report says, section by section; HTML, Markdown and Word only render it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

from trialsim.protocol.cost import Cost
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.quantities import SourcedNumber
from trialsim.protocol.reading.catalogue import template_paths
from trialsim.protocol.scenario import Leaving
from trialsim.report.parts.control_arm import control_arm_in_words
from trialsim.report.parts.imbalance import imbalance_tables
from trialsim.report.parts.regimen import regimen_in_words
from trialsim.report.parts.safety import SAFETY_METHOD, safety_tables
from trialsim.report.parts.schedule import schedule_of
from trialsim.report.parts.single_arm import (
    history_rows,
    single_arm_sentences,
    single_arm_tables,
    without_effect,
)
from trialsim.report.parts.subgroups import about_subgroups, subgroup_tables
from trialsim.report.run_reader import FinishedRun
from trialsim.report.text import DISCLAIMER, endpoint_in_words, nothing_observed_in_words

__all__ = [
    "DISCLAIMER",
    "Block",
    "Drawing",
    "Grid",
    "Notice",
    "Paragraph",
    "Section",
    "label_of",
    "sections_of",
]

_MEASURES = {
    "power": "Power",
    "type_i_error": "Type I error",
    "power_wrong_direction": "Rejects in the wrong direction",
    "type_m": "Type M (times too large when significant)",
    "type_s": "Type S (share of significant in the wrong direction)",
    "bias": "Bias",
    "empirical_se": "Empirical SE",
    "model_se": "Model SE",
    "coverage": "Coverage of the 95% interval",
    "mse": "Mean squared error",
    "estimate_median": "Median estimate",
    "power_futility_ignored": "Power, futility (not binding) ignored",
    "expected_n": "Patients enrolled at the end",
    "events": "Events at the end",
    "duration_months": "Months to the end",
    "n_short": "Trials in which the last look's events never came",
}
_MECHANISMS = {
    "binary": "one binary outcome per patient, the same random number under both arms",
    "response": "states none, response, relapse, death, loss with hazards constant between breaks",
    "time-to-event": "one cumulative hazard at the event per patient, the same under both arms; "
    "entry and loss independent of it",
    "continuous": "normal values at every visit, of logarithms on the log scale",
    "ordinal": "one category per patient by inverse distribution, the same luck under both arms",
    "days-alive-and-free": "death, or a beta-binomial number of days, by inverse distribution",
    "count": "negative-binomial counts over each patient's exposure, by inverse distribution",
    "competing-risks": "two cause-specific hazards, constant between breaks; independent loss",
}


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Notice:
    """What must not be overlooked, whatever page is read; `mark` stands across them all."""

    mark: str
    text: str


@dataclass(frozen=True)
class Grid:
    """A table with its caption; every row is as long as the header."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Drawing:
    """A figure: SVG text, its alternative text and the table behind it."""

    name: str
    svg: str
    alt_text: str
    data: Grid


Block = Paragraph | Notice | Grid | Drawing


@dataclass(frozen=True)
class Section:
    """A titled part of a report."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


def sections_of(runs: Sequence[FinishedRun], forest: Drawing | None) -> list[Section]:
    """Return the sections of a report on one or more runs of one protocol.

    Parameters
    ----------
    runs : sequence of FinishedRun
        At least one; all of the same protocol id.
    forest : Drawing or None
        The published effects, drawn by whoever has the figures floor at hand.
    """
    sizes = [run for run in runs if run.document["command"] == "size"]
    fits = [run for run in runs if run.document["command"] == "calibrate"]
    all_runs = runs
    # each has a section of its own
    own = (
        "size",
        "optimise",
        "calibrate",
        "followup",
        "bias",
        "synthesise",
        "reconcile",
        "explain",
        "forecast",
    )
    runs = [r for r in runs if r.document["command"] not in (*own, "evidence adjust")]
    apart = [*([_sample_size(sizes)] if sizes else []), *([_calibration(fits)] if fits else [])]
    if not runs:
        synopsis = Section("synopsis", "Synopsis", tuple(_synopsis(all_runs[0])))
        shared = Section("assumptions", "Assumptions and their sources", tuple(_shared(all_runs)))
        return [synopsis, *apart, shared]
    first = runs[0]
    parts = [
        Section("synopsis", "Synopsis", (*_notices(runs), *_synopsis(first), *_bound(runs))),
        *apart,
        Section(
            "schedule", "Schedule of activities", (_schedule(first.resolved.template.protocol),)
        ),
        Section("assumptions", "Assumptions and their sources", tuple(_assumptions(runs))),
        Section("characteristics", "Operating characteristics", tuple(_characteristics(runs))),
        *_single_arm(runs),
        *_imbalance(runs),
        *_safety(runs),
        Section("observed", "Observed v simulated", tuple(_observed(runs))),
    ]
    if subgroups := tuple(_subgroups(runs)):
        parts.insert(-1, Section("subgroups", "Subgroups: who benefits", subgroups))
    if forest:
        parts.append(Section("forest", "Published effects", (forest,)))
    parts += [
        Section("conflicts", "Where sources disagree", tuple(_conflicts(runs))),
        Section("ademp", "How the simulation was done (ADEMP)", tuple(_ademp(runs))),
        Section("sentence", "A sentence for the protocol", tuple(_sentences(runs))),
        Section("repeat", "To repeat it", tuple(_repeat(runs))),
    ]
    return parts


def _single_arm(runs: Sequence[FinishedRun]) -> Iterator[Section]:
    """Yield what moves a single arm from its historical control, where there is one."""
    blocks: list[Block] = []
    for number, run in enumerate(runs):
        if not run.resolved.template.protocol.is_single_arm:
            continue
        rows = run.document["rows"]
        blocks += [Paragraph(s) for s in single_arm_sentences(run.resolved, rows)]
        svg = run.svgs.get("historical")
        for told in single_arm_tables(run.resolved, rows):
            grid = Grid(f"{told.caption} ({label_of(run)})", told.header, told.rows)
            drawn = Drawing(f"historical-{number}", svg, _alt_text(svg), grid) if svg else grid
            blocks.append(drawn)
            svg = None  # drawn once, with the primary endpoint's pieces
    if blocks:
        yield Section("historical", "Against a historical control", tuple(blocks))


def _sample_size(sizes: Sequence[FinishedRun]) -> Section:
    blocks: list[Block] = []
    for number, run in enumerate(sizes):
        blocks += _size_blocks(run, number)
    return Section("size", "Sample size", tuple(blocks))


def _size_blocks(run: FinishedRun, number: int) -> Iterator[Block]:
    """Return the paragraph for the protocol, the design's numbers, its looks and its beliefs."""
    every, texts = run.document["rows"], run.document["texts"]
    rows = [row for row in every if "set_by" not in row]
    yield Paragraph(texts["paragraph"])
    whole = [row for row in rows if "look" not in row and row.get("analysis") != "if planned for"]
    own = [row for row in whole if not str(row.get("analysis", "")).startswith("sized for")]
    header = ("Number", "Value", "How")
    grid = Grid(
        "The design",
        header,
        tuple((_words(row), _size_number(row), row.get("analysis", "")) for row in own),
    )
    svg = run.svgs.get("power")
    yield Drawing(f"power-{number}", svg, _alt_text(svg), grid) if svg else grid
    looks = [row for row in rows if "look" in row]
    if looks:
        yield Grid(
            "Its looks",
            ("Look", "Number", "Value", "If the truth is"),
            tuple(
                (str(row["look"]), _words(row), _size_number(row), row.get("analysis", ""))
                for row in looks
            ),
        )
    planned = [row for row in rows if row.get("analysis") == "if planned for"]
    yield Grid(
        "Every belief, and what its size would find",
        ("Planned for", "Status", "Patients in all", "Power if another is true"),
        tuple(
            (
                row["scenario"],
                _status(row.get("status", "")),
                _size_number(row),
                _found_if_true(row, rows),
            )
            for row in planned
        ),
    )
    points = [row for row in every if "set_by" in row and "look" not in row]
    if points:
        yield Grid(
            "Over a grid of nuisance values",
            ("If", "Under", "Number", "Value", "How"),
            tuple(
                (row["set_by"], row["scenario"], _words(row), _point(row), row.get("analysis", ""))
                for row in points
            ),
        )
    for name, told in texts.items():
        if name.startswith("example"):
            yield Paragraph(told)
    for warning in run.document["warnings"]:
        yield Paragraph(_without_command(warning["text"]))
    if texts["elsewhere"]:
        yield Paragraph(f"To check the size in R: {texts['elsewhere']}")


def _calibration(fits: Sequence[FinishedRun]) -> Section:
    blocks = [block for n, run in enumerate(fits) for block in _calibration_blocks(run, n)]
    return Section("calibration", "Calibration to published results", tuple(blocks))


def _calibration_blocks(run: FinishedRun, number: int) -> Iterator[Block]:
    """Return what was fitted, to what, and what stays open."""
    texts = run.document["texts"]
    rows = [row for row in run.document["rows"] if row["measure"] in ("hazard", "delay")]
    grid = Grid(
        f"Fitted: scenario {rows[0]['scenario']}",
        ("Parameter", "Unit", "Value", "95% profile interval"),
        tuple((row["analysis"], row["unit"], _fitted_number(row), _ends(row)) for row in rows),
    )
    svg = run.svgs.get("calibration")
    yield Drawing(f"calibration-{number}", svg, _alt_text(svg), grid) if svg else grid
    seen = [row for row in run.document["observed"] if row["measure"] == "estimate"]
    fitted = [row for row in run.document["observed"] if row["measure"] == "fitted"]
    yield Grid(
        "Published and fitted",
        ("Record", "Arm", "Since entry", "Scale", "Published", "Fitted", "Status"),
        tuple(
            (
                ":".join(filter(None, (one["evidence"], one.get("analysis")))),
                one.get("arm", "both"),
                one.get("horizon", "-"),
                one["scale"],
                f"{one['value']:.4g}",
                f"{other['value']:.4g}",
                _status(one["status"]),
            )
            for one, other in zip(seen, fitted, strict=True)
        ),
    )
    for name, told in texts.items():
        if name == "misfit" or name.startswith("undetermined"):
            yield Paragraph(told)
    for warning in run.document["warnings"]:
        yield Paragraph(_without_command(warning["text"]))


def _fitted_number(row: dict[str, Any]) -> str:
    return "not determined" if row["value"] is None else f"{row['value']:.4g}"


def _ends(row: dict[str, Any]) -> str:
    if "lower" not in row and "upper" not in row:
        return "any"
    lower = f"{row['lower']:.4g}" if "lower" in row else "no limit"
    return f"{lower} to {row['upper']:.4g}" if "upper" in row else f"{lower} to no limit"


def _words(row: dict[str, Any]) -> str:
    arm = f" {row['arm']}" if "arm" in row else ""
    unit = f", {row['unit']}" if "unit" in row else ""
    return f"{row['measure'].replace('_', ' ')}{arm}{unit}"


def _point(row: dict[str, Any]) -> str:
    return _number({**row, "mcse": row.get("mcse", 0.0)}) if row["value"] is not None else "-"


_WHOLE = {"n_total", "n_per_arm", "events", "information", "expected_n"}


def _size_number(row: dict[str, Any]) -> str:
    """Return patients as whole numbers, probabilities in percent, bounds with four digits."""
    if row["value"] is None:
        return f"not given: {row['why']}"
    if row["measure"] in _WHOLE:
        return f"{row['value']:,.0f}"
    if row["measure"].startswith("z_"):
        return f"{row['value']:.4f}{_interval(row)}"
    if row["measure"].startswith("estimate"):
        return f"{row['value']:.4f}{_interval(row)}"
    mcse = f" +-{100 * row['mcse']:.1f}" if row.get("mcse") is not None else ""
    return f"{100 * row['value']:.{1 if mcse else 2}f}%{mcse}"


def _interval(row: dict[str, Any]) -> str:
    if "lower" not in row:
        return ""
    return f" ({100 * row['level']:g}% {row['lower']:.4f} to {row['upper']:.4f})"


def _found_if_true(planned: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    lead = f"sized for {planned['scenario']}, truth "
    found = [row for row in rows if str(row.get("analysis", "")).startswith(lead)]
    return "; ".join(f"{row['analysis'][len(lead) :]} {100 * row['value']:.0f}%" for row in found)


def _notices(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    for run in runs:
        if partial := run.document.get("partial"):
            asked = f" of {partial['asked']:,} asked for" if partial["asked"] else ""
            there = f"{partial['replicates']:,} trials per scenario{asked}"
            yield Notice(
                "PARTIAL RUN",
                f"Partial run: {there}. It was stopped before its end; every number here rests on "
                "these alone.",
            )


def _imbalance(runs: Sequence[FinishedRun]) -> Iterator[Section]:
    """Yield what analyses make of arms that differed at entry, where a file names such a trial."""
    blocks: list[Block] = []
    for run in runs:
        for told in imbalance_tables(run.resolved, run.document["rows"]):
            grid = Grid(f"{told.caption} ({label_of(run)})", told.header, told.rows)
            blocks += [grid, Paragraph(told.legend)]
    if blocks:
        yield Section("imbalance", "Arms that differed at entry", tuple(blocks))


def _safety(runs: Sequence[FinishedRun]) -> Iterator[Section]:
    """Yield what the trials can see of rare harm, where a file states any."""
    blocks: list[Block] = []
    for run in runs:
        chosen = run.resolved.scenarios(list(_by_scenario(run)))
        blocks += [
            Grid(f"{told.caption} ({label_of(run)})", told.header, told.rows)
            for told in safety_tables(run.resolved, chosen)
        ]
    if blocks:
        yield Section("safety", "Safety: what can be seen", (*blocks, Paragraph(SAFETY_METHOD)))


def _synopsis(run: FinishedRun) -> Iterator[Block]:
    template = run.resolved.template
    protocol = template.protocol
    rows = [("Title", template.title)]
    if template.setting == "historical":
        rows.append(("Setting", f"historical: {template.setting_note or 'not as treated today'}"))
    if protocol.population:
        rows.append(("Population", protocol.population.condition))
    for arm in protocol.arms:
        rows.append((arm.role.value.capitalize(), f"{arm.id}: {arm}"))
        rows += [("Regimen", said) for said in regimen_in_words(arm.regimen, template.nature)]
    primary = protocol.primary
    rows += [
        ("Patients", f"{protocol.n_total:,}"),
        ("Primary endpoint", endpoint_in_words(protocol)),
        ("Estimand", f"{_population(protocol)}; {primary.summary}"),
        ("Allocation", _allocation(protocol)),
        ("Blinding", ", ".join(protocol.blinding) or "nobody, or not stated"),
    ]
    events = primary.estimand.intercurrent_events.items()
    rows += [("Intercurrent event", f"{event}: {strategy}") for event, strategy in events]
    rows += [("Note", template.note)] if template.note else []
    yield Grid("The trial in brief", ("", ""), tuple(rows))


def _allocation(protocol: Protocol) -> str:
    if protocol.is_single_arm:
        return "none: a single arm"
    return f"{':'.join(map(str, protocol.ratio))}, {protocol.allocation_method}"


def _population(protocol: Protocol) -> str:
    """Return whom the estimand is about; nobody is randomised in a single arm."""
    stated = protocol.primary.estimand.population
    return stated.replace("randomised", "recruited") if protocol.is_single_arm else stated


def _bound(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    """Say what is bound here, and each run's main answer."""
    if len(runs) > 1:
        header = ("Run", "Title", "Patients", "Therapy", "Seed")
        rows = tuple(
            (
                label_of(run),
                run.resolved.template.title,
                f"{run.resolved.template.protocol.n_total:,}",
                str(run.resolved.template.protocol.therapy or "-"),
                str(run.document["seed"]),
            )
            for run in runs
        )
        yield Grid("Runs in this report; the trial in brief is that of the first", header, rows)
    for run in runs:
        lead = f"{label_of(run)}: " if len(runs) > 1 else ""
        yield Paragraph(f"{lead}{_headline(run)}")


def label_of(run: FinishedRun) -> str:
    """Return what sets a run apart: its variant, what the user set, its seed."""
    arguments = run.document["arguments"]
    parts = [f"variant {arguments['variant']}"] if "variant" in arguments else ["as in the file"]
    parts += [f"set {setting}" for setting in arguments.get("set", ())]
    parts += [f"scenarios {', '.join(arguments['scenario'])}"] if "scenario" in arguments else []
    return f"{'; '.join(parts)}; seed {run.document['seed']}"


def _headline(run: FinishedRun) -> str:
    said = []
    for scenario, rows in _by_scenario(run).items():
        power = next((r for r in rows if r["measure"] == "power" and r.get("headline")), None)
        if power and power["value"] is not None:
            said.append(f"{_title(run, scenario)}: {_number(power)}")
    if not said:
        return "Too few replicates for the chance of a significant result."
    return "Chance of a significant result if the truth is: " + "; ".join(said) + "."


def _schedule(protocol: Protocol) -> Grid:
    return Grid("Schedule (SPIRIT 2025)", *schedule_of(protocol))


def _assumptions(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    for number, run in enumerate(runs):
        rows = []
        endpoints = run.resolved.endpoints
        for scenario, numbers in _by_scenario(run).items():
            for row in numbers:
                if row["measure"] in ("risk", "arm_mean", "true_effect"):
                    seen = "risk" if row["measure"] == "risk" else row.get("unit", "")
                    what = f"{seen}, {row['arm']}" if "arm" in row else row.get("scale", "effect")
                    several = len(endpoints) > 1 or row["endpoint"] != endpoints[0].id
                    what = f"{row['endpoint']}: {what}" if several else what
                    status = row.get("set_by") or _status(row.get("status", ""))
                    read = f"{row.get('horizon', '')} from {row.get('clock', '')}"
                    rows.append(
                        (
                            _title(run, scenario),
                            what,
                            read,
                            f"{row['value']:.4g}",
                            row.get("source", "-"),
                            status,
                        )
                    )
        header = ("Scenario", "Number", "Read at", "Value", "Source", "Status")
        caption = f"What each scenario takes to be true ({label_of(run)})"
        table = Grid(caption, header, tuple(rows))
        svg = run.svgs.get("survival")
        yield Drawing(f"survival-{number}", svg, _alt_text(svg), table) if svg else table
        for warning in run.document["warnings"]:
            if warning["code"] == "assumption":
                yield Paragraph(_without_command(warning["text"]))
    yield from _shared(runs)


def _shared(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    """Yield what all scenarios of a run share, and what was changed for it."""
    for run in runs:
        header = ("Number", "Value", "Source")
        if controls := control_arm_in_words(run.resolved):
            caption = f"The arm without an effect, number by number ({label_of(run)})"
            yield Grid(caption, ("Endpoint", "Stated, with its source"), tuple(controls.items()))
        yield Grid(f"Shared by all scenarios ({label_of(run)})", header, tuple(_nature(run)))
        if settings := run.document["arguments"].get("set"):
            yield Paragraph(f"Set by you ({label_of(run)}): {'; '.join(settings)}.")


def _nature(run: FinishedRun) -> Iterator[tuple[str, str, str]]:
    nature = run.resolved.template.nature
    numbers: list[tuple[str, SourcedNumber]] = []
    if nature.severity_slope:
        numbers.append(("log odds per SD of severity", nature.severity_slope))
    numbers += [
        (f"odds ratio per SD of {covariate.id}", covariate.odds_ratio_per_sd)
        for covariate in nature.covariates
        if covariate.odds_ratio_per_sd
    ]
    for factor in nature.factors:
        numbers += [
            (f"share of {factor.id} {level.id}", level.share) for level in factor.levels or ()
        ]
        if factor.equal_levels:
            yield f"levels of {factor.id}, equally large", str(factor.equal_levels), "assumed"
    if nature.screening_failures:
        numbers.append(("screening failures, share", nature.screening_failures))
    if nature.response:
        numbers += _of_response(nature.response)
    if run.resolved.template.cost:
        numbers += _prices(run.resolved.template.cost)
    if nature.enrolment:
        stated = nature.enrolment.model_dump(mode="json", exclude_none=True, exclude={"note"})
        yield "enrolment", "; ".join(f"{how} {over}" for how, over in stated.items()), "assumed"
    for name, number in numbers:
        was_set = any(name.replace(" ", "_") in x for x in run.document["arguments"].get("set", ()))
        origin = number.source or ("set by you" if was_set else "assumed")
        yield name, f"{number.value:g}", origin
    yield from history_rows(run.resolved)
    test = run.resolved.template.protocol.test
    yield "significance level", f"{test.alpha:g}, {test.sides}-sided", "protocol (5%: ICH E9, 5.5)"


def _of_response(leaving: Leaving) -> Iterator[tuple[str, SourcedNumber]]:
    for name in type(leaving).model_fields:
        if name not in ("hazard_ratio_by", "loss_hazard_ratios"):
            yield name.replace("_", " "), getattr(leaving, name)
    if ratios := leaving.loss_hazard_ratios:
        for name in type(ratios).model_fields:
            yield f"hazard ratio of loss, {name}", getattr(ratios, name)
    if by := leaving.hazard_ratio_by:
        for level, ratio in by.ratios.items():
            yield f"hazard ratio of response, {by.factor} {level}", ratio


def _prices(cost: Cost) -> Iterator[tuple[str, SourcedNumber]]:
    for name in ("per_patient", "per_visit", "screening", "per_month", "per_site_month"):
        yield f"{name.replace('_', ' ')}, {cost.currency} of {cost.year}", getattr(cost, name)


def _characteristics(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    untold: dict[str, None] = {}
    for run in runs:
        rows = [
            row
            for row in run.document["rows"]
            if row["measure"] in _MEASURES and not {"look", "stratum", "estimand"} & row.keys()
        ]
        for endpoint in dict.fromkeys(row["endpoint"] for row in rows):
            here = [row for row in rows if row["endpoint"] == endpoint]
            yield _characteristics_at(run, here)
            untold.update(dict.fromkeys(row["why"] for row in here if row["value"] is None))
        if any("look" in row for row in run.document["rows"]):
            yield _looks(run)
        yield from _together(run)
    yield from (Paragraph(f"Not given: {why}.") for why in untold)
    yield Paragraph(
        "Formulas and Monte Carlo standard errors (MCSE): Morris, White and Crowther 2019, "
        "Table 6; type M and S: Gelman and Carlin 2014."
    )


def _together(run: FinishedRun) -> Iterator[Grid]:
    """Yield what is found after adjustment for multiplicity, and how endpoints correlate."""
    words = {
        "power_adjusted": "",
        "power_disjunctive": "at least one of the family",
        "power_conjunctive": "all of the family",
    }
    rows = [row for row in run.document["rows"] if row["measure"] in words]
    if rows:
        lines = [
            (
                _title(run, row["scenario"]),
                row.get("endpoint") or words[row["measure"]] or "the family",
                _number(row),
            )
            for row in rows
        ]
        caption = f"Found together, {rows[0]['analysis']} ({label_of(run)}); value +- MCSE"
        yield Grid(caption, ("If the truth is", "Endpoint", "Power"), tuple(lines))
    seen = [row for row in run.document["rows"] if row["measure"] == "correlation"]
    if seen:
        pairs = tuple((row["endpoint"], row["analysis"], _number(row)) for row in seen)
        caption = f"Correlation of outcomes between patients ({label_of(run)}); value +- MCSE"
        yield Grid(caption, ("Endpoint", "", "Correlation"), pairs)


def _subgroups(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    """Yield the forest by subgroup, a table for every factor, and what chance makes of them."""
    for number, run in enumerate(runs):
        rows = [row for row in run.document["rows"] if "stratum" in row]
        if not rows:
            continue
        grids = [
            Grid(f"{drawn.caption} ({label_of(run)}); value +- MCSE", drawn.header, drawn.rows)
            for drawn in subgroup_tables(run.resolved, rows)
        ]
        if svg := run.svgs.get("subgroups"):
            yield Drawing(f"subgroups-{number}", svg, _alt_text(svg), grids.pop(0))
        yield from grids
        modified = tuple(
            (_title(run, scenario.id), str(modifier), modifier.note or "assumed")
            for scenario in run.resolved.template.scenarios
            for modifier in scenario.modifiers
        )
        if modified:
            header = ("Scenario", "Modifier", "Source")
            yield Grid(f"What modifies effects ({label_of(run)})", header, modified)
        yield Paragraph(
            "Every level is tested at the whole of alpha, without adjustment; tests of interaction "
            "are Cochran's. The overall effect of a scenario is as stated; with modifiers, effects "
            "in levels are solved so that they average to it."
        )
        for found in run.document["findings"]:
            if about_subgroups(found["subject"]):
                yield Paragraph(f"{found['subject']}: {found['verdict']}; {found['detail']}.")


def _looks(run: FinishedRun) -> Grid:
    """Return one line per scenario and look: where trials stop."""
    looks = run.resolved.template.protocol.looks
    found = {
        (row["scenario"], row["look"], row["measure"], row.get("analysis")): row
        for row in run.document["rows"]
        if "look" in row
    }
    lines = []
    for scenario in _by_scenario(run):
        for number, look in enumerate(looks, start=1):
            here = {key[2:]: row for key, row in found.items() if key[:2] == (scenario, number)}
            information = next(row for (m, _), row in here.items() if m == "information")
            stops = [
                _number(row) if (row := here.get(("stop_probability", reason))) else "-"
                for reason in ("efficacy", "futility")
            ]
            bounds = [
                "-" if bound is None else f"{bound:g}"
                for bound in (look.efficacy_z, look.futility_z)
            ]
            lines.append(
                (
                    _title(run, scenario),
                    f"{number}: {look.at}",
                    _number(information),
                    *bounds,
                    *stops,
                )
            )
    header = (
        "If the truth is",
        "Look",
        f"{information['unit']} +- MCSE",
        "z, efficacy",
        "z, futility",
        "stops: effect found",
        "stops: futility",
    )
    return Grid(f"Looks ({label_of(run)})", header, tuple(lines))


def _characteristics_at(run: FinishedRun, rows: list[dict[str, Any]]) -> Grid:
    """Return one read-out: a row for each measure, a column for each scenario."""
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    found = {(row["measure"], row["scenario"]): row for row in rows}
    lines = []
    for measure, words in _MEASURES.items():
        some = [row for (name, _), row in found.items() if name == measure]
        if not some:
            continue
        scale = next((row["scale"] for row in some if "scale" in row), "")
        label = f"{words} ({scale})" if scale else words
        cells = [
            _number(found[measure, s], with_why=False) if (measure, s) in found else ""
            for s in scenarios
        ]
        lines.append((label, *cells))
    for key, words in (("n_replicates", "Replicates"), ("n_failed", "of which failed")):
        power = [found["power", s] for s in scenarios]
        lines.append((words, *(f"{row.get(key, 0):,}" for row in power)))
    first = rows[0]
    caption = (
        f"{first['endpoint']}, {first['horizon']} from {first['clock']}; "
        f"{first.get('analysis', '')}; {label_of(run)}; value +- MCSE. Type M and S rest on the "
        "significant replicates."
    )
    header = ("If the truth is", *(_title(run, scenario) for scenario in scenarios))
    return Grid(caption, header, tuple(lines))


def _observed(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    for number, run in enumerate(runs):
        rows = [
            (
                row["evidence"],
                _title(run, row["scenario"]),
                _number(row),
                row.get("analysis", ""),
            )
            for row in run.document["observed"]
            if row["measure"] == "percentile" and "scenario" in row
        ]
        header = (
            "Published trial",
            "If the truth is",
            "Share of simulated estimates below it +- MCSE",
            "",
        )
        data = Grid(f"Observed among simulated ({label_of(run)})", header, tuple(rows))
        if "observed" in run.svgs:
            svg = run.svgs["observed"]
            yield Drawing(f"observed-{number}", svg, _alt_text(svg), data)
        elif rows:
            yield data
        yield from (Paragraph(text) for text in run.document["texts"].values())
        if run.resolved.template.nothing_observed and not run.document["observed"]:
            yield Paragraph(nothing_observed_in_words(run.resolved.template))


def _alt_text(svg: str) -> str:
    return unescape(svg.partition("</desc>")[0].rpartition(">")[2])


def _conflicts(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    seen: dict[str, dict[str, Any]] = {}
    for run in runs:
        for warning in run.document["warnings"]:
            if warning["code"] != "assumption":
                seen.setdefault(warning["text"], warning)
    if not seen:
        yield Paragraph("No disagreement is recorded about the evidence used here.")
        return
    rows = tuple((w["level"], _without_command(w["text"])) for w in seen.values())
    yield Grid("What disagrees, what each source says, and what is used", ("Level", "What"), rows)


def _without_command(text: str) -> str:
    return text.partition(" More: ")[0]


def _ademp(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    for run in runs:
        yield _ademp_of(run)


def _ademp_of(run: FinishedRun) -> Grid:
    template, document = run.resolved.template, run.document
    protocol = template.protocol
    powers = [
        r
        for r in document["rows"]
        if r["measure"] == "power" and r.get("mcse") is not None and "estimand" not in r
    ]
    worst = max((r["mcse"] for r in powers), default=None)
    n = max((r["n_replicates"] for r in powers), default=0)
    failed = max((r.get("n_failed", 0) for r in document["rows"]), default=0)
    precise = (
        f"With {n:,} replicates the largest Monte Carlo standard error of a power is "
        f"{100 * worst:.2f} percentage points."
        if worst is not None
        else "Too few replicates for a power."
    )
    primary = protocol.primary
    mechanism = f"independent patients; {_MECHANISMS[primary.kind]}"
    if events := template.nature.intercurrent_events:
        mechanism += f"; intercurrent events: {', '.join(event.id for event in events)}"
    if isinstance(primary, TimeToEventEndpoint):
        corrected = "ties: Efron in the Cox model, one row of the table in log-rank tests."
        seen = "analysed at the data cut-off"
    else:
        corrected = "ratios on the log scale; 0.5 added to the four cells where one is 0."
        seen = primary.read_out.in_words(protocol.therapy)
    observed = document["observed"]
    estimates = [row for row in observed if row["measure"] == "estimate"]
    trials = {row["evidence"] for row in estimates if row.get("analysis") != "pooled"}
    n_scenarios = len(_by_scenario(run))
    population = _population(protocol)
    rows = (
        (
            "Aims",
            "How often the planned trial would find the effect under each scenario, how far "
            f"significant results exaggerate it, and where {len(trials)} published trials fall "
            "among simulated ones.",
        ),
        (
            "Data-generating mechanisms",
            f"{n_scenarios} scenarios; {mechanism}; allocation: {_allocation(protocol)}; "
            f"path: {run.record['path']}; kernel: {run.record['kernel']}.",
        ),
        (
            "Estimands",
            f"{primary.summary} of {primary.event}, {seen}, in {population}.",
        ),
        (
            "Methods",
            f"{primary.analysis}, {100 * protocol.test.alpha:g}%, {protocol.test.sides}-sided; "
            f"{corrected}",
        ),
        ("Performance measures", ", ".join(_MEASURES.values()) + "."),
        (
            "Replicates and failures",
            f"{precise} {f'At most {failed:,}' if failed else 'No'} replicates failed; failures "
            "are left out and counted, never scored as not significant.",
        ),
    )
    caption = f"ADEMP (Morris, White and Crowther 2019; {label_of(run)})"
    return Grid(caption, ("", ""), rows)


def _sentences(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    for run in runs:
        yield from _sentences_of(run)


def _sentences_of(run: FinishedRun) -> Iterator[Block]:
    protocol = run.resolved.template.protocol
    for rows in _by_scenario(run).values():
        power = next((r for r in rows if r["measure"] == "power" and r.get("headline")), None)
        effect = next((r for r in rows if r["measure"] == "true_effect"), None)
        if any(
            r["measure"] == "type_i_error" for r in rows if r.get("endpoint") == rows[0]["endpoint"]
        ):
            continue  # no effect: its rejections are no power
        if not power or power["value"] is None or not effect:
            continue
        sizes = " and ".join(f"{n:,}" for n in protocol.arm_sizes)
        planned, without = f"With {sizes} patients planned in the two arms", ""
        if protocol.is_single_arm:
            planned = f"With {protocol.n_total:,} patients planned in a single arm"
            without = without_effect(rows)
        status = _status(effect.get("status", "assumed"))
        from_ = f"{effect['source']}, {status}" if "source" in effect else status
        yield Paragraph(
            f"{planned}, and a true {effect['scale']} of "
            f"{effect['value']:.2f} ({from_}), the trial has a power of {_number(power)} "
            f"({power['analysis']}; {power['n_replicates']:,} simulated trials, trialsim "
            f"{run.document['version']}, seed {run.document['seed']}).{without}"
        )


def _repeat(runs: Sequence[FinishedRun]) -> Iterator[Block]:
    for run in runs:
        versions = ", ".join(f"{name} {v}" for name, v in run.record["versions"].items())
        arguments = run.document["arguments"]
        named = "FILE" if "evidence_sha256" in arguments else run.document["protocol"]
        words = ["trialsim", "simulate", named]
        words += ["--variant", arguments["variant"]] if "variant" in arguments else []
        for name, values in (("--set", "set"), ("--scenario", "scenario")):
            words += [word for value in arguments.get(values, ()) for word in (name, value)]
        words += ["--seed", str(run.document["seed"])]
        words += ["--replicates", str(arguments["replicates"])]
        own = run.document["protocol"] not in template_paths() or named == "FILE"
        command = shlex.join(words)
        if own:
            command += "   (protocol and own evidence: record.json of the run)"
        yield Grid(
            "",
            ("", ""),
            (
                ("Command", command),
                ("Seed", str(run.document["seed"])),
                ("Versions", versions),
                ("Protocol SHA-256", run.document["protocol_sha256"]),
                ("Kernel", run.record["kernel"]),
            ),
        )
    yield Paragraph(DISCLAIMER)


def _by_scenario(run: FinishedRun) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in run.document["rows"]:
        if not {"stratum", "estimand"} & row.keys():  # these have sections of their own
            found.setdefault(row["scenario"], []).append(row)
    return found


def _title(run: FinishedRun, scenario: str) -> str:
    known = {s.id: s.title for s in run.resolved.template.scenarios}
    return f"{known.get(scenario, scenario)} [{scenario}]"


def _status(status: str) -> str:
    return status.upper() if status in ("document", "unverified") else status


_SHARES = (
    "power",
    "type_i_error",
    "coverage",
    "type_s",
    "power_adjusted",
    "power_disjunctive",
    "power_conjunctive",
    "power_wrong_direction",
    "percentile",
)


def _number(row: dict[str, Any], *, with_why: bool = True) -> str:
    """Return a number with its Monte Carlo standard error, probabilities in percent."""
    if row["value"] is None:
        return f"not given: {row['why']}" if with_why else "-"
    if row["measure"] in _SHARES:
        digits = 2 if row["mcse"] < 5e-4 else 1
        return f"{100 * row['value']:.{digits}f}% +-{100 * row['mcse']:.{digits}f}"
    mcse = f" +-{row['mcse']:.2g}" if row.get("mcse") is not None else ""
    return f"{row['value']:.3g}{mcse}"
