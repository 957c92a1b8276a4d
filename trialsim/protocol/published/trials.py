"""Published trials that are pooled: read from a CSV file, or from records of the evidence.

A CSV file is untrusted: at most 1 MB and 1,000 trials, plain text and plain numbers; nothing in it
is run, and text a spreadsheet would run as a formula is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from trialsim.errors import Problem, ProtocolError, RequestError, did_you_mean
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.published.evidence import Pool, Trial
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.template import ObservedReference
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = [
    "COUNT_COLUMNS",
    "Counts",
    "Origin",
    "PublishedTrials",
    "PublishedEstimate",
    "PublishedStudy",
    "SplitBy",
    "StudyStratum",
    "read_studies",
    "read_trials",
    "recorded_trials",
    "split_from_word",
    "strata_of",
    "table_rows",
]

COUNT_COLUMNS = ("events_treated", "n_treated", "events_control", "n_control")
_REQUIRED = ("study", *COUNT_COLUMNS)
_WHICH = ("literature", "scenario", "conduct")  # of simulated literatures: one a file
_OPTIONAL = ("centres", "quality", "yi", "vi", *_WHICH)  # and rob_*
_JUDGEMENTS = ("low", "some concerns", "unclear", "high")
_MAX_BYTES, _MAX_TRIALS, _MAX_PATIENTS, _MAX_TEXT = 1_000_000, 1_000, 10_000_000, 80
_FORMULA = ("=", "+", "-", "@")
# control characters, and those that turn the direction of text
_ODD = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Counts(NamedTuple):
    """The 2x2 table of a trial."""

    events_treated: int
    n_treated: int
    events_control: int
    n_control: int


class PublishedEstimate(NamedTuple):
    """An estimate with its 95% interval, on the natural scale."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PublishedStudy:
    """One line of a meta-analysis: a trial by its counts, or what a pool states.

    Attributes
    ----------
    study : str
        As the file names it, or the id of the record.
    counts : Counts or None
    estimate : PublishedEstimate or None
        Where there are no counts.
    status, counts_status : str
        How far the numbers can be relied on; empty for a file of the user's own.
    outcome : str
        What was counted and when; empty for a file of the user's own.
    rob : mapping of str to str
        Judgements of risk of bias by domain.
    """

    study: str
    title: str
    counts: Counts | None
    estimate: PublishedEstimate | None = None
    status: str = ""
    counts_status: str = ""
    outcome: str = ""
    centres: int | None = None
    quality: str = ""
    rob: Mapping[str, str] = field(default_factory=dict)


class Origin(StrEnum):
    """Whose trials are pooled."""

    PUBLISHED = "published"
    SIMULATED = "simulated"  # a literature that the program exported


@dataclass(frozen=True)
class PublishedTrials:
    """Published trials that are pooled.

    Attributes
    ----------
    name : str
        The file, or the words for what was taken from the evidence.
    studies : tuple of PublishedStudy
        At least two.
    recorded : bool
        Whether they are records of the evidence, by id.
    beside : mapping of str to str
        Id of a pooled record that is shown but not pooled -> why.
    origin : Origin
    """

    name: str
    measure: Summary
    studies: tuple[PublishedStudy, ...]
    recorded: bool
    beside: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = Origin.PUBLISHED


class SplitBy(StrEnum):
    """By what a literature is split into two strata."""

    QUALITY = "quality"
    CENTRES = "centres"


@dataclass(frozen=True)
class StudyStratum:
    """Some of a literature's studies.

    Attributes
    ----------
    chosen : tuple of bool
        One per study.
    """

    label: str
    chosen: tuple[bool, ...]


