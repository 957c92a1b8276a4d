"""One trial of a run again: the stored row exactly, and patients that add up to it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest

from conftest import CORPUS, NO_SITES, needs
from trialsim import load_template, plan_simulation
from trialsim.analyse.binary import analyse_counts
from trialsim.engine.run import run
from trialsim.engine.store import InMemory
from trialsim.kernels.survival import risk_tables, survival_data, weighted_log_rank
from trialsim.trial import Path

NO_STRATA = "protocol.allocation={}"
LOOKS = (
    "protocol.looks=[{at: {information: 0.3}, efficacy_z: 2.8, futility_z: -0.5}, "
    "{at: {information: 0.7}, efficacy_z: 2.4}, {at: {information: 1}, efficacy_z: 2.0}]"
)
TOTAL = "protocol.sample_size={total: 203}"
COUNTED = {
    "patients": ["protocol.sample_size={total: 203}"],
    "counts": [NO_STRATA, TOTAL],
    "counts-looks": [NO_STRATA, TOTAL, LOOKS],
    "counts-simple": ["protocol.allocation={method: simple}", TOTAL, LOOKS],
    "counts-fixed": [
        NO_STRATA,
        "protocol.sample_size={per_arm: {thymalfasin: 120, placebo: 83}}",
        LOOKS,
    ],
    "counts-2-to-1": [
        "protocol.allocation={ratio: {thymalfasin: 2, placebo: 1}, block_sizes: [9]}",
        TOTAL,
        LOOKS,
    ],
}


@pytest.mark.parametrize("name", COUNTED)
def test_property_the_patients_of_a_trial_add_up_to_its_stored_row(name):
    plan = plan_simulation(
        load_template("sepsis", settings=[*NO_SITES, *COUNTED[name]]), ["or-041"]
    )
    assert (plan.jobs[0].path is Path.SUFFICIENT_STATISTICS) == name.startswith("counts")
    store = InMemory()
    (simulation,) = run(plan.jobs[:1], n_replicates=300, seed=4, store=store)
    for replicate in (1, 2, 77, 300):
        trial = plan.replay("or-041", 4, replicate, store)
        stored = simulation.results[0][0].only(slice(replicate - 1, replicate))
        assert trial.looks.same_as(stored)
        arms, events = trial.patients["arm"], trial.patients["event"]
        counts = [
            (int(events[arms == arm].sum()), int((arms == arm).sum()))
            for arm in ("thymalfasin", "placebo")
        ]
        table = [np.array([n]) for pair in counts for n in pair]
        again = analyse_counts(*table, plan.jobs[0].plans[0])
        assert again.estimate[0, 0] == stored.estimate[0, trial.stopped_at]
        assert again.information[0, 0] == stored.information[0, trial.stopped_at]


def test_property_given_counts_every_order_of_patients_is_equally_likely():
    """Of the patients drawn given counts, any place in a block is treated equally often."""
    plan = plan_simulation(load_template("sepsis", settings=[NO_STRATA, TOTAL]), ["or-041"])
    places = Counter[int]()
    for replicate in range(1, 201):
        arms = plan.replay("or-041", 1, replicate).patients["arm"][:200]
        blocks = (arms == "thymalfasin").reshape(50, 4)
        assert (blocks.sum(axis=1) == 2).all()
        places.update({i: int(n) for i, n in enumerate(blocks.sum(axis=0))})
    shares = np.array([places[i] for i in range(4)]) / (200 * 50)
    assert np.abs(shares - 0.5).max() < 4 * np.sqrt(0.25 / 10_000)  # 4 MCSE


def test_property_survival_patients_give_back_the_log_rank_statistic():
    name = str(CORPUS / "valid" / "time-to-event.yaml")
    plan = plan_simulation(
        load_template(name, settings=["protocol.endpoints.death.analysis=log-rank"]), ["good"]
    )
    for replicate in (1, 5, 256):
        trial = plan.replay("good", 1, replicate)
        seen, look = trial.patients, trial.stopped_at
        data = survival_data(seen["days"], seen["event"].astype(int), seen["arm"] == "drug")
        assert data.event.sum() == trial.looks.information[0, look]
        z = -weighted_log_rank(risk_tables(data)).z[0, 0]
        assert z == pytest.approx(trial.looks.z[0, look], abs=1e-9)
        assert set(seen["why_not_seen"]) <= {"", "lost", "end of follow-up", "data cut-off"}
        assert ((seen["why_not_seen"] == "") == seen["event"]).all()


def test_property_response_patients_show_states_at_every_visit():
    plan = plan_simulation(load_template("chronic-hepatitis-b"), ["chien-1998"])
    trial = plan.replay("chien-1998", 1, 3)
    seen = trial.patients
    states = [name for name in seen if name.endswith("_state")]
    assert len(states) == 7
    last = states[-1]
    assert ((seen[last] == "response") == seen["event"]).all()
    assert set(np.unique(seen[last])) <= {"none", "response", "relapse", "missed", "death", "loss"}
    assert set(seen["planned_doses"]) == {0, 52}  # twice weekly for 26 weeks; untreated


def test_regression_replay_writes_every_patient_once(trialsim, tmp_path):
    words = ("replay", "sepsis", "--scenario", "or-082", "--replicate", "7")
    done = trialsim(*words, "--total", "120", "--seed", "3", "--out", "t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sepsis, trial 7 of seed 3. In truth: OR 0.82" in " ".join(done.stdout.split())
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["patient"] for row in rows] == [str(i) for i in range(1, 121)]
    assert {"age-group", "site", "stratum", "arm", "planned_doses", "event"} <= set(rows[0])
    again = trialsim(*words, "--out", "t.csv", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_regression_replay_of_a_run_checks_its_row(trialsim, tmp_path):
    made = trialsim(
        "simulate", "sepsis", "--replicates", "300", "--seed", "5", "--out", "run", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    words = ("replay", "run", "--scenario", "or-041", "--replicate", "300")
    done = trialsim(*words, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["seed"] == 5
    assert len(document["rows"]) == 1106
    other = trialsim(*words, "--seed", "6", cwd=tmp_path)
    assert other.returncode == 2
    assert "--seed cannot change a run" in other.stderr
    several = trialsim("replay", "run", cwd=tmp_path)
    assert "Name one with --scenario" in several.stderr


def test_regression_parquet_holds_what_the_csv_does(trialsim, tmp_path):
    needs("parquet", find_spec("pyarrow"))
    from pyarrow import parquet

    words = ("replay", "delayed-effect", "--scenario", "at-once")
    for name in ("t.csv", "t.parquet"):
        assert trialsim(*words, "--out", name, cwd=tmp_path).returncode == 0
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    table = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(rows) == len(table) == 360
    assert [float(row["days"]) for row in rows] == [row["days"] for row in table]
