"""Analysis of an event that another may preclude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns
from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.generate.outcomes import CompetingBatch
from trialsim.kernels.competing import (
    Cause,
    CompetingTable,
    competing_table,
    cumulative_incidence,
    fine_gray,
)
from trialsim.kernels.contrasts import ArmContrast, wald
from trialsim.kernels.survival import LOG_RANK, cox, weighted_log_rank
from trialsim.protocol.endpoints import CompetingTest
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse", "patients", "score"]


def analyse(batch: CompetingBatch, plan: AnalysisPlan) -> LookResults:
    """Compare everyone as assigned, to the read-out or to loss.

    Cause-specific: the Cox hazard ratio, tested by the log-rank test, the other event censoring.
    Cumulative incidences at the read-out are compared by their difference and its standard error.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1); information is the number of events.
    """
    table = competing_table(batch.time, batch.cause, batch.assigned)
    contrast = _contrast(table, batch.day, plan, confidence_level(plan))
    events = (batch.cause == Cause.EVENT).sum(axis=0)
    return read_once(contrast, plan, events, len(batch.time))


def risks_seen(batch: CompetingBatch) -> NDArray[np.float64]:
    """Return the cumulative incidence of the event at the read-out, shape (n_reps, 1, 2)."""
    table = competing_table(batch.time, batch.cause, batch.assigned)
    found = cumulative_incidence(table, batch.day).incidence
    return np.asarray(found[:, None, :, 0])


def _contrast(table: CompetingTable, day: float, plan: AnalysisPlan, level: float) -> ArmContrast:
    match plan.test:
        case CompetingTest.FINE_GRAY:
            fit = fine_gray(table)
            return wald(fit.log_hazard_ratio, fit.standard_error, level, failed=~fit.converged)
        case CompetingTest.CUMULATIVE_INCIDENCE:
            found = cumulative_incidence(table, day)
            return wald(found.difference[:, 0], found.standard_error[:, 0], level)
        case _:
            own = [table.cause_specific()]
            tested, cox_fit = weighted_log_rank(own, (LOG_RANK,)), cox(own)
            with np.errstate(divide="ignore", invalid="ignore"):  # of trials without an event
                z = tested.score[:, 0] / np.sqrt(tested.covariance[:, 0, 0])
            contrast = wald(cox_fit.log_hazard_ratio, cox_fit.standard_error, level)
            return contrast._replace(statistic=z)


def patients(batch: CompetingBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return how long each patient of one trial was followed, and what ended it."""
    del plan, look  # everyone is read out
    cause, time = batch.cause[:, replicate], batch.time[:, replicate]
    censored = np.where(time < batch.day, "lost", "end of follow-up")
    names = np.where(cause == Cause.EVENT, "event", "competing event")
    return {
        "treated": batch.assigned[:, replicate],
        "days": time,
        "ended": np.where(cause == Cause.CENSORED, censored, names),
    }


def score(
    batch: CompetingBatch, plan: AnalysisPlan
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return whether the event was seen of every patient, and who is treated."""
    del plan  # the same for all
    return (batch.cause == Cause.EVENT).astype(float), batch.assigned
