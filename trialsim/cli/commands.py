"""One function per command."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trialsim.cli import INTERRUPTED
from trialsim.cli.parser import program_name
from trialsim.errors import Problem, ProtocolError, RequestError, did_you_mean
from trialsim.report.document import Document, warnings_as_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trialsim.engine.store import ChunkFolder
    from trialsim.engine.workers import Workers
    from trialsim.protocol.conduct import Mechanism
    from trialsim.protocol.evidence import EvidenceRecord
    from trialsim.protocol.resolved import ResolvedTemplate
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.simulation import PlannedSimulation
    from trialsim.studies.size.planned import PlannedSize
    from trialsim.trial import StudyResult

__all__ = ["COMMANDS"]

Found = TypeVar("Found")
Figures = dict[str, tuple["Figure", str]]  # by name, each with its alternative text

_SECONDS_WORTH_WORKERS = 3.0
_SECONDS_WORTH_ASKING = 3600.0


def _say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


def questions(_: argparse.Namespace) -> None:
    """Print three questions, each with its command."""
    name = program_name()
    print(f"""trialsim turns a clinical-trial protocol into something you can run.

How many patients does it need, and how likely is it to find the effect, if there is one?
    {name} size sepsis
    {name} simulate sepsis
How does a published result sit among trials simulated under a stated truth?
    {name} simulate sepsis --scenario or-082 --scenario or-041
Where do the sources disagree, and which is used?
    {name} evidence show tests-2025

The tour: {name} demo
A protocol of your own: {name} new my-trial.yaml
All commands: {name} --help""")


def list_templates(options: argparse.Namespace) -> None:
    """Print the shipped protocols."""
    from trialsim.protocol.catalogue import template_paths
    from trialsim.protocol.nodes import plain, read_file

    rows = []
    for name, path in template_paths().items():
        content = plain(read_file(path))
        rows.append(
            {
                "template": name,
                "title": content["title"],
                "n_scenarios": len(content["scenarios"]),
                "n_variants": len(content.get("variants", [])),
                "n_observed": len(content.get("observed", [])),
                "setting": content.get("setting", "current"),
            }
        )
    if options.json:
        print(Document("list", {}, rows=tuple(rows)).to_json())
        return
    for row in rows:
        print(
            f"{row['template']:20} {row['title']}"
            f"{' (historical)' if row['setting'] == 'historical' else ''}: "
            f"{row['n_scenarios']} scenarios, "
            f"{row['n_variants']} variants, {row['n_observed']} published results"
        )
    print(f"\nmore: {program_name()} show {rows[0]['template']}")


def _load(options: argparse.Namespace) -> ResolvedTemplate:
    from trialsim.protocol.load import load_template

    return load_template(
        options.template,
        variant=options.variant,
        settings=options.settings,
        evidence_files=options.evidence_files,
    )


def _arguments(options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Return the arguments that can change the answer, those at rest left out."""
    given = {"variant": options.variant, "set": list(options.settings), **more}
    if options.evidence_files:  # their content can change the answer, their names cannot
        contents = [sha256(path.read_bytes()).hexdigest() for path in options.evidence_files]
        given["evidence_sha256"] = contents
    return {key: value for key, value in given.items() if value or type(value) in (int, float)}


def _hand_over(
    options: argparse.Namespace,
    document: Document,
    shown: str,
    folder: RunDirectory | None,
    figures: Callable[[], Figures],
    started: float,
) -> None:
    """Print a result, write it where there is a folder, and say how long it took."""
    _print(document.to_json() if options.json else shown)
    if folder:
        with folder.begin():
            for path in folder.write(document, figures()):
                _say(f"wrote {path}")
    _say(f"{time.monotonic() - started:.1f} s")


def show(options: argparse.Namespace) -> None:
    """Print one protocol in words."""
    resolved = _load(options)
    if options.json:
        rows = tuple(_flat(resolved.document))
        document = Document(
            "show", _arguments(options), resolved.template.id, resolved.sha256, rows=rows
        )
        print(document.to_json())
        return
    from trialsim.report.screen import template_lines

    print(template_lines(resolved))
    print(f"\nrun it: {program_name()} simulate {shlex.quote(options.template)}")


def _flat(content: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Yield every value of a document with its dotted path, list items by id."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{path}.{key}".lstrip("."))
    elif isinstance(content, list):
        for index, item in enumerate(content):
            named = item.get("id") if isinstance(item, dict) else None
            yield from _flat(item, f"{path}.{named}" if named else f"{path}[{index}]")
    else:
        yield {"field": path, "value": content}


def new(options: argparse.Namespace) -> None:
    """Write a protocol to start from."""
    import re

    from trialsim.protocol.starter import STARTER

    path = options.file
    name = re.sub(r"[^a-z0-9-]+", "-", path.stem.lower())[:64].strip("-") or "my-trial"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(STARTER.replace("my-trial", name, 1))
    except FileExistsError:
        raise RequestError(
            Problem(
                "exists already; nothing was changed",
                "Choose another name.",
                value=str(path),
                field="FILE",
            )
        ) from None
    except OSError as error:
        raise RequestError(
            Problem(
                f"cannot be written ({error.strerror})",
                "Choose another place.",
                value=str(path),
                field="FILE",
            )
        ) from None
    shown = path if path.suffix in (".yaml", ".yml") else f"./{path}"
    print(f"wrote {path}\nedit it, then: {program_name()} check {shlex.quote(str(shown))}")


