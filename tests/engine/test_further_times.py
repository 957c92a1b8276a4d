"""Times to an event beside another primary endpoint, held against what is known exactly."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from conftest import needs
from trialsim import load_template, plan_simulation
from trialsim.engine.blocks import draw_patients, simulate_block
from trialsim.kernels.survival import followed
from trialsim.protocol.survival import HazardCurve
from trialsim.trial import Kernel, Measure

FILE = """
schema_version: 1
id: times
title: Times to an event beside a primary endpoint
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: sofa, level: primary, kind: continuous, variable: SOFA, unit: points, at: [7 d],
       better: lower}
    - {id: relapse, level: secondary, kind: time-to-event, event: relapse, at: 6 mo,
       followed_for: 12 mo, better: lower}
    - {id: cox, level: secondary, kind: time-to-event, event: relapse, at: 12 mo, better: lower,
       analysis: cox}
    - {id: milestone, level: secondary, kind: time-to-event, event: relapse, at: 12 mo,
       better: lower, analysis: {test: milestone, at: 9 mo}}
    - {id: mean, level: secondary, kind: time-to-event, event: relapse, at: 12 mo, better: lower,
       analysis: {test: restricted-mean, until: 9 mo}}
    - {id: discharge, level: secondary, kind: time-to-event, event: discharge, at: 28 d,
       followed_for: 60 d, better: higher}
  sample_size: {total: 300}
  multiplicity: {method: hierarchical, endpoints: [sofa, relapse]}
nature:
  outcomes:
    sofa: {mean: 7, sd: 3}
    relapse: {survives: {share: 0.5, at: 10 mo}, lost_per_year: 0.2}
    cox: {hazard_per_year: 0.8}
    milestone: {median: 10 mo, shape: 1.4}
    mean: {pieces: [{until: 3 mo, hazard_per_year: 0.5}, {hazard_per_year: 1.2}]}
    discharge: {median: 14 d, cure_fraction: 0.2, shape: 0.9, lost_per_year: 1}
  correlations:
    - {between: [sofa, relapse], value: 0.6}
scenarios:
  - {id: no-effect, title: no effect}
  - id: effect
    title: an effect
    outcomes:
      sofa: {mean_difference: -1}
      relapse: {hazard_ratio: 0.65}
      cox: {hazard_ratio: 0.65}
      milestone: {hazard_ratio: 0.65}
      mean: {hazard_ratio: 0.65}
      discharge: {hazard_ratio: 1.5}
