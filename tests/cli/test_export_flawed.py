"""`trialsim export` of trials with flaws: tables against the results reported, and refusals."""

from __future__ import annotations

import csv
from collections import Counter
from functools import cache
from math import log

import numpy as np
import pytest

from conftest import CORPUS
from trialsim import load_template, plan_simulation
from trialsim.cli import main
from trialsim.protocol.conduct import (
    Assessment,
    CoIntervention,
    Conduct,
    DifferentialLoss,
    Exclusion,
    ForeseenAllocation,
    NonAdherence,
)
from trialsim.report.parts.exported_flawed import exported_flawed
from trialsim.report.parts.exported_tables import exported_tables
from trialsim.studies.conduct.bias import plan_bias

TRIALS = (1, 4)
READ = {
    "sensitivity_treated": 0.8,
    "sensitivity_control": 0.95,
    "specificity_treated": 0.97,
    "specificity_control": 1,
}
DEVIATING = {
    "treated_unfavourable": 0.3,
    "treated_favourable": 0.1,
    "control_unfavourable": 0.1,
    "control_favourable": 0.1,
}


def tables_with(name, conduct, settings=()):
    resolved = load_template(str(CORPUS / "valid" / f"{name}.yaml"), settings=settings)
    scenario = resolved.template.scenarios[-1].id
    planned = plan_bias(resolved, conduct, [scenario])
    trials = [planned.replay(scenario, 3, number) for number in TRIALS]
    tables = exported_flawed(planned.resolved, planned.job.plans[0], trials)
    return trials, {table.name: table for table in tables}


def tables_without(name):
    plan = plan_simulation(load_template(str(CORPUS / "valid" / f"{name}.yaml")))
    scenario = plan.resolved.template.scenarios[-1].id
    trials = [plan.replay(scenario, 3, number) for number in TRIALS]
    tables = exported_tables(plan.resolved, plan.jobs[0].plans, trials)
    return {table.name: table for table in tables}


@cache
def flawed(name):
    flaws = {
        "as_treated": NonAdherence(strength=0.8, non_adherent=DEVIATING),
        "differential_loss": DifferentialLoss(strength=0.8, lost=DEVIATING),
        "exclusion": Exclusion(strength=0.2),
        "foreseen_allocation": ForeseenAllocation(strength=0.4),
    }
    settings = ()
    if name == "means-primary":
        flaws["co_intervention"] = CoIntervention(strength=0.5, better_sd=0.5)
        settings = ("protocol.endpoints.score.analysis=t-test",)
        del flaws["as_treated"]
    else:
        settings = ("protocol.endpoints.death-28d.event=relapse",)
        flaws["assessment"] = Assessment(strength=1, **READ)
    return tables_with(name, Conduct(id="own", title="t", **flaws), settings)


def said(row, names):
    """Return values as the CSV has them."""
    return ["" if row.get(name) is None else str(row[name]) for name in names]


def log_odds_ratio(rows, arm, value, flag):
    cells = Counter((row[arm], row[value]) for row in rows if row[flag] == "Y")
    assert {words for _, words in cells} == {"Y", "N"}
    return log(cells[1, "Y"] * cells[0, "N"] / (cells[1, "N"] * cells[0, "Y"]))


def mean_difference(rows, arm, value, flag):
    own = [(row[arm], row[value]) for row in rows if row[flag] == "Y"]
    return np.mean([x for a, x in own if a == 1]) - np.mean([x for a, x in own if a == 0])


@pytest.mark.parametrize(
    ("name", "table", "analyse", "scale"),
    [
        ("ten-lines", "ADRS", log_odds_ratio, log),
        ("means-primary", "ADLB", mean_difference, float),
    ],
)
def test_analytic_simple_counts_of_the_tables_give_the_result_reported(name, table, analyse, scale):
    trials, tables = flawed(name)
    for trial in trials:
        own = [r for r in tables[table].rows if r["REPLIC"] == trial.replicate]
        reported, planned = (r for r in tables["RESULTS"].rows if r["REPLIC"] == trial.replicate)
        assert (reported["CONDUCT"], planned["CONDUCT"]) == ("own", "without the flaws")
        assert (reported["CHOSENFL"], reported["PUBLFL"]) == ("", "")
        for result, columns in (
            (reported, ("TRTAN", "AVAL", "ANL01FL")),
            (planned, ("TRTPN", "PLAVAL", "PLANLFL")),
        ):
            arm, value, flag = columns
            value = f"{value}C" if table == "ADRS" else value
            assert analyse(own, arm, value, flag) == pytest.approx(
                scale(result["ESTIMATE"]), abs=1e-7
            )
        assert reported["ESTIMATE"] != planned["ESTIMATE"]


