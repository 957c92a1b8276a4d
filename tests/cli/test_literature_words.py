"""Literatures and profiles of conduct in ``trialsim list``, ``show`` and ``check``."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from trialsim.cli import main
from trialsim.protocol.reading.catalogue import (
    conduct_paths,
    literature_paths,
    reconciliation_paths,
)
from trialsim.protocol.reading.file_kinds import FileKind, kind_of_file
from trialsim.protocol.reading.load import load_literature, load_reconciliation

TABLE = "study,events_treated,n_treated,events_control,n_control\nA,3,30,9,30\nB,4,31,10,29\n"


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


def test_property_the_list_names_every_literature_and_how_to_run_it(trialsim):
    shown = trialsim("list").stdout
    rows = json.loads(trialsim("list", "--json").stdout)["rows"]
    for name in literature_paths():
        own = load_literature(name)
        assert f"{name}" in shown
        assert f"{len(own.trials)} trials" in shown
        (row,) = [row for row in rows if row.get("literature") == name]
        assert row["n_trials"] == len(own.trials)
        assert f"synthesise {row['template']}" in shown


def test_property_a_literature_is_shown_trial_by_trial_with_what_is_assumed(trialsim):
    own = load_literature("sepsis-meta-analysis")
    shown = trialsim("show", "sepsis-meta-analysis").stdout
    rows = json.loads(trialsim("show", "sepsis-meta-analysis", "--json").stdout)["rows"]
    assert [row["trial"] for row in rows] == [trial.id for trial in own.trials]
    for trial, row in zip(own.trials, rows, strict=True):
        (line,) = [one for one in shown.splitlines() if one.split()[:1] == [trial.id]]
        assert f"{trial.n_treated.value} v {trial.n_control.value}" in line
        assert ("assumed" in line) == (trial.n_treated.source is None)
        assert (row["n_from"] == "assumed") == (trial.n_treated.source is None)
    assert "the size of 9 of 11 trials (lower-1, lower-2, lower-3 and 6 more)" in " ".join(
        shown.split()
    )
    assert max(map(len, shown.splitlines())) <= 80
    done = trialsim("show", "sepsis-meta-analysis", "--set", "title=x")
    assert done.returncode == 2
    assert "cannot change a literature" in done.stderr


def test_property_list_and_reconcile_name_every_conflict_and_how_to_run_it(trialsim):
    listed, alone = trialsim("list").stdout, trialsim("reconcile")
    assert alone.returncode == 0
    assert alone.stdout.strip() in listed
    rows = json.loads(trialsim("list", "--json").stdout)["rows"]
    assert json.loads(trialsim("reconcile", "--json").stdout)["rows"] == [
        row for row in rows if "conflict" in row
    ]
    for name in reconciliation_paths():
        own = load_reconciliation(name)
        (row,) = [row for row in rows if row.get("conflict") == name]
        assert (row["title"], row["template"]) == (own.title, own.template)
        assert row["n_records"] == len(own.records)
        assert row["n_explanations"] == len(own.explanations)
        assert row["n_alternatives"] == len(own.alternatives)
        assert f"{'' if name == own.template else '--conflict '}{name}\n" in alone.stdout
    assert max(map(len, listed.splitlines())) <= 80


def test_property_a_conflict_is_shown_with_what_is_assumed(trialsim):
    for name in reconciliation_paths():
        own = load_reconciliation(name)
        shown = trialsim("show", own.template, "--conflict", name).stdout
        words = " ".join(shown.split())
        assert all(explanation.title in words for explanation in own.explanations)
        assert all(record.title in words for record in own.records)
        assert max(map(len, shown.splitlines())) <= 80
        assert f"reconcile --conflict {name}" in words
    assert trialsim("show", "sepsis", "--conflict").stdout == (
        trialsim("show", "sepsis", "--conflict", "sepsis").stdout
    )
    alone = " ".join(trialsim("show", "chronic-hepatitis-b-timing").stdout.split())
    assert "the effect changes after the end of therapy" in alone
    sepsis = " ".join(trialsim("show", "sepsis", "--conflict").stdout.split())
    assert "'regimen' is not known of lower-quality, small-better" in sepsis
    assert "size-in-patients: size in patients, not in quarters. What stands was chosen after" in (
        sepsis
    )
    done = trialsim("show", "sepsis", "--conflict", "--set", "title=x")
    assert done.returncode == 2
    assert "cannot change a conflict" in done.stderr
    rows = json.loads(trialsim("show", "sepsis", "--conflict", "--json").stdout)["rows"]
    assert {"field": "effect_sd.value", "value": 0.35} in rows


def test_property_check_says_what_a_file_is(trialsim, tmp_path):
    (tmp_path / "trials.csv").write_text(TABLE)
    for source, target in (
        (literature_paths()["sepsis-meta-analysis"], "mine.yaml"),
        (conduct_paths()["poor"], "flaws.yaml"),
        (conduct_paths()["rigorous"], "none.yaml"),
        (reconciliation_paths()["nsclc-adjuvant"], "nsclc.yaml"),
    ):
        (tmp_path / target).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    for name, kind, words in (
        ("mine.yaml", FileKind.LITERATURE, "right, a literature. the eleven trials"),
        ("sepsis-meta-analysis", FileKind.LITERATURE, "the size of 9 of 11 trials"),
        ("flaws.yaml", FileKind.CONDUCT, "exclusion 0.15 (SD 0.05)"),
        ("every-flaw", FileKind.CONDUCT, "assumed, without a source"),
        ("none.yaml", FileKind.CONDUCT, "carried out as planned: no flaw"),
        ("trials.csv", FileKind.TABLE, "2 trials, 120 patients, 26 events"),
        ("nsclc.yaml", FileKind.RECONCILIATION, "without data: adjuvant, design, chance"),
        ("sepsis", FileKind.PROTOCOL, "right. Thymalfasin for sepsis"),
    ):
        assert kind_of_file(str(tmp_path / name) if "." in name else name) is kind
        done = trialsim("check", name)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
    rows = json.loads(trialsim("check", "flaws.yaml", "mine.yaml", "--json").stdout)["rows"]
    assert [row["kind"] for row in rows] == ["profile of conduct", "literature"]


def test_regression_what_is_wrong_with_such_a_file_is_said_with_its_line(trialsim, tmp_path):
    source = literature_paths()["sepsis-meta-analysis"].read_text(encoding="utf-8")
    (tmp_path / "l.yaml").write_text(source.replace("quality: lower", "quality: middling", 1))
    (tmp_path / "c.yaml").write_text(
        "schema_version: 1\nid: c\ntitle: c\nexclusion: {strength: 3}\n"
    )
    (tmp_path / "t.csv").write_text(TABLE.replace("9,30", "31,30"))
    done = trialsim("check", "l.yaml", "c.yaml", "t.csv", "no.yaml")
    assert done.returncode != 0
    told = " ".join(done.stderr.split())
    for words in ("l.yaml:", "c.yaml:4", "t.csv:2", "no.yaml"):
        assert words in told
    assert "Traceback" not in told
