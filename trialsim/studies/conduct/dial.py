"""The dial of one flaw: what each strength does to the odds ratio, and which reaches a ratio."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, isotonic_regression
from scipy.special import betaincinv

__all__ = ["Dial", "Reached"]

Floats = NDArray[np.float64]
_PLACES = (np.arange(2_000) + 0.5) / 2_000  # of a distribution, evenly in probability


class Reached(NamedTuple):
    """A strength with its Monte Carlo standard error; None where no strength reaches the ratio."""

    strength: float | None
    mcse: float | None


@dataclass(frozen=True)
class Dial:
    """Ratios of odds ratios by strength, of the same simulated patients. Shapes (n_strengths,).

    Attributes
    ----------
    strengths : ndarray of float
        Rising, from 0.
    ratios : ndarray of float
        Flawed to flawless trials; below 1 the flaw flatters the treatment.
    errors : ndarray of float
        Monte Carlo standard errors of the ratios.
    """

    strengths: Floats
    ratios: Floats
    errors: Floats

    @cached_property
    def curve(self) -> Floats:
        """Logarithms of the ratios, made monotone, from 0 down (isotonic least squares)."""
        falling = isotonic_regression(np.log(self.ratios), increasing=False).x
        return np.minimum(np.where(self.strengths == 0, 0.0, falling), 0.0)

    @property
    def at_full(self) -> float:
        """The ratio at the last strength."""
        return exp(float(self.curve[-1]))

    def reaching(self, ratio: float) -> Reached:
        """Return the strength that gives a ratio.

        Between strengths the logarithm is interpolated by monotone cubics (Fritsch and Carlson
        1980, SIAM Journal on Numerical Analysis 17:238-246). The error of the strength is that of
        the logarithm there over the slope of the dial around it. A ratio of 1 or more needs none.
        """
        if ratio >= 1:
            return Reached(0.0, 0.0)
        wanted = log(ratio)
        if wanted < self.curve[-1]:
            return Reached(None, None)
        between = PchipInterpolator(self.strengths, self.curve)
        last = float(self.strengths[-1])
        found = float(brentq(lambda s: float(between(s)) - wanted, 0.0, last, xtol=1e-9))
        right = int(np.clip(np.searchsorted(self.strengths, found), 1, len(self.curve) - 1))
        while right < len(self.curve) - 1 and self.curve[right] == self.curve[right - 1]:
            right += 1  # flat: the next stretch that falls
        steep = self.curve[right] - self.curve[right - 1]
        slope = steep / (self.strengths[right] - self.strengths[right - 1])
        variance = np.interp(found, self.strengths, (self.errors / self.ratios) ** 2)
        return Reached(found, abs(float(np.sqrt(variance) / slope)))

    def spreading(self, strength: float, kappa: float) -> Reached:
        """Return the SD of strengths between trials at which log ratios have an SD of kappa.

        Strengths have a beta distribution around `strength`, as a profile's do; the SD of the
        interpolated dial over it is solved for kappa. The error is that of the dial's logarithm at
        the strength, carried through as an error of its size.

        Parameters
        ----------
        strength : float
            Mean over trials.
        kappa : float
            Of log ratios, above 0.
        """
        largest = min(sqrt(strength * (1 - strength)), 0.5) * (1 - 1e-6)
        between = PchipInterpolator(self.strengths, self.curve)

        def spread(sd: float) -> float:
            size = strength * (1 - strength) / sd**2 - 1
            drawn = betaincinv(strength * size, (1 - strength) * size, _PLACES)
            return float(np.std(between(np.clip(drawn, 0.0, self.strengths[-1]))))

        def solved(wanted: float) -> float | None:
            if largest <= 1e-6 or spread(largest) < wanted:
                return None
            return float(brentq(lambda sd: spread(sd) - wanted, 1e-7, largest, xtol=1e-9))

        found = solved(kappa)
        if found is None:
            return Reached(None, None)
        relative = float(np.interp(strength, self.strengths, self.errors / self.ratios))
        other = solved(kappa / (1 + relative / max(-float(between(strength)), 1e-12)))
        return Reached(found, None if other is None else abs(other - found))
