"""Profiles that contradict themselves, or the trial: refused with rule and remedy."""

from __future__ import annotations

import pytest

from trialsim.errors import ProtocolError, RequestError, SimulationError
from trialsim.protocol.load import load_conduct, load_template
from trialsim.studies.bias import plan_bias

_BY = (
    "{treated_unfavourable: 0.2, treated_favourable: 0.1, control_unfavourable: 0.1,"
    " control_favourable: 0.1}"
)


def profile(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(f"schema_version: 1\nid: own\ntitle: t\n{text}\n")
    return load_conduct(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("best_of: {strength: 1, among: endpoints, k: 1, correlation: 0}", "k must be at least 2"),
        ("best_of: {strength: 1, among: subgroups, k: 1}", "k must be at least 2"),
        (
            "best_of: {strength: 1, among: endpoints, k: 3, correlation: 1.2}",
            "must be at most 1",
        ),
        (
            "best_of: {strength: 1, among: endpoints, k: 4, correlation: -0.4}",
            "State one from -0.333 to 1",
        ),
        ("best_of: {strength: 1, among: endpoints, k: 3}", "correlation"),
        ("best_of: {strength: 1, among: luck, k: 3}", "among"),
        ("best_of: {strength: 1, k: 3}", "best_of.among is required"),
        ("best_of: {strength: 1, among: subgroups, k: 3, correlation: 0.5}", "correlation"),
        ("best_of: {strength: 1, among: subgroups}", "exactly one of 'k' and 'factors'"),
        ("best_of: {strength: 1, among: subgroups, k: 2, factors: [site]}", "exactly one of"),
        ("best_of: {strength: 1, among: subgroups, factors: [site, site]}", "each factor once"),
        ("best_of: {strength: 1, among: analyses}", "Name further `tests`"),
        ("best_of: {strength: 1, among: analyses, tests: [fisher, fisher]}", "each test once"),
        (
            "best_of: {strength: 1, among: analyses, tests: [wilcoxon]}",
            "must be chi-square, fisher",
        ),
        (
            "best_of: {strength: 1, among: analyses, tests: [fisher]}\n"
            "undeclared_looks: {strength: 1, looks: 3}",
            "looks are by one test",
        ),
        (
            f"best_of: {{strength: 1, among: analyses, per_protocol: {_BY}}}\n"
            f"per_protocol: {{strength: 1, non_adherent: {_BY}}}",
            "who adheres is asked twice",
        ),
        (
            "immortal_time: {strength: 1, exposed_after: 5 d, early_deaths: left-out}\n"
            f"as_treated: {{strength: 1, non_adherent: {_BY}}}",
            "adherence, or by time on treatment",
        ),
        ("immortal_time: {strength: 1, exposed_after: 5, early_deaths: left-out}", "28 d"),
        ("immortal_time: {strength: 1, exposed_after: 5 d}", "early_deaths"),
        ("extension: {strength: 1, more: 0}", "more must be above 0"),
        ("extension: {strength: 1, more: 0.2, p_below: 1.5}", "p_below must be at most 1"),
        ("publication: {strength: 1, p_below: 0}", "p_below must be above 0"),
        ("foreseen_allocation: {strength: 1, list: alternate}", "alternating"),
    ],
)
def test_property_a_profile_that_contradicts_itself_is_refused_with_a_remedy(tmp_path, text, words):
    with pytest.raises(ProtocolError) as refused:
        profile(tmp_path, text)
    assert words in str(refused.value)
    assert all(problem.remedy and problem.line for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (
            "best_of: {strength: 1, among: subgroups, k: 3}",
            ("variant=three-looks",),
            "the protocol declares looks",
        ),
        (
            "best_of: {strength: 1, among: analyses, tests: [fisher]}",
            ("variant=three-looks",),
            "the protocol declares looks",
        ),
        (
            "extension: {strength: 1, more: 0.2}",
            ("variant=three-looks",),
            "the protocol declares looks",
        ),
        (
            "extension: {strength: 1, more: 0.2, p_below: 0.05}",
            (),
            "State p_below above 0.05",
        ),
        (
            "extension: {strength: 1, more: 0.2}",
            (
                "protocol.sample_size={per_arm: {thymalfasin: 60, placebo: 60}}",
                "protocol.allocation={stratify_by: []}",
            ),
            "fixed in advance",
        ),
        (
            "best_of: {strength: 1, among: subgroups, factors: [site, ages]}",
            (),
            "'ages', which is no factor",
        ),
        (
            "best_of: {strength: 1, among: time-points, k: 3}",
            (),
            "State the correlation of neighbours",
        ),
        (
            "best_of: {strength: 1, among: analyses, tests: [chi-square]}",
            (),
            "the protocol's own",
        ),
        (
            "undeclared_looks: {strength: 1, looks: 3}",
            ("protocol.endpoints.mortality-28d.analysis=fisher",),
            "Analyse by chi-square",
        ),
        (
            "immortal_time: {strength: 1, exposed_after: 28 d, early_deaths: left-out}",
            (),
            "State exposed_after below 28 d",
        ),
        (
            "immortal_time: {strength: 1, exposed_after: 5 wk, early_deaths: left-out}",
            (),
            "the read-out is on day 28",
        ),
        (
            "immortal_time: {strength: 1, exposed_after: 5 d, early_deaths: left-out}",
            ("protocol.endpoints.mortality-28d.better=higher",),
            "the event is a good one",
        ),
        (
            "foreseen_allocation: {strength: 1, list: alternating}",
            ("protocol.allocation={ratio: {thymalfasin: 2, placebo: 1}, block_sizes: [6]}",),
            "allocates 2:1",
        ),
    ],
)
def test_property_what_cannot_act_in_this_trial_is_refused_with_a_remedy(
    tmp_path, text, settings, words
):
    variant = next((s.partition("=")[2] for s in settings if s.startswith("variant=")), "")
    own = tuple(s for s in settings if not s.startswith("variant="))
    resolved = load_template("sepsis", variant=variant, settings=own)
    with pytest.raises(RequestError) as refused:
        plan_bias(resolved, profile(tmp_path, text))
    assert words in str(refused.value)
    assert all(problem.remedy for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "best_of: {strength: 1, among: time-points, k: 3, correlation: 0.5}",
            "the course of response decides",
        ),
        ("best_of: {strength: 1, among: time-points, k: 9}", "State k of at most 6"),
        (
            "best_of: {strength: 1, among: time-points, k: 3}\n"
            "historical_controls: {strength: 1, drift: 1.2}",
            "the risk of one",
        ),
        (
            "immortal_time: {strength: 1, exposed_after: 5 d, early_deaths: left-out}",
            "no event that ends it",
        ),
    ],
)
def test_property_what_cannot_act_on_a_response_is_refused(tmp_path, text, words):
    with pytest.raises(RequestError) as refused:
        plan_bias(load_template("chronic-hepatitis-b"), profile(tmp_path, text))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "variant", "words"),
    [
        (
            "best_of: {strength: 1, among: time-points, k: 3, correlation: 0.5}",
            "",
            "adds up over time",
        ),
        ("extension: {strength: 1, more: 0.2}", "", "ends at events or a date"),
        ("publication: {strength: 1, p_below: 0.1}", "maxcombo", "no P"),
    ],
)
def test_property_what_cannot_act_on_times_to_an_event_is_refused(tmp_path, text, variant, words):
    resolved = load_template("delayed-effect", variant=variant)
    with pytest.raises(RequestError) as refused:
        plan_bias(resolved, profile(tmp_path, text))
    assert words in str(refused.value)
    assert all(problem.remedy for problem in refused.value.problems)


def test_property_the_best_subgroup_is_there_of_every_kind(tmp_path):
    own = profile(tmp_path, "best_of: {strength: 1, among: subgroups, k: 3}")
    assert plan_bias(load_template("delayed-effect"), own).mechanisms


def test_property_flaws_that_do_not_act_are_not_refused(tmp_path):
    text = (
        "immortal_time: {strength: 0, exposed_after: 5 wk, early_deaths: left-out}\n"
        "best_of: {strength: 0, among: analyses, tests: [chi-square]}\n"
        "exclusion: {strength: 0.1}"
    )
    planned = plan_bias(load_template("sepsis"), profile(tmp_path, text))
    assert [str(m) for m in planned.mechanisms] == ["exclusion"]


def test_property_a_bound_on_p_that_no_trial_meets_publishes_nothing(tmp_path):
    text = "publication: {strength: 1, p_below: 0.00001}"
    resolved = load_template("sepsis", settings=("protocol.sample_size={total: 120}",))
    planned = plan_bias(resolved, profile(tmp_path, text), ["no-effect"])
    with pytest.raises(SimulationError, match="a weaker filter"):
        planned.result(replicates=256, seed=1)
