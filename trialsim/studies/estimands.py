"""The same patients, several questions: what each estimand is, and what its analysis finds.

What is true is computed from potential outcomes of patients of their own, everyone under both
treatments (the same whatever the seed of the run); what is found comes from the run's trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.estimands import (
    Potential,
    event_shares,
    is_analysed,
    potential_arms,
    trials_of,
)
from trialsim.characteristics import MIN_REPLICATES, characteristics, mean, true_effect
from trialsim.engine.blocks import Job, draw_patients, eventful_id
from trialsim.engine.run import Simulation
from trialsim.generate.intercurrent import EventfulBatch
from trialsim.protocol.design import AllocationMethod, SampleSize
from trialsim.protocol.endpoints import OutcomeSummary, Summary
from trialsim.protocol.intercurrent import estimands_of
from trialsim.protocol.outcomes import CountTruth, MeasuredTruth, OutcomeTruth, RiskTruth
from trialsim.protocol.scenario import Truth
from trialsim.protocol.survival import DAYS_PER_YEAR
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row

__all__ = ["EstimandValue", "analysed_trials", "estimand_rows", "estimand_value", "plans_of"]

_PATIENTS, _BLOCKS, _PARTS = 200, 8, 4  # 8 blocks of 256 trials of 200: 409,600 patients
_SEED, _UNIT = 0, "potential outcomes"
_SHOWN = (
    Measure.POWER,
    Measure.TYPE_I_ERROR,
    Measure.ESTIMATE_MEAN,
    Measure.BIAS,
    Measure.EMPIRICAL_SE,
    Measure.MODEL_SE,
    Measure.COVERAGE,
    Measure.ESTIMATE_Q025,
    Measure.ESTIMATE_Q975,
    Measure.N_FAILED,
)


@dataclass(frozen=True)
class EstimandValue:
    """What an estimand is under one truth.

    Attributes
    ----------
    control, treated : float
        Risk, mean (of logarithms on the log scale), rate, or chance to win.
    theta : float
        On the analysis scale.
    mcse : float
        Monte Carlo standard error of `theta`; 0 where the value is exact.
    share : float
        Of the patients it is about: below 1 for a principal stratum.
    n : int
        Patients it was computed from, everyone under both treatments.
    events : tuple of (id, control, treated)
        Share of the patients with each event by the read-out.
    """

    control: float
    treated: float
    theta: float
    mcse: float
    share: float
    n: int
    events: tuple[tuple[str, float, float], ...] = ()

    def shown(self, plan: AnalysisPlan, outcome: OutcomeTruth | None) -> tuple[float, float]:
        """Return what both arms show in the unit of the file."""
        both = self.control, self.treated
        if plan.summary is OutcomeSummary.RATE_RATIO:
            return both[0] * DAYS_PER_YEAR, both[1] * DAYS_PER_YEAR
        log_scale = isinstance(outcome, MeasuredTruth) and outcome.log
        if log_scale and plan.summary is not OutcomeSummary.WIN_DIFFERENCE:
            return exp(both[0]), exp(both[1])
        return both

    def unit(self, plan: AnalysisPlan, outcome: OutcomeTruth | None) -> str:
        """Return what they are counted in."""
        ranked = plan.summary is OutcomeSummary.WIN_DIFFERENCE
        if isinstance(outcome, MeasuredTruth) and ranked:
            return "chance to be the higher of two"
        return outcome.unit if outcome else "per patient"


def plans_of(resolved: ResolvedTemplate) -> tuple[AnalysisPlan, ...]:
    """Return the analyses of a protocol's own trial: one per endpoint, then further estimands."""
    protocol = resolved.template.protocol
    events = resolved.template.nature.intercurrent_events
    main, further = [], []
    for endpoint in resolved.endpoints:
        plan = AnalysisPlan.of(protocol, endpoint)
        asked = [plan.asking(each, endpoint) for each in estimands_of(endpoint, events)]
        main.append(asked[0] if asked else plan)
        further += asked[1:]
    return (*main, *further)


def analysed_trials(
    results: LookResults, plan: AnalysisPlan, block_width: int
) -> tuple[LookResults, NDArray[np.bool_]]:
    """Return the trials in which an estimand is analysed at all, and which these are."""
    n = len(results.z)
    there = is_analysed(plan, np.arange(n), block_width)
    if there.all():
        return results, there
    kept = LookResults(**{name: column[there] for name, column in vars(results).items()})
    return kept, there


@dataclass(frozen=True)
class _Question:
    """What a value depends on; two with the same key have the same answer."""

    key: str
    job: Job = field(compare=False, repr=False)
    plans: tuple[AnalysisPlan, ...] = field(compare=False, repr=False)


