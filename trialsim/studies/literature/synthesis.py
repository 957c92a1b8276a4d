"""What would a literature pool to, if its trials had one true effect? Simulated, by stratum.

Every trial of a literature has random numbers of its own, named by its id, as observed trials
have. A trial that is not published is followed by the next of its stream: literature r holds the
r-th published trial of each stream. So literatures are independent, a longer run begins with the
same ones, and what is drawn in vain is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import (
    MIN_REPLICATES,
    Z95,
    Characteristic,
    mid_percentile,
    proportion,
    quantile,
)
from trialsim.conduct.publication import published
from trialsim.conduct.records import Luck
from trialsim.conduct.reporting import evidence
from trialsim.engine.blocks import Job
from trialsim.engine.reported_tables import ReportedTables, reported_tables
from trialsim.engine.run import Progress, check_request
from trialsim.errors import Problem, RequestError, SimulationError, did_you_mean
from trialsim.kernels.pooling import (
    Difference,
    Pooled,
    Tables,
    effects,
    mantel_haenszel,
    pooled_difference,
)
from trialsim.kernels.proportions import Scale
from trialsim.kernels.random_effects import Estimator, RandomEffects, random_effects
from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.protocol.design import Allocation, SampleSize
from trialsim.protocol.endpoints import BinaryEndpoint
from trialsim.protocol.published.cautions import Caution, assumption, cautions_about
from trialsim.protocol.published.evidence import EffectEstimate, Status
from trialsim.protocol.published.literature import (
    CHANCE,
    ConductSet,
    Literature,
    LiteratureTrial,
    Split,
)
from trialsim.protocol.quantities import Ratio
from trialsim.protocol.reading.load import load_conduct
from trialsim.protocol.rules.conduct import why_not
from trialsim.protocol.rules.flaws import conduct_problems, recruiting
from trialsim.protocol.rules.literature import pooled_odds_ratio
from trialsim.protocol.scenario import OddsRatio, Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.streams import Streams
from trialsim.studies.conduct.bias import (
    ASSUMED_SEVERITY_SLOPE,
    before_publication,
    with_prognosis,
)
from trialsim.trial import AnalysisPlan, Measure, Row, StudyResult

__all__ = [
    "ALL",
    "MANTEL_HAENSZEL",
    "REML",
    "ObservedGap",
    "PlannedSynthesis",
    "PlannedTrial",
    "Simulated",
    "check_template",
    "odds_ratios_from_words",
    "percent",
    "plan_synthesis",
    "which_are_published",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MANTEL_HAENSZEL, REML = "Mantel-Haenszel", "REML"
ALL = "all"  # the name beside a split's strata
_FEWEST_PUBLISHED = 0.005  # share: below it a literature would need 200 trials for each in it
_TRIED = 2_000  # trials of which that is read


def odds_ratios_from_words(words: str) -> tuple[Ratio, ...]:
    """Return the odds ratios of "0.82,0.97,1" (RequestError)."""
    try:
        found = tuple(dict.fromkeys(float(part) for part in words.split(",")))
    except ValueError:
        found = ()
    if not 1 <= len(found) <= 10 or not all(0.01 <= ratio <= 100 for ratio in found):
        remedy = "Write for example 0.82,0.97,1: up to ten, each from 0.01 to 100."
        rule = "is not a list of odds ratios"
        raise RequestError(Problem(rule, remedy, "--true-or", f"'{words}'"))
    return tuple(Ratio(value=ratio) for ratio in found)


@dataclass(frozen=True)
class ObservedGap:
    """What was published of two strata, and how far apart that is.

    Attributes
    ----------
    strata : (EffectEstimate, EffectEstimate)
        Odds ratios.
    names : (str, str)
        Where they come from: an id of evidence, else empty.
    """

    strata: tuple[EffectEstimate, EffectEstimate]
    names: tuple[str, str]

    @property
    def log_ratio(self) -> float:
        """Log of the first odds ratio over the second."""
        return log(self.strata[0].value / self.strata[1].value)

    @property
    def standard_error(self) -> float | None:
        """Of `log_ratio`, from both 95% intervals; None where one is not published."""
        ends = [effect.ci for effect in self.strata]
        if None in ends:
            return None
        errors = [log(ci[1] / ci[0]) / (2 * Z95) for ci in ends if ci]
        return sqrt(sum(error**2 for error in errors))

    @property
    def status(self) -> Status:
        """How far the ratio can be relied on: as far as the weaker of its strata."""
        weak = [effect.status for effect in self.strata if effect.status.is_weak]
        return weak[0] if weak else Status.DERIVED

    @property
    def p_value(self) -> float | None:
        """Of interaction, two-sided (Altman and Bland 2003, BMJ 326:219)."""
        error = self.standard_error
        return None if error is None else 2 * NormalDist().cdf(-abs(self.log_ratio) / error)


def which_are_published(job: Job, profile: Conduct) -> Callable[[ReportedTables, int, int], Bools]:
    """Return what says, of the first trials of a block by seed and number, which are published.

    Those without an analysis never are.
    """
    flaw, plan = profile.publication, job.plans[0]

    def out(found: ReportedTables, seed: int, block: int) -> Bools:
        analysed = np.asarray(~found.results.failed[:, -1])
        if not (flaw and flaw.acts):
            return analysed
        return analysed & published(
            flaw,
            found.results.rejected[:, -1],
            evidence(found.results, plan)[:, -1],
            found.results.enrolled[:, -1],
            Luck(Streams(seed, job.unit), block, (0, job.block_width)),
            found.results.p_value[:, -1],
        )

    return out


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a literature under one conduct: what is simulated of it.

    Attributes
    ----------
    job : Job
        Under every true odds ratio; its unit is the trial's id.
    profile : Conduct
        Publication included.
    """

    trial: LiteratureTrial
    profile: Conduct
    job: Job

    def published_tables(
        self, n: int, seed: int, on_block: Progress | None = None
    ) -> tuple[list[Ints], list[int]]:
        """Return, per truth, the first n published tables of the trial's stream.

        Returns
        -------
        tables : list of ndarray of int, shape (n, 4)
        carried_out : list of int
            How many trials it took.

        Raises
        ------
        SimulationError
            Where hardly any is published.
        """
        kept: list[list[Ints]] = [[] for _ in self.job.truths]
        have, tried = [0] * len(kept), [0] * len(kept)
        block, is_out = 0, which_are_published(self.job, self.profile)
        while min(have) < n:
            for index, found in enumerate(reported_tables(self.job, seed, block)):
                if have[index] >= n:
                    continue
                out = np.flatnonzero(is_out(found, seed, block))[: n - have[index]]
                have[index] += len(out)
                # those after the last one needed were not carried out
                last = have[index] >= n
                tried[index] += int(out[-1]) + 1 if last else len(found.counts)
                kept[index].append(found.counts[out])
            block += 1
            self._check(have, tried)
            if on_block:
                on_block(min(have), n)
        return [np.concatenate(parts) for parts in kept], tried

    def _check(self, have: Sequence[int], tried: Sequence[int]) -> None:
        for truth, n, of in zip(self.job.truths, have, tried, strict=True):
            if of >= _TRIED and n < _FEWEST_PUBLISHED * of:
                rule = (
                    f"publishes {n} of {of:,} trials like '{self.trial.id}' at a true odds ratio "
                    f"of {truth.label.removeprefix('OR ')}: such a literature hardly comes about"
                )
                least = f"at least 1 in {1 / _FEWEST_PUBLISHED:.0f}"
                remedy = f"Weaken the filter of its profile, so that it publishes {least}."
                raise SimulationError(Problem(rule, remedy, "conduct", self.profile.id))


