"""Analysis of a binary endpoint at every look."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from trialsim.analyse.looks import decided, patient_cuts
from trialsim.kernels import proportions
from trialsim.kernels.contrasts import arm_masks
from trialsim.protocol.endpoints import Better, BinaryTest, Summary
from trialsim.trial import (
    CONTROL,
    EXPERIMENTAL,
    AnalysisPlan,
    CountsBatch,
    LookResults,
    TrialBatch,
)

__all__ = ["analyse", "analyse_counts", "patients", "score", "tables"]

Columns = dict[str, NDArray[Any]]  # one entry per patient in each
Counts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def analyse(batch: TrialBatch | CountsBatch, plan: AnalysisPlan) -> LookResults:
    """Analyse everyone read out as assigned (treatment policy), at every look.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks).
    """
    counts, read, short = tables(batch, plan)
    found = analyse_counts(*counts, plan)
    enrolled, day = decided(plan, batch.entry, read)
    return replace(found, enrolled=enrolled, day=day, short=found.short if short is None else short)


def tables(
    batch: TrialBatch | CountsBatch, plan: AnalysisPlan
) -> tuple[Counts, NDArray[np.int64], NDArray[np.bool_] | None]:
    """Return what every look counts, of how many read out, and where its trigger never came.

    Returns
    -------
    counts : (events_treated, n_treated, events_control, n_control)
        Arrays of int, shape (n_reps, n_looks).
    read : ndarray of int, shape (n_reps, n_looks)
    short : ndarray of bool, shape (n_reps, n_looks), or None for nowhere
    """
    if isinstance(batch, CountsBatch):
        counts = (batch.events_treated, batch.n_treated, batch.events_control, batch.n_control)
        return counts, batch.n_treated + batch.n_control, None
    treated = batch.assigned
    happened = np.where(treated, batch.events[EXPERIMENTAL], batch.events[CONTROL])
    read, short = patient_cuts(plan.looks, plan.day, batch.entry, happened)
    arms = arm_masks(treated, batch.included)
    who = (happened & arms[0], arms[0], happened & arms[1], arms[1])
    x1, n1, x0, n0 = (_counted(group, read, plan) for group in who)
    return (x1, n1, x0, n0), read, short


def _counted(
    who: NDArray[np.bool_], read: NDArray[np.int64], plan: AnalysisPlan
) -> NDArray[np.int64]:
    """How many of the first patients read out by each look, shape (n_reps, n_looks)."""
    if not plan.looks:
        everyone: NDArray[np.int64] = np.add.reduce(who, axis=0, dtype=np.int32).astype(np.int64)
        return everyone[:, None]
    so_far = np.zeros((len(who) + 1, who.shape[1]), dtype=np.int32)
    np.cumsum(who, axis=0, out=so_far[1:])
    counted: NDArray[np.int64] = np.take_along_axis(so_far, read.T, axis=0).T.astype(np.int64)
    return counted


def patients(batch: TrialBatch, plan: AnalysisPlan, replicate: int, look: int) -> Columns:
    """Return what a look sees of each patient of one trial: outcome, or why there is none.

    Everyone who has entered by the decision is there, in order of arrival.
    """
    treated = batch.assigned[:, replicate]
    control, experimental = batch.events[:, :, replicate]
    event: NDArray[np.bool_] = np.where(treated, experimental, control)
    one = slice(replicate, replicate + 1)
    entry = batch.entry
    if entry is not None and entry.shape[1] > 1:
        entry = entry[:, one]
    read, _ = patient_cuts(plan.looks, plan.day, entry, event[:, None])
    enrolled, _ = decided(plan, entry, read)
    there = int(enrolled[0, look])
    seen = np.arange(there) < read[0, look]
    return {
        "treated": treated[:there],
        "event": np.where(seen, event[:there], np.nan),
        "why_not_seen": np.where(seen, "", "not read out yet"),
    }


def analyse_counts(
    events_treated: ArrayLike,
    n_treated: ArrayLike,
    events_control: ArrayLike,
    n_control: ArrayLike,
    plan: AnalysisPlan,
) -> LookResults:
    """Analyse 2 x 2 tables, simulated or published.

    Parameters
    ----------
    events_treated, n_treated, events_control, n_control : array of int, (n_reps, n_looks)
        Or of shape (n_reps,) for one look.
    plan : AnalysisPlan

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks), everyone in the tables enrolled. A trial with an empty
        arm has failed.
    """
    x1, n1, x0, n0 = np.broadcast_arrays(
        *(_columns(np.asarray(a)) for a in (events_treated, n_treated, events_control, n_control))
    )
    failed = (n1 == 0) | (n0 == 0)
    x1, n1, x0, n0 = (np.where(failed, fill, a) for a, fill in ((x1, 0), (n1, 1), (x0, 0), (n0, 1)))
    assert isinstance(plan.summary, Summary)
    contrast = _CONTRASTS[plan.summary](x1, n1, x0, n0)
    two_sided_alpha = plan.alpha if plan.sides == 2 else 2 * plan.alpha
    z = -NormalDist().inv_cdf(two_sided_alpha / 2)
    if plan.summary is Summary.RISK_DIFFERENCE:
        lower, upper = proportions.newcombe_interval(x1, n1, x0, n0, z)
    else:
        half = z * contrast.standard_error
        lower, upper = contrast.estimate - half, contrast.estimate + half
    p, z_score = _test(x1, n1, x0, n0, plan)
    estimate, se, lower, upper, p, z_score = (
        np.where(failed, np.nan, column)
        for column in (contrast.estimate, contrast.standard_error, lower, upper, p, z_score)
    )
    read = np.where(failed, np.nan, n1 + n0)
    return LookResults(
        estimate=estimate,
        standard_error=se,
        lower=lower,
        upper=upper,
        p_value=p,
        rejected=plan.rejects(z_score, p),
        corrected=contrast.corrected & ~failed,
        failed=failed,
        z=z_score,
        information=read,
        enrolled=read,
        day=np.full(read.shape, np.nan),
        short=np.zeros(read.shape, dtype=bool),
    )


def _columns(counts: NDArray[Any]) -> NDArray[Any]:
    return counts if counts.ndim == 2 else np.atleast_1d(counts)[:, None]


_CONTRASTS = {
    Summary.ODDS_RATIO: proportions.log_odds_ratio,
    Summary.RISK_RATIO: proportions.log_risk_ratio,
    Summary.RISK_DIFFERENCE: proportions.risk_difference,
}


def _test(
    x1: NDArray[np.int64],
    n1: NDArray[np.int64],
    x0: NDArray[np.int64],
    n0: NDArray[np.int64],
    plan: AnalysisPlan,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P value, and z positive in favour of the experimental arm."""
    if plan.better is Better.HIGHER:  # count the absence of the event instead
        x1, x0 = n1 - x1, n0 - x0
    match plan.test:
        case BinaryTest.CHI_SQUARE:
            z = proportions.pearson_z(x1, n1, x0, n0)
            return proportions.normal_p(z, plan.sides), -z
        case BinaryTest.FISHER:
            p = proportions.fisher_p(x1, n1, x0, n0, plan.sides)
            bounded = any(look.efficacy_z or look.futility_z for look in plan.looks)
            if plan.sides == 2 and bounded:
                raise AssertionError("refused by the rules")
            return p, -ndtri(p) if bounded else np.full(p.shape, np.nan)
        case _:
            raise AssertionError(f"{plan.test} is not a test of two proportions")


def score(batch: TrialBatch, plan: AnalysisPlan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return who has the event, and who is treated."""
    del plan  # the same for all
    happened = np.where(batch.assigned, batch.events[EXPERIMENTAL], batch.events[CONTROL])
    return happened.astype(float), batch.assigned
