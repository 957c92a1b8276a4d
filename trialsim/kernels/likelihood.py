"""Likelihoods of counts and estimates: the maximum, profile intervals, and what is flat.

Everything works on many data sets at once: the leading axis of every array. A model is a function
of parameters on their own scale (logarithms, where it is called from), within bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CHI_SQUARE_1",
    "Data",
    "Model",
    "binomial_probability",
    "coverage_of_interval",
    "jacobian",
    "log_likelihood",
    "maximise",
    "maximise_from",
    "null_directions",
    "profile",
    "profile_limits",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Model = Callable[[Floats], tuple[Floats, Floats]]  # (sets, parameters) -> probabilities, means

CHI_SQUARE_1 = 3.841458820694124  # 95% point, one degree of freedom
_STEP = 1e-5  # of central differences, on the parameters' scale
_MOST_STEPS = 300
_LARGEST_STEP = 2.0
_GAIN = 1e-13
_EASED, _RAISED = 0.2, 4.0  # damping, after a step that gained and one that did not
_FLAT = 1e-8  # of the largest eigenvalue, after scaling


@dataclass(frozen=True)
class Data:
    """What was seen.

    Attributes
    ----------
    events, n : ndarray, shape (n_sets, n_counts)
        Binomial counts; they need not be whole, so that expected counts can stand for data.
    estimates : ndarray, shape (n_sets, n_estimates)
        Normal estimates.
    errors : ndarray, shape (n_estimates,)
        Their standard errors, taken as known.
    """

    events: Floats
    n: Floats
    estimates: Floats
    errors: Floats

    def at(self, sets: NDArray[np.intp]) -> Data:
        """Return some of the data sets, in this order, perhaps repeatedly."""
        return Data(self.events[sets], self.n[sets], self.estimates[sets], self.errors)


def log_likelihood(data: Data, probabilities: Floats, means: Floats) -> Floats:
    """Return binomial and normal log-likelihoods added up, constants left out.

    Parameters
    ----------
    data : Data
    probabilities : ndarray, shape (n_sets, n_counts)
    means : ndarray, shape (n_sets, n_estimates)

    Returns
    -------
    log_likelihood : ndarray, shape (n_sets,)
    """
    p = _inside(probabilities)
    counts = data.events * np.log(p) + (data.n - data.events) * np.log1p(-p)
    z = (data.estimates - means) / data.errors
    return np.asarray(counts.sum(axis=1) - 0.5 * (z * z).sum(axis=1))


def _inside(probabilities: Floats) -> Floats:
    return np.clip(probabilities, 1e-300, 1 - 1e-16)


def jacobian(model: Model, theta: Floats) -> tuple[Floats, Floats]:
    """Return derivatives of probabilities and means, shape (n_sets, ..., n_parameters).

    Central differences; off by about 1e-10 of the value.
    """
    sets, k = theta.shape
    moves = np.concatenate([np.eye(k), -np.eye(k)]) * _STEP
    places = (theta[None] + moves[:, None]).reshape(-1, k)
    p, means = (found.reshape(2, k, sets, -1) for found in model(places))
    return (
        np.moveaxis(p[0] - p[1], 0, -1) / (2 * _STEP),
        np.moveaxis(means[0] - means[1], 0, -1) / (2 * _STEP),
    )


def maximise(
    model: Model,
    data: Data,
    start: Floats,
    low: Floats,
    high: Floats,
    free: Bools | None = None,
    gain_left: float = _GAIN,
) -> tuple[Floats, Floats]:
    """Find the maximum of every data set's likelihood within bounds.

    Fisher scoring with Levenberg's damping; a parameter at a bound that wants to leave is held.

    Parameters
    ----------
    model : callable
    data : Data
    start : ndarray, shape (n_sets, n_parameters)
    low, high : ndarray, shape (n_parameters,)
    free : ndarray of bool, shape (n_sets, n_parameters), optional
        Those not free stay where they start.
    gain_left : float
        Stop where steps gain less, relative to the log-likelihood.

    Returns
    -------
    theta : ndarray, shape (n_sets, n_parameters)
    log_likelihood : ndarray, shape (n_sets,)

    References
    ----------
    Osborne (1992), International Statistical Review 60:99-117 (scoring); Marquardt (1963), Journal
    of the Society for Industrial and Applied Mathematics 11:431-441 (damping).
    """
    theta = np.clip(start, low, high)
    moving = np.ones(theta.shape, dtype=bool) if free is None else free
    value = log_likelihood(data, *model(theta))
    damping = np.full(len(theta), 1e-4)
    idle = np.zeros(len(theta), dtype=int)
    left = np.flatnonzero(moving.any(axis=1))
    for _ in range(_MOST_STEPS):
        if not len(left):
            break
        here, own = theta[left], data.at(left)
        score, information = _score(model, own, here)
        held = ~moving[left] | ((here <= low) & (score < 0)) | ((here >= high) & (score > 0))
        step = _step(score, information, held, damping[left])
        trial = np.clip(here + step, low, high)
        found = log_likelihood(own, *model(trial))
        gain = found - value[left]
        better = gain >= 0
        theta[left[better]], value[left[better]] = trial[better], found[better]
        damping[left] *= np.where(better, _EASED, _RAISED)
        damping[left] = np.maximum(damping[left], 1e-14)
        tiny = np.abs(gain) <= gain_left * (1 + np.abs(value[left]))
        idle[left] = np.where(tiny, idle[left] + 1, 0)
        still = np.abs(trial - here).max(axis=1) < 1e-11
        left = left[~still & (idle[left] < 3) & (damping[left] < 1e12)]
    return theta, value


def _score(model: Model, data: Data, theta: Floats) -> tuple[Floats, Floats]:
    """Return score (n_sets, k) and expected information (n_sets, k, k)."""
    p, means = model(theta)
    p = _inside(p)
    of_p, of_means = jacobian(model, theta)
    variance = p * (1 - p)
    residual = (data.events - data.n * p) / variance
    weight = data.n / variance
    precision = 1 / data.errors**2
    score = np.einsum("bm,bmk->bk", residual, of_p)
    score = score + np.einsum("bq,bqk->bk", (data.estimates - means) * precision, of_means)
    information = np.einsum("bm,bmj,bmk->bjk", weight, of_p, of_p)
    information = information + np.einsum("q,bqj,bqk->bjk", precision, of_means, of_means)
    return score, information


def _step(score: Floats, information: Floats, held: Bools, damping: Floats) -> Floats:
    score = np.where(held, 0.0, score)
    either = held[:, :, None] | held[:, None, :]
    matrix = np.where(either, 0.0, information)
    diagonal = np.einsum("bkk->bk", matrix)
    least = 0.01 * diagonal.max(axis=1, keepdims=True)  # or what hardly matters leaps about
    extra = damping[:, None] * np.maximum(diagonal, least) + held + 1e-14
    matrix = matrix + extra[:, :, None] * np.eye(score.shape[1])
    step = np.linalg.solve(matrix, score[:, :, None])[:, :, 0]
    return np.asarray(np.clip(step, -_LARGEST_STEP, _LARGEST_STEP))


def maximise_from(
    model: Model,
    data: Data,
    starts: Floats,
    low: Floats,
    high: Floats,
    free: Bools | None = None,
    gain_left: float = _GAIN,
) -> tuple[Floats, Floats]:
    """Return the best of several starts for every data set.

    Parameters
    ----------
    starts : ndarray, shape (n_sets, n_starts, n_parameters)
    free : ndarray of bool, shape (n_sets, n_parameters), optional

    Returns
    -------
    theta, log_likelihood : as of `maximise`
    """
    sets, n_starts, k = starts.shape
    repeated = np.repeat(np.arange(sets), n_starts)
    moving = None if free is None else np.repeat(free, n_starts, axis=0)
    theta, value = maximise(
        model, data.at(repeated), starts.reshape(-1, k), low, high, moving, gain_left
    )
    value = value.reshape(sets, n_starts)
    best, row = value.argmax(axis=1), np.arange(sets)
    return theta.reshape(starts.shape)[row, best], value[row, best]


def profile(
    model: Model,
    data: Data,
    best: Floats,
    index: NDArray[np.intp],
    at: Floats,
    low: Floats,
    high: Floats,
    gain_left: float = _GAIN,
) -> tuple[Floats, Floats]:
    """Maximise with one parameter of every data set held at a value.

    Parameters
    ----------
    best : ndarray, shape (n_sets, n_starts, n_parameters)
        Where the other parameters start.
    index : ndarray of int, shape (n_sets,)
        Which parameter is held.
    at : ndarray, shape (n_sets,)

    Returns
    -------
    theta, log_likelihood : as of `maximise`
    """
    row = np.arange(len(index))
    starts = best.copy()
    starts[row, :, index] = at[:, None]
    free = np.ones((len(index), best.shape[2]), dtype=bool)
    free[row, index] = False
    return maximise_from(model, data, starts, low, high, free, gain_left)


def profile_limits(
    model: Model,
    data: Data,
    best: Floats,
    low: Floats,
    high: Floats,
    starts: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Find where each parameter's profile likelihood has fallen by 1.92: its 95% interval.

    Parameters
    ----------
    data : Data
        One data set.
    best : ndarray, shape (n_parameters,)
        Its maximum.
    starts : ndarray, shape (n_starts, n_parameters), optional
        Where else the other parameters might start, for likelihoods with several maxima: a limit
        must hold from all of them, or the search goes on from there.

    Returns
    -------
    lower, upper : ndarray, shape (n_parameters,)
        NaN where the profile does not fall as far before the bound. To 1e-9.

    References
    ----------
    Venzon and Moolgavkar (1988), Applied Statistics 37:87-94; the roots by the Illinois method,
    Dowell and Jarratt (1971), BIT 11:168-174.
    """
    _, top = maximise(model, data, best[None, :], low, high)
    search = _LimitSearch(model, data, best, low, high, float(top[0]))
    rows = np.arange(2 * len(best))
    while len(rows):
        search.narrow(search.step_out(rows))
        rows = search.not_yet(rows, starts) if starts is not None else rows[:0]
    return search.limits()


