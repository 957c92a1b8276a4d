"""What ``trialsim synthesise --class`` prints: what each student found, and all of it pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, endpoint_in_words, table, wrapped
from trialsim.studies.literature.classroom import Class
from trialsim.trial import StudyResult

__all__ = ["ClassTable", "class_screen", "class_tables"]

_Row = Mapping[str, Any]
_SHORT = {"odds ratio": "OR", "risk ratio": "RR", "risk difference": "RD"}


class ClassTable(NamedTuple):
    """One table with the words above it."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def class_screen(planned: Class, result: StudyResult, command: str, program: str) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : Class
    result : StudyResult
        Of its `result`.
    command : str
        What a student types, with ``i`` for the student's number.
    program : str
        What to type to run the commands it names.
    """
    template, protocol = planned.resolved.template, planned.resolved.template.protocol
    what = (
        f"A class of {planned.n_students:,}. Every trial: {protocol.n_total:,} patients, "
        f"{endpoint_in_words(protocol)}; in truth {planned.truth.label} "
        f"({planned.truth.title}). Conduct '{planned.conduct.id}'."
    )
    parts = [f"{wrapped(f'{template.id.upper()}   {template.title}')}\n{wrapped(what)}"]
    parts.append(f"Student i types:\n  {command}")
    rows = [row.as_dict() for row in result.rows]
    parts += [
        f"{wrapped(told.caption)}\n{table(told.header, told.lines, ())}"
        for told in class_tables(rows)
    ]
    parts += [wrapped(text) for text in result.texts.values()]
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(parts)


def class_tables(rows: Sequence[_Row]) -> list[ClassTable]:
    """Return the pooled table, then that of the students.

    Parameters
    ----------
    rows : sequence of mapping
        As in the document.
    """
    conducts = list(dict.fromkeys(row["conduct"] for row in rows))
    scale = next(row["scale"] for row in rows if row["measure"] == "estimate")
    students = list(
        dict.fromkeys(
            row["analysis"] for row in rows if row.get("analysis", "").startswith("student ")
        )
    )
    by = {
        (row["conduct"], row.get("analysis"), row["measure"], row.get("arm")): row for row in rows
    }
    lines = tuple(
        (
            name.removeprefix("student "),
            *(cell for conduct in conducts for cell in _found(by, conduct, name)),
        )
        for name in students
    )
    one = ("treated", "control", _SHORT[scale], "P")
    header: tuple[str, ...] = ("student", *one)
    caption = f"What each student finds: events/patients, {scale}, P; * is a hand up"
    if len(conducts) > 1:
        header += one
        caption += f". On the left as planned, on the right as reported, '{conducts[1]}'"
    return [
        ClassTable(
            "Pooled",
            ("trials", f"{_SHORT[scale]} (95% CI)", "by REML", "hands up"),
            tuple(_pooled(rows, conducts, len(students))),
        ),
        ClassTable(caption, header, lines),
    ]


def _found(by: Mapping[tuple[Any, ...], _Row], conduct: str, name: str) -> Iterator[str]:
    for arm in ("treated", "control"):
        events, n = (by[conduct, name, m, arm]["value"] for m in ("n_events", "n_patients"))
        yield f"{events}/{n}"
    estimate, p = (by[conduct, name, m, None] for m in ("estimate", "p_value"))
    if estimate["value"] is None:
        yield from ("-", "-")
        return
    yield f"{estimate['value']:.2f}"
    star = "*" if by[conduct, name, "hands", None]["value"] else ""
    yield f"{p['value']:.3f}{star}"


def _pooled(rows: Sequence[_Row], conducts: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    for place, conduct in enumerate(conducts):
        own = [row for row in rows if row["conduct"] == conduct]
        hands, against = (
            next(r["value"] for r in own if r["measure"] == m and "analysis" not in r)
            for m in ("hands", "hands_against")
        )
        name = "as planned" if place == 0 else "as reported"
        yield (f"all {n:,} {name}", *_both(own, None), f"{hands}, {against} against")
        filtered = [row for row in own if row.get("stratum") == "published"]
        if filtered:
            k = next(row["value"] for row in own if row["measure"] == "published")
            yield (f"  the {k:,} published", *_both(own, "published"), "")


def _both(rows: Sequence[_Row], stratum: str | None) -> Iterator[str]:
    for method in ("Mantel-Haenszel", "REML"):
        row = next(r for r in rows if r.get("analysis") == method and r.get("stratum") == stratum)
        if row["value"] is None:
            yield "-"
        else:
            yield f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
