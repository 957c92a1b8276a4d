"""The five lessons of ``examples/lessons``: a guess, then the answers of the sheets' own commands.

Nothing here is a number of a simulation: a `Reading` says which row of which command it is; the
story of a lesson is told by its sheet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from trialsim.protocol.reading.places import lessons_folder

__all__ = ["LESSONS", "Lesson", "Question", "Reading", "Told"]

STUDENTS = 40
_BEFORE_GUESSING = "Write down before you type anything:"


class Told(StrEnum):
    """How a number is shown."""

    LOG_RATIO = "log ratio"  # kept as a logarithm, shown as a ratio
    RATIO = "ratio"
    PERCENT = "percent"
    PER_1000 = "of 1,000"
    HANDS = "hands"  # in favour and against, of a class


@dataclass(frozen=True)
class Reading:
    """One number of an answer: the first row of a measure with these values, of a command."""

    label: str
    command: str
    measure: str
    told: Told
    where: tuple[tuple[str, str | float | None], ...] = ()

    def row(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row (LookupError if there is none)."""
        for row in document["rows"]:
            own = row["measure"] == self.measure
            if own and all(row.get(key) == value for key, value in self.where):
                found: Mapping[str, Any] = row
                return found
        raise LookupError(f"no row of {self.measure} with {dict(self.where)}")

    def shown(self, document: Mapping[str, Any]) -> str:
        """Return the number in words, with its Monte Carlo error and replicates."""
        row = self.row(document)
        if self.told is Told.HANDS:
            other = Reading("", self.command, "hands_against", Told.HANDS, self.where)
            favour, against = row["value"], other.row(document)["value"]
            return f"{favour + against} of {STUDENTS}: {favour} in favour, {against} against"
        value, error = row["value"], row["mcse"]
        of = f"({row['n_replicates']:,})"
        if self.told is Told.LOG_RATIO:
            value = math.exp(value)
            return f"{value:.3f} \N{PLUS-MINUS SIGN} {value * error:.3f} {of}"
        if self.told is Told.RATIO:
            return f"{value:.3f} \N{PLUS-MINUS SIGN} {error:.3f} {of}"
        scale = 1_000 if self.told is Told.PER_1000 else 100
        unit = " of 1,000" if self.told is Told.PER_1000 else "%"
        return f"{scale * value:.1f}{unit} \N{PLUS-MINUS SIGN} {scale * error:.1f} {of}"


