"""What a single arm's comparison with its historical control consists of.

Everything that moves the arm away from its control is switched on alone, on the same patients: how
often would it be taken for an effect? Beside that, exact answers where there are any, and what a
randomised trial of the same effect would need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trialsim.analyse.binary import analyse_counts
from trialsim.analyse.single_arm import rejects_after, stages_of
from trialsim.characteristics import MIN_REPLICATES, proportion, true_effect
from trialsim.engine.blocks import Job
from trialsim.engine.run import Simulation
from trialsim.kernels.one_sample import Stages, outcome_probabilities, patients_used, unbiased_rates
from trialsim.protocol.endpoints import Better, BinaryTest, MeasuredTest, Summary
from trialsim.protocol.historical import Comparison, Contribution
from trialsim.protocol.outcomes import MeasuredTruth, OutcomeTruth, RiskTruth
from trialsim.protocol.scenario import Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.sizing.fixed import Level, OppositeTail
from trialsim.sizing.means import (
    Adjusted,
    PooledDeviation,
    Spread,
    TwoMeans,
    means_power,
    means_size,
    one_mean_power,
)
from trialsim.streams import stable_hash
from trialsim.studies.power import size_row
from trialsim.trial import AnalysisPlan, Measure, Row

__all__ = [
    "ALL_BUT_EFFECT",
    "EVERYTHING",
    "NOTHING",
    "alone_job",
    "historical_rows",
    "only",
    "steps_shown",
]

Floats = NDArray[np.float64]

NOTHING = "nothing"
ALL_BUT_EFFECT = "all of these, no effect"
EVERYTHING = "all of it"
_MOST_CELLS = 1_000_000  # of a table of two counts that is enumerated


def only(truth: Truth, kept: frozenset[Contribution], primary: str) -> Truth:
    """Return a single-arm truth in which only some things move the arm from its control.

    Parameters
    ----------
    truth : Truth
    kept : set of Contribution
    primary : str
        Id of the primary endpoint.
    """
    outcomes = tuple(
        (name, _only(outcome, _comparison(truth, name), kept)) for name, outcome in truth.outcomes
    )
    found = replace(truth, outcomes=outcomes)
    comparison = truth.comparison(primary)
    if truth.outcome(primary) or comparison is None:
        return found
    risks = _only(RiskTruth(truth.control_risk, truth.treated_risk), comparison, kept)
    assert isinstance(risks, RiskTruth)
    return replace(found, control_risk=risks.control, treated_risk=risks.treated)


def _comparison(truth: Truth, endpoint: str) -> Comparison:
    comparison = truth.comparison(endpoint)
    assert comparison is not None  # of every endpoint of a single arm
    return comparison


def _only(
    outcome: OutcomeTruth, comparison: Comparison, kept: frozenset[Contribution]
) -> OutcomeTruth:
    steps = dict(comparison.steps)
    if kept >= set(steps):
        return outcome
    effect = steps[Contribution.EFFECT] if Contribution.EFFECT in kept else 0.0
    if isinstance(outcome, RiskTruth):
        known = comparison.control.value
        start = np.log(known / (1 - known))
        moved = start + sum(
            step for name, step in steps.items() if name in kept - {Contribution.EFFECT}
        )
        control = float(expit(moved)) if moved != start else known
        treated_alone = comparison.treated_alone
        if kept == {Contribution.EFFECT} and treated_alone is not None:
            return RiskTruth(control, treated_alone)
        return RiskTruth(control, float(expit(moved + effect)) if effect else control)
    assert isinstance(outcome, MeasuredTruth)
    staying = kept | {Contribution.EFFECT, *_SELECTION}
    back = sum(step for name, step in comparison.steps if name not in staying)
    controls = tuple(mean - back for mean in outcome.control)
    treated = tuple(mean - back for mean in outcome.treated) if effect else controls
    selection = outcome.selection if kept & set(_SELECTION) else None
    return replace(outcome, control=controls, treated=treated, selection=selection)


_SELECTION = (Contribution.SELECTION, Contribution.REGRESSION_TO_THE_MEAN)


@dataclass(frozen=True)
class Alone:
    """One thing alone under one scenario: its words, and the truth in which only it is there."""

    scenario: str
    words: str
    truth: Truth


def _alone(truths: Sequence[Truth], primary: str) -> list[Alone]:
    """Return every thing alone, under each scenario; equal truths have one name, in any company."""
    found = []
    for truth in truths:
        there = {
            name
            for _, comparison in truth.comparisons
            for name, step in comparison.steps
            if step or name in _SELECTION
        }
        departures = frozenset(there - {Contribution.EFFECT})
        sets = {NOTHING: frozenset[Contribution](), ALL_BUT_EFFECT: departures}
        sets |= {name.value: frozenset({name}) for name in Contribution if name in there}
        for words, kept in sets.items():
            own = replace(
                only(truth, kept, primary), scenario="", label="", title="", comparisons=()
            )
            name = f"alone-{stable_hash(repr(own)):08x}"
            found.append(Alone(truth.scenario, words, replace(own, scenario=name)))
    return found


def alone_job(job: Job) -> Job:
    """Return the job that simulates every thing alone, on the patients of the trial itself."""
    found = _alone(job.truths, job.protocol.primary.id)
    return replace(job, truths=tuple(dict.fromkeys(alone.truth for alone in found)))


def historical_rows(
    resolved: ResolvedTemplate, simulation: Simulation, alone: Simulation
) -> Iterator[Row]:
    """Yield what moves the arm from its control, exact answers, and what randomisation needs.

    Parameters
    ----------
    resolved : ResolvedTemplate
    simulation : Simulation
        Of the protocol's own job.
    alone : Simulation
        Of `alone_job`.
    """
    job = simulation.job
    position = {truth: index for index, truth in enumerate(alone.job.truths)}
    things = _alone(job.truths, job.protocol.primary.id)
    for truth in job.truths:
        own = [thing for thing in things if thing.scenario == truth.scenario]
        results = {thing.words: alone.results[position[thing.truth]] for thing in own}
        for number, plan in enumerate(job.plans):
            answers = _Answers(resolved, plan, truth)
            blank = answers.blank
            yield from answers.attributions()
            told = {NOTHING, ALL_BUT_EFFECT, *(name.value for name, _ in answers.steps)}
            for words, by_plan in results.items():
                ok = ~by_plan[number].failed[:, -1]
                if words in told and ok.sum() >= MIN_REPLICATES:
                    found = proportion(Measure.POWER_ALONE, by_plan[number].rejected[ok, -1])
                    yield found.row(replace(blank, analysis=words, n_failed=int((~ok).sum())))
            yield from answers.exact()
            yield from answers.randomised()


def steps_shown(
    rows: Sequence[Row], endpoint: str
) -> tuple[list[tuple[str, float, float | None]], str]:
    """Return what moves one endpoint: words, move and chance alone, and the scale of the moves.

    Of the first scenario with an effect; of the first where none has one.
    """
    own = [row for row in rows if row.endpoint == endpoint]
    moves = [row for row in own if row.measure is Measure.ATTRIBUTION]
    with_effect = [row.scenario for row in moves if row.analysis == Contribution.EFFECT]
    chosen = [*with_effect, *(row.scenario for row in moves)][0]
    alone = {
        row.analysis: row.value
        for row in own
        if row.measure is Measure.POWER_ALONE and row.scenario == chosen
    }
    found = [
        (row.analysis or "", row.value or 0.0, alone.get(row.analysis))
        for row in moves
        if row.scenario == chosen and row.analysis not in (ALL_BUT_EFFECT, EVERYTHING)
    ]
    return found, moves[0].scale or ""


@dataclass(frozen=True)
class _Answers:
    """What formulas and enumeration say of one endpoint under one scenario."""

    resolved: ResolvedTemplate
    plan: AnalysisPlan
    truth: Truth

    @cached_property
    def blank(self) -> Row:
        """What all rows share."""
        endpoint = self.resolved.endpoint(self.plan.endpoint)
        name, variant = self.truth.scenario, self.resolved.variant
        return Row.about(Measure.ATTRIBUTION, name, endpoint.id, endpoint.read_out, variant)

    @cached_property
    def steps(self) -> tuple[tuple[Contribution, float], ...]:
        """On the scale they add up on; without an effect that is none."""
        steps = _comparison(self.truth, self.plan.endpoint).steps
        return tuple((n, step) for n, step in steps if step or n in _SELECTION)

    @property
    def level(self) -> Level:
        """Of the plan, rejections counted in both directions."""
        return Level(self.plan.alpha, self.plan.sides, OppositeTail.COUNTED)

    def attributions(self) -> Iterator[Row]:
        """Yield how far each thing moves the comparison, on the summary's scale."""
        summary = self.plan.summary
        moves = [(name.value, step) for name, step in self.steps]
        if isinstance(summary, Summary):
            known = _comparison(self.truth, self.plan.endpoint).control.value
            logits = np.cumsum([np.log(known / (1 - known)), *(step for _, step in moves)])
            risks = [float(risk) for risk in expit(logits)]
            moves = [
                (words, true_effect((before, after), summary))
                for (words, _), before, after in zip(moves, risks[:-1], risks[1:], strict=True)
            ]
        departures = [move for words, move in moves if words != Contribution.EFFECT]
        total = sum(move for _, move in moves)
        moves += [(ALL_BUT_EFFECT, sum(departures)), (EVERYTHING, total)]
        for words, move in moves:
            value = exp(move) if summary.is_ratio else move
            yield replace(self.blank, analysis=words, value=value, scale=str(summary))

    # -- exact answers -------------------------------------------------------------------------

    def exact(self) -> Iterator[Row]:
        """Yield the power by enumeration or formula, where there is one, and of two stages more."""
        outcome = self.truth.outcome(self.plan.endpoint)
        row = replace(self.blank, measure=Measure.POWER_ACHIEVED)
        if isinstance(outcome, MeasuredTruth):
            if (power := self._power_of_mean(outcome)) is not None:
                yield replace(row, value=power, analysis="noncentral t distribution")
            return
        risk = self._risk
        if self.plan.test is not BinaryTest.EXACT_BINOMIAL:
            if (power := self._power_of_two(risk)) is not None:
                yield replace(row, value=power, analysis="by enumeration")
            return
        higher = self.plan.better is Better.HIGHER
        good = risk if higher else 1 - risk
        stages = stages_of(self.plan)
        (probability,) = outcome_probabilities(stages, good)
        power = float(probability[rejects_after(self.plan)].sum())
        yield replace(row, value=power, analysis="by enumeration")
        known = _comparison(self.truth, self.plan.endpoint).control.value
        (as_historical,) = outcome_probabilities(stages, known if higher else 1 - known)
        yield replace(
            row,
            measure=Measure.ALPHA_CUMULATIVE,
            value=float(as_historical[rejects_after(self.plan)].sum()),
            analysis="level, by enumeration",
        )
        if self.plan.two_stage is None:
            return
        used, stopped = patients_used(stages), stages.most_to_stop + 1
        yield replace(
            row,
            measure=Measure.EXPECTED_N,
            value=float(probability @ used),
            unit="patients",
            analysis="by enumeration",
        )
        yield replace(
            row,
            measure=Measure.STOP_PROBABILITY,
            value=float(probability[:stopped].sum()),
            analysis=f"futility after {stages.n_first}, by enumeration",
        )
        for rates, words in (
            (np.arange(stages.n + 1) / used, "responders among patients"),
            (unbiased_rates(stages), "minimum-variance unbiased"),
        ):
            mean = float(np.nan_to_num(rates) @ probability)
            yield replace(
                row,
                measure=Measure.ESTIMATE_MEAN,
                value=mean if higher else 1 - mean,
                arm=self.resolved.template.protocol.experimental.id,
                unit="per patient",
                analysis=f"{words}, by enumeration",
            )

    @property
    def _risk(self) -> float:
        outcome = self.truth.outcome(self.plan.endpoint)
        return outcome.treated if isinstance(outcome, RiskTruth) else self.truth.treated_risk

    def _power_of_two(self, risk: float) -> float | None:
        """Return the power against a sampled historical risk, by both counts' distributions."""
        control, n = self.plan.historical, self.plan.n_total
        assert control is not None
        assert control.n is not None
        if (n + 1) * (control.n + 1) > _MOST_CELLS:
            return None
        own, other = np.meshgrid(np.arange(n + 1), np.arange(control.n + 1), indexing="ij")
        found = analyse_counts(own.ravel(), n, other.ravel(), control.n, self.plan)
        (first,) = outcome_probabilities(Stages.single(n), risk)
        (second,) = outcome_probabilities(Stages.single(control.n), control.value)
        return float(first @ found.rejected.reshape(own.shape) @ second)

    def _power_of_mean(self, outcome: MeasuredTruth) -> float | None:
        """Return the power of Student's t; None where values are not normal or SDs differ."""
        lost = outcome.lost_per_visit and len(outcome.sds) > 1
        if outcome.selection or lost or self.plan.test is MeasuredTest.WELCH:
            return None
        control, n = self.plan.historical, self.plan.n_total
        assert control is not None
        deviation = outcome.spread(change=self._is_change)
        shift = self.plan.benefit * sum(step for _, step in self.steps)
        if control.n is None:
            return one_mean_power(shift, deviation, n, self.level)
        assert control.sd is not None
        wrong_way = self.plan.sides == 1 and shift < 0
        if abs(control.sd / deviation - 1) > 1e-9 or wrong_way:
            return None
        if shift == 0:
            return self.plan.alpha
        return means_power(TwoMeans(shift, PooledDeviation(deviation)), n, control.n, self.level)

    @property
    def _is_change(self) -> bool:
        return self.plan.test is MeasuredTest.CHANGE

    # -- randomised instead --------------------------------------------------------------------

    def randomised(self) -> Iterator[Row]:
        """Yield the size of a 1:1 trial of the same effect; on a mean, analysed in two ways.

        That of the primary risk stands with the scenario's truth. Selected patients have a smaller
        SD; that they are not normal is ignored.
        """
        outcome = self.truth.outcome(self.plan.endpoint)
        if isinstance(outcome, RiskTruth):
            row = replace(self.blank, measure=Measure.N_PER_ARM)
            yield size_row(row, outcome.treated, outcome.control, self.plan)
        if not isinstance(outcome, MeasuredTruth):
            return
        analyses: list[tuple[str, Spread]] = []
        words = "t-test of the change" if self._is_change else "t-test"
        analyses.append((words, PooledDeviation(outcome.spread(change=self._is_change))))
        if outcome.baseline:
            total = outcome.spread(change=False)
            left = outcome.sds[-1] * sqrt(1 - outcome.correlation[0][-1] ** 2)
            adjusted = Adjusted(total, sqrt(max(0.0, 1 - (left / total) ** 2)))
            analyses.append(("analysis of covariance", adjusted))
        row = replace(self.blank, measure=Measure.N_PER_ARM, level=0.8, unit="patients")
        difference = outcome.treated[-1] - outcome.control[-1]
        for words, spread in analyses:
            own = replace(row, analysis=f"randomised 1:1, {words}")
            if difference == 0:
                yield replace(own, why="no effect: no size finds it")
                continue
            level = Level(self.plan.alpha, self.plan.sides)
            size = means_size(TwoMeans(difference, spread), 0.8, level)
            yield replace(own, value=float(size.n_treated))
