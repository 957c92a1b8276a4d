"""How long to follow patients: the same simulated patients, read out at several horizons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from math import sqrt
from typing import Protocol as Shape

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import MIN_REPLICATES, Characteristic, proportion, true_effect
from trialsim.engine.blocks import Job
from trialsim.engine.run import Progress, Simulation, run
from trialsim.engine.workers import Workers
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.operations.money import planned_cost
from trialsim.protocol.cost import Cost
from trialsim.protocol.endpoints import Counted, Summary
from trialsim.protocol.intercurrent import estimands_of
from trialsim.protocol.published.cautions import Caution, assumption, cautions_about
from trialsim.protocol.published.evidence import Trial
from trialsim.protocol.quantities import DAYS_PER_UNIT, Time
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.horizons import (
    Horizon,
    horizons_of,
    read_outs,
    times_from_words,
)
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import stated_sites
from trialsim.sizing.proportions import n_per_arm_pooled
from trialsim.studies.estimands import estimand_rows, estimand_value
from trialsim.studies.power import power_rows
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row, StudyResult

__all__ = [
    "Choice",
    "FollowUpRequest",
    "FollowUpWords",
    "HorizonDesign",
    "PlannedFollowUp",
    "SeenPoint",
    "followup_request",
    "plan_followup",
]

Bools = NDArray[np.bool_]
_WEAK = ("document", "unverified")
_SAME_DAY = 1.0  # 18 months, and 12 after 26 weeks of therapy, are 0.6 days apart


class Choice(StrEnum):
    """By what a horizon is chosen, each at the size that has the power wanted there."""

    POWER = "power"  # the fewest patients
    COST = "cost"
    TIME = "time"  # the soonest last read-out


@dataclass(frozen=True)
class FollowUpRequest:
    """What is asked.

    Attributes
    ----------
    times : tuple of Time
    reference : Time
        The horizon whose effect the others are held against; one of `times`.
    choose : Choice or None
    power : float
        That sizes are found for, beside 90%.
    accept_claim : bool
        Choose under an effect that only a document states, or that was not verified.
    futility_z : float or None
        At or below which an earlier horizon, with everyone read out, would end the trial.
    """

    times: tuple[Time, ...]
    reference: Time
    choose: Choice | None = None
    power: float = 0.8
    accept_claim: bool = False
    futility_z: float | None = None


@dataclass(frozen=True)
class HorizonDesign:
    """A trial that ends at a horizon, of the size that finds a scenario's effect there.

    Attributes
    ----------
    per_arm : int or None
        By the pooled-variance formula, 1:1; None where the effect there is none.
    months : float or None
        First patient in to last read-out, at the planned rate of enrolment.
    cost : float or None
    """

    horizon: Horizon
    per_arm: int | None
    months: float | None
    cost: float | None

    def by(self, choice: Choice) -> float | None:
        """Return what is to be small; None where it is not known."""
        found = {Choice.POWER: self.per_arm, Choice.COST: self.cost, Choice.TIME: self.months}
        return found[choice]


@dataclass(frozen=True)
class SeenPoint:
    """A published share of patients of one arm by a day."""

    record: str
    arm: str
    day: float
    share: float


class FollowUpWords(Shape):
    """What was typed."""

    at: str | None
    clock: str | None
    reference: str | None
    choose: str | None
    power: float
    accept_claim: bool
    futility: float | None


def followup_request(resolved: ResolvedTemplate, words: FollowUpWords) -> FollowUpRequest:
    """Read what was typed.

    Without ``--at``, the times the file speaks of; without ``--reference``, the primary read-out
    where it is one of them, else the last.

    Raises
    ------
    RequestError
        For words that mean nothing, with an example.
    """
    template = resolved.template
    protocol, therapy = template.protocol, template.protocol.therapy
    times = read_outs(template)
    if words.at is not None:
        times = times_from_words(words.at, words.clock, protocol)

    def same_day(wanted: Time) -> list[Time]:
        day = wanted.days_after_entry(therapy)
        return [t for t in times if abs(t.days_after_entry(therapy) - day) < _SAME_DAY]

    if words.reference is not None:
        (wanted, *_) = times_from_words(words.reference, words.clock, protocol, "--reference")
        if not same_day(wanted):
            shown = ", ".join(t.in_words(therapy) for t in times)
            rule, remedy = "is not one of the horizons", f"Name one of them: {shown}."
            raise RequestError(Problem(rule, remedy, "--reference", words.reference))
        reference = same_day(wanted)[0]
    else:
        latest = max(times, key=lambda time: time.days_after_entry(therapy))
        reference = (same_day(protocol.primary.read_out) or [latest])[0]
    if not protocol.test.alpha < words.power < 1:
        rule = f"must be between alpha, {protocol.test.alpha:g}, and 1"
        raise RequestError(Problem(rule, "80% is 0.8.", "--power", f"{words.power:g}"))
    choice = Choice(words.choose) if words.choose else None
    if words.futility is not None and not -5 <= words.futility <= 5:
        rule, remedy = "must be a z from -5 to 5", "0 stops a trial whose arms look alike."
        raise RequestError(Problem(rule, remedy, "--futility", f"{words.futility:g}"))
    days = [time.days_after_entry(therapy) for time in times]
    if words.futility is not None and min(days) > reference.days_after_entry(therapy) - _SAME_DAY:
        rule = f"needs a horizon before the reference ({reference.in_words(therapy)}) to stop at"
        remedy = "Add an earlier time to --at."
        raise RequestError(Problem(rule, remedy, "--futility", f"{words.futility:g}"))
    return FollowUpRequest(
        times, reference, choice, words.power, words.accept_claim, words.futility
    )


def plan_followup(
    resolved: ResolvedTemplate, request: FollowUpRequest, scenarios: Sequence[str] = ()
) -> PlannedFollowUp:
    """Decide what to simulate.

    Raises
    ------
    RequestError
        For a horizon that is not followed, a risk that falls with time, a scenario that is not
        there, or a choice under a claim that was not accepted.
    """
    chosen = resolved.scenarios(scenarios)
    horizons = tuple(horizons_of(resolved, request.times, request.reference))
    planned = PlannedFollowUp(resolved, request, chosen, horizons)
    planned.check()
    return planned


@dataclass(frozen=True)
class PlannedFollowUp:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    scenarios : tuple of Scenario
        Of the template as it stands in the file.
    horizons : tuple of Horizon
        In order of time.
    """

    resolved: ResolvedTemplate
    request: FollowUpRequest
    scenarios: tuple[Scenario, ...]
    horizons: tuple[Horizon, ...]

    @property
    def reference(self) -> Horizon:
        """The horizon the others are held against."""
        return next(h for h in self.horizons if h.time == self.request.reference)

    @cached_property
    def truths(self) -> tuple[tuple[Truth, ...], ...]:
        """The truth of every scenario (second axis) at every horizon (first)."""
        names = [scenario.id for scenario in self.scenarios]
        found = []
        for horizon in self.horizons:
            own = horizon.resolved
            try:
                found.append(tuple(own.truth(s) for s in own.scenarios(names)))
            except ValueError as why:
                remedy = "State the effect by then: scenarios[].effect_from."
                problem = Problem(f"cannot be: {why}", remedy, "--at", self.in_words(horizon))
                raise RequestError(problem) from None
        return tuple(found)

    @property
    def counted(self) -> Counted:
        """When a patient counts as a responder, at every horizon."""
        return AnalysisPlan.of(self.resolved.template.protocol).counted

    def in_words(self, horizon: Horizon) -> str:
        """Return when a horizon is, on both clocks where they differ."""
        words = horizon.time.in_words(self.resolved.template.protocol.therapy)
        return words.replace("0 mo after therapy", "end of therapy")

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """One job for each group of horizons that share a protocol; patients are the same.

        Its plans are those of the horizons, in their order, then those of further estimands.
        """
        found: list[Job] = []
        further: list[AnalysisPlan] = []
        for horizon, truths in zip(self.horizons, self.truths, strict=True):
            protocol = horizon.resolved.template.protocol
            endpoint = protocol.endpoint(horizon.endpoint)
            plan = AnalysisPlan.of(protocol, endpoint)
            events = horizon.resolved.template.nature.intercurrent_events
            if asked := [plan.asking(own, endpoint) for own in estimands_of(endpoint, events)]:
                plan = asked[0]
                further += asked[1:]
            if found and found[-1].protocol is protocol:
                found[-1] = replace(found[-1], plans=(*found[-1].plans, plan))
            else:
                found.append(Job(protocol, (plan,), truths))
        if further:  # of courses, which share one job
            found[0] = replace(found[0], plans=(*found[0].plans, *further))
        return tuple(found)

    def risks(self, horizon: int, scenario: int) -> tuple[float, float]:
        """Return the true risk of control and treated patients at a horizon.

        Where nature has intercurrent events, that of the endpoint's own estimand.
        """
        truth = self.truths[horizon][scenario]
        if not truth.intercurrent:
            return truth.risks_on(self.horizons[horizon].day, self.counted)
        (job,) = self.jobs  # courses share one
        value = estimand_value(job, job.plans[horizon], truth)
        return value.control, value.treated

    def _effect(self, horizon: int, scenario: int) -> tuple[float, float]:
        """Return the same; twice the control risk where arms differ by loss alone."""
        truth, (control, treated) = self.truths[horizon][scenario], self.risks(horizon, scenario)
        alike = truth.courses and truth.is_null and not truth.intercurrent
        return control, control if alike else treated

    def check(self) -> None:
        """Refuse what cannot be simulated or chosen, all at once (RequestError)."""
        problems = []
        for index, scenario in enumerate(self.scenarios):
            if self.truths[0][index].courses:
                continue  # a response may go again
            risks = [self.risks(h, index) for h in range(len(self.horizons))]
            for (at, one), (later, other) in pairwise(zip(self.horizons, risks, strict=True)):
                if any(b < a - 1e-12 for a, b in zip(one, other, strict=True)):
                    rule = (
                        f"has fewer patients with the event by {later.time.after} than by "
                        f"{at.time.after}: {_words(one)}, then {_words(other)} (control, treated)"
                    )
                    remedy = "Correct its effect_from, or nature.control_risk_by."
                    problems.append(Problem(rule, remedy, f"scenario {scenario.id}"))
        weak = [s for s in self.scenarios if self.resolved.status_of(s) in _WEAK]
        if self.request.choose and weak and not self.request.accept_claim:
            rule = "rests on a number which only a document states or nobody verified"
            remedy = (
                "Name other scenarios with --scenario, or add --accept-claim to choose under it "
                "all the same."
            )
            problems += [Problem(rule, remedy, "--choose", s.id) for s in weak]
        template, choice = self.resolved.template, self.request.choose
        if choice in (Choice.TIME, Choice.COST) and template.nature.enrolment is None:
            remedy = "Add nature.enrolment: {uniform: 12 mo}."
            problems.append(
                Problem("needs to know when patients enter", remedy, "--choose", choice)
            )
        if choice is Choice.COST and template.cost is None:
            remedy = "Add cost: {currency: EUR, year: 2025, per_patient: 1000, per_visit: 100}."
            problems.append(Problem("needs prices", remedy, "--choose", choice))
        if problems:
            raise RequestError(problems)

    def designs(self, scenario: int) -> tuple[HorizonDesign, ...]:
        """Return, per horizon, the trial that finds a scenario's effect there."""
        return tuple(
            self.design(index, self._effect(index, scenario), self.request.power)
            for index in range(len(self.horizons))
        )

    def design(self, index: int, risks: tuple[float, float], power: float) -> HorizonDesign:
        """Return the trial that finds the difference of two risks (control, treated)."""
        horizon, test = self.horizons[index], self.resolved.template.protocol.test
        try:
            n = n_per_arm_pooled(
                risks[1], risks[0], power=power, alpha=test.alpha, sides=test.sides
            )
        except DesignError:
            return HorizonDesign(horizon, None, None, None)
        return HorizonDesign(horizon, n, self.months(horizon, 2 * n), self.cost(horizon, 2 * n))

    def months(self, horizon: Horizon, n_total: int) -> float | None:
        """Return the time from the first patient in to the last read-out; None if not stated.

        Patients enter at the planned rate, whatever their number (assumed).
        """
        template = self.resolved.template
        if template.nature.enrolment is None:
            return None
        lag = template.protocol.read_out_lag
        enrolling = template.nature.enrolment.last_day * n_total / template.protocol.n_total
        return (enrolling + horizon.day + (lag.days if lag else 0.0)) / DAYS_PER_UNIT["mo"]

    def cost(self, horizon: Horizon, n_total: int) -> float | None:
        """Return the cost of a trial that ends there; None where prices or months are not stated.

        Every visit the file plans before then is paid for each patient, the read-out, every dose
        planned, and one analysis or the file's looks (assumed): a trial read there alone, whatever
        else is compared.
        """
        template, months = self.resolved.template, self.months(horizon, n_total)
        if template.cost is None or months is None:
            return None
        return planned_cost(
            template,
            n_total,
            months,
            read_out_day=horizon.day,
            sites=stated_sites(template) or 1,
            looks=len(template.protocol.looks) or 1,
            treated=1 / 2,
        )

    @property
    def assumed(self) -> list[str]:
        """What months and cost rest on without a source, in sentences."""
        nature, cost, told = self.resolved.template.nature, self.resolved.template.cost, []
        if nature.enrolment:
            told.append("Enrolment is assumed, at one rate whatever the number of patients.")
        if nature.enrolment and cost:
            prices = (
                *(cost.per_patient, cost.per_visit, cost.screening),
                *(cost.per_month, cost.per_site_month),
                *(cost.start_up, cost.per_dose, cost.per_look),
            )
            told.append(
                ("Prices are assumed. " if not all(p.source for p in prices if p.value) else "")
                + "Every visit and dose the file plans is paid for each patient (assumed)."
            )
        return told

    def result(
        self,
        *,
        replicates: int = 10_000,
        seed: int = 1,
        workers: Workers = 1,
        on_progress: Progress | None = None,
    ) -> StudyResult:
        """Simulate, and say per scenario and horizon what is found.

        Parameters
        ----------
        replicates : int
            Trials per scenario, the same patients at every horizon.
        seed : int
        workers : int, Executor or Cluster
        on_progress : callable, optional
        """
        simulations = run(
            self.jobs, n_replicates=replicates, seed=seed, workers=workers, on_progress=on_progress
        )
        rows: list[Row] = []
        done: set[int] = set()
        for horizon in self.horizons:  # horizons of one protocol share a simulation
            if id(horizon.resolved) not in done:
                done.add(id(horizon.resolved))
                rows += power_rows(horizon.resolved, simulations[len(done) - 1])
        for index in range(len(self.scenarios)):
            rows += self._compared(index, simulations)
        if self.truths[0][0].intercurrent:
            rows += estimand_rows(self.reference.resolved, simulations[0])
        return StudyResult(
            rows=tuple(rows),
            texts=self._texts(),
            warnings=self._cautions(),
            figure_data={"seen": self._seen()},
            n_replicates=replicates,
        )

    def _compared(self, scenario: int, simulations: Sequence[Simulation]) -> Iterator[Row]:
        """Yield what the reference horizon says of every other, trial by trial."""
        summary = self.jobs[0].plans[0].summary
        assert isinstance(summary, Summary)
        results = [found for s in simulations for found in s.results[scenario]]
        results = results[: len(self.horizons)]
        at = self.horizons.index(self.reference)
        theta, later = true_effect(self._effect(at, scenario), summary), results[at]
        for index, (horizon, own) in enumerate(zip(self.horizons, results, strict=True)):
            failed = (own.failed | later.failed)[:, -1]
            name, variant = self.scenarios[scenario].id, self.resolved.variant
            blank = Row.about(Measure.RISK, name, horizon.endpoint, horizon.time, variant)
            shown = f"against {self.in_words(self.reference)}"
            against = replace(blank, analysis=shown, n_failed=int(failed.sum()))
            for found in _paired(own, later, ~failed, theta, str(summary)):
                yield found.row(against)
            if self.request.futility_z is not None and index < at:
                yield from _stopped(own, later, ~failed, theta, self.request.futility_z, blank)
            yield from self._planned(index, scenario, blank)

    def _planned(self, index: int, scenario: int, blank: Row) -> Iterator[Row]:
        """Yield what follows without simulation: sizes, months, losses and cost."""
        horizon, risks = self.horizons[index], self._effect(index, scenario)
        protocol, cost = self.resolved.template.protocol, self.resolved.template.cost
        unit = f"{cost.currency} of {cost.year}" if cost else None
        truth = self.truths[index][scenario]
        lost_otherwise = any(event.lost for event in truth.intercurrent)
        if (courses := truth.courses) and not lost_otherwise:
            shares, arms = protocol.ratio, (courses.treated, courses.control)
            followed = sum(
                share * own.probability_followed(horizon.day)
                for share, own in zip(shares, arms, strict=True)
            ) / sum(shares)
            lost = 1 - (1 - courses.missed_visits) * followed
            yield replace(blank, measure=Measure.LOST, value=lost, unit="per patient")
        for power in dict.fromkeys((None, 0.8, 0.9, self.request.power)):
            n, why = protocol.n_total, None
            if power is not None:
                per_arm = self.design(index, risks, power).per_arm
                beside = truth.intercurrent and horizon != self.reference
                if power != 0.8 or beside:  # that of 80% stands with the other rows of the horizon
                    yield replace(
                        blank,
                        measure=Measure.N_PER_ARM,
                        value=per_arm,
                        level=power,
                        analysis="pooled-variance formula, 1:1",
                        unit="patients",
                        why=None if per_arm else "no effect: no size finds it",
                    )
                n, why = 2 * (per_arm or 0), None if per_arm else "no effect: no size finds it"
            months, money = (f(horizon, n) if n else None for f in (self.months, self.cost))
            for measure, value, shown, missing in (
                (
                    Measure.DURATION_MONTHS,
                    months,
                    "months",
                    "nature.enrolment is not stated: add {uniform: 12 mo}",
                ),
                (Measure.COST, money, unit, "cost is not stated, or enrolment"),
            ):
                yield replace(
                    blank,
                    measure=measure,
                    value=value,
                    level=power,
                    analysis=f"{n:,} patients" if n else None,
                    unit=shown,
                    why=why or (missing if value is None else None),
                )

    def recommended(self, scenario: int) -> HorizonDesign | None:
        """Return the horizon that is best by the choice made; None where no size finds anything.

        A horizon that nothing published reaches is shown, and never chosen.
        """
        choice, name = self.request.choose, self.scenarios[scenario].id
        assert choice is not None  # asked only where one was made
        designs = [d for d in self.designs(scenario) if name not in d.horizon.extrapolated]
        known = [d for d in designs if d.by(choice) is not None]
        return min(known, key=lambda d: d.by(choice) or 0.0, default=None)

    def _texts(self) -> dict[str, str]:
        choice = self.request.choose
        if choice is None:
            return {}
        found = [
            (s, d) for i, s in enumerate(self.scenarios) if (d := self.recommended(i)) is not None
        ]
        if not found:
            return {"choice": "No scenario has an effect that any size would find: none is chosen."}
        power = f"{100 * self.request.power:g}% power"
        named = {
            Choice.POWER: "fewest patients",
            Choice.COST: "lowest cost",
            Choice.TIME: "soonest end",
        }
        best = {self.in_words(design.horizon) for _, design in found}
        agree = f"The scenarios agree: {best.pop()}" if len(best) == 1 else "The scenarios disagree"
        each = "; ".join(
            f"{s.id}: {self.in_words(d.horizon)}, {_in_short(d, self.resolved.template.cost)}"
            for s, d in found
        )
        out = [
            f"{self.in_words(horizon)} ({', '.join(whose)})"
            for horizon in self.horizons
            if (whose := [s.id for s in self.scenarios if s.id in horizon.extrapolated])
        ]
        left = f" Left out where nothing published reaches it: {', '.join(out)}." if out else ""
        return {
            "choice": f"{agree}, by {named.get(choice, 'soonest end')} for {power}. {each}.{left}"
        }

    def _cautions(self) -> tuple[Caution, ...]:
        notes: list[Caution] = []
        for scenario in self.scenarios:
            if scenario.response:
                pieces = (*scenario.response.control, *(scenario.response.treated or ()))
                notes += [assumption(piece.note, scenario.id) for piece in pieces if piece.note]
        leaving = self.resolved.template.nature.response
        if leaving and any(
            number.value
            for number in (leaving.loss_per_year, leaving.death_per_year, leaving.missed_visits)
        ):
            fitted = [
                s.id
                for s in self.scenarios
                if s.response
                and any(p.reaches for p in (*s.response.control, *(s.response.treated or ())))
            ]
            said = (
                "Courses reach the shares stated with the death, loss and missed visits of this "
                "file in them: the more are lost, the more of those who stay respond."
            )
            notes += [assumption(said, *fitted)] if fitted else []
        for scenario in self.scenarios:
            late = [self.in_words(h) for h in self.horizons if scenario.id in h.extrapolated]
            if late:
                said = f"Nothing published reaches {', '.join(late)}: the last hazards go on."
                notes.append(assumption(said, scenario.id))
        if self.truths[0][0].courses is None and len(self.horizons) > 1:
            said = "The effect is the same, on its own scale, at every horizon."
            held = [s for s in self.scenarios if not s.effect_from and (s.effect or s.as_observed)]
            notes += [assumption(said, *(s.id for s in held))] if held else []
        template = self.resolved.template
        cited = [*template.about, *(reference.evidence for reference in template.observed)]
        return (*cautions_about(cited, self.resolved.evidence), *notes)

    def _seen(self) -> tuple[SeenPoint, ...]:
        """Return what published trials saw, to stand over the curves."""
        protocol, found = self.resolved.template.protocol, dict[SeenPoint, None]()
        for reference in self.resolved.template.observed:
            record = self.resolved.evidence.records.get(reference.evidence)
            result = None
            if isinstance(record, Trial):
                result = record.result(reference.result or protocol.primary.id)
            if not isinstance(record, Trial) or result is None or result.at is None:
                continue
            same = [r for r in record.results if r.outcome == result.outcome]
            for other in [result] if reference.result else same:
                if other.at is None:
                    continue
                day = other.at.days_after_entry(protocol.therapy)
                arms = (("experimental", other.experimental), ("control", other.control))
                for arm, seen in arms:
                    share = seen.risk if seen else None
                    if seen and share is None and seen.value is not None and other.unit == "%":
                        share = seen.value / 100
                    if share is not None:
                        found[SeenPoint(record.title, arm, day, share)] = None
        return tuple(found)


