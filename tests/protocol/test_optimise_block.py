"""The words of ``optimise:``: constraints, looks, ratios; and a file rewritten as a design."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from trialsim.errors import ProtocolError, RequestError
from trialsim.protocol.optimisation import (
    Quantity,
    constraints_from_words,
    vary_from_words,
)
from trialsim.protocol.reading.load import check_file
from trialsim.protocol.reading.nodes import plain, read_text
from trialsim.protocol.reading.rewriting import flow, rewritten

SHIPPED = sorted((ROOT / "protocols").glob("*.yaml"))


@pytest.mark.parametrize(
    ("words", "quantity", "bound", "under"),
    [
        ("power >= 0.8 under or-082", Quantity.POWER, 0.8, "or-082"),
        ("power>=80%", Quantity.POWER, 0.8, None),
        ("months <= 48", Quantity.MONTHS, 48.0, None),
        ("months <= 4 years", Quantity.MONTHS, 48.0, None),
        ("cost <= 6e6", Quantity.COST, 6e6, None),
        ("patients <= 1,500", Quantity.PATIENTS, 1500.0, None),
        ("worse-arm <= 300 under a", Quantity.WORSE_ARM, 300.0, "a"),
        ("expected months <= 30.5", Quantity.EXPECTED_MONTHS, 30.5, None),
        ("Expected Months <= 30.5", Quantity.EXPECTED_MONTHS, 30.5, None),
    ],
)
def test_property_a_constraint_is_read_as_it_is_said(words, quantity, bound, under):
    (found,) = constraints_from_words([words])
    assert (found.quantity, found.bound, found.under) == (quantity, pytest.approx(bound), under)
    assert constraints_from_words([str(found)]) == (found,)  # and said as it is read


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("power < 0.8", "must use <= or >=, not <"),
        ("power <= 0.8", "must use >=: power is to be large"),
        ("months >= 12", "must use <=: months is to be small"),
        ("power >= 80", "must ask for a power between 0 and 1"),
        ("powr >= 0.8", "judges 'powr', which is no quantity"),
        ("months <= 48 under or-082", "must not say 'under'"),
        ("cost <= 6 years", "has a unit that cost does not have"),
        ("cheap", "must be a quantity, <= or >=, and a number"),
        ("power >= 0.8 under Or 082", "must be a quantity"),
        ("power >= 0.8 under OR", "must name a scenario by its id"),
        ("months <= 1.2.3", "must be a quantity"),
    ],
)
def test_property_a_constraint_that_means_nothing_is_refused_with_an_example(words, rule):
    with pytest.raises(RequestError) as refused:
        constraints_from_words([words, "months <= 48"])
    (problem,) = refused.value.problems
    assert problem.rule.startswith(rule)
    assert problem.remedy
    assert (problem.field, problem.value) == ("--constraint", words)


@given(
    st.sampled_from([q for q in Quantity if q is not Quantity.POWER]),
    st.floats(0.01, 1e12, allow_nan=False),
)
def test_property_every_bound_can_be_said_and_read(quantity, bound):
    (found,) = constraints_from_words([f"{quantity} <= {bound:.10g}".replace("e+", "e")])
    assert found.bound == pytest.approx(bound, rel=1e-9)
    assert found.holds(found.bound)
    assert not found.holds(found.bound * 1.001 + 1e-3)


def test_property_decisions_are_read_from_words():
    found = vary_from_words(
        ["size=500:900:200", "looks=1,3 obf,2 hsd:-4", "ratio=2:1", "follow-up=28 d", "sites=5"]
    )
    assert found.size == (500, 700, 900)
    assert [str(own) for own in found.looks or ()] == ["1", "3 obf", "2 hsd:-4"]
    assert found.looks
    assert found.looks[1].fractions == (1 / 3, 2 / 3, 1.0)
    for words in ("size=3", "looks=3", "looks=3 off", "ratio=a", "x=1", "size=1:2", "size=ab"):
        with pytest.raises(RequestError):
            vary_from_words([words])
    with pytest.raises(RequestError, match="twice"):
        vary_from_words(["sites=5,5"])


def test_property_mistakes_in_the_block_have_their_line(tmp_path):
    text = (ROOT / "protocols" / "sepsis.yaml").read_text(encoding="utf-8")
    text = text.partition("\noptimise:")[0] if "\noptimise:" in text else text
    text = text.replace("\ncost:", "\nx-cost:") if "\ncost:" in text else text
    block = (
        "optimise:\n  vary: {variant: [nix]}\n  constraints:\n    - power >= 0.8 under or-08\n"
        "    - months < 48\n  under: [or-82]\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(block + text, encoding="utf-8")
    with pytest.raises(ProtocolError) as refused:
        check_file(str(path))
    lines = {p.line: p for p in refused.value.problems if p.field.startswith("optimise")}
    assert "must use <= or >=" in lines[5].rule
    path.write_text(block.replace("months < 48", "months <= 48") + text, encoding="utf-8")
    with pytest.raises(ProtocolError) as refused:
        check_file(str(path))
    lines = {p.line: p for p in refused.value.problems if p.field.startswith("optimise")}
    assert "no variant of this file" in lines[2].rule
    assert lines[4].remedy == lines[6].remedy == "Did you mean 'or-082'?"


# -- rewriting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_property_a_rewritten_file_says_what_it_should_and_keeps_its_comments(path):
    text = path.read_text(encoding="utf-8")
    before = plain(read_text(text, path.name))
    assert rewritten(text, before, "m") == text
    target = copy.deepcopy(before)
    target["protocol"]["sample_size"] = {"total": 2468}
    target["protocol"]["looks"] = [{"at": {"information": 1}, "efficacy_z": 1.959964}]
    target["protocol"].get("allocation", {}).pop("block_sizes", None)
    target["protocol"]["operations"] = {"sites": {"planned": 31}}
    target["nature"]["enrolment"] = {"uniform": "12.5 mo", "note": "a: b # c"}
    target["scenarios"][-1]["title"] = 'she said "no": never'
    found = rewritten(text, target, "by me")
    assert plain(read_text(found, path.name)) == target
    lines = set(text.splitlines())
    kept = [line for line in found.splitlines() if line in lines]
    assert len(kept) > 0.8 * len(text.splitlines())
    assert "sample_size: {total: 2468} # by me" in found


WORDS = st.text("ab0:#'\"\\ {}[],-.&*!|>%@é\n", max_size=8)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | WORDS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_property_a_value_on_one_line_is_read_as_it_was(value):
    assert plain(read_text(f"a: {flow(value)}", "x")) == {"a": value}
