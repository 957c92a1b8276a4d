"""Group-sequential bounds: first-crossing probabilities, and bounds that have given ones.

At look k the statistic is Z_k ~ N(theta sqrt(I_k), 1) with corr(Z_j, Z_k) = sqrt(I_j / I_k), the
canonical joint distribution (Jennison and Turnbull 2000, equation 3.1). Looks rise in information;
an infinite bound is no test. The density of Z among trials that go on is carried from look to look
by quadrature; nothing here knows about alpha, designs or protocols.

References
----------
Armitage, McPherson and Rowe (1969), Journal of the Royal Statistical Society A 132:235-244.
Jennison and Turnbull (2000), Group Sequential Methods, chapter 19.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, inf, isfinite, isinf, log, pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

__all__ = [
    "Crossing",
    "NormalPrior",
    "Region",
    "SpentBounds",
    "Standing",
    "beta_spending_bounds",
    "crossing_probabilities",
    "increasing_root",
    "probit",
    "scaled_bounds",
    "spending_bounds",
]

Floats = NDArray[np.float64]

_REACH = 7.0  # standard deviations kept of an unbounded side: 1.3e-12 lies beyond
_NODES_PER_WIDTH = 1.75  # Gauss-Legendre on a Gaussian of unit width: 1e-10, tested
_PANEL = 96  # nodes of one Gauss-Legendre rule; wider regions take several
_TOLERANCE = 1e-10  # of z: where the search for a root ends


class Crossing(NamedTuple):
    """Probabilities of leaving first at each look.

    Attributes
    ----------
    upper, lower : ndarray of float, shape (n_looks,)
        At or above the upper, at or below the lower bound.
    """

    upper: Floats
    lower: Floats


class SpentBounds(NamedTuple):
    """Upper and lower bounds, shape (n_looks,), and the probability of leaving below under theta.

    The last lower bound is the last upper one.
    """

    upper: Floats
    lower: Floats
    type_ii_error: float


class Standing(NamedTuple):
    """Where a trial stands: the information so far, in the unit of the looks, and its Z."""

    information: float
    z: float


@dataclass(frozen=True)
class NormalPrior:
    """In place of a theta: normal with a mean, and variance 1 / information; flat by default.

    A flat prior needs a trial that stands somewhere.
    """

    mean: float = 0.0
    information: float = 0.0


@dataclass(frozen=True)
class Region:
    """How a trial goes on while bounds above are sought.

    Attributes
    ----------
    lower : ndarray of float, shape (n_looks,), or None
        Goes on above these; None for no lower bound.
    symmetric : bool
        Goes on while |Z| is below the upper bound; `lower` is then not used.
    """

    lower: Floats | None = None
    symmetric: bool = False

    def below(self, look: int, upper: float) -> float:
        """Return the lower end of the region at a look."""
        if self.symmetric:
            return -upper
        return -inf if self.lower is None else float(self.lower[look])


class _Density(NamedTuple):
    """Of Z at a look among trials that go on: quadrature nodes and the mass at each."""

    information: float
    z: Floats
    mass: Floats
    mean: float  # and standard deviation, had there been no bounds
    deviation: float


class _Step(NamedTuple):
    """Z at a look given Z at the one before: normal about slope z + shift."""

    slope: float
    shift: float
    deviation: float


def _start(standing: Standing | None) -> _Density:
    at = Standing(0.0, 0.0) if standing is None else standing
    return _Density(at.information, np.array([at.z]), np.ones(1), at.z, 0.0)


def _step(before: float, after: float, theta: float | NormalPrior) -> _Step:
    """Return how Z moves; under a prior, by its predictive distribution given all before."""
    added = after - before
    if not isinstance(theta, NormalPrior):
        return _Step(sqrt(before / after), theta * added / sqrt(after), sqrt(added / after))
    known, later = before + theta.information, after + theta.information
    return _Step(
        sqrt(before / after) * later / known,
        added * theta.mean * theta.information / (known * sqrt(after)),
        sqrt(added * later / (known * after)),
    )


def _centre(density: _Density, step: _Step) -> Floats:
    return step.slope * density.z + step.shift


def _above(density: _Density, step: _Step, bound: float) -> float:
    if isinf(bound):
        return float(density.mass.sum()) if bound < 0 else 0.0
    return float(density.mass @ ndtr((_centre(density, step) - bound) / step.deviation))


def _below(density: _Density, step: _Step, bound: float) -> float:
    if isinf(bound):
        return float(density.mass.sum()) if bound > 0 else 0.0
    return float(density.mass @ ndtr((bound - _centre(density, step)) / step.deviation))


@lru_cache(maxsize=256)
def _rule(n_nodes: int) -> tuple[Floats, Floats]:
    """Return a Gauss-Legendre rule on (0, 1), in panels where one would be long."""
    panels = ceil(n_nodes / _PANEL)
    nodes, weights = np.polynomial.legendre.leggauss(ceil(n_nodes / panels))
    starts = np.arange(panels)[:, None]
    return ((starts + (nodes + 1) / 2) / panels).ravel(), np.tile(weights / 2 / panels, panels)


def _onward(
    density: _Density,
    step: _Step,
    information: float,
    lower: float,
    upper: float,
    ahead: _Step,
    reach: float = _REACH,
) -> _Density:
    """Carry the density over a look at which trials between the bounds go on.

    Parameters
    ----------
    ahead : _Step
        The step to come: with this one it says how finely the integrand varies.
    reach : float
        Standard deviations kept above the mean.
    """
    mean = step.slope * density.mean + step.shift
    deviation = sqrt((step.slope * density.deviation) ** 2 + step.deviation**2)
    low = max(lower, mean - (reach if isfinite(lower) else _REACH) * deviation)
    high = min(upper, mean + reach * deviation)
    if low >= high or not len(density.z):
        return _Density(information, np.empty(0), np.empty(0), mean, deviation)
    span = high - low
    width = 1 / sqrt(step.deviation**-2 + (ahead.slope / ahead.deviation) ** 2)
    nodes, weights = _rule(4 * ceil((_NODES_PER_WIDTH * span / width + 12) / 4))
    z = low + span * nodes
    scale = sqrt(0.5) / step.deviation
    apart = z[:, None] * scale - _centre(density, step) * scale
    np.multiply(apart, apart, out=apart)
    np.negative(apart, out=apart)
    arrived = np.exp(apart, out=apart) @ density.mass
    mass = arrived * weights * (span / (step.deviation * sqrt(2 * pi)))
    return _Density(information, z, mass, mean, deviation)


def crossing_probabilities(
    information: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    theta: float | NormalPrior = 0.0,
    standing: Standing | None = None,
) -> Crossing:
    """Probability of crossing a bound first, per look.

    Parameters
    ----------
    information : array of float, shape (n_looks,)
        Rising, above 0, in any unit.
    lower, upper : array of float, shape (n_looks,)
        On the scale of Z, infinite for no test. Where lower is not below upper, all trials stop.
    theta : float or NormalPrior
        Mean of Z per root of information, or what is believed about it.
    standing : Standing, optional
        Where the trial is now, for probabilities given that; the looks lie ahead of it.

    References
    ----------
    Jennison and Turnbull (2000), section 19.2; Gauss-Legendre in place of their Simpson's rule.
    Absolute error below 1e-10, tested at steps of 0.001 of the information.
    """
    t, low, high = (np.asarray(a, dtype=float).tolist() for a in (information, lower, upper))
    above, below = np.zeros(len(t)), np.zeros(len(t))
    density = _start(standing)
    steps = _steps(density.information, t, theta)
    for k, step in enumerate(steps):
        above[k] = _above(density, step, high[k])
        below[k] = _below(density, step, min(low[k], high[k]))
        if k + 1 < len(t):
            density = _onward(density, step, t[k], low[k], high[k], steps[k + 1])
    return Crossing(above, below)


def _steps(start: float, information: list[float], theta: float | NormalPrior) -> list[_Step]:
    return [_step(a, b, theta) for a, b in pairwise((start, *information))]


def _upper_bound(density: _Density, step: _Step, probability: float) -> float:
    """Return the bound that is exceeded with a probability, by Newton on its logarithm.

    The logarithm of a normal tail is concave, so that steps from the right never pass the root;
    the bound of a single look lies to its right.
    """
    if probability <= 0:
        return inf
    if probability >= density.mass.sum():
        return -inf
    centre, scale, target = _centre(density, step), step.deviation, log(probability)
    bound = (
        step.slope * density.mean
        + step.shift
        - float(ndtri(probability)) * sqrt((step.slope * density.deviation) ** 2 + scale**2)
    )
    floor, ceiling = -inf, inf
    for _ in range(60):
        apart = (centre - bound) / scale
        tail = float(density.mass @ ndtr(apart))
        slope = float(density.mass @ np.exp(-0.5 * apart * apart)) / (scale * sqrt(2 * pi))
        if tail > probability:
            floor = bound
        else:
            ceiling = bound
        move = (log(tail) - target) * tail / slope if tail > 0 and slope > 0 else -scale
        bound += move
        if not floor <= bound <= ceiling:
            bound = (floor + ceiling) / 2 if isfinite(floor + ceiling) else bound - move / 2
        if abs(move) < _TOLERANCE:
            break
    return bound


def _lower_bound(density: _Density, step: _Step, probability: float) -> float:
    mirrored = density._replace(z=-density.z, mean=-density.mean)
    return -_upper_bound(mirrored, step._replace(shift=-step.shift), probability)


def _reach_for(probabilities: Floats) -> float:
    """Return how far to keep the density, so that small tails of later looks are exact too."""
    some = probabilities[probabilities > 0]
    return _REACH + (float(-ndtri(min(0.5, some.min()))) if len(some) else 0.0)


def spending_bounds(
    information: ArrayLike, spent: ArrayLike, region: Region | None = None
) -> Floats:
    """Upper bounds that are crossed first with given probabilities when theta is 0.

    Parameters
    ----------
    information : array of float, shape (n_looks,)
    spent : array of float, shape (n_looks,)
        Probability of crossing the upper bound first at each look; zero gives an infinite bound,
        more than is left gives minus infinity.
    region : Region, optional
        By default, trials go on below the upper bound.

    Returns
    -------
    upper : ndarray of float, shape (n_looks,)

    References
    ----------
    Lan and DeMets (1983), Biometrika 70:659-663.
    """
    t, p = np.asarray(information, dtype=float).tolist(), np.asarray(spent, dtype=float)
    region = region or Region()
    upper = np.empty(len(t))
    density, reach = _start(None), _reach_for(p)
    steps = _steps(0.0, t, 0.0)
    for k, step in enumerate(steps):
        bound = _upper_bound(density, step, p[k])
        upper[k] = bound
        if k + 1 < len(t):
            below = region.below(k, bound)
            density = _onward(density, step, t[k], below, bound, steps[k + 1], reach)
    return upper


def scaled_bounds(
    information: ArrayLike, shape: ArrayLike, spent: float, region: Region | None = None
) -> Floats:
    """Upper bounds of a given shape that are crossed with a probability when theta is 0.

    Parameters
    ----------
    information, shape : array of float, shape (n_looks,)
        The bounds are a constant times `shape`, which is positive.
    spent : float
        Probability of crossing the upper bound first at any look.
    region : Region, optional

    Returns
    -------
    upper : ndarray of float, shape (n_looks,)
    """
    t, shape = np.asarray(information, dtype=float), np.asarray(shape, dtype=float)
    region = region or Region()

    def excess(constant: float) -> float:
        upper = constant * shape
        lower = np.array([region.below(k, u) for k, u in enumerate(upper)])
        return target - probit(crossing_probabilities(t, lower, upper).upper.sum())

    target, least = probit(spent), float(shape.min())
    single = -target / least  # of one look: the root is above it
    second = single - excess(single) / least
    return shape * increasing_root(excess, single, second, tolerance=2e-5)


def beta_spending_bounds(
    information: ArrayLike,
    alpha_spent: ArrayLike,
    beta_spent: ArrayLike,
    theta: float,
    upper: Floats | None = None,
) -> SpentBounds:
    """Lower bounds crossed first with given probabilities under theta, and the upper ones.

    Parameters
    ----------
    information, alpha_spent, beta_spent : array of float, shape (n_looks,)
    theta : float
        Under which `beta_spent` holds; `alpha_spent` holds under 0.
    upper : ndarray of float, shape (n_looks,), optional
        Upper bounds that stand (lower bounds not binding); by default both are found together.

    Notes
    -----
    A lower bound that would pass the upper one is put on it: `theta` is then too large, and the
    type II error comes out below the sum of `beta_spent`.

    References
    ----------
    Pampallona, Tsiatis and Kim (2001), Drug Information Journal 35:1113-1121.
    """
    t, alpha, beta = (np.asarray(a, dtype=float) for a in (information, alpha_spent, beta_spent))
    high, low, missed = np.empty(len(t)), np.empty(len(t)), 0.0
    null = other = _start(None)
    reach = _reach_for(np.concatenate([alpha, beta]))
    null_steps, theta_steps = _steps(0.0, t.tolist(), 0.0), _steps(0.0, t.tolist(), theta)
    for k, (under_null, under_theta) in enumerate(zip(null_steps, theta_steps, strict=True)):
        high[k] = _upper_bound(null, under_null, alpha[k]) if upper is None else upper[k]
        last = k + 1 == len(t)
        low[k] = high[k] if last else min(high[k], _lower_bound(other, under_theta, beta[k]))
        missed += _below(other, under_theta, low[k])
        if not last:
            ahead = null_steps[k + 1]
            other = _onward(other, under_theta, t[k], low[k], high[k], ahead, reach)
            if upper is None:
                null = _onward(null, under_null, t[k], low[k], high[k], ahead, reach)
    return SpentBounds(high, low, missed)


def increasing_root(
    function: Callable[[float], float],
    first: float,
    second: float,
    tolerance: float = _TOLERANCE,
) -> float:
    """Return where an increasing, nearly straight function is zero.

    Inverse interpolation through the last three points, kept in its bracket.

    Parameters
    ----------
    first, second : float
        Two guesses, not equal.
    tolerance : float
        Length of the last step; what is left after it is far less.
    """
    floor, ceiling = -inf, inf
    before, here = first, second
    at_before, at_here = function(before), function(here)
    older: tuple[float, float] | None = None
    for _ in range(100):
        if at_here == 0:
            break
        for x, y in ((before, at_before), (here, at_here)):
            floor, ceiling = (max(floor, x), ceiling) if y < 0 else (floor, min(ceiling, x))
        moved = abs(here - before)
        following = _interpolated((here, at_here), (before, at_before), older)
        if isfinite(floor + ceiling):
            if not floor <= following <= ceiling or abs(following - here) > moved / 2:
                following = (floor + ceiling) / 2
        elif not abs(following - here) <= 8 * moved or (following > here) == (at_here > 0):
            following = here - 8 * moved if at_here > 0 else here + 8 * moved
        older, before, at_before, here = (before, at_before), here, at_here, following
        if abs(here - before) < tolerance:
            break
        at_here = function(here)
    return here


def _interpolated(
    here: tuple[float, float], before: tuple[float, float], older: tuple[float, float] | None
) -> float:
    """Return x at y = 0 by the line, or the inverse parabola, through points; inf without one."""
    (x, y), (x1, y1) = here, before
    rise = y - y1
    if not isfinite(rise) or not rise:
        return inf
    slope = (x - x1) / rise
    found = x - y * slope
    if older is None or not isfinite(older[1]) or older[1] in (y, y1):
        return found
    x2, y2 = older
    bend = (slope - (x1 - x2) / (y1 - y2)) / (y - y2)
    return found + bend * y * y1


def probit(probability: float) -> float:
    """Return the standard normal quantile, finite also for what rounding took to 0 or 1."""
    return float(ndtri(min(max(probability, 1e-300), 1 - 1e-16)))
