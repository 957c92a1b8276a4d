"""Whether a design with looks keeps its promises where the truth is not as planned.

Over a grid of nuisance values, each with its reason: the type I error; power, bias, coverage, size
and duration under a scenario; and three trials of the run to be told, one per way of ending. That
is what regulators ask of the simulations of a design with interim analyses: FDA (2019), Adaptive
Designs for Clinical Trials of Drugs and Biologics, on simulations in adaptive design planning and
on documentation; ICH E20 (draft, 2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.looks import Stops, stop
from trialsim.characteristics import (
    MIN_REPLICATES,
    Characteristic,
    characteristics,
    mean,
    proportion,
    true_effect,
)
from trialsim.engine.blocks import Job
from trialsim.engine.replay import ReplayedTrial, replay
from trialsim.engine.run import Progress, Simulation, check_kernel, run
from trialsim.engine.store import Store
from trialsim.engine.workers import Workers
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    Summary,
    SurvivalSummary,
    TimeToEventEndpoint,
)
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.scenario import Truth, odds_ratio_between, risk_at_odds_ratio
from trialsim.protocol.survival import EventCourse, HazardCurve
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.power import theta_on_course
from trialsim.trial import AnalysisPlan, Kernel, LookResults, Measure, Row

__all__ = [
    "UNADJUSTED",
    "ArmSeen",
    "Ending",
    "ExampleTrial",
    "GridPoint",
    "OperatingGrid",
    "operating_grid",
]

UNADJUSTED = "interval of the look the trial ended at, not adjusted for the looks before"
FUTILITY_IGNORED = "bounds for futility that are not binding ignored"

_ODDS = {  # of the planned odds of the event under control
    0.5: "far fewer events than planned: the normal approximation is at its weakest",
    0.75: "fewer events than planned",
    1.0: "as planned",
    1.25: "more events than planned",
    1.5: "far more events than planned",
}
_HAZARDS = {  # of the planned hazards in both arms
    0.67: "events come later than planned, and looks set off by events with them",
    1.0: "events come as planned",
    1.5: "events come sooner than planned, before all patients have entered",
}
_SPEEDS = {  # of the planned enrolment
    0.67: "enrolment is slow: fewer patients, followed for longer, at a look",
    1.0: "enrolment is as planned",
    1.5: "enrolment is fast: more patients, followed for a shorter time, at a look",
}


class Ending(StrEnum):
    """How a trial ends."""

    EFFICACY = "early, for efficacy"
    FUTILITY = "early, for futility"
    END = "at the last look"


@dataclass(frozen=True)
class GridPoint:
    """One state of what the design should not depend on.

    Attributes
    ----------
    name, reason : str
        What is changed, in words, and why it is looked at.
    control_multiple : float
        Of the planned odds of the event under control, or of the planned hazards in both arms.
    enrolment_speed : float
        As a multiple of the planned one.
    no_effect, effect : Truth
        Without effect, and with the scenario's: the same odds ratio or hazard ratios.
    """

    name: str
    reason: str
    control_multiple: float
    enrolment_speed: float
    no_effect: Truth
    effect: Truth

    @property
    def is_planned(self) -> bool:
        """Whether nothing is changed."""
        return self.control_multiple == self.enrolment_speed == 1


@dataclass(frozen=True)
class ArmSeen:
    """One arm of a trial when it ended.

    Attributes
    ----------
    arm : str
    randomised, seen, events : int
        Patients who had entered, by the decision or, for a time to an event, by the data cut-off;
        those read out; and their events.
    """

    arm: str
    randomised: int
    seen: int
    events: int


@dataclass(frozen=True)
class ExampleTrial:
    """The first trial of the run, at the planned point under the scenario, that ends in one way.

    Attributes
    ----------
    ending : Ending
    replicate : int
        From 1.
    look, n_looks : int
        The look it ended at, from 1, and those planned.
    arms : tuple of ArmSeen
        Experimental, control.
    estimate, lower, upper : float
        Ratios not as logarithms; not adjusted for looks.
    z : float
        Positive in favour of the experimental arm.
    effect_found : bool
    months : float or None
        From the first day of enrolment to the decision; None where enrolment is not stated.
    """

    ending: Ending
    replicate: int
    look: int
    n_looks: int
    arms: tuple[ArmSeen, ArmSeen]
    estimate: float
    lower: float
    upper: float
    z: float
    effect_found: bool
    months: float | None


@dataclass(frozen=True)
class OperatingGrid:
    """What was found.

    Attributes
    ----------
    points : tuple of GridPoint
    rows : tuple of Row
        `scenario` is that of a point's truth, `set_by` the point's name.
    largest_type_i_error : Row
        The largest of the grid's estimates, which chance makes larger than the largest truth.
    examples : tuple of ExampleTrial
    without_example : tuple of Ending
        Ways in which no trial of the run ended.
    n_replicates, seed : int
    """

    points: tuple[GridPoint, ...]
    rows: tuple[Row, ...]
    largest_type_i_error: Row
    examples: tuple[ExampleTrial, ...]
    without_example: tuple[Ending, ...]
    n_replicates: int
    seed: int

    def row(self, truth: Truth, measure: Measure) -> Row:
        """Return the headline row of a measure under one of the points' truths."""
        own = (r for r in self.rows if (r.scenario, r.measure) == (truth.scenario, measure))
        why = "not given under this truth"
        return next(own, Row(measure=measure, value=None, scenario=truth.scenario, why=why))


