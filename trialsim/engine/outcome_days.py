"""Outcomes handed to the conduct of a trial, and power with what patients really took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from re import split

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from trialsim.analyse.binary import analyse_counts
from trialsim.kernels.hazards import Hazard, day_of
from trialsim.operations.conducted import ConductedTrial, Outcomes
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import BinaryEndpoint, TimeToEventEndpoint
from trialsim.protocol.rules.conduct import names_death
from trialsim.protocol.scenario import Truth
from trialsim.protocol.survival import HazardCurve
from trialsim.streams import Decision, Streams
from trialsim.trial import AnalysisPlan

__all__ = ["OutcomeDays", "PowerTwice", "outcome_days_of", "power_by_exposure"]

OUTCOMES_PER_TRIAL = 50  # drawn for each trial conducted, so that chance in them averages out

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


@dataclass(frozen=True)
class PowerTwice:
    """Power of every trial conducted, were every dose taken, and with what was taken.

    Attributes
    ----------
    without, with_exposure : ndarray, shape (n_trials,)
        Share of the outcomes drawn for a trial in which its test rejects.
    risk : float
        Mean over trials of the treated arm's mean risk with what was taken.
    """

    without: Floats
    with_exposure: Floats
    risk: float


def power_by_exposure(
    trials: Sequence[ConductedTrial], truth: Truth, plan: AnalysisPlan, streams: Streams
) -> PowerTwice:
    """Analyse outcomes of trials as conducted, the log effect in proportion to exposure.

    A treated patient who took the share ``e`` of the planned doses has the log odds of the control
    arm plus ``e`` times the log odds ratio. What a patient could not take because of dying counts
    as taken: it is no lack of exposure before the event. The same uniforms decide with and without.
    Of a binary endpoint, everyone analysed as assigned.
    """
    base = logit(truth.control_risk)
    effect = logit(truth.treated_risk) - base
    without: list[float] = []
    with_exposure: list[float] = []
    risks: list[float] = []
    for run, trial in enumerate(trials):
        treated = trial.in_first_arm
        n = (int(treated.sum()), int((~treated).sum()))
        generator = streams.generator(Decision.EXPOSED_OUTCOMES, run)
        luck = generator.random((len(treated), OUTCOMES_PER_TRIAL))
        exposed = expit(base + trial.exposure_alive[treated] * effect)
        risks.append(float(exposed.mean()))
        events_control = (luck[~treated] < truth.control_risk).sum(axis=0)
        for risk, found in (
            (np.full(n[0], truth.treated_risk), without),
            (exposed, with_exposure),
        ):
            events = (luck[treated] < risk[:, None]).sum(axis=0)
            looks = analyse_counts(
                events,
                np.full_like(events, n[0]),
                events_control,
                np.full_like(events, n[1]),
                plan,
            )
            found.append(float(looks.rejected[:, -1].mean()))
    return PowerTwice(np.array(without), np.array(with_exposure), float(np.mean(risks)))
