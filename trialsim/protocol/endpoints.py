"""What is measured: the endpoints of a protocol, their estimands and tests."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from trialsim.protocol.quantities import (
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
    "AnySummary",
    "AnyTest",
    "Better",
    "BinaryEndpoint",
    "BinaryTest",
    "CompetingEndpoint",
    "CompetingTest",
    "ContinuousEndpoint",
    "CountEndpoint",
    "CountTest",
    "Counted",
    "CoxTest",
    "CoxTies",
    "DaysAliveEndpoint",
    "Endpoint",
    "Estimand",
    "EstimatingEquations",
    "FlemingHarringtonWeight",
    "FurtherEstimand",
    "IntervalCensoredTest",
    "Level",
    "LogRankTest",
    "LogRankWeight",
    "MaxComboTest",
    "MeasuredScale",
    "MeasuredTest",
    "MilestoneTest",
    "MissingData",
    "ModestWeight",
    "OrderedTest",
    "OrdinalEndpoint",
    "OutcomeEndpoint",
    "OutcomeEstimand",
    "OutcomeSummary",
    "PublishedSummary",
    "ResponseEndpoint",
    "RestrictedMeanTest",
    "RiskEndpoint",
    "SimulatedEndpoint",
    "Strategy",
    "Summary",
    "SurvivalEstimand",
    "SurvivalSummary",
    "SurvivalTest",
    "TimeToEventEndpoint",
]


class Level(StrEnum):
    """An endpoint's rank."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    EXPLORATORY = "exploratory"
    SAFETY = "safety"


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


class MissingData(StrEnum):
    """How values that are not seen are dealt with, or that an estimand takes away."""

    COMPLETE_CASE = "complete case"  # left out; a mixed model uses the visits that are seen
    FAILURE = "missing is failure"
    MULTIPLE_IMPUTATION = "multiple imputation"  # missing at random, within the arm
    JUMP_TO_REFERENCE = "jump to reference"  # Carpenter, Roger and Kenward 2013
    COPY_REFERENCE = "copy reference"
    COPY_INCREMENTS = "copy increments in reference"

    @property
    def imputes(self) -> bool:
        """Whether values are drawn for what is missing."""
        return self not in (MissingData.COMPLETE_CASE, MissingData.FAILURE)


Imputations = Annotated[Whole, Field(ge=2, le=200)]


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


class PublishedSummary(StrEnum):
    """What published trials compare and no protocol plans: medians of times to an event."""

    MEDIAN_RATIO = "ratio of medians"

    @property
    def is_ratio(self) -> bool:
        """Whether it is analysed on the log scale."""
        return True

    @property
    def short(self) -> str:
        """A few letters."""
        return "median ratio"


class BinaryTest(StrEnum):
    """How two proportions are compared, or that of a single arm with a known one."""

    CHI_SQUARE = "chi-square"
    FISHER = "fisher"
    EXACT_BINOMIAL = "exact-binomial"


class Estimand(Frozen):
    """What is estimated (ICH E9(R1)): population, treatments, variable, events, summary.

    Variable and treatments are those of the endpoint and the arms it stands under; the population
    is everyone randomised unless it says otherwise.
    """

    population: Text = "all randomised patients"
    summary: Annotated[Summary, lenient_words(Summary)] = Summary.ODDS_RATIO
    intercurrent_events: dict[Id, Annotated[Strategy, lenient_words(Strategy)]] = Field(default={})
    missing: Annotated[MissingData, lenient_words(MissingData)] | None = None
    imputations: Imputations = 20


class FurtherEstimand(Frozen):
    """Another question asked of the same patients and endpoint.

    Events it does not name are dealt with as in the endpoint's own `estimand`. Twenty imputations
    unless stated (assumed; White, Royston and Wood 2011 ask for 1 per percent missing).
    """

    id: Id
    title: Text | None = None
    intercurrent_events: dict[Id, Annotated[Strategy, lenient_words(Strategy)]] = Field(default={})
    missing: Annotated[MissingData, lenient_words(MissingData)] | None = None
    imputations: Imputations = 20