def check(options: argparse.Namespace) -> int:
    """Check protocol files; everything that is wrong, at once."""
    from trialsim.protocol.load import check_file

    problems: list[Problem] = []
    rows = []
    for name in options.files:
        try:
            resolved = check_file(name, options.evidence_files)
        except (ProtocolError, RequestError) as error:
            problems += error.problems
            continue
        template, protocol = resolved.template, resolved.template.protocol
        rows.append({"file": name, "verdict": "right", "protocol_sha256": resolved.sha256})
        if not options.json:
            print(
                f"{name}: right. {template.title}: {len(protocol.arms)} arms, "
                f"{protocol.n_total:,} patients, {len(template.scenarios)} scenarios, "
                f"{len(template.variants)} variants, {len(template.observed)} published results."
            )
            assumed = _assumed(resolved)
            if assumed:
                print(f"  assumed, without a source: {', '.join(assumed)}")
    if problems:
        raise ProtocolError(problems)
    if options.json:
        print(Document("check", {}, rows=tuple(rows)).to_json())
    return 0


def _assumed(resolved: ResolvedTemplate) -> list[str]:
    template = resolved.template
    risk = template.nature.control_risk
    found = [f"control risk {risk}"] if risk and risk.source is None else []
    found += [f"control arm of {name}" for name in template.nature.outcomes]
    found += [f"hazards of {event.id}" for event in template.nature.intercurrent_events]
    found += [
        f"historical {name} {value.number}"
        for name, value in (template.protocol.control.historical or {}).items()
        if value.number.source is None
    ]
    found += [
        f"{key.replace('_', ' ')} of {name}"
        for name, departures in (template.nature.historical or {}).items()
        for key, shift in departures.stated
        if getattr(shift, shift.stated).source is None
    ]
    found += [
        f"correlation of {' and '.join(pair.between)} {pair.value:g}"
        for pair in template.nature.correlations
        if pair.source is None
    ]
    found += [
        f"{s.id} ({resolved.truth(s).label})"
        for s in template.scenarios
        if resolved.status_of(s) == "assumed"
    ]
    return found + [
        f"{s.id}, {name} ({effect.label})"
        for s in template.scenarios
        for name, effect in s.outcomes.items()
        if name != template.protocol.primary.id and resolved.status_of_outcome(s, name) == "assumed"
    ]


def evidence(options: argparse.Namespace) -> None:
    """Print the catalogue of published results, or one record of it."""
    from trialsim.protocol.cautions import caution_of, cautions_about
    from trialsim.protocol.load import evidence_with
    from trialsim.report.records import evidence_rows, record_lines
    from trialsim.report.text import caution_lines, table

    found = evidence_with(options.evidence_files)
    records = list(found.records.values())
    if options.action == "show" and options.id is None:
        remedy = f"'{program_name()} evidence' lists them."
        raise RequestError(Problem("needs the id of a record", remedy, field="evidence show"))
    if options.action == "show":
        if options.id not in found.records:
            raise RequestError(
                Problem(
                    "is not a known evidence id",
                    did_you_mean(
                        options.id or "", found.records, f"'{program_name()} evidence' lists them."
                    ),
                    value=f"'{options.id or ''}'",
                    field="ID",
                )
            )
        records = [found.records[options.id]]
        cautions = cautions_about([options.id], found)
    else:
        records = _filtered(records, options)
        kept = {record.id for record in records}
        touching = (c for c in found.conflicts if kept.intersection(c.touches))
        cautions = tuple(caution_of(conflict, found) for conflict in touching)
    if options.json:
        document = Document(
            f"evidence {options.action or ''}".strip(),
            {"id": options.id} if options.id else {},
            rows=tuple(evidence_rows(records)),
            warnings=warnings_as_rows(cautions),
        )
        print(document.to_json())
    elif options.action == "show":
        print(record_lines(records[0]))
        if cautions:
            print(f"\n{caution_lines(cautions, program=program_name(), in_full=True)}")
    else:
        print(
            table(
                ("id", "kind", "condition", "title"),
                [(r.id, r.kind, r.condition, r.title) for r in records],
                folding=(3,),
            )
        )
        if cautions:
            print(f"\nWhere they disagree:\n{caution_lines(cautions, program=program_name())}")
        print(f"\nmore: {program_name()} evidence show tests-2025")


def _filtered(records: list[EvidenceRecord], options: argparse.Namespace) -> list[EvidenceRecord]:
    """Keep the records asked for; a word that fits none is a mistake, not an empty answer."""
    from trialsim.report.records import evidence_rows

    narrowed = False
    statuses = {r.id: {row["status"] for row in evidence_rows([r])} for r in records}
    for name in ("condition", "kind", "status"):
        wanted = getattr(options, name)
        if wanted is None:
            continue
        every = {r.id: statuses[r.id] if name == "status" else {getattr(r, name)} for r in records}
        known = set().union(*every.values())
        if wanted not in known:
            remedy = did_you_mean(wanted, known, f"There are {', '.join(sorted(known))}.")
            rule = "fits no record" + (" left" if narrowed else "")
            raise RequestError(Problem(rule, remedy, field=f"--{name}", value=f"'{wanted}'"))
        records = [r for r in records if wanted in every[r.id]]
        narrowed = True
    return records


def simulate(options: argparse.Namespace) -> int:
    """Run a protocol under its scenarios and hold it against published results."""
    from trialsim.report.screen import simulation_screen

    return _run_and_show(options, simulation_screen)


