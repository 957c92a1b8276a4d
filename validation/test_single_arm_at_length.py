"""Slow evidence: every published two-stage design, and regression to the mean, at length."""

from __future__ import annotations

from math import sqrt

import pytest
from scipy import stats

from engine.test_single_arm import MEAN, RISK, found, loaded
from kernels.test_one_sample import MINIMAX, OPTIMAL
from trialsim import plan_simulation
from trialsim.kernels.one_sample import Stages, outcome_probabilities
from trialsim.trial import Measure

N = 65_536


@pytest.mark.parametrize("design", [*OPTIMAL, *MINIMAX])
def test_reference_every_published_design_finds_as_often_as_enumerated(tmp_path, design):
    null, good, r1, n1, r, n, _, _ = design
    resolved = loaded(
        tmp_path,
        RISK,
        f"protocol.two_stage={{first: {n1}, stop_if_at_most: {r1}, reject_if_above: {r}}}",
        f"protocol.sample_size.total={n}",
        f"protocol.arms.earlier.historical={{response: {{risk: {null}}}}}",
        f"scenarios.effect.effect={{treated_risk: {good}}}",
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=21)
    for scenario, rate in (("no-effect", null), ("effect", good)):
        (probability,) = outcome_probabilities(Stages(n, n1, r1), rate)
        exact = probability[r + 1 :].sum()
        power = found(result, Measure.POWER, scenario)
        assert abs(power.value - exact) < 4 * sqrt(exact * (1 - exact) / N)


@pytest.mark.parametrize("correlation", [-0.3, 0.2, 0.6, 0.95])
def test_analytic_regression_to_the_mean_at_every_correlation(tmp_path, correlation):
    resolved = loaded(
        tmp_path,
        MEAN,
        "nature.outcomes.cd4.baseline="
        f"{{mean: 300, sd: 80, correlation: {correlation}, at_most: 200}}",
        "protocol.endpoints.cd4.analysis=change",
        "protocol.arms.earlier.historical=null",
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=22)
    eligible = stats.truncnorm(float("-inf"), (200 - 300) / 80, 300, 80)
    expected = (1 - correlation * 90 / 80) * (300 - eligible.mean())
    bias = found(result, Measure.BIAS, "no-effect", endpoint="cd4")
    assert abs(bias.value - expected) < 4 * bias.mcse
