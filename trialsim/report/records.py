"""Evidence records as text and as flat rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trialsim.protocol.cautions import result_in_words
from trialsim.protocol.evidence import (
    Document,
    EffectEstimate,
    EvidenceRecord,
    Plan,
    Pool,
    Trial,
)
from trialsim.report.screen import wrapped

__all__ = ["evidence_rows", "record_lines"]


def record_lines(record: EvidenceRecord) -> str:
    """Return what ``trialsim evidence show`` prints about one record."""
    lines = [wrapped(f"{record.id}   {record.title} ({record.kind})"), wrapped(record.citation)]
    lines += [f"doi {record.doi}"] if record.doi else []
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
    verdict = record.consistency
    checked = f"{verdict.verdict}. {verdict.note}" if verdict else "not checked"
    lines.append(wrapped(f"its own numbers: {checked}", "  ", ""))
    lines += [wrapped(f"note: {record.note}", "  ", "")] if record.note else []
    return "\n".join(lines)


def evidence_rows(records: Iterable[EvidenceRecord]) -> list[dict[str, Any]]:
    """Return every number of these records, flat: one number each, with its status."""
    rows: list[dict[str, Any]] = []
    for record in records:
        about = {"evidence": record.id, "kind": record.kind, "condition": record.condition}
        for result in record.results if isinstance(record, Trial) else ():
            here = about | {"result": result.id, "outcome": result.outcome}
            here |= (
                {"horizon": str(result.at.after), "clock": result.at.clock.value}
                if result.at
                else {}
            )
            for name in ("experimental", "control"):
                arm = getattr(result, name)
                rows += [
                    here | {"arm": name, "measure": m, "value": v, "status": arm.status.value}
                    for m in ("n", "events", "value")
                    if arm and (v := getattr(arm, m)) is not None
                ]
            rows += [here | _effect_row(effect) for effect in result.effects]
            rows += [
                here | {"measure": f"p, {t.name}", "value": t.p, "status": t.status.value}
                for t in result.tests
            ]
        if isinstance(record, Pool):
            rows += [about | {"outcome": record.outcome} | _effect_row(e) for e in record.effects]
            rows += [
                about | {"measure": m, "value": v, "status": record.composition_status.value}
                for m in ("n_trials", "n_patients")
                if (v := getattr(record, m)) is not None
            ]
        if isinstance(record, Plan):
            rows += [
                about | {"measure": m, "value": getattr(record, m), "status": record.status.value}
                for m in ("control_risk", "treated_risk", "alpha", "power", "n_total")
            ]
    return rows


def _effect_row(effect: EffectEstimate) -> dict[str, Any]:
    row = {"measure": effect.measure.value, "value": effect.value, "status": effect.status.value}
    if effect.ci:
        row |= {"lower": effect.ci[0], "upper": effect.ci[1], "level": 0.95}
    return row | ({"p": effect.p} if effect.p is not None else {})
