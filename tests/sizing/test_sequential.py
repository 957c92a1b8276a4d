"""Group-sequential designs against rpact and gsDesign, published figures and closed forms."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from conftest import ROOT
from trialsim.errors import DesignError, RequestError
from trialsim.sizing import sequential
from trialsim.sizing.sequential import (
    AssumedEffect,
    BetaSpending,
    GivenBounds,
    GivenFutility,
    HwangShihDeCani,
    LanDeMetsObrienFleming,
    LanDeMetsPocock,
    NormalPrior,
    ObrienFleming,
    Pocock,
    UserSpending,
    WangTsiatis,
    sequential_design,
)

INF = np.inf
FIGURES = json.loads((ROOT / "tests/reference/group_sequential.json").read_text())
AT_A_LOOK = {
    entry["id"]: entry
    for entry in json.loads((ROOT / "tests/reference/conditional_power.json").read_text())[
        "results"
    ]
}
RULES = {
    "OF": ObrienFleming(),
    "P": Pocock(),
    "WT0.25": WangTsiatis(0.25),
    "asOF": LanDeMetsObrienFleming(),
    "asP": LanDeMetsPocock(),
    "HSDm4": HwangShihDeCani(-4),
    "HSDm2": HwangShihDeCani(-2),
    "HSD1": HwangShihDeCani(1),
    "bsOF": LanDeMetsObrienFleming(),
    "bsP": LanDeMetsPocock(),
    "bsHSDm2": HwangShihDeCani(-2),
}
NAMED = {
    "gs_default_tt4": (HwangShihDeCani(-4), BetaSpending(HwangShihDeCani(-2))),
    "gs_sfPower_1": (UserSpending((1.0,), (0.025,)), None),  # alpha t
}


def equally_spaced(looks):
    return [(k + 1) / looks for k in range(looks)]


def efficacy_and_futility(entry):
    params = entry["params"]
    if entry["id"] in NAMED:
        return NAMED[entry["id"]]
    if entry["id"] == "gs_sfExponential_0.75":  # a spending function we do not name: by its values
        by_look = np.cumsum(entry["gsDesign"]["upper_spend"])
        by_look[-1] = params["alpha"]
        return UserSpending(tuple(equally_spaced(params["k"])), tuple(by_look)), None
    if "beta_spending" in params:
        return RULES[params["type"]], BetaSpending(RULES[params["beta_spending"]])
    if "futility_z" in params:
        return RULES[params["type"]], GivenFutility(tuple(params["futility_z"]))
    return RULES[params["type"]], None


def design_of(entry):
    params = entry["params"]
    timing = params.get("timing", "equal")
    efficacy, futility = efficacy_and_futility(entry)
    return sequential_design(
        equally_spaced(params["k"]) if timing == "equal" else timing,
        alpha=params["alpha"],
        sides=params.get("sided", 1),
        efficacy=efficacy,
        futility=futility,
        binding=params.get("binding", False),
        power=params["power"],
    )


def in_terms_of_rpact(design):
    drift, power = design.planned_drift, design.planned_power
    stops, inflation = design.stop_probabilities(drift), design.inflation(power)
    found = {
        "criticalValues": design.efficacy_z,
        "stageLevels": design.nominal_p,
        "alphaSpent": design.alpha_spent,
        "shift": drift**2,
        "nFixed": drift**2 / inflation,
        "inflationFactor": inflation,
        "information": np.array(design.information) * drift**2,
        "power": stops.upper.cumsum(),
        "rejectionProbabilities": stops.upper,
        "asnH1_over_nfix": design.expected_information(drift) * inflation,
        "asnH01_over_nfix": design.expected_information(drift / 2) * inflation,
        "asnH0_over_nfix": design.expected_information(0.0) * inflation,
    }
    if design.futility is not None:
        found["futilityBounds"] = design.futility_z[:-1]
        found["futilityProbabilities"] = stops.lower[:-1]
    if isinstance(design.futility, BetaSpending):
        found["betaSpent"] = stops.lower.cumsum()
    return found


def in_terms_of_gsdesign(design):
    drift, inflation = design.planned_drift, design.inflation(design.planned_power)
    null, other = design.stop_probabilities(0.0), design.stop_probabilities(drift)
    found = {
        "upper": design.efficacy_z,
        "inflationFactor": inflation,
        "n.I": np.array(design.information) * inflation,
        "upper_prob_H0_H1": np.stack([null.upper, other.upper], axis=1),
        "en_H0_H1_over_nfix": [design.expected_information(d) * inflation for d in (0.0, drift)],
    }
    if design.futility is not None:
        found["lower"] = design.futility_z
        found["lower_prob_H0_H1"] = np.stack([null.lower, other.lower], axis=1)
    return found


def figures(entry, package):
    """Return an entry's numbers, less those that say nothing: futility of a design without."""
    words = {"package", "version", "call", "characteristics_call"}
    inputs = {"upper_spend", "lower_spend", "theta"}
    absent = set() if entry["id"].startswith("fut") else {"futilityProbabilities"}
    if "futility" not in json.dumps(entry["params"]) and "beta_spending" not in entry["params"]:
        absent.add("futilityBounds")  # rpact writes -6 for none
    return {
        name: value
        for name, value in entry[package].items()
        if name not in words | inputs | absent and not (isinstance(value, list) and None in value)
    }


