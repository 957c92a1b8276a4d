"""The words of the command line."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, NoReturn

from trialsim import __version__
from trialsim.errors import Problem, RequestError, did_you_mean

__all__ = ["UsageError", "command_line", "parse", "program_name"]


_OTHERWISE_SPELT = {"optimize": "optimise", "synthesize": "synthesise"}
_SIGNED_LISTS = ("--observed", "--futility", "--information", "--looks", "--ratio")


class UsageError(RequestError):
    """The words typed are not a command."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(Problem(message, f"'{self.prog} --help' shows what it takes."))


def program_name() -> str:
    """Return what to type to run this program again, from this folder."""
    called = Path(sys.argv[0])
    if called.name in ("__main__.py", "-c", "-m"):
        return "python -m trialsim"
    on_path = shutil.which(called.name)
    if on_path and called.exists() and called.samefile(on_path):
        return called.name
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)


def _whole(text: str) -> int:
    """Read 10000, 10,000, 10_000 or 1e4."""
    grouped = re.fullmatch(r"[-+]?[0-9]{1,3}([,_][0-9]{3})*|[-+]?[0-9]{1,18}", text, flags=re.ASCII)
    if grouped:
        return int(text.replace(",", "").replace("_", ""))
    if (
        re.fullmatch(r"[0-9](\.[0-9]+)?[eE][0-9]{1,2}", text, flags=re.ASCII)
        and float(text).is_integer()
    ):
        return int(float(text))
    raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")


def _number(text: str) -> float:
    """Read 0.005 or 5e-3."""
    if re.fullmatch(r"-[0-9.].*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is below 0")
    if not re.fullmatch(r"[0-9]*\.?[0-9]+([eE]-?[0-9]{1,2})?", text, flags=re.ASCII):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number")
    return float(text)


def _signed(text: str) -> float:
    """Read a number that may be below 0."""
    return -_number(text[1:]) if text.startswith("-") else _number(text)


class _Commands:
    """Add one command at a time; each names the function that runs it, imported when it runs."""

    names: ClassVar[dict[str, str]] = {
        "demo": "the tour: sepsis against the observed trials",
        "list": "the protocols that come with the program",
        "show": "one protocol, read aloud",
        "new": "start a protocol of your own",
        "check": "is a protocol file right?",
        "simulate": "power, bias, ... under every scenario, against observed effects",
        "size": "how many patients: by formula, exact, with looks, and simulated again",
        "followup": "compare follow-up durations: the same patients read out at several times",
        "optimise": "the design that buys most: power, calendar, cost, patients in the worse arm",
        "calibrate": "fit a scenario's hazards to published results, and say what stays open",
        "bias": "what flaws of conduct do to an effect, from truth to publication",
        "synthesise": "simulate a literature of published trials, and pool it by stratum",
        "reconcile": "which explanation fits conflicting results, and what would tell more",
        "explain": "why two published trials disagree: what differs, and what it can carry",
        "forecast": "the trial on paper: sites, patients, doses, kits, looks, months and money",
        "replay": "one trial of a run, in words and patient by patient",
        "export": "trials of a run as tables for a statistics program, patient by patient",
        "report": "one HTML file to hand on: synopsis, assumptions, results, conflicts, ADEMP",
        "evidence": "published results, and where sources disagree",
        "app": "the local web page: the same answers in a browser, offline",
    }

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._subparsers = parser.add_subparsers(
            dest="command", metavar="COMMAND", parser_class=_Parser
        )

    def add(self, name: str) -> argparse.ArgumentParser:
        description = self.names[name]
        parser = self._subparsers.add_parser(
            name,
            help=description,
            allow_abbrev=False,
            description=description[0].upper() + description[1:] + ".",
        )
        parser.set_defaults(run=_later(name))
        return parser


def _later(name: str):  # type: ignore[no-untyped-def]
    def run(options: argparse.Namespace) -> int | None:
        from trialsim.cli import commands

        return commands.COMMANDS[name](options)

    return run


