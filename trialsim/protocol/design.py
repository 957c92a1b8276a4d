"""What the team decides: the ``protocol:`` part of a file."""

from __future__ import annotations

from enum import StrEnum
from math import gcd
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.endpoints import (
    Endpoint,
    Level,
    ResponseEndpoint,
    SimulatedEndpoint,
)
from trialsim.protocol.historical import HistoricalValue, TwoStage
from trialsim.protocol.modifiers import Subgroup
from trialsim.protocol.operations import Operations
from trialsim.protocol.quantities import (
    Dose,
    Duration,
    Frozen,
    Id,
    Number,
    OneOf,
    Text,
    Time,
    Whole,
    broken,
    lenient_words,
    one_of,
)

__all__ = [
    "Allocation",
    "AllocationMethod",
    "Arm",
    "FixedSequence",
    "Graphical",
    "Hochberg",
    "Holm",
    "Look",
    "MAX_PATIENTS",
    "Multiplicity",
    "Population",
    "Protocol",
    "Regimen",
    "RegimenPhase",
    "Role",
    "SampleSize",
    "Test",
    "Trigger",
    "Visit",
]

MAX_PATIENTS = 100_000
Patients = Annotated[Whole, Field(ge=2, le=MAX_PATIENTS)]


class Role(StrEnum):
    """An arm's part in the comparison."""

    EXPERIMENTAL = "experimental"
    CONTROL = "control"
    HISTORICAL = "historical"  # was treated earlier, and is not recruited


class AllocationMethod(StrEnum):
    """How patients are assigned (Rosenberger and Lachin 2016, chapters 3 and 6)."""

    SIMPLE = "simple"
    PERMUTED_BLOCKS = "permuted-blocks"
    RANDOM_ALLOCATION_RULE = "random-allocation-rule"
    MINIMISATION = "minimisation"


class Blinded(StrEnum):
    """Who does not know the assignment (CONSORT 2025, item 20a)."""

    PARTICIPANTS = "participants"
    CARERS = "carers"
    ASSESSORS = "assessors"
    ANALYSTS = "analysts"


class Population(Frozen):
    """Who is eligible."""

    condition: Text
    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()


class RegimenPhase(Frozen):
    """A later phase of a treatment. A dose or an interval left out is that of the phase before."""

    dose: Dose | None = None
    every: Duration | None = None
    lasting: Duration = Field(alias="for")

    def __str__(self) -> str:
        parts = [self.dose, f"every {self.every}" if self.every else None, f"for {self.lasting}"]
        return " ".join(str(part) for part in parts if part)


