"""Which trials are published (acts on results, after the trial)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.records import Luck
from trialsim.protocol.conduct import Mechanism, PublicationFilter
from trialsim.streams import Decision

__all__ = ["published"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def published(
    flaw: PublicationFilter,
    rejected: Bools,
    z: Floats,
    n_patients: Floats | int,
    luck: Luck,
    p_value: Floats | None = None,
) -> Bools:
    """Return which trials are published, shape (n_reps,).

    Parameters
    ----------
    flaw : PublicationFilter
    rejected : ndarray of bool, shape (n_reps,)
        Whether the reported result is significant; of a block's first trials.
    z : ndarray of float, shape (n_reps,)
        Positive in favour of treatment.
    n_patients : ndarray of float, shape (n_reps,), or int
        Recruited; from `always_from` on a trial is published whatever it finds.
    luck : Luck
    p_value : ndarray of float, shape (n_reps,)
        Asked for where the filter states the P below which a result counts.
    """
    if flaw.p_below is not None:
        assert p_value is not None
        rejected = p_value < flaw.p_below
    sure = rejected & ((z > 0) if flaw.significant == "benefit" else True)
    if flaw.always_from is not None:
        sure = sure | (np.asarray(n_patients) >= flaw.always_from)
    dropped = luck.of_trials(Decision.PUBLICATION) < luck.strength(
        Mechanism.PUBLICATION, flaw.strength
    )
    return np.asarray(sure | ~dropped[: len(rejected)])
