"""All luck of one site and its patients, by their number at the site: never by order of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.recruitment import GammaDelay, gamma_times, invitation_days
from trialsim.operations.plan import ConductPlan
from trialsim.protocol.survival import HazardCurve
from trialsim.streams import Decision, Streams

__all__ = ["PatientLuck", "SiteLuck", "arrival_days", "opening_days", "patients_of", "site_rates"]

_AT_ONCE = 32  # patients drawn together; a patient's luck is the same whatever this is
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SiteLuck:
    """When each site opens (infinity for never), and how many a day it screens at full rate."""

    opens: tuple[float, ...]
    screens_per_day: tuple[float, ...]


@dataclass(frozen=True)
class PatientLuck:
    """What will become of one patient; times in days since screening or randomisation.

    Attributes
    ----------
    missed_doses : list of bool
        Empty where none is missed.
    visit_days : list of float
        On which day each visit would be.
    data_days : list of float
        From each visit until its data are entered.
    """

    screening_days: float
    fails: bool
    withdraws: bool
    strata: tuple[int, ...]
    missed_doses: list[bool]
    visit_days: list[float]
    missed_visits: list[bool]
    data_days: list[float]
    leaves: float
    stops: float
    discharged: float


def opening_days(plan: ConductPlan, streams: Streams, run: int) -> tuple[float, ...]:
    """Return when each site opens; infinity where it never does."""
    sites = plan.sites
    drawn = streams.generator(Decision.SITE_OPENING, run).random((sites.n_sites, 2))
    takes = GammaDelay(sites.activation.mean.days, float(sites.activation.cv)).of(drawn[:, 0])
    invited = invitation_days(sites.n_sites, sites.invited_over_days)
    return tuple(np.where(drawn[:, 1] < sites.failing, inf, invited + takes).tolist())


def site_rates(plan: ConductPlan, streams: Streams, run: int) -> tuple[float, ...]:
    """Return how many patients each site enrols a day at full rate (Anisimov and Fedorov 2007)."""
    sites = plan.sites
    if sites.shape == inf:
        return (sites.per_day,) * sites.n_sites
    drawn = streams.generator(Decision.SITE_RATE, run).random(sites.n_sites)
    return tuple(gamma_times(drawn, sites.per_day, sites.shape**-0.5).tolist())


def arrival_days(
    plan: ConductPlan, streams: Streams, run: int, site: int, opens: float, per_day: float
) -> Iterator[float]:
    """Yield the days on which a site screens a patient, without end.

    A Poisson process at the full rate, thinned where the site is not yet at it (Lewis and Shedler
    1979) and during pauses.
    """
    generator = streams.generator(Decision.SITE_ARRIVALS, run, f"site-{site + 1}")
    ramp, day = plan.sites.ramp_up_days, opens
    while per_day > 0 and day < inf:
        drawn = generator.random((_AT_ONCE, 2))
        with np.errstate(over="ignore"):  # a site that next to never enrols
            days = day + np.cumsum(-np.log1p(-drawn[:, 0])) / per_day
        day = float(days[-1])
        kept = np.ones(_AT_ONCE, dtype=bool)
        if ramp:
            kept = drawn[:, 1] * ramp < days - opens
        for after, until in plan.sites.pauses:
            kept &= (days < after) | (days >= until)
        yield from days[kept].tolist()


def patients_of(plan: ConductPlan, streams: Streams, run: int, site: int) -> Iterator[PatientLuck]:
    """Yield the luck of a site's patients in order of screening, without end."""
    draws = _Draws(plan, streams, run, f"site-{site + 1}")
    while True:
        columns = (
            *draws.screening(),
            draws.strata(),
            draws.missed_doses(),
            *draws.visits(),
            draws.data_days(),
            *draws.ends(),
        )
        for row in zip(*columns, strict=True):
            yield PatientLuck(*row)


