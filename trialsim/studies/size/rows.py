"""The rows of a sized design: each number with what it is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf, isnan
from typing import TYPE_CHECKING

from trialsim.characteristics import Characteristic
from trialsim.studies.size.prior import prior_in_words
from trialsim.studies.size.reestimation import Reestimated
from trialsim.studies.size.screening import screening_rows
from trialsim.trial import Measure, Row

if TYPE_CHECKING:
    from trialsim.studies.size.planned import PlannedSize

__all__ = ["belief_rows", "reestimated_rows", "seen_rows", "size_rows", "table_rows"]

_NO_EFFECT_SCALE = "of a margin of two risks only z is shown"


def reestimated_rows(blank: Row, again: tuple[Reestimated, ...]) -> Iterator[Row]:
    """Yield what computing the size again does to error, power and size."""
    blank = replace(blank, source=None, status=None)
    for found in again:
        where = f"control risk {found.control_risk:.4g}, {found.truth}"
        for what, c in (
            (f"size computed again; {where}", found.rejected),
            (f"size as planned; {where}", found.rejected_fixed),
            (f"size computed again; {where}", found.expected_n),
            (f"size computed again; {where}", found.at_maximum),
        ):
            yield c.row(replace(blank, analysis=what))


def size_rows(planned: PlannedSize, blank: Row, simulated: Characteristic) -> Iterator[Row]:
    """Yield the size, its power by formula and simulated, and its looks."""
    n1, n0 = planned.arms
    yield replace(
        blank,
        measure=Measure.N_TOTAL,
        value=float(planned.total),
        level=planned.request.power,
        unit="patients",
        headline=True,
    )
    for arm, n in ((planned.protocol.experimental, n1), (planned.protocol.control, n0)):
        yield replace(blank, measure=Measure.N_PER_ARM, value=float(n), arm=arm.id, unit="patients")
    yield replace(
        blank,
        measure=Measure.N_TOTAL,
        value=float(planned.total_with_loss),
        analysis="randomised, loss allowed for",
        unit="patients",
    )
    yield from screening_rows(planned.screened, blank)
    if planned.events is not None:
        yield replace(blank, measure=Measure.EVENTS, value=planned.events, unit="events")
    yield replace(
        blank,
        measure=Measure.POWER_ACHIEVED,
        value=planned.power_achieved,
        analysis="; ".join(planned.conventions),
    )
    yield replace(simulated.row(blank), measure=Measure.POWER_SIMULATED)
    if planned.assurance is not None:
        analysis = f"prior from {prior_in_words(planned.request).rstrip(',')}"
        yield replace(blank, measure=Measure.ASSURANCE, value=planned.assurance, analysis=analysis)
    yield from _look_rows(planned, blank)


def table_rows(planned: PlannedSize, blank: Row) -> Iterator[Row]:
    """Yield the power if something that was assumed is otherwise."""
    table = planned.table
    for row in table.rows if table else ():
        yield replace(
            blank,
            measure=Measure.POWER_ACHIEVED,
            value=row.power,
            analysis=row.analysis,
            source=None,
        )


def belief_rows(planned: PlannedSize, blank: Row) -> Iterator[Row]:
    """Yield the size for every scenario, and its power under each."""
    for belief in planned.belief_matrix:
        scenario = belief.truth.scenario
        size = replace(
            blank,
            measure=Measure.N_TOTAL,
            scenario=scenario,
            source=belief.truth.source or None,
            status=belief.status,
            level=planned.request.power,
            analysis="if planned for",
        )
        if belief.total is None:
            label = "no effect" if belief.truth.is_null else belief.truth.label
            yield replace(size, why=f"{label}: no size finds it")
            continue
        yield replace(size, value=float(belief.total), unit="patients")
        for other, power in zip(planned.resolved.template.scenarios, belief.powers, strict=True):
            if power is not None:
                analysis = f"sized for {scenario}, truth {other.id}"
                yield replace(size, measure=Measure.POWER_ACHIEVED, value=power, analysis=analysis)


def seen_rows(planned: PlannedSize, blank: Row) -> Iterator[Row]:
    """Yield what the looks held so far say; nothing where none is given."""
    seen = planned.seen
    if seen is None:
        return
    at = "at the information seen" if planned.request.seen_information else "as planned"
    design = seen.design
    for number, t in enumerate(design.information, start=1):
        here = replace(blank, look=number, analysis=at)
        yield replace(here, measure=Measure.INFORMATION, value=100 * t, unit="% of planned")
        yield replace(here, measure=Measure.Z_EFFICACY, value=design.efficacy_z[number - 1])
        if number <= seen.look:
            yield replace(here, measure=Measure.Z_OBSERVED, value=seen.z[number - 1])
    here = replace(blank, look=seen.look)
    for measure, words, power in (
        (Measure.CONDITIONAL_POWER, "effect as planned", seen.power_planned),
        (Measure.CONDITIONAL_POWER, "effect as estimated so far", seen.power_trend),
        (Measure.PREDICTIVE_POWER, "flat prior", seen.power_predicted),
    ):
        why = None if power is not None else f"no look to come: {seen.verdict}"
        yield replace(here, measure=measure, value=power, analysis=words, why=why)
    words = "repeated confidence interval"
    yield from _interval_rows(planned, here, seen.drift, seen.repeated, seen.confidence, words)
    if found := seen.stagewise:
        words = f"stage-wise ordering; {seen.verdict}"
        yield replace(here, measure=Measure.P_STAGEWISE, value=found.p_one_sided, analysis=words)
        ends = found.lower, found.upper
        unbiased = found.median_unbiased
        yield from _interval_rows(planned, here, unbiased, ends, found.confidence, words)


def _interval_rows(
    planned: PlannedSize,
    here: Row,
    drift: float,
    ends: tuple[float, float],
    level: float,
    words: str,
) -> Iterator[Row]:
    """Yield an estimate with its interval as a drift, and as an effect."""
    here = replace(here, level=level, analysis=words)
    low, high = ends
    yield replace(here, measure=Measure.Z_AT_END, value=drift, lower=low, upper=high)
    low, high = sorted(planned.effect_of_drift(end) for end in ends)
    scale = planned.kind.effect_scale
    measure = Measure.ESTIMATE
    if words.startswith("stage-wise"):
        measure = Measure.ESTIMATE_MEDIAN_UNBIASED
    if isnan(low):
        yield replace(here, measure=measure, value=None, level=None, why=_NO_EFFECT_SCALE)
        return
    value = planned.effect_of_drift(drift)
    yield replace(here, measure=measure, value=value, lower=low, upper=high, scale=scale)


def _look_rows(planned: PlannedSize, blank: Row) -> Iterator[Row]:
    unit = planned.kind.seen_unit
    for number, look in enumerate(planned.look_rows, start=1):
        here = replace(blank, look=number)
        yield replace(here, measure=Measure.INFORMATION, value=look.seen, unit=unit)
        yield replace(here, measure=Measure.Z_EFFICACY, value=look.z)
        if look.futility_z is not None and look.futility_z > -inf:
            yield replace(here, measure=Measure.Z_FUTILITY, value=look.futility_z)
        yield replace(here, measure=Measure.P_NOMINAL, value=look.nominal_p)
        yield replace(here, measure=Measure.ALPHA_CUMULATIVE, value=look.alpha_spent)
        yield replace(here, measure=Measure.POWER_ACHIEVED, value=look.power)
        for words, share in (("no effect", look.stops_null), ("effect", look.stops_effect)):
            stops = Measure.STOP_PROBABILITY
            yield replace(here, measure=stops, value=share, analysis=words)
    if planned.looks:
        for words, effect in (("no effect", False), ("effect", True)):
            n = planned.expected_total(effect=effect)
            expected = replace(blank, measure=Measure.EXPECTED_N, unit=unit, analysis=words)
            yield replace(expected, value=n)
