"""The evidence of one session in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from trialsim.protocol.published.evidence import (
    Conflict,
    EvidenceRecord,
    Plan,
    Pool,
    StatedNumber,
    Status,
    Trial,
)
from trialsim.protocol.reading.nodes import Node
from trialsim.protocol.reading.places import (
    conduct_paths,
    evidence_paths,
    literature_paths,
    protocols_folder,
    reconciliation_paths,
    schema_paths,
    template_paths,
)

__all__ = [
    "Evidence",
    "conduct_paths",
    "evidence_paths",
    "literature_paths",
    "protocols_folder",
    "reconciliation_paths",
    "schema_paths",
    "template_paths",
]


@dataclass(frozen=True)
class Evidence:
    """Records by id, and the disagreements between them."""

    records: dict[str, EvidenceRecord] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    unread: frozenset[str] = frozenset()  # ids known to exist, records not read
    # records as text, for their digits
    written: dict[str, Node] = field(default_factory=dict, repr=False, compare=False)

    @property
    def known_ids(self) -> frozenset[str]:
        """Every id that may be cited."""
        return self.unread.union(self.records)

    def with_more(
        self,
        records: Iterable[EvidenceRecord],
        conflicts: Iterable[Conflict],
        written: Iterable[Node] = (),
    ) -> Evidence:
        """Return this evidence and more; later records replace earlier ones of the same id.

        `written` holds the records as they stand in their file, in the same order.
        """
        more = {record.id: record for record in records}
        every = {conflict.id: conflict for conflict in (*self.conflicts, *conflicts)}
        texts = dict(zip(more, written, strict=False))
        return Evidence(
            {**self.records, **more},
            tuple(every.values()),
            self.unread - set(more),
            {**self.written, **texts},
        )

    def stated_as(
        self, source: str, quantity: str, value: float, by_day: float | None = None
    ) -> StatedNumber | None:
        """Return what `source` states as `quantity`, if that is `value` to the digits written.

        `by_day` also finds a trial's control risk by that day among published percentages.
        """
        record = self.records.get(source)
        stated = record.stated() if record else ()
        if isinstance(record, Trial) and by_day is not None:
            stated += record.control_risks_by(by_day)
        exponent = Decimal(repr(value)).as_tuple().exponent
        half_unit = 0.5 * 10.0 ** min(int(exponent), 0)
        matches = (
            number
            for number in stated
            if number.quantity == quantity and abs(number.value - value) <= half_unit + 1e-12
        )
        # a number published as such outranks the same number re-derived
        return min(matches, key=lambda number: list(Status).index(number.status), default=None)

    def touching(self, ids: Iterable[str]) -> tuple[Conflict, ...]:
        """Return the disagreements about any of these records, or about pools of them."""
        wanted = set(ids)
        return tuple(c for c in self.conflicts if wanted.intersection(c.touches))

    def shares_patients(self, one: str, other: str) -> bool:
        """Whether two records are known to rest on some of the same patients."""
        return bool(self._inside(one) & self._inside(other))

    def _inside(self, identifier: str) -> set[str]:
        """Return a record and all it includes or duplicates, however deep."""
        inside: set[str] = set()
        waiting = [] if isinstance(self.records.get(identifier), Plan) else [identifier]
        while waiting:
            name = waiting.pop()
            record = self.records.get(name)
            if name not in inside and record is not None:
                inside.add(name)
                waiting += record.duplicates
                waiting += record.includes if isinstance(record, Pool) else ()
        return inside
