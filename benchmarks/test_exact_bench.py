"""How long exact power of two proportions takes: ``make bench``."""

from __future__ import annotations

import pytest

from trialsim.kernels.exact import ExactTest, rejection_probability, rejection_region
from trialsim.sizing.proportions import exact_proportions_size
from trialsim.sizing.single_arm import simon_two_stage


def power(test: ExactTest, sides: int) -> float:
    return rejection_probability(rejection_region(test, 600, 600, 0.05, sides), 0.2, 0.26)


@pytest.mark.benchmark(group="exact power, 600 by 600")
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("test", list(ExactTest))
def test_bench_power(benchmark, test, sides):
    assert 0.6 < benchmark(power, test, sides) < 0.8


@pytest.mark.benchmark(group="designs by enumeration")
class TestDesigns:
    @pytest.mark.parametrize("test", list(ExactTest))
    def test_bench_lasting_size_of_20_against_35_percent(self, benchmark, test):
        assert 120 < benchmark(exact_proportions_size, test, 0.2, 0.35).n_treated < 170

    def test_bench_simon_30_against_45_percent(self, benchmark):
        assert benchmark(simon_two_stage, 0.3, 0.45).n == 81
