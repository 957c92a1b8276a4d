"""From truth to publication: the bars, their errors, and what is refused."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest

from trialsim.engine.flawed_trials import FlawedBlock
from trialsim.engine.run import run
from trialsim.errors import ProtocolError, RequestError, SimulationError
from trialsim.protocol.conduct import Conduct, HistoricalControls, Mechanism
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.studies.conduct.bias import flaw_from_words, plan_bias, strengths_from_words
from trialsim.trial import Measure

TOTAL = ("protocol.sample_size={total: 240}",)


def planned(conduct: Conduct, scenario: str = "or-082", **more):
    return plan_bias(load_template("sepsis", settings=TOTAL), conduct, [scenario], **more)


def rows(result, measure, mechanism=None):
    return [
        row for row in result.rows if row.measure is measure and mechanism in (None, row.mechanism)
    ]


@pytest.fixture(scope="module")
def poor():
    plan = planned(load_conduct("poor"))
    return plan, plan.result(replicates=2_000, seed=3)


def test_property_bars_add_up_to_published_minus_truth(poor):
    _, result = poor
    bars = rows(result, Measure.ATTRIBUTION)
    (published,) = rows(result, Measure.ESTIMATE_MEAN, "all")
    truth = log(0.82)
    assert [b.mechanism for b in bars] == [
        "small-sample bias",
        "foreseen-allocation",
        "exclusion",
        "publication",
    ]
    assert abs(sum(b.value for b in bars) - (published.value - truth)) < 1e-12
    (flawless,) = rows(result, Measure.ESTIMATE_MEAN, "none")
    assert bars[0].n_replicates == flawless.n_replicates > published.n_replicates
    assert {b.n_replicates for b in bars[1:]} == {published.n_replicates}


def test_analytic_shares_of_two_flaws_are_the_mean_of_two_orders():
    full = load_conduct("poor").only({Mechanism.EXCLUSION, Mechanism.PUBLICATION})
    plan = planned(full)
    result = plan.result(replicates=2_000, seed=3)
    mean = {
        name: rows(result, Measure.ESTIMATE_MEAN, name)[0].value
        for name in ("none", "exclusion", "publication", "all")
    }
    share = {b.mechanism: b.value for b in rows(result, Measure.ATTRIBUTION)}
    by_hand = (mean["exclusion"] - mean["none"] + mean["all"] - mean["publication"]) / 2
    assert share["exclusion"] == pytest.approx(by_hand, abs=1e-12)


def test_analytic_errors_of_bars_agree_with_their_spread_over_runs():
    plan = planned(load_conduct("poor").only({Mechanism.EXCLUSION, Mechanism.PUBLICATION}))
    found = {"exclusion": [], "publication": []}
    stated = dict.fromkeys(found, 0.0)
    n_runs = 40
    for seed in range(n_runs):
        for bar in rows(plan.result(replicates=512, seed=seed), Measure.ATTRIBUTION):
            if bar.mechanism in found:
                found[bar.mechanism].append(bar.value)
                stated[bar.mechanism] += bar.mcse / n_runs
    for name, values in found.items():  # an SD of 40 is known to 1/sqrt(78)
        assert np.std(values, ddof=1) == pytest.approx(stated[name], rel=4 / sqrt(78))


def test_analytic_exclusion_multiplies_the_odds_ratio():
    # Of large trials the mean log odds ratio is that of the expected counts.
    conduct = load_conduct("poor").only({Mechanism.EXCLUSION})
    resolved = load_template("sepsis", settings=("protocol.sample_size={total: 4000}",))
    result = plan_bias(resolved, conduct, ["or-082"]).result(replicates=256, seed=1)
    (ratio,) = rows(result, Measure.RATIO_OF_ODDS_RATIOS, "exclusion")
    assert abs(ratio.value - 0.85) < 4 * ratio.mcse + 1e-3  # 1e-3: of small samples


def test_analytic_the_filter_gives_the_mean_of_a_truncated_normal():
    # With no effect, z is near N(0, 1): published are all above 1.96, and 0.3 of the rest.
    conduct = load_conduct("poor").only({Mechanism.PUBLICATION})
    resolved = load_template("sepsis", settings=("protocol.sample_size={total: 4000}",))
    result = plan_bias(resolved, conduct, ["no-effect"]).result(replicates=2_048, seed=1)
    (mean,) = rows(result, Measure.ESTIMATE_MEAN, "publication")
    (se,) = rows(result, Measure.EMPIRICAL_SE, "none")
    z = 1.959963984540054
    density = exp(-(z**2) / 2) / sqrt(2 * np.pi)
    expected = -0.7 * density / (0.3 + 0.7 * 0.025) * se.value
    assert abs(mean.value - expected) < 4 * mean.mcse


def test_property_one_dial_begins_where_there_is_no_flaw():
    conduct = load_conduct("poor")
    plan = planned(conduct, only=Mechanism.EXCLUSION, strengths=(0.0, 0.5))
    result = plan.result(replicates=512, seed=1)
    by_strength = {r.strength: r.value for r in rows(result, Measure.ESTIMATE_MEAN)}
    assert by_strength[0.0] == by_strength[None]
    assert by_strength[0.5] < by_strength[0.0]


def test_property_workers_do_not_change_a_number():
    plan = planned(load_conduct("poor"))
    one = plan.result(replicates=512, seed=2, workers=1)
    two = plan.result(replicates=512, seed=2, workers=2)
    assert one.rows == two.rows


def test_property_severity_assumed_for_steering_is_said(poor):
    plan, result = poor
    assert plan.resolved.template.nature.severity_slope is not None
    assert any("nothing to pick by" in str(w) for w in result.warnings)


def test_property_every_number_of_a_profile_is_told_with_its_source_or_as_assumed(poor):
    told = poor[1].texts["profile"]
    assert "exclusion: strength 0.15 (SD 0.05) [assumed]" in told
    assert "waiting 2" in told
    pragmatic = load_conduct("pragmatic").in_words()
    assert "treated unfavourable 0.06 [akl-2012]" in pragmatic
    assert "averts 0.2 [assumed]" in pragmatic
    assert not load_conduct("rigorous").in_words()
    dial = planned(load_conduct("poor"), only=Mechanism.EXCLUSION, strengths=(0.0, 0.5))
    assert "strength" not in dial.result(replicates=128, seed=1).texts["profile"]


def test_property_rigorous_trials_are_those_of_simulate():
    resolved = load_template("sepsis", settings=(*TOTAL, "nature.severity_slope=1"))
    plan = plan_bias(resolved, load_conduct("poor"), ["or-082"])
    (simulation,) = run([plan.job], n_replicates=256, seed=4)
    (flawless,) = run(
        [type(plan.job)(plan.job.protocol, (plan.job.plans[0],), plan.job.truths)],
        n_replicates=256,
        seed=4,
    )
    assert simulation.results[0][0].same_as(flawless.results[0][0])


@pytest.mark.parametrize(
    ("template", "profile", "message"),
    [
        ("sepsis", "every-flaw", "cannot be misread"),
        ("sepsis", "rigor", "is no profile of conduct"),
        ("delayed-effect", "poor", "nothing of a time to an event is known beforehand"),
        ("chronic-hepatitis-b", "poor", "nothing of a response is known beforehand"),
    ],
)
def test_property_what_cannot_act_is_refused_with_a_remedy(template, profile, message):
    with pytest.raises(RequestError, match=message) as refused:
        plan_bias(load_template(template), load_conduct(profile))
    assert all(problem.remedy for problem in refused.value.problems)


def test_property_a_filter_that_publishes_nothing_is_an_error(tmp_path):
    path = tmp_path / "nothing.yaml"
    path.write_text("schema_version: 1\nid: nothing\ntitle: t\npublication: {strength: 1}\n")
    with pytest.raises(SimulationError, match="are published"):
        planned(load_conduct(str(path)), "no-effect").result(replicates=256, seed=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exclusion: {strength: 1.2}", "less than or equal to 1"),
        ("exclusion: {strength: {value: 0.1, sd: 0.4}}", "SD"),
        ("exclusions: {strength: 0.2}", "exclusions is not a known key"),
        (
            "assessment: {strength: 1, sensitivity_treated: -0.1, sensitivity_control: 1,"
            " specificity_treated: 1, specificity_control: 1}",
            "sensitivity_treated",
        ),
        (
            "historical_controls: {strength: 1, drift: 1.2}\nforeseen_allocation: {strength: 0.5}",
            "are not allocated",
        ),
    ],
)
def test_property_a_profile_that_cannot_be_says_where(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(f"schema_version: 1\nid: bad\ntitle: t\n{text}\n")
    with pytest.raises(ProtocolError) as refused:
        load_conduct(str(path))
    told = str(refused.value)
    assert "bad.yaml" in told
    assert message in told or "must be" in told


def test_property_words_of_the_command_line():
    assert flaw_from_words("Foreseen_Allocation") is Mechanism.FORESEEN_ALLOCATION
    assert strengths_from_words("0:1:0.25") == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert strengths_from_words("0.1,0.3") == (0.1, 0.3)
    for words in ("0:1", "a", "0,2", "0:1:0", "1:0:0.1"):
        with pytest.raises(RequestError):
            strengths_from_words(words)
    with pytest.raises(RequestError, match="is no flaw"):
        flaw_from_words("exlusion")


@pytest.mark.parametrize(
    ("words", "strengths"),
    [
        ("0:0.5:0.3", (0.0, 0.3)),  # a step that does not end at the last
        ("0:1:0.6", (0.0, 0.6)),
        ("0:1:0.25", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("0.2:0.5:0.1", (0.2, 0.3, 0.4, 0.5)),
    ],
)
def test_regression_a_dial_never_goes_beyond_its_end(words, strengths):
    assert strengths_from_words(words) == strengths


@pytest.mark.parametrize("words", ["0:inf:0.1", "nan:1:0.1", "0:1:nan", "0:1e300:0.1", "1:0:0.1"])
def test_regression_a_dial_that_is_none_has_a_remedy(words):
    with pytest.raises(RequestError, match="is not a list of strengths"):
        strengths_from_words(words)


def test_property_the_interaction_is_what_single_flaws_leave():
    study = plan_bias(
        load_template("sepsis", settings=["protocol.sample_size={total: 120}"]),
        load_conduct("poor"),
        ["or-082"],
    )
    rows = study.result(replicates=1_000, seed=3).rows
    mean = {r.mechanism: r.value for r in rows if r.measure is Measure.ESTIMATE_MEAN}
    (row,) = [r for r in rows if r.measure is Measure.FLAW_INTERACTION]
    singles = sum(mean[str(flaw)] - mean["none"] for flaw in study.mechanisms)
    assert row.value == pytest.approx(mean["all"] - mean["none"] - singles, abs=1e-12)
    assert row.mcse > 0


def test_regression_the_truth_of_a_sustained_response_that_may_come_again_is_its_own():
    """Records and events per 1,000 took response at the horizon alone."""
    settings = [
        "nature.response.relapse_per_year=1.5",
        "nature.response.again_per_year=2",
        "protocol.endpoints.response-12mo-after.counted=sustained",
    ]
    resolved = load_template("chronic-hepatitis-b", settings=settings)
    conduct = Conduct(
        id="own", title="t", historical_controls=HistoricalControls(strength=1, drift=1)
    )
    study = plan_bias(resolved, conduct, ["chien-1998"])
    truth, plan = study.job.truths[0], study.job.plans[0]
    control, treated = truth.control_risk, truth.treated_risk
    assert control < truth.risks_on(plan.day)[0]
    records = FlawedBlock(study.job, 1, 0).planned(0, plan)
    assert (records.control_risk, records.treated_risk) == (1 - control, 1 - treated)
    rows = study.result(replicates=512).rows
    told = [r.value for r in rows if (r.measure, r.mechanism) == (Measure.EVENTS_PER_1000, "truth")]
    assert told[:2] == pytest.approx([1000 * treated, 1000 * control])
