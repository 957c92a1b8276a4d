"""The file without a server: whole, small, and not stale."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from trialsim.app import offline
from trialsim.app.rooms import ROOMS
from trialsim.errors import RequestError


def test_property_the_shipped_file_is_not_stale():
    told = "run 'make precompute': a protocol, a lesson or a room changed"
    assert offline.recorded_sha256(offline.SHIPPED) == offline.record_sha256(), told


def test_property_the_record_changes_with_a_state(monkeypatch):
    before = offline.record_sha256()
    monkeypatch.setattr(offline, "states", lambda: iter([(ROOMS["size"], ROOMS["size"].state())]))
    assert offline.record_sha256() != before


_LOADING = ("src", "srcset", "data", "action", "poster")


class _Found(HTMLParser):
    """What a file could run or load: scripts, event handlers, addresses outside it."""

    def __init__(self, text):
        super().__init__()
        self.policy, self.scripts, self.complaints, self.styles = "", [], [], []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")
            self.complaints += [f"script with {name}" for name, _ in attrs]
        if tag in ("link", "form", "iframe", "object", "embed", "base"):
            self.complaints.append(tag)
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        elif "http-equiv" in given:
            self.complaints.append("http-equiv")
        for name, value in attrs:
            if name.startswith("on"):
                self.complaints.append(name)
            elif (name == "href" and not value.startswith("#")) or (
                name in _LOADING and not value.startswith("data:image/")
            ):
                self.complaints.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        if self._inside == "style" and re.search(r"url\(|@import", data):
            self.complaints.append("a style that loads")

    def handle_endtag(self, tag):
        self._inside = ""

    @property
    def allowed(self):
        """Return what the policy names, and the hashes of the scripts that are there."""
        rules = dict(rule.split(maxsplit=1) for rule in self.policy.split("; "))
        hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in self.scripts]
        return rules.get("script-src"), " ".join(f"'sha256-{found}'" for found in hashes)


def test_property_the_shipped_file_runs_the_script_its_policy_names_and_loads_nothing():
    text = offline.SHIPPED.read_text(encoding="utf-8")
    found = _Found(text)
    script, named = offline.script_and_hash()
    assert found.policy.startswith("default-src 'none'; img-src data:;")
    assert found.allowed == (f"'{named}'", f"'{named}'")
    assert found.scripts == [script]  # that of the page
    assert found.complaints == []


@pytest.mark.parametrize(
    "more",
    [
        "<script>alert(1)</script>",
        '<script src="https://example.org/x.js"></script>',
        '<img src="data:image/png;base64," onerror="x()">',
        '<img src="http://example.org/x.png">',
        '<a href="https://example.org">x</a>',
        '<a href="javascript:x()">x</a>',
        "<style>@import 'x.css';</style>",
        '<link rel="stylesheet" href="x.css">',
    ],
)
def test_property_whatever_else_could_run_or_load_is_found(more):
    script, named = offline.script_and_hash()
    policy = f"default-src 'none'; script-src '{named}'"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    sound = f'{head}<a href="#x">x</a><script>{script}</script>'
    assert _Found(sound).allowed == (f"'{named}'", f"'{named}'")
    assert _Found(sound).complaints == []
    found = _Found(sound + more)
    assert found.complaints or found.allowed[0] != found.allowed[1]


def test_property_the_shipped_file_holds_lessons_and_rooms_and_is_small():
    text = offline.SHIPPED.read_text(encoding="utf-8")
    assert offline.SHIPPED.stat().st_size < 5_000_000
    assert len(re.findall(r'<details class="lesson">', text)) == 5
    for room in ROOMS.values():
        assert f'id="{room.slug}"' in text
    assert "size sepsis --power 0.9" in text  # the command beside its answer
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_regression_export_writes_the_shipped_file_and_nothing_over_another(tmp_path, monkeypatch):
    recorded = offline.recorded_sha256(offline.SHIPPED)
    monkeypatch.setattr(offline, "record_sha256", lambda: recorded)  # stale is another test's
    path = offline.export(tmp_path / "rooms.html")
    assert path.read_bytes() == offline.SHIPPED.read_bytes()
    with pytest.raises(RequestError, match="is there already"):
        offline.export(path)
