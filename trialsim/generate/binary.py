"""Binary outcomes: what would happen to each patient in either arm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trialsim.kernels.marginal import intercept_for, score_distribution
from trialsim.protocol.design import Protocol
from trialsim.protocol.scenario import Truth
from trialsim.streams import Decision, Streams
from trialsim.trial import Candidates, TrialBatch

__all__ = ["LogisticModel", "draw_outcomes", "solve"]


@dataclass(frozen=True)
class LogisticModel:
    """Risk given prognosis: ``expit(intercept of the arm + prognostic score)``.

    Attributes
    ----------
    intercepts : (control, experimental)
        Log odds at score 0, solved so that both marginal risks are the stated ones.
    """

    intercepts: tuple[float, float]

    @property
    def conditional_odds_ratio(self) -> float:
        """Odds ratio between two patients with the same prognosis."""
        return float(np.exp(self.intercepts[1] - self.intercepts[0]))


@lru_cache(maxsize=1024)  # once per truth, not once per block
def solve(truth: Truth) -> LogisticModel:
    """Find the coefficients whose marginal risks are the truth's.

    The odds ratio is not collapsible: with prognosis in the model, the conditional one is further
    from 1 than the marginal one stated (Gail, Wieand and Piantadosi 1984, Biometrika 71:431-444).
    """
    factors = tuple((np.array(f.shares), np.array(f.odds_ratios)) for f in truth.factors)
    scores, probabilities = score_distribution(truth.severity_slope, factors)
    control, treated = (
        intercept_for(risk, scores, probabilities)
        for risk in (truth.control_risk, truth.treated_risk)
    )
    return LogisticModel((control, treated))


def draw_outcomes(
    protocol: Protocol,
    candidates: Candidates,
    assigned: NDArray[np.bool_],
    truths: tuple[Truth, ...],
    streams: Streams,
    block: int,
) -> list[TrialBatch]:
    """Return one batch per truth, all with the same patients and the same luck.

    Parameters
    ----------
    protocol : Protocol
        Not needed for one outcome; the same for all kinds of endpoint.
    candidates : Candidates
    assigned : ndarray of bool, shape (n_patients, n_reps)
    truths : tuple of Truth
    streams : Streams
    block : int
    """
    del protocol
    uniforms = streams.generator(Decision.OUTCOME, block).random(assigned.shape)
    batches = []
    for truth in truths:
        if isinstance(candidates.prognostic_score, float):
            risks: list[Any] = [truth.control_risk, truth.treated_risk]
        else:
            risks = [expit(a + candidates.prognostic_score) for a in solve(truth).intercepts]
        batches.append(TrialBatch(assigned, np.stack([uniforms < risk for risk in risks])))
    return batches
