"""How would this trial fare if ...? Operating characteristics under every scenario."""

from __future__ import annotations

from math import exp

from trialsim.characteristics import characteristics, true_effect
from trialsim.engine.run import Simulation
from trialsim.generate.binary import solve
from trialsim.protocol.load import ResolvedTemplate
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.trial import LookResults, Measure, Row

__all__ = ["power_rows"]


def power_rows(resolved: ResolvedTemplate, simulation: Simulation) -> list[Row]:
    """Return the rows of the protocol's own trial: per scenario its truth, then what was found.

    Parameters
    ----------
    resolved : ResolvedTemplate
    simulation : Simulation
        Of the protocol's own job.
    """
    scenarios = {s.id: s for s in resolved.template.scenarios}
    rows: list[Row] = []
    for truth, results in zip(simulation.job.truths, simulation.results, strict=True):
        rows += _truth_rows(resolved, simulation, scenarios[truth.scenario], truth)
        rows += _found_rows(resolved, simulation, truth, results)
    return rows


def _truth_rows(
    resolved: ResolvedTemplate, simulation: Simulation, scenario: Scenario, truth: Truth
) -> list[Row]:
    protocol, summary = resolved.template.protocol, simulation.job.plan.summary
    risk = scenario.control_risk or resolved.template.nature.control_risk
    observed = scenario.as_observed
    theta = true_effect(truth, summary)
    here = f"scenarios.{scenario.id}"
    rows = [
        Row(
            measure=Measure.RISK,
            value=truth.control_risk,
            scenario=scenario.id,
            variant=resolved.variant or None,
            endpoint=protocol.primary.id,
            arm=protocol.control.id,
            unit="per patient",
            source=observed or risk.source,
            status=_status(resolved, observed or risk.source, risk.value, observed is not None),
            set_by=resolved.set_by_user("nature.control_risk", f"{here}.control_risk"),
        ),
        Row(
            measure=Measure.RISK,
            value=truth.treated_risk,
            scenario=scenario.id,
            variant=resolved.variant or None,
            endpoint=protocol.primary.id,
            arm=protocol.experimental.id,
            unit="per patient",
            source=truth.source or None,
            status=resolved.status_of(scenario),
            set_by=resolved.set_by_user(f"{here}.effect"),
        ),
        Row(
            measure=Measure.TRUE_EFFECT,
            value=exp(theta) if summary.is_ratio else theta,
            scenario=scenario.id,
            variant=resolved.variant or None,
            endpoint=protocol.primary.id,
            scale=str(summary),
            source=truth.source or None,
            status=resolved.status_of(scenario),
            set_by=resolved.set_by_user(f"{here}.effect"),
        ),
    ]
    if truth.severity_slope or any(set(f.odds_ratios) != {1.0} for f in truth.factors):
        rows.append(
            Row(
                measure=Measure.CONDITIONAL_EFFECT,
                value=solve(truth).conditional_odds_ratio,
                scenario=scenario.id,
                variant=resolved.variant or None,
                endpoint=protocol.primary.id,
                scale="odds ratio, given prognosis",
            )
        )
    return rows


def _status(resolved: ResolvedTemplate, source: str | None, value: float, observed: bool) -> str:
    if observed:
        return "published"
    stated = source and resolved.evidence.stated_as(source, "control_risk", value)
    return stated.status.value if stated else "assumed"


def _found_rows(
    resolved: ResolvedTemplate, simulation: Simulation, truth: Truth, results: LookResults
) -> list[Row]:
    primary, plan = resolved.template.protocol.primary, simulation.job.plan
    return [
        Row(
            measure=c.measure,
            value=c.value,
            scenario=truth.scenario,
            variant=resolved.variant or None,
            endpoint=primary.id,
            horizon=str(primary.at.after),
            clock=primary.at.clock.value,
            analysis=plan.test.value,
            mcse=c.mcse,
            n_replicates=c.n,
            n_failed=int(results.failed[:, -1].sum()),
            lower=c.lower,
            upper=c.upper,
            level=0.95 if c.lower is not None else None,
            scale=c.scale,
            headline=True if c.measure is Measure.POWER else None,
            why=c.why,
        )
        for c in characteristics(results, truth, plan.summary)
    ]
