"""What waiting longer costs: the trials that find an effect at each horizon, by time and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, house_style, new_figure
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.studies.horizons.followup import PlannedFollowUp

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FrontierPoint", "frontier_axes", "frontier_figure", "frontier_of"]


@dataclass(frozen=True)
class FrontierPoint:
    """A trial that ends at a horizon, of the size wanted there.

    Attributes
    ----------
    horizon : str
        On both clocks.
    per_arm : int
    x, y : float
        On the axes of `frontier_axes`; both better where smaller.
    undominated : bool
        No other horizon is as good in both and better in one.
    """

    horizon: str
    per_arm: int
    x: float
    y: float
    undominated: bool


def frontier_axes(planned: PlannedFollowUp) -> tuple[str, str, str]:
    """Return what the axes show, and what is missing for months and cost in words."""
    template, missing = planned.resolved.template, []
    x, y = "months, first patient in to last read-out", "patients per arm"
    if template.nature.enrolment is None:
        x = "months of follow-up after entry"
        missing.append("nature.enrolment is not stated: follow-up alone is counted as time.")
    if template.cost is None:
        missing.append("No cost: block is stated: patients per arm stand for it.")
    elif template.nature.enrolment is not None:
        y = f"cost, {template.cost.currency} of {template.cost.year}"
    return x, y, " ".join(missing)


def frontier_of(planned: PlannedFollowUp, scenario: int) -> tuple[FrontierPoint, ...]:
    """Return the horizons of a scenario at which some size has the power wanted."""
    found = []
    for design in planned.designs(scenario):
        if design.per_arm is None:
            continue
        months = design.months
        x = design.horizon.day / DAYS_PER_UNIT["mo"] if months is None else months
        y = float(design.per_arm) if design.cost is None else design.cost
        found.append((planned.in_words(design.horizon), design.per_arm, x, y))
    return tuple(FrontierPoint(*own, not _beaten(own[2:], found)) for own in found)


def _beaten(own: tuple[float, float], found: Sequence[tuple[str, int, float, float]]) -> bool:
    return any(x <= own[0] and y <= own[1] and (x, y) != own for _, _, x, y in found)


def _panel(axes: Axes, points: Sequence[FrontierPoint], labels: tuple[str, str]) -> None:
    from matplotlib.lines import Line2D

    joined = sorted((p.x, p.y) for p in points if p.undominated)
    axes.plot([x for x, _ in joined], [y for _, y in joined], "-", color=BLUE, lw=1.6)
    names = []
    for number, point in enumerate(points, start=1):
        mark, fill, ink = ("o", BLUE, "white") if point.undominated else ("s", "white", INK)
        edge = BLUE if point.undominated else GREY
        axes.plot([point.x], [point.y], mark, mfc=fill, mec=edge, ms=12)
        axes.text(point.x, point.y, f"{number}", color=ink, fontsize=8, ha="center", va="center")
        words = f"{number}  {point.horizon}; {point.per_arm:,} per arm"
        names.append(Line2D([], [], ls="", label=words))
    axes.legend(
        handles=names,
        fontsize=8,
        frameon=False,
        handlelength=0,
        handletextpad=0,
        loc="upper left",
        bbox_to_anchor=(0, -0.16),
    )
    axes.margins(x=0.1)
    axes.set_ylim(0, 1.15 * max(p.y for p in points))
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def frontier_figure(planned: PlannedFollowUp) -> tuple[Figure, str]:
    """Return the figure, one panel per scenario, and its alternative text."""
    x, y, missing = frontier_axes(planned)
    power = f"{100 * planned.request.power:g}% power"
    title = f"Trials of {power}, by where they are read out: time and what they take"
    all_points = [(s.id, frontier_of(planned, i)) for i, s in enumerate(planned.scenarios)]
    powered = [(name, points) for name, points in all_points if points]
    never = ", ".join(name for name, points in all_points if not points)
    nowhere = f"{never}: no horizon has an effect that any size would find." if never else ""
    with house_style():
        columns = min(max(len(powered), 1), 2)
        rows = max(1, -(-len(powered) // columns))
        figure = new_figure(5.4 * columns, 4.2 * rows + 0.5 if powered else 1.0)
        for index, (name, points) in enumerate(powered):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.set_title(name, loc="left", fontsize=10)
            _panel(axes, points, (x, y))
        shown = "\n".join(line for line in (title, missing, nowhere) if line)
        figure.suptitle(shown, x=0.01, ha="left", fontsize=10.5)
    best = [
        f"{name}: {', '.join(p.horizon for p in points if p.undominated)}."
        for name, points in powered
    ]
    joined = "Filled and joined: no other horizon is both sooner and cheaper; open: one is."
    return figure, " ".join(part for part in (f"{title}.", missing, nowhere, joined, *best) if part)
