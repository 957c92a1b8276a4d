"""What one trial's conduct follows from, resolved: days and numbers, nothing left to look up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf

from trialsim.errors import DesignError, Problem, counted
from trialsim.kernels.recruitment import GammaDelay
from trialsim.protocol.design import AllocationMethod, Arm, Protocol, Regimen
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.operations import (
    Delay,
    OperationalNature,
    Operations,
    Supply,
    WhileWaiting,
    WithoutKit,
)
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.scenario import Nature
from trialsim.protocol.survival import HazardCurve
from trialsim.protocol.template import Template
from trialsim.protocol.truths.site_enrolment import SITE_FACTORS, SiteEnrolment, sites_of

__all__ = [
    "LONGEST_DAYS",
    "AllocationPlan",
    "ArmPlan",
    "ConductPlan",
    "LookPlan",
    "SupplyPlan",
    "VisitPlan",
    "numbers_at_milestones",
    "plan_conduct",
]

DAYS_PER_MONTH = DAYS_PER_UNIT["mo"]
LONGEST_DAYS = 100 * DAYS_PER_UNIT["yr"]  # a trial that has not filled by then never does
_MOST_DOSES = 5_000


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
class VisitPlan:
    """A visit: its nominal day since randomisation, and how early or late it may be."""

    day: float
    window_days: float


@dataclass(frozen=True)
class LookPlan:
    """What sets off an analysis by the monitoring board: one of the five is given."""

    first: int | None = None  # those randomised first, all of them read out or known to be lost
    settled: int | None = None  # patients read out, or known to be lost
    events: int | None = None
    enrolled: int | None = None
    calendar_days: float | None = None  # since the first patient was randomised

    def __str__(self) -> str:
        if self.calendar_days is not None:
            return f"{self.calendar_days / DAYS_PER_MONTH:.3g} months after the first patient"
        if self.first is not None:
            return f"the first {counted(self.first, 'patient')} read out"
        if self.settled is not None:
            return f"{counted(self.settled, 'patient')} read out"
        return counted(self.events, "event") if self.events else f"{self.enrolled:,} enrolled"


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
    deliberation_days : float
        From an interim look to the board's decision.
    followed_days : float
        Most follow-up of a patient, for a time to an event.
    pauses : bool
        Whether nobody is screened from the last patient of stage 1 to the decision on it.
    """

    n_patients: int
    arms: tuple[ArmPlan, ArmPlan]
    allocation: AllocationPlan
    sites: SiteEnrolment
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
    deliberation_days: float = 0.0
    followed_days: float = LONGEST_DAYS
    pauses: bool = False


def numbers_at_milestones(n_patients: int) -> tuple[int, ...]:
    """Return which patient is the first, and with whom each quarter is enrolled."""
    return (1, *(ceil(n_patients * quarter / 4) for quarter in (1, 2, 3, 4)))


def plan_conduct(template: Template, per_day: float | None = None) -> ConductPlan:
    """Resolve what a template says of the conduct of its trial; the rest are its defaults.

    Parameters
    ----------
    template : Template
    per_day : float, optional
        Patients per open site and day, instead of what the template says.

    Raises
    ------
    DesignError
        Where enrolment, as stated, cannot be expected to end.
    """
    protocol, nature = template.protocol, template.nature
    decided = protocol.operations or Operations()
    happens = nature.operations or OperationalNature()
    visits, read_out = _visits(protocol)
    leaving = nature.loss_to_follow_up
    sites = sites_of(template)
    if per_day is not None:
        sites = replace(sites, per_day=per_day)
    failures = nature.screening_failures.value if nature.screening_failures else 0.0
    followed = getattr(protocol.primary, "followed_for", None)
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
        nature.visits_missed.value,
        leaving.curve if leaving else None,
        _delay(happens.data_entry),
        protocol.read_out_lag.days if protocol.read_out_lag else 0.0,
        _supply(decided.supply, happens),
        decided.board.deliberates.days,
        followed.days if followed else LONGEST_DAYS,
        decided.board.between_stages is WhileWaiting.PAUSES,
    )
    _check_can_fill(plan)
    return plan


def _check_can_fill(plan: ConductPlan) -> None:
    days = plan.sites.expected_day(plan.n_patients)
    if days > LONGEST_DAYS:
        years = days / DAYS_PER_UNIT["yr"]
        time = f"{years:,.0f} years" if days < inf else "for ever"
        rule = f"would take {time} to enrol {counted(plan.n_patients, 'patient')}"
        remedy = (
            "Plan more sites (protocol.operations.sites.planned), or raise "
            "nature.operations.recruitment.per_site_month."
        )
        raise DesignError(Problem(rule, remedy, "enrolment", counted(plan.sites.n_sites, "site")))


def _delay(delay: Delay) -> GammaDelay:
    return GammaDelay(delay.mean.days, float(delay.cv))


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
        if factor.id in SITE_FACTORS:
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
    """Return every look: after either of two stages; one at the end where the file has none."""
    if protocol.two_stage:
        return LookPlan(first=protocol.two_stage.first), LookPlan(first=protocol.n_total)
    if not protocol.looks:
        return (LookPlan(settled=protocol.n_total),)
    timed = isinstance(protocol.primary, TimeToEventEndpoint)
    last = protocol.looks[-1].at.events or 0  # of times to an event, required for shares by a rule

    def share(information: float, of: int) -> int:
        return max(1, ceil(information * of - 1e-9))

    return tuple(
        LookPlan(
            settled=None
            if look.at.information is None or timed
            else share(look.at.information, protocol.n_total),
            events=share(look.at.information, last)
            if look.at.information is not None and timed
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
