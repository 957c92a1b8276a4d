"""Commands that plan how a trial is run: `forecast`, also of one under way, and `optimise`."""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import PydanticCustomError

from trialsim.cli.answer import (
    Figures,
    arguments_of,
    hand_over,
    load,
    run_folder,
    say,
    with_progress,
)
from trialsim.cli.parser import program_name
from trialsim.errors import Problem, RequestError, counted, did_you_mean
from trialsim.report.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialsim.protocol.optimisation import Quantity
    from trialsim.protocol.template import Template
    from trialsim.protocol.truths.resolved import ResolvedTemplate
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.operations.forecast import Forecast

_RATE = "nature.operations.recruitment.per_site_month"
_RUNS = 200
_FUTURES = 4_000  # drawn at once, and cost little
_SECONDS_PER_PATIENT = 100e-6  # measured: sepsis with supply, one core


def forecast(options: argparse.Namespace) -> None:
    """Run the trial on paper, event by event."""
    from trialsim.engine.run import check_request
    from trialsim.figures.forecast import forecast_figures
    from trialsim.report.screens.forecast_screen import forecast_screen, forecast_texts
    from trialsim.studies.operations.forecast import plan_forecast, rate_to_enrol_in

    started = time.monotonic()
    if options.enrolled:
        _forecast_enrolled(options, load(options))
        return
    options.runs = _RUNS if options.runs is None else options.runs
    check_request(options.runs, options.seed, options.workers or 1, "--runs")
    resolved = load(options)
    if options.sites is not None:
        options.settings = [*options.settings, *_sites(resolved.template, options.sites)]
        resolved = load(options)
    if options.enrol_in:
        rate = rate_to_enrol_in(resolved, _months(options.enrol_in, "--enrol-in"))
        options.settings = [*options.settings, _setting(resolved.template, _RATE, f"{rate:.6g}")]
        resolved = load(options)
    observed = options.observed_enrolment
    observed_months = _months(observed, "--observed-enrolment") if observed else None
    planned = plan_forecast(resolved, options.scenario, observed_months)
    planned.check_runs(options.runs, options.log)
    folder = run_folder(resolved, options)
    workers = options.workers or _workers(options.runs * planned.plan.n_patients)
    found = with_progress(
        lambda on_progress: planned.forecast(
            runs=options.runs, seed=options.seed, workers=workers, on_progress=on_progress
        )
    )
    if options.log != 1:
        found = replace(found, log=planned.log_of(options.log, options.seed))
    given = {"runs": options.runs, "scenario": options.scenario, "observed_months": observed_months}
    given |= {"log": options.log} if options.log != 1 else {}
    arguments = arguments_of(options, **given)
    kept = replace(found.result, texts=forecast_texts(planned, found.result))
    document = Document.of_study(resolved, kept, arguments, options.seed, command="forecast")
    shown = forecast_screen(planned, found.result, options.seed)

    def figures() -> Figures:
        return forecast_figures(found.result)

    hand_over(options, document, shown, folder, figures, started)
    if folder:
        _write_tables(folder, document, found, options.log)


def _months(words: str, option: str) -> float:
    """Return a time in months (RequestError)."""
    from trialsim.protocol.quantities import DAYS_PER_UNIT, Duration

    try:
        found = Duration.parse(words).days / DAYS_PER_UNIT["mo"]
    except PydanticCustomError:
        found = 0.0
    if found <= 0:
        remedy = "Write for example 52 mo or 4.5 yr."
        raise RequestError(Problem("is not a length of time", remedy, option, f"'{words}'"))
    return found


def _sites(template: Template, n: int) -> Iterator[str]:
    """Yield what --set would say to plan so many sites, wherever they are stated."""
    yield _setting(template, "protocol.operations.sites.planned", str(n))
    if template.cost and template.cost.sites is not None:
        yield f"cost.sites={n}"


def _setting(template: Template, path: str, value: str) -> str:
    """Return what --set would say, with the parts of the path that the file does not have."""
    parts = path.split(".")
    here: Any = template
    for depth, part in enumerate(parts):
        if part not in here.model_fields_set or getattr(here, part) is None:
            for inner in reversed(parts[depth + 1 :]):
                value = f"{{{inner}: {value}}}"
            return f"{'.'.join(parts[: depth + 1])}={value}"
        here = getattr(here, part)
        if not hasattr(here, "model_fields_set"):
            break
    return f"{path}={value}"


def _workers(patients: int) -> int:
    from trialsim.cli.answer import SECONDS_WORTH_WORKERS
    from trialsim.engine.run import cpus_available

    return cpus_available() if patients * _SECONDS_PER_PATIENT > SECONDS_WORTH_WORKERS else 1


