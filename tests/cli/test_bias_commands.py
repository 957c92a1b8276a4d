"""``trialsim bias`` at the command line: screen, document, files, report, refusals."""

from __future__ import annotations

import json
from math import log

FAST = ("--total", "240", "--scenario", "or-082", "--replicates", "512")


def test_property_bars_of_the_document_add_up_and_the_screen_shows_them(trialsim, tmp_path):
    document = json.loads(trialsim("bias", "sepsis", *FAST, "--json", cwd=tmp_path).stdout)
    rows = document["rows"]
    bars = [row for row in rows if row["measure"] == "attribution"]
    (published,) = [r for r in rows if r["measure"] == "estimate_mean" and r["mechanism"] == "all"]
    assert abs(sum(row["value"] for row in bars) - (published["value"] - log(0.82))) < 1e-12
    assert all("mcse" in row and row["n_replicates"] for row in bars)
    assert not list(tmp_path.iterdir())
    shown = trialsim("bias", "sepsis", *FAST, cwd=tmp_path).stdout
    for words in ("From truth to publication", "foreseen-allocation", "assumed", "Not evidence"):
        assert words in shown
    folded = [line for line in shown.splitlines() if " more: " not in line]  # commands are not
    assert max(map(len, folded)) <= 80
    report = trialsim("report", "last", "--out", "r.html", cwd=tmp_path)
    assert report.returncode == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "From truth to publication" in page
    assert "Shares of the bias" in page


def test_property_a_dial_has_one_line_per_strength(trialsim, tmp_path):
    words = ("bias", "sepsis", *FAST, "--only", "exclusion", "--strength", "0:0.4:0.2", "--json")
    document = json.loads(trialsim(*words, cwd=tmp_path).stdout)
    found = [r for r in document["rows"] if r["measure"] == "ratio_of_odds_ratios"]
    assert [row.get("strength") for row in found] == [None, 0.0, 0.2, 0.4]
    assert found[0]["value"] == found[1]["value"] == 1
    assert found[1]["value"] > found[2]["value"] > found[3]["value"]


def test_property_refusals_have_a_remedy_and_no_traceback(trialsim, tmp_path):
    for more, words in (
        (("--conduct", "pooor"), "Did you mean 'poor'"),
        (("--conduct", "every-flaw"), "cannot be misread"),
        (("--only", "fate"), "The flaws are"),
        (("--strength", "0:1:0.1"), "needs --only"),
        (("--only", "exclusion", "--strength", "0:2:1"), "each from 0 to 1"),
        (("--only", "exclusion", "--strength", ""), "each from 0 to 1"),
        (("--only", "as-treated"), "has no flaw of as-treated"),
    ):
        done = trialsim("bias", "sepsis", *more, cwd=tmp_path, check=False)
        assert done.returncode == 2, more
        told = " ".join(done.stderr.split())
        assert words in told
        assert "Traceback" not in told


def test_regression_a_profile_nobody_named_leaves_out_what_cannot_act_and_says_so(
    trialsim, tmp_path
):
    words = ("bias", "chronic-hepatitis-b", "--replicates", "400", "--scenario", "chien-1998")
    done = trialsim(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "Left out here: foreseen-allocation, since it foresees the allocation" in told
    named = trialsim(*words, "--conduct", "poor", cwd=tmp_path)
    assert named.returncode == 2  # what was asked for by name is not changed
    assert "nothing of a response is known beforehand" in named.stderr
