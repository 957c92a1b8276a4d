"""The local page where it takes longer: a killed program, a job too long, every template."""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.conftest import chromium as chromium
from app.conftest import ended, started
from app.conftest import page as page
from app.conftest import visitor as visitor
from app.test_in_browser import expect, lesson_walked_twice, serious
from app.test_rooms import number, shown
from conftest import trialsim as trialsim
from trialsim.app import offline
from trialsim.app.pool import Pool, TooLongError
from trialsim.app.rooms.lessons import LESSONS
from trialsim.app.worker import Order
from trialsim.protocol.reading.places import lessons_folder, template_paths


def test_regression_a_job_that_takes_too_long_is_ended():

    pool = Pool(processes=1, seconds=0.5)
    pool.start()
    try:
        job = pool.submit("answer", Order(("size", "chb-combination")))
        assert isinstance(job.outcome.exception(30), TooLongError)
        quick = pool.submit("trialsim.app.about.about_template", "sepsis")
        assert quick.outcome.result(30).id == "sepsis"  # another process took its place
    finally:
        pool.close()


def test_regression_a_killed_program_is_said_and_started_again(visitor, tmp_path, request):
    own = started(tmp_path)
    request.addfinalizer(lambda: ended(own))
    tab = visitor().tab
    tab.goto(f"{own.address}/size")
    expect(tab.locator("#n-total")).to_have_text("4,602")
    tab.goto(f"{own.address}/size?template=chb-combination")  # a long job is under way
    expect(tab.get_by_role("progressbar")).to_be_visible()
    tab.goto(f"{own.address}/size")
    expect(tab.locator("#n-total")).to_have_text("4,602")
    below = descendants(own.process.pid)
    assert below
    own.process.kill()
    own.process.wait(20)
    tab.locator("[data-slides=f-power]").press("ArrowRight")
    expect(tab.get_by_text("The program no longer answers")).to_be_visible()
    until = time.monotonic() + 30
    while any(at_work(pid) for pid in below):
        assert time.monotonic() < until  # none of its processes outlives it
        time.sleep(0.2)
    again = started(tmp_path, own.host.split(":")[1])
    request.addfinalizer(lambda: ended(again))
    tab.get_by_role("button", name="Calculate").click()
    expect(tab.locator("#n-total")).to_have_text("4,722")
    expect(tab.get_by_text("The program no longer answers")).to_be_hidden()


