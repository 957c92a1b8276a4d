"""``trialsim size --by simulation``: counts, competing risks, mixed models; looks of lifetimes."""

from __future__ import annotations

from math import ceil, exp, log

import pytest
from scipy import stats

from conftest import CORPUS
from trialsim import RequestError, load_template
from trialsim.cli.parser import parse
from trialsim.protocol.design import Trigger
from trialsim.report.screens.size_screen import size_screen
from trialsim.studies.size.planned import plan_size
from trialsim.studies.size.request import size_request
from trialsim.studies.size.searched import SearchedSize

Z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)


def planned(name, *words):
    """What a command line plans."""
    template = str(CORPUS / "valid" / f"{name}.yaml") if name.endswith("primary") else name
    options = parse(["size", template, *words])
    resolved = load_template(options.template, variant=options.variant, settings=options.settings)
    return plan_size(resolved, size_request(resolved, options)[0])


def searched(name, *words, seed=1):
    """The size found by simulation, with its 95% interval, and power there with its MCSE."""
    plan = planned(name, *words, "--by", "simulation")
    assert isinstance(plan, SearchedSize)
    found = plan.by_simulation(replicates=1000, seed=seed)
    (size,) = (row for row in found.rows if row.measure.value == "n_total")
    (power,) = (row for row in found.rows if row.measure.value == "power_simulated")
    assert abs(power.value - 0.8) < 4 * power.mcse + 0.015
    return size, found, plan


def test_reference_counts_are_sized_as_by_the_negative_binomial_formula():
    """Zhu and Lakkis (2014), variances under the effect, mean exposure of a patient."""
    size, found, plan = searched("counts-primary")
    years = (1 - exp(-0.4 * 90 / 365.25)) / 0.4
    means = [4 * years, 0.7 * 4 * years]
    per_arm = (Z / log(0.7)) ** 2 * sum(1 / mean + 0.5 for mean in means)
    assert size.lower < 2 * per_arm * 1.05
    assert size.upper > 2 * per_arm * 0.95
    assert "lost as the template says" in found.texts["paragraph"]
    assert "negative-binomial" in size_screen(plan, found, 1, "trialsim")


def test_reference_competing_risks_are_sized_as_by_the_events_of_schoenfeld():
    size, _, _ = searched("competing-primary")
    events = 4 * (Z / log(0.6)) ** 2
    year, lost = 90 / 365.25, 0.3

    def incidence(hazard):
        total = hazard + 1 + lost  # the competing hazard is 1
        return hazard / total * (1 - exp(-total * year))

    total = events / ((incidence(2) + incidence(2 * 0.6)) / 2)
    assert size.lower < 1.05 * total
    assert size.upper > 0.95 * total


def test_property_a_mixed_model_needs_no_more_patients_than_the_t_test_at_the_last_visit():
    mmrm = ("--set", "protocol.endpoints.score.analysis=mmrm")
    t_test = planned("means-primary", "--set", "protocol.endpoints.score.analysis=t-test")
    size, _, _ = searched("means-primary", *mmrm)
    assert size.upper < t_test.total_with_loss


def test_property_a_size_by_simulation_is_that_of_the_formula_where_there_is_one():
    size, _, _ = searched("means-primary")
    assert size.lower < planned("means-primary").total_with_loss < size.upper + 2


def test_property_the_ratio_asked_for_is_simulated_and_a_total_is_in_whole_units():
    plan = planned("counts-primary", "--by", "simulation", "--ratio", "2:1")
    assert plan.start.ratio == (2, 1)
    assert plan.start.n_total % 3 == 0
    assert planned("counts-primary", "--by", "simulation").start.ratio == (1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("delayed-effect", "--variant", "maxcombo"), "Add --by simulation."),
        (("counts-primary", "--by", "simulation", "--total", "100"), "--total cannot stand"),
        (("counts-primary", "--by", "simulation", "--margin", "1.2"), "--margin must belong to"),
        (("counts-primary", "--effect", "OR 0.7"), 'Write "RR 0.7".'),
        (("competing-primary", "--effect", "RR 0.7"), 'Write "HR 0.70".'),
    ],
)
def test_regression_what_cannot_stand_together_is_refused(words, message):
    with pytest.raises(RequestError) as caught:
        planned(*words)
    assert message in str(caught.value)


def test_regression_looks_at_lifetimes_that_end_on_a_date_are_held_at_events():
    """A share of no stated events read memory that nobody had written: no two runs agreed."""
    words = ("--effect", "HR 0.7", "--looks", "0.6,1", "--spending", "ldof")
    plan = planned("delayed-effect", *words)
    first, last = plan.simulated_protocol.looks
    assert first.at == Trigger(events=ceil(0.6 * plan.events))
    assert last.at.calendar is not None
    found = plan.simulate(replicates=2000, seed=1)
    assert found.n == 2000
    assert found.value == plan.simulate(replicates=2000, seed=1).value
    assert abs(found.value - plan.power_achieved) < 4 * found.mcse + 0.02


SITES = "sites-and-a-risk"


def by_calendar(*words):
    """Sites enrol; an interim look on a date, which never stops a trial."""
    looks = "protocol.looks=[{at: {calendar: 8 mo}, futility_z: -9}, {at: {information: 1}}]"
    effect = ("--effect", "OR 0.5", "--set", looks)
    return planned(str(CORPUS / "valid" / f"{SITES}.yaml"), *effect, *words)


def test_analytic_looks_on_a_date_that_stop_nothing_need_the_size_without_looks():
    plan = by_calendar()
    assert isinstance(plan, SearchedSize)
    assert plan.truth.sites is not None
    found = plan.by_simulation(replicates=1000, seed=3)
    (size,) = (row for row in found.rows if row.measure.value == "n_total")
    fixed = planned(str(CORPUS / "valid" / f"{SITES}.yaml"), "--effect", "OR 0.5")  # by formula
    assert size.lower < 1.02 * fixed.total
    assert size.upper > 0.98 * fixed.total
    told = found.texts["paragraph"]
    assert "found by simulation, since looks by calendar or enrolment see" in told
    assert "sites enrol at the same pace at every size" in told


@pytest.mark.parametrize(
    "words",
    [("--total", "300"), ("--dropout", "0.1"), ("--exact", "fisher"), ("--grid",)],
)
def test_regression_what_needs_a_formula_is_refused_beside_looks_on_a_date(words):
    with pytest.raises(RequestError, match="needs looks whose information is known") as refused:
        by_calendar(*words)
    (problem,) = refused.value.problems
    assert problem.field == words[0]
    assert problem.remedy.startswith("Leave it out")
    if words[0] == "--exact":  # which has no looks at all
        assert "--looks" not in problem.remedy
        return
    remedy = ("--looks", "0.5,1", "--bounds", "obf")
    assert " ".join(remedy) in problem.remedy
    assert by_calendar(*words, *remedy).total_with_loss > 0
