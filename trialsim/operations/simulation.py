"""One trial run on paper with SimPy: sites, patients, pharmacy and monitoring board."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from math import inf, nan
from typing import Any

import numpy as np
from simpy import Environment

from trialsim.operations.board import Board
from trialsim.operations.conducted import (
    ArmCounts,
    ConductedTrial,
    Followed,
    Judge,
    Judgement,
    Known,
    Outcomes,
)
from trialsim.operations.doses import DoseCourse
from trialsim.operations.draws import (
    PatientLuck,
    SiteLuck,
    arrival_days,
    opening_days,
    patients_of,
    site_rates,
)
from trialsim.operations.event_log import KITS_MOVED, MILESTONES, Entry, What
from trialsim.operations.pathway import Pathway
from trialsim.operations.plan import LONGEST_DAYS, ConductPlan, numbers_at_milestones
from trialsim.operations.randomisation import Allocator
from trialsim.operations.supply import Pharmacy, Shortage
from trialsim.streams import Streams

__all__ = ["TrialInTime", "conduct_trial"]

Process = Generator[Any, Any, None]


class TrialInTime:
    """A trial as it goes on; `environment` may be stepped to watch it.

    Parameters
    ----------
    plan : ConductPlan
    streams : Streams
    run : int
        Which simulated trial, from 0.
    outcomes : Outcomes or None
        What becomes of patients; None for no outcome event.
    judge : callable or None
        What the rule of a look says of its data; None where no look has a rule.
    keep_log : bool
    """

    def __init__(
        self,
        plan: ConductPlan,
        streams: Streams,
        run: int,
        outcomes: Outcomes | None = None,
        *,
        judge: Judge | None = None,
        keep_log: bool = False,
    ) -> None:
        self.plan, self.environment, self._judge = plan, Environment(), judge
        self._outcomes, self._keep_log = outcomes, keep_log
        self._streams, self._run = streams, run
        self.log: list[Entry] = []
        self.stock: list[tuple[float, int, int]] = []
        self.screened = self.failed = self.withdrawn = self.in_screening = 0
        self.visits_held = 0
        self.stock_out_days: list[float] = []
        self.shortages: list[Shortage] = []
        self.arms = (ArmCounts(), ArmCounts())
        self.in_first_arm: list[bool] = []
        self._enrolled: list[float] = []
        self._leaves: list[float] = []
        self._read_outs: list[tuple[float, bool]] = []  # on which day, and whether it is kept
        self._strata: list[int] = []
        self._known_strata: dict[str, int] = {}
        self._reached_with: dict[int, list[What]] = {}
        numbers = numbers_at_milestones(plan.n_patients)
        for number, milestone in zip(numbers, MILESTONES[1:6], strict=True):
            self._reached_with.setdefault(number, []).append(milestone)
        self._doses: list[DoseCourse] = []
        self._n_ended = self._n_data_awaited = 0
        self._last_visit = self._locked = nan
        self._closed, self._over = self.environment.event(), self.environment.event()
        self._allocator = Allocator(plan.allocation, streams, run)
        event_driven = plan.read_out is None
        self.board = Board(
            self.environment,
            plan.looks,
            plan.lag_days if event_driven else 0.0,
            plan.deliberation_days,
            self._over,
            lambda what, look: self.note(-1, -1, what, look),
            self._judged if judge else None,
        )
        self.pharmacy: Pharmacy | None = None
        self._open_pharmacy()
        self._openings = [inf] * plan.sites.n_sites
        luck = SiteLuck(
            opening_days(plan, streams, run),
            tuple(r / plan.sites.passing for r in site_rates(plan, streams, run)),
        )
        for site in range(plan.sites.n_sites):
            self.environment.process(self._site(site, luck))
        self.environment.process(self._meetings(event_driven=event_driven))
        self.environment.process(self._patience())

    def _open_pharmacy(self) -> None:
        plan = self.plan
        arms = tuple(arm.id for arm in plan.arms if arm.dose_days)
        if plan.supply is None or not arms:
            return
        n, note = plan.sites.n_sites, self._note_kits
        self.pharmacy = Pharmacy(
            self.environment, plan.supply, arms, n, self._streams, self._run, note
        )
        self.pharmacy.take_in(plan.supply.at_start)

    # -- what others tell ------------------------------------------------------------------------

    def note(self, site: int, patient: int, what: What, detail: str = "", number: int = 1) -> None:
        """Write an event down, where a log is kept; site and patient from 0, -1 for none."""
        if self._keep_log:
            day = self.environment.now
            self.log.append(Entry(day, site + 1, patient + 1, what, detail, number))
            if what in KITS_MOVED and self.pharmacy:
                ledger = self.pharmacy.ledger
                self.stock.append((day, ledger.at_sites, ledger.in_depots))

    def _note_on(self, day: float, what: What) -> None:
        """Write down what is known only afterwards to have been the last of its kind."""
        if self._keep_log:
            at = bisect_right(self.log, day, key=lambda entry: entry.day)
            self.log.insert(at, Entry(day, 0, 0, what))

    def _note_kits(self, what: What, site: int, arm: str, number: int) -> None:
        self.note(site, -1, what, arm, number)

    @property
    def _paused(self) -> bool:
        """Whether recruitment waits for the decision on stage 1."""
        stage = self.plan.looks[0].first if self.plan.pauses else None
        return stage is not None and self.n_randomised >= stage and not self.board.looks

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self._over.triggered

    @property
    def n_randomised(self) -> int:
        """Patients randomised so far."""
        return len(self._enrolled)

    def outcome_of(self, patient: int) -> tuple[float, float]:
        """Return days from randomisation to a patient's outcome event, and to death."""
        if self._outcomes is None:
            return inf, inf
        event = self._outcomes.event_days[not self.in_first_arm[patient]][patient]
        return event, event if self._outcomes.fatal else inf

    def data_awaited(self) -> None:
        """Count data that are to be entered."""
        self._n_data_awaited += 1

    def data_entered(self) -> None:
        """Count them as entered."""
        self._n_data_awaited -= 1
        self._locked = self.environment.now
        self._check_over()

    def patient_ended(self) -> None:
        """Count a patient whose follow-up is over."""
        self._n_ended += 1
        self._last_visit = self.environment.now
        self._check_over()

    def _check_over(self) -> None:
        done = self._closed.triggered and self._n_ended == self.n_randomised
        if done and not self._n_data_awaited and not self.over:
            self._over.succeed()

    # -- processes -------------------------------------------------------------------------------

    def _patience(self) -> Process:
        """End a trial that does not fill."""
        yield self._closed | self.environment.timeout(LONGEST_DAYS)
        if not (self._closed.triggered or self.over):
            self._over.succeed()

    def _meetings(self, *, event_driven: bool) -> Process:
        """Let the board meet; its last look ends a trial that waits for events.

        Where it stops the trial, patients in treatment have their doses first.
        """
        yield from self.board.meetings()
        if self.board.stopped:
            self._stop_enrolling()
            if event_driven and not self.over:
                left = self.board.last_dose - self.environment.now
                yield self.environment.timeout(max(0.0, left)) | self._over
        if event_driven and not self.over:
            self._last_visit = self._locked = self.environment.now
            self._over.succeed()

    def _stop_enrolling(self) -> None:
        """Close recruitment and screening; who is in the trial stays in it."""
        if not self._closed.triggered:
            self.note(-1, -1, What.ENROLMENT_STOPPED)
            self._closed.succeed()
            self._check_over()

    def _judged(self, look: int, cut: float, read_out: set[int]) -> Judgement:
        """Hand the data of a look to the judge."""
        assert self._judge is not None  # the board asks only then
        n = self.n_randomised
        seen = np.ones(n, dtype=bool)
        if self.plan.read_out is not None:
            seen[:] = False
            seen[list(read_out)] = True
        return self._judge(
            Known(
                look,
                cut,
                np.array(self._enrolled),
                np.array(self.in_first_arm, dtype=bool),
                seen,
                np.array(self._leaves),
                np.array(self._strata, dtype=np.int64),
                np.array(
                    [
                        course.exposure_by(self.environment.now - day)
                        for course, day in zip(self._doses, self._enrolled, strict=True)
                    ]
                ),
            )
        )

    def _site(self, site: int, luck: SiteLuck) -> Process:
        env, opens = self.environment, luck.opens[site]
        if opens == inf:
            self.note(site, -1, What.SITE_FAILED)
            return
        yield env.timeout(opens)
        if self._closed.triggered:
            return
        if min(self._openings) == inf:
            self.note(-1, -1, What.FIRST_SITE_OPEN)
        self._openings[site] = opens
        self.note(site, -1, What.SITE_OPENED)
        if self.pharmacy:
            self.pharmacy.open(site)
        plan, streams, run = self.plan, self._streams, self._run
        patients = patients_of(plan, streams, run, site)
        arrivals = arrival_days(plan, streams, run, site, opens, luck.screens_per_day[site])
        for number, day in enumerate(arrivals):
            if day > LONGEST_DAYS:
                return
            yield env.timeout(day - env.now)
            if self._closed.triggered:
                return
            luck_of_patient = next(patients)  # their own, whoever is turned away before
            if not self._paused:
                env.process(self._patient(site, number, luck_of_patient))

    def _patient(self, site: int, number: int, luck: PatientLuck) -> Process:
        self.screened += 1
        self.in_screening += 1
        self.note(site, number, What.SCREENED)
        if luck.screening_days:
            yield self.environment.timeout(luck.screening_days)
        if self._closed.triggered:
            return  # enrolment has closed: nobody waits for the result
        self.in_screening -= 1
        if luck.fails:
            self.failed += 1
            self.note(site, number, What.SCREENING_FAILED)
        elif luck.withdraws:
            self.withdrawn += 1
            self.note(site, number, What.SCREENING_WITHDRAWN)
        else:
            pathway = Pathway(self, site, number, self._randomise(site, number, luck), luck)
            self._doses.append(pathway.doses)
            yield from pathway.followed()

    def _randomise(self, site: int, number: int, luck: PatientLuck) -> int:
        """Assign a patient; return their number in order of randomisation, from 0."""
        where = (site,) if self.plan.allocation.by_site else ()
        stratum = "-".join(str(level) for level in (*where, *luck.strata))
        first = self._allocator.assign(stratum)
        self._strata.append(self._known_strata.setdefault(stratum, len(self._known_strata)))
        self._leaves.append(luck.leaves)
        read_out = self.plan.read_out
        kept = (0.0, True)
        if read_out is not None:
            kept = luck.visit_days[read_out], not luck.missed_visits[read_out]
        self._read_outs.append(kept)
        self._enrolled.append(self.environment.now)
        self.in_first_arm.append(first)
        self.arms[not first].randomised += 1
        self.note(site, number, What.RANDOMISED, self.plan.arms[not first].id)
        for milestone in self._reached_with.get(self.n_randomised, ()):
            self.note(-1, -1, milestone)
        if self.n_randomised == self.plan.n_patients:
            self._closed.succeed()
        self.board.randomised()
        return self.n_randomised - 1

    # -- the whole -------------------------------------------------------------------------------

    def _followed(self) -> Followed:
        days, comes = zip(*self._read_outs, strict=True) if self._read_outs else ((), ())
        return Followed(
            np.array(self._leaves),
            np.array(days, dtype=float),
            np.array(comes, dtype=bool),
            np.array(self._strata, dtype=np.int64),
        )

    def conducted(self) -> ConductedTrial:
        """Run the trial to its end."""
        env = self.environment
        env.run(until=self._over)
        while not self.board.done and env.peek() < inf:
            env.step()  # looks held because there is no more to come
        for course in self._doses:
            course.close()
        full = self._closed.triggered or env.now < LONGEST_DAYS
        if full:
            self._note_on(self._last_visit, What.LAST_VISIT)
            self._note_on(self._locked, What.LOCKED)
        return ConductedTrial(
            full,
            self._openings,
            np.array(self._enrolled),
            np.array(self.in_first_arm, dtype=bool),
            np.array([course.exposure for course in self._doses]),
            np.array([course.exposure_alive for course in self._doses]),
            self._followed(),
            self.screened,
            self.failed,
            self.withdrawn,
            self.in_screening,
            self.arms,
            tuple(self.board.looks),
            self.board.stopped,
            self.visits_held,
            self._last_visit if full else nan,
            self._locked if full else nan,
            self.pharmacy.ledger if self.pharmacy else None,
            np.array(self.stock_out_days),
            tuple(self.shortages),
            self.stock,
            self.log,
        )


def conduct_trial(
    plan: ConductPlan,
    streams: Streams,
    run: int,
    outcomes: Outcomes | None = None,
    *,
    judge: Judge | None = None,
    keep_log: bool = False,
) -> ConductedTrial:
    """Simulate one trial's conduct, event by event.

    The same plan, seed and run give the same log, whatever ran before or beside it.
    """
    return TrialInTime(plan, streams, run, outcomes, judge=judge, keep_log=keep_log).conducted()
