"""A trial on paper: enrolment as a fan, milestones, who passes, kits over time, and its cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trialsim.errors import counted
from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.trial import Measure, Row, StudyResult

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "consort_figure",
    "consort_panel",
    "cost_figure",
    "cost_panel",
    "fan_panel",
    "forecast_figures",
    "milestone_panel",
    "milestones_figure",
    "recruitment_figure",
    "stock_panel",
    "supply_figure",
]

Drawn = tuple["Figure", str]


def forecast_figures(result: StudyResult) -> dict[str, Drawn]:
    """Return every figure of a forecast that it has numbers for, by name."""
    found = {
        "recruitment": recruitment_figure(result),
        "milestones": milestones_figure(result),
        "consort": consort_figure(result),
    }
    if result.figure_data["stock"]:
        found["supply"] = supply_figure(result)
    if any(row.measure is Measure.COST for row in result.rows):
        found["cost"] = cost_figure(result)
    return found


def _titled(figure: Figure, title: str) -> None:
    figure.suptitle(textwrap.fill(title, 96), x=0.01, ha="left", fontsize=11)


# -- recruitment ---------------------------------------------------------------------------------


def fan_panel(axes: Axes, fan: Mapping[str, Any]) -> Axes:
    """Draw bands that hold the middle 90 and 50% of trials, their median, and what is expected."""
    months, (low, lower, middle, upper, high) = fan["months"], fan["enrolled"]
    axes.fill_between(months, low, high, color=BLUE, alpha=0.18, lw=0)
    axes.fill_between(months, lower, upper, color=BLUE, alpha=0.32, lw=0)
    axes.plot(months, middle, color=BLUE, lw=1.8)
    axes.plot(months, fan["plan"], color=INK, lw=1.4, ls="--")
    at = len(months) // 3
    notes = ((middle, BLUE, "median trial", (8, -16)), (fan["plan"], INK, "plan", (-8, 10)))
    for line, colour, words, where in notes:
        axes.annotate(
            words, (months[at], line[at]), where, textcoords="offset points", color=colour,
            ha="left" if where[0] > 0 else "right", fontsize=9,
        )  # fmt: skip
    axes.set_xlim(0, months[-1])
    axes.set_ylim(0, None)
    axes.set_xlabel("months since the first invitation of a site")
    axes.set_ylabel("patients randomised")
    return axes


def recruitment_figure(result: StudyResult) -> Drawn:
    """Return the fan of enrolment against the plan, and its alternative text."""
    full = _milestone(result, "all enrolled")
    fan = result.figure_data["fan"]
    total = round(max(fan["enrolled"][-1]))
    of = "simulated trials"
    if any(row.measure is Measure.STOP_PROBABILITY for row in result.rows):
        of += " that are not stopped" if full.value is not None else ""
    title = (
        f"Enrolment of {total:,} patients takes {_between(full)} months in 9 of 10 {of}. "
        "Dark and light: middle 50 and 90%; dashed: every site as planned, without chance."
    )
    with house_style():
        figure = new_figure(8.6, 4.6)
        fan_panel(figure.subplots(), fan)
        _titled(figure, title)
    told = "; ".join(
        f"after {fan['months'][i]:.0f} months {fan['enrolled'][2][i]:,.0f} "
        f"({fan['enrolled'][0][i]:,.0f} to {fan['enrolled'][4][i]:,.0f}), planned "
        f"{fan['plan'][i]:,.0f}"
        for i in range(0, len(fan["months"]), 20)
    )
    return figure, f"{title} Median and middle 90%: {told}."


# -- milestones ----------------------------------------------------------------------------------


_OF_THE_BOARD = ("look", "stopped")


def milestone_panel(axes: Axes, rows: Sequence[Row]) -> Axes:
    """Draw each milestone at its mean, with a bar over the middle 90% of trials."""
    for y, row in enumerate(rows):
        look = (row.milestone or "").startswith(_OF_THE_BOARD)
        low, high = row.lower or 0.0, row.upper or 0.0
        axes.barh(
            y, high - low, left=low, height=0.5, fc=ORANGE if look else BLUE, alpha=0.45,
            ec=INK, lw=0.8, hatch="///" if look else None,
        )  # fmt: skip
        axes.plot([row.value or 0.0], [y], "D" if look else "o", color=INK, ms=6)
        words = f"{row.value:.1f} ({low:.1f} to {high:.1f})"
        axes.text(1.01, y, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [row.milestone or "" for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, None)
    hatched = any((row.milestone or "").startswith(_OF_THE_BOARD) for row in rows)
    more = "; hatched: looks and decisions of the board" if hatched else ""
    axes.set_xlabel(f"months since the first invitation of a site{more}")
    return axes


def _error(row: Row, digits: int) -> str:
    """Return a mean's Monte Carlo standard error; empty where rounding leaves none."""
    told = f"{row.mcse or 0.0:,.{digits}f}"
    return f" +-{told}" if float(told.replace(",", "")) else ""


