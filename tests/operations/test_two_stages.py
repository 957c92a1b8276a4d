"""Simon's two stages of a single arm, in a trial run on paper: they stop it as they do exactly."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from scipy.stats import binom

from conftest import ROOT
from stopped_trials import single_arm_shares
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.errors import ProtocolError
from trialsim.operations.conducted import Known, Verdict
from trialsim.operations.event_log import MILESTONES, What
from trialsim.protocol.reading.load import load_template
from trialsim.report.screens.forecast_screen import forecast_screen
from trialsim.streams import Streams
from trialsim.studies.operations.forecast import plan_forecast
from trialsim.trial import Measure

TEMPLATE = ROOT / "tests" / "protocols" / "valid" / "single-arm.yaml"
N = 150


def planned(*settings, scenario="no-effect"):
    return plan_forecast(load_template(str(TEMPLATE), settings=settings), scenario)


def conducted(plan, seed=11, logged=0, n=N):
    return conduct_trials(
        plan.plan, n_runs=n, seed=seed, outcomes=plan.outcomes, rules=plan.rules, logged=logged
    )


@pytest.fixture(scope="module")
def trials():
    return conducted(planned(), logged=N)


def test_analytic_each_stage_ends_as_many_trials_as_binomials_say(trials):
    assert all(trial.full for trial in trials)
    exact = single_arm_shares(planned(), trials)
    assert exact["futility"].exact == pytest.approx(
        binom.cdf(3, 13, planned().truth.treated_risk), abs=1e-12
    )
    for share in exact.values():
        assert 0.02 < share.exact < 0.98
        assert abs(share.seen - share.exact) < 4 * share.error
    wrong = single_arm_shares(planned(scenario="hoped-for"), trials)["futility"]
    assert abs(wrong.seen - wrong.exact) > 4 * wrong.error  # it can fail


def test_analytic_who_is_not_read_out_counts_as_without_the_good_outcome():
    missing = planned("nature.operations={visits_missed: 0.3}")
    seen = conducted(missing)
    risk = 0.7 * missing.truth.treated_risk
    exact = binom.cdf(3, 13, risk)
    stopped = np.mean([trial.stopped_early for trial in seen])
    assert abs(stopped - exact) < 4 * sqrt(exact * (1 - exact) / N)
    assert abs(stopped - binom.cdf(3, 13, missing.truth.treated_risk)) > 4 * sqrt(0.25 / N)
    last = [t.looks[-1].judgement for t in seen if not t.stopped_early]
    assert {judgement.analysed for judgement in last} == {43}
    (said,) = (each for each in missing.stated if each.what == "who is not read out")
    assert not said.source


def test_property_stage_one_is_judged_when_its_patients_are_read_out(trials):
    for trial in trials:
        first, last = trial.looks[0], trial.looks[-1]
        assert first.judgement.analysed == 13
        assert first.day == pytest.approx(trial.enrolled[12] + 84)
        assert trial.stopped_early is (first.judgement.verdict is Verdict.FUTILITY)
        assert trial.stopped_early is (first.judgement.good <= 3)
        assert len(trial.looks) == (1 if trial.stopped_early else 2)
        told = {e.what: e for e in trial.log if e.what in (What.LOOK, What.DECISION)}
        assert told[What.DECISION].detail == f"look {len(trial.looks)}: {last.judgement}"
        if trial.stopped_early:
            assert trial.enrolled[-1] <= first.decided
            assert len(trial.enrolled) >= 13
        else:
            assert len(trial.enrolled) == last.judgement.analysed == 43
            found = last.judgement.good > 12
            assert last.judgement.verdict is (Verdict.EFFICACY if found else Verdict.END)
    assert {len(trial.enrolled) for trial in trials} > {43}  # recruitment goes on meanwhile


def test_property_the_log_has_the_milestones_that_a_trial_reaches(trials):
    for trial in trials:
        n, days = len(trial.enrolled), [entry.day for entry in trial.log]
        assert days == sorted(days)
        told = {e.what: e.day for e in trial.log if e.what in MILESTONES}
        assert sum(e.what in MILESTONES for e in trial.log) == len(told)
        nth = dict(zip(MILESTONES[1:6], (1, 11, 22, 33, 43), strict=True))
        expected = {what: trial.enrolled[i - 1] for what, i in nth.items() if i <= n}
        expected |= {What.FIRST_SITE_OPEN: min(trial.openings)}
        expected |= {What.LAST_VISIT: trial.last_visit, What.LOCKED: trial.locked}
        assert told == expected


def test_regression_stage_one_waits_for_the_first_patients_not_for_as_many():
    """A later patient's data come first where data entry takes its own time."""
    slow = planned(
        "nature.operations={data_entry: {mean: 60 d, cv: 2}, recruitment: {per_site_month: 9}}"
    )
    looks = []
    for trial in conducted(slow, seed=3, n=10):
        looks.append(trial.looks[0])
        assert looks[-1].day >= trial.enrolled[12] + 84
        assert looks[-1].settled >= looks[-1].judgement.analysed == 13
    assert any(look.settled > 13 for look in looks)


