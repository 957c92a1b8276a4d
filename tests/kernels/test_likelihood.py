"""Likelihoods against closed forms, exact expected counts and enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from trialsim.kernels.likelihood import (
    CHI_SQUARE_1,
    Data,
    coverage_of_interval,
    jacobian,
    log_likelihood,
    maximise,
    maximise_from,
    null_directions,
    profile_limits,
)
from trialsim.kernels.multistate import probability_in_response, state_probabilities
from trialsim.protocol.truths.course import Course

LOW, HIGH = np.log(1e-12), 0.0


def counts(events, n):
    events, n = np.atleast_2d(np.asarray(events, float)), np.atleast_2d(np.asarray(n, float))
    return Data(events, n, np.zeros((len(events), 0)), np.zeros(0))


def bounds(k):
    return np.full(k, LOW), np.full(k, HIGH)


def one_hazard(days):
    def model(theta):
        hazard = np.exp(theta[:, :1])
        return -np.expm1(-hazard * np.asarray(days)), np.zeros((len(theta), 0))

    return model


def pieces(ends, days, relapse=False):
    """Hazards of one arm's pieces and perhaps relapse; probability of response by each day."""

    def model(theta):
        values = np.exp(theta)
        hazards = values[:, : len(ends)]
        gone = values[:, -1] if relapse else np.zeros(len(theta))
        every = np.tile(np.asarray(ends, float), (len(theta), 1))
        since = np.zeros(len(days))
        _, response, _ = probability_in_response(since, days, every, hazards, gone, 0.0)
        return response, np.zeros((len(theta), 0))

    return model


@pytest.mark.parametrize("seed", range(20))
def test_analytic_many_courses_at_once_are_the_matrix_exponentials(seed):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.uniform(20, 600, 3))
    hazards, relapse = rng.uniform(0, 0.01, 3), rng.choice([0.0, 0.002, 0.3])
    days = np.array([10.0, 150.0, 400.0, 900.0])
    found = probability_in_response(
        np.zeros(4), days, ends[None], hazards[None], np.array([relapse]), 0.0003
    )
    exact = state_probabilities(days, tuple(ends), tuple(hazards), relapse, 0.0002, 0.0001)
    assert found[0][0] == pytest.approx(exact[:, 0], abs=1e-12)
    assert found[1][0] == pytest.approx(exact[:, 1], abs=1e-12)
    course = Course(tuple(ends), tuple(hazards), relapse, 0.0002, 0.0001)
    assert found[1][0] == pytest.approx([course.probability_of_response(d) for d in days])
    # from a day on which there was no response: what is left of the pieces
    later, _, hazard = probability_in_response(
        days[:1], days[2:3], ends[None], hazards[None], np.array([relapse]), 0.0
    )
    assert later[0, 0] == pytest.approx(exact[2, 0] / exact[0, 0] * np.exp(0.0003 * 390))
    assert later[0, 0] == pytest.approx(np.exp(-hazard[0, 0]))


@pytest.mark.parametrize(
    ("events", "n", "days"), [(3, 32, 547.875), (13, 32, 547.875), (2, 48, 365.25)]
)
def test_analytic_one_hazard_is_the_closed_form_and_its_interval_the_likelihood_ratios(
    events, n, days
):
    model, data, (low, high) = one_hazard([days]), counts([events], [n]), bounds(1)
    theta, top = maximise(model, data, np.array([[np.log(1e-3)]]), low, high)
    assert np.exp(theta[0, 0]) == pytest.approx(-np.log1p(-events / n) / days, rel=1e-9)
    lower, upper = profile_limits(model, data, theta[0], low, high)

    def fallen(p):
        at = events * np.log(p) + (n - events) * np.log1p(-p)
        return 2 * (top[0] - at) - CHI_SQUARE_1

    ends = (brentq(fallen, 1e-9, events / n), brentq(fallen, events / n, 1 - 1e-9))
    found = -np.expm1(-np.exp(np.array([lower[0], upper[0]])) * days)
    assert found == pytest.approx(ends, abs=1e-9)


