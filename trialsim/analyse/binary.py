"""Analysis of a binary endpoint at the end of the trial."""

from __future__ import annotations

from statistics import NormalDist
from typing import assert_never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialsim.kernels import proportions
from trialsim.protocol.design import Better, BinaryTest, Summary
from trialsim.trial import CONTROL, EXPERIMENTAL, AnalysisPlan, LookResults, TrialBatch

__all__ = ["analyse", "analyse_counts"]


def analyse(batch: TrialBatch, plan: AnalysisPlan) -> LookResults:
    """Analyse everyone as assigned (treatment policy).

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1).
    """
    treated, untreated = batch.assigned, ~batch.assigned
    return analyse_counts(
        _counted(batch.events[EXPERIMENTAL] & treated),
        _counted(treated),
        _counted(batch.events[CONTROL] & untreated),
        _counted(untreated),
        plan,
    )


def _counted(who: NDArray[np.bool_]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.add.reduce(who, axis=0, dtype=np.int32).astype(np.int64)
    return counts


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
    events_treated, n_treated, events_control, n_control : array of int, shape (n_reps,)
    plan : AnalysisPlan

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1). A trial with an empty arm has failed.
    """
    x1, n1, x0, n0 = (
        np.atleast_1d(np.asarray(a)) for a in (events_treated, n_treated, events_control, n_control)
    )
    failed = (n1 == 0) | (n0 == 0)
    x1, n1, x0, n0 = (np.where(failed, fill, a) for a, fill in ((x1, 0), (n1, 1), (x0, 0), (n0, 1)))
    contrast = _CONTRASTS[plan.summary](x1, n1, x0, n0)
    two_sided_alpha = plan.alpha if plan.sides == 2 else 2 * plan.alpha
    z = -NormalDist().inv_cdf(two_sided_alpha / 2)
    if plan.summary is Summary.RISK_DIFFERENCE:
        lower, upper = proportions.newcombe_interval(x1, n1, x0, n0, z)
    else:
        half = z * contrast.standard_error
        lower, upper = contrast.estimate - half, contrast.estimate + half
    p = _p_value(x1, n1, x0, n0, plan)
    estimate, se, lower, upper, p = (
        np.where(failed, np.nan, column)[:, None]
        for column in (contrast.estimate, contrast.standard_error, lower, upper, p)
    )
    return LookResults(
        estimate=estimate,
        standard_error=se,
        lower=lower,
        upper=upper,
        p_value=p,
        rejected=p <= plan.alpha,
        corrected=(contrast.corrected & ~failed)[:, None],
        failed=failed[:, None],
    )


_CONTRASTS = {
    Summary.ODDS_RATIO: proportions.log_odds_ratio,
    Summary.RISK_RATIO: proportions.log_risk_ratio,
    Summary.RISK_DIFFERENCE: proportions.risk_difference,
}


def _p_value(
    x1: NDArray[np.int64],
    n1: NDArray[np.int64],
    x0: NDArray[np.int64],
    n0: NDArray[np.int64],
    plan: AnalysisPlan,
) -> NDArray[np.float64]:
    if plan.sides == 1 and plan.better is Better.HIGHER:  # count the absence of the event instead
        x1, x0 = n1 - x1, n0 - x0
    match plan.test:
        case BinaryTest.CHI_SQUARE:
            return proportions.normal_p(proportions.pearson_z(x1, n1, x0, n0), plan.sides)
        case BinaryTest.FISHER:
            return proportions.fisher_p(x1, n1, x0, n0, plan.sides)
        case _:
            assert_never(plan.test)
