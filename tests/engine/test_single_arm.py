"""Single arms against historical controls, from file to result."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import stats

from conftest import CORPUS
from trialsim import load_template, plan_simulation
from trialsim.engine.blocks import draw_patients, simulate_chunk
from trialsim.engine.replay import replay
from trialsim.kernels.one_sample import Stages, outcome_probabilities, patients_used
from trialsim.protocol.historical import Contribution
from trialsim.sizing import Adjusted, Level, PooledDeviation, TwoMeans, means_size
from trialsim.studies.historical import only
from trialsim.trial import Measure

RISK = """
schema_version: 1
id: one-arm
title: one arm
protocol:
  design: single-arm
  arms:
    - {id: drug, role: experimental}
    - {id: earlier, role: historical, historical: {response: {risk: 0.2}}}
  endpoints:
    - {id: response, level: primary, kind: binary, event: response, at: 12 wk, better: higher,
       analysis: exact-binomial}
  sample_size: {total: 43}
  test: {alpha: 0.05, sides: 1}
nature: {}
scenarios:
  - {id: no-effect, title: no effect}
  - {id: effect, title: an effect, effect: {treated_risk: 0.4}}
"""
MEAN = """
schema_version: 1
id: one-arm
title: one arm
protocol:
  design: single-arm
  arms:
    - {id: drug, role: experimental}
    - {id: earlier, role: historical, historical: {cd4: {mean: 300}}}
  endpoints:
    - {id: cd4, level: primary, kind: continuous, variable: CD4, unit: cells/uL, at: [6 mo],
       better: higher, analysis: t-test}
  sample_size: {total: 40}
nature:
  outcomes:
    cd4: {mean: 300, sd: 90, baseline: {mean: 300, sd: 80, correlation: 0.6}}
scenarios:
  - {id: no-effect, title: no effect}
  - {id: effect, title: an effect, outcomes: {cd4: {mean_difference: 40}}}
