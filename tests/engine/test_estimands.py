"""The same patients under several estimands: against closed forms, and from file to screen."""

from __future__ import annotations

import re
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from trialsim import load_template, plan_simulation
from trialsim.engine.blocks import simulate_block
from trialsim.report.screens.screen import simulation_screen
from trialsim.studies.estimands import estimand_value
from trialsim.trial import Measure

DAYS_PER_YEAR = 365.25
DAY = 180.0
ARMS = ("placebo", "drug")
KINDS = {
    "binary": ("kind: binary, event: relapse, at: 180 d, better: lower", "", "odds_ratio: 0.5"),
    "continuous": (
        "kind: continuous, variable: score, unit: points, at: [60 d, 120 d, 180 d], better: lower",
        "{mean: 20, sd: 8, baseline: {mean: 24, sd: 8, correlation: 0.5}}",
        "mean_difference: -4",
    ),
    "count": (
        "kind: count, event: attacks, at: 180 d, better: lower",
        "{rate_per_year: 3, dispersion: 0.3}",
        "rate_ratio: 0.6",
    ),
    "ordinal": (
        "kind: ordinal, variable: state, at: 180 d, better: higher, categories: [a, b, c, d]",
        "{probabilities: [0.1, 0.3, 0.4, 0.2]}",
        "odds_ratio: 1.8",
    ),
    "response": (
        "kind: response, event: response, at: 180 d, better: higher",
        "",
        "treated: [{until: 180 d, hazard_per_year: 2}]",
    ),
}
STOPPING = "{id: stopping, control: {hazard_per_year: 0.4}, treated: {hazard_per_year: 0.8}%s}"
SAME = "{id: stopping, control: {hazard_per_year: 0.6}%s}"
ALL = {
    "composite": "composite variable",
    "while-on": "while on treatment",
    "hypothetical": "hypothetical, missing: complete case",
    "stratum": "principal stratum",
}


def asking(**strategies):
    """Return further estimands of stopping, with what else stands beside the strategy."""
    lines = []
    for name, said in strategies.items():
        strategy, _, beside = said.partition(", ")
        beside = f", {beside}" if beside else ""
        name = name.replace("_", "-")
        lines.append(f"{{id: {name}, intercurrent_events: {{stopping: {strategy}}}{beside}}}")
    return lines


def planned(tmp_path, kind, events, further=(), *, beside="", nature="", effect=None):
    """Return the simulation of one endpoint of a kind, `y`, under no effect and under one."""
    what, model, usual = KINDS[kind]
    own = usual if effect is None else effect
    control = "control: [{until: 180 d, hazard_per_year: 1}]"
    none, scenario = "", f", outcomes: {{y: {{{own}}}}}"
    if kind == "binary":
        scenario = f", effect: {{{own}}}"
    elif kind == "response":
        none, scenario = f", response: {{{control}}}", f", response: {{{control}, {own}}}"
    lines = [
        "schema_version: 1",
        "id: asked",
        "title: Several questions",
        "protocol:",
        "  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]",
        "  endpoints:",
        f"    - {{id: y, level: primary, {what}{beside},",
        f"       further_estimands: [{', '.join(further)}]}}",
        "  sample_size: {total: 200}",
        "nature:",
        {"binary": "  control_risk: 0.4", "response": "  factors: []"}.get(
            kind, f"  outcomes: {{y: {model}}}"
        ),
        f"  intercurrent_events: [{', '.join(events)}]",
        *([f"  {nature}"] if nature else []),
        "scenarios:",
        f"  - {{id: none, title: no effect{none}}}",
        f"  - {{id: effect, title: an effect{scenario}}}",
    ]
    path = tmp_path / f"{kind}.yaml"
    path.write_text("\n".join(lines) + "\n")
    return plan_simulation(load_template(str(path)))


def values(plan, scenario="effect"):
    """Return what every estimand is under a scenario, by its id."""
    job = plan.jobs[0]
    truth = next(t for t in job.truths if t.scenario == scenario)
    return {p.estimand.id: estimand_value(job, p, truth) for p in job.plans}


