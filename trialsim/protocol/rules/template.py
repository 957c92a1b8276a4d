"""What must hold between the parts of a file, which no schema can say.

References are checked on the raw tree, so that a misspelt arm is reported together with a
misspelt key; the rest needs a complete model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from trialsim.errors import did_you_mean
from trialsim.protocol.design import (
    MAX_PATIENTS,
    AllocationMethod,
    Look,
    Protocol,
    Role,
    Trigger,
)
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    BinaryTest,
    CompetingEndpoint,
    Level,
    OutcomeEndpoint,
    ResponseEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.outcomes import (
    ImpossibleOutcomeError,
    cholesky,
    correlation_matrix,
)
from trialsim.protocol.published.evidence import Conflict, EvidenceRecord, Trial
from trialsim.protocol.published.survival import status_of_lifetime
from trialsim.protocol.quantities import DAYS_PER_UNIT, Clock, Duration
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.rules.enrichment import enrichment_rules
from trialsim.protocol.rules.observed import observed_rules
from trialsim.protocol.rules.optimise import optimise_rules
from trialsim.protocol.rules.safety import safety_rules, sourced_risks
from trialsim.protocol.rules.single_arm import historical_risks, single_arm_rules
from trialsim.protocol.rules.sites import site_rules
from trialsim.protocol.scenario import Effect, Nature, Scenario, TreatedRisk
from trialsim.protocol.survival import ImpossibleLifetimeError, Lifetime, SurvivalScenario
from trialsim.protocol.template import Template
from trialsim.protocol.truths.imbalance import imbalance_rules
from trialsim.protocol.truths.pool import dosing_of
from trialsim.protocol.truths.resolved import (
    ImpossiblePieceError,
    courses_of,
    event_course,
    lifetimes_of,
    modified_lifetimes_of,
    outcomes_of,
    risks_as_observed,
    survival_of,
)
from trialsim.protocol.truths.single_arm import concurrent_risk
from trialsim.protocol.truths.site_enrolment import enrolment_of, site_enrolment_of

__all__ = ["Broken", "broken_references", "broken_rules", "conflict_rules", "evidence_rules"]

_MAX_STRATA = 10_000
_LISTS_WITH_IDS = [
    ("protocol", "arms"),
    ("protocol", "endpoints"),
    ("nature", "factors"),
    ("nature", "intercurrent_events"),
    ("nature", "covariates"),
    ("scenarios",),
    ("variants",),
    ("evidence",),
    ("conflicts",),
]


Location = tuple[str | int, ...]


class Broken(NamedTuple):
    """A rule that does not hold at a location of the file."""

    location: tuple[str | int, ...]
    rule: str
    remedy: str


def broken_references(data: Any, known_evidence: Iterable[str]) -> Iterator[Broken]:
    """Find ids that stand twice, and ids that name nothing.

    Parameters
    ----------
    data : plain dictionaries and lists
        The file as read; of any shape, since it has not been validated.
    known_evidence : iterable of str
        Evidence ids other than the file's own.
    """
    yield from _twice(data, set(known_evidence))
    yield from _unknown_arms(data)
    yield from _unknown_factors(data)
    yield from _broken_citations(data, {*known_evidence, *_ids(data, ("evidence",))})


def _twice(data: Any, taken: set[str]) -> Iterator[Broken]:
    for path in _LISTS_WITH_IDS:
        seen = dict.fromkeys(taken, -1) if path == ("evidence",) else {}
        for index, item in enumerate(_list_at(data, path)):
            name = item.get("id") if isinstance(item, dict) else None
            if isinstance(name, str) and seen.setdefault(name, index) != index:
                where = "among the shipped records" if seen[name] < 0 else f"in {'.'.join(path)}"
                rule = f"stands {'already' if seen[name] < 0 else 'twice'} {where}"
                yield Broken((*path, index, "id"), rule, "Give each its own id.")
    cited = [name for _, name in _observed_ids(_list_at(data, ("observed",)), ())]
    for index, name in enumerate(cited):
        if name in cited[:index]:
            rule = "stands twice in observed"
            yield Broken(("observed", index), rule, "Keep one: a trial is simulated once.")
    factors = ("protocol", "allocation", "stratify_by")
    for index, factor in enumerate(_list_at(data, factors)):
        if factor in _list_at(data, factors)[:index]:
            yield Broken((*factors, index), "stands twice", "Name each factor once.")


def _unknown_arms(data: Any) -> Iterator[Broken]:
    arms = _ids(data, ("protocol", "arms"))
    for path in (("protocol", "allocation", "ratio"), ("protocol", "sample_size", "per_arm")):
        named = _at(data, path)
        for arm in named if isinstance(named, dict) and arms else ():
            if arm not in arms:
                remedy = did_you_mean(arm, arms, f"The arms are {_listed(arms)}.")
                yield Broken((*path, arm), "is not an arm of this protocol", remedy)


def _unknown_factors(data: Any) -> Iterator[Broken]:
    factors = _ids(data, ("nature", "factors"))
    path = ("protocol", "allocation", "stratify_by")
    describe = "Describe it under nature.factors, with the share of patients in each level."
    listed = f"The factors are {_listed(factors)}." if factors else describe
    for index, factor in enumerate(_list_at(data, path)):
        if isinstance(factor, str) and factor not in factors:
            remedy = did_you_mean(factor, factors, listed)
            yield Broken((*path, index), "is not a factor under nature.factors", remedy)


def cited_ids(data: Any) -> Iterator[str]:
    """Return every evidence id a file cites, its variants' among them."""
    variants = (
        item.get("patch") for item in _list_at(data, ("variants",)) if isinstance(item, dict)
    )
    for part in (data, *variants):
        yield from (cited for _, cited in _citations(part, ()))


