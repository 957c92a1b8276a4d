"""A trial carried out with flaws: from what happens to what is written down and analysed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import binary
from trialsim.analyse.as_recorded import recorded, rewritten, unfavourable, yes_or_no
from trialsim.analyse.looks import stop
from trialsim.conduct.allocation import AllocationList, foreseen
from trialsim.conduct.assessment import misread
from trialsim.conduct.attrition import differential_loss, exclusion
from trialsim.conduct.deviations import (
    as_treated,
    co_intervention,
    historical_controls,
    per_protocol,
)
from trialsim.conduct.records import Luck, Records
from trialsim.conduct.reporting import looking_at
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.allocation import block_openings
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.conduct import ForeseenAllocation, Mechanism
from trialsim.protocol.design import AllocationMethod, Protocol
from trialsim.protocol.endpoints import Better
from trialsim.protocol.scenario import Truth
from trialsim.streams import Decision, Streams
from trialsim.trial import AnalysisPlan, Candidates, LookResults, TrialBatch

__all__ = ["conducted", "steered"]

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
    shape = assigned.shape
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
    merit = -expected if protocol.primary.better is Better.LOWER else expected
    lists = AllocationList(assigned, opens, strata, n_strata, protocol.ratio)
    return foreseen(lists, merit, flaw, Luck(streams, block, shape))


def conducted(
    batch: Any, plan: AnalysisPlan, truth: Truth, luck: Luck, analyse: Analyse
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

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks).
    """
    conduct = plan.conduct
    assert conduct is not None  # the caller looked
    if isinstance(batch, ResponseBatch):
        batch, analyse = yes_or_no(batch, plan), binary.analyse
    before = records = _records(batch, plan, truth)
    for mechanism, act in _ON_RECORDS:
        if (flaw := conduct.of(mechanism)) and flaw.acts:
            records = act(records, flaw, luck)
    seen, plain = recorded(batch, records.treated, records.included), replace(plan, conduct=None)
    if records.unfavourable is not before.unfavourable:
        seen = rewritten(seen, records.unfavourable, plan.better)
    if not ((flaw := conduct.undeclared_looks) and flaw.acts):
        return analyse(seen, plain)
    peeking = looking_at(plain, flaw)
    every = analyse(seen, peeking)
    peeks = luck.of_trials(Decision.UNDECLARED_LOOKS) < luck.strength(
        Mechanism.UNDECLARED_LOOKS, flaw.strength
    )
    stopped = stop(every, peeking).final
    return LookResults(
        *(
            np.where(peeks[:, None], getattr(stopped, f.name), getattr(every, f.name)[:, -1:])
            for f in fields(LookResults)
        )
    )


def _records(batch: Any, plan: AnalysisPlan, truth: Truth) -> Records:
    """Return what a trial without flaws writes down."""
    bad = unfavourable(batch, plan)
    risk = nan
    if isinstance(batch, TrialBatch):
        event = truth.risks_on(plan.day)[0]
        risk = event if plan.better is Better.LOWER else 1 - event
    included = getattr(batch, "included", None)
    everyone = np.ones(bad.shape, dtype=bool)
    treated = batch.treated if isinstance(batch, FollowUp) else batch.assigned
    return Records(treated, bad, everyone if included is None else included, risk)
