"""Times to an event: every patient's luck, from which either arm's time follows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trialsim.generate.modifiers import cell_of
from trialsim.kernels.hazards import Hazard, day_of
from trialsim.kernels.survival import FollowUp
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.scenario import Truth
from trialsim.protocol.survival import HazardCurve
from trialsim.streams import Decision, Streams
from trialsim.trial import Candidates

__all__ = ["draw_follow_up", "hazards_of"]


def draw_follow_up(
    protocol: Protocol,
    candidates: Candidates,
    assigned: NDArray[np.bool_],
    truths: tuple[Truth, ...],
    streams: Streams,
    block: int,
) -> list[FollowUp]:
    """Return one batch per truth, all with the same patients and the same luck.

    A patient's luck is one standard exponential number, the cumulative hazard at the event: under
    another treatment or truth the same patient has the time at which *that* hazard adds up to it.
    """
    primary = protocol.primary
    assert isinstance(primary, TimeToEventEndpoint)
    assert candidates.entry is not None  # required by the rules
    latent = streams.generator(Decision.OUTCOME, block).standard_exponential(assigned.shape)
    stratified = getattr(primary.analysis, "stratified", False) and candidates.n_strata > 1
    losses: dict[HazardCurve, NDArray[np.float64]] = {}
    batches = []
    for truth in truths:
        lifetimes = truth.lifetimes
        assert lifetimes is not None  # a time-to-event protocol's truths have them
        loss = None
        if lifetimes.loss:
            if lifetimes.loss not in losses:
                luck = streams.generator(Decision.LOSS, block).standard_exponential(assigned.shape)
                losses[lifetimes.loss] = day_of(luck, Hazard(*lifetimes.loss))
            loss = losses[lifetimes.loss]
        batches.append(
            FollowUp(
                latent,
                candidates.entry,
                assigned,
                hazards_of(truth),
                cell_of(candidates, lifetimes.differs_by) if lifetimes.differs_by else None,
                candidates.strata if stratified else None,
                loss,
                primary.followed_for.days if primary.followed_for else np.inf,
            )
        )
    return batches


@lru_cache(maxsize=1024)  # once per truth, not once per block
def hazards_of(truth: Truth) -> tuple[tuple[Hazard, Hazard], ...]:
    """Return (control, treated) of every level."""
    assert truth.lifetimes is not None
    return tuple(
        (Hazard(*control), Hazard(*treated))
        for control, treated in zip(truth.lifetimes.control, truth.lifetimes.treated, strict=True)
    )
