"""The one table where an endpoint kind is registered: how it is drawn and how it is analysed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import binary as analyse_binary
from trialsim.generate import binary as generate_binary
from trialsim.protocol.design import BinaryEndpoint
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, Candidates, LookResults, TrialBatch

__all__ = ["ENDPOINT_KINDS", "EndpointKind"]

Draw = Callable[[Candidates, NDArray[np.bool_], tuple[Truth, ...], Streams, int], list[TrialBatch]]


@dataclass(frozen=True)
class EndpointKind:
    """What the engine needs to know about a kind of endpoint."""

    draw_outcomes: Draw
    analyse: Callable[[TrialBatch, AnalysisPlan], LookResults]


ENDPOINT_KINDS: dict[type, EndpointKind] = {
    BinaryEndpoint: EndpointKind(generate_binary.draw_outcomes, analyse_binary.analyse),
}
