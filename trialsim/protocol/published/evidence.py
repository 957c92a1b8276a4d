"""What someone published: typed records, each number with its status, and where sources disagree.

Evidence never becomes truth by accident: a scenario has to cite it, and then the number cited must
be one the record states.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from trialsim.protocol.design import Blinded, Regimen
from trialsim.protocol.published.checks import DeclaredCheck, Verdict
from trialsim.protocol.quantities import (
    Frozen,
    Id,
    Number,
    Text,
    Time,
    Whole,
    broken,
    lenient_words,
)
from trialsim.protocol.scenario import odds_ratio_between

__all__ = [
    "ArmResult",
    "BiasEstimate",
    "BiasMeasure",
    "Conflict",
    "Consistency",
    "ConflictLevel",
    "Document",
    "EffectEstimate",
    "EffectMeasure",
    "EvidenceFile",
    "EvidenceRecord",
    "Flaw",
    "IntervalKind",
    "MeanInArm",
    "MetaEpidemiology",
    "NaturalHistory",
    "OutcomeType",
    "Pharmacokinetics",
    "Plan",
    "Pool",
    "Quantity",
    "Read",
    "Recruitment",
    "Side",
    "StatedNumber",
    "Status",
    "Trial",
    "TrialResult",
    "Verdict",
]


class Status(StrEnum):
    """How far a number can be relied on."""

    PUBLISHED = "published"  # read in the paper, its abstract, a table or its registry entry
    DERIVED = "derived"  # arithmetic on published numbers
    DOCUMENT = "document"  # only one of the source documents says so
    UNVERIFIED = "unverified"  # not checked against the publication

    @property
    def is_weak(self) -> bool:
        """Whether it must never be a default without saying so."""
        return self in (Status.DOCUMENT, Status.UNVERIFIED)


class Read(StrEnum):
    """How much of a publication was read for its record."""

    FULL_TEXT = "full text"
    ABSTRACT = "abstract"
    REGISTRY_ENTRY = "registry entry"
    SECONDARY_TEXT = "secondary text"


class EffectMeasure(StrEnum):
    """The scale of a published estimate."""

    ODDS_RATIO = "odds ratio"
    RISK_RATIO = "risk ratio"
    RISK_DIFFERENCE = "risk difference"
    HAZARD_RATIO = "hazard ratio"
    STANDARDISED_MEAN_DIFFERENCE = "standardised mean difference"
    MEAN_DIFFERENCE = "mean difference"

    @property
    def short(self) -> str:
        """Initials: OR, RR, RD, HR, SMD, MD."""
        return "".join(word[0] for word in self.value.split()).upper()


_StatusField = Annotated[Status, lenient_words(Status)]
Probability = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[Whole, Field(ge=0)]


class Consistency(Frozen):
    """The verdict of ``trialsim evidence check`` on a record's numbers, and what it means.

    A record without one has no numbers that can be held against one another.
    """

    verdict: Annotated[Verdict, lenient_words(Verdict)]
    note: Text


class ArmResult(Frozen):
    """Events among patients, or a summary of a measurement, in one arm.

    With `sd`, `value` is the mean of `n` patients.
    """

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"sd": ["value", "n"]}})

    n: Annotated[Whole, Field(ge=1)] | None = None
    events: Count | None = None
    value: Number | None = None
    sd: Annotated[Number, Field(gt=0)] | None = None
    interval: tuple[Number, Number] | None = None
    status: _StatusField = Status.PUBLISHED

    @model_validator(mode="after")
    def _mean_of_the_sd(self) -> Self:
        if self.sd is not None and (self.value is None or self.n is None or self.n < 2):
            rule = "must have 'value', the mean, and 'n' of at least 2 beside 'sd'"
            raise broken(rule, "Write for example {n: 80, value: 6.2, sd: 3.1}.")
        return self

    @property
    def mean(self) -> MeanInArm | None:
        """Mean and standard deviation, where both are known."""
        if self.sd is None or self.value is None or self.n is None:
            return None
        return MeanInArm(self.n, self.value, self.sd)

    @property
    def risk(self) -> float | None:
        """Events per patient, where both are known."""
        return self.events / self.n if self.events is not None and self.n else None


class MeanInArm(NamedTuple):
    """A measurement in one arm: patients, mean, standard deviation."""

    n: int
    mean: float
    sd: float


class EffectEstimate(Frozen):
    """A comparison of two arms, treated to control."""

    id: Id | None = None
    measure: Annotated[EffectMeasure, lenient_words(EffectMeasure)]
    value: Number
    ci: tuple[Number, Number] | None = None
    p: Probability | None = None
    status: _StatusField
    note: Text | None = None

    def __str__(self) -> str:
        digits = 3 if self.measure is EffectMeasure.RISK_DIFFERENCE else 2
        ends = [f"{end:.{digits}f}" for end in self.ci or ()]
        interval = f" ({' to '.join(ends)})" if ends else ""
        p = f", P = {self.p:g}" if self.p is not None else ""
        return f"{self.measure.short} {self.value:.{digits}f}{interval}{p}"


class SignificanceTest(Frozen):
    """A P value that belongs to no estimate given here."""

    name: Text
    p: Probability
    status: _StatusField = Status.PUBLISHED


class TrialResult(Frozen):
    """One outcome of a trial at one time; `regimen` names what its treated arm got, of several."""

    id: Id
    outcome: Text
    unit: Text | None = None
    at: Time | None = None
    regimen: Id | None = None
    experimental: ArmResult | None = None
    control: ArmResult | None = None
    effects: tuple[EffectEstimate, ...] = ()
    tests: tuple[SignificanceTest, ...] = ()
    note: Text | None = None


class TrialDesign(Frozen):
    """How a trial was carried out, as far as its report says.

    `multicentre` where the number of centres is not known; `application` says whether the
    treatment is given alone or added to another.
    """

    randomised: bool
    allocation_concealment: Literal["adequate", "inadequate", "unclear"] | None = None
    blinding: tuple[Annotated[Blinded, lenient_words(Blinded)], ...] | None = None
    blinding_as_described: Literal["open", "single", "double"] | None = None
    centres: Annotated[Whole, Field(ge=1)] | None = None
    multicentre: bool | None = None
    n_randomised: Annotated[Whole, Field(ge=1)] | None = None
    excluded_after_randomisation: Count | None = None
    population: Text | None = None
    application: Literal["monotherapy", "add-on"] | None = None
    recruited: Text | None = None
    status: _StatusField = Status.PUBLISHED
    note: Text | None = None


class RecordedRegimen(Frozen):
    """A regimen as some source describes it."""

    id: Id | None = None
    regimen: Regimen
    status: _StatusField
    note: Text | None = None


class IntervalKind(StrEnum):
    """What the two ends of an interval are."""

    CONFIDENCE = "95% CI"
    CREDIBLE = "95% CrI"
    QUARTILES = "quartiles"
    RANGE = "range"
    STANDARD_DEVIATION = "mean -+ SD"
    NOT_STATED = "not stated"


class Quantity(Frozen):
    """One more number of a record, which is neither an outcome of arms nor a comparison of them.

    `what` says in a few words what was counted or measured; `value` may be left out where only an
    interval is given.
    """

    id: Id
    what: Text
    value: Number | None = None
    interval: tuple[Number, Number] | None = None
    interval_kind: Annotated[IntervalKind, lenient_words(IntervalKind)] | None = None
    unit: Text
    n: Annotated[Whole, Field(ge=1)] | None = None
    events: Count | None = None
    p: Probability | None = None
    status: _StatusField
    note: Text | None = None

    @model_validator(mode="after")
    def _a_number_and_its_kind(self) -> Self:
        if self.value is None and self.interval is None:
            raise broken("must have 'value' or 'interval'", "Add one of the two.")
        if (self.interval is None) != (self.interval_kind is None):
            raise broken("must have 'interval' and 'interval_kind' together", "Add the other.")
        return self

    def __str__(self) -> str:
        said = "" if self.value is None else f"{self.value:g}"
        if self.interval:
            low, high = self.interval
            ends = f"{low:g} to {high:g}"
            kind = "" if self.interval_kind is IntervalKind.CONFIDENCE else f" {self.interval_kind}"
            said = f"{said} ({ends}{kind})" if said else f"{ends}{kind}"
        counts = f", {self.events}/{self.n}" if self.events is not None and self.n else ""
        p = f", P = {self.p:g}" if self.p is not None else ""
        return f"{self.what}: {said} {self.unit}{counts}{p}"


class _Record(Frozen):
    id: Id
    title: Text
    citation: Text
    doi: Annotated[str, Field(pattern=r"^10\.[0-9]{4,9}/\S+$")] | None = None
    registration: Text | None = None
    condition: Id
    duplicates: tuple[Id, ...] = ()
    read: Annotated[Read, lenient_words(Read)] | None = None
    consistency: Consistency | None = None
    checks: Annotated[tuple[DeclaredCheck, ...], Field(max_length=50)] = ()
    quantities: Annotated[tuple[Quantity, ...], Field(max_length=200)] = ()
    note: Text | None = None

    def stated(self) -> tuple[StatedNumber, ...]:
        """Numbers of this record a scenario may cite."""
        return ()


class StatedNumber(NamedTuple):
    """A number a record states: what it is (a key of the file format), value and status."""

    quantity: str
    value: float
    status: Status


_SAME_DAY = 0.5


class Trial(_Record):
    """One trial and its results."""

    kind: Literal["trial"]
    design: TrialDesign
    regimens: tuple[RecordedRegimen, ...] = ()
    comparator: Text | None = None
    results: Annotated[tuple[TrialResult, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _regimens_are_there(self) -> Self:
        known = [each.id for each in self.regimens if each.id]
        for result in self.results:
            if result.regimen is not None and result.regimen not in known:
                rule = f"names a regimen '{result.regimen}' in {result.id} that is not there"
                raise broken(rule, f"Give one of its regimens that id; known: {known or 'none'}.")
        return self

    def result(self, identifier: str) -> TrialResult | None:
        """Return the result of that id, if there is one."""
        return next((result for result in self.results if result.id == identifier), None)

    def risks(self, identifier: str) -> tuple[float, float] | None:
        """Return the risks in the treated and the control arm of a result, where both are known."""
        result = self.result(identifier)
        if result is None or result.experimental is None or result.control is None:
            return None
        treated, control = result.experimental.risk, result.control.risk
        return None if treated is None or control is None else (treated, control)

    def means(self, identifier: str) -> tuple[MeanInArm, MeanInArm] | None:
        """Return the means in the treated and the control arm, where both have theirs."""
        result = self.result(identifier)
        if result is None or result.experimental is None or result.control is None:
            return None
        treated, control = result.experimental.mean, result.control.mean
        return None if treated is None or control is None else (treated, control)

    def control_risks_by(self, day: float) -> tuple[StatedNumber, ...]:
        """Return the control arm's risks by a day that are published as percentages."""
        return tuple(
            StatedNumber("control_risk", result.control.value / 100, result.control.status)
            for result in self.results
            if result.control and result.control.value is not None and result.unit == "%"
            if result.at and abs(result.at.days_after_entry(None) - day) < _SAME_DAY
        )

    @override
    def stated(self) -> tuple[StatedNumber, ...]:
        found: list[StatedNumber] = []
        for result in self.results:
            if means := self.means(result.id):
                difference = means[0].mean - means[1].mean
                found.append(StatedNumber("mean_difference", difference, Status.DERIVED))
            treated = result.experimental.risk if result.experimental else None
            control = result.control.risk if result.control else None
            if result.control and control is not None:
                found.append(StatedNumber("control_risk", control, result.control.status))
            if result.experimental and treated is not None:
                found.append(StatedNumber("treated_risk", treated, result.experimental.status))
            if treated and control and max(treated, control) < 1:
                odds_ratio = odds_ratio_between(treated, control)
                found += [
                    StatedNumber("odds_ratio", odds_ratio, Status.DERIVED),
                    StatedNumber("risk_ratio", treated / control, Status.DERIVED),
                    StatedNumber("risk_difference", treated - control, Status.DERIVED),
                ]
            for name, arm in (
                ("control_risk", result.control),
                ("treated_risk", result.experimental),
            ):
                found += _stated_of_none(name, arm)
            found += _stated_effects(result.effects)
        if not any(number.quantity in ("control_risk", "treated_risk") for number in found):
            found += [number for result in self.results for number in _stated_percentages(result)]
        return tuple(found)


