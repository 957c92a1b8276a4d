"""The test of one scenario with some looks and a ratio: power and endings of any size.

`TestedRisks` where information is patients read out; `TestedTimes` where it is events, whose time
depends on how fast patients enter, and so on the sites.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, floor
from typing import NamedTuple

from trialsim.errors import DesignError, RequestError, TrialsimError
from trialsim.protocol.design import MAX_PATIENTS, Allocation, Look, SampleSize, Trigger
from trialsim.protocol.optimisation import LookPlan, RatioOfArms
from trialsim.protocol.quantities import Duration
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate, event_course
from trialsim.sizing.sequential import Efficacy, bounds_from_words, spending_from_words
from trialsim.sizing.survival import expected_day
from trialsim.studies.operations.calendar import Calendar
from trialsim.studies.size.kind import SizedKind, whole_units
from trialsim.studies.size.question import SizeQuestion

__all__ = ["Ending", "Tested", "TestedRisks", "TestedTimes", "efficacy_of", "looks_at"]


class Ending(NamedTuple):
    """Where a trial may end: how often, how many have entered, on which day, after which look."""

    share: float
    patients: float
    day: float
    looks: int


def efficacy_of(looks: LookPlan) -> Efficacy:
    """Return the rule of the bounds of several looks (RequestError for none)."""
    name = looks.rule.partition(":")[0]
    read = bounds_from_words if name in ("obf", "pocock", "wt") else spending_from_words
    try:
        return read(looks.rule)
    except TrialsimError as error:
        problems = [replace(own, field="looks", value=str(looks)) for own in error.problems]
        raise RequestError(problems) from None


@dataclass(frozen=True)
class Tested(ABC):
    """How a design does under one scenario.

    Attributes
    ----------
    calendar : Calendar
    read_out_days : float
        From entry to the decision, where everyone is read at a time.
    gain : float
        Above 0 where the scenario favours treatment, below 0 for harm, 0 for neither.
    """

    calendar: Calendar
    read_out_days: float
    gain: float

    @property
    @abstractmethod
    def kind(self) -> SizedKind:
        """How the primary endpoint is sized; of any size, for what does not depend on it."""

    @abstractmethod
    def power(self, n: int, sites: int) -> float:
        """Return the chance to find the scenario's effect; without one, the type I error."""

    @abstractmethod
    def endings(self, n: int, sites: int) -> list[Ending]:
        """Return where trials of a size end, the planned end last; shares add up to 1."""

    @property
    def is_null(self) -> bool:
        """Whether neither arm is better."""
        return self.gain == 0

    @property
    def share_in_worse_arm(self) -> float:
        """Share of patients in the arm that is worse if the scenario is true; 0 for neither."""
        if self.is_null:
            return 0.0
        treated = self.kind.question.allocation.treated_share
        return 1 - treated if self.gain > 0 else treated

    def _without_formula(self) -> float | None:
        level = self.kind.question.level
        if self.is_null:
            return level.alpha
        # a one-sided test does not look for harm
        return 0.0 if level.sides == 1 and self.gain < 0 else None

    @abstractmethod
    def smallest(self, power: float) -> int | None:
        """Return the fewest patients with a power, in whole units; None where no number has it."""


