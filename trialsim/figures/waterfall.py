"""From the historical control to what a single arm shows, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["WaterfallStep", "waterfall_figure", "waterfall_panel"]


@dataclass(frozen=True)
class WaterfallStep:
    """One thing that moves the comparison.

    Attributes
    ----------
    label : str
    move : float
        A difference, or a ratio.
    chance : float or None
        How often this alone is taken for an effect.
    is_effect : bool
    """

    label: str
    move: float
    chance: float | None
    is_effect: bool


def waterfall_panel(axes: Axes, steps: Sequence[WaterfallStep], *, ratio: bool) -> Axes:
    """Draw every step from where the one before it ended; the effect is only outlined."""
    at = start = 1.0 if ratio else 0.0
    for y, step in enumerate(steps):
        end = at * step.move if ratio else at + step.move
        axes.barh(
            y,
            end - at,
            left=at,
            height=0.6,
            facecolor="white" if step.is_effect else ORANGE,
            edgecolor=BLUE if step.is_effect else ORANGE,
            lw=1.8,
        )
        words = f"x {step.move:.3g}" if ratio else f"{step.move:+.3g}"
        if step.chance is not None:
            words += f"; alone found in {100 * step.chance:.1f}%"
        axes.text(1.01, y, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        axes.plot([end, end], [y - 0.3, y + 1.3], color=GREY, lw=0.8)
        at = end
    last = len(steps)
    axes.plot([at], [last], "D", color=INK, ms=7)
    shown = f"x {at:.3g}" if ratio else f"{at:+.3g}"
    axes.text(1.01, last, shown, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.axvline(start, color=INK, lw=0.8, ls=":")
    axes.set_yticks(list(range(last + 1)), [*(step.label for step in steps), "the trial shows"])
    axes.set_ylim(last + 0.6, -0.6)
    if ratio:
        ratio_axis(axes)
    return axes


def waterfall_figure(steps: Sequence[WaterfallStep], scale: str) -> tuple[Figure, str]:
    """Return the figure and its alternative text; `scale` names the measure."""
    ratio = "ratio" in scale
    effects = [step for step in steps if step.is_effect]
    title = "What a single arm shows against its historical control"
    title += ", and how much of it is effect" if effects else ", with no effect at all"
    with house_style():
        figure = new_figure(9.6, 1.4 + 0.42 * len(steps))
        axes = figure.subplots()
        waterfall_panel(axes, steps, ratio=ratio)
        axes.set_xlabel(f"{scale} against the historical control; outlined: the effect")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    each = "; ".join(
        f"{step.label} {'x ' if ratio else ''}{step.move:{'.3g' if ratio else '+.3g'}}"
        for step in steps
    )
    return figure, f"{title}. {scale}: {each}."
