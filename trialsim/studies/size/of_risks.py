"""The size for a primary endpoint that is a risk: of an event, or of being in response."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import inf, nan, sqrt

from trialsim.characteristics import Characteristic
from trialsim.errors import DesignError, Problem
from trialsim.kernels.exact import ExactTest
from trialsim.kernels.proportions import Scale
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import BinaryTest, Summary
from trialsim.protocol.published.cautions import Caution, outside_intervals
from trialsim.protocol.published.evidence import EffectEstimate, Pool, Trial
from trialsim.protocol.scenario import Scenario, Truth, odds_ratio_between, risk_at_odds_ratio
from trialsim.sizing.proportions import (
    NullVariance,
    TwoProportions,
    exact_proportions_power,
    exact_proportions_size,
    proportions_conventions,
    proportions_power,
    proportions_size,
)
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.size.exact_by_simulation import counts_power
from trialsim.studies.size.kind import PowerAt, PowerTable, SizedKind
from trialsim.studies.size.margin_by_simulation import MarginTrial, margin_power

__all__ = ["CONTROL_RISKS", "RisksSized"]

CONTROL_RISKS = (0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50)
_MARGIN_TESTS = {
    NullVariance.RESTRICTED: "Farrington-Manning",
    NullVariance.MIETTINEN_NURMINEN: "Miettinen-Nurminen",
    NullVariance.UNPOOLED: "Wald",
}
# of these tests, what a trial is analysed with; the others have a rejection region alone
_ANALYSED_AS = {ExactTest.CHI_SQUARE: BinaryTest.CHI_SQUARE, ExactTest.FISHER: BinaryTest.FISHER}


class RisksSized(SizedKind):
    """Two risks: by normal approximation, by enumeration, or against a margin."""

    effect_scale = "risk difference"
    effect_short = "RD"
    axis = "odds ratio"

    def problems(self) -> Iterator[Problem]:
        """Yield bounds on z beside a test that has none."""
        fisher = self.question.plan.test is BinaryTest.FISHER and self.question.level.sides == 2
        if fisher and self.question.request.information:
            rule = "have bounds on z, which a two-sided Fisher test does not give"
            remedy = "Use analysis: chi-square, or test: {sides: 1}, in the protocol."
            yield Problem(rule, remedy, "--looks")

    def test_of(self, truth: Truth, scenario: Scenario) -> WithLooks:
        """Return size and power of the test under a truth of the template."""
        del scenario
        return self._test_of_risks(
            *truth.risks_on(self.question.plan.day, self.question.plan.counted)
        )

    def _test_of_risks(self, control: float, treated: float) -> WithLooks:
        design = self.two_proportions(control, treated)
        level, allocation = self.question.level, self.question.allocation
        share = allocation.treated_share
        return WithLooks(
            lambda power: proportions_size(design, power, level, allocation).total_unrounded,
            lambda total: proportions_power(design, total * share, total * (1 - share), level),
            level,
            self.question.looks,
        )

    def two_proportions(self, control: float, treated: float) -> TwoProportions:
        """Return the comparison of two risks that is planned."""
        request = self.question.request
        if request.margin is None:
            return TwoProportions(treated, control)
        scale = Scale(str(self.question.plan.summary))
        return TwoProportions(
            treated, control, scale, self.question.hypothesis, request.margin_test
        )

    @cached_property
    def _enumerated_total(self) -> int | None:
        exact = self.question.request.exact
        if exact is None:
            return None
        control, treated = self.question.risks
        found = exact_proportions_size(
            exact,
            treated,
            control,
            self.question.request.power,
            self.question.level,
            self.question.allocation,
        )
        return found.total

    def enumerated_total(self) -> int | None:
        """Return the size found by enumeration, where that is asked for."""
        return self._enumerated_total

    def enumerated_power(self, total: int) -> float | None:
        """Return the power of a size by enumeration, where that is asked for."""
        if self.question.request.exact is None:
            return None
        return self._enumerated(*self.question.risks, total)

    def _enumerated(self, control: float, treated: float, total: int) -> float:
        exact = self.question.request.exact
        assert exact is not None
        n1, n0 = self.question.arms_of(total)
        return exact_proportions_power(exact, treated, control, n1, n0, self.question.level)

    def conventions(self) -> tuple[str, ...]:
        """Return every choice the fixed design depends on, in words."""
        level, exact = self.question.level, self.question.request.exact
        said: tuple[str, ...] = (
            level.convention,
            f"{exact} test by enumeration; smallest size from which power does not fall below the "
            "target again; other scenarios and power curves: chi-square by normal approximation",
        )
        if exact is None:
            control, treated = self.question.risks
            said = proportions_conventions(self.two_proportions(control, treated), level)
        return (*said, self.question.allocation.convention)

    # -- effects -----------------------------------------------------------------------------

    def effect_of_drift(self, drift: float, total: int) -> float:
        """Return the risk difference with an expected statistic, variance under no effect.

        Not a number where there is a margin: the looks then show no difference.
        """
        if self.question.request.margin is not None:
            return nan
        sign = -1.0 if self.question.plan.better.value == "lower" else 1.0
        share = self.question.allocation.treated_share
        control, treated = self.question.risks
        pooled = share * treated + (1 - share) * control
        variance = pooled * (1 - pooled) / (total * share * (1 - share))
        return sign * drift * sqrt(variance)

    @cached_property
    def planned_effect(self) -> float:
        """The odds ratio planned for."""
        control, treated = self.question.risks
        return odds_ratio_between(treated, control)

    @cached_property
    def null_effect(self) -> float:
        """The odds ratio at which the null hypothesis is just true, at the planned control risk."""
        margin, summary = self.question.request.margin, self.question.plan.summary
        if margin is None:
            return 1.0
        if summary is Summary.ODDS_RATIO:
            return margin
        control, _ = self.question.risks
        at = control * margin if summary is Summary.RISK_RATIO else control + margin
        return odds_ratio_between(at, control) if 0 < at < 1 else inf

    def test_at(self, effect: float) -> WithLooks:
        """Return size and power at another odds ratio, the control risk kept."""
        control, _ = self.question.risks
        return self._test_of_risks(control, risk_at_odds_ratio(effect, control))

    # -- what is said ------------------------------------------------------------------------

    def table(self, total: int) -> PowerTable:
        """Return the power over the control risk, the odds ratio kept."""
        control, _ = self.question.risks
        found = []
        for risk in sorted({*CONTROL_RISKS, round(control, 3)}):
            own = risk_at_odds_ratio(self.planned_effect, risk)
            try:
                if self.question.request.exact is None:
                    power = self._test_of_risks(risk, own).power(total)
                else:
                    power = self._enumerated(risk, own, total)
            except DesignError:
                continue
            cells = f"{100 * risk:.1f}%", f"{100 * own:.1f}%"
            found.append(PowerAt(cells, f"control risk {risk:g}, odds ratio kept", power))
        title = "If the control risk is another, the odds ratio the same:"
        return PowerTable(title, ("control risk", "treated risk"), tuple(found))

    @property
    def margin_scale(self) -> str:
        """What a margin is on."""
        return str(self.question.plan.summary)

    @property
    def test_in_words(self) -> str:
        """The test with its sides and level."""
        request, plan = self.question.request, self.question.plan
        if request.exact is not None:
            sides = "two" if plan.sides == 2 else "one"
            return f"{request.exact}, {sides}-sided {100 * plan.alpha:g}%"
        if request.margin is None:
            return plan.in_words
        return f"{_MARGIN_TESTS[request.margin_test]}, one-sided {100 * plan.alpha:g}%"

    def assumptions(self) -> Iterator[tuple[str, str]]:
        """Yield where the control risk comes from."""
        scenario, nature = self.question.scenario, self.question.resolved.template.nature
        if scenario.response or scenario.as_observed:
            yield "control risk", self.question.truth.source
        else:
            stated = scenario.control_risk or nature.control_risk
            yield "control risk", (stated.source or "") if stated else ""

    def cautions(self) -> Iterator[Caution]:
        """Yield published effects in whose interval the planned one does not lie."""
        outside = list(self._published_intervals())
        if outside:
            truth, scenario = self.question.truth, self.question.scenario
            yield outside_intervals(truth.label, scenario.id, outside)

    def _published_intervals(self) -> Iterator[tuple[str, EffectEstimate]]:
        resolved, primary = self.question.resolved, self.question.protocol.primary.id
        for reference in resolved.template.observed:
            record = resolved.evidence.records[reference.evidence]
            effects: tuple[EffectEstimate, ...] = ()
            if isinstance(record, Pool):
                effects = record.effects
            elif isinstance(record, Trial) and (found := record.result(primary)):
                effects = found.effects
            for effect in effects:
                if effect.measure.short != "OR" or not effect.ci:
                    continue
                if not effect.ci[0] <= self.planned_effect <= effect.ci[1]:
                    yield record.id, effect

    def reasons(self, total: int) -> Iterator[str]:
        """Yield why the simulation may differ from the formula."""
        control, treated = self.question.risks
        n1, n0 = self.question.arms_of(total)
        if min(n1 * treated, n0 * control) < 20:
            yield "fewer than 20 events are expected in an arm"
        if self.strata_matter:
            yield "the scenario has prognosis or strata"

    def r_call(self) -> str:
        """Return rpact's call; empty for enumeration and margins."""
        request, design = self.question.request, self.rpact_design()
        if request.exact or request.margin is not None or not design:
            return ""
        control, treated = self.question.risks
        ratio = self.question.allocation.treated / self.question.allocation.control
        return (
            f"library(rpact); d <- {design}; getSampleSizeRates(d, pi1 = {treated:.12g}, "
            f"pi2 = {control:.12g}, allocationRatioPlanned = {ratio:.12g})$maxNumberOfSubjects"
        )

    # -- the same design, simulated ------------------------------------------------------------

    @property
    def strata_matter(self) -> bool:
        """Whether patients differ in what the scenario says, so that strata change the power."""
        truth = self.question.truth
        unlike = truth.prognostic_sd or any(set(f.odds_ratios) != {1.0} for f in truth.factors)
        return bool(unlike) or truth.courses is not None

    @property
    def drawn_as_counts(self) -> bool:
        """Whether nothing tells patients apart."""
        return not self.strata_matter

    def protocol_at(self, total: int) -> Protocol:
        """Return the template's protocol at a size, analysed by the test that is enumerated."""
        protocol, exact = super().protocol_at(total), self.question.request.exact
        if exact not in _ANALYSED_AS:
            return protocol
        own = protocol.primary.model_copy(update={"analysis": _ANALYSED_AS[exact]})
        endpoints = tuple(own if e.id == own.id else e for e in protocol.endpoints)
        return protocol.model_copy(update={"endpoints": endpoints})

    def simulated_power(self, total: int, *, replicates: int, seed: int) -> Characteristic:
        """Return the power by simulation of the very test that is planned.

        With a margin, or by a test no trial is analysed with, of counts at the arms' risks.
        """
        request = self.question.request
        control, treated = self.question.risks
        n1, n0 = self.question.arms_of(total)
        if request.exact is not None and request.exact not in _ANALYSED_AS:
            arms = (treated, n1), (control, n0)
            return counts_power(
                request.exact, *arms, self.question.level, replicates=replicates, seed=seed
            )
        if request.margin is None:
            return super().simulated_power(total, replicates=replicates, seed=seed)
        design = self.two_proportions(control, treated)
        trial = MarginTrial(design, n1, n0, self.question.level, self.question.looks)
        return margin_power(trial, replicates=replicates, seed=seed)
