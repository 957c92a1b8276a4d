"""Which explanation fits conflicting results: weights, what they rest on, what would tell more.

Explanations, records and priors come from a file; nothing here knows what is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import combinations
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, ndtr

from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.kernels.explanations import (
    Contrasts,
    Explained,
    FilteredExplanation,
    LinearExplanation,
    NextRecords,
    Posterior,
    Records,
    draw_ahead,
    draw_records,
    log_marginal,
    log_predictive,
    posterior_of,
)
from trialsim.protocol.endpoints import Better
from trialsim.protocol.published.evidence import BiasEstimate, MetaEpidemiology
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.reconciliation import (
    Candidate,
    Explanation,
    Filtering,
    Reconciliation,
    Shift,
    ShiftSize,
    Spread,
    Unmeasured,
    Varying,
)
from trialsim.streams import Decision, Streams
from trialsim.studies.conflict.reconciled_records import Entered, contrast_entered, entered

__all__ = [
    "ALIKE",
    "AVERAGED",
    "CLEAR",
    "Information",
    "Pair",
    "Reconciled",
    "Reconciling",
    "Reference",
    "ShiftPrior",
    "Tau2",
    "Which",
    "plan_reconciliation",
    "reweighted",
    "unmodelled_because",
]

Floats = NDArray[np.float64]

AVERAGED = "averaged"
CLEAR = 0.8  # the weight above which an explanation is said to fit
ALIKE = 0.5  # of two: right this often or less, and they cannot be told apart
_Z95 = 1.959963984540054
_LEAST = 1e-9


class Which(StrEnum):
    """A set of records."""

    ALL = "all records"
    NO_DOCUMENTS = "without numbers only a document states"
    NO_CONTRASTS = "without parts of trials"
    AS_PLANNED = "parts of trials as if planned"


@dataclass(frozen=True)
class Reference:
    """Literatures drawn from the prior of every explanation, and what they say.

    Attributes
    ----------
    log_marginals : ndarray of float, shape (drawn, n, judged)
        Explanation a literature is drawn from, literature, explanation it is judged by.
    gaps : ndarray of float, shape (drawn, n)
        Log ratio of the ratios of the two sides.
    y : ndarray of float, shape (drawn, n, n_records)
        Log ratios of the records, below 0 in favour.
    """

    log_marginals: Floats
    gaps: Floats
    y: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @property
    def n(self) -> int:
        """Literatures of each explanation."""
        return int(self.log_marginals.shape[1])

    def weights(self, prior: Floats) -> Floats:
        """Return posterior weights, shape (drawn, n, judged)."""
        logs = self.log_marginals + np.log(prior)
        return np.asarray(np.exp(logs - logsumexp(logs, axis=2, keepdims=True)))

    def confusion(self, prior: Floats) -> Floats:
        """Return how often each explanation comes first, by the one drawn from."""
        first = self.weights(prior).argmax(axis=2)
        return np.stack([(first == j).mean(axis=1) for j in range(len(prior))], axis=1)

    def calibration_error(self, prior: Floats, bins: int = 10) -> float:
        """Return the expected calibration error of all weights.

        Literatures count by the prior of the explanation they are drawn from; every weight is a
        statement that its explanation is the right one. Mean distance of stated weight and share
        of right ones over equal bins (Guo et al. 2017, PMLR 70:1321-1330).
        """
        stated = self.weights(prior)
        right = np.broadcast_to(np.eye(len(prior))[:, None, :], stated.shape)
        mass = np.broadcast_to(prior[:, None, None] / self.n, stated.shape)
        place = np.minimum((stated * bins).astype(int), bins - 1)
        gaps = [abs(float((mass * (right - stated))[place == b].sum())) for b in range(bins)]
        return float(sum(gaps) / mass.sum())


class Tau2(StrEnum):
    """What a published tau squared is, whose source does not say between what it is."""

    UNUSED = "not used"
    PHI = "phi squared"
    KAPPA = "kappa squared"


class Pair(NamedTuple):
    """Two explanations, and how often literatures like this tell them apart.

    Attributes
    ----------
    told_apart : float
        Share of literatures drawn from either in which the right one has more than `CLEAR` of the
        weight of the two, both as likely beforehand.
    differ_in : tuple of str
        Records they shift differently; empty where the difference is no shift.
    """

    first: str
    second: str
    told_apart: float
    mcse: float
    differ_in: tuple[str, ...] | None

    @property
    def is_open(self) -> bool:
        """Whether they cannot be told apart."""
        return self.told_apart <= ALIKE


class Information(NamedTuple):
    """What a candidate is expected to tell, of what is not known."""

    candidate: Candidate
    bits: float
    mcse: float
    settles: float  # chance that some explanation gets more than CLEAR
    settles_mcse: float


class Averaged(NamedTuple):
    """A ratio with its 95% interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Reconciled:
    """What one set of records says.

    Attributes
    ----------
    entered, contrasts : tuple of Entered
        By record, and by contrast.
    known : dict
        Log marginal likelihoods that need not be computed again.
    """

    plan: Reconciling
    entered: tuple[Entered, ...]
    contrasts: tuple[Entered, ...]
    which: Which
    known: Mapping[str, float] = field(default_factory=dict)

    @property
    def direction(self) -> float:
        """-1 where higher ratios favour treatment: kernels take lower ones to."""
        return 1.0 if self.plan.file.better is Better.LOWER else -1.0

    @property
    def y(self) -> Floats:
        """Log ratios, below 0 in favour."""
        return self.direction * np.array([e.value for e in self.entered])

    @property
    def c(self) -> Floats:
        """Log ratios of effects in two parts."""
        return self.direction * np.array([e.value for e in self.contrasts])

    @cached_property
    def records(self) -> Records:
        """Errors of the records."""
        variances = np.array([e.error**2 for e in self.entered])
        return Records(variances, np.array([float(r.n_trials) for r in self.plan.file.records]))

    @cached_property
    def splits(self) -> Contrasts:
        """Errors of the contrasts."""
        declared = [c.because == "significant" for c in self.plan.file.contrasts]
        selected = [s and self.which is not Which.AS_PLANNED for s in declared][: len(self.c)]
        return Contrasts(
            np.array([e.error for e in self.contrasts]), np.array(selected, dtype=bool)
        )

    @cached_property
    def log_marginals(self) -> Floats:
        """Of each modelled explanation."""
        data = (self.records, self.splits, self.y[None, :], self.c[None, :])
        return np.array(
            [
                self.known[name] if name in self.known else log_marginal(model, *data)[0]
                for name, model in self.plan.models.items()
            ]
        )

    @cached_property
    def weights(self) -> dict[str, float]:
        """Posterior weights; an explanation without data keeps its own."""
        prior = self.plan.prior
        if not self.plan.file.has_records:
            return dict(prior)
        names = list(self.plan.models)
        logs = self.log_marginals + np.log([prior[n] for n in names])
        shares = np.exp(logs - logsumexp(logs)) * sum(prior[n] for n in names)
        return {**prior, **dict(zip(names, shares.tolist(), strict=True))}

    @cached_property
    def posteriors(self) -> dict[str, Posterior]:
        """Of each modelled explanation."""
        data = (self.records, self.splits, self.y, self.c)
        return {name: posterior_of(model, *data) for name, model in self.plan.models.items()}

    @property
    def best(self) -> str | None:
        """The explanation that records bring above `CLEAR`; None: cannot tell.

        One without data, or above it beforehand, is there by its prior alone.
        """
        name = max(self.weights, key=lambda n: self.weights[n])
        by_records = self.plan.file.has_data(self.plan.explanations[name])
        by_records = by_records and self.plan.prior[name] <= CLEAR < self.weights[name]
        return name if by_records and self.plan.file.has_records else None

    def effect(self, names: Sequence[str]) -> Averaged:
        """Return the effect in sound trials under explanations, averaged by their weights."""
        found = [self.posteriors[name] for name in names]
        shares = np.array([self.weights[name] for name in names])
        w = np.concatenate(
            [s * p.weights for s, p in zip(shares / shares.sum(), found, strict=True)]
        )
        m = np.concatenate([p.means[:, 0] for p in found])
        sd = np.sqrt(np.concatenate([p.covariances[:, 0, 0] for p in found]))
        spread = float(np.sqrt(w @ (sd**2 + m**2) - (w @ m) ** 2))

        def below(x: float) -> float:
            smooth = ndtr((x - m) / np.where(sd > 0, sd, 1.0))
            if np.all(sd == 0):
                return float(np.interp(x, m, np.cumsum(w) - w / 2))
            return float(w @ np.where(sd > 0, smooth, (x >= m) * 1.0))

        centre = float(w @ m)
        ends = [
            brentq(lambda x, p=p: below(x) - p, centre - 8 * spread, centre + 8 * spread)
            for p in (0.025, 0.5, 0.975)
        ]
        low, middle, high = (exp(self.direction * end) for end in ends)
        return Averaged(middle, min(low, high), max(low, high))

    @property
    def gap(self) -> float | None:
        """Log ratio of the ratios of the two sides, each pooled by inverse variance."""
        loadings = self.gap_loadings()
        return None if loadings is None else float(loadings @ self.y)

    def gap_loadings(self) -> Floats | None:
        """Return what the gap takes of each log ratio; None without two sides."""
        if self.plan.file.gap is None:
            return None
        found = np.zeros(len(self.entered))
        names = [record.id for record in self.plan.file.records]
        for sign, side in zip((1, -1), self.plan.file.gap, strict=True):
            places = [names.index(name) for name in side]
            own = 1 / self.records.variances[places]
            found[places] = sign * own / own.sum()
        return found

    def reference(self, n: int, seed: int) -> Reference:
        """Return `n` literatures like this one from each modelled explanation."""
        drawn, gaps, every = [], [], []
        loadings = self.gap_loadings()
        for name, model in self.plan.models.items():
            rng = self.plan.generator(seed, name)
            y, c = draw_records(model, self.records, self.splits, n, rng)
            judged = [
                log_marginal(other, self.records, self.splits, y, c)
                for other in self.plan.models.values()
            ]
            drawn.append(np.stack(judged, axis=1))
            every.append(y)
            gaps.append(np.zeros(n) if loadings is None else y @ loadings)
        return Reference(np.array(drawn), np.array(gaps), np.array(every))

    def pairs(self, reference: Reference) -> Iterator[Pair]:
        """Yield every two modelled explanations, and how often they are told apart."""
        names = list(self.plan.models)
        for i, j in combinations(range(len(names)), 2):
            odds = reference.log_marginals[[i, j], :, i] - reference.log_marginals[[i, j], :, j]
            right = np.concatenate([odds[0], -odds[1]]) > log(CLEAR / (1 - CLEAR))
            share = float(right.mean())
            mcse = sqrt(share * (1 - share) / len(right))
            yield Pair(names[i], names[j], share, mcse, self.plan.differ_in(names[i], names[j]))

    def information(self, candidate: Candidate, n: int, seed: int) -> Information:
        """Return what a candidate is expected to tell about which explanation is right.

        The mutual information of explanation and result (Lindley 1956), by `n` results drawn from
        the predictive distributions, whose densities are exact.
        """
        names = list(self.plan.models)
        weights = np.array([self.weights[name] for name in names])
        weights /= weights.sum()
        rng = self.plan.generator(seed, f"candidate {candidate.id}")
        counts = rng.multinomial(n, weights)
        ahead = {name: self.plan.ahead(name, candidate) for name in names}
        drawn = [
            draw_ahead(self.posteriors[name], ahead[name], int(k), rng)
            for name, k in zip(names, counts, strict=True)
        ]
        y = np.concatenate([d[0] for d in drawn])
        c = np.concatenate([d[1] for d in drawn])
        logs = np.stack(
            [log_predictive(self.posteriors[name], ahead[name], y, c) for name in names], axis=1
        )
        whole = logsumexp(logs + np.log(np.maximum(weights, 1e-300)), axis=1)
        truth = np.repeat(np.arange(len(names)), counts)
        gains = (logs[np.arange(n), truth] - whole) / log(2)
        after = np.exp(logs - whole[:, None]) * weights
        settled = (after.max(axis=1) > CLEAR).astype(float)
        return Information(
            candidate,
            float(gains.mean()),
            float(gains.std(ddof=1) / sqrt(n)),
            float(settled.mean()),
            sqrt(float(settled.mean()) * (1 - float(settled.mean())) / n),
        )