def found(plan, scenario="effect", *, replicates=2048, seed=1):
    """Return the rows without arm of every estimand, by its id and measure."""
    rows = plan.simulate(replicates=replicates, seed=seed).rows
    return {
        (row.estimand, row.measure): row
        for row in rows
        if row.scenario == scenario and row.estimand and row.arm is None
    }


def unbiased(rows, name, *, small=0.0):
    bias = rows[name, Measure.BIAS]
    return abs(bias.value) < 4 * bias.mcse + small


def happens(per_year, day=DAY):
    return 1 - exp(-per_year * day / DAYS_PER_YEAR)


# -- without events ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_property_without_events_every_strategy_is_the_ordinary_analysis(tmp_path, kind):
    never = "{id: stopping, control: {hazard_per_year: 0}}"
    refused = {"count": {"composite"}, "ordinal": {"while-on"}, "continuous": {"composite"}}
    own = {n: s for n, s in ALL.items() if n not in refused.get(kind, set())}
    if kind == "count":
        own["hypothetical"] = "hypothetical"
    own = {n: s.replace("complete case", "missing is failure") if kind == "response" else s
           for n, s in own.items()}  # fmt: skip
    job = planned(tmp_path, kind, [never], asking(**own)).jobs[0]
    quiet = replace(
        job,
        plans=(replace(job.plans[0], estimand=None),),
        truths=tuple(replace(truth, intercurrent=()) for truth in job.truths),
    )
    ordinary = simulate_block(quiet, 3, 0)
    asked = simulate_block(job, 3, 0)
    for plain, results in zip(ordinary, asked, strict=True):
        assert len(results) == len(own) + 1
        for result in results:
            np.testing.assert_allclose(result.estimate, plain[0].estimate, rtol=0, atol=1e-11)
            np.testing.assert_allclose(result.p_value, plain[0].p_value, rtol=0, atol=1e-9)


def test_property_prognosis_and_an_event_that_changes_nothing_leave_the_analysis_alone(tmp_path):
    job = planned(tmp_path, "binary", [SAME % ""], nature="severity_slope: 1.0").jobs[0]
    quiet = replace(
        job,
        plans=(replace(job.plans[0], estimand=None),),
        truths=tuple(replace(truth, intercurrent=()) for truth in job.truths),
    )
    for plain, results in zip(simulate_block(quiet, 3, 0), simulate_block(job, 3, 0), strict=True):
        np.testing.assert_allclose(results[0].estimate, plain[0].estimate, rtol=0, atol=1e-11)


# -- continuous --------------------------------------------------------------------------------


def test_analytic_treatment_policy_mean_is_a_mixture(tmp_path):
    stops, kept, rescued, shift = 0.8, 0.25, 0.5, -3.0
    events = [
        STOPPING % f", then: {{effect_kept: {kept}}}",
        f"{{id: rescue, control: {{hazard_per_year: {rescued}}}, treated: {{hazard_per_year: 0.1}},"
        f" then: {{effect: {{y: {{mean_difference: {shift}}}}}}}}}",
    ]
    plan = planned(tmp_path, "continuous", events)
    expected = -4 * (1 - happens(stops) * (1 - kept)) + shift * (happens(0.1) - happens(rescued))
    own = values(plan)["main"]
    assert abs(own.theta - expected) < 4 * own.mcse
    assert own.mcse < 0.01
    rows = found(plan)
    estimate = rows["main", Measure.ESTIMATE_MEAN]
    assert abs(estimate.value - expected) < 4 * estimate.mcse
    assert unbiased(rows, "main")


def test_analytic_worst_ranks_win_as_their_closed_form(tmp_path):
    plan = planned(tmp_path, "continuous", [STOPPING % ""], asking(composite="composite variable"))
    q0, q1 = happens(0.4), happens(0.8)
    # lower is better, so the worst are highest: a stopped patient of either arm beats in rank
    values_alone = 2 * stats.norm.cdf(-4 / (8 * sqrt(2))) - 1
    expected = (1 - q1) * (1 - q0) * values_alone + q1 * (1 - q0) - (1 - q1) * q0
    own = values(plan)["composite"]
    assert abs(own.theta - expected) < 4 * own.mcse
    assert unbiased(found(plan), "composite")