def _stated_percentages(result: TrialResult) -> list[StatedNumber]:
    """Return the risks of a result of a trial that is known by percentages only."""
    arms = (("control_risk", result.control), ("treated_risk", result.experimental))
    return [
        StatedNumber(quantity, arm.value / 100, arm.status)
        for quantity, arm in arms
        if arm and result.unit == "%" and arm.events is None and arm.sd is None
        if arm.value is not None and 0 < arm.value < 100
    ]


def _stated_of_none(quantity: str, arm: ArmResult | None) -> list[StatedNumber]:
    """Return what no event in n patients says of a risk, which cannot be 0 in a scenario.

    The median-unbiased estimate ``1 - 0.5**(1/n)`` and the one-sided 95% limit of Clopper and
    Pearson (1934), ``1 - 0.05**(1/n)``: the risks at which none has a chance of 50% and of 5%.
    """
    if arm is None or arm.events != 0 or not arm.n:
        return []
    return [StatedNumber(quantity, 1 - c ** (1 / arm.n), _derived(arm)) for c in (0.5, 0.05)]


def _derived(arm: ArmResult) -> Status:
    return arm.status if arm.status.is_weak else Status.DERIVED


class Pool(_Record):
    """A meta-analysis, or one stratum of it. Never simulated as if it were one trial."""

    kind: Literal["pool"]
    n_trials: Annotated[Whole, Field(ge=1)] | None = None
    n_patients: Annotated[Whole, Field(ge=1)] | None = None
    includes: tuple[Id, ...] = ()
    outcome: Text
    at: Time | None = None
    effects: Annotated[tuple[EffectEstimate, ...], Field(min_length=1)]
    composition_status: _StatusField = Status.PUBLISHED

    @override
    def stated(self) -> tuple[StatedNumber, ...]:
        return tuple(_stated_effects(self.effects))


