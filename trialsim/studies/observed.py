"""How do published trials sit among simulated ones? Observed v simulated.

Each observed trial is simulated at its own arm sizes, control risk and read-out, under every
scenario carried over to its control risk. A pooled result is shown but never simulated as if it
were one trial: its percentile needs a simulated literature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.binary import analyse_counts
from trialsim.characteristics import (
    MIN_REPLICATES,
    Characteristic,
    characteristics,
    mid_percentile,
    true_effect,
)
from trialsim.engine.blocks import Job
from trialsim.engine.run import Simulation
from trialsim.protocol.design import Allocation, Protocol, SampleSize
from trialsim.protocol.endpoints import (
    Better,
    ContinuousEndpoint,
    OutcomeSummary,
    PublishedSummary,
    ResponseEndpoint,
    SimulatedEndpoint,
    Summary,
    TimeToEventEndpoint,
)
from trialsim.protocol.outcomes import MeasuredTruth
from trialsim.protocol.published.evidence import EffectEstimate, Pool, Trial, TrialResult
from trialsim.protocol.published.survival import published_lifetimes
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.template import ObservedReference
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.observed_means import as_published, difference_of, truth_at
from trialsim.studies.observed_one_arm import seen_in_one_arm, truth_of_one_arm
from trialsim.studies.observed_survival import carried_out, theta_of_lifetimes, truth_of
from trialsim.trial import AnalysisPlan, Finding, Measure, Row

__all__ = [
    "ObservedPool",
    "ObservedTrial",
    "Placement",
    "finding",
    "observed_pools",
    "observed_rows",
    "observed_trials",
    "out_of_100",
    "placements",
    "seen_in_words",
    "sentence",
    "surprises",
]

AS_PUBLISHED = "as published"
_PATIENT = "per patient"
_POOLED = "pooled: its percentile needs a simulated literature, not one trial"
_OWN_POWER = "power at a trial's own observed effect says nothing its P value does not"
_SHOWN = (Measure.POWER, Measure.TYPE_M, Measure.TYPE_S, Measure.POWER_WRONG_DIRECTION)


@dataclass(frozen=True)
class ObservedTrial:
    """A published trial, analysed as the simulated ones are.

    Attributes
    ----------
    estimate, lower, upper : float
        From its counts or as published, on the analysis scale (ratios as logarithms); 95% interval.
    analysis : str
        What the estimate is from, in words.
    follow_up : str
        How its patients are followed, where that is worth a word.
    words : str
        What was seen, where that is not the estimate with its interval.
    truths : tuple of Truth
        Scenarios that can be carried over to its control risk.
    not_simulated : dict of str to str
        Scenario id -> why it cannot; every scenario where the trial itself cannot be simulated.
    """

    record: Trial
    result: TrialResult
    protocol: Protocol
    plan: AnalysisPlan
    estimate: float
    lower: float | None
    upper: float | None
    truths: tuple[Truth, ...]
    not_simulated: dict[str, str]
    analysis: str = "from its counts"
    follow_up: str = ""
    words: str = ""

    @property
    def n_total(self) -> int:
        """Patients analysed."""
        return self.protocol.n_total

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher estimate favours treatment: of medians a longer time to what is bad."""
        longer = self.plan.summary is PublishedSummary.MEDIAN_RATIO
        return (self.plan.better is Better.HIGHER) != longer

    def not_yet_simulated(self) -> ObservedTrial:
        """Return the trial as a run that was stopped before it came to it knows it."""
        why = dict.fromkeys((truth.scenario for truth in self.truths), "not simulated yet")
        return replace(self, truths=(), not_simulated={**self.not_simulated, **why})

    @property
    def job(self) -> Job:
        """The simulation of this trial under every scenario that can be carried over."""
        return Job(self.protocol, (self.plan,), self.truths, self.record.id)


@dataclass(frozen=True)
class ObservedPool:
    """A published pooled estimate, on the analysis scale."""

    record: Pool
    effect: EffectEstimate


@dataclass(frozen=True)
class Placement:
    """Where an observed trial falls among trials simulated under one scenario.

    Attributes
    ----------
    below : Characteristic or None
        Share of simulated estimates below the observed one; None below 100 replicates.
    looks_worse : float or None
        Share of simulated trials less favourable than the observed one.
    quantiles : ndarray, shape (5,)
        2.5, 25, 50, 75 and 97.5% points of the simulated estimates, analysis scale.
    relation : str
        "same data" or "shares patients" where the scenario rests on this trial; else empty.
    """

    trial: ObservedTrial
    truth: Truth
    below: Characteristic | None
    looks_worse: float | None
    quantiles: NDArray[np.float64]
    found: tuple[Characteristic, ...]
    n_failed: int
    relation: str


