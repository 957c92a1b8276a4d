"""What the students of a class found, one dot each, and all of it pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trialsim.engine.reported_tables import ReportedTables
from trialsim.figures.style import GREY, INK, ORANGE, house_style, new_figure, ratio_axis
from trialsim.studies.literature.classroom import Class, ClassTrials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["class_figure"]

_MOST_LINES = 60  # students with a line of their own; beyond it the first
_WIDEST = 30.0  # ratios further than this from none run off the axis


def class_figure(planned: Class, trials: ClassTrials) -> tuple[Figure, str]:
    """Return the figure, one panel as planned and one as reported, and its alternative text."""
    n = min(trials.n, _MOST_LINES)
    both = [("as planned", trials.planned)]
    if planned.is_flawed:
        both.append(("as reported", trials.reported))
    told = []
    with house_style():
        figure = new_figure(5.4 * len(both) + 0.6, 2.0 + 0.155 * n)
        panels = figure.subplots(1, len(both), sharey=True, sharex=True, squeeze=False)[0]
        for axes, (when, found) in zip(panels, both, strict=True):
            told.append(_panel(axes, planned, trials, found, when, n))
        panels[0].set_ylabel("student")
        if trials.plan.summary.is_ratio:
            ratio_axis(panels[0])
        shown = "" if n == trials.n else f" (the first {n} shown)"
        title = f"A class of {trials.n:,}{shown}; in truth {planned.truth.label}, dashed"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}. {' '.join(told)}"


def _panel(
    axes: Axes, planned: Class, trials: ClassTrials, found: ReportedTables, when: str, n: int
) -> str:
    """Draw one panel; return it in words."""
    ratio = trials.plan.summary.is_ratio
    favour, against = trials.hands(found)
    out = trials.published if when == "as reported" else np.ones(trials.n, dtype=bool)
    y, low, high = (
        _natural(x[:, -1], ratio)
        for x in (found.results.estimate, found.results.lower, found.results.upper)
    )
    ends = (1 / _WIDEST, _WIDEST) if ratio else (-1.0, 1.0)
    for i in np.flatnonzero(~found.results.failed[:n, -1]):
        reach = np.clip([low[i], high[i]], *ends)
        axes.plot(
            reach, [i + 1] * 2, color=INK if out[i] else GREY, lw=0.8, ls="-" if out[i] else ":"
        )
        sure = favour[i] or against[i]
        axes.plot(
            np.clip(y[i], *ends),
            i + 1,
            "D" if favour[i] else "s" if against[i] else "o",
            color=ORANGE if favour[i] else INK if against[i] else "white",
            mec=INK if out[i] else GREY,
            ms=5.5 if sure else 4.5,
            zorder=3,
        )
    words, place = [], n + 2.0
    pools = [("all", trials.pooled(found))]
    if not out.all():
        pools.append(("published", trials.pooled(found, out)))
    for name, pooled in pools:
        one = [
            float(x[0]) for x in (pooled.common.estimate, pooled.common.lower, pooled.common.upper)
        ]
        if not np.isfinite(one).all():
            continue
        value, left, right = (float(_natural(np.array(x), ratio)) for x in one)
        axes.fill(
            [left, value, right, value],
            [place, place - 0.6, place, place + 0.6],
            facecolor=INK if name == "all" else "white",
            edgecolor=INK,
        )
        said = f"{name}, {pooled.n_trials}, pooled: {value:.2f} ({left:.2f} to {right:.2f})"
        axes.text(ends[1], place, f"{said} ", ha="right", va="center", fontsize=8.5)
        words.append(said)
        place += 2
    axes.axvline(1.0 if ratio else 0.0, color=GREY, lw=0.8)
    axes.axvline(float(_natural(np.array(planned.theta), ratio)), color=INK, lw=1.0, ls="--")
    axes.set_xlim(*ends)
    axes.set_ylim(place, 0)
    hands = f"hands up {favour.sum()}, against {against.sum()}"
    name = when if when == "as planned" else f"{when}, '{planned.conduct.id}'"
    axes.set_title(f"{name[0].upper()}{name[1:]}: {hands}", loc="left", fontsize=10)
    axes.set_xlabel(
        f"{trials.plan.summary}; filled: significant, diamond in favour, square against"
        + ("\ndotted and grey: not published" if not out.all() else ""),
        fontsize=9,
    )
    return f"{name}: {hands}; {'; '.join(words)}."


def _natural(values: NDArray[np.float64], ratio: bool) -> NDArray[np.float64]:
    return np.exp(np.clip(values, -700, 700)) if ratio else values
