"""Funnels of one simulated literature: without flaws, and with flaws and a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trialsim.figures.published_synthesis import pooled_forest_figure
from trialsim.figures.style import BLUE, GREY, INK, house_style, new_figure, ratio_axis
from trialsim.kernels.pooling import Tables, effects
from trialsim.kernels.proportions import Scale
from trialsim.protocol.published.trials import Counts
from trialsim.protocol.scenario import OddsRatio
from trialsim.studies.literature.one_literature import OneOfTwo, SimulatedSynthesis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["literature_figures", "two_funnels_figure"]

Floats = NDArray[np.float64]

_Z95 = 1.959963984540054
_MARKS = (("o", BLUE), ("s", "white"))


def literature_figures(found: OneOfTwo) -> dict[str, tuple[Figure, str]]:
    """Return the funnels, and the forest by stratum of the literature with flaws."""
    return {
        "literature": two_funnels_figure(found),
        "literatureforest": pooled_forest_figure(found.reported),
    }


def two_funnels_figure(found: OneOfTwo) -> tuple[Figure, str]:
    """Return both funnels on the same axes, and an alternative text."""
    truth = _true_odds_ratio(found)
    hidden = [table for own in found.drawer for table in own]
    with house_style():
        figure = new_figure(11.0, 5.4)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        told = [_panel(left, found.honest, truth, [])]
        told.append(_panel(right, found.reported, truth, hidden))
        deepest = max(_errors(one).max() for one in (found.honest, found.reported))
        if hidden:
            deepest = max(deepest, _points(hidden)[1].max(initial=0.0))
        left.set_ylim(1.08 * deepest, 0.0)
        left.set_ylabel("standard error of the log odds ratio")
        ratio_axis(left)
        left.set_title(f"Every trial rigorous: {told[0]}", loc="left", fontsize=10)
        right.set_title(f"As '{found.conduct.id}': {told[1]}", loc="left", fontsize=10)
        for axes in (left, right):
            axes.set_xlabel("odds ratio; solid: pooled, dashed: the truth and its 95%", fontsize=9)
        right.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        title = f"One literature twice, the same luck; {found.scenario.title}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    drawer = f", {len(hidden)} not published" if hidden else ""
    words = f"{title}. Rigorous: {told[0]}. As '{found.conduct.id}': {told[1]}{drawer}."
    return figure, words


def _true_odds_ratio(found: OneOfTwo) -> float:
    effect = found.scenario.effect
    assert isinstance(effect, OddsRatio)  # as literatures are planned
    return effect.odds_ratio.value


def _panel(axes: Axes, one: SimulatedSynthesis, truth: float, hidden: list[Counts]) -> str:
    """Draw one funnel; return what it pools to."""
    whole = one.pooled
    y, se = whole.estimates[0], np.sqrt(whole.variances[0])
    depth = np.linspace(0.0, 1.1 * float(np.nanmax(se, initial=0.1)), 50)
    for sign in (-1, 1):
        edge = np.exp(np.log(truth) + sign * _Z95 * depth)
        axes.plot(edge, depth, color=GREY, lw=1.0, ls="--")
    axes.axvline(truth, color=INK, lw=1.0, ls="--")
    if hidden:
        x, error = _points(hidden)
        label = f"{len(hidden)} not published"
        axes.plot(np.exp(x), error, "x", color=GREY, ms=5, label=label)
    for (mark, colour), side in zip(_MARKS, one.sides, strict=False):
        own = np.array(side.chosen) & ~np.isnan(y)
        label = f"{one.by}: {side.label}"
        axes.plot(np.exp(y[own]), se[own], mark, color=colour, mec=INK, ms=7.5, label=label)
    value, low, high = (
        float(x[0]) for x in (whole.common.estimate, whole.common.lower, whole.common.upper)
    )
    if not np.isfinite([value, low, high]).all():
        return "no pooled estimate"
    axes.axvline(np.exp(value), color=INK, lw=1.4)
    return f"pooled {np.exp(value):.2f} ({np.exp(low):.2f} to {np.exp(high):.2f})"


def _errors(one: SimulatedSynthesis) -> Floats:
    se = np.sqrt(one.pooled.variances[0])
    return np.asarray(se[~np.isnan(se)])


def _points(tables: list[Counts]) -> tuple[Floats, Floats]:
    """Return log odds ratios and standard errors; without those that say nothing."""
    filled = [own for own in tables if own.n_treated and own.n_control]
    if not filled:
        return np.zeros(0), np.zeros(0)
    columns = np.array(filled, dtype=float).T[:, None, :]
    own = effects(Tables(*columns), Scale.ODDS_RATIO)
    known = ~np.isnan(own.estimates[0])
    return own.estimates[0, known], np.sqrt(own.variances[0, known])
