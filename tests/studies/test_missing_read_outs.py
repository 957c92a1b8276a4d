"""Ways to deal with missing read-outs: against exact probabilities, and one another."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from test_followup import Words, planned

from trialsim.analyse.missing import _completed, analyse_read_outs, arm_shares
from trialsim.engine.blocks import draw_patients
from trialsim.errors import RequestError
from trialsim.generate.response import ResponseBatch
from trialsim.protocol.endpoints import Counted
from trialsim.protocol.missing import MissingReadOut, missing_from_words
from trialsim.report.screens.followup_screen import followup_screen
from trialsim.streams import Streams
from trialsim.studies.horizons.missing_read_outs import risks_without_loss, with_missing_read_outs
from trialsim.trial import Measure

HEPATITIS = "chronic-hepatitis-b"
AT = Words("0 mo,6 mo,12 mo", "end-of-therapy")


def drawn(plan, block, scenario=0, seed=1):
    batches = draw_patients(plan.jobs[0], seed, block, frozenset())[1][scenario]
    return next(iter(batches.values()))


def asked(plan, handling, horizon=-1):
    return replace(plan.jobs[0].plans[horizon], missing=handling)


def shares(plan, handling, blocks, horizon=-1, batches=None):
    """Return response as analysed, mean and MCSE, per arm; trials are independent."""
    found = []
    for block in range(blocks):
        batch = batches[block] if batches else drawn(plan, block)
        found.append(arm_shares(batch, asked(plan, handling, horizon), Streams(1), block).response)
    values = np.concatenate(found, axis=1)
    return values.mean(axis=1), values.std(axis=1, ddof=1) / sqrt(values.shape[1])


def test_property_where_nothing_is_missing_every_handling_decides_alike():
    plan = planned(HEPATITIS, AT, scenarios=["chien-1998"])
    result = with_missing_read_outs(plan, plan.result(replicates=500), tuple(MissingReadOut))
    rows = result.figure_data["missing"]
    for horizon in plan.horizons:
        here = [r for r in rows if r.horizon == str(horizon.time.after)]
        assert len({r.value for r in here if r.measure is Measure.POWER}) == 1
        for row in here:
            if row.measure is Measure.POWER_DIFFERENCE:
                assert (row.value, row.mcse) == (0.0, 0.0)
            if row.measure is Measure.MISSING:
                assert row.value == 0.0
    batch = drawn(plan, 0)
    each = [analyse_read_outs(batch, asked(plan, own), Streams(1), 0) for own in MissingReadOut]
    for other in each[1:]:
        assert np.array_equal(each[0].p_value, other.p_value)


def test_analytic_without_death_missed_and_lost_at_random_leave_complete_cases_unbiased():
    settings = [
        "protocol.sample_size={total: 200}",
        "nature.response={relapse_per_year: 0.5, loss_per_year: 0.3, missed_visits: 0.2}",
    ]
    plan = planned(HEPATITIS, AT, settings, ["chien-1998"])
    exact = risks_without_loss(plan.truths[-1][0], plan.horizons[-1].day)
    for handling in (MissingReadOut.COMPLETE_CASE, MissingReadOut.MULTIPLE_IMPUTATION):
        mean, error = shares(plan, handling, 4 if handling == "complete-case" else 2)
        assert np.abs(mean - exact).max() < 4 * error.max(), handling
    mean, error = shares(plan, MissingReadOut.FAILURE, 4)
    kept = 0.8 * np.exp(-0.3 / 365.25 * plan.horizons[-1].day)
    assert np.abs(mean - kept * np.array(exact)).max() < 4 * error.max()


def test_analytic_last_observation_in_a_relapsing_course_is_biased_upward_by_the_exact_amount():
    """Of all patients: the state at each visit, times the chance that it is the last attended."""
    settings = [
        "protocol.sample_size={total: 200}",
        "protocol.visits=[{at: 6 mo}, {at: 12 mo}, {at: 18 mo}, {at: 24 mo}]",
        "protocol.endpoints.response-12mo-after.at=24 mo",
        "protocol.endpoints.response-end-of-therapy.at=6 mo",
        "nature.response={relapse_per_year: 1, loss_per_year: 0.4, missed_visits: 0.3}",
        "scenarios.chien-1998.response={control: [{until: 6 mo, hazard_per_year: 1.5}, "
        "{until: 24 mo, hazard_per_year: 0}]}",
        "observed=[]",
    ]
    plan = planned(HEPATITIS, Words("24 mo", "entry"), settings, ["chien-1998"])
    (truth,) = plan.truths[0]
    days = [day for day, _ in plan.jobs[0].protocol.visit_days]
    seen = [risks_without_loss(truth, day)[0] for day in days]
    followed = [np.exp(-0.4 / 365.25 * day) for day in days]
    # P(last attended is v) = P(followed at v, attended) P(not seen at any later visit | that)
    exact = 0.7 * followed[3] * seen[3]
    later_unseen = 1.0  # at visits after v, given followed at v
    for v in (2, 1, 0):
        staying = followed[v + 1] / followed[v]
        later_unseen = 1 - staying + staying * 0.3 * later_unseen
        exact += 0.7 * followed[v] * seen[v] * later_unseen
    assert exact > 1.2 * seen[3]  # upward
    mean, error = shares(plan, MissingReadOut.LAST_OBSERVATION, 6)
    assert np.abs(mean - exact).max() < 4 * error.max()
    complete, error = shares(plan, MissingReadOut.COMPLETE_CASE, 6)
    assert np.abs(complete - seen[3]).max() < 4 * error.max()


def lost_by_what_was_seen(batch, rates, seed):
    """Return the batch with patients lost just before a visit, by response at the last one."""
    rng = np.random.default_rng(seed)
    leaving = np.full(batch.assigned.shape, np.inf)
    last = np.zeros(batch.assigned.shape, dtype=bool)
    for day in batch.visits:
        goes = rng.random(batch.assigned.shape) < np.where(last, rates[1], rates[0])
        leaving = np.where(goes & np.isinf(leaving), day - 1e-6, leaving)
        last = batch.in_response(day)
    return replace(batch, leaving=leaving, died=np.zeros_like(batch.died))


@pytest.mark.parametrize("rates", [(0.02, 0.3), (0.25, 0.02)])
def test_analytic_imputation_is_unbiased_where_loss_depends_on_what_was_last_seen(rates):
    settings = [
        "protocol.sample_size={total: 300}",
        "nature.response={relapse_per_year: 0.8}",
        "scenarios.chien-1998.response={control: [{until: 24 mo, hazard_per_year: 0.8}], "
        "treated: [{until: 24 mo, hazard_per_year: 1.6}]}",
        "observed=[]",
    ]
    plan = planned(HEPATITIS, AT, settings, ["chien-1998"])
    exact = np.array(risks_without_loss(plan.truths[-1][0], plan.horizons[-1].day))
    batches = [lost_by_what_was_seen(drawn(plan, b), rates, b) for b in range(2)]
    imputed, error = shares(plan, MissingReadOut.MULTIPLE_IMPUTATION, 2, batches=batches)
    assert np.abs(imputed - exact).max() < 4 * error.max()
    complete, error = shares(plan, MissingReadOut.COMPLETE_CASE, 2, batches=batches)
    assert (np.sign(complete - exact) == np.sign(rates[0] - rates[1])).all()
    assert np.abs(complete - exact).min() > 10 * error.max()


def test_property_no_analysis_sees_what_no_visit_saw():
    settings = ["nature.response={relapse_per_year: 0.3, loss_per_year: 0.2, missed_visits: 0.3}"]
    plan = planned(HEPATITIS, AT, settings, ["chien-1998"])
    batch = drawn(plan, 0)
    hidden = scrambled(batch)
    assert not np.array_equal(hidden.response, batch.response)
    for handling in MissingReadOut:
        for horizon in range(3):
            own = asked(plan, handling, horizon)
            one, other = (analyse_read_outs(b, own, Streams(1), 0) for b in (batch, hidden))
            assert one.same_as(other), handling


def scrambled(batch: ResponseBatch) -> ResponseBatch:
    """Return the batch with other courses after loss: what they were, a year later."""
    lost = (batch.leaving < batch.response) & ~batch.died
    response = np.where(lost, batch.response + 365.0, batch.response)
    relapse = np.where(lost, np.inf, batch.relapse)
    relapse = np.where((batch.leaving < batch.relapse) & ~batch.died, np.inf, relapse)
    return replace(batch, response=response, relapse=relapse)


def test_property_who_died_is_without_response_whatever_is_done():
    settings = ["nature.response={relapse_per_year: 0, death_per_year: 0.3}"]
    plan = planned(HEPATITIS, AT, settings, ["no-effect"])
    batch = drawn(plan, 0)
    each = [arm_shares(batch, asked(plan, own), Streams(1), 0) for own in MissingReadOut]
    for own in each:
        assert (own.missing == 0).all()
        assert own.response == pytest.approx(each[0].response)


def test_property_imputations_are_of_the_same_data_whatever_horizon_is_asked():
    settings = ["nature.response={loss_per_year: 0.3}"]
    plan = planned(HEPATITIS, AT, settings, ["chien-1998"])
    batch = drawn(plan, 0)
    counts = _completed(batch, Counted.AT_HORIZON, Streams(1), 0)
    assert counts.shape == (20, len(batch.visits), 2, 256)
    responding = batch.in_response(batch.visits[-1]) & (batch.visits[-1] < batch.leaving)
    seen = (responding & batch.attended[-1] & batch.assigned).sum(axis=0)
    assert (counts[:, -1, 1] >= seen).all()
    assert (counts[:, -1, 1].std(axis=0) > 0).mean() > 0.5


def test_regression_rows_say_how_many_trials_they_rest_on():
    settings = ["nature.response={loss_per_year: 0.3}"]
    plan = planned(HEPATITIS, Words("12 mo", "end-of-therapy"), settings, ["no-effect"])
    result = with_missing_read_outs(plan, plan.result(replicates=1000), tuple(MissingReadOut))
    power = {r.missing: r for r in result.rows if r.measure is Measure.POWER and r.missing}
    assert power["failure"].n_replicates == 1000
    assert power["multiple-imputation"].n_replicates == 500
    assert {r.missing for r in result.rows if r.measure is Measure.TYPE_I_ERROR} == {
        None,
        *(own.value for own in MissingReadOut),
    }
    own = next(r for r in result.rows if r.measure is Measure.POWER and r.missing is None)
    assert own.value == power["failure"].value  # the plan's own analysis


def test_regression_words_and_endpoints_that_do_not_fit_are_refused():
    assert missing_from_words("all") == tuple(MissingReadOut)
    assert missing_from_words("complete case") == (
        MissingReadOut.FAILURE,
        MissingReadOut.COMPLETE_CASE,
    )
    with pytest.raises(RequestError, match="no way to deal"):
        missing_from_words("complet-case")
    plan = planned("sepsis", Words("28 d", "entry"), scenarios=["no-effect"])
    with pytest.raises(RequestError, match="response at a visit"):
        with_missing_read_outs(plan, plan.result(replicates=100), (MissingReadOut.FAILURE,))


def test_property_screen_shows_every_handling_at_every_horizon_under_the_truth_it_missed():
    settings = ["nature.response={loss_per_year: 0.2, missed_visits: 0.1}"]
    plan = planned(HEPATITIS, AT, settings, ["chien-1998"])
    result = with_missing_read_outs(plan, plan.result(replicates=300), tuple(MissingReadOut))
    shown = followup_screen(plan, result, 1, "trialsim")
    block = shown.partition("How missing read-outs are dealt with")[2]
    names = ("- failure", "- left out", "- last seen", "- imputed")
    assert all(block.count(f"\n{name}") == 3 for name in names)
    control, treated = risks_without_loss(plan.truths[-1][0], plan.horizons[-1].day)
    assert f"12 mo: true              {1000 * control:.0f} -> {1000 * treated:.0f}" in block
    assert max(map(len, shown.splitlines())) <= 80


def test_property_loss_in_one_arm_makes_no_effect_but_errors_that_are_counted_as_such():
    settings = [
        "nature.response={loss_per_year: 0.05, loss_hazard_ratios: {treated: 8}}",
        "protocol.sample_size={total: 1000}",
    ]
    plan = planned(HEPATITIS, AT, settings, ["no-effect"])
    result = with_missing_read_outs(plan, plan.result(replicates=300), tuple(MissingReadOut)[:2])
    (truth,) = plan.truths[-1]
    assert truth.is_null
    control, treated = plan.risks(2, 0)
    assert control > 1.5 * treated  # as seen
    assert plan.design(2, plan._effect(2, 0), 0.8).per_arm is None
    last = [r for r in result.rows if r.horizon == "12 mo"]
    wrong = next(r for r in last if r.measure is Measure.WRONG_VERDICT)
    level = {r.missing: r.value for r in last if r.measure is Measure.TYPE_I_ERROR}
    assert wrong.value == level[None] == level["failure"]
    assert level["failure"] > 0.3
    assert level["complete-case"] < 0.05 + 4 * sqrt(0.05 * 0.95 / 300)


def test_regression_horizons_of_two_clocks_are_told_apart():
    plan = planned(HEPATITIS, Words(), ["nature.response.loss_per_year=0.2"], ["no-effect"])
    result = with_missing_read_outs(plan, plan.result(replicates=100), (MissingReadOut.FAILURE,))
    block = followup_screen(plan, result, 1, "trialsim").partition("How missing read-outs")[2]
    titles = [line.partition(": true")[0] for line in block.splitlines() if ": true " in line]
    assert len(titles) == len(set(titles)) == len(plan.horizons)
