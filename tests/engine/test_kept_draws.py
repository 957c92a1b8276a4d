"""Draws that are kept, and one list instead of many: the same numbers, sooner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trialsim import load_template
from trialsim.conduct.allocation import AllocationList, foreseen, guesses
from trialsim.conduct.records import Luck
from trialsim.engine import blocks
from trialsim.engine.blocks import draw_patients
from trialsim.engine.conducted import conducted
from trialsim.engine.kept_draws import keeping_draws, kept
from trialsim.kernels.allocation import permuted_blocks
from trialsim.protocol.conduct import ForeseenAllocation, Foresight, Mechanism
from trialsim.protocol.reading.load import load_conduct
from trialsim.streams import Streams
from trialsim.studies.conduct.bias import plan_bias, with_strengths


def test_property_kept_draws_change_no_number():
    resolved = load_template("sepsis", settings=["protocol.sample_size={total: 100}"])
    profiles = [with_strengths(load_conduct("bias-lab"), [f"exclusion={x}"]) for x in (0.1, 0.3)]
    studies = [plan_bias(resolved, profile, ["or-082"]) for profile in profiles]
    alone = [study.result(replicates=256).rows for study in studies]
    with keeping_draws(10_000_000):
        found = [study.result(replicates=256).rows for study in (*studies, *studies)]
    assert found == [*alone, *alone]


def test_property_only_trials_with_the_flaw_that_moved_are_analysed_again(monkeypatch):
    resolved = load_template("sepsis", settings=["protocol.sample_size={total: 100}"])
    profiles = [with_strengths(load_conduct("bias-lab"), [f"exclusion={x}"]) for x in (0.1, 0.3)]
    studies = [plan_bias(resolved, profile, ["no-effect", "or-082"]) for profile in profiles]
    analysed: list[bool] = []

    def noting(batch, plan, *rest):
        analysed.append(Mechanism.EXCLUSION in plan.conduct.mechanisms)
        return conducted(batch, plan, *rest)

    monkeypatch.setattr(blocks, "conducted", noting)
    with keeping_draws(10**9):
        first, second = (blocks.simulate_block(study.job, 1, 0) for study in studies)
        assert (analysed.count(True), analysed.count(False)) == (8, 4)  # of two truths
        assert blocks.simulate_block(studies[0].job, 2, 0)[0][0] is not first[0][0]
    assert first[0][0] is second[0][0]
    for study, found in zip(studies, (first, second), strict=True):
        for kept_of_truth, truth in zip(found, blocks.simulate_block(study.job, 1, 0), strict=True):
            for ours, alone in zip(kept_of_truth, truth, strict=True):
                np.testing.assert_array_equal(ours.estimate, alone.estimate)
                np.testing.assert_array_equal(ours.p_value, alone.p_value)


def test_property_what_is_kept_comes_back_in_the_type_it_was_drawn_in():
    whole = [np.array([[0, most]]) for most in (1, -200, 300, -(2**40), 2**62)]
    drawn = {"whole": tuple(whole), "real": np.array([0.1]), "none": np.empty(0, dtype=np.int64)}
    with keeping_draws(10**6):
        kept((1,), lambda: drawn)
        again = kept((1,), dict)
    for own, back in zip(whole, again["whole"], strict=True):
        assert own.dtype == back.dtype
        assert (own == back).all()
        assert not back.flags.writeable
    assert again["real"] is drawn["real"]
    assert again["none"].dtype == np.int64


def test_property_draws_are_kept_up_to_a_bound_and_cannot_be_changed():
    resolved = load_template("sepsis", settings=["protocol.sample_size={total: 100}"])
    job, same = (plan_bias(resolved, load_conduct(id_), ["or-082"]).job for id_ in ("poor",) * 2)
    with keeping_draws(10**9):
        first, again = (draw_patients(own, 1, 0, frozenset())[1] for own in (job, same))
        assert first is again
        assert draw_patients(job, 2, 0, frozenset())[1] is not first
        with pytest.raises(ValueError, match="read-only"):
            first[0][job.plans[0].endpoint].assigned[0] = True
    with keeping_draws(1_000):
        drawn = [kept((n,), lambda: np.zeros(100)) for n in (1, 2, 1)]
        assert drawn[0] is not drawn[2]
        assert kept((1,), lambda: np.ones(100)) is drawn[2]
    assert kept((1,), lambda: np.ones(100))[0] == 1


@pytest.mark.parametrize("waiting", [2, 3])
@pytest.mark.parametrize("n", [2, 90])
def test_property_one_list_is_the_only_one_of_many(n, waiting):
    """The shorter way of one list gives what the general one gives where the others are empty."""
    uniforms = np.random.default_rng(1).random((n, 20))
    merit = np.round(np.random.default_rng(2).normal(size=uniforms.shape), 1)  # with ties
    nobody = np.zeros(uniforms.shape, dtype=np.int64)
    for size, ratio in ((4, (1, 1)), (6, (2, 1))):
        one, many = (
            permuted_blocks(uniforms, uniforms, nobody, n_strata, ratio, (size,))
            for n_strata in (1, 2)
        )
        assert (one == many).all()
    lists = AllocationList.in_blocks_of_4(uniforms)
    assert (guesses(lists)[:, [3]] == guesses(lists.of_trial(3))).all()
    for knows in Foresight:
        for strength in (0.0, 0.5, 1.0):
            flaw = ForeseenAllocation(strength=strength, waiting=waiting, knows=knows)
            one, many = (
                foreseen(own, merit, flaw, Luck(Streams(1), 0, uniforms.shape))
                for own in (lists, replace(lists, n_strata=2))
            )
            assert (one == many).all()
            if n > 2:
                assert (one != lists.assigned).any() == (strength > 0)
