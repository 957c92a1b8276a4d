"""A published trial of a time to an event, simulated at its own arm sizes and follow-up.

It is held against simulated trials by what it published: a hazard ratio, a ratio of medians, or
events by a time. Where its control arm is known, the hazards of a scenario are multiplied in both
arms until the control arm is that one; hazard ratios stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, log

from trialsim.protocol.design import Allocation, Look, Protocol, SampleSize, Trigger
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    BinaryTest,
    Estimand,
    LogRankTest,
    MaxComboTest,
    PublishedSummary,
    Summary,
    SurvivalSummary,
    TimeToEventEndpoint,
)
from trialsim.protocol.published.survival import (
    PublishedLifetimes,
    at_own_control_arm,
    median_of,
)
from trialsim.protocol.quantities import Duration, Time, months
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.survival import Enrolment, EventCourse
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.sizing.survival import expected_day, limiting_log_hazard_ratio
from trialsim.trial import AnalysisPlan

__all__ = ["CarriedOut", "carried_out", "theta_of_lifetimes", "truth_of"]

_LOG_RANK = LogRankTest(test="log-rank")


@dataclass(frozen=True)
class CarriedOut:
    """A published trial as a protocol.

    Attributes
    ----------
    protocol : Protocol
    plan : AnalysisPlan
    follow_up : str
        How its patients are followed, in words.
    """

    protocol: Protocol
    plan: AnalysisPlan
    follow_up: str


def carried_out(own: Protocol, seen: PublishedLifetimes) -> CarriedOut:
    """Return a protocol at a trial's own arm sizes, follow-up and measure."""
    sizes = {own.experimental.id: seen.n_treated, own.control.id: seen.n_control}
    changes: dict[str, object] = {
        "sample_size": SampleSize(per_arm=sizes),
        "allocation": Allocation(),
    }
    primary = own.primary
    assert isinstance(primary, TimeToEventEndpoint)
    if isinstance(seen.measure, Summary):
        assert seen.day is not None  # counts are by a time
        counted = BinaryEndpoint(
            id=primary.id,
            level=primary.level,
            kind="binary",
            event=primary.event,
            at=Time.model_validate(Duration(seen.day, "d")),
            better=primary.better,
            estimand=Estimand(summary=seen.measure),
            analysis=BinaryTest.CHI_SQUARE,
        )
        protocol = own.model_copy(update={**changes, "endpoints": (counted,), "looks": ()})
        how = f"events counted by {_in_words(seen.day)}"
        return CarriedOut(protocol, AnalysisPlan.of(protocol), how)
    looks, followed, how = _follow_up(own, primary, seen)
    averages = primary.summary is SurvivalSummary.HAZARD_RATIO
    keeps = averages and not isinstance(primary.analysis, MaxComboTest)
    test = primary.analysis if keeps else _LOG_RANK
    kept = primary.model_copy(update={"followed_for": followed, "analysis": test})
    protocol = own.model_copy(update={**changes, "endpoints": (kept,), "looks": looks})
    plan = replace(AnalysisPlan.of(protocol), summary=seen.measure)
    return CarriedOut(protocol, plan, how)


def _in_words(day: float) -> str:
    return months(day) if day > 90 else f"{day:g} d"


def _follow_up(
    own: Protocol, primary: TimeToEventEndpoint, seen: PublishedLifetimes
) -> tuple[tuple[Look, ...], Duration | None, str]:
    """Return looks, how long each patient is followed at most, and words for both."""
    if seen.day is not None:
        how = f"every patient followed for {_in_words(seen.day)}"
        return (), Duration(seen.day, "d"), how
    if seen.events:
        look = Look(at=Trigger(events=seen.events))
        return (look,), None, f"until its {seen.events:,} events"
    last = own.looks[-1].at
    share = (seen.n_treated + seen.n_control) / own.n_total
    if last.events is not None:
        last = Trigger(events=max(1, round(last.events * share)))
    elif last.enrolled is not None:
        last = Trigger(enrolled=max(1, round(last.enrolled * share)))
    how = "its follow-up is not recorded: taken as this protocol's"
    return (Look(at=last),), primary.followed_for, how


def truth_of(scenario: Scenario, resolved: ResolvedTemplate, seen: PublishedLifetimes) -> Truth:
    """Return a scenario's truth at a trial's own control arm, where that is known.

    Raises
    ------
    ValueError
        Where no multiple of the hazards reaches it; the message says so.
    """
    truth = resolved.truth(scenario)
    lifetimes = truth.lifetimes
    assert lifetimes is not None  # of a time to an event
    if seen.control:
        lifetimes = at_own_control_arm(lifetimes, seen.control)
    if not isinstance(seen.measure, Summary):
        entering = _entering(truth.enrolment, seen)
        return replace(
            truth, lifetimes=lifetimes, outcomes=(), correlations=(), enrolment=entering, sites=None
        )
    assert seen.day is not None
    control, treated = lifetimes.risks(seen.day)
    if not 0 < control < 1 or not 0 < treated < 1:
        raise ValueError("none or all of its patients would have the event")
    return Truth(
        truth.scenario,
        truth.label,
        truth.title,
        control,
        control if truth.is_null else treated,
        0.0,
        (),
        truth.source,
        truth.from_data_of,
        truth.from_results,
    )


def _entering(enrolment: Enrolment | None, seen: PublishedLifetimes) -> Enrolment | None:
    """Return when a trial's patients enter; of no matter where all are followed equally long."""
    if enrolment is None or enrolment.given is None:
        return enrolment
    if seen.day is None:
        raise ValueError("enrolment is stated day by day, for the patients of this protocol")
    return Enrolment(uniform=Duration(1, "d"))


def theta_of_lifetimes(protocol: Protocol, plan: AnalysisPlan, truth: Truth) -> float:
    """Return the true effect of a trial carried out so, on the analysis scale.

    A hazard ratio is what the Cox model of its follow-up converges to.
    """
    lifetimes, enrolment = truth.lifetimes, truth.enrolment
    assert lifetimes is not None
    assert enrolment is not None  # required by the rules
    if truth.is_null:
        return 0.0
    if plan.summary is PublishedSummary.MEDIAN_RATIO:
        control, treated = (
            median_of(curves, lifetimes.shares) for curves in (lifetimes.control, lifetimes.treated)
        )
        return inf if treated == inf else log(treated / control)
    course = EventCourse(lifetimes, enrolment, *protocol.arm_sizes, plan.followed_days)
    if plan.looks:
        cut = expected_day(plan.looks[-1].at, course)
    else:
        cut = enrolment.last_day + plan.followed_days
    if cut == inf:  # the look is held when nothing more can happen
        cut = course.day_of(0.999 * course.ever)
    return limiting_log_hazard_ratio(course, cut, stratified=False)