@pytest.mark.parametrize("entry", FIGURES["designs"], ids=lambda entry: entry["id"])
def test_reference_every_figure_of_169_designs(entry):
    """None of the 169 is left out: rpact's figures, and gsDesign's of the designs it alone has."""
    design = design_of(entry)
    if "rpact" in entry:
        expected, found = figures(entry, "rpact"), in_terms_of_rpact(design)
        assert len(expected) >= 12
        for name, value in expected.items():
            assert np.ravel(found[name]) == pytest.approx(np.ravel(value), abs=5e-6), name
        assert design.efficacy_z == pytest.approx(np.ravel(expected["criticalValues"]), abs=1e-6)
    if "gsDesign" in entry:
        expected, found = figures(entry, "gsDesign"), in_terms_of_gsdesign(design)
        for name, value in expected.items():
            assert np.ravel(found[name]) == pytest.approx(np.ravel(value), abs=5e-6), name


def test_property_the_reference_file_is_whole():
    assert len(FIGURES["designs"]) == 169
    assert len({entry["id"] for entry in FIGURES["designs"]}) == 169


def test_reference_gsdesign_curve_of_power():
    curve = FIGURES["curves"][0]
    design = sequential_design(
        equally_spaced(3), alpha=0.025, sides=1, efficacy=LanDeMetsObrienFleming()
    )
    for at, theta in enumerate(curve["theta"]):
        drift = theta * np.sqrt(curve["n.I"][-1])
        upper = [row[at] for row in curve["upper_prob"]]
        assert design.stop_probabilities(drift).upper == pytest.approx(upper, abs=1e-6)
        expected = design.expected_information(drift) * curve["n.I"][-1]
        assert expected == pytest.approx(curve["en"][at], abs=1e-6)


@pytest.mark.parametrize(
    ("fractions", "efficacy", "z", "printed"),
    [
        ((0.5, 0.75, 1), LanDeMetsObrienFleming(), (2.963, 2.359, 2.014), 5e-4),
        ((0.8, 1), LanDeMetsObrienFleming(), (2.250, 2.025), 5.1e-4),
        ((1 / 3, 2 / 3, 1), HwangShihDeCani(-4), (3.0107, 2.5465, 1.9992), 5e-5),
    ],
)
def test_reference_published_bounds(fractions, efficacy, z, printed):
    """As printed by pharma-skills #27, the lrstat vignette and gsDesign's own snapshots."""
    design = sequential_design(fractions, alpha=0.025, sides=1, efficacy=efficacy)
    assert design.efficacy_z == pytest.approx(z, abs=printed)


