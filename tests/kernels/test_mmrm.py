"""The repeated-measures model against R, the t test, its own likelihood by hand, and simulation."""

from __future__ import annotations

import json
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conftest import ROOT
from trialsim.kernels.contrasts import Alternative, wald
from trialsim.kernels.mmrm import BaselineEffect, fit_mmrm

STORED = json.loads((ROOT / "tests" / "reference" / "mmrm.json").read_text())
EFFECT = {"common": BaselineEffect.COMMON_SLOPE, "per_visit": BaselineEffect.SLOPE_PER_VISIT}
BOTH_EFFECTS = pytest.mark.parametrize("effect", BaselineEffect)


def correlated(seed, n, n_visits, n_reps, missing=0.0):
    """Outcomes without any effect of treatment, alternating arms, baselines."""
    rng = np.random.default_rng(seed)
    spread = np.array([[0.7 ** abs(i - j) for j in range(n_visits)] for i in range(n_visits)])
    spread *= np.outer(2 + np.arange(n_visits), 2 + np.arange(n_visits))
    baseline = rng.normal(20, 4, size=(n, n_reps))
    errors = rng.normal(size=(n, n_visits, n_reps))
    outcomes = np.einsum("vw,nwr->nvr", np.linalg.cholesky(spread), errors) + baseline[:, None] / 2
    outcomes[rng.uniform(size=outcomes.shape) < missing] = np.nan
    treated = np.broadcast_to(np.arange(n)[:, None] % 2 == 0, (n, n_reps))
    return outcomes, treated, baseline


@pytest.mark.parametrize("stored", STORED["results"], ids=lambda r: f"{r['data']}-{r['baseline']}")
def test_reference_estimates_are_those_of_r_gls(stored):
    """Relative 1e-6: what the steps that polish the stored figures leave is 4e-7."""
    trial = STORED["trials"][stored["data"]]
    found = fit_mmrm(
        np.array(trial["y"], dtype=float)[:, :, None],
        np.array(trial["treated"])[:, None],
        None if stored["baseline"] == "none" else np.array(trial["baseline"])[:, None],
        EFFECT.get(stored["baseline"], BaselineEffect.COMMON_SLOPE),
    )
    assert found.converged.all()
    np.testing.assert_allclose(found.estimate[0], stored["estimate"], rtol=1e-6)
    np.testing.assert_allclose(found.standard_error[0], stored["standard_error"], rtol=1e-6)
    np.testing.assert_allclose(found.covariance[0], stored["covariance"], rtol=1e-6)
    assert found.log_likelihood[0] == pytest.approx(stored["log_likelihood"], abs=1e-8)
    # lmerTest differentiates twice by differences, with one parameter too many
    np.testing.assert_allclose(found.df[0], stored["lmer"]["df"], rtol=1e-4)


def p_value(found, alternative):
    """P values as the analysis has them, shape (n_reps, n_visits)."""
    contrast = wald(found.estimate, found.standard_error, 0.95, degrees_of_freedom=found.df)
    return contrast.p_value(alternative)


def test_analytic_complete_trials_have_the_two_sample_t_test_at_each_visit():
    outcomes, treated, _ = correlated(1, 31, 4, 5)
    found = fit_mmrm(outcomes, treated)
    arms = treated[:, 0]
    expected = stats.ttest_ind(outcomes[arms], outcomes[~arms], axis=0)
    np.testing.assert_allclose(found.df, 29.0, atol=1e-6)
    t = found.estimate / found.standard_error
    np.testing.assert_allclose(t, expected.statistic.T, rtol=1e-9)
    np.testing.assert_allclose(p_value(found, Alternative.DIFFERENT), expected.pvalue.T, rtol=1e-7)
    less = stats.ttest_ind(outcomes[arms], outcomes[~arms], axis=0, alternative="less")
    np.testing.assert_allclose(p_value(found, Alternative.SMALLER), less.pvalue.T, rtol=1e-7)


def test_analytic_a_slope_per_visit_is_the_analysis_of_covariance_of_each_visit():
    outcomes, treated, baseline = correlated(2, 30, 3, 1)
    found = fit_mmrm(outcomes, treated, baseline, BaselineEffect.SLOPE_PER_VISIT)
    x = np.column_stack([np.ones(30), treated[:, 0], baseline[:, 0]])
    coefficients, residual, *_ = np.linalg.lstsq(x, outcomes[:, :, 0])
    np.testing.assert_allclose(found.df, 27.0, atol=1e-6)
    np.testing.assert_allclose(found.estimate[0], coefficients[1], rtol=1e-9)
    error = np.sqrt(residual / 27 * np.linalg.inv(x.T @ x)[1, 1])
    np.testing.assert_allclose(found.standard_error[0], error, rtol=1e-9)


