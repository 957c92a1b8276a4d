"""Time to event: events, patients and average hazard ratios of R packages, round trips."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from conftest import ROOT
from trialsim.errors import DesignError
from trialsim.protocol.survival import Enrolment, EventCourse, HazardCurve, Lifetimes
from trialsim.sizing.expected_events import (
    average_hazard_ratio,
    day_of_events,
    events_over_time,
    expected_events,
)
from trialsim.sizing.fixed import (
    SUPERIORITY,
    Allocation,
    Better,
    Level,
    NonInferiority,
    OppositeTail,
)
from trialsim.sizing.survival import (
    EventsFormula,
    SurvivalMethod,
    TimeToEvent,
    events_power,
    events_required,
    survival_power,
    survival_size,
)

FIGURES = {
    figure["id"]: figure["value"]
    for figure in json.loads((ROOT / "tests/reference/fixed_designs.json").read_text())["results"]
}
ONE_SIDED = Level(0.025, 1)
MONTH = 30.4375
YEAR = Enrolment.model_validate({"uniform": "12 mo"})


def course(rates, ratios, loss=0.0, enrolment=YEAR, n=(1, 1), breaks=()):
    """Hazards a month; breaks and the ends of ratios in months."""
    control = HazardCurve(tuple(b * MONTH for b in breaks), tuple(r / MONTH for r in rates))
    treated = control.times([(until * MONTH, ratio) for until, ratio in ratios])
    lost = HazardCurve((), (loss / MONTH,)) if loss else None
    constant = ratios[0][1] if len(ratios) == 1 else None
    lifetimes = Lifetimes("", (1.0,), (control,), (treated,), lost, constant)
    return EventCourse(lifetimes, enrolment, *n)


def median_12(hazard_ratio, **more):
    return course([log(2) / 12], [(inf, hazard_ratio)], **more)


DELAYED = course([log(2) / 12], [(4, 1), (inf, 0.6)], 0.001, n=(200, 200))


@pytest.mark.parametrize(
    ("formula", "hazard_ratio"),
    [
        (EventsFormula.SCHOENFELD, 0.5),
        (EventsFormula.HSIEH_FREEDMAN, 0.5),
        (EventsFormula.SCHOENFELD, 0.7),
        (EventsFormula.FREEDMAN, 0.7),
        (EventsFormula.HSIEH_FREEDMAN, 0.7),
        (EventsFormula.SCHOENFELD, 0.8),
        (EventsFormula.HSIEH_FREEDMAN, 0.8),
    ],
)
def test_reference_events_and_patients_of_rpact(formula, hazard_ratio):
    expected = FIGURES[f"rpact_events_{formula.replace('-', '')}_hr{hazard_ratio}"]
    target = events_required(hazard_ratio, formula, power=0.9, level=ONE_SIDED)
    assert target.events_unrounded == pytest.approx(expected["eventsFixed"], rel=1e-10)
    design = TimeToEvent(median_12(hazard_ratio), 30 * MONTH, SurvivalMethod(formula.value))
    found = survival_size(design, 0.9, ONE_SIDED)
    assert found.total_unrounded == pytest.approx(expected["nFixed"], rel=1e-10)
    assert found.events_unrounded == pytest.approx(expected["eventsFixed"], rel=1e-10)
    assert found.events == target.events


def test_reference_non_inferiority_of_rpact():
    expected, margin = FIGURES["rpact_ni_1.3"], NonInferiority(1.3, Better.LOWER)
    design = TimeToEvent(median_12(1.0), 30 * MONTH, hypothesis=margin)
    found = survival_size(design, 0.9, ONE_SIDED)
    assert found.total_unrounded == pytest.approx(expected["nFixed"], rel=1e-10)
    assert found.events_unrounded == pytest.approx(expected["eventsFixed"], rel=1e-10)


def test_reference_piecewise_enrolment_of_rpact():
    """15 a month for 6 months, then 30 a month up to 500 patients."""
    expected = FIGURES["rpact_piecewise_accrual"]
    pieces = [{"until": "6 mo", "share": 0.18}, {"until": "19.666667 mo", "share": 0.82}]
    enrolment = Enrolment.model_validate({"piecewise": pieces})
    found = median_12(0.7, enrolment=enrolment, n=(250, 250))
    day = day_of_events(found, expected["eventsFixed"])
    assert day / MONTH == pytest.approx(expected["studyDuration"], rel=1e-7)


def test_reference_power_of_rpact_with_loss():
    expected = FIGURES["rpact_power_n400_d250"]
    found = median_12(0.7, loss=0.001, n=(200, 200))
    assert day_of_events(found, 250) / MONTH == pytest.approx(expected["studyDuration"], rel=1e-7)
    power = events_power(0.7, 250, level=ONE_SIDED)
    assert power == pytest.approx(expected["overallReject"], rel=1e-10)


def test_reference_events_of_gs_design():
    target = events_required(0.5, power=0.9, level=ONE_SIDED)
    assert target.events == FIGURES["nEvents_schoenfeld_hr0.5"]["n"]
    found = expected_events(median_12(1.0, loss=0.001, n=(120, 120)), 30 * MONTH)
    assert found.total == pytest.approx(FIGURES["eEvents"], rel=1e-10)


@pytest.mark.parametrize(
    ("figure", "found", "method", "allocation"),
    [
        ("LachinFoulkes", median_12(0.7, loss=0.001), "Lachin-Foulkes", Allocation()),
        ("Schoenfeld", median_12(0.7, loss=0.001), "Schoenfeld", Allocation()),
        ("2to1", median_12(0.7, loss=0.001), "Lachin-Foulkes", Allocation(2, 1)),
        (
            "piecewise",
            course([0.08, 0.05, 0.03], [(inf, 0.7)], 0.004, breaks=(6, 12)),
            "Lachin-Foulkes",
            Allocation(),
        ),
    ],
)
def test_reference_patients_of_gs_design(figure, found, method, allocation):
    expected = FIGURES[f"gs_nSurv_{figure}"]
    design = TimeToEvent(found, 30 * MONTH, SurvivalMethod(method))
    size = survival_size(design, 0.9, ONE_SIDED, allocation)
    assert size.total_unrounded == pytest.approx(expected["n"], rel=1e-10)
    assert size.events_unrounded == pytest.approx(expected["d"], rel=1e-10)
    assert size.n_treated_unrounded == pytest.approx(expected["eNE"], rel=1e-10)
    arms = expected_events(
        replace(found, n_treated=expected["eNE"], n_control=expected["eNC"]), 30 * MONTH
    )
    assert arms == pytest.approx((expected["eDE"], expected["eDC"]), rel=1e-10)


def test_reference_lachin_foulkes_example_of_gs_design():
    """gsDesign's nSurvival: hazards 0.2, 0.1 a year, loss 0.1, accrual 0.5, two years."""
    half = Enrolment.model_validate({"uniform": "6 mo"})
    found = course([0.2 / 12], [(inf, 0.5)], 0.1 / 12, half)
    design = TimeToEvent(found, 24 * MONTH, SurvivalMethod.LACHIN_FOULKES)
    size = survival_size(design, 0.9, ONE_SIDED)
    assert size.total_unrounded == pytest.approx(429.62, abs=5e-3)
    assert size.events_unrounded == pytest.approx(90.1, abs=0.05)
    assert (size.total, size.events) == (430, 91)


