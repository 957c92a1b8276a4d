"""Long runs die: each fault is really made to happen, at random moments; the answer stays."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import MOMENTS, needs
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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digest of a run nobody disturbed, and the seconds from its first chunk to its last."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=folder)
    until(lambda: n_chunks(folder / "run") > 0)
    first = time.monotonic()
    status, errors = finish(process)
    assert status == 0, errors
    return digest(folder / "run"), time.monotonic() - first


def at_a_random_moment(process, run, seconds):
    """Wait for the first chunk, and then for any part of the rest."""
    until(lambda: n_chunks(run) > 0 or process.poll() is not None)
    time.sleep(random.uniform(0, 0.6 * seconds))


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_property_a_killed_pool_worker_costs_nothing(undisturbed, tmp_path, moment):
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path)
    at_a_random_moment(process, tmp_path / "run", undisturbed[1] if moment else 0)
    there = pool_workers(process.pid)  # nobody, where the run was quicker than the moment
    assert there or moment
    for worker in random.sample(there, min(1, len(there))):
        kill(worker)
    status, errors = finish(process)
    assert status == 0, errors
    assert digest(tmp_path / "run") == undisturbed[0]


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_property_a_killed_driver_leaves_a_run_that_goes_on(
    undisturbed, trialsim, tmp_path, moment
):
    parcels = tmp_path / "parcels"
    parcels.mkdir()
    env = {**os.environ, "TMPDIR": str(parcels)}
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path, env=env)
    at_a_random_moment(process, tmp_path / "run", undisturbed[1])
    workers = children(process.pid)
    kill(process.pid)
    finish(process)
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))  # no orphans
    assert not list(parcels.glob("trialsim-*"))  # what workers had handed over is gone
    partial = trialsim("report", "run", "--out", "partial.html", cwd=tmp_path)
    if partial.returncode:  # killed before the first block of both was there
        assert "does not have one block of every scenario yet" in partial.stderr
    elif not (tmp_path / "run" / "results" / "simulate.sha256").exists():
        assert "Partial run: " in (tmp_path / "partial.html").read_text()
    again = trialsim(*WORDS, *SIZE, "--out", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert digest(tmp_path / "run") == undisturbed[0]


def test_property_ctrl_c_is_exit_130_and_leaves_a_run_that_can_be_read(
    undisturbed, trialsim, tmp_path
):
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path)
    manifest = tmp_path / "run" / "chunks" / "manifest.jsonl"
    first_blocks = re.compile(r"trial--[^/]*/000000-")
    until(lambda: manifest.exists() and len(first_blocks.findall(manifest.read_text())) == 2)
    process.send_signal(signal.SIGINT)
    status, errors = finish(process)
    assert status == 130, errors
    assert "Traceback" not in errors
    assert "trials per scenario are kept" in errors
    partial = trialsim("report", "run", "--markdown", "partial.md", cwd=tmp_path)
    assert partial.returncode == 0, partial.stderr
    assert "Partial run: " in (tmp_path / "partial.md").read_text()
    assert trialsim(*WORDS, *SIZE, "--out", "run", cwd=tmp_path).returncode == 0
    assert digest(tmp_path / "run") == undisturbed[0]


def test_property_a_chunk_damaged_by_hand_is_computed_again(undisturbed, trialsim, tmp_path):
    assert trialsim(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path).returncode == 0
    chunks = sorted((tmp_path / "run" / "chunks").rglob("*.npz"))
    short, flipped, gone = random.sample(chunks, 3)
    short.write_bytes(short.read_bytes()[:1000])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    gone.unlink()
    with (tmp_path / "run" / "chunks" / "manifest.jsonl").open("a") as stream:
        stream.write('{"file": "trial--or-0')  # a run killed over its last line
    again = trialsim(*WORDS, *SIZE, "--out", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("no longer what was written: it is computed again") == 2
    assert digest(tmp_path / "run") == undisturbed[0]
    quiet = trialsim(*WORDS, *SIZE, "--out", "run", cwd=tmp_path)
    assert "computed again" not in quiet.stderr


def test_regression_a_second_writer_is_refused(tmp_path):
    first = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path)
    until(lambda: (tmp_path / "run" / "chunks" / "lock").exists())
    status, errors = finish(start(*WORDS, *SIZE, "--out", "run", cwd=tmp_path))
    assert status == 2
    assert "run is being written by another run" in errors
    assert finish(first)[0] == 0


ALWAYS_DIES = """
import os, sys
if "spawn_main" in " ".join(sys.orig_argv):
    import trialsim.engine.blocks as blocks
    simulate_block = blocks.simulate_block
    def dies(job, seed, block):
        if block == 37 and any(t.scenario == "no-effect" for t in job.truths) and not job.unit:
            os.kill(os.getpid(), 9)
        return simulate_block(job, seed, block)
    blocks.simulate_block = dies
