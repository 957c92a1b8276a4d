"""A trial told again from the rows of its event log alone, as a user's own script would."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from trialsim.operations.event_log import Entry, What

ENDS_SCREENING = (What.SCREENING_FAILED, What.SCREENING_WITHDRAWN, What.RANDOMISED)
ENDS_FOLLOW_UP = (What.LEFT, What.DIED, What.FOLLOWED)


def read_log(path: Path) -> list[Entry]:
    """Rows of the file."""
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Entry(float(r["day"]), int(r["site"]), int(r["patient"]), What(r["what"]), r["detail"],
              int(r["number"]))
        for r in rows
    ]  # fmt: skip


def counted(log: Iterable[Entry]) -> Counter[What]:
    """How many of each event, kits by their number."""
    found: Counter[What] = Counter()
    for entry in log:
        found[entry.what] += entry.number
    return found


@dataclass
class TrialToldAgain:
    """Who is where and which kit is where, row after row; every row must be possible."""

    patients: dict[tuple[int, int], str] = field(default_factory=dict)
    arms: dict[tuple[int, int], str] = field(default_factory=dict)
    in_depots: Counter[str] = field(default_factory=Counter)
    in_transit: Counter[tuple[int, str]] = field(default_factory=Counter)
    at_sites: Counter[tuple[int, str]] = field(default_factory=Counter)
    seen: Counter[What] = field(default_factory=Counter)
    full: bool = False

    def tell(self, entry: Entry) -> None:
        """Take in one row, and check that the balances hold."""
        self.seen[entry.what] += entry.number
        self.full |= entry.what is What.ALL_ENROLLED
        if entry.patient:
            self._patient(entry)
        elif entry.what in (What.KITS_MADE, What.KITS_SHIPPED, What.KITS_RECEIVED,
                            What.KITS_DAMAGED, What.KITS_EXPIRED):  # fmt: skip
            self._kits(entry)
        here = Counter(self.patients.values())
        gone = sum(self.seen[what] for what in ENDS_SCREENING)
        assert self.seen[What.SCREENED] == gone + here["in screening"]
        self._balance()

    def _patient(self, entry: Entry) -> None:
        who = entry.site, entry.patient
        was = self.patients.get(who)
        if entry.what is What.SCREENED:
            assert was is None
            assert not self.full
            self.patients[who] = "in screening"
        elif entry.what in ENDS_SCREENING:
            assert was == "in screening"
            self.patients[who] = "in trial" if entry.what is What.RANDOMISED else "gone"
            if entry.what is What.RANDOMISED:
                self.arms[who] = entry.detail
        elif entry.what is not What.SETTLED:  # which may be long after
            assert was == "in trial"
            if entry.what is What.KIT_DISPENSED:
                self.at_sites[entry.site, self.arms[who]] -= 1
            if entry.what in ENDS_FOLLOW_UP:
                self.patients[who] = "gone"

    def _kits(self, entry: Entry) -> None:
        arm, shelf, n = entry.detail, (entry.site, entry.detail), entry.number
        match entry.what:
            case What.KITS_MADE:
                self.in_depots[arm] += n
            case What.KITS_SHIPPED:
                self.in_depots[arm] -= n
                self.in_transit[shelf] += n
            case What.KITS_RECEIVED:
                self.in_transit[shelf] -= n
                self.at_sites[shelf] += n
            case What.KITS_DAMAGED:
                self.in_transit[shelf] -= n
            case What.KITS_EXPIRED if entry.site:
                self.at_sites[shelf] -= n
            case What.KITS_EXPIRED:
                self.in_depots[arm] -= n

    def _balance(self) -> None:
        places: tuple[Counter, ...] = (self.in_depots, self.in_transit, self.at_sites)
        assert all(n >= 0 for place in places for n in place.values())
        lost = self.seen[What.KITS_EXPIRED] + self.seen[What.KITS_DAMAGED]
        held = sum(sum(place.values()) for place in places)
        assert self.seen[What.KITS_MADE] == held + lost + self.seen[What.KIT_DISPENSED]
