"""What the team decides: the ``protocol:`` part of a file."""

from __future__ import annotations

from enum import StrEnum
from math import gcd
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

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
    one_of,
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
    "CoxTest",
    "CoxTies",
    "Endpoint",
    "Estimand",
    "FlemingHarringtonWeight",
    "Level",
    "LogRankTest",
    "LogRankWeight",
    "Look",
    "MaxComboTest",
    "MilestoneTest",
    "Population",
    "Protocol",
    "Regimen",
    "ResponseEndpoint",
    "RestrictedMeanTest",
    "RiskEndpoint",
    "Role",
    "SampleSize",
    "SimulatedEndpoint",
    "Strategy",
    "Summary",
    "SurvivalSummary",
    "SurvivalTest",
    "Test",
    "TimeToEventEndpoint",
    "Trigger",
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


class SurvivalSummary(StrEnum):
    """The summary by which two arms are compared on a time to an event, treated to control."""

    HAZARD_RATIO = "hazard ratio"
    SURVIVAL_DIFFERENCE = "survival difference"  # at the milestone
    MEAN_DIFFERENCE = "difference in restricted mean"  # days

    @property
    def is_ratio(self) -> bool:
        """Whether it is analysed on the log scale."""
        return self is SurvivalSummary.HAZARD_RATIO

    @property
    def short(self) -> str:
        """HR, or a few letters."""
        return {"hazard ratio": "HR", "survival difference": "surv. diff."}.get(self, "RMST diff.")


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


class FlemingHarringtonWeight(Frozen):
    """Weight ``S(t-)**rho (1 - S(t-))**gamma``: gamma for late differences, rho for early ones."""

    rho: Annotated[Number, Field(ge=0, le=10)] = 0.0
    gamma: Annotated[Number, Field(ge=0, le=10)] = 0.0

    def __str__(self) -> str:
        return f"FH({self.rho:g}, {self.gamma:g})"


class ModestWeight(Frozen):
    """Weight ``1 / max(S(t-), s*)``; s* is stated, or the survival at `t_star`."""

    model_config = one_of("s_star", "t_star")

    s_star: Annotated[Number, Field(gt=0, le=1)] | None = None
    t_star: Duration | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.s_star is None) == (self.t_star is None):
            rule = "must have exactly one of 's_star' and 't_star'"
            raise broken(rule, "0.5 is usual for s_star (Magirr 2021).")
        return self

    def __str__(self) -> str:
        at = f"s* {self.s_star:g}" if self.s_star is not None else f"t* {self.t_star}"
        return f"modestly weighted, {at}"


class LogRankWeight(Frozen):
    """How a log-rank test weighs events: by one of three rules."""

    model_config = one_of("fleming_harrington", "modestly_weighted", "zero_before")

    fleming_harrington: FlemingHarringtonWeight | None = None
    modestly_weighted: ModestWeight | None = None
    zero_before: Duration | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = (self.fleming_harrington, self.modestly_weighted, self.zero_before)
        if sum(item is not None for item in given) != 1:
            raise broken(
                "must have exactly one of 'fleming_harrington', 'modestly_weighted' and "
                "'zero_before'",
                "Write for example {fleming_harrington: {rho: 0, gamma: 1}}.",
            )
        return self

    def __str__(self) -> str:
        if self.zero_before:
            return f"weight 0 to {self.zero_before}"
        return str(self.fleming_harrington or self.modestly_weighted)


class LogRankTest(Frozen):
    """The log-rank test, weighted or not, within strata or not."""

    test: Literal["log-rank"]
    weight: LogRankWeight | None = None
    stratified: bool = False

    def __str__(self) -> str:
        words = f"log-rank, {self.weight}" if self.weight else "log-rank"
        return f"stratified {words}" if self.stratified else words


class MaxComboTest(Frozen):
    """The largest of several Fleming-Harrington statistics, against its own distribution.

    Two-sided, the smaller of both one-sided P values is doubled (assumed).
    """

    test: Literal["maxcombo"]
    weights: Annotated[tuple[FlemingHarringtonWeight, ...], Field(min_length=2, max_length=4)] = (
        FlemingHarringtonWeight(),
        FlemingHarringtonWeight(gamma=1.0),
        FlemingHarringtonWeight(rho=1.0),
        FlemingHarringtonWeight(rho=1.0, gamma=1.0),
    )
    stratified: bool = False

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({(w.rho, w.gamma) for w in self.weights}) < len(self.weights):
            raise broken("must not have the same weight twice", "Remove one of the two.")
        return self

    def __str__(self) -> str:
        words = f"MaxCombo of {', '.join(map(str, self.weights))}"
        return f"stratified {words}" if self.stratified else words


class CoxTies(StrEnum):
    """How the Cox likelihood treats tied events."""

    EFRON = "efron"
    BRESLOW = "breslow"


class CoxTest(Frozen):
    """Wald's test of the Cox model's hazard ratio."""

    test: Literal["cox"]
    ties: Annotated[CoxTies, lenient_words(CoxTies)] = CoxTies.EFRON
    stratified: bool = False

    def __str__(self) -> str:
        return f"{'stratified ' if self.stratified else ''}Cox model ({self.ties} ties), Wald"


