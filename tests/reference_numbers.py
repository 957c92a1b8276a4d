"""A plugin of pytest that writes down every number held against a reference.

`make validate` loads it (``-p reference_numbers``). In tests named ``test_reference_`` it watches
``==`` with ``pytest.approx`` and numpy's ``assert_allclose``; what they compare goes to
``docs/validation.md`` and, number by number, to ``docs/validation-numbers.csv``.
"""

from __future__ import annotations

import ast
import csv
import linecache
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing
import pytest

from reference_sources import source_of, stored_figures

ROOT = Path(__file__).parents[1]
PAGE, TABLE = ROOT / "docs" / "validation.md", ROOT / "docs" / "validation-numbers.csv"
COLUMNS = ("test", "case", "number", "ours", "theirs", "difference", "allowed", "source")
Record = tuple[str, str, str, float, float, float]
FOUND: list[Record] = []
RAN: set[str] = set()  # reference tests, with numbers or without
NOW: list[str] = []  # the id of the reference test that runs, if one does, and how it is told
RANDOM = "drawn at random"
APPROX, ALLCLOSE = pytest.approx, numpy.testing.assert_allclose
_LEFT = re.compile(r"(?:assert )?(?P<left>.+?) == pytest\.approx|assert_allclose\((?P<first>.+?), ")


class Watched:
    """`pytest.approx`, with a note of what it is compared with."""

    __array_ufunc__ = None  # numpy leaves the comparison to us

    def __init__(self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False):  # noqa: A002
        self._real = APPROX(expected, rel=rel, abs=abs, nan_ok=nan_ok)
        self._expected, self._rel, self._abs = expected, rel, abs

    def __eq__(self, actual: object) -> bool:
        same = bool(self._real == actual)
        rel = self._rel if self._rel is not None else (1e-6 if self._abs is None else 0.0)
        note(actual, self._expected, rel, self._abs or (1e-12 if self._abs is None else 0.0))
        return same

    def __ne__(self, actual: object) -> bool:
        return not self == actual

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._real)


def watched_allclose(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0, **more: Any):
    ALLCLOSE(actual, desired, rtol=rtol, atol=atol, **more)
    note(actual, desired, rtol, atol, add=True)


def note(actual: object, expected: Any, rel: float, least: float, *, add: bool = False) -> None:
    """Write down a comparison that a reference test makes; dicts and text have no numbers."""
    if not NOW:
        return
    ours, theirs = numbers(actual), numbers(expected)
    if ours is None or theirs is None or ours.size != theirs.size:
        return
    test, _, case = NOW[0].partition("[")
    case = RANDOM if NOW[1] else case
    if len(case) > 60:
        case = f"{case[:50]}..."
    name = told(sys._getframe(2))
    for at, (one, other) in enumerate(zip(ours, theirs, strict=True), 1):
        allowed = least + rel * abs(other) if add else max(least, rel * abs(other))
        number = f"{name} [{at}]" if ours.size > 1 else name
        FOUND.append((test, case.rstrip("]"), number, float(one), float(other), float(allowed)))


def numbers(value: object) -> np.ndarray | None:
    try:
        found = np.asarray(value, dtype=float).ravel()
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


