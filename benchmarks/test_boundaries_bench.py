"""How long group-sequential bounds take: ``make bench``, one thread of OpenBLAS."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim.kernels.boundaries import (
    Region,
    crossing_probabilities,
    scaled_bounds,
    spending_bounds,
)
from trialsim.sizing.sequential import (
    BetaSpending,
    HwangShihDeCani,
    LanDeMetsObrienFleming,
    ObrienFleming,
    sequential_design,
)

T = np.arange(1, 6) / 5
SPENT = np.diff(LanDeMetsObrienFleming().spent(T, 0.025), prepend=0.0)


@pytest.mark.benchmark(group="five looks, one-sided 0.025")
class TestFiveLooks:
    def test_bench_lan_demets_bounds(self, benchmark):
        upper = benchmark(spending_bounds, T, SPENT)
        assert upper[-1] == pytest.approx(2.03103, abs=1e-5)

    def test_bench_obrien_fleming_bounds(self, benchmark):
        upper = benchmark(scaled_bounds, T, T**-0.5, 0.025)
        assert upper[-1] == pytest.approx(2.04007, abs=1e-5)

    def test_bench_obrien_fleming_bounds_two_sided(self, benchmark):
        upper = benchmark(scaled_bounds, T, T**-0.5, 0.025, Region(symmetric=True))
        assert upper[-1] == pytest.approx(2.04007, abs=1e-5)

    def test_bench_crossing_probabilities(self, benchmark):
        upper = spending_bounds(T, SPENT)
        found = benchmark(crossing_probabilities, T, np.full(5, -np.inf), upper, 3.0)
        assert found.upper.sum() > 0.5

    @pytest.mark.parametrize("futility", [None, BetaSpending(HwangShihDeCani(-2))])
    def test_bench_design_with_its_drift(self, benchmark, futility):
        design = benchmark(
            sequential_design,
            T,
            alpha=0.025,
            sides=1,
            efficacy=LanDeMetsObrienFleming(),
            futility=futility,
            binding=futility is not None,
            power=0.9,
        )
        assert design.power(design.planned_drift) == pytest.approx(0.9)

    def test_bench_classical_design_with_its_drift(self, benchmark):
        design = benchmark(
            sequential_design, T, alpha=0.025, sides=1, efficacy=ObrienFleming(), power=0.9
        )
        assert design.power(design.planned_drift) == pytest.approx(0.9)
