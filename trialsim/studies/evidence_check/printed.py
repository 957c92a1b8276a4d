"""Numbers of a record with the digits they were printed with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from trialsim.protocol.published.evidence import (
    EffectEstimate,
    EvidenceRecord,
    Pool,
    Quantity,
    Status,
    Trial,
    TrialResult,
)
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.reading.nodes import ListNode, MapNode, Node, ScalarNode
from trialsim.studies.evidence_check.consistency import Table, Written

__all__ = ["Path", "Printed", "PrintedEffect", "table_of", "worded"]

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class PrintedEffect:
    """An estimate with its interval and P value, as printed."""

    effect: EffectEstimate
    value: Written
    ci: tuple[Written, Written] | None
    p: Written | None

    @property
    def in_words(self) -> str:
        """Say "0.73 (0.59 to 0.9)"."""
        ends = f" ({self.effect.ci[0]:g} to {self.effect.ci[1]:g})" if self.effect.ci else ""
        return f"{self.effect.value:g}{ends}"


@dataclass(frozen=True)
class Printed:
    """A record, what it may refer to, and how its numbers were printed."""

    record: EvidenceRecord
    evidence: Evidence

    def written(self, value: float, *path: str | int) -> Written:
        """Return a number of the record and half a unit of its last digit.

        Where the file is not known, the digits are those of the shortest number.
        """
        text = _text_at(self.evidence.written.get(self.record.id), path)
        try:
            exponent = int(Decimal(text if text is not None else repr(value)).as_tuple().exponent)
        except InvalidOperation:  # hexadecimal, say
            exponent = 0
        return Written(value, 0.5 * 10.0 ** min(exponent, 0))

    def quantity(self, name: str) -> Written:
        """Return a quantity's value by id."""
        index, value = next(
            (i, q.value)
            for i, q in enumerate(self.record.quantities)
            if q.id == name and q.value is not None
        )
        return self.written(value, "quantities", index, "value")

    def quantity_of(self, name: str) -> Quantity:
        """Return a quantity by id."""
        return next(q for q in self.record.quantities if q.id == name)

    def effects(self, result: str | None = None) -> Iterator[PrintedEffect]:
        """Return the estimates of a trial's result, or of a pool."""
        record = self.record
        start: Path = ()
        effects: Sequence[EffectEstimate] = record.effects if isinstance(record, Pool) else ()
        if isinstance(record, Trial):
            index = next(i for i, each in enumerate(record.results) if each.id == result)
            start, effects = ("results", index), record.results[index].effects
        for i, effect in enumerate(effects):
            at: Path = (*start, "effects", i)
            ends = tuple(self.written(e, *at, "ci", n) for n, e in enumerate(effect.ci or ()))
            yield PrintedEffect(
                effect,
                self.written(effect.value, *at, "value"),
                (ends[0], ends[1]) if ends else None,
                None if effect.p is None else self.written(effect.p, *at, "p"),
            )

    def of(self, name: str) -> Printed:
        """Return another record in the same way."""
        return Printed(self.evidence.records[name], self.evidence)


def _text_at(node: Node | None, path: Sequence[str | int]) -> str | None:
    """Return the text of a number in a record's file."""
    for part in path:
        if isinstance(node, MapNode):
            node = node.entries.get(str(part))
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            return None
    return node.text if isinstance(node, ScalarNode) else None


def table_of(result: TrialResult) -> Table | None:
    """Return the counts of both arms, where a result has them."""
    one, other = result.experimental, result.control
    if one is None or other is None or None in (one.events, one.n, other.events, other.n):
        return None
    return Table(one.events or 0, one.n or 0, other.events or 0, other.n or 0)


def worded(status: Status) -> str:
    """Say who gives a number: the source, or arithmetic on it."""
    return "derived" if status is Status.DERIVED else "stated"
