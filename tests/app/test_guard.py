"""What a stranger's page, file or address can do: nothing."""

from __future__ import annotations

import asyncio
import re
import time

import httpx
import pytest

from app.conftest import HOSTILE_TITLE
from app.test_rooms import shown, uploaded
from trialsim.app.answers import Answers
from trialsim.app.files import MAX_UPLOADS, Files
from trialsim.app.guard import CONTENT_SECURITY_POLICY
from trialsim.app.pool import BusyError, Pool
from trialsim.app.rooms import ROOMS
from trialsim.app.rooms.size import SizeState
from trialsim.app.web import _download, make_app
from trialsim.app.worker import Want
from trialsim.errors import RequestError


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1.evil.example", ""]
)
def test_property_another_host_is_refused(page, host):
    found = httpx.get(f"{page.address}/size", headers={"host": host})
    assert found.status_code in (400, 421)  # 400: the server itself, without any Host
    assert "trialsim" not in found.text


def test_regression_localhost_is_our_own_name(page):
    port = page.host.split(":")[1]
    assert httpx.get(page.address, headers={"host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1"])
@pytest.mark.parametrize("path", ["/upload/size", "/jobs/abc/cancel"])
def test_property_another_origin_sends_nothing(page, origin, path):
    headers = {"origin": origin} if origin else {}
    files = {"file": ("a.yaml", b"id: a\n")}
    found = httpx.post(f"{page.address}{path}", files=files, headers=headers)
    assert found.status_code == 403


def test_property_another_page_may_link_here_but_load_nothing(page):
    cross = {"sec-fetch-site": "cross-site"}
    for kind in ("image", "script", "iframe", "empty"):
        found = httpx.get(f"{page.address}/size", headers={**cross, "sec-fetch-dest": kind})
        assert found.status_code == 403
        near = {"sec-fetch-site": "same-site", "sec-fetch-dest": kind}  # another port
        assert httpx.get(f"{page.address}/size", headers=near).status_code == 403
    assert uploaded(page, "a.yaml", b"id: a\n", **cross).status_code == 403
    clicked = {**cross, "sec-fetch-dest": "document"}
    assert httpx.get(f"{page.address}/size", headers=clicked).status_code == 200


def test_property_every_answer_carries_the_policy_and_no_page_needs_more(page):
    paths = ["/", "/nothing", "/static/app.js", "/alive", *(f"/{slug}" for slug in ROOMS)]
    for path in paths:
        found = httpx.get(f"{page.address}{path}", timeout=60)
        assert found.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["referrer-policy"] == "same-origin"
        if path != "/static/app.js":
            assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=", found.text)
    for nothing in ("default-src", "base-uri", "frame-ancestors"):
        assert f"{nothing} 'none'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY


def test_property_a_large_upload_is_refused_whether_it_says_so_or_not(page):
    large = b"x" * 1_200_000
    assert uploaded(page, "a.yaml", large).status_code == 413
    assert "is too large" in uploaded(page, "a.yaml", large[:1_050_000]).text

    def in_pieces():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.yaml"\r\n\r\n'
        for _ in range(12):
            yield large[:100_000]
        yield b"\r\n--b--\r\n"

    headers = {"origin": page.address, "content-type": "multipart/form-data; boundary=b"}
    found = httpx.post(f"{page.address}/upload/size", content=in_pieces(), headers=headers)
    assert found.status_code == 413


def test_property_a_long_address_is_refused(page):
    assert httpx.get(f"{page.address}/size?effect={'x' * 5000}").status_code == 414
    assert httpx.get(f"{page.address}/{'x' * 5000}").status_code == 414


def test_regression_an_alias_bomb_is_refused_at_once(page):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    started = time.monotonic()
    text = uploaded(page, "bomb.yaml", bomb.encode()).text
    assert "aliases" in text or "alias" in text
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00\x00", b"[" * 20_000, b"a: b: c", b"", b"\x00\x01"]
)
def test_regression_a_broken_file_is_a_problem_in_words(page, content):
    found = uploaded(page, "broken.yaml", content)
    assert found.status_code == 200
    assert "There is a problem" in found.text or "problems" in found.text
    assert "Traceback" not in found.text


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside0/secret.yaml",
        "link.yaml",
        "notes.txt",
        "./../working0/../outside0/secret.yaml",
        "--out=x.yaml",
        "upload-0123456789abcdef",
        "a\x00.yaml",
    ],
)
def test_property_no_file_outside_the_folder_is_read(page, name):
    text = shown(page, "size", {"template": name})
    assert "is not a template" in text or "is no longer here" in text
    assert "n-total" not in text
    assert "root:" not in text


def test_regression_the_test_of_files_can_fail(page):
    assert "n-total" in shown(page, "size", {"template": "hostile.yaml"})


@pytest.mark.parametrize("path", ["/static/../web.py", "/static/%2e%2e%2fweb.py", "/static//etc"])
def test_property_only_listed_files_are_served(page, path):
    assert httpx.get(f"{page.address}{path}").status_code == 404


