"""A trial carried out with flaws: from what happens to what is written down and analysed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import binary
from trialsim.analyse.as_recorded import (
    event_days,
    recorded,
    rewritten,
    unfavourable,
    value_of,
    written_down,
    yes_or_no,
)
from trialsim.analyse.looks import stop
from trialsim.analyse.other_endpoints import other_endpoints
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
    alternatives,
    best,
    correlations,
    extending,
    looking_at,
    replaced,
)
from trialsim.generate.outcomes import CompetingBatch, MeasuredBatch
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.allocation import block_openings
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.conduct import (
    AllocationListKind,
    BestOfEndpoints,
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
from trialsim.trial import AnalysisPlan, Candidates, LookResults, TrialBatch

__all__ = ["carried_out", "conducted", "first_patients", "seen_in", "steered"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Analyse = Callable[[Any, AnalysisPlan], LookResults]

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
    expected: Floats | float,
    flaw: ForeseenAllocation,
    streams: Streams,
    block: int,
) -> Bools:
    """Return who is treated where the allocation is foreseen, shape (n_patients, n_reps).

    Parameters
    ----------
    expected : ndarray of float, shape (n_patients, n_reps), or float
        Of `generate.prognosis.expected_outcome`.
    """
    luck = Luck(streams, block, assigned.shape)
    merit = -expected if protocol.primary.better is Better.LOWER else expected
    lists = allocation_list(protocol, candidates, assigned, flaw, streams, block)
    return foreseen(lists, merit, flaw, luck)


def allocation_list(
    protocol: Protocol,
    candidates: Candidates,
    assigned: Bools,
    flaw: ForeseenAllocation,
    streams: Streams,
    block: int,
) -> AllocationList:
    """Return the lists that recruiters foresee; `assigned` is in order of arrival."""
    shape = assigned.shape
    if flaw.list is AllocationListKind.ALTERNATING:
        return AllocationList.alternating(shape, Luck(streams, block, shape))
    if flaw.list is AllocationListKind.BLOCKS_OF_4:
        uniforms = streams.generator(Decision.ASSIGNMENT, block).random(shape)
        return AllocationList.in_blocks_of_4(uniforms)
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
    return AllocationList(assigned, opens, strata, n_strata, protocol.ratio)


def conducted(
    batch: Any,
    plan: AnalysisPlan,
    truth: Truth,
    luck: Luck,
    analyse: Analyse,
    levels: Mapping[str, NDArray[np.int64]] | None = None,
) -> LookResults:
    """Analyse a read-out as a trial with the plan's conduct would.

    Latent outcomes are read, never changed: flaws act on a copy of the records.

    Parameters
    ----------
    batch : batch of any kind
        Drawn with the plan's foreseen allocation.
    plan : AnalysisPlan
        With a conduct.
    truth : Truth
    luck : Luck
    analyse : callable
        Of the endpoint's kind.
    levels : mapping of str to ndarray of int, shape (n_patients, n_reps)
        Of the factors that flaws tell patients apart by, by their id.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks).
    """
    conduct = plan.conduct
    assert conduct is not None  # the caller looked
    every = _results(batch, plan, truth, luck, levels or {})
    if isinstance(batch, ResponseBatch):
        analyse = binary.analyse
    ways = []
    for drawn, first, how in every:
        steps = [first, *(own for _, own in carried_out(drawn, first, plan, truth, luck))]
        ways.append((seen_in(drawn, steps[-1], plan, truth, every[0][1]), how))
    flaw, more = conduct.undeclared_looks, conduct.extension
    looks = flaw if flaw and flaw.acts else None
    planned = [(first_patients(seen, plan.n_total), how) for seen, how in ways]
    found = _reported(planned, analyse, conduct, looks, luck)
    if more and more.acts:
        goes_on = extending(found, plan, more, luck)
        found = replaced(found, _reported(ways, analyse, conduct, None, luck), goes_on)
    return found


def _results(
    batch: Any,
    plan: AnalysisPlan,
    truth: Truth,
    luck: Luck,
    levels: Mapping[str, NDArray[np.int64]],
) -> list[tuple[Any, Records, AnalysisPlan]]:
    """Return what a result is chosen from, the declared analysis first."""
    plain, drawn = replace(plan, conduct=None), yes_or_no(batch, plan)
    records = _records(drawn, plan, truth)
    flaw = plan.conduct.best_of if plan.conduct else None
    if not (flaw and flaw.acts):
        return [(drawn, records, plain)]
    if isinstance(flaw, BestOfTimePoints) and isinstance(batch, ResponseBatch):
        visits = [replace(plan, visit=plan.visit - back) for back in range(1, flaw.k)]
        seen = [_records(yes_or_no(batch, own), own, truth) for own in visits]
        return [(drawn, own, plain) for own in (records, *seen)]
    if isinstance(flaw, BestOfEndpoints | BestOfTimePoints) and records.worse_by is not None:
        if isinstance(batch, MeasuredBatch) and isinstance(flaw, BestOfTimePoints):
            others = [replace(batch, visits=batch.visits[:, :-back]) for back in range(1, flaw.k)]
        else:
            own_truth = truth.outcome(plan.endpoint)
            others = other_endpoints(batch, own_truth, correlations(flaw), luck)
        return [(own, _records(own, plan, truth), plain) for own in (batch, *others)]
    return [(drawn, *own) for own in alternatives(records, plain, flaw, luck, levels)]


def carried_out(
    batch: Any, records: Records, plan: AnalysisPlan, truth: Truth, luck: Luck
) -> Iterator[tuple[Mechanism, Records]]:
    """Let the flaws of the plan's conduct act on records, and yield these after each of them.

    Parameters
    ----------
    batch : batch of any kind but response
        What `records` were written of.
    records : Records
    plan : AnalysisPlan
        With a conduct.
    truth : Truth
    luck : Luck
    """
    assert plan.conduct is not None  # the caller looked
    for mechanism, act in _ON_RECORDS:
        if not ((flaw := plan.conduct.of(mechanism)) and flaw.acts):
            continue
        before, records = records, act(records, flaw, luck)
        other = records.worse_by is not before.worse_by or records.reading is not before.reading
        if other and records.is_rewritten:  # later flaws see the outcome as it is written down
            seen = written_down(batch, records, plan, truth.outcome(plan.endpoint))
            days, bad = event_days(seen), unfavourable(seen, plan)
            value = value_of(seen) if days is None else days
            records = replace(records, unfavourable=bad, event_days=days, value=value)
        yield mechanism, records


def seen_in(
    batch: Any, records: Records, plan: AnalysisPlan, truth: Truth, declared: Records
) -> Any:
    """Return the batch that records let an analysis see.

    Parameters
    ----------
    batch : batch of any kind but response
    records : Records
        After all flaws.
    plan : AnalysisPlan
    truth : Truth
    declared : Records
        Of the declared endpoint without flaws.
    """
    if records.worse_by is None:
        seen = recorded(batch, records.treated, records.included)
        own = records.unfavourable is declared.unfavourable
        return seen if own else rewritten(seen, records.unfavourable, plan.better)
    seen = written_down(batch, records, plan, truth.outcome(plan.endpoint))
    return recorded(seen, records.treated, records.included)


def first_patients(batch: Any, n: int) -> Any:
    """Return a batch of the first n patients; a time to an event is never extended."""
    if isinstance(batch, FollowUp) or n in (0, len(batch.assigned)):
        return batch
    if isinstance(batch, TrialBatch):
        return replace(_patients_of(batch, n), events=batch.events[:, :n])
    if isinstance(batch, CompetingBatch) and batch.luck is not None:
        total, which, end = (column[:n] for column in batch.luck)
        return replace(_patients_of(batch, n), luck=(total, which, end))
    return _patients_of(batch, n)


def _patients_of(batch: Any, n: int) -> Any:
    arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return replace(batch, **{k: a[:n] for k, a in arrays.items() if isinstance(a, np.ndarray)})


def _reported(
    ways: Sequence[tuple[Any, AnalysisPlan]],
    analyse: Analyse,
    conduct: Conduct,
    looks: UndeclaredLooks | None,
    luck: Luck,
) -> LookResults:
    """Analyse the records in every way there is, and return what is reported."""
    found = [analyse(seen, looking_at(how, looks) if looks else how) for seen, how in ways]
    plan, flaw = ways[0][1], conduct.best_of
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
    bad = unfavourable(batch, plan)
    risks, worse_by = (nan, nan), None
    if isinstance(batch, TrialBatch | ResponseBatch):
        control, treated = truth.risks_on(plan.day, plan.counted)
        lower = plan.better is Better.LOWER
        risks = (control, treated) if lower else (1 - control, 1 - treated)
    else:
        worse_by = np.zeros(bad.shape)
    days, included = event_days(batch), getattr(batch, "included", None)
    everyone = np.ones(bad.shape, dtype=bool)
    return Records(
        batch.treated if isinstance(batch, FollowUp) else batch.assigned,
        bad,
        everyone if included is None else included,
        *risks,
        day=plan.day,
        event_days=days,
        worse_by=worse_by,
        value=value_of(batch) if days is None else days,
    )
