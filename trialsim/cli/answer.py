"""What every command does with its request and its answer: load, watch, print, keep."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trialsim.engine.blocks import Job
    from trialsim.protocol.conduct import Conduct, Mechanism
    from trialsim.protocol.truths.resolved import ResolvedTemplate
    from trialsim.report.document import Document
    from trialsim.report.run_directory import RunDirectory
    from trialsim.trial import StudyResult

Found = TypeVar("Found")
Progress = Callable[[float, float], None]
Figures = dict[str, tuple["Figure", str]]  # by name, each with its alternative text

SECONDS_WORTH_WORKERS = 3.0


@dataclass(frozen=True)
class HandedOver:
    """An answer before it is printed; `figures` draws when called."""

    document: Document
    figures: Callable[[], Figures]


@dataclass(frozen=True)
class _Reader:
    receive: Callable[[HandedOver], None]
    progress: Progress | None


_READER: ContextVar[_Reader | None] = ContextVar("reader", default=None)


@contextmanager
def handing_over_to(
    receive: Callable[[HandedOver], None], progress: Progress | None = None
) -> Iterator[None]:
    """Give answers to `receive` instead of printing them, and progress to `progress`."""
    token = _READER.set(_Reader(receive, progress))
    try:
        yield
    finally:
        _READER.reset(token)


def run_folder(resolved: ResolvedTemplate, options: argparse.Namespace) -> RunDirectory | None:
    """Return the folder that keeps the answer; None where only a document is printed."""
    from trialsim.report.run_directory import RunDirectory
    from trialsim.studies.simulation import plan_simulation

    if options.json and options.out is None:
        return None
    return RunDirectory(plan_simulation(resolved).record(options.seed), options.out)


def workers_for(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Return how many processes are worth their start, or were asked for."""
    from trialsim.engine.run import cpus_available, estimated_seconds

    if options.workers:
        return int(options.workers)
    long = estimated_seconds(jobs, options.replicates) > SECONDS_WORTH_WORKERS
    return cpus_available() if long else 1


def say(text: str = "") -> None:
    """Print what is not the answer: progress, warnings, files written."""
    print(text, file=sys.stderr, flush=True)


def print_out(text: str) -> None:
    """Print a result; a reader who has had enough does not keep the files from being written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


def load(options: argparse.Namespace) -> ResolvedTemplate:
    """Read the named protocol with its variant, settings and further evidence."""
    from trialsim.protocol.reading.load import load_template

    return load_template(
        options.template,
        variant=options.variant,
        settings=options.settings,
        evidence_files=options.evidence_files,
    )


def flaws_of(
    options: argparse.Namespace, resolved: ResolvedTemplate
) -> tuple[Conduct | None, Mechanism | None]:
    """Return the profile that options of flaws name, and the flaw of --only.

    Without --conduct it is that of `poor`; None where none of them is given.
    """
    from trialsim.errors import Problem, RequestError
    from trialsim.protocol.conduct import Mechanism
    from trialsim.protocol.reading.load import load_conduct
    from trialsim.studies.conduct.bias import flaw_from_words, with_strengths

    only = flaw_from_words(options.only) if options.only else None
    if options.strength is not None:
        given = f"{options.strength:g}"
        if only is None:
            rule, remedy = "needs --only FLAW", "Name the flaw whose dial is turned."
            raise RequestError(Problem(rule, remedy, "--strength", given))
        if not 0 < options.strength <= 1:
            rule, remedy = "must be above 0 and at most 1", "For no flaw leave --only out."
            raise RequestError(Problem(rule, remedy, "--strength", given))
    if not (options.conduct or only or options.flaws):
        return None, None
    profile = load_conduct(options.conduct or "poor", resolved.evidence)
    profile = with_strengths(profile, options.flaws)
    if only and options.strength is not None:
        if profile.of(only) is None:
            rule = f"has no {only}"
            remedy = f"It has {', '.join(profile.mechanisms)}; 'every-flaw' has each."
            raise RequestError(Problem(rule, remedy, "--conduct", profile.id))
        profile = profile.at(only, options.strength)
    if only in profile.mechanisms:  # foresight decides what is known of patients
        profile = profile.only({only, Mechanism.FORESEEN_ALLOCATION})
    return profile, only


def arguments_of(options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Return the arguments that can change the answer, those at rest left out."""
    given = {"variant": options.variant, "set": list(options.settings), **more}
    if options.evidence_files:  # their content can change the answer, their names cannot
        contents = [sha256(path.read_bytes()).hexdigest() for path in options.evidence_files]
        given["evidence_sha256"] = contents
    return {key: value for key, value in given.items() if value or type(value) in (int, float)}


def with_progress(simulate: Callable[[Callable[[float, float], None] | None], Found]) -> Found:
    """Show how far a simulation is, on a terminal or to whoever reads the answer."""
    if reader := _READER.get():
        return simulate(reader.progress)
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


class Planned(Protocol):
    """A study that is decided and can be simulated."""

    def result(
        self, *, replicates: int, seed: int, workers: int, on_progress: Progress | None
    ) -> StudyResult:
        """Simulate it."""


def simulated(planned: Planned, jobs: Sequence[Job], options: argparse.Namespace) -> StudyResult:
    """Simulate a study as asked, showing how far it is."""
    workers = workers_for(jobs, options)
    return with_progress(
        lambda on_progress: planned.result(
            replicates=options.replicates,
            seed=options.seed,
            workers=workers,
            on_progress=on_progress,
        )
    )


def hand_over(
    options: argparse.Namespace,
    document: Document,
    shown: str | Callable[[], str],
    folder: RunDirectory | None,
    figures: Callable[[], Figures],
    started: float,
) -> None:
    """Print a result, write it where there is a folder, and say how long it took.

    What the terminal shows may be told by a function: nobody else waits for it.
    """
    if reader := _READER.get():
        reader.receive(HandedOver(document, figures))
        return
    if options.json:
        print_out(document.to_json())
    else:
        print_out(shown if isinstance(shown, str) else shown())
    if folder:
        with folder.begin():
            for path in folder.write(document, figures()):
                say(f"wrote {path}")
    say(f"{time.monotonic() - started:.1f} s")
