"""One block of one trial design under every truth: the unit of work."""

from __future__ import annotations

from dataclasses import dataclass

from trialsim.engine.endpoint_kinds import ENDPOINT_KINDS
from trialsim.generate.candidates import assign, draw_candidates
from trialsim.protocol.design import Protocol
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams, block_width
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["Job", "simulate_block"]


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
    """

    protocol: Protocol
    plans: tuple[AnalysisPlan, ...]
    truths: tuple[Truth, ...]
    unit: str = ""

    @property
    def block_width(self) -> int:
        """Replicates per block."""
        return block_width(self.protocol.n_total)

    def n_blocks(self, n_replicates: int) -> int:
        """Blocks needed for so many replicates."""
        return -(-n_replicates // self.block_width)


def simulate_block(job: Job, seed: int, block: int) -> list[list[LookResults]]:
    """Simulate and analyse one whole block; per truth, one result per plan, in their order."""
    kind = ENDPOINT_KINDS[type(job.protocol.primary)]
    streams = Streams(seed, job.unit)
    shared = job.truths[0]
    candidates = draw_candidates(
        job.protocol, shared.factors, shared.severity_slope, streams, block
    )
    assigned = assign(candidates, job.protocol, streams, block)
    batches = kind.draw(job.protocol, candidates, assigned, job.truths, streams, block)
    return [[kind.analyse(batch, plan) for plan in job.plans] for batch in batches]
