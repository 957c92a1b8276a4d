"""Looks at measurements, scores and counts: levels, power, and who is seen when."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from trialsim import load_template, plan_simulation
from trialsim.engine.blocks import draw_patients, simulate_block
from trialsim.kernels.mmrm import fit_mmrm
from trialsim.trial import AnalysisPlan, Measure

OBRIEN_FLEMING = (2.79651, 1.97743)  # two looks, two-sided 5%: 1.97743 times the root of 2, and it
FILE = """
schema_version: 1
id: looks
title: Looks at what is read at one time
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: out, level: primary, KIND}
  sample_size: {total: TOTAL}
  looks: [{at: {FIRST}, efficacy_z: 2.79651}, {at: {information: 1}, efficacy_z: 1.97743}]
nature:
  enrolment: {uniform: 12 mo}
  outcomes: {out: MODEL}
scenarios:
  - {id: no-effect, title: no effect}
  - {id: effect, title: an effect, outcomes: {out: EFFECT}}
"""
MEASURED = "kind: continuous, variable: SOFA, unit: points, at: [28 d], better: lower"
ORDINAL = "kind: ordinal, variable: state, at: 28 d, better: higher, categories: [dead, ward, home]"
DAYS = "kind: days-alive-and-free, variable: free days, at: 28 d, analysis: wilcoxon"
COUNT = "kind: count, event: infections, at: 90 d, better: lower"
KINDS = {
    "t-test": (MEASURED, "{mean: 7, sd: 3}", "{mean_difference: -1.2}"),
    "welch": (f"{MEASURED}, analysis: welch", "{mean: 7, sd: 3}", "{mean_difference: -1.2}"),
    "ancova": (
        f"{MEASURED}, analysis: ancova",
        "{mean: 7, sd: 3, baseline: {mean: 8, sd: 3, correlation: 0.6}}",
        "{mean_difference: -1.2}",
    ),
    "ordinal": (ORDINAL, "{probabilities: [0.3, 0.3, 0.4]}", "{odds_ratio: 1.8}"),
    "days": (DAYS, "{death: 0.24, mean_days: 18, sd_days: 8}", "{odds_ratio: 1.8}"),
    "count": (COUNT, "{rate_per_year: 6, dispersion: 0.3}", "{rate_ratio: 0.6}"),
}


def text_of(name, total=200, first="information: 0.5"):
    kind, model, effect = KINDS[name]
    text = FILE.replace("KIND", kind).replace("MODEL", model).replace("EFFECT", effect)
    return text.replace("TOTAL", str(total)).replace("FIRST", first)


@pytest.fixture
def planned(tmp_path):
    def make(name, **more):
        path = tmp_path / "looks.yaml"
        path.write_text(text_of(name, **more))
        return plan_simulation(load_template(str(path)))

    return make


def row_of(result, scenario, measure, **more):
    return next(
        row
        for row in result.rows
        if (row.scenario, row.measure) == (scenario, measure)
        and all(getattr(row, key) == value for key, value in more.items())
    )


def test_analytic_two_obrien_fleming_looks_at_a_measurement(planned):
    """Level and power of the canonical joint normal: 4 MCSE, and 0.005 for t with 98 df."""
    result = planned("t-test").simulate(replicates=10_240, seed=1)
    error = row_of(result, "no-effect", Measure.TYPE_I_ERROR)
    assert abs(error.value - 0.05) < 4 * sqrt(0.05 * 0.95 / 10_240)
    drift = 1.2 / (3 * sqrt(2 / 100))
    both = stats.multivariate_normal(
        [drift * sqrt(0.5), drift], [[1, sqrt(0.5)], [sqrt(0.5), 1]], seed=1
    )
    kept = both.cdf(OBRIEN_FLEMING, lower_limit=-np.array(OBRIEN_FLEMING))
    power = row_of(result, "effect", Measure.POWER)
    assert abs(power.value - (1 - kept)) < 4 * power.mcse + 0.005
    early = row_of(result, "effect", Measure.STOP_PROBABILITY, look=1, analysis="efficacy")
    exact = stats.norm.sf(OBRIEN_FLEMING[0] - drift * sqrt(0.5))
    assert abs(early.value - exact) < 4 * early.mcse + 0.01


def test_analytic_bounds_keep_their_level_in_small_samples(planned):
    """At ten patients t beyond 2.797 has P = 0.023, its normal score P = 0.005: 4 MCSE."""
    result = planned("t-test", total=20).simulate(replicates=20_480, seed=1)
    first = row_of(result, "no-effect", Measure.STOP_PROBABILITY, look=1, analysis="efficacy")
    exact = 2 * stats.norm.sf(OBRIEN_FLEMING[0])
    assert abs(first.value - exact) < 4 * sqrt(exact / 20_480)
    error = row_of(result, "no-effect", Measure.TYPE_I_ERROR)
    assert abs(error.value - 0.05) < 4 * sqrt(0.05 * 0.95 / 20_480) + 0.001


@pytest.mark.parametrize("name", [name for name in KINDS if name != "t-test"])
def test_property_two_looks_keep_the_level_of_every_kind(planned, name):
    """4 MCSE, and 0.005 for tests that are asymptotic."""
    result = planned(name).simulate(replicates=2048, seed=1)
    error = row_of(result, "no-effect", Measure.TYPE_I_ERROR)
    assert error.n_failed == 0
    assert abs(error.value - 0.05) < 4 * sqrt(0.05 * 0.95 / 2048) + 0.005
    assert row_of(result, "effect", Measure.EXPECTED_N).value < 200


def test_analytic_a_look_sees_the_first_patients_and_the_last_look_everyone(planned):
    plan = planned("t-test")
    job = plan.jobs[0]
    _, batches = draw_patients(job, 1, 0, frozenset())
    batch = batches[1]["out"]
    found = simulate_block(job, 1, 0)[1][0]
    for look, n in ((0, 100), (1, 200)):
        for k in range(5):
            values, treated = batch.visits[:n, 0, k], batch.assigned[:n, k]
            t = stats.ttest_ind(values[treated], values[~treated])
            assert found.p_value[k, look] == pytest.approx(t.pvalue, rel=1e-9)
            assert found.z[k, look] == pytest.approx(
                -np.sign(t.statistic) * stats.norm.isf(t.pvalue / 2), rel=1e-9
            )
    once = replace(plan.jobs[0].plans[0], looks=())
    alone = simulate_block(replace(job, plans=(once,)), 1, 0)[1][0]
    np.testing.assert_array_equal(alone.estimate[:, 0], found.estimate[:, 1])
    np.testing.assert_array_equal(found.information, np.tile([100, 200], (256, 1)))


@pytest.mark.parametrize(
    ("first", "day_of"),
    [
        ("calendar: 8 mo", lambda entry: np.full(entry.shape[1], 8 * 30.4375)),
        ("enrolled: 120", lambda entry: entry[119]),
    ],
)
def test_analytic_patients_are_read_out_a_fixed_time_after_entry(planned, first, day_of):
    job = planned("count", first=first).jobs[0]
    candidates, _ = draw_patients(job, 1, 0, frozenset())
    found = simulate_block(job, 1, 0)[0][0]
    read = (candidates.entry + 90 <= day_of(candidates.entry)).sum(axis=0)
    np.testing.assert_array_equal(
        found.information[~found.failed[:, 0], 0], read[~found.failed[:, 0]]
    )
    assert (found.day[:, 1] > found.day[:, 0]).all()


def test_property_the_mixed_model_at_a_look_knows_only_those_read_out(tmp_path):
    text = text_of("t-test", total=60).replace(
        "at: [28 d], better: lower", "at: [1 wk, 2 wk, 4 wk], better: lower, analysis: mmrm"
    )
    path = tmp_path / "mmrm.yaml"
    path.write_text(text.replace("sd: 3}", "sd: 3, lost_per_visit: 0.05}"))
    job = plan_simulation(load_template(str(path))).jobs[0]
    _, batches = draw_patients(job, 1, 0, frozenset())
    found = simulate_block(job, 1, 0)[1][0]
    batch = batches[1]["out"]
    fit = fit_mmrm(batch.visits[:30], batch.assigned[:30])
    ok = fit.converged & ~found.failed[:, 0]
    assert ok.mean() > 0.9
    np.testing.assert_allclose(found.estimate[ok, 0], fit.estimate[ok, -1], rtol=1e-6)


def test_regression_a_replay_shows_who_is_read_out_when_the_trial_stops(planned):
    plan = planned("days")
    trial = next(t for k in range(1, 60) if (t := plan.replay("effect", 1, k)).stopped_at == 0)
    seen = trial.patients["why_not_seen"] == ""
    assert seen.sum() == 100
    assert np.isfinite(trial.patients["days"][seen]).all()
    assert np.isnan(trial.patients["days"][~seen]).all()
    assert len(seen) < 200  # those who enter after the decision are not there
    assert len(seen) > 100  # and some are in the pipeline


def test_property_a_further_endpoint_is_read_once(tmp_path):
    icu = "    - {id: icu, level: secondary, kind: binary, event: i, at: 7 d, better: lower}\n"
    text = text_of("t-test").replace("  sample_size", f"{icu}  sample_size")
    path = tmp_path / "two.yaml"
    path.write_text(text.replace("sd: 3}}", "sd: 3}, icu: {risk: 0.3}}"))
    resolved = load_template(str(path))
    assert AnalysisPlan.of(resolved.template.protocol, resolved.endpoint("icu")).looks == ()
    result = plan_simulation(resolved).simulate(replicates=256, seed=1)
    assert row_of(result, "effect", Measure.POWER, endpoint="icu").n_replicates == 256


REFUSED = {
    "competing": (
        "kind: competing-risks, event: transplant, competing: death, at: 90 d, better: lower",
        "{event: {hazard_per_year: 1}, competing: {hazard_per_year: 1}}",
        "{hazard_ratio: 0.6}",
        "information: 0.5",
        "asks for looks, which an endpoint of kind competing-risks does not have yet",
    ),
    "events": (*KINDS["count"], "events: 40", "counts events, which set off no look at a count"),
    "after": (*KINDS["t-test"], "calendar: 30 mo", "comes after the end"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_regression_looks_that_cannot_be_are_refused_by_name(trialsim, tmp_path, name):
    kind, model, effect, first, words = REFUSED[name]
    text = FILE.replace("KIND", kind).replace("MODEL", model).replace("EFFECT", effect)
    (tmp_path / "f.yaml").write_text(text.replace("TOTAL", "100").replace("FIRST", first))
    done = trialsim("check", "f.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