def _stopped(
    own: LookResults, later: LookResults, ok: Bools, theta: float, bound: float, blank: Row
) -> Iterator[Row]:
    """Yield how often an earlier horizon ends the trial, and how often it should not have.

    The second is of trials that would have found the effect, in its direction, at the reference.
    """
    z = own.z[ok, -1]
    if ok.sum() < MIN_REPLICATES or not np.isfinite(z).all():
        return
    stops = z <= bound
    here = replace(blank, analysis=f"futility: z at most {bound:g}")
    yield proportion(Measure.STOP_PROBABILITY, stops).row(here)
    right = later.rejected[ok, -1] & (np.sign(later.estimate[ok, -1]) == np.sign(theta))
    if theta and right.sum() >= MIN_REPLICATES:
        missed = proportion(Measure.STOPS_WRONGLY, stops[right])
        yield missed.row(replace(here, n_failed=None))


def _words(risks: tuple[float, float]) -> str:
    return " and ".join(f"{100 * risk:.3g}%" for risk in risks)


def _in_short(design: HorizonDesign, cost: Cost | None) -> str:
    words = [f"{design.per_arm:,} per arm"]
    words += [f"{design.months:.0f} months"] if design.months is not None else []
    words += [f"{cost.currency} {design.cost:,.0f}"] if cost and design.cost is not None else []
    return ", ".join(words)


