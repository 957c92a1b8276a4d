"""Slow evidence about long runs: memory, and tasks that kill every worker of a cluster."""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import needs
from engine.runs import (
    SIZE,
    WORDS,
    children,
    digest,
    finish,
    kill,
    n_chunks,
    pool_workers,
    start,
    until,
)
from engine.test_cluster import Cluster
from engine.test_faults import TWO
from engine.test_faults import undisturbed as undisturbed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MILLION = """
schema_version: 1
id: million
title: A long run
protocol:
  arms: [{id: drug, role: experimental}, {id: usual-care, role: control}]
  endpoints: [{id: death-28d, level: primary, kind: binary, event: death, at: 28 d, better: lower}]
  sample_size: {total: 1000}
nature: {control_risk: 0.30, severity_slope: 1}
scenarios: [{id: or-080, title: hoped for, effect: {odds_ratio: 0.80}}]
"""


def peak_megabytes(pid):
    """Largest resident memory a process has had."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM")), 0.0)


def test_analytic_a_million_replicates_of_1000_patients_stay_under_600_megabytes(tmp_path):
    (tmp_path / "million.yaml").write_text(MILLION)
    words = ("simulate", "million.yaml", "--replicates", "1000000", "--workers", "2", "--yes")
    process = start(*words, "--out", "run", cwd=tmp_path)
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for pid in (process.pid, *children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0.0), peak_megabytes(pid))
        time.sleep(0.1)
    status, errors = finish(process)
    assert status == 0, errors
    print(sorted(peaks.values()))
    assert sum(sorted(peaks.values())[-3:]) < 600  # driver and two workers


ALWAYS_DIES = """
import os, sys
import trialsim.engine.blocks as blocks
simulate_block = blocks.simulate_block
def dies(job, seed, block):
    if block == 5 and not job.unit:
        os.kill(os.getpid(), 9)
    return simulate_block(job, seed, block)
blocks.simulate_block = dies
"""


def test_regression_a_task_that_kills_every_dask_worker_is_named(tmp_path, monkeypatch):
    needs("dask", find_spec("distributed"))
    (tmp_path / "sitecustomize.py").write_text(ALWAYS_DIES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cluster = Cluster(tmp_path)
    monkeypatch.delenv("PYTHONPATH")
    try:
        words = ("simulate", "sepsis", "--scenario", "or-082", "--replicates", "3000")
        process = start(*words, "--cluster", cluster.address, "--out", "run", cwd=tmp_path)
        status, errors = finish(process, seconds=300)
    finally:
        cluster.close()
    assert status == 1
    assert "scenario or-082, block 5 always ends the process that computes it" in errors
    assert "Traceback" not in errors
    assert os.environ.get("PYTHONPATH") is None


def test_property_two_deaths_close_together_cost_seconds_not_minutes(undisturbed, tmp_path):
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path)
    for _ in range(2):
        until(lambda: n_chunks(tmp_path / "run") > 0 and pool_workers(process.pid))
        for worker in pool_workers(process.pid)[:1]:
            kill(worker)
        time.sleep(0.6)
    status, errors = finish(process, seconds=60)
    assert status == 0, errors
    assert digest(tmp_path / "run") == undisturbed[0]


def test_regression_no_cluster_at_an_address_is_a_sentence(tmp_path):
    needs("dask", find_spec("distributed"))
    words = (*WORDS, "--replicates", "300", "--cluster", "tcp://127.0.0.1:9", "--json")
    status, errors = finish(start(*words, cwd=tmp_path))
    assert status == 2
    assert "Traceback" not in errors
