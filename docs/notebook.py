"""A page with Python cells as a Jupyter notebook, outputs and figure included.

The form is nbformat 4.5, which is plain JSON; no Jupyter is needed to write or to test it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from telling import FENCE, FIGURE

_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:)[^)]+\)")


def notebook(page: Path) -> dict[str, Any]:
    """Return the page as a notebook."""
    cells: list[dict[str, Any]] = []
    for kind, text in _parts(page.read_text(encoding="utf-8")):
        if kind == "output":
            cells[-1]["outputs"] = [
                {"name": "stdout", "output_type": "stream", "text": _lines(text)}
            ]
        elif kind == "figure":
            drawn = (page.parent / text).read_text(encoding="utf-8")
            shown = {"image/svg+xml": _lines(drawn)}
            cells[-1]["outputs"] = [{"data": shown, "metadata": {}, "output_type": "display_data"}]
        else:
            cells.append(_cell(kind, text, len(cells) + 1))
    for number, cell in enumerate((c for c in cells if c["cell_type"] == "code"), 1):
        cell["execution_count"] = number
    language = {"name": "python"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": language}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def write_notebook(page: Path) -> Path:
    """Write the notebook beside its page."""
    target = page.with_suffix(".ipynb")
    text = json.dumps(notebook(page), indent=1, ensure_ascii=False)
    target.write_text(f"{text}\n", encoding="utf-8")
    return target


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield prose ("markdown"), "code", "output" and "figure" in the order of the page."""
    at = 0
    for found in FENCE.finditer(text):
        yield from _prose(text[at : found.start()])
        yield ("code" if found[1] == "python" else found[1]), found[3]
        at = found.end()
    yield from _prose(text[at:])


def _prose(text: str) -> Iterator[tuple[str, str]]:
    for index, part in enumerate(re.split(FIGURE.pattern, text)):
        if index % 3 == 1:  # where the figure stands; index 2 is what drew it
            yield "figure", part
        elif index % 3 == 0 and part.strip():
            yield "markdown", _LINK.sub(r"\1", part.strip())


def _cell(kind: str, text: str, number: int) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": _lines(text)}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def _lines(text: str) -> list[str]:
    return text.strip("\n").splitlines(keepends=True)