def _run_and_show(options: argparse.Namespace, screen: Callable[..., str]) -> int:
    from trialsim.engine.run import bytes_needed
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    plan = plan_simulation(_load(options), options.scenarios)
    plan = _computed_by(plan, options)
    workers = _workers(plan, options)
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan.record(options.seed), options.out)
    sizes = {"replicates": options.replicates}
    if options.precision:
        sizes = {"precision": options.precision, "max_replicates": options.max_replicates}
    arguments = _arguments(options, scenario=options.scenarios, **sizes)
    with folder.begin() if folder else nullcontext() as store:
        if store:
            for name in store.damaged:
                _say(f"{store.path / name} is no longer what was written: it is computed again")
            planned = _replicates_at_worst(options)
            store.check_space(bytes_needed(plan.jobs, planned, options.seed, store))
            store.ask({"command": "simulate", **arguments})
        try:
            result = _simulated(plan, options, workers, store)
            document = Document.of_study(plan.resolved, result, arguments, options.seed)
            shown = screen(plan.resolved, result, options.seed, program_name())
            _print(document.to_json() if options.json else shown)
            for path in folder.write(document, _figures(plan, result)) if folder else ():
                _say(f"wrote {path}")
        except KeyboardInterrupt:
            return _interrupted(plan, options, folder, store)
    _say(f"{time.monotonic() - started:.1f} s")
    _say(f"repeat: {_repeat(options)}")
    return 0