def test_analytic_while_on_treatment_is_the_last_visit_before(tmp_path):
    # The effect grows from visit to visit: who stops between two keeps that of the first.
    plan = planned(
        tmp_path,
        "continuous",
        [STOPPING % ""],
        asking(while_on="while on treatment"),
        effect="mean_difference: [-1, -2, -4]",
    )
    left = [1 - happens(0.8, day) for day in (60.0, 120.0, 180.0)]
    treated = (left[0] - left[1]) * -1 + (left[1] - left[2]) * -2 + left[2] * -4
    # before the first visit the baseline counts, 4 points above what control shows later
    expected = treated + 4 * (happens(0.8, 60.0) - happens(0.4, 60.0))
    own = values(plan)["while-on"]
    assert abs(own.theta - expected) < 4 * own.mcse
    assert unbiased(found(plan), "while-on")


@pytest.mark.parametrize("analysis", ["ancova", "mmrm"])
def test_property_a_hypothetical_estimand_is_unbiased_where_events_are_at_random(
    tmp_path, analysis
):
    # sicker patients stop, in the treated arm alone
    at_random = ", hazard_ratio_per_sd: {endpoint: y, previous: 2}, then: {effect_kept: 0}"
    events = [
        "{id: stopping, control: {hazard_per_year: 0}, treated: {hazard_per_year: 1.2}"
        + at_random
        + "}"
    ]
    further = asking(
        hypothetical="hypothetical",
        complete="hypothetical, missing: complete case",
    )
    beside = f", analysis: {analysis}"
    plan = planned(tmp_path, "continuous", events, further, beside=beside)
    assert values(plan)["hypothetical"].theta == pytest.approx(-4, abs=1e-12)
    rows = found(plan, replicates=4096 if analysis != "mmrm" else 1024)
    assert unbiased(rows, "hypothetical")
    if analysis != "mmrm":
        # those left are the healthier: lower values in the treated arm, a larger effect
        bias = rows["complete", Measure.BIAS]
        assert bias.value < -4 * bias.mcse
        assert rows["hypothetical", Measure.COVERAGE].n_replicates == 416
        coverage = rows["hypothetical", Measure.COVERAGE]
        assert abs(coverage.value - 0.95) < 4 * sqrt(0.95 * 0.05 / 416)


def test_property_a_hypothetical_estimand_is_biased_where_events_are_not_at_random(tmp_path):
    events = [
        "{id: stopping, control: {hazard_per_year: 0}, treated: {hazard_per_year: 1.2},"
        " hazard_ratio_per_sd: {endpoint: y, current: 2.5}}"
    ]
    further = asking(hypothetical="hypothetical")
    plan = planned(tmp_path, "continuous", events, further, beside=", analysis: mmrm")
    bias = found(plan, replicates=1024)["hypothetical", Measure.BIAS]
    assert bias.value < -4 * bias.mcse  # the sickest of the treated are not seen


