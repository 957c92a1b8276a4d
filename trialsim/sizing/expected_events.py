"""Events expected over calendar time, and the average hazard ratio, by quadrature.

Pieces are the stretches between changes of either arm's hazard; quadrature panels end there, and
where enrolment or loss change, so that every integrand is smooth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.hazards import Hazard, survival_on
from trialsim.protocol.survival import Enrolment, EventCourse, HazardCurve
from trialsim.sizing.fixed import problem_unless, refuse

__all__ = [
    "ArmEvents",
    "AverageHazardRatio",
    "average_hazard_ratio",
    "day_of_events",
    "events_over_time",
    "expected_events",
]

Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_FRACTIONS = np.array([0.0, *2.0 ** np.arange(-40, 1)])  # panels that double: scale-free
_HUNDRED_YEARS = 36_525.0  # days


class ArmEvents(NamedTuple):
    """Events expected in each arm."""

    treated: float
    control: float

    @property
    def total(self) -> float:
        """Events in both arms."""
        return self.treated + self.control


class AverageHazardRatio(NamedTuple):
    """Average effect at a data cut-off, and what a trial says about it.

    Attributes
    ----------
    ratio : float
        Treated to control.
    events : float
    information, information_under_null : float
        Inverse variances of the log hazard ratio.
    """

    ratio: float
    events: float
    information: float
    information_under_null: float


def _entered(enrolment: Enrolment, days: Floats) -> Floats:
    """Return the share of patients who have entered by each day."""
    if enrolment.given:
        entries = [duration.days for duration in enrolment.given]
        return np.asarray(np.searchsorted(entries, days, side="right") / len(entries))
    ends, shares = ((enrolment.even.days,), (1.0,)) if enrolment.even else enrolment.pieces
    return np.asarray(np.interp(days, (0.0, *ends), np.concatenate([[0.0], np.cumsum(shares)])))


def _entry_changes(enrolment: Enrolment) -> tuple[float, ...]:
    if enrolment.given:
        return tuple(duration.days for duration in enrolment.given)
    return (0.0, enrolment.even.days) if enrolment.even else (0.0, *enrolment.pieces[0])


def _hazard(curve: HazardCurve, days: Floats) -> Floats:
    """Return the hazard per day."""
    rate = np.asarray(curve.rates)[np.searchsorted(curve.breaks, days, side="right")]
    survival = survival_on(days, Hazard(*curve))
    slope = curve.shape * days ** (curve.shape - 1)
    return np.asarray(rate * slope * (survival - curve.cured) / survival)


def _follow(
    course: EventCourse, curve: HazardCurve, changes: set[float], cut_day: float
) -> tuple[Floats, Floats]:
    """Return days of follow-up and the events per patient expected on each, at quadrature nodes."""
    until = min(cut_day, course.most_days)
    loss = course.lifetimes.loss
    breaks = {*changes, *(loss.breaks if loss else ()), until}
    breaks |= {cut_day - entry for entry in _entry_changes(course.enrolment)}
    ends = np.array([0.0, *sorted(day for day in breaks if 0 < day <= until)]) ** curve.shape
    edges = np.unique(ends[:-1] + np.outer(_FRACTIONS, np.diff(ends)))
    half = np.diff(edges)[:, None] / 2
    clock = (edges[:-1, None] + half * (1 + _NODES)).ravel()
    days = clock ** (1 / curve.shape)
    rate = np.asarray(curve.rates)[np.searchsorted(curve.breaks, days, side="right")]
    mass = (half * _WEIGHTS).ravel() * rate * (survival_on(days, Hazard(*curve)) - curve.cured)
    if loss:
        mass = mass * survival_on(days, Hazard(*loss))
    return days, mass * _entered(course.enrolment, cut_day - days)


class _Piece(NamedTuple):
    """Events and log hazard ratios of one level between two changes of a hazard."""

    events: ArmEvents
    log_ratio: float  # averaged over the events of both arms


def _pieces(course: EventCourse, cut_day: float) -> Iterator[_Piece]:
    lifetimes = course.lifetimes
    for share, control, treated in zip(
        lifetimes.shares, lifetimes.control, lifetimes.treated, strict=True
    ):
        changes = {*control.breaks, *treated.breaks}
        days_1, mass_1 = _follow(course, treated, changes, cut_day)
        days_0, mass_0 = _follow(course, control, changes, cut_day)
        days = np.concatenate([days_1, days_0])
        mass = np.concatenate([mass_1 * course.n_treated, mass_0 * course.n_control]) * share
        arm = np.repeat([True, False], [len(days_1), len(days_0)])
        with np.errstate(divide="ignore", invalid="ignore"):
            log_ratio = np.log(_hazard(treated, days) / _hazard(control, days))
        for start, end in pairwise([0.0, *sorted(changes), inf]):
            inside = (days > start) & (days <= end) & (mass > 0)
            events = ArmEvents(*(float(mass[inside & of].sum()) for of in (arm, ~arm)))
            if events.total > 0:
                average = float((mass[inside] * log_ratio[inside]).sum()) / events.total
                yield _Piece(events, average)


def _check_course(course: EventCourse, cut_day: float) -> None:
    rule, remedy = "must be above 0 and finite", "Write the day of the data cut-off."
    refuse(
        problem_unless(0 < cut_day < inf, "cut_day", cut_day, rule, remedy),
        problem_unless(
            course.n_treated > 0 and course.n_control > 0,
            "patients",
            f"{course.n_treated:g} and {course.n_control:g}",
            "must be above 0 in both arms",
            "Any numbers in the ratio of the arms do.",
        ),
    )


def expected_events(course: EventCourse, cut_day: float) -> ArmEvents:
    """Events expected in each arm by a day of the trial, by quadrature.

    Exact to rounding for constant hazards; `EventCourse.by` is coarser, and needs no numpy.

    Parameters
    ----------
    course : EventCourse
        Lifetimes, enrolment, loss, patients per arm.
    cut_day : float
        Days since the first patient could enter.

    Raises
    ------
    DesignError
        If the day is not above 0, or an arm is empty.

    References
    ----------
    Lachin and Foulkes (1986), Biometrics 42:507-519, for constant hazards.
    """
    _check_course(course, cut_day)
    pieces = [piece.events for piece in _pieces(course, cut_day)]
    return ArmEvents(sum(e.treated for e in pieces), sum(e.control for e in pieces))


def average_hazard_ratio(course: EventCourse, cut_day: float) -> AverageHazardRatio:
    """Average hazard ratio at a data cut-off: geometric, weighted by expected events.

    Information on the log hazard ratio is ``1 / (1 / events treated + 1 / events control)``, added
    up over pieces between changes of a hazard, and levels; under the null hypothesis the same
    events are split as patients are.

    Raises
    ------
    DesignError
        As `expected_events`; if a cut-off sees no event, or an arm cannot have any.

    References
    ----------
    Mukhopadhyay et al. (2020), Journal of Biopharmaceutical Statistics 30:1130-1146.
    """
    _check_course(course, cut_day)
    pieces = list(_pieces(course, cut_day))
    seen = bool(pieces) and all(min(piece.events) > 0 for piece in pieces)
    rule = "must see events of both arms wherever a hazard changes"
    refuse(problem_unless(seen, "cut_day", cut_day, rule, "Cut later, or give hazards above 0."))
    share = course.n_treated / (course.n_treated + course.n_control)
    information = [1 / (1 / piece.events.treated + 1 / piece.events.control) for piece in pieces]
    total = sum(piece.events.total for piece in pieces)
    log_ratio = sum(piece.events.total * piece.log_ratio for piece in pieces) / total
    return AverageHazardRatio(exp(log_ratio), total, sum(information), total * share * (1 - share))


def events_over_time(course: EventCourse, days: Sequence[float]) -> tuple[ArmEvents, ...]:
    """Events expected in each arm by several days of the trial."""
    return tuple(expected_events(course, day) for day in days)


def day_of_events(course: EventCourse, events: float) -> float:
    """Day of the trial by which so many events are expected, to a millionth of a day.

    Raises
    ------
    DesignError
        If so many are not expected within a hundred years.
    """
    low, high = 0.0, _HUNDRED_YEARS
    ever = expected_events(course, high).total
    rule = f"must be above 0 and fewer than the {ever:.1f} ever expected"
    refuse(
        problem_unless(0 < events < ever, "events", events, rule, "Enrol more or ask for fewer.")
    )
    while high - low > 1e-6:
        middle = (low + high) / 2
        reached = expected_events(course, middle).total >= events
        low, high = (low, middle) if reached else (middle, high)
    return high
