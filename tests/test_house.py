"""The shape of the house: floors, what a cold start imports, what ships."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

# Lower floors first; a module may import from floors below its own, and from its own room.
FLOORS = [
    ["errors", "streams", "__init__"],
    ["protocol", "kernels"],
    ["trial"],
    ["sizing", "generate", "conduct", "operations"],
    ["analyse"],
    ["engine"],
    ["characteristics"],
    ["studies"],
    ["figures"],
    ["report"],
    ["cli"],
    ["app"],
    ["__main__"],
]
DOOR = ("trialsim.cli.commands", "trialsim.app.serve")  # the command that opens the page
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trialsim"):
            whole = node.module or ""
            found |= (
                {f"{whole}.{name.name}" for name in node.names} if whole == "trialsim" else {whole}
            )
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("trialsim")}
    return found


def misplaced(source: str, used: str) -> bool:
    own, other = room(source), room(used)
    if used == "trialsim.__version__" or (source, used) == DOOR:
        return False
    return own != other and FLOOR[other] >= FLOOR[own]


MODULES = sorted((ROOT / "trialsim").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_property_a_module_imports_only_from_below(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    source = ".".join(parts)
    if source == "trialsim.__init__":
        return  # names its public face for type checkers, imports nothing at run time
    wrong = {used for used in imports(path) if misplaced(source, used)}
    assert not wrong, f"{source} reaches up to {sorted(wrong)}"


def test_property_the_floor_test_can_fail():
    assert misplaced("trialsim.kernels.proportions", "trialsim.protocol.design")
    assert misplaced("trialsim.protocol.reading.load", "trialsim.studies.power")
    assert misplaced("trialsim.cli.design", "trialsim.app.serve")
    assert not misplaced("trialsim.studies.power", "trialsim.engine.run")


@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["check", "sepsis"], ["list", "--json"], ["simulate", "--help"]]
)
def test_property_quick_commands_import_nothing_heavy(words):
    script = (
        "import sys\n"
        "from trialsim.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'scipy', 'matplotlib', 'numba', 'rich'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr


def test_property_every_public_name_is_there_and_imports_nothing_before():
    script = (
        "import sys, trialsim\n"
        "assert 'numpy' not in sys.modules and 'pydantic' not in sys.modules\n"
        "assert all(getattr(trialsim, name) for name in trialsim.__all__)\n"
        "assert set(trialsim.__all__) == set(trialsim._HOMES)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_property_constraints_name_versions_and_nothing_else():
    import re

    line = re.compile(r"[a-z0-9-]+==[0-9][\w.]*( ; [\w\"' =.<>]+)?")
    for path in (ROOT / "requirements").glob("*.txt"):
        for text in path.read_text().splitlines():
            assert text.startswith("# ") or line.fullmatch(text), f"{path.name}: {text}"
