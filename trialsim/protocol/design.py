"""What the team decides: the ``protocol:`` part of a file."""

from __future__ import annotations

from enum import StrEnum
from math import gcd
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.quantities import (
    Dose,
    Duration,
    Frozen,
    Id,
    Number,
    Text,
    Time,
    Whole,
    broken,
    lenient_words,
)

__all__ = [
    "MAX_PATIENTS",
    "Allocation",
    "AllocationMethod",
    "Arm",
    "Better",
    "BinaryEndpoint",
    "BinaryTest",
    "ContinuousEndpoint",
    "Counted",
    "Endpoint",
    "Estimand",
    "Level",
    "Population",
    "Protocol",
    "Regimen",
    "ResponseEndpoint",
    "RiskEndpoint",
    "Role",
    "SampleSize",
    "Strategy",
    "Summary",
    "Test",
    "Visit",
]

MAX_PATIENTS = 100_000
Patients = Annotated[Whole, Field(ge=2, le=MAX_PATIENTS)]


class Role(StrEnum):
    """An arm's part in the comparison."""

    EXPERIMENTAL = "experimental"
    CONTROL = "control"


class Level(StrEnum):
    """An endpoint's rank."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    EXPLORATORY = "exploratory"


class Better(StrEnum):
    """Which direction of an endpoint is good for a patient."""

    LOWER = "lower"
    HIGHER = "higher"


class Strategy(StrEnum):
    """How an estimand deals with an intercurrent event (ICH E9(R1), A.3.2)."""

    TREATMENT_POLICY = "treatment policy"
    HYPOTHETICAL = "hypothetical"
    COMPOSITE_VARIABLE = "composite variable"
    WHILE_ON_TREATMENT = "while on treatment"
    PRINCIPAL_STRATUM = "principal stratum"


class Summary(StrEnum):
    """The population-level summary by which two arms are compared, treated to control."""

    ODDS_RATIO = "odds ratio"
    RISK_RATIO = "risk ratio"
    RISK_DIFFERENCE = "risk difference"

    @property
    def is_ratio(self) -> bool:
        """Whether it is analysed on the log scale."""
        return self is not Summary.RISK_DIFFERENCE

    @property
    def short(self) -> str:
        """OR, RR or RD."""
        return "".join(word[0] for word in self.value.split()).upper()


class BinaryTest(StrEnum):
    """How two proportions are compared."""

    CHI_SQUARE = "chi-square"
    FISHER = "fisher"


class AllocationMethod(StrEnum):
    """How patients are assigned (Rosenberger and Lachin 2016, chapters 3 and 6)."""

    SIMPLE = "simple"
    PERMUTED_BLOCKS = "permuted-blocks"
    RANDOM_ALLOCATION_RULE = "random-allocation-rule"


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


class Regimen(Frozen):
    """One treatment as given."""

    drug: Text
    dose: Dose | None = None
    route: Text | None = None
    every: Duration | None = None
    lasting: Duration | None = Field(default=None, alias="for")

    def __str__(self) -> str:
        parts = [self.drug, self.dose, self.route]
        parts += [f"every {self.every}" if self.every else None]
        parts += [f"for {self.lasting}" if self.lasting else None]
        return " ".join(str(part) for part in parts if part)


class Arm(Frozen):
    """One group of patients. Without a regimen it is untreated (or as `background` says)."""

    id: Id
    role: Annotated[Role, lenient_words(Role)]
    title: Text | None = None
    regimen: Regimen | None = None

    def __str__(self) -> str:
        return str(self.regimen or self.title or self.id)


class Estimand(Frozen):
    """What is estimated (ICH E9(R1)): population, treatments, variable, events, summary.

    Variable and treatments are those of the endpoint and the arms it stands under; the population
    is everyone randomised unless it says otherwise.
    """

    population: Text = "all randomised patients"
    summary: Annotated[Summary, lenient_words(Summary)] = Summary.ODDS_RATIO
    intercurrent_events: dict[Id, Annotated[Strategy, lenient_words(Strategy)]] = Field(default={})


class Counted(StrEnum):
    """When a patient counts as a responder."""

    AT_HORIZON = "at horizon"  # in response at that visit
    SUSTAINED = "sustained"  # and at every attended visit since the first response


class _RiskEndpoint(Frozen):
    """What endpoints that compare two risks have in common."""

    id: Id
    level: Annotated[Level, lenient_words(Level)]
    event: Text
    at: Time
    better: Better
    note: Text | None = None
    estimand: Estimand = Estimand()
    analysis: Annotated[BinaryTest, lenient_words(BinaryTest)] = BinaryTest.CHI_SQUARE


class BinaryEndpoint(_RiskEndpoint):
    """Something that has happened to a patient by a stated time, or has not."""

    kind: Literal["binary"]


class ResponseEndpoint(_RiskEndpoint):
    """Being in response at a visit: a state that comes, and may go again.

    A missed visit counts as no response (assumed; the trials analysed all randomised so).
    """

    kind: Literal["response"]
    counted: Annotated[Counted, lenient_words(Counted)] = Counted.AT_HORIZON


class ContinuousEndpoint(Frozen):
    """Something measured on a scale at each of the stated times. Read and shown, not simulated."""

    id: Id
    level: Annotated[Level, lenient_words(Level)]
    kind: Literal["continuous"]
    variable: Text
    unit: Text
    at: Annotated[tuple[Time, ...], Field(min_length=1, max_length=100)]
    better: Better
    note: Text | None = None


RiskEndpoint = BinaryEndpoint | ResponseEndpoint
Endpoint = Annotated[
    BinaryEndpoint | ResponseEndpoint | ContinuousEndpoint, Field(discriminator="kind")
]


class Visit(Frozen):
    """When patients are seen, and how many days early or late they may come."""

    at: Time
    window: Duration | None = None


class Allocation(Frozen):
    """How patients are assigned to arms.

    Left out, the ratio is 1:1 in permuted blocks of four allocation units (assumed); with
    ``sample_size: {per_arm: ...}`` the arm sizes are fixed and the random allocation rule is used.
    """

    ratio: dict[Id, Annotated[Whole, Field(ge=1, le=20)]] | None = None
    method: Annotated[AllocationMethod, lenient_words(AllocationMethod)] | None = None
    block_sizes: (
        Annotated[tuple[Annotated[Whole, Field(ge=2, le=100)], ...], Field(min_length=1)] | None
    ) = None
    stratify_by: tuple[Id, ...] = ()


class SampleSize(Frozen):
    """How many patients: in all (``total``), or exactly in each arm (``per_arm``)."""

    total: Patients | None = None
    per_arm: dict[Id, Annotated[Whole, Field(ge=1, le=MAX_PATIENTS)]] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.total is None) == (self.per_arm is None):
            raise broken("must have exactly one of 'total' and 'per_arm'", "Keep one of the two.")
        return self


class Test(Frozen):
    """The significance level and how many sides it is spent on (5% two-sided: ICH E9, 5.5)."""

    alpha: Annotated[Number, Field(ge=1e-6, lt=0.5)] = 0.05
    sides: Literal[1, 2] = 2


class Protocol(Frozen):
    """The team's decisions, complete: what a trial registry and a statistician would ask."""

    design: Literal["parallel"] = "parallel"
    population: Population | None = None
    background: Text | None = None
    arms: Annotated[tuple[Arm, ...], Field(min_length=2, max_length=2)]
    allocation: Allocation = Allocation()
    blinding: tuple[Annotated[Blinded, lenient_words(Blinded)], ...] = ()
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=50)]
    visits: Annotated[tuple[Visit, ...], Field(max_length=200)] = ()
    sample_size: SampleSize
    test: Test = Test()

    @property
    def experimental(self) -> Arm:
        """The arm under test."""
        return next(arm for arm in self.arms if arm.role is Role.EXPERIMENTAL)

    @property
    def control(self) -> Arm:
        """The arm it is compared with."""
        return next(arm for arm in self.arms if arm.role is Role.CONTROL)

    @property
    def primary(self) -> RiskEndpoint:
        """The endpoint the trial is sized for."""
        return next(
            e for e in self.endpoints if e.level is Level.PRIMARY and isinstance(e, RiskEndpoint)
        )

    @property
    def simulated(self) -> tuple[RiskEndpoint, ...]:
        """The endpoints that are simulated, the primary first.

        Read-outs of one course of response come from the same patients; another binary endpoint
        would need a model of its own.
        """
        primary = self.primary
        if not isinstance(primary, ResponseEndpoint):
            return (primary,)
        others = (e for e in self.endpoints if isinstance(e, ResponseEndpoint) and e != primary)
        return (primary, *others)

    @property
    def therapy(self) -> Duration | None:
        """Planned length of therapy, which an untreated arm's clock borrows."""
        regimen = self.experimental.regimen
        return regimen.lasting if regimen else None

    @property
    def visit_days(self) -> tuple[tuple[float, float], ...]:
        """Day since entry and window in days of every visit, in order.

        Without `visits`, patients are seen exactly at the read-outs.
        """
        stated = [
            (v.at.days_after_entry(self.therapy), v.window.days if v.window else 0.0)
            for v in self.visits
        ]
        read = {(e.at.days_after_entry(self.therapy), 0.0) for e in self.simulated}
        return tuple(sorted(stated or read))

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
        if self.sample_size.per_arm:
            sizes = self.sample_size.per_arm
            return sizes[self.experimental.id], sizes[self.control.id]
        treated = round(self.n_total * self.ratio[0] / sum(self.ratio))
        return treated, self.n_total - treated
