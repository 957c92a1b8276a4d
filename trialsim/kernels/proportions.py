"""Two independent proportions: tests, effects and intervals over many trials at once.

Arrays hold one trial per element. Nothing here knows about protocols or random numbers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtr

__all__ = [
    "Contrast",
    "Scale",
    "ScoreVariance",
    "fisher_p",
    "log_odds_ratio",
    "log_risk_ratio",
    "newcombe_interval",
    "normal_p",
    "pearson_z",
    "restricted_risks",
    "risk_difference",
    "score_interval",
    "score_z",
    "wilson_interval",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Scale(StrEnum):
    """How the risks of two arms are compared, treated to control."""

    RISK_DIFFERENCE = "risk difference"
    RISK_RATIO = "risk ratio"
    ODDS_RATIO = "odds ratio"


class ScoreVariance(StrEnum):
    """Whose variance a score statistic has: the second multiplies it by N / (N - 1)."""

    FARRINGTON_MANNING = "Farrington-Manning"
    MIETTINEN_NURMINEN = "Miettinen-Nurminen"


class Contrast(NamedTuple):
    """An effect estimate per trial.

    Attributes
    ----------
    estimate, standard_error : ndarray of float, shape (n_reps,)
        Ratios on the log scale; NaN where an arm has no patient.
    corrected : ndarray of bool, shape (n_reps,)
        Where 0.5 was added to the four cells because one of them was zero.
    """

    estimate: Floats
    standard_error: Floats
    corrected: NDArray[np.bool_]


def pearson_z(
    events_treated: ArrayLike, n_treated: ArrayLike, events_control: ArrayLike, n_control: ArrayLike
) -> Floats:
    """Signed root of Pearson's chi-square, without continuity correction.

    Parameters
    ----------
    events_treated, events_control : array of int, shape (n_reps,)
    n_treated, n_control : array of int, shape (n_reps,), or int
        Patients analysed per arm; at least 1.

    Returns
    -------
    z : ndarray of float, shape (n_reps,)
        Positive when the event is more frequent on treatment. Zero where no patient or every
        patient has the event: such a trial cannot reject.

    References
    ----------
    Pearson (1900), Philosophical Magazine 50:157-175.
    """
    x1, n1, x0, n0 = (
        np.asarray(a, dtype=float) for a in (events_treated, n_treated, events_control, n_control)
    )
    pooled = (x1 + x0) / (n1 + n0)
    variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    informative = variance > 0
    z = (x1 / n1 - x0 / n0) / np.sqrt(np.where(informative, variance, 1.0))
    return np.where(informative, z, 0.0)


def normal_p(z: ArrayLike, sides: int) -> Floats:
    """P value of a standard normal statistic.

    Parameters
    ----------
    z : array of float
        For one side, negative values speak for the alternative.
    sides : {1, 2}
    """
    z = np.asarray(z, dtype=float)
    return np.asarray(ndtr(z) if sides == 1 else 2 * ndtr(-np.abs(z)))


def fisher_p(
    events_treated: ArrayLike,
    n_treated: ArrayLike,
    events_control: ArrayLike,
    n_control: ArrayLike,
    sides: int = 2,
) -> Floats:
    """P value of Fisher's exact test.

    Parameters
    ----------
    events_treated, n_treated, events_control, n_control : array of int, shape (n_reps,)
    sides : {1, 2}
        Two-sided adds up every table no more probable than the one seen (relative tolerance 1e-7,
        as R's ``fisher.test``); one-sided speaks for fewer events on treatment.

    Returns
    -------
    p : ndarray of float, shape (n_reps,)

    References
    ----------
    Fisher (1935), Journal of the Royal Statistical Society 98:39-82.
    """
    columns = (events_treated, n_treated, events_control, n_control)
    tables = np.stack(
        np.broadcast_arrays(*(np.asarray(c, dtype=np.int64) for c in columns)), axis=-1
    )
    unique, where = np.unique(tables.reshape(-1, 4), axis=0, return_inverse=True)
    p = np.empty(len(unique))
    width = int(np.minimum(unique[:, 1], unique[:, 0] + unique[:, 2]).max(initial=0)) + 1
    step = max(1, 2_000_000 // width)
    for start in range(0, len(unique), step):
        p[start : start + step] = _fisher_p_of_tables(unique[start : start + step], sides)
    return p[where].reshape(tables.shape[:-1])


def _fisher_p_of_tables(tables: Ints, sides: int) -> Floats:
    x1, n1, x0, n0 = tables.T[:, :, None]
    total = x1 + x0
    least, most = np.maximum(0, total - n0), np.minimum(n1, total)
    k = least + np.arange(int((most - least).max()) + 1)
    possible = k <= most
    k = np.minimum(k, most)
    log_weight = -(
        gammaln(k + 1) + gammaln(n1 - k + 1) + gammaln(total - k + 1) + gammaln(n0 - total + k + 1)
    )
    log_weight = np.where(possible, log_weight, -np.inf)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    if sides == 1:
        extreme = k <= x1
    else:
        seen = np.take_along_axis(weight, x1 - least, axis=1)
        extreme = weight <= seen * (1 + 1e-7)
    p: Floats = np.where(extreme & possible, weight, 0.0).sum(axis=1) / weight.sum(axis=1)
    return np.minimum(p, 1.0)


def _cells(
    events_treated: ArrayLike, n_treated: ArrayLike, events_control: ArrayLike, n_control: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return events and non-events per arm, 0.5 added to all four where one is zero."""
    x1, n1, x0, n0 = np.broadcast_arrays(
        *(
            np.asarray(a, dtype=float)
            for a in (events_treated, n_treated, events_control, n_control)
        )
    )
    a, b, c, d = x1, n1 - x1, x0, n0 - x0
    corrected = (np.minimum(np.minimum(a, b), np.minimum(c, d)) == 0) & (n1 > 0) & (n0 > 0)
    half = np.where(corrected, 0.5, 0.0)
    empty = (n1 == 0) | (n0 == 0)
    a, b, c, d = (np.where(empty, np.nan, cell + half) for cell in (a, b, c, d))
    return a, b, c, d, corrected


def log_odds_ratio(
    events_treated: ArrayLike, n_treated: ArrayLike, events_control: ArrayLike, n_control: ArrayLike
) -> Contrast:
    """Log odds ratio, treated to control, with Woolf's standard error.

    References
    ----------
    Woolf (1955), Annals of Human Genetics 19:251-253; Haldane (1956), 20:309-311 (the 0.5).
    """
    a, b, c, d, corrected = _cells(events_treated, n_treated, events_control, n_control)
    return Contrast(np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d), corrected)


