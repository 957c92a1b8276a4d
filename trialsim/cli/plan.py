"""Commands that plan how a trial is run: `forecast`."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from trialsim.cli.answer import (
    Figures,
    arguments_of,
    hand_over,
    load,
    run_folder,
    say,
    with_progress,
)
from trialsim.report.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialsim.protocol.template import Template
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.operations.forecast import Forecast

_SECONDS_PER_PATIENT = 60e-6  # measured: sepsis with supply, one core


def forecast(options: argparse.Namespace) -> None:
    """Run the trial on paper, event by event."""
    from trialsim.engine.run import check_request
    from trialsim.report.screens.forecast_screen import forecast_screen
    from trialsim.studies.operations.forecast import plan_forecast

    started = time.monotonic()
    check_request(options.runs, options.seed, options.workers or 1, "--runs")
    resolved = load(options)
    if options.sites is not None:
        options.settings = [*options.settings, *_sites(resolved.template, options.sites)]
        resolved = load(options)
    planned = plan_forecast(resolved)
    folder = run_folder(resolved, options)
    workers = options.workers or _workers(options.runs * planned.plan.n_patients)
    found = with_progress(
        lambda on_progress: planned.forecast(
            runs=options.runs, seed=options.seed, workers=workers, on_progress=on_progress
        )
    )
    arguments = arguments_of(options, runs=options.runs)
    document = Document.of_study(
        resolved, found.result, arguments, options.seed, command="forecast"
    )
    shown = forecast_screen(planned, found.result, options.seed)

    def figures() -> Figures:
        return {}

    hand_over(options, document, shown, folder, figures, started)
    if folder:
        _write_log(folder, document, found)


def _sites(template: Template, n: int) -> Iterator[str]:
    """Yield what --set would say to plan so many sites, wherever they are stated."""
    stated = template.protocol.operations
    if stated is None:
        yield f"protocol.operations={{sites: {{planned: {n}}}}}"
    elif "sites" not in stated.model_fields_set:
        yield f"protocol.operations.sites={{planned: {n}}}"
    else:
        yield f"protocol.operations.sites.planned={n}"
    if template.cost and template.cost.sites is not None:
        yield f"cost.sites={n}"


def _workers(patients: int) -> int:
    from trialsim.cli.answer import SECONDS_WORTH_WORKERS
    from trialsim.engine.run import cpus_available

    return cpus_available() if patients * _SECONDS_PER_PATIENT > SECONDS_WORTH_WORKERS else 1


def _write_log(folder: RunDirectory, document: Document, found: Forecast) -> None:
    """Keep the events of the first simulated trial, as a table."""
    from trialsim.operations.event_log import write_log

    path = folder.path / "results" / f"forecast-events-{document.arguments_hash[:4]}.csv"
    if not path.exists():
        with path.open("x", encoding="utf-8", newline="") as stream:
            write_log(found.log, stream)
    say(f"wrote {path}: every event of the first of the simulated trials")
