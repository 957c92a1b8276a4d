"""``trialsim size``: against R, by round trip, by simulation, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from trialsim import DesignError, RequestError, load_template
from trialsim.cli.parser import parse
from trialsim.kernels.exact import ExactTest
from trialsim.protocol.truths.resolved import event_course
from trialsim.sizing.expected_events import expected_events
from trialsim.sizing.fixed import OppositeTail
from trialsim.sizing.proportions import exact_proportions_power
from trialsim.sizing.sequential import recomputed, stagewise_inference
from trialsim.studies.size.monitoring import Verdict, seen_so_far
from trialsim.studies.size.planned import plan_size
from trialsim.studies.size.request import size_request

CALLS = json.loads((ROOT / "tests" / "reference" / "size_calls.json").read_text())["designs"]


def planned(*words):
    """What a command line plans."""
    options = parse(["size", *words])
    resolved = load_template(options.template, variant=options.variant, settings=options.settings)
    return plan_size(resolved, size_request(resolved, options)[0])


@pytest.mark.parametrize("design", CALLS, ids=[" ".join(d["words"]) for d in CALLS])
def test_reference_the_r_call_printed_gives_the_size(design):
    plan = planned(*design["words"])
    assert plan.r_call() == design["call"]
    size = plan.total_unrounded
    if plan.is_survival:
        course, share = (
            event_course(plan.scenario, plan.resolved.template, plan.resolved.evidence),
            plan.allocation,
        )
        n1, n0 = size * share.treated_share, size * (1 - share.treated_share)
        size = expected_events(replace(course, n_treated=n1, n_control=n0), plan.cut_day).total
    assert size == pytest.approx(design["value"], rel=1e-6)


def test_reference_the_belief_matrix_of_sepsis():
    """The formula by hand; 58,086 for TESTS as observed; no effect is infeasible."""
    beliefs = {b.truth.scenario: b for b in planned("sepsis").belief_matrix}
    sizes = {name: b.total and b.total // 2 for name, b in beliefs.items()}
    assert sizes == {
        "no-effect": None,
        "or-082": 2301,
        "or-073": 947,
        "or-041": 144,
        "tests-as-observed": 58086,
        "etass-planning": 170,  # pooled variance; ETASS' own 167 is unpooled
    }
    assert beliefs["or-041"].powers[1] == pytest.approx(0.104, abs=5e-4)
    found = exact_proportions_power(
        ExactTest.CHI_SQUARE,
        *planned("sepsis", "--scenario", "or-041", "--accept-claim").risks[::-1],
        144,
        144,
    )
    assert found == pytest.approx(0.809, abs=1e-3)  # exact power at 144 per arm, OR 0.41


@given(
    control=st.floats(0.1, 0.6),
    ratio=st.floats(0.4, 0.8),
    power=st.floats(0.6, 0.95),
    looks=st.sampled_from([(), ("--looks", "0.4,0.7,1", "--spending", "ldof")]),
    allocation=st.sampled_from(["1:1", "2:1", "1:3"]),
)
def test_property_power_at_the_size_reaches_the_target_and_one_unit_less_does_not(
    control, ratio, power, looks, allocation
):
    words = ["--effect", f"OR {ratio:.4f}", "--control-risk", f"{control:.4f}"]
    words += ["--power", f"{power:.4f}", "--ratio", allocation]
    plan = planned("sepsis", *words, *looks)
    target = float(f"{power:.4f}")
    assert plan.power_achieved >= target - 1e-9
    assert plan.test.power(plan.total - plan.allocation.unit) < target
    assert plan.test.total(plan.power_achieved) == pytest.approx(plan.total, rel=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        ("--effect", "OR 0.70"),
        ("--effect", "OR 0.60", "--ratio", "2:1", "--power", "0.9"),
        ("--effect", "OR 0.70", "--looks", "0.5,0.75,1", "--bounds", "obf"),
        ("--effect", "OR 0.65", "--looks", "0.5,1", "--spending", "hsd:-4", "--ratio", "2:1"),
    ],
)
def test_analytic_the_design_simulated_has_the_power_of_its_formula(words):
    plan = planned("sepsis", *words)
    found = plan.simulate(replicates=20_000, seed=3)
    assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02  # asymptotic formula
    assert not [w for w in plan.result(replicates=2000).warnings if w.code == "formula"]


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (ExactTest.CHI_SQUARE, ("--set", "protocol.endpoints.mortality-28d.analysis=fisher")),
        (ExactTest.FISHER, ()),
        (ExactTest.FISHER, ("--ratio", "2:1")),
        (ExactTest.FISHER, ("--set", "protocol.test={sides: 1, alpha: 0.025}")),
        (ExactTest.BOSCHLOO, ()),
        (ExactTest.BARNARD, ("--ratio", "1:2")),
    ],
)
def test_analytic_an_exact_size_is_simulated_by_its_own_test(test, words):
    plan = planned("sepsis", "--effect", "OR 0.45", "--exact", test.lower(), *words)
    found = plan.simulate(replicates=40_000, seed=2)
    level = replace(plan.level, opposite_tail=OppositeTail.COUNTED)
    both_tails = exact_proportions_power(test, *plan.risks[::-1], *plan.arms, level)
    assert abs(found.value - both_tails) < 4 * found.mcse
    assert plan.power_achieved >= 0.8
    assert f"with a {test}, " in plan.paragraph(found)


def test_property_the_table_of_an_exact_size_is_enumerated_too():
    plan = planned("sepsis", "--effect", "OR 0.5", "--exact", "fisher")
    here = [row.power for row in plan.table.rows if row.cells[0] == "24.1%"]
    assert here == [pytest.approx(plan.power_achieved, abs=1e-3)]  # the risk there is rounded


def test_regression_looks_beside_a_two_sided_fisher_test_are_refused():
    analysis = "protocol.endpoints.mortality-28d.analysis=fisher"
    words = ("sepsis", "--set", analysis, "--looks", "0.5,1", "--bounds", "obf")
    with pytest.raises(RequestError, match="which a two-sided Fisher test does not give"):
        planned(*words)
    one_sided = ("--set", "protocol.test={sides: 1, alpha: 0.025}")
    assert planned(*words, *one_sided).simulate(replicates=200).value > 0.5


def test_analytic_a_survival_design_simulated_has_the_power_of_its_formula():
    plan = planned("delayed-effect", "--effect", "HR 0.7")
    found = plan.simulate(replicates=4000, seed=1)
    assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02
    assert plan.events == pytest.approx(277.6, abs=2.0)  # Schoenfeld


def test_property_prognosis_and_strata_are_simulated_as_they_are():
    plan = planned("sepsis", "--effect", "OR 0.6", "--set", "nature.severity_slope=1.5")
    assert plan.simulated_protocol.allocation.stratify_by == ("age-group", "site")
    plain = planned("sepsis", "--effect", "OR 0.6")
    assert plain.simulated_protocol.allocation.stratify_by == ()  # plays no part, and is slower


ONE_SIDED = ("--set", "protocol.test.alpha=0.025", "--set", "protocol.test.sides=1")


@pytest.mark.parametrize("test", ["farrington-manning", "miettinen-nurminen", "wald"])
@pytest.mark.parametrize(
    "words",
    [
        ("--scenario", "no-effect", "--margin", "1.3"),
        ("--scenario", "or-082", "--margin", "1.1", "--looks", "0.5,1", "--spending", "ldof"),
        ("--scenario", "or-073", "--superiority-margin", "0.9", "--ratio", "2:1"),
    ],
)
def test_analytic_a_margin_simulated_is_the_margin_that_was_planned(words, test):
    """Before, the superiority test was simulated beside the size of the non-inferiority test."""
    plan = planned("sepsis", *ONE_SIDED, *words, "--margin-test", test)
    found = plan.simulate(replicates=20_000, seed=3)
    assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02
    assert any(test.split("-")[0] in said.lower() for said in plan.conventions)
    assert plan.r_call() == ""


@pytest.mark.parametrize(("test", "per_arm"), [("wald", 4218), ("farrington-manning", 4212)])
def test_reference_chow_shao_wang_from_the_command_line(test, per_arm):
    """samplics-org/svy PR 84, survival of 58% v 60% and 5 points, said as deaths."""
    words = ("--set", "protocol.endpoints.mortality-28d.estimand.summary=risk difference")
    words += ("--set", "observed=[]", *ONE_SIDED)
    words += ("--effect", "RD 0.02", "--control-risk", "0.40", "--margin", "0.05")
    plan = planned("sepsis", *words, "--margin-test", test)
    assert plan.arms == (per_arm, per_arm)
    if test == "wald":
        assert plan.total_unrounded / 2 == pytest.approx(4217.46, abs=6e-3)
    else:
        corrected = planned("sepsis", *words, "--margin-test", "miettinen-nurminen")
        assert 0.5 < corrected.total_unrounded - plan.total_unrounded < 1


def test_property_power_against_a_margin_falls_to_alpha_at_the_margin_and_below_beyond():
    plan = planned("sepsis", *ONE_SIDED, "--scenario", "or-082", "--margin", "1.1")
    powers = [plan.power_at_ratio(ratio) for ratio in (0.7, 0.82, 1.0, 1.1, 1.2, 1.5)]
    assert powers == sorted(powers, reverse=True)
    assert powers[1] == pytest.approx(plan.power_achieved)
    assert powers[3] == pytest.approx(0.025)
    assert powers[4] < 0.005
    beliefs = {b.truth.scenario: b for b in plan.belief_matrix}
    assert beliefs["no-effect"].total > beliefs["or-082"].total


def test_regression_loss_and_totals_are_whole_allocation_units():
    plan = planned("sepsis", "--effect", "OR 0.70", "--dropout", "0.1", "--ratio", "2:1")
    assert plan.total % 3 == plan.total_with_loss % 3 == 0
    assert plan.total_with_loss >= plan.total / 0.9
    given = planned("sepsis", "--effect", "OR 0.70", "--total", "400")
    assert given.total == 400
    assert given.power_achieved == pytest.approx(0.3, abs=0.02)


def test_property_the_looks_of_a_template_are_its_own_unless_others_are_given():
    plan = planned("sepsis", "--variant", "three-looks")
    assert [round(row.z, 4) for row in plan.look_rows] == [3.4711, 2.4544, 2.0040]
    assert plan.look_rows[-1].alpha_spent == pytest.approx(0.05, abs=1e-5)
    assert plan.look_rows[-1].power == pytest.approx(0.8, abs=1e-3)
    first = plan.look_rows[0]
    assert first.stops_null == pytest.approx(0.00052, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenario", "or-041"], "only a document states"),
        (["--effect", "OR 0.41"], "only a document states"),
        (["--effect", "OR 1"], "must differ between the arms"),
        (["--scenario", "no-effect"], "must differ between the arms"),
        (["--power", "0.04"], "must be above alpha"),
        (["--effect", "HR 0.7"], "must be a measure of a binary endpoint"),
        (["--effect", "much"], "must be a measure and a number"),
        (["--effect", "RR 9"], "is impossible"),
        (["--looks", "0.5,0.4,1", "--bounds", "obf"], "must rise"),
        (["--looks", "0.5,0.9", "--bounds", "obf"], "must end at 1"),
        (["--looks", "0.5,1"], "must say how looks are judged"),
        (["--looks", "0.5,1", "--bounds", "obrien"], "must be a known rule"),
        (["--bounds", "obf"], "--bounds needs --looks"),
        (["--control-risk", "0.3"], "needs --effect"),
        (["--ratio", "2to1"], "must be two whole numbers"),
        (["--effect", "OR 0.9999"], "must not exceed 10,000,000"),
        (["--effect", "OR 0.7", "--margin", "0.05"], "must be 1 for non-inferiority"),
        (["--dropout", "1"], "must be from 0 to below 1"),
        (["--margin-test", "wald"], "needs a margin"),
        (["--margin", "1.1", "--grid", "--looks", "0.5,1", "--bounds", "obf"], "cannot stand"),
        (["--margin", "1.1", "--superiority-margin", "0.9"], "not allowed with"),
    ],
)
def test_regression_what_cannot_be_sized_is_refused_and_never_a_number(
    words, message, trialsim, tmp_path
):
    done = trialsim("size", "sepsis", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_regression_a_weak_claim_is_planned_for_only_when_accepted(trialsim, tmp_path):
    done = trialsim("size", "sepsis", "--scenario", "or-041", "--accept-claim", cwd=tmp_path)
    assert done.returncode == 0
    assert "OR 0.41 (DOCUMENT" in done.stdout
    assert "144 + 144" in done.stdout


def test_regression_a_bare_number_is_read_aloud_and_outside_intervals_are_told(trialsim, tmp_path):
    done = trialsim("size", "sepsis", "--effect", "0.70", cwd=tmp_path)
    assert "read as odds ratio 0.7 = 24.1% -> 18.2%" in done.stderr
    text = " ".join(done.stdout.split())
    assert "OR 0.70 lies outside published intervals" in text
    lines = [x for x in done.stdout.splitlines() if "rpact" not in x and "more:" not in x]
    assert max(map(len, lines)) <= 80
    document = json.loads(
        trialsim("size", "sepsis", "--effect", "0.70", "--json", cwd=tmp_path).stdout
    )
    assert document["command"] == "size"
    total = next(r for r in document["rows"] if r["measure"] == "n_total" and r.get("headline"))
    assert total["value"] == 1494
    simulated = next(r for r in document["rows"] if r["measure"] == "power_simulated")
    assert simulated["mcse"] > 0


def test_regression_a_test_without_formula_is_refused_by_name():
    with pytest.raises(RequestError, match="has no formula for this analysis"):
        planned("delayed-effect", "--variant", "maxcombo")


@given(
    control=st.floats(0.15, 0.6),
    ratio=st.floats(0.4, 0.75),
    power=st.floats(0.6, 0.95),
    words=st.sampled_from(
        [(), ("--ratio", "2:1"), ("--looks", "0.5,0.75,1", "--spending", "ldof")]
    ),
    seed=st.integers(0, 1000),
)
def test_property_random_designs_simulated_have_the_power_of_their_formula(
    control, ratio, power, words, seed
):
    effect = ("--effect", f"OR {ratio:.4f}", "--control-risk", f"{control:.4f}")
    plan = planned("sepsis", *effect, "--power", f"{power:.4f}", *words)
    events = min(plan.arms[0] * plan.risks[1], plan.arms[1] * plan.risks[0])
    found = plan.simulate(replicates=4096, seed=seed)
    if events >= 20:
        assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02


def test_analytic_assurance_is_the_power_averaged_over_the_prior():
    """With a prior much narrower than the effect, it is the power; with TESTS' own, far less."""
    plan = planned("sepsis", "--effect", "OR 0.82", "--prior", "tests-2025")
    log_ratio = plan.prior
    assert math.exp(log_ratio.mean) == pytest.approx(0.962, abs=0.005)  # 127/542 v 132/547
    draws = log_ratio.samples(4000, seed=1)
    slow = [plan.power_at_ratio(math.exp(draw)) for draw in draws]
    mean = sum(slow) / len(slow)
    mcse = (sum((p - mean) ** 2 for p in slow) / len(slow) ** 2) ** 0.5
    assert abs(plan.assurance - mean) < 4 * mcse
    assert 0.2 < plan.assurance < 0.35


