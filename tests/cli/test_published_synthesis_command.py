"""``trialsim synthesise`` of published trials at the command line."""

from __future__ import annotations

import json

import pytest

from trialsim.cli import main

TABLE = """study,events_treated,n_treated,events_control,n_control,centres,rob_overall
First,3,30,9,30,1,high
Second,4,30,10,30,1,high
Third,47,181,63,180,6,low
Fourth,127,542,132,547,22,low
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "trials.csv").write_text(TABLE)
    return "trials.csv"


def test_property_observed_trials_are_pooled_drawn_and_reported(trialsim, tmp_path):
    done = trialsim("synthesise", "sepsis", "--observed", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("47/181", "0.86 (0.68 to 1.09)", "document 004 only", "0.50 (0.28 to 0.88)"):
        assert words in done.stdout
    drawn = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert drawn == {"pooled.svg", "pooled.png", "funnel.svg", "funnel.png"}
    report = trialsim("report", "run", "--out", "r.html", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for words in ("Published trials, pooled", "for the panel", "2 published studies"):
        assert words in page


def test_property_a_table_is_split_exported_and_gives_the_same_bytes(trialsim, tmp_path, table):
    words = ("synthesise", "sepsis", "--literature", table, "--split", "quality", "--json")
    first = trialsim(*words, "--export", "out.csv", cwd=tmp_path)
    assert first.stdout == trialsim(*words, cwd=tmp_path).stdout
    document = json.loads(first.stdout)
    assert document["arguments"]["table"] == table
    (ratio,) = (r for r in document["rows"] if r["measure"] == "ratio_of_odds_ratios")
    assert ratio["stratum"] == "quality: lower v higher"
    again = trialsim("synthesise", "sepsis", "--literature", "out.csv", "--json", cwd=tmp_path)
    pooled = [
        next(r["value"] for r in json.loads(text)["rows"] if r.get("headline"))
        for text in (first.stdout, again.stdout)
    ]
    assert pooled[0] == pooled[1]


def test_property_what_pools_in_r_is_said(trialsim, tmp_path, table):
    words = ("synthesise", "sepsis", "--literature", table, "--export", "out.csv")
    shown = trialsim(*words, cwd=tmp_path).stdout
    assert 'd <- read.csv("out.csv")' in shown
    assert (tmp_path / "out.csv").read_text().splitlines()[0].endswith("rob_overall,yi,vi")


def test_regression_a_simulated_literature_is_never_called_published(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--replicates", "100", "--true-or", "0.82", "--out", "first"]
    assert main(["synthesise", "sepsis", *words, "--export", "all"]) == 0
    capsys.readouterr()
    table = "all/or-0-82-typical-001.csv"
    told = ["synthesise", "sepsis", "--literature", table, "--out", "run", "--export", "again.csv"]
    assert main(told) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Simulated trials pooled as they are" in shown
    assert "none of their counts was published" in shown
    assert "like etass-2013 45/181" in shown
    assert main(["report", "run", "--out", "r.html"]) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Simulated trials, pooled" in page
    assert main(["synthesise", "sepsis", "--literature", "again.csv"]) == 0
    shown += " ".join(capsys.readouterr().out.split())
    for words in ("Published", "published studies", "othing is simulated", "othing was simulated"):
        assert words not in shown
        assert words not in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--record", "etass-2013", "--record", "gu-2025"), "patients would count twice"),
        (("--observed", "--literature", "trials.csv"), "another source"),
        (("--observed", "--true-or", "0.8"), "nothing is simulated"),
        (("--literature", "trials.csv", "--replicates", "500"), "nothing is simulated"),
        (("--observed", "--split", "region"), "must be quality or centres"),
        (("--observed", "--split", "centres"), "all multi-centre"),
        (("--literature", "none.csv"), "does not exist"),
    ],
)
def test_property_what_cannot_be_pooled_is_refused(
    tmp_path, monkeypatch, capsys, table, words, says
):
    monkeypatch.chdir(tmp_path)
    assert main(["synthesise", "sepsis", *words]) == 2
    said = capsys.readouterr().err
    assert says in " ".join(said.split())
    assert not (tmp_path / "trialsim-runs").exists()
