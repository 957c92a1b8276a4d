"""Who benefits: effects that differ, subgroup analyses of them, and what chance makes of none."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from math import exp, lgamma, log, sqrt

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit, logit

from trialsim import load_template, plan_simulation
from trialsim.analyse.subgroups import only
from trialsim.engine.blocks import draw_patients
from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS
from trialsim.engine.run import run
from trialsim.generate.binary import risks_in, solve
from trialsim.generate.modifiers import treated_model
from trialsim.studies.subgroups import stratum_of
from trialsim.trial import InLevel, Kernel, Measure, Path

HEAD = """
schema_version: 1
id: who
title: Who benefits
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower,
       estimand: {summary: SUMMARY}}
    - {id: sofa, level: secondary, kind: continuous, variable: SOFA, unit: points, at: [3 d, 7 d],
       better: lower, analysis: t-test}
    - {id: icu, level: secondary, kind: binary, event: intensive care, at: 7 d, better: lower}
  sample_size: {total: 400}
  subgroups:
    - {factor: age}
    - {factor: stage, prespecified: false}
    - {factor: stage, endpoint: sofa}
    - {factor: age, endpoint: icu}
    - {covariate: severity, endpoint: sofa}
nature:
  control_risk: 0.3
  severity_slope: 0.7
  factors:
    - id: age
      levels: [{id: young, share: 0.4}, {id: old, share: 0.6, odds_ratio: 2}]
    - id: stage
      levels:
        [{id: one, share: 0.5}, {id: two, share: 0.3, odds_ratio: 1.5}, {id: three, share: 0.2}]
    - id: centre
      levels: [{id: a, share: 0.5}, {id: b, share: 0.5, odds_ratio: 1.4}]
  outcomes:
    sofa: {mean: [7, 6], sd: 3}
    icu: {risk: 0.4}
scenarios:
  - {id: none, title: no effect}
  - {id: alike, title: alike, effect: {EFFECT}}
  - id: differs
    title: differs
    effect: {EFFECT}
    outcomes: {sofa: {mean_difference: [0, -1]}, icu: {odds_ratio: 0.6}}
    modifiers:
MODIFIERS
      - {endpoint: sofa, factor: stage, difference_of_effects: {two: -0.8, three: 1}}
      - {endpoint: sofa, covariate: severity, difference_of_effects_per_sd: -0.5}
      - {endpoint: icu, factor: age, ratio_of_effects: {old: 0.5}}
