"""What a calibration leaves open, in sentences, and the fitted scenario as it goes into a file."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trialsim.kernels.likelihood import null_directions
from trialsim.protocol.quantities import Clock, Time, months
from trialsim.protocol.truths.points import OddsRatioPoint

if TYPE_CHECKING:
    from trialsim.protocol.scenario import Piece
    from trialsim.studies.fitted.calibration import Estimate, PlannedCalibration
    from trialsim.studies.fitted.course_model import Parameter

__all__ = ["misfit_in_words", "scenario_block", "undetermined_in_words"]

_WIDE = 10.0  # between the ends of an interval: worth saying
_FAR = 1.96  # a residual worth saying


def misfit_in_words(planned: PlannedCalibration) -> str | None:
    """Return which points the fit misses, by residuals beyond 1.96; None for none."""
    missed = [
        f"{found.point.record}{f':{found.point.result}' if found.point.result else ''}, "
        f"{found.point.arm} ({found.residual:+.2f})"
        for found in planned.fitted_points
        if abs(found.residual) > _FAR
    ]
    if not missed:
        return None
    return (
        f"No course of this scenario fits all points: the best misses {'; '.join(missed)}, by "
        "residuals. Intervals and coverage take the course for true."
    )


def undetermined_in_words(
    planned: PlannedCalibration, estimates: Sequence[Estimate]
) -> tuple[str, ...]:
    """Return what the points cannot determine, the graver first; each a sentence or two."""
    found = [*_flat(planned), *_one_sided(estimates), *_held(planned), *_beyond(planned)]
    return tuple(found)


def _flat(planned: PlannedCalibration) -> Iterator[str]:
    slopes = np.abs(planned.slopes(planned.free)).max(axis=0, initial=0.0)
    unseen = [i for i in planned.undetermined if slopes[i] < 1e-12]
    if unseen:
        named = _listed([_named(planned.parameters[i]) for i in unseen])
        yield f"No point speaks of {named}."
    together = planned.flat @ planned.flat.T
    left = [i for i in planned.undetermined if i not in unseen]
    while left:
        group = [left.pop(0)]
        for member in group:
            near = [i for i in left if abs(together[member, i]) > 1e-6]
            group += near
            left = [i for i in left if i not in near]
        yield _group_in_words(planned, sorted(group))


def _group_in_words(planned: PlannedCalibration, group: Sequence[int]) -> str:
    parameters = [planned.parameters[i] for i in group]
    names = _listed([p.name for p in parameters])
    hazards = [p for p in parameters if p.piece >= 0 and not p.is_delay]
    n_flat = null_directions(planned.slopes([planned.free[i] for i in group])).shape[1]
    fixed = len(group) - n_flat
    if len(hazards) == len(group) == 2 and hazards[0].arm == hazards[1].arm:
        first, second = hazards
        if abs(first.end - second.start) < 0.5:
            days = [p.day for p in planned.counts if p.day >= second.start]
            by = months(min(min(days, default=second.end), second.end))
            return (
                f"The two hazards of the {first.arm} arm before and after {months(first.end)} "
                f"({names}): only what they add up to by {by} is fixed."
            )
    if {p.arm for p in hazards} == {"control", "treated"} and any(
        isinstance(p, OddsRatioPoint) for p in planned.others
    ):
        return (
            f"{names}: an odds ratio fixes the treated arm against the control arm, not the level "
            "of both. Add a control arm's counts, or hold the control arm: --free treated."
        )
    reasons = []
    if any(p.is_delay for p in parameters):
        reasons.append("a later start with a higher hazard gives the same responses")
    if any(p.name == "relapse" for p in parameters):
        reasons.append("responses that come faster and are lost faster look the same")
    if reasons:
        return f"{names}: {', and '.join(reasons)} at these points."
    one = "one combination" if fixed == 1 else f"{fixed} combinations"
    return f"{names}: the points fix {one} of these {len(group)}, not each."


def _one_sided(estimates: Sequence[Estimate]) -> Iterator[str]:
    for e in estimates:
        name, unit = e.parameter.name, e.parameter.unit
        if not e.determined:
            continue
        if e.lower is None and e.upper is None:
            yield f"{name}: the likelihood is never low enough to exclude anything."
        elif e.upper is None and e.at_most:
            yield f"{name}: the faster, the better the fit; at least {e.lower:.2g} {unit}."
        elif e.upper is None:
            yield f"{name}: at least {e.lower:.2g} {unit}; the points give no upper limit."
        elif e.lower is None:
            yield f"{name}: at most {e.upper:.3g} {unit}; the points give no lower limit."
        elif e.lower == 0:
            yield f"{name}: may be 0; the points only exclude more than {e.upper:.2g} {unit}."
        elif e.upper / e.lower >= _WIDE:
            yield f"{name}: known only within a factor of {e.upper / e.lower:.0f}."


def _held(planned: PlannedCalibration) -> Iterator[str]:
    """Say which numbers were held that the points could not tell anyway, and which they could."""
    base = null_directions(planned.slopes(planned.free)).shape[1]
    could: list[str] = []
    could_not: list[str] = []
    for index, p in enumerate(planned.model.parameters):
        if index in planned.free:
            continue
        more = null_directions(planned.slopes([*planned.free, index])).shape[1]
        (could if more == base else could_not).append(_held_in_words(p))
    if could_not:
        yield (
            f"Held as the scenario has it, since these points could not tell it beside the rest: "
            f"{'; '.join(could_not)}."
        )
    if could:
        yield f"Held, though these points could tell it (--free): {'; '.join(could)}."
    response = planned.scenario.response
    later = response.treated[1:] if response and response.treated else ()
    if any(piece.as_control for piece in later):
        yield "That a later piece of the treated arm is like control is the scenario's assumption."


def _held_in_words(p: Parameter) -> str:
    if p.is_delay:
        return f"{p.name} ({p.what} {months(p.value)})"
    return f"{p.name} ({p.what}: {p.shown(p.value):.3g} per year)"


def _beyond(planned: PlannedCalibration) -> Iterator[str]:
    if last := planned.points.last_day:
        yield f"Nothing is known after {months(last)}: the last hazards go on."


def _named(p: Parameter) -> str:
    return f"{p.name} ({p.what})"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def scenario_block(planned: PlannedCalibration, estimates: Sequence[Estimate], made_by: str) -> str:
    """Return the fitted scenario as YAML, to be pasted under ``scenarios:`` (and ``nature:``).

    Six digits; a hazard names the first record it was fitted to as its source. Parameters the
    points do not determine are marked as assumed.
    """
    fitted = {e.parameter.name: e for e in estimates}
    scenario, response = planned.scenario, planned.scenario.response
    assert response is not None  # asked for when it was planned
    name = f"{scenario.id.removesuffix('-calibrated')[:53].rstrip('-')}-calibrated"
    lines = _command(made_by)
    if "relapse" in fitted:
        relapse = _rate("relapse_per_year", planned, fitted["relapse"], 4)
        lines += ["nature:", "  response:", *relapse]
    titles = ", ".join(planned.resolved.evidence.records[r].title for r in planned.points.records)
    lines += ["scenarios:", f"  - id: {name}", *_text("title", f"fitted to {titles}", 4)]
    lines.append("    response:")
    for arm, pieces in (("control", response.control), ("treated", response.treated or ())):
        if pieces:
            lines.append(f"      {arm}:")
        for index, piece in enumerate(pieces):
            lines += _piece(planned, fitted, arm, index, piece)
    return "\n".join(lines)


def _command(made_by: str) -> list[str]:
    """Return a command as comments of at most 80 columns, an option and its value together."""
    lines: list[str] = []
    for part in re.split(r" (?=--)", made_by) if made_by else ():
        if lines and len(lines[-1]) + len(part) < 75:
            lines[-1] += f" {part}"
        else:
            lines.append(f"  {part}" if lines else part)
    going_on = [f"# {line} \\" for line in lines[:-1]]
    return going_on + [f"# {line}" for line in lines[-1:]]


def _piece(
    planned: PlannedCalibration,
    fitted: dict[str, Estimate],
    arm: str,
    index: int,
    piece: Piece,
) -> list[str]:
    until, note = _time(piece.until), piece.note
    if arm == "treated" and index == 0 and "delay" in fitted:
        delay = fitted["delay"]  # and no longer the end of therapy, of which the piece spoke
        until, note = f"{delay.value:.4f} d", _where_from(planned, delay)
    lines = [f"        - until: {until}"]
    if piece.as_control:
        return [*lines, "          as_control: true", *_text("note", note, 10)]
    parameter = planned.model.parameters[planned.model.index(f"{arm}-{index + 1}")]
    estimate = fitted.get(parameter.name)
    if estimate:
        fitted_rate = _rate("hazard_per_year", planned, estimate, 10)
        return [*lines, *fitted_rate, *_text("note", piece.note, 10)]
    held = [f"          hazard_per_year: {parameter.shown(parameter.value):.6g}"]
    return [*lines, *held, *_text("note", piece.note, 10)]


def _where_from(planned: PlannedCalibration, estimate: Estimate) -> str:
    """Return how a value came about, and how far the data fix it."""
    words = ", ".join(planned.request.to)
    if not estimate.determined:
        return f"assumed: one of many values that fit {words} equally well"
    upper = "any" if estimate.upper is None else f"{estimate.upper:.3g}"
    note = f"fitted to {words}; 95% profile interval {estimate.lower or 0:.3g} to {upper}"
    return note + (
        "; the likelihood rises up to this value, the largest tried" if estimate.at_most else ""
    )


def _rate(key: str, planned: PlannedCalibration, estimate: Estimate, indent: int) -> list[str]:
    note = _where_from(planned, estimate)
    space = " " * indent
    source = [f"{space}  source: {planned.points.records[0]}"] if estimate.determined else []
    return [
        f"{space}{key}:",
        f"{space}  value: {estimate.value:.6g}",
        *source,
        *_text("note", note, indent + 2),
    ]


def _text(key: str, text: str | None, indent: int) -> list[str]:
    """Return a quoted text, folded at 80 columns as YAML folds it."""
    if text is None:
        return []
    space = " " * indent
    quoted = f"{space}{key}: {json.dumps(text)}"
    return textwrap.wrap(
        quoted,
        80,
        subsequent_indent=f"{space}  ",
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _time(time: Time) -> str:
    if time.clock is Clock.ENTRY:
        return str(time.after)
    return f"{{after: {time.after}, from: {time.clock.value}}}"
