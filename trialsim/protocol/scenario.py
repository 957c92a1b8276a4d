"""What nature decides: ``nature:``, shared by all scenarios, and ``scenarios:``.

All risks and effects are *marginal*: averaged over the patients of the trial. Where severity or
factors carry prognosis, `trialsim.generate` solves the coefficients that make them so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import Discriminator, Field, Tag, model_validator
from typing_extensions import override

from trialsim.protocol.quantities import (
    Difference,
    Frozen,
    Id,
    Ratio,
    Risk,
    Share,
    Slope,
    SourcedNumber,
    Text,
    Whole,
    broken,
)

__all__ = [
    "EFFECTS",
    "Effect",
    "Factor",
    "FactorLevel",
    "Nature",
    "OddsRatio",
    "RiskDifference",
    "RiskRatio",
    "Scenario",
    "TreatedRisk",
    "Truth",
    "odds_ratio_between",
]


class FactorLevel(Frozen):
    """One level of a factor, the share of patients in it and its prognosis.

    `odds_ratio` is conditional on the other factors and severity, against a level without one.
    """

    id: Id
    share: Share
    odds_ratio: Ratio | None = None


class Factor(Frozen):
    """A baseline factor: levels with their shares, or so many equal ones (sites)."""

    id: Id
    levels: Annotated[tuple[FactorLevel, ...], Field(min_length=2, max_length=200)] | None = None
    equal_levels: Annotated[Whole, Field(ge=2, le=200)] | None = None

    @model_validator(mode="after")
    def _levels_once_and_complete(self) -> Self:
        if (self.levels is None) == (self.equal_levels is None):
            raise broken(
                "must have exactly one of 'levels' and 'equal_levels'", "Keep one of the two."
            )
        total = sum(self.shares)
        if abs(total - 1) > 1e-6:
            raise broken(
                f"must have shares that add up to 1, not {total:g}",
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
        return f"{self.short} {self.number.value:.2f}"

    @abstractmethod
    def applied_to(self, control_risk: float) -> float:
        """Return the treated risk at a control risk; outside (0, 1) where the effect cannot be."""


class OddsRatio(_Effect):
    """A marginal odds ratio, treated to control."""

    short = "OR"
    odds_ratio: Ratio

    @override
    def applied_to(self, control_risk: float) -> float:
        odds = self.odds_ratio.value * control_risk / (1 - control_risk)
        return odds / (1 + odds)


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


class Nature(Frozen):
    """The truth all scenarios share."""

    control_risk: Risk
    severity_slope: Slope | None = None
    factors: Annotated[tuple[Factor, ...], Field(max_length=10)] = ()


class Scenario(Frozen):
    """One state of the world. Without an effect, treatment changes nothing.

    `as_observed` names a trial whose two observed risks are taken as the truth.
    """

    id: Id
    title: Text
    effect: Effect | None = None
    as_observed: Id | None = None
    control_risk: Risk | None = None

    @model_validator(mode="after")
    def _observed_or_stated(self) -> Self:
        if self.as_observed and (self.effect or self.control_risk):
            raise broken(
                "must not have 'effect' or 'control_risk' beside 'as_observed'",
                "The observed trial states both risks: keep one or the other.",
            )
        return self


def odds_ratio_between(treated_risk: float, control_risk: float) -> float:
    """Odds ratio, treated to control, of two risks strictly between 0 and 1."""
    return treated_risk / (1 - treated_risk) * (1 - control_risk) / control_risk


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
        Marginal risks of the event, strictly between 0 and 1.
    severity_slope : float
        Log odds per standard deviation of latent severity; 0 for no prognosis.
    factors : tuple of Factor
    source : str
        Evidence id of the effect; empty where it is assumed.
    from_data_of : str
        Evidence id of the trial whose data the scenario repeats; empty otherwise.
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

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.treated_risk == self.control_risk
