"""Intercurrent events and estimands: what nature decides, and what the team asks.

``nature.intercurrent_events`` lists processes (stopping, rescue, transplant, death, loss), each
with a hazard in either arm and what it does to the outcomes that come after it; an endpoint's
`estimand` and `further_estimands` name a strategy for each (ICH E9(R1), A.3.2). Pure Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Annotated, Self

from pydantic import Field, model_validator

from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    MeasuredScale,
    MeasuredTest,
    MissingData,
    OrdinalEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    Strategy,
)
from trialsim.protocol.outcomes import Cause, OutcomeEffect
from trialsim.protocol.quantities import Frozen, Id, Number, Ratio, Text, broken

__all__ = [
    "EVENT_EFFECTS",
    "MAIN",
    "EventCourses",
    "EventTruth",
    "IntercurrentEvent",
    "PlannedEstimand",
    "by_ranks",
    "effect_key",
    "estimands_of",
    "event_truths",
]

MAIN = "main"  # the id of an endpoint's own estimand among its further ones
EVENT_EFFECTS: dict[type, str] = {
    BinaryEndpoint: "odds_ratio",
    ResponseEndpoint: "hazard_ratio",
    ContinuousEndpoint: "mean_difference",
    OrdinalEndpoint: "odds_ratio",
    DaysAliveEndpoint: "odds_ratio",
    CountEndpoint: "rate_ratio",
}


class StateHazardRatios(Frozen):
    """How the hazard of an event depends on the state of response; 1 unless stated."""

    none: Annotated[Number, Field(ge=0, le=1000)] = 1.0
    response: Annotated[Number, Field(ge=0, le=1000)] = 1.0
    relapse: Annotated[Number, Field(ge=0, le=1000)] = 1.0


class HazardRatioPerSd(Frozen):
    """How the hazard depends on a measurement: per SD above what the arm expects.

    Between two visits it depends on the one before (`previous`; at first the baseline), as values
    missing at random do, and on the one to come (`current`), as values not missing at random do.
    """

    endpoint: Id
    previous: Ratio | None = None
    current: Ratio | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.previous is None and self.current is None:
            raise broken("must have 'previous' or 'current'", "Write for example previous: 1.5.")
        return self


class AfterEvent(Frozen):
    """What an event does to whatever is read after it.

    `effect_kept` is the share of the effect of treatment that is left (1, all, unless stated; on
    the scale the effect acts on); `effect` is added in whoever has the event, in either arm;
    `lost` says that nothing is seen any more.
    """

    effect_kept: Annotated[Number, Field(ge=0, le=1)] = 1.0
    effect: Annotated[dict[Id, OutcomeEffect], Field(max_length=50)] = Field(default={})
    lost: bool = False


class IntercurrentEvent(Frozen):
    """A process that may come between treatment and outcome; patients are the same in both arms.

    The hazard of each arm stands under its name; without `treated` it is that of `control`. After
    a `terminal` event (death, transplant) there is no outcome, and no other event.
    """

    id: Id
    title: Text | None = None
    control: Cause
    treated: Cause | None = None
    by_state: StateHazardRatios | None = None
    hazard_ratio_per_sd: HazardRatioPerSd | None = None
    terminal: bool = False
    then: AfterEvent = AfterEvent()

    @property
    def only_hides(self) -> bool:
        """Whether it is mere loss, which changes no outcome."""
        quiet = self.then.effect_kept == 1 and not self.then.effect
        return self.then.lost and quiet and not self.terminal

    @property
    def in_words(self) -> str:
        """What follows from it, and what its hazard depends on."""
        said = ["no outcome, and no other event"] if self.terminal else []
        if self.then.effect_kept != 1:
            said.append(f"{100 * self.then.effect_kept:g}% of the effect is left")
        said += [f"{name} {effect.label}" for name, effect in self.then.effect.items()]
        said += ["not seen any more"] if self.then.lost else []
        if self.by_state:
            said.append(
                f"hazard times {self.by_state.none:g} without response, "
                f"{self.by_state.response:g} in response, {self.by_state.relapse:g} in relapse"
            )
        if by_sd := self.hazard_ratio_per_sd:
            said += [
                f"hazard times {ratio.value:g} per SD of {by_sd.endpoint} at the visit {when}"
                for ratio, when in ((by_sd.previous, "before"), (by_sd.current, "to come"))
                if ratio
            ]
        return "; ".join(said) or "changes nothing"

    def hazards_in_words(self) -> str:
        """Both arms' hazards per year."""
        treated = f" -> {self.treated.in_words}" if self.treated else ""
        return f"{self.control.in_words}{treated} per year"


class EventCourses(Frozen):
    """The hazards of an event under one scenario, where they differ from nature's."""

    control: Cause | None = None
    treated: Cause | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.control is None and self.treated is None:
            raise broken("must have 'control' or 'treated'", "Or remove it: nature's then hold.")
        return self


