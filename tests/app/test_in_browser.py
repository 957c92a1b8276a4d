"""The page in a real browser: main path, keyboard, uploads, jobs, a killed program, two tabs."""

from __future__ import annotations

import json
import math
import os
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.test_rooms import WRONG, number
from conftest import ROOT, needs
from trialsim.app import offline
from trialsim.app.rooms import ROOMS
from trialsim.app.rooms.lessons import LESSONS, Told
from trialsim.protocol.reading.places import lessons_folder

needs("browser", find_spec("playwright"))
expect = import_module("playwright.sync_api").expect
expect.set_options(timeout=60_000)


def pictured(tab, name):
    """Keep a picture where the environment asks for pictures."""
    if folder := os.environ.get("TRIALSIM_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def serious(tab):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [f"{v['id']}: {v['help']}" for v in found if v["impact"] in ("serious", "critical")]


def slid(tab, key, name="f-power"):
    """Move a slider by a key; wait for its answer."""
    with tab.expect_response(lambda reply: "part=answer" in reply.url):
        tab.locator(f"[data-slides={name}]").press(key)


def test_regression_size_main_path(page, visitor):
    seen = visitor(permissions=["clipboard-read", "clipboard-write"])
    tab = seen.tab
    tab.goto(f"{page.address}/")
    tab.get_by_role("link", name="How many patients").click()
    expect(tab.locator("#n-total")).to_have_text("4,602")
    assert serious(tab) == []
    slid(tab, "ArrowRight")
    expect(tab.locator("#n-total")).to_have_text("4,722")
    expect(tab).to_have_url(f"{page.address}/size?power=81")
    assert tab.locator("#f-power").input_value() == "81"
    tab.get_by_role("button", name="Copy command").click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    assert tab.evaluate("navigator.clipboard.readText()").endswith("size sepsis --power 0.81")
    tab.reload()
    expect(tab.locator("#n-total")).to_have_text("4,722")  # the address keeps the state
    pictured(tab, "size")
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_size_by_keyboard_alone(page, visitor):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/size")
    tab.keyboard.press("Tab")
    expect(tab.locator(".skip")).to_be_focused()
    tab.keyboard.press("Enter")
    for _ in range(20):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == "f-total":
            break
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"  # where one is can be seen
    with tab.expect_response(lambda reply: "part=answer" in reply.url):
        tab.keyboard.type("1106")
        tab.keyboard.press("Enter")
    expect(tab.locator("#n-total")).to_have_text("1,106")
    expect(tab).to_have_url(f"{page.address}/size?total=1106")
    seen.leaves_nothing_to_complain_of(page.address)


def reached(tab, name):
    """Go to a field by Tab alone."""
    for _ in range(20):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"Tab does not come to {name}")


def test_regression_followup_main_path_by_keyboard(page, visitor):
    seen = visitor(color_scheme="dark")
    tab = seen.tab
    tab.goto(f"{page.address}/followup")
    expect(tab.locator("#power")).to_have_text("85.8%")
    slider = tab.locator("[data-slides=f-horizon]")
    assert slider.input_value() == "18"  # where the answer is
    assert serious(tab) == []
    reached(tab, "f-horizon")
    tab.keyboard.press("Shift+Tab")
    expect(slider).to_be_focused()
    for _ in range(12):
        tab.keyboard.press("ArrowLeft")
    expect(tab.locator("#power")).to_have_text("53.4%")
    expect(tab).to_have_url(f"{page.address}/followup?horizon=12")
    expect(tab.locator("tr.here")).to_contain_text("12 mo after entry (chosen)")
    pictured(tab, "followup")
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_evidence_main_path_by_keyboard(page, visitor):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/evidence")
    expect(tab.locator("#estimate-tests-2025")).to_have_text("0.96 (0.73 to 1.27)")
    assert tab.locator("svg.forest").count() == 2
    assert serious(tab) == []
    reached(tab, "f-look")
    tab.keyboard.press("ArrowDown")
    expect(tab.locator("#ratio")).to_have_text("0.68 (0.40 to 1.15)")
    expect(tab.locator("#command")).to_contain_text("explain etass-2013 tests-2025")
    expect(tab).to_have_url(re.compile(r"look=explain&first=etass-2013&second=tests-2025$"))
    assert serious(tab) == []
    pictured(tab, "evidence")
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_captions_are_read_whole_on_a_phone(page, visitor):
    tab = visitor(viewport={"width": 360, "height": 740}).tab
    tab.goto(f"{page.address}/evidence")
    expect(tab.locator("#estimate-tests-2025")).to_be_visible()
    ends = tab.evaluate("""() => [...document.querySelectorAll("caption")].map(caption => {
        const words = document.createRange();
        words.selectNodeContents(caption);
        return words.getBoundingClientRect().right;
    })""")
    assert len(ends) == 4
    assert max(ends) <= 344


