"""A record, relation by relation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

from trialsim.protocol.published.checks import Verdict
from trialsim.protocol.published.evidence import (
    EffectMeasure,
    EvidenceRecord,
    IntervalKind,
    MetaEpidemiology,
    Plan,
    Pool,
    Quantity,
    Trial,
    TrialResult,
)
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.studies.evidence_check.consistency import (
    Reach,
    Table,
    agreement,
    mantel_haenszel,
    patients_per_arm,
    rate_interval,
    reach,
)
from trialsim.studies.evidence_check.counts import (
    estimate_of_counts,
    percentages_of_n,
    share_of_n,
    tests_of_result,
)
from trialsim.studies.evidence_check.declared import declared_check
from trialsim.studies.evidence_check.estimates import (
    bias_estimates,
    derived_p,
    interval_and_p,
    said_twice,
)
from trialsim.studies.evidence_check.finding import CheckedRecord, Finding, interval_in_words
from trialsim.studies.evidence_check.means import baseline, difference_of_arms, means_and_sds
from trialsim.studies.evidence_check.printed import Path, Printed, table_of, worded

__all__ = ["check_evidence", "check_record"]


def check_evidence(evidence: Evidence, ids: Iterable[str] | None = None) -> list[CheckedRecord]:
    """Check these records, or every one.

    Parameters
    ----------
    evidence : Evidence
        All that may be referred to.
    ids : iterable of str, optional
    """
    wanted = evidence.records if ids is None else ids
    return [check_record(evidence.records[name], evidence) for name in wanted]


def check_record(record: EvidenceRecord, evidence: Evidence) -> CheckedRecord:
    """Hold a record's numbers against one another.

    Parameters
    ----------
    record : EvidenceRecord
    evidence : Evidence
        What its checks may refer to, and its text, for the digits as they were printed.
    """
    printed = Printed(record, evidence)
    findings = list(_where_it_has_a_meaning(_by_kind(printed), record.kind, record.id))
    for index, quantity in enumerate(record.quantities):
        found = _quantity(printed, quantity, ("quantities", index))
        findings += _where_it_has_a_meaning(found, "quantity", quantity.id)
    for index, check in enumerate(record.checks):
        found = declared_check(printed, check, ("checks", index))
        findings += _where_it_has_a_meaning(found, check.kind, f"checks[{index}]")
    return CheckedRecord(record, tuple(findings))


def _where_it_has_a_meaning(
    findings: Iterator[Finding], check: str, about: str
) -> Iterator[Finding]:
    """Say that a relation has no meaning of numbers such as 0, where it divides by them."""
    try:
        yield from findings
    except (ArithmeticError, ValueError):
        said = "has no meaning of these numbers: a logarithm of, or a division by, 0"
        yield Finding(check, about, Verdict.UNTESTABLE, said)


def _by_kind(printed: Printed) -> Iterator[Finding]:
    record = printed.record
    if isinstance(record, Trial):
        for index, result in enumerate(record.results):
            found = _result(printed, result, ("results", index))
            yield from _where_it_has_a_meaning(found, "result", result.id)
    elif isinstance(record, Pool):
        effects = list(printed.effects())
        for effect in effects:
            yield from interval_and_p(effect, record.outcome)
        yield from derived_p(printed, effects, record.outcome)
        yield from said_twice(effects, record.outcome)
        yield from _trials_of_pool(printed, record)
    elif isinstance(record, Plan):
        yield _plan(record)
    elif isinstance(record, MetaEpidemiology):
        yield from bias_estimates(printed, record)


def _result(printed: Printed, result: TrialResult, path: Path) -> Iterator[Finding]:
    table, effects = table_of(result), list(printed.effects(result.id))
    for effect in effects:
        if table:
            yield from estimate_of_counts(effect, table, result.id)
        else:
            yield from difference_of_arms(printed, effect, result, path)
        yield from interval_and_p(effect, result.id, table)
    if table:
        yield from tests_of_result(printed, result, table, path)
    yield from said_twice(effects, result.id)
    yield from percentages_of_n(printed, result, path)
    yield from means_and_sds(printed, effects, result, path)
    yield from baseline(printed, result)


def _trials_of_pool(printed: Printed, pool: Pool) -> Iterator[Finding]:
    """Hold a pool against the trials it is known to contain."""
    twice = [
        (one, other)
        for i, one in enumerate(pool.includes)
        for other in pool.includes[i + 1 :]
        if printed.evidence.shares_patients(one, other)
    ]
    for one, other in twice:
        said = f"{one} and {other} share patients: counted twice, if both are in the pool"
        yield Finding("overlapping records", pool.id, Verdict.UNTESTABLE, said)
    tables = [_table_like(printed, pool, name) for name in pool.includes]
    known = [table for table in tables if table is not None]
    if twice or not known or len(known) < len(tables) or pool.n_patients is None:
        return
    sizes = [table.n_treated + table.n_control for table in known]
    whole = pool.n_trials == len(known)
    fits = sum(sizes) == pool.n_patients if whole else sum(sizes) <= pool.n_patients
    yield Finding(
        "patients of trials contained",
        pool.id,
        Verdict.CONSISTENT if fits else Verdict.IMPOSSIBLE,
        f"{' + '.join(str(n) for n in sizes)} = {sum(sizes)} in {', '.join(pool.includes)}, "
        f"{'all' if whole else f'{len(known)}'} of its trials; stated {pool.n_patients}",
        {"patients": float(sum(sizes))},
    )
    if whole:
        yield from _pooled_again(printed, known)


def _table_like(printed: Printed, pool: Pool, name: str) -> Table | None:
    """Return a trial's counts of the outcome a pool is about, at the same time."""
    trial = printed.evidence.records.get(name)
    for result in trial.results if isinstance(trial, Trial) else ():
        if result.outcome == pool.outcome and result.at == pool.at and table_of(result):
            return table_of(result)
    return None


