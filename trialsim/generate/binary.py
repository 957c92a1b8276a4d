"""Binary outcomes: what would happen to each patient in either arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trialsim.generate.candidates import entries
from trialsim.generate.modifiers import treated_model, treated_risks
from trialsim.kernels.increments import binomial, hypergeometric
from trialsim.kernels.marginal import intercept_for, score_distribution
from trialsim.protocol.design import AllocationMethod, Look, Protocol
from trialsim.protocol.endpoints import BinaryEndpoint
from trialsim.protocol.modifiers import ModifiedRisks
from trialsim.protocol.scenario import Truth
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import Candidates, CountsBatch, TrialBatch

__all__ = [
    "LogisticModel",
    "counts_suffice",
    "draw_counts",
    "draw_outcomes",
    "patients_given",
    "read_out_at",
    "risks_in",
    "solve",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LogisticModel:
    """Risk given prognosis: ``expit(intercept of the arm + prognostic score)``.

    Attributes
    ----------
    intercepts : (control, experimental)
        Log odds at score 0, solved so that both marginal risks are the stated ones.
    """

    intercepts: tuple[float, float]

    @property
    def conditional_odds_ratio(self) -> float:
        """Odds ratio between two patients with the same prognosis."""
        return float(np.exp(self.intercepts[1] - self.intercepts[0]))


@lru_cache(maxsize=1024)  # once per truth, not once per block
def solve(truth: Truth) -> LogisticModel:
    """Find the coefficients whose marginal risks are the truth's.

    The odds ratio is not collapsible: with prognosis in the model, the conditional one is further
    from 1 than the marginal one stated (Gail, Wieand and Piantadosi 1984, Biometrika 71:431-444).
    """
    factors = tuple((np.array(f.shares), np.array(f.odds_ratios)) for f in truth.factors)
    scores, probabilities = score_distribution(truth.prognostic_sd, factors)
    control, treated = (
        intercept_for(risk, scores, probabilities)
        for risk in (truth.control_risk, truth.treated_risk)
    )
    return LogisticModel((control, treated))


def risks_in(truth: Truth, endpoint: str, factor: str, level: int) -> tuple[float, float]:
    """Return the marginal risks (control, experimental) of the patients in one level of a factor.

    By summation over the other factors and quadrature over severity. With prognosis and no
    modifier one conditional odds ratio holds for all; marginal ones then differ a little between
    levels, since the odds ratio is not collapsible.

    Parameters
    ----------
    truth : Truth
    endpoint : str
        Id of the primary endpoint.
    factor : str
    level : int
        From 0.
    """
    model, sd = solve(truth), truth.prognostic_sd
    modified = truth.modified_in(endpoint)
    fixed = {f.id: f.odds_ratios[level] for f in truth.factors if f.id == factor}

    def averaged(intercept: float, sd: float, known: dict[str, float]) -> float:
        rest = tuple(
            (np.array(f.shares), np.array(f.odds_ratios))
            for f in truth.factors
            if f.id not in known
        )
        scores, probabilities = score_distribution(sd, rest)
        offset = sum(np.log(ratio) for ratio in known.values())
        return float(probabilities @ expit(intercept + offset + scores))

    control = averaged(model.intercepts[0], sd, fixed)
    if not isinstance(modified, ModifiedRisks):
        return control, averaged(model.intercepts[1], sd, fixed)
    cells = modified.cells
    treated = treated_model(modified, truth.factors, truth.slopes, model.intercepts[0])
    by_id = {f.id: f.odds_ratios for f in truth.factors}
    combinations = list(product(*(range(n) for _, n in cells.factors)))
    risks = [0.0] * len(combinations)
    chosen = cells.within(factor, level)
    if not any(cells.active[index] for index in chosen):
        return control, control  # exactly, which a sum over cells may miss
    for index in chosen:
        own = {
            name: by_id[name][place]
            for (name, _), place in zip(cells.factors, combinations[index], strict=True)
        }
        intercept, own_sd = treated.intercepts[index], treated.sds[index]
        risks[index] = averaged(intercept, own_sd, {**own, **fixed})
    return control, cells.averaged(risks, chosen)


def draw_outcomes(
    protocol: Protocol,
    candidates: Candidates,
    assigned: NDArray[np.bool_],
    truths: tuple[Truth, ...],
    streams: Streams,
    block: int,
) -> list[TrialBatch]:
    """Return one batch per truth, all with the same patients and the same luck.

    Parameters
    ----------
    protocol : Protocol
    candidates : Candidates
    assigned : ndarray of bool, shape (n_patients, n_reps)
    truths : tuple of Truth
    streams : Streams
    block : int
    """
    uniforms = streams.generator(Decision.OUTCOME, block).random(assigned.shape)
    batches = []
    for truth in truths:
        if isinstance(candidates.prognostic_score, float):
            risks: list[Any] = [truth.control_risk, truth.treated_risk]
        else:
            risks = [expit(a + candidates.prognostic_score) for a in solve(truth).intercepts]
        modified = truth.modified_in(protocol.primary.id)
        if isinstance(modified, ModifiedRisks):
            intercept = solve(truth).intercepts[0]
            risks[1] = treated_risks(truth, modified, intercept, candidates)
        events = np.stack([uniforms < risk for risk in risks])
        batches.append(TrialBatch(assigned, events, candidates.entry))
    return batches


def counts_suffice(protocol: Protocol, truths: Sequence[Truth], looks: Sequence[Look]) -> bool:
    """Whether counts per look can be drawn instead of patients, with the same distribution.

    Nothing may tell patients apart (prognosis, strata), arm sizes must follow from how many are
    read out, and looks from that number alone.
    """
    endpoint, shared = protocol.primary, truths[0]
    if protocol.is_single_arm:
        return False
    if not isinstance(endpoint, BinaryEndpoint) or protocol.allocation.stratify_by:
        return False
    prognosis = shared.prognostic_sd or any(set(f.odds_ratios) != {1.0} for f in shared.factors)
    one_size = len(protocol.block_sizes) == 1
    blocked = protocol.allocation_method is AllocationMethod.PERMUTED_BLOCKS
    random_entry = shared.enrolment and shared.enrolment.fixed_days(protocol.n_total) is None
    by_number = all(look.at.information is not None for look in looks)
    return not prognosis and (one_size or not blocked) and not random_entry and by_number


def draw_counts(
    protocol: Protocol,
    truths: tuple[Truth, ...],
    looks: Sequence[Look],
    streams: Streams,
    block: int,
) -> list[CountsBatch]:
    """Return one batch of counts per truth: what patients would add up to by each look.

    Uniforms decide by inverse distribution functions, so that truths stay paired.
    """
    width = block_width(protocol.n_total, counts=True)
    read = read_out_at(looks, protocol.n_total)
    generator = streams.generator(Decision.COUNTS, block)
    uniforms = generator.random((width, len(read), 4))
    treated = _treated_among(protocol, read, uniforms[:, :, 0], uniforms[:, :, 3])
    totals = np.diff(np.array(read), prepend=0)
    per_look = np.diff(treated, axis=1, prepend=0)
    entry = entries(truths[0].enrolment, (protocol.n_total, 1), streams, block)
    batches = []
    for truth in truths:
        columns: list[Ints] = []
        for risk, n, luck in (
            (truth.treated_risk, per_look, uniforms[:, :, 1]),
            (truth.control_risk, totals - per_look, uniforms[:, :, 2]),
        ):
            events = [binomial(luck[:, k], n[:, k], risk) for k in range(len(read))]
            columns += [np.cumsum(np.stack(events, axis=1), axis=1), np.cumsum(n, axis=1)]
        x1, n1, x0, n0 = columns
        batches.append(CountsBatch(x1, n1, x0, n0, entry))
    return batches


def patients_given(
    protocol: Protocol,
    counts: CountsBatch,
    replicate: int,
    looks: Sequence[Look],
    streams: Streams,
    block: int,
) -> TrialBatch:
    """Draw the patients of one trial of which counts were drawn, given these.

    Given how many are treated between two points at which that is known (looks, ends of permuted
    blocks), every order is equally likely; given the events of an arm between two looks, every
    choice of patients is. What would have happened in the other arm is not drawn: it is the same.

    Parameters
    ----------
    counts : CountsBatch
        Of one block.
    replicate : int
        Which trial of the block.
    streams, block
        As the counts were drawn with.

    Returns
    -------
    TrialBatch
        One trial, of the patients read out by its last look.
    """
    generator = streams.generator(Decision.REPLAY, block, f"{replicate}")
    read = read_out_at(looks, protocol.n_total)
    n = read[-1]
    known = dict(zip(read, counts.n_treated[replicate].tolist(), strict=True))
    if protocol.allocation_method is AllocationMethod.PERMUTED_BLOCKS:
        size = protocol.block_sizes[0]
        per_block = size // sum(protocol.ratio) * protocol.ratio[0]
        known |= {end: end // size * per_block for end in range(size, n + 1, size)}
    treated = np.zeros(n, dtype=bool)
    start, before = 0, 0
    for end in sorted(known):
        treated[start + generator.permutation(end - start)[: known[end] - before]] = True
        start, before = end, known[end]
    events = np.zeros(n, dtype=bool)
    for arm, by_look in ((treated, counts.events_treated), (~treated, counts.events_control)):
        start, before = 0, 0
        for end, so_far in zip(read, by_look[replicate].tolist(), strict=True):
            own = np.flatnonzero(arm[start:end]) + start
            events[generator.permutation(own)[: so_far - before]] = True
            start, before = end, so_far
    both = np.stack([events, events])[:, :, None]
    return TrialBatch(treated[:, None], both, None if counts.entry is None else counts.entry[:n])


def read_out_at(looks: Sequence[Look], n_total: int) -> list[int]:
    """Patients read out at each look set off by information; everyone where there are no looks."""
    return [ceil(n_total * (look.at.information or 1) - 1e-9) for look in looks] or [n_total]


def _treated_among(protocol: Protocol, read: Sequence[int], luck: Floats, more: Floats) -> Ints:
    """Treated among the first patients read out by each look, shape (n_reps, n_looks)."""
    ratio, n_reps = protocol.ratio, len(luck)
    share = ratio[0] / sum(ratio)
    found = np.zeros((n_reps, len(read)), dtype=np.int64)
    before, done = np.zeros(n_reps, dtype=np.int64), 0
    for k, n in enumerate(read):
        match protocol.allocation_method:
            case AllocationMethod.SIMPLE:
                own = binomial(luck[:, k], np.full(n_reps, n - done), share)
            case AllocationMethod.RANDOM_ALLOCATION_RULE:
                left = protocol.arm_sizes[0] - before
                own = hypergeometric(luck[:, k], left, protocol.n_total - done, n - done)
            case AllocationMethod.PERMUTED_BLOCKS:
                own = _blocked(protocol, before, done, n, luck[:, k], more[:, k])
            case AllocationMethod.MINIMISATION:
                raise AssertionError("it is by factors, which counts do not have")
            case _ as never:
                assert_never(never)
        before, done = before + own, n
        found[:, k] = before
    return found


def _blocked(
    protocol: Protocol, before: Ints, done: int, n: int, luck: Floats, more: Floats
) -> Ints:
    """Treated among patients `done` to `n` in blocks of one size."""
    size = protocol.block_sizes[0]
    per_block = size // sum(protocol.ratio) * protocol.ratio[0]
    begun = done % size
    in_open = before - done // size * per_block  # treated so far in the block that is open
    if done // size == n // size:
        return hypergeometric(luck, per_block - in_open, size - begun, n - done)
    rest = per_block - in_open if begun else np.zeros_like(before)
    first_whole = -(-done // size)
    whole = (n // size - first_whole) * per_block
    last = hypergeometric(more, np.full_like(before, per_block), size, n % size)
    return rest + whole + last