def _common(
    parser: argparse.ArgumentParser,
    *,
    template: bool,
    what: str = "TEMPLATE",
    help_: str = "an id ('trialsim list') or a path",
    nargs: str | None = None,
) -> None:
    if template:
        parser.add_argument("template", metavar=what, help=help_, nargs=nargs)
        parser.add_argument("--variant", default="", metavar="ID", help="a variant of the protocol")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            dest="settings",
            help="change any field: --set scenarios.or-082.effect.odds_ratio=0.7",
        )
    parser.add_argument(
        "--evidence",
        action="append",
        default=[],
        metavar="FILE",
        type=Path,
        dest="evidence_files",
        help="more published results",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")


def _scenarios(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        metavar="ID",
        dest="scenarios",
        help="only this one; may be repeated",
    )


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--replicates", type=_whole, default=10_000, metavar="N", help="default 10,000"
    )
    parser.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default trialsim-runs/...)"
    )


def _size(size: argparse.ArgumentParser) -> None:
    _common(size, template=True)
    size.add_argument("--scenario", metavar="ID", help="the truth planned for")
    size.add_argument(
        "--effect",
        metavar="WORDS",
        help='or an effect: "OR 0.70", "RR 0.8", "RD -0.05", "HR 0.7", "MD -1.5", "GMR 1.4"; or '
        "adjusted: that of the published trials, less their bias",
    )
    size.add_argument("--control-risk", type=_number, metavar="P", help="with --effect")
    size.add_argument("--power", type=_number, default=0.8, metavar="P", help="default 0.8")
    size.add_argument("--total", type=_whole, metavar="N", help="the power of so many instead")
    size.add_argument("--looks", metavar="F,F,1", help="information fractions: 0.5,0.75,1")
    bounds = size.add_mutually_exclusive_group()
    bounds.add_argument("--bounds", metavar="RULE", help="obf, pocock or wt:0.25")
    bounds.add_argument("--spending", metavar="RULE", help="ldof, ldpocock or hsd:-4")
    size.add_argument(
        "--futility", metavar="RULE", help="z of every look but the last (0,0.5), or ldof, hsd:-2"
    )
    size.add_argument("--binding", action="store_true", help="futility is binding")
    size.add_argument(
        "--observed",
        metavar="Z,Z",
        help="z at the looks held so far, positive in favour of treatment: what they say",
    )
    size.add_argument(
        "--information",
        metavar="F,F",
        help="with --observed: the information fractions seen there (default as planned)",
    )
    size.add_argument(
        "--dropout",
        type=_number,
        metavar="P",
        help="share without outcome (default the template's)",
    )
    size.add_argument("--ratio", metavar="T:C", help="treated to control, 2:1")
    margins = size.add_mutually_exclusive_group()
    margins.add_argument(
        "--margin", type=_signed, metavar="M", help="non-inferiority margin, on the effect's scale"
    )
    margins.add_argument(
        "--superiority-margin", type=_signed, metavar="M", help="the least benefit to be shown"
    )
    size.add_argument(
        "--margin-test",
        choices=("farrington-manning", "miettinen-nurminen", "wald"),
        help="with a margin of two risks (default farrington-manning)",
    )
    size.add_argument(
        "--exact", choices=("chi-square", "fisher", "boschloo", "barnard"), help="by enumeration"
    )
    size.add_argument(
        "--prior",
        action="append",
        default=[],
        metavar="ID",
        help="assurance over what this record says of the effect; may be repeated",
    )
    size.add_argument(
        "--important", default="", metavar="WORDS", help="the difference that would matter (DELTA2)"
    )
    size.add_argument(
        "--realistic",
        default="",
        metavar="WORDS",
        help="the difference that may be expected (default: that of a published source)",
    )
    size.add_argument(
        "--by",
        choices=("formula", "simulation"),
        help="simulation for analyses without a formula (default formula)",
    )
    size.add_argument(
        "--reestimate",
        choices=("restricted", "unrestricted"),
        help="compute the size again during the trial, from the blinded pooled event rate",
    )
    size.add_argument(
        "--reestimate-at",
        type=_number,
        metavar="F",
        help="with --reestimate: share of the planned patients read out by then (default 0.5)",
    )
    size.add_argument(
        "--maximum", type=_whole, metavar="N", help="with --reestimate (default twice the size)"
    )
    size.add_argument(
        "--grid", action="store_true", help="a design with looks over a grid of nuisance values"
    )
    size.add_argument(
        "--accept-claim", action="store_true", help="plan for a number only a document states"
    )
    _run(size)