def _print(text: str) -> None:
    """Print a result; a reader who has had enough does not keep the files from being written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


def _interrupted(
    plan: PlannedSimulation,
    options: argparse.Namespace,
    folder: RunDirectory | None,
    store: ChunkFolder | None,
) -> int:
    """Say what an interrupted run leaves."""
    if folder is None or store is None:
        _say("interrupted: nothing was written")
        return INTERRUPTED
    _say(f"interrupted: {plan.n_kept(store, options.seed):,} trials per scenario are kept")
    _say(f"go on: {_repeat(options)}")
    _say(f"what there is: {program_name()} report {shlex.quote(str(folder.path))}")
    return INTERRUPTED


def _computed_by(plan: PlannedSimulation, options: argparse.Namespace) -> PlannedSimulation:
    """Decide what computes: what a run began with, what was asked for, or what is faster."""
    from trialsim.engine.run import kernel_for
    from trialsim.report.run_directory import recorded_kernel
    from trialsim.trial import Kernel

    asked = Kernel(options.kernel) if getattr(options, "kernel", None) else None
    fresh = options.json and options.out is None
    recorded = None if fresh else recorded_kernel(plan.record(options.seed), options.out)
    if recorded and asked and recorded is not asked:
        raise RequestError(
            Problem(
                f"differs from that of this run, which is {recorded}",
                "Leave it out, or name a new folder with --out DIR.",
                "--kernel",
                asked.value,
            )
        )
    best = asked or kernel_for(plan.jobs[0], _replicates_at_worst(options))
    if recorded and recorded is not best and best is Kernel.NUMBA:
        _say("this run was begun with numpy and keeps it; a new folder (--out DIR) would be faster")
    return plan.computed_by(recorded or best, recorded=recorded is not None)


def _replicates_at_worst(options: argparse.Namespace) -> int:
    from trialsim.studies.simulation import Precision

    if options.precision:
        return Precision(options.precision, options.max_replicates).replicates_at_worst
    return int(options.replicates)


def _workers(plan: PlannedSimulation, options: argparse.Namespace) -> Workers:
    """Decide who computes, before any work; refuse an hour of it without --yes."""
    from trialsim.engine.run import check_request, cpus_available, estimated_seconds
    from trialsim.engine.workers import Cluster

    check_request(
        options.replicates, options.seed, 1 if options.workers is None else options.workers
    )
    _check_precision(options)
    n = _replicates_at_worst(options)
    seconds = estimated_seconds(plan.jobs, n)
    if seconds > _SECONDS_WORTH_ASKING and not options.yes:
        wanted = ("--precision", f"{options.precision:g}") if options.precision else None
        field, value = wanted or ("--replicates", f"{options.replicates:,}")
        rule = f"means about {seconds / 3600:,.1f} hours of work on one core"
        remedy = "Ask for less, or add --yes."
        raise RequestError(Problem(rule, remedy, field, value))
    if options.cluster is not None:
        return Cluster(options.cluster)
    if options.workers is not None:
        return int(options.workers)
    return cpus_available() if seconds > _SECONDS_WORTH_WORKERS else 1


def _check_precision(options: argparse.Namespace) -> None:
    """Refuse what cannot be aimed for (RequestError)."""
    from trialsim.engine.run import check_request

    if options.cluster is not None and options.workers is not None:
        rule, remedy = "cannot stand beside --cluster", "A cluster brings its own: leave it out."
        raise RequestError(Problem(rule, remedy, "--workers", str(options.workers)))
    if options.precision is None:
        return
    check_request(options.max_replicates, options.seed, option="--max-replicates")
    if not 1e-5 <= options.precision <= 0.5:
        raise RequestError(
            Problem(
                "must be a standard error from 0.00001 to 0.5",
                "0.005 is half a percentage point of power: about 10,000 replicates.",
                "--precision",
                f"{options.precision:g}",
            )
        )


def _simulated(
    plan: PlannedSimulation,
    options: argparse.Namespace,
    workers: Workers,
    store: ChunkFolder | None,
) -> StudyResult:
    from trialsim.studies.simulation import Precision

    precision = None
    if options.precision:
        precision = Precision(options.precision, options.max_replicates)
    return _with_progress(
        lambda on_progress: plan.simulate(
            replicates=options.replicates,
            seed=options.seed,
            workers=workers,
            precision=precision,
            store=store,
            on_progress=on_progress,
        )
    )


def _with_progress(simulate: Callable[[Callable[[float, float], None] | None], Found]) -> Found:
    """Show how far a simulation is, on a terminal."""
    if not sys.stderr.isatty():
        return simulate(None)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("simulating"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[left]}"),
    )
    started, before = time.monotonic(), 0.0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=None, left="")

        def on_progress(done: float, total: float) -> None:
            nonlocal started, before
            if done < before:  # more replicates are needed than were begun with
                started = time.monotonic()
            before = done
            left = (time.monotonic() - started) * (total - done) / done
            progress.update(task, completed=done, total=total, left=f"{_clock(left)} left")

        return simulate(on_progress)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figures(plan: PlannedSimulation, result: StudyResult) -> dict[str, Any]:
    from trialsim.figures.estimands import estimands_figure
    from trialsim.figures.observed import observed_figure
    from trialsim.figures.subgroups import subgroup_figure
    from trialsim.figures.survival import SurvivalPanel, survival_figure
    from trialsim.figures.waterfall import WaterfallStep, waterfall_figure
    from trialsim.protocol.historical import Contribution
    from trialsim.report.subgroups import subgroup_panels

    drawn: dict[str, Any] = {}
    panels, scale = subgroup_panels(plan.resolved, result.rows)
    if any(panel.lines for panel in panels) and plan.resolved.template.protocol.subgroups:
        drawn["subgroups"] = subgroup_figure(panels, scale)
    if curves := result.figure_data.get("survival"):
        protocol = plan.resolved.template.protocol
        courses = [SurvivalPanel(*curve) for curve in curves]
        arms = (protocol.control.id, protocol.experimental.id)
        return {**drawn, "survival": survival_figure(courses, arms, protocol.primary.event)}
    if moved := result.figure_data.get("historical"):
        steps = [
            WaterfallStep(words, move, chance, words == Contribution.EFFECT)
            for words, move, chance in moved[0]
        ]
        return {**drawn, "historical": waterfall_figure(steps, moved[1])} if steps else drawn
    if any(row.estimand for row in result.rows):
        primary = plan.resolved.template.protocol.primary
        asked = [row for row in result.rows if row.estimand and row.endpoint == primary.id]
        titles = {scenario.id: scenario.title for scenario in plan.resolved.template.scenarios}
        return {**drawn, "estimands": estimands_figure(asked, titles, primary.event)}
    trials, pools = result.figure_data["observed"]
    if not any(placed and placed[0].below for _, placed in trials):
        return drawn
    return {**drawn, "observed": observed_figure(trials, pools)}


def _repeat(options: argparse.Namespace) -> str:
    words = ["simulate", options.template]
    words += ["--variant", options.variant] if options.variant else []
    for name, values in (
        ("--set", options.settings),
        ("--evidence", options.evidence_files),
        ("--scenario", options.scenarios),
    ):
        words += [word for value in values for word in (name, str(value))]
    words += ["--kernel", options.kernel] if getattr(options, "kernel", None) else []
    words += ["--cluster", options.cluster] if options.cluster is not None else []
    words += ["--workers", str(options.workers)] if options.workers is not None else []
    words += ["--out", str(options.out)] if options.out else []
    words += ["--seed", str(options.seed)]
    if options.precision:
        words += ["--precision", repr(options.precision)]
        words += ["--max-replicates", str(options.max_replicates)]
    else:
        words += ["--replicates", str(options.replicates)]
    words += ["--yes"] if options.yes else []
    return f"{program_name()} {shlex.join(words)}"


def size(options: argparse.Namespace) -> None:
    """Say how many patients a design needs."""
    from trialsim.studies.size.refusals import in_words_of_options

    with in_words_of_options():
        _sized(options)


def _sized(options: argparse.Namespace) -> None:
    from trialsim.engine.run import check_request, kernel_for
    from trialsim.report.run_directory import RunDirectory
    from trialsim.report.size_screen import size_screen
    from trialsim.studies.simulation import plan_simulation
    from trialsim.studies.size.planned import PlannedSize, plan_size
    from trialsim.studies.size.request import size_request
    from trialsim.studies.size.searched import SearchedSize

    started = time.monotonic()
    check_request(options.replicates, options.seed)
    resolved = _load(options)
    request, echo = size_request(resolved, options)
    for line in echo:
        _say(line)
    planned = plan_size(resolved, request)
    plan = plan_simulation(resolved)
    plan = plan.computed_by(kernel_for(plan.jobs[0], options.replicates))
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan.record(options.seed), options.out)
    study = planned.by_simulation if isinstance(planned, SearchedSize) else planned.result
    result = study(replicates=options.replicates, seed=options.seed)
    arguments = _size_arguments(options)
    document = Document.of_study(resolved, result, arguments, options.seed, command="size")
    shown = size_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return _size_figures(planned) if isinstance(planned, PlannedSize) else {}

    _hand_over(options, document, shown, folder, figures, started)


def _size_figures(planned: PlannedSize) -> dict[str, Any]:
    from trialsim.figures.power_curve import Curve, power_figure

    sizes, by_size, effects, by_effect = planned.curves()
    belief = None
    if prior := planned.prior:
        densities = [prior.pdf(math.log(ratio)) for ratio in effects]
        belief = [density / max(densities) for density in densities]
    drawn = power_figure(
        Curve(sizes, by_size, (planned.total, planned.power_achieved)),
        Curve(effects, by_effect, (planned.kind.planned_effect, planned.power_achieved), belief),
        planned.kind.axis,
        planned.truth.label,
    )
    return {"power": drawn}


def _size_arguments(options: argparse.Namespace) -> dict[str, Any]:
    names = (
        *("scenario", "effect", "control_risk", "power", "total", "looks", "bounds", "spending"),
        *("futility", "binding", "observed", "information", "dropout", "ratio", "margin"),
        *("superiority_margin", "margin_test", "exact", "accept_claim"),
        *("prior", "important", "realistic", "reestimate", "maximum", "grid", "by", "replicates"),
    )
    return _arguments(options, **{name: getattr(options, name) for name in names})


def followup(options: argparse.Namespace) -> None:
    """Read the same simulated patients at several horizons, or under several regimens."""
    if options.regimens is not None:
        _regimens(options)
        return
    from trialsim.engine.run import check_request, cpus_available, estimated_seconds
    from trialsim.figures.followup import followup_figure, lag_figure
    from trialsim.figures.frontier import frontier_figure
    from trialsim.figures.swimmer import swimmer_figure, with_swimmers
    from trialsim.protocol.horizons import times_from_words
    from trialsim.protocol.missing import missing_from_words
    from trialsim.report.followup_screen import followup_screen
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.delayed_effect import with_analyses, with_gee
    from trialsim.studies.followup import followup_request, plan_followup
    from trialsim.studies.missing_read_outs import check_missing, with_missing_read_outs
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    check_request(options.replicates, options.seed, options.workers or 1)
    resolved = _load(options)
    planned = plan_followup(resolved, followup_request(resolved, options), options.scenarios)
    if options.lags and not options.analyses:
        rule, remedy = "needs --analyses", "Add it."
        raise RequestError(Problem(rule, remedy, "--lags", options.lags))
    protocol = resolved.template.protocol
    lags = times_from_words(options.lags, "entry", protocol, "--lags") if options.lags else ()
    handlings = missing_from_words(options.missing) if options.missing else ()
    if handlings:
        check_missing(planned)
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    long = estimated_seconds(planned.jobs, options.replicates) > _SECONDS_WORTH_WORKERS
    workers = options.workers or (cpus_available() if long else 1)
    result = _with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates,
            seed=options.seed,
            workers=workers,
            on_progress=on_progress,
        )
    )
    if options.analyses:
        result = _with_progress(
            lambda on_progress: with_analyses(
                planned,
                result,
                lags=lags,
                seed=options.seed,
                workers=options.workers or cpus_available(),
                on_progress=on_progress,
            )
        )
        analysed = result
        result = _with_progress(
            lambda on_progress: with_gee(
                planned,
                analysed,
                seed=options.seed,
                workers=options.workers or cpus_available(),
                on_progress=on_progress,
            )
        )
    if handlings:
        result = _with_progress(
            lambda on_progress: with_missing_read_outs(
                planned,
                result,
                handlings,
                seed=options.seed,
                workers=workers,
                on_progress=on_progress,
            )
        )
    names = (
        *("at", "clock", "reference", "analyses", "lags", "choose", "power", "accept_claim"),
        *("futility", "replicates", "missing"),
    )
    given = {name: getattr(options, name) for name in names}
    arguments = _arguments(options, scenario=options.scenarios, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="followup")
    shown = followup_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        drawn = {"followup": followup_figure(planned, result)}
        drawn |= {"lags": lag_figure(planned, result)} if lags else {}
        drawn["frontier"] = frontier_figure(planned)
        for index in range(with_swimmers(planned)):
            drawn[f"swimmer{index + 1}"] = swimmer_figure(planned, index, options.seed)
        return drawn

    _hand_over(options, document, shown, folder, figures, started)


def bias(options: argparse.Namespace) -> None:
    """Show what flaws of conduct do to an effect."""
    from trialsim.engine.run import check_request, cpus_available, estimated_seconds
    from trialsim.figures.bias import bias_figure
    from trialsim.figures.flawed_patients import flawed_figures
    from trialsim.protocol.load import load_conduct
    from trialsim.report.bias_screen import bias_screen
    from trialsim.report.flawed_section import ONE_TRIAL
    from trialsim.report.flawed_trial import before_and_after
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.bias import flaw_from_words, plan_bias, strengths_from_words
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    if options.replicates is None:
        options.replicates = 2_000 if options.calibrate else 4_000
    check_request(options.replicates, options.seed, options.workers or 1)
    if options.total is not None:
        options.settings = [*options.settings, f"protocol.sample_size={{total: {options.total}}}"]
    resolved = _load(options)
    only = flaw_from_words(options.only) if options.only else None
    if options.calibrate or options.outcomes:
        _bias_calibration(options, resolved, only)
        return
    if options.strength and not only:
        rule, remedy = "needs --only FLAW", "Name the flaw whose dial is turned."
        raise RequestError(Problem(rule, remedy, "--strength", options.strength))
    strengths = strengths_from_words(options.strength or "0:1:0.25") if only else ()
    profile = load_conduct(options.conduct, resolved.evidence)
    planned = plan_bias(resolved, profile, options.scenarios, only=only, strengths=strengths)
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    long = estimated_seconds([planned.job], options.replicates) > _SECONDS_WORTH_WORKERS
    result = _with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates,
            seed=options.seed,
            workers=options.workers or (cpus_available() if long else 1),
            on_progress=on_progress,
        )
    )
    given = {name: getattr(options, name) for name in ("only", "strength", "replicates")}
    stated = profile.model_dump(mode="json", exclude_none=True)
    arguments = _arguments(options, scenario=options.scenarios, conduct=stated, **given)
    trial = planned.first_trial(options.seed)
    texts = {ONE_TRIAL: before_and_after(planned, trial, options.seed)} if trial else {}
    kept = replace(result, texts={**result.texts, **texts})
    document = Document.of_study(resolved, kept, arguments, options.seed, command="bias")
    shown = bias_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {
            "bias": bias_figure(planned, result),
            **flawed_figures(planned, result, trial),
        }

    _hand_over(options, document, shown, folder, figures, started)


def _bias_calibration(
    options: argparse.Namespace, resolved: ResolvedTemplate, only: Mechanism | None
) -> None:
    from trialsim.engine.run import cpus_available, estimated_seconds
    from trialsim.figures.bias_calibration import bias_calibration_figure
    from trialsim.protocol.load import load_conduct
    from trialsim.report.bias_calibration_screen import bias_calibration_screen
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.bias_calibration import plan_bias_calibration
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    if not options.calibrate:
        rule, remedy = "needs --calibrate", "It says which published ratios are meant."
        raise RequestError(Problem(rule, remedy, "--outcomes", options.outcomes))
    if options.strength:
        rule = "cannot stand beside --calibrate, which turns the whole dial"
        remedy = "Leave it out; the strengths that published ratios need are the answer."
        raise RequestError(Problem(rule, remedy, "--strength", options.strength))
    profile = load_conduct(options.conduct)
    planned = plan_bias_calibration(
        resolved, profile, options.scenarios, only=only, outcomes=options.outcomes
    )
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    jobs = [dial.job for dial in planned.dials]
    long = estimated_seconds(jobs, options.replicates) > _SECONDS_WORTH_WORKERS
    result = _with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates,
            seed=options.seed,
            workers=options.workers or (cpus_available() if long else 1),
            on_progress=on_progress,
        )
    )
    given = {
        name: getattr(options, name) for name in ("calibrate", "only", "outcomes", "replicates")
    }
    stated = profile.model_dump(mode="json", exclude_none=True)
    arguments = _arguments(options, scenario=options.scenarios, conduct=stated, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="bias")
    shown = bias_calibration_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"dials": bias_calibration_figure(planned, result)}

    _hand_over(options, document, shown, folder, figures, started)


def synthesise(options: argparse.Namespace) -> None:
    """Simulate a literature, and pool it by stratum."""
    from trialsim.engine.run import check_request
    from trialsim.figures.synthesis import synthesis_figure
    from trialsim.protocol.load import literature_of, load_literature
    from trialsim.report.run_directory import RunDirectory
    from trialsim.report.synthesis_screen import synthesis_screen
    from trialsim.studies.simulation import plan_simulation
    from trialsim.studies.synthesis import odds_ratios_from_words, plan_synthesis

    if options.observed or options.records or Path(options.literature or "").suffix == ".csv":
        _published_synthesis(options)
        return
    if options.export:
        rule, remedy = "is of published trials", "Add --observed, or --literature FILE.csv."
        raise RequestError(Problem(rule, remedy, "--export", str(options.export)))
    started = time.monotonic()
    check_request(options.replicates, options.seed)
    resolved = _load(options)
    name = options.literature or literature_of(resolved.template.id)
    literature = load_literature(name, resolved.evidence)
    ratios = odds_ratios_from_words(options.true_or) if options.true_or else ()
    split = options.split or ""
    planned = plan_synthesis(resolved, literature, split=split, odds_ratios=ratios)
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    result = _with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates, seed=options.seed, on_progress=on_progress
        )
    )
    given = {name: getattr(options, name) for name in ("split", "true_or", "replicates")}
    stated = literature.model_dump(mode="json", exclude_none=True)
    used = {p.id: p.model_dump(mode="json", exclude_none=True) for p in planned.profiles}
    arguments = _arguments(options, literature=stated, conduct=used, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="synthesise")
    shown = synthesis_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"gap": synthesis_figure(planned, result)} if planned.observed else {}

    _hand_over(options, document, shown, folder, figures, started)


def _published_synthesis(options: argparse.Namespace) -> None:
    """Pool published trials as they are."""
    from trialsim.engine.run import check_request
    from trialsim.figures.published_synthesis import funnel_figure, pooled_forest_figure
    from trialsim.protocol.published_trials import read_trials, recorded_trials, split_from_word
    from trialsim.report.published_synthesis_screen import published_synthesis_screen
    from trialsim.report.published_table import how_to_pool_in_r, write_published_table
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.published_synthesis import PublishedSynthesis
    from trialsim.studies.simulation import plan_simulation

    check_request(1, options.seed)
    _refuse_beside_published(options)
    resolved = _load(options)
    table = Path(options.literature) if options.literature else None
    found = read_trials(table, resolved) if table else recorded_trials(resolved, options.records)
    planned = PublishedSynthesis(resolved, found, split_from_word(options.split))
    result = planned.result()
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    given: dict[str, Any] = {"observed": table is None, "record": options.records}
    if table:
        given |= {"table": table.name, "table_sha256": sha256(table.read_bytes()).hexdigest()}
    arguments = _arguments(options, split=options.split, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="synthesise")
    if options.export:
        _say(f"wrote {write_published_table(planned, options.export)}")
    shown = published_synthesis_screen(planned, result, program_name())
    _print(document.to_json() if options.json else shown)
    if options.export and not options.json:
        print(f"\nin R:  {how_to_pool_in_r(options.export, planned)}")
    if folder:
        drawn = {"pooled": pooled_forest_figure(planned), "funnel": funnel_figure(planned)}
        with folder.begin():
            for path in folder.write(document, drawn):
                _say(f"wrote {path}")


def _refuse_beside_published(options: argparse.Namespace) -> None:
    """Refuse what is about simulated literatures, and two sources at once."""
    problems = []
    if options.true_or:
        rule, remedy = "is of simulated literatures", "Leave it out: nothing is simulated."
        problems.append(Problem(rule, remedy, "--true-or", str(options.true_or)))
    if options.literature and (options.observed or options.records):
        rule = "names another source beside published records"
        remedy = "Keep --literature, or --observed and --record."
        problems.append(Problem(rule, remedy, "--literature", str(options.literature)))
    if problems:
        raise RequestError(problems)


_USUAL_POWER = 0.8


def _regimens(options: argparse.Namespace) -> None:
    from trialsim.engine.run import check_request, cpus_available, estimated_seconds
    from trialsim.figures.regimens import regimens_figure
    from trialsim.report.regimens_screen import regimens_screen
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.regimens import plan_regimens
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    check_request(options.replicates, options.seed, options.workers or 1)
    others = ("reference", "analyses", "lags", "missing", "choose", "futility", "accept_claim")
    beside = [name for name in others if getattr(options, name)]
    if beside := [*beside, *(["power"] if options.power != _USUAL_POWER else [])]:
        rule, remedy = "is of horizons, not of regimens", "Leave it out beside --regimens."
        names = [f"--{name.replace('_', '-')}" for name in beside]
        raise RequestError([Problem(rule, remedy, name) for name in names])
    resolved = _load(options)
    planned = plan_regimens(
        resolved, options.regimens, options.scenarios, at=options.at, clock=options.clock
    )
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    long = estimated_seconds(planned.jobs, options.replicates) > _SECONDS_WORTH_WORKERS
    workers = options.workers or (cpus_available() if long else 1)
    result = _with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates,
            seed=options.seed,
            workers=workers,
            on_progress=on_progress,
        )
    )
    given = {name: getattr(options, name) for name in ("regimens", "at", "clock", "replicates")}
    arguments = _arguments(options, scenario=options.scenarios, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="followup")
    shown = regimens_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"regimens": regimens_figure(planned)}

    _hand_over(options, document, shown, folder, figures, started)


def calibrate(options: argparse.Namespace) -> None:
    """Fit a scenario's courses to published results."""
    from trialsim.engine.run import check_request
    from trialsim.figures.calibration import calibration_figure
    from trialsim.report.calibration_screen import calibration_screen
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.calibration import calibration_request, plan_calibration
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    check_request(options.replicates, options.seed)
    resolved = _load(options)
    planned = plan_calibration(resolved, calibration_request(options))
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan_simulation(resolved).record(options.seed), options.out)
    words = ["trialsim", "calibrate", options.template]
    for name, value in (
        *(("--to", word) for word in options.to),
        ("--variant", options.variant),
        ("--scenario", options.scenario),
        ("--free", options.free),
    ):
        words += [name, value] if value else []
    result = planned.result(
        replicates=options.replicates, seed=options.seed, made_by=shlex.join(words)
    )
    names = ("to", "free", "scenario", "accept_flat", "replicates")
    arguments = _arguments(options, **{name: getattr(options, name) for name in names})
    document = Document.of_study(resolved, result, arguments, options.seed, command="calibrate")
    shown = calibration_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"calibration": calibration_figure(planned)}

    _hand_over(options, document, shown, folder, figures, started)


