"""The compiled survival kernels give the reference's numbers and its decisions, everywhere."""

from __future__ import annotations

from functools import partial
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.analyse.looks import event_cuts
from trialsim.kernels import allocation, survival
from trialsim.kernels.hazards import Hazard
from trialsim.kernels.survival import (
    FlemingHarrington,
    FollowUp,
    ModestlyWeighted,
    Reading,
    Ties,
    ZeroBefore,
)
from trialsim.protocol.design import Look, Trigger
from trialsim.protocol.quantities import Duration

pytest.importorskip("numba", reason="the extra [fast] is not installed")
from trialsim.kernels import survival_fast

CLOSE = 1e-10
EVERYTHING = Reading(
    (
        FlemingHarrington(),
        FlemingHarrington(0, 1),
        FlemingHarrington(0.5, 0.5),
        ModestlyWeighted(most=2.0),
        ModestlyWeighted(until=20.0),
        ZeroBefore(10.0),
    ),
    Ties.EFRON,
    15.0,
    25.0,
)
LOG_RANK_ALONE = Reading(cox=None)
PLAIN = ((Hazard((), (0.03,)), Hazard((), (0.02,))),)
DELAYED = ((Hazard((), (0.03,)), Hazard((5.0, 15.0), (0.03, 0.0, 0.01))),)
CURED = ((Hazard((), (0.01,), 1.4, 0.2), Hazard((8.0,), (0.01, 0.005), 1.4, 0.3)),)


def looks(*triggers):
    return tuple(Look(at=Trigger(**trigger)) for trigger in triggers)


def trials(n, n_reps, hazards=PLAIN, seed=1, **more):
    rng = np.random.default_rng(seed)
    options = dict.fromkeys(("tied", "random_entry", "levels", "strata", "loss"), False) | more
    latent = rng.standard_exponential((n, n_reps))
    if options["tied"]:
        latent = np.ceil(latent * 8) / 8
    entry = np.floor(np.linspace(0, 20, n))[:, None]
    if options["random_entry"]:
        entry = np.sort(rng.random((n, n_reps)) * 20, axis=0)
    level = rng.integers(0, 2, (n, n_reps)) if options["levels"] else None
    return FollowUp(
        latent,
        entry,
        rng.random((n, n_reps)) < 0.5,
        hazards + DELAYED if options["levels"] else hazards,
        level,
        rng.integers(0, 3, (n, n_reps)) if options["strata"] else None,
        rng.exponential(60, (n, n_reps)) if options["loss"] else None,
        more.get("most_days", inf),
    )


def compare(batch, when, reading):
    rule = partial(event_cuts, when)
    slow = survival.read_looks(batch, rule, reading)
    fast = survival_fast.read_looks(batch, rule, reading)
    for name, a, b in zip(slow._fields, slow, fast, strict=True):
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        np.testing.assert_allclose(a, b, rtol=CLOSE, atol=CLOSE, err_msg=name)
    if reading.weights:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = [
                x.score / np.sqrt(np.diagonal(x.covariance, axis1=2, axis2=3)) for x in (slow, fast)
            ]
        assert np.array_equal(z[0] < -1.96, z[1] < -1.96)  # the same decisions
    return slow


@given(
    n=st.integers(1, 90),
    n_reps=st.integers(1, 140),
    hazards=st.sampled_from([PLAIN, DELAYED, CURED]),
    seed=st.integers(0, 1000),
    tied=st.booleans(),
    random_entry=st.booleans(),
    levels=st.booleans(),
    strata=st.booleans(),
    loss=st.booleans(),
    most_days=st.sampled_from([inf, 30.0]),
    reading=st.sampled_from([EVERYTHING, LOG_RANK_ALONE, Reading((), Ties.BRESLOW)]),
)
def test_property_any_trial_gives_the_same_numbers_and_decisions(
    n, n_reps, hazards, reading, **how
):
    batch = trials(n, n_reps, hazards, **how)
    day = Duration(18.0, "d")
    compare(batch, looks({"enrolled": (n + 1) // 2}, {"calendar": day}, {"events": n}), reading)


@pytest.mark.parametrize("reading", [EVERYTHING, LOG_RANK_ALONE])
@pytest.mark.parametrize(
    "batch",
    [
        trials(1, 1),
        trials(1, 65),
        trials(7, 3),
        trials(8, 8),
        trials(65, 67, random_entry=True),
        trials(40, 5)._replace(latent=np.full((40, 5), 0.25), entry=np.zeros((40, 1))),
        trials(40, 5)._replace(latent=np.full((40, 5), 1e9)),
        trials(40, 5)._replace(treated=np.ones((40, 5), bool)),
        trials(40, 5, ((Hazard((), (0.0,)), Hazard((), (0.0,))),)),
    ],
    ids=["one", "one-many", "remainder", "whole", "batches", "tied", "late", "one-arm", "no-event"],
)
def test_regression_edges_give_the_same_numbers(batch, reading):
    found = compare(batch, looks({"calendar": Duration(19.0, "d")}, {"events": 1}), reading)
    assert np.isfinite(found.cut).all()


def test_property_permuted_blocks_are_the_reference_s():
    rng = np.random.default_rng(3)
    for n, n_reps, sizes, ratio in (
        (1, 1, (2,), (1, 1)),
        (101, 7, (4, 6), (1, 1)),
        (50, 9, (6,), (2, 1)),
    ):
        u, v = rng.random((2, n, n_reps))
        strata = np.zeros((n, n_reps), dtype=np.int64)
        slow = allocation.permuted_blocks(u, v, strata, 1, ratio, sizes)
        every = np.array(sizes)
        fast = survival_fast.permuted_blocks(u, v, every, every // sum(ratio) * ratio[0])
        assert np.array_equal(slow, fast)


def test_regression_bounds_are_checked_in_these_tests():
    import numba

    assert numba.config.BOUNDSCHECK == 1


def test_analytic_a_look_sees_nothing_that_comes_after_it():
    """Cutting data by hand at a look's day gives what the look found."""
    batch = trials(60, 4, random_entry=True, loss=True)
    (when,) = looks({"events": 25})
    found = survival.read_looks(batch, partial(event_cuts, (when,)), Reading())
    time, event = survival.followed(batch)
    for r in range(4):
        cut = found.cut[r, 0]
        entered = batch.entry[:, r] < cut
        seen = batch.entry[:, r] + time[:, r] <= cut
        assert (seen & event[:, r]).sum() == 25
        followed = np.where(seen, time[:, r], cut - batch.entry[:, r])
        data = survival.survival_data(
            followed[entered], (event[:, r] & seen)[entered], batch.treated[:, r][entered]
        )
        tables = survival.risk_tables(data)
        assert found.score[r, 0, 0] == pytest.approx(
            survival.weighted_log_rank(tables).score[0, 0], abs=CLOSE
        )
        assert found.cox[r, 0, 0] == pytest.approx(
            survival.cox(tables).log_hazard_ratio[0], abs=CLOSE
        )