FurtherEstimands = Annotated[tuple[FurtherEstimand, ...], Field(max_length=20)]


class _ReadOnce(Frozen):
    """What endpoints have in common that are read at one time."""

    at: Time

    @property
    def read_out(self) -> Time:
        """When it is read."""
        return self.at


class Counted(StrEnum):
    """When a patient counts as a responder."""

    AT_HORIZON = "at horizon"  # in response at that visit
    SUSTAINED = "sustained"  # and at every attended visit since the first response


class _RiskEndpoint(_ReadOnce):
    """What endpoints that compare two risks have in common."""

    id: Id
    level: Annotated[Level, lenient_words(Level)]
    event: Text
    better: Better
    note: Text | None = None
    estimand: Estimand = Estimand()
    further_estimands: FurtherEstimands = ()
    analysis: Annotated[BinaryTest, lenient_words(BinaryTest)] = BinaryTest.CHI_SQUARE

    @property
    def summary(self) -> Summary:
        """The estimand's."""
        return self.estimand.summary


class BinaryEndpoint(_RiskEndpoint):
    """Something that has happened to a patient by a stated time, or has not."""

    kind: Literal["binary"]


class ResponseEndpoint(_RiskEndpoint):
    """Being in response at a visit: a state that comes, and may go again.

    A missed visit counts as no response (assumed; the trials analysed all randomised so).
    """

    kind: Literal["response"]
    counted: Annotated[Counted, lenient_words(Counted)] = Counted.AT_HORIZON


class OutcomeSummary(StrEnum):
    """The summary of what is measured, scored or counted, treated to control."""

    MEAN_DIFFERENCE = "mean difference"
    GEOMETRIC_MEAN_RATIO = "ratio of geometric means"
    COMMON_ODDS_RATIO = "common odds ratio"  # of a higher category
    WIN_DIFFERENCE = "win difference"  # P(treated higher) - P(control higher)
    RATE_RATIO = "rate ratio"
    CAUSE_SPECIFIC_HAZARD_RATIO = "cause-specific hazard ratio"
    SUBDISTRIBUTION_HAZARD_RATIO = "subdistribution hazard ratio"
    INCIDENCE_DIFFERENCE = "difference in cumulative incidence"

    @property
    def is_ratio(self) -> bool:
        """Whether it is analysed on the log scale."""
        return "ratio" in self.value

    @property
    def short(self) -> str:
        """A few letters."""
        return {
            "mean difference": "MD",
            "ratio of geometric means": "GMR",
            "common odds ratio": "common OR",
            "win difference": "win diff.",
            "rate ratio": "rate ratio",
            "cause-specific hazard ratio": "cause-specific HR",
            "subdistribution hazard ratio": "subdistribution HR",
            "difference in cumulative incidence": "CIF diff.",
        }[self.value]


AnySummary = Summary | SurvivalSummary | OutcomeSummary | PublishedSummary


class OutcomeEstimand(Frozen):
    """What is estimated (ICH E9(R1)); the summary follows from scale and analysis."""

    population: Text = "all randomised patients"
    intercurrent_events: dict[Id, Annotated[Strategy, lenient_words(Strategy)]] = Field(default={})
    missing: Annotated[MissingData, lenient_words(MissingData)] | None = None
    imputations: Imputations = 20


class _OutcomeEndpoint(Frozen):
    """What endpoints have in common whose truth stands under ``outcomes:``."""

    id: Id
    level: Annotated[Level, lenient_words(Level)]
    better: Better
    note: Text | None = None
    estimand: OutcomeEstimand = OutcomeEstimand()
    further_estimands: FurtherEstimands = ()


