"""What flaws of conduct do to an effect, from truth to publication, one at a time and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain, combinations
from math import exp, factorial, sqrt
from re import search

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import MIN_REPLICATES, characteristics, proportion, true_effect
from trialsim.conduct.publication import published
from trialsim.conduct.records import Luck
from trialsim.engine.blocks import Job
from trialsim.engine.run import Progress, run
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError, SimulationError, did_you_mean
from trialsim.protocol.cautions import Caution, assumption, cautions_about
from trialsim.protocol.conduct import RIGOROUS, Conduct, Mechanism
from trialsim.protocol.endpoints import BinaryEndpoint, ResponseEndpoint, Summary
from trialsim.protocol.quantities import Slope
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row, StudyResult

__all__ = [
    "ASSUMED_SEVERITY_SLOPE",
    "MAX_MECHANISMS",
    "PlannedBias",
    "flaw_from_words",
    "plan_bias",
    "strengths_from_words",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Coalition = frozenset[Mechanism]

MAX_MECHANISMS = 8  # a Shapley value of m flaws needs 2^m trials of the same patients
ASSUMED_SEVERITY_SLOPE = 1.0  # log odds per SD, where a template states no prognosis: assumed
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
            count = round((last - first) / step) + 1 if 0.001 <= step <= 1 else 0
            found = tuple(round(first + k * step, 6) for k in range(min(count, 1000)))
        else:
            found = tuple(float(part) for part in words.split(","))
    except ValueError:
        raise RequestError(problem) from None
    if not 1 <= len(found) <= 101 or not all(0 <= s <= 1 for s in found):
        raise RequestError(problem)
    return tuple(dict.fromkeys(found))


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
    template = resolved.template
    if template.nature.severity_slope is None and Mechanism.FORESEEN_ALLOCATION in (
        conduct.mechanisms
    ):
        slope = Slope(value=ASSUMED_SEVERITY_SLOPE)
        nature = template.nature.model_copy(update={"severity_slope": slope})
        resolved = replace(resolved, template=template.model_copy(update={"nature": nature}))
    if only:
        conduct = conduct.only({only})
    chosen = resolved.scenarios(scenarios)
    _check(resolved, conduct, only)
    return PlannedBias(resolved, conduct, chosen, only, tuple(strengths))


def _check(resolved: ResolvedTemplate, conduct: Conduct, only: Mechanism | None) -> None:
    protocol, problems = resolved.template.protocol, []
    primary = protocol.primary
    if not isinstance(primary, BinaryEndpoint | ResponseEndpoint) or protocol.is_single_arm:
        rule = f"acts on two arms and a binary or response endpoint so far, not on {primary.kind}"
        if protocol.is_single_arm:
            rule = "acts on two arms, and this trial has one"
        remedy = "Use a template with such a primary endpoint, for example sepsis."
        raise RequestError(Problem(rule, remedy, "bias", resolved.template.id))
    if only and not conduct.mechanisms:
        remedy = "Name another with --conduct, or give a strength above 0."
        rule = f"has no flaw of {only} that acts"
        problems.append(Problem(rule, remedy, "--conduct", conduct.id))
    if len(conduct.mechanisms) > MAX_MECHANISMS:
        rule = f"has {len(conduct.mechanisms)} flaws; shares are exact up to {MAX_MECHANISMS}"
        problems.append(
            Problem(rule, "Leave some out, or look at one with --only.", "--conduct", conduct.id)
        )
    if protocol.looks and Mechanism.UNDECLARED_LOOKS in conduct.mechanisms:
        rule, remedy = "has undeclared looks, and the protocol declares its own", "Leave one out."
        problems.append(Problem(rule, remedy, "--conduct", conduct.id))
    if resolved.template.nature.intercurrent_events:
        remedy = "Choose a variant without them."
        problems.append(
            Problem("does not act beside intercurrent events so far", remedy, "bias", primary.id)
        )
    foreseen = Mechanism.FORESEEN_ALLOCATION in conduct.mechanisms
    if foreseen and isinstance(primary, ResponseEndpoint):
        rule = "foresees the allocation, and nothing of a response is known beforehand to pick by"
        remedy = "Leave it out of the profile, or look at another flaw with --only."
        problems.append(Problem(rule, remedy, "--conduct", conduct.id))
    deaths = search(r"\b(death|died|dies|mortality)\b.*\b(any|all)\b|all-cause", primary.event)
    if deaths and Mechanism.ASSESSMENT in conduct.mechanisms:
        rule = f"misreads outcomes, and '{primary.event}' cannot be misread"
        remedy = "Leave it out of the profile, or look at another flaw with --only."
        problems.append(Problem(rule, remedy, "--conduct", conduct.id))
    if problems:
        raise RequestError(problems)


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
        before = dict.fromkeys(_before_publication(p) for p in self.profiles)
        plans = tuple(replace(plan, conduct=own) for own in before)
        truths = tuple(self.resolved.truth(scenario) for scenario in self.scenarios)
        return Job(protocol, plans, truths)

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
        (simulation,) = run(
            [self.job], n_replicates=replicates, seed=seed, workers=workers, on_progress=on_progress
        )
        rows: list[Row] = []
        places = {plan.conduct: index for index, plan in enumerate(self.job.plans)}
        for truth, results in zip(self.job.truths, simulation.results, strict=True):
            found = {
                profile: self._reported(
                    profile, results[places[_before_publication(profile)]], seed
                )
                for profile in self.profiles
            }
            rows += self._rows(truth, found)
        cited = [reference.evidence for reference in self.resolved.template.observed]
        return StudyResult(
            rows=tuple(rows),
            texts={"interactions": told} if (told := self._interactions(rows)) else {},
            warnings=(*cautions_about(cited, self.resolved.evidence), *self._cautions()),
            n_replicates=replicates,
        )

    def _reported(self, profile: Conduct, results: LookResults, seed: int) -> Reported:
        """Return which trials are published; the luck is that of the trial, whatever is found."""
        out = ~results.failed[:, -1]
        if (flaw := profile.publication) and flaw.acts:
            width, streams = self.job.block_width, Streams(seed)
            seen = np.concatenate(
                [
                    published(
                        flaw,
                        results.rejected[start : start + width, -1],
                        results.z[start : start + width, -1],
                        self.job.protocol.n_total,
                        Luck(streams, start // width, (0, width)),
                    )
                    for start in range(0, len(out), width)
                ]
            )
            out &= seen
        if out.sum() < MIN_REPLICATES:
            rule = f"only {out.sum()} of {len(out):,} trials with this conduct are published"
            remedy = f"At least {MIN_REPLICATES} are needed: more --replicates, a weaker filter."
            raise SimulationError(Problem(rule, remedy, "--conduct", profile.id))
        return Reported(results, out)

    def _rows(self, truth: Truth, found: Mapping[Conduct, Reported]) -> Iterator[Row]:
        protocol = self.resolved.template.protocol
        plan, primary = self.job.plans[0], protocol.primary
        assert isinstance(plan.summary, Summary)
        theta = true_effect(truth.risks_on(plan.day), plan.summary)
        blank = Row.about(
            Measure.RISK, truth.scenario, primary.id, primary.read_out, self.resolved.variant
        )
        base = found[self.profiles[0]]
        for profile, own in found.items():
            names = [str(m) for m in profile.mechanisms] if profile is not self.profiles[0] else []
            shown = self.only or len(names) in (0, 1, len(self.mechanisms))
            if not shown:
                continue
            strength = profile.of(self.only).strength.value if self.only and names else None
            if self.only and not names and profile is not self.profiles[0]:
                strength = 0.0
            label = "none" if not names else names[0] if len(names) == 1 else "all"
            label = str(self.only) if strength is not None else label
            here = replace(blank, mechanism=label, strength=strength)
            yield from self._one(own, base, theta, plan.summary, here)
        if not self.only:
            yield from self._shares(found, theta, blank)

    def _one(
        self, own: Reported, base: Reported, theta: float, summary: Summary, blank: Row
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
        if summary is Summary.ODDS_RATIO:
            yield replace(
                here,
                measure=Measure.RATIO_OF_ODDS_RATIOS,
                value=exp(apart),
                mcse=exp(apart) * error,
                n_replicates=own.n,
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
        scale = f"log {self.job.plans[0].summary}"
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
        for name, value, influence in bars:
            yield replace(
                blank,
                measure=Measure.ATTRIBUTION,
                mechanism=name,
                value=value,
                mcse=_error(influence),
                n_replicates=everything.n,
                n_failed=int(everything.results.failed[:, -1].sum()),
                scale=scale,
            )

    def _interactions(self, rows: Sequence[Row]) -> str:
        """Say whether flaws together do more than the sum of what each does alone."""
        if self.only or len(self.mechanisms) < 2:
            return ""
        told = []
        for scenario in self.scenarios:
            ratios = {
                row.mechanism: row
                for row in rows
                if row.measure is Measure.RATIO_OF_ODDS_RATIOS and row.scenario == scenario.id
            }
            if not ratios:
                continue
            product = 1.0
            for flaw in self.mechanisms:
                product *= ratios[str(flaw)].value or 1.0
            whole = ratios["all"].value or 1.0
            told.append(
                f"{scenario.id}: the ratios of odds ratios of each flaw alone multiply to "
                f"{product:.2f}; together they give {whole:.2f}."
            )
        return " ".join(told)

    def _cautions(self) -> Iterator[Caution]:
        ids = [scenario.id for scenario in self.scenarios]
        if self.resolved.template.nature.severity_slope and (
            self.resolved.template.nature.severity_slope.source is None
        ):
            slope = self.resolved.template.nature.severity_slope.value
            yield assumption(
                f"Severity moves the log odds of the outcome by {slope:g} per standard deviation: "
                "foreseen allocation has nothing to pick by without prognosis.",
                *ids,
            )
        yield assumption(
            f"Conduct '{self.conduct.id}' ({self.conduct.title}). "
            f"{self.conduct.note or 'Its strengths are assumed unless sourced.'}",
            *ids,
        )


def _subsets(flaws: Sequence[Mechanism]) -> list[Coalition]:
    """Return every subset, the empty one first and the whole last."""
    sizes = (combinations(flaws, n) for n in range(len(flaws) + 1))
    return [frozenset(some) for some in chain.from_iterable(sizes)]


def _before_publication(profile: Conduct) -> Conduct:
    """Return what can be simulated once for trials published and not."""
    return profile.only(set(profile.mechanisms) - {Mechanism.PUBLICATION}).model_copy(
        update={"id": RIGOROUS.id, "title": RIGOROUS.title, "note": None}
    )


def _error(influence: Floats) -> float:
    return sqrt(float((influence**2).sum())) / len(influence)
