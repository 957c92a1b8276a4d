"""Weights of explanations before and after the records, and what each says of the gap."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis
from trialsim.studies.conflict.reconciliation import CLEAR, Reconciling, Which
from trialsim.trial import Measure, Row, StudyResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["predictive_check_figure", "quantities_figure", "reconciliation_figure"]

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


def predictive_check_figure(plan: Reconciling, result: StudyResult) -> tuple[Figure, str]:
    """Return the figure and its alternative text; the file names two sides, and has records.

    A line for each explanation: median and 95% of the ratio of the two sides' ratios in literatures
    drawn from its prior; what was seen is one vertical line.
    """
    rows = {m: [r for r in result.rows if r.measure is m] for m in _OF_CHECKS}
    (seen,) = (row.value or 0.0 for row in rows[Measure.RATIO_OF_ODDS_RATIOS])
    shares = {row.analysis: row for row in rows[Measure.GAP_AS_LARGE]}
    predicted = rows[Measure.GAP_PREDICTED]
    title = f"Ratio of the ratios of the two sides: {seen:.2f} seen (line), and under each."
    told = []
    with house_style():
        figure = new_figure(8.6, 1.6 + 0.45 * len(predicted))
        axes = figure.subplots()
        axes.axvline(seen, color=ORANGE, lw=1.6)
        axes.axvline(1.0, color=GREY, lw=0.8)
        for y, row in enumerate(predicted):
            drawn = row.n_replicates is not None
            ends = (row.lower or 0.0, row.upper or 0.0)
            axes.plot(ends, [y, y], color=INK, lw=1.4, ls="--" if drawn else "-")
            axes.plot([row.value or 0.0], [y], "s" if drawn else "o", color=BLUE, mec=INK, ms=7)
            share = _as_large(shares[row.analysis])
            axes.text(
                1.02, y, share, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5
            )
            name = plan.explanations[row.analysis or ""].title
            told.append(
                f"{name}: {row.value:.2f} ({ends[0]:.2f} to {ends[1]:.2f}), as large in {share}"
            )
        names = [plan.explanations[row.analysis or ""].title for row in predicted]
        axes.set_yticks(range(len(names)), [textwrap.fill(name, 34) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(names) - 0.5, -0.6)
        every = [seen, 1.0, *(x or 1.0 for row in predicted for x in (row.lower, row.upper))]
        axes.set_xlim(min(every) / 1.1, max(every) * 1.1)
        ratio_axis(axes)
        axes.set_xlabel(
            "ratio of ratios, median and 95%; right: share with a gap as large\n"
            "circle, solid: exact; square, dashed: drawn",
            fontsize=9,
        )
        figure.suptitle(textwrap.fill(title, 92), x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title} {'; '.join(told)}."


def quantities_figure(plan: Reconciling, result: StudyResult) -> tuple[Figure, str]:
    """Return the figure and its alternative text; the file has two records or more.

    A panel for each quantity of all records: its median and 95% in literatures drawn from each
    explanation's prior; what was seen is a vertical line, with the share as large beside it.
    """
    of = [row for row in result.rows if row.measure is Measure.QUANTITY]
    seen = {row.scale: row.value or 0.0 for row in of if row.analysis == "as published"}
    drawn = {(row.analysis, row.scale): row for row in of}
    shares = {
        (row.analysis, row.scale): row for row in result.rows if row.measure is Measure.PREDICTIVE_P
    }
    names = list(plan.models)
    told = []
    with house_style():
        figure = new_figure(10.4, 1.6 + 0.45 * len(names))
        every = figure.subplots(1, len(seen), sharey=True)
        for axes, (scale, value) in zip(every, seen.items(), strict=True):
            axes.axvline(value, color=ORANGE, lw=1.6)
            for y, name in enumerate(names):
                row = drawn[name, scale]
                axes.plot([row.lower, row.upper], [y, y], color=INK, lw=1.4, ls="--")
                axes.plot(row.value, y, "s", color=BLUE, mec=INK, ms=6)
                share = _as_large(shares[name, scale])
                axes.text(
                    1.0, y - 0.3, share, transform=axes.get_yaxis_transform(), va="center",
                    ha="right", fontsize=7.5,
                )  # fmt: skip
                told.append(f"{scale}, {plan.explanations[name].title}: {share}")
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel(f"{scale}, seen {value:.3g}", fontsize=9)
            if scale == "largest effect":
                ratio_axis(axes)
        titles = [textwrap.fill(plan.explanations[name].title, 34) for name in names]
        every[0].set_yticks(range(len(names)), titles)
        every[0].set_ylim(len(names) - 0.5, -0.8)
        title = "Predictive check: all records (line: seen), and under each, drawn"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}; share as large. {'; '.join(told)}."


_OF_CHECKS = (Measure.RATIO_OF_ODDS_RATIOS, Measure.GAP_AS_LARGE, Measure.GAP_PREDICTED)


def _as_large(row: Row) -> str:
    if row.upper is not None:
        return f"below {row.upper:.3f}"
    value = row.value or 0.0
    words = f"{value:.3f}" if value >= 0.01 else f"{value:.4f}"
    return words if row.mcse is None else f"{words} +-{row.mcse:.3f}"
