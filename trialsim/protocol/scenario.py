"""What nature decides: ``nature:``, shared by all scenarios, and ``scenarios:``.

All risks and effects are *marginal*: averaged over the patients of the trial. Where severity or
factors carry prognosis, `trialsim.generate` solves the coefficients that make them so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import hypot, log
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from trialsim.protocol.endpoints import Counted
from trialsim.protocol.enrichment import Enrichment
from trialsim.protocol.historical import Comparison, Departures
from trialsim.protocol.intercurrent import EventCourses, EventTruth, IntercurrentEvent
from trialsim.protocol.modifiers import SEVERITY, Modified, Modifier
from trialsim.protocol.operations import OperationalNature
from trialsim.protocol.outcomes import AnyOutcome, Correlated, OutcomeEffect, OutcomeTruth
from trialsim.protocol.quantities import (
    Difference,
    Frozen,
    Id,
    Number,
    OneOf,
    Rate,
    Ratio,
    Risk,
    Share,
    Slope,
    SourcedNumber,
    Text,
    Time,
    Whole,
    broken,
    one_of,
)
from trialsim.protocol.survival import (
    AnyLifetime,
    Dropout,
    Enrolment,
    Lifetimes,
    SurvivalScenario,
)
from trialsim.protocol.truths.course import Course
from trialsim.protocol.truths.onset import Onset
from trialsim.protocol.truths.pool import EffectorPool
from trialsim.protocol.truths.site_enrolment import SiteEnrolment

__all__ = [
    "EFFECTS",
    "Courses",
    "Covariate",
    "Effect",
    "EffectFrom",
    "Factor",
    "FactorLevel",
    "HazardRatioBy",
    "Leaving",
    "Nature",
    "OddsRatio",
    "Piece",
    "Reached",
    "ResponseScenario",
    "RiskBy",
    "RiskDifference",
    "RiskRatio",
    "Scenario",
    "TreatedRisk",
    "Truth",
    "odds_ratio_between",
    "risk_at_odds_ratio",
]


class FactorLevel(Frozen):
    """One level of a factor, the share of patients in it and its prognosis.

    `odds_ratio` is conditional on the other factors and severity, against a level without one.
    """

    id: Id
    share: Share
    odds_ratio: Ratio | None = None


class Factor(OneOf):
    """A baseline factor: levels with their shares, or so many equal ones (sites)."""

    model_config = one_of("levels", "equal_levels")

    id: Id
    levels: Annotated[tuple[FactorLevel, ...], Field(min_length=2, max_length=200)] | None = None
    equal_levels: Annotated[Whole, Field(ge=2, le=200)] | None = None

    @model_validator(mode="after")
    def _levels_complete(self) -> Self:
        names = [level.id for level in self.levels or ()]
        if len(set(names)) < len(names):
            raise broken("must not have two levels of the same id", "Give each its own.")
        total = sum(self.shares)
        if abs(total - 1) > 1e-6:
            raise broken(
                f"must have shares that add up to 1, not {total:.8g}",
                "Correct the shares of its levels.",
            )
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of patients in each level; adds up to 1."""
        if self.levels is None:
            return (1 / (self.equal_levels or 1),) * (self.equal_levels or 1)
        return tuple(level.share.value for level in self.levels)

    @property
    def odds_ratios(self) -> tuple[float, ...]:
        """Conditional odds ratio of each level; 1 without prognosis."""
        levels = self.levels or ()
        stated = tuple(level.odds_ratio.value if level.odds_ratio else 1.0 for level in levels)
        return stated or (1.0,) * len(self.shares)