@pytest.mark.parametrize("looks", [(), ("--looks", "0.5,1", "--spending", "ldof")])
def test_property_power_falls_to_one_side_of_alpha_and_below_as_the_effect_turns(looks):
    plan = planned("sepsis", "--effect", "OR 0.7", *looks)
    powers = [plan.power_at_ratio(ratio) for ratio in (0.5, 0.7, 0.9, 0.99, 1.0, 1.1, 1.5)]
    assert powers == sorted(powers, reverse=True)
    assert powers[1] == pytest.approx(plan.power_achieved)
    assert powers[4] == pytest.approx(0.025, abs=1e-3)
    assert powers[-1] < 1e-4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prior", "tests-2025", "--prior", "gu-2025"], "shares patients with gu-2025"),
        (["--prior", "gu-2025-lower-quality"], "is document only"),
        (["--prior", "nowhere"], "is not a known evidence id"),
        (["--grid"], "needs a design with looks"),
        (["--reestimate", "restricted", "--maximum", "10"], "must be"),
        (["--reestimate", "restricted", "--exact", "fisher"], "no enumeration"),
    ],
)
def test_regression_priors_grids_and_new_sizes_that_cannot_be_are_refused(
    words, message, trialsim, tmp_path
):
    done = trialsim("size", "sepsis", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr


def test_regression_grid_examples_and_new_sizes_reach_screen_document_and_report(
    trialsim, tmp_path
):
    looks = ("--effect", "OR 0.6", "--looks", "0.5,0.75,1", "--bounds", "obf", "--grid")
    quick = ("--replicates", "1000")
    done = trialsim("size", "sepsis", *looks, *quick, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Largest type I error" in done.stdout
    assert "ended early, for efficacy" in " ".join(done.stdout.split())
    again = trialsim(
        "size", "sepsis", "--effect", "OR 0.6", "--reestimate", "unrestricted", *quick, cwd=tmp_path
    )
    assert "Size computed again from the blinded event rate" in again.stdout
    made = trialsim("report", "last", "--out", "r.html", "--docx", "r.docx", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    html = (tmp_path / "r.html").read_text()
    for words in ("Sample size", "Over a grid of nuisance values", "getSampleSizeRates"):
        assert words in html
    assert "important difference" in html.lower()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--scenario", "or-082"),
            "Important difference: not given. Realistic difference: OR 0.82 "
            "(gu-2025-higher-quality; published). ",
        ),
        (("--effect", "OR 0.70"), "Realistic difference: not given; OR 0.70 is assumed. "),
        (
            ("--scenario", "or-041", "--accept-claim"),
            "Realistic difference: not given; OR 0.41 (gu-2025-lower-quality; document) is planned",
        ),
        (
            (
                "--effect",
                "OR 0.70",
                "--realistic",
                "OR 0.8, two trials.",
                "--important",
                "5 points",
            ),
            "Important difference: 5 points. Realistic difference: OR 0.8, two trials. ",
        ),
        (("--effect", "OR 0.7", "--dropout", "0.1"), "10% without outcome, assumed. Written"),
    ],
)
def test_regression_the_paragraph_says_which_difference_is_realistic_and_cites(words, said):
    plan = planned("sepsis", *words)
    text = plan.paragraph(plan.simulate(replicates=1000))
    assert said in text
    assert "effect, assumed" in text or f"effect, {plan.truth.source} (" in text
    citation = plan.resolved.evidence.records["tests-2025"].citation
    assert f"control risk, tests-2025 ({citation.rstrip('.')})" in text
    assert "SPIRIT 2025, item 19" in text
    assert "BMJ 363:k3750" in text


