"""Words -> answer: kept from before, under way already, or asked for now."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from trialsim.app.about import About
from trialsim.app.files import Files, is_lesson
from trialsim.app.pool import LONG_SECONDS, Job, Pool
from trialsim.app.worker import Answer, Drawn, Order, Want
from trialsim.errors import Problem, RequestError

__all__ = ["Answers", "without_files"]

_ORDER = tuple(Want)
_WRITING = {"--out", "--export", "--evidence", "--docx", "--markdown", "--figures", "--cluster"}
_NAMING = {"--conduct", "--literature", "--conflict"}  # an id, or a file
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
MAX_KEPT_BYTES = 64_000_000
MAX_TABS = 50  # that are known to wait: their jobs hold answers


@dataclass(frozen=True)
class _Kept:
    found: Any
    size: int


class Answers:
    """What was computed in this session, by the words that ask for it.

    A want that is covered by a dearer one is not computed again, and what is under way is joined.
    """

    def __init__(self, pool: Pool, files: Files) -> None:
        self.pool, self.files = pool, files
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self._kept: OrderedDict[Any, _Kept] = OrderedDict()
        self._under_way: dict[Any, Job] = {}
        self._of_tab: dict[str, frozenset[Job]] = {}
        self._bytes = 0
        self._slow: set[tuple[str, str, bool]] = set()

    def job(
        self,
        words: tuple[str, ...],
        template: str,
        want: Want,
        tab: str = "",
        *,
        long: bool = False,
    ) -> Job:
        """Return the job that answers a command, begun if need be.

        Parameters
        ----------
        words : tuple of str
            Of the command line; the word `template` among them is looked up first.
        template : str
            As the address names it; "" for a command without one.

        Raises
        ------
        RequestError
            For a template that may not be read.
        BusyError
            If too many jobs wait.
        """
        if not is_lesson(template):  # the commands of a lesson are ours, word for word
            _refuse_files(words)
        named, folder = self.files.named(words, template)
        version = self.files.version(template) if template else ""
        order = Order(named, want, folder)
        for dearer in _ORDER[_ORDER.index(want) :]:
            key = (named, version, dearer)
            if found := self._known(key):
                return found
        pace = (words[0], template, long)
        slow = long or pace in self._slow
        job = self._begun((named, version, want), "answer", order, tab, long=slow)
        job.outcome.add_done_callback(lambda _: self._paced(pace, job))
        return job

    def about(self, template: str) -> Job:
        """Return the job that reads a protocol for its form.

        Raises
        ------
        RequestError, BusyError
        """
        word, _ = self.files.word(template)
        key = ("about", word, self.files.version(template))
        known = self._known(key)
        return known or self._begun(key, "trialsim.app.about.about_template", word, "")

    def drawing(self, worker: str, order: object) -> Job:
        """Return the job that draws a figure of several answers.

        Raises
        ------
        BusyError
        """
        key = (worker, order)
        return self._known(key) or self._begun(key, worker, order, "")

    def _known(self, key: Any) -> Job | None:
        if kept := self._kept.get(key):
            self._kept.move_to_end(key)
            job = Job("kept", None)
            job.outcome.set_result(kept.found)
            return job
        under_way = self._under_way.get(key)
        if under_way is None or under_way.cancelled:
            return None
        under_way.asked()
        return under_way

    def _begun(self, key: Any, what: str, order: Any, tab: str, *, long: bool = False) -> Job:
        job = self.pool.submit(what, order, tab, long=long)
        self._under_way[key] = job
        self.jobs[job.id] = job
        while len(self.jobs) > 500:
            self.jobs.popitem(last=False)
        loop = asyncio.get_running_loop()

        def over(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: the page is being ended
                loop.call_soon_threadsafe(self._over, key, job)

        job.outcome.add_done_callback(over)
        return job

    def _paced(self, pace: tuple[str, str, bool], job: Job) -> None:
        """Remember whether a command on a protocol is a long one."""
        took = time.monotonic() - job.started if job.started else 0.0
        (self._slow.add if took > LONG_SECONDS else self._slow.discard)(pace)

    def _over(self, key: Any, job: Job) -> None:
        self.jobs.pop(job.id, None)  # what is not known is over; it would hold the answer
        if self._under_way.get(key) is job:
            del self._under_way[key]
        if job.outcome.exception() is not None:
            return
        found = job.outcome.result()
        size = _bytes(found)
        self._kept[key] = _Kept(found, size)
        self._bytes += size
        while self._bytes > MAX_KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    def now_waits(self, tab: str, jobs: Iterable[Job]) -> None:
        """Note that a tab waits for these jobs alone; what nobody waits for ends.

        A page that was just loaded, or has no JavaScript, is the tab "": it only stops asking.
        """
        now = frozenset(job for job in jobs if not job.is_over)
        for job in now:
            job.tabs.add(tab)
        if not tab:
            return
        before = self._of_tab.pop(tab, frozenset())
        self._of_tab[tab] = now
        while len(self._of_tab) > MAX_TABS:
            del self._of_tab[next(iter(self._of_tab))]
        for job in before - now:
            self.pool.leave(job, tab)

    def still_waits(self, tab: str, jobs: Iterable[Job]) -> None:
        """Note that a tab asks how far jobs are; the page it loaded now has a name."""
        asked = frozenset(jobs)
        for job in asked:
            job.asked()
            if tab:
                job.tabs.discard("")
                job.tabs.add(tab)
        if tab:
            self._of_tab.setdefault(tab, asked)

    def cancel(self, tab: str, job: Job) -> None:
        """End a job for a tab; where another waits for it, it goes on."""
        job.tabs.discard(tab if tab in job.tabs else "")
        if not job.tabs:
            self.pool.cancel(job)


def _bytes(found: Any) -> int:
    if isinstance(found, Answer):
        drawn = sum(_drawn_bytes(f) for f in found.figures.values())
        return 4 * len(found.json_text) + len(found.csv_text) + drawn
    if isinstance(found, Drawn):
        return _drawn_bytes(found)
    return 10_000


def _drawn_bytes(drawn: Drawn) -> int:
    return len(drawn.svg) + len(drawn.png) + 3 * len(drawn.csv)


def _refuse_files(words: tuple[str, ...]) -> None:
    """Refuse words that would read or write a file of their own.

    Raises
    ------
    RequestError
    """
    for i, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in _WRITING:
            rule, remedy = "is not for the page", "Use it on the command line."
            raise RequestError(Problem(rule, remedy, name))
        if name in _NAMING:
            value = value or "".join(words[i + 1 : i + 2])
            if not _ID.fullmatch(value):
                rule, remedy = "must be the id of a shipped file", "Choose one of the list."
                raise RequestError(Problem(rule, remedy, name, value[:80]))


def without_files(about: About, shown: str) -> About:
    """Name the file of problems as its owner does."""
    return replace(about, problems=tuple(replace(p, file=shown) for p in about.problems))
