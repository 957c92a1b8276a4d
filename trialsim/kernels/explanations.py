"""How likely explanations make a literature: marginal likelihoods, posteriors, predictions.

Records are log ratios, below 0 in favour of treatment; each is the mean of `n_trials` trials of one
size. Contrasts are log ratios of effects in two parts of one trial, independent of the records. An
explanation integrates everything but the spread between populations, or effect and strength of a
filter, in closed form; these by quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri

__all__ = [
    "Contrasts",
    "FilteredExplanation",
    "LinearExplanation",
    "NextRecords",
    "Posterior",
    "Records",
    "draw_ahead",
    "draw_records",
    "log_marginal",
    "log_predictive",
    "posterior_of",
    "prior_combination",
    "SelectedMean",
]

Floats = NDArray[np.float64]

_Z = 1.959963984540054  # significant: P below 0.05, two-sided
_TAU_NODES, _TAU_REACH = 40, 6.0
_EFFECTS, _EFFECT_REACH, _STRENGTHS = 181, 5.5, 10
_CELLS, _CELL_REACH = 512, 8.0
_AT_ONCE = 256  # literatures, so that arrays stay in memory
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Records:
    """What is known of the error of each record.

    Attributes
    ----------
    variances : ndarray of float, shape (n,)
        Squared standard errors of the log ratios.
    n_trials : ndarray of float, shape (n,)
        Trials of equal size that each is the mean of.
    """

    variances: Floats
    n_trials: Floats


@dataclass(frozen=True)
class Contrasts:
    """Log ratios of the effects in two parts of a trial.

    Attributes
    ----------
    errors : ndarray of float, shape (q,)
    selected : ndarray of bool, shape (q,)
        Reported because it was significant: its distribution is cut off at 1.96 errors.
    """

    errors: Floats = field(default_factory=lambda: np.zeros(0))
    selected: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True)
class LinearExplanation:
    """Effects are ``design @ coefficients``, and differ between trials by chance around that.

    Attributes
    ----------
    design : ndarray of float, shape (n, p)
        The first column is the effect in sound trials.
    means, variances : ndarray of float, shape (p,)
        Of the normal prior of the coefficients.
    own_variances : ndarray of float, shape (n,)
        Of the bias between trials, in each trial of a record.
    tau_scale : float
        Scale of the half-normal prior of the standard deviation between populations; 0: none.
    """

    design: Floats
    means: Floats
    variances: Floats
    own_variances: Floats
    tau_scale: float = 0.0


@dataclass(frozen=True)
class FilteredExplanation:
    """One effect; trials of some records are published if significant in favour, else seldom.

    Attributes
    ----------
    filtered : ndarray of bool, shape (n,)
    effect_mean, effect_sd : float
        Of the normal prior of the effect.
    log_odds_mean, log_odds_sd : float
        Of the normal prior of the log odds ratio of being published, significant to not.
    published : float
        Share of the significant trials that are published.
    """

    filtered: NDArray[np.bool_]
    effect_mean: float
    effect_sd: float
    log_odds_mean: float
    log_odds_sd: float
    published: float

    def strength(self, log_odds: Floats) -> Floats:
        """Return the share of publishable trials that a filter holds back for want of P < 0.05."""
        odds = self.published / (1 - self.published) / np.exp(log_odds)
        return np.clip(1 - odds / (1 + odds) / self.published, 0.0, 1.0)


Explained = LinearExplanation | FilteredExplanation


class Posterior(NamedTuple):
    """A mixture over nodes of what is not integrated in closed form.

    Attributes
    ----------
    weights : ndarray of float, shape (g,)
    means : ndarray of float, shape (g, p)
    covariances : ndarray of float, shape (g, p, p)
        Of the coefficients at each node; the first is the effect in sound trials.
    tau2 : ndarray of float, shape (g,)
        Variance between populations.
    """

    weights: Floats
    means: Floats
    covariances: Floats
    tau2: Floats


class NextRecords(NamedTuple):
    """Records of trials to come: as `Records`, with their rows of an explanation's design."""

    records: Records
    design: Floats
    own_variances: Floats
    contrasts: Contrasts


