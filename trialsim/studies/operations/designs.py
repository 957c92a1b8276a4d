"""One design among many: what is decided, and what follows from it without simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil

from trialsim.errors import DesignError, Problem, RequestError
from trialsim.kernels.exact import ExactTest
from trialsim.protocol.cost import Cost
from trialsim.protocol.endpoints import BinaryEndpoint, BinaryTest, TimeToEventEndpoint
from trialsim.protocol.optimisation import LookPlan, Quantity, RatioOfArms
from trialsim.protocol.pool import dosings_of
from trialsim.protocol.quantities import DAYS_PER_UNIT, Time
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.sizing.fixed import Allocation
from trialsim.sizing.sequential import bounds_from_words, spending_from_words
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.horizons.followup import visits_paid
from trialsim.studies.operations.calendar import Calendar
from trialsim.studies.size.kind import SizedKind, whole_units
from trialsim.studies.size.kinds import WithoutFormula, kind_of
from trialsim.studies.size.of_risks import RisksSized
from trialsim.studies.size.question import SizeQuestion, SizeRequest

__all__ = ["Bench", "Design", "Judged", "exact_test_of"]


@dataclass(frozen=True)
class Design:
    """What is decided.

    Attributes
    ----------
    size : int
        Patients randomised.
    sites : int
    looks : LookPlan
    ratio : RatioOfArms
    follow_up : Time or None
        When the primary endpoint is read; None for when the file reads it.
    variant : str
        Of the file; empty for none.
    """

    size: int
    sites: int
    looks: LookPlan
    ratio: RatioOfArms
    follow_up: Time | None = None
    variant: str = ""

    def in_words(self, *, plural: bool = True) -> str:
        """Return the decisions on one line."""
        del plural
        parts = [f"{self.size:,} patients", f"{self.sites} sites", looks_in_words(self.looks)]
        parts += [f"{self.ratio}"]
        parts += [f"read at {self.follow_up.after}"] if self.follow_up else []
        parts += [self.variant] if self.variant else []
        return ", ".join(parts)


def looks_in_words(looks: LookPlan) -> str:
    """Return "1 look" or "3 looks obf"."""
    if looks.number == 0:
        return "looks as planned"
    return "1 look" if looks.number == 1 else f"{looks.number} looks {looks.rule}"


@dataclass(frozen=True)
class Judged:
    """A design and what it does: per scenario where that matters, in the order of the bench's.

    Attributes
    ----------
    values : mapping of Quantity to tuple of float
        One number where no scenario matters, else one for each.
    """

    design: Design
    values: dict[Quantity, tuple[float, ...]] = field(hash=False)

    def worst(self, quantity: Quantity) -> float:
        """Return the value under the scenario where it is worst."""
        own = self.values[quantity]
        return min(own) if quantity.larger_is_better else max(own)

    def under(self, quantity: Quantity, index: int) -> float:
        """Return the value under one scenario."""
        own = self.values[quantity]
        return own[index] if len(own) > 1 else own[0]


def exact_test_of(resolved: ResolvedTemplate) -> ExactTest | None:
    """Return the test whose power can be enumerated; None where the primary has none."""
    primary = resolved.template.protocol.primary
    if not isinstance(primary, BinaryEndpoint):
        return None
    known = {BinaryTest.CHI_SQUARE: ExactTest.CHI_SQUARE, BinaryTest.FISHER: ExactTest.FISHER}
    return known.get(primary.analysis) if isinstance(primary.analysis, BinaryTest) else None


@dataclass(frozen=True)
class Bench:
    """One template that designs of one read-out and one variant are judged on.

    Attributes
    ----------
    resolved : ResolvedTemplate
        With that variant and read-out.
    scenarios : tuple of Scenario
        What a design must do well under.
    exact : ExactTest or None
        Power by enumeration.
    fewest, most : int
        Patients of any design.
    """

    resolved: ResolvedTemplate
    scenarios: tuple[Scenario, ...]
    exact: ExactTest | None
    fewest: int
    most: int
    _tests: dict[tuple[str, LookPlan, RatioOfArms], _Tested] = field(
        default_factory=dict, hash=False, compare=False
    )

    @cached_property
    def calendar(self) -> Calendar:
        """When patients enter."""
        return Calendar(self.resolved.template, self.fewest, self.most)

    @cached_property
    def cost(self) -> Cost | None:
        """Prices of the file."""
        return self.resolved.template.cost

    @cached_property
    def truths(self) -> tuple[Truth, ...]:
        """The scenarios, resolved."""
        return tuple(self.resolved.truth(scenario) for scenario in self.scenarios)

    @cached_property
    def read_out_days(self) -> float:
        """From entry to the decision: the read-out, and its lag."""
        protocol = self.resolved.template.protocol
        lag = protocol.read_out_lag.days if protocol.read_out_lag else 0.0
        return protocol.primary.read_out.days_after_entry(protocol.therapy) + lag

    def tested(self, index: int, looks: LookPlan, ratio: RatioOfArms) -> _Tested:
        """Return the test of a scenario with these looks and this ratio."""
        scenario = self.scenarios[index]
        key = scenario.id, looks, ratio
        if key not in self._tests:
            self._tests[key] = _Tested.of(self, index, looks, ratio)
        return self._tests[key]

    def smallest(self, index: int, looks: LookPlan, ratio: RatioOfArms, power: float) -> int | None:
        """Return the fewest patients with a power; None where no number has it."""
        return self.tested(index, looks, ratio).smallest(power)

    def judged(self, design: Design) -> Judged:
        """Return what follows from a design."""
        n, sites, calendar = design.size, design.sites, self.calendar
        last = calendar.last_day(n, sites) + self.read_out_days
        months = last / DAYS_PER_UNIT["mo"]
        n_looks = max(1, design.looks.number or len(self.resolved.template.protocol.looks))
        values: dict[Quantity, tuple[float, ...]] = {
            Quantity.MONTHS: (months,),
            Quantity.PATIENTS: (float(n),),
        }
        if self.cost:
            values[Quantity.COST] = (self._price(n, months, sites, n_looks),)
        courses = [self._course(design, index, months) for index in range(len(self.scenarios))]
        by_name = (
            (Quantity.POWER, [c.power for c in courses]),
            (Quantity.WORSE_ARM, [c.worse_arm for c in courses]),
            (Quantity.EXPECTED_MONTHS, [c.months for c in courses]),
            (Quantity.EXPECTED_PATIENTS, [c.patients for c in courses]),
        )
        values |= {name: tuple(found) for name, found in by_name}
        if self.cost:
            values[Quantity.EXPECTED_COST] = tuple(c.cost for c in courses)
        return Judged(design, values)

    def _price(self, n: float, months: float, sites: int, n_looks: float) -> float:
        """Return what a trial of that size and length costs; 0 without prices.

        Visits and doses are paid as planned, for every patient (assumed).
        """
        if self.cost is None:
            return 0.0
        template = self.resolved.template
        running = self.cost.model_copy(update={"sites": sites})
        total = running.total(n, self._visits, months, template.nature.screened_per_patient)
        once = sites * self.cost.start_up.value + n_looks * self.cost.per_look.value
        return total + once + n * self._doses_per_patient * self.cost.per_dose.value

    @cached_property
    def _visits(self) -> int:
        protocol = self.resolved.template.protocol
        day = protocol.primary.read_out.days_after_entry(protocol.therapy)
        return visits_paid(protocol, day)

    @cached_property
    def _doses_per_patient(self) -> float:
        """Doses planned, averaged over both arms as they are allocated in the file."""
        protocol = self.resolved.template.protocol
        shares = protocol.ratio
        arms = (protocol.experimental, protocol.control)
        given = [
            sum(ceil(d.lasting.days / d.every.days - 1e-9) for d in dosings_of(arm.regimen))
            for arm in arms
        ]
        return sum(s * g for s, g in zip(shares, given, strict=True)) / sum(shares)

    def _course(self, design: Design, index: int, months: float) -> _Course:
        """Return how a trial of a design goes on average under a scenario."""
        tested = self.tested(index, design.looks, design.ratio)
        n, sites = design.size, design.sites
        power = tested.power(n)
        ends = [(1.0, float(n), months, 1.0)]
        if stops := tested.stops(n):
            ends, left = [], 1.0
            for number, (fraction, share) in enumerate(stops, start=1):
                read = max(1, ceil(n * fraction - 1e-9))
                day = self.calendar.day_of(read, n, sites) + self.read_out_days
                enrolled = self.calendar.entered(day, n, sites)
                ends.append((share, enrolled, day / DAYS_PER_UNIT["mo"], float(number)))
                left -= share
            ends.append((left, float(n), months, float(len(stops) + 1)))
        patients = sum(share * enrolled for share, enrolled, _, _ in ends)
        share_worse = tested.share_in_worse_arm
        return _Course(
            power,
            patients,
            sum(share * after for share, _, after, _ in ends),
            patients * share_worse,
            sum(share * self._price(own, m, sites, k) for share, own, m, k in ends),
        )


@dataclass(frozen=True)
class _Course:
    """Means over where a trial stops."""

    power: float
    patients: float
    months: float
    worse_arm: float
    cost: float


@dataclass(frozen=True)
class _Tested:
    """The power of any number of patients under a scenario, with some looks and a ratio."""

    kind: SizedKind
    is_null: bool
    exact: bool
    gain: float
    _powers: dict[int, float] = field(default_factory=dict, hash=False, compare=False)
    _stops: dict[int, list[tuple[float, float]]] = field(
        default_factory=dict, hash=False, compare=False
    )

    @classmethod
    def of(cls, bench: Bench, index: int, looks: LookPlan, ratio: RatioOfArms) -> _Tested:
        scenario, truth = bench.scenarios[index], bench.truths[index]
        allocation = Allocation(ratio.treated, ratio.control)
        resolved = bench.resolved
        if looks.number == 1:
            resolved = _without_looks(resolved)
        information = looks.fractions
        request = SizeRequest(
            scenario=scenario,
            information=information,
            efficacy=_rule_of(looks) if information else None,
            allocation=allocation,
            exact=bench.exact,
            accept_claim=True,
        )
        question = SizeQuestion(resolved, request, scenario, truth, resolved.status_of(scenario))
        kind = kind_of(question)
        if isinstance(kind, WithoutFormula):
            raise RequestError(list(kind.problems()))
        gain = question.gain(truth)
        return cls(kind, truth.is_null or gain == 0, bench.exact is not None, gain)

    @property
    def share_in_worse_arm(self) -> float:
        """Share of patients in the arm that is worse if the scenario is true; 0 for neither."""
        if self.is_null:
            return 0.0
        treated = self.kind.question.allocation.treated_share
        return 1 - treated if self.gain > 0 else treated

    @cached_property
    def test(self) -> WithLooks:
        """Size and power by formula."""
        return self.kind.test

    def _analysed(self, n: int) -> float:
        return n * (1 - self.kind.lost_by_nature)

    def power(self, n: int) -> float:
        """Return the chance to find the scenario's effect; without one, the type I error."""
        if n not in self._powers:
            self._powers[n] = self._power(n)
        return self._powers[n]

    def _power(self, n: int) -> float:
        level = self.kind.question.level
        if self.is_null:
            return level.alpha
        if level.sides == 1 and self.gain < 0:
            return 0.0  # a one-sided test does not look for harm
        if self.exact:
            found = self.kind.enumerated_power(n)
            assert found is not None  # asked for
            return found
        return self.test.power(self._analysed(n))

    def smallest(self, power: float) -> int | None:
        """Return the fewest patients with a power, in whole units of allocation."""
        if self.is_null:
            return None
        unit = self.kind.question.allocation.unit
        try:
            wanted = self.test.total(power) / (1 - self.kind.lost_by_nature)
        except DesignError:
            return None
        n = whole_units(wanted, unit)
        if not self.exact:
            return n
        n = max(2 * unit, whole_units(0.97 * n, unit))
        while self.power(n) < power:
            n += unit
        return n

    def stops(self, n: int) -> list[tuple[float, float]]:
        """Return information and chance to stop at every look but the last."""
        looks = self.kind.question.looks
        if looks is None:
            return []
        if n not in self._stops:
            drift = 0.0 if self.is_null else looks.drift_for(self.power(n))
            found = looks.stop_probabilities(drift)
            chances = (found.upper + found.lower).tolist()
            self._stops[n] = list(zip(looks.information[:-1], chances[:-1], strict=True))
        return self._stops[n]


