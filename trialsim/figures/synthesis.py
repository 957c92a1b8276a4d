"""The gap between two strata of simulated literatures, with the published one marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trialsim.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    house_style,
    new_figure,
    ratio_axis,
)
from trialsim.studies.literature.synthesis import ObservedGap, PlannedSynthesis, percent
from trialsim.trial import Measure, StudyResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["synthesis_figure"]

_BINS = 60
_LINES = ((BLUE, "-"), (ORANGE, "--"), (INK, ":"), (GREY, "-."))


def synthesis_figure(planned: PlannedSynthesis, result: StudyResult) -> tuple[Figure, str]:
    """Return the histogram of the simulated ratio, one panel per truth, and its alternative text.

    Parameters
    ----------
    planned : PlannedSynthesis
        With what was published of both strata.
    result : StudyResult
    """
    gaps, size = result.figure_data["gaps"], planned.ratio_seen
    assert size is not None  # the caller looked
    assert planned.observed is not None
    every = np.concatenate(list(gaps.values()))
    ends = np.quantile(every, [0.0005, 0.9995])
    edges = np.linspace(min(ends[0], np.log(size)), max(ends[1], np.log(size)), _BINS + 1)
    shares = {
        (row.conduct, row.scenario): row
        for row in result.rows
        if row.measure is Measure.GAP_AS_LARGE
    }
    more, told = "less" if size < 1 else "more", []
    with house_style():
        n = len(planned.scenarios)
        figure = new_figure(10.5, 0.9 + 2.0 * n)
        panels = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
        for axes, scenario in zip(panels, planned.scenarios, strict=True):
            for index, own in enumerate(planned.sets):
                colour, dashes = _LINES[index % len(_LINES)]
                counts, _ = np.histogram(gaps[own.id, scenario.id], edges)
                share = percent(shares[own.id, scenario.id])
                label = f"{own.id}:\n{size:.2f} or {more} in {share}"
                axes.stairs(counts, np.exp(edges), color=colour, ls=dashes, lw=1.6, label=label)
                told.append(f"{scenario.title}, {own.id}, {size:.2f} or {more} in {share}")
            axes.axvline(size, color=INK, lw=2.0)
            axes.axvline(1.0, color=GREY, lw=0.8, ls=":")
            axes.set_title(scenario.title.capitalize(), loc="left", fontsize=10)
            axes.set_ylabel("literatures", fontsize=9)
            axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        ratio_axis(panels[-1])
        first, second = planned.split.strata
        panels[-1].set_xlabel(
            f"ratio of pooled odds ratios: {first.title} over {second.title}", fontsize=9
        )
        title = (
            f"Gap by {planned.split.id} in {result.n_replicates:,} simulated literatures a line; "
            f"thick: {_seen(planned.observed)}"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}. {'. '.join(told)}."


def _seen(observed: ObservedGap) -> str:
    """Say which numbers the ratio comes from, and who states them."""
    parts = []
    for effect in observed.strata:
        status = effect.status.value
        parts.append(f"{effect.value:.2f} ({status.upper() if effect.status.is_weak else status})")
    return f"{np.exp(observed.log_ratio):.2f}, from {' and '.join(parts)}"