def operating_grid(
    resolved: ResolvedTemplate,
    scenario: str,
    *,
    replicates: int = 10_000,
    seed: int = 1,
    workers: Workers = 1,
    store: Store | None = None,
    kernel: Kernel = Kernel.NUMPY,
    on_progress: Progress | None = None,
) -> OperatingGrid:
    """Simulate a design with looks over a grid of nuisance values.

    Of a binary endpoint the control risk: 0.5 to 1.5 times the planned odds. Of a time to an event
    the hazards of both arms and the speed of enrolment: 0.67, 1 and 1.5 times each. All points
    share their luck, and the planned one is the run of `PlannedSimulation.simulate` with this seed.

    Parameters
    ----------
    resolved : ResolvedTemplate
    scenario : str
        Id of a scenario with an effect.
    replicates : int
        Per truth; 10,000 give a type I error of 2.5% to +-0.16 points (1 MCSE).
    seed : int
    workers : int, Executor or Cluster
    store : Store, optional
    kernel : Kernel
    on_progress : callable, optional

    Raises
    ------
    DesignError
        Where the protocol has no looks, or its endpoint is neither binary nor a time to an event.
    RequestError
        For an unknown scenario, one without effect, or numbers out of range.
    """
    protocol = resolved.template.protocol
    _check(protocol)
    check_kernel(kernel)
    (chosen,) = resolved.scenarios([scenario])
    planned = resolved.truth(chosen)
    if planned.is_null:
        rule, remedy = "must have an effect", "The type I error is given beside any other scenario."
        raise RequestError(Problem(rule, remedy, "scenario", scenario))
    points = tuple(_points(protocol, planned))
    plan = replace(AnalysisPlan.of(protocol), kernel=kernel)
    speeds = dict.fromkeys(point.enrolment_speed for point in points)
    jobs = [_job(protocol, plan, [p for p in points if p.enrolment_speed == s]) for s in speeds]
    simulations = run(
        jobs,
        n_replicates=replicates,
        seed=seed,
        workers=workers,
        store=store,
        on_progress=on_progress,
    )
    found = {
        truth: (simulation, index)
        for simulation in simulations
        for index, truth in enumerate(simulation.job.truths)
    }

    def results(truth: Truth) -> LookResults:
        simulation, index = found[truth]
        return simulation.results[index][0]

    rows: list[Row] = []
    for point in points:
        rows += _type_i_error_rows(protocol, plan, point, results(point.no_effect))
        rows += _effect_rows(protocol, plan, point, results(point.effect))
    errors = [r for r in rows if r.measure is Measure.TYPE_I_ERROR and r.headline]
    examples = tuple(_examples(found[planned][0], planned, results(planned)))
    return OperatingGrid(
        points,
        tuple(rows),
        max(errors, key=lambda row: row.value or 0.0),
        examples,
        tuple(e for e in Ending if e not in {example.ending for example in examples}),
        replicates,
        seed,
    )


def _check(protocol: Protocol) -> None:
    problems = []
    if not protocol.looks:
        rule, remedy = "must be stated", "Without looks, the power of one analysis says it all."
        problems.append(Problem(rule, remedy, "protocol.looks"))
    if not isinstance(protocol.primary, BinaryEndpoint | TimeToEventEndpoint):
        rule = "must be binary or time-to-event"
        remedy = "Courses of response have no single nuisance value to vary."
        problems.append(
            Problem(rule, remedy, f"protocol.endpoints.{protocol.primary.id}.kind", "response")
        )
    if problems:
        raise DesignError(problems)


def _job(protocol: Protocol, plan: AnalysisPlan, points: Sequence[GridPoint]) -> Job:
    truths = tuple(t for point in points for t in (point.no_effect, point.effect))
    return Job(protocol, (plan,), truths, kernel=plan.kernel).on_its_shortest_path()


