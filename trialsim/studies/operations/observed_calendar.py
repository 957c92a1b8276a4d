"""How long observed trials took, held against the rates of other trials alone."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv

from trialsim.kernels.recruitment import Accrual, Rates, closed_form_time, probability_enrolled
from trialsim.protocol.evidence import Recruitment, Trial
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.trial import Measure, Row

__all__ = ["SPREAD_NOTE", "gamma_from_quartiles", "observed_calendar_rows"]

_RATES, _OBSERVED = "walters-2017", "ta1-recruitment"
_DAYS_PER_MONTH = DAYS_PER_UNIT["mo"]
SPREAD_NOTE = (
    "rates of centres as those of 151 trials (walters-2017: quartiles 0.43 and 2.79 patients per "
    "centre and month), all open from the first day; the spread between trials is an upper bound "
    "for that between centres"
)


def gamma_from_quartiles(lower: float, upper: float) -> Rates:
    """Return the gamma distribution with these quartiles; its mean in their unit."""

    def off(shape: float) -> float:
        return log(gammaincinv(shape, 0.75) / gammaincinv(shape, 0.25)) - log(upper / lower)

    shape = float(brentq(off, 0.05, 100.0))
    return Rates(shape * upper / float(gammaincinv(shape, 0.75)), shape)


def observed_calendar_rows(resolved: ResolvedTemplate) -> Iterator[Row]:
    """Yield where the months an observed trial took stand among those its rates would give.

    Of each trial the template is held against whose centres and rate are recorded.
    """
    records = resolved.evidence.records
    known, rates = records.get(_OBSERVED), records.get(_RATES)
    if not isinstance(known, Recruitment) or not isinstance(rates, Recruitment):
        return
    quartiles = next(q.interval for q in rates.quantities if q.id == "rate")
    assert quartiles is not None  # published with it
    fitted = gamma_from_quartiles(*quartiles)
    for quantity in known.quantities:
        trial = records.get(quantity.id)
        observed = any(seen.evidence == quantity.id for seen in resolved.template.observed)
        if not observed or not isinstance(trial, Trial) or not (trial.design and quantity.n):
            continue
        centres, rate = trial.design.centres, quantity.value
        if not centres or not rate:
            continue
        months = quantity.n / (centres * rate)
        alike = Accrual(np.zeros(centres), fitted.per_day / _DAYS_PER_MONTH, fitted.shape)
        share = probability_enrolled(np.array([months * _DAYS_PER_MONTH]), quantity.n, alike)[0]
        mean, _ = closed_form_time(quantity.n, centres, fitted.per_day, fitted.shape)
        about = Row(
            measure=Measure.PERCENTILE,
            value=float(share),
            evidence=quantity.id,
            source=_RATES,
            analysis="closed form",
            category="months to enrol",
            why=f"{months:.1f} months to enrol {quantity.n:,} patients at {centres} centres, "
            f"against a mean of {mean:.1f} with {SPREAD_NOTE}",
        )
        yield about
