"""Bias: the way from truth to publication, or the dial of one flaw."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.studies.conduct.bias import PlannedBias
from trialsim.trial import Measure, Row, StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bias_figure"]

_Z95 = 1.96


def bias_figure(planned: PlannedBias, result: StudyResult) -> tuple[Figure, str]:
    """Return the figure, one panel per scenario, and its alternative text."""
    told = []
    n = len(planned.scenarios)
    with house_style():
        height = 2.4 if planned.only else 0.9 + 0.32 * (len(planned.mechanisms) + 2)
        figure = new_figure(9.6, 1.0 + n * height)
        every = figure.subplots(n, 1, squeeze=False, sharex=True)[:, 0]
        for axes, scenario in zip(every, planned.scenarios, strict=True):
            rows = [row for row in result.rows if row.scenario == scenario.id]
            axes.set_title(f"{scenario.title} ({scenario.id})", loc="left", fontsize=10.5)
            draw = _dial if planned.only else _steps
            told.append(f"{scenario.id}: {draw(axes, planned, rows)}")
            axes.label_outer()
        title = (
            f"{planned.only} at rising strength" if planned.only else "From truth to publication"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}, conduct {planned.conduct.id}. {'. '.join(told)}."


def _steps(axes: Axes, planned: PlannedBias, rows: Sequence[Row]) -> str:
    """Draw bars that lead from the truth to publication; hatched where they favour treatment."""
    plan = planned.job.plans[0]
    ratio, benefit = plan.summary.is_ratio, plan.benefit
    bars = [row for row in rows if row.measure is Measure.ATTRIBUTION]
    means = [row for row in rows if row.measure is Measure.ESTIMATE_MEAN]
    back = exp if ratio else float
    at = (means[-1].value or 0.0) - sum(row.value or 0.0 for row in bars)
    labels, words = ["the truth"], [f"truth {back(at):.3g}"]
    axes.plot([back(at)], [0], "D", color="white", mec=INK, mew=1.4, ms=8)
    for y, row in enumerate(bars, start=1):
        moved, error = row.value or 0.0, _Z95 * (row.mcse or 0.0)
        start, at = back(at), at + moved
        favours = moved * benefit > 0
        axes.barh(
            y,
            back(at) - start,
            left=start,
            height=0.6,
            facecolor=ORANGE if favours else BLUE,
            hatch="////" if favours else None,
            edgecolor=INK,
            lw=0.8,
        )
        axes.plot([back(at - error), back(at + error)], [y, y], color=INK, lw=1.6)
        axes.plot([back(at)], [y], "|", color=INK, ms=9, mew=1.6)
        axes.plot([back(at)] * 2, [y + 0.3, y + 0.7], color=GREY, lw=0.8)
        shown = f"{back(moved):.3f}" if ratio else f"{moved:+.3f}"
        shown = f"x {shown}" if ratio else shown
        axes.text(1.01, y, shown, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        labels.append(str(row.mechanism))
        words.append(f"{row.mechanism} {shown}")
    axes.plot([back(at)], [len(labels)], "D", color=INK, ms=8)
    words.append(f"published {back(at):.3g}")
    axes.set_yticks(list(range(len(labels) + 1)), [*labels, "published"])
    axes.set_ylim(len(labels) + 0.6, -0.6)
    axes.axvline(1.0 if ratio else 0.0, color=INK, lw=0.8, ls=":")
    axes.use_sticky_edges = False
    axes.margins(x=0.06)
    axes.set_xlabel(
        f"{plan.summary}, mean of the trials published. Hatched: towards benefit; "
        "plain: away from it; lines: 1.96 Monte Carlo errors"
    )
    return ", ".join(words)


def _dial(axes: Axes, planned: PlannedBias, rows: Sequence[Row]) -> str:
    """Draw the mean at every strength, beside the truth and trials without the flaw."""
    ratio = planned.job.plans[0].summary.is_ratio
    back = exp if ratio else float
    own = [r for r in rows if r.measure is Measure.ESTIMATE_MEAN and r.strength is not None]
    x = [row.strength or 0.0 for row in own]
    y = [back(row.value or 0.0) for row in own]
    none = next(r for r in rows if r.measure is Measure.ESTIMATE_MEAN and r.strength is None)
    apart = next(r for r in rows if r.measure is Measure.BIAS and r.strength is None)
    truth = back((none.value or 0.0) - (apart.value or 0.0))
    reach = [_Z95 * (row.mcse or 0.0) for row in own]
    low = [back((r.value or 0.0) - e) for r, e in zip(own, reach, strict=True)]
    high = [back((r.value or 0.0) + e) for r, e in zip(own, reach, strict=True)]
    axes.axhline(truth, color=INK, lw=1.1, ls="--", label=f"the truth, {truth:.3g}")
    axes.axhline(back(none.value or 0.0), color=GREY, lw=1.1, ls=":", label="without the flaw")
    axes.vlines(x, low, high, color=INK, lw=1.2)
    axes.plot(x, y, "o-", color=ORANGE, mec=INK, label="with it, and 1.96 Monte Carlo errors")
    axes.legend(frameon=False, fontsize=8.5)
    axes.set_xlabel(f"strength of {planned.only}")
    axes.set_ylabel(f"{planned.job.plans[0].summary}, mean")
    axes.set_xlim(-0.01, max(*x, 0.01) * 1.02)
    shown = ", ".join(f"at {a:g} {b:.3g}" for a, b in zip(x, y, strict=True))
    return f"truth {truth:.3g}, {shown}"
