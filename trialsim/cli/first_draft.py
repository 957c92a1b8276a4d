"""The answers of ``trialsim new``: from options, or asked for on a terminal."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trialsim.errors import Problem, ProtocolError, RequestError, did_you_mean

if TYPE_CHECKING:
    from trialsim.protocol.reading.first_draft import Draft

__all__ = ["check_draft", "drafted"]


def drafted(options: argparse.Namespace, name: str) -> Draft | None:
    """Return the draft that options describe, or answers on a terminal; None where neither is.

    Raises
    ------
    RequestError
        For options that belong to another kind of endpoint, or several effects.
    """
    from dataclasses import fields

    from trialsim.protocol.reading.first_draft import Draft, DraftKind

    names = [f.name for f in fields(Draft) if f.name not in ("id", "endpoint")]
    given = {n: _as_typed(value) for n in names if (value := getattr(options, n)) is not None}
    if not given and options.endpoint is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return None
        return _asked(name)
    draft = Draft(name, DraftKind(options.endpoint or DraftKind.BINARY), **given)
    problems = [
        Problem(
            f"does not belong to a {draft.endpoint} endpoint",
            f"Remove it, or choose another --endpoint than {draft.endpoint}.",
            option,
        )
        for option in draft.foreign
    ]
    if len(draft.effects) > 1:
        listed = " and ".join(f"--{effect.replace('_', '-')}" for effect in draft.effects)
        problems.append(Problem("state the effect twice", "Keep one of them.", listed))
    if problems:
        raise RequestError(problems)
    return draft


def check_draft(draft: Draft) -> None:
    """Refuse a draft that `check` would not accept, in terms of its options (RequestError)."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from trialsim.protocol.reading.load import check_file

    problems = _unreadable_times(draft)
    if problems:
        raise RequestError(problems)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{draft.id}.yaml"
        path.write_text(draft.text, encoding="utf-8")
        try:
            check_file(str(path))
        except ProtocolError as error:
            raise RequestError([_of_option(p, draft) for p in error.problems]) from None


def _unreadable_times(draft: Draft) -> list[Problem]:
    """Find times that cannot be read, before they are added up."""
    from trialsim.protocol.quantities import Duration

    found = []
    for name in ("enrolment", "follow_up"):
        stated = getattr(draft, name)
        try:
            if stated is not None:
                Duration.parse(stated)
        except ValueError:
            option = f"--{name.replace('_', '-')}"
            found.append(Problem(f"must be {Duration.what}", Duration.remedy, option, stated))
    return found


_OPTION_OF = (
    ("control_risk", "--control-risk"),
    ("sample_size", "--total"),
    ("survival.median", "--control-median"),
    ("enrolment", "--enrolment"),
    ("looks", "--follow-up"),
    (".sd", "--sd"),
    (".mean", "--control-mean"),
    (".better", "--better"),
    (".at", "--at"),
    ("condition", "--condition"),
    (".event", "--event"),
    (".variable", "--variable"),
    (".unit", "--unit"),
    ("title", "--title"),
)


def _of_option(problem: Problem, draft: Draft) -> Problem:
    """Return a problem of the file as one of the option that its number came from."""
    from trialsim.protocol.reading.first_draft import EFFECTS

    if "protocol.arms" in problem.field:
        empty = draft.drug is not None and not draft.drug.strip()
        return replace(problem, field="--drug" if empty else "--control", file="", line=None)
    own = draft.effects or EFFECTS[draft.endpoint]
    known = [(f".{n}", f"--{n.replace('_', '-')}") for n in EFFECTS[draft.endpoint]]
    option = next((o for part, o in (*known, *_OPTION_OF) if part in problem.field), problem.field)
    if ".hoped-for" in problem.field and option == problem.field:
        option = f"--{own[0].replace('_', '-')}"
    return replace(problem, field=option, file="", line=None)


def _asked(name: str) -> Draft:
    """Ask for everything, one question a line; an empty answer takes what is assumed."""
    from trialsim.protocol.reading.first_draft import Draft, DraftKind

    print("An empty answer takes what stands in brackets; the file says that it is assumed.")
    kinds = [kind.value for kind in DraftKind]
    while True:
        kind = _answer(f"Which kind is the primary endpoint: {', '.join(kinds)}?", kinds[0])
        if kind in kinds:
            break
        print(did_you_mean(kind, kinds, f"There are {', '.join(kinds)}."))
    draft = Draft(name, DraftKind(kind))
    for question in draft.questions:
        draft = _with_answer(draft, question.name, question.words, draft.assumed(question.name))
    return draft


def _with_answer(draft: Draft, name: str, words: str, assumed: str) -> Draft:
    """Ask until the draft with the answer is one that `check` accepts."""
    while True:
        given = _answer(words, assumed)
        answered: dict[str, Any] = {} if given == assumed else {name: given}
        changed = replace(draft, **answered)
        try:
            check_draft(changed)
        except RequestError as error:
            print("\n".join(f"{p.rule[0].upper()}{p.rule[1:]}. {p.remedy}" for p in error.problems))
            continue
        return changed


def _answer(words: str, assumed: str) -> str:
    try:
        return input(f"{words} [{assumed}] ").strip() or assumed
    except EOFError:  # Ctrl-D: whoever asks has gone
        raise KeyboardInterrupt from None


def _as_typed(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
