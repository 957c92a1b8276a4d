"""Which numbers of a record belong together, and what a check of them can say.

Most checks need no word: counts beside an odds ratio, or an interval beside a P value, belong
together. A record declares the others under `checks:`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trialsim.protocol.quantities import Duration, Frozen, Id, Number, Text, Whole, broken

__all__ = [
    "ArmsOf",
    "BeforeAndAfter",
    "ChiSquareOf",
    "CountsBehind",
    "DeclaredCheck",
    "PartsOfWhole",
    "RangeOfDurations",
    "RatioOfPercentages",
    "SumOf",
    "TwoMeans",
    "TwoPercentages",
    "Verdict",
]


class Verdict(StrEnum):
    """Whether numbers can be right together: about figures, never about people."""

    CONSISTENT = "consistent"  # each is what numbers that round to the others give
    ROUNDING = "rounding"  # a reader sees a discrepancy, which rounding accounts for
    IMPOSSIBLE = "cannot all be right together"
    UNTESTABLE = "cannot be tested"

    @classmethod
    def of_all(cls, verdicts: tuple[Verdict, ...]) -> Verdict:
        """Return the gravest verdict of what could be tested."""
        tested = set(verdicts) - {cls.UNTESTABLE}
        graver = (cls.IMPOSSIBLE, cls.ROUNDING, cls.CONSISTENT)
        return next((verdict for verdict in graver if verdict in tested), cls.UNTESTABLE)


_Size = Annotated[Whole, Field(ge=1)]


class ArmsOf(Frozen):
    """The two arms of a trial's result, for their numbers of patients."""

    evidence: Id
    result: Id


class CountsBehind(Frozen):
    """Percentages and the whole numbers of patients behind them.

    `percentages` are ids of quantities, or numbers as the source prints them; one per arm, first
    the treated one. With `result`, the two arms of that result have their patients and (where
    known) their events; otherwise `n` says patients per arm, or `n_total` those of all arms
    together (the number randomised, unless stated).
    """

    kind: Literal["counts"]
    percentages: Annotated[tuple[Id | Number, ...], Field(min_length=1, max_length=4)]
    result: Id | None = None
    n: tuple[_Size, ...] | None = None
    n_total: Annotated[_Size, Field(le=5_000)] | None = None

    @model_validator(mode="after")
    def _percentages(self) -> Self:
        if self.n is not None and len(self.n) != len(self.percentages):
            raise broken("must have one 'n' per percentage", "Write as many, in the same order.")
        for number in self.percentages:
            if not isinstance(number, str) and not 0 <= number <= 100:
                raise broken(
                    f"must have percentages between 0 and 100, not {number:g}",
                    "Check the number against its source.",
                )
        return self


class TwoPercentages(Frozen):
    """Two percentages, the P value stated with them, and the arms they would be of.

    `p` is the id of a quantity: the P value itself, or with `p_below` the limit it lies below.
    """

    kind: Literal["two percentages"]
    experimental: Id
    control: Id
    p: Id | None = None
    p_below: Id | None = None
    arms: ArmsOf


class TwoMeans(Frozen):
    """Two means (or mean changes), the P value stated with them, and the arms they would be of."""

    kind: Literal["two means"]
    experimental: Id
    control: Id
    p: Id | None = None
    p_below: Id | None = None
    arms: ArmsOf


class BeforeAndAfter(Frozen):
    """Mean and SD before and after, in the same patients; `n` and `percent` are quantities too."""

    kind: Literal["before and after"]
    before: Id
    after: Id
    n: Id
    percent: Id | None = None


class PartsOfWhole(Frozen):
    """Subgroups or strata of separate patients that make up a whole.

    `parts` are results of this trial, or records of pools. The whole is `result`, or this record.
    `interaction` names the test that compares the first two parts.
    """

    kind: Literal["parts"]
    parts: Annotated[tuple[Id, ...], Field(min_length=2, max_length=5)]
    result: Id | None = None
    interaction: Text | None = None


class ChiSquareOf(Frozen):
    """A chi-square statistic, a quantity, of a result's counts."""

    kind: Literal["chi-square"]
    result: Id
    value: Id


class RatioOfPercentages(Frozen):
    """A percentage that a ratio turns into another; `effect` is the id of an estimate."""

    kind: Literal["ratio of percentages"]
    experimental: Id
    control: Id
    effect: Id


class SumOf(Frozen):
    """Numbers of patients that add up to those of this record (`total`: of a quantity)."""

    kind: Literal["sum"]
    parts: Annotated[tuple[Id | Number, ...], Field(min_length=2)]
    total: Id | None = None


class RangeOfDurations(Frozen):
    """A range of treatment lengths said of several trials: each end should be one trial's."""

    kind: Literal["range of durations"]
    ends: tuple[Duration, Duration]
    records: Annotated[tuple[Id, ...], Field(min_length=1)]


DeclaredCheck = Annotated[
    CountsBehind
    | TwoPercentages
    | TwoMeans
    | BeforeAndAfter
    | PartsOfWhole
    | ChiSquareOf
    | RatioOfPercentages
    | SumOf
    | RangeOfDurations,
    Field(discriminator="kind"),
]
