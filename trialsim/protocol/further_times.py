"""Times to an event beside the primary endpoint: a lifetime, its truth, and what a Cox model finds.

Each patient is followed from entry to the event, to loss, or to the end of the own follow-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

from trialsim.protocol.endpoints import SurvivalSummary
from trialsim.protocol.quantities import Rate
from trialsim.protocol.survival import HazardCurve, Lifetime

__all__ = ["GRID", "FurtherLifetime", "LifetimeTruth", "limiting_log_ratio"]

Floats = tuple[float, ...]
GRID = 400  # steps of an integral over time; agreement 1e-5 with 4,000 on a log ratio


class FurtherLifetime(Lifetime):
    """The control arm's time to an event that is not the primary endpoint.

    Nobody is lost unless stated (assumed).
    """

    lost_per_year: Rate = Rate(value=0.0)


def limiting_log_ratio(control: Floats, treated: Floats, share: float, lost: float) -> float:
    """Return what the score of a hazard ratio converges to, given incidence on a grid of days.

    `share` is that of treated patients, `lost` the cumulative hazard of loss over the grid.
    """
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if _score(middle, control, treated, share, lost) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score(beta: float, control: Floats, treated: Floats, share: float, lost: float) -> float:
    total = 0.0
    for k in range(1, len(control)):
        d1, d0 = treated[k] - treated[k - 1], control[k] - control[k - 1]
        free1 = 1 - (treated[k] + treated[k - 1]) / 2
        free0 = 1 - (control[k] + control[k - 1]) / 2
        weight = exp(-lost * (k - 0.5) / (len(control) - 1))
        at_risk = share * free1 * exp(beta)
        fraction = at_risk / (at_risk + (1 - share) * free0)
        total += weight * (share * d1 - fraction * (share * d1 + (1 - share) * d0))
    return total


@dataclass(frozen=True)
class LifetimeTruth:
    """The time to an event that is not the primary endpoint.

    Attributes
    ----------
    control, treated : HazardCurve
    hazard_ratio : float
        Of those who can have the event.
    loss : float
        Hazard per day.
    shown_on, day : float
        Days on which survival is shown, and on which follow-up of each patient ends.
    until : float
        Day of a milestone, or up to which a mean is restricted; `day` where neither is asked.
    treated_share : float
        Of the patients.
    """

    control: HazardCurve
    treated: HazardCurve
    hazard_ratio: float
    loss: float
    shown_on: float
    day: float
    until: float
    treated_share: float

    unit = "per patient"

    @property
    def arms(self) -> tuple[float, float]:
        """Probability of the event by the day on which survival is shown, without loss."""
        return 1 - self.control.survival(self.shown_on), 1 - self.treated.survival(self.shown_on)

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.control == self.treated

    def theta(self, summary: SurvivalSummary) -> float:
        """Return the true effect on the analysis scale.

        Where some are cured hazards are not proportional: then what the Cox estimate converges to,
        the root of its expected score (Struthers and Kalbfleisch 1986).
        """
        if self.is_null:
            return 0.0
        if summary is SurvivalSummary.SURVIVAL_DIFFERENCE:
            return self.treated.survival(self.until) - self.control.survival(self.until)
        if summary is SurvivalSummary.MEAN_DIFFERENCE:
            return self.treated.mean_until(self.until) - self.control.mean_until(self.until)
        if not self.control.cured:
            return log(self.hazard_ratio)
        days = [self.day * k / GRID for k in range(GRID + 1)]
        control, treated = (
            tuple(1 - curve.survival(day) for day in days) for curve in (self.control, self.treated)
        )
        return limiting_log_ratio(control, treated, self.treated_share, self.loss * self.day)
