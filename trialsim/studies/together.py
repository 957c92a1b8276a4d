"""Several endpoints of the same patients: how they go together, and what is found after adjustment.

Decisions are made again from every trial's P values; nothing is simulated twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import MIN_REPLICATES, proportion
from trialsim.engine.blocks import draw_patients
from trialsim.engine.endpoint_kinds import kind_of
from trialsim.engine.run import Simulation
from trialsim.kernels.multiplicity import Graph, fixed_sequence, graphical, hochberg, holm
from trialsim.protocol.design import (
    FixedSequence,
    Graphical,
    Hochberg,
    Holm,
    Multiplicity,
)
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.trial import LookResults, Measure, Path, Row

__all__ = ["correlation_rows", "decisions", "multiplicity_rows"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def decisions(p_values: Floats, procedure: Multiplicity, alpha: float) -> Bools:
    """Return what is found of each endpoint, with the familywise error kept.

    Parameters
    ----------
    p_values : ndarray, shape (n_endpoints, n_reps)
        In the order of the procedure's endpoints.
    procedure : Multiplicity
    alpha : float

    Returns
    -------
    ndarray of bool, shape (n_endpoints, n_reps)
    """
    match procedure:
        case FixedSequence():
            return fixed_sequence(p_values, alpha).rejected
        case Holm():
            return holm(p_values, alpha).rejected
        case Hochberg():
            return hochberg(p_values, alpha).rejected
        case Graphical():
            names = procedure.endpoints
            weights = tuple(procedure.weights[name] for name in names)
            transitions = tuple(
                tuple(procedure.transitions.get(a, {}).get(b, 0.0) for b in names) for a in names
            )
            return graphical(p_values, Graph(weights, transitions), alpha).rejected


def multiplicity_rows(resolved: ResolvedTemplate, simulation: Simulation) -> Iterator[Row]:
    """Yield, per scenario, each endpoint's power after adjustment, of any and of all of them.

    A trial in which one endpoint has no P value is left out, and counted.
    """
    procedure = resolved.template.protocol.multiplicity
    if procedure is None:
        return
    plans = {p.endpoint: index for index, p in enumerate(simulation.job.plans) if p.is_main}
    alpha = resolved.template.protocol.test.alpha
    for truth, results in zip(simulation.job.truths, simulation.results, strict=True):
        family = {name: results[plans[name]] for name in procedure.endpoints}
        yield from _adjusted(truth.scenario, family, procedure, alpha)


def _adjusted(
    scenario: str, family: Mapping[str, LookResults], procedure: Multiplicity, alpha: float
) -> Iterator[Row]:
    p = np.stack([found.p_value[:, -1] for found in family.values()])
    usable = np.isfinite(p).all(axis=0)
    n_failed = int((~usable).sum())
    blank = Row(
        measure=Measure.POWER_ADJUSTED,
        value=None,
        scenario=scenario,
        analysis=str(procedure),
        n_failed=n_failed,
    )
    if usable.sum() < MIN_REPLICATES:
        why = f"{int(usable.sum())} analysable replicates; at least {MIN_REPLICATES} are needed"
        yield replace(blank, why=why)
        return
    found = decisions(p[:, usable], procedure, alpha)
    for name, hits in zip(family, found, strict=True):
        yield proportion(Measure.POWER_ADJUSTED, hits).row(replace(blank, endpoint=name))
    yield proportion(Measure.POWER_DISJUNCTIVE, np.asarray(found.any(axis=0))).row(blank)
    yield proportion(Measure.POWER_CONJUNCTIVE, np.asarray(found.all(axis=0))).row(blank)


def correlation_rows(resolved: ResolvedTemplate, simulation: Simulation) -> Iterator[Row]:
    """Yield the correlation of every two endpoints as patients of the control arm show it.

    What is stated is the correlation of latent normal numbers; of two risks or scores it is seen
    weaker. Measured in the first block of trials, under the first scenario.
    """
    job = simulation.job
    if len(resolved.endpoints) < 2 or job.path is not Path.PATIENTS:
        return
    _, batches = draw_patients(job, simulation.seed, 0, frozenset())
    scores: dict[str, Floats] = {}
    control, single = None, job.protocol.is_single_arm
    for plan in job.plans:
        if not plan.is_main:
            continue
        kind = kind_of(job.protocol, job.protocol.endpoint(plan.endpoint))
        scores[plan.endpoint], assigned = kind.score(batches[0][plan.endpoint], plan)
        control = assigned if single else ~assigned
    assert control is not None
    arm = "single" if single else "control"
    quiet = ", without intercurrent events" if job.truths[0].intercurrent else ""
    for first, second in combinations(scores, 2):
        seen = control & np.isfinite(scores[first]) & np.isfinite(scores[second])
        found = _correlations(scores[first], scores[second], seen)
        found = found[np.isfinite(found)]
        if len(found) < 2:
            continue
        yield Row(
            measure=Measure.CORRELATION,
            value=float(found.mean()),
            mcse=float(found.std(ddof=1)) / sqrt(len(found)),
            n_replicates=len(found),
            scenario=job.truths[0].scenario,
            endpoint=first,
            analysis=f"with {second}, as seen in the {arm} arm{quiet}",
        )


def _correlations(x: Floats, y: Floats, seen: Bools) -> Floats:
    """Return Pearson's correlation of two columns of patients in every trial."""
    n = seen.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(seen, x - np.where(seen, x, 0).sum(axis=0) / n, 0)
        b = np.where(seen, y - np.where(seen, y, 0).sum(axis=0) / n, 0)
        return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))
