"""Make everything in ``docs/`` and ``protocols/schema/`` that a command makes, then the site.

Run by ``make docs``; the tests fail where what is committed is no longer what this makes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from notebook import write_notebook
from telling import printed, retold, told_pages

from trialsim.protocol.reading.catalogue import schema_paths
from trialsim.protocol.reading.load import json_schemas

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
        words = ["followup", "chronic-hepatitis-b", "--variant", "dosing", "--regimens"]
        quick = ["--replicates", "200", "--out", "regimens"]  # the figure shows what is exact
        subprocess.run([command[0], *words, *quick], cwd=folder, check=True, capture_output=True)
        drawn = Path(folder) / "regimens" / "figures" / "regimens.svg"
        shutil.copy(drawn, images / "dosing-regimens.svg")
    screen = done.stdout.replace(str(command[0]), "trialsim")  # no path of this machine
    (ROOT / "docs" / "sepsis-screen.txt").write_text(screen, encoding="utf-8")


def build_pages() -> None:
    """Write the pages whose commands a reader repeats, and their figures."""
    for page in told_pages():
        page.write_text(retold(page, printed), encoding="utf-8")
    write_notebook(ROOT / "examples" / "python.md")


def build_lessons() -> None:
    """Write the sheets of the lessons."""
    folder = ROOT / "examples" / "lessons"
    subprocess.run([sys.executable, folder / "lessons.py"], cwd=folder, check=True)


def build_site() -> None:
    """Write every page of ``docs/`` and ``examples/`` to ``site/``, to be read offline."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    subprocess.run(words, cwd=ROOT, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})


if __name__ == "__main__":
    build_schemas()
    build_pages()
    build_lessons()
    build_pictures()
    build_site()
