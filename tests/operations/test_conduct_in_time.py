"""One trial's conduct, event by event: closed forms, balances, and luck that knows no order."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest

from operations.log_reader import TrialToldAgain, counted
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.errors import DesignError, ProtocolError
from trialsim.operations.conducted import Outcomes
from trialsim.operations.event_log import What
from trialsim.operations.plan import ConductPlan, LookPlan, plan_conduct
from trialsim.operations.simulation import TrialInTime, conduct_trial
from trialsim.protocol.reading.load import load_template
from trialsim.streams import Streams

SUPPLY = (
    "protocol.operations={sites: {planned: 6, invited_over: 4 mo}, supply: {doses_per_kit: 5, "
    "kits_at_opening: 3, reorder_at: 2, order_up_to: 5, kits_at_start: 40, depots: 2, "
    "produced: {every: 2 mo, kits: 25}, expires: 5 mo, without_kit: WITHOUT}}"
)
HAPPENS = (
    "nature.operations={activation: {takes: {mean: 2 mo, cv: 0.5}, failing: FAILING}, recruitment: "
    "{per_site_month: 2, shape: 1.5, ramp_up: 3 mo, pauses: [{after: 5 mo, until: 6 mo}]}, "
    "screening: {takes: {mean: 4 d}, withdrawn: 0.1}, adherence: {missed: 0.1, stopped: {share: "
    "0.1, by: 7 d}, discharged: {mean: 15 d}}, withdrawal: {share: 0.1, by: 28 d}, data_entry: "
    "{mean: 10 d}, shipping: {takes: {mean: 8 d, cv: 0.7}, damaged: 0.1}, visits_missed: 0.1}"
)


def plan_of(
    *settings: str, total: int = 60, without: str = "skip", failing: str = "0"
) -> ConductPlan:
    every = [s.replace("WITHOUT", without).replace("FAILING", failing) for s in settings]
    every += [f"protocol.sample_size={{total: {total}}}", "nature.screening_failures=0.25"]
    return plan_conduct(load_template("sepsis", settings=every).template)


def simple_plan(total: int, sites: int, rate: float, shape: str = "") -> ConductPlan:
    recruitment = f"{{per_site_month: {rate}{shape}}}"
    settings = [
        f"protocol.sample_size={{total: {total}}}",
        f"protocol.operations={{sites: {{planned: {sites}}}}}",
        f"nature.operations={{recruitment: {recruitment}}}",
    ]
    return plan_conduct(load_template("sepsis", settings=settings).template)


def test_analytic_one_site_at_a_constant_rate_fills_as_a_poisson_process():
    n, runs = 30, 300
    plan = simple_plan(n, 1, 3.0)
    trials = [conduct_trial(plan, Streams(11), run) for run in range(runs)]
    last = np.array([trial.enrolled[-1] for trial in trials])
    mean, variance = n / plan.sites.per_day, n / plan.sites.per_day**2
    assert abs(last.mean() - mean) < 4 * sqrt(variance / runs)
    fourth = 3 * n * (n + 2) / plan.sites.per_day**4  # central moment of a gamma distribution
    assert abs(last.var(ddof=1) - variance) < 4 * sqrt((fourth - variance**2) / runs)


def test_analytic_counts_of_sites_have_poisson_gamma_mean_and_variance():
    shape, days, n_sites = 1.5, 150.0, 600
    plan = simple_plan(50_000, n_sites, 0.92, f", shape: {shape}")
    trial = TrialInTime(plan, Streams(5), 0, keep_log=True)
    trial.environment.run(until=days)
    sites = [e.site - 1 for e in trial.log if e.what is What.RANDOMISED]
    counts = np.bincount(sites, minlength=n_sites)
    mean = plan.sites.per_day * days
    variance = mean + mean**2 / shape
    assert abs(counts.mean() - mean) < 4 * sqrt(variance / n_sites)
    error = sqrt(((counts - counts.mean()) ** 2).var() / n_sites)
    assert abs(counts.var(ddof=1) - variance) < 4 * error


def test_analytic_ramp_up_and_pauses_thin_the_arrivals():
    recruitment = "{per_site_month: 20, ramp_up: 100 d, pauses: [{after: 150 d, until: 180 d}]}"
    settings = [
        "protocol.sample_size={total: 20000}",
        "protocol.operations={sites: {planned: 40}}",
        f"nature.operations={{recruitment: {recruitment}}}",
    ]
    plan = plan_conduct(load_template("sepsis", settings=settings).template)
    trial = TrialInTime(plan, Streams(3), 0, keep_log=True)
    trial.environment.run(until=250)
    days = np.array([e.day for e in trial.log if e.what is What.RANDOMISED])
    expected = 40 * plan.sites.per_day * (50 + 50 + 70)  # half of the ramp, and both sides
    assert plan.sites.expected_enrolled(250) == pytest.approx(expected)
    assert abs(len(days) - expected) < 4 * sqrt(expected)
    assert not ((days >= 150) & (days < 180)).any()


@pytest.mark.parametrize("without", ["skip", "delay"])
def test_property_patients_and_kits_balance_at_every_moment(without):
    plan = plan_of(SUPPLY, HAPPENS, without=without, failing="0.09")
    trial = TrialInTime(plan, Streams(2), 0, keep_log=True)
    steps = 0
    while trial.environment.peek() < inf and not trial.over:
        trial.environment.step()
        steps += 1
        gone = trial.failed + trial.withdrawn + trial.n_randomised
        assert trial.screened == gone + trial.in_screening
        assert trial.pharmacy
        assert trial.pharmacy.ledger.balanced
        assert trial.pharmacy.balances()
    assert steps > 500
    told = TrialToldAgain()
    for entry in trial.log:
        told.tell(entry)
    seen = told.seen
    ledger = trial.pharmacy.ledger
    assert sum(told.at_sites.values()) == ledger.at_sites
    assert sum(told.in_transit.values()) == ledger.in_transit
    assert min(seen[What.KITS_EXPIRED], seen[What.KITS_DAMAGED], seen[What.DOSE_WITHOUT_KIT]) > 0
    assert (without == "delay") == (seen[What.DOSE_LATE] > 0)
    assert ledger.expired == seen[What.KITS_EXPIRED]


def test_property_a_log_counted_again_gives_the_trial():
    looks = (LookPlan(settled=20), LookPlan(enrolled=45), LookPlan(settled=60))
    plan = replace(plan_of(SUPPLY, HAPPENS), looks=looks)
    deaths = [2.0 if i % 5 == 0 else inf for i in range(60)]
    trial = conduct_trial(plan, Streams(4), 1, Outcomes((deaths, deaths), True), keep_log=True)
    seen = counted(trial.log)
    arms = trial.arms
    assert seen[What.SCREENED] == trial.screened
    assert seen[What.RANDOMISED] == len(trial.enrolled) == 60 == sum(a.randomised for a in arms)
    assert seen[What.SCREENING_FAILED] == trial.screening_failed
    assert seen[What.DIED] == sum(a.died for a in arms) > 0
    assert seen[What.LEFT] == sum(a.left for a in arms)
    assert seen[What.FOLLOWED] == sum(a.followed for a in arms)
    assert sum(a.died + a.left + a.followed for a in arms) == 60
    assert sum(a.read_out + a.not_seen + a.left for a in arms) == 60
    given = seen[What.DOSE_GIVEN] + seen[What.DOSE_LATE]
    assert given == sum(a.doses_taken for a in arms)
    for arm in arms:
        assert arm.doses_planned == arm.doses_taken + sum(arm.not_taken.values())
        assert arm.randomised * 14 == arm.doses_planned
    assert trial.exposure.sum() * 14 == pytest.approx(given)
    days = [entry.day for entry in trial.log]
    assert days == sorted(days)
    held = [number for number, entry in enumerate(trial.log) if entry.what is What.LOOK]
    for at, look in zip(held, trial.looks, strict=True):
        by_then = counted(trial.log[:at])
        assert (by_then[What.RANDOMISED], by_then[What.SETTLED]) == (look.randomised, look.settled)
    assert [look.settled for look in trial.looks] == sorted(look.settled for look in trial.looks)


def test_property_luck_belongs_to_sites_and_patients_not_to_the_order_of_events():
    def at_first_site(plan: ConductPlan) -> list[tuple[float, int]]:
        trial = TrialInTime(plan, Streams(9), 0, keep_log=True)
        trial.environment.run(until=300)
        kinds = (What.SCREENED, What.SCREENING_FAILED, What.DOSE_MISSED, What.VISIT, What.LEFT)
        return [(e.day, e.patient, e.what) for e in trial.log if e.site == 1 and e.what in kinds]

    happens = HAPPENS.replace("{mean: 2 mo, cv: 0.5}", "{mean: 0 d}")
    few = plan_of("protocol.operations={sites: {planned: 2}}", happens, total=2000)
    many = plan_of("protocol.operations={sites: {planned: 9}}", happens, total=2000)
    assert len(at_first_site(few)) > 50
    assert at_first_site(few) == at_first_site(many)


def test_property_as_many_trials_as_asked_keep_their_log():
    plan = simple_plan(10, 2, 3.0)
    for logged in (0, 2):
        trials = conduct_trials(plan, n_runs=3, seed=6, logged=logged)
        assert [bool(trial.log) for trial in trials] == [run < logged for run in range(3)]
    trials = conduct_trials(plan, n_runs=2, seed=6)
    assert [bool(trial.log) for trial in trials] == [True, False]


def test_property_any_number_of_workers_gives_the_same_logs():
    plan = plan_of(SUPPLY, HAPPENS, total=20)
    one = conduct_trials(plan, n_runs=7, seed=6, workers=1, logged=7)
    two = conduct_trials(plan, n_runs=7, seed=6, workers=2, logged=7)
    assert [t.log for t in one] == [t.log for t in two]
    assert one[0].log != one[1].log
    first = conduct_trials(plan, n_runs=3, seed=6, logged=1)
    assert [bool(trial.log) for trial in first] == [True, False, False]
    alone = conduct_trial(plan, Streams(6), 5, keep_log=True)
    assert alone.log == one[5].log


def test_property_a_list_keeps_every_stratum_balanced():
    plan = plan_of("protocol.operations={sites: {planned: 3}}", HAPPENS, total=400)
    trial = conduct_trial(plan, Streams(8), 0)
    difference = abs(trial.arms[0].randomised - trial.arms[1].randomised)
    assert difference <= 3 * 2 * 3  # sites, ages, half of the largest block


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "protocol.operations={sites: {planned: 0}}",
            "protocol.operations.sites.planned must be at least 1; got 0",
        ),
        (
            "nature.operations={recruitment: {per_site_month: -1}}",
            "recruitment.per_site_month must be above 0; got -1. Write a number above 0.",
        ),
        (
            SUPPLY.replace("kits_at_start: 40", "kits_at_start: 0")
            .replace("produced: {every: 2 mo, kits: 25}, ", "")
            .replace("WITHOUT", "skip"),
            "protocol.operations.supply has no kit, ever. Raise 'kits_at_start'",
        ),
        (
            SUPPLY.replace("expires: 5 mo", "expires: 5 d").replace("WITHOUT", "skip"),
            "supply.expires is no longer than kits are on their way to a site (5 d)",
        ),
    ],
)
def test_regression_no_site_a_negative_rate_and_empty_stock_are_refused(setting, words):
    with pytest.raises(ProtocolError) as caught:
        load_template("sepsis", settings=[setting])
    assert words in str(caught.value)


def test_regression_a_demand_that_cannot_be_met_states_the_time_it_would_take():
    words = "would take 502 years to enrol 1,106 patients"
    with pytest.raises(DesignError, match=words):
        simple_plan(1106, 1, 0.1836)
    settings = [
        "nature.operations={recruitment: {per_site_month: 0.0001}}",
        "protocol.sample_size={total: 5000}",
    ]
    stated = load_template("chronic-hepatitis-b", settings=settings)  # enrolment stands there too
    with pytest.raises(DesignError, match=r"for ever|[0-9,]+ years"):
        plan_conduct(stated.template)


def test_regression_who_is_in_screening_when_enrolment_closes_neither_fails_nor_withdraws():
    happens = (
        "nature.operations={recruitment: {per_site_month: 9}, screening: {takes: {mean: 60 d}}}"
    )
    plan = plan_of("protocol.operations={sites: {planned: 6}}", happens)
    trial = conduct_trial(plan, Streams(3), 0, keep_log=True)
    assert trial.screening_withdrawn == 0  # nobody withdraws by the file
    assert trial.in_screening > 5
    gone = trial.screening_failed + trial.screening_withdrawn + len(trial.enrolled)
    assert trial.screened == gone + trial.in_screening
    told = TrialToldAgain()
    for entry in trial.log:
        told.tell(entry)
        assert not (told.full and entry.what is What.SCREENING_FAILED)
    assert list(told.patients.values()).count("in screening") == trial.in_screening


def dosed_every_ten_days(supply: str, happens: str = "") -> ConductPlan:
    """One site, doses every ten days for thirty, visits a few days after them."""
    regimen = "{drug: x, dose: 1 mg, every: 10 d, for: 30 d}"
    settings = [
        "protocol.sample_size={total: 20}",
        *(f"protocol.arms.{arm}.regimen={regimen}" for arm in ("thymalfasin", "placebo")),
        "protocol.visits=[{at: 4 d}, {at: 12 d}, {at: 23 d}]",
        f"protocol.operations={{sites: {{planned: 1}}, supply: {{doses_per_kit: 1, {supply}}}}}",
        f"nature.operations={{recruitment: {{per_site_month: 60}}{happens}}}",
    ]
    return plan_conduct(load_template("sepsis", settings=settings).template)


def test_regression_visits_and_events_keep_their_day_while_a_dose_waits_for_a_kit():
    plan = dosed_every_ten_days(
        "kits_at_opening: 0, reorder_at: 0, order_up_to: 1, kits_at_start: 1, without_kit: delay"
    )
    days = [6.0] * 20
    trial = conduct_trial(plan, Streams(1), 0, Outcomes((days, days)), keep_log=True)
    assert trial.stock_outs > 20
    entered = {e.patient: e.day for e in trial.log if e.what is What.RANDOMISED}
    seen = [e for e in trial.log if e.what in (What.VISIT, What.OUTCOME)]
    due = {visit.day for visit in plan.visits} | {6.0}
    found = {round(e.day - entered[e.patient], 6) for e in seen}
    assert found == due
    assert len(seen) == 20 * (len(plan.visits) + 1)


def test_regression_kits_that_expire_on_their_way_reach_no_patient():
    late = ", shipping: {takes: {mean: 9 d, cv: 0}}"
    kits = "kits_at_opening: 0, reorder_at: 5, order_up_to: 20, kits_at_start: 40"
    plan = dosed_every_ten_days(f"{kits}, expires: 9.5 d, without_kit: delay", late)
    shorter = replace(plan, supply=replace(plan.supply, expires_days=8.0))
    for each, gets_some in ((plan, True), (shorter, False)):
        trial = TrialInTime(each, Streams(1), 0, keep_log=True)
        trial.pharmacy.open(0)  # ordered while the kits are fresh
        found = trial.conducted()
        assert (found.ledger.dispensed > 0) is gets_some
        assert found.ledger.balanced
        assert counted(found.log)[What.KITS_EXPIRED] == found.ledger.expired > 0
