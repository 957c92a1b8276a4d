"""Competing risks against R, closed forms, plain counting and simulation."""

from __future__ import annotations

import json
from math import expm1, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from trialsim import RequestError
from trialsim.kernels.competing import (
    Cause,
    competing_table,
    competing_times,
    cumulative_incidence,
    fine_gray,
    followed_until,
    incidence_on,
)
from trialsim.kernels.hazards import Hazard, survival_on
from trialsim.kernels.survival import (
    SurvivalData,
    Ties,
    cox,
    kaplan_meier,
    risk_tables,
    snapped,
    weighted_log_rank,
)

TRIALS = json.loads((ROOT / "tests" / "reference" / "competing_risks.json").read_text())["trials"]
CLOSE = {"rel": 1e-9, "abs": 1e-10}  # the figures have fifteen digits
EITHER = (Cause.EVENT, Cause.COMPETING)
H1 = {False: Hazard((30, 90), (0.010, 0.006, 0.004)), True: Hazard((30, 90), (0.007, 0.004, 0.003))}
H2 = Hazard((60,), (0.004, 0.002))


def one(time, cause, treated):
    return competing_table(*(np.asarray(a)[:, None] for a in (time, cause, treated)))


def stored(name):
    trial = TRIALS[name]
    return trial, one(trial["time"], trial["cause"], trial["treated"])


def simulated(n_patients, n_reps, seed, *, effect=True, least=50.0):
    """Trials with half on treatment, and follow-up that ends uniformly until day 365."""
    draw = np.random.default_rng(seed)
    treated = np.broadcast_to(np.arange(n_patients)[:, None] % 2 == 1, (n_patients, n_reps))
    luck = draw.exponential(size=treated.shape), draw.random(treated.shape)
    arms = [competing_times(*luck, H1[arm and effect], H2) for arm in (False, True)]
    time, cause = (np.where(treated, b, a) for a, b in zip(*arms, strict=True))
    return *followed_until(time, cause, draw.uniform(least, 365, treated.shape)), treated


