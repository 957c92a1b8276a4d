"""Problems in the words of the page: who stands before a form never typed an option.

An option of the command line is named as the field that says the same; what the page has no field
for is said to be a matter of the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trialsim.app.state import Choice, Entry, Number, State
from trialsim.app.worker import Answer
from trialsim.errors import Problem

__all__ = ["answer_on_page", "problem_on_page", "text_on_page"]

# whose words a room writes itself: the fields that say the same, the first that a room has
_FIELDS = {
    "--scenario": ("scenario", "truth"),
    "--replicates": ("trials",),
    "--looks": ("looks",),
    "--bounds": ("bounds",),
    "--spending": ("bounds",),
    "--futility": ("futility",),
    "--outcomes": ("outcomes",),
    "--template": ("template",),
}
_SETTINGS = (
    (re.compile(r"protocol\.test\b"), "test"),
    (re.compile(r"scenarios\.[^.=]+\.\w+\.(odds|hazard)_ratio\b"), "odds_ratio"),
)
_OPTION = re.compile(r"--[a-z][a-z-]*")
_WITH_VALUE = re.compile(r"(--[a-z][a-z-]*)(?:([ =])(\"[^\"]*\"|'[^']*'|[^\s\"']*[^\s\"'.,;:)]))?")
_IS_VALUE = re.compile(r"[\"'].*|.*[0-9].*|[A-Z]+")
_TWO = re.compile(r"('[^']+': (?:\"[^\"]*\"|\S+)) (?='[^']+': )")
_SETTING = re.compile(
    r"--set (?P<quote>[\"']?)(?P<path>[\w.\[\]-]+)=(?P<value>\{[^}]*\}|[^\s\"']+?)"
    r"(?P=quote)(?=[.,;)]?(?:\s|$))"
)
_SHARE = re.compile(r"0?\.[0-9]+|[01]")
_COMMAND = re.compile(r"'((?:trialsim [a-z]+|simulate)(?: [a-z]+)?)(?: [^']*)? --[^']*'")
_SENTENCE = re.compile(r"(?<=[.?]) (?=[A-Z'])")
_BEYOND = "This page has no field for it; the command line has."


def problem_on_page(problem: Problem, state: type[State]) -> Problem:
    """Return a problem without options of the command line.

    Parameters
    ----------
    problem : Problem
        As the command line says it.
    state : type of State
        Of the room it is shown in.
    """
    file, field = problem.file, problem.field
    if file.startswith("--"):  # an option set the value
        named = _setting_field(file, state)
        file, field = "", named.label if named else field
    return replace(
        problem,
        file=file,
        field=_field_on_page(field, state),
        value=_value_on_page(problem, state),
        rule=text_on_page(problem.rule, state),
        remedy=_remedy_on_page(problem.remedy, state),
    )


def text_on_page(text: str, state: type[State]) -> str:
    """Return a text in which options are fields of a room, or words without dashes."""
    if "--" not in text:
        return text
    text = _COMMAND.sub(r"'\1' on the command line", text)
    text = _SETTING.sub(lambda found: _setting_on_page(found, state), text)
    text = _WITH_VALUE.sub(lambda found: _entered(found, state), text)
    text = _TWO.sub(r"\1 and ", text)
    return _OPTION.sub(lambda found: found[0].removeprefix("--"), text)


def answer_on_page(answer: Answer, state: type[State]) -> Answer:
    """Return an answer whose reasons, texts, warnings and problems are in the words of the page.

    What is downloaded (`json_text`, `csv_text`) stays that of the command line.
    """
    document = answer.document
    if "--" in answer.json_text:

        def told(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
            return {**row, key: text_on_page(row[key], state)} if row.get(key) else row

        changes: dict[str, Any] = {
            "texts": {k: text_on_page(v, state) for k, v in document.get("texts", {}).items()},
            "warnings": [told(w, "text") for w in document.get("warnings", ())],
        }
        for name in ("rows", "observed"):
            if name in document:
                changes[name] = [told(row, "why") for row in document[name]]
        document = {**document, **{k: v for k, v in changes.items() if k in document}}
    problems = tuple(problem_on_page(p, state) for p in answer.problems)
    return replace(answer, document=document, problems=problems)


def _entry_of(option: str, state: type[State]) -> Entry | None:
    entries = state.entries()
    own = (entry for entry in entries.values() if entry.option == option)
    named = (entries[name] for name in _FIELDS.get(option, ()) if name in entries)
    return next(own, None) or next(named, None)


def _setting_field(text: str, state: type[State]) -> Entry | None:
    entries = state.entries()
    found = (name for path, name in _SETTINGS if path.search(text) and name in entries)
    return entries[name] if (name := next(found, None)) else None


def _setting_on_page(found: re.Match[str], state: type[State]) -> str:
    entry, value = _setting_field(found["path"], state), found["value"]
    if entry is None:
        return f"{found['path']}={value} in the protocol's file"
    if isinstance(entry, Choice):
        like = f"{{sides: {value}" if found["path"].endswith(".sides") else value
        value = next((label for own, label in entry.options if own.startswith(like)), value)
    return f"'{entry.label}': {value}"


def _entered(found: re.Match[str], state: type[State]) -> str:
    option, apart, value = found[1], found[2] or "", found[3] or ""
    entry = _entry_of(option, state)
    if entry is None:
        return found[0]
    match entry:
        case Choice() if ":" not in (label := dict(entry.options).get(value, ":")):
            return f"'{entry.label}': {label}"
        case Number(percent=True) if _SHARE.fullmatch(value):
            return f"'{entry.label}': {entry.shown(float(value))} {entry.unit}"
    return f"'{entry.label}'{': ' if _IS_VALUE.fullmatch(value) else apart}{value}"


def _field_on_page(field: str, state: type[State]) -> str:
    def label(found: re.Match[str]) -> str:
        entry = _entry_of(found[0], state)
        return entry.label if entry else found[0].removeprefix("--")

    named = _OPTION.sub(label, field)
    one, _, other = named.partition(" or ")
    return one if one == other else named


def _value_on_page(problem: Problem, state: type[State]) -> str:
    """Return what was found as it was entered: a share in percent."""
    match _entry_of(problem.field, state):
        case Number(percent=True) as entry if _SHARE.fullmatch(problem.value):
            return f"{entry.shown(float(problem.value))} {entry.unit}"
    return problem.value


def _remedy_on_page(remedy: str, state: type[State]) -> str:
    """Return a remedy; a sentence that asks for what is no field here makes way for one on that."""
    if "--" not in remedy:
        return remedy
    kept: list[str] = []
    for sentence in _SENTENCE.split(remedy):
        plain = _SETTING.sub("", _COMMAND.sub("", sentence))
        beyond = any(_entry_of(option, state) is None for option in _OPTION.findall(plain))
        kept.append(_BEYOND if beyond else text_on_page(sentence, state))
    return " ".join(dict.fromkeys(kept))
