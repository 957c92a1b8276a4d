"""Who is left out of the analysis (RoB 2, domain 3: missing outcome data)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.records import Luck, Records
from trialsim.protocol.conduct import ByArmAndOutcome, DifferentialLoss, Exclusion, Mechanism
from trialsim.streams import Decision

__all__ = ["differential_loss", "exclusion", "probabilities"]


def exclusion(records: Records, flaw: Exclusion, luck: Luck) -> Records:
    """Leave patients with the unfavourable outcome out of one arm.

    Excluding a share f of an arm's events multiplies the odds of its expected counts by 1 - f, and
    so the odds ratio, exactly.

    Parameters
    ----------
    records : Records
    flaw : Exclusion
    luck : Luck

    Returns
    -------
    Records
    """
    in_arm = records.treated if flaw.arm == "experimental" else ~records.treated
    strength = luck.strength(Mechanism.EXCLUSION, flaw.strength)
    out = in_arm & records.unfavourable & (luck.of_patients(Decision.EXCLUSION) < strength)
    return replace(records, included=records.included & ~out)


def differential_loss(records: Records, flaw: DifferentialLoss, luck: Luck) -> Records:
    """Lose patients by arm and outcome, and analyse complete cases.

    With shares l lost, the odds ratio of the expected counts is multiplied by
    (1 - l11)(1 - l00) / ((1 - l10)(1 - l01)), the first index the arm, the second the outcome.

    Parameters
    ----------
    records : Records
    flaw : DifferentialLoss
    luck : Luck

    Returns
    -------
    Records
    """
    strength = luck.strength(Mechanism.DIFFERENTIAL_LOSS, flaw.strength)
    lost = luck.of_patients(Decision.DIFFERENTIAL_LOSS) < strength * probabilities(
        records, flaw.lost
    )
    return replace(records, included=records.included & ~lost)


def probabilities(records: Records, by: ByArmAndOutcome) -> NDArray[np.float64]:
    """Return each patient's probability, shape (n_patients, n_reps)."""
    table = np.array(
        [
            [by.control_favourable.value, by.control_unfavourable.value],
            [by.treated_favourable.value, by.treated_unfavourable.value],
        ]
    )
    return np.asarray(table[records.treated.astype(np.intp), records.unfavourable.astype(np.intp)])
