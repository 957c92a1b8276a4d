"""Multiple imputation over many trials at once: visits that are jointly normal, and one event.

Visits are imputed by draws from the posterior of sequential regressions, each visit on those
before it: under missing at random from the patient's own arm, or after treatment was stopped from
the reference arm (Carpenter, Roger and Kenward 2013). The completed data sets are analysed and
pooled by Rubin's rules. Arrays hold one trial per last element; random numbers are passed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, gammaincinv

from trialsim.kernels.proportions import (
    Contrast,
    Scale,
    log_odds_ratio,
    log_risk_ratio,
    risk_difference,
)

__all__ = [
    "Analysis",
    "BinaryDraws",
    "Covariance",
    "Draws",
    "Estimate",
    "Model",
    "Pooled",
    "Strategy",
    "analyse_last_visit",
    "impute",
    "impute_binary",
    "multiply_impute",
    "multiply_impute_binary",
    "pool",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Strategy(StrEnum):
    """What the visits of a treated patient are like after the last one observed.

    Patients of the control arm, the reference, are always imputed as missing at random, as are
    visits missed between observed ones.
    """

    MISSING_AT_RANDOM = "missing at random"
    JUMP_TO_REFERENCE = "jump to reference"
    COPY_INCREMENTS = "copy increments in reference"
    COPY_REFERENCE = "copy reference"


class Covariance(StrEnum):
    """Whether each arm has a covariance of its own (and with it slopes on earlier visits)."""

    PER_ARM = "per arm"
    COMMON = "common"


class Analysis(StrEnum):
    """How arms are compared at the last visit, treated minus control."""

    MEAN_DIFFERENCE = "difference in means"
    ANCOVA = "analysis of covariance on the first visit"


@dataclass(frozen=True)
class Model:
    """How visits are imputed.

    Parameters
    ----------
    strategy : Strategy
    covariance : Covariance
    baseline : bool
        Whether the first visit was before treatment began: then it is observed in everybody, both
        arms share its expectation, and it is conditioned on rather than compared between arms.
    """

    strategy: Strategy
    covariance: Covariance
    baseline: bool


class Draws(NamedTuple):
    """The random numbers of one imputation.

    `n_steps` is 1 where nobody misses a visit between observed ones, and otherwise the length of
    the Markov chain that ends with this imputation: 10 forget the start where few are missing.

    Attributes
    ----------
    coefficients : ndarray of float, shape (n_steps, 2, n_visits, n_visits + 1, n_reps)
        Standard normal.
    variances : ndarray of float, shape (n_steps, 2, n_visits, n_reps)
        Uniform on (0, 1).
    residuals : ndarray of float, shape (n_steps, n_patients, n_visits, n_reps)
        Standard normal.
    """

    coefficients: Floats
    variances: Floats
    residuals: Floats

    @staticmethod
    def shapes(
        n_patients: int, n_visits: int, n_reps: int, n_steps: int = 1
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Return the shapes that the three arrays must have."""
        return (
            (n_steps, 2, n_visits, n_visits + 1, n_reps),
            (n_steps, 2, n_visits, n_reps),
            (n_steps, n_patients, n_visits, n_reps),
        )


class BinaryDraws(NamedTuple):
    """The random numbers of one imputation of a binary outcome, uniform on (0, 1).

    Attributes
    ----------
    risks : ndarray of float, shape (2, n_reps)
        Control, treated.
    outcomes : ndarray of float, shape (n_patients, n_reps)
    """

    risks: Floats
    outcomes: Floats


class Estimate(NamedTuple):
    """An effect from complete data, per trial; NaN where it cannot be had.

    Attributes
    ----------
    estimate, variance, df : ndarray of float, shape (n_reps,)
        Variance of the estimate, and its degrees of freedom.
    """

    estimate: Floats
    variance: Floats
    df: Floats


class Pooled(NamedTuple):
    """An effect over all imputations, per trial.

    Attributes
    ----------
    estimate, standard_error, df : ndarray of float, shape (n_reps,)
        To be referred to Student's t with `df` degrees of freedom; NaN where `failed`.
    within, between : ndarray of float, shape (n_reps,)
        Mean variance of the estimates, and variance of the estimates.
    failed : ndarray of bool, shape (n_reps,)
        An imputation or its analysis could not be had: an empty arm, too few patients observed at
        a visit for its regression, or no variation.
    """

    estimate: Floats
    standard_error: Floats
    df: Floats
    within: Floats
    between: Floats
    failed: Bools


