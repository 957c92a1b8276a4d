"""Analysis of response at a visit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import Columns, analyse_counts
from trialsim.analyse.longitudinal import analyse_visits
from trialsim.analyse.time_to_response import analyse_times
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.contrasts import arm_masks
from trialsim.protocol.endpoints import BinaryTest, Counted, EstimatingEquations
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["analyse", "patients", "responding", "responding_at", "score"]


def analyse(batch: ResponseBatch, plan: AnalysisPlan) -> LookResults:
    """Compare the arms as assigned; who missed the visit, died or was lost did not respond.

    A test of times to an event compares the time to the first response seen; estimating
    equations take response at every visit attended by then, and a missed one as missing.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1).
    """
    if isinstance(plan.test, EstimatingEquations):
        visits = range(plan.visit + 1)
        shown = np.stack([responding(batch, replace(plan, visit=visit)) for visit in visits])
        seen = batch.attended[: plan.visit + 1] & (batch.visits[: plan.visit + 1] < batch.leaving)
        return analyse_visits(shown, seen, batch.assigned, batch.included, plan)
    if not isinstance(plan.test, BinaryTest):
        return analyse_times(batch, plan)
    responding_now = responding(batch, plan)
    treated, untreated = arm_masks(batch.assigned, batch.included)
    counts = [
        np.add.reduce(who, axis=0, dtype=np.int64)
        for who in (responding_now & treated, treated, responding_now & untreated, untreated)
    ]
    return analyse_counts(counts[0], counts[1], counts[2], counts[3], plan)


def responding(batch: ResponseBatch, plan: AnalysisPlan) -> NDArray[np.bool_]:
    """Return who counts as a responder at the plan's visit, shape (n_patients, n_reps)."""
    return responding_at(batch, plan.visit, plan.counted)


def responding_at(batch: ResponseBatch, visit: int, counted: Counted) -> NDArray[np.bool_]:
    """Return who counts as a responder at a visit, shape (n_patients, n_reps)."""
    day = batch.visits[visit]
    here: NDArray[np.bool_] = batch.attended[visit] & batch.in_response(day) & (day < batch.leaving)
    if counted is Counted.SUSTAINED:
        seen = np.zeros(here.shape, dtype=bool)
        for number in range(visit):
            responding_then = batch.in_response(batch.visits[number])
            attended = batch.attended[number]
            here &= ~(attended & seen & ~responding_then)
            seen |= attended & responding_then
    return here


def patients(batch: ResponseBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return the course of each patient of one trial, as visits see it."""
    del look  # everyone is read out
    treated = batch.assigned[:, replicate]
    response = np.where(treated, batch.response[1, :, replicate], batch.response[0, :, replicate])
    leaving, died = batch.leaving[:, replicate], batch.died[:, replicate]
    columns: Columns = {"treated": treated}
    for number in range(plan.visit + 1):
        day = batch.visits[number, :, replicate]
        now = batch.in_response(batch.visits[number])[:, replicate]
        state = np.where(now, "response", np.where(day >= response, "relapse", "none"))
        state = np.where(batch.attended[number, :, replicate], state, "missed")
        state = np.where(day >= leaving, np.where(died, "death", "loss"), state)
        columns[f"visit_{number + 1}_day"], columns[f"visit_{number + 1}_state"] = day, state
    columns["event"] = responding(batch, plan)[:, replicate]
    gone = leaving <= columns[f"visit_{plan.visit + 1}_day"]
    columns["why_not_seen"] = np.where(
        gone,
        np.where(died, "died", "lost"),
        np.where(batch.attended[plan.visit, :, replicate], "", "missed the visit"),
    )
    return columns


def score(
    batch: ResponseBatch, plan: AnalysisPlan
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return who responds of every patient, and who is treated."""
    return responding(batch, plan).astype(float), batch.assigned