"""


def test_regression_a_task_that_always_dies_is_named_and_never_hangs(trialsim, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ALWAYS_DIES)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    size = ("--replicates", "12000")
    process = start(*WORDS, *size, *TWO, "--out", "run", cwd=tmp_path, env=env)
    status, errors = finish(process)
    assert status == 1
    assert "scenario no-effect, block 37 always ends the process that computes it" in errors
    assert "Traceback" not in errors
    for run in ("run", "afresh"):
        assert trialsim(*WORDS, *size, "--out", run, cwd=tmp_path).returncode == 0
    assert digest(tmp_path / "run") == digest(tmp_path / "afresh")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 48 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode == 0:
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)
        return
    # not root: a mount of a name space of our own, reached through the process that holds it
    held = f"{shlex.join(mount)} && echo there && exec sleep 600"
    command = ["unshare", "-rm", "sh", "-c", held]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        needs("tmpfs", holder.stdout.readline().strip() == "there")
        yield Path(f"/proc/{holder.pid}/root{disk}")
        holder.kill()


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_property_a_full_disk_is_a_clear_failure_and_the_run_goes_on(
    undisturbed, small_disk, trialsim, moment
):
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=small_disk)
    at_a_random_moment(process, small_disk / "run", undisturbed[1])
    with (small_disk / "ballast").open("wb") as ballast:
        try:
            while True:
                ballast.write(b"0" * 65536)
                ballast.flush()
        except OSError:
            pass
    status, errors = finish(process)
    assert status in (0, 1), errors  # 0 where it had written everything before
    if status:
        assert "No space left" in errors
        assert "Traceback" not in errors
    (small_disk / "ballast").unlink()
    again = trialsim(*WORDS, *SIZE, "--out", "run", cwd=small_disk)
    assert again.returncode == 0, again.stderr
    assert digest(small_disk / "run") == undisturbed[0]


def test_regression_a_run_that_cannot_fit_is_refused_before_work(small_disk, trialsim):
    done = trialsim(*WORDS, "--replicates", "500000", "--out", "run", cwd=small_disk)
    assert done.returncode == 2
    assert "MB free; this run needs" in done.stderr
    shutil.rmtree(small_disk / "run")


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.1])
def test_regression_a_second_ctrl_c_does_not_hang(tmp_path, gap):
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path)
    until(lambda: n_chunks(tmp_path / "run") > 0)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(gap)
    status, errors = finish(process, seconds=30)
    assert status == 130, errors
    assert "Traceback" not in errors
    until(lambda: not children(process.pid))


def test_regression_what_a_run_leaves_that_never_began_is_no_run(trialsim, tmp_path):
    (tmp_path / "run" / "chunks").mkdir(parents=True)
    (tmp_path / "run" / "chunks" / "lock").touch()
    (tmp_path / "run" / "record.json.part").touch()
    done = trialsim(*WORDS, "--replicates", "300", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_regression_a_run_stopped_after_a_finished_one_is_told_with_its_own_count(
    trialsim, tmp_path
):
    assert trialsim(*WORDS, "--replicates", "300", "--out", "run", cwd=tmp_path).returncode == 0
    process = start(*WORDS, *SIZE, *TWO, "--out", "run", cwd=tmp_path)
    until(lambda: n_chunks(tmp_path / "run") > 8)
    kill(process.pid)
    finish(process)
    done = trialsim("report", "run", "--markdown", "r.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Partial run: " in (tmp_path / "r.md").read_text()


FOREIGN = {
    "kernel": ("record.json", '"kernel": "numpy"', '"kernel": "cuda"'),
    "request": ("chunks/manifest.jsonl", '"replicates": 600', '"replicates": "many"'),
    "scenario": ("chunks/manifest.jsonl", '"scenario": ["or-082", "no-effect"]', '"scenario": 5'),
    "list": ("chunks/manifest.jsonl", '{"request"', "[" * 100_000 + '\n{"request"'),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_regression_a_foreign_run_folder_gives_no_traceback(trialsim, tmp_path, name):
    words = (*WORDS, "--replicates", "600", "--out", "run")
    assert trialsim(*words, cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "run" / "results")
    file, old, new = FOREIGN[name]
    path = tmp_path / "run" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    done = trialsim("report", "run", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if name == "list" else 2), done.stderr


def test_regression_nothing_is_written_through_a_link(trialsim, tmp_path):
    words = (*WORDS, "--replicates", "600", "--out", "run")
    assert trialsim(*words, cwd=tmp_path).returncode == 0
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    chunk = next((tmp_path / "run" / "chunks").rglob("trial--*/*.npz"))
    chunk.unlink()
    chunk.with_suffix(".part").symlink_to(victim)
    assert trialsim(*words, cwd=tmp_path).returncode == 0
    assert victim.read_text() == "mine"
