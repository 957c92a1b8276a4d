"""``trialsim optimise``: the screen, the document, the file it writes, what it refuses."""

from __future__ import annotations

import json

import pytest

WORDS = ["--vary", "size=120:360:60", "--vary", "looks=1,2 obf", "--vary", "sites=4,8"]
FILE = """\
schema_version: 1
id: small
title: a small trial # of nothing
protocol:
  arms:
    - {id: drug, role: experimental}
    - {id: placebo, role: control}
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower}
  sample_size: {total: 200}
nature: {control_risk: 0.4, enrolment: {uniform: 20 mo}}
scenarios:
  - {id: helps, title: helps, effect: {odds_ratio: 0.5}}
cost: {currency: EUR, year: 2025, per_patient: 1000, per_month: 2000, sites: 8}
optimise:
  constraints: [power >= 0.75 under helps, months <= 60]
"""


@pytest.fixture(scope="module")
def run(trialsim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimise")
    (folder / "small.yaml").write_text(FILE, encoding="utf-8")
    words = ["small.yaml", *WORDS, "--replicates", "400"]
    done = trialsim("optimise", *words, "--write", "new.yaml", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_property_the_screen_says_what_is_chosen_why_and_what_more_buys(run):
    _, done = run
    shown = " ".join(done.stdout.split())
    assert "40 designs judged under helps (OR 0.50; assumed)" in shown
    assert "CHOSEN " in shown
    assert "the cheapest of the designs that meet every constraint (2)" in shown
    assert "Binds: power >= 0.75 under helps" in shown
    assert "one more month" in shown
    assert "100 more patients" in shown
    table = done.stdout.partition("The front")[2].partition("What ... buys")[0]
    assert 1 <= sum(" obf " in line or "  1  " in line for line in table.splitlines()) <= 12
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.isascii()


def test_property_the_file_written_is_right_runs_and_says_where_it_is_from(run, trialsim):
    folder, done = run
    assert "wrote new.yaml" in done.stderr
    text = (folder / "new.yaml").read_text(encoding="utf-8")
    assert text.startswith("# trialsim optimise small.yaml --vary size=120:360:60")
    assert "title: a small trial # of nothing" in text
    checked = trialsim("check", "new.yaml", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    again = trialsim("simulate", "new.yaml", "--replicates", "500", "--seed", "4", cwd=folder)
    assert again.returncode == 0, again.stderr
    over = trialsim("optimise", "small.yaml", "--write", "new.yaml", cwd=folder)
    assert over.returncode == 2
    assert "no file is overwritten" in over.stderr


def test_property_the_document_says_of_which_design_each_number_is(run, trialsim):
    folder, _ = run
    (path,) = (folder / "run" / "results").glob("optimise*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    asked = document["arguments"]
    assert asked["constraints"] == ["power >= 0.75 under helps", "months <= 60"]
    assert asked["vary"]["looks"] == ["1", "2 obf"]
    headline = [row for row in document["rows"] if row.get("headline")]
    assert len(headline) == 1
    assert headline[0]["value"] >= 0.75
    assert {"asked", "chosen", "binds", "more", "assumed"} <= set(document["texts"])
    assert (folder / "run" / "figures" / "pareto.svg").is_file()
    made = trialsim("report", "run", "--markdown", "r.md", "--out", "r.html", cwd=folder)
    assert made.returncode == 0, made.stderr
    report = (folder / "r.md").read_text(encoding="utf-8")
    assert "The design that buys most" in report
    assert headline[0]["set_by"] in report


def test_property_what_nobody_can_meet_is_refused_by_name(run, trialsim):
    folder, _ = run
    words = ["small.yaml", *WORDS, "--constraint", "cost <= 1e5"]
    done = trialsim("optimize", *words, "--json", cwd=folder)
    assert done.returncode == 2
    errors = json.loads(done.stdout)["errors"]
    assert {e["field"] for e in errors} == {"cost <= 100,000"}
    assert "is met by none of the 40 designs tried, alone" in errors[0]["rule"]
    for wrong in (["--choose", "speed"], ["--under", "hurts"], ["--vary", "looks=3"]):
        done = trialsim("optimise", "small.yaml", *wrong, cwd=folder)
        assert done.returncode == 2
        assert wrong[0] in done.stderr
        assert "Traceback" not in done.stderr