@dataclass(frozen=True)
class Question:
    """What is guessed, and what answers it: numbers, or words where nothing is simulated."""

    asked: str
    readings: tuple[Reading, ...] = ()
    told: str = ""


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes
    ----------
    id : str
        ``lesson-1``: what stands as the template in an address.
    folder : str
        Below ``examples/lessons``; its commands are run there.
    commands : mapping of str to tuple of str
        As its sheets have them, without the program's name; the first is the page's own.
    classroom : str
        Of the command whose trials are shown one by one; "" for none.
    true_ratio : float
        The odds ratio of its protocol's scenario.
    """

    id: str
    folder: str
    title: str
    questions: tuple[Question, ...]
    commands: Mapping[str, tuple[str, ...]]
    why: str
    classroom: str = ""
    true_ratio: float = 1.0

    @property
    def story(self) -> str:
        """Return what the student's sheet tells: under its title, and above what is guessed."""
        return _told_by(lessons_folder() / "sheets" / f"{self.folder}-student.html")

    @property
    def first(self) -> tuple[str, ...]:
        """Return the page's own command."""
        return next(iter(self.commands.values()))

    @property
    def further(self) -> dict[str, tuple[str, ...]]:
        """Return its other commands by name."""
        return dict(list(self.commands.items())[1:])

    def answers(self, documents: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return questions with what answers them; documents by the name of their command."""
        return [
            {
                "asked": q.asked,
                "told": q.told,
                "readings": [(r.label, r.shown(documents[r.command])) for r in q.readings],
            }
            for q in self.questions
        ]


@cache
def _told_by(sheet: Path) -> str:
    """Return two paragraphs of a sheet as words."""
    text = sheet.read_text(encoding="utf-8")
    marks = re.findall(r"(?:</h1>|<div class=\"guess\">)\s*<p>(.*?)</p>", text, re.DOTALL)
    told = unescape(re.sub(r"<[^>]*>", "", " ".join(marks)))
    return " ".join(told.replace(_BEFORE_GUESSING, "").split())


def _words(command: str) -> tuple[str, ...]:
    return tuple(command.split())


def _class_of(profile: str) -> tuple[str, ...]:
    return _words(f"synthesise trial.yaml --class {STUDENTS} --seed 1 --conduct {profile}.yaml")


def _at(mechanism: str, strength: float) -> tuple[tuple[str, str | float], ...]:
    return (("mechanism", mechanism), ("strength", strength))


_SIGNIFICANT = "significant"
_BLOCK = 4
_CERTAIN = 100 / (_BLOCK / 2 + 1)  # b of 2b assignments: examples/lessons/exact.py
_POOLED = (("analysis", "Mantel-Haenszel"), ("stratum", "quality=lower"))

_CONCEALMENT = Lesson(
    "lesson-1",
    "1-concealment",
    "The next envelope",
    (
        Question(
            "Of 100 envelopes, how many are certain before they are opened?",
            told=f"{_CERTAIN:.1f}, by counting the orders of a block: 1 / (b + 1) of a block of "
            "2b.",
        ),
        Question(
            "The true odds ratio is 1. What does the trial find, if it happens every time?",
            tuple(
                Reading(
                    f"dial at {strength:g}",
                    "dial",
                    "estimate_mean",
                    Told.LOG_RATIO,
                    _at("foreseen-allocation", strength),
                )
                for strength in (0.0, 0.5, 1.0)
            ),
        ),
        Question(
            "In how many of 100 such trials is it significant?",
            tuple(
                Reading(
                    f"dial at {strength:g}",
                    "dial",
                    "power",
                    Told.PERCENT,
                    _at("foreseen-allocation", strength),
                )
                for strength in (0.0, 1.0)
            ),
        ),
    ),
    {
        "dial": _words(
            "bias trial.yaml --conduct foreseen.yaml --only foreseen-allocation --strength 0:1:0.25"
        ),
        "class": _class_of("foreseen"),
    },
    "No number in such a trial is false: only who goes where differs. Central allocation, or "
    "enrolment before the arm is known, would have stopped it.",
    "class",
)
_EARLY_DEATHS = Lesson(
    "lesson-2",
    "2-early-deaths",
    "The course they did not complete",
    (
        Question(
            "The true odds ratio is 1. What odds ratio does the report give?",
            tuple(
                Reading(label, "dial", "estimate_mean", Told.LOG_RATIO, _at("exclusion", strength))
                for label, strength in (
                    ("everyone as randomised", 0.0),
                    ("a quarter left out", 0.25),
                    ("half left out", 0.5),
                )
            ),
        ),
        Question(
            "In how many of 100 such trials is it significant?",
            tuple(
                Reading(label, "dial", "power", Told.PERCENT, _at("exclusion", strength))
                for label, strength in (("everyone as randomised", 0.0), ("half left out", 0.5))
            ),
        ),
    ),
    {
        "dial": _words(
            "bias trial.yaml --conduct left-out.yaml --only exclusion --strength 0,0.25,0.5"
        ),
        "class": _class_of("left-out"),
    },
    "A dead patient cannot complete a course. Leaving out a share f of an arm's deaths multiplies "
    "its odds by 1 - f, whatever the risk. Intention to treat restores 1.",
    "class",
)
_PEEKING = Lesson(
    "lesson-3",
    "3-peeking",
    "Just one more look",
    tuple(
        Question(
            f"Of 40 students, how many find a significant result with {looks}?",
            (
                Reading(
                    "laptops 1 to 40",
                    f"class-{name}",
                    "hands",
                    Told.HANDS,
                    (("conduct", conduct), ("analysis", None)),
                ),
                Reading("of thousands", name, "power", Told.PERCENT, (("mechanism", mechanism),)),
            ),
        )
        for looks, name, conduct, mechanism in (
            ("one look, at the end", "five", "rigorous", "none"),
            ("five looks, one after every 40 patients", "five", "five-looks", "undeclared-looks"),
            ("ten looks, one after every 20", "ten", "ten-looks", "undeclared-looks"),
        )
    ),
    {
        "five": _words("bias trial.yaml --conduct five-looks.yaml"),
        "ten": _words("bias trial.yaml --conduct ten-looks.yaml"),
        "class-five": _class_of("five-looks"),
        "class-ten": _class_of("ten-looks"),
    },
    "Every look is a fresh chance to be fooled, and you only stop when you are. No single P value "
    "is wrong; the choice of which to report is. Declared looks share the 5% out.",
    "class-ten",
)
_DRAWER = Lesson(
    "lesson-4",
    "4-the-drawer",
    "Small trials and the drawer",
    (
        Question(
            "Of 40 trials of 60 patients, how many are significant, either way?",
            (
                Reading(
                    "laptops 1 to 40",
                    "class",
                    "hands",
                    Told.HANDS,
                    (("conduct", "rigorous"), ("analysis", None)),
                ),
                Reading(_SIGNIFICANT, "drawer", "power", Told.PERCENT, (("mechanism", "none"),)),
            ),
        ),
        Question(
            "What is the average odds ratio of those that are published?",
            tuple(
                Reading(label, name, "estimate_mean", Told.LOG_RATIO, (("mechanism", mechanism),))
                for label, name, mechanism in (
                    ("all trials of 60", "drawer", "none"),
                    ("published, of 60", "drawer", "publication"),
                    ("published, of 1,000", "larger", "publication"),
                )
            ),
        ),
        Question(
            "Of 100 significant trials, how many point the wrong way?",
            (Reading("wrong way", "drawer", "type_s", Told.PERCENT, (("mechanism", "none"),)),),
        ),
    ),
    {
        "drawer": _words("bias trial.yaml --conduct drawer.yaml --replicates 20000"),
        "larger": _words("bias trial.yaml --conduct drawer.yaml --replicates 20000 --total 1000"),
        "class": _class_of("drawer"),
    },
    "What passes the filter are the lucky extremes: it does not choose good trials, it chooses "
    "luck. What is in the drawer is not in the pool.",
    "class",
    0.82,
)
_META_ANALYSIS = Lesson(
    "lesson-5",
    "5-the-meta-analysis",
    "Reading a meta-analysis of sepsis trials",
    (
        Question(
            "By chance alone, in how many of 1,000 such literatures is the gap as large?",
            (
                Reading(
                    "split by quality",
                    "quality",
                    "gap_as_large",
                    Told.PER_1000,
                    (("stratum", "quality"), ("conduct", "chance")),
                ),
                Reading(
                    "split by centres",
                    "centres",
                    "gap_as_large",
                    Told.PER_1000,
                    (("stratum", "centres"), ("conduct", "chance")),
                ),
            ),
        ),
        Question(
            "With flaws as strong as published on average, where do the six pool?",
            tuple(
                Reading(
                    label,
                    "quality",
                    "estimate_median",
                    Told.RATIO,
                    (*_POOLED, ("conduct", conduct)),
                )
                for label, conduct in (
                    ("chance alone", "chance"),
                    ("flaws as published", "typical"),
                    ("CHOSEN to reach 0.41", "to-reach-041"),
                )
            ),
        ),
        Question(
            "What share of the treated deaths must be left out to give Abraha's 0.83?",
            (
                Reading(
                    "abraha-2015, mitt",
                    "dials",
                    "strength_needed",
                    Told.PERCENT,
                    (("source", "mitt"), ("analysis", "estimate")),
                ),
            ),
        ),
        Question(
            "Is it quality, or the number of centres?",
            told="The two splits part nearly the same trials: it cannot be told apart.",
        ),
    ),
    {
        "quality": _words("synthesise sepsis --split quality --true-or 0.82"),
        "centres": _words("synthesise sepsis --split centres --true-or 0.82"),
        "dials": _words("bias sepsis --total 360 --scenario or-082 --calibrate --only exclusion"),
    },
    "A simulation can say how often chance, or flaws of a stated strength, give such a gap. It "
    "cannot say that these trials had these flaws, nor that nothing else did it.",
)
LESSONS: Mapping[str, Lesson] = {
    lesson.id: lesson for lesson in (_CONCEALMENT, _EARLY_DEATHS, _PEEKING, _DRAWER, _META_ANALYSIS)
}


def titles() -> Sequence[tuple[str, str]]:
    """Return ids and titles."""
    return [(lesson.id, lesson.title) for lesson in LESSONS.values()]
