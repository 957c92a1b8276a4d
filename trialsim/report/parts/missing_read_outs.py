"""What ways to deal with missing read-outs find, as cells, for screen and report alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trialsim.analyse.missing import N_IMPUTATIONS
from trialsim.protocol.missing import MissingReadOut

__all__ = ["MISSING_HEADER", "missing_lines", "missing_words"]

_Row = Mapping[str, Any]
MISSING_HEADER = (
    *("read-outs\nnot seen", "missing\n%", "per 1,000", "found\n%"),
    *("less\nfailure", "bias", "cover-\nage %"),
)
_SHORT = {
    MissingReadOut.FAILURE: "- failure",
    MissingReadOut.COMPLETE_CASE: "- left out",
    MissingReadOut.LAST_OBSERVATION: "- last seen",
    MissingReadOut.MULTIPLE_IMPUTATION: "- imputed",
}


def missing_lines(
    rows: Sequence[_Row], names: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, ...]]:
    """Yield the lines of one scenario: per horizon what is true, then each handling.

    Parameters
    ----------
    rows : sequence of mapping
        Flat rows of the document, in their order.
    names : mapping
        What a horizon (time and clock) is called.
    """
    for at in dict.fromkeys((row["horizon"], row["clock"]) for row in rows):
        here = [row for row in rows if (row["horizon"], row["clock"]) == at]
        yield f"{names[at]}: true", "", _pair(here, "risk_without_loss", 1000), "", "", "", ""
        for handling in dict.fromkeys(row["missing"] for row in here if "missing" in row):
            own = [row for row in here if row.get("missing") == handling]
            difference = "" if handling == MissingReadOut.FAILURE else _signed(own, 100, 1)
            yield (
                _SHORT[MissingReadOut(handling)],
                _pair(own, "missing", 100),
                _pair(own, "risk_analysed", 1000),
                _plain(own, "power"),
                difference,
                _bias(own),
                _plain(own, "coverage"),
            )


def missing_words(rows: Sequence[_Row]) -> str:
    """Return what the columns mean, and how exact they are."""
    worst = {
        measure: max((r.get("mcse") or 0.0 for r in rows if r["measure"] == measure), default=0.0)
        for measure in ("power", "bias", "coverage")
    }
    counts = {row["n_replicates"] for row in rows if row["measure"] == "power"}
    said = " or ".join(f"{n:,}" for n in sorted(counts, reverse=True) if n)
    imputed = any(row.get("missing") == MissingReadOut.MULTIPLE_IMPUTATION for row in rows)
    fewer = ", the fewer with multiple imputation" if imputed and len(counts) > 1 else ""
    return (
        "missing, per 1,000: control -> treated; true: in response, were nobody lost and no visit "
        "missed (who dies is without response); found: significant; less failure: that of missing "
        "= failure taken off, in the same trials, +- one MCSE; left out: complete case; imputed: "
        f"multiple imputation, {N_IMPUTATIONS} times; bias and coverage: of the effect on all "
        f"patients. Of {said} trials{fewer}; one MCSE is at most {100 * worst['power']:.1f} "
        f"for found, {worst['bias']:.2f} for bias, {100 * worst['coverage']:.1f} "
        "for coverage. Patients are seen only at visits they attended."
    )


def _first(rows: Sequence[_Row], measure: str) -> _Row | None:
    return next((row for row in rows if row["measure"] == measure), None)


def _pair(rows: Sequence[_Row], measure: str, times: int) -> str:
    values = [row["value"] for row in rows if row["measure"] == measure]
    if any(value is None for value in values):
        return "-"
    return " -> ".join(f"{times * value:.0f}" for value in values)


def _plain(rows: Sequence[_Row], measure: str) -> str:
    row = _first(rows, measure)
    return "-" if row is None or row["value"] is None else f"{100 * row['value']:.1f}"


def _signed(rows: Sequence[_Row], times: int, digits: int) -> str:
    row = _first(rows, "power_difference")
    if row is None or row["value"] is None:
        return "-"
    return f"{times * row['value']:+.{digits}f} +-{times * row['mcse']:.{digits}f}"


def _bias(rows: Sequence[_Row]) -> str:
    row = _first(rows, "bias")
    if row is None or row["value"] is None:
        return "-"
    return f"{row['value']:+.2f}"
