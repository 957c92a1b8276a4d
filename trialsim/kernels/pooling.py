"""Trials pooled without a model between them: effects of 2x2 tables, Mantel-Haenszel, Peto.

Many literatures at once: arrays have one row per literature and one column per trial, with NaN
where a trial was not published. A literature on its own gives what it gives among others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr, ndtri

from trialsim.kernels.proportions import Scale

__all__ = [
    "CommonOddsRatio",
    "Difference",
    "Effects",
    "Pooled",
    "Tables",
    "Uninformative",
    "common_odds_ratio",
    "effects",
    "homogeneity",
    "mantel_haenszel",
    "peto",
    "pooled_difference",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

CONFIDENCE = 0.95


class Uninformative(StrEnum):
    """What becomes of a trial in which nobody, or everybody, had the event."""

    CORRECTED = "corrected"  # 0.5 to each cell, as in any other trial with a zero cell
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Tables:
    """The 2x2 tables of literatures.

    Parameters
    ----------
    events_treated, n_treated, events_control, n_control : array, shape (n_literatures, n_trials)
        NaN in any of the four: the trial was not published.

    Raises
    ------
    ValueError
        Where shapes differ or are not two-dimensional, an arm has no patient, or a count of events
        lies outside 0 to n.
    """

    events_treated: Floats
    n_treated: Floats
    events_control: Floats
    n_control: Floats

    def __post_init__(self) -> None:
        shape = np.shape(self.events_treated)
        for field in fields(self):
            values = np.asarray(getattr(self, field.name), dtype=float)
            if values.ndim != 2 or values.shape != shape:
                raise ValueError(
                    f"{field.name} must have shape (n_literatures, n_trials), as the other counts; "
                    f"got {values.shape}. Give one literature as one row."
                )
            object.__setattr__(self, field.name, values)
        for arm in ("treated", "control"):
            n, events = getattr(self, f"n_{arm}"), getattr(self, f"events_{arm}")
            if ((n < 1) | (events < 0) | (events > n)).any():
                raise ValueError(
                    f"events_{arm} must lie between 0 and n_{arm}, which must be at least 1. "
                    "Give NaN for a trial that was not published."
                )

    @property
    def published(self) -> Bools:
        """Shape (n_literatures, n_trials)."""
        return ~np.isnan(
            self.events_treated + self.n_treated + self.events_control + self.n_control
        )

    def only(self, chosen: Bools) -> Tables:
        """Return the literatures with these trials alone: a stratum, or what was published.

        `chosen` of shape (n_literatures, n_trials) or (n_trials,).
        """
        return Tables(*(np.where(chosen, getattr(self, f.name), np.nan) for f in fields(self)))

    def cells(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Treated with and without the event, controls with and without; 0 if not published."""
        known = self.published
        a, n1, c, n0 = (np.where(known, getattr(self, f.name), 0.0) for f in fields(self))
        return a, n1 - a, c, n0 - c


@dataclass(frozen=True)
class Effects:
    """One estimate per trial.

    Attributes
    ----------
    estimates, variances : ndarray of float, shape (n_literatures, n_trials)
        Ratios on the log scale; NaN where there is no estimate.
    n_corrected, n_left_out : ndarray of int, shape (n_literatures,)
        Trials with 0.5 added to each cell; published trials left out as uninformative.
    """

    estimates: Floats
    variances: Floats
    n_corrected: Ints
    n_left_out: Ints


@dataclass(frozen=True)
class Pooled:
    """One estimate per literature, with its test and interval by the normal distribution.

    Attributes
    ----------
    estimate, standard_error, p_value, lower, upper : ndarray of float, shape (n_literatures,)
        Ratios on the log scale; NaN where the literature has no estimate.
    q, q_p_value : ndarray of float, shape (n_literatures,)
        Cochran's Q around this estimate, against chi-square.
    n_trials : ndarray of int, shape (n_literatures,)
        Published trials.
    """

    estimate: Floats
    standard_error: Floats
    p_value: Floats
    lower: Floats
    upper: Floats
    q: Floats
    q_p_value: Floats
    n_trials: Ints

    @property
    def z(self) -> Floats:
        """Shape (n_literatures,)."""
        return self.estimate / self.standard_error

    @property
    def failed(self) -> Bools:
        """Where the literature has no estimate; shape (n_literatures,)."""
        return np.isnan(self.standard_error)


