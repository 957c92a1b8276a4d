"""The effect in some of the patients, and how it changes with a covariate.

Each is read once, when the last look is due and whatever earlier looks would have decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.analyse.response import responding
from trialsim.generate.outcomes import CompetingBatch, CountedBatch, MeasuredBatch, OrderedBatch
from trialsim.generate.response import ResponseBatch
from trialsim.kernels.contrasts import wald
from trialsim.kernels.interaction import Slopes, linear_interaction, logistic_interaction
from trialsim.kernels.survival import FollowUp
from trialsim.trial import (
    CONTROL,
    EXPERIMENTAL,
    AnalysisPlan,
    Candidates,
    InLevel,
    LookResults,
    PerCovariate,
    TrialBatch,
)

__all__ = ["analyse_part", "only"]

Bools = NDArray[np.bool_]


def analyse_part(
    analyse: Callable[[Any, AnalysisPlan], LookResults],
    batch: Any,
    plan: AnalysisPlan,
    candidates: Candidates,
) -> LookResults:
    """Analyse one subgroup as the whole trial would be, or test an interaction.

    Parameters
    ----------
    analyse : callable
        Of the endpoint's kind.
    batch : batch of that kind
    plan : AnalysisPlan
        With a part.
    candidates : Candidates
        With the levels, or the covariate.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1).
    """
    match plan.part:
        case InLevel(factor, level):
            return analyse(only(batch, candidates.levels[factor] == level), plan)
        case PerCovariate(covariate):
            slopes = _slopes(batch, plan, candidates.covariate(covariate))
            contrast = wald(
                slopes.estimate,
                slopes.standard_error,
                confidence_level(plan),
                degrees_of_freedom=slopes.degrees_of_freedom,
                failed=slopes.failed,
            )
            n = len(candidates.strata)
            return read_once(contrast, plan, np.full(len(slopes.estimate), float(n)), n)
        case None:
            return analyse(batch, plan)


def only(batch: Any, included: Bools) -> Any:
    """Return a batch of any kind in which only some patients are analysed.

    Parameters
    ----------
    batch : batch
    included : ndarray of bool, shape (n_patients, n_reps)
    """
    match batch:
        case TrialBatch() | ResponseBatch() | OrderedBatch():
            return replace(batch, included=included)
        case FollowUp():
            return batch._replace(included=included)
        case MeasuredBatch():
            visits = np.where(included[:, None, :], batch.visits, np.nan)
            return replace(batch, visits=visits)
        case CountedBatch():
            return replace(batch, days=np.where(included, batch.days, 0.0))  # no exposure, left out
        case CompetingBatch():
            time, cause = (np.where(included, column, 0) for column in (batch.time, batch.cause))
            return replace(batch, time=time, cause=cause)  # censored before anything happens
        case _:
            raise AssertionError(f"{type(batch).__name__} is no batch")


def _slopes(batch: Any, plan: AnalysisPlan, covariate: NDArray[np.float64]) -> Slopes:
    match batch:
        case TrialBatch():
            happened = np.where(batch.assigned, batch.events[EXPERIMENTAL], batch.events[CONTROL])
            return logistic_interaction(happened, batch.assigned, covariate)
        case ResponseBatch():
            return logistic_interaction(responding(batch, plan), batch.assigned, covariate)
        case MeasuredBatch():
            last = batch.visits[:, -1]
            seen = np.isfinite(last)
            return linear_interaction(last, batch.assigned, covariate, seen)
        case _:
            raise AssertionError("refused by the rules")