def replay(options: argparse.Namespace) -> None:
    """Show one trial of a run: an abstract, and its patients."""
    from trialsim.report.patients import (
        abstract,
        first_patients,
        patients_table,
        write_patients,
    )
    from trialsim.report.run_reader import newest_run, planned_run
    from trialsim.report.text import wrapped
    from trialsim.studies.simulation import plan_simulation
    from trialsim.trial import Kernel

    folder = newest_run() if options.template == "last" else Path(options.template)
    if _replay_flawed(options, folder):
        return
    seed = 1 if options.seed is None else options.seed
    stored = None
    if (folder / "record.json").is_file():
        _refuse_changes_of_a_run(options)
        plan, stored, seed = planned_run(folder)
    else:
        if options.total is not None:
            options.settings.append(f"protocol.sample_size={{total: {options.total}}}")
        plan = plan_simulation(_load(options)).computed_by(Kernel(options.kernel or "numpy"))
    scenario = options.scenario or plan.only_scenario()
    trial = plan.replay(scenario, seed, options.replicate, stored)
    written = write_patients(trial, options.out) if options.out else None
    told = abstract(plan.resolved, plan.jobs[0].plans[0], trial, seed)
    if options.json:
        arguments = _arguments(options, scenario=[scenario], replicate=options.replicate)
        rows, texts = tuple(patients_table(trial)), {"abstract": told}
        template = plan.resolved.template.id
        found = Document(
            "replay", arguments, template, plan.resolved.sha256, seed, rows=rows, texts=texts
        )
        print(found.to_json())
        return
    print(f"{wrapped(told)}\n\n{first_patients(trial)}")
    if written:
        _say(f"wrote {written}")
    else:
        print(f"\nall {len(trial.patients['patient']):,} patients: add --out FILE.csv")


