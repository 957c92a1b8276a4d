"""Looks of a trial run on paper stop it, as they do in `simulate`, and what follows from that."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stopped_trials import furthest_from_simulate
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.operations.conducted import Judgement, Known, Verdict
from trialsim.operations.event_log import Entry, What
from trialsim.operations.plan import DAYS_PER_MONTH
from trialsim.operations.simulation import conduct_trial
from trialsim.protocol.reading.load import load_template
from trialsim.report.screens.forecast_screen import forecast_screen
from trialsim.streams import Streams
from trialsim.studies.operations.forecast import OVERRUNNING, STOPPED_EARLY, plan_forecast
from trialsim.trial import Measure

LOOKS = (
    "protocol.looks=[{at: {information: 0.3333}, efficacy_z: 2.2, futility_z: 0}, "
    "{at: {information: 0.6666}, efficacy_z: 2.1, futility_z: 0.6}, "
    "{at: {information: 1}, efficacy_z: 2.0}]"
)
ONE_DOSE = "{drug: saline, dose: 1 mg, every: 12 h, for: 12 h}"
SMALL = (
    "protocol.sample_size={total: 60}",
    f"protocol.arms.thymalfasin.regimen={ONE_DOSE}",
    f"protocol.arms.placebo.regimen={ONE_DOSE}",
    "protocol.operations={sites: {planned: 6}, board: {deliberates: DELIBERATES}}",
    "nature.operations={recruitment: {per_site_month: 1}}",
    "nature.control_risk=0.4",
    LOOKS,
)


def small(deliberates="0 d", scenario="or-041"):
    settings = [s.replace("DELIBERATES", deliberates) for s in SMALL]
    return plan_forecast(load_template("sepsis", settings=settings), scenario)


def counted(log: list[Entry]) -> Counter[What]:
    return Counter(entry.what for entry in log)


@pytest.fixture(scope="module")
def trials():
    planned = small()
    return conduct_trials(
        planned.plan, n_runs=100, seed=4, outcomes=planned.outcomes, rules=planned.rules, logged=100
    )


def test_property_looks_stop_a_small_trial_as_often_as_in_simulate(trials):
    assert furthest_from_simulate(small(), trials, 4096, seed=5) < 4
    assert (
        furthest_from_simulate(small(scenario="no-effect"), trials, 4096, seed=5) > 4
    )  # it can fail


def test_property_a_stopped_trial_closes_enrolment_and_follows_everybody(trials):
    early = [trial for trial in trials if trial.stopped_early]
    assert 20 < len(early) < 90
    for trial in trials:
        seen, last = counted(trial.log), trial.looks[-1]
        assert seen[What.LOOK] == seen[What.DECISION] == len(trial.looks)
        assert all(look.judgement.verdict is Verdict.GO_ON for look in trial.looks[:-1])
        n = len(trial.enrolled)
        assert sum(arm.read_out for arm in trial.arms) == n
        assert (
            trial.screened
            == n + trial.screening_failed + trial.screening_withdrawn + trial.in_screening
        )
        assert trial.full
        if trial.stopped_early:
            assert n < 60
            assert seen[What.ENROLMENT_STOPPED] == 1
            assert not seen[What.ALL_ENROLLED]
            assert trial.enrolled[-1] <= last.decided <= trial.last_visit
            assert trial.locked == pytest.approx(trial.enrolled[-1] + 28)
            assert last.judgement.analysed == (20 if len(trial.looks) == 1 else 40)
        else:
            assert n == 60
            assert len(trial.looks) == 3


def test_property_patients_enter_while_the_board_deliberates(trials):
    planned = small("30 d")
    later = conduct_trials(
        planned.plan, n_runs=40, seed=4, outcomes=planned.outcomes, rules=planned.rules, logged=0
    )
    pairs = [(a, b) for a, b in zip(trials, later, strict=False) if len(a.looks) == 1]
    assert len(pairs) > 5
    for at_once, slow in pairs:
        one, other = at_once.looks[-1], slow.looks[-1]
        assert one.judgement == other.judgement
        assert other.decided == pytest.approx(one.decided + 30)
        assert len(slow.enrolled) >= len(at_once.enrolled)
    assert sum(len(b.enrolled) > len(a.enrolled) for a, b in pairs) > 3


def test_regression_a_trial_of_times_to_an_event_that_is_stopped_gives_its_doses_and_ends():
    """Stopped by its first look: enrolment closes, doses to come are given, then all is over."""
    looks = "protocol.looks=[{at: {events: 20}, futility_z: 0}, {at: {events: 60}}]"
    regimen = "{drug: drug, dose: 1 mg, every: 1 wk, for: 8 wk}"
    settings = [looks, f"protocol.arms.drug.regimen={regimen}"]
    planned = plan_forecast(
        load_template("tests/protocols/valid/sites-enrol.yaml", settings=settings)
    )
    drawn = planned.outcomes.drawn(planned.plan.n_patients, Streams(1), 0)
    asked = []

    def futile(known: Known) -> Judgement:
        asked.append(known)
        return Judgement(Verdict.FUTILITY, -1.0, len(known.enrolled))

    trial = conduct_trial(planned.plan, Streams(1), 0, drawn, judge=futile, keep_log=True)
    (known,), (look,) = asked, trial.looks
    assert trial.stopped_early
    assert look.events == 20
    assert known.enrolled[-1] <= known.cut == look.decided
    assert len(trial.enrolled) == look.randomised < 200
    assert look.decided < trial.locked <= look.decided + 8 * 7
    assert trial.locked == trial.last_visit
    assert [e.day for e in trial.log if e.what is What.LOCKED] == [trial.locked]
    given = [entry.day for entry in trial.log if entry.what is What.DOSE_GIVEN]
    assert look.decided < max(given) <= trial.locked


def test_property_the_screen_says_how_trials_end_and_what_has_no_rule():
    planned = small()
    found = planned.forecast(runs=30, seed=4)
    rows = [r for r in found.result.rows if r.measure is Measure.STOP_PROBABILITY]
    by_look = [row for row in rows if row.look]
    assert sum(row.value for row in by_look) == pytest.approx(1)
    assert all(row.mcse is not None and row.n_replicates == 30 for row in rows)
    (early,) = (row for row in rows if row.analysis == STOPPED_EARLY)
    stopped = [line for line in found.trials if line["stopped early"]]
    assert early.value == len(stopped) / 30
    (late,) = (row for row in found.result.rows if row.category == OVERRUNNING)
    assert late.n_replicates == len(stopped)
    (when,) = (row for row in found.result.rows if row.milestone == STOPPED_EARLY)
    assert when.value == pytest.approx(np.mean([line["decided (months)"] for line in stopped]))
    screen = forecast_screen(planned, found.result, 4)
    assert "The board stops" in " ".join(screen.split())
    assert "look 1: efficacy (z >= 2.2)" in " ".join(screen.split())
    plain = plan_forecast(load_template("colorectal-adjuvant"))
    assert plain.rules is None
    assert plain.plan.looks[0].calendar_days == pytest.approx(72 * DAYS_PER_MONTH)


def test_property_a_trial_run_again_is_stopped_again():
    planned = small()
    found = planned.forecast(runs=6, seed=4)
    assert planned.log_of(1, 4) == found.log
    for line in found.trials:
        seen = counted(planned.log_of(int(line["trial"]), 4))
        assert seen[What.ENROLMENT_STOPPED] == line["stopped early"]
        assert seen[What.LOOK] == line["looks held"]
