"""Counts, what they give, and the percentages they are behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim.protocol.published.checks import Verdict
from trialsim.protocol.published.evidence import EffectMeasure, TrialResult
from trialsim.studies.evidence_check.consistency import (
    TESTS,
    VERY_LARGE_ODDS_RATIO,
    Reach,
    Table,
    Written,
    agreement,
    counts_behind,
    cut_counts_behind,
    effect_of_counts,
    hazard_ratio_of_counts,
    p_values_of_counts,
)
from trialsim.studies.evidence_check.finding import (
    FACTOR,
    Finding,
    counts_in_words,
    interval_in_words,
    p_in_words,
)
from trialsim.studies.evidence_check.printed import Path, Printed, PrintedEffect, worded

__all__ = [
    "UNNAMED",
    "YATES",
    "counts_of_sizes",
    "estimate_of_counts",
    "fitting",
    "p_of_counts",
    "percentages_of_n",
    "share_of_n",
    "tests_of_result",
    "usual_tests",
]

UNNAMED = "as published"
YATES = "chi-square with Yates' correction"
_WHOLE = "percentages v whole patients"
_NEAR = 0.1  # assumed: of an interval's width, how far its ends move with the method


def _exactly(value: float) -> Reach:
    return Reach(value, value, value)


def estimate_of_counts(printed: PrintedEffect, table: Table, about: str) -> Iterator[Finding]:
    """Hold an odds ratio, risk ratio, risk difference or hazard ratio against counts."""
    effect = printed.effect
    if effect.measure is EffectMeasure.HAZARD_RATIO:
        yield from _hazard_ratio(printed, table, about)
        return
    found = effect_of_counts(effect.measure.value, table)
    if found is None:
        return
    verdicts = [agreement(printed.value, _exactly(found.value))]
    said = (
        f"{counts_in_words(table)} give {effect.measure.short} {interval_in_words(found)}; "
        f"{worded(effect.status)} {printed.in_words}"
    )
    if printed.ci:
        pairs = list(zip(printed.ci, found[1:], strict=True))
        verdicts += [agreement(end, _exactly(at)) for end, at in pairs]
        if verdicts[0] is not Verdict.IMPOSSIBLE and Verdict.IMPOSSIBLE in verdicts:
            room = _NEAR * (found.high - found.low)
            if all(abs(end.value - at) <= room + end.half_unit for end, at in pairs):
                verdicts = [Verdict.UNTESTABLE]
                said += "; an interval by another method may differ"
    largest = max(found.value, 1 / found.value) if found.value > 0 else 0.0
    if effect.measure is EffectMeasure.ODDS_RATIO and largest >= VERY_LARGE_ODDS_RATIO:
        said += f"; very large ({VERY_LARGE_ODDS_RATIO:g} or more: Pereira 2012)"
    numbers = {"estimate": found.value, "lower": found.low, "upper": found.high}
    yield Finding("estimate v counts", about, Verdict.of_all(tuple(verdicts)), said, numbers)


def _hazard_ratio(printed: PrintedEffect, table: Table, about: str) -> Iterator[Finding]:
    hazard = hazard_ratio_of_counts(table)
    if hazard is None:
        return
    fits = agreement(printed.value, _exactly(hazard.value)) is not Verdict.IMPOSSIBLE
    yield Finding(
        "hazard ratio v counts",
        about,
        Verdict.CONSISTENT if fits else Verdict.UNTESTABLE,
        f"HR {printed.value.value:g}: with proportional hazards and nobody lost, "
        f"{counts_in_words(table)} give {interval_in_words(hazard)}"
        + ("" if fits else "; adjusted, or by times, it may differ"),
        {"hazard_ratio": hazard.value, "lower": hazard.low, "upper": hazard.high},
    )


def tests_of_result(
    printed: Printed, result: TrialResult, table: Table, path: Path
) -> Iterator[Finding]:
    """Hold P values beside a result against its counts; of interactions, elsewhere."""
    for index, test in enumerate(result.tests):
        if "interaction" not in test.name:
            p = printed.written(test.p, *path, "tests", index, "p")
            yield p_of_counts(test.name, p, table, result.id, worded(test.status))


def p_of_counts(name: str, p: Written, table: Table, about: str, word: str = "stated") -> Finding:
    """Hold a P value against counts, by the test named or, unnamed, each in common use."""
    found = p_values_of_counts(table)
    verdict, why = fitting(name, p, found, word)
    said = f"{counts_in_words(table)}: {why}"
    numbers = {f"p_{test}": value for test, value in found.items()}
    return Finding("P value v counts", about, verdict, said, numbers)


def usual_tests(found: dict[str, float]) -> str:
    """Say the P values of the three tests usual for two proportions."""
    names = (("chi-square", "chi-square"), ("Fisher", "Fisher"), (YATES, "Yates"))
    return "P = " + ", ".join(f"{p_in_words(found[test])} ({short})" for test, short in names)


def fitting(
    name: str, p: Written, found: dict[str, float], word: str = "stated"
) -> tuple[Verdict, str]:
    """Say which test of two proportions a P value can come from."""
    usual, lower = usual_tests(found), name.lower()
    if "log-rank" in lower or "logrank" in lower:
        return Verdict.UNTESTABLE, f"{word} {p.value:g} (log-rank), which needs times; {usual}"
    named = lower != UNNAMED
    candidates = _tests_called(lower) if named else list(TESTS)
    if not candidates:
        return Verdict.UNTESTABLE, f"{word} {p.value:g} ({name}), no test of counts; {usual}"
    for wanted in (Verdict.CONSISTENT, Verdict.ROUNDING):
        for test in candidates:
            if agreement(p, _exactly(found[test])) is wanted:
                shown = "" if test in ("chi-square", "Fisher", YATES) else p_in_words(found[test])
                of_test = f"{test}, {shown}" if shown else test
                cut = ", cut and not rounded" if wanted is Verdict.ROUNDING else ""
                return wanted, f"{usual}; {word} {p.value:g} is {of_test}{cut}"
    if named:
        return Verdict.IMPOSSIBLE, f"{usual}; {word} {p.value:g} as {name}"
    low, high = min(found.values()), max(found.values())
    said = f"{usual}; {word} {p.value:g}, test not named: "
    span = f"{len(TESTS)} tests of counts ({p_in_words(low)} to {p_in_words(high)})"
    if low / FACTOR <= p.value <= high * FACTOR:
        others = "a log-rank, stratified or adjusted one may be"
        return Verdict.UNTESTABLE, f"{said}none of {span}, {others}"
    return Verdict.IMPOSSIBLE, f"{said}far from each of {span}"


def _tests_called(name: str) -> list[str]:
    words = ("fisher", "yates", "chi", "likelihood", "wald")
    word = next((word for word in words if word in name), None)
    return [test for test in TESTS if word and word in test.lower()]


def percentages_of_n(printed: Printed, result: TrialResult, path: Path) -> Iterator[Finding]:
    """Hold percentages of a result's arms against their numbers of patients."""
    if result.unit != "%":
        return
    for name, arm in (("experimental", result.experimental), ("control", result.control)):
        if arm and arm.n and arm.value is not None and arm.events is None:
            percentage = printed.written(arm.value, *path, name, "value")
            yield share_of_n(percentage, arm.n, f"{result.id}, {name}")


