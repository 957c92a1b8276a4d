"""Two groups compared on the time to an event, many trials at once: the reference in numpy.

Everything rests on one table per trial: at every event time, who was at risk and who had it.

Ties. Times that agree to 2 parts in 10^10 are tied (`snapped`): binary fractions of days otherwise
decide which of two equal times comes first. A patient censored at an event time was still at risk.
Tied events share one row of the table; the log-rank family has the hypergeometric variance, the
Cox model Efron's likelihood or Breslow's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isnan, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trialsim.errors import Problem, RequestError
from trialsim.kernels.hazards import Hazard, day_of

__all__ = [
    "LOG_RANK",
    "UNWEIGHTED",
    "CoxFit",
    "CutRule",
    "FlemingHarrington",
    "FollowUp",
    "IntervalScale",
    "KaplanMeier",
    "LookNumbers",
    "ModestlyWeighted",
    "Reading",
    "RestrictedMean",
    "RiskTable",
    "SurvivalData",
    "Ties",
    "Weight",
    "WeightedLogRank",
    "ZeroBefore",
    "cox",
    "followed",
    "kaplan_meier",
    "milestone",
    "read_looks",
    "restricted_mean",
    "risk_tables",
    "snapped",
    "survival_data",
    "weighted_log_rank",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LOW_BITS = 20  # of the 52 of a double's fraction: 2**-32 = 2.3e-10, and room to pack a patient
MAX_NEWTON_STEPS = 30  # of at most 1 on the log scale, lest the first overshoot
NEWTON_TOLERANCE = 1e-9  # quadratic: the next step would change the 16th digit


def snapped(times: ArrayLike) -> Floats:
    """Round times to 33 significant bits, so that equal times are equal; infinity stays."""
    bits = np.ascontiguousarray(times, dtype=float).view(np.int64)
    half, low = 1 << (LOW_BITS - 1), (1 << LOW_BITS) - 1
    rounded: Floats = ((bits + half) & ~low).view(np.float64)
    return np.where(np.isfinite(times), rounded, np.inf)


class SurvivalData(NamedTuple):
    """Follow-up of the patients of one trial or of many.

    Attributes
    ----------
    time : ndarray of float, shape (n_reps, n_patients)
        From entry to event or censoring, any unit, snapped; infinity for who has not entered.
    event : ndarray of bool, same shape
        Whether it ended in the event.
    treated : ndarray of bool, same shape
    stratum : ndarray of int or None
        For stratified analyses.
    """

    time: Floats
    event: Bools
    treated: Bools
    stratum: Ints | None = None


def survival_data(
    time: ArrayLike, event: ArrayLike, treated: ArrayLike, stratum: ArrayLike | None = None
) -> SurvivalData:
    """Check follow-up someone typed or read from a file, one trial.

    Parameters
    ----------
    time : array of float, shape (n_patients,)
        Above or equal 0 and finite.
    event, treated : array, shape (n_patients,)
        0 or 1 (or bool): had the event; in the experimental arm.
    stratum : array of int, shape (n_patients,), optional

    Raises
    ------
    RequestError
        All that is wrong with it at once.
    """
    columns: dict[str, Any] = {"time": time, "event": event, "treated": treated}
    if stratum is not None:
        columns["stratum"] = stratum
    arrays = {name: np.atleast_1d(np.asarray(column)) for name, column in columns.items()}
    problems = []
    if len({array.shape for array in arrays.values()}) > 1 or arrays["time"].ndim != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        rule, remedy = "must be columns of one length", "Give one value per patient in each."
        raise RequestError(Problem(rule, remedy, "survival data", shapes))
    for name in ("event", "treated"):
        strange = sorted({str(v) for v in arrays[name][~np.isin(arrays[name], (0, 1))]})
        if strange:
            remedy = (
                "Write 1 where follow-up ended in the event and 0 where it was censored; "
                "times go in 'time'."
                if name == "event"
                else "Write 1 for the experimental arm and 0 for the control arm."
            )
            shown = ", ".join(strange[:5]) + (", ..." if len(strange) > 5 else "")
            problems.append(Problem("must be 0 or 1 for every patient", remedy, name, shown))
    times = arrays["time"].astype(float)
    impossible = times[~(np.isfinite(times) & (times >= 0))]
    if len(impossible):
        remedy = "Give the time from entry; leave out who has none."
        shown = ", ".join(str(v) for v in impossible[:5])
        problems.append(Problem("must be a number of at least 0", remedy, "time", shown))
    if problems:
        raise RequestError(problems)
    levels = None
    if stratum is not None:
        levels = np.unique(arrays["stratum"], return_inverse=True)[1].reshape(1, -1)
    event_, treated_ = (arrays[name].astype(bool)[None] for name in ("event", "treated"))
    return SurvivalData(snapped(times)[None], event_, treated_, levels)


class RiskTable(NamedTuple):
    """Who was at risk, and who had the event, in one stratum. All shapes (n_reps, n_rows).

    One row per patient in order of time; the events of a tie stand in its last row, and rows
    without an event have none. Sums over the rows are sums over the distinct event times.

    Attributes
    ----------
    time : ndarray of float
    at_risk, events : ndarray of float
        In both arms.
    at_risk_treated, events_treated : ndarray of float
    leaving, leaving_treated : ndarray of float
        Whoever's follow-up ends in this row, event or not, one patient a row.
    """

    time: Floats
    at_risk: Floats
    events: Floats
    at_risk_treated: Floats
    events_treated: Floats
    leaving: Floats
    leaving_treated: Floats

    def arm(self, *, treated: bool) -> tuple[Floats, Floats]:
        """Return at risk and events of one arm."""
        if treated:
            return self.at_risk_treated, self.events_treated
        return self.at_risk - self.at_risk_treated, self.events - self.events_treated


def risk_tables(data: SurvivalData) -> list[RiskTable]:
    """Return one table per stratum; a single one without strata.

    Parameters
    ----------
    data : SurvivalData
        Arrays of shape (n_reps, n_patients).
    """
    if data.stratum is None:
        return [_risk_table(data.time, data.event, data.treated)]
    return [
        _risk_table(np.where(data.stratum == level, data.time, np.inf), data.event, data.treated)
        for level in range(int(data.stratum.max(initial=0)) + 1)
    ]


def _risk_table(time: Floats, event: Bools, treated: Bools) -> RiskTable:
    order = np.argsort(time, axis=1, kind="stable")
    time = np.take_along_axis(time, order, axis=1)
    event, treated = (np.take_along_axis(a, order, axis=1) for a in (event, treated))
    here = np.isfinite(time)
    n_rows = time.shape[1]
    rows = np.arange(n_rows)
    new = np.ones(time.shape, dtype=bool)
    new[:, 1:] = time[:, 1:] != time[:, :-1]
    first = np.maximum.accumulate(np.where(new, rows, 0), axis=1)
    last = np.ones(time.shape, dtype=bool)
    last[:, :-1] = new[:, 1:]

    def before(who: Bools) -> Floats:
        counted = np.zeros((len(time), n_rows + 1))
        np.cumsum(who, axis=1, out=counted[:, 1:])
        return counted

    def at_risk(who: Bools) -> Floats:
        counted = before(who)
        return counted[:, -1:] - np.take_along_axis(counted, first, axis=1)

    def tied(who: Bools) -> Floats:
        counted = before(who)
        in_tie = counted[:, 1:] - np.take_along_axis(counted, first, axis=1)
        return np.where(last, in_tie, 0.0)

    return RiskTable(
        time,
        at_risk(here),
        tied(event & here),
        at_risk(treated & here),
        tied(event & treated & here),
        here.astype(float),
        (treated & here).astype(float),
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _survival_before(table: RiskTable) -> Floats:
    """Kaplan-Meier estimate of both arms together just before each row, (n_reps, n_rows)."""
    stays = 1 - _ratio(table.events, table.at_risk)
    before = np.ones_like(stays)
    np.cumprod(stays[:, :-1], axis=1, out=before[:, 1:])
    return before


@dataclass(frozen=True)
class FlemingHarrington:
    """Weight ``S(t-)**rho (1 - S(t-))**gamma``, S pooled; 0, 0 is the log-rank test.

    Fleming and Harrington (1991), Counting Processes and Survival Analysis, section 7.2.
    """

    rho: float = 0.0
    gamma: float = 0.0

    @property
    def code(self) -> tuple[float, float, float]:
        """The weight as numbers, for a compiled kernel."""
        return 0.0, self.rho, self.gamma

    def at(self, survival_before: Floats, time: Floats) -> Floats:
        """Return the weights."""
        del time
        weight = np.ones_like(survival_before)
        if self.rho:
            weight = weight * survival_before**self.rho
        if self.gamma:
            weight = weight * (1 - survival_before) ** self.gamma
        return weight


@dataclass(frozen=True)
class ModestlyWeighted:
    """Weight ``min(most, 1 / max(S(t-), S(until)))``: late events count more, up to a limit.

    Magirr and Burman (2019), Statistics in Medicine 38:3782-3790; `most` is 1 / s*.
    """

    most: float = inf
    until: float = inf

    @property
    def code(self) -> tuple[float, float, float]:
        """The weight as numbers, for a compiled kernel."""
        return 1.0, self.most, self.until

    def at(self, survival_before: Floats, time: Floats) -> Floats:
        """Return the weights."""
        late = time > self.until
        at_limit = np.where(late, survival_before, 0.0).max(axis=1, keepdims=True)
        floor = np.where(late, at_limit, survival_before)
        return np.minimum(self.most, 1 / np.maximum(floor, 1e-300))


@dataclass(frozen=True)
class ZeroBefore:
    """Weight 0 for events up to and on a day, 1 after.

    Xu, Zhen, Park and Zhu (2017), Statistics in Medicine 36:592-605.
    """

    day: float

    @property
    def code(self) -> tuple[float, float, float]:
        """The weight as numbers, for a compiled kernel."""
        return 2.0, self.day, 0.0

    def at(self, survival_before: Floats, time: Floats) -> Floats:
        """Return the weights."""
        del survival_before
        return (time >= self.day).astype(float)


Weight = FlemingHarrington | ModestlyWeighted | ZeroBefore
LOG_RANK = FlemingHarrington()
UNWEIGHTED = (LOG_RANK,)


class WeightedLogRank(NamedTuple):
    """Scores of the weighted log-rank tests.

    Attributes
    ----------
    score : ndarray of float, shape (n_reps, n_weights)
        Observed less expected events on treatment: negative when treatment helps.
    covariance : ndarray of float, shape (n_reps, n_weights, n_weights)
    """

    score: Floats
    covariance: Floats

    @property
    def z(self) -> Floats:
        """Standardised scores, shape (n_reps, n_weights); 0 where nothing was at stake."""
        variance = np.diagonal(self.covariance, axis1=1, axis2=2)
        return _ratio(self.score, np.sqrt(variance))


def weighted_log_rank(
    tables: Sequence[RiskTable], weights: Sequence[Weight] = UNWEIGHTED
) -> WeightedLogRank:
    """Compare two arms by weighted log-rank tests, over strata where there are several.

    Parameters
    ----------
    tables : sequence of RiskTable
        One per stratum; each stratum has its own weights, from its own pooled survival.
    weights : sequence of Weight

    References
    ----------
    Mantel (1966), Cancer Chemotherapy Reports 50:163-170; Peto and Peto (1972), Journal of the
    Royal Statistical Society A 135:185-207; covariances: Karrison (2016), Stata Journal
    16:678-690, equation 4.
    """
    n_reps, k = len(tables[0].time), len(weights)
    score, covariance = np.zeros((n_reps, k)), np.zeros((n_reps, k, k))
    for table in tables:
        n, n1, d = table.at_risk, table.at_risk_treated, table.events
        surplus = table.events_treated - _ratio(d * n1, n)
        variance = _ratio(d * n1 * (n - n1) * (n - d), n * n * (n - 1))
        before = _survival_before(table)
        drawn = [np.where(d > 0, weight.at(before, table.time), 0.0) for weight in weights]
        for i, weight in enumerate(drawn):
            score[:, i] += (weight * surplus).sum(axis=1)
            for j, other in enumerate(drawn[: i + 1]):
                covariance[:, i, j] += (weight * other * variance).sum(axis=1)
                covariance[:, j, i] = covariance[:, i, j]
    return WeightedLogRank(score, covariance)


class Ties(StrEnum):
    """How the Cox likelihood treats tied events."""

    EFRON = "efron"
    BRESLOW = "breslow"


class CoxFit(NamedTuple):
    """A Cox model with treatment alone. All shapes (n_reps,).

    Attributes
    ----------
    log_hazard_ratio, standard_error : ndarray of float
        NaN where the likelihood has no maximum (all events in one arm, or none).
    score_chi_square : ndarray of float
        At a hazard ratio of 1.
    log_likelihood, log_likelihood_null : ndarray of float
        Partial log likelihood at the estimate and at a hazard ratio of 1.
    """

    log_hazard_ratio: Floats
    standard_error: Floats
    score_chi_square: Floats
    log_likelihood: Floats
    log_likelihood_null: Floats


def cox(tables: Sequence[RiskTable], ties: Ties = Ties.EFRON) -> CoxFit:
    """Fit hazard ratios by Newton's method.

    Parameters
    ----------
    tables : sequence of RiskTable
        One per stratum, each with its own baseline.
    ties : Ties

    References
    ----------
    Cox (1972), Journal of the Royal Statistical Society B 34:187-220; Breslow (1974), Biometrics
    30:89-99; Efron (1977), Journal of the American Statistical Association 72:557-565.
    """
    n, n1, d, d1 = (
        np.concatenate(columns, axis=1)
        for columns in zip(
            *((t.at_risk, t.at_risk_treated, t.events, t.events_treated) for t in tables),
            strict=True,
        )
    )
    found = _estimable(n, n1, d, d1)
    rows = (d > 0).any(axis=0)
    n, n1, d, d1 = (column[:, rows] for column in (n, n1, d, d1))
    beta = np.zeros(len(n))
    null, score_null, information_null = _partial_likelihood(beta, n, n1, d, d1, ties)
    score, information = score_null, information_null
    open_ = found.copy()
    for _ in range(MAX_NEWTON_STEPS):
        step = np.where(open_, np.clip(_ratio(score, information), -1, 1), 0.0)
        beta = beta + step
        log_likelihood, score, information = _partial_likelihood(beta, n, n1, d, d1, ties)
        open_ &= np.abs(step) > NEWTON_TOLERANCE
        if not open_.any():
            break
    found &= ~open_
    return CoxFit(
        np.where(found, beta, np.nan),
        np.where(found, 1 / np.sqrt(np.where(found, information, 1.0)), np.nan),
        _ratio(score_null**2, information_null),
        np.where(found, log_likelihood, np.nan),
        null,
    )


def _estimable(n: Floats, n1: Floats, d: Floats, d1: Floats) -> Bools:
    """Where a maximum exists: both arms had an event while the other was at risk."""
    at_stake = (n1 > 0) & (n1 < n)
    in_treated = np.where(at_stake, d1, 0).sum(axis=1) > 0
    in_control = np.where(at_stake, d - d1, 0).sum(axis=1) > 0
    return np.asarray(in_treated & in_control)


def _partial_likelihood(
    beta: Floats, n: Floats, n1: Floats, d: Floats, d1: Floats, ties: Ties
) -> tuple[Floats, Floats, Floats]:
    """Log likelihood, score and information at beta, shape (n_reps,)."""
    ratio = np.exp(beta)[:, None]
    log_likelihood, score, information = beta * d1.sum(axis=1), d1.sum(axis=1), np.zeros(len(n))
    for tied in range(int(d.max(initial=0))):
        gone = np.where(d > 0, tied / np.maximum(d, 1), 0) if ties is Ties.EFRON else 0.0
        treated = (n1 - gone * d1) * ratio
        total = treated + (n - n1) - gone * (d - d1)
        used = tied < d
        p = np.where(used, _ratio(treated, total), 0.0)
        log_likelihood = log_likelihood - np.log(np.where(used, total, 1.0)).sum(axis=1)
        score = score - p.sum(axis=1)
        information = information + (p * (1 - p)).sum(axis=1)
    return log_likelihood, score, information


class IntervalScale(StrEnum):
    """The scale on which an interval of a survival probability is symmetric."""

    PLAIN = "plain"
    LOG = "log"
    LOG_LOG = "log-log"


class KaplanMeier(NamedTuple):
    """The product-limit estimate of one arm. Shapes (n_reps, n_rows).

    Attributes
    ----------
    time : ndarray of float
    survival : ndarray of float
        Just after `time`.
    variance_log : ndarray of float
        Greenwood's variance of its logarithm.
    at_risk : ndarray of float
        Just before `time`, in this arm.
    events : ndarray of float
    last : ndarray of float, shape (n_reps,)
        Where follow-up of the arm ends: beyond it the estimate is unknown unless it is 0.

    References
    ----------
    Kaplan and Meier (1958), Journal of the American Statistical Association 53:457-481; Greenwood
    (1926), Reports on Public Health and Medical Subjects 33.
    """

    time: Floats
    survival: Floats
    variance_log: Floats
    at_risk: Floats
    events: Floats
    last: Floats

    def on(self, day: float) -> tuple[Floats, Floats]:
        """Return survival and the variance of its log on a day, (n_reps,); NaN where unknown."""
        rows = (self.time <= day).sum(axis=1)
        start = np.ones((len(self.time), 1))
        survival, variance = (
            np.take_along_axis(np.concatenate([first, column], axis=1), rows[:, None], 1)[:, 0]
            for first, column in ((start, self.survival), (0 * start, self.variance_log))
        )
        known = (self.last >= day) | (survival == 0)
        return np.where(known, survival, np.nan), np.where(known, variance, np.nan)

    def interval(
        self, day: float, z: float, scale: IntervalScale = IntervalScale.LOG
    ) -> tuple[Floats, Floats]:
        """Return both limits of survival on a day, shape (n_reps,).

        Scales: plain is Wald's; log keeps it above 0; log-log inside (0, 1) (Kalbfleisch and
        Prentice 2002, The Statistical Analysis of Failure Time Data, section 1.4.1).
        """
        return _interval(*self.on(day), z, scale)

    def median(self, z: float, scale: IntervalScale = IntervalScale.LOG) -> tuple[Floats, ...]:
        """Return median, lower and upper limit, (n_reps,); infinity where not reached.

        The limits are where those of the survival curve cross one half (Brookmeyer and Crowley
        1982, Biometrics 38:29-41); a median on a flat stretch is its middle.
        """
        lower, upper = _interval(self.survival, self.variance_log, z, scale)
        return tuple(_crossing(self.time, column) for column in (self.survival, lower, upper))


def _interval(
    survival: Floats, variance_log: Floats, z: float, scale: IntervalScale
) -> tuple[Floats, Floats]:
    deviation = z * np.sqrt(variance_log)
    inside = (survival > 0) & (survival < 1)
    safe = np.where(inside, survival, 0.5)
    with np.errstate(over="ignore", invalid="ignore"):
        match scale:
            case IntervalScale.PLAIN:
                lower, upper = safe - safe * deviation, safe + safe * deviation
            case IntervalScale.LOG:
                lower, upper = safe * np.exp(-deviation), safe * np.exp(deviation)
            case IntervalScale.LOG_LOG:
                factor = np.exp(deviation / np.abs(np.log(safe)))
                lower, upper = safe**factor, safe ** (1 / factor)
    lower, upper = (np.where(inside, limit, survival) for limit in (lower, upper))
    return np.clip(lower, 0, 1), np.clip(upper, 0, 1)


def _crossing(time: Floats, curve: Floats, tolerance: float = 1e-12) -> Floats:
    """First time a falling curve is at most one half; the middle of a stretch exactly at it."""
    curve = np.where(np.isnan(curve), 0.0, curve)
    at, below = curve <= 0.5 + tolerance, curve < 0.5 - tolerance
    ends = np.where(np.isfinite(time), time, np.inf)
    first, past = (np.where(c, ends, np.inf).min(axis=1) for c in (at, below))
    flat = np.isfinite(past) & (past > first)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(flat, (first + past) / 2, first))


def kaplan_meier(table: RiskTable, *, treated: bool) -> KaplanMeier:
    """Estimate the survival of one arm of an unstratified table."""
    n, d = table.arm(treated=treated)
    stays = 1 - _ratio(d, n)
    variance = _ratio(d, n * (n - d))
    own = table.leaving_treated if treated else table.leaving - table.leaving_treated
    last = np.where(own > 0, table.time, 0.0).max(axis=1, initial=0.0)
    return KaplanMeier(
        np.where(np.isfinite(table.time), table.time, np.inf),
        np.asarray(np.cumprod(stays, axis=1), dtype=float),
        np.cumsum(variance, axis=1),
        n,
        d,
        last,
    )


class Comparison(NamedTuple):
    """A difference, treated less control, with its standard error; shapes (n_reps,)."""

    difference: Floats
    standard_error: Floats


def milestone(
    table: RiskTable, day: float, scale: IntervalScale = IntervalScale.PLAIN
) -> Comparison:
    """Compare survival on a day, as such or on the complementary log-log scale.

    On the log-log scale the difference is of ``log(-log S)``, control less treated, so that
    positive still speaks for treatment; NaN where survival is 0, 1 or unknown.

    References
    ----------
    Klein, Logan, Harhoff and Andersen (2007), Statistics in Medicine 26:4505-4519, equations 1
    and 3.
    """
    (s1, v1), (s0, v0) = (kaplan_meier(table, treated=arm).on(day) for arm in (True, False))
    if scale is IntervalScale.PLAIN:
        return Comparison(s1 - s0, np.sqrt(s1**2 * v1 + s0**2 * v0))
    inside = (s1 > 0) & (s1 < 1) & (s0 > 0) & (s0 < 1)
    l1, l0 = (np.log(np.where(inside, s, 0.5)) for s in (s1, s0))
    match scale:
        case IntervalScale.LOG:
            difference, variance = l1 - l0, v1 + v0
        case IntervalScale.LOG_LOG:
            difference, variance = np.log(-l0) - np.log(-l1), v1 / l1**2 + v0 / l0**2
    return Comparison(
        np.where(inside, difference, np.nan), np.where(inside, np.sqrt(variance), np.nan)
    )


class RestrictedMean(NamedTuple):
    """Restricted mean survival time of one arm: the area under its curve; shapes (n_reps,).

    `standard_error` is the estimator's own, not the spread of survival times.
    """

    mean: Floats
    standard_error: Floats


def restricted_mean(table: RiskTable, until: float, *, treated: bool) -> RestrictedMean:
    """Return the mean time without event up to a day; NaN where follow-up ends before.

    References
    ----------
    Irwin (1949), Journal of Hygiene 47:188-189; variance: Andersen, Hansen and Klein (2004),
    Lifetime Data Analysis 10:335-350, with Greenwood's plug-in.
    """
    curve = kaplan_meier(table, treated=treated)
    time = np.minimum(curve.time, until)
    before = np.concatenate([np.ones((len(time), 1)), curve.survival[:, :-1]], axis=1)
    widths = np.diff(time, axis=1, prepend=0.0)
    rest = until - time[:, -1]
    area_until = np.cumsum(before * widths, axis=1)
    mean = area_until[:, -1] + curve.survival[:, -1] * rest
    after = mean[:, None] - area_until
    terms = _ratio(curve.events, curve.at_risk * (curve.at_risk - curve.events))
    variance = (after**2 * np.where(curve.time <= until, terms, 0.0)).sum(axis=1)
    known = ~np.isnan(curve.on(until)[0])
    return RestrictedMean(np.where(known, mean, np.nan), np.where(known, np.sqrt(variance), np.nan))


class FollowUp(NamedTuple):
    """Trials as nature and the protocol made them, before any look.

    Attributes
    ----------
    latent : ndarray of float, shape (n_patients, n_reps)
        Every patient's luck, as in `trialsim.kernels.hazards.day_of`.
    entry : ndarray of float, shape (n_patients, n_reps), or (n_patients, 1) where all share it
        Day of the trial on which a patient enters, rising.
    treated : ndarray of bool, shape (n_patients, n_reps)
    hazards : tuple of (control, treated)
        One pair per level.
    level : ndarray of int, shape (n_patients, n_reps), or None
        Which pair a patient has; None for the first.
    stratum : ndarray of int, same shape, or None
        For stratified tests.
    loss : ndarray of float, same shape, or None
        Days from entry to loss.
    most_days : float
        Follow-up ends without event after so many days.
    included : ndarray of bool, shape (n_patients, n_reps), or None
        Who is analysed; None for all. Everyone sets off looks.
    """

    latent: Floats
    entry: Floats
    treated: Bools
    hazards: tuple[tuple[Hazard, Hazard], ...]
    level: Ints | None = None
    stratum: Ints | None = None
    loss: Floats | None = None
    most_days: float = inf
    included: Bools | None = None


class Reading(NamedTuple):
    """What is to be computed at every look.

    Attributes
    ----------
    weights : tuple of Weight
        Of weighted log-rank tests.
    cox : Ties or None
    milestone_day, mean_until : float
        Per arm, survival on a day and the restricted mean; NaN for none.
    """

    weights: tuple[Weight, ...] = UNWEIGHTED
    cox: Ties | None = Ties.EFRON
    milestone_day: float = nan
    mean_until: float = nan


class LookNumbers(NamedTuple):
    """What every look of every trial found.

    Attributes
    ----------
    cut : ndarray of float, shape (n_reps, n_looks)
        Day of the trial of the data cut-off.
    events : ndarray of float, shape (n_reps, n_looks)
    score : ndarray of float, shape (n_reps, n_looks, n_weights)
    covariance : ndarray of float, shape (n_reps, n_looks, n_weights, n_weights)
    cox : ndarray of float, shape (n_reps, n_looks, 2)
        Log hazard ratio and its standard error; NaN where not asked or without a maximum.
    milestone, restricted_mean : ndarray of float, shape (n_reps, n_looks, 2, 2)
        Per arm (control, treated): survival and the variance of its log; mean and variance. NaN
        where not asked or unknown.
    """

    cut: Floats
    events: Floats
    score: Floats
    covariance: Floats
    cox: Floats
    milestone: Floats
    restricted_mean: Floats

    @classmethod
    def empty(cls, n_reps: int, n_looks: int, n_weights: int) -> LookNumbers:
        """Return arrays to be filled."""
        shape = n_reps, n_looks
        return cls(
            np.empty(shape),
            np.zeros(shape),
            np.zeros((*shape, n_weights)),
            np.zeros((*shape, n_weights, n_weights)),
            np.full((*shape, 2), np.nan),
            np.full((*shape, 2, 2), np.nan),
            np.full((*shape, 2, 2), np.nan),
        )


CutRule = Callable[[Floats, Floats, Callable[[], Floats]], Floats]
"""Days of events (infinity for none; may be reordered), (n_reps, n_patients), of entries, the same
or (1, n_patients), and a function for the day after which nothing can happen, (n_reps,) -> days of
every look's data cut-off, (n_reps, n_looks)."""


