"""A report as one self-contained HTML file: no network, no scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from trialsim import __version__
from trialsim.report.sections.content import Drawing, Grid, Notice, Paragraph, Section

__all__ = ["as_html"]


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("trialsim.report", "templates/en"),
        autoescape=True,  # titles and notes are a stranger's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["paragraph"] = lambda block: isinstance(block, Paragraph)
    environment.tests["notice"] = lambda block: isinstance(block, Notice)
    environment.tests["grid"] = lambda block: isinstance(block, Grid)
    environment.tests["drawing"] = lambda block: isinstance(block, Drawing)
    return environment.get_template("report.html.j2")


def as_html(title: str, sections: Sequence[Section]) -> str:
    """Render a report.

    Parameters
    ----------
    title : str
        Escaped, as is all text; only the SVG of figures, which this program drew, is not.
    sections : sequence of Section
    """
    from markupsafe import Markup

    svgs = {
        block.name: Markup(_inline(block))  # noqa: S704  (drawn by us, its text escaped there)
        for section in sections
        for block in section.blocks
        if isinstance(block, Drawing)
    }
    marks = {b.mark for section in sections for b in section.blocks if isinstance(b, Notice)}
    text: str = _template().render(
        title=title, sections=sections, svgs=svgs, marks=sorted(marks), version=__version__
    )
    return text


def _inline(drawing: Drawing) -> str:
    """Return the <svg> element alone, its ids made unique within the page."""
    svg = drawing.svg[drawing.svg.index("<svg") :]
    prefix = f"{drawing.name}-"

    def own_ids(tag: re.Match[str]) -> str:
        text = re.sub(r'\bid="', f'id="{prefix}', tag[0])
        text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
        labels = r'aria-labelledby="(\S+) (\S+)"'
        return re.sub(labels, rf'aria-labelledby="{prefix}\1 {prefix}\2"', text)

    return re.sub(r"<[a-zA-Z][^<>]*>", own_ids, svg)
