"""Shared by all tests: how many examples, where things are, what must not skip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# Compiled kernels are tested with their bounds checked, apart from those a user has cached.
os.environ["NUMBA_BOUNDSCHECK"] = "1"
os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / "trialsim-tests-numba")
# Threads that wait for one another took three quarters of the time of small matrices.
os.environ.setdefault("OMP_NUM_THREADS", "1")
CORPUS = ROOT / "tests" / "protocols"

settings.register_profile(
    "here",
    max_examples=int(os.environ.get("TRIALSIM_EXAMPLES", "20")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("here")


# Without sites to enrol them, patients of a trial with looks come one after another.
NO_SITES = ("protocol.operations=null", "nature.operations=null")
MOMENTS = int(os.environ.get("TRIALSIM_MOMENTS", "1"))  # at which each fault is made to happen


def needs(what: str, present: object) -> None:
    """Skip a test where something is absent; fail where TRIALSIM_REQUIRE says it must be there."""
    if present:
        return
    if what in os.environ.get("TRIALSIM_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required here, and absent")
    pytest.skip(f"{what} is absent", allow_module_level=True)


@pytest.fixture(scope="session")
def trialsim(tmp_path_factory):
    """Run a command in a process of its own, from a program that has imported already."""
    command = str(Path(sys.executable).with_name("trialsim"))
    if not hasattr(os, "fork"):
        return lambda *words, cwd, **more: _started(command, words, cwd, more)
    at = tmp_path_factory.mktemp("commands")
    out, err = at / "stdout", at / "stderr"
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "warm_start.py"), command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        requests, answers = server.stdin, server.stdout

        def run(*words: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
            if more.keys() - {"check"}:  # another environment is known only to a new process
                return _started(command, words, cwd, more)
            given = {"words": words, "cwd": str(cwd), "stdout": str(out), "stderr": str(err)}
            print(json.dumps(given), file=requests, flush=True)
            status = int(answers.readline())
            told = (path.read_text(encoding="utf-8") for path in (out, err))
            return subprocess.CompletedProcess([command, *words], status, *told)

        yield run
        requests.close()


def _started(
    command: str, words: tuple[str, ...], cwd: Path, more: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *words], cwd=cwd, capture_output=True, text=True, timeout=300, **more
    )
