"""One look for all figures, and how they are written to files.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; no figure relies on colour
alone. Text stays text in SVG, and the same figure gives the same bytes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "house_style", "new_figure", "save"]

INK, GREY, BLUE, ORANGE = "#1a1a1a", "#8c8c8c", "#0072b2", "#d55e00"
_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "trialsim",
}


def house_style() -> AbstractContextManager[None]:
    """Return the context in which figures are drawn and saved."""
    from matplotlib import rc_context

    return rc_context(_RC)  # type: ignore[arg-type]  # its stub wants literal keys


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Return an empty figure that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, folder: Path, name: str, alt_text: str) -> list[Path]:
    """Write a figure as SVG and PNG, each with its alternative text inside.

    Returns
    -------
    paths : list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    with house_style():
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": name})
        figure.savefig(png, dpi=160, metadata={"Title": name, "Description": alt_text})
    drawn = buffer.getvalue()
    start = drawn.index("<svg")
    start_of_content = drawn.index(">", start)
    svg.write_text(
        f'{drawn[:start_of_content]} role="img" aria-labelledby="title desc">\n'
        f' <title id="title">{escape(name)}</title>\n <desc id="desc">{escape(alt_text)}</desc>'
        f"{drawn[start_of_content + 1 :]}",
        encoding="utf-8",
    )
    return [svg, png]
