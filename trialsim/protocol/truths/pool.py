"""A pool that every dose fills and that decays over weeks: what drives response after therapy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, exp, expm1, log, log1p
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, ValidationError, model_validator

from trialsim.protocol.quantities import (
    Dose,
    Duration,
    Frozen,
    Id,
    Number,
    OneOf,
    Rate,
    Time,
    broken,
    one_of,
)
from trialsim.protocol.truths.course import Course, hazard_reaching

if TYPE_CHECKING:
    from trialsim.protocol.design import Regimen

__all__ = ["Dosing", "EffectorPool", "Filling", "SeenUnder", "dosing_of", "dosings_of"]

_STEP_DAYS = 7.0
_MOST_STEPS = 600
_MOST_DOSES = 20_000
_PER_MILLIGRAM = {"ng": 1e-6, "ug": 1e-3, "mg": 1.0, "g": 1e3}
_PER_UNIT = {"IU": 1.0, "MIU": 1e6}


class Dosing(Frozen):
    """How much is given, how often, and for how long; the first dose at entry."""

    dose: Dose
    every: Duration
    lasting: Duration = Field(alias="for")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.dose.amount or not self.every.days or not self.lasting.days:
            raise broken("must give some drug, some time apart, for some time", "Write 1.6 mg.")
        if self.n_doses > _MOST_DOSES:
            raise broken(f"must give at most {_MOST_DOSES:,} doses", "Give them less often.")
        return self

    @property
    def n_doses(self) -> int:
        """Doses of one patient: at 0, every, 2 every, ... before the end."""
        return max(1, ceil(self.lasting.days / self.every.days - 1e-9))

    @property
    def given(self) -> float:
        """How much one patient receives, in the unit of the dose."""
        return round(self.n_doses * self.dose.amount, 6)

    def __str__(self) -> str:
        return f"{self.dose} every {self.every} for {self.lasting}"


def dosing_of(regimen: Regimen | None) -> Dosing | None:
    """Return a regimen of one phase as doses in time.

    None where it does not state all three, where none can be, and for several phases.
    """
    if regimen is None or regimen.then:
        return None
    stated = {"dose": regimen.dose, "every": regimen.every, "for": regimen.lasting}
    try:
        return Dosing.model_validate(stated)
    except ValidationError:
        return None


def dosings_of(regimen: Regimen | None) -> tuple[Dosing, ...]:
    """Return every phase of a regimen as doses in time; nothing where one does not state all."""
    found = [dosing_of(phase) for phase in regimen.phases] if regimen else []
    stated = tuple(dosing for dosing in found if dosing)
    return stated if len(stated) == len(found) else ()


class SeenUnder(OneOf):
    """A probability of response by a time, under a regimen that may not be the protocol's.

    A number, or what the treated arm of a published result saw.
    """

    model_config = one_of(
        "value", "result", remedy="Write a probability, or a 'source' and its 'result'."
    )

    value: Annotated[Number, Field(gt=0, lt=1)] | None = None
    source: Id | None = None
    result: Id | None = None
    by: Time
    under: Dosing

    @model_validator(mode="after")
    def _result_of_a_source(self) -> Self:
        if self.result and not self.source:
            raise broken("must name the 'source' of its result", "Add the evidence id.")
        return self


class EffectorPool(OneOf):
    """A hazard of response, on top of the control arm's, that follows a pool filled by doses.

    Every dose adds to the pool, which decays with `half_life`; no drug level is modelled (K-PD).
    The hazard is `hazard_per_year_at_most` times E / (E + half_at), E being the pool in doses of
    `reference_dose`. Instead of that hazard, `fitted_to` names what it is solved from, under the
    regimen that was seen. `held_against` names results that are shown beside what it says of them,
    and change nothing.

    Jacqmin and others (2007), J Pharmacokinet Pharmacodyn 34:57-85.
    """

    model_config = one_of("hazard_per_year_at_most", "fitted_to", remedy="Keep one of the two.")

    half_life: Duration
    half_at: Annotated[Number, Field(gt=0, le=1e6)]
    reference_dose: Dose
    hazard_per_year_at_most: Rate | None = None
    fitted_to: SeenUnder | None = None
    held_against: Annotated[tuple[SeenUnder, ...], Field(max_length=10)] = ()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.half_life.days or not self.reference_dose.amount:
            raise broken("must have a half_life and a reference_dose above 0", "Write 8 wk, 1 mg.")
        seen = [*self.held_against, *([self.fitted_to] if self.fitted_to else [])]
        for other in seen:
            if self.doses_in(other.under) is None:
                rule = f"cannot count {other.under.dose} in doses of {self.reference_dose}"
                raise broken(rule, "State both in the same kind of unit.")
        return self

    def doses_in(self, dosing: Dosing) -> float | None:
        """Return one dose in reference doses; None where their units do not compare."""
        dose, reference = dosing.dose, self.reference_dose
        (unit, _, per), (own, _, own_per) = (x.unit.partition("/") for x in (dose, reference))
        if per != own_per:
            return None
        for scale in (_PER_MILLIGRAM, _PER_UNIT):
            if unit in scale and own in scale:
                return dose.amount * scale[unit] / (reference.amount * scale[own])
        return dose.amount / reference.amount if unit == own else None

    def filled_by(self, dosing: Dosing) -> Filling | None:
        """Return the pool over time under a regimen; None where units do not compare."""
        doses = self.doses_in(dosing)
        if doses is None:
            return None
        per_day = log(2) / self.half_life.days
        return Filling(per_day, doses, dosing.every.days, dosing.n_doses, self.half_at)

    def course(self, control: Course, filling: Filling, until: float, most: float) -> Course:
        """Return the treated arm's course: the control's hazard, and what the pool adds.

        Parameters
        ----------
        control : Course
        filling : Filling
        until : float
            Days since entry; the last week's hazard goes on.
        most : float
            Per day, of a pool that is full.
        """
        return _added(control, filling.pieces(0.0, until, control.breaks), most)

    def solved(self, control: Course, target: float, by: float) -> float:
        """Return the hazard of a full pool, per day, at which `fitted_to` is reached.

        Raises
        ------
        ImpossibleCourseError
            Where none of at most 1 per day reaches the target.
        """
        assert self.fitted_to is not None  # one of two, by the model
        filling = self.filled_by(self.fitted_to.under)
        assert filling is not None  # checked by the model
        return _solved(control, filling, target, by)


@lru_cache(maxsize=256)  # the same under every regimen and read-out
def _solved(control: Course, filling: Filling, target: float, by: float) -> float:
    pieces = filling.pieces(0.0, by, control.breaks)
    if not control.relapse and control.losses is None:  # only the sum of the hazard counts then
        total = sum(
            (end - start) * effect
            for start, (end, effect) in zip(_starts(pieces), pieces, strict=False)
        )
        alone = sum(length * hazard for length, hazard in control.pieces(by))
        blank = replace(control, breaks=(by,))
        return hazard_reaching(
            target,
            lambda most: replace(
                blank, response=((alone + most * total) / by,)
            ).probability_of_response(by),
        )
    return hazard_reaching(
        target, lambda most: _added(control, pieces, most).probability_of_response(by)
    )


def _added(control: Course, pieces: Sequence[tuple[float, float]], most: float) -> Course:
    hazards = [
        control.response_at((start + end) / 2) + most * effect
        for start, (end, effect) in zip(_starts(pieces), pieces, strict=False)
    ]
    ends = tuple(end for end, _ in pieces)
    return replace(control, breaks=ends, response=tuple(hazards))


def _starts(pieces: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    return (0.0, *(end for end, _ in pieces))


@dataclass(frozen=True)
class Filling:
    """A pool over time under one regimen.

    Attributes
    ----------
    per_day : float
        Rate of decay.
    dose : float
        What one dose adds, in reference doses.
    every : float
        Days between doses; the first is given on day 0.
    n_doses : int
    half_at : float
        The pool at which the effect is half of the most.
    """

    per_day: float
    dose: float
    every: float
    n_doses: int
    half_at: float

    def given_by(self, day: float) -> int:
        """Return how many doses have been given by a day, that of the day itself included."""
        return min(self.n_doses, int(day / self.every + 1e-9) + 1) if day >= 0 else 0

    def after(self, n: int, day: float) -> float:
        """Return the pool on a day on which the first `n` doses are in: a geometric sum."""
        if n == 0:
            return 0.0
        since_last = max(day - (n - 1) * self.every, 0.0)
        ratio = expm1(-n * self.per_day * self.every) / expm1(-self.per_day * self.every)
        return self.dose * exp(-self.per_day * since_last) * ratio

    def on(self, day: float) -> float:
        """Return the pool on a day, in reference doses, just after a dose given then."""
        return self.after(self.given_by(day), day)

    def effect(self, start: float, end: float) -> float:
        """Return the integral of E / (E + half_at) over days, exactly.

        Between doses E decays exponentially, so that the integral is the logarithm of
        (half_at + E at the start) / (half_at + E at the end), over the rate of decay.
        """
        first, last = self.given_by(start), self.given_by(end)
        total, day = 0.0, start
        for n in range(first, last + 1):
            stop = min(n * self.every, end) if n < last else end
            before, left = self.after(n, day), self.after(n, stop)
            total += log1p((before - left) / (self.half_at + left))
            day = stop
        return total / self.per_day

    def pieces(
        self, start: float, end: float, breaks: Sequence[float]
    ) -> list[tuple[float, float]]:
        """Return (end, mean effect from 0 to 1) of pieces of about a week, cut at `breaks` too.

        The integral of the effect is exact at their ends.
        """
        length = max(_STEP_DAYS, (end - start) / _MOST_STEPS)
        steps = ceil((end - start) / length - 1e-9)
        cuts = {min(start + (i + 1) * length, end) for i in range(steps)}
        cuts |= {day for day in breaks if start < day < end}
        cuts |= {end}
        found, day = [], start
        for stop in sorted(cuts):
            if stop - day > 1e-9:
                found.append((stop, self.effect(day, stop) / (stop - day)))
                day = stop
        return found
