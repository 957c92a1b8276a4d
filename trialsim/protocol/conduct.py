"""How carefully the trial is carried out: flaws, each with a strength from 0 to 1."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from math import inf, log, sqrt
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.endpoints import BinaryTest, MeasuredTest
from trialsim.protocol.quantities import (
    Duration,
    Frozen,
    Id,
    Number,
    Ratio,
    SourcedNumber,
    Text,
    Whole,
    broken,
    lenient_words,
)

__all__ = [
    "RIGOROUS",
    "AllocationListKind",
    "Assessment",
    "BestOf",
    "BestOfAnalyses",
    "BestOfEndpoints",
    "BestOfSubgroups",
    "BestOfTimePoints",
    "ByArmAndOutcome",
    "CoIntervention",
    "Conduct",
    "ConductProfile",
    "DifferentialLoss",
    "EarlyDeaths",
    "Exclusion",
    "Extension",
    "ForeseenAllocation",
    "Foresight",
    "HistoricalControls",
    "ImmortalTime",
    "Mechanism",
    "NonAdherence",
    "PublicationFilter",
    "Strength",
    "UndeclaredLooks",
]


class ConductProfile(StrEnum):
    """What a template's own trial is carried out as; flaws are those of ``trialsim bias``."""

    RIGOROUS = "rigorous"


class Mechanism(StrEnum):
    """A flaw; the words of tables, of ``--only`` and of JSON `mechanism`."""

    FORESEEN_ALLOCATION = "foreseen-allocation"
    CO_INTERVENTION = "co-intervention"
    HISTORICAL_CONTROLS = "historical-controls"
    EXCLUSION = "exclusion"
    DIFFERENTIAL_LOSS = "differential-loss"
    ASSESSMENT = "assessment"
    PER_PROTOCOL = "per-protocol"
    AS_TREATED = "as-treated"
    IMMORTAL_TIME = "immortal-time"
    BEST_OF = "best-of"
    UNDECLARED_LOOKS = "undeclared-looks"
    EXTENSION = "extension"
    PUBLICATION = "publication"

    @property
    def key(self) -> str:
        """Its key in a file."""
        return self.value.replace("-", "_")


class Strength(SourcedNumber):
    """How often a flaw acts where it could, from 0 (never) to 1 (always).

    With `sd` it differs between trials: a beta distribution with mean `value` and this standard
    deviation, drawn once per trial, so that a profile is not the same flaw in every trial.
    """

    value: Annotated[Number, Field(ge=0, le=1)]
    sd: Annotated[Number, Field(ge=0, lt=0.5)] = 0.0

    @model_validator(mode="after")
    def _can_be_a_beta(self) -> Self:
        most = sqrt(self.value * (1 - self.value))
        if self.sd and self.sd >= most:
            raise broken(
                f"has an SD of {self.sd:g}, more than a strength around {self.value:g} can have",
                f"State an SD below {most:.3g}.",
            )
        return self


class _Flaw(Frozen):
    """Base of all mechanisms."""

    strength: Strength

    @property
    def acts(self) -> bool:
        """Whether it is switched on at all."""
        return self.strength.value > 0


_Probability = Annotated[Number, Field(ge=0, le=1)]


class Probability(SourcedNumber):
    """A probability, 0 and 1 included."""

    value: _Probability


class Size(SourcedNumber):
    """How much better a measurement becomes, in SDs of the read-out; at least 0."""

    value: Annotated[Number, Field(ge=0, le=10)]


class Drift(SourcedNumber):
    """How far measurements are moved, in SDs of the read-out; of either sign."""

    value: Annotated[Number, Field(ge=-10, le=10)]


def _exactly_one(flaw: Frozen, *keys: str) -> None:
    if sum(getattr(flaw, key) is not None for key in keys) != 1:
        raise broken(
            f"must have exactly one of {', '.join(keys)}",
            "State the one that fits the kind of endpoint: docs/protocol-format.md.",
        )


