"""Plain text for a terminal: 80 columns, tables, folded lines, cautions. Nothing heavy."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from trialsim.protocol.cautions import Caution
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import TimeToEventEndpoint

__all__ = ["WIDTH", "caution_lines", "endpoint_in_words", "table", "wrapped"]

WIDTH = 80


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], folding: Sequence[int] = (0,)
) -> str:
    """Return columns side by side; the `folding` ones give way where the whole is too wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
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


def endpoint_in_words(protocol: Protocol) -> str:
    """Return the primary endpoint and when it is read."""
    primary = protocol.primary
    if isinstance(primary, TimeToEventEndpoint):
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