def observed_trials(
    resolved: ResolvedTemplate, scenarios: Sequence[Scenario]
) -> list[ObservedTrial]:
    """Return the trials of ``observed:``, ready to be simulated under these scenarios."""
    found = []
    for reference in resolved.template.observed:
        record = resolved.evidence.records[reference.evidence]
        if isinstance(record, Trial):
            found.append(_observed_trial(record, reference, resolved, scenarios))
    return found


def _observed_trial(
    record: Trial,
    reference: ObservedReference,
    resolved: ResolvedTemplate,
    scenarios: Sequence[Scenario],
) -> ObservedTrial:
    own = resolved.template.protocol
    result = record.result(reference.result or reference.endpoint or own.primary.id)
    if result and own.is_single_arm:
        endpoint = resolved.endpoint(reference.endpoint or own.primary.id)
        return _single_arm(record, result, endpoint, resolved, scenarios)
    if result and isinstance(own.primary, TimeToEventEndpoint):
        return _trial_of_lifetimes(record, result, reference, resolved, scenarios)
    if not (result and result.experimental and result.control):
        raise AssertionError("checked when the file was loaded")
    if isinstance(own.primary, ContinuousEndpoint):
        return _trial_of_means(record, result, resolved, scenarios)
    x1, n1 = result.experimental.events or 0, result.experimental.n or 1
    x0, n0 = result.control.events or 0, result.control.n or 1
    protocol = _as_carried_out(own, result, n1, n0)
    measure = reference.measure.summary if reference.measure else None
    assert measure is None or isinstance(measure, Summary)  # of risks, by the rules
    plan = AnalysisPlan.of(protocol, summary=measure)
    seen = analyse_counts(x1, n1, x0, n0, replace(plan, alpha=0.05, sides=2))
    truths, refused = [], {}
    obstacle = _obstacle(result, x0 / n0, own)
    for scenario in scenarios:
        try:
            if obstacle:
                raise ValueError(obstacle)
            truths.append(_as_counted(resolved.truth(scenario, control_risk=x0 / n0)))
        except ValueError as why:
            refused[scenario.id] = str(why)
    estimate, lower, upper = (
        float(column[0, 0]) for column in (seen.estimate, seen.lower, seen.upper)
    )
    return ObservedTrial(
        record, result, protocol, plan, estimate, lower, upper, tuple(truths), refused
    )


def _single_arm(
    record: Trial,
    result: TrialResult,
    endpoint: SimulatedEndpoint,
    resolved: ResolvedTemplate,
    scenarios: Sequence[Scenario],
) -> ObservedTrial:
    own = resolved.template.protocol
    if result.experimental is None:
        raise AssertionError("checked when the file was loaded")
    seen = seen_in_one_arm(own, endpoint, result.experimental)
    obstacle = _read_at_another_time(result, own, endpoint)
    truths = () if obstacle else tuple(truth_of_one_arm(s, resolved) for s in scenarios)
    refused = dict.fromkeys((s.id for s in scenarios), obstacle) if obstacle else {}
    return ObservedTrial(
        record,
        result,
        seen.protocol,
        seen.plan,
        seen.estimate,
        seen.lower,
        seen.upper,
        truths,
        refused,
        seen.analysis,
        words=seen.words,
    )


def _trial_of_lifetimes(
    record: Trial,
    result: TrialResult,
    reference: ObservedReference,
    resolved: ResolvedTemplate,
    scenarios: Sequence[Scenario],
) -> ObservedTrial:
    own = resolved.template.protocol
    seen = published_lifetimes(record, result.id, reference.measure, own.therapy)
    done = carried_out(own, seen)
    truths, refused = [], {}
    for scenario in scenarios:
        try:
            truths.append(truth_of(scenario, resolved, seen))
        except ValueError as why:
            refused[scenario.id] = str(why)
    estimate, lower, upper, words = seen.estimate, seen.lower, seen.upper, AS_PUBLISHED
    if isinstance(seen.measure, Summary):
        assert result.experimental is not None
        assert result.control is not None
        x1, x0 = result.experimental.events or 0, result.control.events or 0
        plan = replace(done.plan, alpha=0.05, sides=2)
        found = analyse_counts(x1, seen.n_treated, x0, seen.n_control, plan)
        estimate, lower, upper = (
            float(column[0, 0]) for column in (found.estimate, found.lower, found.upper)
        )
        words = "from its counts"
    elif isinstance(seen.measure, PublishedSummary):
        words = "from its medians"
    assert estimate is not None
    return ObservedTrial(
        record,
        result,
        done.protocol,
        done.plan,
        estimate,
        lower,
        upper,
        tuple(truths),
        refused,
        words,
        done.follow_up,
    )


