"""The arithmetic behind `trialsim evidence check`: against R, enumeration, and honest rounding."""

from __future__ import annotations

import json
import random
from itertools import product
from math import inf, isclose

import pytest

from conftest import ROOT
from trialsim.protocol.published.checks import Verdict
from trialsim.studies.evidence_check.consistency import (
    TESTS,
    Estimate,
    Reach,
    Table,
    Written,
    agreement,
    arms_behind,
    below,
    centre_of_interval,
    chance_of_so_small_a_p,
    chi_square,
    combined,
    counts_behind,
    cut_counts_behind,
    effect_of_counts,
    hazard_ratio_of_counts,
    is_as_written,
    largest_sd,
    mantel_haenszel,
    p_of_interval,
    p_of_t,
    p_values_of_counts,
    patients_per_arm,
    rate_interval,
    ratio_between,
    reach,
    smallest_arm,
    t_of_means,
    t_quantile,
)

R = json.loads((ROOT / "tests" / "reference" / "consistency.json").read_text(encoding="utf-8"))
IMPOSSIBLE = Verdict.IMPOSSIBLE


def rounded(value, digits):
    return Written(round(value, digits), 0.5 * 10**-digits)


@pytest.mark.parametrize("case", R["tests"], ids=lambda c: "-".join(map(str, c["table"])))
def test_reference_each_test_of_two_proportions_is_that_of_r(case):
    found = p_values_of_counts(Table(*case["table"]))
    assert set(found) == set(TESTS) == set(case["p"])
    for name, p in case["p"].items():
        assert isclose(found[name], p, rel_tol=1e-8, abs_tol=1e-14), name
    x1, n1, x0, n0 = case["table"]
    assert isclose(chi_square(x1 / n1, n1, x0 / n0, n0), case["chi_square"], rel_tol=1e-10)


@pytest.mark.parametrize("case", R["effects"], ids=lambda c: "-".join(map(str, c["table"])))
def test_reference_effects_and_intervals_are_those_of_glm(case):
    table = Table(*case["table"])
    for measure in ("odds ratio", "risk ratio", "risk difference"):
        assert effect_of_counts(measure, table) == pytest.approx(case[measure], rel=1e-5)
    assert hazard_ratio_of_counts(table).value == pytest.approx(case["hazard ratio"], rel=1e-5)


def test_reference_students_t_and_its_quantiles_are_those_of_r():
    for case in R["t"]:
        assert p_of_t(case["t"], case["df"]) == pytest.approx(case["p"], rel=1e-6, abs=1e-13)
    for case in R["quantiles"]:
        assert t_quantile(case["p"], case["df"]) == pytest.approx(case["t"], rel=1e-8)


@pytest.mark.parametrize("case", R["arms"], ids=lambda c: str(c["claim"]))
def test_reference_arms_a_p_value_needs_are_those_r_finds_at_every_size(case):
    treated, control, alpha = case["claim"]
    tests = ("chi-square", "Fisher", "chi-square with Yates' correction")
    assert [smallest_arm(treated, control, alpha, test) for test in tests] == case["n"]


def test_reference_pools_ratios_planned_sizes_and_the_sd_behind_a_p_value():
    pools = R["pools"]
    strata = [Estimate(0.41, 0.24, 0.68), Estimate(0.82, 0.65, 1.03)]
    pooled, p = combined(strata, ratio=True)
    assert pooled == pytest.approx(pools["estimate"], rel=1e-9)
    assert p == pytest.approx(pools["p"], rel=1e-8)
    ratio, p_ratio = ratio_between(*strata, ratio=True)
    assert ratio == pytest.approx(pools["ratio"], rel=1e-9)
    assert p_ratio == pytest.approx(pools["p_ratio"], rel=1e-8)
    trials = [Table(47, 181, 63, 180), Table(127, 542, 132, 547)]
    assert mantel_haenszel(trials) == pytest.approx(pools["mantel_haenszel"], rel=1e-9)
    formulas = patients_per_arm(0.35, 0.50, 0.05, 0.80)
    assert formulas["pooled variance"] == pytest.approx(R["plan"]["pooled"], rel=1e-4)
    assert largest_sd(-2.3, 0.05, 56, 58) == pytest.approx(R["sd_behind"], rel=1e-8)


