"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CORPUS, ROOT

QUICK = ("--replicates", "300")


def test_property_bare_command_and_demo_name_only_commands_that_run(trialsim, tmp_path):
    bare = trialsim(cwd=tmp_path)
    assert bare.returncode == 0
    assert bare.stdout.count("?") == 3
    demo = trialsim("demo", *QUICK, cwd=tmp_path)
    assert demo.returncode == 0, demo.stderr
    named = re.findall(r"trialsim (\w[^\n]*?)(?:  +|$)", bare.stdout + demo.stdout, flags=re.M)
    assert len(named) >= 6
    for words in {n for n in named if not n.startswith(("turns", "demo"))}:
        parts = [w for w in words.split() if w != "--help"]
        extra = QUICK if parts[:1] == ["simulate"] else ()
        (tmp_path / "my-trial.yaml").unlink(missing_ok=True)
        done = trialsim(*parts, *extra, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)


def test_property_help_lists_exactly_the_commands_that_exist(trialsim, tmp_path):
    text = trialsim("--help", cwd=tmp_path).stdout
    listed = re.findall(r"^    (\w+)\s+\w", text, flags=re.M)
    assert listed == [
        "demo", "list", "show", "new", "check", "simulate", "size", "followup", "optimise",
        "calibrate", "bias", "synthesise", "reconcile", "explain", "forecast", "replay", "export",
        "report", "evidence", "app",
    ]  # fmt: skip


