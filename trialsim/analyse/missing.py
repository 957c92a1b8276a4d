"""Response at a visit with some read-outs missing: several ways to deal with them, one data set.

Patients are seen only through the visits they attended. Whether one is alive is known until lost
(assumed): who died is without response, and who missed a visit is told from who was lost.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import analyse_counts
from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.analyse.response import responding_at
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.contrasts import arm_masks, wald
from trialsim.kernels.imputation import pool
from trialsim.kernels.proportions import (
    Contrast,
    log_odds_ratio,
    log_risk_ratio,
    risk_difference,
)
from trialsim.kernels.response_imputation import SeenVisits, impute_response
from trialsim.protocol.endpoints import Counted, Summary
from trialsim.protocol.missing import MissingReadOut
from trialsim.streams import Decision, Streams
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["N_IMPUTATIONS", "ArmShares", "analyse_read_outs", "arm_shares"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

N_IMPUTATIONS = 20  # assumed, as for estimands

_CONTRASTS = {
    Summary.ODDS_RATIO: log_odds_ratio,
    Summary.RISK_RATIO: log_risk_ratio,
    Summary.RISK_DIFFERENCE: risk_difference,
}


class ArmShares(NamedTuple):
    """What is shown of each arm of each trial. Shapes (2, n_reps), control first.

    Attributes
    ----------
    missing : ndarray of float
        Share of the arm's patients whose read-out is not known.
    response : ndarray of float
        Share in response among those analysed, as the analysis has it; NaN for nobody.
    """

    missing: Floats
    response: Floats


def analyse_read_outs(
    batch: ResponseBatch, plan: AnalysisPlan, streams: Streams, block: int
) -> LookResults:
    """Compare the arms as assigned, missing read-outs dealt with as the plan says.

    Multiple imputation is tested by the difference in risks with Pearson's variance, pooled by
    Rubin's rules, so that it is the plan's own chi-square test where little is missing; a trial in
    which nothing is missing is analysed as any other.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1).
    """
    x1, n1, x0, n0 = _counts(batch, plan)
    if plan.missing is not MissingReadOut.MULTIPLE_IMPUTATION:
        found = analyse_counts(x1, n1, x0, n0, plan)
        return replace(found, enrolled=np.full_like(found.enrolled, len(batch.assigned)))
    found = analyse_counts(x1, n1, x0, n0, plan)
    imputed = _imputed(batch, plan, streams, block)
    complete = ~np.any(_missing(batch, plan), axis=0)[:, None]
    return LookResults(
        **{
            name: np.where(complete, getattr(found, name), getattr(imputed, name))
            for name in vars(found)
        }
    )


def arm_shares(batch: ResponseBatch, plan: AnalysisPlan, streams: Streams, block: int) -> ArmShares:
    """Return the share missing in each arm, and the response the analysis has."""
    treated, untreated = arm_masks(batch.assigned, None)
    missing, arms = _missing(batch, plan), (untreated, treated)
    share = np.stack([(missing & arm).sum(axis=0) / arm.sum(axis=0) for arm in arms])
    if plan.missing is MissingReadOut.MULTIPLE_IMPUTATION:
        events = _completed(batch, plan.counted, streams, block)[:, plan.visit].mean(axis=0)
        return ArmShares(share, events / np.stack([arm.sum(axis=0) for arm in arms]))
    x1, n1, x0, n0 = _counts(batch, plan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return ArmShares(share, np.stack([x0 / n0, x1 / n1]))


class _Seen(NamedTuple):
    visits: SeenVisits
    last: Bools  # response at the last visit attended so far, same shape


@lru_cache(maxsize=1)  # several horizons and analyses of one batch follow one another
def _seen(batch: ResponseBatch, counted: Counted) -> _Seen:
    gone = batch.visits >= batch.leaving
    attended = batch.attended & ~gone
    response = np.stack([responding_at(batch, v, counted) for v in range(len(attended))])
    last = response.copy()
    for visit in range(1, len(last)):
        last[visit] = np.where(attended[visit], response[visit], last[visit - 1])
    return _Seen(SeenVisits(attended, response, gone & batch.died, gone & ~batch.died), last)


def _missing(batch: ResponseBatch, plan: AnalysisPlan) -> Bools:
    seen = _seen(batch, plan.counted).visits
    known: Bools = seen.attended[plan.visit] | seen.dead[plan.visit]
    return ~known


def _counts(batch: ResponseBatch, plan: AnalysisPlan) -> tuple[Ints, Ints, Ints, Ints]:
    """Return events and patients, treated then control; with nothing imputed as failure."""
    seen = _seen(batch, plan.counted)
    response, included = seen.visits.responding[plan.visit], batch.included
    if plan.missing is MissingReadOut.COMPLETE_CASE:
        known = ~_missing(batch, plan)
        included = known if included is None else included & known
    if plan.missing is MissingReadOut.LAST_OBSERVATION:
        response = np.where(seen.visits.dead[plan.visit], False, seen.last[plan.visit])
    treated, untreated = arm_masks(batch.assigned, included)
    who = (response & treated, treated, response & untreated, untreated)
    x1, n1, x0, n0 = (np.add.reduce(own, axis=0, dtype=np.int64) for own in who)
    return x1, n1, x0, n0


@lru_cache(maxsize=1)
def _completed(batch: ResponseBatch, counted: Counted, streams: Streams, block: int) -> Ints:
    """Return responders by imputation, visit and arm, (n_imputations, n_visits, 2, n_reps)."""

    def uniforms(number: int, shape: tuple[int, ...]) -> Floats:
        own = streams.generator(Decision.IMPUTATION, block, f"read-outs {number}")
        return np.maximum(own.random(shape), 2.0**-54)

    seen = _seen(batch, counted).visits
    return impute_response(seen, batch.assigned, uniforms, N_IMPUTATIONS)


def _imputed(batch: ResponseBatch, plan: AnalysisPlan, streams: Streams, block: int) -> LookResults:
    events = _completed(batch, plan.counted, streams, block)[:, plan.visit]
    n1, n0 = (arm.sum(axis=0).astype(float) for arm in arm_masks(batch.assigned, None))
    x0, x1 = events[:, 0], events[:, 1]
    assert isinstance(plan.summary, Summary)
    each: Contrast = _CONTRASTS[plan.summary](x1, n1, x0, n0)
    pooled = pool(each.estimate, each.standard_error**2, np.inf)
    effect = wald(
        pooled.estimate,
        pooled.standard_error,
        confidence_level(plan),
        degrees_of_freedom=pooled.df,
        failed=pooled.failed,
    )
    found = read_once(effect, plan, n1 + n0, len(batch.assigned))
    share = (x1 + x0) / (n1 + n0)
    difference = pool(x1 / n1 - x0 / n0, share * (1 - share) * (1 / n1 + 1 / n0), np.inf)
    nothing = (share * (1 - share)).mean(axis=0) == 0  # nobody, or everybody, responds
    tested = wald(
        difference.estimate,
        difference.standard_error,
        confidence_level(plan),
        degrees_of_freedom=difference.df,
        failed=difference.failed,
    )
    test = read_once(tested, plan, n1 + n0, len(batch.assigned))
    z, p = (np.where(nothing[:, None], fill, a) for fill, a in ((0.0, test.z), (1.0, test.p_value)))
    corrected = np.any(each.corrected, axis=0)[:, None]
    return replace(
        found,
        z=np.where(found.failed, np.nan, z),
        p_value=np.where(found.failed, np.nan, p),
        rejected=(p <= plan.alpha) & ~found.failed,
        corrected=corrected & ~found.failed,
    )