@dataclass(frozen=True)
class CommonOddsRatio:
    """Is there an effect, and is it one: chi-square tests of the counts.

    Attributes
    ----------
    association, association_p_value : ndarray of float, shape (n_literatures,)
        Of Cochran, Mantel and Haenszel, with continuity correction, 1 degree of freedom.
    breslow_day, breslow_day_p_value, tarone, tarone_p_value : ndarray, shape (n_literatures,)
        Of one odds ratio in all trials, without and with Tarone's correction.
    degrees_of_freedom : ndarray of int, shape (n_literatures,)
        Informative trials less 1; P values are NaN where it is below 1.
    """

    association: Floats
    association_p_value: Floats
    breslow_day: Floats
    breslow_day_p_value: Floats
    tarone: Floats
    tarone_p_value: Floats
    degrees_of_freedom: Ints


@dataclass(frozen=True)
class Difference:
    """How far two pooled estimates are apart, the first less the second.

    Attributes
    ----------
    estimate, standard_error, z, p_value, lower, upper : ndarray of float, shape (n_literatures,)
        Of ratios the log of their ratio; NaN where either has no estimate.
    """

    estimate: Floats
    standard_error: Floats
    z: Floats
    p_value: Floats
    lower: Floats
    upper: Floats


def effects(
    tables: Tables, scale: Scale, uninformative: Uninformative = Uninformative.CORRECTED
) -> Effects:
    """Return the effect of each trial and its variance.

    With a zero in one of the four cells, 0.5 is added to each of them, on every scale.

    Notes
    -----
    Log odds ratio ``log(ad / bc)``, variance ``1/a + 1/b + 1/c + 1/d`` (Woolf 1955); log risk ratio
    ``log((a / n1) / (c / n0))``, variance ``1/a - 1/n1 + 1/c - 1/n0`` (Katz et al. 1978); risk
    difference ``a / n1 - c / n0``, variance ``ab / n1^3 + cd / n0^3``. As metafor's `escalc` with
    ``add=1/2, to="only0"``; `uninformative` is its ``drop00``, which looks at trials without any
    event and at trials in which everyone had it.
    """
    a, b, c, d = tables.cells()
    known = tables.published
    nothing = known & (((a == 0) & (c == 0)) | ((b == 0) & (d == 0)))
    out = nothing if uninformative is Uninformative.LEFT_OUT else np.zeros_like(known)
    used = known & ~out
    zero = used & ((a == 0) | (b == 0) | (c == 0) | (d == 0))
    add = np.where(used, 0.5 * zero, np.nan)
    a, b, c, d = a + add, b + add, c + add, d + add
    n1, n0 = a + b, c + d
    if scale is Scale.ODDS_RATIO:
        estimates, variances = np.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d
    elif scale is Scale.RISK_RATIO:
        estimates = np.log(a * n0 / (c * n1))
        variances = 1 / a - 1 / n1 + 1 / c - 1 / n0
    else:
        estimates, variances = a / n1 - c / n0, a * b / n1**3 + c * d / n0**3
    return Effects(estimates, variances, zero.sum(axis=1), out.sum(axis=1))


