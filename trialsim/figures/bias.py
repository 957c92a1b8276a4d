"""Bias: the way from truth to publication, or the dial of one flaw."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.studies.bias import PlannedBias
from trialsim.trial import Measure, Row, StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bias_figure"]


def bias_figure(planned: PlannedBias, result: StudyResult) -> tuple[Figure, str]:
    """Return the figure, one panel per scenario, and its alternative text."""
    told = []
    n = len(planned.scenarios)
    with house_style():
        figure = new_figure(9.6, 1.0 + n * (1.1 + 0.32 * (len(planned.mechanisms) + 2)))
        every = figure.subplots(n, 1, squeeze=False, sharex=True)[:, 0]
        for axes, scenario in zip(every, planned.scenarios, strict=True):
            rows = [row for row in result.rows if row.scenario == scenario.id]
            axes.set_title(f"{scenario.title} ({scenario.id})", loc="left", fontsize=10.5)
            draw = _dial if planned.only else _steps
            told.append(f"{scenario.id}: {draw(axes, planned, rows)}")
        title = (
            f"{planned.only} at rising strength" if planned.only else "From truth to publication"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}, conduct {planned.conduct.id}. {'. '.join(told)}."


def _steps(axes: Axes, planned: PlannedBias, rows: Sequence[Row]) -> str:
    ratio = planned.job.plans[0].summary.is_ratio
    bars = [row for row in rows if row.measure is Measure.ATTRIBUTION]
    means = [row for row in rows if row.measure is Measure.ESTIMATE_MEAN]
    back = exp if ratio else float
    at = (means[-1].value or 0.0) - sum(row.value or 0.0 for row in bars)
    labels, words = ["the truth"], [f"truth {back(at):.3g}"]
    axes.plot([back(at)], [0], "D", color=BLUE, ms=7)
    for y, row in enumerate(bars, start=1):
        start, at = back(at), at + (row.value or 0.0)
        axes.barh(
            y, back(at) - start, left=start, height=0.6, facecolor=ORANGE, edgecolor=INK, lw=0.8
        )
        axes.plot([back(at)] * 2, [y - 0.3, y + 1.0], color=GREY, lw=0.8)
        shown = f"{back(row.value or 0.0):.3f}" if ratio else f"{row.value or 0.0:+.3f}"
        shown = f"x {shown}" if ratio else shown
        axes.text(1.01, y, shown, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        labels.append(str(row.mechanism))
        words.append(f"{row.mechanism} {shown}")
    axes.plot([back(at)], [len(labels)], "D", color=INK, ms=7)
    words.append(f"published {back(at):.3g}")
    axes.set_yticks(list(range(len(labels) + 1)), [*labels, "published"])
    axes.set_ylim(len(labels) + 0.6, -0.6)
    axes.axvline(1.0 if ratio else 0.0, color=INK, lw=0.8, ls=":")
    axes.margins(x=0.06)
    axes.set_xlabel(f"{planned.job.plans[0].summary}, mean of the trials published")
    return ", ".join(words)


def _dial(axes: Axes, planned: PlannedBias, rows: Sequence[Row]) -> str:
    ratio = planned.job.plans[0].summary.is_ratio
    back = exp if ratio else float
    own = [r for r in rows if r.measure is Measure.ESTIMATE_MEAN and r.strength is not None]
    x = [row.strength or 0.0 for row in own]
    y = [back(row.value or 0.0) for row in own]
    none = next(r for r in rows if r.measure is Measure.ESTIMATE_MEAN and r.strength is None)
    axes.axhline(back(none.value or 0.0), color=GREY, lw=1.0, ls=":")
    axes.plot(x, y, "o-", color=ORANGE, mec=INK)
    axes.set_xlabel(f"strength of {planned.only}")
    axes.set_ylabel(f"{planned.job.plans[0].summary}, mean")
    axes.set_xlim(0, max(*x, 0.01) * 1.02)
    return ", ".join(f"at {a:g} {b:.3g}" for a, b in zip(x, y, strict=True))
