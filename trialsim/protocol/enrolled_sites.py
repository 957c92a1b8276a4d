"""What sites have enrolled so far: a CSV table of the user's own.

One line a site: ``site, opened, enrolled, as_of``. Days are ISO dates, or numbers since the first
invitation; all of one kind. `as_of` is the same on every line: counts end on one day. A site that
opens after it has enrolled nobody yet. The file is untrusted, as other tables are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from trialsim.errors import Problem, ProtocolError, counted, did_you_mean
from trialsim.protocol.published.trials import table_rows

__all__ = ["COLUMNS", "EnrolledSite", "EnrolledSites", "read_enrolled"]

COLUMNS = ("site", "opened", "enrolled", "as_of")
_FEWEST = 3  # of fewer, the day of the last patient has no variance under rates that may be 0
_MAX_ENROLLED, _MAX_TEXT, _MAX_DAYS = 1_000_000, 80, 100_000.0
_YEARS = range(1950, 2200)  # a date outside is a slip of the pen
_MOST_TOLD = 20  # mistakes
_FORMULA = ("=", "+", "-", "@")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")


@dataclass(frozen=True)
class EnrolledSite:
    """A site: the day it opened (or is to open), and how many it has enrolled."""

    site: str
    opened: float
    enrolled: int


@dataclass(frozen=True)
class EnrolledSites:
    """All sites of a trial that is under way.

    Attributes
    ----------
    sites : tuple of EnrolledSite
        In the order of the file; days of one calendar.
    as_of : float
        When counts end: the end of that day where it is a date.
    dated : bool
        Whether days are proleptic ordinals of dates, and not numbers since the first invitation.
    """

    sites: tuple[EnrolledSite, ...]
    as_of: float
    dated: bool

    @property
    def enrolled(self) -> int:
        """Patients enrolled so far."""
        return sum(site.enrolled for site in self.sites)

    @property
    def first_opened(self) -> float:
        """Day on which the first site opened."""
        return min(site.opened for site in self.sites)

    def in_words(self, day: float) -> str:
        """Return a day as the file writes days."""
        if not self.dated:
            return f"day {day:.0f}"
        last = date.max.toordinal()
        return date.fromordinal(int(day)).isoformat() if day < last else f"after {date.max.year}"


@dataclass(frozen=True)
class _Line:
    file: str
    number: int
    cells: Mapping[str, str]

    def problem(self, name: str, rule: str, remedy: str) -> Problem:
        value = self.cells.get(name, "")
        shown = value if len(value) <= 60 else value[:57] + "..."
        return Problem(rule, remedy, name, repr(shown) if shown else "", self.file, self.number)


def read_enrolled(path: Path, n_patients: int) -> EnrolledSites:
    """Read the table of what sites have enrolled.

    Parameters
    ----------
    path : Path
    n_patients : int
        Planned in all; fewer must be enrolled, or there is nothing to forecast.

    Raises
    ------
    ProtocolError
        With everything that is wrong, each with its line.
    """
    rows = list(table_rows(path, "--enrolled", "sites"))
    columns = [name.strip().casefold() for name in rows[0][1]] if rows else []
    if problems := list(_wrong_columns(columns, str(path))):
        raise ProtocolError(problems)
    lines: list[_Line] = []
    for number, cells in rows[1:]:
        if len(cells) != len(columns):
            rule = f"has {counted(len(cells), 'cell')} where the header has {len(columns)}"
            remedy = "Give one cell per column; put text with a comma in double quotes."
            problems.append(Problem(rule, remedy, "line", file=str(path), line=number))
            continue
        named = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        lines.append(_Line(str(path), number, named))
    problems += _wrong_names(lines)
    for line in lines:
        problems += _wrong_values(line)
    if not problems and not lines:
        remedy = "Give one line a site."
        problems.append(Problem("holds no site", remedy, "site", file=str(path)))
    problems = problems or list(_wrong_together(lines, n_patients, str(path)))
    if problems:
        raise ProtocolError(_first_of(sorted(problems, key=lambda p: p.line or 0)))
    sites = tuple(
        EnrolledSite(x.cells["site"], _day(x.cells["opened"]), int(x.cells["enrolled"]))
        for x in lines
    )
    dated = _dated(lines[0])
    return EnrolledSites(sites, _day(lines[0].cells["as_of"]) + dated, dated)


def _first_of(problems: list[Problem]) -> list[Problem]:
    """Return so many problems that they can be read, and say how many more there are."""
    if len(problems) <= _MOST_TOLD:
        return problems
    rule = f"has {len(problems) - _MOST_TOLD:,} further mistakes"
    rest = Problem(rule, "Mend those above, and read it again.", "table", file=problems[0].file)
    return [*problems[:_MOST_TOLD], rest]


def _dated(line: _Line) -> bool:
    return bool(_DATE.fullmatch(line.cells["as_of"]))


def _wrong_columns(columns: Sequence[str], file: str) -> Iterator[Problem]:
    listed = f"The columns are {', '.join(COLUMNS)}."
    if len(columns) == 1 and ";" in columns[0]:
        rule, remedy = "is separated by semicolons", "Save it with commas between columns."
        yield Problem(rule, remedy, "header", file=file, line=1)
        return
    if not set(COLUMNS) & set(columns):
        rule = "is empty" if not columns else "is missing: no column is named as it should be"
        yield Problem(
            rule, f"Begin with the line '{','.join(COLUMNS)}'.", "header", file=file, line=1
        )
        return
    for name in COLUMNS:
        if name not in columns:
            yield Problem("is a column that is missing", listed, name, file=file, line=1)
    for index, name in enumerate(columns):
        if name in columns[:index]:
            yield Problem("names two columns", "Keep one.", name or "header", file=file, line=1)
        elif name not in COLUMNS:
            remedy = did_you_mean(name, COLUMNS, f"Remove it. {listed}")
            shown = repr(name) if name else "(no name)"
            yield Problem("is not a known column", remedy, "header", shown, file, 1)


def _wrong_names(lines: Sequence[_Line]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for line in lines:
        text = line.cells["site"]
        key = " ".join(text.casefold().split())
        if not text:
            yield line.problem("site", "is required", "Name the site, or number it.")
        elif len(text) > _MAX_TEXT:
            yield line.problem("site", f"must be at most {_MAX_TEXT} characters", "Shorten it.")
        elif text.startswith(_FORMULA):
            rule, remedy = "must not begin as a formula does", f"Leave out the leading '{text[0]}'."
            yield line.problem("site", rule, remedy)
        elif key in seen:
            rule = f"stands twice: first on line {seen[key]}"
            yield line.problem("site", rule, "Give one line a site, with all its patients.")
        seen.setdefault(key, line.number)


def _day(text: str) -> float:
    """Return a date's ordinal, or a number of days (ValueError for neither)."""
    if _DATE.fullmatch(text):
        found = date.fromisoformat(text)
        if found.year not in _YEARS:
            raise ValueError(text)
        return float(found.toordinal())
    if not _NUMBER.fullmatch(text) or float(text) > _MAX_DAYS:
        raise ValueError(text)
    return float(text)


