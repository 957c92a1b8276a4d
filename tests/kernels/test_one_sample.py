"""One arm against a known value: exact tests and intervals, two stages, Student's t."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trialsim.kernels.one_sample import (
    Stages,
    exact_interval,
    exact_p_values,
    one_sample_t,
    outcome_probabilities,
    patients_used,
    two_sample_t,
    unbiased_rates,
)
from trialsim.sizing import SimonCriterion, simon_two_stage

# Simon 1989, alpha 5%, power 80%: r1/n1, r/n, expected n, probability to stop
OPTIMAL = [
    (0.05, 0.25, 0, 9, 2, 17, 11.96, 0.63),
    (0.10, 0.30, 1, 10, 5, 29, 15.01, 0.736),
    (0.20, 0.40, 3, 13, 12, 43, 20.58, 0.747),
    (0.05, 0.20, 0, 10, 3, 29, 17.62, 0.599),
]
MINIMAX = [
    (0.05, 0.25, 0, 12, 2, 16, 13.84, 0.54),
    (0.10, 0.30, 1, 15, 5, 25, 19.51, 0.549),
    (0.20, 0.40, 4, 18, 10, 33, 22.25, 0.716),
    (0.05, 0.20, 0, 13, 3, 27, 19.81, 0.513),
]


@pytest.mark.parametrize(
    ("null", "good", "r1", "n1", "r", "n", "expected", "stops"), [*OPTIMAL, *MINIMAX]
)
def test_reference_published_two_stage_designs_have_their_operating_characteristics(
    null, good, r1, n1, r, n, expected, stops
):
    """Simon 1989, Controlled Clinical Trials 10:1-10, as clinfun and lrstat document it."""
    stages = Stages(n, n1, r1)
    under_null, under_good = outcome_probabilities(stages, [null, good])
    assert under_null @ patients_used(stages) == pytest.approx(expected, abs=0.006)
    assert under_null[: r1 + 1].sum() == pytest.approx(stops, abs=0.006)
    assert under_null[r + 1 :].sum() <= 0.05
    assert under_good[r + 1 :].sum() >= 0.80


def test_analytic_two_stage_probabilities_are_those_of_the_search_for_designs():
    found = simon_two_stage(0.2, 0.4, SimonCriterion.MINIMAX)
    stages = Stages(found.n, found.n_first, found.most_to_stop)
    null, good = outcome_probabilities(stages, [0.2, 0.4])
    assert null[found.most_to_accept + 1 :].sum() == pytest.approx(found.type_1_error, abs=1e-12)
    assert good[found.most_to_accept + 1 :].sum() == pytest.approx(found.power, abs=1e-12)


@pytest.mark.parametrize("n", [5, 43, 140])
@pytest.mark.parametrize("null", [0.05, 0.2, 0.5, 0.77])
def test_reference_one_stage_agrees_with_scipy(n, null):
    stages = Stages.single(n)
    p, (lower, upper) = exact_p_values(stages, null), exact_interval(stages, 0.9)
    for x in range(n + 1):
        larger = stats.binomtest(x, n, null, "greater")
        different = stats.binomtest(x, n, null)
        assert p.larger[x] == pytest.approx(larger.pvalue, rel=1e-9)
        assert p.different[x] == pytest.approx(different.pvalue, rel=1e-9)
        limits = different.proportion_ci(0.9, "exact")
        assert (lower[x], upper[x]) == pytest.approx(tuple(limits), abs=1e-9)


@pytest.mark.parametrize("risk", [0.01, 0.2, 0.37, 0.9])
@pytest.mark.parametrize("stages", [Stages(43, 13, 3), Stages(16, 12, 0), Stages(20, 20, -1)])
def test_analytic_the_unbiased_estimate_is_unbiased(stages, risk):
    (probability,) = outcome_probabilities(stages, risk)
    assert probability.sum() == pytest.approx(1, abs=1e-12)
    reached = probability > 0
    assert probability[reached] @ unbiased_rates(stages)[reached] == pytest.approx(risk, abs=1e-10)


def test_analytic_the_naive_estimate_after_two_stages_is_too_low():
    stages = Stages(43, 13, 3)
    (probability,) = outcome_probabilities(stages, 0.3)
    ends = np.arange(44)
    assert probability @ (ends / patients_used(stages)) < 0.3 - 0.01


@pytest.mark.parametrize("risk", [0.05, 0.2, 0.3, 0.5, 0.8])
def test_analytic_two_stage_intervals_and_tests_keep_their_level(risk):
    stages = Stages(43, 13, 3)
    (probability,) = outcome_probabilities(stages, risk)
    lower, upper = exact_interval(stages, 0.95)
    assert probability[(lower <= risk) & (risk <= upper)].sum() >= 0.95 - 1e-9
    p = exact_p_values(stages, risk)
    for level in (0.01, 0.05, 0.2):
        assert probability[p.larger <= level].sum() <= level + 1e-12
        assert probability[p.different <= level].sum() <= level + 1e-12


def test_analytic_without_a_first_stage_to_stop_in_two_stages_are_one():
    one, two = Stages.single(30), Stages(30, 12, -1)
    first = outcome_probabilities(one, [0.1, 0.6])
    assert first == pytest.approx(outcome_probabilities(two, [0.1, 0.6]), abs=1e-13)


def test_reference_one_sample_t_is_that_of_scipy():
    values = np.random.default_rng(1).normal(3, 2, (17, 5))
    found = one_sample_t(values, 2.5, confidence_level=0.9)
    for k in range(5):
        theirs = stats.ttest_1samp(values[:, k], 2.5)
        limits = theirs.confidence_interval(0.9)
        assert found.statistic[k] == pytest.approx(theirs.statistic, rel=1e-12)
        assert found.lower[k] + 2.5 == pytest.approx(limits.low, rel=1e-12)
        assert found.upper[k] + 2.5 == pytest.approx(limits.high, rel=1e-12)


@pytest.mark.parametrize("pooled", [True, False])
def test_reference_a_sample_known_by_its_summaries_is_compared_as_if_seen(pooled):
    rng = np.random.default_rng(2)
    values, other = rng.normal(3, 2, (17, 4)), rng.normal(2, 3, (29, 4))
    found = two_sample_t(values, other.mean(axis=0), other.std(axis=0, ddof=1), 29, pooled=pooled)
    for k in range(4):
        theirs = stats.ttest_ind(values[:, k], other[:, k], equal_var=pooled)
        limits = theirs.confidence_interval()
        assert found.statistic[k] == pytest.approx(theirs.statistic, rel=1e-12)
        assert (found.lower[k], found.upper[k]) == pytest.approx(tuple(limits), rel=1e-11)


def test_property_who_is_not_included_does_not_count_and_nobody_is_a_failure():
    values = np.array([[1.0, np.nan], [2.0, 4.0], [4.0, np.nan]])
    found = one_sample_t(values, 0.0, np.isfinite(values))
    assert found.failed.tolist() == [False, True]
    assert found.estimate[0] == pytest.approx(7 / 3)
