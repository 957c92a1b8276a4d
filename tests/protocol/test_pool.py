"""The pool that doses fill: against summation dose by dose, and its differential equation."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from trialsim import load_template
from trialsim.protocol.truths.pool import Dosing, EffectorPool

YEAR = 365.25


def dosing(dose="1.6 mg", every="3.5 d", lasting="26 wk"):
    return Dosing.model_validate({"dose": dose, "every": every, "for": lasting})


def pool(half_life="8 wk", half_at=10.0, most=0.8):
    return EffectorPool.model_validate(
        {
            "half_life": half_life,
            "half_at": half_at,
            "reference_dose": "1.6 mg",
            "hazard_per_year_at_most": most,
        }
    )


def dose_by_dose(rate, dose, every, n, day):
    return sum(dose * exp(-rate * (day - j * every)) for j in range(n) if j * every <= day)


@given(
    st.floats(1, 400),
    st.floats(0.1, 5),
    st.sampled_from([0.5, 1.0, 3.5, 7.0, 28.0]),
    st.integers(1, 300),
    st.floats(0, 1500),
)
def test_analytic_the_pool_is_the_sum_of_its_doses(half_life, dose, every, n, day):
    whole = EffectorPool.model_validate(
        {
            "half_life": f"{half_life:.4f} d",
            "half_at": 10,
            "reference_dose": "1 mg",
            "hazard_per_year_at_most": 1,
        }
    )
    given_ = dosing(f"{dose:.4f} mg", f"{every} d", f"{n * every:.4f} d")
    filling = whole.filled_by(given_)
    assert filling is not None
    assert given_.n_doses == n
    expected = dose_by_dose(filling.per_day, filling.dose, every, n, day)
    assert filling.on(day) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("half_life", ["3 d", "8 wk", "26 wk"])
@pytest.mark.parametrize("every", ["1 d", "3.5 d"])
def test_reference_response_is_that_of_the_differential_equations_to_1e6(half_life, every):
    """The pool and the share without response, solved by scipy from dose to dose."""
    control, most, half_at = 0.00018, 0.8 / YEAR, 10.0
    rate = log(2) / pool(half_life).half_life.days
    plan = dosing(every=every)

    def slopes(_, y):
        return [-rate * y[0], -(control + most * y[0] / (half_at + y[0])) * y[1]]

    state, day = np.array([0.0, 1.0]), 0.0
    times = [j * plan.every.days for j in range(plan.n_doses)] + [546.0]
    for start, end in pairwise(times):
        state = state + np.array([1.0, 0.0])
        solved = solve_ivp(slopes, (start, end), state, rtol=1e-10, atol=1e-12)
        state, day = solved.y[:, -1], end
    resolved = load_template("chronic-hepatitis-b", variant="dosing")
    blank = resolved.truth(resolved.scenarios(["no-effect"])[0]).courses.control
    constant = replace(blank, breaks=(), response=(control,))
    own = pool(half_life)
    filling = own.filled_by(plan)
    course = own.course(constant, filling, 546.0, most)
    assert filling.on(day) == pytest.approx(state[0], rel=1e-6)
    assert course.probability_of_response(day) == pytest.approx(1 - state[1], abs=1e-6)


def test_analytic_every_shipped_pool_reaches_what_chien_saw_under_26_weeks():
    resolved = load_template("chronic-hepatitis-b", variant="dosing")
    pools = [s for s in resolved.template.scenarios if s.response.pool]
    assert len(pools) == 3
    for scenario in pools:
        _, treated = resolved.truth(scenario).risks_on(18 * 30.4375)
        assert treated == pytest.approx(13 / 32, abs=1e-9)


@given(st.floats(1, 400), st.floats(0.1, 100), st.sampled_from(["1 d", "3.5 d", "14 d"]))
def test_property_a_pool_that_adds_no_hazard_is_control(half_life, half_at, every):
    own = pool(f"{half_life:.3f} d", half_at, 0.0)
    resolved = load_template("chronic-hepatitis-b")
    control = resolved.truth(resolved.scenarios(["mutchnick-1999"])[0]).courses.control
    course = own.course(control, own.filled_by(dosing(every=every)), 700.0, 0.0)
    for day in (100.0, 365.25, 547.0, 900.0):
        expected = control.probability_of_response(day)
        assert course.probability_of_response(day) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weeks", [2, 8, 26])
def test_property_the_same_drug_per_week_given_daily_fills_nearly_the_same_pool(weeks):
    """1.6 mg twice weekly and 3.2/7 mg daily: the drug of 1.25 days apart at most, on average."""
    own = pool(f"{weeks} wk")
    twice, daily = own.filled_by(dosing()), own.filled_by(dosing("0.457143 mg", "1 d"))
    means = [sum(f.on(100 + k / 50) for k in range(350)) / 350 for f in (twice, daily)]
    assert 0 < means[0] - means[1] < 2 / 7 * 1.25
