"""Sizes found by simulation, against enumeration; curves that reach no power; scaling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from enumerated_looks import power_of_looks
from sized_trials import (
    CONTROL,
    LOG_RANK,
    LOOKS,
    OBRIEN_FLEMING,
    SMALL_CONTROL,
    SMALL_TREATED,
    TIME_TO_EVENT,
    TREATED,
    by_bisection,
    job_of,
    two_risks,
)
from trialsim.engine.run import run
from trialsim.errors import DesignError, RequestError
from trialsim.sizing.fixed import Level
from trialsim.sizing.proportions import (
    ExactTest,
    TwoProportions,
    exact_proportions_power,
    proportions_size,
)
from trialsim.studies.size import by_simulation as module
from trialsim.studies.size.by_simulation import PowerPoint, at_size, size_by_simulation
from trialsim.trial import Path

SE = 0.0045  # of power at the root: the default tolerance


@pytest.mark.parametrize("power", [0.8, 0.9])
def test_analytic_two_risks_within_4_standard_errors_of_enumeration(power):
    job, truth = two_risks(CONTROL, 0.70)
    guess = proportions_size(TwoProportions(TREATED, CONTROL), power).total
    for seed in range(5):
        found = size_by_simulation(job, truth, power=power, seed=seed, confirming=2000)
        exact = exact_proportions_power(
            ExactTest.CHI_SQUARE, TREATED, CONTROL, found.n_treated, found.n_control
        )
        assert abs(exact - power) < 4 * SE
        assert abs(found.power_simulated - exact) < 4 * found.mcse
        assert found.replicates_searched <= by_bisection(guess) / 10
        assert sum(p.n_replicates for p in found.points) == found.replicates_searched


def test_analytic_three_looks_within_4_standard_errors_of_enumeration():
    job, truth = two_risks(CONTROL, 0.70, f"protocol.looks=[{LOOKS}]")
    for seed in range(4):
        found = size_by_simulation(job, truth, power=0.8, seed=seed, confirming=2000)
        exact = power_of_looks(found.total, TREATED, CONTROL, OBRIEN_FLEMING)
        assert abs(exact - 0.8) < 4 * SE
        assert abs(found.power_simulated - exact) < 4 * found.mcse


def test_analytic_small_trial_within_one_unit_of_enumeration():
    """60 is the smallest size with 80%, and no larger one falls below: 58 has 0.779."""
    at = [
        exact_proportions_power(ExactTest.CHI_SQUARE, SMALL_TREATED, SMALL_CONTROL, n, n)
        for n in (29, 30)
    ]
    assert at[0] < 0.8 <= at[1]
    job, truth = two_risks(SMALL_CONTROL, 2 / 9)
    for seed in range(5):
        found = size_by_simulation(job, truth, power=0.8, seed=seed, confirming=1000)
        assert abs(found.total - 60) <= 2


def test_property_patients_and_counts_agree():
    """Two paths of one distribution: no further apart than 4 standard errors of the difference."""
    job, truth = two_risks(SMALL_CONTROL, 2 / 9)
    counts = size_by_simulation(job, truth, power=0.8, seed=1, confirming=200)
    patients = size_by_simulation(
        replace(job, path=Path.PATIENTS), truth, power=0.8, seed=1, confirming=200
    )
    se = [(found.interval[1] - found.interval[0]) / 3.92 for found in (counts, patients)]
    assert abs(counts.total - patients.total) <= 4 * np.hypot(*se) + 2  # 2: rounding


def test_property_the_answer_does_not_depend_on_workers():
    job, truth = two_risks(SMALL_CONTROL, 2 / 9)
    asked = {"power": 0.8, "seed": 3, "tolerance": 0.02, "confirming": 500}
    alone = size_by_simulation(job, truth, **asked)
    assert alone == size_by_simulation(job, truth, **asked)
    with ThreadPoolExecutor(2) as threads:
        assert alone == size_by_simulation(job, truth, **asked, workers=threads)
    assert alone == size_by_simulation(job, truth, **asked, workers=2)
    assert alone != size_by_simulation(job, truth, **{**asked, "seed": 4})


def test_property_the_confirming_run_is_the_protocol_at_that_size():
    """Same seed, same streams: whoever simulates the size found sees the same rejections."""
    job, truth = two_risks(CONTROL, 0.70)
    found = size_by_simulation(job, truth, power=0.8, seed=2, confirming=3000)
    (again,) = run([at_size(job, found.total)], n_replicates=3000, seed=2)
    assert again.results[0][0].rejected.mean() == found.power_simulated


def test_regression_two_risks():
    job, truth = two_risks(CONTROL, 0.70)
    found = size_by_simulation(job, truth, power=0.8, seed=1, confirming=4000)
    assert (found.total, found.n_treated, found.n_control) == (1484, 742, 742)
    assert found.power_simulated == 0.79775
    assert found.replicates_searched == 8704
    assert found.interval[0] < 1484 < found.interval[1]
    assert "in either direction" in found.conventions[0]


# -- the trial at another size --------------------------------------------------------------------


def test_property_looks_scale_with_the_size():
    looks = "[{at: {information: 0.5}, efficacy_z: 3}, {at: {enrolled: 399}, efficacy_z: 2.5}, "
    looks += "{at: {events: 250}, efficacy_z: 1.97}]"
    job, _ = job_of(TIME_TO_EVENT, "good", [*LOG_RANK, f"protocol.looks={looks}"])
    smaller = at_size(job, 102)
    at = [look.at for look in smaller.protocol.looks]
    assert (at[0].information, at[1].enrolled, at[2].events) == (0.5, 102, 64)
    assert smaller.plans[0].looks == smaller.protocol.looks
    assert smaller.plans[0].n_total == smaller.protocol.n_total == 102
    assert at_size(smaller, 400).protocol.looks[0] == job.protocol.looks[0]


def test_property_unequal_arms_come_in_whole_units():
    job, truth = two_risks(
        SMALL_CONTROL, 2 / 9, "protocol.allocation={ratio: {thymalfasin: 2, placebo: 1}}"
    )
    found = size_by_simulation(job, truth, power=0.8, seed=1, confirming=500)
    assert found.total % 3 == 0
    assert found.n_treated == 2 * found.n_control


def test_property_stated_arms_are_scaled_as_stated():
    settings = ["protocol.sample_size={per_arm: {thymalfasin: 90, placebo: 60}}"]
    job, truth = two_risks(SMALL_CONTROL, 2 / 9, *settings, "protocol.allocation={}")
    found = size_by_simulation(job, truth, power=0.8, seed=1, confirming=500)
    assert found.total % 5 == 0
    assert 2 * found.n_treated == 3 * found.n_control
    assert at_size(job, 50).protocol.arm_sizes == (30, 20)


# -- what is refused ------------------------------------------------------------------------------


def test_property_no_effect_is_refused_unsimulated(monkeypatch):
    job, truth = job_of("sepsis", "no-effect", ["observed=[]"])
    monkeypatch.setattr(module, "run", None)
    with pytest.raises(DesignError, match="must have an effect"):
        size_by_simulation(job, truth, power=0.8, seed=1)


@pytest.mark.parametrize("power", [0.05, 0.01, 1.0, 1.5, float("nan")])
def test_property_power_outside_alpha_and_1_is_refused(power):
    job, truth = two_risks(CONTROL, 0.70)
    with pytest.raises(DesignError, match="must be above alpha"):
        size_by_simulation(job, truth, power=power, seed=1)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"tolerance": 0.0}, "from 0.001 to 0.05"),
        ({"confirming": 0}, "must be between 1"),
        ({"seed": -1}, "whole number from 0"),
    ],
)
def test_property_requests_out_of_range_are_refused(more, match):
    job, truth = two_risks(CONTROL, 0.70)
    with pytest.raises(RequestError, match=match):
        size_by_simulation(job, truth, **{"power": 0.8, "seed": 1, **more})


def test_property_a_truth_of_another_job_is_refused():
    job, truth = two_risks(CONTROL, 0.70)
    with pytest.raises(RequestError, match="not one of the job's"):
        size_by_simulation(job, replace(truth, scenario="x"), power=0.8, seed=1)


def test_property_arms_without_a_small_ratio_are_refused():
    settings = ["protocol.sample_size={per_arm: {thymalfasin: 542, placebo: 547}}"]
    job, truth = two_risks(CONTROL, 0.70, *settings, "protocol.allocation={}")
    with pytest.raises(DesignError, match="to be scaled"):
        size_by_simulation(job, truth, power=0.8, seed=1)


def test_property_harm_in_a_one_sided_test_is_refused():
    job, truth = two_risks(CONTROL, 1.4, "protocol.test={alpha: 0.025, sides: 1}")
    with pytest.raises(DesignError, match=r"the most a protocol can have: .* find an effect in 0%"):
        size_by_simulation(job, truth, power=0.8, seed=1)


def test_property_power_that_levels_off_is_refused():
    """Futility is read while the effect has not begun: half of the trials stop at any size."""
    looks = "[{at: {calendar: 3 mo}, futility_z: 0}, {at: {events: 250}}]"
    job, truth = job_of(TIME_TO_EVENT, "late", [*LOG_RANK, f"protocol.looks={looks}"])
    with pytest.raises(DesignError, match=r"levels off|most patients"):
        size_by_simulation(job, truth, power=0.8, seed=1)


# -- the search, on curves that are known ---------------------------------------------------------


def search(curve, power, guess, seed=1):
    """Search with rejections drawn from a known curve; the root, and replicates used."""
    scale = module._Scale(2, power, Level())
    draw, used = np.random.default_rng(seed), []

    def simulate(totals, n, step):
        used.append(n * len(totals))
        return [PowerPoint(total, int(draw.binomial(n, curve(total))), n) for total in totals]

    tolerance = module._finest(SE, power, Level())
    return module._Search(scale, simulate, tolerance).root_from(guess), sum(used)


CURVES = {  # name: power at n patients
    "theory": lambda n: norm.cdf(2.8 * sqrt(n / 700) - 1.96),
    "slow": lambda n: norm.cdf(2.8 * (n / 700) ** 0.25 - 1.96),
    "fast": lambda n: norm.cdf(2.8 * n / 700 - 1.96),
    "large": lambda n: norm.cdf(2.8 * sqrt(n / 60_000) - 1.96),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("guess", [20, 600, 40_000])
def test_analytic_roots_of_known_curves(name, guess):
    found, used = search(CURVES[name], 0.8, guess)
    assert abs(CURVES[name](found.root) - 0.8) < 4 * SE
    assert used < 15_000


def test_analytic_the_interval_covers():
    """Of 200 intervals 95%, give or take 3 standard errors of that share."""
    hits = [
        low <= 700 * ((norm.ppf(0.8) + 1.96) / 2.8) ** 2 <= high
        for seed in range(200)
        for low, high in [search(CURVES["theory"], 0.8, 600, seed)[0].interval]
    ]
    assert abs(np.mean(hits) - 0.95) < 3 * sqrt(0.95 * 0.05 / 200)


@pytest.mark.parametrize("ceiling", [0.4, 0.7, 0.78, 0.79])
def test_property_ceilings_below_the_target_are_refused(ceiling):
    for seed in range(5):
        with pytest.raises(DesignError, match=r"levels off|most patients"):
            search(lambda n: ceiling * norm.cdf(2.8 * sqrt(n / 500) - 1.96), 0.8, 500, seed)


def test_property_a_jump_is_refused_or_not_confirmed():
    scale = module._Scale(2, 0.8, Level())
    for seed in range(5):
        try:
            found, _ = search(lambda n: 0.1 + 0.85 * (n > 700), 0.8, 500, seed)
        except DesignError:
            continue
        total = scale.rounded(found.root)
        confirmed = PowerPoint(total, 9500 if total > 700 else 1000, 10_000)
        with pytest.raises(DesignError, match="cannot be placed"):
            module._check_confirmed(confirmed, found, scale, SE)


def test_property_a_first_size_with_the_power_is_the_answer():
    found, _ = search(lambda n: norm.cdf(2.8 * sqrt(n / 0.1) - 1.96), 0.8, 500)
    assert found.root == 2


@pytest.mark.parametrize("rejections", [0, 256])
def test_property_a_line_fits_all_or_no_rejections(rejections):
    line = module._fitted([PowerPoint(500, rejections, 256)], 500, module._Scale(2, 0.8, Level()))
    assert np.isfinite([line.intercept, line.slope]).all()
    assert (np.linalg.eigvalsh(line.covariance) > 0).all()