def descendants(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # each thread has its own
    own = [int(child) for task in tasks for child in task.read_text().split()]
    return own + [further for child in own for further in descendants(child)]


def at_work(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_property_of_twenty_users_none_is_lost(page):
    with ThreadPoolExecutor(20) as users:
        totals = range(400, 1200, 20)
        texts = list(users.map(lambda n: shown(page, "size", {"total": str(n)}), totals))
    assert [number(text, "n-total") for text in texts] == list(totals)


def test_property_the_slider_of_followup_answers_at_once(page):
    shown(page, "followup", {})
    took = []
    for tenth in range(0, 360, 12):
        began = time.monotonic()
        query = {"horizon": f"{tenth / 10:g}", "part": "answer"}
        answer = httpx.get(f"{page.address}/followup", params=query, timeout=60)
        took.append(time.monotonic() - began)
        assert 'id="power"' in answer.text
    assert sorted(took)[int(0.95 * len(took))] < 0.3


@pytest.mark.parametrize("template", template_paths())
def test_property_followup_answers_for_every_template_or_says_why_not(page, template):
    text = shown(page, "followup", {"template": template}, patience=300)
    if 'role="alert" aria-label="Problems"' not in text:
        assert 0 <= number(text, "power") <= 1


@pytest.mark.parametrize("template", template_paths())
def test_property_evidence_of_every_template_is_shown(page, template):
    text = shown(page, "evidence", {"template": template})
    assert "There is a problem" not in text
    assert "Can the numbers of a record be right together?" in text


def test_regression_figures_of_every_command_of_a_room_come(page):
    for name in ("forest", "adjusted", "tornado"):
        for kind in ("svg", "png", "csv"):
            found = httpx.get(f"{page.address}/figure/evidence/{name}.{kind}", timeout=120)
            assert found.status_code == 200
            assert found.content
    saved = httpx.get(f"{page.address}/save/evidence", timeout=120).text
    assert saved.count('<img class="drawn"') == 3
    assert "whether TESTS found a benefit" in saved
    assert "evidence adjust sepsis" in saved


@pytest.mark.parametrize(
    ("state", "words", "ids"),
    [
        (
            {"look": "explain", "first": "etass-2013", "second": "tests-2025"},
            "explain etass-2013 tests-2025",
            {"ratio": "ratio", "chance": "gap_as_large", "settling": "n_per_arm"},
        ),
        (
            {"look": "reconcile", "template": "chronic-hepatitis-b"},
            "reconcile chronic-hepatitis-b --quick",
            {"weight-chance": "posterior_weight"},
        ),
    ],
    ids=["explain", "reconcile"],
)
def test_property_evidence_explains_as_the_command_line_does(
    page, trialsim, tmp_path, state, words, ids
):
    text = shown(page, "evidence", state)
    printed = trialsim(*words.split(), "--json", cwd=tmp_path)
    rows = json.loads(printed.stdout)["rows"]
    for name, measure in ids.items():
        wanted = next(row for row in rows if row["measure"] == measure)
        assert number(text, name) == wanted["value"]
    assert words in text


@pytest.mark.parametrize("template", [t for t in template_paths() if t != "chb-combination"])
def test_property_every_template_is_sized_or_says_why_not(page, template):
    text = shown(page, "size", {"template": template}, patience=300)
    if 'role="alert" aria-label="Problems"' not in text:
        assert number(text, "n-total") > 0


def test_regression_the_shipped_file_is_what_would_be_computed_now():
    with ThreadPoolExecutor(1) as apart:  # the browser's driver has a loop of its own
        computed = apart.submit(lambda: asyncio.run(offline.computed())).result()
    visible = [
        re.sub(r"<[^>]*>|\s+", " ", text)
        for text in (offline.SHIPPED.read_text(encoding="utf-8"), computed)
    ]
    assert visible[0] == visible[1]


def test_property_a_quick_answer_waits_for_no_long_one():
    pool = Pool(processes=2)
    pool.start()
    try:
        words = ("bias", "colorectal-adjuvant", "--seed")
        long = [pool.submit("answer", Order((*words, seed))) for seed in "12"]
        assert pool.wait_until_ready(30)
        began = time.monotonic()
        quick = pool.submit("answer", Order(("size", "sepsis")))
        assert quick.outcome.result(60).document["rows"][0]["value"] == 4602
        assert time.monotonic() - began < 30
        assert not any(job.is_over for job in long)
        assert sum(job.started is not None for job in long) == 1  # the other went back
        for job in long:
            pool.cancel(job)
            assert job.outcome.exception(30)
    finally:
        pool.close()


@pytest.mark.parametrize("lesson", LESSONS)
def test_regression_a_lesson_is_answered_as_on_its_sheet_and_the_guess_stays(page, visitor, lesson):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/bias-lab?template={lesson}")
    sent = []
    tab.on("request", lambda request: sent.append(f"{request.url} {request.post_data or ''}"))
    tab.locator("#g-1").fill("guess-4711")
    tab.locator("#lesson-answers summary").first.click()
    told = tab.locator("#lesson-answers table").inner_text()
    assert "guess-4711" in told
    folder = lessons_folder() / "sheets"
    sheet = (folder / f"{LESSONS[lesson].folder}-teacher.html").read_text(encoding="utf-8")
    numbers = re.findall(r"([0-9.]+)(?:%| of 1,000)? \N{PLUS-MINUS SIGN} ([0-9.]+)", told)
    assert len(numbers) > 2
    for pair in numbers:  # a share stands in percent, of 1,000, or of 1
        units = (pair, *(tuple(f"{float(x) / by:g}" for x in pair) for by in (10, 100)))
        assert any(" \N{PLUS-MINUS SIGN} ".join(told) in sheet for told in units), pair
    tab.reload()
    expect(tab.locator("#g-1")).to_have_value("guess-4711")
    assert serious(tab) == []
    assert not any("4711" in request for request in sent)
    seen.leaves_nothing_to_complain_of(page.address)


@pytest.mark.parametrize("lesson", LESSONS)
def test_regression_each_lesson_says_what_its_commands_say_on_the_page_and_without(
    page, visitor, trialsim, lesson
):
    lesson_walked_twice(page, visitor, trialsim, lesson)
