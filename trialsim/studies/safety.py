"""What a trial of its size can see of rare harm, as rows: exact, so without MCSE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.safety import SafetyRisk, safety_of
from trialsim.trial import Measure, Row

__all__ = ["safety_rows"]


def safety_rows(resolved: ResolvedTemplate, scenarios: Sequence[Scenario]) -> Iterator[Row]:
    """Yield, per safety endpoint, scenario and arm, its risk and what can be seen of it."""
    for scenario in scenarios:
        for seen in safety_of(resolved, [scenario]):
            yield from _rows_of(resolved, scenario, seen)


def _rows_of(resolved: ResolvedTemplate, scenario: Scenario, seen: SafetyRisk) -> Iterator[Row]:
    name = seen.endpoint.id
    paths = (f"nature.outcomes.{name}", f"scenarios.{scenario.id}.outcomes.{name}")
    blank = replace(
        Row.about(Measure.RISK, scenario.id, name, seen.endpoint.read_out, resolved.variant or ""),
        arm=seen.arm,
        source=seen.source,
        status=seen.status,
        set_by=resolved.set_by_user(*paths),
    )
    exact = f"exact binomial, {seen.n:,} patients"
    yield replace(blank, value=seen.risk, unit="per patient")
    yield replace(blank, measure=Measure.EVENT_CHANCE, value=seen.chance, analysis=exact)
    yield replace(
        blank,
        measure=Measure.EVENTS_EXPECTED,
        value=seen.expected,
        unit="patients",
        analysis=exact,
    )
    yield replace(
        blank,
        measure=Measure.UPPER_IF_NONE,
        value=seen.upper_if_none,
        unit="per patient",
        level=0.95,
        analysis=f"Clopper-Pearson, one-sided, 0 of {seen.n:,}",
        source=None,
        status=None,
        set_by=None,
    )