def _broken_citations(data: Any, known: set[str]) -> Iterator[Broken]:
    for location, cited in _citations(data, ()):
        if cited not in known:
            yield Broken(
                location,
                "is not a known evidence id",
                did_you_mean(
                    cited, known, "'trialsim evidence' lists them; your own go under 'evidence:'."
                ),
            )


_CITING_KEYS = ("source", "as_observed", "made_from", "used", "of")
_CITING_LISTS = ("includes", "duplicates", "about")


def _citations(
    data: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every place that cites an evidence id."""
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from _citations(item, (*path, index))
        return
    for key, value in data.items() if isinstance(data, dict) else ():
        here = (*path, key)
        if key in _CITING_KEYS and isinstance(value, str):
            yield here, value
        elif key in _CITING_LISTS and isinstance(value, list):
            yield from (((*here, i), item) for i, item in enumerate(value) if isinstance(item, str))
        elif key in ("observed", "observed_subgroups") and isinstance(value, list):
            yield from _observed_ids(value, here)
        elif key != "patch":
            yield from _citations(value, here)


def _observed_ids(
    items: list[Any], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for index, item in enumerate(items):
        named = item.get("evidence") if isinstance(item, dict) else item
        if isinstance(named, str):
            yield (*path, index, *(["evidence"] if isinstance(item, dict) else [])), named


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _list_at(data: Any, path: tuple[str, ...]) -> list[Any]:
    found = _at(data, path)
    return found if isinstance(found, list) else []


def _ids(data: Any, path: tuple[str, ...]) -> list[str]:
    items = (item.get("id") for item in _list_at(data, path) if isinstance(item, dict))
    return [item for item in items if isinstance(item, str)]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def broken_rules(template: Template, evidence: Evidence) -> Iterator[Broken]:
    """Find what does not hold in a template whose every part is valid by itself."""
    protocol = template.protocol
    yield from _roles_and_endpoints(protocol)
    if any(_roles_and_endpoints(protocol)):
        return
    yield from _one_arm_or_two(template, evidence)
    n_strata = prod(len(factor.shares) for factor in template.nature.factors)
    if n_strata > _MAX_STRATA:
        yield Broken(
            ("nature", "factors"),
            f"must make at most {_MAX_STRATA:,} strata, not {n_strata:,}",
            "Use fewer factors or levels.",
        )
    for index, scenario in enumerate(template.scenarios):
        yield from _primary_of(scenario, ("scenarios", index), template, evidence)
    yield from _outcomes(template, evidence)
    yield from _safety(template, evidence)
    yield from _multiplicity(template)
    if template.nature.control_risk:
        yield from _number_is_in_its_source(
            template.nature.control_risk, "control_risk", ("nature", "control_risk"), evidence
        )
    at: Location = ("nature", "survival", "source")
    yield from _lifetime_is_in_its_source(template.nature.survival, at, evidence)
    for name, own in template.nature.outcomes.items():
        at = ("nature", "outcomes", name, "source")
        yield from _lifetime_is_in_its_source(own, at, evidence)
    yield from _unlike_patients(template.nature)
    yield from _later_risks(template, evidence)
    yield from (Broken(*found) for found in observed_rules(template, evidence))
    yield from _calendar(template)
    if protocol.looks or isinstance(protocol.primary, TimeToEventEndpoint):
        yield from _looks(template, evidence)
    if protocol.n_total > MAX_PATIENTS:
        rule = f"must be at most {MAX_PATIENTS:,} patients in all"
        yield Broken(("protocol", "sample_size"), rule, "Use fewer.")
    yield from (Broken(*found) for found in optimise_rules(template))
    yield from (Broken(*found) for found in enrichment_rules(template))
    yield from evidence_rules(template.evidence)
    yield from conflict_rules(template.conflicts, evidence)


def _one_arm_or_two(template: Template, evidence: Evidence) -> Iterator[Broken]:
    yield from (Broken(*found) for found in single_arm_rules(template))
    if not template.protocol.is_single_arm:
        yield from _allocation(template.protocol)
        return
    for at, risk in historical_risks(template.protocol):
        yield from _number_is_in_its_source(risk, "control_risk", at, evidence)


def _primary_of(
    scenario: Scenario, here: Location, template: Template, evidence: Evidence
) -> Iterator[Broken]:
    match template.protocol.primary:
        case ResponseEndpoint():
            yield from _courses(scenario, here, template, evidence)
        case TimeToEventEndpoint():
            yield from _lifetimes(scenario, here, template, evidence)
        case BinaryEndpoint():
            yield from _scenario(scenario, here, template, evidence)
        case other:
            yield from _only_outcomes(scenario, here, other)


def _roles_and_endpoints(protocol: Protocol) -> Iterator[Broken]:
    roles = sorted(arm.role for arm in protocol.arms)
    other = Role.HISTORICAL if protocol.is_single_arm else Role.CONTROL
    if roles != sorted((Role.EXPERIMENTAL, other)):
        remedy = "Correct their 'role'."
        if Role.HISTORICAL in roles and not protocol.is_single_arm:
            remedy = "A historical arm needs design: single-arm; else correct their 'role'."
        yield Broken(
            ("protocol", "arms"), f"must have one experimental and one {other} arm", remedy
        )
    primaries = [e for e in protocol.endpoints if e.level is Level.PRIMARY]
    if len(primaries) != 1:
        yield Broken(
            ("protocol", "endpoints"),
            f"must have one primary endpoint, not {len(primaries)}",
            "The trial is sized for one: make the others secondary.",
        )
    else:
        yield from _primary_endpoint(protocol)


def _primary_endpoint(protocol: Protocol) -> Iterator[Broken]:
    primary = protocol.primary
    here = ("protocol", "endpoints", protocol.endpoints.index(primary))
    therapy = protocol.experimental.regimen and protocol.experimental.regimen.lasting
    if primary.read_out.clock is Clock.END_OF_THERAPY and not therapy:
        yield Broken(
            (*here, "at"),
            "counts from the end of therapy, but the experimental arm has no 'for'",
            "Say how long therapy lasts in its regimen.",
        )
    if primary.read_out.days_after_entry(protocol.therapy) <= 0:
        rule = "must come after entry"
        yield Broken((*here, "at"), rule, "Nothing has happened on day 0.")
    if isinstance(primary, ResponseEndpoint) and protocol.visits:
        yield from _read_at_visits(protocol)


def _read_at_visits(protocol: Protocol) -> Iterator[Broken]:
    days = [day for day, _ in protocol.visit_days]
    for index, endpoint in enumerate(protocol.endpoints):
        if not isinstance(endpoint, ResponseEndpoint):
            continue
        day = endpoint.read_out.days_after_entry(protocol.therapy)
        if any(abs(day - visit) < 0.5 for visit in days):
            continue
        why = "is not the day of a visit"
        if day < days[0]:
            why = "comes before the first visit"
        elif day > days[-1]:
            why = "comes after the last visit: follow-up has ended"
        near = min(days, key=lambda visit: abs(visit - day))
        yield Broken(
            ("protocol", "endpoints", index, "at"),
            f"{why} (day {day:g}; the nearest visit is on day {near:g})",
            "Add a visit on that day, or read at one of those under 'visits'.",
        )


def _allocation(protocol: Protocol) -> Iterator[Broken]:
    here = ("protocol", "allocation")
    stated = protocol.allocation
    arms = {arm.id for arm in protocol.arms}
    for path, sizes in (
        ((*here, "ratio"), stated.ratio),
        (("protocol", "sample_size", "per_arm"), protocol.sample_size.per_arm),
    ):
        if sizes is None or set(sizes) == arms:
            continue
        if set(sizes) < arms:  # one that names no arm is reported as a broken reference
            missing = (arms - set(sizes)).pop()
            yield Broken(path, f"must name every arm; '{missing}' is missing", "Add it.")
        return
    if protocol.sample_size.per_arm is not None:
        yield from _fixed_sizes(protocol)
    yield from _method(protocol)


def _fixed_sizes(protocol: Protocol) -> Iterator[Broken]:
    if protocol.allocation.ratio is not None:
        yield Broken(
            ("protocol", "allocation", "ratio"),
            "must not stand beside sample_size.per_arm",
            "The sizes state the ratio: remove one of the two.",
        )
    if protocol.allocation_method is not AllocationMethod.RANDOM_ALLOCATION_RULE:
        yield Broken(
            ("protocol", "allocation", "method"),
            "cannot give exactly the sizes in sample_size.per_arm",
            "Use 'random-allocation-rule', or state sample_size.total.",
        )


def _method(protocol: Protocol) -> Iterator[Broken]:
    here = ("protocol", "allocation")
    stated, method, unit = protocol.allocation, protocol.allocation_method, sum(protocol.ratio)
    if method is AllocationMethod.RANDOM_ALLOCATION_RULE and protocol.n_total % unit:
        below = protocol.n_total // unit * unit
        yield Broken(
            ("protocol", "sample_size", "total"),
            f"must be a multiple of {unit}, the sum of the ratio, for fixed arm sizes",
            f"Use {below} or {below + unit}.",
        )
    minimised = method is AllocationMethod.MINIMISATION
    if minimised and not stated.stratify_by:
        rule = "must name the factors that 'minimisation' balances"
        yield Broken((*here, "stratify_by"), rule, "Add stratify_by: [site].")
    if minimised and (unit != 2 or protocol.sample_size.per_arm):
        rule = "is for 1:1, with the total alone stated"
        yield Broken((*here, "method"), rule, "Use 'permuted-blocks', or state the total, 1:1.")
    for name, given in (
        ("block_sizes", stated.block_sizes),
        ("stratify_by", stated.stratify_by if not minimised else ()),
    ):
        if given and method is not AllocationMethod.PERMUTED_BLOCKS:
            yield Broken(
                (*here, name),
                f"has no meaning with method '{method}'",
                "Use 'permuted-blocks', or remove it.",
            )
    for index, size in enumerate(stated.block_sizes or ()):
        if size % unit:
            yield Broken(
                (*here, "block_sizes", index),
                f"must be a multiple of {unit}, the sum of the ratio",
                f"Use for example {unit * max(1, round(size / unit))}.",
            )


def _courses(
    scenario: Scenario, here: tuple[str | int, ...], template: Template, evidence: Evidence
) -> Iterator[Broken]:
    if scenario.response is None:
        yield Broken(
            here,
            "needs 'response', the two courses of a primary endpoint of that kind",
            "Write response: {control: [{until: 18 mo, reaches: 0.09}]}, with 'treated' or none.",
        )
        return
    if any(_unlike_patients(template.nature)):
        return  # said once, of nature
    try:
        protocol = template.protocol
        dosing = dosing_of(protocol.experimental.regimen)
        courses_of(scenario.response, template.nature, protocol.therapy, evidence, dosing)
    except ImpossiblePieceError as why:
        yield Broken(
            (*here, "response", why.arm, why.index),
            str(why),
            why.remedy
            or "Change its end, what it reaches, or relapse, death and loss under nature.response.",
        )


def _unlike_patients(nature: Nature) -> Iterator[Broken]:
    """Find levels with a hazard ratio of response that no factor has."""
    by, here = nature.response and nature.response.hazard_ratio_by, ("nature", "response")
    if not by:
        return
    factor = next((f for f in nature.factors if f.id == by.factor), None)
    if factor is None or factor.levels is None:
        rule = "is no factor with levels under nature.factors"
        yield Broken((*here, "hazard_ratio_by", "factor"), rule, "Add it there.")
        return
    known = [level.id for level in factor.levels]
    for name in by.ratios:
        if name not in known:
            remedy = did_you_mean(name, known, f"Its levels are {_listed(known)}.")
            at = (*here, "hazard_ratio_by", "ratios", name)
            yield Broken(at, f"is no level of '{by.factor}'", remedy)
    if set(known) <= set(by.ratios):
        every = (*here, "hazard_ratio_by", "ratios")
        yield Broken(
            every, "must leave out a level: the others are compared with it", "Remove one."
        )


def _lifetimes(
    scenario: Scenario, here: Location, template: Template, evidence: Evidence
) -> Iterator[Broken]:
    if scenario.as_observed:
        yield from _lifetimes_as_seen(scenario, here, template, evidence)
        return
    if scenario.effect or scenario.response or scenario.control_risk:
        rule = "states risks, but the primary endpoint is a time to an event"
        yield Broken(here, rule, "Write survival: {hazard_ratio: 0.7}, or none for no effect.")
        return
    stated = scenario.survival or SurvivalScenario()
    try:
        lifetimes_of(stated, template.nature)
    except ImpossibleLifetimeError as why:
        where = (*here, "survival") if stated.control or stated.treated else ("nature", "survival")
        yield Broken(where, str(why), "Write for example {median: 12 mo}.")
    for index, ratio in enumerate(stated.hazard_ratios or ()):
        at = (*here, "survival", "hazard_ratios", index, "ratio")
        yield from _number_is_in_its_source(ratio.ratio, "hazard_ratio", at, evidence)
    for name in ("control", "treated"):
        at = (*here, "survival", name, "source")
        yield from _lifetime_is_in_its_source(getattr(stated, name), at, evidence)
    if stated.hazard_ratio:
        at = (*here, "survival", "hazard_ratio")
        yield from _number_is_in_its_source(stated.hazard_ratio, "hazard_ratio", at, evidence)


def _lifetime_is_in_its_source(
    stated: object, at: Location, evidence: Evidence
) -> Iterator[Broken]:
    source = stated.source if isinstance(stated, Lifetime) else None
    record = evidence.records.get(source or "")
    if record is None or not isinstance(stated, Lifetime) or status_of_lifetime(stated, record):
        return  # assumed, or an unknown source, which is reported as such, or rightly cited
    rule = f"cites {source}, which states no such median or share that survives"
    remedy = "Write the number the source states, or drop 'source' and it is shown as assumed."
    yield Broken(at, rule, remedy)


def _lifetimes_as_seen(
    scenario: Scenario, here: Location, template: Template, evidence: Evidence
) -> Iterator[Broken]:
    if scenario.as_observed not in evidence.records:
        return  # reported as unknown
    try:
        survival_of(scenario, template, evidence)
    except ValueError as why:
        remedy = "State 'survival' instead, from what it gives."
        yield Broken((*here, "as_observed"), str(why), remedy)


def _only_outcomes(
    scenario: Scenario, here: Location, primary: OutcomeEndpoint
) -> Iterator[Broken]:
    for name in ("effect", "control_risk", "as_observed", "response", "survival"):
        if getattr(scenario, name):
            rule = f"is not for a primary endpoint of kind {primary.kind}"
            remedy = f"State its effect under outcomes: {{{primary.id}: ...}}."
            yield Broken((*here, name), rule, remedy)


def _outcomes(template: Template, evidence: Evidence) -> Iterator[Broken]:
    """Find outcomes that belong to no endpoint, cannot be, or correlate as nothing can."""
    protocol, nature = template.protocol, template.nature
    here, primary = ("nature", "outcomes"), protocol.primary
    by_id = {endpoint.id: endpoint for endpoint in protocol.endpoints}
    known = [e.id for e in protocol.endpoints if e == primary or e not in protocol.simulated]
    places: list[tuple[Location, str]] = [((*here, name), name) for name in nature.outcomes]
    for index, scenario in enumerate(template.scenarios):
        places += [(("scenarios", index, "outcomes", name), name) for name in scenario.outcomes]
    strangers = [(at, name) for at, name in places if name not in by_id]
    for at, name in strangers:
        remedy = did_you_mean(name, known, f"Its endpoints are {_listed(by_id)}.")
        yield Broken(at, "is no endpoint of this protocol", remedy)
    if strangers:
        return
    if isinstance(primary, OutcomeEndpoint) and primary.id not in nature.outcomes:
        rule = f"must state the control arm of the primary endpoint, '{primary.id}'"
        yield Broken(here, rule, f"Add {primary.id}: to it.")
        return
    if not isinstance(primary, OutcomeEndpoint) and primary.id in nature.outcomes:
        rule = "is the primary endpoint, whose truth stands elsewhere"
        yield Broken((*here, primary.id), rule, f"See what a {primary.kind} endpoint needs.")
        return
    yield from _correlations(template)
    for at, name in places:
        if name not in nature.outcomes:
            rule = "has an effect on an endpoint that nature.outcomes does not state"
            yield Broken(at, rule, f"Add it there: {name}: ...")
    if any(name not in nature.outcomes for _, name in places):
        return
    for index, scenario in enumerate(template.scenarios):
        yield from _impossible_outcomes(scenario, index, template, evidence)


def _impossible_outcomes(
    scenario: Scenario, index: int, template: Template, evidence: Evidence
) -> Iterator[Broken]:
    for name, model in template.nature.outcomes.items():
        effect = scenario.outcomes.get(name)
        at = ("scenarios", index, "outcomes", name)
        try:
            one = {"outcomes": {name: model}}
            outcomes_of(
                scenario,
                template.model_copy(update={"nature": template.nature.model_copy(update=one)}),
            )
        except ImpossibleOutcomeError as why:
            if why.of_effect or index == 0:
                where = at if why.of_effect else ("nature", "outcomes", name)
                yield Broken(where, str(why), why.remedy)
        if effect:
            yield from _number_is_in_its_source(
                effect.number, effect.stated[0], (*at, effect.stated[0]), evidence
            )


def _safety(template: Template, evidence: Evidence) -> Iterator[Broken]:
    yield from (Broken(*found) for found in safety_rules(template))
    for at, quantity, number in sourced_risks(template):
        yield from _number_is_in_its_source(number, quantity, at, evidence)
    yield from (Broken(*found) for found in imbalance_rules(template, evidence))


def _multiplicity(template: Template) -> Iterator[Broken]:
    protocol, here = template.protocol, ("protocol", "multiplicity")
    if protocol.multiplicity is None:
        return
    known = [protocol.primary.id, *(e.id for e in protocol.simulated), *template.simulated_outcomes]
    for index, name in enumerate(protocol.multiplicity.endpoints):
        if name not in known:
            remedy = did_you_mean(name, known, f"Simulated are {_listed(dict.fromkeys(known))}.")
            yield Broken((*here, "endpoints", index), "is not simulated", remedy)
    if len(protocol.looks) > 1:
        rule = "cannot stand beside several looks yet"
        yield Broken(here, rule, "Keep one of the two.")
    family = [e for e in protocol.endpoints if e.id in protocol.multiplicity.endpoints]
    if any(getattr(e.analysis, "test", "") == "maxcombo" for e in (protocol.primary, *family)):
        rule = "needs P values, and MaxCombo decides without one"
        yield Broken(here, rule, "Use another test.")


def _correlations(template: Template) -> Iterator[Broken]:
    """Find correlations of what is not simulated, said twice, or that cannot be together."""
    protocol, nature = template.protocol, template.nature
    here = ("nature", "correlations")
    events = [event.id for event in nature.intercurrent_events]
    known = ["severity", protocol.primary.id, *template.simulated_outcomes, *events]
    seen: set[frozenset[str]] = set()
    for index, pair in enumerate(nature.correlations):
        for place, name in enumerate(pair.between):
            if name not in known:
                remedy = did_you_mean(name, known, f"These can be: {_listed(known)}.")
                at = (*here, index, "between", place)
                yield Broken(at, "is neither simulated nor severity", remedy)
                return
        both = frozenset(pair.between)
        if len(both) < 2 or both in seen:
            rule = "stands twice" if len(both) > 1 else "names the same twice"
            yield Broken((*here, index, "between"), rule, "Keep one.")
            return
        seen.add(both)
    by_course = {"severity", protocol.primary.id}
    if not isinstance(protocol.primary, OutcomeEndpoint) and by_course in seen:
        rule = "is stated by nature.severity_slope where the primary endpoint is a risk"
        yield Broken(here, rule, "Use that slope.")
        return
    names = list(dict.fromkeys(known))
    if cholesky(correlation_matrix(names, nature.correlations)) is None:
        yield Broken(
            here,
            "cannot be together: their matrix is not positive definite",
            "Bring them nearer to 0, or state the correlations that are left out (0 else).",
        )


def _calendar(template: Template) -> Iterator[Broken]:
    """Find times of enrolment, survival and loss that do not belong to this protocol."""
    protocol, nature = template.protocol, template.nature
    yield from (Broken(*found) for found in site_rules(template))
    given = nature.enrolment and nature.enrolment.given
    if given and len(given) != protocol.n_total:
        yield Broken(
            ("nature", "enrolment", "given"),
            f"must have one day for each of the {protocol.n_total:,} patients, not {len(given):,}",
            "Add or remove some, or state enrolment another way.",
        )
    if isinstance(protocol.primary, TimeToEventEndpoint):
        if nature.enrolment is None and site_enrolment_of(template) is None:
            rule = "is required with a primary endpoint that is a time to an event"
            yield Broken(("nature", "enrolment"), rule, "Write for example {uniform: 12 mo}.")
        yield from _risks_beside_times(nature)
        return
    for name in ("survival", "dropout"):
        if getattr(nature, name):
            rule = "is for a primary endpoint of kind time-to-event"
            yield Broken(("nature", name), rule, "Remove it.")
    for index, scenario in enumerate(template.scenarios):
        if scenario.survival:
            rule = "is for a primary endpoint of kind time-to-event"
            yield Broken(("scenarios", index, "survival"), rule, "State 'effect' instead.")


def _risks_beside_times(nature: Nature) -> Iterator[Broken]:
    slope = nature.severity_slope
    if nature.control_risk or (slope and slope.value):
        name = "control_risk" if nature.control_risk else "severity_slope"
        rule = "is for risks, but the primary endpoint is a time to an event"
        yield Broken(("nature", name), rule, "Use nature.survival, by level of a factor.")
    for index, covariate in enumerate(nature.covariates):
        if covariate.odds_ratio_per_sd:
            rule = "has an odds ratio, but the primary endpoint is a time to an event"
            at = ("nature", "covariates", index, "odds_ratio_per_sd")
            yield Broken(at, rule, "Remove it; use a factor, and nature.survival by its levels.")
    for index, factor in enumerate(nature.factors):
        if any(ratio != 1 for ratio in factor.odds_ratios):
            rule = "has odds ratios, but the primary endpoint is a time to an event"
            remedy = "State nature.survival by level: {factor: ..., levels: {...}}."
            yield Broken(("nature", "factors", index), rule, remedy)


def _looks(template: Template, evidence: Evidence) -> Iterator[Broken]:
    protocol = template.protocol
    primary, looks, here = protocol.primary, protocol.looks, ("protocol", "looks")
    if isinstance(primary, ResponseEndpoint | CompetingEndpoint):
        rule = f"asks for looks, which an endpoint of kind {primary.kind} does not have yet"
        yield Broken(here, rule, "Remove them, or use an endpoint of another kind.")
        return
    if not looks:
        rule = "is required: it says when a time to an event is analysed"
        yield Broken(here, rule, "Write for example looks: [{at: {events: 250}}].")
        return
    for index, (look, following) in enumerate(pairwise(looks)):
        own, later = look.at, following.at
        for name in ("information", "events", "enrolled", "calendar"):
            first, second = _amount(own, name), _amount(later, name)
            if first is not None and second is not None and second <= first:
                rule = f"must come after the look before it, at {own}"
                yield Broken((*here, index + 1, "at", name), rule, "Put the looks in order.")
    yield from _bounds(looks)
    if isinstance(primary, TimeToEventEndpoint):
        yield from _event_looks(template, primary, evidence)
    else:
        yield from _risk_looks(template)


def _amount(trigger: Trigger, name: str) -> float | None:
    stated = getattr(trigger, name)
    return stated.days if isinstance(stated, Duration) else stated


def _bounds(looks: Sequence[Look]) -> Iterator[Broken]:
    here = ("protocol", "looks")
    last = len(looks) - 1
    for index, look in enumerate(looks):
        at, both = (*here, index), (look.efficacy_z, look.futility_z)
        if both[0] is not None and both[1] is not None and both[1] >= both[0]:
            rule = f"must be below efficacy_z, which is {both[0]:g}"
            yield Broken((*at, "futility_z"), rule, "Lower it.")
        if index < last and both == (None, None):
            remedy = "Add efficacy_z or futility_z, or remove the look: it decides nothing."
            yield Broken(at, "needs a bound", remedy)
        if index == last and look.futility_z is not None:
            rule = "has no meaning at the last look: not finding an effect ends the trial anyway"
            yield Broken((*at, "futility_z"), rule, "Remove it.")
    spent = any(look.efficacy_z is not None for look in looks[:-1])
    if spent and looks[-1].efficacy_z is None:
        rule = "needs efficacy_z: earlier looks have spent some of alpha"
        yield Broken((*here, last), rule, "Write the bound of your design, for example 2.004.")


def _risk_looks(template: Template) -> Iterator[Broken]:
    protocol, here = template.protocol, ("protocol", "looks")
    *interim, final = protocol.looks
    if final.at.information != 1:
        rule = "must be the last look, with everyone read out"
        yield Broken((*here, len(interim), "at"), rule, "Write {information: 1}.")
    fisher = protocol.primary.analysis is BinaryTest.FISHER and protocol.test.sides == 2
    if fisher and any(look.efficacy_z is not None for look in protocol.looks):
        rule = "have bounds on z, which a two-sided Fisher test does not give"
        yield Broken(here, rule, "Use analysis: chi-square, or test: {sides: 1}.")
    enrolment = enrolment_of(template)
    for index, look in enumerate(interim):
        at = (*here, index, "at")
        if enrolment is None and (look.at.calendar or look.at.enrolled):
            rule = "needs to know when patients enter"
            yield Broken(at, rule, "Add nature.enrolment: {uniform: 12 mo}.")
        elif enrolment and look.at.calendar:
            end = enrolment.last_day + protocol.primary.read_out.days_after_entry(protocol.therapy)
            yield from _after_the_end(look, at, end)
        if look.at.enrolled and look.at.enrolled > protocol.n_total:
            rule = f"must be at most {protocol.n_total:,}, the patients of this trial"
            yield Broken((*at, "enrolled"), rule, "Use fewer.")
        if look.at.events and not isinstance(protocol.primary, BinaryEndpoint):
            rule = f"counts events, which set off no look at a {protocol.primary.kind} endpoint"
            yield Broken((*at, "events"), rule, "Write {information: 0.5} or {enrolled: 100}.")
        elif look.at.events and look.at.events > protocol.n_total:
            rule = f"must be at most {protocol.n_total:,}, the patients of this trial"
            yield Broken((*at, "events"), rule, "Use fewer.")


def _after_the_end(look: Look, at: Location, end: float) -> Iterator[Broken]:
    if look.at.calendar and look.at.calendar.days > end + 1e-9:
        months = end / DAYS_PER_UNIT["mo"]
        yield Broken(
            (*at, "calendar"),
            f"comes after the end: the last read-out is {months:.1f} mo after the first day",
            "Look earlier, or follow patients for longer.",
        )


def _event_looks(
    template: Template, primary: TimeToEventEndpoint, evidence: Evidence
) -> Iterator[Broken]:
    protocol, here = template.protocol, ("protocol", "looks")
    *interim, final = protocol.looks
    if final.at.information is not None:
        rule = "must say when the trial ends, of which information is a share"
        yield Broken((*here, len(interim), "at"), rule, "Write {events: 250} or {calendar: 24 mo}.")
        return
    yield from _max_combo_looks(protocol, primary)
    for index, look in enumerate(interim):
        if look.at.information is not None and final.at.events is None:
            rule = "is a share of the last look's events, but that look is not set off by events"
            yield Broken((*here, index, "at"), rule, "Write the last look as {events: 250}.")
    enrolment, scenarios = enrolment_of(template), template.scenarios
    if enrolment is None or any(_impossible(s, template, evidence) for s in scenarios):
        return  # reported already
    if primary.followed_for:
        end = enrolment.last_day + primary.followed_for.days
        for index, look in enumerate(protocol.looks):
            yield from _after_the_end(look, (*here, index, "at"), end)
    for index, look in enumerate(protocol.looks):
        if look.at.enrolled and look.at.enrolled > protocol.n_total:
            rule = f"must be at most {protocol.n_total:,}, the patients of this trial"
            yield Broken((*here, index, "at", "enrolled"), rule, "Use fewer.")
        if look.at.events:
            yield from _enough_events(
                look.at.events, (*here, index, "at", "events"), template, evidence
            )


def _max_combo_looks(protocol: Protocol, primary: TimeToEventEndpoint) -> Iterator[Broken]:
    if primary.analysis.test != "maxcombo":
        return
    here, last = ("protocol", "looks"), len(protocol.looks) - 1
    if last:
        rule = "asks for several looks, but MaxCombo is read once"
        yield Broken(here, rule, "Use one look, or the log-rank test.")
    elif protocol.looks[last].efficacy_z is not None:
        rule = "has no meaning with MaxCombo: each trial has its own correlations"
        yield Broken((*here, last, "efficacy_z"), rule, "Remove it; alpha decides.")


def _impossible(scenario: Scenario, template: Template, evidence: Evidence) -> bool:
    try:
        modified_lifetimes_of(scenario, template, evidence)
    except (ValueError, KeyError):  # reported already
        return True
    return False


def _enough_events(
    wanted: int, at: Location, template: Template, evidence: Evidence
) -> Iterator[Broken]:
    """Refuse a look that is not reached in expectation under some scenario, and say what is."""
    for scenario in template.scenarios:
        course = event_course(scenario, template, evidence)
        if wanted > course.ever:
            month = course.day_of(course.ever * 0.99) / DAYS_PER_UNIT["mo"]
            yield Broken(
                at,
                f"asks for {wanted:,} events, but at most {course.ever:.0f} are expected under "
                f"'{scenario.id}', nearly all of them by month {month:.1f}",
                "Ask for fewer, add patients, or follow them for longer.",
            )
            return


def _scenario(
    scenario: Scenario, here: tuple[str | int, ...], template: Template, evidence: Evidence
) -> Iterator[Broken]:
    if scenario.control_risk is not None:
        yield from _number_is_in_its_source(
            scenario.control_risk, "control_risk", (*here, "control_risk"), evidence
        )
    if scenario.as_observed:
        record = evidence.records.get(scenario.as_observed)
        if record is None:
            return
        risks = risks_as_observed(scenario, template, evidence)
        arms = "the treated arm" if template.protocol.is_single_arm else "both arms"
        if risks is None or not all(0 < risk < 1 for risk in risks):
            yield Broken(
                (*here, "as_observed"),
                "must be a trial that gives events and patients "
                f"in {arms} for '{template.protocol.primary.id}', neither none nor all",
                "State 'effect' and 'control_risk' instead.",
            )
        return
    control_risk = concurrent_risk(template, scenario)
    if control_risk is None:
        if not template.protocol.is_single_arm:  # there it is reported of the historical arm
            remedy = "Add nature.control_risk, or one of its own."
            yield Broken(here, "needs a control risk", remedy)
    elif scenario.response:
        rule = "is for a primary endpoint of kind response"
        yield Broken((*here, "response"), rule, "State 'effect' instead.")
    elif scenario.effect:
        yield from _effect(scenario, scenario.effect, control_risk, here, template, evidence)


def _effect(
    scenario: Scenario,
    effect: Effect,
    control_risk: float,
    here: Location,
    template: Template,
    evidence: Evidence,
) -> Iterator[Broken]:
    quantity = effect.quantity
    at = (*here, "effect", quantity)
    treated_risk = effect.applied_to(control_risk)
    if not 0 < treated_risk < 1:
        yield Broken(
            at,
            f"takes the control risk of {control_risk:g} to {treated_risk:.4g}, "
            "which is not between 0 and 1",
            "Use a smaller effect or another control risk.",
        )
    own = scenario.control_risk is not None or template.protocol.is_single_arm
    if isinstance(effect, TreatedRisk) and not own:
        yield Broken(
            at,
            "needs the control risk it was stated with",
            "Add 'control_risk' to this scenario.",
        )
    yield from _number_is_in_its_source(effect.number, quantity, at, evidence)


def _number_is_in_its_source(
    number: Any, quantity: str, at: tuple[str | int, ...], evidence: Evidence
) -> Iterator[Broken]:
    """Require a number that cites a record to stand in it: else it would borrow false weight."""
    record = evidence.records.get(number.source)
    if record is None or evidence.stated_as(number.source, quantity, number.value):
        return  # assumed, or an unknown source, which is reported as such, or rightly cited
    stated = sorted({f"{n.value:.4g}" for n in record.stated() if n.quantity == quantity})
    has = f"which states {_listed(stated)}" if stated else f"which states no {quantity}"
    yield Broken(
        at,
        f"cites {number.source}, {has}",
        "Write the number the source states, or drop 'source' and it is shown as assumed.",
    )


def _later_risks(template: Template, evidence: Evidence) -> Iterator[Broken]:
    """Find risks by other times that fall, or belong to another kind of endpoint."""
    nature, protocol, here = template.nature, template.protocol, ("nature", "control_risk_by")
    later = [index for index, s in enumerate(template.scenarios) if s.effect_from]
    if not isinstance(protocol.primary, BinaryEndpoint):
        rule = "is for a primary endpoint of kind binary"
        if nature.control_risk_by:
            yield Broken(here, rule, "Remove it.")
        for index in later:
            yield Broken(("scenarios", index, "effect_from"), rule, "Remove it.")
        return
    for index, point in enumerate(nature.control_risk_by):
        at, day = (*here, index, "risk"), point.by.days_after_entry(protocol.therapy)
        source = point.risk.source or ""
        if evidence.stated_as(source, "control_risk", point.risk.value, day) is None:
            yield from _number_is_in_its_source(point.risk, "control_risk", at, evidence)
    if nature.control_risk_by and nature.control_risk is None:
        yield Broken(here, "needs nature.control_risk beside it", "Add it.")


def conflict_rules(conflicts: Iterable[Conflict], evidence: Evidence) -> Iterator[Broken]:
    """Find sides of a conflict that name a result or an estimate their record does not have."""
    for index, conflict in enumerate(conflicts):
        for number, side in enumerate(conflict.sides):
            record = evidence.records.get(side.source)
            if record is None:
                continue
            has = {"result": set[str](), "effect": set[str]()}
            effects = getattr(record, "effects", ())
            if isinstance(record, Trial):
                has["result"] = {result.id for result in record.results}
                effects = [e for result in record.results for e in result.effects]
            has["effect"] = {e.id for e in effects if e.id}
            for name, known in has.items():
                wanted = getattr(side, name)
                if wanted and wanted not in known:
                    where = ("conflicts", index, "sides", number, name)
                    remedy = did_you_mean(
                        wanted, known, f"It has {_listed(sorted(known)) or 'none'}."
                    )
                    yield Broken(where, f"is not of {side.source}", remedy)


def evidence_rules(
    records: Iterable[EvidenceRecord], *, contradictions: bool = True
) -> Iterator[Broken]:
    """Find numbers in evidence records that cannot be; one by one only without `contradictions`."""
    for index, record in enumerate(records):
        here = ("evidence", index)
        effects = getattr(record, "effects", ())
        yield from _effects(effects, (*here, "effects"), contradictions)
        for number, result in enumerate(record.results if isinstance(record, Trial) else ()):
            at = (*here, "results", number)
            yield from _effects(result.effects, (*at, "effects"), contradictions)
            for name in ("experimental", "control"):
                arm = getattr(result, name)
                if arm and arm.events is not None and (arm.n is None or arm.events > arm.n):
                    yield Broken(
                        (*at, name, "events"),
                        f"must be at most n, which is {arm.n}"
                        if arm.n
                        else "needs the number of patients 'n' beside it",
                        "Check the record against its source.",
                    )
                if arm and result.unit == "%" and arm.value is not None and arm.value > 100:
                    yield Broken((*at, name, "value"), *_OVER_100)
        for number, quantity in enumerate(record.quantities):
            share = quantity.unit == "%" and quantity.n is not None
            if share and quantity.value is not None and quantity.value > 100:
                yield Broken((*here, "quantities", number, "value"), *_OVER_100)
            if share and quantity.events is not None and quantity.events > (quantity.n or 0):
                rule = f"must be at most n, which is {quantity.n}"
                remedy = "Check the record against its source."
                yield Broken((*here, "quantities", number, "events"), rule, remedy)


_OVER_100 = (
    "must be at most 100, as a percentage of patients",
    "Check the record against its source; a change has a unit such as '% change'.",
)


def _effects(
    effects: Iterable[Any], here: tuple[str | int, ...], contradictions: bool
) -> Iterator[Broken]:
    for index, effect in enumerate(effects):
        if "ratio" in effect.measure.value and effect.value <= 0:
            yield Broken(
                (*here, index, "value"),
                "must be above 0",
                "Write the ratio itself, not its logarithm.",
            )
        if effect.ci and "ratio" in effect.measure.value and effect.ci[0] < 0:
            rule = "must not go below 0"
            yield Broken((*here, index, "ci"), rule, "Check the record against its source.")
        elif effect.ci and effect.ci[0] > effect.ci[1]:
            rule = "must be from the lower limit to the upper one"
            yield Broken((*here, index, "ci"), rule, "Swap them.")
        elif contradictions and effect.ci and not effect.ci[0] <= effect.value <= effect.ci[1]:
            yield Broken(
                (*here, index, "ci"),
                "must hold the estimate between its two limits",
                "Check the record against its source.",
            )
