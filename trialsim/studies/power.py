"""How would this trial fare if ...? Operating characteristics under every scenario."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import exp, inf

import numpy as np

from trialsim.analyse.looks import Reason, Stops, stop
from trialsim.characteristics import (
    Characteristic,
    characteristics,
    mean,
    proportion,
    true_effect,
)
from trialsim.engine.run import Simulation
from trialsim.errors import DesignError
from trialsim.generate.binary import solve
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import (
    MilestoneTest,
    OutcomeSummary,
    RestrictedMeanTest,
    Summary,
    SurvivalSummary,
)
from trialsim.protocol.outcomes import CompetingTruth, LifetimeTruth, OutcomeTruth, RiskTruth
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.survival import EventCourse, Lifetime
from trialsim.protocol.truths.resolved import ResolvedTemplate, event_course
from trialsim.sizing.proportions import n_per_arm_pooled
from trialsim.sizing.survival import (
    expected_day,
    limiting_log_hazard_ratio,
    restricted_mean_difference,
)
from trialsim.studies.estimands import EstimandValue, estimand_value
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row

__all__ = ["power_rows", "size_row", "survival_curves", "theta_of", "theta_on_course"]


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
            if not plan.is_main:
                continue  # `studies.subgroups`, `studies.estimands`
            scenario = scenarios[truth.scenario]
            value = estimand_value(simulation.job, plan, truth) if plan.estimand else None
            rows += _truth_rows(resolved, plan, scenario, truth, value)
            rows += _found_rows(resolved, plan, scenario, truth, found, value)
    return rows


def survival_curves(
    resolved: ResolvedTemplate, simulation: Simulation
) -> list[tuple[Truth, float, str]]:
    """Return, per scenario of a time-to-event protocol, its truth, days to draw, and its power."""
    plan, scenarios = simulation.job.plans[0], resolved.template.scenarios
    found = []
    for truth, results in zip(simulation.job.truths, simulation.results, strict=True):
        if truth.lifetimes is None:
            return []
        course = event_course(
            next(s for s in scenarios if s.id == truth.scenario),
            resolved.template,
            resolved.evidence,
        )
        until = min(expected_day(plan.looks[-1].at, course), plan.followed_days)
        power = characteristics(stop(results[0], plan).final, 0.0, plan.summary)[0]
        words = "too few replicates for a power"
        if power.value is not None and power.mcse is not None:
            words = f"found in {100 * power.value:.1f}% +-{100 * power.mcse:.1f}"
        found.append((truth, until, words))
    return found


def _blank(resolved: ResolvedTemplate, plan: AnalysisPlan, truth: Truth) -> Row:
    endpoint = resolved.endpoint(plan.endpoint)
    return Row.about(Measure.RISK, truth.scenario, endpoint.id, endpoint.read_out, resolved.variant)


def _truth_rows(
    resolved: ResolvedTemplate,
    plan: AnalysisPlan,
    scenario: Scenario,
    truth: Truth,
    value: EstimandValue | None,
) -> list[Row]:
    protocol, blank = resolved.template.protocol, _blank(resolved, plan, truth)
    if value:
        return _estimand_rows(resolved, plan, truth, value, blank)
    if outcome := truth.outcome(plan.endpoint):
        return _outcome_rows(resolved, plan, scenario, outcome, blank)
    control, treated = truth.risks_on(plan.day, plan.counted)
    theta = theta_of(resolved, plan, scenario, truth)
    here, status = f"scenarios.{scenario.id}", resolved.status_of(scenario, plan.day)
    source = truth.source or None
    shared = ["nature.response"] if truth.courses else []
    shared += ["nature.survival"] if truth.lifetimes else []
    effect_paths = [f"{here}.{key}" for key in ("effect", "response", "survival")]
    set_by = resolved.set_by_user(*effect_paths, *shared)
    own_risk = scenario.control_risk or scenario.as_observed or scenario.response
    risk_paths = [f"{here}.{key}" for key in ("control_risk", "response", "survival")] + shared
    risk_paths += [] if own_risk else ["nature.control_risk"]
    risk_paths += ["nature.historical"] if truth.comparisons else []
    control_source, control_status = _control_source(resolved, scenario, truth, status, plan.day)
    rows = [
        replace(
            blank,
            value=control,
            arm=protocol.concurrent,
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
    if truth.lifetimes:
        if truth.lifetimes.constant_ratio is not None and len(truth.lifetimes.shares) > 1:
            scale = "hazard ratio, given the level"
            stated = truth.lifetimes.constant_ratio
            rows.append(
                replace(blank, measure=Measure.CONDITIONAL_EFFECT, value=stated, scale=scale)
            )
        return rows
    apart = control if truth.courses and truth.is_null else treated
    rows.append(size_row(blank, apart, control, plan))
    if not (truth.courses or truth.modified) and (
        truth.prognostic_sd or any(set(f.odds_ratios) != {1.0} for f in truth.factors)
    ):
        conditional = solve(truth).conditional_odds_ratio
        scale = "odds ratio, given prognosis"
        rows.append(
            replace(blank, measure=Measure.CONDITIONAL_EFFECT, value=conditional, scale=scale)
        )
    return rows


def _estimand_rows(
    resolved: ResolvedTemplate,
    plan: AnalysisPlan,
    truth: Truth,
    value: EstimandValue,
    blank: Row,
) -> list[Row]:
    """Return what each arm shows of the main estimand where events come between."""
    protocol, outcome = resolved.template.protocol, truth.outcome(plan.endpoint)
    measure = Measure.RISK if isinstance(plan.summary, Summary) else Measure.ARM_MEAN
    arms = (protocol.control.id, protocol.experimental.id)
    set_by = resolved.set_by_user("nature", f"scenarios.{truth.scenario}")
    told = replace(blank, n_replicates=value.n, status="assumed", set_by=set_by)
    rows = [
        replace(told, measure=measure, value=shown, arm=arm, unit=value.unit(plan, outcome))
        for arm, shown in zip(arms, value.shown(plan, outcome), strict=True)
    ]
    theta = exp(value.theta) if plan.summary.is_ratio else value.theta
    mcse = theta * value.mcse if plan.summary.is_ratio else value.mcse
    effect = replace(
        told, measure=Measure.TRUE_EFFECT, value=theta, mcse=mcse, scale=str(plan.summary)
    )
    if isinstance(plan.summary, Summary) and plan.endpoint == protocol.primary.id:
        size = size_row(blank, value.treated, value.control, plan)
        return [*rows, effect, size]
    return [*rows, effect]


def _outcome_rows(
    resolved: ResolvedTemplate,
    plan: AnalysisPlan,
    scenario: Scenario,
    outcome: OutcomeTruth,
    blank: Row,
) -> list[Row]:
    """Return what each arm shows of an endpoint under ``outcomes:``, and the true effect."""
    protocol, name = resolved.template.protocol, plan.endpoint
    effect = scenario.outcomes.get(name)
    own, shared = f"scenarios.{scenario.id}.outcomes.{name}", [f"nature.outcomes.{name}"]
    shared += [f"nature.historical.{name}"] if resolved.truth(scenario).comparisons else []
    control, treated = outcome.arms
    risk = isinstance(outcome, RiskTruth | CompetingTruth | LifetimeTruth)
    measure = Measure.RISK if risk else Measure.ARM_MEAN
    theta = theta_of(resolved, plan, scenario, resolved.truth(scenario))
    status = resolved.status_of_outcome(scenario, name)
    source = effect.number.source if effect else None
    shown = replace(blank, measure=measure, unit=outcome.unit)
    return [
        replace(
            shown,
            value=control,
            arm=protocol.concurrent,
            status="assumed",
            set_by=resolved.set_by_user(*shared),
        ),
        replace(
            shown,
            value=treated,
            arm=protocol.experimental.id,
            source=source,
            status=status,
            set_by=resolved.set_by_user(own, *shared),
        ),
        replace(
            blank,
            measure=Measure.TRUE_EFFECT,
            value=exp(theta) if plan.summary.is_ratio else theta,
            scale=str(plan.summary),
            source=source,
            status=status,
            set_by=resolved.set_by_user(own, *shared),
        ),
    ]


def size_row(blank: Row, treated: float, control: float, plan: AnalysisPlan) -> Row:
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
    resolved: ResolvedTemplate, scenario: Scenario, truth: Truth, status: str, day: float
) -> tuple[str | None, str]:
    """Return where a scenario's control risk comes from, and how far it can be relied on."""
    if scenario.as_observed and not truth.comparisons:
        return scenario.as_observed, resolved.status_of(scenario)
    nature, protocol = resolved.template.nature, resolved.template.protocol
    risk = scenario.control_risk or nature.control_risk
    if truth.comparisons and risk is None and protocol.primary.id not in (nature.historical or {}):
        historical = protocol.historical_value(protocol.primary.id)
        risk = historical.risk if historical else None
    if truth.lifetimes and (lifetime := _control_lifetime(resolved, scenario)):
        known = resolved.status_of_lifetime(lifetime)
        if known and lifetime.source:
            return lifetime.source, known.value
    if truth.lifetimes or (truth.comparisons and risk is None):
        return None, "assumed"  # of a single arm: the historical risk moved to today
    if truth.courses:
        return truth.source or None, resolved.status_of_control_course(scenario, day)
    if risk is None:
        return truth.source or None, status
    stated = risk.source and resolved.evidence.stated_as(
        risk.source, "control_risk", risk.value, day
    )
    return risk.source, stated.status.value if stated else "assumed"


