"""Several analyses of one delayed effect: against closed forms, oracles and one another."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from lifelines.statistics import logrank_test
from test_followup import Words, planned

from trialsim.analyse.time_to_response import analyse_times, intervals_seen, times_seen
from trialsim.engine.blocks import draw_patients
from trialsim.errors import RequestError
from trialsim.protocol.truths.horizons import times_from_words
from trialsim.report.screens.followup_screen import followup_screen
from trialsim.studies.horizons.delayed_effect import analyses_at, short_name, with_analyses
from trialsim.trial import Measure

HEPATITIS = "chronic-hepatitis-b"


def found(plan, lags="", replicates=2_000):
    times = times_from_words(lags, "entry", plan.resolved.template.protocol) if lags else ()
    result = with_analyses(plan, plan.result(replicates=replicates), lags=times)
    return {
        (row.scenario, row.lag, short_name(row.analysis), row.horizon): row
        for row in result.figure_data["analyses"]
    }


def one_block(plan, scenario=1):
    return draw_patients(plan.jobs[0], 1, 0, frozenset())[1][scenario]


def test_reference_log_rank_of_the_times_seen_agrees_with_lifelines():
    plan = planned(
        HEPATITIS,
        Words("6 mo,12 mo", "end-of-therapy"),
        [
            "nature.response.loss_per_year=0.2",
            "nature.response.missed_visits=0.2",
        ],
        ["no-effect"],
    )
    own = plan.jobs[0].plans[-1]
    batch = one_block(plan, 0)[own.endpoint]
    log_rank = analyses_at(own)[1]
    results = analyse_times(batch, log_rank)
    time, event = times_seen(batch, own.visit, own.day)
    for k in range(5):
        who = batch.assigned[:, k]
        oracle = logrank_test(time[who, k], time[~who, k], event[who, k], event[~who, k])
        assert results.p_value[k, 0] == pytest.approx(oracle.p_value, abs=1e-8)


def test_property_a_time_lies_between_the_visits_that_frame_it():
    settings = ["nature.response={loss_per_year: 0.2, missed_visits: 0.3, relapse_per_year: 0.5}"]
    plan = planned(HEPATITIS, Words("6 mo,12 mo", "end-of-therapy"), settings)
    own = plan.jobs[0].plans[-1]
    batch = one_block(plan)[own.endpoint]
    last, first = intervals_seen(batch, own.visit)
    time, event = times_seen(batch, own.visit, own.day)
    assert ((first > 0) == event).all()
    assert (last[event] < first[event]).all()
    days = np.concatenate([np.zeros((1, *time.shape)), batch.visits])
    days[own.visit + 1] = own.day
    until = np.take_along_axis(days, np.where(event, first, last)[None], axis=0)[0]
    assert until == pytest.approx(time)
    response = np.where(batch.assigned, batch.response[1], batch.response[0])
    since = np.take_along_axis(batch.visits, np.maximum(last - 1, 0)[None], axis=0)[0]
    still = event & (last > 0) & (response > since)  # not one that came and went unseen
    assert still[event & (last > 0)].mean() > 0.8
    assert (first[event] - last[event] > 1).any()


def test_property_both_log_rank_tests_are_shown_of_the_same_trials():
    settings = ["nature.response={loss_per_year: 0.2, missed_visits: 0.3}"]
    words = Words("6 mo,12 mo", "end-of-therapy")
    plan = planned(HEPATITIS, words, settings, ["chien-1998"])
    result = with_analyses(plan, plan.result(replicates=1_000))
    rows = {(short_name(row.analysis), row.horizon): row for row in result.figure_data["analyses"]}
    for horizon in ("6 mo", "12 mo"):
        one, other = rows["interval-censored log-rank", horizon], rows["log-rank", horizon]
        assert (one.n_replicates, other.n_replicates) == (500, 1_000)
        (apart,) = [
            row
            for row in result.rows
            if row.measure is Measure.POWER_DIFFERENCE
            and row.horizon == horizon
            and "interval" in (row.analysis or "")
        ]
        assert apart.n_replicates == 500
        assert abs(apart.value) < 0.1
        assert 0 < apart.mcse < one.mcse  # paired
    shown = followup_screen(plan, result, 1, "trialsim")
    assert "\ninterval-censored log-rank " in shown
    assert "\n  less log-rank " in shown


def test_analytic_times_are_those_of_the_first_visit_that_saw_response():
    plan = planned(HEPATITIS, Words("6 mo,12 mo", "end-of-therapy"))
    own = plan.jobs[0].plans[-1]
    batch = one_block(plan)[own.endpoint]
    time, event = times_seen(batch, own.visit, own.day)
    response = np.where(batch.assigned, batch.response[1], batch.response[0])
    assert (event == (response <= batch.visits[own.visit])).all()  # none relapses or leaves
    visits = batch.visits[: own.visit + 1]
    following = np.where(visits >= response, visits, np.inf).min(axis=0)
    assert time[event] == pytest.approx(following[event])
    assert (time[~event] == own.day).all()


def test_analytic_without_censoring_survival_at_the_horizon_is_the_difference_of_two_shares():
    plan = planned(HEPATITIS, Words("6 mo,12 mo", "end-of-therapy"))
    own = plan.jobs[0].plans[-1]
    batch = one_block(plan)[own.endpoint]
    milestone = next(p for p in analyses_at(own) if short_name(p.in_words) == "survival")
    results = analyse_times(batch, milestone)
    _, event = times_seen(batch, own.visit, own.day)
    shares = [
        (event & who).sum(axis=0) / who.sum(axis=0) for who in (batch.assigned, ~batch.assigned)
    ]
    sizes = [who.sum(axis=0) for who in (batch.assigned, ~batch.assigned)]
    error = np.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, sizes, strict=True)))
    assert results.estimate[:, 0] == pytest.approx(shares[1] - shares[0])
    assert results.standard_error[:, 0] == pytest.approx(error)


def test_analytic_type_i_error_of_every_analysis_is_nominal_in_a_large_trial():
    """MaxCombo's two-sided test is conservative (the smaller P value doubled)."""
    settings = ["protocol.sample_size={total: 1000}"]
    plan = planned(HEPATITIS, Words("6 mo,12 mo", "end-of-therapy"), settings, ["no-effect"])
    for (_, _, test, horizon), row in found(plan).items():
        slack = 4 * sqrt(0.05 * 0.95 / row.n_replicates)
        assert row.value <= 0.05 + slack, (test, horizon)
        if test != "MaxCombo":
            assert row.value >= 0.05 - slack, (test, horizon)


