"""Subgroups from the command line: on screen, in JSON, in figures, in a report, in a replay."""

from __future__ import annotations

import json

import pytest

from conftest import CORPUS

RUN = ["simulate", "sepsis", "--variant", "subgroups", "--replicates", "512"]
RUN += ["--scenario", "no-effect", "--scenario", "only-low-mhla-dr"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("subgroups")


@pytest.fixture(scope="module")
def screen(folder, trialsim):
    done = trialsim(*RUN, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_property_the_screen_shows_who_benefits_and_what_chance_does(screen):
    assert "mortality-28d by age-group (prespecified): true odds ratio" in screen
    assert "mortality-28d by immune-status (not prespecified)" in screen
    assert "OR 0.82 on average" in screen
    assert "tests-2025 by age-group: surprising if the effect is the same for all" in screen
    assert "with no effect in anyone," in " ".join(screen.split())
    tables = screen.split("What was really seen")[0]
    assert max(len(line) for line in tables.splitlines()) <= 80
    assert screen.isascii()


def test_property_the_document_holds_every_number_with_its_error(screen, folder):
    (path,) = (folder / "run" / "results").glob("simulate*.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    own = [row for row in rows if "stratum" in row]
    measures = {row["measure"] for row in own}
    assert {"power_interaction", "subgroup_effective", "subgroup_alone"} <= measures
    assert {"subgroups_as_far_apart", "subgroups_opposite", "true_effect", "coverage"} <= measures
    exact = ("true_effect", "interaction", "n_failed")
    for row in own:
        assert row["measure"] in exact or row["mcse"] is not None
    whole = [row for row in rows if row["measure"] == "power" and "stratum" not in row]
    assert len(whole) == 2  # one per scenario: nothing of a subgroup passes for the whole trial


def test_property_a_report_holds_the_section_and_its_figure(screen, folder, trialsim):
    words = ("--markdown", "report.md", "--figures", "figures")
    done = trialsim("report", "run", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "report.md").read_text(encoding="utf-8")
    section = text.split("## Subgroups: who benefits")[1].split("\n## ")[0]
    assert "effect only in low-mhla-dr of immune-status" in section
    assert "TESTS by age-group, as published: under-60 1.67 (1.04 to 2.67)" in section
    characteristics = text.split("## Operating characteristics")[1].split("\n## ")[0]
    assert "age-group" not in characteristics
    assert (folder / "figures" / "subgroups-0.svg").is_file()
    html = (folder / "sepsis-report.html").read_text(encoding="utf-8")
    assert 'aria-labelledby="subgroups' in html


def test_property_show_reads_modifiers_aloud_and_replay_shows_levels(screen, folder, trialsim):
    path = str(CORPUS / "valid" / "who-benefits.yaml")
    done = trialsim("show", path, cwd=folder)
    words = " ".join(done.stdout.split())
    assert "effect: effect in advanced 2 times that in the other levels of fibrosis" in words
    assert "genotype (not prespecified)" in words
    done = trialsim(
        "replay", "run", "--scenario", "only-low-mhla-dr", "--out", "one.csv", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    header, first, *_ = (folder / "one.csv").read_text(encoding="utf-8").splitlines()
    assert "immune-status" in header
    assert "mhla-dr" in first


def test_property_fibrosis_matters_at_one_dose_and_not_at_the_other(folder, trialsim):
    path = str(CORPUS / "valid" / "who-benefits.yaml")
    ratios = {}
    for variant in ("", "dose-0-8"):
        more = ["--variant", variant] if variant else []
        words = ["simulate", path, *more, "--scenario", "effect", "--replicates", "200", "--json"]
        done = trialsim(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["rows"]
        (ratios[variant],) = (
            row["value"]
            for row in rows
            if (row["measure"], row.get("stratum"), row["endpoint"])
            == ("interaction", "fibrosis=advanced", "response")
        )
    assert ratios[""] == pytest.approx(2.0)
    assert ratios["dose-0-8"] == pytest.approx(1.0, abs=0.01)  # but for non-collapsibility
