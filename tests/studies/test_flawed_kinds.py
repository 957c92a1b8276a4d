"""One trial before and after its flaws, whatever is recorded of a patient: against the study."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import log

import numpy as np
import pytest

from conftest import CORPUS
from trialsim.engine.run import run
from trialsim.protocol.conduct import (
    Assessment,
    CoIntervention,
    Conduct,
    Exclusion,
    ForeseenAllocation,
    Mechanism,
    UndeclaredLooks,
)
from trialsim.protocol.reading.load import load_template
from trialsim.report.parts.flawed_trial import before_and_after, tables_of_trial, touched_patients
from trialsim.studies.conduct.bias import PlannedBias, plan_bias
from trialsim.trial import Measure

SEED, CHECKED = 3, (1, 5, 40)
EVENTS = {
    "sensitivity_treated": 0.8,
    "sensitivity_control": 0.95,
    "specificity_treated": 1,
    "specificity_control": 1,
}
SDS = {"better_sd_treated": 0.4, "better_sd_control": -0.1}
ODDS = {"odds_ratio_treated": 1.5, "odds_ratio_control": 0.9}
CASES = {
    "t-test": ("means-primary", {"better_sd": 0.5}, SDS),
    "log scale": ("log-means-primary", {"better_sd": 0.5}, SDS),
    "ordinal": ("ordinal-primary", {"odds_ratio": 1.5}, ODDS),
    "days alive": ("days-alive-primary", {"odds_ratio": 1.5}, None),
    "count": ("counts-primary", {"averts": 0.4}, EVENTS),
    "competing": ("competing-primary", {"averts": 0.4}, EVENTS),
    "time": ("time-to-event", {"averts": 0.4}, EVENTS),
}
SETTINGS = {
    "t-test": ("protocol.endpoints.score.analysis=t-test",),
    "time": ("protocol.sample_size={total: 160}", "protocol.looks=[{at: {events: 100}}]"),
}


@cache
def planned_of(case: str) -> PlannedBias:
    file, care, reading = CASES[case]
    own = {
        "co_intervention": CoIntervention(strength=0.5, **care),
        "exclusion": Exclusion(strength=0.2),
    }
    if reading:
        own["assessment"] = Assessment(strength=1, **reading)
    if case != "competing":
        own["undeclared_looks"] = UndeclaredLooks(strength=0.5, looks=3)
    if case not in ("competing", "time"):
        own["foreseen_allocation"] = ForeseenAllocation(strength=0.5)
    path = str(CORPUS / "valid" / f"{file}.yaml")
    resolved = load_template(path, settings=SETTINGS.get(case, ()))
    scenario = resolved.scenarios()[-1].id
    return plan_bias(resolved, Conduct(id="own", title="t", **own), [scenario])


@cache
def study(case: str):
    planned = planned_of(case)
    plans = (planned.job.plans[0], planned.job.plans[-1])
    (simulation,) = run([replace(planned.job, plans=plans)], n_replicates=64, seed=SEED)
    return [planned._ended(results) for results in simulation.results[0]]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("replicate", CHECKED)
def test_property_records_give_the_result_of_the_study_and_say_who_was_touched(case, replicate):
    planned, row = planned_of(case), slice(replicate - 1, replicate)
    flawless, flawed = study(case)
    trial = planned.replay(planned.scenarios[0].id, SEED, replicate)
    assert trial.planned.same_as(flawless.only(row))
    assert trial.reported.same_as(flawed.only(row))
    assert trial.counts_are_reported
    seen = trial.patients
    by_look = {"arm", "analysed", "unfavourable", "why_not_seen", "touched_by"}
    names = [n.removesuffix("_planned") for n in seen if n.endswith("_planned")]
    assert set(names) - by_look
    assert {n.removesuffix("_reported") for n in seen if n.endswith("_reported")} == set(names)
    touched = seen["touched_by"] != ""
    assert touched.any()
    both = seen["analysed_planned"] & seen["analysed_reported"]
    if case in ("t-test", "log scale", "ordinal", "days alive", "count"):
        values = [n for n in names if n not in by_look]
        changed = np.any([seen[f"{n}_planned"] != seen[f"{n}_reported"] for n in values], axis=0)
        assert not (changed & both & ~touched).any()
        assert (changed & both).any()
    told = before_and_after(planned, trial, SEED)
    listed = touched_patients(trial)
    assert "nan" not in told + tables_of_trial(planned, trial) + listed
    more = int(touched.sum()) - 8
    assert (f"... and {more:,} more touched by a flaw" in listed) == (more > 0)
    for mechanism, words in trial.touched.items():
        if mechanism in (Mechanism.CO_INTERVENTION, Mechanism.ASSESSMENT):
            assert all(w == "" or w.startswith("from ") for w in words)
            assert f"{mechanism}: " in told


def test_analytic_a_measurement_is_the_one_planned_moved_by_sds():
    planned = planned_of("t-test")
    trial = planned.replay(planned.scenarios[0].id, SEED, 1)
    seen, truth = trial.patients, trial.truth.outcome("score")
    last = [n for n in seen if n.startswith("visit_") and n.endswith("_planned")][-1]
    apart = seen[last.replace("planned", "reported")] - seen[last]
    treated = seen["arm_reported"] == "drug"
    cared = trial.touched[Mechanism.CO_INTERVENTION] != ""
    known = np.isfinite(apart) & seen["analysed_planned"]
    still = known & (trial.touched[Mechanism.EXCLUSION] == "")
    sd = truth.sds[-1]  # lower is better; arms that steering exchanged have other true means
    stayed = still & (seen["arm_planned"] == seen["arm_reported"])
    for who, moved in (
        (treated & cared, -0.9),
        (treated & ~cared, -0.4),
        (~treated, 0.1),
    ):
        assert (stayed & who).any()
        np.testing.assert_allclose(apart[stayed & who], moved * sd, atol=1e-12)


def test_analytic_a_mean_by_hand_is_the_estimate_reported():
    planned = planned_of("log scale")
    trial = planned.replay(planned.scenarios[0].id, SEED, 5)
    for when, found in (("planned", trial.planned), ("reported", trial.reported)):
        seen = trial.patients
        last = [n for n in seen if n.startswith("visit_") and n.endswith(when)][-1]
        own = seen[f"analysed_{when}"]
        logs = np.log(seen[last])
        arms = [own & (seen[f"arm_{when}"] == arm) for arm in ("drug", "placebo")]
        means = [logs[arm].mean() for arm in arms]
        assert means[0] - means[1] == pytest.approx(found.estimate[0, -1], abs=1e-9)
    assert log(1.5) == pytest.approx(
        trial.truth.outcome(planned.job.plans[0].endpoint).theta(planned.job.plans[0].summary)
    )


@pytest.mark.parametrize(
    ("file", "settings", "risk"),
    [
        (
            "time-to-event",
            (
                "protocol.looks=[{at: {calendar: 90 mo}}]",
                "nature.survival={median: 12 mo}",
                "nature.factors=[]",
                "protocol.allocation={method: permuted-blocks, block_sizes: [4]}",
            ),
            0.5,
        ),
        ("competing-primary", (), None),
    ],
)
def test_analytic_events_per_1000_by_the_horizon_are_those_of_the_truth(file, settings, risk):
    share = 0.4
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    scenario = resolved.scenarios()[0].id
    conduct = Conduct(id="own", title="t", co_intervention=CoIntervention(strength=1, averts=share))
    planned = plan_bias(resolved, conduct, [scenario])
    result = planned.result(replicates=512, seed=SEED)
    found = {(r.mechanism, r.arm): r for r in result.rows if r.measure is Measure.EVENTS_PER_1000}
    truth = found["truth", "placebo"].value
    assert truth == found["truth", "drug"].value
    if risk:
        assert truth == pytest.approx(1_000 * risk)
        cared = found["co-intervention", "drug"]
        expected = 1_000 * (1 - (1 - risk) ** (1 - share))  # the hazard is multiplied by 1 - share
        assert abs(cared.value - expected) < 4 * cared.mcse
    for own in (found["none", "drug"], found["none", "placebo"]):
        assert abs(own.value - truth) < 4 * own.mcse
    assert found["co-intervention", "drug"].value < found["none", "drug"].value
    assert "Kaplan-Meier" in result.texts["per 1,000"]
