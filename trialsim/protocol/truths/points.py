"""Published numbers a course of response can be fitted to: counts, odds ratios and rates.

A point is named ``RECORD``, ``RECORD:RESULT`` or ``RECORD:RESULT:control``; ``@18 mo`` places a
result whose time is not published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, sqrt

from pydantic_core import PydanticCustomError

from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.protocol.published.evidence import (
    EffectMeasure,
    EvidenceRecord,
    NaturalHistory,
    Pool,
    Quantity,
    Status,
    Trial,
    TrialResult,
)
from trialsim.protocol.quantities import Clock, Duration, Time, months
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.template import Template

__all__ = ["CountPoint", "OddsRatioPoint", "Point", "Points", "RatePoint", "points_from_words"]

_SAME_DAY = 0.5
_Z95 = 1.959963984540054
_ARMS = ("control", "treated")
_RATE_UNIT = "per 100 person-years"
_OPTION = "--to"


@dataclass(frozen=True)
class CountPoint:
    """Patients of one arm in response on a day.

    Attributes
    ----------
    record, result : str
    arm : str
        ``control`` or ``treated``.
    day : float
        Since entry.
    events, n : int
    status : Status
    """

    record: str
    result: str
    arm: str
    day: float
    events: int
    n: int
    status: Status

    @property
    def seen(self) -> str:
        """What was seen, in words."""
        return f"{self.events}/{self.n}"


@dataclass(frozen=True)
class OddsRatioPoint:
    """A log odds ratio of response on a day, treated to control, with its standard error."""

    record: str
    day: float
    value: float
    error: float
    status: Status
    result: str = ""
    arm: str = "both"

    @property
    def seen(self) -> str:
        """What was seen, in words."""
        return f"OR {exp(self.value):.2f}"


@dataclass(frozen=True)
class RatePoint:
    """A log rate of response per year without treatment, with its standard error.

    The error is 1 / sqrt(events), as for a Poisson count.
    """

    record: str
    result: str
    value: float
    error: float
    events: int
    status: Status
    arm: str = "control"

    @property
    def seen(self) -> str:
        """What was seen, in words."""
        return f"{100 * exp(self.value):.3g} per 100 py"


Point = CountPoint | OddsRatioPoint | RatePoint


@dataclass(frozen=True)
class Points:
    """What a course is fitted to.

    Attributes
    ----------
    points : tuple of Point
        Counts in order of record, arm and day; then odds ratios; then rates.
    assumed : tuple of str
        What had to be assumed to read them, each a sentence.
    """

    points: tuple[Point, ...]
    assumed: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[str, ...]:
        """Evidence ids, each once."""
        return tuple(dict.fromkeys(point.record for point in self.points))

    @property
    def last_day(self) -> float:
        """The latest day of which a point speaks; 0 where all are rates."""
        return max((p.day for p in self.points if not isinstance(p, RatePoint)), default=0.0)


def points_from_words(words: Sequence[str], template: Template, evidence: Evidence) -> Points:
    """Read ``--to`` words.

    Raises
    ------
    RequestError
        For what is not known, has no counts or no time, or shares patients; all at once.
    """
    reader = _Reader(template, evidence)
    for word in words:
        reader.read(word)
    problems = [*reader.problems, *_overlaps(reader.points, evidence)]
    if problems:
        raise RequestError(problems)
    order = {record: i for i, record in enumerate(dict.fromkeys(p.record for p in reader.points))}
    kinds = (CountPoint, OddsRatioPoint, RatePoint)

    def rank(point: Point) -> tuple[int, int, str, float]:
        day = 0.0 if isinstance(point, RatePoint) else point.day
        return kinds.index(type(point)), order[point.record], point.arm, day

    weak = [
        f"{_name(p)} is {p.status}: it was not read in a publication."
        for p in reader.points
        if p.status.is_weak
    ]
    assumed = [*reader.assumed, *weak, *_same_publication(reader.points, evidence)]
    return Points(tuple(sorted(reader.points, key=rank)), tuple(dict.fromkeys(assumed)))


class _Reader:
    """Collects points and everything that is wrong with what was typed."""

    def __init__(self, template: Template, evidence: Evidence) -> None:
        regimen = template.protocol.experimental.regimen
        self.therapy, self.drug = template.protocol.therapy, regimen.drug if regimen else ""
        self.evidence = evidence
        self.points: list[Point] = []
        self.assumed: list[str] = []
        self.problems: list[Problem] = []

    def refuse(self, word: str, rule: str, remedy: str) -> None:
        self.problems.append(Problem(rule, remedy, _OPTION, f"'{word}'"))

    def read(self, word: str) -> None:
        parts = re.fullmatch(r"([^:@]+)(?::([^:@]+))?(?::([^:@]+))?(?:@(.+))?", word.strip())
        if parts is None:
            remedy = "Write for example --to chien-1998:complete-response-18mo."
            return self.refuse(word, "is not RECORD or RECORD:RESULT", remedy)
        name, result, arm, time = (part and part.strip() for part in parts.groups())
        record = self.evidence.records.get(name)
        if record is None:
            listed = "'trialsim evidence' lists them."
            remedy = did_you_mean(name, self.evidence.records, listed)
            return self.refuse(word, "names no known evidence record", remedy)
        if arm is not None and arm not in _ARMS:
            return self.refuse(word, f"names no arm: '{arm}'", "Write :control or :treated.")
        at = None
        if time is not None:
            try:
                at = Time.model_validate({"after": Duration.parse(time), "from": Clock.ENTRY})
            except PydanticCustomError:
                remedy = "Write for example @18 mo, since entry."
                return self.refuse(word, f"has no length of time behind '@': '{time}'", remedy)
        match record:
            case Trial():
                self.of_trial(word, record, result, arm, at)
            case Pool():
                self.of_pool(word, record, result, at)
            case NaturalHistory():
                self.of_natural_history(word, record, result)
            case _:
                rule = f"is a record of kind {record.kind}, which holds no results to fit"
                self.refuse(word, rule, "Name a trial, a pool or a natural history.")
        return None

    def of_trial(
        self, word: str, record: Trial, name: str | None, arm: str | None, at: Time | None
    ) -> None:
        known = [result.id for result in record.results]
        if name is not None and name not in known:
            remedy = did_you_mean(name, known, f"Its results are {', '.join(known)}.")
            return self.refuse(word, f"names no result of {record.id}: '{name}'", remedy)
        chosen = [r for r in record.results if name in (None, r.id)]
        if name is None:
            chosen = [r for r in chosen if r.at and any(_arms_of(r))]
        if not chosen:
            rule = "has no result with counts and a time"
            return self.refuse(word, rule, f"'trialsim evidence show {record.id}' prints it.")
        for result in chosen:
            self.of_result(word, record, result, arm, at)
        return None

    def of_result(
        self, word: str, record: Trial, result: TrialResult, arm: str | None, at: Time | None
    ) -> None:
        full = f"{record.id}:{result.id}"
        if not any(_arms_of(result)):
            rule = f"states no counts: {full} has no events among n patients"
            return self.refuse(word, rule, "Name a result with counts, or a pool's odds ratio.")
        time = result.at or at
        if time is None:
            rule = f"has no time: when the responses of {full} came is not published"
            remedy = f'Place it, as an assumption: --to "{full}@18 mo".'
            return self.refuse(word, rule, remedy)
        if result.at is None:
            self.assumed.append(f"The time of {full} is not published; placed at {time.after}.")
        elif at is not None:
            rule, remedy = f"has a time of its own: {result.at.after}", "Leave '@' out."
            return self.refuse(word, rule, remedy)
        day = self.day_of(time, record)
        for side, (events, n), status in _arms_of(result):
            if arm in (None, side):
                self.points.append(CountPoint(record.id, result.id, side, day, events, n, status))
        return None

    def day_of(self, time: Time, record: EvidenceRecord) -> float:
        """Return the day since entry; the end of therapy is that of the template."""
        if time.clock is Clock.END_OF_THERAPY and self.therapy:
            lengths = [
                r.regimen.length.days
                for r in (record.regimens if isinstance(record, Trial) else ())
                if r.regimen.drug == self.drug and r.regimen.length
            ]
            if lengths and all(abs(length - self.therapy.days) > 7 for length in lengths):
                self.assumed.append(
                    f"Therapy in {record.id} lasted {months(lengths[0])}; its times after therapy "
                    f"count from {self.therapy}, as in the template."
                )
        return time.days_after_entry(self.therapy)

    def of_pool(self, word: str, record: Pool, name: str | None, at: Time | None) -> None:
        found = [e for e in record.effects if e.measure is EffectMeasure.ODDS_RATIO and e.ci]
        if name is not None:
            return self.refuse(word, "is a pool, which has no results by name", "Leave ':' out.")
        if not found:
            rule = "gives no odds ratio with its interval"
            return self.refuse(word, rule, "Only odds ratios of pools can be fitted.")
        time = record.at or at
        if time is None:
            remedy = f'Place it, as an assumption: --to "{record.id}@18 mo".'
            return self.refuse(word, "has no time", remedy)
        if record.at is None:
            self.assumed.append(f"{record.id} gives no time; placed at {time.after}.")
        effect, ends = found[0], found[0].ci
        assert ends is not None  # asked for above
        if not 0 < ends[0] < ends[1]:
            return self.refuse(word, "has an interval without width", "Check the record.")
        error = log(ends[1] / ends[0]) / (2 * _Z95)
        day = self.day_of(time, record)
        self.points.append(OddsRatioPoint(record.id, day, log(effect.value), error, effect.status))
        return None

    def of_natural_history(self, word: str, record: NaturalHistory, name: str | None) -> None:
        known = [q.id for q in record.quantities]
        if name is not None and name not in known:
            remedy = did_you_mean(name, known, f"Its quantities are {', '.join(known)}.")
            return self.refuse(word, f"names no quantity of {record.id}: '{name}'", remedy)
        chosen = [q for q in record.quantities if name == q.id or (name is None and _is_rate(q))]
        if not chosen or not all(_is_rate(q) for q in chosen):
            rule = f"states no rate {_RATE_UNIT} with its number of events"
            return self.refuse(word, rule, f"'trialsim evidence show {record.id}' prints it.")
        for q in chosen:
            assert q.value  # by _is_rate
            assert q.events
            self.points.append(
                RatePoint(
                    record.id, q.id, log(q.value / 100), 1 / sqrt(q.events), q.events, q.status
                )
            )
        return None


def _arms_of(result: TrialResult) -> Iterator[tuple[str, tuple[int, int], Status]]:
    for side, arm in (("control", result.control), ("treated", result.experimental)):
        if arm and arm.events is not None and arm.n is not None:
            yield side, (arm.events, arm.n), arm.status


def _is_rate(quantity: Quantity) -> bool:
    return quantity.unit == _RATE_UNIT and bool(quantity.value) and bool(quantity.events)


def _overlaps(points: Sequence[Point], evidence: Evidence) -> Iterator[Problem]:
    """Find points that count the same patients twice; one problem for each group of them."""
    clashes: dict[tuple[str, str], dict[str, None]] = {}
    for one, other in combinations(points, 2):
        if why := _why_shared(one, other, evidence):
            found = clashes.setdefault((why, one.record), {})
            found |= dict.fromkeys((_name(one), _name(other)))
    for (why, _), names in clashes.items():
        if len(names) == 1:
            yield Problem("is named twice", "Name it once.", _OPTION, f"'{next(iter(names))}'")
            continue
        rule = f"names {', '.join(names)}, which share patients: {why}"
        choices = ", or ".join(f"--to {name}" for name in names)
        yield Problem(rule, f"Name one of them: {choices}.", _OPTION)


def _why_shared(one: Point, other: Point, evidence: Evidence) -> str:
    if one.record == other.record:
        return "one arm of one trial on one day" if _same_arm_and_day(one, other) else ""
    if evidence.shares_patients(one.record, other.record):
        return "one contains the other, or both contain the same trial"
    if _same_arm_and_day(one, other) and _one_publication(one, other, evidence):
        return "one publication and one day"
    return ""


def _same_arm_and_day(one: Point, other: Point) -> bool:
    if isinstance(one, RatePoint) or isinstance(other, RatePoint):
        return isinstance(one, RatePoint) and isinstance(other, RatePoint)
    return one.arm == other.arm and abs(one.day - other.day) < _SAME_DAY


def _name(point: Point) -> str:
    return f"{point.record}:{point.result}" if point.result else point.record


def _one_publication(one: Point, other: Point, evidence: Evidence) -> bool:
    found = _doi(one, evidence)
    return found is not None and found == _doi(other, evidence)


def _doi(point: Point, evidence: Evidence) -> str | None:
    return evidence.records[point.record].doi


def _same_publication(points: Sequence[Point], evidence: Evidence) -> Iterator[str]:
    """Say which estimates may rest on the same patients without a record saying so."""
    pools = [p for p in points if isinstance(p, OddsRatioPoint)]
    for doi in dict.fromkeys(_doi(p, evidence) for p in pools):
        own = [p.record for p in pools if _doi(p, evidence) == doi]
        if doi and len(own) > 1:
            yield (
                f"{', '.join(own)} are one publication at several times: the same patients, taken "
                "as independent."
            )
    for pool in pools:
        record = evidence.records[pool.record]
        others = [p.record for p in points if _doi(p, evidence) != _doi(pool, evidence)]
        if isinstance(record, Pool) and not record.includes and others:
            yield (
                f"Which trials {pool.record} pooled is not recorded: it may hold patients of "
                f"{', '.join(dict.fromkeys(others))}."
            )
