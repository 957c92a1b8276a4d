"""One block of one trial design under every truth: the unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.estimands import analyse_estimand
from trialsim.analyse.missing import analyse_read_outs
from trialsim.analyse.subgroups import analyse_part
from trialsim.conduct.records import Luck
from trialsim.engine.conducted import conducted, steered
from trialsim.engine.endpoint_kinds import kind_of
from trialsim.engine.kept_draws import kept
from trialsim.generate.binary import counts_suffice, draw_counts
from trialsim.generate.candidates import assign, draw_candidates
from trialsim.generate.historical import with_history
from trialsim.generate.intercurrent import draw_event_days, eventful
from trialsim.generate.joint import latents
from trialsim.generate.outcomes import Selecting, draw_outcome
from trialsim.generate.prognosis import expected_outcome
from trialsim.operations.enrolment import entry_days
from trialsim.protocol.conduct import BestOfSubgroups, ForeseenAllocation
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import ResponseEndpoint
from trialsim.protocol.outcomes import MeasuredTruth
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams, block_width
from trialsim.trial import (
    AnalysisPlan,
    Candidates,
    InLevel,
    Kernel,
    LookResults,
    Path,
    PerCovariate,
)

__all__ = [
    "Found",
    "Job",
    "candidates_of",
    "draw_fates",
    "draw_patients",
    "eventful_id",
    "foresight_of",
    "simulate_block",
    "simulate_chunk",
]

Found = list[list[LookResults]]  # per truth, one result per plan


@dataclass(frozen=True)
class Job:
    """A trial to be simulated under several truths, which share its patients.

    Attributes
    ----------
    plans : tuple of AnalysisPlan
        Read-outs of the same patients, the primary one first.
    unit : str
        Empty for the protocol's own trial; the evidence id for an observed one. It names the
        random stream, so neither its position nor its company changes its patients.
    path : Path
        How patients are represented.
    kernel : Kernel
        What computes; its plans name the same.
    """

    protocol: Protocol
    plans: tuple[AnalysisPlan, ...]
    truths: tuple[Truth, ...]
    unit: str = ""
    path: Path = Path.PATIENTS
    kernel: Kernel = Kernel.NUMPY

    def on_its_shortest_path(self) -> Job:
        """Return the job with counts for patients, where that gives the same distribution."""
        alone = not any(truth.outcomes or truth.intercurrent for truth in self.truths)
        alone &= not any(plan.conduct for plan in self.plans)
        alone &= not any(plan.part for plan in self.plans)  # counts cannot tell patients apart
        suffices = alone and counts_suffice(self.protocol, self.truths, self.plans[0].looks)
        return replace(self, path=Path.SUFFICIENT_STATISTICS if suffices else Path.PATIENTS)

    @property
    def block_width(self) -> int:
        """Replicates per block."""
        counts = self.path is Path.SUFFICIENT_STATISTICS
        return block_width(self.protocol.n_total, counts=counts)

    @cached_property
    def drawn_by(self) -> str:
        """Everything its patients depend on, but seed and block, in words."""
        read_out = list(dict.fromkeys((own.endpoint, repr(own.historical)) for own in self.plans))
        apart = sorted(_told_apart(self))
        return repr((self.protocol, self.truths, read_out, self.unit, self.kernel, apart))

    @cached_property
    def plans_in_words(self) -> tuple[str, ...]:
        """Each of its plans; the same words are the same plan."""
        return tuple(map(repr, self.plans))

    def n_blocks(self, n_replicates: int) -> int:
        """Blocks needed for so many replicates."""
        return -(-n_replicates // self.block_width)


def simulate_chunk(job: Job, seed: int, first: int, count: int) -> Found:
    """Simulate `count` whole blocks from the one numbered `first`, one after another."""
    blocks = [simulate_block(job, seed, block) for block in range(first, first + count)]
    return [
        [LookResults.joined([block[truth][plan] for block in blocks]) for plan in range(n_plans)]
        for truth, n_plans in enumerate(len(results) for results in blocks[0])
    ]


def simulate_block(job: Job, seed: int, block: int) -> Found:
    """Simulate and analyse one whole block; per truth, one result per plan, in their order."""
    if job.path is Path.SUFFICIENT_STATISTICS:
        kind = kind_of(job.protocol, job.protocol.primary)
        looks, streams = job.plans[0].looks, Streams(seed, job.unit)
        counts = draw_counts(job.protocol, job.truths, looks, streams, block)
        return [[kind.analyse(batch, plan) for plan in job.plans] for batch in counts]
    streams, shape = Streams(seed, job.unit), (job.protocol.n_total, job.block_width)
    luck = Luck(streams, block, shape)
    drawn: dict[ForeseenAllocation | None, Any] = {}

    def found(truth: int, plan: AnalysisPlan) -> LookResults:
        foresight = foresight_of(plan)
        if foresight not in drawn:
            drawn[foresight] = draw_patients(job, seed, block, frozenset(), foresight)
        candidates, batches = drawn[foresight]
        own = batches[truth]
        if plan.missing:
            return analyse_read_outs(own[plan.endpoint], plan, streams, block)
        if plan.conduct:
            analyse = kind_of(job.protocol, job.protocol.endpoint(plan.endpoint)).analyse
            batch, levels = own[plan.endpoint], candidates.levels
            return conducted(batch, plan, job.truths[truth], luck, analyse, levels)
        return _analysed(job, own, plan, candidates)

    def known(truth: int, number: int) -> LookResults:
        plan = job.plans[number]
        if not plan.conduct:
            return found(truth, plan)
        about = ("results", truth, job.plans_in_words[number], job.drawn_by, seed, block)
        return kept(about, lambda: found(truth, plan))  # a dial that is turned leaves most alone

    numbers = range(len(job.plans))
    return [[known(truth, number) for number in numbers] for truth in range(len(job.truths))]


def foresight_of(plan: AnalysisPlan) -> ForeseenAllocation | None:
    """Return how the plan's trial foresees its allocation; None where it does not."""
    flaw = plan.conduct.foreseen_allocation if plan.conduct else None
    return flaw if flaw and flaw.acts else None


