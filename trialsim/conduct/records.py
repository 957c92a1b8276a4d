"""What a trial writes down of its patients: where flaws of conduct act."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from trialsim.protocol.conduct import Mechanism, Strength
from trialsim.streams import Decision, Streams

__all__ = ["Luck", "Reading", "Records"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """How events are read. Arrays of shape (n_patients, n_reps).

    Attributes
    ----------
    sensitivity, specificity : ndarray of float
        Probabilities that an event is recorded, and that none is where there was none.
    luck, place : ndarray of float
        Uniforms: whether a patient is misread, and where in the follow-up a false event is put.
    """

    sensitivity: Floats
    specificity: Floats
    luck: Floats
    place: Floats


@dataclass(frozen=True)
class Records:
    """Many trials as their records have them. Arrays of shape (n_patients, n_reps).

    Attributes
    ----------
    treated : ndarray of bool
        The arm a patient is counted in.
    unfavourable : ndarray of bool
        The outcome as recorded, of what is a yes or no; else whose recorded outcome is the
        unfavourable one, as `analyse.as_recorded.unfavourable` says.
    included : ndarray of bool
        Who is analysed.
    control_risk : float
        True marginal risk of the unfavourable outcome among controls; NaN where that is no yes
        or no.
    treated_risk : float
        The same among the treated.
    day : float
        Of the read-out, since entry; NaN where it is not known.
    event_days : ndarray of float, or None
        Since entry, of a time to an event, infinity for none seen; None where only that it came by
        the read-out is known.
    worse_by : ndarray of float, or None
        How much worse than what happened the outcome is as recorded: SDs of a measurement, log odds
        of a category, log ratio of a rate or hazard. None of what is a yes or no, which is
        rewritten itself.
    reading : Reading or None
        How events are read, where that is not what happened; of times to an event and of counts.
    value : ndarray of float, or None
        As recorded: the measurement, category or count; the day of the event, infinity for none.
    """

    treated: Bools
    unfavourable: Bools
    included: Bools
    control_risk: float
    treated_risk: float = nan
    day: float = nan
    event_days: Floats | None = None
    worse_by: Floats | None = None
    reading: Reading | None = None
    value: Floats | None = None

    @property
    def is_rewritten(self) -> bool:
        """Whether what is no yes or no may be recorded otherwise than it happened."""
        return self.reading is not None or (self.worse_by is not None and bool(self.worse_by.any()))


@dataclass(frozen=True)
class Luck:
    """The random numbers of one block for all mechanisms: drawn once each, whoever asks.

    Every mechanism has its own stream, so switching one on moves no other.

    Attributes
    ----------
    shape : (n_patients, n_reps)
    """

    streams: Streams
    block: int
    shape: tuple[int, int]
    _drawn: dict[tuple[Decision, str, bool], Floats] = field(default_factory=dict)

    def of_patients(self, decision: Decision, item: str = "") -> Floats:
        """Return one uniform per patient, shape (n_patients, n_reps)."""
        return self._once((decision, item, True), self.shape)

    def normals(self, decision: Decision, item: str) -> Floats:
        """Return one standard normal number per patient, shape (n_patients, n_reps)."""
        key = (decision, f"{item}, normal", True)
        if key not in self._drawn:
            generator = self.streams.generator(decision, self.block, item)
            self._drawn[key] = generator.standard_normal(self.shape)
        return self._drawn[key]

    def of_trials(self, decision: Decision, item: str = "") -> Floats:
        """Return one uniform per trial, shape (n_reps,)."""
        return self._once((decision, item, False), self.shape[1:])

    def strength(self, mechanism: Mechanism, strength: Strength) -> Floats:
        """Return how strong a mechanism is in each trial, shape (n_reps,)."""
        mean, sd = strength.value, strength.sd
        if not sd:
            return np.full(self.shape[1], mean)
        size = mean * (1 - mean) / sd**2 - 1  # beta(mean * size, (1 - mean) * size)
        uniforms = self.of_trials(Decision.CONDUCT_STRENGTH, mechanism)
        return np.asarray(betaincinv(mean * size, (1 - mean) * size, uniforms))

    def _once(self, key: tuple[Decision, str, bool], shape: tuple[int, ...]) -> Floats:
        if key not in self._drawn:
            item = f"{key[1]} trials" if not key[2] else key[1]
            self._drawn[key] = self.streams.generator(key[0], self.block, item).random(shape)
        return self._drawn[key]
