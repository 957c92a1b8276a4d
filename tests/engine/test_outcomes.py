"""Measured, scored, counted and competing outcomes, alone and together, from file to result."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import stats

from trialsim import load_template, plan_simulation
from trialsim.engine.blocks import draw_patients, simulate_block
from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS
from trialsim.kernels.competing import incidence_on
from trialsim.kernels.hazards import Hazard
from trialsim.kernels.ordered import shifted
from trialsim.protocol.outcomes import CompetingTruth
from trialsim.trial import Measure, Path

HEAD = """
schema_version: 1
id: several
title: Several endpoints
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower}
    - {id: sofa, level: secondary, kind: continuous, variable: SOFA, unit: points, at: [3 d, 7 d],
       better: lower, analysis: ancova}
    - {id: score, level: secondary, kind: continuous, variable: score, unit: points, at: [7 d],
       better: lower}
    - {id: crp, level: secondary, kind: continuous, variable: CRP, unit: mg/L, at: [7 d],
       better: lower, scale: log, analysis: welch}
    - {id: state, level: secondary, kind: ordinal, variable: state, at: 28 d, better: higher,
       categories: [dead, ventilated, ward, home]}
    - {id: days, level: secondary, kind: days-alive-and-free, variable: ventilator-free days,
       at: 28 d, analysis: wilcoxon}
    - {id: infections, level: secondary, kind: count, event: infections, at: 90 d, better: lower}
    - {id: specific, level: secondary, kind: competing-risks, event: transplant, competing: death,
       at: 90 d, better: lower}
    - {id: incidence, level: secondary, kind: competing-risks, event: transplant,
       competing: death, at: 90 d, better: lower, analysis: cumulative-incidence}
    - {id: subdistribution, level: secondary, kind: competing-risks, event: transplant,
       competing: death, at: 90 d, better: lower, analysis: fine-gray}
    - {id: visits, level: secondary, kind: continuous, variable: score, unit: points,
       at: [1 wk, 2 wk, 3 wk], better: lower, analysis: mmrm}
    - {id: icu, level: secondary, kind: binary, event: intensive care, at: 7 d, better: lower}
  sample_size: {total: 200}
  multiplicity: {method: holm, endpoints: [death, sofa, icu]}
nature:
  control_risk: 0.3
  outcomes:
    sofa: {mean: [7, 6], sd: 3, baseline: {mean: 8, sd: 3, correlation: 0.6}}
    score: {mean: 6, sd: 3}
    crp: {geometric_mean: 50, geometric_sd: 2}
    state: {probabilities: [0.25, 0.15, 0.2, 0.4]}
    days: {death: 0.24, mean_days: 18, sd_days: 8}
    infections: {rate_per_year: 4, dispersion: 0.5, lost_per_year: 0.4}
    specific: {event: {hazard_per_year: 2}, competing: {hazard_per_year: 1}, lost_per_year: 0.3}
    incidence: {event: {hazard_per_year: 2}, competing: {hazard_per_year: 1}}
    subdistribution: {event: {hazard_per_year: 2}, competing: {hazard_per_year: 1}}
    visits: {mean: 10, sd: 4, correlation: {autoregressive: 0.7}, lost_per_visit: 0.05}
    icu: {risk: 0.4}
  correlations:
    - {between: [death, sofa], value: 0.5}
    - {between: [sofa, severity], value: 0.4}
    - {between: [score, icu], value: 0.6}
scenarios:
  - {id: no-effect, title: no effect}
  - id: effect
    title: an effect
    effect: {odds_ratio: 0.5}
    outcomes:
      sofa: {mean_difference: -1.2}
      score: {mean_difference: -1.2}
      crp: {ratio_of_geometric_means: 0.75}
      state: {odds_ratio: 1.8}
      days: {odds_ratio: 1.8}
      infections: {rate_ratio: 0.6}
      specific: {hazard_ratio: 0.5}
      incidence: {hazard_ratio: 0.5}
      subdistribution: {hazard_ratio: 0.5}
      visits: {mean_difference: [0, -1, -1.8]}
      icu: {risk_ratio: 0.6}
