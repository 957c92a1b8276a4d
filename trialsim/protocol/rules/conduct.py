"""Which flaw of conduct can act on which kind of endpoint, and why not where it cannot."""

from __future__ import annotations

from re import search

from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    CompetingEndpoint,
    DaysAliveEndpoint,
    MaxComboTest,
    TimeToEventEndpoint,
)

__all__ = ["WITHOUT_IT", "acts_on", "names_death", "of_any_cause", "why_not"]

WITHOUT_IT = "leave it out of the profile."  # `studies.bias` adds what can act instead
_REMEDY = f"{WITHOUT_IT[0].upper()}{WITHOUT_IT[1:]}"


def names_death(event: str) -> bool:
    """Whether the words of an event speak of death."""
    return bool(search(r"\b(death|deaths|died|die|dies|mortality)\b", event.lower()))


def of_any_cause(event: str) -> bool:
    """Whether an event is death from any cause, which nobody judges."""
    return names_death(event) and bool(search(r"\b(any|all)\b", event.lower()))


def acts_on(mechanism: Mechanism, kind: type) -> bool:
    """Whether a flaw has a meaning for a kind of primary endpoint.

    Who counts where, who is analysed and what is published are there in every trial, and so are
    other care and controls of another time. Days alive and free follow from dates, which nobody
    judges.
    """
    if mechanism is Mechanism.ASSESSMENT:
        return not issubclass(kind, DaysAliveEndpoint)
    if mechanism is Mechanism.UNDECLARED_LOOKS:
        return not issubclass(kind, CompetingEndpoint)
    if mechanism is Mechanism.IMMORTAL_TIME:
        return issubclass(kind, BinaryEndpoint | TimeToEventEndpoint)
    if mechanism is Mechanism.EXTENSION:
        return not issubclass(kind, TimeToEventEndpoint)
    return True


def why_not(mechanism: Mechanism, protocol: Protocol) -> tuple[str, str] | None:
    """Return the rule a flaw breaks in a protocol and the remedy; None where it can act."""
    primary = protocol.primary
    if not acts_on(mechanism, type(primary)):
        if mechanism is Mechanism.UNDECLARED_LOOKS:
            return f"has undeclared looks, and {primary.kind} is read once", _REMEDY
        if mechanism is Mechanism.EXTENSION:
            return f"has an extension, and {primary.kind} ends at events or a date", _REMEDY
        if mechanism is Mechanism.IMMORTAL_TIME:
            return f"has immortal time, and {primary.kind} is no event that ends it", _REMEDY
        return f"has {mechanism}, and {primary.kind} follows from dates, not judgement", _REMEDY
    if mechanism is Mechanism.ASSESSMENT and of_any_cause(primary.event):
        return f"misreads outcomes, and '{primary.event}' cannot be misread", _REMEDY
    if mechanism is Mechanism.UNDECLARED_LOOKS:
        return _no_more_looks(protocol)
    return None


def _no_more_looks(protocol: Protocol) -> tuple[str, str] | None:
    primary, looks = protocol.primary, protocol.looks
    if not isinstance(primary, TimeToEventEndpoint):
        if looks:
            return "has undeclared looks, and the protocol declares its own", "Leave one out."
        return None
    if len(looks) > 1 or any(look.efficacy_z is not None for look in looks):
        return "has undeclared looks, and the protocol declares its own", "Leave one out."
    if isinstance(primary.analysis, MaxComboTest):
        return "has undeclared looks, and MaxCombo is read once", "Choose another test."
    if looks[-1].at.enrolled is not None:
        rule = "has undeclared looks, and the last look waits for patients to enter"
        return rule, "Let the last look wait for events or a date: {events: 125}."
    return None