"""
OF_RATIOS = [
    "{factor: age, ratio_of_effects: {old: 0.6}}",
    "{factor: stage, ratio_of_effects: {two: 1.3, three: 0.8}}",
]
OF_DIFFERENCES = ["{factor: age, difference_of_effects: {old: -0.04}}"]
PER_SD = "{covariate: severity, ratio_of_effects_per_sd: 0.8}"


def written(folder, text, summary="odds ratio", effect="odds_ratio: 0.7", modifiers=()):
    path = folder / "who.yaml"
    lines = "\n".join(f"      - {modifier}" for modifier in modifiers)
    text = text.replace("SUMMARY", summary).replace("EFFECT", effect)
    path.write_text(text.replace("MODIFIERS\n", f"{lines}\n" if lines else ""))
    return load_template(str(path))


def truth_of(resolved, scenario):
    return resolved.truth(resolved.scenarios([scenario])[0])


SCALES = {
    "odds ratio": ("odds_ratio: 0.7", OF_RATIOS, lambda p1, p0: logit(p1) - logit(p0)),
    "risk ratio": ("risk_ratio: 0.7", OF_RATIOS, lambda p1, p0: log(p1 / p0)),
    "risk difference": ("risk_difference: -0.08", OF_DIFFERENCES, lambda p1, p0: p1 - p0),
}


@pytest.mark.parametrize("summary", SCALES)
def test_analytic_the_overall_effect_stays_and_subgroups_keep_their_ratio(tmp_path, summary):
    effect, modifiers, scale = SCALES[summary]
    modified = truth_of(written(tmp_path, HEAD, summary, effect, modifiers), "differs")
    plain = truth_of(written(tmp_path, HEAD, summary, effect), "alike")
    assert modified.treated_risk == plain.treated_risk
    cells = modified.modified_in("death")
    shares, p0, p1 = (np.array(a) for a in (cells.cells.shares, cells.control, cells.treated))
    assert shares @ p0 == pytest.approx(plain.control_risk, abs=1e-9)
    assert shares @ p1 == pytest.approx(plain.treated_risk, abs=1e-12)
    effects = np.array([scale(b, a) for a, b in zip(p0, p1, strict=True)])
    stated = log(0.6) if len(modifiers) > 1 else -0.04
    old = effects.reshape(2, -1)
    np.testing.assert_allclose(old[1] - old[0], stated, atol=1e-12)


def test_analytic_risks_of_patients_average_to_those_of_their_cells(tmp_path):
    """By adaptive quadrature over severity and summation, which share no code with the program."""
    truth = truth_of(written(tmp_path, HEAD, modifiers=[*OF_RATIOS, PER_SD]), "differs")
    modified, intercept = truth.modified_in("death"), solve(truth).intercepts[0]
    model = treated_model(modified, truth.factors, truth.slopes, intercept)
    age, stage, centre = ((f.shares, np.log(f.odds_ratios)) for f in truth.factors)

    def risk(arm, cell, level):
        own = age[1][level[0]] + stage[1][level[1]]
        start = model.intercepts[cell] if arm else intercept
        slope = truth.severity_slope + (log(0.8) if arm else 0.0)

        def density(s):
            return stats.norm.pdf(s) * sum(
                share * expit(start + own + log_ratio + slope * s)
                for share, log_ratio in zip(*centre, strict=True)
            )

        return integrate.quad(density, -9, 9, epsabs=1e-12)[0]

    found = {}
    for cell, level in enumerate(product(range(2), range(3))):
        found[level] = [risk(arm, cell, level) for arm in (0, 1)]
        expected = modified.control[cell], modified.treated[cell]
        np.testing.assert_allclose(found[level], expected, atol=1e-9)
    assert modified.cells.per_sd == (("severity", log(0.8)),)
    for factor, level, share in (("age", 1, stage[0]), ("stage", 2, age[0])):
        chosen = [(level, k) if factor == "age" else (k, level) for k in range(len(share))]
        expected = [
            sum(s * found[c][arm] for s, c in zip(share, chosen, strict=True)) for arm in (0, 1)
        ]
        np.testing.assert_allclose(risks_in(truth, "death", factor, level), expected, atol=1e-9)


def test_analytic_covariates_carry_prognosis_and_modify(tmp_path):
    """By a product of Gauss-Hermite rules, and in simulated patients."""
    text = HEAD.replace(
        "  factors:\n", "  covariates: [{id: hla, odds_ratio_per_sd: 0.6}, {id: bmi}]\n  factors:\n"
    ).replace("{covariate: severity, endpoint: sofa}", "{covariate: hla}\n    - {covariate: bmi}")
    hla = "{covariate: hla, ratio_of_effects_per_sd: 1.5}"
    resolved = written(tmp_path, text, modifiers=["{factor: age, only_in: [old]}", hla, PER_SD])
    truth = truth_of(resolved, "differs")
    modified, intercept = truth.modified_in("death"), solve(truth).intercepts[0]
    model = treated_model(modified, truth.factors, truth.slopes, intercept)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    severity, hla_sd = np.meshgrid(nodes, nodes, indexing="ij")
    rest = [(s, log(o)) for s, o in ((0.5, 1), (0.3, 1.5), (0.2, 1))]
    rest = [(s * 0.5, x + log(c)) for s, x in rest for c in (1, 1.4)]

    def risk(start, *slopes):
        score = start + slopes[0] * severity + slopes[1] * hla_sd
        return sum(share * (weights @ expit(score + x) @ weights) for share, x in rest)

    control = [risk(intercept + log(age), 0.7, log(0.6)) for age in (1, 2)]
    np.testing.assert_allclose(control, modified.control, atol=1e-8)
    treated = risk(model.intercepts[1] + log(2), 0.7 + log(0.8), log(0.6) + log(1.5))
    assert treated == pytest.approx(modified.treated[1], abs=1e-8)
    assert modified.treated[0] == modified.control[0]
    np.testing.assert_allclose([0.4, 0.6] @ np.array(modified.treated), truth.treated_risk)
    job = replace(plan_simulation(resolved).jobs[0], truths=(truth,))
    candidates, (batches,) = draw_patients(job, 4, 0, frozenset())
    assert set(candidates.covariates) == {"hla", "bmi"}
    events, high = batches["death"].events, candidates.covariates["hla"] > 0
    for age in (0, 1):
        for arm, expected in enumerate((modified.control[age], modified.treated[age])):
            seen = events[arm][candidates.levels["age"] == age]
            assert abs(seen.mean() - expected) < 4 * seen.std() / sqrt(seen.size)
    assert events[0][high].mean() < events[0][~high].mean() - 0.1  # prognosis


def test_analytic_where_treatment_does_nothing_it_does_nothing(tmp_path):
    only_old = "{factor: age, only_in: [old]}"
    resolved = written(tmp_path, HEAD, modifiers=[only_old, PER_SD])
    truth = truth_of(resolved, "differs")
    modified = truth.modified_in("death")
    assert modified.treated[0] == modified.control[0]
    assert 0.4 * modified.treated[0] + 0.6 * modified.treated[1] == pytest.approx(
        truth.treated_risk
    )
    job = replace(plan_simulation(resolved).jobs[0], truths=(truth,))
    candidates, (batches,) = draw_patients(job, 1, 0, frozenset())
    events, young = batches["death"].events, candidates.levels["age"] == 0
    assert (events[0] == events[1])[young].all()
    assert (events[0] != events[1])[~young].any()


def test_property_simulated_patients_have_the_risks_and_means_of_their_cell(tmp_path):
    resolved = written(tmp_path, HEAD, modifiers=[*OF_RATIOS, PER_SD])
    truth = truth_of(resolved, "differs")
    job = replace(plan_simulation(resolved).jobs[0], truths=(truth,))
    candidates, (batches,) = draw_patients(job, 3, 0, frozenset())
    age, stage = candidates.levels["age"], candidates.levels["stage"]
    risks, means = truth.modified_in("death"), truth.modified_in("sofa")
    further = truth.modified_in("icu")
    control = dict(truth.outcomes)["sofa"].control

    def close(seen, expected):
        assert abs(seen.mean() - expected) < 4 * seen.std() / sqrt(seen.size)

    for cell, (a, s) in enumerate(product(range(2), range(3))):
        here = (age == a) & (stage == s)
        for arm, expected in enumerate((risks.control[cell], risks.treated[cell])):
            close(batches["death"].events[arm][here], expected)
    assigned, visits = batches["sofa"].assigned, batches["sofa"].visits
    for s, effects in enumerate(means.effects):
        for visit in (0, 1):
            close(visits[:, visit][assigned & (stage == s)], control[visit] + effects[visit])
    rest = visits[:, 1] - control[1] - np.array([e[1] for e in means.effects])[stage]
    severity = candidates.severity
    close(((rest * severity) / (severity**2).mean())[assigned], -0.5)
    close((visits[:, 1] - control[1])[assigned], -1.0)  # the stated effect, overall
    for a in (0, 1):
        close(batches["icu"].events[1][age == a], further.treated[a])
    close(batches["icu"].events[1], dict(truth.outcomes)["icu"].treated)
    ratio = logit(further.treated[1]) - logit(further.treated[0])
    assert ratio == pytest.approx(log(0.5))


TIMES = """
schema_version: 1
id: times
title: Times
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: death, level: primary, kind: time-to-event, event: death, at: 12 mo, better: lower,
       analysis: {test: log-rank}}
  sample_size: {total: 300}
  looks: [{at: {information: 0.5}, efficacy_z: 2.96}, {at: {events: 200}, efficacy_z: 1.97}]
  subgroups: [{factor: age}, {factor: sex}]
