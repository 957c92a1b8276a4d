"""Warm processes that compute, one job each: bounded, watched, and ended when nobody waits.

A job that is cancelled ends with its process, and another takes its place.
"""

from __future__ import annotations

import multiprocessing
import secrets
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from trialsim.app import worker

__all__ = ["BusyError", "CancelledError", "FailedError", "Job", "Pool", "TooLongError"]


ABANDONED_SECONDS = 20.0
LONG_SECONDS = 2.0  # a job that takes longer is a long one


class BusyError(Exception):
    """So many jobs wait that another is refused."""


class CancelledError(Exception):
    """Somebody cancelled the job."""


class TooLongError(Exception):
    """The job took longer than the page allows."""


class FailedError(Exception):
    """The job's process ended, or a mistake of ours ended it."""


class _BackError(Exception):
    """The job goes back to the queue."""


@dataclass(eq=False)
class Job:
    """One thing to compute, and how far it is."""

    what: str
    order: Any
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    outcome: Future[Any] = field(default_factory=Future)
    tabs: set[str] = field(default_factory=set)
    long: bool = False  # known to be, or found out
    awaited: int = 0  # requests that wait for it right now
    last_asked: float = field(default_factory=time.monotonic)
    started: float | None = None
    share_done: float = 0.0
    cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it has an answer, or will never have one."""
        return self.outcome.done()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody has asked for it for a while: the page was left."""
        return not self.awaited and time.monotonic() - self.last_asked > ABANDONED_SECONDS

    def asked(self) -> None:
        """Note that somebody still wants it."""
        self.last_asked = time.monotonic()


@dataclass
class _Process:
    """A process at work, or waiting for it."""

    job: Job | None = None
    process: Any = None
    pipe: Any = None


