"""What the declared checks of an evidence record name must be there, and be of the right kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.published.checks import (
    ArmsOf,
    CountsBehind,
    DeclaredCheck,
    PartsOfWhole,
    RangeOfDurations,
    RatioOfPercentages,
    SumOf,
    TwoMeans,
    TwoPercentages,
)
from trialsim.protocol.published.evidence import (
    EvidenceRecord,
    IntervalKind,
    MetaEpidemiology,
    Pool,
    Trial,
)
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.rules.template import Broken

__all__ = ["check_rules"]

Path = tuple[str | int, ...]
_WITH_SD = (("before",), ("after",))


def check_rules(records: Iterable[EvidenceRecord], evidence: Evidence) -> Iterator[Broken]:
    """Find declared checks that name a result, quantity or record which is not there."""
    for index, record in enumerate(records):
        for number, check in enumerate(record.checks):
            here = ("evidence", index, "checks", number)
            yield from _quantities(check, record, here)
            yield from _results(check, record, evidence, here)


def _quantities(check: DeclaredCheck, record: EvidenceRecord, here: Path) -> Iterator[Broken]:
    known = {quantity.id: quantity for quantity in record.quantities}
    for where, name in _named(check):
        if name not in known:
            remedy = did_you_mean(name, known, f"It has {', '.join(known) or 'none'}.")
            yield Broken((*here, *where), "is not a quantity of this record", remedy)
            continue
        quantity = known[name]
        if quantity.value is None:
            rule = "is a quantity without a value"
            yield Broken((*here, *where), rule, "Name one with a value.")
        elif isinstance(check, CountsBehind) and not 0 <= quantity.value <= 100:
            rule = f"is not a percentage between 0 and 100, but {quantity.value:g}"
            yield Broken((*here, *where), rule, "Check the quantity against its source.")
        elif where in _WITH_SD and quantity.interval_kind is not IntervalKind.STANDARD_DEVIATION:
            rule, remedy = "needs its SD", 'Add interval with interval_kind "mean -+ SD".'
            yield Broken((*here, *where), rule, remedy)


def _named(check: DeclaredCheck) -> Iterator[tuple[Path, str]]:
    """Return every quantity a check names, and where in it."""
    for key in ("experimental", "control", "p", "p_below", "before", "after", "n", "percent"):
        if isinstance(name := getattr(check, key, None), str):
            yield (key,), name
    for key in ("value", "total"):
        if isinstance(name := getattr(check, key, None), str):
            yield (key,), name
    several = {CountsBehind: "percentages", SumOf: "parts"}.get(type(check))
    for index, each in enumerate(getattr(check, several) if several else ()):
        if isinstance(each, str):
            yield (several or "", index), each


def _results(
    check: DeclaredCheck, record: EvidenceRecord, evidence: Evidence, here: Path
) -> Iterator[Broken]:
    own = [result.id for result in record.results] if isinstance(record, Trial) else []
    if (result := getattr(check, "result", None)) is not None and result not in own:
        remedy = did_you_mean(result, own, f"It has {', '.join(own) or 'none'}.")
        yield Broken((*here, "result"), "is not a result of this record", remedy)
    match check:
        case PartsOfWhole():
            yield from _parts(check, record, own, evidence, here)
        case RatioOfPercentages():
            known = [e.id for e in record.estimates] if isinstance(record, MetaEpidemiology) else []
            if check.effect not in known:
                remedy = did_you_mean(check.effect, known, f"It has {', '.join(known) or 'none'}.")
                yield Broken((*here, "effect"), "is not an estimate of this record", remedy)
        case RangeOfDurations():
            for number, name in enumerate(check.records):
                yield from _trial(name, evidence, (*here, "records", number))
        case TwoPercentages() | TwoMeans():
            yield from _arms(check.arms, evidence, (*here, "arms"))


def _parts(
    check: PartsOfWhole, record: EvidenceRecord, own: list[str], evidence: Evidence, here: Path
) -> Iterator[Broken]:
    if isinstance(record, Trial) and check.result is None:
        remedy = f"Add result: one of {', '.join(own)}."
        yield Broken(here, "must name the result the parts make up", remedy)
    elif not isinstance(record, Trial | Pool):
        yield Broken(here, "belongs to a trial or a pool", "Move it to the record of the whole.")
    for number, part in enumerate(check.parts):
        if part in own or part in evidence.unread or isinstance(evidence.records.get(part), Pool):
            continue
        rule = "is neither a result of this record nor a pool"
        remedy = did_you_mean(part, [*own, *evidence.records], "Name what it consists of.")
        yield Broken((*here, "parts", number), rule, remedy)


def _trial(name: str, evidence: Evidence, here: Path) -> Iterator[Broken]:
    if name not in evidence.unread and not isinstance(evidence.records.get(name), Trial):
        remedy = did_you_mean(name, evidence.records, "'trialsim evidence' lists them.")
        yield Broken(here, "is not a trial", remedy)


def _arms(arms: ArmsOf, evidence: Evidence, here: Path) -> Iterator[Broken]:
    yield from _trial(arms.evidence, evidence, (*here, "evidence"))
    trial = evidence.records.get(arms.evidence)
    if not isinstance(trial, Trial):
        return
    result = trial.result(arms.result)
    if result is None:
        remedy = f"It has {', '.join(r.id for r in trial.results)}."
        yield Broken((*here, "result"), f"is not a result of {trial.id}", remedy)
    elif not all(arm and arm.n for arm in (result.experimental, result.control)):
        rule = "has no numbers of patients in both arms"
        yield Broken((*here, "result"), rule, "Name a result that has.")
