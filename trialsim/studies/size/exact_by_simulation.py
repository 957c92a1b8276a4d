"""A trial compared by an enumerated test that trials are not analysed with, simulated: counts."""

from __future__ import annotations

import numpy as np

from trialsim.characteristics import Characteristic, proportion
from trialsim.kernels.exact import ExactTest, rejection_region
from trialsim.kernels.increments import binomial
from trialsim.sizing.fixed import Level
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import Measure

__all__ = ["counts_power"]


def counts_power(
    test: ExactTest,
    treated: tuple[float, int],
    control: tuple[float, int],
    level: Level,
    *,
    replicates: int,
    seed: int,
) -> Characteristic:
    """Return the share of simulated trials in which a test of two proportions rejects.

    Parameters
    ----------
    test : ExactTest
        A one-sided test looks in the direction of the effect.
    treated, control : (risk, patients)
        The risk is the same for all patients of an arm.
    level : Level
    """
    width, streams = block_width(0, counts=True), Streams(seed)
    blocks = [
        streams.generator(Decision.COUNTS, block).random((width, 2))
        for block in range(-(-replicates // width))
    ]
    luck = np.concatenate(blocks)[:replicates]
    drawn = {
        arm: binomial(luck[:, arm], np.full(len(luck), n), risk)
        for arm, (risk, n) in enumerate((treated, control))
    }
    fewer, more = (0, 1) if treated[0] < control[0] else (1, 0)
    sizes = treated[1], control[1]
    region = rejection_region(test, sizes[fewer], sizes[more], level.alpha, level.sides)
    events = drawn[fewer] + drawn[more]
    rejects = drawn[fewer] <= region.at_most[events]
    rejects |= drawn[fewer] >= region.at_least[events]
    return proportion(Measure.POWER, rejects)
