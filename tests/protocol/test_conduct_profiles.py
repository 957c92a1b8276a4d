"""Shipped profiles of conduct: what they cite exists, and each trial's own acts on its template."""

from __future__ import annotations

import pytest

from trialsim import ProtocolError, load_template
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.reading.catalogue import conduct_paths
from trialsim.protocol.reading.load import load_conduct, shipped_evidence
from trialsim.studies.conduct.bias import plan_bias

OF_TEMPLATE = {
    "rigorous": "sepsis",
    "pragmatic": "sepsis",
    "poor": "sepsis",
    "tests-2025": "sepsis",
    "etass-2013": "sepsis",
    "chien-1998": "chronic-hepatitis-b",
    "tlcr-2025": "nsclc-adjuvant",
    "chen-2022": "sepsis",  # until there is a template of liver failure
}


@pytest.mark.parametrize("name", conduct_paths())
def test_property_every_shipped_profile_is_called_as_its_file_and_says_what_is_assumed(name):
    profile = load_conduct(name)
    assert profile.id == name
    assert profile.note
    assert "assumed" in profile.note or not profile.mechanisms


@pytest.mark.parametrize(("name", "template"), OF_TEMPLATE.items())
def test_property_a_profile_acts_on_its_template(name, template):
    profile = load_conduct(name)
    planned = plan_bias(load_template(template), profile)
    assert planned.mechanisms == profile.mechanisms
    assert len(planned.profiles) == 2 ** len(profile.mechanisms)


def test_reference_patients_left_out_are_those_the_trials_published():
    """10 of 552 and 7 of 554 (TESTS); 6 of 120 (Chen 2022), 60 in each arm assumed."""
    tests, chen = load_conduct("tests-2025"), load_conduct("chen-2022")
    of = {own.id: own.differential_loss.lost for own in (tests, chen)}
    assert of["tests-2025"].treated_favourable.value == pytest.approx(10 / 552, abs=5e-5)
    assert of["tests-2025"].control_favourable.value == pytest.approx(7 / 554, abs=5e-5)
    randomised = shipped_evidence().records["tests-2025"].design.n_randomised
    assert randomised == 552 + 554
    lost = of["chen-2022"]
    assert 60 * (lost.treated_favourable.value + lost.control_favourable.value) == pytest.approx(
        6, abs=0.05
    )


def test_regression_a_source_that_does_not_exist_is_refused_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema_version: 1\nid: mine\ntitle: mine\n"
        "exclusion: {strength: {value: 0.1, source: tests-2052}}\n"
    )
    with pytest.raises(ProtocolError, match="Did you mean 'tests-2025'") as told:
        load_conduct(str(path))
    (problem,) = told.value.problems
    assert problem.line == 4
    assert problem.field == "exclusion.strength.source"


def test_regression_a_sound_profile_has_no_dial():
    from trialsim import RequestError

    with pytest.raises(RequestError, match="has no flaw of exclusion"):
        plan_bias(load_template("sepsis"), load_conduct("rigorous"), only=Mechanism.EXCLUSION)
