"""Profiles that contradict themselves, or the trial: refused with rule and remedy."""

from __future__ import annotations

from math import isfinite

import pytest

from conftest import CORPUS
from trialsim.errors import ProtocolError, RequestError, SimulationError
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import Measure

SMALL = ("protocol.sample_size={total: 120}",)

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


@pytest.mark.parametrize(
    ("template", "name"),
    [("delayed-effect", "every-flaw"), ("chronic-hepatitis-b", "poor"), ("sepsis", "every-flaw")],
)
def test_regression_what_is_advised_instead_of_a_refused_profile_can_act(template, name):
    resolved = load_template(template)
    with pytest.raises(RequestError) as refused:
        plan_bias(resolved, load_conduct(name))
    told = refused.value.problems[-1].remedy
    flaws = told.partition("--only ")[2].partition(".")[0].split(" or ")
    profiles = told.partition("--conduct ")[2].partition(".")[0].split(" or ")
    assert flaws
    for flaw in flaws:
        assert plan_bias(resolved, load_conduct(name), only=Mechanism(flaw)).mechanisms
    assert profiles
    for other in profiles:
        assert plan_bias(resolved, load_conduct(other)).mechanisms


def test_regression_trials_that_cannot_be_analysed_are_not_called_unpublished(tmp_path):
    one = "{treated_unfavourable: 1, treated_favourable: 1, control_unfavourable: 0"
    text = f"differential_loss: {{strength: 1, lost: {one}, control_favourable: 0}}}}"
    planned = plan_bias(load_template("sepsis", settings=SMALL), profile(tmp_path, text))
    with pytest.raises(SimulationError, match=r"only 0 of 128 trials .* can be analysed") as failed:
        planned.result(replicates=128, seed=1)
    assert "filter" not in str(failed.value)


@pytest.mark.parametrize(
    "event",
    ["Death from any cause", "any-cause deaths", "all-cause Mortality", "died, of any cause"],
)
def test_regression_death_is_not_misread_however_it_is_written(tmp_path, event):
    resolved = load_template(
        "sepsis", settings=(f"protocol.endpoints.mortality-28d.event={event}",)
    )
    text = (
        "assessment: {strength: 1, sensitivity_treated: 0.9, sensitivity_control: 1, "
        "specificity_treated: 1, specificity_control: 1}"
    )
    with pytest.raises(RequestError, match="cannot be misread"):
        plan_bias(resolved, profile(tmp_path, text))


def test_regression_no_standard_error_anywhere_is_no_number(tmp_path):
    one = "{treated_unfavourable: 1, treated_favourable: 0, control_unfavourable: 0"
    text = f"differential_loss: {{strength: 1, lost: {one}, control_favourable: 1}}}}"
    resolved = load_template(str(CORPUS / "valid" / "days-alive-primary.yaml"))
    result = plan_bias(resolved, profile(tmp_path, text)).result(replicates=128, seed=1)
    rows = [r for r in result.rows if r.measure is Measure.MODEL_SE]
    assert {r.mechanism: r.value is None for r in rows} == {
        "none": False,
        "differential-loss": True,
    }
    numbers = [n for row in result.rows for n in (row.value, row.mcse) if n is not None]
    assert all(isfinite(n) for n in numbers)