@pytest.mark.parametrize("name", TRIALS)
def test_reference_incidence_and_variance_of_cuminc(name):
    trial, table = stored(name)
    found = [cumulative_incidence(table, day) for day in trial["days"]]
    for key, column in (("estimate", "incidence"), ("variance", "variance")):
        seen = np.array([getattr(f, column)[0].ravel() for f in found]).T
        np.testing.assert_allclose(seen, trial[key], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cause", EITHER)
@pytest.mark.parametrize("name", TRIALS)
def test_reference_fine_gray_and_its_standard_error_of_crr(name, cause):
    trial, table = stored(name)
    fit, seen = fine_gray(table, cause), trial["crr"][cause - 1]
    assert fit.converged[0]
    assert fit.log_hazard_ratio[0] == pytest.approx(seen["coef"], abs=1e-9)  # where crr stops
    assert fit.standard_error[0] == pytest.approx(seen["se"], abs=1e-9)


@pytest.mark.parametrize("cause", EITHER)
@pytest.mark.parametrize("name", [name for name, trial in TRIALS.items() if trial["finegray"]])
def test_reference_fine_gray_of_the_survival_package(name, cause):
    trial, table = stored(name)
    fit = fine_gray(table, cause)
    assert fit.log_hazard_ratio[0] == pytest.approx(trial["finegray"][cause - 1], **CLOSE)


@pytest.mark.parametrize("cause", EITHER)
@pytest.mark.parametrize("name", TRIALS)
def test_reference_cause_specific_coxph_and_survdiff(name, cause):
    trial, table = stored(name)
    seen, specific = trial["cause_specific"][cause - 1], [table.cause_specific(cause)]
    fit = cox(specific)
    assert fit.log_hazard_ratio[0] == pytest.approx(seen["coef"], **CLOSE)
    assert fit.standard_error[0] == pytest.approx(seen["se"], **CLOSE)
    assert weighted_log_rank(specific).z[0, 0] == pytest.approx(seen["z"], **CLOSE)


def test_analytic_cause_specific_table_is_that_of_the_other_cause_censored():
    time, cause, treated = simulated(50, 20, 3)
    time = np.ceil(time / 20)
    mine = competing_table(time, cause, treated).cause_specific(Cause.COMPETING)
    (theirs,) = risk_tables(SurvivalData(snapped(time).T, cause.T == 2, treated.T))
    for name in ("time", "at_risk", "events", "at_risk_treated", "events_treated"):
        events = theirs.events > 0
        assert np.array_equal(getattr(mine, name)[events], getattr(theirs, name)[events])
    days = [kaplan_meier(table, treated=True).on(9) for table in (mine, theirs)]
    assert np.array_equal(*days, equal_nan=True)


def test_analytic_without_censoring_incidence_is_the_fraction_with_the_event():
    time, cause, treated = simulated(80, 30, 5, least=364.999)
    time = np.ceil(time / 10)
    found = cumulative_incidence(competing_table(time, cause, treated), 12.0)
    for arm in (0, 1):
        mine = treated == bool(arm)
        for which in EITHER:
            had = (mine & (cause == which) & (time <= 12)).sum(axis=0) / mine.sum(axis=0)
            np.testing.assert_allclose(found.incidence[:, arm, which - 1], had, atol=1e-13)


def test_analytic_without_competing_event_it_is_survival_analysis():
    time, cause, treated = simulated(60, 40, 7)
    time, cause = np.ceil(time), np.where(cause == 2, 0, cause)
    table = competing_table(time, cause, treated)
    fit, plain = fine_gray(table), cox([table.cause_specific()], Ties.BRESLOW)
    np.testing.assert_allclose(fit.log_hazard_ratio, plain.log_hazard_ratio, atol=1e-12)
    found = cumulative_incidence(table, 100)
    for arm in (0, 1):
        survival, _ = kaplan_meier(table.cause_specific(), treated=bool(arm)).on(100)
        np.testing.assert_allclose(found.incidence[:, arm, 0], 1 - survival, atol=1e-13)
    assert (found.incidence[:, :, 1] == 0).all()
    assert (found.variance[:, :, 1] == 0).all()


def test_analytic_without_censoring_fine_gray_is_cox_with_the_others_never_leaving():
    time, cause, treated = simulated(60, 40, 8, least=364.999)
    time, cause = np.where(cause == 0, 365.0, time), np.where(cause == 0, 2, cause)
    fit = fine_gray(competing_table(time, cause, treated))
    stays = competing_table(np.where(cause == 2, 1000.0, time), cause * (cause == 1), treated)
    plain = cox([stays.cause_specific()], Ties.BRESLOW)
    np.testing.assert_allclose(fit.log_hazard_ratio, plain.log_hazard_ratio, atol=1e-11)


def test_analytic_fine_gray_variance_of_all_patients_one_by_one():
    """Equations 7 and 8 of Fine and Gray (1999) in plain loops, ties and all."""
    time, cause, treated = (a[:, 0] for a in simulated(40, 1, 9))
    time = np.ceil(time / 15)
    fit = fine_gray(one(time, cause, treated))
    n, z, times = len(time), treated.astype(float), np.unique(time)
    risk = np.exp(fit.log_hazard_ratio[0] * z)
    at_risk = {u: (time >= u).sum() for u in times}
    lost = {u: ((time == u) & (cause == 0)).sum() / at_risk[u] for u in times}
    g = {u: np.prod([1 - lost[v] for v in times if v < u]) for u in times}
    terms, information = np.zeros((n, len(times))), 0.0  # of every patient's score, at every time
    for j, s in enumerate(times):
        gone = [g[s] / g[t] if c == 2 else 0.0 for t, c in zip(time, cause, strict=True)]
        weight = np.where(time >= s, 1.0, gone) * risk
        has = (time == s) & (cause == 1)
        mean = (weight * z).sum() / weight.sum()
        terms[:, j] = (z - mean) * (has - weight * has.sum() / weight.sum())
        information += has.sum() * mean * (1 - mean)
    theta = terms.sum(axis=1)
    for u in times:
        q = -sum(
            terms[i, j]
            for i in range(n)
            if time[i] < u and cause[i] == 2
            for j, s in enumerate(times)
            if s >= u
        )
        martingale = ((time == u) & (cause == 0)) - (time >= u) * lost[u]
        theta = theta + q / at_risk[u] * martingale
    assert abs(terms.sum()) < 1e-9  # the score is 0 at the estimate
    expected = np.sqrt((theta**2).sum()) / information
    assert fit.standard_error[0] == pytest.approx(expected, rel=1e-9)


PATIENTS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 2), st.booleans()), min_size=2, max_size=40
)


@given(patients=PATIENTS, day=st.integers(1, 9))
def test_property_incidences_and_survival_add_up_to_one(patients, day):
    time, cause, treated = map(np.array, zip(*patients, strict=True))
    found = cumulative_incidence(one(time, cause, treated), day)
    for arm in (0, 1):
        mine = treated == bool(arm)
        known = mine.any() and (time[mine].max() >= day or found.survival[0, arm] == 0)
        assert np.isnan(found.survival[0, arm]) != known
        if known:
            either = SurvivalData(
                snapped(time[mine])[None], cause[None, mine] > 0, mine[None, mine]
            )
            survival, _ = kaplan_meier(risk_tables(either)[0], treated=True).on(day)
            assert found.survival[0, arm] == pytest.approx(survival[0], abs=1e-12)
            whole = found.incidence[0, arm].sum() + found.survival[0, arm]
            assert abs(whole - 1) < 1e-12
            assert (found.variance[0, arm] >= 0).all()


