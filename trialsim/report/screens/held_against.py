"""What was published on a protocol's question: estimates side by side, and where sources disagree.

The estimates are those that ``trialsim simulate`` shows as observed; nothing is simulated here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trialsim.figures.forest import ForestLine, forest_lines
from trialsim.protocol.published.cautions import caution_of
from trialsim.protocol.published.evidence import Conflict, ConflictLevel, EvidenceRecord
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.document import warnings_as_rows
from trialsim.report.screens.protocol_screen import records_of
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.observed import observed_pools, observed_rows, observed_trials
from trialsim.trial import Measure

__all__ = ["HeldAgainst", "held_against", "held_against_lines"]


@dataclass(frozen=True)
class HeldAgainst:
    """What a protocol is held against, and what it cites.

    Attributes
    ----------
    records : mapping of str to EvidenceRecord
        Those it is held against first, then the others it cites.
    estimates : tuple of row
        As in the part ``observed`` of a simulation's document.
    conflicts : tuple of Conflict
        Disagreements about these records, the graver ones first.
    disagreements : tuple of row
        The same as warnings of a document, with what each side says one by one: ``subject``,
        ``sides`` (source, title, kind, says) and ``used``.
    """

    records: Mapping[str, EvidenceRecord]
    estimates: tuple[Mapping[str, Any], ...]
    conflicts: tuple[Conflict, ...]
    disagreements: tuple[Mapping[str, Any], ...]

    @property
    def titles(self) -> dict[str, str]:
        """Return the records' titles by id."""
        return {name: record.title for name, record in self.records.items()}

    @property
    def forests(self) -> dict[str, list[ForestLine]]:
        """Return the estimates that have an interval, by scale."""
        return forest_lines(self.estimates, self.titles)


def held_against(resolved: ResolvedTemplate) -> HeldAgainst:
    """Gather what was published on a protocol's question."""
    records = records_of(resolved)
    trials = [(trial, ()) for trial in observed_trials(resolved, ())]
    rows = observed_rows(trials, observed_pools(resolved), resolved)
    conflicts = sorted(
        resolved.evidence.touching(records),
        key=lambda conflict: -list(ConflictLevel).index(conflict.level),
    )
    return HeldAgainst(
        records,
        tuple(row.as_dict() for row in rows if row.measure is not Measure.PERCENTILE),
        tuple(conflicts),
        tuple(_disagreement(conflict, records, resolved) for conflict in conflicts),
    )


def _disagreement(
    conflict: Conflict, cited: Mapping[str, EvidenceRecord], resolved: ResolvedTemplate
) -> dict[str, Any]:
    caution = caution_of(conflict, resolved.evidence, cited)
    *said, (_, used) = caution.lines
    known = resolved.evidence.records
    sides = [
        {"source": side.source, "title": title, "kind": known[side.source].kind, "says": says}
        for side, (title, says) in zip(conflict.sides, said, strict=True)
    ]
    (row,) = warnings_as_rows([caution])
    return {**row, "subject": caution.subject, "sides": sides, "used": used}


def held_against_lines(resolved: ResolvedTemplate, found: HeldAgainst, program: str) -> str:
    """Return what ``trialsim evidence --template`` prints."""
    cautions = [caution_of(each, resolved.evidence, found.records) for each in found.conflicts]
    template = resolved.template
    disagree = f"Where they disagree:\n{caution_lines(cautions, program=program)}"
    return "\n\n".join(
        [
            wrapped(f"{template.id.upper()}   {template.title}: what was published", "  ", ""),
            "\n".join(_estimates(found)) or "No published result it is held against.",
            table(
                ("id", "kind", "title", "its numbers"),
                [(r.id, r.kind, r.title, _verdict(r)) for r in found.records.values()],
                folding=(2, 3),
            ),
            *([disagree] if cautions else []),
            f"more: {program} evidence check --template {template.id}",
        ]
    )


def _estimates(found: HeldAgainst) -> Iterator[str]:
    for row in found.estimates:
        if row["measure"] != "estimate":
            continue
        interval = f" ({row['lower']:.2f} to {row['upper']:.2f})" if "lower" in row else ""
        weak = (
            row["status"].upper() if row["status"] in ("document", "unverified") else row["status"]
        )
        title = found.titles[row["evidence"]]
        said = f"{row['scale']} {row['value']:.2f}{interval}, {row['analysis']}, {weak}"
        yield wrapped(f"{title}: {said}", "  ", "")


def _verdict(record: EvidenceRecord) -> str:
    return record.consistency.verdict.value if record.consistency else "not checked"
