"""Who computes does not matter: executors, imports, scripts without a guard, precision."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec

import pytest

from conftest import needs
from trialsim import RequestError, SimulationError, load_template, plan_simulation
from trialsim.engine import workers as engine_workers
from trialsim.engine.run import _missing, run
from trialsim.engine.store import ChunkFolder, InMemory, series_of
from trialsim.engine.workers import (
    _PARCEL,
    _folder_for_parcels,
    _packed,
    _pool,
    _remove_parcels,
)
from trialsim.studies.simulation import Precision

SMALL = ["protocol.sample_size.total=60"]


def small_plan(*settings):
    return plan_simulation(load_template("sepsis", settings=[*SMALL, *settings]), ["or-082"])


def test_property_any_executor_gives_the_results_of_one_process():
    plan = small_plan()
    alone = run(plan.jobs, n_replicates=3000, seed=2)
    with ThreadPoolExecutor(3) as executor:
        together = run(plan.jobs, n_replicates=3000, seed=2, workers=executor)
    for one, other in zip(alone, together, strict=True):
        assert all(a.same_as(b) for (a,), (b,) in zip(one.results, other.results, strict=True))


class Broken(ThreadPoolExecutor):
    """An executor whose processes are gone."""

    def submit(self, *args, **kwargs):
        future = Future()
        future.set_exception(BrokenProcessPool("its processes are gone"))
        return future


def test_regression_a_broken_executor_is_an_error_that_says_how_to_go_on():
    with pytest.raises(SimulationError, match=r"its processes are gone.*goes on from there"):
        run(small_plan().jobs, n_replicates=300, seed=1, workers=Broken())


HEAVY = ("matplotlib", "scipy.stats", "pyarrow", "pandas", "scipy.optimize")
IN_A_WORKER = """
import sys
from trialsim.engine.workers import _compute, _folder_for_parcels, _one_blas_thread, _pool
import pickle, os
if __name__ == "__main__":
    from trialsim import load_template, plan_simulation
    from trialsim.engine.run import _missing
    from trialsim.engine.store import InMemory
    plan = plan_simulation(load_template("sepsis"), ["or-082"])
    task = next(iter(_missing(plan.jobs[0], 256, 1, InMemory())))
    with _one_blas_thread(), _folder_for_parcels() as parcels, _pool(1, parcels) as pool:
        pool.submit(_compute, task).result()
        print(sorted(pool.submit(eval, "list(__import__('sys').modules)").result()))
        print(pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result())