nature:
  enrolment: {uniform: 12 mo}
  dropout: {rate_per_year: 0.05}
  factors:
    - id: age
      levels: [{id: young, share: 0.4}, {id: old, share: 0.6}]
    - id: sex
      levels: [{id: female, share: 0.5}, {id: male, share: 0.5}]
  survival: {factor: age, levels: {young: {median: 14 mo}, old: {median: 8 mo}}}
scenarios:
  - {id: alike, title: alike, survival: {hazard_ratio: 0.7}}
  - id: differs
    title: differs
    survival: {hazard_ratio: 0.7}
    modifiers: [{factor: sex, ratio_of_effects: {male: 0.5}}]
  - id: both
    title: both
    survival: {hazard_ratios: [{until: 3 mo, ratio: 1}, {ratio: 0.6}]}
    modifiers: [{factor: age, ratio_of_effects: {old: 0.6}}, {factor: sex, only_in: [male]}]
"""


def test_analytic_survival_at_the_read_out_stays_and_hazards_keep_their_ratio(tmp_path):
    resolved = written(tmp_path, TIMES)
    day = 12 * 30.4375
    alike, differs, both = (
        truth_of(resolved, name).lifetimes for name in ("alike", "differs", "both")
    )
    np.testing.assert_allclose(differs.risks(day), alike.risks(day), rtol=1e-12)
    plain = [c.times([(3 * 30.4375, 1.0), (np.inf, 0.6)]).survival(day) for c in alike.control]
    assert both.risks(day)[1] == pytest.approx(1 - np.array([0.4, 0.6]) @ plain, rel=1e-12)
    assert differs.cells == (("sex", 2), ("age", 2))
    ratios = [
        t.rates[0] / c.rates[0] for c, t in zip(differs.control, differs.treated, strict=True)
    ]
    assert ratios[0] == pytest.approx(ratios[1])
    assert ratios[2] / ratios[0] == pytest.approx(0.5)
    young, old = both.treated[1], both.treated[3]  # of males, by sex within age
    assert both.cells == (("age", 2), ("sex", 2))
    for curve, control in zip(both.treated[::2], both.control[::2], strict=True):
        assert curve == control  # nothing in females
    late = [
        t.rates[-1] / c.rates[-1] for t, c in ((young, both.control[1]), (old, both.control[3]))
    ]
    assert late[1] / late[0] == pytest.approx(0.6)


@pytest.fixture(scope="module")
def times(tmp_path_factory):
    resolved = written(tmp_path_factory.mktemp("times"), TIMES)
    return resolved, plan_simulation(resolved).simulate(replicates=1024, seed=2)


def number(result, scenario, stratum, measure, endpoint="death"):
    return next(
        row
        for row in result.rows
        if (row.scenario, row.stratum, row.measure, row.endpoint)
        == (scenario, stratum, measure, endpoint)
    )


@pytest.mark.parametrize("scenario", ["alike", "differs", "both"])
@pytest.mark.parametrize("stratum", ["age=young", "age=old", "sex=female", "sex=male"])
def test_property_hazard_ratios_of_subgroups_are_found_where_they_are(times, scenario, stratum):
    _, result = times
    true = number(result, scenario, stratum, Measure.TRUE_EFFECT).value
    mean = number(result, scenario, stratum, Measure.ESTIMATE_MEAN)
    small = 0.03  # Cox's log hazard ratio is biased away from 0 by some percent with 50-100 events
    assert abs(mean.value - log(true)) < 4 * mean.mcse + small
    coverage = number(result, scenario, stratum, Measure.COVERAGE)
    assert abs(coverage.value - 0.95) < 4 * sqrt(0.95 * 0.05 / 1024) + 0.01
    if (scenario, stratum) == ("both", "sex=female"):
        assert true == 1.0


def test_property_compiled_and_reference_subgroups_agree(tmp_path):
    resolved = written(tmp_path, TIMES)
    plan = plan_simulation(resolved)
    fast = plan.computed_by(Kernel.NUMBA)
    own, other = (run(p.jobs[:1], n_replicates=256, seed=4)[0].results[2] for p in (plan, fast))
    for one, two in zip(own, other, strict=True):
        np.testing.assert_allclose(one.estimate, two.estimate, rtol=1e-9, equal_nan=True)
        np.testing.assert_allclose(one.z, two.z, rtol=1e-9, equal_nan=True)
        assert np.array_equal(one.information, two.information)
    levels = [r for r, p in zip(own, plan.jobs[0].plans, strict=True) if p.part]
    assert np.array_equal(levels[0].information + levels[1].information, own[0].information[:, -1:])


def test_property_the_same_patients_whatever_is_asked_of_them(tmp_path):
    """Subgroup analyses and modifiers change nothing in what was there before."""
    with_subgroups = written(tmp_path, HEAD)
    start, rest = HEAD.split("  subgroups:\n")
    without = written(tmp_path, start + rest[rest.index("nature:") :])
    for resolved in (without, with_subgroups):
        assert plan_simulation(resolved).jobs[0].path is Path.PATIENTS
    one, two = (
        run(plan_simulation(r).jobs[:1], n_replicates=256, seed=7)[0].results
        for r in (without, with_subgroups)
    )
    for own, other in zip(one, two, strict=True):
        for found, again in zip(own, other, strict=False):
            assert found.same_as(again)


SIMPLE = """
schema_version: 1
id: simple
title: Simple
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  allocation: {method: METHOD}
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower}
  sample_size: {total: TOTAL}
  subgroups: [{factor: half}]