def test_analytic_counts_behind_percentages_are_those_of_enumeration():
    for n, digits in product((7, 32, 58, 114, 545), (0, 1)):
        for k in range(n + 1):
            exact = 100 * k / n
            half = 0.5 * 10.0**-digits
            printed = Written(round(exact, digits), half)
            alike = [j for j in range(n + 1) if abs(100 * j / n - printed.value) <= half + 1e-9]
            assert counts_behind(printed, n) == tuple(alike)
            unit = 10.0**-digits
            cut = Written(int(exact / unit + 1e-9) * unit, half)
            assert k in cut_counts_behind(cut, n)


def test_analytic_the_only_arms_of_98_patients_are_those_of_enumeration():
    printed = [Written(value, 0.05) for value in (40.6, 26.5, 9.4)]
    found = {
        ((k1, n1), (k2, n2), (k3, 98 - n1 - n2))
        for n1 in range(1, 97)
        for k1 in range(n1 + 1)
        if abs(100 * k1 / n1 - 40.6) <= 0.05 + 1e-9
        for n2 in range(1, 98 - n1)
        for k2 in range(n2 + 1)
        if abs(100 * k2 / n2 - 26.5) <= 0.05 + 1e-9
        for k3 in range(98 - n1 - n2 + 1)
        if abs(100 * k3 / (98 - n1 - n2) - 9.4) <= 0.05 + 1e-9
    }
    assert found == {((13, 32), (9, 34), (3, 32))} == set(arms_behind(printed, 98))
    assert arms_behind([Written(40.6, 0.05), Written(26.5, 0.05)], 5) == ()
    anything = Written(50, 50)  # three arms that take any size, and one that takes none
    assert arms_behind([anything, anything, anything, Written(200, 0.05)], 5_000) == ()
    assert len(arms_behind([anything, anything, anything, Written(12.5, 0)], 5_000)) == 100
    assert len(arms_behind([Written(50, 0.5), Written(50, 0.5)], 1000, most=7)) == 7


def test_analytic_chance_among_variables_is_that_of_the_smallest_of_uniforms():
    assert chance_of_so_small_a_p(0.02, 1) == pytest.approx(0.02, rel=1e-12)
    assert chance_of_so_small_a_p(0.5, 2) == pytest.approx(0.75, rel=1e-12)
    assert chance_of_so_small_a_p(1.0, 3) == 1.0
    draws, k = random.Random(5), 20
    n = 20_000
    share = sum(min(draws.random() for _ in range(k)) <= 0.02 for _ in range(n)) / n
    expected = chance_of_so_small_a_p(0.02, k)
    assert abs(share - expected) <= 4 * (expected * (1 - expected) / n) ** 0.5


def test_analytic_identities_of_intervals_and_pools():
    low, high = 0.8 * 0.75, 0.75 / 0.8
    assert centre_of_interval(low, high, ratio=True) == pytest.approx(0.75, rel=1e-12)
    assert centre_of_interval(-1, 4, ratio=False) == 1.5
    assert p_of_interval(0.5, 0.25, 1.0, ratio=True) == pytest.approx(0.05, rel=1e-9)
    assert p_of_interval(1.0, 0.5, 2.0, ratio=True) == 1.0
    one = Estimate(0.7, 0.5, 0.98)
    twice, _ = combined([one, one], ratio=True)
    assert twice.value == pytest.approx(0.7, rel=1e-12)
    same, p = ratio_between(one, one, ratio=True)
    assert (same.value, p) == (pytest.approx(1.0), pytest.approx(1.0))
    rate = rate_interval(11.4, 164)
    assert rate[0] * rate[1] == pytest.approx(11.4**2, rel=1e-12)
    assert p_of_t(t_of_means(2.3, 6.0, 56, 6.0, 58), 112) < 0.05
    assert largest_sd(2.3, 0.05, 56, 58) > 6.0