@given(patients=PATIENTS, seed=st.integers(0, 99))
def test_property_order_company_and_the_absent_change_nothing(patients, seed):
    columns = [np.array(column) for column in zip(*patients, strict=True)]
    alone = one(*columns)
    order = np.random.default_rng(seed).permutation(len(columns[0]) + 3)
    absent = [
        np.concatenate([c, more])
        for c, more in zip(columns, ([np.inf] * 3, [0, 1, 2], [1, 0, 1]), strict=True)
    ]
    others = simulated(len(order), 2, seed)
    batch = competing_table(
        *(np.column_stack([b, a[order]]) for a, b in zip(absent, others, strict=True))
    )
    assert np.isinf(batch.time[2, -3:]).all()
    for pick in (
        lambda t: cumulative_incidence(t, 5.0).incidence,
        lambda t: cumulative_incidence(t, 5.0).variance,
        lambda t: fine_gray(t).log_hazard_ratio,
        lambda t: fine_gray(t).standard_error,
        lambda t: weighted_log_rank([t.cause_specific()]).z,
        lambda t: cox([t.cause_specific()]).log_hazard_ratio,
    ):
        np.testing.assert_allclose(pick(batch)[2], pick(alone)[0], rtol=1e-9, atol=1e-11)


@given(patients=PATIENTS)
def test_property_swapping_arms_flips_the_sign(patients):
    time, cause, treated = map(np.array, zip(*patients, strict=True))
    ahead, back = (one(time, cause, arm) for arm in (treated, ~treated))
    a, b = fine_gray(ahead), fine_gray(back)
    np.testing.assert_allclose(a.log_hazard_ratio, -b.log_hazard_ratio, atol=1e-9)
    np.testing.assert_allclose(a.standard_error, b.standard_error, rtol=1e-8)
    a, b = cumulative_incidence(ahead, 4), cumulative_incidence(back, 4)
    np.testing.assert_allclose(a.difference, -b.difference, atol=1e-14)
    np.testing.assert_allclose(a.standard_error, b.standard_error, rtol=1e-12)


@pytest.mark.parametrize("arm", [False, True])
def test_property_simulated_incidences_are_the_closed_form(arm):
    n = 200_000
    draw = np.random.default_rng(11)
    time, cause = competing_times(draw.exponential(size=n), draw.random(n), H1[arm], H2)
    days = np.array([10.0, 30.0, 60.0, 75.0, 200.0, np.inf])
    for which, truth in zip(EITHER, incidence_on(days, H1[arm], H2), strict=True):
        seen = ((time[:, None] <= days) & (cause[:, None] == which)).mean(axis=0)
        assert (np.abs(seen - truth) < 4 * np.sqrt(truth * (1 - truth) / n)).all()  # 4 MCSE


def test_property_estimates_are_unbiased_and_their_variances_true():
    n_reps = 4000
    time, cause, treated = simulated(100, n_reps, 12)
    found = cumulative_incidence(competing_table(time, cause, treated), 120.0)
    assert found.known.all()
    for arm in (False, True):
        for which, truth in zip(EITHER, incidence_on(120.0, H1[arm], H2), strict=True):
            estimates = found.incidence[:, int(arm), which - 1]
            assert abs(estimates.mean() - truth) < 4 * estimates.std() / np.sqrt(n_reps)
    spread = found.difference.std(axis=0)
    ratio = np.sqrt((found.standard_error**2).mean(axis=0)) / spread
    assert (np.abs(ratio - 1) < 4 / np.sqrt(2 * n_reps)).all()  # 4 MCSE of a standard deviation


def test_property_fine_gray_holds_its_level_under_the_null():
    n_reps = 4000
    fit = fine_gray(competing_table(*simulated(200, n_reps, 13, effect=False)))
    assert fit.converged.all()
    rejected = np.abs(fit.log_hazard_ratio / fit.standard_error) > 1.959964
    assert abs(rejected.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n_reps)  # 4 MCSE


def test_analytic_incidences_add_up_to_one_less_survival():
    days = np.linspace(0, 400, 81).reshape(9, 9)
    total = Hazard((30, 60, 90), (0.014, 0.010, 0.008, 0.006))
    first, second = incidence_on(days, H1[False], H2)
    assert first.shape == days.shape
    np.testing.assert_allclose(first + second, 1 - survival_on(days, total), atol=1e-14)


