"""Two pages for an ethics form, as a Word document (extra ``[docx]``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trialsim.errors import Problem, RequestError
from trialsim.report.sections.content import Grid, Notice, Paragraph, Section

__all__ = ["write_word"]

_FOR_A_BOARD = ("synopsis", "size", "assumptions", "conflicts", "sentence", "repeat")
_MOST_ROWS = 10


def write_word(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the sections an ethics board reads: long tables are cut, and say so.

    Raises
    ------
    RequestError
        If python-docx is not installed.
    """
    try:
        from docx import Document
        from docx.shared import Cm, Pt
    except ImportError:
        remedy = "Install it: pip install 'trialsim[docx]'."
        raise RequestError(Problem("needs python-docx", remedy, field="--docx")) from None
    document = Document()
    document.styles["Normal"].font.size = Pt(8)
    document.styles["Normal"].paragraph_format.space_after = Pt(2)
    page = document.sections[0]
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Cm(1.6)
    document.add_heading(title, 1)
    for section in sections:
        if section.anchor not in _FOR_A_BOARD:
            continue
        document.add_heading(section.title, 2)
        for block in section.blocks[:_MOST_ROWS]:
            if isinstance(block, Paragraph):
                document.add_paragraph(block.text)
            elif isinstance(block, Notice):
                document.add_paragraph().add_run(block.text).bold = True
            elif isinstance(block, Grid):
                _add_table(document, block)
    document.save(str(path))


def _add_table(document: object, grid: Grid) -> None:
    if grid.caption:
        document.add_paragraph(grid.caption)  # type: ignore[attr-defined]
    named = any(grid.header)
    rows = [*([grid.header] if named else []), *grid.rows[:_MOST_ROWS]]
    table = document.add_table(rows=len(rows), cols=len(grid.header))  # type: ignore[attr-defined]
    table.style = "Light Grid Accent 1" if named else "Table Grid"
    for line, row in zip(table.rows, rows, strict=True):
        for cell, text in zip(line.cells, row, strict=True):
            cell.text = text
    if len(grid.rows) > _MOST_ROWS:
        more = f"{len(grid.rows) - _MOST_ROWS} more rows are in the full report."
        document.add_paragraph(more)  # type: ignore[attr-defined]