def estimand_value(job: Job, plan: AnalysisPlan, truth: Truth) -> EstimandValue:
    """Return what an estimand is under one truth.

    Every patient's outcome under control and under treatment, by the plan's own strategies with
    nothing missing. Where the same patients without events have a known answer, only the change
    that events make is taken from them, which leaves much less Monte Carlo error.

    Parameters
    ----------
    job : Job
        The protocol's own.
    plan : AnalysisPlan
        With an estimand.
    truth : Truth
    """
    simply = job.protocol.allocation.model_copy(
        update={"method": AllocationMethod.SIMPLE, "stratify_by": (), "block_sizes": None}
    )
    protocol = job.protocol.model_copy(
        update={"sample_size": SampleSize(total=_PATIENTS), "allocation": simply}
    )
    truth = _nobody_lost(truth)
    asked = tuple(p for p in job.plans if p.endpoint == plan.endpoint)
    drawn = (next(p for p in asked if p.is_main), *_other_endpoints(job, truth, plan))
    small = replace(job, protocol=protocol, plans=drawn, truths=(truth,), unit=_UNIT)
    return _values(_Question(repr((protocol, asked, truth)), small, asked))[plan]


def _other_endpoints(job: Job, truth: Truth, plan: AnalysisPlan) -> tuple[AnalysisPlan, ...]:
    """Return plans of the endpoints that hazards depend on: they have to be drawn too."""
    needed = {event.per_sd[0] for event in truth.intercurrent if event.per_sd}
    needed |= {job.protocol.primary.id}
    return tuple(
        p for p in job.plans if p.is_main and p.endpoint in needed and p.endpoint != plan.endpoint
    )


def _nobody_lost(truth: Truth) -> Truth:
    """Return the truth without enrolment and loss, which have no part in what is true."""
    outcomes: list[tuple[str, OutcomeTruth]] = []
    for name, outcome in truth.outcomes:
        own = outcome
        if isinstance(own, MeasuredTruth):
            own = replace(own, lost_per_visit=0.0)
        elif isinstance(own, CountTruth):
            own = replace(own, loss=0.0)
        outcomes.append((name, own))
    return replace(truth, enrolment=None, sites=None, outcomes=tuple(outcomes))


@lru_cache(maxsize=256)
def _values(question: _Question) -> dict[AnalysisPlan, EstimandValue]:
    truth = question.job.truths[0]
    parts: dict[AnalysisPlan, list[Potential]] = {plan: [] for plan in question.plans}
    shares: list[dict[str, tuple[float, float]]] = []
    for block in range(_BLOCKS):
        _, (batches,) = draw_patients(question.job, _SEED, block, frozenset())
        batch: EventfulBatch = batches[eventful_id(question.plans[0].endpoint)]
        shares.append(event_shares(batch))
        for part in _cut(batch):
            for plan, own in parts.items():
                own.append(potential_arms(part, plan))
    events = tuple(
        (name, *np.mean([share[name] for share in shares], axis=0).tolist()) for name in shares[0]
    )
    n = _BLOCKS * batch.assigned.size
    return {plan: _value(plan, truth, own, n, events) for plan, own in parts.items()}


def _value(
    plan: AnalysisPlan,
    truth: Truth,
    parts: Sequence[Potential],
    n: int,
    events: tuple[tuple[str, float, float], ...],
) -> EstimandValue:
    """Return the mean over parts, each moved by how far its patients are from what is known."""
    known = _known(plan, truth)
    arms, thetas = [], []
    for part in parts:
        own = part.arms
        if part.without and known:
            own = (
                known[0] + part.arms[0] - part.without[0],
                known[1] + part.arms[1] - part.without[1],
            )
        arms.append(own)
        thetas.append(_theta(own, plan) if part.theta is None else part.theta)
    control, treated = np.mean(arms, axis=0).tolist()
    mcse = float(np.std(thetas, ddof=1)) / sqrt(len(thetas))
    return EstimandValue(
        control,
        treated,
        float(np.mean(thetas)),
        mcse if mcse > 1e-12 else 0.0,  # below, it is rounding: the value is exact
        float(np.mean([part.share for part in parts])),
        n,
        events,
    )


def _cut(batch: EventfulBatch) -> Iterator[EventfulBatch]:
    width = batch.assigned.shape[1]
    step = width // _PARTS
    for start in range(0, width, step):
        yield trials_of(batch, slice(start, start + step))


def _known(plan: AnalysisPlan, truth: Truth) -> tuple[float, float] | None:
    """Return what both arms would show without events, on the scale of `Potential`."""
    outcome = truth.outcome(plan.endpoint)
    if plan.summary in (OutcomeSummary.COMMON_ODDS_RATIO, OutcomeSummary.WIN_DIFFERENCE):
        return None
    if outcome is None:
        return truth.risks_on(plan.day, plan.counted)
    if isinstance(outcome, RiskTruth) or plan.summary is OutcomeSummary.RATE_RATIO:
        control, treated = outcome.arms
        per_day = 1.0 if isinstance(outcome, RiskTruth) else 1 / DAYS_PER_YEAR
        return control * per_day, treated * per_day
    assert isinstance(outcome, MeasuredTruth)
    return outcome.control[-1], outcome.treated[-1]


