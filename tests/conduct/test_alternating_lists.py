"""What is known of the next assignment: simple, alternating and open lists."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim.conduct.allocation import AllocationList, foreseen, guesses
from trialsim.conduct.records import Luck
from trialsim.engine.blocks import Job, draw_patients
from trialsim.protocol.conduct import AllocationListKind, ForeseenAllocation, Foresight
from trialsim.protocol.reading.load import load_template
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan

N, REPS = 41, 2_000


def luck() -> Luck:
    return Luck(Streams(2), 0, (N, REPS))


def test_analytic_of_an_alternating_list_only_the_first_arm_is_not_known():
    own = AllocationList.alternating((N, REPS), luck())
    assert (own.assigned[1:] != own.assigned[:-1]).all()
    assert abs(own.assigned[0].mean() - 0.5) < 4 * 0.5 / np.sqrt(REPS)
    guess = guesses(own)
    right = np.where(guess == 0, 0.5, guess == np.where(own.assigned, 1, -1))
    assert (right.sum(axis=0) == N - 0.5).all()


def test_analytic_of_one_list_in_blocks_of_four_17_of_24_guesses_are_right():
    """2 + (4^2 / C(4, 2) - 1) / 2 of 4, a coin deciding ties (Blackwell and Hodges 1957)."""
    own = AllocationList.in_blocks_of_4(np.random.default_rng(3).random((40, REPS)))
    assert (own.assigned.reshape(10, 4, REPS).sum(axis=1) == 2).all()
    guess = guesses(own)
    right = np.where(guess == 0, 0.5, guess == np.where(own.assigned, 1, -1)).mean(axis=0)
    assert abs(right.mean() - 17 / 24) < 4 * right.std() / np.sqrt(REPS)


def test_analytic_of_a_simple_list_nothing_is_known():
    rng = np.random.default_rng(1)
    assigned = rng.random((N, REPS)) < 0.5
    strata = np.zeros((N, REPS), dtype=np.int64)
    own = AllocationList(assigned, np.ones((N, REPS), dtype=bool), strata, 1, (1, 1))
    assert not guesses(own).any()
    merit = rng.normal(size=(N, REPS))
    flaw = ForeseenAllocation(strength=1, waiting=4)
    assert np.array_equal(foreseen(own, merit, flaw, luck()), assigned)


def test_analytic_once_an_arm_is_full_the_rest_of_a_list_of_fixed_sizes_is_known():
    assigned = np.array([True, True, False, False])[:, None]
    strata, opens = np.zeros((4, 1), dtype=np.int64), np.array([[True], [False], [False], [False]])
    own = AllocationList(assigned, opens, strata, 1, (1, 1))
    assert guesses(own)[:, 0].tolist() == [0, -1, -1, -1]


@pytest.mark.parametrize("waiting", [2, 4])
def test_property_alternation_is_steered_almost_as_an_open_list(waiting):
    own = AllocationList.alternating((N, REPS), luck())
    merit = np.random.default_rng(4).normal(size=(N, REPS))
    gap = {}
    for knows in Foresight:
        flaw = ForeseenAllocation(strength=1, knows=knows, waiting=waiting)
        treated = foreseen(own, merit, flaw, luck())
        assert np.array_equal(treated.sum(axis=0), own.assigned.sum(axis=0))
        gap[knows] = merit[treated].mean() - merit[~treated].mean()
    assert 0 < gap[Foresight.NEXT_ASSIGNMENT] - gap[Foresight.PAST_ASSIGNMENTS] < 0.1
    assert gap[Foresight.PAST_ASSIGNMENTS] > 0.5


def test_property_the_profile_replaces_the_lists_of_the_protocol():
    settings = ("protocol.sample_size={total: 60}", "nature.severity_slope=1")
    resolved = load_template("sepsis", settings=settings)
    protocol = resolved.template.protocol
    plan = AnalysisPlan.of(protocol)
    own = Job(protocol, (plan,), (resolved.truth(resolved.scenarios()[0]),))
    blocked = ForeseenAllocation(strength=0.001)
    alternating = ForeseenAllocation(strength=0.001, list=AllocationListKind.ALTERNATING)
    _, (before,) = draw_patients(own, 1, 0, frozenset())
    runs = {}
    for name, flaw in {"protocol": blocked, "alternating": alternating}.items():
        _, (batches,) = draw_patients(own, 1, 0, frozenset(), flaw)
        batch = batches["mortality-28d"]
        assert np.array_equal(batch.events, before["mortality-28d"].events)
        runs[name] = (batch.assigned[1:] != batch.assigned[:-1]).mean()
    assert runs["alternating"] > 0.99 > 0.75 > runs["protocol"]
