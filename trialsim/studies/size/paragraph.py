"""The justification of a size for the protocol, with its references.

After SPIRIT 2025, item 19, and DELTA2: the target difference is one that matters, one that is
realistic, or both, and the reader is told which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trialsim.characteristics import Characteristic
from trialsim.sizing.fixed import Margin
from trialsim.studies.conflict.adjustment import next_trial
from trialsim.studies.size.prior import AS_ADJUSTED, prior_in_words, prior_sources

if TYPE_CHECKING:
    from trialsim.studies.size.planned import PlannedSize

__all__ = ["justification", "realistic_difference"]

_GUIDANCE = "Written after SPIRIT 2025, item 19, and DELTA2 (Cook et al. 2018, BMJ 363:k3750)."


def justification(planned: PlannedSize, simulated: Characteristic) -> str:
    """Return a paragraph for the protocol."""
    request = planned.request
    parts = [
        _what(planned),
        f"About {planned.events:.0f} events are expected." if planned.events else "",
        f"Allowing for {100 * planned.loss:.4g}% without outcome, "
        f"{planned.total_with_loss:,} are randomised."
        if planned.loss
        else "",
        planned.screened.in_words if planned.screened else "",
        _simulated(planned, simulated),
        _believed(planned),
        f"Important difference: {request.important or 'not given'}.",
        f"Realistic difference: {realistic_difference(planned)}.",
        f"Conventions: {'; '.join(planned.conventions)}.",
        f"References: {'; '.join(_references(planned))}.",
        _GUIDANCE,
    ]
    return " ".join(part for part in parts if part)


def _what(planned: PlannedSize) -> str:
    protocol, request = planned.protocol, planned.request
    n1, n0 = planned.arms
    find = "find"
    if isinstance(planned.hypothesis, Margin):
        find = f"show {planned.hypothesis.in_words(planned.kind.margin_scale)}, if the truth is"
    target = f" (target {100 * request.power:g}%)" if request.total is None else ""
    source = planned.truth.source
    known = f"{source}; {planned.status}" if source else "assumed"
    if planned.scenario.title == AS_ADJUSTED:
        known = AS_ADJUSTED
    looks = ""
    if planned.looks:
        fractions = ", ".join(f"{100 * t:.0f}%" for t in planned.looks.information)
        bounds = ", ".join(f"{z:.3f}" for z in planned.looks.efficacy_z)
        looks = (
            f", with analyses at {fractions} of the information and bounds on z of {bounds} "
            f"({planned.looks.efficacy})"
        )
    return (
        f"{n1:,} patients on {protocol.experimental.id} and {n0:,} on {protocol.control.id} "
        f"({planned.total:,} in all) give {100 * planned.power_achieved:.1f}% power{target} to "
        f"{find} {planned.truth.label} ({known}), {planned.arms_in_words}, with "
        f"{planned.with_test}{looks}."
    )


def _simulated(planned: PlannedSize, simulated: Characteristic) -> str:
    if simulated.value is None or simulated.mcse is None:
        return ""
    did = "found the effect" if planned.request.margin is None else "showed it"
    return (
        f"Simulated {simulated.n:,} times, the design {did} in {100 * simulated.value:.1f}% "
        f"(Monte Carlo standard error {100 * simulated.mcse:.1f})."
    )


def _believed(planned: PlannedSize) -> str:
    if planned.assurance is None:
        return ""
    return (
        f"Averaged over what {prior_in_words(planned.request)} leave open about the effect, "
        f"the chance to find it is {100 * planned.assurance:.1f}% (assurance)."
    )


def realistic_difference(planned: PlannedSize) -> str:
    """Return the difference that may be expected: stated in words, or a published one planned for.

    An effect set by hand, or one that only a weak claim supports, is none.
    """
    if planned.request.realistic:
        return planned.request.realistic
    effect, source, status = planned.truth.label, planned.truth.source, planned.status
    if source and status in ("published", "derived"):
        return f"{effect} ({source}; {status})"
    if source and status != "assumed":
        return f"not given; {effect} ({source}; {status}) is planned for"
    if planned.scenario.title == AS_ADJUSTED:
        return f"not given; {effect}, {AS_ADJUSTED}, is planned for"
    return f"not given; {effect} is assumed"


def _references(planned: PlannedSize) -> Iterator[str]:
    """Say of every assumption where it comes from; a record is cited the first time only."""
    records = planned.resolved.evidence.records
    cited: set[str] = set()
    for what, source in _assumptions(planned):
        if not source:
            yield f"{what}, assumed"
            continue
        citation = f" ({records[source].citation.rstrip('.')})" if source not in cited else ""
        cited.add(source)
        yield f"{what}, {source}{citation}"


def _assumptions(planned: PlannedSize) -> Iterator[tuple[str, str]]:
    if planned.scenario.title == AS_ADJUSTED:
        for record in next_trial(planned.resolved).sources:
            yield "effect", record
    else:
        yield "effect", planned.truth.source
    yield from planned.kind.assumptions()
    if planned.loss:
        yield f"{100 * planned.loss:.4g}% without outcome", ""
    for record in prior_sources(planned.resolved, planned.request):
        yield "prior", record