def _replay_flawed(options: argparse.Namespace, folder: Path) -> bool:
    """Show a trial before and after its flaws; False where it is one without flaws."""
    from trialsim.protocol.load import load_conduct
    from trialsim.report.flawed_trial import (
        before_and_after,
        planned_of_run,
        tables_of_trial,
        touched_patients,
    )
    from trialsim.report.patients import patients_table, write_patients
    from trialsim.report.text import wrapped
    from trialsim.studies.bias import flaw_from_words, plan_bias

    asked = bool(options.conduct or options.only)
    only = flaw_from_words(options.only) if options.only else None
    seed = 1 if options.seed is None else options.seed
    if (folder / "record.json").is_file():
        planned = planned_of_run(folder, options.conduct, options.replicate, asked=asked)
        if planned is None:
            return False
        _refuse_changes_of_a_run(options)
        seed = json.loads((folder / "record.json").read_text(encoding="utf-8"))["seed"]
    elif not asked:
        return False
    else:
        if options.total is not None:
            options.settings.append(f"protocol.sample_size={{total: {options.total}}}")
        planned = plan_bias(_load(options), load_conduct(options.conduct or "poor"))
    scenario = options.scenario or planned.only_scenario()
    trial = planned.replay(scenario, seed, options.replicate, only=only)
    written = write_patients(trial, options.out) if options.out else None
    told = before_and_after(planned, trial, seed)
    if options.json:
        stated = trial.conduct.model_dump(mode="json", exclude_none=True)
        arguments = _arguments(
            options, scenario=[scenario], replicate=options.replicate, conduct=stated
        )
        template, texts = planned.resolved.template.id, {"before and after": told}
        sha256_, rows = planned.resolved.sha256, tuple(patients_table(trial))
        found = Document("replay", arguments, template, sha256_, seed, rows=rows, texts=texts)
        print(found.to_json())
        return True
    lines = "\n".join(wrapped(line, "  ", "") for line in told.splitlines())
    print(f"{lines}\n\n{tables_of_trial(planned, trial)}\n\n{touched_patients(trial)}")
    if written:
        _say(f"wrote {written}")
    else:
        print(f"\nall {len(trial.patients['patient']):,} patients: add --out FILE.csv")
    return True


