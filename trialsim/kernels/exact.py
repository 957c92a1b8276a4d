"""Two proportions exactly: rejection regions, power and P values over all pairs of binomials.

Every test here compares, at a given number of events m in both arms, the events on treatment with
two bounds. A region is therefore two integers per m, and under no effect its probability is

    P(reject | risk) = sum over m of Binomial(m; N, risk) h(m),

with h(m) the hypergeometric probability of rejecting given m. Suprema over the risk, which make the
unconditional tests, cost one such sum per risk.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import ceil, pi, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlog1py, xlogy

from trialsim.kernels.proportions import pearson_z

__all__ = [
    "ExactTest",
    "RejectionRegion",
    "barnard_p",
    "boschloo_p",
    "rejection_probability",
    "rejection_region",
    "type_1_error",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WIDTH = 10  # standard deviations kept of a distribution; what is left out is below 1e-20
_TIE = 1e-7  # relative: tables this close are equally probable, as in R's fisher.test
_ROUNDING = 1e-9  # relative, of a P value at its level


class ExactTest(StrEnum):
    """Tests of two proportions whose power can be enumerated."""

    CHI_SQUARE = "chi-square"
    FISHER = "Fisher"
    BOSCHLOO = "Boschloo"
    BARNARD = "Barnard"


class RejectionRegion(NamedTuple):
    """The tables at which a test rejects, by the number of events m in both arms.

    Attributes
    ----------
    n_treated, n_control : int
    at_most, at_least : ndarray of int, shape (n_treated + n_control + 1,)
        Rejects where the events on treatment are at most, or at least, so many.
    """

    n_treated: int
    n_control: int
    at_most: Ints
    at_least: Ints


class _Conditional(NamedTuple):
    """Hypergeometric distributions of the events on treatment: a row per m, a window of columns.

    `first` is the number of events of the first column; `weight` is 0 outside the support.
    """

    first: Ints
    weight: Floats
    lower: Floats  # probability of at most so many
    upper: Floats  # of at least


def _log_choose(n: int) -> Floats:
    k = np.arange(n + 1)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _conditional(n_treated: int, n_control: int) -> _Conditional:
    n = n_treated + n_control
    m = np.arange(n + 1)
    spread = sqrt(n_treated * n_control / max(1, n - 1)) / 2  # the largest standard deviation
    half = min(ceil(_WIDTH * spread) + 1, n_treated)
    first = np.maximum(m * n_treated // n - half, 0)
    events = first[:, None] + np.arange(min(2 * half + 2, n_treated + 1))
    others = m[:, None] - events
    possible = (events <= n_treated) & (others >= 0) & (others <= n_control)
    log_weight = (
        _log_choose(n_treated)[np.minimum(events, n_treated)]
        + _log_choose(n_control)[np.clip(others, 0, n_control)]
        - _log_choose(n)[:, None]
    )
    weight = np.exp(np.where(possible, log_weight, -np.inf))
    weight /= weight.sum(axis=1, keepdims=True)
    lower = np.cumsum(weight, axis=1)
    upper = np.cumsum(weight[:, ::-1], axis=1)[:, ::-1]
    return _Conditional(first, weight, lower, upper)


class _Nuisance(NamedTuple):
    """Binomial probabilities of m on a grid of risks, each in a window of columns."""

    angles: Floats  # the risk is the squared sine
    columns: Ints
    weight: Floats

    @classmethod
    def of(cls, n: int, angles: Floats) -> _Nuisance:
        risk = np.sin(angles) ** 2
        half = ceil(_WIDTH * sqrt(n) / 2) + 1
        first = np.clip(np.rint(n * risk).astype(np.int64) - half, 0, max(0, n - 2 * half))
        columns = first[:, None] + np.arange(min(2 * half, n) + 1)
        return cls(angles, columns, np.exp(_binomial_log(n, columns, risk[:, None])))

    def probability(self, rejects: Floats) -> Floats:
        """Sum over m, per risk."""
        return np.asarray(np.einsum("ij,ij->i", self.weight, rejects[self.columns]))


def _binomial_log(n: int, k: Ints, risk: Floats | float) -> Floats:
    return np.asarray(_log_choose(n)[k] + xlogy(k, risk) + xlog1py(n - k, -risk))


def _grid(n: int) -> _Nuisance:
    """Eight risks per standard deviation of an observed risk, evenly on the arcsine scale."""
    return _Nuisance.of(n, np.linspace(0, pi / 2, 16 * ceil(2 * sqrt(n)) + 1))


def _supremum(n: int, grid: _Nuisance, rejects: Floats) -> float:
    """Return the largest probability of rejection over all risks: the grid's, then refined."""
    found = grid.probability(rejects)
    step = float(grid.angles[1])
    best = float(found.max())
    beside = np.pad(found, 1, mode="reflect")
    before, after = beside[:-2], beside[2:]
    peaks = np.flatnonzero((found >= before) & (found >= after))
    drop = np.maximum((2 * found - before - after)[peaks], 1e-300)
    heights = found[peaks] + (after - before)[peaks] ** 2 / (8 * drop)  # of parabolas
    for start in peaks[np.argsort(heights)[-3:]]:
        angle, around = float(grid.angles[start]), step
        for _ in range(3):
            near = np.clip(angle + around * np.linspace(-1, 1, 17), 0, pi / 2)
            at = _Nuisance.of(n, near).probability(rejects)
            angle, around = float(near[at.argmax()]), around / 8
            best = max(best, float(at.max()))
    return best


