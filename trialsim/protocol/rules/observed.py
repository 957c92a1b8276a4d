"""What must hold of ``observed:``: published results a simulation is held against."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.design import MAX_PATIENTS
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    ContinuousEndpoint,
    MeasuredScale,
    OutcomeEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.published.evidence import Pool, Trial, TrialResult
from trialsim.protocol.published.survival import (
    ObservedMeasure,
    SilentReportError,
    published_lifetimes,
)
from trialsim.protocol.quantities import Duration
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.template import ObservedReference, Template

__all__ = ["observed_rules"]

Location = tuple[str | int, ...]
Found = Iterator[tuple[Location, str, str]]  # where, rule, remedy


def observed_rules(template: Template, evidence: Evidence) -> Found:
    """Find references that give nothing to compare with, and reasons for none beside some."""
    for index, reference in enumerate(template.observed):
        yield from _observed(reference, ("observed", index), template, evidence)
    if template.observed and template.nothing_observed:
        rule = "says why there is no published trial, but 'observed' names some"
        yield ("nothing_observed",), rule, "Keep one of the two."


_COUNTS = "events and patients"
_NOTHING = "Remove it and say why under 'nothing_observed': there is nothing to compare with."


def _observed(
    reference: ObservedReference,
    here: tuple[str | int, ...],
    template: Template,
    evidence: Evidence,
) -> Found:
    record, primary = evidence.records.get(reference.evidence), template.protocol.primary
    if template.protocol.is_single_arm:
        yield from _observed_arm(reference, here, template, record)
        return
    if unfit := list(_unfit(reference, here, primary)):
        yield from unfit
        return
    if isinstance(primary, TimeToEventEndpoint) and isinstance(record, Trial):
        yield from _observed_lifetimes(reference, here, template, record)
        return
    plain = isinstance(primary, ContinuousEndpoint)
    if isinstance(record, Trial):
        wanted = reference.result or template.protocol.primary.id
        if sum(_patients(record, wanted)) > MAX_PATIENTS:
            rule = f"has more than {MAX_PATIENTS:,} patients, too many to simulate"
            yield here, rule, "Remove it from 'observed'."
        given, known = ("mean, sd and n", record.means) if plain else (_COUNTS, record.risks)
        if known(wanted) is None:
            has = [result.id for result in record.results if known(result.id)]
            yield (
                here,
                f"has no result '{wanted}' with {given} in both arms",
                f"Write {{evidence: {record.id}, result: {has[0]}}}."
                if has
                else "Remove it: there is nothing to compare with.",
            )
    elif isinstance(record, Pool):
        measure = reference.measure or template.protocol.primary.summary
        if measure.value not in {effect.measure.value for effect in record.effects}:
            yield here, f"states no {measure}", "Name the measure it states."
    elif record is not None:
        yield here, f"is a {record.kind}, which observed nothing", "Name a trial or a pool."


def _observed_arm(
    reference: ObservedReference, here: Location, template: Template, record: object
) -> Found:
    """Find what a single arm cannot be held against: it needs an arm, not a comparison."""
    if reference.measure:
        rule = "compares two arms, but this trial has a single one"
        yield (*here, "measure"), rule, "Remove it."
    if not isinstance(record, Trial):
        if record is not None:
            rule = "is no trial, whose treated arm a single one could be held against"
            yield here, rule, "Name a trial."
        return
    protocol, name = template.protocol, reference.endpoint or template.protocol.primary.id
    known = [protocol.primary.id, *template.simulated_outcomes]
    if name not in known:
        remedy = did_you_mean(name, known, f"Simulated are {', '.join(known)}.")
        yield (*here, "endpoint"), "is no endpoint that is simulated", remedy
        return
    measured = isinstance(protocol.endpoint(name), ContinuousEndpoint)
    wanted = reference.result or name
    result = record.result(wanted)
    if sum(_patients(record, wanted)) > MAX_PATIENTS:
        rule = f"has more than {MAX_PATIENTS:,} patients, too many to simulate"
        yield here, rule, "Remove it from 'observed'."
    elif result is None or not _arm_given(result, measured):
        given = "mean and n" if measured else _COUNTS
        has = [r.id for r in record.results if _arm_given(r, measured)]
        yield (
            here,
            f"has no result '{wanted}' with {given} in the treated arm",
            f"Write {{evidence: {record.id}, result: {has[0]}}}." if has else _NOTHING,
        )


def _arm_given(result: TrialResult, measured: bool) -> bool:
    arm = result.experimental
    if arm is None or arm.n is None:
        return False
    if measured:
        return arm.value is not None and arm.n > 1
    return arm.events is not None


def _unfit(reference: ObservedReference, here: Location, primary: SimulatedEndpoint) -> Found:
    """Find kinds of endpoint and measures that published arms cannot be compared by."""
    if reference.endpoint and reference.endpoint != primary.id:
        rule = "is not the primary endpoint, which is what two arms are held against"
        yield (*here, "endpoint"), rule, "Remove it."
    plain = isinstance(primary, ContinuousEndpoint) and primary.scale is MeasuredScale.PLAIN
    if isinstance(primary, OutcomeEndpoint) and not plain:
        log = " on the log scale" if isinstance(primary, ContinuousEndpoint) else ""
        rule = f"cannot be held against an endpoint of kind {primary.kind}{log} yet"
        yield here, rule, "Remove it, or use a binary endpoint."
    elif plain and reference.measure:
        rule = "is a measure of risks, but the primary endpoint is measured"
        yield (*here, "measure"), rule, "Remove it: means are compared by their difference."
    risks = isinstance(primary, BinaryEndpoint | ResponseEndpoint)
    if risks and reference.measure in (ObservedMeasure.HAZARD_RATIO, ObservedMeasure.MEDIAN_RATIO):
        rule = "is a measure of times to an event, but the primary endpoint is a risk"
        yield (*here, "measure"), rule, "Use odds ratio, risk ratio or risk difference."


def _observed_lifetimes(
    reference: ObservedReference, here: Location, template: Template, record: Trial
) -> Found:
    wanted, therapy = reference.result or template.protocol.primary.id, template.protocol.therapy
    if sum(_patients(record, wanted)) > MAX_PATIENTS:
        rule = f"has more than {MAX_PATIENTS:,} patients, too many to simulate"
        yield here, rule, "Remove it from 'observed'."
        return
    try:
        published_lifetimes(record, wanted, reference.measure, therapy)
    except SilentReportError as why:
        yield here, str(why), _another_result(reference, record, wanted, therapy)


def _another_result(
    reference: ObservedReference, record: Trial, wanted: str, therapy: Duration | None
) -> str:
    for measure in dict.fromkeys((reference.measure, None)):
        for result in record.results:
            try:
                found = published_lifetimes(record, result.id, measure, therapy)
            except SilentReportError:
                continue
            if result.id != wanted or measure is not reference.measure:
                return f"Write {{evidence: {record.id}, result: {result.id}}}: {found.measure}."
    return _NOTHING


def _patients(record: Trial, result: str) -> tuple[int, int]:
    found = record.result(result)
    arms = (found.experimental, found.control) if found else ()
    first, second = ((arm.n or 0) if arm else 0 for arm in arms) if arms else (0, 0)
    return first, second