def _analysed(
    job: Job, batches: dict[str, Any], plan: AnalysisPlan, candidates: Candidates
) -> LookResults:
    if plan.estimand:
        return analyse_estimand(batches[eventful_id(plan.endpoint)], plan)
    kind = kind_of(job.protocol, job.protocol.endpoint(plan.endpoint))
    if plan.part:
        return analyse_part(kind.analyse, batches[plan.endpoint], plan, candidates)
    return kind.analyse(batches[plan.endpoint], plan)


def eventful_id(endpoint: str) -> str:
    """Return under what an endpoint with its intercurrent events stands among the batches."""
    return f"{endpoint} with events"


def draw_patients(
    job: Job,
    seed: int,
    block: int,
    levels_of: frozenset[str],
    foresight: ForeseenAllocation | None = None,
) -> tuple[Candidates, Sequence[dict[str, Any]]]:
    """Draw one block of candidates, assign them, and draw what happens to them under each truth.

    Parameters
    ----------
    levels_of : set of str
        Factors whose levels are to be kept, besides those that tell patients apart.
    foresight : ForeseenAllocation or None
        Where recruiters foresee the allocation, and pick.

    Returns
    -------
    candidates : Candidates
    batches : sequence of dict
        Per truth, one batch per endpoint of the plans, by its id; where nature has intercurrent
        events, another with them by its `eventful_id`.
    """
    about = (job.drawn_by, seed, block, sorted(levels_of))
    candidates, assigned = kept(about, lambda: _arriving(job, seed, block, levels_of))
    batches = kept(
        (foresight, *about),
        lambda: _followed(job, seed, block, levels_of, foresight, candidates, assigned),
    )
    return candidates, batches


def _arriving(
    job: Job, seed: int, block: int, levels_of: frozenset[str]
) -> tuple[Candidates, NDArray[np.bool_]]:
    """Draw candidates, and who would be treated of them, shape (n_patients, n_reps)."""
    streams = Streams(seed, job.unit)
    candidates = candidates_of(job, streams, block, levels_of)
    return candidates, assign(candidates, job.protocol, streams, block, job.kernel)