# -- resolved ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class EventTruth:
    """One process under one scenario.

    Attributes
    ----------
    hazards : (control, treated), each (breaks in days, hazards per day)
    by_state : (none, response, relapse), factors of the hazard
    per_sd : (endpoint, log hazard ratio of the visit before, of the visit to come) or None
    terminal, lost : bool
    kept : float
        Share of the treatment effect that is left after it.
    effects : tuple of (endpoint, effect)
        On the scale the endpoint's effect acts on: logarithms of ratios.
    """

    id: str
    hazards: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    by_state: tuple[float, float, float]
    per_sd: tuple[str, float, float] | None
    terminal: bool
    lost: bool
    kept: float
    effects: tuple[tuple[str, float], ...]

    def adds(self, endpoint: str) -> float:
        """Return what it adds to an endpoint in whoever has it."""
        return dict(self.effects).get(endpoint, 0.0)


@dataclass(frozen=True)
class PlannedEstimand:
    """One estimand of an endpoint, and how it is estimated where values are missing.

    Attributes
    ----------
    id : str
        "main" for the endpoint's own.
    strategies : tuple of (event, Strategy)
        One for every process but mere loss.
    missing : MissingData
    imputations : int
    """

    id: str
    strategies: tuple[tuple[str, Strategy], ...]
    missing: MissingData
    imputations: int

    def events(self, strategy: Strategy) -> tuple[str, ...]:
        """Return the events that are dealt with by a strategy."""
        return tuple(event for event, own in self.strategies if own is strategy)

    @property
    def in_words(self) -> str:
        """Each event with its strategy, and how missing values are dealt with."""
        said = [f"{event}: {strategy}" for event, strategy in self.strategies]
        return "; ".join([*said, f"missing values: {self.missing}"])


def effect_key(endpoint: SimulatedEndpoint) -> str | None:
    """Return the key of the effect an event may have on an endpoint; None for other kinds."""
    if isinstance(endpoint, ContinuousEndpoint) and endpoint.scale is MeasuredScale.LOG:
        return "ratio_of_geometric_means"
    return EVENT_EFFECTS.get(type(endpoint))


def by_ranks(endpoint: SimulatedEndpoint, estimand: PlannedEstimand) -> bool:
    """Whether a measurement is ranked, with some patients worst, since it has no worst value."""
    worst = estimand.events(Strategy.COMPOSITE_VARIABLE)
    failing = estimand.missing is MissingData.FAILURE
    return isinstance(endpoint, ContinuousEndpoint) and bool(worst or failing)


def event_truths(
    events: tuple[IntercurrentEvent, ...], changed: dict[str, EventCourses]
) -> tuple[EventTruth, ...]:
    """Resolve all processes under a scenario that changes some of their hazards."""
    found = []
    for event in events:
        own = changed.get(event.id)
        control = (own and own.control) or event.control
        treated = (own and own.treated) or event.treated or control
        sd, state = event.hazard_ratio_per_sd, event.by_state or StateHazardRatios()
        found.append(
            EventTruth(
                event.id,
                (control.per_day(1.0), treated.per_day(1.0)),
                (state.none, state.response, state.relapse),
                (sd.endpoint, _log(sd.previous), _log(sd.current)) if sd else None,
                event.terminal,
                event.then.lost,
                event.then.effect_kept,
                tuple((name, _on_its_scale(effect)) for name, effect in event.then.effect.items()),
            )
        )
    return tuple(found)


def _log(ratio: Ratio | None) -> float:
    return log(ratio.value) if ratio else 0.0


def _on_its_scale(effect: OutcomeEffect) -> float:
    value = effect.number.value
    return value if effect.stated[0] == "mean_difference" else log(value)


def estimands_of(
    endpoint: SimulatedEndpoint, events: tuple[IntercurrentEvent, ...]
) -> tuple[PlannedEstimand, ...]:
    """Return an endpoint's estimands, its own first; none where nature has no processes.

    An event that an estimand does not name is dealt with as in the endpoint's own, and there by
    treatment policy (assumed). Mere loss has no strategy unless one is named: it only hides.
    """
    if not events:
        return ()
    main = endpoint.estimand
    further = getattr(endpoint, "further_estimands", ())
    usual = {e.id: Strategy.TREATMENT_POLICY for e in events if not e.only_hides}
    order = [event.id for event in events]
    found = []
    for name, asked in ((MAIN, main), *((each.id, each) for each in further)):
        named = {**usual, **main.intercurrent_events, **asked.intercurrent_events}
        strategies = {event: named[event] for event in order if event in named}
        missing = getattr(asked, "missing", None) or _usual(endpoint, strategies)
        number = getattr(asked, "imputations", 20)
        found.append(PlannedEstimand(name, tuple(strategies.items()), missing, number))
    return tuple(found)


def _usual(endpoint: SimulatedEndpoint, strategies: dict[str, Strategy]) -> MissingData:
    """Impute what a hypothetical strategy takes away, where no model does it in one go."""
    hypothetical = Strategy.HYPOTHETICAL in strategies.values()
    if isinstance(endpoint, ResponseEndpoint) and not hypothetical:
        return MissingData.FAILURE  # as its trials analysed all randomised
    modelled = isinstance(endpoint, CountEndpoint) or endpoint.analysis is MeasuredTest.MMRM
    if hypothetical and not modelled:
        return MissingData.MULTIPLE_IMPUTATION
    return MissingData.COMPLETE_CASE