def read_looks(trials: FollowUp, cut_rule: CutRule, reading: Reading) -> LookNumbers:
    """Follow patients, and read every look as if nothing later had happened.

    Parameters
    ----------
    trials : FollowUp
    cut_rule : callable
        Says when the looks are.
    reading : Reading
    """
    time, event = followed(trials)
    entry = np.broadcast_to(trials.entry, time.shape).T
    time = np.ascontiguousarray(time.T)
    event, treated = (np.ascontiguousarray(a.T) for a in (event, trials.treated))
    stratum = None if trials.stratum is None else np.ascontiguousarray(trials.stratum.T)
    calendar = entry + time
    last_day = np.where(np.isfinite(calendar), calendar, entry).max(axis=1)
    cuts = cut_rule(np.where(event, calendar, np.inf), entry, lambda: last_day)
    found = LookNumbers.empty(len(cuts), cuts.shape[1], len(reading.weights))
    found.cut[:] = cuts
    included = None if trials.included is None else np.ascontiguousarray(trials.included.T)
    for look, cut in enumerate(cuts.T[:, :, None]):
        seen, there = calendar <= cut, entry < cut
        if included is not None:
            seen, there = seen & included, there & included
        follow_up = np.where(seen, time, snapped(np.maximum(cut - entry, 0.0)))
        data = SurvivalData(np.where(there, follow_up, np.inf), event & seen, treated, stratum)
        _read(data, reading, found, look)
    return found


