"""Why do two published trials disagree? Difference by difference, each with what it can carry.

What differs is read off the records. What a difference can carry of the gap between two estimates
is simulated where something is published of it (ratios of odds ratios of meta-epidemiology) or a
protocol states it (a course of response, for the time of the read-out). Of everything else it is
said that nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import MIN_REPLICATES
from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.kernels.pooling import Tables, mantel_haenszel
from trialsim.kernels.proportions import Scale, log_odds_ratio
from trialsim.kernels.trial_gap import Arms, as_far_apart, drawn_log_odds_ratios, treated_risks
from trialsim.protocol.design import Regimen
from trialsim.protocol.endpoints import Better
from trialsim.protocol.published.checks import PartsOfWhole
from trialsim.protocol.published.evidence import (
    EffectEstimate,
    EffectMeasure,
    Flaw,
    MetaEpidemiology,
    OutcomeType,
    Trial,
    TrialResult,
)
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.rules.conduct import of_any_cause
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.streams import Decision, Streams
from trialsim.studies.conduct.bias_targets import outcomes_of_endpoint
from trialsim.studies.conflict.adjustment import BiasPrior, prior_of
from trialsim.studies.observed import observed_trials

__all__ = [
    "NO_DATA",
    "TOGETHER",
    "Carried",
    "Difference",
    "Explanation",
    "Gap",
    "Settling",
    "explain",
    "unexplained",
]

NO_DATA = "no data: cannot be quantified"
TOGETHER = "together"

Floats = NDArray[np.float64]

_Z95 = 1.959963984540054
_Z80 = 0.8416212335729143
_BLOCK = 4096
_SAME_LENGTH = 0.02  # 26 weeks are 6 months
_RATIOS = (EffectMeasure.ODDS_RATIO, EffectMeasure.RISK_RATIO, EffectMeasure.HAZARD_RATIO)
_BY_SIZE = "dechartres-2013"
_CLASSES_OF_SIZE = (
    (50, "under-50"),
    (100, "from-50-to-99"),
    (200, "from-100-to-199"),
    (500, "from-200-to-499"),
    (1000, "from-500-to-999"),
)
_BRANDO, _METABLIND = "brando-2012", "metablind-2020"

# The flaw and the estimates that speak about it, each by its record; {} is the kind of outcome.
_SPEAKS: dict[Flaw, tuple[tuple[str, tuple[str, ...]], ...]] = {
    Flaw.ALLOCATION_CONCEALMENT: ((_BRANDO, ("concealment-{}",)),),
    Flaw.DOUBLE_BLINDING: (
        (_BRANDO, ("double-blinding-{}", "double-blinding-{}-univariable")),
        (_METABLIND, ("double-blinding-all",)),
    ),
    Flaw.SINGLE_CENTRE: (
        ("unverzagt-2013", ("single-centre",)),
        ("dechartres-2011", ("single-centre",)),
    ),
    Flaw.EXCLUSIONS: (("abraha-2015", ("mitt",)),),
}


@dataclass(frozen=True)
class Reported:
    """One trial's result, on the log scale of a ratio; without counts it is as published."""

    record: Trial
    result: TrialResult
    estimate: float
    standard_error: float
    counts: tuple[int, int, int, int] | None

    @property
    def arms(self) -> Arms | None:
        """Sizes and control risk, where counts are known."""
        if self.counts is None:
            return None
        _, n1, x0, n0 = self.counts
        return Arms(n1, n0, (x0 if 0 < x0 < n0 else x0 + (0.5 if x0 == 0 else -0.5)) / n0)


@dataclass(frozen=True)
class Gap:
    """How far apart two estimates are.

    Attributes
    ----------
    estimate, standard_error : float
        Logarithm of the first ratio over the second.
    common : float
        Log ratio of both together: Mantel-Haenszel of counts, else inverse variance.
    as_large : float
        Share of pairs so far apart, in either direction, were there one common effect.
    mcse : float
    """

    one: Reported
    other: Reported
    measure: EffectMeasure
    estimate: float
    standard_error: float
    common: float
    as_large: float
    mcse: float
    n_replicates: int

    @property
    def p(self) -> float:
        """Two-sided, of no difference between the two."""
        return 2 * NormalDist().cdf(-abs(self.estimate) / self.standard_error)


@dataclass(frozen=True)
class Carried:
    """What a difference can carry of a gap, by simulation.

    Attributes
    ----------
    source : str
        Where the size of it comes from.
    ratio, lower, upper : float
        Ratio of the two odds ratios that it makes of one effect: mean on the log scale, and the
        central 95%.
    part : float
        Of the gap, on the log scale; below 0 it hides some of it. Its MCSE is 0 where it is exact.
    as_large : float
        Share of pairs at least so far apart.
    assumed : str
        What is not published of it and taken as 0.
    """

    source: str
    ratio: float
    lower: float
    upper: float
    part: float
    part_lower: float
    part_upper: float
    part_mcse: float
    as_large: float
    as_large_mcse: float
    n_replicates: int
    assumed: str = ""


