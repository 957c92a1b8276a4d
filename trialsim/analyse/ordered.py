"""Analysis of ordered categories, and of days alive and free with death the worst."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns
from trialsim.analyse.contrasts import confidence_level
from trialsim.analyse.read_outs import as_seen, read_out
from trialsim.generate.outcomes import OrderedBatch
from trialsim.kernels.contrasts import ArmContrast
from trialsim.kernels.ordered import common_odds_ratio, counts_by_arm, wilcoxon_mann_whitney
from trialsim.protocol.endpoints import OrderedTest
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse", "compared", "patients", "score"]


def analyse(batch: OrderedBatch, plan: AnalysisPlan) -> LookResults:
    """Compare everyone as assigned, by ranks or by the common odds ratio of a higher category.

    The rank test's estimate is the win difference, P(treated higher) less P(control higher).

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks).
    """

    def compare(read: NDArray[np.bool_] | None) -> tuple[ArmContrast, NDArray[np.float64]]:
        analysed = read
        if batch.included is not None:
            analysed = batch.included if read is None else read & batch.included
        counts = counts_by_arm(batch.category, batch.assigned, batch.n_categories, analysed)
        return compared(*counts, plan), np.concatenate(counts).sum(axis=0, dtype=float)

    return read_out(compare, plan, batch.entry, batch.assigned.shape)


def compared(
    treated: NDArray[np.int64], control: NDArray[np.int64], plan: AnalysisPlan
) -> ArmContrast:
    """Compare counts by category, from the lowest, shape (n_categories, n_reps)."""
    level = confidence_level(plan)
    if plan.test is not OrderedTest.WILCOXON:
        return common_odds_ratio(treated, control, confidence_level=level)
    won = wilcoxon_mann_whitney(treated, control, confidence_level=level)
    return won._replace(
        estimate=2 * won.estimate - 1,
        standard_error=2 * won.standard_error,
        lower=2 * won.lower - 1,
        upper=2 * won.upper - 1,
    )


def patients(batch: OrderedBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return the category of each patient of one trial; days, and -1 for who died."""
    category = batch.category[:, replicate]
    name = "days" if batch.days else "category"
    columns = {"treated": batch.assigned[:, replicate], name: category - int(batch.days)}
    return as_seen(columns, plan, batch.entry, replicate, look)


def score(batch: OrderedBatch, plan: AnalysisPlan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the category of every patient, and who is treated."""
    del plan  # the same for all
    return batch.category.astype(float), batch.assigned
