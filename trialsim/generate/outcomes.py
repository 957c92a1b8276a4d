"""Measurements, scores, counts, competing events and further risks of every patient.

One latent normal number per patient decides each (`joint`), under either treatment and every truth
alike; what else is needed has a stream of its own, by the endpoint's id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from trialsim.generate.joint import uniform_of
from trialsim.generate.modifiers import cell_of, effects_of
from trialsim.kernels.competing import competing_times, followed_until
from trialsim.kernels.counted import count_of
from trialsim.kernels.hazards import Hazard
from trialsim.kernels.ordered import category_of
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.modifiers import Modified, ModifiedMeans, ModifiedRisks
from trialsim.protocol.outcomes import (
    CompetingTruth,
    CountTruth,
    LifetimeTruth,
    MeasuredTruth,
    OrderedTruth,
    OutcomeTruth,
    RiskTruth,
    cholesky,
)
from trialsim.streams import Decision, Streams
from trialsim.trial import Candidates, TrialBatch

__all__ = [
    "CompetingBatch",
    "CountedBatch",
    "MeasuredBatch",
    "OrderedBatch",
    "OutcomeBatch",
    "draw_outcome",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Selecting:
    """The baseline by which patients are eligible; shapes (n_patients, n_reps).

    Attributes
    ----------
    moved : ndarray of float
        How far the cut moved everyone's standardised baseline.
    own_part : ndarray of float
        What of it no later time shares, standard normal, before the cut.
    """

    moved: Floats
    own_part: Floats


@dataclass(frozen=True)
class MeasuredBatch:
    """Measurements as assigned; logarithms where the truth is on that scale.

    Attributes
    ----------
    assigned : ndarray of bool, shape (n_patients, n_reps)
    baseline : ndarray of float, shape (n_patients, n_reps), or None
    visits : ndarray of float, shape (n_patients, n_visits, n_reps)
        NaN after a patient was lost.
    log : bool
    entry : ndarray of float or None
        As in `Candidates`, of this and the next two.
    selecting : Selecting or None
        Where its baseline decides who is eligible.
    """

    assigned: Bools
    baseline: Floats | None
    visits: Floats
    log: bool
    entry: Floats | None = None
    selecting: Selecting | None = None


@dataclass(frozen=True)
class OrderedBatch:
    """Categories as assigned, from 0; shape (n_patients, n_reps). `included`: who is analysed.

    `luck` is the uniform a category came from, of this and the next.
    """

    assigned: Bools
    category: Ints
    n_categories: int
    days: bool
    entry: Floats | None = None
    included: Bools | None = None
    luck: Floats | None = None


@dataclass(frozen=True)
class CountedBatch:
    """Events and days of exposure as assigned; shape (n_patients, n_reps)."""

    assigned: Bools
    count: Ints
    days: Floats
    entry: Floats | None = None
    luck: Floats | None = None


@dataclass(frozen=True)
class CompetingBatch:
    """Days to what came first, as assigned: 0 nothing, 1 the event, 2 the competing one.

    `luck` is what that came from: cumulative hazard, uniform of the cause, end of follow-up.
    """

    assigned: Bools
    time: Floats
    cause: Ints
    day: float
    luck: tuple[Floats, Floats, Floats] | None = None


OutcomeBatch = TrialBatch | MeasuredBatch | OrderedBatch | CountedBatch | CompetingBatch | FollowUp


def draw_outcome(
    name: str,
    truth: OutcomeTruth,
    latent: Floats,
    assigned: Bools,
    streams: Streams,
    block: int,
    selecting: Selecting | None = None,
    *,
    modified: Modified | None,
    candidates: Candidates,
) -> OutcomeBatch:
    """Return what happens to every patient in one endpoint under one truth.

    Parameters
    ----------
    name : str
        Endpoint id.
    truth : OutcomeTruth
    latent : ndarray of float, shape (n_patients, n_reps)
        Standard normal, of `joint.latents`.
    assigned : ndarray of bool, shape (n_patients, n_reps)
    selecting : Selecting, optional
        Where another endpoint's baseline decides who is eligible.
    modified : ModifiedRisks, ModifiedMeans or None
        How its effect differs between patients.
    candidates : Candidates
        With what it differs by, and when they entered: looks need it.
    """
    entry = candidates.entry
    match truth:
        case RiskTruth():
            treated_risk = np.array(truth.treated)
            if isinstance(modified, ModifiedRisks):
                treated_risk = np.array(modified.treated)[
                    cell_of(candidates, modified.cells.factors)
                ]
            limits = (-ndtri(truth.control), -ndtri(treated_risk))
            return TrialBatch(assigned, np.stack([latent > limit for limit in limits]))
        case MeasuredTruth():
            effects = None
            if isinstance(modified, ModifiedMeans):
                effects = effects_of(modified, candidates)
            measured = _measured(name, truth, latent, assigned, streams, block, selecting, effects)
            return replace(measured, entry=entry)
        case OrderedTruth():
            luck = uniform_of(latent)
            control, treated = (
                category_of(luck, np.array(arm)) for arm in (truth.control, truth.treated)
            )
            category = np.where(assigned, treated, control)
            n = len(truth.control)
            return OrderedBatch(assigned, category, n, truth.days, entry, luck=luck)
        case CountTruth():
            days = np.full(assigned.shape, truth.days)
            if truth.loss:
                lost = streams.generator(Decision.LEAVING, block, name)
                days = np.minimum(days, lost.standard_exponential(assigned.shape) / truth.loss)
            mean = days * np.where(assigned, truth.treated, truth.control)
            luck = uniform_of(latent)
            count = count_of(luck, mean, truth.dispersion)
            return CountedBatch(assigned, count, days, entry, luck)
        case CompetingTruth():
            return _competing(name, truth, latent, assigned, streams, block)
        case LifetimeTruth():
            return _lifetime(name, truth, latent, assigned, streams, block)


def _lifetime(
    name: str,
    truth: LifetimeTruth,
    latent: Floats,
    assigned: Bools,
    streams: Streams,
    block: int,
) -> FollowUp:
    """High latent numbers come late: they are much cumulative hazard, by inversion."""
    lost = None
    if truth.loss:
        luck = streams.generator(Decision.LEAVING, block, name)
        lost = luck.standard_exponential(latent.shape) / truth.loss
    return FollowUp(
        -np.log1p(-uniform_of(latent)),
        np.zeros((len(latent), 1)),  # each patient's follow-up counts from the own entry
        assigned,
        ((Hazard(*truth.control), Hazard(*truth.treated)),),
        None,
        None,
        lost,
        truth.day,
    )


def _measured(
    name: str,
    truth: MeasuredTruth,
    latent: Floats,
    assigned: Bools,
    streams: Streams,
    block: int,
    selecting: Selecting | None,
    effects: Floats | None,
) -> MeasuredBatch:
    """Draw the read-out from the latent number; earlier ones and baseline are drawn given it."""
    n_times, n_visits = len(truth.correlation), len(truth.control)
    order = list(range(n_times - 1, -1, -1))  # the read-out first
    root = cholesky([[truth.correlation[a][b] for b in order] for a in order])
    assert root is not None  # checked on loading
    base = [latent]
    base += [
        streams.generator(Decision.VISITS, block, f"{name}/{k}").standard_normal(latent.shape)
        for k in range(n_times - 1)
    ]
    shape = (latent.shape[0], n_visits, latent.shape[1])
    visits, baseline, selection = np.empty(shape), None, truth.selection
    shared = selection.correlation if selection else None
    if selecting and shared and truth.baseline:  # baselines correlate as read-outs do
        base[-1] = shared * selecting.own_part + np.sqrt(1 - shared**2) * base[-1]
    for row, time in zip(root, order, strict=True):
        parts = [w * z for w, z in zip(row, base, strict=True) if w]
        z: Any = np.add.reduce(parts) if len(parts) > 1 else parts[0]
        visit = time - (n_times - n_visits)
        if visit < 0:
            assert truth.baseline is not None
            if selection:
                if selection.correlation is None:
                    moved = _eligible(z, selection.window) - z
                    selecting = Selecting(moved, base[-1])
                assert selecting is not None
                z = z + selection.loadings[0] * selecting.moved
            baseline = truth.baseline[0] + truth.baseline[1] * z
            continue
        own = truth.treated[visit] if effects is None else truth.control[visit] + effects[visit]
        mean = np.where(assigned, own, truth.control[visit])
        visits[:, visit] = mean + truth.sds[visit] * z
    if selection and selecting:  # what is left of each visit given baseline stays as it is
        own = selection.correlation is None
        slopes = np.array(truth.correlation[0 if own else -1][-n_visits:]) * truth.sds
        slopes *= 1.0 if own else selection.loadings[1]
        visits += slopes[:, None] * selecting.moved[:, None, :]
    if truth.lost_per_visit and n_visits > 1:
        luck = streams.generator(Decision.LEAVING, block, name).random(latent.shape)
        kept = (1 - truth.lost_per_visit) ** np.arange(n_visits)  # still there at each visit
        visits[np.swapaxes(luck >= kept[:, None, None], 0, 1)] = np.nan
    return MeasuredBatch(assigned, baseline, visits, truth.log, selecting=selecting)


def _eligible(z: Floats, window: tuple[float, float]) -> Floats:
    """Return standard normal numbers as numbers between two limits, in their order.

    The same uniform decides: by the inverse distribution function of the truncated normal.
    """
    least, most = window
    sign = -1.0 if least > 0 else 1.0  # in the tail whose digits are kept
    low, high = sorted((sign * least, sign * most))
    share = ndtr(low) + ndtr(sign * z) * (ndtr(high) - ndtr(low))
    return np.asarray(sign * np.clip(ndtri(np.clip(share, 1e-300, 1 - 2.0**-53)), low, high))


def _competing(
    name: str,
    truth: CompetingTruth,
    latent: Floats,
    assigned: Bools,
    streams: Streams,
    block: int,
) -> CompetingBatch:
    """High latent numbers come early: much cumulative hazard is left to few."""
    total = -np.log1p(-uniform_of(-latent))
    which = streams.generator(Decision.CAUSE, block, name).random(latent.shape)
    by_arm = [
        competing_times(total, which, Hazard(*truth.event[arm]), Hazard(*truth.competing[arm]))
        for arm in (0, 1)
    ]
    time = np.where(assigned, by_arm[1][0], by_arm[0][0])
    cause = np.where(assigned, by_arm[1][1], by_arm[0][1])
    end = np.full(time.shape, truth.day)
    if truth.loss:
        lost = streams.generator(Decision.LEAVING, block, name).standard_exponential(time.shape)
        end = np.minimum(end, lost / truth.loss)
    seen = followed_until(time, cause, end)
    return CompetingBatch(assigned, *seen, truth.day, (total, which, end))
