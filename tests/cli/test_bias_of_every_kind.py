"""``trialsim bias`` of measurements and times to an event: words, measures, report."""

from __future__ import annotations

import json
from shutil import copy

import pytest

from conftest import CORPUS

PROFILE = (
    "schema_version: 1\nid: own\ntitle: two flaws\nexclusion: {strength: 0.2}\n"
    "publication: {strength: 0.5}\n"
)


@pytest.mark.parametrize(
    ("file", "scenario", "measure", "screen", "column"),
    [
        (
            "means-primary",
            "effect",
            "difference_of_differences",
            ("MD, mean", "moves the mean difference by", "less that of trials", "below 0 more"),
            "Less no flaw",
        ),
        (
            "competing-primary",
            "effect",
            "ratio_of_ratios",
            ("cause-specific HR, mean", "log cause-specific hazard ratio", "below 1 more benefit"),
            "Ratio to no flaw",
        ),
        (
            "ordinal-primary",
            "no-effect",
            "ratio_of_ratios",
            ("common OR, mean", "log common odds ratio", "above 1 more benefit"),
            "Ratio to no flaw",
        ),
    ],
)
def test_property_every_kind_is_told_in_its_own_words(
    trialsim, tmp_path, file, scenario, measure, screen, column
):
    copy(CORPUS / "valid" / f"{file}.yaml", tmp_path)
    (tmp_path / "own-profile.yaml").write_text(PROFILE, encoding="utf-8")
    words = ("bias", f"{file}.yaml", "--conduct", "own-profile.yaml", "--scenario", scenario)
    words += ("--replicates", "256")
    shown = trialsim(*words, "--out", "run", cwd=tmp_path).stdout
    told = " ".join(shown.split())
    assert all(part in told for part in screen), told
    assert "a ratio of odds ratios" not in told
    rows = json.loads((tmp_path / "run" / "results" / "bias.json").read_text())["rows"]
    found = {row["measure"] for row in rows}
    assert measure in found
    assert "ratio_of_odds_ratios" not in found
    assert all("scale" in row for row in rows if row["measure"] == measure)
    trialsim("report", "run", "--out", "r.html", cwd=tmp_path)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert column in page
    assert "Ratio of odds ratios" not in page
