"""A trial of four patients whose luck is known, worked out by hand; and its price."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest

from operations.test_conduct_in_time import HAPPENS, plan_of
from trialsim.kernels.recruitment import GammaDelay
from trialsim.operations import simulation
from trialsim.operations.conducted import Outcomes
from trialsim.operations.draws import PatientLuck, site_rates
from trialsim.operations.event_log import What
from trialsim.operations.money import costs_of
from trialsim.operations.plan import ArmPlan, LookPlan, SupplyPlan, VisitPlan
from trialsim.operations.simulation import TrialInTime, conduct_trial
from trialsim.protocol.cost import Cost
from trialsim.streams import Streams

ARM = ArmPlan("drug", (0.0, 10.0, 20.0), (2.0, 3.0, 3.0), "mg")
NOBODY = PatientLuck(
    2.0, False, False, (), [False] * 3, [5.0, 25.0], [False, False], [1.0, 4.0, 9.0], inf, inf, inf
)
LUCK = (
    replace(NOBODY, missed_doses=[False, True, False]),
    replace(NOBODY, fails=True),
    replace(NOBODY, leaves=12.0),
    replace(NOBODY, withdraws=True),
    replace(NOBODY, stops=8.0),  # and dies on day 18
    replace(NOBODY, discharged=15.0, missed_visits=[False, True]),
)
ARRIVALS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 9.5, 30.0)  # the last two find it full, or all but
SUPPLY = SupplyPlan(2, 9, 0, 9, 20, 1, inf, 0, inf, False, GammaDelay(1.0), 0.0)


@pytest.fixture
def plan():
    made = plan_of("protocol.operations={sites: {planned: 1}}", total=4)
    return replace(
        made,
        arms=(ARM, replace(ARM, id="placebo")),
        allocation=replace(made.allocation, single_arm=True, factors=()),
        visits=(VisitPlan(5.0, 0.0), VisitPlan(25.0, 0.0)),
        read_out=1,
        looks=(LookPlan(settled=2), LookPlan(settled=4)),
        lag_days=3.0,
        supply=SUPPLY,
    )


@pytest.fixture
def trial(plan, monkeypatch):
    monkeypatch.setattr(simulation, "opening_days", lambda *_: (0.0,))
    monkeypatch.setattr(simulation, "arrival_days", lambda *_: iter(ARRIVALS))
    monkeypatch.setattr(simulation, "patients_of", lambda *_: iter((*LUCK, NOBODY, NOBODY)))
    deaths = ([inf, 24.0, 18.0, inf], [1.0] * 4)  # nobody is in the other arm
    return conduct_trial(plan, Streams(1), 0, Outcomes(deaths, True), keep_log=True)


def test_analytic_patients_pass_as_their_luck_says(trial):
    assert trial.enrolled.tolist() == [3.0, 5.0, 8.0, 10.0]
    assert trial.full
    assert (trial.screened, trial.screening_failed, trial.screening_withdrawn) == (7, 1, 1)
    assert trial.in_screening == 1  # came on day 9.5
    arm = trial.arms[0]
    assert (arm.randomised, arm.left, arm.died, arm.followed) == (4, 1, 1, 2)
    assert (arm.stopped, arm.discharged) == (1, 1)
    assert (arm.read_out, arm.not_seen) == (2, 1)  # seen, or known to be dead; who left is neither
    assert trial.arms[1].randomised == 0
    assert [e.patient for e in trial.log if e.what is What.OUTCOME] == [5]  # not of who has left


def test_analytic_doses_are_taken_as_their_luck_says(trial):
    arm = trial.arms[0]
    assert arm.not_taken == {"missed": 1, "left": 1, "stopped": 2, "discharged": 1}
    assert (arm.doses_planned, arm.doses_taken, arm.started) == (12, 7, 4)
    assert arm.amount == 2 * 4 + 3 * 3
    assert trial.exposure.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 2 / 3])
    assert trial.exposure_alive.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2, 2 / 3])
    assert trial.ledger.dispensed == 4  # two doses a kit: one each
    assert arm.doses_left_in_kits == 1


def test_analytic_visits_looks_and_the_last_data_come_on_their_days(trial):
    assert trial.visits_held == 4 + 1  # the first of all, the second of one
    # settled: read-out or its day, data entry, lag of the analysis
    settled = [3 + 25 + 4 + 3, 5 + 25 + 9 + 3, 8 + 25 + 9 + 3, 10 + 25 + 4 + 3]
    first, second = trial.looks
    assert (first.day, second.day) == (sorted(settled)[1], sorted(settled)[3])
    assert (first.randomised, second.in_pipeline) == (4, 0)
    assert trial.last_visit == 10 + 25
    assert trial.locked == max(settled)
    days = [(e.day, e.what) for e in trial.log if e.patient == 5]
    assert days == [
        (6.0, What.SCREENED),
        (8.0, What.RANDOMISED),
        (8.0, What.KIT_DISPENSED),
        (8.0, What.DOSE_GIVEN),
        (13.0, What.VISIT),
        (16.0, What.DRUG_STOPPED),
        (26.0, What.OUTCOME),
        (26.0, What.DIED),
        (45.0, What.SETTLED),
    ]


def test_analytic_who_is_in_treatment_at_a_look_has_a_dose_to_come_and_is_not_read_out(
    plan, monkeypatch
):
    monkeypatch.setattr(simulation, "opening_days", lambda *_: (0.0,))
    monkeypatch.setattr(simulation, "arrival_days", lambda *_: iter(ARRIVALS))
    monkeypatch.setattr(simulation, "patients_of", lambda *_: iter((*LUCK, NOBODY, NOBODY)))
    looks = (LookPlan(enrolled=3), LookPlan(settled=1), LookPlan(settled=4))
    # last doses are due on days 3 + 20, 5 + 10 (leaves after 12), 8 (stops after 8), 10 + 10
    trial = conduct_trial(replace(plan, looks=looks, read_out=0), Streams(1), 0)
    third, read_out, last = trial.looks
    assert (third.day, third.in_pipeline, third.in_treatment) == (8.0, 3, 2)
    assert read_out.day == 3 + 5 + 1 + 3  # of the first patient, whose doses go on
    assert (read_out.in_pipeline, read_out.in_treatment) == (3, 2)
    assert (last.in_pipeline, last.in_treatment) == (0, 0)


def test_analytic_a_late_dose_is_said_to_be_late_and_none_comes_after_the_drug_has_stopped(
    plan, monkeypatch
):
    monkeypatch.setattr(simulation, "opening_days", lambda *_: (0.0,))
    monkeypatch.setattr(simulation, "arrival_days", lambda *_: iter((0.0,) * 4))
    luck = [replace(NOBODY, screening_days=0.0)] * 2
    luck += [replace(NOBODY, screening_days=0.0, stops=4.0)] * 2
    monkeypatch.setattr(simulation, "patients_of", lambda *_: iter(luck))
    late = replace(
        SUPPLY, at_opening=0, delayed=True, shipping=GammaDelay(6.0), doses_per_kit=3, order_up_to=4
    )
    trial = conduct_trial(replace(plan, supply=late), Streams(1), 0, keep_log=True)
    arm = trial.arms[0]
    assert arm.not_taken == {"no kit": 2, "stopped": 4}
    assert (arm.read_out, arm.not_seen) == (4, 0)
    assert trial.stock_out_days.tolist() == [0.0] * 4
    given = [(e.day, str(e.what)) for e in trial.log if e.what in (What.DOSE_LATE, What.DOSE_GIVEN)]
    assert given == [(6.0, "dose given late")] * 2 + [(d, "dose given") for d in (10, 10, 20, 20)]


def test_property_sites_screen_as_many_more_as_do_not_come_through(monkeypatch):
    plan, asked = plan_of("protocol.operations={sites: {planned: 3}}", HAPPENS), []

    def arrivals(plan, streams, run, site, opens, per_day):
        asked.append((run, site, per_day))
        return iter(())

    monkeypatch.setattr(simulation, "arrival_days", arrivals)
    for run in (0, 1):
        TrialInTime(plan, Streams(1), run).environment.run(until=5000)
    rates = {run: site_rates(plan, Streams(1), run) for run in (0, 1)}
    assert len(asked) == 6
    for run, site, per_day in asked:
        assert per_day == pytest.approx(rates[run][site] / (0.75 * 0.9))
    assert plan.sites.passing == pytest.approx(0.75 * 0.9)


def test_analytic_costs_of_a_trial_by_hand():
    prices = {
        "start_up": 7,
        "screening": 11,
        "per_patient": 13,
        "per_visit": 17,
        "per_dose": 19,
        "per_month": 23,
        "per_site_month": 29,
        "per_look": 31,
    }
    cost = Cost(currency="EUR", year=2025, **prices)
    month = 30.4375
    trial = SimpleNamespace(
        arms=(SimpleNamespace(doses_taken=5, doses_left_in_kits=2),) * 2,
        ledger=SimpleNamespace(wasted=3),
        locked=12 * month,
        enrolled=np.array([2 * month, 5 * month]),
        openings=[1 * month, 4 * month, inf, 13 * month],
        sites_opened=2,
        screened=10,
        visits_held=6,
        looks=(None, None),
    )
    assert costs_of(trial, cost, 4) == pytest.approx(
        {
            "start-up": 2 * 7,
            "screening": 10 * 11,
            "patients": 2 * 13,
            "visits": 6 * 17,
            "doses": (14 + 3 * 4) * 19,
            "coordination": 10 * 23,
            "sites": (11 + 8) * 29,
            "looks": 2 * 31,
        }
    )