def _theta(arms: tuple[float, float], plan: AnalysisPlan) -> float:
    if isinstance(plan.summary, Summary):
        return true_effect(arms, plan.summary)
    if arms[0] == arms[1]:
        return 0.0
    if plan.summary is OutcomeSummary.RATE_RATIO:
        return log(arms[1] / arms[0])
    return arms[1] - arms[0]


def estimand_rows(resolved: ResolvedTemplate, simulation: Simulation) -> Iterator[Row]:
    """Yield, per scenario and endpoint, what each estimand is and what its analysis finds.

    The bias is against the estimand's own value, and its standard error holds that of both; how
    far estimates lie from those of the main estimand is taken from the same trials.
    """
    job = simulation.job
    if not any(plan.estimand for plan in job.plans):
        return
    for truth, results in zip(job.truths, simulation.results, strict=True):
        main = {
            plan.endpoint: found
            for plan, found in zip(job.plans, results, strict=True)
            if plan.is_main
        }
        own = {plan.endpoint: plan for plan in job.plans if plan.is_main}
        order = sorted(range(len(job.plans)), key=lambda k: list(own).index(job.plans[k].endpoint))
        for index in order:
            plan = job.plans[index]
            if plan.estimand is None:
                continue
            value = estimand_value(job, plan, truth)
            blank = _blank(resolved, plan, truth)
            yield from _truth_rows(resolved, plan, value, blank)
            yield from _found_rows(results[index], plan, value, blank, job.block_width)
            if not plan.is_main and plan.summary is own[plan.endpoint].summary:
                yield from _apart(results[index], main[plan.endpoint], plan, blank, job.block_width)


def _blank(resolved: ResolvedTemplate, plan: AnalysisPlan, truth: Truth) -> Row:
    assert plan.estimand is not None
    read_out = resolved.endpoint(plan.endpoint).read_out
    blank = Row.about(
        Measure.TRUE_EFFECT, truth.scenario, plan.endpoint, read_out, resolved.variant
    )
    return replace(blank, estimand=plan.estimand.id)


def _truth_rows(
    resolved: ResolvedTemplate, plan: AnalysisPlan, value: EstimandValue, blank: Row
) -> Iterator[Row]:
    ratio = plan.summary.is_ratio
    natural = exp(value.theta) if ratio else value.theta
    told = replace(blank, n_replicates=value.n, status="assumed")
    yield replace(
        told,
        value=natural,
        mcse=natural * value.mcse if ratio else value.mcse,
        scale=str(plan.summary),
    )
    if value.share < 1:
        yield replace(
            told,
            measure=Measure.STRATUM_SHARE,
            value=value.share,
            mcse=_binomial(value.share, value.n),
        )
    protocol = resolved.template.protocol
    for name, *arms in value.events:
        for arm, share in zip((protocol.control, protocol.experimental), arms, strict=True):
            yield replace(
                told,
                measure=Measure.EVENT_SHARE,
                value=share,
                mcse=_binomial(share, value.n),
                arm=arm.id,
                analysis=name,
            )


def _binomial(share: float, n: int) -> float:
    return sqrt(share * (1 - share) / n)


def _found_rows(
    results: LookResults, plan: AnalysisPlan, value: EstimandValue, blank: Row, width: int
) -> Iterator[Row]:
    assert plan.estimand is not None
    analysed, _ = analysed_trials(results, plan, width)
    told = replace(
        blank,
        analysis=f"{plan.in_words}; {plan.estimand.in_words}",
        n_failed=int(analysed.failed[:, -1].sum()),
    )
    for found in characteristics(analysed, value.theta, plan.summary):
        if found.measure not in _SHOWN:
            continue
        if found.measure is Measure.BIAS and found.mcse is not None:
            found = replace(found, mcse=sqrt(found.mcse**2 + value.mcse**2))
        yield found.row(told)


def _apart(
    results: LookResults, main: LookResults, plan: AnalysisPlan, blank: Row, width: int
) -> Iterator[Row]:
    """Yield how far the estimates lie from the main estimand's in the same trials."""
    own, there = analysed_trials(results, plan, width)
    apart = own.estimate[:, -1] - main.estimate[there, -1]
    apart = apart[np.isfinite(apart)]
    if len(apart) < MIN_REPLICATES:
        return
    scale = f"log {plan.summary}" if plan.summary.is_ratio else str(plan.summary)
    yield mean(Measure.ESTIMATE_DIFFERENCE, apart).row(
        replace(blank, scale=scale, analysis="less the main estimand, same trials")
    )
