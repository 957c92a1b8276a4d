"""Loss that differs by arm and state: closed form, matrix exponentials and simulation agree."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trialsim import ProtocolError, load_template, plan_simulation
from trialsim.analyse.missing import arm_shares
from trialsim.analyse.response import responding
from trialsim.engine.blocks import draw_patients
from trialsim.generate.response import _loss_by_state
from trialsim.kernels.multistate import state_probabilities
from trialsim.protocol.missing import MissingReadOut
from trialsim.protocol.truths.course import Course
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan

HAZARDS = st.floats(0, 0.01)
RATIOS = st.floats(0.05, 20)
_COURSES = [
    "scenarios.no-effect.response={control: [{until: 18 mo, hazard_per_year: 0.3}]}",
    "scenarios.mutchnick-1999.response={control: [{until: 18 mo, hazard_per_year: 0.3}]}",
    "scenarios.chien-1998.response={control: [{until: 18 mo, hazard_per_year: 0.3}], "
    "treated: [{until: 26 wk, as_control: true}, {until: 24 mo, hazard_per_year: 1.2}]}",
]
STRONG = [
    "protocol.sample_size={total: 400}",
    "nature.response={relapse_per_year: 0.6, death_per_year: 0.05, loss_per_year: 0.15, "
    "loss_hazard_ratios: {treated: 2, response: 4, relapse: 0.3}, missed_visits: 0.1}",
    "observed=[]",
    *_COURSES,
]
AGAIN = [STRONG[0], STRONG[1].replace("death", "again_per_year: 1.5, death"), *STRONG[2:]]
LEVELS = [
    STRONG[0],
    STRONG[1].replace(
        "death", "hazard_ratio_by: {factor: fibrosis, ratios: {advanced: 0.3}}, death"
    ),
    *STRONG[2:],
]


@given(
    st.lists(HAZARDS, min_size=1, max_size=4),
    st.tuples(HAZARDS, HAZARDS, HAZARDS, st.just(0.0) | HAZARDS),
    st.tuples(RATIOS, RATIOS),
    st.floats(1, 2000),
)
@example([0.0078125], (0.0078125, 0.0, 1e-10, 0.0), (0.5, 1.0), 614.0)  # nearly equal hazards
def test_analytic_probabilities_equal_matrix_exponentials(hazards, rates, ratios, day):
    relapse, death, loss, again = rates
    breaks = tuple(200.0 * (i + 1) for i in range(len(hazards)))
    course = Course(breaks, tuple(hazards), relapse, death, loss, again, loss_ratios=ratios)
    (exact,) = state_probabilities(
        np.array([day]), breaks, tuple(hazards), relapse, death, loss, again, ratios
    )
    assert exact.sum() == pytest.approx(1.0, abs=1e-12)
    assert course.probability_of_response(day) == pytest.approx(exact[1], abs=1e-10)
    assert course.probability_followed(day) == pytest.approx(exact[:3].sum(), abs=1e-10)


@pytest.mark.parametrize("settings", [STRONG, AGAIN, LEVELS])
def test_analytic_response_at_every_visit_within_4_mcse_of_exact(settings):
    resolved = load_template("chronic-hepatitis-b", settings=settings)
    job = plan_simulation(resolved, ["chien-1998"]).jobs[0]
    (truth,) = job.truths
    plan = job.plans[0]
    batches = [draw_patients(job, 7, b, frozenset())[1][0][plan.endpoint] for b in range(3)]
    for visit, (day, window) in enumerate(job.protocol.visit_days):
        at_visit = AnalysisPlan(**{**plan.__dict__, "visit": visit})
        days = np.linspace(day - window, day + window, 41) if window else np.array([day])
        exact = np.array([truth.risks_on(d) for d in days])
        exact = np.trapezoid(exact, days, axis=0) / (2 * window) if window else exact[0]
        for arm, course in enumerate((truth.courses.control, truth.courses.treated)):
            own = [batch.assigned == bool(arm) for batch in batches]
            seen = np.concatenate(
                [responding(b, at_visit)[who] for b, who in zip(batches, own, strict=True)]
            )
            p = exact[arm]
            assert abs(seen.mean() - p) <= 4 * sqrt(p * (1 - p) / len(seen)), visit
            here = np.concatenate(
                [(b.visits[visit] < b.leaving)[w] for b, w in zip(batches, own, strict=True)]
            )
            followed = np.mean([course.probability_followed(d) for d in days])
            error = sqrt(followed * (1 - followed) / len(here))
            assert abs(here.mean() - followed) <= 4 * error + 1e-12, visit


def test_analytic_pieces_reach_their_targets_through_the_loss():
    """What is reached is seen, among all: it includes who was lost."""
    settings = ["nature.response.loss_per_year=0.1"]
    settings += ["nature.response.loss_hazard_ratios={treated: 1.5, response: 2, relapse: 0.5}"]
    for again in ([], ["nature.response.relapse_per_year=0.2", "nature.response.again_per_year=1"]):
        resolved = load_template("chronic-hepatitis-b", settings=[*settings, *again])
        truth = resolved.truth(resolved.scenarios(["chien-1998"])[0])
        assert truth.risks_on(18 * 30.4375) == pytest.approx((3 / 32, 13 / 32), abs=1e-9)
        assert truth.courses.treated.loss == pytest.approx(1.5 * truth.courses.control.loss)


def test_analytic_complete_cases_show_response_given_that_it_is_observed():
    """P(response | attended or known dead) is a ratio of probabilities of the states."""
    resolved = load_template("chronic-hepatitis-b", settings=STRONG)
    job = plan_simulation(resolved, ["chien-1998"]).jobs[0]
    (truth,), plan = job.truths, job.plans[0]
    asked = AnalysisPlan(**{**plan.__dict__, "missing": MissingReadOut.COMPLETE_CASE})
    found = []
    for block in range(4):
        batch = draw_patients(job, 3, block, frozenset())[1][0][plan.endpoint]
        found.append(arm_shares(batch, asked, Streams(3), block))
    response = np.concatenate([own.response for own in found], axis=1)
    missing = np.concatenate([own.missing for own in found], axis=1)
    for arm, own in enumerate((truth.courses.control, truth.courses.treated)):
        rates = (own.relapse, own.death, own.loss, own.again, own.loss_ratios)
        (p,) = state_probabilities(np.array([plan.day]), own.breaks, own.response, *rates)
        none, here, gone, dead, _ = p
        kept = 1 - truth.courses.missed_visits
        known = kept * (none + here + gone) + dead
        exact, biased_from = kept * here / known, here_without_loss(own, plan.day)
        assert exact < 0.9 * biased_from  # responders are lost most: downward
        values = response[arm]
        assert abs(values.mean() - exact) < 4 * values.std() / sqrt(len(values))
        values = missing[arm]
        assert abs(values.mean() - (1 - known)) < 4 * values.std() / sqrt(len(values))


def here_without_loss(course: Course, day: float) -> float:
    (p,) = state_probabilities(
        np.array([day]), course.breaks, course.response, course.relapse, course.death, 0.0
    )
    return float(p[1])


def test_analytic_loss_by_the_present_state_is_not_at_random_and_imputation_stays_biased():
    """Loss follows a response before any visit has seen it, so that what was seen cannot tell."""
    settings = [
        "protocol.sample_size={total: 400}",
        "protocol.visits=[{at: 6 mo}, {at: 18 mo}]",
        "protocol.endpoints.response-12mo-after.at=18 mo",
        "protocol.endpoints.response-end-of-therapy.at=6 mo",
        "scenarios.chien-1998.response={control: [{until: 18 mo, hazard_per_year: 0.8}]}",
        "nature.response={loss_per_year: 0.02, loss_hazard_ratios: {response: 40}}",
        "observed=[]",
    ]
    resolved = load_template("chronic-hepatitis-b", settings=settings)
    job = plan_simulation(resolved, ["chien-1998"]).jobs[0]
    (truth,), plan = job.truths, job.plans[0]
    asked = AnalysisPlan(**{**plan.__dict__, "missing": MissingReadOut.MULTIPLE_IMPUTATION})
    batch = draw_patients(job, 3, 0, frozenset())[1][0][plan.endpoint]
    values = arm_shares(batch, asked, Streams(3), 0).response[0]
    error = values.std(ddof=1) / sqrt(len(values))
    true = here_without_loss(truth.courses.control, plan.day)
    assert values.mean() < true - 20 * error


def test_property_loss_alike_in_all_states_and_arms_is_what_it_was():
    u = np.random.default_rng(1).random((50, 20))
    assigned = np.random.default_rng(2).random(u.shape) < 0.5
    response = np.stack([1000 * np.random.default_rng(3 + arm).random(u.shape) for arm in (0, 1)])
    relapse = response + 100.0
    course = Course((), (0.001,), loss=0.002)
    found = _loss_by_state(u, assigned, (course, course), ((response, relapse),))
    assert found == pytest.approx(-np.log1p(-u) / 0.002, rel=1e-12)


def test_property_nobody_is_lost_in_a_state_without_loss():
    u = np.random.default_rng(1).random((50, 20))
    never = np.full((2, *u.shape), np.inf)
    course = Course((), (0.001,), loss=0.0)
    found = _loss_by_state(u, u < 0.5, (course, course), ((never, never),))
    assert np.isinf(found).all()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "nature.response={loss_hazard_ratios: {treated: 2}}",
            "must state 'loss_per_year'",
        ),
        (
            "nature.response={loss_per_year: 0.01, frailty_sd: 1, "
            "loss_hazard_ratios: {treated: 2}}",
            "beside 'frailty_sd'",
        ),
        (
            "nature.response={loss_per_year: 0.01, loss_hazard_ratios: {response: 0}}",
            "must be above 0",
        ),
    ],
)
def test_regression_what_cannot_be_had_exactly_is_refused_by_name(setting, words):
    with pytest.raises(ProtocolError) as caught:
        load_template("chronic-hepatitis-b", settings=[setting])
    assert any(words in str(problem) for problem in caught.value.problems), str(caught.value)
