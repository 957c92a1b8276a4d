"""Colorectal cancer: the registered design, at its level and with Schoenfeld's power."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
from scipy.stats import norm

from trialsim.protocol.reading.load import load_template
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

REPLICATES = 400


@pytest.fixture(scope="module")
def template():
    return load_template("colorectal-adjuvant")


@pytest.fixture(scope="module")
def result(template):
    return plan_simulation(template).simulate(replicates=REPLICATES, seed=3)


def row(result, measure, scenario, endpoint="dfs"):
    (found,) = [
        r
        for r in result.rows
        if (r.measure, r.scenario, r.endpoint) == (measure, scenario, endpoint)
    ]
    return found


def test_reference_design_is_the_registered_one(template):
    record = template.evidence.records["tarcrc"]
    stated = {q.id: q.value for q in record.quantities}
    protocol = template.template.protocol
    assert protocol.n_total == stated["planned-patients"]
    (registered,) = record.regimens
    ours = protocol.experimental.regimen
    assert (ours.drug, ours.dose, ours.every) == (
        registered.regimen.drug,
        registered.regimen.dose,
        registered.regimen.every,
    )
    # 26 whole weeks, which are 52 doses, for the registered 6 months
    assert abs(ours.lasting.days - registered.regimen.lasting.days) < 1
    assert protocol.primary.read_out.after.days == record.result("dfs-3yr").at.after.days


def test_property_nothing_here_is_more_than_assumed(template):
    for scenario in template.scenarios():
        assert template.status_of(scenario) in ("-", "assumed")


@pytest.mark.parametrize("endpoint", ["dfs", "complications"])
def test_property_level_is_kept(result, endpoint):
    found = row(result, Measure.POWER, "no-effect", endpoint)
    assert found.value <= 0.05 + 0.005 + 4 * sqrt(0.05 * 0.95 / REPLICATES)


def test_analytic_power_is_schoenfelds_at_the_expected_events(result):
    for scenario, ratio in (("as-in-document", 0.75), ("hr-080", 0.8)):
        events = row(result, Measure.EVENTS, scenario).value
        expected = norm.cdf(sqrt(events / 4) * abs(log(ratio)) - norm.ppf(0.975))
        found = row(result, Measure.POWER, scenario)
        assert abs(found.value - expected) < 0.01 + 4 * found.mcse


def test_analytic_events_are_those_of_exponential_times(result):
    hazard, lost = -log(0.75) / 3, 0.02
    share = hazard / (hazard + lost) * (1 - 0.75 * exp(-lost * 3))
    found = row(result, Measure.EVENTS, "no-effect")
    assert abs(found.value - 2500 * share) < 4 * found.mcse


def test_property_a_variant_looks_three_times():
    variant = load_template("colorectal-adjuvant", variant="three-looks")
    assert len(variant.template.protocol.looks) == 3