def _rule_of(looks: LookPlan):  # type: ignore[no-untyped-def]
    name = looks.rule.partition(":")[0]
    read = bounds_from_words if name in ("obf", "pocock", "wt") else spending_from_words
    return read(looks.rule)


def _without_looks(resolved: ResolvedTemplate) -> ResolvedTemplate:
    protocol = resolved.template.protocol
    if isinstance(protocol.primary, TimeToEventEndpoint) or not protocol.looks:
        return resolved
    kept = protocol.model_copy(update={"looks": ()})
    return replace(resolved, template=resolved.template.model_copy(update={"protocol": kept}))


def enumerable(bench: Bench, looks: Sequence[LookPlan]) -> bool:
    """Whether every design's power can be enumerated: one analysis of two risks, no strata."""
    own = bench.resolved.template.protocol.looks
    several = any(k.number != 1 for k in looks if k.number or own)
    if several or exact_test_of(bench.resolved) is None:
        return False
    kinds = (bench.tested(i, looks[0], RatioOfArms(treated=1, control=1)).kind
             for i in range(len(bench.scenarios)))  # fmt: skip
    return all(isinstance(kind, RisksSized) and not kind.strata_matter for kind in kinds)


def refuse(rule: str, remedy: str, field_: str = "", value: str = "") -> RequestError:
    """Return a refusal."""
    return RequestError(Problem(rule, remedy, field_, value))
