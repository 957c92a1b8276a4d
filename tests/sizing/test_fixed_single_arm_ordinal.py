"""Simon's designs, one-stage binomial designs, and Whitehead's ordinal size."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conftest import ROOT
from trialsim.errors import DesignError
from trialsim.sizing.fixed import Allocation, Level
from trialsim.sizing.ordinal import ordinal_power, ordinal_size, treated_probabilities
from trialsim.sizing.single_arm import (
    Sawtooth,
    SimonCriterion,
    simon_two_stage,
    single_stage_power,
    single_stage_size,
)

FIGURES = {
    figure["id"]: figure["value"]
    for figure in json.loads((ROOT / "tests/reference/fixed_designs.json").read_text())["results"]
}
SIMON = [name for name in FIGURES if name.startswith("simon")]


@pytest.mark.parametrize("figure", SIMON)
@pytest.mark.parametrize("criterion", list(SimonCriterion))
def test_reference_two_stage_designs_of_clinfun(figure, criterion):
    p0, p1, alpha, beta = map(float, re.findall(r"0\.\d+", figure))
    found = simon_two_stage(p0, p1, criterion, 1 - beta, alpha)
    *whole, expected_n, stop = FIGURES[figure][criterion.value]
    assert [found.most_to_stop, found.n_first, found.most_to_accept, found.n] == whole
    assert found.expected_n == pytest.approx(expected_n, rel=1e-10)
    assert found.stop_probability == pytest.approx(stop, rel=1e-10)
    assert found.power >= 1 - beta
    assert found.type_1_error <= alpha


@pytest.mark.parametrize(
    ("p0", "p1", "optimal", "minimax"),
    [
        (0.05, 0.25, (0, 9, 2, 17, 11.96, 0.63), (0, 12, 2, 16, 13.84, 0.54)),
        (0.10, 0.30, (1, 10, 5, 29, 15.01, 0.736), (1, 15, 5, 25, 19.51, 0.549)),
        (0.20, 0.40, (3, 13, 12, 43, 20.58, 0.747), (4, 18, 10, 33, 22.25, 0.716)),
        (0.05, 0.20, (0, 10, 3, 29, 17.62, 0.599), (0, 13, 3, 27, 19.81, 0.513)),
    ],
)
def test_reference_two_stage_designs_of_simon_1989(p0, p1, optimal, minimax):
    """Simon 1989, Controlled Clinical Trials 10:1-10, as clinfun and lrstat document it."""
    for criterion, expected in zip(SimonCriterion, (optimal, minimax), strict=True):
        found = simon_two_stage(p0, p1, criterion)
        whole = (found.most_to_stop, found.n_first, found.most_to_accept, found.n)
        assert whole == expected[:4]
        assert found.expected_n == pytest.approx(expected[4], abs=5.1e-3)
        assert found.stop_probability == pytest.approx(expected[5], abs=5e-3)


def test_analytic_two_stage_probabilities_by_adding_up_all_paths():
    found = simon_two_stage(0.1, 0.3)
    for response, expected in ((0.1, found.type_1_error), (0.3, found.power)):
        first = stats.binom(found.n_first, response)
        second = stats.binom(found.n - found.n_first, response)
        total = sum(
            first.pmf(x) * second.sf(found.most_to_accept - x)
            for x in range(found.most_to_stop + 1, found.n_first + 1)
        )
        assert expected == pytest.approx(total, rel=1e-12)


@given(
    st.floats(0.05, 0.5),
    st.floats(0.15, 0.4),
    st.sampled_from([0.7, 0.8, 0.9]),
    st.sampled_from([0.025, 0.05, 0.1]),
)
def test_property_single_stage_round_trip(null, more, power, alpha):
    response = null + more
    lasting = single_stage_size(null, response, power, alpha)
    first = single_stage_size(null, response, power, alpha, Sawtooth.FIRST)
    assert first.n <= lasting.n
    powers = [single_stage_power(null, response, n, alpha) for n in range(1, 3 * lasting.n + 40)]
    enough = [n for n, found in enumerate(powers, 1) if found >= power]
    assert first.n == enough[0]
    assert lasting.n == 1 + max(n for n, found in enumerate(powers, 1) if found < power)
    assert lasting.power == powers[lasting.n - 1]
    for found in (first, lasting):
        size = stats.binom.sf(found.least_responses - 1, found.n, null)
        assert found.type_1_error == pytest.approx(size, rel=1e-9)
        assert size <= alpha < stats.binom.sf(found.least_responses - 2, found.n, null)


def test_reference_ordinal_size_of_whitehead_1993():
    """Whitehead 1993, section 4: log odds ratio 0.887, 90% power: 187 patients, 94 per arm."""
    found = ordinal_size((0.2, 0.5, 0.2, 0.1), 2.42797, 0.9)
    assert found.total_unrounded == pytest.approx(187, abs=0.5)
    assert (found.n_treated, found.n_control) == (94, 94)
    treated = treated_probabilities((0.2, 0.5, 0.2, 0.1), 2.42797)
    assert treated == pytest.approx((0.378, 0.472, 0.106, 0.044), abs=5e-4)


def test_analytic_two_categories_are_a_log_odds_ratio_with_pooled_variance():
    """1 - p^3 - q^3 is 3 p q, so the variance is 1 / (n f1 f0 p q)."""
    found = ordinal_size((0.3, 0.7), 2.0, 0.9, Level(), Allocation(2, 1))
    treated = treated_probabilities((0.3, 0.7), 2.0)[0]
    pooled = (2 * treated + 0.3) / 3
    z = stats.norm.isf(0.025) + stats.norm.isf(0.1)
    expected = (z / 0.6931471805599453) ** 2 * 4.5 / (pooled * (1 - pooled))
    assert found.total_unrounded == pytest.approx(expected, rel=1e-12)


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=7),
    st.floats(1.2, 5),
    st.booleans(),
    st.builds(Allocation, st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_property_ordinal_round_trip(counts, odds_ratio, inverse, allocation, power):
    control = [count / sum(counts) for count in counts]
    odds_ratio = 1 / odds_ratio if inverse else odds_ratio
    found = ordinal_size(control, odds_ratio, power, Level(), allocation)
    assert sum(treated_probabilities(control, odds_ratio)) == pytest.approx(1)
    assert found.power >= power - 1e-9
    fewer = found.n_treated - allocation.treated, found.n_control - allocation.control
    if min(fewer) > 0:
        assert ordinal_power(control, odds_ratio, *fewer) < power


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simon_two_stage(0.3, 0.2), "response must be above the null response 0.3"),
        (lambda: simon_two_stage(0.3, 1.2), r"response must be in \(0, 1\); got 1.2"),
        (lambda: simon_two_stage(0.2, 0.4, power=0.04), "power must be above alpha"),
        (lambda: single_stage_size(0.5, 0.5), "response must be above the null response 0.5"),
        (lambda: single_stage_size(0.5, 0.50001), "patients must not exceed 10,000,000"),
        (lambda: single_stage_power(0.2, 0.4, 0), "n must be at least 1; got 0"),
        (lambda: ordinal_size((0.5, 0.4), 2), "control must be at least two probabilities"),
        (lambda: ordinal_size((0.5, 0.5), 1), "effect must differ between the arms"),
        (lambda: ordinal_size((0.5, 0.5), -2), "odds_ratio must be a ratio above 0; got -2"),
        (lambda: ordinal_size((0.5, 0.5), 2, 0.01), "power must be above alpha"),
    ],
)
def test_regression_designs_that_cannot_be_met_are_refused(call, message):
    with pytest.raises(DesignError, match=message):
        call()
