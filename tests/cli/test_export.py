"""`trialsim export`: tables of simulated trials against the trials themselves, and lifelines."""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections import Counter
from importlib.util import find_spec
from math import exp, log

import numpy as np
import pytest

from conftest import ROOT, needs
from trialsim import RequestError, load_template, plan_simulation
from trialsim.cli import main
from trialsim.report.export_directory import write_export
from trialsim.report.parts.exported_tables import exported_tables

VALID = ROOT / "tests" / "protocols" / "valid"


def exported(name, scenario, replicates=(1,), seed=3):
    """Return the trials themselves, and their tables by name."""
    plan = plan_simulation(load_template(str(VALID / f"{name}.yaml")))
    trials = [plan.replay(scenario, seed, number) for number in replicates]
    tables = exported_tables(plan.resolved, plan.jobs[0].plans, trials)
    return plan, trials, {table.name: table for table in tables}


def numbers(rows, name="AVAL"):
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows])


CASES = (
    "time-to-event",
    "binary-looks",
    "several-endpoints",
    "competing-primary",
    "counts-primary",
    "ordinal-primary",
    "means-primary",
    "response",
    "single-arm",
)


def an_effect(name):
    return load_template(str(VALID / f"{name}.yaml")).template.scenarios[-1].id


@pytest.mark.parametrize("name", CASES)
def test_property_counts_of_every_table_are_those_of_the_replayed_trials(name):
    plan, trials, tables = exported(name, an_effect(name), (1, 4))
    adsl = tables["ADSL"].rows
    assert len({row["USUBJID"] for row in adsl}) == len(adsl)
    for trial in trials:
        own = [row for row in adsl if row["REPLIC"] == trial.replicate]
        assert Counter(row["TRT01P"] for row in own) == Counter(trial.patients["arm"].tolist())
        primary = tables["RESULTS"].rows[0]["PARAMCD"]
        rows = [
            row
            for table in ("ADTTE", "ADRS", "ADLB")
            for row in (tables[table].rows if table in tables else ())
            if (row["REPLIC"], row["PARAMCD"]) == (trial.replicate, primary)
        ]
        patients = trial.patients
        read = [row for row in rows if row.get("ANL01FL") == "Y"]
        if "event" in patients and read:
            assert np.nansum(numbers(read)) == np.nansum(patients["event"].astype(float))
            assert np.isnan(numbers(read)).sum() == np.isnan(patients["event"].astype(float)).sum()
        elif "event" in patients:
            times = [row for row in rows if "CNSR" in row]
            assert sum(row["CNSR"] == 0 for row in times) == patients["event"].sum()
            assert numbers(times).sum() == pytest.approx(patients["days"].sum())
        elif "ended" in patients:
            codes = Counter(row["CNSR"] for row in rows if "CNSR" in row)
            assert codes[0] == (patients["ended"] == "event").sum()
            assert codes[2] == (patients["ended"] == "competing event").sum()
        elif "events" in patients:
            assert numbers(read).sum() == patients["events"].sum()
            assert numbers(read, "EXPDAYS").sum() == pytest.approx(patients["days"].sum())
        elif "category" in patients:
            assert numbers(read).tolist() == patients["category"].tolist()
        else:
            last = [c for c in patients if c.startswith("visit_")][-1]
            assert np.nansum(numbers(read)) == pytest.approx(np.nansum(patients[last]))
    assert plan.resolved.template.id == adsl[0]["STUDYID"]
    for name in ("ADTTE", "ADRS", "ADLB"):
        keys = [
            (row["USUBJID"], row["PARAMCD"], row.get("AVISITN"))
            for row in (tables[name].rows if name in tables else ())
        ]
        assert len(set(keys)) == len(keys)
    for row in tables["ADLB"].rows if "ADLB" in tables else ():
        if row.get("CHG") is not None:
            assert row["CHG"] == pytest.approx(row["AVAL"] - row["BASE"], abs=1e-6)


def test_analytic_what_the_run_stored_is_in_the_results():
    _, trials, tables = exported("time-to-event", an_effect("time-to-event"), (1, 2, 3, 4, 5, 6))
    seen = set()
    for row, trial in zip(tables["RESULTS"].rows, trials, strict=True):
        assert row["LOOK"] == trial.stopped_at + 1
        assert row["FOUND"] == ("Y" if trial.final.rejected[0, 0] else "N")
        assert row["LOWER"] < row["ESTIMATE"] < row["UPPER"]
        assert row["PVALUE"] < 0.1 or row["FOUND"] == "N"
        seen.add((row["LOOK"], row["FOUND"]))
    assert {found for _, found in seen} == {"Y", "N"}
    assert len({look for look, _ in seen}) > 1


