"""Run the commands of the lessons as students run them, and make the sheets with the answers.

``python lessons.py`` makes all sheets, ``python lessons.py 1 3`` those of two lessons. No figure of
a sheet is typed: commands stand in the sheets, `answers.py` of a lesson says which of the numbers
they print are its answers, and a sheet names these.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

__all__ = ["LESSONS", "Answer", "Commands", "Number", "Sheet", "build", "main", "pages_of"]

HERE = Path(__file__).parent
LESSONS = tuple(sorted(path.parent for path in HERE.glob("*/answers.py")))
SHEETS = HERE / "sheets"
_COMMAND = re.compile(r"```console (\S+)\n(.*?)```", flags=re.DOTALL)
_FOUND = re.compile(
    r"As (planned|reported): (\d+)/(\d+) .*?v (\d+)/(\d+).*?OR ([0-9.e-]+).*?: (not )?significant"
)
_GUESSED = re.compile(r"Of its list ([0-9.]+)% could be guessed")
_HEADING = re.compile(r"^## (.+?)( \{slide\})?$", flags=re.MULTILINE)
_ALPHA = 0.05  # two-sided, of the lessons' protocols
YOUR_NUMBER = "YOUR-NUMBER"  # what a student replaces by the number of the laptop


@dataclass(frozen=True)
class Number:
    """A simulated number with its Monte Carlo standard error and the trials it rests on."""

    value: float
    mcse: float
    n: int

    def __format__(self, digits: str) -> str:
        """Return value and error, ``f"{x:.2f}"``."""
        return f"{self.value:{digits}} ± {self.mcse:{digits}}"

    @property
    def percent(self) -> Number:
        """The same of a hundred."""
        return Number(100 * self.value, 100 * self.mcse, self.n)

    @property
    def ratio(self) -> Number:
        """A log ratio as a ratio; its error by the delta method."""
        return Number(exp(self.value), exp(self.value) * self.mcse, self.n)


@dataclass(frozen=True)
class Answer:
    """What a command answered: its document, and the figures beside it as SVG."""

    document: dict[str, Any]
    figures: dict[str, bytes]

    def number(self, measure: str, **where: object) -> Number:
        """Return the one row of a measure with these values (LookupError if not one)."""
        rows = [
            row
            for row in self.document["rows"]
            if row.get("measure") == measure
            and all(row.get(key) == value for key, value in where.items())
        ]
        if len(rows) != 1:
            raise LookupError(f"{len(rows)} rows of {measure} with {where}")
        (row,) = rows
        return Number(row["value"], row.get("mcse") or 0.0, row.get("n_replicates") or 0)

    def picture(self, name: str, what: str) -> str:
        """Return a figure as an image that is part of the page; `what` says what it shows."""
        (svg,) = (found for key, found in self.figures.items() if key.startswith(name))
        coded = base64.b64encode(svg).decode("ascii")
        return f'<img class="figure" alt="{what}" src="data:image/svg+xml;base64,{coded}">'

    @property
    def before_and_after(self) -> dict[str, tuple[float, bool]]:
        """Of a replay: odds ratio, and whether significant, as `planned` and as `reported`."""
        text = self.document["texts"]["before and after"].replace("\n", " ")
        return {found[1]: (float(found[6]), not found[7]) for found in _FOUND.finditer(text)}

    def students(self, conduct: str) -> dict[int, tuple[float, bool]]:
        """Of a class: odds ratio, and whether significant, by student; `rigorous` is as planned."""
        found: dict[int, tuple[float, bool]] = {}
        about = {"conduct": conduct, "scale": "odds ratio"}
        for student in range(1, int(self.document["arguments"]["class"]) + 1):
            name = f"student {student}"
            p = self.number("p_value", analysis=name, conduct=conduct).value
            ratio = self.number("estimate", analysis=name, **about).value
            found[student] = (ratio, p < _ALPHA)
        return found

    @property
    def guessed_right(self) -> float:
        """Of a replay with foreseen allocation: percentage of its list guessed right."""
        found = _GUESSED.search(self.document["texts"]["before and after"].replace("\n", " "))
        assert found is not None
        return float(found[1])


class Commands:
    """The commands of one lesson, by the names they have in its sheets.

    Parameters
    ----------
    lesson : Path
        Its folder.
    replicates : int, optional
        Fewer trials than the sheets ask for, to try a lesson out.
    """

    def __init__(self, lesson: Path, replicates: int | None = None) -> None:
        self.lesson, self.replicates = lesson, replicates
        self.seconds: dict[str, float] = {}
        self.words: dict[str, list[str]] = {}
        for sheet in ("student.md", "teacher.md"):
            text = (lesson / sheet).read_text(encoding="utf-8")
            for name, command in _COMMAND.findall(text):
                words = shlex.split(command)
                if self.words.setdefault(name, words) != words:
                    raise ValueError(f"{lesson.name}: two commands are called '{name}'")

    def run(self, name: str, number: int | None = None) -> Answer:
        """Run a command; `number` is what the student of this number types."""
        from trialsim.cli import main

        words = [str(number) if word == YOUR_NUMBER else word for word in self.words[name][1:]]
        with tempfile.TemporaryDirectory() as folder:
            extra = ["--json"]
            if words[0] != "replay":
                extra += ["--out", str(Path(folder) / "run")]
                if self.replicates and "--class" not in words:
                    extra += ["--replicates", str(self.replicates)]
            said, started = io.StringIO(), time.monotonic()
            with (
                contextlib.chdir(self.lesson),
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(io.StringIO()) as complaint,
            ):
                status = main([*words, *extra])
            if status:
                raise RuntimeError(f"{' '.join(words)}: {complaint.getvalue()}{said.getvalue()}")
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
            figures = {path.stem: path.read_bytes() for path in Path(folder).rglob("*.svg")}
        return Answer(json.loads(said.getvalue()), figures)

    def students(self, name: str, numbers: Sequence[int] = range(1, 41)) -> dict[int, Answer]:
        """Run a command as the students of these numbers do."""
        return {number: self.run(name, number) for number in numbers}


class Sheet:
    """A sheet in Markdown, its figures named in double braces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.title = self.text.splitlines()[0].lstrip("# ")

    def sections(self, answers: dict[str, Any]) -> Iterator[tuple[str, bool, str]]:
        """Yield heading, whether it is a slide as well, and HTML, the part above all first."""
        from jinja2 import Environment, StrictUndefined

        environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
        told = environment.from_string(self.text).render(**answers)
        parts = _HEADING.split(told)
        yield "", False, _html(parts[0])
        for heading, slide, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            yield heading, bool(slide), _html(f"## {heading}\n{body}")


