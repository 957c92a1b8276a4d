"""The report in a real browser: what a reader sees, and nothing that leaves the page."""

from __future__ import annotations

import shutil
import subprocess

from conftest import needs

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def test_regression_a_partial_run_is_marked_in_the_browser(trialsim, tmp_path):
    chromium = shutil.which("chromium")
    needs("browser", chromium)
    words = ("simulate", "sepsis", "--scenario", "or-082", "--replicates", "600", "--out", "run")
    assert trialsim(*words, cwd=tmp_path).returncode == 0
    for result in (tmp_path / "run" / "results").iterdir():  # as if it had been killed
        result.unlink()
    done = trialsim("report", "run", "--out", "r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = subprocess.run(
        [
            str(chromium),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            (tmp_path / "r.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Partial run: 600 trials per scenario of 600 asked for" in seen.stdout
    assert "PARTIAL RUN" in seen.stdout
    assert "CONSOLE" not in seen.stderr  # no error, no refused request
