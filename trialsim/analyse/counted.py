"""Analysis of counts with each patient's exposure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns
from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.generate.outcomes import CountedBatch
from trialsim.kernels.counted import rate_ratio
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse", "patients", "score"]


def analyse(batch: CountedBatch, plan: AnalysisPlan) -> LookResults:
    """Compare rates of everyone as assigned, to the end of each one's exposure.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1); logarithms of the rate ratio.
    """
    contrast = rate_ratio(
        batch.count, batch.days, batch.assigned, confidence_level=confidence_level(plan)
    ).contrast
    n = len(batch.count)
    return read_once(contrast, plan, np.full(batch.count.shape[1], float(n)), n)


def patients(batch: CountedBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return the events and the days of exposure of each patient of one trial."""
    del plan, look  # everyone is read out
    return {
        "treated": batch.assigned[:, replicate],
        "events": batch.count[:, replicate],
        "days": batch.days[:, replicate],
    }


def score(batch: CountedBatch, plan: AnalysisPlan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the count of every patient, and who is treated."""
    del plan  # the same for all
    return batch.count.astype(float), batch.assigned