nature:
  control_risk: RISK
  factors:
    - id: half
      levels: [{id: left, share: 0.5}, {id: right, share: 0.5}]
scenarios:
  - {id: none, title: no effect}
  - id: differs
    title: differs
    effect: {odds_ratio: 0.7}
    modifiers: [{factor: half, ratio_of_effects: {right: 0.5}}]
"""


def simple(folder, total, risk, method="simple"):
    text = SIMPLE.replace("TOTAL", str(total)).replace("RISK", str(risk)).replace("METHOD", method)
    return written(folder, text)


def test_property_counts_give_way_to_patients_where_subgroups_are_asked_for(tmp_path):
    resolved = simple(tmp_path, 200, 0.3)
    assert plan_simulation(resolved).jobs[0].path is Path.PATIENTS
    text = SIMPLE.replace("  subgroups: [{factor: half}]\n", "").replace("METHOD", "simple")
    alone = written(tmp_path, text.replace("TOTAL", "200").replace("RISK", "0.3"))
    assert plan_simulation(alone).jobs[0].path is Path.SUFFICIENT_STATISTICS


def test_analytic_the_level_of_the_test_of_interaction_in_a_tiny_trial(tmp_path):
    """Every trial of 9 patients is enumerated: each is one of 8 kinds, independently."""
    n, risk = 12, 0.4
    kinds = list(product((0, 1), (0, 1), (0, 1)))  # half, arm, event
    p = [0.25 * (risk if event else 1 - risk) for _, _, event in kinds]
    rejected = failed = 0.0
    for counts in _compositions(n, len(kinds)):
        weight = exp(
            lgamma(n + 1) + sum(c * log(q) - lgamma(c + 1) for c, q in zip(counts, p, strict=True))
        )
        z = _interaction_z(dict(zip(kinds, counts, strict=True)))
        if z is None:
            failed += weight
        elif abs(z) >= 1.959963984540054:
            rejected += weight
    result = plan_simulation(simple(tmp_path, n, risk)).simulate(replicates=20_480, seed=5)
    row = number(result, "none", "half", Measure.POWER_INTERACTION)
    assert row.n_replicates + row.n_failed == 20_480
    share = row.n_failed / 20_480
    assert abs(share - failed) < 4 * sqrt(failed * (1 - failed) / 20_480)
    expected = rejected / (1 - failed)
    assert 0.001 < expected < 0.02  # Woolf's interval is wide in a trial as small
    assert abs(row.value - expected) < 4 * sqrt(expected / row.n_replicates)


def _compositions(n, parts):
    if parts == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in _compositions(n - first, parts - 1):
            yield (first, *rest)


def _interaction_z(counts):
    """By hand, 0.5 added to the four cells where one is 0; None where an arm is empty."""
    found = []
    for half in (0, 1):
        cells = [counts[half, arm, event] for arm in (1, 0) for event in (1, 0)]
        if cells[0] + cells[1] == 0 or cells[2] + cells[3] == 0:
            return None
        if min(cells) == 0:
            cells = [c + 0.5 for c in cells]
        a, b, c, d = cells
        found.append((log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d))
    return (found[0][0] - found[1][0]) / sqrt(found[0][1] + found[1][1])


def test_analytic_the_power_of_the_test_of_interaction(tmp_path):
    resolved = simple(tmp_path, 1200, 0.35, "permuted-blocks")
    result = plan_simulation(resolved).simulate(replicates=4096, seed=6)
    modified = truth_of(resolved, "differs").modified_in("death")
    variance = sum(
        1 / (300 * p * (1 - p)) for p in (*modified.control, *modified.treated)
    )  # of a log odds ratio, 300 patients in each of four groups
    z = 1.959963984540054
    shift = log(0.5) / sqrt(variance)
    expected = stats.norm.cdf(-z - shift) + stats.norm.cdf(-z + shift)
    row = number(result, "differs", "half", Measure.POWER_INTERACTION)
    assert 0.6 < expected < 0.95
    assert abs(row.value - expected) < 4 * row.mcse + 0.01  # first order in 1/n
    null = number(result, "none", "half", Measure.POWER_INTERACTION)
    assert abs(null.value - 0.05) < 4 * sqrt(0.05 * 0.95 / 4096) + 0.004
    ratio = number(result, "differs", "half=right", Measure.INTERACTION)
    assert ratio.value == pytest.approx(0.5)
    for level, name in enumerate(("left", "right")):
        true = exp(logit(modified.treated[level]) - logit(modified.control[level]))
        assert number(
            result, "differs", f"half={name}", Measure.TRUE_EFFECT
        ).value == pytest.approx(true)
        mean = number(result, "differs", f"half={name}", Measure.ESTIMATE_MEAN)
        assert abs(mean.value - log(true)) < 4 * mean.mcse + 0.01  # log odds ratios, 600 patients


NORMAL = """
schema_version: 1
id: normal
title: Normal
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: score, level: primary, kind: continuous, variable: score, unit: points, at: [7 d],
       better: lower, analysis: t-test}
  sample_size: {total: 200}
  subgroups: [{factor: quarter}, {covariate: severity}]