def milestones_figure(result: StudyResult) -> Drawn:
    """Return the calendar of milestones with their intervals, and its alternative text."""
    rows = [
        row
        for row in result.rows
        if row.measure is Measure.MILESTONE_MONTHS and row.value is not None
    ]
    rows.sort(key=lambda row: row.value or 0.0)
    lock = _milestone(result, "database lock")
    title = (
        f"Database lock after {lock.value:.1f}{_error(lock, 1)} months on average "
        f"({_between(lock)} in 9 of 10 "
        "simulated trials)"
    )
    with house_style():
        figure = new_figure(8.6, 1.6 + 0.36 * len(rows))
        milestone_panel(figure.subplots(), rows)
        _titled(figure, title)
    each = "; ".join(f"{row.milestone} {row.value:.1f} ({_between(row)})" for row in rows)
    return figure, f"{title}. Months, mean and middle 90%: {each}."


def _milestone(result: StudyResult, name: str) -> Row:
    return next(
        row
        for row in result.rows
        if row.measure is Measure.MILESTONE_MONTHS and row.milestone == name
    )


def _between(row: Row) -> str:
    if row.value is None:
        return "longer than any trial went on,"
    return f"{row.lower:.1f} to {row.upper:.1f}"


# -- who passes ----------------------------------------------------------------------------------


def consort_panel(axes: Axes, result: StudyResult) -> Axes:
    """Draw the CONSORT flow: mean numbers in boxes, left to right the arms."""
    counts = {
        (row.category, row.arm): row
        for row in result.rows
        if row.measure is Measure.PATIENTS and row.look is None
    }
    arms = list(dict.fromkeys(arm for _, arm in counts if arm))
    middles = [0.4] if len(arms) == 1 else [0.2, 0.6]
    screened = _box(axes, 0.4, 0.94, [_said(counts["screened", None], "screened")])
    out = ("screening failed", "withdrawn in screening", "in screening when enrolment closed")
    lost = _box(axes, 0.80, 0.81, [_said(counts[name, None], name) for name in out])
    entered = _box(axes, 0.4, 0.68, [_said(counts["randomised", None], "randomised")])
    _arrow(axes, screened, entered)
    if stops := _stops(result):
        _box(axes, 0.80, 0.665, [f"{words} of trials" for words in stops])
    start = (0.4, 0.81)
    axes.annotate("", (0, 0.5), start, xycoords=lost, textcoords="data", arrowprops=_ARROW)
    for x, arm in zip(middles, arms, strict=True):
        own = {name: row for (name, its), row in counts.items() if its == arm}
        steps = [
            [f"{arm}", *_lines(own, ("randomised", "had a dose"))],
            _lines(own, ("stopped the drug", "discharged during treatment", "left the trial",
                         "died", "not seen")),
            _lines(own, ("followed to the end", "read out")),
        ]  # fmt: skip
        above = entered
        for y, lines in zip((0.50, 0.275, 0.06), steps, strict=True):
            if lines:
                box = _box(axes, x, y, lines)
                _arrow(axes, above, box)
                above = box
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    return axes


def _stops(result: StudyResult) -> list[str]:
    """Return "stopped at look 1 for efficacy: 2.5%", for what happens."""
    last = max((r.look or 0 for r in result.rows), default=0)
    return [
        f"stopped at look {row.look} for {row.analysis}: {100 * row.value:.1f}%"
        for row in result.rows
        if row.measure is Measure.STOP_PROBABILITY and row.value and 0 < (row.look or 0) < last
    ]


def _lines(own: Mapping[str | None, Row], names: Sequence[str]) -> list[str]:
    return [_said(own[name], name) for name in names if name in own]


def _said(row: Row, name: str) -> str:
    return f"{row.value:,.1f} {name}"


_ARROW = {"arrowstyle": "-|>", "color": GREY, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}


def _box(axes: Axes, x: float, y: float, lines: Sequence[str]) -> Artist:
    text = axes.text(
        x, y, "\n".join(lines), ha="center", va="center", fontsize=9, linespacing=1.4,
        bbox={"boxstyle": "round,pad=0.45", "fc": "white", "ec": INK, "lw": 1.0},
    )  # fmt: skip
    frame = text.get_bbox_patch()
    assert frame is not None  # asked for
    return frame


def _arrow(axes: Axes, above: Artist, below: Artist) -> None:
    """Draw an arrow from the bottom of one box to the top of another."""
    axes.annotate("", (0.5, 1), (0.5, 0), xycoords=below, textcoords=above, arrowprops=_ARROW)


