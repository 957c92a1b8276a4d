"""The funnel of the room Bias lab as files: drawn in a process of its own, and its table."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.app.lab_charts import Scale, Trial, is_finite
from trialsim.app.worker import Drawn, drawn_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FunnelOrder", "funnel_files"]

_Z95 = 1.959963984540054
_COLUMNS = (
    *("order", "trial", "patients", "scale", "truth", "planned", "planned_se", "reported"),
    *("reported_se", "published", "command"),
)


@dataclass(frozen=True)
class FunnelOrder:
    """A funnel to be drawn.

    Attributes
    ----------
    trials : tuple of Trial
        In the order they appear.
    truth : float
        The true effect, on the analysis scale.
    title : str
    commands : tuple of str
        Which repeat it; `Trial.of` says which of them a trial is of.
    """

    trials: tuple[Trial, ...]
    truth: float
    title: str
    scale: Scale
    commands: tuple[str, ...]


def funnel_files(order: FunnelOrder) -> Drawn:
    """Return the funnel as SVG, PNG and CSV: left as planned, right the same trials as reported."""
    told = " ".join((f"{order.title}.", "Commands:", *(f"{c};" for c in order.commands)))
    svg, png = drawn_files(_figure(order), "funnel", told.rstrip(";"))
    return Drawn(told.rstrip(";"), (), _table(order), svg, png)


def _figure(order: FunnelOrder) -> Figure:
    from trialsim.figures.style import house_style, new_figure

    seen = [pair for t in order.trials for pair in (t.planned, t.reported) if is_finite(pair)]
    most = 1.05 * max((se for _, se in seen), default=1.0)
    low = min([order.truth - _Z95 * most, *(x for x, _ in seen)])
    high = max([order.truth + _Z95 * most, *(x for x, _ in seen)])
    low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    with house_style():
        figure = new_figure(9.6, 5.0 + 0.13 * len(order.commands))
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, when in zip(panels, ("as planned", "as reported"), strict=True):
            _panel(axes, order, when, most)
        marks = order.scale.ticks(low, high)
        panels[0].set_xticks([x for x, _ in marks], [label for _, label in marks])
        panels[0].set_xlim(low, high)
        panels[0].set_ylim(most, 0.0)
        panels[0].set_ylabel("standard error")
        repeat = "\n".join(
            line for c in order.commands for line in textwrap.wrap(c, 150, subsequent_indent="  ")
        )
        figure.supxlabel(repeat, x=0.01, ha="left", fontsize=6.5, family="monospace")
        title = f"{order.title}; true {order.scale.name} {order.scale.told(order.truth)}, dashed"
        figure.suptitle("\n".join(textwrap.wrap(title, 110)), x=0.01, ha="left", fontsize=10.5)
    return figure


def _panel(axes: Axes, order: FunnelOrder, when: str, most: float) -> None:
    from trialsim.figures.style import GREY, INK, ORANGE

    reported, truth = when == "as reported", order.truth
    axes.fill([truth, truth + _Z95 * most, truth - _Z95 * most], [0, most, most], GREY, alpha=0.2)
    axes.axvline(truth, color=INK, lw=1.0, ls="--")
    for trial in order.trials:
        if not (is_finite(trial.planned) and is_finite(trial.reported)):
            continue
        colour, own = (ORANGE, trial.reported) if reported else (INK, trial.planned)
        face = colour if trial.published or not reported else "none"
        axes.plot(*own, "o", ms=4.5, color=colour, mfc=face)
    hollow = "; hollow: not published" if reported else ""
    axes.set_title(f"{when}{hollow}", loc="left", fontsize=10)
    axes.set_xlabel(order.scale.name)


def _table(order: FunnelOrder) -> str:
    """Return one line a trial: effects as shown, standard errors on the analysis scale."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    natural = order.scale.natural
    for place, t in enumerate(order.trials, 1):
        (x0, se0), (x1, se1) = t.planned, t.reported
        numbers = (natural(order.truth), natural(x0), se0, natural(x1), se1)
        told = [f"{x:.10g}" if math.isfinite(x) else "" for x in numbers]
        writer.writerow(
            (
                *(place, t.number, t.patients, order.scale.name, *told, int(t.published)),
                order.commands[t.of],
            )
        )
    return text.getvalue()
