"""How long observed trials took, held against the rates of other trials alone."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv

from trialsim.kernels.recruitment import Accrual, Rates, closed_form_time, probability_enrolled
from trialsim.protocol.published.evidence import Recruitment, Trial
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.trial import Measure, Row

__all__ = ["MEDIAN", "QUARTILES", "SPREAD_NOTE", "gamma_from_quartiles", "observed_calendar_rows"]

_RATES, _OBSERVED = "walters-2017", "ta1-recruitment"
_DAYS_PER_MONTH = DAYS_PER_UNIT["mo"]
SPREAD_NOTE = (
    "rates of centres spread as those of 151 trials (walters-2017), all open from the first day; "
    "the spread between trials is an upper bound for that between centres"
)
QUARTILES = "gamma with quartiles 0.43 and 2.79"
MEDIAN = "gamma with their ratio and the median 0.92"


def gamma_from_quartiles(lower: float, upper: float, median: float | None = None) -> Rates:
    """Return the gamma distribution with these quartiles; its mean in their unit.

    With a median only their ratio is kept: no gamma distribution has all three.
    """

    def off(shape: float) -> float:
        return log(gammaincinv(shape, 0.75) / gammaincinv(shape, 0.25)) - log(upper / lower)

    shape = float(brentq(off, 0.05, 100.0))
    level, at = (0.75, upper) if median is None else (0.5, median)
    return Rates(shape * at / float(gammaincinv(shape, level)), shape)


def observed_calendar_rows(resolved: ResolvedTemplate) -> Iterator[Row]:
    """Yield where the months an observed trial took stand among those its rates would give.

    Of each trial the template is held against whose centres and rate are recorded.
    """
    records = resolved.evidence.records
    known, rates = records.get(_OBSERVED), records.get(_RATES)
    if not isinstance(known, Recruitment) or not isinstance(rates, Recruitment):
        return
    stated = next(quantity for quantity in rates.quantities if quantity.id == "rate")
    assert stated.interval is not None  # published with it
    fits = {
        QUARTILES: gamma_from_quartiles(*stated.interval),
        MEDIAN: gamma_from_quartiles(*stated.interval, stated.value),
    }
    for quantity in known.quantities:
        trial = records.get(quantity.id)
        observed = any(seen.evidence == quantity.id for seen in resolved.template.observed)
        if not observed or not isinstance(trial, Trial) or not (trial.design and quantity.n):
            continue
        centres, rate = trial.design.centres, quantity.value
        if not centres or not rate:
            continue
        months = quantity.n / (centres * rate)
        for analysis, fitted in fits.items():
            alike = Accrual(np.zeros(centres), fitted.per_day / _DAYS_PER_MONTH, fitted.shape)
            share = probability_enrolled(np.array([months * _DAYS_PER_MONTH]), quantity.n, alike)
            mean = closed_form_time(quantity.n, centres, fitted.per_day, fitted.shape)
            yield Row(
                measure=Measure.PERCENTILE,
                value=float(share[0]),
                evidence=quantity.id,
                source=_RATES,
                analysis=analysis,
                category=f"{months:.1f} months to enrol {quantity.n:,} at {centres} centres",
                why=f"mean {mean:.1f} months; {SPREAD_NOTE}",
            )
