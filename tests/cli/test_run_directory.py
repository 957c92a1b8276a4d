"""Where a run goes: commands that compute in different ways do not get into each other's way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trialsim.errors import RequestError
from trialsim.protocol.reading.load import load_template
from trialsim.report.run_directory import RunDirectory
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Kernel


@pytest.fixture
def begun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = plan_simulation(load_template("delayed-effect")).record(1)
    assert record.kernel is Kernel.NUMPY
    folder = RunDirectory(record, None)
    with folder.begin():
        pass
    return record, folder


def test_regression_size_after_simulate_computes_in_another_folder_where_its_kernel_differs(begun):
    record, folder = begun
    other = RunDirectory(replace(record, kernel=Kernel.NUMBA), None)
    assert other.path == folder.path.with_name(f"{folder.path.name}-numba")
    assert RunDirectory(record, None).path == folder.path


def test_regression_a_folder_that_was_named_takes_no_other_kernel(begun):
    pytest.importorskip("numba")
    record, folder = begun
    with pytest.raises(RequestError, match="kernel numpy, here numba"):
        RunDirectory(replace(record, kernel=Kernel.NUMBA), folder.path)
