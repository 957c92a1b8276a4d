"""The size of a single arm: clinfun's designs, enumeration, simulation, and what is refused."""

from __future__ import annotations

import json
from random import Random

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binom

from conftest import CORPUS, ROOT
from trialsim import DesignError, RequestError, load_template
from trialsim.cli.parser import parse
from trialsim.protocol.endpoints import Better
from trialsim.report.screens.size_screen import size_screen
from trialsim.sizing.single_arm import SimonCriterion
from trialsim.studies.size.of_one_arm import OneArm, OneArmSize
from trialsim.studies.size.planned import plan_size
from trialsim.studies.size.request import size_request

SIMON = {
    figure["id"]: figure["value"]
    for figure in json.loads((ROOT / "tests/reference/fixed_designs.json").read_text())["results"]
    if figure["id"].startswith("simon")
}


@pytest.mark.parametrize("name", sorted(SIMON))
@pytest.mark.parametrize("criterion", list(SimonCriterion))
def test_reference_simons_designs_of_clinfun(name, criterion):
    null, good, alpha, beta = (
        float(part.removeprefix(letter))
        for part, letter in zip(name.split("_")[1:], ("p0", "p1", "a", "b"), strict=True)
    )
    found = OneArm(null, good, alpha=alpha, power=1 - beta).two_stage(criterion)
    r1, n1, r, n, expected, stops = SIMON[name][criterion.value]
    assert (found.most_to_stop, found.n_first, found.least_to_reject - 1, found.n) == (r1, n1, r, n)
    assert found.expected_n == pytest.approx(expected, rel=1e-9)
    assert found.stop_probability == pytest.approx(stops, rel=1e-9)


@pytest.mark.parametrize(("null", "good", "power"), [(0.2, 0.4, 0.8), (0.05, 0.25, 0.9)])
def test_analytic_operating_characteristics_are_those_of_enumeration(null, good, power):
    arm = OneArm(null, good, power=power)
    assert len(arm.designs) == 3
    for design in arm.designs:
        later = design.n - design.n_first
        for rate, shown in ((null, design.type_1_error), (good, design.power)):
            first = stats.binom(design.n_first, rate)
            found = sum(
                first.pmf(x) * stats.binom.sf(design.least_to_reject - x - 1, later, rate)
                for x in range(design.most_to_stop + 1, design.n_first + 1)
            )
            assert shown == pytest.approx(found, abs=1e-12)
        assert design.type_1_error <= arm.alpha
        assert design.power >= power
    one = arm.single_stage
    assert arm.power_of(one.n) == pytest.approx(one.power)
    assert arm.power_of(one.n - 1) < power


@pytest.mark.parametrize("better", list(Better))
def test_analytic_the_designs_simulated_have_their_exact_characteristics(better):
    risks = (0.2, 0.4) if better is Better.HIGHER else (0.8, 0.6)
    arm = OneArm(*risks, better)
    for design in arm.designs:
        found = arm.simulate(design, replicates=20_000, seed=5)
        assert abs(found.power.value - design.power) < 4 * found.power.mcse
        assert abs(found.type_1_error.value - design.type_1_error) < 4 * found.type_1_error.mcse
        beyond = 4 * (found.expected_n.mcse or 0) + 1e-9
        assert abs(found.expected_n.value - design.expected_n) < beyond


@pytest.mark.parametrize("number", range(4))
def test_property_random_designs_simulated_have_their_exact_power(number):
    draw = Random(number)
    null = draw.uniform(0.05, 0.6)
    arm = OneArm(null, null + draw.uniform(0.15, 0.3), alpha=draw.choice([0.025, 0.05, 0.1]))
    for design in arm.designs:
        found = arm.simulate(design, replicates=4096, seed=number)
        assert abs(found.power.value - design.power) < 4 * found.power.mcse
        assert design.power >= 0.8