@pytest.mark.parametrize("template", ["chronic-hepatitis-b", "delayed-effect"])
def test_regression_every_template_says_where_its_assumptions_come_from(template):
    plan = planned(template)
    text = plan.paragraph(plan.simulate(replicates=1000))
    assert "References: effect, " in text
    assert "Realistic difference: " in text


@pytest.mark.parametrize("futility", ["hsd:-2", "ldpocock", "0,0.5", "0.5,1.2"])
@pytest.mark.parametrize("binding", [(), ("--binding",)])
def test_regression_power_with_futility_bounds_is_that_of_the_size(futility, binding):
    """It was found near alpha, where the inflation factor has a pole: 2.9% in place of 90%."""
    looks = ("--looks", "0.4,0.7,1", "--spending", "ldof", "--futility", futility, *binding)
    plan = planned("sepsis", *ONE_SIDED, "--effect", "OR 0.7", "--power", "0.9", *looks)
    assert plan.power_achieved == pytest.approx(0.9, abs=2e-3)
    assert plan.test.power(plan.test.total(0.6)) == pytest.approx(0.6, abs=1e-9)
    found = plan.simulate(replicates=10_000, seed=3)
    assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02
    powers = [plan.power_at_ratio(ratio) for ratio in (0.5, 0.7, 0.9, 0.97, 0.99, 1.1)]
    assert powers == sorted(powers, reverse=True)