class Covariate(Frozen):
    """A baseline measurement in standard deviations from its mean, normal, and its prognosis.

    `odds_ratio_per_sd` is conditional on everything else; without one it carries no prognosis.
    """

    id: Id
    odds_ratio_per_sd: Ratio | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _not_severity(self) -> Self:
        if self.id == SEVERITY:
            rule = "must not be called 'severity', which is there already"
            raise broken(rule, "State nature.severity_slope, or give it another id.")
        return self

    @property
    def slope(self) -> float:
        """Log odds per standard deviation; 0 without prognosis."""
        return log(self.odds_ratio_per_sd.value) if self.odds_ratio_per_sd else 0.0


class _Effect(Frozen, ABC):
    """One number, under the key that says what it is."""

    short: ClassVar[str]

    @property
    def quantity(self) -> str:
        """The key in the file."""
        return next(iter(type(self).model_fields))

    @property
    def number(self) -> SourcedNumber:
        """The number, with its source."""
        stated: SourcedNumber = getattr(self, self.quantity)
        return stated

    @property
    def label(self) -> str:
        """The effect in two words."""
        digits = 3 if self.short == "RD" else 2
        return f"{self.short} {self.number.value:.{digits}f}"

    @abstractmethod
    def applied_to(self, control_risk: float) -> float:
        """Return the treated risk at a control risk; outside (0, 1) where the effect cannot be."""


class OddsRatio(_Effect):
    """A marginal odds ratio, treated to control."""

    short = "OR"
    odds_ratio: Ratio

    @override
    def applied_to(self, control_risk: float) -> float:
        return risk_at_odds_ratio(self.odds_ratio.value, control_risk)


class RiskRatio(_Effect):
    """A marginal risk ratio, treated to control."""

    short = "RR"
    risk_ratio: Ratio

    @override
    def applied_to(self, control_risk: float) -> float:
        return self.risk_ratio.value * control_risk


class RiskDifference(_Effect):
    """A marginal risk difference, treated minus control."""

    short = "RD"
    risk_difference: Difference

    @override
    def applied_to(self, control_risk: float) -> float:
        return control_risk + self.risk_difference.value


class TreatedRisk(_Effect):
    """The treated arm's risk itself, as planning paragraphs state it (50% -> 35%).

    At another control risk than the scenario's own it is carried over as the odds ratio it implies.
    """

    short = "treated risk"
    treated_risk: Risk

    @override
    def applied_to(self, control_risk: float) -> float:
        return self.treated_risk.value


EFFECTS: dict[str, type[_Effect]] = {
    "odds_ratio": OddsRatio,
    "risk_ratio": RiskRatio,
    "risk_difference": RiskDifference,
    "treated_risk": TreatedRisk,
}


def _only_key(value: Any) -> str | None:
    if isinstance(value, dict):
        known = [key for key in value if key in EFFECTS]
        return f"<{known[0]}>" if len(value) == 1 and known else None
    return next((f"<{key}>" for key, kind in EFFECTS.items() if isinstance(value, kind)), None)


Effect = Annotated[
    Annotated[OddsRatio, Tag("<odds_ratio>")]
    | Annotated[RiskRatio, Tag("<risk_ratio>")]
    | Annotated[RiskDifference, Tag("<risk_difference>")]
    | Annotated[TreatedRisk, Tag("<treated_risk>")],
    Discriminator(_only_key),
]


class HazardRatioBy(Frozen):
    """How many times the hazard of response is that of the levels not named, in both arms."""

    factor: Id
    ratios: Annotated[dict[Id, Ratio], Field(min_length=1, max_length=200)]


class LossHazardRatios(Frozen):
    """How many times the hazard of loss is: in the treated arm, in response, after relapse.

    Loss in the control arm, before response, is `loss_per_year`; ratios multiply. All 1 unless
    stated.
    """

    treated: Ratio = Ratio(value=1.0)
    response: Ratio = Ratio(value=1.0)
    relapse: Ratio = Ratio(value=1.0)

    @property
    def of_states(self) -> tuple[float, float]:
        """In response, and after relapse."""
        return self.response.value, self.relapse.value