def _new(new: argparse.ArgumentParser) -> None:
    """Add what a first draft may state; on a terminal, without any of it, each is asked for."""
    kinds = ("binary", "continuous", "time-to-event")
    new.add_argument("--endpoint", choices=kinds, help="the primary one (default binary)")
    for name, metavar, help_ in (
        ("title", "WORDS", "what the trial is called"),
        ("condition", "WORDS", "who is treated"),
        ("drug", "WORDS", "the treatment under test"),
        ("control", "WORDS", "what it is compared with"),
        ("event", "WORDS", "which event is counted"),
        ("variable", "WORDS", "continuous: what is measured"),
        ("unit", "WORDS", "continuous: its unit"),
        ("at", "TIME", "when it is read, from entry: 28 d, 12 wk, 6 mo"),
        ("better", "WORD", "lower or higher"),
        ("control-median", "TIME", "time-to-event: median in the control arm"),
        ("enrolment", "TIME", "time-to-event: how long it takes to enrol everybody"),
        ("follow-up", "TIME", "time-to-event: how long the last patient is followed"),
    ):
        new.add_argument(f"--{name}", metavar=metavar, help=help_)
    new.add_argument("--total", type=_whole, metavar="N", help="patients in both arms together")
    for name, help_ in (
        ("control-risk", "binary: share of control patients with the event"),
        ("odds-ratio", "binary: the effect hoped for, treated to control"),
        ("risk-ratio", "binary: or so"),
        ("risk-difference", "binary: or so"),
        ("treated-risk", "binary: or so"),
        ("control-mean", "continuous: mean in the control arm"),
        ("sd", "continuous: standard deviation between patients"),
        ("mean-difference", "continuous: the effect hoped for, treated minus control"),
        ("hazard-ratio", "time-to-event: the effect hoped for, treated to control"),
    ):
        new.add_argument(f"--{name}", type=_signed, metavar="X", help=help_)


def _followup(followup: argparse.ArgumentParser) -> None:
    _common(followup, template=True)
    followup.add_argument("--at", metavar="TIMES", help='"6 mo,12 mo" (default: those of the file)')
    followup.add_argument(
        "--from", dest="clock", choices=("entry", "end-of-therapy"), help="where --at counts from"
    )
    followup.add_argument(
        "--reference",
        metavar="TIME",
        help="the one whose effect counts (default: that of the primary endpoint, else the last)",
    )
    followup.add_argument(
        "--regimens",
        nargs="?",
        const="",
        metavar="LIST",
        help='compare regimens instead: "0.8 mg; daily; 1.6 mg every 3.5 d for 52 wk" (default: 24 '
        "and 52 weeks, half the dose, daily)",
    )
    followup.add_argument(
        "--analyses",
        action="store_true",
        help="log-rank, MaxCombo, GEE, ... of the same patients too",
    )
    followup.add_argument(
        "--lags",
        metavar="TIMES",
        help='with --analyses: let the effect start later after entry, "0 mo,3 mo,6 mo"',
    )
    followup.add_argument(
        "--missing",
        metavar="WORDS",
        help="how missing read-outs are dealt with: failure, complete-case, last-observation, "
        "multiple-imputation, with commas, or all",
    )
    followup.add_argument(
        "--choose", choices=("power", "cost", "time"), help="recommend one, for --power"
    )
    followup.add_argument("--power", type=_number, default=0.8, metavar="P", help="default 0.8")
    followup.add_argument(
        "--futility",
        type=_signed,
        metavar="Z",
        help="if a trial whose z is at most this at an earlier horizon were stopped",
    )
    followup.add_argument(
        "--accept-claim", action="store_true", help="choose under a number only a document states"
    )
    _scenarios(followup)
    followup.add_argument(
        "--workers", type=_whole, metavar="N", help="processes (default: the CPUs available)"
    )
    _run(followup)


