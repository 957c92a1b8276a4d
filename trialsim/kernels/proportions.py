"""Two independent proportions: tests, effects and intervals over many trials at once.

Arrays hold one trial per element. Nothing here knows about protocols or random numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtr

__all__ = [
    "Contrast",
    "fisher_p",
    "log_odds_ratio",
    "log_risk_ratio",
    "newcombe_interval",
    "normal_p",
    "pearson_z",
    "risk_difference",
    "wilson_interval",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
