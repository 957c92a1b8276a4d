"""Small-study effects: against metafor and R's lm, by enumeration, and at the edges."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from literatures import EFFECTS, METAFOR, REFERENCE, literature, random_tables
from trialsim.kernels.pooling import Tables, effects
from trialsim.kernels.proportions import Scale
from trialsim.kernels.random_effects import (
    Estimator,
    Inference,
    between_trials,
    q_profile,
    random_effects,
)
from trialsim.kernels.small_study import (
    MissingCount,
    cumulative,
    egger,
    harbord,
    leave_one_out,
    peters,
    rank_test,
    trim_and_fill,
)

FIGURES = json.loads((REFERENCE / "pooling.json").read_text())
LITERATURES = FIGURES["literatures"]
REML, FE = Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD, Estimator.EQUAL_EFFECTS
each_literature = pytest.mark.parametrize(
    "own", LITERATURES, ids=[f"{len(x['y'])}-trials-{k}" for k, x in enumerate(LITERATURES)]
)
FILLS = [figure for figure in METAFOR if "trimfill" in figure]
RANDOM = random_tables(60)
RANDOM_EFFECTS = effects(RANDOM, Scale.ODDS_RATIO)


def tables_of(own):
    names = ("events_treated", "n_treated", "events_control", "n_control")
    return Tables(*(np.array([own[name]]) for name in names))


def effects_of(own):
    return np.array([own["y"]]), np.array([own["v"]])


def assert_line(found, theirs):
    names = {"slope": "slope", "standard_error": "se", "statistic": "t", "p_value": "p"}
    for ours, name in {**names, "degrees_of_freedom": "df", "limit": "limit"}.items():
        assert_allclose(getattr(found, ours)[0], theirs[name], rtol=1e-8, err_msg=name)
    assert_allclose([found.limit_lower[0], found.limit_upper[0]], theirs["ci"], rtol=1e-8)


@each_literature
def test_reference_effects_and_every_estimator_are_those_of_metafor(own):
    found = effects(tables_of(own), Scale.ODDS_RATIO)
    y, v = effects_of(own)
    assert_allclose(found.estimates, y, rtol=1e-10)
    assert_allclose(found.variances, v, rtol=1e-10)
    fits = {name: (Inference.NORMAL, theirs) for name, theirs in own["fits"].items()}
    compared = [
        *((Estimator(name), *fit) for name, fit in fits.items()),
        (REML, Inference.KNAPP_HARTUNG, own["knapp_hartung"]),
    ]
    for estimator, inference, theirs in compared:
        ours = random_effects(y, v, estimator, inference)
        assert_allclose(ours.between.tau2[0], theirs["tau2"], rtol=1e-6, atol=1e-11)
        if estimator is not FE:
            assert_allclose(ours.between.standard_error[0], theirs["se_tau2"], rtol=1e-6)
        for name in ("estimate", "statistic", "i2", "h2"):
            assert_allclose(getattr(ours, name)[0], theirs[name], rtol=1e-6, atol=1e-9)
        assert_allclose(ours.standard_error[0], theirs["se"], rtol=1e-6)
        assert_allclose(ours.p_value[0], theirs["p"], rtol=1e-6)


@each_literature
def test_reference_profile_intervals_are_those_of_metafor_at_a_tight_tolerance(own):
    found = q_profile(*effects_of(own))
    assert_allclose([found.tau2_lower[0], found.tau2_upper[0]], own["q_profile"], rtol=1e-8)


def test_reference_the_higher_of_two_maxima_where_metafor_stops_at_the_lower():
    own = FIGURES["two_maxima"]
    found = between_trials(*effects_of(own), Estimator.MAXIMUM_LIKELIHOOD).tau2[0]
    assert own["from_hedges"] < 1e-9
    assert own["log_likelihoods"][1] > own["log_likelihoods"][0] + 0.09
    assert_allclose(found, own["from_above"], rtol=1e-6)


@pytest.mark.parametrize("data", ["bcg", "bcg_or", "small"])
def test_reference_egger_is_that_of_metafor(data):
    own, theirs = EFFECTS[data], METAFOR[f"{data}_egger_lm_weighted_regression"]
    found = egger(own.estimates, own.variances)
    assert_allclose(found.statistic[0], theirs["zval"], rtol=1e-9)
    assert_allclose(found.p_value[0], theirs["pval"], rtol=1e-9)
    assert found.degrees_of_freedom[0] == theirs["ddf"]
    assert_allclose(found.limit[0], theirs["intercept_est"], rtol=1e-9)
    assert_allclose([found.limit_lower[0], found.limit_upper[0]], theirs["ci"], rtol=1e-9)


def test_reference_egger_with_variance_between_trials_is_that_of_metafor():
    own, theirs = EFFECTS["small_rd"], METAFOR["small_rd_egger_rma_reml"]
    found = egger(own.estimates, own.variances, REML, Inference.NORMAL)
    assert_allclose(found.statistic[0], theirs["zval"], rtol=1e-6)
    assert_allclose(found.p_value[0], theirs["pval"], rtol=1e-6)
    assert_allclose(found.limit[0], theirs["est"], rtol=1e-6)


@each_literature
def test_reference_egger_harbord_and_peters_are_lines_by_lm(own):
    y, v = effects_of(own)
    assert_line(egger(y, v), own["egger"])
    assert_line(harbord(tables_of(own)), own["harbord"])
    assert_line(peters(tables_of(own)), own["peters"])
    mixed = egger(y, v, REML, Inference.NORMAL)
    assert_allclose(mixed.statistic[0], own["egger_mixed"]["z"], rtol=1e-6)
    assert_allclose(mixed.limit[0], own["egger_mixed"]["limit"], rtol=1e-6)
    assert_allclose(mixed.p_value[0], own["egger_mixed"]["p"], rtol=1e-6)


@pytest.mark.parametrize("data", ["bcg", "small", "small_rd"])
def test_reference_rank_test_is_that_of_metafor(data):
    own, theirs = EFFECTS[data], METAFOR[f"{data}_ranktest"]
    found = rank_test(own.estimates, own.variances)
    assert_allclose([found.tau[0], found.p_value[0]], [theirs["tau"], theirs["pval"]], rtol=1e-9)
    assert found.exact[0]


@each_literature
def test_reference_rank_test_of_more_literatures_is_that_of_metafor(own):
    found = rank_test(*effects_of(own))
    assert_allclose(found.tau[0], own["rank"]["tau"], atol=1e-12)
    assert_allclose(found.p_value[0], own["rank"]["p"], rtol=1e-10)


def test_reference_rank_test_with_ties_is_that_of_metafor():
    own = FIGURES["tied"]
    found = rank_test(*effects_of(own))
    assert not found.exact[0]
    assert_allclose([found.tau[0], found.p_value[0]], [own["tau"], own["p"]], rtol=1e-10)


def test_analytic_rank_test_by_all_orders_of_five():
    v = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    pairs = list(itertools.combinations(range(5), 2))
    orders = itertools.permutations(range(5))
    sums = [sum(np.sign(order[j] - order[i]) for i, j in pairs) for order in orders]
    y = np.array([[0.1, -0.3, 0.6, 0.2, 0.9]])
    found = rank_test(y, v)
    more = np.mean(np.abs(sums) >= abs(found.tau[0] * 10) - 1e-9)
    assert_allclose(found.p_value[0], more, rtol=1e-12)


@pytest.mark.parametrize("figure", FILLS)
def test_reference_trim_and_fill_is_that_of_metafor(figure):
    """With REML the figures are metafor's at its default tolerance: 1e-5 of tau2, not 1e-12."""
    data, _, estimator, count = figure.rsplit("_", 3)
    own, theirs = EFFECTS[data], METAFOR[figure]
    found = trim_and_fill(own.estimates, own.variances, Estimator(estimator), MissingCount(count))
    assert found.n_missing[0] == theirs["k0"]
    assert_allclose(found.n_missing_se[0], theirs["se.k0"], rtol=1e-9)
    assert found.missing_right[0] == (theirs["side"] == "right")
    tolerance = 1e-5 if estimator == "REML" else 1e-9
    pooled = found.pooled
    assert_allclose(pooled.estimate[0], theirs["beta"], rtol=tolerance)
    assert_allclose(pooled.standard_error[0], theirs["se"], rtol=tolerance)
    assert_allclose(pooled.between.tau2[0], theirs["tau2"], rtol=tolerance, atol=tolerance)
    assert_allclose(pooled.p_value[0], theirs["pval"], rtol=10 * tolerance)


