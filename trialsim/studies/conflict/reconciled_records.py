"""Published effects as records that enter a reconciliation: log ratios with their errors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import exp, log, sqrt
from typing import NamedTuple

from trialsim.errors import Problem, RequestError
from trialsim.protocol.published.evidence import ArmResult, Status, Trial
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.reconciliation import OneEstimate, PublishedEffect
from trialsim.protocol.rules.reconciliation import published_ratio

__all__ = ["Entered", "contrast_entered", "entered"]

_Z95 = 1.959963984540054


class Entered(NamedTuple):
    """A number that enters: log ratio with its error, as published, and how far it is relied on."""

    value: float
    error: float
    status: Status
    said: str
    from_counts: bool = False


def entered(source: PublishedEffect, evidence: Evidence) -> Entered:
    """Return a published effect, or what is left of a pool when some of its parts are taken off.

    What is left is that of inverse-variance weights; its error holds what the rounding of published
    numbers leaves open, each uniform within its last digit.
    """
    whole = _one(source, evidence)
    if not source.less:
        return whole
    parts = [_one(other, evidence) for other in source.less]
    numbers = [whole, *parts]
    value, error = _rest(*((e.value, e.error) for e in numbers))
    if not error > 0:
        rule = f"leaves nothing: the parts of '{source.evidence}' weigh as much as all of it"
        raise RequestError(Problem(rule, "Leave out `less`, or the record.", "records"))
    rounding = 0.0
    for place, (origin, one) in enumerate(zip((source, *source.less), numbers, strict=True)):
        if one.from_counts:
            continue
        ends = []
        for moved in _rounded(origin, evidence):
            pairs = [(e.value, e.error) for e in numbers]
            pairs[place] = moved
            ends.append(_rest(*pairs)[0])
        for low, high in zip(ends[::2], ends[1::2], strict=True):
            rounding += (high - low) ** 2 / 12
    status = Status.DERIVED if not any(e.status.is_weak for e in numbers) else Status.DOCUMENT
    names = " and ".join(dict.fromkeys(other.evidence for other in source.less))
    said = f"{source.evidence} less {names}"
    return Entered(value, sqrt(error**2 + rounding), status, said)


def _rest(whole: tuple[float, float], *parts: tuple[float, float]) -> tuple[float, float]:
    """Return what is left of an inverse-variance mean when parts of it are taken off."""
    weight = whole[1] ** -2 - sum(error**-2 for _, error in parts)
    if weight <= 0:
        return float("nan"), float("nan")
    total = whole[0] * whole[1] ** -2 - sum(value * error**-2 for value, error in parts)
    return total / weight, weight**-0.5


def _rounded(source: OneEstimate, evidence: Evidence) -> Iterator[tuple[float, float]]:
    """Yield value and error with each of the three published numbers at both ends of its rounding.

    Published to two decimals.
    """
    found = published_ratio(source, evidence)
    assert found is not None
    assert found.ci is not None
    for which, sign in product(range(3), (-1, 1)):
        numbers = [found.value, *found.ci]
        numbers[which] += sign * 0.005
        yield log(numbers[0]), log(numbers[2] / numbers[1]) / (2 * _Z95)


def _one(source: OneEstimate, evidence: Evidence) -> Entered:
    record = evidence.records[source.evidence]
    if isinstance(record, Trial):
        result = record.result(source.result or "")
        assert result is not None
        treated, control = result.experimental, result.control
        if treated and control and (tables := _table(treated, control)):
            a, n1, b, n0 = tables
            add = 0.5 if 0 in (a, b, n1 - a, n0 - b) else 0.0
            cells = [x + add for x in (a, n1 - a, b, n0 - b)]
            value = log(cells[0] * cells[3] / (cells[1] * cells[2]))
            error = sqrt(sum(1 / x for x in cells))
            status = max((treated.status, control.status), key=list(Status).index)
            return Entered(value, error, status, f"{a}/{n1} v {b}/{n0}", from_counts=True)
    found = published_ratio(source, evidence)
    assert found is not None
    assert found.ci is not None
    error = log(found.ci[1] / found.ci[0]) / (2 * _Z95)
    return Entered(log(found.value), error, found.status, str(found).partition(", P")[0])


def contrast_entered(name: str, first: str, second: str, evidence: Evidence) -> Entered:
    """Return the ratio of the effects in two parts of one trial."""
    a, b = (_one(OneEstimate(evidence=name, result=r), evidence) for r in (first, second))
    status = max((a.status, b.status, Status.DERIVED), key=list(Status).index)
    said = f"{exp(a.value):.2f} v {exp(b.value):.2f}"
    return Entered(a.value - b.value, sqrt(a.error**2 + b.error**2), status, said)


def _table(treated: ArmResult, control: ArmResult) -> tuple[int, int, int, int] | None:
    a, n1, b, n0 = treated.events, treated.n, control.events, control.n
    if a is None or n1 is None or b is None or n0 is None:
        return None
    return a, n1, b, n0