def strata_of(trials: PublishedTrials, split: SplitBy) -> tuple[StudyStratum, StudyStratum]:
    """SplitBy a literature in two: the weaker, or single-centre, stratum first.

    By quality: the column ``quality``, which must have two values (in the order of ``lower`` and
    ``higher``, else of the alphabet); without it ``rob_overall``, ``low`` against all others.

    Raises
    ------
    RequestError
        Where a study is in neither stratum, or one stratum is empty.
    """
    given = [_side(study, split) for study in trials.studies]
    unknown = [s.study for s, side in zip(trials.studies, given, strict=True) if not side]
    what = "centres" if split is SplitBy.CENTRES else "quality or rob_overall"
    if unknown:
        rule = f"needs {what} of every study; unknown for {', '.join(unknown)}"
        raise _no_split(split, rule, f"Add the column {what} to the file, or leave --split out.")
    sides = sorted(set(given), key=lambda side: (_RANK.get(side, 1), side))
    if len(sides) != 2:
        rule = f"needs two strata; the studies are all {sides[0]}"
        if len(sides) > 2:
            rule = f"needs two strata; there are {len(sides)}: {', '.join(sides)}"
        raise _no_split(split, rule, "Leave --split out, or give the column exactly two values.")
    first, second = (StudyStratum(side, tuple(own == side for own in given)) for side in sides)
    return first, second


_RANK = {"lower": 0, "single-centre": 0, "higher": 2, "multi-centre": 2}


def _side(study: PublishedStudy, split: SplitBy) -> str:
    if split is SplitBy.CENTRES:
        if study.centres is None:
            return ""
        return "single-centre" if study.centres == 1 else "multi-centre"
    overall = study.rob.get("rob_overall", "")
    return study.quality or (overall and ("higher" if overall == "low" else "lower"))


def _no_split(split: SplitBy, rule: str, remedy: str) -> RequestError:
    return RequestError(Problem(rule, remedy, f"--split {split}"))


def split_from_word(word: str | None) -> SplitBy | None:
    """Return what `word` splits by; None for none.

    Raises
    ------
    RequestError
        If published trials cannot be split so.
    """
    if not word:
        return None
    try:
        return SplitBy(word)
    except ValueError:
        known = [split.value for split in SplitBy]
        remedy = did_you_mean(word, known, "Leave it out, or write one of them.")
        rule = f"must be {' or '.join(known)} for published trials"
        raise RequestError(Problem(rule, remedy, "--split", repr(word))) from None


def _measure(resolved: ResolvedTemplate, option: str) -> Summary:
    primary = resolved.template.protocol.primary
    summary = getattr(primary, "summary", None)
    if not isinstance(summary, Summary) or resolved.template.protocol.is_single_arm:
        rule = f"pools events of two arms; the primary endpoint '{primary.id}' is no such event"
        raise RequestError(Problem(rule, "Name a template with a binary endpoint.", option))
    return summary


def read_trials(path: Path, resolved: ResolvedTemplate) -> PublishedTrials:
    """Read a table of trials, compared as the template's primary endpoint is.

    Raises
    ------
    ProtocolError
        With everything that is wrong, each with its line.
    RequestError
        If the primary endpoint is no event of two arms.
    """
    measure = _measure(resolved, "--literature")
    studies = read_studies(path)
    return PublishedTrials(str(path), measure, studies, recorded=False, origin=_origin(path))


def _origin(path: Path) -> Origin:
    """Return whose trials a table that was read without a problem holds."""
    header, *lines = (cells for _, cells in table_rows(path))
    places = [i for i, name in enumerate(header) if name.strip().casefold() in _WHICH]
    marked = any(cells[place].strip() for cells in lines for place in places)
    return Origin.SIMULATED if marked else Origin.PUBLISHED