def _tau_nodes(scale: float) -> tuple[Floats, Floats]:
    """Return nodes and log weights of a half-normal by Gauss and Legendre."""
    if scale == 0:
        return np.zeros(1), np.zeros(1)
    x, w = np.polynomial.legendre.leggauss(_TAU_NODES)
    t = (x + 1) * _TAU_REACH / 2
    density = np.exp(-(t**2) / 2) * np.sqrt(2 / np.pi)
    weights = w * _TAU_REACH / 2 * density
    return scale * t, np.log(weights / weights.sum())


def _filter_nodes(own: FilteredExplanation) -> tuple[Floats, Floats, Floats, Floats]:
    """Return effects and strengths with their log weights.

    Effects by the trapezium rule; strengths by Gauss and Legendre where there is a filter, and one
    node for where there is none.
    """
    t = np.linspace(-_EFFECT_REACH, _EFFECT_REACH, _EFFECTS)
    log_t = -(t**2) / 2
    none = float(ndtr(-own.log_odds_mean / own.log_odds_sd))
    low = max(0.0, own.log_odds_mean - _EFFECT_REACH * own.log_odds_sd)
    high = max(0.0, own.log_odds_mean + _EFFECT_REACH * own.log_odds_sd)
    x, w = np.polynomial.legendre.leggauss(_STRENGTHS)
    log_odds = low + (high - low) * (x + 1) / 2
    z = (log_odds - own.log_odds_mean) / own.log_odds_sd
    w = w * np.exp(-(z**2) / 2) + 1e-300  # where no strength is above 0
    weights = np.concatenate([[none], w / w.sum() * (1 - none)])
    strengths = own.strength(np.concatenate([[0.0], log_odds]))
    effects = own.effect_mean + own.effect_sd * t
    log_weights = np.log(np.maximum(weights, 1e-300))
    return effects, log_t - logsumexp(log_t), strengths, log_weights


def _log_contrasts(c: Floats, contrasts: Contrasts, tau2: Floats) -> Floats:
    """Return log densities of contrasts, shape (m, g): of two parts that differ by `tau2` each."""
    total = np.zeros((len(c), len(tau2)))
    for j, (error, selected) in enumerate(zip(contrasts.errors, contrasts.selected, strict=True)):
        sd = np.sqrt(error**2 + 2 * tau2)
        total += -((c[:, j, None] / sd) ** 2) / 2 - np.log(sd) - _LOG_2PI / 2
        if selected:
            total -= np.log(2) + log_ndtr(-_Z * error / sd)
    return total


def _spread(records: Records, own: Floats, tau2: float) -> Floats:
    return np.asarray(records.variances + (own + tau2) / records.n_trials)


def _log_normal(residuals: Floats, covariance: Floats) -> Floats:
    """Return multivariate normal log densities of rows."""
    if not residuals.shape[1]:
        return np.zeros(len(residuals))
    lower = np.linalg.cholesky(covariance)
    z = np.linalg.solve(lower, residuals.T)
    half = np.log(np.diagonal(lower)).sum()
    return np.asarray(-(z**2).sum(axis=0) / 2 - half - residuals.shape[1] * _LOG_2PI / 2)