def test_property_a_hostile_title_is_text(page):
    for path in ("/size", "/save/size"):
        text = httpx.get(f"{page.address}{path}?template=hostile.yaml", timeout=60).text
        assert HOSTILE_TITLE not in text
        assert "&lt;script&gt;alert(1)" in text
    text = shown(page, "size", {"effect": "<b>x</b>"})
    assert "<b>x</b>" not in text


def test_property_words_cannot_become_options(page):
    before = sorted(page.folder.iterdir())
    for state in ({"effect": "--out=written"}, {"scenario": "--out=written"}, {"looks": "--out"}):
        assert "problem" in shown(page, "size", state)
    assert sorted(page.folder.iterdir()) == before


def test_property_words_that_name_files_are_refused(tmp_path):
    answers = Answers(Pool(), Files(tmp_path))
    for words in (
        ("size", "sepsis", "--out", "x"),
        ("size", "sepsis", "--out=x"),
        ("bias", "sepsis", "--conduct", "/etc/passwd"),
        ("bias", "sepsis", "--conduct=../poor.yaml"),
        ("bias", "sepsis", "--conduct=poor/../x"),
        ("synthesise", "sepsis", "--literature", "x.csv"),
        ("size", "sepsis", "--evidence", "x.yaml"),
    ):
        with pytest.raises(RequestError):
            answers.job(words, "sepsis", Want.NUMBERS)


def test_property_too_many_jobs_are_refused(tmp_path):
    pool = Pool(most_waiting=2)  # not started: jobs wait
    for _ in range(2):
        pool.submit("answer", None)
    with pytest.raises(BusyError):
        pool.submit("answer", None)


def test_regression_a_full_queue_is_said_in_words(tmp_path):
    app = make_app(hosts=frozenset({"here"}), working=tmp_path, pool=Pool(most_waiting=0))

    async def visit():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            assert "too many calculations" in (await client.get("/size")).text
            assert (await client.get("/save/size")).status_code == 503

    asyncio.run(visit())


def test_property_what_would_take_too_long_is_refused_before_it_begins(page):
    found = httpx.get(f"{page.address}/bias-lab?trials=20000&total=20000&part=answer", timeout=60)
    assert "times their size must be at most 50,000,000 patients" in found.text
    assert "400,000,000" in found.text
    assert "data-job" not in found.text


def test_property_a_file_name_is_no_option_and_an_upload_has_no_folder(tmp_path):
    (tmp_path / "-x.yaml").write_text("id: x\n")
    files = Files(tmp_path)
    with pytest.raises(RequestError, match="is not a template"):
        files.word("-x.yaml")
    for name in ("../../up.yaml", "..\\up.yaml", "-up.yaml", ".up.yaml"):
        word, folder = files.word(files.keep(name, name.encode()))
        assert word == f"{folder}/up.yaml"
    files.close()
    assert not files._folder.exists()


def test_property_uploads_are_bounded_and_the_oldest_go(tmp_path):
    files = Files(tmp_path)
    kept = [files.keep("a.yaml", str(i).encode()) for i in range(MAX_UPLOADS + 2)]
    assert files.uploaded() == tuple(kept[2:])
    with pytest.raises(RequestError, match="is no longer here"):
        files.word(kept[0])
    assert len(list(files._folder.iterdir())) == MAX_UPLOADS
    files.close()


def test_property_a_file_that_was_changed_is_another_one(tmp_path):
    files, file = Files(tmp_path), tmp_path / "a.yaml"
    file.write_text("id: a\n")
    before = files.version("a.yaml")
    file.write_text("id: ab\n")
    assert files.version("a.yaml") != before
    files.close()


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("looks", "0.5\n1", "must be one line of text"),
        ("looks", "1" * 61, "must be at most 60 characters"),
        ("scenario", "x" * 201, "is too long"),
        ("power", "nan", "must be from 50 to 99 %"),
        ("total", "1e400", "must be from 4 to 1,000,000 patients in all"),
        ("total", "4.5", "must be a whole number"),
    ],
)
def test_property_what_cannot_be_meant_is_refused(name, text, rule):
    read = SizeState.read({name: text})
    assert [problem.rule for problem in read.problems] == [rule]
    assert read.state == SizeState()


def test_property_both_ends_may_be_entered_and_a_percent_is_a_plain_share():
    for typed, value in (("99", 0.99), ("50", 0.5), ("57", 0.57), ("53.3", 0.533)):
        read = SizeState.read({"power": typed})
        assert (read.problems, read.state.power) == ((), value)
        assert read.state.query() == f"power={typed}"
    assert SizeState.read({"scenario": "x" * 200}).problems == ()
    (problem,) = SizeState.read({"total": "9" * 100}).problems
    assert problem.value == "9" * 60
    assert SizeState.read({"total": "11,06"}).problems[0].rule == "is not a number"


def test_property_a_download_has_a_plain_name():
    found = _download(b"", "text/csv", 'a"; filename="b\r\nx: y.csv')
    assert found.headers["content-disposition"] == (
        'attachment; filename="a___filename__b__x__y.csv"'
    )