def test_property_a_later_start_changes_nothing_at_the_reference_and_much_before():
    plan = planned(HEPATITIS, Words("6 mo,12 mo", "end-of-therapy"), scenarios=["chien-1998"])
    cells = found(plan, "0 mo,6 mo,9 mo")
    at = {
        lag: [cells["chien-1998", lag, "chi-square", h].value for h in ("6 mo", "12 mo")]
        for lag in ("0 mo", "6 mo", "9 mo")
    }
    assert at["0 mo"][1] == at["6 mo"][1] == at["9 mo"][1]  # the same patients have responded
    assert at["0 mo"][0] > at["6 mo"][0] > at["9 mo"][0]
    late = [
        cells["chien-1998", "9 mo", test, "12 mo"].value
        for test in ("log-rank, FH(0, 1)", "restricted mean")
    ]
    assert late[0] > at["9 mo"][1] > late[1]


def test_analytic_a_risk_read_as_times_keeps_its_risks_whenever_its_effect_starts():
    from trialsim.studies.horizons.delayed_effect import _jobs

    plan = planned("sepsis", Words("28 d,90 d", "entry"), scenarios=["or-082"])
    (lag,) = times_from_words("3 d", "entry", plan.resolved.template.protocol)
    for start in (None, lag):
        for _, job in _jobs(plan, start):
            (truth,) = job.truths
            assert truth.lifetimes.risks(28) == pytest.approx(plan.risks(0, 0), abs=1e-12)
            control, treated = truth.lifetimes.risks(3)
            assert (treated == control) is (start is not None)


def test_regression_a_start_after_the_reference_is_refused():
    plan = planned(HEPATITIS, Words("12 mo", "end-of-therapy"), scenarios=["chien-1998"])
    with pytest.raises(RequestError, match="cannot start as late"):
        found(plan, "18 mo")
    plan = planned("sepsis", Words("28 d", "entry"), scenarios=["or-041"])
    with pytest.raises(RequestError, match="cannot start as late"):
        found(plan, "27 d")


def test_property_other_horizons_do_not_change_what_a_late_start_does_to_one():
    from trialsim.studies.horizons.delayed_effect import _jobs

    found = []
    for at in ("90 d", "28 d,60 d,90 d"):
        plan = planned("sepsis", Words(at, "entry", "90 d"), scenarios=["or-082"])
        (lag,) = times_from_words("28 d", "entry", plan.resolved.template.protocol)
        truth = list(_jobs(plan, lag))[-1][1].truths[0]
        found.append([risk for day in (14, 28, 60, 90) for risk in truth.lifetimes.risks(day)])
    assert found[0] == pytest.approx(found[1], abs=1e-12)
    assert found[0][2] == pytest.approx(0.241)  # by 28 days, where the control risk is stated


def test_regression_complete_separation_is_counted_as_failed_and_not_as_no_difference():
    plan = planned(HEPATITIS, Words("6 mo,12 mo", "end-of-therapy"))
    own = plan.jobs[0].plans[-1]
    batch = one_block(plan)[own.endpoint]
    apart = np.stack([np.full(batch.assigned.shape, np.inf), np.full(batch.assigned.shape, 100.0)])
    never = np.full(apart.shape, np.inf)
    separated = replace(batch, response=apart, relapse=never)
    for analysis in analyses_at(own)[1:]:
        results = analyse_times(separated, analysis)
        name = short_name(analysis.in_words)
        if name in ("survival", "restricted mean"):
            assert results.failed.all()
        elif name == "log-rank":  # late weights are 0 while nobody has had the event
            assert results.rejected.all()
