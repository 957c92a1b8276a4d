"""The size for a primary endpoint that is measured: t, Welch, change from baseline, ANCOVA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from math import exp, log, sqrt

from trialsim.errors import DesignError, Problem
from trialsim.protocol.endpoints import MeasuredTest, OutcomeSummary
from trialsim.protocol.outcomes import MeasuredTruth
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.sizing.fixed import (
    SUPERIORITY,
    Hypothesis,
    Margin,
    OppositeTail,
    margin_problems,
    refuse,
)
from trialsim.sizing.means import (
    Adjusted,
    PooledDeviation,
    SeparateDeviations,
    Spread,
    TwoMeans,
    means_conventions,
    means_power,
    means_size,
    seen_deviations,
)
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.size.kind import (
    PowerAt,
    PowerTable,
    SizedKind,
    refused_options,
)

__all__ = ["MeansSized"]

_SPREADS = (0.8, 0.9, 1.0, 1.1, 1.25)  # times the standard deviation planned with (assumed)


class MeansSized(SizedKind):
    """Two means at the last visit; of logarithms on the log scale."""

    def problems(self) -> Iterator[Problem]:
        """Yield what was asked for and cannot be had with this kind."""
        options = ("--exact", "--reestimate", "--grid", "--prior")
        yield from refused_options(self.question, options, "a measurement")
        request, log_scale = self.question.request, self._planned.log
        if log_scale and request.margin is not None and request.margin <= 0:
            rule, remedy = "must be a ratio above 0", "Write the ratio itself: --margin 0.8."
            yield Problem(rule, remedy, "--margin", f"{request.margin:g}")

    @property
    def _planned(self) -> MeasuredTruth:
        return self._measured(self.question.truth)

    def _measured(self, truth: Truth) -> MeasuredTruth:
        found = truth.outcome(self.question.protocol.primary.id)
        assert isinstance(found, MeasuredTruth)
        return found

    def _spread(self, factor: float = 1.0) -> Spread:
        """Return what varies and how it is estimated, every deviation times a factor."""
        truth = self._planned
        deviation = factor * truth.spread(change=False)  # of the eligible
        match self.question.plan.test:
            case MeasuredTest.WELCH:
                return SeparateDeviations(deviation, deviation)
            case MeasuredTest.ANCOVA:
                return Adjusted(factor * truth.sds[-1], truth.correlation[0][-1])
            case MeasuredTest.CHANGE:
                return PooledDeviation(factor * truth.spread(change=True))
            case _:
                return PooledDeviation(deviation)

    @cached_property
    def _hypothesis(self) -> Hypothesis:
        """The hypothesis on the scale of the analysis."""
        request, hypothesis = self.question.request, self.question.hypothesis
        if request.margin is None or not isinstance(hypothesis, Margin):
            return SUPERIORITY
        level, no_effect = self.question.level, self._shown(0.0)
        refuse(margin_problems(hypothesis, self.planned_effect, no_effect, level))
        margin = self._analysed(request.margin)
        return request.margin_kind(margin, hypothesis.better)

    def _design(self, difference: float, factor: float = 1.0) -> TwoMeans:
        return TwoMeans(difference, self._spread(factor), self._hypothesis)

    def test_of(self, truth: Truth, scenario: Scenario) -> WithLooks:
        """Return size and power of the test under a truth of the template."""
        del scenario
        return self._test(self._design(self._measured(truth).theta(self._summary)))

    def _test(self, design: TwoMeans) -> WithLooks:
        level, allocation = self.question.level, self.question.allocation
        share = allocation.treated_share
        return WithLooks(
            lambda power: means_size(design, power, level, allocation).total_unrounded,
            lambda total: means_power(design, total * share, total * (1 - share), level),
            level,
            self.question.looks,
        )

    def conventions(self) -> tuple[str, ...]:
        """Return every choice the fixed design depends on, in words."""
        said = means_conventions(self._design(self._difference), self.question.level)
        if self._planned.log:
            said = (*said, "means are of logarithms: ratios of geometric means")
        if self.question.plan.test is MeasuredTest.CHANGE:
            said = (*said, "of the change from baseline, its deviation by the correlation stated")
        if self.question.looks:
            said = (*said, "bounds are those of a normal statistic, compared with by P value")
        return (*said, self.question.allocation.convention)

    def tolerance(self, total: int) -> float:
        """Return what the test in the wrong direction adds to the simulation, where power is exact.

        Welch's and that of an adjusted analysis are approximations, as where patients are lost.
        """
        exact = self.question.plan.test in (MeasuredTest.T_TEST, MeasuredTest.CHANGE)
        if not exact or self._lost_in_simulation:
            return super().tolerance(total)
        level, design = self.question.level, self._design(self._difference)
        arms = self.question.arms_of(total)
        both = means_power(design, *arms, replace(level, opposite_tail=OppositeTail.COUNTED))
        return both - means_power(design, *arms, level)

    @property
    def lost_by_nature(self) -> float:
        """Share of patients lost before the last visit."""
        truth = self._planned
        return float(1 - (1 - truth.lost_per_visit) ** (len(truth.control) - 1))

    # -- effects -----------------------------------------------------------------------------

    @property
    def _summary(self) -> OutcomeSummary:
        summary = self.question.plan.summary
        assert isinstance(summary, OutcomeSummary)
        return summary

    @cached_property
    def _difference(self) -> float:
        return self._planned.theta(self._summary)

    def _shown(self, difference: float) -> float:
        return exp(difference) if self._planned.log else difference

    def _analysed(self, effect: float) -> float:
        return log(effect) if self._planned.log else effect

    @property
    def effect_scale(self) -> str:
        """The scale of `effect_of_drift`, in words."""
        return str(self._summary)

    @property
    def effect_short(self) -> str:
        """The same in a few letters."""
        return self._summary.short

    def effect_of_drift(self, drift: float, total: int) -> float:
        """Return the effect whose statistic is expected at `drift`."""
        treated, control = seen_deviations(self._spread())
        n1, n0 = self.question.arms_of(total)
        error = sqrt(treated**2 / n1 + control**2 / n0)
        return self._shown(self._analysed(self.null_effect) + self._benefit * drift * error)

    @property
    def _benefit(self) -> int:
        return self.question.plan.benefit

    @property
    def planned_effect(self) -> float:
        """The effect planned for."""
        return self._shown(self._difference)

    @property
    def null_effect(self) -> float:
        """The margin, or no effect."""
        margin = self.question.request.margin
        return self._shown(0.0) if margin is None else margin

    def test_at(self, effect: float) -> WithLooks:
        """Return size and power of the test if the truth were another effect."""
        return self._test(self._design(self._analysed(effect)))

    def reflected(self, effect: float) -> float:
        """Return the effect as far on the other side of the null hypothesis."""
        return self._shown(2 * self._analysed(self.null_effect) - self._analysed(effect))

    def effects_around(self) -> list[float]:
        """Return effects of both directions, for a power curve."""
        widest = 1.6 * max(abs(self._difference), abs(self._analysed(self.null_effect)))
        return [self._shown(widest * (-1 + i / 30)) for i in range(61)]

    # -- what is said ------------------------------------------------------------------------

    def table(self, total: int) -> PowerTable:
        """Return the power over the standard deviation, the effect kept."""
        name = "geometric SD" if self._planned.log else "SD"
        found = []
        for factor in _SPREADS:
            deviation = factor * self._planned.sds[-1]
            shown = f"{self._shown(deviation):.4g}"
            try:
                power = self._test(self._design(self._difference, factor)).power(total)
            except DesignError:
                continue
            said = f"{name} {shown}, effect kept"
            found.append(PowerAt((shown, f"x {factor:g}"), said, power))
        on = ", on the log scale" if self._planned.log else ""
        title = f"If the standard deviation is another, the effect the same{on}:"
        return PowerTable(title, (name, "of planned"), tuple(found))

    def assumptions(self) -> Iterator[tuple[str, str]]:
        """Yield what else is assumed beside the effect."""
        yield "standard deviation", ""
        if self.question.plan.test in (MeasuredTest.CHANGE, MeasuredTest.ANCOVA):
            yield "correlation with baseline", ""

    def reasons(self, total: int) -> Iterator[str]:
        """Yield why the simulation may differ from the formula."""
        if self.question.plan.test is MeasuredTest.ANCOVA:
            yield "the adjustment is estimated, and baselines differ by chance"
        if self._lost_in_simulation:
            yield "how many are lost varies"
        if total < 20:
            yield "the trial is very small"

    def r_call(self) -> str:
        """Return the R call that gives the size before rounding.

        Student's t with as many patients in both arms by R's own `power.t.test`, which like here
        leaves out the wrong direction; in other ratios by rpact; the others by the root of the
        noncentral t distribution.
        """
        question, distance = self.question, abs(self._difference - self._null_difference)
        spread, level = self._spread(), question.level
        power = question.request.power
        treated, control = question.allocation.treated, question.allocation.control
        if isinstance(spread, PooledDeviation) and question.looks is None and treated == control:
            sides = "two.sided" if level.sides == 2 else "one.sided"
            return (
                f"2 * power.t.test(delta = {distance:.12g}, sd = {spread.deviation:.12g}, "
                f"sig.level = {level.alpha:.12g}, power = {power:.12g}, "
                f'alternative = "{sides}", tol = 1e-12)$n'
            )
        if isinstance(spread, PooledDeviation):
            design = self.rpact_design()
            return design and (
                f"library(rpact); d <- {design}; getSampleSizeMeans(d, alternative = "
                f"{distance:.12g}, stDev = {spread.deviation:.12g}, allocationRatioPlanned = "
                f"{treated / control:.12g})$maxNumberOfSubjects"
            )
        if question.looks is not None:
            return ""
        share = question.allocation.treated_share
        s1, s0 = seen_deviations(spread)
        freedom, least = "n - 3", 4.0
        error = f"sqrt(({s1**2 / share:.12g} + {s0**2 / (1 - share):.12g}) / n)"
        if isinstance(spread, SeparateDeviations):
            a, b = s1**2 / share, s0**2 / (1 - share)
            freedom = (
                f"{(a + b) ** 2:.12g} / ({a**2:.12g} / ({share:.12g} * n - 1) + "
                f"{b**2:.12g} / ({1 - share:.12g} * n - 1))"
            )
            least = 2 / min(share, 1 - share)
        return (
            f"uniroot(function(n) {{df <- {freedom}; pt(qt({1 - level.per_side:.12g}, df), df, "
            f"{distance:.12g} / {error}, lower.tail = FALSE) - {power:.12g}}}, "
            f"c({least:.12g}, 1e7), tol = 1e-10)$root"
        )

    @property
    def _null_difference(self) -> float:
        return self._analysed(self.null_effect)

    # -- the same design, simulated ------------------------------------------------------------

    @property
    def _lost_in_simulation(self) -> bool:
        return self.question.request.loss is None and self.lost_by_nature > 0

    @property
    def simulated_truth(self) -> Truth:
        """The truth planned for, as far from no effect as it is from the margin.

        A test against a margin is one of no difference after the margin is taken from the treated
        arm. Where the share lost is typed, patients analysed are simulated and nobody is lost.
        """
        truth, name = self.question.truth, self.question.protocol.primary.id
        own, shift = self._planned, self._null_difference
        lost = own.lost_per_visit if self._lost_in_simulation else 0.0
        treated = tuple(mean - shift for mean in own.treated)
        changed = replace(own, treated=treated, lost_per_visit=lost)
        outcomes = {**dict(truth.outcomes), name: changed}
        return replace(truth, outcomes=tuple(outcomes.items()))
