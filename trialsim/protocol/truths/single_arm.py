"""A single-arm protocol resolved: today's patients without the treatment, and how they come about.

The truth of a single-arm trial is the effect against concurrent controls, which it does not have.
What they would show is what the historical ones showed, moved by what has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log

from trialsim.protocol.endpoints import BinaryEndpoint, ContinuousEndpoint, MeasuredTest
from trialsim.protocol.historical import Comparison, Contribution, Departures, HistoricalControl
from trialsim.protocol.outcomes import (
    AnyOutcome,
    FurtherRisk,
    Measured,
    MeasuredTruth,
    OutcomeEffect,
    RiskTruth,
)
from trialsim.protocol.quantities import Ratio, Risk, SourcedNumber
from trialsim.protocol.scenario import (
    Effect,
    RiskDifference,
    RiskRatio,
    Scenario,
    TreatedRisk,
    Truth,
    odds_ratio_between,
    risk_at_odds_ratio,
)
from trialsim.protocol.template import Template

__all__ = ["comparisons", "concurrent_risk", "departed", "historical_control"]

_NONE = Departures()


def historical_control(template: Template, endpoint: str) -> HistoricalControl:
    """Return what an endpoint is compared with; of a change from baseline 0 unless stated."""
    stated = template.protocol.historical_value(endpoint)
    return stated.control if stated else HistoricalControl(0.0)


def concurrent_risk(template: Template, scenario: Scenario) -> float | None:
    """Return the risk of the primary endpoint without the treatment today; None where unstated.

    In a single-arm trial the historical risk (or nature's, of patients like today's) moved by
    drift and concurrent therapy; else nature's.
    """
    stated = scenario.control_risk or template.nature.control_risk
    if not template.protocol.is_single_arm:
        return stated.value if stated else None
    name = template.protocol.primary.id
    historical = template.protocol.historical_value(name)
    stated = stated or (historical.risk if historical else None)
    return _departures(template, name).risk(stated.value) if stated else None


def departed(template: Template, name: str, model: AnyOutcome) -> AnyOutcome:
    """Return an outcome of today's patients: the stated one moved by drift and therapy."""
    departures = _departures(template, name)
    if not departures.stated:
        return model
    if isinstance(model, FurtherRisk):
        moved = departures.risk(model.risk.value)
        return model.model_copy(update={"risk": Risk(value=moved)})
    if not isinstance(model, Measured):
        return model  # refused by the rules
    if model.mean is not None:
        means = tuple(SourcedNumber(value=m.value + departures.step) for m in _each(model.mean))
        return model.model_copy(update={"mean": _as_stated(model.mean, means)})
    factor = exp(departures.step)
    if model.geometric_mean is not None:
        ratios = tuple(Ratio(value=m.value * factor) for m in _each(model.geometric_mean))
        return model.model_copy(update={"geometric_mean": _as_stated(model.geometric_mean, ratios)})
    quotient = model.quotient
    if quotient is None:
        return model  # refused when it is resolved
    over = quotient.numerator
    over = over.model_copy(update={"geometric_mean": over.geometric_mean * factor})
    return model.model_copy(update={"quotient": quotient.model_copy(update={"numerator": over})})


