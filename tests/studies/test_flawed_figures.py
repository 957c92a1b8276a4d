"""What the figures of flaws show: against rows and patients by brute force; told apart in grey."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest

from trialsim.figures.bias import bias_figure
from trialsim.figures.flawed_patients import (
    flawed_figures,
    imbalance_figure,
    marks_of,
    trial_figure,
)
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.report.run_reader import _harmless
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import Measure

SMALL = "protocol.sample_size={total: 120}"
NOT_DEATH = "protocol.endpoints.mortality-28d.event=organ failure"


@pytest.fixture(scope="module")
def poor():
    resolved = load_template("sepsis", settings=(SMALL,))
    planned = plan_bias(resolved, load_conduct("poor"), ["no-effect", "or-082"])
    return planned, planned.result(replicates=512, seed=3)


@pytest.fixture(scope="module")
def eight():
    resolved = load_template("sepsis", settings=(SMALL, NOT_DEATH))
    planned = plan_bias(resolved, load_conduct("every-flaw"), ["or-082"])
    return planned, planned.replay("or-082", 1, 1)


def test_analytic_bars_lead_from_the_truth_to_what_is_published(poor):
    planned, result = poor
    figure, told = bias_figure(planned, result)
    for axes, scenario, theta in zip(figure.axes, planned.scenarios, (0.0, log(0.82)), strict=True):
        own = [r for r in result.rows if r.scenario == scenario.id]
        steps = [r.value for r in own if r.measure is Measure.ATTRIBUTION]
        ends = [exp(theta + sum(steps[:k])) for k in range(len(steps) + 1)]
        drawn = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
        assert [sorted(bar) for bar in drawn] == [
            pytest.approx(sorted(pair), abs=1e-12) for pair in pairwise(ends)
        ]
        hatched = [bar.get_hatch() is not None for bar in axes.patches]
        assert hatched == [step < 0 for step in steps]  # deaths: fewer are a benefit
        (published,) = [
            r.value for r in own if (r.measure, r.mechanism) == (Measure.ESTIMATE_MEAN, "all")
        ]
        assert ends[-1] == pytest.approx(exp(published), rel=1e-12)
        assert f"published {exp(published):.3g}" in told


def test_analytic_a_dial_shows_the_truth_and_the_mean_at_every_strength():
    resolved = load_template("sepsis", settings=(SMALL,))
    planned = plan_bias(
        resolved,
        load_conduct("poor"),
        ["or-082"],
        only=Mechanism.EXCLUSION,
        strengths=(0.0, 0.3, 0.6),
    )
    result = planned.result(replicates=256, seed=3)
    figure, told = bias_figure(planned, result)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert [*lines["the truth, 0.82"].get_ydata()] == pytest.approx([0.82, 0.82])
    means = {
        r.strength: exp(r.value)
        for r in result.rows
        if r.measure is Measure.ESTIMATE_MEAN and r.strength is not None
    }
    own = next(line for label, line in lines.items() if label.startswith("with it"))
    assert dict(zip(own.get_xdata(), own.get_ydata(), strict=True)) == pytest.approx(means)
    assert len({line.get_linestyle() for line in axes.lines}) == 3  # told apart in grey
    assert "truth 0.82" in told


def test_analytic_imbalance_stands_where_its_row_says_with_one_mark_per_scenario(poor):
    planned, result = poor
    figure, told = imbalance_figure(planned, result)
    (axes,) = figure.axes
    looks = set()
    for container, scenario in zip(axes.containers, planned.scenarios, strict=True):
        own = [
            r
            for r in result.rows
            if r.measure is Measure.BASELINE_IMBALANCE and r.scenario == scenario.id
        ]
        points, _, (bars,) = container.lines
        assert list(points.get_xdata()) == [r.value for r in own]
        halves = [(s[1, 0] - s[0, 0]) / 2 for s in bars.get_segments()]
        assert halves == pytest.approx([1.96 * r.mcse for r in own], abs=1e-12)
        looks.add((points.get_marker(), points.get_markerfacecolor()))
    assert len(looks) == len(planned.scenarios)
    assert "no flaw" in told
    assert "all of them" in told


def test_analytic_marks_are_the_patients_of_the_trial(eight):
    planned, trial = eight
    seen, marks = trial.patients, marks_of(trial, planned.job.protocol)
    assert [mark.patient for mark in marks] == list(range(1, 121))
    assert [mark.x for mark in marks] == list(seen["prognosis_sd"])
    for when, counts in (("planned", trial.counts_planned), ("reported", trial.counts_reported)):
        rows = [getattr(mark, when) for mark in marks]
        x1, n1, x0, n0 = (
            int(values[0])
            for values in (
                counts.events_treated,
                counts.n_treated,
                counts.events_control,
                counts.n_control,
            )
        )
        assert [rows.count(k) for k in range(5)] == [x1, n1 - x1, x0, n0 - x0, 120 - n1 - n0]
    for mechanism, told in trial.touched.items():
        own = [str(mechanism) in mark.flaws for mark in marks]
        assert own == list(told != "")


def test_property_one_trial_has_a_shape_for_every_flaw_and_the_means_of_the_arms(eight):
    planned, trial = eight
    figure, told = trial_figure(planned, trial)
    marks = marks_of(trial, planned.job.protocol)
    shown = {mark.flaws[0] for mark in marks if mark.flaws}
    for axes, when in zip(figure.axes, ("planned", "reported"), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert shown <= set(lines)
        shapes = [lines[flaw].get_marker() for flaw in shown]
        assert len(set(shapes)) == len(shown)  # told apart without colour
        n = sum(len(lines[name].get_xdata()) for name in (*shown, "touched by no flaw"))
        assert n == len(marks)
        dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        means = []
        for treated in (True, False):
            own = [
                m.x
                for m in marks
                if getattr(m, when) < 4 and getattr(m, f"treated_{when}") is treated
            ]
            means.append(np.mean(own))
        assert dashed == pytest.approx(means)
        assert dashed[0] - dashed[1] == pytest.approx(getattr(trial, f"imbalance_{when}"))
    assert "As planned: treated" in told


def test_property_there_is_no_figure_of_prognosis_where_none_is_known():
    conduct = load_conduct("poor").only({Mechanism.EXCLUSION})
    planned = plan_bias(load_template("chronic-hepatitis-b"), conduct, ["chien-1998"])
    result = planned.result(replicates=128, seed=1)
    drawn = flawed_figures(planned, result, planned.first_trial(1))
    assert list(drawn) == ["onetrial"]
    assert drawn["onetrial"][0].axes[0].get_xlabel() == "patient"
    assert flawed_figures(planned, result, None) == {}


def test_property_hatched_drawings_pass_for_drawings_and_others_do_not():
    whole = '<svg xmlns="http://www.w3.org/2000/svg"><defs>{}</defs></svg>'
    assert _harmless(whole.format('<pattern id="h"><path d="M0 0"/></pattern>'))
    assert not _harmless(whole.format('<pattern id="h"><script/></pattern>'))
