"""A report as Markdown, for a repository or a wiki."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim import __version__
from trialsim.report.sections.content import Block, Drawing, Grid, Notice, Paragraph, Section

__all__ = ["as_markdown"]


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Render a report; figures become their alternative text and the table behind them."""
    parts = [f"<!-- generator: trialsim {__version__} -->", f"# {_plain(title)}"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [text for block in section.blocks for text in _lines(block)]
    return "\n\n".join(parts) + "\n"


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _plain(block.text)
    elif isinstance(block, Notice):
        yield f"> **{_plain(block.text)}**"
    elif isinstance(block, Drawing):
        yield f"*Figure: {_plain(block.alt_text)}*"
        yield from _lines(block.data)
    else:
        yield from _table(block)


def _table(grid: Grid) -> Iterator[str]:
    if grid.caption:
        yield f"**{_plain(grid.caption)}**"
    rule = ["---"] * len(grid.header)
    yield "\n".join(
        f"| {' | '.join(map(_plain, row))} |" for row in (grid.header, rule, *grid.rows)
    )


def _plain(text: str) -> str:
    """Escape what Markdown or the HTML in it would take for a sign of its own."""
    if text == "---":
        return text
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