def told(frame: Any) -> str:
    """Return what is compared, as the test's own line has it; in a loop, with what `name` is."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    name = frame.f_locals.get("name")
    turn = f" {name}" if isinstance(name, str) and re.search(r"\bname\b|\bours\b", line) else ""
    return f"{_left_of(line)}{turn}"


def _left_of(line: str) -> str:
    try:
        (statement,) = ast.parse(line).body
    except SyntaxError:  # one of several lines
        found = _LEFT.search(line)
        return (found["left"] or found["first"]) if found else line.rstrip(",)")
    asked = statement.test if isinstance(statement, ast.Assert) else statement
    if isinstance(asked, ast.Compare):
        return ast.unparse(asked.left)
    if isinstance(asked, ast.Expr) and isinstance(asked.value, ast.Call):
        return ast.unparse(asked.value.args[0])
    return line


pytest.approx = Watched  # type: ignore[assignment,misc]
numpy.testing.assert_allclose = watched_allclose


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    kept = item.name.startswith("test_reference_")
    drawn = "drawn" if hasattr(getattr(item, "obj", None), "hypothesis") else ""
    NOW[:] = [item.nodeid.removeprefix("tests/"), drawn] if kept else []
    RAN.update(name.partition("[")[0] for name in NOW[:1])
    try:
        return (yield)
    finally:
        NOW.clear()


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["reference_numbers"] = FOUND, sorted(RAN)
    elif FOUND and not session.testsfailed:
        write(sorted({*FOUND}))


def pytest_testnodedown(node: Any) -> None:
    found, ran = node.workeroutput.get("reference_numbers", ((), ()))
    FOUND.extend(tuple(each) for each in found)
    RAN.update(ran)


def write(found: list[Record]) -> None:
    """Write the page and the table; of cases drawn at random, the one nearest to its limit."""
    found = without_random(found)
    with TABLE.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        for test, case, number, ours, theirs, allowed in found:
            values = (f"{ours:.9g}", f"{theirs:.9g}", f"{abs(ours - theirs):.1e}", f"{allowed:.1e}")
            table.writerow((test, case, number, *values, source_of(test)))
    PAGE.write_text(page(found), encoding="utf-8")


def without_random(found: list[Record]) -> list[Record]:
    nearest: dict[tuple[str, str], Record] = {}
    for each in (f for f in found if f[1] == RANDOM):
        best = nearest.setdefault((each[0], each[2]), each)
        if share(each) > share(best):
            nearest[each[0], each[2]] = each
    return sorted([*(f for f in found if f[1] != RANDOM), *nearest.values()])


def share(each: Record) -> float:
    """Return the difference as a share of what is allowed."""
    return abs(each[3] - each[4]) / each[5] if each[5] else 0.0


def page(found: list[Record]) -> str:
    """Return the validation page: per test how many numbers, and the one nearest to its limit."""
    tests: dict[str, list[Record]] = defaultdict(list)
    for each in found:
        tests[each[0]].append(each)
    files: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        files[test.partition("::")[0]].append(test)
    parts = [
        "# Validation",
        "Every number that the tests hold against somebody else's: another program's, a published "
        "one, one computed another way. This page is written by `make validate`; a number that is "
        "further off than allowed fails it. *Nearest to its limit* is the number whose difference "
        "is the largest share of what is allowed; of cases drawn at random only that one is kept.",
        f"**{len(found):,} numbers in {len(tests)} tests**, all within what is allowed. Each one, "
        "ours, theirs, difference and source: [validation-numbers.csv](validation-numbers.csv).",
        "Figures of other programs are stored in `tests/reference/`:",
        stored_figures(),
    ]
    for file, names in files.items():
        rows = [_row(name.partition("::test_reference_")[2], tests[name]) for name in names]
        heads = ("held against", "source", "numbers", "nearest to its limit", "ours", "theirs")
        head = f"| {' | '.join((*heads, 'difference', 'allowed'))} |"
        parts += [f"## {file}", "\n".join([head, "|---|---|---|---|---|---|---|---|", *rows])]
    parts += [*_held_otherwise(sorted(RAN - {*tests}))]
    return "\n\n".join(parts) + "\n"


def _held_otherwise(tests: list[str]) -> Iterator[str]:
    """Name the tests that compare something else than a number with a tolerance of its own."""
    if tests:
        yield "## Held in another way"
        yield "Equal words or numbers, a tolerance written out, or 4 Monte Carlo standard errors:"
        yield "\n".join(f"- `{test}`" for test in tests)


def _row(name: str, found: list[Record]) -> str:
    nearest = max(found, key=share)
    test, case, number, ours, theirs, allowed = nearest
    where = f"`{number}`" + (f" ({case})" if case else "")
    cells = [name.replace("_", " "), source_of(test), f"{len(found):,}", where.replace("|", "\\|")]
    cells += [f"{ours:.8g}", f"{theirs:.8g}", f"{abs(ours - theirs):.1e}", f"{allowed:.1e}"]
    return f"| {' | '.join(cells)} |"
