"""What ``trialsim calibrate`` prints: what was fitted, to what, and what stays open."""

from __future__ import annotations

from math import exp

from trialsim.protocol.quantities import months
from trialsim.protocol.truths.points import CountPoint, OddsRatioPoint, RatePoint
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.fitted.calibration import Estimate, FittedPoint, PlannedCalibration
from trialsim.trial import StudyResult

__all__ = ["calibration_screen"]


def calibration_screen(
    planned: PlannedCalibration, result: StudyResult, seed: int, program: str
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedCalibration
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    template, scenario = planned.resolved.template, planned.scenario
    title = f"{template.id.upper()}   {template.title}"
    what = f"{template.protocol.primary.event}; scenario {scenario.id} ({scenario.title})"
    parts = [f"{wrapped(title)}\n{wrapped(what)}", _estimates(result), _points(planned)]
    parts.append(wrapped(_legend(result, seed)))
    if misfit := result.texts.get("misfit"):
        parts.append(wrapped(misfit))
    opened = [text for name, text in result.texts.items() if name.startswith("undetermined")]
    said = "\n".join(wrapped(text, "  ", "- ") for text in opened)
    parts.append(f"What these points cannot determine:\n{said}")
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(f"To paste into a protocol file:\n\n{result.texts['scenarios']}")
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(parts)


def _estimates(result: StudyResult) -> str:
    estimates: tuple[Estimate, ...] = result.figure_data["estimates"]
    rows = []
    for e in estimates:
        covers = "-"
        if e.coverage is not None:
            error = "" if e.mcse is None else f" +-{100 * e.mcse:.1f}"
            covers = f"{100 * e.coverage:.1f} %{error}"
        value = f"{'>= ' if e.at_most else ''}{_number(e, e.value)}"
        value = value if e.determined else "not determined"
        rows.append((f"{e.parameter.name}: {e.parameter.what}", value, _interval(e), covers))
    return table(("fitted", "per year", "95% interval", "covers"), rows)


def _number(e: Estimate, value: float) -> str:
    return f"{value:.1f} days" if e.parameter.is_delay else f"{value:.4g}"


def _interval(e: Estimate) -> str:
    if e.lower is None and e.upper is None:
        return "any"
    if e.upper is None:
        return f"at least {_number(e, e.lower or 0)}"
    if e.lower is None:
        return f"at most {_number(e, e.upper)}"
    return f"{_number(e, e.lower)} to {_number(e, e.upper)}"


def _points(planned: PlannedCalibration) -> str:
    rows = []
    for found in planned.fitted_points:
        point = found.point
        name = f"{point.record}\n{point.result}" if point.result else point.record
        when = "-" if isinstance(point, RatePoint) else months(point.day)
        covers = "-" if found.coverage is None else f"{100 * found.coverage:.0f} %"
        seen, fitted = _seen(found)
        rows.append((name, point.arm, when, seen, fitted, f"{found.residual:+.2f}", covers))
    header = ("point", "arm", "after\nentry", "seen", "fitted", "resi-\ndual", "covers")
    return table(header, rows)


def _seen(found: FittedPoint) -> tuple[str, str]:
    match found.point:
        case OddsRatioPoint():
            return found.point.seen, f"{exp(found.fitted):.2f}"
        case RatePoint():
            return found.point.seen, f"{100 * exp(found.fitted):.3g}"
        case CountPoint():
            return f"{found.point.seen} ({100 * found.seen:.1f} %)", f"{100 * found.fitted:.1f} %"


def _legend(result: StudyResult, seed: int) -> str:
    estimates: tuple[Estimate, ...] = result.figure_data["estimates"]
    simulated = (
        f"; with +-, from {result.n_replicates:,} simulated data sets (seed {seed}, one MCSE)"
        if any(e.mcse is not None for e in estimates)
        else ""
    )
    return (
        "95% interval: profile likelihood. covers: how often such an interval holds the truth at "
        "these sizes, were the fit true (beside a point: the interval of that proportion alone, "
        f"by likelihood); enumerated{simulated}. residual: deviance. py: person-years."
    )
