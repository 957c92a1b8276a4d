"""Weights of explanations, before and after the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialsim.figures.style import GREY, INK, ORANGE, house_style, new_figure
from trialsim.studies.conflict.reconciliation import CLEAR, Reconciling, Which
from trialsim.trial import Measure, StudyResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["reconciliation_figure"]

_BELOW = 0.22  # of a line


def reconciliation_figure(plan: Reconciling, result: StudyResult) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    names = list(plan.explanations)
    after = {
        (row.analysis, row.set_by): row.value or 0.0
        for row in result.rows
        if row.measure is Measure.POSTERIOR_WEIGHT
    }
    open_data = {
        row.analysis: row.why for row in result.rows if row.measure is Measure.PRIOR_WEIGHT
    }
    otherwise: dict[str, list[float]] = {}
    for row in result.rows:
        if row.measure is Measure.WEIGHT_OTHERWISE:
            otherwise.setdefault(row.analysis or "", []).append(row.value or 0.0)
    told = []
    with house_style():
        figure = new_figure(8.0, 1.4 + 0.42 * len(names))
        axes = figure.subplots()
        for place, name in enumerate(names):
            before, now = plan.prior[name], after[name, Which.ALL.value]
            title = plan.explanations[name].title
            axes.plot([before, now], [place, place], color=GREY, lw=1.2)
            axes.plot(before, place, "o", mfc="white", mec=INK, ms=7)
            without = after.get((name, Which.NO_DOCUMENTS.value))
            if open_data[name]:
                axes.plot(now, place, "x", color=INK, ms=6)
                told.append(f"{title}: {before:.2f}, no data")
                continue
            others = otherwise.get(name, [])
            axes.plot(others, [place + _BELOW] * len(others), ".", color=GREY, ms=5)
            axes.plot(now, place, "o", color=ORANGE, ms=7)
            if without is not None:
                axes.plot(without, place, "|", color=INK, ms=13, mew=1.6)
            spread = f" ({min(others):.2f} to {max(others):.2f} otherwise)" if others else ""
            told.append(f"{title}: {before:.2f} to {now:.2f}{spread}")
        axes.axvline(CLEAR, color=GREY, lw=0.8, ls="--")
        axes.set_yticks(range(len(names)), [plan.explanations[name].title for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        bar = f"\nbar: {Which.NO_DOCUMENTS}" if Which.NO_DOCUMENTS in plan.sets else ""
        dots = "\ndots: were one choice another" if otherwise else ""
        axes.set_xlabel(f"weight; open: before, filled: after, x: no data{dots}{bar}", fontsize=9)
        figure.suptitle("Weights before and after the records", x=0.01, ha="left", fontsize=11.5)
    return figure, f"Weights before and after the records. {'; '.join(told)}."
