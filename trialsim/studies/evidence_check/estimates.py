"""Estimates, their intervals and P values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log

from trialsim.protocol.published.checks import Verdict
from trialsim.protocol.published.evidence import EffectMeasure, MetaEpidemiology, Status
from trialsim.studies.evidence_check.consistency import (
    Reach,
    Table,
    Written,
    agreement,
    centre_of_interval,
    is_as_written,
    p_of_interval,
    reach,
)
from trialsim.studies.evidence_check.counts import UNNAMED, p_of_counts
from trialsim.studies.evidence_check.finding import OFF_CENTRE, Finding, p_equals, within
from trialsim.studies.evidence_check.printed import Printed, PrintedEffect, worded

__all__ = ["bias_estimates", "derived_p", "interval_and_p", "is_ratio", "said_twice"]

_P_FROM_INTERVAL = "p-from-interval"
_BOTH_MOVED = "; both the estimate and its P value fit only within the rounding"
_OF_COUNTS = (EffectMeasure.ODDS_RATIO, EffectMeasure.RISK_RATIO, EffectMeasure.RISK_DIFFERENCE)


def is_ratio(measure: EffectMeasure) -> bool:
    """Whether an effect is compared with 1, on the log scale."""
    return "ratio" in measure.value


def interval_and_p(
    printed: PrintedEffect, about: str, table: Table | None = None
) -> Iterator[Finding]:
    """Hold an estimate against its interval, and its P value against counts or the interval.

    One of the two that fits the interval only within rounding is no discrepancy. Where both do, a
    reader stumbles twice over one line: `rounding`.
    """
    effect, ratio = printed.effect, is_ratio(printed.effect.measure)
    of_counts = None
    if table and printed.p and effect.measure in _OF_COUNTS:
        of_counts = p_of_counts(UNNAMED, printed.p, table, about, worded(effect.status))
        if printed.ci is None or of_counts.verdict is Verdict.CONSISTENT:
            yield of_counts
    if printed.ci is None:
        return
    low, high = printed.ci
    middle = list(_symmetry(printed.value, low, high, about, ratio, worded(effect.status)))
    no_logarithm = ratio and min(low.low, printed.value.low) <= 0
    # a P value of counts need not be that of a large-sample interval
    by_counts = of_counts is not None and of_counts.verdict is Verdict.CONSISTENT
    if printed.p is None or no_logarithm or by_counts:
        yield from middle
        return
    found = reach(lambda v, a, b: p_of_interval(v, a, b, ratio=ratio), printed.value, low, high)
    if printed.value.low <= (1.0 if ratio else 0.0) <= printed.value.high:
        found = Reach(found.at, found.low, 1.0)
    of_p = Finding(
        "P value v interval",
        about,
        agreement(printed.p, found),
        f"{effect.measure.short} {printed.in_words} gives {p_equals(within(found))}; "
        f"{worded(effect.status)} {effect.p:g}",
        {"p": found.at, "p_low": found.low, "p_high": found.high},
    )
    centres = [Reach(f.numbers["centre"], f.numbers["low"], f.numbers["high"]) for f in middle]
    as_written = is_as_written(printed.p, found) or any(
        is_as_written(printed.value, centre) for centre in centres
    )
    yield from (f if as_written else _both_moved(f) for f in (*middle, of_p))


def _both_moved(found: Finding) -> Finding:
    if found.verdict is not Verdict.CONSISTENT:
        return found
    return replace(found, verdict=Verdict.ROUNDING, detail=f"{found.detail}{_BOTH_MOVED}")


def said_twice(effects: list[PrintedEffect], about: str) -> Iterator[Finding]:
    """Hold published estimates of one measure of one comparison against one another."""
    for measure in EffectMeasure:
        values = [
            each.value
            for each in effects
            if each.effect.measure is measure and each.effect.status is Status.PUBLISHED
        ]
        if len(values) < 2:
            continue
        low, high = min(values), max(values)
        verdict = Verdict.CONSISTENT
        if high.value > low.value:
            touching = high.low <= low.high + 1e-9
            verdict = Verdict.ROUNDING if touching else Verdict.IMPOSSIBLE
        why = {
            Verdict.ROUNDING: "; one number may round to both",
            Verdict.IMPOSSIBLE: (
                "; as estimates of one model they cannot both be right, and that they are of two "
                "is not said"
            ),
        }.get(verdict, "")
        yield Finding(
            "published versions",
            about,
            verdict,
            f"{measure.short} {' and '.join(f'{v.value:g}' for v in values)} are both in print "
            f"for one comparison{why}",
            {"gap": high.value - low.value},
        )


def derived_p(printed: Printed, effects: list[PrintedEffect], about: str) -> Iterator[Finding]:
    """Hold a P value a record derives from the interval of a pool against that interval."""
    if not any(quantity.id == _P_FROM_INTERVAL for quantity in printed.record.quantities):
        return
    stated = printed.quantity(_P_FROM_INTERVAL)
    for each in effects:
        if each.ci is None or each.p is not None:
            continue
        ratio = is_ratio(each.effect.measure)
        found = reach(
            lambda v, a, b, ratio=ratio: p_of_interval(v, a, b, ratio=ratio), each.value, *each.ci
        )
        said = f"{each.effect.measure.short} {each.in_words} gives {p_equals(within(found))}"
        yield Finding(
            "P value v interval",
            about,
            agreement(stated, found),
            f"{said}; derived {stated.value:g}",
            {"p": found.at, "p_low": found.low, "p_high": found.high},
        )


def bias_estimates(printed: Printed, record: MetaEpidemiology) -> Iterator[Finding]:
    """Hold estimates of bias against their intervals."""
    for index, estimate in enumerate(record.estimates):
        if estimate.ci is None:
            continue
        value = printed.written(estimate.value, "estimates", index, "value")
        low, high = (
            printed.written(end, "estimates", index, "ci", i) for i, end in enumerate(estimate.ci)
        )
        ratio = "difference" not in estimate.measure.value
        yield from _symmetry(value, low, high, estimate.id, ratio, worded(estimate.status))


def _symmetry(
    value: Written, low: Written, high: Written, about: str, ratio: bool, word: str
) -> Iterator[Finding]:
    if ratio and min(low.value, value.value) <= 0:
        return
    start = low if not ratio or low.low > 0 else Written(low.value)
    centre = reach(lambda a, b: centre_of_interval(a, b, ratio=ratio), start, high)
    verdict = agreement(value, centre)
    said = f"the middle of ({low.value:g} to {high.value:g}) is {within(centre)}; "
    said += f"{word} {value.value:g}"
    if not low.value <= value.value <= high.value:
        said += ", which the interval excludes"
    if verdict is Verdict.IMPOSSIBLE and high.value > low.value:
        off = _off_centre(value.value, low.value, high.value, ratio=ratio)
        said += f"; off by {100 * off:.0f}% of half the width"
        if off < OFF_CENTRE:
            verdict = Verdict.UNTESTABLE
            said += ", as an exact, profiled or credible interval may be"
    scale = " on the log scale" if ratio else ""
    numbers = {"centre": centre.at, "low": centre.low, "high": centre.high}
    yield Finding(f"interval v estimate{scale}", about, verdict, said, numbers)


def _off_centre(value: float, low: float, high: float, *, ratio: bool) -> float:
    """Return the distance from the middle of an interval, in half widths."""
    if ratio:
        value, low, high = log(value), log(low), log(high)
    return abs(value - (low + high) / 2) / ((high - low) / 2)
