"""What is served, how much may be sent, and how numbers are written on the page; no processes."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from html import unescape

import httpx
import pytest
from starlette.requests import Request

from app.conftest import AtOnce, visited
from trialsim.app import web
from trialsim.app.answers import Answers
from trialsim.app.files import MAX_UPLOAD_BYTES, Files
from trialsim.app.guard import Guard
from trialsim.app.pool import Pool
from trialsim.app.web import Pages, environment, make_app
from trialsim.app.worker import Line, Panel, Want, _inert, _table

PROTOCOL = b"id: a\n"


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_app(hosts=frozenset({"here"}), pool=AtOnce())


def sent(app, path, files=(), fields=()):
    """Return what comes of a form: files and fields are pairs of a name and a content."""
    parts = [(name, ("a.yaml", content)) for name, content in files]
    parts += [(name, (None, content)) for name, content in fields]
    headers = {"origin": "http://here"}
    (found,) = visited(
        app, httpx.Request("POST", f"http://here{path}", files=parts, headers=headers)
    )
    return found


# -- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "digits", "told"),
    [(0.80196, 1, "80.2%"), (0.9996, 1, "100.0%"), (0.0004, 1, "0.0%"), (0.746, 0, "75%")],
)
def test_analytic_shares_are_shown_in_percent(share, digits, told):
    percent = environment().filters["percent"]
    assert percent(share, digits) == told
    assert digits != 1 or percent(share) == told


def plain(text):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", text)))


def test_property_size_rounds_percents_to_a_tenth_and_beliefs_to_a_whole(at_once):
    words = {"effect": "OR 0.6", "power": "70"}
    text, rows = at_once("/size", **words), at_once("/data/size.json", **words).json()["rows"]
    by = {row["measure"]: row for row in reversed(rows)}
    achieved, simulated = by["power_achieved"]["value"], by["power_simulated"]
    assert f">{100 * achieved:.1f}%</strong> power" in text.text
    error = f"{100 * simulated['mcse']:.1f}"
    told = f"{100 * simulated['value']:.1f}% \N{PLUS-MINUS SIGN} {error} (10,000 trials)"
    assert told in plain(text.text)
    believed = [r["value"] for r in rows if "sized for or-073, truth " in str(r.get("analysis"))]
    cells = re.search(r'"row">or-073</th>(.*?)</tr>', text.text)[1]
    assert re.findall(r'"n(?: here)?">([0-9]+%|-)<', cells) == [
        "-" if value is None else f"{100 * value:.0f}%" for value in believed
    ]


def test_property_followup_rounds_percents_to_a_tenth(at_once):
    words = {"template": "chronic-hepatitis-b", "at": "18 mo", "clock": "entry"}
    rows = at_once("/data/followup.json", **words).json()["rows"]
    text = at_once("/followup", **words, truth="chien-1998").text
    for name, measure, then in (
        ("power", "power", "of trials find an effect"),
        ("wrong", "wrong_verdict", "(against"),
    ):
        (row,) = [
            r
            for r in rows
            if r["measure"] == measure and r["scenario"] == "chien-1998" and "18" in r["horizon"]
        ]
        assert f'id="{name}" data-value="{row["value"]}">{100 * row["value"]:.1f}%' in text
        told = f"{100 * row['value']:.1f}% \N{PLUS-MINUS SIGN} {100 * row['mcse']:.1f} {then}"
        assert told in plain(text)


# -- files -----------------------------------------------------------------------------------


def test_property_what_is_listed_is_served_and_nothing_else(app, monkeypatch):
    types = {
        "app.css": "text/css; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "funnel.js": "text/javascript; charset=utf-8",
    }
    for name, kind in types.items():
        (found,) = visited(app, httpx.Request("GET", f"http://here/static/{name}"))
        assert (found.status_code, found.headers["content-type"]) == (200, kind)
        assert found.text == web.static_text(name)
    monkeypatch.setattr(web, "static_text", lambda name: "anything that lies there")
    for name in ("secret.txt", "app.js.map", "APP.CSS", "%2e%2e", "..%5cweb.py", "app.css%00"):
        (found,) = visited(app, httpx.Request("GET", f"http://here/static/{name}"))
        assert (found.status_code, found.text) == (404, "There is no such file.\n")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_property_a_document_is_a_download_with_a_name(at_once, kind):
    found = at_once(f"/data/size.{kind}", power="85")
    name = f'attachment; filename="trialsim-size-sepsis.{kind}"'
    assert found.headers["content-disposition"] == name
    assert (
        found.headers["content-type"]
        == {
            "json": "application/json; charset=utf-8",
            "csv": "text/csv; charset=utf-8",
        }[kind]
    )
    assert found.text.startswith(("{", "part,measure,"))


@pytest.mark.parametrize("start", ["=", "+", "@", "-"])
def test_property_no_text_of_a_table_is_a_formula(start):
    words = f'{start}HYPERLINK("http://x")'
    assert _inert(words) == f"'{words}"
    line = Line(words, (1.0,), (-2.0,), "#000000", points=True)
    table = _table([Panel(words, words, "", (line,))])
    (row,) = csv.DictReader(io.StringIO(table))
    assert row["label"] == row["x_axis"] == row["y_axis"] == f"'{words}"
    assert row["y"] == "-2"  # a number stays one
    assert _inert("OR 0.7 = x") == "OR 0.7 = x"
    assert _inert("") == ""


# -- what may be sent ------------------------------------------------------------------------


def fields(n, size=1):
    return [(f"f{i}", b"x" * size) for i in range(n)]


def test_property_an_upload_is_one_file_and_few_small_fields(app):
    one = [("file", PROTOCOL)]
    assert sent(app, "/upload/size", one, fields(4)).status_code == 200
    assert sent(app, "/upload/size", one * 2).status_code == 400
    assert sent(app, "/upload/size", one, fields(5)).status_code == 400
    assert sent(app, "/upload/size", one, fields(1, 4_096)).status_code == 200
    assert sent(app, "/upload/size", one, fields(1, 4_097)).status_code == 400
    for size, refused in ((MAX_UPLOAD_BYTES, False), (MAX_UPLOAD_BYTES + 1, True)):
        found = sent(app, "/upload/size", [("file", b"#" * size)])
        assert ("is too large" in found.text) == refused


def test_property_a_cancellation_is_fields_alone(app):
    path = "/jobs/x/cancel"
    assert sent(app, path, fields=fields(100)).status_code == 303
    assert sent(app, path, fields=fields(101)).status_code == 400
    assert sent(app, path, [("file", b"x")]).status_code == 400
    assert sent(app, path, fields=fields(1, 4_097)).status_code == 400


def test_property_an_address_asks_after_twenty_jobs_and_no_more(tmp_path):
    files = Files(tmp_path)
    pages = Pages(Answers(Pool(), files), files, big=False, program="trialsim")

    async def asked(n):
        words = (("size", "sepsis", "--total", str(400 + 2 * i)) for i in range(n))
        jobs = [pages.answers.job(w, "sepsis", Want.NUMBERS) for w in words]
        scope = {"type": "http", "headers": [], "path_params": {}}
        scope["path_params"]["jobs"] = ",".join(["unknown", *(job.id for job in jobs)])
        return json.loads((await pages.job(Request(scope))).body)["left"]

    assert asyncio.run(asked(12)) == 12  # of thirteen names
    assert asyncio.run(asked(30)) == 19  # of twenty, the first unknown
    files.close()


# -- who may ask ---------------------------------------------------------------------------------


def test_property_an_answer_keeps_other_pages_out(app):
    (found,) = visited(app, httpx.Request("GET", "http://here/alive"))
    for name in ("cross-origin-opener-policy", "cross-origin-resource-policy"):
        assert found.headers[name] == "same-origin"
    assert found.headers["permissions-policy"] == "camera=(), microphone=(), geolocation=()"


@pytest.mark.parametrize(
    ("method", "length", "status"),
    [("POST", "1100001", 413), ("POST", "1100000", 403), ("POST", "x", 403), ("OPTIONS", "0", 403)],
)
def test_property_a_request_is_refused_before_it_is_read(app, method, length, status):
    headers = {"content-length": length}  # of another origin, once its length is right
    (found,) = visited(app, httpx.Request(method, "http://here/upload/size", headers=headers))
    assert found.status_code == status


def test_property_only_pages_are_served():
    asked = []

    async def inner(scope, receive, send):
        asked.append(scope["type"])

    for kind in ("websocket", "lifespan"):
        asyncio.run(Guard(inner, frozenset({"here"}))({"type": kind}, None, None))
    assert asked == ["lifespan"]


def test_property_the_same_text_under_two_names_is_two_files(tmp_path):
    files = Files(tmp_path)
    one, other = files.keep("one.yaml", PROTOCOL), files.keep("other.yaml", PROTOCOL)
    assert (files.shown(one), files.shown(other)) == ("one.yaml", "other.yaml")
    files.close()
