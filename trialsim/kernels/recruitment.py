"""Recruitment by many sites: Poisson arrivals whose rates are gamma distributed among sites.

A site is invited, opens after a time or never, and from then on enrols at its own rate, which it
may reach linearly, and not during pauses. Of a site with rate ``r`` and exposure ``e(t)`` (days
open at full speed by day ``t``) the number enrolled is Poisson with mean ``r e(t)``; with rates
``Gamma(shape, mean / shape)`` it is negative binomial (Anisimov and Fedorov 2007, Statistics in
Medicine 26:4958-4975). Screening that takes a time delays each patient on its own; those who fail
it thin the process. Both leave it a Poisson process, given rates and openings.

Rates are those of patients enrolled, per day and open site. All times are days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaincc, gammaincinv, gammaln, xlogy

__all__ = [
    "Accrual",
    "Arrivals",
    "GammaDelay",
    "RatePosterior",
    "Rates",
    "UnreachableTimeError",
    "arrivals",
    "closed_form_time",
    "exposure_days",
    "fit_rates",
    "gamma_times",
    "invitation_days",
    "mean_time_to",
    "mean_times_to",
    "prepare_arrivals",
    "probability_enrolled",
    "rate_for_mean_time",
    "rate_posterior",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ACTIVATION_NODES, _SCREENING_NODES = 100, 16  # quantiles an expectation rests on
_ALIKE = 1.5  # numbers of patients whose times are integrated on the same days
_NEGLIGIBLE, _RARE = 1e-12, 1e-6  # probabilities that so few sites open
_SHAPES, _SHAPE_POINTS, _MEAN_POINTS = (0.2, 50.0), 25, 21
_UNLIKELY = 1e-6  # next to the likeliest point
_FIT_BOUNDS = (-7.0, 9.0)  # of the log shape; above, sites are alike


class UnreachableTimeError(ValueError):
    """A time to the last patient that no rate gives; the message says why."""


@dataclass(frozen=True)
class GammaDelay:
    """A time that is gamma distributed, with this mean in days and coefficient of variation."""

    mean: float = 0.0
    cv: float = 0.0

    def of(self, uniforms: Floats) -> Floats:
        """Return the times at which shares `uniforms` of all have waited, same shape."""
        return gamma_times(uniforms, self.mean, self.cv)

    def nodes(self, n: int) -> Floats:
        """Return `n` equally likely days with that mean; one where there is no variation."""
        if not self.mean or not self.cv:
            return np.array([self.mean])
        found = self.of((np.arange(n) + 0.5) / n)
        return np.asarray(found * (self.mean / found.mean()))


def gamma_times(uniforms: Floats, mean: float, cv: float) -> Floats:
    """Return gamma distributed times with this mean and coefficient of variation, same shape."""
    if not mean or not cv:
        return np.full(uniforms.shape, float(mean))
    if cv == 1:
        return np.asarray(-mean * np.log1p(-uniforms))
    return np.asarray(mean * cv**2 * gammaincinv(cv**-2.0, uniforms))


def invitation_days(n_sites: int, over_days: float) -> Floats:
    """Return the days on which sites are invited: evenly over a time, from day 0 to its end."""
    return np.linspace(0.0, over_days, n_sites)


NO_DELAY = GammaDelay()


@dataclass(frozen=True)
class Accrual:
    """How a trial recruits.

    Attributes
    ----------
    invited : ndarray, shape (n_sites,)
        Day of each site's invitation.
    per_day : float
        Mean rate of patients enrolled per open site at full speed.
    shape : float
        Of the gamma distribution of rates among sites; infinity where all are alike.
    activation : GammaDelay
        From invitation to opening.
    failing : float
        Share of sites that never open.
    ramp_days : float
        From opening until the rate is reached, linearly.
    pauses : tuple of (start, end)
        Days in which nobody is screened.
    screening : GammaDelay
        From screening to randomisation.
    """

    invited: Floats
    per_day: float
    shape: float = inf
    activation: GammaDelay = NO_DELAY
    failing: float = 0.0
    ramp_days: float = 0.0
    pauses: tuple[tuple[float, float], ...] = ()
    screening: GammaDelay = NO_DELAY

    @property
    def n_sites(self) -> int:
        """How many are invited."""
        return len(self.invited)

    @property
    def never(self) -> float:
        """Probability that no site ever opens."""
        return float(self.failing**self.n_sites)

    @property
    def opens_at_once(self) -> bool:
        """Whether all sites enrol at full speed from day 0, where the time has a closed form."""
        waits = self.activation.mean + self.ramp_days + self.screening.mean + self.failing
        return not (waits or self.pauses or np.any(self.invited))


def exposure_days(
    days: Floats | float,
    opened: Floats,
    ramp_days: float = 0.0,
    pauses: tuple[tuple[float, float], ...] = (),
) -> Floats:
    """Return days open at full speed by a day: the integral of the share of a site's rate.

    Parameters
    ----------
    days, opened : ndarray
        Broadcast together; infinity for a site that never opens.
    ramp_days : float
    pauses : tuple of (start, end)
        Without overlap. A site gathers speed during them all the same.
    """

    def without_pauses(until: Floats) -> Floats:
        since = np.maximum(until - opened, 0.0)
        if not ramp_days:
            return since
        ramped = np.minimum(since, ramp_days)
        return ramped * ramped / (2 * ramp_days) + since - ramped

    until = np.asarray(days, dtype=float)
    total = without_pauses(until)
    for start, end in pauses:
        began, ended = np.minimum(until, start), np.minimum(until, end)
        total = total - (without_pauses(ended) - without_pauses(began))
    return np.asarray(total)


class _Curve(NamedTuple):
    """Moments of the exposure of sites that open, on days; none of them depends on rates."""

    days: Floats
    mean: Floats  # E e, mean over sites
    square: Floats  # E e^2, mean over sites
    squared_mean: Floats  # (E e)^2, mean over sites
    n_sites: int
    failing: float

    def below(self, n: int, per_day: float, shape: float) -> Floats:
        """Return P(fewer than `n`) on the days, given that some site opens."""
        found = np.zeros(len(self.days))
        for opened, share in self._openings():
            within = (1 + 1 / shape) * self.square - self.squared_mean
            chosen = (1 - opened / self.n_sites) * (self.squared_mean - self.mean**2)
            between = chosen * self.n_sites / max(self.n_sites - 1, 1)
            variance = per_day**2 * opened * np.maximum(within + between, 0.0)
            found += share * _probability_below(n, opened * per_day * self.mean, variance)
        return found

    def _openings(self) -> list[tuple[int, float]]:
        """Numbers of sites that open, and their probabilities, which add up to 1."""
        if not self.failing:
            return [(self.n_sites, 1.0)]
        opened = np.arange(1, self.n_sites + 1)
        shares = _binomial(opened, self.n_sites, 1 - self.failing)
        kept = shares > _NEGLIGIBLE
        return list(zip(opened[kept], shares[kept] / shares[kept].sum(), strict=True))


def _binomial(counts: Ints, n: int, p: float) -> Floats:
    ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    return np.asarray(np.exp(ways + xlogy(counts, p) + xlogy(n - counts, 1 - p)))


def _curve(accrual: Accrual, days: Floats) -> _Curve:
    waits = accrual.activation.nodes(_ACTIVATION_NODES)
    opened = accrual.invited[:, None] + waits
    mean, square, squared_mean = np.empty((3, len(days)))
    screening = accrual.screening.nodes(_SCREENING_NODES)
    for index, day in enumerate(days):
        exposed = np.zeros(opened.shape)
        for delay in screening:
            exposed += exposure_days(day - delay, opened, accrual.ramp_days, accrual.pauses)
        exposed /= len(screening)
        own = exposed.mean(axis=1)
        mean[index], squared_mean[index] = own.mean(), (own * own).mean()
        square[index] = (exposed * exposed).mean()
    return _Curve(days, mean, square, squared_mean, accrual.n_sites, accrual.failing)


def _probability_below(n: int, mean: Floats, variance: Floats) -> Floats:
    """P(fewer than n) where the cumulative rate is gamma with this mean and variance."""
    mean = np.maximum(mean, 1e-300)
    varies = variance > 1e-12 * mean**2
    shapes = mean**2 / np.where(varies, variance, 1.0)
    mixed = betainc(shapes, n, shapes / (shapes + mean))
    return np.where(varies, mixed, gammaincc(n, mean))


def probability_enrolled(days: Floats, n: int, accrual: Accrual) -> Floats:
    """Return the probability that `n` patients are enrolled by each day.

    Negative binomial with the mean and the variance of the cumulative rate of all sites, given how
    many ever open: exact where these open at once, an approximation where one after another.

    References
    ----------
    Anisimov and Fedorov (2007), section 3; Anisimov (2011), Statistics in Medicine 30:1345-1363.
    """
    curve = _curve(accrual, np.asarray(days, dtype=float))
    return (1 - accrual.never) * (1 - curve.below(n, accrual.per_day, accrual.shape))


def closed_form_time(n: int, n_sites: int, per_day: float, shape: float) -> float:
    """Return the mean time to the `n`-th patient, all sites open from day 0.

    ``T = Gamma(n, 1) / Gamma(n_sites shape, per_day / shape)``, Pearson's type VI; infinite where
    ``n_sites shape`` is at most 1. With an infinite shape Erlang's distribution.

    References
    ----------
    Anisimov and Fedorov (2007), section 3.1.
    """
    if shape == inf:
        return n / (n_sites * per_day)
    k, scale = n_sites * shape, per_day / shape
    return n / (scale * (k - 1)) if k > 1 else inf


def _grid(accrual: Accrual, scale: float) -> Floats:
    """Days on which the distribution of a time of about `scale` days is to be known."""
    steps = np.linspace(0.0, 3 * scale, 301)
    tail = np.geomspace(3 * scale, 60 * scale, 60)[1:]
    changes = [day for pause in accrual.pauses for day in pause]
    return np.unique(np.concatenate([steps, tail, np.array(changes, dtype=float)]))


def _scale(n: int, accrual: Accrual) -> float:
    """Return a day by which about `n` are enrolled."""
    speed = accrual.n_sites * accrual.per_day * (1 - accrual.failing)
    paused = sum(end - start for start, end in accrual.pauses)
    waits = accrual.activation.mean + accrual.ramp_days / 2 + accrual.screening.mean
    return float(n / speed + waits + paused + accrual.invited.mean())


def _mean_time(n: int, curve: _Curve, per_day: float, shape: float) -> float:
    """Mean of the time: the integral of ``P(T > t)``."""
    return float(np.trapezoid(curve.below(n, per_day, shape), curve.days))


def _has_mean(accrual: Accrual) -> bool:
    """Whether ``E T`` is finite but for trials with next to no site that opens."""
    n_sites, few = accrual.n_sites, 1 / accrual.shape
    if not accrual.failing:
        return n_sites > few
    opened = np.arange(1, n_sites + 1)
    shares = _binomial(opened, n_sites, 1 - accrual.failing)
    return bool(shares[opened <= few].sum() < _RARE)


def mean_time_to(n: int, accrual: Accrual) -> float:
    """Return the mean day of the `n`-th enrolment where some site opens; infinity for no mean.

    The rate of all sites together must be kept away from 0: ``n_sites shape > 1``. Probabilities
    are those of `probability_enrolled`.
    """
    if not _has_mean(accrual):
        return inf
    if accrual.opens_at_once:
        return closed_form_time(n, accrual.n_sites, accrual.per_day, accrual.shape)
    curve = _curve(accrual, _grid(accrual, _scale(n, accrual)))
    return _mean_time(n, curve, accrual.per_day, accrual.shape)


def mean_times_to(counts: Sequence[int], accrual: Accrual) -> list[float]:
    """Return `mean_time_to` of several numbers of patients: those of a size share a curve."""
    found = dict.fromkeys(counts, inf)
    if accrual.opens_at_once or not _has_mean(accrual):
        return [mean_time_to(n, accrual) for n in counts]
    rest = sorted(found)
    while rest:
        largest = rest[-1]
        alike = [n for n in rest if n >= largest / _ALIKE]
        curve = _curve(accrual, _grid(accrual, _scale(largest, accrual)))
        for n in alike:
            found[n] = _mean_time(n, curve, accrual.per_day, accrual.shape)
        rest = rest[: -len(alike)]
    return [found[n] for n in counts]


def rate_for_mean_time(n: int, days: float, accrual: Accrual) -> float:
    """Return the rate per open site and day with which the mean time to `n` patients is `days`.

    Parameters
    ----------
    n : int
    days : float
        From the first invitation.
    accrual : Accrual
        Its `per_day` is looked past.

    Raises
    ------
    UnreachableTimeError
        Where activation, pauses and screening alone take longer, or no mean exists.
    """
    from scipy.optimize import brentq  # a fifth of a second, which workers never need

    if not _has_mean(accrual):
        k = accrual.shape * accrual.n_sites
        raise UnreachableTimeError(
            f"the mean time is infinite: sites times shape is {k:.3g}, which must be above 1"
        )
    if accrual.opens_at_once:
        return closed_form_time(n, accrual.n_sites, 1.0, accrual.shape) / days
    curve = _curve(accrual, _grid(accrual, days))
    opening = accrual.n_sites * (1 - accrual.failing)
    guess = n / max(opening * float(np.interp(days, curve.days, curve.mean)), 1e-9)

    def off(log_rate: float) -> float:
        return _mean_time(n, curve, np.exp(log_rate), accrual.shape) - days

    low, high = np.log(guess) - 3, np.log(guess) + 8
    if off(high) > 0:
        raise UnreachableTimeError(
            f"even enrolling at once takes {off(high) + days:.0f} days: activation, pauses and "
            "screening are longer than that"
        )
    return float(np.exp(brentq(off, low, high, xtol=1e-9)))


class Rates(NamedTuple):
    """Mean per day and gamma shape of the rates of sites; an infinite shape for all alike."""

    per_day: float
    shape: float


def fit_rates(counts: Ints, exposures: Floats, shape: float | None = None) -> Rates:
    """Fit mean and shape of sites' rates to what they enrolled, by marginal likelihood.

    Given exposures, counts are negative binomial. The shape is infinite where counts vary no more
    than Poisson counts do; for a given shape only the mean is fitted.

    Parameters
    ----------
    counts : ndarray of int, shape (n_sites,)
    exposures : ndarray, shape (n_sites,)
        Days open at full speed; sites without any say nothing.
    shape : float, optional
        Taken as known.

    References
    ----------
    Anisimov and Fedorov (2007), section 4.1.
    """
    from scipy.optimize import brentq, minimize_scalar

    known = exposures > 0
    k, e = counts[known].astype(float), exposures[known]
    poisson = float(k.sum() / e.sum())
    if shape == inf or not k.sum():
        return Rates(poisson, inf if shape is None else shape)

    def best_mean(own: float) -> float:
        def slope(log_mean: float) -> float:
            mean = np.exp(log_mean) * e
            return float(((k - mean) * own / (own + mean)).sum())

        low, high = np.log(poisson) - 8, np.log(poisson) + 8
        return float(np.exp(brentq(slope, low, high, xtol=1e-12)))

    if shape is not None:
        return Rates(best_mean(shape), shape)

    def minus(log_shape: float) -> float:
        own = float(np.exp(log_shape))
        return -log_likelihood(k, e, Rates(best_mean(own), own))

    if len(k) < 2:
        return Rates(poisson, inf)
    found = minimize_scalar(minus, bounds=_FIT_BOUNDS, method="bounded", options={"xatol": 1e-9})
    own = float(np.exp(found.x))
    if -found.fun <= log_likelihood(k, e, Rates(poisson, inf)) + 1e-9:
        return Rates(poisson, inf)
    return Rates(best_mean(own), own)


def log_likelihood(counts: Floats, exposures: Floats, rates: Rates) -> float:
    """Return the log-likelihood of what sites enrolled, without terms of the counts alone."""
    mean = rates.per_day * exposures
    if rates.shape == inf:
        return float((xlogy(counts, mean) - mean).sum())
    a = rates.shape
    terms = gammaln(a + counts) - gammaln(a) - a * np.log1p(mean / a)
    return float((terms + xlogy(counts, mean / (a + mean))).sum())


@dataclass(frozen=True)
class RatePosterior:
    """What counts say of mean and shape of sites' rates, on a grid; and so of every site.

    Attributes
    ----------
    weights, per_day, shape : ndarray, shape (n_points,)
        Weights add up to 1.
    counts, exposures : ndarray, shape (n_sites,)
    """

    weights: Floats
    per_day: Floats
    shape: Floats
    counts: Ints
    exposures: Floats

    @property
    def site_shapes(self) -> Floats:
        """Shapes of sites' gamma posteriors at every point, (n_points, n_sites)."""
        return np.asarray(self.shape[:, None] + self.counts)

    @property
    def site_scales(self) -> Floats:
        """Their scales, per day, (n_points, n_sites)."""
        return np.asarray(1 / ((self.shape / self.per_day)[:, None] + self.exposures))

    @property
    def mean_rates(self) -> Floats:
        """Posterior mean rate of every site per day, (n_sites,)."""
        return np.asarray(self.weights @ (self.site_shapes * self.site_scales))

    def mean_day_of(self, n: int, late: Floats) -> float:
        """Return the mean day by which `n` more are enrolled.

        On a day `t` after all of them are open at full rate and pauses are over, sites have gained
        exposures ``t - late``; so the day is ``(S + sum(r late)) / sum(r)``, with S a sum of `n`
        standard exponentials. As ``1 / x`` is the integral of ``exp(-s x)`` over s, its mean takes
        Laplace transforms of gamma distributions alone.

        Parameters
        ----------
        n : int
        late : ndarray, shape (n_sites,)
            Days.
        """
        shapes, scales = self.site_shapes, self.site_scales
        x = np.linspace(-18.0, 18.0, 289)
        s = np.exp(x) / (shapes * scales).sum(axis=1)[:, None]
        log_transform = np.zeros(s.shape)
        for shape, scale in zip(shapes.T, scales.T, strict=True):
            log_transform -= shape[:, None] * np.log1p(s * scale[:, None])
        transform = np.exp(log_transform) * s
        days = n * np.trapezoid(transform, x, axis=1)
        for shape, scale, own in zip(shapes.T, scales.T, late, strict=True):
            share = np.trapezoid(transform / (1 + s * scale[:, None]), x, axis=1)
            days += own * shape * scale * share
        return float(self.weights @ days)


