"""A design with looks over a grid of nuisance values: bounds, the run itself, trials by hand."""

from __future__ import annotations

from math import ceil, exp, log, sqrt

import numpy as np
import pytest

from conftest import CORPUS, NO_SITES
from trialsim import load_template, plan_simulation
from trialsim.analyse.looks import stop
from trialsim.engine.run import run
from trialsim.engine.store import InMemory, series_of
from trialsim.errors import DesignError, RequestError
from trialsim.sizing.sequential import ObrienFleming, sequential_design
from trialsim.studies.size.operating_grid import (
    FUTILITY_IGNORED,
    UNADJUSTED,
    Ending,
    operating_grid,
)
from trialsim.trial import Measure

DESIGN = sequential_design([1 / 3, 2 / 3, 1], alpha=0.025, sides=1, efficacy=ObrienFleming())
N, SEED = 3_000, 5


def looks(futility):
    bounds = zip(DESIGN.information, DESIGN.efficacy_z, futility, strict=True)
    said = (
        f"{{at: {{information: {t!r}}}, efficacy_z: {z!r}{f', futility_z: {f}' if f else ''}}}"
        for t, z, f in bounds
    )
    return f"protocol.looks=[{', '.join(said)}]"


def sepsis(*more, futility=("", "", "")):
    return load_template(
        "sepsis",
        settings=[
            *NO_SITES,
            looks(futility),
            "protocol.test={alpha: 0.025, sides: 1}",
            f"protocol.sample_size={{total: {N}}}",
            "protocol.allocation={}",
            "nature.control_risk=0.25",
            "scenarios.or-082.effect={odds_ratio: 0.8}",
            *more,
        ],
    )


BINARY = operating_grid(sepsis(), "or-082", replicates=40_000, seed=SEED)


def test_analytic_type_i_error_of_three_obrien_fleming_looks():
    assert len(BINARY.points) == 5
    for point in BINARY.points:
        row = BINARY.row(point.no_effect, Measure.TYPE_I_ERROR)
        assert abs(row.value - 0.025) <= 4 * row.mcse, point.name
        assert row.lower < row.value < row.upper
        assert (row.level, row.n_replicates, row.headline) == (0.95, 40_000, True)
        assert row.set_by == point.name
        assert point.reason
    errors = [BINARY.row(p.no_effect, Measure.TYPE_I_ERROR).value for p in BINARY.points]
    assert BINARY.largest_type_i_error.value == max(errors)


def test_analytic_the_grid_keeps_the_odds_ratio():
    for point, multiple in zip(BINARY.points, (0.5, 0.75, 1, 1.25, 1.5), strict=True):
        risk = 0.25 / 0.75 * multiple / (1 + 0.25 / 0.75 * multiple)
        assert point.effect.control_risk == pytest.approx(risk, rel=1e-12)
        assert point.no_effect.control_risk == point.no_effect.treated_risk
        assert point.no_effect.control_risk == point.effect.control_risk
        treated = point.effect.treated_risk
        odds_ratio = treated / (1 - treated) / (risk / (1 - risk))
        assert odds_ratio == pytest.approx(0.8, rel=1e-12)
        assert BINARY.row(point.effect, Measure.TRUE_EFFECT).value == pytest.approx(0.8)
    assert [p.is_planned for p in BINARY.points] == [False, False, True, False, False]


def test_analytic_power_and_size_by_the_multivariate_normal():
    for point in BINARY.points:
        control, treated = point.effect.control_risk, point.effect.treated_risk
        mean = (control + treated) / 2
        drift = (control - treated) / sqrt(4 * mean * (1 - mean) / N)
        power = BINARY.row(point.effect, Measure.POWER)
        assert abs(power.value - DESIGN.power(drift)) <= 4 * power.mcse, point.name
        size = BINARY.row(point.effect, Measure.EXPECTED_N)
        expected = DESIGN.expected_information(drift) * N
        assert abs(size.value - expected) <= 4 * size.mcse, point.name


def test_property_the_planned_point_is_the_run_of_simulate():
    resolved = sepsis()
    plan, own, grid_store = plan_simulation(resolved, ["or-082"]), InMemory(), InMemory()
    rows = plan.simulate(replicates=6_000, seed=SEED, store=own).rows
    grid = operating_grid(resolved, "or-082", replicates=6_000, seed=SEED, store=grid_store)
    truth = next(p for p in grid.points if p.is_planned).effect
    series = series_of(plan.jobs[0], truth, SEED)
    assert own.load(series, 6_000)[0].same_as(grid_store.load(series, 6_000)[0])
    for measure in (Measure.POWER, Measure.BIAS, Measure.COVERAGE, Measure.EXPECTED_N):
        simulated = next(r for r in rows if r.measure is measure)
        found = grid.row(truth, measure)
        assert (found.value, found.mcse) == (simulated.value, simulated.mcse)
    assert grid.row(truth, Measure.COVERAGE).analysis == UNADJUSTED


