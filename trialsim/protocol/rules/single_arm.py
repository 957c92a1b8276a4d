"""What must hold in a single-arm protocol, and what belongs in no other."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.design import Protocol, Role
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    BinaryTest,
    ContinuousEndpoint,
    MeasuredScale,
    MeasuredTest,
    SimulatedEndpoint,
)
from trialsim.protocol.outcomes import Measured
from trialsim.protocol.quantities import Risk
from trialsim.protocol.template import Template

__all__ = ["historical_risks", "single_arm_rules"]

Location = tuple[str | int, ...]
Found = Iterator[tuple[Location, str, str]]  # where, rule, remedy


def single_arm_rules(template: Template) -> Found:
    """Find what does not hold of a single arm, or stands in a parallel design by mistake."""
    yield from _cuts(template)
    if not template.protocol.is_single_arm:
        yield from _in_another_design(template)
        return
    yield from _not_of_one_arm(template)
    simulated = _simulated(template)
    yield from _strangers(template, [endpoint.id for endpoint in simulated])
    for endpoint in simulated:
        at = ("protocol", "endpoints", template.protocol.endpoints.index(endpoint))
        match endpoint:
            case BinaryEndpoint():
                yield from _risk(template.protocol, endpoint, at)
            case ContinuousEndpoint():
                yield from _mean(template.protocol, endpoint, at)
            case other:
                rule = f"is of kind {other.kind}, which a single arm does not have yet"
                yield at, rule, "Use a binary or continuous endpoint, or design: parallel."
        yield from _shifts(template, endpoint)
    yield from _two_stage(template)


def _simulated(template: Template) -> list[SimulatedEndpoint]:
    protocol = template.protocol
    further = [e for e in protocol.endpoints if e.id in template.simulated_outcomes]
    return [protocol.primary, *(e for e in further if e.id != protocol.primary.id)]


def _in_another_design(template: Template) -> Found:
    protocol, remedy = template.protocol, "Remove it, or write design: single-arm."
    for index, arm in enumerate(protocol.arms):
        if arm.historical is not None:
            rule = "is for the historical arm of a single-arm trial"
            yield ("protocol", "arms", index, "historical"), rule, remedy
    if protocol.two_stage:
        yield ("protocol", "two_stage"), "is for a single arm", f"{remedy} Two arms have 'looks'."
    if template.nature.historical is not None:
        rule = "is for a single-arm trial: a concurrent control arm meets the same"
        yield ("nature", "historical"), rule, remedy
    for index, endpoint in enumerate(protocol.endpoints):
        if endpoint.analysis is BinaryTest.EXACT_BINOMIAL:
            at = ("protocol", "endpoints", index, "analysis")
            yield at, "compares a single arm with a known risk", "Use chi-square or fisher."


def _not_of_one_arm(template: Template) -> Found:
    protocol = template.protocol
    why = "does not apply to a single arm: everyone recruited gets the same treatment"
    remedy = "Remove it, or write design: parallel."
    for name in ("ratio", "method", "block_sizes", "stratify_by"):
        if getattr(protocol.allocation, name):
            yield ("protocol", "allocation", name), why, remedy
    if protocol.blinding:
        yield ("protocol", "blinding"), why, remedy
    if protocol.sample_size.per_arm is not None:
        rule = "names arms, but only one is recruited"
        yield ("protocol", "sample_size", "per_arm"), rule, "Write total: with its patients."
    if protocol.looks:
        rule = "are of two arms"
        yield ("protocol", "looks"), rule, "Use two_stage, or remove them."
    for index, arm in enumerate(protocol.arms):
        if arm.role is Role.EXPERIMENTAL and arm.historical is not None:
            rule = "is for the historical arm: this one is recruited"
            yield ("protocol", "arms", index, "historical"), rule, "Move it there."


def _strangers(template: Template, known: list[str]) -> Found:
    """Find endpoints that are not simulated under ``historical:`` of the arm or of nature."""
    places: list[tuple[Location, str]] = []
    for index, arm in enumerate(template.protocol.arms):
        at = ("protocol", "arms", index, "historical")
        places += [((*at, name), name) for name in arm.historical or {}]
    own = template.nature.historical or {}
    places += [(("nature", "historical", name), name) for name in own]
    for here, name in places:
        if name not in known:
            remedy = did_you_mean(name, known, f"Simulated are {', '.join(known)}.")
            yield here, "is no endpoint that is simulated", remedy


def _at_arm(protocol: Protocol) -> Location:
    return ("protocol", "arms", protocol.arms.index(protocol.control), "historical")


def _risk(protocol: Protocol, endpoint: BinaryEndpoint, at: Location) -> Found:
    value = protocol.historical_value(endpoint.id)
    here = _at_arm(protocol)
    if value is None or value.risk is None:
        rule = f"must state the historical risk of '{endpoint.id}'"
        where = (*here, endpoint.id) if value else here
        yield where, rule, f"Write historical: {{{endpoint.id}: {{risk: 0.2}}}}."
        return
    exact = endpoint.analysis is BinaryTest.EXACT_BINOMIAL
    if exact and value.n is not None:
        rule = "takes the historical risk as known, but that is seen in so many patients"
        yield (*at, "analysis"), rule, "Remove 'n' there, or use chi-square or fisher."
    if not exact and value.n is None:
        rule = "compares two samples, but the historical risk is stated as known"
        yield (*at, "analysis"), rule, "Use exact-binomial, or add 'n' to the historical risk."


def _mean(protocol: Protocol, endpoint: ContinuousEndpoint, at: Location) -> Found:
    test, value = endpoint.analysis, protocol.historical_value(endpoint.id)
    here = _at_arm(protocol)
    if test in (MeasuredTest.ANCOVA, MeasuredTest.MMRM):
        rule = f"must not be {test} in a single arm: it adjusts one arm by the other"
        yield (*at, "analysis"), rule, "Use t-test or change."
        return
    key = "geometric_mean" if endpoint.scale is MeasuredScale.LOG else "mean"
    if value is None and test is not MeasuredTest.CHANGE:
        rule = f"must state the historical {key.replace('_', ' ')} of '{endpoint.id}'"
        yield here, rule, f"Write historical: {{{endpoint.id}: {{{key}: ...}}}}."
    elif value is not None and value.stated != key:
        rule = f"must be '{key}' on this endpoint's scale"
        yield (*here, endpoint.id, value.stated), rule, "Use that key."
    elif test is MeasuredTest.WELCH and not (value and value.n):
        rule = "compares two samples, but the historical value is stated as known"
        yield (*at, "analysis"), rule, "Use t-test, or add 'n' and the SD to the historical value."


def _shifts(template: Template, endpoint: SimulatedEndpoint) -> Found:
    departures = (template.nature.historical or {}).get(endpoint.id)
    key = "odds_ratio"
    if isinstance(endpoint, ContinuousEndpoint):
        log_scale = endpoint.scale is MeasuredScale.LOG
        key = "ratio_of_geometric_means" if log_scale else "mean_difference"
    for name, shift in departures.stated if departures else ():
        if shift.stated != key:
            at = ("nature", "historical", endpoint.id, name, shift.stated)
            yield at, f"must be {key} for this endpoint", "Use that key."


def _two_stage(template: Template) -> Found:
    protocol, here = template.protocol, ("protocol", "two_stage")
    rule, primary = protocol.two_stage, template.protocol.primary
    if rule is None:
        return
    if primary.analysis is not BinaryTest.EXACT_BINOMIAL:
        yield (
            here,
            "counts responses, but the primary endpoint is not analysed as exact-binomial",
            "Use a binary primary endpoint with analysis: exact-binomial, or remove it.",
        )
    if protocol.test.sides != 1:
        why = "is one-sided: it rejects for more of the good outcome"
        yield here, why, "Write test: {alpha: 0.05, sides: 1}."
    if protocol.multiplicity or len(_simulated(template)) > 1:
        why = "stands beside other endpoints, of patients who may never be recruited"
        yield here, why, "Simulate the primary endpoint alone."
    total = protocol.n_total
    for name in ("first", "reject_if_above"):
        if getattr(rule, name) >= total:
            why = f"must be below {total:,}, the patients in all"
            yield (*here, name), why, "Lower it, or raise sample_size.total."


def _cuts(template: Template) -> Found:
    """Find baseline cuts whose selection could not be carried to what correlates with them."""
    nature = template.nature
    cut = [name for name, model in nature.outcomes.items() if _is_cut(model)]
    for name in cut[1:]:
        rule = f"is a second cut, beside that of '{cut[0]}'"
        yield ("nature", "outcomes", name, "baseline"), rule, "Keep one of the two."
    measured = {name for name, model in nature.outcomes.items() if isinstance(model, Measured)}
    for index, pair in enumerate(nature.correlations):
        if set(cut[:1]) & set(pair.between) and not set(pair.between) <= measured:
            rule = f"correlates with '{cut[0]}', whose baseline decides who is eligible"
            remedy = "Correlate it with continuous endpoints only, or remove the cut."
            yield ("nature", "correlations", index, "between"), rule, remedy


def _is_cut(model: object) -> bool:
    baseline = model.baseline if isinstance(model, Measured) else None
    return baseline is not None and (baseline.at_most, baseline.at_least) != (None, None)


def historical_risks(protocol: Protocol) -> Iterator[tuple[Location, Risk]]:
    """Yield the risks the historical arm states, and where."""
    for name, value in (protocol.control.historical or {}).items():
        if value.risk:
            yield (*_at_arm(protocol), name, "risk"), value.risk
