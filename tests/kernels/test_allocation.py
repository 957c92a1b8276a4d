"""Assignment: the right numbers in the right arms, with the right probabilities."""

from __future__ import annotations

from itertools import permutations
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.kernels import allocation


def uniforms(n_patients, n_reps, seed=1):
    return np.random.default_rng(seed).random((2, n_patients, n_reps))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_property_the_random_allocation_rule_gives_exactly_the_sizes(treated, control, seed):
    u, _ = uniforms(treated + control, 8, seed)
    assert (allocation.random_allocation_rule(u, (treated, control)).sum(axis=0) == treated).all()


@given(st.sampled_from([(1, 1), (2, 1), (1, 3)]), st.integers(1, 3), st.integers(0, 99))
def test_property_every_full_block_in_every_stratum_has_the_ratio(ratio, multiple, seed):
    size = multiple * sum(ratio)
    u, v = uniforms(120, 8, seed)
    strata = np.random.default_rng(seed).integers(0, 3, u.shape)
    treated = allocation.permuted_blocks(u, v, strata, 3, ratio, (size,))
    for rep in range(8):
        for stratum in range(3):
            sequence = treated[strata[:, rep] == stratum, rep]
            full = sequence[: len(sequence) // size * size].reshape(-1, size)
            assert (full.sum(axis=1) == multiple * ratio[0]).all()


@pytest.mark.parametrize("rule", ["blocks", "fixed"])
def test_analytic_every_permutation_of_two_and_two_is_equally_likely(rule):
    n = 60_000
    u, v = uniforms(4, n)
    if rule == "blocks":
        treated = allocation.permuted_blocks(u, v, np.zeros((4, n), int), 1, (1, 1), (4,))
    else:
        treated = allocation.random_allocation_rule(u, (2, 2))
    seen, counts = np.unique(treated.T, axis=0, return_counts=True)
    assert {tuple(s) for s in seen} == set(permutations([True, True, False, False]))
    assert np.abs(counts / n - 1 / 6).max() < 4 * np.sqrt(1 / 6 * 5 / 6 / n)  # 4 MCSE


def test_analytic_simple_allocation_follows_the_ratio():
    u, _ = uniforms(1000, 100)
    share = allocation.simple(u, (2, 1)).mean()
    assert abs(share - 2 / 3) < 4 * np.sqrt(2 / 9 / u.size)  # 4 MCSE


def test_analytic_block_sizes_are_equally_likely():
    u, v = uniforms(6, 40_000)
    treated = allocation.permuted_blocks(u, v, np.zeros(u.shape, int), 1, (1, 1), (2, 6))
    # after two patients the arms are balanced surely in a block of 2, with 3/5 in a block of 6
    balanced = (treated[:2].sum(axis=0) == 1).mean()
    assert abs(balanced - (0.5 + 0.5 * 0.6)) < 4 * np.sqrt(0.8 * 0.2 / 40_000)  # 4 MCSE


@given(st.integers(1, 60), st.integers(1, 60))
def test_property_more_patients_extend_a_trial(n_few, n_more):
    u, v = uniforms(n_few + n_more, 8)
    strata = (v * 4).astype(int)
    whole = allocation.permuted_blocks(u, v, strata, 4, (1, 1), (4, 6))
    part = allocation.permuted_blocks(u[:n_few], v[:n_few], strata[:n_few], 4, (1, 1), (4, 6))
    assert (whole[:n_few] == part).all()


@given(st.integers(1, 60), st.sampled_from([(1, 1), (2, 1)]), st.integers(1, 3), st.integers(0, 99))
def test_property_one_stratum_is_assigned_as_one_of_two_with_nobody_in_the_other(
    n, ratio, multiple, seed
):
    u, v = uniforms(n, 8, seed)
    alone, sizes = np.zeros(u.shape, int), (multiple * sum(ratio),)
    place_by_place = allocation.permuted_blocks(u, v, alone, 1, ratio, sizes)
    one_by_one = allocation.permuted_blocks(u, v, alone, 2, ratio, sizes)
    assert (place_by_place == one_by_one).all()


def test_regression_thousands_of_patients_are_not_assigned_one_by_one():
    u, v = uniforms(5602, 16)
    alone = np.zeros(u.shape, int)

    def least_time(n_strata):
        times = []
        for _ in range(3):
            start = process_time()
            allocation.permuted_blocks(u, v, alone, n_strata, (1, 1), (4,))
            times.append(process_time() - start)
        return min(times)

    assert least_time(1) < least_time(2) / 10  # measured: a 200th