@dataclass(frozen=True)
class TestedRisks(Tested):
    """Information is patients read out: power does not depend on the calendar."""

    own: SizedKind
    exact: bool
    _powers: dict[int, float] = field(default_factory=dict, hash=False, compare=False)
    _stops: dict[int, list[tuple[float, float]]] = field(
        default_factory=dict, hash=False, compare=False
    )

    @property
    def kind(self) -> SizedKind:
        """How the primary endpoint is sized."""
        return self.own

    def power(self, n: int, sites: int = 0) -> float:
        """Return the chance to find the scenario's effect, by formula or enumeration."""
        del sites
        if n not in self._powers:
            self._powers[n] = self._power(n)
        return self._powers[n]

    def _power(self, n: int) -> float:
        if (known := self._without_formula()) is not None:
            return known
        if self.exact:
            found = self.own.enumerated_power(n)
            assert found is not None  # asked for
            return found
        return self.own.test.power(n * (1 - self.own.lost_by_nature))

    def smallest(self, power: float) -> int | None:
        """Return the fewest patients with a power, in whole units of allocation."""
        if self._without_formula() is not None:
            return None
        unit = self.own.question.allocation.unit
        try:
            wanted = self.own.test.total(power) / (1 - self.own.lost_by_nature)
        except DesignError:
            return None
        n = whole_units(wanted, unit)
        if not self.exact or n > MAX_PATIENTS:
            return n
        n = max(2 * unit, whole_units(0.97 * n, unit))
        while self.power(n) < power:
            n += unit
        return n

    def endings(self, n: int, sites: int) -> list[Ending]:
        """Return where trials of a size end."""
        found, left = [], 1.0
        for number, (fraction, share) in enumerate(self._chances(n), start=1):
            read = max(1, ceil(n * fraction - 1e-9))
            day = self.calendar.day_of(read, n, sites) + self.read_out_days
            entered = self.calendar.entered(day, n, sites)
            found.append(Ending(share, entered, day, number))
            left -= share
        end = self.calendar.last_day(n, sites) + self.read_out_days
        return [*found, Ending(left, float(n), end, len(found) + 1)]

    def _chances(self, n: int) -> list[tuple[float, float]]:
        """Return information and chance to stop at every look but the last."""
        looks = self.own.question.looks
        if looks is None:
            return []
        if n not in self._stops:
            drift = 0.0 if self.is_null else looks.drift_for(self.power(n))
            found = looks.stop_probabilities(drift)
            chances = (found.upper + found.lower).tolist()
            self._stops[n] = list(zip(looks.information[:-1], chances[:-1], strict=True))
        return self._stops[n]


# -- times to an event -----------------------------------------------------------------------------


def looks_at(
    resolved: ResolvedTemplate,
    looks: LookPlan,
    calendar: Calendar,
    n: int,
    sites: int,
) -> tuple[Look, ...]:
    """Return the file's own looks for another size: as many events per patient, as much follow-up.

    Of several looks that are asked for, the last alone: what is before it are shares of its events.
    """
    protocol = resolved.template.protocol
    times, later = n / protocol.n_total, _later(calendar, n, sites)
    found = tuple(
        look.model_copy(update={"at": _trigger(look.at, times, later)}) for look in protocol.looks
    )
    if looks.number == 0:
        return found
    return (Look(at=found[-1].at),)


def _later(calendar: Calendar, n: int, sites: int) -> float:
    """Return by how many days the last patient enters later than in the file's own trial."""
    own = calendar.last_day(calendar.template.protocol.n_total, calendar.sites[0])
    return calendar.last_day(n, sites) - own


def _trigger(at: Trigger, times: float, later: float) -> Trigger:
    if at.events is not None:
        return Trigger(events=max(1, ceil(at.events * times - 1e-9)))
    if at.enrolled is not None:
        return Trigger(enrolled=max(1, ceil(at.enrolled * times - 1e-9)))
    if at.calendar is not None:
        if not later:
            return at
        days = floor(10 * max(1.0, at.calendar.days + later)) / 10  # never after the last read-out
        return Trigger(calendar=Duration(days, "d"))
    return at


@dataclass(frozen=True)
class _AtSize:
    """One size at some sites: the test, its last day, and how its events come."""

    kind: SizedKind
    power: float
    events: float
    cut_day: float


