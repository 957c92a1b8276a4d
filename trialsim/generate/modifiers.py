"""Effects that differ between patients: which cell each is in, and the risk on treatment there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trialsim.kernels.marginal import intercept_for, score_distribution
from trialsim.protocol.modifiers import ModifiedMeans, ModifiedRisks
from trialsim.protocol.scenario import Factor, Truth
from trialsim.trial import Candidates

__all__ = ["TreatedModel", "cell_of", "effects_of", "treated_model", "treated_risks"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TreatedModel:
    """Risk on treatment: ``expit(intercept of the cell + prognostic score + per_sd * severity)``.

    Attributes
    ----------
    intercepts, per_sd : tuple of float, one per cell
        Intercepts are solved so that the marginal risk of every cell is the stated one.
    """

    intercepts: tuple[float, ...]
    per_sd: tuple[float, ...]


def cell_of(candidates: Candidates, factors: Sequence[tuple[str, int]]) -> Ints:
    """Return every patient's combination of levels, the last factor fastest.

    Parameters
    ----------
    candidates : Candidates
        With the levels of these factors.
    factors : sequence of (id, number of levels)

    Returns
    -------
    ndarray of int, shape (n_patients, n_reps)
    """
    cell = np.zeros(candidates.strata.shape, dtype=np.int64)
    for name, n_levels in factors:
        cell = cell * n_levels + candidates.levels[name]
    return cell


@lru_cache(maxsize=1024)  # once per truth, not once per block
def treated_model(
    modified: ModifiedRisks,
    factors: tuple[Factor, ...],
    severity_slope: float,
    control_intercept: float,
) -> TreatedModel:
    """Find the coefficients whose marginal risk on treatment is that of every cell.

    Where treatment does nothing, both arms have the same coefficients to the last bit.
    """
    cells = modified.cells
    by_id = {factor.id: factor for factor in factors}
    names = [name for name, _ in cells.factors]
    rest = tuple(
        (np.array(f.shares), np.array(f.odds_ratios)) for f in factors if f.id not in names
    )
    scores, probabilities = score_distribution(severity_slope + cells.per_sd, rest)
    offsets = product(*(np.log(by_id[name].odds_ratios) for name in names))
    intercepts = tuple(
        intercept_for(risk, scores + sum(offset), probabilities) if active else control_intercept
        for offset, risk, active in zip(offsets, modified.treated, cells.active, strict=True)
    )
    return TreatedModel(intercepts, tuple(cells.per_sd if a else 0.0 for a in cells.active))


def treated_risks(
    truth: Truth, modified: ModifiedRisks, control_intercept: float, candidates: Candidates
) -> Floats:
    """Return every patient's risk on treatment, shape (n_patients, n_reps)."""
    cell = cell_of(candidates, modified.cells.factors)
    prognosis = not isinstance(candidates.prognostic_score, float)
    if not prognosis and not modified.cells.per_sd:
        return np.array(modified.treated)[cell]
    model = treated_model(modified, truth.factors, truth.severity_slope, control_intercept)
    log_odds = np.array(model.intercepts)[cell] + candidates.prognostic_score
    if modified.cells.per_sd:
        assert candidates.severity is not None  # drawn where it modifies
        log_odds = log_odds + np.array(model.per_sd)[cell] * candidates.severity
    return np.asarray(expit(log_odds))


def effects_of(modified: ModifiedMeans, candidates: Candidates) -> Floats:
    """Return every patient's effect on a mean at every time, (n_times, n_patients, n_reps)."""
    cell = cell_of(candidates, modified.cells.factors)
    effects = np.array(modified.effects).T[:, cell]
    if modified.cells.per_sd:
        assert candidates.severity is not None  # drawn where it modifies
        acts = np.array(modified.cells.active)[cell]
        slopes = np.array(modified.per_sd)[:, None, None]
        effects = effects + slopes * np.where(acts, candidates.severity, 0.0)
    return np.asarray(effects)