def test_property_what_differs_from_the_trial_without_flaws_is_told_of_the_patient():
    trials, tables = flawed("ten-lines")
    told = {row["USUBJID"]: row for row in tables["ADSL"].rows}
    differing = 0
    for row in tables["ADRS"].rows:
        patient = told[row["USUBJID"]]
        assert (patient["TRT01P"], patient["TRT01A"]) == (row["TRTP"], row["TRTA"])
        names = (("AVALC", "PLAVALC"), ("TRTA", "TRTP"), ("ANL01FL", "PLANLFL"))
        if any(row[reported] != row[planned] for reported, planned in names):
            differing += 1
            assert patient["TOUCHED"]
        if row["REASND"] == "lost":
            assert (row["AVAL"], row["AVALC"], row["ANL01FL"]) == (None, "", "")
            assert "differential-loss" in patient["TOUCHED"]
    assert differing > 50
    assert Counter(row["REASND"] for row in tables["ADRS"].rows)["lost"] > 10
    assert len(told) == sum(len(trial.patients["patient"]) for trial in trials)


@pytest.mark.parametrize(
    "name",
    [
        "time-to-event",
        "binary-looks",
        "competing-primary",
        "counts-primary",
        "ordinal-primary",
        "days-alive-primary",
        "means-primary",
        "response",
    ],
)
def test_regression_at_strength_0_the_tables_are_those_without_flaws(name):
    off = Conduct(id="off", title="t", exclusion=Exclusion(strength=0.0))
    _, found = tables_with(name, off)
    for table in tables_without(name).values():
        visits = name == "response" and table.name == "ADRS"  # there the read-out alone
        differ = {"LOOK", "ANL01FL", *(("REASND",) if visits else ())}
        names = [v.name for v in table.variables if v.name not in differ]
        own = [r for r in table.rows if not visits or r["ANL01FL"] == "Y"]
        rows = found[table.name].rows
        if table.name == "RESULTS":
            rows = [row for row in rows if row["CONDUCT"] == "off"]
        assert [said(row, names) for row in rows] == [said(row, names) for row in own]
        for row, other in zip(own, rows, strict=True):
            if "ANL01FL" in row:  # a read-out not seen is not analysed
                seen = row["AVAL"] is not None and row.get("ANL01FL") == "Y"
                assert other["ANL01FL"] == other["PLANLFL"] == ("Y" if seen else "")
            if "PLAVAL" in other:
                assert other["PLAVAL"] == other["AVAL"]
                assert other["TRTA"] == other["TRTP"]


def test_regression_flaws_are_named_and_never_left_out_in_silence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    total = ("--set", "protocol.sample_size={total: 120}", "--scenario", "or-082")

    def told(*words, status=0):
        capsys.readouterr()
        assert main([str(word) for word in words]) == status
        out = capsys.readouterr()
        return " ".join((out.out if status == 0 else out.err).split())

    told("bias", "sepsis", *total, "--replicates", "300", "--out", "run")
    named = ("--scenario", "or-082", "--out", "tables")
    refused = told("export", "run", *named, status=2)
    assert "holds trials with flaws, and no flaw is named" in refused
    assert "Add --conduct poor" in refused
    refused = told("export", "run", "--conduct", "poor", "--flaw", "exclusion=0", *named, status=2)
    assert "--flaw cannot change a run" in refused
    refused = told("export", "run", "--conduct", "poor", "--replicate", "301", *named, status=2)
    assert "must be at most 300" in refused
    assert not (tmp_path / "tables").exists()
    shown = told("export", "run", "--conduct", "poor", *named)
    assert "Carried out with conduct 'poor' (foreseen-allocation" in shown
    readme = (tmp_path / "tables" / "README.md").read_text(encoding="utf-8")
    assert "with conduct 'poor'" in readme
    with (tmp_path / "tables" / "define.csv").open(encoding="utf-8") as stream:
        defined = {(row["dataset"], row["variable"]) for row in csv.DictReader(stream)}
    for name in ("adsl", "adrs", "results"):
        with (tmp_path / "tables" / f"{name}.csv").open(encoding="utf-8") as stream:
            header = next(csv.reader(stream))
        assert {(name.upper(), column) for column in header} <= defined

    told("simulate", "sepsis", *total, "--replicates", "20", "--out", "run")
    shown = told("export", "run", "--scenario", "or-082", "--out", "without")
    assert "Carried out without flaws. The run also holds trials with flaws" in shown
    assert "add --conduct poor" in shown
    readme = (tmp_path / "without" / "README.md").read_text(encoding="utf-8")
    assert "Carried out without flaws" in readme
