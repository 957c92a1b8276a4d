"""How carefully the trial is carried out: the ``conduct:`` part of a file."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ConductProfile"]


class ConductProfile(StrEnum):
    """A named set of flaws. Only ``rigorous``, which has none, exists so far."""

    RIGOROUS = "rigorous"
