"""Effects that differ between patients: which cell each is in, and the risk on treatment there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import hypot

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
    """Risk on treatment: ``expit(intercept of the cell + prognostic score + what covariates add)``.

    Attributes
    ----------
    intercepts : tuple of float, one per cell
        Solved so that the marginal risk of every cell is the stated one.
    sds : tuple of float, one per cell
        Standard deviation of the log odds that severity and covariates add, modified.
    """

    intercepts: tuple[float, ...]
    sds: tuple[float, ...]


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
    slopes: tuple[tuple[str, float], ...],
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
    sd = hypot(*cells.slopes_on_treatment(slopes).values())
    scores, probabilities = score_distribution(sd, rest)
    offsets = product(*(np.log(by_id[name].odds_ratios) for name in names))
    intercepts = tuple(
        intercept_for(risk, scores + sum(offset), probabilities) if active else control_intercept
        for offset, risk, active in zip(offsets, modified.treated, cells.active, strict=True)
    )
    plain = hypot(*(slope for _, slope in slopes))
    return TreatedModel(intercepts, tuple(sd if active else plain for active in cells.active))


def treated_risks(
    truth: Truth, modified: ModifiedRisks, control_intercept: float, candidates: Candidates
) -> Floats:
    """Return every patient's risk on treatment, shape (n_patients, n_reps)."""
    cell = cell_of(candidates, modified.cells.factors)
    prognosis = not isinstance(candidates.prognostic_score, float)
    if not prognosis and not modified.cells.per_sd:
        return np.array(modified.treated)[cell]
    model = treated_model(modified, truth.factors, truth.slopes, control_intercept)
    log_odds = np.array(model.intercepts)[cell] + candidates.prognostic_score
    acts = np.array(modified.cells.active)[cell]
    for name, per_sd in modified.cells.per_sd:
        log_odds = log_odds + per_sd * np.where(acts, candidates.covariate(name), 0.0)
    return np.asarray(expit(log_odds))


def effects_of(modified: ModifiedMeans, candidates: Candidates) -> Floats:
    """Return every patient's effect on a mean at every time, (n_times, n_patients, n_reps)."""
    cell = cell_of(candidates, modified.cells.factors)
    effects = np.array(modified.effects).T[:, cell]
    acts = np.array(modified.cells.active)[cell]
    for name, per_sd in modified.per_sd:
        own = np.where(acts, candidates.covariate(name), 0.0)
        effects = effects + np.array(per_sd)[:, None, None] * own
    return np.asarray(effects)
