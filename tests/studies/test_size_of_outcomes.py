"""``trialsim size`` of means, ordered categories and days alive: R, round trips, simulation."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conftest import CORPUS, ROOT
from trialsim import DesignError, RequestError, load_template
from trialsim.cli.parser import parse
from trialsim.report.screens.size_screen import size_screen
from trialsim.sizing.fixed import OppositeTail
from trialsim.sizing.means import PooledDeviation, means_power
from trialsim.studies.size.planned import plan_size
from trialsim.studies.size.request import size_request

VALID = CORPUS / "valid"
CALLS = json.loads((ROOT / "tests" / "reference" / "size_calls_outcomes.json").read_text())
T_TEST = ("means-primary.yaml", "--set", "protocol.endpoints.score.analysis=t-test")
CHANGE = ("means-primary.yaml", "--set", "protocol.endpoints.score.analysis=change")
NOBODY_LOST = ("--set", "nature.outcomes.score.lost_per_visit=0")
ONE_SIDED = ("--set", "protocol.test.sides=1", "--set", "protocol.test.alpha=0.025")


def planned(name, *words):
    """What a command line plans for a template of the corpus."""
    options = parse(["size", str(VALID / name), *words])
    resolved = load_template(options.template, variant=options.variant, settings=options.settings)
    return plan_size(resolved, size_request(resolved, options)[0])


@pytest.mark.parametrize("design", CALLS["designs"], ids=lambda d: " ".join(d["words"]))
def test_reference_the_r_call_printed_gives_the_size(design):
    plan = planned(*design["words"])
    assert plan.r_call() == design["call"]
    assert plan.total_unrounded == pytest.approx(design["value"], rel=1e-6)


FIGURES = {
    figure["id"]: figure["value"]
    for figure in json.loads((ROOT / "tests/reference/fixed_designs.json").read_text())["results"]
}


def test_reference_rpact_non_inferiority_and_power_t_test_from_the_command_line():
    """A margin of -0.3 standard deviations, 2:1, 90%; 64 per arm for half a deviation."""
    unit = (
        "--set",
        "nature.outcomes.score.sd=1",
        "--set",
        "protocol.endpoints.score.better=higher",
    )
    words = (*unit, *ONE_SIDED, "--scenario", "no-effect", "--margin", "-0.3", "--power", "0.9")
    plan = planned(*T_TEST, *words, "--ratio", "2:1")
    assert plan.total_unrounded == pytest.approx(FIGURES["means_ni"]["nFixed"], rel=1e-7)
    given_size = planned(*T_TEST, *unit, "--effect", "MD 0.5", "--total", "128")
    assert given_size.power_achieved == pytest.approx(FIGURES["power.t.test"], rel=1e-11)


@settings(max_examples=25)
@given(
    name=st.sampled_from(["means-primary.yaml", "log-means-primary.yaml", "ordinal-primary.yaml"]),
    effect=st.floats(0.4, 0.8),
    power=st.floats(0.6, 0.95),
    looks=st.sampled_from([(), (), ("--looks", "0.5,1", "--spending", "ldof")]),
    allocation=st.sampled_from(["1:1", "2:1", "1:3"]),
)
def test_property_power_at_the_size_reaches_the_target_and_one_unit_less_does_not(
    name, effect, power, looks, allocation
):
    measure = {"m": "MD", "l": "GMR", "o": "OR"}[name[0]]
    value = 8 * log(effect) if measure == "MD" else effect
    words = ("--effect", f"{measure} {value:.4f}", "--power", f"{power:.4f}", "--ratio", allocation)
    plan = planned(name, *words, *looks)
    target = float(f"{power:.4f}")
    assert plan.power_achieved >= target - 1e-9
    assert plan.test.power(plan.total - plan.allocation.unit) < target
    assert plan.total_with_loss >= plan.total / (1 - plan.loss)


@pytest.mark.parametrize(
    "words",
    [
        (*T_TEST, *NOBODY_LOST, "--effect", "MD -2"),
        (*T_TEST, *NOBODY_LOST, "--effect", "MD -4", "--ratio", "2:1", "--power", "0.9"),
        (*CHANGE, *NOBODY_LOST, "--effect", "MD 3"),
        (*T_TEST, *ONE_SIDED, "--dropout", "0.1", "--scenario", "no-effect", "--margin", "2"),
        (*T_TEST, *NOBODY_LOST, "--effect", "MD -2", "--total", "20"),
    ],
)
def test_analytic_student_simulated_has_the_power_of_its_formula_exactly(words):
    plan = planned(*words)
    found = plan.simulate(replicates=20_000, seed=3)
    assert plan.kind.tolerance(plan.total) < 0.01  # the test in the wrong direction, nothing else
    beyond = 4 * found.mcse + plan.kind.tolerance(plan.total)
    assert abs(found.value - plan.power_achieved) < beyond
    assert not [w for w in plan.result(replicates=1000).warnings if w.code == "formula"]


@pytest.mark.parametrize(
    "words",
    [
        ("means-primary.yaml",),
        ("means-primary.yaml", "--effect", "MD -3", "--ratio", "1:2"),
        (*T_TEST, "--power", "0.9"),
        ("log-means-primary.yaml",),
        ("log-means-primary.yaml", "--effect", "GMR 0.5", "--ratio", "3:1"),
        ("log-means-primary.yaml", "--set", "protocol.test={sides: 1, alpha: 0.025}",
         "--scenario", "no-effect", "--margin", "0.8"),
        ("ordinal-primary.yaml",),
        ("ordinal-primary.yaml", "--effect", "OR 0.5", "--ratio", "2:1", "--power", "0.9"),
        ("days-alive-primary.yaml",),
    ],
)  # fmt: skip
def test_analytic_the_design_simulated_has_the_power_of_its_formula(words):
    plan = planned(*words)
    found = plan.simulate(replicates=8_000, seed=3)
    assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02


@pytest.mark.parametrize("number", range(12))
def test_property_random_designs_simulated_have_the_power_of_their_formula(number):
    """Student's t to 4 MCSE and the wrong direction; ANCOVA and categories to 0.02 beside."""
    draw = Random(20 + number)
    power, ratio = f"{draw.uniform(0.5, 0.95):.3f}", draw.choice(["1:1", "2:1", "1:3"])
    words = ["--power", power, "--ratio", ratio]
    sign = draw.choice([-1, 1])
    match number % 4:
        case 0:
            effect = f"MD {sign * draw.uniform(1, 5):.3f}"
            plan = planned(*T_TEST, *NOBODY_LOST, "--effect", effect, *words)
        case 1:
            sd, correlation = draw.uniform(2, 9), draw.uniform(-0.3, 0.8)
            plan = planned(
                "means-primary.yaml", "--set", f"nature.outcomes.score.sd={sd:.3f}",
                "--set", f"nature.outcomes.score.baseline.correlation={correlation:.3f}",
                "--effect", f"MD {sign * 0.4 * sd:.3f}", *words,
            )  # fmt: skip
        case 2:
            effect = f"GMR {exp(sign * draw.uniform(0.2, 0.9)):.3f}"
            plan = planned("log-means-primary.yaml", "--effect", effect, *words)
        case _:
            effect = f"OR {exp(sign * draw.uniform(0.3, 0.9)):.3f}"
            plan = planned("ordinal-primary.yaml", "--effect", effect, *words)
    found = plan.simulate(replicates=4096, seed=number)
    beyond = 4 * found.mcse + plan.kind.tolerance(plan.total)
    assert abs(found.value - plan.power_achieved) < beyond
    assert plan.test.power(plan.total - plan.allocation.unit) < float(power)


