"""Several endpoints of the same patients: one latent normal number per endpoint, correlated.

A Gaussian copula (Nelsen 2006, section 2.3): whatever correlates, every endpoint alone keeps its
distribution. The primary endpoint's own luck is where it was without company, so that another
endpoint changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import BinaryEndpoint, ResponseEndpoint, TimeToEventEndpoint
from trialsim.protocol.outcomes import Correlated, cholesky, correlation_matrix
from trialsim.streams import Decision, Streams
from trialsim.trial import Candidates

__all__ = ["latents", "severity_of", "uniform_of"]

Floats = NDArray[np.float64]
_LEAST = 2.0**-54  # a uniform of 0 would be minus infinity


def latents(
    protocol: Protocol,
    wanted: Iterable[str],
    correlations: Sequence[Correlated],
    candidates: Candidates,
    streams: Streams,
    block: int,
    events: Sequence[str] = (),
) -> dict[str, Floats]:
    """Return a standard normal array for every endpoint wanted.

    Parameters
    ----------
    wanted : iterable of str
        Endpoint ids.
    correlations : sequence of Correlated
        On the latent scale, between endpoints, intercurrent events or with severity.
    events : sequence of str
        Intercurrent events, wanted too; high is early.

    Returns
    -------
    dict of str to ndarray, shape (n_patients, n_reps)
        High is a larger value, more events, or the event; see `Correlated`.
    """
    shape = candidates.strata.shape
    wanted = [*wanted, *events]
    if not wanted:
        return {}
    involved = {name for pair in correlations for name in pair.between}
    primary = protocol.primary.id
    order = [name for name in ("severity", primary, *wanted) if name in involved]
    order = list(dict.fromkeys(order))
    independent = {
        name: streams.generator(Decision.INTERCURRENT, block, name).standard_normal(shape)
        if name in events
        else _own(protocol, name, shape, candidates, streams, block)
        for name in dict.fromkeys((*order, *wanted))
    }
    root = cholesky(correlation_matrix(order, correlations)) if order else ()
    assert root is not None  # checked on loading
    found = dict(independent)
    for row, name in zip(root, order, strict=True):
        parts = [
            weight * independent[other] for weight, other in zip(row, order, strict=True) if weight
        ]
        found[name] = np.add.reduce(parts) if len(parts) > 1 else independent[name]
    return {name: found[name] for name in wanted}


def uniform_of(latent: Floats) -> Floats:
    """Return uniforms in (0, 1): high where the latent number is."""
    uniforms: Floats = np.clip(ndtr(latent), _LEAST, 1 - 2.0**-53)
    return uniforms


def severity_of(candidates: Candidates, streams: Streams, block: int) -> Floats:
    """Return latent severity in standard deviations, shape (n_patients, n_reps)."""
    if candidates.severity is not None:
        return candidates.severity
    luck = streams.generator(Decision.SEVERITY, block).random(candidates.strata.shape)
    return np.asarray(ndtri(np.maximum(luck, _LEAST)))


def _own(
    protocol: Protocol,
    name: str,
    shape: tuple[int, ...],
    candidates: Candidates,
    streams: Streams,
    block: int,
) -> Floats:
    primary = protocol.primary
    luck: Any
    if name == "severity":
        return severity_of(candidates, streams, block)
    if name == primary.id:
        match primary:
            case BinaryEndpoint():
                luck = streams.generator(Decision.OUTCOME, block).random(shape)
                return np.asarray(-ndtri(np.maximum(luck, _LEAST)))
            case ResponseEndpoint():
                luck = streams.generator(Decision.RESPONSE, block).random(shape)
                return np.asarray(-ndtri(np.maximum(luck, _LEAST)))
            case TimeToEventEndpoint():
                luck = streams.generator(Decision.OUTCOME, block).standard_exponential(shape)
                return np.asarray(-ndtri(np.maximum(np.exp(-luck), _LEAST)))
            case _:
                pass
    return streams.generator(Decision.LATENT, block, name).standard_normal(shape)