def consort_figure(result: StudyResult) -> Drawn:
    """Return the CONSORT flow diagram, and its alternative text."""
    title = (
        f"Who passes: mean numbers over {counted(result.n_replicates, 'simulated trial')} (CONSORT)"
    )
    with house_style():
        figure = new_figure(8.6, 6.6)
        consort_panel(figure.subplots(), result)
        _titled(figure, title)
    rows = (r for r in result.rows if r.measure is Measure.PATIENTS and r.look is None)
    each = [f"{r.arm + ' ' if r.arm else ''}{r.category} {r.value:,.1f}" for r in rows]
    return figure, f"{title}. {'; '.join([*each, *_stops(result)])}."


# -- supply --------------------------------------------------------------------------------------


def stock_panel(axes: Axes, stock: Sequence[tuple[float, int, int]], outs: Sequence[float]) -> Axes:
    """Draw kits at sites and in depots over time, and a tick for every dose without a kit."""
    months = [month for month, _, _ in stock]
    for index, colour, style, words in ((1, BLUE, "-", "at sites"), (2, INK, "--", "in depots")):
        kits = [row[index] for row in stock]
        axes.step(months, kits, where="post", color=colour, lw=1.3, ls=style)
        axes.annotate(
            words, (months[-1], kits[-1]), (4, 0), textcoords="offset points", color=colour,
            va="center", fontsize=9,
        )  # fmt: skip
    axes.plot(
        list(outs), [0.0] * len(outs), "|", color=ORANGE, ms=14, mew=1.2,
        transform=axes.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip
    axes.set_ylim(0, None)
    axes.set_xlim(0, None)
    axes.set_xlabel(
        "months since the first invitation of a site; strokes on the axis: a dose without a kit"
    )
    axes.set_ylabel("kits, all arms")
    return axes


def supply_figure(result: StudyResult) -> Drawn:
    """Return kits over time in the first simulated trial, and its alternative text."""
    data = result.figure_data
    stock, outs = data["stock"], data["stock_outs"]
    kits = {row.category: row for row in result.rows if row.measure is Measure.KITS}
    dispensed = kits["dispensed"].value or 0.0
    title = (
        f"Kits in the first simulated trial: {len(outs)} "
        f"{'dose' if len(outs) == 1 else 'doses'} without one. On average "
        f"{dispensed:,.0f} of {kits['made'].value:,.0f} kits made reach a patient."
    )
    with house_style():
        figure = new_figure(8.6, 4.4)
        stock_panel(figure.subplots(), stock, outs)
        _titled(figure, title)
    step = max(1, len(stock) // 8)
    told = "; ".join(f"month {m:.0f}: {a} at sites, {b} in depots" for m, a, b in stock[::step])
    each = "; ".join(f"{name} {row.value:,.1f}" for name, row in kits.items())
    return figure, f"{title} {told}. Means over trials: {each}."


# -- cost ----------------------------------------------------------------------------------------


def cost_panel(axes: Axes, rows: Sequence[Row]) -> Axes:
    """Draw every category from where the one before ended, and the total."""
    at = 0.0
    for y, row in enumerate(rows):
        value, total = row.value or 0.0, row.category == "total"
        start = 0.0 if total else at
        axes.barh(
            y, value, left=start, height=0.6, fc=BLUE if total else ORANGE, ec=INK, lw=0.8,
            hatch="//" if total else None, alpha=0.75,
        )  # fmt: skip
        at = start + value
        words = f"{value:,.0f} ({row.lower:,.0f} to {row.upper:,.0f})"
        axes.text(1.01, y, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        if not total:
            axes.plot([at, at], [y - 0.3, y + 1.3], color=GREY, lw=0.8)
    axes.set_yticks(range(len(rows)), [row.category or "" for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return axes


def cost_figure(result: StudyResult) -> Drawn:
    """Return the waterfall of costs, and its alternative text."""
    rows = list(_costs(result))
    total = rows[-1]
    title = (
        f"It costs {total.unit} {total.value:,.0f}{_error(total, 0)} on average "
        f"({total.lower:,.0f} to {total.upper:,.0f} in 9 of 10 simulated trials)"
    )
    with house_style():
        figure = new_figure(8.8, 1.6 + 0.4 * len(rows))
        axes = figure.subplots()
        cost_panel(axes, rows)
        axes.set_xlabel(f"{total.unit}; right: mean and middle 90%")
        _titled(figure, title)
    each = "; ".join(f"{row.category} {row.value:,.0f}" for row in rows)
    return figure, f"{title}. {each}."


def _costs(result: StudyResult) -> Iterator[Row]:
    """Yield categories that cost something, and the total."""
    for row in result.rows:
        if row.measure is Measure.COST and (row.value or row.category == "total"):
            yield row