@each_literature
def test_reference_trim_and_fill_on_both_sides_is_that_of_metafor(own):
    for theirs in own["fills"]:
        found = trim_and_fill(
            *effects_of(own), Estimator(theirs["method"]), MissingCount(theirs["estimator"])
        )
        if theirs.get("no_value"):
            assert found.not_converged[0]
            assert np.isnan(found.n_missing[0])
            assert found.pooled.failed[0]
            continue
        assert found.n_missing[0] == theirs["k0"]
        assert_allclose(found.n_missing_se[0], theirs["se_k0"], rtol=1e-8)
        assert found.missing_right[0] == (theirs["side"] == "right")
        assert_allclose(found.pooled.estimate[0], theirs["estimate"], rtol=1e-6)
        assert_allclose(found.pooled.standard_error[0], theirs["se"], rtol=1e-6)


def test_property_the_reference_fills_have_both_sides_trials_missing_and_no_value():
    fills = [fill for own in LITERATURES for fill in own["fills"]]
    assert {fill.get("side") for fill in fills} == {"left", "right", None}
    assert any(fill.get("k0", 0) > 1 for fill in fills)
    assert any(fill.get("no_value") for fill in fills)


@each_literature
def test_reference_leave_one_out_and_cumulative_are_those_of_metafor(own):
    y, v = effects_of(own)
    assert_allclose(leave_one_out(y, v, REML).estimate[0], own["leave_one_out"], rtol=1e-6)
    found = cumulative(y, v, Estimator.DERSIMONIAN_LAIRD)
    assert_allclose(found.estimate[0, 1:], own["cumulative"], rtol=1e-9)
    assert np.isnan(found.estimate[0, 0])
    assert_allclose(cumulative(y, v, FE).estimate[0, 0], y[0, 0], rtol=1e-14)


