"""What a published trial says of a time to an event: a hazard ratio, counts by a time or medians.

Pure Python, so that ``check`` can say without numpy what a record lacks. Nothing is made up where a
report is silent: a trial whose length of follow-up is not recorded is followed until it has its
events, and where these are not recorded either, as the protocol follows its own patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, inf, log

from trialsim.protocol.endpoints import (
    AnySummary,
    PublishedSummary,
    Summary,
    SurvivalSummary,
)
from trialsim.protocol.published.evidence import (
    ArmResult,
    EffectEstimate,
    EffectMeasure,
    EvidenceRecord,
    Status,
    Trial,
    TrialResult,
)
from trialsim.protocol.quantities import DAYS_PER_UNIT, Duration, Rate, Ratio
from trialsim.protocol.survival import (
    AnyLifetime,
    HazardCurve,
    HazardPiece,
    Lifetime,
    Lifetimes,
    LifetimesByLevel,
    SurvivalScenario,
    Survives,
)

__all__ = [
    "ObservedMeasure",
    "PublishedLifetimes",
    "SilentReportError",
    "at_own_control_arm",
    "median_of",
    "published_lifetimes",
    "status_of_lifetime",
    "survival_as_seen",
]

_Z95 = 1.959963984540054
_SAME_DAY = 0.5
_ROUNDED = 1e-3  # relative
_MOST = 1e6  # by which hazards may be multiplied or divided


class ObservedMeasure(StrEnum):
    """By what a published trial is held against simulated ones."""

    ODDS_RATIO = "odds ratio"
    RISK_RATIO = "risk ratio"
    RISK_DIFFERENCE = "risk difference"
    HAZARD_RATIO = "hazard ratio"
    MEDIAN_RATIO = "ratio of medians"

    @property
    def summary(self) -> AnySummary:
        """The summary it is."""
        if self is ObservedMeasure.HAZARD_RATIO:
            return SurvivalSummary.HAZARD_RATIO
        if self is ObservedMeasure.MEDIAN_RATIO:
            return PublishedSummary.MEDIAN_RATIO
        return Summary(self.value)


class SilentReportError(ValueError):
    """A result does not give what a comparison needs; the message says what."""


@dataclass(frozen=True)
class PublishedLifetimes:
    """A published comparison of two arms on a time to an event.

    Attributes
    ----------
    measure : AnySummary
    n_treated, n_control : int
    estimate : float or None
        On the analysis scale: ratios as logarithms; None for counts, from which it follows.
    lower, upper : float or None
        Of a published hazard ratio, as it was published; None for others.
    day : float or None
        Up to which every patient was followed, days since entry; None where not recorded.
    events : int or None
        In both arms; None where not recorded.
    control : tuple of (day, share without the event) or None
        Of the trial's own control arm.
    """

    measure: AnySummary
    n_treated: int
    n_control: int
    estimate: float | None
    lower: float | None
    upper: float | None
    day: float | None
    events: int | None
    control: tuple[float, float] | None


def published_lifetimes(
    record: Trial,
    identifier: str,
    measure: ObservedMeasure | None = None,
    therapy: Duration | None = None,
) -> PublishedLifetimes:
    """Return what a trial's result says of a time to an event.

    Parameters
    ----------
    record : Trial
    identifier : str
        Of the result.
    measure : ObservedMeasure or None
        The first it has of: hazard ratio, risk difference (events and patients in both arms by a
        time), ratio of medians; for None.
    therapy : Duration or None
        The protocol's length of therapy, for times that count from its end.

    Raises
    ------
    SilentReportError
        Where the result is not there or does not give it.
    """
    result = record.result(identifier)
    if result is None:
        raise SilentReportError(f"has no result '{identifier}'")
    given = measure or _first_given(result)
    if given is None:
        needed = "a hazard ratio, events by a time or medians in both arms"
        raise SilentReportError(f"gives neither {needed} for '{identifier}'")
    treated, control = result.experimental, result.control
    if treated is None or control is None or treated.n is None or control.n is None:
        raise SilentReportError(f"does not give patients in both arms for '{identifier}'")
    day = result.at.days_after_entry(therapy) if result.at else None
    known = treated.events is not None and control.events is not None
    blank = PublishedLifetimes(
        given.summary,
        treated.n,
        control.n,
        None,
        None,
        None,
        day,
        (treated.events or 0) + (control.events or 0) if known else None,
        _point(control, day),
    )
    if given is ObservedMeasure.HAZARD_RATIO:
        return _with_ratio(blank, _hazard_ratio(result), identifier)
    if given is ObservedMeasure.MEDIAN_RATIO:
        medians = [_median(arm, result.unit) for arm in (treated, control)]
        if medians[0] is None or medians[1] is None:
            raise SilentReportError(f"does not give medians in both arms for '{identifier}'")
        return replace(
            blank, estimate=log(medians[0] / medians[1]), control=(medians[1], 0.5), events=None
        )
    if not known:
        raise SilentReportError(f"does not give events in both arms for '{identifier}'")
    if day is None:
        raise SilentReportError(f"does not say by when the events of '{identifier}' are counted")
    return blank


def _first_given(result: TrialResult) -> ObservedMeasure | None:
    arms = [arm for arm in (result.experimental, result.control) if arm]
    if _hazard_ratio(result):
        return ObservedMeasure.HAZARD_RATIO
    if len(arms) == 2 and all(arm.events is not None for arm in arms) and result.at:
        return ObservedMeasure.RISK_DIFFERENCE
    if len(arms) == 2 and all(_median(arm, result.unit) for arm in arms):
        return ObservedMeasure.MEDIAN_RATIO
    return None


def _hazard_ratio(result: TrialResult) -> EffectEstimate | None:
    found = (e for e in result.effects if e.measure is EffectMeasure.HAZARD_RATIO)
    return next(found, None)


def _with_ratio(
    blank: PublishedLifetimes, effect: EffectEstimate | None, identifier: str
) -> PublishedLifetimes:
    if effect is None:
        raise SilentReportError(f"gives no hazard ratio for '{identifier}'")
    low, high = (log(end) for end in effect.ci) if effect.ci and effect.ci[0] > 0 else (None, None)
    return replace(blank, estimate=log(effect.value), lower=low, upper=high)


def _point(arm: ArmResult | None, day: float | None) -> tuple[float, float] | None:
    risk = arm.risk if arm else None
    return (day, 1 - risk) if day and risk is not None and 0 < risk < 1 else None


def _median(arm: ArmResult, unit: str | None) -> float | None:
    """Return an arm's median in days, where its value is a time."""
    if unit not in DAYS_PER_UNIT or arm.value is None or arm.value <= 0:
        return None
    return arm.value * DAYS_PER_UNIT[unit]


