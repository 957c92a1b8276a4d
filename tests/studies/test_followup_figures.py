"""What the frontier and the swimmer plots show: against brute force and the replayed trial."""

from __future__ import annotations

import numpy as np
import pytest
from test_followup import Words, planned

from trialsim.engine.replay import replay
from trialsim.figures.frontier import frontier_axes, frontier_figure, frontier_of
from trialsim.figures.swimmer import swimmer_figure, swimmers_of, with_swimmers

HEPATITIS = "chronic-hepatitis-b"
LEAVING = [
    f"nature.response.{name}"
    for name in (
        "relapse_per_year=1",
        "again_per_year=8",
        "death_per_year=0.2",
        "loss_per_year=0.3",
        "missed_visits=0.2",
    )
]
HORIZONS = Words("0 mo,3 mo,6 mo,9 mo,12 mo,18 mo", "end-of-therapy")


def test_analytic_the_frontier_is_what_no_other_horizon_beats_by_brute_force():
    plan = planned(HEPATITIS, HORIZONS)
    members = set()
    for index, _ in enumerate(plan.scenarios):
        designs = [d for d in plan.designs(index) if d.per_arm]
        points = frontier_of(plan, index)
        assert [(p.x, p.y) for p in points] == [(d.months, d.cost) for d in designs]
        for point in points:
            others = [(p.x, p.y) for p in points if p is not point]
            beaten = any(
                (x < point.x and y <= point.y) or (x <= point.x and y < point.y) for x, y in others
            )
            assert point.undominated is not beaten
            members.add(point.undominated)
        assert not designs or any(p.undominated for p in points)
    assert members == {True, False}


@pytest.mark.parametrize(
    ("settings", "y", "said"),
    [
        ([], "cost, EUR of 2025", ""),
        (["cost=null"], "patients per arm", "No cost: block"),
        (["nature.enrolment=null"], "patients per arm", "follow-up alone"),
    ],
)
def test_property_without_prices_or_enrolment_others_stand_for_them_and_it_is_said(
    settings, y, said
):
    plan = planned(HEPATITIS, HORIZONS, settings)
    _, label, missing = frontier_axes(plan)
    assert label == y
    assert said in missing
    assert bool(missing) is bool(said)
    if label == "patients per arm":
        assert all(p.y == p.per_arm for p in frontier_of(plan, 1))
    figure, alt_text = frontier_figure(plan)
    assert "no-effect: no horizon has an effect that any size would find" in alt_text
    assert len(figure.axes) == 2  # of three scenarios


def test_property_twenty_patients_are_those_of_the_replayed_trial():
    plan = planned(HEPATITIS, HORIZONS, LEAVING, ["chien-1998"])
    shown = swimmers_of(plan, 0, seed=4)
    assert [p.treated for p in shown] == [True] * 10 + [False] * 10
    job = plan.jobs[0]
    last = next(p for p in job.plans if p.day == max(plan.day for plan in job.plans))
    replayed = replay(type(job)(job.protocol, (last,), job.truths), job.truths[0], 4, 1).patients
    treated = replayed["arm"] == plan.resolved.template.protocol.experimental.id
    for arm in (True, False):
        first = np.flatnonzero(treated == arm)[:10] + 1
        assert [p.number for p in shown if p.treated is arm] == list(first)
    seen = set()
    for patient in shown:
        i = patient.number - 1
        for number, (day, what) in enumerate(patient.visits, start=1):
            state = replayed[f"visit_{number}_state"][i]
            assert replayed[f"visit_{number}_day"][i] == day
            assert {"relapse": "none"}.get(state, state) == what
            seen.add(what)
        rest = range(len(patient.visits) + 1, last.visit + 2)
        states = {replayed[f"visit_{number}_state"][i] for number in rest}
        assert states <= {patient.why}
        for start, end in patient.responses:
            assert 0 <= start < end <= patient.end
    assert seen == {"response", "none", "missed"}
    assert {p.why for p in shown} == {"", "death", "loss"}
    assert any(len(p.responses) > 1 for p in shown)


def test_property_swimmers_are_drawn_and_told_patient_by_patient():
    plan = planned(HEPATITIS, HORIZONS, LEAVING)
    assert with_swimmers(plan) == 3
    figure, alt_text = swimmer_figure(plan, 1, 1)
    told, *patients = alt_text.split("\n")
    assert "20 patients" in told
    assert [line.count(" | ") for line in patients] == [5] * 20
    assert len(figure.axes[0].get_yticklabels()) == 20
    assert with_swimmers(planned("sepsis", Words("28 d,90 d", "entry"))) == 0
