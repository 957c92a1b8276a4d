"""How long the parts take, each beside the floor it cannot pass: ``make bench``."""

from __future__ import annotations

import designs
import numpy as np
import pytest

from trialsim import load_template
from trialsim.engine.blocks import Job, simulate_block
from trialsim.kernels import allocation, pooling, proportions, small_study, survival
from trialsim.trial import AnalysisPlan

RNG = np.random.Generator(np.random.SFC64(1))
SHAPE = (1106, 256)
LOOKS = {"events": designs.THREE_LOOKS, "bounds": designs.SURVIVAL_BOUNDS}


@pytest.fixture(autouse=True, scope="module")
def warm():
    """Load the compiled kernels before anything is timed."""
    designs.log_rank(RNG)
    designs.max_combo(RNG)


@pytest.mark.benchmark(group="256 trials of 400, 250 events")
class TestSurvival:
    def test_bench_floor_draw_partition_sort(self, benchmark):
        latent, batch = np.empty((designs.BLOCK, designs.N)), np.empty((64, designs.N))
        benchmark(designs.floor, RNG, latent, batch)

    def test_bench_log_rank(self, benchmark):
        benchmark(designs.log_rank, RNG)

    def test_bench_log_rank_with_a_delay(self, benchmark):
        benchmark(designs.log_rank, RNG, designs.DELAYED)

    def test_bench_log_rank_three_looks(self, benchmark):
        benchmark(designs.log_rank, RNG, **LOOKS)

    def test_bench_maxcombo_decided(self, benchmark):
        benchmark(designs.max_combo, RNG)

    def test_bench_maxcombo_p_values(self, benchmark):
        benchmark(designs.max_combo, RNG, p_values=True)

    def test_bench_log_rank_in_numpy(self, benchmark):
        benchmark(designs.log_rank, RNG, kernel=survival.read_looks)


@pytest.mark.benchmark(group="4,096 trials of 1,106, three looks, counts")
class TestCounts:
    def test_bench_floor_drawing_the_uniforms(self, benchmark):
        benchmark(RNG.random, (4096, 3, 4))

    def test_bench_counts(self, benchmark):
        blocks = iter(range(10**9))
        trial = designs.BinaryTrial.make()
        benchmark(lambda: trial.counts(next(blocks)))


@pytest.mark.benchmark(group="256 trials of 1,106, patients")
class TestPatients:
    def test_bench_floor_drawing_the_uniforms(self, benchmark):
        benchmark(RNG.random, (3, *SHAPE))

    def test_bench_one_block_of_sepsis_under_six_scenarios(self, benchmark):
        resolved = load_template("sepsis")
        protocol = resolved.template.protocol
        truths = tuple(resolved.truth(s) for s in resolved.scenarios())
        job = Job(protocol, (AnalysisPlan.of(protocol),), truths)
        benchmark(simulate_block, job, 1, 0)

    def test_bench_permuted_blocks_in_44_strata(self, benchmark):
        u, v = RNG.random((2, *SHAPE))
        strata = RNG.integers(0, 44, SHAPE)
        benchmark(allocation.permuted_blocks, u, v, strata, 44, (1, 1), (4, 6))


@pytest.mark.benchmark(group="10,000 literatures of 11 trials")
class TestPooling:
    def test_bench_mantel_haenszel(self, benchmark):
        counts = RNG.binomial(40, 0.3, (2, 10_000, 11))
        size = np.full((10_000, 11), 40)
        tables = pooling.Tables(counts[0], size, counts[1], size)
        benchmark(pooling.mantel_haenszel, tables, proportions.Scale.ODDS_RATIO)

    def test_bench_reml(self, benchmark):
        benchmark(designs.reml, designs.literatures(10_000))

    def test_bench_egger(self, benchmark):
        own = designs.literatures(10_000)
        benchmark(small_study.egger, own.estimates, own.variances)

    def test_bench_rank_test(self, benchmark):
        own = designs.literatures(10_000)
        benchmark(small_study.rank_test, own.estimates, own.variances)

    def test_bench_trim_and_fill_reml(self, benchmark):
        own = designs.literatures(10_000)
        reml = designs.Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD
        benchmark(small_study.trim_and_fill, own.estimates, own.variances, reml)


def test_bench_fisher_on_10_000_tables(benchmark):
    x1, x0 = RNG.binomial(542, 0.23, 10_000), RNG.binomial(547, 0.24, 10_000)
    benchmark(proportions.fisher_p, x1, 542, x0, 547)