def comparisons(
    template: Template, scenario: Scenario, truth: Truth
) -> tuple[tuple[str, Comparison], ...]:
    """Return, for every endpoint of a single arm, what stands between it and its control."""
    protocol, nature = template.protocol, template.nature
    found: list[tuple[str, Comparison]] = []
    if isinstance(protocol.primary, BinaryEndpoint):
        control = historical_control(template, protocol.primary.id)
        stated = scenario.control_risk or nature.control_risk
        before = stated.value if stated else control.value
        risks = RiskTruth(truth.control_risk, truth.treated_risk)
        steps = _risk_steps(control, before, risks, _departures(template, protocol.primary.id))
        effect = scenario.effect
        stated_on_risks = effect if not isinstance(effect, TreatedRisk) else None
        treated = _treated_alone(stated_on_risks, control.value, risks)
        found.append((protocol.primary.id, Comparison(control, tuple(steps), treated)))
    for name, outcome in truth.outcomes:
        control, own = historical_control(template, name), _departures(template, name)
        alone: float | None = None
        model = nature.outcomes[name]
        if isinstance(outcome, RiskTruth) and isinstance(model, FurtherRisk):
            steps = _risk_steps(control, model.risk.value, outcome, own)
            alone = _treated_alone(_on_risks(scenario.outcomes.get(name)), control.value, outcome)
        elif isinstance(outcome, MeasuredTruth):
            endpoint = protocol.endpoint(name)
            assert isinstance(endpoint, ContinuousEndpoint)
            steps = _mean_steps(control, outcome, own, endpoint.analysis)
        else:
            continue  # refused by the rules
        found.append((name, Comparison(control, tuple(steps), alone)))
    return tuple(found)


_KEYS = {
    "drift": Contribution.DRIFT,
    "concurrent_therapy": Contribution.CONCURRENT_THERAPY,
}
_NO_STEP = 1e-12
Steps = Iterator[tuple[Contribution, float]]


def _risk_steps(
    control: HistoricalControl, before: float, risks: RiskTruth, departures: Departures
) -> Steps:
    other = _logit(before) - _logit(control.value)
    if abs(other) > _NO_STEP:
        yield Contribution.CASE_MIX, other
    yield from ((_KEYS[key], shift.step) for key, shift in departures.stated)
    yield (
        Contribution.EFFECT,
        0.0 if risks.is_null else _logit(risks.treated) - _logit(risks.control),
    )


def _on_risks(effect: OutcomeEffect | None) -> Effect | None:
    """Return the effect on a further risk as one on a primary risk."""
    if effect is None:
        return None
    if effect.risk_ratio:
        return RiskRatio(risk_ratio=effect.risk_ratio)
    if effect.risk_difference:
        return RiskDifference(risk_difference=effect.risk_difference)
    return None


def _treated_alone(effect: Effect | None, known: float, risks: RiskTruth) -> float:
    """Return the effect carried to the historical risk, on the scale it is stated on.

    A treated risk is carried as the odds ratio it implies, and so is what would leave (0, 1).
    """
    carried = effect.applied_to(known) if effect else 0.0
    if 0 < carried < 1:
        return carried
    return risk_at_odds_ratio(odds_ratio_between(risks.treated, risks.control), known)


def _mean_steps(
    control: HistoricalControl, outcome: MeasuredTruth, departures: Departures, test: MeasuredTest
) -> Steps:
    change = test is MeasuredTest.CHANGE
    start = outcome.control[-1] - departures.step - control.value
    if change and outcome.baseline:
        start -= outcome.baseline[0]
    if abs(start) > _NO_STEP:
        yield Contribution.NATURAL_COURSE if change else Contribution.CASE_MIX, start
    if outcome.selection:
        kind = Contribution.REGRESSION_TO_THE_MEAN if change else Contribution.SELECTION
        yield kind, outcome.moved(change=change)
    yield from ((_KEYS[key], shift.step) for key, shift in departures.stated)
    yield Contribution.EFFECT, outcome.treated[-1] - outcome.control[-1]


def _departures(template: Template, endpoint: str) -> Departures:
    return (template.nature.historical or {}).get(endpoint, _NONE)


def _each(stated: SourcedNumber | tuple[SourcedNumber, ...]) -> tuple[SourcedNumber, ...]:
    return stated if isinstance(stated, tuple) else (stated,)


def _as_stated(stated: object, moved: tuple[SourcedNumber, ...]) -> object:
    return moved if isinstance(stated, tuple) else moved[0]


def _logit(risk: float) -> float:
    return log(risk / (1 - risk))
