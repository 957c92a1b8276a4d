"""What was published on a protocol's question: gathered, not simulated."""

from __future__ import annotations

import pytest

from trialsim.app.worker import Order, answered
from trialsim.figures.forest import forest_figure, forest_lines
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.reading.places import template_paths
from trialsim.report.screens.held_against import held_against, held_against_lines
from trialsim.report.screens.protocol_screen import sources_of


def document(*words):
    return answered(Order(words)).document


def test_property_the_estimates_are_those_of_a_simulation():
    listed = document("evidence", "--template", "sepsis")
    observed = document("simulate", "sepsis", "--replicates", "100")["observed"]
    assert listed["observed"] == [r for r in observed if r["measure"] in ("estimate", "risk")]
    assert listed["protocol"] == "sepsis"
    first = list(dict.fromkeys(row["evidence"] for row in listed["rows"]))[:2]
    assert first == ["etass-2013", "tests-2025"]


@pytest.mark.parametrize("name", template_paths())
def test_property_every_template_lists_what_it_cites_and_both_sides(name):
    resolved = load_template(name)
    found = held_against(resolved)
    assert set(sources_of(resolved)) <= set(found.records)
    for each in found.disagreements:
        assert len(each["sides"]) >= 2
        assert {side["source"] for side in each["sides"]} == set(each["touches"])
        assert all(side["says"].rstrip(".") in each["text"] for side in each["sides"])
    shown = held_against_lines(resolved, found, "trialsim")
    assert all(record in shown for record in found.records)


@pytest.mark.parametrize(
    ("scale", "axis", "none_at"),
    [
        ("odds ratio", "log", 1.0),
        ("mean difference", "linear", 0.0),
        ("proportion", "linear", None),
    ],
)
def test_property_a_forest_has_the_axis_of_its_scale(scale, axis, none_at):
    row = {"measure": "estimate", "evidence": "a", "value": 2.0, "lower": 1.5, "upper": 3.0}
    rows = [{**row, "scale": scale}, {**row, "scale": scale, "evidence": "b", "lower": None}]
    lines = forest_lines(rows, {"a": "Trial A"})[scale]
    assert [line.label for line in lines] == ["Trial A"]  # the other has no interval
    figure, alt_text = forest_figure(lines, scale)
    (axes,) = figure.axes
    assert axes.get_xscale() == axis
    upright = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    rules = [x for x in upright if x != 2.0]
    assert rules == ([] if none_at is None else [none_at])
    assert "Trial A 2.00 (1.50 to 3.00)" in alt_text
