"""What two sides of a literature look like under each explanation, against what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from trialsim.kernels.explanations import LinearExplanation, prior_combination
from trialsim.studies.conflict.reconciliation import Reconciled, Reference

__all__ = ["PredictiveCheck", "predictive_checks"]

_ENDS = (0.025, 0.5, 0.975)
_REACH = 12.0  # errors from the middle, beyond any quantile asked for


class PredictiveCheck(NamedTuple):
    """The gap between two sides, as the prior of one explanation has it.

    Attributes
    ----------
    share : float
        Of literatures with a gap as large as the published one, this way round.
    low, middle, high : float
        Quantiles 0.025, 0.5 and 0.975 of the gap, a log ratio of ratios.
    n : int or None
        Literatures drawn; None where it follows in closed form.
    mcse, middle_mcse : float or None
        Of share and median; None in closed form, and of the share where no literature, or every
        one, has so large a gap.
    at_most : float or None
        Where no literature drawn has: 95% limit of the share, 3/n (Hanley and Lippman-Hand 1983).
    """

    explanation: str
    share: float
    low: float
    middle: float
    high: float
    n: int | None = None
    mcse: float | None = None
    middle_mcse: float | None = None
    at_most: float | None = None


def predictive_checks(main: Reconciled, reference: Reference) -> Iterator[PredictiveCheck]:
    """Yield the check of every modelled explanation; none where the file names no two sides.

    Notes
    -----
    Under shifts and spread the log ratios are normal given the spread, and so is their weighted
    difference: share and quantiles are those of a mixture of normals (Box 1980, Journal of the
    Royal Statistical Society A 143:383-430, prior predictive checks). Under a filter they are those
    of the literatures drawn.
    """
    loadings = main.gap_loadings()
    if loadings is None or main.gap is None:
        return
    for place, (name, model) in enumerate(main.plan.models.items()):
        if isinstance(model, LinearExplanation):
            mean, errors, shares = prior_combination(model, main.records, loadings)
            yield _in_closed_form(name, main.gap, mean, errors, shares)
        else:
            yield _drawn(name, main.gap, reference.gaps[place])


def _in_closed_form(
    name: str,
    gap: float,
    mean: float,
    errors: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> PredictiveCheck:
    def below(x: float) -> float:
        return float(shares @ ndtr((x - mean) / errors))

    reach = _REACH * float(errors.max())
    low, middle, high = (
        float(brentq(lambda x, p=p: below(x) - p, mean - reach, mean + reach)) for p in _ENDS
    )
    return PredictiveCheck(name, below(gap), low, middle, high)


def _drawn(name: str, gap: float, gaps: NDArray[np.float64]) -> PredictiveCheck:
    n = len(gaps)
    share = float((gaps <= gap).mean())
    low, middle, high = (float(x) for x in np.quantile(gaps, _ENDS))
    step = sqrt(0.25 / n)  # standard error of the rank of the median, as a share
    around = np.quantile(gaps, (0.5 - step, 0.5 + step))
    mcse = sqrt(share * (1 - share) / n) if 0 < share < 1 else None
    limit = 3 / n if share == 0 else None
    spread = float(around[1] - around[0]) / 2
    return PredictiveCheck(name, share, low, middle, high, n, mcse, spread, limit)
