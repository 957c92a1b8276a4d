"""A template with everything looked up: scenarios become truths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.protocol.endpoints import (
    Counted,
    OutcomeEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    Summary,
    TimeToEventEndpoint,
)
from trialsim.protocol.intercurrent import event_truths
from trialsim.protocol.modifiers import (
    Modifier,
    cells_of,
    control_risks,
    modified_lifetimes,
    modified_outcome,
    modified_risks,
)
from trialsim.protocol.outcomes import OutcomeTruth, outcome_truth, selected_together
from trialsim.protocol.published.evidence import Status, Trial
from trialsim.protocol.published.survival import (
    SilentReportError,
    published_lifetimes,
    status_of_lifetime,
    survival_as_seen,
)
from trialsim.protocol.quantities import Duration
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.scenario import (
    Courses,
    Leaving,
    LossHazardRatios,
    Nature,
    Piece,
    Reached,
    ResponseScenario,
    Scenario,
    TreatedRisk,
    Truth,
    odds_ratio_between,
    risk_at_odds_ratio,
)
from trialsim.protocol.survival import (
    AnyLifetime,
    EventCourse,
    HazardCurve,
    ImpossibleLifetimeError,
    Lifetime,
    Lifetimes,
    LifetimesByLevel,
    SurvivalScenario,
)
from trialsim.protocol.template import Template
from trialsim.protocol.truths.course import (
    DAYS_PER_YEAR,
    Course,
    ImpossibleCourseError,
    calibrated_hazard,
    log_normal_mix,
)
from trialsim.protocol.truths.pool import Dosing, EffectorPool, SeenUnder, dosing_of
from trialsim.protocol.truths.single_arm import comparisons, concurrent_risk, departed
from trialsim.protocol.truths.site_enrolment import enrolment_of, site_enrolment_of

__all__ = [
    "ImpossiblePieceError",
    "ResolvedTemplate",
    "Setting",
    "courses_of",
    "event_course",
    "lifetimes_of",
    "modified_lifetimes_of",
    "outcomes_of",
    "reached_probability",
    "risks_as_observed",
    "survival_of",
    "seen_probability",
    "with_modifiers",
]


@dataclass(frozen=True)
class Setting:
    """A value the user changed with ``--set``, and what the file had said."""

    path: str
    value: str
    was: str

    def __str__(self) -> str:
        return f"{self.path}: set by you: {self.value}; template: {self.was}"


class ImpossiblePieceError(ValueError):
    """A piece of a course that cannot be: whose arm, which piece, why, and a remedy of its own."""

    def __init__(self, arm: str, index: int, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.arm, self.index, self.remedy = arm, index, remedy


def reached_probability(reached: Reached, arm: str, evidence: Evidence) -> float | None:
    """Return the probability a piece is fitted to; None where its record does not give it."""
    if reached.value is not None:
        return reached.value
    record = evidence.records.get(reached.source or "")
    risks = record.risks(reached.result or "") if isinstance(record, Trial) else None
    return None if risks is None else risks[arm == "control"]


def courses_of(
    scenario: ResponseScenario,
    nature: Nature,
    therapy: Duration | None,
    evidence: Evidence,
    dosing: Dosing | None = None,
) -> Courses:
    """Fit both arms' hazards, piece by piece; a pool is filled by the experimental arm's `dosing`.

    Raises
    ------
    ImpossiblePieceError
        Where an end does not rise, or no hazard reaches what is asked.
    """
    leaving = nature.response or Leaving()
    rates = {
        name: getattr(leaving, f"{name}_per_year").value / DAYS_PER_YEAR
        for name in ("relapse", "death", "loss", "again")
    }
    factor = ""
    ratios: tuple[float, ...] = (1.0,)
    shares: tuple[float, ...] = (1.0,)
    if by := leaving.hazard_ratio_by:
        own = next(f for f in nature.factors if f.id == by.factor)  # known, by the rules
        factor, shares = own.id, own.shares
        stated = [by.ratios.get(level.id) for level in own.levels or ()]
        ratios = tuple(ratio.value if ratio else 1.0 for ratio in stated)
    frailty = leaving.frailty_sd.value
    mix = tuple(
        (share * weight, ratio * times)
        for share, ratio in zip(shares, ratios, strict=True)
        for weight, times in log_normal_mix(frailty)
    )
    by_state = leaving.loss_hazard_ratios or LossHazardRatios()
    blank = Course((), (0.0,), **rates, mix=mix, loss_ratios=by_state.of_states)
    control = _course("control", scenario.control, blank, therapy, evidence, None)
    blank = replace(blank, loss=blank.loss * by_state.treated.value)
    treated = replace(control, loss=blank.loss)
    if (pool := scenario.pool) and scenario.treated:
        until = scenario.treated[0].until.days_after_entry(therapy)
        then = treated
        if pool.fitted_to:  # its own therapy, whatever the protocol's
            lasting = pool.fitted_to.under.lasting
            then = _course("control", scenario.control, blank, lasting, evidence, None)
        treated = _pool_course(pool, dosing, until, treated, then, evidence)
    elif scenario.treated:
        treated = _course("treated", scenario.treated, blank, therapy, evidence, control)
    missed = leaving.missed_visits.value
    return Courses(control, treated, missed, frailty, factor, ratios if factor else ())


def lifetimes_of(scenario: SurvivalScenario, nature: Nature) -> Lifetimes:
    """Resolve both arms' distributions of the time to the event.

    Raises
    ------
    ImpossibleLifetimeError
        Where no control arm is stated, levels do not match their factor, or a lifetime cannot be.
    """
    control = scenario.control or nature.survival
    if control is None:
        raise ImpossibleLifetimeError("needs 'control', or nature.survival for all scenarios")
    by_level = [x for x in (control, scenario.treated) if isinstance(x, LifetimesByLevel)]
    names = {spec.factor for spec in by_level}
    if len(names) > 1:
        raise ImpossibleLifetimeError("must differ by one factor in both arms")
    factor = next((f for f in nature.factors if f.id in names), None)
    if names and (factor is None or factor.levels is None):
        raise ImpossibleLifetimeError(
            f"differs by '{names.pop()}', which is no factor with levels under nature.factors"
        )
    levels = {level.id: level.share.value for level in factor.levels or ()} if factor else {"": 1.0}
    for spec in by_level:
        if set(spec.levels) != set(levels):
            raise ImpossibleLifetimeError(
                f"must state every level of '{spec.factor}': {', '.join(levels)}"
            )

    def curves(spec: Lifetime | LifetimesByLevel) -> tuple[HazardCurve, ...]:
        own = [spec.levels[name] if isinstance(spec, LifetimesByLevel) else spec for name in levels]
        return tuple(lifetime.curve for lifetime in own)

    of_control, ratios = curves(control), scenario.ratios
    if scenario.treated:
        of_treated, constant = curves(scenario.treated), None
    else:
        of_treated = tuple(curve.times(ratios) for curve in of_control)
        constant = ratios[0][1] if len({ratio for _, ratio in ratios}) == 1 else None
    loss = nature.leaving.curve if nature.leaving else None
    return Lifetimes(
        factor.id if factor else "",
        tuple(levels.values()),
        of_control,
        of_treated,
        loss,
        1.0 if of_treated == of_control else constant,
    )


def outcomes_of(scenario: Scenario, template: Template) -> tuple[tuple[str, OutcomeTruth], ...]:
    """Resolve every endpoint drawn as ``nature.outcomes`` says (ImpossibleOutcomeError)."""
    protocol = template.protocol
    by_id = {endpoint.id: endpoint for endpoint in protocol.endpoints}
    share = protocol.ratio[0] / sum(protocol.ratio)
    return tuple(
        (
            name,
            outcome_truth(
                by_id[name],
                departed(template, name, model),
                scenario.outcomes.get(name),
                protocol.therapy,
                share,
            ),
        )
        for name, model in template.simulated_outcomes.items()
    )


def with_modifiers(truth: Truth, scenario: Scenario, template: Template) -> Truth:
    """Return a truth whose effects differ as its scenario says (ImpossibleModifierError)."""
    protocol, nature = template.protocol, template.nature
    by_endpoint = _by_endpoint(scenario, protocol.primary.id)
    if protocol.primary.id in by_endpoint:
        truth = replace(truth, label=f"{truth.label} on average")
    for name, modifiers in by_endpoint.items():
        if name == protocol.primary.id and truth.lifetimes:
            continue  # they have it
        summary = protocol.endpoint(name).summary
        known = [covariate.id for covariate in nature.covariates]
        cells = cells_of(modifiers, nature.factors, known, ratios=summary.is_ratio)
        assert cells is not None  # there are modifiers
        own = summary if isinstance(summary, Summary) else None
        if outcome := truth.outcome(name):
            modified = modified_outcome(outcome, cells, own)
        else:
            assert own is not None  # a binary primary endpoint
            base = control_risks(cells, truth.control_risk, truth.factors, truth.prognostic_sd)
            modified = modified_risks(cells, base, truth.treated_risk, own)
        truth = replace(truth, modified=(*truth.modified, (name, modified)))
    return truth


def risks_as_observed(
    scenario: Scenario, template: Template, evidence: Evidence
) -> tuple[float, float] | None:
    """Return the risks, treated and control, of the trial that `as_observed` names.

    Of a single arm that of its treated arm beside what the historical control has become; None
    where they are not given.
    """
    record, primary = evidence.records.get(scenario.as_observed or ""), template.protocol.primary.id
    if not isinstance(record, Trial):
        return None
    if not template.protocol.is_single_arm:
        return record.risks(primary)
    result, control = record.result(primary), concurrent_risk(template, scenario)
    treated = result.experimental.risk if result and result.experimental else None
    return None if treated is None or control is None else (treated, control)


def survival_of(scenario: Scenario, template: Template, evidence: Evidence) -> SurvivalScenario:
    """Return when events come: as stated, or as the trial saw that `as_observed` names.

    Raises
    ------
    SilentReportError, ValueError
        Where its record does not give it, or no hazards can.
    """
    if not scenario.as_observed:
        return scenario.survival or SurvivalScenario()
    record, protocol = evidence.records[scenario.as_observed], template.protocol
    if not isinstance(record, Trial):
        raise SilentReportError(f"is a {record.kind}, which observed nothing")
    seen = published_lifetimes(record, protocol.primary.id, None, protocol.therapy)
    return survival_as_seen(record, protocol.primary.id, seen, template.nature.survival)


def modified_lifetimes_of(scenario: Scenario, template: Template, evidence: Evidence) -> Lifetimes:
    """Resolve both arms' distributions, with what modifies the effect.

    Raises
    ------
    ImpossibleLifetimeError, ImpossibleModifierError, SilentReportError
    """
    protocol, nature = template.protocol, template.nature
    stated = survival_of(scenario, template, evidence)
    lifetimes = lifetimes_of(stated, nature)
    modifiers = _by_endpoint(scenario, protocol.primary.id).get(protocol.primary.id, [])
    known = [covariate.id for covariate in nature.covariates]
    cells = cells_of(modifiers, nature.factors, known, ratios=True)
    if cells is None:
        return lifetimes
    day = protocol.primary.read_out.days_after_entry(protocol.therapy)
    return modified_lifetimes(lifetimes, cells, stated.ratios, day)


def _by_endpoint(scenario: Scenario, primary: str) -> dict[str, list[Modifier]]:
    found: dict[str, list[Modifier]] = {}
    for modifier in scenario.modifiers:
        found.setdefault(modifier.endpoint or primary, []).append(modifier)
    return found


def event_course(scenario: Scenario, template: Template, evidence: Evidence) -> EventCourse:
    """Return how many events to expect by when under a scenario of a time-to-event protocol."""
    protocol, primary = template.protocol, template.protocol.primary
    enrolment = enrolment_of(template)
    assert enrolment is not None  # required by the rules
    assert isinstance(primary, TimeToEventEndpoint)
    treated, control = protocol.arm_sizes
    return EventCourse(
        modified_lifetimes_of(scenario, template, evidence),
        enrolment,
        treated,
        control,
        primary.followed_for.days if primary.followed_for else inf,
    )


def _course(
    arm: str,
    pieces: Sequence[Piece],
    blank: Course,
    therapy: Duration | None,
    evidence: Evidence,
    control: Course | None,
) -> Course:
    """Fill in the pieces of a course that has all but these."""
    ends: list[float] = []
    hazards: list[float] = []
    for index, piece in enumerate(pieces):
        start = ends[-1] if ends else 0.0
        end = piece.until.days_after_entry(therapy)
        if end <= start:
            raise ImpossiblePieceError(
                arm, index, f"must end after day {start:g}; it ends on {end:g}"
            )
        if piece.as_control:
            if control is None:
                raise ImpossiblePieceError(arm, index, "is the control arm itself")
            borrowed = _between(control, start, end)
            ends += [stop for stop, _ in borrowed]
            hazards += [hazard for _, hazard in borrowed]
            continue
        if piece.onset:
            smooth = piece.onset.pieces(start, end)
            ends += [stop for stop, _ in smooth]
            hazards += [hazard for _, hazard in smooth]
            continue
        if piece.hazard_per_year is not None:
            hazard = piece.hazard_per_year.value / DAYS_PER_YEAR
        else:
            assert piece.reaches is not None  # one of three, by the model
            target = reached_probability(piece.reaches, arm, evidence)
            if target is None:
                raise ImpossiblePieceError(
                    arm, index, "is fitted to a result that gives no such counts"
                )
            starts = [0.0, *ends]
            earlier = [(stop - s, h) for s, stop, h in zip(starts, ends, hazards, strict=False)]
            try:
                hazard = calibrated_hazard(
                    earlier,
                    end - start,
                    target,
                    relapse=blank.relapse,
                    leaving=blank.death + (0.0 if blank.losses else blank.loss),
                    again=blank.again,
                    mix=blank.mix,
                    losses=blank.losses,
                )
            except ImpossibleCourseError as why:
                raise ImpossiblePieceError(
                    arm, index, f"cannot reach {target:.4g}: {why}"
                ) from None
        ends.append(end)
        hazards.append(hazard)
    return replace(blank, breaks=tuple(ends), response=tuple(hazards))


def _pool_course(
    pool: EffectorPool,
    dosing: Dosing | None,
    until: float,
    control: Course,
    then: Course,
    evidence: Evidence,
) -> Course:
    """Return a course that follows from doses; `then` is the control's where it is fitted."""
    filling, unit = pool.filled_by(dosing) if dosing else None, pool.reference_dose
    if filling is None:
        needed = "needs the experimental arm's dose, 'every' and 'for' of one phase"
        why = f"{needed}, to count in doses of {unit}"
        remedy = f"Write regimen: {{drug: ..., dose: {unit}, every: 3.5 d, for: 26 wk}} there."
        raise ImpossiblePieceError("treated", 0, why, remedy)
    if pool.hazard_per_year_at_most is not None:
        most = pool.hazard_per_year_at_most.value / DAYS_PER_YEAR
        return pool.course(control, filling, until, most)
    assert pool.fitted_to is not None  # one of two, by the model
    target = seen_probability(pool.fitted_to, evidence)
    if target is None:
        raise ImpossiblePieceError("treated", 0, "is fitted to a result that gives no such counts")
    by = pool.fitted_to.by.days_after_entry(pool.fitted_to.under.lasting)
    try:
        most = pool.solved(then, target, by)
    except ImpossibleCourseError as why:
        raise ImpossiblePieceError("treated", 0, f"cannot reach {target:.4g}: {why}") from None
    return pool.course(control, filling, until, most)