class Pool:
    """So many processes, a queue of bounded length, a bounded time for each job.

    Parameters
    ----------
    processes : int
        Two stay under 400 MB with all rooms used; one is then for what is quick.
    most_waiting : int
        Long jobs in the queue, and as many quick ones; the next one of its sort is refused.
    seconds : float
        A job may take.
    """

    def __init__(self, processes: int = 2, most_waiting: int = 120, seconds: float = 300) -> None:
        self.most_waiting, self.seconds = most_waiting, seconds
        if sys.platform == "linux":  # another process is there at once, its memory shared
            self._context: Any = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload([f"{__package__}.warm"])
        else:  # libraries of macOS do not outlive a fork
            self._context = multiprocessing.get_context("spawn")
        self._waiting: deque[Job] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._ready = threading.Event()
        self._at_work = [_Process() for _ in range(processes)]
        self._threads = [
            threading.Thread(target=self._run, args=(own,), daemon=True) for own in self._at_work
        ]

    def start(self) -> None:
        """Start the processes; `wait_until_ready` says when the first can compute."""
        for thread in self._threads:
            thread.start()

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait for the first process; whether it is there."""
        return self._ready.wait(seconds)

    def submit(self, what: str, order: Any, tab: str = "", *, long: bool = False) -> Job:
        """Put a job into the queue.

        Parameters
        ----------
        what : str
            "answer" for an order of the command line, or the dotted name of a function of one
            argument.
        order : object
            Travels to the process.
        tab : str
            Who waits for it.
        long : bool
            It takes some time; one process is kept for those that do not. One that turns out to
            be long, and holds the last process, goes back to the queue.

        Raises
        ------
        BusyError
            If too many of its sort wait: however many are long, what is quick gets its turn.
        """
        job = Job(what, order, tabs={tab}, long=long)
        with self._wake:
            self._forget_abandoned()
            if self._is_full(long=long) or self._closed:
                raise BusyError
            self._waiting.append(job)
            self._wake.notify()
        return job

    def _is_full(self, *, long: bool) -> bool:
        return sum(job.long is long for job in self._waiting) >= self.most_waiting

    def _forget_abandoned(self) -> None:
        for job in [job for job in self._waiting if job.is_abandoned]:
            self._waiting.remove(job)
            job.outcome.set_exception(CancelledError())

    def leave(self, job: Job, tab: str) -> None:
        """Say that a tab no longer waits; a job that nobody waits for is cancelled."""
        job.tabs.discard(tab)
        running = job.started is not None and time.monotonic() - job.started < 1
        if not job.tabs and not running:  # what has just begun is nearly done
            self.cancel(job)

    def cancel(self, job: Job) -> None:
        """End a job, whether it waits or is at work."""
        with self._wake:
            if job.is_over:
                return
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
                job.outcome.set_exception(CancelledError())
                return
            for own in self._at_work:
                if own.job is job and (process := own.process):
                    process.terminate()

    def close(self) -> None:
        """End all processes."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
            for job in self._waiting:
                job.outcome.set_exception(CancelledError())
            self._waiting.clear()
        for own in self._at_work:
            if process := own.process:
                process.terminate()

    def _run(self, own: _Process) -> None:
        while not self._closed:
            alive = own.process is not None and own.process.is_alive()
            if not alive and not self._started(own):
                continue
            with self._wake:
                while (job := self._next()) is None and not self._closed:
                    self._wake.wait()
                if job is None:
                    break
                own.job = job
                job.started = time.monotonic()
            error, found = self._computed(own, job)
            if isinstance(error, _BackError):
                self._back(own, job)
                continue
            with self._wake:
                own.job = None
                self._wake.notify()  # a long one may begin now
            if error:
                job.outcome.set_exception(error)
            else:
                job.outcome.set_result(found)
        if process := own.process:  # begun while the pool was closed
            process.terminate()

    def _back(self, own: _Process, job: Job) -> None:
        """Put a job that turned out to be long at the head of the queue, if that has room."""
        with self._wake:
            own.job = job.started = None
            full = self._is_full(long=True)
            if not full:
                self._waiting.appendleft(job)
            self._wake.notify()
        if full:
            job.outcome.set_exception(BusyError())

    def _is_too_many(self, job: Job) -> bool:
        """Whether a job turns out to be long, and leaves no process for those that are not."""
        if job.long or job.started is None or time.monotonic() - job.started < LONG_SECONDS:
            return False
        with self._wake:
            job.long = True
            return sum(own.job is not None and own.job.long for own in self._at_work) > self._most

    @property
    def _most(self) -> int:
        """Long jobs that may be at work together."""
        return max(1, len(self._at_work) - 1)

    def _next(self) -> Job | None:
        """Return the first job that may begin, and take it out of the queue."""
        long = sum(own.job is not None and own.job.long for own in self._at_work)
        full = long >= self._most
        self._forget_abandoned()
        found = next((job for job in self._waiting if not (job.long and full)), None)
        if found:
            self._waiting.remove(found)
        return found

    def _started(self, own: _Process) -> bool:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker.serve, args=(theirs,), daemon=True)
        try:
            process.start()
            theirs.close()
            own.process, own.pipe = process, ours  # one that is not started cannot be ended
            ours.recv()  # ready
        except (EOFError, OSError):
            time.sleep(0.2)
            own.process = None
            return False
        self._ready.set()
        return True

    def _computed(self, own: _Process, job: Job) -> tuple[Exception | None, Any]:
        until, process = time.monotonic() + self.seconds, own.process
        try:
            own.pipe.send((job.what, job.order))
            while not job.is_abandoned and time.monotonic() < until:
                if not own.pipe.poll(0.5):
                    if self._is_too_many(job):
                        break
                    continue
                match own.pipe.recv():
                    case ("progress", done, total):
                        job.share_done = done / total if total else 0.0
                    case ("done", found, trouble):
                        return (FailedError(trouble), None) if trouble else (None, found)
        except (EOFError, OSError):
            own.process = None
            process.join(1)
            return (CancelledError() if job.cancelled else FailedError("its process ended")), None
        own.process = None
        process.terminate()
        process.join(1)
        if job.is_abandoned:
            return CancelledError(), None
        return (TooLongError() if time.monotonic() >= until else _BackError()), None