def test_analytic_no_event_and_only_events_give_one_sided_intervals():
    days, (low, high) = 100.0, bounds(1)
    model = one_hazard([days])
    none = counts([0], [30])
    theta, _ = maximise(model, none, np.array([[-6.0]]), low, high)
    lower, upper = profile_limits(model, none, theta[0], low, high)
    assert np.isnan(lower[0])
    assert np.exp(upper[0]) == pytest.approx(CHI_SQUARE_1 / 2 / (30 * days), rel=1e-6)
    every = counts([30], [30])
    theta, value = maximise(model, every, np.array([[-6.0]]), low, high)
    assert value[0] == pytest.approx(0, abs=1e-8)
    lower, upper = profile_limits(model, every, theta[0], low, high)
    assert np.isnan(upper[0])
    survival = -np.expm1(-CHI_SQUARE_1 / 2 / 30)  # (1 - exp(-h t))^30 = exp(-1.92)
    assert np.exp(lower[0]) == pytest.approx(-np.log(survival) / days, rel=1e-6)


@pytest.mark.parametrize("relapse", [False, True])
def test_analytic_parameters_behind_exact_expected_counts_are_recovered(relapse):
    ends, days = [180.0, 365.0, 548.0], np.array([100.0, 180.0, 300.0, 365.0, 548.0])
    truth = np.log([2e-4, 1.5e-3, 6e-4, 8e-4][: 3 + relapse])
    model, (low, high) = pieces(ends, days, relapse), bounds(len(truth))
    n = np.full(5, 200.0)
    data = counts(n * model(truth[None])[0][0], n)
    starts = np.log(
        [[[1e-3] * len(truth), [1e-4] * len(truth), [1e-2, 1e-3, 1e-4, 1e-3][: len(truth)]]]
    )
    theta, _ = maximise_from(model, data, starts, low, high)
    assert np.exp(theta[0]) == pytest.approx(np.exp(truth), rel=1e-6)


def test_analytic_normal_estimates_give_their_own_interval():
    def model(theta):
        return np.zeros((len(theta), 0)), theta

    data = Data(np.zeros((1, 0)), np.zeros((1, 0)), np.array([[0.5]]), np.array([0.2]))
    low, high = np.array([-5.0]), np.array([5.0])
    theta, _ = maximise(model, data, np.zeros((1, 1)), low, high)
    lower, upper = profile_limits(model, data, theta[0], low, high)
    half = 0.2 * np.sqrt(CHI_SQUARE_1)
    assert (theta[0, 0], lower[0], upper[0]) == pytest.approx(
        (0.5, 0.5 - half, 0.5 + half), abs=1e-8
    )


def test_analytic_three_hazards_and_two_points_leave_one_direction_flat():
    ends, days = [100.0, 200.0, 300.0], np.array([200.0, 300.0])
    model = pieces(ends, days)
    theta = np.log([[1e-3, 2e-3, 1e-3]])
    of_p, _ = jacobian(model, theta)
    flat = null_directions(of_p[0])
    assert flat.shape == (3, 1)
    # what the first two add up to by day 200 does not change along it; the third stays
    norms = np.linalg.norm(of_p[0], axis=0)
    move = flat[:, 0] / norms
    assert np.exp(theta[0, :2]) @ move[:2] * 100 == pytest.approx(0, abs=1e-9)
    assert move[2] == pytest.approx(0, abs=1e-9)
    data = counts([40, 60], [100, 100])
    best, _ = maximise(model, data, theta, *bounds(3))
    lower, _ = profile_limits(model, data, best[0], *bounds(3))
    assert np.isnan(lower[:2]).all()  # each of the two may be 0
    assert np.isfinite(lower[2])
    assert null_directions(jacobian(pieces(ends, np.array([50.0, *days])), theta)[0][0]).shape == (
        3,
        0,
    )


def test_property_none_of_100_000_places_has_more_than_the_maximum():
    ends, days = [180.0, 548.0], np.array([180.0, 548.0])
    model, data, (low, high) = pieces(ends, days), counts([3, 14], [29, 29]), bounds(2)
    _, top = maximise_from(model, data, np.log([[[1e-3, 1e-3], [1e-5, 1e-2]]]), low, high)
    corner = np.random.default_rng(1).uniform(low, high, (100_000, 2))
    many = data.at(np.zeros(len(corner), dtype=int))
    assert (log_likelihood(many, *model(corner)) <= top[0] + 1e-9).all()


def test_reference_coverage_of_a_likelihood_interval_at_2_of_48_is_86_percent():
    assert round(coverage_of_interval(48, 2 / 48), 2) == 0.86
    # by counting: which of 49 results leave 1/2 inside
    n = np.arange(21)
    inside = [
        2 * (binom.logpmf(x, 20, x / 20) - binom.logpmf(x, 20, 0.5)) <= CHI_SQUARE_1 for x in n
    ]
    assert coverage_of_interval(20, 0.5) == pytest.approx(binom.pmf(n, 20, 0.5)[inside].sum())
