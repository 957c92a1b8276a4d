"""When a trial under way will have enrolled everybody, and what adding sites does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import mean, proportion
from trialsim.errors import DesignError, Problem, RequestError, counted
from trialsim.kernels.recruitment import (
    RatePosterior,
    Rates,
    arrivals,
    exposure_days,
    fit_rates,
    prepare_arrivals,
    rate_posterior,
)
from trialsim.operations.enrolment import accrual_of
from trialsim.protocol.enrolled_sites import EnrolledSites
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import SiteEnrolment, sites_of
from trialsim.streams import Decision, Streams
from trialsim.studies.operations.observed_calendar import observed_calendar_rows
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["ADDED_SITES", "LEVEL", "PlannedEnrolled", "plan_enrolled"]

ADDED_SITES = (0, 1, 2, 5, 10)
LEVEL = 0.9  # of intervals
_FAN = (0.05, 0.25, 0.5, 0.75, 0.95)
_GRID = 60  # days on which the fan is drawn
_DAYS_PER_MONTH = DAYS_PER_UNIT["mo"]
_MOST_ENTRIES = 100_000_000  # drawn at once: 0.8 GB, and as much again while they are sorted out
_UNIT = "enrolled"  # names the random streams

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Drawn:
    """Many futures of one trial; days since the first invitation."""

    rates: Floats  # (n_sites + most added, n_reps), per day
    opened: Floats  # likewise
    full: dict[int, Floats]  # by sites added, the day everybody is enrolled
    entries: Floats  # (n_remaining, n_reps), without added sites


@dataclass(frozen=True)
class PlannedEnrolled:
    """What is to be forecast, decided; all days since the first invitation.

    Attributes
    ----------
    seen : EnrolledSites
    sites : SiteEnrolment
        As the template plans and expects them.
    """

    resolved: ResolvedTemplate
    seen: EnrolledSites
    sites: SiteEnrolment

    @property
    def first_invitation(self) -> float:
        """Its day in the calendar of the table.

        Of a table of dates it is not known: the mean delay of activation before the first opening.
        """
        if not self.seen.dated:
            return 0.0
        return self.seen.first_opened - self.sites.activation.mean.days

    @cached_property
    def opened(self) -> Floats:
        """Opening days, shape (n_sites,)."""
        days = np.array([site.opened for site in self.seen.sites], dtype=float)
        return np.asarray(days - self.first_invitation)

    @property
    def now(self) -> float:
        """When counts end."""
        return self.seen.as_of - self.first_invitation

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Enrolled so far, shape (n_sites,)."""
        return np.array([site.enrolled for site in self.seen.sites])

    @property
    def n_patients(self) -> int:
        """Planned in all."""
        return self.resolved.template.protocol.n_total

    @property
    def remaining(self) -> int:
        """Still to be enrolled."""
        return self.n_patients - self.seen.enrolled

    @cached_property
    def exposures(self) -> Floats:
        """Days of screening at full rate whose patients are enrolled, shape (n_sites,)."""
        return np.asarray(self._exposed(self.now)[0])

    @property
    def screening(self) -> float:
        """Days from screening to enrolment, of everybody the mean."""
        return self.sites.screening.mean.days

    @cached_property
    def _screened_from(self) -> Floats:
        """Opening days; earlier where a site has enrolled though it is not open for so long."""
        half_way = self.now - self.screening - (self.now - self.opened) / 2
        return np.where(self.counts > 0, np.minimum(self.opened, half_way), self.opened)

    def _exposed(self, days: Floats | float) -> Floats:
        """Days of screening at full rate whose patients are enrolled by days, (n_days, n_sites)."""
        until = np.atleast_1d(np.asarray(days, dtype=float))[:, None] - self.screening
        return exposure_days(until, self._screened_from, self.sites.ramp_up_days, self.sites.pauses)

    @cached_property
    def fitted(self) -> Rates:
        """Mean and shape of sites' rates, by marginal likelihood."""
        return fit_rates(self.counts, self.exposures)

    @cached_property
    def posterior(self) -> RatePosterior:
        """What the counts say."""
        return rate_posterior(self.counts, self.exposures)

    @cached_property
    def planned_day(self) -> float:
        """By which the template expects everybody to be enrolled."""
        return self.sites.expected_day(self.n_patients)

    def in_words(self, day: float) -> str:
        """Return a day since the first invitation as the table writes days."""
        return self.seen.in_words(day + self.first_invitation)

    def months(self, day: float) -> float:
        """Return a day in months since the first invitation."""
        return day / _DAYS_PER_MONTH

    @property
    def settled(self) -> float:
        """Day from which all of the sites enrol at full rate, and no pause is to come."""
        began = [self._screened_from.max() + self.sites.ramp_up_days]
        began += [end for _, end in self.sites.pauses]
        return max(self.now, float(max(began)) + self.screening)

    def expected_day(self) -> float:
        """Return the mean day on which everybody is enrolled, if that comes after `settled`."""
        late = self.settled - (self._exposed(self.settled)[0] - self.exposures)
        return self.posterior.mean_day_of(self.remaining, late)

    def check_runs(self, runs: int) -> None:
        """Refuse more futures than fit in memory (RequestError)."""
        if runs * self.remaining > _MOST_ENTRIES:
            n = counted(self.remaining, "patient")
            rule = f"futures of {n} each are more than {_MOST_ENTRIES:,} entries, drawn at once"
            remedy = f"Ask for --runs {_MOST_ENTRIES // self.remaining}."
            raise RequestError(Problem(rule, remedy, "--runs", f"{runs:,}"))

    def forecast(self, *, runs: int, seed: int) -> StudyResult:
        """Draw so many futures.

        Raises
        ------
        DesignError
            If nobody knows when it would be full.
        """
        drawn = self._drawn(runs, Streams(seed, _UNIT))
        rows = [
            *self._sites(drawn),
            *self._completion(drawn),
            *observed_calendar_rows(self.resolved),
        ]
        return StudyResult(
            tuple(rows),
            texts={"rests on": self._basis()},
            figure_data={"fan": self._fan(drawn)},
            n_replicates=runs,
        )

    def _drawn(self, runs: int, streams: Streams) -> _Drawn:
        most, posterior = max(ADDED_SITES), self.posterior
        luck = streams.generator(Decision.RATES_OF_SITES, 0)
        point = luck.choice(len(posterior.weights), runs, p=posterior.weights)
        own = luck.standard_gamma(posterior.site_shapes[point].T)
        own = own * posterior.site_scales[point].T
        shape, per_day = posterior.shape[point], posterior.per_day[point]
        new = luck.standard_gamma(np.broadcast_to(shape, (most, runs))) * per_day / shape
        luck = streams.generator(Decision.OPENINGS, 0)
        accrual = accrual_of(self.sites)
        opens = self.now + accrual.activation.of(luck.random((most, runs)))
        opens = np.where(luck.random((most, runs)) < self.sites.failing, inf, opens)
        began = np.broadcast_to(self._screened_from[:, None], own.shape)
        opened = np.concatenate([began, opens])
        rates = np.concatenate([own, new])
        luck = streams.generator(Decision.ARRIVALS, 0)
        more = np.cumsum(luck.standard_exponential((self.remaining, runs)), axis=0)
        full, entries = {}, np.empty(0)
        for added in ADDED_SITES:
            n = len(own) + added
            prepared = prepare_arrivals(
                opened[:n], rates[:n], self.sites.ramp_up_days, self.sites.pauses
            )
            so_far = prepared.by(np.full(runs, self.now - self.screening))
            days = arrivals(so_far + (more if not added else more[-1:]), prepared) + self.screening
            full[added] = days[-1]
            entries = entries if added else days
        return _Drawn(rates, opened, full, entries)

    def _sites(self, drawn: _Drawn) -> Iterator[Row]:
        own = drawn.rates[: len(self.counts)] * _DAYS_PER_MONTH
        bounds = np.quantile(own, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        for index, site in enumerate(self.seen.sites):
            yield Row(
                measure=Measure.SITE_RATE,
                value=float(self.posterior.mean_rates[index]) * _DAYS_PER_MONTH,
                lower=float(bounds[0, index]),
                upper=float(bounds[1, index]),
                level=LEVEL,
                category=site.site,
                unit="patients per open site and month",
            )

    def _completion(self, drawn: _Drawn) -> Iterator[Row]:
        base = drawn.full[0]
        if not np.all(np.isfinite(base)):
            rule = "may never end: no rate is known of a site that is open"
            remedy = "Add the sites that are open, with what they enrolled."
            raise DesignError(Problem(rule, remedy, "enrolment"))
        blank = Row(
            measure=Measure.MILESTONE_MONTHS, value=None, milestone="all enrolled", unit="months"
        )
        if np.quantile(base, 0.001) > self.settled:  # else it is no closed form
            closed = self.months(self.expected_day())
            yield replace(blank, value=closed, analysis="closed form", category=_added(0))
        for added in ADDED_SITES:
            days = drawn.full[added] / _DAYS_PER_MONTH
            low, high = np.quantile(days, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            row = mean(Measure.MILESTONE_MONTHS, days).row(replace(blank, category=_added(added)))
            head = True if not added else None
            yield replace(row, lower=float(low), upper=float(high), level=LEVEL, headline=head)
        for added in ADDED_SITES[1:]:
            saved = mean(Measure.MONTHS_SAVED, (base - drawn.full[added]) / _DAYS_PER_MONTH)
            about = Row(
                measure=Measure.MONTHS_SAVED, value=None, category=_added(added), unit="months"
            )
            yield saved.row(about)
        planned = replace(blank, value=self.months(self.planned_day), analysis="plan")
        yield planned
        for added in ADDED_SITES:
            on_time = proportion(Measure.ON_TIME, drawn.full[added] <= self.planned_day)
            yield on_time.row(Row(measure=Measure.ON_TIME, value=None, category=_added(added)))

    def _fan(self, drawn: _Drawn) -> dict[str, Any]:
        last = float(np.quantile(drawn.full[0], 0.95))
        days = np.linspace(self.now, last, _GRID + 1)
        counts = np.stack([(drawn.entries <= day).sum(axis=0) for day in days])
        until = np.linspace(0, max(last, self.planned_day), 2 * _GRID + 1)
        plan = [min(self.sites.expected_enrolled(day), self.n_patients) for day in until]
        return {
            "months": (days / _DAYS_PER_MONTH).tolist(),
            "shares": _FAN,
            "enrolled": (self.seen.enrolled + np.quantile(counts, _FAN, axis=1)).tolist(),
            "plan": ((until / _DAYS_PER_MONTH).tolist(), plan),
            "seen": (self.now / _DAYS_PER_MONTH, self.seen.enrolled),
            "openings": np.sort(self.opened[self.opened < self.now] / _DAYS_PER_MONTH).tolist(),
            "planned": self.n_patients,
        }

    def _basis(self) -> str:
        rates = self.fitted
        spread = (
            "sites differ no more than chance makes them"
            if rates.shape == inf
            else f"shape {rates.shape:.3g}"
        )
        text = (
            f"Rates of sites are gamma distributed (Anisimov and Fedorov 2007); by marginal "
            f"likelihood their mean is {rates.per_day * _DAYS_PER_MONTH:.3g} patients per open "
            f"site and month, {spread}. Forecasts average over mean and shape (flat in their "
            "logarithms, shape 0.2 to 50: assumed), so that they know how little is known. Sites "
            "added are invited on the day of the counts and open as nature.operations.activation "
            "says."
        )
        n_stated, n_listed = self.sites.n_sites, len(self.seen.sites)
        if n_listed < n_stated:
            verb = "is" if n_stated - n_listed == 1 else "are"
            text += (
                f" The plan has {n_stated} sites: the {n_stated - n_listed} that {verb} not in the "
            )
            text += f"table {verb} not counted on."
        if self.screening:
            days = counted(self.screening, "day", "g")
            text += f" Patients are enrolled {days} after they come, the mean."
        if self.seen.dated:
            text += (
                " The first invitation is taken to be the mean delay of activation before the "
                "first opening."
            )
        return text


def _added(n: int) -> str:
    return f"{counted(n, 'site')} added"


def plan_enrolled(resolved: ResolvedTemplate, seen: EnrolledSites) -> PlannedEnrolled:
    """Decide what to forecast."""
    return PlannedEnrolled(resolved, seen, sites_of(resolved.template))
