"""The size for a primary endpoint that is a time to an event, compared by the log-rank test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from math import ceil, exp, log, sqrt

from trialsim.characteristics import Characteristic, proportion
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.errors import Problem
from trialsim.protocol.design import Trigger
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.survival import EventCourse
from trialsim.protocol.truths.resolved import event_course
from trialsim.sizing.survival import (
    SurvivalMethod,
    TimeToEvent,
    survival_conventions,
    survival_power,
    survival_size,
)
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.size.kind import SizedKind, refused_options
from trialsim.studies.size.margin_by_simulation import rejects_margin
from trialsim.trial import AnalysisPlan, Measure

__all__ = ["LifetimesSized"]


class LifetimesSized(SizedKind):
    """Two distributions of the time to an event; looks count events."""

    seen_unit = "events"
    effect_scale = "hazard ratio"
    effect_short = "HR"

    def problems(self) -> Iterator[Problem]:
        """Yield what was asked for and cannot be had with this kind."""
        options = ("--exact", "--reestimate")
        yield from refused_options(self.question, options, "a time to an event")

    def test_of(self, truth: Truth, scenario: Scenario) -> WithLooks:
        """Return size and power of the test under a truth of the template."""
        design = self._design(truth, scenario)
        level, allocation = self.question.level, self.question.allocation
        share = allocation.treated_share
        return WithLooks(
            lambda power: survival_size(design, power, level, allocation).total_unrounded,
            lambda total: survival_power(design, total * share, total * (1 - share), level),
            level,
            self.question.looks,
        )

    def _design(self, truth: Truth, scenario: Scenario) -> TimeToEvent:
        assert truth.lifetimes is not None
        proportional = truth.lifetimes.constant_ratio is not None
        method = SurvivalMethod.SCHOENFELD if proportional else SurvivalMethod.AVERAGE_HAZARD_RATIO
        course = self._course_of(scenario)
        return TimeToEvent(course, self.question.cut_day, method, self.question.hypothesis)

    def conventions(self) -> tuple[str, ...]:
        """Return every choice the fixed design depends on, in words."""
        design = self._design(self.question.truth, self.question.scenario)
        said = survival_conventions(design, self.question.level)
        return (*said, self.question.allocation.convention)

    def _course_of(self, scenario: Scenario) -> EventCourse:
        resolved = self.question.resolved
        return event_course(scenario, resolved.template, resolved.evidence)

    def information(self, total: int) -> float:
        """Return the events expected at the last look."""
        course = self._course_of(self.question.scenario)
        n1, n0 = self.question.arms_of(total)
        return replace(course, n_treated=n1, n_control=n0).by(self.question.cut_day)

    # -- effects -----------------------------------------------------------------------------

    def effect_of_drift(self, drift: float, total: int) -> float:
        """Return the hazard ratio whose statistic is expected at `drift`."""
        sign = -1.0 if self.question.plan.better.value == "lower" else 1.0
        share = self.question.allocation.treated_share
        events = self.information(total)
        return self.null_effect * exp(sign * drift / sqrt(events * share * (1 - share)))

    @cached_property
    def planned_effect(self) -> float:
        """The hazard ratio planned for, at the end."""
        scenario, truth = self.question.scenario, self.question.truth
        number = scenario.survival.number if scenario.survival else None
        constant = truth.lifetimes.constant_ratio if truth.lifetimes else None
        return constant or (number.value if number else 1.0)

    @property
    def null_effect(self) -> float:
        """The margin, or 1."""
        return self.question.request.margin or 1.0

    def test_at(self, effect: float) -> WithLooks:
        """Return size and power at a constant hazard ratio."""
        content = {"id": "other", "title": "another", "survival": {"hazard_ratio": effect}}
        scenario = Scenario.model_validate(content)
        return self.test_of(self.question.resolved.truth(scenario), scenario)

    # -- what is said ------------------------------------------------------------------------

    def table(self, total: int) -> None:
        """Return nothing: the size rests on events."""
        del total

    def assumptions(self) -> Iterator[tuple[str, str]]:
        """Yield what else is assumed beside the effect."""
        yield "survival on control, enrolment and dropout", ""

    def reasons(self, total: int) -> Iterator[str]:
        """Yield why the simulation may differ from the formula."""
        del total
        yield "hazards are not proportional, or loss and enrolment matter"

    def r_call(self) -> str:
        """Return rpact's call for the events; empty without proportional hazards."""
        request, design = self.question.request, self.rpact_design()
        assert self.question.truth.lifetimes is not None
        hazard_ratio = self.question.truth.lifetimes.constant_ratio
        if request.margin is not None or not design or hazard_ratio is None:
            return ""
        ratio = self.question.allocation.treated / self.question.allocation.control
        return (
            f"library(rpact); d <- {design}; getSampleSizeSurvival(d, hazardRatio = "
            f'{hazard_ratio:.12g}, typeOfComputation = "Schoenfeld", '
            f"allocationRatioPlanned = {ratio:.12g})$maxNumberOfEvents"
        )

    # -- the same design, simulated ------------------------------------------------------------

    @property
    def strata_matter(self) -> bool:
        """Strata are kept: lifetimes may differ between them."""
        return True

    def final_look(self, total: int) -> Trigger:
        """Return the template's own last look, its events those expected by then."""
        last = self.question.protocol.looks[-1].at
        if last.events is not None:
            return Trigger(events=ceil(self.information(total)))
        return last

    def interim_look(self, fraction: float, total: int) -> Trigger:
        """Return the events expected at a fraction of those at the end.

        Where the end is a date, a fraction of the information sets off nothing in a trial.
        """
        if self.question.protocol.looks[-1].at.events is not None:
            return Trigger(information=fraction)
        return Trigger(events=max(1, ceil(fraction * self.information(total) - 1e-9)))

    def simulated_power(self, total: int, *, replicates: int, seed: int) -> Characteristic:
        """Return the power by simulation; with a margin, of Wald's test of the Cox model."""
        margin = self.question.request.margin
        if margin is None:
            return super().simulated_power(total, replicates=replicates, seed=seed)
        protocol = self.protocol_at(total)
        plan = AnalysisPlan.of(protocol)
        job = Job(protocol, (plan,), (self.simulated_truth,))
        (simulation,) = run([job], n_replicates=replicates, seed=seed)
        found = simulation.results[0][0]
        z = plan.benefit * (found.estimate - log(margin)) / found.standard_error
        ok = ~found.failed.any(axis=1)  # no Cox estimate at some look: left out
        rejected = rejects_margin(z[ok], self.question.level, self.question.looks)
        return proportion(Measure.POWER, rejected)
