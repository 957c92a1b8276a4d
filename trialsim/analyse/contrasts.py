"""One comparison per trial, of everyone as assigned, as one look at everyone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.contrasts import Alternative, ArmContrast
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["confidence_level", "read_once"]

Floats = NDArray[np.float64]


def confidence_level(plan: AnalysisPlan) -> float:
    """Return the level of the two-sided interval that goes with the plan's test."""
    return 1 - (plan.alpha if plan.sides == 2 else 2 * plan.alpha)


def read_once(
    contrast: ArmContrast, plan: AnalysisPlan, analysed: Floats, enrolled: int
) -> LookResults:
    """Return what a comparison found, arrays of shape (n_reps, 1).

    Parameters
    ----------
    contrast : ArmContrast
    plan : AnalysisPlan
    analysed : ndarray, shape (n_reps,)
        Patients in the analysis.
    enrolled : int
    """
    alternative = Alternative.DIFFERENT
    if plan.sides == 1:
        alternative = Alternative.LARGER if plan.benefit > 0 else Alternative.SMALLER
    failed = contrast.failed | ~np.isfinite(contrast.estimate)
    p = np.where(failed, np.nan, contrast.p_value(alternative))
    column = _Columns(failed)
    n_reps = len(failed)
    return LookResults(
        estimate=column(contrast.estimate),
        standard_error=column(contrast.standard_error),
        lower=column(contrast.lower),
        upper=column(contrast.upper),
        p_value=column(p),
        rejected=(p <= plan.alpha)[:, None],
        corrected=np.zeros((n_reps, 1), dtype=bool),
        failed=failed[:, None],
        z=column(plan.benefit * contrast.statistic),
        information=column(analysed.astype(float)),
        enrolled=np.full((n_reps, 1), float(enrolled)),
        day=np.full((n_reps, 1), np.nan),
        short=np.zeros((n_reps, 1), dtype=bool),
    )


@dataclass(frozen=True)
class _Columns:
    """Columns of trials, NaN where one has failed."""

    failed: NDArray[np.bool_]

    def __call__(self, values: Floats) -> Floats:
        return np.where(self.failed, np.nan, values)[:, None]
