"""Commands about whether a trial can be done: `optimise`."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.report.document import Document

if TYPE_CHECKING:
    from trialsim.protocol.optimisation import Quantity


def optimise(options: argparse.Namespace) -> None:
    """Say which design buys most."""
    from trialsim.engine.run import check_request, cpus_available
    from trialsim.figures.pareto import pareto_figure
    from trialsim.protocol.load import TemplateFile
    from trialsim.protocol.optimisation import constraints_from_words, vary_from_words
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
    say(f"judging {planned.n_designs:,} designs, then simulating a few")
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