def by_hand(outcomes, treated, baseline, effect):
    """Return the REML log-likelihood and the contrasts' variances, patient by patient."""
    n_visits = outcomes.shape[1]
    eye, rows = np.eye(n_visits), []
    for y, arm, value in zip(outcomes, treated, baseline, strict=True):
        slope = eye if effect is BaselineEffect.SLOPE_PER_VISIT else np.ones((n_visits, 1))
        seen = np.flatnonzero(~np.isnan(y))
        rows.append((seen, np.hstack([eye, arm * eye, value * slope])[seen], y[seen]))

    def at(elements):
        whole = np.zeros((n_visits, n_visits))
        for (i, j), element in zip(
            combinations_with_replacement(range(n_visits), 2), elements, strict=True
        ):
            whole[i, j] = whole[j, i] = element
        xwx, xwy, constant = 0.0, 0.0, 0.0
        for seen, x, y in rows:
            own = whole[np.ix_(seen, seen)]
            inverse = np.linalg.inv(own)
            xwx, xwy = xwx + x.T @ inverse @ x, xwy + x.T @ inverse @ y
            constant += np.linalg.slogdet(2 * np.pi * own)[1] + y @ inverse @ y
        solved = np.linalg.solve(xwx, xwy)
        deviance = constant - xwy @ solved + np.linalg.slogdet(xwx / (2 * np.pi))[1]
        return -deviance / 2, np.diag(np.linalg.inv(xwx))[n_visits : 2 * n_visits]

    return at


@BOTH_EFFECTS
def test_twin_degrees_of_freedom_by_differences_of_the_likelihood(effect):
    """Observed information and gradients by central differences.

    The step is where truncation (its square) and rounding are both near 1e-6; tolerance 1e-5.
    """
    outcomes, treated, baseline = correlated(3, 24, 3, 1, missing=0.2)
    outcomes[5] = np.nan  # a patient never seen
    found = fit_mmrm(outcomes, treated, baseline, effect)
    at = by_hand(outcomes[:, :, 0], treated[:, 0], baseline[:, 0], effect)
    elements = found.covariance[0][np.triu_indices(3)]
    likelihood, variance = at(elements)
    assert found.log_likelihood[0] == pytest.approx(likelihood, abs=1e-9)
    np.testing.assert_allclose(found.standard_error[0] ** 2, variance, rtol=1e-9)

    size = 1e-4 * np.abs(elements).max()
    steps = size * np.eye(6)
    gradient = np.array([(at(elements + s)[1] - at(elements - s)[1]) / (2 * size) for s in steps])
    score = [(at(elements + s)[0] - at(elements - s)[0]) / (2 * size) for s in steps]
    curvature = np.array(
        [
            [
                sum(a * b * at(elements + a * s + b * u)[0] for a in (1, -1) for b in (1, -1))
                for s in steps
            ]
            for u in steps
        ]
    ) / (4 * size**2)  # fmt: skip
    spread = np.linalg.inv(-curvature)
    assert np.abs(spread @ score / np.sqrt(np.diag(spread))).max() < 1e-5  # a maximum
    df = 2 * variance**2 / np.einsum("jv,jl,lv->v", gradient, spread, gradient)
    np.testing.assert_allclose(found.df[0], df, rtol=1e-5)