AT_A_LOOK = {
    entry["id"]: entry["value"]
    for entry in json.loads((ROOT / "tests" / "reference" / "conditional_power.json").read_text())[
        "results"
    ]
}
GSDESIGN = ("--power", "0.9", "--looks", f"{1 / 3},{2 / 3},1", "--spending", "ldof")
GSDESIGN = (*ONE_SIDED, "--scenario", "or-082", *GSDESIGN, "--futility", "hsd:-2")


@pytest.mark.parametrize(
    ("name", "z"),
    [
        (f"condPower_{effect}_i{len(z.split(','))}_z{float(z.split(',')[-1]):g}", z)
        for effect, z in [
            ("trend", "0"), ("trend", "1"), ("trend", "2"), ("trend", "1,2"),
            ("H1", "0"), ("H1", "0.5"), ("H1", "1.5"), ("H1", "1,1"), ("H1", "1,1.5"),
        ]
    ],
)  # fmt: skip
def test_reference_gsdesign_conditional_power_from_the_command_line(name, z):
    plan = planned("sepsis", *GSDESIGN, "--observed", z)
    assert plan.looks.efficacy_z == pytest.approx(AT_A_LOOK["cp_design"]["upper"], abs=1e-6)
    expected = AT_A_LOOK[name]["sum"]
    if "trend" in name:
        assert plan.seen.power_trend == pytest.approx(expected, abs=1e-6)
        return
    # patients are whole: the planned effect is worth this much more z than in gsDesign
    more = (plan.total / plan.total_unrounded) ** 0.5
    assert plan.test.drift(plan.total) == pytest.approx(more * plan.looks.planned_drift, rel=1e-6)
    assert plan.seen.power_planned == pytest.approx(expected, abs=2e-4)
    exact = seen_so_far(plan.looks, plan.request.observed, plan.looks.planned_drift)
    assert exact.power_planned == pytest.approx(expected, abs=1e-6)