@pytest.mark.parametrize("slug", ROOMS)
def test_property_every_room_fits_a_phone_in_the_dark(page, visitor, slug):
    seen = visitor(viewport={"width": 360, "height": 740}, color_scheme="dark")
    seen.tab.goto(f"{page.address}/{slug}")
    assert seen.tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert serious(seen.tab) == []
    pictured(seen.tab, f"{slug}-phone")
    seen.leaves_nothing_to_complain_of(page.address)


def test_property_big_letters_stay_big(page, visitor):
    tab = visitor(viewport={"width": 360, "height": 740}).tab
    tab.goto(f"{page.address}/?big=1")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.goto(f"{page.address}/size?big=1")
    assert tab.evaluate("getComputedStyle(document.documentElement).fontSize") == "24px"
    slid(tab, "ArrowLeft")
    expect(tab).to_have_url(f"{page.address}/size?power=79&big=1")
    assert "big=1" in tab.get_by_role("link", name="Evidence").get_attribute("href")


def test_regression_an_upload_with_errors_says_where(page, visitor, tmp_path):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/size")
    tab.get_by_label("Or a protocol of your own").set_input_files(WRONG)
    tab.get_by_role("button", name="Check and use it").click()
    expect(tab.get_by_role("alert", name="Problems")).to_contain_text(f"{WRONG.name}:")
    tab.get_by_label("Or a protocol of your own").set_input_files(
        ROOT / "protocols" / "hbv-aclf.yaml"
    )
    tab.get_by_role("button", name="Check and use it").click()
    expect(tab.locator("#n-total")).to_have_text("650")
    expect(tab.locator("#command")).to_contain_text("size hbv-aclf.yaml")
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_a_cancelled_job_is_over(page, visitor):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/size?template=chb-combination")
    expect(tab.get_by_role("progressbar")).to_be_visible()
    expect(tab.locator("#answer")).to_have_attribute("aria-busy", "true")
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.get_by_role("heading", name="Cancelled")).to_be_visible()
    tab.wait_for_timeout(700)  # it does not begin again by itself
    expect(tab.get_by_role("heading", name="Cancelled")).to_be_visible()
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_two_tabs_do_not_disturb_one_another(page, visitor):
    one, other = visitor(), visitor()
    one.tab.goto(f"{page.address}/size?power=90")
    other.tab.goto(f"{page.address}/size?power=70")
    slid(one.tab, "ArrowRight")
    slid(other.tab, "ArrowRight")
    expect(one.tab).to_have_url(f"{page.address}/size?power=91")
    expect(other.tab).to_have_url(f"{page.address}/size?power=71")
    shown = [re.sub(r"\D", "", seen.tab.inner_text("#n-total")) for seen in (one, other)]
    assert int(shown[0]) > int(shown[1])
    for seen in (one, other):
        seen.leaves_nothing_to_complain_of(page.address)


def test_regression_without_javascript_the_form_asks(page, visitor):
    seen = visitor(java_script_enabled=False)
    seen.tab.goto(f"{page.address}/size")
    expect(seen.tab.locator("#n-total")).to_have_text("4,602")
    seen.tab.get_by_label("Power aimed at (%)", exact=True).fill("90")
    seen.tab.get_by_role("button", name="Calculate").click()
    expect(seen.tab.locator("#power")).to_have_text("90.0%")
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_a_saved_page_opens_from_the_disk(page, visitor, tmp_path):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/size")
    with tab.expect_download() as got:
        tab.get_by_role("link", name="Save this page").click()
    file = tmp_path / "saved.html"
    got.value.save_as(file)
    wanted = number(tab.content(), "n-total")
    tab.goto(file.as_uri())
    assert number(tab.content(), "n-total") == wanted
    assert tab.locator("img.drawn").evaluate("image => image.naturalWidth") > 100
    assert seen.complaints == []


