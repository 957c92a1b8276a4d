"""The fan of the future beside what was seen and what was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.trial import StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["enrolled_figure", "fan_panel"]


def fan_panel(axes: Axes, fan: dict[str, Any]) -> Axes:
    """Draw patients enrolled over months: seen, planned, and 5 to 95% of the futures."""
    months, shares, bands = fan["months"], fan["shares"], fan["enrolled"]
    by_share = dict(zip(shares, bands, strict=True))
    for low, high, alpha in ((0.05, 0.95, 0.18), (0.25, 0.75, 0.35)):
        label = f"{100 * (high - low):.0f}% of futures"
        axes.fill_between(
            months, by_share[low], by_share[high], color=BLUE, alpha=alpha, lw=0, label=label
        )
    axes.plot(months, by_share[0.5], color=BLUE, lw=1.8, label="middle future")
    axes.plot(*fan["plan"], "--", color=GREY, lw=1.6, label="expected by the plan")
    now, enrolled = fan["seen"]
    axes.plot([now], [enrolled], "o", color=ORANGE, ms=7, label=f"{enrolled:,} enrolled so far")
    axes.plot(
        fan["openings"], [0] * len(fan["openings"]), "|", color=INK, ms=9, label="site opened"
    )
    axes.axhline(fan["planned"], color=INK, lw=0.8)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.08 * fan["planned"])
    axes.set_xlabel("months since the first invitation")
    axes.set_ylabel("patients enrolled")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return axes


def enrolled_figure(result: StudyResult) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    fan = result.figure_data["fan"]
    with house_style():
        figure = new_figure(7.0, 4.2)
        fan_panel(figure.add_subplot(), fan)
    words = (
        f"Patients enrolled by month. {fan['seen'][1]:,} of {fan['planned']:,} are enrolled at "
        f"month {fan['seen'][0]:.1f}; 95% of the futures have everybody by month "
        f"{fan['months'][-1]:.1f}. The dashed line is what the plan expects."
    )
    return figure, words