def _points(protocol: Protocol, planned: Truth) -> Iterator[GridPoint]:
    if planned.lifetimes is None:
        for multiple, reason in _ODDS.items():
            effect = _at_odds(planned, multiple)
            null = replace(effect, label="no effect", treated_risk=effect.control_risk)
            name = f"control odds x {multiple:g} ({100 * effect.control_risk:.3g}%)"
            yield _named(name, reason, multiple, 1.0, null, effect)
        return
    for multiple, of_hazards in _HAZARDS.items():
        for speed, of_speed in _SPEEDS.items():
            effect = _at_hazards(protocol, planned, multiple, speed)
            name = f"hazards x {multiple:g}, enrolment speed x {speed:g}"
            reason = f"{of_hazards}; {of_speed}"
            yield _named(name, reason, multiple, speed, _without_effect(protocol, effect), effect)


def _named(
    name: str, reason: str, multiple: float, speed: float, null: Truth, effect: Truth
) -> GridPoint:
    """Return a point whose truths have ids of their own, but for the planned scenario's."""
    at = f"{round(100 * multiple):03d}-{round(100 * speed):03d}"
    null = replace(null, scenario=f"no-effect--{at}", title=f"no effect, {name}")
    if not multiple == speed == 1:
        title = f"{effect.title}, {name}"
        effect = replace(effect, scenario=f"{effect.scenario}--{at}", title=title)
    return GridPoint(name, reason, multiple, speed, null, effect)


def _at_odds(truth: Truth, multiple: float) -> Truth:
    if multiple == 1:
        return truth
    ratio = odds_ratio_between(truth.treated_risk, truth.control_risk)
    control = risk_at_odds_ratio(multiple, truth.control_risk)
    treated = risk_at_odds_ratio(ratio, control)
    return replace(truth, label=f"OR {ratio:.2f}", control_risk=control, treated_risk=treated)


def _at_hazards(protocol: Protocol, truth: Truth, multiple: float, speed: float) -> Truth:
    assert truth.lifetimes is not None
    assert truth.enrolment is not None  # required by the rules
    if multiple == speed == 1:
        return truth

    def faster(curves: tuple[HazardCurve, ...]) -> tuple[HazardCurve, ...]:
        return tuple(curve.times(((inf, multiple),)) for curve in curves)

    lifetimes = replace(
        truth.lifetimes,
        control=faster(truth.lifetimes.control),
        treated=faster(truth.lifetimes.treated),
    )
    control, treated = lifetimes.risks(_horizon(protocol))
    return replace(
        truth,
        lifetimes=lifetimes,
        enrolment=truth.enrolment.sped_up(speed) if truth.enrolment else None,
        sites=truth.sites and replace(truth.sites, per_day=speed * truth.sites.per_day),
        control_risk=control,
        treated_risk=treated,
    )


def _without_effect(protocol: Protocol, truth: Truth) -> Truth:
    assert truth.lifetimes is not None
    control = truth.lifetimes.control
    lifetimes = replace(truth.lifetimes, treated=control, constant_ratio=1.0)
    risk, _ = lifetimes.risks(_horizon(protocol))
    return replace(
        truth, label="no effect", lifetimes=lifetimes, control_risk=risk, treated_risk=risk
    )


def _horizon(protocol: Protocol) -> float:
    return protocol.primary.read_out.days_after_entry(protocol.therapy)


def _blank(protocol: Protocol, plan: AnalysisPlan, point: GridPoint, truth: Truth) -> Row:
    return Row(
        measure=Measure.RISK,
        value=None,
        scenario=truth.scenario,
        endpoint=plan.endpoint,
        horizon=str(protocol.primary.read_out.after),
        clock=protocol.primary.read_out.clock.value,
        analysis=plan.in_words,
        set_by=point.name,
    )


def _risk_rows(protocol: Protocol, blank: Row, truth: Truth, plan: AnalysisPlan) -> Iterator[Row]:
    control, treated = truth.risks_on(plan.day, plan.counted)
    for arm, risk in ((protocol.control, control), (protocol.experimental, treated)):
        yield replace(blank, value=risk, arm=arm.id, unit="per patient", analysis=None)


def _type_i_error_rows(
    protocol: Protocol, plan: AnalysisPlan, point: GridPoint, results: LookResults
) -> Iterator[Row]:
    """Return the type I error; where futility is not binding, the headline one ignores it."""
    blank = _blank(protocol, plan, point, point.no_effect)
    yield from _risk_rows(protocol, blank, point.no_effect, plan)
    heeds = [True]
    if any(look.futility_z is not None and not look.binding for look in plan.looks):
        heeds = [False, True]
    for heed in heeds:
        final = stop(results, plan, heed_futility=heed).final
        ok = ~final.failed[:, 0]
        words = plan.in_words if heed else f"{plan.in_words}; {FUTILITY_IGNORED}"
        row = replace(blank, analysis=words, n_failed=int((~ok).sum()))
        headline = True if heed is heeds[0] else None
        n = int(ok.sum())
        if n < MIN_REPLICATES:
            why = f"{n} analysable replicates; at least {MIN_REPLICATES} are needed"
            yield replace(row, measure=Measure.TYPE_I_ERROR, headline=headline, why=why)
        else:
            error = proportion(Measure.TYPE_I_ERROR, final.rejected[ok, 0])
            yield error.row(replace(row, headline=headline))


