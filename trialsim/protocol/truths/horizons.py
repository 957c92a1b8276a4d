"""The same trial read out at other times: its endpoint, its visits and its risks by then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import expm1, log1p

from pydantic_core import PydanticCustomError

from trialsim.errors import Problem, RequestError
from trialsim.protocol.design import Protocol, Visit
from trialsim.protocol.endpoints import BinaryEndpoint, Level, ResponseEndpoint
from trialsim.protocol.intercurrent import IntercurrentEvent
from trialsim.protocol.quantities import DAYS_PER_UNIT, Clock, Duration, Ratio, Risk, Time, months
from trialsim.protocol.scenario import OddsRatio, Scenario, TreatedRisk, odds_ratio_between
from trialsim.protocol.template import Template
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = [
    "Horizon",
    "hazard_by",
    "horizons_of",
    "read_outs",
    "risk_points",
    "times_from_words",
]

_SAME_DAY = 0.5


@dataclass(frozen=True)
class Horizon:
    """A time at which everyone is read out.

    Attributes
    ----------
    time : Time
    day : float
        Since entry.
    resolved : ResolvedTemplate
        The template with that read-out.
    endpoint : str
        Its id there.
    extrapolated : set of str
        Ids of the scenarios whose courses nothing in the file takes so far.
    """

    time: Time
    day: float
    resolved: ResolvedTemplate
    endpoint: str
    extrapolated: frozenset[str] = frozenset()


def horizons_of(
    resolved: ResolvedTemplate, times: Sequence[Time], reference: Time
) -> list[Horizon]:
    """Return the template at every horizon, in order of time.

    Parameters
    ----------
    times : sequence of Time
    reference : Time
        One of them; its endpoint is the primary one.

    Raises
    ------
    RequestError
        For a time that is not followed, twice the same, or an endpoint that is not read at times;
        all at once.
    """
    protocol = resolved.template.protocol
    _refuse_more(resolved.template)
    days = [time.days_after_entry(protocol.therapy) for time in times]
    problems = [
        Problem("is the same day twice", "Keep one.", "--at", str(times[index].after))
        for index, day in enumerate(days)
        if any(abs(day - earlier) < _SAME_DAY for earlier in days[:index])
    ]
    first, last = _followed(resolved.template)
    for time, day in zip(times, days, strict=True):
        shown = time.in_words(protocol.therapy)
        if not first - _SAME_DAY <= day or day <= 0:
            rule = f"is before anyone is read out, on day {first:.4g}"
            problems.append(Problem(rule, "Ask for a later time.", "--at", shown))
        elif day > last + _SAME_DAY:
            rule = f"is beyond follow-up, which ends {months(last)} after entry (day {last:.4g})"
            problems.append(Problem(rule, _longer(protocol, time), "--at", shown))
    if problems:
        raise RequestError(problems)
    ordered = sorted(zip(days, times, strict=True), key=lambda pair: pair[0])
    if isinstance(protocol.primary, ResponseEndpoint):
        return _of_courses(resolved, ordered, reference)
    return [_of_risks(resolved, time, day) for day, time in ordered]


def _refuse_more(template: Template) -> None:
    """Refuse by name what is not carried to other times yet (RequestError)."""
    events = template.nature.intercurrent_events
    of_courses = isinstance(template.protocol.primary, ResponseEndpoint)
    asked = (
        ("design: single-arm", template.protocol.is_single_arm),
        ("nature.intercurrent_events", bool(events) and not of_courses),
        (
            "nature.intercurrent_events[].hazard_ratio_per_sd",
            any(event.hazard_ratio_per_sd for event in events) and of_courses,
        ),
        ("modifiers", any(scenario.modifiers for scenario in template.scenarios)),
    )
    problems = [
        Problem("is not read at several times yet", "Remove it, or use 'simulate'.", name)
        for name, there in asked
        if there
    ]
    if problems:
        raise RequestError(problems)


def read_outs(template: Template) -> tuple[Time, ...]:
    """Return the times the file itself speaks of: visits after entry, or times of risks."""
    protocol, therapy = template.protocol, template.protocol.therapy
    times = [protocol.primary.read_out]
    if isinstance(protocol.primary, ResponseEndpoint):
        times += [visit.at for visit in protocol.visits if visit.at.days_after_entry(therapy) > 0]
    times += [point.by for point in template.nature.control_risk_by]
    by_day = {round(time.days_after_entry(therapy), 3): time for time in reversed(times)}
    return tuple(by_day[day] for day in sorted(by_day))


def times_from_words(
    words: str, clock: str | None, protocol: Protocol, option: str = "--at"
) -> tuple[Time, ...]:
    """Read "6 mo, 12 mo", counted from the clock named; `option` is where it was typed.

    Raises
    ------
    RequestError
        For a number without unit or clock, with both readings of it; all at once.
    """
    found, problems, therapy = [], [], protocol.therapy
    if clock == Clock.END_OF_THERAPY and therapy is None:
        rule = "counts from the end of therapy, but the experimental arm has no 'for'"
        problems.append(Problem(rule, "Count from entry.", "--from", clock))
    own = protocol.primary.read_out.after.unit
    units = re.findall(rf"[0-9] ?({'|'.join(DAYS_PER_UNIT)})\b", words) or [own]
    for word in (part.strip() for part in words.split(",")):
        bare = re.fullmatch(r"[0-9]+(\.[0-9]+)?", word) is not None
        try:
            length = Duration.parse(f"{word} {units[0]}" if bare else word)
        except PydanticCustomError:
            rule, remedy = "is not a length of time", f'Write for example {option} "6 mo".'
            problems.append(Problem(rule, remedy, option, f"'{word}'"))
            continue
        if bare or (clock is None and therapy is not None):
            rule = "has no unit" if bare else "does not say from when it counts"
            remedy = _both_readings(length, therapy, option)
            problems.append(Problem(rule, remedy, option, f"'{word}'"))
            continue
        found.append(Time.model_validate({"after": length, "from": clock or Clock.ENTRY}))
    if problems:
        raise RequestError(problems)
    return tuple(found)


def _both_readings(length: Duration, therapy: Duration | None, option: str) -> str:
    if therapy is None or option == "--lags":
        return f'Write for example {option} "{length}".'
    after = months(therapy.days + length.days)
    return (
        f'Write {option} "{length}" --from entry for {length} after randomisation, or --from '
        f"end-of-therapy for {after} after it."
    )


def _longer(protocol: Protocol, time: Time) -> str:
    if isinstance(protocol.primary, ResponseEndpoint):
        return "Add a visit to protocol.visits, or ask for an earlier time."
    return (
        f"Say what the risk is by then, in nature.control_risk_by: {{by: {time.after}, risk: P}}."
    )


def _followed(template: Template) -> tuple[float, float]:
    """Return the first and the last day since entry that can be read."""
    protocol = template.protocol
    match protocol.primary:
        case ResponseEndpoint():
            days = [day for day, _ in protocol.visit_days if day > 0]
            return (days[0], days[-1]) if protocol.visits else (0.0, float("inf"))
        case BinaryEndpoint() if template.nature.control_risk:
            return 0.0, risk_points(template)[-1][0]
        case BinaryEndpoint():
            rule = "states no control risk for all scenarios, so no risk by another time"
            raise RequestError(Problem(rule, "Add nature.control_risk.", "followup"))
        case other:
            rule = f"does not read an endpoint of kind {other.kind} at several times yet"
            remedy = "It reads endpoints of kind response and binary."
            raise RequestError(Problem(rule, remedy, "followup"))


def _of_courses(
    resolved: ResolvedTemplate, ordered: Sequence[tuple[float, Time]], reference: Time
) -> list[Horizon]:
    """Add a read-out of the same courses, and a visit where there is none, for every horizon."""
    template = resolved.template
    protocol, primary = template.protocol, template.protocol.primary
    visits = list(protocol.visits)
    known = [day for day, _ in protocol.visit_days] if visits else []
    endpoints = []
    for day, time in ordered:
        level = Level.PRIMARY if time == reference else Level.SECONDARY
        clock = "" if time.clock == "entry" else "-after-therapy"
        name = f"at-{time.after}{clock}".replace(" ", "-").replace(".", "-")
        endpoints.append(primary.model_copy(update={"id": name, "level": level, "at": time}))
        if visits and not any(abs(day - other) < _SAME_DAY for other in known):
            visits.append(Visit(at=time))
    changed = protocol.model_copy(
        update={
            "endpoints": tuple(endpoints),
            "visits": tuple(visits),
            "multiplicity": None,
            "subgroups": (),
        }
    )
    names = [endpoint.id for endpoint in endpoints]
    events = tuple(
        _at_horizons(event, primary.id, names) for event in template.nature.intercurrent_events
    )
    nature = template.nature.model_copy(
        update={"outcomes": {}, "correlations": (), "intercurrent_events": events}
    )
    scenarios = tuple(s.model_copy(update={"outcomes": {}}) for s in template.scenarios)
    update = {"protocol": changed, "nature": nature, "scenarios": scenarios}
    there = replace(resolved, template=template.model_copy(update=update))
    reach = {
        scenario.id: max(
            piece.until.days_after_entry(protocol.therapy)
            for piece in (*scenario.response.control, *(scenario.response.treated or ()))
        )
        for scenario in scenarios
        if scenario.response
    }
    return [
        Horizon(
            time,
            day,
            there,
            endpoint.id,
            frozenset(name for name, last in reach.items() if day > last + _SAME_DAY),
        )
        for (day, time), endpoint in zip(ordered, endpoints, strict=True)
    ]


def _at_horizons(
    event: IntercurrentEvent, primary: str, endpoints: Sequence[str]
) -> IntercurrentEvent:
    """Return an event that does to the read-outs at horizons what it does to the primary one."""
    own = event.then.effect.get(primary)
    effect = dict.fromkeys(endpoints, own) if own else {}
    return event.model_copy(update={"then": event.then.model_copy(update={"effect": effect})})


def risk_points(template: Template) -> list[tuple[float, float]]:
    """Return (day, control risk by then) as stated, in order of time.

    Raises
    ------
    RequestError
        If the risk falls, or stands twice for a day.
    """
    nature, protocol = template.nature, template.protocol
    assert nature.control_risk is not None  # asked of templates that state it
    own = protocol.primary.read_out.days_after_entry(protocol.therapy)
    points = [(own, nature.control_risk.value)]
    points += [
        (point.by.days_after_entry(protocol.therapy), point.risk.value)
        for point in nature.control_risk_by
    ]
    points.sort()
    for (day, risk), (later, following) in pairwise(points):
        if later - day < _SAME_DAY or following < risk:
            rule = f"must rise: {risk:g} by day {day:.4g}, {following:g} by day {later:.4g}"
            remedy = "Who has had the event has had it: correct nature.control_risk_by."
            raise RequestError(Problem(rule, remedy, "the control risk"))
    return points


def hazard_by(template: Template, day: float) -> float:
    """Return the cumulative hazard under control by a day, linear between the risks stated."""
    start, reached = 0.0, 0.0
    for end, risk in risk_points(template):
        cumulative = -log1p(-risk)
        if day <= end:
            return reached + (cumulative - reached) * (day - start) / (end - start)
        start, reached = end, cumulative
    return reached


def _of_risks(resolved: ResolvedTemplate, time: Time, day: float) -> Horizon:
    """Move the primary read-out, the control risk and every scenario to another day.

    A scenario's own control risk keeps its proportion of the cumulative hazard. The effect is the
    scenario's, or what `effect_from` says of that day; at another day than its source's it is
    assumed.
    """
    template = resolved.template
    protocol, primary = template.protocol, template.protocol.primary
    own_day = primary.read_out.days_after_entry(protocol.therapy)
    moved = primary.model_copy(update={"at": time})
    changed = protocol.model_copy(
        update={"endpoints": (moved,), "looks": (), "multiplicity": None, "subgroups": ()}
    )
    nature = template.nature.model_copy(update={"outcomes": {}, "correlations": ()})
    scenarios = tuple(s.model_copy(update={"outcomes": {}}) for s in template.scenarios)
    if abs(day - own_day) >= _SAME_DAY:
        nature = nature.model_copy(update={"control_risk": _risk_on(template, day)})
        part = hazard_by(template, day) / hazard_by(template, own_day)
        scenarios = tuple(_moved(resolved, s, day, part) for s in template.scenarios)
    update = {"protocol": changed, "nature": nature, "scenarios": scenarios}
    there = replace(resolved, template=template.model_copy(update=update))
    return Horizon(time, day, there, moved.id)


def _risk_on(template: Template, day: float) -> Risk:
    therapy = template.protocol.therapy
    for point in template.nature.control_risk_by:
        if abs(point.by.days_after_entry(therapy) - day) < _SAME_DAY:
            return point.risk
    return Risk(value=-expm1(-hazard_by(template, day)))


def _moved(resolved: ResolvedTemplate, scenario: Scenario, day: float, part: float) -> Scenario:
    """Return a scenario on another day, as numbers that are assumed there."""
    therapy, truth = resolved.template.protocol.therapy, resolved.truth(scenario)
    risk = None
    if scenario.control_risk or scenario.as_observed:
        risk = Risk(value=-expm1(part * log1p(-truth.control_risk)))
    effect = scenario.effect
    if scenario.as_observed or isinstance(effect, TreatedRisk):
        ratio = odds_ratio_between(truth.treated_risk, truth.control_risk)
        effect = OddsRatio(odds_ratio=Ratio(value=ratio))
    elif effect:
        effect = type(effect).model_validate({effect.quantity: effect.number.value})
    since = sorted(
        (p.since.days_after_entry(therapy), i) for i, p in enumerate(scenario.effect_from)
    )
    for start, index in since:
        effect = scenario.effect_from[index].effect if start <= day else effect
    return Scenario(id=scenario.id, title=scenario.title, control_risk=risk, effect=effect)
