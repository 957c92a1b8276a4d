"""The one table where an endpoint kind is registered: how it is drawn and how it is analysed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import binary as analyse_binary
from trialsim.analyse import competing as analyse_competing
from trialsim.analyse import counted as analyse_counted
from trialsim.analyse import measured as analyse_measured
from trialsim.analyse import ordered as analyse_ordered
from trialsim.analyse import response as analyse_response
from trialsim.analyse import single_arm as analyse_single_arm
from trialsim.analyse import survival as analyse_survival
from trialsim.generate import binary as generate_binary
from trialsim.generate import response as generate_response
from trialsim.generate import survival as generate_survival
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    CompetingEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    OrdinalEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, Candidates, LookResults

__all__ = ["ENDPOINT_KINDS", "EndpointKind", "kind_of"]

Draw = Callable[
    [Protocol, Candidates, NDArray[np.bool_], tuple[Truth, ...], Streams, int], list[Any]
]


@dataclass(frozen=True)
class EndpointKind:
    """What the engine needs to know about a kind of endpoint.

    Attributes
    ----------
    draw : callable or None
        Patients, their assignment and the truths -> one batch per truth, of a primary endpoint
        with a truth of its own; the others stand under ``outcomes:`` (`generate.outcomes`).
    analyse : callable
        A batch of that kind and a plan -> what the look finds.
    patients : callable
        A batch, a plan, a replicate and a look -> what that look sees of each patient.
    score : callable
        A batch and a plan -> one number per patient, and who is treated, both of shape
        (n_patients, n_reps): what correlates with other endpoints.
    """

    draw: Draw | None
    analyse: Callable[[Any, AnalysisPlan], LookResults]
    patients: Callable[[Any, AnalysisPlan, int, int], dict[str, NDArray[Any]]]
    score: Callable[[Any, AnalysisPlan], tuple[NDArray[np.float64], NDArray[np.bool_]]]


ENDPOINT_KINDS: dict[type, EndpointKind] = {
    BinaryEndpoint: EndpointKind(
        generate_binary.draw_outcomes,
        analyse_binary.analyse,
        analyse_binary.patients,
        analyse_binary.score,
    ),
    ResponseEndpoint: EndpointKind(
        generate_response.draw_courses,
        analyse_response.analyse,
        analyse_response.patients,
        analyse_response.score,
    ),
    TimeToEventEndpoint: EndpointKind(
        generate_survival.draw_follow_up,
        analyse_survival.analyse,
        analyse_survival.patients,
        analyse_survival.score,
    ),
    ContinuousEndpoint: EndpointKind(
        None, analyse_measured.analyse, analyse_measured.patients, analyse_measured.score
    ),
    OrdinalEndpoint: EndpointKind(
        None, analyse_ordered.analyse, analyse_ordered.patients, analyse_ordered.score
    ),
    DaysAliveEndpoint: EndpointKind(
        None, analyse_ordered.analyse, analyse_ordered.patients, analyse_ordered.score
    ),
    CountEndpoint: EndpointKind(
        None, analyse_counted.analyse, analyse_counted.patients, analyse_counted.score
    ),
    CompetingEndpoint: EndpointKind(
        None, analyse_competing.analyse, analyse_competing.patients, analyse_competing.score
    ),
}


def kind_of(protocol: Protocol, endpoint: SimulatedEndpoint) -> EndpointKind:
    """Return how an endpoint of a protocol is drawn and analysed, in two arms or in one."""
    kind = ENDPOINT_KINDS[type(endpoint)]
    if not protocol.is_single_arm:
        return kind
    return replace(
        kind,
        analyse=analyse_single_arm.analyse,
        patients=analyse_single_arm.patients,
        score=analyse_single_arm.score,
    )