def pool(estimates: ArrayLike, variances: ArrayLike, df_complete: ArrayLike) -> Pooled:
    """Rubin's rules, with degrees of freedom for small samples.

    Parameters
    ----------
    estimates, variances : array of float, shape (n_imputations, n_reps)
        Of the completed data sets; at least two.
    df_complete : array of float, shape (n_reps,) or a number
        Degrees of freedom without missing values; infinite for a normal statistic.

    Returns
    -------
    Pooled
        Where the estimates do not vary, `df` is `df_complete`: there was nothing to impute.

    Raises
    ------
    ValueError
        With fewer than two imputations.

    Notes
    -----
    Total variance T = W + (1 + 1/M) B. With L = (1 + 1/M) B / T and v the complete degrees of
    freedom, 1 / df = L^2 / (M - 1) + 1 / ((v + 1) / (v + 3) v (1 - L)).

    References
    ----------
    Rubin (1987), Multiple Imputation for Nonresponse in Surveys, section 3.1; Barnard and Rubin
    (1999), Biometrika 86:948-955.
    """
    estimates, variances = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    n = len(estimates)
    if n < 2:
        raise ValueError(
            f"draws must hold at least 2 imputations; got {n}. Without the variance between them "
            "there is no standard error: 20 or more are usual."
        )
    # Distances from the first are exactly 0 where nothing was imputed.
    apart = estimates - estimates[0]
    estimate = estimates[0] + apart.mean(axis=0)
    between = ((apart - apart.mean(axis=0)) ** 2).sum(axis=0) / (n - 1)
    within = variances.mean(axis=0)
    total = within + (1 + 1 / n) * between
    df_complete = np.broadcast_to(np.asarray(df_complete, dtype=float), estimate.shape)
    failed = ~(np.isfinite(estimate) & (within > 0) & (df_complete > 0))
    missing = (1 + 1 / n) * between / np.where(failed, np.nan, total)
    finite = np.isfinite(df_complete)
    v = np.where(finite, df_complete, 1.0)
    inverse = np.where(finite, (v + 3) / np.where(failed, np.nan, (v + 1) * v), 0.0)
    rate = missing**2 / (n - 1) + inverse / np.where(missing < 1, 1 - missing, np.nan)
    df = np.where(between > 0, 1 / np.where(rate > 0, rate, np.nan), df_complete)
    estimate, error, df, within, between = (
        np.where(failed, np.nan, column)
        for column in (estimate, np.sqrt(total), df, within, between)
    )
    return Pooled(estimate, error, df, within, between, failed)


def analyse_last_visit(outcomes: Floats, treated: Bools, analysis: Analysis) -> Estimate:
    """Compare arms at the last visit, treated minus control, with equal variances.

    Parameters
    ----------
    outcomes : ndarray of float, shape (n_patients, n_visits, n_reps)
        Complete.
    treated : ndarray of bool, shape (n_patients, n_reps)
    analysis : Analysis
    """
    y = outcomes[:, -1]
    n, mean = _arms(treated), _arm_means(y, treated)
    own = y - np.where(treated, mean[1], mean[0])
    squares = (own**2).sum(axis=0)
    effect, unit, df = mean[1] - mean[0], 1 / n[0] + 1 / n[1], n[0] + n[1] - 2
    if analysis is Analysis.ANCOVA:
        x = outcomes[:, 0]
        mean_x = _arm_means(x, treated)
        own_x = x - np.where(treated, mean_x[1], mean_x[0])
        squares_x, products = (own_x**2).sum(axis=0), (own_x * own).sum(axis=0)
        squares_x = np.where(squares_x > 0, squares_x, np.nan)
        gap = mean_x[1] - mean_x[0]
        effect = effect - products / squares_x * gap
        unit, df = unit + gap**2 / squares_x, df - 1
        squares = squares - products**2 / squares_x
    usable = np.where(df > 0, df, np.nan)
    return Estimate(effect, np.maximum(squares, 0.0) / usable * unit, usable)


def _arms(treated: Bools) -> Floats:
    n = np.stack([(~treated).sum(axis=0), treated.sum(axis=0)]).astype(float)
    return np.where(n > 0, n, np.nan)


def _arm_means(y: Floats, treated: Bools) -> Floats:
    sums = np.stack([np.where(treated, 0.0, y).sum(axis=0), np.where(treated, y, 0.0).sum(axis=0)])
    return np.asarray(sums / _arms(treated))


