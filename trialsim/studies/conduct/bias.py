"""What flaws of conduct do to an effect, from truth to publication, one at a time and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain, combinations
from math import exp, factorial, floor, sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticCustomError

from trialsim.analyse.looks import stop
from trialsim.characteristics import MIN_REPLICATES, characteristics, proportion
from trialsim.conduct.publication import published
from trialsim.conduct.records import Luck
from trialsim.conduct.reporting import evidence
from trialsim.engine.blocks import Job, simulate_block
from trialsim.engine.flawed_trials import FlawedTrial, flawed_trial
from trialsim.engine.kept_draws import keeping_draws
from trialsim.engine.run import Progress, kernel_for, run
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError, SimulationError, did_you_mean
from trialsim.protocol.conduct import RIGOROUS, BestOfAnalyses, Conduct, Mechanism
from trialsim.protocol.endpoints import (
    AnySummary,
    Better,
    BinaryEndpoint,
    CompetingEndpoint,
    MeasuredTest,
    OutcomeEndpoint,
    ResponseEndpoint,
    Summary,
    TimeToEventEndpoint,
)
from trialsim.protocol.modifiers import SEVERITY
from trialsim.protocol.outcomes import Correlated, cholesky, correlation_matrix
from trialsim.protocol.published.cautions import Caution, assumption, cautions_about
from trialsim.protocol.quantities import Slope
from trialsim.protocol.reading.catalogue import conduct_paths
from trialsim.protocol.reading.load import load_conduct
from trialsim.protocol.rules.conduct import WITHOUT_IT, why_not
from trialsim.protocol.rules.flaws import conduct_problems, recruiting
from trialsim.protocol.scenario import Nature, Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.streams import Streams
from trialsim.studies.conduct.flawed_patients import LOOKED_INTO, LookedInto, look_into, true_rows
from trialsim.studies.power import theta_of
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row, StudyResult

__all__ = [
    "ASSUMED_SEVERITY_CORRELATION",
    "ASSUMED_SEVERITY_SLOPE",
    "MAX_MECHANISMS",
    "PlannedBias",
    "against_none",
    "before_publication",
    "flaw_from_words",
    "plan_bias",
    "refused_flaws",
    "strengths_from_words",
    "what_can_act",
    "with_prognosis",
    "with_strengths",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Coalition = frozenset[Mechanism]

MAX_MECHANISMS = 8  # a Shapley value of m flaws needs 2^m trials of the same patients
ASSUMED_SEVERITY_SLOPE = 1.0  # log odds per SD, where a template states no prognosis: assumed
# Of what is measured, scored or counted: as much as that slope, on the scale of the logistic
# distribution, whose variance is pi**2 / 3: 1 / sqrt(1 + pi**2 / 3). Assumed.
ASSUMED_SEVERITY_CORRELATION = 0.48
_BYTES_OF_A_BLOCK = 100_000_000  # or less: what of it is kept while one trial is told
_NOTHING: Coalition = frozenset()


def flaw_from_words(words: str) -> Mechanism:
    """Return the flaw of these words (RequestError)."""
    canonical = words.strip().lower().replace("_", "-").replace(" ", "-")
    known = [str(m) for m in Mechanism]
    if canonical not in known:
        remedy = did_you_mean(canonical, known, f"The flaws are {', '.join(known)}.")
        raise RequestError(Problem("is no flaw", remedy, "--only", f"'{words}'"))
    return Mechanism(canonical)


def strengths_from_words(words: str) -> tuple[float, ...]:
    """Return the strengths of "0:1:0.1" (from, to, step) or "0,0.5,1" (RequestError)."""
    remedy = "Write from:to:step, 0:1:0.1, or a list, 0,0.25,0.5; each from 0 to 1, at most 101."
    problem = Problem("is not a list of strengths", remedy, "--strength", f"'{words}'")
    try:
        if ":" in words:
            first, last, step = (float(part) for part in words.split(":"))
            count = floor((last - first) / step + 1e-9) + 1 if 0.001 <= step <= 1 else 0
            found = tuple(round(first + k * step, 6) for k in range(min(count, 1000)))
        else:
            found = tuple(float(part) for part in words.split(","))
    except (OverflowError, ValueError):
        raise RequestError(problem) from None
    if not 1 <= len(found) <= 101 or not all(0 <= s <= 1 for s in found):
        raise RequestError(problem)
    return tuple(dict.fromkeys(found))


def with_strengths(conduct: Conduct, words: Sequence[str]) -> Conduct:
    """Return a profile with flaws at other strengths, from words such as "exclusion=0.2".

    Raises
    ------
    RequestError
        For what is no flaw, one the profile does not state, what is no strength, and flaws that
        contradict one another.
    """
    problems, found = [], {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            mechanism, strength = flaw_from_words(name), float(number)
        except RequestError as error:
            problems += [replace(p, field="--flaw") for p in error.problems]
            continue
        except ValueError:
            strength = -1.0
        if not 0 <= strength <= 1:
            rule, remedy = "is no strength of a flaw", "Write --flaw exclusion=0.2, from 0 to 1."
            problems.append(Problem(rule, remedy, "--flaw", f"'{word}'"))
        elif conduct.of(mechanism) is None:
            stated = [str(m) for m in Mechanism if conduct.of(m) is not None]
            remedy = f"It has {', '.join(stated) or 'none'}; 'bias-lab' has each."
            problems.append(Problem(f"has no {mechanism}", remedy, "--conduct", conduct.id))
        else:
            found[mechanism] = strength
    if problems:
        raise RequestError(problems)
    try:
        return conduct.with_strengths(found)
    except PydanticCustomError as error:
        told = error.context or {}
        raise RequestError(Problem(told["rule"], told["remedy"], "--flaw", conduct.id)) from None


def plan_bias(
    resolved: ResolvedTemplate,
    conduct: Conduct,
    scenarios: Sequence[str] = (),
    *,
    only: Mechanism | None = None,
    strengths: Sequence[float] = (),
) -> PlannedBias:
    """Decide what to simulate.

    Parameters
    ----------
    conduct : Conduct
    only : Mechanism, optional
        One flaw, at `strengths`, instead of all of them together.

    Raises
    ------
    RequestError
        For a profile without flaws, or flaws that cannot act in this trial.
    """
    if Mechanism.FORESEEN_ALLOCATION in conduct.mechanisms:
        resolved = with_prognosis(resolved)
    if only:
        conduct = conduct.only({only})
    chosen = resolved.scenarios(scenarios)
    _check(resolved, conduct, only)
    return PlannedBias(resolved, conduct, chosen, only, tuple(strengths))


def with_prognosis(resolved: ResolvedTemplate) -> ResolvedTemplate:
    """Let severity tell the outcome, where nothing a template states does: there is then a choice.

    Of a risk, on the log odds; of what stands under ``outcomes:``, by as strong a correlation. Of a
    response and a time to an event nothing is assumed.
    """
    template, primary = resolved.template, resolved.template.protocol.primary
    nature, slope = template.nature, Slope(value=ASSUMED_SEVERITY_SLOPE)
    if isinstance(primary, BinaryEndpoint) and nature.severity_slope is None:
        nature = nature.model_copy(update={"severity_slope": slope})
    elif isinstance(primary, OutcomeEndpoint) and not _tells(nature, primary.id):
        worse = 1 if primary.better is Better.LOWER else -1
        value = worse * ASSUMED_SEVERITY_CORRELATION
        pair = Correlated(between=(SEVERITY, primary.id), value=value)
        nature = nature.model_copy(update={"correlations": (*nature.correlations, pair)})
    return replace(resolved, template=template.model_copy(update={"nature": nature}))


def _tells(nature: Nature, endpoint: str) -> bool:
    """Whether a baseline or severity says something of an endpoint under ``outcomes:``."""
    known = correlation_matrix((SEVERITY, endpoint), nature.correlations)[0][1]
    return bool(known or getattr(nature.outcomes.get(endpoint), "baseline", None))


def _check(resolved: ResolvedTemplate, conduct: Conduct, only: Mechanism | None) -> None:
    problems: list[Problem] = []
    if resolved.template.protocol.is_single_arm:
        rule = "acts on two arms, and this trial has one"
        remedy = "Use a template with two arms, for example sepsis."
        raise RequestError(Problem(rule, remedy, "bias", resolved.template.id))
    if only and not conduct.mechanisms:
        remedy = f"Name another with --conduct: {', '.join(_with_flaw(only)) or 'a file'}."
        rule = f"has no flaw of {only} that acts"
        problems.append(Problem(rule, remedy, "--conduct", conduct.id))
    if len(conduct.mechanisms) > MAX_MECHANISMS:
        rule = f"has {len(conduct.mechanisms)} flaws; shares are exact up to {MAX_MECHANISMS}"
        problems.append(
            Problem(rule, "Leave some out, or look at one with --only.", "--conduct", conduct.id)
        )
    refused = [*problems, *_cannot_act(resolved, conduct)]
    if not refused:
        return
    if any(p.remedy.lower().endswith(WITHOUT_IT) for p in refused):
        last = refused[-1]
        refused[-1] = replace(last, remedy=f"{last.remedy}{_instead(resolved, conduct)}")
    raise RequestError(refused)


def _cannot_act(resolved: ResolvedTemplate, conduct: Conduct) -> list[Problem]:
    """Find why flaws of a profile cannot act in this trial; empty where all can."""
    protocol, nature = resolved.template.protocol, resolved.template.nature
    refused = [found for m in conduct.mechanisms if (found := why_not(m, protocol))]
    problems = [Problem(*found, "--conduct", conduct.id) for found in refused]
    problems += conduct_problems(protocol, conduct, [factor.id for factor in nature.factors])
    problems += [
        Problem(*found, "--conduct", conduct.id) for found in _unmeasured(resolved, conduct)
    ]
    if nature.intercurrent_events:
        rule, remedy = (
            "does not act beside intercurrent events so far",
            "Choose a variant without them.",
        )
        problems.append(Problem(rule, remedy, "bias", protocol.primary.id))
    if Mechanism.FORESEEN_ALLOCATION in conduct.mechanisms:
        problems += [Problem(*found, "--conduct", conduct.id) for found in _unforeseen(resolved)]
    return problems


def refused_flaws(resolved: ResolvedTemplate, conduct: Conduct) -> dict[Mechanism, Problem]:
    """Return why flaws that a profile states cannot act here, however strong; without it, all."""
    able, found = with_prognosis(resolved), {}
    for mechanism in Mechanism:
        if (flaw := conduct.of(mechanism)) is None:
            continue
        own = conduct.at(mechanism, flaw.strength.value or 0.5).only({mechanism})
        if problems := _cannot_act(able, own):
            found[mechanism] = problems[0]
    return found


def what_can_act(resolved: ResolvedTemplate, conduct: Conduct) -> Conduct:
    """Leave out of a profile that nobody chose the flaws that cannot act here, and say so in it."""
    able = with_prognosis(resolved)
    refused = {m: _cannot_act(able, conduct.only({m})) for m in conduct.mechanisms}
    acting = {m for m, problems in refused.items() if not problems}
    if not acting or len(acting) == len(refused):
        return conduct
    told = [f"{m}, since it {problems[0].rule}" for m, problems in refused.items() if problems]
    note = " ".join(filter(None, [conduct.note, f"Left out here: {'; '.join(told)}."]))
    return conduct.only(acting).model_copy(update={"note": note})


def _instead(resolved: ResolvedTemplate, conduct: Conduct) -> str:
    """Say which flaws of a profile, and which shipped profiles, can act in this trial."""
    resolved = with_prognosis(resolved)
    able = [str(m) for m in conduct.mechanisms if not _cannot_act(resolved, conduct.only({m}))]
    others = {name: load_conduct(name) for name in conduct_paths()}
    named = [n for n, own in others.items() if own.mechanisms and not _cannot_act(resolved, own)]
    told = f" One flaw of it can act: --only {' or '.join(able)}." if able else ""
    return f"{told} Profiles that can: --conduct {' or '.join(named)}." if named else told


def _unmeasured(resolved: ResolvedTemplate, conduct: Conduct) -> Iterator[tuple[str, str]]:
    """Find a further test that needs a baseline where none is measured."""
    flaw, primary = conduct.best_of, resolved.template.protocol.primary
    own = resolved.template.nature.outcomes.get(primary.id)
    if isinstance(flaw, BestOfAnalyses) and flaw.acts and not getattr(own, "baseline", None):
        needs = [t for t in flaw.tests if isinstance(t, MeasuredTest) and t.needs_baseline]
        if needs:
            rule = f"names {', '.join(needs)}, which needs a baseline"
            yield rule, f"State one under nature.outcomes.{primary.id}, or leave it out."


def _with_flaw(mechanism: Mechanism) -> list[str]:
    """Return the shipped profiles that have a flaw."""
    return [name for name in conduct_paths() if mechanism in load_conduct(name).mechanisms]


def _unforeseen(resolved: ResolvedTemplate) -> Iterator[tuple[str, str]]:
    """Find why nobody can pick by prognosis: nothing of an outcome is known beforehand."""
    nature, primary = resolved.template.nature, resolved.template.protocol.primary
    rule = "foresees the allocation, and nothing of {} is known beforehand to pick by"
    leave = f"or {WITHOUT_IT}"
    truth = resolved.truth(resolved.template.scenarios[0])
    if truth.courses and not (truth.courses.frailty_sd or truth.courses.factor):
        remedy = f"State frailty_sd or hazard_ratio_by under nature.response, {leave}"
        yield rule.format("a response"), remedy
    if truth.lifetimes and not truth.lifetimes.differs_by:
        remedy = f"State nature.survival by the levels of a factor, {leave}"
        yield rule.format("a time to an event"), remedy
    names = list(dict.fromkeys((SEVERITY, primary.id, *resolved.template.simulated_outcomes)))
    if cholesky(correlation_matrix(names, nature.correlations)) is None:
        at = ASSUMED_SEVERITY_CORRELATION
        yield (
            f"foresees the allocation by severity, and a correlation of {at:g} with {primary.id} "
            "(assumed) cannot be beside the others",
            f"State one under nature.correlations: {{between: [severity, {primary.id}], ...}}.",
        )


@dataclass(frozen=True)
class Reported:
    """What trials with some flaws report, under one truth.

    Attributes
    ----------
    results : LookResults
        Of all trials.
    out : ndarray of bool, shape (n_reps,)
        Analysable and published.
    """

    results: LookResults
    out: Bools

    @property
    def n(self) -> int:
        """Trials published."""
        return int(self.out.sum())

    @property
    def mean(self) -> float:
        """Mean estimate of the trials published, analysis scale."""
        return float(self.results.estimate[self.out, -1].mean())

    @property
    def influence(self) -> Floats:
        """How far each trial moves the mean, shape (n_reps,).

        The mean of their squares over n_reps is its variance: a ratio of two means, Cochran (1977),
        Sampling Techniques, equation 6.13.
        """
        apart = np.where(self.out, self.results.estimate[:, -1] - self.mean, 0.0)
        return np.asarray(apart / self.out.mean())

    @property
    def published_only(self) -> LookResults:
        """Return the results of the trials published."""
        own = self.results
        return LookResults(*(getattr(own, f.name)[self.out] for f in fields(LookResults)))


@dataclass(frozen=True)
class PlannedBias:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    resolved : ResolvedTemplate
        With an assumed severity where allocation is foreseen and no prognosis is stated.
    conduct : Conduct
    scenarios : tuple of Scenario
    only : Mechanism or None
    strengths : tuple of float
        At which `only` is looked at; empty for its own.
    """

    resolved: ResolvedTemplate
    conduct: Conduct
    scenarios: tuple[Scenario, ...]
    only: Mechanism | None = None
    strengths: tuple[float, ...] = ()

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Flaws that act, in their order."""
        return self.conduct.mechanisms

    @cached_property
    def profiles(self) -> tuple[Conduct, ...]:
        """What is simulated: every subset of the flaws, or one flaw at every strength."""
        if self.only:
            dial = [self.conduct.at(self.only, s) for s in self.strengths] or [self.conduct]
            return (RIGOROUS, *dial)
        return tuple(self.conduct.only(some) for some in _subsets(self.mechanisms))

    @cached_property
    def job(self) -> Job:
        """One job: every profile is one more plan, so that all share their patients."""
        protocol = self.resolved.template.protocol
        plan = AnalysisPlan.of(protocol)
        before = dict.fromkeys(before_publication(p) for p in self.profiles)
        plans = tuple(replace(plan, conduct=own) for own in before)
        truths = tuple(self.resolved.truth(scenario) for scenario in self.scenarios)
        return Job(recruiting(protocol, self.conduct), plans, truths)

    def result(
        self,
        *,
        replicates: int = 4_000,
        seed: int = 1,
        workers: Workers = 1,
        on_progress: Progress | None = None,
    ) -> StudyResult:
        """Simulate, and say what each flaw does.

        Raises
        ------
        SimulationError
            Where too few trials are published to say anything.
        """
        kernel = kernel_for(self.job, replicates)
        plans = tuple(replace(plan, kernel=kernel) for plan in self.job.plans)
        job = replace(self.job, plans=plans, kernel=kernel)
        (simulation,) = run(
            [job], n_replicates=replicates, seed=seed, workers=workers, on_progress=on_progress
        )
        rows: list[Row] = []
        places = {plan.conduct: index for index, plan in enumerate(self.job.plans)}
        found = [
            {
                profile: self._reported(
                    profile, self._ended(results[places[before_publication(profile)]]), seed
                )
                for profile in self.profiles
            }
            for results in simulation.results
        ]
        looked = self._looked_into(job, found, seed, min(replicates, LOOKED_INTO))
        for truth, own, seen in zip(self.job.truths, found, looked, strict=True):
            rows += self._rows(truth, own, seen)
        template = self.resolved.template
        cited = [*template.about, *(reference.evidence for reference in template.observed)]
        return StudyResult(
            rows=tuple(rows),
            texts=dict(self._texts(rows)),
            warnings=(*cautions_about(cited, self.resolved.evidence), *self._cautions()),
            n_replicates=replicates,
        )

    def replay(
        self, scenario: str, seed: int, replicate: int, *, only: Mechanism | None = None
    ) -> FlawedTrial:
        """Return one trial of the study as it was planned and with all flaws, patient by patient.

        Parameters
        ----------
        scenario : str
        seed : int
        replicate : int
            From 1.
        only : Mechanism, optional
            With this flaw and no other; the patients and their luck stay.

        Raises
        ------
        RequestError
            If there is no such scenario, replicate or flaw.
        """
        if replicate < 1:
            rule, remedy = "must be at least 1", "The first trial of a run is 1."
            raise RequestError(Problem(rule, remedy, "--replicate", str(replicate)))
        if only and only not in self.mechanisms:
            rule = f"is no flaw of conduct '{self.conduct.id}' that acts"
            remedy = f"Its flaws are {', '.join(self.mechanisms)}."
            raise RequestError(Problem(rule, remedy, "--only", f"'{only}'"))
        (chosen,) = self.resolved.scenarios([scenario])
        truth, plan = self.resolved.truth(chosen), self.job.plans[0]
        conduct = self.conduct.only({only}) if only else self.conduct
        flawed = replace(plan, conduct=before_publication(conduct))
        own = replace(self.job, truths=(truth,), plans=(plan, flawed))
        block, column = divmod(replicate - 1, own.block_width)
        with keeping_draws(_BYTES_OF_A_BLOCK):  # the trial is one of those simulated
            (found,) = simulate_block(own, seed, block)
            both = [self._ended(results) for results in found]
            one = slice(column, column + 1)
            results = (both[0].only(one), both[1].only(one))
            trial = flawed_trial(own, truth, conduct, seed, replicate, results)
        if Mechanism.PUBLICATION not in conduct.mechanisms:
            return trial
        out = self._published(conduct, both[1], seed, block)[column] & ~both[1].failed[column, -1]
        return replace(trial, published=bool(out))

    def first_trial(self, seed: int) -> FlawedTrial:
        """Return trial 1 of the first scenario."""
        return self.replay(self.scenarios[0].id, seed, 1)

    def only_scenario(self) -> str:
        """Return the scenario, where there is one (RequestError)."""
        if len(self.scenarios) > 1:
            names = ", ".join(scenario.id for scenario in self.scenarios)
            remedy = f"Name one with --scenario: {names}."
            raise RequestError(Problem("has several scenarios", remedy, "the run"))
        return self.scenarios[0].id

    def _reported(self, profile: Conduct, results: LookResults, seed: int) -> Reported:
        """Return which trials are published; the luck is that of the trial, whatever is found."""
        out = ~results.failed[:, -1]
        if out.sum() < MIN_REPLICATES:
            rule = f"only {out.sum()} of {len(out):,} trials with this conduct can be analysed"
            remedy = (
                f"At least {MIN_REPLICATES} are needed: more --replicates or patients, or flaws "
                "that leave more outcomes in both arms."
            )
            raise SimulationError(Problem(rule, remedy, "--conduct", profile.id))
        width = self.job.block_width
        out &= np.concatenate(
            [
                self._published(
                    profile, results.only(slice(start, start + width)), seed, start // width
                )
                for start in range(0, len(out), width)
            ]
        )
        if out.sum() < MIN_REPLICATES:
            rule = f"only {out.sum()} of {len(out):,} trials with this conduct are published"
            remedy = f"At least {MIN_REPLICATES} are needed: more --replicates, a weaker filter."
            raise SimulationError(Problem(rule, remedy, "--conduct", profile.id))
        return Reported(results, out)

    def _published(self, profile: Conduct, results: LookResults, seed: int, block: int) -> Bools:
        """Return which of the first trials of a block are published, shape (n_reps,)."""
        if not ((flaw := profile.publication) and flaw.acts):
            return np.ones(len(results.failed), dtype=bool)
        return published(
            flaw,
            results.rejected[:, -1],
            evidence(results, self.job.plans[0])[:, -1],
            results.enrolled[:, -1],
            Luck(Streams(seed), block, (0, self.job.block_width)),
            results.p_value[:, -1],
        )

    def _ended(self, results: LookResults) -> LookResults:
        """Return what trials find where they end."""
        return stop(results, self.job.plans[0]).final

    def _looked_into(
        self, job: Job, found: Sequence[Mapping[Conduct, Reported]], seed: int, n: int
    ) -> list[dict[Conduct, LookedInto]]:
        """Return, per truth, what the records of the first n trials say; empty without events."""
        if not self._has_events:
            return [{} for _ in found]
        shown = [{p: own.results for p, own in one.items() if self._is_shown(p)} for one in found]
        return look_into(job, shown, seed, n)

    @property
    def _has_events(self) -> bool:
        """Whether so many of 1,000 patients have an event by the read-out."""
        primary = self.job.protocol.primary
        events = BinaryEndpoint | ResponseEndpoint | TimeToEventEndpoint | CompetingEndpoint
        return isinstance(primary, events)

    def _is_shown(self, profile: Conduct) -> bool:
        """Whether it has lines of its own: no flaw, one, or all."""
        return bool(self.only) or len(profile.mechanisms) in (0, 1, len(self.mechanisms))

    def _rows(
        self,
        truth: Truth,
        found: Mapping[Conduct, Reported],
        looked: Mapping[Conduct, LookedInto],
    ) -> Iterator[Row]:
        protocol = self.resolved.template.protocol
        plan, primary = self.job.plans[0], protocol.primary
        scenario = next(s for s in self.scenarios if s.id == truth.scenario)
        theta = theta_of(self.resolved, plan, scenario, truth)
        blank = Row.about(
            Measure.RISK, truth.scenario, primary.id, primary.read_out, self.resolved.variant
        )
        arms = (protocol.control.id, protocol.experimental.id)
        if looked:
            yield from true_rows(self._true_risks(truth), blank, arms)
        base = found[self.profiles[0]]
        for profile, own in found.items():
            names = [str(m) for m in profile.mechanisms] if profile is not self.profiles[0] else []
            if not self._is_shown(profile):
                continue
            strength = profile.of(self.only).strength.value if self.only and names else None
            if self.only and not names and profile is not self.profiles[0]:
                strength = 0.0
            label = "none" if not names else names[0] if len(names) == 1 else "all"
            label = str(self.only) if strength is not None else label
            here = replace(blank, mechanism=label, strength=strength)
            yield from self._one(own, base, theta, plan.summary, here)
            if profile in looked:
                yield from looked[profile].rows(own.out, here, arms)
        if not self.only:
            yield from self._shares(found, theta, blank)

    def _true_risks(self, truth: Truth) -> tuple[float, float]:
        """Return those of the event by the read-out, under control and under treatment."""
        plan = self.job.plans[0]
        outcome = truth.outcome(plan.endpoint)
        return outcome.arms if outcome else truth.risks_on(plan.day, plan.counted)

    def _one(
        self, own: Reported, base: Reported, theta: float, summary: AnySummary, blank: Row
    ) -> Iterator[Row]:
        """Yield what the trials published with some flaws find, and how far from the rest."""
        failed = int(own.results.failed[:, -1].sum())
        here = replace(blank, n_failed=failed)
        analysable = ~own.results.failed[:, -1]
        yield proportion(Measure.PUBLISHED_SHARE, own.out[analysable]).row(here)
        for characteristic in characteristics(own.published_only, theta, summary):
            if characteristic.measure is not Measure.N_FAILED:
                yield characteristic.row(here)
        apart = own.mean - base.mean
        error = _error(own.influence - base.influence)
        size = exp(apart) if summary.is_ratio else 1.0
        yield replace(
            here,
            measure=against_none(summary),
            value=size if summary.is_ratio else apart,
            mcse=size * error,
            n_replicates=own.n,
            scale=None if summary is Summary.ODDS_RATIO else str(summary),
        )

    def _shares(self, found: Mapping[Conduct, Reported], theta: float, blank: Row) -> Iterator[Row]:
        """Yield the bars from truth to publication: small samples, then each flaw's share.

        Shapley (1953), in Kuhn and Tucker, Contributions to the Theory of Games II: 307-317: the
        mean, over all orders of switching flaws on, of what a flaw adds to the mean estimate of
        the trials published. The shares do not depend on an order, and add up.
        """
        flaws = self.mechanisms
        by_set = {frozenset(p.mechanisms): own for p, own in found.items()}
        nothing, everything = by_set[_NOTHING], by_set[frozenset(flaws)]
        summary = self.job.plans[0].summary
        scale = f"log {summary}" if summary.is_ratio else str(summary)
        bars = [("small-sample bias", nothing.mean - theta, nothing.influence)]
        for flaw in flaws:
            share, influence = 0.0, np.zeros(len(nothing.out))
            for others in _subsets(tuple(f for f in flaws if f is not flaw)):
                n, m = len(others), len(flaws)
                weight = factorial(n) * factorial(m - n - 1) / factorial(m)
                with_it, without = by_set[others | {flaw}], by_set[others]
                share += weight * (with_it.mean - without.mean)
                influence += weight * (with_it.influence - without.influence)
            bars.append((str(flaw), share, influence))
        blank = replace(
            blank,
            n_replicates=everything.n,
            n_failed=int(everything.results.failed[:, -1].sum()),
            scale=scale,
        )
        for name, value, influence in bars:
            here = replace(blank, measure=Measure.ATTRIBUTION, mechanism=name)
            if name == bars[0][0]:  # of the trials without flaws alone
                failed = int(nothing.results.failed[:, -1].sum())
                here = replace(here, n_replicates=nothing.n, n_failed=failed)
            yield replace(here, value=value, mcse=_error(influence))
        if len(flaws) > 1:
            alone = [by_set[frozenset((flaw,))] for flaw in flaws]
            beyond = everything.mean - sum(own.mean for own in alone)
            influence = everything.influence - sum(own.influence for own in alone)
            beyond += (len(flaws) - 1) * nothing.mean
            influence += (len(flaws) - 1) * nothing.influence
            here = replace(blank, measure=Measure.FLAW_INTERACTION, mechanism="all")
            yield replace(here, value=beyond, mcse=_error(influence))

    def _texts(self, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
        if told := self.conduct.in_words(strengths=not self.strengths):
            yield "profile", f"Conduct '{self.conduct.id}'. {told}. Settings are assumed."
        if told := self._interactions(rows):
            yield "interactions", told
        primary, day = self.job.protocol.primary, self.job.plans[0].day
        if isinstance(primary, TimeToEventEndpoint | CompetingEndpoint):
            yield (
                "per 1,000",
                f"Per 1,000: events by day {day:g}, estimated with censoring (Kaplan-Meier; Aalen-"
                "Johansen where another event may preclude it) from what each trial read.",
            )
        elif not self._has_events:
            yield (
                "per 1,000",
                f"Per 1,000: no events, since {primary.kind} is no event that a patient has or has "
                "not by a day.",
            )

    def _interactions(self, rows: Sequence[Row]) -> str:
        """Say whether flaws together do more than the sum of what each does alone."""
        told, summary = [], self.job.plans[0].summary
        for row in rows:
            if row.measure is not Measure.FLAW_INTERACTION or row.value is None or not row.mcse:
                continue
            size, error = row.value, row.mcse
            if summary.is_ratio:
                by = f"{exp(size):.3f} +-{exp(size) * error:.3f} times the product"
            else:
                by = f"{size:+.3g} +-{error:.2g} from the sum"
            shown = "beyond chance" if abs(size) > 2 * error else "no more than chance"
            told.append(f"{row.scenario}: together they do {by} of what each does alone, {shown}.")
        return f"Interaction. {' '.join(told)}" if told else ""

    def _cautions(self) -> Iterator[Caution]:
        ids = [scenario.id for scenario in self.scenarios]
        nature, primary = self.resolved.template.nature, self.resolved.template.protocol.primary
        by = ""
        steered = Mechanism.FORESEEN_ALLOCATION in self.mechanisms
        if steered and nature.severity_slope and nature.severity_slope.source is None:
            slope = nature.severity_slope.value
            by = f"moves the log odds of the outcome by {slope:g} per standard deviation"
        known = correlation_matrix((SEVERITY, primary.id), nature.correlations)[0][1]
        if steered and known:
            by = f"correlates with {primary.id} by {known:g}"
        if by:
            yield assumption(
                f"Severity {by}: foreseen allocation has nothing to pick by without prognosis.",
                *ids,
            )
        yield assumption(
            f"Conduct '{self.conduct.id}' ({self.conduct.title}). "
            f"{self.conduct.note or 'Its strengths are assumed unless sourced.'}",
            *ids,
        )


def against_none(summary: AnySummary) -> Measure:
    """Return what tells an effect with flaws from that without: a ratio of ratios, a difference."""
    if summary is Summary.ODDS_RATIO:
        return Measure.RATIO_OF_ODDS_RATIOS
    return Measure.RATIO_OF_RATIOS if summary.is_ratio else Measure.DIFFERENCE_OF_DIFFERENCES


def _subsets(flaws: Sequence[Mechanism]) -> list[Coalition]:
    """Return every subset, the empty one first and the whole last."""
    sizes = (combinations(flaws, n) for n in range(len(flaws) + 1))
    return [frozenset(some) for some in chain.from_iterable(sizes)]


def before_publication(profile: Conduct) -> Conduct:
    """Return what can be simulated once for trials published and not."""
    return profile.only(set(profile.mechanisms) - {Mechanism.PUBLICATION}).model_copy(
        update={"id": RIGOROUS.id, "title": RIGOROUS.title, "note": None}
    )


def _error(influence: Floats) -> float:
    return sqrt(float((influence**2).sum())) / len(influence)