def test_property_no_table_without_events_has_a_small_p_value():
    for table in (Table(0, 9, 0, 4), Table(9, 9, 4, 4)):
        assert set(p_values_of_counts(table).values()) == {1.0}
        assert hazard_ratio_of_counts(table) is None
        assert effect_of_counts("odds ratio", table) is None
    assert effect_of_counts("standardised mean difference", Table(1, 9, 2, 4)) is None
    assert mantel_haenszel([Table(0, 9, 0, 4)]) is None
    assert smallest_arm(0.5, 0.5, 0.05, "Fisher") is None
    assert smallest_arm(0.501, 0.5, 0.05, "chi-square") is None


def test_property_numbers_rounded_from_one_truth_are_never_called_impossible():
    draws = random.Random(12)
    for _ in range(1_500):
        n1, n0 = draws.randint(8, 400), draws.randint(8, 400)
        table = Table(draws.randint(1, n1 - 1), n1, draws.randint(1, n0 - 1), n0)
        measure = draws.choice(["odds ratio", "risk ratio"])
        digits = draws.choice([2, 3])
        truth = effect_of_counts(measure, table)
        value, low, high = (rounded(number, digits) for number in truth)
        if low.low <= 0:
            continue
        assert agreement(value, Reach(truth.value, truth.value, truth.value)) is not IMPOSSIBLE
        centre = reach(lambda a, b: centre_of_interval(a, b, ratio=True), low, high)
        assert agreement(value, centre) is not IMPOSSIBLE
        if value.low <= 1 <= value.high:
            continue
        p = rounded(p_of_interval(*truth, ratio=True), 3)
        found = reach(lambda v, a, b: p_of_interval(v, a, b, ratio=True), value, low, high)
        assert agreement(p, found) is not IMPOSSIBLE


def test_property_a_number_moved_beyond_its_rounding_is_called_impossible():
    draws = random.Random(13)
    for _ in range(500):
        n1, n0 = draws.randint(40, 400), draws.randint(40, 400)
        table = Table(draws.randint(10, n1 - 10), n1, draws.randint(10, n0 - 10), n0)
        truth = effect_of_counts("odds ratio", table)
        p = p_of_interval(*truth, ratio=True)
        value, low, high = (rounded(number, 3) for number in truth)
        if not 0.002 < p < 0.5 or low.value < 0.1:
            continue
        found = reach(lambda v, a, b: p_of_interval(v, a, b, ratio=True), value, low, high)
        assert agreement(rounded(2 * p + 0.002, 3), found) is IMPOSSIBLE
        assert below(p / 2, found) is IMPOSSIBLE
        centre = reach(lambda a, b: centre_of_interval(a, b, ratio=True), low, high)
        assert agreement(rounded(1.05 * truth.value, 3), centre) is IMPOSSIBLE


def test_property_verdicts_of_one_number_against_another():
    at = Reach(0.0635, 0.0523, 0.0759)
    assert agreement(Written(0.064, 0.0005), at) is Verdict.CONSISTENT
    assert agreement(Written(0.062, 0.0005), at) is Verdict.CONSISTENT  # inside the rounding
    assert is_as_written(Written(0.064, 0.0005), at)
    assert not is_as_written(Written(0.062, 0.0005), at)
    assert agreement(Written(0.08, 0.0005), at) is IMPOSSIBLE
    assert agreement(Written(60, 0.5), Reach(60.6, 60.6, 60.6)) is Verdict.ROUNDING  # cut
    assert agreement(Written(0.735, 0.005), Reach(0.73, 0.73, 0.73)) is Verdict.CONSISTENT
    assert agreement(Written(-3.5, 0.05), Reach(-3.58, -3.58, -3.58)) is Verdict.ROUNDING  # cut
    assert agreement(Written(-3.5, 0.05), Reach(-3.42, -3.42, -3.42)) is IMPOSSIBLE
    assert below(0.05, Reach(0.06, 0.04, 0.08)) is Verdict.ROUNDING
    assert Verdict.of_all((Verdict.UNTESTABLE, Verdict.ROUNDING)) is Verdict.ROUNDING
    assert Verdict.of_all(()) is Verdict.UNTESTABLE
    assert inf > reach(lambda a: 1 / a, Written(2.0, 0.5)).high == pytest.approx(1 / 1.5)
