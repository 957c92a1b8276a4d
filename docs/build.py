"""Make everything in ``docs/`` and ``protocols/schema/`` that a command makes.

Run by ``make docs``; the tests fail where what is committed is no longer what this makes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from trialsim.protocol.catalogue import schema_paths
from trialsim.protocol.load import json_schemas

ROOT = Path(__file__).parents[1]


def build_schemas() -> None:
    """Write the JSON Schemas of the file format."""
    for name, path in schema_paths().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(json_schemas()[name], indent=1) + "\n", encoding="utf-8")


def build_pictures() -> None:
    """Write the README's picture, the screen under it, and the sample report."""
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    command = [Path(sys.executable).with_name("trialsim"), "simulate", "sepsis", "--out", "run"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        drawn = Path(folder) / "run" / "figures" / "observed.svg"
        shutil.copy(drawn, images / "sepsis-observed.svg")
        sample = ROOT / "docs" / "sample-report.html"
        report = [command[0], "report", "run", "--out", sample]
        subprocess.run(report, cwd=folder, check=True, capture_output=True)
    screen = done.stdout.replace(str(command[0]), "trialsim")  # no path of this machine
    (ROOT / "docs" / "sepsis-screen.txt").write_text(screen, encoding="utf-8")


if __name__ == "__main__":
    build_schemas()
    build_pictures()