def read_studies(path: Path) -> tuple[PublishedStudy, ...]:
    """Read the studies of a table.

    Columns ``study``, `COUNT_COLUMNS`; optional ``centres``, ``quality``, ``rob_*`` (low, some
    concerns, unclear, high); ``yi`` and ``vi`` of an exported table are passed over. Its
    ``literature``, ``scenario`` and ``conduct`` must be the same on every line.

    Raises
    ------
    ProtocolError
        With everything that is wrong, each with its line.
    """
    rows = list(table_rows(path))
    columns = [name.strip().casefold() for name in rows[0][1]] if rows else []
    problems = list(_columns(columns, str(path)))
    if len(set(columns)) < len(columns) or "study" not in columns:
        raise ProtocolError(problems)
    if several := _several(columns, rows[1:], str(path)):
        raise ProtocolError([*problems, several])
    studies: list[PublishedStudy] = []
    seen: dict[str, int] = {}
    for line, cells in rows[1:]:
        at = _At(str(path), line)
        if len(cells) != len(columns):
            rule = f"has {len(cells)} cells where the header has {len(columns)}"
            remedy = "Give one cell per column; put text with a comma in double quotes."
            problems.append(at.problem("line", rule, remedy))
            continue
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        wrong = [*_wrong_words(row, at), *_wrong_counts(row, at)]
        key = " ".join(row["study"].casefold().split())
        if key and key in seen:
            rule = f"stands twice: first on line {seen[key]}"
            remedy = "Keep one; the same patients must not count twice."
            wrong.append(at.problem("study", rule, remedy, row["study"]))
        seen.setdefault(key, line)
        problems += wrong
        if not problems:
            studies.append(_study(row))
    n_lines = len(rows) - 1
    if not problems and n_lines < 2:
        rule = f"holds {n_lines} {'trial' if n_lines == 1 else 'trials'}, which is nothing to pool"
        problems.append(Problem(rule, "Give at least two, one a line.", "study", file=str(path)))
    counted = [study.counts for study in studies if study.counts]
    if not problems and not any(c.events_treated + c.events_control for c in counted):
        rule = "are 0 in every arm of every trial: nothing can be estimated"
        remedy = "Check the columns, or pool an outcome that occurred."
        problems.append(Problem(rule, remedy, "events", file=str(path)))
    if problems:
        raise ProtocolError(problems)
    return tuple(studies)


class _At(NamedTuple):
    file: str
    line: int

    def problem(self, name: str, rule: str, remedy: str, value: str = "") -> Problem:
        shown = value if len(value) <= 60 else value[:57] + "..."
        return Problem(rule, remedy, name, repr(shown) if shown else "", self.file, self.line)


def _content(path: Path, option: str, what: str) -> str:
    """Return the text of a file that may be anything."""
    where = str(path)
    if not path.is_file():
        rule = "is not a file" if path.exists() else "does not exist"
        raise ProtocolError(Problem(rule, "Name a CSV file.", option, where))
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError:
        remedy = "Check who may read it."
        raise ProtocolError(Problem("cannot be read", remedy, option, where)) from None
    if len(content) > _MAX_BYTES:
        rule = f"is larger than {_MAX_BYTES // 1_000_000} MB"
        remedy = f"A table of at most {_MAX_TRIALS:,} {what} is far smaller."
        raise ProtocolError(Problem(rule, remedy, file=where))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        remedy = "Save it as 'CSV UTF-8'."
        raise ProtocolError(Problem("is not UTF-8 text", remedy, file=where, line=line)) from None
    if odd := _ODD.search(text):
        line = text[: odd.start()].count("\n") + 1
        rule = f"holds the character U+{ord(odd[0]):04X}, which cannot be seen"
        remedy = "Remove it; columns are separated by commas."
        raise ProtocolError(Problem(rule, remedy, file=where, line=line))
    return text