@dataclass(frozen=True)
class Reconciling:
    """A file with its priors resolved.

    Attributes
    ----------
    prior : dict
        Weight of every explanation, that of those without data too.
    models : dict
        Those modelled.
    tau2 : Tau2
        How a tau squared is read that a source publishes without saying between what.
    """

    file: Reconciliation
    evidence: Evidence
    prior: Mapping[str, float]
    tau2: Tau2 = Tau2.UNUSED

    @cached_property
    def explanations(self) -> dict[str, Explanation]:
        """By id."""
        return {own.id: own for own in self.file.explanations}

    @cached_property
    def models(self) -> dict[str, Explained]:
        """The modelled explanations, as kernels take them."""
        rows = [record.covariates for record in self.file.records]
        return {
            own.id: self._model(own, rows)
            for own in self.file.explanations
            if self.file.is_modelled(own)
        }

    def _model(self, own: Explanation, rows: Sequence[Mapping[str, str]]) -> Explained:
        sd = self.file.effect_sd.value
        if isinstance(own, Filtering):
            odds = self._bias(own.odds_ratio.evidence, own.odds_ratio.estimate)
            spread = sqrt(odds.variance + own.between.value**2)
            filtered = np.array([row[own.covariate] in own.levels for row in rows], dtype=bool)
            return FilteredExplanation(filtered, 0.0, sd, odds.mean, spread, own.published.value)
        shifts = self.shifts(own)
        design = _design(own, rows, list(shifts))
        own_variances = design[:, 1:] @ np.array([s.between for s in shifts.values()])
        return LinearExplanation(
            design,
            np.array([0.0, *(s.mean for s in shifts.values())]),
            np.array([sd**2, *(s.variance for s in shifts.values())]),
            own_variances if shifts else np.zeros(len(rows)),
            own.sd.value if isinstance(own, Varying) else 0.0,
        )

    def publication_odds(self, own: Filtering) -> float:
        """Return the log odds ratio of being published, significant to not, as published."""
        return self._bias(own.odds_ratio.evidence, own.odds_ratio.estimate).mean

    def shifts(self, own: Explanation) -> dict[str, ShiftPrior]:
        """Return what an explanation shifts, by level."""
        if not isinstance(own, Shift):
            return {}
        return {level: self._shift(size) for level, size in own.levels.items()}

    def _shift(self, size: ShiftSize) -> ShiftPrior:
        if size.odds_ratio is not None and size.sd is not None:
            return ShiftPrior(log(size.odds_ratio.value), size.sd.value**2, 0.0)
        found = [self._bias(source.evidence, source.estimate) for source in size.sources]
        return ShiftPrior(*(sum(parts) for parts in zip(*found, strict=True)))

    def with_assumed(self, factor: float) -> Iterator[tuple[str, Reconciling]]:
        """Yield each assumed standard deviation, and the plan with it times a factor."""
        sd = self.file.effect_sd
        if sd.source is None:
            wider = self.file.model_copy(update={"effect_sd": _times(sd, factor)})
            yield "SD of the effect in sound trials", replace(self, file=wider)
        for own in self.file.explanations:
            changed = _with_assumed(own, factor) if self.file.has_data(own) else None
            if changed:
                yield f"{own.id}: {changed[0]}", self._replaced(changed[1])

    def _replaced(self, changed: Explanation) -> Reconciling:
        kept = [changed if own.id == changed.id else own for own in self.file.explanations]
        file = self.file.model_copy(update={"explanations": tuple(kept)})
        return replace(self, file=file)

    def taken_as_0(self, size: ShiftSize) -> tuple[str, ...]:
        """Return the sources of a shift that publish no kappa or no phi."""
        found = []
        for source in size.sources:
            _, estimate = self._estimate(source.evidence, source.estimate)
            if estimate.kappa is None or estimate.phi is None:
                found.append(source.evidence)
        return tuple(dict.fromkeys(found))

    def unread_tau2(self, size: ShiftSize) -> Iterator[tuple[str, float]]:
        """Yield each source of a shift that publishes a tau squared without saying of what."""
        for source in size.sources:
            record, estimate = self._estimate(source.evidence, source.estimate)
            tau2 = record.tau2_of(estimate)
            if tau2 is not None:
                yield source.evidence, tau2

    def with_tau2(self) -> Iterator[tuple[str, Reconciling]]:
        """Yield the plan with such numbers read as phi squared, then as kappa squared."""
        sizes = [
            (own.id, size)
            for own in self.file.explanations
            if isinstance(own, Shift) and self.file.has_data(own)
            for size in own.levels.values()
        ]
        told = [
            f"{name}: tau2 {tau2:g} of {source}"
            for name, size in sizes
            for source, tau2 in self.unread_tau2(size)
        ]
        for reading in (Tau2.PHI, Tau2.KAPPA) if told else ():
            words = "; ".join(dict.fromkeys(told))
            yield f"{words} as {reading}", replace(self, tau2=reading)

    def _estimate(self, record: str, estimate: str) -> tuple[MetaEpidemiology, BiasEstimate]:
        source = self.evidence.records[record]
        assert isinstance(source, MetaEpidemiology)
        return source, next(e for e in source.estimates if e.id == estimate)

    def _bias(self, record: str, estimate: str) -> ShiftPrior:
        source, found = self._estimate(record, estimate)
        assert found.ci is not None
        error = log(found.ci[1] / found.ci[0]) / (2 * _Z95)
        variance, between = error**2 + (found.phi or 0.0) ** 2, (found.kappa or 0.0) ** 2
        tau2 = source.tau2_of(found) or 0.0
        variance += tau2 if self.tau2 is Tau2.PHI else 0.0
        between += tau2 if self.tau2 is Tau2.KAPPA else 0.0
        return ShiftPrior(log(found.value), variance, between)

    def differ_in(self, first: str, second: str) -> tuple[str, ...] | None:
        """Return the records two explanations by shift or filter touch differently."""
        touched = []
        for name in (first, second):
            own = self.explanations[name]
            if isinstance(own, Varying):
                return None
            levels = own.levels if isinstance(own, Shift | Filtering) else ()
            covariate = own.covariate if isinstance(own, Shift | Filtering) else ""
            touched.append(
                {r.id for r in self.file.records if r.covariates.get(covariate) in levels}
            )
        return tuple(r.title for r in self.file.records if r.id in touched[0] ^ touched[1])

    def ahead(self, name: str, candidate: Candidate) -> NextRecords:
        """Return a candidate's records under an explanation; no filter holds them back."""
        own = self.explanations[name]
        rows = [trials.covariates for trials in candidate.trials]
        variances, errors = [], []
        for trials in candidate.trials:
            p = trials.control_risk.value
            variances.append(4 / (trials.n_total * p * (1 - p)))
            errors += [2 * sqrt(variances[-1])] * trials.subgroups
        records = Records(
            np.array(variances), np.array([float(t.n_trials) for t in candidate.trials])
        )
        shifts = self.shifts(own)
        design = _design(own, rows, list(shifts))
        between = np.array([s.between for s in shifts.values()])
        own_variances = design[:, 1:] @ between if shifts else np.zeros(len(rows))
        splits = Contrasts(np.array(errors), np.zeros(len(errors), dtype=bool))
        return NextRecords(records, design, own_variances, splits)

    def generator(self, seed: int, item: str) -> np.random.Generator:
        """Return random numbers of their own for one item."""
        streams = Streams(seed, f"reconcile {self.file.id}")
        return streams.generator(Decision.RECONCILIATION, 0, item)

    def records(self, which: Which) -> Reconciled:
        """Return what the records say, all of them or some."""
        sources = [
            (record.instead if which is Which.NO_DOCUMENTS else None) or record.effect
            for record in self.file.records
        ]
        own = tuple(entered(source, self.evidence) for source in sources)
        contrasts = tuple(
            contrast_entered(contrast.evidence, contrast.first, contrast.second, self.evidence)
            for contrast in self.file.contrasts
            if which is not Which.NO_CONTRASTS
        )
        return Reconciled(self, own, contrasts, which)

    @property
    def sets(self) -> tuple[Which, ...]:
        """Which sets of records differ from all of them."""
        found = [Which.ALL]
        if any(record.instead for record in self.file.records):
            found.append(Which.NO_DOCUMENTS)
        if self.file.contrasts:
            found.append(Which.NO_CONTRASTS)
        if any(contrast.because == "significant" for contrast in self.file.contrasts):
            found.append(Which.AS_PLANNED)
        return tuple(found)