def test_analytic_what_is_seen_is_what_the_functions_of_python_say():
    words = ("--looks", "0.5,0.75,1", "--spending", "ldof", "--observed", "1.2,2.6")
    plan = planned("sepsis", *words, "--information", "0.48,0.77")
    seen, design = plan.seen, recomputed(plan.looks, (0.48, 0.77, 1.0))
    assert seen.design == design
    assert seen.verdict is Verdict.EFFICACY
    assert seen.stagewise == stagewise_inference(design, 2, 2.6)
    low, high = seen.repeated
    assert (low + high) / 2 * 0.77**0.5 == pytest.approx(2.6)
    assert (high - low) / 2 * 0.77**0.5 == pytest.approx(design.efficacy_z[1])
    assert seen.power_trend is seen.power_planned is seen.power_predicted is None
    control, treated = plan.risks  # at the planned drift, the planned effect, but for the variance
    drift = plan.test.drift(plan.total)
    assert plan.effect_of_drift(drift) == pytest.approx(treated - control, rel=0.01)


def test_property_a_trial_of_times_to_an_event_is_told_as_a_hazard_ratio():
    words = ("--effect", "HR 0.7", "--looks", "0.6,1", "--spending", "ldof")
    plan = planned("delayed-effect", *words, "--observed", "1.1,1.5", "--information", "0.6,1.05")
    assert plan.seen.verdict is Verdict.ENDED
    rows = {(row.measure.value, row.analysis): row for row in plan._seen_rows(plan._blank())}
    found = rows["estimate", "repeated confidence interval"]
    assert found.scale == "hazard ratio"
    assert found.lower < found.value < 1 < found.upper
    ended = rows["estimate_median_unbiased", "stage-wise ordering; ended, no bound crossed"]
    assert ended.lower < ended.value < ended.upper
    assert rows["conditional_power", "effect as planned"].why.startswith("no look to come")


