"""The template of two doses by fibrosis: its source's figures, and what subgroups can tell."""

from __future__ import annotations

from math import log, sqrt
from statistics import NormalDist

import pytest
import yaml

from trialsim import load_template
from trialsim.kernels.exact import ExactTest, rejection_probability, rejection_region
from trialsim.protocol.template import Template
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

DOSES = load_template("chb-dose-fibrosis")
SCENARIOS = {s.id: s for s in DOSES.template.scenarios}
PRIMARY = "hbeag-loss-72wk"
ADVANCED = 0.4  # share of patients


def simulated(variant=None, names=("no-effect", "as-in-document", "advanced-only")):
    resolved = load_template("chb-dose-fibrosis", variant=variant)
    return plan_simulation(resolved, list(names)).simulate(replicates=2_000, seed=1)


RESULT, STRATIFIED = simulated(), simulated("stratified")


def row(result, measure, scenario, **keys):
    return next(
        r
        for r in result.rows
        if (r.measure, r.scenario, r.endpoint) == (measure, scenario, PRIMARY)
        and all(getattr(r, name) == value for name, value in keys.items())
    )


def test_property_it_round_trips():
    document = DOSES.template.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert Template.model_validate(yaml.safe_load(yaml.safe_dump(document))) == DOSES.template


def test_reference_as_observed_is_the_published_percentage_of_the_higher_dose():
    truth = DOSES.truth(SCENARIOS["as-observed"])
    assert truth.treated_risk == 0.228
    assert truth.source == "iino-2005"
    iino = DOSES.evidence.records["iino-2005"]
    published = {r.id: r.experimental.value / 100 for r in iino.results}
    shown = {name: own.treated for name, own in truth.outcomes} | {PRIMARY: truth.treated_risk}
    assert shown == pytest.approx(published)
    assert DOSES.template.protocol.n_total == iino.design.n_randomised
    read_out = DOSES.template.protocol.primary.read_out
    assert read_out.days_after_entry(DOSES.template.protocol.therapy) == 72 * 7


def test_analytic_without_an_effect_the_chance_is_the_size_of_the_enumerated_test():
    region = rejection_region(ExactTest.CHI_SQUARE, 158, 158, 0.05, 2)
    found = row(RESULT, Measure.TYPE_I_ERROR, "no-effect")
    assert abs(found.value - rejection_probability(region, 0.228, 0.228)) <= 4 * found.mcse


def test_analytic_the_power_of_the_interaction_is_that_of_its_standard_error():
    for name in ("as-in-document", "advanced-only"):
        modified = DOSES.truth(SCENARIOS[name]).modified_in(PRIMARY)
        control = 0.228
        spread, effects = 0.0, []
        for treated, share in zip(modified.treated, (1 - ADVANCED, ADVANCED), strict=True):
            n = 158 * share
            spread += sum(1 / (n * p * (1 - p)) for p in (treated, control))
            effects.append(log(treated / (1 - treated) * (1 - control) / control))
        shift = abs(effects[1] - effects[0]) / sqrt(spread)
        power = 1 - NormalDist(shift).cdf(NormalDist().inv_cdf(0.975))
        found = row(RESULT, Measure.POWER_INTERACTION, name)
        assert abs(found.value - power) <= 0.02 + 4 * found.mcse  # Wald's z is near, not exact


def test_analytic_a_chance_finding_in_one_of_two_levels_is_about_one_in_twenty():
    # Two independent tests, each in favour with probability near 0.025.
    for result in (RESULT, STRATIFIED):
        found = row(result, Measure.SUBGROUP_EFFECTIVE, "no-effect")
        exact = 1.0
        for n in (95, 63):  # half of 60% and 40% of 316; the sizes vary around these
            region = rejection_region(ExactTest.CHI_SQUARE, n, n, 0.05, 2)
            exact *= 1 - rejection_probability(region, 0.228, 0.228) / 2
        assert abs(found.value - (1 - exact)) <= 0.005 + 4 * found.mcse
        alone = row(result, Measure.SUBGROUP_ALONE, "no-effect")
        assert 0 < alone.value < found.value


def test_property_stratified_allocation_hardly_moves_the_power_of_the_interaction():
    for name in ("as-in-document", "advanced-only"):
        plain, within = (row(r, Measure.POWER_INTERACTION, name) for r in (RESULT, STRATIFIED))
        assert abs(plain.value - within.value) <= 4 * sqrt(plain.mcse**2 + within.mcse**2)


def test_property_looking_at_six_factors_finds_more_by_chance():
    searched = row(simulated("searched", ["no-effect"]), Measure.SUBGROUP_ALONE, "no-effect")
    planned = row(RESULT, Measure.SUBGROUP_ALONE, "no-effect")
    assert searched.value > 2 * planned.value
