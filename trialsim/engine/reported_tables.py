"""The 2 x 2 tables that trials report, after flaws of conduct: what a meta-analysis has of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import analyse_counts, tables
from trialsim.analyse.looks import stop
from trialsim.conduct.records import Luck
from trialsim.engine.blocks import Job, draw_patients, foresight_of
from trialsim.engine.conducted import conducted
from trialsim.generate.binary import draw_counts
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, LookResults, Path

__all__ = ["ReportedTables", "reported_tables"]

Ints = NDArray[np.int64]

_BASE = 2**26  # patients of an arm: two counts share the 53 bits of a float


@dataclass(frozen=True)
class ReportedTables:
    """What many trials report.

    Attributes
    ----------
    counts : ndarray of int, shape (n_reps, 4)
        Events and patients among the treated, events and patients among controls, of those
        analysed.
    results : LookResults
        Of the same; arrays of shape (n_reps, 1).
    """

    counts: Ints
    results: LookResults


def reported_tables(job: Job, seed: int, block: int) -> list[ReportedTables]:
    """Simulate one whole block by the job's first plan; per truth, the tables that are reported.

    Parameters
    ----------
    job : Job
        With a binary primary endpoint; its conduct without publication.
    seed : int
    block : int
    """
    plan, streams = job.plans[0], Streams(seed, job.unit)
    if job.path is Path.SUFFICIENT_STATISTICS:
        batches = draw_counts(job.protocol, job.truths, plan.looks, streams, block)
        return [_read(_with_table(batch, plan), plan) for batch in batches]
    candidates, drawn = draw_patients(job, seed, block, frozenset(), foresight_of(plan))
    luck = Luck(streams, block, (job.protocol.n_total, job.block_width))
    found = []
    for truth, own in zip(job.truths, drawn, strict=True):
        batch = own[plan.endpoint]
        if plan.conduct:
            results = conducted(batch, plan, truth, luck, _with_table, candidates.levels)
        else:
            results = _with_table(batch, plan)
        found.append(_read(results, plan))
    return found


def _with_table(batch: Any, plan: AnalysisPlan) -> LookResults:
    """Analyse, and let every result carry its table.

    A choice among results takes all of their fields, so the table that comes out is that of the
    result reported. It rides where patients enrolled and the day stand, which nothing decides by.
    """
    counts, *_ = tables(batch, plan)
    x1, n1, x0, n0 = (column.astype(float) for column in counts)
    return replace(analyse_counts(*counts, plan), enrolled=x1 + _BASE * n1, day=x0 + _BASE * n0)


def _read(results: LookResults, plan: AnalysisPlan) -> ReportedTables:
    final = stop(results, plan).final
    columns = []
    for packed in (final.enrolled[:, 0], final.day[:, 0]):
        n, events = np.divmod(packed.astype(np.int64), _BASE)
        columns += [events, n]
    return ReportedTables(np.stack(columns, axis=1), final)
