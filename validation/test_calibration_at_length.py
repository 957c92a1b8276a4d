"""Slow evidence: how often 95% profile intervals hold the truth, 2,000 repeats at 500 per arm."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim import load_template
from trialsim.kernels.likelihood import CHI_SQUARE_1, maximise_from, profile, profile_limits
from trialsim.studies.fitted.calibration import CalibrationRequest, plan_calibration

REPEATS = 2_000
FOUR_MCSE = 4 * (0.95 * 0.05 / REPEATS) ** 0.5

# Counts of 500 patients: their shares, 0.1 to 0.6, are what the fit takes for the truth.
TRIAL = """
schema_version: 1
evidence:
  - id: large
    kind: trial
    title: Large
    citation: Made up for a test.
    condition: hepatitis-b
    design: {{randomised: true}}
    results:
      - id: early
        outcome: response
        at: 12 mo
        experimental: {{n: 500, events: {treated[0]}}}
        control: {{n: 500, events: {control[0]}}}
      - id: late
        outcome: response
        at: 18 mo
        experimental: {{n: 500, events: {treated[1]}}}
        control: {{n: 500, events: {control[1]}}}
"""
PIECES = (
    "scenarios.mutchnick-1999.response={control: [{until: 12 mo, hazard_per_year: 0.2}, {until: 18 "
    "mo, hazard_per_year: 0.2}], treated: [{until: 26 wk, as_control: true}, {until: 12 mo, "
    "hazard_per_year: 0.4}, {until: 18 mo, hazard_per_year: 0.4}]}"
)


def planned(tmp_path, control, treated, to, free=("control", "treated")):
    path = tmp_path / "large.yaml"
    path.write_text(TRIAL.format(control=control, treated=treated))
    resolved = load_template("chronic-hepatitis-b", evidence_files=[path], settings=[PIECES])
    return plan_calibration(resolved, CalibrationRequest(to, free, "mutchnick-1999"))


DESIGNS = [
    ((50, 100), (150, 250), ("large:early", "large:late")),
    ((100, 150), (200, 300), ("large:early", "large:late")),
    ((250, 300), (275, 300), ("large:early", "large:late")),
    ((50, 50), (300, 300), ("large:early",)),
    ((100, 100), (50, 150), ("large:late", "chan-2001-6mo")),
]


@pytest.mark.parametrize(("control", "treated", "to"), DESIGNS)
def test_analytic_intervals_hold_the_truth_in_95_of_100(control, treated, to, tmp_path):
    free = ("control", "treated") if len(to) == 2 and "chan-2001-6mo" not in to else None
    plan = planned(tmp_path, control, treated, to, free or ("control-1", "treated-2"))
    plan.__dict__["tables"] = lambda: None  # simulate, also where all tables could be enumerated
    for p, found in zip(plan.parameters, plan.coverage(REPEATS, 11), strict=True):
        print(p.name, found.value, found.mcse)
        assert abs(found.value - 0.95) <= FOUR_MCSE, p.name


def test_analytic_an_interval_holds_a_value_exactly_where_little_likelihood_is_lost(tmp_path):
    """Coverage asks the likelihood at the truth; here the intervals themselves are computed."""
    plan = planned(tmp_path, *DESIGNS[0])
    data = plan.data_of(*plan.simulated(np.random.default_rng(3), 200))
    one = np.zeros(1, dtype=np.intp)
    agree = 0
    for row in range(200):
        own = data.at(one + row)
        best, top = maximise_from(plan.terms, own, plan.starts, plan.low, plan.high)
        lower, upper = profile_limits(plan.terms, own, best[0], plan.low, plan.high)
        for place, truth in enumerate(plan.best):
            _, value = profile(
                plan.terms, own, best[:, None], one + place, np.array([truth]), plan.low, plan.high
            )
            lost = 2 * (top[0] - value[0])
            assert (lost <= CHI_SQUARE_1) == (lower[place] <= truth <= upper[place])
            agree += 1
    assert agree == 800


def test_analytic_relapse_and_hazards_are_recovered_from_many_patients(tmp_path):
    """The median of 2,000 repeats of 500 per arm, to 4 of its standard errors."""
    plan = planned(
        tmp_path,
        (150, 125),
        (250, 200),
        ("large:early", "large:late"),
        ("control-1", "treated-2", "relapse"),
    )
    data = plan.data_of(*plan.simulated(np.random.default_rng(4), REPEATS))
    starts = np.broadcast_to(plan.best, (REPEATS, 1, 3))
    best, _ = maximise_from(plan.terms, data, starts, plan.low, plan.high)
    error = best.std(axis=0) / REPEATS**0.5
    assert (np.abs(np.median(best, axis=0) - plan.best) <= 4 * 1.2533 * error).all()