"""


def test_property_workers_import_nothing_heavy_and_use_one_blas_thread(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(IN_A_WORKER)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules, threads = done.stdout.splitlines()
    assert "'numpy'" in modules
    assert not [name for name in HEAVY if f"'{name}'" in modules]
    assert threads == "1"


WITHOUT_GUARD = """
from trialsim import load_template, plan_simulation
plan_simulation(load_template("sepsis"), ["or-082"]).simulate(replicates=2000, workers=2)
"""


def test_regression_a_script_without_a_main_guard_gets_a_sentence(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_GUARD)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "if __name__ == '__main__':" in done.stderr
    assert "bootstrapping phase" not in done.stderr
    assert done.stderr.count("Traceback") == 1  # the caller's own, of the RequestError


def test_property_one_two_four_workers_and_resumed_runs_give_one_document(trialsim, tmp_path):
    words = ("simulate", "sepsis", "--replicates", "3000", "--json")
    seen = {trialsim(*words, "--workers", n, cwd=tmp_path).stdout for n in ("1", "2", "4")}
    part = ("simulate", "sepsis", "--replicates", "1000", "--out", "run")
    assert trialsim(*part, cwd=tmp_path).returncode == 0
    resumed = trialsim(*words, "--out", "run", cwd=tmp_path)
    assert {*seen, resumed.stdout} == {resumed.stdout}


def test_property_precision_runs_whole_blocks_until_it_is_reached():
    plan = small_plan()
    result = plan.simulate(seed=1, precision=Precision(0.006))
    assert result.n_replicates % plan.jobs[0].block_width == 0
    assert result.n_replicates > 1000
    power = next(row for row in result.rows if row.headline)
    assert (power.upper - power.lower) / (2 * 1.959963984540054) <= 0.006
    assert not [w for w in result.warnings if w.code == "precision"]
    again = plan.simulate(seed=1, replicates=result.n_replicates)
    assert [row.value for row in again.rows] == [row.value for row in result.rows]


def test_regression_precision_out_of_reach_is_a_warning_with_what_was_reached(trialsim, tmp_path):
    words = ["simulate", "sepsis", "--scenario", "or-082", *("--set", SMALL[0]), "--json"]
    words += ["--precision", "0.001", "--max-replicates", "3000"]
    done = trialsim(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    warning = next(w for w in document["warnings"] if w["code"] == "precision")
    assert "2,816 replicates" in warning["text"]  # whole blocks of 256 below 3,000
    assert document["arguments"]["precision"] == 0.001


def test_regression_a_chunk_folder_made_elsewhere_cannot_lead_out_of_itself(tmp_path):
    (tmp_path / "chunks").mkdir()
    (tmp_path / "chunks" / "manifest.jsonl").write_text(
        '{"file": "../../secret/000000-1.npz", "sha256": "0"}\nnot json\n{"file": 3}\n'
    )
    assert ChunkFolder(tmp_path / "chunks", read_only=True).series() == []


def test_property_a_store_loads_what_was_kept_whatever_the_chunks():
    plan = small_plan()
    job = plan.jobs[0]
    series = series_of(job, job.truths[0], 1)
    store = InMemory()
    run([job], n_replicates=300, seed=1, store=store)
    run([job], n_replicates=5000, seed=1, store=store)  # extends it
    (whole,) = run([job], n_replicates=5000, seed=1)
    assert store.load(series, 5000)[0].same_as(whole.results[0][0])
    assert store.row(series, 4321)[0].same_as(whole.results[0][0].only(slice(4321, 4322)))
    assert store.n_replicates(series) == 5120


@pytest.mark.parametrize("how", ["finished", "left early", "broken"])
def test_regression_nothing_of_a_pool_is_left_when_it_has_been_used(how):
    """Closed in the background, it could print a traceback while Python ended."""
    before = set(threading.enumerate())
    task = next(iter(_missing(small_plan().jobs[0], 256, 1, InMemory())))
    with _folder_for_parcels() as folder:
        try:
            with _pool(2, folder) as pool:
                pool.submit(_packed, task, folder).result()
                if how == "left early":
                    pool.submit(time.sleep, 600)
                    raise TimeoutError
                if how == "broken":
                    pool.submit(os._exit, 1).result()
        except (TimeoutError, BrokenProcessPool):
            assert how != "finished"
        assert set(threading.enumerate()) <= before
        assert not multiprocessing.active_children()


def test_regression_dask_that_is_not_installed_is_named(monkeypatch):
    needs("dask", find_spec("distributed"))

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(engine_workers, "import_module", missing)
    with pytest.raises(RequestError, match=r"trialsim\[dask\]"):
        run(small_plan().jobs, n_replicates=300, seed=1, workers=engine_workers.Cluster("tcp://x"))


def test_regression_a_temporary_folder_that_cannot_be_written_is_told_with_a_remedy(
    tmp_path, monkeypatch
):
    folder = tmp_path / "gone"
    task = next(iter(_missing(small_plan().jobs[0], 256, 1, InMemory())))
    with pytest.raises(SimulationError, match="cannot take what workers found") as told:
        _packed(task, str(folder))()
    assert "TMPDIR" in str(told.value)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(SimulationError, match="cannot take what workers found"):
        run(small_plan().jobs, n_replicates=300, seed=1, workers=2)


def test_regression_workers_without_a_driver_may_clear_up_at_once(tmp_path):
    """One that found the folder gone once stayed for ever: nobody was left to end it."""
    for number in range(300):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        for name in "abc":
            (folder / f"{_PARCEL}{name}").touch()
        with ThreadPoolExecutor(2) as both:
            for done in [both.submit(_remove_parcels, folder) for _ in range(2)]:
                done.result()
        assert not folder.exists()
    _remove_parcels(folder)
