"""What happens without the effect: every number of the control arm, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from trialsim.protocol.quantities import SourcedNumber
from trialsim.protocol.survival import HazardPiece, Lifetime, Survives
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.safety import safety_endpoints
from trialsim.report.text import wrapped

__all__ = ["control_arm_in_words", "control_arm_lines", "scenario_note_lines"]

_ELSEWHERE = ("correlation", "note", "source", "imbalance_seen", "lost_per_visit", "lost_per_year")

_ASSUMED = "assumed"


def control_arm_in_words(resolved: ResolvedTemplate) -> dict[str, str]:
    """Return, by endpoint, what the file states of the control arm, each number with its source.

    A single arm has no control: the numbers are its own without an effect. Safety endpoints,
    which are told apart, and courses of response, which differ between scenarios, are left out.
    """
    nature, primary = resolved.template.nature, resolved.template.protocol.primary.id
    found: dict[str, str] = {}
    if nature.control_risk is not None:
        known = resolved.set_by_user("nature.control_risk")
        known = known or _why(nature.control_risk, "risk", resolved) or _ASSUMED
        found[primary] = f"risk {nature.control_risk} ({known})"
    if nature.survival is not None:
        found[primary] = _stated(nature.survival, resolved, "nature.survival")
    safe = {endpoint.id for endpoint in safety_endpoints(resolved)}
    for name, model in (nature.outcomes or {}).items():
        if name not in safe:
            found[name] = _stated(model, resolved, f"nature.outcomes.{name}")
    return found


def control_arm_lines(resolved: ResolvedTemplate) -> str:
    """Return these for a terminal, a paragraph per endpoint; nothing where there are none."""
    found = control_arm_in_words(resolved)
    if not found:
        return ""
    single = resolved.template.protocol.is_single_arm
    who = "The arm without an effect" if single else "The control arm"
    told = (wrapped(words, "    ", f"  {name}: ") for name, words in found.items())
    return "\n".join([f"{who}, and where each number comes from:", *told])


def scenario_note_lines(resolved: ResolvedTemplate) -> str:
    """Return what the file notes at the numbers of each scenario; nothing where it notes none."""
    told = []
    for scenario in resolved.template.scenarios:
        found: dict[str, list[str]] = {}  # numbers that share a note, said once
        for where, note in _notes(scenario, ""):
            found.setdefault(note, []).append(where)
        said = "; ".join(f"{', '.join(at)} ({note.rstrip('.')})" for note, at in found.items())
        told += [wrapped(said, "    ", f"  {scenario.id}: ")] if said else []
    return "\n".join(["What the file notes at these numbers:", *told]) if told else ""


def _notes(content: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the words of every note below, but that a number is assumed."""
    if isinstance(content, BaseModel):
        note = getattr(content, "note", None)
        if note and note != _ASSUMED:
            yield where or "scenario", note
        below = [(name, getattr(content, name)) for name in type(content).model_fields]
    elif isinstance(content, dict):
        below = list(content.items())
    else:
        below = [("", one) for one in content] if isinstance(content, tuple) else []
    for name, value in below:
        shown = "" if name in _WRAPPERS else str(name).replace("_", " ")
        yield from _notes(value, " ".join(filter(None, (where, shown))))


_WRAPPERS = ("outcomes", "modifiers", "response", "effect", "survival")


def _stated(model: BaseModel, resolved: ResolvedTemplate, path: str) -> str:
    if changed := resolved.set_by_user(path):
        return changed
    told = list(_numbers(model, resolved, path, ""))
    grouped = groupby(told, key=lambda one: one[1])  # the same source after several numbers, once
    return ", ".join(
        ", ".join(words for words, _ in numbers) + (f" ({why})" if why else "")
        for why, numbers in grouped
    )


def _numbers(
    model: BaseModel, resolved: ResolvedTemplate, path: str, before: str
) -> Iterator[tuple[str, str]]:
    """Yield each number in words, and where it comes from."""
    own = _why_lifetime(model, resolved) or getattr(model, "note", None)
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name in _ELSEWHERE or value is None or value == field.default:
            continue
        words = f"{before}{name.replace('_', ' ')}"
        if name == "pieces":
            yield _pieces(value), own or _ASSUMED
        elif isinstance(value, Survives):
            yield f"{100 * value.share:.3g}% without it at {value.at}", own or _ASSUMED
        elif isinstance(value, BaseModel) and not isinstance(value, SourcedNumber):
            yield from _numbers(value, resolved, f"{path}.{name}", f"{words} ")
        else:
            yield f"{words} {_shown(value)}", _why(value, name, resolved) or own or _ASSUMED


def _why_lifetime(model: BaseModel, resolved: ResolvedTemplate) -> str:
    """Return the source of a lifetime with its status where that is weak, and its note."""
    if not isinstance(model, Lifetime) or model.source is None:
        return ""
    status = resolved.status_of_lifetime(model)
    weak = f", {status.value.upper()}" if status and status.is_weak else ""
    return f"{model.source}{weak}" + (f"; {model.note}" if model.note else "")


def _pieces(pieces: Sequence[HazardPiece]) -> str:
    told = (f"{one.hazard_per_year}" + (f" to {one.until}" if one.until else "") for one in pieces)
    return f"hazard per year {', then '.join(told)}"


def _shown(value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return " and ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)


def _why(value: Any, name: str, resolved: ResolvedTemplate) -> str:
    values = value if isinstance(value, tuple) else (value,)
    sourced = [one for one in values if isinstance(one, SourcedNumber)]
    return "; ".join(dict.fromkeys(filter(None, (_known(v, name, resolved) for v in sourced))))


def _known(number: SourcedNumber, name: str, resolved: ResolvedTemplate) -> str:
    if number.source is None:
        return number.note or ""
    quantity = "control_risk" if name == "risk" else name
    stated = resolved.evidence.stated_as(number.source, quantity, number.value)
    weak = f", {stated.status.value.upper()}" if stated and stated.status.is_weak else ""
    return f"{number.source}{weak}"