class Plan(_Record):
    """What a team assumed when it sized its trial: not data."""

    kind: Literal["plan"]
    of: Id
    control_risk: Annotated[Number, Field(gt=0, lt=1)]
    treated_risk: Annotated[Number, Field(gt=0, lt=1)]
    alpha: Annotated[Number, Field(gt=0, lt=0.5)]
    power: Annotated[Number, Field(gt=0, lt=1)]
    n_total: Annotated[Whole, Field(ge=2)]
    status: _StatusField

    @override
    def stated(self) -> tuple[StatedNumber, ...]:
        ratio = odds_ratio_between(self.treated_risk, self.control_risk)
        return (
            StatedNumber("control_risk", self.control_risk, self.status),
            StatedNumber("treated_risk", self.treated_risk, self.status),
            StatedNumber("odds_ratio", ratio, Status.DERIVED),
        )


class Document(_Record):
    """A secondary text that speaks about trials. States no number a scenario may cite."""

    kind: Literal["document"]
    about: tuple[Id, ...] = ()


class NaturalHistory(_Record):
    """What happens without the treatment, or to a response once it is there."""

    kind: Literal["natural-history"]


class Pharmacokinetics(_Record):
    """What the body does to the drug."""

    kind: Literal["pharmacokinetics"]


class Recruitment(_Record):
    """How fast patients come and how many stay."""

    kind: Literal["recruitment"]


