"""Multiple testing over many trials at once: which hypotheses may be rejected together.

P values have one hypothesis per row and one trial per column. All procedures keep the familywise
error rate in the strong sense at `alpha`; Hochberg's needs independence or positive dependence.
A P value that is NaN (a failed analysis) never leads to a rejection, and what it could have changed
is returned as undecided. A level counts as reached up to a relative 1e-12, so that sums of thirds
and sixths do not break a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Graph",
    "Rejections",
    "fixed_sequence",
    "graphical",
    "graphical_adjusted_p",
    "hochberg",
    "holm",
    "weights_after",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_MOST_HYPOTHESES = 15  # every subset has its weights kept: 2^15 of them, with transitions, 60 MB
_ROUNDING = 1e-12


class Rejections(NamedTuple):
    """What a procedure decides in each trial.

    Attributes
    ----------
    rejected : ndarray of bool, shape (n_hypotheses, n_reps)
    undecided : ndarray of bool, shape (n_hypotheses, n_reps)
        Not rejected, but rejected if every P value that is NaN were 0: a failed analysis, of this
        or of another hypothesis, stands in the way. False everywhere without NaN.
    """

    rejected: Bools
    undecided: Bools


@dataclass(frozen=True)
class Graph:
    """Local levels and where they go when a hypothesis is rejected.

    Parameters
    ----------
    weights : sequence of float, length n_hypotheses
        Share of alpha that each hypothesis starts with; at least 0, sum at most 1.
    transitions : sequence of sequences of float, n_hypotheses rows
        Row j: which share of its level hypothesis j hands to each other one once it is rejected;
        at least 0, 0 to itself, sum at most 1.

    Raises
    ------
    ValueError
        Where weights or transitions break these rules, or there are more than 15 hypotheses.

    References
    ----------
    Bretz, Maurer, Brannath and Posch (2009), Statistics in Medicine 28:586-604.
    """

    weights: Sequence[float]
    transitions: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        # As tuples a graph is hashable: its table of weights is made once.
        weights = tuple(float(w) for w in self.weights)
        transitions = tuple(tuple(float(g) for g in row) for row in self.transitions)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "transitions", transitions)
        m = len(weights)
        if not 1 <= m <= _MOST_HYPOTHESES:
            raise ValueError(
                f"graph.weights must name 1 to {_MOST_HYPOTHESES} hypotheses; got {m}. "
                "Split the family, or test it by Holm's procedure."
            )
        if len(transitions) != m or any(len(row) != m for row in transitions):
            raise ValueError(
                f"graph.transitions must be {m} by {m}, as there are {m} weights; got rows of "
                f"length {[len(row) for row in transitions]}. Give one row per hypothesis."
            )
        _check_shares("graph.weights", weights, "Start with a share of alpha for each.")
        for j, row in enumerate(transitions):
            _check_shares(f"graph.transitions[{j}]", row, "Share out at most the whole level.")
            if row[j] != 0:
                raise ValueError(
                    f"graph.transitions[{j}][{j}] must be 0; got {row[j]:g}. "
                    "A rejected hypothesis keeps nothing: hand its level to the others."
                )

    @classmethod
    def fixed_sequence(cls, n_hypotheses: int) -> Graph:
        """Build the hierarchical procedure: all of alpha to the first, handed from one on."""
        step = np.eye(n_hypotheses, k=1)
        return cls(np.eye(n_hypotheses)[0].tolist(), step.tolist())

    @classmethod
    def holm(cls, n_hypotheses: int) -> Graph:
        """Build Holm's procedure: equal weights, every level shared out equally."""
        share = (1 - np.eye(n_hypotheses)) / max(n_hypotheses - 1, 1)
        return cls(np.full(n_hypotheses, 1 / n_hypotheses).tolist(), share.tolist())


def _check_shares(where: str, shares: Sequence[float], remedy: str) -> None:
    for k, share in enumerate(shares):
        if not share >= 0:  # NaN as well
            raise ValueError(f"{where}[{k}] must be at least 0; got {share:g}. {remedy}")
    total = sum(shares)
    if total > 1 + _ROUNDING:
        raise ValueError(f"{where} must sum to at most 1; got {total:g}. {remedy}")