class MeasuredScale(StrEnum):
    """How a measurement is analysed: as it is, or its logarithm (biomarkers, ratios)."""

    PLAIN = "plain"
    LOG = "log"


class MeasuredTest(StrEnum):
    """How two arms are compared on a measurement, at the last time it is taken."""

    T_TEST = "t-test"
    WELCH = "welch"
    CHANGE = "change"  # t-test of the change from baseline
    ANCOVA = "ancova"  # adjusted for baseline
    MMRM = "mmrm"  # all visits, unstructured covariance

    @property
    def needs_baseline(self) -> bool:
        """Whether it cannot do without a baseline measurement."""
        return self in (MeasuredTest.CHANGE, MeasuredTest.ANCOVA)


class ContinuousEndpoint(_OutcomeEndpoint):
    """Something measured on a scale at each of the stated times; the last is the read-out.

    Simulated where ``nature.outcomes`` states it; else read and shown.
    """

    kind: Literal["continuous"]
    variable: Text
    unit: Text
    at: Annotated[tuple[Time, ...], Field(min_length=1, max_length=100)]
    scale: Annotated[MeasuredScale, lenient_words(MeasuredScale)] = MeasuredScale.PLAIN
    analysis: Annotated[MeasuredTest, lenient_words(MeasuredTest)] = MeasuredTest.T_TEST

    @property
    def event(self) -> str:
        """What is measured."""
        return self.variable

    @property
    def read_out(self) -> Time:
        """The last time it is measured."""
        return self.at[-1]

    @property
    def summary(self) -> OutcomeSummary:
        """By its scale."""
        log = self.scale is MeasuredScale.LOG
        return OutcomeSummary.GEOMETRIC_MEAN_RATIO if log else OutcomeSummary.MEAN_DIFFERENCE


class OrderedTest(StrEnum):
    """How two arms are compared on ordered categories."""

    WILCOXON = "wilcoxon"
    PROPORTIONAL_ODDS = "proportional-odds"


class _OrderedEndpoint(_ReadOnce, _OutcomeEndpoint):
    variable: Text
    analysis: Annotated[OrderedTest, lenient_words(OrderedTest)] = OrderedTest.PROPORTIONAL_ODDS

    @property
    def event(self) -> str:
        """What is scored."""
        return self.variable

    @property
    def summary(self) -> OutcomeSummary:
        """By its test."""
        ranks = self.analysis is OrderedTest.WILCOXON
        return OutcomeSummary.WIN_DIFFERENCE if ranks else OutcomeSummary.COMMON_ODDS_RATIO


class OrdinalEndpoint(_OrderedEndpoint):
    """One of several ordered categories, from the lowest to the highest."""

    kind: Literal["ordinal"]
    categories: Annotated[tuple[Text, ...], Field(min_length=3, max_length=40)]


class DaysAliveEndpoint(_OrderedEndpoint):
    """Days alive and free of something until a time; death by then is worse than no such day."""

    kind: Literal["days-alive-and-free"]
    better: Literal[Better.HIGHER] = Better.HIGHER


class CountTest(StrEnum):
    """How two rates are compared."""

    NEGATIVE_BINOMIAL = "negative-binomial"


class CountEndpoint(_ReadOnce, _OutcomeEndpoint):
    """How often something happens to a patient until a time, or until they are lost."""

    kind: Literal["count"]
    event: Text
    analysis: Annotated[CountTest, lenient_words(CountTest)] = CountTest.NEGATIVE_BINOMIAL

    @property
    def summary(self) -> OutcomeSummary:
        """The rate ratio."""
        return OutcomeSummary.RATE_RATIO


class CompetingTest(StrEnum):
    """How two arms are compared on an event that another may preclude."""

    CAUSE_SPECIFIC = "cause-specific"  # log-rank and Cox model, the other event censors
    FINE_GRAY = "fine-gray"
    CUMULATIVE_INCIDENCE = "cumulative-incidence"  # Aalen-Johansen, at the read-out


