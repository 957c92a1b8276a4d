"""``trialsim synthesise --class`` at the command line."""

from __future__ import annotations

import csv
import json
import time
from types import SimpleNamespace

import pytest

from trialsim.cli import main

CLASS = ("synthesise", "sepsis", "--class", "40", "--seed", "3", "--total", "60")
FLAWS = ("--conduct", "poor", "--scenario", "or-082")


@pytest.fixture
def trialsim(capsys, monkeypatch, tmp_path):
    """Run a command in this process."""

    def run(*words: str):
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        status = main(words)
        told = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=told.out, stderr=told.err)

    return run


def counted(rows, when, plain=False):
    """Count a student's file: events and patients of the treated, then of controls."""
    own = [row for row in rows if plain or int(row[f"analysed_{when}"])]
    arm, event = ("arm", "event") if plain else (f"arm_{when}", f"event_{when}")
    return [
        number
        for name in ("thymalfasin", "placebo")
        for number in (
            sum(int(float(row[event])) for row in own if row[arm] == name),
            sum(row[arm] == name for row in own),
        )
    ]


def of_class(rows, conduct):
    found = {}
    for row in rows:
        if row["conduct"] == conduct and row["measure"] in ("n_events", "n_patients"):
            found.setdefault(row["analysis"], []).append(row["value"])
    return found


@pytest.mark.parametrize(
    "flaws",
    [
        FLAWS,
        ("--only", "exclusion", "--strength", "0.5"),
        ("--conduct", "every-flaw", "--only", "undeclared-looks", "--strength", "1"),
        (),
    ],
)
def test_reference_forty_replay_commands_give_the_counts_of_the_class(trialsim, tmp_path, flaws):
    scenario = () if "--scenario" in flaws else ("--scenario", "or-082")
    document = json.loads(trialsim(*CLASS, *flaws, *scenario, "--json").stdout)
    shown = trialsim(*CLASS, *flaws, *scenario, "--out", "run").stdout
    (line,) = [one for one in shown.splitlines() if one.endswith("--replicate i")]
    words = line.split()[line.split().index("replay") :]
    conduct = document["arguments"]["conduct"]["id"]
    planned, reported = (of_class(document["rows"], name) for name in ("rigorous", conduct))
    assert len(planned) == 40
    for i in range(1, 41):
        done = trialsim(*words[:-1], str(i), "--out", f"{i}.csv")
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader((tmp_path / f"{i}.csv").read_text().splitlines()))
        if flaws:
            assert counted(rows, "planned") == planned[f"student {i}"]
            assert counted(rows, "reported") == reported[f"student {i}"]
        else:
            assert counted(rows, "", plain=True) == planned[f"student {i}"]


def test_property_the_screen_shows_every_student_the_pool_and_the_hands(trialsim, tmp_path):
    started = time.monotonic()
    done = trialsim(*CLASS, *FLAWS, "--out", "run")
    assert time.monotonic() - started < 5
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    document = json.loads((tmp_path / "run" / "results" / "synthesise.json").read_text())
    hands = {
        row["conduct"]: row["value"]
        for row in document["rows"]
        if row["measure"] == "hands" and "analysis" not in row
    }
    assert f"As planned {hands['rigorous']} of 40 in favour" in shown
    assert f"As reported {hands['poor']} of 40 in favour" in shown
    assert shown.count("*") == sum(hands.values()) + 1  # and the one that is explained
    for row in document["rows"]:
        if row.get("analysis") == "Mantel-Haenszel":
            assert f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})" in shown
    assert done.stdout.isascii()
    folded = [one for one in done.stdout.splitlines() if not one.endswith("--replicate i")]
    assert max(map(len, folded)) <= 80
    assert {p.name for p in (tmp_path / "run" / "figures").iterdir()} == {"class.png", "class.svg"}
    done = trialsim("report", "run", "--markdown", "r.md", "--out", "r.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "## A class of one trial each" in page
    assert "Simulated literatures" not in page


def test_property_refusals_have_a_remedy_and_no_traceback(trialsim):
    for more, words in (
        (("--class", "0"), "One trial is no class"),
        (("--class", "1"), "must be from 2 to 1,000 students"),
        (("--class", "10000"), "'trialsim bias' tells the distribution"),
        (("--class", "40", "--strength", "0.5"), "needs --only"),
        (("--class", "40", "--only", "exclusion", "--strength", "0"), "must be above 0"),
        (("--class", "40", "--only", "exclusions"), "is no flaw"),
        (("--class", "40", "--only", "extension", "--strength", "0.5"), "has no extension"),
        (("--class", "40", "--true-or", "1"), "--scenario names the truth"),
        (("--class", "40", "--split", "quality"), "cannot stand beside --class"),
        (("--class", "40", "--replicates", "9"), "as many trials as students"),
        (("--conduct", "poor"), "Add --class 40"),
    ):
        done = trialsim("synthesise", "sepsis", *more)
        assert done.returncode in (1, 2), more
        told = " ".join(done.stderr.split())
        assert words in told, told
        assert "Traceback" not in told