def test_regression_good_outcomes_are_those_without_the_event_where_lower_is_better():
    lower = planned(
        "protocol.endpoints.response.better=lower",
        "protocol.arms.earlier-patients.historical={response: {risk: 0.4}}",
    )
    judge = lower.rules.judge_of(43, Streams(1), 0)
    n, seen = 43, np.ones(43, dtype=bool)
    nobody = Known(0, 1.0, np.zeros(n), seen, ~seen, np.full(n, inf), np.zeros(n), np.ones(n))
    assert judge(nobody).good == 0
    assert judge(nobody).verdict is Verdict.FUTILITY
    luck, _ = lower.rules.days.luck_of(n, Streams(1), 0)
    happened = -np.expm1(-luck[:13]) <= lower.truth.treated_risk
    everybody = Known(0, 1.0, np.zeros(n), seen, seen, np.full(n, inf), np.zeros(n), np.ones(n))
    assert judge(everybody).good == (~happened).sum()


def test_property_recruitment_pauses_between_stages_where_the_file_says_so(trials):
    pauses = planned("protocol.operations={board: {between_stages: pauses, deliberates: 10 d}}")
    assert any(str(s) == "recruitment pauses while stage 1 is read out" for s in pauses.stated)
    waited = conducted(pauses, n=40)
    for at_once, trial in zip(trials, waited, strict=False):
        first = trial.looks[0]
        assert trial.enrolled[:13].tolist() == at_once.enrolled[:13].tolist()  # the same patients
        assert first.randomised == 13
        assert first.judgement == at_once.looks[0].judgement
        assert len(trial.enrolled) == (13 if trial.stopped_early else 43)
        assert trial.stopped_early or trial.enrolled[13] >= first.decided == first.day + 10
    assert {trial.stopped_early for trial in waited} == {True, False}
    with pytest.raises(ProtocolError, match="is for two stages of a single arm"):
        load_template("sepsis", settings=["protocol.operations.board={between_stages: pauses}"])


def test_property_the_screen_says_how_stages_end_and_what_is_assumed():
    found = (plan := planned()).forecast(runs=20, seed=11)
    told = " ".join(forecast_screen(plan, found.result, 11).split())
    assert "look 1: futility (at most 3 of 13)" in told
    assert "efficacy (more than 12 of 43)" in told
    assert "recruitment goes on while stage 1 is read out" in told
    early = [r for r in found.result.rows if r.measure is Measure.STOP_PROBABILITY and r.look == 1]
    assert [row.analysis for row in early] == ["efficacy", "futility"]
    assert all(row.mcse is not None and row.n_replicates == 20 for row in early)
    stopped = [t for t in found.trials if t["stopped early"]]
    assert early[1].value == len(stopped) / 20
    assert all(t["good outcomes at the last look"] <= 3 for t in stopped)
    one = planned("protocol.two_stage=null")
    assert one.rules is None
