"""Response and relapse: simulated against exact probabilities and enumeration."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise, product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import binom, fisher_exact, gamma, lognorm

from trialsim import load_template, plan_simulation
from trialsim.analyse.response import responding
from trialsim.engine.blocks import Job, draw_patients
from trialsim.engine.run import run
from trialsim.generate.candidates import assign, draw_candidates
from trialsim.generate.response import draw_courses
from trialsim.kernels.multistate import state_probabilities, times_to_event
from trialsim.protocol.endpoints import Counted
from trialsim.protocol.scenario import Courses, Truth
from trialsim.protocol.truths.course import (
    Course,
    ImpossibleCourseError,
    calibrated_hazard,
    log_normal_mix,
)
from trialsim.protocol.truths.onset import Onset
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, Measure

HAZARDS = st.floats(0, 0.01)
CONTROL = "scenarios.chien-1998.response.control"
FIXED = [
    "protocol.sample_size={per_arm: {thymalfasin: 32, untreated: 32}}",
    "protocol.allocation={}",
]
AT_18_MONTHS = [
    *FIXED,
    "protocol.visits=[{at: 26 wk}, {at: 18 mo}]",
    "protocol.endpoints.response-12mo-after.at=18 mo",
]


def enumerated(n, p1, p0, test):
    a, b = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    probability = binom.pmf(a, n, p1) * binom.pmf(b, n, p0)
    if test == "fisher":
        p = np.array(
            [
                [fisher_exact([[x, n - x], [y, n - y]]).pvalue for y in range(n + 1)]
                for x in range(n + 1)
            ]
        )
        return (probability * (p <= 0.05)).sum()
    pooled = (a + b) / (2 * n)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(
            pooled * (1 - pooled) > 0, (a - b) / n / np.sqrt(pooled * (1 - pooled) * 2 / n), 0
        )
    return (probability * (np.abs(z) >= 1.959963984540054)).sum()


@pytest.mark.parametrize(
    ("analysis", "scenario", "p1", "stated"),
    [
        ("chi-square", "chien-1998", 13 / 32, 0.8607),
        ("fisher", "chien-1998", 13 / 32, 0.7894),
        ("chi-square", "no-effect", 3 / 32, 0.0551),
        ("fisher", "no-effect", 3 / 32, 0.0096),
    ],
)
def test_analytic_power_of_chien_at_18_months_within_4_mcse(analysis, scenario, p1, stated):
    exact = enumerated(32, p1, 3 / 32, analysis)
    assert exact == pytest.approx(stated, abs=5e-5)
    analysed = f"protocol.endpoints.response-12mo-after.analysis={analysis}"
    resolved = load_template(
        "chronic-hepatitis-b", settings=[*AT_18_MONTHS, analysed, "observed=[]"]
    )
    rows = plan_simulation(resolved, [scenario]).simulate(replicates=10_000).rows
    power = next(r for r in rows if r.measure is Measure.POWER and r.headline)
    assert abs(power.value - exact) < 4 * sqrt(exact * (1 - exact) / 10_000)  # 4 MCSE


def test_analytic_power_at_the_end_of_therapy_is_far_below_alpha():
    """Both arms at about 3%: a test of 32 v 32 rarely can reject at all."""
    resolved = load_template("chronic-hepatitis-b", settings=[*FIXED, "observed=[]"])
    truth = resolved.truth(resolved.scenarios(["chien-1998"])[0])
    control, treated = truth.risks_on(182.0)
    assert control == treated
    exact = enumerated(32, treated, control, "chi-square")
    assert exact == pytest.approx(0.014, abs=5e-4)
    rows = plan_simulation(resolved, ["chien-1998"]).simulate(replicates=10_000).rows
    power = next(
        r for r in rows if r.measure is Measure.POWER and r.endpoint == "response-end-of-therapy"
    )
    assert abs(power.value - exact) < 4 * sqrt(exact * (1 - exact) / 10_000)  # 4 MCSE


@pytest.mark.parametrize(
    ("scenario", "days", "control", "treated"),
    [
        ("chien-1998", 18 * 30.4375, 3 / 32, 13 / 32),
        ("mutchnick-1999", 12 * 30.4375, 2 / 48, 7 / 49),
        ("mutchnick-1999", 18 * 30.4375, 6 / 48, 12 / 49),
    ],
)
def test_analytic_calibration_meets_the_published_points(scenario, days, control, treated):
    resolved = load_template("chronic-hepatitis-b")
    truth = resolved.truth(resolved.scenarios([scenario])[0])
    assert truth.risks_on(days) == pytest.approx((control, treated), abs=1e-6)


@given(st.lists(HAZARDS, min_size=1, max_size=4), HAZARDS, HAZARDS, HAZARDS, st.floats(1, 2000))
def test_analytic_closed_form_equals_matrix_exponentials(hazards, relapse, death, loss, day):
    breaks = tuple(200.0 * (i + 1) for i in range(len(hazards)))
    course = Course(breaks, tuple(hazards), relapse, death, loss)
    exact = state_probabilities(np.array([day]), breaks, tuple(hazards), relapse, death, loss)
    assert exact.sum() == pytest.approx(1.0, abs=1e-12)
    assert course.probability_of_response(day) == pytest.approx(exact[0, 1], abs=1e-12)


@given(st.floats(0.001, 0.9), HAZARDS, st.floats(0, 0.002), st.floats(0, 0.001))
def test_property_a_calibrated_hazard_reaches_its_target_or_says_it_cannot(
    target, before, relapse, leaving
):
    hazard = None
    with suppress(ImpossibleCourseError):
        hazard = calibrated_hazard(
            [(182.0, before)], 365.0, target, relapse=relapse, leaving=leaving
        )
    if hazard is None:  # then no hazard of a fine grid reaches it either
        grid = [0.0, *np.geomspace(1e-7, 1, 400)]
        reached = [
            Course((182.0, 547.0), (before, rate), relapse, leaving).probability_of_response(547.0)
            for rate in grid
        ]
        assert not min(reached) + 1e-9 < target < max(reached)
        return
    course = Course((182.0, 547.0), (before, hazard), relapse, leaving, 0.0)
    assert course.probability_of_response(547.0) == pytest.approx(target, abs=1e-9)


@given(
    st.lists(st.just(0.0) | st.floats(1e-12, 0.01), min_size=1, max_size=4), st.floats(0.001, 0.999)
)
def test_property_event_times_invert_the_cumulative_hazard(hazards, u):
    breaks = tuple(100.0 * (i + 1) for i in range(len(hazards) - 1))
    (time,) = times_to_event(np.array([u]), breaks, tuple(hazards))
    if np.isfinite(time):
        course = Course((*breaks, np.inf), tuple(hazards))
        cumulative = sum(length * hazard for length, hazard in course.pieces(float(time)))
        assert cumulative == pytest.approx(-np.log1p(-u), rel=1e-9)
    else:
        assert hazards[-1] == 0


@pytest.mark.parametrize("model", range(10))
def test_analytic_response_at_every_visit_within_4_mcse_of_exact(model):
    """Ten random models, visits anywhere in their windows, some missed."""
    rng = np.random.default_rng(model)
    protocol = load_template(
        "chronic-hepatitis-b",
        settings=[
            "protocol.sample_size.total=200",
            "protocol.visits=[{at: 3 mo, window: 30 d}, {at: 26 wk, window: 14 d}, "
            "{at: 12 mo, window: 60 d}, {at: 18 mo, window: 1 d}]",
            "protocol.endpoints.response-12mo-after.at=18 mo",
        ],
    ).template.protocol
    ends = (91.0, 182.0, 400.0, 700.0)
    rates = {name: rng.uniform(0, 1e-3) for name in ("relapse", "death", "loss")}
    arms = [Course(ends, tuple(rng.uniform(0, 3e-3, 4)), **rates) for _ in range(2)]
    missed = rng.uniform(0, 0.3)
    truth = Truth("x", "x", "x", 0.1, 0.2, 0.0, (), courses=Courses(arms[0], arms[1], missed))
    streams, plan = Streams(model), AnalysisPlan.of(protocol)
    for visit, (day, window) in enumerate(protocol.visit_days):
        at_visit = AnalysisPlan(**{**plan.__dict__, "visit": visit})
        sustained = AnalysisPlan(**{**at_visit.__dict__, "counted": Counted.SUSTAINED})
        hits, n = np.zeros(2), np.zeros(2)
        for block in range(2):
            candidates = draw_candidates(protocol, (), 0.0, streams, block)
            assigned = np.random.default_rng(block).random(candidates.strata.shape) < 0.5
            (batch,) = draw_courses(protocol, candidates, assigned, (truth,), streams, block)
            seen = responding(batch, at_visit)
            assert (responding(batch, sustained) == seen).all()  # relapse is for good here
            for arm in (0, 1):
                hits[arm] += seen[assigned == bool(arm)].sum()
                n[arm] += (assigned == bool(arm)).sum()
        days = np.linspace(day - window, day + window, 201)
        for arm, course in enumerate(arms):
            exact = state_probabilities(days, course.breaks, course.response, **rates)[:, 1]
            p = (1 - missed) * np.trapezoid(exact, days) / (2 * window)
            assert abs(hits[arm] / n[arm] - p) < 4 * sqrt(p * (1 - p) / n[arm])  # 4 MCSE


def test_property_scenarios_and_read_outs_share_patients_and_workers_do_not_matter():
    resolved = load_template("chronic-hepatitis-b", settings=["observed=[]"])
    plan = plan_simulation(resolved)
    one = run(plan.jobs, n_replicates=600, seed=4)
    two = run(plan.jobs, n_replicates=600, seed=4, workers=2)
    for a, b in zip(one[0].results, two[0].results, strict=True):
        for x, y in zip(a, b, strict=True):
            assert np.array_equal(x.estimate, y.estimate)
    early_null, early_chien = one[0].results[0][1], one[0].results[1][1]
    assert np.array_equal(early_null.estimate, early_chien.estimate)  # alike until therapy ends


def test_reference_observed_trials_are_read_at_their_own_time():
    """Chien 1998 read out 18 months, Mutchnick 1999 12 months after entry."""
    plan = plan_simulation(load_template("chronic-hepatitis-b"))
    days = {job.unit: job.plans[0].day for job in plan.jobs}
    assert days["chien-1998"] == pytest.approx(18 * 30.4375)
    assert days["mutchnick-1999"] == pytest.approx(12 * 30.4375)
    assert isinstance(plan.jobs[0], Job)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            f"{CONTROL}=[{{until: 18 mo, reaches: 0.5}}, {{until: 12 mo, reaches: 0.6}}]",
            "must end after day",
        ),
        (
            f"{CONTROL}=[{{until: 12 mo, reaches: 0.5}}, {{until: 18 mo, reaches: 0.2}}]",
            "cannot reach 0.2: only 0.5 to",
        ),
        (
            f"{CONTROL}=[{{until: 12 mo, hazard_per_year: -1}}]",
            "must be at least 0",
        ),
        ("nature.response.loss_per_year=5", "cannot reach"),
        ("protocol.endpoints.response-12mo-after.at=24 mo", "comes after the last visit"),
        ("protocol.endpoints.response-12mo-after.at=25 mo", "comes after the last visit"),
        ("protocol.endpoints.response-12mo-after.at=7 mo", "is not the day of a visit"),
        ("protocol.visits=[{at: 12 mo}, {at: 18 mo}]", "comes before the first visit"),
    ],
)
def test_regression_impossible_courses_and_read_outs_are_refused(setting, words):
    from trialsim import ProtocolError

    with pytest.raises(ProtocolError) as caught:
        load_template("chronic-hepatitis-b", settings=[setting])
    assert any(words in str(problem) for problem in caught.value.problems), str(caught.value)


def test_property_assignment_is_by_the_protocol(tmp_path):
    protocol = load_template("chronic-hepatitis-b").template.protocol
    factors = load_template("chronic-hepatitis-b").template.nature.factors
    candidates = draw_candidates(protocol, factors, 0.0, Streams(1), 0)
    treated = assign(candidates, protocol, Streams(1), 0).sum(axis=0)
    assert np.abs(treated - 32).max() <= 2  # two strata, blocks of four


@pytest.mark.parametrize("rate", [1.7, 50.0, 600.0])
def test_regression_steep_hazards_neither_overflow_nor_leave_probability(rate):
    course = Course((548.0,), (rate,), 0.05, 0.0, 0.0)
    assert 0 <= course.probability_of_response(900.0) <= 1
    other = Course((548.0,), (0.05,), rate, 0.0, 0.0)
    assert 0 <= other.probability_of_response(900.0) <= 1


def test_reference_52_weeks_are_fitted_to_group_b_and_said_to_be_assumed_beyond():
    """Chien 1998: 9 of 34 in group B against 3 of 32 without treatment, at 18 months."""
    resolved = load_template("chronic-hepatitis-b", variant="fifty-two-weeks")
    scenario = resolved.scenarios(["chien-1998"])[0]
    truth = resolved.truth(scenario)
    assert truth.risks_on(18 * 30.4375) == pytest.approx((3 / 32, 9 / 34), abs=1e-6)
    assert resolved.status_of(scenario) == "assumed"


def test_property_only_a_read_out_at_a_published_point_is_more_than_assumed():
    resolved = load_template("chronic-hepatitis-b")
    chien, mutchnick = resolved.scenarios(["chien-1998", "mutchnick-1999"])
    assert resolved.status_of(chien) == "derived"  # counts behind the published percentages
    assert resolved.status_of(chien, day=182.0) == "assumed"  # like control until therapy ends
    assert resolved.status_of(mutchnick) == "assumed"  # placed at 18 months
    assert resolved.status_of(mutchnick, day=12 * 30.4375) == "published"


def test_analytic_missed_visits_are_part_of_the_truth():
    settings = ["nature.response.missed_visits=0.3", "observed=[]"]
    resolved = load_template("chronic-hepatitis-b", settings=settings)
    rows = plan_simulation(resolved, ["chien-1998"]).simulate(replicates=4000).rows
    bias = [r for r in rows if r.measure is Measure.ESTIMATE_MEDIAN]
    truth = resolved.truth(resolved.scenarios(["chien-1998"])[0])
    assert truth.risks_on(547.875) == pytest.approx((0.7 * 3 / 32, 0.7 * 13 / 32), abs=1e-6)
    assert bias


UNLIKE = {
    "again": ["nature.response.relapse_per_year=1.5", "nature.response.again_per_year=2"],
    "frailty": ["nature.response.frailty_sd=1.2", "nature.response.relapse_per_year=0.4"],
    "levels": [
        "nature.response.hazard_ratio_by={factor: fibrosis, ratios: {advanced: 0.3}}",
        "nature.response.loss_per_year=0.1",
    ],
    "log-normal onset": [
        "scenarios.chien-1998.response.treated=[{until: 26 wk, as_control: true}, "
        "{until: 24 mo, onset: {share: 0.45, median: 6 mo, log_sd: 0.6}}]"
    ],
    "gamma onset": [
        "scenarios.chien-1998.response.treated=[{until: 26 wk, as_control: true}, "
        "{until: 24 mo, onset: {share: 0.45, median: 6 mo, shape: 4}}]",
        "nature.response.relapse_per_year=0.5",
        "nature.response.again_per_year=0.5",
    ],
}


COMES_AGAIN = ["nature.response.relapse_per_year=1.5", "nature.response.again_per_year=2"]
VISITS = ("26 wk", "9 mo", "12 mo", "15 mo", "18 mo")
SUSTAINED = [
    *COMES_AGAIN,
    "protocol.sample_size={total: 400}",
    f"protocol.visits=[{', '.join(f'{{at: {at}}}' for at in VISITS)}]",
    "protocol.endpoints.response-12mo-after.at=18 mo",
    "protocol.endpoints.response-12mo-after.counted=sustained",
    "nature.response.loss_per_year=0.1",
    "nature.response.missed_visits=0.2",
]


def by_enumeration(course, days, missed):
    """P(in response on the last day, and at every visit kept since the first that saw one)."""
    breaks, hazards = (0.0, *course.breaks, np.inf), (*course.response, course.response[-1])
    loss = course.loss * np.array([1.0, *course.loss_ratios])

    def between(since, until, times):
        moved = np.eye(3)
        for start, end, hazard in zip(breaks, breaks[1:], hazards, strict=False):
            if (length := min(end, until) - max(start, since)) > 0:
                q = np.zeros((3, 3))
                q[0, 1], q[1, 2], q[2, 1] = times * hazard, course.relapse, course.again
                np.fill_diagonal(q, -q.sum(axis=1) - course.death - loss)
                moved = moved @ expm(q * length)
        return moved

    total = 0.0
    for share, times in course.mix:
        steps = [between(a, b, times) for a, b in pairwise((0.0, *days))]
        for kept in product((False, True), repeat=len(days) - 1):
            for first in range(len(days)):  # the visit that sees the first response
                state, chance = np.array([1.0, 0.0, 0.0]), 1 - missed
                for number, here in enumerate((*kept, True)):
                    state = state @ steps[number]
                    if number < len(days) - 1:
                        chance *= 1 - missed if here else missed
                    if here:
                        allowed = (1.0, 0.0, 1.0) if number < first else (0.0, 1.0, 0.0)
                        state = state * allowed
                total += share * chance * state[1] * (*kept, True)[first]
    return total


@pytest.mark.parametrize(
    "further",
    [
        [],
        ["nature.response.hazard_ratio_by={factor: fibrosis, ratios: {advanced: 0.3}}"],
        ["nature.response.loss_hazard_ratios={response: 0.2, relapse: 4, treated: 1.5}"],
    ],
    ids=["alike", "by fibrosis", "loss by state"],
)
def test_analytic_sustained_response_that_may_come_again_is_exact_and_simulated(further):
    resolved = load_template("chronic-hepatitis-b", settings=[*SUSTAINED, *further])
    job = plan_simulation(resolved, ["chien-1998"]).jobs[0]
    (truth,), (plan, *_) = job.truths, job.plans
    days = [day for day, _ in job.protocol.visit_days]
    courses = truth.courses
    exact = [by_enumeration(own, days, 0.2) for own in (courses.control, courses.treated)]
    found = truth.risks_on(days[-1], Counted.SUSTAINED)
    assert found == pytest.approx(exact, abs=1e-10)
    assert found[1] < truth.risks_on(days[-1])[1] - 0.02  # some came back between
    assert (truth.control_risk, truth.treated_risk) == found
    hits, n = np.zeros(2), np.zeros(2)
    for block in range(4):
        batch = draw_patients(job, 12, block, frozenset())[1][0]["response-12mo-after"]
        seen = responding(batch, plan)
        for arm in (0, 1):
            hits[arm] += seen[batch.assigned == bool(arm)].sum()
            n[arm] += (batch.assigned == bool(arm)).sum()
    for arm, p in enumerate(found):
        assert abs(hits[arm] / n[arm] - p) < 4 * sqrt(p * (1 - p) / n[arm])  # 4 MCSE


@pytest.mark.parametrize("name", UNLIKE)
def test_analytic_patients_are_in_response_as_the_course_says_at_every_visit(name):
    settings = ["protocol.sample_size={total: 400}", *UNLIKE[name]]
    resolved = load_template("chronic-hepatitis-b", settings=settings)
    job = plan_simulation(resolved, ["chien-1998"]).jobs[0]
    (truth,) = job.truths
    drawn = [draw_patients(job, 11, block, frozenset())[1][0] for block in range(4)]
    batches = [own["response-12mo-after"] for own in drawn]
    for day, _ in job.protocol.visit_days:
        exact = truth.risks_on(day)
        for arm in (0, 1):
            here = np.concatenate(
                [
                    batch.in_response(np.full(batch.assigned.shape, day))[
                        batch.assigned == bool(arm)
                    ]
                    for batch in batches
                ]
            )
            staying = np.exp(-(truth.courses.control.death + truth.courses.control.loss) * day)
            p = exact[arm] / staying  # whether or not they are still followed
            assert abs(here.mean() - p) <= 4 * sqrt(p * (1 - p) / len(here)) + 1e-12


@given(HAZARDS, HAZARDS, HAZARDS, st.floats(1, 800))
def test_analytic_response_after_relapse_agrees_with_matrix_exponentials(h, relapse, again, day):
    course = Course((30.0,), (h, h / 2), relapse, 0.0005, 0.001, again)
    exact = state_probabilities(np.array([day]), (30.0,), (h, h / 2), relapse, 0.0005, 0.001, again)
    assert course.probability_of_response(day) == pytest.approx(exact[0, 1], abs=1e-12)


@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0, 3.0])
def test_analytic_frailty_of_a_constant_hazard_is_the_integral(sd):
    mix = np.array(log_normal_mix(sd))
    assert (mix[:, 0] * mix[:, 1]).sum() == pytest.approx(1.0, abs=1e-8)
    course = Course((), (0.003,), mix=log_normal_mix(sd))
    fine = np.linspace(-12, 12, 400_001)
    density = np.exp(-(fine**2) / 2)
    hazard = 0.003 * np.exp(sd * fine - sd**2 / 2)
    exact = ((1 - np.exp(-hazard * 400)) * density).sum() / density.sum()
    assert course.probability_of_response(400.0) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(
    "spread", [{"log_sd": 0.6}, {"shape": 4.0}, {"shape": 0.7}, {"shape": 0.1}]
)
def test_reference_onset_agrees_with_scipy_at_the_end_of_every_week(spread):
    onset = Onset.model_validate({"share": 0.4, "median": "6 mo", **spread})
    median = onset.median.days
    if "log_sd" in spread:
        own = lognorm(spread["log_sd"], scale=median)
    else:
        own = gamma(spread["shape"], scale=median / gamma(spread["shape"]).median())
    left, start = 1.0, 50.0
    for end, hazard in onset.pieces(50.0, 700.0):
        left *= np.exp(-hazard * (end - start))
        assert 1 - left == pytest.approx(0.4 * own.cdf(end - 50.0), abs=1e-10)
        start = end


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ["nature.response.hazard_ratio_by={factor: fibrosis, ratios: {advancd: 0.3}}"],
            "is no level of 'fibrosis'",
        ),
        (["nature.response.hazard_ratio_by={factor: age, ratios: {old: 2}}"], "is no factor with"),
        (
            [
                "nature.response.hazard_ratio_by={factor: fibrosis, "
                "ratios: {advanced: 2, absent-or-mild: 1}}"
            ],
            "must leave out a level",
        ),
        (["nature.response.frailty_sd=9"], "must have a frailty_sd from 0 to 3"),
        (
            ["nature.response={relapse_per_year: 100, again_per_year: 100}"],
            "must not come and go more than 12 times",
        ),
        (
            [f"{CONTROL}=[{{until: 18 mo, onset: {{share: 0.4, median: 6 mo}}}}]"],
            "exactly one of",
        ),
    ],
)
def test_regression_unlike_patients_are_refused_where_they_cannot_be(settings, words):
    from trialsim import ProtocolError

    with pytest.raises(ProtocolError) as caught:
        load_template("chronic-hepatitis-b", settings=settings)
    assert any(words in str(problem) for problem in caught.value.problems), str(caught.value)
