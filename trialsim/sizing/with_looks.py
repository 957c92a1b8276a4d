"""A fixed design carried over to looks: the same method's size and power, with interim analyses.

With looks, the size for a power is the fixed design's size for that power times the inflation
factor of the looks; the power at a size is the one for which that holds, so that size and power
agree with one another to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trialsim.errors import DesignError
from trialsim.sizing.fixed import MOST_PATIENTS, Level, problem_unless, refuse
from trialsim.sizing.sequential import SequentialDesign

__all__ = ["WithLooks"]

_MOST_POWER = 1 - 1e-9


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
                "Correct the size.",
            )
        )
        low, high = self.level.per_side * (1 + 1e-9), _MOST_POWER
        for _ in range(60):
            middle = (low + high) / 2
            try:
                enough = self.total(middle) <= total
            except DesignError:  # no size has a power so close to alpha
                enough = True
            low, high = (middle, high) if enough else (low, middle)
            if high - low < 1e-12:
                break
        return low

    def drift(self, total: float) -> float:
        """Return the expected statistic at the last look, with so many patients."""
        assert self.looks is not None
        return self.looks.drift_for(self.power(total))
