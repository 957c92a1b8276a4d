"""Who is left out of the analysis (RoB 2, domain 3: missing outcome data)."""

from __future__ import annotations

from dataclasses import replace

from trialsim.conduct.records import Luck, Records
from trialsim.protocol.conduct import Exclusion, Mechanism
from trialsim.streams import Decision

__all__ = ["exclusion"]


def exclusion(records: Records, flaw: Exclusion, luck: Luck) -> Records:
    """Leave patients with the unfavourable outcome out of one arm.

    Excluding a share f of an arm's events multiplies the odds of the expected counts in that arm
    by 1 - f, and so the odds ratio, exactly.

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
