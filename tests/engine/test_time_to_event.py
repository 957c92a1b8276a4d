"""Trials with a time to an event, simulated from file to result, against independent answers."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import norm

from conftest import CORPUS, ROOT
from trialsim import load_template
from trialsim.analyse.looks import Reason, stop
from trialsim.characteristics import characteristics
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.protocol.truths.resolved import event_course
from trialsim.sizing.survival import limiting_log_hazard_ratio
from trialsim.studies.power import theta_of
from trialsim.trial import AnalysisPlan, Kernel, Measure

numba = pytest.importorskip("numba", reason="the extra [fast] is not installed")
INDEPENDENT = json.loads((ROOT / "tests/reference/independent_survival.json").read_text())
BASE = str(CORPUS / "valid" / "time-to-event.yaml")
PLAIN = [
    "protocol.allocation={}",
    "protocol.endpoints.death.analysis=log-rank",
    "protocol.read_out_lag=null",
    "nature.dropout=null",
    "nature.survival={median: 10 mo}",
]
REPLICATES = 20_000


def simulated(scenario, settings=(), *, n=REPLICATES, kernel=Kernel.NUMBA, name=BASE, seed=1):
    """Plan, truth and results of one scenario."""
    resolved = load_template(name, settings=[*(PLAIN if name == BASE else []), *settings])
    protocol = resolved.template.protocol
    chosen = resolved.scenarios([scenario])[0]
    truth = resolved.truth(chosen)
    plan = replace(AnalysisPlan.of(protocol), kernel=kernel)
    job = Job(protocol, (plan,), (truth,), kernel=kernel)
    (simulation,) = run([job], n_replicates=n, seed=seed)
    return plan, simulation.results[0][0], theta_of(resolved, plan, chosen, truth), resolved


def found(plan, results, theta):
    rows = characteristics(stop(results, plan).final, theta, plan.summary)
    return {row.measure: row for row in rows}


def agree(value, n, seen):
    """Within 4 MCSE of an independently simulated share."""
    share = seen["value"]
    return abs(value - share) < 4 * sqrt(share * (1 - share) / n + seen["mc_se"] ** 2)


CASE_A = [
    "protocol.sample_size={total: 240}",
    "protocol.looks=[{at: {calendar: 18 mo}}]",
    "protocol.test={alpha: 0.025, sides: 1}",
    "nature.enrolment={uniform: 6 mo}",
    "nature.dropout={share: 0.5, by: 120 mo}",
    "nature.survival={median: 12 mo}",
    "scenarios.good.survival={treated: {median: 15 mo}}",
]


LATE = "{test: log-rank, weight: {fleming_harrington: {gamma: 1}}}"


@pytest.mark.parametrize(
    ("test", "measure", "vignette"),
    [
        ("log-rank", "log_rank_power", 0.2366524),
        (LATE, "fleming_harrington_0_1_power", None),
        ("{test: milestone, at: 12 mo}", "km_difference_12_power", 0.2050328),
        ("{test: restricted-mean, until: 12 mo}", "rmst_difference_12_power", None),
    ],
)
def test_reference_case_a_of_npsurvss(test, measure, vignette):
    """Source: a vignette of npsurvSS, and independent_survival.json."""
    settings = [*CASE_A, f"protocol.endpoints.death.analysis={test}"]
    power = found(*simulated("good", settings)[:3])[Measure.POWER]
    seen = INDEPENDENT["case_a"][measure]
    assert agree(power.value, power.n, seen)
    if vignette:
        assert seen["value"] == pytest.approx(vignette, abs=0.01)
        assert power.value == pytest.approx(vignette, abs=0.01 + 4 * power.mcse)


def test_reference_events_and_hazard_ratio_of_case_a():
    """Source: a vignette of npsurvSS, and independent_survival.json."""
    plan, results, theta, resolved = simulated("good", CASE_A)
    rows = found(plan, results, theta)
    assert theta == pytest.approx(log(12 / 15))
    mean = INDEPENDENT["case_a"]["mean_log_hr"]
    here = rows[Measure.ESTIMATE_MEAN]
    assert abs(here.value - mean["value"]) < 4 * sqrt(here.mcse**2 + mean["mc_se"] ** 2)
    events = results.information[:, 0]
    seen = INDEPENDENT["case_a"]["mean_events"]
    mcse = events.std(ddof=1) / sqrt(len(events))
    assert abs(events.mean() - seen["value"]) < 4 * sqrt(mcse**2 + seen["mc_se"] ** 2)
    course = event_course(resolved.scenarios(["good"])[0], resolved.template, resolved.evidence)
    assert course.by(18 * 30.4375) == pytest.approx(124.3367, abs=0.05)  # the vignette's formula
    assert course.day_of(150) / 30.4375 == pytest.approx(23.75, abs=0.02)


VIGNETTE_B = {
    "0.0": 0.915, "0.5": 0.912, "1.0": 0.912, "1.5": 0.913, "2.0": 0.917,
    "2.5": 0.924, "3.0": 0.934, "3.5": 0.946, "4.0": 0.959, "4.5": 0.974,
}  # fmt: skip


@pytest.mark.parametrize("delay", VIGNETTE_B)
def test_reference_case_b_of_npsurvss(delay):
    """Source: a vignette of npsurvSS, asymptotic: at 4.5 months the truth is 0.980, not 0.974."""
    tau, control = float(delay), log(2) / 6
    late = (log(2) - control * tau) / (9 - tau)
    entry = [(1 - exp(-0.1 * t)) / (1 - exp(-1.4)) for t in np.arange(0, 14.5, 0.5)]
    shares = np.round(np.diff(entry), 6)
    shares[0] += 1 - shares.sum()
    pieces = ", ".join(
        f"{{until: {0.5 * (i + 1):g} mo, share: {share:.6f}}}" for i, share in enumerate(shares)
    )
    ratio = f"{{hazard_ratio: {late / control!r}}}"
    if tau:
        ratio = (
            f"{{hazard_ratios: [{{until: {tau:g} mo, ratio: 1}}, {{ratio: {late / control!r}}}]}}"
        )
    settings = [
        "protocol.sample_size={total: 360}",
        "protocol.allocation={ratio: {drug: 2, placebo: 1}}",
        "protocol.looks=[{at: {calendar: 25 mo}}]",
        "protocol.test={alpha: 0.025, sides: 1}",
        f"nature.enrolment={{piecewise: [{pieces}]}}",
        "nature.dropout={share: 0.01, by: 25 mo, shape: 2}",
        "nature.survival={median: 6 mo}",
        f"scenarios.good.survival={ratio}",
    ]
    power = found(*simulated("good", settings, n=10_000)[:3])[Measure.POWER]
    seen = INDEPENDENT[f"case_b_delay_{delay}"]["log_rank_power"]
    assert agree(power.value, power.n, seen)
    assert seen["value"] == pytest.approx(VIGNETTE_B[delay], abs=0.01)


CASE_C = [
    "protocol.sample_size={per_arm: {drug: 200, placebo: 200}}",
    "protocol.test={alpha: 0.025, sides: 1}",
    "protocol.looks=[{at: {events: 83}, efficacy_z: 3.4711, futility_z: 0, binding: true}, "
    "{at: {events: 167}, efficacy_z: 2.4544, futility_z: 0, binding: true}, "
    "{at: {events: 250}, efficacy_z: 2.0040}]",
    "nature.dropout={rate_per_year: 0.12}",
]


@pytest.mark.parametrize(
    ("scenario", "case"), [("good", "case_c_hr_0.7"), ("none", "case_c_hr_1.0")]
)
def test_reference_three_looks_of_an_independent_simulation(scenario, case):
    plan, results, theta, _ = simulated(scenario, CASE_C)
    stops, seen = stop(results, plan), INDEPENDENT[case]
    n = len(stops.look)
    for look in range(3):
        share = stops.because(Reason.EFFICACY, look).mean()
        assert agree(share, n, seen[f"efficacy_look_{look + 1}"]), look
        if look < 2:
            assert agree(
                stops.because(Reason.FUTILITY, look).mean(), n, seen[f"futility_look_{look + 1}"]
            )
    assert agree(found(plan, results, theta)[Measure.POWER].value, n, seen["power"])
    for column, name, scale in (
        (stops.final.day[:, 0], "mean_stop_month", 30.4375),
        (stops.final.enrolled[:, 0], "mean_enrolled", 1),
    ):
        values = column / scale
        mcse = values.std(ddof=1) / sqrt(n)
        assert abs(values.mean() - seen[name]["value"]) < 4 * sqrt(
            mcse**2 + seen[name]["mc_se"] ** 2
        )


OBRIEN_FLEMING = (
    "protocol.looks=[{at: {information: 0.333333}, efficacy_z: 3.4711}, "
    "{at: {information: 0.666667}, efficacy_z: 2.4544}, {at: {events: 300}, efficacy_z: 2.0040}]"
)


def test_analytic_three_obrien_fleming_looks_keep_one_sided_2_5_percent():
    settings = [OBRIEN_FLEMING, "protocol.test={alpha: 0.025, sides: 1}"]
    power = found(*simulated("none", settings, n=40_000)[:3])[Measure.TYPE_I_ERROR]
    assert abs(power.value - 0.025) < 4 * sqrt(0.025 * 0.975 / power.n)  # 4 MCSE


@pytest.mark.parametrize("shape", [1.0, 1.5])
def test_reference_morris_2019_cox_model(shape):
    """Morris, White and Crowther's own trial: n 300, log HR -0.5, Weibull, censored at 5 years.

    Their figures (1,600 replicates) from their file, which is not shipped; here their design is
    simulated again, and the Cox model judged by the same measures.
    """
    seen = {
        1.0: (-0.0021, 0.0052, 0.2091, 0.0037, 0.2080, 0.9544),
        1.5: (0.0062, 0.0038, 0.1511, 0.0027, 0.1542, 0.9575),
    }[shape]
    rate = 0.1 ** (1 / shape)  # lambda t**gamma as (rate t)**shape
    plan, results, theta, _ = simulated(
        "good",
        [
            "protocol.sample_size={total: 300}",
            "protocol.allocation={method: simple}",
            "protocol.looks=[{at: {calendar: 5 yr}}]",
            "nature.enrolment={even: 0.001 d}",
            f"nature.survival={{hazard_per_year: {rate!r}, shape: {shape}}}",
            f"scenarios.good.survival={{hazard_ratio: {exp(-0.5)!r}}}",
            "scenarios.late.survival=null",
        ],
        n=10_000,
    )
    assert theta == pytest.approx(-0.5)
    rows = found(plan, results, theta)
    bias, bias_mcse, empirical, empirical_mcse, model, coverage = seen
    for measure, value, mcse in (
        (Measure.BIAS, bias, bias_mcse),
        (Measure.EMPIRICAL_SE, empirical, empirical_mcse),
        (Measure.COVERAGE, coverage, 0.0052),
    ):
        here = rows[measure]
        assert abs(here.value - value) < 4 * sqrt(here.mcse**2 + mcse**2), measure
    assert rows[Measure.MODEL_SE].value == pytest.approx(model, abs=0.0015)


@pytest.mark.parametrize(
    "analysis",
    [
        "log-rank",
        "maxcombo",
        "cox",
        "{test: milestone, at: 9 mo}",
        "{test: log-rank, stratified: true}",
    ],
)
def test_property_both_kernels_decide_the_same(analysis):
    settings = [f"protocol.endpoints.death.analysis={analysis}"]
    if analysis == "maxcombo":
        settings.append("protocol.looks=[{at: {events: 250}}]")
    slow, fast = (
        simulated("late", settings, n=512, kernel=kernel)[1]
        for kernel in (Kernel.NUMPY, Kernel.NUMBA)
    )
    for name in ("estimate", "standard_error", "z", "day", "information", "enrolled"):
        np.testing.assert_allclose(getattr(slow, name), getattr(fast, name), rtol=1e-10, atol=1e-10)
    assert np.array_equal(slow.rejected, fast.rejected)
    assert np.array_equal(slow.failed, fast.failed)


def test_property_more_replicates_extend_a_run_and_scenarios_share_patients():
    _, short, _, _ = simulated("good", n=300)
    _, long, _, _ = simulated("good", n=700)
    assert np.array_equal(short.z, long.z[:300])
    _, none, _, _ = simulated("none", n=700)
    assert np.corrcoef(none.z[:, 1], long.z[:, 1])[0, 1] > 0.8  # the same luck under both


def test_analytic_a_cox_model_without_proportional_hazards_converges_to_its_limit():
    settings = ["protocol.sample_size={total: 4000}", "protocol.looks=[{at: {events: 2500}}]"]
    plan, results, theta, resolved = simulated("late", settings, n=256)
    rows = found(plan, results, theta)
    assert theta == pytest.approx(log(0.63), abs=0.1)  # between no effect and 0.5
    assert abs(rows[Measure.BIAS].value) < 4 * rows[Measure.BIAS].mcse + 5e-4  # finite n
    course = event_course(resolved.scenarios(["good"])[0], resolved.template, resolved.evidence)
    course = replace(course, lifetimes=replace(course.lifetimes, constant_ratio=None))
    assert limiting_log_hazard_ratio(course, 800.0, stratified=False) == pytest.approx(
        log(0.7), abs=1e-5
    )


def test_analytic_levels_make_the_marginal_ratio_weaker_than_the_stated_one():
    levels = "{factor: age, levels: {young: {median: 40 mo}, old: {median: 4 mo}}}"
    settings = [f"nature.survival={levels}", "protocol.looks=[{at: {calendar: 30 mo}}]"]
    settings += ["protocol.sample_size={total: 2000}"]
    plan, results, theta, _ = simulated("good", settings, n=512)
    assert log(0.7) < theta < 0  # not collapsible
    rows = found(plan, results, theta)
    assert abs(rows[Measure.BIAS].value) < 4 * rows[Measure.BIAS].mcse + 5e-4  # finite n


def test_regression_a_look_whose_events_never_come_is_held_at_the_end_and_counted():
    settings = [
        "protocol.endpoints.death.followed_for=6 mo",
        "protocol.looks=[{at: {events: 118}}]",
    ]
    _, results, _, _ = simulated("good", settings, n=500)
    assert 0 < results.short.sum() < 500
    assert np.isfinite(results.day).all()
    assert (results.information[results.short] < 118).all()
    assert (results.information[~results.short] == 118).all()


def test_regression_lag_adds_to_the_day_and_to_the_patients_not_to_the_events():
    looks = "protocol.looks=[{at: {events: 60}}]"
    _, without, _, _ = simulated("none", [looks], n=300)
    _, with_lag, _, _ = simulated("none", [looks, "protocol.read_out_lag=1 mo"], n=300)
    assert np.allclose(with_lag.day - without.day, 30.4375)
    assert (with_lag.enrolled > without.enrolled).mean() > 0.9
    assert np.array_equal(with_lag.z, without.z)


def test_analytic_stopping_at_the_first_bound_crossed():
    """Canonical joint distribution: increments of a normal sum, looks at thirds, Pocock 2.289."""
    from trialsim.kernels.increments import normal_increments

    rng = np.random.default_rng(5)
    n = np.array([100, 200, 300])
    sums = normal_increments(rng.random((60_000, 3)), n, 0.0, 2.0)
    z = sums / (2.0 * np.sqrt(n))
    crossed = (np.abs(z) >= 2.289).any(axis=1).mean()
    assert abs(crossed - 0.05) < 4 * sqrt(0.05 * 0.95 / 60_000)  # 4 MCSE; Pocock (1977), table 1
    patients = rng.standard_normal((4_000, 300)) * 2.0
    slow = np.cumsum(patients, axis=1)[:, n - 1]
    assert np.cov(slow.T) == pytest.approx(np.cov(sums.T), rel=0.15)
    assert norm.cdf(z[:, 1]).mean() == pytest.approx(0.5, abs=4 * sqrt(1 / 12 / 60_000))
