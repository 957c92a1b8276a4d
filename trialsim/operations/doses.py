"""The doses of one patient: planned, taken, and why not."""

from __future__ import annotations

from bisect import bisect_left

from trialsim.operations.conducted import ArmCounts
from trialsim.operations.draws import PatientLuck
from trialsim.operations.plan import ArmPlan

__all__ = ["DoseCourse"]


class DoseCourse:
    """Doses of one patient: planned, taken, and why not."""

    def __init__(self, arm: ArmPlan, counts: ArmCounts) -> None:
        self.arm, self._counts = arm, counts
        self.taken, self.left_in_kit, self.last_due = 0, 0, 0.0
        self._not_taken = self._after_death = self._over = 0
        counts.doses_planned += len(arm.dose_days)

    @property
    def exposure(self) -> float:
        """Share of the planned doses taken; 1 where none is planned."""
        return self.taken / len(self.arm.dose_days) if self.arm.dose_days else 1.0

    @property
    def exposure_alive(self) -> float:
        """Share taken of the doses planned before death or the trial's end; 1 where none is."""
        due = len(self.arm.dose_days) - self._after_death - self._over
        return self.taken / due if due else 1.0

    def exposure_by(self, day: float) -> float:
        """Return the same of the doses due by now, `day` days since randomisation."""
        due = bisect_left(self.arm.dose_days, day)
        due = max(self.taken, min(due, len(self.arm.dose_days) - self._after_death))
        return self.taken / due if due else 1.0

    def plan_for(self, luck: PatientLuck, drug_end: float, end: float, dies: float) -> None:
        """Count what will not be given because the patient stops, leaves or dies."""
        days = self.arm.dose_days
        due = bisect_left(days, drug_end)
        self.last_due = days[due - 1] if due else 0.0
        if due < len(days):
            if drug_end == end:
                why = "died" if end == dies else "left"
            else:
                why = "stopped" if drug_end == luck.stops else "discharged"
            self.not_given(why, len(days) - due)
        self._after_death = len(days) - bisect_left(days, dies)

    def next_due(self, index: int) -> float:
        """Return until when a dose can be late, in days since randomisation."""
        days = self.arm.dose_days
        if index + 1 < len(days):
            return days[index + 1]
        return days[index] + (days[index] - days[index - 1] if index else 1.0)

    def not_given(self, why: str, n: int = 1) -> None:
        """Count doses that are not taken."""
        self._not_taken += n
        self._counts.not_taken[why] = self._counts.not_taken.get(why, 0) + n

    def give(self, index: int) -> None:
        """Count a dose."""
        self._counts.started += not self.taken
        self.taken += 1
        self._counts.doses_taken += 1
        self._counts.amount += self.arm.amounts[index]
        if self.left_in_kit:
            self.left_in_kit -= 1

    def close(self) -> None:
        """Count what the end of the trial leaves: doses to come, and doses in an open kit."""
        self._counts.doses_left_in_kits += self.left_in_kit
        self._over = len(self.arm.dose_days) - self.taken - self._not_taken
        if self._over:
            self.not_given("trial over", self._over)