def test_reference_schoenfeld_844_09_events_are_845():
    """Schoenfeld 1981; rounded down to 844 the power is 0.89997."""
    target = events_required(0.8, power=0.9)
    assert target.events_unrounded == pytest.approx(844.087616526, rel=1e-10)
    assert target.events == 845
    assert events_power(0.8, 844) < 0.9 <= target.power


def test_reference_average_hazard_ratios_of_gs_design_2():
    expected = FIGURES["ahr_t12_24_36"]
    for i, month in enumerate(expected["time"]):
        found = average_hazard_ratio(DELAYED, month * MONTH)
        assert found.ratio == pytest.approx(expected["ahr"][i], rel=1e-10)
        assert found.events == pytest.approx(expected["event"][i], rel=1e-10)
        assert found.information == pytest.approx(expected["info"][i], rel=1e-10)
        assert found.information_under_null == pytest.approx(expected["info0"][i], rel=1e-10)


def test_reference_size_and_power_of_gs_design_2_under_a_delay():
    method = SurvivalMethod.AVERAGE_HAZARD_RATIO
    expected = FIGURES["fixed_design_ahr_power90"]
    found = survival_size(TimeToEvent(DELAYED, 36 * MONTH, method), 0.9, ONE_SIDED)
    assert found.total_unrounded == pytest.approx(expected["n"], rel=1e-10)
    assert found.events_unrounded == pytest.approx(expected["event"], rel=1e-10)
    at_250 = FIGURES["gs_power_ahr_fixed_250"]
    day = at_250["analysis"]["time"] * MONTH
    assert day_of_events(DELAYED, at_250["analysis"]["event"]) == pytest.approx(day, rel=1e-8)
    power = survival_power(TimeToEvent(DELAYED, day, method), 200, 200, ONE_SIDED)
    assert power == pytest.approx(at_250["bound"]["probability"], rel=1e-10)


