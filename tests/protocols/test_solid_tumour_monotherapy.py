"""One drug alone against a fixed response rate: what none of ten says, and Simon's two stages."""

from __future__ import annotations

from math import sqrt

import pytest
from scipy.stats import beta, binom

from trialsim.errors import ProtocolError
from trialsim.protocol.published.evidence import Status
from trialsim.protocol.reading.load import load_template
from trialsim.sizing.single_arm import SimonCriterion, simon_two_stage
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

REPLICATES = 20_000


@pytest.fixture(scope="module")
def template():
    return load_template("solid-tumour-monotherapy")


@pytest.fixture(scope="module")
def result(template):
    return plan_simulation(template).simulate(replicates=REPLICATES, seed=1)


def truth(template, scenario):
    return template.truth(*template.scenarios([scenario]))


def exact(risk, first=10, stop=0, total=29, most=3):
    """Chance to reject: the sum over the first stage of the second's upper tail."""
    return sum(
        binom.pmf(x, first, risk) * binom.sf(most - x, total - first, risk)
        for x in range(stop + 1, first + 1)
    )


def test_reference_none_of_ten_is_encoded_as_its_limit_and_its_median_unbiased_estimate(template):
    record = template.evidence.records["dillman-1987"].result("response-nsclc").experimental
    assert (record.events, record.n) == (0, 10)
    upper, middle = (truth(template, s).treated_risk for s in ("as-observed-upper", "as-observed"))
    assert round(beta.ppf(0.95, 1, 10), 3) == upper == 0.259
    assert binom.pmf(0, 10, middle) == pytest.approx(0.5, abs=1e-3)
    assert binom.pmf(0, 10, upper) == pytest.approx(0.05, abs=1e-3)
    assert binom.pmf(0, 22, truth(template, "as-in-document").treated_risk) == pytest.approx(
        0.5, abs=5e-3
    )
    for scenario, status in (("as-observed", "derived"), ("as-in-document", "assumed")):
        assert template.status_of(*template.scenarios([scenario])) == status


def test_property_a_record_without_events_states_no_other_risk(template):
    evidence = template.evidence
    assert evidence.stated_as("dillman-1987", "treated_risk", 0.259).status is Status.DERIVED
    assert evidence.stated_as("dillman-1987", "treated_risk", 0.15) is None
    assert evidence.stated_as("tests-2025", "treated_risk", 0.0055) is None  # 1-0.05^(1/542)
    setting = "scenarios.as-observed.effect={treated_risk: {value: 0.15, source: dillman-1987}}"
    with pytest.raises(ProtocolError, match="cites dillman-1987"):
        load_template("solid-tumour-monotherapy", settings=(setting,))


@pytest.mark.parametrize("variant", ["", "minimax"])
def test_reference_the_stages_are_simons(variant):
    rule = load_template("solid-tumour-monotherapy", variant=variant).template.protocol
    criterion = SimonCriterion.MINIMAX if variant else SimonCriterion.OPTIMAL
    simon = simon_two_stage(0.05, 0.2, criterion, power=0.8, alpha=0.05)
    stages = rule.two_stage
    assert (simon.most_to_stop, simon.n_first, simon.most_to_accept, simon.n) == (
        stages.stop_if_at_most,
        stages.first,
        stages.reject_if_above,
        rule.n_total,
    )


@pytest.mark.parametrize(
    ("scenario", "risk"),
    [("no-effect", 0.05), ("as-observed", 0.067), ("as-observed-upper", 0.259)],
)
def test_analytic_rejections_are_those_of_two_binomials(result, scenario, risk):
    (found,) = [r for r in result.rows if r.measure is Measure.POWER and r.scenario == scenario]
    expected = exact(risk)
    assert abs(found.value - expected) < 4 * sqrt(expected * (1 - expected) / REPLICATES)


def test_analytic_ten_patients_cannot_tell():
    variant = load_template("solid-tumour-monotherapy", variant="ten-patients")
    assert variant.template.protocol.two_stage is None
    rows = plan_simulation(variant).simulate(replicates=REPLICATES, seed=1).rows
    power = {r.scenario: r.value for r in rows if r.measure is Measure.POWER}
    expected = binom.sf(2, 10, 0.2)  # rejects from 3 of 10
    assert binom.sf(1, 10, 0.05) > 0.05 >= binom.sf(2, 10, 0.05)
    assert abs(power["twenty-percent"] - expected) < 4 * sqrt(
        expected * (1 - expected) / REPLICATES
    )


@pytest.mark.parametrize("variant", ["more-who-respond", "fraction-5"])
def test_property_further_variants_load(variant):
    assert load_template("solid-tumour-monotherapy", variant=variant).variant == variant