def rate_posterior(counts: Ints, exposures: Floats) -> RatePosterior:
    """Return what counts say of sites' rates, the mean and shape of all sites unknown.

    Flat in the logarithms of the mean and, from 0.2 to 50, of the shape (assumed).

    Parameters
    ----------
    counts : ndarray of int, shape (n_sites,)
        Not all 0.
    exposures : ndarray, shape (n_sites,)
        Days open at full speed; sites without any have the posterior of a new site.
    """
    known = exposures > 0
    k, e = counts[known].astype(float), exposures[known]
    points = []
    ends = np.log(_SHAPES)
    width = (ends[1] - ends[0]) / _SHAPE_POINTS
    for log_shape in ends[0] + width * (np.arange(_SHAPE_POINTS) + 0.5):
        shape = float(np.exp(log_shape))
        best = fit_rates(counts, exposures, shape).per_day
        mean = best * e
        sd = 1 / np.sqrt((mean * shape / (shape + mean)).sum())  # of the log mean
        for step in np.linspace(-5, 5, _MEAN_POINTS):
            own = Rates(float(best * np.exp(step * sd)), shape)
            points.append((log_likelihood(k, e, own) + np.log(sd), *own))
    log_weights, per_day, shapes = np.array(points).T
    weights = np.exp(log_weights - log_weights.max())
    kept = weights > _UNLIKELY
    found = weights[kept] / weights[kept].sum()
    return RatePosterior(found, per_day[kept], shapes[kept], counts, exposures)