"""
REPLICATES = 2048
FURTHER = ["relapse", "cox", "milestone", "mean", "discharge"]
MONTH = 30.4375


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("times") / "times.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def plan(path):
    return plan_simulation(load_template(str(path)))


@pytest.fixture(scope="module")
def result(plan):
    return plan.simulate(replicates=REPLICATES, seed=1)


def rows_of(result, endpoint, scenario):
    return {
        row.measure: row
        for row in result.rows
        if (row.endpoint, row.scenario, row.arm) == (endpoint, scenario, None)
    }


def test_analytic_survival_at_a_time_is_the_stated_one(plan):
    """Of patients not censored yet, at 4 MCSE, and never an event after the end of follow-up."""
    _, batches = draw_patients(plan.jobs[0], 1, 0, frozenset())
    for name, treated, day, expected in (
        ("cox", False, 200.0, exp(-0.8 * 200 / 365.25)),
        ("cox", True, 200.0, exp(-0.65 * 0.8 * 200 / 365.25)),
        ("milestone", False, 10 * MONTH, 0.5),
        ("milestone", True, 10 * MONTH, 0.5**0.65),
        ("mean", False, 5 * MONTH, exp(-(0.5 * 3 + 1.2 * 2) * MONTH / 365.25)),
    ):
        batch = batches[1][name]
        time, _ = followed(batch)
        alive = time[batch.treated == treated] > day
        assert abs(alive.mean() - expected) < 4 * sqrt(expected * (1 - expected) / alive.size)
        assert time.max() <= 12 * MONTH + 1e-6


def test_analytic_loss_and_the_end_of_follow_up_censor_as_stated(plan):
    """The chance to be lost: one exponential before another and before a fixed day."""
    _, batches = draw_patients(plan.jobs[0], 1, 0, frozenset())
    batch = batches[0]["relapse"]
    time, event = followed(batch)
    hazard, loss, end = log(2) / (10 * MONTH), 0.2 / 365.25, 12 * MONTH
    lost = loss / (hazard + loss) * (1 - exp(-(hazard + loss) * end))
    seen = (~event & (time < end - 1e-6)).mean()
    assert abs(seen - lost) < 4 * sqrt(lost * (1 - lost) / event.size)


@pytest.mark.parametrize("endpoint", FURTHER)
def test_property_every_test_keeps_its_level(result, endpoint):
    error = rows_of(result, endpoint, "no-effect")[Measure.TYPE_I_ERROR]
    assert error.n_failed == 0
    assert abs(error.value - 0.05) < 4 * sqrt(0.05 * 0.95 / REPLICATES) + 0.003


@pytest.mark.parametrize("endpoint", ["relapse", "cox"])
def test_reference_power_of_a_log_rank_test_is_schoenfelds(result, endpoint):
    """Schoenfeld 1981: events of both arms in closed form, 4 MCSE + 0.02."""
    hazard, loss = (log(2) / 10 * 12, 0.2) if endpoint == "relapse" else (0.8, 0.0)
    events = 0.0
    for ratio in (1, 0.65):
        own = hazard * ratio
        ends = own + loss
        events += 150 * own / ends * (1 - exp(-ends * 12 * MONTH / 365.25))
    exact = stats.norm.cdf(-log(0.65) * sqrt(events / 4) - 1.959964)
    power = rows_of(result, endpoint, "effect")[Measure.POWER]
    assert abs(power.value - exact) < 4 * power.mcse + 0.02


def test_analytic_power_of_a_milestone_is_that_of_greenwoods_variance(result):
    """Without loss Kaplan-Meier is a share: power by the normal limit, 4 MCSE + 0.01."""
    s0 = 0.5 ** (0.9**1.4)
    s1 = s0**0.65
    se = sqrt((s0 * (1 - s0) + s1 * (1 - s1)) / 150)
    power = rows_of(result, "milestone", "effect")[Measure.POWER]
    assert abs(power.value - stats.norm.cdf((s1 - s0) / se - 1.959964)) < 4 * power.mcse + 0.01


@pytest.mark.parametrize("endpoint", FURTHER)
def test_property_estimates_are_of_the_stated_effect_and_intervals_cover(result, endpoint):
    found = rows_of(result, endpoint, "effect")
    small = 0.01 if endpoint in ("relapse", "cox", "discharge") else 0.0  # of a log ratio
    assert abs(found[Measure.BIAS].value) < 4 * found[Measure.BIAS].mcse + small
    coverage = found[Measure.COVERAGE].value
    assert abs(coverage - 0.95) < 4 * sqrt(0.05 * 0.95 / REPLICATES) + 0.01


def test_analytic_the_truth_of_every_summary(result):
    shown = {name: rows_of(result, name, "effect")[Measure.TRUE_EFFECT].value for name in FURTHER}
    assert shown["relapse"] == pytest.approx(0.65)
    s0 = 0.5 ** (0.9**1.4)
    assert shown["milestone"] == pytest.approx(s0**0.65 - s0)
    curve = HazardCurve((3 * MONTH,), (0.5 / 365.25, 1.2 / 365.25))
    means = [
        integrate.quad(lambda t, r=r: curve.survival(t) ** r, 0, 9 * MONTH, points=[3 * MONTH])[0]
        for r in (1, 0.65)
    ]
    assert shown["mean"] == pytest.approx(means[1] - means[0], rel=1e-6)
    assert 1 < shown["discharge"] < 1.5  # those who never can have the event dilute it


@pytest.mark.parametrize("shape", [0.1, 0.7, 1.0, 1.5, 4.0, 20.0])
def test_analytic_mean_time_up_to_a_limit(shape):
    curve = HazardCurve((), (1 / 30**shape,), shape, 0.1)
    exact = integrate.quad(lambda x: exp(x) * curve.survival(exp(x)), -60, log(100), limit=500)[0]
    assert curve.mean_until(100) == pytest.approx(exact, abs=1e-5)


def test_property_a_later_time_goes_with_a_larger_measurement(result):
    row = next(
        r
        for r in result.rows
        if r.measure is Measure.CORRELATION
        and r.endpoint == "sofa"
        and (r.analysis or "").startswith("with relapse")
    )
    assert row.value > 0.3
    assert row.mcse < 0.01


def test_property_both_kernels_decide_the_same(plan):
    numba = pytest.importorskip("numba", reason="the extra [fast]")
    needs("numba", numba)
    job = plan.jobs[0]
    fast = replace(
        job,
        plans=tuple(replace(p, kernel=Kernel.NUMBA) for p in job.plans),
        kernel=Kernel.NUMBA,
    )
    for slow, quick in zip(
        simulate_block(job, 1, 0)[1], simulate_block(fast, 1, 0)[1], strict=True
    ):
        np.testing.assert_allclose(quick.estimate, slow.estimate, rtol=1e-9, equal_nan=True)
        np.testing.assert_array_equal(quick.rejected, slow.rejected)


def test_regression_a_replayed_patient_is_followed_to_the_own_end(plan):
    patients = plan.replay("effect", 1, 2).patients
    assert patients["discharge_days"].max() <= 60 + 1e-9
    ended = set(np.unique(patients["discharge_why_not_seen"]))
    assert ended == {"", "lost", "end of follow-up"}
    assert (patients["discharge_event"] == (patients["discharge_why_not_seen"] == "")).all()


def test_property_further_times_change_nothing_in_other_endpoints(plan, path, tmp_path):
    alone = FILE
    for line in (
        "    relapse: {survives: {share: 0.5, at: 10 mo}, lost_per_year: 0.2}\n",
        "      relapse: {hazard_ratio: 0.65}\n",
        "  multiplicity: {method: hierarchical, endpoints: [sofa, relapse]}\n",
        "  correlations:\n    - {between: [sofa, relapse], value: 0.6}\n",
    ):
        assert line in alone
        alone = alone.replace(line, "")
    other = tmp_path / "alone.yaml"
    other.write_text(alone)
    fewer = plan_simulation(load_template(str(other))).jobs[0]
    names = [p.endpoint for p in fewer.plans]
    assert "relapse" not in names
    several = {
        p.endpoint: r
        for p, r in zip(plan.jobs[0].plans, simulate_block(plan.jobs[0], 1, 0)[1], strict=True)
    }
    for name, found in zip(names, simulate_block(fewer, 1, 0)[1], strict=True):
        assert found.same_as(several[name]), name


REFUSED = {
    "analysis: cox}": ("analysis: {test: cox, stratified: true}}", "asks for a stratified test"),
    "{test: milestone, at: 9 mo}": ("{test: milestone, at: 13 mo}", "after the end of follow-up"),
    "cure_fraction: 0.2": ("cure_fraction: 0.6", "must leave fewer than 0.6 cured"),
    "{hazard_per_year: 0.8}": ("{hazard_per_year: 0}", "must have a hazard above 0"),
    "cox: {hazard_ratio: 0.65}": ("cox: {odds_ratio: 0.65}", "must be hazard_ratio for an"),
    "cox: {hazard_per_year: 0.8}": ("cox: {risk: 0.4}", "does not state an endpoint of kind time"),
    "analysis: {test: restricted-mean, until: 9 mo}": (
        "analysis: maxcombo",
        "MaxCombo decides without one",
    ),
}


@pytest.mark.parametrize("was", list(REFUSED))
def test_regression_what_cannot_be_is_refused_with_a_remedy(trialsim, tmp_path, was):
    now, message = REFUSED[was]
    assert FILE.count(was) == 1
    text = FILE.replace(was, now).replace("[sofa, relapse]}\nnature", "[sofa, mean]}\nnature")
    (tmp_path / "file.yaml").write_text(text)
    done = trialsim("check", "file.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
