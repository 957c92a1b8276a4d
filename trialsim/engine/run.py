"""Jobs -> simulations: what is missing is computed, wherever, and kept; what is there is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from typing import overload

from trialsim.engine.blocks import Job
from trialsim.engine.store import InMemory, Series, Store, series_of
from trialsim.engine.workers import Task, Workers, computed
from trialsim.errors import Problem, RequestError
from trialsim.protocol.endpoints import (
    EstimatingEquations,
    Summary,
    SurvivalSummary,
    TimeToEventEndpoint,
)
from trialsim.trial import AnalysisPlan, InLevel, Kernel, LookResults, Path

__all__ = [
    "MAX_REPLICATES",
    "Results",
    "Simulation",
    "bytes_needed",
    "check_kernel",
    "check_request",
    "cpus_available",
    "estimated_seconds",
    "kernel_for",
    "run",
]

MAX_REPLICATES = 100_000_000
_SECONDS_PER_CHUNK = 0.5  # of work: long beside what handing it over and keeping it costs
_SECONDS_PER_PATIENT = 40e-9  # measured: sepsis, six scenarios, one core; see docs/performance.md
_SECONDS_PER_TABLE = 1e-6  # analysis of one simulated trial
_SECONDS_PER_COUNTS = 2e-6  # the same, without patients
_SECONDS_PER_PATIENT_LOOK = {Kernel.NUMPY: 600e-9, Kernel.NUMBA: 15e-9}  # time to an event
_SECONDS_PER_PATIENT_OUTCOME = 400e-9  # one of nine further endpoints, measured at 200 patients
_SECONDS_PER_PATIENT_PART = 7e-9  # one subgroup's risks, measured: sepsis, six subgroups
_SECONDS_PER_PATIENT_ESTIMAND = 150e-9  # without imputing, measured at 200 patients
_SECONDS_PER_PATIENT_IMPUTED = 200e-9  # once
_SECONDS_PER_PATIENT_EQUATIONS = 100e-6  # statsmodels, measured: 98 patients at five visits
_SECONDS_PER_PATIENT_FORESEEN = 330e-9  # another draw, and who is picked; measured: sepsis
_SECONDS_PER_PATIENT_CONDUCTED = 100e-9  # other flaws: 20 of a risk to 500 of a count, measured
_SECONDS_WORTH_COMPILING = 5.0

Progress = Callable[[float, float], None]


class Results(Sequence[tuple[LookResults, ...]]):
    """Per truth of a job, one result per plan; read from the store whenever asked for."""

    def __init__(self, store: Store, series: Sequence[Series], n_replicates: int) -> None:
        self._store, self._series, self._n = store, series, n_replicates

    def __len__(self) -> int:
        return len(self._series)

    @overload
    def __getitem__(self, index: int) -> tuple[LookResults, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[LookResults, ...]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> tuple[LookResults, ...] | Sequence[tuple[LookResults, ...]]:
        if isinstance(index, slice):
            return Results(self._store, self._series[index], self._n)
        return self._store.load(self._series[index], self._n)


@dataclass(frozen=True)
class Simulation:
    """The results of one job.

    Attributes
    ----------
    job : Job
    results : Results
        Per truth of the job, one per plan; arrays of shape (n_replicates, n_looks).
    n_replicates, seed : int
    """

    job: Job
    results: Results
    n_replicates: int
    seed: int


def cpus_available() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def estimated_seconds(jobs: Sequence[Job], n_replicates: int) -> float:
    """Rough seconds of work on one core: linear in patients, truths, looks and replicates."""
    return n_replicates * sum(_seconds_per_replicate(job) for job in jobs)


def _seconds_per_replicate(job: Job) -> float:
    n, n_truths = job.protocol.n_total, len(job.truths)
    n_looks = max(1, len(job.plans[0].looks))
    if job.path is Path.SUFFICIENT_STATISTICS:
        return n_truths * n_looks * _SECONDS_PER_COUNTS
    patients = n * (1 + n_truths / 6) * _SECONDS_PER_PATIENT
    patients += n * n_truths * len(job.truths[0].outcomes) * _SECONDS_PER_PATIENT_OUTCOME
    patients += n * n_truths * sum(_seconds_per_part(plan) for plan in job.plans if plan.part)
    patients += n * n_truths * sum(_seconds_per_patient(plan) for plan in job.plans)
    if isinstance(job.protocol.primary, TimeToEventEndpoint):
        conducted = max(1, sum(plan.conduct is not None for plan in job.plans))
        n_read = n * n_truths * n_looks * conducted
        return patients + n_read * _SECONDS_PER_PATIENT_LOOK[job.kernel]
    return patients + n_truths * n_looks * _SECONDS_PER_TABLE


def _seconds_per_part(plan: AnalysisPlan) -> float:
    """Rough seconds a subgroup analysis takes per patient."""
    match plan.part, plan.summary:
        case InLevel(), Summary():
            return _SECONDS_PER_PATIENT_PART
        case InLevel(), SurvivalSummary():
            return _SECONDS_PER_PATIENT_LOOK[plan.kernel]
        case _:
            return _SECONDS_PER_PATIENT_OUTCOME


def _seconds_per_patient(plan: AnalysisPlan) -> float:
    """Return what an estimand, a model or flaws cost more than the endpoint alone."""
    if plan.conduct:
        foreseen = plan.conduct.foreseen_allocation
        return _SECONDS_PER_PATIENT_FORESEEN if foreseen else _SECONDS_PER_PATIENT_CONDUCTED
    if isinstance(plan.test, EstimatingEquations):
        return _SECONDS_PER_PATIENT_EQUATIONS
    if plan.estimand is None:
        return 0.0
    imputed = plan.estimand.imputations if plan.estimand.missing.imputes else 0
    share = 1.0 if plan.is_main else 0.1
    return _SECONDS_PER_PATIENT_ESTIMAND + share * imputed * _SECONDS_PER_PATIENT_IMPUTED


def check_kernel(kernel: Kernel, *, recorded: bool = False) -> None:
    """Refuse a kernel that is not installed, asked for or of a run (RequestError)."""
    if kernel is Kernel.NUMBA and find_spec("numba") is None:
        if recorded:
            rule = "was begun with numba, which is not installed here"
            remedy = "Install it with: pip install 'trialsim[fast]', or name a new folder."
            raise RequestError(Problem(rule, remedy, "the run"))
        raise RequestError(
            Problem(
                "needs numba, which is not installed",
                "Install it with: pip install 'trialsim[fast]', or use --kernel numpy.",
                "--kernel",
                kernel.value,
            )
        )


def kernel_for(job: Job, n_replicates: int) -> Kernel:
    """Return what to compute a new run with: numba where installed and worth its start.

    Loading the compiled kernels takes seconds the first time; numpy computes a short run sooner.
    """
    kinds = (type(job.protocol.endpoint(plan.endpoint)) for plan in job.plans)
    if TimeToEventEndpoint not in kinds or find_spec("numba") is None:
        return Kernel.NUMPY
    worth = estimated_seconds([job], n_replicates) > _SECONDS_WORTH_COMPILING
    return Kernel.NUMBA if worth else Kernel.NUMPY


def run(
    jobs: Sequence[Job],
    *,
    n_replicates: int,
    seed: int,
    workers: Workers = 1,
    store: Store | None = None,
    on_progress: Progress | None = None,
) -> tuple[Simulation, ...]:
    """Simulate every job.

    Blocks are drawn whole and cut at the end, so more replicates extend a run, and the results do
    not depend on `workers`. Blocks that are in the store are not computed again.

    Parameters
    ----------
    jobs : sequence of Job
    n_replicates : int
        1 to 100,000,000.
    seed : int
        At least 0.
    workers : int, Executor or Cluster
        Processes (1 computes in this one), any executor, or a Dask cluster.
    store : Store, optional
        Where blocks are kept; in memory without.
    on_progress : callable, optional
        Called with work done and work in all, in estimated seconds of one core.

    Raises
    ------
    RequestError
        For numbers out of range, or workers that cannot be used.
    SimulationError
        If workers stop working, a task always kills its worker, or the store cannot be written.
    """
    check_request(n_replicates, seed, workers if isinstance(workers, int) else 1)
    store = store or InMemory()
    tasks = [task for job in jobs for task in _missing(job, n_replicates, seed, store)]
    tasks.sort(key=lambda task: task.first * task.job.block_width)  # a part has some of every job
    work = [_seconds_per_replicate(t.job) * t.job.block_width * t.count for t in tasks]
    sizes, done, total = {id(t): w for t, w in zip(tasks, work, strict=True)}, 0.0, sum(work)
    for task, found in computed(tasks, workers):
        series = [series_of(task.job, truth, seed) for truth in task.job.truths]
        kept = [(own, tuple(results)) for own, results in zip(series, found, strict=True)]
        store.keep(kept, task.first, task.count)
        done += sizes[id(task)]
        if on_progress:
            on_progress(done, total)
    return tuple(
        Simulation(job, Results(store, _series(job, seed), n_replicates), n_replicates, seed)
        for job in jobs
    )


def _series(job: Job, seed: int) -> list[Series]:
    return [series_of(job, truth, seed) for truth in job.truths]


def bytes_needed(jobs: Sequence[Job], n_replicates: int, seed: int, store: Store) -> int:
    """Return the room that what is missing will take."""
    return sum(
        series.bytes_per_replicate
        * series.width
        * (job.n_blocks(n_replicates) - len(store.blocks(series)))
        for job in jobs
        for series in _series(job, seed)
        if len(store.blocks(series)) < job.n_blocks(n_replicates)
    )


def _missing(job: Job, n_replicates: int, seed: int, store: Store) -> Iterator[Task]:
    """Yield tasks for the blocks that are not there.

    Tasks are cut at the same multiples whatever is there, so that the same command makes the same
    chunks; truths that lack the same blocks are computed together, since they share patients.
    """
    n_blocks = job.n_blocks(n_replicates)
    there = [store.blocks(series) for series in _series(job, seed)]
    size = _blocks_per_chunk(job)
    for first in range(0, n_blocks, size):
        cell = range(first, min(first + size, n_blocks))
        lacking: dict[tuple[int, ...], list[int]] = {}
        for index, blocks in enumerate(there):
            if absent := tuple(block for block in cell if block not in blocks):
                lacking.setdefault(absent, []).append(index)
        for absent, indices in lacking.items():
            own = replace(job, truths=tuple(job.truths[index] for index in indices))
            for _, stretch in groupby(enumerate(absent), key=lambda pair: pair[1] - pair[0]):
                blocks_in_a_row = [block for _, block in stretch]
                yield Task(own, seed, blocks_in_a_row[0], len(blocks_in_a_row))


def _blocks_per_chunk(job: Job) -> int:
    """Return how many blocks make a chunk: a power of two, about half a second of work."""
    seconds = _seconds_per_replicate(job) * job.block_width
    size = 1
    while size < 4096 and 2 * size * seconds <= _SECONDS_PER_CHUNK:
        size *= 2
    return size


def check_request(
    n_replicates: int, seed: int, workers: int = 1, option: str = "--replicates"
) -> None:
    """Refuse numbers out of range (RequestError), before any work."""
    if not 1 <= n_replicates <= MAX_REPLICATES:
        raise RequestError(
            Problem(
                f"must be between 1 and {MAX_REPLICATES:,}",
                "10,000 give a share of trials to half a percentage point.",
                option,
                f"{n_replicates:,}",
            )
        )
    if not 0 <= seed < 2**63:
        raise RequestError(
            Problem(
                "must be a whole number from 0 to 2^63 - 1",
                "Use for example 1.",
                "--seed",
                str(seed),
            )
        )
    if not 1 <= workers <= 1024:
        raise RequestError(
            Problem(
                "must be between 1 and 1,024",
                "Use the number of CPU cores.",
                "--workers",
                str(workers),
            )
        )
