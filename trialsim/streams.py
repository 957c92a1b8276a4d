"""One seed -> named, block-indexed random streams.

A stream is ``SeedSequence(seed, spawn_key=(decision, unit, block))``, with one more word where a
decision is taken for several named things (the factors of a population). Nothing else enters, so

- scenarios, variants and read-out times meet the *same* patients (common random numbers);
- a block is the same whoever computes it, and more blocks extend a run;
- within a block draws are patient-major, so more patients extend a trial.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

__all__ = ["MAX_PATIENTS_IN_WIDE_BLOCK", "Decision", "Streams", "block_width", "stable_hash"]

MAX_PATIENTS_IN_WIDE_BLOCK = 4096
_COUNTS = 4096
_WIDE, _NARROW = 256, 16  # replicates per block; narrow keeps a block of large trials in memory


class Decision(IntEnum):
    """What a stream decides. Append only: a number, once used, keeps its meaning for ever."""

    FACTOR = 1
    SEVERITY = 2
    BLOCK_SIZE = 3
    ASSIGNMENT = 4
    OUTCOME = 5
    RESPONSE = 6
    RELAPSE = 7
    DEATH = 8
    LOSS = 9
    VISIT_DAY = 10
    VISIT_MISSED = 11
    ENTRY = 12
    COUNTS = 13
    REPLAY = 14
    LATENT = 15
    VISITS = 16
    LEAVING = 17
    CAUSE = 18
    HISTORICAL = 19
    COVARIATE = 21
    INTERCURRENT = 23
    IMPUTATION = 24
    CALIBRATION = 27
    FRAILTY = 28
    FORESIGHT = 30
    CO_INTERVENTION = 31
    HISTORICAL_CONTROLS = 32
    EXCLUSION = 33
    DIFFERENTIAL_LOSS = 34
    ASSESSMENT = 35
    NON_ADHERENCE = 36
    IMMORTAL_TIME = 37
    UNDECLARED_LOOKS = 38
    ALTERNATION = 39
    BEST_OF = 40
    PUBLICATION = 41
    CONDUCT_STRENGTH = 42
    EXTENSION = 43
    RECONCILIATION = 44
    SITE_OPENING = 45
    SITE_RATE = 46
    SITE_ARRIVALS = 47
    SCREENING = 48
    STRATUM = 49
    ALLOCATION_LIST = 50
    DOSES = 51
    VISIT_WINDOW = 52
    VISIT_NOT_HELD = 53
    LEAVING_TRIAL = 54
    DATA_ENTRY = 55
    SHIPMENTS = 56
    OUTCOME_DAYS = 57
    EXPOSED_OUTCOMES = 58
    OPENINGS = 60
    RATES_OF_SITES = 61
    ARRIVALS = 62
    SCREENINGS = 63
    WITHDRAWALS = 64


def block_width(n_patients: int, *, counts: bool = False) -> int:
    """Replicates in one block of trials of `n_patients`: 256, or 16 above 4,096 patients.

    Where only counts are drawn, 4,096 whatever the number of patients.
    """
    if counts:
        return _COUNTS
    return _WIDE if n_patients <= MAX_PATIENTS_IN_WIDE_BLOCK else _NARROW


def stable_hash(identifier: str) -> int:
    """Map an id to a stream number in 1 .. 2**32 - 1, the same in every process and version."""
    digest = hashlib.sha256(identifier.encode()).digest()
    return int.from_bytes(digest[:4], "big") or 1


@dataclass(frozen=True)
class Streams:
    """All the randomness of one unit of a run.

    Attributes
    ----------
    seed : int
        The one integer the user gives; at least 0.
    unit : str
        Empty for the trial of the protocol itself; the evidence id for an observed trial.
    """

    seed: int
    unit: str = ""

    def generator(self, decision: Decision, block: int, item: str = "") -> np.random.Generator:
        """Return the generator for one decision in one block (of one named `item`)."""
        unit = stable_hash(self.unit) if self.unit else 0
        key = (int(decision), unit, block) + ((stable_hash(item),) if item else ())
        return np.random.Generator(
            np.random.SFC64(np.random.SeedSequence(self.seed, spawn_key=key))
        )
