"""Who computes: this process, processes of its own, any executor, or a Dask cluster.

Each takes the same tasks and gives the same bytes, in whatever order they come ready. A worker
that dies costs the tasks in flight, which are computed again; a task that always takes its worker
with it is named, scenario and block, after a bounded number of tries.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from trialsim.engine.blocks import Found, Job, simulate_chunk
from trialsim.errors import Problem, RequestError, SimulationError
from trialsim.trial import LookResults

__all__ = ["Cluster", "Task", "Workers", "computed", "each_by_processes"]

Given = TypeVar("Given")
Answer = TypeVar("Answer")

_DEATHS_IN_COMPANY = 2  # of a task, before it is computed alone
_DEATHS_ALONE = 3  # before it is given up
_IN_FLIGHT = 64  # tasks given to an executor of unknown size
_SECONDS_WITHOUT_WORKERS = 60.0  # a cluster may be restarting them
_RESUME = "What is done is kept where the run has a folder: the same command goes on from there."
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_MOST_WINDOWS_WORKERS = 61  # the system waits for no more at once
_PARCEL = "trialsim-found-"
_NO_MAIN_GUARD = 117  # exit status of a process that would start processes while being started


@dataclass(frozen=True)
class Cluster:
    """A dask.distributed cluster that is running.

    Attributes
    ----------
    address : str
        Of its scheduler: ``tcp://127.0.0.1:8786``.
    """

    address: str


Workers = int | Executor | Cluster
"""Processes of our own (1 computes in this one), any executor, or a cluster."""


@dataclass(frozen=True)
class Task:
    """Whole blocks of one job, `count` of them from `first` on."""

    job: Job
    seed: int
    first: int
    count: int

    def pieces(self) -> Iterator[Task]:
        """Yield one block under one truth at a time."""
        for truth in self.job.truths:
            for block in range(self.first, self.first + self.count):
                yield Task(replace(self.job, truths=(truth,)), self.seed, block, 1)

    def __str__(self) -> str:
        scenarios = ", ".join(truth.scenario for truth in self.job.truths)
        blocks = f"block {self.first}"
        if self.count > 1:
            blocks = f"blocks {self.first} to {self.first + self.count - 1}"
        trial = f" of {self.job.unit}" if self.job.unit else ""
        return f"scenario {scenarios}{trial}, {blocks}"


class _DiedError(Exception):
    """Whoever computed a task died over it."""


def computed(tasks: Iterable[Task], workers: Workers) -> Iterator[tuple[Task, Found]]:
    """Compute tasks; yield each with its results as they come ready.

    Raises
    ------
    RequestError
        If the workers cannot be used at all.
    SimulationError
        If they stop working, or a task always kills its worker.
    """
    match workers:
        case 1:
            return ((task, _compute(task)) for task in tasks)
        case int():
            return _by_processes(tasks, workers)
        case Cluster():
            return _by_cluster(tasks, workers)
        case _:
            return _by_executor(tasks, workers, _IN_FLIGHT, lambda: "")


def _compute(task: Task) -> Found:
    return simulate_chunk(task.job, task.seed, task.first, task.count)


def _by_pieces(task: Task, compute: Callable[[Task], Found]) -> Found:
    """Compute a task one truth and one block at a time, to learn which of them kills."""
    found: list[list[Found]] = [[] for _ in task.job.truths]
    for number, piece in enumerate(task.pieces()):
        try:
            found[number // task.count].append(compute(piece))
        except _DiedError:
            raise SimulationError(
                Problem(
                    "always ends the process that computes it",
                    "If memory ran out, use fewer workers or fewer patients; else please report "
                    f"it. {_RESUME}",
                    str(piece),
                )
            ) from None
    return [
        [
            LookResults.joined([block[0][plan] for block in blocks])
            for plan in range(len(blocks[0][0]))
        ]
        for blocks in found
    ]


# -- processes of our own ----------------------------------------------------------------------


def _by_processes(tasks: Iterable[Task], n: int) -> Iterator[tuple[Task, Found]]:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_NO_MAIN_GUARD)  # being started by a script without a main guard: stop it here
    waiting, deaths, any_done = deque(tasks), Counter[int](), False
    with _one_blas_thread(), _folder_for_parcels() as folder:
        while waiting:
            flying: dict[Future[_Parcel], Task] = {}
            try:
                for done in _by_one_pool(waiting, flying, n, folder):
                    any_done = True
                    yield done
            except BrokenProcessPool:
                pass  # what it took with it is told below
            if flying and not any_done:
                _check_main_guard()
            for future, task in flying.items():  # what the pool took with it
                if future.done() and not future.cancelled() and not future.exception():
                    yield task, future.result()()
                    continue
                deaths[id(task)] += 1
                if deaths[id(task)] < _DEATHS_IN_COMPANY:
                    waiting.appendleft(task)
                else:
                    yield task, _whole_or_by_pieces(task, folder)


def _by_one_pool(
    waiting: deque[Task], flying: dict[Future[_Parcel], Task], n: int, folder: str
) -> Iterator[tuple[Task, Found]]:
    """Compute what waits until it is done or the pool breaks, which leaves some in `flying`."""
    with _pool(n, folder) as pool:
        with _interrupts_ignored():  # processes are started with the first task
            flying[pool.submit(_packed, waiting[0], folder)] = waiting[0]
        waiting.popleft()
        while waiting or flying:
            while waiting and len(flying) < 2 * n:
                flying[pool.submit(_packed, waiting[0], folder)] = waiting[0]
                waiting.popleft()
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                found = future.result()()
                yield flying.pop(future), found


def each_by_processes(
    function: Callable[[Given], Answer], arguments: Sequence[Given], n: int
) -> Iterator[tuple[int, Answer]]:
    """Call a module-level function for each argument; yield (which, answer) as they come ready.

    A process that dies costs what was in flight, which is called again in a new one.

    Raises
    ------
    SimulationError
        If processes die again and again.
    """
    if n == 1:
        yield from ((i, function(argument)) for i, argument in enumerate(arguments))
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_NO_MAIN_GUARD)
    waiting, any_done = dict(enumerate(arguments)), False
    with _one_blas_thread(), _folder_for_parcels() as folder:
        for _ in range(_DEATHS_ALONE):
            try:
                with _pool(n, folder) as pool:
                    with _interrupts_ignored():
                        flying = {pool.submit(function, a): i for i, a in waiting.items()}
                    for future in as_completed(flying):
                        answer = future.result()
                        del waiting[flying[future]]
                        any_done = True
                        yield flying[future], answer
                return
            except BrokenProcessPool:
                if not any_done:
                    _check_main_guard()
    raise _stopped("processes died again and again")


def _whole_or_by_pieces(task: Task, folder: str) -> Found:
    """Compute a suspect alone; cut it up only where it really kills."""
    try:
        return _alone(task, folder)
    except _DiedError:
        return _by_pieces(task, partial(_alone, folder=folder))


def _alone(task: Task, folder: str) -> Found:
    """Compute a task in a process of its own, again where that dies."""
    for _ in range(_DEATHS_ALONE):
        with _pool(1, folder) as pool:
            try:
                with _interrupts_ignored():
                    future = pool.submit(_packed, task, folder)
                return future.result()()
            except BrokenProcessPool:
                continue
    raise _DiedError


@dataclass(frozen=True)
class _Parcel:
    """What a worker found, left in a file, or why it could not be; called, it gives it.

    Whoever reads half a result from a pipe waits for the rest for ever if its writer was killed. A
    message this short is written at once or not at all.
    """

    path: Path | None
    trouble: str = ""

    def __call__(self) -> Found:
        if self.path is None:
            raise _no_room(self.trouble)
        with self.path.open("rb") as file:
            found: Found = pickle.load(file)  # noqa: S301  our own worker's, in our own folder
        self.path.unlink()
        return found


def _packed(task: Task, folder: str) -> _Parcel:
    found = _compute(task)
    try:
        handle, path = tempfile.mkstemp(prefix=_PARCEL, dir=folder)
        with os.fdopen(handle, "wb") as file:
            pickle.dump(found, file, pickle.HIGHEST_PROTOCOL)
    except OSError as error:
        return _Parcel(None, error.strerror or type(error).__name__)
    return _Parcel(Path(path))


def _no_room(why: str) -> SimulationError:
    rule = f"cannot take what workers found: {why}"
    remedy = f"Make room there, or name another folder in TMPDIR. {_RESUME}"
    return SimulationError(Problem(rule, remedy, "the temporary folder"))


@contextmanager
def _folder_for_parcels() -> Iterator[str]:
    try:
        made = tempfile.TemporaryDirectory(prefix="trialsim-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(error.strerror or str(error)) from None
    with made as folder:
        yield folder


@contextmanager
def _pool(n: int, folder: str) -> Iterator[ProcessPoolExecutor]:
    """Give processes that end with their use; left early, they are stopped in their work.

    They are waited for: Python 3.11, ending while a pool is still being closed, may write to its
    closed pipe and print a traceback.
    """
    most = min(n, _MOST_WINDOWS_WORKERS) if sys.platform == "win32" else n
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(most, spawn, _start_worker, (folder,))
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            with suppress(AttributeError, OSError, ValueError):  # gone, or not quite there
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; processes started meanwhile ignore it for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _remove_parcels(folder: Path) -> None:
    """Remove what no driver will fetch; other workers do the same at the same time."""
    for _ in range(10):  # one may be handed over meanwhile
        with suppress(OSError):  # gone under our hands
            for parcel in list(folder.glob(f"{_PARCEL}*")):
                parcel.unlink(missing_ok=True)
            folder.rmdir()
        if not folder.exists():
            return


def _start_worker(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    driver = multiprocessing.parent_process()
    assert driver is not None

    def leave_with_the_driver() -> None:
        driver.join()
        try:
            _remove_parcels(Path(folder))
        finally:
            os._exit(1)  # it was killed, and cannot say so

    threading.Thread(target=leave_with_the_driver, daemon=True).start()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Have processes started meanwhile use one thread each."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_main_guard() -> None:
    """Refuse a script that starts processes whenever it is read (RequestError)."""
    probe = multiprocessing.get_context("spawn").Process(target=_nothing)
    probe.start()
    probe.join()
    if probe.exitcode:
        raise RequestError(
            Problem(
                "needs a script that can be read without running it: each process reads it first",
                "Put what it does, in a file, under: if __name__ == '__main__':  Or use workers=1.",
                "workers",
            )
        )


def _nothing() -> None:
    """Be started."""


# -- executors of others -----------------------------------------------------------------------


def _by_executor(
    tasks: Iterable[Task],
    executor: Executor,
    at_once: int,
    trouble: Callable[[], str],
    died: tuple[type[BaseException], ...] = (),
) -> Iterator[tuple[Task, Found]]:
    """Keep `at_once` tasks with an executor.

    Parameters
    ----------
    trouble : callable
        What is wrong with it, asked while nothing comes; empty for nothing.
    died : tuple of exception types
        What it raises when a task has taken its workers with it.
    """

    def alone(task: Task) -> Found:
        try:
            return _awaited(_submitted(executor, task), trouble)
        except died:
            raise _DiedError from None

    waiting, flying = deque(tasks), dict[Future[Found], Task]()
    try:
        while waiting or flying:
            while waiting and len(flying) < at_once:
                flying[_submitted(executor, waiting[0])] = waiting[0]
                waiting.popleft()
            done = wait(flying, timeout=1.0, return_when=FIRST_COMPLETED).done
            if not done:
                _check(trouble)
            for future in done:
                task = flying[future]
                try:
                    found = future.result()
                except died:
                    found = _by_pieces(task, alone)
                del flying[future]
                yield task, found
    except (BrokenExecutor, CancelledError) as error:
        raise _stopped(trouble() or str(error) or type(error).__name__) from None
    finally:
        for future in flying:
            future.cancel()


def _submitted(executor: Executor, task: Task) -> Future[Found]:
    try:
        return executor.submit(_compute, task)
    except RuntimeError as error:  # shut down, or its processes are gone
        raise _stopped(str(error)) from None


def _awaited(future: Future[Found], trouble: Callable[[], str]) -> Found:
    while not wait([future], timeout=1.0).done:
        _check(trouble)
    return future.result()


def _check(trouble: Callable[[], str]) -> None:
    if words := trouble():
        raise _stopped(words)


def _stopped(why: str) -> SimulationError:
    return SimulationError(Problem(f"stopped working: {why}", _RESUME, "the workers"))


def _by_cluster(tasks: Iterable[Task], cluster: Cluster) -> Iterator[tuple[Task, Found]]:
    tasks = tuple(tasks)
    with _connected(cluster) as client:
        _check_versions(client, cluster, tasks)
        at_once = max(4, 2 * sum(client.nthreads().values()))
        executor = client.get_executor(pure=False, retries=2)
        yield from _by_executor(tasks, executor, at_once, _watch(client), _killed())


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise RequestError(
            Problem(
                "needs dask.distributed, which is not installed",
                "Install it with: pip install 'trialsim[dask]'",
                "--cluster",
                cluster.address,
            )
        ) from None
    for name in [n for n in logging.root.manager.loggerDict if n.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # faults are told in a sentence
    if not re.fullmatch(r"(tcp|tls|ucx|ws|wss)://\[?[^\s/]+\]?:[0-9]{1,5}/?", cluster.address):
        raise _no_cluster(cluster, "is not an address such as tcp://127.0.0.1:8786")
    client = None
    try:
        client = distributed.Client(cluster.address, timeout="10s", set_as_default=False)
        client.wait_for_workers(1, timeout=_SECONDS_WITHOUT_WORKERS)
    except (OSError, ValueError, TimeoutError) as error:
        if client is not None:
            client.close(timeout=2)
        raise _no_cluster(cluster, f"cannot be used: {str(error).splitlines()[0]}") from None
    try:
        yield client
    finally:
        client.close(timeout=2)


def _no_cluster(cluster: Cluster, rule: str) -> RequestError:
    remedy = (
        "Start one with 'dask scheduler' and 'dask worker tcp://HOST:8786', and give the "
        "scheduler's address."
    )
    return RequestError(Problem(rule, remedy, "--cluster", cluster.address))


def _check_versions(client: Any, cluster: Cluster, tasks: Iterable[Task]) -> None:
    """Refuse workers that would give other bytes (RequestError)."""
    kernels = {task.job.kernel.value for task in tasks}
    here = _versions(kernels)
    for worker, answer in client.run(_versions, kernels, on_error="return").items():
        there = answer if isinstance(answer, dict) else {}  # no trialsim to answer with
        differing = [
            f"{name} {there.get(name)}, here {version}"
            for name, version in here.items()
            if there.get(name) != version
        ]
        if differing:
            raise RequestError(
                Problem(
                    f"has a worker with other versions ({worker}): {'; '.join(differing)}",
                    "Install the same versions there: the answer must not depend on where it is "
                    "computed.",
                    "--cluster",
                    cluster.address,
                )
            )


def _versions(kernels: set[str]) -> dict[str, str | None]:
    """Return versions that can change a number, of this process."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {"python": platform.python_version()}
    if "numba" in kernels:  # compiled for the processor, sums may differ in the last digit
        try:
            found["processor"] = import_module("llvmlite.binding").get_host_cpu_name()
        except ImportError:
            found["processor"] = None
    for name in ("trialsim", "scipy", "numpy", *kernels):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _killed() -> tuple[type[BaseException], ...]:
    return (import_module("distributed.scheduler").KilledWorker,)


def _watch(client: Any) -> Callable[[], str]:
    """Return what tells whether the cluster can still answer."""
    last_seen = time.monotonic()

    def trouble() -> str:
        nonlocal last_seen
        if client.status != "running":
            return "the scheduler does not answer"
        info: dict[str, Any] = client.scheduler_info()
        if info.get("workers"):
            last_seen = time.monotonic()
        if time.monotonic() - last_seen > _SECONDS_WITHOUT_WORKERS:
            return f"no worker for {_SECONDS_WITHOUT_WORKERS:.0f} s"
        return ""

    return trouble
