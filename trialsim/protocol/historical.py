"""What a single arm is compared with: what earlier patients showed, and how today's differ."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import exp, log
from typing import Annotated, Self

from pydantic import Field, model_validator

from trialsim.protocol.quantities import (
    Frozen,
    Number,
    OneOf,
    Ratio,
    Risk,
    SourcedNumber,
    Whole,
    broken,
    one_of,
)

__all__ = [
    "Comparison",
    "Contribution",
    "Departures",
    "HistoricalControl",
    "HistoricalValue",
    "Shift",
    "TwoStage",
]


class TwoStage(Frozen):
    """Simon's two-stage rule (Simon 1989), on patients with the good outcome.

    Patients with the event count where higher is better, else those without it. With at most
    `stop_if_at_most` of the `first` patients the trial stops for futility; else all are recruited,
    and more than `reject_if_above` among all reject the historical risk.
    """

    first: Annotated[Whole, Field(ge=1)]
    stop_if_at_most: Annotated[Whole, Field(ge=0)]
    reject_if_above: Annotated[Whole, Field(ge=1)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.stop_if_at_most >= self.first:
            raise broken(
                f"stops after {self.first} patients with at most {self.stop_if_at_most} of them: "
                "always",
                "Make stop_if_at_most smaller than first.",
            )
        if self.reject_if_above <= self.stop_if_at_most:
            raise broken(
                f"rejects above {self.reject_if_above}, which everyone who goes on has reached",
                "Make reject_if_above larger than stop_if_at_most.",
            )
        return self

    def __str__(self) -> str:
        return f"{self.stop_if_at_most}/{self.first}, then {self.reject_if_above} in all"


class HistoricalValue(OneOf):
    """What historical patients showed, taken as known; or, with `n`, seen in so many of them.

    A risk; a mean; or a geometric mean, where the endpoint is on the log scale. For a change from
    baseline it is that of the change (on the log scale: of follow-up divided by baseline). Of `n`
    patients, an SD (or geometric SD) is needed too, except of a risk.
    """

    model_config = one_of(
        "risk",
        "mean",
        "geometric_mean",
        remedy="Write for example {risk: 0.2}, or {risk: 0.2, n: 60} for one seen in 60 patients.",
    )

    risk: Risk | None = None
    mean: SourcedNumber | None = None
    geometric_mean: Ratio | None = None
    sd: Annotated[Number, Field(gt=0)] | None = None
    geometric_sd: Annotated[Number, Field(gt=1)] | None = None
    n: Annotated[Whole, Field(ge=2, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _spread_fits(self) -> Self:
        spread = {"mean": self.sd, "geometric_mean": self.geometric_sd}.get(self.stated)
        if self.stated != "risk" and (spread is None) != (self.n is None):
            name = "sd" if self.mean else "geometric_sd"
            raise broken(
                f"must have both of 'n' and '{name}', or neither",
                f"Without both, its {self.stated.replace('_', ' ')} is taken as known.",
            )
        other = self.sd if self.stated != "mean" else self.geometric_sd
        if other is not None or (self.stated == "risk" and self.geometric_sd):
            raise broken(f"has no such SD beside '{self.stated}'", "Remove it.")
        return self

    @property
    def stated(self) -> str:
        """The key in the file."""
        return next(k for k in ("risk", "mean", "geometric_mean") if getattr(self, k) is not None)

    @property
    def number(self) -> SourcedNumber:
        """The number, with its source."""
        found: SourcedNumber = getattr(self, self.stated)
        return found

    @property
    def control(self) -> HistoricalControl:
        """What an analysis compares with."""
        value = self.number.value
        if self.geometric_mean:
            spread = log(self.geometric_sd) if self.geometric_sd else None
            return HistoricalControl(log(value), self.n, spread)
        return HistoricalControl(value, self.n, self.sd)


class Shift(OneOf):
    """How much higher something makes an outcome, on the scale its key names."""

    model_config = one_of(
        "odds_ratio",
        "mean_difference",
        "ratio_of_geometric_means",
        remedy="Write {odds_ratio: 1.3} for a risk, {mean_difference: 20} for a mean.",
    )

    odds_ratio: Ratio | None = None
    mean_difference: SourcedNumber | None = None
    ratio_of_geometric_means: Ratio | None = None

    @property
    def stated(self) -> str:
        """The key in the file."""
        return next(key for key in type(self).model_fields if getattr(self, key) is not None)

    @property
    def step(self) -> float:
        """The log odds ratio, the difference, or the log ratio of geometric means."""
        number: SourcedNumber = getattr(self, self.stated)
        return number.value if self.mean_difference else log(number.value)


class Departures(Frozen):
    """What makes today's patients without the treatment differ from the historical ones.

    `drift`: what has changed since (diagnosis, care, stage at entry). `concurrent_therapy`: what
    else the patients of the single arm are given. Both would meet a concurrent control arm alike.
    None unless stated.
    """

    drift: Shift | None = None
    concurrent_therapy: Shift | None = None

    @property
    def stated(self) -> tuple[tuple[str, Shift], ...]:
        """Those in the file, by their keys."""
        both = (("drift", self.drift), ("concurrent_therapy", self.concurrent_therapy))
        return tuple((key, shift) for key, shift in both if shift)

    @property
    def step(self) -> float:
        """All of them together, on the scale of a shift's step."""
        return sum(shift.step for _, shift in self.stated)

    def risk(self, historical: float) -> float:
        """Return a risk moved by all of them."""
        if not self.stated:
            return historical
        odds = historical / (1 - historical) * exp(self.step)
        return odds / (1 + odds)


# -- resolved ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class HistoricalControl:
    """What one endpoint of a single arm is compared with.

    Attributes
    ----------
    value : float
        A risk, a mean, or the logarithm of a geometric mean; of the change where that is analysed.
    n : int or None
        Historical patients it is seen in; None where it is taken as known.
    sd : float or None
        Of these patients; None for a risk.
    """

    value: float
    n: int | None = None
    sd: float | None = None


class Contribution(StrEnum):
    """What moves a single arm away from its historical control, in the order it is told."""

    CASE_MIX = "other patients than the historical ones"
    NATURAL_COURSE = "natural course"
    SELECTION = "selection on baseline"
    REGRESSION_TO_THE_MEAN = "regression to the mean"
    DRIFT = "drift since then"
    CONCURRENT_THERAPY = "concurrent therapy"
    EFFECT = "effect of the treatment"


@dataclass(frozen=True)
class Comparison:
    """How one endpoint gets from its historical control to what the single arm shows.

    Attributes
    ----------
    control : HistoricalControl
    steps : tuple of (Contribution, float)
        In that order they add up: log odds of a risk, else differences on the analysis scale.
    treated_alone : float or None
        Of a risk: the treated one, were the effect all that differs from the historical control.
    """

    control: HistoricalControl
    steps: tuple[tuple[Contribution, float], ...]
    treated_alone: float | None = None
