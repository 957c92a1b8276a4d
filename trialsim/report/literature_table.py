"""Simulated literatures to hand on: CSV that R's metafor and ``--literature`` read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trialsim.errors import Problem, RequestError
from trialsim.kernels.pooling import Tables, Uninformative, effects
from trialsim.kernels.proportions import Scale
from trialsim.protocol.published.trials import COUNT_COLUMNS
from trialsim.studies.literature.literature_trials import OneLiterature

__all__ = ["WrittenLiteratures", "check_place", "how_to_pool_one_in_r", "write_literatures"]

_NONE = "NA"
_METAFOR = {"odds ratio": "OR", "risk ratio": "RR", "risk difference": "RD"}


class WrittenLiteratures(NamedTuple):
    """What was written, and the first of it."""

    path: Path
    n: int
    first_file: Path
    first: OneLiterature


def write_literatures(literatures: Iterable[OneLiterature], path: Path) -> WrittenLiteratures:
    """Write literatures to a new ``.csv`` file, or each to its own in a new folder.

    Columns are those that are read, with ``literature``, ``scenario`` and ``conduct``, and ``yi``
    and ``vi`` as metafor has them: ``NA`` where a trial says nothing about a ratio.

    Raises
    ------
    RequestError
        If it exists, or cannot be written.
    """
    check_place(path)
    every = list(literatures)
    rows = [row for own in every for row in _rows(own)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        if path.suffix:
            _write(path, names, rows)
            return WrittenLiteratures(path, len(every), path, every[0])
        path.mkdir()
        files = [path / _file_name(own) for own in every]
        for file, own in zip(files, every, strict=True):
            _write(file, names, _rows(own))
    except OSError:
        raise _refused(path, "cannot be written", "Name one in a folder that exists.") from None
    return WrittenLiteratures(path, len(every), files[0], every[0])


def check_place(path: Path) -> None:
    """Refuse a place that literatures cannot be written to (RequestError)."""
    if path.exists():
        raise _refused(path, "exists already", "Name another file or folder.")
    if path.suffix not in ("", ".csv"):
        raise _refused(path, "is neither a .csv file nor a folder", "Write for example some.csv.")
    if not path.absolute().parent.is_dir():
        raise _refused(path, "cannot be written", "Name one in a folder that exists.")


def _file_name(own: OneLiterature) -> str:
    conduct = own.conduct.replace(", ", "-")
    return f"{own.scenario}-{conduct}-{own.number:03}.csv"


def _write(file: Path, names: list[str], rows: Iterable[dict[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rows(own: OneLiterature) -> Iterator[dict[str, str]]:
    studies, scale = own.trials.studies, Scale(own.trials.measure.value)
    counts = np.array([study.counts for study in studies], dtype=float).T[:, None, :]
    which = Uninformative.CORRECTED if scale is Scale.RISK_DIFFERENCE else Uninformative.LEFT_OUT
    found = effects(Tables(*counts), scale, which)
    for i, study in enumerate(studies):
        assert study.counts is not None  # simulated trials have theirs
        row = {"literature": str(own.number), "scenario": own.scenario, "conduct": own.conduct}
        row |= {"study": study.study}
        row |= dict(zip(COUNT_COLUMNS, map(str, study.counts), strict=True))
        row |= {"centres": str(study.centres or ""), "quality": study.quality, **study.rob}
        for name, values in (("yi", found.estimates), ("vi", found.variances)):
            row[name] = _NONE if np.isnan(values[0, i]) else repr(float(values[0, i]))
        yield row


def how_to_pool_one_in_r(written: WrittenLiteratures) -> str:
    """Return a line of R that pools the first literature as the program does."""
    own = written.first
    measure = _METAFOR[own.trials.measure.value]
    quoted = str(written.first_file).replace("\\", "/").replace('"', '\\"')
    back = "" if measure == "RD" else ", transf = exp"
    return (
        f'library(metafor); d <- read.csv("{quoted}"); '
        f'd <- subset(d, literature == {own.number} & scenario == "{own.scenario}" & conduct == '
        f'"{own.conduct}"); predict(rma(yi, vi, data = d, method = "REML"){back}); '
        "predict(rma.mh(ai = events_treated, n1i = n_treated, ci = events_control, "
        f'n2i = n_control, data = d, measure = "{measure}"){back})'
    )


def _refused(path: Path, rule: str, remedy: str) -> RequestError:
    return RequestError(Problem(rule, remedy, "--export", str(path)))
