"""`forecast --enrolled`: a trial that is under way."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from hashlib import sha256

from trialsim.cli.answer import Figures, arguments_of, hand_over, run_folder
from trialsim.errors import Problem, RequestError
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.report.document import Document

__all__ = ["forecast_enrolled"]

_RUNS = 4_000  # futures are drawn at once, and cost little


def forecast_enrolled(options: argparse.Namespace, resolved: ResolvedTemplate) -> None:
    """Say when a trial will be full, given what its sites have enrolled."""
    from trialsim.engine.run import check_request
    from trialsim.figures.enrolled import enrolled_figure
    from trialsim.protocol.enrolled_sites import read_enrolled
    from trialsim.report.screens.enrolled_screen import enrolled_screen, enrolled_texts
    from trialsim.studies.operations.enrolled import plan_enrolled

    started = time.monotonic()
    _refuse_other_options(options)
    runs = _RUNS if options.runs is None else options.runs
    check_request(runs, options.seed, 1, "--runs")
    seen = read_enrolled(options.enrolled, resolved.template.protocol.n_total)
    planned = plan_enrolled(resolved, seen)
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
    for name in ("scenario", "sites", "enrol_in", "observed_enrolment"):
        if getattr(options, name) is not None:
            rule, remedy = "has no meaning beside --enrolled", "Leave one of the two out."
            raise RequestError(Problem(rule, remedy, f"--{name.replace('_', '-')}"))
