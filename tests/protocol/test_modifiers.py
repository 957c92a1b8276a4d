"""Subgroups and modifiers that cannot be: one message each, with its remedy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trialsim import ProtocolError, check_file
from trialsim.protocol.modifiers import Cells, ModifiedMeans, modified_outcome
from trialsim.protocol.outcomes import MeasuredTruth

GOOD = """
schema_version: 1
id: who
title: Who benefits
protocol:
  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]
  endpoints:
    - {id: death, level: primary, kind: binary, event: death, at: 28 d, better: lower,
       estimand: {summary: odds ratio}}
    - {id: sofa, level: secondary, kind: continuous, variable: SOFA, unit: points, at: [7 d],
       better: lower}
    - {id: days, level: secondary, kind: count, event: infections, at: 90 d, better: lower}
  sample_size: {total: 400}
  subgroups: [{factor: age}]
nature:
  control_risk: 0.3
  factors:
    - id: age
      levels: [{id: young, share: 0.4}, {id: old, share: 0.6}]
    - id: site
      equal_levels: 4
  outcomes: {sofa: {mean: 7, sd: 3}, days: {rate_per_year: 1}}
scenarios:
  - id: differs
    title: differs
    effect: {odds_ratio: 0.7}
    modifiers: [{factor: age, ratio_of_effects: {old: 0.6}}]