nature:
  factors:
    - id: quarter
      levels:
        [{id: a, share: 0.25}, {id: b, share: 0.25}, {id: c, share: 0.25}, {id: d, share: 0.25}]
  outcomes: {score: {mean: 7, sd: 3}}
  correlations: [{between: [score, severity], value: 0.4}]
scenarios:
  - {id: none, title: no effect}
  - id: differs
    title: differs
    outcomes: {score: {mean_difference: -1}}
    modifiers: [{covariate: severity, difference_of_effects_per_sd: -1.5}]
"""


@pytest.fixture(scope="module")
def normal(tmp_path_factory):
    resolved = written(tmp_path_factory.mktemp("normal"), NORMAL)
    return plan_simulation(resolved).simulate(replicates=10_240, seed=8)


def test_analytic_chance_that_a_null_subgroup_looks_effective(normal):
    """Four independent t tests, exact whatever their sizes: one in 40 each, in favour."""
    row = number(normal, "none", "any subgroup", Measure.SUBGROUP_EFFECTIVE, "score")
    expected = 1 - (1 - 0.025) ** 4
    assert abs(row.value - expected) < 4 * sqrt(expected * (1 - expected) / 10_240)
    alone = number(normal, "none", "any subgroup", Measure.SUBGROUP_ALONE, "score")
    assert 0 < alone.value < row.value
    assert "subgroups of score" in {f.subject for f in normal.findings}


def test_analytic_prognosis_alone_is_no_interaction_and_prediction_is_found(normal):
    null = number(normal, "none", "severity", Measure.POWER_INTERACTION, "score")
    assert abs(null.value - 0.05) < 4 * sqrt(0.05 * 0.95 / 10_240)  # the model is the truth's
    true = number(normal, "differs", "severity", Measure.INTERACTION, "score").value
    assert true == -1.5
    mean = number(normal, "differs", "severity", Measure.ESTIMATE_MEAN, "score")
    assert abs(mean.value - true) < 4 * mean.mcse
    sd = 3 * sqrt(1 - 0.4**2)  # of what severity leaves unexplained
    power = number(normal, "differs", "severity", Measure.POWER_INTERACTION, "score")
    z = 1.5 / (sd * sqrt(4 / 200))
    assert abs(power.value - stats.norm.cdf(z - 1.96)) < 4 * power.mcse + 0.01


def test_property_sepsis_shows_who_benefits(tmp_path):
    resolved = load_template("sepsis", variant="subgroups")
    result = plan_simulation(resolved, ["no-effect", "only-low-mhla-dr"]).simulate(
        replicates=2048, seed=1
    )
    end = "mortality-28d"
    normal = number(
        result, "only-low-mhla-dr", "immune-status=normal-mhla-dr", Measure.TRUE_EFFECT, end
    )
    assert normal.value == 1.0
    for stratum, gap in (("age-group", 2.06), ("diabetes", 2.0)):
        row = next(
            r
            for r in result.rows
            if (r.scenario, r.stratum, r.measure)
            == ("no-effect", stratum, Measure.SUBGROUPS_AS_FAR_APART)
        )
        factor = next(f for f in resolved.template.nature.factors if f.id == stratum)
        ses = [
            number(result, "no-effect", stratum_of(factor, k), Measure.EMPIRICAL_SE, end).value
            for k in (0, 1)
        ]
        published = float(row.scale.split()[-1])
        assert gap < published < 1.2 * gap  # an odds ratio is further from 1 than a hazard ratio
        expected = 2 * stats.norm.cdf(-log(published) / sqrt(ses[0] ** 2 + ses[1] ** 2))
        assert abs(row.value - expected) < 4 * sqrt(expected / 2048) + 0.002
    subjects = {finding.subject for finding in result.findings}
    assert {"tests-2025 by age-group", "tests-2025 by diabetes"} <= subjects


KINDS = """
schema_version: 1
id: kinds
title: Every kind
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower}
    - {id: sofa, level: secondary, kind: continuous, variable: SOFA, unit: points, at: [3 d, 7 d],
       better: lower, analysis: ancova}
    - {id: visits, level: secondary, kind: continuous, variable: score, unit: points,
       at: [1 wk, 2 wk], better: lower, analysis: mmrm}
    - {id: state, level: secondary, kind: ordinal, variable: state, at: 28 d, better: higher,
       categories: [dead, ward, home]}
    - {id: infections, level: secondary, kind: count, event: infections, at: 90 d, better: lower}
    - {id: transplant, level: secondary, kind: competing-risks, event: transplant,
       competing: death, at: 90 d, better: lower}
  sample_size: {total: 120}
  subgroups:
    - {factor: half}
    - {factor: half, endpoint: sofa}
    - {factor: half, endpoint: visits}
    - {factor: half, endpoint: state}
    - {factor: half, endpoint: infections}
    - {factor: half, endpoint: transplant}