class Leaving(Frozen):
    """What may happen to patients besides response, in both arms alike. All 0 unless stated.

    Loss alone may differ by arm and state (`loss_hazard_ratios`). `again_per_year` is the hazard
    of response after relapse; `frailty_sd` the standard deviation, between patients, of the log
    hazard of the first response (its mean is that of the pieces).
    """

    relapse_per_year: Rate = Rate(value=0.0)
    again_per_year: Rate = Rate(value=0.0)
    death_per_year: Rate = Rate(value=0.0)
    loss_per_year: Rate = Rate(value=0.0)
    missed_visits: SourcedNumber = SourcedNumber(value=0.0)
    frailty_sd: SourcedNumber = SourcedNumber(value=0.0)
    hazard_ratio_by: HazardRatioBy | None = None
    loss_hazard_ratios: LossHazardRatios | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 <= self.missed_visits.value < 1:
            raise broken("must miss a share of visits from 0 to below 1", "10% is 0.1.")
        if not 0 <= self.frailty_sd.value <= 3:
            raise broken("must have a frailty_sd from 0 to 3", "0.7 is much already.")
        relapse, again = self.relapse_per_year.value, self.again_per_year.value
        if again and relapse * again > _MOST_CYCLES_PER_YEAR * (relapse + again):
            rule = f"must not come and go more than {_MOST_CYCLES_PER_YEAR} times a year"
            raise broken(rule, "Lower relapse_per_year or again_per_year.")
        if self.loss_hazard_ratios:
            if not self.loss_per_year.value:
                rule = "must state 'loss_per_year', which 'loss_hazard_ratios' multiply"
                raise broken(rule, "Write for example loss_per_year: 0.1.")
            if self.frailty_sd.value:
                rule = "must not have 'loss_hazard_ratios' beside 'frailty_sd' yet"
                raise broken(rule, "Keep one, or let levels of a factor differ: hazard_ratio_by.")
        return self


_MOST_CYCLES_PER_YEAR = 12


class RiskBy(Frozen):
    """The control risk by another time than that of the primary endpoint."""

    by: Time
    risk: Risk


class EffectFrom(Frozen):
    """The effect on the risk by any time from `since` on, where it is no longer the scenario's."""

    since: Time
    effect: Effect


class BodySize(SourcedNumber):
    """Of a mean patient, to count a dose per m2 or per kg in mg; assumed without a source."""

    value: Annotated[Number, Field(gt=0, le=500)]


class ScreeningFailures(SourcedNumber):
    """The share of patients screened who are not enrolled."""

    value: Annotated[Number, Field(ge=0, lt=1)]

    @property
    def screened_per_patient(self) -> float:
        """How many are screened for each who is enrolled."""
        return 1 / (1 - self.value)


class Nature(Frozen):
    """The truth all scenarios share.

    `screening_failures` is the share of patients screened who do not enter the trial.
    """

    control_risk: Risk | None = None
    control_risk_by: Annotated[tuple[RiskBy, ...], Field(max_length=50)] = ()
    severity_slope: Slope | None = None
    factors: Annotated[tuple[Factor, ...], Field(max_length=10)] = ()
    covariates: Annotated[tuple[Covariate, ...], Field(max_length=10)] = ()
    response: Leaving | None = None
    survival: AnyLifetime | None = None
    dropout: Dropout | None = None
    enrolment: Enrolment | None = None
    outcomes: Annotated[dict[Id, AnyOutcome], Field(max_length=50)] = Field(default={})
    correlations: Annotated[tuple[Correlated, ...], Field(max_length=200)] = ()
    historical: Annotated[dict[Id, Departures], Field(max_length=50)] | None = None
    intercurrent_events: Annotated[tuple[IntercurrentEvent, ...], Field(max_length=8)] = ()
    body_surface_m2: BodySize | None = None
    body_weight_kg: BodySize | None = None
    screening_failures: ScreeningFailures | None = None
    operations: OperationalNature | None = None
    enrichment: Enrichment | None = None

    @property
    def leaving(self) -> Dropout | None:
        """When patients leave the trial: `dropout`, or ``operations.withdrawal``."""
        return self.dropout or (self.operations.withdrawal if self.operations else None)

    @property
    def loss_to_follow_up(self) -> Dropout | None:
        """When patients leave, wherever the file says so (`leaving`, `response`); None: never."""
        rate = self.response.loss_per_year if self.response else None
        return self.leaving or (Dropout(rate_per_year=rate) if rate and rate.value else None)

    @property
    def visits_missed(self) -> SourcedNumber:
        """The share of visits missed, wherever the file says so (`operations`, `response`)."""
        missed = (self.operations or OperationalNature()).visits_missed
        return missed if missed.value or not self.response else self.response.missed_visits

    @property
    def screened_per_patient(self) -> float:
        """How many are screened for each who is enrolled: 1 where nothing is said."""
        return self.screening_failures.screened_per_patient if self.screening_failures else 1.0