"""
MODIFIER = "{factor: age, ratio_of_effects: {old: 0.6}}"
RATIO, TEST = "ratio_of_effects: {old: 0.6}", "subgroups: [{factor: age}]"
OBSERVED = "observed_subgroups: [{evidence: tests-2025, factor: age, levels: {young: X, old: Y}}]\n"
UNDER, OVER = "mortality-28d-under-60", "mortality-28d-60-and-over"

CASES = {
    "unknown factor": (
        MODIFIER,
        "{factor: sex, ratio_of_effects: {old: 0.6}}",
        "modifiers[0].factor is not a factor under nature.factors; got 'sex'. The factors are age, "
        "site.",
    ),
    "misspelt factor": (MODIFIER, "{factor: agee, only_in: [old]}", "Did you mean 'age'?"),
    "unknown level": (
        RATIO,
        "ratio_of_effects: {elder: 0.6}",
        "names 'elder', which is no level of 'age'; got {factor: ..., ratio_of_effects: ...}. "
        "It has: young, old.",
    ),
    "unknown covariate": (
        MODIFIER,
        "{covariate: weight, ratio_of_effects_per_sd: 0.8}",
        "modifiers[0].covariate is no covariate; got 'weight'. There are severity; describe others "
        "under nature.covariates.",
    ),
    "no reference": (
        RATIO,
        "ratio_of_effects: {young: 1, old: 0.6}",
        "names every level of 'age': none is left to be the reference; got {factor: ..., "
        "ratio_of_effects: ...}. Leave one out: the others are so many times its effect.",
    ),
    "in all levels": (RATIO, "only_in: [young, old]", "nothing is modified"),
    "no level": (RATIO, "ratio_of_effects: {}", "must have at least 1"),
    "both forms": (
        RATIO,
        f"{RATIO}, only_in: [old]",
        "must have exactly one of 'ratio_of_effects'",
    ),
    "per sd of a factor": (RATIO, "ratio_of_effects_per_sd: 0.8", "must have exactly one of"),
    "a source": (
        RATIO,
        "ratio_of_effects: {old: {value: 0.6, source: tests-2025}}",
        "cites tests-2025, but no record states how an effect differs",
    ),
    "a ratio of nothing": (RATIO, "ratio_of_effects: {old: 0}", "must be above 0"),
    "levels without names": (
        MODIFIER,
        "{factor: site, ratio_of_effects: {old: 0.6}}",
        "has levels without names",
    ),
    "twice": (MODIFIER, f"{MODIFIER}, {MODIFIER}", "modifies by 'age' twice"),
    "difference of a ratio": (
        RATIO,
        "difference_of_effects: {old: 0.1}",
        "states a difference of effects, but the effect of this endpoint is a ratio",
    ),
    "ratio of a difference": (
        MODIFIER,
        "{endpoint: sofa, factor: age, ratio_of_effects: {old: 0.6}}",
        "states a ratio of effects, but the effect of this endpoint is a difference",
    ),
    "unknown endpoint": (MODIFIER, "{endpoint: death2, factor: age, only_in: [old]}", "'death'?"),
    "kind that is not there": (
        MODIFIER,
        "{endpoint: days, factor: age, ratio_of_effects: {old: 0.6}}",
        "modifies an effect on an endpoint of kind count, which is not there yet",
    ),
    "a risk above 1": (
        "summary: odds ratio}}\n",
        "summary: risk difference}}\n",
        "states a ratio of effects, but the effect of this endpoint is a difference",
    ),
    "unreachable": (
        "odds_ratio: 0.7}\n    modifiers: [{factor: age, ratio_of_effects: {old: 0.6}}]",
        "odds_ratio: 0.1}\n    modifiers: [{factor: age, only_in: [young]}]",
        "cannot give the overall risk on treatment of 0.0411: the levels in which treatment acts "
        "hold too few patients",
    ),
    "shares": ("share: 0.6}", "share: 0.5}", "must have shares that add up to 1, not 0.9"),
    "subgroup by nothing": (TEST, "subgroups: [{factor: sex}]", "subgroups[0].factor is not a"),
    "subgroup twice": (TEST, "subgroups: [{factor: age}, {factor: age}]", "by 'age' twice"),
    "subgroup by sites": (TEST, "subgroups: [{factor: site}]", "of which none can be a subgroup"),
    "subgroup of nothing": (TEST, "subgroups: [{}]", "must have exactly one of 'factor' and"),
    "covariate of a count": (
        TEST,
        "subgroups: [{covariate: severity, endpoint: days}]",
        "asks for an interaction with a covariate in an endpoint of kind count",
    ),
    "published elsewhere": (
        "scenarios:\n",
        OBSERVED.replace("X", "nothing").replace("Y", OVER) + "scenarios:\n",
        "levels.young is no result of tests-2025 that states a ratio",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_property_what_cannot_be_is_refused_with_a_remedy(tmp_path, name):
    before, after, expected = CASES[name]
    assert before in GOOD
    path = tmp_path / "who.yaml"
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(ProtocolError) as caught:
        check_file(str(path))
    (problem,) = caught.value.problems
    assert expected in str(problem)
    assert str(problem).startswith("who.yaml:")
    assert problem.remedy.endswith((".", "?"))


def test_property_published_subgroups_need_declared_ones(tmp_path):
    own = OBSERVED.replace("X", UNDER).replace("Y", OVER)
    path = tmp_path / "who.yaml"
    path.write_text(GOOD + own)
    check_file(str(path))
    path.write_text(GOOD.replace("  subgroups: [{factor: age}]\n", "") + own)
    with pytest.raises(ProtocolError) as caught:
        check_file(str(path))
    assert "subgroups that the protocol does not declare" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("summary", "effect", "modifier"),
    [
        ("risk ratio", "risk_ratio: 3", "ratio_of_effects: {old: 1.5}"),
        ("risk difference", "risk_difference: -0.25", "difference_of_effects: {old: -0.2}"),
    ],
)
def test_property_a_risk_outside_0_and_1_is_refused(tmp_path, summary, effect, modifier):
    text = GOOD.replace("summary: odds ratio", f"summary: {summary}")
    text = text.replace("odds_ratio: 0.7", effect).replace(RATIO, modifier)
    path = tmp_path / "who.yaml"
    path.write_text(text)
    with pytest.raises(ProtocolError) as caught:
        check_file(str(path))
    (problem,) = caught.value.problems
    assert "takes a subgroup's risk on treatment to" in str(problem)
    assert "scenarios.differs.modifiers" in str(problem)


def test_property_checking_modifiers_needs_no_numpy(tmp_path):
    path = tmp_path / "who.yaml"
    path.write_text(GOOD)
    code = (
        "import sys; from trialsim.protocol.reading.load import check_file; "
        f"check_file({str(path)!r}); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_analytic_where_only_some_benefit_the_others_do_at_no_time():
    """Also where the effect is gone at the last visit, so that no part of it can be taken."""
    cells = Cells((("age", 2),), (0.4, 0.6), (0.0, 0.0), (True, False), ())
    rows = ((1.0, 0.5), (0.5, 1.0))
    truth = MeasuredTruth((0.0, 0.0), (5.0, 0.0), (1.0, 1.0), None, rows, 0.0, False, "points")
    found = modified_outcome(truth, cells, None)
    assert isinstance(found, ModifiedMeans)
    assert found.effects == ((12.5, 0.0), (0.0, 0.0))
