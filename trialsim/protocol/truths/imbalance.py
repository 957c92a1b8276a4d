"""Means at entry that differed in a published trial, read from its record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trialsim.protocol.endpoints import ContinuousEndpoint, MeasuredScale
from trialsim.protocol.outcomes import ImbalanceSeen, Measured
from trialsim.protocol.published.evidence import ArmResult, EffectEstimate, Trial, TrialResult
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.template import Template
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = ["ImbalancedTrial", "imbalance_rules", "imbalanced_trials"]

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class ImbalancedTrial:
    """A published trial whose arms differed at entry, and what it found of the change.

    Attributes
    ----------
    endpoint : ContinuousEndpoint
    trial : Trial
    treated, control : float
        Means at entry, as published.
    published : EffectEstimate or None
        The difference in change from entry, treated minus control.
    patients_per_arm : int
    """

    endpoint: ContinuousEndpoint
    trial: Trial
    treated: float
    control: float
    published: EffectEstimate | None
    patients_per_arm: int
    note: str | None

    @property
    def difference(self) -> float:
        """At entry, treated minus control."""
        return self.treated - self.control


def imbalanced_trials(resolved: ResolvedTemplate) -> tuple[ImbalancedTrial, ...]:
    """Return the trials named under ``baseline: {imbalance_seen: ...}`` of any measurement."""
    found = []
    for endpoint, seen in _stated(resolved.template):
        trial = resolved.evidence.records[seen.source]
        assert isinstance(trial, Trial)  # checked when the file was loaded
        means = _means(trial.result(seen.result))
        assert means is not None
        change = trial.result(seen.change) if seen.change else None
        effects = [e for e in change.effects if e.measure.short == "MD"] if change else []
        published = effects[0] if effects else None
        n = seen.patients_per_arm
        found.append(ImbalancedTrial(endpoint, trial, *means, published, n, seen.note))
    return tuple(found)


def imbalance_rules(template: Template, evidence: Evidence) -> Iterator[tuple[Location, str, str]]:
    """Yield where, which rule is broken and the remedy."""
    for endpoint, seen in _stated(template):
        at: Location = ("nature", "outcomes", endpoint.id, "baseline", "imbalance_seen")
        if endpoint.scale is MeasuredScale.LOG:
            yield at, "is for a measurement on a plain scale", "Remove it."
        record = evidence.records.get(seen.source)
        if record is None:
            continue  # an unknown source is reported as such
        means = _means(record.result(seen.result)) if isinstance(record, Trial) else None
        if means is None:
            rule = f"names no result of {seen.source} with a mean in both arms"
            yield (*at, "result"), rule, f"See 'trialsim evidence show {seen.source}'."
        elif seen.change and (not isinstance(record, Trial) or record.result(seen.change) is None):
            rule = f"is no result of {seen.source}"
            yield (*at, "change"), rule, f"See 'trialsim evidence show {seen.source}'."


def _stated(template: Template) -> Iterator[tuple[ContinuousEndpoint, ImbalanceSeen]]:
    for endpoint in template.protocol.endpoints:
        model = template.nature.outcomes.get(endpoint.id)
        if not isinstance(model, Measured) or not isinstance(endpoint, ContinuousEndpoint):
            continue
        if model.baseline and model.baseline.imbalance_seen:
            yield endpoint, model.baseline.imbalance_seen


def _means(result: TrialResult | None) -> tuple[float, float] | None:
    if result is None:
        return None
    arms = [_value(arm) for arm in (result.experimental, result.control)]
    treated, control = arms
    return None if treated is None or control is None else (treated, control)


def _value(arm: ArmResult | None) -> float | None:
    return arm.value if arm else None