def _optimise(optimise: argparse.ArgumentParser) -> None:
    _common(optimise, template=True)
    optimise.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="DECISION=VALUES",
        help='size=800:2000:100, sites=15,22,30, "looks=1,3 obf", ratio=1:1,2:1, '
        '"follow-up=28 d,90 d", threshold=20:60:10 (of a marker) or variant=ID,ID; may be '
        "repeated",
    )
    optimise.add_argument(
        "--constraint",
        action="append",
        default=[],
        metavar="WORDS",
        dest="constraints",
        help='what must hold: "power >= 0.8 under or-082", "months <= 48", "cost <= 6e6", '
        '"patients <= 1500"; may be repeated',
    )
    optimise.add_argument(
        "--under",
        action="append",
        default=[],
        metavar="SCENARIO",
        help="what a design must do well under: the worst counts; may be repeated",
    )
    optimise.add_argument(
        "--choose",
        metavar="WORD",
        help="cost, months, patients, power, worse-arm: what is best among those that meet every "
        "constraint (default cost, or patients without prices); or knee",
    )
    optimise.add_argument(
        "--write", type=Path, metavar="FILE", help="the chosen design as a new protocol file"
    )
    optimise.add_argument(
        "--accept-claim", action="store_true", help="plan for a number only a document states"
    )
    optimise.add_argument(
        "--workers", type=_whole, metavar="N", help="processes (default: the CPUs available)"
    )
    _run(optimise)


def _flaws(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--flaw",
        action="append",
        default=[],
        metavar="FLAW=S",
        dest="flaws",
        help="this flaw of the profile at another strength, from 0 (off) to 1: exclusion=0.2; "
        "may be repeated",
    )


def _flaws_of_one_trial(parser: argparse.ArgumentParser, conduct: str) -> None:
    parser.add_argument("--conduct", metavar="PROFILE", help=conduct)
    _flaws(parser)
    parser.add_argument("--only", metavar="FLAW", help="with this flaw of the profile alone")
    parser.add_argument(
        "--strength", type=_number, metavar="S", help="with --only: 0 to 1 (default the profile's)"
    )


def _bias(bias: argparse.ArgumentParser) -> None:
    _common(bias, template=True)
    bias.add_argument(
        "--conduct",
        metavar="ID",
        help="a profile, or a file (default: of 'poor', what can act here)",
    )
    _flaws(bias)
    bias.add_argument("--total", type=_whole, metavar="N", help="so many patients instead")
    bias.add_argument("--only", metavar="FLAW", help="one flaw of the profile, as a dial")
    bias.add_argument(
        "--strength", metavar="LIST", help="with --only: 0:1:0.1, or 0,0.25,0.5 (default 0:1:0.25)"
    )
    bias.add_argument(
        "--calibrate",
        action="store_true",
        help="the strength of each flaw that published ratios of odds ratios need",
    )
    bias.add_argument(
        "--outcomes",
        metavar="KIND",
        help="with --calibrate: objective or subjective, if not death from any cause",
    )
    _scenarios(bias)
    bias.add_argument(
        "--workers", type=_whole, metavar="N", help="processes (default: the CPUs available)"
    )
    bias.add_argument(
        "--replicates", type=_whole, metavar="N", help="default 4,000; with --calibrate 2,000"
    )
    bias.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    bias.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default trialsim-runs/...)"
    )


def _synthesise(synthesise: argparse.ArgumentParser) -> None:
    _common(synthesise, template=True)
    synthesise.add_argument(
        "--literature",
        metavar="ID|FILE",
        help="a shipped literature, or a file (default: the one of this template); FILE.csv: pool "
        "its published trials as they are",
    )
    synthesise.add_argument(
        "--observed",
        action="store_true",
        help="pool the published trials of the file's observed: as they are, without simulation",
    )
    synthesise.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="ID",
        dest="records",
        help="with --observed: these records instead, RECORD or RECORD:RESULT; may be repeated",
    )
    synthesise.add_argument(
        "--export",
        type=Path,
        metavar="FILE|DIR",
        help="a new .csv file with the trials and their effects, as R's metafor and --literature "
        "read them; DIR: each simulated literature in a file of its own",
    )
    synthesise.add_argument("--split", metavar="ID", help="quality, centres, ... (default: first)")
    synthesise.add_argument(
        "--true-or",
        metavar="LIST",
        help="true odds ratios of all trials, 0.82,0.97,1 (default: those of the literature)",
    )
    synthesise.add_argument(
        "--replicates", type=_whole, metavar="N", help="literatures (default 4,000)"
    )
    classroom = synthesise.add_argument_group("a class that replays one trial each, pooled")
    classroom.add_argument(
        "--class", type=_whole, metavar="N", dest="students", help="so many students: 40"
    )
    classroom.add_argument("--total", type=_whole, metavar="N", help="so many patients a trial")
    classroom.add_argument(
        "--conduct", metavar="PROFILE", help="flaws of this profile or file (default none)"
    )
    _flaws(classroom)
    classroom.add_argument("--only", metavar="FLAW", help="with this flaw of the profile alone")
    classroom.add_argument(
        "--strength", type=_number, metavar="S", help="with --only: 0 to 1 (default the profile's)"
    )
    _scenarios(classroom)
    synthesise.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    synthesise.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default trialsim-runs/...)"
    )