def test_analytic_jump_to_reference_has_the_mean_of_those_who_are_as_control(tmp_path):
    # Who stops is not seen any more and has no effect left: what is imputed is what is true.
    further = [
        "{id: jump, missing: jump to reference}",
        "{id: copy, missing: copy reference}",
        "{id: increments, missing: copy increments in reference}",
        "{id: at-random, missing: multiple imputation}",
    ]
    events = [STOPPING % ", then: {effect_kept: 0, lost: true}"]
    plan = planned(tmp_path, "continuous", events, further)
    kept = 1 - happens(0.8)
    assert values(plan)["jump"].theta == pytest.approx(-4 * kept, abs=0.01)
    rows = found(plan, replicates=2048)
    assert unbiased(rows, "jump")
    # Kept effects: none after a jump; by increments all that there was at the last visit seen.
    seen_once = 1 - happens(0.8, 60.0)
    increments = rows["increments", Measure.ESTIMATE_MEAN]
    assert abs(increments.value + 4 * seen_once) < 4 * increments.mcse
    at_random = rows["at-random", Measure.ESTIMATE_MEAN]
    assert abs(at_random.value + 4) < 4 * at_random.mcse
    # Copying the reference carries on by it how far a patient was from it: correlation 0.5 with
    # everything before, so of an effect of -4 at 0, 1 or 2 visits it keeps 0, a third and a half
    # of -4 less what the baseline takes: solved here from the joint normal distribution.
    late = [happens(0.8, 60.0), happens(0.8, 120.0) - happens(0.8, 60.0)]
    late.append(happens(0.8) - happens(0.8, 120.0))
    corr = np.full((3, 3), 0.5) + 0.5 * np.eye(3)  # baseline and two visits
    carried = [0.0]
    for n in (1, 2):
        weights = np.linalg.solve(corr[: n + 1, : n + 1], np.full(n + 1, 0.5))
        carried.append(float(weights[1:].sum()))
    expected = -4 * (kept + sum(q * c for q, c in zip(late, carried, strict=True)))
    copied = rows["copy", Measure.ESTIMATE_MEAN]
    assert abs(copied.value - expected) < 4 * copied.mcse


# -- principal strata --------------------------------------------------------------------------


def test_analytic_a_principal_stratum_of_a_gaussian_dependence(tmp_path):
    # Latent normal numbers of event and outcome correlate: risks are bivariate normal.
    rho = 0.5
    plan = planned(
        tmp_path,
        "binary",
        [STOPPING % ", then: {effect_kept: 0}"],
        asking(stratum="principal stratum"),
        beside=", estimand: {summary: risk difference}",
        nature=f"correlations: [{{between: [stopping, y], value: {rho}}}]",
    )
    both = stats.multivariate_normal([0, 0], [[1, -rho], [-rho, 1]])
    late0, late1 = (stats.norm.ppf(1 - happens(rate)) for rate in (0.4, 0.8))

    def risk(p, limit):  # P(outcome | no event), the event where its latent number is high
        return both.cdf([stats.norm.ppf(p), limit]) / stats.norm.cdf(limit)

    p1 = 0.5 * 0.4 / 0.6 / (1 + 0.5 * 0.4 / 0.6)
    # who would stop under neither treatment are those who would not under the greater hazard
    expected = risk(p1, late1) - risk(0.4, late1)
    own = values(plan)["stratum"]
    assert abs(own.theta - expected) < 4 * own.mcse
    assert own.mcse < 0.002
    assert abs(own.share - stats.norm.cdf(late1)) < 4 * sqrt(0.25 / own.n)
    naive = risk(p1, late1) - risk(0.4, late0)
    estimate = found(plan)["stratum", Measure.ESTIMATE_MEAN]
    assert abs(estimate.value - naive) < 4 * estimate.mcse
    assert abs(estimate.value - expected) > 4 * estimate.mcse  # naive is not true


def test_analytic_the_naive_analysis_of_a_stratum_is_off_by_two_truncated_means(tmp_path):
    rho = 0.6
    plan = planned(
        tmp_path,
        "continuous",
        [STOPPING % ", then: {effect_kept: 0}"],
        asking(stratum="principal stratum"),
        nature=f"correlations: [{{between: [stopping, y], value: {rho}}}]",
    )
    own = values(plan)["stratum"]
    assert own.theta == pytest.approx(-4, abs=1e-12)  # the same in everyone
    late = [stats.norm.ppf(1 - happens(rate)) for rate in (0.4, 0.8)]
    means = [-8 * rho * stats.norm.pdf(c) / stats.norm.cdf(c) for c in late]
    assert abs(own.control - (20 + means[1])) < 4 * 8 / sqrt(own.n * own.share)
    bias = found(plan)["stratum", Measure.BIAS]
    assert abs(bias.value - (means[1] - means[0])) < 4 * bias.mcse


