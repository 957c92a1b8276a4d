"""The shortcut's entries and losses, held against simulations of its own model by brute force."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from trialsim.kernels.recruitment import mean_time_to
from trialsim.operations.enrolment import accrual_of, draw_conduct, draw_sites
from trialsim.protocol.operations import Delay
from trialsim.protocol.survival import Dropout
from trialsim.protocol.truths.site_enrolment import SiteEnrolment
from trialsim.streams import Streams

MONTH = 30.4375
SITES = SiteEnrolment(
    n_sites=8,
    invited_over_days=6 * MONTH,
    activation=Delay.model_validate({"mean": "2 mo", "cv": 0.5}),
    failing=0.1,
    per_day=2 / MONTH,
    shape=1.5,
    ramp_up_days=3 * MONTH,
    pauses=((10 * MONTH, 12 * MONTH),),
    screening=Delay.model_validate({"mean": "10 d", "cv": 1}),
    passing=0.75 * 0.95,
    leaving=Dropout.model_validate({"share": 0.06, "by": "28 d"}).curve,
)
N, AT_ONCE = 60, Delay.model_validate({"mean": "0 d", "cv": 0})


def within(found, value, errors=4.0):
    return abs(np.mean(found) - value) <= errors * np.std(found, ddof=1) / sqrt(len(found))


def conduct(n=N, block=0, width=400, seed=1, **changes):
    return draw_conduct(replace(SITES, **changes), n, Streams(seed), block, width)


def by_hand(luck):
    """One trial, patient by patient: its entries, and how many it screened by the last."""
    accrual = accrual_of(SITES)
    candidates = []
    for invited in accrual.invited:
        opened = invited + luck.gamma(4, accrual.activation.mean / 4)
        if luck.random() < 0.1:
            continue
        rate = luck.gamma(1.5, accrual.per_day / 1.5) / SITES.passing
        day = opened
        while (day := day + luck.exponential(1 / rate)) < opened + 5_000:
            speed = min(1.0, (day - opened) / accrual.ramp_days)
            paused = any(start <= day < end for start, end in accrual.pauses)
            if luck.random() < speed and not paused:
                through = day + luck.exponential(accrual.screening.mean)
                candidates.append((through, day, luck.random() < SITES.passing))
    passed = np.sort([through for through, _, passes in candidates if passes])
    if len(passed) < N:
        return np.full(N, inf), 0, 0
    last = passed[N - 1]
    screened = [c for c in candidates if c[1] <= last]
    return passed[:N], len(screened), sum(c[0] > last for c in screened)


def test_property_entries_and_screening_agree_with_trials_drawn_patient_by_patient():
    luck = np.random.default_rng(3)
    slow = [by_hand(luck) for _ in range(150)]
    fast = conduct()
    for row in (19, N - 1):
        own = np.array([entry[row] for entry, _, _ in slow])
        assert stats.ks_2samp(own, fast.entry[row]).pvalue > 1e-4
    for index, found in ((1, fast.screened), (2, fast.in_screening)):
        own = np.array([trial[index] for trial in slow])
        error = sqrt(own.var() / len(own) + found.var() / len(found))
        assert abs(own.mean() - found.mean()) < 4 * error


def test_analytic_entries_take_the_mean_time_and_losses_are_binomial():
    found = conduct(width=1000)
    assert within(found.entry[-1], mean_time_to(N, accrual_of(SITES)))
    lost = found.lost(28.0)
    assert within(lost, 0.06 * N)
    assert within((lost - 0.06 * N) ** 2, 0.06 * 0.94 * N)
    assert (found.screened >= N).all()
    assert (np.diff(found.entry, axis=0) >= 0).all()


def test_property_the_same_seed_and_block_give_the_same_trials_and_sites_extend():
    first, again, other = conduct(width=16), conduct(width=16), conduct(width=16, block=1)
    assert np.array_equal(first.entry, again.entry)
    assert not np.array_equal(first.entry, other.entry)
    few_sites = draw_sites(accrual_of(SITES), Streams(1), 0, 16)
    many_sites = draw_sites(accrual_of(replace(SITES, n_sites=12)), Streams(1), 0, 16)
    assert np.array_equal(few_sites[1], many_sites[1][:8])


def test_property_more_patients_extend_a_trial_without_screening_time():
    few, many = (conduct(n, width=16, screening=AT_ONCE) for n in (40, 60))
    assert np.array_equal(few.entry, many.entry[:40])


def test_property_nobody_enters_in_a_pause():
    ((start, end),) = SITES.pauses
    entry = conduct(screening=AT_ONCE).entry
    assert not ((entry > start) & (entry < end)).any()


def test_analytic_withdrawal_at_a_rate_is_exponential():
    yearly = Dropout.model_validate({"rate_per_year": 0.5}).curve
    assert within(conduct(width=500, seed=5, leaving=yearly).lost(365.25), N * (1 - np.exp(-0.5)))


def test_analytic_the_expected_curve_is_that_of_draws_where_sites_open_after_a_fixed_time():
    sites = replace(
        SITES, activation=Delay.model_validate({"mean": "2 mo", "cv": 0}), screening=AT_ONCE
    )
    entry = conduct(400, width=500, **{"activation": sites.activation, "screening": AT_ONCE}).entry
    for day in (200.0, 340.0, 500.0):
        assert within((entry <= day).sum(axis=0), sites.expected_enrolled(day))
    assert sites.expected_enrolled(sites.expected_day(60)) == pytest.approx(60)


def test_analytic_screened_are_those_who_come_through_those_who_do_not_and_those_still_waiting():
    """At a constant rate screening is a queue without limit (Mirasol 1963): who has left it by a
    day tells nothing of who is in it, a Poisson number of the rate times the mean time.
    """
    wait, share, n, rate = 20.0, 0.4, 400, 8 * SITES.per_day
    found = conduct(
        n=n,
        width=1000,
        invited_over_days=0.0,
        activation=AT_ONCE,
        failing=0.0,
        shape=inf,
        ramp_up_days=0.0,
        pauses=(),
        screening=Delay.model_validate({"mean": f"{wait:g} d", "cv": 1}),
        passing=share,
    )
    assert within(found.in_screening, rate / share * wait)
    assert within(found.screened, n / share + rate / share * wait)
    failed = found.screened - found.in_screening - n  # negative binomial
    assert within(failed, n * (1 - share) / share)
    fourth_moment = np.mean((failed - failed.mean()) ** 4)
    spread = n * (1 - share) / share**2
    assert abs(failed.var(ddof=1) - spread) < 4 * sqrt((fourth_moment - spread**2) / 1000)
