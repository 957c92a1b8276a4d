"""What cannot be said of a safety endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.protocol.endpoints import Level
from trialsim.protocol.outcomes import FurtherRisk, ImpossibleOutcomeError, outcome_truth
from trialsim.protocol.quantities import SourcedNumber
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.template import Template

__all__ = ["known_from", "safety_rules", "sourced_risks"]

Location = tuple[str | int, ...]
Found = Iterator[tuple[Location, str, str]]


def safety_rules(template: Template) -> Found:
    """Yield where, which rule is broken and the remedy."""
    endpoints = {endpoint.id: endpoint for endpoint in template.protocol.endpoints}
    drawn = template.simulated_outcomes
    for name, model in template.nature.outcomes.items():
        at: Location = ("nature", "outcomes", name)
        if name in drawn or name not in endpoints:
            if isinstance(model, FurtherRisk) and model.treated:
                rule = "is for endpoints of level safety: effects differ by scenario"
                yield (*at, "treated"), rule, "State it under outcomes: of a scenario."
            continue
        for index, scenario in enumerate(template.scenarios):
            effect = scenario.outcomes.get(name)
            there: Location = ("scenarios", index, "outcomes", name)
            if effect and getattr(model, "treated", None):
                rule = "is a second word on the treated arm, beside 'treated' of nature.outcomes"
                yield there, rule, "Keep one of the two."
            try:
                outcome_truth(endpoints[name], model, effect, None, 0.5)
            except ImpossibleOutcomeError as why:
                if why.of_effect or index == 0:
                    yield there if why.of_effect else at, str(why), why.remedy


def sourced_risks(template: Template) -> Iterator[tuple[Location, str, SourcedNumber]]:
    """Yield the risks stated of safety endpoints, with what a source must call them."""
    for endpoint in template.protocol.endpoints:
        model = template.nature.outcomes.get(endpoint.id)
        if endpoint.level is Level.SAFETY and isinstance(model, FurtherRisk):
            at: Location = ("nature", "outcomes", endpoint.id)
            yield (*at, "risk"), "control_risk", model.risk
            if model.treated:
                yield (*at, "treated"), "treated_risk", model.treated


def known_from(number: SourcedNumber, quantity: str, evidence: Evidence) -> str:
    """Return how far a number can be relied on: the status its source gives it, or "assumed"."""
    stated = number.source and evidence.stated_as(number.source, quantity, number.value)
    return stated.status.value if stated else "assumed"
