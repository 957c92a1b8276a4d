"""When the patients of a design enter: as its sites enrol them, or as the file states."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from trialsim.errors import counted
from trialsim.kernels.recruitment import mean_time_to, mean_times_to
from trialsim.operations.enrolment import accrual_of
from trialsim.protocol.operations import Operations
from trialsim.protocol.survival import Enrolment
from trialsim.protocol.template import Template
from trialsim.protocol.truths.site_enrolment import planned_sites, sites_of

__all__ = ["Calendar"]

_KNOTS = 12  # of a curve, between which the mean time of entry is linear


@dataclass(frozen=True)
class Calendar:
    """Mean times of entry, in days since the first patient enters.

    Where ``nature.enrolment`` is stated, patients enter at its pace for each site; else as sites
    enrol, with defaults for what the file does not say.

    Attributes
    ----------
    template : Template
    fewest, most : int
        Patients of any design that is asked about.
    """

    template: Template
    fewest: int
    most: int
    _last: dict[tuple[int, int], float] = field(default_factory=dict, hash=False, compare=False)
    _knots: dict[int, tuple[list[int], list[float]]] = field(
        default_factory=dict, hash=False, compare=False
    )

    @property
    def stated(self) -> Enrolment | None:
        """Enrolment as the file has it; None where sites decide."""
        return self.template.nature.enrolment

    @cached_property
    def sites(self) -> tuple[int, str]:
        """Sites of the file's own trial, and where it says so."""
        template = self.template
        return planned_sites(template.protocol, template.nature, template.cost)

    def first_day(self, sites: int) -> float:
        """Return the mean day of the first patient since the first invitation; sites decide it."""
        if (0, sites) not in self._last:
            self._last[0, sites] = mean_time_to(1, self._accrual(sites))
        return self._last[0, sites]

    def _accrual(self, sites: int):  # type: ignore[no-untyped-def]
        return accrual_of(replace(sites_of(self.template), n_sites=sites))

    def prepare(self, sizes: list[int], sites: int) -> None:
        """Compute the last days of several sizes together, which is faster."""
        if self.stated is None:
            days = mean_times_to(sizes, self._accrual(sites))
            for n, day in zip(sizes, days, strict=True):
                self._last[n, sites] = day - self.first_day(sites)

    def pace(self, n: int, sites: int) -> float:
        """Return how many times as long a trial enrols as the file's own."""
        return n / self.template.protocol.n_total * self.sites[0] / sites

    def last_day(self, n: int, sites: int) -> float:
        """Return the mean day on which the last of `n` patients enters."""
        if self.stated is not None:
            return self.stated.last_day * self.pace(n, sites)
        if (n, sites) not in self._last:
            self.prepare([n], sites)
        return self._last[n, sites]

    def enrolment(self, n: int, sites: int) -> Enrolment | None:
        """Return when the patients of a design enter; None where sites decide."""
        if self.stated is None:
            return None
        own = self.stated
        if own.given and n != self.template.protocol.n_total:
            own = Enrolment(uniform=own.given[-1], note=own.note)
        return own.sped_up(1 / self.pace(n, sites))

    def operations(self, sites: int) -> Operations:
        """Return what the team decides of sites, with so many of them."""
        own = self.template.protocol.operations or Operations()
        planned = own.sites.model_copy(update={"planned": sites})
        return own.model_copy(update={"sites": planned})

    def day_of(self, patient: float, n: int, sites: int) -> float:
        """Return the mean day on which a patient (counted from 1) of a trial of `n` enters."""
        if self.stated is not None:
            return self.stated.quantile(min(patient / n, 1.0)) * self.pace(n, sites)
        counts, days = self._curve(sites)
        return float(np.interp(patient, counts, days))

    def _curve(self, sites: int) -> tuple[list[int], list[float]]:
        if sites not in self._knots:
            spread = np.geomspace(max(2, self.fewest / 10), self.most, _KNOTS)
            counts = sorted({1, *(round(float(n)) for n in spread)})
            self.prepare(counts[1:], sites)
            self._knots[sites] = counts, [0.0, *(self._last[n, sites] for n in counts[1:])]
        return self._knots[sites]

    def entered(self, day: float, n: int, sites: int) -> float:
        """Return how many of `n` patients have entered by a day, on average."""
        if self.stated is None:
            counts, days = self._curve(sites)
            return min(float(n), float(np.interp(day, days, counts)))
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
        own, where = self.sites
        at = f"{counted(own, 'site')} ({where})"
        if self.stated is not None:
            return (
                f"Patients enter as nature.enrolment states for {self.template.protocol.n_total:,} "
                f"patients at {at}: at the same pace per site (assumed). "
                "Months count from the first patient in."
            )
        operations = self.template.nature.operations
        rate = sites_of(self.template).per_day * 30.4375
        recruitment = operations.recruitment if operations else None
        source = recruitment.per_site_month.source if recruitment else "walters-2017"
        shape = recruitment.shape if recruitment else None
        differ = f"gamma shape {shape.value:g}" if shape else "all sites alike (assumed)"
        return (
            f"An open site enrols {rate:.3g} patients a month ({source or 'assumed'}), {differ}; "
            f"the file's own trial has {at}."
        )