def test_reference_lifelines_finds_the_stored_hazard_ratio_and_p_in_the_tables():
    needs("oracles", find_spec("lifelines"))
    from lifelines import CoxPHFitter
    from lifelines.statistics import logrank_test
    from pandas import DataFrame, merge

    _, _, tables = exported("sites-enrol", "good", (1, 2, 9))
    adsl, adtte = (DataFrame(tables[name].rows) for name in ("ADSL", "ADTTE"))
    data = merge(adsl, adtte[["USUBJID", "AVAL", "CNSR"]], on="USUBJID")
    for stored in tables["RESULTS"].rows:
        own = data[data["REPLIC"] == stored["REPLIC"]]
        own = own.assign(event=1 - own["CNSR"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = CoxPHFitter().fit(own[["AVAL", "event", "TRT01PN"]], "AVAL", "event")
        arms = [own[own["TRT01PN"] == arm] for arm in (0, 1)]
        test = logrank_test(*(arm["AVAL"] for arm in arms), *(arm["event"] for arm in arms))
        assert exp(fit.params_["TRT01PN"]) == pytest.approx(stored["ESTIMATE"], rel=1e-5)
        assert test.p_value == pytest.approx(stored["PVALUE"], rel=1e-5)


def test_analytic_the_odds_ratio_of_the_tables_is_the_stored_one():
    _, _, tables = exported("ten-lines", an_effect("ten-lines"), (1, 2))
    for stored in tables["RESULTS"].rows:
        rows = [row for row in tables["ADRS"].rows if row["REPLIC"] == stored["REPLIC"]]
        cells = Counter((row["TRTPN"], row["AVALC"]) for row in rows)
        ratio = log(cells[1, "Y"] * cells[0, "N"] / (cells[1, "N"] * cells[0, "Y"]))
        assert ratio == pytest.approx(log(stored["ESTIMATE"]), abs=1e-8)


def test_regression_the_same_trials_give_the_same_bytes_and_a_full_folder_is_refused(tmp_path):
    needs("parquet", find_spec("pyarrow"))
    words = ["export", str(VALID / "time-to-event.yaml"), "--scenario", "good", "--replicate", "1"]
    for folder in ("one", "two"):
        assert main([*words, "3", "--parquet", "--out", str(tmp_path / folder)]) == 0
    one, two = (
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / f).iterdir()}
        for f in ("one", "two")
    )
    assert one == two
    assert set(one) >= {"adsl.csv", "adtte.csv", "adtte.parquet", "define.csv", "README.md"}
    readme = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    assert "They are not ADaM" in readme
    assert all(f"{one[name]}  {name}" in readme for name in one if name != "README.md")
    plan, _, tables = exported("time-to-event", "good")
    with pytest.raises(RequestError, match="exists already"):
        write_export(tmp_path / "one", plan.resolved, tuple(tables.values()), "")


def test_property_the_dictionary_names_every_variable_and_parquet_holds_what_csv_does(tmp_path):
    needs("parquet", find_spec("pyarrow"))
    import pyarrow.parquet as pq

    plan, _, tables = exported("several-endpoints", "effect")
    write_export(tmp_path / "x", plan.resolved, tuple(tables.values()), "One.", parquet=True)
    with (tmp_path / "x" / "define.csv").open(encoding="utf-8") as stream:
        defined = {(row["dataset"], row["variable"]) for row in csv.DictReader(stream)}
    seen = set()
    for path in (tmp_path / "x").glob("*.parquet"):
        table = pq.read_table(path)
        with path.with_suffix(".csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert table.num_rows == len(rows)
        seen |= {(path.stem.upper(), name) for name in rows[0]}
        for own, row in zip(table.to_pylist(), rows, strict=True):
            assert {k: "" if v is None else str(v) for k, v in own.items()} == row
    assert seen == defined


def test_regression_a_run_without_simulated_trials_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ("--set", "protocol.sample_size.total=40", "--runs", "2")
    assert main(["forecast", str(VALID / "forecast.yaml"), *settings, "--out", "run"]) == 0
    name = an_effect("forecast")
    assert main(["export", "run", "--scenario", name, "--out", "tables"]) == 2
    told = capsys.readouterr().err
    assert f"RUN holds no simulated trials of scenario {name}" in told
    assert "Run 'trialsim simulate' into it" in told


def test_regression_without_pyarrow_nothing_is_written(tmp_path, monkeypatch):
    plan, _, tables = exported("ten-lines", an_effect("ten-lines"))

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("trialsim.report.export_directory.import_module", absent)
    with pytest.raises(RequestError, match="needs pyarrow, which is not installed"):
        write_export(tmp_path / "x", plan.resolved, tuple(tables.values()), "", parquet=True)
    assert not (tmp_path / "x").exists()