def log_risk_ratio(
    events_treated: ArrayLike, n_treated: ArrayLike, events_control: ArrayLike, n_control: ArrayLike
) -> Contrast:
    """Log risk ratio, treated to control, with the delta-method standard error.

    References
    ----------
    Katz, Baptista, Azen and Pike (1978), Biometrics 34:469-474, method C.
    """
    a, b, c, d, corrected = _cells(events_treated, n_treated, events_control, n_control)
    variance = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    return Contrast(np.log(a / (a + b)) - np.log(c / (c + d)), np.sqrt(variance), corrected)


def risk_difference(
    events_treated: ArrayLike, n_treated: ArrayLike, events_control: ArrayLike, n_control: ArrayLike
) -> Contrast:
    """Risk difference, treated minus control, with the unpooled standard error; never corrected."""
    x1, n1, x0, n0 = np.broadcast_arrays(
        *(
            np.asarray(a, dtype=float)
            for a in (events_treated, n_treated, events_control, n_control)
        )
    )
    p1 = x1 / np.where(n1 > 0, n1, np.nan)
    p0 = x0 / np.where(n0 > 0, n0, np.nan)
    variance = p1 * (1 - p1) / n1.clip(min=1) + p0 * (1 - p0) / n0.clip(min=1)
    return Contrast(p1 - p0, np.sqrt(variance), np.zeros(p1.shape, dtype=bool))