class Regimen(Frozen):
    """One treatment as given; `then` lists the phases that follow the first."""

    drug: Text
    dose: Dose | None = None
    route: Text | None = None
    every: Duration | None = None
    lasting: Duration | None = Field(default=None, alias="for")
    then: Annotated[tuple[RegimenPhase, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _phases_follow(self) -> Self:
        if self.then and self.lasting is None:
            rule = "must say how long its first phase lasts, before 'then'"
            raise broken(rule, "Add 'for' beside 'then', for example for: 1 wk.")
        return self

    @property
    def length(self) -> Duration | None:
        """How long all phases last together."""
        if self.lasting is None or not self.then:
            return self.lasting
        lengths = (self.lasting, *(phase.lasting for phase in self.then))
        if len({length.unit for length in lengths}) == 1:
            return Duration(sum(length.amount for length in lengths), self.lasting.unit)
        return Duration(sum(length.days for length in lengths), "d")

    @property
    def phases(self) -> tuple[Regimen, ...]:
        """Each phase as a regimen of its own; one for a regimen without `then`."""
        found = [self.model_copy(update={"then": ()})]
        for phase in self.then:
            before = found[-1]
            update = {
                "dose": phase.dose or before.dose,
                "every": phase.every or before.every,
                "lasting": phase.lasting,
            }
            found.append(before.model_copy(update=update))
        return tuple(found)

    def __str__(self) -> str:
        parts = [self.drug, self.dose, self.route]
        parts += [f"every {self.every}" if self.every else None]
        parts += [f"for {self.lasting}" if self.lasting else None]
        first = " ".join(str(part) for part in parts if part)
        return ", then ".join([first, *map(str, self.then)])


class Arm(Frozen):
    """One group of patients. Without a regimen it is untreated (or as `background` says).

    `historical` is what an arm of that role showed, by endpoint id.
    """

    id: Id
    role: Annotated[Role, lenient_words(Role)]
    title: Text | None = None
    regimen: Regimen | None = None
    historical: Annotated[dict[Id, HistoricalValue], Field(max_length=50)] | None = None

    def __str__(self) -> str:
        return str(self.regimen or self.title or self.id)


class Trigger(OneOf):
    """What sets off a look: a share of the final information, events, patients or a date.

    Information is the share of patients read out, or of the last look's events where the endpoint
    is a time to an event. `calendar` counts from the first day of enrolment.
    """

    model_config = one_of(
        "information",
        "events",
        "enrolled",
        "calendar",
        remedy="Write for example {events: 125}.",
    )

    information: Annotated[Number, Field(gt=0, le=1)] | None = None
    events: Annotated[Whole, Field(ge=1, le=MAX_PATIENTS)] | None = None
    enrolled: Annotated[Whole, Field(ge=1, le=MAX_PATIENTS)] | None = None
    calendar: Duration | None = None

    def __str__(self) -> str:
        if self.information is not None:
            return f"information {self.information:g}"
        if self.calendar is not None:
            return f"{self.calendar} after the first day"
        return f"{self.events:,} events" if self.events else f"{self.enrolled:,} enrolled"


class Look(Frozen):
    """An analysis, and the bounds on its z (positive in favour of the experimental arm).

    Efficacy is found at or above `efficacy_z` (two-sided: or at or below its negative); the trial
    stops for futility at or below `futility_z`. Futility is not binding unless it says so: then the
    type I error is also given as if it were ignored.
    """

    at: Trigger
    efficacy_z: Annotated[Number, Field(ge=-10, le=10)] | None = None
    futility_z: Annotated[Number, Field(ge=-10, le=10)] | None = None
    binding: bool = False


class Visit(Frozen):
    """When patients are seen, and how many days early or late they may come."""

    at: Time
    window: Duration | None = None


class Allocation(Frozen):
    """How patients are assigned to arms.

    Left out, the ratio is 1:1 in permuted blocks of four allocation units (assumed); with
    ``sample_size: {per_arm: ...}`` the arm sizes are fixed and the random allocation rule is used.
    `minimisation` (Pocock and Simon 1975) balances every factor of `stratify_by` by a coin that
    falls as preferred with probability 0.8 (assumed).
    """

    ratio: dict[Id, Annotated[Whole, Field(ge=1, le=20)]] | None = None
    method: Annotated[AllocationMethod, lenient_words(AllocationMethod)] | None = None
    block_sizes: (
        Annotated[tuple[Annotated[Whole, Field(ge=2, le=100)], ...], Field(min_length=1)] | None
    ) = None
    stratify_by: tuple[Id, ...] = ()


class SampleSize(OneOf):
    """How many patients: in all (``total``), or exactly in each arm (``per_arm``)."""

    model_config = one_of("total", "per_arm")

    total: Patients | None = None
    per_arm: dict[Id, Annotated[Whole, Field(ge=1, le=MAX_PATIENTS)]] | None = None


class Test(Frozen):
    """The significance level and how many sides it is spent on (5% two-sided: ICH E9, 5.5)."""

    alpha: Annotated[Number, Field(ge=1e-6, lt=0.5)] = 0.05
    sides: Literal[1, 2] = 2


class _Family(Frozen):
    endpoints: Annotated[tuple[Id, ...], Field(min_length=2, max_length=10)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.endpoints)) < len(self.endpoints):
            raise broken("must name each endpoint once", "Remove one of the two.")
        return self


class FixedSequence(_Family):
    """Endpoints one after another, each only if those before it were found (hierarchical)."""

    method: Literal["hierarchical"]

    def __str__(self) -> str:
        return f"hierarchical: {', then '.join(self.endpoints)}"


class Holm(_Family):
    """Holm (1979), step down."""

    method: Literal["holm"]

    def __str__(self) -> str:
        return f"Holm: {', '.join(self.endpoints)}"


class Hochberg(_Family):
    """Hochberg (1988), step up; keeps the error where P values are positively dependent."""

    method: Literal["hochberg"]

    def __str__(self) -> str:
        return f"Hochberg: {', '.join(self.endpoints)}"


class Graphical(_Family):
    """Weights of alpha, and where an endpoint's weight goes once it is found (Bretz 2009)."""

    method: Literal["graphical"]
    weights: dict[Id, Annotated[Number, Field(ge=0, le=1)]]
    transitions: dict[Id, dict[Id, Annotated[Number, Field(ge=0, le=1)]]] = Field(default={})

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if set(self.weights) != set(self.endpoints):
            raise broken("must give every endpoint a weight", "0 is a weight.")
        if sum(self.weights.values()) > 1 + 1e-9:
            raise broken("must have weights that add up to at most 1", "Lower some.")
        for name, onward in self.transitions.items():
            known = {name, *onward} <= set(self.endpoints)
            if not known or name in onward or sum(onward.values()) > 1 + 1e-9:
                raise broken(
                    f"must pass on at most 1 of '{name}', to other endpoints of the family",
                    "Correct its transitions.",
                )
        return self

    def __str__(self) -> str:
        return f"graphical: {', '.join(self.endpoints)}"


Multiplicity = Annotated[FixedSequence | Holm | Hochberg | Graphical, Field(discriminator="method")]


class Protocol(Frozen):
    """The team's decisions, complete: what a trial registry and a statistician would ask."""

    design: Literal["parallel", "single-arm"] = "parallel"
    population: Population | None = None
    background: Text | None = None
    arms: Annotated[tuple[Arm, ...], Field(min_length=2, max_length=2)]
    allocation: Allocation = Allocation()
    blinding: tuple[Annotated[Blinded, lenient_words(Blinded)], ...] = ()
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=50)]
    visits: Annotated[tuple[Visit, ...], Field(max_length=200)] = ()
    sample_size: SampleSize
    test: Test = Test()
    multiplicity: Multiplicity | None = None
    looks: Annotated[tuple[Look, ...], Field(max_length=20)] = ()
    two_stage: TwoStage | None = None
    read_out_lag: Duration | None = None
    subgroups: Annotated[tuple[Subgroup, ...], Field(max_length=20)] = ()
    operations: Operations | None = None

    @property
    def experimental(self) -> Arm:
        """The arm under test."""
        return next(arm for arm in self.arms if arm.role is Role.EXPERIMENTAL)

    @property
    def control(self) -> Arm:
        """The arm it is compared with: of a single-arm trial the historical one."""
        return next(arm for arm in self.arms if arm.role is not Role.EXPERIMENTAL)

    @property
    def is_single_arm(self) -> bool:
        """Whether everyone recruited is treated."""
        return self.design == "single-arm"

    @property
    def concurrent(self) -> str:
        """Id of the control arm; of a single-arm trial a name for the one it does not have."""
        return "concurrent-control" if self.is_single_arm else self.control.id

    def historical_value(self, endpoint: str) -> HistoricalValue | None:
        """Return what the historical arm showed of an endpoint; None where nothing is stated."""
        return (self.control.historical or {}).get(endpoint)

    @property
    def primary(self) -> SimulatedEndpoint:
        """The endpoint the trial is sized for."""
        return next(
            e
            for e in self.endpoints
            if e.level is Level.PRIMARY and isinstance(e, SimulatedEndpoint)
        )

    @property
    def simulated(self) -> tuple[SimulatedEndpoint, ...]:
        """The primary endpoint, and further read-outs of its course of response.

        Others are simulated where ``nature.outcomes`` states them.
        """
        primary = self.primary
        if not isinstance(primary, ResponseEndpoint):
            return (primary,)
        others = (e for e in self.endpoints if isinstance(e, ResponseEndpoint) and e != primary)
        return (primary, *others)

    def endpoint(self, name: str) -> SimulatedEndpoint:
        """Return an endpoint by its id."""
        return next(endpoint for endpoint in self.endpoints if endpoint.id == name)

    @property
    def therapy(self) -> Duration | None:
        """Planned length of therapy, which an untreated arm's clock borrows."""
        regimen = self.experimental.regimen
        return regimen.length if regimen else None

    @property
    def visit_days(self) -> tuple[tuple[float, float], ...]:
        """Day since entry and window in days of every visit, in order.

        Without `visits`, patients are seen exactly at the read-outs.
        """
        stated = [
            (v.at.days_after_entry(self.therapy), v.window.days if v.window else 0.0)
            for v in self.visits
        ]
        read = {(e.read_out.days_after_entry(self.therapy), 0.0) for e in self.simulated}
        return tuple(sorted(stated or read))

    def visits_by(self, day: float) -> int:
        """Return how many visits a patient has by a read-out: all planned before it, and it.

        18 months, and 12 after 26 weeks of therapy, are 0.6 days apart and the same visit.
        """
        days = (visit.at.days_after_entry(self.therapy) for visit in self.visits)
        return sum(own < day - 1.0 for own in days) + 1

    @property
    def n_total(self) -> int:
        """Patients in all arms."""
        return self.sample_size.total or sum((self.sample_size.per_arm or {}).values())

    @property
    def allocation_method(self) -> AllocationMethod:
        """The method stated, or the one implied by how the sample size is stated."""
        fixed = self.sample_size.per_arm is not None
        implied = (
            AllocationMethod.RANDOM_ALLOCATION_RULE if fixed else AllocationMethod.PERMUTED_BLOCKS
        )
        return self.allocation.method or implied

    @property
    def ratio(self) -> tuple[int, int]:
        """Allocation to experimental and control, in lowest terms."""
        stated = self.sample_size.per_arm or self.allocation.ratio
        if stated is None:
            return 1, 1
        treated, control = stated[self.experimental.id], stated[self.control.id]
        return treated // gcd(treated, control), control // gcd(treated, control)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Block sizes stated, or four allocation units (assumed)."""
        return self.allocation.block_sizes or (2 * sum(self.ratio),)

    @property
    def arm_sizes(self) -> tuple[int, int]:
        """Planned patients in the experimental and control arm; exact where `per_arm` is given."""
        if self.is_single_arm:
            return self.n_total, 0
        if self.sample_size.per_arm:
            sizes = self.sample_size.per_arm
            return sizes[self.experimental.id], sizes[self.control.id]
        treated = round(self.n_total * self.ratio[0] / sum(self.ratio))
        return treated, self.n_total - treated
