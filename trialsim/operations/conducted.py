"""What one simulated trial's conduct became: counts, times, exposure, and its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite, nan

import numpy as np
from numpy.typing import NDArray

from trialsim.operations.event_log import Entry
from trialsim.operations.supply import Ledger, Shortage

__all__ = [
    "ArmCounts",
    "ConductedTrial",
    "Followed",
    "Judge",
    "Judgement",
    "Known",
    "LookHeld",
    "Outcomes",
    "Verdict",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """What becomes of patients in order of randomisation, under either arm.

    Attributes
    ----------
    event_days : (list of float, list of float)
        Days from randomisation to the outcome event in the experimental and the control arm;
        infinity for never.
    fatal : bool
        Whether it ends doses and visits.
    """

    event_days: tuple[list[float], list[float]]
    fatal: bool = False


@dataclass
class ArmCounts:
    """What became of the patients of one arm, and of their doses."""

    randomised: int = 0
    started: int = 0  # had at least one dose
    left: int = 0
    died: int = 0
    stopped: int = 0  # the drug, follow-up goes on
    discharged: int = 0  # with doses to come
    followed: int = 0
    read_out: int = 0
    not_seen: int = 0  # missed the visit that reads the outcome
    doses_planned: int = 0
    doses_taken: int = 0
    amount: float = 0.0  # taken
    not_taken: dict[str, int] = field(default_factory=dict)
    doses_left_in_kits: int = 0


class Verdict(StrEnum):
    """What the monitoring board makes of a look."""

    NO_RULE = "no rule: nothing decided"
    GO_ON = "goes on"
    EFFICACY = "efficacy"
    FUTILITY = "futility"
    END = "end, no effect found"
    FAILED = "end, no analysis possible"


@dataclass(frozen=True)
class Judgement:
    """A verdict, the z it rests on (positive in favour of the experimental arm), and on how many.

    Attributes
    ----------
    analysed : int
        Patients in the data.
    good : int or None
        Of these, with the good outcome, where stages of a single arm count them.
    """

    verdict: Verdict = Verdict.NO_RULE
    z: float = nan
    analysed: int = 0
    good: int | None = None

    def __str__(self) -> str:
        if self.good is not None:
            return f"{self.verdict}, {self.good} of {self.analysed} with the good outcome"
        return f"{self.verdict}, z {self.z:.3f}" if isfinite(self.z) else str(self.verdict)


@dataclass(frozen=True)
class Known:
    """What the data of a look hold; arrays in order of randomisation, shape (n,).

    Attributes
    ----------
    look : int
        Which one, from 0.
    cut : float
        Day of the data cut-off since the first invitation.
    enrolled : ndarray
        Day of randomisation.
    in_first_arm : ndarray of bool
    read_out : ndarray of bool
        Whose read-out is known; of a time to an event, everyone.
    leaves : ndarray
        Days from randomisation until a patient leaves the trial; infinity for never.
    strata : ndarray of int
        Stratum of allocation.
    exposure : ndarray
        Share taken of the doses due by then, and before death.
    """

    look: int
    cut: float
    enrolled: Floats
    in_first_arm: NDArray[np.bool_]
    read_out: NDArray[np.bool_]
    leaves: Floats
    strata: NDArray[np.int64]
    exposure: Floats


Judge = Callable[[Known], Judgement]


@dataclass(frozen=True)
class LookHeld:
    """A look, the day it was held on, and who was where.

    Attributes
    ----------
    in_pipeline : int
        Randomised, not yet read out.
    in_treatment : int
        Of these, with doses to come.
    judgement : Judgement
    decided : float
        Day of the decision, after the board has deliberated.
    """

    day: float
    randomised: int
    settled: int
    events: int
    in_pipeline: int
    in_treatment: int
    judgement: Judgement = Judgement()
    decided: float = nan


@dataclass(frozen=True)
class Followed:
    """Until when patients are followed, whatever becomes of them; arrays of shape (n,).

    Attributes
    ----------
    leaves : ndarray
        Days from randomisation until a patient leaves the trial; infinity for never.
    read_out_day : ndarray
        Days from randomisation to the visit that reads the outcome; of a time to an event 0.
    comes : ndarray of bool
        Whether a patient who is there keeps that visit.
    strata : ndarray of int
        Stratum of allocation.
    """

    leaves: Floats
    read_out_day: Floats
    comes: NDArray[np.bool_]
    strata: NDArray[np.int64]

    def read_out(self, dies: Floats) -> NDArray[np.bool_]:
        """Return who is read out, given days from randomisation to death, shape (n, n_draws).

        Death before that visit is an outcome that is known, of who has not left before.
        """
        leaves, day = self.leaves[:, None], self.read_out_day[:, None]
        there = np.minimum(leaves, dies) > day
        return np.asarray(np.where(there, self.comes[:, None], dies <= leaves))


@dataclass(frozen=True)
class ConductedTrial:
    """What one simulated trial took and became.

    Attributes
    ----------
    full : bool
        Whether all patients planned were enrolled within a hundred years, or the last look or the
        board's decision to stop came before.
    openings : list of float
        Day on which each site opened, in order of sites; infinity for never.
    enrolled : ndarray, shape (n,)
        Day of randomisation since the first invitation, in order.
    in_first_arm : ndarray of bool, shape (n,)
        Whether each was assigned to the experimental arm.
    exposure, exposure_alive : ndarray, shape (n,)
        Share of the planned doses taken, 1 where none is planned; and of those planned before
        death or the trial's end.
    followed : Followed
    last_visit, locked : float
        Days of the last patient's last visit, and on which the last data were entered.
    stock : list of (day, kits at sites, kits in depots)
        As it changed; only where a log is kept.
    stock_out_days : ndarray, shape (n_stock_outs,)
        Days on which a dose was due and there was no kit.
    shortages : tuple of Shortage
        Why there was none, of each.
    """

    full: bool
    openings: list[float]
    enrolled: Floats
    in_first_arm: NDArray[np.bool_]
    exposure: Floats
    exposure_alive: Floats
    followed: Followed
    screened: int
    screening_failed: int
    screening_withdrawn: int
    in_screening: int  # when enrolment closed
    arms: tuple[ArmCounts, ArmCounts]
    looks: tuple[LookHeld, ...]  # those that were held
    stopped_early: bool  # by the board, at the last of these
    visits_held: int
    last_visit: float
    locked: float
    ledger: Ledger | None
    stock_out_days: Floats
    shortages: tuple[Shortage, ...]
    stock: list[tuple[float, int, int]]
    log: list[Entry]

    @property
    def stock_outs(self) -> int:
        """Doses for which there was no kit when they were due."""
        return len(self.stock_out_days)

    @property
    def sites_opened(self) -> int:
        """How many ever opened before enrolment closed."""
        return sum(day < inf for day in self.openings)
