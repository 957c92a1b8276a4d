"""Response over time with what was published, and the chance to find it at every horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.studies.horizons.delayed_effect import short_name
from trialsim.studies.horizons.followup import PlannedFollowUp, SeenPoint
from trialsim.trial import Measure, StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["course_panel", "followup_figure", "lag_figure", "power_panel"]

_STYLES = ("-", "--", ":", "-.")
_MARKS = "os^Dvx"


def _scale(planned: PlannedFollowUp) -> tuple[float, str]:
    """Return days per unit of the time axis, and its name."""
    days = planned.horizons[-1].day
    unit = "mo" if days > 120 else "d"
    return DAYS_PER_UNIT[unit], "months" if unit == "mo" else "days"


def course_panel(axes: Axes, planned: PlannedFollowUp, seen: tuple[SeenPoint, ...]) -> Axes:
    """Draw the true share of patients with the event in both arms, and published shares.

    Control arms are grey, treated ones blue; scenarios differ by their line.
    """
    per, unit = _scale(planned)
    first = planned.truths[0][0]
    courses = first.courses is not None and not first.intercurrent
    last = planned.horizons[-1].day
    for index, scenario in enumerate(planned.scenarios):
        if courses:
            days = [last * step / 120 for step in range(121)]
            risks = [planned.truths[0][index].risks_on(day, planned.counted) for day in days]
        else:
            days = [0.0, *(horizon.day for horizon in planned.horizons)]
            risks = [(0.0, 0.0), *(planned.risks(h, index) for h in range(len(planned.horizons)))]
        x = [day / per for day in days]
        style = _STYLES[index % len(_STYLES)]
        axes.plot(x, [100 * control for control, _ in risks], style, color=GREY, lw=1.6)
        axes.plot(
            x, [100 * treated for _, treated in risks], style, color=BLUE, lw=1.8, label=scenario.id
        )
    for number, record in enumerate(dict.fromkeys(point.record for point in seen)):
        mark = _MARKS[number % len(_MARKS)]
        for arm, fill in (("control", "white"), ("experimental", ORANGE)):
            own = [p for p in seen if (p.record, p.arm) == (record, arm) and p.day <= 1.02 * last]
            axes.plot(
                [p.day / per for p in own],
                [100 * p.share for p in own],
                mark,
                color=INK,
                mfc=fill,
                ms=6,
                label=record if arm == "experimental" and own else None,
            )
    axes.set_xlabel(f"{unit} since entry")
    axes.set_ylabel("% of patients")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return axes


def power_panel(axes: Axes, planned: PlannedFollowUp, result: StudyResult) -> Axes:
    """Draw the share of simulated trials that find an effect, with 2 MCSE, at every horizon."""
    per, unit = _scale(planned)
    for index, scenario in enumerate(planned.scenarios):
        rows = [
            row
            for horizon in planned.horizons
            for row in result.rows
            if row.measure is Measure.POWER
            and row.scenario == scenario.id
            and row.lag is None
            and row.missing is None
            and row.analysis == planned.jobs[0].plans[0].in_words
            and (row.horizon, row.clock) == (str(horizon.time.after), horizon.time.clock.value)
        ]
        points = [
            (horizon.day / per, 100 * row.value, 200 * (row.mcse or 0.0))
            for horizon, row in zip(planned.horizons, rows, strict=True)
            if row.value is not None
        ]
        axes.errorbar(
            [x for x, _, _ in points],
            [y for _, y, _ in points],
            yerr=[error for _, _, error in points],
            fmt=f"{_STYLES[index % len(_STYLES)]}{_MARKS[index % len(_MARKS)]}",
            color=BLUE,
            ms=4,
            label=scenario.id,
        )
    axes.set_xlabel(f"read out at, {unit} since entry")
    axes.set_ylabel("% of trials that find an effect")
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=8)
    return axes


def followup_figure(planned: PlannedFollowUp, result: StudyResult) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    protocol = planned.resolved.template.protocol
    title = f"{protocol.primary.event}: when it happens, and when a trial sees it"
    with house_style():
        figure = new_figure(10.4, 4.4)
        left, right = figure.subplots(1, 2)
        course_panel(left, planned, result.figure_data["seen"])
        power_panel(right, planned, result)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    first, last = planned.horizons[0], planned.horizons[-1]
    return figure, (
        f"{title}. Grey: {protocol.control.id}; blue: {protocol.experimental.id}; symbols: "
        f"published shares. Horizons from {planned.in_words(first)} to {planned.in_words(last)}."
    )


def lag_figure(planned: PlannedFollowUp, result: StudyResult) -> tuple[Figure, str]:
    """Return a map of lag by horizon for every analysis, of the first scenario with an effect."""
    rows = [row for row in result.figure_data["analyses"] if row.lag is not None]
    rows = [row for row in rows if row.scenario == rows[0].scenario]
    lags = list(dict.fromkeys(row.lag for row in rows))
    horizons = [str(horizon.time.after) for horizon in planned.horizons]
    by_test: dict[str, dict[tuple[str | None, str | None], float]] = {}
    for row in rows:
        own = by_test.setdefault(short_name(row.analysis or ""), {})
        own[row.lag, row.horizon] = 100 * (row.value or 0.0)
    title = f"% of trials that find the effect of {rows[0].scenario}, by when it starts"
    with house_style():
        figure = new_figure(10.4, 2.2 + 1.1 * len(lags))
        for number, (test, found) in enumerate(by_test.items()):
            axes = figure.add_subplot(-(-len(by_test) // 3), 3, number + 1)
            grid = [[found.get((lag, at), float("nan")) for at in horizons] for lag in lags]
            edges = [[at - 0.5 for at in range(len(line) + 1)] for line in (horizons, lags)]
            axes.pcolormesh(*edges, grid, vmin=0, vmax=100, cmap="Blues")  # no picture in the SVG
            axes.invert_yaxis()
            for y, line in enumerate(grid):
                for x, value in enumerate(line):
                    ink = "white" if value > 55 else INK
                    axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=9)
            axes.set_xticks(range(len(horizons)), horizons, fontsize=8)
            axes.set_yticks(range(len(lags)), [str(lag) for lag in lags], fontsize=8)
            axes.set_title(test, loc="left", fontsize=9.5)
            axes.set_xlabel("read out at", fontsize=8)
            axes.set_ylabel("effect starts", fontsize=8)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title} (rows) and by read-out (columns), for {', '.join(by_test)}."
