"""Means, standard deviations, and differences at entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

from trialsim.protocol.published.checks import Verdict
from trialsim.protocol.published.evidence import EffectMeasure, Trial, TrialResult
from trialsim.protocol.quantities import Clock
from trialsim.studies.evidence_check.consistency import (
    HUGE_DIFFERENCE,
    Reach,
    Written,
    agreement,
    chance_of_so_small_a_p,
    p_of_t,
    reach,
    t_of_means,
    t_quantile,
)
from trialsim.studies.evidence_check.finding import FACTOR, IMPLAUSIBLE, Finding, p_equals, within
from trialsim.studies.evidence_check.printed import Path, Printed, PrintedEffect, worded

__all__ = ["baseline", "difference_of_arms", "implausible", "means_and_sds"]

_BASELINE_VARIABLES = (1, 5, 10, 20)  # assumed: how many a table of characteristics may hold
_RARE = 0.05  # assumed: chance among the most of them below which a difference is called rare


def difference_of_arms(
    printed: Printed, effect: PrintedEffect, result: TrialResult, path: Path
) -> Iterator[Finding]:
    """Hold a difference against the two arms' means or percentages."""
    one, other = result.experimental, result.control
    scale = {EffectMeasure.MEAN_DIFFERENCE: 1.0}
    if result.unit == "%":
        scale = {EffectMeasure.RISK_DIFFERENCE: 0.01}
    measure = effect.effect.measure
    if measure not in scale or one is None or other is None:
        return
    if one.value is None or other.value is None:
        return
    a = printed.written(one.value, *path, "experimental", "value")
    b = printed.written(other.value, *path, "control", "value")
    found = reach(lambda x, y: (x - y) * scale[measure], a, b)
    unit = "%" if measure is EffectMeasure.RISK_DIFFERENCE else ""
    yield Finding(
        "difference v arms",
        result.id,
        agreement(effect.value, found),
        f"{a.value:g}{unit} - {b.value:g}{unit} = {within(found)}; "
        f"{worded(effect.effect.status)} {effect.value.value:g}",
        {"difference": found.at, "low": found.low, "high": found.high},
    )


def means_and_sds(
    printed: Printed, effects: Sequence[PrintedEffect], result: TrialResult, path: Path
) -> Iterator[Finding]:
    """Hold two means with their SDs against P values, and their distance against what is seen."""
    one, other = result.experimental, result.control
    if one is None or other is None or one.mean is None or other.mean is None:
        return
    arms = (("experimental", one.mean), ("control", other.mean))
    values = [printed.written(mean.mean, *path, name, "value") for name, mean in arms]
    sds = [printed.written(mean.sd, *path, name, "sd") for name, mean in arms]
    sizes = (one.mean.n, other.mean.n)
    yield from _size_of_difference(values, sds, sizes, result.id)
    stated = [printed.written(t.p, *path, "tests", i, "p") for i, t in enumerate(result.tests)]
    stated += [each.p for each in effects if each.p is not None]
    for p in stated:
        yield _p_of_means(p, values, sds, sizes, result.id)
    for each in effects:
        if each.effect.measure is EffectMeasure.MEAN_DIFFERENCE and each.ci:
            yield _interval_of_means(each, sds, sizes, result.id)


def _interval_of_means(
    stated: PrintedEffect, sds: Sequence[Written], sizes: tuple[int, int], about: str
) -> Finding:
    """Whether SDs give the width of an interval; if not, whether they do as standard errors."""
    n1, n0 = sizes
    t = t_quantile(0.05, n1 + n0 - 2)

    def half(s1: float, s0: float) -> float:
        return t / abs(t_of_means(1.0, s1, n1, s0, n0))

    found = reach(half, *sds)
    other = reach(lambda s1, s0: half(s1 * sqrt(n1), s0 * sqrt(n0)), *sds)
    low, high = stated.ci or (stated.value, stated.value)
    width = Written((high.value - low.value) / 2, (high.half_unit + low.half_unit) / 2)
    verdict = agreement(width, found)
    said = f"as SDs they give a half width of {within(found)}; stated {width.value:g}"
    if verdict is Verdict.IMPOSSIBLE and agreement(width, other) is not Verdict.IMPOSSIBLE:
        said += f"; as standard errors {within(other)}, which fits: SE reported as SD?"
    elif verdict is Verdict.IMPOSSIBLE and 1 / FACTOR < width.value / found.at < FACTOR:
        verdict = Verdict.UNTESTABLE
        said += "; an adjusted difference may have it"
    numbers = {"half_width_as_sd": found.at, "half_width_as_se": other.at}
    return Finding("interval v SDs", about, verdict, said, numbers)