def test_property_trials_not_published_have_no_part_in_leave_one_out_and_cumulative():
    y, v = RANDOM_EFFECTS.estimates, RANDOM_EFFECTS.variances
    without, so_far = leave_one_out(y, v, FE), cumulative(y, v, FE)
    assert_array_equal(np.isnan(without.estimate), np.isnan(y))
    assert_array_equal(np.isnan(so_far.estimate), np.isnan(y))
    assert without.between.tau2.shape == without.n_trials.shape == y.shape
    k = int(np.flatnonzero(~np.isnan(y[3]))[2])
    others = np.delete(np.arange(11), k)
    alone = random_effects(y[[3]][:, others], v[[3]][:, others], FE)
    assert_allclose(without.estimate[3, k], alone.estimate[0], rtol=1e-12)


@pytest.mark.parametrize("count", MissingCount)
@pytest.mark.parametrize("estimator", [FE, REML, Estimator.DERSIMONIAN_LAIRD])
def test_property_trim_and_fill_alone_as_in_company_in_any_order_and_mirrored(count, estimator):
    y, v = RANDOM_EFFECTS.estimates, RANDOM_EFFECTS.variances
    together = trim_and_fill(y, v, estimator, count)
    order = np.random.default_rng(4).permutation(11)
    shuffled = trim_and_fill(y[:, order], v[:, order], estimator, count)
    mirrored = trim_and_fill(-y, v, estimator, count)
    assert np.nansum(together.n_missing) > 5
    assert_array_equal(shuffled.n_missing, together.n_missing)
    assert_array_equal(mirrored.n_missing, together.n_missing)
    assert_allclose(mirrored.pooled.estimate, -together.pooled.estimate, rtol=1e-9)
    assert_array_equal(np.isnan(together.n_missing), together.not_converged)
    settled = ~together.not_converged
    n_filled = (~np.isnan(together.estimates)).sum(axis=1) - (~np.isnan(y)).sum(axis=1)
    assert_array_equal(n_filled[settled], together.n_missing[settled])
    for k in range(0, len(y), 9):
        alone = trim_and_fill(y[[k]], v[[k]], estimator, count)
        for name in ("n_missing", "n_missing_se"):
            assert_array_equal(getattr(alone, name)[0], getattr(together, name)[k])
        assert_array_equal(alone.pooled.estimate[0], together.pooled.estimate[k])


