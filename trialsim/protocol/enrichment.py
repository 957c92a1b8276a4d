"""Who is eligible by a marker, and what a threshold makes of them; ``nature.enrichment``."""

from __future__ import annotations

from math import log
from statistics import NormalDist
from typing import Annotated

from pydantic import Field

from trialsim.protocol.outcomes import Baseline, Measured
from trialsim.protocol.quantities import Frozen, Id, Number, SourcedNumber

__all__ = ["Enrichment", "baseline_of", "level_shares_possible", "share_eligible"]


class ShareOfAll(SourcedNumber):
    """A share of everybody with the condition, eligible or not."""

    value: Annotated[Number, Field(gt=0, lt=1)]


class Enrichment(Frozen):
    """How a factor goes with a marker whose value at entry decides who is eligible.

    The marker is an endpoint under ``outcomes:`` whose `baseline` has an `at_most` or `at_least`:
    the threshold. Being in `level` of `factor` is more or less likely the lower the marker is;
    `share_of_all` is that level's share before the threshold, the factor's own shares are those of
    the patients enrolled. ``trialsim optimise`` tries other thresholds (`vary: {threshold: ...}`).
    """

    marker: Id
    factor: Id
    level: Id
    share_of_all: ShareOfAll


def baseline_of(outcome: object) -> Baseline | None:
    """Return the baseline of a measured outcome that has a threshold; None where there is none."""
    own = outcome.baseline if isinstance(outcome, Measured) else None
    if own is None or (own.at_most is None and own.at_least is None):
        return None
    return own


def _standardised(baseline: Baseline, threshold: float) -> float:
    if baseline.geometric_mean is not None and baseline.geometric_sd is not None:
        if threshold <= 0:
            return float("-inf")
        return (log(threshold) - log(baseline.geometric_mean)) / log(baseline.geometric_sd)
    assert baseline.mean is not None  # required by a rule
    assert baseline.sd is not None
    return (threshold - baseline.mean) / baseline.sd


def share_eligible(baseline: Baseline, threshold: float) -> float:
    """Return the share of everybody on the eligible side of a threshold; the marker is normal."""
    z = _standardised(baseline, threshold)
    below = NormalDist().cdf(z) if z > float("-inf") else 0.0
    return below if baseline.at_most is not None else 1 - below


def level_shares_possible(of_all: float, eligible: float) -> tuple[float, float]:
    """Return between which values the share of a level among the eligible must lie (Frechet)."""
    return max(0.0, (of_all - (1 - eligible)) / eligible), min(1.0, of_all / eligible)
