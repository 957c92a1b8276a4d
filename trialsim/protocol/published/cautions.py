"""Where sources disagree, and where a number rests on a weak one: said beside the number.

The shape is always the same: what disagrees, what each source says, what is used here, and the
command for more. About figures, never about people.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from trialsim.protocol.published.evidence import (
    Conflict,
    ConflictLevel,
    EffectEstimate,
    Pool,
    Side,
    Trial,
    TrialResult,
)
from trialsim.protocol.reading.catalogue import Evidence

__all__ = [
    "Caution",
    "assumption",
    "caution_of",
    "cautions_about",
    "imprecise",
    "outside_intervals",
    "result_in_words",
    "unlike_formula",
    "weak_claim",
]


@dataclass(frozen=True)
class Caution:
    """A note, caution or refusal.

    Attributes
    ----------
    level : str
        ``note``, ``caution`` or ``refused``.
    code : str
        Id of the conflict, or the kind of claim.
    subject : str
        What disagrees.
    lines : tuple of (who, what)
        What each source says, then what is used here.
    touches : tuple of str
        Ids of the records and scenarios it belongs beside.
    more : str
        The command that shows more.
    """

    level: str
    code: str
    subject: str
    lines: tuple[tuple[str, str], ...]
    touches: tuple[str, ...]
    more: str

    @property
    def text(self) -> str:
        """All of it in one line."""
        said = "; ".join(f"{who}: {what.rstrip('.')}" for who, what in self.lines)
        return f"{self.subject}. {said}. More: {self.more}"


def caution_of(conflict: Conflict, evidence: Evidence, cited: Collection[str] = ()) -> Caution:
    """Put a recorded disagreement into words.

    What it says is used here is so wherever the record it settles on is `cited`, or nothing is
    said of what is; else the records it is about that are cited are what is used.
    """
    lines = [
        (evidence.records[side.source].title, _side_in_words(side, evidence))
        for side in conflict.sides
    ]
    own = [name for name in conflict.touches if name in cited]
    if conflict.used and own and conflict.used not in cited:
        used = [f"{evidence.records[name].title}, as cited" for name in own]
        lines.append(("used here", "; ".join(used)))
        return _worded(conflict, lines)
    used = [evidence.records[conflict.used].title] if conflict.used else []
    used += [conflict.used_note] if conflict.used_note else []
    lines.append(("used here", ": ".join(used)))
    return _worded(conflict, lines)


def _worded(conflict: Conflict, lines: list[tuple[str, str]]) -> Caution:
    return Caution(
        conflict.level.value,
        conflict.id,
        conflict.subject,
        tuple(lines),
        conflict.touches,
        f"trialsim evidence show {conflict.used or conflict.sides[-1].source}",
    )


def cautions_about(ids: Iterable[str], evidence: Evidence) -> tuple[Caution, ...]:
    """Return every disagreement about these records, the graver ones first."""
    cited = set(ids)
    found = sorted(evidence.touching(cited), key=lambda c: -list(ConflictLevel).index(c.level))
    return tuple(caution_of(conflict, evidence, cited) for conflict in found)


def weak_claim(scenario: str, what: str, source: str, status: str, evidence: Evidence) -> Caution:
    """Say that a scenario rests on a number which only a document states, or nobody checked."""
    record = evidence.records[source]
    why = {
        "document": "only a secondary document states this number",
        "unverified": "this number was not checked against the publication",
    }[status]
    verdict = record.consistency
    checked = f"{verdict.verdict.value}: {verdict.note}" if verdict else "cannot be tested"
    lines = (
        (record.title, why),
        ("its arithmetic", checked),
        ("used here", f"as scenario {scenario}, marked {status.upper()}"),
    )
    subject, more = f"how far {what} can be relied on", f"trialsim evidence show {source}"
    return Caution("caution", "weak-claim", subject, lines, (source, scenario), more)


def unlike_formula(formula: float, simulated: float, reasons: str) -> Caution:
    """Say that a design does not have the power its formula promises."""
    lines = (
        ("by formula", f"{100 * formula:.1f}% power"),
        ("simulated", f"{100 * simulated:.1f}%: {reasons}"),
        ("used here", "both are shown; the simulation has fewer assumptions"),
    )
    subject, more = "formula and simulation of this design disagree", "docs/methods.md"
    return Caution("caution", "formula", subject, lines, (), more)


def outside_intervals(
    label: str, scenario: str, published: Iterable[tuple[str, EffectEstimate]]
) -> Caution:
    """Say that an effect planned for lies outside published intervals."""
    said = tuple((record, f"{effect}, {effect.status.value}") for record, effect in published)
    used = ("used here", f"{label}, as planned for")
    subject = f"{label} lies outside published intervals"
    touches = (scenario, *(record for record, _ in said))
    more = f"trialsim evidence show {said[0][0]}"
    return Caution("caution", "outside-interval", subject, (*said, used), touches, more)


def imprecise(wanted: float, reached: float, n_replicates: int) -> Caution:
    """Say that the precision asked for was not reached."""
    lines = (
        ("asked for", f"{wanted:g}"),
        ("reached", f"{reached:.2g}, with {n_replicates:,} replicates"),
        ("used here", "the numbers as they are, each with its error"),
    )
    subject, more = "the precision asked for was not reached", "raise --max-replicates"
    return Caution("caution", "precision", subject, lines, (), more)


def assumption(note: str, *scenarios: str) -> Caution:
    """Say what scenarios assume."""
    lines = (("assumed", note),)
    more = "docs/protocol-format.md"
    plural = len(scenarios) > 1
    who = f"scenarios {', '.join(scenarios)} rest" if plural else f"scenario {scenarios[0]} rests"
    return Caution("note", "assumption", f"{who} on an assumption", lines, scenarios, more)


def _side_in_words(side: Side, evidence: Evidence) -> str:
    record = evidence.records[side.source]
    words: list[str] = []
    if isinstance(record, Trial) and side.result and (result := record.result(side.result)):
        words.append(result_in_words(result))
    effects = (
        [e for r in record.results for e in r.effects]
        if isinstance(record, Trial)
        else (list(record.effects) if isinstance(record, Pool) else [])
    )
    if side.effect:
        words += [
            f"{effect}, {effect.status.value}" for effect in effects if effect.id == side.effect
        ]
    elif isinstance(record, Pool):
        words.append(str(effects[0]))
    words += [side.note] if side.note else []
    return "; ".join(words)


def result_in_words(result: TrialResult) -> str:
    """Return "127/542 v 132/547, death from any cause at 28 d; OR 0.96 (0.73 to 1.27)"."""
    arms = [
        f"{arm.events}/{arm.n}" if arm.events is not None else f"{arm.value:g}"
        for arm in (result.experimental, result.control)
        if arm and (arm.events is not None or arm.value is not None)
    ]
    unit = f" {result.unit}" if result.unit and arms else ""
    counts = f"{' v '.join(arms)}{unit}, " if arms else ""
    when = f" at {result.at.after}" if result.at else ""
    shown = next(
        (e for e in result.effects if e.measure.short == "OR"),
        result.effects[0] if result.effects else None,
    )
    return f"{counts}{result.outcome}{when}" + (f"; {shown}" if shown else "")
