"""Patients as they arrive, and their assignment: the same under every scenario."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.kernels import allocation
from trialsim.protocol.design import AllocationMethod, Protocol
from trialsim.protocol.scenario import Factor
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import Candidates

__all__ = ["assign", "draw_candidates"]


def draw_candidates(
    protocol: Protocol,
    factors: tuple[Factor, ...],
    severity_slope: float,
    streams: Streams,
    block: int,
) -> Candidates:
    """Draw one block of patients in order of arrival.

    Parameters
    ----------
    protocol : Protocol
        Gives the number of patients and the factors that stratify allocation.
    factors : tuple of Factor
    severity_slope : float
        Log odds per standard deviation of severity; 0 draws none.
    streams : Streams
    block : int
        Which block, from 0.

    Returns
    -------
    Candidates
        Arrays of shape (n_patients, block width).
    """
    shape = (protocol.n_total, block_width(protocol.n_total))
    strata, n_strata = np.zeros(shape, dtype=np.int64), 1
    score: NDArray[np.float64] | float = 0.0
    for factor in factors:
        stratifies = factor.id in protocol.allocation.stratify_by
        log_odds_ratios = np.log(factor.odds_ratios)
        if not stratifies and not log_odds_ratios.any():
            continue
        uniforms = streams.generator(Decision.FACTOR, block, factor.id).random(shape)
        if factor.equal_levels:
            levels = (uniforms * factor.equal_levels).astype(np.int64)
        else:
            levels = np.searchsorted(np.cumsum(factor.shares)[:-1], uniforms, side="right")
        if stratifies:
            strata = strata * len(factor.shares) + levels
            n_strata *= len(factor.shares)
        if log_odds_ratios.any():
            score = score + log_odds_ratios[levels]
    if severity_slope:
        uniforms = streams.generator(Decision.SEVERITY, block).random(shape)
        score = score + severity_slope * ndtri(np.maximum(uniforms, 2.0**-54))
    return Candidates(strata, n_strata, score)


def assign(
    candidates: Candidates, protocol: Protocol, streams: Streams, block: int
) -> NDArray[np.bool_]:
    """Assign one block of patients by the protocol's method.

    Returns
    -------
    assigned : ndarray of bool, shape (n_patients, block width)
        Whether a patient is in the experimental arm.
    """
    shape = candidates.strata.shape
    uniforms = streams.generator(Decision.ASSIGNMENT, block).random(shape)
    method = protocol.allocation_method
    match method:
        case AllocationMethod.SIMPLE:
            return allocation.simple(uniforms, protocol.ratio)
        case AllocationMethod.RANDOM_ALLOCATION_RULE:
            return allocation.random_allocation_rule(uniforms, protocol.arm_sizes)
        case AllocationMethod.PERMUTED_BLOCKS:
            sizes = streams.generator(Decision.BLOCK_SIZE, block).random(shape)
            return allocation.permuted_blocks(
                uniforms,
                sizes,
                candidates.strata,
                candidates.n_strata,
                protocol.ratio,
                protocol.block_sizes,
            )
        case _:
            assert_never(method)