def wilson_interval(events: ArrayLike, n: ArrayLike, z: float) -> tuple[Floats, Floats]:
    """Score interval of one proportion.

    Parameters
    ----------
    events, n : array
        Successes among trials; `n` above 0.
    z : float
        Standard normal quantile: 1.96 for 95%.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22:209-212.
    """
    x, n = np.asarray(events, dtype=float), np.asarray(n, dtype=float)
    centre = (x + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(x * (n - x) / n + z**2 / 4) / (n + z**2)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def newcombe_interval(
    events_treated: ArrayLike,
    n_treated: ArrayLike,
    events_control: ArrayLike,
    n_control: ArrayLike,
    z: float,
) -> tuple[Floats, Floats]:
    """Hybrid score interval of a risk difference, treated minus control.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17:873-890, method 10.
    """
    x1, n1, x0, n0 = (
        np.asarray(a, dtype=float) for a in (events_treated, n_treated, events_control, n_control)
    )
    p1, p0 = x1 / n1, x0 / n0
    low1, high1 = wilson_interval(x1, n1, z)
    low0, high0 = wilson_interval(x0, n0, z)
    lower = p1 - p0 - np.sqrt((p1 - low1) ** 2 + (high0 - p0) ** 2)
    upper = p1 - p0 + np.sqrt((high1 - p1) ** 2 + (p0 - low0) ** 2)
    return lower, upper


def restricted_risks(
    treated_risk: ArrayLike,
    n_treated: ArrayLike,
    control_risk: ArrayLike,
    n_control: ArrayLike,
    null: ArrayLike,
    scale: Scale,
) -> tuple[Floats, Floats]:
    """Maximum-likelihood risks of both arms where their contrast is held at a value.

    Parameters
    ----------
    treated_risk, control_risk : array of float
        Observed, in [0, 1].
    n_treated, n_control : array of float
        Patients, or any multiple of them.
    null : array of float
        In (-1, 1) for a difference, above 0 for a ratio.
    scale : Scale

    Returns
    -------
    treated, control : ndarray of float

    References
    ----------
    Farrington and Manning (1990), Statistics in Medicine 9:1447-1454, appendix (difference and
    risk ratio); Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226, appendix I (odds
    ratio).
    """
    p1, n1, p0, n0, null = (
        np.asarray(a, dtype=float) for a in (treated_risk, n_treated, control_risk, n_control, null)
    )
    if scale is Scale.RISK_DIFFERENCE:
        return _restricted_by_difference(p1, p0, n0 / n1, null)
    if scale is Scale.RISK_RATIO:
        ratio = n0 / n1
        b = null * (1 + ratio * p0) + ratio + p1
        c = null * (p1 + ratio * p0)
        root = np.sqrt(np.maximum(b**2 - 4 * (1 + ratio) * c, 0.0))
        treated = 2 * c / (b + root)
        return treated, np.clip(treated / null, 0.0, 1.0)
    events = n1 * p1 + n0 * p0
    a, b = n0 * (null - 1), n1 * null + n0 - events * (null - 1)
    root = np.sqrt(np.maximum(b**2 + 4 * a * events, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        control = np.where(b >= 0, 2 * events / (b + root), (root - b) / (2 * a))
    control = np.clip(control, 0.0, 1.0)
    return control * null / (control * null + (1 - control)), control


def _restricted_by_difference(
    p1: Floats, p0: Floats, ratio: Floats, null: Floats
) -> tuple[Floats, Floats]:
    a = 1 + ratio
    b = -(1 + ratio + p1 + ratio * p0 + null * (ratio + 2)) / (3 * a)
    c = (null**2 + null * (2 * p1 + ratio + 1) + p1 + ratio * p0) / (3 * a)
    d = -p1 * null * (1 + null) / (2 * a)
    v = b**3 - 1.5 * b * c + d
    u = np.copysign(np.sqrt(np.maximum(b**2 - c, 0.0)), v)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(u != 0, v / u**3, 1.0)
    treated = 2 * u * np.cos((np.pi + np.arccos(np.clip(cosine, -1.0, 1.0))) / 3) - b
    treated = np.clip(treated, np.maximum(0.0, null), np.minimum(1.0, 1 + null))
    return treated, treated - null


def score_z(
    events_treated: ArrayLike,
    n_treated: ArrayLike,
    events_control: ArrayLike,
    n_control: ArrayLike,
    null: ArrayLike,
    scale: Scale,
    variance: ScoreVariance = ScoreVariance.FARRINGTON_MANNING,
) -> Floats:
    """Score statistic of a contrast against a value, with restricted variance.

    Returns
    -------
    z : ndarray of float
        Positive where the contrast is above `null`; infinite where the variance is 0.

    References
    ----------
    Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226; Farrington and Manning (1990),
    Statistics in Medicine 9:1447-1454.
    """
    x1, n1, x0, n0, null = np.broadcast_arrays(
        *(
            np.asarray(a, dtype=float)
            for a in (events_treated, n_treated, events_control, n_control, null)
        )
    )
    p1, p0 = x1 / n1, x0 / n0
    treated, control = restricted_risks(p1, n1, p0, n0, null, scale)
    v1, v0 = treated * (1 - treated), control * (1 - control)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale is Scale.ODDS_RATIO:
            certain = (x1 + x0 == 0) | (x1 + x0 == n1 + n0)  # no information on a ratio of odds
            apart = np.where(certain, 0.0, n1 * (p1 - treated))
            spread = 1 / (1 / (n1 * v1) + 1 / (n0 * v0))
        elif scale is Scale.RISK_RATIO:
            apart, spread = p1 - null * p0, v1 / n1 + null**2 * v0 / n0
        else:
            apart, spread = p1 - p0 - null, v1 / n1 + v0 / n0
        z = np.where(np.abs(apart) <= 1e-13 * n1, 0.0, apart / np.sqrt(spread))
    if variance is ScoreVariance.MIETTINEN_NURMINEN:
        z = z * np.sqrt((n1 + n0 - 1) / (n1 + n0))
    return np.asarray(z)


def score_interval(
    events_treated: ArrayLike,
    n_treated: ArrayLike,
    events_control: ArrayLike,
    n_control: ArrayLike,
    z: float,
    scale: Scale,
    variance: ScoreVariance = ScoreVariance.MIETTINEN_NURMINEN,
) -> tuple[Floats, Floats]:
    """Interval of a contrast: the values its score test does not reject.

    Parameters
    ----------
    z : float
        Standard normal quantile: 1.96 for 95%.

    Returns
    -------
    lower, upper : ndarray of float
        -1, 0, 1 or infinity where no value on that side is rejected.

    References
    ----------
    Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226.
    """
    x1, n1, x0, n0 = np.broadcast_arrays(
        *(
            np.asarray(a, dtype=float)
            for a in (events_treated, n_treated, events_control, n_control)
        )
    )
    bounded = scale is Scale.RISK_DIFFERENCE

    def contrast(u: Floats) -> Floats:
        inside = np.minimum(u, 1 - 1e-15)
        return 2 * inside - 1 if bounded else inside / (1 - inside)

    limits = []
    for target in (z, -z):
        low, high = np.zeros(x1.shape), np.ones(x1.shape)
        for _ in range(60):
            middle = (low + high) / 2
            beyond = score_z(x1, n1, x0, n0, contrast(middle), scale, variance) > target
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        limits.append(np.where(low > 1 - 1e-12, 1.0 if bounded else np.inf, contrast(low)))
    return limits[0], limits[1]
