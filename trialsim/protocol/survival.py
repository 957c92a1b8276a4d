"""When events come, patients enter and are lost: the file's words for it, and what follows.

Pure Python, so that ``check`` can say, without numpy, that a trial asks for more events than can
occur. The same distributions over arrays are in `trialsim.kernels.hazards`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, exp, inf, log
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Discriminator, Field, Tag, model_validator

from trialsim.protocol.quantities import (
    Duration,
    Frozen,
    Id,
    Number,
    OneOf,
    Rate,
    Ratio,
    Share,
    SourcedNumber,
    Text,
    broken,
    one_of,
)

__all__ = [
    "AnyLifetime",
    "Dropout",
    "Enrolment",
    "EventCourse",
    "HazardCurve",
    "HazardPiece",
    "ImpossibleLifetimeError",
    "Lifetime",
    "Lifetimes",
    "LifetimesByLevel",
    "RatioPiece",
    "SurvivalScenario",
]

DAYS_PER_YEAR = 365.25
_GRID = 400  # quantiles an expectation rests on; 1 in 10,000 on a probability
_MAX_SHAPE = 20.0
_STEPS = 1000  # of an integral of survival over time, between two breaks


class ImpossibleLifetimeError(ValueError):
    """A distribution that cannot be; the message says why."""


class HazardCurve(NamedTuple):
    """One distribution of the time to an event: ``S(t) = cured + (1 - cured) exp(-H(t))``.

    Attributes
    ----------
    breaks, rates : tuple of float
        H is linear in ``days ** shape`` between breaks (in days), with these slopes.
    shape, cured : float
        1 for constant hazards; the share that never has the event.
    """

    breaks: tuple[float, ...]
    rates: tuple[float, ...]
    shape: float = 1.0
    cured: float = 0.0

    def _pieces(self) -> Iterator[tuple[float, float, float]]:
        starts = (0.0, *self.breaks)
        ends = (*self.breaks, inf)
        for start, end, rate in zip(starts, ends, self.rates, strict=True):
            yield start**self.shape, end**self.shape, rate

    def survival(self, day: float) -> float:
        """Probability to be free of the event on a day."""
        clock = day**self.shape
        total = sum(
            rate * (min(end, clock) - start) for start, end, rate in self._pieces() if start < clock
        )
        return self.cured + (1 - self.cured) * exp(-total)

    def quantile(self, survival: float) -> float:
        """Day on which survival has fallen to a probability; infinity for never."""
        if survival >= 1:
            return 0.0
        if survival <= self.cured:
            return inf
        wanted = -log((survival - self.cured) / (1 - self.cured))
        for start, end, rate in self._pieces():
            if rate > 0 and wanted <= rate * (end - start):
                return float((start + wanted / rate) ** (1 / self.shape))
            wanted -= rate * (end - start) if rate else 0.0
        return inf

    def mean_until(self, day: float) -> float:
        """Mean time without the event up to a day, by Simpson's rule (1e-7 of the day)."""
        stretch = 1 if self.shape == 1 else ceil(4 / self.shape)  # a clock smooth at entry
        ends = sorted({0.0, day, *(b for b in self.breaks if b < day)})
        total = 0.0
        for start, end in pairwise((e / day) ** (1 / stretch) for e in ends):
            step = (end - start) / _STEPS
            for i in range(_STEPS + 1):
                u = start + i * step
                weight = 1 if i in (0, _STEPS) else 2 + 2 * (i % 2)
                total += (
                    weight
                    * step
                    / 3
                    * stretch
                    * u ** (stretch - 1)
                    * self.survival(day * u**stretch)
                )
        return day * total

    def times(self, ratios: Sequence[tuple[float, float]]) -> HazardCurve:
        """Return the curve with its hazard multiplied by a ratio up to each day.

        Parameters
        ----------
        ratios : sequence of (until, ratio)
            Days, rising; the last ratio goes on.
        """
        breaks = sorted({*self.breaks, *(until for until, _ in ratios[:-1])})
        rates = []
        for start in (0.0, *breaks):
            rate = self.rates[bisect_right(self.breaks, start)]
            ends = [until for until, _ in ratios[:-1]]
            rates.append(rate * ratios[bisect_right(ends, start)][1])
        return HazardCurve(tuple(breaks), tuple(rates), self.shape, self.cured)


class HazardPiece(Frozen):
    """A stretch of time with one hazard; the last piece has no end."""

    until: Duration | None = None
    hazard_per_year: Rate


class Survives(Frozen):
    """A share still free of the event at a time."""

    share: Annotated[Number, Field(gt=0, lt=1)]
    at: Duration


