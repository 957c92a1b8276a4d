"""Small line charts as SVG elements, drawn in a millisecond: the live picture beside an answer.

What is drawn are the numbers of the command's own figure. Colours and strokes are classes of
``app.css``, so that a chart follows dark and light; there is no style attribute. Figures to
download are drawn by `trialsim.figures`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from trialsim.app.worker import Line, Panel

__all__ = ["line_chart", "ticks"]

_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 14, 12, 44


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
    steps = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10)
    found = [t for t in steps if low <= t <= high]
    return found[:: max(1, len(found) // 6)] if len(found) > 1 else ticks(low, high)


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
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{_text(title)}">'
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