def seen_probability(seen: SeenUnder, evidence: Evidence) -> float | None:
    """Return what was seen under a regimen; None where its record does not give it."""
    reached = Reached(value=seen.value, source=seen.source, result=seen.result)
    return reached_probability(reached, "treated", evidence)


def _between(course: Course, start: float, end: float) -> list[tuple[float, float]]:
    """Return (end, hazard) of a course's pieces between two days."""
    found, day = [], 0.0
    for length, hazard in course.pieces(end):
        day += length
        if day > start:
            found.append((day, hazard))
    return found


@dataclass(frozen=True)
class ResolvedTemplate:
    """A template with its variant and settings merged in, and the evidence it may cite.

    Attributes
    ----------
    template : Template
    evidence : Evidence
        Shipped records, those of ``--evidence`` and the file's own.
    variant : str
        Id of the variant merged in; empty for none.
    settings : tuple of Setting
    """

    template: Template
    evidence: Evidence
    variant: str = ""
    settings: tuple[Setting, ...] = ()

    @cached_property
    def document(self) -> dict[str, Any]:
        """The resolved protocol in a run's record: all that a simulation depends on."""
        return self.template.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"variants", "qc", "optimise"}
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of the resolved protocol."""
        canonical = json.dumps(self.document, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def scenarios(self, wanted: Sequence[str] = ()) -> tuple[Scenario, ...]:
        """Return the scenarios of these ids in the file's order; all of them for none.

        Raises
        ------
        RequestError
            For an id the file does not have.
        """
        known = [scenario.id for scenario in self.template.scenarios]
        for name in wanted:
            if name not in known:
                remedy = did_you_mean(name, known, f"Its scenarios are {', '.join(known)}.")
                rule = "is not a scenario of this protocol"
                raise RequestError(Problem(rule, remedy, field="--scenario", value=f"'{name}'"))
        return tuple(s for s in self.template.scenarios if not wanted or s.id in wanted)

    def status_of(self, scenario: Scenario, day: float | None = None) -> str:
        """Return how far the number behind a scenario can be relied on: a status, or "assumed".

        An effect that modifiers divide among patients, or intercurrent events change, is assumed,
        whatever it rests on, unless it rests on something weaker. `day` is that of the read-out,
        for courses of response; the primary one's if left out.
        """
        found = self._status_of_effect(scenario, day)
        changed = scenario.modifiers or self.template.nature.intercurrent_events
        weak = found != "-" and found != "assumed" and Status(found).is_weak
        return "assumed" if changed and found != "-" and not weak else found

    def _status_of_effect(self, scenario: Scenario, day: float | None) -> str:
        if scenario.response:
            protocol = self.template.protocol
            primary = protocol.primary.read_out.days_after_entry(protocol.therapy)
            return self._status_of_courses(scenario.response, primary if day is None else day)
        if scenario.as_observed:
            return self.weakest_status(scenario.as_observed, self.template.protocol.primary.id)
        if scenario.survival:
            ratio = scenario.survival.number
            if ratio is None:
                return self._status_of_lifetimes(scenario.survival)
            stated = ratio.source and self.evidence.stated_as(
                ratio.source, "hazard_ratio", ratio.value
            )
            return stated.status.value if stated else "assumed"
        if isinstance(self.template.protocol.primary, OutcomeEndpoint):
            return self.status_of_outcome(scenario, self.template.protocol.primary.id)
        if scenario.effect is None:
            return "-"
        number, quantity = scenario.effect.number, scenario.effect.quantity
        stated = number.source and self.evidence.stated_as(number.source, quantity, number.value)
        found = stated.status.value if stated else "assumed"
        if isinstance(scenario.effect, TreatedRisk) and not self.template.protocol.is_single_arm:
            # beside a control risk that is assumed, the difference is
            control = scenario.control_risk or self.template.nature.control_risk
            return found if control and control.source else "assumed"
        return found

    def _status_of_lifetimes(self, stated: SurvivalScenario) -> str:
        """Return the weaker status of two arms that state themselves; "-" without a treated one."""
        if stated.treated is None:
            return "-"
        arms = (stated.treated, stated.control or self.template.nature.survival)
        found = [self.status_of_lifetime(arm) for arm in arms]
        known = [status for status in found if status]
        if len(known) < len(arms):
            return "assumed"
        return max(known, key=list(Status).index).value

    def status_of_lifetime(self, stated: AnyLifetime | None) -> Status | None:
        """Return the status of the number a lifetime cites; None where it cites none."""
        source = stated.source if isinstance(stated, Lifetime) else None
        record = self.evidence.records.get(source or "")
        if record is None or not isinstance(stated, Lifetime):
            return None
        return status_of_lifetime(stated, record)

    def status_of_outcome(self, scenario: Scenario, endpoint: str) -> str:
        """Return how far the effect on an endpoint under ``outcomes:`` can be relied on."""
        effect = scenario.outcomes.get(endpoint)
        if effect is None:
            return "-"
        source, value = effect.number.source, effect.number.value
        stated = source and self.evidence.stated_as(source, effect.stated[0], value)
        return stated.status.value if stated else "assumed"

    @cached_property
    def endpoints(self) -> tuple[SimulatedEndpoint, ...]:
        """The endpoints that are simulated, the primary first."""
        protocol = self.template.protocol
        own = protocol.simulated
        stated = self.template.simulated_outcomes
        return (*own, *(e for e in protocol.endpoints if e.id in stated and e not in own))

    def endpoint(self, name: str) -> SimulatedEndpoint:
        """Return one of these."""
        return next(e for e in self.endpoints if e.id == name)

    def weakest_status(self, record: str, result: str) -> str:
        """Return the weaker status of the two arms of a trial's result."""
        trial = self.evidence.records[record]
        found = trial.result(result) if isinstance(trial, Trial) else None
        arms = [arm for arm in (found.experimental, found.control) if arm] if found else []
        return max((arm.status for arm in arms), key=list(Status).index).value

    def estimate_status(self, record: str, result: str) -> str:
        """Return the status of an effect re-derived from a result's counts."""
        weakest = Status(self.weakest_status(record, result))
        return weakest.value if weakest.is_weak else Status.DERIVED.value

    def _status_of_courses(self, response: ResponseScenario, day: float) -> str:
        """Return the weakest status of the points both arms are fitted to on a day.

        A read-out that no published point fixes, or whose piece carries a note, is assumed.
        """
        if response.treated is None:
            return "-"
        found: list[Status] = []
        for arm, pieces in (("control", response.control), ("experimental", response.treated)):
            status = self._status_on(day, arm, pieces)
            if status is None:
                return "assumed"
            found.append(status)
        return max(found, key=list(Status).index).value

    def status_of_control_course(self, scenario: Scenario, day: float) -> str:
        """Return how far the control arm's course can be relied on, on a day."""
        assert scenario.response is not None  # asked of courses
        found = self._status_on(day, "control", scenario.response.control)
        changed = self.template.nature.intercurrent_events
        return "assumed" if found is None or changed else found.value

    def _status_on(self, day: float, arm: str, pieces: Sequence[Piece]) -> Status | None:
        therapy = self.template.protocol.therapy
        for piece in pieces:
            reached = piece.reaches
            at_end = abs(piece.until.days_after_entry(therapy) - day) <= 1
            if not at_end or piece.note or reached is None or not reached.result:
                continue
            record = self.evidence.records[reached.source or ""]
            result = record.result(reached.result) if isinstance(record, Trial) else None
            seen = getattr(result, arm) if result else None
            return seen.status if seen else None
        return None

    def set_by_user(self, *paths: str) -> str | None:
        """Return what the user set at or under any of these paths, in words."""
        said = [
            str(s)
            for s in self.settings
            for p in paths
            if f"{s.path}.".startswith(f"{p}.") or f"{p}.".startswith(f"{s.path}.")
        ]
        return "; ".join(dict.fromkeys(said)) or None

    def truth(self, scenario: Scenario, control_risk: float | None = None) -> Truth:
        """Resolve a scenario, at its own control risk or carried over to another one.

        Effects are carried on the scale they are stated on; a stated treated risk, and a scenario
        that repeats a trial, as the odds ratio they imply. Courses of response are what they are,
        whatever the control risk.

        Raises
        ------
        ValueError
            If the effect takes `control_risk` out of (0, 1); the message says to what.
        """
        correlations = self.template.nature.correlations
        outcomes = selected_together(outcomes_of(scenario, self.template), correlations)
        truth = replace(
            self._truth_of_primary(scenario, control_risk),
            outcomes=outcomes,
            correlations=correlations,
            intercurrent=event_truths(
                self.template.nature.intercurrent_events, scenario.intercurrent_events
            ),
        )
        if self.template.protocol.is_single_arm:
            truth = replace(truth, comparisons=comparisons(self.template, scenario, truth))
        if scenario.made_from:
            truth = replace(truth, from_data_of=scenario.made_from, from_results=())
        return with_modifiers(truth, scenario, self.template)

    def _truth_of_primary(self, scenario: Scenario, control_risk: float | None) -> Truth:
        primary = self.template.protocol.primary
        if scenario.response:
            return self._truth_of_courses(scenario, scenario.response)
        if isinstance(primary, TimeToEventEndpoint):
            return self._truth_of_lifetimes(scenario)
        if isinstance(primary, OutcomeEndpoint):
            effect = scenario.outcomes.get(primary.id)
            return Truth(
                scenario.id,
                effect.label if effect else "no effect",
                scenario.title,
                0.0,
                0.0,
                0.0,
                self.template.nature.factors,
                (effect.number.source or "") if effect else "",
                primary=primary.id,
                enrolment=enrolment_of(self.template),
                sites=site_enrolment_of(self.template),
            )
        return self._truth_of_risks(scenario, control_risk)

    def _truth_of_risks(self, scenario: Scenario, control_risk: float | None) -> Truth:
        nature = self.template.nature
        source = from_data = ""
        from_results: tuple[str, ...] = ()
        if scenario.as_observed:
            risks = risks_as_observed(scenario, self.template, self.evidence)
            if risks is None:
                raise AssertionError("checked when the file was loaded")
            treated, own = risks
            label = f"OR {odds_ratio_between(treated, own):.2f}"
            if self.template.protocol.is_single_arm:
                label = f"{100 * own:.3g}% -> {100 * treated:.3g}%"
            source = from_data = scenario.as_observed
            from_results = (self.template.protocol.primary.id,)
        else:
            concurrent = concurrent_risk(self.template, scenario)
            if concurrent is None:
                raise AssertionError("checked when the file was loaded")
            own = treated = concurrent
            label = "no effect"
            if scenario.effect:
                treated = scenario.effect.applied_to(own)
                label, source = scenario.effect.label, scenario.effect.number.source or ""
                from_data = source if isinstance(self.evidence.records.get(source), Trial) else ""
            if isinstance(scenario.effect, TreatedRisk):
                label = f"{100 * own:.3g}% -> {100 * treated:.3g}%"
        if control_risk is not None and control_risk != own:
            if scenario.as_observed or isinstance(scenario.effect, TreatedRisk):
                treated = risk_at_odds_ratio(odds_ratio_between(treated, own), control_risk)
            else:
                effect = scenario.effect
                treated = effect.applied_to(control_risk) if effect else control_risk
            own = control_risk
        if not 0 < treated < 1:
            raise ValueError(f"{label} takes a control risk of {own:.3g} to {treated:.3g}")
        slope = nature.severity_slope.value if nature.severity_slope else 0.0
        return Truth(
            scenario.id,
            label,
            scenario.title,
            own,
            treated,
            slope,
            nature.factors,
            source,
            from_data,
            from_results,
            enrolment=enrolment_of(self.template),
            sites=site_enrolment_of(self.template),
            covariates=tuple((covariate.id, covariate.slope) for covariate in nature.covariates),
        )

    def _truth_of_lifetimes(self, scenario: Scenario) -> Truth:
        nature, protocol = self.template.nature, self.template.protocol
        lifetimes = modified_lifetimes_of(scenario, self.template, self.evidence)
        control, treated = lifetimes.risks(
            protocol.primary.read_out.days_after_entry(protocol.therapy)
        )
        stated: SurvivalScenario | None = None
        if scenario.survival or scenario.as_observed:
            stated = survival_of(scenario, self.template, self.evidence)
        source = (stated.number.source or "") if stated and stated.number else ""
        if stated and isinstance(stated.treated, Lifetime):
            source = stated.treated.source or ""
        return Truth(
            scenario.id,
            stated.label if stated else "no effect",
            scenario.title,
            control,
            treated,
            0.0,
            nature.factors,
            source,
            source if isinstance(self.evidence.records.get(source), Trial) else "",
            (protocol.primary.id,) if scenario.as_observed else (),
            lifetimes=lifetimes,
            enrolment=enrolment_of(self.template),
            sites=site_enrolment_of(self.template),
        )

    def _truth_of_courses(self, scenario: Scenario, response: ResponseScenario) -> Truth:
        nature, protocol = self.template.nature, self.template.protocol
        dosing = dosing_of(protocol.experimental.regimen)
        courses = courses_of(response, nature, protocol.therapy, self.evidence, dosing)
        visit_days = tuple(day for day, _ in protocol.visit_days)
        courses = replace(courses, visit_days=visit_days)
        day = protocol.primary.read_out.days_after_entry(protocol.therapy)
        pieces = (*response.control, *(response.treated or ()))
        fitted = [p for p in pieces if p.source]
        source = fitted[0].source or "" if fitted else ""
        repeats = response.treated and len({piece.source for piece in fitted}) == 1
        truth = Truth(
            scenario.id,
            "no effect",
            scenario.title,
            0.0,
            0.0,
            0.0,
            nature.factors,
            source,
            source if repeats else "",
            tuple(p.reaches.result or "" for p in fitted if p.reaches) if repeats else (),
            courses,
        )
        primary = protocol.primary
        counted = primary.counted if isinstance(primary, ResponseEndpoint) else Counted.AT_HORIZON
        control, treated = truth.risks_on(day, counted)
        words = truth.label if truth.is_null else f"{100 * control:.3g}% -> {100 * treated:.3g}%"
        return replace(truth, label=words, control_risk=control, treated_risk=treated)
