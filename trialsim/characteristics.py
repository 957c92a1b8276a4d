"""Replicates -> operating characteristics, each with its Monte Carlo standard error.

Formulas and standard errors: Morris, White and Crowther (2019), Statistics in Medicine
38:2074-2102, Table 6. Type M and type S: Gelman and Carlin (2014), Perspectives on Psychological
Science 9:641-651. Failed replicates are left out and counted beside every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.proportions import wilson_interval
from trialsim.protocol.endpoints import AnySummary, Summary
from trialsim.protocol.scenario import odds_ratio_between
from trialsim.trial import LookResults, Measure, Row

__all__ = [
    "MIN_REPLICATES",
    "Z95",
    "Characteristic",
    "characteristics",
    "mean",
    "mid_percentile",
    "proportion",
    "quantile",
    "true_effect",
]

MIN_REPLICATES = 100  # below this no power is given
Z95 = 1.959963984540054

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Characteristic:
    """One operating characteristic.

    Attributes
    ----------
    value, mcse : float or None
        None where it cannot be given; `why` then says so.
    n : int
        Replicates it rests on.
    lower, upper : float or None
        95% Wilson interval, for proportions.
    scale : str or None
        The analysis scale, where the number lives on it.
    """

    measure: Measure
    value: float | None
    mcse: float | None
    n: int
    lower: float | None = None
    upper: float | None = None
    scale: str | None = None
    why: str | None = None

    def row(self, blank: Row) -> Row:
        """Return a row of a result: what `blank` says it is about, with this number."""
        return replace(
            blank,
            measure=self.measure,
            value=self.value,
            mcse=self.mcse,
            n_replicates=self.n,
            lower=self.lower,
            upper=self.upper,
            level=0.95 if self.lower is not None else None,
            scale=self.scale or blank.scale,
            why=self.why,
        )


def true_effect(risks: tuple[float, float], summary: Summary) -> float:
    """Return the effect of (control, treated) risks on the analysis scale: ratios as logarithms."""
    control, treated = risks
    if treated == control:
        return 0.0
    match summary:
        case Summary.ODDS_RATIO:
            return log(odds_ratio_between(treated, control))
        case Summary.RISK_RATIO:
            return log(treated / control)
        case Summary.RISK_DIFFERENCE:
            return treated - control


def characteristics(
    results: LookResults, theta: float, summary: AnySummary
) -> list[Characteristic]:
    """Summarise the last look of every replicate.

    Parameters
    ----------
    results : LookResults
        Arrays of shape (n_reps, n_looks).
    theta : float
        The true effect on the analysis scale.
    summary : Summary, SurvivalSummary or OutcomeSummary
        The measure the estimates are in.
    """
    failures = Characteristic(
        Measure.N_FAILED, float(results.failed[:, -1].sum()), None, len(results.failed)
    )
    ok = ~results.failed[:, -1]
    n = int(ok.sum())
    if n < MIN_REPLICATES:
        why = f"{n} analysable replicates; at least {MIN_REPLICATES} are needed"
        return [Characteristic(Measure.POWER, None, None, n, why=why), failures]
    rejected, estimate = results.rejected[ok, -1], results.estimate[ok, -1]
    found = [proportion(Measure.POWER, rejected)]
    if theta == 0:
        found.append(proportion(Measure.TYPE_I_ERROR, rejected))
    found += _directions(rejected, estimate, theta, summary)
    if np.isfinite(estimate).all():  # a ratio of medians has no size where one is not reached
        found += _estimates(results, ok, theta, summary)
    found.append(
        Characteristic(Measure.N_CORRECTED, float(results.corrected[ok, -1].sum()), None, n)
    )
    found.append(failures)
    return found


def mean(measure: Measure, values: Floats) -> Characteristic:
    """Return the mean of a quantity over replicates."""
    n = len(values)
    mcse = float(values.std(ddof=1)) / sqrt(n) if n > 1 else None
    return Characteristic(measure, float(values.mean()), mcse, n)


def proportion(measure: Measure, hits: NDArray[np.bool_]) -> Characteristic:
    """Return a share of replicates with its Wilson interval."""
    n = len(hits)
    p = float(hits.mean())
    lower, upper = (float(limit) for limit in wilson_interval(hits.sum(), n, Z95))
    return Characteristic(measure, p, sqrt(p * (1 - p) / n), n, lower, upper)


def _directions(
    rejected: NDArray[np.bool_], estimate: Floats, theta: float, summary: AnySummary
) -> Iterator[Characteristic]:
    n_rejected = int(rejected.sum())
    if theta == 0:
        why = "the truth is no effect: there is no right direction and no size to exaggerate"
        yield from (
            Characteristic(m, None, None, n_rejected, why=why)
            for m in (Measure.POWER_WRONG_DIRECTION, Measure.TYPE_S, Measure.TYPE_M)
        )
        return
    against = rejected & (np.sign(estimate) != np.sign(theta))
    yield proportion(Measure.POWER_WRONG_DIRECTION, against)
    if n_rejected < 2:
        why = f"{n_rejected} of the replicates were significant"
        yield from (
            Characteristic(m, None, None, n_rejected, why=why)
            for m in (Measure.TYPE_S, Measure.TYPE_M)
        )
        return
    yield proportion(Measure.TYPE_S, against[rejected])
    if not np.isfinite([theta, *estimate[rejected]]).all():
        why = "where a median is not reached, its ratio has no size"
        yield Characteristic(Measure.TYPE_M, None, None, n_rejected, why=why)
        return
    exaggeration = np.abs(estimate[rejected]) / abs(theta)
    yield Characteristic(
        Measure.TYPE_M,
        float(exaggeration.mean()),
        float(exaggeration.std(ddof=1)) / sqrt(n_rejected),
        n_rejected,
        scale=_scale(summary),
    )


def _scale(summary: AnySummary) -> str:
    return f"log {summary}" if summary.is_ratio else str(summary)


def _model_se(se: Floats, scale: str) -> Characteristic:
    n, variances = len(se), se**2
    if n < 2:  # of a rank test where every treated patient beats every control, none is known
        why = f"{n} of the replicates have a standard error"
        return Characteristic(Measure.MODEL_SE, None, None, n, scale=scale, why=why)
    model = sqrt(float(variances.mean()))
    error = sqrt(float(variances.var(ddof=1)) / (4 * n * model**2)) if model else 0.0
    return Characteristic(Measure.MODEL_SE, model, error, n, scale=scale)


def _estimates(
    results: LookResults, ok: NDArray[np.bool_], theta: float, summary: AnySummary
) -> Iterator[Characteristic]:
    estimate, se = results.estimate[ok, -1], results.standard_error[ok, -1]
    n, scale = len(estimate), _scale(summary)
    mean, empirical = float(estimate.mean()), float(estimate.std(ddof=1))
    yield Characteristic(Measure.ESTIMATE_MEAN, mean, empirical / sqrt(n), n, scale=scale)
    yield Characteristic(Measure.BIAS, mean - theta, empirical / sqrt(n), n, scale=scale)
    yield Characteristic(
        Measure.EMPIRICAL_SE, empirical, empirical / sqrt(2 * (n - 1)), n, scale=scale
    )
    yield _model_se(se[np.isfinite(se)], scale)
    covered = (results.lower[ok, -1] <= theta) & (theta <= results.upper[ok, -1])
    yield proportion(Measure.COVERAGE, covered)
    squared = (estimate - theta) ** 2
    yield Characteristic(
        Measure.MSE,
        float(squared.mean()),
        float(squared.std(ddof=1)) / sqrt(n),
        n,
        scale=f"{scale}, squared",
    )
    back: Callable[[float], float] = exp if summary.is_ratio else float
    ordered = np.sort(estimate)
    for measure, q in (
        (Measure.ESTIMATE_Q025, 0.025),
        (Measure.ESTIMATE_MEDIAN, 0.5),
        (Measure.ESTIMATE_Q975, 0.975),
    ):
        yield quantile(measure, ordered, q, back, str(summary))


def quantile(
    measure: Measure, ordered: Floats, q: float, back: Callable[[float], float], scale: str
) -> Characteristic:
    """Return a quantile; its MCSE is half the way between order statistics one SD to each side."""
    n = len(ordered)
    reach = sqrt(n * q * (1 - q))
    low, high = (int(np.clip(round(n * q + d), 0, n - 1)) for d in (-reach, reach))
    mcse = (back(float(ordered[high])) - back(float(ordered[low]))) / 2
    value = back(float(np.quantile(ordered, q)))
    return Characteristic(measure, value, mcse, n, scale=scale)


def mid_percentile(estimates: Floats, seen: float) -> Characteristic:
    """Return the share of simulated estimates below the one seen, ties counting half.

    Parameters
    ----------
    estimates : ndarray, shape (n_reps,)
        Of the analysable replicates, on the analysis scale.
    seen : float
        On the same scale.
    """
    n = len(estimates)
    tied = np.isclose(estimates, seen, rtol=0, atol=1e-12)
    score = np.where(tied, 0.5, estimates < seen)
    p = float(score.mean())
    return Characteristic(Measure.PERCENTILE, p, float(score.std()) / sqrt(n), n)