@dataclass(frozen=True)
class TestedTimes(Tested):
    """Information is events: each size at each number of sites has a calendar of its own."""

    resolved: ResolvedTemplate
    scenario: Scenario
    looks: LookPlan
    ratio: RatioOfArms
    asked: SizeQuestion
    kind_of_question: type[SizedKind]
    _sizes: dict[tuple[int, int], _AtSize] = field(default_factory=dict, hash=False, compare=False)

    @cached_property
    def kind(self) -> SizedKind:
        """How the file's own size is sized."""
        template = self.resolved.template
        unit = self.ratio.treated + self.ratio.control
        return self._at(whole_units(template.protocol.n_total, unit), self.calendar.sites[0]).kind

    def at_size(self, n: int, sites: int) -> ResolvedTemplate:
        """Return the template with so many patients and sites, its looks as `looks_at` has them."""
        template = self.resolved.template
        protocol = template.protocol
        ratio = {
            protocol.experimental.id: self.ratio.treated,
            protocol.control.id: self.ratio.control,
        }
        changes: dict[str, object] = {
            "sample_size": SampleSize(total=n),
            "allocation": Allocation().model_copy(update={"ratio": ratio}),
            "looks": looks_at(self.resolved, self.looks, self.calendar, n, sites),
        }
        nature = template.nature
        if self.calendar.stated is not None:
            entering = self.calendar.enrolment(n, sites)
            nature = nature.model_copy(update={"enrolment": entering})
        else:
            changes["operations"] = self.calendar.operations(sites)
        update = {"protocol": protocol.model_copy(update=changes), "nature": nature}
        return replace(self.resolved, template=template.model_copy(update=update))

    def _at(self, n: int, sites: int) -> _AtSize:
        if (n, sites) not in self._sizes:
            resolved = self.at_size(n, sites)
            truth = resolved.truth(self.scenario)
            question = replace(self.asked, resolved=resolved, truth=truth)
            kind = self.kind_of_question(question)
            known = None
            if self.is_null:
                known = question.level.alpha
            elif question.level.sides == 1 and self.gain < 0:
                known = 0.0
            power = kind.test.power(n) if known is None else known
            events = kind.information(n)
            self._sizes[n, sites] = _AtSize(kind, power, events, question.cut_day)
        return self._sizes[n, sites]

    def power(self, n: int, sites: int) -> float:
        """Return the chance to find the scenario's effect, by formula."""
        return self._at(n, sites).power

    def events(self, n: int, sites: int) -> float:
        """Return the events expected at the end."""
        return self._at(n, sites).events

    def smallest(self, power: float) -> int | None:
        """Return the fewest patients with a power, at the file's own sites."""
        unit, sites = self.ratio.treated + self.ratio.control, self.calendar.sites[0]
        low, high = 1, max(2, self.resolved.template.protocol.n_total // unit)

        def enough(units: int) -> bool:
            try:
                return self.power(units * unit, sites) >= power
            except DesignError:
                return False

        while not enough(high):
            low, high = high, 2 * high
            if high * unit > MAX_PATIENTS:
                return None
        while high - low > max(1, high // 200):  # to half a percent, on the side of enough
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high * unit

    def endings(self, n: int, sites: int) -> list[Ending]:
        """Return where trials of a size end."""
        at = self._at(n, sites)
        question = at.kind.question
        looks, lag = question.looks, question.plan.lag_days
        found, left = [], 1.0
        if looks is not None:
            drift = 0.0 if self.is_null else looks.drift_for(at.power)
            chances = looks.stop_probabilities(drift)
            shares = (chances.upper + chances.lower).tolist()[:-1]
            resolved = question.resolved
            course = event_course(self.scenario, resolved.template, resolved.evidence)
            for number, (fraction, share) in enumerate(
                zip(looks.information[:-1], shares, strict=True), start=1
            ):
                events = Trigger(events=max(1, ceil(fraction * at.events - 1e-9)))
                day = expected_day(events, course) + lag
                entered = self.calendar.entered(day, n, sites)
                found.append(Ending(share, entered, day, number))
                left -= share
        end = at.cut_day + lag
        entered = self.calendar.entered(end, n, sites)
        return [*found, Ending(left, entered, end, len(found) + 1)]