class Reached(OneOf):
    """A probability of response: a number, or what one arm of a published result saw."""

    model_config = one_of(
        "value",
        "result",
        remedy="Write a probability, or {source: chien-1998, result: complete-response-18mo}.",
    )

    value: Annotated[Number, Field(gt=0, lt=1)] | None = None
    source: Id | None = None
    result: Id | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_number_is_assumed(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Reached) else {"value": value}

    @model_validator(mode="after")
    def _result_of_a_source(self) -> Self:
        if self.result and not self.source:
            raise broken("must name the 'source' of its result", "Add the evidence id.")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        number = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        return {"anyOf": [number, handler(schema)]}


class Piece(OneOf):
    """A stretch of an arm's course with one hazard of response.

    The hazard is stated, or fitted so that a probability is reached at the end of the piece, or the
    control arm's, or follows from a smooth onset or from the doses given. The last piece goes on
    after its end.
    """

    model_config = one_of(
        "hazard_per_year", "reaches", "as_control", "onset", "pool", remedy="Keep one of them."
    )

    until: Time
    hazard_per_year: Rate | None = None
    reaches: Reached | None = None
    as_control: Literal[True] | None = None
    onset: Onset | None = None
    pool: EffectorPool | None = None
    note: Text | None = None

    @property
    def source(self) -> str | None:
        """The record its hazard was fitted to, where one is named."""
        stated = (self.pool and self.pool.fitted_to) or self.reaches or self.hazard_per_year
        return stated.source if stated else None


class ResponseScenario(Frozen):
    """How response comes in each arm; without `treated`, treatment changes nothing."""

    control: Annotated[tuple[Piece, ...], Field(min_length=1, max_length=20)]
    treated: Annotated[tuple[Piece, ...], Field(min_length=1, max_length=20)] | None = None

    @property
    def pool(self) -> EffectorPool | None:
        """What doses fill, where the treated arm's course follows from them."""
        return self.treated[0].pool if self.treated else None

    @model_validator(mode="after")
    def _pool_alone(self) -> Self:
        own = self.treated or ()
        if any(p.pool for p in self.control) or (any(p.pool for p in own) and len(own) > 1):
            rule = "must have a 'pool' as the only piece of 'treated'"
            raise broken(rule, "It adds to the control arm's hazard from entry until its end.")
        return self


