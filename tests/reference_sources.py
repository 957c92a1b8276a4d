"""Where the other number of a reference test comes from, read off the test's own text.

What its docstring says after ``Source:``; else the file of ``tests/reference/`` that it reads;
else the library that it asks, and what its docstring begins with.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORED = ROOT / "tests" / "reference"
LIBRARIES = ("scipy", "statsmodels", "lifelines")


@functools.cache
def source_of(test: str) -> str:
    """Return where the numbers of a test come from, or "" if it does not say."""
    file, _, name = test.partition("::")
    path = next((f / file for f in (ROOT / "tests", ROOT) if (f / file).exists()), None)
    if path is None:
        return ""
    said = ast.get_docstring(_defined(path)[name]) or ""
    first = " ".join(said.partition("\n\n")[0].split())
    if first.startswith("Source: "):
        return first.removeprefix("Source: ")
    words = [*_words(path, name)]
    files = {each.name for each in STORED.glob("*.json")}
    if stored := [w for w in dict.fromkeys(words) if w in files]:
        return ", ".join(stored)
    libraries = [f"{w} {version(w)}" for w in LIBRARIES if w in words]
    return "; ".join(part for part in (", ".join(libraries), first) if part)


def stored_figures() -> str:
    """Return which file of stored figures is from where: the table of tests/reference/README.md."""
    rows = re.findall(r"(?m)^\| (`.+?) \| (.+?) \| .+? \|$", (STORED / "README.md").read_text())
    return "\n".join(["| stored in | from |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def _words(path: Path, test: str) -> Iterator[str]:
    """Yield the modules and the names of files that a test reaches in its own file, and one on."""
    defined, seen, left = _defined(path), set(), [test]
    while left:
        name = left.pop()
        node = defined.get(name)
        if name in seen or node is None:
            continue
        seen.add(name)
        for part in ast.walk(node):
            match part:
                case ast.Name(id=found) | ast.arg(arg=found):
                    left.append(found)
                case ast.Constant(value=str(found)):
                    yield Path(found).name
                case ast.Import(names=(alias, *_)):
                    yield alias.name.partition(".")[0]
                case ast.ImportFrom(module=str(module), names=names):
                    yield module.partition(".")[0]
                    beside = ROOT / "tests" / f"{module}.py"
                    if beside.exists() and module != "conftest":
                        own = [a.name for a in names if (a.asname or a.name) == name]
                        yield from (word for each in own for word in _words(beside, each))


@functools.cache
def _defined(path: Path) -> dict[str, ast.stmt]:
    """Return what a module defines or imports, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {a.asname or a.name.partition(".")[0]: node for a in names}
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
                found |= dict.fromkeys(names, node)
    return found