@dataclass(frozen=True)
class Difference:
    """One thing in which two trials may differ.

    Attributes
    ----------
    subject : str
        Quality, population, application, dose, duration, timing or endpoint; `TOGETHER` for all
        flaws that are quantified.
    same : bool or None
        None where a record does not say.
    carried : tuple of Carried
        Empty where nothing is known of what it does, or nothing differs.
    why : str
        Why nothing is known.
    """

    subject: str
    what: str
    one: str
    other: str
    same: bool | None
    carried: tuple[Carried, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Settling:
    """Two trials as large as needed to tell two such ratios apart.

    Attributes
    ----------
    n_per_arm : int
        Of each of two trials, by formula for a power of 80%, two-sided 5%.
    power, mcse : float
        Of the comparison, simulated at that size.
    """

    n_per_arm: int
    power: float
    mcse: float
    n_replicates: int


@dataclass(frozen=True)
class Explanation:
    """Two trials, what differs between them, and what that can carry.

    Attributes
    ----------
    gap : Gap or None
        None where one of them states no comparison with numbers.
    settling : Settling or None
        None without counts.
    randomised_add_on : tuple of str or None
        Trials about the condition that are randomised, add the treatment to another and state a
        comparison with numbers; None where the application does not differ.
    without_numbers : tuple of str
        The same, without numbers.
    outcomes : OutcomeType
        Kind by which ratios of bias are taken; all where nobody says which.
    template : str or None
        The protocol that observes both.
    """

    one: Trial
    other: Trial
    gap: Gap | None
    differences: tuple[Difference, ...]
    settling: Settling | None
    randomised_add_on: tuple[str, ...] | None
    without_numbers: tuple[str, ...]
    template: str | None
    outcomes: OutcomeType

    @property
    def differing(self) -> tuple[Difference, ...]:
        """What differs, or is not recorded of both."""
        return tuple(d for d in self.differences if not d.same and d.subject != TOGETHER)

    @property
    def together(self) -> Carried | None:
        """What all flaws that are quantified can carry, where there are several."""
        return next((d.carried[0] for d in self.differences if d.subject == TOGETHER), None)


def unexplained(ids: Sequence[str], evidence: Evidence) -> list[Problem]:
    """Return why two records cannot be explained against one another; empty where they can."""
    problems = []
    for name in dict.fromkeys(ids):
        record = evidence.records.get(name)
        if record is None:
            remedy = did_you_mean(name, evidence.records, "'trialsim evidence' lists them.")
            problems.append(Problem("is not a known evidence id", remedy, "ID", f"'{name}'"))
        elif not isinstance(record, Trial):
            remedy = "Name two trials; 'trialsim synthesise --observed --split' compares strata."
            problems.append(Problem(f"is a {record.kind}, not a trial", remedy, "ID", f"'{name}'"))
    if problems:
        return problems
    one, other = (evidence.records[name] for name in ids)
    if one.id == other.id:
        rule, remedy = "are the same record twice", "Name two trials that disagree."
        return [Problem(rule, remedy, "ID1 ID2", f"'{one.id}'")]
    if evidence.shares_patients(one.id, other.id):
        rule = "rest on some of the same patients"
        remedy = "Two reports of one trial are held together by 'trialsim evidence check'."
        return [Problem(rule, remedy, "ID1 ID2", f"'{one.id}' and '{other.id}'")]
    if one.condition != other.condition:
        remedy = f"'trialsim evidence --condition {one.condition}' lists trials that can."
        rule = "are about different conditions and have no gap to explain"
        return [Problem(rule, remedy, "ID1 ID2", f"{one.condition} and {other.condition}")]
    return []


def explain(
    ids: tuple[str, str],
    evidence: Evidence,
    resolved: ResolvedTemplate | None = None,
    *,
    outcomes: str | None = None,
    replicates: int,
    seed: int,
) -> Explanation:
    """Say what differs between two trials, and what each difference can carry of their gap.

    Parameters
    ----------
    ids : tuple of str
        Of two records of trials; ratios are of the first over the second.
    evidence : Evidence
    resolved : ResolvedTemplate, optional
        A protocol that observes both: which results belong together, which direction is better,
        and courses of response.
    outcomes : str, optional
        Kind of outcome by which ratios of bias are published, where it is not death.
    replicates, seed : int

    Raises
    ------
    RequestError
        For unknown ids, one record twice, overlapping records, other conditions, results of other
        outcomes or measures, and fewer than 100 replicates.
    """
    problems = unexplained(ids, evidence)
    if replicates < MIN_REPLICATES:
        rule = f"must be at least {MIN_REPLICATES}, for shares with their Monte Carlo errors"
        problems.append(Problem(rule, "Use for example 10000.", "--replicates", str(replicates)))
    if problems:
        raise RequestError(problems)
    one, other = (evidence.records[name] for name in ids)
    assert isinstance(one, Trial)
    assert isinstance(other, Trial)
    pair = _pair(one, other, evidence, resolved)
    simulated = _Simulated(pair, resolved, replicates, seed) if pair else None
    if simulated and simulated.gap == 0:
        rule, remedy = "agree to the last digit: there is no gap", "Name two trials that disagree."
        raise RequestError(Problem(rule, remedy, "ID1 ID2", f"'{one.id}' and '{other.id}'"))
    gap = simulated.chance() if simulated else None
    kind = _kind_of_outcome(pair, outcomes)
    differences = (
        *_quality(one, other, kind, evidence, simulated),
        *_population(one, other, pair, simulated),
        *_treatment(one, other, pair),
        *_timing(one, other, pair, simulated),
    )
    mixed = {trial.design.application for trial in (one, other)} == {"monotherapy", "add-on"}
    with_numbers, without = _randomised_add_on(one.condition, evidence)
    return Explanation(
        one,
        other,
        gap,
        differences,
        simulated.settling() if simulated else None,
        with_numbers if mixed else None,
        without,
        resolved.template.id if resolved else None,
        kind,
    )


# --- which results belong together


def _pair(
    one: Trial, other: Trial, evidence: Evidence, resolved: ResolvedTemplate | None
) -> tuple[Reported, Reported] | None:
    """Return the results that are compared.

    None where the catalogue lists both as in disagreement and not both have numbers.
    """
    chosen = _observed_together(one, other, resolved) or _of_one_outcome(one, other)
    if chosen is None:
        if any(
            {one.id, other.id} <= set(conflict.touches) for conflict in evidence.conflicts
        ) and not (_with_numbers(one) and _with_numbers(other)):
            return None
        words = [sorted({r.outcome for r in t.results}) for t in (one, other)]
        rule = "state no result of the same outcome"
        remedy = (
            f"{one.id} has {'; '.join(words[0])}. {other.id} has {'; '.join(words[1])}. Add "
            "--template FILE of a protocol whose 'observed' says which results belong together."
        )
        raise RequestError(Problem(rule, remedy, "ID1 ID2", f"'{one.id}' and '{other.id}'"))
    reported = [_by_counts(t, r) for t, r in zip((one, other), chosen, strict=True)]
    if reported[0] and reported[1]:
        return reported[0], reported[1]
    for measure in _RATIOS:
        stated = [_by_estimate(t, r, measure) for t, r in zip((one, other), chosen, strict=True)]
        if stated[0] and stated[1]:
            return stated[0], stated[1]
    said = [", ".join(dict.fromkeys(e.measure for e in r.effects)) or "none" for r in chosen]
    rule = "state no ratio of one measure with its interval, nor counts in both"
    remedy = f"{one.id} states {said[0]}; {other.id} states {said[1]}. Name trials of one measure."
    raise RequestError(Problem(rule, remedy, "ID1 ID2", f"'{one.id}' and '{other.id}'"))


def _observed_together(
    one: Trial, other: Trial, resolved: ResolvedTemplate | None
) -> tuple[TrialResult, TrialResult] | None:
    if resolved is None:
        return None
    primary = resolved.template.protocol.primary.id
    named = {each.evidence: each.result or primary for each in resolved.template.observed}
    missing = [trial.id for trial in (one, other) if trial.id not in named]
    if missing:
        remedy = f"Its 'observed' has {', '.join(named) or 'none'}."
        rule = f"does not observe {' and '.join(missing)}"
        raise RequestError(Problem(rule, remedy, "--template", resolved.template.id))
    first, second = (trial.result(named[trial.id]) for trial in (one, other))
    return (first, second) if first and second else None


def _of_one_outcome(one: Trial, other: Trial) -> tuple[TrialResult, TrialResult] | None:
    """Return results of the same words, both with numbers; those read at one time first."""
    pairs = [
        (mine, theirs)
        for mine in one.results
        for theirs in other.results
        if mine.outcome == theirs.outcome and _numbered(mine) and _numbered(theirs)
    ]
    return min(pairs, key=lambda pair: pair[0].at != pair[1].at, default=None)


def _numbered(result: TrialResult) -> bool:
    """Whether a result compares two arms with numbers."""
    arms = (result.experimental, result.control)
    counted = all(arm and arm.n and arm.events is not None for arm in arms)
    return counted or any(effect.ci for effect in result.effects)


def _with_numbers(trial: Trial) -> bool:
    return any(_numbered(result) for result in trial.results)


def _by_counts(record: Trial, result: TrialResult) -> Reported | None:
    treated, control = result.experimental, result.control
    if not (treated and control and treated.n and control.n):
        return None
    if treated.events is None or control.events is None:
        return None
    counts = treated.events, treated.n, control.events, control.n
    found = log_odds_ratio(*counts)
    return Reported(record, result, float(found.estimate), float(found.standard_error), counts)


def _by_estimate(record: Trial, result: TrialResult, measure: EffectMeasure) -> Reported | None:
    effect: EffectEstimate | None = next(
        (e for e in result.effects if e.measure is measure and e.ci), None
    )
    if effect is None or effect.ci is None or min(effect.ci) <= 0:
        return None
    error = log(effect.ci[1] / effect.ci[0]) / (2 * _Z95)
    return Reported(record, result, log(effect.value), error, None)


# --- pairs of trials of one effect


class _Simulated:
    """Pairs of trials as large as the two published ones."""

    def __init__(
        self,
        pair: tuple[Reported, Reported],
        resolved: ResolvedTemplate | None,
        replicates: int,
        seed: int,
    ) -> None:
        self.pair, self.resolved, self.replicates = pair, resolved, replicates
        names = [each.record.id for each in pair]
        self._streams = Streams(seed, f"explain {' '.join(sorted(names))}")
        self._order = sorted((0, 1), key=names.__getitem__)  # in which trials are drawn
        one, other = pair
        self.gap = one.estimate - other.estimate
        self.error = sqrt(one.standard_error**2 + other.standard_error**2)
        self.common = _common(pair)
        better = getattr(resolved.template.protocol.primary, "better", None) if resolved else None
        if better is None and of_any_cause(one.result.outcome):
            better = Better.LOWER
        self.direction = {Better.LOWER: 1.0, Better.HIGHER: -1.0, None: None}[better]

    def chance(self) -> Gap:
        """Return the gap, with the share of pairs so far apart under one effect."""
        gaps = self._gaps("chance", self.common, self.common)
        share, mcse = _share(as_far_apart(gaps, self.gap))
        one, other = self.pair
        return Gap(
            one,
            other,
            EffectMeasure.ODDS_RATIO if one.counts else _measure_of(self.pair),
            self.gap,
            self.error,
            self.common,
            share,
            mcse,
            self.replicates,
        )

    def by_biases(
        self, biases: Sequence[tuple[BiasPrior, tuple[bool, bool]]], source: str
    ) -> Carried:
        """Return what flaws that one of two trials has can carry; several add up."""
        assert self.direction is not None
        own = [np.zeros(self.replicates), np.zeros(self.replicates)]
        for prior, flawed in biases:
            item = f"{prior.flaw} {prior.record} {prior.estimate.id}"
            spread = sqrt(prior.variance + prior.kappa**2)
            bias = self.direction * prior.mean + spread * self._normal(item)
            for k in (0, 1):
                own[k] = own[k] + bias if flawed[k] else own[k]
        item = " + ".join(f"{prior.record} {prior.estimate.id}" for prior, _ in biases)
        gaps = self._gaps(item, self.common + own[0], self.common + own[1])
        taken = [f"{prior.assumed} of {prior.flaw}" for prior, _ in biases if prior.assumed]
        return self._carried(source, own[0] - own[1], gaps, "; ".join(taken))

    def by_patients(self, k: int, words: str, mean: float, spread: float) -> Carried:
        """Return what a subgroup's effect carries, were all patients of one trial of that kind."""
        other = self.pair[1 - k].record.id
        source = f"at most, all of {self.pair[k].record.id} as in {other} ({words})"
        apart = mean + spread * self._normal(source)
        shifts = [self.common + apart if own == k else self.common for own in (0, 1)]
        gaps = self._gaps(source, shifts[0], shifts[1])
        return self._carried(source, apart if k == 0 else -apart, gaps, "")

    def by_truths(self, source: str, risks: Sequence[tuple[float, float]]) -> Carried:
        """Return what stated risks (control, treated) of the two trials lead to."""
        logs = [log(p1 / (1 - p1) * (1 - p0) / p0) for p0, p1 in risks]
        apart = np.full(self.replicates, logs[0] - logs[1])
        gaps = self._gaps(source, logs[0], logs[1], [p0 for p0, _ in risks])
        return self._carried(source, apart, gaps, "")

    def settling(self) -> Settling | None:
        """Return how large two trials must be to tell two such effects apart."""
        one, other = (each.counts for each in self.pair)
        if one is None or other is None or self.gap == 0:
            return None
        arms = [each.arms for each in self.pair]
        risks = [
            float(treated_risks(arm.control_risk, np.array(each.estimate)))
            for arm, each in zip(arms, self.pair, strict=True)
            if arm
        ]
        per_patient = sum(
            1 / (p1 * (1 - p1)) + 1 / (arm.control_risk * (1 - arm.control_risk))
            for arm, p1 in zip(arms, risks, strict=True)
            if arm
        )
        n = ceil(per_patient * ((_Z95 + _Z80) / self.gap) ** 2)
        z = self._z_of_size(n, [arm.control_risk for arm in arms if arm], risks)
        power, mcse = _share(np.abs(z) >= _Z95)
        return Settling(n, power, mcse, self.replicates)

    def _z_of_size(self, n: int, control: Sequence[float], treated: Sequence[float]) -> Floats:
        found = []
        for block in self._blocks():
            rng = self._streams.generator(Decision.COUNTS, block, "settling")
            effects = {
                k: log_odds_ratio(
                    rng.binomial(n, treated[k], _BLOCK), n, rng.binomial(n, control[k], _BLOCK), n
                )
                for k in self._order
            }
            apart = effects[0].estimate - effects[1].estimate
            found.append(apart / np.hypot(effects[0].standard_error, effects[1].standard_error))
        return np.concatenate(found)[: self.replicates]

    def _carried(self, source: str, apart: Floats, gaps: Floats, assumed: str) -> Carried:
        part = apart / self.gap
        low, high = np.quantile(apart, [0.025, 0.975])
        ends = np.quantile(part, [0.025, 0.975])
        share, mcse = _share(as_far_apart(gaps, self.gap))
        exact = bool((apart == apart[0]).all())
        return Carried(
            source,
            float(np.exp(apart.mean())),
            float(np.exp(low)),
            float(np.exp(high)),
            float(part.mean()),
            float(ends[0]),
            float(ends[1]),
            0.0 if exact else float(part.std(ddof=1) / sqrt(len(part))),
            share,
            mcse,
            self.replicates,
            assumed,
        )

    def _blocks(self) -> Iterable[int]:
        return range(ceil(self.replicates / _BLOCK))

    def _normal(self, item: str) -> Floats:
        drawn = [
            self._streams.generator(Decision.CONDUCT_STRENGTH, block, item).standard_normal(_BLOCK)
            for block in self._blocks()
        ]
        return np.concatenate(drawn)[: self.replicates]

    def _gaps(
        self,
        item: str,
        one: Floats | float,
        other: Floats | float,
        control: Sequence[float] | None = None,
    ) -> Floats:
        """Return estimated log ratios of the first less the second, were these the true ones."""
        every = [np.broadcast_to(np.asarray(each), self.replicates) for each in (one, other)]
        found = []
        for block in self._blocks():
            rng = self._streams.generator(Decision.COUNTS, block, item)
            own = slice(block * _BLOCK, (block + 1) * _BLOCK)
            drawn = {k: self._drawn(rng, k, _filled(every[k][own]), control) for k in self._order}
            found.append(drawn[0] - drawn[1])
        return np.concatenate(found)[: self.replicates]

    def _drawn(
        self, rng: np.random.Generator, k: int, logs: Floats, control: Sequence[float] | None
    ) -> Floats:
        each = self.pair[k]
        if each.arms is None:
            return logs + each.standard_error * rng.standard_normal(len(logs))
        arms = each.arms if control is None else each.arms._replace(control_risk=control[k])
        return drawn_log_odds_ratios(rng, arms, treated_risks(arms.control_risk, logs))


def _filled(logs: Floats) -> Floats:
    """Fill a last block up, so that a block draws the same whatever is kept of it."""
    return np.concatenate([logs, np.full(_BLOCK - len(logs), logs[-1])])


def _share(hits: NDArray[np.bool_]) -> tuple[float, float]:
    share = float(hits.mean())
    return share, sqrt(share * (1 - share) / len(hits))


def _measure_of(pair: tuple[Reported, Reported]) -> EffectMeasure:
    return next(
        m
        for m in _RATIOS
        if all(any(e.measure is m and e.ci for e in each.result.effects) for each in pair)
    )


def _common(pair: tuple[Reported, Reported]) -> float:
    if all(each.counts for each in pair):
        columns = zip(*(each.counts or () for each in pair), strict=True)
        tables = Tables(*(np.array([column], dtype=float) for column in columns))
        found = float(mantel_haenszel(tables, Scale.ODDS_RATIO).estimate[0])
        if np.isfinite(found):
            return found
    weights = [each.standard_error**-2 for each in pair]
    total = sum(w * each.estimate for w, each in zip(weights, pair, strict=True))
    return total / sum(weights)


# --- what differs


def _kind_of_outcome(pair: tuple[Reported, Reported] | None, outcomes: str | None) -> OutcomeType:
    """Return the kind by which bias is published; all kinds where nobody says which."""
    if pair is None:
        return OutcomeType.ALL
    words = pair[0].result.outcome
    if outcomes is None and not of_any_cause(words):
        return OutcomeType.ALL
    return outcomes_of_endpoint(words, outcomes)


def _quality(
    one: Trial,
    other: Trial,
    kind: OutcomeType,
    evidence: Evidence,
    simulated: _Simulated | None,
) -> Iterator[Difference]:
    said = {True: "randomised", False: "not randomised"}
    words = [said[trial.design.randomised] for trial in (one, other)]
    why = "published ratios compare randomised trials with one another"
    yield Difference("quality", "allocation", words[0], words[1], words[0] == words[1], why=why)
    counted: list[tuple[BiasPrior, tuple[bool, bool]]] = []
    for flaw, what, told in _JUDGED:
        (first, mine), (second, theirs) = told(one), told(other)
        same = None if mine is None or theirs is None else first == second
        carried: tuple[Carried, ...] = ()
        why = _why_not(flaw, (mine, theirs), simulated)
        if same is False and not why and simulated:
            flawed = bool(mine), bool(theirs)
            priors = list(_priors(flaw, kind, evidence, one.condition))
            carried = tuple(
                simulated.by_biases([(prior, flawed)], words)
                for own in priors
                for prior, words in _readings(own)
            )
            counted += [(priors[0], flawed)] if priors else []
            why = "" if carried else "no published ratio"
        yield Difference("quality", what, first, second, same, carried, why)
    yield _size(one, other, evidence)
    if len(counted) > 1 and simulated:
        yield _together(_without_overlap(counted), simulated)


def _size(one: Trial, other: Trial, evidence: Evidence) -> Difference:
    """Return how large both are, in classes by which effects are published to differ."""
    sizes = [trial.design.n_randomised for trial in (one, other)]
    words = [f"{n:,}" if n else "not recorded" for n in sizes]
    classes = [_class_of_size(n) for n in sizes if n]
    same = classes[0] == classes[1] if len(classes) == 2 else None
    record = evidence.records.get(_BY_SIZE)
    published = record.estimates if isinstance(record, MetaEpidemiology) else ()
    open_ended = [e.id for e in published if e.id in classes and (e.ci is None or e.status.is_weak)]
    why = f"{_BY_SIZE} has no verified ratio with an interval for {', '.join(open_ended)} patients"
    if not open_ended:
        why = "small trials differ by their flaws and by which are published, too: not added on top"
    return Difference("quality", "patients randomised", words[0], words[1], same, why=why)


def _class_of_size(n: int) -> str:
    return next((name for limit, name in _CLASSES_OF_SIZE if n < limit), "1000 or more")


def _why_not(
    flaw: Flaw, flawed: tuple[bool | None, bool | None], simulated: _Simulated | None
) -> str:
    """Return why a difference in a flaw cannot be simulated; empty where it can."""
    if None in flawed:
        return "not recorded of both"
    if flawed[0] == flawed[1]:
        return _NOT_BETWEEN.get(flaw, "both have it, or neither has")
    if simulated is None:
        return "there is no gap in numbers"
    if simulated.direction is None:
        return "no record says which direction is better; a protocol, by --template, does"
    return ""


def _without_overlap(
    counted: list[tuple[BiasPrior, tuple[bool, bool]]],
) -> list[tuple[BiasPrior, tuple[bool, bool]]]:
    """Keep conduct or setting, the larger: neither's estimate is adjusted for the other."""
    setting = [each for each in counted if each[0].flaw is Flaw.SINGLE_CENTRE]
    conduct = [each for each in counted if each[0].flaw is not Flaw.SINGLE_CENTRE]

    def size(group: list[tuple[BiasPrior, tuple[bool, bool]]]) -> float:
        return abs(sum(prior.mean * (flawed[0] - flawed[1]) for prior, flawed in group))

    return max((conduct, setting), key=size) if conduct and setting else counted


def _together(
    counted: list[tuple[BiasPrior, tuple[bool, bool]]], simulated: _Simulated
) -> Difference:
    flaws = " + ".join(prior.flaw for prior, _ in counted)
    carried = simulated.by_biases(counted, f"the first estimate of each: {flaws}")
    has = [[prior.flaw.value for prior, flawed in counted if flawed[k]] for k in (0, 1)]
    words = [", ".join(each) or "none of these" for each in has]
    return Difference(TOGETHER, "flaws", words[0], words[1], False, (carried,))


_NOT_BETWEEN = {
    Flaw.DOUBLE_BLINDING: "published ratios are of not double blind to double blind",
    Flaw.SINGLE_CENTRE: "published ratios are of one centre to several, and both have several",
    Flaw.EXCLUSIONS: "published ratios are of some left out to none",
}


def _concealment(trial: Trial) -> tuple[str, bool | None]:
    said = trial.design.allocation_concealment
    return said or "not recorded", None if said is None else said != "adequate"


def _blinding(trial: Trial) -> tuple[str, bool | None]:
    said = trial.design.blinding_as_described
    return f"{said} blind" if said in ("single", "double") else said or "not recorded", (
        None if said is None else said != "double"
    )


def _centres(trial: Trial) -> tuple[str, bool | None]:
    n, several = trial.design.centres, trial.design.multicentre
    if n is not None:
        return f"{n} centre{'s' if n > 1 else ''}", n == 1
    if several is None:
        return "not recorded", None
    return "several centres" if several else "1 centre", not several


def _exclusions(trial: Trial) -> tuple[str, bool | None]:
    n = trial.design.excluded_after_randomisation
    if n is None:
        return "not recorded", None
    total = trial.design.n_randomised
    of = f" of {total} ({100 * n / total:.1f}%)" if n and total else ""
    return f"{n}{of}" if n else "none", n > 0


_JUDGED = (
    (Flaw.ALLOCATION_CONCEALMENT, "concealment of allocation", _concealment),
    (Flaw.DOUBLE_BLINDING, "blinding", _blinding),
    (Flaw.SINGLE_CENTRE, "centres", _centres),
    (Flaw.EXCLUSIONS, "left out after randomisation", _exclusions),
)


def _priors(
    flaw: Flaw, kind: OutcomeType, evidence: Evidence, condition: str
) -> Iterator[BiasPrior]:
    """Yield what is published of a flaw, one estimate a record."""
    for name, patterns in _SPEAKS[flaw]:
        record = evidence.records.get(name)
        if not isinstance(record, MetaEpidemiology) or record.condition not in ("any", condition):
            continue
        for pattern in patterns:
            wanted = pattern.format(kind)
            found = next((e for e in record.estimates if e.id == wanted and e.ci), None)
            if found and found.outcomes in (kind, OutcomeType.ALL):
                yield prior_of(flaw, record, found)
                break


def _readings(prior: BiasPrior) -> Iterator[tuple[BiasPrior, str]]:
    """Yield a bias as published and, where a variance is, it with that: phi and kappa alike."""
    yield prior, _in_words(prior)
    if prior.tau2 is not None:
        said = f" with its tau2 of {prior.tau2:g}, between what is not said, as phi squared"
        yield prior.as_phi, _in_words(prior, said)


def _in_words(prior: BiasPrior, reading: str = "") -> str:
    estimate = prior.estimate
    weak = f", {estimate.status}" if estimate.status.is_weak else ""
    low, high = estimate.ci or (float("nan"),) * 2
    said = f"{estimate.value:.2f} ({low:.2f} to {high:.2f})"
    return f"{prior.record}, {estimate.id}{reading}: ratio of odds ratios {said}{weak}"


def _population(
    one: Trial,
    other: Trial,
    pair: tuple[Reported, Reported] | None,
    simulated: _Simulated | None,
) -> Iterator[Difference]:
    texts = [trial.design.population or "not recorded" for trial in (one, other)]
    same = texts[0] == texts[1] if "not recorded" not in texts else None
    carried = tuple(_by_subgroups(simulated)) if simulated and same is False else ()
    why = "neither publishes effects by kind of patient that add up to its result"
    yield Difference("population", "patients", texts[0], texts[1], same, carried, why)
    if pair and pair[0].counts and pair[1].counts:
        risks = [each.counts[2] / each.counts[3] for each in pair if each.counts]
        words = [f"{100 * risk:.1f}%" for risk in risks]
        why = "an odds ratio need not change with the risk; nothing is published of whether it does"
        same = words[0] == words[1]
        yield Difference("population", "risk of controls", words[0], words[1], same, why=why)


def _by_subgroups(simulated: _Simulated) -> Iterator[Carried]:
    """Yield what subgroups of one trial can carry at most: were the other one's patients all so."""
    for k, each in enumerate(simulated.pair):
        checks = [
            check
            for check in each.record.checks
            if isinstance(check, PartsOfWhole) and check.result == each.result.id
        ]
        for check in checks:
            parts = [each.record.result(name) for name in check.parts]
            stated = [_effect_of_part(part) for part in parts if part]
            if None in stated or len(stated) < len(check.parts):
                continue
            known = [pair for pair in stated if pair]
            total = sum(error**-2 for _, error in known)
            whole = sum(value * error**-2 for value, error in known) / total
            for part, (value, error) in zip(parts, known, strict=True):
                spread = sqrt(max(error**2 - 1 / total, 0.0))
                words = f"{part.outcome}{_TAKEN_FOR}" if part else ""
                yield simulated.by_patients(1 - k, words, value - whole, spread)


_TAKEN_FOR = "; its ratio taken as one of odds, assumed"


def _effect_of_part(part: TrialResult) -> tuple[float, float] | None:
    """Return a subgroup's log ratio and its standard error."""
    found = next((e for e in part.effects if e.measure in _RATIOS and e.ci), None)
    if found is None or found.ci is None or min(found.ci) <= 0:
        return None
    return log(found.value), log(found.ci[1] / found.ci[0]) / (2 * _Z95)


def _treatment(
    one: Trial, other: Trial, pair: tuple[Reported, Reported] | None
) -> Iterator[Difference]:
    trials = (one, other)
    used = [trial.design.application or "not recorded" for trial in trials]
    known = "not recorded" not in used
    why = "no trial compares the treatment alone with the treatment added to another"
    same = used[0] == used[1] if known else None
    yield Difference("application", "alone or added", used[0], used[1], same, why=why)
    controls = [trial.comparator or "not recorded" for trial in trials]
    known = "not recorded" not in controls
    same = controls[0] == controls[1] if known else None
    why = "no trial compares these controls with one another"
    yield Difference("application", "compared with", controls[0], controls[1], same, why=why)
    regimens = [_regimens(each, pair[k] if pair else None) for k, each in enumerate(trials)]
    for subject, of_one in (("dose", _dose), ("duration", _length)):
        told = [[of_one(each) for each in own] for own in regimens]
        texts = [" or ".join(dict.fromkeys(text for text, _ in each)) for each in told]
        values = [{value for _, value in each} for each in told]
        known = all(v and None not in v for v in values)
        same = _alike(*values) if known else None
        words = [text or "not recorded" for text in texts]
        why = f"no simulation takes a {subject} to this outcome in these patients"
        yield Difference(subject, subject, words[0], words[1], same, why=why)


def _regimens(trial: Trial, reported: Reported | None) -> list[Regimen]:
    """Return the regimens of a trial, those of the result where it says which."""
    named = reported.result.regimen if reported else None
    return [each.regimen for each in trial.regimens if named in (None, each.id)]


def _dose(regimen: Regimen) -> tuple[str, str | None]:
    if regimen.dose is None:
        return f"{regimen.drug}, dose not recorded", None
    every = f" every {regimen.every}" if regimen.every else ""
    return f"{regimen.drug} {regimen.dose}{every}", f"{regimen.drug} {regimen.dose} {regimen.every}"


def _length(regimen: Regimen) -> tuple[str, float | None]:
    length = regimen.length
    return (str(length), length.days) if length else ("not recorded", None)


def _alike(one: set[str | float | None], other: set[str | float | None]) -> bool:
    """Whether two sets of doses, or of days, are the same; 26 weeks are 6 months."""
    if len(one) != len(other):
        return False
    return all(
        a == b
        or (
            isinstance(a, float) and isinstance(b, float) and abs(a - b) <= _SAME_LENGTH * max(a, b)
        )
        for a, b in zip(sorted(one, key=str), sorted(other, key=str), strict=True)
    )


def _timing(
    one: Trial,
    other: Trial,
    pair: tuple[Reported, Reported] | None,
    simulated: _Simulated | None,
) -> Iterator[Difference]:
    if pair is None or simulated is None:
        told = ["; ".join(dict.fromkeys(r.outcome for r in t.results)) for t in (one, other)]
        why = "they cannot be compared"
        yield Difference("endpoint", "outcomes", told[0], told[1], False, why=why)
        return
    times = [each.result.at for each in pair]
    therapy = simulated.resolved.template.protocol.therapy if simulated.resolved else None
    words = [time.in_words(therapy) if time else "not recorded" for time in times]
    days = [time.days_after_entry(therapy) if time else None for time in times]
    same = None if None in days else abs((days[0] or 0) - (days[1] or 0)) <= 0.5
    carried = tuple(_by_course(pair, simulated)) if same is False else ()
    why = "no course of the outcome is stated; --template of one that observes both has"
    yield Difference("timing", "read-out", words[0], words[1], same, carried, why)
    outcomes = [each.result.outcome for each in pair]
    why = "how often one goes with the other is not published"
    alike = outcomes[0] == outcomes[1]
    yield Difference("endpoint", "outcome", outcomes[0], outcomes[1], alike, why=why)


def _by_course(pair: tuple[Reported, Reported], simulated: _Simulated) -> Iterator[Carried]:
    """Yield what the time of the read-out makes of one truth, for every scenario that says."""
    resolved = simulated.resolved
    if resolved is None:
        return
    found = {
        each.record.id: each for each in observed_trials(resolved, resolved.template.scenarios)
    }
    trials = [found.get(each.record.id) for each in pair]
    if trials[0] is None or trials[1] is None:
        return
    for mine in trials[0].truths:
        theirs = next((t for t in trials[1].truths if t.scenario == mine.scenario), None)
        if theirs is None or mine.courses is None:
            continue
        risks = [
            truth.risks_on(trial.plan.day, trial.plan.counted)
            for truth, trial in ((mine, trials[0]), (theirs, trials[1]))
        ]
        if all(0 < risk < 1 for each in risks for risk in each):
            where = f"{resolved.template.id}, scenario {mine.scenario}"
            yield simulated.by_truths(where, risks)


def _randomised_add_on(
    condition: str, evidence: Evidence
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return randomised trials that add the treatment to another: with numbers, and without."""
    trials = [
        record
        for record in evidence.records.values()
        if isinstance(record, Trial) and record.condition == condition
        if record.design.randomised and record.design.application == "add-on"
    ]
    return (
        tuple(trial.id for trial in trials if _with_numbers(trial)),
        tuple(trial.id for trial in trials if not _with_numbers(trial)),
    )
