"""How would this trial fare if ...? Operating characteristics under every scenario."""

from __future__ import annotations

from dataclasses import replace
from math import exp

from trialsim.characteristics import characteristics, true_effect
from trialsim.engine.run import Simulation
from trialsim.errors import DesignError
from trialsim.generate.binary import solve
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.sizing.proportions import n_per_arm_pooled
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row

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
        for plan, found in zip(simulation.job.plans, results, strict=True):
            rows += _truth_rows(resolved, plan, scenarios[truth.scenario], truth)
            rows += _found_rows(resolved, plan, truth, found)
    return rows


def _blank(resolved: ResolvedTemplate, plan: AnalysisPlan, truth: Truth) -> Row:
    endpoint = next(e for e in resolved.template.protocol.simulated if e.id == plan.endpoint)
    return Row(
        measure=Measure.RISK,
        value=None,
        scenario=truth.scenario,
        variant=resolved.variant or None,
        endpoint=endpoint.id,
        horizon=str(endpoint.at.after),
        clock=endpoint.at.clock.value,
    )


def _truth_rows(
    resolved: ResolvedTemplate, plan: AnalysisPlan, scenario: Scenario, truth: Truth
) -> list[Row]:
    protocol, blank = resolved.template.protocol, _blank(resolved, plan, truth)
    control, treated = truth.risks_on(plan.day)
    theta = true_effect((control, treated), plan.summary)
    here, status = f"scenarios.{scenario.id}", resolved.status_of(scenario, plan.day)
    source = truth.source or None
    shared = ["nature.response"] if truth.courses else []
    set_by = resolved.set_by_user(f"{here}.effect", f"{here}.response", *shared)
    own_risk = scenario.control_risk or scenario.as_observed or scenario.response
    risk_paths = [f"{here}.control_risk", f"{here}.response", *shared]
    risk_paths += [] if own_risk else ["nature.control_risk"]
    control_source, control_status = _control_source(resolved, scenario, truth, status)
    rows = [
        replace(
            blank,
            value=control,
            arm=protocol.control.id,
            unit="per patient",
            source=control_source,
            status=control_status,
            set_by=resolved.set_by_user(*risk_paths),
        ),
        replace(
            blank,
            value=treated,
            arm=protocol.experimental.id,
            unit="per patient",
            source=source,
            status=status,
            set_by=set_by,
        ),
        replace(
            blank,
            measure=Measure.TRUE_EFFECT,
            value=exp(theta) if plan.summary.is_ratio else theta,
            scale=str(plan.summary),
            source=source,
            status=status,
            set_by=set_by,
        ),
    ]
    rows.append(_size_row(blank, treated, control, plan))
    if not truth.courses and (
        truth.severity_slope or any(set(f.odds_ratios) != {1.0} for f in truth.factors)
    ):
        conditional = solve(truth).conditional_odds_ratio
        scale = "odds ratio, given prognosis"
        rows.append(
            replace(blank, measure=Measure.CONDITIONAL_EFFECT, value=conditional, scale=scale)
        )
    return rows


def _size_row(blank: Row, treated: float, control: float, plan: AnalysisPlan) -> Row:
    """Return the 1:1 size for 80% power by the pooled-variance formula, or why there is none."""
    size = replace(
        blank,
        measure=Measure.N_PER_ARM,
        level=0.8,
        analysis="pooled-variance formula, 1:1",
        unit="patients",
    )
    try:
        n = n_per_arm_pooled(treated, control, alpha=plan.alpha, sides=plan.sides)
    except DesignError:
        return replace(size, why="no effect: no size finds it")
    return replace(size, value=float(n))


def _control_source(
    resolved: ResolvedTemplate, scenario: Scenario, truth: Truth, status: str
) -> tuple[str | None, str]:
    """Return where a scenario's control risk comes from, and how far it can be relied on."""
    if scenario.as_observed:
        return scenario.as_observed, resolved.status_of(scenario)
    risk = scenario.control_risk or resolved.template.nature.control_risk
    if truth.courses or risk is None:
        return truth.source or None, status
    stated = risk.source and resolved.evidence.stated_as(risk.source, "control_risk", risk.value)
    return risk.source, stated.status.value if stated else "assumed"


def _found_rows(
    resolved: ResolvedTemplate, plan: AnalysisPlan, truth: Truth, results: LookResults
) -> list[Row]:
    blank = replace(
        _blank(resolved, plan, truth),
        analysis=plan.in_words,
        n_failed=int(results.failed[:, -1].sum()),
    )
    primary = plan.endpoint == resolved.template.protocol.primary.id
    return [
        replace(
            blank,
            measure=c.measure,
            value=c.value,
            mcse=c.mcse,
            n_replicates=c.n,
            lower=c.lower,
            upper=c.upper,
            level=0.95 if c.lower is not None else None,
            scale=c.scale,
            headline=True if c.measure is Measure.POWER and primary else None,
            why=c.why,
        )
        for c in characteristics(results, truth.risks_on(plan.day), plan.summary)
    ]