def test_property_fewer_bad_events_are_as_many_good_ones():
    fewer, more = OneArm(0.8, 0.6, Better.LOWER), OneArm(0.2, 0.4)
    assert [d.rule for d in fewer.designs] == [d.rule for d in more.designs]


@pytest.mark.parametrize(
    ("risks", "words", "message"),
    [
        ((0.4, 0.2), {}, "must be on the better side of the known one, 0.4: higher"),
        ((0.2, 0.2), {}, "must be on the better side"),
        ((0.0, 0.2), {}, "the known risk must be in (0, 1)"),
        ((0.2, 0.4), {"power": 0.05}, "must be above alpha, 0.05"),
        ((0.2, 0.20001), {}, "must not exceed 10,000,000"),
    ],
)
def test_regression_what_cannot_be_sized_is_refused_and_never_a_number(risks, words, message):
    with pytest.raises(DesignError) as caught:
        OneArm(*risks, **words).designs  # noqa: B018
    assert message in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)


def test_regression_two_stages_are_not_searched_for_hundreds_of_patients():
    arm = OneArm(0.2, 0.24)
    assert len(arm.designs) == 1
    with pytest.raises(DesignError, match="not searched above 300 patients"):
        arm.two_stage(SimonCriterion.OPTIMAL)


def of_one_arm(*words):
    """Plan the single arm of a file, with nothing but treatment between it and the known 20%."""
    name = str(CORPUS / "valid" / "single-arm.yaml")
    options = parse(["size", name, "--set", "nature={}", *words])
    resolved = load_template(options.template, settings=options.settings)
    return plan_size(resolved, size_request(resolved, options)[0])


def test_regression_a_template_of_one_arm_is_told_like_the_others():
    plan = of_one_arm("--dropout", "0.1", "--total", "50")
    assert isinstance(plan, OneArmSize)
    found = plan.result(replicates=1000)
    text = " ".join(size_screen(plan, found, 1, "trialsim").split())
    for words in ("single stage", "Simon's optimal", "Simon's minimax", "type I error at the known",
                  "against a known 20.0%", "clinfun::ph2simon", "50 patients in one stage:",
                  "10% without outcome", "at least"):  # fmt: skip
        assert words in text
    rows = [row for row in found.rows if row.measure.value == "n_total"]
    assert [row.headline for row in rows] == [True, False, False]
    assert rows[0].value == plan.arm.single_stage.n
    simulated = [row for row in found.rows if row.measure.value == "power_simulated"]
    assert all(row.mcse > 0 and row.n_replicates == 1000 for row in simulated)


def test_regression_options_of_two_arms_and_no_effect_are_refused():
    words = ("--ratio", "2:1", "--looks", "0.5,1", "--bounds", "obf")
    with pytest.raises(RequestError, match="must belong to two arms") as caught:
        of_one_arm(*words)
    assert len(caught.value.problems) == 2
    with pytest.raises(RequestError, match="has no effect: no size finds it"):
        of_one_arm("--scenario", "no-effect")


def test_analytic_findings_without_effect_in_todays_patients_are_the_exact_chance():
    name = str(CORPUS / "valid" / "single-arm.yaml")
    resolved = load_template(name)
    plan = plan_size(resolved, size_request(resolved, parse(["size", name]))[0])
    today = 0.25 * 1.5 * 1.3 / (1 + 0.25 * 1.5 * 1.3)  # odds of 20%, drift, concurrent therapy
    assert plan.risks[0] == pytest.approx(today)
    single, optimal = plan.arm.designs[:2]
    assert plan.false_findings(single) == pytest.approx(binom.sf(6, 16, today))
    first = np.arange(optimal.most_to_stop + 1, optimal.n_first + 1)
    later = binom.sf(optimal.least_to_reject - first - 1, optimal.n - optimal.n_first, today)
    exact = (binom.pmf(first, optimal.n_first, today) * later).sum()
    assert plan.false_findings(optimal) == pytest.approx(exact)
    told = plan.result(replicates=200).texts["paragraph"]
    assert "a treatment without effect is found in 24.7%" in told