def test_regression_example_trials_are_what_they_say():
    resolved = sepsis(futility=(0.5, 1.0, ""))
    grid = operating_grid(resolved, "or-082", replicates=2_000, seed=SEED)
    job = plan_simulation(resolved, ["or-082"]).jobs[0]
    (simulation,) = run([job], n_replicates=2_000, seed=SEED)
    z = simulation.results[0][0].z
    efficacy, futility = np.array(DESIGN.efficacy_z), np.array([0.5, 1.0, -np.inf])
    seen = {}
    for replicate in range(2_000):  # slowly, by hand
        for k in range(3):
            found, futile = z[replicate, k] >= efficacy[k], z[replicate, k] <= futility[k]
            if found or futile or k == 2:
                ending = Ending.END if k == 2 else Ending.EFFICACY if found else Ending.FUTILITY
                seen.setdefault(ending, (replicate + 1, k + 1, bool(found)))
                break
    assert grid.without_example == ()
    assert [e.ending for e in grid.examples] == list(Ending)
    for trial in grid.examples:
        assert (trial.replicate, trial.look, trial.effect_found) == seen[trial.ending]
        assert trial.n_looks == 3
        treated, control = trial.arms
        assert [a.arm for a in trial.arms] == ["thymalfasin", "placebo"]
        n = ceil(N * trial.look / 3 - 1e-9)
        assert treated.seen + control.seen == n
        assert (treated.randomised, control.randomised) == (treated.seen, control.seen)
        x1, n1, x0, n0 = treated.events, treated.seen, control.events, control.seen
        mean = (x1 + x0) / n
        by_hand = (x0 / n0 - x1 / n1) / sqrt(mean * (1 - mean) * (1 / n1 + 1 / n0))
        assert trial.z == pytest.approx(by_hand, rel=1e-12)
        odds_ratio = x1 * (n0 - x0) / (x0 * (n1 - x1))
        assert trial.estimate == pytest.approx(odds_ratio, rel=1e-12)
        half = 1.959964 * sqrt(1 / x1 + 1 / (n1 - x1) + 1 / x0 + 1 / (n0 - x0))
        assert trial.lower == pytest.approx(exp(log(odds_ratio) - half), rel=1e-5)
        assert trial.upper == pytest.approx(exp(log(odds_ratio) + half), rel=1e-5)
        assert trial.months is None


def test_property_an_ending_that_never_comes_is_said_to_be_without_example():
    assert BINARY.without_example == (Ending.FUTILITY,)
    months = BINARY.row(BINARY.points[0].effect, Measure.DURATION_MONTHS)
    assert months.value is None
    assert months.why == "the protocol does not state enrolment"


def test_property_futility_that_is_not_binding_is_ignored_by_the_headline():
    grid = operating_grid(sepsis(futility=(0.5, 1.0, "")), "or-082", replicates=20_000, seed=SEED)
    for point in grid.points:
        ignored, heeded = (
            r
            for r in grid.rows
            if (r.scenario, r.measure) == (point.no_effect.scenario, Measure.TYPE_I_ERROR)
        )
        assert ignored.headline
        assert heeded.headline is None
        assert ignored.analysis.endswith(FUTILITY_IGNORED)
        assert heeded.value <= ignored.value
        assert abs(ignored.value - 0.025) <= 4 * ignored.mcse


def test_property_patients_with_prognosis_and_looks_set_off_by_events():
    resolved = load_template(str(CORPUS / "valid" / "binary-looks.yaml"))
    grid = operating_grid(resolved, "good", replicates=512, seed=1)
    rows = plan_simulation(resolved, ["good"]).simulate(replicates=512, seed=1).rows
    truth = next(p for p in grid.points if p.is_planned).effect
    power = next(r for r in rows if r.measure is Measure.POWER)
    assert grid.row(truth, Measure.POWER).value == power.value
    months = [grid.row(p.effect, Measure.DURATION_MONTHS) for p in grid.points]
    assert all(m.value > 0 and m.unit == "months" for m in months)
    short = [grid.row(p.effect, Measure.N_SHORT).value for p in grid.points]
    assert short[0] >= short[-1]  # fewer events, and the 60th comes later or never


SURVIVAL = load_template(
    str(CORPUS / "valid" / "time-to-event.yaml"),
    settings=[
        "protocol.sample_size={total: 200}",
        "protocol.looks=[{at: {events: 60}, efficacy_z: 2.7965, futility_z: 0}, "
        "{at: {events: 120}, efficacy_z: 1.9774}]",  # O'Brien-Fleming, two-sided 5%, below
    ],
)
REPLICATES = 1_024
TIMES = operating_grid(SURVIVAL, "good", replicates=REPLICATES, seed=SEED)


