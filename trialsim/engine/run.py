"""Jobs -> simulations, on one process or several, with the same bytes either way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.util import find_spec

from trialsim.engine.blocks import Job, simulate_block
from trialsim.errors import Problem, RequestError, SimulationError
from trialsim.protocol.design import TimeToEventEndpoint
from trialsim.trial import Kernel, LookResults, Path

__all__ = [
    "MAX_REPLICATES",
    "Simulation",
    "check_kernel",
    "check_request",
    "cpus_available",
    "estimated_seconds",
    "kernel_for",
    "run",
]

MAX_REPLICATES = 1_000_000
_SECONDS_PER_PATIENT = 40e-9  # measured: sepsis, six scenarios, one core; see docs/performance.md
_SECONDS_PER_TABLE = 1e-6  # analysis of one simulated trial
_SECONDS_PER_COUNTS = 2e-6  # the same, without patients
_SECONDS_PER_PATIENT_LOOK = {Kernel.NUMPY: 600e-9, Kernel.NUMBA: 15e-9}  # time to an event
_SECONDS_WORTH_COMPILING = 5.0

Progress = Callable[[int, int], None]
Found = list[list[LookResults]]  # of one block: per truth, one result per plan


@dataclass(frozen=True)
class Simulation:
    """The results of one job.

    Attributes
    ----------
    job : Job
    results : tuple of tuple of LookResults
        Per truth of the job, one per plan; arrays of shape (n_replicates, n_looks).
    n_replicates, seed : int
    """

    job: Job
    results: tuple[tuple[LookResults, ...], ...]
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
    if isinstance(job.protocol.primary, TimeToEventEndpoint):
        return patients + n * n_truths * n_looks * _SECONDS_PER_PATIENT_LOOK[job.kernel]
    return patients + n_truths * n_looks * _SECONDS_PER_TABLE


def check_kernel(kernel: Kernel) -> None:
    """Refuse a kernel that is not installed (RequestError)."""
    if kernel is Kernel.NUMBA and find_spec("numba") is None:
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
    if not isinstance(job.protocol.primary, TimeToEventEndpoint) or find_spec("numba") is None:
        return Kernel.NUMPY
    worth = estimated_seconds([job], n_replicates) > _SECONDS_WORTH_COMPILING
    return Kernel.NUMBA if worth else Kernel.NUMPY


def run(
    jobs: Sequence[Job],
    *,
    n_replicates: int,
    seed: int,
    workers: int = 1,
    on_progress: Progress | None = None,
) -> tuple[Simulation, ...]:
    """Simulate every job.

    Blocks are drawn whole and cut at the end, so more replicates extend a run, and the results do
    not depend on `workers`.

    Parameters
    ----------
    jobs : sequence of Job
    n_replicates : int
        1 to 1,000,000.
    seed : int
        At least 0.
    workers : int
        Processes; 1 computes in this one.
    on_progress : callable, optional
        Called with blocks done and blocks in all.

    Raises
    ------
    RequestError
        For numbers out of range.
    SimulationError
        If a worker process dies.
    """
    check_request(n_replicates, seed, workers)
    tasks = [
        (index, block)
        for index, job in enumerate(jobs)
        for block in range(job.n_blocks(n_replicates))
    ]
    parts: list[list[Found]] = [[] for _ in jobs]
    for done, ((index, _), found) in enumerate(
        zip(tasks, _computed(tuple(jobs), seed, tasks, workers), strict=True), start=1
    ):
        parts[index].append(found)
        if on_progress:
            on_progress(done, len(tasks))
    return tuple(
        Simulation(job, _joined(job, blocks, n_replicates), n_replicates, seed)
        for job, blocks in zip(jobs, parts, strict=True)
    )


def _joined(
    job: Job, blocks: list[Found], n_replicates: int
) -> tuple[tuple[LookResults, ...], ...]:
    return tuple(
        tuple(
            LookResults.joined([block[truth][plan] for block in blocks]).first(n_replicates)
            for plan in range(len(job.plans))
        )
        for truth in range(len(job.truths))
    )


def check_request(n_replicates: int, seed: int, workers: int = 1) -> None:
    """Refuse numbers out of range (RequestError), before any work."""
    if not 1 <= n_replicates <= MAX_REPLICATES:
        raise RequestError(
            Problem(
                f"must be between 1 and {MAX_REPLICATES:,}",
                "10,000 give a power to half a percentage point.",
                "--replicates",
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


_jobs_of_this_worker: tuple[tuple[Job, ...], int] = ((), 0)


def _start_worker(jobs: tuple[Job, ...], seed: int) -> None:
    global _jobs_of_this_worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _jobs_of_this_worker = jobs, seed


def _work(task: tuple[int, int]) -> Found:
    jobs, seed = _jobs_of_this_worker
    return simulate_block(jobs[task[0]], seed, task[1])


def _computed(
    jobs: tuple[Job, ...], seed: int, tasks: list[tuple[int, int]], workers: int
) -> Iterator[Found]:
    """Yield the result of every task, in the order of the tasks."""
    if workers == 1:
        yield from (simulate_block(jobs[index], seed, block) for index, block in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (jobs, seed)) as pool:
        try:
            yield from pool.map(_work, tasks)
        except BrokenProcessPool:
            raise SimulationError(
                Problem(
                    "a worker process died",
                    "Run again with --workers 1; if memory ran out, use fewer workers.",
                )
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