def test_reference_published_two_sided_nominal_levels():
    """RConsortium/pharma-skills #27: O'Brien-Fleming-like spending at 50%, 75% and 100%."""
    design = sequential_design(
        (0.5, 0.75, 1), alpha=0.05, sides=2, efficacy=LanDeMetsObrienFleming()
    )
    nominal = 2 * np.array(design.nominal_p)
    assert nominal == pytest.approx([0.0031, 0.0183, 0.044], abs=5e-5)


def test_reference_published_error_and_power_by_look():
    """gsDesign's snapshot of a survival design: under no effect, stops for futility count."""
    design = sequential_design(
        equally_spaced(3),
        alpha=0.025,
        sides=1,
        efficacy=HwangShihDeCani(-4),
        futility=BetaSpending(HwangShihDeCani(-2)),
        power=0.9,
    )
    null = design.stop_probabilities(0.0).upper.cumsum()
    other = design.stop_probabilities(design.planned_drift).upper.cumsum()
    assert null == pytest.approx([0.0013, 0.0062, 0.0233], abs=5e-5)
    assert other == pytest.approx([0.1412, 0.5815, 0.9], abs=5e-5)


def test_reference_armitage_1969_repeated_looks():
    """Armitage, McPherson and Rowe 1969, table 2."""
    found = [sequential.type_i_error_of_repeated_looks(n, 0.05) for n in (1, 2, 3, 4, 5, 10, 20)]
    assert found == pytest.approx([0.05, 0.0831, 0.1073, 0.1262, 0.1417, 0.1934, 0.2479], abs=5e-5)


# Round trips

EFFICACY = st.sampled_from(
    [
        ObrienFleming(),
        Pocock(),
        WangTsiatis(0.3),
        LanDeMetsObrienFleming(),
        LanDeMetsPocock(),
        HwangShihDeCani(-4),
        HwangShihDeCani(0),
        HwangShihDeCani(2),
        UserSpending((0.4, 1.0), (0.01, 0.025)),
        GivenBounds((3.0, 3.0, 2.0)),
    ]
)
FUTILITY = st.sampled_from(
    [
        None,
        GivenFutility((-0.5, 0.4)),
        BetaSpending(LanDeMetsObrienFleming()),
        BetaSpending(HwangShihDeCani(-2)),
    ]
)


@given(
    EFFICACY, FUTILITY, st.booleans(), st.floats(0.5, 0.99), st.floats(0.1, 0.5), st.floats(0.1, 1)
)
def test_property_power_at_the_drift_for_a_power(efficacy, futility, binding, power, first, rest):
    spends_both = isinstance(futility, BetaSpending) and binding
    assume(not (spends_both and isinstance(efficacy, WangTsiatis | GivenBounds)))
    design = sequential_design(
        (first, first + rest * (0.95 - first), 1),
        alpha=0.025,
        sides=1,
        efficacy=efficacy,
        futility=futility,
        binding=binding,
        power=power,
    )
    assert design.power(design.planned_drift) == pytest.approx(power, abs=1e-8)
    assert design.power(design.drift_for(0.6)) == pytest.approx(0.6, abs=1e-8)
    if not isinstance(efficacy, GivenBounds):
        assert design.type_i_error == pytest.approx(0.025, abs=1e-8)
    if isinstance(futility, BetaSpending):
        missed = design.stop_probabilities(design.planned_drift).lower.sum()
        assert missed == pytest.approx(1 - power, abs=1e-8)


