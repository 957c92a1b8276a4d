"""Published effects side by side: trials from their counts, pools as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trialsim.figures.style import GREY, INK, ORANGE, house_style, new_figure, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ForestLine", "forest_figure", "forest_lines", "forest_panel"]


@dataclass(frozen=True)
class ForestLine:
    """One published effect with its interval, on the natural scale."""

    label: str
    value: float
    lower: float
    upper: float
    pooled: bool
    status: str


def forest_lines(
    observed: Sequence[Mapping[str, Any]], titles: Mapping[str, str]
) -> dict[str, list[ForestLine]]:
    """Return the estimates that have an interval, by scale, from rows of a document.

    Parameters
    ----------
    observed : sequence of row
        The part ``observed`` of a document.
    titles : mapping of str to str
        Of records, by id; a record without one is called by its id.
    """
    found: dict[str, list[ForestLine]] = {}
    for row in observed:
        drawable = row.get("lower") is not None and row.get("scale") and row.get("evidence")
        if row["measure"] != "estimate" or not drawable:
            continue
        line = ForestLine(
            titles.get(row["evidence"], row["evidence"]),
            row["value"],
            row["lower"],
            row["upper"],
            row.get("analysis") == "pooled",
            row.get("status", ""),
        )
        found.setdefault(row["scale"], []).append(line)
    return found


def forest_panel(
    axes: Axes, lines: Sequence[ForestLine], *, ratio: bool, none_at: float | None
) -> Axes:
    """Draw effects from top to bottom: squares for trials, diamonds for pools."""
    for y, line in enumerate(lines):
        colour = INK if line.pooled else ORANGE
        axes.plot([line.lower, line.upper], [y, y], color=colour, lw=1.4)
        axes.plot([line.value], [y], "D" if line.pooled else "s", color=colour, ms=7)
        weak = f", {line.status.upper()}" if line.status in ("document", "unverified") else ""
        words = f"{line.value:.2f} ({line.lower:.2f} to {line.upper:.2f}){weak}"
        axes.text(1.01, y, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    if none_at is not None:
        axes.axvline(none_at, color=GREY, lw=0.8, ls=":")
    axes.set_yticks(list(range(len(lines))), [line.label for line in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    if ratio:
        ratio_axis(axes)
    return axes


def forest_figure(lines: Sequence[ForestLine], scale: str) -> tuple[Figure, str]:
    """Return the figure and its alternative text; `scale` names the measure."""
    crossing = sum(line.lower <= 1 <= line.upper for line in lines)
    ratio = "ratio" in scale.split()
    none_at = 1.0 if ratio else 0.0 if "difference" in scale else None
    title = f"{len(lines)} published effect{'s' if len(lines) > 1 else ''}"
    if ratio:
        title += f"; the intervals of {crossing} hold no effect (1)"
    with house_style():
        figure = new_figure(9.6, 1.2 + 0.4 * len(lines))
        axes = figure.subplots()
        forest_panel(axes, lines, ratio=ratio, none_at=none_at)
        compared = ", treated to control" if none_at is not None else ""
        axes.set_xlabel(f"{scale}{compared}; squares: trials, diamonds: pooled")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    each = "; ".join(f"{x.label} {x.value:.2f} ({x.lower:.2f} to {x.upper:.2f})" for x in lines)
    return figure, f"{title}. {each}."
