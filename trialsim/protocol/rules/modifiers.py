"""What must hold of subgroups and of what modifies effects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim.errors import did_you_mean
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    ContinuousEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.modifiers import (
    SEVERITY,
    ImpossibleModifierError,
    Modifier,
    ObservedSubgroups,
    Subgroup,
    cells_of,
)
from trialsim.protocol.published.evidence import EffectMeasure, Trial
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.rules.template import Broken
from trialsim.protocol.template import Template
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = ["modifier_rules"]

Location = tuple[str | int, ...]

_RATIOS = (EffectMeasure.ODDS_RATIO, EffectMeasure.RISK_RATIO, EffectMeasure.HAZARD_RATIO)


def modifier_rules(template: Template, evidence: Evidence, *, resolvable: bool) -> Iterator[Broken]:
    """Find subgroups and modifiers that name nothing or cannot be.

    Parameters
    ----------
    template : Template
        Whose every part is valid by itself.
    evidence : Evidence
    resolvable : bool
        Whether nothing else is wrong, so that scenarios can be resolved.
    """
    found: list[Broken] = list(_names(template))
    for index, subgroup in enumerate(template.protocol.subgroups):
        found += _subgroup(subgroup, ("protocol", "subgroups", index), template)
    names = [(s.name, s.endpoint) for s in template.protocol.subgroups]
    for index, name in enumerate(names):
        if name in names[:index]:
            rule = f"asks for subgroups by '{name[0]}' twice"
            found.append(Broken(("protocol", "subgroups", index), rule, "Keep one."))
    for index, scenario in enumerate(template.scenarios):
        for number, modifier in enumerate(scenario.modifiers):
            here = ("scenarios", index, "modifiers", number)
            found += _modifier(modifier, here, template)
    for index, observed in enumerate(template.observed_subgroups):
        found += _observed(observed, ("observed_subgroups", index), template, evidence)
    yield from found
    if found or not resolvable:
        return
    resolved = ResolvedTemplate(template, evidence)
    for index, scenario in enumerate(template.scenarios):
        try:
            resolved.truth(scenario)
        except ImpossibleModifierError as why:
            yield Broken(("scenarios", index, "modifiers"), str(why), why.remedy)


def _names(template: Template) -> Iterator[Broken]:
    factors = {factor.id for factor in template.nature.factors}
    for index, covariate in enumerate(template.nature.covariates):
        if covariate.id in factors:
            rule = "is the id of a factor too"
            yield Broken(("nature", "covariates", index, "id"), rule, "Give each its own.")


def _simulated(template: Template) -> dict[str, SimulatedEndpoint]:
    protocol, stated = template.protocol, template.simulated_outcomes
    return {
        e.id: e
        for e in protocol.endpoints
        if e.id in stated or e in protocol.simulated  # as `ResolvedTemplate.endpoints`
    }


def _endpoint(name: str | None, at: Location, template: Template) -> Iterator[Broken]:
    known = _simulated(template)
    if name is not None and name not in known:
        remedy = did_you_mean(name, known, f"Simulated are: {', '.join(known)}.")
        yield Broken((*at, "endpoint"), "is no endpoint that is simulated", remedy)


def _factor(name: str, at: Location, template: Template) -> Iterator[Broken]:
    factors = {factor.id: factor for factor in template.nature.factors}
    if name not in factors:
        describe = "Describe it under nature.factors, with the share of patients in each level."
        listed = f"The factors are {', '.join(factors)}." if factors else describe
        remedy = did_you_mean(name, factors, listed)
        yield Broken((*at, "factor"), "is not a factor under nature.factors", remedy)
    elif factors[name].levels is None:
        rule = "has levels without names, of which none can be a subgroup"
        yield Broken((*at, "factor"), rule, "Give it 'levels' instead of 'equal_levels'.")


def _covariate(name: str, at: Location, template: Template) -> Iterator[Broken]:
    known = [SEVERITY, *(covariate.id for covariate in template.nature.covariates)]
    if name not in known:
        listed = f"There are {', '.join(known)}; describe others under nature.covariates."
        remedy = did_you_mean(name, known, listed)
        yield Broken((*at, "covariate"), "is no covariate", remedy)


def _subgroup(subgroup: Subgroup, here: Location, template: Template) -> Iterator[Broken]:
    yield from _endpoint(subgroup.endpoint, here, template)
    if subgroup.factor:
        yield from _factor(subgroup.factor, here, template)
        return
    assert subgroup.covariate is not None  # one of two, by the model
    yield from _covariate(subgroup.covariate, here, template)
    endpoint = _simulated(template).get(subgroup.endpoint or template.protocol.primary.id)
    if endpoint and not isinstance(
        endpoint, BinaryEndpoint | ResponseEndpoint | ContinuousEndpoint
    ):
        rule = f"asks for an interaction with a covariate in an endpoint of kind {endpoint.kind}"
        remedy = "That is there for binary and continuous endpoints: split by a factor instead."
        yield Broken((*here, "covariate"), rule, remedy)


def _modifier(modifier: Modifier, here: Location, template: Template) -> Iterator[Broken]:
    wrong = list(_endpoint(modifier.endpoint, here, template))
    if modifier.factor:
        wrong += _factor(modifier.factor, here, template)
    else:
        wrong += _covariate(modifier.covariate or "", here, template)
    cited = {number.source for number in modifier.numbers if number.source}
    if cited:
        rule = f"cites {', '.join(sorted(cited))}, but no record states how an effect differs"
        wrong.append(Broken(here, rule, "Drop 'source' and it is shown as assumed; add a 'note'."))
    yield from wrong
    if wrong:
        return
    endpoint = _simulated(template)[modifier.endpoint or template.protocol.primary.id]
    if not isinstance(endpoint, BinaryEndpoint | TimeToEventEndpoint | ContinuousEndpoint):
        rule = f"modifies an effect on an endpoint of kind {endpoint.kind}, which is not there yet"
        remedy = "Modify the effect on a binary, continuous or time-to-event endpoint."
        yield Broken(here, rule, remedy)
        return
    try:
        known = [covariate.id for covariate in template.nature.covariates]
        cells_of([modifier], template.nature.factors, known, ratios=endpoint.summary.is_ratio)
    except ImpossibleModifierError as why:
        yield Broken(here, str(why), why.remedy)


def _observed(
    observed: ObservedSubgroups, here: Location, template: Template, evidence: Evidence
) -> Iterator[Broken]:
    primary = template.protocol.primary
    if not isinstance(primary, BinaryEndpoint | ResponseEndpoint | TimeToEventEndpoint):
        rule = f"cannot be held against an endpoint of kind {primary.kind} yet"
        yield Broken(here, rule, "Remove it, or use a binary or time-to-event endpoint.")
        return
    wrong = list(_factor(observed.factor, here, template))
    yield from wrong
    record = evidence.records.get(observed.evidence)
    if record is None:
        return  # a broken citation, reported as such
    if not isinstance(record, Trial):
        yield Broken((*here, "evidence"), f"is a {record.kind}, not a trial", "Name a trial.")
        return
    factors = {factor.id: factor for factor in template.nature.factors}
    levels: Sequence[str] = () if wrong else [x.id for x in factors[observed.factor].levels or ()]
    if not any(s.factor == observed.factor and not s.endpoint for s in template.protocol.subgroups):
        rule = "is held against subgroups that the protocol does not declare"
        yield Broken((*here, "factor"), rule, "Add {factor: ...} to protocol.subgroups.")
    survival = isinstance(primary, TimeToEventEndpoint)
    comparable = (EffectMeasure.HAZARD_RATIO,) if survival else _RATIOS
    for level, result in observed.levels.items():
        if not wrong and level not in levels:
            remedy = did_you_mean(level, levels, f"It has: {', '.join(levels)}.")
            yield Broken((*here, "levels", level), f"is no level of '{observed.factor}'", remedy)
        found = record.result(result)
        if found is None or not any(e.measure in comparable for e in found.effects):
            has = [r.id for r in record.results if any(e.measure in comparable for e in r.effects)]
            words = "a hazard ratio" if survival else "a ratio of risks, odds or hazards"
            rule = f"is no result of {record.id} that states {words}"
            yield Broken((*here, "levels", level), rule, f"These do: {', '.join(has) or 'none'}.")