@given(EFFICACY, st.floats(0.05, 0.95))
def test_property_two_sides_are_one_at_half_the_alpha_nearly(efficacy, first):
    assume(not isinstance(efficacy, GivenBounds | UserSpending))
    both = sequential_design((first, 1), alpha=0.05, sides=2, efficacy=efficacy, power=0.8)
    one = sequential_design((first, 1), alpha=0.025, sides=1, efficacy=efficacy, power=0.8)
    assert both.efficacy_z == pytest.approx(one.efficacy_z, abs=1e-3)
    assert both.power(both.planned_drift) == pytest.approx(0.8, abs=1e-8)
    stops = both.stop_probabilities(0.0)
    assert stops.upper.sum() + stops.lower.sum() == pytest.approx(0.05, abs=1e-8)
    assert both.type_i_error == pytest.approx(0.05, abs=1e-8)


def test_property_what_a_user_spends_is_over_both_sides():
    both = planned(efficacy=UserSpending((0.5, 1), (0.02, 0.05)), alpha=0.05, sides=2)
    assert both.alpha_spent == pytest.approx([0.016, 0.032, 0.05], abs=1e-9)


def test_analytic_one_look_is_the_fixed_design():
    design = sequential_design((1,), alpha=0.05, sides=2, efficacy=Pocock(), power=0.9)
    assert design.efficacy_z == pytest.approx([norm.isf(0.025)], abs=1e-9)
    assert design.planned_drift == pytest.approx(norm.isf(0.025) + norm.ppf(0.9), abs=1e-9)
    assert design.inflation(0.8) == pytest.approx(1, abs=1e-9)
    assert design.expected_information(1.7) == 1


def test_analytic_peto_bounds_are_kept_and_their_error_told():
    design = sequential_design((0.5, 1), alpha=0.025, sides=1, efficacy=GivenBounds((3.0, 1.96)))
    law = multivariate_normal([0, 0], [[1, np.sqrt(0.5)], [np.sqrt(0.5), 1]])
    assert design.efficacy_z == (3.0, 1.96)
    assert design.type_i_error == pytest.approx(1 - law.cdf([3.0, 1.96]), abs=1e-8)


# Information that was not planned


def planned(**more):
    rules = {"alpha": 0.025, "sides": 1, "efficacy": LanDeMetsObrienFleming()} | more
    return sequential_design((0.4, 0.7, 1), **rules)


def test_property_recomputing_what_was_planned_changes_nothing():
    for design in (
        planned(power=0.9),
        planned(alpha=0.05, sides=2),
        planned(futility=BetaSpending(HwangShihDeCani(-2)), power=0.9),
        planned(futility=BetaSpending(HwangShihDeCani(-2)), power=0.9, binding=True),
    ):
        again = sequential.recomputed(design, design.information)
        assert again.efficacy_z == pytest.approx(design.efficacy_z, abs=1e-8)
        assert again.planned_drift == design.planned_drift
        if design.futility_z:
            assert again.futility_z == pytest.approx(design.futility_z, abs=1e-7)


@pytest.mark.parametrize("seen", [(0.35, 0.72, 0.9), (0.35, 0.72, 1.3), (0.35, 0.8), (0.5,)])
@pytest.mark.parametrize("sides", [1, 2])
def test_property_all_alpha_is_spent_at_the_information_seen(seen, sides):
    design = planned(sides=sides, alpha=0.025 * sides)
    again = sequential.recomputed(design, seen)
    assert again.type_i_error == pytest.approx(design.alpha, abs=1e-8)
    spent = sides * LanDeMetsObrienFleming().spent(np.array(seen[:-1]), 0.025)
    assert again.alpha_spent[:-1] == pytest.approx(spent, abs=1e-9)


def test_property_looks_already_held_keep_their_bounds():
    design = planned()
    early = sequential.recomputed(design, (0.35, 0.7, 1.0))
    late = sequential.recomputed(design, (0.35, 0.55, 0.8, 1.1))
    assert late.efficacy_z[0] == early.efficacy_z[0]