def _trial_of_means(
    record: Trial, result: TrialResult, resolved: ResolvedTemplate, scenarios: Sequence[Scenario]
) -> ObservedTrial:
    means = record.means(result.id)
    if means is None:
        raise AssertionError("checked when the file was loaded")
    protocol = _as_carried_out(resolved.template.protocol, result, means[0].n, means[1].n)
    plan = as_published(AnalysisPlan.of(protocol))
    obstacle = _read_at_another_time(result, protocol)
    truths = () if obstacle else tuple(truth_at(*means, s, resolved) for s in scenarios)
    refused = dict.fromkeys((s.id for s in scenarios), obstacle) if obstacle else {}
    return ObservedTrial(
        record,
        result,
        protocol,
        plan,
        *difference_of(*means, plan),
        truths,
        refused,
        "from its means",
    )


def _as_counted(truth: Truth) -> Truth:
    """Return a truth without missed visits: published counts have had theirs."""
    courses = truth.courses
    return replace(truth, courses=replace(courses, missed_visits=0.0)) if courses else truth


def _as_carried_out(own: Protocol, result: TrialResult, n1: int, n0: int) -> Protocol:
    """Return the protocol at a trial's own arm sizes; a response is read at its own time."""
    sizes = SampleSize(per_arm={own.experimental.id: n1, own.control.id: n0})
    changes: dict[str, object] = {
        "sample_size": sizes,
        "allocation": Allocation(),
        "looks": (),  # published results are of the end
    }
    if isinstance(own.primary, ResponseEndpoint) and result.at:
        changes |= {"endpoints": (own.primary.model_copy(update={"at": result.at}),), "visits": ()}
    return own.model_copy(update=changes)


def _obstacle(result: TrialResult, control_risk: float, own: Protocol) -> str:
    if isinstance(own.primary, ResponseEndpoint):
        return "" if result.at else "the time of its read-out is not recorded"
    if not 0 < control_risk < 1:
        return "none or all of its control patients had the event"
    return _read_at_another_time(result, own)


def _read_at_another_time(
    result: TrialResult, own: Protocol, endpoint: SimulatedEndpoint | None = None
) -> str:
    therapy, read_out = own.therapy, (endpoint or own.primary).read_out
    planned = read_out.days_after_entry(therapy)
    if result.at and abs(result.at.days_after_entry(therapy) - planned) > 0.5:
        at = read_out.in_words(therapy)
        return f"read at {result.at.in_words(therapy)}, the endpoint at {at}"
    return ""


def observed_pools(resolved: ResolvedTemplate) -> list[ObservedPool]:
    """Return the pooled results of ``observed:``."""
    summary = resolved.template.protocol.primary.summary
    found = []
    for reference in resolved.template.observed:
        record = resolved.evidence.records[reference.evidence]
        if isinstance(record, Pool):
            wanted = (reference.measure or summary).value
            effect = next(e for e in record.effects if e.measure.value == wanted)
            found.append(ObservedPool(record, effect))
    return found


def placements(
    trial: ObservedTrial, simulation: Simulation | None, resolved: ResolvedTemplate
) -> list[Placement]:
    """Place an observed trial in each of its simulated distributions."""
    placed = []
    simulated = simulation.results if simulation else ()
    for truth, (results,) in zip(trial.truths, simulated, strict=True):
        ok = ~results.failed[:, -1]
        estimates = results.estimate[ok, -1]
        theta = _theta(trial, truth)
        found = tuple(characteristics(results, theta, trial.plan.summary))
        below = worse = None
        if len(estimates) >= MIN_REPLICATES:
            below = mid_percentile(estimates, trial.estimate)
            assert below.value is not None
            worse = below.value if trial.higher_is_better else 1 - below.value
        relation = ""
        same_result = not truth.from_results or trial.result.id in truth.from_results
        if truth.from_data_of == trial.record.id and same_result:
            relation = "same data"
        elif truth.source and resolved.evidence.shares_patients(truth.source, trial.record.id):
            relation = "shares patients"
        quantiles = _quantiles(estimates)
        placed.append(
            Placement(trial, truth, below, worse, quantiles, found, int((~ok).sum()), relation)
        )
    return placed


