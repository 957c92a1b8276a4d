"""How outcomes are read (RoB 2, domain 4: measurement of the outcome)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.records import Luck, Records
from trialsim.protocol.conduct import Assessment, Mechanism
from trialsim.streams import Decision

__all__ = ["misread"]


def misread(records: Records, flaw: Assessment, luck: Luck) -> Records:
    """Read outcomes with a sensitivity and specificity that differ between the arms.

    In an arm with risk p the unfavourable outcome is recorded with probability
    p x sensitivity + (1 - p)(1 - specificity) (Rogan and Gladen 1978, American Journal of
    Epidemiology 107:71-76); strength takes both from 1 to what is stated.

    Parameters
    ----------
    records : Records
    flaw : Assessment
    luck : Luck

    Returns
    -------
    Records
    """
    strength = luck.strength(Mechanism.ASSESSMENT, flaw.strength)

    def missed(treated: float, control: float) -> NDArray[np.float64]:
        return np.asarray(strength * np.where(records.treated, 1 - treated, 1 - control))

    overlooked = missed(flaw.sensitivity_treated.value, flaw.sensitivity_control.value)
    imagined = missed(flaw.specificity_treated.value, flaw.specificity_control.value)
    wrong = luck.of_patients(Decision.ASSESSMENT) < np.where(
        records.unfavourable, overlooked, imagined
    )
    return replace(records, unfavourable=records.unfavourable ^ wrong)