def test_analytic_events_of_exponential_lifetimes():
    """Lachin and Foulkes 1986: accrual R, hazard h, loss l, by day T after R."""
    hazard, loss, cut = log(2) / 12, 0.02, 30
    rate = hazard + loss
    seen = hazard / rate * (1 - (exp(-rate * (cut - 12)) - exp(-rate * cut)) / (rate * 12))
    found = expected_events(median_12(0.5, loss=loss, n=(0.5, 100)), cut * MONTH)
    assert found.control == pytest.approx(100 * seen, rel=1e-12)


@given(
    st.floats(0.3, 2.5),
    st.floats(0, 0.4),
    st.sampled_from([{"uniform": "9 mo"}, {"even": "9 mo"}, {"given": ["0 mo", "3 mo", "8 mo"]}]),
    st.floats(2, 60),
    st.sampled_from([inf, 12 * MONTH]),
)
def test_property_quadrature_agrees_with_the_event_course(shape, cured, enrolment, month, most):
    control = HazardCurve((), (1 / (10 * MONTH) ** shape,), shape, cured)
    treated = control.times([(3 * MONTH, 1.0), (inf, 0.6)])
    lifetimes = Lifetimes("", (1.0,), (control,), (treated,), HazardCurve((), (0.0004,)))
    found = EventCourse(lifetimes, Enrolment.model_validate(enrolment), 150, 100, most)
    events = expected_events(found, month * MONTH)
    # its 400 quantiles of lifetimes and 200 of entry
    assert events.total == pytest.approx(found.by(month * MONTH), abs=250 * 0.006)
    later = events_over_time(found, [month * MONTH, (month + 1) * MONTH])
    assert later[0] == events
    assert later[1].total >= events.total - 1e-9


def test_regression_follow_up_long_after_the_last_event_loses_none():
    """Panels that split a long follow-up evenly lost 5 of 222 events here."""
    curve = HazardCurve((), (300.0**-2.5,), 2.5)
    lifetimes = Lifetimes("", (1.0,), (curve,), (curve,), HazardCurve((), (0.0004,)))
    found = EventCourse(lifetimes, YEAR, 100, 100)
    early, late = events_over_time(found, [60 * MONTH, 2000 * MONTH])
    assert early.total == pytest.approx(late.total, rel=1e-9)


def test_analytic_average_hazard_ratio_of_separate_weibull_curves():
    """Hazards of different shapes: log ratio averaged over the events, by scipy's integration."""
    control, treated = HazardCurve((), (1e-3,)), HazardCurve((), (4e-5,), 1.5)
    lifetimes = Lifetimes("", (1.0,), (control,), (treated,))
    hundred = Enrolment.model_validate({"uniform": "100 d"})
    found = average_hazard_ratio(EventCourse(lifetimes, hundred, 1, 1), 1000.0)

    def events(day):
        density = 6e-5 * day**0.5 * exp(-4e-5 * day**1.5) + 1e-3 * exp(-1e-3 * day)
        return density * min(1, (1000 - day) / 100)

    total = quad(events, 0, 1000, points=[1, 10, 900])[0]
    weighted = quad(
        lambda day: log(0.06 * day**0.5) * events(day), 0, 1000, points=[1e-3, 1, 10, 900]
    )[0]
    assert found.events == pytest.approx(total, rel=1e-9)
    assert log(found.ratio) == pytest.approx(weighted / total, abs=1e-8)