def _write_tables(folder: RunDirectory, document: Document, found: Forecast, run: int) -> None:
    """Keep the events of one simulated trial, and every trial in numbers, as tables."""
    import csv

    from trialsim.operations.event_log import write_log

    results, tail = folder.path / "results", document.arguments_hash[:4]
    path = results / f"forecast-events-{tail}.csv"
    if not path.exists():
        with path.open("x", encoding="utf-8", newline="") as stream:
            write_log(found.log, stream)
    say(f"wrote {path}: every event of simulated trial {run}")
    path = results / f"forecast-trials-{tail}.csv"
    if not path.exists():
        columns = list(dict.fromkeys(name for trial in found.trials for name in trial))
        with path.open("x", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(found.trials)
    say(f"wrote {path}: every simulated trial, a line each")


def _forecast_enrolled(options: argparse.Namespace, resolved: ResolvedTemplate) -> None:
    """Say when a trial will be full, given what its sites have enrolled."""
    from trialsim.engine.run import check_request
    from trialsim.figures.enrolled import enrolled_figure
    from trialsim.protocol.enrolled_sites import read_enrolled
    from trialsim.report.screens.enrolled_screen import enrolled_screen, enrolled_texts
    from trialsim.studies.operations.enrolled import plan_enrolled

    started = time.monotonic()
    _refuse_other_options(options)
    runs = _FUTURES if options.runs is None else options.runs
    check_request(runs, options.seed, 1, "--runs")
    seen = read_enrolled(options.enrolled, resolved.template.protocol.n_total)
    planned = plan_enrolled(resolved, seen)
    planned.check_runs(runs)
    folder = run_folder(resolved, options)
    result = planned.forecast(runs=runs, seed=options.seed)
    content = sha256(options.enrolled.read_bytes()).hexdigest()
    arguments = arguments_of(options, runs=runs, enrolled_sha256=content)
    kept = replace(result, texts=enrolled_texts(planned, result))
    document = Document.of_study(resolved, kept, arguments, options.seed, command="forecast")
    shown = enrolled_screen(planned, result, options.seed)

    def figures() -> Figures:
        return {"enrolled": enrolled_figure(result)}

    hand_over(options, document, shown, folder, figures, started)


def _refuse_other_options(options: argparse.Namespace) -> None:
    """Refuse what only a simulation event by event heeds (RequestError)."""
    for name in ("scenario", "sites", "enrol_in", "observed_enrolment", "log"):
        if getattr(options, name) != (1 if name == "log" else None):
            rule, remedy = "has no meaning beside --enrolled", "Leave one of the two out."
            raise RequestError(Problem(rule, remedy, f"--{name.replace('_', '-')}"))


def optimise(options: argparse.Namespace) -> None:
    """Say which design buys most."""
    from trialsim.engine.run import check_request, cpus_available
    from trialsim.figures.pareto import pareto_figure
    from trialsim.protocol.optimisation import constraints_from_words, vary_from_words
    from trialsim.protocol.reading.load import TemplateFile
    from trialsim.report.screens.optimise_screen import optimise_screen
    from trialsim.studies.operations.optimisation import optimise_request, plan_optimisation

    started = time.monotonic()
    check_request(options.replicates, options.seed, options.workers or 1)
    if options.write is not None:
        _check_new(options.write)
    resolved = load(options)
    request = optimise_request(
        resolved,
        vary=vary_from_words(options.vary),
        constraints=constraints_from_words(options.constraints),
        under=options.under,
        choose=_quantity(options.choose),
        accept_claim=options.accept_claim,
    )
    file = TemplateFile.of(
        options.template, options.settings, options.evidence_files, options.variant
    )
    planned = plan_optimisation(file, request)
    folder = run_folder(resolved, options)
    say(f"judging {counted(planned.n_designs, 'design')}, then simulating a few")
    workers = options.workers or cpus_available()
    result = with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates,
            seed=options.seed,
            workers=workers,
            on_progress=on_progress,
        )
    )
    arguments = arguments_of(options, **request.as_arguments, replicates=options.replicates)
    document = Document.of_study(resolved, result, arguments, options.seed, command="optimise")
    shown = optimise_screen(planned, result, options.seed, program_name())
    if options.write is not None:
        options.write.write_text(planned.text(_command(options)), encoding="utf-8")
        say(f"wrote {options.write}")

    def figures() -> Figures:
        return {"pareto": pareto_figure(planned)}

    hand_over(options, document, shown, folder, figures, started)


def _check_new(path: Path) -> None:
    """Refuse to write over a file, or where there is no folder (RequestError)."""
    if path.exists():
        rule, remedy = "is there already: no file is overwritten", "Name a new one."
        raise RequestError(Problem(rule, remedy, "--write", str(path)))
    if not path.resolve().parent.is_dir():
        rule, remedy = "is in a folder that does not exist", "Make the folder first."
        raise RequestError(Problem(rule, remedy, "--write", str(path)))


def _quantity(word: str | None) -> Quantity | Literal["knee"] | None:
    from trialsim.protocol.optimisation import KNEE, Quantity

    if word is None:
        return None
    known = {str(quantity).replace(" ", "-"): quantity for quantity in Quantity}
    asked = word.strip().lower().replace(" ", "-").replace("_", "-")
    if asked == KNEE:
        return KNEE
    if asked not in known:
        remedy = did_you_mean(asked, known, f"Name {', '.join(known)} or {KNEE}.")
        raise RequestError(Problem("is nothing a design is chosen by", remedy, "--choose", word))
    return known[asked]


def _command(options: argparse.Namespace) -> str:
    """Return the command again, without what does not change the design."""
    words = ["trialsim", "optimise", options.template]
    for name, values in (
        ("--variant", [options.variant] if options.variant else []),
        ("--set", options.settings),
        ("--evidence", [path.name for path in options.evidence_files]),
        ("--vary", options.vary),
        ("--constraint", options.constraints),
        ("--under", options.under),
        ("--choose", [options.choose] if options.choose else []),
        ("--accept-claim", [""] if options.accept_claim else []),
    ):
        for value in values:
            words += [name, *([value] if value else [])]
    return shlex.join([*words, "--write", options.write.name])
