"""A file with estimands, from the command line to the report."""

from __future__ import annotations

import json

from conftest import CORPUS

FILE = str(CORPUS / "valid" / "estimands.yaml")


def test_property_estimands_go_from_the_file_to_the_report(trialsim, tmp_path):
    done = trialsim("simulate", FILE, "--replicates", "200", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Estimands of fev1" in done.stdout
    document = json.loads((tmp_path / "run" / "results" / "simulate.json").read_text())
    asked = {row["estimand"] for row in document["rows"] if "estimand" in row}
    assert asked == {
        "main",
        "failure",
        "on-treatment",
        "if-none-did",
        "jump",
        "never-stoppers",
        "imputed",
    }
    true = [r for r in document["rows"] if r["measure"] == "true_effect" and "estimand" in r]
    assert all(r["n_replicates"] == 409_600 and "mcse" in r for r in true)
    done = trialsim("report", "run", "--markdown", "report.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.md").read_text()
    section = text[text.index("## Estimands and intercurrent events") :]
    assert "hazard times 0.6 per SD of fev1" in section
    assert "Figure: Estimands of FEV1" in section
    assert section.count("| never-stoppers |") == 3  # what it asks, and what two scenarios find
    power = text[text.index("## Operating characteristics") : text.index("## Estimands and")]
    assert "never-stoppers" not in power


def test_property_size_does_not_plan_for_what_events_leave_of_an_effect(trialsim, tmp_path):
    done = trialsim("size", "chronic-hepatitis-b", "--variant", "estimands", cwd=tmp_path)
    assert done.returncode == 2
    assert "nature.intercurrent_events" in done.stderr
    assert "Traceback" not in done.stderr
