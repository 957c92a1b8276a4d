"""Conflicting results, and what could explain them: records, their covariates, explanations."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.endpoints import Better
from trialsim.protocol.quantities import (
    Frozen,
    Id,
    Number,
    Ratio,
    Risk,
    SourcedNumber,
    Text,
    Whole,
    broken,
)

__all__ = [
    "TAU_SCALE",
    "TAU_SOURCE",
    "Alternative",
    "Candidate",
    "Chance",
    "Contrast",
    "Explanation",
    "Filtering",
    "LeftOut",
    "OneEstimate",
    "PublishedEffect",
    "Reconciliation",
    "ReconciledRecord",
    "Shift",
    "ShiftSize",
    "Spread",
    "Unmeasured",
    "Varying",
]

MOST_RECORDS = 100
TAU_SCALE = 0.5
"""Scale of the half-normal prior of the standard deviation of true log odds ratios between trials.

Friede, Roever, Wandel and Neuenschwander (2017, Research Synthesis Methods 8:79-91) recommend 0.5
or 1.0 for few trials; that it is 0.5 of the two is assumed. With it 95% of them are below 0.98."""
TAU_SOURCE = "Friede et al. 2017: 0.5 or 1.0; of the two assumed"


class Spread(SourcedNumber):
    """A standard deviation of log odds ratios."""

    value: Annotated[Number, Field(gt=0, le=5)]


class Weight(SourcedNumber):
    """A probability that an explanation is the right one, before the records are seen."""

    value: Annotated[Number, Field(gt=0, lt=1)]


class OneEstimate(Frozen):
    """Where an effect is published: a result of a trial, or the odds ratio of a pool."""

    evidence: Id
    result: Id | None = None


class PublishedEffect(OneEstimate):
    """The same, `less` others that are inside it: what the rest of a pool shows (derived)."""

    less: Annotated[tuple[OneEstimate, ...], Field(max_length=20)] = ()


class ReconciledRecord(Frozen):
    """One record: an effect and what is known of its trials.

    Attributes
    ----------
    effect : PublishedEffect or None
    instead : PublishedEffect or None
        What stands for an effect only a document states, where such numbers are left out.
    n_trials : int
        Of which it is the mean, taken to be of one size.
    covariates : dict
        Name -> level. One that is not there is not known.
    """

    id: Id
    title: Text
    effect: PublishedEffect
    instead: PublishedEffect | None = None
    n_trials: Annotated[Whole, Field(ge=1, le=20)] = 1
    n_patients: Annotated[Whole, Field(ge=2)] | None = None
    note: Text | None = None
    covariates: dict[Id, Id] = Field(default_factory=dict)


class Contrast(Frozen):
    """Two parts of one trial: the ratio of the effect in the first to that in the second.

    Nearly independent of the trial's own effect, so it may stand beside it. One reported `because`
    significant has the likelihood of a contrast that was significant.
    """

    id: Id
    title: Text
    evidence: Id
    first: Id
    second: Id
    because: Literal["planned", "significant"] = "planned"


class LeftOut(Frozen):
    """A record that does not enter, and why."""

    evidence: Id
    why: Text


class BiasSource(Frozen):
    """An estimate of bias of a meta-epidemiological record."""

    evidence: Id
    estimate: Id


class ShiftSize(Frozen):
    """How far effects are shifted: published ratios of odds ratios, which multiply, or assumed.

    Where several are named, they are taken as independent.
    """

    sources: Annotated[tuple[BiasSource, ...], Field(max_length=10)] = ()
    odds_ratio: Ratio | None = None
    sd: Spread | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.sources) == (self.odds_ratio is not None) or (
            (self.odds_ratio is None) != (self.sd is None)
        ):
            raise broken("must have 'sources', or 'odds_ratio' and 'sd'", "Keep one of the two.")
        return self


class _Explanation(Frozen):
    id: Id
    title: Text
    weight: Weight
    note: Text | None = None


class Chance(_Explanation):
    """One effect in all trials."""

    kind: Literal["chance"]


class Shift(_Explanation):
    """One effect, and trials of some levels of a covariate are shifted from it."""

    kind: Literal["shift"]
    covariate: Id
    levels: Annotated[dict[Id, ShiftSize], Field(min_length=1, max_length=20)]


class Filtering(_Explanation):
    """One effect, and trials of some levels of a covariate are seldom published if not significant.

    `odds_ratio`: of being published, significant to not, and the SD of its logarithm `between`
    literatures; `published`: share of significant ones.
    """

    kind: Literal["filter"]
    covariate: Id
    levels: Annotated[tuple[Id, ...], Field(min_length=1, max_length=20)]
    odds_ratio: BiasSource
    between: Spread
    published: Risk


class Varying(_Explanation):
    """Effects that differ from population to population; `sd` is the scale of a half-normal."""

    kind: Literal["varying"]
    sd: Spread = Spread(value=TAU_SCALE, note=TAU_SOURCE)


class Unmeasured(_Explanation):
    """An explanation that no record says anything about."""

    kind: Literal["unmeasured"]
    why: Text


Explanation = Annotated[
    Chance | Shift | Filtering | Varying | Unmeasured, Field(discriminator="kind")
]


class CandidateTrials(Frozen):
    """Trials that could be done next, `n_total` patients in all of them, 1:1."""

    n_total: Annotated[Whole, Field(ge=4, le=1_000_000)]
    n_trials: Annotated[Whole, Field(ge=1, le=20)] = 1
    control_risk: Risk
    covariates: dict[Id, Id] = Field(default_factory=dict)
    subgroups: Annotated[Whole, Field(ge=0, le=5)] = 0  # splits into halves, planned


class Candidate(Frozen):
    """A next trial, or several, all of them published whatever they find."""

    id: Id
    title: Text
    trials: Annotated[tuple[CandidateTrials, ...], Field(min_length=1, max_length=5)]


class Alternative(Frozen):
    """One choice of the file made otherwise: whether the answer depends on it.

    Attributes
    ----------
    chosen : {"before", "after"}
        Whether what stands in the file was chosen before its weights had been seen, or after.
    weights : dict
        Explanation -> weight beforehand; the others keep their proportions.
    effect_sd : Spread or None
    explanations : tuple of Explanation
        Each instead of the one of the same id.
    covariates : dict
        Record -> covariates that are added or replaced.
    contrasts : dict
        Contrast -> why it was reported.
    """

    id: Id
    title: Text
    chosen: Literal["before", "after"]
    note: Text | None = None
    weights: dict[Id, Annotated[Number, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    effect_sd: Spread | None = None
    explanations: Annotated[tuple[Explanation, ...], Field(max_length=12)] = ()
    covariates: dict[Id, dict[Id, Id]] = Field(default_factory=dict)
    contrasts: dict[Id, Literal["planned", "significant"]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        stated = (self.weights, self.effect_sd, self.explanations, self.covariates, self.contrasts)
        if not any(stated):
            remedy = "State weights, effect_sd, explanations, covariates or contrasts."
            raise broken("changes nothing", remedy)
        if sum(self.weights.values()) >= 1:
            total = sum(self.weights.values())
            raise broken(f"has weights that add up to {total:g}", "Leave some for the others.")
        return self


class Reconciliation(Frozen):
    """Conflicting results of one question, and what could explain them."""

    schema_version: Literal[1] = 1
    id: Id
    title: Text
    note: Text | None = None
    template: Id
    better: Better = Better.LOWER
    effect_sd: Spread  # of the log odds ratio in sound trials, around 1
    gap: tuple[tuple[Id, ...], tuple[Id, ...]] | None = None  # what is to be explained
    records: Annotated[tuple[ReconciledRecord, ...], Field(max_length=MOST_RECORDS)]
    contrasts: Annotated[tuple[Contrast, ...], Field(max_length=20)] = ()
    left_out: Annotated[tuple[LeftOut, ...], Field(max_length=50)] = ()
    explanations: Annotated[tuple[Explanation, ...], Field(min_length=2, max_length=12)]
    alternatives: Annotated[tuple[Alternative, ...], Field(max_length=30)] = ()
    candidates: Annotated[tuple[Candidate, ...], Field(max_length=10)] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        for what, ids in (
            ("record", [record.id for record in self.records]),
            ("contrast", [contrast.id for contrast in self.contrasts]),
            ("explanation", [own.id for own in self.explanations]),
            ("alternative", [one.id for one in self.alternatives]),
            ("candidate", [candidate.id for candidate in self.candidates]),
        ):
            if twice := next((name for name in ids if ids.count(name) > 1), ""):
                raise broken(f"has the {what} '{twice}' twice", "Give each its own id.")
        total = sum(own.weight.value for own in self.explanations)
        if abs(total - 1) > 1e-9:
            raise broken(f"has weights that add up to {total:g}", "Let them add up to 1.")
        known = {record.id for record in self.records}
        for own in self.explanations:
            self._has_levels(own)
        for one in self.alternatives:
            self._knows(one)
        for candidate in self.candidates:
            self._covers(candidate)
        for side in self.gap or ():
            if strange := sorted(set(side) - known):
                raise broken(f"has no record '{strange[0]}'", f"Name {', '.join(sorted(known))}.")
        return self

    def _knows(self, one: Alternative) -> None:
        own = [each.id for each in self.explanations]
        named = {*one.weights, *(each.id for each in one.explanations)}
        records = [record.id for record in self.records]
        contrasts = [contrast.id for contrast in self.contrasts]
        for strange, what, known in (
            (sorted(named - set(own)), "explanation", own),
            (sorted(set(one.covariates) - set(records)), "record", records),
            (sorted(set(one.contrasts) - set(contrasts)), "contrast", contrasts),
        ):
            if strange:
                rule = f"has the alternative '{one.id}' with no {what} '{strange[0]}'"
                raise broken(rule, f"Name {', '.join(known) or 'none: there are none'}.")
        if set(one.weights) == set(own):
            rule = f"has the alternative '{one.id}' with a weight for every explanation"
            raise broken(rule, "Leave one out: the others keep their proportions.")
        changed = self.with_alternative(one)
        for each in one.explanations:
            changed._has_levels(each)

    def with_alternative(self, one: Alternative) -> Reconciliation:
        """Return the file with a choice made otherwise, all but weights."""
        instead = {each.id: each for each in one.explanations}
        explanations = tuple(instead.get(own.id, own) for own in self.explanations)
        records = tuple(
            record.model_copy(
                update={"covariates": {**record.covariates, **one.covariates.get(record.id, {})}}
            )
            for record in self.records
        )
        contrasts = tuple(
            each.model_copy(update={"because": one.contrasts.get(each.id, each.because)})
            for each in self.contrasts
        )
        return self.model_copy(
            update={
                "explanations": explanations,
                "records": records,
                "contrasts": contrasts,
                "effect_sd": one.effect_sd or self.effect_sd,
            }
        )

    def _has_levels(self, own: Explanation) -> None:
        if not isinstance(own, Shift | Filtering) or self.missing(own) or not self.records:
            return
        seen = {record.covariates[own.covariate] for record in self.records}
        for level in own.levels:
            if level not in seen:
                raise broken(
                    f"has the explanation '{own.id}' with a level '{level}' of no record",
                    f"Levels of '{own.covariate}': {', '.join(sorted(seen))}.",
                )

    def _covers(self, candidate: Candidate) -> None:
        for own in self.explanations:
            if not isinstance(own, Shift) or self.missing(own):
                continue
            for trials in candidate.trials:
                level = trials.covariates.get(own.covariate)
                seen = {record.covariates[own.covariate] for record in self.records}
                if level and seen and level not in seen:
                    raise broken(
                        f"has the candidate '{candidate.id}' with a level '{level}' of no record",
                        f"Levels of '{own.covariate}': {', '.join(sorted(seen))}.",
                    )
                if level is None:
                    raise broken(
                        f"has the candidate '{candidate.id}' without '{own.covariate}'",
                        f"State it: the explanation '{own.id}' rests on it.",
                    )

    def missing(self, own: Explanation) -> tuple[str, ...]:
        """Return the records that do not tell the covariate an explanation rests on."""
        if not isinstance(own, Shift | Filtering):
            return ()
        return tuple(r.id for r in self.records if own.covariate not in r.covariates)

    def is_modelled(self, own: Explanation) -> bool:
        """Whether an explanation says how likely records are."""
        return not isinstance(own, Unmeasured) and not self.missing(own)

    @property
    def has_records(self) -> bool:
        """Whether there is anything to compare."""
        return len(self.records) + len(self.contrasts) > 1

    def has_data(self, own: Explanation) -> bool:
        """Whether the records can speak for or against an explanation."""
        return self.has_records and self.is_modelled(own)
