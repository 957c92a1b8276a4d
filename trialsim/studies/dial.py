"""The dial of one flaw: what each strength does to the odds ratio, and which reaches a ratio."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, isotonic_regression

__all__ = ["Dial", "Reached"]

Floats = NDArray[np.float64]


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