def test_analytic_overrunning_by_the_bivariate_normal():
    design = sequential_design(
        (0.5, 1), alpha=0.025, sides=1, efficacy=LanDeMetsObrienFleming(), power=0.9
    )
    more = sequential.recomputed(design, (0.5, 1.2))
    drift, correlation = design.planned_drift, np.sqrt(0.5 / 1.2)
    law = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    means = drift * np.sqrt([0.5, 1.2])
    assert law.cdf(more.efficacy_z) == pytest.approx(0.975, abs=1e-8)
    assert more.power(drift) == pytest.approx(1 - law.cdf(more.efficacy_z - means), abs=1e-8)
    early = norm.sf(more.efficacy_z[0] - means[0])
    assert more.expected_information(drift) == pytest.approx(1.2 - 0.7 * early, abs=1e-9)


# At a look


def monitored():
    """Return the design of cp_design in the reference file."""
    return sequential_design(
        equally_spaced(3),
        alpha=0.025,
        sides=1,
        efficacy=LanDeMetsObrienFleming(),
        futility=BetaSpending(HwangShihDeCani(-2)),
        power=0.9,
    )


def test_reference_gsdesign_monitored_design():
    design, figures = monitored(), AT_A_LOOK["cp_design"]["value"]
    assert design.efficacy_z == pytest.approx(figures["upper"], abs=1e-6)
    assert design.futility_z == pytest.approx(figures["lower"], abs=1e-6)
    assert 300 * design.inflation(0.9) == pytest.approx(figures["n.I"][-1], rel=1e-6)


def look_and_z(name):
    return int(name.split("_i")[1][0]), float(name.split("_z")[1])


@pytest.mark.parametrize("name", [name for name in AT_A_LOOK if name.startswith("condPower")])
def test_reference_gsdesign_conditional_power(name):
    effects = {
        "trend": AssumedEffect.TREND,
        "H1": AssumedEffect.PLANNED,
        "H0": AssumedEffect.NONE,
    }
    found = sequential.conditional_power(
        monitored(), *look_and_z(name), effects[name.split("_")[1]]
    )
    assert found == pytest.approx(AT_A_LOOK[name]["value"]["sum"], abs=1e-6)


@pytest.mark.parametrize("name", [name for name in AT_A_LOOK if name.startswith("predPower")])
def test_reference_gsdesign_predictive_power_counts_the_data_twice(name):
    """The calls hand gsPP the posterior where it takes a prior, and it updates that once more.

    Their "flat prior" is thus the information seen, centred on the estimate; a flat one gives
    0.0695 where the first says 0.0359 (see the two tests that follow).
    """
    look, z = look_and_z(name)
    t = look / 3
    prior = NormalPrior(z / np.sqrt(t), t)
    found = sequential.predictive_power(monitored(), look, z, prior)
    assert found == pytest.approx(AT_A_LOOK[name]["value"], abs=1e-6)
    flat = sequential.predictive_power(monitored(), look, z)
    assert abs(flat - AT_A_LOOK[name]["value"]) > 0.01


@pytest.mark.parametrize(("look", "z"), [(1, 0.0), (1, 2.0), (2, 2.0), (2, 0.0)])
def test_analytic_predictive_power_is_conditional_power_averaged(look, z):
    design, t = monitored(), look / 3
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    powers = [sequential.conditional_power(design, look, z, (z + x) / np.sqrt(t)) for x in nodes]
    found = sequential.predictive_power(design, look, z)
    assert found == pytest.approx(weights @ powers / weights.sum(), abs=1e-9)


def test_analytic_one_look_ahead():
    design = sequential_design((0.4, 1), alpha=0.025, sides=1, efficacy=ObrienFleming())
    z, bound, t = 1.3, design.efficacy_z[-1], 0.4
    for drift in (0.0, 2.0, z / np.sqrt(t)):
        exact = norm.sf((bound - z * np.sqrt(t) - drift * (1 - t)) / np.sqrt(1 - t))
        assert sequential.conditional_power(design, 1, z, drift) == pytest.approx(exact, abs=1e-12)
    trend = sequential.conditional_power(design, 1, z, AssumedEffect.TREND)
    assert trend == pytest.approx(exact, abs=1e-12)
    flat = norm.sf((bound * np.sqrt(t) - z) / np.sqrt(1 - t))
    assert sequential.predictive_power(design, 1, z) == pytest.approx(flat, abs=1e-12)