def _paired(
    own: LookResults, later: LookResults, ok: Bools, theta: float, scale: str
) -> Iterator[Characteristic]:
    """Yield what differs between a horizon and the reference in the same trials.

    A verdict is wrong where an effect exists at the reference and is not found in its direction,
    or none exists there and one is found. Errors are of differences within trials.
    """
    n = int(ok.sum())
    if n < MIN_REPLICATES:
        why = f"{n} analysable replicates; at least {MIN_REPLICATES} are needed"
        yield Characteristic(Measure.WRONG_VERDICT, None, None, n, why=why)
        return
    found, found_later = own.rejected[ok, -1], later.rejected[ok, -1]
    estimate = own.estimate[ok, -1]
    wrong = found if theta == 0 else ~(found & (np.sign(estimate) == np.sign(theta)))
    yield proportion(Measure.WRONG_VERDICT, wrong)
    yield proportion(Measure.VERDICT_CHANGES, found != found_later)
    for measure, values in (
        (Measure.POWER_DIFFERENCE, found.astype(float) - found_later),
        (Measure.BIAS_FROM_REFERENCE, estimate - theta),
    ):
        mcse = float(values.std(ddof=1)) / sqrt(n)
        on = f"log {scale}" if measure is Measure.BIAS_FROM_REFERENCE and "ratio" in scale else None
        yield Characteristic(measure, float(values.mean()), mcse, n, scale=on)
