"""The validation page: what it names exists, and every number is within what is allowed."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT

FOLDERS = (ROOT / "tests", ROOT)  # a test of validation/ is named with its folder


def test_regression_the_validation_page_holds_numbers_of_tests_that_exist():
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    with (ROOT / "docs" / "validation-numbers.csv").open(encoding="utf-8", newline="") as stream:
        numbers = list(csv.DictReader(stream))
    tests = {row["test"] for row in numbers}
    assert f"**{len(numbers):,} numbers in {len(tests)} tests**" in page, "run: make validate"
    otherwise = re.findall(r"(?m)^- `([\w/]+\.py::\w+)`$", page)
    assert len(otherwise) > 20
    for test in {*tests, *otherwise}:
        file, _, name = test.partition("::")
        (path,) = (folder / file for folder in FOLDERS if (folder / file).exists())
        assert f"def {name}(" in path.read_text(encoding="utf-8"), f"{test}; run: make validate"
    for row in numbers:
        assert row["source"], f"{row['test']} says nowhere what its numbers are held against"
        names = ("ours", "theirs", "difference", "allowed")
        ours, theirs, difference, allowed = (float(row[name]) for name in names)
        assert difference <= 1.11 * allowed, row  # two digits each
        written = 0.06 * allowed + 1e-8 * max(abs(ours), abs(theirs))  # lost with the digits
        assert abs(ours - theirs) <= allowed + written, row


@pytest.fixture
def pytester_at(tmp_path):
    """Run a test file with the plugin, its page and table in a folder of their own."""

    def run(text):
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "test_made_up.py").write_text(text)
        plugin = (
            "import pathlib, reference_numbers as plugin\n"
            "plugin.PAGE, plugin.TABLE = (pathlib.Path(n) for n in ('page.md', 'table.csv'))\n"
            "from reference_numbers import *\n"
        )
        (tmp_path / "here.py").write_text(plugin)
        words = [sys.executable, "-m", "pytest", "-q", "-p", "here"]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{tmp_path}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        with (tmp_path / "table.csv").open(newline="") as stream:
            return list(csv.DictReader(stream)), (tmp_path / "page.md").read_text()

    return run


def test_regression_every_comparison_of_a_reference_test_is_written_down(pytester_at):
    found, page = pytester_at(
        """
import numpy as np, pytest
from numpy.testing import assert_allclose

@pytest.mark.parametrize("n", [2, 3])
def test_reference_of_somebody(n):
    size = n / 3
    assert size == pytest.approx(n / 3 + 1e-7 / n, abs=1e-6)
    assert_allclose(np.array([1.0, n]), [1.0, n], rtol=1e-3)

def test_analytic_is_not_on_the_page():
    assert 1.0 == pytest.approx(1.0)
"""
    )
    assert [row["case"] for row in found] == ["2"] * 3 + ["3"] * 3
    assert [row["number"] for row in found[:3]] == [
        "np.array([1.0, n]) [1]",
        "np.array([1.0, n]) [2]",
        "size",
    ]
    assert (found[2]["theirs"], found[2]["allowed"]) == ("0.666666717", "1.0e-06")
    assert (
        "| of somebody |  | 6 | `size` (2) | 0.66666667 | 0.66666672 | 5.0e-08 | 1.0e-06 |" in page
    )
