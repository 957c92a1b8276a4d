"""Small line charts as SVG elements, drawn in a millisecond: the live picture beside an answer.

What is drawn are the numbers of the command's own figure. Colours and strokes are classes of
``app.css``, so that a chart follows dark and light; there is no style attribute. Figures to
download are drawn by `trialsim.figures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from trialsim.app.worker import Line, Panel

__all__ = ["Mark", "forest_chart", "line_chart", "ticks"]

_APART = 26.0  # labels of ticks would touch
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 30, 12, 44


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two, both ends included where they are round."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    base = 10 ** math.floor(math.log10(raw))
    step = next(m * base for m in (1, 2, 2.5, 5, 10) if m * base >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _across(line: Line) -> bool:
    """Whether it is a rule across the axes."""
    return len(line.x) == 2 and (line.x[0] == line.x[1] or line.y[0] == line.y[1])


def _log_ticks(low: float, high: float) -> list[float]:
    steps = (
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1,
        1.25,
        1.5,
        2,
        2.5,
        3,
        4,
        5,
        7,
        10,
        20,
        30,
        50,
    )
    found = [t for t in steps if low <= t <= high]
    return found[:: max(1, len(found) // 6)] if len(found) > 1 else ticks(low, high)


@dataclass(frozen=True)
class Mark:
    """One number of a forest, with its interval where it has one.

    Attributes
    ----------
    name : str
        What it is, for a pointer and a screen reader.
    shape : str
        ``trial`` (square), ``pool`` (diamond), ``adjusted`` (hollow square, dashed) or ``round``.
    said : str
        The number in words, beside it.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    shape: str
    said: str


def forest_chart(
    entries: Sequence[tuple[str, Sequence[Mark]]],
    title: str,
    x_label: str,
    *,
    log: bool = True,
    none_at: float | None = None,
    bounds: tuple[float, float] | None = None,
    width: int = 380,
) -> Markup:
    """Return numbers and intervals below one another, each entry's label above its marks.

    Parameters
    ----------
    entries : sequence of (label, marks)
    title : str
        What it shows, for a screen reader.
    log : bool
        Ratios: the axis is logarithmic; what is not above 0 is then left out.
    none_at : float, optional
        An upright line there: no effect.
    bounds : (low, high), optional
        Of the axis; default what the intervals reach. Further out they run off it.
    """
    found = [
        v
        for _, marks in entries
        for m in marks
        for v in (m.value, m.low, m.high)
        if v is not None and math.isfinite(v) and (not log or v > 0)
    ]
    found += [none_at] if none_at is not None and found else []
    if not found:
        return Markup("")
    low, high = bounds or (min(found), max(found))
    if not high > low:
        low, high = (low / 1.5, high * 1.5) if log else (low - 1, high + 1)
    left, right = 8.0, width - 156.0

    def across(x: float) -> float:
        a, b, c = (math.log(v) for v in (low, high, max(x, 1e-9))) if log else (low, high, x)
        return left + (right - left) * min(max((c - a) / (b - a), 0.0), 1.0)

    height = 8 + sum(22 + 20 * len(marks) for _, marks in entries) + 44
    floor = height - 40
    parts = [
        f'<svg class="chart forest" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{_text(title)}">'
    ]
    taken = [] if none_at is None else [across(none_at)]
    for tick in _log_ticks(low, high) if log else ticks(low, high, 4):
        x = across(tick)
        if tick != none_at and any(abs(x - other) < _APART for other in taken):
            continue
        taken.append(x)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{floor}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{floor + 15}">{tick:g}</text>')
    if none_at is not None and low <= none_at <= high:
        x = across(none_at)
        parts.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{floor}"/>')
    y = 8
    for label, marks in entries:
        parts.append(f'<text class="label" x="{left:.0f}" y="{y + 14}">{_text(label)}</text>')
        y += 22
        for mark in marks:
            parts += _marked(mark, across, y + 8, right + 10, log=log)
            y += 20
    parts.append(f'<text class="axis" x="{left:.0f}" y="{height - 6}">{_text(x_label)}</text>')
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704  (drawn here; every text escaped)


