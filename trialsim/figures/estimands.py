"""What each estimand is, and where the estimates of the same simulated trials lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

from trialsim.figures.style import BLUE, GREY, INK, house_style, new_figure, ratio_axis
from trialsim.trial import Measure, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EstimandLine", "estimand_lines", "estimands_figure", "estimands_panel"]


@dataclass(frozen=True)
class EstimandLine:
    """One estimand: what is true, the mean estimate, and where 95% of estimates lie."""

    label: str
    true: float
    mean: float
    lower: float
    upper: float


def estimand_lines(rows: Sequence[Row]) -> dict[str, list[EstimandLine]]:
    """Return the lines of one endpoint by scenario; only those on the main estimand's scale."""
    found: dict[str, list[EstimandLine]] = {}
    scales = {row.scale for row in rows if row.estimand == "main" and row.measure is _TRUE}
    keys = dict.fromkeys((row.scenario or "", row.estimand or "") for row in rows)
    for scenario, name in keys:
        here = {r.measure: r for r in rows if (r.scenario, r.estimand) == (scenario, name)}
        true, mean = here[_TRUE], here.get(Measure.ESTIMATE_MEAN)
        if true.scale not in scales or mean is None or mean.value is None:
            continue
        ratio = (mean.scale or "").startswith("log ")
        lower, upper = here[Measure.ESTIMATE_Q025].value, here[Measure.ESTIMATE_Q975].value
        centre = exp(mean.value) if ratio else mean.value
        line = EstimandLine(name, true.value or 0.0, centre, lower or 0.0, upper or 0.0)
        found.setdefault(scenario, []).append(line)
    return found


_TRUE = Measure.TRUE_EFFECT


def estimands_panel(axes: Axes, lines: Sequence[EstimandLine], *, ratio: bool) -> Axes:
    """Draw estimands from top to bottom: a bar and dot for estimates, a diamond for the truth."""
    for y, line in enumerate(lines):
        axes.plot([line.lower, line.upper], [y, y], color=BLUE, lw=1.6)
        axes.plot([line.mean], [y], "o", color=BLUE, ms=5)
        axes.plot([line.true], [y - 0.28], "D", color=INK, ms=5)
    axes.axvline(1.0 if ratio else 0.0, color=GREY, lw=0.8, ls=":")
    axes.set_yticks(list(range(len(lines))), [line.label for line in lines])
    axes.set_ylim(len(lines) - 0.4, -0.7)
    if ratio:
        ratio_axis(axes)
    return axes


def estimands_figure(
    rows: Sequence[Row], titles: dict[str, str], endpoint: str
) -> tuple[Figure, str]:
    """Return the figure of one endpoint's estimands and its alternative text.

    Parameters
    ----------
    rows : sequence of Row
        The endpoint's rows with an estimand.
    titles : dict
        Scenario id -> title.
    endpoint : str
        What it is called.
    """
    panels = estimand_lines(rows)
    scale = next(row.scale or "" for row in rows if row.measure is _TRUE)
    ratio = scale.endswith("ratio") or "ratio of" in scale
    n = max(len(lines) for lines in panels.values())
    with house_style():
        figure = new_figure(9.6, 0.8 + len(panels) * (0.7 + 0.34 * n))
        drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        for axes, (scenario, lines) in zip(drawn[:, 0], panels.items(), strict=True):
            estimands_panel(axes, lines, ratio=ratio)
            axes.set_title(titles.get(scenario, scenario), loc="left", fontsize=9.5)
        drawn[-1, 0].set_xlabel(
            f"{scale}, treated to control; diamond: what is true; dot and bar: mean estimate, and "
            "where 95% of estimates lie"
        )
        figure.suptitle(f"Estimands of {endpoint}", x=0.01, ha="left", fontsize=11.5)
    said = [
        f"{titles.get(scenario, scenario)}, {x.label}: true {x.true:.3g}, mean estimate "
        f"{x.mean:.3g}, 95% of estimates {x.lower:.3g} to {x.upper:.3g}"
        for scenario, lines in panels.items()
        for x in lines
    ]
    return figure, f"Estimands of {endpoint}, {scale}. {'; '.join(said)}."
