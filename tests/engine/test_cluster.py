"""A real Dask cluster over tcp: the same bytes, and killed workers and schedulers."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import MOMENTS, needs
from engine.runs import SIZE, WORDS, children, digest, finish, kill, n_chunks, start, until


class Cluster:
    """A scheduler and two workers, each with its nanny, as processes."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = folder
        self.scheduler = self._dask(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"
        )
        until(self._answers)
        self.workers = [
            self._dask("worker", self.address, "--nthreads", "1", "--no-dashboard", name=str(i))
            for i in (1, 2)
        ]

    def _dask(self, *words, name="scheduler"):
        place = self.folder / name
        place.mkdir()
        with (place / "log").open("w") as log:
            command = [str(Path(sys.executable).with_name("dask")), *words]
            return subprocess.Popen(command, cwd=place, stdout=log, stderr=log)

    def _answers(self):
        with socket.socket() as there:
            return there.connect_ex(("127.0.0.1", self.port)) == 0

    def worker_processes(self):
        """The processes that compute, beneath their nannies."""
        return [
            child
            for worker in self.workers
            for child in children(worker.pid)
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def close(self):
        for process in (*self.workers, self.scheduler):
            for child in children(process.pid):
                kill(child)
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    needs("dask", find_spec("distributed"))
    started = Cluster(tmp_path)
    yield started
    started.close()


@pytest.fixture(scope="module")
def locally(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locally")
    status, errors = finish(start(*WORDS, *SIZE, "--out", "run", cwd=folder))
    assert status == 0, errors
    return digest(folder / "run")


def test_property_a_cluster_gives_the_bytes_of_one_process(cluster, locally, tmp_path):
    words = (*WORDS, *SIZE, "--cluster", cluster.address, "--out", "run")
    status, errors = finish(start(*words, cwd=tmp_path))
    assert status == 0, errors
    assert digest(tmp_path / "run") == locally


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_property_a_killed_dask_worker_costs_nothing(cluster, locally, tmp_path, moment):
    process = start(*WORDS, *SIZE, "--cluster", cluster.address, "--out", "run", cwd=tmp_path)
    until(lambda: n_chunks(tmp_path / "run") > 0 or process.poll() is not None)
    time.sleep(random.uniform(0, 1.0))
    kill(random.choice(cluster.worker_processes()))
    status, errors = finish(process)
    assert status == 0, errors
    assert digest(tmp_path / "run") == locally


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_property_a_killed_scheduler_is_a_clear_failure_and_the_run_goes_on(
    cluster, locally, tmp_path, moment
):
    process = start(*WORDS, *SIZE, "--cluster", cluster.address, "--out", "run", cwd=tmp_path)
    until(lambda: n_chunks(tmp_path / "run") > 0 or process.poll() is not None)
    time.sleep(random.uniform(0, 0.5))
    cluster.scheduler.kill()
    status, errors = finish(process)
    assert status in (0, 1), errors  # 0 where everything was computed before
    if status:
        assert "the workers stopped working: the scheduler does not answer" in errors
        assert "Traceback" not in errors
    status, errors = finish(start(*WORDS, *SIZE, "--workers", "2", "--out", "run", cwd=tmp_path))
    assert status == 0, errors
    assert digest(tmp_path / "run") == locally
