"""Plain text for a terminal: 80 columns, tables, folded lines, cautions. Nothing heavy."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trialsim.protocol.design import Protocol
    from trialsim.protocol.endpoints import SimulatedEndpoint
    from trialsim.protocol.historical import HistoricalValue
    from trialsim.protocol.published.cautions import Caution
    from trialsim.protocol.quantities import Duration
    from trialsim.protocol.template import Template
    from trialsim.trial import StudyResult

__all__ = [
    "DISCLAIMER",
    "WIDTH",
    "calendar_sentences",
    "caution_lines",
    "endpoint_in_words",
    "historical_in_words",
    "nothing_observed_in_words",
    "per_1000",
    "read_out_in_words",
    "table",
    "wrapped",
]

WIDTH = 80
DISCLAIMER = (
    "A simulation under stated assumptions. Not evidence about a patient, not treatment advice."
)


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], folding: Sequence[int] = (0,)
) -> str:
    """Return columns side by side; the `folding` ones give way where the whole is too wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = [tuple(row) for row in rows]
    beside = _beside(header, rows, folding)
    if len(beside) > 1:  # too wide for one table: the first column, and as many as fit
        parts = ([0, *columns] for columns in beside)
        return "\n\n".join(
            table(
                [header[i] for i in part],
                [[row[i] for i in part] for row in rows],
                [n for n, i in enumerate(part) if i in folding],
            )
            for part in parts
        )
    line_under_header = box.Box("\n".join(["    ", "    ", " -- ", *["    "] * 5, ""]), ascii=True)
    drawn = Table(
        box=line_under_header, pad_edge=False, show_edge=False, header_style="", padding=(0, 1)
    )
    for index, column in enumerate(header):
        words = [word for row in rows for word in row[index].split()]
        drawn.add_column(
            column,
            overflow="fold",
            no_wrap=index not in folding,
            min_width=min(16, max((len(word) for word in words), default=1)),
        )
    for row in rows:
        drawn.add_row(*row)
    console = Console(
        width=WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
        no_color=True,
        force_terminal=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _beside(
    header: Sequence[str], rows: Sequence[Sequence[str]], folding: Sequence[int]
) -> list[list[int]]:
    """Return the columns but the first, in groups that fit beside it without loss."""

    def width(index: int) -> int:
        cells = [header[index], *(row[index] for row in rows)]
        if index in folding:
            words = [word for cell in cells[1:] for word in cell.split()]
            return min(16, max((len(word) for word in words), default=1)) + 3
        return max((len(line) for cell in cells for line in cell.split("\n")), default=1) + 3

    groups: list[list[int]] = [[]]
    room = WIDTH + 3 - width(0)
    left = room
    for index in range(1, len(header)):
        if groups[-1] and width(index) > left:
            groups.append([])
            left = room
        groups[-1].append(index)
        left -= width(index)
    return groups


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    """Return text folded at 80 columns."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def nothing_observed_in_words(template: Template) -> str:
    """Say why no published trial is held against the simulated ones."""
    reason = template.nothing_observed
    return f"What was really seen: no published trial to hold this against. {reason}"


def endpoint_in_words(protocol: Protocol) -> str:
    """Return the primary endpoint and when it is read."""
    primary = protocol.primary
    if primary.kind == "time-to-event":
        return f"time to {primary.event}"
    return f"{primary.event}, {primary.read_out.in_words(protocol.therapy)}"


def caution_lines(
    cautions: Iterable[Caution], *, program: str = "trialsim", in_full: bool = False
) -> str:
    """Return cautions in full and notes in one line each (`in_full`: those in full too).

    `program` is what to type to run the commands they name.
    """
    lines = []
    for caution in cautions:
        lines.append(wrapped(caution.subject, " " * 9, f"{caution.level:9}"))
        if caution.level != "note" or in_full or caution.code == "assumption":
            lines += _sides(caution)
        lines.append(f"{'':9}more: {caution.more.replace('trialsim', program, 1)}")
    return "\n".join(lines)


def _sides(caution: Caution) -> Iterator[str]:
    width = min(26, max(len(who) for who, _ in caution.lines))
    under = " " * (11 + width)
    for who, what in caution.lines:
        lead = f"{'':9}{who:{width}}  "
        if len(who) > width:
            yield lead.rstrip()
            lead = under
        yield wrapped(what, under, lead)


def read_out_in_words(endpoint: SimulatedEndpoint, therapy: Duration | None) -> str:
    """Return when an endpoint is read: "end of therapy" where nothing has passed since."""
    words = endpoint.read_out.in_words(therapy)
    return (
        words.replace("0 d after therapy", "end of therapy") if words.startswith("0 d") else words
    )


def per_1000(risk: float) -> str:
    """Return a risk per 1,000, with two digits where it is small."""
    return f"{1000 * risk:.0f}" if risk >= 0.001 else f"{1000 * risk:.2g}"


def historical_in_words(value: HistoricalValue | None) -> str:
    """Return what historical patients showed, with its source."""
    if value is None:
        return "no change from baseline"
    seen = f"seen in {value.n:,} patients" if value.n else "taken as known"
    name = value.stated.replace("_", " ")
    return f"{name} {value.number} ({value.number.source or 'assumed'}), {seen}"


def calendar_sentences(result: StudyResult) -> list[str]:
    """Return where observed trials' months stand among those that rates of others would give."""
    told: dict[str, list[str]] = {}
    notes: list[str] = []
    for row in result.rows:
        if row.measure != "percentile" or row.source is None:
            continue
        mean, _, note = (row.why or "").partition("; ")
        percent = 100 * (row.value or 0)
        told.setdefault(f"{row.evidence} took {row.category}", []).append(
            f"percentile {percent:.3g} ({row.analysis}; {mean})"
        )
        notes.append(note)
    if not told:
        return []
    found = [f"{took}: {' or '.join(places)}." for took, places in told.items()]
    return [f"{' '.join(found)} Percentiles are among trials with {notes[0]}."]