def _wrong_values(line: _Line) -> Iterator[Problem]:
    text = line.cells["enrolled"]
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > _MAX_ENROLLED:
        rule = f"must be a whole number from 0 to {_MAX_ENROLLED:,}"
        yield line.problem("enrolled", rule, "Write how many patients the site has enrolled.")
    days: dict[str, float] = {}
    for name in ("opened", "as_of"):
        try:
            days[name] = _day(line.cells[name])
        except ValueError:
            rule = "must be a date or a number of days since the first invitation"
            remedy = "Write for example 2026-03-01, or 90."
            if _DATE.fullmatch(line.cells[name]):
                rule = f"must be a day of the calendar, from {_YEARS[0]} to {_YEARS[-1]}"
                remedy = "Write year, month and day, for example 2026-03-01."
            yield line.problem(name, rule, remedy)
    if len(days) < 2:
        return
    if len({bool(_DATE.fullmatch(line.cells[name])) for name in days}) > 1:
        rule = "must be written as 'as_of' is: dates, or numbers of days"
        yield line.problem("opened", rule, "Write both as dates.")
    elif days["opened"] >= days["as_of"] + _dated(line) and text.isdecimal() and int(text):
        verb = "is" if int(text) == 1 else "are"
        patients = counted(int(text), "patient")
        rule = f"comes no earlier than 'as_of', but {patients} {verb} enrolled"
        yield line.problem("opened", rule, "Correct the day, or write 0 enrolled.")


def _wrong_together(lines: Sequence[_Line], n_patients: int, file: str) -> Iterator[Problem]:
    first = lines[0]
    as_of = _day(first.cells["as_of"])
    for line in lines[1:]:
        if _dated(line) != _dated(first):
            rule = f"must be written as on line {first.number}: dates, or numbers of days"
            yield line.problem("as_of", rule, "Write all as dates.")
        elif _day(line.cells["as_of"]) != as_of:
            rule = f"must be the same on every line: {first.cells['as_of']} on line {first.number}"
            yield line.problem("as_of", rule, "Count the patients of all sites on one day.")
    if all(_day(line.cells["opened"]) >= as_of + _dated(first) for line in lines):
        rule = "comes after 'as_of' at every site: no site has been open yet"
        yield Problem(rule, "Forecast without --enrolled.", "opened", file=file)
    enrolled = sum(int(line.cells["enrolled"]) for line in lines)
    if enrolled < _FEWEST:
        rule = f"adds up to {enrolled}: fewer than {_FEWEST} say too little of rates"
        yield Problem(rule, "Forecast without --enrolled.", "enrolled", file=file)
    if enrolled >= n_patients:
        rule = f"adds up to {enrolled:,}, and {n_patients:,} are planned: enrolment is over"
        yield Problem(rule, "Correct the counts, or protocol.sample_size.", "enrolled", file=file)