class _Draws:
    """The next few patients of a site, one decision at a time; what cannot happen is not drawn."""

    def __init__(self, plan: ConductPlan, streams: Streams, run: int, site: str) -> None:
        self._plan, self._streams, self._run, self._site = plan, streams, run, site
        self._generators: dict[Decision, np.random.Generator] = {}
        self._n_visits = len(plan.visits)
        self._days = np.array([visit.day for visit in plan.visits])
        self._windows = np.array([visit.window_days for visit in plan.visits])
        self._shares = [np.cumsum(shares)[:-1] for _, shares in plan.allocation.factors]
        self._n_doses = max(len(arm.dose_days) for arm in plan.arms)

    def _drawn(self, decision: Decision, n: int) -> Floats:
        generator = self._generators.get(decision)
        if generator is None:
            generator = self._streams.generator(decision, self._run, self._site)
            self._generators[decision] = generator
        return generator.random((_AT_ONCE, n))

    def screening(self) -> tuple[list[float], list[bool], list[bool]]:
        """Return how long it takes, who fails, and who withdraws."""
        drawn, failures = self._drawn(Decision.SCREENING, 2), self._plan.screening_failures
        fails = drawn[:, 0] < failures
        withdraws = ~fails & (drawn[:, 0] < failures + self._plan.screening_withdrawals)
        days = self._plan.screening.of(drawn[:, 1])
        return days.tolist(), fails.tolist(), withdraws.tolist()

    def strata(self) -> list[tuple[int, ...]]:
        """Return the level of every factor that stratifies allocation, but for the site."""
        if not self._shares:
            return [()] * _AT_ONCE
        drawn = self._drawn(Decision.STRATUM, len(self._shares))
        levels = [np.searchsorted(s, drawn[:, i], "right") for i, s in enumerate(self._shares)]
        return [tuple(row) for row in np.stack(levels, axis=1).tolist()]

    def missed_doses(self) -> list[list[bool]]:
        """Return whether each dose is missed by the patient."""
        if not (self._plan.missed_doses and self._n_doses):
            return [[]] * _AT_ONCE
        drawn = self._drawn(Decision.DOSES, self._n_doses)
        found: list[list[bool]] = (drawn < self._plan.missed_doses).tolist()
        return found

    def visits(self) -> tuple[list[list[float]], list[list[bool]]]:
        """Return on which day each visit is, anywhere in its window, and whether it is missed."""
        n = self._n_visits
        days = [self._days.tolist()] * _AT_ONCE
        if self._windows.any():
            drawn = self._drawn(Decision.VISIT_WINDOW, n)
            days = np.maximum(self._days + (2 * drawn - 1) * self._windows, 0.0).tolist()
        missed = [[False] * n] * _AT_ONCE
        if self._plan.missed_visits and n:
            missed = (self._drawn(Decision.VISIT_NOT_HELD, n) < self._plan.missed_visits).tolist()
        return days, missed

    def data_days(self) -> list[list[float]]:
        """Return how long data entry takes after each visit, and after a patient has gone."""
        delay, n = self._plan.data_entry, self._n_visits + 1
        if not (delay.mean and delay.cv):
            return [[delay.mean] * n] * _AT_ONCE
        found: list[list[float]] = delay.of(self._drawn(Decision.DATA_ENTRY, n)).tolist()
        return found

    def ends(self) -> tuple[list[float], list[float], list[float]]:
        """Return when a patient leaves the trial, stops the drug, and is discharged."""
        plan, never = self._plan, [inf] * _AT_ONCE
        if not (plan.leaving or plan.stopping or plan.discharge):
            return never, never, never
        drawn = self._drawn(Decision.LEAVING_TRIAL, 3)
        discharged = plan.discharge.of(drawn[:, 2]).tolist() if plan.discharge else never
        return _times(plan.leaving, drawn[:, 0]), _times(plan.stopping, drawn[:, 1]), discharged


def _times(curve: HazardCurve | None, uniforms: Floats) -> list[float]:
    if curve is None:
        return [inf] * len(uniforms)
    return [curve.quantile(1 - u) for u in uniforms.tolist()]
