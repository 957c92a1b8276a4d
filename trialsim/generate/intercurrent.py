"""When intercurrent events would come to each patient in either arm, and what follows from them.

Each process has one latent normal number per patient (`joint`; high is early), the same under
either treatment and every truth, so that patients who would not have an event in either arm are
known. An outcome is what it would have been without events, changed from the day of each on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from trialsim.generate.binary import solve
from trialsim.generate.joint import uniform_of
from trialsim.generate.outcomes import MeasuredBatch
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.counted import count_of
from trialsim.kernels.hazards import Hazard, day_of
from trialsim.kernels.multistate import times_to_event
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import ContinuousEndpoint, SimulatedEndpoint
from trialsim.protocol.intercurrent import EventTruth
from trialsim.protocol.outcomes import CountTruth, MeasuredTruth, OrderedTruth, RiskTruth
from trialsim.protocol.scenario import Courses, Truth
from trialsim.streams import Decision, Streams
from trialsim.trial import Candidates

__all__ = [
    "CountLatent",
    "EventfulBatch",
    "MeasuredLatent",
    "OrderedLatent",
    "ResponseLatent",
    "RiskLatent",
    "draw_event_days",
    "eventful",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_NEVER = 1e7  # days; where a state that never comes would begin


class Change(NamedTuple):
    """An event that changes an outcome: on which day, the effect left, and what it adds."""

    days: Floats
    kept: float
    added: float


class _After(NamedTuple):
    """What holds after which events; element b of each is for the events in the bits of b."""

    shares: Floats
    added: Floats

    @classmethod
    def of(cls, changes: Sequence[Change]) -> _After:
        shares, added = np.ones(1), np.zeros(1)
        for change in changes:
            shares = np.concatenate([shares, shares * change.kept])
            added = np.concatenate([added, added + change.added])
        return cls(shares, added)


def _stretches(
    changes: Sequence[Change], end: Floats | float, shape: tuple[int, ...]
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (start, stop, events so far as bits) of the stretches between events, up to an end."""
    if not changes:
        yield 0.0, end, 0
        return
    days = np.stack([np.broadcast_to(change.days, shape) for change in changes])
    bits: Any = 2 ** np.arange(len(changes))[:, None, None]
    if len(changes) > 1:
        order = np.argsort(days, axis=0)
        days, bits = np.take_along_axis(days, order, axis=0), bits[order, 0, 0]
    start: Any = 0.0
    so_far: Any = 0
    for day, bit in zip(days, bits, strict=True):
        stop = np.minimum(day, end)
        yield start, stop, so_far
        start, so_far = stop, so_far + bit
    yield start, end, so_far


@dataclass(frozen=True)
class RiskLatent:
    """A binary endpoint: the event comes with a constant hazard up to the read-out (assumed).

    Attributes
    ----------
    luck : ndarray, shape (n_patients, n_reps)
        Cumulative hazard at the event, standard exponential.
    logits : (control, treated), each a number or an ndarray of that shape
        Log odds of the event by the read-out, were there no intercurrent events.
    day : float
    """

    luck: Floats
    logits: tuple[Floats | float, Floats | float]
    day: float

    def days(self, treated: Bools, changes: Sequence[Change]) -> Floats:
        """Return the day of the event; infinity if not by the read-out.

        After an event the hazard is the one that, from entry on, would have given the odds that
        follow: those of control times the effect that is left and what the event adds.
        """
        control, own = self.logits
        after = _After.of(changes)
        left, found = self.luck, np.full(self.luck.shape, np.inf)
        for start, stop, events in _stretches(changes, self.day, self.luck.shape):
            added, share = after.added, after.shares
            if np.ndim(control):
                added, share = added[events], share[events]
            both = [
                np.logaddexp(0, control + added + share * gap) / self.day
                for gap in (0.0, own - control)
            ]
            if not np.ndim(control):
                both = [table[events] for table in both]
            hazard = np.where(treated, both[1], both[0])
            need = left / hazard
            hit = np.isinf(found) & (need <= stop - start)
            found = np.where(hit, start + need, found)
            left = left - hazard * (stop - start)
        return found


