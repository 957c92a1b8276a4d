"""One design among many: what is decided, and what follows from it without simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from trialsim.errors import Problem, RequestError, counted
from trialsim.kernels.exact import ExactTest
from trialsim.operations.money import planned_cost
from trialsim.protocol.cost import Cost
from trialsim.protocol.endpoints import BinaryEndpoint, BinaryTest, TimeToEventEndpoint
from trialsim.protocol.optimisation import LookPlan, Quantity, RatioOfArms
from trialsim.protocol.quantities import DAYS_PER_UNIT, Time
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.sizing.fixed import Allocation
from trialsim.studies.operations.calendar import Calendar
from trialsim.studies.operations.tested import (
    Ending,
    Tested,
    TestedRisks,
    TestedTimes,
    efficacy_of,
)
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
    threshold : float or None
        Of the marker that makes a patient eligible; None for that of the file.
    """

    size: int
    sites: int
    looks: LookPlan
    ratio: RatioOfArms
    follow_up: Time | None = None
    variant: str = ""
    threshold: float | None = None

    def in_words(self) -> str:
        """Return the decisions on one line."""
        sites = counted(self.sites, "site")
        parts = [counted(self.size, "patient"), sites, looks_in_words(self.looks)]
        parts += [f"{self.ratio}"]
        parts += [f"read at {self.follow_up.after}"] if self.follow_up else []
        parts += [f"threshold {self.threshold:g}"] if self.threshold is not None else []
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
    _tests: dict[tuple[str, LookPlan, RatioOfArms], Tested] = field(
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

    def tested(self, index: int, looks: LookPlan, ratio: RatioOfArms) -> Tested:
        """Return the test of a scenario with these looks and this ratio (RequestError for none)."""
        key = self.scenarios[index].id, looks, ratio
        if key not in self._tests:
            self._tests[key] = self._tested(index, looks, ratio)
        return self._tests[key]

    def _tested(self, index: int, looks: LookPlan, ratio: RatioOfArms) -> Tested:
        scenario, truth = self.scenarios[index], self.truths[index]
        times = isinstance(self.resolved.template.protocol.primary, TimeToEventEndpoint)
        resolved = self.resolved
        if looks.number == 1 and not times:
            resolved = _without_looks(resolved)
        request = SizeRequest(
            scenario=scenario,
            information=looks.fractions,
            efficacy=efficacy_of(looks) if looks.fractions else None,
            allocation=Allocation(ratio.treated, ratio.control),
            exact=self.exact,
            accept_claim=True,
        )
        question = SizeQuestion(resolved, request, scenario, truth, resolved.status_of(scenario))
        kind = kind_of(question)
        if isinstance(kind, WithoutFormula):
            analysis = str(resolved.template.protocol.primary.analysis)
            rule = f"has no formula for this analysis of {kind.what}"
            remedy = "Find a size by simulation: trialsim size TEMPLATE --by simulation."
            raise RequestError(Problem(rule, remedy, "optimise", analysis))
        gain = 0.0 if truth.is_null else question.gain(truth)
        common = self.calendar, self.read_out_days, gain
        if times:
            return TestedTimes(*common, resolved, scenario, looks, ratio, question, type(kind))
        return TestedRisks(*common, kind, self.exact is not None)

    def smallest(self, index: int, looks: LookPlan, ratio: RatioOfArms, power: float) -> int | None:
        """Return the fewest patients with a power; None where no number has it."""
        return self.tested(index, looks, ratio).smallest(power)

    def judged(self, design: Design) -> Judged:
        """Return what follows from a design."""
        n, sites = design.size, design.sites
        several = range(len(self.scenarios))
        tested = [self.tested(index, design.looks, design.ratio) for index in several]
        endings = [own.endings(n, sites) for own in tested]
        months = [own[-1].day / DAYS_PER_UNIT["mo"] for own in endings]

        def expected(what: Callable[[Ending], float]) -> tuple[float, ...]:
            return tuple(sum(e.share * what(e) for e in own) for own in endings)

        def price(ending: Ending) -> float:
            return self._price(ending, design)

        patients = expected(lambda ending: ending.patients)
        worse = zip(patients, tested, strict=True)
        values: dict[Quantity, tuple[float, ...]] = {
            Quantity.POWER: tuple(own.power(n, sites) for own in tested),
            Quantity.MONTHS: tuple(months[:1] if len(set(months)) == 1 else months),
            Quantity.PATIENTS: (float(n),),
            Quantity.WORSE_ARM: tuple(many * own.share_in_worse_arm for many, own in worse),
            Quantity.EXPECTED_MONTHS: expected(lambda ending: ending.day / DAYS_PER_UNIT["mo"]),
            Quantity.EXPECTED_PATIENTS: patients,
        }
        if self.cost:
            values[Quantity.COST] = (max(price(own[-1]) for own in endings),)
            values[Quantity.EXPECTED_COST] = expected(price)
        return Judged(design, values)

    def _price(self, ending: Ending, design: Design) -> float:
        """Return what a trial that ends there costs; 0 without prices.

        Visits and doses are paid as planned, for every patient (assumed).
        """
        template = self.resolved.template
        protocol = template.protocol
        return planned_cost(
            template,
            ending.patients,
            ending.day / DAYS_PER_UNIT["mo"],
            read_out_day=protocol.primary.read_out.days_after_entry(protocol.therapy),
            sites=design.sites,
            looks=ending.looks,
            treated=design.ratio.treated / (design.ratio.treated + design.ratio.control),
        )


def _without_looks(resolved: ResolvedTemplate) -> ResolvedTemplate:
    protocol = resolved.template.protocol
    if not protocol.looks:
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
