"""What is drawn of sites and of patients, held against the distributions that the file states."""

from __future__ import annotations

from itertools import islice
from math import inf, log, sqrt

import numpy as np
import pytest

from operations.test_conduct_in_time import HAPPENS, plan_of
from trialsim.operations.draws import opening_days, patients_of, site_rates
from trialsim.operations.plan import plan_conduct
from trialsim.protocol.reading.load import load_template
from trialsim.streams import Streams

MONTH = 30.4375
SITES = "protocol.operations={sites: {planned: 6}}"
N_SITES, N_PATIENTS = 800, 4000


def within(found, value, errors=4.0):
    """Whether the mean of draws is within so many of its standard errors of a value."""
    array = np.asarray(found, dtype=float)
    return abs(array.mean() - value) <= errors * array.std(ddof=1) / sqrt(len(array))


def test_analytic_sites_open_after_gamma_times_or_never_at_gamma_rates():
    sites = f"protocol.operations={{sites: {{planned: {N_SITES}, invited_over: 4 mo}}}}"
    plan = plan_of(sites, HAPPENS, failing="0.2", total=2000)
    opened = np.array(opening_days(plan, Streams(1), 0))
    assert within(opened == inf, 0.2)
    waits = (opened - np.linspace(0, 4 * MONTH, N_SITES))[opened < inf]
    assert within(waits, 2 * MONTH)
    assert within((waits - 2 * MONTH) ** 2, MONTH**2)  # CV 0.5
    rates = np.array(site_rates(plan, Streams(1), 0)) * MONTH
    assert within(rates, 2.0)
    assert within((rates - 2.0) ** 2, 4 / 1.5)
    assert opening_days(plan, Streams(1), 1)[:3] != tuple(opened[:3])


def test_analytic_patients_are_what_the_file_says_of_them():
    visits = "protocol.visits=[{at: 7 d, window: 2 d}]"
    plan = plan_of(SITES, visits, HAPPENS)
    drawn = list(islice(patients_of(plan, Streams(2), 0, 0), N_PATIENTS))

    def column(name):
        return np.array([getattr(luck, name) for luck in drawn], dtype=float)

    fails, withdraws = column("fails"), column("withdraws")
    assert within(fails, 0.25)
    assert within(withdraws, 0.75 * 0.1)  # of those who do not fail
    assert not (fails * withdraws).any()
    assert within(column("screening_days"), 4.0)
    assert within(column("missed_doses").mean(axis=1), 0.1)
    assert within(column("missed_visits").mean(axis=1), 0.1)
    assert within(column("data_days").mean(axis=1), 10.0)
    early_or_late = column("visit_days")[:, 0] - 7.0
    assert within(early_or_late, 0.0)
    assert within(early_or_late**2, 2.0**2 / 3)  # uniform
    assert np.ptp(column("visit_days")[:, 1]) == 0  # without a window
    assert within(column("leaves") <= 28, 0.1)
    assert within(column("leaves") <= 7, 1 - 0.9**0.25)
    assert within(column("stops") <= 7, 0.1)
    assert within(column("discharged"), 15.0)
    assert within(column("strata")[:, 0] == 0, 0.4)


def test_analytic_what_is_stated_of_patients_is_one_plan():
    settings = ["nature.operations={withdrawal: {rate_per_year: 0.2}, visits_missed: 0.07}"]
    plan = plan_conduct(load_template("sepsis", settings=settings).template)
    assert plan.leaving.quantile(0.5) == pytest.approx(log(2) / 0.2 * 365.25)
    assert plan.missed_visits == 0.07
    assert len(plan.arms[0].dose_days) == 14  # twice a day for a week
    assert plan.arms[0].dose_days[-1] == 6.5
    assert plan.arms[0].amounts == (1.6,) * 14


def test_analytic_phases_looks_and_lags_are_those_of_the_file():
    then = "[{dose: 1.6 mg, every: 1 d, for: 3 d}]"
    phases = f"{{drug: x, dose: 3.2 mg, every: 12 h, for: 2 d, then: {then}}}"
    looks = "[{at: {information: 0.25}, efficacy_z: 4}, {at: {information: 1}, efficacy_z: 2}]"
    settings = [
        f"protocol.arms.thymalfasin.regimen={phases}",
        f"protocol.looks={looks}",
        "protocol.read_out_lag=5 d",
    ]
    template = load_template("sepsis", settings=settings).template
    plan = plan_conduct(template)
    assert plan.arms[0].dose_days == (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    assert plan.arms[0].amounts == (3.2,) * 4 + (1.6,) * 3
    assert [look.settled for look in plan.looks] == [277, 1106]  # rounded up, as in power
    assert plan.lag_days == 5


def test_analytic_screening_that_takes_time_shifts_the_expected_curve():
    takes = HAPPENS.replace("takes: {mean: 4 d}", "takes: {mean: 0 d}")
    later, at_once = (plan_of(SITES, each).sites for each in (HAPPENS, takes))
    for day in (100.0, 200.0, 400.0):
        assert later.expected_enrolled(day + 4) == pytest.approx(at_once.expected_enrolled(day))
