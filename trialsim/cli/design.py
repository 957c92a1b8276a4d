"""Commands that help to plan a trial: `size`, `followup`, `calibrate`."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trialsim.cli.answer import (
    Figures,
    arguments_of,
    hand_over,
    load,
    run_folder,
    say,
    simulated,
    with_progress,
    workers_for,
)
from trialsim.cli.parser import program_name
from trialsim.errors import Problem, RequestError
from trialsim.report.document import Document

if TYPE_CHECKING:
    from trialsim.studies.size.planned import PlannedSize


_USUAL_POWER = 0.8


def size(options: argparse.Namespace) -> None:
    """Say how many patients a design needs."""
    from trialsim.studies.size.refusals import in_words_of_options

    with in_words_of_options():
        _sized(options)


def _sized(options: argparse.Namespace) -> None:
    from trialsim.engine.run import check_request, kernel_for
    from trialsim.report.run_directory import RunDirectory
    from trialsim.report.screens.size_screen import size_screen
    from trialsim.studies.simulation import plan_simulation
    from trialsim.studies.size.beside_naive import without_adjustment
    from trialsim.studies.size.planned import PlannedSize, plan_size
    from trialsim.studies.size.prior import AS_ADJUSTED
    from trialsim.studies.size.request import size_request
    from trialsim.studies.size.searched import SearchedSize

    started = time.monotonic()
    check_request(options.replicates, options.seed)
    resolved = load(options)
    request, echo = size_request(resolved, options)
    for line in echo:
        say(line)
    planned = plan_size(resolved, request)
    plan = plan_simulation(resolved)
    plan = plan.computed_by(kernel_for(plan.jobs[0], options.replicates))
    folder = None
    if not options.json or options.out is not None:
        folder = RunDirectory(plan.record(options.seed), options.out)
    study = planned.by_simulation if isinstance(planned, SearchedSize) else planned.result
    result = study(replicates=options.replicates, seed=options.seed)
    if isinstance(planned, PlannedSize) and planned.scenario.title == AS_ADJUSTED:
        result = replace(result, texts={**result.texts, "naive": without_adjustment(planned)})
    arguments = _size_arguments(options)
    document = Document.of_study(resolved, result, arguments, options.seed, command="size")
    shown = size_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return _size_figures(planned) if isinstance(planned, PlannedSize) else {}

    hand_over(options, document, shown, folder, figures, started)


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
    return arguments_of(options, **{name: getattr(options, name) for name in names})


def followup(options: argparse.Namespace) -> None:
    """Read the same simulated patients at several horizons, or under several regimens."""
    if options.regimens is not None:
        _regimens(options)
        return
    from trialsim.engine.run import check_request, cpus_available
    from trialsim.figures.followup import followup_figure, lag_figure
    from trialsim.figures.frontier import frontier_figure
    from trialsim.figures.swimmer import swimmer_figure, with_swimmers
    from trialsim.protocol.missing import missing_from_words
    from trialsim.protocol.truths.horizons import times_from_words
    from trialsim.report.screens.followup_screen import followup_screen
    from trialsim.studies.horizons.delayed_effect import with_analyses, with_gee
    from trialsim.studies.horizons.followup import followup_request, plan_followup
    from trialsim.studies.horizons.missing_read_outs import check_missing, with_missing_read_outs

    started = time.monotonic()
    check_request(options.replicates, options.seed, options.workers or 1)
    resolved = load(options)
    planned = plan_followup(resolved, followup_request(resolved, options), options.scenarios)
    if options.lags and not options.analyses:
        rule, remedy = "needs --analyses", "Add it."
        raise RequestError(Problem(rule, remedy, "--lags", options.lags))
    protocol = resolved.template.protocol
    lags = times_from_words(options.lags, "entry", protocol, "--lags") if options.lags else ()
    handlings = missing_from_words(options.missing) if options.missing else ()
    if handlings:
        check_missing(planned)
    folder = run_folder(resolved, options)
    result = simulated(planned, planned.jobs, options)
    if options.analyses:
        result = with_progress(
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
        result = with_progress(
            lambda on_progress: with_gee(
                planned,
                analysed,
                seed=options.seed,
                workers=options.workers or cpus_available(),
                on_progress=on_progress,
            )
        )
    if handlings:
        result = with_progress(
            lambda on_progress: with_missing_read_outs(
                planned,
                result,
                handlings,
                seed=options.seed,
                workers=workers_for(planned.jobs, options),
                on_progress=on_progress,
            )
        )
    names = (
        *("at", "clock", "reference", "analyses", "lags", "choose", "power", "accept_claim"),
        *("futility", "replicates", "missing"),
    )
    given = {name: getattr(options, name) for name in names}
    arguments = arguments_of(options, scenario=options.scenarios, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="followup")
    shown = followup_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        drawn = {"followup": followup_figure(planned, result)}
        drawn |= {"lags": lag_figure(planned, result)} if lags else {}
        drawn["frontier"] = frontier_figure(planned)
        for index in range(with_swimmers(planned)):
            drawn[f"swimmer{index + 1}"] = swimmer_figure(planned, index, options.seed)
        return drawn

    hand_over(options, document, shown, folder, figures, started)


def _regimens(options: argparse.Namespace) -> None:
    from trialsim.engine.run import check_request
    from trialsim.figures.regimens import regimens_figure
    from trialsim.report.screens.regimens_screen import regimens_screen
    from trialsim.studies.horizons.regimens import plan_regimens

    started = time.monotonic()
    check_request(options.replicates, options.seed, options.workers or 1)
    others = ("reference", "analyses", "lags", "missing", "choose", "futility", "accept_claim")
    beside = [name for name in others if getattr(options, name)]
    if beside := [*beside, *(["power"] if options.power != _USUAL_POWER else [])]:
        rule, remedy = "is of horizons, not of regimens", "Leave it out beside --regimens."
        names = [f"--{name.replace('_', '-')}" for name in beside]
        raise RequestError([Problem(rule, remedy, name) for name in names])
    resolved = load(options)
    planned = plan_regimens(
        resolved, options.regimens, options.scenarios, at=options.at, clock=options.clock
    )
    folder = run_folder(resolved, options)
    result = simulated(planned, planned.jobs, options)
    given = {name: getattr(options, name) for name in ("regimens", "at", "clock", "replicates")}
    arguments = arguments_of(options, scenario=options.scenarios, **given)
    document = Document.of_study(resolved, result, arguments, options.seed, command="followup")
    shown = regimens_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"regimens": regimens_figure(planned)}

    hand_over(options, document, shown, folder, figures, started)


def calibrate(options: argparse.Namespace) -> None:
    """Fit a scenario's courses to published results."""
    from trialsim.engine.run import check_request
    from trialsim.figures.calibration import calibration_figure
    from trialsim.report.screens.calibration_screen import calibration_screen
    from trialsim.studies.fitted.calibration import calibration_request, plan_calibration

    started = time.monotonic()
    check_request(options.replicates, options.seed)
    resolved = load(options)
    planned = plan_calibration(resolved, calibration_request(options))
    folder = run_folder(resolved, options)
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
    arguments = arguments_of(options, **{name: getattr(options, name) for name in names})
    document = Document.of_study(resolved, result, arguments, options.seed, command="calibrate")
    shown = calibration_screen(planned, result, options.seed, program_name())

    def figures() -> Figures:
        return {"calibration": calibration_figure(planned)}

    hand_over(options, document, shown, folder, figures, started)
