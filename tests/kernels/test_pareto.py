"""The undominated points, against every pair compared in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.kernels.pareto import knee, non_dominated

POINTS = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.tuples(*[st.integers(0, 6).map(float)] * k), min_size=1, max_size=60)
)


def by_hand(points):
    def beats(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return [not any(beats(other, own) for other in points) for own in points]


@given(POINTS)
def test_property_the_front_is_that_of_every_pair_compared(points):
    assert non_dominated(points).tolist() == by_hand(points)


def test_property_many_points_are_compared_in_parts():
    rng = np.random.default_rng(3)
    points = rng.random((3_000, 3)).round(2)
    points[:5] = points[5:10]  # twins
    found = non_dominated(points)
    assert 20 < found.sum() < 1_000
    front = points[found]
    for own in points[~found][:200]:
        assert ((front <= own).all(axis=1) & (front < own).any(axis=1)).any()
    for own in front:
        assert not ((points <= own).all(axis=1) & (points < own).any(axis=1)).any()


def test_property_infinity_is_worse_than_any_number_and_nan_is_refused():
    assert non_dominated([[1.0, np.inf], [1.0, 2.0], [0.5, np.inf]]).tolist() == [
        False,
        True,
        True,
    ]
    with pytest.raises(ValueError, match="numbers"):
        non_dominated([[np.nan, 1.0]])


def test_analytic_the_knee_of_a_corner_is_the_corner():
    assert knee([[0.0, 10.0], [1.0, 1.0], [10.0, 0.0]]) == 1
    assert knee([[0.0, 1000.0], [1.0, 100.0], [10.0, 0.0]]) == 1
