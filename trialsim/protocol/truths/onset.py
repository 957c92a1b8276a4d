"""Smooth onset of response: when those who will respond do, as a distribution."""

from __future__ import annotations

from math import exp, inf, lgamma, log
from statistics import NormalDist
from typing import Annotated

from pydantic import Field

from trialsim.protocol.quantities import Duration, Number, OneOf, Share, one_of

__all__ = ["Onset", "gamma_share"]

_STEP_DAYS = 7.0
_MOST_STEPS = 600


class Onset(OneOf):
    """When response comes, counted from the start of the piece.

    A share of those who have not responded by then ever will; their times are log-normal or gamma
    with this median. Hazards are constant within a week, and the share exact at its end; where
    patients differ (frailty, levels), it is that of the pieces' own hazard.
    """

    model_config = one_of("log_sd", "shape", remedy="0.5 is a log SD; 4 is a shape of the gamma.")

    share: Share
    median: Duration
    log_sd: Annotated[Number, Field(gt=0, le=3)] | None = None
    shape: Annotated[Number, Field(ge=0.1, le=100)] | None = None

    def by(self, days: float) -> float:
        """Share of those who respond that has, so many days after the start."""
        if days <= 0:
            return 0.0
        if self.log_sd is not None:
            return NormalDist(0, self.log_sd).cdf(log(days / self.median.days))
        assert self.shape is not None  # one of two
        return gamma_share(self.shape, days * _gamma_median(self.shape) / self.median.days)

    def pieces(self, start: float, end: float) -> list[tuple[float, float]]:
        """Return (end, hazard per day) of pieces with constant hazard, a week or more each.

        At their ends the share that has responded is exact.
        """
        length = max(_STEP_DAYS, (end - start) / _MOST_STEPS)
        found, day, left = [], start, 1.0
        while day < end - 1e-9:
            stop = min(day + length, end)
            after = 1 - self.share.value * self.by(stop - start)
            hazard = log(left / after) / (stop - day) if after > 0 else inf
            found.append((stop, min(hazard, 1.0)))
            day, left = stop, after
        return found


def gamma_share(shape: float, x: float) -> float:
    """Return the gamma distribution function with scale 1.

    By its series below the mean, else by its continued fraction; Abramowitz and Stegun (1964),
    6.5.29 and 6.5.31.
    """
    if x <= 0:
        return 0.0
    scale = exp(shape * log(x) - x - lgamma(shape))
    if x < shape + 1:
        term = total = 1 / shape
        k = shape
        while term > total * 1e-16:
            k += 1
            term *= x / k
            total += term
        return scale * total
    b, fraction = x + 1 - shape, 0.0
    c, d = inf, 1 / b
    fraction = d
    for i in range(1, 500):
        a = -i * (i - shape)
        b += 2
        d = 1 / (a * d + b)
        c = b + a / c
        fraction *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return 1 - scale * fraction


def _gamma_median(shape: float) -> float:
    low, high = 0.0, shape + 10 + 10 * shape
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gamma_share(shape, middle) < 0.5 else (low, middle)
    return (low + high) / 2
