"""How far apart two trials of one effect come out, many pairs at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.proportions import log_odds_ratio

__all__ = ["Arms", "as_far_apart", "drawn_log_odds_ratios", "treated_risks"]

Floats = NDArray[np.float64]
_SLACK = 1e-9  # one observed gap reached by two orders of adding logarithms


class Arms(NamedTuple):
    """Patients of a trial and its risk under control."""

    n_treated: int
    n_control: int
    control_risk: float


def treated_risks(control_risk: float, log_odds_ratios: Floats) -> Floats:
    """Return the risks under treatment that these log odds ratios lead to."""
    odds = control_risk / (1 - control_risk) * np.exp(log_odds_ratios)
    return np.asarray(odds / (1 + odds), dtype=np.float64)


def drawn_log_odds_ratios(rng: np.random.Generator, arms: Arms, treated_risk: Floats) -> Floats:
    """Draw a trial per element and return the estimated log odds ratios.

    Parameters
    ----------
    rng : numpy.random.Generator
        Two binomial counts a trial.
    arms : Arms
    treated_risk : ndarray of float, shape (n_replicates,)

    Returns
    -------
    ndarray of float, shape (n_replicates,)
        By Woolf, 0.5 added to each cell where one is zero, so that every trial has one.
    """
    treated = rng.binomial(arms.n_treated, treated_risk)
    control = rng.binomial(arms.n_control, arms.control_risk, len(treated_risk))
    return log_odds_ratio(treated, arms.n_treated, control, arms.n_control).estimate


def as_far_apart(gaps: Floats, observed: float) -> NDArray[np.bool_]:
    """Whether each gap is at least as large as the observed one, in either direction."""
    return np.abs(gaps) >= abs(observed) - _SLACK
