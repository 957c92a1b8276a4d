"""Immortal time: when the dead died, expected counts, and rates of exponential times."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, log1p, sqrt

import numpy as np
import pytest

from trialsim.conduct.deviations import days_of_death, immortal_time
from trialsim.conduct.records import Luck, Records
from trialsim.engine.blocks import Job, draw_patients, simulate_block
from trialsim.engine.conducted import _records
from trialsim.protocol.conduct import Conduct, EarlyDeaths, ImmortalTime
from trialsim.protocol.reading.load import load_template
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan

N, REPS, DAY = 400, 1_000, 28.0


def luck() -> Luck:
    return Luck(Streams(4), 0, (N, REPS))


def records(treated: float, control: float) -> Records:
    rng = np.random.default_rng(3)
    arm = np.broadcast_to((np.arange(N) % 3 > 0)[:, None], (N, REPS))  # 2:1
    bad = rng.random((N, REPS)) < np.where(arm, treated, control)
    return Records(arm, bad, np.ones((N, REPS), dtype=bool), control, treated, DAY)


def flaw(early_deaths: EarlyDeaths, strength: float = 1, days: float = 7) -> ImmortalTime:
    return ImmortalTime(strength=strength, exposed_after=f"{days:g} d", early_deaths=early_deaths)


def test_analytic_deaths_have_a_constant_hazard_up_to_the_read_out():
    own = records(0.4, 0.3)
    days = days_of_death(own, luck())
    died = own.treated & own.unfavourable
    assert np.isinf(days[~own.unfavourable]).all()
    assert 0 <= days[died].min() < days[died].max() < DAY
    for day in (1, 7, 14, 27):
        expected = (1 - 0.6 ** (day / DAY)) / 0.4
        share = (days[died] < day).mean()
        assert abs(share - expected) < 4 * sqrt(expected * (1 - expected) / died.sum())


@pytest.mark.parametrize("strength", [0.4, 1.0])
@pytest.mark.parametrize("early", EarlyDeaths)
def test_analytic_expected_risks(early, strength):
    p1, p0 = 0.4, 0.3
    own = records(p1, p0)
    found = immortal_time(own, flaw(early, strength), luck())
    gone = strength * (1 - (1 - p1) ** (7 / DAY))
    treated, control = own.treated.sum(), (~own.treated).sum()
    to_control = treated * gone if early is EarlyDeaths.COUNTED_AS_UNTREATED else 0
    expected = {
        True: (p1 - gone) / (1 - gone),
        False: (control * p0 + to_control) / (control + to_control),
    }
    for arm, risk in expected.items():
        here = found.included & (found.treated == arm)
        error = sqrt(risk * (1 - risk) / here.sum())
        assert abs(found.unfavourable[here].mean() - risk) < 4 * error
    assert found.unfavourable is own.unfavourable


@pytest.mark.parametrize("hazard", [0.01, 0.05])
@pytest.mark.parametrize("early", EarlyDeaths)
def test_analytic_rate_ratio_of_exponential_times_without_an_effect(early, hazard):
    d, risk = 7.0, 1 - exp(-hazard * DAY)
    own = records(risk, risk)
    treated_days = np.minimum(days_of_death(own, luck()), DAY)
    u = np.random.default_rng(8).random(own.treated.shape)  # of controls, the same hazard
    control_days = np.where(own.unfavourable, DAY * np.log1p(-u * risk) / log1p(-risk), DAY)
    days = np.where(own.treated, treated_days, control_days)
    found = immortal_time(own, flaw(early, days=d), luck())
    rate, events = {}, {}
    for arm in (True, False):
        here = found.included & (found.treated == arm)
        events[arm] = found.unfavourable[here].sum()
        rate[arm] = events[arm] / days[here].sum()
    before, after = exp(-hazard * d), exp(-hazard * DAY)
    exposed = (before - after) / (d * before + (before - after) / hazard)
    unexposed = hazard
    if early is EarlyDeaths.COUNTED_AS_UNTREATED:
        ratio = own.treated.sum() / (~own.treated).sum()
        deaths = (1 - after) + ratio * (1 - before)
        time = (1 - after) / hazard + ratio * ((1 - before) / hazard - d * before)
        unexposed = deaths / time
    expected = log(exposed / unexposed)
    error = sqrt(1 / events[True] + 1 / events[False])
    assert abs(log(rate[True] / rate[False]) - expected) < 4 * error
    assert expected < 4 * -error  # the bias itself is seen


def test_analytic_followed_until_all_have_died_the_ratio_is_1_over_1_plus_hd():
    hazard, d = 0.05, 7.0
    own = replace(records(1 - 1e-9, 1 - 1e-9), day=log(1e9) / hazard)
    days = days_of_death(own, luck())
    found = immortal_time(own, flaw(EarlyDeaths.LEFT_OUT, days=d), luck())
    here = found.included & found.treated & found.unfavourable
    rate = here.sum() / days[here].sum()
    assert abs(log(rate / hazard) + log(1 + hazard * d)) < 4 / sqrt(here.sum())


def test_property_strength_0_changes_nothing():
    own = records(0.4, 0.3)
    for early in EarlyDeaths:
        after = immortal_time(own, flaw(early, strength=0), luck())
        for name in ("treated", "unfavourable", "included"):
            assert np.array_equal(getattr(own, name), getattr(after, name))


@pytest.mark.parametrize("early", EarlyDeaths)
def test_analytic_times_to_an_event_have_the_rates_of_exponential_times(early):
    resolved = load_template("delayed-effect")
    plan = AnalysisPlan.of(resolved.template.protocol)
    job = Job(resolved.template.protocol, (plan,), (resolved.truth(resolved.scenarios()[0]),))
    _, (batches,) = draw_patients(job, 5, 0, frozenset())
    own = _records(batches[plan.endpoint], plan, job.truths[0])
    hazard, d, end = log(2) / (6 * 30.4375), 90.0, 300.0
    left = np.where(np.isfinite(own.event_days), own.event_days, 1e9)  # lost: 1%, seen as alive
    found = immortal_time(own, flaw(early, days=d), Luck(Streams(1), 0, own.treated.shape))
    rate, events = {}, {}
    for arm in (True, False):
        here = found.included & (found.treated == arm)
        events[arm] = (left[here] < end).sum()
        rate[arm] = events[arm] / np.minimum(left[here], end).sum()
    before, after = exp(-hazard * d), exp(-hazard * end)
    exposed = (before - after) / (d * before + (before - after) / hazard)
    ratio = own.treated.sum() / (~own.treated).sum() * (early is not EarlyDeaths.LEFT_OUT)
    deaths = (1 - after) + ratio * (1 - before)
    time = (1 - after) / hazard + ratio * ((1 - before) / hazard - d * before)
    error = sqrt(1 / events[True] + 1 / events[False])
    assert abs(log(rate[True] / rate[False] * deaths / time / exposed)) < 4 * error
    assert own.treated.sum() == 240 * 256


def test_property_immortal_time_is_seen_by_the_analysis_of_a_time_to_an_event():
    resolved = load_template("delayed-effect")
    conducts = [
        Conduct(id="own", title="t", immortal_time=flaw(early, days=90)) for early in EarlyDeaths
    ]
    plan = AnalysisPlan.of(resolved.template.protocol)
    plans = (plan, *(replace(plan, conduct=own) for own in conducts))
    job = Job(resolved.template.protocol, plans, (resolved.truth(resolved.scenarios()[0]),))
    none, as_untreated, left_out = simulate_block(job, 5, 0)[0]
    assert as_untreated.estimate.mean() < left_out.estimate.mean() < none.estimate.mean() - 0.3
    assert (left_out.information < none.information).all()  # deaths left out
