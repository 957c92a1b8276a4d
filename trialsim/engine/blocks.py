"""One block of one trial design under every truth: the unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trialsim.analyse.estimands import analyse_estimand
from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS
from trialsim.generate.binary import counts_suffice, draw_counts
from trialsim.generate.candidates import assign, draw_candidates
from trialsim.generate.intercurrent import draw_event_days, eventful
from trialsim.generate.joint import latents
from trialsim.generate.outcomes import draw_outcome
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import ResponseEndpoint
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams, block_width
from trialsim.trial import AnalysisPlan, Candidates, Kernel, LookResults, Path

__all__ = ["Found", "Job", "draw_patients", "eventful_id", "simulate_block", "simulate_chunk"]

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
        suffices = alone and counts_suffice(self.protocol, self.truths, self.plans[0].looks)
        return replace(self, path=Path.SUFFICIENT_STATISTICS if suffices else Path.PATIENTS)

    @property
    def block_width(self) -> int:
        """Replicates per block."""
        counts = self.path is Path.SUFFICIENT_STATISTICS
        return block_width(self.protocol.n_total, counts=counts)

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
        kind = ENDPOINT_KINDS[type(job.protocol.primary)]
        looks, streams = job.plans[0].looks, Streams(seed, job.unit)
        counts = draw_counts(job.protocol, job.truths, looks, streams, block)
        return [[kind.analyse(batch, plan) for plan in job.plans] for batch in counts]
    levels_of = frozenset(t.lifetimes.factor for t in job.truths if t.lifetimes)
    _, batches = draw_patients(job, seed, block, levels_of)
    return [[_analysed(job, own, plan) for plan in job.plans] for own in batches]


def _analysed(job: Job, batches: dict[str, Any], plan: AnalysisPlan) -> LookResults:
    if plan.estimand:
        return analyse_estimand(batches[eventful_id(plan.endpoint)], plan)
    kind = ENDPOINT_KINDS[type(job.protocol.endpoint(plan.endpoint))]
    return kind.analyse(batches[plan.endpoint], plan)


def eventful_id(endpoint: str) -> str:
    """Return under what an endpoint with its intercurrent events stands among the batches."""
    return f"{endpoint} with events"


def draw_patients(
    job: Job, seed: int, block: int, levels_of: frozenset[str]
) -> tuple[Candidates, Sequence[dict[str, Any]]]:
    """Draw one block of candidates, assign them, and draw what happens to them under each truth.

    Parameters
    ----------
    levels_of : set of str
        Factors whose levels are to be kept.

    Returns
    -------
    candidates : Candidates
    batches : sequence of dict
        Per truth, one batch per endpoint of the plans, by its id; where nature has intercurrent
        events, another with them by its `eventful_id`.
    """
    streams, shared = Streams(seed, job.unit), job.truths[0]
    candidates = draw_candidates(
        job.protocol,
        shared.factors,
        shared.severity_slope,
        streams,
        block,
        enrolment=shared.enrolment,
        levels_of=levels_of,
    )
    assigned = assign(candidates, job.protocol, streams, block, job.kernel)
    found: list[dict[str, Any]] = [{} for _ in job.truths]
    own = {endpoint.id for endpoint in job.protocol.simulated}
    named = list(dict.fromkeys(plan.endpoint for plan in job.plans))
    if draw := ENDPOINT_KINDS[type(job.protocol.primary)].draw:
        drawn = draw(job.protocol, candidates, assigned, job.truths, streams, block)
        for batches, batch in zip(found, drawn, strict=True):
            batches.update((name, batch) for name in named if name in own)
    others = [name for name in named if shared.outcome(name)]
    luck = latents(job.protocol, others, shared.correlations, candidates, streams, block)
    for truth, batches in zip(job.truths, found, strict=True):
        for name in others:
            outcome = truth.outcome(name)
            assert outcome is not None  # every truth of a job has the same
            batches[name] = draw_outcome(name, outcome, luck[name], assigned, streams, block)
    if shared.intercurrent:
        _come_between(job, candidates, found, streams, block)
    return candidates, found


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
