"""What can go wrong, in one tree.

::

    TrialsimError            exit 1
    +-- ProtocolError        a file cannot be read as a protocol or as evidence    exit 2
    +-- DesignError          the design cannot be met, or is not supported         exit 2
    +-- RequestError         an option or argument cannot be honoured              exit 2
    +-- SimulationError      the run itself failed                                 exit 1

Every error carries its problems as data, so that the terminal and ``--json`` say the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import ClassVar

__all__ = [
    "DesignError",
    "Problem",
    "ProtocolError",
    "RequestError",
    "SimulationError",
    "TrialsimError",
    "counted",
    "did_you_mean",
]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it is, and what to do about it.

    Attributes
    ----------
    rule : str
        What must hold, phrased to follow the field's name: "must be above 0".
    remedy : str
        One sentence saying what to write instead.
    field : str
        Dotted path with list items by their id: ``scenarios.or-082.effect.odds_ratio``.
    value : str
        What was found, already printable; empty when nothing was found.
    file, line
        Where: a file's name and line from 1, or the option that set the value and no line.
    """

    rule: str
    remedy: str
    field: str = ""
    value: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        what = f"{self.field} {self.rule}" if self.field else self.rule
        got = f"; got {self.value}" if self.value else ""
        return f"{where}{what}{got}. {self.remedy}"

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the flat form that ``--json`` prints under ``errors``."""
        return asdict(self)


class TrialsimError(Exception):
    """Base of everything this package raises on purpose.

    Parameters
    ----------
    problems : Problem or iterable of Problem
        At least one; all are shown.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[TrialsimError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class ProtocolError(TrialsimError):
    """A file cannot be read as a protocol or as evidence."""

    exit_status = 2


class DesignError(TrialsimError):
    """The design cannot be met, or is of a kind that is not supported."""

    exit_status = 2


class RequestError(TrialsimError):
    """An option or argument cannot be honoured."""

    exit_status = 2


class SimulationError(TrialsimError):
    """The run itself failed."""


def counted(number: float, noun: str, form: str = ",") -> str:
    """Return a number with its noun in the singular or plural: "1 site", "12 sites"."""
    shown = f"{number:{form}}"
    return f"{shown} {noun}" if shown.lstrip("+-") == "1" else f"{shown} {noun}s"


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return "Did you mean 'x'?" for the closest known word, else `otherwise`."""
    from difflib import get_close_matches  # a fifth of a second saved where nothing is wrong

    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else otherwise
