"""Multiple imputation: Rubin's rules by hand, closed forms in expectation, likelihood estimates."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from scipy.special import betainc

from trialsim.kernels.imputation import (
    Analysis,
    BinaryDraws,
    Covariance,
    Draws,
    Model,
    Strategy,
    analyse_last_visit,
    impute,
    impute_binary,
    multiply_impute,
    multiply_impute_binary,
    pool,
)
from trialsim.kernels.proportions import Scale

MAR = Model(Strategy.MISSING_AT_RANDOM, Covariance.PER_ARM, baseline=False)
SIGMA = np.array(
    [[1.0, 0.6, 0.4, 0.3], [0.6, 1.2, 0.7, 0.5], [0.4, 0.7, 1.5, 0.9], [0.3, 0.5, 0.9, 2]]
)


def draws(rng, shape, n, n_steps=1):
    for _ in range(n):
        c, v, r = Draws.shapes(*shape, n_steps)
        yield Draws(rng.standard_normal(c), rng.random(v), rng.standard_normal(r))


def trials(rng, n_patients, n_reps, means, sigma):
    """Half of the patients treated; `means` (2, n_visits): control, treated."""
    treated = np.broadcast_to(np.arange(n_patients)[:, None] % 2 == 1, (n_patients, n_reps))
    root = np.linalg.cholesky(sigma)
    y = np.einsum("vk,pkr->pvr", root, rng.standard_normal((n_patients, len(sigma), n_reps)))
    return y + np.asarray(means)[treated.astype(int)].transpose(0, 2, 1), treated


def drop(y, after, who):
    """Take away all visits from `after` on."""
    y = y.copy()
    y[:, after:] = np.where(who[:, None], np.nan, y[:, after:])
    return y


def test_analytic_rubins_rules_by_hand():
    """Estimates 1, 2, 3 of variance 4 on 10 degrees of freedom.

    B = 1, T = 4 + 4/3, share missing 1/4: 2 / (1/16) = 32 and 11/13 * 10 * 3/4 = 165/26 degrees.
    """
    out = pool([[1.0], [2.0], [3.0]], np.full((3, 1), 4.0), 10)
    assert (out.estimate[0], out.within[0], out.between[0]) == (2, 4, 1)
    assert out.standard_error[0] == pytest.approx(np.sqrt(16 / 3), rel=1e-14)
    assert out.df[0] == pytest.approx(1 / (1 / 32 + 26 / 165), rel=1e-14)
    assert pool([[1.0], [2.0], [3.0]], np.full((3, 1), 4.0), np.inf).df[0] == pytest.approx(32)
    assert not out.failed[0]


def test_analytic_pooling_fails_without_variation_and_is_refused_for_one():
    out = pool([[0.0, np.nan], [0.0, 1.0]], np.zeros((2, 2)), 10)
    assert out.failed.all()
    assert all(np.isnan(column).all() for column in out[:5])
    with pytest.raises(ValueError, match="draws must hold at least 2 imputations; got 1"):
        pool([[0.0]], [[1.0]], 10)


@pytest.mark.parametrize("analysis", Analysis)
def test_analytic_without_missing_values_it_is_the_complete_data_analysis(analysis):
    rng = np.random.default_rng(1)
    y, treated = trials(rng, 14, 6, [[0, 0, 0], [0, 1, 2]], SIGMA[:3, :3])
    model = Model(Strategy.JUMP_TO_REFERENCE, Covariance.COMMON, baseline=True)
    out = multiply_impute(y, treated, draws(rng, y.shape, 3), model, analysis)
    complete = analyse_last_visit(y, treated, analysis)
    np.testing.assert_array_equal(out.estimate, complete.estimate)
    np.testing.assert_array_equal(out.df, complete.df)
    np.testing.assert_array_equal(out.between, 0)
    np.testing.assert_allclose(out.standard_error**2, complete.variance, rtol=1e-15)
    # A second hand: least squares.
    for r in range(y.shape[2]):
        columns = [np.ones(14), treated[:, r]] + [y[:, 0, r]] * (analysis is Analysis.ANCOVA)
        design = np.stack(columns, axis=1).astype(float)
        beta, sse, *_ = np.linalg.lstsq(design, y[:, -1, r])
        df = 14 - design.shape[1]
        variance = sse[0] / df * np.linalg.inv(design.T @ design)[1, 1]
        assert complete.estimate[r] == pytest.approx(beta[1], rel=1e-12)
        assert complete.variance[r] == pytest.approx(variance, rel=1e-12)
        assert complete.df[r] == df


@pytest.mark.parametrize("covariance", Covariance)
def test_analytic_mar_estimate_is_andersons_maximum_likelihood(covariance):
    """Anderson (1957): mean of visit 2 = its mean in those seen + slope * (mean of visit 1 in all
    less that in those seen). Coefficients are drawn around least squares, so that the pooled
    estimate differs from it only by imputation error, variance B / M. With a common covariance the
    slope is the one within arms, which maximises the likelihood (and, the means being saturated,
    the restricted one) of that model."""
    rng, n_reps, n_imputations = np.random.default_rng(2), 40, 400
    full, treated = trials(rng, 60, n_reps, [[100, 100], [100, 102]], 9 * SIGMA[:2, :2])
    y = drop(full, 1, full[:, 0] + rng.standard_normal((60, n_reps)) > 101.5)
    model = Model(Strategy.MISSING_AT_RANDOM, covariance, baseline=False)
    out = multiply_impute(
        y, treated, draws(rng, y.shape, n_imputations), model, Analysis.MEAN_DIFFERENCE
    )
    for r in range(n_reps):
        x, z, seen = y[:, 0, r], y[:, 1, r], ~np.isnan(y[:, 1, r])
        arms = [~treated[:, r], treated[:, r]]
        parts = []
        for arm in arms:
            dx, dz = x[arm & seen] - x[arm & seen].mean(), z[arm & seen] - z[arm & seen].mean()
            parts.append((dx @ dz, dx @ dx))
        slopes = [a / b for a, b in parts]
        if covariance is Covariance.COMMON:
            slopes = [sum(a for a, _ in parts) / sum(b for _, b in parts)] * 2
        means = [
            z[arm & seen].mean() + slope * (x[arm].mean() - x[arm & seen].mean())
            for arm, slope in zip(arms, slopes, strict=True)
        ]
        error = np.sqrt(out.between[r] / n_imputations)
        assert abs(out.estimate[r] - (means[1] - means[0])) < 4 * error  # imputation MCSE
        assert error < 0.1 * out.standard_error[r]  # so that the comparison says something


def test_property_mar_is_unbiased_and_covers_where_complete_cases_are_biased():
    rng, n_reps = np.random.default_rng(3), 1500
    means = np.array([[0, 0, 0], [0, 0.5, 1]])
    full, treated = trials(rng, 80, n_reps, means, SIGMA[:3, :3])
    y = full
    for visit in (1, 2):  # treated patients who do badly leave
        logit = -1.0 + 2.0 * np.where(treated, -full[:, visit - 1], -2.0)
        y = drop(y, visit, rng.random(treated.shape) < 1 / (1 + np.exp(-logit)))
    out = multiply_impute(y, treated, draws(rng, y.shape, 20), MAR, Analysis.MEAN_DIFFERENCE)
    ok = ~out.failed
    assert ok.mean() > 0.99
    mcse = out.estimate[ok].std() / np.sqrt(ok.sum())
    assert abs(out.estimate[ok].mean() - 1) < 4 * mcse
    seen = ~np.isnan(y[:, 2])
    cases = [
        np.where(seen & arm, y[:, 2], 0).sum(axis=0) / (seen & arm).sum(axis=0)
        for arm in (~treated, treated)
    ]
    bias = (cases[1] - cases[0]).mean() - 1
    assert abs(bias) > 10 * mcse
    half = stats.t.ppf(0.975, out.df[ok]) * out.standard_error[ok]
    covered = (np.abs(out.estimate[ok] - 1) < half).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / ok.sum())  # 4 MCSE


LEVELS = np.array([[1.0, 2.0, 2.5, 3.0], [1.0, 2.9, 3.9, 5.0]])  # effects 0, 0.9, 1.4, 2


@pytest.mark.parametrize("covariance", Covariance)
@pytest.mark.parametrize("baseline", [True, False])
@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("strategy", Strategy)
def test_analytic_reference_based_estimates_in_expectation(strategy, stop, baseline, covariance):
    """A share f of the treated stops, completely at random, after `stop` visits.

    Missing at random keeps the effect; jump to reference gives (1 - f) times it, as the imputed
    visits have the reference's expectation; copy increments adds f times the effect at the last
    visit observed; copy reference adds f times what the reference arm's regression on the visits
    observed makes of their effects.
    """
    rng = np.random.default_rng([stop, int(baseline), len(strategy), len(covariance)])
    n_patients, n_reps, f = 120, 150, 0.4
    full, treated = trials(rng, n_patients, n_reps, LEVELS, SIGMA)
    stops = (np.arange(n_patients) % 5 < 2)[:, None] & treated
    assert stops.sum() / treated.sum() == pytest.approx(f)
    control_too = (np.arange(n_patients) % 10 == 0)[:, None] & ~treated
    y = drop(full, stop, stops | control_too)
    model = Model(strategy, covariance, baseline)
    out = multiply_impute(y, treated, draws(rng, y.shape, 3), model, Analysis.MEAN_DIFFERENCE)
    effect = LEVELS[1] - LEVELS[0]
    slopes = np.linalg.solve(SIGMA[:stop, :stop], SIGMA[:stop, 3])
    kept = {
        Strategy.MISSING_AT_RANDOM: effect[3],
        Strategy.JUMP_TO_REFERENCE: 0.0,
        Strategy.COPY_INCREMENTS: effect[stop - 1],
        Strategy.COPY_REFERENCE: slopes @ effect[:stop],
    }[strategy]
    expected = (1 - f) * effect[3] + f * kept
    mcse = out.estimate.std() / np.sqrt(n_reps)
    assert abs(out.estimate.mean() - expected) < 4 * mcse
    assert mcse < 0.03  # strategies are further apart than 4 of these, where they differ


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("strategy", [Strategy.JUMP_TO_REFERENCE, Strategy.COPY_INCREMENTS])
def test_analytic_imputed_visits_have_the_conditional_moments_of_carpenter(strategy, stop):
    """One large trial: given the visits observed, the imputed ones have the mean and covariance
    of the joint normal that Carpenter et al. (2013) build: R11 exchanged for T11 in the past,
    R21 R11^-1 T11 across, R22 - R21 R11^-1 (R11 - T11) R11^-1 R12 in the future."""
    rng, n_patients = np.random.default_rng(6), 40_000
    y, treated = trials(rng, n_patients, 1, LEVELS, SIGMA)
    own = np.array([[2.0, 0.4, 0.2, 0], [0.4, 1, 0.3, 0.1], [0.2, 0.3, 1, 0.2], [0, 0.1, 0.2, 1]])
    other, _ = trials(rng, n_patients, 1, LEVELS, own)
    full = np.where(treated[:, None], other, y)
    stops = (np.arange(n_patients)[:, None] % 4 == 1) & treated
    y = drop(full, stop, stops)
    model = Model(strategy, Covariance.PER_ARM, baseline=False)
    (complete,) = impute(y, treated, draws(rng, y.shape, 1), model)
    found = complete[stops[:, 0], :, 0]
    r11, r21, r22 = SIGMA[:stop, :stop], SIGMA[stop:, :stop], SIGMA[stop:, stop:]
    b, t11 = r21 @ np.linalg.inv(r11), own[:stop, :stop]
    joint = np.block([[t11, t11 @ b.T], [b @ t11, r22 - b @ (r11 - t11) @ b.T]])
    mean = np.concatenate([LEVELS[1, :stop], LEVELS[0, stop:]])
    if strategy is Strategy.COPY_INCREMENTS:
        mean[stop:] += LEVELS[1, stop - 1] - LEVELS[0, stop - 1]
    n = len(found)  # 10,000; parameters come from 15,000 or more
    error = np.sqrt(np.diag(joint) * (1 / n + 1 / 5000))
    assert (np.abs(found.mean(axis=0) - mean) < 4 * error).all()
    spread = np.sqrt((joint**2 + np.outer(np.diag(joint), np.diag(joint))) * (1 / n + 1 / 5000))
    assert (np.abs(np.cov(found.T) - joint) < 4 * spread).all()


@pytest.mark.parametrize("covariance", Covariance)
def test_analytic_imputed_values_have_the_posterior_predictive_distribution(covariance):
    """One trial's data with 20,000 draws. An outcome at covariates x is predicted by Student's t
    around least squares, scale s^2 (1 + x' (X'X)^-1 x): here on 3 or 8 degrees of freedom."""
    rng, n_reps = np.random.default_rng(14), 20_000
    one, treated = trials(rng, 12, 1, LEVELS[:, :2], SIGMA[:2, :2])
    one[1, 1] = np.nan
    y, treated = np.repeat(one, n_reps, 2), np.repeat(treated, n_reps, 1)
    model = Model(Strategy.MISSING_AT_RANDOM, covariance, baseline=False)
    (complete,) = impute(y, treated, draws(rng, y.shape, 1), model)
    used = ~np.isnan(one[:, 1, 0])
    columns = [np.ones(12), one[:, 0, 0]]
    if covariance is Covariance.COMMON:
        columns.append(treated[:, 0].astype(float))
    else:
        used &= treated[:, 0]
    design = np.stack(columns, axis=1)
    beta, sse, *_ = np.linalg.lstsq(design[used], one[used, 1, 0])
    df = used.sum() - design.shape[1]
    lever = design[1] @ np.linalg.inv(design[used].T @ design[used]) @ design[1]
    t = (complete[1, 1] - design[1] @ beta) / np.sqrt(sse[0] / df * (1 + lever))
    assert df == (8 if covariance is Covariance.COMMON else 3)
    for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        found = (t < stats.t.ppf(share, df)).mean()
        assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / n_reps)  # 4 MCSE


def least_squares_normal(y, arm):
    """Mean and covariance of a monotone joint normal by regressions, as one would on paper."""
    n_visits = y.shape[1]
    mean, cov = np.zeros(n_visits), np.zeros((n_visits, n_visits))
    for j in range(n_visits):
        used = arm & ~np.isnan(y[:, j])
        design = np.column_stack([np.ones(used.sum()), y[used, :j]])
        beta = np.linalg.lstsq(design, y[used, j])[0]
        residual = y[used, j] - design @ beta
        mean[j] = beta[0] + beta[1:] @ mean[:j]
        cov[j, :j] = cov[:j, j] = cov[:j, :j] @ beta[1:]
        cov[j, j] = residual @ residual / (used.sum() - j - 1) + beta[1:] @ cov[j, :j]
    return mean, cov


@pytest.mark.parametrize("baseline", [True, False])
@pytest.mark.parametrize("strategy", Strategy)
def test_analytic_without_noise_the_conditional_mean_of_carpenters_matrices(strategy, baseline):
    """Normal draws of 0 put coefficients at least squares: imputed values are expectations given
    the past. With a baseline, each arm's means are those given the patient's own first visit."""
    rng = np.random.default_rng(15)
    full, treated = trials(rng, 160, 1, LEVELS, SIGMA)
    stop = rng.choice([1, 2, 3, 4], 160)
    y = np.where(np.arange(4) < stop[:, None], full[:, :, 0], np.nan)
    c, v, r = Draws.shapes(160, 4, 1)
    nothing = Draws(np.zeros(c), np.full(v, 0.5), np.zeros(r))
    model = Model(strategy, Covariance.PER_ARM, baseline)
    (complete,) = impute(y[..., None], treated, [nothing], model)
    on, off = treated[:, 0], ~treated[:, 0]
    (mean_t, cov_t), (mean_r, cov_r) = least_squares_normal(y, on), least_squares_normal(y, off)
    for i, d in enumerate(stop):
        own_t, own_r = mean_t, mean_r
        if baseline:
            own_t = mean_t + cov_t[:, 0] / cov_t[0, 0] * (y[i, 0] - mean_t[0])
            own_r = mean_r + cov_r[:, 0] / cov_r[0, 0] * (y[i, 0] - mean_r[0])
        if off[i] or strategy is Strategy.COPY_REFERENCE:
            mean, cov = own_r, cov_r
        elif strategy is Strategy.MISSING_AT_RANDOM:
            mean, cov = own_t, cov_t
        else:
            mean, cov = np.r_[own_t[:d], own_r[d:]], cov_r
            if strategy is Strategy.COPY_INCREMENTS:
                mean[d:] += own_t[d - 1] - own_r[d - 1]
        past = np.linalg.solve(cov[:d, :d], y[i, :d] - mean[:d])
        np.testing.assert_allclose(complete[i, d:, 0], mean[d:] + cov[d:, :d] @ past, rtol=1e-10)
        np.testing.assert_array_equal(complete[i, :d, 0], y[i, :d])


def test_analytic_visits_missed_in_between_have_their_conditional_distribution():
    """One large trial in four patterns: completed patients have the joint distribution of all."""
    rng, n_patients = np.random.default_rng(16), 40_000
    sigma = SIGMA.copy()
    sigma[1, 3] = sigma[3, 1] = 1.2  # the last visit says much about the second
    full, treated = trials(rng, n_patients, 1, LEVELS, sigma)
    pattern = np.arange(n_patients) // 2 % 5
    y = full.copy()
    for which, missed in enumerate([[1], [0], [1, 2], [1, 3]]):
        y[np.ix_(pattern == which, missed)] = np.nan
    (complete,) = impute(y, treated, draws(rng, y.shape, 1, 15), MAR)
    for which, arm in product(range(4), (0, 1)):
        found = complete[(pattern == which) & (treated[:, 0] == arm), :, 0]
        per = 1 / len(found) + 1 / 4000  # the parameters come from those who were seen
        assert (np.abs(found.mean(axis=0) - LEVELS[arm]) < 4 * np.sqrt(np.diag(sigma) * per)).all()
        spread = np.sqrt((sigma**2 + np.outer(np.diag(sigma), np.diag(sigma))) * per)
        assert (np.abs(np.cov(found.T) - sigma) < 4 * spread).all()  # 4 standard errors


def expectation_maximisation(y, n_steps=300):
    """Mean of a joint normal with values missing anywhere: Dempster, Laird and Rubin (1977)."""
    mean, cov = np.nanmean(y, axis=0), np.diag(np.nanvar(y, axis=0))
    for _ in range(n_steps):
        filled, extra = np.empty_like(y), np.zeros_like(cov)
        for i, row in enumerate(y):
            o, m = ~np.isnan(row), np.isnan(row)
            b = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
            filled[i] = row
            filled[i, m] = mean[m] + b @ (row[o] - mean[o])
            extra[np.ix_(m, m)] += cov[np.ix_(m, m)] - b @ cov[np.ix_(o, m)]
        mean = filled.mean(axis=0)
        cov = ((filled - mean).T @ (filled - mean) + extra) / len(y)
    return mean


def test_reference_visits_missed_in_between_agree_with_maximum_likelihood_by_em():
    """The posterior mean differs from the maximum by the order of 1/n: 0.1 standard errors are
    allowed for, beside 4 imputation MCSE."""
    rng, n_imputations = np.random.default_rng(7), 200
    full, treated = trials(rng, 200, 1, LEVELS[:, :3], SIGMA[:3, :3])
    missed = rng.random(full.shape) < np.array([0.1, 0.4, 0.3])[None, :, None]
    missed[:, 2] |= full[:, 0] > 1.5  # at random, given the first visit
    missed[:, 0] &= ~missed[:, 2]
    missed[missed.all(axis=1)[:, 0], 1] = False
    y = np.where(missed, np.nan, full)
    out = multiply_impute(
        y, treated, draws(rng, y.shape, n_imputations, 12), MAR, Analysis.MEAN_DIFFERENCE
    )
    likely = [expectation_maximisation(y[treated[:, 0] == arm, :, 0])[2] for arm in (0, 1)]
    allowed = 4 * np.sqrt(out.between[0] / n_imputations) + 0.1 * out.standard_error[0]
    assert abs(out.estimate[0] - (likely[1] - likely[0])) < allowed


def test_property_visits_missed_in_between_leave_mar_unbiased_and_covering():
    rng, n_reps = np.random.default_rng(8), 600
    full, treated = trials(rng, 60, n_reps, [[0, 0, 0], [0, 0.5, 1]], SIGMA[:3, :3])
    missed = rng.random(full.shape) < np.array([0.0, 0.3, 0.1])[None, :, None]
    missed[:, 2] |= (full[:, 0] > 0.7) & treated
    missed[:, 1] |= (full[:, 0] < -0.7) & treated
    y = np.where(missed, np.nan, full)
    out = multiply_impute(y, treated, draws(rng, y.shape, 10, 8), MAR, Analysis.MEAN_DIFFERENCE)
    ok = ~out.failed
    assert ok.mean() > 0.99
    assert abs(out.estimate[ok].mean() - 1) < 4 * out.estimate[ok].std() / np.sqrt(ok.sum())
    half = stats.t.ppf(0.975, out.df[ok]) * out.standard_error[ok]
    covered = (np.abs(out.estimate[ok] - 1) < half).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / ok.sum())  # 4 MCSE


@pytest.mark.parametrize(
    ("strategy", "covariance", "baseline"), list(product(Strategy, Covariance, [True, False]))
)
def test_property_shifts_scales_and_observed_values(strategy, covariance, baseline):
    """Observed values stay to the last bit; a change of units changes what is imputed alike."""
    rng = np.random.default_rng(9)
    full, treated = trials(rng, 40, 3, LEVELS, SIGMA)
    y = drop(full, 2, rng.random((40, 3)) < 0.3)
    y[3, 1] = np.nan
    random = list(draws(rng, y.shape, 2, 3))
    model = Model(strategy, covariance, baseline)
    found = list(impute(y, treated, random, model))
    other = list(impute(1e4 + 50 * y, treated, random, model))
    for a, b in zip(found, other, strict=True):
        np.testing.assert_array_equal(a[~np.isnan(y)], y[~np.isnan(y)])
        assert not np.isnan(a).any()
        np.testing.assert_allclose(b, 1e4 + 50 * a, rtol=1e-9)
    alone = [Draws(*(part[..., 1:2] for part in draw)) for draw in random]
    for a, b in zip(found, impute(y[..., 1:2], treated[:, 1:2], alone, model), strict=True):
        np.testing.assert_allclose(a[..., 1:2], b, rtol=1e-12)  # no trial knows of another


def test_analytic_failures_are_marked_trial_by_trial():
    rng = np.random.default_rng(10)
    full, treated = trials(rng, 12, 5, LEVELS[:, :2], SIGMA[:2, :2])
    y = drop(full, 1, (np.arange(12) == 5)[:, None] & np.ones((1, 5), dtype=bool))
    y[:, 1, 1] = np.where(treated[:, 1], np.nan, y[:, 1, 1])  # nobody treated at the last visit
    y[:, 0, 2] = 3.0  # the first visit explains nothing
    y[:, 1, 3] = full[:, 1, 3]  # nothing is missing
    treated = treated.copy()
    treated[:, 4] = False  # an empty arm
    out = multiply_impute(y, treated, draws(rng, y.shape, 3), MAR, Analysis.MEAN_DIFFERENCE)
    assert out.failed.tolist() == [False, True, True, False, True]
    assert np.isnan(out.standard_error).tolist() == out.failed.tolist()
    y, treated = trials(rng, 6, 1, LEVELS[:, :2], SIGMA[:2, :2])
    y[0, 1] = np.nan  # leaves two patients for three parameters
    random = draws(rng, y.shape, 3)
    assert multiply_impute(y, treated, random, MAR, Analysis.MEAN_DIFFERENCE).failed.all()


Y, T = np.zeros((4, 2, 1)), np.array([[True], [False], [True], [False]])
BASE = Model(Strategy.COPY_REFERENCE, Covariance.COMMON, baseline=True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: multiply_impute(Y, T, [], MAR, Analysis.ANCOVA), "model.baseline must be True"),
        (lambda: list(impute(Y, T[:2], [], MAR)), "treated must have shape"),
        (lambda: list(impute(Y * np.nan, T, [], BASE)), "must be observed .* got 4 missing"),
        (
            lambda: list(impute(Y, T, draws(np.random.default_rng(1), (4, 3, 1), 1), MAR)),
            "draws must have shapes",
        ),
        (
            lambda: list(
                impute(
                    np.where(np.arange(2)[:, None] == 0, np.nan, Y),
                    T,
                    draws(np.random.default_rng(1), (4, 2, 1), 1),
                    MAR,
                )
            ),
            "draws must have at least 2 steps",
        ),
        (lambda: multiply_impute(Y, T, [], MAR, Analysis.MEAN_DIFFERENCE), "at least 2 imputation"),
        (lambda: list(impute_binary(Y[:, 0], T[:2], [])), "must have shape .n_patients, n_reps"),
        (lambda: list(impute_binary(Y[:, 0], T, [], prior=0)), "prior must be above 0; got 0"),
        (lambda: list(impute_binary(Y[:, 0] + 2, T, [])), "must be 0, 1 or NaN; got 2"),
        (
            lambda: list(impute_binary(Y[:, 0], T, [BinaryDraws(T, T)])),
            "draws must have shapes",
        ),
    ],
)
def test_analytic_what_cannot_be_imputed_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def binary_draws(rng, shape, n):
    for _ in range(n):
        yield BinaryDraws(rng.random((2, shape[1])), rng.random(shape))


@pytest.mark.parametrize("prior", [0.5, 1.0])
def test_analytic_binary_imputations_are_beta_binomial(prior):
    """30 treated, 8 events among 20 seen: missing events are beta-binomial on 10."""
    n_reps = 20_000
    outcomes = np.repeat(
        np.array([1.0] * 8 + [0] * 12 + [np.nan] * 10 + [0, 1])[:, None], n_reps, 1
    )
    treated = np.ones(outcomes.shape, dtype=bool)
    treated[-2:] = False
    random = binary_draws(np.random.default_rng(11), outcomes.shape, 1)
    (complete,) = impute_binary(outcomes, treated, random, prior)
    np.testing.assert_array_equal(complete[:20], outcomes[:20])
    events = complete[20:30].sum(axis=0).astype(int)
    exact = stats.betabinom(10, 8 + prior, 12 + prior).pmf(np.arange(11))
    found = np.bincount(events, minlength=11) / n_reps
    assert (np.abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / n_reps)).all()  # 4 MCSE
    risk = 0.4  # a uniform is the posterior's distribution function: first patient of one draw
    at = betainc(8 + prior, 12 + prior, risk)
    one = BinaryDraws(np.full((2, 1), at), np.full((32, 1), risk - 1e-9))
    assert next(impute_binary(outcomes[:, :1], treated[:, :1], [one], prior))[20:30].all()


@pytest.mark.parametrize("scale", Scale)
def test_property_binary_mar_within_arm_is_unbiased_and_covers(scale):
    """Missing twice as often in one arm: the share observed says nothing about the risk."""
    rng, n_reps = np.random.default_rng(12), 1000
    treated = np.broadcast_to(np.arange(300)[:, None] % 2 == 1, (300, n_reps))
    risks = np.where(treated, 0.35, 0.5)
    outcomes = (rng.random(treated.shape) < risks).astype(float)
    outcomes[rng.random(treated.shape) < np.where(treated, 0.3, 0.15)] = np.nan
    random = binary_draws(rng, outcomes.shape, 20)
    out = multiply_impute_binary(outcomes, treated, random, scale)
    truth = {
        Scale.RISK_DIFFERENCE: -0.15,
        Scale.RISK_RATIO: np.log(0.7),
        Scale.ODDS_RATIO: np.log(0.35 / 0.65),
    }[scale]
    if scale is Scale.RISK_DIFFERENCE:  # exactly unbiased but for the prior: 1/2 in 100 patients
        assert abs(out.estimate.mean() - truth) < 4 * out.estimate.std() / np.sqrt(n_reps) + 0.001
    half = stats.t.ppf(0.975, np.minimum(out.df, 1e6)) * out.standard_error
    covered = (np.abs(out.estimate - truth) < half).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n_reps)  # 4 MCSE


def test_analytic_binary_without_missing_values_and_with_nobody_seen():
    rng = np.random.default_rng(13)
    outcomes = np.array([[1.0, np.nan], [0, np.nan], [1, 0], [1, 1], [0, 0], [0, 1]])
    treated = np.repeat(np.array([[True], [True], [True], [False], [False], [False]]), 2, 1)
    treated[2, 1] = False
    out = multiply_impute_binary(
        outcomes, treated, binary_draws(rng, outcomes.shape, 2), Scale.RISK_DIFFERENCE
    )
    assert out.failed.tolist() == [False, True]
    assert out.estimate[0] == pytest.approx(1 / 3, rel=1e-15)
    assert out.standard_error[0] == pytest.approx(np.sqrt(4 / 27), rel=1e-14)
    assert out.df[0] == np.inf