class MilestoneTest(Frozen):
    """The difference in Kaplan-Meier survival at a time, as such or log-log transformed."""

    test: Literal["milestone"]
    at: Duration
    scale: Literal["plain", "log-log"] = "plain"

    def __str__(self) -> str:
        return f"survival at {self.at} ({self.scale})"


class RestrictedMeanTest(Frozen):
    """The difference in mean time without the event up to a limit."""

    test: Literal["restricted-mean"]
    until: Duration

    def __str__(self) -> str:
        return f"restricted mean to {self.until}"


def _named_test(value: Any) -> Any:
    return {"test": value} if isinstance(value, str) else value


_AnyTest = Annotated[
    LogRankTest | MaxComboTest | CoxTest | MilestoneTest | RestrictedMeanTest,
    Field(discriminator="test"),
]
SurvivalTest = Annotated[
    _AnyTest,
    BeforeValidator(
        _named_test, json_schema_input_type=Literal["log-rank", "maxcombo", "cox"] | _AnyTest
    ),
]


class SurvivalEstimand(Frozen):
    """What is estimated (ICH E9(R1)); the summary follows from the test."""

    population: Text = "all randomised patients"
    intercurrent_events: dict[Id, Annotated[Strategy, lenient_words(Strategy)]] = Field(default={})
    summary: Annotated[SurvivalSummary, lenient_words(SurvivalSummary)] = (
        SurvivalSummary.HAZARD_RATIO
    )


class TimeToEventEndpoint(Frozen):
    """The time from randomisation to an event, censored at the data cut-off or at loss.

    Survival is shown at `at`; `followed_for` ends each patient's follow-up.
    """

    id: Id
    level: Annotated[Level, lenient_words(Level)]
    kind: Literal["time-to-event"]
    event: Text
    at: Time
    followed_for: Duration | None = None
    better: Better
    note: Text | None = None
    estimand: SurvivalEstimand = SurvivalEstimand()
    analysis: SurvivalTest = LogRankTest(test="log-rank")

    @model_validator(mode="before")
    @classmethod
    def _summary_of_the_test(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        analysis, estimand = value.get("analysis"), value.get("estimand") or {}
        test = analysis.get("test") if isinstance(analysis, dict) else analysis
        summary = _SUMMARY_OF.get(str(test))
        if summary is None or not isinstance(estimand, dict) or "summary" in estimand:
            return value
        return {**value, "estimand": {**estimand, "summary": summary}}

    @model_validator(mode="after")
    def _summary_fits(self) -> Self:
        summary = _SUMMARY_OF.get(self.analysis.test, SurvivalSummary.HAZARD_RATIO)
        if self.estimand.summary is not summary:
            raise broken(
                f"must have the summary '{summary}' with a test of {self.analysis}",
                "Leave 'summary' out, or choose another test.",
            )
        return self


_SUMMARY_OF = {
    "milestone": SurvivalSummary.SURVIVAL_DIFFERENCE,
    "restricted-mean": SurvivalSummary.MEAN_DIFFERENCE,
}

RiskEndpoint = BinaryEndpoint | ResponseEndpoint
SimulatedEndpoint = RiskEndpoint | TimeToEventEndpoint
Endpoint = Annotated[
    BinaryEndpoint | ResponseEndpoint | TimeToEventEndpoint | ContinuousEndpoint,
    Field(discriminator="kind"),
]


class Trigger(Frozen):
    """What sets off a look: a share of the final information, events, patients or a date.

    Information is the share of patients read out, or of the last look's events where the endpoint
    is a time to an event. `calendar` counts from the first day of enrolment.
    """

    model_config = one_of("information", "events", "enrolled", "calendar")

    information: Annotated[Number, Field(gt=0, le=1)] | None = None
    events: Annotated[Whole, Field(ge=1, le=MAX_PATIENTS)] | None = None
    enrolled: Annotated[Whole, Field(ge=1, le=MAX_PATIENTS)] | None = None
    calendar: Duration | None = None

    @model_validator(mode="after")
    def _one_of_four(self) -> Self:
        given = (self.information, self.events, self.enrolled, self.calendar)
        if sum(item is not None for item in given) != 1:
            raise broken(
                "must have exactly one of 'information', 'events', 'enrolled' and 'calendar'",
                "Write for example {events: 125}.",
            )
        return self

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
    """

    ratio: dict[Id, Annotated[Whole, Field(ge=1, le=20)]] | None = None
    method: Annotated[AllocationMethod, lenient_words(AllocationMethod)] | None = None
    block_sizes: (
        Annotated[tuple[Annotated[Whole, Field(ge=2, le=100)], ...], Field(min_length=1)] | None
    ) = None
    stratify_by: tuple[Id, ...] = ()


class SampleSize(Frozen):
    """How many patients: in all (``total``), or exactly in each arm (``per_arm``)."""

    model_config = one_of("total", "per_arm")

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
    looks: Annotated[tuple[Look, ...], Field(max_length=20)] = ()
    read_out_lag: Duration | None = None

    @property
    def experimental(self) -> Arm:
        """The arm under test."""
        return next(arm for arm in self.arms if arm.role is Role.EXPERIMENTAL)

    @property
    def control(self) -> Arm:
        """The arm it is compared with."""
        return next(arm for arm in self.arms if arm.role is Role.CONTROL)

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
