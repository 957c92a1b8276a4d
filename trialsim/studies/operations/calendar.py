"""When the patients of a design enter: from the rate of its sites, or as the file states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from trialsim.kernels.recruitment import Accrual, GammaDelay, invitation_days, mean_time_to
from trialsim.protocol.operations import OperationalNature, Operations, Recruitment
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.template import Template

__all__ = ["Calendar", "calendar_of", "sites_stated"]

_KNOTS = 33  # numbers of patients whose mean time is computed; linear in between


def sites_stated(template: Template) -> int | None:
    """Return how many sites the file plans; None where it does not say."""
    if template.protocol.operations:
        return template.protocol.operations.sites.planned
    if template.cost and "sites" in template.cost.model_fields_set:
        return template.cost.sites
    return None


@dataclass(frozen=True)
class Calendar:
    """Mean times of entry, in days since recruitment begins.

    Attributes
    ----------
    stated_days : float or None
        By which everyone of the file's own trial has entered, where ``nature.enrolment`` says so:
        patients then enter at that pace, for each site.
    n_stated, sites_stated : int
        Of the file's own trial.
    operations : Operations
    nature : OperationalNature
    """

    template: Template
    operations: Operations
    nature: OperationalNature
    most_patients: int

    @property
    def by_rate(self) -> bool:
        """Whether sites recruit at a rate; else as ``nature.enrolment`` has it."""
        stated = self.template.nature.operations
        return self.template.nature.enrolment is None or bool(
            stated and "recruitment" in stated.model_fields_set
        )

    @property
    def sites(self) -> int:
        """Sites of the file's own trial; ten where it does not say (assumed)."""
        return sites_stated(self.template) or self.operations.sites.planned

    def accrual(self, sites: int) -> Accrual:
        """Return how a trial with so many sites recruits."""
        recruitment, activation = self.nature.recruitment, self.nature.activation
        screening = self.nature.screening.takes
        return Accrual(
            invited=invitation_days(sites, self.operations.sites.invited_over.days),
            per_day=recruitment.per_site_month.value / DAYS_PER_UNIT["mo"],
            shape=recruitment.shape.value if recruitment.shape else inf,
            activation=GammaDelay(activation.takes.mean.days, activation.takes.cv),
            failing=activation.failing.value,
            ramp_days=recruitment.ramp_up.days if recruitment.ramp_up else 0.0,
            pauses=tuple((p.after.days, p.until.days) for p in recruitment.pauses),
            screening=GammaDelay(screening.mean.days, screening.cv),
        )

    @cached_property
    def _curves(self) -> dict[int, tuple[list[int], list[float]]]:
        return {}

    def _curve(self, sites: int) -> tuple[list[int], list[float]]:
        """Return numbers of patients, and the mean day by which so many have entered."""
        if sites not in self._curves:
            spread = np.geomspace(1, self.most_patients, _KNOTS)
            even = np.linspace(1, self.most_patients, _KNOTS)
            counts = sorted({int(round(n)) for n in (*spread, *even)})
            accrual = self.accrual(sites)
            self._curves[sites] = counts, [mean_time_to(n, accrual) for n in counts]
        return self._curves[sites]

    def pace(self, n: int, sites: int) -> float:
        """Return how many times as long a trial enrols as the file's own, where it states that."""
        return n / self.template.protocol.n_total * self.sites / sites

    def day_of(self, patient: float, n: int, sites: int) -> float:
        """Return the mean day on which a patient (counted from 1) of a trial of `n` enters."""
        if self.by_rate:
            counts, days = self._curve(sites)
            return float(np.interp(patient, counts, days))
        enrolment = self.template.nature.enrolment
        assert enrolment is not None  # else by rate
        return enrolment.quantile(min(patient / n, 1.0)) * self.pace(n, sites)

    def last_day(self, n: int, sites: int) -> float:
        """Return the mean day on which the last of `n` patients enters."""
        if self.by_rate:
            return mean_time_to(n, self.accrual(sites))
        enrolment = self.template.nature.enrolment
        assert enrolment is not None  # else by rate
        return enrolment.last_day * self.pace(n, sites)

    def entered(self, day: float, n: int, sites: int) -> float:
        """Return how many of `n` patients have entered by a day, on average."""
        low, high = 0.0, float(n)
        if self.day_of(high, n, sites) <= day:
            return high
        for _ in range(40):  # to a billionth of them
            middle = (low + high) / 2
            low, high = (middle, high) if self.day_of(middle, n, sites) <= day else (low, middle)
        return low

    @property
    def in_words(self) -> str:
        """What entries rest on, in a sentence."""
        if not self.by_rate:
            enrolment = self.template.nature.enrolment
            assert enrolment is not None
            return (
                f"Patients enter as nature.enrolment states for {self.template.protocol.n_total:,} "
                f"patients at {self.sites} sites: at the same pace per site (assumed)."
            )
        recruitment = self.nature.recruitment
        rate = recruitment.per_site_month
        return (
            f"Each open site enrols {rate.value:g} patients a month ({rate.source or 'assumed'})"
            f"{_differ(recruitment)}."
        )


def _differ(recruitment: Recruitment) -> str:
    shape = recruitment.shape
    if shape is None:
        return ", all alike (assumed)"
    return f"; sites differ, gamma shape {shape.value:g} ({shape.source or 'assumed'})"


def calendar_of(template: Template, most_patients: int) -> Calendar:
    """Return the calendar of a file; what it does not say is assumed."""
    return Calendar(
        template,
        template.protocol.operations or Operations(),
        template.nature.operations or OperationalNature(),
        most_patients,
    )
