"""Times known to lie between visits: against brute-force likelihood, log-rank, and its level."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import kstest, norm

from trialsim.kernels.interval_censored import interval_log_rank, tabulated
from trialsim.kernels.survival import SurvivalData, risk_tables, weighted_log_rank


def simulated(rng, n_patients, n_reps, n_visits, missed, ratio=1.0, hazard=0.15):
    """Return (last free, first seen, treated), in which visits are missed and some are lost."""
    treated = rng.random((n_patients, n_reps)) < 0.5
    odds = hazard / (1 - hazard) * np.where(treated, ratio, 1.0)
    own = odds / (1 + odds)
    cell = np.ceil(np.log1p(-rng.random(own.shape)) / np.log1p(-own)).astype(int)
    attended = rng.random((n_visits, *own.shape)) >= missed
    lost = rng.integers(1, 3 * n_visits, own.shape)
    last, first = np.zeros(own.shape, dtype=int), np.zeros(own.shape, dtype=int)
    for number in range(1, n_visits + 1):
        seen = attended[number - 1] & (number <= lost) & (first == 0)
        first = np.where(seen & (cell <= number), number, first)
        last = np.where(seen & (cell > number), number, last)
    return last, first, treated


def log_likelihood(parameters, last, first, treated):
    """Return it at (log odds of the cells, log ratio), patient by patient."""
    *alphas, beta = parameters
    total = 0.0
    for arm in (0, 1):
        hazards = expit(np.array(alphas) + beta * arm)
        survival = np.concatenate([[1.0], np.cumprod(1 - hazards)])
        for lower, upper in zip(last[treated == arm], first[treated == arm], strict=True):
            total += np.log(survival[lower] - (survival[upper] if upper else 0.0))
    return total


def derivatives(parameters, *data, step=1e-4):
    """Return gradient and Hessian by central differences."""
    n = len(parameters)
    unit = np.eye(n) * step

    def at(shift):
        return log_likelihood(parameters + shift, *data)

    gradient = np.array([(at(unit[i]) - at(-unit[i])) / (2 * step) for i in range(n)])
    hessian = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            around = at(unit[i] + unit[j]) - at(unit[i] - unit[j])
            around += at(-unit[i] - unit[j]) - at(unit[j] - unit[i])
            hessian[i, j] = around / (4 * step**2)
    return gradient, hessian


@pytest.mark.parametrize("seed", range(4))
def test_reference_statistic_is_the_score_of_the_likelihood_maximised_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    last, first, treated = simulated(rng, 120, 1, 4, missed=0.4, ratio=1.5)
    found = interval_log_rank(tabulated(last, first, treated, 4))
    assert (first - last > 1).sum() > 10  # really intervals
    data = (last[:, 0], first[:, 0], treated[:, 0])
    best = minimize(
        lambda alphas: -log_likelihood([*alphas, 0.0], *data), np.full(4, -1.5), tol=1e-12
    )
    assert found.hazards[0] == pytest.approx(expit(best.x), abs=1e-4)
    here = np.append(logit(found.hazards[0]), 0.0)
    gradient, hessian = derivatives(here, *data)
    assert np.abs(gradient[:-1]).max() < 1e-4  # Turnbull's estimate is the maximum
    assert found.score[0] == pytest.approx(gradient[-1], abs=1e-5)
    nuisance, across = -hessian[:-1, :-1], -hessian[:-1, -1]
    variance = -hessian[-1, -1] - across @ np.linalg.solve(nuisance, across)
    assert found.variance[0] == pytest.approx(variance, rel=1e-4)


def test_analytic_with_every_visit_attended_it_is_the_log_rank_test_of_grouped_times():
    rng = np.random.default_rng(5)
    last, first, treated = simulated(rng, 90, 40, 5, missed=0.0)
    found = interval_log_rank(tabulated(last, first, treated, 5))
    time = np.where(first > 0, first, last).astype(float)
    (table,) = risk_tables(SurvivalData(time.T.copy(), (first > 0).T.copy(), treated.T.copy()))
    log_rank = weighted_log_rank([table])
    assert found.score == pytest.approx(log_rank.score[:, 0], abs=1e-8)
    variance = np.zeros(40)
    for cell in range(1, 6):
        risk, had = time >= cell, (first == cell)
        n, n1, d = (who.sum(axis=0) for who in (risk, risk & treated, had))
        variance += n1 * (n - n1) * d * (n - d) / np.maximum(n, 1) ** 3
    assert found.variance == pytest.approx(variance, abs=1e-8)
    assert found.variance == pytest.approx(log_rank.covariance[:, 0, 0], rel=0.1)  # n - 1 for n


def test_property_trials_do_not_depend_on_their_company():
    rng = np.random.default_rng(6)
    last, first, treated = simulated(rng, 60, 30, 4, missed=0.3)
    together = interval_log_rank(tabulated(last, first, treated, 4))
    for k in range(0, 30, 7):
        alone = interval_log_rank(
            tabulated(last[:, k : k + 1], first[:, k : k + 1], treated[:, k : k + 1], 4)
        )
        assert alone.score[0] == pytest.approx(together.score[k], abs=1e-7)
        assert alone.variance[0] == pytest.approx(together.variance[k], abs=1e-7)


def test_property_swapping_arms_flips_the_sign():
    rng = np.random.default_rng(7)
    last, first, treated = simulated(rng, 60, 30, 4, missed=0.3)
    one = interval_log_rank(tabulated(last, first, treated, 4))
    other = interval_log_rank(tabulated(last, first, ~treated, 4))
    assert one.score == pytest.approx(-other.score, abs=1e-7)
    assert one.variance == pytest.approx(other.variance, abs=1e-7)


def test_analytic_statistic_is_standard_normal_without_a_difference():
    rng = np.random.default_rng(8)
    last, first, treated = simulated(rng, 300, 3_000, 5, missed=0.3)
    found = interval_log_rank(tabulated(last, first, treated, 5))
    z = found.score / np.sqrt(found.variance)
    level = (np.abs(z) > norm.ppf(0.975)).mean()
    assert abs(level - 0.05) < 4 * sqrt(0.05 * 0.95 / 3_000)
    assert kstest(z, "norm").pvalue > 1e-3


def test_property_a_trial_without_events_has_nothing_at_stake():
    shape = (20, 3)
    treated = np.tile(np.arange(20) % 2 == 0, (3, 1)).T
    found = interval_log_rank(tabulated(np.full(shape, 4), np.zeros(shape, int), treated, 4))
    assert (found.score == 0).all()
    assert (found.variance == 0).all()