class CompetingEndpoint(_ReadOnce, _OutcomeEndpoint):
    """The time to an event that another event may preclude (transplant before death)."""

    kind: Literal["competing-risks"]
    event: Text
    competing: Text
    analysis: Annotated[CompetingTest, lenient_words(CompetingTest)] = CompetingTest.CAUSE_SPECIFIC

    @property
    def summary(self) -> OutcomeSummary:
        """By its test."""
        return {
            CompetingTest.CAUSE_SPECIFIC: OutcomeSummary.CAUSE_SPECIFIC_HAZARD_RATIO,
            CompetingTest.FINE_GRAY: OutcomeSummary.SUBDISTRIBUTION_HAZARD_RATIO,
            CompetingTest.CUMULATIVE_INCIDENCE: OutcomeSummary.INCIDENCE_DIFFERENCE,
        }[self.analysis]


class FlemingHarringtonWeight(Frozen):
    """Weight ``S(t-)**rho (1 - S(t-))**gamma``: gamma for late differences, rho for early ones."""

    rho: Annotated[Number, Field(ge=0, le=10)] = 0.0
    gamma: Annotated[Number, Field(ge=0, le=10)] = 0.0

    def __str__(self) -> str:
        return f"FH({self.rho:g}, {self.gamma:g})"


class ModestWeight(OneOf):
    """Weight ``1 / max(S(t-), s*)``; s* is stated, or the survival at `t_star`."""

    model_config = one_of("s_star", "t_star", remedy="0.5 is usual for s_star (Magirr 2021).")

    s_star: Annotated[Number, Field(gt=0, le=1)] | None = None
    t_star: Duration | None = None

    def __str__(self) -> str:
        at = f"s* {self.s_star:g}" if self.s_star is not None else f"t* {self.t_star}"
        return f"modestly weighted, {at}"


class LogRankWeight(OneOf):
    """How a log-rank test weighs events: by one of three rules."""

    model_config = one_of(
        "fleming_harrington",
        "modestly_weighted",
        "zero_before",
        remedy="Write for example {fleming_harrington: {rho: 0, gamma: 1}}.",
    )

    fleming_harrington: FlemingHarringtonWeight | None = None
    modestly_weighted: ModestWeight | None = None
    zero_before: Duration | None = None

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


class TimeToEventEndpoint(_ReadOnce):
    """The time from randomisation to an event, censored at the data cut-off or at loss.

    Survival is shown at `at`; `followed_for` ends each patient's follow-up.
    """

    id: Id
    level: Annotated[Level, lenient_words(Level)]
    kind: Literal["time-to-event"]
    event: Text
    followed_for: Duration | None = None
    better: Better
    note: Text | None = None
    estimand: SurvivalEstimand = SurvivalEstimand()
    analysis: SurvivalTest = LogRankTest(test="log-rank")

    @property
    def summary(self) -> SurvivalSummary:
        """The estimand's."""
        return self.estimand.summary

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
OutcomeEndpoint = (
    ContinuousEndpoint | OrdinalEndpoint | DaysAliveEndpoint | CountEndpoint | CompetingEndpoint
)
SimulatedEndpoint = RiskEndpoint | TimeToEventEndpoint | OutcomeEndpoint
Endpoint = Annotated[SimulatedEndpoint, Field(discriminator="kind")]


class IntervalCensoredTest(StrEnum):
    """A test of times known only to lie between visits; of studies, not of files."""

    LOG_RANK = "interval-censored log-rank"


class EstimatingEquations(StrEnum):
    """Of response at every visit up to the read-out; compared beside others, never planned."""

    GEE = "GEE"


AnyTest = (
    BinaryTest
    | SurvivalTest
    | MeasuredTest
    | OrderedTest
    | CountTest
    | CompetingTest
    | IntervalCensoredTest
    | EstimatingEquations
)