def _html(markdown: str) -> str:
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark").enable("table").render(markdown))


def answers_of(lesson: Path) -> Callable[[Commands], dict[str, Any]]:
    """Return the function `answers` of a lesson's ``answers.py``."""
    spec = importlib.util.spec_from_file_location(f"answers_{lesson.name}", lesson / "answers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Commands], dict[str, Any]] = module.answers
    return found


def pages_of(lesson: Path, answers: dict[str, Any]) -> dict[str, str]:
    """Return the pages of a lesson by file name: two A4 sheets, and slides of 16:9.

    Slides are the sections marked so, those of the student's sheet first: guess, then answer.
    """
    student, teacher = Sheet(lesson / "student.md"), Sheet(lesson / "teacher.md")
    first, second = list(student.sections(answers)), list(teacher.sections(answers))
    slides = [first[0], *(part for part in (*first, *second) if part[1])]
    return {
        f"{lesson.name}-student.html": _page(student.title, "sheet", first),
        f"{lesson.name}-teacher.html": _page(teacher.title, "sheet", second),
        f"{lesson.name}-slides.html": _page(student.title, "slides", slides),
    }


def _page(title: str, style: str, parts: Sequence[tuple[str, bool, str]]) -> str:
    css = (HERE / f"{style}.css").read_text(encoding="utf-8")
    body = "\n".join(f"<section>\n{html}</section>" for _, _, html in parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>\n{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def build(lesson: Path, folder: Path = SHEETS, replicates: int | None = None) -> Commands:
    """Run the commands of a lesson and write its pages; return what was run."""
    commands = Commands(lesson, replicates)
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages_of(lesson, answers_of(lesson)(commands)).items():
        (folder / name).write_text(page, encoding="utf-8")
    return commands


def main(answers: Callable[[Commands], dict[str, Any]], lesson: Path) -> None:
    """Print the answers of a lesson, as its ``answers.py`` does when it is run."""
    started = time.monotonic()
    for name, found in answers(Commands(lesson)).items():
        if isinstance(found, Number):
            print(f"{name}: {found.value:.4g} ± {found.mcse:.2g} ({found.n:,} trials)")
        elif not isinstance(found, str) or not found.startswith("<"):
            print(f"{name}: {found:.6g}" if isinstance(found, float) else f"{name}: {found}")
    print(f"{time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for one in LESSONS:
        if not wanted or one.name.split("-")[0] in wanted:
            took = build(one).seconds
            print(f"{one.name}: {sum(took.values()):.1f} s")
