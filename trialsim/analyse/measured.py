"""Analysis of a measurement at its last time, or of all times by a mixed model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns
from trialsim.analyse.contrasts import confidence_level
from trialsim.analyse.read_outs import as_seen, read_out
from trialsim.generate.outcomes import MeasuredBatch
from trialsim.kernels.contrasts import ArmContrast, wald
from trialsim.kernels.measured import ancova, student, welch
from trialsim.kernels.mmrm import fit_mmrm
from trialsim.protocol.endpoints import AnyTest, MeasuredTest
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse", "compared", "patients", "score"]

Bools = NDArray[np.bool_]


def analyse(batch: MeasuredBatch, plan: AnalysisPlan) -> LookResults:
    """Compare means, treated minus control; who has no value at the read-out is left out.

    The mixed model uses every visit seen, which under values missing at random is unbiased.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks); differences of logarithms on the log scale.
    """
    seen = np.isfinite(batch.visits[:, -1])
    level = confidence_level(plan)

    def compare(read: Bools | None) -> tuple[ArmContrast, NDArray[np.float64]]:
        own = seen if read is None else seen & read
        return _contrast(batch, plan, level, own, read), own.sum(axis=0)

    return read_out(compare, plan, batch.entry, batch.assigned.shape)


def _contrast(
    batch: MeasuredBatch, plan: AnalysisPlan, level: float, seen: Bools, read: Bools | None
) -> ArmContrast:
    if plan.test is MeasuredTest.MMRM:
        visits = batch.visits
        if read is not None:  # of who is not read out yet no visit counts
            visits = np.where(read[:, None], visits, np.nan)
        fit = fit_mmrm(visits, batch.assigned, batch.baseline)
        last = (column[:, -1] for column in (fit.estimate, fit.standard_error, fit.df))
        estimate, se, df = last
        return wald(estimate, se, level, degrees_of_freedom=df, failed=~fit.converged)
    values = batch.visits[:, -1]
    included = None if seen.all() else seen
    return compared(values, batch.baseline, batch.assigned, included, plan.test, level)


def compared(
    values: NDArray[np.float64],
    baseline: NDArray[np.float64] | None,
    treated: NDArray[np.bool_],
    included: NDArray[np.bool_] | None,
    test: AnyTest,
    level: float,
) -> ArmContrast:
    """Compare one value per patient, shape (n_patients, n_reps), by one of the simple tests."""
    match test:
        case MeasuredTest.WELCH:
            return welch(values, treated, included, confidence_level=level)
        case MeasuredTest.CHANGE:
            assert baseline is not None  # required by the rules
            return student(values - baseline, treated, included, confidence_level=level)
        case MeasuredTest.ANCOVA:
            assert baseline is not None
            return ancova(values, baseline, treated, included, confidence_level=level)
        case _:
            return student(values, treated, included, confidence_level=level)


def patients(batch: MeasuredBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return the measurements of each patient of one trial, on their own scale."""
    back = np.exp if batch.log else np.asarray
    columns: Columns = {"treated": batch.assigned[:, replicate]}
    if batch.baseline is not None:
        columns["baseline"] = back(batch.baseline[:, replicate])
    for number in range(batch.visits.shape[1]):
        columns[f"visit_{number + 1}"] = back(batch.visits[:, number, replicate])
    return as_seen(columns, plan, batch.entry, replicate, look)


def score(
    batch: MeasuredBatch, plan: AnalysisPlan
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the last measurement of every patient, and who is treated."""
    del plan  # the same for all
    return batch.visits[:, -1], batch.assigned
