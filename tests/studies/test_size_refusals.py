"""What cannot be sized: each an explanation and a remedy that can be typed, never a number."""

from __future__ import annotations

import re

import pytest

from conftest import CORPUS
from trialsim import DesignError, ProtocolError, RequestError, load_template
from trialsim.cli.parser import parse
from trialsim.studies.size.planned import PlannedSize, plan_size
from trialsim.studies.size.refusals import in_words_of_options
from trialsim.studies.size.request import size_request

ONE_SIDED = ("--set", "protocol.test={sides: 1, alpha: 0.025}")
VALID = CORPUS / "valid"
NAMES_OF_PYTHON = r"\b[a-z]+_[a-z_]+\b(?!\.)|=True|=False|\(z=|[A-Z][a-z]+[A-Z][a-z]+\("


def sized(name, *words):
    """Do what the command line does, but for the printing."""
    template = str(VALID / f"{name}.yaml") if name.endswith("primary") else name
    options = parse(["size", template, *words])
    with in_words_of_options():
        resolved = load_template(
            options.template, variant=options.variant, settings=options.settings
        )
        planned = plan_size(resolved, size_request(resolved, options)[0])
        found = planned.result if isinstance(planned, PlannedSize) else planned.by_simulation
        found(replicates=200)


TWO_LOOKS = ("--looks", "0.5,1", "--spending", "ldof")
BAD = [
    ("sepsis", ("--power", "0.04"), "--power must be above alpha, 0.05"),
    ("sepsis", ("--power", "1"), "--power must be above alpha, 0.05, and below 1"),
    ("means-primary", ("--power", "0.04"), "--power must be above alpha, 0.05"),
    ("ordinal-primary", ("--power", "1"), "--power must be above alpha, 0.05, and below 1"),
    ("delayed-effect", ("--power", "0.01"), "--power must be above alpha, 0.025"),
    ("counts-primary", ("--by", "simulation", "--power", "0.04"), "--power must be above alpha"),
    ("sepsis", ("--effect", "OR 1"), "the effect must differ between the arms"),
    ("delayed-effect", ("--effect", "HR 1"), "the effect must differ between the arms"),
    ("chronic-hepatitis-b", ("--scenario", "no-effect"), "the effect must differ between"),
    ("means-primary", ("--scenario", "no-effect"), "the effect must differ between the arms"),
    ("log-means-primary", ("--effect", "GMR 1"), "the effect must differ between the arms"),
    ("ordinal-primary", ("--scenario", "no-effect"), "the effect must differ between the arms"),
    ("competing-primary", ("--by", "simulation", "--effect", "HR 1"), "must have an effect"),
    ("sepsis", (*ONE_SIDED, "--margin", "0.9"), "the margin must lie above 1 where lower is"),
    ("sepsis", (*ONE_SIDED, "--superiority-margin", "1.2"), "the margin must lie below 1"),
    ("sepsis", (*ONE_SIDED, "--superiority-margin", "0.7"), "must be better than the margin"),
    ("delayed-effect", ("--effect", "HR 0.9", "--margin", "0.8"), "the margin must lie above 1"),
    ("means-primary", (*ONE_SIDED, "--margin", "-1"), "the margin must lie above 0 where lower"),
    ("log-means-primary", (*ONE_SIDED, "--margin", "1.2"), "the margin must lie below 1 where hig"),
    ("log-means-primary", (*ONE_SIDED, "--margin", "0"), "--margin must be a ratio above 0"),
    ("log-means-primary", (*ONE_SIDED, "--effect", "GMR 0.8"), "is harm where higher is better"),
    ("sepsis", (*ONE_SIDED, "--effect", "OR 1.3"), "is harm where lower is better"),
    ("delayed-effect", ("--effect", "HR 1.3"), "is harm where lower is better"),
    ("sepsis", ("--looks", "0.5,0.9", "--bounds", "obf"), "--looks must end at 1; got 0.9."),
    ("sepsis", ("--looks", "0.5,0.5,1", "--bounds", "obf"), "--looks must rise by at least"),
    ("sepsis", ("--looks", "0.5,1", "--bounds", "wt:9"), "DELTA of --bounds wt:DELTA must be in"),
    ("sepsis", ("--looks", "0.5,1", "--spending", "hsd:99"), "GAMMA of hsd:GAMMA must be in"),
    ("means-primary", ("--looks", "0.5,0.9", "--bounds", "obf"), "--looks must end at 1"),
    ("sepsis", (*ONE_SIDED, *TWO_LOOKS, "--futility", "1,2"), "--futility must hold 1 bounds; go"),
    ("sepsis", (*ONE_SIDED, *TWO_LOOKS, "--futility", "3"), "must be below the efficacy bound"),
    ("sepsis", (*ONE_SIDED, "--looks", "0.5,1", "--bounds", "obf", "--futility", "hsd:-2",
                "--binding"), "spends beta; got obf. Spend alpha too (ldof"),
    ("delayed-effect", ("--set", "nature.survival={median: 0 mo}"), "must state a time after"),
    ("delayed-effect", ("--effect", "HR 0"), "is impossible"),
    ("delayed-effect", ("--effect", "HR 0.9999"), "must not exceed 10,000,000"),
    ("sepsis", ("--effect", "OR 0.9999"), "must not exceed 10,000,000"),
    ("means-primary", ("--effect", "MD 0.0001"), "must not exceed 10,000,000"),
    ("ordinal-primary", ("--effect", "OR 1.0001"), "must not exceed 10,000,000"),
    ("means-primary", ("--dropout", "0.9999999"), "patients randomised must not exceed"),
    ("means-primary", ("--set", "nature.outcomes.score.sd=0"), "must be above 0"),
    ("means-primary", ("--total", "3"), "the number of patients must leave a degree of freedom"),
    ("log-means-primary", ("--total", "3"), "patients on treatment must be from 2"),
    ("sepsis", ("--effect", "OR 0.99", "--exact", "fisher"), "must not exceed 20,000"),
    ("counts-primary", ("--by", "simulation", "--effect", "RR 0.999"), "is not reached with"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "message"), BAD)
def test_regression_a_bad_request_is_explained_with_a_remedy_that_can_be_typed(
    name, words, message
):
    with pytest.raises((DesignError, RequestError, ProtocolError)) as caught:
        sized(name, *words)
    assert message in str(caught.value)
    for problem in caught.value.problems:
        assert problem.remedy
        assert not re.search(NAMES_OF_PYTHON, f"{problem.field} {problem.value} {problem.remedy}")


def test_regression_the_power_of_a_size_is_told_though_no_size_has_the_power_asked_for():
    options = parse(["size", "sepsis", "--effect", "OR 0.9999", "--total", "400"])
    resolved = load_template(options.template)
    plan = plan_size(resolved, size_request(resolved, options)[0])
    found = plan.result(replicates=200)
    assert plan.power_achieved == pytest.approx(0.025, abs=1e-3)
    assert found.texts["paragraph"].startswith("200 patients")
