"""What happened in one simulated trial, a row an event."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, TextIO

__all__ = ["KITS_MOVED", "MILESTONES", "Entry", "What", "write_log"]


class What(StrEnum):
    """Kinds of event, in the words of the log; milestones in those of every table."""

    FIRST_SITE_OPEN = "first site open"
    FIRST_RANDOMISED = "first patient randomised"
    QUARTER_ENROLLED = "25% enrolled"
    HALF_ENROLLED = "50% enrolled"
    THREE_QUARTERS_ENROLLED = "75% enrolled"
    ALL_ENROLLED = "all enrolled"
    LAST_VISIT = "last visit"
    LOCKED = "database lock"
    SITE_OPENED = "site opened"
    SITE_FAILED = "site never opens"
    SCREENED = "screened"
    SCREENING_FAILED = "screening failed"
    SCREENING_WITHDRAWN = "withdrawn in screening"
    RANDOMISED = "randomised"
    DOSE_GIVEN = "dose given"
    DOSE_LATE = "dose given late"
    DOSE_MISSED = "dose missed"
    DOSE_WITHOUT_KIT = "dose skipped, no kit"
    DRUG_STOPPED = "drug stopped"
    DISCHARGED = "discharged"
    VISIT = "visit"
    VISIT_MISSED = "visit missed"
    LEFT = "left the trial"
    DIED = "died"
    OUTCOME = "outcome event"
    FOLLOWED = "follow-up complete"
    SETTLED = "settled"  # read out, or known never to be
    LOOK = "look"
    DECISION = "board decides"
    ENROLMENT_STOPPED = "enrolment stopped by the board"
    KITS_MADE = "kits made"
    KITS_SHIPPED = "kits shipped"
    KITS_RECEIVED = "kits received"
    KITS_DAMAGED = "kits damaged"
    KITS_EXPIRED = "kits expired"
    KIT_DISPENSED = "kit dispensed"


MILESTONES = tuple(What)[:8]  # in their order
KITS_MOVED = frozenset(
    {
        What.KITS_MADE,
        What.KITS_SHIPPED,
        What.KITS_RECEIVED,
        What.KITS_DAMAGED,
        What.KITS_EXPIRED,
        What.KIT_DISPENSED,
    }
)


class Entry(NamedTuple):
    """One event: day since the first invitation; site and patient from 1, 0 for none.

    Patients are numbered by site, in order of screening; `detail` says which arm, visit or look,
    and `number` how many kits.
    """

    day: float
    site: int
    patient: int
    what: What
    detail: str = ""
    number: int = 1


def write_log(log: Iterable[Entry], stream: TextIO) -> None:
    """Write a log as CSV: day, site, patient, what, detail, number."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Entry._fields)
    for entry in log:
        writer.writerow((f"{entry.day:.6f}", *entry[1:3], str(entry.what), *entry[4:]))