def _quantiles(estimates: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = [0.025, 0.25, 0.5, 0.75, 0.975]
    if np.isfinite(estimates).all():
        return np.quantile(estimates, shares)
    return np.quantile(estimates, shares, method="inverted_cdf")  # nothing between two infinities


def _theta(trial: ObservedTrial, truth: Truth) -> float:
    plan = trial.plan
    if truth.lifetimes:
        return theta_of_lifetimes(trial.protocol, plan, truth)
    outcome = truth.outcome(plan.endpoint)
    if isinstance(outcome, MeasuredTruth):
        return outcome.theta(OutcomeSummary.MEAN_DIFFERENCE)  # of logarithms on the log scale
    assert isinstance(plan.summary, Summary)  # published counts are compared by risks
    return true_effect(truth.risks_on(plan.day, plan.counted), plan.summary)


def observed_rows(
    trials: Sequence[tuple[ObservedTrial, Sequence[Placement]]],
    pools: Sequence[ObservedPool],
    resolved: ResolvedTemplate,
) -> list[Row]:
    """Return the rows about published results, trials first."""
    rows: list[Row] = []
    for trial, placed in trials:
        rows += _trial_rows(trial, resolved)
        for placement in placed:
            rows += _placement_rows(placement)
        rows += [
            Row(
                measure=Measure.PERCENTILE,
                value=None,
                scenario=scenario,
                evidence=trial.record.id,
                why=why,
            )
            for scenario, why in trial.not_simulated.items()
        ]
    for pool in pools:
        ci = pool.effect.ci or (None, None)
        rows.append(
            Row(
                measure=Measure.ESTIMATE,
                value=pool.effect.value,
                evidence=pool.record.id,
                analysis="pooled",
                lower=ci[0],
                upper=ci[1],
                level=0.95 if pool.effect.ci else None,
                scale=pool.effect.measure.value,
                status=pool.effect.status.value,
            )
        )
        rows.append(
            Row(
                measure=Measure.PERCENTILE,
                value=None,
                evidence=pool.record.id,
                analysis="pooled",
                why=_POOLED,
            )
        )
    return rows


def _trial_rows(trial: ObservedTrial, resolved: ResolvedTemplate) -> Iterator[Row]:
    own, endpoint = trial.protocol, trial.protocol.endpoint(trial.plan.endpoint)
    measured = isinstance(endpoint, ContinuousEndpoint)
    for arm, seen in (
        (own.experimental.id, trial.result.experimental),
        (own.control.id, trial.result.control),
    ):
        if seen is None:
            continue
        shown = seen.value if measured else seen.risk
        if shown is not None:
            yield Row(
                measure=Measure.ARM_MEAN if measured else Measure.RISK,
                value=shown,
                evidence=trial.record.id,
                arm=arm,
                unit=endpoint.unit if isinstance(endpoint, ContinuousEndpoint) else _PATIENT,
                status=seen.status.value,
            )
    back = np.exp if trial.plan.summary.is_ratio else float
    ends = [None if end is None else float(back(end)) for end in (trial.lower, trial.upper)]
    yield Row(
        measure=Measure.ESTIMATE,
        value=float(back(trial.estimate)),
        evidence=trial.record.id,
        analysis=trial.analysis,
        lower=ends[0],
        upper=ends[1],
        level=None if ends[0] is None else 0.95,
        scale=str(trial.plan.summary),
        status=_estimate_status(trial, resolved),
    )


def _estimate_status(trial: ObservedTrial, resolved: ResolvedTemplate) -> str:
    wanted = str(trial.plan.summary) if trial.analysis == AS_PUBLISHED else ""
    stated = [e.status.value for e in trial.result.effects if e.measure.value == wanted]
    return stated[0] if stated else resolved.estimate_status(trial.record.id, trial.result.id)


def _placement_rows(placed: Placement) -> Iterator[Row]:
    blank = Row(
        measure=Measure.PERCENTILE,
        value=None,
        scenario=placed.truth.scenario,
        evidence=placed.trial.record.id,
        analysis=placed.relation or None,
    )
    shown = [c for c in placed.found if c.measure in _SHOWN]
    if placed.below is None:
        yield replace(blank, why=f"fewer than {MIN_REPLICATES} analysable replicates")
    for c in ([placed.below] if placed.below else []) + shown:
        if c.measure is Measure.POWER and placed.relation == "same data":
            yield replace(blank, measure=c.measure, why=_OWN_POWER)
            continue
        yield c.row(replace(blank, n_failed=placed.n_failed))


def out_of_100(share: float) -> str:
    """Return a share as a count out of 100, honest at both ends."""
    if share < 0.005:
        return "fewer than 1"
    return "more than 99" if share > 0.995 else f"{100 * share:.0f}"


def sentence(trial: ObservedTrial, placed: Sequence[Placement]) -> str:
    """Say in plain words where a trial falls."""
    start = f"{trial.record.title} ({_size_in_words(trial)}) saw {seen_in_words(trial)}"
    if not placed or placed[0].looks_worse is None:
        why = next(iter(trial.not_simulated.values()), f"fewer than {MIN_REPLICATES} replicates")
        return f"{start}. Not placed among simulated trials: {why}."
    labels = [p.truth.label for p in placed]

    def named(truth: Truth) -> str:  # several truths may have one effect, or none
        alone = labels.count(truth.label) == 1 or truth.title == truth.label
        return truth.label if alone else f"{truth.label}, {truth.title}"

    odd = " or ".join(named(p.truth) for p in placed if surprises(p))
    fits = ", ".join(
        f"{named(p.truth)} ({out_of_100(p.looks_worse)} of 100 look worse)"
        for p in placed
        if not surprises(p) and p.looks_worse is not None
    )
    outside = f" It lies outside the central 95% of trials simulated at {odd}." if odd else ""
    inside = (
        f" It lies inside it at {fits}." if odd else f" It lies inside the central 95% at {fits}."
    )
    return f"{start}.{outside}{inside if fits else ''}"


def _size_in_words(trial: ObservedTrial) -> str:
    """Return its patients, how they are followed, and that it was not randomised, if so."""
    facts = [f"{trial.n_total:,} patients"]
    if trial.follow_up:
        facts.append(trial.follow_up)
    arms = (trial.result.experimental, trial.result.control)
    weak = [arm.status.value.upper() for arm in arms if arm and arm.status.is_weak]
    facts += weak[:1]
    if not trial.record.design.randomised and not trial.protocol.is_single_arm:
        facts.append("not randomised, as simulated trials are: no percentile takes that off")
    return "; ".join(facts)


def seen_in_words(trial: ObservedTrial) -> str:
    """Return "OR 0.65 (0.41 to 1.02)", from the trial's own counts; of one arm "0 of 10"."""
    if trial.words:
        return trial.words
    back = np.exp if trial.plan.summary.is_ratio else float
    digits = 2 if trial.plan.summary.is_ratio else 3
    name, seen = trial.plan.summary.short, f"{back(trial.estimate):.{digits}f}"
    if trial.lower is None or trial.upper is None:
        return f"{name} {seen}"
    low, high = (f"{back(x):.{digits}f}" for x in (trial.lower, trial.upper))
    return f"{name} {seen} ({low} to {high})"


def surprises(placed: Placement) -> bool:
    """Whether the estimate lies in the outer 5% of its simulated distribution."""
    below = placed.below.value if placed.below else None
    return below is not None and not 0.025 <= below <= 0.975


def finding(trial: ObservedTrial, placed: Sequence[Placement]) -> Finding:
    """Say under which scenarios a trial's estimate would be a surprise (outer 5%)."""
    if not any(p.below for p in placed):
        why = next(iter(trial.not_simulated.values()), f"fewer than {MIN_REPLICATES} replicates")
        return Finding(trial.record.id, "not placed", why)
    odd = [p.truth.scenario for p in placed if surprises(p)]
    fits = [p.truth.scenario for p in placed if p.below and not surprises(p)]
    verdict = f"surprising under {', '.join(odd)}" if odd else "surprising under none"
    detail = f"inside the central 95% of simulated trials under {', '.join(fits) or 'none'}"
    if trial.not_simulated:
        detail += f"; not simulated under {', '.join(trial.not_simulated)}"
    return Finding(trial.record.id, verdict, detail)