class Flaw(StrEnum):
    """What in a trial's conduct or setting an estimate of bias is about."""

    SEQUENCE_GENERATION = "sequence generation"
    ALLOCATION_CONCEALMENT = "allocation concealment"
    DOUBLE_BLINDING = "double blinding"
    PARTICIPANT_BLINDING = "participant blinding"
    PROVIDER_BLINDING = "provider blinding"
    ASSESSOR_BLINDING = "assessor blinding"
    INCOMPLETE_DATA = "incomplete data"
    EXCLUSIONS = "exclusions after randomisation"
    EARLY_STOPPING = "early stopping"
    SINGLE_CENTRE = "single centre"
    SMALL_SIZE = "small size"
    SELECTIVE_PUBLICATION = "selective publication"
    SELECTIVE_REPORTING = "selective reporting"
    FUNDING = "industry funding"
    FLEXIBLE_ANALYSIS = "flexible analysis"


class OutcomeType(StrEnum):
    """The outcomes an estimate of bias is about."""

    ALL = "all"
    MORTALITY = "mortality"
    OBJECTIVE = "objective"
    SUBJECTIVE = "subjective"
    CONTINUOUS = "continuous"


class BiasMeasure(StrEnum):
    """The scale of an estimate of bias, flawed to sound trials; below 1 or 0 flaws flatter."""

    RATIO_OF_ODDS_RATIOS = "ratio of odds ratios"
    RATIO_OF_RISK_RATIOS = "ratio of risk ratios"
    DIFFERENCE_IN_EFFECT_SIZE = "difference in standardised effect size"
    ODDS_RATIO = "odds ratio"
    RISK_RATIO = "risk ratio"


