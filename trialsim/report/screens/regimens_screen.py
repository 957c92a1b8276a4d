"""What ``trialsim followup --regimens`` prints: each regimen read at two equal times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trialsim.protocol.quantities import months
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.horizons.regimens import PlannedRegimens
from trialsim.trial import StudyResult

__all__ = ["in_short", "regimen_tables", "regimens_screen"]

_Row = Mapping[str, Any]
_Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def regimens_screen(planned: PlannedRegimens, result: StudyResult, seed: int, program: str) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedRegimens
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    template = planned.resolved.template
    title = f"{template.id.upper()}   {template.title}"
    what = (
        f"{template.protocol.primary.event}; {template.protocol.n_total:,} patients, the same "
        f"under every regimen; planned: {planned.regimens[0].dosing}"
    )
    parts = [f"{wrapped(title)}\n{wrapped(what)}"]
    rows = [row.as_dict() for row in result.rows]
    for scenario in planned.scenarios:
        known = planned.resolved.status_of(scenario)
        told = f"If the truth is {scenario.title} ({scenario.id}; known from: {known})"
        own = [row for row in rows if row["scenario"] == scenario.id]
        drawn = [
            f"{caption}\n{table(header, lines)}" for caption, header, lines in regimen_tables(own)
        ]
        parts.append("\n\n".join([wrapped(told), *drawn]))
    parts.append(wrapped(_legend(planned)))
    if planned.held_against:
        parts.append(_held(planned))
        parts.append(wrapped(unidentified(planned)))
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    facts = f"{result.n_replicates:,} simulated trials per scenario, seed {seed}; +- is one MCSE."
    parts.append(f"{wrapped(facts)}\n{wrapped(DISCLAIMER)}")
    return "\n\n".join(parts)


def regimen_tables(rows: Sequence[_Row]) -> Iterator[_Table]:
    """Yield (caption, header, lines) of one scenario's rows, in the flat form of the document."""
    at = list(dict.fromkeys(_time(r) for r in rows if r["measure"] == "power"))
    regimens = list(dict.fromkeys(r["regimen"] for r in rows if r["measure"] == "power"))
    if len(at) != 2 or not regimens:
        return
    arms = list(dict.fromkeys(r["arm"] for r in rows if r["measure"] == "risk"))
    names = [_words(time) for time in at]
    true, found = [], []
    for regimen in regimens:
        own = [r for r in rows if r["regimen"] == regimen]
        (drug,) = (r for r in own if r["measure"] == "drug_per_patient")
        changes = [r["value"] for arm in arms for r in _of(own, "risk_change", arm=arm)]
        risks = [[_of(own, "risk", arm=arm, at=time)[0]["value"] for arm in arms] for time in at]
        short = in_short(regimen, regimens[0])
        true.append(
            (
                short,
                f"{drug['value']:,.1f} {drug['unit']}",
                *(" -> ".join(f"{1000 * risk:.0f}" for risk in pair) for pair in risks),
                ", ".join(f"{1000 * change:+.0f}" for change in changes),
            )
        )
        cells = []
        for time in at:
            cells += [_percent(_of(own, "power", at=time), "")]
            cells += [_percent(_of(own, "power_difference", at=time), "+")]
        found.append((short, *cells, _percent(_of(own, "power_difference", at=None), "+")))
    header = ("regimen", "drug per\npatient", *names, "between\nreadings")
    yield "true response per 1,000, control -> treated:", header, true
    against = "against\nplanned"
    header = ("regimen", names[0], against, names[1], against, "between\nreadings")
    yield "found, % of trials:", header, found


def _of(rows: Sequence[_Row], measure: str, arm: str | None = None, at: object = ...) -> list[_Row]:
    return [
        row
        for row in rows
        if row["measure"] == measure
        and (arm is None or row.get("arm") == arm)
        and (at is ... or _time(row) == at)
    ]


def _time(row: _Row) -> tuple[str, str] | None:
    return (row["horizon"], row["clock"]) if "horizon" in row else None


def _words(time: tuple[str, str] | None) -> str:
    assert time is not None  # readings have one
    days = float(time[0].split()[0])
    return f"{months(days)}\nafter {'entry' if time[1] == 'entry' else 'therapy'}"


def _percent(rows: Sequence[_Row], sign: str) -> str:
    if not rows or rows[0]["value"] is None or rows[0].get("mcse") is None:
        return "-"
    return f"{100 * rows[0]['value']:{sign}.1f} +-{100 * rows[0]['mcse']:.1f}"


def in_short(regimen: str, planned: str) -> str:
    """Return what differs from the planned regimen: "52 wk" or "0.8 mg"."""
    if regimen == planned:
        return "planned"
    own, other = (_parts(words) for words in (regimen, planned))
    return ", ".join(part for part, known in zip(own, other, strict=True) if part != known)


def _parts(words: str) -> tuple[str, str, str]:
    dose, _, rest = words.partition(" every ")
    every, _, lasting = rest.partition(" for ")
    return dose, f"every {every}", lasting


def _legend(planned: PlannedRegimens) -> str:
    plan = planned.regimens[0].job.plans[0]
    return (
        f"Each regimen is read twice: {months(planned.day)} after entry, and "
        f"{months(planned.since_therapy)} after the end of its own therapy; between readings: the "
        "second less the first (of the true response: control, treated). found: significant "
        f"({plan.in_words}); against planned: in the same trials, read at the same kind of time."
    )


def _held(planned: PlannedRegimens) -> str:
    lines = [
        (
            held.scenario,
            in_short(str(held.seen.under), str(planned.regimens[0].dosing)),
            f"{100 * held.said:.1f} %",
            f"{100 * held.published:.1f} % {_counts(held.arm)}".rstrip(),
            "fitted" if held.fitted else "held against",
        )
        for held in planned.held_against
    ]
    header = ("pool", "regimen seen", "it says", "published", "")
    titles = " and ".join(dict.fromkeys(held.title for held in planned.held_against))
    at = " and ".join(dict.fromkeys(months(held.day) for held in planned.held_against))
    return f"Treated patients with a response by {at} after entry ({titles})\n" + table(
        header, lines
    )


def _counts(arm: Any) -> str:
    return f"({arm.events}/{arm.n})" if arm and arm.events is not None and arm.n else ""


def unidentified(planned: PlannedRegimens) -> str:
    """Return what the published results leave open, in words."""
    fitted = [h for h in planned.held_against if h.fitted]
    others = [h for h in planned.held_against if not h.fitted]
    words = "No parameter of the pool is identified by these results."
    if len(fitted) > 1 and len({round(h.said, 6) for h in fitted}) == 1:
        words += (
            f" {len(fitted)} pools that differ in how long they last all say "
            f"{100 * fitted[0].said:.1f}% where they are fitted"
        )
        for under in dict.fromkeys(str(h.seen.under) for h in others):
            said = [100 * h.said for h in others if str(h.seen.under) == under]
            words += f", and {min(said):.1f}% to {max(said):.1f}% under {under}"
        words += "."
    longer = [
        (h, f)
        for h in others
        for f in fitted
        if h.scenario == f.scenario
        and h.seen.under.given > f.seen.under.given
        and h.published < f.published
    ]
    if longer:
        held, first = longer[0]
        words += (
            f" There, more treatment did worse: {100 * held.published:.1f}% against "
            f"{100 * first.published:.1f}%. A pool that adds to the hazard cannot say so, nor why; "
            "chance is one reason of several."
        )
    return words