def fixed_sequence(p: ArrayLike, alpha: float) -> Rejections:
    """Test in the order of the rows, each at full `alpha`, until the first is not rejected.

    Parameters
    ----------
    p : array of float, shape (n_hypotheses, n_reps)
        In [0, 1]; NaN where the analysis failed.
    alpha : float
        Familywise error rate, in (0, 1), on the sides that `p` is on.

    Raises
    ------
    ValueError
        Where `p` or `alpha` are outside of these.

    References
    ----------
    Maurer, Hothorn and Lehmacher (1995), Biometrie in der chemisch-pharmazeutischen Industrie
    6:3-18.
    """
    return _decide(
        p, alpha, lambda q: np.logical_and.accumulate(q <= alpha * (1 + _ROUNDING), axis=0)
    )


def holm(p: ArrayLike, alpha: float) -> Rejections:
    """Step down from the smallest P value: the k-th of m is held against alpha / (m - k + 1).

    Parameters, exceptions: as `fixed_sequence`; the order of the rows has no meaning.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6:65-70.
    """
    return _decide(
        p, alpha, lambda q: _stepwise(q, alpha, lambda ok: np.logical_and.accumulate(ok, axis=0))
    )


def hochberg(p: ArrayLike, alpha: float) -> Rejections:
    """Step up from the largest P value, over Holm's levels: one that is reached takes the rest.

    Parameters, exceptions: as `fixed_sequence`; the order of the rows has no meaning. Keeps the
    familywise error rate where Simes' inequality holds (independence, positive dependence).

    References
    ----------
    Hochberg (1988), Biometrika 75:800-802.
    """
    return _decide(
        p,
        alpha,
        lambda q: _stepwise(q, alpha, lambda ok: np.logical_or.accumulate(ok[::-1], axis=0)[::-1]),
    )


def graphical(p: ArrayLike, graph: Graph, alpha: float) -> Rejections:
    """Reject what reaches its local level, hand the level on along the graph, and go on.

    Parameters
    ----------
    p : array of float, shape (n_hypotheses, n_reps)
        In [0, 1]; NaN where the analysis failed.
    graph : Graph
        A hypothesis of weight 0 is not tested until one that is rejected hands it something.
    alpha : float
        Familywise error rate, in (0, 1), on the sides that `p` is on.

    Raises
    ------
    ValueError
        Where `p` or `alpha` are outside of these, or `graph` has another number of hypotheses.

    Notes
    -----
    Local levels depend on which hypotheses were rejected, not on the order,
    and never fall: all that reach their level are rejected at once. This is the closed test of
    weighted Bonferroni tests, by consonance.

    References
    ----------
    Bretz, Maurer, Brannath and Posch (2009), Statistics in Medicine 28:586-604, algorithm 1.
    """
    table = _table(p, graph)

    def reject(q: Floats) -> Bools:
        out = np.zeros(q.shape, dtype=bool)
        bits = (1 << np.arange(len(q)))[:, None]
        for _ in range(len(q)):
            level = alpha * (1 + _ROUNDING) * table[:, (out * bits).sum(axis=0)]
            new = (q <= level) & (level > 0) & ~out
            if not new.any():
                break
            out |= new
        return out

    return _decide(p, alpha, reject)