def _log_at_nodes(
    own: Explained,
    records: Records,
    contrasts: Contrasts,
    y: Floats,
    c: Floats,
    filters: list[SelectedMean | None] | None = None,
) -> Floats:
    """Return log weight plus log likelihood at every node, shape (m, nodes)."""
    if isinstance(own, LinearExplanation):
        taus, log_weights = _tau_nodes(own.tau_scale)
        residuals = y - own.design @ own.means
        shared = (own.design * own.variances) @ own.design.T
        columns = [
            _log_normal(
                residuals, shared + np.diag(_spread(records, own.own_variances, float(tau) ** 2))
            )
            for tau in taus
        ]
        return np.stack(columns, axis=1) + _log_contrasts(c, contrasts, taus**2) + log_weights
    effects, log_effects, strengths, log_strengths = _filter_nodes(own)
    filters = filters or _filters(own, records)
    total = np.zeros((len(y), len(effects), len(strengths)))
    total += log_effects[:, None] + log_strengths
    for i, one in enumerate(filters):
        if one is not None:
            total += one.log_density(y[:, i])
        else:
            sd = float(np.sqrt(records.variances[i]))
            z = (y[:, i, None] - effects) / sd
            total += (-(z**2) / 2 - np.log(sd) - _LOG_2PI / 2)[:, :, None]
    none = _log_contrasts(c, contrasts, np.zeros(1))
    return total.reshape(len(y), -1) + none


def _filters(own: FilteredExplanation, records: Records) -> list[SelectedMean | None]:
    prior = (own.effect_mean, own.effect_sd, own.log_odds_mean, own.log_odds_sd, own.published)
    return [
        _selected_mean(prior, float(variance), int(k)) if filtered else None
        for filtered, variance, k in zip(
            own.filtered, records.variances, records.n_trials, strict=True
        )
    ]


@lru_cache(maxsize=4)  # a table of several trials takes 20 MB and half a second
def _selected_mean(prior: tuple[float, ...], variance: float, n_trials: int) -> SelectedMean:
    own = FilteredExplanation(np.ones(1, dtype=bool), *prior)
    effects, _, strengths, _ = _filter_nodes(own)
    return SelectedMean(effects, strengths, float(np.sqrt(variance)), n_trials)


class SelectedMean:
    """The mean of published trials under a filter, for many effects and strengths at once.

    A trial significant in favour is published, another with probability ``1 - strength``.

    Parameters
    ----------
    effects : ndarray of float, shape (g,)
    strengths : ndarray of float, shape (s,)
    error : float
        Standard error of the mean of as many trials without a filter.
    n_trials : int
        Trials of equal size.

    Notes
    -----
    Of one trial exact: the normal density times its chance to be published, over that chance's
    mean (Hedges 1992, Statistical Science 7:246-255). Of several the convolution on a lattice of
    1/32 standard errors of one trial, whose error in the log density is below 1e-3 in the body.
    """

    def __init__(self, effects: Floats, strengths: Floats, error: float, n_trials: int) -> None:
        self._sd = error * float(np.sqrt(n_trials))
        self._n_trials = n_trials
        self._mu = mu = effects / self._sd
        self._kept = kept = 1 - strengths
        norm = ndtr(-_Z - mu)[:, None] + kept * ndtr(_Z + mu)[:, None]  # (g, s)
        self._log_norm = np.log(norm)
        if n_trials == 1:
            return
        edges = np.linspace(-_CELL_REACH, _CELL_REACH, _CELLS + 1)
        self._step = float(edges[1] - edges[0])
        self._first = n_trials * (float(edges[0]) + self._step / 2)
        cut = (-_Z - mu)[:, None]
        below = np.diff(ndtr(np.minimum(edges, cut)))  # (g, cells)
        above = np.diff(ndtr(np.maximum(edges, cut)))
        size = 1 << int(np.ceil(np.log2(n_trials * _CELLS)))
        lattice = n_trials * (_CELLS - 1) + 1
        self._log_sums = np.empty((len(mu), lattice, len(kept)), dtype=np.float32)
        for g in range(len(mu)):
            cells = (below[g] + kept[:, None] * above[g]) / norm[g, :, None]
            sums = np.fft.irfft(np.fft.rfft(cells, size, axis=1) ** n_trials, size, axis=1)
            self._log_sums[g] = np.log(np.maximum(sums[:, :lattice], 1e-300)).T

    def log_density(self, y: Floats) -> Floats:
        """Return log densities of means `y`, shape (m,), as (m, g, s)."""
        z = y[:, None] / self._sd - self._mu
        if self._n_trials == 1:
            out = np.log(np.maximum(self._kept, 1e-300))
            held = np.where((y < -_Z * self._sd)[:, None, None], 0.0, out)
            log_phi = -(z**2) / 2 - np.log(self._sd) - _LOG_2PI / 2
            return np.asarray(log_phi[:, :, None] + held - self._log_norm)
        last = self._n_trials * (_CELLS - 1)
        place = np.clip((self._n_trials * z - self._first) / self._step, 0, last)
        low = np.minimum(place.astype(int), last - 1)
        part = (place - low)[:, :, None]
        g = np.arange(len(self._mu))
        found = (1 - part) * self._log_sums[g, low] + part * self._log_sums[g, low + 1]
        return np.asarray(found + np.log(self._n_trials / (self._step * self._sd)))


