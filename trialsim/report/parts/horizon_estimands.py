"""What estimands are at every horizon, as cells, for screen and report alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["estimand_lines", "estimand_words"]

_Row = Mapping[str, Any]


def estimand_lines(
    rows: Sequence[_Row], horizons: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, ...]]:
    """Yield one line per estimand of one scenario: per horizon what is true, and what is found.

    Parameters
    ----------
    rows : sequence of mapping
        Flat rows of the document that name an estimand.
    horizons : iterable of (time, clock)
    """
    for estimand in dict.fromkeys(row["estimand"] for row in rows):
        cells = []
        for after, clock in horizons:
            own = {
                row["measure"]: row
                for row in rows
                if (row["estimand"], row["horizon"], row["clock"]) == (estimand, after, clock)
            }
            true, power = own.get("true_effect"), own.get("power")
            cells.append(f"{_number(true, 1, 2)} / {_number(power, 100, 1)}")
        yield estimand, *cells


def estimand_words(rows: Sequence[_Row]) -> str:
    """Return what the cells mean, and how exact they are."""
    worst = {
        measure: max((r.get("mcse") or 0.0 for r in rows if r["measure"] == measure), default=0.0)
        for measure in ("true_effect", "power")
    }
    scales = {row["scale"] for row in rows if row["measure"] == "true_effect"}
    counts = sorted({row["n_replicates"] for row in rows if row["measure"] == "power"})
    return (
        f"true effect: {' or '.join(sorted(scales))} from potential outcomes of patients of their "
        f"own, one MCSE at most {worst['true_effect']:.2f}; found: significant, of "
        f"{' or '.join(f'{n:,}' for n in counts)} of the trials, one MCSE at most "
        f"{100 * worst['power']:.1f}. 'main' is the endpoint's own estimand, as in "
        "the tables above."
    )


def _number(row: _Row | None, times: int, digits: int) -> str:
    return "-" if row is None or row["value"] is None else f"{times * row['value']:.{digits}f}"
