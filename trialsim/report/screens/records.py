"""Evidence records as text and as flat rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from trialsim.protocol.published.cautions import result_in_words
from trialsim.protocol.published.evidence import (
    Document,
    EffectEstimate,
    EvidenceRecord,
    MetaEpidemiology,
    Plan,
    Pool,
    Quantity,
    Status,
    Trial,
    TrialResult,
)
from trialsim.report.text import wrapped

__all__ = ["evidence_rows", "record_lines"]


def record_lines(record: EvidenceRecord) -> str:
    """Return what ``trialsim evidence show`` prints about one record."""
    lines = [wrapped(f"{record.id}   {record.title} ({record.kind})"), wrapped(record.citation)]
    lines += [f"doi {record.doi}"] if record.doi else []
    lines += [f"read for this record: {record.read}"] if record.read else []
    lines += [f"registered as {record.registration}"] if record.registration else []
    if isinstance(record, Trial):
        design = record.design
        facts = [
            "randomised" if design.randomised else "not randomised",
            f"{design.blinding_as_described} blind" if design.blinding_as_described else "",
            f"{design.centres} centres" if design.centres else "",
            f"{design.n_randomised:,} randomised" if design.n_randomised else "",
            design.recruited or "",
        ]
        lines.append(wrapped(f"design: {', '.join(f for f in facts if f)} ({design.status})"))
        lines += [
            wrapped(
                f"regimen: {r.regimen} ({r.status})" + (f" {r.note}" if r.note else ""), "  ", ""
            )
            for r in record.regimens
        ]
        for result in record.results:
            lines.append(wrapped(f"{result.id}: {result_in_words(result)}", "  ", ""))
            lines += [
                wrapped(f"{e} ({e.status})" + (f" {e.note}" if e.note else ""), "      ", "    ")
                for e in result.effects
            ]
            lines += [f"    {t.name}: P = {t.p:g} ({t.status})" for t in result.tests]
            lines += [wrapped(result.note, "      ", "    ")] if result.note else []
    if isinstance(record, Pool):
        if record.n_trials:
            n = f"{record.n_patients:,} patients" if record.n_patients else "patients not given"
            lines.append(f"{record.n_trials} trials, {n} ({record.composition_status})")
        lines += [f"known to contain: {', '.join(record.includes)}"] if record.includes else []
        when = f" at {record.at.after}" if record.at else ""
        lines += [
            wrapped(f"{record.outcome}{when}: {e} ({e.status})", "  ", "") for e in record.effects
        ]
    if isinstance(record, Plan):
        lines.append(
            f"planned: {100 * record.control_risk:g}% -> {100 * record.treated_risk:g}%, "
            f"alpha {record.alpha:g}, power {record.power:g}, {record.n_total} patients "
            f"({record.status})"
        )
    if isinstance(record, Document) and record.about:
        lines.append(f"about: {', '.join(record.about)}")
    if isinstance(record, MetaEpidemiology):
        sizes = [
            f"{n:,} {what}"
            for n, what in ((record.n_meta_analyses, "meta-analyses"), (record.n_trials, "trials"))
            if n
        ]
        lines += [f"{', '.join(sizes)} ({record.size_status})"] if sizes else []
        lines += [_noted(f"{e} ({e.status})", e.note) for e in record.estimates]
    lines += [_noted(f"{q} ({q.status})", q.note) for q in record.quantities]
    verdict = record.consistency
    nothing = "cannot be tested against one another"
    checked = f"{verdict.verdict}. {verdict.note}" if verdict else nothing
    lines.append(wrapped(f"its own numbers: {checked}", "  ", ""))
    lines += [wrapped(f"note: {record.note}", "  ", "")] if record.note else []
    return "\n".join(lines)


def _noted(text: str, note: str | None) -> str:
    return wrapped(text + (f" {note}" if note else ""), "  ", "")


Numbers = dict[str, Any]


def evidence_rows(records: Iterable[EvidenceRecord]) -> list[Numbers]:
    """Return every number of these records, flat: one number each, with its status."""
    rows = []
    for record in records:
        about = {"evidence": record.id, "kind": record.kind, "condition": record.condition}
        numbers: Iterable[Numbers] = ()
        if isinstance(record, Trial):
            numbers = (row for result in record.results for row in _result_numbers(result))
        elif isinstance(record, Pool):
            numbers = _pool_numbers(record)
        elif isinstance(record, Plan):
            names = ("control_risk", "treated_risk", "alpha", "power", "n_total")
            numbers = (_number(name, getattr(record, name), record.status) for name in names)
        elif isinstance(record, MetaEpidemiology):
            numbers = _bias_numbers(record)
        rows += [about | row for row in (*numbers, *map(_quantity_numbers, record.quantities))]
    return rows


def _number(measure: str, value: float, status: Status) -> Numbers:
    return {"measure": measure, "value": value, "status": status.value}


def _result_numbers(result: TrialResult) -> Iterator[Numbers]:
    here: Numbers = {"result": result.id, "outcome": result.outcome}
    if result.at:
        here |= {"horizon": str(result.at.after), "clock": result.at.clock.value}
    for name, arm in (("experimental", result.experimental), ("control", result.control)):
        if arm is None:
            continue
        here_arm = here | {"arm": name}
        for measure in ("n", "events", "sd"):
            if (count := getattr(arm, measure)) is not None:
                yield here_arm | _number(measure, count, arm.status)
        if arm.value is not None:
            ends = {"lower": arm.interval[0], "upper": arm.interval[1]} if arm.interval else {}
            yield here_arm | _number("value", arm.value, arm.status) | ends
    yield from (here | _effect_row(effect) for effect in result.effects)
    yield from (here | _number(f"p, {test.name}", test.p, test.status) for test in result.tests)


def _quantity_numbers(quantity: Quantity) -> Numbers:
    row: Numbers = {"result": quantity.id, "outcome": quantity.what, "measure": "quantity"}
    row |= {"value": quantity.value, "unit": quantity.unit, "status": quantity.status.value}
    if quantity.interval and quantity.interval_kind:
        row |= {"lower": quantity.interval[0], "upper": quantity.interval[1]}
        row |= {"scale": quantity.interval_kind.value}
    counts = {"n": quantity.n, "events": quantity.events, "p": quantity.p}
    return row | {name: number for name, number in counts.items() if number is not None}


def _bias_numbers(record: MetaEpidemiology) -> Iterator[Numbers]:
    for name in ("n_meta_analyses", "n_trials"):
        if (count := getattr(record, name)) is not None:
            yield _number(name, count, record.size_status)
    for e in record.estimates:
        row = _number(e.measure.value, e.value, e.status)
        row |= {"result": e.id, "outcome": f"{e.flaw}, {e.comparison}, {e.outcomes} outcomes"}
        yield row | ({"lower": e.ci[0], "upper": e.ci[1], "level": 0.95} if e.ci else {})
        for name in ("kappa", "phi"):
            if (spread := getattr(e, name)) is not None:
                yield row | _number(name, spread, e.status)


def _pool_numbers(pool: Pool) -> Iterator[Numbers]:
    yield from ({"outcome": pool.outcome} | _effect_row(effect) for effect in pool.effects)
    for name in ("n_trials", "n_patients"):
        if (count := getattr(pool, name)) is not None:
            yield _number(name, count, pool.composition_status)


def _effect_row(effect: EffectEstimate) -> Numbers:
    row = _number(effect.measure.value, effect.value, effect.status)
    if effect.ci:
        row |= {"lower": effect.ci[0], "upper": effect.ci[1], "level": 0.95}
    return row | ({"p": effect.p} if effect.p is not None else {})
