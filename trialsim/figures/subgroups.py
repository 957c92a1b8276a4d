"""Forest by subgroup: what simulated trials show in every level, beside what is true there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SubgroupLine", "SubgroupPanel", "subgroup_figure", "subgroup_panel"]

_MOST_PANELS = 12


@dataclass(frozen=True)
class SubgroupLine:
    """One subgroup, on the natural scale.

    Attributes
    ----------
    label : str
    estimate, lower, upper : float
        Median and central 95% of simulated estimates; published, the estimate and its interval.
    true : float or None
        None where published.
    words : str
        Said beside it.
    """

    label: str
    estimate: float
    lower: float
    upper: float
    true: float | None
    words: str


@dataclass(frozen=True)
class SubgroupPanel:
    """The subgroups of one scenario, or of a published trial."""

    title: str
    lines: tuple[SubgroupLine, ...]


def subgroup_panel(axes: Axes, panel: SubgroupPanel, *, ratio: bool) -> Axes:
    """Draw subgroups from top to bottom: a bar for 95% of trials, a bar across it for the truth."""
    for y, line in enumerate(panel.lines):
        colour = ORANGE if line.true is None else BLUE
        axes.plot([line.lower, line.upper], [y, y], color=colour, lw=1.4)
        axes.plot([line.estimate], [y], "s" if line.true is None else "o", color=colour, ms=5.5)
        if line.true is not None:
            axes.plot([line.true, line.true], [y - 0.3, y + 0.3], color=INK, lw=1.6)
        axes.text(
            1.01, y, line.words, transform=axes.get_yaxis_transform(), va="center", fontsize=8
        )
    axes.axvline(1.0 if ratio else 0.0, color=GREY, lw=0.8, ls=":")
    axes.set_yticks(range(len(panel.lines)), [line.label for line in panel.lines], fontsize=8.5)
    axes.set_ylim(len(panel.lines) - 0.4, -0.6)
    axes.set_title(panel.title, loc="left", fontsize=9.5)
    if ratio:
        ratio_axis(axes)
    return axes


def subgroup_figure(panels: Sequence[SubgroupPanel], scale: str) -> tuple[Figure, str]:
    """Return the figure and its alternative text; `scale` names the measure.

    At most twelve panels are drawn, the first ones.
    """
    shown = panels[:_MOST_PANELS]
    left_out = len(panels) - len(shown)
    title = "Effect by subgroup: simulated trials, and what is true"
    title += f" ({left_out} more scenarios in the table)" if left_out else ""
    rows, columns = -(-len(shown) // 2), min(2, len(shown))
    most = max(len(panel.lines) for panel in shown)
    with house_style():
        figure = new_figure(5.6 * columns, 0.7 + rows * (0.6 + 0.24 * most))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        ratio = "difference" not in scale
        for axes, panel in zip(grid.flat, shown, strict=False):
            subgroup_panel(axes, panel, ratio=ratio)
            axes.tick_params(labelbottom=True)
        for axes in list(grid.flat)[len(shown) :]:
            axes.set_visible(False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
        figure.supxlabel(
            f"{scale}, treated to control; dot and line: median and 95% of simulated estimates; "
            "bar: true; square: published with its interval",
            fontsize=8.5,
        )
    told = [
        f"{panel.title}: "
        + "; ".join(
            f"{x.label} {x.estimate:.2f} ({x.lower:.2f} to {x.upper:.2f})" for x in panel.lines
        )
        for panel in shown
    ]
    return figure, f"{title}. {'. '.join(told)}."
