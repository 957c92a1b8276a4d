"""In a process of its own: one command of the command line, and what it hands over.

Matplotlib is neither safe with threads nor does it let others run, so nothing here is called in
the process that answers the browser.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from trialsim.errors import Problem, TrialsimError

if TYPE_CHECKING:
    from argparse import Namespace
    from multiprocessing.connection import Connection

    from matplotlib.figure import Figure

    from trialsim.cli.answer import HandedOver

__all__ = ["Answer", "Drawn", "Line", "Order", "Panel", "Want", "drawn_files", "serve"]


MAX_BYTES = 3 << 30  # of one process
MAX_KEPT_BYTES = 48_000_000  # of patients drawn


class Want(StrEnum):
    """How much of an answer is asked for; the later, the dearer."""

    NUMBERS = "numbers"  # the document
    SERIES = "series"  # and what its figures show, as numbers, for charts of our own
    FIGURES = "figures"  # and its figures, drawn as SVG and PNG


@dataclass(frozen=True)
class Order:
    """What a job computes.

    Attributes
    ----------
    words : tuple of str
        Of the command line, without ``--json``: ``("size", "sepsis", "--power", "0.9")``.
    folder : str
        Where uploaded files lie; problems name their files without it.
    """

    words: tuple[str, ...]
    want: Want = Want.NUMBERS
    folder: str = ""


@dataclass(frozen=True)
class Line:
    """One line or set of points of a figure."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: str
    points: bool  # marks without a line between them


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a figure, as numbers."""

    x_label: str
    y_label: str
    title: str
    lines: tuple[Line, ...]
    log_x: bool = False
    areas: tuple[tuple[tuple[float, float], ...], ...] = ()  # corners of what is shaded


@dataclass(frozen=True)
class Drawn:
    """One figure: its words, its numbers, and (when drawn) its files."""

    alt_text: str
    panels: tuple[Panel, ...]
    csv: str
    svg: str = ""
    png: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes
    ----------
    document : dict
        What ``--json`` prints; without rows where there are problems.
    figures : dict of name to Drawn
    problems : tuple of Problem
        Why there is no answer.
    """

    document: dict[str, Any] = field(default_factory=dict)
    json_text: str = ""
    csv_text: str = ""
    figures: dict[str, Drawn] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def answered(order: Order, progress: Callable[[float, float], None] | None = None) -> Answer:
    """Run one command as the command line does, and return what it hands over.

    The words are parsed by the command line's own parser and run by its own function, with
    ``--json``: what comes back is what it would print.
    """
    from trialsim.cli import answer as command_line
    from trialsim.cli.parser import parse

    received: list[HandedOver] = []
    printed = io.StringIO()
    try:
        options = parse([*order.words, "--json"])
        _in_one_process(options)
        with (
            command_line.handing_over_to(received.append, progress),
            redirect_stdout(printed),
            redirect_stderr(io.StringIO()),
        ):
            options.run(options)
        return _of_handed_over(received[0], order) if received else _of_text(printed.getvalue())
    except TrialsimError as error:
        return Answer(problems=tuple(_without_folder(p, order.folder) for p in error.problems))
    except SystemExit:
        return Answer(problems=(Problem("is not a command that answers", "Choose a room."),))


def _in_one_process(options: Namespace) -> None:
    """Keep a job in its process; the numbers are the same for any number of them."""
    if hasattr(options, "workers"):
        options.workers = 1


def _of_text(text: str) -> Answer:
    return Answer(json.loads(text), text)


def _of_handed_over(found: HandedOver, order: Order) -> Answer:
    text = found.document.to_json()
    if order.folder:
        text = text.replace(f"{order.folder}/", "")
    figures = {}
    if order.want is not Want.NUMBERS:
        figures = {
            name: _drawn(figure, name, alt_text, files=order.want is Want.FIGURES)
            for name, (figure, alt_text) in found.figures().items()
        }
    return Answer(json.loads(text), text, found.document.to_csv(), figures)


def _without_folder(problem: Problem, folder: str) -> Problem:
    """Name an uploaded file as its owner does."""
    if not folder:
        return problem
    given = {
        name: value.replace(f"{folder}/", "") if isinstance(value, str) else value
        for name, value in problem.as_dict().items()
    }
    return Problem(**given)  # type: ignore[arg-type]  # the same fields again


