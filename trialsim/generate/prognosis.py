"""What can be known of a patient's outcome before anyone is assigned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.generate.joint import severity_of
from trialsim.generate.modifiers import cell_of
from trialsim.generate.response import frailty_of
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.modifiers import SEVERITY
from trialsim.protocol.outcomes import MeasuredTruth, correlation_matrix
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams
from trialsim.trial import Candidates

__all__ = ["expected_outcome"]

Floats = NDArray[np.float64]


def expected_outcome(
    protocol: Protocol,
    truth: Truth,
    candidates: Candidates,
    baseline: Floats | None,
    streams: Streams,
    block: int,
) -> Floats | float:
    """Return a score that rises with what is to be expected of the primary endpoint.

    With the risk of an event, the speed of a response, the size of a measurement, a category or a
    count. Of a risk the log odds that prognosis adds; of response what frailty and the levels of a
    factor make of its hazard; of a time to an event the risk by the read-out in the level; of a
    measurement its baseline; else what severity says, by its correlation. The same under every
    truth of a job.

    Parameters
    ----------
    baseline : ndarray of float, shape (n_patients, n_reps), or None
        Where the endpoint is measured before treatment.

    Returns
    -------
    ndarray of float, shape (n_patients, n_reps), or float
        A float where nothing tells patients apart.
    """
    name = protocol.primary.id
    outcome = truth.outcome(name)
    if truth.courses:
        return frailty_of(truth.courses, candidates, streams, block)
    if truth.lifetimes:
        assert isinstance(protocol.primary, TimeToEventEndpoint)
        if not truth.lifetimes.differs_by:
            return 0.0
        day = protocol.primary.read_out.days_after_entry(protocol.therapy)
        risks = np.array([1 - curve.survival(day) for curve in truth.lifetimes.control])
        return np.asarray(risks[cell_of(candidates, truth.lifetimes.differs_by)])
    if outcome is None:
        return candidates.prognostic_score
    if baseline is not None:
        assert isinstance(outcome, MeasuredTruth)  # nothing else has one
        return baseline if outcome.correlation[0][-1] > 0 else -baseline
    correlation = correlation_matrix((SEVERITY, name), truth.correlations)[0][1]
    return correlation * severity_of(candidates, streams, block) if correlation else 0.0