class _LimitSearch:
    """The search for both limits of every parameter; rows are parameters, first downwards."""

    def __init__(
        self, model: Model, data: Data, best: Floats, low: Floats, high: Floats, top: float
    ) -> None:
        k = len(best)
        self.model, self.low, self.high, self.top = model, low, high, top
        self.data = data.at(np.zeros(2 * k, dtype=np.intp))
        self.index, self.side = np.tile(np.arange(k), 2), np.repeat([-1.0, 1.0], k)
        self.bound, self.best = np.concatenate([low, high]), np.tile(best, (2 * k, 1))
        self.inside, self.outside = np.tile(best, 2), np.full(2 * k, np.nan)
        self.below = np.full(2 * k, -np.sqrt(CHI_SQUARE_1))
        self.above, self.others = np.full(2 * k, np.nan), self.best.copy()

    def excess(
        self, rows: NDArray[np.intp], at: Floats, more: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Return the root of the likelihood lost, nearly linear in a parameter, above 1.96."""
        starts = np.stack([self.others[rows], self.best[rows]], axis=1)
        if more is not None:
            every = np.broadcast_to(more, (len(rows), *more.shape))
            starts = np.concatenate([starts, every], axis=1)
        index, data = self.index[rows], self.data.at(rows)
        theta, value = profile(
            self.model, data, starts, index, at, self.low, self.high, gain_left=1e-11
        )
        lost = np.maximum(2 * (self.top - value), 0.0)
        return np.sqrt(lost) - np.sqrt(CHI_SQUARE_1), theta

    def step_out(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Go outwards until far enough; return the rows that got there before their bound."""
        self.outside[rows] = self.above[rows] = np.nan
        reach, left = 0.5, rows[self.inside[rows] != self.bound[rows]]
        while len(left):
            at, bound = self.inside[left] + self.side[left] * reach, self.bound[left]
            at = np.where(self.side[left] * (at - bound) > 0, bound, at)
            found, theta = self.excess(left, at)
            out = found > 0
            self.outside[left[out]], self.above[left[out]] = at[out], found[out]
            still = left[~out]
            self.inside[still], self.below[still] = at[~out], found[~out]
            self.others[still] = theta[~out]
            left, reach = still[self.inside[still] != self.bound[still]], 2 * reach
        there: NDArray[np.intp] = rows[~np.isnan(self.above[rows])]
        return there

    def narrow(self, rows: NDArray[np.intp]) -> None:
        """Close in by false position; an end kept twice counts half."""
        before = np.zeros(len(self.inside))
        for _ in range(_MOST_STEPS):
            rows = rows[np.abs(self.outside - self.inside)[rows] > 1e-9]
            if not len(rows):
                break
            a, b, f, g = self.inside[rows], self.outside[rows], self.below[rows], self.above[rows]
            at = b - g * (b - a) / (g - f)
            found, theta = self.excess(rows, at)
            out = found > 0
            o, i = rows[out], rows[~out]
            self.below[o] *= np.where(before[o] > 0, 0.5, 1.0)
            self.above[i] *= np.where(before[i] < 0, 0.5, 1.0)
            self.outside[o], self.above[o], before[o] = at[out], found[out], 1.0
            self.inside[i], self.below[i], before[i] = at[~out], found[~out], -1.0
            self.others[i] = theta[~out]
            hit = np.abs(found) < 1e-10
            self.inside[rows[hit]] = self.outside[rows[hit]] = at[hit]

    def not_yet(self, rows: NDArray[np.intp], starts: Floats) -> NDArray[np.intp]:
        """Return the rows whose limit is none, seen from other starts; they go on from there."""
        rows = rows[~np.isnan(self.outside[rows])]
        if not len(rows):
            return rows
        found, theta = self.excess(rows, self.outside[rows], starts)
        more = found < -1e-6
        rows = rows[more]
        self.inside[rows], self.below[rows] = self.outside[rows], found[more]
        self.others[rows] = theta[more]
        return rows

    def limits(self) -> tuple[Floats, Floats]:
        """Return lower and upper limits; NaN for none."""
        ends = (self.inside + self.outside) / 2
        k = len(ends) // 2
        return ends[:k], ends[k:]


def null_directions(of_points: Floats) -> Floats:
    """Return the directions of parameters in which no point changes.

    Parameters
    ----------
    of_points : ndarray, shape (n_points, n_parameters)
        Derivatives of what the points see.

    Returns
    -------
    directions : ndarray, shape (n_parameters, n_directions)
        Orthonormal; the eigenvectors of the information, with parameters scaled alike, whose
        eigenvalue is below 1e-8 of the largest.
    """
    norms = np.linalg.norm(of_points, axis=0)
    scaled = of_points / np.where(norms > 0, norms, 1.0)
    _, values, vectors = np.linalg.svd(scaled, full_matrices=True)
    squared = np.zeros(of_points.shape[1])
    squared[: len(values)] = values**2
    flat = squared <= _FLAT * max(squared.max(initial=0.0), 1e-300)
    return np.asarray(vectors[flat].T)


def binomial_probability(events: Floats, n: Floats, probability: float) -> Floats:
    """Return probabilities of counts among n; 0 for more events than patients."""
    from scipy.stats import binom

    return np.asarray(binom.pmf(events, n, probability))


def coverage_of_interval(n: int, probability: float) -> float:
    """Return how often the 95% likelihood interval of one proportion holds the truth, exactly.

    Parameters
    ----------
    n : int
        Patients.
    probability : float
        The true one, strictly between 0 and 1.

    References
    ----------
    Brown, Cai and DasGupta (2001), Statistical Science 16:101-133 (enumeration).
    """
    from scipy.special import xlog1py, xlogy
    from scipy.stats import binom

    events = np.arange(n + 1)
    seen = events / n
    best = xlogy(events, seen) + xlog1py(n - events, -seen)
    true = events * np.log(probability) + (n - events) * np.log1p(-probability)
    held = 2 * (best - true) <= CHI_SQUARE_1
    return float(binom.pmf(events, n, probability)[held].sum())