def _with_assumed(own: Explanation, factor: float) -> tuple[str, Explanation] | None:
    """Return what is assumed of an explanation, and it with that times a factor."""
    if isinstance(own, Varying) and own.sd.source is None:
        return "SD between populations", own.model_copy(update={"sd": _times(own.sd, factor)})
    if isinstance(own, Filtering) and own.between.source is None:
        wider = _times(own.between, factor)
        return "SD between literatures", own.model_copy(update={"between": wider})
    if isinstance(own, Shift) and any(s.sd and not s.sd.source for s in own.levels.values()):
        levels = {
            level: size.model_copy(update={"sd": size.sd and _times(size.sd, factor)})
            for level, size in own.levels.items()
        }
        return "SD of the shift", own.model_copy(update={"levels": levels})
    return None


def _times(sd: Spread, factor: float) -> Spread:
    return sd.model_copy(update={"value": sd.value * factor})


class ShiftPrior(NamedTuple):
    """Log ratio of ratios: its mean, the variance of the mean, and between trials."""

    mean: float
    variance: float
    between: float


def _design(own: Explanation, rows: Sequence[Mapping[str, str]], levels: Sequence[str]) -> Floats:
    found = np.ones((len(rows), 1 + len(levels)))
    if isinstance(own, Shift):
        for i, row in enumerate(rows):
            found[i, 1:] = [row[own.covariate] == level for level in levels]
    return found


