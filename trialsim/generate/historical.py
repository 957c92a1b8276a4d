"""A single arm: its patients, and what the historical ones showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri

from trialsim.generate.outcomes import MeasuredBatch
from trialsim.kernels.increments import binomial
from trialsim.protocol.historical import HistoricalControl
from trialsim.streams import Decision, Streams
from trialsim.trial import TrialBatch

__all__ = ["HistoricalSample", "SingleArmBatch", "with_history"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HistoricalSample:
    """What the historical patients of every trial showed; shapes (n_reps,).

    Attributes
    ----------
    events : ndarray of int or None
        Of a risk.
    mean, sd : ndarray of float or None
        Of a measurement; of logarithms on the log scale.
    """

    events: NDArray[np.int64] | None = None
    mean: Floats | None = None
    sd: Floats | None = None


@dataclass(frozen=True)
class SingleArmBatch:
    """Many single-arm trials under one truth.

    Attributes
    ----------
    patients : TrialBatch or MeasuredBatch
        Everyone treated.
    sample : HistoricalSample or None
        None where the historical value is taken as known.
    """

    patients: TrialBatch | MeasuredBatch
    sample: HistoricalSample | None


def with_history(
    patients: TrialBatch | MeasuredBatch,
    name: str,
    control: HistoricalControl,
    streams: Streams,
    block: int,
) -> SingleArmBatch:
    """Draw what the historical patients showed, the same under every truth.

    Events are binomial; of a normal measurement the mean is normal, and independent of it the
    variance a multiple of chi-square with n - 1 degrees of freedom.

    Parameters
    ----------
    patients : TrialBatch or MeasuredBatch
        Of the single arm, in one endpoint.
    name : str
        Endpoint id.
    control : HistoricalControl
    """
    if control.n is None:
        return SingleArmBatch(patients, None)
    width = patients.assigned.shape[1]
    luck = streams.generator(Decision.HISTORICAL, block, name).random((2, width))
    if isinstance(patients, TrialBatch):
        events = binomial(luck[0], np.full(width, control.n), control.value)
        return SingleArmBatch(patients, HistoricalSample(events=events))
    assert control.sd is not None  # required by the model
    mean = control.value + control.sd / np.sqrt(control.n) * ndtri(np.maximum(luck[0], 2.0**-54))
    half = (control.n - 1) / 2
    sd = control.sd * np.sqrt(gammaincinv(half, luck[1]) / half)
    return SingleArmBatch(patients, HistoricalSample(mean=mean, sd=sd))
