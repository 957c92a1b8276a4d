"""The shortcut's entries and losses, held against simulations of its own model by brute force."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from trialsim.kernels.recruitment import mean_time_to
from trialsim.operations.enrolment import accrual_of, draw_conduct, draw_sites, merged_pauses
from trialsim.protocol.operations import OperationalNature, Operations
from trialsim.protocol.survival import Dropout
from trialsim.streams import Streams

OPERATIONS = Operations.model_validate({"sites": {"planned": 8, "invited_over": "6 mo"}})
NATURE = OperationalNature.model_validate(
    {
        "activation": {"takes": {"mean": "2 mo", "cv": 0.5}, "failing": 0.1},
        "recruitment": {
            "per_site_month": 2,
            "shape": 1.5,
            "ramp_up": "3 mo",
            "pauses": [
                {"after": "10 mo", "until": "11 mo"},
                {"after": "10.5 mo", "until": "12 mo"},
            ],
        },
        "screening": {"takes": {"mean": "10 d", "cv": 1}, "withdrawn": 0.05},
        "withdrawal": {"share": 0.06, "by": "28 d"},
    }
)
N, PASSING = 60, 0.75 * 0.95


def within(found, value, errors=4.0):
    return abs(np.mean(found) - value) <= errors * np.std(found, ddof=1) / sqrt(len(found))


def conduct(n=N, block=0, width=400, seed=1, nature=NATURE):
    return draw_conduct(
        accrual_of(OPERATIONS, nature),
        n,
        Streams(seed),
        block,
        width,
        passing=PASSING,
        withdrawal=nature.withdrawal,
    )


def by_hand(luck):
    """One trial, patient by patient: its entries, and how many it screened by the last."""
    accrual = accrual_of(OPERATIONS, NATURE)
    candidates = []
    for invited in accrual.invited:
        opened = invited + luck.gamma(4, accrual.activation.mean / 4)
        if luck.random() < 0.1:
            continue
        rate = luck.gamma(1.5, accrual.per_day / 1.5) / PASSING
        day = opened
        while (day := day + luck.exponential(1 / rate)) < opened + 5_000:
            speed = min(1.0, (day - opened) / accrual.ramp_days)
            paused = any(start <= day < end for start, end in accrual.pauses)
            if luck.random() < speed and not paused:
                through = day + luck.exponential(accrual.screening.mean)
                candidates.append((through, day, luck.random() < PASSING))
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
    assert within(found.entry[-1], mean_time_to(N, accrual_of(OPERATIONS, NATURE)))
    lost = found.lost(28.0)
    assert within(lost, 0.06 * N)
    assert within((lost - 0.06 * N) ** 2, 0.06 * 0.94 * N)
    assert (found.screened >= N).all()
    assert (np.diff(found.entry, axis=0) >= 0).all()


def test_property_the_same_seed_and_block_give_the_same_trials_and_sites_extend():
    first, again, other = conduct(width=16), conduct(width=16), conduct(width=16, block=1)
    assert np.array_equal(first.entry, again.entry)
    assert not np.array_equal(first.entry, other.entry)
    more = Operations.model_validate({"sites": {"planned": 12, "invited_over": "6 mo"}})
    few_sites = draw_sites(accrual_of(OPERATIONS, NATURE), Streams(1), 0, 16)
    many_sites = draw_sites(accrual_of(more, NATURE), Streams(1), 0, 16)
    assert np.array_equal(few_sites[1], many_sites[1][:8])


def test_property_more_patients_extend_a_trial_without_screening_time():
    plain = NATURE.model_copy(update={"screening": OperationalNature().screening})
    few, many = conduct(40, width=16, nature=plain), conduct(60, width=16, nature=plain)
    assert np.array_equal(few.entry, many.entry[:40])


def test_property_pauses_that_overlap_are_one():
    (pause,) = merged_pauses(NATURE)
    assert pause == pytest.approx((10 * 30.4375, 12 * 30.4375))
    entry = conduct(nature=NATURE.model_copy(update={"screening": OperationalNature().screening}))
    inside = (entry.entry > pause[0]) & (entry.entry < pause[1])
    assert not inside.any()


def test_analytic_withdrawal_at_a_rate_is_exponential():
    yearly = Dropout.model_validate({"rate_per_year": 0.5})
    found = draw_conduct(
        accrual_of(OPERATIONS, NATURE), N, Streams(5), 0, 500, withdrawal=yearly
    ).lost(365.25)
    assert within(found, N * (1 - np.exp(-0.5)))