def _control_lifetime(resolved: ResolvedTemplate, scenario: Scenario) -> Lifetime | None:
    own = scenario.survival.control if scenario.survival else None
    stated = own or resolved.template.nature.survival
    return stated if isinstance(stated, Lifetime) else None


def theta_of(
    resolved: ResolvedTemplate, plan: AnalysisPlan, scenario: Scenario, truth: Truth
) -> float:
    """Return the true effect on the analysis scale.

    Of a hazard ratio, what the planned analysis converges to: the stated one where hazards are
    proportional, else an average over the follow-up this design gives.
    """
    outcome = truth.outcome(plan.endpoint)
    if isinstance(plan.summary, Summary):
        if truth.courses and truth.is_null and not outcome:
            return 0.0  # also where more are lost in one arm, and fewer seen in response
        risks = outcome.arms if outcome else truth.risks_on(plan.day, plan.counted)
        return true_effect(risks, plan.summary)
    if isinstance(outcome, LifetimeTruth):
        assert isinstance(plan.summary, SurvivalSummary)
        return outcome.theta(plan.summary)
    if isinstance(plan.summary, OutcomeSummary):
        assert outcome is not None
        assert not isinstance(outcome, RiskTruth)  # its summary is one of risks
        return outcome.theta(plan.summary)
    course = event_course(scenario, resolved.template, resolved.evidence)
    return theta_on_course(resolved.template.protocol, plan, course)