def test_reference_gsdesign_sequential_p_value():
    design = sequential_design(
        equally_spaced(3), alpha=0.025, sides=1, efficacy=LanDeMetsObrienFleming()
    )
    found = sequential.sequential_p_value(design, (1, 1.9, 2.1))
    assert found == pytest.approx(AT_A_LOOK["sequentialPValue"]["value"], abs=1e-6)


@given(EFFICACY, st.lists(st.floats(-2, 5), min_size=1, max_size=3), st.sampled_from([1, 2]))
def test_property_the_sequential_p_value_is_the_alpha_that_just_rejects(efficacy, z, sides):
    assume(not isinstance(efficacy, GivenBounds | UserSpending))
    design = sequential_design((0.3, 0.7, 1), alpha=0.05, sides=sides, efficacy=efficacy)
    p = sequential.sequential_p_value(design, z)
    assume(p < 0.4 * sides)
    just = sequential_design((0.3, 0.7, 1), alpha=p, sides=sides, efficacy=efficacy)
    seen = np.abs(z) if sides == 2 else np.array(z)
    assert (seen - just.efficacy_z[: len(z)]).max() == pytest.approx(0, abs=1e-7)


def test_analytic_sequential_p_value_is_a_half_a_side_at_most():
    one, both = planned(efficacy=Pocock()), planned(efficacy=Pocock(), sides=2)
    assert sequential.sequential_p_value(one, [-1.0, -0.5]) == 0.5
    assert sequential.sequential_p_value(both, [0.0]) == 1.0


@given(st.floats(-3, 5), st.floats(0.2, 0.9))
def test_analytic_stagewise_inference_by_the_bivariate_normal(z, t):
    design = sequential_design((t, 1), alpha=0.05, sides=2, efficacy=LanDeMetsObrienFleming())
    found = sequential.stagewise_inference(design, 2, z)
    root, bound = np.sqrt(t), design.efficacy_z[0]

    def p_at(drift):
        law = multivariate_normal([drift * root, drift], [[1, root], [root, 1]])
        later = law.cdf([bound, 40], lower_limit=[-bound, z])
        return norm.sf(bound - drift * root) + later

    assert found.p_one_sided == pytest.approx(p_at(0.0), abs=1e-7)
    for drift, p in ((found.lower, 0.025), (found.median_unbiased, 0.5), (found.upper, 0.975)):
        assert p_at(drift) == pytest.approx(p, abs=1e-7)
    assert found.confidence == 0.95


def test_analytic_stopping_at_the_first_look_is_a_fixed_trial():
    found = sequential.stagewise_inference(planned(), 1, 3.9, confidence=0.9)
    assert found.p_one_sided == pytest.approx(norm.sf(3.9), rel=1e-9)
    estimate, half = 3.9 / np.sqrt(0.4), norm.isf(0.05) / np.sqrt(0.4)
    interval = (found.lower, found.median_unbiased, found.upper)
    assert interval == pytest.approx((estimate - half, estimate, estimate + half), abs=1e-8)


@pytest.mark.parametrize("binding", [True, False])
@pytest.mark.parametrize("look", [1, 2, 3])
def test_property_at_the_bound_the_stagewise_p_value_is_the_alpha_spent(look, binding):
    design = planned(futility=GivenFutility((0.0, 0.5)), binding=binding)
    found = sequential.stagewise_inference(design, look, design.efficacy_z[look - 1])
    assert found.p_one_sided == pytest.approx(design.alpha_spent[look - 1], abs=1e-10)
    if look == 3:
        assert found.lower == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("sides", [1, 2])
