"""A literature: trials of one question that were published, by size, risk, stratum and conduct."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.conduct import RIGOROUS, Conduct
from trialsim.protocol.published.evidence import EffectEstimate, EffectMeasure
from trialsim.protocol.quantities import (
    Frozen,
    Id,
    Ratio,
    Risk,
    SourcedNumber,
    Text,
    Whole,
    broken,
)

__all__ = ["CHANCE", "ConductSet", "Literature", "LiteratureTrial", "Patients", "Split", "Stratum"]

MOST_TRIALS = 200


class Patients(SourcedNumber):
    """Patients of an arm, and where the number comes from."""

    value: Annotated[Whole, Field(ge=2, le=50_000)]


class Stratum(Frozen):
    """One of the two parts a literature is split into, and what was published of it."""

    id: Id
    title: Text
    evidence: Id | None = None  # a pooled result with an odds ratio
    effect: EffectEstimate | None = None  # or that odds ratio itself, where it is no record

    @model_validator(mode="after")
    def _one_odds_ratio(self) -> Self:
        if self.evidence and self.effect:
            raise broken("must not have both 'evidence' and 'effect'", "Keep one of the two.")
        if self.effect and self.effect.measure is not EffectMeasure.ODDS_RATIO:
            raise broken(f"states a {self.effect.measure}", "State an odds ratio.")
        return self


class Split(Frozen):
    """Two strata, and why; the ratio of odds ratios is the first over the second."""

    id: Id
    title: Text
    note: Text | None = None
    strata: Annotated[tuple[Stratum, ...], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        names = [stratum.id for stratum in self.strata]
        if len({*names, "all"}) < 3:
            raise broken("has a stratum twice, or one called 'all'", "Give each its own id.")
        return self


class LiteratureTrial(Frozen):
    """One published trial: what is known or assumed of it.

    With `block_sizes` it is allocated in permuted blocks, so that arms may differ by part of one;
    without, arms have exactly these sizes.
    """

    id: Id
    title: Text | None = None
    n_treated: Patients
    n_control: Patients
    control_risk: Risk
    block_sizes: Annotated[tuple[Whole, ...], Field(max_length=5)] = ()
    strata: dict[Id, Id]  # split -> stratum

    @property
    def n_total(self) -> int:
        """Patients in both arms."""
        return self.n_treated.value + self.n_control.value

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.block_sizes and abs(self.n_treated.value - self.n_control.value) > 1:
            raise broken(
                f"has blocks of two equal arms, and {self.n_treated.value} v "
                f"{self.n_control.value} patients",
                "State equal arms, or leave out block_sizes.",
            )
        if any(size < 2 or size % 2 for size in self.block_sizes):
            raise broken("has a block that is not of two equal parts", "Write for example [4].")
        return self


class ConductSet(Frozen):
    """How the trials of a literature were carried out, by trial or stratum; the rest rigorously."""

    id: Id
    title: Text
    note: Text | None = None
    conduct: dict[Id, Id]  # trial or stratum -> profile

    def of(self, trial: LiteratureTrial) -> str:
        """Return the profile of a trial: its own, else that of a stratum it is in."""
        for name in (trial.id, *trial.strata.values()):
            if name in self.conduct:
                return self.conduct[name]
        return RIGOROUS.id


CHANCE = ConductSet(id="chance", title="chance alone, every trial rigorous", conduct={})


class Literature(Frozen):
    """Published trials of one question, the strata they are split into, sets of conduct."""

    schema_version: Literal[1] = 1
    id: Id
    title: Text
    note: Text | None = None
    template: Id | None = None  # which asks for it where none is named
    evidence: Id | None = None  # the pooled result of all its trials
    true_odds_ratios: Annotated[tuple[Ratio, ...], Field(min_length=1, max_length=10)]
    splits: Annotated[tuple[Split, ...], Field(min_length=1, max_length=10)]
    trials: Annotated[tuple[LiteratureTrial, ...], Field(max_length=MOST_TRIALS)]
    profiles: Annotated[tuple[Conduct, ...], Field(max_length=20)] = ()  # beside those shipped
    conduct: Annotated[tuple[ConductSet, ...], Field(max_length=10)] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if len(self.trials) < 2:
            raise broken(
                f"has {len(self.trials)} trial, and nothing can be pooled", "State at least two."
            )
        for what, ids in (
            ("split", [split.id for split in self.splits]),
            ("trial", [trial.id for trial in self.trials]),
            ("profile", [own.id for own in self.profiles]),
            ("set of conduct", [CHANCE.id, *(own.id for own in self.conduct)]),
        ):
            if twice := next((name for name in ids if ids.count(name) > 1), ""):
                raise broken(f"has the {what} '{twice}' twice", "Give each its own id.")
        for split in self.splits:
            self._is_split(split)
        known = {name for t in self.trials for name in (t.id, *t.strata.values())}
        for own in self.conduct:
            if strange := sorted(set(own.conduct) - known):
                raise broken(
                    f"gives a conduct to '{strange[0]}', which is no trial and no stratum",
                    f"Name one of {', '.join(sorted(known))}.",
                )
        return self

    def _is_split(self, split: Split) -> None:
        names = [stratum.id for stratum in split.strata]
        for trial in self.trials:
            if trial.strata.get(split.id) not in names:
                raise broken(
                    f"has the trial '{trial.id}' in no stratum of the split '{split.id}'",
                    f"Add {{{split.id}: {names[0]}}} or {{{split.id}: {names[1]}}} to its strata.",
                )
        for name in names:
            if not self.within(split.id, name):
                raise broken(
                    f"has no trial in the stratum '{name}' of the split '{split.id}'",
                    "Put trials into both, or leave out the split.",
                )

    def within(self, split: str, stratum: str) -> tuple[LiteratureTrial, ...]:
        """Return the trials of one stratum of a split."""
        return tuple(t for t in self.trials if t.strata.get(split) == stratum)

    def split(self, name: str) -> Split | None:
        """Return a split by its id; None where there is none."""
        return next((split for split in self.splits if split.id == name), None)
