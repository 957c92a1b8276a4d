"""Regimens on the same simulated patients, read at two equal times: since entry and since therapy.

Only a scenario whose treated arm follows from doses answers to them (`protocol.truths.pool`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticCustomError

from trialsim.characteristics import MIN_REPLICATES, Characteristic, proportion
from trialsim.engine.blocks import Job
from trialsim.engine.run import Progress, Simulation, run
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError
from trialsim.protocol.design import Regimen
from trialsim.protocol.published.cautions import assumption, cautions_about
from trialsim.protocol.published.evidence import ArmResult, Trial
from trialsim.protocol.quantities import Clock, Dose, Duration, Time, months
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.horizons import Horizon, horizons_of, times_from_words
from trialsim.protocol.truths.pool import Dosing, EffectorPool, SeenUnder, dosing_of
from trialsim.protocol.truths.resolved import (
    ImpossiblePieceError,
    ResolvedTemplate,
    courses_of,
    seen_probability,
)
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row, StudyResult

__all__ = [
    "HeldAgainst",
    "PlannedRegimen",
    "PlannedRegimens",
    "plan_regimens",
    "pool_of",
    "regimens_from_words",
    "usual_regimens",
]

Bools = NDArray[np.bool_]

_SAME_DAY = 0.5
_OFTEN = {"daily": "1 d", "twice daily": "12 h", "twice weekly": "3.5 d", "weekly": "7 d"}
_EXAMPLE = 'Write for example --regimens "1.6 mg every 3.5 d for 52 wk; 0.8 mg; daily; for 24 wk".'
_WORDS = re.compile(
    r"(?:(?P<dose>[0-9.]+ ?[A-Za-z]+(?:/(?:kg|m2))?)\s*)??"
    rf"(?:(?:every (?P<every>[0-9.]+ ?[a-z]+)|(?P<often>{'|'.join(_OFTEN)}))\s*)?"
    r"(?:for (?P<lasting>[0-9.]+ ?[a-z]+))?"
)


@dataclass(frozen=True)
class HeldAgainst:
    """A published share of responders under a regimen, and what a pool says of it."""

    scenario: str
    seen: SeenUnder
    day: float
    said: float
    published: float
    arm: ArmResult | None
    title: str
    fitted: bool
    control_arm: ArmResult | None = None

    @property
    def control(self) -> float | None:
        """Share of responders in the control arm of the same result."""
        return self.control_arm.risk if self.control_arm else None

    @property
    def control_counts(self) -> str:
        """Its events and patients, in words."""
        arm = self.control_arm
        return f", {arm.events}/{arm.n}" if arm and arm.events is not None else ""


@dataclass(frozen=True)
class PlannedRegimen:
    """One regimen, with the template that gives it, read at both times.

    Attributes
    ----------
    horizons : tuple of Horizon
        One where both readings fall on the same day.
    readings : tuple of int
        Which horizon is read since entry, and which since the end of therapy.
    truths : tuple of Truth
        Per scenario.
    """

    dosing: Dosing
    resolved: ResolvedTemplate
    horizons: tuple[Horizon, ...]
    readings: tuple[int, int]
    truths: tuple[Truth, ...]

    @property
    def days(self) -> tuple[float, float]:
        """Days since entry of both readings."""
        first, second = (self.horizons[k].day for k in self.readings)
        return first, second

    @property
    def job(self) -> Job:
        """What is simulated: both readings of the same patients."""
        protocol = self.horizons[0].resolved.template.protocol
        plans = [AnalysisPlan.of(protocol, protocol.endpoint(h.endpoint)) for h in self.horizons]
        return Job(protocol, tuple(plans), self.truths)


def regimens_from_words(words: str, planned: Dosing) -> tuple[Dosing, ...]:
    """Read "0.8 mg; daily; 1.6 mg every 3.5 d for 52 wk"; what is left out is as planned.

    The planned regimen comes first, and each once.

    Raises
    ------
    RequestError
        For words that mean nothing, with an example; all at once.
    """
    found, problems = [planned], []
    for word in (part.strip() for part in words.split(";")):
        match = _WORDS.fullmatch(" ".join(word.split()))
        if not word or match is None:
            rule = "is not a dose, how often it is given, or for how long"
            problems.append(Problem(rule, _EXAMPLE, "--regimens", f"'{word}'"))
            continue
        try:
            found.append(_changed(planned, **match.groupdict()))
        except (PydanticCustomError, ValueError) as why:
            first = why.errors()[0]["msg"] if hasattr(why, "errors") else str(why)
            rule = first.partition(". ")[0]
            problems.append(Problem(rule, _EXAMPLE, "--regimens", f"'{word}'"))
    if problems:
        raise RequestError(problems)
    return tuple(dict.fromkeys(found))


def usual_regimens(planned: Dosing) -> str:
    """Return 24 and 52 weeks, half the dose, and daily, in words (chosen, not published)."""
    half = Dose(planned.dose.amount / 2, planned.dose.unit)
    return f"for 24 wk; for 52 wk; {half}; daily"


def _changed(
    planned: Dosing,
    dose: str | None,
    every: str | None,
    often: str | None,
    lasting: str | None,
) -> Dosing:
    apart = every or (_OFTEN[often] if often else None)
    return Dosing.model_validate(
        {
            "dose": Dose.parse(dose) if dose else planned.dose,
            "every": Duration.parse(apart) if apart else planned.every,
            "for": Duration.parse(lasting) if lasting else planned.lasting,
        }
    )


def plan_regimens(
    resolved: ResolvedTemplate,
    words: str,
    scenarios: Sequence[str] = (),
    *,
    at: str | None = None,
    clock: str | None = None,
) -> PlannedRegimens:
    """Decide what to simulate.

    Parameters
    ----------
    words : str
        The regimens beside the planned one; those of `usual_regimens` where empty.
    scenarios : sequence of str
        Ids; those with a pool, and those without an effect, for none.
    at, clock : str, optional
        When the planned regimen is read, which sets both readings; else the primary read-out.

    Raises
    ------
    RequestError
        Where no regimen is planned, no scenario answers to one, or words mean nothing.
    """
    protocol = resolved.template.protocol
    planned = dosing_of(protocol.experimental.regimen)
    if planned is None:
        rule = (
            "needs a planned regimen of one phase: dose, 'every' and 'for' (at most 20,000 doses)"
        )
        remedy = f"Write it under protocol.arms, at {protocol.experimental.id}."
        raise RequestError(Problem(rule, remedy, "--regimens"))
    chosen = _answering(resolved, resolved.scenarios(scenarios), named=bool(scenarios))
    regimens = regimens_from_words(words or usual_regimens(planned), planned)
    time = protocol.primary.read_out
    if at is not None:
        times = times_from_words(at, clock, protocol)
        if len(times) != 1:
            rule = "must be one time beside --regimens: when the planned regimen is read"
            raise RequestError(Problem(rule, 'Write --at "12 mo".', "--at", at))
        (time,) = times
    day = time.days_after_entry(planned.lasting)
    since_therapy = day - planned.lasting.days
    if since_therapy < 0:
        rule = "is before the planned therapy ends"
        raise RequestError(Problem(rule, "Ask for a later time.", "--at", time.in_words(None)))
    found, problems = [], list[Problem]()
    for dosing in regimens:
        try:
            found.append(_planned(resolved, dosing, chosen, day, since_therapy))
        except RequestError as why:
            problems += why.problems
        except ImpossiblePieceError as why:
            remedy = "Give another regimen, or leave the scenario out."
            problems.append(Problem(str(why), remedy, "--regimens", f"'{dosing}'"))
    if problems:
        raise RequestError(problems)
    return PlannedRegimens(resolved, chosen, tuple(found), day, since_therapy)


def _answering(
    resolved: ResolvedTemplate, scenarios: Sequence[Scenario], *, named: bool
) -> tuple[Scenario, ...]:
    """Return the scenarios that answer to a regimen; refuse those that were named and do not."""
    pools = [s.id for s in resolved.template.scenarios if s.response and s.response.pool]
    deaf = [s for s in scenarios if s.id not in pools and not _null(s)]
    left = tuple(s for s in scenarios if s not in deaf)
    if (named and deaf) or not any(s.id in pools for s in left):
        rule = "does not answer to regimens: its treated arm does not follow from doses"
        known = f"Name some of {', '.join(pools)}." if pools else _no_pool(resolved)
        if not named or not deaf:
            rule = "needs a scenario whose treated arm follows from doses: they change nothing here"
            raise RequestError(Problem(rule, known, "--regimens"))
        raise RequestError([Problem(rule, known, "--scenario", f"'{s.id}'") for s in deaf])
    return left


def _null(scenario: Scenario) -> bool:
    return scenario.response is not None and scenario.response.treated is None


def _no_pool(resolved: ResolvedTemplate) -> str:
    variants = [
        variant.id
        for variant in resolved.template.variants
        if "'pool':" in str(getattr(variant, "patch", ""))
    ]
    add = "Write treated: [{until: 36 mo, pool: {...}}] in a scenario (docs/dosing.md)."
    return f"Add --variant {variants[0]}." if variants else add


def _planned(
    resolved: ResolvedTemplate,
    dosing: Dosing,
    scenarios: Sequence[Scenario],
    day: float,
    since_therapy: float,
) -> PlannedRegimen:
    template = resolved.template
    arms = tuple(
        arm.model_copy(update={"regimen": _given(arm.regimen, dosing)})
        if arm is template.protocol.experimental
        else arm
        for arm in template.protocol.arms
    )
    protocol = template.protocol.model_copy(update={"arms": arms})
    own = replace(resolved, template=template.model_copy(update={"protocol": protocol}))
    entry = Time.model_validate({"after": _days(day), "from": Clock.ENTRY})
    after = Time.model_validate({"after": _days(since_therapy), "from": Clock.END_OF_THERAPY})
    together = abs(dosing.lasting.days + since_therapy - day) < _SAME_DAY
    times = (after,) if together else (entry, after)
    horizons = tuple(horizons_of(own, times, after))
    names = [s.id for s in scenarios]
    there = horizons[0].resolved
    at = [horizon.time for horizon in horizons]
    readings = (0, 0) if together else (at.index(entry), at.index(after))
    truths = tuple(there.truth(s) for s in there.scenarios(names))
    return PlannedRegimen(dosing, own, horizons, readings, truths)


def _given(regimen: Regimen | None, dosing: Dosing) -> Regimen:
    assert regimen is not None  # asked of a protocol with one
    return regimen.model_copy(
        update={"dose": dosing.dose, "every": dosing.every, "lasting": dosing.lasting}
    )


def _days(days: float) -> Duration:
    return Duration(round(days, 6), "d")


@dataclass(frozen=True)
class PlannedRegimens:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    scenarios : tuple of Scenario
    regimens : tuple of PlannedRegimen
        The planned one first.
    day, since_therapy : float
        Days of the two readings: since entry, and since the end of each regimen's own therapy.
    """

    resolved: ResolvedTemplate
    scenarios: tuple[Scenario, ...]
    regimens: tuple[PlannedRegimen, ...]
    day: float
    since_therapy: float

    @property
    def jobs(self) -> tuple[Job, ...]:
        """One job per regimen; the patients and their luck are the same in all."""
        return tuple(regimen.job for regimen in self.regimens)

    def risks(self, regimen: int, scenario: int) -> tuple[tuple[float, float], ...]:
        """Return the true (control, treated) risks at the two readings."""
        own = self.regimens[regimen]
        counted = own.job.plans[0].counted
        return tuple(own.truths[scenario].risks_on(day, counted) for day in own.days)

    @cached_property
    def held_against(self) -> tuple[HeldAgainst, ...]:
        """What every pool says of the results it is fitted to or held against."""
        return tuple(self._held())

    def _held(self) -> Iterator[HeldAgainst]:
        nature, evidence = self.resolved.template.nature, self.resolved.evidence
        for scenario in self.scenarios:
            pool = scenario.response.pool if scenario.response else None
            if scenario.response is None or pool is None:
                continue
            fitted = [pool.fitted_to] if pool.fitted_to else []
            for seen in (*fitted, *pool.held_against):
                published = seen_probability(seen, evidence)
                if published is None:
                    continue
                lasting = seen.under.lasting
                courses = courses_of(scenario.response, nature, lasting, evidence, seen.under)
                day = seen.by.days_after_entry(lasting)
                record = evidence.records.get(seen.source or "")
                result = record.result(seen.result or "") if isinstance(record, Trial) else None
                yield HeldAgainst(
                    scenario.id,
                    seen,
                    day,
                    courses.treated.probability_of_response(day),
                    published,
                    result.experimental if result else None,
                    record.title if record else "assumed",
                    seen is pool.fitted_to,
                    result.control if result else None,
                )

    def result(
        self,
        *,
        replicates: int = 10_000,
        seed: int = 1,
        workers: Workers = 1,
        on_progress: Progress | None = None,
    ) -> StudyResult:
        """Simulate, and say per scenario and regimen what is found at each reading.

        Parameters
        ----------
        replicates : int
            Trials per scenario, the same patients under every regimen.
        seed : int
        workers : int, Executor or Cluster
        on_progress : callable, optional
        """
        simulations = run(
            self.jobs, n_replicates=replicates, seed=seed, workers=workers, on_progress=on_progress
        )
        rows = [row for s in range(len(self.scenarios)) for row in self._rows(s, simulations)]
        notes = [assumption(said, *names) for said, names in self._assumed().items()]
        cited = [reference.evidence for reference in self.resolved.template.observed]
        return StudyResult(
            rows=(*rows, *self._held_rows()),
            warnings=(*cautions_about(cited, self.resolved.evidence), *notes),
            n_replicates=replicates,
        )

    def _assumed(self) -> dict[str, list[str]]:
        """Return what is assumed, and in which scenarios."""
        found = dict[str, list[str]]()
        therapy = self.resolved.template.protocol.therapy
        last = max(day for own in self.regimens for day in own.days)
        for scenario in self.scenarios:
            assert scenario.response is not None  # required of those that answer to regimens
            control = scenario.response.control
            said = [p.note for p in (*control, *(scenario.response.treated or ())) if p.note]
            if control[-1].until.days_after_entry(therapy) + _SAME_DAY < last:
                far = months(last)
                said += [f"Nothing stated reaches {far}: the control arm's last hazard goes on."]
            for note in said:
                found.setdefault(note, []).append(scenario.id)
        return found

    def _rows(self, scenario: int, simulations: Sequence[Simulation]) -> Iterator[Row]:
        """Yield exact risks and simulated power per regimen and reading, and their differences."""
        protocol = self.resolved.template.protocol
        plan = simulations[0].job.plans[0]
        arms = (protocol.control.id, protocol.experimental.id)
        name, variant = self.scenarios[scenario].id, self.resolved.variant
        planned = simulations[0].results[scenario]
        set_by = self.resolved.set_by_user(f"scenarios.{name}.response", "nature.response")
        for index, own in enumerate(self.regimens):
            results = simulations[index].results[scenario]
            told = str(own.dosing)
            risks = self.risks(index, scenario)
            blank = Row(
                measure=Measure.RISK,
                value=None,
                scenario=name,
                variant=variant or None,
                endpoint=protocol.primary.id,
                regimen=told,
            )
            unit = own.dosing.dose.unit
            yield replace(
                blank, measure=Measure.DRUG_PER_PATIENT, value=own.dosing.given, unit=unit
            )
            times = (_days(self.day), _days(self.since_therapy))
            for time, clock, at, pair in zip(times, Clock, own.readings, risks, strict=True):
                here = replace(blank, horizon=str(time), clock=clock.value)
                day = own.horizons[at].day
                known = (
                    self.resolved.status_of_control_course(self.scenarios[scenario], day),
                    self.resolved.status_of(self.scenarios[scenario], day),
                )
                for arm, risk, status in zip(arms, pair, known, strict=True):
                    shown = replace(here, value=risk, arm=arm, unit="per patient", status=status)
                    yield replace(shown, set_by=set_by)
                ok = ~results[at].failed[:, -1]
                found = replace(here, analysis=plan.in_words, n_failed=int((~ok).sum()))
                if ok.sum() < MIN_REPLICATES:
                    yield replace(found, measure=Measure.POWER, why="too few replicates")
                    continue
                yield proportion(Measure.POWER, results[at].rejected[ok, -1]).row(found)
                if index:
                    against = replace(here, analysis=f"against {self.regimens[0].dosing}")
                    yield _paired(results[at], planned[0]).row(against)
            between = replace(blank, analysis="since therapy less since entry")
            for arm, first, second in zip(arms, *risks, strict=True):
                yield replace(
                    between,
                    measure=Measure.RISK_CHANGE,
                    value=second - first,
                    arm=arm,
                    unit="per patient",
                )
            early, late = (results[k] for k in own.readings)
            yield _paired(late, early).row(between)

    def _held_rows(self) -> Iterator[Row]:
        for held in self.held_against:
            blank = Row(
                measure=Measure.FITTED,
                value=held.said,
                scenario=held.scenario,
                variant=self.resolved.variant or None,
                evidence=held.seen.source,
                horizon=str(held.seen.by.after),
                clock=held.seen.by.clock.value,
                arm=self.resolved.template.protocol.experimental.id,
                regimen=str(held.seen.under),
                unit="per patient",
                analysis="fitted to it" if held.fitted else "held against it",
            )
            yield blank
            status = held.arm.status.value if held.arm else "assumed"
            shown = replace(blank, measure=Measure.ESTIMATE, value=held.published, status=status)
            yield replace(shown, source=held.seen.source)


def _paired(own: LookResults, other: LookResults) -> Characteristic:
    """Return the difference in power of two readings of the same trials."""
    ok = ~(own.failed | other.failed)[:, -1]
    n = int(ok.sum())
    if n < MIN_REPLICATES:
        return Characteristic(Measure.POWER_DIFFERENCE, None, None, n, why="too few replicates")
    values = own.rejected[ok, -1].astype(float) - other.rejected[ok, -1]
    mcse = float(values.std(ddof=1)) / sqrt(n)
    return Characteristic(Measure.POWER_DIFFERENCE, float(values.mean()), mcse, n)


def pool_of(scenario: Scenario) -> EffectorPool | None:
    """Return what doses fill in a scenario; None where its courses do not follow from doses."""
    return scenario.response.pool if scenario.response else None