def graphical_adjusted_p(p: ArrayLike, graph: Graph) -> Floats:
    """Smallest alpha at which `graphical` rejects each hypothesis, at most 1.

    Parameters
    ----------
    p : array of float, shape (n_hypotheses, n_reps)
    graph : Graph

    Returns
    -------
    adjusted : ndarray of float, shape (n_hypotheses, n_reps)
        NaN where `p` is; for the other hypotheses of that trial a NaN counts as 1.

    References
    ----------
    Bretz, Maurer, Brannath and Posch (2009), Statistics in Medicine 28:586-604.
    """
    table = _table(p, graph)
    q = _checked(p)
    usable = np.where(np.isnan(q), 1.0, q)
    m, n_reps = q.shape
    adjusted, each = np.empty_like(q), np.arange(n_reps)
    gone, floor = np.zeros(n_reps, dtype=np.int64), np.zeros(n_reps)
    for _ in range(m):
        level = table[:, gone]
        ratio = np.where(level > 0, usable / np.where(level > 0, level, 1.0), 2.0)
        ratio[(gone[None] >> np.arange(m)[:, None]) & 1 == 1] = np.inf
        chosen = ratio.argmin(axis=0)
        floor = np.maximum(floor, np.minimum(ratio[chosen, each], 1.0))
        adjusted[chosen, each] = floor
        gone |= 1 << chosen
    return np.where(np.isnan(q), np.nan, adjusted)


@lru_cache(maxsize=64)
def weights_after(graph: Graph) -> Floats:
    """Weights of every graph that is left once some hypotheses are rejected.

    Returns
    -------
    weights : ndarray of float, shape (n_hypotheses, 2^n_hypotheses), read-only
        Column s: those with bit j of s set (hypothesis j, from 0) are rejected and have weight 0.

    References
    ----------
    Bretz, Maurer, Brannath and Posch (2009), Statistics in Medicine 28:586-604, algorithm 1.
    """
    w = np.asarray(graph.weights)[:, None]
    g = np.asarray(graph.transitions)[:, :, None]
    for j in range(len(w)):
        # All subsets of the hypotheses before j are there; beside each, the same without j.
        through = g[:, j, None] * g[None, j]
        loop = np.einsum("llr->lr", through)[:, None]
        left = np.where(loop < 1 - _ROUNDING, (g + through) / np.where(loop < 1, 1 - loop, 1), 0.0)
        left[np.arange(len(w)), np.arange(len(w))] = 0.0
        left[j], left[:, j] = 0.0, 0.0
        handed = w + w[j] * g[j]
        handed[j] = 0.0
        w, g = np.concatenate([w, handed], axis=1), np.concatenate([g, left], axis=2)
    w.flags.writeable = False
    return w


def _table(p: ArrayLike, graph: Graph) -> Floats:
    rows = np.shape(p)[:1]
    if rows != (len(graph.weights),):
        raise ValueError(
            f"p must have one row for each of the graph's {len(graph.weights)} hypotheses; got "
            f"shape {np.shape(p)}. Give P values of shape (n_hypotheses, n_reps)."
        )
    return weights_after(graph)


def _stepwise(q: Floats, alpha: float, accumulate: Callable[[Bools], Bools]) -> Bools:
    order = q.argsort(axis=0)  # NaN comes last
    levels = alpha * (1 + _ROUNDING) / np.arange(len(q), 0, -1)
    out = np.zeros(q.shape, dtype=bool)
    reached = np.take_along_axis(q, order, axis=0) <= levels[:, None]
    np.put_along_axis(out, order, accumulate(reached), axis=0)
    return out


def _checked(p: ArrayLike) -> Floats:
    q = np.asarray(p, dtype=float)
    if q.ndim != 2:
        raise ValueError(
            f"p must have shape (n_hypotheses, n_reps); got {q.shape}. One trial is one column."
        )
    if ((q < 0) | (q > 1)).any():
        wrong = q[(q < 0) | (q > 1)][0]
        raise ValueError(
            f"p must be in [0, 1], or NaN; got {wrong:g}. Give P values, not test statistics."
        )
    return q


def _decide(p: ArrayLike, alpha: float, reject: Callable[[Floats], Bools]) -> Rejections:
    q = _checked(p)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1); got {alpha:g}. Write 5% as 0.05.")
    rejected = reject(q)
    undecided = np.zeros(q.shape, dtype=bool)
    hit = np.isnan(q).any(axis=0)
    if hit.any():
        # Every procedure here rejects more as P values fall: 0 is as far as a failure can reach.
        undecided[:, hit] = reject(np.nan_to_num(q[:, hit], nan=0.0)) & ~rejected[:, hit]
    return Rejections(rejected, undecided)
