"""Power against size, and power against the true effect beside what is believed about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "power_figure", "power_panel"]


@dataclass(frozen=True)
class Curve:
    """Power along something.

    Attributes
    ----------
    x, power : sequence of float
    chosen : (x, power)
        The design.
    belief : sequence of float or None
        Density of a prior at `x`, scaled to a maximum of 1.
    """

    x: Sequence[float]
    power: Sequence[float]
    chosen: tuple[float, float]
    belief: Sequence[float] | None = None


def power_panel(axes: Axes, curve: Curve, *, ratio: bool = False) -> Axes:
    """Draw one curve, the design on it, and the belief behind it."""
    if curve.belief is not None:
        axes.fill_between(curve.x, curve.belief, color=ORANGE, alpha=0.25, lw=0)
    axes.plot(curve.x, curve.power, color=BLUE, lw=1.8)
    x, power = curve.chosen
    axes.plot([x], [power], "o", color=INK, ms=7)
    axes.axhline(power, color=GREY, lw=0.8, ls=":")
    axes.set_ylim(0, 1.02)
    if ratio:
        ratio_axis(axes)
    return axes


def power_figure(by_size: Curve, by_effect: Curve, scale: str, label: str) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    n, power = by_size.chosen
    believed = " (shaded: the prior)" if by_effect.belief is not None else ""
    title = f"{n:,.0f} patients give {100 * power:.1f}% power at {label}"
    with house_style():
        figure = new_figure(9.6, 4.2)
        left, right = figure.subplots(1, 2)
        power_panel(left, by_size)
        left.set_xlabel("patients analysed, in all")
        left.set_ylabel("power")
        power_panel(right, by_effect, ratio="ratio" in scale)
        right.set_xlabel(f"true {scale}, treated to control{believed}")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    first, last = by_size.x[0], by_size.x[-1]
    low, high = by_size.power[0], by_size.power[-1]
    return figure, (
        f"{title}. Power rises from {100 * low:.0f}% with {first:,.0f} patients to "
        f"{100 * high:.0f}% with {last:,.0f}."
    )