class Lifetime(OneOf):
    """When the event comes: by its median, a hazard, survival at a time, or hazards in pieces.

    `shape` makes a Weibull distribution of the first three; `cure_fraction` never has the event.
    Median and survival are those of all patients, the cured among them. `source` is a record that
    states the median, or the share that survives.
    """

    model_config = one_of(
        "median",
        "hazard_per_year",
        "survives",
        "pieces",
        remedy="Write for example {median: 12 mo}.",
    )

    median: Duration | None = None
    hazard_per_year: Rate | None = None
    survives: Survives | None = None
    pieces: Annotated[tuple[HazardPiece, ...], Field(min_length=1, max_length=50)] | None = None
    shape: Annotated[Number, Field(gt=0, le=_MAX_SHAPE)] | None = None
    cure_fraction: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    source: Id | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _pieces_in_order(self) -> Self:
        if self.pieces:
            if self.shape is not None:
                rule = "must not have 'shape' beside 'pieces'"
                raise broken(rule, "Hazards in pieces are constant in each: remove one of the two.")
            ends = [piece.until.days if piece.until else inf for piece in self.pieces]
            if ends[-1] != inf or ends != sorted(set(ends)) or ends[0] <= 0:
                raise broken(
                    "must have pieces that end one after another, the last without 'until'",
                    "Write [{until: 4 mo, hazard_per_year: 0.5}, {hazard_per_year: 1}].",
                )
        return self

    @property
    def curve(self) -> HazardCurve:
        """The distribution.

        Raises
        ------
        ImpossibleLifetimeError
            Where the cured are more than could survive.
        """
        shape, cured = self.shape or 1.0, self.cure_fraction
        if self.pieces:
            breaks = tuple(piece.until.days for piece in self.pieces if piece.until)
            rates = tuple(p.hazard_per_year.value / DAYS_PER_YEAR for p in self.pieces)
            return HazardCurve(breaks, rates, 1.0, cured)
        if self.hazard_per_year is not None:
            rate = (self.hazard_per_year.value / DAYS_PER_YEAR) ** shape
            return HazardCurve((), (rate,), shape, cured)
        share, day = 0.5, 0.0
        if self.median is not None:
            day = self.median.days
        elif self.survives is not None:
            share, day = self.survives.share, self.survives.at.days
        if day <= 0:
            raise ImpossibleLifetimeError("must state a time after entry")
        if share <= cured:
            raise ImpossibleLifetimeError(
                f"must leave fewer than {cured:g} cured: {share:g} are to be free of the event"
            )
        rate = -log((share - cured) / (1 - cured)) / day**shape
        return HazardCurve((), (rate,), shape, cured)


class LifetimesByLevel(Frozen):
    """A lifetime for every level of a factor under ``nature.factors``."""

    factor: Id
    levels: Annotated[dict[Id, Lifetime], Field(min_length=2, max_length=200)]


def _by_level(value: Any) -> str:
    by_level = "factor" in value if isinstance(value, dict) else hasattr(value, "factor")
    return "<factor>" if by_level else "<median>"


AnyLifetime = Annotated[
    Annotated[Lifetime, Tag("<median>")] | Annotated[LifetimesByLevel, Tag("<factor>")],
    Discriminator(_by_level),
]


class RatioPiece(Frozen):
    """A hazard ratio, treated to control, up to a time since entry; the last has no end."""

    until: Duration | None = None
    ratio: Ratio


class SurvivalScenario(Frozen):
    """When the event comes in each arm; `control` replaces that of nature.

    The treated arm is stated by a hazard ratio, by hazard ratios one after another, or by itself;
    without any of them, treatment changes nothing. A ratio acts within every level.
    """

    control: AnyLifetime | None = None
    hazard_ratio: Ratio | None = None
    hazard_ratios: Annotated[tuple[RatioPiece, ...], Field(min_length=2, max_length=50)] | None = (
        None
    )
    treated: AnyLifetime | None = None

    @model_validator(mode="after")
    def _stated_once(self) -> Self:
        given = (self.hazard_ratio, self.hazard_ratios, self.treated)
        if sum(item is not None for item in given) > 1:
            raise broken(
                "must have at most one of 'hazard_ratio', 'hazard_ratios' and 'treated'",
                "Keep one of them; none for no effect.",
            )
        if self.hazard_ratios:
            ends = [piece.until.days if piece.until else inf for piece in self.hazard_ratios]
            if ends[-1] != inf or ends != sorted(set(ends)) or ends[0] <= 0:
                raise broken(
                    "must have hazard ratios that end one after another, the last without 'until'",
                    "Write [{until: 4 mo, ratio: 1}, {ratio: 0.6}].",
                )
        return self

    @property
    def ratios(self) -> tuple[tuple[float, float], ...]:
        """Hazard ratios as (until day, ratio); empty where the treated arm states itself."""
        if self.hazard_ratios:
            return tuple(
                (piece.until.days if piece.until else inf, piece.ratio.value)
                for piece in self.hazard_ratios
            )
        if self.hazard_ratio:
            return ((inf, self.hazard_ratio.value),)
        return () if self.treated else ((inf, 1.0),)

    @property
    def number(self) -> SourcedNumber | None:
        """The number the effect rests on: the hazard ratio, or the last of several."""
        return self.hazard_ratios[-1].ratio if self.hazard_ratios else self.hazard_ratio

    @property
    def label(self) -> str:
        """The effect in a few words."""
        if self.hazard_ratio:
            return f"HR {self.hazard_ratio.value:.2f}"
        if self.hazard_ratios:
            pieces = [
                f"{piece.ratio.value:.2f}" + (f" to {piece.until}" if piece.until else "")
                for piece in self.hazard_ratios
            ]
            return f"HR {', then '.join(pieces)}"
        if isinstance(self.treated, Lifetime) and self.treated.median:
            return f"median {self.treated.median} on treatment"
        return "as stated" if self.treated else "no effect"


