"""Other endpoints of the same patients, to choose among: the same distribution, correlated luck."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

from trialsim.conduct.records import Luck
from trialsim.conduct.reporting import correlated_with
from trialsim.generate.joint import uniform_of
from trialsim.generate.outcomes import CompetingBatch, CountedBatch, MeasuredBatch, OrderedBatch
from trialsim.kernels.competing import competing_times, followed_until
from trialsim.kernels.counted import count_of
from trialsim.kernels.hazards import Hazard
from trialsim.kernels.ordered import category_of
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.outcomes import (
    CompetingTruth,
    CountTruth,
    MeasuredTruth,
    OrderedTruth,
    OutcomeTruth,
)
from trialsim.streams import Decision

__all__ = ["other_endpoints"]

Floats = NDArray[np.float64]
_LEAST = 2.0**-54


def other_endpoints(
    batch: Any, truth: OutcomeTruth | None, matrix: Floats, luck: Luck
) -> list[Any]:
    """Return batches of further endpoints, each with the distribution of the declared one.

    A patient's luck in the declared endpoint is a standard normal number; in the others it is
    normal given that one, and their outcomes follow by the same inverse distribution functions. Of
    measurements the read-out is another one; baseline and earlier visits stay. Who is lost, and
    when, is the same in all.

    Parameters
    ----------
    batch : batch of any kind but binary and response
        As drawn.
    truth : OutcomeTruth or None
        Of the endpoint, where it stands under ``outcomes:``.
    matrix : ndarray of float, shape (k, k)
        Correlations of the latent normal numbers, the declared endpoint first.
    luck : Luck

    Returns
    -------
    list of batch, k - 1 long
    """
    normals = [luck.normals(Decision.BEST_OF, f"outcome {j}") for j in range(1, len(matrix))]
    others = correlated_with(_latent(batch, truth), matrix, np.stack(normals))
    if not isinstance(batch, CompetingBatch):
        return [_with_luck(batch, truth, other) for other in others]
    assert batch.luck is not None
    causes = [luck.normals(Decision.BEST_OF, f"cause {j}") for j in range(1, len(matrix))]
    which = ndtri(np.clip(batch.luck[1], _LEAST, 1 - 2 * _LEAST))
    further = correlated_with(np.asarray(which), matrix, np.stack(causes))
    return [_competing(batch, truth, *pair) for pair in zip(others, further, strict=True)]


def _latent(batch: Any, truth: OutcomeTruth | None) -> Floats:
    """Return the normal number an outcome came from; high is a larger value, or later."""
    match batch, truth:
        case MeasuredBatch(), MeasuredTruth():
            mean = np.where(batch.assigned, truth.treated[-1], truth.control[-1])
            return np.asarray((batch.visits[:, -1] - mean) / truth.sds[-1])
        case ((OrderedBatch() | CountedBatch()), _):
            assert batch.luck is not None
            return np.asarray(ndtri(batch.luck))
        case CompetingBatch(), _:
            assert batch.luck is not None
            return np.asarray(-ndtri_exp(-batch.luck[0]))
        case FollowUp(), _:
            return np.asarray(-ndtri_exp(-batch.latent))
        case _:
            raise AssertionError(f"{type(batch).__name__} is a yes or no")


def _with_luck(batch: Any, truth: OutcomeTruth | None, latent: Floats) -> Any:
    match batch, truth:
        case MeasuredBatch(), MeasuredTruth():
            mean = np.where(batch.assigned, truth.treated[-1], truth.control[-1])
            visits = batch.visits.copy()
            visits[:, -1] = mean + truth.sds[-1] * latent
            return replace(batch, visits=visits)
        case OrderedBatch(), OrderedTruth():
            own = uniform_of(latent)
            arms = [category_of(own, np.array(arm)) for arm in (truth.control, truth.treated)]
            category = np.where(batch.assigned, arms[1], arms[0])
            return replace(batch, category=category, luck=own)
        case CountedBatch(), CountTruth():
            own = uniform_of(latent)
            mean = batch.days * np.where(batch.assigned, truth.treated, truth.control)
            return replace(batch, count=count_of(own, mean, truth.dispersion), luck=own)
        case FollowUp(), _:
            return batch._replace(latent=-log_ndtr(-latent))
        case _:
            raise AssertionError(f"{type(batch).__name__} has no truth of its own")


def _competing(
    batch: CompetingBatch, truth: OutcomeTruth | None, latent: Floats, cause: Floats
) -> CompetingBatch:
    assert isinstance(truth, CompetingTruth)
    assert batch.luck is not None
    total, which, end = -log_ndtr(-latent), np.asarray(ndtr(cause)), batch.luck[2]
    arms = [
        competing_times(total, which, Hazard(*truth.event[arm]), Hazard(*truth.competing[arm]))
        for arm in (0, 1)
    ]
    time, first = (np.where(batch.assigned, arms[1][i], arms[0][i]) for i in (0, 1))
    seen = followed_until(time, first, end)
    return replace(batch, time=seen[0], cause=seen[1], luck=(total, which, end))