def test_analytic_type_i_error_over_hazards_and_enrolment():
    design = sequential_design([0.5, 1], alpha=0.05, sides=2, efficacy=ObrienFleming())
    assert design.efficacy_z == pytest.approx((2.7965, 1.9774), abs=1e-4)
    assert len({(p.control_multiple, p.enrolment_speed) for p in TIMES.points}) == 9
    for point in TIMES.points:
        row = TIMES.row(point.no_effect, Measure.TYPE_I_ERROR)
        assert abs(row.value - 0.05) <= 4 * sqrt(0.05 * 0.95 / REPLICATES), point.name
        assert row.headline


def test_property_hazards_and_enrolment_are_changed_and_the_hazard_ratio_is_not():
    by = {(p.control_multiple, p.enrolment_speed): p for p in TIMES.points}
    planned = by[1.0, 1.0].effect
    assert planned == SURVIVAL.truth(SURVIVAL.scenarios(["good"])[0])
    for (multiple, speed), point in by.items():
        assert TIMES.row(point.effect, Measure.TRUE_EFFECT).value == pytest.approx(0.7)
        lifetimes = point.effect.lifetimes
        for arm in ("control", "treated"):
            for curve, before in zip(
                getattr(lifetimes, arm), getattr(planned.lifetimes, arm), strict=True
            ):
                assert curve.survival(90.0) == pytest.approx(before.survival(90.0) ** multiple)
        assert point.effect.enrolment.last_day == pytest.approx(12 * 30.4375 / speed)
        assert point.no_effect.lifetimes.treated == point.no_effect.lifetimes.control
        assert point.no_effect.is_null
    months = {at: TIMES.row(p.effect, Measure.DURATION_MONTHS).value for at, p in by.items()}
    assert months[1.5, 1.0] < months[1.0, 1.0] < months[0.67, 1.0]
    assert months[1.0, 1.5] < months[1.0, 1.0] < months[1.0, 0.67]
    rows = plan_simulation(SURVIVAL, ["good"]).simulate(replicates=REPLICATES, seed=SEED).rows
    for measure in (Measure.POWER, Measure.BIAS, Measure.DURATION_MONTHS, Measure.EVENTS):
        simulated = next(r for r in rows if r.measure is measure)
        assert TIMES.row(planned, measure).value == simulated.value


def test_regression_example_trials_of_a_time_to_event():
    job = plan_simulation(SURVIVAL, ["good"]).jobs[0]
    (simulation,) = run([job], n_replicates=REPLICATES, seed=SEED)
    stops = stop(simulation.results[0][0], job.plans[0])
    assert {e.ending for e in TIMES.examples} == set(Ending)
    for trial in TIMES.examples:
        assert sum(arm.events for arm in trial.arms) == (60, 120)[trial.look - 1]
        at = trial.replicate - 1
        assert stops.look[at] == trial.look - 1
        assert trial.months == pytest.approx(stops.final.day[at, 0] / 30.4375)
        assert trial.effect_found == bool(stops.final.rejected[at, 0])
        if trial.ending is Ending.FUTILITY:
            assert trial.z <= 0
        elif trial.ending is Ending.EFFICACY:
            assert trial.z >= 2.7965


@pytest.mark.parametrize(
    "enrolment",
    [
        "{even: 10 mo}",
        "{piecewise: [{until: 4 mo, share: 0.3}, {until: 12 mo, share: 0.7}]}",
    ],
)
def test_property_every_way_of_enrolment_is_sped_up(enrolment):
    resolved = load_template(
        str(CORPUS / "valid" / "time-to-event.yaml"),
        settings=[f"nature.enrolment={enrolment}", "protocol.sample_size={total: 300}"],
    )
    grid = operating_grid(resolved, "late", replicates=16, seed=1)
    by = {(p.control_multiple, p.enrolment_speed): p.effect for p in grid.points}
    for share in (0.1, 0.5, 0.99):
        slow, planned = (by[1.0, s].enrolment.quantile(share) for s in (0.67, 1.0))
        assert slow == pytest.approx(planned / 0.67)
    assert grid.row(by[1.0, 1.0], Measure.POWER).why  # 16 replicates give none
    assert grid.row(by[1.0, 1.0], Measure.BIAS).why
    assert grid.largest_type_i_error.value is None
    assert np.isfinite(grid.row(by[0.67, 1.5], Measure.TRUE_EFFECT).value)


def test_property_what_cannot_be_asked_is_refused():
    with pytest.raises(RequestError, match="must have an effect"):
        operating_grid(sepsis(), "no-effect")
    with pytest.raises(RequestError, match="is not a scenario"):
        operating_grid(sepsis(), "or-08")
    with pytest.raises(DesignError, match="looks must be stated"):
        operating_grid(load_template("sepsis"), "or-082")
    with pytest.raises(DesignError, match="must be binary or time-to-event"):
        operating_grid(load_template("chronic-hepatitis-b"), "any")
    with pytest.raises(RequestError):
        operating_grid(sepsis(), "or-082", replicates=0)
