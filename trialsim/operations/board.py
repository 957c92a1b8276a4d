"""The monitoring board: what it waits for, and who is where when it meets."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy import Environment, Event

from trialsim.operations.conducted import LookHeld
from trialsim.operations.event_log import What
from trialsim.operations.plan import LookPlan

__all__ = ["Board"]


class Board:
    """Holds every look when what sets it off has come, or when no more is to come.

    Parameters
    ----------
    lag_days : float
        From an event to its analysis, where outcomes are times to an event; else 0, as read-outs
        are settled only once they can be analysed.
    note : callable
        Told that a look was held: its number from 1.
    """

    def __init__(
        self,
        environment: Environment,
        looks: tuple[LookPlan, ...],
        lag_days: float,
        over: Event,
        note: Callable[[What, str], None],
    ) -> None:
        self._env, self._plans, self._lag, self._over = environment, looks, lag_days, over
        self._note = note
        self._set_off = [environment.event() for _ in looks]
        self._first_patient = environment.event()
        self._first_day = 0.0
        self._settled: set[int] = set()
        self._treated_until: list[float] = []
        self._n_events = 0
        self.looks: list[LookHeld] = []

    def randomised(self) -> None:
        """Count one more patient."""
        if not self._treated_until:
            self._first_day = self._env.now
            self._first_patient.succeed()
        self._treated_until.append(self._env.now)
        self._ask()

    def treated_until(self, patient: int, day: float) -> None:
        """Learn when a patient may have the last dose."""
        self._treated_until[patient] = day

    def settled(self, patient: int) -> None:
        """Count a patient as read out, or as known not to be."""
        self._settled.add(patient)
        self._ask()

    def event(self) -> None:
        """Count an outcome event."""
        self._n_events += 1
        self._ask()

    def _ask(self) -> None:
        for look, set_off in zip(self._plans, self._set_off, strict=True):
            if not set_off.triggered and self._due(look):
                set_off.succeed()

    def _due(self, look: LookPlan) -> bool:
        if look.settled is not None:
            return len(self._settled) >= look.settled
        if look.events is not None:
            return self._n_events >= look.events
        return look.enrolled is not None and len(self._treated_until) >= look.enrolled

    def meetings(self) -> Generator[Any, Any, None]:
        """Wait and look, one look after another."""
        for number, (look, set_off) in enumerate(zip(self._plans, self._set_off, strict=True), 1):
            if look.calendar_days is not None:
                yield self._first_patient | self._over
                left = self._first_day + look.calendar_days - self._env.now
                yield self._env.timeout(max(0.0, left)) | self._over
            else:
                yield set_off | self._over
            if self._lag:
                yield self._env.timeout(self._lag)
            self.looks.append(self._held())
            self._note(What.LOOK, str(number))

    def _held(self) -> LookHeld:
        n, settled = len(self._treated_until), len(self._settled)
        treated = sum(
            until > self._env.now
            for patient, until in enumerate(self._treated_until)
            if patient not in self._settled
        )
        return LookHeld(self._env.now, n, settled, self._n_events, n - settled, treated)