class Scenario(Frozen):
    """One state of the world. Without an effect, treatment changes nothing.

    `as_observed` names a trial whose two observed risks are taken as the truth; `made_from` one
    whose data the scenario was made from where no number cites it. `response` states the two
    courses of an endpoint of kind response, `survival` those of one of kind time-to-event;
    `outcomes` what treatment does to endpoints that stand under ``nature.outcomes``; `modifiers`
    between whom the effect differs; `intercurrent_events` hazards of processes that differ from
    nature's. `effect_from` says what becomes of the effect on a risk by later times; else it stays
    as it is (assumed). ``exposure: proportional`` lets a forecast shrink each patient's effect, a
    difference or the logarithm of a ratio, to the share of the planned doses taken.
    """

    id: Id
    title: Text
    effect: Effect | None = None
    as_observed: Id | None = None
    made_from: Id | None = None
    control_risk: Risk | None = None
    effect_from: Annotated[tuple[EffectFrom, ...], Field(max_length=50)] = ()
    response: ResponseScenario | None = None
    survival: SurvivalScenario | None = None
    outcomes: Annotated[dict[Id, OutcomeEffect], Field(max_length=50)] = Field(default={})
    modifiers: Annotated[tuple[Modifier, ...], Field(max_length=20)] = ()
    intercurrent_events: Annotated[dict[Id, EventCourses], Field(max_length=8)] = Field(default={})
    exposure: Literal["proportional"] | None = None

    @model_validator(mode="after")
    def _observed_or_stated(self) -> Self:
        if self.as_observed and (self.effect or self.control_risk):
            raise broken(
                "must not have 'effect' or 'control_risk' beside 'as_observed'",
                "The observed trial states both risks: keep one or the other.",
            )
        for name, course in (("response", self.response), ("survival", self.survival)):
            if course and (self.effect or self.control_risk or self.as_observed):
                raise broken(
                    f"must not have 'effect', 'control_risk' or 'as_observed' beside '{name}'",
                    "The courses state both arms: keep one or the other.",
                )
        if self.response and self.survival:
            raise broken("must not have both 'response' and 'survival'", "Keep one of the two.")
        return self


def risk_at_odds_ratio(odds_ratio: float, control_risk: float) -> float:
    """Risk on treatment; exactly the control risk at an odds ratio of exactly 1."""
    if odds_ratio == 1.0:
        return control_risk
    odds = odds_ratio * control_risk / (1 - control_risk)
    return odds / (1 + odds)


def odds_ratio_between(treated_risk: float, control_risk: float) -> float:
    """Odds ratio, treated to control, of two risks strictly between 0 and 1."""
    if treated_risk == control_risk:
        return 1.0  # exactly, which the quotient may miss
    return treated_risk / (1 - treated_risk) * (1 - control_risk) / control_risk


@dataclass(frozen=True)
class Courses:
    """The two arms' courses of response, the share of visits missed, and how patients differ.

    Attributes
    ----------
    frailty_sd : float
        Of the log hazard of the first response.
    factor : str
        Whose levels differ in that hazard; empty for none.
    ratios : tuple of float
        Per level of the factor.
    visit_days : tuple of float
        Nominal days of the visits since entry, rising.
    """

    control: Course
    treated: Course
    missed_visits: float = 0.0
    frailty_sd: float = 0.0
    factor: str = ""
    ratios: tuple[float, ...] = ()
    visit_days: tuple[float, ...] = ()

    def risks(self, day: float, counted: Counted) -> tuple[float, float]:
        """Return the probabilities to be seen in response on a day; a missed visit sees none."""
        kept, arms = 1 - self.missed_visits, (self.control, self.treated)
        if counted is Counted.SUSTAINED and self.control.again:  # else relapse is for good
            days = self.visit_days
            control, treated = (own.probability_sustained(day, days, kept) for own in arms)
        else:
            control, treated = (own.probability_of_response(day) for own in arms)
        return kept * control, kept * treated