def theta_on_course(
    protocol: Protocol, plan: AnalysisPlan, course: EventCourse, whole: EventCourse | None = None
) -> float:
    """Return the true effect on the analysis scale of a time to an event.

    `whole` is the course of all patients, who set off looks, where `course` is that of some.
    """
    lifetimes, whole = course.lifetimes, whole or course
    match plan.test:
        case MilestoneTest():
            control, treated = lifetimes.risks(plan.test.at.days)
            return control - treated
        case RestrictedMeanTest():
            return restricted_mean_difference(course, plan.test.until.days)
        case _:
            names = {name for name, _ in lifetimes.differs_by}
            by_strata = bool(names) and names <= set(protocol.allocation.stratify_by)
            stratified = bool(getattr(plan.test, "stratified", False)) and by_strata
            cut = expected_day(plan.looks[-1].at, whole)
            if cut == inf:  # the look is held when nothing more can happen
                cut = whole.day_of(0.999 * whole.ever)
            return limiting_log_hazard_ratio(course, cut, stratified=stratified)


def _found_rows(
    resolved: ResolvedTemplate,
    plan: AnalysisPlan,
    scenario: Scenario,
    truth: Truth,
    results: LookResults,
    value: EstimandValue | None,
) -> list[Row]:
    stops = stop(results, plan)
    final = stops.final
    theta = value.theta if value else theta_of(resolved, plan, scenario, truth)
    blank = replace(
        _blank(resolved, plan, truth),
        analysis=plan.in_words,
        n_failed=int(final.failed[:, 0].sum()),
    )
    primary = plan.endpoint == resolved.template.protocol.primary.id
    rows = [
        c.row(replace(blank, headline=True if c.measure is Measure.POWER and primary else None))
        for c in characteristics(final, theta, plan.summary)
    ]
    if plan.looks:
        rows += _stop_rows(blank, plan, stops, results)
        rows += _look_rows(blank, plan, stops, results)
    return rows


