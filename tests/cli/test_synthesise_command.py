"""``trialsim synthesise`` at the command line: screen, document, files, refusals."""

from __future__ import annotations

import json

FAST = ("--replicates", "200", "--true-or", "0.82")


def test_property_the_screen_places_what_was_published_and_says_what_it_cannot_say(
    trialsim, tmp_path
):
    done = trialsim("synthesise", "sepsis", *FAST, cwd=tmp_path)
    shown = " ".join(done.stdout.split())
    for words in (
        "0.41 (0.24 to 0.68) DOCUMENT gu-2025-lower-quality",
        "ratio of the two 0.50 (0.28 to 0.88) DOCUMENT",
        "interaction P = 0.017 DOCUMENT",
        "The ends of ranges have one of at most 0.0",
        "P = 0.017",
        "chance typical to-reach-041",
        "put 8 of 11 trials on the same side",
        "cannot say that the trials had these flaws",
        "CHOSEN to give about 0.41",
        'document 000 "confirms ... beneficial effect", no numbers TESTS 127/542 v 132/547',
        'document 001 "consistent and significant reduction", "robust"',
        "what the meta-analysis says about CRP, procalcitonin, infections",
        "200 literatures per column, seed 1",
        "Not evidence",
    ):
        assert words in shown, words
    assert done.stdout.isascii()
    folded = [line for line in done.stdout.splitlines() if " more: " not in line]
    assert max(map(len, folded)) <= 80
    drawn = sorted(p.name for p in tmp_path.rglob("figures/*"))
    names = ("gap", "literature", "literatureforest")
    assert drawn == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def test_property_the_document_is_the_same_again_and_another_for_another_split(trialsim, tmp_path):
    words = ("synthesise", "sepsis", *FAST, "--json")
    first, again = (trialsim(*words, cwd=tmp_path).stdout for _ in range(2))
    assert first == again
    assert not list(tmp_path.iterdir())
    document = json.loads(first)
    assert document["command"] == "synthesise"
    assert document["arguments"]["literature"]["id"] == "sepsis-meta-analysis"
    assert set(document["arguments"]["conduct"]) == {
        "etass-2013",
        "lower-quality-to-reach-041",
        "lower-quality-typical",
        "rigorous",
    }
    (gap,) = (
        r
        for r in document["rows"]
        if r["measure"] == "gap_as_large" and r["conduct"] == "to-reach-041"
    )
    assert gap["stratum"] == "quality"
    assert gap["n_replicates"] == 200
    assert 0.3 < gap["value"] < 0.65
    centres = json.loads(trialsim(*words, "--split", "centres", cwd=tmp_path).stdout)
    assert {r["stratum"] for r in centres["rows"]} == {
        "centres",
        "centres=single",
        "centres=multi",
        "centres=all",
    }


def test_property_refusals_have_a_remedy_and_no_traceback(trialsim, tmp_path):
    (tmp_path / "one.yaml").write_text(
        "schema_version: 1\nid: one\ntitle: one\ntrue_odds_ratios: [1]\n"
        "splits: [{id: s, title: s, strata: [{id: a, title: a}, {id: b, title: b}]}]\n"
        "trials: [{id: t, n_treated: 30, n_control: 30, control_risk: 0.3, strata: {s: a}}]\n"
    )
    for more, words in (
        (("--split", "center"), "Did you mean 'centres'"),
        (("--literature", "gu-2026"), "is no literature"),
        (("--literature", "one.yaml"), "State at least two"),
        (("--literature", "none.yaml"), "none.yaml"),
        (("--true-or", "0,1"), "is not a list of odds ratios"),
        (("--replicates", "0"), "must be between 1"),
        (("--replicates", "50"), "must be at least 100"),
    ):
        done = trialsim("synthesise", "sepsis", *more, cwd=tmp_path, check=False)
        assert done.returncode in (1, 2), more
        told = " ".join(done.stderr.split())
        assert words in told, told
        assert "Traceback" not in told
    done = trialsim("synthesise", "delayed-effect", *FAST, cwd=tmp_path, check=False)
    assert "none ships for this" in done.stderr


def test_regression_a_simulated_literature_has_its_section_of_the_report(trialsim, tmp_path):
    words = ("synthesise", "sepsis", "--replicates", "300", "--true-or", "0.82", "--out", "run")
    assert trialsim(*words, cwd=tmp_path).returncode == 0
    done = trialsim("report", "run", "--markdown", "r.md", "--out", "r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "## Simulated literatures" in page
    document = json.loads((tmp_path / "run" / "results" / "synthesise.json").read_text())
    found = [
        row
        for row in document["rows"]
        if (row["measure"], row.get("scale")) == ("estimate_median", "ratio of odds ratios")
    ]
    (line,) = [one for one in page.splitlines() if "| ratio of the two: median" in one]
    assert [f"{row['value']:.3f} +-" in line for row in found] == [True] * 3
    assert "0.41 (0.24 to 0.68) | gu-2025-lower-quality | DOCUMENT" in page
    assert "0.50 (0.28 to 0.88) | - | derived, DOCUMENT" in page
    assert "0.50, from 0.41 (DOCUMENT) and 0.82 (published)" in page  # of the figure
    assert "| 5 | 30 v 30 | assumed | 30% | derived | lower, single |" in page
    assert "The ends of ranges have one of at most" in page
    lines = document["texts"]["one literature"].splitlines()
    assert len(lines) == 11
    for line in lines:
        trial, _, found = line.partition(": ")
        assert f"| {trial} | {' | '.join(found.split('; '))} |" in page


def test_property_literatures_are_exported_with_how_r_pools_one(trialsim, tmp_path):
    words = ("synthesise", "sepsis", "--replicates", "150", "--true-or", "0.82", "--out", "run")
    done = trialsim(*words, "--export", "some.csv", cwd=tmp_path)
    assert "first 100 of 150 literatures" in done.stdout
    assert 'read.csv("some.csv")' in done.stdout
    lines = (tmp_path / "some.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 100 * 11
    done = trialsim(*words, "--export", "some.csv", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    trialsim(*words[:-2], "--export", "each", "--json", cwd=tmp_path)
    found = trialsim(
        *("synthesise", "sepsis", "--literature", "each/or-0-82-typical-007.csv", "--json"),
        cwd=tmp_path,
    )
    own = [line for line in lines if line.startswith("7,or-0-82,typical,")]
    rows = json.loads(found.stdout)["observed"]
    counts = [row["value"] for row in rows if row["measure"] in ("n_events", "n_patients")]
    assert counts == [int(cell) for line in own for cell in line.split(",")[4:8]]