def multiply_impute(
    outcomes: Floats, treated: Bools, draws: Iterable[Draws], model: Model, analysis: Analysis
) -> Pooled:
    """Impute as often as there are draws, compare the arms at the last visit each time, and pool.

    Parameters, exceptions: as `impute`; ANCOVA adjusts for the first visit, and is refused where
    the model has no baseline.

    Notes
    -----
    Under the reference-based strategies Rubin's variance is not that of repeated trials but above
    it: it keeps the loss of information by missing values (Cro, Carpenter and Kenward 2019,
    Journal of the Royal Statistical Society A 182:623-645).
    """
    if analysis is Analysis.ANCOVA and not model.baseline:
        raise ValueError(
            "model.baseline must be True for an analysis of covariance; got False. Put the "
            "baseline first among the visits, or compare means."
        )
    results = [
        analyse_last_visit(complete, treated, analysis)
        for complete in impute(outcomes, treated, draws, model)
    ]
    estimates = np.array([r.estimate for r in results])
    variances = np.array([r.variance for r in results])
    return pool(estimates, variances, results[0].df if results else np.nan)


class _Missing(NamedTuple):
    """Where values are missing, per trial.

    Attributes
    ----------
    last : ndarray of int, shape (n_patients, n_reps)
        Visits up to and with the last one observed; 0 for a patient without any.
    gaps : ndarray of bool, shape (n_patients, n_visits, n_reps)
        Missing before the last one observed.
    """

    last: Ints
    gaps: Bools


class _Root(NamedTuple):
    """A regression's cross-products, by Cholesky; the outcome is the last of its columns."""

    triangle: Floats  # (n_columns, n_columns, n_reps)
    df: Floats  # (n_reps,)


class _Parameters(NamedTuple):
    """Each visit given those before it, per arm: control, treated."""

    intercepts: Floats  # (2, n_visits, n_reps)
    slopes: Floats  # (2, n_visits, n_visits, n_reps)
    deviations: Floats  # (2, n_visits, n_reps)

    def of(self, arm: Ints, trial: Ints) -> tuple[Floats, Floats, Floats]:
        """Select, for patients in a row: (n, n_visits), (n, n_visits, n_visits), (n, n_visits)."""
        return (
            self.intercepts[arm, :, trial],
            self.slopes[arm, :, :, trial],
            self.deviations[arm, :, trial],
        )


