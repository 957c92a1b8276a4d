"""Two trials that disagree: their estimates, the ratio of the two, and what can carry the gap."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from math import exp
from typing import TYPE_CHECKING, NamedTuple

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis
from trialsim.studies.conflict.explanation import NO_DATA, Carried, Difference, Explanation, Gap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["carried_panel", "explanation_figure", "gap_panel"]

_Z95 = 1.959963984540054
_FURTHEST = 250.0  # percent of the gap: lines further out run off the axis
_WIDEST = 30.0  # ratios further than this from 1 run off the axis


class _Bar(NamedTuple):
    """One line of the lower panel; without `carried` nothing is known of it."""

    label: str
    carried: Carried | None


def _bars(found: Explanation) -> Iterator[_Bar]:
    for difference in found.differing:
        label = _named(difference)
        if difference.same is None:
            yield _Bar(f"{label} (not recorded of both)", None)
        elif not difference.carried:
            yield _Bar(label, None)
        for carried in difference.carried:
            yield _Bar(f"{label}: {_short(carried.source)}", carried)
    if found.together:
        yield _Bar("all flaws that are quantified, together", found.together)


def _short(source: str) -> str:
    """Return a source without the numbers and the assumption behind it."""
    said = source.partition(":")[0].partition(";")[0]
    return f"{said})" if said.count("(") > said.count(")") else said


def _named(difference: Difference) -> str:
    if difference.subject == difference.what:
        return difference.subject
    return f"{difference.subject}, {difference.what}"


def gap_panel(axes: Axes, found: Explanation, gap: Gap) -> Axes:
    """Draw both estimates and their ratio, each with its 95% interval."""
    lines = _ratios(found, gap)
    for y, (_, value, error) in enumerate(lines):
        low, high = (_on_axis(value + sign * _Z95 * error) for sign in (-1, 1))
        last = y == len(lines) - 1
        axes.plot([low, high], [y, y], color=INK, lw=1.3)
        mark, colour = ("D", BLUE) if last else ("o", ORANGE)
        axes.plot([_on_axis(value)], [y], mark, color=colour, mec=INK, ms=8)
        axes.text(
            1.02, y, _said(value, error),
            transform=axes.get_yaxis_transform(), va="center", fontsize=8.5,
        )  # fmt: skip
    axes.axhline(1.5, color=GREY, lw=0.8)
    axes.axvline(1.0, color=GREY, lw=0.8)
    axes.set_yticks(range(len(lines)), [textwrap.fill(label, 38) for label, _, _ in lines])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    ends = [_on_axis(v + sign * _Z95 * e) for _, v, e in lines for sign in (-1, 1)]
    axes.set_xlim(min(0.8, *ends) * 0.9, max(1.25, *ends) * 1.1)
    ratio_axis(axes)
    axes.set_xlabel(f"{gap.measure}, and ratio of the two (diamond); 95% interval", fontsize=9)
    return axes


def _ratios(found: Explanation, gap: Gap) -> list[tuple[str, float, float]]:
    return [
        *((e.record.title, e.estimate, e.standard_error) for e in (gap.one, gap.other)),
        (f"{found.one.title} over {found.other.title}", gap.estimate, gap.standard_error),
    ]


def carried_panel(axes: Axes, found: Explanation) -> Axes:
    """Draw a bar per difference: the part of the gap it can carry, with its MCSE.

    A thin line spans the central 95%. Where nothing is known, the words stand instead of a bar.
    """
    bars = list(_bars(found))
    for y, bar in enumerate(bars):
        if bar.carried is None:
            axes.plot([0], [y], "x", color=INK, ms=6)
            axes.annotate(
                NO_DATA, (0, y), (8, 0), textcoords="offset points", va="center", fontsize=8.5
            )
            continue
        part = 100 * bar.carried.part
        axes.barh(y, part, height=0.5, fc=BLUE, ec=INK, lw=0.8)
        ends = [_percent(bar.carried.part_lower), _percent(bar.carried.part_upper)]
        axes.plot(ends, [y, y], color=INK, lw=0.8)
        error = 100 * bar.carried.part_mcse
        axes.errorbar(part, y, xerr=error, color=ORANGE, lw=2.2, capsize=3.5)
        axes.text(
            1.02, y, f"{part:.0f}% +-{error:.1f}%" if error else f"{part:.0f}% (exact)",
            transform=axes.get_yaxis_transform(), va="center", fontsize=8.5,
        )  # fmt: skip
    for place, style in ((0.0, "-"), (100.0, ":")):
        axes.axvline(place, color=INK, lw=0.9, ls=style)
    axes.set_yticks(range(len(bars)), [textwrap.fill(bar.label, 46) for bar in bars], fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    reached = [
        _percent(end)
        for bar in bars
        if bar.carried
        for end in (bar.carried.part_lower, bar.carried.part_upper)
    ]
    axes.set_xlim(min([-25.0, *reached]) - 5, max([110.0, *reached]) + 5)
    axes.set_xlabel(
        "percent of the gap, on the log scale; bar: mean, orange: +-1 MCSE, line: central 95%\n"
        "dotted: all of the gap; below 0 it hides some; x: no data; lines end at 250%",
        fontsize=9,
    )
    return axes


def explanation_figure(found: Explanation) -> tuple[Figure, str]:
    """Return the figure and its alternative text."""
    gap, bars = found.gap, list(_bars(found))
    title = _title(found)
    below = 1.1 + 0.52 * len(bars)
    with house_style():
        figure = new_figure(9.2, 0.7 + below + (2.1 if gap else 0.0))
        if gap:
            above, under = figure.subplots(2, 1, height_ratios=[2.1, below])
            gap_panel(above, found, gap)
        else:
            under = figure.subplots()
        carried_panel(under, found)
        figure.suptitle(textwrap.fill(title, 92), x=0.01, ha="left", fontsize=11)
    return figure, f"{title} {'; '.join(_told(found))}."


def _title(found: Explanation) -> str:
    gap = found.gap
    pair = f"{found.one.title} and {found.other.title}"
    if gap is None:
        return f"{pair}: no gap can be put in numbers."
    share = f"{100 * gap.as_large:.1f}% (MCSE {100 * gap.mcse:.1f}%)"
    return (
        f"{pair}: ratio of {gap.measure}s {_said(gap.estimate, gap.standard_error)}; {share} of "
        f"{gap.n_replicates:,} pairs with one common effect are so far apart."
    )


def _told(found: Explanation) -> Iterator[str]:
    if found.gap:
        yield from (f"{name} {_said(v, e)}" for name, v, e in _ratios(found, found.gap)[:2])
    for label, carried in _bars(found):
        if carried is None:
            yield f"{label}: {NO_DATA}"
        else:
            ends = f"{100 * carried.part_lower:.0f}% to {100 * carried.part_upper:.0f}%"
            error = f"MCSE {100 * carried.part_mcse:.1f}%"
            yield f"{label}: {100 * carried.part:.0f}% of the gap ({ends}; {error})"


def _percent(part: float) -> float:
    return min(max(100 * part, -_FURTHEST), _FURTHEST)


def _on_axis(value: float) -> float:
    return min(max(exp(value), 1 / _WIDEST), _WIDEST)


def _said(value: float, error: float) -> str:
    low, high = (exp(value + sign * _Z95 * error) for sign in (-1, 1))
    return f"{exp(value):.2f} ({low:.2f} to {high:.2f})"