"""
N = 4096


def loaded(tmp_path, text, *settings):
    path = tmp_path / "one-arm.yaml"
    path.write_text(text)
    return load_template(str(path), settings=settings)


def rows_of(result, scenario, endpoint="response"):
    return [r for r in result.rows if (r.scenario, r.endpoint) == (scenario, endpoint)]


def found(result, measure, scenario, analysis=None, endpoint="response"):
    rows = [r for r in rows_of(result, scenario, endpoint) if r.measure is measure]
    rows = [r for r in rows if analysis is None or analysis in (r.analysis or "")]
    assert rows, (measure, scenario, analysis)
    return rows[0]


def assert_within_four(value, row_or_mcse, expected):
    mcse = getattr(row_or_mcse, "mcse", row_or_mcse)
    assert abs(value - expected) < 4 * max(mcse, sqrt(expected * (1 - expected) / N))


def set_by(name, text):
    return f"{name}={text}"


# -- risks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("summary", ["odds ratio", "risk ratio", "risk difference"])
def test_analytic_one_stage_is_found_as_often_as_the_binomial_says(
    tmp_path, sides, better, summary
):
    settings = [
        set_by("protocol.test.sides", sides),
        set_by("protocol.endpoints.response.better", better),
        set_by("protocol.endpoints.response.estimand", f"{{summary: {summary}}}"),
    ]
    if better == "lower":
        settings.append(set_by("scenarios.effect.effect", "{treated_risk: 0.05}"))
    result = plan_simulation(loaded(tmp_path, RISK, *settings)).simulate(replicates=N, seed=3)
    for scenario, risk in (("no-effect", 0.2), ("effect", 0.4 if better == "higher" else 0.05)):
        alternative = {2: "two-sided", 1: "greater" if better == "higher" else "less"}[sides]
        rejects = [stats.binomtest(x, 43, 0.2, alternative).pvalue <= 0.05 for x in range(44)]
        exact = stats.binom.pmf(np.arange(44), 43, risk)[rejects].sum()
        power = found(result, Measure.POWER, scenario)
        assert_within_four(power.value, power, exact)
        assert found(result, Measure.POWER_ACHIEVED, scenario).value == pytest.approx(exact)
        coverage = found(result, Measure.COVERAGE, scenario)
        level = 0.9 if sides == 1 else 0.95
        assert coverage.value > level - 4 * sqrt(level * (1 - level) / N)


@pytest.mark.parametrize(
    ("null", "good", "r1", "n1", "r", "n"),
    [(0.05, 0.25, 0, 9, 2, 17), (0.2, 0.4, 3, 13, 12, 43), (0.2, 0.4, 4, 18, 10, 33)],
)
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_reference_simulated_two_stage_designs_are_the_enumerated_ones(
    tmp_path, null, good, r1, n1, r, n, better
):
    """Simon 1989; counted in the good direction, the event or its absence."""
    turned = (null, good) if better == "higher" else (1 - null, 1 - good)
    rule = f"{{first: {n1}, stop_if_at_most: {r1}, reject_if_above: {r}}}"
    resolved = loaded(
        tmp_path,
        RISK,
        set_by("protocol.two_stage", rule),
        set_by("protocol.endpoints.response.better", better),
        set_by("protocol.sample_size.total", n),
        set_by("protocol.arms.earlier.historical", f"{{response: {{risk: {turned[0]:.4g}}}}}"),
        set_by("scenarios.effect.effect", f"{{treated_risk: {turned[1]:.4g}}}"),
    )
    plan = plan_simulation(resolved)
    result = plan.simulate(replicates=N, seed=5)
    stages = Stages(n, n1, r1)
    for scenario, rate in (("no-effect", null), ("effect", good)):
        (probability,) = outcome_probabilities(stages, rate)
        power = found(result, Measure.POWER, scenario)
        assert_within_four(power.value, power, probability[r + 1 :].sum())
        expected = found(result, Measure.EXPECTED_N, scenario)
        assert expected.value == pytest.approx(probability @ patients_used(stages))
        stops = found(result, Measure.STOP_PROBABILITY, scenario)
        assert stops.value == pytest.approx(probability[: r1 + 1].sum())
    unbiased = found(result, Measure.ESTIMATE_MEAN, "effect", "unbiased")
    assert unbiased.value == pytest.approx(turned[1])


def test_analytic_simulated_two_stage_trials_recruit_as_many_as_expected():
    resolved = load_template(str(CORPUS / "valid" / "single-arm.yaml"))
    plan = plan_simulation(resolved)
    job = plan.jobs[0]
    (under_null, _) = simulate_chunk(job, 7, 0, 16)
    (looks,) = under_null
    risk = job.truths[0].treated_risk
    (probability,) = outcome_probabilities(Stages(43, 13, 3), risk)
    stopped = looks.enrolled[:, 0] == 13
    assert set(np.unique(looks.enrolled)) == {13.0, 43.0}
    assert_within_four(stopped.mean(), 0, probability[:4].sum())
    expected, mcse = probability @ patients_used(Stages(43, 13, 3)), looks.enrolled.std() / 64
    assert abs(looks.enrolled.mean() - expected) < 4 * mcse
    assert not looks.rejected[stopped[:, None]].any()


@pytest.mark.parametrize("analysis", ["chi-square", "fisher"])
def test_analytic_a_sampled_historical_risk_is_a_second_sample(tmp_path, analysis):
    resolved = loaded(
        tmp_path,
        RISK,
        set_by("protocol.endpoints.response.analysis", analysis),
        set_by("protocol.arms.earlier.historical", "{response: {risk: 0.2, n: 60}}"),
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=11)
    rejects = np.zeros((44, 61), dtype=bool)
    for i, j in np.ndindex(rejects.shape):
        if analysis == "fisher":
            p = stats.fisher_exact([[i, 43 - i], [j, 60 - j]], "greater").pvalue
        else:
            pooled = (i + j) / 103
            spread = sqrt(pooled * (1 - pooled) * (1 / 43 + 1 / 60))
            p = stats.norm.sf((i / 43 - j / 60) / spread) if spread else 1.0
        rejects[i, j] = p <= 0.05
    for scenario, risk in (("no-effect", 0.2), ("effect", 0.4)):
        chance = np.outer(
            stats.binom.pmf(np.arange(44), 43, risk), stats.binom.pmf(np.arange(61), 60, 0.2)
        )
        power = found(result, Measure.POWER, scenario)
        assert_within_four(power.value, power, chance[rejects].sum())
        exact = found(result, Measure.POWER_ACHIEVED, scenario)
        assert exact.value == pytest.approx(chance[rejects].sum(), abs=1e-9)


def test_analytic_drift_and_therapy_inflate_the_type_i_error_as_the_binomial_says(tmp_path):
    resolved = loaded(
        tmp_path,
        RISK,
        set_by(
            "nature.historical",
            "{response: {drift: {odds_ratio: 1.5}, concurrent_therapy: {odds_ratio: 1.3}}}",
        ),
        set_by("scenarios.effect.effect", "{odds_ratio: 2}"),
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=2)
    least = next(x for x in range(44) if stats.binom.sf(x - 1, 43, 0.2) <= 0.05)

    def exact(odds_ratio):
        odds = 0.25 * odds_ratio
        return stats.binom.sf(least - 1, 43, odds / (1 + odds))

    for words, odds_ratio in (
        ("nothing", 1.0),
        (Contribution.DRIFT, 1.5),
        (Contribution.CONCURRENT_THERAPY, 1.3),
        ("all of these, no effect", 1.95),
        (Contribution.EFFECT, 2.0),
    ):
        row = found(result, Measure.POWER_ALONE, "effect", words)
        assert_within_four(row.value, row, exact(odds_ratio))
    error = found(result, Measure.TYPE_I_ERROR, "no-effect")
    assert_within_four(error.value, error, exact(1.95))
    power = found(result, Measure.POWER, "effect")
    assert_within_four(power.value, power, exact(3.9))
    assert found(result, Measure.POWER_ACHIEVED, "effect").value == pytest.approx(exact(3.9))
    moved = found(result, Measure.ATTRIBUTION, "no-effect", "all of these")
    assert moved.value == pytest.approx(1.95)
    truth = found(result, Measure.TRUE_EFFECT, "effect")
    assert truth.value == pytest.approx(2.0)  # against concurrent controls


@pytest.mark.parametrize(
    ("effect", "alone"),
    [
        ("{risk_difference: 0.2}", 0.4),
        ("{risk_ratio: 1.7}", 0.34),
        ("{odds_ratio: 2}", 1 / 3),
        ("{treated_risk: 0.5}", 0.4),  # odds 1 from odds 0.375 is a ratio of 8/3, on odds 0.25
    ],
)
def test_analytic_an_effect_alone_is_carried_on_the_scale_it_is_stated_on(tmp_path, effect, alone):
    resolved = loaded(
        tmp_path,
        RISK,
        set_by("nature.historical", "{response: {drift: {odds_ratio: 1.5}}}"),
        set_by("scenarios.effect.effect", effect),
    )
    truth = resolved.truth(resolved.template.scenarios[1])
    only_effect = only(truth, frozenset({Contribution.EFFECT}), "response")
    assert only_effect.control_risk == 0.2
    assert only_effect.treated_risk == pytest.approx(alone)
    everything = only(truth, frozenset(Contribution), "response")
    assert everything.treated_risk == truth.treated_risk


def test_property_prognosis_leaves_the_marginal_risk_and_the_exact_answer(tmp_path):
    resolved = loaded(tmp_path, RISK, set_by("nature.severity_slope", "1.5"))
    result = plan_simulation(resolved).simulate(replicates=N, seed=2)
    power = found(result, Measure.POWER, "effect")
    assert_within_four(power.value, power, found(result, Measure.POWER_ACHIEVED, "effect").value)


def test_property_a_sourced_historical_risk_is_shown_with_its_source(tmp_path):
    cited = "{response: {risk: {value: 0.241, source: tests-2025}}}"
    setting = set_by("protocol.arms.earlier.historical", cited)
    for settings, source in (
        ([setting], "tests-2025"),
        ([setting, "nature.historical={response: {drift: {odds_ratio: 1.2}}}"], None),
    ):
        result = plan_simulation(loaded(tmp_path, RISK, *settings)).simulate(replicates=100)
        rows = rows_of(result, "no-effect")
        (row,) = [r for r in rows if r.arm == "concurrent-control"]
        assert row.source == source
        assert row.status == ("assumed" if source is None else "published")


# -- means ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [1, 2])
def test_analytic_one_sample_t_has_the_power_of_the_noncentral_t(tmp_path, sides):
    resolved = loaded(tmp_path, MEAN, set_by("protocol.test", f"{{sides: {sides}}}"))
    result = plan_simulation(resolved).simulate(replicates=N, seed=4)
    limit = stats.t.ppf(1 - 0.05 / sides, 39)
    for scenario, difference in (("no-effect", 0.0), ("effect", 40.0)):
        shift = difference / 90 * sqrt(40)
        exact = stats.nct.sf(limit, 39, shift)
        exact += stats.nct.cdf(-limit, 39, shift) if sides == 2 else 0.0
        power = found(result, Measure.POWER, scenario, endpoint="cd4")
        assert_within_four(power.value, power, exact)
        formula = found(result, Measure.POWER_ACHIEVED, scenario, endpoint="cd4")
        assert formula.value == pytest.approx(exact, abs=1e-7)
        coverage = found(result, Measure.COVERAGE, scenario, endpoint="cd4")
        level = 0.95 if sides == 2 else 0.9
        assert abs(coverage.value - level) < 4 * sqrt(level * (1 - level) / N)


def test_analytic_a_change_from_baseline_has_the_power_of_the_noncentral_t(tmp_path):
    resolved = loaded(
        tmp_path,
        MEAN,
        set_by("protocol.endpoints.cd4.analysis", "change"),
        set_by("protocol.arms.earlier.historical", "null"),
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=4)
    spread = sqrt(90**2 + 80**2 - 2 * 0.6 * 90 * 80)
    limit, shift = stats.t.ppf(0.975, 39), 40 / spread * sqrt(40)
    exact = stats.nct.sf(limit, 39, shift) + stats.nct.cdf(-limit, 39, shift)
    power = found(result, Measure.POWER, "effect", endpoint="cd4")
    assert_within_four(power.value, power, exact)


@pytest.mark.parametrize("analysis", ["t-test", "welch"])
def test_analytic_a_sampled_historical_mean_is_a_second_sample(tmp_path, analysis):
    resolved = loaded(
        tmp_path,
        MEAN,
        set_by("protocol.endpoints.cd4.analysis", analysis),
        set_by("protocol.arms.earlier.historical", "{cd4: {mean: 300, sd: 90, n: 55}}"),
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=8)
    limit, shift = stats.t.ppf(0.975, 93), 40 / (90 * sqrt(1 / 40 + 1 / 55))
    exact = stats.nct.sf(limit, 93, shift) + stats.nct.cdf(-limit, 93, shift)
    power = found(result, Measure.POWER, "effect", endpoint="cd4")
    close = 0.004 if analysis == "welch" else 0.0  # with one SD it has nearly the same power
    assert abs(power.value - exact) < 4 * power.mcse + close
    error = found(result, Measure.TYPE_I_ERROR, "no-effect", endpoint="cd4")
    assert_within_four(error.value, error, 0.05)
    if analysis == "t-test":
        level = found(result, Measure.POWER_ACHIEVED, "no-effect", endpoint="cd4")
        assert level.value == 0.05
        formula = found(result, Measure.POWER_ACHIEVED, "effect", endpoint="cd4")
        assert formula.value == pytest.approx(exact, abs=1e-7)


# -- selection -----------------------------------------------------------------------------------

CUTS = ["at_most: 260", "at_least: 340", "at_most: 260, at_least: 200"]


def truncated(cut, mean, sd):
    least = float(cut.split("at_least: ")[1]) if "at_least" in cut else -np.inf
    most = float(cut.split("at_most: ")[1].split(",")[0]) if "at_most" in cut else np.inf
    return stats.truncnorm((least - mean) / sd, (most - mean) / sd, mean, sd)


def with_cut(cut):
    return set_by("nature.outcomes.cd4.baseline", f"{{mean: 300, sd: 80, correlation: 0.6, {cut}}}")


@pytest.mark.parametrize("cut", CUTS)
def test_analytic_selected_patients_regress_to_the_mean_as_the_closed_form_says(tmp_path, cut):
    """James 1973: E[change | eligible] = (1 - rho sd1 / sd0) (mean - E[baseline | eligible])."""
    resolved = loaded(
        tmp_path,
        MEAN,
        with_cut(cut),
        set_by("protocol.endpoints.cd4.analysis", "change"),
        set_by("protocol.arms.earlier.historical", "null"),
    )
    plan = plan_simulation(resolved)
    result = plan.simulate(replicates=1024, seed=6)
    eligible = truncated(cut, 300, 80)
    expected = (1 - 0.6 * 90 / 80) * (300 - eligible.mean())
    moved = found(
        result, Measure.ATTRIBUTION, "no-effect", Contribution.REGRESSION_TO_THE_MEAN, "cd4"
    )
    assert moved.value == pytest.approx(expected, rel=1e-9)
    bias = found(result, Measure.BIAS, "no-effect", endpoint="cd4")
    assert abs(bias.value - expected) < 4 * bias.mcse
    bias = found(result, Measure.BIAS, "effect", endpoint="cd4")
    assert abs(bias.value - expected) < 4 * bias.mcse

    _, (batches, _) = draw_patients(plan.jobs[0], 6, 0, frozenset())
    own = batches["cd4"].patients
    x, y = own.baseline.ravel(), own.visits[:, 0].ravel()
    assert stats.kstest(x, eligible.cdf).pvalue > 1e-4
    residual = y - 300 - 0.6 * 90 / 80 * (x - 300)
    assert stats.kstest(residual, stats.norm(0, 90 * 0.8).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(residual, x)[0, 1]) < 4 / sqrt(len(x))
    outcome = plan.jobs[0].truths[0].outcome("cd4")
    spread = outcome.spread(change=True)
    assert spread == pytest.approx(
        sqrt(90**2 * 0.64 + (0.6 * 90 / 80 - 1) ** 2 * eligible.var()), rel=1e-9
    )
    assert abs((y - x).std() / spread - 1) < 4 / sqrt(2 * len(x))
    assert abs(y.mean() - outcome.arms[0]) < 4 * y.std() / sqrt(len(y))


@pytest.mark.parametrize("analysis", ["t-test", "change", "ancova"])
def test_property_in_a_randomised_trial_selection_cancels_between_the_arms(tmp_path, analysis):
    resolved = loaded(
        tmp_path,
        MEAN.replace("design: single-arm", "design: parallel").replace(
            "role: historical, historical: {cd4: {mean: 300}}", "role: control"
        ),
        with_cut("at_most: 260"),
        set_by("protocol.endpoints.cd4.analysis", analysis),
        set_by("protocol.sample_size.total", 80),
    )
    result = plan_simulation(resolved).simulate(replicates=N, seed=6)
    for scenario in ("no-effect", "effect"):
        bias = found(result, Measure.BIAS, scenario, endpoint="cd4")
        assert abs(bias.value) < 4 * bias.mcse
        coverage = found(result, Measure.COVERAGE, scenario, endpoint="cd4")
        assert abs(coverage.value - 0.95) < 4 * sqrt(0.05 * 0.95 / N)
    error = found(result, Measure.TYPE_I_ERROR, "no-effect", endpoint="cd4")
    assert_within_four(error.value, error, 0.05)


def test_analytic_selection_is_carried_to_what_correlates_with_it():
    resolved = load_template(str(CORPUS / "valid" / "single-arm-cd4.yaml"))
    plan = plan_simulation(resolved)
    _, batches = draw_patients(plan.jobs[0], 6, 0, frozenset())
    own = batches[0]["cd4-cd8"].patients
    outcome = plan.jobs[0].truths[0].outcome("cd4-cd8")
    eligible = stats.truncnorm(-np.inf, (400 - 420) / 120)
    x, y = own.baseline.ravel(), own.visits[:, 0].ravel()
    sd = log(1.5)
    assert abs(x.mean() - log(0.8) - 0.5 * sd * eligible.mean()) < 4 * sd / sqrt(len(x))
    change = (0.5 * 0.6 - 0.5) * sd * eligible.mean()
    assert outcome.moved(change=True) == pytest.approx(change)
    assert change > 0  # selected for a low count, the ratio goes up again too
    therapy = log(1.08)
    assert abs((y - x).mean() - change - therapy) < 4 * (y - x).std() / sqrt(len(x))
    assert abs((y - x).std() / outcome.spread(change=True) - 1) < 4 / sqrt(2 * len(x))
    assert abs(np.exp(y.mean()) / outcome.arms[0] - 1) < 4 * y.std() / sqrt(len(y))


def test_analytic_a_change_without_effect_is_the_sum_of_its_pieces():
    resolved = load_template(str(CORPUS / "valid" / "single-arm-cd4.yaml"))
    result = plan_simulation(resolved).simulate(replicates=1024, seed=1)
    for endpoint, summed in (("cd4", sum), ("cd4-cd8", np.prod)):
        rows = rows_of(result, "no-effect", endpoint)
        pieces = [r for r in rows if r.measure is Measure.ATTRIBUTION]
        *single, together, everything = pieces
        assert together.value == pytest.approx(summed([row.value for row in single]))
        assert everything.value == together.value
        bias = found(result, Measure.BIAS, "no-effect", endpoint=endpoint)
        expected = together.value if endpoint == "cd4" else log(together.value)
        assert abs(bias.value - expected) < 4 * bias.mcse
    nothing = found(result, Measure.POWER_ALONE, "md-50", "nothing", "cd4")
    assert_within_four(nothing.value, nothing, 0.05)
    everything = found(result, Measure.POWER_ALONE, "md-50", "all of these", "cd4")
    assert everything.value > 0.99  # always "found", with no effect at all


def test_property_scenarios_and_pieces_share_their_patients():
    resolved = load_template(str(CORPUS / "valid" / "single-arm.yaml"))
    plan = plan_simulation(resolved)
    _, batches = draw_patients(plan.jobs[0], 1, 0, frozenset())
    _, alone = draw_patients(plan.jobs[-1], 1, 0, frozenset())
    lucky = [b["response"].patients.events[1] for b in (*batches, *alone)]
    by_risk = sorted(lucky, key=lambda events: events.sum())
    assert all((more | few == more).all() for few, more in pairwise(by_risk))


def test_property_what_is_alone_does_not_depend_on_its_company():
    resolved = load_template(str(CORPUS / "valid" / "single-arm.yaml"))
    one, both = (plan_simulation(resolved, names).jobs[-1] for names in (["hoped-for"], []))
    assert set(one.truths) == set(both.truths)  # the other scenario has no effect to add
    without = plan_simulation(resolved, ["no-effect"]).jobs[-1]
    assert set(without.truths) < set(both.truths)


def test_property_randomised_size_is_that_of_the_sizing_functions():
    resolved = load_template(
        str(CORPUS / "valid" / "single-arm-cd4.yaml"),
        settings=["nature.outcomes.cd4.baseline.at_most=null"],
    )
    result = plan_simulation(resolved).simulate(replicates=256, seed=1)
    change = PooledDeviation(sqrt(2 * 120**2 * (1 - 0.6)))
    for words, spread in (("t-test of the change", change), ("covariance", Adjusted(120, 0.6))):
        row = found(result, Measure.N_PER_ARM, "md-50", words, "cd4")
        assert row.value == means_size(TwoMeans(50, spread), 0.8, Level(0.05, 2)).n_treated
    nothing = found(result, Measure.N_PER_ARM, "no-effect", "covariance", "cd4")
    assert nothing.value is None
    assert "no effect" in nothing.why


# -- replay --------------------------------------------------------------------------------------


def test_property_a_replayed_trial_has_its_patients_and_its_row():
    plan = plan_simulation(load_template(str(CORPUS / "valid" / "single-arm.yaml")))
    job = plan.jobs[0]
    sizes = set()
    for replicate in range(1, 12):
        trial = replay(job, job.truths[0], 1, replicate)
        n = int(trial.looks.enrolled[0, 0])
        sizes.add(n)
        assert len(trial.patients["arm"]) == n
        assert set(trial.patients["arm"]) == {"drug"}
        responders = trial.patients["event"].astype(float).sum()
        assert trial.looks.estimate[0, 0] == pytest.approx(responders / n - 0.2)
    assert sizes == {13, 43}


def test_property_a_replayed_measurement_gives_its_estimate():
    plan = plan_simulation(load_template(str(CORPUS / "valid" / "single-arm-cd4.yaml")))
    job = plan.jobs[0]
    trial = replay(job, job.truths[1], 1, 3)
    change = trial.patients["visit_1"] - trial.patients["baseline"]
    assert trial.looks.estimate[0, 0] == pytest.approx(change.mean())
    assert trial.patients["baseline"].max() <= 400
    ratio = trial.patients["cd4-cd8_visit_1"] / trial.patients["cd4-cd8_baseline"]
    assert np.isfinite(exp(np.log(ratio).mean()))
