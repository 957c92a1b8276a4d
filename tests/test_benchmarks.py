"""The benchmark scripts answer where what they compare with is missing."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT


def test_regression_bench_peers_without_r_says_so_and_succeeds(tmp_path):
    script = ROOT / "benchmarks" / "peers" / "compare.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("R not found")