@dataclass(frozen=True)
class MeasuredLatent:
    """A measurement at visits, as it would be under control without events.

    Attributes
    ----------
    control : ndarray, shape (n_patients, n_visits, n_reps)
        NaN where lost to `lost_per_visit`.
    baseline : ndarray, shape (n_patients, n_reps), or None
    effect : tuple of float, one per visit
    days : tuple of float
        Of the visits.
    log : bool
        Whether values are logarithms.
    """

    control: Floats
    baseline: Floats | None
    effect: tuple[float, ...]
    days: tuple[float, ...]
    log: bool

    def visits(self, treated: Bools, changes: Sequence[Change]) -> Floats:
        """Return the values, shape (n_patients, n_visits, n_reps)."""
        visits = np.empty_like(self.control)
        for v, (effect, day) in enumerate(zip(self.effect, self.days, strict=True)):
            share: Any = 1.0
            added: Any = 0.0
            for change in changes:
                before = change.days <= day
                share = share * np.where(before, change.kept, 1.0)
                added = added + np.where(before, change.added, 0.0)
            visits[:, v] = self.control[:, v] + np.where(treated, share * effect, 0.0) + added
        return visits


@dataclass(frozen=True)
class OrderedLatent:
    """Ordered categories by luck on the logistic scale; cuts are those of control.

    `lowest` is the category that counts as 0 in a mean: the second, where the first is death.
    """

    luck: Floats
    cuts: Floats
    log_odds_ratio: float
    n_categories: int
    lowest: int
    day: float

    def categories(self, treated: Bools, changes: Sequence[Change]) -> Ints:
        """Return the category at the read-out."""
        after, happened = _After.of(changes), np.zeros(self.luck.shape, dtype=np.int64)
        for bit, change in enumerate(changes):
            happened += (change.days <= self.day) << bit
        shift = np.where(treated, after.shares[happened] * self.log_odds_ratio, 0.0)
        moved = self.luck + shift + after.added[happened]
        return np.asarray(np.searchsorted(self.cuts, moved, side="right"), dtype=np.int64)


@dataclass(frozen=True)
class CountLatent:
    """Counts by luck; rates per day, and days of exposure without events."""

    luck: Floats
    truth: CountTruth
    exposure: Floats

    def counts(
        self, treated: Bools, changes: Sequence[Change], until: Floats | float
    ) -> tuple[Ints, Floats]:
        """Return the events, and the days at risk until a day."""
        end = np.minimum(self.exposure, until)
        after, mean = _After.of(changes), np.zeros(self.luck.shape)
        gap = np.log(self.truth.treated / self.truth.control)
        for start, stop, events in _stretches(changes, end, self.luck.shape):
            both = [self.truth.control * np.exp(after.added + after.shares * g) for g in (0.0, gap)]
            rate = np.where(treated, both[1][events], both[0][events])
            mean += rate * (stop - start)
        return count_of(uniform_of(self.luck), mean, self.truth.dispersion), end


@dataclass(frozen=True)
class ResponseLatent:
    """Courses of response: cumulative hazard at response, and days from response to relapse."""

    batch: ResponseBatch
    luck: Floats
    gap: Floats
    courses: Courses

    def course(self, treated: Bools, changes: Sequence[Change]) -> ResponseBatch:
        """Return the courses under one arm each; after events hazards change, gone is gone."""
        if not changes:
            return replace(self.batch, assigned=treated)
        after, left = _After.of(changes), self.luck.copy()
        arms = [self._hazards(after, arm) for arm in (0, 1)]
        found = np.full(self.luck.shape, np.inf)
        for start, stop, events in _stretches(changes, _NEVER, self.luck.shape):
            starts, stops = (np.broadcast_to(day, self.luck.shape) for day in (start, stop))
            open_ = np.isinf(found) & (stops > starts)
            for code in np.unique(events):
                for arm in (0, 1):
                    here, hazard = (
                        open_ & (events == code) & (treated == bool(arm)),
                        arms[arm][code],
                    )
                    before = _cumulative(starts[here], hazard)
                    spent = _cumulative(stops[here], hazard) - before
                    day = day_of(left[here] + before, hazard)
                    found[here] = np.where(left[here] < spent, day, np.inf)
                    left[here] -= spent
        relapse = found + self.gap
        return replace(
            self.batch,
            assigned=treated,
            response=np.stack([found, found]),
            relapse=np.stack([relapse, relapse]),
        )

    def _hazards(self, after: _After, arm: int) -> list[Hazard]:
        control, own = self.courses.control, self.courses.treated
        breaks = tuple(sorted({*control.breaks, *own.breaks}))
        inside = [0.0, *breaks]
        found = []
        for share, added in zip(after.shares, after.added, strict=True):
            rates = [
                np.exp(added)
                * (_rate(control, day) + arm * share * (_rate(own, day) - _rate(control, day)))
                for day in inside
            ]
            found.append(Hazard(breaks, tuple(float(rate) for rate in rates)))
        return found


