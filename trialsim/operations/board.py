"""The monitoring board: what it waits for, who is where when it meets, and what it decides."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from simpy import Environment, Event

from trialsim.operations.conducted import Judgement, LookHeld, Verdict
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
    deliberation_days : float
        From an interim look to its decision.
    note : callable
        Told what was done, and the words of the log.
    judge : callable or None
        A look (from 0), the day of its data cut-off and whose read-out is known -> what the look's
        rule says; None where no look has a rule.
    """

    def __init__(
        self,
        environment: Environment,
        looks: tuple[LookPlan, ...],
        lag_days: float,
        deliberation_days: float,
        over: Event,
        note: Callable[[What, str], None],
        judge: Callable[[int, float, set[int]], Judgement] | None = None,
    ) -> None:
        self._env, self._plans, self._lag, self._over = environment, looks, lag_days, over
        self._deliberates, self._note, self._judge = deliberation_days, note, judge
        self._set_off = [environment.event() for _ in looks]
        self._first_patient = environment.event()
        self._first_day = 0.0
        self._settled: set[int] = set()
        self._seen: set[int] = set()
        self._n_in_order = 0  # of those randomised first, settled without a gap
        self._treated_until: list[float] = []
        self._n_events = 0
        self.looks: list[LookHeld] = []
        self.done = self.stopped = False

    @property
    def last_dose(self) -> float:
        """Day of the last dose that anybody may have."""
        return max(self._treated_until, default=0.0)

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

    def settled(self, patient: int, *, seen: bool = True, event: bool = False) -> None:
        """Count a patient as read out (with or without the event), or as known not to be."""
        self._settled.add(patient)
        while self._n_in_order in self._settled:
            self._n_in_order += 1
        if seen:
            self._seen.add(patient)
            self._n_events += event
        self._ask()

    def event(self) -> None:
        """Count an outcome event, where outcomes are times to an event."""
        self._n_events += 1
        self._ask()

    def _ask(self) -> None:
        for look, set_off in zip(self._plans, self._set_off, strict=True):
            if not set_off.triggered and self._due(look):
                set_off.succeed()

    def _due(self, look: LookPlan) -> bool:
        if look.first is not None:
            return self._n_in_order >= look.first
        if look.settled is not None:
            return len(self._settled) >= look.settled
        if look.events is not None:
            return self._n_events >= look.events
        return look.enrolled is not None and len(self._treated_until) >= look.enrolled

    def meetings(self) -> Generator[Any, Any, None]:
        """Wait, look and decide, one look after another, until one stops the trial."""
        for number, (look, set_off) in enumerate(zip(self._plans, self._set_off, strict=True), 1):
            if look.calendar_days is not None:
                yield self._first_patient | self._over
                left = self._first_day + look.calendar_days - self._env.now
                yield self._env.timeout(max(0.0, left)) | self._over
            else:
                yield set_off | self._over
            cut = self._env.now
            if self._lag:
                yield self._env.timeout(self._lag)
            held = self._held()
            self._note(What.LOOK, str(number))
            yield from self._decide(number, cut, held)
            if self.stopped:
                break
        self.done = True

    def _decide(self, number: int, cut: float, held: LookHeld) -> Generator[Any, Any, None]:
        """Judge a look; an interim one takes time, in which patients go on entering."""
        judgement, interim = Judgement(), number < len(self._plans)
        if self._judge:
            judgement = self._judge(number - 1, cut, self._seen)
            if interim and self._deliberates:
                yield self._env.timeout(self._deliberates)
            self._note(What.DECISION, f"look {number}: {judgement}")
        self.looks.append(replace(held, judgement=judgement, decided=self._env.now))
        crossed = judgement.verdict in (Verdict.EFFICACY, Verdict.FUTILITY)
        self.stopped = interim and crossed

    def _held(self) -> LookHeld:
        n, settled = len(self._treated_until), len(self._settled)
        treated = sum(
            until > self._env.now
            for patient, until in enumerate(self._treated_until)
            if patient not in self._settled
        )
        return LookHeld(self._env.now, n, settled, self._n_events, n - settled, treated)
