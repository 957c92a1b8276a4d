"""Every shipped template against its second encoding, fact by fact.

`tests/protocols/qc/templates/` holds what somebody wrote down of each trial from the sources
without having seen the template (but for the teaching example). Words are compared by reading.
Numbers are compared here: what a template, or a record it rests on, says in each place is held
against the second hand's number, so a later change of either that contradicts the other fails.
"""

from __future__ import annotations

from functools import cache

import pytest
import yaml
from second_encoding_places import PLACES, First

from conftest import CORPUS
from trialsim.protocol.reading.catalogue import template_paths
from trialsim.protocol.reading.load import load_template

HOLDER = CORPUS / "qc" / "templates"
STATUSES = {"published", "document", "derived", "unverified", "assumed"}
KEYS = {"about", "value", "unit", "source", "status", "where"}


@cache
def second(name):
    """What the second hand wrote down of a template."""
    return yaml.safe_load((HOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def checks():
    return [(name, about) for name, places in PLACES.items() for about in places]


@cache
def first(name):
    return First(name)


@pytest.mark.parametrize(("name", "about"), checks())
def test_twin_the_template_has_the_number_of_the_second_hand(name, about):
    place, rounding = PLACES[name][about]
    fact = next(f for f in second(name) if f["about"] == about)
    expected = fact["value"]
    if not isinstance(expected, str):
        expected = pytest.approx(expected, abs=rounding or 1e-12, rel=1e-12)
    assert place(first(name)) == expected


@pytest.mark.parametrize("name", sorted(p.stem for p in HOLDER.glob("*.yaml")))
def test_property_the_second_encoding_is_whole_and_says_where_from(name):
    facts = second(name)
    assert len(facts) >= 20
    assert all(set(f) == KEYS and f["status"] in STATUSES for f in facts)
    names = [f["about"] for f in facts]
    assert len(set(names)) == len(names)
    places = PLACES.get(name, {})
    assert set(places) <= set(names)
    numbers = [f for f in facts if isinstance(f["value"], int | float)]
    assert len(places) >= len(numbers) / 2


def test_property_every_template_is_compared_and_the_count_of_facts_is_what_qc_says():
    assert {path.stem for path in HOLDER.glob("*.yaml")} == set(PLACES) == set(template_paths())
    for name in PLACES:
        qc = load_template(name).template.qc
        assert qc.n_values == len(second(name))
