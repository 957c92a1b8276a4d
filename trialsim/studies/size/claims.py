"""What a trial may be planned for: not a number that only a document states, unless accepted."""

from __future__ import annotations

from math import isclose

from trialsim.errors import Problem, RequestError
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.size.request import effect_example

__all__ = ["accepted_status", "first_solid"]

_WEAK = ("document", "unverified")


def accepted_status(
    resolved: ResolvedTemplate,
    scenario: Scenario,
    *,
    accept_claim: bool,
    option: str = "--scenario",
) -> str:
    """Return how far the effect that is planned for can be relied on.

    Raises
    ------
    RequestError
        For a weak claim that was not accepted.
    """
    status = "assumed" if _is_own(resolved, scenario) else resolved.status_of(scenario)
    status = _claimed(resolved, scenario) or status
    if status in _WEAK and not accept_claim:
        label = resolved.truth(scenario).label
        rule = f"plans for {label}, which only a document states or nobody verified"
        remedy = "Add --accept-claim to plan for it all the same; it is then shown with its status."
        raise RequestError(Problem(rule, remedy, option, scenario.id))
    return status


def _is_own(resolved: ResolvedTemplate, scenario: Scenario) -> bool:
    return all(scenario.id != own.id for own in resolved.template.scenarios)


def _claimed(resolved: ResolvedTemplate, scenario: Scenario) -> str | None:
    """Return the status of an effect set by hand that only a weak source states; else None."""
    stated = scenario.effect
    if stated is None:
        return None
    same = (
        resolved.status_of(own)
        for own in resolved.template.scenarios
        if own.effect
        and own.effect.quantity == stated.quantity
        and isclose(own.effect.number.value, stated.number.value)
    )
    return next((status for status in same if status in _WEAK), None)


def first_solid(resolved: ResolvedTemplate) -> Scenario:
    """Return the first scenario with an effect that is no weak claim (RequestError for none)."""
    for scenario in resolved.template.scenarios:
        if not resolved.truth(scenario).is_null and resolved.status_of(scenario) not in _WEAK:
            return scenario
    rule = "has no scenario with an effect to plan for"
    remedy = f'State one: --effect "{effect_example(resolved.template.protocol.primary)}".'
    raise RequestError(Problem(rule, remedy, "--scenario"))