def test_regression_simulate_screen_fits_80_columns_of_ascii(trialsim, tmp_path):
    done = trialsim("simulate", "sepsis", *QUICK, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.isascii()
    commands = " more: "  # a command to paste is never folded
    assert max(len(line) for line in done.stdout.splitlines() if commands not in line) <= 80
    assert "DOCUMENT" in done.stdout  # the weaker trials' odds ratio is nowhere shown as published
    assert "Not evidence about a patient" in done.stdout
    assert "repeat: " in done.stderr


def test_property_one_two_and_three_workers_give_identical_documents(trialsim, tmp_path):
    documents = [
        trialsim(
            "simulate", "sepsis", "--json", "--replicates", "600", "--workers", n, cwd=tmp_path
        )
        for n in ("1", "2", "3")
    ]
    assert {d.returncode for d in documents} == {0}
    assert len({d.stdout for d in documents}) == 1
    document = json.loads(documents[0].stdout)
    assert document["format"] == "trialsim-result/1"
    assert document["arguments"] == {"replicates": 600}
    assert list(tmp_path.iterdir()) == []  # with --json and no --out nothing is written


def test_property_a_document_holds_no_path_host_or_time(trialsim, tmp_path):
    done = trialsim("simulate", "sepsis", "--json", *QUICK, cwd=tmp_path)
    for secret in (str(tmp_path), str(ROOT), "T0", "localhost", "NaN", "Infinity"):
        assert secret not in done.stdout


def test_regression_run_directory_holds_record_results_and_figures(trialsim, tmp_path):
    first = trialsim("simulate", "sepsis", *QUICK, "--out", "run", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    run = tmp_path / "run"
    files = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert {name for name in files if not name.endswith(".npz")} == {
        "chunks/lock",
        "chunks/manifest.jsonl",
        "record.json",
        "results/simulate.json",
        "results/simulate.csv",
        "results/simulate.sha256",
        "figures/observed.svg",
        "figures/observed.png",
    }
    record = json.loads((run / "record.json").read_text())
    assert {"protocol", "seed", "path", "kernel", "versions", "sha256"} <= set(record)
    again = trialsim("simulate", "sepsis", *QUICK, "--out", "run", cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    other = trialsim("simulate", "sepsis", *QUICK, "--seed", "2", "--out", "run", cwd=tmp_path)
    assert other.returncode == 2
    assert "--out holds another run: seed 1, here 2" in other.stderr
    changed = trialsim(
        "simulate", "sepsis", *QUICK, "--set", "scenarios.or-082.effect.odds_ratio=0.7",
        "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert changed.returncode == 2
    assert "run: scenarios.or-082.effect.odds_ratio.value 0.82" in changed.stderr
    fewer = trialsim(
        "simulate", "sepsis", *QUICK, "--set", "protocol.sample_size={total: 100}",
        "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert "run: protocol.sample_size.total 1106, here 100" in " ".join(fewer.stderr.split())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    taken = trialsim("simulate", "sepsis", *QUICK, "--out", "full", cwd=tmp_path)
    assert taken.returncode == 2
    assert "--out is not empty, and holds no run" in taken.stderr


def test_regression_default_directory_is_added_to_and_never_overwritten(trialsim, tmp_path):
    for _ in range(2):
        assert trialsim("simulate", "sepsis", *QUICK, cwd=tmp_path).returncode == 0
    (folder,) = (tmp_path / "trialsim-runs").iterdir()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    written = [p for p in before if "chunks" not in p.parts]
    assert len(written) == 6
    assert trialsim("simulate", "sepsis", "--replicates", "400", cwd=tmp_path).returncode == 0
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    grown = {p for p in before if p.name == "manifest.jsonl"}
    assert {p: after[p] for p in before if p not in grown} == {
        p: content for p, content in before.items() if p not in grown
    }
    new = [p for p in after if "chunks" not in p.parts]
    assert len(new) == 11  # another result and its figures, beside the first


def test_property_the_same_command_writes_the_same_bytes(trialsim, tmp_path):
    for name in ("a", "b"):
        assert trialsim("simulate", "sepsis", *QUICK, "--out", name, cwd=tmp_path).returncode == 0
    for path in (p for p in (tmp_path / "a").rglob("*") if p.is_file()):
        assert (
            path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
        ), path


def test_property_figures_carry_their_alternative_text_and_escape_it(trialsim, tmp_path):
    settings = ["--set", 'scenarios.or-082.title="<script>alert(1)</script>"']
    done = trialsim("simulate", "sepsis", *QUICK, "--out", "run", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    svg = (tmp_path / "run" / "figures" / "observed.svg").read_text()
    assert 'role="img"' in svg
    assert "of 100 that look worse" in svg
    assert "<script" not in svg
    assert "<text" in svg  # text stays text
    png = (tmp_path / "run" / "figures" / "observed.png").read_bytes()
    assert b"Description" in png


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["simulat"], "Did you mean 'simulate'?"),
        (["simulate", "sepsi"], "Did you mean 'sepsis'?"),
        (
            ["simulate", "sepsis", "--replicates", "1e12"],
            "--replicates must be between 1 and 100,000,000",
        ),
        (["simulate", "sepsis", "--replicates", "many"], "'many' is not a whole number"),
        (["simulate", "sepsis", "--scenario", "or-82"], "Did you mean 'or-082'?"),
        (["simulate", "sepsis", "--variant", "five-day"], "Did you mean 'five-days'?"),
        (["simulate", "sepsis", "--workers", "0"], "--workers must be between 1 and 1,024"),
        (["simulate", "sepsis", "--seed", "-1"], "--seed must be a whole number"),
        (["simulate", "sepsis", "--precision", "0"], "--precision must be a standard error"),
        (["simulate", "sepsis", "--precision", "1%"], "'1%' is not a number"),
        (
            ["simulate", "sepsis", "--precision", "0.00005", "--max-replicates", "1e8"],
            "hours of work",
        ),
        (
            ["simulate", "sepsis", "--precision", "0.01", "--max-replicates", "2e8"],
            "--max-replicates must be between 1 and 100,000,000",
        ),
        (
            ["simulate", "sepsis", "--cluster", "tcp://127.0.0.1:1", "--workers", "2"],
            "--workers cannot stand beside --cluster",
        ),
        (["evidence", "show", "tests-2025", "--template", "sepsis"], "goes with a list"),
        (["evidence", "show", "tests-2024"], "Did you mean 'tests-2025'?"),
        (["show", "nowhere.yaml"], "nowhere.yaml: does not exist"),
        (["check", "nowhere.yaml", "elsewhere.yaml"], "elsewhere.yaml: does not exist"),
        (["predict", "sepsis"], "is not a command"),
    ],
)
def test_regression_a_users_mistake_is_exit_2_with_a_remedy_and_no_traceback(
    words, message, trialsim, tmp_path
):
    done = trialsim(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []  # nothing half-written
    as_json = trialsim(*words, "--json", cwd=tmp_path)
    assert as_json.returncode == 2
    problems = json.loads(as_json.stdout)["errors"]
    assert all(set(p) == {"file", "line", "field", "rule", "value", "remedy"} for p in problems)
    assert all(p["remedy"] for p in problems)


def test_regression_check_reports_every_file_with_every_problem(trialsim, tmp_path):
    broken = CORPUS / "invalid"
    done = trialsim(
        "check", str(broken / "two-mistakes.yaml"), "sepsis", str(broken / "tab.yaml"), cwd=tmp_path
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 4
    assert done.stdout.startswith("sepsis: right.")


def test_regression_new_starts_a_right_protocol_and_overwrites_nothing(trialsim, tmp_path):
    assert trialsim("new", "Heart Trial.yaml", cwd=tmp_path).returncode == 0
    assert trialsim("check", "Heart Trial.yaml", cwd=tmp_path).returncode == 0
    done = trialsim("simulate", "Heart Trial.yaml", *QUICK, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["protocol"] == "heart-trial"
    before = (tmp_path / "Heart Trial.yaml").read_text()
    again = trialsim("new", "Heart Trial.yaml", cwd=tmp_path)
    assert again.returncode == 2
    assert (tmp_path / "Heart Trial.yaml").read_text() == before


def test_regression_a_set_value_is_shown_as_set_by_the_user(trialsim, tmp_path):
    words = ["--set", "scenarios.or-082.effect.odds_ratio=0.7"]
    shown = trialsim("show", "sepsis", *words, cwd=tmp_path).stdout
    assert "set by you: 0.7; template: 0.82, gu-2025-higher-quality" in " ".join(shown.split())
    done = trialsim("simulate", "sepsis", *words, *QUICK, "--json", cwd=tmp_path)
    rows = json.loads(done.stdout)["rows"]
    changed = [r for r in rows if r["scenario"] == "or-082" and r["measure"] == "true_effect"]
    assert "set by you: 0.7" in changed[0]["set_by"]
    assert "source" not in changed[0]


def test_regression_evidence_shows_conflicts_as_data(trialsim, tmp_path):
    document = json.loads(trialsim("evidence", "show", "tests-2025", "--json", cwd=tmp_path).stdout)
    assert {w["level"] for w in document["warnings"]} == {"caution", "note"}
    hazard_ratios = [
        r["value"]
        for r in document["rows"]
        if r["measure"] == "hazard ratio" and r["result"] == "mortality-28d"
    ]
    assert hazard_ratios == [0.99, 0.97]
    text = trialsim("evidence", cwd=tmp_path).stdout
    assert "whether TESTS found a benefit" in text


def test_regression_one_scenario_of_few_replicates_gives_no_power(trialsim, tmp_path):
    done = trialsim(
        "simulate", "sepsis", "--scenario", "or-082", "--replicates", "50", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "at least 100 are needed" in " ".join(done.stdout.split())


def test_regression_hours_of_work_need_a_yes(trialsim, tmp_path):
    words = [
        "simulate",
        "sepsis",
        "--set",
        "protocol.sample_size.total=100000",
        "--replicates",
        "1000000",
        "--json",
    ]
    done = trialsim(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "hours of work" in json.loads(done.stdout)["errors"][0]["rule"]


def test_regression_a_reader_that_stops_early_is_no_error(tmp_path):
    command = f"{Path(sys.executable).with_name('trialsim')} evidence | head -n 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""


def test_regression_output_survives_a_terminal_without_unicode(trialsim, tmp_path):
    import os

    environment = os.environ | {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    done = trialsim(
        "show", "sepsis", "--set", "title=Thymosin α1 für Sepsis", cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "Thymosin ?1" in done.stdout


def test_regression_python_dash_m_works(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "trialsim", "list"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert "sepsis" in done.stdout


def test_regression_changed_evidence_is_another_result(trialsim, tmp_path):
    record = """schema_version: 1
evidence:
  - id: mine-2024
    kind: trial
    title: Mine
    citation: Mine A. 2024.
    condition: sepsis
    design: {{randomised: true}}
    results:
      - id: mortality-28d
        outcome: death
        at: 28 d
        experimental: {{n: 50, events: {events}}}
        control: {{n: 50, events: 15}}
"""
    for events in (5, 20, 5):
        (tmp_path / "ev.yaml").write_text(record.format(events=events))
        done = trialsim(
            "simulate",
            "sepsis",
            "--scenario",
            "or-082",
            "--evidence",
            "ev.yaml",
            "--set",
            "observed=[mine-2024]",
            *QUICK,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        (path,) = re.findall(r"wrote (\S+\.json)", done.stderr)
        rows = json.loads((tmp_path / path).read_text())["observed"]
        risks = [r["value"] for r in rows if r["measure"] == "risk"]
        assert risks == [events / 50, 0.3]


def test_regression_a_reader_that_stops_early_still_gets_the_files(tmp_path):
    command = Path(sys.executable).with_name("trialsim")
    shell = f"{command} simulate sepsis --replicates 300 --out run | true"
    subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, timeout=60)
    assert (tmp_path / "run" / "figures" / "observed.svg").exists()


@pytest.mark.parametrize("place", ["file/run", "x" * 300])
def test_regression_an_impossible_place_is_said_without_a_traceback(place, trialsim, tmp_path):
    (tmp_path / "file").write_text("x")
    done = trialsim("simulate", "sepsis", *QUICK, "--out", place, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


def test_regression_long_titles_leave_every_column_in_place(trialsim, tmp_path):
    title = "as-in-the-earlier-trials-of-this-drug-and-others " * 3
    done = trialsim(
        "simulate", "sepsis", "--set", f"scenarios.or-082.title={title}", *QUICK, cwd=tmp_path
    )
    assert "when found" in done.stdout
    assert "per 1,000" in done.stdout
    assert "…" not in done.stdout


def test_regression_check_counts_what_there_is_and_tells_all_that_is_assumed(trialsim, tmp_path):
    single = trialsim("check", "solid-tumour-monotherapy", cwd=tmp_path).stdout
    assert ": 1 arm, 29 patients, 5 scenarios" in single
    lung = trialsim("check", "nsclc-adjuvant", cwd=tmp_path).stdout
    assert "without a source: enrolment, dropout, control arm of pneumonitis, " in lung
    assert " 1 published result." in trialsim("check", "hbv-aclf", cwd=tmp_path).stdout
