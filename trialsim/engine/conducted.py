"""A trial carried out with flaws: from what happens to what is written down and analysed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import binary
from trialsim.analyse.looks import stop
from trialsim.analyse.response import responding
from trialsim.conduct.allocation import AllocationList, foreseen
from trialsim.conduct.assessment import misread
from trialsim.conduct.attrition import differential_loss, exclusion
from trialsim.conduct.deviations import (
    as_treated,
    co_intervention,
    historical_controls,
    immortal_time,
    per_protocol,
)
from trialsim.conduct.records import Luck, Records
from trialsim.conduct.reporting import (
    Alternative,
    alternatives,
    best,
    extending,
    looking_at,
    replaced,
)
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.allocation import block_openings
from trialsim.protocol.conduct import (
    AllocationListKind,
    BestOfTimePoints,
    Conduct,
    ForeseenAllocation,
    Mechanism,
    UndeclaredLooks,
)
from trialsim.protocol.design import AllocationMethod, Protocol
from trialsim.protocol.endpoints import Better
from trialsim.protocol.scenario import Truth
from trialsim.streams import Decision, Streams
from trialsim.trial import CONTROL, EXPERIMENTAL, AnalysisPlan, Candidates, LookResults, TrialBatch

__all__ = ["conducted", "steered"]

Bools = NDArray[np.bool_]

# In the order they act in; those of the allocation, the plan and publication act elsewhere.
_ON_RECORDS: tuple[tuple[Mechanism, Callable[[Records, Any, Luck], Records]], ...] = (
    (Mechanism.CO_INTERVENTION, co_intervention),
    (Mechanism.HISTORICAL_CONTROLS, historical_controls),
    (Mechanism.EXCLUSION, exclusion),
    (Mechanism.DIFFERENTIAL_LOSS, differential_loss),
    (Mechanism.ASSESSMENT, misread),
    (Mechanism.PER_PROTOCOL, per_protocol),
    (Mechanism.AS_TREATED, as_treated),
    (Mechanism.IMMORTAL_TIME, immortal_time),
)


def steered(
    protocol: Protocol,
    candidates: Candidates,
    assigned: Bools,
    flaw: ForeseenAllocation,
    streams: Streams,
    block: int,
) -> Bools:
    """Return who is treated where the allocation is foreseen, shape (n_patients, n_reps)."""
    shape = assigned.shape
    luck = Luck(streams, block, shape)
    score = candidates.prognostic_score
    merit = -score if protocol.primary.better is Better.LOWER else score
    if flaw.list is AllocationListKind.ALTERNATING:
        return foreseen(AllocationList.alternating(shape, luck), merit, flaw, luck)
    strata, n_strata = np.zeros(shape, dtype=np.int64), 1
    opens = np.zeros(shape, dtype=bool)
    match protocol.allocation_method:
        case AllocationMethod.SIMPLE:
            opens[:] = True  # nothing to go by
        case AllocationMethod.RANDOM_ALLOCATION_RULE:
            opens[0] = True
        case AllocationMethod.PERMUTED_BLOCKS:
            strata, n_strata = candidates.strata, candidates.n_strata
            sizes = streams.generator(Decision.BLOCK_SIZE, block).random(shape)
            opens = block_openings(sizes, strata, n_strata, protocol.block_sizes)
    lists = AllocationList(assigned, opens, strata, n_strata, protocol.ratio)
    return foreseen(lists, merit, flaw, luck)


def conducted(
    batch: TrialBatch | ResponseBatch, plan: AnalysisPlan, truth: Truth, luck: Luck
) -> LookResults:
    """Analyse a read-out as a trial with the plan's conduct would.

    Latent outcomes are read, never changed: flaws act on a copy of the records.

    Parameters
    ----------
    batch : TrialBatch or ResponseBatch
        Drawn with the plan's foreseen allocation.
    plan : AnalysisPlan
        With a conduct.
    truth : Truth
    luck : Luck

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1).
    """
    conduct = plan.conduct
    assert conduct is not None  # the caller looked
    every = [
        (_carried_out(own, conduct, luck), how) for own, how in _results(batch, plan, truth, luck)
    ]
    entry = getattr(batch, "entry", None)
    flaw = conduct.undeclared_looks
    looks = flaw if flaw and flaw.acts else None
    found = _reported(every, plan.n_total or None, entry, conduct, looks, luck)
    if (more := conduct.extension) and more.acts:
        goes_on = extending(found, plan, more, luck)
        found = replaced(found, _reported(every, None, entry, conduct, None, luck), goes_on)
    return found


def _results(batch: Any, plan: AnalysisPlan, truth: Truth, luck: Luck) -> list[Alternative]:
    """Return what a result is chosen from, the declared analysis first."""
    plain = replace(plan, conduct=None)
    records, flaw = _records(batch, plan, truth), plan.conduct.best_of if plan.conduct else None
    if not (flaw and flaw.acts):
        return [(records, plain)]
    if isinstance(flaw, BestOfTimePoints) and isinstance(batch, ResponseBatch):
        visits = range(plan.visit, plan.visit - flaw.k, -1)
        return [(_records(batch, replace(plan, visit=v), truth), plain) for v in visits]
    return alternatives(records, plain, flaw, luck)


def _carried_out(records: Records, conduct: Conduct, luck: Luck) -> Records:
    for mechanism, act in _ON_RECORDS:
        if (flaw := conduct.of(mechanism)) and flaw.acts:
            records = act(records, flaw, luck)
    return records


def _reported(
    every: Sequence[Alternative],
    n_patients: int | None,
    entry: NDArray[np.float64] | None,
    conduct: Conduct,
    looks: UndeclaredLooks | None,
    luck: Luck,
) -> LookResults:
    """Analyse the first patients in every way there is, and return what is reported."""
    found = []
    for records, how in every:
        own = records.first(n_patients) if n_patients else records
        event = own.unfavourable if how.better is Better.LOWER else ~own.unfavourable
        entered = entry[:n_patients] if entry is not None else None
        seen = TrialBatch(own.treated, np.stack([event, event]), entered, own.included)
        found.append(binary.analyse(seen, looking_at(how, looks) if looks else how))
    plan, flaw = every[0][1], conduct.best_of
    result = best(found, plan, flaw, luck) if flaw and flaw.acts else found[0]
    if not looks:
        return result
    peeks = luck.of_trials(Decision.UNDECLARED_LOOKS) < luck.strength(
        Mechanism.UNDECLARED_LOOKS, looks.strength
    )
    last = LookResults(*(getattr(result, f.name)[:, -1:] for f in fields(LookResults)))
    return replaced(last, stop(result, looking_at(plan, looks)).final, peeks)


def _records(batch: Any, plan: AnalysisPlan, truth: Truth) -> Records:
    """Return what a trial without flaws writes down."""
    match batch:
        case TrialBatch():
            event = np.where(batch.assigned, batch.events[EXPERIMENTAL], batch.events[CONTROL])
        case ResponseBatch():
            event = responding(batch, plan)
        case _:
            raise AssertionError("refused by studies.bias")
    lower = plan.better is Better.LOWER
    control, treated = truth.risks_on(plan.day)
    return Records(
        batch.assigned,
        event if lower else ~event,
        np.ones(event.shape, dtype=bool) if batch.included is None else batch.included,
        control if lower else 1 - control,
        treated if lower else 1 - treated,
        plan.day,
    )
