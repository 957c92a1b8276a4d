"""Simulated power against full enumeration of both binomials: the exact answer."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom, norm

from trialsim import load_template
from trialsim.characteristics import characteristics, true_effect
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.trial import AnalysisPlan, Measure, Path

CONTROL_OF_TESTS = 132 / 547


def enumerated(n1, p1, n0, p0, alpha=0.05):
    """Return P(reject) and P(reject, event more frequent on treatment), Pearson's chi-square."""
    x1, x0 = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
    probability = binom.pmf(x1, n1, p1) * binom.pmf(x0, n0, p0)
    pooled = (x1 + x0) / (n1 + n0)
    variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, (x1 / n1 - x0 / n0) / np.sqrt(variance), 0.0)
    rejected = np.abs(z) >= norm.ppf(1 - alpha / 2)
    return (probability * rejected).sum(), (probability * (rejected & (z > 0))).sum()


def odds(ratio, p0):
    return ratio * p0 / (1 - p0) / (1 + ratio * p0 / (1 - p0))


def simulated(n1, n0, control_risk, effect, replicates=10_000, extra=(), path=Path.PATIENTS):
    resolved = load_template(
        "sepsis",
        settings=[
            f"protocol.sample_size={{per_arm: {{thymalfasin: {n1}, placebo: {n0}}}}}",
            "protocol.allocation={}",
            f"nature.control_risk={control_risk!r}",
            f"scenarios.or-082.effect={effect}",
            *extra,
        ],
    )
    protocol = resolved.template.protocol
    truth = resolved.truth(resolved.scenarios(["or-082"])[0])
    job = Job(protocol, (AnalysisPlan.of(protocol),), (truth,), path=path)
    (simulation,) = run([job], n_replicates=replicates, seed=1)
    summary = job.plans[0].summary
    theta = true_effect((truth.control_risk, truth.treated_risk), summary)
    rows = characteristics(simulation.results[0][0], theta, summary)
    return {c.measure: c for c in rows}


CASES = {  # name: (n1, n0, control, effect as in the file, treated risk, exact power)
    "tests-082": (
        542,
        547,
        CONTROL_OF_TESTS,
        "{odds_ratio: 0.82}",
        odds(0.82, CONTROL_OF_TESTS),
        0.2752,
    ),
    "etass-plan": (167, 167, 0.50, "{treated_risk: 0.35}", 0.35, 0.8013),
    "thirty": (30, 30, 0.35, "{odds_ratio: 0.82}", odds(0.82, 0.35), 0.0623),
    "null": (167, 167, 0.50, "{odds_ratio: 1}", 0.50, 0.0553),
}


@pytest.mark.parametrize("path", Path)
@pytest.mark.parametrize("name", CASES)
def test_analytic_power_within_4_mcse_of_enumeration(name, path):
    n1, n0, control, effect, treated, stated = CASES[name]
    exact, _ = enumerated(n1, treated, n0, control)
    assert exact == pytest.approx(stated, abs=5e-5)
    extra = ["scenarios.or-082.control_risk=0.5"] if "treated" in effect else []
    power = simulated(n1, n0, control, effect, extra=extra, path=path)[Measure.POWER]
    assert abs(power.value - exact) < 4 * sqrt(exact * (1 - exact) / power.n)  # 4 MCSE


def test_analytic_wrong_direction_within_4_mcse_of_enumeration():
    exact, wrong = enumerated(30, odds(0.82, 0.35), 30, 0.35)
    assert wrong == pytest.approx(0.0098, abs=5e-5)
    found = simulated(30, 30, 0.35, "{odds_ratio: 0.82}", replicates=20_000)
    n = found[Measure.POWER].n
    against = found[Measure.POWER_WRONG_DIRECTION].value
    assert abs(against - wrong) < 4 * sqrt(wrong * (1 - wrong) / n)  # 4 MCSE
    type_s = found[Measure.TYPE_S]
    assert type_s.value == pytest.approx(against / found[Measure.POWER].value)
    share = wrong / exact
    assert abs(type_s.value - share) < 4 * sqrt(share * (1 - share) / type_s.n)  # 4 MCSE


@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_analytic_marginal_effect_is_the_stated_one_with_prognosis(slope):
    """Marginal OR 0.82 at control 30%, whatever severity and strata do to single patients."""
    from trialsim.generate.binary import draw_outcomes
    from trialsim.generate.candidates import assign, draw_candidates
    from trialsim.streams import Streams

    resolved = load_template(
        "sepsis",
        settings=[
            "nature.control_risk=0.3",
            f"nature.severity_slope={slope}",
            "nature.factors.age-group.levels.60-and-over.odds_ratio=1.8",
            "scenarios.or-082.effect={odds_ratio: 0.82}",
        ],
    )
    protocol = resolved.template.protocol
    truth = resolved.truth(resolved.scenarios(["or-082"])[0])
    streams, seen = Streams(1), []
    for block in range(4):
        candidates = draw_candidates(protocol, truth.factors, slope, streams, block)
        assigned = assign(candidates, protocol, streams, block)
        (batch,) = draw_outcomes(protocol, candidates, assigned, (truth,), streams, block)
        seen.append(batch.events.mean(axis=1))
    control, treated = np.concatenate(seen, axis=1)  # risks per trial, under either arm
    log_or = np.log(treated / (1 - treated) * (1 - control) / control)
    mcse = log_or.std(ddof=1) / sqrt(len(log_or))
    assert abs(log_or.mean() - np.log(0.82)) < 4 * mcse + 1e-3 * mcse
    assert abs(control.mean() - 0.3) < 4 * control.std(ddof=1) / sqrt(len(control))


def test_analytic_fisher_power_within_4_mcse_of_enumeration():
    from scipy.stats import fisher_exact

    n, p1, p0 = 30, 0.1, 0.4
    exact = sum(
        binom.pmf(a, n, p1) * binom.pmf(b, n, p0)
        for a in range(n + 1)
        for b in range(n + 1)
        if fisher_exact([[a, n - a], [b, n - b]]).pvalue <= 0.05
    )
    power = simulated(
        n,
        n,
        p0,
        "{treated_risk: 0.1}",
        extra=[
            "scenarios.or-082.control_risk=0.4",
            "protocol.endpoints.mortality-28d.analysis=fisher",
        ],
    )[Measure.POWER]
    assert abs(power.value - exact) < 4 * sqrt(exact * (1 - exact) / power.n)  # 4 MCSE