def mantel_haenszel(tables: Tables, scale: Scale, confidence: float = CONFIDENCE) -> Pooled:
    """Return the estimate of Mantel and Haenszel, from the counts as they are.

    Trials without events, or with nothing but events, add nothing to a ratio but count for a
    difference. A ratio has no estimate where an arm of the whole literature has no event (for the
    odds ratio also: where nobody is without). Q is that of the trials' own effects (`effects`,
    uninformative trials left out).

    Notes
    -----
    Odds ratio ``sum(ad / N) / sum(bc / N)`` (Mantel and Haenszel 1959), variance of Robins, Breslow
    and Greenland (1986); risk ratio and its variance of Greenland and Robins (1985), equations 4
    and 13; risk difference with the variance of Sato (1989), consistent in both limits.
    """
    a, b, c, d = tables.cells()
    n1, n0 = a + b, c + d
    n = np.maximum(n1 + n0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale is Scale.ODDS_RATIO:
            estimate, variance = _log_odds_ratio(a, b, c, d, n)
        elif scale is Scale.RISK_RATIO:
            r, s = _sum(a * n0 / n), _sum(c * n1 / n)
            estimate = np.log(r / s)
            variance = _sum((n1 * n0 * (a + c) - a * c * n) / n**2) / (r * s)
        else:
            weight = _sum(n1 * n0 / n)
            estimate = _sum((a * n0 - c * n1) / n) / weight
            p = _sum((c * n1**2 - a * n0**2 + n1 * n0 * (n0 - n1) / 2) / n**2)
            q = _sum((a * d + c * b) / n) / 2
            variance = (estimate * p + q) / weight**2
    own = effects(tables, scale, Uninformative.LEFT_OUT)
    distance = np.where(np.isnan(own.estimates), 0.0, own.estimates - estimate[:, None])
    q_value = _sum(distance**2 / np.where(np.isnan(own.variances), 1.0, own.variances))
    n_effects = (~np.isnan(own.estimates)).sum(axis=1)
    n_trials = tables.published.sum(axis=1)
    return by_normal(estimate, np.sqrt(variance), q_value, n_effects, n_trials, confidence)


def _log_odds_ratio(a: Floats, b: Floats, c: Floats, d: Floats, n: Floats) -> tuple[Floats, Floats]:
    agree, differ = (a + d) / n, (b + c) / n
    r, s = a * d / n, b * c / n
    r_sum, s_sum = _sum(r), _sum(s)
    variance = (
        _sum(agree * r) / (2 * r_sum**2)
        + _sum(agree * s + differ * r) / (2 * r_sum * s_sum)
        + _sum(differ * s) / (2 * s_sum**2)
    )
    return np.log(r_sum / s_sum), variance


def common_odds_ratio(tables: Tables) -> CommonOddsRatio:
    """Test whether there is an association, and whether the odds ratio of all trials is one.

    Homogeneity is tested at the odds ratio of Mantel and Haenszel: ``sum((a - A)^2 / V)`` with the
    A to which a margin-preserving table of that odds ratio leads, and ``V = 1 / (1/A + 1/B + 1/C +
    1/D)``; Tarone takes off ``sum(a - A)^2 / sum(V)``.

    References
    ----------
    Mantel and Haenszel (1959), JNCI 22:719-748; Breslow and Day (1980), Statistical Methods in
    Cancer Research I, equation 4.30; Tarone (1985), Biometrika 72:91-95.
    """
    a, b, c, d = tables.cells()
    n1, n0, events, others = a + b, c + d, a + c, b + d
    observed, variance = observed_less_expected(tables)
    psi = np.exp(mantel_haenszel(tables, Scale.ODDS_RATIO).estimate)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        excess, total = np.maximum(0.0, np.abs(_sum(observed)) - 0.5), _sum(variance)
        association = np.where(total > 0, excess**2 / total, np.nan)
        linear = psi * (n1 + events) + n0 - events
        root = np.sqrt(linear**2 - 4 * n1 * events * psi * (psi - 1))
        # The other root of the quadratic, free of cancellation, serves psi = 1 as well.
        fitted = 2 * psi * n1 * events / (linear + root)
        corners = (fitted, n1 - fitted, events - fitted, n0 - events + fitted)
        informative = (events > 0) & (others > 0)
        spread = np.where(informative, 1 / sum(1 / corner for corner in corners), 0.0)
        away = np.where(informative, a - fitted, 0.0)
        breslow_day = _sum(np.where(informative, away**2 / spread, 0.0))
        tarone = np.maximum(0.0, breslow_day - _sum(away) ** 2 / _sum(spread))
    unknown = np.isnan(psi[:, 0])
    breslow_day, tarone = (np.where(unknown, np.nan, column) for column in (breslow_day, tarone))
    n = informative.sum(axis=1)
    return CommonOddsRatio(
        association,
        chdtrc(1, association),
        breslow_day,
        homogeneity(breslow_day, n),
        tarone,
        homogeneity(tarone, n),
        n - 1,
    )


def peto(tables: Tables, confidence: float = CONFIDENCE) -> Pooled:
    """Return Peto's log odds ratio: observed less expected events over their variance.

    ``sum(a - E) / sum(V)`` with mean E and variance V of the hypergeometric distribution, standard
    error ``1 / sqrt(sum(V))``; trials without events, or with nothing but events, add nothing.

    References
    ----------
    Yusuf, Peto, Lewis, Collins and Sleight (1985), Progress in Cardiovascular Diseases 27:335-371.
    """
    observed, variance = observed_less_expected(tables)
    informative = variance > 0
    total = _sum(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate, se = _sum(observed) / total, 1 / np.sqrt(total)
        squares = np.where(informative, observed**2 / variance, 0.0)
    q = np.maximum(0.0, _sum(squares) - _sum(observed) ** 2 / np.where(total > 0, total, np.nan))
    n_trials = tables.published.sum(axis=1)
    return by_normal(estimate, se, q, informative.sum(axis=1), n_trials, confidence)


def observed_less_expected(tables: Tables) -> tuple[Floats, Floats]:
    """Events on treatment less their hypergeometric mean, and their variance, of each trial.

    Both 0 where a trial was not published, or has no variance; shape (n_literatures, n_trials).
    """
    a, b, c, d = tables.cells()
    n1, n0, events, others = a + b, c + d, a + c, b + d
    n = np.maximum(n1 + n0, 2)
    return a - events * n1 / n, events * others * n1 * n0 / (n**2 * (n - 1))


def pooled_difference(first: Pooled, second: Pooled, confidence: float = CONFIDENCE) -> Difference:
    """Compare two strata of a literature: the test of interaction.

    ``z = (e1 - e2) / sqrt(se1^2 + se2^2)``; of log odds ratios `estimate` is the log of the ratio
    of odds ratios.

    References
    ----------
    Altman and Bland (2003), BMJ 326:219.
    """
    estimate = first.estimate - second.estimate
    se = np.sqrt(first.standard_error**2 + second.standard_error**2)
    z, half = estimate / se, ndtri((1 + confidence) / 2) * se
    return Difference(estimate, se, z, 2 * ndtr(-np.abs(z)), estimate - half, estimate + half)


def homogeneity(q: Floats, n_effects: Ints) -> Floats:
    """P value of Cochran's Q, chi-square with one degree of freedom less than there are effects.

    NaN with fewer than two effects.
    """
    return np.where(n_effects > 1, chdtrc(np.maximum(n_effects - 1, 1), q), np.nan)


def by_normal(
    estimate: Floats,
    se: Floats,
    q: Floats,
    n_effects: Ints,
    n_trials: Ints,
    confidence: float,
) -> Pooled:
    """Put together what follows from an estimate and its standard error; NaN where either is not.

    All of shape (n_literatures,).
    """
    bad = ~(np.isfinite(estimate) & np.isfinite(se) & (se > 0))
    estimate, se, q = (np.where(bad, np.nan, column) for column in (estimate, se, q))
    half = ndtri((1 + confidence) / 2) * se
    return Pooled(
        estimate,
        se,
        2 * ndtr(-np.abs(estimate / se)),
        estimate - half,
        estimate + half,
        q,
        homogeneity(q, n_effects),
        n_trials,
    )


def _sum(values: Floats) -> Floats:
    return np.asarray(values.sum(axis=1))