# -- risks -------------------------------------------------------------------------------------


def test_analytic_binary_estimands_of_independent_events(tmp_path):
    plan = planned(
        tmp_path,
        "binary",
        [STOPPING % ", then: {effect_kept: 0.5}"],
        asking(**ALL),
        beside=", estimand: {summary: risk difference}",
    )
    p0 = 0.4
    odds = [p0 / (1 - p0) * ratio for ratio in (1, 0.5, sqrt(0.5))]  # control, drug, half kept
    p = [x / (1 + x) for x in odds]
    h = [-log(1 - x) / DAY for x in p]
    s = [rate / DAYS_PER_YEAR for rate in (0.4, 0.8)]
    q = [happens(0.4), happens(0.8)]
    own = values(plan)

    def near(name, control, treated):
        assert abs(own[name].theta - (treated - control)) < 4 * own[name].mcse + 1e-12

    def free(day):  # stopped on that day, no event by the end
        return s[1] * exp(-s[1] * day - h[1] * day - h[2] * (DAY - day))

    policy = 1 - exp(-(s[1] + h[1]) * DAY) - integrate.quad(free, 0, DAY)[0]
    near("main", p[0], policy)
    near("composite", *(1 - (1 - p[a]) * (1 - q[a]) for a in (0, 1)))
    near("while-on", *(h[a] / (h[a] + s[a]) * (1 - exp(-(h[a] + s[a]) * DAY)) for a in (0, 1)))
    near("hypothetical", p[0], p[1])
    near("stratum", p[0], p[1])
    rows = found(plan)
    for name in own:
        assert unbiased(rows, name), name
        covers = rows[name, Measure.COVERAGE]
        assert abs(covers.value - 0.95) < 4 * sqrt(0.95 * 0.05 / 2048) + 0.005  # Newcombe's


def test_analytic_loss_and_how_it_is_dealt_with(tmp_path):
    lost = "{id: lost, control: {hazard_per_year: 0.5}, then: {lost: true}}"
    further = [
        "{id: failing, missing: missing is failure}",
        "{id: imputed, missing: multiple imputation}",
    ]
    plan = planned(
        tmp_path, "binary", [lost], further, beside=", estimand: {summary: risk difference}"
    )
    rows = found(plan, replicates=8192)
    p1, share = 0.25, happens(0.5)
    assert rows["main", Measure.TRUE_EFFECT].value == pytest.approx(p1 - 0.4, abs=1e-12)
    assert unbiased(rows, "main")
    assert unbiased(rows, "imputed")
    failing = rows["failing", Measure.ESTIMATE_MEAN]
    assert abs(failing.value - (1 - share) * (p1 - 0.4)) < 4 * failing.mcse
    imputed = rows["imputed", Measure.COVERAGE]
    assert imputed.n_replicates == 832
    assert abs(imputed.value - 0.95) < 4 * sqrt(0.95 * 0.05 / 832)
    apart = rows["failing", Measure.ESTIMATE_DIFFERENCE]  # of the same trials
    assert apart.mcse < 0.7 * failing.mcse


def test_analytic_nobody_stops_after_a_terminal_event(tmp_path):
    death = "{id: death, control: {hazard_per_year: 1.5}, terminal: true}"
    plan = planned(
        tmp_path,
        "binary",
        [SAME % "", death],
        ["{id: neither, intercurrent_events: {stopping: composite variable}}"],
        beside=", estimand: {summary: risk difference, intercurrent_events: "
        "{death: composite variable}}",
    )
    own = values(plan)["main"]
    shares = {name: control for name, control, _ in own.events}
    both, n = 0.6 + 1.5, own.n
    expected = 0.6 / both * happens(both)
    assert abs(shares["stopping"] - expected) < 4 * sqrt(0.25 / n)
    assert abs(shares["death"] - happens(1.5)) < 4 * sqrt(0.25 / n)
    assert abs(own.control - (1 - 0.6 * (1 - happens(1.5)))) < 4 * sqrt(0.25 / n)
    assert abs(values(plan)["neither"].control - (1 - 0.6 * (1 - happens(both)))) < 0.004