def _followed(
    job: Job,
    seed: int,
    block: int,
    levels_of: frozenset[str],
    foresight: ForeseenAllocation | None,
    candidates: Candidates,
    assigned: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Draw what happens to candidates in the arms they come to, per truth."""
    streams, shared = Streams(seed, job.unit), job.truths[0]
    if foresight:
        baseline = _baseline(job, seed, block, levels_of)
        expected = expected_outcome(job.protocol, shared, candidates, baseline, streams, block)
        assigned = steered(job.protocol, candidates, assigned, expected, foresight, streams, block)
    return draw_fates(job, candidates, assigned, streams, block)


def candidates_of(
    job: Job, streams: Streams, block: int, levels_of: frozenset[str] = frozenset()
) -> Candidates:
    """Draw one block of a job's candidates, with all that outcomes and analyses depend on."""
    shared, told_apart = job.truths[0], _told_apart(job)
    shape = (job.protocol.n_total, block_width(job.protocol.n_total))
    entry = entry_days(shared.sites, shape, streams, block) if shared.sites else None
    return draw_candidates(
        job.protocol,
        shared.factors,
        shared.severity_slope,
        streams,
        block,
        enrolment=shared.enrolment,
        entry=entry,
        levels_of=levels_of | told_apart,
        covariates={name: slope for name, slope in shared.slopes if slope or name in told_apart},
    )


def draw_fates(
    job: Job, candidates: Candidates, assigned: NDArray[np.bool_], streams: Streams, block: int
) -> list[dict[str, Any]]:
    """Draw what happens to candidates, as assigned, under each truth; as `draw_patients` does."""
    shared = job.truths[0]
    found: list[dict[str, Any]] = [{} for _ in job.truths]
    own = {endpoint.id for endpoint in job.protocol.simulated}
    named = list(dict.fromkeys(plan.endpoint for plan in job.plans))
    if draw := kind_of(job.protocol, job.protocol.primary).draw:
        drawn = draw(job.protocol, candidates, assigned, job.truths, streams, block)
        for batches, batch in zip(found, drawn, strict=True):
            batches.update((name, batch) for name in named if name in own)
    others = [name for name in named if shared.outcome(name)]
    others += [name for name in _selecting(shared) if name not in named]
    luck = latents(job.protocol, others, shared.correlations, candidates, streams, block)
    for truth, batches in zip(job.truths, found, strict=True):
        selecting: Selecting | None = None
        for name in dict.fromkeys((*_selecting(truth), *others)):
            outcome = truth.outcome(name)
            assert outcome is not None  # every truth of a job has the same
            batch = draw_outcome(
                name,
                outcome,
                luck[name],
                assigned,
                streams,
                block,
                selecting,
                modified=truth.modified_in(name),
                candidates=candidates,
            )
            batches[name] = batch
            selecting = selecting or getattr(batch, "selecting", None)
    if shared.intercurrent:
        _come_between(job, candidates, found, streams, block)
    if not job.protocol.is_single_arm:
        return found
    for plan in job.plans:
        assert plan.historical is not None  # of every plan of a single arm
        for batches in found:
            own_batch = batches[plan.endpoint]
            batches[plan.endpoint] = with_history(
                own_batch, plan.endpoint, plan.historical, streams, block
            )
    return found


def _baseline(
    job: Job, seed: int, block: int, levels_of: frozenset[str]
) -> NDArray[np.float64] | None:
    """Return what the primary endpoint measures before treatment, whoever is then assigned."""
    primary = job.protocol.primary
    outcome = job.truths[0].outcome(primary.id)
    if not (isinstance(outcome, MeasuredTruth) and outcome.baseline):
        return None
    _, batches = draw_patients(replace(job, truths=job.truths[:1]), seed, block, levels_of)
    found: NDArray[np.float64] = batches[0][primary.id].baseline
    return found


def _selecting(truth: Truth) -> list[str]:
    """Return the endpoint whose baseline decides who is eligible, where there is one."""
    return [
        name
        for name, outcome in truth.outcomes
        if isinstance(outcome, MeasuredTruth)
        and outcome.selection
        and outcome.selection.correlation is None
    ]


def _told_apart(job: Job) -> frozenset[str]:
    """Return the factors and covariates that effects or analyses differ by."""
    names: set[str] = set()
    for truth in job.truths:
        cells = [modified.cells for _, modified in truth.modified]
        names |= {name for own in cells for name, _ in own.factors}
        names |= {name for own in cells for name, _ in own.per_sd}
        names |= {name for name, _ in truth.lifetimes.differs_by} if truth.lifetimes else set()
        names |= {truth.courses.factor} - {""} if truth.courses else set()
    for plan in job.plans:
        flaw = plan.conduct.best_of if plan.conduct else None
        names |= set(flaw.factors) if isinstance(flaw, BestOfSubgroups) and flaw.acts else set()
        match plan.part:
            case InLevel(factor):
                names.add(factor)
            case PerCovariate(covariate):
                names.add(covariate)
            case None:
                pass
    return frozenset(names)


def _come_between(
    job: Job,
    candidates: Candidates,
    found: list[dict[str, Any]],
    streams: Streams,
    block: int,
) -> None:
    """Add, per truth and endpoint, what intercurrent events make of it."""
    shared = job.truths[0]
    named = list(found[0])
    events = [event.id for event in shared.intercurrent]
    with_luck = [n for n in named if not isinstance(job.protocol.endpoint(n), ResponseEndpoint)]
    luck = latents(job.protocol, with_luck, shared.correlations, candidates, streams, block, events)
    for truth, batches in zip(job.truths, found, strict=True):
        days = draw_event_days(job.protocol, truth, batches, luck)
        for name in named:
            batches[eventful_id(name)] = eventful(
                job.protocol,
                job.protocol.endpoint(name),
                truth,
                batches[name],
                luck.get(name),
                days,
                candidates,
                streams,
                block,
            )
