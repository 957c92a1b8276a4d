"""The strength a published ratio needs: read off the dial, and simulated again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import log, sqrt

import numpy as np
import pytest

from conftest import ROOT
from trialsim.errors import RequestError
from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.reading.load import load_conduct, load_template, shipped_evidence
from trialsim.studies.conduct.bias import plan_bias
from trialsim.studies.conduct.bias_calibration import STRENGTHS, plan_bias_calibration
from trialsim.studies.conduct.bias_targets import filter_target
from trialsim.studies.conduct.dial import Dial
from trialsim.trial import Measure

TEN_LINES = str(ROOT / "tests" / "protocols" / "valid" / "ten-lines.yaml")
FORESEEN = {"strength": 0.3, "waiting": 5, "knows": "next-assignment"}
BLINDING = {"strength": 0.5, "averts": 0.6}


def conduct(**flaws):
    return Conduct.model_validate({"id": "own", "title": "t", **flaws})


def sepsis(total: int = 240):
    return load_template("sepsis", settings=(f"protocol.sample_size={{total: {total}}}",))


def needed(result, source, at="estimate", mechanism=None):
    (row,) = (
        r
        for r in result.rows
        if r.measure is Measure.STRENGTH_NEEDED
        and (r.source, r.analysis) == (source, at)
        and mechanism in (None, r.mechanism)
    )
    return row


def dial_of(ratios, errors=None, strengths=STRENGTHS):
    numbers = np.array(ratios, dtype=float)
    return Dial(np.array(strengths), numbers, np.full(len(numbers), errors or 0.001))


def test_analytic_a_dial_that_is_known_is_read_off():
    dial = dial_of([1 - s for s in STRENGTHS[:-1]] + [1e-4])
    for ratio in (0.95, 0.83, 0.71, 0.64):
        strength, mcse = dial.reaching(ratio)
        assert strength == pytest.approx(1 - ratio, abs=1e-3)
        assert mcse == pytest.approx(0.001, rel=0.15)  # log(1 - s) falls by 1 / (1 - s)


def test_property_no_bias_needs_no_strength_and_too_much_is_not_reached():
    dial = dial_of(np.linspace(1, 0.9, len(STRENGTHS)))
    assert dial.reaching(1.0) == dial.reaching(1.3) == (0.0, 0.0)
    assert dial.reaching(0.89) == (None, None)
    assert dial.at_full == pytest.approx(0.9)


def test_property_noise_does_not_make_a_dial_turn_back():
    rng = np.random.default_rng(1)
    ratios = np.exp(-0.1 * np.array(STRENGTHS) + rng.normal(0, 0.01, len(STRENGTHS)))
    dial = dial_of([1.0, *ratios[1:]], 0.01)
    assert np.all(np.diff(dial.curve) <= 0)
    assert dial.curve[0] == 0
    found = [dial.reaching(r).strength for r in np.linspace(1, dial.at_full + 1e-9, 50)]
    assert all(a <= b for a, b in pairwise(found))


def test_property_a_flaw_that_flatters_control_reaches_nothing():
    dial = dial_of(np.linspace(1, 1.3, len(STRENGTHS)))
    assert dial.reaching(0.95) == (None, None)
    assert dial.at_full == 1


def test_analytic_excluding_a_share_multiplies_the_odds_ratio():
    # 1 - f of expected counts: 0.83 (0.71 to 0.96) needs 0.17 (0.04 to 0.29) of large trials.
    planned = plan_bias_calibration(sepsis(6_000), conduct(exclusion={"strength": 0.1}))
    result = planned.result(replicates=256, seed=1)
    for at, ratio in (("estimate", 0.83), ("lower end", 0.71), ("upper end", 0.96)):
        row = needed(result, "mitt", at)
        assert row.mcse > 0
        assert abs(row.value - (1 - ratio)) < 4 * row.mcse + 5e-4  # 5e-4: of small samples


@pytest.mark.parametrize(
    ("flaws", "mechanism", "source"),
    [
        ({"exclusion": {"strength": 0.1}}, Mechanism.EXCLUSION, "mitt"),
        (
            {"foreseen_allocation": FORESEEN},
            Mechanism.FORESEEN_ALLOCATION,
            "sequence-mortality",
        ),
        (
            {"co_intervention": BLINDING},
            Mechanism.CO_INTERVENTION,
            "double-blinding-mortality-univariable",
        ),
    ],
)
def test_analytic_the_strength_found_gives_the_ratio_at_another_seed(flaws, mechanism, source):
    own = conduct(**flaws)
    found = needed(
        plan_bias_calibration(sepsis(), own).result(replicates=1_024, seed=1), source, "estimate"
    )
    plan = plan_bias(
        sepsis(), own, ["no-effect"], only=mechanism, strengths=(found.value, found.value + 0.02)
    )
    again = [
        r
        for r in plan.result(replicates=1_024, seed=7).rows
        if r.measure is Measure.RATIO_OF_ODDS_RATIOS and r.strength
    ]
    slope = (log(again[1].value) - log(again[0].value)) / 0.02
    (target,) = (
        t.ratio for t in plan_bias_calibration(sepsis(), own).targets if t.source == source
    )
    errors = sqrt((again[0].mcse / again[0].value) ** 2 + (slope * found.mcse) ** 2)
    assert 0 < errors < 0.02
    assert abs(log(again[0].value) - log(target)) < 4 * errors


def test_analytic_errors_of_strengths_agree_with_their_spread_over_runs():
    planned = plan_bias_calibration(sepsis(), conduct(exclusion={"strength": 0.1}))
    found = [needed(planned.result(replicates=256, seed=seed), "mitt") for seed in range(40)]
    spread = np.std([row.value for row in found], ddof=1)  # known to 1/sqrt(78)
    assert spread == pytest.approx(np.mean([row.mcse for row in found]), rel=4 / sqrt(78))


def test_analytic_the_filter_publishes_negative_trials_as_seldom_as_published():
    planned = plan_bias_calibration(sepsis(), conduct(publication={"strength": 0.7}))
    result = planned.result(replicates=1_024, seed=1)
    found = needed(result, "negative-published")
    assert found.value == pytest.approx(1 - 0.41 / 0.73, abs=1e-12)
    assert found.mcse == 0
    # the ends: 41% moved by the odds ratio 3.90 (2.68 to 5.68), 73% as it is
    for at, odds_ratio in (("lower end", 5.68), ("upper end", 2.68)):
        odds = 0.73 / 0.27 / odds_ratio
        expected = 1 - odds / (1 + odds) / 0.73
        assert needed(result, "negative-published", at).value == pytest.approx(expected)
    plan = plan_bias(
        sepsis(),
        conduct(publication={"strength": 0.7}),
        ["or-082"],
        only=Mechanism.PUBLICATION,
        strengths=(found.value,),
    )
    rows = {(r.measure, r.strength): r for r in plan.result(replicates=4_096, seed=3).rows}
    share = rows[Measure.PUBLISHED_SHARE, found.value]
    benefit = rows[Measure.POWER, None].value - rows[Measure.POWER_WRONG_DIRECTION, None].value
    relative = (share.value - benefit) / (1 - benefit)  # of those without a significant benefit
    assert abs(relative - 0.41 / 0.73) < 4 * share.mcse / (1 - benefit)


def test_analytic_two_domains_multiply_with_an_interval_as_if_independent():
    planned = plan_bias_calibration(sepsis(), conduct(foreseen_allocation=FORESEEN))
    (both,) = (t for t in planned.targets if len(t.estimates) == 2)
    assert both.source == "sequence-mortality x concealment-mortality"
    assert {e.adjustment for e in both.estimates} == {"multivariable"}
    assert both.ratio == pytest.approx(0.86 * 1.03)
    half = sqrt(log(1.06 / 0.69) ** 2 + log(1.31 / 0.82) ** 2) / 2
    low, high = both.interval
    assert log(high / low) / 2 == pytest.approx(half)
    assert sqrt(low * high) == pytest.approx(0.86 * 1.03)
    assert both.status == "derived"


def test_property_domains_together_are_told_only_where_every_strength_is_reached():
    weak = {**_MISREADING, "sensitivity_treated": 0.99, "specificity_control": 0.99}
    own = conduct(foreseen_allocation=FORESEEN, assessment=weak)
    planned = plan_bias_calibration(load_template(TEN_LINES), own, outcomes="subjective")
    result = planned.result(replicates=256, seed=1)
    assert not [r for r in result.rows if r.mechanism == "all"]
    assert "not every strength is reached" in result.texts["domains"]


def test_property_ratios_are_those_of_the_outcome():
    own = conduct(foreseen_allocation=FORESEEN, exclusion={"strength": 0.1})
    sources = {t.source for t in plan_bias_calibration(sepsis(), own).targets}
    assert {"sequence-mortality", "concealment-mortality", "plain-envelopes", "mitt"} <= sources
    assert not any("subjective" in source or "objective" in source for source in sources)
    own = conduct(assessment=_MISREADING)
    planned = plan_bias_calibration(load_template(TEN_LINES), own, outcomes="subjective")
    assert {(t.record, t.source) for t in planned.targets} == {
        ("brando-2012", "double-blinding-subjective"),
        ("page-2016", "assessors-subjective"),
        ("metablind-2020", "assessors-subjective"),
    }


_MISREADING = {
    "strength": 1,
    "sensitivity_treated": 0.8,
    "sensitivity_control": 1,
    "specificity_treated": 1,
    "specificity_control": 0.9,
}


def test_property_brando_and_metablind_are_both_shown():
    result = plan_bias_calibration(sepsis(), conduct(co_intervention=BLINDING)).result(
        replicates=256, seed=1
    )
    by_record = {r.evidence: r.value for r in result.observed if r.mechanism == "co-intervention"}
    assert by_record == {"brando-2012": 0.92, "metablind-2020": 0.99}
    assert "no mean" in result.texts["blinding"]
    assert any(caution.code == "blinding-bias" for caution in result.warnings)
    weak = needed(result, "double-blinding-mortality-univariable")
    assert weak.status == "unverified"


def test_property_every_number_shown_is_in_its_record():
    own = load_conduct("poor")
    result = plan_bias_calibration(sepsis(), own).result(replicates=640, seed=1)
    records = shipped_evidence().records
    for row in result.observed:
        record = records[row.evidence]
        shares = {q.id: (q.value / 100, q.status) for q in record.quantities if q.unit == "%"}
        ratios = {e.id: (e.value, e.status) for e in record.estimates}
        stated = {**shares, **ratios}
        if " x " in row.source:
            assert row.status == "derived"
            continue
        assert (row.value, row.status) == stated[row.source]
    mixes = [r for r in result.rows if r.why and r.why.startswith("not identified")]
    assert {("unverzagt-2013", "single-centre"), ("dechartres-2013", "from-200-to-499")} <= {
        (r.evidence, r.source) for r in mixes
    }
    assert all(r.value is None and r.mechanism is None for r in mixes)


def test_property_below_1_flatters_where_more_events_are_good_too():
    resolved = load_template("chronic-hepatitis-b")
    primary = resolved.template.protocol.primary
    if primary.summary != "odds ratio":
        path = f"protocol.endpoints.{primary.id}.estimand.summary=odds ratio"
        resolved = load_template("chronic-hepatitis-b", settings=(path,))
    planned = plan_bias_calibration(
        resolved, conduct(exclusion={"strength": 0.1}), outcomes="objective"
    )
    result = planned.result(replicates=256, seed=1)
    dial = [r.value for r in result.rows if r.measure is Measure.RATIO_OF_ODDS_RATIOS]
    assert dial[0] == 1
    assert all(a > b for a, b in pairwise(dial))
    assert 0 < needed(result, "mitt").value < 1


def test_property_the_reference_has_no_effect_unless_another_is_named():
    own = load_conduct("poor")
    assert plan_bias_calibration(sepsis(), own).scenario.id == "no-effect"
    assert plan_bias_calibration(sepsis(), own, ["or-082"]).scenario.id == "or-082"


def test_property_workers_do_not_change_a_number():
    planned = plan_bias_calibration(sepsis(), conduct(foreseen_allocation=FORESEEN))
    one = planned.result(replicates=512, seed=2, workers=1)
    assert planned.result(replicates=512, seed=2, workers=2).rows == one.rows


_NOBODY = dict.fromkeys(
    ("treated_unfavourable", "treated_favourable", "control_unfavourable", "control_favourable"),
    0.1,
)


@pytest.mark.parametrize(
    ("template", "flaws", "more", "message"),
    [
        ("sepsis", {"as_treated": {"strength": 1, "non_adherent": _NOBODY}}, {}, "speaks about"),
        ("sepsis", {"exclusion": {"strength": 0}}, {}, "speaks about"),
        (TEN_LINES, {"exclusion": {"strength": 0.1}}, {}, "'death' is not called death from any"),
        ("sepsis", {"exclusion": {"strength": 0.1}}, {"outcomes": "subjective"}, "does not fit"),
        ("sepsis", {"exclusion": {"strength": 0.1}}, {"outcomes": "soft"}, "no kind of outcome"),
        (
            "sepsis",
            {"exclusion": {"strength": 0.1}},
            {"scenarios": ["no-effect", "or-082"]},
            "one setting",
        ),
        (
            "sepsis",
            {"exclusion": {"strength": 0.1}},
            {"only": Mechanism.PUBLICATION},
            "no flaw of publication",
        ),
        ("delayed-effect", {"exclusion": {"strength": 0.1}}, {}, "needs the odds ratio"),
    ],
)
def test_property_what_cannot_be_calibrated_is_refused_with_a_remedy(
    template, flaws, more, message
):
    with pytest.raises(RequestError, match=message) as refused:
        plan_bias_calibration(load_template(template), conduct(**flaws), **more)
    assert all(problem.remedy for problem in refused.value.problems)


def test_property_another_summary_than_the_odds_ratio_is_refused():
    asked = "protocol.endpoints.death-28d.estimand={summary: risk difference}"
    resolved = load_template(TEN_LINES, settings=(asked,))
    own = conduct(exclusion={"strength": 0.1})
    with pytest.raises(RequestError, match="needs the odds ratio") as refused:
        plan_bias_calibration(resolved, own, outcomes="mortality")
    (problem,) = refused.value.problems
    remedy = problem.remedy.removeprefix("Add --set '").removesuffix("'.")
    mended = load_template(TEN_LINES, settings=(asked, remedy))
    assert plan_bias_calibration(mended, own, outcomes="mortality").outcomes == "mortality"


def test_property_without_records_nothing_is_made_up():
    bare = replace(sepsis(), evidence=Evidence())
    with pytest.raises(RequestError, match="for mortality outcomes"):
        plan_bias_calibration(bare, conduct(exclusion={"strength": 0.1}))


def test_property_the_filter_needs_its_record():
    assert filter_target((Mechanism.EXCLUSION,), shipped_evidence()) is None
    found = filter_target((Mechanism.PUBLICATION,), shipped_evidence())
    assert found.strength(0.85) == 0  # more negative trials published than positive ones
    assert 1 > found.strength(0.11) > found.strength(0.41)


def test_analytic_on_a_straight_dial_the_sd_of_strength_is_kappa_over_the_slope():
    strengths = np.linspace(0, 1, 11)
    dial = Dial(strengths, np.exp(-0.5 * strengths), np.full(11, 1e-3))
    found = dial.spreading(0.4, 0.06)
    assert found.strength == pytest.approx(0.12, rel=2e-3)
    assert 0 < found.mcse < 0.01
    # no strength around 0.4 spreads by more than sqrt(0.4 x 0.6), which moves 0.245
    assert dial.spreading(0.4, 0.26).strength is None
    # of a beta distribution around 0.3 through a parabola, by simulation
    bent = Dial(strengths, np.exp(-0.8 * strengths**2), np.full(11, 1e-3))
    sd = bent.spreading(0.3, 0.05).strength
    size = 0.3 * 0.7 / sd**2 - 1
    drawn = np.random.default_rng(1).beta(0.3 * size, 0.7 * size, 400_000)
    assert np.std(-0.8 * drawn**2) == pytest.approx(0.05, rel=0.02)