def _refuse_changes_of_a_run(options: argparse.Namespace) -> None:
    """Refuse options that would make it another run (RequestError)."""
    for name, given in (
        ("--seed", options.seed is not None),
        ("--total", options.total is not None),
        ("--set", bool(options.settings)),
        ("--variant", bool(options.variant)),
        ("--kernel", options.kernel is not None),
        ("--evidence", bool(options.evidence_files)),
    ):
        if given:
            rule, remedy = "cannot change a run", "Leave it out, or replay the template instead."
            raise RequestError(Problem(rule, remedy, name))


def report(options: argparse.Namespace) -> None:
    """Bind finished runs of one protocol into a report."""
    from trialsim.report.bind import bound_sections, report_title, write_figures
    from trialsim.report.html import as_html
    from trialsim.report.markdown import as_markdown
    from trialsim.report.run_reader import newest_run, read_run
    from trialsim.report.word import write_word

    folders = [newest_run() if name == "last" else Path(name) for name in options.runs or ["last"]]
    once = list(dict.fromkeys(folder.resolve() for folder in folders))
    runs = [run for folder in once for run in read_run(folder)]
    sections, title = bound_sections(runs), report_title(runs)
    html = options.out or Path(f"{runs[0].document['protocol']}-report.html")
    written = [html]
    _check_targets([html, options.markdown, options.docx], once)
    html.write_text(as_html(title, sections), encoding="utf-8", newline="\n")
    if options.markdown:
        options.markdown.write_text(as_markdown(title, sections), encoding="utf-8", newline="\n")
        written.append(options.markdown)
    if options.docx:
        write_word(options.docx, title, sections)
        written.append(options.docx)
    if options.figures:
        written += write_figures(runs, options.figures)
    if options.json:
        rows = tuple({"file": str(path)} for path in written)
        print(Document("report", {}, runs[0].document["protocol"], rows=rows).to_json())
        return
    for path in written:
        print(f"wrote {path}")