def test_regression_what_was_seen_reaches_screen_and_document(trialsim, tmp_path):
    words = (
        "size",
        "sepsis",
        "--looks",
        "0.5,0.75,1",
        "--spending",
        "ldof",
        "--replicates",
        "1000",
    )
    shown = trialsim(*words, "--observed", "-0.5,1.9", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    for said in ("At look 2 of 3, bounds as planned:", "predictive power, flat prior", "goes on"):
        assert said in shown.stdout
    assert "stage-wise" not in shown.stdout
    document = json.loads(trialsim(*words, "--observed", "1,2.9", "--json", cwd=tmp_path).stdout)
    rows = {row["measure"]: row for row in document["rows"]}
    assert rows["p_stagewise"]["value"] < 0.025
    assert rows["estimate_median_unbiased"]["scale"] == "risk difference"
    assert document["arguments"]["observed"] == "1,2.9"
    made = trialsim("report", "last", "--out", "r.html", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "conditional power" in (tmp_path / "r.html").read_text()


LDOF = ("--looks", "0.5,1", "--spending", "ldof")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--observed", "1"), "--observed needs a design with looks"),
        ((*LDOF, "--observed", "1,2,3"), "must hold at most 2 values, one per look; got 1,2,3."),
        ((*LDOF, "--observed", "1,x"), "must be numbers with commas between; got 1,x."),
        ((*LDOF, "--observed", "nan"), "must be z values from -30 to 30"),
        ((*LDOF, "--observed", "5,1"), "goes on after look 1, where z 5 ended it"),
        ((*LDOF, "--observed", "-5,1"), "ended it: bound for harm crossed"),
        ((*LDOF, "--information", "0.4"), "--information needs --observed"),
        ((*LDOF, "--observed", "1", "--information", "0.4,0.5"), "must be 1 long"),
        ((*LDOF, "--observed", "1", "--information", "1.2"), "reaches look 2, planned at 100%"),
        ((*LDOF, "--observed", "1", "--information", "0"), "must be fractions of the planned"),
        (
            ("--looks", "0.5,1", "--bounds", "obf", "--observed", "1", "--information", "0.4"),
            "needs bounds that can be recomputed",
        ),
    ],
)
def test_regression_what_cannot_have_been_seen_is_refused(words, message):
    with pytest.raises((RequestError, DesignError)) as caught:
        planned("sepsis", *words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sepsis --total 1", "--total must put a patient in each arm"),
        ("sepsis --total -5", "--total must put a patient in each arm"),
        ("sepsis --total 10 --ratio 20:1", "--total must put a patient in each arm"),
        ("sepsis --total 10000001", "must not exceed 10,000,000; got 10,000,001."),
        ("sepsis --ratio 99:1", "--ratio must be two whole numbers from 1 to 20; got 99:1."),
        ("sepsis --ratio -1:1", "--ratio must be two whole numbers from 1 to 20; got -1:1."),
        ("sepsis --looks -0.5,1 --bounds obf", "must rise by at least 0.001 per look"),
        ("sepsis --power -0.5", "'-0.5' is below 0"),
        ("sepsis --dropout -0.1", "'-0.1' is below 0"),
        ("sepsis --effect RD=0.1", "must be a measure and a number"),
        ("sepsis --effect 0.7 --control-risk 24", "--control-risk must be in (0, 1); got 24."),
        ("sepsis --scenario=", "--scenario is not a scenario of this protocol"),
        ("sepsis --looks=", "--looks must be numbers with commas between"),
        ("sepsis --observed= --looks 0.5,1 --bounds obf", "--observed must be numbers"),
        ("sepsis --binding", "--binding needs --futility"),
        ("sepsis --binding --looks 0.5,1 --bounds obf", "--binding needs --futility"),
        ("sepsis --maximum 5000", "--maximum needs --reestimate"),
        ("sepsis --reestimate-at 0.3", "--reestimate-at needs --reestimate"),
        ("sepsis --margin 1.2", "sides must be 1 for non-inferiority; got 2. Add --set"),
        ("sepsis --looks 0.5,1 --spending ldof --futility 0", "must be 1 for stopping"),
        ("sepsis --by simulation --total 100", "--total cannot stand beside --by simulation"),
        ("sepsis --by simulation --dropout 0.1", "--dropout cannot stand beside"),
        ("sepsis --by simulation --grid --looks 0.5,1 --bounds obf", "--grid cannot stand beside"),
        ("delayed-effect --effect 0.7 --control-risk 0.3", "must belong to a binary endpoint"),
        ("delayed-effect --effect 0.7 --margin-test wald --margin 1.3", "must belong to a binary"),
        ("chronic-hepatitis-b --effect 3", "cannot be stated for a response that comes and goes"),
    ],
)  # fmt: skip
def test_regression_bad_words_are_explained_with_a_remedy(words, message):
    with pytest.raises((RequestError, DesignError)) as caught:
        planned(*words.split()).total  # noqa: B018
    assert message in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)


