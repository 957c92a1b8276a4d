"""The template of combinations in hepatitis B: its numbers are its source's, its chances exact."""

from __future__ import annotations

import pytest
import yaml

from trialsim import load_template
from trialsim.kernels.exact import ExactTest, rejection_probability, rejection_region
from trialsim.protocol.template import Template
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

COMBINATION = load_template("chb-combination")
SCENARIOS = {s.id: s for s in COMBINATION.template.scenarios}
PRIMARY = "combined-response-end-of-follow-up"
RESULT = plan_simulation(COMBINATION).simulate(replicates=4_000, seed=1)


def test_property_it_round_trips():
    document = COMBINATION.template.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert Template.model_validate(yaml.safe_load(yaml.safe_dump(document))) == COMBINATION.template


def test_reference_as_observed_has_exactly_the_published_counts():
    truth = COMBINATION.truth(SCENARIOS["as-observed"])
    assert (truth.treated_risk, truth.control_risk) == (6 / 26, 5 / 25)
    (_, at_end), *_ = truth.outcomes
    assert [round(100 * p) for p in at_end.arms] == [12, 15]  # 3/25 and 4/26


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_analytic_the_chance_to_find_it_is_that_of_the_enumerated_test(name):
    measure = Measure.TYPE_I_ERROR if name == "no-effect" else Measure.POWER
    found = next(
        r for r in RESULT.rows if (r.measure, r.scenario, r.endpoint) == (measure, name, PRIMARY)
    )
    truth = COMBINATION.truth(SCENARIOS[name])
    region = rejection_region(ExactTest.CHI_SQUARE, 26, 26, 0.05, 2)
    exact = rejection_probability(region, truth.treated_risk, truth.control_risk)
    assert abs(found.value - exact) <= 4 * found.mcse


def test_regression_the_null_trial_has_a_place_under_every_scenario():
    places = {
        r.scenario: r
        for r in RESULT.observed
        if r.measure is Measure.PERCENTILE and r.evidence == "kim-2012"
    }
    assert set(places) == set(SCENARIOS)
    assert [name for name, r in places.items() if r.analysis == "same data"] == ["as-observed"]


def test_property_beside_a_nucleoside_analogue_every_response_is_assumed():
    resolved = load_template("chb-combination", variant="nucleoside-analogue")
    assert resolved.template.nature.control_risk.source is None
    assert resolved.template.nature.outcomes["combined-response-end-of-therapy"].risk.source is None
    assert not resolved.template.observed
