"""One patient from randomisation to the end: doses, visits, leaving, and data that are entered."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from math import inf
from typing import TYPE_CHECKING, Any

from simpy import Event

from trialsim.operations.doses import DoseCourse
from trialsim.operations.draws import PatientLuck
from trialsim.operations.event_log import What

if TYPE_CHECKING:
    from trialsim.operations.simulation import TrialInTime

__all__ = ["Pathway"]

_DOSE, _VISIT, _EVENT, _DRUG_END, _END, _FOLLOWED = range(6)  # in this order on the same day


class Pathway:
    """What is due for one patient, and what comes of it.

    Parameters
    ----------
    trial : TrialInTime
    site, number : int
        Where, and which patient there, from 0.
    patient : int
        In order of randomisation, from 0.
    """

    def __init__(
        self, trial: TrialInTime, site: int, number: int, patient: int, luck: PatientLuck
    ) -> None:
        self._trial, self._env, self._plan = trial, trial.environment, trial.plan
        self._site, self._number, self._patient, self._luck = site, number, patient, luck
        self._start = trial.environment.now
        first = trial.in_first_arm[patient]
        self._arm, self._counts = trial.plan.arms[not first], trial.arms[not first]
        self._event, self._dies = trial.outcome_of(patient)
        self._ends = min(luck.leaves, self._dies)
        self._drug_ends = min(self._ends, luck.stops, luck.discharged)
        self.doses = DoseCourse(self._arm, self._counts)
        self.doses.plan_for(luck, self._drug_ends, self._ends, self._dies)
        trial.board.treated_until(patient, self._start + self.doses.last_due)
        self._to_come = deque(self._agenda())

    def _note(self, what: What, detail: str = "") -> None:
        self._trial.note(self._site, self._number, what, detail or self._arm.id)

    def followed(self) -> Generator[Any, Any, None]:
        """Live through everything that is due."""
        env, start, to_come = self._env, self._start, self._to_come
        while to_come:
            if start + to_come[0][0] > env.now:
                yield env.timeout(start + to_come[0][0] - env.now)
            if self._trial.over:
                return
            day, kind, index = to_come.popleft()
            if kind == _DOSE:
                yield from self._dose(index)
            elif kind == _VISIT:
                self._visit(index)
            else:
                self._turn(kind, day)
        self._trial.patient_ended()

    def _agenda(self) -> list[tuple[float, int, int]]:
        """Return what is due: (days since randomisation, kind, which)."""
        luck, ends = self._luck, self._ends
        visits = [max(0.0, day) for day in luck.visit_days]
        # where outcomes are times to an event, until the last look
        last = max(visits) if self._plan.read_out is not None else self._plan.followed_days
        doses = enumerate(self._arm.dose_days)
        found = [(day, _DOSE, i) for i, day in doses if day < self._drug_ends]
        found += [(day, _VISIT, i) for i, day in enumerate(visits) if day < ends]
        if self._event <= min(last, luck.leaves):
            found.append((self._event, _EVENT, 0))
        last_dose = self._arm.dose_days[-1] if self._arm.dose_days else 0.0
        if self._drug_ends < min(ends, last_dose, last):
            found.append((self._drug_ends, _DRUG_END, 0))
        if ends <= last:
            found.append((ends, _END, 0))
        else:
            found.append((max(last, max(found)[0] if found else 0.0), _FOLLOWED, 0))
        return sorted(found)

    def _turn(self, kind: int, day: float) -> None:
        """Count what changes a patient's course."""
        luck, counts, board = self._luck, self._counts, self._trial.board
        timed = self._plan.read_out is None
        if timed and kind in (_EVENT, _END, _FOLLOWED):
            board.settled(self._patient)
        if kind == _EVENT:
            self._note(What.OUTCOME)
            if timed:
                board.event()
        elif kind == _DRUG_END:
            stopped = luck.stops <= luck.discharged
            counts.stopped += stopped
            counts.discharged += not stopped
            self._note(What.DRUG_STOPPED if stopped else What.DISCHARGED)
        elif kind == _END:
            died = self._dies <= luck.leaves
            counts.died += died
            counts.left += not died
            self._note(What.DIED if died else What.LEFT)
            self._settle_unseen(day, died=died)
        else:
            counts.followed += 1
            self._note(What.FOLLOWED)

    def _dose(self, index: int) -> Generator[Any, Any, None]:
        missed = self._luck.missed_doses
        if missed and missed[index]:
            self.doses.not_given("missed")
            self._note(What.DOSE_MISSED)
            return
        what = What.DOSE_GIVEN
        if self._trial.pharmacy and not self.doses.left_in_kit:
            if not (yield from self._kit(index)):
                if self._trial.over:
                    return
                self.doses.not_given("no kit")
                self._note(What.DOSE_WITHOUT_KIT)
                return
            self._note(What.KIT_DISPENSED)
            if self._env.now > self._start + self._arm.dose_days[index]:
                what = What.DOSE_LATE
        self.doses.give(index)
        self._note(what)

    def _kit(self, index: int) -> Generator[Any, Any, bool]:
        """Take a kit from the shelf, or wait for one until the next dose is due."""
        pharmacy, supply = self._trial.pharmacy, self._plan.supply
        assert pharmacy is not None  # a dose asks for a kit only then
        assert supply is not None
        shelf = pharmacy.shelf(self._site, self._arm.id)
        if shelf.level:
            shelf.take(1)
        else:
            self._trial.stock_out_days.append(self._env.now)
            self._trial.shortages.append(pharmacy.why_none(self._site, self._arm.id))
            if not supply.delayed:
                return False
            waiting = shelf.wait_for_one()
            yield from self._wait(waiting, min(self.doses.next_due(index), self._drug_ends))
            if not waiting.triggered:
                waiting.cancel()
                return False
            shelf.taken()
        self.doses.left_in_kit = supply.doses_per_kit
        pharmacy.dispensed(self._site, self._arm.id)
        return True

    def _wait(self, waiting: Event, until: float) -> Generator[Any, Any, None]:
        """Wait for a kit until some day since randomisation; visits are held all the same."""
        env, to_come = self._env, self._to_come
        while True:
            day, kind, index = to_come[0]
            meanwhile = kind in (_VISIT, _EVENT) and day < until
            due = self._start + (day if meanwhile else until)
            yield waiting | env.timeout(max(due - env.now, 0.0))
            if waiting.triggered or not meanwhile or self._trial.over:
                return
            to_come.popleft()
            if kind == _VISIT:
                self._visit(index)
            else:
                self._turn(kind, day)

    def _visit(self, index: int) -> None:
        held, reads = not self._luck.missed_visits[index], index == self._plan.read_out
        self._trial.visits_held += held
        self._note(What.VISIT if held else What.VISIT_MISSED, str(index + 1))
        if reads:
            self._counts.read_out += held
            self._counts.not_seen += not held
        self._enter_data(self._luck.data_days[index], settles=reads, seen=held)

    def _settle_unseen(self, day: float, *, died: bool) -> None:
        """Settle, on the day of the read-out, a patient who does not come to it."""
        read_out = self._plan.read_out
        due = self._luck.visit_days[read_out] if read_out is not None else -inf
        if due >= day:
            self._counts.read_out += died
            self._enter_data(due - day + self._luck.data_days[-1], settles=True, seen=died)

    def _enter_data(self, days: float, *, settles: bool, seen: bool) -> None:
        """Have data entered some days later, and the patient settled with them."""
        trial = self._trial
        trial.data_awaited()

        def entered(_: Event) -> None:
            if settles:
                self._note(What.SETTLED)
                trial.board.settled(self._patient, seen=seen, event=self._had_event)
            trial.data_entered()

        later = self._env.timeout(days + (self._plan.lag_days if settles else 0.0))
        later.callbacks.append(entered)

    @property
    def _had_event(self) -> bool:
        """Whether the outcome event came by the day of the read-out."""
        read_out = self._plan.read_out
        return read_out is not None and self._event <= self._plan.visits[read_out].day