class BiasEstimate(Frozen):
    """How much larger treatment effects are in trials with a flaw.

    Attributes
    ----------
    kappa : float or None
        Increase in between-trial standard deviation among flawed trials (log scale).
    phi : float or None
        Standard deviation of the mean bias between meta-analyses (log scale).
    """

    id: Id
    flaw: Annotated[Flaw, lenient_words(Flaw)]
    comparison: Text
    outcomes: Annotated[OutcomeType, lenient_words(OutcomeType)]
    measure: Annotated[BiasMeasure, lenient_words(BiasMeasure)]
    value: Number
    ci: tuple[Number, Number] | None = None
    kappa: Number | None = None
    phi: Number | None = None
    adjustment: Text | None = None
    status: _StatusField
    note: Text | None = None

    def __str__(self) -> str:
        interval = f" ({self.ci[0]:.2f} to {self.ci[1]:.2f})" if self.ci else ""
        spread = "".join(
            f", {name} {number:.2f}"
            for name, number in (("kappa", self.kappa), ("phi", self.phi))
            if number is not None
        )
        about = f"{self.flaw}, {self.comparison}, {self.outcomes} outcomes"
        return f"{about}: {self.measure} {self.value:.2f}{interval}{spread}"


class MetaEpidemiology(_Record):
    """How trial conduct goes with treatment effects, over many meta-analyses."""

    kind: Literal["meta-epidemiology"]
    n_meta_analyses: Annotated[Whole, Field(ge=1)] | None = None
    n_trials: Annotated[Whole, Field(ge=1)] | None = None
    size_status: _StatusField = Status.PUBLISHED
    estimates: tuple[BiasEstimate, ...] = ()

    def tau2_of(self, estimate: BiasEstimate) -> float | None:
        """Return a published tau squared of an estimate that is not said to be kappa's or phi's.

        It is the quantity called ``tau2-ID``.
        """
        own = (q.value for q in self.quantities if q.id == f"tau2-{estimate.id}")
        return next(own, None)


EvidenceRecord = Annotated[
    Trial
    | Pool
    | Plan
    | Document
    | NaturalHistory
    | Pharmacokinetics
    | Recruitment
    | MetaEpidemiology,
    Field(discriminator="kind"),
]


def _stated_effects(effects: tuple[EffectEstimate, ...]) -> list[StatedNumber]:
    return [StatedNumber(e.measure.value.replace(" ", "_"), e.value, e.status) for e in effects]


class ConflictLevel(StrEnum):
    """How much a disagreement matters to whoever uses the number."""

    NOTE = "note"
    CAUTION = "caution"
    REFUSED = "refused"


class Side(Frozen):
    """What one record says in a disagreement.

    With `result` or `effect`, the words are made from that result's counts or that estimate's
    numbers; `note` adds what is not a number.
    """

    source: Id
    result: Id | None = None
    effect: Id | None = None
    note: Text | None = None


class Conflict(Frozen):
    """A disagreement between sources, and which of them is used here."""

    id: Id
    level: Annotated[ConflictLevel, lenient_words(ConflictLevel)]
    subject: Text
    sides: Annotated[tuple[Side, ...], Field(min_length=2)]
    used: Id | None = None
    used_note: Text | None = None

    @property
    def touches(self) -> tuple[str, ...]:
        """Ids of the records it is about."""
        return tuple(dict.fromkeys(side.source for side in self.sides))


class EvidenceFile(Frozen):
    """One file of `protocols/evidence/`."""

    schema_version: Literal[1]
    evidence: tuple[EvidenceRecord, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
