"""What must hold between intercurrent events, estimands and the rest of a file."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    CompetingEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    MissingData,
    OrdinalEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    Strategy,
    TimeToEventEndpoint,
)
from trialsim.protocol.intercurrent import (
    MAIN,
    IntercurrentEvent,
    PlannedEstimand,
    effect_key,
    estimands_of,
)
from trialsim.protocol.rules.template import Broken, Location
from trialsim.protocol.template import Template

__all__ = ["estimand_rules"]

_EVENTS = ("nature", "intercurrent_events")
_ALL = frozenset(MissingData)
_OF_RISKS = frozenset(
    {MissingData.COMPLETE_CASE, MissingData.FAILURE, MissingData.MULTIPLE_IMPUTATION}
)
_METHODS: dict[type, frozenset[MissingData]] = {
    BinaryEndpoint: _OF_RISKS,
    ResponseEndpoint: _OF_RISKS,
    ContinuousEndpoint: _ALL,
    OrdinalEndpoint: frozenset({MissingData.COMPLETE_CASE, MissingData.FAILURE}),
    DaysAliveEndpoint: frozenset({MissingData.COMPLETE_CASE, MissingData.FAILURE}),
    CountEndpoint: frozenset({MissingData.COMPLETE_CASE}),
}
_IMPOSSIBLE: dict[tuple[type, Strategy], str] = {
    (OrdinalEndpoint, Strategy.WHILE_ON_TREATMENT): "is scored once, so nothing is known earlier",
    (DaysAliveEndpoint, Strategy.WHILE_ON_TREATMENT): "is scored once, so nothing is known earlier",
    (CountEndpoint, Strategy.COMPOSITE_VARIABLE): "has no worst number of events",
}


def estimand_rules(template: Template) -> Iterator[Broken]:
    """Find processes that cannot be, and estimands that need what the scenarios lack."""
    if sum(e.level == "primary" for e in template.protocol.endpoints) != 1:
        return  # reported already
    yield from _processes(template)
    if template.nature.intercurrent_events:
        yield from _not_with_events(template)
    simulated = {e.id for e in template.protocol.simulated} | set(template.simulated_outcomes)
    for index, endpoint in enumerate(template.protocol.endpoints):
        if endpoint.id in simulated:
            here = ("protocol", "endpoints", index)
            yield from _questions(endpoint, here, template.nature.intercurrent_events)
            yield from _nothing_before(endpoint, here, template)


def _processes(template: Template) -> Iterator[Broken]:
    protocol, nature = template.protocol, template.nature
    endpoints = {endpoint.id: endpoint for endpoint in protocol.endpoints}
    known = [event.id for event in nature.intercurrent_events]
    for index, event in enumerate(nature.intercurrent_events):
        here: Location = (*_EVENTS, index)
        if event.id in endpoints or event.id == "severity":
            rule = "is the id of an endpoint too" if event.id in endpoints else "means something"
            yield Broken((*here, "id"), rule, "Give the event another id.")
        yield from _dependence(event, here, template)
        for name, effect in event.then.effect.items():
            at: Location = (*here, "then", "effect", name)
            if name not in endpoints:
                remedy = did_you_mean(name, endpoints, f"They are {', '.join(endpoints)}.")
                yield Broken(at, "is no endpoint of this protocol", remedy)
                continue
            key = effect_key(endpoints[name])
            if key and (effect.stated != (key,) or isinstance(getattr(effect, key), tuple)):
                rule = f"must be one {key} for an endpoint of kind {endpoints[name].kind}"
                yield Broken(at, rule, f"Write for example {{{key}: 1.5}}.")
    for index, scenario in enumerate(template.scenarios):
        for name in scenario.intercurrent_events:
            if name not in known:
                listed = f"They are {', '.join(known)}." if known else "It has none."
                remedy = did_you_mean(name, known, listed)
                yield Broken(
                    ("scenarios", index, "intercurrent_events", name),
                    "is no process under nature.intercurrent_events",
                    remedy,
                )


def _dependence(event: IntercurrentEvent, here: Location, template: Template) -> Iterator[Broken]:
    """Find hazards that depend on a state or a value that is not simulated."""
    primary = template.protocol.primary
    if event.by_state and event.hazard_ratio_per_sd:
        yield Broken((*here, "by_state"), "stands beside 'hazard_ratio_per_sd'", "Keep one.")
    if event.by_state and not isinstance(primary, ResponseEndpoint):
        rule = "is for a primary endpoint of kind response, which has states"
        yield Broken((*here, "by_state"), rule, "Use hazard_ratio_per_sd, or nature.correlations.")
    if event.hazard_ratio_per_sd is None:
        return
    name, at = event.hazard_ratio_per_sd.endpoint, (*here, "hazard_ratio_per_sd", "endpoint")
    own = next((e for e in template.protocol.endpoints if e.id == name), None)
    if not isinstance(own, ContinuousEndpoint) or name not in template.simulated_outcomes:
        yield Broken(
            at,
            "must be a continuous endpoint under nature.outcomes",
            "Of other kinds, state how event and outcome go together under nature.correlations.",
        )


def _not_with_events(template: Template) -> Iterator[Broken]:
    """Refuse by name what intercurrent events are not simulated with yet."""
    protocol = template.protocol
    simulated = {e.id for e in protocol.simulated} | set(template.simulated_outcomes)
    for index, endpoint in enumerate(protocol.endpoints):
        refused = isinstance(endpoint, TimeToEventEndpoint | CompetingEndpoint)
        if refused and endpoint.id in simulated:
            rule = f"is of kind {endpoint.kind}, which has no intercurrent events yet"
            remedy = "Remove nature.intercurrent_events, or use another kind of endpoint."
            yield Broken(("protocol", "endpoints", index, "kind"), rule, remedy)
    if protocol.looks:
        rule = "cannot stand beside nature.intercurrent_events yet"
        yield Broken(("protocol", "looks"), rule, "Keep one of the two.")
    if protocol.is_single_arm:
        rule = "cannot stand beside nature.intercurrent_events yet"
        yield Broken(("protocol", "design"), rule, "Keep one of the two.")
    own = template.nature.response
    if own and (own.again_per_year.value or own.frailty_sd.value or own.hazard_ratio_by):
        rule = "has response again, frailty or levels, which cannot stand beside events yet"
        yield Broken(("nature", "response"), rule, "Keep one of the two.")
    if own and own.loss_hazard_ratios:
        rule = "cannot stand beside nature.intercurrent_events yet"
        yield Broken(("nature", "response", "loss_hazard_ratios"), rule, "Keep one of the two.")
    if protocol.subgroups or any(scenario.modifiers for scenario in template.scenarios):
        rule = "cannot stand beside nature.intercurrent_events yet"
        yield Broken(("protocol", "subgroups"), rule, "Keep one of the two; modifiers too.")
    if template.observed:
        rule = "cannot be held against patients with nature.intercurrent_events yet"
        yield Broken(("observed",), rule, "Keep one of the two.")


def _questions(
    endpoint: SimulatedEndpoint, here: Location, events: tuple[IntercurrentEvent, ...]
) -> Iterator[Broken]:
    known = {event.id: event for event in events}
    further = getattr(endpoint, "further_estimands", ())
    for index, each in enumerate(further):
        at = (*here, "further_estimands", index, "id")
        if each.id == MAIN or each.id in [other.id for other in further[:index]]:
            yield Broken(at, "stands twice", f"'{MAIN}' is the endpoint's own estimand.")
    places: list[Location] = [(*here, "estimand")]
    places += [(*here, "further_estimands", index) for index in range(len(further))]
    lacking = list(_lacking(endpoint, places, known))
    yield from lacking
    if lacking:
        return
    if not events:
        yield from _nothing_asked(endpoint, here)
    for at, estimand in zip(places, estimands_of(endpoint, events), strict=False):
        yield from _possible(endpoint, at, estimand, known)


def _nothing_before(
    endpoint: SimulatedEndpoint, here: Location, template: Template
) -> Iterator[Broken]:
    """Find values while on treatment that who has the event before the first visit has not."""
    model = template.nature.outcomes.get(endpoint.id)
    if not isinstance(endpoint, ContinuousEndpoint) or getattr(model, "baseline", None):
        return
    places: list[tuple[Location, dict[str, Strategy]]] = [
        ((*here, "estimand"), endpoint.estimand.intercurrent_events)
    ]
    places += [
        ((*here, "further_estimands", index), each.intercurrent_events)
        for index, each in enumerate(endpoint.further_estimands)
    ]
    for at, asked in places:
        for name, strategy in asked.items():
            if strategy is Strategy.WHILE_ON_TREATMENT:
                yield Broken(
                    (*at, "intercurrent_events", name),
                    "needs a value of who has the event before the first visit: the baseline",
                    f"Add baseline: {{mean: 8, sd: 3}} to nature.outcomes.{endpoint.id}.",
                )


def _lacking(
    endpoint: SimulatedEndpoint, places: list[Location], known: dict[str, IntercurrentEvent]
) -> Iterator[Broken]:
    """Find strategies for events that nothing draws."""
    further = getattr(endpoint, "further_estimands", ())
    asked = [each.intercurrent_events for each in (endpoint.estimand, *further)]
    for at, strategies in zip(places, asked, strict=True):
        for name, strategy in strategies.items():
            only_shown = not known and strategy is Strategy.TREATMENT_POLICY
            if name in known or (only_shown and at == places[0]):
                continue
            add = f"Add to nature: intercurrent_events: [{{id: {name}, {_EXAMPLE}}}]."
            yield Broken(
                (*at, "intercurrent_events", name),
                f"asks for the strategy '{strategy}', which needs a process the scenario lacks",
                did_you_mean(name, known, add),
            )


def _nothing_asked(endpoint: SimulatedEndpoint, here: Location) -> Iterator[Broken]:
    """Find questions about events where there are none."""
    if getattr(endpoint, "further_estimands", ()):
        rule = "asks of intercurrent events, and there are none under nature.intercurrent_events"
        remedy = f"Add for example [{{id: stopping, {_EXAMPLE}}}], or remove it."
        yield Broken((*here, "further_estimands"), rule, remedy)
    if getattr(endpoint.estimand, "missing", None):
        rule = "is for values that nature.intercurrent_events takes away, and there are none"
        yield Broken((*here, "estimand", "missing"), rule, "Add an event with then: {lost: true}.")


_EXAMPLE = "control: {hazard_per_year: 0.3}"


def _possible(
    endpoint: SimulatedEndpoint,
    at: Location,
    estimand: PlannedEstimand,
    known: dict[str, IntercurrentEvent],
) -> Iterator[Broken]:
    """Find strategies that leave no outcome, and methods an endpoint's kind does not have."""
    for name, strategy in estimand.strategies:
        where = (*at, "intercurrent_events", name)
        if known[name].terminal and isinstance(endpoint, DaysAliveEndpoint):
            rule = "is terminal, but the score itself already counts death, as its worst value"
            remedy = "Remove the event, or use an endpoint of kind ordinal or continuous."
            yield Broken(where, rule, remedy)
        elif known[name].terminal and strategy is Strategy.TREATMENT_POLICY:
            rule = "is terminal: after it there is no outcome that treatment policy could use"
            remedy = f"Write {{{name}: composite variable}}, or while on treatment."
            yield Broken(where, rule, remedy)
        elif why := _IMPOSSIBLE.get((type(endpoint), strategy)):
            rule = f"asks for the strategy '{strategy}', but an endpoint of kind {endpoint.kind}"
            yield Broken(where, f"{rule} {why}", "Use another strategy.")
    allowed, missing = _METHODS.get(type(endpoint), _ALL), estimand.missing
    where = (*at, "missing")
    if missing not in allowed:
        hypothetical = estimand.events(Strategy.HYPOTHETICAL)
        because = ", which a hypothetical strategy asks for," if hypothetical else ""
        rule = f"is '{missing}'{because} but an endpoint of kind {endpoint.kind} has no such method"
        remedy = f"Use {' or '.join(sorted(allowed))}."
        yield Broken(where, rule, remedy)
    elif missing.imputes:
        if estimand.events(Strategy.PRINCIPAL_STRATUM):
            rule = "imputes, beside a principal stratum, whose members are not known"
            yield Broken(where, rule, "Use complete case.")
        ranked = isinstance(endpoint, ContinuousEndpoint)
        if ranked and estimand.events(Strategy.COMPOSITE_VARIABLE):
            rule = "imputes, beside a composite strategy, whose analysis is one of ranks"
            yield Broken(where, rule, "Use complete case or missing is failure.")