@given(seed=st.integers(0, 10**6), missing=st.sampled_from([0.0, 0.15]))
def test_property_arms_visits_and_units_may_be_exchanged(seed, missing):
    outcomes, treated, baseline = correlated(seed, 40, 3, 3, missing)
    plain = fit_mmrm(outcomes, treated, baseline)
    other = fit_mmrm(5 - 1e3 * outcomes[:, ::-1], ~treated, 7 + 0.1 * baseline)
    assert (plain.converged == other.converged).all()
    np.testing.assert_allclose(other.estimate[:, ::-1], 1e3 * plain.estimate, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(other.df[:, ::-1], plain.df, rtol=1e-5)
    np.testing.assert_allclose(
        other.covariance[:, ::-1, ::-1], 1e6 * plain.covariance, rtol=1e-5, atol=1.0
    )


@pytest.mark.parametrize("missing", [0.0, 0.15])
def test_property_type_one_error_at_the_last_visit(missing):
    """2,000 trials: 4 MCSE are 0.0195."""
    outcomes, treated, _ = correlated(4, 30, 3, 2_000, missing)
    found = fit_mmrm(outcomes, treated)
    assert found.converged.all()
    rejected = p_value(found, Alternative.DIFFERENT)[:, -1] < 0.05
    assert abs(rejected.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2_000)


def test_property_dropout_that_depends_on_seen_outcomes_does_not_bias():
    """Patients on treatment who do badly at the first visit leave: means of the rest are biased."""
    outcomes, treated, baseline = correlated(5, 100, 3, 400)
    outcomes = outcomes - baseline[:, None] / 2
    bad = treated & (outcomes[:, 0] > 0.5)
    outcomes[:, 1:][np.broadcast_to(bad[:, None], outcomes[:, 1:].shape)] = np.nan
    found = fit_mmrm(outcomes, treated)
    assert found.converged.all()
    mcse = found.estimate[:, -1].std() / 20
    assert abs(found.estimate[:, -1].mean()) < 4 * mcse
    arms = treated[:, 0]
    of_the_rest = np.nanmean(outcomes[arms, -1], axis=0) - outcomes[~arms, -1].mean(axis=0)
    assert abs(of_the_rest.mean()) > 8 * mcse


def test_regression_a_trial_alone_is_the_trial_in_a_batch_and_inputs_are_left_as_they_were():
    outcomes, treated, baseline = correlated(6, 30, 3, 6, missing=0.1)
    before = outcomes.copy()
    together = fit_mmrm(outcomes, treated, baseline)
    np.testing.assert_array_equal(outcomes, before)
    for rep in range(6):
        only = slice(rep, rep + 1)
        alone = fit_mmrm(outcomes[:, :, only], treated[:, only], baseline[:, only])
        np.testing.assert_allclose(alone.estimate[0], together.estimate[rep], rtol=1e-9)
        np.testing.assert_allclose(alone.df[0], together.df[rep], rtol=1e-9)


def test_regression_a_patient_without_baseline_is_left_out():
    outcomes, treated, baseline = correlated(7, 30, 3, 2)
    baseline[:3] = np.nan
    found = fit_mmrm(outcomes, treated, baseline)
    without = fit_mmrm(outcomes[3:], treated[3:], baseline[3:])
    np.testing.assert_allclose(found.estimate, without.estimate, rtol=1e-9)
    np.testing.assert_allclose(found.log_likelihood, without.log_likelihood, rtol=1e-9)


def spoilt(why):
    outcomes, treated, baseline = (np.array(a) for a in correlated(8, 20, 3, 3))
    if why == "an arm without data at a visit":
        outcomes[treated[:, 1], 2, 1] = np.nan
    elif why == "visits never seen together":
        outcomes[:10, 1, 1] = outcomes[10:, 2, 1] = np.nan
    elif why == "no variation at a visit":
        outcomes[:, 1, 1] = 3.0
    elif why == "two visits alike":
        outcomes[:, 1, 1] = outcomes[:, 2, 1]
    elif why == "fewer patients than a covariance needs":
        outcomes[4:, :, 1] = np.nan
    elif why == "an arm without patients":
        treated[:, 1] = True
    elif why == "nobody seen":
        outcomes[:, :, 1] = np.nan
    elif why == "an outcome without bound":
        outcomes[0, 0, 1] = np.inf
    elif why == "a baseline that does not vary":
        baseline[:, 1] = 4.0
    elif why == "a baseline that is the arm":
        baseline[:, 1] = treated[:, 1]
    return outcomes, treated, baseline


@pytest.mark.parametrize(
    "why",
    [
        "an arm without data at a visit",
        "visits never seen together",
        "no variation at a visit",
        "two visits alike",
        "fewer patients than a covariance needs",
        "an arm without patients",
        "nobody seen",
        "an outcome without bound",
        "a baseline that does not vary",
        "a baseline that is the arm",
    ],
)
def test_regression_what_cannot_be_fitted_says_so_and_spares_its_neighbours(why):
    found = fit_mmrm(*spoilt(why))
    np.testing.assert_array_equal(found.converged, [True, False, True])
    for column in found[:-1]:
        assert np.isnan(column[1]).all()
        assert np.isfinite(column[[0, 2]]).all()
    assert np.isnan(p_value(found, Alternative.DIFFERENT)[1]).all()
    clean = fit_mmrm(*spoilt("nothing"))
    np.testing.assert_allclose(found.estimate[[0, 2]], clean.estimate[[0, 2]], rtol=1e-9)