def followed(trials: FollowUp) -> tuple[Floats, Bools]:
    """Return days from entry to event or loss, snapped, and whether it is the event.

    Shapes (n_patients, n_reps).
    """
    time = np.empty(trials.latent.shape)
    for index, pair in enumerate(trials.hazards):
        for arm, hazard in enumerate(pair):
            who = trials.treated == bool(arm)
            if trials.level is not None:
                who = who & (trials.level == index)
            time[who] = day_of(trials.latent[who], hazard)
    time = snapped(time)
    event = np.isfinite(time)
    if trials.loss is not None or trials.most_days < inf:
        ends = np.minimum(inf if trials.loss is None else trials.loss, trials.most_days)
        ends = snapped(np.broadcast_to(ends, time.shape))
        time, event = np.minimum(time, ends), event & (time <= ends)
    return time, event


def _read(data: SurvivalData, reading: Reading, found: LookNumbers, look: int) -> None:
    tables = risk_tables(data)
    found.events[:, look] = sum(table.events.sum(axis=1) for table in tables)
    if reading.weights:
        tests = weighted_log_rank(tables, reading.weights)
        found.score[:, look], found.covariance[:, look] = tests
    if reading.cox:
        fit = cox(tables, reading.cox)
        found.cox[:, look] = np.stack([fit.log_hazard_ratio, fit.standard_error], axis=-1)
    together = risk_tables(data._replace(stratum=None))[0]
    for arm in (0, 1):
        if not isnan(reading.milestone_day):
            curve = kaplan_meier(together, treated=bool(arm))
            found.milestone[:, look, arm] = np.stack(curve.on(reading.milestone_day), axis=-1)
        if not isnan(reading.mean_until):
            mean = restricted_mean(together, reading.mean_until, treated=bool(arm))
            found.restricted_mean[:, look, arm, 0] = mean.mean
            found.restricted_mean[:, look, arm, 1] = mean.standard_error**2
