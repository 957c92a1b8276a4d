"""The commands `simulate` and `demo`."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from trialsim.cli import INTERRUPTED
from trialsim.cli.answer import (
    SECONDS_WORTH_WORKERS,
    arguments_of,
    load,
    print_out,
    say,
    with_progress,
)
from trialsim.cli.parser import program_name
from trialsim.errors import Problem, RequestError
from trialsim.report.document import Document

if TYPE_CHECKING:
    from trialsim.engine.store import ChunkFolder
    from trialsim.engine.workers import Workers
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.simulation import PlannedSimulation
    from trialsim.trial import StudyResult


_SECONDS_WORTH_ASKING = 3600.0


def simulate(options: argparse.Namespace) -> int:
    """Run a protocol under its scenarios and hold it against published results."""
    from trialsim.report.screens.screen import simulation_screen

    return _run_and_show(options, simulation_screen)


def demo(options: argparse.Namespace) -> int:
    """Take the tour."""
    from trialsim.cli.parser import parse

    name = program_name()
    say(
        f"trialsim demo: two protocols, each run as {options.replicates:,} trials under several\n"
        "truths and held against published trials: sepsis, then chronic hepatitis B. Under a\n"
        "minute; results stay in this folder.\n"
    )
    from trialsim.report.screens.screen import demo_screen

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


def _run_and_show(options: argparse.Namespace, screen: Callable[..., str]) -> int:
    from trialsim.engine.run import bytes_needed
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.simulation import plan_simulation

    started = time.monotonic()
    plan = plan_simulation(load(options), options.scenarios)
    plan = _computed_by(plan, options)
    workers = _workers(plan, options)
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan.record(options.seed), options.out)
    sizes = {"replicates": options.replicates}
    if options.precision:
        sizes = {"precision": options.precision, "max_replicates": options.max_replicates}
    arguments = arguments_of(options, scenario=options.scenarios, **sizes)
    with folder.begin() if folder else nullcontext() as store:
        if store:
            for name in store.damaged:
                say(f"{store.path / name} is no longer what was written: it is computed again")
            planned = _replicates_at_worst(options)
            store.check_space(bytes_needed(plan.jobs, planned, options.seed, store))
            store.ask({"command": "simulate", **arguments})
        try:
            result = _simulated(plan, options, workers, store)
            document = Document.of_study(plan.resolved, result, arguments, options.seed)
            shown = screen(plan.resolved, result, options.seed, program_name())
            print_out(document.to_json() if options.json else shown)
            for path in folder.write(document, _figures(plan, result)) if folder else ():
                say(f"wrote {path}")
        except KeyboardInterrupt:
            return _interrupted(plan, options, folder, store)
    say(f"{time.monotonic() - started:.1f} s")
    say(f"repeat: {_repeat(options)}")
    return 0


def _interrupted(
    plan: PlannedSimulation,
    options: argparse.Namespace,
    folder: RunDirectory | None,
    store: ChunkFolder | None,
) -> int:
    """Say what an interrupted run leaves."""
    if folder is None or store is None:
        say("interrupted: nothing was written")
        return INTERRUPTED
    say(f"interrupted: {plan.n_kept(store, options.seed):,} trials per scenario are kept")
    say(f"go on: {_repeat(options)}")
    say(f"what there is: {program_name()} report {shlex.quote(str(folder.path))}")
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
        say("this run was begun with numpy and keeps it; a new folder (--out DIR) would be faster")
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
    return cpus_available() if seconds > SECONDS_WORTH_WORKERS else 1


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
    return with_progress(
        lambda on_progress: plan.simulate(
            replicates=options.replicates,
            seed=options.seed,
            workers=workers,
            precision=precision,
            store=store,
            on_progress=on_progress,
        )
    )


def _figures(plan: PlannedSimulation, result: StudyResult) -> dict[str, Any]:
    from trialsim.figures.estimands import estimands_figure
    from trialsim.figures.observed import observed_figure
    from trialsim.figures.subgroups import subgroup_figure
    from trialsim.figures.survival import SurvivalPanel, survival_figure
    from trialsim.figures.waterfall import WaterfallStep, waterfall_figure
    from trialsim.protocol.historical import Contribution
    from trialsim.report.parts.subgroups import subgroup_panels

    drawn: dict[str, Any] = {}
    panels, scale = subgroup_panels(plan.resolved, result.rows)
    if any(panel.lines for panel in panels) and plan.resolved.template.protocol.subgroups:
        drawn["subgroups"] = subgroup_figure(panels, scale)
    trials, pools = result.figure_data["observed"]
    if any(placed and placed[0].below for _, placed in trials):
        drawn["observed"] = observed_figure(trials, pools)
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
    return drawn


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
