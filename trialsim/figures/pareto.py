"""What designs buy: power against months and cost, the undominated ones marked, one chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialsim.errors import counted
from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.protocol.optimisation import Quantity
from trialsim.studies.operations.optimisation import PlannedOptimisation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["pareto_figure"]


def pareto_figure(planned: PlannedOptimisation) -> tuple[Figure, str]:
    """Return the figure and its alternative text: a panel for each objective but the first."""
    first, *others = planned.objectives
    title = f"{counted(len(planned.designs), 'design')}: {first} and what it takes"
    with house_style():
        figure = new_figure(4.1 * len(others), 4.4)
        panels = figure.subplots(1, len(others), squeeze=False)[0]
        for axes, quantity in zip(panels, others, strict=True):
            _panel(axes, planned, quantity, first)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, fontsize=9, loc="outside lower left", ncol=5)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    chosen = planned.chosen
    facts = ", ".join(planned.shown(own, chosen.worst(own)) for own in planned.objectives)
    return figure, (
        f"{title}. Grey: dominated; open blue: not dominated, misses a constraint; blue: not "
        f"dominated and meets every constraint; orange: chosen, "
        f"{chosen.design.in_words()}: {facts}."
    )


def _panel(axes: Axes, planned: PlannedOptimisation, across: Quantity, up: Quantity) -> None:
    def xy(mask: list[bool]) -> tuple[list[float], list[float]]:
        some = [judged for judged, kept in zip(planned.designs, mask, strict=True) if kept]
        scale = 100 if up is Quantity.POWER else 1
        return [j.worst(across) for j in some], [scale * j.worst(up) for j in some]

    on, ok = planned.on_front, planned.feasible
    axes.plot(*xy(list(~on)), ".", color=GREY, ms=3, alpha=0.5, label="dominated")
    if planned.constraints:
        axes.plot(*xy(list(on & ~ok)), "o", mfc="white", mec=BLUE, ms=4, lw=0.6,
                  label="not dominated, misses a constraint")  # fmt: skip
    kept = "not dominated, meets every constraint" if planned.constraints else "not dominated"
    axes.plot(*xy(list(on & ok)), "o", color=BLUE, ms=4, label=kept)
    chosen = planned.chosen
    scale = 100 if up is Quantity.POWER else 1
    at = chosen.worst(across), scale * chosen.worst(up)
    axes.plot([at[0]], [at[1]], "D", color=ORANGE, mec=INK, ms=8, label="chosen")
    for constraint in planned.constraints:
        if constraint.quantity is across:
            axes.axvline(constraint.bound, color=INK, lw=0.8, ls=":")
        elif constraint.quantity is up:
            axes.axhline(scale * constraint.bound, color=INK, lw=0.8, ls=":")
    axes.set_xlabel(_label(planned, across))
    axes.set_ylabel("power, %" if up is Quantity.POWER else _label(planned, up))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="x", labelrotation=30)


def _label(planned: PlannedOptimisation, quantity: Quantity) -> str:
    cost = planned.resolved.template.cost
    if quantity in (Quantity.COST, Quantity.EXPECTED_COST) and cost:
        return f"{quantity}, {cost.currency} of {cost.year}"
    if quantity is Quantity.WORSE_ARM:
        return "patients expected in the worse arm"
    return str(quantity)
