"""What a check finds, and how its numbers are said."""

from __future__ import annotations

from dataclasses import dataclass, field

from trialsim.protocol.published.checks import Verdict
from trialsim.protocol.published.evidence import EvidenceRecord, Read
from trialsim.studies.evidence_check.consistency import Estimate, Reach, Table

__all__ = [
    "FACTOR",
    "IMPLAUSIBLE",
    "OFF_CENTRE",
    "CheckedRecord",
    "Finding",
    "counts_in_words",
    "interval_in_words",
    "number",
    "p_equals",
    "p_in_words",
    "within",
]

FACTOR = 2.0
"""How far, as a ratio, a P value may lie from what a simple test gives before a log-rank,
stratified or adjusted test can no longer be what it came from: assumed."""

IMPLAUSIBLE = "implausible effect size"
"""The check that finds one: arithmetic cannot refute it, so its verdict is "cannot be tested"."""

OFF_CENTRE = 0.25
"""How far off the middle of its interval, in half widths, an estimate may lie where the interval
is exact, profiled or credible: assumed."""


@dataclass(frozen=True)
class Finding:
    """One relation between numbers of a record.

    Attributes
    ----------
    check : str
        Which relation.
    about : str
        Result, quantity or estimate: its id, or in words.
    verdict : Verdict
    detail : str
        The arithmetic in words, and the rounding allowed where it decided.
    numbers : dict of str to float
        The arithmetic as numbers.
    """

    check: str
    about: str
    verdict: Verdict
    detail: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckedRecord:
    """Every finding about one record."""

    record: EvidenceRecord
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The gravest of what could be tested."""
        return Verdict.of_all(tuple(finding.verdict for finding in self.findings))

    @property
    def implausible(self) -> tuple[Finding, ...]:
        """Effects of an implausible size, which leave the verdict as it is."""
        return tuple(finding for finding in self.findings if finding.check == IMPLAUSIBLE)

    @property
    def abstract_only(self) -> bool:
        """Whether the numbers come from an abstract, as far as the record says."""
        return self.record.read is Read.ABSTRACT


def within(found: Reach, unit: str = "") -> str:
    """Say what other numbers give and, where rounding moves it, how far."""
    at, low, high = (number(value) for value in found)
    return f"{at}{unit}" if low == high else f"{at}{unit} (rounding: {low} to {high})"


def number(value: float) -> str:
    """Say a number to three digits; of smaller ones than a billionth, that they are."""
    if 0 <= value < 1e-9 and value != 0:
        return "< 1e-9"
    if value and abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def p_equals(words: str) -> str:
    """Say "P = 0.03", and of words that are a limit "P < 1e-9"."""
    return f"P {words}" if words.startswith("<") else f"P = {words}"


def p_in_words(value: float) -> str:
    """Say a P value to two digits."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.995 else "1.0"


def interval_in_words(estimate: Estimate, digits: int = 3) -> str:
    """Say an estimate and its interval."""
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def counts_in_words(table: Table) -> str:
    """Say "13/32 v 3/32"."""
    return f"{table[0]}/{table[1]} v {table[2]}/{table[3]}"
