"""Runs to be disturbed: the installed command in processes of its own, and what it left."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("trialsim"))
WORDS = ("simulate", "sepsis", "--scenario", "or-082", "--scenario", "no-effect")
SIZE = ("--replicates", "40000")


def start(*words, cwd, **more):
    """Start the command; its output is kept."""
    return subprocess.Popen(
        [COMMAND, *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def finish(process, seconds=120):
    """Return exit status and error output; a hang fails."""
    _, errors = process.communicate(timeout=seconds)
    return process.returncode, errors


def digest(run):
    """SHA-256 of all chunks in order, and the result."""
    found = hashlib.sha256()
    for path in sorted((run / "chunks").rglob("*.npz")):
        found.update(path.relative_to(run).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest(), (run / "results" / "simulate.json").read_bytes()


def n_chunks(run):
    """Chunks there now."""
    return len(list((run / "chunks").rglob("*.npz")))


def until(condition, seconds=60):
    """Wait for something to happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def children(pid):
    """Processes started by a process, and by those."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            own = int(stat.parent.name)
            found += [own, *children(own)]
    return found


def pool_workers(pid):
    """Worker processes of a driver."""
    return [child for child in children(pid) if b"spawn_main" in _command_line(child)]


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(pid):
    """Kill without warning."""
    os.kill(pid, signal.SIGKILL)
