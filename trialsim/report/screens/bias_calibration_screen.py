"""What ``trialsim bias --calibrate`` prints: the strength a published ratio needs, by flaw."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trialsim.protocol.published.evidence import Status
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.conduct.bias_calibration import AT_RATIO, PlannedBiasCalibration
from trialsim.trial import StudyResult

__all__ = ["CalibrationTable", "bias_calibration_screen", "calibration_tables", "calibration_words"]

_Row = Mapping[str, Any]
_NEEDED = ("published ratio", "at", "ratio", "strength needed")
_PUBLICATION = ("published shares", "at", "of negative trials", "strength needed")


class CalibrationTable(NamedTuple):
    """One table, of a flaw or of what identifies none, with the words above it."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def bias_calibration_screen(
    planned: PlannedBiasCalibration, result: StudyResult, seed: int, program: str
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedBiasCalibration
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    template = planned.resolved.template
    rows = [row.as_dict() for row in result.rows]
    observed = [row.as_dict() for row in result.observed]
    title = f"{template.id.upper()}   {template.title}"
    parts = [f"{wrapped(title)}\n{wrapped(_setting(planned))}"]
    for told in calibration_tables(rows, observed):
        spaced = any("\n" in cell for line in told.lines for cell in line)
        below = "\n " if spaced else ""
        lines = [(f"{_folded(line[0])}{below}", *map(_folded, line[1:])) for line in told.lines]
        parts.append(f"{wrapped(told.caption)}\n{table(told.header, lines, folding=())}")
    parts.append(wrapped(f"{calibration_words()} Seed {seed}."))
    parts += [wrapped(text) for text in result.texts.values()]
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(parts)


def _setting(planned: PlannedBiasCalibration) -> str:
    protocol, scenario = planned.resolved.template.protocol, planned.scenario
    control, treated = (100 * risk for risk in planned.risks)
    return (
        f"{protocol.primary.event}, taken as {planned.outcomes}; conduct '{planned.conduct.id}': "
        f"{planned.conduct.title}. Reference setting: {scenario.title} ({scenario.id}), true "
        f"{control:.1f} % under control and {treated:.1f} % under treatment, "
        f"{protocol.n_total:,} patients; each flaw alone, all others off."
    )


def calibration_words() -> str:
    """Return how the tables are to be read."""
    return (
        "Ratios are of odds ratios, flawed to flawless trials; below 1 the flaw flatters the "
        "treatment. Strength needed: the strength at which simulated trials, the same patients at "
        "every strength, show the published ratio; 0 where that is 1 or more; not reached where "
        "strength 1 shows less: the flaw's other numbers, and how much can be foreseen, set how "
        "far it goes. +- is one Monte Carlo standard error; that the published ratio is "
        "itself uncertain stands in the lines of its interval's ends. Strengths are the same in "
        "every trial."
    )


def calibration_tables(rows: Sequence[_Row], observed: Sequence[_Row]) -> list[CalibrationTable]:
    """Return the tables of a result: all flaws, one per flaw, and what identifies no strength.

    Parameters
    ----------
    rows, observed : sequence of mapping
        As in the document.
    """
    flaws = dict.fromkeys(r["mechanism"] for r in rows if r["measure"] == "strength_in_profile")
    found = [_side_by_side(flaws, rows), *(_of_flaw(flaw, rows, observed) for flaw in flaws)]
    mixes = [r for r in rows if r["measure"] == "strength_needed" and "mechanism" not in r]
    if mixes:
        lines = tuple(
            (
                f"{r['evidence']}\n{r['source']}\n{_status(r)}",
                _published(r, observed),
                r["why"].partition(": ")[2],
            )
            for r in mixes
        )
        caption, header = "Not identified", ("published ratio", "ratio", "why no strength")
        found.append(CalibrationTable(caption, header, lines))
    return found


def _side_by_side(flaws: Iterable[str], rows: Sequence[_Row]) -> CalibrationTable:
    """Return each flaw's strength in the profile beside those that estimates need."""
    lines = []
    for flaw in flaws:
        own = [r for r in rows if r.get("mechanism") == flaw]
        (stated,) = (r for r in own if r["measure"] == "strength_in_profile")
        needed = [
            r for r in own if r["measure"] == "strength_needed" and r["analysis"] == AT_RATIO[0]
        ]
        needed.sort(key=lambda r: (r["value"] is None, r["value"]))
        basis = stated.get("status") or stated["source"]
        ends = (f"{_strength(r)}\n{r['evidence']}\n{_status(r)}" for r in (needed[0], needed[-1]))
        lines.append((flaw, f"{stated['value']:g}\n{basis}", *ends))
    caption = "Strength in the profile v strength that published ratios need"
    header = ("flaw", "in the profile", "least needed", "most needed")
    return CalibrationTable(caption, header, tuple(lines))


