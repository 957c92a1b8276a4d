"""What a check of published numbers says: for the terminal, and as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from trialsim.protocol.published.checks import Verdict
from trialsim.report.text import wrapped
from trialsim.studies.evidence_check.finding import CheckedRecord, Finding

__all__ = ["checked_lines", "checked_rows"]

_GRAVEST_FIRST = (
    Verdict.IMPOSSIBLE,
    Verdict.UNTESTABLE,
    Verdict.ROUNDING,
    Verdict.CONSISTENT,
)


def checked_lines(checked: Sequence[CheckedRecord]) -> str:
    """Return what ``trialsim evidence check`` prints: a record in full, or many in short."""
    if len(checked) == 1:
        return "\n".join(_one(checked[0]))
    return "\n".join(_several(checked))


def checked_rows(checked: Sequence[CheckedRecord]) -> tuple[dict[str, Any], ...]:
    """Return one row per record, and one per finding with its arithmetic."""
    rows: list[dict[str, Any]] = []
    for each in checked:
        about = {"evidence": each.record.id, "kind": each.record.kind}
        read = each.record.read
        rows.append(
            about
            | {"check": "record", "verdict": each.verdict.value, "n_checks": len(each.findings)}
            | ({"read": read.value, "abstract_only": each.abstract_only} if read else {})
        )
        rows += [about | _row(finding) for finding in each.findings]
    return tuple(rows)


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "about": finding.about,
        "verdict": finding.verdict.value,
        "detail": finding.detail,
        "arithmetic": dict(finding.numbers),
    }


def _one(checked: CheckedRecord) -> Iterator[str]:
    record = checked.record
    yield wrapped(f"{record.id}   {record.title} ({record.kind}): {checked.verdict}", "  ", "")
    yield wrapped(record.citation)
    if record.read:
        only = " only" if checked.abstract_only else ""
        yield f"read for these numbers: {record.read}{only}"
    if not checked.findings:
        yield "\nNo two numbers of it can be held against one another."
        return
    yield f"\n{wrapped(_counted(checked.findings))}"
    order = sorted(checked.findings, key=lambda f: _GRAVEST_FIRST.index(f.verdict))
    verdict = None
    for finding in order:
        if finding.verdict is not verdict:
            verdict = finding.verdict
            yield f"\n{verdict}"
        yield wrapped(f"{finding.check}, {finding.about}: {finding.detail}", "    ", "  ")
    yield f"\n{_ABOUT_FIGURES}"


def _several(checked: Sequence[CheckedRecord]) -> Iterator[str]:
    tested = [each for each in checked if each.findings]
    n = sum(len(each.findings) for each in tested)
    yield wrapped(f"{len(checked)} records, {n} checks of numbers that belong together", "  ", "")
    yield ""
    width = min(36, max((len(each.record.id) for each in tested), default=0))
    for verdict in (
        *(v for v in _GRAVEST_FIRST if v is not Verdict.UNTESTABLE),
        Verdict.UNTESTABLE,
    ):
        those = [each for each in tested if each.verdict is verdict]
        if not those:
            continue
        yield f"{verdict} ({len(those)})"
        for each in those:
            only = ", abstract only" if each.abstract_only else ""
            lead = f"  {each.record.id:{width}}  "
            unlikely = ", implausible effect size" if each.implausible else ""
            yield wrapped(f"{_counted(each.findings)}{unlikely}{only}", " " * len(lead), lead)
            for finding in each.findings:
                if finding.verdict is Verdict.IMPOSSIBLE or finding in each.implausible:
                    said = f"{finding.check}, {finding.about}: {finding.detail}"
                    yield wrapped(said, "      ", "    ")
        yield ""
    rest = [each.record.id for each in checked if not each.findings]
    if rest:
        yield f"nothing to hold against one another ({len(rest)})"
        yield wrapped(", ".join(rest), "  ")
        yield ""
    yield _ABOUT_FIGURES


_ABOUT_FIGURES = wrapped(
    "A verdict is about figures: why some do not fit (a slip, another model, a misprint) "
    "arithmetic cannot say. Of most papers only the abstract was read. Rounding and bounds: "
    "docs/methods.md."
)


def _counted(findings: Sequence[Finding]) -> str:
    """Say "14 checks", and how many had which verdict where they differ."""
    counts = Counter(finding.verdict for finding in findings)
    checks = f"{len(findings)} check{'s' if len(findings) != 1 else ''}"
    if len(counts) == 1:
        return checks
    parts = [f"{counts[v]} {v}" for v in reversed(_GRAVEST_FIRST) if counts[v]]
    return f"{checks}: {', '.join(parts)}"