def _effect_rows(
    protocol: Protocol, plan: AnalysisPlan, point: GridPoint, results: LookResults
) -> Iterator[Row]:
    final = stop(results, plan).final
    failed = int(final.failed[:, 0].sum())
    blank = replace(_blank(protocol, plan, point, point.effect), n_failed=failed)
    yield from _risk_rows(protocol, blank, point.effect, plan)
    theta = _theta(protocol, plan, point.effect)
    natural = exp(theta) if plan.summary.is_ratio else theta
    yield replace(blank, measure=Measure.TRUE_EFFECT, value=natural, scale=str(plan.summary))
    for c in characteristics(final, theta, plan.summary):
        if c.measure is Measure.COVERAGE:
            yield c.row(replace(blank, analysis=UNADJUSTED))
        elif c.measure in (Measure.POWER, Measure.BIAS):
            yield c.row(blank)
    yield from _course_rows(blank, plan, final)


def _course_rows(blank: Row, plan: AnalysisPlan, final: LookResults) -> Iterator[Row]:
    """Return how large and how long trials are when they end."""
    ok = ~final.failed[:, 0]
    if not ok.any():
        return
    yield mean(Measure.EXPECTED_N, final.enrolled[ok, 0]).row(replace(blank, unit="patients"))
    if isinstance(plan.summary, SurvivalSummary):
        yield mean(Measure.EVENTS, final.information[ok, 0]).row(replace(blank, unit="events"))
    months = final.day[ok, 0] / DAYS_PER_UNIT["mo"]
    if np.isfinite(months).all():
        yield mean(Measure.DURATION_MONTHS, months).row(replace(blank, unit="months"))
    else:
        why = "the protocol does not state enrolment"
        yield replace(blank, measure=Measure.DURATION_MONTHS, unit="months", why=why)
    short = Characteristic(Measure.N_SHORT, float(final.short[ok, 0].sum()), None, int(ok.sum()))
    yield short.row(blank)


def _theta(protocol: Protocol, plan: AnalysisPlan, truth: Truth) -> float:
    if isinstance(plan.summary, Summary):
        return true_effect(truth.risks_on(plan.day, plan.counted), plan.summary)
    assert truth.lifetimes is not None
    assert truth.enrolment is not None  # required by the rules
    treated, control = protocol.arm_sizes
    course = EventCourse(truth.lifetimes, truth.enrolment, treated, control, plan.followed_days)
    return theta_on_course(protocol, plan, course)


def _examples(simulation: Simulation, truth: Truth, results: LookResults) -> Iterator[ExampleTrial]:
    """Yield the first trial of each ending."""
    plan = simulation.job.plans[0]
    for ending, hits in _endings(plan, stop(results, plan)).items():
        if hits.any():
            trial = replay(simulation.job, truth, simulation.seed, int(hits.argmax()) + 1)
            yield _facts(simulation.job.protocol, plan, ending, trial)


def _endings(plan: AnalysisPlan, stops: Stops) -> dict[Ending, NDArray[np.bool_]]:
    last = len(plan.looks) - 1
    analysed, early = ~stops.final.failed[:, 0], stops.look < last
    for_benefit = stops.final.rejected[:, 0] & (stops.final.z[:, 0] > 0)
    return {
        Ending.EFFICACY: analysed & early & for_benefit,
        Ending.FUTILITY: analysed & early & stops.futile,
        Ending.END: analysed & ~early,
    }


def _facts(
    protocol: Protocol, plan: AnalysisPlan, ending: Ending, trial: ReplayedTrial
) -> ExampleTrial:
    arms, events = trial.patients["arm"], trial.patients["event"].astype(float)

    def seen(arm: str) -> ArmSeen:
        own = events[arms == arm]
        known = own[np.isfinite(own)]
        return ArmSeen(arm, len(own), len(known), int(known.sum()))

    final = trial.final
    estimate, lower, upper = (
        float(exp(x[0, 0]) if plan.summary.is_ratio else x[0, 0])
        for x in (final.estimate, final.lower, final.upper)
    )
    day = float(final.day[0, 0])
    return ExampleTrial(
        ending=ending,
        replicate=trial.replicate,
        look=trial.stopped_at + 1,
        n_looks=len(plan.looks),
        arms=(seen(protocol.experimental.id), seen(protocol.control.id)),
        estimate=estimate,
        lower=lower,
        upper=upper,
        z=float(final.z[0, 0]),
        effect_found=bool(final.rejected[0, 0]),
        months=day / DAYS_PER_UNIT["mo"] if np.isfinite(day) else None,
    )
