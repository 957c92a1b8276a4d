"""SVG of the Bias lab: bars from truth to publication, and a funnel of trials, one by one.

Made as `charts` makes them: elements with classes, every text escaped, no style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from trialsim.app.charts import ticks

__all__ = ["Scale", "Step", "Trial", "funnel", "waterfall"]

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Scale:
    """What effects are measured on: a ratio, kept as its logarithm, or a difference.

    Attributes
    ----------
    name : str
        "odds ratio", "risk difference".
    """

    name: str
    is_ratio: bool = True

    @classmethod
    def of(cls, words: str) -> Scale:
        """Return the scale of a result: "log odds ratio", "risk difference"."""
        return cls(words.removeprefix("log "), words.startswith("log "))

    def natural(self, value: float) -> float:
        """Return an effect as it is shown: a ratio, not its logarithm."""
        return math.exp(value) if self.is_ratio else value

    def told(self, value: float) -> str:
        """Return an effect in words."""
        return f"{math.exp(value):.3f}" if self.is_ratio else f"{value:+.{self._decimals}f}"

    def exactly(self, value: float, mcse: float) -> str:
        """Return an effect with its Monte Carlo error."""
        error = f"{math.exp(value) * mcse:.3f}" if self.is_ratio else f"{mcse:.{self._decimals}f}"
        return f"{self.told(value)} \N{PLUS-MINUS SIGN} {error}"

    def moved(self, by: float) -> str:
        """Return what an effect is multiplied by, or what is added to it."""
        return f"x {self.told(by)}" if self.is_ratio else self.told(by)

    def ticks(self, low: float, high: float) -> list[tuple[float, str]]:
        """Return where an axis has a mark, and which."""
        if not self.is_ratio:
            return [(x, f"{x:g}") for x in ticks(low, high)]
        steps = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2, 3, 4, 6, 10)
        found = [(math.log(s), f"{s:g}") for s in steps if low <= math.log(s) <= high]
        return found[:: math.ceil(len(found) / 8)] if len(found) > 8 else found

    @property
    def _decimals(self) -> int:
        return 3 if self.name.startswith(("risk", "survival")) else 2


@dataclass(frozen=True)
class Step:
    """One bar: what moves the effect, from where to where, on the analysis scale.

    Attributes
    ----------
    name : str
    start, end : float
    mcse : float
        Of the move.
    favours : bool
        Towards benefit.
    """

    name: str
    start: float
    end: float
    mcse: float
    favours: bool


@dataclass(frozen=True)
class Trial:
    """One trial as planned and as reported; effects and their standard errors.

    Attributes
    ----------
    number : int
        Of the student who replays it.
    patients : int
        Of its size class.
    published : bool
        As reported.
    of : int
        Which of the funnel's commands repeats it.
    """

    number: int
    patients: int
    planned: tuple[float, float]
    reported: tuple[float, float]
    published: bool
    of: int = 0


def _text(words: str) -> str:
    return escape(words, quote=True)


def waterfall(steps: Sequence[Step], truth: float, title: str, scale: Scale) -> Markup:
    """Return bars that lead from the truth to what is published, as an ``<svg>`` element.

    Parameters
    ----------
    steps : sequence of Step
    truth : float
        The true effect, on the analysis scale.
    title : str
        What it shows, for a screen reader.
    scale : Scale
    """
    row, left, right, top, width = 30, 235, 72, 8, 700
    ends = [truth, 0.0, *(s.start for s in steps), *(s.end for s in steps)]
    ends += [s.end + side * _Z95 * s.mcse for s in steps for side in (-1, 1)]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low or 1.0)
    low, high = low - margin, high + margin
    height = top + row * (len(steps) + 2) + 36

    def across(x: float) -> float:
        return left + (width - left - right) * (x - low) / (high - low)

    bottom = height - 32
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{_text(title)}">'
    ]
    for tick, label in scale.ticks(low, high):
        x, kind = across(tick), "grid" if tick else "rule"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{bottom + 15}">{label}</text>')
    at = [("the truth", truth), *((s.name, s.end) for s in steps)]
    at.append(("published", steps[-1].end if steps else truth))
    for i, (name, value) in enumerate(at):
        y = top + row * i + row / 2
        parts.append(f'<text class="end" x="{left - 8}" y="{y + 4:.1f}">{_text(name)}</text>')
        if i in (0, len(at) - 1):
            kind = "s5" if i else "hollow"
            corners = f"{across(value):.1f},{y - 7:.1f}"
            points = f"{corners} {across(value) + 7:.1f},{y:.1f} {across(value):.1f},{y + 7:.1f}"
            points += f" {across(value) - 7:.1f},{y:.1f}"
            parts.append(f'<polygon class="mark {kind}" points="{points}"/>')
            words = scale.told(value)
        else:
            step = steps[i - 1]
            x = min(across(step.start), across(step.end))
            wide = abs(across(step.end) - across(step.start))
            colour = "s1" if step.favours else "s0"
            words = scale.moved(step.end - step.start)
            parts.append(
                f'<rect class="mark {colour}" x="{x:.1f}" y="{y - 9:.1f}" width="{wide:.1f}" '
                f'height="18"><title>{_text(f"{step.name}: {words}")}</title></rect>'
            )
            sides = [across(step.end + side * _Z95 * step.mcse) for side in (-1, 1)]
            parts.append(
                f'<line class="error" x1="{sides[0]:.1f}" x2="{sides[1]:.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
            )
        parts.append(f'<text x="{width - right + 8}" y="{y + 4:.1f}">{words}</text>')
    middle = (left + width - right) / 2
    parts.append(
        f'<text class="axis mid" x="{middle:.0f}" y="{height - 4}">{_text(scale.name)}</text>'
    )
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704  (drawn here; every text escaped)


def funnel(trials: Sequence[Trial], truth: float, title: str, scale: Scale) -> Markup:
    """Return trials by effect and standard error, as an ``<svg>`` element.

    Each trial is one group, in the order they are to appear; it holds where the trial stands as
    planned and as reported. Hollow: in the drawer.

    Parameters
    ----------
    truth : float
        The true effect, on the analysis scale.
    scale : Scale
    """
    width, height, left, right, top, bottom = 620, 380, 52, 12, 14, 44
    seen = [pair for t in trials for pair in (t.planned, t.reported) if is_finite(pair)]
    most = 1.05 * max((se for _, se in seen), default=1.0)
    low = min([truth - _Z95 * most, *(x for x, _ in seen)])
    high = max([truth + _Z95 * most, *(x for x, _ in seen)])
    low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)

    def across(x: float) -> float:
        return left + (width - left - right) * (x - low) / (high - low)

    def down(se: float) -> float:
        return top + (height - top - bottom) * se / most

    floor = height - bottom
    parts = [
        f'<svg class="chart funnel" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{_text(title)}" data-scale="{_text(scale.name)}" '
        f'data-ratio="{int(scale.is_ratio)}">'
    ]
    corners = ((truth, 0.0), (truth + _Z95 * most, most), (truth - _Z95 * most, most))
    points = " ".join(f"{across(x):.1f},{down(se):.1f}" for x, se in corners)
    parts.append(f'<polygon class="area" points="{points}"/>')
    for tick, label in scale.ticks(low, high):
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{floor + 16}">{label}</text>')
    for tick in ticks(0.0, most):
        y = down(tick) + 4
        parts.append(f'<text class="tick end" x="{left - 6}" y="{y:.1f}">{tick:g}</text>')
    x = across(truth)
    parts.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
    for trial in trials:
        if not (is_finite(trial.planned) and is_finite(trial.reported)):
            continue
        (x0, se0), (x1, se1) = trial.planned, trial.reported
        drawer = "" if trial.published else " drawer"
        words = (
            f"trial {trial.number} of {trial.patients:,} patients: {scale.told(x0)} as planned, "
            f"{scale.told(x1)} as reported{'' if trial.published else ', not published'}"
        )
        parts.append(
            f'<g class="trial{drawer}" data-reported="{x1:.4f}"><title>{_text(words)}</title>'
            f'<line class="move" x1="{across(x0):.1f}" y1="{down(se0):.1f}" '
            f'x2="{across(x1):.1f}" y2="{down(se1):.1f}"/>'
            f'<circle class="before" cx="{across(x0):.1f}" cy="{down(se0):.1f}" r="3.5"/>'
            f'<circle class="after" cx="{across(x1):.1f}" cy="{down(se1):.1f}" r="4.5"/></g>'
        )
    middle = (left + width - right) / 2
    parts.append(
        f'<text class="axis mid" x="{middle:.0f}" y="{height - 8}">'
        f"{_text(scale.name)}; upwards: standard error towards 0</text></svg>"
    )
    return Markup("".join(parts))  # noqa: S704  (drawn here; every text escaped)


def is_finite(pair: tuple[float, float]) -> bool:
    """Return whether an effect and its standard error are numbers: an analysis was possible."""
    return all(math.isfinite(x) for x in pair)