def _drawn(figure: Figure, name: str, alt_text: str, *, files: bool) -> Drawn:
    panels = _panels(figure)
    drawn = Drawn(alt_text, panels, _table(panels))
    if not files:
        return drawn
    return Drawn(alt_text, panels, drawn.csv, *drawn_files(figure, name, alt_text))


def drawn_files(figure: Figure, name: str, alt_text: str) -> tuple[str, bytes]:
    """Return a figure as SVG and PNG."""
    from trialsim.figures.style import house_style, save_svg

    svg, png = io.StringIO(), io.BytesIO()
    save_svg(figure, svg, name, alt_text)
    with house_style():
        named = {"Title": name, "Description": alt_text}
        figure.savefig(png, dpi=160.0, metadata=named, format="png")
    return svg.getvalue(), png.getvalue()


def _panels(figure: Figure) -> tuple[Panel, ...]:
    """Read the numbers off a figure, before it is drawn."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_hex

    panels = []
    for axes in figure.axes:
        lines = []
        for line in axes.lines:
            label = str(line.get_label())
            lines.append(
                Line(
                    "" if label.startswith("_") else label,
                    _numbers(line.get_xdata(orig=False)),
                    _numbers(line.get_ydata(orig=False)),
                    to_hex(line.get_color()),
                    line.get_linestyle() in ("None", "none", "", " "),
                )
            )
        title = axes.get_title() or axes.get_title(loc="left")
        shaded = [c for c in axes.collections if isinstance(c, PolyCollection)]
        areas: list[Any] = [
            path.vertices for collection in shaded for path in collection.get_paths()
        ]
        panels.append(
            Panel(
                axes.get_xlabel(),
                axes.get_ylabel(),
                title,
                tuple(lines),
                log_x=axes.get_xscale() == "log",
                areas=tuple(tuple((float(x), float(y)) for x, y in a) for a in areas),
            )
        )
    return tuple(panels)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _table(panels: Sequence[Panel]) -> str:
    """Return the numbers of a figure as CSV: panel, axes, line, x, y."""
    import csv

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("panel", "line", "label", "x_axis", "y_axis", "x", "y"))
    for number, panel in enumerate(panels, 1):
        for index, line in enumerate(panel.lines, 1):
            for x, y in zip(line.x, line.y, strict=True):
                words = (_inert(w) for w in (line.label, panel.x_label, panel.y_label))
                writer.writerow((number, index, *words, f"{x:.10g}", f"{y:.10g}"))
    return text.getvalue()


def _inert(text: str) -> str:
    """Keep a spreadsheet from running text as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "@", "-") else text


def serve(pipe: Connection) -> None:
    """Answer orders from a pipe until it closes; progress goes the same way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the server's
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _bounded_memory()
    import_module("trialsim.app.warm")  # there already where this process was forked
    from trialsim.engine.kept_draws import keeping_draws

    try:
        pipe.send(("ready",))
        with keeping_draws(MAX_KEPT_BYTES):  # of a dial that is turned, most stay as they were
            while True:
                pipe.send(("done", *_served(pipe, *pipe.recv())))
    except (EOFError, OSError):
        return  # the server is gone


def _served(pipe: Connection, what: str, order: Any) -> tuple[Any, str]:
    """Return an answer and no trouble, or none and what went wrong."""
    try:
        if what == "answer":
            return answered(order, lambda done, total: pipe.send(("progress", done, total))), ""
        module, _, name = what.rpartition(".")
        return getattr(import_module(module), name)(order), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _end_with_parent() -> None:
    """End a job whose server was killed: nobody could end it any more."""
    if server := multiprocessing.parent_process():
        server.join()
        os._exit(1)


def _bounded_memory() -> None:
    """Let one job's memory end that job and not the machine, where the system can."""
    if find_spec("resource"):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        bound = MAX_BYTES if most == resource.RLIM_INFINITY else min(MAX_BYTES, most)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, most))


def import_heavy() -> None:
    """Import what the rooms' commands need, so that no visitor waits for it."""
    for name in (
        *("trialsim.cli.commands", "trialsim.studies.size.planned", "trialsim.studies.power"),
        *("trialsim.studies.size.request", "trialsim.report.screens.size_screen"),
        *("trialsim.figures.power_curve", "trialsim.report.run_directory", "scipy.special"),
        *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    ):
        import_module(name)