def _bounds(accepted: NDArray[np.bool_], table: _Conditional) -> tuple[Ints, Ints]:
    """Return the last table below, and the first above, what is accepted in each row."""
    width = accepted.shape[1]
    return (
        table.first + accepted.argmax(axis=1) - 1,
        table.first + width - accepted[:, ::-1].argmax(axis=1),
    )


def _one_sided(table: _Conditional, limit: float) -> Ints:
    """Return the most events on treatment with a lower tail within a limit, per m."""
    rejected = (table.lower <= limit * (1 + _ROUNDING)).sum(axis=1)
    return np.asarray(table.first + rejected - 1)


def _tail(table: _Conditional, at_most: Ints) -> Floats:
    column = np.clip(at_most - table.first, -1, table.lower.shape[1] - 1)
    tail = np.take_along_axis(table.lower, np.maximum(column, 0)[:, None], axis=1)[:, 0]
    return np.where(column >= 0, tail, 0.0)


def _upper_tail(table: _Conditional, at_least: Ints) -> Floats:
    width = table.upper.shape[1]
    column = np.clip(at_least - table.first, 0, width)
    tail = np.take_along_axis(table.upper, np.minimum(column, width - 1)[:, None], axis=1)[:, 0]
    return np.where(column < width, tail, 0.0)


def _fisher(n_treated: int, n_control: int, alpha: float, sides: int) -> RejectionRegion:
    table = _conditional(n_treated, n_control)
    never = np.full(n_treated + n_control + 1, n_treated + 1)
    if sides == 1:
        return RejectionRegion(n_treated, n_control, _one_sided(table, alpha), never)
    ascending = np.sort(table.weight, axis=1)
    beyond = np.cumsum(ascending, axis=1) > alpha * (1 + _ROUNDING)
    first = np.take_along_axis(ascending, beyond.argmax(axis=1)[:, None], axis=1)
    accepted = table.weight * (1 + _TIE) >= first
    return RejectionRegion(n_treated, n_control, *_bounds(accepted, table))


def _score(n_treated: int, n_control: int, critical_z: float, sides: int) -> RejectionRegion:
    """Return where Pearson's statistic, linear in the events on treatment, is beyond a value."""
    n = n_treated + n_control
    m = np.arange(n + 1, dtype=float)
    expected = m * n_treated / n
    half = critical_z * np.sqrt(m * (n - m) / n * n_treated * n_control / n / n)
    at_most = np.floor(expected - half).astype(np.int64)
    at_least = np.ceil(expected + half).astype(np.int64)
    at_most[[0, -1]] = -1  # no table without both outcomes rejects
    at_least[[0, -1]] = n_treated + 1
    if sides == 1:
        at_least = np.full(n + 1, n_treated + 1)
    return RejectionRegion(n_treated, n_control, at_most, at_least)


def _bisected(size: Callable[[float], float], low: float, high: float, alpha: float) -> float:
    """Return the largest argument at which a rising size does not exceed alpha."""
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) <= alpha * (1 + _ROUNDING) else (low, middle)
    return low


def _boschloo_lower(n_treated: int, n_control: int, alpha: float) -> Ints:
    n = n_treated + n_control
    table, grid = _conditional(n_treated, n_control), _grid(n)

    def size(limit: float) -> float:
        return _supremum(n, grid, _tail(table, _one_sided(table, limit)))

    high = min(1.0, 2 * alpha)
    while high < 1 and size(high) <= alpha:
        high = min(1.0, 2 * high)
    return _one_sided(table, _bisected(size, alpha, high, alpha))


def _boschloo(n_treated: int, n_control: int, alpha: float, sides: int) -> RejectionRegion:
    lower = _boschloo_lower(n_treated, n_control, alpha / sides)
    if sides == 1:
        return RejectionRegion(n_treated, n_control, lower, np.full_like(lower, n_treated + 1))
    mirrored = lower if n_treated == n_control else _boschloo_lower(n_control, n_treated, alpha / 2)
    upper = np.arange(len(lower)) - mirrored  # as many on control or fewer
    return RejectionRegion(n_treated, n_control, lower, upper)


def _barnard(n_treated: int, n_control: int, alpha: float, sides: int) -> RejectionRegion:
    n = n_treated + n_control
    table, grid = _conditional(n_treated, n_control), _grid(n)

    def size(looseness: float) -> float:
        region = _score(n_treated, n_control, 1 / looseness, sides)
        return _supremum(n, grid, _given_events(table, region))

    loosest = 1 / max(0.01, NormalDist().inv_cdf(1 - alpha / sides) / 2)
    tightest = 1 / sqrt(n + 1.0)  # of no table
    found = _bisected(size, tightest, loosest, alpha)
    return _score(n_treated, n_control, 1 / found, sides)


