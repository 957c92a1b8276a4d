"""``trialsim replay`` of trials with flaws: from a run and from a template; refusals."""

from __future__ import annotations

import csv
import json
from math import log
from types import SimpleNamespace

import pytest

from trialsim.cli import main

FAST = ("--total", "120", "--scenario", "or-082", "--replicates", "300", "--seed", "5")


@pytest.fixture
def trialsim(capsys, monkeypatch):
    """Run a command in this process."""

    def run(*words: str, cwd):
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        status = main(words)
        told = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=told.out, stderr=told.err)

    return run


def run_of(trialsim, folder, *more):
    done = trialsim("bias", "sepsis", *FAST, *more, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr


def odds_ratio(rows, when):
    cells = dict.fromkeys([(a, e) for a in ("thymalfasin", "placebo") for e in (0, 1)], 0)
    for row in rows:
        if int(row[f"analysed_{when}"]):
            cells[row[f"arm_{when}"], int(row[f"event_{when}"])] += 1
    a, b = cells["thymalfasin", 1], cells["thymalfasin", 0]
    c, d = cells["placebo", 1], cells["placebo", 0]
    return a * d / (b * c), cells


def test_regression_a_trial_of_a_run_with_flaws_before_and_after(trialsim, tmp_path):
    run_of(trialsim, tmp_path)
    words = ("replay", "run", "--replicate", "257")
    done = trialsim(*words, "--out", "t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) == 120
    told = " ".join(done.stdout.split())
    for when in ("planned", "reported"):
        ratio, cells = odds_ratio(rows, when)
        assert f"OR {ratio:.3g} (" in told
        n = sum(cells["thymalfasin", e] for e in (0, 1))
        assert f"{cells['thymalfasin', 1]}/{n} (" in told
    dropped = [row for row in rows if row["exclusion"] == "left out"]
    assert dropped
    assert all((r["arm_reported"], r["analysed_reported"]) == ("thymalfasin", "0") for r in dropped)
    were = "was" if len(dropped) == 1 else "were"
    assert f"exclusion: {len(dropped)} {were} dropped after randomisation" in told
    assert "published" in told
    assert max(map(len, done.stdout.splitlines())) <= 80
    document = json.loads(trialsim(*words, "--json", cwd=tmp_path).stdout)
    assert document["arguments"]["conduct"]["id"] == "poor"
    assert document["seed"] == 5
    assert [str(row["event_reported"]) for row in document["rows"]] == [
        row["event_reported"] for row in rows
    ]
    template = ("replay", "sepsis", "--total", "120", "--scenario", "or-082", "--seed", "5")
    again = trialsim(*template, "--conduct", "poor", "--replicate", "257", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["rows"] == document["rows"]
    alone = json.loads(trialsim(*words, "--only", "exclusion", "--json", cwd=tmp_path).stdout)
    assert "foreseen_allocation" not in alone["rows"][0]
    assert [r["event_planned"] for r in alone["rows"]] == [
        r["event_planned"] for r in document["rows"]
    ]


def test_property_a_folder_with_several_conducts_or_none_asks(trialsim, tmp_path):
    run_of(trialsim, tmp_path)
    (tmp_path / "own.yaml").write_text(
        "schema_version: 1\nid: own\ntitle: t\nexclusion: {strength: 0.3}\n"
    )
    run_of(trialsim, tmp_path, "--conduct", "own.yaml")
    for more, words in (
        ((), "Name one with --conduct"),
        (("--conduct", "other"), "is no conduct of this run"),
        (("--conduct", "own", "--replicate", "301"), "must be at most 300"),
        (("--conduct", "own", "--only", "publication"), "Its flaws are exclusion"),
        (("--conduct", "own", "--seed", "7"), "--seed cannot change a run"),
    ):
        done = trialsim("replay", "run", *more, cwd=tmp_path)
        assert done.returncode == 2, more
        assert words in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    done = trialsim("replay", "run", "--conduct", "own", cwd=tmp_path)
    assert "conduct 'own'" in done.stdout


def test_property_a_run_of_simulate_stays_one_without_flaws(trialsim, tmp_path):
    total = "protocol.sample_size={total: 120}"
    words = ("--set", total, "--scenario", "or-082", "--replicates", "300")
    assert trialsim("simulate", "sepsis", *words, "--out", "run", cwd=tmp_path).returncode == 0
    done = trialsim("replay", "run", "--scenario", "or-082", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "conduct" not in done.stdout
    done = trialsim("replay", "run", "--only", "exclusion", cwd=tmp_path)
    assert "holds no trials with flaws" in " ".join(done.stderr.split())
    assert trialsim("bias", "sepsis", *words, "--out", "run", cwd=tmp_path).returncode == 0
    done = trialsim("replay", "run", "--scenario", "or-082", cwd=tmp_path)
    assert "conduct" not in done.stdout
    done = trialsim("replay", "run", "--scenario", "or-082", "--conduct", "poor", cwd=tmp_path)
    assert "conduct 'poor'" in done.stdout


def test_property_per_1000_of_screen_and_document_agree(trialsim, tmp_path):
    shown = trialsim("bias", "sepsis", *FAST, cwd=tmp_path).stdout
    document = json.loads(trialsim("bias", "sepsis", *FAST, "--json", cwd=tmp_path).stdout)
    events = [r for r in document["rows"] if r["measure"] == "events_per_1000"]
    for row in events:
        truth = row["mechanism"] == "truth"
        assert ("mcse" in row) is not truth
        assert ("n_replicates" in row) is not truth
    (own,) = [r for r in events if (r["mechanism"], r.get("arm")) == ("exclusion", "thymalfasin")]
    line = next(
        text for text in shown.partition("Of 1,000")[2].splitlines() if text.startswith("exclusion")
    )
    assert f"{own['value']:.1f} +-{own['mcse']:.1f}" in line
    (apart,) = [
        r
        for r in document["rows"]
        if (r["measure"], r["mechanism"]) == ("baseline_imbalance", "all")
    ]
    assert f"{apart['value']:+.3f} +-{apart['mcse']:.3f}" in shown
    true = {r.get("arm"): r["value"] for r in events if r["mechanism"] == "truth"}
    odds = [p / (1_000 - p) for p in (true["thymalfasin"], true["placebo"])]
    assert log(odds[0] / odds[1]) == pytest.approx(log(0.82))


def test_property_figures_are_files_of_the_run_and_in_the_report(trialsim, tmp_path):
    run_of(trialsim, tmp_path)
    for name in ("bias", "imbalance", "onetrial"):
        assert {p.suffix for p in (tmp_path / "run" / "figures").glob(f"{name}.*")} == {
            ".svg",
            ".png",
        }
    words = ("--out", "r.html", "--markdown", "r.md", "--figures", "figures")
    done = trialsim("report", "run", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "run" / "results" / "bias.json").read_text())
    for page in ("r.html", "r.md"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        for told in (
            "Of 1,000 patients: death from any cause",
            "Baseline imbalance by prognosis",
            "One trial before and after its flaws",
            "the same patients before and after",
        ):
            assert told in text, (page, told)
    published = [r for r in document["rows"] if r["measure"] == "estimate_mean"]
    assert len({row["n_replicates"] for row in published}) > 1
    for row in published:  # every line with the number of trials it is of
        assert f" | {row['n_replicates']:,} |\n" in (tmp_path / "r.md").read_text(encoding="utf-8")
    for line in document["texts"]["one trial"].splitlines():
        assert line.partition(": ")[2] in (tmp_path / "r.md").read_text(encoding="utf-8")
    (replayed,) = json.loads(trialsim("replay", "run", "--json", cwd=tmp_path).stdout)[
        "texts"
    ].values()
    assert replayed == document["texts"]["one trial"]
    assert (tmp_path / "figures" / "onetrial-0.png").exists()
