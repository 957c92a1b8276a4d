"""Published effects less what meta-epidemiology says of the bias of trials like them.

Which trial has which flaw is read off its record or its table, or said by the user; how much a
flaw exaggerates, and how differently from trial to trial, is a published estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.kernels.bias_adjustment import (
    AdjustedPool,
    NextEffect,
    adjusted_pool,
    bias_moments,
    next_effect,
)
from trialsim.kernels.proportions import Scale
from trialsim.protocol.endpoints import Better, Summary
from trialsim.protocol.published.evidence import (
    BiasEstimate,
    Flaw,
    MetaEpidemiology,
    OutcomeType,
    Trial,
)
from trialsim.protocol.published.trials import PublishedStudy, PublishedTrials, recorded_trials
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.reconciliation import TAU_SCALE
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.conduct.bias_targets import outcomes_of_endpoint
from trialsim.studies.literature.published_synthesis import pool_studies

__all__ = [
    "Adjustment",
    "BiasPrior",
    "FlawedStudy",
    "NextTrial",
    "next_trial",
    "plan_adjustment",
    "prior_of",
]

_Z95 = 1.959963984540054
_Floats = NDArray[np.float64]
_PER_OUTCOME = "{outcomes}"

# The flaw, and where its bias is published: the first that is recorded for these outcomes.
_SOURCES: dict[Flaw, tuple[tuple[str, str], ...]] = {
    Flaw.SEQUENCE_GENERATION: (("brando-2012", "sequence-{outcomes}"),),
    Flaw.ALLOCATION_CONCEALMENT: (("brando-2012", "concealment-{outcomes}"),),
    Flaw.DOUBLE_BLINDING: (
        ("brando-2012", "double-blinding-{outcomes}"),
        ("brando-2012", "double-blinding-{outcomes}-univariable"),
    ),
    Flaw.EXCLUSIONS: (("abraha-2015", "mitt"),),
    Flaw.SINGLE_CENTRE: (("unverzagt-2013", "single-centre"), ("dechartres-2011", "single-centre")),
}
# What else is published of them: not taken, but each moves the result in the tornado.
_OTHER_SOURCES: dict[Flaw, tuple[tuple[str, str], ...]] = {
    Flaw.SEQUENCE_GENERATION: (
        ("unverzagt-2013", "sequence"),
        ("robes-2018", "sequence"),
        ("page-2016", "sequence"),
    ),
    Flaw.ALLOCATION_CONCEALMENT: (
        ("wood-2008", "concealment-{outcomes}"),
        ("robes-2018", "concealment"),
        ("page-2016", "concealment"),
    ),
    Flaw.DOUBLE_BLINDING: (
        ("metablind-2020", "double-blinding-all"),
        ("wood-2008", "blinding-{outcomes}"),
        ("robes-2018", "blinding"),
    ),
    Flaw.EXCLUSIONS: (("abraha-2015", "mitt-adjusted"),),
    Flaw.SINGLE_CENTRE: (("dechartres-2011", "single-centre"),),
}
# BRANDO's estimates of conduct are adjusted for one another and add up. That of centres is not
# adjusted for conduct, nor conduct for centres: of the two only the larger counts in a trial.
_SETTING = (Flaw.SINGLE_CENTRE,)
_COLUMNS = {
    "rob_sequence": Flaw.SEQUENCE_GENERATION,
    "rob_randomisation": Flaw.SEQUENCE_GENERATION,
    "rob_concealment": Flaw.ALLOCATION_CONCEALMENT,
    "rob_blinding": Flaw.DOUBLE_BLINDING,
    "rob_exclusions": Flaw.EXCLUSIONS,
}


@dataclass(frozen=True)
class BiasPrior:
    """What is published of the bias by a flaw, as a log ratio of odds ratios.

    Attributes
    ----------
    mean : float
        Below 0 flawed trials have lower odds ratios.
    variance : float
        Of the mean bias in one meta-analysis: squared error of the published mean plus ``phi^2``.
    kappa : float
        Standard deviation of the bias between trials; 0 where it is not published.
    tau2 : float or None
        A variance that is published without saying between what; not used.
    """

    flaw: Flaw
    record: str
    estimate: BiasEstimate
    mean: float
    variance: float
    kappa: float
    tau2: float | None = None

    @property
    def as_phi(self) -> BiasPrior:
        """The same, with `tau2` between meta-analyses."""
        estimate = self.estimate.model_copy(update={"phi": sqrt(self.tau2 or 0.0)})
        return replace(
            self, estimate=estimate, variance=self.variance + (self.tau2 or 0.0), tau2=None
        )

    @property
    def as_kappa(self) -> BiasPrior:
        """The same, with `tau2` between trials."""
        kappa = sqrt(self.kappa**2 + (self.tau2 or 0.0))
        estimate = self.estimate.model_copy(update={"kappa": kappa})
        return replace(self, estimate=estimate, kappa=kappa, tau2=None)

    @property
    def assumed(self) -> str:
        """What of it is not published and taken as 0."""
        names = (("kappa", self.estimate.kappa), ("phi", self.estimate.phi))
        return " and ".join(name for name, value in names if value is None)


@dataclass(frozen=True)
class FlawedStudy:
    """A published study and its flaws.

    Attributes
    ----------
    flaws : tuple of Flaw
        Those that are counted.
    left_out : tuple of Flaw
        Flaws it has too, whose bias the counted ones already hold.
    unknown : tuple of Flaw
        Of which neither its record, its table nor the user says anything.
    """

    study: PublishedStudy
    estimate: float
    variance: float
    flaws: tuple[Flaw, ...]
    left_out: tuple[Flaw, ...]
    unknown: tuple[Flaw, ...]


@dataclass(frozen=True)
class Adjustment:
    """Published trials, naive and adjusted for bias.

    Attributes
    ----------
    priors, others : tuple of BiasPrior
        What is taken of each flaw, and what else is published of it for these outcomes.
    """

    trials: PublishedTrials
    outcomes: OutcomeType
    priors: tuple[BiasPrior, ...]
    others: tuple[BiasPrior, ...]
    studies: tuple[FlawedStudy, ...]
    direction: float

    @property
    def without_events(self) -> tuple[str, ...]:
        """Studies that say nothing of a ratio: nobody, or everybody, had the event."""
        kept = {study.study.study for study in self.studies}
        return tuple(study.study for study in self.trials.studies if study.study not in kept)

    @property
    def used(self) -> tuple[BiasPrior, ...]:
        """The priors of flaws that some study has."""
        return tuple(p for p in self.priors if any(p.flaw in s.flaws for s in self.studies))

    def pool(
        self, priors: Sequence[BiasPrior], *, tau2: float | None = None, only: int | None = None
    ) -> AdjustedPool:
        """Return the pooled effect under these priors; without any, the naive one.

        `tau2` as in `adjusted_pool`; `only` pools one study alone.
        """
        y, v, *biases = self._arrays(priors, only)
        return adjusted_pool(y, v, *biases, tau2=tau2)

    def next_effect(self, priors: Sequence[BiasPrior], tau_scale: float = TAU_SCALE) -> NextEffect:
        """Return what the studies say of the true effect of a further one, without flaws."""
        y, v, *biases = self._arrays(priors)
        return next_effect(y, v, *biases, tau_scale=tau_scale)

    def _arrays(
        self, priors: Sequence[BiasPrior], only: int | None = None
    ) -> tuple[_Floats, _Floats, _Floats, _Floats, _Floats]:
        """Return estimates and variances, then mean, variance and shared covariance of biases."""
        studies = [s for i, s in enumerate(self.studies) if only in (None, i)]
        y, v = (np.array([getattr(s, key) for s in studies]) for key in ("estimate", "variance"))
        flawed = np.array(
            [[p.flaw in s.flaws for p in priors] for s in studies], dtype=bool
        ).reshape(len(studies), len(priors))
        moments = bias_moments(
            flawed,
            np.array([self.direction * p.mean for p in priors]),
            np.array([p.variance for p in priors]),
            np.array([p.kappa for p in priors]),
        )
        return y, v, *moments

    def tornado(self) -> Iterator[tuple[str, AdjustedPool, AdjustedPool]]:
        """Yield the pooled effect (tau2 0) with each assumption at its two ends.

        A mean bias at the ends of its 95% interval (phi with it) and known; kappa at 0 and doubled;
        a flaw taken as harmless, against as it is; another published estimate of it, against as it
        is; a variance published without saying between what, between meta-analyses and trials.
        """
        used = self.used
        for prior in used:
            half = _Z95 * prior.variance**0.5
            low, high = (
                self._instead(prior, replace(prior, mean=prior.mean + end, variance=0.0))
                for end in (-half, half)
            )
            yield f"mean bias, {prior.flaw}", low, high
            if prior.kappa:
                none, double = (
                    self._instead(prior, replace(prior, kappa=factor * prior.kappa))
                    for factor in (0, 2)
                )
                yield f"kappa, {prior.flaw}", none, double
            rest = self.pool([other for other in used if other is not prior], tau2=0.0)
            taken = self.pool(used, tau2=0.0)
            yield f"without, and with, {prior.flaw}", rest, taken
            for other in self.others:
                if other.flaw is prior.flaw:
                    words = f"{other.record} ({exp(other.mean):.2f})"
                    if other.record == prior.record:
                        words = f"{other.record} {other.estimate.id} ({exp(other.mean):.2f})"
                    name = f"{prior.flaw} by {words}, and by {prior.record} ({exp(prior.mean):.2f})"
                    yield name, self._instead(prior, other), taken
            if prior.tau2 is not None:
                for letter, read in (("phi", prior.as_phi), ("kappa", prior.as_kappa)):
                    name = f"{prior.flaw} with tau2 {prior.tau2:g} as {letter} squared, and without"
                    yield name, self._instead(prior, read), taken

    def _instead(self, old: BiasPrior, new: BiasPrior) -> AdjustedPool:
        return self.pool([new if prior is old else prior for prior in self.used], tau2=0.0)


def plan_adjustment(
    resolved: ResolvedTemplate,
    trials: PublishedTrials,
    flaws: Sequence[str] = (),
    outcomes: str | None = None,
) -> Adjustment:
    """Read the flaws of published trials, and what is published of their bias.

    Parameters
    ----------
    flaws : sequence of str
        ``STUDY=FLAW``: flaws a study has, beyond those its record or table says.
    outcomes : str, optional
        Kind of outcome, where the endpoint is not death from any cause.

    Raises
    ------
    RequestError
        For effects other than odds ratios, unknown studies or flaws.
    """
    if trials.measure is not Summary.ODDS_RATIO:
        rule = f"is of odds ratios; the endpoint's summary is the {trials.measure}"
        remedy = "Published biases are ratios of odds ratios: set summary: odds ratio."
        raise RequestError(Problem(rule, remedy, "evidence adjust"))
    primary = resolved.template.protocol.primary
    kind = outcomes_of_endpoint(getattr(primary, "event", primary.id), outcomes)
    names = [study.study for study in trials.studies]
    records = resolved.evidence.records
    conditions = frozenset(records[n].condition for n in names if n in records)
    conditions |= frozenset(
        records[r.evidence].condition for r in resolved.template.observed if r.evidence in records
    )
    priors = tuple(_priors(kind, conditions, resolved.evidence))
    others = tuple(_others(priors, kind, conditions, resolved.evidence))
    said = _said(flaws, names, [prior.flaw for prior in priors])
    pooled = pool_studies(trials)
    assert pooled.scale is Scale.ODDS_RATIO
    studies = tuple(
        _study(study, float(y), float(v), said.get(study.study, ()), priors, resolved.evidence)
        for study, y, v in zip(
            trials.studies, pooled.estimates[0], pooled.variances[0], strict=True
        )
        if not np.isnan(y)
    )
    better = getattr(primary, "better", Better.LOWER)
    return Adjustment(
        trials, kind, priors, others, studies, 1.0 if better is Better.LOWER else -1.0
    )


class NextTrial(NamedTuple):
    """What observed trials say of the log odds ratio of a further one.

    Attributes
    ----------
    planned, published : float
        Random-effects mean by REML, adjusted for bias and as it is published.
    adjusted, naive : NextEffect
        Its true effect, with the error of the mean and an unknown spread between trials.
    sources : tuple of str
        Ids of the trials, then of the records their bias is taken from.
    weak : tuple of str
        Estimates of bias among them that only a document states or nobody verified.
    """

    planned: float
    published: float
    adjusted: NextEffect
    naive: NextEffect
    sources: tuple[str, ...]
    weak: tuple[str, ...]


def next_trial(resolved: ResolvedTemplate) -> NextTrial:
    """Return what the trials that `observed:` names say of a further one."""
    found = plan_adjustment(resolved, recorded_trials(resolved))
    sources = (*(s.study.study for s in found.studies), *(p.record for p in found.used))
    return NextTrial(
        found.pool(found.used).estimate,
        found.pool(()).estimate,
        found.next_effect(found.used),
        found.next_effect(()),
        tuple(dict.fromkeys(sources)),
        tuple(
            f"{p.record}, {p.estimate.id} ({p.estimate.status})"
            for p in found.used
            if p.estimate.status.is_weak
        ),
    )


def _priors(
    outcomes: OutcomeType, conditions: frozenset[str], evidence: Evidence
) -> Iterator[BiasPrior]:
    for flaw, sources in _SOURCES.items():
        yield from list(_published(flaw, sources, outcomes, conditions, evidence))[:1]


def _others(
    taken: Sequence[BiasPrior],
    outcomes: OutcomeType,
    conditions: frozenset[str],
    evidence: Evidence,
) -> Iterator[BiasPrior]:
    for prior in taken:
        sources = _OTHER_SOURCES[prior.flaw]
        for other in _published(prior.flaw, sources, outcomes, conditions, evidence):
            if (other.record, other.estimate.id) != (prior.record, prior.estimate.id):
                yield other


def _published(
    flaw: Flaw,
    sources: Sequence[tuple[str, str]],
    outcomes: OutcomeType,
    conditions: frozenset[str],
    evidence: Evidence,
) -> Iterator[BiasPrior]:
    """Yield those of the estimates that have an interval and fit outcomes and condition."""
    for name, identifier in sources:
        record = evidence.records.get(name)
        if not isinstance(record, MetaEpidemiology):
            continue
        wanted = identifier.replace(_PER_OUTCOME, outcomes.value)
        found = next((e for e in record.estimates if e.id == wanted and e.ci), None)
        fits = found and found.outcomes in (outcomes, OutcomeType.ALL)
        if found and fits and record.condition in ("any", *conditions):
            yield prior_of(flaw, record, found)


def prior_of(flaw: Flaw, record: MetaEpidemiology, estimate: BiasEstimate) -> BiasPrior:
    """Return what an estimate with an interval says of a bias; kappa and phi are 0 if unknown."""
    assert estimate.ci is not None
    error = log(estimate.ci[1] / estimate.ci[0]) / (2 * _Z95)
    variance = error**2 + (estimate.phi or 0.0) ** 2
    mean, kappa = log(estimate.value), estimate.kappa or 0.0
    tau2 = record.tau2_of(estimate)
    return BiasPrior(flaw, record.id, estimate, mean, variance, kappa, tau2)


def _said(
    words: Sequence[str], studies: Sequence[str], flaws: Sequence[Flaw]
) -> Mapping[str, tuple[Flaw, ...]]:
    found: dict[str, tuple[Flaw, ...]] = {}
    problems = []
    known = {flaw.value: flaw for flaw in flaws}
    for word in words:
        study, _, name = word.partition("=")
        flaw = known.get(name.strip().lower().replace("-", " "))
        if study not in studies:
            remedy = did_you_mean(study, studies, f"Write one of {', '.join(studies)}.")
            problems.append(Problem("names no study that is pooled", remedy, "--flaw", f"'{word}'"))
        elif flaw is None:
            remedy = did_you_mean(name, known, f"Flaws with a published bias: {', '.join(known)}.")
            rule = "must be STUDY=FLAW, with a flaw whose bias is published for these outcomes"
            problems.append(Problem(rule, remedy, "--flaw", f"'{word}'"))
        else:
            found[study] = (*found.get(study, ()), flaw)
    if problems:
        raise RequestError(problems)
    return found


def _study(
    study: PublishedStudy,
    estimate: float,
    variance: float,
    said: Sequence[Flaw],
    priors: Sequence[BiasPrior],
    evidence: Evidence,
) -> FlawedStudy:
    judged = {**_judged(study, evidence), **dict.fromkeys(said, True)}
    own = [prior for prior in priors if judged.get(prior.flaw)]
    conduct = [prior for prior in own if prior.flaw not in _SETTING]
    setting = [prior for prior in own if prior.flaw in _SETTING]
    counted, left = own, list[BiasPrior]()
    if conduct and setting:
        totals = [abs(sum(prior.mean for prior in group)) for group in (conduct, setting)]
        counted, left = (conduct, setting) if totals[0] >= totals[1] else (setting, conduct)
    return FlawedStudy(
        study,
        estimate,
        variance,
        tuple(prior.flaw for prior in counted),
        tuple(prior.flaw for prior in left),
        tuple(prior.flaw for prior in priors if prior.flaw not in judged),
    )


def _judged(study: PublishedStudy, evidence: Evidence) -> dict[Flaw, bool]:
    """Return which flaws a study has or has not, where its record or table says."""
    found: dict[Flaw, bool] = {}
    if study.centres is not None:
        found[Flaw.SINGLE_CENTRE] = study.centres == 1
    for column, judgement in study.rob.items():
        if column in _COLUMNS:
            found[_COLUMNS[column]] = judgement != "low"
    record = evidence.records.get(study.study)
    if isinstance(record, Trial) and record.design.blinding_as_described:
        found[Flaw.DOUBLE_BLINDING] = record.design.blinding_as_described != "double"
    if isinstance(record, Trial) and not record.design.randomised:
        found |= {Flaw.SEQUENCE_GENERATION: True, Flaw.ALLOCATION_CONCEALMENT: True}
    return found
