"""How outcomes are read (RoB 2, domain 4: measurement of the outcome)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.records import Luck, Reading, Records
from trialsim.protocol.conduct import Assessment, Mechanism
from trialsim.streams import Decision

__all__ = ["misread"]


def misread(records: Records, flaw: Assessment, luck: Luck) -> Records:
    """Read outcomes with a sensitivity and specificity that differ between the arms.

    In an arm with risk p the unfavourable outcome is recorded with probability
    p x sensitivity + (1 - p)(1 - specificity) (Rogan and Gladen 1978, American Journal of
    Epidemiology 107:71-76); strength takes both from 1 to what is stated. A measurement or category
    is read better by what is stated of the arm, times strength; of a time to an event or a count
    how events are read is noted.

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

    def by_arm(treated: float, control: float) -> NDArray[np.float64]:
        return np.asarray(strength * np.where(records.treated, treated, control))

    if (better := flaw.better_by) is not None:
        assert records.worse_by is not None  # refused by the rules
        return replace(records, worse_by=records.worse_by - by_arm(*better))
    sees, clears = flaw.of_events
    overlooked = by_arm(1 - sees[0], 1 - sees[1])
    imagined = by_arm(1 - clears[0], 1 - clears[1])
    uniforms = luck.of_patients(Decision.ASSESSMENT)
    if records.worse_by is not None:
        place = luck.of_patients(Decision.ASSESSMENT, "place")
        return replace(records, reading=Reading(1 - overlooked, 1 - imagined, uniforms, place))
    wrong = uniforms < np.where(records.unfavourable, overlooked, imagined)
    return replace(records, unfavourable=records.unfavourable ^ wrong)