class ByArmAndOutcome(Frozen):
    """Probabilities that differ by arm and by whether the outcome is the unfavourable one."""

    treated_unfavourable: Probability
    treated_favourable: Probability
    control_unfavourable: Probability
    control_favourable: Probability


class Foresight(StrEnum):
    """What a recruiter knows of the next assignment."""

    PAST_ASSIGNMENTS = "past-assignments"  # those already made in the block of that stratum
    NEXT_ASSIGNMENT = "next-assignment"  # an open list, envelopes held against the light


class AllocationListKind(StrEnum):
    """What list patients are assigned from."""

    PROTOCOL = "protocol"
    BLOCKS_OF_4 = "blocks-of-4"  # one for all patients, as a pile of envelopes
    ALTERNATING = "alternating"  # quasi-random: one arm, then the other; the first by a coin


class ForeseenAllocation(_Flaw):
    """Whoever recruits guesses the next arm, and picks among the waiting by their prognosis.

    `strength` is the share of enrolments at which that happens.
    """

    waiting: Annotated[Whole, Field(ge=2, le=20)] = 2  # candidates; assumed
    knows: Annotated[Foresight, lenient_words(Foresight)] = Foresight.PAST_ASSIGNMENTS
    list: Annotated[AllocationListKind, lenient_words(AllocationListKind)] = (
        AllocationListKind.PROTOCOL
    )


class CoIntervention(_Flaw):
    """Unblinded carers give some treated patients other effective care as well.

    `strength` is the share of treated patients who get it. How good it is stands in one key, by the
    kind of endpoint.
    """

    averts: Probability | None = None  # share of the unfavourable outcomes, or of a hazard or rate
    better_sd: Size | None = None  # of a measurement
    odds_ratio: Ratio | None = None  # of a better category

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        _exactly_one(self, "averts", "better_sd", "odds_ratio")
        return self

    @property
    def size(self) -> float:
        """How much better it makes an outcome: SDs, log odds, or less of a log hazard or rate."""
        if self.averts:
            return -log(1 - self.averts.value) if self.averts.value < 1 else inf
        if self.better_sd:
            return self.better_sd.value
        return log(self.odds_ratio.value) if self.odds_ratio else 0.0


class HistoricalControls(_Flaw):
    """Controls from an earlier time, whose odds of the unfavourable outcome were others.

    `strength` is the share of controls who are historical.
    """

    # historical v concurrent controls: odds ratio of the unfavourable outcome or of a worse
    # category, ratio of hazards or rates
    drift: Ratio | None = None
    drift_sd: Drift | None = None  # how much worse a measurement was

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        _exactly_one(self, "drift", "drift_sd")
        return self

    @property
    def size(self) -> float:
        """How much worse an outcome was: SDs, or a log odds, hazard or rate ratio."""
        if self.drift_sd:
            return self.drift_sd.value
        return log(self.drift.value) if self.drift else 0.0


class Exclusion(_Flaw):
    """Patients with the unfavourable outcome are left out of one arm after randomisation.

    `strength` is the share of these who are.
    """

    arm: Literal["experimental", "control"] = "experimental"


class DifferentialLoss(_Flaw):
    """Loss that depends on arm and outcome, and an analysis of complete cases.

    `strength` multiplies the probabilities to be lost.
    """

    lost: ByArmAndOutcome