def _explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument("ids", nargs=2, metavar="ID", help="two records of trials")
    explain.add_argument(
        "--template",
        metavar="TEMPLATE",
        help="which observes both (default: the shipped one that does)",
    )
    explain.add_argument("--outcomes", metavar="KIND", help="objective or subjective")
    _run(explain)
    _common(explain, template=False)


def _reconcile(reconcile: argparse.ArgumentParser) -> None:
    _common(
        reconcile,
        template=True,
        nargs="?",
        help_="an id ('trialsim list') or a path; left out: which conflicts there are",
    )
    reconcile.add_argument(
        "--conflict",
        metavar="ID|FILE",
        help="which conflict: a shipped one, or a file (default: that of the template)",
    )
    reconcile.add_argument(
        "--prior",
        action="append",
        default=[],
        metavar="ID=WEIGHT",
        dest="priors",
        help="another weight of an explanation beforehand; may be repeated",
    )
    reconcile.add_argument("--quick", action="store_true", help="fewer draws, in a few seconds")
    reconcile.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    reconcile.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default trialsim-runs/...)"
    )


def _forecast(forecast: argparse.ArgumentParser) -> None:
    _common(forecast, template=True)
    forecast.add_argument(
        "--runs",
        type=_whole,
        metavar="N",
        help="simulated trials (default 200; 4000 with --enrolled)",
    )
    forecast.add_argument(
        "--enrolled",
        type=Path,
        metavar="FILE",
        help="CSV table (site, opened, enrolled, as_of) of a trial under way: when it will be full",
    )
    forecast.add_argument(
        "--scenario",
        metavar="ID",
        help="what becomes of patients, and so what looks with a bound decide: they may stop a "
        "trial (default: first with an effect)",
    )
    forecast.add_argument("--sites", type=_whole, metavar="N", help="so many sites instead")
    forecast.add_argument(
        "--enrol-in",
        metavar="TIME",
        help="solve the rate of an open site so that enrolment takes this long on average: 52 mo",
    )
    forecast.add_argument(
        "--observed-enrolment",
        metavar="TIME",
        help="how long enrolment really took: which share of the simulated trials is faster",
    )
    forecast.add_argument(
        "--workers", type=_whole, metavar="N", help="processes (default: the CPUs available)"
    )
    forecast.add_argument(
        "--log", type=_whole, default=1, metavar="K", help="whose events are written (default 1)"
    )
    forecast.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    forecast.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default trialsim-runs/...)"
    )


def _export(export: argparse.ArgumentParser) -> None:
    _common(
        export, template=True, what="RUN|TEMPLATE", help_="a run's folder, 'last', or a protocol"
    )
    export.add_argument("--scenario", metavar="ID", help="under which truth (needed where several)")
    export.add_argument(
        "--replicate",
        type=_whole,
        nargs="+",
        default=[1],
        metavar="K",
        help="which trials, from 1 (default 1)",
    )
    export.add_argument("--seed", type=_whole, metavar="S", help="default: the run's own, else 1")
    _flaws_of_one_trial(export, "carried out with the flaws of this profile or file: as reported")
    export.add_argument("--parquet", action="store_true", help="each table as Parquet too")
    export.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder for the tables"
    )


