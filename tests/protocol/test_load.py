"""Variants, settings, sources and what a resolved template says of itself."""

from __future__ import annotations

import pytest

from trialsim import ProtocolError, RequestError, load_template
from trialsim.protocol.published.evidence import Status
from trialsim.protocol.quantities import Duration, Time
from trialsim.protocol.reading.load import shipped_evidence
from trialsim.protocol.reading.nodes import merge, plain, read_text

SEPSIS = load_template("sepsis")


def scenario(resolved, name):
    return next(s for s in resolved.template.scenarios if s.id == name)


def test_reference_sepsis_is_the_trial_the_documents_describe():
    protocol = SEPSIS.template.protocol
    assert str(protocol.experimental) == "thymalfasin 1.6 mg subcutaneous every 12 h for 7 d"
    assert protocol.primary.at.after.days == 28
    assert SEPSIS.template.nature.control_risk.source == "tests-2025"  # 132/547
    labels = [SEPSIS.truth(s).label for s in SEPSIS.template.scenarios]
    assert labels == ["no effect", "OR 0.82", "OR 0.73", "OR 0.41", "OR 0.96", "50% -> 35%"]
    schedule = {e.id for e in protocol.endpoints if e.level == "secondary"}
    assert schedule >= {
        "sofa",
        "apache-ii",
        "ventilation",
        "icu-stay",
        "mhla-dr",
        "lymphocytes",
        "cd4-cd8",
        "cytokines",
    }


def test_reference_tests_as_observed_has_exactly_its_counts():
    truth = SEPSIS.truth(scenario(SEPSIS, "tests-as-observed"))
    assert truth.control_risk == 132 / 547
    assert truth.treated_risk == 127 / 542


def test_property_no_weak_number_is_a_default():
    assert SEPSIS.evidence.stated_as("tests-2025", "control_risk", 0.241).status is Status.PUBLISHED
    weak = [
        s.id for s in SEPSIS.template.scenarios if SEPSIS.status_of(s) in ("document", "unverified")
    ]
    assert weak == ["or-041"]  # shown in capitals wherever it appears


def test_regression_a_variant_changes_both_arms_and_nothing_else():
    five = load_template("sepsis", variant="five-days").template.protocol
    assert [arm.regimen.lasting.days for arm in five.arms] == [5, 5]
    assert five.experimental.regimen.dose == SEPSIS.template.protocol.experimental.regimen.dose


def test_regression_a_set_value_loses_its_source_and_says_so():
    changed = load_template("sepsis", settings=["scenarios.or-082.effect.odds_ratio=0.7"])
    assert changed.status_of(scenario(changed, "or-082")) == "assumed"
    said = changed.set_by_user("scenarios.or-082.effect")
    assert said.endswith("odds_ratio: set by you: 0.7; template: 0.82, gu-2025-higher-quality")
    assert changed.sha256 != SEPSIS.sha256


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "nature.control_rsk.value=0.3",
            "has no 'control_rsk' in nature. Did you mean 'control_risk'",
        ),
        ("scenarios.or-99.effect.odds_ratio=0.7", "has no item 'or-99' in scenarios"),
        ("nature.control_risk", "must be PATH=VALUE"),
    ],
)
def test_regression_a_setting_that_fits_nowhere_is_refused(setting, words):
    with pytest.raises(RequestError, match=words):
        load_template("sepsis", settings=[setting])


@pytest.mark.parametrize("setting", ["nature.control_risk=1.2", "nature.colour=1"])
def test_regression_a_bad_setting_is_reported_where_it_was_set(setting):
    with pytest.raises(ProtocolError) as caught:
        load_template("sepsis", settings=[setting])
    assert [p.file for p in caught.value.problems] == [f"--set {setting}"]


def test_reference_rfc_7386_appendix_cases():
    cases = [  # original, patch, result: RFC 7386, appendix A, those with objects
        ("{a: b}", "{a: c}", {"a": "c"}),
        ("{a: b}", "{b: c}", {"a": "b", "b": "c"}),
        ("{a: b}", "{a: null}", {}),
        ("{a: b, b: c}", "{a: null}", {"b": "c"}),
        ("{a: [b]}", "{a: c}", {"a": "c"}),
        ("{a: c}", "{a: [b]}", {"a": ["b"]}),
        ("{a: {b: c}}", "{a: {b: d, c: null}}", {"a": {"b": "d"}}),
        ("{a: [{b: c}]}", "{a: [1]}", {"a": [1]}),
    ]
    for base, patch, result in cases:
        assert plain(merge(read_text(base, "x"), read_text(patch, "x"))) == result


def test_regression_a_patched_number_does_not_keep_the_old_note():
    base = read_text("{risk: {value: 0.3, source: a, note: from a}}", "x")
    patch = read_text("{risk: {value: 0.4, source: b}}", "x")
    assert plain(merge(base, patch)) == {"risk": {"value": 0.4, "source": "b"}}


def test_reference_the_two_clocks():
    """A month is 365.25 / 12 days, 26 weeks are 182."""
    time = Time.model_validate({"after": "12 mo", "from": "end-of-therapy"})
    therapy = Duration.parse("26 wk")
    assert time.days_after_entry(therapy) == pytest.approx(26 * 7 + 12 * 30.4375)
    assert time.in_words(therapy) == "12 mo after therapy = 18 mo after entry"


def test_reference_effects_carried_to_another_control_risk():
    """The odds ratio of 50% to 35%, applied by hand to 35%."""
    planned = SEPSIS.truth(scenario(SEPSIS, "etass-planning"), control_risk=0.35)
    odds = (0.35 / 0.65) * 0.35 / 0.65  # 50% -> 35% is an odds ratio of 0.35/0.65
    assert planned.treated_risk == pytest.approx(odds / (1 + odds))


def test_reference_conflicts_of_the_documents_are_recorded():
    conflicts = {c.id: c for c in shipped_evidence().conflicts}
    assert conflicts["tests-2025-benefit"].touches == ("document-000", "tests-2025")
    assert conflicts["tests-2025-benefit"].used == "tests-2025"
    hazard_ratios = [
        e.value
        for e in shipped_evidence().records["tests-2025"].results[0].effects
        if e.measure == "hazard ratio"
    ]
    assert hazard_ratios == [0.99, 0.97]  # both published versions


def test_reference_pools_know_which_patients_they_share():
    evidence = shipped_evidence()
    assert evidence.shares_patients("gu-2025", "tests-2025")
    assert evidence.shares_patients("gu-2025-higher-quality", "gu-2025-multi-centre")
    assert not evidence.shares_patients("etass-2013", "tests-2025")
    assert not evidence.shares_patients("etass-2013-planning", "etass-2013")  # a plan holds no data
