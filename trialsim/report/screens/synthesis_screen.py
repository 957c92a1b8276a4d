"""What ``trialsim synthesise`` prints: a literature, what it pools to, and the gap published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trialsim.protocol.published.evidence import Status
from trialsim.report.parts.literature_words import literature_lines
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.literature.synthesis import (
    ALL,
    MANTEL_HAENSZEL,
    REML,
    PlannedSynthesis,
    percent,
)
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["range_errors", "status_in_words", "synthesis_screen", "with_error"]

_ENDS = ("estimate_q025", "estimate_q975")
_SCALES = {"odds ratio": "odds ratios", "ratio of odds ratios": "ratios of them"}
_WEAK = tuple(status.value for status in Status if status.is_weak)


def synthesis_screen(
    planned: PlannedSynthesis, result: StudyResult, seed: int, program: str
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedSynthesis
    result : StudyResult
        Of its `result`.
    seed : int
    program : str
        What to type to run the commands it names.
    """
    template, literature, split = planned.resolved.template, planned.literature, planned.split
    what = (
        f"Literature '{literature.id}': {literature.title}. Split by {split.title}. Event: "
        f"{template.protocol.primary.event}."
    )
    parts = [f"{wrapped(f'{template.id.upper()}   {template.title}')}\n{wrapped(what)}"]
    parts.append(literature_lines(literature))
    if planned.observed:
        parts.append(_published(planned, result.observed))
    for scenario in planned.scenarios:
        rows = [row for row in result.rows if row.scenario == scenario.id]
        parts.append(f"{scenario.title.capitalize()}, in every trial\n\n{_table(planned, rows)}")
    parts += [wrapped(text) for text in result.texts.values()]
    sets = [f"{own.id}: {own.title}" for own in planned.sets]
    parts.append(wrapped(f"Conduct. {'; '.join(sets)}."))
    parts.append(wrapped(_legend(result, seed)))
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(parts)


def _published(planned: PlannedSynthesis, rows: Sequence[Row]) -> str:
    titles = {f"{planned.split.id}={s.id}": s.title for s in planned.split.strata}
    titles[f"{planned.split.id}={ALL}"] = "all trials"
    lines = []
    for row in rows:
        if row.measure is not Measure.ESTIMATE:
            continue
        ends = "" if row.lower is None else f" ({row.lower:.2f} to {row.upper:.2f})"
        name = titles.get(row.stratum or "", "ratio of the two")
        status = status_in_words(row.status or "")
        lines.append((name, f"{row.value:.2f}{ends}", status, row.evidence or ""))
    lines += [
        (
            "interaction",
            f"P = {row.value:.2g}",
            status_in_words(row.status or ""),
            "",
        )
        for row in rows
        if row.measure is Measure.P_INTERACTION
    ]
    return table(("published", "odds ratio", "status", "evidence"), lines)


def status_in_words(status: str) -> str:
    """Return a status, in capitals where it is weak."""
    return status.upper() if status in _WEAK else status


def _table(planned: PlannedSynthesis, rows: Sequence[Row]) -> str:
    """Return one column per set of conduct."""
    split, columns = planned.split, []
    for own in planned.sets:
        here = [row for row in rows if row.conduct == own.id]
        columns.append(_column(planned, here))
    labels = [label for label, _ in columns[0]]
    lines = [
        (label, *(column[index][1] for column in columns)) for index, label in enumerate(labels)
    ]
    return table((split.id, *(own.id for own in planned.sets)), lines)