def test_analytic_what_the_template_says_is_what_is_planned():
    """Deviation 5 and 4 before, correlation 0.5, 5% lost before each of two visits."""
    plan = planned("means-primary.yaml")
    assert plan.loss == pytest.approx(1 - 0.95**2)
    assert plan.total_with_loss == -(-plan.total / 0.95**2 // 2) * 2
    assert plan.simulated_protocol.n_total == plan.total_with_loss
    n = plan.total / 2
    shift = 1.5 / (5 * (1 - 0.5**2) ** 0.5 * (2 / n) ** 0.5)
    df = plan.total - 3
    assert plan.power_achieved == pytest.approx(stats.nct.sf(stats.t.ppf(0.975, df), df, shift))
    change = planned(*CHANGE)
    spread = PooledDeviation((5**2 + 4**2 - 2 * 0.5 * 5 * 4) ** 0.5)
    assert change.kind._spread() == spread
    typed = planned("means-primary.yaml", "--dropout", "0")
    assert typed.loss == 0
    assert typed.simulated_protocol.n_total == typed.total


def test_property_the_table_over_the_deviation_falls_and_holds_the_design():
    for name in ("means-primary.yaml", "log-means-primary.yaml"):
        plan = planned(name)
        powers = [row.power for row in plan.table.rows]
        assert powers == sorted(powers, reverse=True)
        assert powers[2] == pytest.approx(plan.power_achieved)
    larger = replace(plan.truth.outcome("level"), sds=(1.25 * log(2.1),))
    truth = replace(plan.truth, outcomes=(("level", larger),))
    assert replace(plan, truth=truth).test.power(plan.total) == pytest.approx(powers[-1])
    ordinal = planned("ordinal-primary.yaml")
    powers = [row.power for row in ordinal.table.rows]
    assert powers == sorted(powers)
    assert powers[2] == pytest.approx(ordinal.power_achieved)


@pytest.mark.parametrize(
    ("words", "effects"),
    [
        (("means-primary.yaml",), (-2.5, -1.5, -0.1, 0.0, 0.1, 1.5)),
        (("log-means-primary.yaml",), (1.8, 1.5, 1.1, 1.0, 0.9, 0.7)),
        (("ordinal-primary.yaml",), (2.5, 1.8, 1.1, 1.0, 0.9, 0.5)),
        ((*T_TEST, *ONE_SIDED, "--scenario", "no-effect", "--margin", "1.5"), (-1, 0, 1, 1.5, 2)),
    ],
)
def test_property_power_falls_to_one_side_of_alpha_and_below_as_the_effect_turns(words, effects):
    plan = planned(*words)
    powers = [plan.power_at(effect) for effect in effects]
    assert powers == sorted(powers, reverse=True)
    assert powers[1] == pytest.approx(plan.power_achieved)
    assert powers[3] == pytest.approx(0.025)
    assert powers[-1] < 0.01
    sizes, by_size, around, by_effect = plan.curves()
    assert by_size == sorted(by_size)
    assert len(sizes) == len(by_size)
    assert len(around) == len(by_effect)


def test_property_power_in_both_directions_differs_by_the_wrong_one():
    plan = planned(*T_TEST, *NOBODY_LOST, "--effect", "MD -1", "--total", "20")
    design = plan.kind._design(-1.0)
    both = replace(plan.level, opposite_tail=OppositeTail.COUNTED)
    assert plan.kind.tolerance(20) == pytest.approx(
        means_power(design, 10, 10, both) - plan.power_achieved
    )


def test_property_effects_of_a_bound_are_those_with_that_drift():
    looks = ("--looks", "0.5,1", "--spending", "ldof")
    means, logs, categories = (
        planned(name, *looks)
        for name in ("means-primary.yaml", "log-means-primary.yaml", "ordinal-primary.yaml")
    )
    drift = means.test.drift(means.total)
    assert means.effect_of_drift(drift) == pytest.approx(-1.5, rel=0.01)  # t, not normal
    assert means.effect_of_drift(0) == 0
    assert logs.effect_of_drift(logs.test.drift(logs.total)) == pytest.approx(1.5, rel=0.01)
    found = categories.effect_of_drift(categories.test.drift(categories.total))
    assert found == pytest.approx(1.8, rel=0.01)
    for plan in (means, categories):
        simulated = plan.simulate(replicates=4_000)
        assert abs(simulated.value - plan.power_achieved) <= 4 * simulated.mcse + 0.02
    assert means.look_rows[-1].power == pytest.approx(means.power_achieved, abs=1e-3)


def test_property_harm_has_no_size_where_one_side_is_tested():
    plan = planned("means-primary.yaml", *ONE_SIDED)
    beliefs = {b.truth.scenario: b for b in plan.belief_matrix}
    assert beliefs["harm"].total is None
    assert beliefs["effect"].powers[3] is None
    two_sided = {b.truth.scenario: b for b in planned("means-primary.yaml").belief_matrix}
    assert two_sided["harm"].total == two_sided["small"].total


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("means-primary.yaml --effect OR=0.7", "must be a measure of an endpoint of kind contin"),
        ("means-primary.yaml --effect GMR=1.4", 'Write "MD -1.5".'),
        ("log-means-primary.yaml --effect MD=1", 'Write "GMR 1.4".'),
        ("log-means-primary.yaml --effect GMR=-1", "is impossible"),
        ("ordinal-primary.yaml --effect MD=1", 'Write "OR 1.8".'),
        ("means-primary.yaml --effect MD=0", "must differ between the arms"),
        ("means-primary.yaml --effect MD=0.0001", "must not exceed 10,000,000"),
        ("ordinal-primary.yaml --effect OR=1", "must differ between the arms"),
        ("ordinal-primary.yaml --effect OR=1.0001", "must not exceed 10,000,000"),
        ("means-primary.yaml --power 0.05", "must be above alpha"),
        ("ordinal-primary.yaml --power 0.03", "must be above alpha"),
        ("means-primary.yaml --exact fisher", "--exact must belong to a binary endpoint"),
        ("means-primary.yaml --prior tests-2025", "--prior must belong to"),
        ("means-primary.yaml --grid --looks 0.5,1 --bounds obf", "--grid must belong to"),
        ("means-primary.yaml --reestimate restricted", "--reestimate must belong to"),
        ("means-primary.yaml --control-risk 0.3 --effect MD=1", "--control-risk must belong to"),
        ("ordinal-primary.yaml --margin 1.2", "--margin must belong to risks, means"),
        ("means-primary.yaml --margin 2", 'Add --set "protocol.test={sides: 1, alpha: 0.025}".'),
        ("log-means-primary.yaml --margin -1 --set protocol.test.sides=1", "has no 'test'"),
        ("means-primary.yaml --set protocol.test.sides=1 --margin -2", "must lie above 0"),
        ("means-primary.yaml --set protocol.test.sides=1 --scenario harm --margin 0.5",
         "must be better than the margin"),
        ("means-primary.yaml --set protocol.test.sides=1 --scenario harm", "is harm where lower"),
        ("ordinal-primary.yaml --set protocol.test.sides=1 --scenario harm", "is harm where high"),
        ("means-primary.yaml --looks 0.5,1", "must say how looks are judged"),
        ("means-primary.yaml --by simulation --looks 0.5,1 --bounds obf", "--looks cannot stand"),
        ("counts-primary.yaml", "of an endpoint of kind count; got negative-binomial. Add --by"),
        ("competing-primary.yaml", "of kind competing-risks; got cause-specific. Add --by simul"),
        ("means-primary.yaml --set protocol.endpoints.score.analysis=mmrm",
         "--set protocol.endpoints.score.analysis=t-test"),
        ("counts-primary.yaml --by simulation --looks 0.5,1 --bounds obf", "Leave out --looks"),
        ("counts-primary.yaml --exact fisher", "--exact must belong to a binary endpoint"),
    ],
)  # fmt: skip
def test_regression_what_cannot_be_sized_is_refused_with_a_remedy(words, message):
    split = [word.replace("=", " ") if word[:2] in ("OR", "GM", "MD") else word
             for word in words.split()]  # fmt: skip
    with pytest.raises((RequestError, DesignError)) as caught:
        planned(*split).total  # noqa: B018
    assert message in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("means-primary.yaml", ("MD -1.5", "randomised, 9.75% without outcome", "SD", "uniroot")),
        ("log-means-primary.yaml", ("GMR 1.50", "geometric SD", "35 v 52.5 mg/L")),
        ("ordinal-primary.yaml", ("OR 1.80", "posamsize", "Whitehead", "odds ratio")),
        ("days-alive-primary.yaml", ("OR 1.60", "days, death as 0", "odds ratio")),
    ],
)
def test_regression_the_screen_says_it_in_80_columns(name, said):
    plan = planned(name)
    shown = size_screen(plan, plan.result(replicates=500), 1, "trialsim")
    text = " ".join(shown.split())
    for words in (*said, "the same design simulated", "For the protocol:", "check it elsewhere"):
        assert words in text
    lines = [x for x in shown.splitlines() if "uniroot" not in x and "posamsize" not in x]
    assert max(map(len, lines)) <= 80


