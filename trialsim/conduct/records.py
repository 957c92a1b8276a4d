"""What a trial writes down of its patients: where flaws of conduct act."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from trialsim.protocol.conduct import Mechanism, Strength
from trialsim.streams import Decision, Streams

__all__ = ["Luck", "Records"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Records:
    """Many trials as their records have them. Arrays of shape (n_patients, n_reps).

    Attributes
    ----------
    treated : ndarray of bool
        The arm a patient is counted in.
    unfavourable : ndarray of bool
        The outcome as recorded: an event that is bad for patients, a response that failed to
        come; of a measurement, a value worse than the trial's median (only to say who is lost).
    included : ndarray of bool
        Who is analysed.
    control_risk : float
        True marginal risk of the unfavourable outcome among controls.
    treated_risk : float
        The same among the treated; NaN where it is not known.
    day : float
        Of the read-out, since entry; NaN where it is not known.
    """

    treated: Bools
    unfavourable: Bools
    included: Bools
    control_risk: float
    treated_risk: float = nan
    day: float = nan

    def first(self, n: int) -> Records:
        """Return the records of the first n patients."""
        every = ("treated", "unfavourable", "included")
        return replace(self, **{name: getattr(self, name)[:n] for name in every})


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
