"""What a reconciliation names must be there, and nobody's patients may enter twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from trialsim.errors import did_you_mean
from trialsim.protocol.published.evidence import (
    EffectEstimate,
    EffectMeasure,
    MetaEpidemiology,
    Pool,
    Trial,
)
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.reconciliation import (
    BiasSource,
    Explanation,
    Filtering,
    OneEstimate,
    PublishedEffect,
    Reconciliation,
    Shift,
)
from trialsim.protocol.rules.template import Broken

__all__ = ["published_ratio", "reconciliation_rules"]

_Place = tuple[str | int, ...]


def published_ratio(source: OneEstimate, evidence: Evidence) -> EffectEstimate | None:
    """Return the ratio with an interval that a source states; None where it states none."""
    record = evidence.records.get(source.evidence)
    effects: tuple[EffectEstimate, ...] = ()
    if isinstance(record, Pool):
        effects = record.effects
    elif isinstance(record, Trial) and (result := record.result(source.result or "")):
        effects = result.effects
    ratios = [e for e in effects if e.ci and e.value > 0]
    wanted = (EffectMeasure.ODDS_RATIO, EffectMeasure.HAZARD_RATIO)
    return next((e for m in wanted for e in ratios if e.measure is m), None)


def reconciliation_rules(file: Reconciliation, evidence: Evidence) -> Iterator[Broken]:
    """Find records and estimates that are not there, and patients that would count twice."""
    for i, record in enumerate(file.records):
        for key in ("effect", "instead"):
            source: PublishedEffect | None = getattr(record, key)
            if source is not None:
                yield from _states_an_effect(("records", i, key), source, evidence)
                for j, other in enumerate(source.less):
                    yield from _states_an_effect(("records", i, key, "less", j), other, evidence)
    yield from _overlaps(file, evidence)
    for i, contrast in enumerate(file.contrasts):
        for key in ("first", "second"):
            one = OneEstimate(evidence=contrast.evidence, result=getattr(contrast, key))
            yield from _states_an_effect(("contrasts", i, key), one, evidence)
    yield from _biases(file.explanations, (), evidence)
    for i, alternative in enumerate(file.alternatives):
        yield from _biases(alternative.explanations, ("alternatives", i), evidence)


def _biases(
    explanations: Sequence[Explanation], within: _Place, evidence: Evidence
) -> Iterator[Broken]:
    for i, own in enumerate(explanations):
        here: _Place = (*within, "explanations", i)
        if isinstance(own, Filtering):
            yield from _states_a_bias((*here, "odds_ratio"), own.odds_ratio, evidence)
        if isinstance(own, Shift):
            for level, size in own.levels.items():
                for j, bias in enumerate(size.sources):
                    place = (*here, "levels", level, "sources", j)
                    yield from _states_a_bias(place, bias, evidence)


def _states_an_effect(
    location: _Place, source: OneEstimate, evidence: Evidence
) -> Iterator[Broken]:
    record = evidence.records.get(source.evidence)
    if record is None:
        remedy = did_you_mean(
            source.evidence, evidence.known_ids, "'trialsim evidence' lists them."
        )
        yield Broken(location, "names no known evidence", remedy)
    elif isinstance(record, Trial) and record.result(source.result or "") is None:
        names = [result.id for result in record.results]
        remedy = did_you_mean(source.result or "", names, f"Its results: {', '.join(names)}.")
        yield Broken(location, "names no result of this trial", remedy)
    elif isinstance(record, Trial) and record.risks(source.result or ""):
        return
    elif published_ratio(source, evidence) is None:
        remedy = "Name a result with counts in both arms, or an odds or hazard ratio with interval."
        yield Broken(location, "states no effect with its error", remedy)


def _states_a_bias(location: _Place, source: BiasSource, evidence: Evidence) -> Iterator[Broken]:
    record = evidence.records.get(source.evidence)
    if not isinstance(record, MetaEpidemiology):
        yield Broken(location, "names no meta-epidemiological record", "Name one, as brando-2012.")
        return
    found = next((e for e in record.estimates if e.id == source.estimate), None)
    if found is None or found.ci is None:
        names = [e.id for e in record.estimates if e.ci]
        remedy = did_you_mean(source.estimate, names, f"Name one of {', '.join(names)}.")
        yield Broken(location, "names no estimate with an interval", remedy)


def _overlaps(file: Reconciliation, evidence: Evidence) -> Iterator[Broken]:
    for (_, one), (j, other) in combinations(enumerate(file.records), 2):
        for key in ("effect", "instead"):
            a = getattr(one, key) or one.effect
            b = getattr(other, key) or other.effect
            if not evidence.shares_patients(a.evidence, b.evidence):
                continue
            taken_off = any(
                evidence.shares_patients(x.evidence, rest.evidence)
                for whole, rest in ((a, b), (b, a))
                for x in whole.less
            )
            if not taken_off:
                rule = f"rests on some of the same patients as '{one.id}'"
                remedy = "Leave one out, or take it off the other with `less`."
                yield Broken(("records", j, key if getattr(other, key) else "effect"), rule, remedy)
                break