def status_of_lifetime(lifetime: Lifetime, record: EvidenceRecord) -> Status | None:
    """Return the status of the number of a record that a lifetime cites; None if it has none.

    A median is an arm's value, or another number of the record, in a unit of time; a share that
    survives is one less an arm's risk by that time, or the risk of being free of the event.
    """
    found: list[tuple[float, Status]] = []
    arms = [
        (result, arm)
        for result in (record.results if isinstance(record, Trial) else ())
        for arm in (result.experimental, result.control)
        if arm
    ]
    if lifetime.median is not None:
        wanted = lifetime.median.days
        found += [(m, arm.status) for r, arm in arms if (m := _median(arm, r.unit))]
        numbers = ((q, DAYS_PER_UNIT.get(q.unit)) for q in record.quantities)
        found += [(q.value * days, q.status) for q, days in numbers if days and q.value]
    elif lifetime.survives is not None:
        wanted, day = lifetime.survives.share, lifetime.survives.at.days
        for result, arm in arms:
            by_then = result.at and abs(result.at.days_after_entry(None) - day) < _SAME_DAY
            if by_then and arm.risk is not None:
                found += [(arm.risk, arm.status), (1 - arm.risk, arm.status)]
    else:
        return None
    near = (status for value, status in found if abs(value - wanted) <= _ROUNDED * wanted)
    return next(near, None)


def at_own_control_arm(lifetimes: Lifetimes, point: tuple[float, float]) -> Lifetimes:
    """Multiply the hazards of both arms so that the control arm has a share left on a day.

    Hazard ratios, and how hazards change over time, stay as they are.

    Raises
    ------
    ValueError
        Where no multiple reaches it.
    """
    factor = _factor(lifetimes.control, lifetimes.shares, point)
    return replace(
        lifetimes,
        control=_times(lifetimes.control, factor),
        treated=_times(lifetimes.treated, factor),
    )