def _check_targets(targets: list[Path | None], runs: list[Path]) -> None:
    """Refuse to write into a run, twice to one place, or over what is no report of ours."""
    given = [path for path in targets if path]
    for path in given:
        rule = ""
        if any(path.resolve().is_relative_to(run) for run in runs):
            rule = "lies inside a run, which stays as it was written"
        elif sum(path.resolve() == other.resolve() for other in given) > 1:
            rule = "is named twice"
        elif path.exists() and not _is_our_report(path):
            rule = "exists already and is not a report of this program"
        if rule:
            raise RequestError(Problem(rule, "Name another file.", value=str(path), field="--out"))


def _is_our_report(path: Path) -> bool:
    if not path.is_file():
        return False
    start = path.read_bytes()[:600]
    return b'name="generator" content="trialsim' in start or b"generator: trialsim" in start


def demo(options: argparse.Namespace) -> int:
    """Take the tour."""
    from trialsim.cli.parser import parse

    name = program_name()
    _say(
        f"trialsim demo: two protocols, each run as {options.replicates:,} trials under several\n"
        "truths and held against published trials: sepsis, then chronic hepatitis B. Under a\n"
        "minute; results stay in this folder.\n"
    )
    from trialsim.report.screen import demo_screen

    for template in ("sepsis", "chronic-hepatitis-b"):
        words = ["simulate", template, "--replicates", str(options.replicates)]
        if status := _run_and_show(parse(words), demo_screen):
            return status
        print()
    print(f"""Next:
  {name} report last                            one HTML file to hand on
  {name} simulate sepsis --variant etass-control-risk
  {name} new my-trial.yaml                      a protocol of your own""")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "questions": questions,
    "list": list_templates,
    "show": show,
    "new": new,
    "check": check,
    "evidence": evidence,
    "simulate": simulate,
    "size": size,
    "followup": followup,
    "calibrate": calibrate,
    "bias": bias,
    "synthesise": synthesise,
    "replay": replay,
    "report": report,
    "demo": demo,
}