def _given_events(table: _Conditional, region: RejectionRegion) -> Floats:
    return _tail(table, region.at_most) + _upper_tail(table, region.at_least)


def rejection_region(
    test: ExactTest, n_treated: int, n_control: int, alpha: float, sides: int
) -> RejectionRegion:
    """Return where a test rejects.

    Parameters
    ----------
    test : ExactTest
        Chi-square without continuity correction, against its normal quantile. Fisher's two-sided
        P value adds up tables no more probable. Boschloo orders tables by Fisher's one-sided P
        value, Barnard by the pooled z; both take the supremum over the common risk. Boschloo's
        two-sided test spends half of alpha on each side (central); Barnard's uses ``|z|``.
    n_treated, n_control : int
        Patients; at least 1.
    alpha : float
        In (0, 1). A table rejects where its P value is at most alpha.
    sides : {1, 2}
        One-sided speaks for fewer events on treatment.

    References
    ----------
    Barnard (1947), Biometrika 34:123-138; Boschloo (1970), Statistica Neerlandica 24:1-9;
    Suissa and Shuster (1985), Journal of the Royal Statistical Society A 148:317-327 (pooled z);
    Mehrotra, Chan and Berger (2003), Biometrics 59:441-450.
    """
    if test is ExactTest.CHI_SQUARE:
        critical_z = NormalDist().inv_cdf(1 - alpha / sides)
        return _score(n_treated, n_control, critical_z, sides)
    if test is ExactTest.FISHER:
        return _fisher(n_treated, n_control, alpha, sides)
    unconditional = _boschloo if test is ExactTest.BOSCHLOO else _barnard
    return unconditional(n_treated, n_control, alpha, sides)


def _kept(n: int, risk: float) -> tuple[Ints, Floats]:
    """Return the events of an arm that can happen, and their probabilities."""
    half = ceil(_WIDTH * sqrt(n * risk * (1 - risk))) + _WIDTH**2
    k = np.arange(max(0, int(n * risk) - half), min(n, int(n * risk) + half) + 1)
    log_choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return k, np.asarray(np.exp(log_choose + xlogy(k, risk) + xlog1py(n - k, -risk)))


def rejection_probability(
    region: RejectionRegion, treated_risk: float, control_risk: float
) -> float:
    """Return the probability that a trial falls into a region: power, or type I error.

    Parameters
    ----------
    treated_risk, control_risk : float
        In [0, 1].
    """
    x1, p1 = _kept(region.n_treated, treated_risk)
    x0, p0 = _kept(region.n_control, control_risk)
    m = x1[:, None] + x0
    rejects = (x1[:, None] <= region.at_most[m]) | (x1[:, None] >= region.at_least[m])
    return float(p1 @ (rejects @ p0))


def type_1_error(region: RejectionRegion) -> float:
    """Return the largest probability of rejection over all risks common to both arms."""
    n = region.n_treated + region.n_control
    table = _conditional(region.n_treated, region.n_control)
    return _supremum(n, _grid(n), _given_events(table, region))


def boschloo_p(
    events_treated: int, n_treated: int, events_control: int, n_control: int, sides: int = 2
) -> float:
    """P value of Boschloo's test of one table.

    Parameters
    ----------
    sides : {1, 2}
        One-sided speaks for fewer events on treatment; two-sided doubles the smaller (central).

    References
    ----------
    Boschloo (1970), Statistica Neerlandica 24:1-9.
    """
    n, m = n_treated + n_control, events_treated + events_control
    grid = _grid(n)
    found = []
    for x, n1, n0 in (
        (events_treated, n_treated, n_control),
        (events_control, n_control, n_treated),
    )[:sides]:
        table = _conditional(n1, n0)
        seen = float(_tail(table, np.full(n + 1, x))[m])
        found.append(_supremum(n, grid, _tail(table, _one_sided(table, seen))))
    return min(1.0, sides * min(found))


def barnard_p(
    events_treated: int, n_treated: int, events_control: int, n_control: int, sides: int = 2
) -> float:
    """P value of Barnard's test of one table, ordered by the pooled z.

    Parameters
    ----------
    sides : {1, 2}
        One-sided speaks for fewer events on treatment; two-sided orders by ``|z|``.

    References
    ----------
    Suissa and Shuster (1985), Journal of the Royal Statistical Society A 148:317-327.
    """
    z = float(pearson_z(events_treated, n_treated, events_control, n_control))
    extreme = -z if sides == 1 else abs(z)
    if extreme <= 0:
        return 1.0
    n = n_treated + n_control
    region = _score(n_treated, n_control, extreme * (1 - _ROUNDING), sides)
    return _supremum(n, _grid(n), _given_events(_conditional(n_treated, n_control), region))