def test_regression_bias_lab_main_path_by_keyboard(page, visitor):
    seen = visitor()
    tab = seen.tab
    tab.goto(f"{page.address}/bias-lab?trials=200")
    before = tab.locator("#published").inner_text()
    tab.get_by_label("Bad outcomes left out", exact=True).press("Space")
    expect(tab.locator("#published")).not_to_have_text(before)
    expect(tab).to_have_url(f"{page.address}/bias-lab?trials=200&exclusion_on=0")
    expect(tab.locator("#command")).to_contain_text("--flaw exclusion=0")
    expect(tab.locator("[data-then], [data-job]")).to_have_count(0)  # all of it is there
    assert serious(tab) == []
    shown = tab.locator(".funnel .trial:visible")
    expect(shown).to_have_count(100)
    tab.get_by_role("button", name="Reset").press("Enter")
    expect(shown).to_have_count(0)
    tab.get_by_role("button", name="Step").press("Enter")
    expect(shown).to_have_count(1)
    play = tab.locator("[data-do=play]")
    play.press("Space")
    expect(play).to_have_text("Pause")
    expect(shown).not_to_have_count(1)  # it goes on by itself; how far is a matter of the machine
    play.press("Space")
    expect(play).to_have_text("Go on")
    tab.get_by_label("before", exact=True).check()
    expect(tab.locator(".funnel .after:visible")).to_have_count(0)
    pictured(tab, "bias-lab")
    seen.leaves_nothing_to_complain_of(page.address)


def test_regression_the_file_without_a_server_plays_its_funnels_by_keyboard(visitor):
    seen = visitor()
    tab, file = seen.tab, offline.SHIPPED.as_uri()
    tab.goto(file)
    box = tab.locator("[data-funnel]:visible").first
    dots = box.locator(".trial:visible")
    expect(dots).to_have_count(100)
    assert serious(tab) == []
    box.get_by_role("region", name="Funnel of trials").focus()
    for name in ("Start", "Step"):
        tab.keyboard.press("Tab")
        expect(box.get_by_role("button", name=name)).to_be_focused()
    tab.keyboard.press("Enter")
    expect(dots).to_have_count(1)
    tab.keyboard.press("Enter")
    expect(dots).to_have_count(2)
    expect(box.locator(".count")).to_contain_text("2 of 100 trials")
    play = box.locator("[data-do=play]")
    play.press("Space")
    expect(play).to_have_text("Pause")
    expect(dots).not_to_have_count(2)
    play.press("Space")
    expect(play).to_have_text("Go on")
    left = dots.count()
    box.get_by_label("before", exact=True).check()
    expect(box.locator(".after:visible")).to_have_count(0)
    expect(box.locator(".before:visible")).to_have_count(left)
    box.get_by_role("button", name="Reset").press("Enter")
    expect(dots).to_have_count(0)
    assert tab.locator(".unborn").count() == 100  # no other funnel of the file has moved
    pictured(tab, "without-a-server")
    assert seen.requests == [file]
    assert seen.complaints == []


def test_regression_each_lesson_is_guessed_then_answered_without_a_server(visitor):
    seen = visitor()
    tab, file = seen.tab, offline.SHIPPED.as_uri()
    tab.goto(file)
    for which, lesson in enumerate(LESSONS.values()):
        part = tab.locator("details.lesson").nth(which)
        part.locator("summary").first.click()
        fields = part.locator("[data-guess]")
        expect(fields).to_have_count(len(lesson.questions))
        answers = part.get_by_role("region", name="Guesses and answers")
        expect(answers).to_be_hidden()  # guess first
        for i, question in enumerate(lesson.questions):
            part.get_by_label(question.asked).fill(f"guess {which}{i}")
        part.get_by_text("The answers, once you have guessed").first.press("Enter")
        told = answers.inner_text()
        for i, question in enumerate(lesson.questions):
            assert f"guess {which}{i}" in told
            for reading in question.readings:
                assert reading.label in told
        expect(part.locator("[data-funnel]:visible")).to_have_count(int(bool(lesson.classroom)))
    assert serious(tab) == []
    tab.reload()
    expect(tab.locator("[data-guess]").first).to_have_value("guess 00")
    assert seen.requests == [file, file]
    assert seen.complaints == []


