"""Relations a record declares under `checks:`."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, sqrt

from trialsim.protocol.published.checks import (
    ArmsOf,
    BeforeAndAfter,
    ChiSquareOf,
    CountsBehind,
    DeclaredCheck,
    PartsOfWhole,
    RangeOfDurations,
    RatioOfPercentages,
    SumOf,
    TwoMeans,
    TwoPercentages,
    Verdict,
)
from trialsim.protocol.published.evidence import MetaEpidemiology, Pool, Quantity, Trial
from trialsim.studies.evidence_check.consistency import (
    Reach,
    Table,
    Written,
    agreement,
    arms_behind,
    chi_square,
    largest_sd,
    p_values_of_counts,
    reach,
    smallest_arm,
)
from trialsim.studies.evidence_check.counts import (
    UNNAMED,
    YATES,
    counts_of_sizes,
    fitting,
    usual_tests,
)
from trialsim.studies.evidence_check.finding import (
    FACTOR,
    IMPLAUSIBLE,
    Finding,
    counts_in_words,
    within,
)
from trialsim.studies.evidence_check.means import implausible
from trialsim.studies.evidence_check.parts import parts_of_whole
from trialsim.studies.evidence_check.printed import Path, Printed, table_of

__all__ = ["declared_check"]

_CORRELATIONS = (0.0, 0.7)  # assumed: between before and after
_MOST_PER_ARM = 2_000


def declared_check(printed: Printed, check: DeclaredCheck, here: Path) -> Iterator[Finding]:
    """Check one relation a record declares; `here` is where in the record it stands."""
    match check:
        case CountsBehind():
            yield _counts(printed, check, here)
        case TwoPercentages():
            yield _two_percentages(printed, check)
            yield from _no_whole_patients(printed, check)
        case TwoMeans():
            yield _two_means(printed, check)
        case BeforeAndAfter():
            yield from _before_and_after(printed, check)
        case PartsOfWhole():
            yield from parts_of_whole(printed, check)
        case ChiSquareOf():
            yield _chi_square(printed, check)
        case RatioOfPercentages():
            yield _ratio(printed, check)
        case SumOf():
            yield _sum(printed, check)
        case RangeOfDurations():
            yield _range(printed, check)


def _counts(printed: Printed, check: CountsBehind, here: Path) -> Finding:
    percentages = [
        printed.quantity(each)
        if isinstance(each, str)
        else printed.written(each, *here, "percentages", i)
        for i, each in enumerate(check.percentages)
    ]
    record, about = printed.record, check.result or "counts"
    total = check.n_total
    if isinstance(record, Trial):
        total = total or record.design.n_randomised
        result = record.result(check.result) if check.result else None
        if result and result.experimental and result.control:
            sizes = tuple(n for n in (result.experimental.n, result.control.n) if n)
            table = table_of(result)
            if len(sizes) == len(percentages):
                counts = (table.events_treated, table.events_control) if table else None
                return counts_of_sizes(percentages, sizes, counts, about)
    if check.n:
        return counts_of_sizes(percentages, check.n, None, about)
    return _counts_of_total(percentages, total, about)


def _counts_of_total(percentages: list[Written], total: int | None, about: str) -> Finding:
    """Find every way to split all patients into arms whose counts give the percentages."""
    check, listed = "percentages v whole patients", ", ".join(f"{p.value:g}%" for p in percentages)
    if total is None:
        said = f"{listed}: neither the arms' sizes nor their total is known"
        return Finding(check, about, Verdict.UNTESTABLE, said)
    solutions = arms_behind(percentages, total)
    shown = [", ".join(f"{events}/{n}" for events, n in solution) for solution in solutions[:3]]
    numbers = {"solutions": float(len(solutions))}
    verdict, fitting_ways = Verdict.CONSISTENT, f"{len(solutions)} ways fit: {'; '.join(shown)}"
    if not solutions:
        verdict, fitting_ways = Verdict.IMPOSSIBLE, "no whole numbers of patients fit"
    elif len(solutions) == 1:
        fitting_ways = f"only {shown[0]} fit"
        for arm, (events, n) in enumerate(solutions[0], start=1):
            numbers |= {f"events_{arm}": float(events), f"n_{arm}": float(n)}
    said = f"{listed} of {total} patients in {len(percentages)} arms: {fitting_ways}"
    return Finding(check, about, verdict, said, numbers)


def _sizes(printed: Printed, arms: ArmsOf) -> tuple[int, int]:
    record = printed.evidence.records[arms.evidence]
    result = record.result(arms.result) if isinstance(record, Trial) else None
    table = result and (result.experimental, result.control)
    one, other = table or (None, None)
    return (one and one.n) or 0, (other and other.n) or 0


def _p_stated(printed: Printed, check: TwoPercentages | TwoMeans) -> tuple[Written | None, bool]:
    """Return the P value stated, and whether it is a limit."""
    if check.p_below is not None:
        return printed.quantity(check.p_below), True
    return (printed.quantity(check.p) if check.p is not None else None), False


def _two_percentages(printed: Printed, check: TwoPercentages) -> Finding:
    treated, control = printed.quantity(check.experimental), printed.quantity(check.control)
    n1, n0 = _sizes(printed, check.arms)
    table = Table(round(treated.value * n1 / 100), n1, round(control.value * n0 / 100), n0)
    found = p_values_of_counts(table)
    p, limited = _p_stated(printed, check)
    about, name = check.experimental, "P value v percentages"
    said = (
        f"{treated.value:g}% v {control.value:g}% with arms of {n1} and {n0}, as in "
        f"{check.arms.evidence}: {usual_tests(found)}"
    )
    numbers = {f"p_{test}": value for test, value in found.items()}
    if p is None:
        return Finding(name, about, Verdict.UNTESTABLE, said, numbers)
    if not limited:
        verdict, why = fitting(UNNAMED, p, found)
        return Finding(name, about, verdict, f"{said}; {why}", numbers)
    least = min(found.values())
    verdict = Verdict.CONSISTENT if least < p.value else Verdict.IMPOSSIBLE
    if p.value <= least < FACTOR * p.value:
        verdict = Verdict.UNTESTABLE
        said += "; a log-rank, stratified or adjusted test may be below"
    needed = {
        (test, short): smallest_arm(
            treated.value / 100, control.value / 100, p.value, test, _MOST_PER_ARM
        )
        for test, short in (("chi-square",) * 2, ("Fisher",) * 2, (YATES, "Yates"))
    }
    numbers |= {f"n_per_arm_{test}": float(n) for (test, _), n in needed.items() if n}
    arms = ", ".join(
        f"{n or f'over {_MOST_PER_ARM:,}'} ({short})" for (_, short), n in needed.items()
    )
    said += f"; P < {p.value:g} needs at least {arms} patients per arm"
    return Finding(name, about, verdict, said, numbers)


def _no_whole_patients(printed: Printed, check: TwoPercentages) -> Iterator[Finding]:
    """Say which of two percentages no whole number of patients gives."""
    sizes = _sizes(printed, check.arms)
    for name, n in zip((check.experimental, check.control), sizes, strict=True):
        share = printed.quantity(name)
        below = floor(share.value * n / 100)
        around = [k for k in (below, below + 1) if k <= n]
        if any(share.low <= 100 * k / n <= share.high for k in around):
            continue
        nearest = " and ".join(f"{k}/{n} is {100 * k / n:.1f}%" for k in around)
        said = (
            f"{share.value:g}% is no whole number of {n} patients: {nearest}; a share of those "
            "followed, or one estimated over time (Kaplan-Meier), need not be one"
        )
        yield Finding("percentages v whole patients", name, Verdict.UNTESTABLE, said)


def _two_means(printed: Printed, check: TwoMeans) -> Finding:
    treated, control = printed.quantity(check.experimental), printed.quantity(check.control)
    n1, n0 = _sizes(printed, check.arms)
    p, limited = _p_stated(printed, check)
    about, name = check.experimental, "SD behind a P value"
    if p is None or not 0 < p.value < 1:
        return Finding(name, about, Verdict.UNTESTABLE, "no P value is stated with them")
    found = reach(lambda a, b: largest_sd(a - b, p.value, n1, n0), treated, control)
    return Finding(
        name,
        about,
        Verdict.UNTESTABLE,
        f"{treated.value:g} v {control.value:g} with P {'<' if limited else '='} {p.value:g} "
        f"and arms of {n1} and {n0}, as in {check.arms.evidence}: a standard deviation of "
        f"{'at most ' if limited else ''}{within(found)} (t test); none is stated",
        {"sd": found.at, "sd_low": found.low, "sd_high": found.high},
    )


def _before_and_after(printed: Printed, check: BeforeAndAfter) -> Iterator[Finding]:
    before, after = printed.quantity(check.before), printed.quantity(check.after)
    if check.percent is not None:
        stated = printed.quantity(check.percent)
        found = reach(lambda b, a: 100 * (a / b - 1), before, after)
        yield Finding(
            "percentage change",
            check.percent,
            agreement(stated, found),
            f"{before.value:g} to {after.value:g} is {within(found, '%')}; "
            f"stated {stated.value:g}%",
            {"percent": found.at},
        )
    n, change = int(printed.quantity(check.n).value), after.value - before.value
    first, last = (_sd_of(printed.quantity_of(name)) for name in (check.before, check.after))
    d, as_errors = change / first, change / (first * sqrt(n))
    ts = [change / sqrt((first**2 + last**2 - 2 * r * first * last) / n) for r in _CORRELATIONS]
    numbers = {"d": d, "d_if_se": as_errors}
    numbers |= {f"paired_t_r_{r:g}": t for r, t in zip(_CORRELATIONS, ts, strict=True)}
    yield Finding(
        IMPLAUSIBLE if implausible(d) else "size of a change",
        check.after,
        Verdict.UNTESTABLE,
        f"{change:g} is {d:.1f} standard deviations at baseline{implausible(d)}; paired t of {n} "
        f"patients {ts[0]:.0f} (correlation {_CORRELATIONS[0]:g}) to {ts[1]:.0f} "
        f"({_CORRELATIONS[1]:g}); were the SDs standard errors, {as_errors:.2f}",
        numbers,
    )


def _sd_of(quantity: Quantity) -> float:
    assert quantity.interval is not None
    return (quantity.interval[1] - quantity.interval[0]) / 2


def _chi_square(printed: Printed, check: ChiSquareOf) -> Finding:
    stated = printed.quantity(check.value)
    result = printed.record.result(check.result) if isinstance(printed.record, Trial) else None
    table = table_of(result) if result else None
    name, about = "chi-square v counts", check.value
    if table is None:
        return Finding(name, about, Verdict.UNTESTABLE, f"{check.result} has no counts")
    x1, n1, x0, n0 = table
    found = reach(
        lambda p1, p0: chi_square(p1, n1, p0, n0), Written(x1 / n1, 5e-4), Written(x0 / n0, 5e-4)
    )
    verdict = agreement(stated, Reach(found.at, found.at, found.at))
    said = f"{counts_in_words(table)} give chi-square {found.at:.4g}; stated {stated.value:g}"
    if verdict is Verdict.IMPOSSIBLE and agreement(stated, found) is not verdict:
        verdict = agreement(stated, found)
        said += f"; percentages to one decimal give {found.low:.4g} to {found.high:.4g}"
    numbers = {"chi_square": found.at, "low": found.low, "high": found.high}
    return Finding(name, about, verdict, said, numbers)


def _ratio(printed: Printed, check: RatioOfPercentages) -> Finding:
    record = printed.record
    assert isinstance(record, MetaEpidemiology)
    treated, control = printed.quantity(check.experimental), printed.quantity(check.control)
    index, effect = next((i, e) for i, e in enumerate(record.estimates) if e.id == check.effect)
    odds = "odds" in effect.measure.value

    def ratio(a: float, b: float) -> float:
        return a * (100 - b) / (b * (100 - a)) if odds else a / b

    found = reach(ratio, treated, control)
    return Finding(
        "ratio of percentages",
        check.effect,
        agreement(printed.written(effect.value, "estimates", index, "value"), found),
        f"{treated.value:g}% v {control.value:g}% is {effect.measure} {within(found)}; "
        f"stated {effect.value:g}",
        {"ratio": found.at, "low": found.low, "high": found.high},
    )


def _sum(printed: Printed, check: SumOf) -> Finding:
    numbers = [printed.quantity(p).value if isinstance(p, str) else p for p in check.parts]
    record, total = printed.record, None
    if check.total is not None:
        total = printed.quantity(check.total).value
    elif isinstance(record, Pool):
        total = record.n_patients
    elif isinstance(record, Trial):
        total = record.design.n_randomised
    added = sum(numbers)
    said = f"{' + '.join(f'{n:g}' for n in numbers)} = {added:g}"
    if total is None:
        return Finding("sum", "patients", Verdict.UNTESTABLE, f"{said}; no total is stated")
    verdict = Verdict.CONSISTENT if added == total else Verdict.IMPOSSIBLE
    return Finding("sum", "patients", verdict, f"{said}; stated {total:g}", {"sum": added})


def _range(printed: Printed, check: RangeOfDurations) -> Finding:
    stated: dict[float, list[str]] = {}
    for name in check.records:
        record = printed.evidence.records[name]
        for each in record.regimens if isinstance(record, Trial) else ():
            if each.regimen.lasting is not None:
                weak = f", {each.status}" if each.status.is_weak else ""
                stated.setdefault(each.regimen.lasting.days, []).append(f"{record.title}{weak}")
    ends = [end.days for end in check.ends]
    missing = [end for end in ends if end not in stated]
    said = "; ".join(f"{days:g} d: {', '.join(who)}" for days, who in sorted(stated.items()))
    why = "each end is some trial's, so that the range blends them"
    why = f"no trial states {missing[0]:g} d" if missing else why
    return Finding(
        "range of durations",
        "regimen",
        Verdict.IMPOSSIBLE if missing else Verdict.CONSISTENT,
        f"{ends[0]:g} to {ends[1]:g} d stated; {said}; {why}",
    )