def plan_reconciliation(
    file: Reconciliation, evidence: Evidence, priors: Sequence[str] = ()
) -> Reconciling:
    """Resolve the priors of a file; ``ID=WEIGHT`` replaces one, the others keep their proportions.

    Raises
    ------
    RequestError
        For unknown explanations, or weights that leave nothing for the others.
    """
    prior = {own.id: own.weight.value for own in file.explanations}
    said: dict[str, float] = {}
    problems = []
    for word in priors:
        name, _, number = word.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if name not in prior:
            remedy = did_you_mean(name, prior, f"They are {', '.join(prior)}.")
            problems.append(Problem("names no explanation", remedy, "--prior", f"'{word}'"))
        elif not 0 < weight < 1:
            remedy = "Write for example --prior chance=0.5."
            rule = "must be ID=WEIGHT with a weight between 0 and 1"
            problems.append(Problem(rule, remedy, "--prior", f"'{word}'"))
        elif name in said:
            remedy = "State each explanation once."
            problems.append(Problem("states a weight twice", remedy, "--prior", f"'{word}'"))
        else:
            said[name] = weight
    total, rest = sum(said.values()), sum(w for n, w in prior.items() if n not in said)
    if said and not problems and (total >= 1 or rest == 0) and abs(total - 1) > _LEAST:
        remedy = "Let them add up to less than 1, or to 1 where all are stated."
        problems.append(Problem("leaves no weight for the others", remedy, "--prior", f"{total:g}"))
    if problems:
        raise RequestError(problems)
    return Reconciling(file, evidence, reweighted(prior, said))


def reweighted(prior: Mapping[str, float], said: Mapping[str, float]) -> dict[str, float]:
    """Return weights of which some are said anew; the others keep their proportions."""
    left = 1 - sum(said.values())
    rest = sum(weight for name, weight in prior.items() if name not in said)
    return {n: said[n] if n in said else w * left / rest for n, w in prior.items()}


def unmodelled_because(own: Explanation, file: Reconciliation) -> str:
    """Return why an explanation has no data."""
    if isinstance(own, Unmeasured):
        return own.why
    if not file.has_records:
        return "there is nothing to compare"
    titles = [record.title for record in file.records if record.id in file.missing(own)]
    assert isinstance(own, Shift | Filtering)
    return f"'{own.covariate}' is not known of {', '.join(titles)}"
