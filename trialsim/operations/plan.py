"""What one trial's conduct follows from, resolved: days and numbers, nothing left to look up."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from trialsim.errors import DesignError, Problem
from trialsim.protocol.cost import Cost
from trialsim.protocol.design import AllocationMethod, Arm, Protocol, Regimen
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.operations import (
    Delay,
    OperationalNature,
    Operations,
    Supply,
    WithoutKit,
)
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.scenario import Nature
from trialsim.protocol.survival import Dropout, HazardCurve
from trialsim.protocol.template import Template

__all__ = [
    "LONGEST_DAYS",
    "AllocationPlan",
    "ArmPlan",
    "ConductPlan",
    "GammaDelay",
    "LookPlan",
    "SitePlan",
    "SupplyPlan",
    "VisitPlan",
    "plan_conduct",
    "planned_sites",
]

DAYS_PER_MONTH = DAYS_PER_UNIT["mo"]
LONGEST_DAYS = 100 * DAYS_PER_UNIT["yr"]  # a trial that has not filled by then never does
ASSUMED_SITES = 10
_MOST_DOSES = 5_000
_SITE_FACTORS = ("site", "sites", "centre", "center")


@dataclass(frozen=True)
class GammaDelay:
    """A gamma distributed time with this mean (days) and coefficient of variation."""

    mean_days: float
    cv: float

    def days(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the times at these probabilities, of the same shape."""
        if self.cv == 0 or self.mean_days == 0:
            return np.full(uniforms.shape, self.mean_days)
        shape = self.cv**-2
        found = gammaincinv(shape, uniforms) * (self.mean_days / shape)
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True)
class ArmPlan:
    """The doses of one patient of an arm.

    Attributes
    ----------
    dose_days : tuple of float
        Days since randomisation; empty where the arm is untreated.
    amounts : tuple of float
        Of each dose, in `unit`; 0 where the file states none.
    """

    id: str
    dose_days: tuple[float, ...] = ()
    amounts: tuple[float, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class AllocationPlan:
    """How patients are assigned; `factors` are those beside the site, each with its shares."""

    method: AllocationMethod
    ratio: tuple[int, int]
    block_sizes: tuple[int, ...]
    arm_sizes: tuple[int, int]
    single_arm: bool = False
    by_site: bool = False
    factors: tuple[tuple[str, tuple[float, ...]], ...] = ()


@dataclass(frozen=True)
class SitePlan:
    """Sites: invited evenly over a time, opened after a delay, enrolling at a gamma rate."""

    n: int
    invited_over_days: float
    activation: GammaDelay
    failing: float
    per_day: float
    shape: float | None
    ramp_up_days: float
    pauses: tuple[tuple[float, float], ...]

    def invitation_day(self, site: int) -> float:
        """Return when a site, from 0, is invited."""
        return self.invited_over_days * site / (self.n - 1) if self.n > 1 else 0.0


@dataclass(frozen=True)
class VisitPlan:
    """A visit: its nominal day since randomisation, and how early or late it may be."""

    day: float
    window_days: float


@dataclass(frozen=True)
class LookPlan:
    """What sets off an analysis by the monitoring board: one of the four is given."""

    settled: int | None = None  # patients read out, or known to be lost
    events: int | None = None
    enrolled: int | None = None
    calendar_days: float | None = None  # since the first patient was randomised

    def __str__(self) -> str:
        if self.calendar_days is not None:
            return f"{self.calendar_days / DAYS_PER_MONTH:.3g} months after the first patient"
        if self.settled is not None:
            return f"{self.settled:,} patients read out"
        return f"{self.events:,} events" if self.events else f"{self.enrolled:,} enrolled"


@dataclass(frozen=True)
class SupplyPlan:
    """Kits: how many lie where at first, when a site orders, and what happens to them."""

    doses_per_kit: int
    at_opening: int
    reorder_at: int
    order_up_to: int
    at_start: int
    depots: int
    produced_every_days: float
    produced: int
    expires_days: float
    delayed: bool
    shipping: GammaDelay
    damaged: float


@dataclass(frozen=True)
class ConductPlan:
    """One trial's conduct.

    Attributes
    ----------
    n_patients : int
        Randomised in all; then screening ends.
    arms : (ArmPlan, ArmPlan)
        Experimental and control.
    read_out : int or None
        Which of `visits` gives the primary outcome; None for a time to an event.
    screening_failures, screening_withdrawals : float
        Shares of the patients screened.
    leaving, stopping : HazardCurve or None
        When patients leave the trial, and when they stop the drug; None for never.
    lag_days : float
        From data entry until a read-out can be analysed.
    """

    n_patients: int
    arms: tuple[ArmPlan, ArmPlan]
    allocation: AllocationPlan
    sites: SitePlan
    visits: tuple[VisitPlan, ...]
    read_out: int | None
    looks: tuple[LookPlan, ...]
    screening: GammaDelay
    screening_failures: float
    screening_withdrawals: float
    missed_doses: float
    stopping: HazardCurve | None
    discharge: GammaDelay | None
    missed_visits: float
    leaving: HazardCurve | None
    data_entry: GammaDelay
    lag_days: float
    supply: SupplyPlan | None

    @property
    def screened_per_enrolled(self) -> float:
        """How many are screened for each who is randomised."""
        return 1 / (1 - self.screening_failures - self.screening_withdrawals)

    def expected_enrolled(self, day: float) -> float:
        """Return the expected number enrolled by a day, every site opening after its mean delay.

        Exact where activation does not vary.
        """
        sites, total = self.sites, 0.0
        for site in range(sites.n):
            opened = sites.invitation_day(site) + sites.activation.mean_days
            total += _rate_days(sites, opened, day - self.screening.mean_days)
        return total * sites.per_day * (1 - sites.failing)

    def expected_days(self) -> float:
        """Return when the expected number enrolled reaches the planned one; infinity for never."""
        low, high = 0.0, 1.0
        while self.expected_enrolled(high) < self.n_patients:
            low, high = high, 2 * high
            if high > 1e9:
                return inf
        for _ in range(60):
            middle = (low + high) / 2
            short = self.expected_enrolled(middle) < self.n_patients
            low, high = (middle, high) if short else (low, middle)
        return high


def _rate_days(sites: SitePlan, opened: float, day: float) -> float:
    """Return the days at full rate to which a site's time from opening to a day amounts."""

    def ramped(end: float) -> float:
        since, ramp = max(end - opened, 0.0), sites.ramp_up_days
        return since - ramp / 2 if since >= ramp else since**2 / (2 * ramp)

    found = ramped(day)
    for after, until in sites.pauses:
        if after < day:
            found -= ramped(min(until, day)) - ramped(after)
    return found


def planned_sites(protocol: Protocol, nature: Nature, cost: Cost | None) -> tuple[int, str]:
    """Return the number of sites, and where it is stated."""
    if protocol.operations and protocol.operations.sites.planned is not None:
        return protocol.operations.sites.planned, "protocol.operations.sites.planned"
    if cost and cost.sites is not None:
        return cost.sites, "cost.sites"
    for factor in nature.factors:
        if factor.id in _SITE_FACTORS and factor.equal_levels:
            return factor.equal_levels, f"nature.factors.{factor.id}"
    return ASSUMED_SITES, "assumed"


def plan_conduct(template: Template) -> ConductPlan:
    """Resolve what a template says of the conduct of its trial; the rest are its defaults.

    Raises
    ------
    DesignError
        Where enrolment, as stated, cannot be expected to end.
    """
    protocol, nature = template.protocol, template.nature
    decided = protocol.operations or Operations()
    happens = nature.operations or OperationalNature()
    visits, read_out = _visits(protocol)
    leaving = happens.withdrawal or nature.dropout or _loss(nature)
    missed = happens.visits_missed.value
    if nature.response and not missed:
        missed = nature.response.missed_visits.value
    recruitment = happens.recruitment
    sites = SitePlan(
        planned_sites(protocol, nature, template.cost)[0],
        decided.sites.invited_over.days,
        _delay(happens.activation.takes),
        happens.activation.failing.value,
        recruitment.per_site_month.value / DAYS_PER_MONTH,
        recruitment.shape.value if recruitment.shape else None,
        recruitment.ramp_up.days if recruitment.ramp_up else 0.0,
        merged([(p.after.days, p.until.days) for p in recruitment.pauses]),
    )
    failures = nature.screening_failures.value if nature.screening_failures else 0.0
    plan = ConductPlan(
        protocol.n_total,
        (_arm(protocol.experimental, visits), _arm(protocol.control, visits)),
        _allocation(protocol, nature),
        sites,
        visits,
        read_out,
        _looks(protocol),
        _delay(happens.screening.takes),
        failures,
        happens.screening.withdrawn.value * (1 - failures),
        happens.adherence.missed.value,
        happens.adherence.stopped.curve if happens.adherence.stopped else None,
        _delay(happens.adherence.discharged) if happens.adherence.discharged else None,
        missed,
        leaving.curve if leaving else None,
        _delay(happens.data_entry),
        protocol.read_out_lag.days if protocol.read_out_lag else 0.0,
        _supply(decided.supply, happens),
    )
    _check_can_fill(plan)
    return plan


def merged(pauses: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return stretches of time without overlap, in order."""
    found: list[tuple[float, float]] = []
    for after, until in sorted(pauses):
        if found and after <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((after, until))
    return tuple(found)


def _check_can_fill(plan: ConductPlan) -> None:
    days = plan.expected_days()
    if days > LONGEST_DAYS:
        years = days / DAYS_PER_UNIT["yr"]
        time = f"{years:,.0f} years" if years < 1e6 else "for ever"
        rule = f"would take {time} to enrol {plan.n_patients:,} patients"
        remedy = (
            "Plan more sites (protocol.operations.sites.planned), or raise "
            "nature.operations.recruitment.per_site_month."
        )
        raise DesignError(Problem(rule, remedy, "enrolment", f"{plan.sites.n:,} sites"))


def _delay(delay: Delay) -> GammaDelay:
    return GammaDelay(delay.mean.days, delay.cv)


def _loss(nature: Nature) -> Dropout | None:
    rate = nature.response.loss_per_year if nature.response else None
    return Dropout(rate_per_year=rate) if rate and rate.value else None


def _visits(protocol: Protocol) -> tuple[tuple[VisitPlan, ...], int | None]:
    """Return visits in order, and which of them reads the primary outcome."""
    primary = protocol.primary
    if isinstance(primary, TimeToEventEndpoint):
        stated = {
            v.at.days_after_entry(protocol.therapy): v.window.days if v.window else 0.0
            for v in protocol.visits
        }
        return tuple(VisitPlan(*pair) for pair in sorted(stated.items())), None
    found = dict(protocol.visit_days)
    day = primary.read_out.days_after_entry(protocol.therapy)
    found.setdefault(day, 0.0)
    visits = tuple(VisitPlan(*pair) for pair in sorted(found.items()))
    return visits, [visit.day for visit in visits].index(day)


def _arm(arm: Arm, visits: tuple[VisitPlan, ...]) -> ArmPlan:
    if arm.regimen is None:
        return ArmPlan(arm.id)
    days: list[float] = []
    amounts: list[float] = []
    start, unit = 0.0, ""
    for phase in arm.regimen.phases:
        length = _length(phase, start, visits)
        every = phase.every.days if phase.every else inf
        n = max(1, ceil(length / every - 1e-9)) if every < inf else 1
        if n + len(days) > _MOST_DOSES:
            rule = f"gives more than {_MOST_DOSES:,} doses to one patient"
            raise DesignError(Problem(rule, "Give them less often.", f"protocol.arms.{arm.id}"))
        days += [start + k * every for k in range(n)] if n > 1 else [start]
        amounts += [phase.dose.amount if phase.dose else 0.0] * n
        unit = phase.dose.unit if phase.dose else unit
        start += length
    return ArmPlan(arm.id, tuple(days), tuple(amounts), unit)


def _length(phase: Regimen, start: float, visits: tuple[VisitPlan, ...]) -> float:
    if phase.lasting:
        return phase.lasting.days
    return max(0.0, visits[-1].day - start) if visits and phase.every else 0.0


def _allocation(protocol: Protocol, nature: Nature) -> AllocationPlan:
    by_site, factors = False, []
    for factor in nature.factors:
        if factor.id not in protocol.allocation.stratify_by:
            continue
        if factor.id in _SITE_FACTORS:
            by_site = True
        else:
            factors.append((factor.id, factor.shares))
    return AllocationPlan(
        protocol.allocation_method,
        protocol.ratio if not protocol.is_single_arm else (1, 0),
        () if protocol.is_single_arm else protocol.block_sizes,
        protocol.arm_sizes,
        protocol.is_single_arm,
        by_site,
        tuple(factors),
    )


def _looks(protocol: Protocol) -> tuple[LookPlan, ...]:
    """Return every look; one at the end where the file has none."""
    if not protocol.looks:
        return (LookPlan(settled=protocol.n_total),)
    last = max((look.at.events or 0 for look in protocol.looks), default=0)
    return tuple(
        LookPlan(
            settled=None
            if look.at.information is None or last
            else max(1, round(look.at.information * protocol.n_total)),
            events=max(1, round(look.at.information * last))
            if look.at.information is not None and last
            else look.at.events,
            enrolled=look.at.enrolled,
            calendar_days=look.at.calendar.days if look.at.calendar else None,
        )
        for look in protocol.looks
    )


def _supply(supply: Supply | None, happens: OperationalNature) -> SupplyPlan | None:
    if supply is None:
        return None
    made = supply.produced
    return SupplyPlan(
        supply.doses_per_kit,
        supply.kits_at_opening,
        supply.reorder_at,
        supply.order_up_to,
        supply.kits_at_start,
        supply.depots,
        made.every.days if made else inf,
        made.kits if made else 0,
        supply.expires.days if supply.expires else inf,
        supply.without_kit is WithoutKit.DELAY,
        _delay(happens.shipping.takes),
        happens.shipping.damaged.value,
    )