def test_analytic_repeated_interval_just_holds_no_effect_at_the_bound(sides):
    design = planned(sides=sides)
    lower, upper = sequential.repeated_confidence_interval(design, 2, design.efficacy_z[1])
    assert lower == 0
    assert upper == pytest.approx(2 * design.efficacy_z[1] / np.sqrt(0.7))


# Words and mistakes


@pytest.mark.parametrize(
    ("read", "words", "rule"),
    [
        (sequential.bounds_from_words, "obf", ObrienFleming()),
        (sequential.bounds_from_words, "pocock", Pocock()),
        (sequential.bounds_from_words, "wt:0.25", WangTsiatis(0.25)),
        (sequential.spending_from_words, "ldof", LanDeMetsObrienFleming()),
        (sequential.spending_from_words, "ldpocock", LanDeMetsPocock()),
        (sequential.spending_from_words, "hsd:-4", HwangShihDeCani(-4)),
    ],
)
def test_property_words_name_rules(read, words, rule):
    assert read(words) == rule


@pytest.mark.parametrize(
    ("read", "words", "message"),
    [
        (sequential.bounds_from_words, "pocok", "Did you mean 'pocock'?"),
        (sequential.bounds_from_words, "hsd:-4", "Write one of obf, pocock, wt."),
        (sequential.bounds_from_words, "wt", "must end in a number; got wt. Write wt:0.25"),
        (sequential.spending_from_words, "ldoff", "Did you mean 'ldof'?"),
        (sequential.spending_from_words, "hsd:four", "must end in a number; got hsd:four"),
        (sequential.spending_from_words, "ldof:2", "takes no number; got ldof:2. Write ldof."),
    ],
)
def test_regression_unknown_words_are_refused_with_a_remedy(read, words, message):
    with pytest.raises(RequestError) as refused:
        read(words)
    assert message in str(refused.value)