def test_regression_more_patients_than_can_be_simulated_are_sized_all_the_same():
    """These, a power of nearly 1, and a size inflated beyond ten million ended in a traceback."""
    plan = planned("sepsis", "--scenario", "tests-as-observed")
    assert plan.total == 116_172
    found = plan.result(replicates=1000)
    simulated = next(row for row in found.rows if row.measure.value == "power_simulated")
    assert abs(simulated.value - 0.8) <= 4 * simulated.mcse + 0.001  # drawn as counts
    prognosis = ("--set", "nature.severity_slope=1")
    unlike = planned("sepsis", "--scenario", "tests-as-observed", *prognosis)
    assert unlike.simulate().why == "more than 100,000 patients are not simulated"
    looks = ("--looks", "0.5,1", "--bounds", "obf", "--grid")
    with pytest.raises(RequestError, match="--grid cannot be had"):
        planned("sepsis", "--scenario", "tests-as-observed", *looks).result(replicates=1000)
    with pytest.raises(DesignError, match="patients randomised must not exceed 10,000,000"):
        planned("sepsis", "--dropout", "0.999999").total_with_loss  # noqa: B018
    assert planned("sepsis", "--power", "0.999999999999").curves()[3][-1] < 1e-6


def test_regression_every_public_design_can_be_imported_from_sizing():
    from trialsim import sizing

    assert len(sizing.__all__) > 40
    for name in sizing.__all__:
        assert getattr(sizing, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'crossover_size'"):
        sizing.crossover_size  # noqa: B018


def test_property_a_size_by_simulation_is_that_of_the_formula_where_there_is_one():
    words = ("--effect", "OR 0.55", "--looks", "0.5,1", "--bounds", "obf")
    plan = planned("sepsis", *words)
    found = planned("sepsis", *words, "--by", "simulation").by_simulation(seed=3)
    low, high = (
        getattr(next(r for r in found.rows if r.headline), end) for end in ("lower", "upper")
    )
    assert low < plan.total < high
    again = planned("sepsis", *words, "--by", "simulation").by_simulation(seed=3)
    assert again.rows == found.rows


def test_regression_what_has_no_formula_is_sized_by_simulation(trialsim, tmp_path):
    words = ("size", "delayed-effect", "--variant", "late-weights", "--scenario", "after-3-months")
    refused = trialsim(*words, cwd=tmp_path)
    assert refused.returncode == 2
    assert "Add --by simulation." in refused.stderr
    done = trialsim(*words, "--by", "simulation", "--replicates", "2000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trials that the search had not seen" in " ".join(done.stdout.split())