def share_of_n(percentage: Written, n: int, about: str) -> Finding:
    """Whether a percentage is of whole patients; if not, it may be a mean, or of others."""
    behind = counts_behind(percentage, n)
    if not behind:
        said = f"{percentage.value:g}% is no whole number of {n}: a mean, or of other patients"
        return Finding(_WHOLE, about, Verdict.UNTESTABLE, said)
    numbers = {"events": float(behind[0])}
    return Finding(_WHOLE, about, Verdict.CONSISTENT, _is(percentage, behind, n), numbers)


def _is(percentage: Written, behind: Sequence[int], n: int) -> str:
    more = f" (or {len(behind) - 1} more)" if len(behind) > 1 else ""
    return f"{percentage.value:g}% is {behind[0]}/{n}{more}"


def counts_of_sizes(
    percentages: Sequence[Written],
    sizes: Sequence[int],
    counts: tuple[int, ...] | None,
    about: str,
) -> Finding:
    """Hold percentages against arms of known size, and their events where these are known too."""
    arms = [
        _count_of_size(percentage, n, None if counts is None else counts[arm])
        for arm, (percentage, n) in enumerate(zip(percentages, sizes, strict=True))
    ]
    numbers = {f"events_{arm}": float(k) for arm, (_, _, k) in enumerate(arms, start=1)}
    verdict = Verdict.of_all(tuple(verdict for verdict, _, _ in arms))
    return Finding(_WHOLE, about, verdict, "; ".join(said for _, said, _ in arms), numbers)


def _count_of_size(percentage: Written, n: int, known: int | None) -> tuple[Verdict, str, int]:
    behind, cut = counts_behind(percentage, n), cut_counts_behind(percentage, n)
    if behind and (known is None or known in behind):
        shown = behind if known is None else (known,)
        return Verdict.CONSISTENT, _is(percentage, shown, n), shown[0]
    if cut and (known is None or known in cut):
        said = f"{_is(percentage, cut, n)} = {100 * cut[0] / n:.1f}%, cut and not rounded"
        return Verdict.ROUNDING, said, cut[0]
    nearest = round(percentage.value * n / 100) if known is None else known
    what = "nearest" if known is None else "counted"
    said = f"{percentage.value:g}% is not {nearest}/{n} = {100 * nearest / n:.2f}% ({what})"
    said += f" but {behind[0]}/{n}" if behind else f", and no whole number of {n}"
    return Verdict.IMPOSSIBLE, said, nearest
