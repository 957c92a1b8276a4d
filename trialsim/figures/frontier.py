"""What waiting longer costs: the trials that find an effect at each horizon, by time and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, house_style, new_figure
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.studies.followup import PlannedFollowUp

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
    joined = sorted((p.x, p.y) for p in points if p.undominated)
    axes.plot([x for x, _ in joined], [y for _, y in joined], "-", color=BLUE, lw=1.6)
    for best, mark, fill in ((True, "o", BLUE), (False, "s", "white")):
        own = [p for p in points if p.undominated is best]
        edge = BLUE if best else GREY
        axes.plot([p.x for p in own], [p.y for p in own], mark, mfc=fill, mec=edge, ms=7)
    high = max(p.y for p in points)
    close = 0.11 * high
    left, right = min(p.x for p in points), max(p.x for p in points)
    span = max(right - left, 0.2 * right, 1.0)
    axes.set_xlim(left - 0.08 * span, right + 0.75 * span)  # room for the labels
    axes.set_ylim(0, 1.15 * high)
    above = float("inf")
    for point in sorted(points, key=lambda p: -p.y):  # labels of near points step down
        y = min(point.y, above - close)
        words = point.horizon.replace(" = ", "\n= ") + f"; {point.per_arm:,} per arm"
        axes.annotate(
            words,
            (point.x, point.y),
            (point.x + 0.05 * span, y),
            fontsize=7.5,
            va="center",
            color=INK,
            linespacing=1.1,
        )
        above = y
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
        figure = new_figure(5.4 * columns, 3.6 * rows + 0.5 if powered else 1.0)
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