def _marked(
    mark: Mark, across: Callable[[float], float], y: float, beside: float, *, log: bool
) -> Iterator[str]:
    """Yield a mark with its interval, and its number in words beside it."""
    told = f"<title>{_text(f'{mark.name}: {mark.said}')}</title>"
    dashed = " dashed" if mark.shape == "adjusted" else ""
    if mark.low is not None and mark.high is not None:
        ends = f'x1="{across(mark.low):.1f}" x2="{across(mark.high):.1f}" y1="{y}" y2="{y}"'
        yield f'<line class="interval{dashed}" {ends}>{told}</line>'
    if not log or mark.value > 0:
        x = across(mark.value)
        if mark.shape == "round":
            yield f'<circle class="point s0" cx="{x:.1f}" cy="{y}" r="5">{told}</circle>'
        else:
            size = 7 if mark.shape == "pool" else 5
            corners = (
                ((x, y - size), (x + size, y), (x, y + size), (x - size, y))
                if mark.shape == "pool"
                else ((x - 5, y - 5), (x + 5, y - 5), (x + 5, y + 5), (x - 5, y + 5))
            )
            at = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
            colour = {"pool": "s5", "adjusted": "hollow"}.get(mark.shape, "s1")
            yield f'<polygon class="point {colour}" points="{at}">{told}</polygon>'
    yield f'<text class="said" x="{beside:.0f}" y="{y + 4}">{_text(mark.said)}</text>'


def line_chart(
    panel: Panel,
    title: str,
    *,
    names: Sequence[str] = (),
    width: int = 460,
    height: int = 300,
    y_percent: bool = False,
    y_range: tuple[float, float] | None = None,
    rule_at: float | None = None,
) -> Markup:
    """Return one panel as an ``<svg>`` element.

    Parameters
    ----------
    panel : Panel
        Of an answer's figure. A level or upright line of two points is a rule across its axes, and
        left out; a line of one point is a mark.
    title : str
        What it shows, for a screen reader.
    names : sequence of str
        Of the lines, where they have no label of their own.
    y_percent : bool
        Shares shown in percent.
    rule_at : float, optional
        On the x axis: an upright line there.
    """
    lines = [line for line in panel.lines if len(line.x) == len(line.y)]
    shown = [line for line in lines if not _across(line)]
    xs = [x for line in shown for x in line.x if math.isfinite(x)]
    ys = [y for line in shown for y in line.y if math.isfinite(y)]
    if not xs or not ys:
        return Markup("")
    low, high = min(xs), max(xs)
    bottom, top = y_range or ((0.0, 1.0) if y_percent else (min(0.0, *ys), max(ys) or 1.0))
    log = panel.log_x and low > 0

    def across(x: float) -> float:
        a, b, c = (math.log(v) for v in (low, high, x)) if log else (low, high, x)
        return _LEFT + (width - _LEFT - _RIGHT) * ((c - a) / (b - a) if b > a else 0.5)

    def down(y: float) -> float:
        share = (y - bottom) / (top - bottom) if top > bottom else 0.5
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * share

    parts = [
        f'<svg class="chart lines" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{_text(title)}">',
        f'<text class="axis" x="2" y="15">{_text(panel.y_label)}</text>',
    ]
    for tick in ticks(bottom, top):
        y, label = down(tick), f"{100 * tick:g}%" if y_percent else f"{tick:g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{label}</text>')
    for tick in _log_ticks(low, high) if log else ticks(low, high):
        x = across(tick)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        )
        at = f'x="{x:.1f}" y="{height - _BOTTOM + 16}"'
        parts.append(f'<text class="tick mid" {at}>{_grouped(tick)}</text>')
    middle = (_LEFT + width - _RIGHT) / 2
    parts.append(
        f'<text class="axis mid" x="{middle:.0f}" y="{height - 8}">{_text(panel.x_label)}</text>'
    )
    for area in panel.areas:
        corners = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in area if not log or x > 0)
        parts.append(f'<polygon class="area" points="{corners}"/>')
    if rule_at is not None:
        x = across(rule_at)
        parts.append(
            f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        )
    for number, line in enumerate(lines):
        points = [
            (across(x), down(y))
            for x, y in zip(line.x, line.y, strict=True)
            if math.isfinite(x) and math.isfinite(y) and (not log or x > 0) and line in shown
        ]
        colour = f"s{number % 6}"
        name = line.label or (names[number] if number < len(names) else "")
        told = f"<title>{_text(name)}</title>" if name else ""
        if len(points) > 1 and not line.points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline class="line {colour}" points="{path}">{told}</polyline>')
        else:
            parts += [
                f'<circle class="mark {colour}" cx="{x:.1f}" cy="{y:.1f}" r="5">{told}</circle>'
                for x, y in points
            ]
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704  (drawn here; every text escaped)


def _text(words: str) -> str:
    return escape(words, quote=True)


def _grouped(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