def _stop_rows(blank: Row, plan: AnalysisPlan, stops: Stops, results: LookResults) -> Iterator[Row]:
    """Return how large, how long and with how many events the trial is when it stops."""
    final = stops.final
    ok = ~final.failed[:, 0]
    if not ok.any():
        return
    yield mean(Measure.EXPECTED_N, final.enrolled[ok, 0]).row(replace(blank, unit="patients"))
    if isinstance(plan.summary, SurvivalSummary):
        yield mean(Measure.EVENTS, final.information[ok, 0]).row(replace(blank, unit="events"))
    if np.isfinite(final.day[ok]).all():
        months = final.day[ok, 0] / DAYS_PER_UNIT["mo"]
        yield mean(Measure.DURATION_MONTHS, months).row(replace(blank, unit="months"))
    short = float(final.short[ok, 0].sum())
    yield Characteristic(Measure.N_SHORT, short, None, int(ok.sum())).row(blank)
    ignorable = any(look.futility_z is not None and not look.binding for look in plan.looks)
    if ignorable:
        ignored = stop(results, plan, heed_futility=False).final
        usable = ~ignored.failed[:, 0]
        found = proportion(Measure.POWER_FUTILITY_IGNORED, ignored.rejected[usable, 0])
        yield found.row(blank)


def _look_rows(blank: Row, plan: AnalysisPlan, stops: Stops, results: LookResults) -> Iterator[Row]:
    """Return what happens at every look."""
    last = len(plan.looks) - 1
    unit = "events" if isinstance(plan.summary, SurvivalSummary) else "patients read out"
    for index, look in enumerate(plan.looks):
        here = replace(blank, look=index + 1, n_failed=int(results.failed[:, index].sum()))
        at = results.information[:, index]
        known = at[np.isfinite(at)]
        if len(known):
            yield mean(Measure.INFORMATION, known).row(replace(here, unit=unit))
        for measure, bound in (
            (Measure.Z_EFFICACY, look.efficacy_z),
            (Measure.Z_FUTILITY, look.futility_z),
        ):
            if bound is not None:
                yield replace(here, measure=measure, value=bound, n_failed=None)
        reasons = [Reason.EFFICACY, Reason.END if index == last else Reason.FUTILITY]
        for reason in reasons:
            hits = stops.because(reason, index)[~stops.final.failed[:, 0]]
            yield proportion(_STOPS, hits).row(replace(here, analysis=reason.value))


_STOPS = Measure.STOP_PROBABILITY