def test_analytic_incidence_of_constant_hazards_with_a_stretch_of_none():
    a, b = Hazard((50, 80), (0.01, 0, 0.02)), Hazard((50, 80), (0.03, 0, 0.01))
    first, second = incidence_on([50.0, 65.0, 80.0, 100.0, np.inf], a, b)
    at_50 = -expm1(-2) * np.array([0.25, 0.75])
    later = np.exp(-2) * np.array([2 / 3, 1 / 3])
    both = [at_50, at_50, at_50, at_50 - expm1(-0.6) * later, at_50 + later]
    np.testing.assert_allclose(np.transpose([first, second]), both, rtol=1e-13)


def test_analytic_incidence_of_weibull_hazards():
    shaped = [Hazard((), (rate,), shape=2.0) for rate in (1e-4, 3e-4)]
    first, second = incidence_on(40.0, *shaped)
    assert first == pytest.approx(-0.25 * expm1(-0.64), rel=1e-14)
    assert second == pytest.approx(3 * first, rel=1e-14)
    time, cause = competing_times(np.array([0.64, 0.64]), np.array([0.24, 0.26]), *shaped)
    assert time == pytest.approx(40)
    assert cause.tolist() == [1, 2]


def test_analytic_times_and_causes():
    h1, h2 = Hazard((10, 20), (0.1, 0, 0)), Hazard((10,), (0.1, 0.05))
    time, cause = competing_times(
        np.array([1.0, 1.0, 2.25, 2.25]), np.array([0.49, 0.5, 0.0, 0.99]), h1, h2
    )
    assert time == pytest.approx([5, 5, 15, 15])
    assert cause.tolist() == [1, 2, 2, 2]
    on_the_break = competing_times(np.array([2.0]), np.array([0.0]), h1, h2)
    assert (on_the_break[0][0], on_the_break[1][0]) == (10, 2)  # belongs to what follows


def test_analytic_without_hazard_nothing_ever_happens():
    none, soon = Hazard((), (0.0,)), Hazard((log(2),), (1.0, 0.0))
    latent, uniform = np.array([[0.1, 5.0]]), np.array([[0.0, 0.9]])
    time, cause = competing_times(latent, uniform, none, none)
    assert np.isinf(time).all()
    assert (cause == Cause.CENSORED).all()
    time, cause = competing_times(latent, uniform, soon, none)
    assert (time[0, 0], time[0, 1], cause.tolist()) == (0.1, np.inf, [[1, 0]])
    assert incidence_on(np.inf, soon, none) == (pytest.approx(0.5), 0)
    assert incidence_on([3.0, np.inf], none, none)[0].tolist() == [0, 0]


def test_analytic_follow_up_ends():
    time, cause = followed_until(
        np.array([5.0, 10.0, 12.0, np.inf]), np.array([1, 2, 1, 0]), [10.0]
    )
    assert time.tolist() == [5, 10, 10, 10]
    assert cause.tolist() == [1, 2, 0, 0]
    assert followed_until(np.array([0.1 + 0.2]), np.array([1]), 0.3)[1].tolist() == [1]


@pytest.mark.parametrize(
    "other", [Hazard((), (0.1,), shape=2.0), Hazard((), (0.1,), cured=0.2)], ids=["shape", "cured"]
)
def test_regression_hazards_that_do_not_combine_are_refused(other):
    with pytest.raises(RequestError, match="must have the same shape and leave nobody cured"):
        incidence_on(10.0, Hazard((), (0.1,)), other)
    with pytest.raises(RequestError, match="must have the same shape"):
        competing_times(np.ones(1), np.ones(1), Hazard((), (0.1,)), other)


def test_regression_failures_are_said_not_guessed():
    time = np.tile(np.arange(1.0, 7.0)[:, None], (1, 4))
    treated = np.tile(np.arange(6)[:, None] % 2 == 1, (1, 4))
    cause = np.array([[1, 2, 1, 2, 0, 0], [2, 1, 2, 1, 2, 1], [2] * 6, [0] * 6]).T
    treated[:, 1] = True  # nobody in control
    table = competing_table(time, cause, treated)
    fit = fine_gray(table)
    assert not fit.converged.any()
    assert np.isnan(fit.log_hazard_ratio).all()
    assert np.isnan(fit.standard_error).all()
    found = cumulative_incidence(table, 5.5)
    assert found.known.tolist() == [False, False, True, False]
    assert np.isnan(found.difference[[0, 1, 3]]).all()
    assert found.difference[2] == pytest.approx([0, 2 / 3 - 1])
    assert np.isnan(cox([table.cause_specific()]).log_hazard_ratio).all()


def test_regression_a_horizon_written_as_a_binary_fraction_is_met():
    time = 0.1 + 0.2  # 0.30000000000000004
    found = cumulative_incidence(one([0.3, time, 0.5, 0.5], [1, 1, 0, 0], [0, 1, 0, 1]), 0.3)
    assert found.incidence[0, :, 0].tolist() == [0.5, 0.5]
