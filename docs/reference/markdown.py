"""Tables and words in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; what is in its cells stays in one line each."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def from_docstring(text: str) -> str:
    """Return prose of a docstring as Markdown: double backquotes become single ones."""
    return text.replace("``", "`")
