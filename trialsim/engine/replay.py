"""One trial of a run again, patient by patient: its block is drawn anew, and one column taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import estimands
from trialsim.analyse.looks import stop
from trialsim.engine.blocks import Job, draw_patients, eventful_id, simulate_block
from trialsim.engine.endpoint_kinds import kind_of
from trialsim.errors import Problem, RequestError
from trialsim.generate.binary import draw_counts, patients_given
from trialsim.protocol.design import Arm, Protocol
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams
from trialsim.trial import Candidates, LookResults, Path

__all__ = ["ReplayedTrial", "planned_doses", "replay"]


@dataclass(frozen=True)
class ReplayedTrial:
    """One simulated trial.

    Attributes
    ----------
    truth : Truth
    replicate : int
        From 1.
    looks : LookResults
        Its row of the run, the primary endpoint at every look; arrays of shape (1, n_looks).
    final : LookResults
        What the look at which it stopped found, shape (1, 1).
    stopped_at : int
        That look, from 0.
    futile : bool
        Whether it stopped for futility.
    patients : dict of str to ndarray, shape (n_patients,)
        In order of arrival: who had entered when it stopped, or, for a time to an event, by the
        data cut-off.
    """

    truth: Truth
    replicate: int
    looks: LookResults
    final: LookResults
    stopped_at: int
    futile: bool
    patients: dict[str, NDArray[Any]]


def replay(job: Job, truth: Truth, seed: int, replicate: int) -> ReplayedTrial:
    """Return one trial of a run.

    Of a run that drew counts, patients are drawn given these: they add up to the same row.

    Parameters
    ----------
    job : Job
        Of the run.
    truth : Truth
        One of its truths.
    seed : int
    replicate : int
        From 1.

    Raises
    ------
    RequestError
        If there is no such replicate.
    """
    if replicate < 1:
        rule, remedy = "must be at least 1", "The first trial of a run is 1."
        raise RequestError(Problem(rule, remedy, "--replicate", str(replicate)))
    block, column = divmod(replicate - 1, job.block_width)
    own, plan = replace(job, truths=(truth,)), job.plans[0]
    looks = simulate_block(own, seed, block)[0][0].only(slice(column, column + 1))
    stops = stop(looks, plan)
    stopped_at = int(stops.look[0])
    candidates: Candidates | None = None
    if job.path is Path.SUFFICIENT_STATISTICS:
        streams = Streams(seed, job.unit)
        (counts,) = draw_counts(job.protocol, (truth,), plan.looks, streams, block)
        batch: Any = patients_given(job.protocol, counts, column, plan.looks, streams, block)
        column = 0
    else:
        factors = frozenset(factor.id for factor in truth.factors)
        candidates, (batches,) = draw_patients(own, seed, block, factors)
        batch = batches[plan.endpoint]
    kind = kind_of(job.protocol, job.protocol.primary)
    if plan.estimand:
        seen = estimands.patients(batches[eventful_id(plan.endpoint)], plan, column)
    else:
        seen = kind.patients(batch, plan, column, stopped_at)
    if candidates:
        seen |= _further(job, batches, column, len(seen["treated"]))
    patients = _baseline(job.protocol, truth, candidates, batch, column, seen.pop("treated"))
    return ReplayedTrial(
        truth,
        replicate,
        looks,
        stops.final,
        stopped_at,
        bool(stops.futile[0]),
        {**patients, **seen},
    )


def _further(job: Job, batches: dict[str, Any], column: int, n: int) -> dict[str, NDArray[Any]]:
    """Return what the other endpoints saw of each patient, under names that say whose it is."""
    found: dict[str, NDArray[Any]] = {}
    own = {endpoint.id for endpoint in job.protocol.simulated}
    for plan in job.plans[1:]:
        if plan.endpoint in own or not plan.is_main:
            continue
        kind = kind_of(job.protocol, job.protocol.endpoint(plan.endpoint))
        if plan.estimand:
            seen = estimands.patients(batches[eventful_id(plan.endpoint)], plan, column)
            seen = {name: c for name, c in seen.items() if not name.endswith("_day")}
        else:
            seen = kind.patients(batches[plan.endpoint], plan, column, 0)
        found |= {
            f"{plan.endpoint}_{name}": values[:n]
            for name, values in seen.items()
            if name != "treated" and len(values) >= n
        }
    return found


def _baseline(
    protocol: Protocol,
    truth: Truth,
    candidates: Candidates | None,
    batch: Any,
    column: int,
    treated: NDArray[np.bool_],
) -> dict[str, NDArray[Any]]:
    """Return what is known of each patient at entry."""
    n = len(treated)
    columns: dict[str, NDArray[Any]] = {"patient": np.arange(1, n + 1)}
    if candidates:
        for factor in truth.factors:
            names = [level.id for level in factor.levels or ()]
            names = names or [str(number + 1) for number in range(len(factor.shares))]
            if factor.id in candidates.levels:
                columns[factor.id] = np.array(names)[candidates.levels[factor.id][:n, column]]
        if candidates.n_strata > 1:
            columns["stratum"] = candidates.strata[:n, column] + 1
        if candidates.severity is not None:
            columns["severity_sd"] = candidates.severity[:n, column]
        for name, values in candidates.covariates.items():
            columns[f"{name}_sd"] = values[:n, column]
    entry = candidates.entry if candidates else batch.entry
    if entry is not None:
        columns["entry_day"] = entry[:n, column if entry.shape[1] > 1 else 0]
    arms = (protocol.control, protocol.experimental)
    own = treated.astype(int)
    columns["arm"] = np.array([arm.id for arm in arms])[own]
    doses = [planned_doses(arm) for arm in arms]
    if any(number is not None for number in doses):
        columns["planned_doses"] = np.array([number or 0 for number in doses])[own]
    return columns


def planned_doses(arm: Arm) -> int | None:
    """Return how many doses the regimen plans; None where it does not say."""
    total = 0
    for phase in arm.regimen.phases if arm.regimen else ():
        if phase.every is None or phase.lasting is None:
            return None
        total += ceil(phase.lasting.days / phase.every.days - 1e-9)
    return total or None
