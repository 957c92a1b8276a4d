"""Slow evidence: many replicates, both analyses, stratified allocation."""

from __future__ import annotations

import subprocess
import sys
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from trialsim import load_template, plan_simulation
from trialsim.kernels import proportions
from trialsim.trial import Measure

ROOT = Path(__file__).parents[1]
P_VALUE = {
    "chi-square": lambda *t: proportions.normal_p(proportions.pearson_z(*t), 2),
    "fisher": proportions.fisher_p,
}


@pytest.mark.parametrize("analysis", P_VALUE)
@pytest.mark.parametrize(
    ("n", "control", "ratio"), [(25, 0.3, 0.2), (60, 0.35, 0.5), (150, 0.24, 0.82)]
)
def test_analytic_power_of_both_tests_within_4_mcse_of_enumeration(analysis, n, control, ratio):
    treated = ratio * control / (1 - control) / (1 + ratio * control / (1 - control))
    a, b = (m.ravel() for m in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    rejected = P_VALUE[analysis](a, n, b, n) <= 0.05
    exact = (binom.pmf(a, n, treated) * binom.pmf(b, n, control) * rejected).sum()
    settings = [
        f"protocol.sample_size={{per_arm: {{thymalfasin: {n}, placebo: {n}}}}}",
        "protocol.allocation={}",
        f"protocol.endpoints.mortality-28d.analysis={analysis}",
        f"nature.control_risk={control}",
        f"scenarios.or-082.effect={{odds_ratio: {ratio}}}",
        "observed=[]",
    ]
    plan = plan_simulation(load_template("sepsis", settings=settings), ["or-082"])
    rows = plan.simulate(replicates=100_000).rows
    power = next(r for r in rows if r.measure is Measure.POWER)
    assert abs(power.value - exact) < 4 * sqrt(exact * (1 - exact) / power.n_replicates)  # 4 MCSE


def test_analytic_type_i_error_with_stratified_blocks_at_100_000_replicates():
    """Without prognosis, blocks of 4 and 6 in 44 strata leave the test's exact size: 0.0503."""
    plan = plan_simulation(load_template("sepsis", settings=["observed=[]"]), ["no-effect"])
    rows = plan.simulate(replicates=100_000, workers=2).rows
    size = next(r for r in rows if r.measure is Measure.TYPE_I_ERROR)
    assert abs(size.value - 0.0503) < 4 * size.mcse + 2e-4  # 2e-4: arms vary around 553


def test_regression_docs_show_what_their_commands_print(tmp_path):
    command = Path(sys.executable).with_name("trialsim")
    words = [command, "simulate", "sepsis", "--out", "run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    kept = (ROOT / "docs" / "sepsis-screen.txt").read_text(encoding="utf-8")

    def words_of(screen: str) -> list[str]:
        return [line for line in screen.splitlines() if " more: " not in line]

    assert words_of(done.stdout) == words_of(kept)
