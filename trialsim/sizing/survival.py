"""What a time-to-event design estimates, and when its looks come, by numerical integration."""

from __future__ import annotations

from math import inf, log

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trialsim.kernels.hazards import Hazard, survival_on
from trialsim.protocol.design import Trigger
from trialsim.protocol.survival import EventCourse

__all__ = ["expected_day", "limiting_log_hazard_ratio", "restricted_mean_difference"]

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
