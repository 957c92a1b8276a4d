"""Arms that differed at entry by chance: what analyses make of no effect at all.

Trials are drawn given the difference of the arms' means at entry. Of normal values the rest, each
patient's distance from the own arm's mean, does not depend on it: it is drawn and centred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from trialsim.analyse.measured import compared
from trialsim.characteristics import mean, proportion
from trialsim.kernels.contrasts import Alternative, ArmContrast
from trialsim.protocol.endpoints import Better, MeasuredTest
from trialsim.protocol.outcomes import MeasuredTruth, outcome_truth
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.imbalance import ImbalancedTrial, imbalanced_trials
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.streams import Decision, Streams
from trialsim.trial import Measure, Row

__all__ = ["TESTS", "expected_given_imbalance", "imbalance_rows"]

TESTS = (MeasuredTest.CHANGE, MeasuredTest.T_TEST, MeasuredTest.ANCOVA)
_REPLICATES_PER_BLOCK = 256


def imbalance_rows(
    resolved: ResolvedTemplate, scenarios: Sequence[Scenario], n_replicates: int, seed: int
) -> Iterator[Row]:
    """Yield, per trial whose arms differed at entry, what three analyses find without any effect.

    Each has the mean estimate and the chance of a significant result in favour of treatment, both
    with MCSE, and beside the mean the exact value. They stand under the first of the scenarios in
    which treatment does nothing to the endpoint; where there is none, nothing is said.
    """
    for trial in imbalanced_trials(resolved):
        without = (s for s in scenarios if trial.endpoint.id not in s.outcomes)
        if scenario := next(without, None):
            yield from _rows_of(resolved, trial, scenario, n_replicates, seed)


def expected_given_imbalance(truth: MeasuredTruth, difference: float, test: MeasuredTest) -> float:
    """Return the mean estimate of a test without an effect, given the difference at entry.

    With r the correlation of entry and read-out, s0 and s1 their SDs, the read-out differs by
    ``r s1 / s0`` times the difference at entry: regression to the mean (James 1973; Senn 2006,
    Statistics in Medicine 25:4334-4344). The change differs by one time less, an analysis adjusted
    for the value at entry by nothing.
    """
    assert truth.baseline is not None
    slope = truth.correlation[0][-1] * truth.sds[-1] / truth.baseline[1]
    return {
        MeasuredTest.CHANGE: (slope - 1) * difference,
        MeasuredTest.T_TEST: slope * difference,
    }.get(test, 0.0)


def _rows_of(
    resolved: ResolvedTemplate,
    trial: ImbalancedTrial,
    scenario: Scenario,
    n_replicates: int,
    seed: int,
) -> Iterator[Row]:
    truth = _truth(resolved, trial)
    protocol = resolved.template.protocol
    contrasts = _contrasts(truth, trial, n_replicates, seed)
    higher = trial.endpoint.better is Better.HIGHER
    alternative = Alternative.LARGER if higher else Alternative.SMALLER
    alpha = protocol.test.alpha / protocol.test.sides
    for test in TESTS:
        found = contrasts[test]
        blank = replace(
            Row.about(
                Measure.ESTIMATE_IMBALANCED,
                scenario.id,
                trial.endpoint.id,
                trial.endpoint.read_out,
                resolved.variant or "",
            ),
            evidence=trial.trial.id,
            analysis=str(test),
            n_replicates=n_replicates,
        )
        estimated = mean(Measure.ESTIMATE_IMBALANCED, found.estimate)
        exact = expected_given_imbalance(truth, trial.difference, test)
        unit = trial.endpoint.unit
        yield replace(blank, value=estimated.value, mcse=estimated.mcse, unit=unit)
        yield replace(blank, value=exact, unit=unit, n_replicates=None, scale="exact")
        favours = proportion(Measure.POWER_IMBALANCED, found.p_value(alternative) <= alpha)
        yield replace(
            blank,
            measure=Measure.POWER_IMBALANCED,
            value=favours.value,
            mcse=favours.mcse,
            lower=favours.lower,
            upper=favours.upper,
            level=0.95,
        )


def _truth(resolved: ResolvedTemplate, trial: ImbalancedTrial) -> MeasuredTruth:
    """Return the measurement in a trial that treats nobody, of everybody, whatever is eligible."""
    protocol = resolved.template.protocol
    model = resolved.template.nature.outcomes[trial.endpoint.id]
    truth = outcome_truth(trial.endpoint, model, None, protocol.therapy, 0.5)
    assert isinstance(truth, MeasuredTruth)
    return replace(truth, selection=None)


def _contrasts(
    truth: MeasuredTruth, trial: ImbalancedTrial, n_replicates: int, seed: int
) -> dict[MeasuredTest, ArmContrast]:
    streams = Streams(seed, f"imbalance-of-{trial.trial.id}")
    n = trial.patients_per_arm
    treated = np.repeat(np.arange(2) == 0, n)[:, None]
    assert truth.baseline is not None
    centre, sd = truth.baseline
    r = truth.correlation[0][-1]
    parts: dict[MeasuredTest, list[ArmContrast]] = {test: [] for test in TESTS}
    for block in range(-(-n_replicates // _REPLICATES_PER_BLOCK)):
        rng = streams.generator(Decision.VISITS, block)
        own, rest = rng.standard_normal((2, 2 * n, _REPLICATES_PER_BLOCK))
        for arm in (slice(n), slice(n, None)):
            own[arm] -= own[arm].mean(axis=0)
        at_entry = sd * own + np.where(treated, trial.treated, trial.control)
        later = truth.control[-1] + truth.sds[-1] * (
            r * (at_entry - centre) / sd + sqrt(1 - r * r) * rest
        )
        wide = np.broadcast_to(treated, later.shape)
        for test in TESTS:
            parts[test].append(compared(later, at_entry, wide, None, test, 0.95))
    return {
        test: ArmContrast(
            *(np.concatenate(columns)[:n_replicates] for columns in zip(*own, strict=True))
        )
        for test, own in parts.items()
    }