def impute(
    outcomes: Floats, treated: Bools, draws: Iterable[Draws], model: Model
) -> Iterator[Floats]:
    """Complete the visits once for each of the draws.

    Parameters
    ----------
    outcomes : ndarray of float, shape (n_patients, n_visits, n_reps)
        NaN where missing.
    treated : ndarray of bool, shape (n_patients, n_reps)
    draws : iterable of Draws
        One for each imputation; may be made one by one, to save memory.
    model : Model

    Yields
    ------
    completed : ndarray of float, shape (n_patients, n_visits, n_reps)
        NaN is left where a regression that is needed could not be fitted.

    Raises
    ------
    ValueError
        For shapes that do not fit, a baseline that is missing, or draws of one step where visits
        are missed between observed ones.

    Notes
    -----
    Each visit is regressed on all before it, in the patients seen up to it. With SSE on n - k
    degrees of freedom, the variance is drawn as SSE / chi-square(n - k) and the coefficients as
    normal around least squares, given that variance (Rubin 1987, p. 167). For a monotone pattern
    this is the posterior of the joint normal distribution. With a common covariance the two arms
    share slopes and variance and each has an intercept.

    Visits missed between observed ones are filled by monotone data augmentation: given the
    parameters, each from its distribution given all other visits of that patient up to the last
    one observed; given these, the parameters anew (Schafer 1997, section 6.5). The chain starts
    from the mean of the visit.

    After the last visit observed, d, a treated patient's distance from expectation is carried on
    by the regressions of the reference arm, whatever the strategy that is reference-based. The
    expectation is that of the treated arm up to d, and after it that of the reference (jump to
    reference), that plus the difference between arms at d (copy increments); or that of the
    reference throughout (copy reference).

    References
    ----------
    Carpenter, Roger and Kenward (2013), Journal of Biopharmaceutical Statistics 23:1352-1371;
    Rubin (1987), Multiple Imputation for Nonresponse in Surveys; Schafer (1997),
    Analysis of Incomplete Multivariate Data.
    """
    missing = _where_missing(outcomes, treated, model)
    # Around the visit's mean the cross-products lose no digits.
    seen = ~np.isnan(outcomes)
    centre = np.where(seen, outcomes, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    start = np.where(seen, outcomes - centre, 0.0)
    chained = bool(missing.gaps.any())
    roots = None if chained else _roots(start, missing.last, treated, model.covariance)
    for draw in draws:
        _check_draws(draw, outcomes.shape, chained)
        y = start.copy()
        for step in range(len(draw.residuals) if chained else 1):
            parameters = _draw_parameters(
                roots or _roots(y, missing.last, treated, model.covariance),
                model.covariance,
                draw.coefficients[step],
                draw.variances[step],
            )
            if chained:
                _fill_gaps(y, missing, treated, parameters, draw.residuals[step])
        _fill_after_last(y, missing.last, treated, parameters, draw.residuals[step], model)
        yield np.where(seen, outcomes, y + centre)


def _where_missing(outcomes: Floats, treated: Bools, model: Model) -> _Missing:
    if outcomes.ndim != 3 or treated.shape != outcomes[:, 0].shape:
        raise ValueError(
            f"treated must have shape (n_patients, n_reps) as outcomes of shape (n_patients, "
            f"n_visits, n_reps); got {treated.shape} and {outcomes.shape}. Put trials last."
        )
    absent = np.isnan(outcomes)
    if model.baseline and absent[:, 0].any():
        raise ValueError(
            f"outcomes[:, 0] must be observed where the model has a baseline; got "
            f"{int(absent[:, 0].sum())} missing. Say baseline=False, and it is imputed."
        )
    visits = np.arange(1, outcomes.shape[1] + 1)[None, :, None]
    last = np.where(absent, 0, visits).max(axis=1)
    return _Missing(last, absent & (visits <= last[:, None]))


def _check_draws(draw: Draws, shape: tuple[int, ...], chained: bool) -> None:
    n_steps = len(draw.residuals)
    if chained and n_steps < 2:
        raise ValueError(
            f"draws must have at least 2 steps where visits are missed between observed ones; got "
            f"{n_steps}. Give 10 or more: the last is kept."
        )
    needed = Draws.shapes(shape[0], shape[1], shape[2], n_steps)
    given = tuple(np.shape(array) for array in draw)
    if given != needed:
        raise ValueError(
            f"draws must have shapes {needed} for outcomes of shape {shape}; got {given}. "
            "Draws.shapes says them."
        )


def _roots(y: Floats, last: Ints, treated: Bools, covariance: Covariance) -> list[list[_Root]]:
    """Regress each visit on those before it: one list per arm, or one for both."""
    arms = [~treated, treated]
    one = np.ones(treated.shape)
    if covariance is Covariance.COMMON:
        return [[_root([*arms, *_upto(y, j)], last > j) for j in range(y.shape[1])]]
    return [[_root([one, *_upto(y, j)], (last > j) & a) for j in range(y.shape[1])] for a in arms]


def _upto(y: Floats, j: int) -> list[Floats]:
    return [y[:, k] for k in range(j + 1)]


def _root(columns: list[NDArray[np.generic]], used: Bools) -> _Root:
    design = np.stack([np.where(used, column, 0.0) for column in columns])
    gram = np.einsum("ipr,jpr->ijr", design, design)
    k = len(gram)
    triangle = np.zeros_like(gram)
    for i in range(k):
        left = gram[i, i] - (triangle[i, :i] ** 2).sum(axis=0)
        # A column that those before it explain: no regression, hence NaN from here on.
        pivot = np.sqrt(np.where(left > 1e-12 * gram[i, i], left, np.nan))
        triangle[i, i] = pivot
        rest = gram[i + 1 :, i] - (triangle[i + 1 :, :i] * triangle[i, :i]).sum(axis=1)
        triangle[i + 1 :, i] = rest / pivot
    df = used.sum(axis=0) - (k - 1.0)
    return _Root(triangle, np.where(df > 0, df, np.nan))


def _draw_parameters(
    roots: list[list[_Root]], covariance: Covariance, normals: Floats, uniforms: Floats
) -> _Parameters:
    n_visits, n_reps = uniforms.shape[1:]
    common = covariance is Covariance.COMMON
    parameters = _Parameters(
        np.empty((2, n_visits, n_reps)),
        np.zeros((2, n_visits, n_visits, n_reps)),
        np.empty((2, n_visits, n_reps)),
    )
    for arm in range(2):
        own = 0 if common else arm
        for j, root in enumerate(roots[own]):
            coefficients, deviation = _draw_regression(root, normals[own, j], uniforms[own, j])
            n_intercepts = 2 if common else 1
            parameters.intercepts[arm, j] = coefficients[arm if common else 0]
            parameters.slopes[arm, j, :j] = coefficients[n_intercepts:]
            parameters.deviations[arm, j] = deviation
    return parameters


def _draw_regression(root: _Root, normals: Floats, uniform: Floats) -> tuple[Floats, Floats]:
    triangle, df = root
    k = len(triangle) - 1
    chi_square = 2 * gammaincinv(df / 2, np.maximum(uniform, 2.0**-54))
    deviation = triangle[k, k] / np.sqrt(chi_square)
    right = triangle[k, :k] + deviation * normals[:k]
    coefficients = np.empty_like(right)
    for i in range(k - 1, -1, -1):
        later = (triangle[i + 1 : k, i] * coefficients[i + 1 :]).sum(axis=0)
        coefficients[i] = (right[i] - later) / triangle[i, i]
    return coefficients, deviation


def _fill_gaps(
    y: Floats, missing: _Missing, treated: Bools, parameters: _Parameters, normals: Floats
) -> None:
    patient, trial = np.nonzero(missing.gaps.any(axis=1))
    intercepts, slopes, deviations = parameters.of(treated[patient, trial].astype(int), trial)
    own, gaps = y[patient, :, trial], missing.gaps[patient, :, trial]
    visits = np.arange(y.shape[1])
    in_use = visits < missing.last[patient, trial][:, None]
    precisions = np.where(in_use, deviations**-2, 0.0)
    for j in np.flatnonzero(gaps.any(axis=0)):
        # The density of a row is a product over its visits; in visit j its logarithm is quadratic.
        off = np.where(in_use, own - intercepts - np.einsum("nkl,nl->nk", slopes, own), 0.0)
        pull = np.where(visits == j, -1.0, slopes[:, :, j])
        precision = (pull**2 * precisions).sum(axis=1)
        step = (pull * off * precisions).sum(axis=1) / precision
        new = own[:, j] + step + normals[patient, j, trial] / np.sqrt(precision)
        own[:, j] = np.where(gaps[:, j], new, own[:, j])
    y[patient, :, trial] = own


def _fill_after_last(
    y: Floats,
    last: Ints,
    treated: Bools,
    parameters: _Parameters,
    normals: Floats,
    model: Model,
) -> None:
    n_visits = y.shape[1]
    patient, trial = np.nonzero(last < n_visits)
    arm, seen = treated[patient, trial].astype(int), last[patient, trial]
    own, z = y[patient, :, trial], normals[patient, :, trial]
    by_reference = model.strategy is not Strategy.MISSING_AT_RANDOM
    source = np.zeros_like(arm) if by_reference else arm
    intercepts, slopes, deviations = parameters.of(source, trial)
    # How far a patient's expectation is from that of the reference arm.
    ahead = np.zeros_like(own)
    if model.strategy in (Strategy.JUMP_TO_REFERENCE, Strategy.COPY_INCREMENTS):
        ahead = _ahead(own, arm, seen, trial, parameters, model)
    for j in range(n_visits):
        earlier = ((own[:, :j] - ahead[:, :j]) * slopes[:, j, :j]).sum(axis=1)
        new = intercepts[:, j] + earlier + ahead[:, j] + deviations[:, j] * z[:, j]
        own[:, j] = np.where(j < seen, own[:, j], new)
    y[patient, :, trial] = own


def _ahead(
    own: Floats, arm: Ints, seen: Ints, trial: Ints, parameters: _Parameters, model: Model
) -> Floats:
    """Return each patient's expectation less that of the reference arm, (n, n_visits)."""
    means = []
    for of_arm in range(2):
        intercepts, slopes, _ = parameters.of(np.full_like(arm, of_arm), trial)
        mean = np.empty_like(own)
        for j in range(own.shape[1]):
            mean[:, j] = intercepts[:, j] + (slopes[:, j, :j] * mean[:, :j]).sum(axis=1)
            if j == 0 and model.baseline:
                mean[:, 0] = own[:, 0]  # conditioned on: no difference between arms in it
        means.append(mean)
    ahead = np.where(arm[:, None] == 1, means[1] - means[0], 0.0)
    keeps = model.strategy is Strategy.COPY_INCREMENTS
    for j in range(own.shape[1]):
        after = (ahead[:, j - 1] if j else 0.0) if keeps else 0.0
        ahead[:, j] = np.where(j < seen, ahead[:, j], after)
    return ahead


def impute_binary(
    outcomes: Floats, treated: Bools, draws: Iterable[BinaryDraws], prior: float = 0.5
) -> Iterator[Floats]:
    """Complete a binary outcome within arms, once for each of the draws.

    Parameters
    ----------
    outcomes : ndarray of float, shape (n_patients, n_reps)
        1 with the event, 0 without, NaN where missing.
    treated : ndarray of bool, shape (n_patients, n_reps)
    draws : iterable of BinaryDraws
        One for each imputation.
    prior : float
        Added to the events and to the others of an arm: 1/2 is Jeffreys' prior, 1 the uniform one.

    Yields
    ------
    completed : ndarray of float, shape (n_patients, n_reps)
        NaN is left in an arm of which nobody was observed.

    Raises
    ------
    ValueError
        For shapes that do not fit, a prior that is not above 0, or other outcomes.

    Notes
    -----
    Missing at random within the arm: the risk is drawn from Beta(events + prior, others + prior),
    its posterior, and each missing outcome from that risk.

    References
    ----------
    Rubin (1987), Multiple Imputation for Nonresponse in Surveys, chapter 5; Jeffreys (1946),
    Proceedings of the Royal Society A 186:453-461.
    """
    absent = np.isnan(outcomes)
    _check_binary(outcomes[~absent], outcomes.shape, treated.shape, prior)
    events, others = (
        np.stack([((outcomes == value) & arm).sum(axis=0) for arm in (~treated, treated)])
        for value in (1, 0)
    )
    for draw in draws:
        if draw.risks.shape != events.shape or draw.outcomes.shape != outcomes.shape:
            raise ValueError(
                f"draws must have shapes {events.shape} and {outcomes.shape}; got "
                f"{draw.risks.shape} and {draw.outcomes.shape}. Give one uniform per arm and trial,"
                " and one per patient and trial."
            )
        risk = betaincinv(events + prior, others + prior, draw.risks)
        risk = np.where(events + others > 0, risk, np.nan)
        own = np.where(treated, risk[1], risk[0])
        drawn = np.where(np.isnan(own), np.nan, draw.outcomes < own)
        yield np.where(absent, drawn, outcomes)


def _check_binary(
    observed: Floats, shape: tuple[int, ...], arms: tuple[int, ...], prior: float
) -> None:
    if len(shape) != 2 or arms != shape:
        raise ValueError(
            f"outcomes and treated must have shape (n_patients, n_reps); got {shape} and {arms}. "
            "Put trials last."
        )
    if not prior > 0:
        raise ValueError(
            f"prior must be above 0; got {prior:g}. An arm without events would have risk 0 in "
            "every imputation: 0.5 is Jeffreys' prior."
        )
    if not np.isin(observed, (0, 1)).all():
        wrong = observed[~np.isin(observed, (0, 1))][0]
        raise ValueError(f"outcomes must be 0, 1 or NaN; got {wrong:g}. Code the event as 1.")


_CONTRASTS = {
    Scale.RISK_DIFFERENCE: risk_difference,
    Scale.RISK_RATIO: log_risk_ratio,
    Scale.ODDS_RATIO: log_odds_ratio,
}


def multiply_impute_binary(
    outcomes: Floats,
    treated: Bools,
    draws: Iterable[BinaryDraws],
    scale: Scale,
    prior: float = 0.5,
) -> Pooled:
    """Impute a binary outcome as often as there are draws, compare the risks, and pool.

    Parameters, exceptions: as `impute_binary`. Ratios are pooled as logarithms, and all as normal
    statistics (infinite degrees of freedom without missing values).
    """
    n_treated, n_control = treated.sum(axis=0), (~treated).sum(axis=0)
    results: list[Contrast] = []
    for complete in impute_binary(outcomes, treated, draws, prior):
        events = np.where(treated, complete, 0.0).sum(axis=0)
        others = np.where(treated, 0.0, complete).sum(axis=0)
        results.append(_CONTRASTS[scale](events, n_treated, others, n_control))
    estimates = np.array([r.estimate for r in results])
    return pool(estimates, np.array([r.standard_error**2 for r in results]), np.inf)
