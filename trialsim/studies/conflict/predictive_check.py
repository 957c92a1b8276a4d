"""What a literature looks like under each explanation, against what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from trialsim.kernels.explanations import LinearExplanation, prior_combination
from trialsim.studies.conflict.reconciliation import Reconciled, Reference

__all__ = [
    "PredictiveCheck",
    "Quantity",
    "QuantityCheck",
    "predictive_checks",
    "quantities_of",
    "quantity_checks",
]

_ENDS = (0.025, 0.5, 0.975)
_Z = 1.959963984540054  # P below 0.05, two-sided
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


class Quantity(StrEnum):
    """What is asked of all records of a literature together."""

    SPREAD = "Q"  # Cochran's, of the log ratios
    SIGNIFICANT = "significant records"
    LARGEST = "largest effect"


class QuantityCheck(NamedTuple):
    """A quantity of the records, as literatures drawn from an explanation's prior have it.

    Attributes
    ----------
    seen : float
        Of the records; the largest effect is a log ratio, below 0 in favour.
    share : float
        Of literatures in which it is as large as seen, or larger (of effects: more in favour).
    low, middle, high : float
        Quantiles 0.025, 0.5 and 0.975.
    mcse : float or None
        Of the share; None where no literature, or every one, has it as large.
    at_most : float or None
        Where no literature drawn has: 95% limit of the share, 3/n (Hanley and Lippman-Hand 1983).
    """

    quantity: Quantity
    explanation: str
    seen: float
    share: float
    low: float
    middle: float
    high: float
    n: int
    mcse: float | None
    at_most: float | None


def quantities_of(
    y: NDArray[np.float64], variances: NDArray[np.float64]
) -> dict[Quantity, NDArray[np.float64]]:
    """Return each quantity of literatures, shape (m,).

    Parameters
    ----------
    y : ndarray, shape (m, n_records)
        Log ratios, below 0 in favour.
    variances : ndarray, shape (n_records,)

    Notes
    -----
    Q is the weighted sum of squares about the inverse-variance mean (Cochran 1954, Biometrics
    10:101-129); a record is significant where its 95% interval leaves out 1, on either side.
    """
    weights = 1 / variances
    mean = y @ weights / weights.sum()
    return {
        Quantity.SPREAD: (y - mean[:, None]) ** 2 @ weights,
        Quantity.SIGNIFICANT: (np.abs(y) > _Z * np.sqrt(variances)).sum(axis=1).astype(float),
        Quantity.LARGEST: y.min(axis=1),
    }


def quantity_checks(main: Reconciled, reference: Reference) -> Iterator[QuantityCheck]:
    """Yield the check of every quantity under every modelled explanation; none of one record.

    By the literatures drawn, from the prior (Box 1980): each is as likely as its explanation makes
    it before the records are seen.
    """
    if len(main.y) < 2:
        return
    seen = quantities_of(main.y[None, :], main.records.variances)
    for place, name in enumerate(main.plan.models):
        for quantity, drawn in quantities_of(reference.y[place], main.records.variances).items():
            own, n = float(seen[quantity][0]), len(drawn)
            as_large = drawn <= own if quantity is Quantity.LARGEST else drawn >= own
            share = float(as_large.mean())
            low, middle, high = (float(x) for x in np.quantile(drawn, _ENDS))
            mcse = sqrt(share * (1 - share) / n) if 0 < share < 1 else None
            limit = 3 / n if share == 0 else None
            yield QuantityCheck(quantity, name, own, share, low, middle, high, n, mcse, limit)


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
