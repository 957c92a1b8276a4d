"""One arm against a known value: exact binomials in one stage or two, and Student's t.

A two-stage trial ends with one of the counts 0 .. n: up to `most_to_stop` it stopped after the
first patients, above it everyone was recruited. So its outcome is one number, and the larger it is
the more it speaks for the treatment (Jung and Kim 2004): tests and intervals of both designs are
tails of one discrete distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, gammaln, xlog1py, xlogy

from trialsim.kernels.contrasts import ArmContrast, wald

__all__ = [
    "Stages",
    "TwoSided",
    "exact_interval",
    "exact_p_values",
    "one_sample_t",
    "outcome_probabilities",
    "patients_used",
    "two_sample_t",
    "unbiased_rates",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TIE = 1e-7  # relative: outcomes this close are equally probable, as in R's binom.test
_HALVINGS = 50


class Stages(NamedTuple):
    """How many patients, and when the trial stops after the first of them.

    Attributes
    ----------
    n : int
        Patients in all.
    n_first : int
        Of the first stage; `n` where there is one stage.
    most_to_stop : int
        Stops with at most so many responses in the first stage; -1 never.
    """

    n: int
    n_first: int
    most_to_stop: int

    @classmethod
    def single(cls, n: int) -> Stages:
        """Return a design of one stage."""
        return cls(n, n, -1)


def _binomial(n: int, risk: Floats) -> Floats:
    """Probability of 0 .. n, shape (n_risks, n + 1)."""
    k = np.arange(n + 1)
    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.exp(choose + xlogy(k, risk[:, None]) + xlog1py(n - k, -risk[:, None]))


def outcome_probabilities(stages: Stages, risk: ArrayLike) -> Floats:
    """Return the probability of ending with 0 .. n responses.

    Parameters
    ----------
    stages : Stages
    risk : array of float, shape (n_risks,)
        Response rates in [0, 1].

    Returns
    -------
    probability : ndarray, shape (n_risks, n + 1)

    References
    ----------
    Simon (1989), Controlled Clinical Trials 10:1-10.
    """
    risk = np.atleast_1d(np.asarray(risk, dtype=float))
    first = _binomial(stages.n_first, risk)
    if stages.n_first == stages.n:
        return first
    later = _binomial(stages.n - stages.n_first, risk)
    found = np.zeros((len(risk), stages.n + 1))
    stopped = stages.most_to_stop + 1
    found[:, :stopped] = first[:, :stopped]
    for responses in range(stopped, stages.n_first + 1):
        found[:, responses : responses + later.shape[1]] += first[:, [responses]] * later
    return found


def patients_used(stages: Stages) -> Ints:
    """Return the patients a trial has recruited that ends with 0 .. n responses."""
    ends = np.arange(stages.n + 1)
    return np.where(ends <= stages.most_to_stop, stages.n_first, stages.n)


class TwoSided(NamedTuple):
    """P values of every outcome.

    Attributes
    ----------
    larger, different : ndarray, shape (n + 1,)
        That the response is larger than the null, or different.
    """

    larger: Floats
    different: Floats


def exact_p_values(stages: Stages, null: float) -> TwoSided:
    """Return exact P values of ending with 0 .. n responses.

    Two-sided, of all outcomes that are at most as probable, as R's binom.test.

    References
    ----------
    Jung, Owzar, George and Lee (2006), Journal of Biopharmaceutical Statistics 16:765-775
    (two stages).
    """
    probability = outcome_probabilities(stages, null)[0]
    larger = np.minimum(np.cumsum(probability[::-1])[::-1], 1.0)
    order = np.argsort(probability)
    total = np.cumsum(probability[order])
    last = np.searchsorted(probability[order], probability * (1 + _TIE), side="right") - 1
    return TwoSided(larger, np.minimum(total[last], 1.0))


def exact_interval(stages: Stages, confidence_level: float) -> tuple[Floats, Floats]:
    """Return the exact interval of the response rate for every outcome, shapes (n + 1,).

    Each limit is the rate at which the outcome, or one further out, has half of what is left.

    References
    ----------
    Clopper and Pearson (1934), Biometrika 26:404-413; Jung and Kim (2004), Statistics in Medicine
    23:881-896 (two stages).
    """
    tail, n, ends = (1 - confidence_level) / 2, stages.n, np.arange(stages.n + 1)
    if stages.most_to_stop < 0:
        low = np.asarray(betaincinv(np.maximum(ends, 1), n - ends + 1, tail), dtype=float)
        high = np.asarray(betaincinv(ends + 1, np.maximum(n - ends, 1), 1 - tail), dtype=float)
        return np.where(ends == 0, 0.0, low), np.where(ends == n, 1.0, high)

    def at_least(risk: Floats) -> Floats:
        probability = outcome_probabilities(stages, risk)
        tails = np.cumsum(probability[:, ::-1], axis=1)[:, ::-1]
        return tails[ends, ends]

    def more(risk: Floats) -> Floats:
        probability = outcome_probabilities(stages, risk)
        return 1 - np.cumsum(probability, axis=1)[ends, ends]

    lower = np.where(ends == 0, 0.0, _rate_at(at_least, tail, len(ends)))
    return lower, np.where(ends == n, 1.0, _rate_at(more, 1 - tail, len(ends)))


def _rate_at(rising: Callable[[Floats], Floats], level: float, n: int) -> Floats:
    low, high = np.zeros(n), np.ones(n)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = rising(middle) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def unbiased_rates(stages: Stages) -> Floats:
    """Return the minimum-variance unbiased estimate of the response rate for every outcome.

    After two stages: the expected share of responders in the first stage, given all responses.

    References
    ----------
    Jung and Kim (2004), Statistics in Medicine 23:881-896.
    """
    ends = np.arange(stages.n + 1)
    naive = ends / patients_used(stages)
    if stages.n_first == stages.n:
        return np.asarray(naive)
    n_later = stages.n - stages.n_first
    first = np.arange(stages.most_to_stop + 1, stages.n_first + 1)
    later = ends[:, None] - first
    possible = (later >= 0) & (later <= n_later)
    ways = np.where(
        possible,
        np.exp(_log_choose(stages.n_first, first) + _log_choose(n_later, later)),
        0.0,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        unbiased = (ways * first / stages.n_first).sum(axis=1) / ways.sum(axis=1)
    return np.where(ends <= stages.most_to_stop, naive, unbiased)


def _log_choose(n: int, k: Ints) -> Floats:
    k = np.clip(k, 0, n)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def one_sample_t(
    values: Floats, null: float, included: Bools | None = None, *, confidence_level: float = 0.95
) -> ArmContrast:
    """Difference of a mean from a known value, by Student's t test.

    Parameters
    ----------
    values : ndarray of float, shape (n_patients, n_reps)
        Read only where `included`.
    null : float
    included : ndarray of bool, shape (n_patients, n_reps), optional
        Who is analysed; everyone if not given.
    confidence_level : float
        Two-sided.

    Returns
    -------
    contrast : ArmContrast
        n - 1 degrees of freedom. `failed` with fewer than two patients, or no variation.

    References
    ----------
    Student (1908), Biometrika 6:1-25.
    """
    n, mean, sd = _summaries(values, included)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = sd / np.sqrt(n)
    return wald(
        mean - null, error, confidence_level, degrees_of_freedom=n - 1, failed=(n < 2) | ~(sd > 0)
    )


def two_sample_t(
    values: Floats,
    other_mean: Floats,
    other_sd: Floats,
    n_other: int,
    included: Bools | None = None,
    *,
    pooled: bool = True,
    confidence_level: float = 0.95,
) -> ArmContrast:
    """Difference of a mean from that of another sample, of which only mean and SD are known.

    Parameters
    ----------
    values, included, confidence_level
        As in `one_sample_t`.
    other_mean, other_sd : ndarray of float, shape (n_reps,)
    n_other : int
        Patients they were seen in.
    pooled : bool
        Student's t with one variance; else Welch's, with Satterthwaite's degrees of freedom.

    Returns
    -------
    contrast : ArmContrast
        The first mean less the other.
    """
    n, mean, sd = _summaries(values, included)
    with np.errstate(invalid="ignore", divide="ignore"):
        if pooled:
            df = n + n_other - 2
            variance = ((n - 1) * sd**2 + (n_other - 1) * other_sd**2) / df
            error = np.sqrt(variance * (1 / n + 1 / n_other))
        else:
            v1, v0 = sd**2 / n, other_sd**2 / n_other
            df = (v1 + v0) ** 2 / (v1**2 / (n - 1) + v0**2 / (n_other - 1))
            error = np.sqrt(v1 + v0)
    return wald(mean - other_mean, error, confidence_level, degrees_of_freedom=df, failed=n < 2)


def _summaries(values: Floats, included: Bools | None) -> tuple[Floats, Floats, Floats]:
    """Return patients, mean and SD of every trial, each (n_reps,)."""
    who = np.ones(values.shape, dtype=bool) if included is None else included
    n = who.sum(axis=0, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(who, values, 0.0).sum(axis=0) / n
        apart = np.where(who, values - mean, 0.0)
        sd = np.sqrt(np.einsum("ij,ij->j", apart, apart) / (n - 1))
    return n, mean, sd
