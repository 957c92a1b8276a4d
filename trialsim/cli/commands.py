"""Which function answers which command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from trialsim.cli.design import calibrate, followup, size
from trialsim.cli.hand_on import export, replay, report
from trialsim.cli.judge import bias, explain, reconcile, synthesise
from trialsim.cli.look_up import check, evidence, list_templates, new, questions, show
from trialsim.cli.plan import forecast, optimise
from trialsim.cli.simulate import demo, simulate


def page(options: argparse.Namespace) -> None:
    """Open the local web page, the one thing above the command line."""
    from trialsim.app.serve import run

    run(options)


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
    "optimise": optimise,
    "calibrate": calibrate,
    "bias": bias,
    "synthesise": synthesise,
    "reconcile": reconcile,
    "explain": explain,
    "forecast": forecast,
    "replay": replay,
    "export": export,
    "report": report,
    "demo": demo,
    "app": page,
}