def _calibrate(calibrate: argparse.ArgumentParser) -> None:
    _common(calibrate, template=True)
    calibrate.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="ID",
        help="RECORD, RECORD:RESULT or RECORD:RESULT:control; with '@18 mo' where no time is "
        "published; may be repeated",
    )
    calibrate.add_argument(
        "--free",
        metavar="NAMES",
        help="what is fitted: control, treated, relapse, delay, or control-1, treated-2, ... "
        "(default control,treated)",
    )
    calibrate.add_argument(
        "--scenario", metavar="ID", help="which one (default: the first with an effect)"
    )
    calibrate.add_argument(
        "--accept-flat", action="store_true", help="fit more parameters than points all the same"
    )
    calibrate.add_argument(
        "--replicates",
        type=_whole,
        default=2_000,
        metavar="N",
        help="data sets simulated for the coverage of intervals (default 2,000)",
    )
    calibrate.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    calibrate.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default trialsim-runs/...)"
    )


def _joined(words: Sequence[str]) -> list[str]:
    """Join an option with words that start with a minus, which argparse takes for an option."""
    found: list[str] = []
    for word in words:
        if found and found[-1] in _SIGNED_LISTS and re.fullmatch(r"-[0-9.][-0-9.,: ]*", word):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Turn words into options, `run` among them.

    Raises
    ------
    UsageError
        If they are not a command.
    """
    parser = _known_parser()
    words = [_OTHERWISE_SPELT.get(word, word) for word in words[:1]] + list(words[1:])
    if words and not words[0].startswith("-") and words[0] not in _Commands.names:
        listed = f"The commands are {', '.join(_Commands.names)}."
        raise UsageError(
            Problem(
                "is not a command",
                did_you_mean(words[0], _Commands.names, listed),
                value=f"'{words[0]}'",
                field="COMMAND",
            )
        )
    found = parser.parse_args(_joined(words))
    lists = {name: list(own) for name, own in vars(found).items() if isinstance(own, list)}
    vars(found).update(lists)  # those at rest are the parser's, which is used again
    return found


@cache
def _known_parser() -> argparse.ArgumentParser:
    return command_line()


def command_line() -> argparse.ArgumentParser:
    """Return the parser of every command, with what it says of each option."""
    parser = _Parser(
        prog="trialsim",
        allow_abbrev=False,
        description="Turn a clinical-trial protocol into something you can run.",
        epilog="Without a command: three questions, each with its command.",
    )
    parser.add_argument("--version", action="version", version=f"trialsim {__version__}")
    commands = _Commands(parser)
    parser.set_defaults(run=_later("questions"), command=None)

    demo = commands.add("demo")
    demo.add_argument(
        "--replicates", type=_whole, default=10_000, metavar="N", help="default 10,000"
    )
    commands.add("list").add_argument("--json", action="store_true", help="JSON instead of text")
    show = commands.add("show")
    _common(show, template=True)
    show.add_argument(
        "--conflict",
        nargs="?",
        const="",
        metavar="ID|FILE",
        help="what could explain its conflicting results, as 'reconcile' weighs it",
    )
    new = commands.add("new")
    new.add_argument("file", metavar="FILE", type=Path, help="a name that does not exist yet")
    _new(new)
    check = commands.add("check")
    check.add_argument(
        "files", metavar="FILE", nargs="+", help="protocol files, or ids of templates"
    )
    _common(check, template=False)
    simulate = commands.add("simulate")
    _common(simulate, template=True)
    _scenarios(simulate)
    simulate.add_argument(
        "--replicates",
        type=_whole,
        default=10_000,
        metavar="N",
        help="simulated trials per scenario (default 10,000)",
    )
    simulate.add_argument("--seed", type=_whole, default=1, metavar="N", help="default 1")
    simulate.add_argument(
        "--workers",
        type=_whole,
        metavar="N",
        help="processes (default: the CPUs available, one when short)",
    )
    simulate.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="a Dask cluster instead: the address of its scheduler, tcp://...",
    )
    simulate.add_argument(
        "--precision",
        type=_number,
        metavar="ERROR",
        help="run until the power is known to this standard error, whatever --replicates says",
    )
    simulate.add_argument(
        "--max-replicates",
        type=_whole,
        default=1_000_000,
        metavar="N",
        help="the most to try for --precision (default 1,000,000)",
    )
    simulate.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="a folder for the run, or the folder of the same run, which then goes on (default "
        "trialsim-runs/...)",
    )
    simulate.add_argument(
        "--kernel",
        choices=("numpy", "numba"),
        help="what computes times to an event (default: numba where installed and worth its start)",
    )
    simulate.add_argument("--yes", action="store_true", help="do not stop at an hour of work")

    _size(commands.add("size"))
    _followup(commands.add("followup"))
    _optimise(commands.add("optimise"))
    _calibrate(commands.add("calibrate"))
    _bias(commands.add("bias"))
    _synthesise(commands.add("synthesise"))
    _reconcile(commands.add("reconcile"))
    _explain(commands.add("explain"))
    _forecast(commands.add("forecast"))

    replay = commands.add("replay")
    _common(
        replay, template=True, what="RUN|TEMPLATE", help_="a run's folder, 'last', or a protocol"
    )
    replay.add_argument("--scenario", metavar="ID", help="under which truth (needed where several)")
    replay.add_argument(
        "--replicate", type=_whole, default=1, metavar="K", help="which trial, from 1 (default 1)"
    )
    replay.add_argument("--seed", type=_whole, metavar="S", help="default: the run's own, else 1")
    replay.add_argument("--total", type=_whole, metavar="N", help="so many patients instead")
    replay.add_argument(
        "--kernel", choices=("numpy", "numba"), help="default: the run's own, else numpy"
    )
    replay.add_argument(
        "--out", type=Path, metavar="FILE", help="all patients, as .csv or .parquet; a new file"
    )
    _flaws_of_one_trial(replay, "before and after the flaws of this profile or file")

    _export(commands.add("export"))

    report = commands.add("report")
    report.add_argument("runs", nargs="*", metavar="RUN", help="run folders, or 'last' (default)")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: <protocol>-report.html")
    report.add_argument("--docx", type=Path, metavar="FILE", help="two pages for an ethics form")
    report.add_argument("--markdown", type=Path, metavar="FILE", help="the same as Markdown")
    report.add_argument("--figures", type=Path, metavar="DIR", help="figures as SVG and PNG")
    report.add_argument("--json", action="store_true", help="say what was written as JSON")

    evidence = commands.add("evidence")
    actions = "show one record; check: can numbers be right together; adjust: less their bias"
    evidence.add_argument("action", nargs="?", choices=("show", "check", "adjust"), help=actions)
    what = "which; to check, also a file; to adjust, a template"
    evidence.add_argument("id", nargs="?", metavar="ID", help=what)
    evidence.add_argument(
        "--condition", metavar="WORD", help="only these: sepsis, hepatitis-b, ..."
    )
    evidence.add_argument(
        "--template", metavar="TEMPLATE", help="only those that a protocol is held against or cites"
    )
    evidence.add_argument("--kind", metavar="WORD", help="only these: trial, pool, ...")
    evidence.add_argument("--status", metavar="WORD", help="only records with such a number")
    evidence.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="ID",
        dest="records",
        help="to adjust: these records instead of those observed; may be repeated",
    )
    evidence.add_argument("--literature", type=Path, metavar="FILE.csv", help="to adjust: a table")
    evidence.add_argument(
        "--flaw",
        action="append",
        default=[],
        metavar="STUDY=FLAW",
        dest="flaws",
        help="to adjust: a flaw a study has, such as etass-2013='allocation concealment'",
    )
    evidence.add_argument("--outcomes", metavar="KIND", help="to adjust: objective or subjective")
    evidence.add_argument(
        "--out", type=Path, metavar="DIR", help="to adjust: the folder (default trialsim-runs/...)"
    )
    _common(evidence, template=False)

    page = commands.add("app")
    page.add_argument("--port", type=_whole, default=8765, metavar="N", help="default 8765")
    page.add_argument("--no-browser", action="store_true", help="only say where it is")
    page.add_argument("--big", action="store_true", help="large letters, for a projector")
    page.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="instead: lessons and rooms as one file, a new .html, that needs no server",
    )

    return parser