def _column(planned: PlannedSynthesis, rows: Sequence[Row]) -> list[tuple[str, str]]:
    split, seen, found = planned.split, planned.observed, []
    for place, stratum in enumerate(split.strata):
        own = [row for row in rows if row.stratum == f"{split.id}={stratum.id}"]
        share = next(row for row in own if row.measure is Measure.PUBLISHED_SHARE)
        at = seen.strata[place].value if seen else None
        found += _distribution(f"{stratum.id}: OR", own, at)
        middle = next(r for r in own if r.analysis == REML and r.measure is Measure.ESTIMATE_MEDIAN)
        found.append(("  by REML", with_error(middle.value, middle.mcse)))
        found.append(("  published, of trials", percent(share) if share.value != 1 else "all"))
    own = [row for row in rows if row.stratum == f"{split.id}={ALL}"]
    found += _distribution("all: OR", own, planned.whole.value if planned.whole else None)
    own = [row for row in rows if row.stratum == split.id]
    size = planned.ratio_seen
    found += _distribution("ratio", own, size)
    by = {row.measure: row for row in own if row.scale in (None, "P value")}
    if size is not None:
        more = "less" if size < 1 else "more"
        found.append((f"  {size:.2f} or {more}", percent(by[Measure.GAP_AS_LARGE])))
    middle = by[Measure.P_INTERACTION]
    found.append(("interaction: P", with_error(middle.value, middle.mcse)))
    found.append(("  0.05 or less", percent(by[Measure.POWER_INTERACTION])))
    if Measure.PERCENTILE in by and seen and seen.p_value is not None:
        found.append((f"  below {seen.p_value:.2g}", percent(by[Measure.PERCENTILE])))
    return found


def _distribution(name: str, rows: Sequence[Row], at: float | None) -> list[tuple[str, str]]:
    own = {
        row.measure: row
        for row in rows
        if row.analysis == MANTEL_HAENSZEL and row.scale in ("odds ratio", "ratio of odds ratios")
    }
    middle, low, high = (
        own[m] for m in (Measure.ESTIMATE_MEDIAN, Measure.ESTIMATE_Q025, Measure.ESTIMATE_Q975)
    )
    found = [
        (f"{name}, median", with_error(middle.value, middle.mcse)),
        ("  95% of literatures", f"{low.value:.2f} to {high.value:.2f}"),
    ]
    if at is not None and name != "ratio":
        found.append((f"  below {at:.2f}", percent(own[Measure.PERCENTILE])))
    return found


def _legend(result: StudyResult, seed: int) -> str:
    return (
        "OR: pooled odds ratio by Mantel-Haenszel, by REML (random effects) beside; ratio: the "
        "first stratum's over the second's; interaction: whether it is 1 (Altman and Bland 2003). "
        "'below' is where what was published falls among simulated literatures, ties counting "
        "half. A trial that is not published is followed by another of its kind, so that every "
        f"literature has as many. {result.n_replicates:,} literatures per column, seed {seed}; "
        f"+- is one Monte Carlo standard error. "
        f"{range_errors([row.as_dict() for row in result.rows])}{_without_estimate(result)}"
    )


def with_error(value: float | None, mcse: float | None) -> str:
    """Return a number with its Monte Carlo error, which is never shown as 0 unless it is."""
    if value is None or mcse is None:
        return "-"
    return f"{value:.3f} +-{f'{mcse:.3f}' if mcse >= 0.0005 or mcse == 0 else f'{mcse:.1g}'}"


def range_errors(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how large the Monte Carlo errors of the ends of 95% ranges are, at most.

    Parameters
    ----------
    rows : sequence of mapping
        As in the document.
    """
    ends = [row for row in rows if row["measure"] in _ENDS and row["mcse"] is not None]
    of = {name: [row["mcse"] for row in ends if row["scale"] == name] for name in _SCALES}
    told = [f"{max(errors):.3f} ({_SCALES[name]})" for name, errors in of.items() if errors]
    return f"The ends of ranges have one of at most {', '.join(told)}."


def _without_estimate(result: StudyResult) -> str:
    """Say in how many literatures nothing could be pooled, at worst; they are left out."""
    worst: dict[str, int] = {}
    for row in result.rows:
        if row.analysis in (MANTEL_HAENSZEL, REML) and row.n_failed:
            worst[row.analysis] = max(worst.get(row.analysis, 0), row.n_failed)
    if not worst:
        return " Every literature could be pooled."
    told = "; ".join(f"by {way} up to {n:,}" for way, n in worst.items())
    return f" Without a pooled estimate, and left out of a column: {told}."