def test_analytic_response_comes_at_another_pace_after_stopping(tmp_path):
    events = [
        "{id: stopping, control: {hazard_per_year: 0.5}, treated: {hazard_per_year: 0.5},"
        " by_state: {response: 0}, then: {effect_kept: 0}}"
    ]
    plan = planned(
        tmp_path,
        "response",
        events,
        asking(
            composite="composite variable",
            while_on="while on treatment",
            hypothetical="hypothetical",
        ),
        beside=", estimand: {summary: risk difference}",
    )
    a, b, s = (rate / DAYS_PER_YEAR for rate in (1, 2, 0.5))
    own = values(plan)

    def none(day):  # stops without response, and has none by the end
        return s * exp(-(s + b) * day) * exp(-a * (DAY - day))

    policy = 1 - exp(-(s + b) * DAY) - integrate.quad(none, 0, DAY)[0]
    expected = policy - (1 - exp(-a * DAY))
    assert abs(own["main"].theta - expected) < 4 * own["main"].mcse
    # responders do not stop: response before stopping is response at the end
    both = [x / (x + s) * (1 - exp(-(x + s) * DAY)) for x in (a, b)]
    for name in ("composite", "while-on"):
        assert abs(own[name].theta - (both[1] - both[0])) < 4 * own[name].mcse + 0.002
    assert own["hypothetical"].theta == pytest.approx(exp(-a * DAY) - exp(-b * DAY), abs=0.004)
    rows = found(plan)
    for name in ("main", "composite", "while-on"):
        assert unbiased(rows, name), name


# -- counts and scores -------------------------------------------------------------------------


def test_analytic_a_constant_rate_does_not_feel_when_treatment_ends(tmp_path):
    further = asking(while_on="while on treatment", hypothetical="hypothetical")
    plan = planned(tmp_path, "count", [STOPPING % ", then: {effect_kept: 0}"], further)
    own, s = values(plan), 0.8 / DAYS_PER_YEAR
    for name in ("while-on", "hypothetical"):
        assert abs(own[name].theta - log(0.6)) < 4 * own[name].mcse + 1e-12
    on = (1 - exp(-s * DAY)) / s / DAY  # share of the time before stopping
    assert abs(own["main"].theta - log(0.6 * on + 1 - on)) < 4 * own["main"].mcse
    rows = found(plan)
    for name in own:
        assert unbiased(rows, name, small=0.01), name


def test_analytic_scores_are_worst_after_a_composite_event(tmp_path):
    further = asking(composite="composite variable", stratum="principal stratum")
    plan = planned(
        tmp_path,
        "ordinal",
        [STOPPING % ", then: {effect_kept: 0}"],
        further,
        beside=", analysis: wilcoxon",
    )
    control = np.array([0.1, 0.3, 0.4, 0.2])
    above = 1 - np.cumsum(control)[:-1]
    moved = 1.8 * above / (1 - above + 1.8 * above)
    treated = -np.diff(np.concatenate([[1.0], moved, [0.0]]))

    def wins(t, c):
        return float(sum(t[k] * (c[:k].sum() - c[k + 1 :].sum()) for k in range(4)))

    q0, q1 = happens(0.4), happens(0.8)
    worst = np.array([1.0, 0, 0, 0])
    own = values(plan)
    expected = {
        "main": wins((1 - q1) * treated + q1 * control, control),
        "composite": wins((1 - q1) * treated + q1 * worst, (1 - q0) * control + q0 * worst),
        "stratum": wins(treated, control),
    }
    for name, theta in expected.items():
        assert abs(own[name].theta - theta) < 4 * own[name].mcse, name
    rows = found(plan)
    for name in expected:
        assert unbiased(rows, name), name


