"""A protocol in words, for ``trialsim show``: nothing here needs numpy."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

from trialsim.protocol.endpoints import ContinuousEndpoint, Endpoint, TimeToEventEndpoint
from trialsim.protocol.intercurrent import estimands_of
from trialsim.protocol.published.cautions import cautions_about
from trialsim.protocol.published.evidence import EvidenceRecord
from trialsim.protocol.published.second_encoding import SecondEncoding
from trialsim.protocol.quantities import DAYS_PER_UNIT, SourcedNumber
from trialsim.protocol.scenario import Covariate, Factor
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.safety import safety_endpoints
from trialsim.protocol.truths.site_enrolment import enrolment_in_words, sites_of
from trialsim.report.parts.control_arm import control_arm_lines, scenario_note_lines
from trialsim.report.parts.regimen import regimen_in_words
from trialsim.report.parts.safety import safety_lines
from trialsim.report.parts.schedule import schedule_lines
from trialsim.report.text import (
    caution_lines,
    endpoint_in_words,
    historical_in_words,
    nothing_observed_in_words,
    per_1000,
    read_out_in_words,
    table,
    wrapped,
)
from trialsim.studies.operations.assumptions import stated_of

__all__ = ["records_of", "sources_of", "template_lines"]


def template_lines(resolved: ResolvedTemplate, program: str) -> str:
    """Return what ``trialsim show`` prints: the protocol, read aloud.

    `program` is what to type to run the commands it names.
    """
    template, protocol = resolved.template, resolved.template.protocol
    said: list[tuple[str, str]] = []
    if template.setting == "historical":
        said.append(("historical", template.setting_note or "not as treated today"))
    said += [("note", template.note)] if template.note else []
    if protocol.population:
        said.append(("population", protocol.population.condition))
        said += [("  with", "; ".join(protocol.population.include))] * bool(
            protocol.population.include
        )
        said += (
            [("  not", "; ".join(protocol.population.exclude))]
            if protocol.population.exclude
            else []
        )
    for arm in protocol.arms:
        said.append((arm.role.value, f"{arm.id}: {arm}"))
        said += [("  regimen", words) for words in regimen_in_words(arm.regimen, template.nature)]
    said += [("background", protocol.background)] if protocol.background else []
    said.append(("allocation", _allocation(resolved)))
    if not protocol.is_single_arm:
        said.append(("blinded", ", ".join(protocol.blinding) or "nobody, or not stated"))
    said.append(("patients", f"{protocol.n_total:,}"))
    events = template.nature.intercurrent_events
    for endpoint in protocol.endpoints:
        said += _endpoint_in_words(endpoint, resolved)
        asked = estimands_of(endpoint, events) if endpoint in resolved.endpoints else ()
        if endpoint == protocol.primary:
            said.append(("  estimand", _estimand(resolved)))
        said += [("  estimand", f"{each.id}: {each.in_words}") for each in asked]
    if protocol.visits:
        seen = ", ".join(visit.at.in_words(protocol.therapy) for visit in protocol.visits)
        said.append(("visits", seen))
    said.append(("conduct", f"{template.conduct}: without the flaws that 'bias' shows"))
    said += _history_in_words(resolved)
    said += _calendar_in_words(resolved)
    said += _screening_in_words(resolved)
    if (slope := template.nature.severity_slope) is not None:
        said.append(
            ("severity, log odds per SD", _number(slope, "nature.severity_slope", resolved))
        )
    said += [
        ("event", f"{event.id}, {event.hazards_in_words()} (assumed): {event.in_words}")
        for event in events
    ]
    said += [("covariate", _covariate(covariate)) for covariate in template.nature.covariates]
    said += [("factor", f"{factor.id}: {_factor(factor)}") for factor in template.nature.factors]
    said += [("subgroups", str(subgroup)) for subgroup in protocol.subgroups]
    said += [
        ("modifier", f"{scenario.id}: {modifier} (assumed)")
        for scenario in template.scenarios
        for modifier in scenario.modifiers
    ]
    scenarios, unit = _scenarios_in_words(resolved)
    width = max(len(name) for name, _ in said) + 2
    parts = [
        wrapped(f"{template.id.upper()}   {template.title}"),
        "\n".join(wrapped(what, " " * width, f"{name:{width}}") for name, what in said),
        table(("scenario", "effect", unit, "known from"), scenarios, folding=(3,)),
    ]
    return "\n\n".join([*parts, *_endings(resolved, program)])


def _endings(resolved: ResolvedTemplate, program: str) -> Iterator[str]:
    """Yield what follows the scenarios: controls, harm, schedule, variants, sources, checking."""
    template = resolved.template
    if notes := scenario_note_lines(resolved):
        yield notes
    if control := control_arm_lines(resolved):
        yield control
    if safety := safety_lines(resolved):
        yield safety
    yield schedule_lines(template.protocol)
    if template.variants:
        under = " " * (len("--variant ") + 21)
        yield "\n".join(wrapped(v.title, under, f"--variant {v.id:20} ") for v in template.variants)
    if template.observed:
        yield wrapped("held against: " + ", ".join(o.evidence for o in template.observed))
    elif template.nothing_observed:
        yield wrapped(nothing_observed_in_words(template))
    if cautions := cautions_about(sources_of(resolved), resolved.evidence):
        yield f"Where its sources disagree:\n{caution_lines(cautions, program=program)}"
    if template.qc:
        yield "\n".join(_second_encoding(template.qc))


def sources_of(resolved: ResolvedTemplate) -> tuple[str, ...]:
    """Return the evidence ids that a protocol cites anywhere or is about, each once."""
    found: dict[str, None] = {}

    def walk(content: Any) -> None:
        if isinstance(content, dict):
            for key, value in content.items():
                if key in ("source", "evidence", "as_observed", "made_from") and isinstance(
                    value, str
                ):
                    found[value] = None
                walk(value)
        elif isinstance(content, list):
            for item in content:
                walk(item)

    walk(
        {key: own for key, own in resolved.document.items() if key not in ("evidence", "conflicts")}
    )
    return tuple(dict.fromkeys([*found, *resolved.template.about]))


def records_of(resolved: ResolvedTemplate) -> dict[str, EvidenceRecord]:
    """Return the records a protocol is held against, then the others it cites."""
    observed = [each.evidence for each in resolved.template.observed]
    names = dict.fromkeys([*observed, *sources_of(resolved)])
    known = resolved.evidence.records
    return {name: known[name] for name in names if name in known}


def _second_encoding(qc: SecondEncoding) -> Iterator[str]:
    words = (
        f"Encoded again from its sources, {qc.date}: {qc.compared}; {qc.n_values:,} values "
        f"compared, {len(qc.differences)} differences. {qc.outcome}"
    )
    yield wrapped(words)
    yield from (wrapped(str(each), "    ", "  ") for each in qc.differences)


def _estimand(resolved: ResolvedTemplate) -> str:
    """Return the primary estimand by its attributes (ICH E9(R1), A.3.3)."""
    protocol = resolved.template.protocol
    primary = protocol.primary
    population = primary.estimand.population
    if protocol.is_single_arm:
        population = population.replace("randomised", "recruited")
    return (
        f"in {population}, {protocol.experimental.id} v {protocol.control.id}, on "
        f"{endpoint_in_words(protocol)}, by {primary.summary}"
    )


def _screening_in_words(resolved: ResolvedTemplate) -> list[tuple[str, str]]:
    """Return how many are screened for those enrolled, and what that costs."""
    nature, cost = resolved.template.nature, resolved.template.cost
    if nature.screening_failures is None:
        return []
    share = _number(nature.screening_failures, "nature.screening_failures", resolved)
    screened = ceil(resolved.template.protocol.n_total * nature.screened_per_patient - 1e-9)
    words = f"{share} of those screened are not enrolled: about {screened:,} screened"
    if cost and cost.screening.value:
        price = _number(cost.screening, "cost.screening", resolved)
        total = screened * cost.screening.value
        words += f", {cost.currency} {total:,.0f} at {price} each"
    return [("screening", words)]


def _history_in_words(resolved: ResolvedTemplate) -> list[tuple[str, str]]:
    """Return what a single arm is compared with, what differs today, and when it stops."""
    protocol, nature = resolved.template.protocol, resolved.template.nature
    if not protocol.is_single_arm:
        return []
    said = [
        (f"historical {e.id}", historical_in_words(protocol.historical_value(e.id)))
        for e in resolved.endpoints
    ]
    for name, departures in (nature.historical or {}).items():
        for key, shift in departures.stated:
            number = getattr(shift, shift.stated)
            path = f"nature.historical.{name}.{key}"
            words = f"{shift.stated.replace('_', ' ')} {_number(number, path, resolved)}"
            said.append((f"{key.replace('_', ' ')}, {name}", words))
    if rule := protocol.two_stage:
        said.append(
            (
                "two stages",
                f"stops with at most {rule.stop_if_at_most} of the first {rule.first}; finds an "
                f"effect with more than {rule.reject_if_above} of {protocol.n_total}",
            )
        )
    return said


def _calendar_in_words(resolved: ResolvedTemplate) -> list[tuple[str, str]]:
    nature, protocol = resolved.template.nature, resolved.template.protocol
    said = []
    for number, look in enumerate(protocol.looks, start=1):
        bounds = [f"efficacy z {look.efficacy_z:g}"] if look.efficacy_z is not None else []
        if look.futility_z is not None:
            bounds.append(
                f"futility z {look.futility_z:g}{'' if look.binding else ', not binding'}"
            )
        said.append((f"look {number}", f"at {look.at}: {'; '.join(bounds) or 'alpha decides'}"))
    if protocol.read_out_lag:
        said.append(("decision", f"{protocol.read_out_lag} after the data cut-off"))
    if nature.enrolment:
        kind = next(
            k for k in ("uniform", "even", "piecewise", "given") if getattr(nature.enrolment, k)
        )
        months = nature.enrolment.last_day / DAYS_PER_UNIT["mo"]
        said.append(("enrolment", f"{kind}, over {months:.3g} mo (assumed)"))
    if told := enrolment_in_words(resolved.template):
        said.append(("sites", told))
    if told := _forecast_in_words(resolved):
        said.append(("forecast", told))
    if nature.dropout:
        yearly = 1 - nature.dropout.curve.survival(DAYS_PER_UNIT["yr"])
        said.append(("dropout", f"{100 * yearly:.2g}% in the first year (assumed)"))
    return said


def _forecast_in_words(resolved: ResolvedTemplate) -> str:
    """Return how the trial is run, as far as the file says, and who says so."""
    template = resolved.template
    if not (template.protocol.operations or template.nature.operations):
        return ""
    rate = sites_of(template).per_day * DAYS_PER_UNIT["mo"]
    found = (each for each in stated_of(resolved, rate) if not each.at_rest)
    return "; ".join(f"{each} ({each.source or 'assumed'})" for each in found)


def _scenarios_in_words(resolved: ResolvedTemplate) -> tuple[list[tuple[str, ...]], str]:
    """Return a line per scenario, and the unit of what its arms show."""
    template, protocol = resolved.template, resolved.template.protocol
    scenarios: list[tuple[str, ...]] = []
    unit = "per 1,000"
    for scenario in template.scenarios:
        truth = resolved.truth(scenario)
        own_risk = scenario.control_risk or scenario.as_observed or scenario.response
        paths = [f"scenarios.{scenario.id}", *([] if own_risk else ["nature.control_risk"])]
        changed = resolved.set_by_user(*paths)
        known = resolved.status_of(scenario)
        known = f"{truth.source} ({known})" if truth.source else known
        shown = f"{per_1000(truth.control_risk)} -> {per_1000(truth.treated_risk)}"
        if own := truth.outcome(protocol.primary.id):
            shown, unit = " -> ".join(f"{arm:.4g}" for arm in own.arms), own.unit
        scenarios.append((scenario.id, truth.label, shown, changed or known))
    return scenarios, unit


def _endpoint_in_words(endpoint: Endpoint, resolved: ResolvedTemplate) -> list[tuple[str, str]]:
    protocol = resolved.template.protocol
    simulated = "" if endpoint in resolved.endpoints else "; shown, not simulated"
    noted = [("", endpoint.note)] if endpoint.note else []
    if endpoint in safety_endpoints(resolved):
        at = read_out_in_words(endpoint, protocol.therapy)
        return [(endpoint.level.value, f"{endpoint.event} by {at}; exact, as below"), *noted]
    sides = "two" if protocol.test.sides == 2 else "one"
    at = f"{endpoint.event} at {read_out_in_words(endpoint, protocol.therapy)}"
    if isinstance(endpoint, ContinuousEndpoint):
        times = ", ".join(time.in_words(protocol.therapy) for time in endpoint.at)
        at = f"{endpoint.variable} ({endpoint.unit}) at {times}"
    if isinstance(endpoint, TimeToEventEndpoint):
        at = f"time to {endpoint.event}"
        at += f", followed for {endpoint.followed_for}" if endpoint.followed_for else ""
    how = f"; {endpoint.summary}, {endpoint.analysis}, {100 * protocol.test.alpha:g}% {sides}-sided"
    if simulated and isinstance(endpoint, ContinuousEndpoint):
        how = ""
    words = f"{at}, {endpoint.better} is better{how}{simulated}"
    shown = endpoint.estimand.intercurrent_events.items()
    if resolved.template.nature.intercurrent_events:
        shown = {}.items()  # simulated, and said with every estimand
    strategies = (("", f"{event}: {strategy}") for event, strategy in shown)
    return [(endpoint.level.value, words), *strategies, *noted]


def _number(number: SourcedNumber, path: str, resolved: ResolvedTemplate) -> str:
    return resolved.set_by_user(path) or f"{number} ({number.source or 'assumed'})"


def _factor(factor: Factor) -> str:
    if factor.levels is None:
        return f"{factor.equal_levels} levels of equal size (assumed)"
    return ", ".join(
        f"{level.id} {level.share} ({level.share.source or 'assumed'})"
        + (f", OR {level.odds_ratio}" if level.odds_ratio else "")
        for level in factor.levels
    )


def _covariate(covariate: Covariate) -> str:
    ratio = covariate.odds_ratio_per_sd
    prognosis = f"OR {ratio} per SD ({ratio.source or 'assumed'})" if ratio else "no prognosis"
    return f"{covariate.id}: {prognosis}"


def _allocation(resolved: ResolvedTemplate) -> str:
    protocol = resolved.template.protocol
    if protocol.is_single_arm:
        return "none: everyone recruited gets the same treatment"
    words = f"{':'.join(map(str, protocol.ratio))}, {protocol.allocation_method}"
    if protocol.allocation_method == "permuted-blocks":
        stated = "" if protocol.allocation.block_sizes else " (assumed)"
        words += f" of {' or '.join(map(str, protocol.block_sizes))}{stated}"
    if protocol.allocation.stratify_by:
        words += f" within {' x '.join(protocol.allocation.stratify_by)}"
    return words
