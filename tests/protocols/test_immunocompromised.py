"""CD4 counts in one arm: the document's figures, and a rise that nobody caused."""

from __future__ import annotations

from math import exp, sqrt

import pytest
from scipy.stats import truncnorm

from trialsim.errors import ProtocolError
from trialsim.protocol.reading.load import load_template
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

REPLICATES = 2_000
BASELINE, SIX_MONTHS = (312.0, 84.0), (498.0, 91.0)


@pytest.fixture(scope="module")
def template():
    return load_template("immunocompromised")


@pytest.fixture(scope="module")
def rows(template):
    return plan_simulation(template).simulate(replicates=REPLICATES, seed=7).rows


def value(rows, measure, scenario, endpoint="cd4", analysis=None):
    (found,) = [
        r
        for r in rows
        if (r.measure, r.scenario, r.endpoint, r.analysis)
        == (measure, scenario, endpoint, analysis or r.analysis)
    ]
    return found


def change(template, scenario, endpoint):
    truth = template.truth(*template.scenarios([scenario]))
    return sum(step for _, step in dict(truth.comparisons)[endpoint].steps)


def test_reference_constants_are_those_of_the_document(template):
    """The record document-003."""
    stated = {q.id: q for q in template.evidence.records["document-003"].quantities}
    for name, (mean, sd) in (("cd4-baseline", BASELINE), ("cd4-6mo", SIX_MONTHS)):
        assert stated[name].value == mean
        assert stated[name].interval == (mean - sd, mean + sd)
    assert template.template.protocol.n_total == stated["patients"].value
    ratio = stated["cd4-cd8-6mo"].value / stated["cd4-cd8-baseline"].value
    assert 0.68 * exp(change(template, "as-in-document", "cd4-cd8")) == pytest.approx(
        1.12, abs=5e-3
    )
    assert ratio == pytest.approx(exp(change(template, "as-in-document", "cd4-cd8")), rel=1e-3)


def test_analytic_eligible_patients_are_those_of_the_document(template):
    model = template.template.nature.outcomes["cd4"]
    own, later = model.baseline, model.sd
    cut = (own.at_most - own.mean) / own.sd
    eligible = truncnorm(-20, cut, loc=own.mean, scale=own.sd)
    assert eligible.mean() == pytest.approx(BASELINE[0], abs=0.5)
    assert eligible.std() == pytest.approx(BASELINE[1], abs=0.5)
    slope = own.correlation * later / own.sd
    after = sqrt(later**2 * (1 - own.correlation**2) + slope**2 * eligible.var())
    assert after == pytest.approx(SIX_MONTHS[1], abs=0.5)
    by_itself = (model.mean.value - own.mean) + (1 - slope) * (own.mean - eligible.mean())
    assert change(template, "no-effect", "cd4") == pytest.approx(by_itself + 10 + 40, abs=1e-6)
    found = eligible.mean() + change(template, "as-in-document", "cd4")
    assert found == pytest.approx(SIX_MONTHS[0], abs=0.5)


def test_reference_hiv_proportion_is_the_published_one(template):
    """The record hiv-inr."""
    record = template.evidence.records["hiv-inr"]
    before, after = (
        record.result(f"cd4-proportion-{when}").experimental.value for when in ("baseline", "24wk")
    )
    assert before + change(template, "as-observed", "cd4-percent") == pytest.approx(after)
    assert template.template.nature.outcomes["cd4-percent"].baseline.mean == before


def test_property_a_cohort_without_effect_finds_one(rows):
    found = value(rows, Measure.POWER, "no-effect")
    assert found.value > 0.9  # the inflated rate is the result
    alone = {
        r.analysis: r.value
        for r in rows
        if r.measure is Measure.POWER_ALONE and r.scenario == "no-effect" and r.endpoint == "cd4"
    }
    error = 4 * sqrt(0.05 * 0.95 / REPLICATES)
    assert abs(alone["nothing"] - 0.05) < 0.005 + error
    for departure in ("regression to the mean", "concurrent therapy"):
        assert alone[departure] > 0.05 + error


def test_analytic_untouched_endpoint_keeps_its_level(rows):
    found = value(rows, Measure.POWER, "no-effect", "cd4-percent")
    assert abs(found.value - 0.05) < 4 * sqrt(0.05 * 0.95 / REPLICATES)


def test_property_randomised_the_same_patients_keep_the_level():
    template = load_template("immunocompromised", variant="randomised")
    rows = plan_simulation(template).simulate(replicates=REPLICATES, seed=7).rows
    found = value(rows, Measure.POWER, "no-effect")
    assert found.value <= 0.05 + 0.005 + 4 * sqrt(0.05 * 0.95 / REPLICATES)


def test_reference_nothing_else_gives_the_document_as_it_reads():
    """The record document-003."""
    template = load_template("immunocompromised", variant="nothing-else")
    assert change(template, "as-in-document", "cd4") == SIX_MONTHS[0] - BASELINE[0]
    ratio = exp(change(template, "as-in-document", "cd4-cd8"))
    assert ratio == pytest.approx(1.12 / 0.68, rel=1e-3)
    assert change(template, "no-effect", "cd4") == 0
    rows = plan_simulation(template).simulate(replicates=REPLICATES, seed=7).rows
    mean = value(rows, Measure.ESTIMATE_MEDIAN, "as-in-document")
    assert abs(mean.value - 186) < 4 * mean.mcse


def test_property_disagreements_about_its_records_are_shown(template):
    said = plan_simulation(template).simulate(replicates=200, seed=7).warnings
    assert "document-003-cohort" in {caution.code for caution in said}


def test_regression_an_unknown_record_is_refused():
    with pytest.raises(ProtocolError, match="is not a known evidence id"):
        load_template("immunocompromised", settings=("about=[document-03]",))