def _pooled_again(printed: Printed, tables: list[Table]) -> Iterator[Finding]:
    pooled = mantel_haenszel(tables)
    for each in printed.effects():
        if each.effect.measure is not EffectMeasure.ODDS_RATIO or pooled is None:
            continue
        verdict = agreement(each.value, Reach(pooled.value, pooled.value, pooled.value))
        other = verdict is Verdict.IMPOSSIBLE
        yield Finding(
            "pool v trials contained",
            printed.record.id,
            Verdict.UNTESTABLE if other else verdict,
            f"Mantel-Haenszel OR {interval_in_words(pooled)}; stated {each.in_words}"
            + ("; by another method it may differ" if other else ""),
            {"estimate": pooled.value, "lower": pooled.low, "upper": pooled.high},
        )


def _plan(plan: Plan) -> Finding:
    formulas = patients_per_arm(plan.treated_risk, plan.control_risk, plan.alpha, plan.power)
    totals = {name: 2 * ceil(n - 1e-9) for name, n in formulas.items()}
    fits = [name for name, total in totals.items() if total == plan.n_total]
    listed = ", ".join(f"{total} by {name}" for name, total in totals.items())
    verdict, why = Verdict.CONSISTENT, f"{plan.n_total} is by {', '.join(fits)}"
    if not fits and plan.n_total < min(totals.values()):
        verdict, why = Verdict.IMPOSSIBLE, f"{plan.n_total} stated: fewer than by any"
    elif not fits:
        verdict = Verdict.UNTESTABLE
        why = f"{plan.n_total} stated: looks or loss may account for the rest"
    return Finding(
        "planned size",
        plan.id,
        verdict,
        f"{100 * plan.control_risk:g}% v {100 * plan.treated_risk:g}%, two-sided "
        f"{plan.alpha:g}, power {plan.power:g}: {listed}; {why}",
        {name: float(total) for name, total in totals.items()},
    )


def _quantity(printed: Printed, quantity: Quantity, path: Path) -> Iterator[Finding]:
    if quantity.value is None or not quantity.n:
        return
    value, word = printed.written(quantity.value, *path, "value"), worded(quantity.status)
    events = quantity.events
    if quantity.unit == "%" and events is not None:
        found = 100 * events / quantity.n
        yield Finding(
            "percentage v counts",
            quantity.id,
            agreement(value, Reach(found, found, found)),
            f"{events}/{quantity.n} = {found:.2f}%; {word} {quantity.value:g}%",
            {"percentage": found},
        )
    elif quantity.unit == "%" and quantity.interval is None:
        yield share_of_n(value, quantity.n, quantity.id)
    confidence = quantity.interval_kind is IntervalKind.CONFIDENCE
    if "person-years" in quantity.unit and events and quantity.interval and confidence:
        ends = [reach(lambda v, i=i: rate_interval(v, events)[i], value) for i in (0, 1)]
        stated = [
            printed.written(end, *path, "interval", i) for i, end in enumerate(quantity.interval)
        ]
        yield Finding(
            "interval of a rate v events",
            quantity.id,
            Verdict.of_all(tuple(map(agreement, stated, ends))),
            f"{events} events give {quantity.value:g} ({ends[0].at:.2f} to {ends[1].at:.2f}); "
            f"{word} {quantity.interval[0]:g} to {quantity.interval[1]:g}",
            {"lower": ends[0].at, "upper": ends[1].at},
        )