def beta_late(**more):
    return planned(futility=BetaSpending(HwangShihDeCani(-2)), **more)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sequential_design((), alpha=0.025, sides=1, efficacy=Pocock()), "1 to 20 looks"),
        (
            lambda: sequential_design(
                [k / 21 for k in range(1, 22)], alpha=0.025, sides=1, efficacy=Pocock()
            ),
            "must hold 1 to 20 looks; got 21",
        ),
        (
            lambda: sequential_design((0.5, 0.4, 1), alpha=0.025, sides=1, efficacy=Pocock()),
            "must rise by at least 0.001 per look; got 0.5, 0.4, 1",
        ),
        (
            lambda: sequential_design((0.5, np.nan, 1), alpha=0.025, sides=1, efficacy=Pocock()),
            "must rise",
        ),
        (
            lambda: sequential_design((0.5, 0.9), alpha=0.025, sides=1, efficacy=Pocock()),
            "must end at 1; got 0.9",
        ),
        (lambda: planned(alpha=0.5), "must be above 0 and below 0.5 a side; got 0.5"),
        (lambda: planned(sides=3), "must be 1 or 2; got 3"),
        (lambda: planned(power=0.02), "must be above the type I error 0.025 a side"),
        (lambda: planned(power=1.0), "below 1; got 1.0"),
        (lambda: planned().drift_for(0.025), "must be above the type I error"),
        (lambda: planned(efficacy=GivenBounds((INF,) * 3), power=0.9), "must test at a look"),
        (lambda: planned(efficacy=GivenBounds((2.0,))), "must hold 3 bounds; got 1"),
        (lambda: planned(efficacy=GivenBounds((2.0, -2.0, 2.0))), "must be above 0"),
        (lambda: HwangShihDeCani(-400), "must be in [-40, 40]; got -400"),
        (lambda: HwangShihDeCani(np.nan), "must be in [-40, 40]; got nan"),
        (lambda: WangTsiatis(3), "must be in [-1, 1]; got 3"),
        (lambda: UserSpending((0.5, 0.4), (0.01, 0.02)), "must rise"),
        (lambda: UserSpending((0.5, 0.9), (0.01, 0.02)), "must end at 1; got 0.9"),
        (lambda: UserSpending((0.5, 1), (0.02, 0.01)), "must not fall"),
        (lambda: planned(efficacy=UserSpending((1,), (0.05,))), "must end at 0.025; got 0.05"),
        (lambda: planned(futility=GivenFutility((0.0,))), "must hold 2 bounds; got 1"),
        (
            lambda: planned(futility=GivenFutility((0.0, 3.0))),
            "must be below the efficacy bound 2.445 at look 2; got 3",
        ),
        (
            lambda: planned(futility=GivenFutility((3.2, 0.0)), binding=True),
            "must leave alpha to spend",
        ),
        (lambda: planned(futility=GivenFutility((0.0, np.nan))), "must be below infinity"),
        (lambda: planned(futility=GivenFutility((0.0, 0.0)), sides=2), "a one-sided design"),
        (beta_late, "must be given where beta is spent"),
        (
            lambda: beta_late(efficacy=GivenBounds((INF,) * 3), power=0.9),
            "must leave the power within reach",
        ),
        (
            lambda: planned(futility=BetaSpending(UserSpending((1,), (0.05,))), power=0.9),
            "must end at 0.1; got 0.05",
        ),
        (
            lambda: beta_late(efficacy=Pocock(), power=0.9, binding=True),
            "must be a spending function where futility is binding and spends beta",
        ),
        (
            lambda: sequential.recomputed(planned(efficacy=ObrienFleming()), (0.5, 1)),
            "O'Brien-Fleming bounds, made for planned looks. Plan with LanDeMetsObrienFleming",
        ),
        (
            lambda: sequential.recomputed(planned(efficacy=GivenBounds((3.0, 3.0, 2.0))), (0.5, 1)),
            "Given bounds, made for planned looks",
        ),
        (lambda: sequential.recomputed(planned(), (0.5, 1.0, 1.1)), "below 1 before the last"),
        (lambda: sequential.recomputed(planned(), (0.5, 0.5)), "must rise"),
        (
            lambda: sequential.sequential_p_value(
                planned(efficacy=GivenBounds((3.0, 3.0, 2.0))), [1.0]
            ),
            "must make bounds from alpha",
        ),
        (lambda: sequential.type_i_error_of_repeated_looks(0, 0.05), "at least 1; got 0"),
    ],
)
def test_regression_designs_that_cannot_be_met_are_refused(make, message):
    with pytest.raises(DesignError) as refused:
        make()
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: sequential.conditional_power(d, 3, 1.0, 0.0), "a look from 1 to 2; got 3"),
        (lambda d: sequential.predictive_power(d, 0, 1.0), "a look from 1 to 2; got 0"),
        (
            lambda d: sequential.predictive_power(d, 1, 1.0, NormalPrior(0.0, -1.0)),
            "prior must be 0 or more; got -1.0. 0 is flat.",
        ),
        (lambda d: sequential.conditional_power(d, 1, INF, 0.0), "z must be finite"),
        (lambda d: sequential.stagewise_inference(d, 4, 1.0), "a look from 1 to 3; got 4"),
        (lambda d: sequential.stagewise_inference(d, 1, 1.0, 95), "must be in (0, 1); got 95"),
        (lambda d: sequential.sequential_p_value(d, [1.0] * 4), "a look from 1 to 3; got 4"),
        (
            lambda d: sequential.conditional_power(d, 1, 1.0, AssumedEffect.PLANNED),
            "effect must be planned. Make the design with power=0.9",
        ),
    ],
)
def test_regression_questions_without_an_answer_are_refused(ask, message):
    with pytest.raises(RequestError) as refused:
        ask(planned())
    assert message in str(refused.value)


def test_regression_beta_spent_and_binding_has_no_sequential_p_value():
    design = replace(beta_late(power=0.9), binding=True)
    with pytest.raises(DesignError, match="must not bind"):
        sequential.sequential_p_value(design, [1.0])