class Assessment(_Flaw):
    """An assessor who knows the arm reads outcomes differently; of the unfavourable outcome.

    `strength` 1 has these sensitivities and specificities, 0 no misreading. A measurement or a
    category is read better in an arm than it is.
    """

    sensitivity_treated: Probability | None = None
    sensitivity_control: Probability | None = None
    specificity_treated: Probability | None = None
    specificity_control: Probability | None = None
    better_sd_treated: Drift | None = None  # of a measurement
    better_sd_control: Drift | None = None
    odds_ratio_treated: Ratio | None = None  # of reading a better category
    odds_ratio_control: Ratio | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        stated = {name for name in _READINGS if getattr(self, name) is not None}
        if stated not in (set(form) for form in _FORMS):
            raise broken(
                "must state one way of reading, whole",
                f"State {'; or '.join(', '.join(form) for form in _FORMS)}.",
            )
        return self

    @property
    def of_events(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Sensitivities and specificities, each of the treated and of controls; 1 left out."""
        of = (1.0 if own is None else own.value for own in (getattr(self, n) for n in _FORMS[0]))
        sees_treated, sees_control, clears_treated, clears_control = of
        return (sees_treated, sees_control), (clears_treated, clears_control)

    @property
    def better_by(self) -> tuple[float, float] | None:
        """How much better the treated and controls are read: SDs or log odds; None of events."""
        if self.better_sd_treated and self.better_sd_control:
            return self.better_sd_treated.value, self.better_sd_control.value
        if self.odds_ratio_treated and self.odds_ratio_control:
            return log(self.odds_ratio_treated.value), log(self.odds_ratio_control.value)
        return None


_FORMS = (
    ("sensitivity_treated", "sensitivity_control", "specificity_treated", "specificity_control"),
    ("better_sd_treated", "better_sd_control"),
    ("odds_ratio_treated", "odds_ratio_control"),
)
_READINGS = tuple(name for form in _FORMS for name in form)


class NonAdherence(_Flaw):
    """Analysis by what patients took, not by what they were assigned.

    `strength` multiplies the probabilities not to adhere.
    """

    non_adherent: ByArmAndOutcome


class EarlyDeaths(StrEnum):
    """What becomes of treated patients who die before they count as exposed."""

    COUNTED_AS_UNTREATED = "counted-as-untreated"
    LEFT_OUT = "left-out"


class ImmortalTime(_Flaw):
    """Who is treated is decided by how long: those who die sooner are not counted as treated.

    `strength` is the share of these patients of whom that is so.
    """

    exposed_after: Duration  # of treatment; before it, those counted as treated cannot die
    early_deaths: Annotated[EarlyDeaths, lenient_words(EarlyDeaths)]
    hazard: Literal["constant"] = "constant"  # of death up to the read-out; assumed


class _BestOf(_Flaw):
    """Base of the ways to choose among results; `strength` is the share of trials that do it."""

    reported: Literal["benefit", "either direction"] = "benefit"  # whose P is the smallest


_Several = Annotated[Whole, Field(ge=2, le=20)]


class Correlation(SourcedNumber):
    """A correlation of latent normal numbers."""

    value: Annotated[Number, Field(ge=-1, le=1)]


class BestOfEndpoints(_BestOf):
    """Of `k` endpoints with the same risks, any two with this latent correlation, the best."""

    among: Literal["endpoints"]
    k: _Several  # the declared one included
    correlation: Correlation

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        least = -1 / (self.k - 1)
        if self.correlation.value < least:
            raise broken(
                f"has a correlation of {self.correlation.value:g}, below what {self.k} endpoints "
                "can all have with one another",
                f"State one from {least:.3g} to 1.",
            )
        return self


class BestOfTimePoints(_BestOf):
    """Of `k` time points, the declared one the last, the best.

    Of a response and a measurement: the visits up to the read-out. Of a binary endpoint and of
    ordered categories: outcomes with the same distribution, neighbours with this latent correlation
    (a first-order autoregression).
    """

    among: Literal["time-points"]
    k: _Several
    correlation: Correlation | None = None


class BestOfSubgroups(_BestOf):
    """Of all patients and some subgroups, the best.

    `k` subgroups share patients out by chance; or each level of `factors` of the template is one.
    """

    among: Literal["subgroups"]
    k: _Several | None = None
    factors: Annotated[tuple[Id, ...], Field(max_length=10)] = ()

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.k is None) == (not self.factors):
            raise broken(
                "must have exactly one of 'k' and 'factors'",
                "State how many subgroups, or the factors whose levels they are.",
            )
        if len(set(self.factors)) < len(self.factors):
            raise broken("must name each factor once", "Remove one of the two.")
        return self


FurtherTest = Literal[
    BinaryTest.CHI_SQUARE,
    BinaryTest.FISHER,
    MeasuredTest.T_TEST,
    MeasuredTest.WELCH,
    MeasuredTest.CHANGE,
    MeasuredTest.ANCOVA,
    MeasuredTest.MMRM,
]


class BestOfAnalyses(_BestOf):
    """Of the declared analysis and others of the same records, the best.

    Other tests of two proportions or of a measurement, and each per protocol: without those who do
    not adhere.
    """

    among: Literal["analyses"]
    tests: tuple[
        Annotated[FurtherTest, lenient_words(MeasuredTest), lenient_words(BinaryTest)], ...
    ] = ()
    per_protocol: ByArmAndOutcome | None = None  # probabilities not to adhere

    @model_validator(mode="after")
    def _are_several(self) -> Self:
        if not self.tests and self.per_protocol is None:
            raise broken(
                "chooses among one analysis", "Name further `tests`, or `per_protocol`, or both."
            )
        if len(set(self.tests)) < len(self.tests):
            raise broken("must name each test once", "Remove one of the two.")
        return self


BestOf = Annotated[
    BestOfEndpoints | BestOfTimePoints | BestOfSubgroups | BestOfAnalyses,
    Field(discriminator="among"),
]


class Extension(_Flaw):
    """A trial that ends just short of significance recruits more patients and analyses again.

    `strength` is the share of such trials that do this.
    """

    more: Annotated[Number, Field(gt=0, le=2)]  # share of the planned patients
    p_below: Annotated[Number, Field(gt=0, le=1)] = 0.1  # P in favour, from alpha; assumed


class UndeclaredLooks(_Flaw):
    """Analyses during the trial, each at the level of the last, and an end at the first success.

    `strength` is the share of trials that do this.
    """

    looks: Annotated[Whole, Field(ge=2, le=50)]  # evenly spaced, the last one included


class PublicationFilter(_Flaw):
    """Some trials without a significant benefit are not published.

    `strength` is the probability that such a trial is not.
    """

    significant: Literal["benefit", "either direction"] = "benefit"
    p_below: Annotated[Number, Field(gt=0, le=1)] | None = None  # instead of the protocol's alpha
    always_from: Annotated[Whole, Field(ge=1)] | None = (
        None  # patients: published whatever is found
    )


def _numbers(of: Frozen, without: Collection[str] = ()) -> Iterator[str]:
    """Yield what a flaw states: numbers with a source or assumed, and settings."""
    for name, value in of:
        words = name.replace("_", " ")
        if name in without or value is None or value == ():
            continue
        if isinstance(value, ByArmAndOutcome):
            yield f"{words} {' / '.join(_numbers(value))}"
        elif isinstance(value, SourcedNumber):
            apart = f" (SD {value.sd:g})" if isinstance(value, Strength) and value.sd else ""
            yield f"{words} {value.value:g}{apart} [{value.source or 'assumed'}]"
        elif isinstance(value, tuple):
            yield f"{words} {' and '.join(map(str, value))}"
        else:
            yield f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"


class Conduct(Frozen):
    """A profile: which flaws a trial has, how strong, and where the numbers come from."""

    schema_version: Literal[1] = 1
    id: Id
    title: Text
    note: Text | None = None
    foreseen_allocation: ForeseenAllocation | None = None
    co_intervention: CoIntervention | None = None
    historical_controls: HistoricalControls | None = None
    exclusion: Exclusion | None = None
    differential_loss: DifferentialLoss | None = None
    assessment: Assessment | None = None
    per_protocol: NonAdherence | None = None
    as_treated: NonAdherence | None = None
    immortal_time: ImmortalTime | None = None
    best_of: BestOf | None = None
    undeclared_looks: UndeclaredLooks | None = None
    extension: Extension | None = None
    publication: PublicationFilter | None = None

    @model_validator(mode="after")
    def _not_contradictory(self) -> Self:
        return self._refuse_contradictions()

    def _refuse_contradictions(self) -> Self:
        here = set(self.mechanisms)
        for one, other, why in _CONTRADICTIONS:
            if {one, other} <= here:
                raise broken(f"has both {one.key} and {other.key}: {why}", f"Keep one: {one.key}.")
        self._analyses_stand_alone(here)
        return self

    def _analyses_stand_alone(self, here: set[Mechanism]) -> None:
        flaw = self.best_of
        if not (isinstance(flaw, BestOfAnalyses) and flaw.acts):
            return
        if Mechanism.UNDECLARED_LOOKS in here:
            rule = "chooses among analyses and has undeclared looks: looks are by one test"
            raise broken(rule, "Keep one: best_of.")
        twice = {Mechanism.PER_PROTOCOL, Mechanism.AS_TREATED, Mechanism.IMMORTAL_TIME} & here
        if flaw.per_protocol and twice:
            rule = f"has per_protocol in best_of and {min(twice).key}: who adheres is asked twice"
            raise broken(rule, "Keep one: best_of.")

    def of(self, mechanism: Mechanism) -> Any:
        """Return what the profile says of one mechanism; None where it has not got it."""
        return getattr(self, mechanism.key)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Those that act, in the order they act in."""
        return tuple(m for m in Mechanism if (flaw := self.of(m)) is not None and flaw.acts)

    def in_words(self, *, strengths: bool = True) -> str:
        """Say every number of the flaws that act, each with its source or as assumed.

        Parameters
        ----------
        strengths : bool
            Whether those of the flaws are among them.
        """
        told = []
        for mechanism in self.mechanisms:
            own = ", ".join(_numbers(self.of(mechanism), () if strengths else ("strength",)))
            told.append(f"{mechanism}: {own}" if own else str(mechanism))
        return "; ".join(told)

    def only(self, mechanisms: frozenset[Mechanism] | set[Mechanism]) -> Conduct:
        """Return the profile with these mechanisms and no other."""
        return self.model_copy(update={m.key: None for m in Mechanism if m not in mechanisms})

    def at(self, mechanism: Mechanism, strength: float) -> Conduct:
        """Return the profile with one mechanism at another strength, the same in every trial."""
        flaw = self.of(mechanism)
        assert flaw is not None  # the caller asked for one that is there
        own = flaw.model_copy(update={"strength": Strength(value=strength)})
        return self.model_copy(update={mechanism.key: own})

    def with_strengths(self, strengths: Mapping[Mechanism, float]) -> Conduct:
        """Return the profile with flaws it states at other strengths, 0 for off.

        Raises
        ------
        PydanticCustomError
            If flaws that act then contradict one another, as when a file is read.
        """
        found = self
        for mechanism, strength in strengths.items():
            found = found.at(mechanism, strength)
        return found._refuse_contradictions()


_CONTRADICTIONS = (
    (
        Mechanism.PER_PROTOCOL,
        Mechanism.AS_TREATED,
        "who does not adhere is left out, or moves to the other arm",
    ),
    (
        Mechanism.PER_PROTOCOL,
        Mechanism.IMMORTAL_TIME,
        "who counts as treated is decided by adherence, or by time on treatment",
    ),
    (
        Mechanism.AS_TREATED,
        Mechanism.IMMORTAL_TIME,
        "who counts as treated is decided by adherence, or by time on treatment",
    ),
    (
        Mechanism.HISTORICAL_CONTROLS,
        Mechanism.FORESEEN_ALLOCATION,
        "historical controls are not allocated",
    ),
)

RIGOROUS = Conduct(id="rigorous", title="carried out as planned")