@pytest.mark.parametrize("estimator", [FE, REML])
def test_analytic_trimming_can_leave_one_trial_whatever_the_estimator(estimator):
    """One precise trial at 0, two vague ones at 0.1 and 0.11: L0 is (4 * 5 - 12) / 5, so 2."""
    found = trim_and_fill(np.array([[0, 0.1, 0.11]]), np.array([[1e-4, 1, 1]]), estimator)
    assert found.n_missing[0] == 2
    assert_allclose(found.estimates[0, 4:], [-0.1, -0.11], atol=1e-15)
    assert_allclose(found.pooled.estimate[0], 0, atol=1e-15)


def test_property_a_symmetric_funnel_is_left_as_it_is():
    y = np.array([[-0.9, -0.4, -0.1, 0.0, 0.1, 0.4, 0.9]])
    v = np.array([[0.5, 0.2, 0.1, 0.05, 0.1, 0.2, 0.5]])
    for count in MissingCount:
        found = trim_and_fill(y, v, FE, count)
        assert found.n_missing[0] == 0
    assert_allclose(egger(y, v).slope, 0, atol=1e-12)


@pytest.mark.parametrize("test", [egger, rank_test])
def test_property_alone_as_in_company_and_in_any_order(test):
    y, v = RANDOM_EFFECTS.estimates, RANDOM_EFFECTS.variances
    order = np.random.default_rng(5).permutation(11)
    together, shuffled = test(y, v).p_value, test(y[:, order], v[:, order]).p_value
    assert_allclose(shuffled, together, rtol=1e-10)
    assert_array_equal([test(y[[k]], v[[k]]).p_value[0] for k in range(len(y))], together)


@pytest.mark.parametrize("test", [harbord, peters])
def test_property_of_tables_alone_as_in_company_and_uninformative_trials_say_nothing(test):
    together = test(RANDOM).p_value
    columns = (RANDOM.events_treated, RANDOM.n_treated, RANDOM.events_control, RANDOM.n_control)
    for k in range(0, 60, 7):
        trials = [tuple(c[k, j] for c in columns) for j in range(11)]
        seen = [trial for trial in trials if not np.isnan(trial).any()]
        found = test(literature(*seen, (0, 20, 0, 25), (20, 20, 25, 25)))
        assert_allclose(found.p_value[0], together[k], rtol=1e-9)


def test_property_too_few_trials_give_no_test():
    y, v = np.array([[0.1, 0.4, np.nan]]), np.array([[0.1, 0.2, 0.3]])
    assert egger(y, v).failed[0]
    assert np.isnan(rank_test(y[:, [0, 2]], v[:, [0, 2]]).p_value[0])
    filled = trim_and_fill(y[:, [0, 2]], v[:, [0, 2]], FE)
    assert np.isnan(filled.n_missing[0])
    assert not filled.not_converged[0]
    assert harbord(literature((1, 10, 3, 11), (2, 12, 2, 13))).failed[0]
    same_size = literature(*[(x, 20, 5, 20) for x in (3, 6, 9, 7)])
    assert peters(same_size).failed[0]


def test_analytic_the_level_of_egger_with_normal_effects_is_exact():
    """No effect of size: t with k - 2 degrees of freedom, whatever the variances; and its power."""
    rng = np.random.default_rng(6)
    v = np.array([0.02, 0.05, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5])
    y = rng.normal(-0.2, np.sqrt(v), (20_000, 8))
    found = egger(y, np.broadcast_to(v, y.shape))
    mcse = np.sqrt(0.05 * 0.95 / len(y))
    assert abs((found.p_value < 0.05).mean() - 0.05) < 4 * mcse
    biased = egger(y - 2 * np.sqrt(v), np.broadcast_to(v, y.shape))
    w = 1 / v
    x = np.sqrt(v) - np.average(np.sqrt(v), weights=w)
    noncentral = stats.nct(6, -2 * np.sqrt((w * x**2).sum()))
    cut = stats.t.ppf(0.975, 6)
    power = noncentral.cdf(-cut) + noncentral.sf(cut)
    assert abs((biased.p_value < 0.05).mean() - power) < 4 * np.sqrt(power * (1 - power) / len(y))