# -- levels, and the way to the screen ---------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "continuous", "response"])
def test_property_every_strategy_keeps_its_level_under_no_effect_at_all(tmp_path, kind):
    further = asking(**ALL)
    correlated = "correlations: [{between: [stopping, y], value: 0.5}]"
    plan = planned(tmp_path, kind, [SAME % ""], further, nature=correlated)
    rows = found(plan, "none", replicates=2048)
    asymptotic = 0.004 if kind != "continuous" else 0.0  # chi-square of 100 per arm
    for name in ("main", *ALL):
        assert rows[name, Measure.TRUE_EFFECT].mcse == 0
        error = rows[name, Measure.TYPE_I_ERROR]
        assert abs(error.value - 0.05) < 4 * sqrt(0.05 * 0.95 / 2048) + asymptotic, name


def test_property_scenarios_may_change_the_hazards(tmp_path):
    plan = planned(tmp_path, "binary", [SAME % ""])
    path = tmp_path / "changed.yaml"
    text = (tmp_path / "binary.yaml").read_text()
    own = "title: an effect, intercurrent_events: {stopping: {treated: {hazard_per_year: 2}}}"
    path.write_text(text.replace("title: an effect", own))
    changed = plan_simulation(load_template(str(path)))
    shares = [values(each)["main"].events[0] for each in (plan, changed)]
    assert shares[0][1] == shares[1][1]
    assert abs(shares[1][2] - happens(2)) < 4 * sqrt(0.25 / 409_600)
    assert values(changed, "none")["main"].events[0][2] == shares[0][2]


def test_property_the_screen_has_a_line_for_every_estimand(tmp_path):
    plan = planned(tmp_path, "binary", [SAME % ", then: {effect_kept: 0}"], asking(**ALL))
    result = plan.simulate(replicates=256, seed=1)
    shown = simulation_screen(plan.resolved, result, 1, "trialsim")
    assert max(len(line) for line in shown.splitlines()) <= 80
    table = shown[shown.index("Estimands of y") :]
    for name in ("main", *ALL):
        assert len(re.findall(rf"^{name} +\d", table, flags=re.M)) == 2
    control, treated = re.search(r"stopping by the read-out (\S+)% -> (\S+)%", table).groups()
    assert control == treated
    assert abs(float(control) - 100 * happens(0.6)) < 0.4  # 4 MCSE and rounding
    assert "stopping: composite variable" in table
    assert f"{100 * (1 - happens(0.6)):.0f}" in re.findall(r"(\d\d)\.\d% of the patients", table)


def test_property_a_main_estimand_is_imputed_in_every_trial(tmp_path):
    lost = "{id: lost, control: {hazard_per_year: 0.5}, then: {lost: true}}"
    beside = ", estimand: {missing: multiple imputation, imputations: 5}"
    further = ["{id: other, missing: multiple imputation, imputations: 5}"]
    rows = found(planned(tmp_path, "continuous", [lost], further, beside=beside), replicates=512)
    assert rows["main", Measure.POWER].n_replicates == 512
    assert rows["other", Measure.POWER].n_replicates == 52
    assert rows["other", Measure.POWER].n_failed == 0


def test_regression_the_answer_does_not_depend_on_the_workers(tmp_path):
    further = asking(imputed="hypothetical")
    plan = planned(tmp_path, "continuous", [SAME % ", then: {effect_kept: 0}"], further)
    one = plan.simulate(replicates=512, seed=5)
    two = plan.simulate(replicates=512, seed=5, workers=2)
    assert one.rows == two.rows


def test_property_one_trial_is_replayed_with_what_its_analysis_saw(tmp_path):
    plan = planned(tmp_path, "binary", [SAME % ", then: {effect_kept: 0}"], asking(**ALL))
    replayed = plan.replay("effect", 1, 3)
    event, arm = replayed.patients["event"], replayed.patients["arm"]
    odds = [event[arm == name].mean() / (1 - event[arm == name].mean()) for name in ARMS]
    assert float(replayed.looks.estimate[0, 0]) == pytest.approx(log(odds[1] / odds[0]))
    stopped = np.isfinite(replayed.patients["stopping_day"])
    assert abs(stopped.mean() - happens(0.6)) < 4 * sqrt(0.25 / 200)
