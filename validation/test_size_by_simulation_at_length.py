"""Slow evidence: 200 independent searches for a size, and what they cost beside bisection.

The demand, of at least 95% of searches: the true power of the size found is within 0.01 of its
target, or, where one allocation unit moves power by more than 0.005, the size is within one unit of
the right one; with at most a tenth of the replicates of bisection with 10,000 at every step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest

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
from trialsim.sizing.proportions import ExactTest, exact_proportions_power
from trialsim.studies.size import by_simulation as module
from trialsim.studies.size.by_simulation import at_size, size_by_simulation
from trialsim.trial import Kernel

SEARCHES = 200


def searched(job, truth, power):
    """Sizes found, and replicates used, by 200 seeds."""
    found = [
        size_by_simulation(job, truth, power=power, seed=seed, confirming=400)
        for seed in range(SEARCHES)
    ]
    return [f.total for f in found], [f.replicates_searched for f in found]


def check(name, true_power, target, right, guess, totals, used):
    """Hold 200 searches to the demand, and print what was measured."""
    coarse = true_power(right) - true_power(right - 2) > 0.005
    off = np.array([abs(true_power(total) - target) for total in totals])
    near = np.array([coarse and abs(total - right) <= 2 for total in totals])
    share, tenth = float(np.mean((off <= 0.01) | near)), by_bisection(guess) / 10
    below = float(np.mean(np.array(used) <= tenth))
    print(
        f"\n{name}, {target:g}: right {right}, found {np.mean(totals):.1f} +-{np.std(totals):.1f}, "
        f"within the demand {share:.3f}, within 0.01 {np.mean(off <= 0.01):.3f}; replicates "
        f"{np.mean(used):.0f} (most {max(used)}), a tenth of bisection {tenth:.0f} ({below:.2f})"
    )
    assert share >= 0.95
    assert below >= 0.95


def first_with(true_power, target, start):
    """The smallest even total with the power, from below."""
    total = start
    while true_power(total) < target:
        total += 2
    return total


@lru_cache(maxsize=1024)
def by_enumeration(total, treated, control):
    return exact_proportions_power(ExactTest.CHI_SQUARE, treated, control, total // 2, total // 2)


@pytest.mark.parametrize("power", [0.8, 0.9])
def test_analytic_two_risks(power):
    def true_power(total):
        return by_enumeration(total, TREATED, CONTROL)

    job, truth = two_risks(CONTROL, 0.70)
    right = first_with(true_power, power, 1400)
    check("two risks", true_power, power, right, right, *searched(job, truth, power))


def test_analytic_three_obrien_fleming_looks():
    @lru_cache(maxsize=1024)
    def true_power(total):
        return power_of_looks(total, TREATED, CONTROL, OBRIEN_FLEMING)

    job, truth = two_risks(CONTROL, 0.70, f"protocol.looks=[{LOOKS}]")
    right = first_with(true_power, 0.8, 1480)
    check("three looks", true_power, 0.8, right, right, *searched(job, truth, 0.8))


@pytest.mark.parametrize(
    ("control", "treated", "power"),
    [(SMALL_CONTROL, SMALL_TREATED, 0.8), (SMALL_CONTROL, SMALL_TREATED, 0.7), (0.55, 0.2, 0.8)],
)
def test_analytic_small_trials_whose_power_rises_as_a_saw(control, treated, power):
    def true_power(total):
        return by_enumeration(total, treated, control)

    odds_ratio = treated / (1 - treated) * (1 - control) / control
    job, truth = two_risks(control, odds_ratio)
    right = first_with(true_power, power, 20)
    check("small", true_power, power, right, right, *searched(job, truth, power))


def test_analytic_log_rank():
    """True power from a probit line through 5 sizes of 40,000 trials with other random numbers."""
    pytest.importorskip("numba", reason="the extra [fast] is not installed")
    job, truth = job_of(TIME_TO_EVENT, "good", LOG_RANK, Kernel.NUMBA)
    jobs = [replace(at_size(job, total), unit="truth") for total in (340, 370, 400, 430, 460)]
    jobs = [replace(one, unit=f"truth at {one.protocol.n_total}") for one in jobs]
    points = module._simulated(jobs, 40_000, 987_654_321, 1)
    roots = np.sqrt([p.total for p in points])
    probits = [NormalDist().inv_cdf(p.rejections / p.n_replicates) for p in points]
    line = np.polyfit(roots, probits, 1)  # MCSE of power 0.001 in the middle
    assert np.abs(np.polyval(line, roots) - probits).max() < 4 * 0.0087  # 4 MCSE in probits at 0.9

    def true_power(total):
        return NormalDist().cdf(float(np.polyval(line, sqrt(total))))

    right = first_with(true_power, 0.8, 300)
    check("log-rank", true_power, 0.8, right, right, *searched(job, truth, 0.8))


def test_property_sizes_with_streams_of_their_own_place_the_root_better_than_common_ones():
    """8,192 replicates on 16 sizes around the root: the SD of the root is at least halved."""
    job, _ = two_risks(CONTROL, 0.70)
    scale = module._Scale(2, 0.8, module.Level())
    totals = [
        scale.nearest((sqrt(1490) + d * sqrt(1490) / 2.8) ** 2)
        for d in np.linspace(-0.25, 0.25, 16)
    ]
    spread = {}
    for common in (True, False):
        roots = []
        for seed in range(60):
            jobs = [
                replace(at_size(job, total), unit="common" if common else f"own {total}")
                for total in totals
            ]
            line = module._fitted(module._simulated(jobs, 512, seed, 1), 1490, scale)
            roots.append(line.root(scale.target))
        spread[common] = np.std(roots)
    print(f"\nSD of the root: common streams {spread[True]:.1f}, own {spread[False]:.1f}")
    assert spread[False] < spread[True] / 2