def _of_flaw(flaw: str, rows: Sequence[_Row], observed: Sequence[_Row]) -> CalibrationTable:
    own = [r for r in rows if r.get("mechanism") == flaw]
    (stated,) = (r for r in own if r["measure"] == "strength_in_profile")
    dial = {r["strength"]: r for r in own if r["measure"] == "ratio_of_odds_ratios"}
    n = max(r["n_replicates"] for r in dial.values())
    words = [
        f"{flaw}: strength {stated['value']:g} in the profile "
        f"({stated.get('status') or stated['source']})"
    ]
    if at := dial.get(stated["value"]):
        words.append(f"a ratio of {_with_error(at)}")
    most = dial[max(dial)]
    words.append(f"strength {most['strength']:g} gives {_with_error(most)}")
    caption = f"{', '.join(words[:2])}; {words[-1]} ({n:,} simulated trials)"
    needed = [r for r in own if r["measure"] == "strength_needed"]
    lines = []
    for key in dict.fromkeys((r["evidence"], r["source"]) for r in needed):
        by_end = {r["analysis"]: r for r in needed if (r["evidence"], r["source"]) == key}
        seen = _observed(by_end[AT_RATIO[0]], observed, flaw)
        lines.append(_line(by_end, seen, flaw, observed))
    header = _PUBLICATION if flaw == "publication" else _NEEDED
    return CalibrationTable(caption, header, tuple(lines))


def _line(
    by_end: Mapping[str, _Row], seen: _Row, flaw: str, observed: Sequence[_Row]
) -> tuple[str, ...]:
    ends = dict(zip(AT_RATIO, (seen["value"], seen.get("lower"), seen.get("upper")), strict=True))
    shown = [name for name in AT_RATIO if name in by_end]
    status, what = _status(seen), seen.get("analysis", "")
    if flaw == "publication":
        (positive,) = (
            r for r in observed if r["measure"] == "published_share" and "lower" not in r
        )
        ratios = [f"{100 * ends[name]:.0f} %" for name in shown]
        what = f"positive trials {100 * positive['value']:.0f} %"
    else:
        ratios = [f"{ends[name]:.2f}" for name in shown]
    about = ", ".join(part for part in (status, what) if part)
    return (
        f"{seen['evidence']}\n{seen['source']}\n{about}",
        "\n".join(shown),
        "\n".join(ratios),
        "\n".join(_strength(by_end[name]) for name in shown),
    )


def _observed(needed: _Row, observed: Sequence[_Row], flaw: str) -> _Row:
    (seen,) = (
        r
        for r in observed
        if (r["evidence"], r["source"]) == (needed["evidence"], needed["source"])
        and r.get("mechanism") == flaw
    )
    return seen


def _published(row: _Row, observed: Sequence[_Row]) -> str:
    (seen,) = (
        r
        for r in observed
        if (r["evidence"], r["source"]) == (row["evidence"], row["source"]) and "mechanism" not in r
    )
    ends = f"\n({seen['lower']:.2f} to {seen['upper']:.2f})" if "lower" in seen else ""
    return f"{seen['value']:.2f}{ends}"


def _status(row: _Row) -> str:
    """Return how far a published number can be relied on; weak ones stand out."""
    status = Status(row["status"])
    return status.value.upper() if status.is_weak else status.value


def _strength(row: _Row) -> str:
    if row["value"] is None:
        return "not reached"
    if not row["mcse"]:
        return f"{row['value']:.3f}" if row["value"] else "0"
    return _with_error(row)


def _with_error(row: _Row) -> str:
    digits = next(d for d in (3, 4, 5, 6) if d == 6 or row["mcse"] >= 0.5 * 10**-d)
    return f"{row['value']:.{digits}f} +-{row['mcse']:.{digits}f}"


def _folded(cell: str, width: int = 28) -> str:
    folded: Iterator[str] = (
        part for line in cell.split("\n") for part in textwrap.wrap(line, width) or [""]
    )
    return "\n".join(folded)
