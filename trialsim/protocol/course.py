"""How response comes and goes: hazards since start of therapy, and what they were fitted to.

States: none -> response -> relapse, and from each of them death or loss. All hazards are constant
between breaks. Pure Python, so that ``check`` can tell an impossible course without numpy; the
same probabilities by matrix exponential are in `trialsim.kernels.multistate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, expm1, inf, log, sqrt

__all__ = ["Course", "ImpossibleCourseError", "calibrated_hazard"]

DAYS_PER_YEAR = 365.25


class ImpossibleCourseError(ValueError):
    """No hazard reaches what was asked; the message says what can be reached."""


@dataclass(frozen=True)
class Course:
    """One arm's course.

    Attributes
    ----------
    breaks : tuple of float
        Ends of the pieces in days since start of therapy, rising; the last piece goes on for ever.
    response : tuple of float
        Hazard of response per day in each piece; one more than `breaks`, or as many (the last
        hazard then goes on).
    relapse, death, loss : float
        Hazards per day, constant.
    """

    breaks: tuple[float, ...]
    response: tuple[float, ...]
    relapse: float = 0.0
    death: float = 0.0
    loss: float = 0.0

    def pieces(self, until: float) -> list[tuple[float, float]]:
        """Return (length in days, hazard of response) of each piece up to a day."""
        starts = (0.0, *self.breaks)
        ends = (*self.breaks, inf)
        hazards = (*self.response, self.response[-1])
        return [
            (min(end, until) - start, hazard)
            for start, end, hazard in zip(starts, ends, hazards, strict=False)
            if start < until
        ]

    def probability_of_response(self, day: float) -> float:
        """Probability to be alive, followed and in response on a day."""
        none, response = 1.0, 0.0
        for length, hazard in self.pieces(day):
            none, response = _step(none, response, length, hazard, self.relapse)
        return response * exp(-(self.death + self.loss) * day)


def _step(
    none: float, response: float, days: float, hazard: float, relapse: float
) -> tuple[float, float]:
    """Carry the probabilities of no response and of response through one piece.

    Death and loss act alike on all states and are taken out. Cox and Miller (1965), section 4.5.
    """
    gap = abs(relapse - hazard)
    # the integral of hazard exp(-hazard s) exp(-relapse (days - s)), written so as not to overflow
    slower = exp(-min(hazard, relapse) * days)
    new = hazard * slower * (-expm1(-gap * days) / gap if gap * days > 1e-12 else days)
    return none * exp(-hazard * days), response * exp(-relapse * days) + none * new


def calibrated_hazard(
    earlier: Sequence[tuple[float, float]],
    days: float,
    target: float,
    *,
    relapse: float,
    leaving: float,
) -> float:
    """Find the hazard of response in a piece that makes P(in response at its end) = `target`.

    Parameters
    ----------
    earlier : sequence of (days, hazard)
        The pieces before it.
    days : float
        Length of the piece.
    target : float
    relapse, leaving : float
        Hazards per day of relapse, and of death and loss together.

    Returns
    -------
    hazard : float
        Per day; the probability is reached to 1e-12.

    Raises
    ------
    ImpossibleCourseError
        If no hazard of at least 0 and at most 1 per day reaches the target.
    """
    none, response, elapsed = 1.0, 0.0, 0.0
    for length, hazard in earlier:
        none, response = _step(none, response, length, hazard, relapse)
        elapsed += length
    staying = exp(-leaving * (elapsed + days))

    def reached(hazard: float) -> float:
        return _step(none, response, days, hazard, relapse)[1] * staying

    peak = _peak(reached)
    least, most = reached(0.0), reached(peak)
    if not least - 1e-12 <= target <= most:
        raise ImpossibleCourseError(f"only {least:.4g} to {most:.4g} can be reached by then")
    low, high = 0.0, peak
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < target else (low, middle)
    return (low + high) / 2


def _peak(reached: Callable[[float], float]) -> float:
    """Return the hazard, at most 1 per day, that reaches most: with relapse, sooner is not more.

    Golden-section search on the logarithm; the probability rises to one maximum and falls after.
    """
    low, high = log(1e-9), 0.0
    ratio = (sqrt(5) - 1) / 2
    for _ in range(120):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if reached(exp(a)) >= reached(exp(b)) else (a, high)
    return max((exp((low + high) / 2), 1.0), key=reached)