nature:
  control_risk: 0.4
  factors:
    - id: half
      levels: [{id: left, share: 0.5}, {id: right, share: 0.5}]
  outcomes:
    sofa: {mean: [7, 6], sd: 3, baseline: {mean: 8, sd: 3, correlation: 0.6}}
    visits: {mean: 10, sd: 4, correlation: {autoregressive: 0.7}, lost_per_visit: 0.05}
    state: {probabilities: [0.25, 0.35, 0.4]}
    infections: {rate_per_year: 4, dispersion: 0.5, lost_per_year: 0.4}
    transplant: {event: {hazard_per_year: 2}, competing: {hazard_per_year: 1}}
scenarios: [{id: none, title: no effect}]
"""


def _without(batch, kept):
    """Return one trial of a batch with only some of its patients there at all."""
    columns = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, np.ndarray):
            axis = value.shape.index(len(kept)) if len(kept) in value.shape else None
            value = value if axis is None else np.compress(kept, value, axis=axis)
            value = value[..., :1]
        columns[field.name] = value
    return type(batch)(**columns)


def test_property_subgroups_of_every_kind_are_as_if_others_were_not_there(tmp_path):
    resolved = written(tmp_path, KINDS)
    job = plan_simulation(resolved).jobs[0]
    candidates, (batches,) = draw_patients(job, 9, 0, frozenset())
    own = [plan for plan in job.plans if plan.part == InLevel("half", 1)]
    assert {plan.endpoint for plan in own} == set(batches)
    for plan in own:
        analyse = ENDPOINT_KINDS[type(resolved.endpoint(plan.endpoint))].analyse
        batch, level = batches[plan.endpoint], candidates.levels["half"] == 1
        found = analyse(only(batch, level), plan)
        alone = analyse(_without(batch, level[:, 0]), plan)
        for name in ("estimate", "standard_error", "p_value"):
            np.testing.assert_allclose(
                getattr(found, name)[0], getattr(alone, name)[0], rtol=1e-6, err_msg=plan.endpoint
            )
