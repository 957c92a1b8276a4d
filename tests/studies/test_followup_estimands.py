"""Estimands of response at several horizons: the trial's own at its read-out, and one another."""

from __future__ import annotations

import pytest
from test_followup import Words, planned

from trialsim import load_template, plan_simulation
from trialsim.errors import RequestError
from trialsim.protocol.missing import MissingReadOut
from trialsim.report.screens.followup_screen import followup_screen
from trialsim.studies.horizons.delayed_effect import with_analyses
from trialsim.studies.horizons.missing_read_outs import with_missing_read_outs
from trialsim.trial import Measure

HEPATITIS, VARIANT = "chronic-hepatitis-b", "estimands"
AT = Words("6 mo,12 mo", "end-of-therapy")


@pytest.fixture(scope="module")
def found():
    plan = planned(HEPATITIS, AT, scenarios=["chien-1998"], variant=VARIANT)
    return plan, plan.result(replicates=500, seed=3)


def by_estimand(rows, measure, horizon):
    return {
        row.estimand: row
        for row in rows
        if row.measure is measure and row.estimand and (row.horizon, row.clock) == horizon
    }


def test_property_at_the_primary_read_out_every_estimand_is_what_simulate_finds(found):
    _, result = found
    resolved = load_template(HEPATITIS, variant=VARIANT)
    rows = plan_simulation(resolved, ["chien-1998"]).simulate(replicates=500, seed=3).rows
    at = ("12 mo", "end-of-therapy")
    for measure in (Measure.TRUE_EFFECT, Measure.POWER, Measure.COVERAGE):
        own, other = by_estimand(result.rows, measure, at), by_estimand(rows, measure, at)
        assert set(own) == set(other)
        assert len(own) >= 4  # of too few trials imputed, no coverage is given
        for name in own:
            if name != "had-none-stopped":  # imputed with luck of its own, per endpoint
                assert own[name].value == other[name].value, (name, measure)


def test_property_a_horizon_is_read_by_its_own_estimand_and_its_sizes_follow(found):
    plan, result = found
    for index, horizon in enumerate(plan.horizons):
        at = (str(horizon.time.after), horizon.time.clock.value)
        here = [r for r in result.rows if (r.horizon, r.clock) == at and r.estimand is None]
        power = next(r for r in here if r.measure is Measure.POWER)
        main = by_estimand(result.rows, Measure.POWER, at)["main"]
        assert power.value == main.value
        risks = [r.value for r in here if r.measure is Measure.RISK]
        assert tuple(risks) == pytest.approx(plan.risks(index, 0))
        sizes = {r.level: r.value for r in here if r.measure is Measure.N_PER_ARM}
        assert sizes[0.8] == plan.design(index, plan.risks(index, 0), 0.8).per_arm
        assert sizes[0.9] > sizes[0.8]


def test_property_an_event_does_to_every_read_out_what_it_does_to_the_primary_one(found):
    plan, result = found
    for event in plan.truths[0][0].intercurrent:
        names = {name for name, _ in event.effects}
        assert names in (set(), {horizon.endpoint for horizon in plan.horizons})
    rescue = plan.truths[0][0].intercurrent[1]
    assert len(rescue.effects) == 2
    for horizon in plan.horizons:  # an antiviral that is counted helps; stopping as failure harms
        at = (str(horizon.time.after), horizon.time.clock.value)
        true = {
            name: row.value
            for name, row in by_estimand(result.rows, Measure.TRUE_EFFECT, at).items()
        }
        assert true["whatever-happens"] > true["main"] > true["failure"]


def test_property_screen_shows_every_estimand_at_every_horizon(found):
    plan, result = found
    shown = followup_screen(plan, result, 1, "trialsim")
    block = shown.partition("Estimands at every horizon")[2]
    for name in ("main", "whatever-happens", "failure", "had-none-stopped", "would-not-stop"):
        (line,) = [line for line in block.splitlines() if line.startswith(f"{name} ")]
        assert line.count("/") == 2
    assert max(map(len, shown.splitlines())) <= 80


def test_regression_what_is_not_read_beside_events_is_refused_by_name(found):
    plan, result = found
    with pytest.raises(RequestError, match="intercurrent_events"):
        with_analyses(plan, result)
    with pytest.raises(RequestError, match="further_estimands"):
        with_missing_read_outs(plan, result, tuple(MissingReadOut))
