"""Shared by all tests: how many examples, where things are, what must not skip."""

from __future__ import annotations

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
CORPUS = ROOT / "tests" / "protocols"

settings.register_profile(
    "here",
    max_examples=int(os.environ.get("TRIALSIM_EXAMPLES", "20")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("here")


MOMENTS = int(os.environ.get("TRIALSIM_MOMENTS", "2"))  # at which each fault is made to happen


def needs(what: str, present: object) -> None:
    """Skip a test where something is absent; fail where TRIALSIM_REQUIRE says it must be there."""
    if present:
        return
    if what in os.environ.get("TRIALSIM_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required here, and absent")
    pytest.skip(f"{what} is absent")


@pytest.fixture(scope="session")
def trialsim():
    """Run the installed command in a process of its own."""
    command = Path(sys.executable).with_name("trialsim")

    def run(*words: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(command), *words], cwd=cwd, capture_output=True, text=True, timeout=300, **more
        )

    return run
