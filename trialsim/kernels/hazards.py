"""Times to an event: hazards constant between breaks, Weibull, and a share that never has it.

One form covers them all. In the clock ``v = days ** shape`` the cumulative hazard is linear between
breaks; a fraction `cured` never has the event:

    S(t) = cured + (1 - cured) exp(-H(t)),   H linear in t ** shape between breaks.

`shape` 1 is the piecewise exponential; a Weibull distribution with a hazard ratio that changes at
breaks is one rate per piece. The cure model is Boag's (1949), Journal of the Royal Statistical
Society B 11:15-53.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hazard", "day_of", "entry_days", "survival_on"]

Floats = NDArray[np.float64]


class Hazard(NamedTuple):
    """One distribution of the time to an event.

    Attributes
    ----------
    breaks : tuple of float
        Days at which the rate changes, rising, above 0.
    rates : tuple of float
        Per day ** shape, one more than `breaks`; at least 0.
    shape : float
        Above 0; 1 for constant hazards, above 1 for rising ones.
    cured : float
        Fraction that never has the event, in [0, 1).
    """

    breaks: tuple[float, ...]
    rates: tuple[float, ...]
    shape: float = 1.0
    cured: float = 0.0

    @property
    def clock(self) -> tuple[Floats, Floats, Floats]:
        """Start of every piece on the clock ``days ** shape``, 1 / its rate, and H at its start."""
        starts = np.array((0.0, *self.breaks)) ** self.shape
        rates = np.array(self.rates, dtype=float)
        at_start = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(starts))])
        with np.errstate(divide="ignore"):
            return starts, 1 / rates, at_start


def day_of(latent: Floats, hazard: Hazard) -> Floats:
    """Return the day of the event of patients whose luck is `latent`.

    Parameters
    ----------
    latent : ndarray, any shape
        -log of the survival probability at the event, standard exponential: the same luck gives a
        later event where the hazard is lower.
    hazard : Hazard

    Returns
    -------
    days : ndarray, same shape
        Infinity for never.
    """
    starts, slopes, at_start = hazard.clock
    wanted = latent
    if hazard.cured:
        uncured = (np.exp(-latent) - hazard.cured) / (1 - hazard.cured)
        with np.errstate(divide="ignore"):
            wanted = -np.log(np.maximum(uncured, 0.0))
    if len(slopes) == 1:  # the same numbers, without looking the piece up
        times = wanted * slopes[0] if np.isfinite(slopes[0]) else np.full(wanted.shape, np.inf)
        return times if hazard.shape == 1 else times ** (1 / hazard.shape)
    piece = np.searchsorted(at_start, wanted, side="right") - 1
    # a run of pieces with rate 0 shares one cumulative hazard: the last of them is chosen
    with np.errstate(invalid="ignore"):
        times = starts[piece] + (wanted - at_start[piece]) * slopes[piece]
    times = np.where(np.isfinite(slopes[piece]), times, np.inf)
    return times if hazard.shape == 1 else times ** (1 / hazard.shape)


def survival_on(days: Floats, hazard: Hazard) -> Floats:
    """Return the probability to be free of the event on each day, same shape as `days`."""
    starts, slopes, at_start = hazard.clock
    clock = np.asarray(days, dtype=float) ** hazard.shape
    piece = np.searchsorted(starts, clock, side="right") - 1
    cumulative = at_start[piece] + (clock - starts[piece]) / slopes[piece]
    return np.asarray(hazard.cured + (1 - hazard.cured) * np.exp(-cumulative))


def entry_days(exponentials: Floats, ends: tuple[float, ...], shares: tuple[float, ...]) -> Floats:
    """Return the days on which patients enter, in order of arrival.

    Entries are independent, with a density constant between `ends`; their order statistics are
    partial sums of exponentials over the whole sum (Devroye 1986, Non-Uniform Random Variate
    Generation, theorem V.2.2), which needs no sort.

    Parameters
    ----------
    exponentials : ndarray, shape (n_patients + 1, n_reps)
        Standard exponential.
    ends : tuple of float
        Last day of every piece, rising, above 0.
    shares : tuple of float
        Of patients in each piece; add up to 1.

    Returns
    -------
    days : ndarray, shape (n_patients, n_reps)
        Rising along the patients.
    """
    sums = np.cumsum(exponentials, axis=0)
    uniforms = sums[:-1] / sums[-1]
    if len(ends) == 1:
        return np.asarray(uniforms * ends[0])
    reached = np.concatenate([[0.0], np.cumsum(shares)])
    return np.asarray(np.interp(uniforms, reached, (0.0, *ends)))
