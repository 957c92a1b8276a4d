"""Time-to-event designs: events and patients they need, what they estimate, when looks come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trialsim.errors import DesignError, Problem
from trialsim.kernels.hazards import Hazard, survival_on
from trialsim.protocol.design import Trigger
from trialsim.protocol.survival import EventCourse
from trialsim.sizing.expected_events import average_hazard_ratio, expected_events
from trialsim.sizing.fixed import (
    EQUAL,
    MOST_PATIENTS,
    SUPERIORITY,
    TWO_SIDED_5,
    Allocation,
    FixedSize,
    Hypothesis,
    Level,
    Margin,
    Superiority,
    check_power,
    check_sizes,
    margin_problems,
    problem_unless,
    refuse,
    rounded_size,
)

__all__ = [
    "EventTarget",
    "EventsFormula",
    "SurvivalMethod",
    "TimeToEvent",
    "events_power",
    "events_required",
    "expected_day",
    "limiting_log_hazard_ratio",
    "restricted_mean_difference",
    "survival_conventions",
    "survival_power",
    "survival_size",
]

Floats = NDArray[np.float64]
_STEPS = 4000  # of follow-up; 1e-5 on a log hazard ratio, tested against closed forms


def expected_day(trigger: Trigger, course: EventCourse, final_events: int | None = None) -> float:
    """Return the day of the trial on which a look is expected; infinity for never."""
    if trigger.calendar is not None:
        return trigger.calendar.days
    if trigger.enrolled is not None:
        return course.enrolment.quantile(trigger.enrolled / (course.n_treated + course.n_control))
    events = trigger.events
    if events is None and trigger.information is not None and final_events is not None:
        return course.day_of(trigger.information * final_events)
    return course.day_of(float(events or inf))


def limiting_log_hazard_ratio(course: EventCourse, cut_day: float, *, stratified: bool) -> float:
    """Return what a Cox model with treatment alone converges to as trials of this design grow.

    Under proportional hazards it is the log hazard ratio; otherwise an average that depends on
    accrual, loss and the day of the data cut-off.

    Parameters
    ----------
    course : EventCourse
    cut_day : float
        Day of the trial of the data cut-off.
    stratified : bool
        Whether the model is stratified by the factor in which lifetimes differ.

    References
    ----------
    Struthers and Kalbfleisch (1986), Biometrika 73:363-369, equation 2.4 and its solution in beta.
    """
    if course.lifetimes.constant_ratio is not None and (
        stratified or len(course.lifetimes.shares) == 1
    ):
        return log(course.lifetimes.constant_ratio)
    edges = np.linspace(0.0, min(cut_day, course.most_days), _STEPS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    entered = np.array([course.enrolment.quantile((i + 0.5) / 500) for i in range(500)])
    observed = np.searchsorted(entered, cut_day - middle, side="right") / len(entered)
    if course.lifetimes.loss:
        observed = observed * survival_on(middle, Hazard(*course.lifetimes.loss))
    arms = []
    for n, curves in (
        (course.n_control, course.lifetimes.control),
        (course.n_treated, course.lifetimes.treated),
    ):
        free = np.stack([survival_on(edges, Hazard(*curve)) for curve in curves])
        weight = n * np.array(course.lifetimes.shares)[:, None] * observed
        events = -np.diff(free, axis=1) * weight
        at_risk = (free[:, 1:] + free[:, :-1]) / 2 * weight
        if not stratified:
            events, at_risk = events.sum(axis=0, keepdims=True), at_risk.sum(axis=0, keepdims=True)
        arms.append((events, at_risk))
    (d0, y0), (d1, y1) = arms
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds = np.where((y0 > 0) & (y1 > 0), np.log(y1 / y0), -inf)
    beta = 0.0
    for _ in range(50):
        p = expit(beta + log_odds)
        score, information = (d1 - (d0 + d1) * p).sum(), ((d0 + d1) * p * (1 - p)).sum()
        step = float(score / information)
        beta += step
        if abs(step) < 1e-12:
            break
    return beta


def restricted_mean_difference(course: EventCourse, until: float) -> float:
    """Return the difference in mean days without the event up to a day, treated less control."""
    edges = np.linspace(0.0, until, _STEPS + 1)
    means = []
    for curves in (course.lifetimes.control, course.lifetimes.treated):
        free = sum(
            share * survival_on(edges, Hazard(*curve))
            for share, curve in zip(course.lifetimes.shares, curves, strict=True)
        )
        means.append(float(np.trapezoid(free, edges)))
    return means[1] - means[0]


class EventsFormula(StrEnum):
    """How many events a log-rank test needs under proportional hazards."""

    SCHOENFELD = "Schoenfeld"
    FREEDMAN = "Freedman"
    HSIEH_FREEDMAN = "Hsieh-Freedman"


@dataclass(frozen=True)
class EventTarget:
    """Events a log-rank test needs.

    Attributes
    ----------
    events_unrounded, events : float, int
    power : float
        With the events rounded up, by the same formula.
    conventions : tuple of str
    """

    events_unrounded: float
    events: int
    power: float
    conventions: tuple[str, ...]


def _check_hazard_ratio(hazard_ratio: float, hypothesis: Hypothesis, level: Level) -> None:
    found = [("hazard_ratio", hazard_ratio)]
    if isinstance(hypothesis, Margin):
        found.append(("margin", hypothesis.margin))
    rule, remedy = "must be a ratio above 0", "Write the ratio itself, not its logarithm."
    refuse(*(problem_unless(0 < value < inf, name, value, rule, remedy) for name, value in found))
    refuse(margin_problems(hypothesis, hazard_ratio, 1.0, level))


def _effect_per_event(
    formula: EventsFormula, hazard_ratio: float, null: float, treated_share: float
) -> float:
    """Return the mean of the statistic divided by the root of the events."""
    if formula is EventsFormula.SCHOENFELD:
        return abs(log(hazard_ratio / null)) * sqrt(treated_share * (1 - treated_share))
    ratio = treated_share / (1 - treated_share)
    if formula is EventsFormula.FREEDMAN:
        return sqrt(ratio) * abs(1 - hazard_ratio) / (1 + ratio * hazard_ratio)
    return 2 * sqrt(ratio) / (1 + ratio) * abs(1 - hazard_ratio) / (1 + hazard_ratio)


def _check_formula(formula: EventsFormula, hypothesis: Hypothesis) -> None:
    rule = "must be Schoenfeld for non-inferiority"
    refuse(
        problem_unless(
            formula is EventsFormula.SCHOENFELD or isinstance(hypothesis, Superiority),
            "formula",
            formula,
            rule,
            "The other formulas have no margin.",
        )
    )


def events_power(
    hazard_ratio: float,
    events: float,
    formula: EventsFormula = EventsFormula.SCHOENFELD,
    hypothesis: Hypothesis = SUPERIORITY,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> float:
    """Power of a log-rank test with so many events, under proportional hazards.

    Raises
    ------
    DesignError
        As `events_required`; if there is not a single event.

    References
    ----------
    As `events_required`.
    """
    _check_hazard_ratio(hazard_ratio, hypothesis, level)
    _check_formula(formula, hypothesis)
    rule = "must be at least 1"
    refuse(problem_unless(events >= 1, "events", events, rule, "State how many will be seen."))
    null = getattr(hypothesis, "margin", 1.0)
    mean = _effect_per_event(formula, hazard_ratio, null, allocation.treated_share)
    return level.normal_power(mean * sqrt(events), 1.0, 1.0)


def events_required(
    hazard_ratio: float,
    formula: EventsFormula = EventsFormula.SCHOENFELD,
    hypothesis: Hypothesis = SUPERIORITY,
    power: float = 0.8,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> EventTarget:
    """Events for a log-rank test under proportional hazards.

    Parameters
    ----------
    hazard_ratio : float
        Treated to control, above 0.
    hypothesis : Superiority, NonInferiority or SuperiorityByMargin
        A margin is a hazard ratio, above 1 where lower hazards are better.

    Raises
    ------
    DesignError
        If the hazard ratio is 1 without a margin, the margin is on the wrong side, the power is
        not above alpha, or more than 10 million events would be needed.

    References
    ----------
    Schoenfeld (1981), Biometrika 68:316-319; Freedman (1982), Statistics in Medicine 1:121-129;
    Hsieh (1992), Statistics in Medicine 11:1091-1098: with unequal arms, Freedman's formula for
    equal ones divided by four times the product of the shares.
    """
    _check_hazard_ratio(hazard_ratio, hypothesis, level)
    _check_formula(formula, hypothesis)
    check_power(power, level)
    null = getattr(hypothesis, "margin", 1.0)
    mean = _effect_per_event(formula, hazard_ratio, null, allocation.treated_share)
    needed = level.normal_total(power, mean, 1.0, 1.0)
    rule, remedy = f"must not exceed {MOST_PATIENTS:,}", "State a larger effect or margin."
    refuse(problem_unless(needed <= MOST_PATIENTS, "events", f"{needed:.4g}", rule, remedy))
    events = ceil(needed - 1e-9)
    return EventTarget(
        needed,
        events,
        level.normal_power(mean * sqrt(events), 1.0, 1.0),
        (
            level.convention,
            _hypothesis_in_words(hypothesis),
            f"log-rank test, events by {formula}, proportional hazards",
            f"allocation treated:control {allocation.treated}:{allocation.control}",
            "events rounded up to a whole number",
        ),
    )


def _hypothesis_in_words(hypothesis: Hypothesis) -> str:
    if isinstance(hypothesis, Margin):
        return (
            f"{hypothesis.in_words('hazard ratio')}, treated to control, "
            f"{hypothesis.better} is better"
        )
    return "superiority; hazard ratio, treated to control"


class SurvivalMethod(StrEnum):
    """How patients are found for a course of events.

    The first asks for events by Schoenfeld's formula. Lachin-Foulkes and the average hazard ratio
    have the variance under both hypotheses; the last needs no proportional hazards.
    """

    SCHOENFELD = "Schoenfeld"
    FREEDMAN = "Freedman"
    HSIEH_FREEDMAN = "Hsieh-Freedman"
    LACHIN_FOULKES = "Lachin-Foulkes"
    AVERAGE_HAZARD_RATIO = "average hazard ratio"


@dataclass(frozen=True)
class TimeToEvent:
    """A log-rank comparison at a data cut-off.

    Attributes
    ----------
    course : EventCourse
        Lifetimes, enrolment and loss; its patients are replaced by those of the size.
    cut_day : float
        Days since the first patient could enter.
    method : SurvivalMethod
    hypothesis : Superiority, NonInferiority or SuperiorityByMargin
        A margin is a hazard ratio.
    """

    course: EventCourse
    cut_day: float
    method: SurvivalMethod = SurvivalMethod.SCHOENFELD
    hypothesis: Hypothesis = SUPERIORITY

    @property
    def null(self) -> float:
        """Hazard ratio under the null hypothesis."""
        return getattr(self.hypothesis, "margin", 1.0)


@dataclass(frozen=True)
class _PerPatient:
    """Distance from the null, standard deviations with one patient, and events."""

    distance: float
    under_null: float
    under_effect: float
    events: float


def _by_average(design: TimeToEvent, course: EventCourse, level: Level) -> _PerPatient:
    found = average_hazard_ratio(course, design.cut_day)
    _check_hazard_ratio(found.ratio, design.hypothesis, level)
    return _PerPatient(
        abs(log(found.ratio / design.null)),
        1 / sqrt(found.information_under_null),
        1 / sqrt(found.information),
        found.events,
    )


def _by_lachin_foulkes(
    design: TimeToEvent, course: EventCourse, hazard_ratio: float
) -> _PerPatient:
    """Return both variances of the log hazard ratio (Lachin and Foulkes 1986)."""
    odds = course.n_treated / course.n_control
    shared = (1 + odds * hazard_ratio) / (1 + odds * design.null)
    control = tuple(curve.times(((inf, shared),)) for curve in course.lifetimes.control)
    treated = tuple(curve.times(((inf, design.null),)) for curve in control)
    null = replace(course, lifetimes=replace(course.lifetimes, control=control, treated=treated))
    under_null = expected_events(null, design.cut_day)
    under_effect = expected_events(course, design.cut_day)
    return _PerPatient(
        abs(log(hazard_ratio / design.null)),
        sqrt(1 / under_null.treated + 1 / under_null.control),
        sqrt(1 / under_effect.treated + 1 / under_effect.control),
        under_effect.total,
    )


def _per_patient(design: TimeToEvent, treated_share: float, level: Level) -> _PerPatient:
    course = replace(design.course, n_treated=treated_share, n_control=1 - treated_share)
    if design.method is SurvivalMethod.AVERAGE_HAZARD_RATIO:
        return _by_average(design, course, level)
    hazard_ratio = course.lifetimes.constant_ratio
    if hazard_ratio is None:
        rule = f"must be one number at all times and levels for {design.method}"
        raise DesignError(Problem(rule, "Size by the average hazard ratio.", "hazard_ratio"))
    _check_hazard_ratio(hazard_ratio, design.hypothesis, level)
    if design.method is SurvivalMethod.LACHIN_FOULKES:
        return _by_lachin_foulkes(design, course, hazard_ratio)
    formula = EventsFormula(design.method.value)
    _check_formula(formula, design.hypothesis)
    events = expected_events(course, design.cut_day).total
    rule, remedy = "must see events", "Hold the last look later, or state hazards above 0."
    refuse(problem_unless(events > 0, "cut_day", design.cut_day, rule, remedy))
    mean = _effect_per_event(formula, hazard_ratio, design.null, treated_share)
    return _PerPatient(mean, 1 / sqrt(events), 1 / sqrt(events), events)


def survival_power(
    design: TimeToEvent, n_treated: float, n_control: float, level: Level = TWO_SIDED_5
) -> float:
    """Power of a log-rank test at a data cut-off, with the events expected by then.

    Raises
    ------
    DesignError
        As `survival_size`.

    References
    ----------
    As `survival_size`.
    """
    check_sizes(n_treated, n_control)
    total = n_treated + n_control
    found = _per_patient(design, n_treated / total, level)
    return level.normal_power(found.distance * sqrt(total), found.under_null, found.under_effect)


def survival_size(
    design: TimeToEvent,
    power: float = 0.8,
    level: Level = TWO_SIDED_5,
    allocation: Allocation = EQUAL,
) -> FixedSize:
    """Patients and events for a log-rank test at a data cut-off.

    Raises
    ------
    DesignError
        If the hazards do not differ, are not proportional where the method needs it, the margin is
        on the wrong side, no event is expected, the power is not above alpha, or more than 10
        million patients would be needed.

    References
    ----------
    As `events_required`; Lachin and Foulkes (1986), Biometrics 42:507-519, here on the log hazard
    ratio; Mukhopadhyay et al. (2020), Journal of Biopharmaceutical Statistics 30:1130-1146.
    """
    check_power(power, level)
    found = _per_patient(design, allocation.treated_share, level)
    total = level.normal_total(power, found.distance, found.under_null, found.under_effect)
    return rounded_size(
        total,
        allocation,
        lambda n1, n0: survival_power(design, n1, n0, level),
        survival_conventions(design, level),
        found.events,
    )


def survival_conventions(design: TimeToEvent, level: Level = TWO_SIDED_5) -> tuple[str, ...]:
    """Return in words every choice the power of a log-rank test at a cut-off depends on."""
    return (
        level.convention,
        _hypothesis_in_words(design.hypothesis),
        _METHODS_IN_WORDS[design.method],
        f"events expected by day {design.cut_day:g}",
    )


_METHODS_IN_WORDS = {
    SurvivalMethod.SCHOENFELD: "events by Schoenfeld, variance as under the null hypothesis",
    SurvivalMethod.FREEDMAN: "events by Freedman",
    SurvivalMethod.HSIEH_FREEDMAN: "events by Hsieh-Freedman",
    SurvivalMethod.LACHIN_FOULKES: "Lachin-Foulkes on the log hazard ratio; under the null "
    "hypothesis, hazards averaged over the patients of both arms",
    SurvivalMethod.AVERAGE_HAZARD_RATIO: "geometric average hazard ratio weighted by expected "
    "events; variance by expected events under each hypothesis",
}
