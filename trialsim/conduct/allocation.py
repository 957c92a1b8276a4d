"""Foreseen allocation (RoB 2, domain 1: the randomisation process)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.records import Luck
from trialsim.kernels.allocation import permuted_blocks
from trialsim.protocol.conduct import ForeseenAllocation, Foresight, Mechanism
from trialsim.streams import Decision

__all__ = ["AllocationList", "foreseen", "guessed_right", "guesses"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class AllocationList:
    """The lists of many trials, one per stratum. Arrays of shape (n_patients, n_reps).

    Attributes
    ----------
    assigned : ndarray of bool
        As patients would be assigned in order of arrival: in each stratum, its list.
    opens : ndarray of bool
        Where a block begins.
    strata : ndarray of int
        0 .. `n_strata` - 1.
    ratio : (treated, control)
    alternates : bool
        One arm, then the other: known from the second patient on.
    """

    assigned: Bools
    opens: Bools
    strata: Ints
    n_strata: int
    ratio: tuple[int, int]
    alternates: bool = False

    @classmethod
    def in_blocks_of_4(cls, uniforms: Floats) -> AllocationList:
        """Return one list per trial in permuted blocks of four, shapes as `uniforms`."""
        strata = np.zeros(uniforms.shape, dtype=np.int64)
        assigned = permuted_blocks(uniforms, uniforms, strata, 1, (1, 1), (4,))
        opens = np.broadcast_to(np.arange(len(uniforms))[:, None] % 4 == 0, uniforms.shape)
        return cls(assigned, opens, strata, 1, (1, 1))

    @classmethod
    def alternating(cls, shape: tuple[int, int], luck: Luck) -> AllocationList:
        """Return quasi-random lists, a coin deciding the first arm of every trial."""
        first = luck.of_trials(Decision.ALTERNATION) < 0.5
        assigned = (np.arange(shape[0])[:, None] % 2 == 0) == first
        opens = np.zeros(shape, dtype=bool)
        strata = np.zeros(shape, dtype=np.int64)
        return cls(assigned, opens, strata, 1, (1, 1), alternates=True)

    def of_trial(self, column: int) -> AllocationList:
        """Return the list of one trial, arrays of shape (n_patients, 1)."""
        own = {name: getattr(self, name)[:, [column]] for name in ("assigned", "opens", "strata")}
        return replace(self, **own)


def guesses(lists: AllocationList) -> NDArray[np.int8]:
    """Return the arm guessed at each place of the lists: 1 treated, -1 control, 0 no guess.

    The arm that lags behind its share of the open block, from the assignments made in it so far.
    With equal arms this is the convergence strategy; in a block of 2b it is right (b + half of
    (4^b / C(2b, b) - 1)) times, ties decided by a coin (Blackwell and Hodges 1957, Annals of
    Mathematical Statistics 28:449-460). Of simple allocation, where everyone opens a block, nothing
    is known; of an alternating list everything but the first arm.
    """
    n_patients, n_reps = lists.assigned.shape
    if lists.alternates:
        known = np.where(lists.assigned, 1, -1).astype(np.int8)
        known[0] = 0
        return known
    steps = np.where(lists.assigned, -lists.ratio[1], lists.ratio[0])
    found = np.empty((n_patients, n_reps), dtype=np.int8)
    lead = np.zeros(lists.n_strata * n_reps, dtype=np.int64)  # of control, in parts of the ratio
    places = lists.strata * n_reps + np.arange(n_reps)
    for patient in range(n_patients):
        at = places[patient]
        so_far = np.where(lists.opens[patient], 0, lead[at])
        found[patient] = np.sign(so_far)
        lead[at] = so_far + steps[patient]
    return found


def guessed_right(lists: AllocationList) -> Floats:
    """Return the share of each trial's assignments that were guessed right, shape (n_reps,).

    Where there is no guess a coin is right half the time.
    """
    guess = guesses(lists)
    right = np.where(guess == 0, 0.5, (guess > 0) == lists.assigned)
    return np.asarray(right.mean(axis=0))


def foreseen(
    lists: AllocationList, merit: Floats | float, flaw: ForeseenAllocation, luck: Luck
) -> Bools:
    """Return who is treated where the recruiter picks among the waiting.

    At every enrolment the first candidates in the queue wait. If the recruiter acts, the one is
    enrolled whose prognosis suits the arm guessed for that candidate's stratum best: the best
    prognosis where treatment is guessed, the worst where control is; between strata, whose is
    furthest, that way, from the mean of the trial. Everyone is enrolled in the end, and every list
    is used in its order.

    Parameters
    ----------
    lists : AllocationList
    merit : ndarray of float, shape (n_patients, n_reps), or float
        Prognosis on any scale, larger is better; a float, where all are alike, leaves nothing to
        pick by.
    flaw : ForeseenAllocation
    luck : Luck

    Returns
    -------
    treated : ndarray of bool, shape (n_patients, n_reps)
    """
    if isinstance(merit, float):
        return lists.assigned
    acts = luck.of_patients(Decision.FORESIGHT) < luck.strength(
        Mechanism.FORESEEN_ALLOCATION, flaw.strength
    )
    if not acts.any():
        return lists.assigned
    standing = merit - merit.mean(axis=0)  # the origin of a scale must not tell strata apart
    n_patients, n_reps = lists.assigned.shape
    known = np.where(lists.assigned, 1, -1).astype(np.int8)
    guess = known if flaw.knows is Foresight.NEXT_ASSIGNMENT else guesses(lists)
    n_waiting = min(flaw.waiting, n_patients)
    if lists.n_strata == 1:
        return _picked(lists.assigned, guess, standing, acts, n_waiting)
    trial = np.arange(n_reps)
    in_order = np.argsort(lists.strata, axis=0, kind="stable")  # places, stratum after stratum
    counts = np.stack([(lists.strata == s).sum(axis=0) for s in range(lists.n_strata)])
    next_place = np.vstack([np.zeros(n_reps, dtype=np.int64), np.cumsum(counts, axis=0)[:-1]])
    treated = np.empty((n_patients, n_reps), dtype=bool)
    queue = np.repeat(np.arange(n_waiting)[:, None], n_reps, axis=1)
    slots = np.arange(n_waiting - 1)[:, None]
    for turn in range(n_patients):
        stratum = lists.strata[queue, trial]
        place = in_order[next_place[stratum, trial], trial]
        suits = guess[place, trial] * standing[queue, trial]
        pick = np.where(acts[turn], suits.argmax(axis=0), 0)
        who, own = queue[pick, trial], stratum[pick, trial]
        treated[who, trial] = lists.assigned[place[pick, trial], trial]
        next_place[own, trial] += 1
        rest = queue[slots[: len(queue) - 1] + (slots[: len(queue) - 1] >= pick), trial]
        arriving = turn + n_waiting
        new = np.full((1, n_reps), arriving) if arriving < n_patients else rest[:0]
        queue = np.concatenate([rest, new])
    return treated


def _picked(
    assigned: Bools, guess: NDArray[Any], standing: Floats, acts: Bools, n_waiting: int
) -> Bools:
    """Return the same for one list: its places are used in order, whoever is picked."""
    n_patients, n_reps = assigned.shape
    trial = np.arange(n_reps)
    treated = np.empty((n_patients, n_reps), dtype=bool)
    guess = guess.astype(float)
    queue = [np.full(n_reps, patient) for patient in range(n_waiting)]
    merits = list(standing[:n_waiting])
    for turn in range(n_patients):
        suits, pick = guess[turn] * merits[0], np.zeros(n_reps, dtype=np.int64)
        who = queue[0]
        for slot in range(1, len(queue)):
            own = guess[turn] * merits[slot]
            better = acts[turn] & (own > suits)
            suits, pick = np.where(better, own, suits), np.where(better, slot, pick)
            who = np.where(better, queue[slot], who)
        treated[who, trial] = assigned[turn]
        for slot in range(len(queue) - 1):
            stays = slot < pick
            queue[slot] = np.where(stays, queue[slot], queue[slot + 1])
            merits[slot] = np.where(stays, merits[slot], merits[slot + 1])
        arriving = turn + n_waiting
        if arriving < n_patients:
            queue[-1], merits[-1] = np.full(n_reps, arriving), standing[arriving]
        else:
            queue.pop()
            merits.pop()
    return treated