def _rate(course: Any, day: float) -> float:
    hazards = (*course.response, course.response[-1])
    return float(hazards[sum(day >= b for b in course.breaks)])


Latent = RiskLatent | MeasuredLatent | OrderedLatent | CountLatent | ResponseLatent


@dataclass(frozen=True)
class EventfulBatch:
    """Many trials of one endpoint under one truth, with the events that come between.

    Attributes
    ----------
    assigned : ndarray of bool, shape (n_patients, n_reps)
    endpoint : str
    latent : Latent
        The outcome, given treatment and events.
    events : tuple of EventTruth
    days : ndarray, shape (2, n_events, n_patients, n_reps)
        When each process would strike under control and under treatment, were it alone.
    day : float
        Of the read-out.
    streams, block
        Of what is drawn later: imputations.
    """

    assigned: Bools
    endpoint: str
    latent: Latent
    events: tuple[EventTruth, ...]
    days: Floats
    day: float
    streams: Streams
    block: int

    def days_under(self, treated: Bools, without: Sequence[str] = ()) -> dict[str, Floats]:
        """Return the day of every event in a world without some; after a terminal one, never."""
        own = {
            event.id: np.where(treated, self.days[1, k], self.days[0, k])
            for k, event in enumerate(self.events)
            if event.id not in without
        }
        ends = [own[event.id] for event in self.events if event.terminal and event.id in own]
        if not ends:
            return own
        end = np.minimum.reduce(ends)
        return {name: np.where(days <= end, days, np.inf) for name, days in own.items()}

    def changes(self, days: Mapping[str, Floats]) -> list[Change]:
        """Return those of some events that change this endpoint."""
        return [
            Change(days[event.id], event.kept, event.adds(self.endpoint))
            for event in self.events
            if event.id in days and (event.kept != 1 or event.adds(self.endpoint))
        ]


def draw_event_days(
    protocol: Protocol,
    truth: Truth,
    batches: Mapping[str, Any],
    luck: Mapping[str, Floats],
) -> Floats:
    """Return when each process would strike in either arm, were it alone.

    Parameters
    ----------
    batches : mapping
        Endpoint id -> its batch without events, for hazards that depend on a state or a value.
    luck : mapping
        Event id -> standard normal array of shape (n_patients, n_reps); high is early.

    Returns
    -------
    days : ndarray, shape (2, n_events, n_patients, n_reps)
    """
    found = []
    for arm in (0, 1):
        for event in truth.intercurrent:
            exposure = -np.log(uniform_of(luck[event.id]))
            hazard = Hazard(*event.hazards[arm])
            if event.per_sd:
                exposure = _by_value(event, hazard, exposure, protocol, truth, batches)
            elif event.by_state != (1.0, 1.0, 1.0):
                batch = batches[protocol.primary.id]
                ends = [np.minimum(batch.response[arm], _NEVER)]
                ends.append(np.minimum(batch.relapse[arm], _NEVER))
                exposure = _at_own_pace(exposure, hazard, ends, event.by_state)
            found.append(day_of(exposure, hazard))
    n_events = len(truth.intercurrent)
    return np.stack(found).reshape(2, n_events, *found[0].shape)


def _by_value(
    event: EventTruth,
    hazard: Hazard,
    exposure: Floats,
    protocol: Protocol,
    truth: Truth,
    batches: Mapping[str, Any],
) -> Floats:
    """Let the hazard between visits depend on the values before and after."""
    assert event.per_sd is not None
    name, previous, current = event.per_sd
    batch, own = batches[name], truth.outcome(name)
    assert isinstance(own, MeasuredTruth)
    z: list[Any] = [0.0]
    if batch.baseline is not None and own.baseline:
        z = [(batch.baseline - own.baseline[0]) / own.baseline[1]]
    for v, (control, treated, sd) in enumerate(zip(own.control, own.treated, own.sds, strict=True)):
        mean = np.where(batch.assigned, treated, control)
        z.append(np.nan_to_num((batch.visits[:, v] - mean) / sd))
    z.append(0.0)
    factors = [np.exp(previous * z[k] + current * z[k + 1]) for k in range(len(z) - 1)]
    endpoint = protocol.endpoint(name)
    return _at_own_pace(exposure, hazard, list(_visit_days(endpoint, protocol)), factors)


