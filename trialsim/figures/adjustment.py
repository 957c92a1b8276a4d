"""Published effects naive and adjusted for bias, and how far each assumption moves them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis
from trialsim.kernels.bias_adjustment import AdjustedPool
from trialsim.studies.conflict.adjustment import Adjustment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["adjusted_forest_figure", "adjusted_forest_panel", "tornado_figure", "tornado_panel"]

_Z95 = 1.959963984540054
_NAIVE, _ADJUSTED = -0.17, 0.17  # of a line, above and below its middle
_WIDEST = 30.0  # ratios further than this from 1 run off the axis


@dataclass(frozen=True)
class _Line:
    """One line of the forest: log ratios naive and adjusted, each with the ends of its interval."""

    label: str
    naive: tuple[float, float, float]
    adjusted: tuple[float, float, float]
    pooled: bool = False


def _lines(found: Adjustment) -> Iterator[_Line]:
    for index, study in enumerate(found.studies):
        ends = [
            _ends(found.pool(priors, tau2=0.0, only=index)) for priors in ((), tuple(found.used))
        ]
        yield _Line(study.study.study, ends[0], ends[1])
    for label, tau2 in (("equal effects", 0.0), ("random effects, REML", None)):
        naive, adjusted = found.pool((), tau2=tau2), found.pool(found.used, tau2=tau2)
        yield _Line(label, _ends(naive), _ends(adjusted), pooled=True)
    beliefs = [found.next_effect(priors) for priors in ((), found.used)]
    first, second = ((one.inv_cdf(0.5), one.inv_cdf(0.025), one.inv_cdf(0.975)) for one in beliefs)
    yield _Line("true effect of the next trial", first, second, pooled=True)


def _ends(pool: AdjustedPool) -> tuple[float, float, float]:
    half = _Z95 * pool.standard_error
    return pool.estimate, pool.estimate - half, pool.estimate + half


def adjusted_forest_panel(axes: Axes, found: Adjustment) -> Axes:
    """Draw each study and pool twice: naive with a filled circle, adjusted with a hollow square."""
    lines = list(_lines(found))
    for y, line in enumerate(lines):
        for (value, *ends), shift, mark, colour, style in (
            (line.naive, _NAIVE, "o", ORANGE, "-"),
            (line.adjusted, _ADJUSTED, "s", "white", "--"),
        ):
            axes.plot([_on_axis(end) for end in ends], [y + shift] * 2, color=INK, lw=1.3, ls=style)
            size = 9 if line.pooled else 7
            axes.plot([_on_axis(value)], [y + shift], mark, color=colour, mec=INK, ms=size)
            axes.text(
                1.02,
                y + shift,
                _said(value, *ends),
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8.5,
            )
    axes.axhline(len(found.studies) - 0.5, color=GREY, lw=0.8)
    axes.axvline(1.0, color=GREY, lw=0.8)
    axes.set_yticks(range(len(lines)), [textwrap.fill(line.label, 24) for line in lines])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    reached = [end for line in lines for _, *ends in (line.naive, line.adjusted) for end in ends]
    low, high = min(-0.5, *reached) - 0.1, max(0.5, *reached) + 0.1
    axes.set_xlim(max(exp(low), 1 / _WIDEST), min(exp(high), _WIDEST))
    ratio_axis(axes)
    return axes


def adjusted_forest_figure(found: Adjustment) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    lines = list(_lines(found))
    (pool,) = (line for line in lines if line.label == "equal effects")
    title = (
        f"{found.trials.name}, pooled: {_said(*pool.naive)} as published, "
        f"{_said(*pool.adjusted)} less the bias of trials like them."
    )
    with house_style():
        figure = new_figure(8.6, 1.7 + 0.55 * len(lines))
        axes = figure.subplots()
        adjusted_forest_panel(axes, found)
        side = "left" if found.direction > 0 else "right"
        axes.set_xlabel(
            f"odds ratio, treated to control ({side} is better for treatment), 95% interval\n"
            "filled circle, solid: as published; hollow square, dashed: adjusted for bias"
        )
        figure.suptitle(textwrap.fill(title, 92), x=0.01, ha="left", fontsize=11)
    each = "; ".join(
        f"{line.label} {_said(*line.naive)} as published, {_said(*line.adjusted)} adjusted"
        for line in lines
    )
    return figure, f"{title} {each}."


def tornado_panel(axes: Axes, found: Adjustment) -> Axes:
    """Draw a bar per assumption between the adjusted odds ratios at its two ends, widest on top."""
    bars = _bars(found)
    centre = exp(found.pool(found.used, tau2=0.0).estimate)
    for y, (_, first, second) in enumerate(bars):
        low, high = sorted((first, second))
        axes.barh(y, high - low, left=low, height=0.55, fc=BLUE, ec=INK, lw=0.8)
        for end, where, align in ((low, -4, "right"), (high, 4, "left")):
            axes.annotate(
                f"{end:.3f}", (end, y), (where, 0), textcoords="offset points",
                va="center", ha=align, fontsize=8.5,
            )  # fmt: skip
    axes.axvline(centre, color=INK, lw=1.0, ls=":")
    axes.set_yticks(range(len(bars)), [textwrap.fill(name, 34) for name, _, _ in bars])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    every = [centre, *(end for _, *ends in bars for end in ends)]
    room = 0.25 * (max(every) - min(every)) or 0.02
    axes.set_xlim(min(every) - room, max(every) + room)
    return axes


def tornado_figure(found: Adjustment) -> tuple[Figure, str]:
    """Return the figure and its alternative text; `found` counts at least one flaw."""
    bars = _bars(found)
    centre = exp(found.pool(found.used, tau2=0.0).estimate)
    name, first, second = bars[0]
    title = (
        f"Adjusted odds ratio {centre:.3f} (equal effects). Of its assumptions the {name} moves "
        f"it most: {min(first, second):.3f} to {max(first, second):.3f}."
    )
    with house_style():
        figure = new_figure(8.2, 1.9 + 0.5 * len(bars))
        axes = figure.subplots()
        tornado_panel(axes, found)
        axes.set_xlabel(
            "adjusted odds ratio; dotted: all as published\n"
            "mean bias at the ends of its 95% interval; kappa at 0 and doubled; flaw left out;\n"
            "another published estimate of it"
        )
        figure.suptitle(textwrap.fill(title, 88), x=0.01, ha="left", fontsize=11)
    each = "; ".join(f"{name} {one:.3f} and {two:.3f}" for name, one, two in bars)
    return figure, f"{title} {each}."


def _bars(found: Adjustment) -> list[tuple[str, float, float]]:
    ends = [(name, exp(one.estimate), exp(two.estimate)) for name, one, two in found.tornado()]
    return sorted(ends, key=lambda bar: -abs(log(bar[1] / bar[2])))


def _on_axis(value: float) -> float:
    return min(max(exp(value), 1 / _WIDEST), _WIDEST)


def _said(value: float, low: float, high: float) -> str:
    return f"{exp(value):.2f} ({exp(low):.2f} to {exp(high):.2f})"