ALLOCATIONS = st.builds(Allocation, st.integers(1, 3), st.integers(1, 3))
POWERS = st.sampled_from([0.5, 0.8, 0.9, 0.975])
RATIOS = st.floats(0.4, 0.85)


@given(RATIOS, st.booleans(), st.sampled_from(list(EventsFormula)), ALLOCATIONS, POWERS)
def test_property_events_round_trip(ratio, harms, formula, allocation, power):
    ratio, level = 1 / ratio if harms else ratio, Level(opposite_tail=OppositeTail.COUNTED)
    found = events_required(ratio, formula, power=power, level=level, allocation=allocation)
    assert found.power >= power - 1e-9
    fewer = events_power(ratio, found.events - 1, formula, level=level, allocation=allocation)
    assert fewer < power


@given(RATIOS, st.sampled_from(list(SurvivalMethod)), ALLOCATIONS, POWERS)
def test_property_patients_round_trip(ratio, method, allocation, power):
    check_round_trip(TimeToEvent(median_12(ratio, loss=0.01), 900, method), power, allocation)


@given(
    st.sampled_from(["Schoenfeld", "Lachin-Foulkes", "average hazard ratio"]),
    st.floats(1.2, 2),
    st.sampled_from(list(Better)),
    ALLOCATIONS,
    POWERS,
)
def test_property_non_inferiority_round_trip(method, margin, better, allocation, power):
    margin = margin if better is Better.LOWER else 1 / margin
    hypothesis = NonInferiority(margin, better)
    design = TimeToEvent(median_12(1.0), 900, SurvivalMethod(method), hypothesis)
    check_round_trip(design, power, allocation)


def check_round_trip(design, power, allocation):
    found = survival_size(design, power, ONE_SIDED, allocation)
    assert found.power >= power - 1e-9
    assert found.total % allocation.unit == 0
    assert found.events_unrounded <= found.events < found.events_unrounded + 1
    fewer = found.n_treated - allocation.treated, found.n_control - allocation.control
    if min(fewer) > 0:
        assert survival_power(design, *fewer, ONE_SIDED) < power


def sized(hazard_ratio, method=SurvivalMethod.SCHOENFELD, hypothesis=SUPERIORITY, day=900):
    return survival_size(
        TimeToEvent(median_12(hazard_ratio), day, method, hypothesis), 0.8, ONE_SIDED
    )


MARGIN = NonInferiority(1.3, Better.LOWER)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sized(1.0), "effect must differ between the arms"),
        (lambda: events_required(-0.5), "hazard_ratio must be a ratio above 0; got -0.5"),
        (lambda: events_required(0.9999), "events must not exceed 10,000,000"),
        (lambda: events_power(0.5, 0), "events must be at least 1; got 0"),
        (
            lambda: sized(1.0, hypothesis=NonInferiority(0.8, Better.LOWER)),
            "margin must lie above 1 where lower is better; got 0.8",
        ),
        (lambda: sized(1.4, hypothesis=MARGIN), "effect must be better than the margin 1.3"),
        (
            lambda: sized(1.0, SurvivalMethod.FREEDMAN, MARGIN),
            "formula must be Schoenfeld for non-inferiority",
        ),
        (lambda: sized(0.5, day=0), "cut_day must be above 0 and finite; got 0"),
        (
            lambda: survival_size(TimeToEvent(DELAYED, 900)),
            "hazard_ratio must be one number at all times and levels for Schoenfeld. Size by the "
            "average hazard ratio.",
        ),
        (
            lambda: survival_size(TimeToEvent(course([0.0], [(inf, 0.5)]), 900)),
            "cut_day must see events",
        ),
        (
            lambda: average_hazard_ratio(course([0.0], [(inf, 0.5)]), 900),
            "cut_day must see events of both arms",
        ),
        (
            lambda: day_of_events(DELAYED, 401),
            "events must be above 0 and fewer than the",
        ),
        (
            lambda: expected_events(replace(DELAYED, n_treated=0), 900),
            "patients must be above 0 in both arms",
        ),
    ],
)
def test_regression_designs_that_cannot_be_met_are_refused(call, message):
    with pytest.raises(DesignError) as caught:
        call()
    assert message in str(caught.value)
