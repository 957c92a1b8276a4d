"""The pool that doses fill and the response it drives, one line per regimen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.studies.horizons.regimens import PlannedRegimens, pool_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["pool_panel", "regimens_figure", "response_panel"]

_LINES = (
    (BLUE, "-"),
    ("#56b4e9", "--"),
    (ORANGE, "-."),
    ("#009e73", ":"),
    ("#cc79a7", (0, (5, 1))),
    (INK, (0, (1, 1))),
)
_MARKS = "os^Dvx"
_MOST_PANELS = 3


def pool_panel(axes: Axes, planned: PlannedRegimens, scenario: int, last: float) -> Axes:
    """Draw the pool under every regimen, in reference doses, up to a day."""
    pool = pool_of(planned.scenarios[scenario])
    assert pool is not None  # asked of scenarios with one
    days = [last * step / 600 for step in range(601)]
    for index, own in enumerate(planned.regimens):
        filling = pool.filled_by(own.dosing)
        assert filling is not None  # resolved before
        colour, style = _LINES[index % len(_LINES)]
        x = [day / DAYS_PER_UNIT["mo"] for day in days]
        axes.plot(x, [filling.on(day) for day in days], ls=style, color=colour, lw=1.3)
    axes.set_title(planned.scenarios[scenario].id, fontsize=10, loc="left")
    return axes


def response_panel(axes: Axes, planned: PlannedRegimens, scenario: int, last: float) -> Axes:
    """Draw the true share in response under every regimen, and published shares.

    Filled symbols are treated arms, open ones control arms.
    """
    per = DAYS_PER_UNIT["mo"]
    days = [last * step / 120 for step in range(121)]
    for index, own in enumerate(planned.regimens):
        colour, style = _LINES[index % len(_LINES)]
        shares = [100 * own.truths[scenario].risks_on(day)[1] for day in days]
        label = str(own.dosing)
        axes.plot([d / per for d in days], shares, ls=style, color=colour, lw=1.8, label=label)
    control = [100 * planned.regimens[0].truths[scenario].risks_on(day)[0] for day in days]
    axes.plot([d / per for d in days], control, color=GREY, lw=1.5, label="control")
    name, seen = planned.scenarios[scenario].id, dict[tuple[float, float], str]()
    own_results = [held for held in planned.held_against if held.scenario == name]
    for number, held in enumerate(own_results):
        mark = _MARKS[number % len(_MARKS)]
        counts = f", {held.arm.events}/{held.arm.n}" if held.arm else ""
        label = f"{held.title}, {held.seen.under.lasting}{counts}"
        axes.plot(
            [held.day / per], [100 * held.published], mark, color=INK, mfc=ORANGE, ms=7, label=label
        )
        if held.control is not None:
            seen[held.day, held.control] = f"{held.title}, control{held.control_counts}"
    for (day, share), label in seen.items():
        axes.plot([day / per], [100 * share], "D", color=INK, mfc="white", ms=6, label=label)
    axes.set_ylim(0, 100)
    axes.set_xlabel("months since entry")
    return axes


def regimens_figure(planned: PlannedRegimens) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    pools = [i for i, s in enumerate(planned.scenarios) if pool_of(s)][:_MOST_PANELS]
    last = max(day for own in planned.regimens for day in own.days)
    title = "A pool that doses fill, and the response it drives (no parameter is known)"
    with house_style():
        figure = new_figure(3.4 * len(pools) + 1.2, 6.6)
        drawn = figure.subplots(2, len(pools), squeeze=False, sharey="row", sharex=True)
        for column, scenario in enumerate(pools):
            pool_panel(drawn[0][column], planned, scenario, last)
            response_panel(drawn[1][column], planned, scenario, last)
        drawn[0][0].set_ylim(bottom=0)
        drawn[0][0].set_ylabel("pool, in reference doses")
        drawn[1][0].set_ylabel("% of patients in response")
        handles, labels = drawn[1][0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, fontsize=8, ncols=2, loc="outside lower left")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    names = ", ".join(planned.scenarios[i].id for i in pools)
    said = "; ".join(
        f"{held.scenario}, {held.seen.under}: {100 * held.said:.1f}% against "
        f"{100 * held.published:.1f}% published"
        for held in planned.held_against
    )
    return figure, (
        f"{title}. Above: the pool over time; below: response; one line per regimen; columns: "
        f"{names}. Symbols: published shares. {said}."
    )