@dataclass(frozen=True)
class Simulated:
    """Literatures of one set of conduct under one truth.

    Attributes
    ----------
    tables : Tables
        Shape (n_literatures, n_trials), trials as in the file.
    carried_out : ndarray of int, shape (n_trials,)
        Trials it took to have as many published as there are literatures.
    """

    conduct: ConductSet
    scenario: Scenario
    tables: Tables
    carried_out: Ints

    def stratum(self, members: Bools) -> Tables:
        """Return the literatures of one stratum alone."""
        return self.tables.only(members)


@dataclass(frozen=True)
class PlannedSynthesis:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    literature : Literature
    split : Split
    scenarios : tuple of Scenario
        One per true odds ratio.
    sets : tuple of ConductSet
        Chance alone first.
    trials : mapping of str to tuple of PlannedTrial
        By the id of the set; in the order of the file.
    """

    resolved: ResolvedTemplate
    literature: Literature
    split: Split
    scenarios: tuple[Scenario, ...]
    sets: tuple[ConductSet, ...]
    trials: Mapping[str, tuple[PlannedTrial, ...]]

    @cached_property
    def members(self) -> tuple[Bools, Bools]:
        """Which trials are in the first stratum and in the second, shape (n_trials,)."""
        own = [trial.strata[self.split.id] for trial in self.literature.trials]
        first, second = (np.array([s == stratum.id for s in own]) for stratum in self.split.strata)
        return first, second

    @property
    def profiles(self) -> tuple[Conduct, ...]:
        """Profiles of conduct that some trial has, by their id."""
        found = {t.profile for own in self.trials.values() for t in own}
        return tuple(sorted(found, key=lambda profile: profile.id))

    @cached_property
    def observed(self) -> ObservedGap | None:
        """What was published of both strata; None where that of one is not known."""
        found = []
        for stratum in self.split.strata:
            name = stratum.evidence or ""
            effect = stratum.effect or pooled_odds_ratio(name, self.resolved.evidence)
            if effect is None:
                return None
            found.append((effect, name))
        (one, name), (other, other_name) = found
        return ObservedGap((one, other), (name, other_name))

    @property
    def whole(self) -> EffectEstimate | None:
        """What was published of all trials together; None where that is not known."""
        name = self.literature.evidence
        return pooled_odds_ratio(name, self.resolved.evidence) if name else None

    @property
    def ratio_seen(self) -> float | None:
        """The published ratio of both strata's odds ratios."""
        return exp(self.observed.log_ratio) if self.observed else None

    def simulate(self, n: int, seed: int, on_progress: Progress | None = None) -> list[Simulated]:
        """Return every set's literatures under every truth.

        Trials carried out alike in several sets are simulated once.

        Parameters
        ----------
        n : int
            Literatures.
        seed : int
        on_progress : callable, optional
            Called with work done and work in all, in patients.

        Raises
        ------
        SimulationError
            Where a filter publishes hardly anything.
        """
        wanted = {
            (trial.trial.id, trial.profile): trial for own in self.trials.values() for trial in own
        }
        work = {key: trial.job.protocol.n_total for key, trial in wanted.items()}
        done, total, found = 0.0, float(sum(work.values())), {}
        for key, trial in wanted.items():
            found[key] = trial.published_tables(n, seed)
            done += work[key]
            if on_progress:
                on_progress(done, total)
        simulated = []
        for own in self.sets:
            parts = [found[t.trial.id, t.profile] for t in self.trials[own.id]]
            for index, scenario in enumerate(self.scenarios):
                stacked = np.stack([tables[index] for tables, _ in parts], axis=1).astype(float)
                tables = Tables(*(stacked[:, :, column] for column in range(4)))
                tried = np.array([tried[index] for _, tried in parts])
                simulated.append(Simulated(own, scenario, tables, tried))
        return simulated

    def result(
        self, *, replicates: int = 4_000, seed: int = 1, on_progress: Progress | None = None
    ) -> StudyResult:
        """Simulate, pool and place what was published.

        Raises
        ------
        RequestError
            For numbers out of range.
        SimulationError
            Where a filter publishes hardly anything, or hardly any literature can be pooled.
        """
        check_request(replicates, seed)
        if replicates < MIN_REPLICATES:
            remedy = "10,000 give a share of literatures to half a percentage point."
            rule = f"must be at least {MIN_REPLICATES}"
            raise RequestError(Problem(rule, remedy, "--replicates", str(replicates)))
        simulated = self.simulate(replicates, seed, on_progress)
        rows: list[Row] = []
        gaps: dict[tuple[str, str], Floats] = {}
        for own in simulated:
            found = Pooling.of(own, self.members)
            rows += self._rows(own, found)
            gaps[own.conduct.id, own.scenario.id] = found.known(found.gap.estimate)
        pools = self.observed.names if self.observed else ()
        trials = [own.control_risk.source for own in self.literature.trials]
        named = [name for name in (*pools, self.literature.evidence, *trials) if name]
        return StudyResult(
            rows=tuple(rows),
            observed=tuple(self._observed_rows()),
            warnings=(*cautions_about(named, self.resolved.evidence), *self._cautions()),
            texts=dict(self._texts(rows)),
            figure_data={"gaps": gaps},
            n_replicates=replicates,
        )

    def _rows(self, own: Simulated, found: Pooling) -> Iterator[Row]:
        protocol = self.resolved.template.protocol
        blank = replace(
            Row.about(
                Measure.ESTIMATE,
                own.scenario.id,
                protocol.primary.id,
                protocol.primary.read_out,
                self.resolved.variant,
            ),
            conduct=own.conduct.id,
            n_failed=found.n_failed,
        )
        n = len(found.ok)
        if n - found.n_failed < MIN_REPLICATES:
            rule = f"gives {n - found.n_failed} literatures of {n:,} that can be pooled"
            remedy = f"At least {MIN_REPLICATES} are needed: more --replicates, larger trials."
            raise SimulationError(Problem(rule, remedy, "--literature", self.literature.id))
        seen = self.observed
        for place, stratum in enumerate(self.split.strata):
            here = replace(blank, stratum=f"{self.split.id}={stratum.id}")
            members = self.members[place]
            yield _share_published(n * int(members.sum()), own.carried_out[members], here)
            effect, name = (seen.strata[place], seen.names[place]) if seen else (None, "")
            yield from _pooled(
                found, (found.strata[place], found.random[place]), effect, name, here
            )
        here = replace(blank, stratum=f"{self.split.id}={ALL}")
        yield from _pooled(found, found.whole, self.whole, self.literature.evidence or "", here)
        here = replace(blank, stratum=self.split.id, analysis=MANTEL_HAENSZEL)
        gap, at = found.known(found.gap.estimate), seen.log_ratio if seen else None
        yield from _distribution(gap, at, "ratio of odds ratios", here)
        yield from self._interaction(found.known(found.gap.p_value), here)
        if seen:
            as_large = gap <= seen.log_ratio if seen.log_ratio < 0 else gap >= seen.log_ratio
            yield proportion(Measure.GAP_AS_LARGE, as_large).row(here)

    def _interaction(self, p_values: Floats, blank: Row) -> Iterator[Row]:
        middle = quantile(Measure.P_INTERACTION, np.sort(p_values), 0.5, float, "P value")
        yield middle.row(blank)
        yield proportion(Measure.POWER_INTERACTION, p_values <= 0.05).row(
            replace(blank, level=0.05)
        )
        at = self.observed.p_value if self.observed else None
        if at is not None:
            yield mid_percentile(p_values, at).row(replace(blank, scale="P value"))

    def _observed_rows(self) -> Iterator[Row]:
        seen = self.observed
        if not seen:
            return
        ids = [stratum.id for stratum in self.split.strata]
        published = list(zip(ids, seen.strata, seen.names, strict=True))
        if self.whole:
            published.append((ALL, self.whole, self.literature.evidence or ""))
        for stratum_id, effect, name in published:
            low, high = effect.ci or (None, None)
            yield Row(
                measure=Measure.ESTIMATE,
                value=effect.value,
                evidence=name or None,
                stratum=f"{self.split.id}={stratum_id}",
                analysis="pooled",
                lower=low,
                upper=high,
                level=0.95 if effect.ci else None,
                scale="odds ratio",
                status=effect.status.value,
            )
        error = seen.standard_error
        reach = None if error is None else Z95 * error
        here = Row(measure=Measure.ESTIMATE, value=exp(seen.log_ratio), stratum=self.split.id)
        here = replace(here, analysis="pooled", status=seen.status.value)
        ends = (None, None) if reach is None else (-reach, reach)
        lower, upper = (None if e is None else exp(seen.log_ratio + e) for e in ends)
        yield replace(
            here,
            lower=lower,
            upper=upper,
            level=0.95 if reach else None,
            scale="ratio of odds ratios",
        )
        if seen.p_value is not None:
            yield replace(here, measure=Measure.P_INTERACTION, value=seen.p_value, scale="P value")

    def _texts(self, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
        """Yield what a gap as large would be by chance, and what this cannot say."""
        shares = {
            (row.conduct, row.scenario): row for row in rows if row.measure is Measure.GAP_AS_LARGE
        }
        if shares and self.observed:
            told = [
                f"{_in_words(shares[CHANCE.id, scenario.id])} at {scenario.title}"
                for scenario in self.scenarios
            ]
            size = exp(self.observed.log_ratio)
            more = "less" if self.observed.log_ratio < 0 else "more"
            yield (
                "chance",
                f"With every trial rigorous and one true effect a ratio of {size:.2f} or {more} "
                f"comes about in {'; '.join(told)}.",
            )
        yield (
            "limits",
            "A simulation says how often a gap this large comes about under stated flaws. It "
            "cannot say that the trials had these flaws, nor that others could not do the same: "
            "several sets of strengths give one pooled result. A set chosen to give what was "
            "published is no evidence for itself.",
        )
        yield from self._alike()

    def _alike(self) -> Iterator[tuple[str, str]]:
        """Say which splits part nearly the same trials."""
        for other in self.literature.splits:
            if other is self.split:
                continue
            sides = [
                [trial.strata[split.id] == split.strata[0].id for trial in self.literature.trials]
                for split in (self.split, other)
            ]
            same = sum(one == two for one, two in zip(*sides, strict=True))
            yield (
                f"{self.split.id} or {other.id}",
                f"Splits '{self.split.id}' and '{other.id}' put {same} of {len(sides[0])} trials "
                f"on the same side. {self.split.note or other.note or ''}".strip(),
            )

    def _cautions(self) -> Iterator[Caution]:
        ids = [scenario.id for scenario in self.scenarios]
        yield assumption(
            f"Literature '{self.literature.id}' ({self.literature.title}). "
            f"{self.literature.note or 'Its numbers are assumed unless sourced.'}",
            *ids,
        )
        steered = any(Mechanism.FORESEEN_ALLOCATION in p.mechanisms for p in self.profiles)
        if steered and self.resolved.template.nature.severity_slope is None:
            yield assumption(
                f"Severity moves the log odds of the event by {ASSUMED_SEVERITY_SLOPE:g} per "
                "standard deviation: foreseen allocation has nothing to pick by without prognosis.",
                *ids,
            )
        for profile in self.profiles:
            if profile.mechanisms:
                yield assumption(
                    f"Conduct '{profile.id}' ({profile.title}). "
                    f"{profile.note or 'Its strengths are assumed unless sourced.'}",
                    *ids,
                )


@dataclass(frozen=True)
class Pooling:
    """Literatures pooled by stratum, how far the strata are apart, and all trials together."""

    strata: tuple[Pooled, Pooled]
    random: tuple[RandomEffects, RandomEffects]
    gap: Difference
    whole: tuple[Pooled, RandomEffects]

    @classmethod
    def of(cls, own: Simulated, members: tuple[Bools, Bools]) -> Pooling:
        """Pool both strata of every literature."""
        first, second = (own.stratum(part) for part in members)
        strata = mantel_haenszel(first, Scale.ODDS_RATIO), mantel_haenszel(second, Scale.ODDS_RATIO)
        whole = mantel_haenszel(own.tables, Scale.ODDS_RATIO), _reml(own.tables)
        return cls(strata, (_reml(first), _reml(second)), pooled_difference(*strata), whole)

    @property
    def ok(self) -> Bools:
        """Literatures of which both strata have an estimate, shape (n_literatures,)."""
        return np.isfinite(self.gap.estimate)

    @property
    def n_failed(self) -> int:
        """Literatures of which one has none."""
        return int((~self.ok).sum())

    def known(self, values: Floats) -> Floats:
        """Return what is known in literatures of which both strata have an estimate."""
        kept = values[self.ok]
        return np.asarray(kept[np.isfinite(kept)])


def _reml(tables: Tables) -> RandomEffects:
    own = effects(tables, Scale.ODDS_RATIO)
    return random_effects(own.estimates, own.variances, Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD)


def _pooled(
    found: Pooling,
    by: tuple[Pooled, RandomEffects],
    seen: EffectEstimate | None,
    name: str,
    blank: Row,
) -> Iterator[Row]:
    """Yield the distribution of a pooled odds ratio, in both ways to pool."""
    at = log(seen.value) if seen else None
    fixed, random = by
    for way, estimate in ((MANTEL_HAENSZEL, fixed.estimate), (REML, random.estimate)):
        known = found.known(estimate)
        here = replace(blank, analysis=way, n_failed=len(estimate) - len(known))
        for row in _distribution(known, at, "odds ratio", here):
            places = row.measure is Measure.PERCENTILE
            yield replace(row, evidence=name or None) if places else row


def _share_published(n_published: int, carried_out: Ints, blank: Row) -> Row:
    tried = int(carried_out.sum())
    share = n_published / tried
    mcse = sqrt(share * (1 - share) / tried)
    return replace(
        blank, measure=Measure.PUBLISHED_SHARE, value=share, mcse=mcse, n_replicates=tried
    )


def _in_words(share: Row) -> str:
    n = share.n_replicates or 0
    return f"{round((share.value or 0.0) * n):,} of {n:,} literatures ({percent(share)})"


def percent(share: Row) -> str:
    """Return a share in percent with its MCSE; where nothing or everything was hit, its bound."""
    value, mcse = 100 * (share.value or 0.0), 100 * (share.mcse or 0.0)
    if mcse == 0 and share.n_replicates:  # rule of three
        bound = 300 / share.n_replicates
        return f"below {bound:.2g} %" if value < 50 else f"above {100 - bound:.5g} %"
    return f"{value:.2f} % +-{mcse:.2f}" if value < 10 else f"{value:.1f} % +-{mcse:.1f}"


def _distribution(values: Floats, seen: float | None, scale: str, blank: Row) -> Iterator[Row]:
    """Yield median and 95% range of logarithms, their mean, and where what was seen falls."""
    ordered, n = np.sort(values), len(values)
    for measure, q in (
        (Measure.ESTIMATE_MEDIAN, 0.5),
        (Measure.ESTIMATE_Q025, 0.025),
        (Measure.ESTIMATE_Q975, 0.975),
    ):
        yield quantile(measure, ordered, q, exp, scale).row(blank)
    spread = float(values.std(ddof=1)) / sqrt(n)
    mean = Characteristic(Measure.ESTIMATE_MEAN, float(values.mean()), spread, n)
    yield mean.row(replace(blank, scale=f"log {scale}"))
    if seen is not None:
        yield mid_percentile(values, seen).row(replace(blank, scale=scale))


def plan_synthesis(
    resolved: ResolvedTemplate,
    literature: Literature,
    *,
    split: str = "",
    odds_ratios: Sequence[Ratio] = (),
) -> PlannedSynthesis:
    """Decide what to simulate.

    Parameters
    ----------
    resolved : ResolvedTemplate
        With a binary primary endpoint in two arms.
    literature : Literature
    split : str
        Empty for the first.
    odds_ratios : sequence of Ratio
        True in all trials; empty for those of the literature.

    Raises
    ------
    RequestError
        For an unknown split, a template or a profile that cannot be simulated so, or an effect
        that leaves (0, 1).
    """
    chosen = literature.split(split) if split else literature.splits[0]
    if chosen is None:
        names = [own.id for own in literature.splits]
        remedy = did_you_mean(split, names, f"Its splits are {', '.join(names)}.")
        raise RequestError(Problem("is no split of this literature", remedy, "--split", split))
    check_template(resolved)
    scenarios = tuple(
        Scenario(
            id=f"or-{ratio.value:g}".replace(".", "-"),
            title=f"a true odds ratio of {ratio.value:g}",
            effect=OddsRatio(odds_ratio=ratio),
        )
        for ratio in odds_ratios or literature.true_odds_ratios
    )
    sets = (CHANCE, *literature.conduct)
    own_profiles = {profile.id: profile for profile in literature.profiles}
    named = {own.of(trial) for own in sets for trial in literature.trials}
    profiles = {n: own_profiles.get(n) or load_conduct(n, resolved.evidence) for n in named}
    trials = {
        own.id: tuple(
            _planned(resolved, trial, profiles[own.of(trial)], scenarios)
            for trial in literature.trials
        )
        for own in sets
    }
    return PlannedSynthesis(resolved, literature, chosen, scenarios, sets, trials)


def check_template(resolved: ResolvedTemplate) -> None:
    """Refuse what has no 2 x 2 tables to pool (RequestError)."""
    protocol = resolved.template.protocol
    if protocol.is_single_arm or not isinstance(protocol.primary, BinaryEndpoint):
        kind = "a single arm" if protocol.is_single_arm else f"of kind {protocol.primary.kind}"
        rule = f"is {kind}, and literatures are pooled by odds ratios of a binary endpoint"
        remedy = "Use a template with two arms and a binary primary endpoint, for example sepsis."
        raise RequestError(Problem(rule, remedy, "TEMPLATE", resolved.template.id))
    if resolved.template.nature.intercurrent_events:
        rule, remedy = (
            "has intercurrent events, which tables leave out",
            "Choose a variant without.",
        )
        raise RequestError(Problem(rule, remedy, "TEMPLATE", resolved.template.id))


def _planned(
    resolved: ResolvedTemplate,
    trial: LiteratureTrial,
    profile: Conduct,
    scenarios: Sequence[Scenario],
) -> PlannedTrial:
    if Mechanism.FORESEEN_ALLOCATION in profile.mechanisms:
        resolved = with_prognosis(resolved)
    own = resolved.template.protocol
    if trial.block_sizes:
        size: Any = SampleSize(total=trial.n_total)
        allocation = Allocation(block_sizes=trial.block_sizes)
    else:
        arms = {own.experimental.id: trial.n_treated.value, own.control.id: trial.n_control.value}
        size, allocation = SampleSize(per_arm=arms), Allocation()
    changes: dict[str, Any] = {"sample_size": size, "allocation": allocation, "looks": ()}
    protocol = own.model_copy(update=changes)
    refused = [found for m in profile.mechanisms if (found := why_not(m, protocol))]
    problems = [Problem(*found, f"trial {trial.id}", profile.id) for found in refused]
    factors = [factor.id for factor in resolved.template.nature.factors]
    problems += conduct_problems(protocol, profile, factors)
    truths = []
    for scenario in scenarios:
        try:
            truths.append(resolved.truth(scenario, control_risk=trial.control_risk.value))
        except ValueError as why:
            remedy = "Choose another odds ratio."
            problems.append(Problem(str(why), remedy, f"trial {trial.id}", scenario.title))
    if problems:
        raise RequestError(problems)
    before = before_publication(profile)
    plan = replace(AnalysisPlan.of(protocol), conduct=before if before.mechanisms else None)
    job = Job(recruiting(protocol, profile), (plan,), tuple(truths), unit=trial.id)
    return PlannedTrial(trial, profile, job.on_its_shortest_path())
