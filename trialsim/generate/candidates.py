"""Patients as they arrive, and their assignment: the same under every scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.kernels import allocation
from trialsim.kernels.hazards import entry_days
from trialsim.protocol.design import AllocationMethod, Protocol
from trialsim.protocol.modifiers import SEVERITY
from trialsim.protocol.scenario import Factor
from trialsim.protocol.survival import Enrolment
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import Candidates, Kernel

__all__ = ["assign", "draw_candidates", "entries"]


def draw_candidates(
    protocol: Protocol,
    factors: tuple[Factor, ...],
    severity_slope: float,
    streams: Streams,
    block: int,
    *,
    enrolment: Enrolment | None = None,
    entry: NDArray[np.float64] | None = None,
    levels_of: frozenset[str] = frozenset(),
    covariates: Mapping[str, float] | None = None,
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
    enrolment : Enrolment or None
        When they enter, where that is stated.
    entry : ndarray, shape (n_patients, block width), optional
        Their days of entry, where these are drawn already.
    levels_of : set of str
        Factors whose levels the outcome or an analysis depends on.
    covariates : mapping of str to float, optional
        Covariates on which they do and their log odds per standard deviation, 0 without prognosis;
        severity may be among them, its slope being the one above.

    Returns
    -------
    Candidates
        Arrays of shape (n_patients, block width).
    """
    shape = (protocol.n_total, block_width(protocol.n_total))
    strata, n_strata = np.zeros(shape, dtype=np.int64), 1
    score: NDArray[np.float64] | float = 0.0
    kept: dict[str, NDArray[np.int64]] = {}
    sizes: tuple[int, ...] = ()
    for factor in factors:
        stratifies = factor.id in protocol.allocation.stratify_by
        log_odds_ratios = np.log(factor.odds_ratios)
        if not (stratifies or log_odds_ratios.any() or factor.id in levels_of):
            continue
        uniforms = streams.generator(Decision.FACTOR, block, factor.id).random(shape)
        if factor.equal_levels:
            levels = (uniforms * factor.equal_levels).astype(np.int64)
        else:
            levels = np.searchsorted(np.cumsum(factor.shares)[:-1], uniforms, side="right")
        if stratifies:
            strata = strata * len(factor.shares) + levels
            n_strata *= len(factor.shares)
            sizes += (len(factor.shares),)
        if factor.id in levels_of:
            kept[factor.id] = levels
        if log_odds_ratios.any():
            score = score + log_odds_ratios[levels]
    wanted = dict(covariates or {}) | ({SEVERITY: severity_slope} if severity_slope else {})
    drawn = {name: _normal(name, shape, streams, block) for name in wanted}
    for name, slope in wanted.items():
        if slope:
            score = score + slope * drawn[name]
    severity = drawn.pop(SEVERITY, None)
    if entry is None:
        entry = entries(enrolment, shape, streams, block)
    return Candidates(strata, n_strata, score, entry, kept, severity, drawn, sizes)


def _normal(
    covariate: str, shape: tuple[int, int], streams: Streams, block: int
) -> NDArray[np.float64]:
    decision, item = Decision.COVARIATE, covariate
    if covariate == SEVERITY:
        decision, item = Decision.SEVERITY, ""
    uniforms = streams.generator(decision, block, item).random(shape)
    return np.asarray(ndtri(np.maximum(uniforms, 2.0**-54)))


def entries(
    enrolment: Enrolment | None, shape: tuple[int, int], streams: Streams, block: int
) -> NDArray[np.float64] | None:
    """Return the days of entry, shape (n_patients, n_reps), or (n_patients, 1) where fixed."""
    if enrolment is None:
        return None
    fixed = enrolment.fixed_days(shape[0])
    if fixed is not None:
        return np.array(fixed)[:, None]
    drawn = streams.generator(Decision.ENTRY, block).standard_exponential((shape[0] + 1, shape[1]))
    return entry_days(drawn, *enrolment.pieces)


def assign(
    candidates: Candidates,
    protocol: Protocol,
    streams: Streams,
    block: int,
    kernel: Kernel = Kernel.NUMPY,
) -> NDArray[np.bool_]:
    """Assign one block of patients by the protocol's method; kernels give the same answer.

    Returns
    -------
    assigned : ndarray of bool, shape (n_patients, block width)
        Whether a patient is in the experimental arm.
    """
    shape = candidates.strata.shape
    if protocol.is_single_arm:
        return np.ones(shape, dtype=bool)
    uniforms = streams.generator(Decision.ASSIGNMENT, block).random(shape)
    method = protocol.allocation_method
    match method:
        case AllocationMethod.SIMPLE:
            return allocation.simple(uniforms, protocol.ratio)
        case AllocationMethod.RANDOM_ALLOCATION_RULE:
            return allocation.random_allocation_rule(uniforms, protocol.arm_sizes)
        case AllocationMethod.PERMUTED_BLOCKS:
            choice = len(protocol.block_sizes) > 1
            size_luck = streams.generator(Decision.BLOCK_SIZE, block)
            sizes = size_luck.random(shape) if choice else np.zeros(shape)
            if kernel is Kernel.NUMBA and candidates.n_strata == 1:
                from trialsim.kernels import survival_fast

                every = np.array(protocol.block_sizes, dtype=np.int64)
                treated = every // sum(protocol.ratio) * protocol.ratio[0]
                return survival_fast.permuted_blocks(uniforms, sizes, every, treated)
            return allocation.permuted_blocks(
                uniforms,
                sizes,
                candidates.strata,
                candidates.n_strata,
                protocol.ratio,
                protocol.block_sizes,
            )
        case AllocationMethod.MINIMISATION:
            levels = np.unravel_index(candidates.strata, candidates.strata_sizes)
            return allocation.minimisation(uniforms, levels)
        case _:
            assert_never(method)
