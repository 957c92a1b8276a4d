"""Fixed pooling: against metafor, enumeration of small literatures, published trials."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from literatures import BCG, EFFECTS, METAFOR, SMALL, literature, random_tables
from trialsim.kernels.pooling import (
    Tables,
    Uninformative,
    common_odds_ratio,
    effects,
    mantel_haenszel,
    peto,
    pooled_difference,
)
from trialsim.kernels.proportions import Scale

OR, RR, RD = Scale.ODDS_RATIO, Scale.RISK_RATIO, Scale.RISK_DIFFERENCE
NAMES = {
    "beta": "estimate",
    "se": "standard_error",
    "zval": "z",
    "pval": "p_value",
    "ci.lb": "lower",
    "ci.ub": "upper",
    "QE": "q",
    "QEp": "q_p_value",
    "k": "n_trials",
}


@pytest.mark.parametrize(
    ("figure", "found"),
    [
        ("bcg_MH_OR", mantel_haenszel(BCG, OR)),
        ("small_MH_OR", mantel_haenszel(SMALL, OR)),
        ("bcg_MH_RR", mantel_haenszel(BCG, RR)),
        ("bcg_MH_RD", mantel_haenszel(BCG, RD)),
        ("bcg_Peto", peto(BCG)),
        ("small_Peto", peto(SMALL)),
    ],
)
def test_reference_fixed_pooling_is_that_of_metafor(figure, found):
    for theirs, ours in NAMES.items():
        assert_allclose(getattr(found, ours)[0], METAFOR[figure][theirs], rtol=1e-9, err_msg=theirs)


@pytest.mark.parametrize(
    ("figure", "found"),
    [("bcg_MH_OR", common_odds_ratio(BCG)), ("small_MH_OR", common_odds_ratio(SMALL))],
)
def test_reference_tests_of_a_common_odds_ratio_are_those_of_metafor(figure, found):
    names = {"MH": "association", "BD": "breslow_day", "TA": "tarone"}
    for theirs, ours in names.items():
        assert_allclose(getattr(found, ours)[0], METAFOR[figure][theirs], rtol=1e-9)
        p_value = getattr(found, f"{ours}_p_value")[0]
        assert_allclose(p_value, METAFOR[figure][f"{theirs}p"], rtol=1e-9)


def test_analytic_trials_of_one_odds_ratio_are_homogeneous_and_undefined_ones_said():
    """Odds ratio 2 and then 1 in every trial; one informative trial; no estimate."""
    for trials in ([(20, 40, 20, 60), (40, 60, 10, 20)], [(5, 20, 10, 40), (12, 36, 4, 12)]):
        found = common_odds_ratio(literature(*trials))
        assert_allclose([found.breslow_day[0], found.tarone[0]], 0, atol=1e-20)
        assert found.degrees_of_freedom[0] == 1
    assert np.isnan(common_odds_ratio(literature((3, 9, 5, 8), (0, 4, 0, 5))).tarone_p_value[0])
    assert np.isnan(common_odds_ratio(literature((0, 9, 5, 8), (0, 4, 1, 5))).breslow_day[0])
    nothing = common_odds_ratio(literature((0, 9, 0, 8)))
    assert np.isnan([nothing.association_p_value[0], nothing.tarone_p_value[0]]).all()


@pytest.mark.parametrize("name", ["bcg", "small_rd"])
def test_reference_effects_are_those_of_metafor(name):
    theirs = METAFOR[f"{name}_escalc"]
    assert_allclose(EFFECTS[name].estimates[0], theirs["yi"], rtol=1e-10)
    assert_allclose(EFFECTS[name].variances[0], theirs["vi"], rtol=1e-10)


def test_reference_the_two_large_trials_of_sepsis_pool_to_the_published_subgroup():
    """Gu 2025, of ETASS and TESTS: 0.86 (0.68-1.09), P 0.22."""
    found = mantel_haenszel(literature((47, 181, 63, 180), (127, 542, 132, 547)), OR)
    ratio = [np.exp(x[0]) for x in (found.estimate, found.lower, found.upper)]
    assert_allclose(ratio, [0.86, 0.68, 1.09], atol=0.005)
    assert_allclose(found.p_value[0], 0.22, atol=0.005)


@pytest.mark.parametrize("psi", [0.5, 1.0, 2.5])
def test_analytic_the_estimating_function_of_mantel_and_haenszel_has_mean_zero(psi):
    """Over every result of two trials with one odds ratio: E sum((ad - psi bc) / N) = 0."""
    sizes, risks = [(4, 3), (2, 5)], (0.3, 0.6)
    probability, value = [], []
    for counts in itertools.product(*(range(n + 1) for pair in sizes for n in pair)):
        p, total = 1.0, 0.0
        for trial, ((n1, n0), risk) in enumerate(zip(sizes, risks, strict=True)):
            x1, x0 = counts[2 * trial : 2 * trial + 2]
            odds = psi * risk / (1 - risk)
            p *= stats.binom.pmf(x1, n1, odds / (1 + odds)) * stats.binom.pmf(x0, n0, risk)
            total += (x1 * (n0 - x0) - psi * (n1 - x1) * x0) / (n1 + n0)
        probability.append(p)
        value.append(total)
    assert_allclose(sum(probability), 1, rtol=1e-12)
    assert_allclose(np.dot(probability, value), 0, atol=1e-13)


def test_analytic_the_pooled_odds_ratio_solves_the_estimating_equation():
    tables = random_tables(50)
    psi = np.exp(mantel_haenszel(tables, OR).estimate)[:, None]
    a, b, c, d = tables.cells()
    n = np.where(tables.published, a + b + c + d, 1)
    assert_allclose(((a * d - psi * b * c) / n).sum(axis=1), 0, atol=1e-11)


def test_analytic_peto_is_observed_less_hypergeometric_mean_over_variance():
    trials = [(3, 20, 8, 22), (10, 50, 9, 40), (0, 11, 2, 9)]
    laws = [stats.hypergeom(n1 + n0, x1 + x0, n1) for x1, n1, x0, n0 in trials]
    variance = sum(law.var() for law in laws)
    excess = sum(x1 - law.mean() for (x1, *_), law in zip(trials, laws, strict=True))
    found = peto(literature(*trials))
    assert_allclose(found.estimate[0], excess / variance, rtol=1e-12)
    assert_allclose(found.standard_error[0], variance**-0.5, rtol=1e-12)
    squares = sum(
        (x1 - law.mean()) ** 2 / law.var() for (x1, *_), law in zip(trials, laws, strict=True)
    )
    assert_allclose(found.q[0], squares - excess**2 / variance, rtol=1e-12)


@pytest.mark.parametrize("scale", [OR, RR, RD])
def test_analytic_one_trial_pools_to_itself(scale):
    trial = literature((12, 60, 18, 58))
    alone, found = effects(trial, scale), mantel_haenszel(trial, scale)
    assert_allclose(found.estimate, alone.estimates[:, 0], rtol=1e-12)
    if scale is not RD:  # Sato's variance is another one
        assert_allclose(found.standard_error, np.sqrt(alone.variances[:, 0]), rtol=1e-12)


def test_analytic_zero_cells_get_a_half_and_uninformative_trials_as_asked():
    tables = literature((0, 10, 3, 12), (0, 10, 0, 12), (10, 10, 12, 12), (2, 10, 3, 12))
    found = effects(tables, OR)
    assert_allclose(found.estimates[0, 0], np.log(0.5 * 9.5 / (10.5 * 3.5)), rtol=1e-14)
    assert_allclose(found.variances[0, 1], 2 + 1 / 10.5 + 2 + 1 / 12.5, rtol=1e-14)
    assert_allclose(found.estimates[0, 2], np.log(10.5 / 12.5), rtol=1e-14)
    assert_allclose(found.estimates[0, 3], np.log(2 * 9 / (8 * 3)), rtol=1e-14)
    assert (found.n_corrected[0], found.n_left_out[0]) == (3, 0)
    without = effects(tables, OR, Uninformative.LEFT_OUT)
    assert_array_equal(np.isnan(without.estimates[0]), [False, True, True, False])
    assert (without.n_corrected[0], without.n_left_out[0]) == (1, 2)


def test_property_uninformative_trials_add_nothing_to_a_ratio_but_count_for_a_difference():
    some = [(5, 40, 9, 38), (2, 30, 4, 33)]
    nothing = [(0, 25, 0, 27), (25, 25, 27, 27)]
    fewer, more = literature(*some), literature(*some, *nothing)
    for pool in (lambda t: mantel_haenszel(t, OR), peto):
        assert_allclose(pool(more).estimate, pool(fewer).estimate, rtol=1e-14)
        assert_allclose(pool(more).standard_error, pool(fewer).standard_error, rtol=1e-14)
        assert_array_equal(pool(more).n_trials - pool(fewer).n_trials, 2)
        assert_allclose(pool(more).q, pool(fewer).q, rtol=1e-12)
    never = literature(*some, nothing[0])
    assert_allclose(mantel_haenszel(never, RR).estimate, mantel_haenszel(fewer, RR).estimate)
    assert abs(mantel_haenszel(never, RD).estimate) < abs(mantel_haenszel(fewer, RD).estimate)


def test_property_a_literature_without_an_estimate_fails_alone():
    nan = np.nan
    tables = Tables(
        [[0, 0], [nan, nan], [3, 4]],
        [[10, 12], [nan, nan], [10, 12]],
        [[2, 1], [nan, nan], [4, 6]],
        [[10, 12], [nan, nan], [10, 12]],
    )
    for scale in (OR, RR):
        found = mantel_haenszel(tables, scale)
        assert_array_equal(found.failed, [True, True, False])
        assert_array_equal(np.isnan(found.p_value), found.failed)
    assert_array_equal(mantel_haenszel(tables, RD).failed, [False, True, False])
    assert_array_equal(peto(tables).failed, [False, True, False])
    assert_array_equal(peto(tables).n_trials, [2, 0, 2])


@pytest.mark.parametrize(
    "pool", [peto, *(lambda t, s=s: mantel_haenszel(t, s) for s in (OR, RR, RD))]
)
def test_property_alone_as_in_company_and_in_any_order(pool):
    tables = random_tables(40)
    together = pool(tables)
    columns = (tables.events_treated, tables.n_treated, tables.events_control, tables.n_control)
    order = np.random.default_rng(2).permutation(11)
    shuffled = pool(Tables(*(c[:, order] for c in columns)))
    for k in range(40):
        alone = pool(Tables(*(c[[k]] for c in columns)))
        seen = tables.published[k]
        only_seen = pool(Tables(*(c[[k]][:, seen] for c in columns)))
        for name in ("estimate", "standard_error", "q", "p_value"):
            value = getattr(together, name)[k]
            assert getattr(alone, name)[0] == value
            assert_allclose(getattr(only_seen, name)[0], value, rtol=1e-11)
            assert_allclose(getattr(shuffled, name)[k], value, rtol=1e-11)


def test_property_arms_exchanged_turn_the_sign():
    t = random_tables(30)
    turned = Tables(t.events_control, t.n_control, t.events_treated, t.n_treated)
    for pool in (peto, *(lambda t, s=s: mantel_haenszel(t, s) for s in (OR, RR, RD))):
        assert_allclose(pool(turned).estimate, -pool(t).estimate, rtol=1e-11)
        assert_allclose(pool(turned).standard_error, pool(t).standard_error, rtol=1e-11)


def test_reference_strata_of_the_review_differ_as_published():
    """0.41 (0.24-0.68) and 0.82 (0.65-1.03), Gu 2025: ratio 0.50 (0.28-0.88), P 0.017, derived."""
    se = [np.log(hi / lo) / (2 * stats.norm.ppf(0.975)) for lo, hi in ((0.24, 0.68), (0.65, 1.03))]
    one, other = (
        type(peto(SMALL))(*(np.array([v]) for v in (np.log(r), s, *[np.nan] * 5, 1)))
        for r, s in zip((0.41, 0.82), se, strict=True)
    )
    found = pooled_difference(one, other)
    ratio = [np.exp(x[0]) for x in (found.estimate, found.lower, found.upper)]
    assert_allclose(ratio, [0.50, 0.28, 0.88], atol=0.005)
    assert_allclose(found.p_value[0], 0.017, atol=0.0005)
    assert_allclose(found.z[0], stats.norm.ppf(found.p_value[0] / 2), rtol=1e-9)


def test_property_strata_are_the_literatures_of_their_trials():
    tables = random_tables(20)
    first = np.arange(11) < 6
    counts = (tables.events_treated, tables.n_treated, tables.events_control, tables.n_control)
    strata = [mantel_haenszel(tables.only(chosen), OR) for chosen in (first, ~first)]
    for stratum, part in zip(strata, (slice(None, 6), slice(6, None)), strict=True):
        apart = mantel_haenszel(Tables(*(c[:, part] for c in counts)), OR)
        assert_allclose(stratum.estimate, apart.estimate, rtol=1e-12)
        assert_array_equal(stratum.n_trials, apart.n_trials)
    found, turned = pooled_difference(*strata), pooled_difference(*strata[::-1])
    assert_array_equal(found.estimate, strata[0].estimate - strata[1].estimate)
    assert_array_equal(found.p_value, turned.p_value)
    assert_allclose(found.lower, -turned.upper, rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (([[5]], [[4]], [[1]], [[4]]), "events_treated must lie between 0 and n_treated"),
        (([[1]], [[4]], [[-1]], [[4]]), "events_control must lie between"),
        (([[0]], [[0]], [[1]], [[4]]), "must be at least 1"),
        (([1], [4], [1], [4]), "must have shape"),
        (([[1]], [[4, 5]], [[1]], [[4]]), "n_treated must have shape"),
    ],
)
def test_property_impossible_counts_are_refused(counts, said):
    with pytest.raises(ValueError, match=said):
        Tables(*counts)