def log_marginal(
    own: Explained, records: Records, contrasts: Contrasts, y: Floats, c: Floats
) -> Floats:
    """Return the log marginal likelihoods of literatures under an explanation.

    Parameters
    ----------
    y : ndarray of float, shape (m, n)
        One literature per row.
    c : ndarray of float, shape (m, q)

    Returns
    -------
    ndarray of float, shape (m,)
    """
    filters = _filters(own, records) if isinstance(own, FilteredExplanation) else None
    parts = []
    for i in range(0, len(y), _AT_ONCE):
        some = slice(i, i + _AT_ONCE)
        logs = _log_at_nodes(own, records, contrasts, y[some], c[some], filters)
        parts.append(logsumexp(logs, axis=1))
    return np.concatenate(parts) if parts else np.zeros(0)


def posterior_of(
    own: Explained, records: Records, contrasts: Contrasts, y: Floats, c: Floats
) -> Posterior:
    """Return what one literature, `y` of shape (n,) and `c` of shape (q,), leaves open."""
    logs = _log_at_nodes(own, records, contrasts, y[None, :], c[None, :])[0]
    weights = np.exp(logs - logsumexp(logs))
    if isinstance(own, FilteredExplanation):
        effects = _filter_nodes(own)[0]
        weights = weights.reshape(len(effects), -1).sum(axis=1)
        nothing = np.zeros((len(effects), 1, 1))
        return Posterior(weights, effects[:, None], nothing, np.zeros(len(effects)))
    taus, _ = _tau_nodes(own.tau_scale)
    means, covariances = [], []
    prior = np.diag(1 / own.variances)
    for tau in taus:
        precision = own.design.T / _spread(records, own.own_variances, float(tau) ** 2)
        covariance = np.linalg.inv(prior + precision @ own.design)
        covariances.append(covariance)
        means.append(covariance @ (own.means / own.variances + precision @ y))
    return Posterior(weights, np.array(means), np.array(covariances), taus**2)


def log_predictive(posterior: Posterior, ahead: NextRecords, y: Floats, c: Floats) -> Floats:
    """Return log densities of records to come, `y` of shape (m, r) and `c` of shape (m, q).

    Nothing is held back by a filter.
    """
    columns = []
    for mean, covariance, tau2 in zip(
        posterior.means, posterior.covariances, posterior.tau2, strict=True
    ):
        spread = _spread(ahead.records, ahead.own_variances, float(tau2))
        whole = ahead.design @ covariance @ ahead.design.T + np.diag(spread)
        columns.append(_log_normal(y - ahead.design @ mean, whole))
    logs = np.stack(columns, axis=1) + _log_contrasts(c, ahead.contrasts, posterior.tau2)
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(logs + np.log(posterior.weights), axis=1))


