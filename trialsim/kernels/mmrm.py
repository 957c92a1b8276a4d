"""Mixed model for repeated measures (MMRM) of two arms, by REML, over many trials at once.

The outcome at a visit is a mean per arm and visit, perhaps a baseline effect, and an error whose
covariance over the visits of a patient is unstructured. Visits may be missing at random in any
pattern: patients with the same pattern enter the likelihood through their sums of squares alone, so
an iteration costs the same whatever their number.

Notes
-----
With W the inverse covariance of a patient's seen visits, X the design, C = (X' W X)^-1 (summed over
patients) and P = W - W X C X' W, the REML log-likelihood has

    score          -1/2 [tr(P E_j) - y' P E_j P y]
    expected info   1/2 tr(P E_j P E_l)
    observed info   y' P E_j P E_l P y - 1/2 tr(P E_j P E_l)

for the elements j, l of the covariance, E_j its derivative by element j. The steps are Fisher's far
from the maximum and Newton's near it.

References
----------
Patterson and Thompson (1971), Biometrika 58:545-554 (REML); Harville (1977), Journal of the
American Statistical Association 72:320-338 (score and both kinds of information); Jennrich and
Schluchter (1986), Biometrics 42:805-820 (unstructured covariance, missing visits); Mallinckrodt,
Lane, Schnell, Peng and Mancuso (2008), Drug Information Journal 42:303-319 (the analysis).
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BaselineEffect", "RepeatedMeasures", "fit_mmrm"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_MAX_STEPS = 100
_CONVERGED = 1e-12  # squared distance to the maximum, in standard errors of the covariance
_NEAR = 0.5  # on that scale, where Newton's steps take over from Fisher's
_ROUNDING = 1e-8  # in the log-likelihood
_SINGULAR = 1e-10  # share of a variance that its predecessors leave unexplained
_NUMBERS_PER_BLOCK = 2_000_000  # of the largest array


class BaselineEffect(StrEnum):
    """How the baseline value acts on the outcome."""

    COMMON_SLOPE = "one slope for all visits"
    SLOPE_PER_VISIT = "one slope per visit"


class RepeatedMeasures(NamedTuple):
    """A fitted model per trial; NaN where it has not converged.

    Attributes
    ----------
    estimate : ndarray of float, shape (n_reps, n_visits)
        Mean on treatment minus mean on control at each visit, in units of the outcome.
    standard_error : ndarray of float, shape (n_reps, n_visits)
        Root of the diagonal of (X' W X)^-1, as if the covariance were known: without the
        adjustment of Kenward and Roger.
    df : ndarray of float, shape (n_reps, n_visits)
        Satterthwaite's degrees of freedom of each visit's difference.
    covariance : ndarray of float, shape (n_reps, n_visits, n_visits)
        Of one patient's errors.
    log_likelihood : ndarray of float, shape (n_reps,)
        REML, constants included, as R's ``logLik(gls(..., method = "REML"))``.
    converged : ndarray of bool, shape (n_reps,)
        False where an arm has no data at a visit, where two visits are never seen in one patient,
        where the covariance is singular, or where no maximum was found.
    """

    estimate: Floats
    standard_error: Floats
    df: Floats
    covariance: Floats
    log_likelihood: Floats
    converged: Bools


class _Sums(NamedTuple):
    """Sums over the patients of each pattern of seen visits, x their (1, treated, baseline)."""

    seen: Floats  # (n_reps, n_patterns, n_visits), 0 or 1
    xx: Floats  # (n_reps, n_patterns, n_x, n_x)
    xy: Floats  # (n_reps, n_patterns, n_x, n_visits)
    yy: Floats  # (n_reps, n_patterns, n_visits, n_visits)

    def of(self, rows: Ints | Bools) -> _Sums:
        return _Sums(*(column[rows] for column in self))


class _Point(NamedTuple):
    """The model at one covariance per trial."""

    inverse: Floats  # W, (n_reps, n_patterns, n_visits, n_visits), 0 where a visit is not seen
    fixed: Floats  # C, (n_reps, n_x * n_visits, n_x * n_visits)
    coefficients: Floats  # (n_reps, n_x, n_visits)
    xr: Floats  # sums of x times residual, (n_reps, n_patterns, n_x, n_visits)
    rr: Floats  # sums of squared residuals, (n_reps, n_patterns, n_visits, n_visits)
    log_likelihood: Floats  # (n_reps,), -infinity where the covariance or the design is singular

    def of(self, rows: Ints | Bools) -> _Point:
        return _Point(*(column[rows] for column in self))


class _Slopes(NamedTuple):
    """Derivatives by the elements of the covariance."""

    score: Floats  # (n_reps, n_elements)
    expected: Floats  # (n_reps, n_elements, n_elements)
    observed: Floats  # (n_reps, n_elements, n_elements)
    variance: Floats  # of the variance of each visit's difference, (n_reps, n_visits, n_elements)


def fit_mmrm(
    outcomes: ArrayLike,
    treated: ArrayLike,
    baseline: ArrayLike | None = None,
    effect: BaselineEffect = BaselineEffect.COMMON_SLOPE,
) -> RepeatedMeasures:
    """Fit the model to every trial.

    Parameters
    ----------
    outcomes : array of float, shape (n_patients, n_visits, n_reps)
        NaN where a visit is missing.
    treated : array of bool, shape (n_patients, n_reps)
    baseline : array of float, shape (n_patients, n_reps), optional
        A patient without it (NaN) is left out.
    effect : BaselineEffect
        Of `baseline`; without one it says nothing.

    Returns
    -------
    fit : RepeatedMeasures

    Notes
    -----
    Degrees of freedom are 2 v^2 / (g' A g): v the variance of a difference, g its gradient by the
    elements of the covariance, A the inverse of their *observed* information, as in SAS PROC MIXED
    and the R package mmrm; at the maximum they do not depend on how the covariance is
    parametrised.

    References
    ----------
    Giesbrecht and Burns (1985), Biometrics 41:477-486; Fai and Cornelius (1996), Journal of
    Statistical Computation and Simulation 54:363-378 (degrees of freedom).
    """
    y = np.asarray(outcomes, dtype=float)
    arm = np.asarray(treated, dtype=bool)
    covariate = None if baseline is None else np.asarray(baseline, dtype=float)
    n, n_visits, n_reps = y.shape
    n_x = 2 if covariate is None else 3
    common = covariate is not None and effect is BaselineEffect.COMMON_SLOPE
    columns = _columns(n_x, n_visits, common=common)
    width = max(n * (n_x + n_visits) ** 2, n_x**2 * n_visits**4)
    size = max(1, _NUMBERS_PER_BLOCK // width)
    shapes = [(n_reps, n_visits)] * 3 + [(n_reps, n_visits, n_visits), (n_reps,)]
    unknown = (np.full(shape, np.nan) for shape in shapes)
    found = RepeatedMeasures._make([*unknown, np.zeros(n_reps, dtype=bool)])
    with np.errstate(all="ignore"):  # a trial that fails says so in `converged`
        for first in range(0, n_reps, size):
            here = slice(first, first + size)
            own = None if covariate is None else covariate[:, here]
            sums = _sums(y[:, :, here], arm[:, here], own)
            _fit(sums, columns, RepeatedMeasures._make(column[here] for column in found))
    return found


def _columns(n_x: int, n_visits: int, *, common: bool) -> Floats:
    """Return the design's columns as combinations of one coefficient per x and visit."""
    whole = np.eye(n_x * n_visits)
    if not common:
        return whole
    means = 2 * n_visits
    return np.column_stack([whole[:, :means], whole[:, means:].sum(axis=1)])


def _sums(outcomes: Floats, treated: Bools, baseline: Floats | None) -> _Sums:
    n, n_visits, n_reps = outcomes.shape
    seen = ~np.isnan(outcomes).transpose(2, 0, 1)
    x = [np.ones((n_reps, n)), treated.T.astype(float)]
    if baseline is not None:
        usable = ~np.isnan(baseline.T)
        seen = seen & usable[:, :, None]
        value = np.where(usable, baseline.T, 0.0)
        mean = value.sum(axis=1) / usable.sum(axis=1).clip(min=1)
        x.append(np.where(usable, value - mean[:, None], 0.0))  # against cancellation
    n_x = len(x)
    y = np.where(seen, outcomes.transpose(2, 0, 1), 0.0)
    y -= (y.sum(axis=1) / seen.sum(axis=1).clip(min=1))[:, None, :]
    rows = np.concatenate([np.stack(x, axis=-1), np.where(seen, y, 0.0)], axis=-1)

    code = seen @ (1 << np.arange(n_visits))
    order = np.argsort(code, axis=1, kind="stable")
    code = np.take_along_axis(code, order, axis=1)
    starts = np.ones((n_reps, n), dtype=bool)
    starts[:, 1:] = code[:, 1:] != code[:, :-1]
    slot = np.cumsum(starts, axis=1) - 1
    patterns = int(slot[:, -1].max()) + 1
    rows = np.take_along_axis(rows, order[:, :, None], axis=1)
    products = (rows[..., :, None] * rows[..., None, :]).reshape(n_reps * n, -1)
    summed = np.zeros((n_reps, patterns, products.shape[-1]))
    codes = np.zeros((n_reps, patterns), dtype=np.int64)
    where = np.nonzero(starts)
    place = (where[0], slot[where])
    summed[place] = np.add.reduceat(products, np.flatnonzero(starts), axis=0)
    codes[place] = code[where]
    summed[codes == 0] = 0.0  # nobody home: no visit seen
    summed = summed.reshape(n_reps, patterns, n_x + n_visits, -1)
    return _Sums(
        (codes[..., None] >> np.arange(n_visits) & 1).astype(float),
        summed[..., :n_x, :n_x].copy(),
        summed[..., :n_x, n_x:].copy(),
        summed[..., n_x:, n_x:].copy(),
    )


def _inverse(matrix: Floats) -> tuple[Floats, Floats, Bools]:
    """Invert symmetric matrices; say their log determinants, and which are positive definite.

    Gauss-Jordan without pivoting, one step for all matrices at once.
    """
    size = matrix.shape[-1]
    flat = matrix.reshape(math.prod(matrix.shape[:-2]), size, size)
    a = np.array(flat.transpose(1, 2, 0), order="C")  # a copy, changed in place
    least = _SINGULAR * np.einsum("jjm->jm", a)
    log_det = np.zeros(len(flat))
    definite = np.ones(len(flat), dtype=bool)
    for j in range(size):
        good = a[j, j] > np.maximum(least[j], 0.0)
        pivot = np.where(good, a[j, j], 1.0)
        definite &= good
        log_det += np.log(pivot)
        column = a[:, j].copy()
        row = a[j] / pivot
        a -= column[:, None] * row
        a[j], a[:, j], a[j, j] = row, -column / pivot, 1 / pivot
    shape = matrix.shape[:-2]
    inverse = np.ascontiguousarray(a.transpose(2, 0, 1)).reshape(matrix.shape)
    return inverse, log_det.reshape(shape), definite.reshape(shape)


def _evaluate(sums: _Sums, covariance: Floats, columns: Floats) -> _Point:
    n_reps, _, n_x, n_visits = sums.xy.shape
    both = sums.seen[..., :, None] * sums.seen[..., None, :]
    masked = both * covariance[:, None] + (1 - sums.seen)[..., None] * np.eye(n_visits)
    inverse, log_det, _ = _inverse(masked)
    definite = _inverse(covariance)[2]
    inverse *= both
    size = n_x * n_visits
    xwx = _crossed(sums.xx, inverse).transpose(0, 1, 3, 2, 4).reshape(n_reps, size, size)
    reduced, log_det_x, estimable = _inverse(columns.T @ xwx @ columns)
    fixed = columns @ reduced @ columns.T
    xwy = (sums.xy @ inverse).sum(axis=1).reshape(n_reps, size, 1)
    coefficients = (fixed @ xwy).reshape(n_reps, n_x, n_visits)
    xr = sums.xy - sums.xx @ coefficients[:, None]
    turned = coefficients.transpose(0, 2, 1)[:, None]
    rr = sums.yy - turned @ sums.xy - xr.transpose(0, 1, 3, 2) @ coefficients[:, None]
    counts = sums.xx[..., 0, 0]
    free = (counts[..., None] * sums.seen).sum(axis=(1, 2)) - columns.shape[1]
    deviance = (counts * log_det).sum(axis=1) + log_det_x + (inverse * rr).sum(axis=(1, 2, 3))
    likelihood = -(deviance + free * np.log(2 * np.pi)) / 2
    likelihood = np.where(definite & estimable & np.isfinite(likelihood), likelihood, -np.inf)
    return _Point(inverse, fixed, coefficients, xr, rr, likelihood)


def _crossed(x: Floats, y: Floats) -> Floats:
    """Sum over patterns of each element of one array times each element of another."""
    n_reps, patterns, *of_x = x.shape
    of_y = y.shape[2:]
    flat_x = x.reshape(n_reps, patterns, math.prod(of_x)).transpose(0, 2, 1)
    flat = flat_x @ y.reshape(n_reps, patterns, math.prod(of_y))
    return np.asarray(flat.reshape(n_reps, *of_x, *of_y))


def _elements(n_visits: int) -> Floats:
    """Return E_j flattened, in columns: (n_visits ** 2, n_elements)."""
    i, j = np.tril_indices(n_visits)
    basis = np.zeros((n_visits, n_visits, len(i)))
    basis[i, j, np.arange(len(i))] = basis[j, i, np.arange(len(i))] = 1.0
    return basis.reshape(n_visits**2, -1)


def _differentiate(sums: _Sums, point: _Point) -> _Slopes:
    n_reps, patterns, n_x, n_visits = sums.xy.shape
    size, square = n_x * n_visits, n_visits**2
    basis = _elements(n_visits)
    n_elements = basis.shape[1]
    w, fixed = point.inverse, point.fixed
    counts = sums.xx[:, :, 0, 0][..., None, None]

    blocks = fixed.reshape(n_reps, n_x, n_visits, n_x, n_visits).transpose(0, 1, 3, 2, 4)
    explained = sums.xx.reshape(n_reps, patterns, n_x**2) @ blocks.reshape(n_reps, n_x**2, square)
    residual = w @ point.rr @ w
    taken = w @ explained.reshape(w.shape) @ w  # X C X', summed over patients, between W
    score = -0.5 * (counts * w - taken - residual).sum(axis=1).reshape(n_reps, square) @ basis

    # X' W E_j W X, C times it, and X' W E_j W r
    inner = _crossed(sums.xx[..., None, None] * w[:, :, None, None], w)
    inner = inner.transpose(0, 1, 3, 2, 5, 4, 6).reshape(n_reps, size, size, square) @ basis
    moved = (fixed @ inner.reshape(n_reps, size, size * n_elements)).reshape(inner.shape)
    pull = _crossed(w, point.xr @ w).transpose(0, 3, 1, 2, 4).reshape(n_reps, size, square) @ basis

    flat = (n_reps, size**2, n_elements)
    trace = moved.reshape(flat).transpose(0, 2, 1) @ np.swapaxes(moved, 1, 2).reshape(flat)
    expected = _traces(w, counts / 2 * w - taken, basis) + trace / 2
    fitted = _traces(w, residual, basis) - pull.transpose(0, 2, 1) @ fixed @ pull
    visits = slice(n_visits, 2 * n_visits)  # the differences between the arms
    variance = np.einsum("rvsj,rsv->rvj", moved[:, visits], fixed[:, :, visits])
    return _Slopes(score, expected, fitted - expected, variance)


def _traces(w: Floats, n: Floats, basis: Floats) -> Floats:
    """Sum over patterns of tr(E_j W E_l N)."""
    square = len(basis)
    product = _crossed(w, n).transpose(0, 4, 1, 2, 3).reshape(len(w), square, square)
    return np.asarray(basis.T @ (product @ basis))


def _start(sums: _Sums, columns: Floats) -> Floats:
    """Covariances of the residuals of least squares, over the patients seen at both visits.

    Already the maximum where no visit is missing and no slope is common.
    """
    n_reps, _, n_x, n_visits = sums.xy.shape
    unit = np.broadcast_to(np.eye(n_visits), (n_reps, n_visits, n_visits))
    plain = _evaluate(sums, unit, columns)
    both = sums.seen[..., :, None] * sums.seen[..., None, :]
    pairs = (sums.xx[:, :, 0, 0, None, None] * both).sum(axis=1)
    found: Floats = (plain.rr * both).sum(axis=1) / (pairs - n_x).clip(min=1)
    variance = np.einsum("rvv->rv", found)
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    scale = scale[:, :, None] * scale[:, None, :]
    correlation = np.where(np.isfinite(found), found / scale, 0.0)
    value, vector = np.linalg.eigh(correlation)
    repaired = (vector * value.clip(min=0.05)[:, None, :]) @ vector.transpose(0, 2, 1)
    indefinite = value[:, :1, None] < 1e-6
    return np.where(indefinite, repaired * scale, found)


def _fit(sums: _Sums, columns: Floats, found: RepeatedMeasures) -> None:
    """Climb to the maximum; write what converges into `found`."""
    counts, in_treated = sums.xx[..., 0, 0], sums.xx[..., 1, 1]
    arms = np.stack([in_treated, counts - in_treated], axis=1) @ sums.seen
    rows = np.flatnonzero((arms > 0).all(axis=(1, 2)))
    sums = sums.of(rows)
    trial = _start(sums, columns)
    last, step = trial.copy(), np.zeros_like(trial)
    best = np.full(len(rows), -np.inf)
    for _ in range(_MAX_STEPS):
        if not len(rows):
            return
        point = _evaluate(sums, trial, columns)
        up = np.isfinite(point.log_likelihood) & (point.log_likelihood >= best - _ROUNDING)
        step[~up] /= 2
        last[up], best[up] = trial[up], point.log_likelihood[up]
        point = point.of(up)
        slopes = _differentiate(sums.of(up), point)
        step[up], spread, done = _ascent(slopes, step.shape[-1])
        _write(found, rows[up], last[up], point, slopes.variance, spread, done)
        going = np.isfinite(best) & np.isfinite(step).all(axis=(1, 2))
        going[up] &= ~done
        rows, last, step, best = rows[going], last[going], step[going], best[going]
        sums, trial = sums.of(going), last + step


def _ascent(slopes: _Slopes, n_visits: int) -> tuple[Floats, Floats, Bools]:
    """Return the next step, the inverse observed information, and where the maximum is reached."""
    score = slopes.score[..., None]
    by_expected, _, known = _inverse(slopes.expected)
    spread, _, concave = _inverse(slopes.observed)
    fisher, newton = by_expected @ score, spread @ score
    near = concave & ((score * fisher).sum(axis=(1, 2)) < _NEAR)
    done = concave & known & ((score * newton).sum(axis=(1, 2)) < _CONVERGED)
    step = np.where(near[:, None, None], newton, fisher)
    step[~known] = np.nan
    return (_elements(n_visits) @ step).reshape(len(step), n_visits, n_visits), spread, done


def _write(
    found: RepeatedMeasures,
    rows: Ints,
    covariance: Floats,
    point: _Point,
    slope: Floats,
    spread: Floats,
    done: Bools,
) -> None:
    """Write the trials that are done; `slope` is the gradient of the contrasts' variances."""
    n_visits = covariance.shape[-1]
    rows, point, slope = rows[done], point.of(done), slope[done]
    variance = np.einsum("rvv->rv", point.fixed)[:, n_visits : 2 * n_visits]
    found.estimate[rows] = point.coefficients[:, 1]
    found.standard_error[rows] = np.sqrt(variance)
    found.df[rows] = 2 * variance**2 / ((slope @ spread[done]) * slope).sum(axis=-1)
    found.covariance[rows] = covariance[done]
    found.log_likelihood[rows] = point.log_likelihood
    found.converged[rows] = True
