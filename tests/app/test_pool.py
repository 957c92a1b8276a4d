"""Who computes what next: quick questions beside long ones, nobody's jobs, bounds."""

from __future__ import annotations

import os
import threading
import time
from argparse import Namespace
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from trialsim.app import pool as module
from trialsim.app import worker
from trialsim.app.pool import BusyError, CancelledError, FailedError, Job, Pool, TooLongError
from trialsim.app.web import _outcome
from trialsim.app.worker import Order


class InThreads:
    """In place of processes: threads, whose jobs wait for gates and return what they were told."""

    Pipe = staticmethod(Pipe)

    def __init__(self):
        self.gates: dict[str, threading.Event] = {}
        self.at_work: list[str] = []

    def Process(self, target, args, daemon):  # noqa: N802 (of multiprocessing)
        del target, daemon
        return InThread(self, args[0])


class InThread:
    def __init__(self, context, pipe):
        self.context, self.pipe = context, Connection(os.dup(pipe.fileno()))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.start, self.join = self.thread.start, self.thread.join
        self.gate, self.ended = threading.Event(), False

    def serve(self):
        try:
            self.pipe.send(("ready",))
            while not self.ended:
                if self.pipe.poll(0.02):
                    self.answer(*self.pipe.recv())
        except (EOFError, OSError):
            pass
        finally:
            self.pipe.close()

    def answer(self, what, order):
        self.gate = self.context.gates[what]
        self.context.at_work.append(what)
        self.gate.wait(10)
        self.context.at_work.remove(what)
        if not self.ended:
            self.pipe.send(("done", order, "" if order else "it failed"))

    def is_alive(self):
        return self.thread.is_alive() and not self.ended

    def terminate(self):
        self.ended = True
        self.gate.set()


@pytest.fixture
def pool():
    found = Pool(processes=2, most_waiting=2, seconds=5)
    found._context = InThreads()
    yield found
    found.close()


def submitted(pool, name, order="told", *, long=False, opened=False):
    pool._context.gates[name] = threading.Event()
    if opened:
        pool._context.gates[name].set()
    return pool.submit(name, order, long=long)


def at_work(pool, *names):
    """Wait until exactly these are at work."""
    until = time.monotonic() + 5
    while sorted(pool._context.at_work) != sorted(names):
        assert time.monotonic() < until, pool._context.at_work
        time.sleep(0.002)


def test_property_a_quick_question_is_answered_however_many_long_ones_wait(pool):
    pool.start()
    submitted(pool, "long", long=True)
    at_work(pool, "long")
    waiting = [submitted(pool, f"long {i}", long=True) for i in (1, 2)]
    with pytest.raises(BusyError):
        submitted(pool, "one long too many", long=True)
    assert submitted(pool, "quick", opened=True).outcome.result(5) == "told"
    assert [job.started for job in waiting] == [None, None]
    at_work(pool, "long")  # one process is kept for what is quick
    pool._context.gates["long"].set()
    at_work(pool, "long 1")  # in the order in which they were asked for


def test_property_quick_questions_are_bounded_too(pool):
    for name in ("one", "two"):  # not started: they wait
        submitted(pool, name)
        submitted(pool, f"{name} long", long=True)
    for long in (False, True):
        with pytest.raises(BusyError):
            submitted(pool, "three", long=long)


def test_property_what_turns_out_long_makes_way_and_is_refused_where_too_many_wait(
    pool, monkeypatch
):
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    pool.start()
    submitted(pool, "long", long=True)
    at_work(pool, "long")
    one = submitted(pool, "longer than thought")
    at_work(pool, "long", "longer than thought")
    waiting = [submitted(pool, f"long {i}", long=True) for i in (1, 2)]
    with pytest.raises(BusyError):
        one.outcome.result(5)
    _, trouble = _outcome(one)
    assert "too many calculations" in trouble.rule
    assert list(pool._waiting) == waiting


def test_property_what_turns_out_long_goes_back_to_the_head_of_the_queue(pool, monkeypatch):
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    pool.start()
    submitted(pool, "long", long=True)
    at_work(pool, "long")
    one = submitted(pool, "longer than thought")
    at_work(pool, "long", "longer than thought")
    other = submitted(pool, "another long", long=True)
    until = time.monotonic() + 5
    while one.started is not None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert one.long
    assert list(pool._waiting) == [one, other]


def test_property_a_job_takes_no_longer_than_is_allowed(pool):
    pool.seconds = 0.1
    pool.start()
    job = submitted(pool, "endless", long=True)
    with pytest.raises(TooLongError):
        job.outcome.result(5)
    assert "took longer" in _outcome(job)[1].rule


def test_property_a_mistake_is_told_and_the_next_job_is_served(pool):
    pool.start()
    with pytest.raises(FailedError, match="it failed"):
        submitted(pool, "failing", "", opened=True).outcome.result(5)
    assert submitted(pool, "next", opened=True).outcome.result(5) == "told"


def test_property_nobody_waits_for_a_job_that_is_not_awaited_and_not_asked_for():
    job = Job("x", None)
    assert not job.is_abandoned
    job.last_asked -= module.ABANDONED_SECONDS + 1
    assert job.is_abandoned
    job.awaited = 1  # a request waits for it right now
    assert not job.is_abandoned
    job.awaited = 0
    job.asked()
    assert not job.is_abandoned


def test_property_abandoned_jobs_make_room(pool):
    left, awaited = submitted(pool, "left"), submitted(pool, "awaited")
    for job in (left, awaited):
        job.last_asked -= module.ABANDONED_SECONDS + 1
    awaited.awaited = 1
    one = submitted(pool, "new")
    assert isinstance(left.outcome.exception(0), CancelledError)
    assert list(pool._waiting) == [awaited, one]


def test_property_what_has_just_begun_is_let_end_and_what_has_not_is_not(pool):
    pool.start()
    submitted(pool, "holds", long=True)
    begun, waits = submitted(pool, "begun"), submitted(pool, "waits", long=True)
    at_work(pool, "holds", "begun")
    for job in (begun, waits):
        job.tabs = {"one"}
        pool.leave(job, "other")
        assert not job.is_over  # the one still waits
        pool.leave(job, "one")
    assert isinstance(waits.outcome.exception(0), CancelledError)
    assert not begun.cancelled
    begun.started -= 2
    pool.leave(begun, "one")
    assert isinstance(begun.outcome.exception(5), CancelledError)


def test_property_a_closed_pool_takes_nothing_and_owes_nothing(pool):
    job = submitted(pool, "waits")
    pool.close()
    assert isinstance(job.outcome.exception(0), CancelledError)
    with pytest.raises(BusyError):
        submitted(pool, "late")


def test_property_a_job_stays_in_its_process(monkeypatch):
    ran = []
    options = Namespace(workers=8, run=lambda given: ran.append(given.workers) or print("{}"))
    monkeypatch.setattr("trialsim.cli.parser.parse", lambda words: options)
    assert worker.answered(Order(("simulate", "sepsis"))).problems == ()
    assert ran == [1]
    without = Namespace(run=lambda given: print(f'{{"has": {int(hasattr(given, "workers"))}}}'))
    monkeypatch.setattr("trialsim.cli.parser.parse", lambda words: without)
    assert worker.answered(Order(("list",))).document == {"has": 0}