"""
REPLICATES = 2048


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("several") / "several.yaml"
    path.write_text(HEAD)
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


ENDPOINTS = ["sofa", "score", "crp", "state", "days", "infections", "specific", "incidence"]
ENDPOINTS += ["subdistribution", "visits", "icu"]
ASYMPTOTIC = {"infections": 0.006, "specific": 0.004, "incidence": 0.01, "subdistribution": 0.004}
ASYMPTOTIC |= {"state": 0.004, "icu": 0.004}  # how far the levels of asymptotic tests may lie


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_property_every_kind_keeps_its_level(result, endpoint):
    error = rows_of(result, endpoint, "no-effect")[Measure.TYPE_I_ERROR]
    assert error.n_failed == 0
    mcse = sqrt(0.05 * 0.95 / REPLICATES)
    assert abs(error.value - 0.05) < 4 * mcse + ASYMPTOTIC.get(endpoint, 0.0)


@pytest.mark.parametrize("endpoint", ["sofa", "score", "crp", "days", "incidence", "visits"])
def test_property_estimates_are_of_the_stated_effect(result, endpoint):
    found = rows_of(result, endpoint, "effect")
    assert abs(found[Measure.BIAS].value) < 4 * found[Measure.BIAS].mcse


@pytest.mark.parametrize("endpoint", ["state", "infections", "specific", "subdistribution"])
def test_property_log_ratios_are_of_the_stated_effect_but_for_a_small_sample(result, endpoint):
    found = rows_of(result, endpoint, "effect")
    small = 0.04  # of a log ratio near -0.6 with some tens of events
    assert abs(found[Measure.BIAS].value) < 4 * found[Measure.BIAS].mcse + small


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_property_intervals_cover(result, endpoint):
    coverage = rows_of(result, endpoint, "effect")[Measure.COVERAGE]
    assert abs(coverage.value - 0.95) < 4 * sqrt(0.05 * 0.95 / REPLICATES) + 0.01


def test_analytic_power_of_a_t_test_is_the_noncentral_t(result):
    power = rows_of(result, "score", "effect")[Measure.POWER]
    shift = 1.2 / (3 * sqrt(2 / 100))
    limit = stats.t.ppf(0.975, 198)
    exact = stats.nct.sf(limit, 198, shift) + stats.nct.cdf(-limit, 198, shift)
    assert abs(power.value - exact) < 4 * power.mcse


def test_analytic_power_of_welch_on_logarithms(result):
    power = rows_of(result, "crp", "effect")[Measure.POWER]
    shift = abs(log(0.75)) / (log(2) * sqrt(2 / 100))
    limit = stats.t.ppf(0.975, 198)
    assert abs(power.value - stats.nct.sf(limit, 198, shift)) < 4 * power.mcse


def test_analytic_power_of_ancova_is_that_of_the_residual_variance(result):
    power = rows_of(result, "sofa", "effect")[Measure.POWER]
    residual = 3 * sqrt(1 - 0.6**2)  # Borm, Fransen and Lemmens 2007
    shift = 1.2 / (residual * sqrt(2 / 100))
    exact = stats.nct.sf(stats.t.ppf(0.975, 197), 197, shift)
    assert abs(power.value - exact) < 4 * power.mcse + 0.01  # one patient's worth of chance balance


def test_reference_power_of_ordinal_and_counts(result):
    """Whitehead 1993 (eq. 8) and the Wald test of two negative binomial rates, 4 MCSE + 0.02."""
    state = rows_of(result, "state", "effect")[Measure.POWER]
    control = np.array([0.25, 0.15, 0.2, 0.4])
    above = 1 - np.cumsum(control)[:-1]
    moved = 1.8 * above / (1 - above + 1.8 * above)
    treated = -np.diff(np.r_[1, moved, 0])
    pooled = (control + treated) / 2
    se = sqrt(12 / (200 * (1 - (pooled**3).sum())))
    assert abs(state.value - stats.norm.cdf(log(1.8) / se - 1.959964)) < 4 * state.mcse + 0.02
    counted = rows_of(result, "infections", "effect")[Measure.POWER]
    years = (1 - exp(-0.4 * 90 / 365.25)) / 0.4
    means = 4 * years * np.array([1, 0.6])
    se = sqrt(((1 / means + 0.5) / 100).sum())
    assert abs(counted.value - stats.norm.cdf(-log(0.6) / se - 1.959964)) < 4 * counted.mcse + 0.02


def test_analytic_power_of_ranks_is_that_of_the_win_difference(result, plan):
    """Normal limit of the U statistic, its variances by the placements of both arms."""
    days = plan.jobs[0].truths[1].outcome("days")
    control, treated = np.array(days.control), np.array(days.treated)
    below = np.cumsum(control) - control / 2  # placement of a treated patient
    above = 1 - np.cumsum(treated) + treated / 2
    won = (treated * below).sum()
    variance = (treated * (below - won) ** 2).sum() / 100 + (
        control * (above - won) ** 2
    ).sum() / 100
    pooled = (control + treated) / 2
    null = (1 - (pooled**3).sum()) / 12 * (2 / 100)
    power = rows_of(result, "days", "effect")[Measure.POWER]
    exact = stats.norm.cdf((won - 0.5 - 1.959964 * sqrt(null)) / sqrt(variance))
    assert abs(power.value - exact) < 4 * power.mcse + 0.01


def test_reference_power_of_a_cause_specific_test_is_schoenfelds(result):
    """Schoenfeld 1981, with the events two exponential hazards and loss leave, 4 MCSE + 0.02."""
    power, year = rows_of(result, "specific", "effect")[Measure.POWER], 90 / 365.25
    events = sum(
        100 * hazard / (hazard + 1.3) * (1 - exp(-(hazard + 1.3) * year)) for hazard in (2, 1)
    )
    exact = stats.norm.cdf(log(2) * sqrt(events / 4) - 1.959964)
    assert abs(power.value - exact) < 4 * power.mcse + 0.02


def test_analytic_cumulative_incidence_of_constant_hazards(result):
    shown = {
        row.arm: row.value
        for row in result.rows
        if (row.endpoint, row.scenario, row.measure) == ("incidence", "effect", Measure.RISK)
    }
    year = 90 / 365.25
    assert shown["placebo"] == pytest.approx(2 / 3 * (1 - exp(-3 * year)), abs=1e-9)
    assert shown["drug"] == pytest.approx(1 / 2 * (1 - exp(-2 * year)), abs=1e-9)


def test_analytic_truths_without_numpy_agree_with_the_kernels(plan):
    """Incidences in pieces, at 1e-9, and shares shifted by an odds ratio, at 1e-12."""
    pieces = ((20.0, 50.0), (0.004, 0.001, 0.01)), ((30.0,), (0.002, 0.005))
    truth = CompetingTruth((pieces[0],) * 2, (pieces[1],) * 2, 1.0, 0.0, 90.0, 0.5)
    first, _ = incidence_on(90.0, Hazard(*pieces[0]), Hazard(*pieces[1]))
    assert truth.arms[0] == pytest.approx(float(first), abs=1e-9)
    state = plan.jobs[0].truths[1].outcome("state")
    assert state.treated == pytest.approx(shifted(state.control, 1.8).tolist(), abs=1e-12)


def test_property_correlated_outcomes_keep_their_margins(plan):
    """Kolmogorov-Smirnov P above 1e-4 at more than 10^5 patients a margin."""
    job = plan.jobs[0]
    values = {name: [] for name in ("sofa", "score", "visits", "crp", "death", "icu")}
    for block in range(3):
        _, batches = draw_patients(job, 1, block, frozenset())
        for name, found in values.items():
            kind = ENDPOINT_KINDS[type(job.protocol.endpoint(name))]
            planned = next(plan for plan in job.plans if plan.endpoint == name)
            found.append(kind.score(batches[0][name], planned)[0].ravel())
    joined = {name: np.concatenate(found) for name, found in values.items()}
    assert len(joined["sofa"]) > 100_000
    for name, mean, sd in (("sofa", 6, 3), ("score", 6, 3), ("crp", log(50), log(2))):
        assert stats.kstest(joined[name], "norm", (mean, sd)).pvalue > 1e-4
    seen = joined["visits"][np.isfinite(joined["visits"])]
    assert stats.kstest(seen, "norm", (10, 4)).pvalue > 1e-4
    for name, risk in (("death", 0.3), ("icu", 0.4)):
        mean = joined[name].mean()
        assert abs(mean - risk) < 4 * sqrt(risk * (1 - risk) / len(joined[name]))


def test_analytic_latent_correlation_of_a_normal_and_a_risk_is_seen_weaker(result):
    """Biserial: r of a normal with an event is the latent one times phi(z) / sqrt(p q)."""
    seen = {
        (row.endpoint, (row.analysis or "").split(",")[0]): row
        for row in result.rows
        if row.measure is Measure.CORRELATION
    }
    for (first, second), latent, risk in (
        (("death", "with sofa"), 0.5, 0.3),
        (("score", "with icu"), 0.6, 0.4),
    ):
        row = seen[first, second]
        factor = stats.norm.pdf(stats.norm.ppf(risk)) / sqrt(risk * (1 - risk))
        assert abs(row.value - latent * factor) < 4 * row.mcse + 0.002  # r is biased at n = 100
    none = seen["death", "with crp"]
    assert abs(none.value) < 4 * none.mcse


def test_regression_company_changes_nothing_in_the_primary_endpoint(plan, tmp_path):
    alone = HEAD.partition("  outcomes:\n    sofa")[0] + HEAD.partition("icu: {risk: 0.4}\n")[2]
    alone = alone.partition("  correlations:")[0] + "scenarios:\n  - {id: no-effect, title: none}\n"
    alone = alone.replace("  multiplicity: {method: holm, endpoints: [death, sofa, icu]}\n", "")
    path = tmp_path / "alone.yaml"
    path.write_text(alone)
    single = plan_simulation(load_template(str(path)))
    own = replace(single.jobs[0], path=Path.PATIENTS)
    without = simulate_block(own, 1, 0)[0][0]
    together = simulate_block(plan.jobs[0], 1, 0)[0][0]
    assert without.same_as(together)


def test_property_holm_keeps_the_familywise_error_and_is_below_each_alone(result):
    rows = [row for row in result.rows if row.scenario == "no-effect"]
    any_found = next(row for row in rows if row.measure is Measure.POWER_DISJUNCTIVE)
    assert any_found.value < 0.05 + 4 * sqrt(0.05 * 0.95 / REPLICATES) + 0.004
    effect = [row for row in result.rows if row.scenario == "effect"]
    adjusted = {r.endpoint: r.value for r in effect if r.measure is Measure.POWER_ADJUSTED}
    assert set(adjusted) == {"death", "sofa", "icu"}
    for endpoint, power in adjusted.items():
        assert power < rows_of(result, endpoint, "effect")[Measure.POWER].value
    every = next(row.value for row in effect if row.measure is Measure.POWER_CONJUNCTIVE)
    some = next(row.value for row in effect if row.measure is Measure.POWER_DISJUNCTIVE)
    assert every <= min(adjusted.values()) <= max(adjusted.values()) <= some


def test_regression_a_patient_of_a_replayed_trial_has_every_endpoint(plan):
    trial = plan.replay("effect", 1, 3)
    names = set(trial.patients)
    assert {"sofa_baseline", "sofa_visit_2", "crp_visit_1", "state_category", "days_days"} <= names
    assert {"infections_events", "infections_days", "specific_ended", "icu_event"} <= names
    assert trial.patients["days_days"].min() >= -1


REFUSED = {
    "sofa: {mean: [7, 6]": ("sofa: {mean: [7, 6, 5]", "must have one mean, or one for each of"),
    "[0.25, 0.15, 0.2, 0.4]": ("[0.25, 0.15, 0.2, 0.3]", "add up to 1, not 0.9"),
    "sd_days: 8": ("sd_days: 0.1", "a mean of 18 goes with an SD from"),
    "value: 0.5}": ("value: 0.99}", "not positive definite"),
    "icu: {risk_ratio: 0.6}": ("icu: {risk_ratio: 3}", "which is not between 0 and 1"),
    "sofa: {mean_difference: -1.2}": ("sofa: {rate_ratio: 0.5}", "must be mean_difference or"),
    "icu: {risk: 0.4}": ("icu: {mean: 3, sd: 1}", "does not state an endpoint of kind binary"),
    "between: [score, icu]": ("between: [score, icv]", "is neither simulated nor severity"),
    "[death, sofa, icu]": ("[death, sofa, icv]", "is not simulated"),
    "baseline: {mean: 8, sd: 3, correlation: 0.6}}": (
        "correlation: {exchangeable: 0.5}}",
        "needs 'baseline' for the analysis 'ancova'",
    ),
    "{autoregressive: 0.7}": ("{exchangeable: -0.6}", "positive definite"),
}


@pytest.mark.parametrize("was", list(REFUSED))
def test_regression_what_cannot_be_is_refused_with_a_remedy(trialsim, tmp_path, was):
    now, message = REFUSED[was]
    assert was in HEAD
    text = HEAD.replace(was, now, 1)
    (tmp_path / "file.yaml").write_text(text)
    done = trialsim("check", "file.yaml", cwd=tmp_path)
    assert done.returncode == 2
    said = " ".join((done.stdout + done.stderr).split())
    assert message in said
    assert "Traceback" not in said
