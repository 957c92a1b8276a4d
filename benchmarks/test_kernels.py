"""How long the parts take: ``make bench``."""

from __future__ import annotations

import numpy as np

from trialsim import load_template
from trialsim.engine.blocks import Job, simulate_block
from trialsim.kernels import allocation, proportions
from trialsim.trial import AnalysisPlan

RNG = np.random.default_rng(1)
SHAPE = (1106, 256)


def test_bench_one_block_of_sepsis_under_six_scenarios(benchmark):
    resolved = load_template("sepsis")
    protocol = resolved.template.protocol
    truths = tuple(resolved.truth(s) for s in resolved.scenarios())
    job = Job(protocol, (AnalysisPlan.of(protocol),), truths)
    benchmark(simulate_block, job, 1, 0)


def test_bench_floor_drawing_the_uniforms_of_one_block(benchmark):
    benchmark(np.random.Generator(np.random.SFC64(1)).random, (3, *SHAPE))


def test_bench_permuted_blocks_in_44_strata(benchmark):
    u, v = RNG.random((2, *SHAPE))
    strata = RNG.integers(0, 44, SHAPE)
    benchmark(allocation.permuted_blocks, u, v, strata, 44, (1, 1), (4, 6))


def test_bench_fisher_on_10_000_tables(benchmark):
    x1, x0 = RNG.binomial(542, 0.23, 10_000), RNG.binomial(547, 0.24, 10_000)
    benchmark(proportions.fisher_p, x1, 542, x0, 547)
