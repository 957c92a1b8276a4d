"""Make everything in ``docs/`` and ``protocols/schema/`` that a command makes, then the site.

Run by ``make docs``; the tests fail where what is committed is no longer what this makes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
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
        words = ["followup", "chronic-hepatitis-b", "--variant", "dosing", "--regimens"]
        quick = ["--replicates", "200", "--out", "regimens"]  # the figure shows what is exact
        subprocess.run([command[0], *words, *quick], cwd=folder, check=True, capture_output=True)
        drawn = Path(folder) / "regimens" / "figures" / "regimens.svg"
        shutil.copy(drawn, images / "dosing-regimens.svg")
    screen = done.stdout.replace(str(command[0]), "trialsim")  # no path of this machine
    (ROOT / "docs" / "sepsis-screen.txt").write_text(screen, encoding="utf-8")


WALKED = [
    ROOT / "docs" / "contribute" / "a-template.md",
    ROOT / "docs" / "your-own-protocol.md",
    ROOT / "docs" / "dosing.md",
]
_FENCE = re.compile(r"```(\w+)(?: (\S+))?\n(.*?)```", flags=re.DOTALL)


def retold(page: Path, run: Callable[[list[str], str], str] | None = None) -> str:
    """Return a page as its own commands tell it now.

    Blocks that name a file are written, blocks of a console are run, one after another in an empty
    folder; what a command prints replaces what stood under it.
    """
    with tempfile.TemporaryDirectory() as folder:

        def again(block: re.Match[str]) -> str:
            language, name, text = block[1], block[2], block[3]
            if name:
                (Path(folder) / name).write_text(text, encoding="utf-8")
            if language != "console":
                return block[0]
            commands = [line for line in text.splitlines() if line.startswith("$ ")]
            tell = run or printed
            told = "".join(f"{c}\n{tell(shlex.split(c[2:]), folder)}" for c in commands)
            return f"```console\n{told}```"

        return _FENCE.sub(again, page.read_text(encoding="utf-8"))


def printed(words: list[str], folder: str) -> str:
    """Return what a command prints; of one that is refused, why."""
    program, *words = words
    there = Path(sys.executable)
    there = there if program == "python" else there.with_name(program)
    done = subprocess.run(
        [str(there), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    said = done.stdout + (done.stderr if done.returncode else "")
    return re.sub(r" in [0-9.]+s$", "", said.replace(str(there), program), flags=re.MULTILINE)


def build_pages() -> None:
    """Write the pages whose commands a reader repeats."""
    for page in WALKED:
        page.write_text(retold(page), encoding="utf-8")


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
