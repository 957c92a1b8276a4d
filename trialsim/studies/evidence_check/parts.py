"""Subgroups and strata, and the whole they make up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import log

from trialsim.protocol.published.checks import PartsOfWhole, Verdict
from trialsim.protocol.published.evidence import EffectMeasure, Pool, Status, Trial
from trialsim.studies.evidence_check.consistency import (
    Estimate,
    Reach,
    Written,
    agreement,
    combined,
    ratio_between,
    reach,
)
from trialsim.studies.evidence_check.estimates import is_ratio
from trialsim.studies.evidence_check.finding import (
    FACTOR,
    OFF_CENTRE,
    Finding,
    interval_in_words,
    p_equals,
    p_in_words,
    within,
)
from trialsim.studies.evidence_check.printed import Printed, PrintedEffect

__all__ = ["parts_of_whole"]

_ORDER = (Verdict.CONSISTENT, Verdict.ROUNDING, Verdict.UNTESTABLE, Verdict.IMPOSSIBLE)


def parts_of_whole(printed: Printed, check: PartsOfWhole) -> Iterator[Finding]:
    """Pool parts and hold them against the whole; hold the first two against one another."""
    about = check.result or "the whole"
    if shared := _sharing(printed, check.parts):
        said = f"{shared[0]} and {shared[1]} share patients, so they are not parts of one whole"
        yield Finding("parts v whole", about, Verdict.UNTESTABLE, said)
        return
    yield from _numbers_of_parts(printed, check)
    whole = list(printed.effects(check.result))
    parts = [_effects_of(printed, part) for part in check.parts]
    for measure in EffectMeasure:
        of_parts = [part[measure] for part in parts if measure in part]
        stated = [each for each in whole if each.effect.measure is measure and each.ci]
        if len(of_parts) == len(parts) and stated:
            yield _recombined(check, of_parts, stated, measure, about)
            yield _difference(printed, check, of_parts, measure, about)
            return
    said = "the parts and the whole have no estimate of one measure with intervals"
    yield Finding("parts v whole", about, Verdict.UNTESTABLE, said)


def _sharing(printed: Printed, parts: Sequence[str]) -> tuple[str, str] | None:
    """Return two parts that are known to share patients, if there are such."""
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            if one == other or printed.evidence.shares_patients(one, other):
                return one, other
    return None


def _effects_of(printed: Printed, part: str) -> dict[EffectMeasure, tuple[Written, ...]]:
    """Return estimate and interval ends of a part, the first of each measure."""
    own = isinstance(printed.record, Trial) and printed.record.result(part) is not None
    effects = printed.effects(part) if own else printed.of(part).effects()
    found: dict[EffectMeasure, tuple[Written, ...]] = {}
    for each in effects:
        if each.ci:
            found.setdefault(each.effect.measure, (each.value, *each.ci))
    return found


def _numbers_of_parts(printed: Printed, check: PartsOfWhole) -> Iterator[Finding]:
    record = printed.record
    pools = [printed.evidence.records.get(part) for part in check.parts]
    if not isinstance(record, Pool):
        return
    for name, what in (("n_patients", "patients"), ("n_trials", "trials")):
        numbers = [getattr(pool, name) for pool in pools if isinstance(pool, Pool)]
        total = getattr(record, name)
        if total is None or None in numbers:
            continue
        yield Finding(
            f"{what} of the parts",
            "the whole",
            Verdict.CONSISTENT if sum(numbers) == total else Verdict.IMPOSSIBLE,
            f"{' + '.join(str(n) for n in numbers)} = {sum(numbers)}; stated {total}",
            {what: float(sum(numbers))},
        )


def _recombined(
    check: PartsOfWhole,
    parts: Sequence[tuple[Written, ...]],
    stated: Sequence[PrintedEffect],
    measure: EffectMeasure,
    about: str,
) -> Finding:
    ratio = is_ratio(measure)
    pooled, p = combined([Estimate(*(n.value for n in part)) for part in parts], ratio=ratio)
    reaches = [
        _over_rounding(parts, lambda e, i=i: combined(e, ratio=ratio)[0][i])  # type: ignore[misc]
        for i in range(3)
    ]
    verdicts, said = [], []
    for each in stated:
        numbers = (each.value, *(each.ci or ()))
        verdict = Verdict.of_all(tuple(map(agreement, numbers, reaches)))
        if verdict is Verdict.IMPOSSIBLE and _is_near(each, pooled, ratio=ratio):
            verdict = Verdict.UNTESTABLE
        verdicts.append(verdict)
        fits = {
            Verdict.CONSISTENT: "fits",
            Verdict.ROUNDING: "fits within rounding",
            Verdict.UNTESTABLE: "is near; another model may account for it",
        }.get(verdict, "does not fit")
        said.append(f"{measure.short} {each.in_words} {fits}")
    return Finding(
        "parts v whole",
        about,
        min(verdicts, key=_ORDER.index),
        f"{' and '.join(check.parts)} combine to {measure.short} {interval_in_words(pooled)}, "
        f"{p_equals(p_in_words(p))}; stated {'; '.join(said)}",
        {"estimate": pooled.value, "lower": pooled.low, "upper": pooled.high, "p": p},
    )


def _is_near(stated: PrintedEffect, pooled: Estimate, *, ratio: bool) -> bool:
    """Whether an estimate lies within a part of the half width of the pooled one's interval."""
    value, at, low, high = (
        log(n) if ratio else n for n in (stated.value.value, pooled.value, pooled.low, pooled.high)
    )
    return abs(value - at) < OFF_CENTRE * (high - low) / 2


