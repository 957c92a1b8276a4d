"""Commands that plan how a trial is run: `forecast`."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
from trialsim.cli.enrolled import forecast_enrolled
from trialsim.errors import Problem, RequestError
from trialsim.report.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialsim.protocol.template import Template
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.operations.forecast import Forecast

_RATE = "nature.operations.recruitment.per_site_month"
_RUNS = 200
_SECONDS_PER_PATIENT = 100e-6  # measured: sepsis with supply, one core


def forecast(options: argparse.Namespace) -> None:
    """Run the trial on paper, event by event."""
    from trialsim.engine.run import check_request
    from trialsim.figures.forecast import forecast_figures
    from trialsim.report.screens.forecast_screen import forecast_screen, forecast_texts
    from trialsim.studies.operations.forecast import plan_forecast, rate_to_enrol_in

    started = time.monotonic()
    if options.enrolled:
        forecast_enrolled(options, load(options))
        return
    options.runs = _RUNS if options.runs is None else options.runs
    check_request(options.runs, options.seed, options.workers or 1, "--runs")
    check_request(options.log, options.seed, 1, "--log")
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
