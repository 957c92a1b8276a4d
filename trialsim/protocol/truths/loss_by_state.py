"""Loss that depends on the state a patient is in: exact probabilities, in pure Python.

States none, response and relapse, as a vector; what is missing from 1 has been lost. The same by
products of matrix exponentials is in `trialsim.kernels.multistate`.
"""

from __future__ import annotations

from math import ceil, exp, expm1, log2

__all__ = ["Losses", "StateVector", "carried"]

Losses = tuple[float, float, float]
"""Hazards of loss per day before response, in response and after relapse."""

StateVector = tuple[float, float, float]
_Matrix = tuple[StateVector, StateVector, StateVector]
_TERMS = 20  # of the exponential's series where its argument is at most 1: 4e-19


def carried(
    state: StateVector,
    days: float,
    hazard: float,
    relapse: float,
    again: float,
    losses: Losses,
    *,
    whole: bool = False,
) -> StateVector:
    """Carry the probabilities of the three states through a stretch with constant hazards.

    Parameters
    ----------
    state : tuple of float
        Probabilities of none, response and relapse at its start.
    days : float
    hazard, relapse, again : float
        Per day: of response, of relapse, and of response after relapse.
    losses : tuple of float
    whole : bool
        Whether the third probability is wanted; without response after relapse the first two do
        not depend on it, and are had in closed form.

    Notes
    -----
    Closed form: the convolution of two exponentials. Else the exponential of the generator, by
    uniformisation (all terms positive, so that nothing cancels) with scaling and squaring.

    References
    ----------
    Cox and Miller (1965), The Theory of Stochastic Processes, section 4.5; Jensen (1953),
    Skandinavisk Aktuarietidskrift 36:87-91.
    """
    if again or whole:
        return _by_uniformisation(state, days, hazard, relapse, again, losses)
    none, response, _ = state
    out, back = hazard + losses[0], relapse + losses[1]
    gap = abs(out - back)
    slower = exp(-min(out, back) * days)
    left = slower * (-expm1(-gap * days) / gap if gap * days > 1e-12 else days)
    return (
        none * exp(-out * days),
        response * exp(-back * days) + hazard * none * left,
        0.0,
    )


def _by_uniformisation(
    state: StateVector, days: float, hazard: float, relapse: float, again: float, losses: Losses
) -> StateVector:
    leaving = (hazard + losses[0], relapse + losses[1], again + losses[2])
    rate = max(leaving)
    if rate * days == 0:
        return state
    halvings = max(0, ceil(log2(rate * days)))
    step = days / 2**halvings
    stay = [(rate - own) * step for own in leaving]
    moves: _Matrix = (
        (stay[0], hazard * step, 0.0),
        (0.0, stay[1], relapse * step),
        (0.0, again * step, stay[2]),
    )
    one: _Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    total = term = one
    for number in range(1, _TERMS + 1):
        term = _scaled(_times(term, moves), 1 / number)
        total = _sum(total, term)
    total = _scaled(total, exp(-rate * step))
    for _ in range(halvings):
        total = _times(total, total)
    a, b, c = (sum(state[i] * total[i][j] for i in range(3)) for j in range(3))
    return a, b, c


def _times(left: _Matrix, right: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = right
    first, second, third = (
        (x * a + y * d + z * g, x * b + y * e + z * h, x * c + y * f + z * i) for x, y, z in left
    )
    return first, second, third


def _scaled(matrix: _Matrix, factor: float) -> _Matrix:
    first, second, third = ((x * factor, y * factor, z * factor) for x, y, z in matrix)
    return first, second, third


def _sum(left: _Matrix, right: _Matrix) -> _Matrix:
    first, second, third = (
        (a + x, b + y, c + z) for (a, b, c), (x, y, z) in zip(left, right, strict=True)
    )
    return first, second, third