def prior_combination(
    own: LinearExplanation, records: Records, loadings: Floats
) -> tuple[float, Floats, Floats]:
    """Return how ``y @ loadings`` is distributed before any record is seen: a mixture of normals.

    Parameters
    ----------
    loadings : ndarray of float, shape (n,)

    Returns
    -------
    mean : float
        The same in every part.
    errors, shares : ndarray of float, shape (nodes,)
        One part for each node of the spread between populations.
    """
    taus, log_weights = _tau_nodes(own.tau_scale)
    rows = loadings @ own.design
    shared = float(rows**2 @ own.variances)
    own_parts = [
        float(loadings**2 @ _spread(records, own.own_variances, float(tau) ** 2)) for tau in taus
    ]
    return float(rows @ own.means), np.sqrt(shared + np.array(own_parts)), np.exp(log_weights)


def draw_ahead(
    posterior: Posterior, ahead: NextRecords, n: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return `n` draws of records to come and their contrasts."""
    node = rng.choice(len(posterior.weights), n, p=posterior.weights)
    tau2 = posterior.tau2[node]
    roots = np.array([_root(covariance) for covariance in posterior.covariances])
    luck = rng.standard_normal((n, posterior.means.shape[1]))
    coefficients = posterior.means[node] + np.einsum("npq,nq->np", roots[node], luck)
    spread = (
        ahead.records.variances + (ahead.own_variances + tau2[:, None]) / ahead.records.n_trials
    )
    y = coefficients @ ahead.design.T
    y = y + np.sqrt(spread) * rng.standard_normal(y.shape)
    return y, _draw_contrasts(ahead.contrasts, tau2, rng)


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _draw_contrasts(contrasts: Contrasts, tau2: Floats, rng: np.random.Generator) -> Floats:
    sd = np.sqrt(contrasts.errors**2 + 2 * tau2[:, None])
    u = rng.uniform(size=sd.shape)
    tail = np.where(contrasts.selected, ndtr(-_Z * contrasts.errors / sd), 0.5)
    z = ndtri(np.maximum(u * tail, 1e-300))
    return np.asarray(z * sd * rng.choice([-1.0, 1.0], sd.shape))


def draw_records(
    own: Explained, records: Records, contrasts: Contrasts, n: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return `n` literatures drawn from the prior of an explanation: records and contrasts.

    Returns
    -------
    ndarray of float, shape (n, n_records), and of shape (n, n_contrasts)
    """
    if isinstance(own, LinearExplanation):
        tau2 = (own.tau_scale * rng.standard_normal(n)) ** 2
        luck = rng.standard_normal((n, len(own.means)))
        y = (own.means + np.sqrt(own.variances) * luck) @ own.design.T
        spread = records.variances + (own.own_variances + tau2[:, None]) / records.n_trials
        y = y + np.sqrt(spread) * rng.standard_normal(y.shape)
        return y, _draw_contrasts(contrasts, tau2, rng)
    effect = own.effect_mean + own.effect_sd * rng.standard_normal(n)
    strength = own.strength(own.log_odds_mean + own.log_odds_sd * rng.standard_normal(n))
    y = np.empty((n, len(own.filtered)))
    for i, filtered in enumerate(own.filtered):
        k, sd = int(records.n_trials[i]), np.sqrt(records.variances[i])
        if not filtered:
            y[:, i] = effect + sd * rng.standard_normal(n)
            continue
        mu = (effect / (sd * np.sqrt(k)))[:, None]
        y[:, i] = sd * np.sqrt(k) * _draw_selected(mu, strength[:, None], (n, k), rng).mean(axis=1)
    return y, _draw_contrasts(contrasts, np.zeros(n), rng)


def _draw_selected(
    mu: Floats, strength: Floats, shape: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Return z of published trials: a mixture of both sides of -1.96, each by inversion."""
    favour = ndtr(-_Z - mu)
    share = favour / (favour + (1 - strength) * (1 - favour))
    in_favour = rng.uniform(size=shape) < share
    u = rng.uniform(size=shape)
    below = ndtri(np.clip(u * favour, 1e-300, 1.0))
    above = -ndtri(np.clip(u * ndtr(_Z + mu), 1e-300, 1.0))
    return np.asarray(mu + np.where(in_favour, below, above))
