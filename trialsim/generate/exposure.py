"""Outcomes of patients who took a share of the planned doses: the effect in proportion to it."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from trialsim.generate.modifiers import effects_of
from trialsim.generate.outcomes import CountedBatch, MeasuredBatch, OrderedBatch
from trialsim.kernels.counted import count_of
from trialsim.kernels.ordered import shifted
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.modifiers import ModifiedMeans
from trialsim.protocol.outcomes import CountTruth, MeasuredTruth, OrderedTruth
from trialsim.protocol.scenario import Truth
from trialsim.trial import Candidates

__all__ = ["exposed_risks", "with_doses_taken"]

Floats = NDArray[np.float64]


def exposed_risks(truth: Truth, share: Floats) -> Floats:
    """Return risks on treatment with a share of the doses, of its shape.

    The log odds ratio times the share (assumed), added to the log odds of the control arm.
    """
    base = logit(truth.control_risk)
    return np.asarray(expit(base + share * (logit(truth.treated_risk) - base)))


def with_doses_taken(
    batch: Any, truth: Truth, endpoint: str, share: Floats, candidates: Candidates | None = None
) -> Any:
    """Return a batch whose treated patients took a share of their doses, by the same luck.

    The effect of each is the share times the whole one (assumed): of a mean difference (of
    logarithms on that scale), of the log odds ratio of ordered categories, of the log rate ratio of
    counts, of the log hazard ratio of a time to an event. A share of 1 leaves a patient's outcome
    as it is, to the last bit; a share of 0 is no effect.

    Parameters
    ----------
    batch : MeasuredBatch, OrderedBatch, CountedBatch or FollowUp
        Drawn under `truth`, with every dose taken.
    truth : Truth
    endpoint : str
        Id of the primary endpoint.
    share : ndarray of float, shape (n_patients, 1)
        From 0 to 1.
    candidates : Candidates, optional
        With what an effect on a mean differs by, where it does.
    """
    outcome = truth.outcome(endpoint)
    match batch, outcome:
        case FollowUp(), _:
            return _postponed(batch, truth, share)
        case MeasuredBatch(), MeasuredTruth():
            effects = np.subtract(outcome.treated, outcome.control)[None, :, None]
            modified = truth.modified_in(endpoint)
            if isinstance(modified, ModifiedMeans):
                assert candidates is not None
                effects = np.swapaxes(effects_of(modified, candidates), 0, 1)
            missing = (batch.assigned * (1 - share))[:, None, :]
            return replace(batch, visits=batch.visits - missing * effects)
        case OrderedBatch(), OrderedTruth():
            assert batch.luck is not None  # of every batch that is drawn
            category = _category(batch.luck, outcome, share)
            return replace(batch, category=_changed(batch, share, category, batch.category))
        case CountedBatch(), CountTruth():
            assert batch.luck is not None
            rate = outcome.control * (outcome.treated / outcome.control) ** share
            count = count_of(batch.luck, batch.days * rate, outcome.dispersion)
            return replace(batch, count=_changed(batch, share, count, batch.count))
        case _:
            raise AssertionError("refused by the rules")


def _changed(batch: OrderedBatch | CountedBatch, share: Floats, new: Any, old: Any) -> Any:
    return np.where(batch.assigned & (share < 1), new, old)


def _category(luck: Floats, truth: OrderedTruth, share: Floats) -> NDArray[np.int64]:
    """Return categories by inverse distribution functions, one a patient."""
    arms = shifted(np.array(truth.control)[:, None, None], truth.odds_ratio**share)
    up_to = np.cumsum(arms, axis=0)
    found = np.zeros(luck.shape, dtype=np.int64)
    for below in up_to[:-1] / up_to[-1]:
        found += luck >= below
    return found


def _postponed(batch: FollowUp, truth: Truth, share: Floats) -> FollowUp:
    """Scale cumulative hazards at the event: ``r H0(t) = r^(1 - e) L`` where ``r^e H0(t) = L``.

    Of the patients who can have it, where some never do.
    """
    assert truth.lifetimes is not None
    ratio = truth.lifetimes.constant_ratio
    assert ratio is not None  # by the rules
    scale = np.where(batch.treated, np.exp(log(ratio) * (1 - share)), 1.0)
    cured = np.array([control.cured for control, _ in batch.hazards])
    if not cured.any():
        return batch._replace(latent=batch.latent * scale)
    never = cured[0] if batch.level is None else cured[batch.level]
    left = np.maximum((np.exp(-batch.latent) - never) / (1 - never), 0.0)
    latent = -np.log(never + (1 - never) * left**scale)
    return batch._replace(latent=np.where(scale == 1, batch.latent, latent))