def _at_own_pace(
    exposure: Floats, hazard: Hazard, ends: Sequence[Any], factors: Sequence[Any]
) -> Floats:
    """Return the cumulative hazard of a patient without factors at the event.

    Stretch k ends at ``ends[k]`` and multiplies the hazard by ``factors[k]``; the last goes on.
    """
    left, found, before = exposure, np.full(exposure.shape, np.inf), np.zeros(1)
    for end, factor in zip([*ends, None], factors, strict=True):
        until = np.full(1, np.inf) if end is None else _cumulative(end, hazard)
        with np.errstate(divide="ignore", invalid="ignore"):
            need = np.where(np.asarray(factor) > 0, left / factor, np.inf)
            hit = np.isinf(found) & (need < until - before)
            found = np.where(hit, before + need, found)
            spent = np.where(np.asarray(factor) > 0, factor * (until - before), 0.0)
        left, before = left - spent, until
    return found


def _cumulative(days: Any, hazard: Hazard) -> Floats:
    starts, slopes, at_start = hazard.clock
    days = np.asarray(days, dtype=float)
    piece = np.searchsorted(starts, days, side="right") - 1
    return np.asarray(at_start[piece] + (days - starts[piece]) / slopes[piece])


def _visit_days(endpoint: SimulatedEndpoint, protocol: Protocol) -> tuple[float, ...]:
    assert isinstance(endpoint, ContinuousEndpoint)
    return tuple(time.days_after_entry(protocol.therapy) for time in endpoint.at)


def eventful(
    protocol: Protocol,
    endpoint: SimulatedEndpoint,
    truth: Truth,
    batch: Any,
    luck: Floats | None,
    days: Floats,
    candidates: Candidates,
    streams: Streams,
    block: int,
) -> EventfulBatch:
    """Return one endpoint of a batch with the events that come between.

    Parameters
    ----------
    batch : batch of the endpoint's kind
        What it would be without events.
    luck : ndarray, shape (n_patients, n_reps), or None
        The endpoint's latent normal number; None for a response.
    days : ndarray
        Of `draw_event_days`.
    """
    day = endpoint.read_out.days_after_entry(protocol.therapy)
    latent = _latent(protocol, endpoint, truth, batch, luck, candidates, streams, block, day)
    return EventfulBatch(
        batch.assigned, endpoint.id, latent, truth.intercurrent, days, day, streams, block
    )


def _latent(
    protocol: Protocol,
    endpoint: SimulatedEndpoint,
    truth: Truth,
    batch: Any,
    luck: Floats | None,
    candidates: Candidates,
    streams: Streams,
    block: int,
    day: float,
) -> Latent:
    if isinstance(batch, ResponseBatch):
        assert truth.courses is not None
        shape = batch.assigned.shape
        own = -np.log1p(-streams.generator(Decision.RESPONSE, block).random(shape))
        later = streams.generator(Decision.RELAPSE, block).random(shape)
        gap = times_to_event(later, (), (truth.courses.control.relapse,))
        return ResponseLatent(batch, own, gap, truth.courses)
    assert luck is not None
    match truth.outcome(endpoint.id):
        case None:
            logits: Any = tuple(float(logit(r)) for r in (truth.control_risk, truth.treated_risk))
            if not isinstance(candidates.prognostic_score, float):
                logits = tuple(a + candidates.prognostic_score for a in solve(truth).intercepts)
            return RiskLatent(-np.log(uniform_of(luck)), logits, day)
        case RiskTruth() as risk:
            both = float(logit(risk.control)), float(logit(risk.treated))
            return RiskLatent(-np.log(uniform_of(luck)), both, day)
        case MeasuredTruth() as own_truth:
            assert isinstance(batch, MeasuredBatch)
            effect = tuple(t - c for t, c in zip(own_truth.treated, own_truth.control, strict=True))
            shift = np.where(batch.assigned[:, None], np.array(effect)[:, None], 0.0)
            return MeasuredLatent(
                batch.visits - shift,
                batch.baseline,
                effect,
                _visit_days(endpoint, protocol),
                own_truth.log,
            )
        case OrderedTruth() as ordered:
            above = 1 - np.cumsum(ordered.control)[:-1]
            uniform = uniform_of(luck)
            ratio = float(np.log(ordered.odds_ratio))
            cuts = -logit(np.clip(above, 0.0, 1.0))
            lowest = int(ordered.days)
            return OrderedLatent(logit(uniform), cuts, ratio, len(ordered.control), lowest, day)
        case CountTruth() as counts:
            return CountLatent(luck, counts, batch.days)
        case other:
            raise AssertionError(f"refused by the rules: {other}")
