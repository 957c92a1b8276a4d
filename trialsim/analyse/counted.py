"""Analysis of counts with each patient's exposure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns
from trialsim.analyse.contrasts import confidence_level
from trialsim.analyse.read_outs import as_seen, read_out
from trialsim.generate.outcomes import CountedBatch
from trialsim.kernels.contrasts import ArmContrast
from trialsim.kernels.counted import rate_ratio
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse", "patients", "score"]


def analyse(batch: CountedBatch, plan: AnalysisPlan) -> LookResults:
    """Compare rates of everyone as assigned, to the end of each one's exposure.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks); logarithms of the rate ratio.
    """
    level = confidence_level(plan)

    def compare(read: NDArray[np.bool_] | None) -> tuple[ArmContrast, NDArray[np.float64]]:
        found = rate_ratio(batch.count, batch.days, batch.assigned, read, confidence_level=level)
        return found.contrast, np.full(batch.count.shape[1], float(len(batch.count)))

    return read_out(compare, plan, batch.entry, batch.assigned.shape)


def patients(batch: CountedBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return the events and the days of exposure of each patient of one trial."""
    columns = {
        "treated": batch.assigned[:, replicate],
        "events": batch.count[:, replicate],
        "days": batch.days[:, replicate],
    }
    return as_seen(columns, plan, batch.entry, replicate, look)


def score(batch: CountedBatch, plan: AnalysisPlan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the count of every patient, and who is treated."""
    del plan  # the same for all
    return batch.count.astype(float), batch.assigned