@dataclass(frozen=True)
class Truth:
    """A scenario resolved: everything the generator needs, nothing left to look up.

    Attributes
    ----------
    scenario : str
        Id of the scenario.
    label, title : str
        The effect in two words ("OR 0.82"), and the scenario's own title.
    control_risk, treated_risk : float
        Marginal risks of the primary endpoint's event, strictly between 0 and 1.
    severity_slope : float
        Log odds per standard deviation of latent severity; 0 for no prognosis.
    factors : tuple of Factor
    source : str
        Evidence id of the effect; empty where it is assumed.
    from_data_of : str
        Evidence id of the trial whose data the scenario repeats; empty otherwise.
    from_results : tuple of str
        Which of that trial's results; empty for any.
    courses : Courses or None
        For an endpoint of kind response.
    lifetimes : Lifetimes or None
        For one of kind time-to-event.
    enrolment : Enrolment or None
        When patients enter, where that is stated; the same in every scenario.
    outcomes : tuple of (endpoint id, truth)
        Of every endpoint that stands under ``nature.outcomes``.
    correlations : tuple of Correlated
        The same in every scenario.
    primary : str
        Id of the primary endpoint, where it is one of `outcomes`.
    comparisons : tuple of (endpoint id, Comparison)
        Of a single-arm trial: what stands between the historical control and the single arm. The
        truth is the effect against concurrent controls, which `control_risk` and outcomes state.
    modified : tuple of (endpoint id, risks or means)
        How effects differ between patients; of a time to an event `lifetimes` says so.
    intercurrent : tuple of EventTruth
        Processes that come between treatment and outcome.
    covariates : tuple of (id, log odds per standard deviation)
        Besides severity.
    sites : SiteEnrolment or None
        Where patients enter as sites enrol them; `enrolment` is then what is expected.
    """

    scenario: str
    label: str
    title: str
    control_risk: float
    treated_risk: float
    severity_slope: float
    factors: tuple[Factor, ...]
    source: str = ""
    from_data_of: str = ""
    from_results: tuple[str, ...] = ()
    courses: Courses | None = None
    lifetimes: Lifetimes | None = None
    enrolment: Enrolment | None = None
    outcomes: tuple[tuple[str, OutcomeTruth], ...] = ()
    correlations: tuple[Correlated, ...] = ()
    primary: str = ""
    comparisons: tuple[tuple[str, Comparison], ...] = ()
    modified: tuple[tuple[str, Modified], ...] = ()
    intercurrent: tuple[EventTruth, ...] = ()
    covariates: tuple[tuple[str, float], ...] = ()
    sites: SiteEnrolment | None = None

    @property
    def slopes(self) -> tuple[tuple[str, float], ...]:
        """Log odds per standard deviation of severity and of every covariate."""
        return ((SEVERITY, self.severity_slope), *self.covariates)

    @property
    def prognostic_sd(self) -> float:
        """Standard deviation of the log odds that severity and covariates add, a normal sum."""
        return hypot(*(slope for _, slope in self.slopes))

    def comparison(self, endpoint: str) -> Comparison | None:
        """Return how an endpoint gets from its historical control to the single arm."""
        return dict(self.comparisons).get(endpoint)

    def modified_in(self, endpoint: str) -> Modified | None:
        """Return how the effect on an endpoint differs between patients; None for alike."""
        return dict(self.modified).get(endpoint)

    def outcome(self, endpoint: str) -> OutcomeTruth | None:
        """Return the truth of an endpoint that stands under ``nature.outcomes``; else None."""
        return dict(self.outcomes).get(endpoint)

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing in the primary endpoint, but perhaps who is lost."""
        if own := self.outcome(self.primary):
            return own.is_null
        if self.courses:
            return self.courses.control == replace(
                self.courses.treated, loss=self.courses.control.loss
            )
        if self.lifetimes:
            return self.lifetimes.control == self.lifetimes.treated
        return self.treated_risk == self.control_risk

    def risks_on(self, day: float, counted: Counted = Counted.AT_HORIZON) -> tuple[float, float]:
        """Risk under control and under treatment of a read-out on a day since entry.

        `counted` matters to a response that may come again.
        """
        if self.lifetimes:
            return self.lifetimes.risks(day)
        if self.courses is None:
            return self.control_risk, self.treated_risk
        return self.courses.risks(day, counted)
