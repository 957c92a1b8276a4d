"""The state of a room: all of it stands in the address, and nothing else does.

A room declares one frozen dataclass; each field says what a reader may enter. The same
declaration reads the query string, names what is wrong in words, draws the form, and writes the
options of the command that gives the same answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from trialsim.errors import Problem

__all__ = ["Choice", "Entry", "Number", "Read", "State", "Switch", "Text", "entered"]

_GROUPED = re.compile(r"[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")  # 1,106 but never 0,5


@dataclass(frozen=True)
class Number:
    """A number with a unit and bounds.

    Attributes
    ----------
    label : str
    low, high : float
        Both may be entered.
    step : float
        Of the slider; any number between the bounds may be typed.
    unit : str
        "patients", "%", "months"; shown beside the number.
    slider : bool
        Whether it is drawn as a slider beside the number.
    percent : bool
        Entered and shown in percent, kept and handed on as a share.
    option : str
        Of the command line, "--power"; without it the room writes the words itself.
    hint : str
        What it is, in one sentence.
    """

    label: str
    low: float
    high: float
    step: float = 1.0
    unit: str = ""
    slider: bool = False
    whole: bool = False
    percent: bool = False
    option: str = ""
    hint: str = ""

    def read(self, text: str) -> float | int:
        """Return the number; ValueError says in words what is wrong."""
        plain = text.strip()
        if _GROUPED.fullmatch(plain):
            plain = plain.replace(",", "")
        try:
            value = float(plain)
        except ValueError:
            raise ValueError("is not a number") from None
        if self.percent:
            value = round(value / 100, 12)
        if not math.isfinite(value) or not self.low <= value <= self.high:
            raise ValueError(f"must be from {self.bounds}")
        if self.whole:
            if value != int(value):
                raise ValueError("must be a whole number")
            return int(value)
        return value

    @property
    def bounds(self) -> str:
        """Return from where to where, in words: "50 to 99 %"."""
        low, high = (100 * v if self.percent else v for v in (self.low, self.high))
        return f"{low:,.10g} to {high:,.10g}{f' {self.unit}' if self.unit else ''}"

    def remedy(self) -> str:
        """Return what to do about a value that cannot be read."""
        return f"Enter a number from {self.bounds}, with a point before decimals."

    def shown(self, value: Any) -> str:
        """Return a value as it is entered."""
        if value is None or value == "":
            return ""
        if self.percent:
            value = 100 * value
        return f"{value:.10g}"

    def words(self, value: Any) -> tuple[str, ...]:
        """Return the words of the command line for a value that is not at rest."""
        return (self.option, f"{value:.10g}") if self.option else ()


@dataclass(frozen=True)
class Choice:
    """One of several words.

    Attributes
    ----------
    options : tuple of (value, label)
        Empty where they depend on the template: the room then gives them in `choices`.
    """

    label: str
    options: tuple[tuple[str, str], ...] = ()
    option: str = ""
    hint: str = ""

    def read(self, text: str) -> str:
        """Return the word; ValueError says in words what is wrong."""
        if self.options and text not in dict(self.options):
            raise ValueError("is not one of the choices")
        if len(text) > 200:
            raise ValueError("is too long")
        return text

    def remedy(self) -> str:
        """Return what to do about a word that is not known."""
        known = ", ".join(value or "(empty)" for value, _ in self.options)
        return f"Choose one of {known}." if known else "Choose one of the list."

    def shown(self, value: Any) -> str:
        """Return a value as it is entered."""
        return str(value)

    def words(self, value: Any) -> tuple[str, ...]:
        """Return the words of the command line for a value that is not at rest."""
        return (self.option, str(value)) if self.option else ()


@dataclass(frozen=True)
class Text:
    """A few words, such as ``OR 0.70``."""

    label: str
    longest: int = 120
    placeholder: str = ""
    option: str = ""
    hint: str = ""

    def read(self, text: str) -> str:
        """Return the words; ValueError says what is wrong."""
        text = text.strip()
        if len(text) > self.longest:
            raise ValueError(f"must be at most {self.longest} characters")
        if any(ord(character) < 32 for character in text):
            raise ValueError("must be one line of text")
        return text

    def remedy(self) -> str:
        """Return what to do about words that cannot be read."""
        return f"Write something like {self.placeholder}." if self.placeholder else "Shorten it."

    def shown(self, value: Any) -> str:
        """Return a value as it is entered."""
        return str(value)

    def words(self, value: Any) -> tuple[str, ...]:
        """Return the option and its value as one word, so that a dash cannot start an option."""
        return (f"{self.option}={value}",) if self.option else ()


@dataclass(frozen=True)
class Switch:
    """On or off."""

    label: str
    option: str = ""
    hint: str = ""

    def read(self, text: str) -> bool:
        """Return whether it is on; ValueError for anything but 1 and 0."""
        if text not in ("1", "0", "on", ""):
            raise ValueError("is neither on nor off")
        return text in ("1", "on")

    def remedy(self) -> str:
        """Return what to do about a value that is neither."""
        return "Write 1 for on, 0 for off."

    def shown(self, value: Any) -> str:
        """Return a value as it stands in the address."""
        return "1" if value else "0"

    def words(self, value: Any) -> tuple[str, ...]:
        """Return the words of the command line for a switch that is not at rest."""
        return (self.option,) if self.option and value else ()


Entry = Number | Choice | Text | Switch


def entered(entry: Entry, at_rest: Any) -> Any:
    """Declare a field of a state: what may be entered, and what it is otherwise.

    An empty entry means the value at rest.
    """
    return field(default=at_rest, metadata={"entry": entry})


@dataclass(frozen=True)
class Read:
    """What a query string says.

    Attributes
    ----------
    state : State
        With the value at rest where something is wrong.
    typed : mapping of str to str
        What was entered, right or wrong, to be shown again.
    problems : tuple of Problem
    """

    state: Any
    typed: Mapping[str, str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class State:
    """What every room's address holds: which protocol; rooms add their own fields."""

    command: ClassVar[tuple[str, ...]] = ()  # the room's command: ("size",)
    takes_template: ClassVar[bool] = True

    template: str = entered(Choice("Protocol"), "sepsis")

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        """Return what may be entered, by field."""
        return {f.name: f.metadata["entry"] for f in fields(cls)}

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Read:
        """Read a query string; everything that is wrong with it, at once.

        What is not a field is left alone (``big``, ``part``).
        """
        at_rest = {f.name: f.default for f in fields(cls)}
        found: dict[str, Any] = {}
        problems = []
        typed = {name: query[name] for name in at_rest if name in query}
        for name, text in typed.items():
            entry = cls.entries()[name]
            try:
                found[name] = entry.read(text) if text != "" else at_rest[name]
            except ValueError as error:
                problems.append(Problem(str(error), entry.remedy(), entry.label, text[:60]))
        state = cls(**found)
        return Read(state, typed, (*problems, *state.too_dear()))

    def too_dear(self) -> tuple[Problem, ...]:
        """Return why the answer would take longer than this page allows; none here."""
        return ()

    def changed(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields that are not at rest."""
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                yield f.name, value

    def query(self, **more: str) -> str:
        """Return the query string: what is not at rest, the same state always the same."""
        entries = self.entries()
        return urlencode({**{n: entries[n].shown(v) for n, v in self.changed()}, **more})

    def options(self) -> tuple[str, ...]:
        """Return the options of the command line that say the same."""
        entries = self.entries()
        return tuple(w for name, v in self.changed() for w in entries[name].words(v))

    def words(self) -> tuple[str, ...]:
        """Return the command that gives this answer, without the program's name."""
        return (*self.command, *((self.template,) if self.takes_template else ()), *self.options())

    def but(self, **changes: Any) -> Self:
        """Return the state with other values."""
        from dataclasses import replace

        return replace(self, **changes)