class EnrolmentPiece(Frozen):
    """A stretch of enrolment in which a share of all patients enters, evenly in expectation."""

    until: Duration
    share: Share


class Enrolment(OneOf):
    """When patients enter, counted from the first day of enrolment.

    `uniform`: each independently and uniformly over a time; `piecewise`: with shares per piece;
    `even`: one after another at equal distances; `given`: on these days.
    """

    model_config = one_of(
        "uniform", "even", "piecewise", "given", remedy="Write for example {uniform: 12 mo}."
    )

    uniform: Duration | None = None
    even: Duration | None = None
    piecewise: Annotated[tuple[EnrolmentPiece, ...], Field(min_length=1, max_length=200)] | None = (
        None
    )
    given: Annotated[tuple[Duration, ...], Field(min_length=2)] | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _in_order_and_complete(self) -> Self:
        for length in (self.uniform, self.even):
            if length is not None and length.days <= 0:
                raise broken("must take longer than no time", "Write for example 12 mo.")
        if self.piecewise:
            ends = [piece.until.days for piece in self.piecewise]
            if ends != sorted(set(ends)) or ends[0] <= 0:
                rule = "must have pieces that end one after another"
                raise broken(rule, "Write [{until: 6 mo, share: 0.3}, {until: 12 mo, share: 0.7}].")
            total = sum(piece.share.value for piece in self.piecewise)
            if abs(total - 1) > 1e-6:
                rule = f"must have shares that add up to 1, not {total:.8g}"
                raise broken(rule, "Correct the shares of its pieces.")
        if self.given and [d.days for d in self.given] != sorted(d.days for d in self.given):
            raise broken("must be in order of arrival", "Sort the days.")
        return self

    @property
    def pieces(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Ends in days and shares of random enrolment."""
        if self.piecewise:
            ends = tuple(piece.until.days for piece in self.piecewise)
            return ends, tuple(piece.share.value for piece in self.piecewise)
        assert self.uniform is not None  # asked of random enrolment only
        return (self.uniform.days,), (1.0,)

    def fixed_days(self, n: int) -> tuple[float, ...] | None:
        """Days on which patients enter where that is not left to chance."""
        if self.given:
            return tuple(duration.days for duration in self.given)
        if self.even:
            return tuple(self.even.days * (i + 1) / n for i in range(n))
        return None

    @property
    def last_day(self) -> float:
        """By which everyone has entered."""
        if self.given:
            return self.given[-1].days
        return self.even.days if self.even else self.pieces[0][-1]

    def quantile(self, share: float) -> float:
        """Day by which a share of patients has entered, in expectation."""
        if self.given:
            return self.given[min(int(share * len(self.given)), len(self.given) - 1)].days
        if self.even:
            return self.even.days * share
        start = reached = 0.0
        for end, own in zip(*self.pieces, strict=True):
            if share <= reached + own:
                return start + (end - start) * (share - reached) / own
            start, reached = end, reached + own
        return start

    def sped_up(self, speed: float) -> Enrolment:
        """Return an enrolment in which every day comes so many times sooner."""

        def sooner(duration: Duration) -> Duration:
            return Duration(duration.amount / speed, duration.unit)

        if speed == 1:
            return self
        changed: dict[str, Any] = {}
        if self.uniform:
            changed["uniform"] = sooner(self.uniform)
        if self.even:
            changed["even"] = sooner(self.even)
        if self.given:
            changed["given"] = tuple(sooner(day) for day in self.given)
        if self.piecewise:
            changed["piecewise"] = tuple(
                piece.model_copy(update={"until": sooner(piece.until)}) for piece in self.piecewise
            )
        return self.model_copy(update=changed)


class Dropout(Frozen):
    """Loss to follow-up, in both arms alike: a rate, or a share lost by a time."""

    model_config = one_of("rate_per_year", "share", pairs=(("share", "by"),))

    rate_per_year: Rate | None = None
    share: Share | None = None
    by: Duration | None = None
    shape: Annotated[Number, Field(gt=0, le=_MAX_SHAPE)] = 1.0

    @model_validator(mode="after")
    def _stated_once(self) -> Self:
        by_share = self.share is not None and self.by is not None
        if (self.rate_per_year is None) != by_share or (self.share is None) != (self.by is None):
            raise broken(
                "must have either 'rate_per_year' or both 'share' and 'by'",
                "Write for example {share: 0.05, by: 12 mo}.",
            )
        if self.share is not None and (self.share.value >= 1 or (self.by and self.by.days <= 0)):
            raise broken("must lose a share below 1 by a time after entry", "5% is 0.05.")
        return self

    @property
    def curve(self) -> HazardCurve:
        """The distribution of the time to loss."""
        if self.rate_per_year is not None:
            rate = (self.rate_per_year.value / DAYS_PER_YEAR) ** self.shape
            return HazardCurve((), (rate,), self.shape)
        assert self.share is not None  # one of both, by the model
        assert self.by is not None
        return HazardCurve((), (-log(1 - self.share.value) / self.by.days**self.shape,), self.shape)


@dataclass(frozen=True)
class Lifetimes:
    """A scenario's distributions, resolved.

    Attributes
    ----------
    factor : str
        Id of the factor whose levels differ; empty where all patients are alike.
    shares : tuple of float
        Of patients in each level.
    control, treated : tuple of HazardCurve
        One per level.
    loss : HazardCurve or None
    constant_ratio : float or None
        The hazard ratio, where it is one number in every level and at all times.
    cells : tuple of (id, number of levels)
        Factors whose combinations take the place of levels, the last fastest; `factor` is then
        empty.
    """

    factor: str
    shares: tuple[float, ...]
    control: tuple[HazardCurve, ...]
    treated: tuple[HazardCurve, ...]
    loss: HazardCurve | None = None
    constant_ratio: float | None = None
    cells: tuple[tuple[str, int], ...] = ()

    @property
    def differs_by(self) -> tuple[tuple[str, int], ...]:
        """The factors it differs by, with their numbers of levels."""
        return self.cells or (((self.factor, len(self.shares)),) if self.factor else ())

    def risks(self, day: float) -> tuple[float, float]:
        """Probability of the event by a day under control and under treatment, without loss."""
        control, treated = (
            1 - sum(s * c.survival(day) for s, c in zip(self.shares, curves, strict=True))
            for curves in (self.control, self.treated)
        )
        return control, treated


@dataclass(frozen=True)
class EventCourse:
    """How many events to expect by when.

    Attributes
    ----------
    n_treated, n_control : float
    most_days : float
        Of follow-up per patient.
    """

    lifetimes: Lifetimes
    enrolment: Enrolment
    n_treated: float
    n_control: float
    most_days: float = inf

    @cached_property
    def _seen(self) -> tuple[list[float], list[float]]:
        """Days from entry to the event, and events expected up to each, per n patients in all."""
        found: list[tuple[float, float]] = []
        loss = self.lifetimes.loss
        for n, curves in (
            (self.n_control, self.lifetimes.control),
            (self.n_treated, self.lifetimes.treated),
        ):
            for share, curve in zip(self.lifetimes.shares, curves, strict=True):
                for i in range(_GRID):
                    day = curve.quantile(1 - (i + 0.5) / _GRID)
                    if day <= self.most_days and day < inf:
                        followed = loss.survival(day) if loss else 1.0
                        found.append((day, n * share * followed / _GRID))
        found.sort()
        days, total, sums = [], 0.0, []
        for day, expected in found:
            total += expected
            days.append(day)
            sums.append(total)
        return days, sums

    @property
    def ever(self) -> float:
        """Events expected if everyone is followed as long as the protocol allows."""
        sums = self._seen[1]
        return sums[-1] if sums else 0.0

    def by(self, calendar_day: float) -> float:
        """Events expected by a day of the trial."""
        days, sums = self._seen
        total, n = 0.0, 200
        for i in range(n):
            index = bisect_right(days, calendar_day - self.enrolment.quantile((i + 0.5) / n))
            total += sums[index - 1] if index else 0.0
        return total / n

    def day_of(self, events: float) -> float:
        """Day of the trial by which so many events are expected; infinity for never."""
        days = self._seen[0]
        if events > self.ever or not days:
            return inf
        low, high = 0.0, self.enrolment.last_day + days[-1]
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.by(middle) < events else (low, middle)
        return high
