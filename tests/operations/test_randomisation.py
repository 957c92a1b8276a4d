"""Allocation lists: minimisation one patient at a time and of many trials at once; blocks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from trialsim.errors import ProtocolError
from trialsim.kernels.allocation import BIASED_COIN, minimisation
from trialsim.operations.plan import AllocationPlan
from trialsim.operations.randomisation import Allocator
from trialsim.protocol.design import AllocationMethod
from trialsim.protocol.reading.load import load_template
from trialsim.streams import Streams

MINIMISED = "protocol.allocation={method: minimisation, stratify_by: [age-group, site]}"


def test_analytic_minimisation_takes_every_path_as_often_as_its_coin_says():
    # three patients of one level: equal, then against the first, then by what is ahead
    uniforms = np.array(list(product((0.1, 0.49, 0.7, 0.9), repeat=3))).T
    levels = np.zeros(uniforms.shape, dtype=np.int64)
    treated = minimisation(uniforms, (levels,))
    for one, first in zip(uniforms.T, treated.T, strict=True):
        ahead = 0
        for uniform, got in zip(one, first, strict=True):
            share = {0: 0.5, 1: 1 - BIASED_COIN, -1: BIASED_COIN}[(ahead > 0) - (ahead < 0)]
            assert got == (uniform < share)
            ahead += 1 if got else -1


def test_property_minimisation_balances_each_factor_where_simple_allocation_does_not():
    rng = np.random.default_rng(4)
    shape = (200, 300)
    levels = tuple(rng.integers(0, n, shape) for n in (2, 10))
    treated = minimisation(rng.random(shape), levels)
    simple = rng.random(shape) < 0.5
    for own in levels:
        for arm, most in ((treated, 6), (simple, 200)):
            difference = np.abs(((own == 0) * np.where(arm, 1, -1)).sum(axis=0))
            assert np.quantile(difference, 0.95) <= most
        assert np.abs(((own == 0) * np.where(simple, 1, -1)).sum(axis=0)).mean() > 2


def test_twin_one_patient_at_a_time_follows_the_kernel():
    plan = AllocationPlan(
        AllocationMethod.MINIMISATION, (1, 1), (4,), (50, 50), by_site=True,
        factors=(("age-group", (0.4, 0.6)),),
    )  # fmt: skip
    rng = np.random.default_rng(7)
    sites, ages = rng.integers(0, 5, 400), rng.integers(0, 2, 400)
    allocator = Allocator(plan, Streams(3), 0)
    found = [allocator.assign(f"{s}-{a}") for s, a in zip(sites, ages, strict=True)]
    luck = [next(again) for again in [Allocator(plan, Streams(3), 0)._luck] for _ in range(400)]
    kernel = minimisation(np.array(luck)[:, None], (sites[:, None], ages[:, None]))[:, 0]
    assert found == kernel.tolist()


def allocated(method, n, ratio=(2, 1), blocks=(3, 6), stratum="a", sizes=(60, 30), seed=5):
    plan = AllocationPlan(method, ratio, blocks, sizes)
    allocator = Allocator(plan, Streams(seed), 0)
    return [allocator.assign(stratum) for _ in range(n)]


def test_analytic_lists_keep_their_ratio_block_by_block():
    found = np.array(allocated(AllocationMethod.PERMUTED_BLOCKS, 900))
    ahead = np.cumsum(found * 1 - (~found) * 2)  # 0 wherever a block ends
    assert ahead[-6:].min() <= 0 <= ahead[-6:].max()
    assert ahead.max() <= 4
    assert ahead.min() >= -4
    assert ahead.max() == 4  # only in a block of six can four come first
    assert found.mean() == pytest.approx(2 / 3, abs=0.01)
    other = np.array(allocated(AllocationMethod.PERMUTED_BLOCKS, 900, stratum="b"))
    assert (found != other).any()
    simple = np.mean(allocated(AllocationMethod.SIMPLE, 4000))
    assert simple == pytest.approx(2 / 3, abs=4 * (2 / 9 / 4000) ** 0.5)
    assert sum(allocated(AllocationMethod.RANDOM_ALLOCATION_RULE, 90)) == 60


def test_property_a_protocol_may_be_minimised():
    template = load_template("sepsis", settings=[MINIMISED]).template
    assert template.protocol.allocation_method is AllocationMethod.MINIMISATION


@pytest.mark.parametrize(
    ("allocation", "words"),
    [
        ("{method: minimisation}", "must name the factors that 'minimisation' balances"),
        (
            "{method: minimisation, stratify_by: [site], ratio: {thymalfasin: 2, placebo: 1}}",
            "is for 1:1",
        ),
        (
            "{method: minimisation, stratify_by: [site], block_sizes: [4]}",
            "has no meaning with method 'minimisation'",
        ),
    ],
)
def test_regression_minimisation_that_cannot_be_is_refused(allocation, words):
    with pytest.raises(ProtocolError) as caught:
        load_template("sepsis", settings=[f"protocol.allocation={allocation}"])
    assert words in str(caught.value)
