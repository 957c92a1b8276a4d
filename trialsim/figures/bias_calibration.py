"""The dials of flaws, with published ratios as bands and the strengths read off them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.protocol.published.evidence import Status
from trialsim.studies.conduct.bias_calibration import AT_RATIO, PlannedBiasCalibration
from trialsim.trial import Measure, Row, StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bias_calibration_figure"]

_COLUMNS = 3
_BAND = "#e6e6e6"  # no hatch: a report takes no patterns of a drawing
_WEAK = tuple(status.value for status in Status if status.is_weak)
_LOWEST = 0.25  # ratios below are off the page


def bias_calibration_figure(
    planned: PlannedBiasCalibration, result: StudyResult
) -> tuple[Figure, str]:
    """Return the figure, one panel per published ratio, and its alternative text."""
    needed = [r for r in result.rows if r.measure is Measure.STRENGTH_NEEDED and r.mechanism]
    panels = dict.fromkeys((r.mechanism, r.evidence, r.source) for r in needed)
    n_rows = ceil(len(panels) / _COLUMNS)
    told = []
    with house_style():
        figure = new_figure(3.3 * min(_COLUMNS, len(panels)), 0.6 + 2.9 * n_rows)
        every = figure.subplots(n_rows, min(_COLUMNS, len(panels)), squeeze=False).ravel()
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        for axes, key in zip(every, panels, strict=False):
            own = {r.analysis: r for r in needed if (r.mechanism, r.evidence, r.source) == key}
            told.append(_panel(axes, result, own))
        title = "Strength needed for published ratios of odds ratios"
        legend = "dots: simulated; dashed line: published ratio; grey: its interval"
        figure.suptitle(f"{title}\n{legend}", x=0.01, ha="left", fontsize=10.5)
    return figure, (
        f"{title}, conduct {planned.conduct.id}, scenario {planned.scenario.id}. {' '.join(told)}"
    )


def _panel(axes: Axes, result: StudyResult, needed: dict[str | None, Row]) -> str:
    first = needed[AT_RATIO[0]]
    dial = [
        r
        for r in result.rows
        if r.measure is Measure.RATIO_OF_ODDS_RATIOS and r.mechanism == first.mechanism
    ]
    x, y = [r.strength or 0.0 for r in dial], [r.value or 1.0 for r in dial]
    axes.plot(x, y, "o-", color=BLUE, ms=3.5, lw=1.5)
    axes.axhline(1.0, color=INK, lw=0.8, ls=":")
    (seen,) = (
        r
        for r in result.observed
        if (r.mechanism, r.evidence, r.source) == (first.mechanism, first.evidence, first.source)
    )
    across = seen.measure is Measure.RATIO_OF_ODDS_RATIOS
    if across:
        assert seen.value is not None
        axes.axhline(seen.value, color=ORANGE, lw=1.4, ls="--")
        if seen.lower is not None and seen.upper is not None:
            axes.axhspan(seen.lower, seen.upper, fc=_BAND, ec=GREY, ls=":", lw=1.0)
    else:
        ends = [needed[name].value or 0.0 for name in AT_RATIO[1:]]
        axes.axvspan(min(ends), max(ends), fc=_BAND, ec=GREY, ls=":", lw=1.0)
    at = first.value
    if at is not None:
        height = _between(at, x, y)
        axes.plot([at, at], [_LOWEST, height], color=ORANGE, lw=1.4, ls="-.")
        axes.plot([at], [height], "D", color=ORANGE, mec=INK, ms=7, zorder=5)
    (stated,) = (
        r
        for r in result.rows
        if r.measure is Measure.STRENGTH_IN_PROFILE and r.mechanism == first.mechanism
    )
    own = stated.value or 0.0
    axes.plot([own], [_between(own, x, y)], "s", color=INK, mfc="white", ms=7, zorder=4)
    _scale(axes, y, seen if across else None)
    words = _read_off(needed)
    status = (seen.status or "").upper() if seen.status in _WEAK else seen.status
    named = fill(f"{first.evidence}: {first.source} ({status})", 40)
    axes.set_title(named, fontsize=8.5, loc="left")
    mark = "" if at is None else " (diamond)"
    shown = f"needed{mark}: {words}\nprofile (square): {own:g}"
    axes.text(0.03, 0.03, shown, transform=axes.transAxes, fontsize=8, va="bottom", bbox=_BOX)
    axes.set_xlabel(f"strength of {first.mechanism}", fontsize=9)
    axes.set_ylabel("ratio of odds ratios", fontsize=9)
    published = f"{status} {seen.value:.2f}" if across else "shares published"
    return f"{first.mechanism}, {first.evidence} {first.source}, {published}: strength {words}."


_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}


def _scale(axes: Axes, curve: Sequence[float], seen: Row | None) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator

    ends = [] if seen is None else [x for x in (seen.lower, seen.value, seen.upper) if x]
    low = min(*ends, max(min(curve), 0.6), 0.95) if ends else max(min(curve), _LOWEST)
    high = max(*ends, 1.0) if ends else 1.0
    axes.set_yscale("log")
    axes.set_ylim(max(_LOWEST, low * 0.8), high * 1.06)  # room for the words below
    axes.set_xlim(-0.02, 1.02)
    axes.yaxis.set_major_locator(MultipleLocator(0.1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _between(strength: float, x: Sequence[float], y: Sequence[float]) -> float:
    from numpy import exp, interp, log

    return float(exp(interp(strength, x, log(y))))


def _read_off(needed: dict[str | None, Row]) -> str:
    ends = [needed[name] for name in AT_RATIO[1:] if name in needed]
    ends.sort(key=lambda r: (r.value is None, r.value or 0.0))
    own, at_ends = _strength(needed[AT_RATIO[0]]), [_strength(r) for r in ends]
    return own if {own} >= {*at_ends} else f"{own} ({' to '.join(at_ends)})"


def _strength(row: Row) -> str:
    return "not reached" if row.value is None else f"{row.value:.2f}" if row.value else "0"
