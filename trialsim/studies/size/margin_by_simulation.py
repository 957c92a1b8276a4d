"""A trial against a margin, simulated: counts drawn by look, and the test that was planned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import Characteristic, proportion
from trialsim.kernels.increments import binomial
from trialsim.kernels.proportions import (
    Scale,
    ScoreVariance,
    log_odds_ratio,
    log_risk_ratio,
    risk_difference,
    score_z,
)
from trialsim.sizing.fixed import Better, Level, Margin
from trialsim.sizing.proportions import NullVariance, TwoProportions
from trialsim.sizing.sequential import SequentialDesign
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import Measure

__all__ = ["MarginTrial", "margin_power", "margin_z", "rejects_margin"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_CONTRASTS = {
    Scale.RISK_DIFFERENCE: risk_difference,
    Scale.RISK_RATIO: log_risk_ratio,
    Scale.ODDS_RATIO: log_odds_ratio,
}
_VARIANCES = {
    NullVariance.RESTRICTED: ScoreVariance.FARRINGTON_MANNING,
    NullVariance.MIETTINEN_NURMINEN: ScoreVariance.MIETTINEN_NURMINEN,
}


@dataclass(frozen=True)
class MarginTrial:
    """A comparison of two risks with a margin, at a size.

    Attributes
    ----------
    design : TwoProportions
        Restricted, Miettinen-Nurminen or unpooled.
    n_treated, n_control : int
    level : Level
        One-sided.
    looks : SequentialDesign or None
    """

    design: TwoProportions
    n_treated: int
    n_control: int
    level: Level
    looks: SequentialDesign | None = None


def margin_z(design: TwoProportions, x1: Counts, n1: Counts, x0: Counts, n0: Counts) -> Floats:
    """Return the test statistic against the margin, positive in favour of treatment.

    Parameters
    ----------
    design : TwoProportions
    x1, n1, x0, n0 : ndarray of int, one shape
        Events and patients, treated and control.
    """
    assert isinstance(design.hypothesis, Margin)
    sign = -1 if design.hypothesis.better is Better.LOWER else 1
    if design.variance in _VARIANCES:
        variance = _VARIANCES[design.variance]
        return sign * score_z(x1, n1, x0, n0, design.null, design.scale, variance)
    found = _CONTRASTS[design.scale](x1, n1, x0, n0)
    null = design.null if design.scale is Scale.RISK_DIFFERENCE else np.log(design.null)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sign * (found.estimate - null) / found.standard_error)


def margin_power(trial: MarginTrial, *, replicates: int, seed: int) -> Characteristic:
    """Return the share of simulated trials that reject the margin.

    Risks are the same for all patients of an arm; arms are of their planned sizes at every look.
    """
    width, streams = block_width(0, counts=True), Streams(seed)
    fractions = trial.looks.information if trial.looks else (1.0,)
    blocks = [
        streams.generator(Decision.COUNTS, block).random((width, len(fractions), 2))
        for block in range(-(-replicates // width))
    ]
    luck = np.concatenate(blocks)[:replicates]
    arms = (
        (trial.n_treated, trial.design.treated_risk),
        (trial.n_control, trial.design.control_risk),
    )
    counts = []
    for arm, (n_total, risk) in enumerate(arms):
        seen = np.round(np.array(fractions) * n_total).astype(np.int64)
        added = np.diff(seen, prepend=0)
        events = [
            binomial(luck[:, k, arm], np.full(len(luck), n), risk) for k, n in enumerate(added)
        ]
        counts += [
            np.cumsum(np.stack(events, axis=1), axis=1),
            np.broadcast_to(seen, luck.shape[:2]),
        ]
    z = margin_z(trial.design, *counts)
    return proportion(Measure.POWER, rejects_margin(z, trial.level, trial.looks))


def rejects_margin(z: Floats, level: Level, looks: SequentialDesign | None) -> NDArray[np.bool_]:
    """Return which trials crossed the efficacy bound before any futility bound.

    Parameters
    ----------
    z : ndarray, shape (n_reps, n_looks)
        Against the margin, positive in favour of treatment.
    level : Level
    looks : SequentialDesign or None
    """
    if looks is None:
        return np.asarray(z[:, -1] >= level.critical_z)
    over = z >= np.array(looks.efficacy_z)
    futile = np.zeros_like(over)
    if looks.futility_z is not None:
        futile[:, :-1] = z[:, :-1] <= np.array(looks.futility_z)[:-1]
    ended = over | futile
    ended[:, -1] = True
    return np.asarray(over[np.arange(len(z)), ended.argmax(axis=1)])