def test_regression_a_table_of_looks_keeps_its_last_column():
    plan = planned("ordinal-primary.yaml", "--looks", "0.5,1", "--spending", "ldof")
    shown = size_screen(plan, plan.result(replicates=500), 1, "trialsim")
    (header,) = (line for line in shown.splitlines() if line.startswith("look "))
    assert header.split()[-4:] == ["stop", "H0", "stop", "H1"]
    assert "n: patients read out." in shown


def test_regression_command_document_and_report(trialsim, tmp_path):
    words = ("size", str(VALID / "means-primary.yaml"), "--effect", "-1.5", "--replicates", "500")
    done = trialsim(*words, "--json", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "read as mean difference -1.5" in done.stderr
    document = json.loads(done.stdout)
    (row,) = (row for row in document["rows"] if row["measure"] == "power_simulated")
    assert row["mcse"] > 0
    assert row["n_replicates"] == 500
    made = trialsim("report", "run", "--out", "r.html", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    html = (tmp_path / "r.html").read_text()
    assert "SD 6.25, effect kept" in html
    assert "uniroot" in html


def test_regression_a_size_beyond_what_is_simulated_is_told():
    plan = planned("means-primary.yaml", "--effect", "MD -0.05")
    assert plan.total > 100_000
    assert plan.simulate().why == "more than 100,000 patients are not simulated"
