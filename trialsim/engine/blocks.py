"""One block of one trial design under every truth: the unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS
from trialsim.generate.binary import counts_suffice, draw_counts
from trialsim.generate.candidates import assign, draw_candidates
from trialsim.protocol.design import Protocol
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams, block_width
from trialsim.trial import AnalysisPlan, Candidates, Kernel, LookResults, Path

__all__ = ["Found", "Job", "draw_patients", "simulate_block", "simulate_chunk"]

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
        suffices = counts_suffice(self.protocol, self.truths, self.plans[0].looks)
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
    kind = ENDPOINT_KINDS[type(job.protocol.primary)]
    if job.path is Path.SUFFICIENT_STATISTICS:
        looks, streams = job.plans[0].looks, Streams(seed, job.unit)
        batches: Sequence[Any] = draw_counts(job.protocol, job.truths, looks, streams, block)
    else:
        levels_of = frozenset(t.lifetimes.factor for t in job.truths if t.lifetimes)
        _, batches = draw_patients(job, seed, block, levels_of)
    return [[kind.analyse(batch, plan) for plan in job.plans] for batch in batches]


def draw_patients(
    job: Job, seed: int, block: int, levels_of: frozenset[str]
) -> tuple[Candidates, Sequence[Any]]:
    """Draw one block of candidates, assign them, and draw what happens to them under each truth.

    Parameters
    ----------
    levels_of : set of str
        Factors whose levels are to be kept.
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
    kind = ENDPOINT_KINDS[type(job.protocol.primary)]
    return candidates, kind.draw(job.protocol, candidates, assigned, job.truths, streams, block)
