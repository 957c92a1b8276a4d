"""A fitted course with the points it was fitted to, and how sharply they tell each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.kernels.likelihood import CHI_SQUARE_1
from trialsim.kernels.proportions import wilson_interval
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.studies.fitted.calibration import PlannedCalibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_figure", "fit_panel", "profile_panel"]

_STYLES = ("-", "--", ":", "-.")
_Z95 = 1.959963984540054


def fit_panel(axes: Axes, planned: PlannedCalibration) -> Axes:
    """Draw both fitted courses, and published shares with Wilson intervals."""
    per = DAYS_PER_UNIT["mo"]
    ends = [end for end, _ in (*planned.model.control, *planned.model.treated)]
    days = np.linspace(0, 1.05 * max(*ends, planned.points.last_day), 121)
    for arm, colour in (("control", GREY), ("treated", BLUE)):
        share = planned.model.response(arm, planned.fitted, days)[0]
        axes.plot(days / per, 100 * share, color=colour, lw=1.8, label=f"{arm}, fitted")
    for arm, fill, shift in (("control", "white", -0.15), ("treated", ORANGE, 0.15)):
        own = [p for p in planned.counts if p.arm == arm]
        if not own:
            continue
        seen = np.array([p.events / p.n for p in own])
        ends_of = [wilson_interval(p.events, p.n, _Z95) for p in own]
        low, high = (np.array([float(pair[side]) for pair in ends_of]) for side in (0, 1))
        axes.errorbar(
            [p.day / per + shift for p in own],
            100 * seen,
            yerr=100 * np.abs(np.array([seen - low, high - seen])),
            fmt="o",
            color=INK,
            mfc=fill,
            ms=6,
            lw=1,
            label=f"{arm}, published",
        )
    axes.set_xlabel("months since entry")
    axes.set_ylabel("% of patients")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return axes


def profile_panel(axes: Axes, planned: PlannedCalibration) -> Axes:
    """Draw twice the log-likelihood lost along every rate; 3.84 bounds the 95% interval."""
    for number, (p, values, lost) in enumerate(planned.profiles()):
        scale = DAYS_PER_UNIT["mo"] if p.is_delay else 1.0
        style = _STYLES[number % len(_STYLES)]
        unit = "months" if p.is_delay else p.unit
        colour = GREY if p.arm == "control" else BLUE if p.arm == "treated" else ORANGE
        axes.plot(values / scale, lost, style, color=colour, label=f"{p.name}, {unit}")
    axes.axhline(CHI_SQUARE_1, color=INK, lw=0.8)
    axes.set_ylim(0, 8)
    axes.set_xlabel("value")
    axes.set_ylabel("twice the log-likelihood lost")
    axes.legend(frameon=False, fontsize=8)
    return axes


def calibration_figure(planned: PlannedCalibration) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    title = f"{planned.resolved.template.protocol.primary.event}: {planned.scenario.id}, fitted"
    with house_style():
        figure = new_figure(10.4, 4.4)
        left, right = figure.subplots(1, 2)
        fit_panel(left, planned)
        profile_panel(right, planned)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    said = "; ".join(f"{p.record} {p.result}, {p.arm}: {p.seen}" for p in planned.points.points)
    return figure, (
        f"{title}. Left: fitted courses, grey control and blue treated, with published shares. "
        f"Right: profile likelihoods; the line at 3.84 bounds 95% intervals. Points: {said}."
    )
