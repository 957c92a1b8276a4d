"""A fixed design carried over to looks: the same method's size and power, with interim analyses.

With looks, the size for a power is the fixed design's size for that power times the inflation
factor of the looks; the power at a size is the one for which that holds, so that size and power
agree with one another to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from statistics import NormalDist

from trialsim.errors import DesignError
from trialsim.sizing.fixed import MOST_PATIENTS, Level, problem_unless, refuse
from trialsim.sizing.sequential import SequentialDesign

__all__ = ["WithLooks"]

_PHI = NormalDist()
_MOST_NORMAL_POWER = 6.0  # a power of one but for a thousand millionth
_STEP = 0.1  # of normal power
_FAR = 50.0  # on the log scale of sizes


@dataclass(frozen=True)
class WithLooks:
    """A fixed design, and looks or none.

    Attributes
    ----------
    fixed_total, fixed_power : callable
        Of the fixed design: power -> patients in all, unrounded; patients -> power.
    level : Level
    looks : SequentialDesign or None

    References
    ----------
    Jennison and Turnbull (2000), Group Sequential Methods, section 2.3 (inflation factors).
    """

    fixed_total: Callable[[float], float]
    fixed_power: Callable[[float], float]
    level: Level
    looks: SequentialDesign | None = None

    def total(self, power: float) -> float:
        """Return patients in all, unrounded, for a power.

        Raises
        ------
        DesignError
            If no size has the power.
        """
        inflation = self.looks.inflation(power) if self.looks else 1.0
        return self.fixed_total(power) * inflation

    def power(self, total: float) -> float:
        """Return the power with so many patients, unrounded."""
        if self.looks is None:
            return self.fixed_power(total)
        refuse(
            problem_unless(
                1 < total <= MOST_PATIENTS,
                "total patients",
                total,
                f"must be from 2 to {MOST_PATIENTS:,}",
                "Correct the number of patients.",
            )
        )
        wanted = log(total)

        def surplus(normal_power: float) -> float:
            """Return how far a size is above the wanted one; far where it is out of reach."""
            try:
                return log(self.total(_PHI.cdf(normal_power))) - wanted
            except DesignError:
                return _FAR

        low = _lowest_end(surplus, _PHI.inv_cdf(self.level.alpha) + 1e-6)
        if surplus(low) >= 0:  # below alpha there is no inflation factor: that at alpha is used
            inflation = self.looks.inflation(_PHI.cdf(low))
            return self.fixed_power(max(2.0, total / inflation))
        return _PHI.cdf(_root(surplus, low, _MOST_NORMAL_POWER))

    def drift(self, total: float) -> float:
        """Return the expected statistic at the last look, with so many patients."""
        assert self.looks is not None
        return self.looks.drift_for(self.power(total))


def _lowest_end(function: Callable[[float], float], low: float) -> float:
    """Return where a function that rises is at its lowest, or a place above where it is negative.

    Stopping for futility lets the inflation factor grow without bound as power falls to alpha:
    the size has its lowest value a little above.
    """
    here, at_here = low, function(low)
    while at_here >= 0:
        following = here + _STEP
        at_following = function(following)
        if at_following >= at_here:
            break
        here, at_here = following, at_following
    return here


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the root of a rising function between two ends (Illinois method)."""
    at_low, at_high = function(low), function(high)
    if at_high <= 0:
        return high
    side = 0
    for _ in range(200):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        found = function(middle)
        if abs(found) < 1e-13 or high - low < 1e-12:
            break
        if found > 0:
            high, at_high = middle, found
            at_low *= 0.5 if side > 0 else 1.0
            side = 1
        else:
            low, at_low = middle, found
            at_high *= 0.5 if side < 0 else 1.0
            side = -1
    return middle
