"""How many patients does this trial need? By formula, exactly, with looks, and simulated again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, exp, inf, isnan, log, nan, sqrt
from statistics import NormalDist
from typing import Any

from trialsim.analyse.looks import events_wanted, stop
from trialsim.characteristics import Z95, Characteristic, characteristics
from trialsim.engine.blocks import Job
from trialsim.engine.run import kernel_for, run
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.kernels.exact import ExactTest
from trialsim.kernels.proportions import Scale
from trialsim.protocol.cautions import Caution, outside_intervals, unlike_formula
from trialsim.protocol.design import (
    MAX_PATIENTS,
    Look,
    Protocol,
    SampleSize,
    Trigger,
)
from trialsim.protocol.design import Allocation as Allocated
from trialsim.protocol.endpoints import (
    BinaryTest,
    LogRankTest,
    OutcomeEndpoint,
    Summary,
    TimeToEventEndpoint,
)
from trialsim.protocol.evidence import EffectEstimate, Pool, Trial
from trialsim.protocol.resolved import ResolvedTemplate, event_course
from trialsim.protocol.scenario import Scenario, Truth, odds_ratio_between, risk_at_odds_ratio
from trialsim.sizing.fixed import (
    MOST_PATIENTS,
    SUPERIORITY,
    Allocation,
    Hypothesis,
    Level,
    Margin,
    NonInferiority,
)
from trialsim.sizing.fixed import Better as BetterDirection
from trialsim.sizing.proportions import (
    NullVariance,
    TwoProportions,
    exact_proportions_power,
    exact_proportions_size,
    proportions_power,
    proportions_size,
)
from trialsim.sizing.sequential import (
    BetaSpending,
    Efficacy,
    Futility,
    GivenBounds,
    GivenFutility,
    HwangShihDeCani,
    LanDeMetsObrienFleming,
    LanDeMetsPocock,
    SequentialDesign,
    WangTsiatis,
    sequential_design,
)
from trialsim.sizing.survival import (
    SurvivalMethod,
    TimeToEvent,
    expected_day,
    survival_power,
    survival_size,
)
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.margin_by_simulation import MarginTrial, margin_power
from trialsim.studies.monitoring import Seen, seen_so_far
from trialsim.studies.operating_grid import ExampleTrial, OperatingGrid, operating_grid
from trialsim.studies.reestimation import Reestimated, Reestimation, SizeRule, reestimated
from trialsim.studies.size_by_simulation import size_by_simulation
from trialsim.studies.size_paragraph import justification
from trialsim.trial import AnalysisPlan, Kernel, Measure, Row, StudyResult

__all__ = ["Belief", "LookRow", "PlannedSize", "SizeRequest", "plan_size"]

CONTROL_RISKS = (0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50)
_TOLERANCE = 0.02  # beside 4 MCSE, between a formula and the simulation of it
_WEAK = ("document", "unverified")
_PRIOR_POINTS = 201
_NO_EFFECT_SCALE = "of a margin of two risks only z is shown"
_ODDS_MULTIPLES = (0.5, 0.75, 1.0, 1.25, 1.5)  # of the planned control risk's odds (assumed)


@dataclass(frozen=True)
class SizeRequest:
    """What is asked for; what is None is as the template has it.

    Attributes
    ----------
    power : float
    total : int or None
        Ask for the power of so many patients instead.
    scenario : Scenario or None
        The truth planned for; None for the template's first with an effect that is no weak claim.
    information : tuple of float
        Looks, as fractions of the final information; empty for the template's own.
    efficacy, futility, binding
        Rules for these looks.
    observed, seen_information : tuple of float
        Z at the looks held so far, positive in favour of treatment, and the information there;
        the latter empty for as planned.
    loss : float
        Share of patients without an outcome.
    allocation : Allocation or None
    margin : float or None
        On the effect's scale,
    margin_kind : type
        of `NonInferiority`, or of `SuperiorityByMargin`,
    margin_test : NullVariance
        and the test of two risks against it.
    exact : ExactTest or None
        Size by enumeration.
    accept_claim : bool
        Plan for a number that only a document states, or that was not verified.
    prior : tuple of str
        Evidence ids; what they say together of the effect is a normal prior of its log ratio.
    important : str
        The difference that would matter to patients, in words (DELTA2),
    realistic : str
        and the one that may be expected; empty for that of the published source planned for.
    reestimate : SizeRule or None
        Compute the size again from the blinded pooled event rate,
    reestimate_at, most
        at this share of the planned patients, and up to so many (twice as many if left out).
    by_simulation : bool
        Find the size by simulating at several, whatever the analysis.
    grid : bool
        Simulate the design over a grid of nuisance values (FDA 2019, ICH E20).
    """

    power: float = 0.8
    total: int | None = None
    scenario: Scenario | None = None
    information: tuple[float, ...] = ()
    efficacy: Efficacy | None = None
    futility: Futility | None = None
    binding: bool = False
    observed: tuple[float, ...] = ()
    seen_information: tuple[float, ...] = ()
    loss: float = 0.0
    allocation: Allocation | None = None
    margin: float | None = None
    margin_kind: type[Margin] = NonInferiority
    margin_test: NullVariance = NullVariance.RESTRICTED
    exact: ExactTest | None = None
    accept_claim: bool = False
    prior: tuple[str, ...] = ()
    important: str = ""
    realistic: str = ""
    reestimate: SizeRule | None = None
    reestimate_at: float = 0.5
    most: int | None = None
    grid: bool = False
    by_simulation: bool = False


@dataclass(frozen=True)
class LookRow:
    """One look of a design, at its size.

    Attributes
    ----------
    information : float
        Fraction of the final.
    seen : float
        Patients read out, or events.
    z, nominal_p : float
        Efficacy bound; one-sided P there.
    futility_z : float or None
    effect : float
        The estimate that just meets the bound: risk difference, or hazard ratio.
    alpha_spent, power : float
        Cumulative.
    stops_null, stops_effect : float
        Probability to stop here for any reason, without and with the effect.
    """

    information: float
    seen: float
    z: float
    nominal_p: float
    futility_z: float | None
    effect: float
    alpha_spent: float
    power: float
    stops_null: float
    stops_effect: float


@dataclass(frozen=True)
class Belief:
    """The size for one scenario by the same method, and its power if each scenario were true.

    Attributes
    ----------
    total : int or None
        Patients in all; None where no size has the power.
    powers : tuple of float or None
        In the order of the template's scenarios; None where there is no effect.
    """

    truth: Truth
    status: str
    total: int | None
    powers: tuple[float | None, ...]


def plan_size(resolved: ResolvedTemplate, request: SizeRequest) -> PlannedSize:
    """Decide what is planned for, before any work.

    Raises
    ------
    RequestError
        For a weak claim that was not accepted.
    DesignError
        For a design that cannot be met.
    """
    primary = resolved.template.protocol.primary
    if isinstance(primary, OutcomeEndpoint):
        remedy = (
            "From Python: trialsim.sizing.means_size, ordinal_size; or try sizes with 'simulate "
            "--set protocol.sample_size.total=N'."
        )
        rule = f"is of kind {primary.kind}, which 'size' does not plan for yet"
        raise RequestError(Problem(rule, remedy, f"protocol.endpoints.{primary.id}"))
    scenario = request.scenario or _first_solid(resolved)
    status = "assumed" if _is_own(resolved, scenario) else resolved.status_of(scenario)
    truth = resolved.truth(scenario)
    if (status in _WEAK or _is_weak_number(resolved, truth)) and not request.accept_claim:
        rule = f"plans for {truth.label}, which only a document states or nobody verified"
        remedy = "Add --accept-claim to plan for it all the same; it is then shown with its status."
        raise RequestError(Problem(rule, remedy, "--scenario", scenario.id))
    planned = PlannedSize(resolved, request, scenario, truth, status)
    planned.check()
    planned.seen  # noqa: B018 (what was observed is refused before any work)
    return planned


def _is_own(resolved: ResolvedTemplate, scenario: Scenario) -> bool:
    return all(scenario.id != own.id for own in resolved.template.scenarios)


def _is_weak_number(resolved: ResolvedTemplate, truth: Truth) -> bool:
    """Whether an effect set by hand is one that only a weak source states."""
    return any(
        resolved.truth(own).label == truth.label and resolved.status_of(own) in _WEAK
        for own in resolved.template.scenarios
    )


def _first_solid(resolved: ResolvedTemplate) -> Scenario:
    for scenario in resolved.template.scenarios:
        if not resolved.truth(scenario).is_null and resolved.status_of(scenario) not in _WEAK:
            return scenario
    rule, remedy = "has no scenario with an effect to plan for", 'State one: --effect "OR 0.70".'
    raise RequestError(Problem(rule, remedy, "--scenario"))


@dataclass(frozen=True)
class PlannedSize:
    """A design whose size is to be found: everything but the simulation follows from it."""

    resolved: ResolvedTemplate
    request: SizeRequest
    scenario: Scenario
    truth: Truth
    status: str

    @property
    def protocol(self) -> Protocol:
        """The template's own."""
        return self.resolved.template.protocol

    @property
    def is_survival(self) -> bool:
        """Whether the primary endpoint is a time to an event."""
        return isinstance(self.protocol.primary, TimeToEventEndpoint)

    @cached_property
    def plan(self) -> AnalysisPlan:
        """Analysis of the primary endpoint."""
        return AnalysisPlan.of(self.protocol)

    @cached_property
    def level(self) -> Level:
        """Significance level."""
        return Level(self.plan.alpha, self.plan.sides)

    @cached_property
    def allocation(self) -> Allocation:
        """Allocation ratio."""
        return self.request.allocation or Allocation(*self.protocol.ratio)

    @cached_property
    def looks(self) -> SequentialDesign | None:
        """Interim analyses; None for one analysis at the end."""
        asked = self.request
        efficacy, futility, information = asked.efficacy, asked.futility, asked.information
        if not information and len(self.protocol.looks) > 1:
            information, efficacy, futility = _own_looks(self.protocol, self.level)
        if not information:
            return None
        if efficacy is None:
            rule, remedy = "must say how looks are judged", "Add --bounds obf, or --spending ldof."
            raise RequestError(Problem(rule, remedy, "--looks"))
        binding = asked.binding or any(look.binding for look in self.protocol.looks)
        return sequential_design(
            information,
            alpha=self.level.alpha,
            sides=self.level.sides,
            efficacy=efficacy,
            futility=futility,
            binding=binding,
            power=asked.power if isinstance(futility, BetaSpending) else None,
        )

    def check(self) -> None:
        """Refuse what is not supported together (RequestError)."""
        primary = self.protocol.primary
        problems = []
        if self.request.exact and (self.looks or self.request.margin is not None):
            rule = "cannot be enumerated with looks or a margin"
            problems.append(Problem(rule, "Leave out --exact.", "--exact", self.request.exact))
        if self.request.reestimate and (self.looks or self.is_survival or self.request.exact):
            rule = "needs a binary endpoint, one analysis and no enumeration"
            problems.append(Problem(rule, "Leave one of them out.", "--reestimate"))
        if self.request.grid and not (self.looks or self.is_survival):
            rule, remedy = "needs a design with looks", "Add --looks 0.5,0.75,1 --bounds obf."
            problems.append(Problem(rule, remedy, "--grid"))
        if self.request.margin is not None and (self.request.reestimate or self.request.grid):
            rule, remedy = "cannot stand beside --reestimate or --grid", "Leave one of them out."
            problems.append(Problem(rule, remedy, "a margin", f"{self.request.margin:g}"))
        if self.request.observed and (not self.looks or self.request.by_simulation):
            rule = "needs a design with looks, and not --by simulation"
            remedy = "Add --looks 0.5,0.75,1 --spending ldof."
            problems.append(Problem(rule, remedy, "--observed"))
        if self.request.by_simulation and (self.request.exact or self.request.margin is not None):
            rule, remedy = "cannot stand beside --exact or --margin", "Leave one of them out."
            problems.append(Problem(rule, remedy, "--by", "simulation"))
        no_formula = self.request.exact or not _is_plain_log_rank(self.protocol)
        if self.is_survival and no_formula and not self.request.by_simulation:
            rule = "has no formula for this analysis of a time to an event"
            remedy = "Add --by simulation."
            problems.append(Problem(rule, remedy, "size", str(primary.analysis)))
        problems += [*self._total_problems(), *self._sides_problems()]
        if not 0 <= self.request.loss < 1:
            rule, remedy = "must be from 0 to below 1", "5% is 0.05."
            problems.append(Problem(rule, remedy, "--dropout", f"{self.request.loss:g}"))
        if problems:
            raise RequestError(problems)

    def _total_problems(self) -> Iterator[Problem]:
        total = self.request.total
        if total is not None and not (min(self._arms_of(total)) >= 1 and total <= MOST_PATIENTS):
            rule = f"must put a patient in each arm, and must not exceed {MOST_PATIENTS:,}"
            yield Problem(rule, "Write for example --total 400.", "--total", f"{total:,}")

    def _sides_problems(self) -> Iterator[Problem]:
        """Yield what needs a one-sided test, with the words that make it one."""
        if self.level.sides == 1:
            return
        alpha = self.level.per_side
        remedy = f"Add --set protocol.test.sides=1 --set protocol.test.alpha={alpha:g}."
        for given, what in (
            (self.request.margin is not None, f"must be 1 for {self.request.margin_kind.name}"),
            (self.request.futility is not None, "must be 1 for stopping for futility"),
        ):
            if given:
                yield Problem(what, remedy, "protocol.test.sides", "2")

    @cached_property
    def risks(self) -> tuple[float, float]:
        """Control and treated risk at the read-out."""
        return self.truth.risks_on(self.plan.day)

    @cached_property
    def test(self) -> WithLooks:
        """Size and power of the planned test."""
        if self.is_survival:
            return self._survival_test(self.truth, self.scenario)
        return self._risk_test(*self.risks)

    def _risk_test(self, control: float, treated: float) -> WithLooks:
        design = self._two_proportions(control, treated)
        share, level, allocation = self.allocation.treated_share, self.level, self.allocation
        return WithLooks(
            lambda power: proportions_size(design, power, level, allocation).total_unrounded,
            lambda total: proportions_power(design, total * share, total * (1 - share), level),
            level,
            self.looks,
        )

    def _two_proportions(self, control: float, treated: float) -> TwoProportions:
        if self.request.margin is None:
            return TwoProportions(treated, control)
        scale = Scale(str(self.plan.summary))
        return TwoProportions(treated, control, scale, self.hypothesis, self.request.margin_test)

    @cached_property
    def hypothesis(self) -> Hypothesis:
        """What is to be shown."""
        if self.request.margin is None:
            return SUPERIORITY
        better = BetterDirection(self.plan.better.value)
        return self.request.margin_kind(self.request.margin, better)

    @cached_property
    def cut_day(self) -> float:
        """Expected day of the last look, of the template's own design."""
        course = event_course(self.scenario, self.resolved.template)
        return expected_day(self.plan.looks[-1].at, course)

    def _survival_test(self, truth: Truth, scenario: Scenario) -> WithLooks:
        assert truth.lifetimes is not None
        proportional = truth.lifetimes.constant_ratio is not None
        method = SurvivalMethod.SCHOENFELD if proportional else SurvivalMethod.AVERAGE_HAZARD_RATIO
        course = event_course(scenario, self.resolved.template)
        design = TimeToEvent(course, self.cut_day, method, self.hypothesis)
        share, level, allocation = self.allocation.treated_share, self.level, self.allocation
        return WithLooks(
            lambda power: survival_size(design, power, level, allocation).total_unrounded,
            lambda total: survival_power(design, total * share, total * (1 - share), level),
            level,
            self.looks,
        )

    @cached_property
    def total_unrounded(self) -> float:
        """Patients by the formula."""
        if self.request.total is not None:
            return float(self.request.total)
        if self.request.exact:
            return float(self._exact_size)
        return self.test.total(self.request.power)

    @cached_property
    def _exact_size(self) -> int:
        control, treated = self.risks
        exact = self.request.exact
        assert exact is not None
        found = exact_proportions_size(
            exact, treated, control, self.request.power, self.level, self.allocation
        )
        return found.total

    @cached_property
    def total(self) -> int:
        """Patients analysed, whole allocation units."""
        unit = self.allocation.unit
        if self.request.total is not None:
            return self.request.total
        total = max(1, ceil(self.total_unrounded / unit - 1e-9)) * unit
        _refuse_beyond(total, "total patients", "State a larger effect or margin.")
        return total

    @cached_property
    def total_with_loss(self) -> int:
        """Patients to be randomised so that so many are analysed."""
        unit = self.allocation.unit
        total = ceil(self.total / (1 - self.request.loss) / unit - 1e-9) * unit
        _refuse_beyond(total, "patients randomised", "State a smaller --dropout.")
        return total

    @cached_property
    def power_achieved(self) -> float:
        """Power of the rounded size by the same method."""
        if self.request.exact:
            control, treated = self.risks
            n1, n0 = self.arms
            return exact_proportions_power(self.request.exact, treated, control, n1, n0, self.level)
        return self.test.power(self.total)

    @property
    def arms(self) -> tuple[int, int]:
        """Treated and control patients analysed."""
        return self._arms_of(self.total)

    def _arms_of(self, total: int) -> tuple[int, int]:
        treated = round(total * self.allocation.treated_share)
        return treated, total - treated

    @cached_property
    def events(self) -> float | None:
        """Expected events of a time-to-event trial at the last look."""
        if not self.is_survival:
            return None
        course = event_course(self.scenario, self.resolved.template)
        n1, n0 = self.arms
        return replace(course, n_treated=n1, n_control=n0).by(self.cut_day)

    @cached_property
    def conventions(self) -> tuple[str, ...]:
        """Every choice the numbers depend on, in words."""
        level, allocation = self.level, self.allocation
        if self.is_survival:
            course = event_course(self.scenario, self.resolved.template)
            proportional = course.lifetimes.constant_ratio is not None
            method = (
                SurvivalMethod.SCHOENFELD if proportional else SurvivalMethod.AVERAGE_HAZARD_RATIO
            )
            design = TimeToEvent(course, self.cut_day, method, self.hypothesis)
            said = survival_size(design, 0.8, level, allocation).conventions
        else:
            control, treated = self.risks
            said = proportions_size(
                self._two_proportions(control, treated), 0.8, level, allocation
            ).conventions
            if self.request.exact:
                said = (
                    level.convention,
                    f"{self.request.exact} test by enumeration; smallest size from which power "
                    "does not fall below the target again",
                    allocation.convention,
                )
        if self.looks:
            said = (*said, "looks: the fixed design's size times the inflation factor")
        if self.request.loss:
            said = (*said, f"divided by 1 - {self.request.loss:g} for patients without outcome")
        return said

    @cached_property
    def look_rows(self) -> tuple[LookRow, ...]:
        """The looks at the rounded size."""
        design = self.looks
        if design is None:
            return ()
        drift = self.test.drift(self.total)
        null, effect = design.stop_probabilities(0.0), design.stop_probabilities(drift)
        whole = self.events if self.is_survival else float(self.total)
        assert whole is not None
        rows, reached = [], 0.0
        for k, t in enumerate(design.information):
            last = k == len(design.information) - 1
            reached += float(effect.upper[k])
            z = design.efficacy_z[k]
            rows.append(
                LookRow(
                    t,
                    t * whole,
                    z,
                    design.nominal_p[k],
                    design.futility_z[k] if design.futility_z and not last else None,
                    self._effect_at(z, t),
                    design.alpha_spent[k],
                    reached,
                    float(null.upper[k] + null.lower[k]),
                    float(effect.upper[k] + effect.lower[k]),
                )
            )
        return tuple(rows)

    def _effect_at(self, z: float, fraction: float) -> float:
        """Return the estimate in favour of treatment that just meets a bound.

        Not a number where a margin is a ratio of risks: the looks then show no difference.
        """
        return self.effect_of_drift(z / sqrt(fraction))

    def effect_of_drift(self, drift: float) -> float:
        """Return the effect (risk difference, hazard ratio) with an expected Z at the planned end.

        With the variance under no effect, as planned.
        """
        sign = -1.0 if self.plan.better.value == "lower" else 1.0
        share = self.allocation.treated_share
        if self.is_survival:
            assert self.events is not None
            null = self.request.margin or 1.0
            return null * exp(sign * drift / sqrt(self.events * share * (1 - share)))
        if self.request.margin is not None:
            return nan
        control, treated = self.risks
        pooled = share * treated + (1 - share) * control
        variance = pooled * (1 - pooled) / (self.total * share * (1 - share))
        return sign * drift * sqrt(variance)

    @cached_property
    def seen(self) -> Seen | None:
        """What the looks held so far say; None where none is given."""
        if not self.request.observed:
            return None
        assert self.looks is not None
        drift = self.test.drift(self.total)
        return seen_so_far(self.looks, self.request.observed, drift, self.request.seen_information)

    def expected_total(self, *, effect: bool) -> float:
        """Return expected patients read out (or events) when the trial stops."""
        whole = self.events if self.is_survival else float(self.total)
        assert whole is not None
        if self.looks is None:
            return whole
        drift = self.test.drift(self.total) if effect else 0.0
        return self.looks.expected_information(drift) * whole

    @cached_property
    def control_risk_table(self) -> list[tuple[float, float, float]]:
        """Return (control risk, treated risk, power) at the size, the odds ratio kept."""
        control, treated = self.risks
        ratio = odds_ratio_between(treated, control)
        found = []
        for risk in sorted({*CONTROL_RISKS, round(control, 3)}):
            own = risk_at_odds_ratio(ratio, risk)
            power = self._power_or_none(self._risk_test(risk, own), self.total)
            if power is not None:
                found.append((risk, own, power))
        return found

    @cached_property
    def belief_matrix(self) -> list[Belief]:
        """Return, for every scenario, the size if it were planned for, and that size's power."""
        scenarios = self.resolved.template.scenarios
        truths = [self.resolved.truth(scenario) for scenario in scenarios]
        tests = [
            self._survival_test(truth, scenario)
            if self.is_survival
            else self._risk_test(*truth.risks_on(self.plan.day))
            for truth, scenario in zip(truths, scenarios, strict=True)
        ]
        rows: list[Belief] = []
        for scenario, truth, test in zip(scenarios, truths, tests, strict=True):
            status, unit = self.resolved.status_of(scenario), self.allocation.unit
            try:
                total = ceil(test.total(self.request.power) / unit - 1e-9) * unit
            except DesignError:
                rows.append(Belief(truth, status, None, ()))
                continue
            powers = tuple(
                None if self.has_no_power(other) else self._power_or_none(own, total)
                for other, own in zip(truths, tests, strict=True)
            )
            rows.append(Belief(truth, status, total, powers))
        return rows

    def has_no_power(self, truth: Truth) -> bool:
        """Whether a test without a margin has nothing to find."""
        return truth.is_null and self.request.margin is None

    @staticmethod
    def _power_or_none(test: WithLooks, total: int) -> float | None:
        try:
            return test.power(total)
        except DesignError:
            return None

    # -- how much depends on the effect ---------------------------------------------------------

    @cached_property
    def planned_ratio(self) -> float:
        """The odds ratio planned for; of a time to an event, the hazard ratio at the end."""
        if self.is_survival:
            number = self.scenario.survival.number if self.scenario.survival else None
            constant = self.truth.lifetimes.constant_ratio if self.truth.lifetimes else None
            return constant or (number.value if number else 1.0)
        control, treated = self.risks
        return odds_ratio_between(treated, control)

    def power_at_ratio(self, ratio: float) -> float:
        """Power towards the side of the planned effect, if the truth were another ratio.

        The odds ratio at the planned control risk, or a constant hazard ratio. Beyond a margin,
        that of the ratio as far on its other side, turned round.
        """
        null = self._null_ratio
        mirrored = (ratio - null) * (self.planned_ratio - null) < 0
        if ratio == null:
            return self.level.per_side
        against_margin = mirrored and self.request.margin is not None
        try:
            tested = null**2 / ratio if against_margin else ratio
            power = self._test_at_ratio(tested).power(self.total)
        except DesignError:
            return self.level.per_side
        if not mirrored:
            return power
        drift = self.level.critical_z + NormalDist().inv_cdf(min(max(power, 1e-12), 1 - 1e-12))
        if self.looks:
            return self.looks.power(-abs(drift))
        return NormalDist().cdf(-abs(drift) - self.level.critical_z)

    @cached_property
    def _null_ratio(self) -> float:
        """The ratio at which the null hypothesis is just true, at the planned control risk."""
        margin = self.request.margin
        if margin is None:
            return 1.0
        control, _ = self.risks
        if self.is_survival or self.plan.summary is Summary.ODDS_RATIO:
            return margin
        at = control * margin if self.plan.summary is Summary.RISK_RATIO else control + margin
        return odds_ratio_between(at, control) if 0 < at < 1 else inf

    @property
    def test_in_words(self) -> str:
        """The test with its sides and level."""
        if self.request.margin is None or self.is_survival:
            return self.plan.in_words
        names = {
            NullVariance.RESTRICTED: "Farrington-Manning",
            NullVariance.MIETTINEN_NURMINEN: "Miettinen-Nurminen",
            NullVariance.UNPOOLED: "Wald",
        }
        return f"{names[self.request.margin_test]}, one-sided {100 * self.plan.alpha:g}%"

    def _test_at_ratio(self, ratio: float) -> WithLooks:
        if not self.is_survival:
            control, _ = self.risks
            return self._risk_test(control, risk_at_odds_ratio(ratio, control))
        content = {"id": "other", "title": "another", "survival": {"hazard_ratio": ratio}}
        scenario = Scenario.model_validate(content)
        return self._survival_test(self.resolved.truth(scenario), scenario)

    @cached_property
    def prior(self) -> NormalDist | None:
        """Belief about the log ratio, from the records asked for; None without."""
        return pooled_prior(self.resolved, self.request) if self.request.prior else None

    @cached_property
    def assurance(self) -> float | None:
        """Power averaged over the prior (O'Hagan, Stevens and Campbell 2005)."""
        if self.prior is None:
            return None
        quantiles = [(i + 0.5) / _PRIOR_POINTS for i in range(_PRIOR_POINTS)]
        powers = [self.power_at_ratio(exp(self.prior.inv_cdf(q))) for q in quantiles]
        return sum(powers) / len(powers)

    def curves(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """Return sizes with their power, and ratios with the power of the size there."""
        sizes = [self.total * (0.25 + 0.05 * i) for i in range(36)]
        spread = max(1.6, exp(abs(log(self.planned_ratio)) * 1.6))
        ratios = [spread ** (-1 + i / 30) for i in range(61)]
        by_size = [self._power_or_none(self.test, round(n)) or 0.0 for n in sizes]
        return sizes, by_size, ratios, [self.power_at_ratio(ratio) for ratio in ratios]

    # -- the same design, simulated ------------------------------------------------------------

    @cached_property
    def simulated_protocol(self) -> Protocol:
        """The template's protocol at this size, with these looks."""
        changes: dict[str, Any] = {"sample_size": SampleSize(total=self.total)}
        ratio = {
            self.protocol.experimental.id: self.allocation.treated,
            self.protocol.control.id: self.allocation.control,
        }
        if self._strata_matter:
            kept = self.protocol.allocation.model_copy(update={"ratio": ratio, "block_sizes": None})
            changes["allocation"] = kept
        else:
            changes["allocation"] = Allocated(ratio=ratio)
        if self.looks or self.is_survival:
            changes["looks"] = tuple(self._simulated_looks())
        return self.protocol.model_copy(update=changes)

    @property
    def _strata_matter(self) -> bool:
        """Whether patients differ in what the scenario says, so that strata change the power."""
        truth = self.truth
        unlike = truth.prognostic_sd or any(set(f.odds_ratios) != {1.0} for f in truth.factors)
        return bool(unlike) or self.is_survival or truth.courses is not None

    def _simulated_looks(self) -> Iterator[Look]:
        design = self.looks
        last = self.protocol.looks[-1].at if self.is_survival else Trigger(information=1)
        if last.events is not None:
            assert self.events is not None
            last = Trigger(events=ceil(self.events))
        if design is None:
            yield Look(at=last)
            return
        for k, t in enumerate(design.information):
            final = k == len(design.information) - 1
            z = design.efficacy_z[k]
            futility = design.futility_z[k] if design.futility_z and not final else None
            yield Look(
                at=last if final else Trigger(information=t),
                efficacy_z=z if z < inf else None,
                futility_z=futility if futility is not None and futility > -10 else None,
                binding=design.binding,
            )

    def simulate(self, *, replicates: int = 10_000, seed: int = 1) -> Characteristic:
        """Return the power of this design by simulation, prognosis and strata included.

        With a margin, of counts at the arms' risks, by the test planned.
        """
        if self.total > MAX_PATIENTS:
            why = f"more than {MAX_PATIENTS:,} patients are not simulated"
            return Characteristic(Measure.POWER, None, None, 0, why=why)
        if self.request.margin is not None:
            return self._simulate_margin(replicates, seed)
        protocol = self.simulated_protocol
        plan = AnalysisPlan.of(protocol)
        job = Job(protocol, (plan,), (self.truth,)).on_its_shortest_path()
        (simulation,) = run([job], n_replicates=replicates, seed=seed)
        final = stop(simulation.results[0][0], plan).final
        return characteristics(final, 0.0, plan.summary)[0]

    def _simulate_margin(self, replicates: int, seed: int) -> Characteristic:
        if self.is_survival:
            why = "a margin of a time to an event is not simulated"
            return Characteristic(Measure.POWER, None, None, 0, why=why)
        control, treated = self.risks
        n1, n0 = self.arms
        design = self._two_proportions(control, treated)
        trial = MarginTrial(design, n1, n0, self.level, self.looks)
        return margin_power(trial, replicates=replicates, seed=seed)

    def by_simulation(self, *, replicates: int = 10_000, seed: int = 1) -> StudyResult:
        """Find the size by simulation, whatever the analysis; confirmed by a run of its own."""
        formula = not self.is_survival or _is_plain_log_rank(self.protocol)
        if formula:
            self._refuse_unsimulated("--by simulation")
        protocol = self.simulated_protocol if formula else self.protocol
        plan = AnalysisPlan.of(protocol)
        job = Job(protocol, (plan,), (self.truth,)).on_its_shortest_path()
        kernel = kernel_for(job, 2 * replicates)
        job = replace(job, plans=(replace(plan, kernel=kernel),), kernel=kernel)
        found = size_by_simulation(
            job, self.truth, power=self.request.power, seed=seed, confirming=replicates
        )
        blank = replace(self._blank(), level=self.request.power)
        low, high = found.interval
        rows = [
            replace(
                blank,
                measure=Measure.N_TOTAL,
                value=float(found.total),
                lower=low,
                upper=high,
                analysis="; ".join(found.conventions),
                unit="patients",
                headline=True,
            ),
            replace(
                blank,
                measure=Measure.POWER_SIMULATED,
                value=found.power_simulated,
                mcse=found.mcse,
                n_replicates=found.n_replicates,
                n_failed=found.n_failed,
            ),
        ]
        told = (
            f"{found.total:,} patients ({found.n_treated:,} + {found.n_control:,}; 95% interval "
            f"{low:,.0f} to {high:,.0f} before rounding) have "
            f"{100 * found.power_simulated:.1f}% power (Monte Carlo standard error "
            f"{100 * found.mcse:.1f}, {found.n_replicates:,} trials that the search had not seen) "
            f"to find {self.truth.label} ({self.truth.source or 'assumed'}) with a "
            f"{self.plan.in_words} test. The search took {found.replicates_searched:,} trials. "
            f"Conventions: {'; '.join(found.conventions)}."
        )
        return StudyResult(
            rows=tuple(rows),
            texts={"paragraph": told, "elsewhere": ""},
            figure_data={"points": found.points, "target": self.request.power},
            n_replicates=replicates,
        )

    def result(self, *, replicates: int = 10_000, seed: int = 1) -> StudyResult:
        """Simulate the design, and return all of it as rows, texts and warnings."""
        found = self.simulate(replicates=replicates, seed=seed)
        again, grid = self.reestimated(replicates, seed), self.grid(replicates, seed)
        rows = [*self._rows(found), *self._reestimated_rows(again)]
        texts = {"paragraph": self.paragraph(found), "elsewhere": self.r_call()}
        if grid:
            rows += grid.rows
            texts |= {f"example-{n}": told for n, told in enumerate(map(_told, grid.examples), 1)}
        return StudyResult(
            rows=tuple(rows),
            texts=texts,
            warnings=tuple(self._cautions(found)),
            figure_data={"planned": self, "simulated": found, "again": again, "grid": grid},
            n_replicates=replicates,
        )

    def reestimated(self, replicates: int, seed: int) -> tuple[Reestimated, ...]:
        """Return what computing the size again would do; empty where it is not asked for."""
        if self.request.reestimate is None:
            return ()
        control, treated = self.risks
        design = Reestimation(
            treated,
            control,
            self.request.reestimate_at,
            self.request.most or 2 * self.total,
            self.request.reestimate,
            Scale(str(self.plan.summary)),
            n_planned=self.total,
            power=self.request.power,
            level=self.level,
            allocation=self.allocation,
        )
        odds = control / (1 - control)
        risks = [odds * multiple / (1 + odds * multiple) for multiple in _ODDS_MULTIPLES]
        return reestimated(design, risks, replicates=replicates, seed=seed)

    def grid(self, replicates: int, seed: int) -> OperatingGrid | None:
        """Return the design over a grid of nuisance values; None where it is not asked for."""
        if not self.request.grid:
            return None
        self._refuse_unsimulated("--grid")
        template = self.resolved.template
        others = tuple(own for own in template.scenarios if own.id != self.scenario.id)
        changes = {"protocol": self.simulated_protocol, "scenarios": (*others, self.scenario)}
        resolved = replace(self.resolved, template=template.model_copy(update=changes))
        kernel = Kernel.NUMPY
        if self.is_survival:
            job = Job(self.simulated_protocol, (self.plan,), (self.truth,))
            kernel = kernel_for(job, 9 * replicates)
        return operating_grid(
            resolved, self.scenario.id, replicates=replicates, seed=seed, kernel=kernel
        )

    def _refuse_unsimulated(self, option: str) -> None:
        if self.total > MAX_PATIENTS:
            rule = f"cannot be had: more than {MAX_PATIENTS:,} patients are not simulated"
            remedy = "State a larger effect, or leave it out."
            raise RequestError(Problem(rule, remedy, option, f"{self.total:,} patients"))

    def _reestimated_rows(self, again: tuple[Reestimated, ...]) -> Iterator[Row]:
        for found in again:
            where = f"control risk {found.control_risk:.4g}, {found.truth}"
            blank = replace(self._blank(), source=None, status=None)
            for what, c in (
                (f"size computed again; {where}", found.rejected),
                (f"size as planned; {where}", found.rejected_fixed),
                (f"size computed again; {where}", found.expected_n),
                (f"size computed again; {where}", found.at_maximum),
            ):
                yield c.row(replace(blank, analysis=what))

    def _blank(self) -> Row:
        primary = self.protocol.primary
        return Row(
            measure=Measure.POWER,
            value=None,
            scenario=self.scenario.id,
            variant=self.resolved.variant or None,
            endpoint=primary.id,
            source=self.truth.source or None,
            status=self.status,
        )

    def _rows(self, simulated: Characteristic) -> Iterator[Row]:
        blank = self._blank()
        n1, n0 = self.arms
        yield replace(
            blank,
            measure=Measure.N_TOTAL,
            value=float(self.total),
            level=self.request.power,
            unit="patients",
            headline=True,
        )
        for arm, n in ((self.protocol.experimental, n1), (self.protocol.control, n0)):
            yield replace(
                blank, measure=Measure.N_PER_ARM, value=float(n), arm=arm.id, unit="patients"
            )
        yield replace(
            blank,
            measure=Measure.N_TOTAL,
            value=float(self.total_with_loss),
            analysis="randomised, loss allowed for",
            unit="patients",
        )
        if self.events is not None:
            yield replace(blank, measure=Measure.EVENTS, value=self.events, unit="events")
        yield replace(
            blank,
            measure=Measure.POWER_ACHIEVED,
            value=self.power_achieved,
            analysis="; ".join(self.conventions),
        )
        yield replace(simulated.row(blank), measure=Measure.POWER_SIMULATED)
        if self.assurance is not None:
            analysis = f"prior from {', '.join(self.request.prior)}"
            yield replace(blank, measure=Measure.ASSURANCE, value=self.assurance, analysis=analysis)
        yield from self._look_rows(blank)
        yield from self._seen_rows(blank)
        if not self.is_survival:
            for risk, _, power in self.control_risk_table:
                yield replace(
                    blank,
                    measure=Measure.POWER_ACHIEVED,
                    value=power,
                    analysis=f"control risk {risk:g}, odds ratio kept",
                    source=None,
                )
        yield from self._belief_rows(blank)

    def _belief_rows(self, blank: Row) -> Iterator[Row]:
        for belief in self.belief_matrix:
            scenario = belief.truth.scenario
            size = replace(
                blank,
                measure=Measure.N_TOTAL,
                scenario=scenario,
                source=belief.truth.source or None,
                status=belief.status,
                level=self.request.power,
                analysis="if planned for",
            )
            if belief.total is None:
                yield replace(size, why="no effect: no size finds it")
                continue
            yield replace(size, value=float(belief.total), unit="patients")
            for other, power in zip(self.resolved.template.scenarios, belief.powers, strict=True):
                if power is not None:
                    analysis = f"sized for {scenario}, truth {other.id}"
                    yield replace(
                        size, measure=Measure.POWER_ACHIEVED, value=power, analysis=analysis
                    )

    def _seen_rows(self, blank: Row) -> Iterator[Row]:
        seen = self.seen
        if seen is None:
            return
        at = "at the information seen" if self.request.seen_information else "as planned"
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
        yield from self._interval_rows(here, seen.drift, seen.repeated, seen.confidence, words)
        if found := seen.stagewise:
            words = f"stage-wise ordering; {seen.verdict}"
            yield replace(
                here, measure=Measure.P_STAGEWISE, value=found.p_one_sided, analysis=words
            )
            ends = found.lower, found.upper
            unbiased = found.median_unbiased
            yield from self._interval_rows(here, unbiased, ends, found.confidence, words)

    def _interval_rows(
        self, here: Row, drift: float, ends: tuple[float, float], level: float, words: str
    ) -> Iterator[Row]:
        """Yield an estimate with its interval as a drift, and as an effect."""
        here = replace(here, level=level, analysis=words)
        low, high = ends
        yield replace(here, measure=Measure.Z_AT_END, value=drift, lower=low, upper=high)
        low, high = sorted(self.effect_of_drift(end) for end in ends)
        scale = "hazard ratio" if self.is_survival else "risk difference"
        measure = Measure.ESTIMATE
        if words.startswith("stage-wise"):
            measure = Measure.ESTIMATE_MEDIAN_UNBIASED
        if isnan(low):
            yield replace(here, measure=measure, value=None, level=None, why=_NO_EFFECT_SCALE)
            return
        value = self.effect_of_drift(drift)
        yield replace(here, measure=measure, value=value, lower=low, upper=high, scale=scale)

    def _look_rows(self, blank: Row) -> Iterator[Row]:
        unit = "events" if self.is_survival else "patients read out"
        for number, look in enumerate(self.look_rows, start=1):
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
        if self.looks:
            for words, effect in (("no effect", False), ("effect", True)):
                n = self.expected_total(effect=effect)
                expected = replace(blank, measure=Measure.EXPECTED_N, unit=unit, analysis=words)
                yield replace(expected, value=n)

    def _cautions(self, simulated: Characteristic) -> Iterator[Caution]:
        if simulated.value is not None and simulated.mcse is not None:
            apart = abs(simulated.value - self.power_achieved)
            if apart > 4 * simulated.mcse + _TOLERANCE:
                yield unlike_formula(self.power_achieved, simulated.value, self._reasons())
        outside = list(self._published_intervals())
        if outside:
            yield outside_intervals(self.truth.label, self.scenario.id, outside)

    def _reasons(self) -> str:
        control, treated = self.risks
        n1, n0 = self.arms
        reasons = []
        if not self.is_survival and min(n1 * treated, n0 * control) < 20:
            reasons.append("fewer than 20 events are expected in an arm")
        if self._strata_matter and not self.is_survival:
            reasons.append("the scenario has prognosis or strata")
        if self.is_survival:
            reasons.append("hazards are not proportional, or loss and enrolment matter")
        return "; ".join(reasons) or "the formula is an approximation"

    def _published_intervals(self) -> Iterator[tuple[str, EffectEstimate]]:
        """Yield published effects in whose interval the planned one does not lie."""
        if self.is_survival:
            return
        control, treated = self.risks
        planned = odds_ratio_between(treated, control)
        primary = self.protocol.primary.id
        for reference in self.resolved.template.observed:
            record = self.resolved.evidence.records[reference.evidence]
            effects: tuple[EffectEstimate, ...] = ()
            if isinstance(record, Pool):
                effects = record.effects
            elif isinstance(record, Trial) and (found := record.result(primary)):
                effects = found.effects
            for effect in effects:
                if effect.measure.short != "OR" or not effect.ci:
                    continue
                if not effect.ci[0] <= planned <= effect.ci[1]:
                    yield record.id, effect

    def paragraph(self, simulated: Characteristic) -> str:
        """Return a justification for the protocol (SPIRIT 2025, item 19; DELTA2)."""
        return justification(self, simulated)

    def r_call(self) -> str:
        """Return the R call (rpact) that reproduces the size; empty where there is none."""
        if self.request.exact or (self.request.margin is not None):
            return ""
        control, treated = self.risks
        ratio = self.allocation.treated / self.allocation.control
        design = _rpact_design(self.looks, self.level, self.request.power)
        if not design:
            return ""
        if self.is_survival:
            assert self.truth.lifetimes is not None
            hazard_ratio = self.truth.lifetimes.constant_ratio
            if hazard_ratio is None:
                return ""
            return (
                f"library(rpact); d <- {design}; getSampleSizeSurvival(d, hazardRatio = "
                f'{hazard_ratio:.12g}, typeOfComputation = "Schoenfeld", '
                f"allocationRatioPlanned = {ratio:.12g})$maxNumberOfEvents"
            )
        return (
            f"library(rpact); d <- {design}; getSampleSizeRates(d, pi1 = {treated:.12g}, "
            f"pi2 = {control:.12g}, allocationRatioPlanned = {ratio:.12g})$maxNumberOfSubjects"
        )


def _refuse_beyond(total: int, what: str, remedy: str) -> None:
    if total > MOST_PATIENTS:
        rule = f"must not exceed {MOST_PATIENTS:,}"
        raise DesignError(Problem(rule, remedy, what, f"{total:,}"))


def pooled_prior(resolved: ResolvedTemplate, request: SizeRequest) -> NormalDist:
    """Return what published records say together: inverse-variance weights of log ratios.

    One record is taken as it is; several as estimates of one effect (assumed).

    Raises
    ------
    RequestError
        For an unknown record, one without an estimate on the scale, a weak one that was not
        accepted, or two that share patients.
    """
    survival = isinstance(resolved.template.protocol.primary, TimeToEventEndpoint)
    found = [_record_estimate(resolved, name, request, survival) for name in request.prior]
    for index, one in enumerate(request.prior):
        for other in request.prior[index + 1 :]:
            if resolved.evidence.shares_patients(one, other):
                rule = f"shares patients with {other}: together they count them twice"
                raise RequestError(Problem(rule, "Keep one of the two.", "--prior", one))
    weights = [1 / estimate.stdev**2 for estimate in found]
    mean = sum(w * e.mean for w, e in zip(weights, found, strict=True)) / sum(weights)
    return NormalDist(mean, sum(weights) ** -0.5)


def _record_estimate(
    resolved: ResolvedTemplate, name: str, request: SizeRequest, survival: bool
) -> NormalDist:
    record, wanted = resolved.evidence.records.get(name), "HR" if survival else "OR"
    primary = resolved.template.protocol.primary.id
    effects: tuple[EffectEstimate, ...] = ()
    counts = None
    if isinstance(record, Pool):
        effects = record.effects
    elif isinstance(record, Trial) and (result := record.result(primary)):
        effects = result.effects
        counts = (result.experimental, result.control)
    for effect in effects:
        if effect.measure.short == wanted and effect.ci and min(effect.ci) > 0:
            if effect.status.value in _WEAK and not request.accept_claim:
                rule = f"is {effect.status.value} only"
                raise RequestError(Problem(rule, "Add --accept-claim.", "--prior", name))
            width = log(effect.ci[1]) - log(effect.ci[0])
            return NormalDist(log(effect.value), width / (2 * Z95))
    if counts and not survival and counts[0] and counts[1]:
        cells = [
            (arm.events or 0, (arm.n or 0) - (arm.events or 0)) for arm in counts if arm is not None
        ]
        if min(min(pair) for pair in cells) > 0:
            (a, b), (c, d) = cells
            return NormalDist(log(a * d / (b * c)), sqrt(1 / a + 1 / b + 1 / c + 1 / d))
    known = "is not a known evidence id" if record is None else f"states no {wanted} with interval"
    remedy = "'trialsim evidence' lists the records."
    raise RequestError(Problem(known, remedy, "--prior", name))


def _told(example: ExampleTrial) -> str:
    """Tell one simulated trial in patient counts."""
    arms = " v ".join(f"{arm.events}/{arm.seen} on {arm.arm}" for arm in example.arms)
    months = f", {example.months:.1f} months after the first day" if example.months else ""
    found = "the effect was found" if example.effect_found else "no effect was found"
    return (
        f"Trial {example.replicate} ended {example.ending}, at look {example.look} of "
        f"{example.n_looks}{months}: events in {arms}; estimate {example.estimate:.2f} (unadjusted "
        f"interval {example.lower:.2f} to {example.upper:.2f}), z {example.z:.2f}: {found}."
    )


def _is_plain_log_rank(protocol: Protocol) -> bool:
    test = protocol.primary.analysis
    if isinstance(test, BinaryTest):
        return True
    return isinstance(test, LogRankTest) and test.weight is None


def _own_looks(
    protocol: Protocol, level: Level
) -> tuple[tuple[float, ...], Efficacy, Futility | None]:
    """Return a template's own looks as fractions with the bounds it gives.

    Raises
    ------
    DesignError
        If they are not held by information or events, which alone have fractions.
    """
    looks = protocol.looks
    events = events_wanted(looks)
    last = events[-1]
    fractions: list[float] = []
    for look, wanted in zip(looks, events, strict=True):
        if look.at.information is not None:
            fractions.append(look.at.information)
        elif wanted and last:
            fractions.append(wanted / last)
        else:
            rule = "has looks by calendar or enrolment, of which the information is not known"
            raise DesignError(Problem(rule, "Give --looks as fractions, and --bounds.", "looks"))
    fractions[-1] = 1.0
    z = [inf if look.efficacy_z is None else look.efficacy_z for look in looks]
    if z[-1] == inf:
        z[-1] = level.critical_z
    futile = [-inf if look.futility_z is None else look.futility_z for look in looks[:-1]]
    futility = GivenFutility(tuple(futile)) if max(futile) > -inf else None
    return tuple(fractions), GivenBounds(tuple(z)), futility


def _rpact_design(looks: SequentialDesign | None, level: Level, power: float) -> str:
    """Return rpact's words for a design; empty where it has none."""
    shared = f"alpha = {level.alpha:.12g}, beta = {1 - power:.12g}, sided = {level.sides}"
    if looks is None:
        return f"getDesignGroupSequential(kMax = 1, {shared})"
    match looks.efficacy:
        case LanDeMetsObrienFleming():
            kind = '"asOF"'
        case LanDeMetsPocock():
            kind = '"asP"'
        case HwangShihDeCani(gamma=gamma):
            kind = f'"asHSD", gammaA = {gamma:.12g}'
        case WangTsiatis(delta=delta):
            kind = f'"WT", deltaWT = {delta:.12g}'
        case _:
            return ""
    if looks.futility is not None:
        return ""
    rates = ", ".join(f"{t:.12g}" for t in looks.information)
    informed = f"informationRates = c({rates}), {shared}"
    return f"getDesignGroupSequential({informed}, typeOfDesign = {kind})"