def test_regression_without_javascript_the_file_shows_every_trial_and_answer(visitor):
    tab = visitor(java_script_enabled=False).tab
    tab.goto(offline.SHIPPED.as_uri())
    box = tab.locator("[data-funnel]:visible").first
    expect(box.locator(".trial:visible")).to_have_count(100)
    expect(box.locator(".controls")).to_be_hidden()  # they would do nothing
    lesson = tab.locator("details.lesson").first
    lesson.locator("summary").first.click()
    lesson.get_by_text("The answers, once you have guessed").first.click()
    expect(lesson.get_by_role("region", name="Guesses and answers")).to_be_visible()
    expect(lesson.locator(".trial:visible")).to_have_count(40)


def answered_by_its_commands(lesson, trialsim):
    """Return what ``--json`` of a lesson's commands says to each of its questions, as it is told.

    Told here once more, apart from the page: value, Monte Carlo error and trials of each row.
    """
    folder, rows = lessons_folder() / lesson.folder, {}
    for name, words in lesson.commands.items():
        said = trialsim(*words, "--json", cwd=folder)
        assert said.returncode == 0, said.stderr
        rows[name] = json.loads(said.stdout)["rows"]
    return [[as_told(rows[r.command], r) for r in q.readings] for q in lesson.questions]


def as_told(rows, reading):
    fits = [row for row in rows if all(row.get(k) == v for k, v in reading.where)]
    (row, *_) = [row for row in fits if row["measure"] == reading.measure]
    value, error = row["value"], row.get("mcse")
    if reading.told is Told.HANDS:
        (other, *_) = [r["value"] for r in fits if r["measure"] == "hands_against"]
        return f"{value + other} of 40: {value} in favour, {other} against"
    if reading.told is Told.LOG_RATIO:
        value, error = math.exp(value), math.exp(value) * error
    factor, digits, unit = {
        Told.PERCENT: (100, 1, "%"),
        Told.PER_1000: (1_000, 1, " of 1,000"),
    }.get(reading.told, (1, 3, ""))
    numbers = [f"{factor * x:.{digits}f}" for x in (value, error)]
    return f"{numbers[0]}{unit} \N{PLUS-MINUS SIGN} {numbers[1]} ({row['n_replicates']:,})"


def walked(tab, part, lesson, wanted):
    """Guess, reveal, and find each number of `wanted` beside its guess; `part` holds the lesson."""
    answers = part.get_by_role("region", name="Guesses and answers")
    expect(part.locator("[data-guess]")).to_have_count(len(lesson.questions))
    reveal = part.get_by_text("The answers, once you have guessed").first
    expect(reveal).to_be_visible()
    expect(answers).to_be_hidden()  # guess first
    for i, question in enumerate(lesson.questions):
        part.get_by_label(question.asked).fill(f"guess {i}")
    reveal.press("Enter")
    lines = answers.locator("tbody tr")
    expect(lines).to_have_count(len(lesson.questions))
    for i, (question, numbers) in enumerate(zip(lesson.questions, wanted, strict=True)):
        told = lines.nth(i).inner_text()
        assert question.asked in told
        assert f"guess {i}" in told
        assert question.told in told
        for reading, number_told in zip(question.readings, numbers, strict=True):
            assert f"{reading.label}: {number_told}" in told
    shown = part.locator(".trial:visible")
    expect(shown).to_have_count(len(part.locator(".trial").all()))
    if lesson.classroom:
        expect(shown).not_to_have_count(0)
        part.get_by_role("button", name="Reset").press("Enter")
        expect(shown).to_have_count(0)
        part.get_by_role("button", name="Step").press("Enter")
        expect(shown).to_have_count(1)
    assert serious(tab) == []


def lesson_walked_twice(page, visitor, trialsim, id_):
    """Walk a lesson on the page and in the file without a server: the same numbers, one source."""
    lesson, seen = LESSONS[id_], visitor()
    wanted, tab, file = answered_by_its_commands(lesson, trialsim), seen.tab, offline.SHIPPED
    tab.goto(f"{page.address}/bias-lab?template={id_}")
    walked(tab, tab.locator("main"), lesson, wanted)
    seen.leaves_nothing_to_complain_of(page.address)
    seen.requests.clear()
    tab.goto(file.as_uri())
    part = tab.locator("details.lesson").nth(list(LESSONS).index(id_))
    part.locator("summary").first.click()
    walked(tab, part, lesson, wanted)
    assert seen.requests == [file.as_uri()]
    assert seen.complaints == []


def test_regression_a_lesson_says_what_its_commands_say_on_the_page_and_without(
    page, visitor, trialsim
):
    lesson_walked_twice(page, visitor, trialsim, "lesson-2")