def _over_rounding(
    parts: Sequence[tuple[Written, ...]], function: Callable[[list[Estimate]], float]
) -> Reach:
    """Return a function of several estimates over the rounding of each of their numbers."""

    def of(*numbers: float) -> float:
        return function([Estimate(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)])

    return reach(of, *(number for part in parts for number in part))


def _difference(
    printed: Printed,
    check: PartsOfWhole,
    parts: Sequence[tuple[Written, ...]],
    measure: EffectMeasure,
    about: str,
) -> Finding:
    ratio = is_ratio(measure)
    first, second = (Estimate(*(n.value for n in part)) for part in parts[:2])
    apart, _ = ratio_between(first, second, ratio=ratio)
    found = _over_rounding(parts[:2], lambda e: ratio_between(e[0], e[1], ratio=ratio)[1])
    one, other = parts[0][0], parts[1][0]
    if one.low <= other.high and other.low <= one.high:
        found = Reach(found.at, found.low, 1.0)
    said = (
        f"{check.parts[0]} {'over' if ratio else 'minus'} {check.parts[1]}: "
        f"{interval_in_words(apart, 2)}, {p_equals(within(found))}"
    )
    stated, verdict = _interaction_stated(printed, check), Verdict.UNTESTABLE
    if stated is None:
        said += "; no P value is stated"
    else:
        verdict = agreement(stated, found)
        said += f"; stated {stated.value:g}"
        near = found.low / FACTOR < stated.value < found.high * FACTOR
        if verdict is Verdict.IMPOSSIBLE and near:
            verdict = Verdict.UNTESTABLE
            said += ", which another model may give"
    numbers = {"ratio" if ratio else "difference": apart.value, "lower": apart.low}
    numbers |= {"upper": apart.high, "p": found.at, "p_low": found.low, "p_high": found.high}
    return Finding("difference between parts", about, verdict, said, numbers)


def _interaction_stated(printed: Printed, check: PartsOfWhole) -> Written | None:
    if not isinstance(printed.record, Trial):
        return None
    for i, result in enumerate(printed.record.results):
        for j, test in enumerate(result.tests):
            named = result.id == check.result and test.name == check.interaction
            if named and test.status is not Status.DERIVED:
                return printed.written(test.p, "results", i, "tests", j, "p")
    return None