def survival_as_seen(
    record: Trial, identifier: str, seen: PublishedLifetimes, own: AnyLifetime | None
) -> SurvivalScenario:
    """Return both arms as a trial saw them: from its counts, its medians or its hazard ratio.

    The control arm keeps the shape of `own`, nature's (constant hazards without it), and is
    multiplied until it is the trial's; the other is at the hazard ratio with which it is the
    trial's.

    Raises
    ------
    SilentReportError, ValueError
        Where lifetimes differ by level, there is no control arm, or no multiple reaches it.
    """
    if isinstance(own, LifetimesByLevel):
        raise SilentReportError("cannot be seen by the levels that nature.survival differs by")
    result = record.result(identifier)
    assert result is not None  # or it would not have been seen
    treated = _point(result.experimental, seen.day)
    if seen.measure is PublishedSummary.MEDIAN_RATIO and seen.control and seen.estimate is not None:
        treated = (seen.control[0] * exp(seen.estimate), 0.5)
    if seen.control is None and own is None:
        raise SilentReportError("does not give the control arm, and nature.survival states none")
    control = _reaching(own, seen.control) if seen.control else None
    arm = control or own
    assert arm is not None
    if seen.control and treated:
        ratio = _factor((arm.curve,), (1.0,), treated)
    elif seen.estimate is not None and seen.measure is SurvivalSummary.HAZARD_RATIO:
        ratio = exp(seen.estimate)
    else:
        raise SilentReportError("had the event in none or all of an arm, which no hazard gives")
    return SurvivalScenario(control=control, hazard_ratio=Ratio(value=ratio, source=record.id))


def _reaching(own: Lifetime | None, point: tuple[float, float]) -> Lifetime:
    """Return a lifetime of the same shape that leaves a share on a day."""
    day, share = point
    if own is None or not own.pieces:
        cured, shape = (own.cure_fraction, own.shape) if own else (0.0, None)
        if share <= cured:
            raise ValueError(f"leaves {share:.3g} without the event, fewer than are cured")
        left = Survives(share=share, at=Duration(day, "d"))
        return Lifetime(survives=left, shape=shape, cure_fraction=cured)
    factor = _factor((own.curve,), (1.0,), point)
    pieces = tuple(
        HazardPiece(
            until=piece.until,
            hazard_per_year=Rate(value=piece.hazard_per_year.value * factor),
        )
        for piece in own.pieces
    )
    return Lifetime(pieces=pieces, cure_fraction=own.cure_fraction)


def _factor(
    curves: tuple[HazardCurve, ...], shares: tuple[float, ...], point: tuple[float, float]
) -> float:
    """Return by what hazards have to be multiplied to leave a share on a day."""
    day, share = point

    def left(factor: float) -> float:
        return _left(_times(curves, factor), shares, day)

    low, high = 1 / _MOST, _MOST
    if not left(high) < share < left(low):
        raise ValueError(
            f"leaves {share:.3g} without the event on day {day:.0f}, which no multiple of the "
            "hazards does"
        )
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if left(middle) > share else (low, middle)
    return float((low * high) ** 0.5)


def _times(curves: tuple[HazardCurve, ...], factor: float) -> tuple[HazardCurve, ...]:
    return tuple(curve.times(((inf, factor),)) for curve in curves)


def _left(curves: tuple[HazardCurve, ...], shares: tuple[float, ...], day: float) -> float:
    return sum(s * curve.survival(day) for s, curve in zip(shares, curves, strict=True))


def median_of(curves: tuple[HazardCurve, ...], shares: tuple[float, ...]) -> float:
    """Return the day on which half of all patients have had the event; infinity for never."""
    ends = [curve.quantile(0.5) for curve in curves]
    low, high = min(ends), max(ends)
    if low == high:
        return low
    if high == inf:
        high = max(low, 1.0)
        while _left(curves, shares, high) > 0.5:
            high *= 2
            if high > _MOST * max(low, 1.0):
                return inf
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _left(curves, shares, middle) > 0.5 else (low, middle)
    return high