def _size_of_difference(
    values: Sequence[Written], sds: Sequence[Written], sizes: tuple[int, int], about: str
) -> Iterator[Finding]:
    n1, n0 = sizes
    pooled = sqrt(((n1 - 1) * sds[0].value ** 2 + (n0 - 1) * sds[1].value ** 2) / (n1 + n0 - 2))
    d = (values[0].value - values[1].value) / pooled
    if abs(d) >= HUGE_DIFFERENCE:
        as_errors = d / sqrt(2 / (1 / n1 + 1 / n0))
        said = f"{d:.1f} standard deviations{implausible(d)}; were the SDs standard errors, "
        numbers = {"d": d, "d_if_se": as_errors}
        said += f"{as_errors:.2f}"
        yield Finding(IMPLAUSIBLE, about, Verdict.UNTESTABLE, said, numbers)


def implausible(d: float) -> str:
    """Say that a standardised difference is implausibly large, where it is."""
    if abs(d) < HUGE_DIFFERENCE:
        return ""
    return f", implausibly large ({HUGE_DIFFERENCE:g} is called huge: Sawilowsky 2009)"


def _p_of_means(
    p: Written,
    values: Sequence[Written],
    sds: Sequence[Written],
    sizes: tuple[int, int],
    about: str,
) -> Finding:
    """Whether means and SDs give a P value; if not, whether they do as standard errors."""
    n1, n0 = sizes

    def as_sds(a: float, b: float, s1: float, s0: float) -> float:
        return p_of_t(t_of_means(a - b, s1, n1, s0, n0), n1 + n0 - 2)

    def as_errors(a: float, b: float, s1: float, s0: float) -> float:
        return as_sds(a, b, s1 * sqrt(n1), s0 * sqrt(n0))

    positive = [s if s.low > 0 else Written(s.value) for s in sds]
    found, other = (reach(f, *values, *positive) for f in (as_sds, as_errors))
    if values[0].low <= values[1].high and values[1].low <= values[0].high:
        found, other = (Reach(each.at, each.low, 1.0) for each in (found, other))
    verdict = agreement(p, found)
    said = f"as SDs they give {p_equals(within(found))} (t test); stated {p.value:g}"
    if verdict is Verdict.IMPOSSIBLE and agreement(p, other) is not Verdict.IMPOSSIBLE:
        said += f"; as standard errors {p_equals(within(other))}, which fits: SE reported as SD?"
    elif verdict is Verdict.IMPOSSIBLE and found.low / FACTOR < p.value < found.high * FACTOR:
        verdict = Verdict.UNTESTABLE
        said += "; an adjusted or rank test may give it"
    numbers = {"p_as_sd": found.at, "p_as_se": other.at}
    return Finding("P value v means", about, verdict, said, numbers)


def baseline(printed: Printed, result: TrialResult) -> Iterator[Finding]:
    """Say how likely so small a P value at entry is where arms are allocated at random."""
    record, at = printed.record, result.at
    at_entry = at is not None and at.clock is Clock.ENTRY and at.days_after_entry(None) == 0
    if not (isinstance(record, Trial) and record.design.randomised and at_entry):
        return
    for test in result.tests:
        chances = {k: chance_of_so_small_a_p(test.p, k) for k in _BASELINE_VARIABLES}
        usual = chances[_BASELINE_VARIABLES[-1]] >= _RARE
        said = ", ".join(f"{100 * chance:.2g}% among {k}" for k, chance in chances.items())
        yield Finding(
            "baseline v randomisation",
            result.id,
            Verdict.CONSISTENT if usual else Verdict.UNTESTABLE,
            f"P = {test.p:g} at entry, where any difference is chance; chance of so small a P "
            f"value somewhere: {said} independent variables compared"
            + ("" if usual else "; rare under randomisation, but not impossible"),
            {f"chance_among_{k}": chance for k, chance in chances.items()},
        )
