"""Who waits for which calculation: tabs, downloads, nobody."""

from __future__ import annotations

import asyncio

import pytest

from trialsim.app import web
from trialsim.app.answers import Answers
from trialsim.app.files import Files
from trialsim.app.pool import CancelledError, Pool
from trialsim.app.web import make_app
from trialsim.app.worker import Want


@pytest.fixture
def answers(tmp_path):
    """Answers whose jobs wait: the pool is not started."""
    files = Files(tmp_path)
    yield Answers(Pool(), files)
    files.close()


def under_way(answers, *totals, tab=""):
    """Return the jobs of so many sizes, begun or joined."""

    async def begun():
        sizes = (("size", "sepsis", "--total", str(n)) for n in totals)
        return [answers.job(words, "sepsis", Want.NUMBERS, tab) for words in sizes]

    return asyncio.run(begun())


def test_property_what_two_tabs_wait_for_goes_on_when_one_of_them_leaves(answers):
    (job,) = under_way(answers, 400)
    assert under_way(answers, 400) == [job]
    answers.still_waits("one", [job])
    answers.still_waits("other", [job])
    answers.now_waits("one", under_way(answers, 500))
    assert not job.is_over
    answers.cancel("one", job)  # it waits no more: nothing to cancel
    assert not job.is_over
    answers.cancel("other", job)
    assert isinstance(job.outcome.exception(1), CancelledError)


def test_property_a_page_that_was_just_loaded_waits_too(answers):
    (job,) = under_way(answers, 400)
    answers.now_waits("one", [job])
    answers.now_waits("", [job])  # another window, which has not asked how far it is
    answers.now_waits("one", [])
    assert not job.is_over
    answers.cancel("other", job)  # the window cancels before it has asked
    assert job.is_over


def test_property_a_tab_that_goes_on_leaves_all_it_waited_for(answers):
    first = under_way(answers, 400, 402, 404, tab="one")
    answers.now_waits("one", first)
    kept = first[:1]
    answers.now_waits("one", [*kept, *under_way(answers, 500, tab="one")])
    assert [job.is_over for job in first] == [False, True, True]
    assert len(answers.pool._waiting) == 2


def test_regression_a_calculation_is_given_up_when_its_download_is(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "LOOK_UP_SECONDS", 0.01)
    pool = Pool()
    app = make_app(hosts=frozenset({"here"}), working=tmp_path, pool=pool)
    scope = {"type": "http", "method": "GET", "path": "/save/size", "raw_path": b"/save/size"}
    scope |= {"query_string": b"", "headers": [(b"host", b"here")], "http_version": "1.1"}
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 5))
    assert sent[0]["status"] == 499
    assert pool._waiting
    assert not any(job.awaited for job in pool._waiting)


def test_property_an_answer_is_asked_for_once_until_its_file_changes(answers):
    file = answers.files.working / "a.yaml"
    file.write_text("id: a\n")
    words = ("size", "a.yaml")

    async def asked():
        def job(want):
            return answers.job(words, "a.yaml", want)

        dear = job(Want.FIGURES)
        assert job(Want.NUMBERS) is dear  # it covers the cheaper one
        dear.outcome.set_result("found")
        await asyncio.sleep(0.01)
        assert job(Want.NUMBERS).outcome.result(0) == "found"
        file.write_text("id: ab\n")
        changed = job(Want.NUMBERS)
        assert not changed.is_over
        changed.cancelled = True  # its process is being ended
        assert job(Want.NUMBERS) is not changed

    asyncio.run(asked())


def test_property_answers_are_kept_within_bounds_the_last_one_always(answers, monkeypatch):
    monkeypatch.setattr("trialsim.app.answers.MAX_KEPT_BYTES", 15_000)  # of 10,000 each

    async def found():
        for total in (400, 402):
            words = ("size", "sepsis", "--total", str(total))
            answers.job(words, "sepsis", Want.NUMBERS).outcome.set_result(total)
            await asyncio.sleep(0.01)

    asyncio.run(found())
    assert [kept.found for kept in answers._kept.values()] == [402]
    assert not answers.jobs  # what is over is not held a second time
