"""What each scenario of a time-to-event protocol takes to be true, drawn as survival curves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, INK, house_style, new_figure
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.scenario import Truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SurvivalPanel", "survival_figure", "survival_panel"]

_POINTS = 200
_COLUMNS = 3


@dataclass(frozen=True)
class SurvivalPanel:
    """One scenario.

    Attributes
    ----------
    truth : Truth
    until : float
        Days since entry.
    found : str
        The chance to find the effect, in words.
    """

    truth: Truth
    until: float
    found: str

    def curves(self) -> tuple[list[float], list[float], list[float]]:
        """Return months since entry, and survival under control and under treatment."""
        days = [self.until * i / _POINTS for i in range(_POINTS + 1)]
        risks = [self.truth.risks_on(day) for day in days]
        months = [day / DAYS_PER_UNIT["mo"] for day in days]
        return months, [1 - control for control, _ in risks], [1 - treated for _, treated in risks]


def survival_panel(axes: Axes, panel: SurvivalPanel, arms: tuple[str, str]) -> Axes:
    """Draw both arms' curves, named by (control, experimental)."""
    months, control, treated = panel.curves()
    axes.plot(months, control, color=INK, ls="--", lw=1.4, label=arms[0])
    axes.plot(months, treated, color=BLUE, lw=1.8, label=arms[1])
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, months[-1])
    title = textwrap.fill(f"{panel.truth.title}: {panel.truth.label}", 40)
    axes.set_title(f"{title}\n{panel.found}", loc="left", fontsize=9.5)
    return axes


def survival_figure(
    panels: Sequence[SurvivalPanel], arms: tuple[str, str], event: str
) -> tuple[Figure, str]:
    """Return the whole figure and its alternative text.

    Parameters
    ----------
    panels : sequence of SurvivalPanel
    arms : (control, experimental)
    event : str
        What survival is free of.
    """
    n_rows = ceil(len(panels) / _COLUMNS)
    n_columns = min(_COLUMNS, len(panels))
    with house_style():
        figure = new_figure(9.6, 0.6 + 2.9 * n_rows)
        drawn = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(drawn.flat, panels, strict=False):
            survival_panel(axes, panel, arms)
        for axes in list(drawn.flat)[len(panels) :]:
            axes.set_visible(False)
        for axes in drawn[-1]:
            axes.set_xlabel("months since entry")
        for axes in drawn[:, 0]:
            axes.set_ylabel("free of the event")
        drawn[0, 0].legend(frameon=False, fontsize=9)
        figure.suptitle(f"Taken to be true: time to {event}", x=0.01, ha="left", fontsize=11.5)
    parts = [f"Survival curves taken to be true, time to {event}."]
    for panel in panels:
        _, control, treated = panel.curves()
        parts.append(
            f"{panel.truth.title} ({panel.truth.label}): at the end {control[-1]:.2f} on "
            f"{arms[0]}, {treated[-1]:.2f} on {arms[1]}; {panel.found}."
        )
    return figure, " ".join(parts)
