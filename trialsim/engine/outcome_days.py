"""Outcomes handed to the conduct of a trial: when its events come."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from re import split

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.hazards import Hazard, day_of
from trialsim.operations.conducted import Outcomes
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import BinaryEndpoint, TimeToEventEndpoint
from trialsim.protocol.rules.conduct import names_death
from trialsim.protocol.scenario import Truth
from trialsim.protocol.survival import HazardCurve
from trialsim.streams import Decision, Streams

__all__ = ["OutcomeDays", "outcome_days_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OutcomeDays:
    """When the outcome event comes.

    Attributes
    ----------
    shares : tuple of float
        Of patients in each level of what tells them apart.
    treated, control : tuple of HazardCurve
        One per level.
    fatal : bool
        Whether it is death.
    """

    shares: tuple[float, ...]
    treated: tuple[HazardCurve, ...]
    control: tuple[HazardCurve, ...]
    fatal: bool

    def luck_of(self, n: int, streams: Streams, run: int) -> tuple[Floats, NDArray[np.int64]]:
        """Draw the cumulative hazard at the event, and the level, of `n` patients."""
        generator = streams.generator(Decision.OUTCOME_DAYS, run)
        luck, which = generator.standard_exponential(n), generator.random(n)
        return luck, np.searchsorted(np.cumsum(self.shares)[:-1], which, side="right")

    def drawn(self, n: int, streams: Streams, run: int) -> Outcomes:
        """Draw the days of `n` patients under both arms, by the same luck."""
        luck, level = self.luck_of(n, streams, run)
        found: list[list[float]] = []
        for curves in (self.treated, self.control):
            days = np.empty(n)
            for index, curve in enumerate(curves):
                own = level == index
                days[own] = day_of(luck[own], Hazard(*curve))
            found.append(days.tolist())
        return Outcomes((found[0], found[1]), self.fatal)


def outcome_days_of(protocol: Protocol, truth: Truth) -> OutcomeDays | None:
    """Return when a truth's events come; None for endpoints that are no events in time.

    A risk by a day is spread by a constant hazard until then (assumed).
    """
    primary = protocol.primary
    if isinstance(primary, TimeToEventEndpoint) and truth.lifetimes:
        own = truth.lifetimes
        return OutcomeDays(own.shares, own.treated, own.control, _is_death(primary.event))
    if not isinstance(primary, BinaryEndpoint):
        return None
    day = primary.read_out.days_after_entry(protocol.therapy)
    if day <= 0:
        return None
    treated, control = (
        HazardCurve((), (-log(1 - risk) / day,))
        for risk in (truth.treated_risk, truth.control_risk)
    )
    return OutcomeDays((1.0,), (treated,), (control,), _is_death(primary.event))


def _is_death(event: str) -> bool:
    """Whether an event is nothing but death: progression or death need not be the end."""
    return all(names_death(part) for part in split(r",|/|\bor\b", event))