def table_rows(
    path: Path, option: str = "--literature", what: str = "trials"
) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and cells of lines that are not empty, the header first.

    Parameters
    ----------
    path : Path
    option : str
        Which named the file.
    what : str
        What stands on its lines.

    Raises
    ------
    ProtocolError
        If it is no CSV table, or a large one.
    """
    text, where = _content(path, option, what), str(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[int, list[str]]] = []
    before = 0
    try:
        for cells in reader:
            if reader.line_num > before + 1:
                raise csv.Error("a cell runs over several lines")
            before = reader.line_num
            if any(cell.strip() for cell in cells):
                found.append((before, cells))
            if len(found) > _MAX_TRIALS + 1:
                rule = f"holds more than {_MAX_TRIALS:,} {what}"
                raise ProtocolError(Problem(rule, "Give fewer.", file=where, line=before))
    except csv.Error as error:
        rule = f"is not a CSV table: {error}"
        remedy = f"Put text in a pair of double quotes, one of the {what} a line."
        line = max(reader.line_num, 1)
        raise ProtocolError(Problem(rule, remedy, file=where, line=line)) from None
    yield from found


def _columns(columns: Sequence[str], file: str) -> Iterator[Problem]:
    at = _At(file, 1)
    listed = ", ".join((*_REQUIRED, *_OPTIONAL, "rob_*"))
    if len(columns) == 1 and ";" in columns[0]:
        rule, remedy = "is separated by semicolons", "Save it with commas between columns."
        yield at.problem("header", rule, remedy)
        return
    for name in _REQUIRED:
        if name not in columns:
            yield at.problem(name, "is a column that is missing", f"The columns are {listed}.")
    for index, name in enumerate(columns):
        if name in columns[:index]:
            yield at.problem(name or "header", "names two columns", "Keep one.")
        elif name not in (*_REQUIRED, *_OPTIONAL) and not re.fullmatch("rob_[a-z0-9_]{1,40}", name):
            remedy = did_you_mean(name, (*_REQUIRED, *_OPTIONAL), f"The columns are {listed}.")
            yield at.problem("header", "is not a known column", remedy, name or "(no name)")


def _several(
    columns: Sequence[str], rows: Sequence[tuple[int, list[str]]], file: str
) -> Problem | None:
    """Find the first line of another simulated literature: one file is one."""
    places = [columns.index(name) for name in _WHICH if name in columns]
    first: list[str] | None = None
    for line, cells in rows:
        if len(cells) != len(columns):
            continue  # said of the line
        own = [cells[place].strip() for place in places]
        first = own if first is None else first
        if own != first:
            rule = f"begins another literature ({', '.join(own)}) beside ({', '.join(first)})"
            remedy = "Keep the lines of one; '--export DIR' writes each to a file of its own."
            return _At(file, line).problem("literature", rule, remedy)
    return None


def _wrong_words(row: Mapping[str, str], at: _At) -> Iterator[Problem]:
    for name in ("study", "quality", "conduct"):
        text = row.get(name, "")
        if name == "study" and not text:
            yield at.problem(name, "is required", "Name the trial: Wu 2013.")
        elif len(text) > _MAX_TEXT:
            yield at.problem(name, f"must be at most {_MAX_TEXT} characters", "Shorten it.", text)
        elif text.startswith(_FORMULA):
            rule = "must not begin as a formula does"
            yield at.problem(name, rule, f"Leave out the leading '{text[0]}'.", text)
    for name, text in row.items():
        if name.startswith("rob_") and text.casefold() not in ("", *_JUDGEMENTS):
            remedy = did_you_mean(text.casefold(), _JUDGEMENTS, "Leave it empty if not judged.")
            yield at.problem(name, f"must be one of {', '.join(_JUDGEMENTS)}", remedy, text)


def _wrong_counts(row: Mapping[str, str], at: _At) -> Iterator[Problem]:
    counts: dict[str, int | None] = {}
    for name, least, most in (
        *((name, int(name.startswith("n_")), _MAX_PATIENTS) for name in COUNT_COLUMNS),
        ("centres", 1, 100_000),
    ):
        if name not in row:
            continue  # said of the header
        text = row[name]
        if not text and name == "centres":
            continue
        problem, number = _whole(name, text, least, most, at)
        if problem:
            yield problem
        counts[name] = number
    for arm in ("treated", "control"):
        events, n = counts.get(f"events_{arm}"), counts.get(f"n_{arm}")
        if events is not None and n is not None and events > n:
            rule, remedy = f"must be at most n_{arm}, {n}", "Check whether the columns are swapped."
            yield at.problem(f"events_{arm}", rule, remedy, str(events))


def _whole(
    name: str, text: str, least: int, most: int, at: _At
) -> tuple[Problem | None, int | None]:
    if not text:
        remedy = "Write the number; leave the trial out where it is not published."
        return at.problem(name, "is required", remedy), None
    if not re.fullmatch(r"[-+]?[0-9]{1,12}", text, flags=re.ASCII):
        remedy = "Write patients as plain digits, 47: no decimals, percent or thousands separator."
        return at.problem(name, "must be a whole number", remedy, text), None
    number = int(text)
    if number < least:
        remedy = "Write how many there were."
        return at.problem(name, f"must be at least {least}", remedy, text), None
    if number > most:
        return at.problem(name, f"must be at most {most:,}", "Check the number.", text), None
    return None, number


def _study(row: Mapping[str, str]) -> PublishedStudy:
    rob = {name: text.casefold() for name, text in row.items() if name.startswith("rob_") and text}
    centres = row.get("centres")
    return PublishedStudy(
        row["study"],
        row["study"],
        Counts(*(int(row[name]) for name in COUNT_COLUMNS)),
        centres=int(centres) if centres else None,
        quality=row.get("quality", "").casefold(),
        rob=rob,
    )


def recorded_trials(resolved: ResolvedTemplate, wanted: Sequence[str] = ()) -> PublishedTrials:
    """Return the published records that are pooled.

    Parameters
    ----------
    resolved : ResolvedTemplate
    wanted : sequence of str
        ``RECORD`` or ``RECORD:RESULT``, trials by their counts or pools by what they state. Without
        any, the trials that ``observed:`` names; its pools are then shown beside them.

    Raises
    ------
    RequestError
        Where one is unknown, has no counts or interval, or two rest on the same patients.
    """
    template, evidence = resolved.template, resolved.evidence
    summary = _measure(resolved, "--observed")
    references = [_reference(word) for word in wanted] or list(template.observed)
    problems: list[Problem] = []
    studies: list[PublishedStudy] = []
    beside: dict[str, str] = {}
    for reference in references:
        record = evidence.records.get(reference.evidence)
        if not wanted and isinstance(record, Pool):
            shared = ", ".join(
                id_ for id_ in record.includes if id_ in _trials(references, evidence)
            )
            beside[record.id] = f"includes {shared}" if shared else "a pool, not a trial"
            continue
        found = _recorded(reference, summary, resolved)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            studies.append(found)
    pooled = [r.evidence for r in references if r.evidence not in beside]
    problems += _overlaps(pooled, evidence)
    if not problems and len(studies) < 2:
        rule = f"leaves {len(studies)} published records, which is nothing to pool"
        remedy = "Name at least two with --record ID, or a table with --literature FILE.csv."
        problems.append(Problem(rule, remedy, "--observed"))
    if problems:
        raise RequestError(problems)
    name = "records named" if wanted else f"trials observed: names in {template.id}"
    return PublishedTrials(name, summary, tuple(studies), True, beside)


def _trials(references: Sequence[ObservedReference], evidence: Evidence) -> set[str]:
    ids = [reference.evidence for reference in references]
    return {id_ for id_ in ids if isinstance(evidence.records.get(id_), Trial)}


def _reference(word: str) -> ObservedReference:
    record, _, result = word.partition(":")
    try:
        return ObservedReference(evidence=record, result=result or None)
    except ValueError:
        rule, remedy = "must be RECORD or RECORD:RESULT", "'trialsim evidence' lists the records."
        raise RequestError(Problem(rule, remedy, "--record", repr(word))) from None


def _recorded(
    reference: ObservedReference, summary: Summary, resolved: ResolvedTemplate
) -> PublishedStudy | Problem:
    evidence, own = resolved.evidence, resolved.template.protocol
    record = evidence.records.get(reference.evidence)

    def refused(rule: str, remedy: str) -> Problem:
        return Problem(rule, remedy, f"--record {reference.evidence}")

    if isinstance(record, Trial):
        result = record.result(reference.result or own.primary.id)
        risks = record.risks(result.id) if result else None
        if not result or not risks or not result.experimental or not result.control:
            has = [r.id for r in record.results if record.risks(r.id)]
            rule = f"has no result '{reference.result or own.primary.id}' with events and patients"
            remedy = f"Write --record {record.id}:{has[0]}." if has else "Leave it out."
            return refused(rule, remedy)
        arms = (result.experimental, result.control)
        counts = Counts(*(number or 0 for arm in arms for number in (arm.events, arm.n)))
        at = f", {result.at.in_words(own.therapy)}" if result.at else ""
        return PublishedStudy(
            record.id,
            record.title,
            counts,
            status=resolved.estimate_status(record.id, result.id),
            counts_status=resolved.weakest_status(record.id, result.id),
            outcome=f"{result.outcome}{at}",
            centres=record.design.centres,
        )
    if isinstance(record, Pool):
        stated = [e for e in record.effects if e.measure.value == summary.value and e.ci]
        if not stated:
            return refused(f"states no {summary} with its interval", "Leave it out.")
        effect = stated[0]
        assert effect.ci is not None
        at = f", {record.at.in_words(own.therapy)}" if record.at else ""
        return PublishedStudy(
            record.id,
            record.title,
            None,
            PublishedEstimate(effect.value, *effect.ci),
            status=effect.status.value,
            outcome=f"{record.outcome}{at}",
        )
    if record is None:
        known = (r.id for r in evidence.records.values() if isinstance(r, Trial | Pool))
        remedy = did_you_mean(reference.evidence, known, "'trialsim evidence' lists the records.")
        return refused("is not a known record", remedy)
    return refused(f"is a {record.kind}, which has nothing to pool", "Name a trial or a pool.")


def _overlaps(ids: Sequence[str], evidence: Evidence) -> Iterator[Problem]:
    """Find pairs of records that rest on the same patients, or may."""
    known = [id_ for id_ in ids if id_ in evidence.records]
    for one, other in combinations(known, 2):
        first, second = evidence.records[one], evidence.records[other]
        both_pools = isinstance(first, Pool) and isinstance(second, Pool)
        outer, inner = (one, other) if isinstance(first, Pool) else (other, one)
        field = f"--record {outer}"
        if one == other:
            rule, remedy = "is named twice", "Name it once: patients must not count twice."
            yield Problem(rule, remedy, field)
        elif evidence.shares_patients(one, other):
            verb = "includes" if isinstance(evidence.records[outer], Pool) else "may be the same as"
            verb = "shares trials with" if both_pools else verb
            rule = f"{verb} {inner}: pooled together, patients would count twice"
            yield Problem(rule, f"Leave one out: {outer} or {inner}.", field)
        elif unsure := _composition_unknown(first, second, evidence):
            rule = f"may hold patients of {inner if unsure == outer else outer}"
            rule += ": which trials it pools is not recorded in full"
            remedy = f"Leave {unsure} out; trials known to differ can be given by --literature."
            yield Problem(rule, remedy, f"--record {unsure}")


def _composition_unknown(first: object, second: object, evidence: Evidence) -> str:
    """Return the id of a pool whose trials are not all recorded; strata of one review may differ.

    Two strata differ where together they have no more trials than the whole of their review.
    """
    pools = [record for record in (first, second) if isinstance(record, Pool)]
    if len(pools) == 2 and pools[0].doi and pools[0].doi == pools[1].doi:
        whole = [r for r in evidence.records.values() if isinstance(r, Pool)]
        numbers = [r.n_trials or 0 for r in whole if r.doi == pools[0].doi]
        if all(p.n_trials for p in pools) and sum(p.n_trials or 0 for p in pools) <= max(numbers):
            return ""
    unknown = (p.id for p in pools if p.n_trials is None or len(p.includes) < p.n_trials)
    return next(unknown, "")
