"""Published studies pooled: a forest by stratum, and the funnel."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis
from trialsim.kernels.pooling import Pooled
from trialsim.kernels.random_effects import RandomEffects
from trialsim.protocol.published.trials import PublishedStudy
from trialsim.studies.literature.published_synthesis import (
    FEWEST_FOR_ASYMMETRY,
    PooledStudies,
    PublishedSynthesis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["funnel_figure", "funnel_panel", "pooled_forest_figure", "pooled_forest_panel"]

Floats = NDArray[np.float64]

_Z95 = 1.959963984540054
_LARGEST_SQUARE, _SMALLEST_SQUARE = 13.0, 4.0  # points
_POINTS_PER_LETTER = 6.0  # of the labels, which stand flush left
_WIDEST = 30.0  # ratios further than this from the pooled one run off the axis


@dataclass(frozen=True)
class _Line:
    """One line of the forest: `kind` is study, pooled, prediction or heading."""

    kind: str
    label: str
    ends: tuple[float, float, float] | None = None
    weight: float = 0.0
    words: str = ""


def _lines(planned: PublishedSynthesis) -> list[_Line]:
    whole = planned.pooled
    weights = whole.weights()[0]
    found: list[_Line] = []
    for stratum, own in planned.strata:
        found.append(_Line("heading", f"{planned.split_name}: {stratum.label}"))
        chosen = [i for i, inside in enumerate(stratum.chosen) if inside]
        found += [_study_line(planned, whole, i, weights) for i in chosen]
        found.append(_pooled_line(f"  {own.main}", own, own.common))
    if not planned.strata:
        everyone = range(len(planned.trials.studies))
        found += [_study_line(planned, whole, i, weights) for i in everyone]
    if planned.strata:
        found.append(_Line("heading", "all studies"))
    found.append(_pooled_line(str(whole.main), whole, whole.common))
    found.append(_pooled_line("random effects, REML", whole, whole.reml))
    low, high = whole.reml.prediction_lower[0], whole.reml.prediction_upper[0]
    if not np.isnan(low):
        ends = (float(whole.reml.estimate[0]), float(low), float(high))
        words = f"{_said(whole, low)} to {_said(whole, high)}"
        found.append(_Line("prediction", "prediction interval", ends, words=words))
    return found


def _study_line(
    planned: PublishedSynthesis, pooled: PooledStudies, i: int, weights: Floats
) -> _Line:
    study, y = planned.trials.studies[i], pooled.estimates[0, i]
    label = f"  {_name(study)}"
    if study.counts:
        x1, n1, x0, n0 = study.counts
        label += f"  {x1}/{n1} v {x0}/{n0}"
    label += f", {study.status.upper()}" if study.status in ("document", "unverified") else ""
    if np.isnan(y):
        return _Line("study", label, words="says nothing about a ratio")
    half = _Z95 * float(np.sqrt(pooled.variances[0, i]))
    ends = (float(y), float(y) - half, float(y) + half)
    weight = float(weights[i])
    words = _interval(pooled, ends)
    if stated := study.estimate:  # as published, not from its rounded standard error
        value, low, high = (f"{end:.{2 if _is_ratio(pooled) else 3}f}" for end in stated)
        words = f"{value} ({low} to {high})"
    return _Line("study", label, ends, weight, f"{words}  {100 * weight:.0f} %")


def _name(study: PublishedStudy) -> str:
    return textwrap.shorten(study.title, 34, placeholder="...")


def _pooled_line(label: str, pooled: PooledStudies, one: Pooled | RandomEffects) -> _Line:
    ends = (float(one.estimate[0]), float(one.lower[0]), float(one.upper[0]))
    if not np.isfinite(ends).all():
        return _Line("pooled", label, words="no estimate")
    return _Line("pooled", label, ends, words=_interval(pooled, ends))


def _interval(pooled: PooledStudies, ends: tuple[float, float, float]) -> str:
    value, low, high = (_said(pooled, end) for end in ends)
    return f"{value} ({low} to {high})"


def _said(pooled: PooledStudies, value: float) -> str:
    natural = pooled.natural(value)
    return f"{natural:.3f}" if not _is_ratio(pooled) else f"{natural:.2f}"


def _is_ratio(pooled: PooledStudies) -> bool:
    return pooled.scale.value != "risk difference"


def pooled_forest_panel(axes: Axes, planned: PublishedSynthesis) -> Axes:
    """Draw studies as squares of their weight, pooled estimates as diamonds.

    The dashed bar is the prediction interval; an arrow where an interval leaves the axis.
    """
    whole, lines = planned.pooled, _lines(planned)
    ratio = _is_ratio(whole)
    limits = _limits(whole, lines)
    heaviest = max((line.weight for line in lines), default=1.0) or 1.0
    for y, line in enumerate(lines):
        axes.text(
            1.01, y, line.words, transform=axes.get_yaxis_transform(), va="center", fontsize=9
        )
        if line.ends is not None:
            value, low, high = (whole.natural(end) for end in line.ends)
            _draw(axes, line, y, (value, low, high), limits, line.weight / heaviest)
    common = float(whole.common.estimate[0])
    axes.axvline(1.0 if ratio else 0.0, color=GREY, lw=0.8)
    if np.isfinite(common):
        axes.axvline(whole.natural(common), color=INK, lw=0.8, ls=":")
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if line.kind == "heading" else "normal")
        label.set_horizontalalignment("left")
    axes.spines["left"].set_visible(False)
    widest = max(len(line.label) for line in lines)
    axes.tick_params(axis="y", length=0, pad=_POINTS_PER_LETTER * widest)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(*limits)
    if ratio:
        ratio_axis(axes)
    return axes


def _draw(
    axes: Axes,
    line: _Line,
    y: int,
    ends: tuple[float, float, float],
    limits: tuple[float, float],
    share: float,
) -> None:
    """Draw one line of the forest; `share` is its weight, of the heaviest."""
    value, low, high = ends
    if line.kind == "pooled":
        colour = "white" if "random" in line.label else INK
        corners = [(low, y), (value, y - 0.3), (high, y), (value, y + 0.3)]
        clipped = [(min(max(x, limits[0]), limits[1]), up) for x, up in corners]
        axes.fill(*zip(*clipped, strict=True), facecolor=colour, edgecolor=INK, lw=1.2)
    else:
        style = "--" if line.kind == "prediction" else "-"
        axes.plot(np.clip([low, high], *limits), [y, y], color=INK, lw=1.2, ls=style)
    for end, beyond, mark in ((0, low < limits[0], "<"), (1, high > limits[1], ">")):
        if beyond:
            axes.plot([limits[end]], [y], mark, color=INK, ms=5, clip_on=False)
    if line.kind == "study" and limits[0] <= value <= limits[1]:
        size = _SMALLEST_SQUARE + (_LARGEST_SQUARE - _SMALLEST_SQUARE) * np.sqrt(share)
        axes.plot([value], [y], "s", color=ORANGE, mec=INK, mew=0.6, ms=size, zorder=3)


def _limits(pooled: PooledStudies, lines: Sequence[_Line]) -> tuple[float, float]:
    """Return the ends of the x axis; extreme intervals run off it."""
    ends = np.array([end for line in lines if line.ends for end in line.ends])
    centre = pooled.common.estimate[0]
    centre = float(centre) if np.isfinite(centre) else float(np.median(ends)) if len(ends) else 0.0
    if not _is_ratio(pooled):
        low, high = ends.min(initial=-0.1), ends.max(initial=0.1)
        return float(max(low, -1.0)) - 0.02, float(min(high, 1.0)) + 0.02
    reach = np.log(_WIDEST)
    low = min(0.0, *np.clip(ends, centre - reach, centre + reach), -0.7)
    high = max(0.0, *np.clip(ends, centre - reach, centre + reach), 0.7)
    return float(np.exp(low - 0.1)), float(np.exp(high + 0.1))


def pooled_forest_figure(planned: PublishedSynthesis) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    whole, lines = planned.pooled, _lines(planned)
    title = _title(planned)
    with house_style():
        figure = new_figure(10.4, 1.4 + 0.33 * len(lines))
        axes = figure.subplots()
        pooled_forest_panel(axes, planned)
        better = planned.resolved.template.protocol.primary.better.value
        side = "left" if better == "lower" else "right"
        axes.set_xlabel(
            f"{whole.scale.value}, treated to control ({side} is better for treatment)\n"
            "squares: studies, by weight; diamonds: pooled (filled: one effect, hollow: random)"
        )
        figure.suptitle(textwrap.fill(title, 105), x=0.01, ha="left", fontsize=11.5)
    each = "; ".join(f"{line.label.strip()} {line.words}".strip() for line in lines)
    return figure, f"{title} {each}."


def _title(planned: PublishedSynthesis) -> str:
    whole, n = planned.pooled, len(planned.trials.studies)
    one = whole.common
    ends = (float(one.estimate[0]), float(one.lower[0]), float(one.upper[0]))
    if not np.isfinite(ends).all():
        return f"{n} {planned.what} studies; no pooled estimate."
    return f"{n} {planned.what} studies, pooled by {whole.main}: {_interval(whole, ends)}."


def funnel_panel(axes: Axes, planned: PublishedSynthesis) -> Axes:
    """Draw effects against their standard errors, with limits for one effect in all studies.

    The two strata are told apart by filled circles and hollow squares.
    """
    whole = planned.pooled
    y, se = whole.estimates[0], np.sqrt(whole.variances[0])
    known = ~np.isnan(y)
    groups = [
        (stratum.label, np.array(stratum.chosen) & known) for stratum, _ in planned.strata
    ] or [("", known)]
    marks = (("o", BLUE), ("s", "white"))
    back = np.exp if _is_ratio(whole) else np.asarray
    for (label, own), (mark, colour) in zip(groups, marks, strict=False):
        axes.plot(back(y[own]), se[own], mark, color=colour, mec=INK, ms=8, label=label or None)
    centre = float(whole.fixed.estimate[0])
    deepest = float(se[known].max(initial=0.1)) * 1.1
    depth = np.linspace(0.0, deepest, 50)
    for sign in (-1, 1):
        axes.plot(back(centre + sign * _Z95 * depth), depth, color=GREY, lw=1.0, ls="--")
    axes.axvline(float(back(centre)), color=INK, lw=1.0)
    axes.axvline(1.0 if _is_ratio(whole) else 0.0, color=GREY, lw=0.8, ls=":")
    axes.set_ylim(deepest, 0.0)
    axes.set_ylabel("standard error" + (" of the logarithm" if _is_ratio(whole) else ""))
    if len(groups) > 1:
        axes.legend(title=planned.split_name, frameon=False, loc="upper left", fontsize=9)
    if _is_ratio(whole):
        ratio_axis(axes)
    return axes


def funnel_figure(planned: PublishedSynthesis) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    whole = planned.pooled
    y, se = whole.estimates[0], np.sqrt(whole.variances[0])
    known = ~np.isnan(y)
    outside = int((np.abs(y - whole.fixed.estimate[0]) > _Z95 * se)[known].sum())
    title = (
        f"Funnel of {int(known.sum())} {planned.what} studies: {outside} outside the dashed lines."
    )
    if known.sum() < FEWEST_FOR_ASYMMETRY:
        title += f" Fewer than {FEWEST_FOR_ASYMMETRY}: its shape tells little."
    with house_style():
        figure = new_figure(7.2, 5.0)
        axes = figure.subplots()
        funnel_panel(axes, planned)
        axes.set_xlabel(
            f"{whole.scale.value}, treated to control; line: inverse variance, dashed: 95% of "
            "studies\nwere there one effect and no bias"
        )
        figure.suptitle(textwrap.fill(title, 78), x=0.01, ha="left", fontsize=11.5)
    each = "; ".join(
        f"{_name(study)} {_said(whole, y[i])}, standard error {se[i]:.2f}"
        for i, study in enumerate(planned.trials.studies)
        if known[i]
    )
    return figure, f"{title} {each}."