@dataclass(frozen=True)
class Arrivals:
    """The cumulative rate of all sites of many trials, ready to be inverted.

    Between breaks the rate is linear. Arrays of shape (n_breaks, n_reps); rows in order of time.
    """

    starts: Floats
    reached: Floats
    levels: Floats
    slopes: Floats

    def by(self, days: Floats) -> Floats:
        """Return the cumulative rate up to a day of each trial, shape (n_reps,)."""
        piece = (self.starts <= days).sum(axis=0) - 1
        at = np.maximum(piece, 0), np.arange(self.starts.shape[1])
        since = np.where(piece >= 0, days - self.starts[at], 0.0)
        with np.errstate(invalid="ignore"):
            found = self.reached[at] + since * (self.levels[at] + self.slopes[at] * since / 2)
        return np.asarray(found)


def prepare_arrivals(
    opened: Floats,
    rates: Floats,
    ramp_days: float = 0.0,
    pauses: tuple[tuple[float, float], ...] = (),
) -> Arrivals:
    """Add up the rates of all sites of many trials.

    Parameters
    ----------
    opened : ndarray, shape (n_sites, n_reps)
        Infinity for sites that never open.
    rates : ndarray, shape (n_sites, n_reps)
        Per day at full speed.
    ramp_days : float
    pauses : tuple of (start, end)
        Without overlap.
    """
    ever = np.isfinite(opened)
    opened, rates = np.where(ever, opened, 0.0), np.where(ever, rates, 0.0)
    none = np.zeros_like(rates)
    edges = np.array([day for pause in pauses for day in pause], dtype=float)
    fixed = np.broadcast_to(edges[:, None], (len(edges), opened.shape[1]))
    if ramp_days:
        starts = np.concatenate([opened, opened + ramp_days, fixed])
        jumps = np.concatenate([none, none, 0.0 * fixed])
        bends = np.concatenate([rates / ramp_days, -rates / ramp_days, 0.0 * fixed])
    else:
        starts = np.concatenate([opened, fixed])
        jumps = np.concatenate([rates, 0.0 * fixed])
        bends = np.zeros_like(jumps)
    order = np.argsort(starts, axis=0, kind="stable")
    starts, jumps, bends = (np.take_along_axis(a, order, axis=0) for a in (starts, jumps, bends))
    slopes = np.maximum(np.cumsum(bends, axis=0), 0.0)
    slopes[slopes < 1e-12 * rates.max(axis=0, initial=1e-300)] = 0.0  # what rounding left over
    lasting = np.diff(starts, axis=0)
    levels = np.cumsum(jumps, axis=0)
    levels[1:] += np.cumsum(slopes[:-1] * lasting, axis=0)
    for start, end in pauses:
        inside = (starts >= start) & (starts < end)
        levels, slopes = np.where(inside, 0.0, levels), np.where(inside, 0.0, slopes)
    added = lasting * (levels[:-1] + slopes[:-1] * lasting / 2)
    reached = np.concatenate([np.zeros((1, opened.shape[1])), np.cumsum(added, axis=0)])
    return Arrivals(starts, reached, levels, slopes)


def arrivals(latent: Floats, prepared: Arrivals) -> Floats:
    """Return the days on which patients come: where the cumulative rate reaches their luck.

    Parameters
    ----------
    latent : ndarray, shape (n_patients, n_reps)
        Sums of standard exponentials, rising along the patients.
    prepared : Arrivals

    Returns
    -------
    days : ndarray, shape (n_patients, n_reps)
        Infinity where no site ever opens.
    """
    days = np.empty_like(latent)
    for column in range(latent.shape[1]):
        own, reached = latent[:, column], prepared.reached[:, column]
        piece = np.searchsorted(reached, own, side="right") - 1
        left = own - reached[piece]
        level, slope = prepared.levels[piece, column], prepared.slopes[piece, column]
        speed = level + np.sqrt(level * level + 2 * slope * left)
        with np.errstate(divide="ignore"):
            days[:, column] = prepared.starts[piece, column] + 2 * left / speed
    return days
