"""Recruitment by many sites: closed forms, exact distributions, R, and what is drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from conftest import ROOT
from trialsim.kernels.recruitment import (
    Accrual,
    GammaDelay,
    RatePosterior,
    UnreachableTimeError,
    arrivals,
    closed_form_time,
    exposure_days,
    fit_rates,
    invitation_days,
    mean_time_to,
    mean_times_to,
    prepare_arrivals,
    probability_enrolled,
    rate_for_mean_time,
)

REFERENCE = json.loads((ROOT / "tests" / "reference" / "recruitment.json").read_text())
STAGED = Accrual(
    invitation_days(22, 365.0),
    0.03,
    1.3,
    GammaDelay(90.0, 1.0),
    0.05,
    120.0,
    ((300.0, 400.0),),
    GammaDelay(10.0, 1.0),
)


def drawn(accrual, n, replicates, seed):
    """Entries by brute force: every site by itself, patients put in order afterwards."""
    luck = np.random.default_rng(seed)
    shape = (accrual.n_sites, replicates)
    opened = accrual.invited[:, None] + accrual.activation.of(luck.random(shape))
    opened = np.where(luck.random(shape) < accrual.failing, inf, opened)
    rates = np.full(shape, accrual.per_day)
    if accrual.shape < inf:
        rates = luck.gamma(accrual.shape, accrual.per_day / accrual.shape, shape)
    prepared = prepare_arrivals(opened, rates, accrual.ramp_days, accrual.pauses)
    latent = np.cumsum(luck.standard_exponential((n + n // 3 + 20, replicates)), axis=0)
    days = arrivals(latent, prepared)
    entry = days + accrual.screening.of(luck.random(days.shape))
    return opened, rates, np.sort(entry, axis=0)[:n]


def within(found, value, errors=4.0):
    """Whether the mean of draws is within so many of its standard errors of a value."""
    return abs(np.mean(found) - value) <= errors * np.std(found, ddof=1) / sqrt(len(found))


def test_analytic_one_site_at_a_constant_rate_is_a_poisson_process():
    one = Accrual(np.zeros(1), 0.2)
    days = np.array([20.0, 50.0, 80.0])
    assert probability_enrolled(days, 10, one) == pytest.approx(
        stats.poisson.sf(9, 0.2 * days), abs=1e-12
    )
    assert mean_time_to(10, one) == 50.0
    entry = drawn(one, 60, 4000, 1)[2]
    assert within(entry[9], 50.0)
    enrolled = (entry <= 80).sum(axis=0)
    assert within(enrolled, 16.0)
    assert within((enrolled - 16.0) ** 2, 16.0)


def test_analytic_counts_of_gamma_rates_have_the_mean_and_variance_of_negative_binomials():
    exposures = np.array([100.0, 250.0, 400.0])
    own = [stats.nbinom(1.5, 1.5 / (1.5 + 0.05 * e)) for e in exposures]
    mean, variance = sum(d.mean() for d in own), sum(d.var() for d in own)
    opened = np.repeat(400.0 - exposures[:, None], 8000, axis=1)
    rates = np.random.default_rng(2).gamma(1.5, 0.05 / 1.5, opened.shape)
    latent = np.cumsum(np.random.default_rng(3).standard_exponential((250, 8000)), axis=0)
    enrolled = (arrivals(latent, prepare_arrivals(opened, rates)) <= 400).sum(axis=0)
    assert within(enrolled, mean)
    assert within((enrolled - mean) ** 2, variance)


@pytest.mark.parametrize("case", REFERENCE["probabilities"], ids=lambda c: f"{c['sites']} sites")
def test_reference_probabilities_equal_r_pnbinom(case):
    sites = Accrual(np.zeros(case["sites"]), case["per_day"], case["shape"])
    found = probability_enrolled(np.array([case["day"]]), case["n"], sites)[0]
    assert found == pytest.approx(case["probability"], abs=1e-9)


@pytest.mark.parametrize("case", REFERENCE["fits"], ids=lambda c: f"{len(c['count'])} sites")
def test_reference_rates_fitted_equal_r_glm_nb(case):
    found = fit_rates(np.array(case["count"]), np.array(case["exposure"]))
    assert found.per_day == pytest.approx(case["per_day"], rel=1e-5)
    assert found.shape == pytest.approx(case["shape"], rel=1e-4)


def test_analytic_counts_alike_are_fitted_as_poisson():
    found = fit_rates(np.array([10, 10, 10]), np.array([100.0, 100.0, 100.0]))
    assert found == (0.1, inf)
    assert fit_rates(np.array([3, 9]), np.array([100.0, 100.0]), 2.0).per_day == pytest.approx(0.06)


def exact_below(n, day, accrual, *, points=2048, nodes=100):
    """P(fewer than n) from the generating function of every site, inverted on a circle."""
    radius = 10 ** (-12 / points)
    z = radius * np.exp(2j * np.pi * np.arange(points // 2 + 1) / points)
    waits = accrual.activation.nodes(nodes)
    product = np.ones(len(z), dtype=complex)
    for invited in accrual.invited:
        exposed = exposure_days(day, invited + waits, accrual.ramp_days, accrual.pauses)
        mean = accrual.per_day * exposed[:, None]
        own = (1 + mean / accrual.shape * (1 - z)) ** -accrual.shape
        product *= accrual.failing + (1 - accrual.failing) * own.mean(axis=0)
    mass = np.fft.irfft(np.conj(product), points) / radius ** np.arange(points)
    return mass[:n].sum()


@pytest.mark.parametrize("day", [300.0, 600.0, 900.0])
def test_analytic_staged_openings_agree_with_the_exact_distribution_to_one_in_a_hundred(day):
    five = Accrual(
        invitation_days(5, 300.0), 0.05, 1.5, GammaDelay(60.0, 1.0), 0.1, 90.0, ((200.0, 250.0),)
    )
    found = 1 - probability_enrolled(np.array([day]), 60, five)[0]
    assert found == pytest.approx(exact_below(60, day, five), abs=0.01)


def test_analytic_sites_that_open_at_once_take_the_closed_form_of_anisimov():
    mean = closed_form_time(361, 6, 0.06, 1.3)
    entry = drawn(Accrual(np.zeros(6), 0.06, 1.3), 361, 5000, 4)[2][-1]
    assert within(entry, mean)
    assert mean_time_to(361, Accrual(np.zeros(6), 0.06, 1.3)) == mean
    assert closed_form_time(10, 1, 0.1, 1.0) == inf


def test_analytic_time_of_staged_sites_agrees_with_draws():
    entry = drawn(STAGED, 600, 2000, 5)[2]
    assert within(entry[-1], mean_time_to(600, STAGED))
    assert within(entry[49], mean_time_to(50, STAGED))
    for share in (0.1, 0.5, 0.9):
        found = probability_enrolled(np.array([np.quantile(entry[-1], share)]), 600, STAGED)[0]
        assert found == pytest.approx(share, abs=4 * sqrt(share * (1 - share) / 2000))


def test_property_the_rate_solved_for_gives_the_mean_time_back():
    wanted = 51.8 * 30.4375
    rate = rate_for_mean_time(1106, wanted, STAGED)
    solved = replace(STAGED, per_day=rate)
    assert mean_time_to(1106, solved) == pytest.approx(wanted, rel=1e-3)
    assert within(drawn(solved, 1106, 400, 6)[2][-1], wanted)


def test_property_a_time_shorter_than_activation_or_without_a_mean_is_refused():
    with pytest.raises(UnreachableTimeError, match="even enrolling at once takes"):
        rate_for_mean_time(100, 8.0, STAGED)
    with pytest.raises(UnreachableTimeError, match="the mean time is infinite"):
        rate_for_mean_time(100, 600.0, Accrual(np.zeros(2), 1.0, 0.5))


def test_analytic_posterior_equals_bayes_rule_by_quadrature():
    rates = fit_rates(np.array([4, 30, 9]), np.array([100.0, 300.0, 200.0]), 1.2)
    known = np.ones(1), np.array([rates.per_day]), np.array([rates.shape])
    posterior = RatePosterior(*known, np.array([7]), np.array([150.0]))
    prior = stats.gamma(rates.shape, scale=rates.per_day / rates.shape)

    def weight(rate):
        return prior.pdf(rate) * stats.poisson.pmf(7, 150.0 * rate)

    total = quad(weight, 0, 1)[0]
    assert quad(lambda r: r * weight(r), 0, 1)[0] / total == pytest.approx(
        posterior.mean_rates[0], rel=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 400), min_size=1, max_size=6),
    st.just(0.0) | st.floats(0.5, 200),
    st.floats(0, 300),
    st.floats(1, 200),
    st.integers(0, 2**32),
)
def test_property_patients_come_where_the_rate_adds_up_to_their_luck(
    opened, ramp, start, lasting, seed
):
    luck = np.random.default_rng(seed)
    days_open = np.array(opened)[:, None]
    rates = luck.gamma(1.5, 0.02, days_open.shape) + 1e-4
    pauses = ((start, start + lasting),)
    latent = np.cumsum(luck.standard_exponential((50, 1)), axis=0)
    prepared = prepare_arrivals(days_open, rates, ramp, pauses)
    days = arrivals(latent, prepared)
    exposed = exposure_days(days, days_open.T, ramp, pauses)
    assert exposed @ rates[:, 0] == pytest.approx(latent[:, 0], rel=1e-6, abs=1e-6)
    for patient in (0, 20, 49):
        assert prepared.by(days[patient]) == pytest.approx(latent[patient], rel=1e-6, abs=1e-6)
    inside = (days > start + 1e-6) & (days < start + lasting - 1e-6)
    assert not inside.any()


def test_regression_sites_that_never_open_enrol_nobody():
    never = np.full((3, 2), inf)
    days = arrivals(np.ones((4, 2)), prepare_arrivals(never, np.ones((3, 2))))
    assert np.isinf(days).all()
    assert probability_enrolled(np.array([1e6]), 5, Accrual(np.zeros(1), 1.0, failing=0.25))[
        0
    ] == pytest.approx(0.75)


def test_property_times_to_several_numbers_are_those_of_each():
    counts = [50, 45]
    together = mean_times_to(counts, STAGED)
    for n, own in zip(counts, together, strict=True):
        assert own == pytest.approx(mean_time_to(n, STAGED), rel=2e-3)
    alike = Accrual(np.zeros(6), 0.06, 1.3)
    assert mean_times_to([361], alike) == [mean_time_to(361, alike)]
