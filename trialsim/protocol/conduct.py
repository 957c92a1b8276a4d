"""How carefully the trial is carried out: flaws, each with a strength from 0 to 1."""

from __future__ import annotations

from enum import StrEnum
from math import sqrt
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.quantities import (
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
    "Assessment",
    "ByArmAndOutcome",
    "CoIntervention",
    "Conduct",
    "ConductProfile",
    "DifferentialLoss",
    "Exclusion",
    "ForeseenAllocation",
    "Foresight",
    "HistoricalControls",
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
    UNDECLARED_LOOKS = "undeclared-looks"
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


class ForeseenAllocation(_Flaw):
    """Whoever recruits guesses the next arm, and picks among the waiting by their prognosis.

    `strength` is the share of enrolments at which that happens.
    """

    waiting: Annotated[Whole, Field(ge=2, le=20)] = 2  # candidates; assumed
    knows: Annotated[Foresight, lenient_words(Foresight)] = Foresight.PAST_ASSIGNMENTS


class CoIntervention(_Flaw):
    """Unblinded carers give some treated patients other effective care as well.

    `strength` is the share of treated patients who get it.
    """

    averts: Probability  # share of unfavourable outcomes that it averts


class HistoricalControls(_Flaw):
    """Controls from an earlier time, whose odds of the unfavourable outcome were others.

    `strength` is the share of controls who are historical.
    """

    drift: Ratio  # odds ratio of the unfavourable outcome, historical v concurrent controls


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

    `strength` 1 has these sensitivities and specificities, 0 no misreading.
    """

    sensitivity_treated: Probability
    sensitivity_control: Probability
    specificity_treated: Probability
    specificity_control: Probability


class NonAdherence(_Flaw):
    """Analysis by what patients took, not by what they were assigned.

    `strength` multiplies the probabilities not to adhere.
    """

    non_adherent: ByArmAndOutcome


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
    always_from: Annotated[Whole, Field(ge=1)] | None = (
        None  # patients: published whatever is found
    )


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
    undeclared_looks: UndeclaredLooks | None = None
    publication: PublicationFilter | None = None

    @model_validator(mode="after")
    def _not_contradictory(self) -> Self:
        here = set(self.mechanisms)
        for one, other, why in _CONTRADICTIONS:
            if {one, other} <= here:
                raise broken(f"has both {one.key} and {other.key}: {why}", f"Keep one: {one.key}.")
        return self

    def of(self, mechanism: Mechanism) -> Any:
        """Return what the profile says of one mechanism; None where it has not got it."""
        return getattr(self, mechanism.key)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Those that act, in the order they act in."""
        return tuple(m for m in Mechanism if (flaw := self.of(m)) is not None and flaw.acts)

    def only(self, mechanisms: frozenset[Mechanism] | set[Mechanism]) -> Conduct:
        """Return the profile with these mechanisms and no other."""
        return self.model_copy(update={m.key: None for m in Mechanism if m not in mechanisms})

    def at(self, mechanism: Mechanism, strength: float) -> Conduct:
        """Return the profile with one mechanism at another strength, the same in every trial."""
        flaw = self.of(mechanism)
        assert flaw is not None  # the caller asked for one that is there
        own = flaw.model_copy(update={"strength": Strength(value=strength)})
        return self.model_copy(update={mechanism.key: own})


_CONTRADICTIONS = (
    (
        Mechanism.PER_PROTOCOL,
        Mechanism.AS_TREATED,
        "who does not adhere is left out, or moves to the other arm",
    ),
    (
        Mechanism.HISTORICAL_CONTROLS,
        Mechanism.FORESEEN_ALLOCATION,
        "historical controls are not allocated",
    ),
)

RIGOROUS = Conduct(id="rigorous", title="carried out as planned")
