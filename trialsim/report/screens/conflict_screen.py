"""A conflict of published results in words: what enters, what could explain it, what is assumed.

Nothing is weighed here, so that nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trialsim.protocol.reconciliation import (
    Alternative,
    Candidate,
    Explanation,
    Filtering,
    OneEstimate,
    PublishedEffect,
    Reconciliation,
    Shift,
    ShiftSize,
    Spread,
    Unmeasured,
    Varying,
)
from trialsim.report.text import table, wrapped

__all__ = ["conflict_screen", "explanation_listed"]


def conflict_screen(file: Reconciliation) -> str:
    """Return the whole screen."""
    parts = [wrapped(f"{file.id.upper()}   {file.title}")]
    if file.note:
        parts.append(wrapped(file.note))
    parts.append("\n".join(_records(file)))
    parts.append("\n".join(_explanations(file)))
    if file.alternatives:
        lines = [_item(_alternative(one)) for one in file.alternatives]
        parts.append("\n".join(["Choices that could have been made otherwise", *lines]))
    if file.candidates:
        lines = [_item(_candidate(one)) for one in file.candidates]
        parts.append("\n".join(["Next trials that are compared", *lines]))
    if file.left_out:
        said = "; ".join(f"{one.evidence} ({one.why})" for one in file.left_out)
        parts.append(wrapped(f"Left out: {said}."))
    return "\n\n".join(parts)


def _records(file: Reconciliation) -> Iterator[str]:
    yield "What enters"
    if not file.records:
        yield "  nothing: no published effect with its error"
        return
    rows = []
    for record in file.records:
        trials = f", {record.n_trials} trials" if record.n_trials > 1 else ""
        patients = f", {record.n_patients:,} patients" if record.n_patients else ""
        known = ", ".join(f"{name}: {level}" for name, level in record.covariates.items())
        rows.append((f"{record.title}{trials}{patients}", _effect(record.effect), known))
    yield table(("record", "published in", "known of it"), rows, folding=(0, 1, 2))
    for contrast in file.contrasts:
        because = f"reported because {contrast.because}" if contrast.because != "planned" else ""
        words = f"{contrast.title}: {contrast.evidence}, {contrast.first} v {contrast.second}"
        yield _item(f"{words}; {because or 'planned'}")
    for record in file.records:
        if record.note:
            yield _item(f"{record.title}: {record.note}")


def _effect(source: PublishedEffect) -> str:
    less = f" less {' and '.join(map(_one, source.less))}" if source.less else ""
    return f"{_one(source)}{less}"


def _one(source: OneEstimate) -> str:
    return f"{source.evidence} {source.result}" if source.result else source.evidence


def _explanations(file: Reconciliation) -> Iterator[str]:
    yield "What could explain it, with its weight beforehand"
    yield _item(f"effect in sound trials: log odds ratio around 0, {_sd(file.effect_sd)}")
    for own in file.explanations:
        yield _item(explanation_listed(file, own))


def explanation_listed(file: Reconciliation, own: Explanation) -> str:
    """Say what one explanation supposes, and whether the records can speak for it."""
    said = f"{own.id} {own.weight.value:g}: {own.title}"
    if isinstance(own, Shift):
        levels = (f"{level} {_size(size)}" for level, size in own.levels.items())
        said += f". By {own.covariate}: {'; '.join(levels)}"
    elif isinstance(own, Filtering):
        source = f"{own.odds_ratio.evidence} {own.odds_ratio.estimate}"
        said += f". By {own.covariate}: {', '.join(own.levels)}; {source}, {_sd(own.between)}"
    elif isinstance(own, Varying):
        said += f". Half-normal, {_sd(own.sd)}"
    elif isinstance(own, Unmeasured):
        said += f". Not measured: {own.why}"
    if isinstance(own, Shift | Filtering) and (silent := file.missing(own)):
        said += f". No data: '{own.covariate}' is not known of {', '.join(silent)}"
    return f"{said}. {own.note}" if own.note else f"{said}."


def _size(size: ShiftSize) -> str:
    if size.odds_ratio is not None and size.sd is not None:
        stated: Any = size.odds_ratio
        return f"{stated.value:g} ({stated.source or stated.note or 'assumed'}), {_sd(size.sd)}"
    return " x ".join(f"{source.evidence} {source.estimate}" for source in size.sources)


def _sd(sd: Spread) -> str:
    return f"SD {sd.value:g} ({sd.source or sd.note or 'assumed'})"


def _alternative(one: Alternative) -> str:
    said = f"{one.id}: {one.title}."
    said += " What stands was chosen after weights had been seen." if one.chosen == "after" else ""
    return f"{said} {one.note}" if one.note else said


def _candidate(one: Candidate) -> str:
    n = sum(trials.n_total for trials in one.trials)
    return f"{one.id}: {one.title}; {n:,} patients"


def _item(text: str) -> str:
    return wrapped(text, "    ", "  ")
