"""The table of published studies to hand on: CSV that R's metafor reads as it is."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trialsim.errors import Problem, RequestError
from trialsim.protocol.published.trials import COUNT_COLUMNS, Origin
from trialsim.studies.literature.published_synthesis import PublishedSynthesis

__all__ = ["how_to_pool_in_r", "write_published_table"]

_METAFOR = {"odds ratio": "OR", "risk ratio": "RR", "risk difference": "RD"}
_NONE = "NA"


def write_published_table(planned: PublishedSynthesis, path: Path) -> Path:
    """Write studies, counts, what else is known of them, effect and variance to a new file.

    The columns are those that are read, and ``yi`` and ``vi``: logarithms of ratios, ``NA`` where a
    study says nothing about one.

    Raises
    ------
    RequestError
        If the file exists, does not end in ``.csv``, or cannot be written.
    """
    if path.exists():
        raise _refused(path, "exists already", "Name another file.")
    if path.suffix != ".csv":
        raise _refused(path, "must end in .csv", "Write for example studies.csv.")
    rows = list(_rows(planned))
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError:
        remedy = "Name a file in a folder that exists."
        raise _refused(path, "cannot be written", remedy) from None
    return path


def _rows(planned: PublishedSynthesis) -> Iterator[dict[str, str]]:
    studies, pooled = planned.trials.studies, planned.pooled
    domains = list(dict.fromkeys(name for study in studies for name in study.rob))
    with_centres = any(study.centres for study in studies)
    with_quality = any(study.quality for study in studies)
    for i, study in enumerate(studies):
        row = {"literature": "simulated"} if planned.trials.origin is Origin.SIMULATED else {}
        row |= {"study": study.study}
        row |= dict(zip(COUNT_COLUMNS, map(str, study.counts or (_NONE,) * 4), strict=True))
        if with_centres:
            row["centres"] = str(study.centres or "")
        if with_quality:
            row["quality"] = study.quality
        row |= {name: study.rob.get(name, "") for name in domains}
        for name, values in (("yi", pooled.estimates), ("vi", pooled.variances)):
            row[name] = _NONE if np.isnan(values[0, i]) else repr(float(values[0, i]))
        yield row


def how_to_pool_in_r(file: Path, planned: PublishedSynthesis) -> str:
    """Return a line of R that pools an exported table as the program does."""
    measure = _METAFOR[planned.trials.measure.value]
    quoted = str(file).replace("\\", "/").replace('"', '\\"')
    back = "" if measure == "RD" else ", transf = exp"
    line = (
        f'library(metafor); d <- read.csv("{quoted}"); '
        f'predict(rma(yi, vi, data = d, method = "REML", test = "knha"){back})'
    )
    if planned.pooled.tables is None:
        return line
    return (
        f"{line}; predict(rma.mh(ai = events_treated, n1i = n_treated, ci = events_control, "
        f'n2i = n_control, data = d, measure = "{measure}"){back})'
    )


def _refused(path: Path, rule: str, remedy: str) -> RequestError:
    return RequestError(Problem(rule, remedy, "--export", str(path)))
