"""One look for all figures, and how they are written to files.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; no figure relies on colour
alone. Text stays text in SVG, and the same figure gives the same bytes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "fit_png",
    "house_style",
    "new_figure",
    "ratio_axis",
    "save",
    "save_svg",
]

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
    "text.parse_math": False,  # a title may hold a dollar sign
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


def ratio_axis(axes: Axes) -> None:
    """Make the x axis logarithmic, with round ratios as its ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    def label(value: float, _: int) -> str:
        low, high = axes.get_xlim()
        crowded = high > 20 * low
        leading = float(f"{value:.1e}".partition("e")[0])
        return "" if crowded and leading not in (1, 2, 5) else f"{value:g}"

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(label))


def fit_png(source: Path, target: Path, size_pixels: tuple[int, int]) -> None:
    """Fit a PNG, with its texts, on a white page of exactly that many pixels."""
    from PIL import Image, PngImagePlugin

    with Image.open(source) as drawn:
        texts = PngImagePlugin.PngInfo()
        for name in ("Title", "Description"):
            texts.add_text(name, str(drawn.info.get(name, "")))
        scale = min(size_pixels[0] / drawn.width, size_pixels[1] / drawn.height)
        fitted = drawn.convert("RGB").resize((int(drawn.width * scale), int(drawn.height * scale)))
    page = Image.new("RGB", size_pixels, "white")
    page.paste(fitted, ((page.width - fitted.width) // 2, (page.height - fitted.height) // 2))
    page.save(target, pnginfo=texts)


def save(
    figure: Figure,
    folder: Path,
    name: str,
    alt_text: str,
    size_pixels: tuple[int, int] | None = None,
) -> list[Path]:
    """Write a figure as SVG and PNG, each with its alternative text inside.

    Parameters
    ----------
    size_pixels : (width, height), optional
        Of the PNG; the figure is drawn to fit. Without it, 160 pixels an inch.

    Returns
    -------
    paths : list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    unfinished = folder / f"{name}.part"  # renamed when whole: a kill leaves no half figure
    with unfinished.open("w", encoding="utf-8", newline="\n") as stream:
        save_svg(figure, stream, name, alt_text)
    unfinished.replace(svg)
    with house_style():
        dpi = 160.0
        if size_pixels:
            dpi = size_pixels[0] / figure.get_figwidth()
            figure.set_figheight(size_pixels[1] / dpi)
        named = {"Title": name, "Description": alt_text}
        figure.savefig(unfinished, dpi=dpi, metadata=named, format="png")
    unfinished.replace(png)
    return [svg, png]


def save_svg(figure: Figure, stream: TextIO, name: str, alt_text: str) -> None:
    """Write a figure as SVG with a title and a description a screen reader finds."""
    with house_style():
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": name})
    drawn = buffer.getvalue()
    start_of_content = drawn.index(">", drawn.index("<svg"))
    stream.write(
        f'{drawn[:start_of_content]} role="img" aria-labelledby="{name}-title {name}-desc">\n'
        f' <title id="{name}-title">{escape(name)}</title>\n'
        f' <desc id="{name}-desc">{escape(alt_text)}</desc>{drawn[start_of_content + 1 :]}'
    )
