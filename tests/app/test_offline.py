"""The file without a server: whole, small, and not stale."""

from __future__ import annotations

import re

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


def test_property_the_shipped_file_needs_nothing_and_is_small():
    text = offline.SHIPPED.read_text(encoding="utf-8")
    assert offline.SHIPPED.stat().st_size < 5_000_000
    assert not re.search(
        r"<script|<link|<form|<iframe|\ssrc=\"(?!data:)|href=\"(?!#)|@import", text
    )
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
