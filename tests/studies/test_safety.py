"""Rare harm: what a trial of its size can see, exactly."""

from __future__ import annotations

from math import comb

import pytest
from scipy.stats import beta

from trialsim.errors import ProtocolError
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.truths.safety import (
    BOTH_ARMS,
    chance_of_an_event,
    safety_of,
    upper_limit_if_none,
)
from trialsim.report.parts.safety import safety_lines
from trialsim.studies.safety import safety_rows
from trialsim.studies.simulation import plan_simulation

FILE = """\
schema_version: 1
id: rare-harm
title: rare harm
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  allocation: {ratio: {drug: 2, placebo: 1}}
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower}
    - {id: harm, level: safety, kind: binary, event: harm, at: 28 d, better: lower}
  sample_size: {total: 150}
nature:
  control_risk: 0.3
  outcomes: {harm: {risk: 0.01, treated: 0.02}}
scenarios:
  - {id: no-effect, title: no effect}
  - {id: better, title: better, effect: {odds_ratio: 0.5}}
"""


@pytest.fixture
def resolved(tmp_path):
    def load(text=FILE):
        path = tmp_path / "rare-harm.yaml"
        path.write_text(text, encoding="utf-8")
        return load_template(str(path))

    return load


@pytest.mark.parametrize("n", [1, 10, 59, 300, 100_000])
def test_reference_upper_limit_is_clopper_and_pearsons(n):
    assert upper_limit_if_none(n) == pytest.approx(beta.ppf(0.95, 1, n), rel=1e-10)
    assert upper_limit_if_none(n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)


def test_analytic_upper_limit_of_none_of_ten_is_that_of_the_catalogue():
    assert round(upper_limit_if_none(10), 3) == 0.259


def test_analytic_at_the_upper_limit_none_of_n_happens_one_time_in_twenty():
    assert chance_of_an_event(upper_limit_if_none(59), 59) == pytest.approx(0.95, abs=1e-12)


def test_analytic_chance_is_the_sum_over_all_numbers_of_events():
    exact = sum(comb(12, k) * 0.1**k * 0.9 ** (12 - k) for k in range(1, 13))
    assert chance_of_an_event(0.1, 12) == pytest.approx(exact, abs=1e-14)
    assert chance_of_an_event(1e-12, 10) == pytest.approx(1e-11, rel=1e-9)


def test_analytic_both_arms_together_are_what_neither_arm_alone_misses(resolved):
    drug, placebo, both = safety_of(resolved())
    assert (drug.arm, placebo.arm, both.arm) == ("drug", "placebo", BOTH_ARMS)
    assert (drug.n, placebo.n, both.n) == (100, 50, 150)
    assert both.expected == pytest.approx(2.5)
    assert both.risk == pytest.approx(2.5 / 150)
    assert both.chance == pytest.approx(1 - 0.98**100 * 0.99**50, abs=1e-12)
    assert both.upper_if_none == pytest.approx(1 - 0.05 ** (1 / 150), rel=1e-9)


def test_property_exact_numbers_have_no_simulation_error(resolved):
    rows = list(safety_rows(resolved(), resolved().template.scenarios))
    assert {row.measure.value for row in rows} == {
        *("risk", "event_chance", "events_expected", "upper_if_none"),
    }
    assert all(row.mcse is None and row.n_replicates is None for row in rows)
    assert {row.status for row in rows if row.measure.value == "risk"} == {"assumed"}


def test_property_a_safety_endpoint_costs_no_random_numbers(resolved):
    without = FILE.replace("  outcomes: {harm: {risk: 0.01, treated: 0.02}}\n", "")

    def powers(text):
        result = plan_simulation(resolved(text)).simulate(replicates=256)
        return [row.value for row in result.rows if row.measure.value == "power"]

    assert powers(FILE) == powers(without)
    assert len(powers(FILE)) == 2


def test_property_scenarios_with_other_risks_have_a_table_each(resolved):
    text = FILE.replace(", treated: 0.02", "").replace(
        "effect: {odds_ratio: 0.5}}",
        "effect: {odds_ratio: 0.5}, outcomes: {harm: {risk_ratio: 3}}}",
    )
    assert [r.risk for r in safety_of(resolved(text)) if r.arm == "drug"] == [0.01, 0.03]
    assert "under better" in safety_lines(resolved(text))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("level: safety", "level: secondary", "is for endpoints of level safety"),
        (
            "effect: {odds_ratio: 0.5}}",
            "effect: {odds_ratio: 0.5}, outcomes: {harm: {risk_ratio: 3}}}",
            "is a second word on the treated arm",
        ),
        ("{risk: 0.01, treated: 0.02}", "{mean: 1, sd: 1}", "does not state an endpoint of kind"),
        ("risk: 0.01", "risk: {value: 0.01, source: tests-2025}", "cites tests-2025"),
        (
            "  outcomes:",
            "  correlations: [{between: [harm, severity], value: 0.1}]\n  outcomes:",
            "is neither simulated nor severity",
        ),
    ],
)
def test_property_what_cannot_be_said_of_harm_is_refused(resolved, old, new, rule):
    with pytest.raises(ProtocolError) as refused:
        resolved(FILE.replace(old, new))
    assert any(rule in problem.rule for problem in refused.value.problems)
