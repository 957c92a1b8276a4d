"""What a size is asked for, and what every kind of design reads from a template to answer.

How one kind of primary endpoint is sized stands in a module of its own (`of_...`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

from trialsim.analyse.looks import events_wanted
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.kernels.exact import ExactTest
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import OutcomeSummary, TimeToEventEndpoint
from trialsim.protocol.outcomes import CompetingTruth, LifetimeTruth, OutcomeTruth, RiskTruth
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate, event_course
from trialsim.sizing.fixed import (
    SUPERIORITY,
    Allocation,
    Better,
    Hypothesis,
    Level,
    Margin,
    NonInferiority,
)
from trialsim.sizing.proportions import NullVariance
from trialsim.sizing.sequential import (
    BetaSpending,
    Efficacy,
    Futility,
    GivenBounds,
    GivenFutility,
    SequentialDesign,
    sequential_design,
)
from trialsim.sizing.survival import expected_day
from trialsim.studies.size.reestimation import SizeRule
from trialsim.trial import AnalysisPlan, Measure, Row

__all__ = ["SizeQuestion", "SizeRequest"]


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
    loss : float or None
        Share of patients without an outcome; None for what the template says of it.
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
    loss: float | None = None
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
class SizeQuestion:
    """A request about one template and one truth.

    Attributes
    ----------
    resolved : ResolvedTemplate
    request : SizeRequest
    scenario : Scenario
        What is planned for,
    truth : Truth
        resolved,
    status : str
        and how far it can be relied on.
    """

    resolved: ResolvedTemplate
    request: SizeRequest
    scenario: Scenario
    truth: Truth
    status: str

    @property
    def protocol(self) -> Protocol:
        """The template's own."""
        return self.resolved.template.protocol

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
    def hypothesis(self) -> Hypothesis:
        """What is to be shown."""
        if self.request.margin is None:
            return SUPERIORITY
        return self.request.margin_kind(self.request.margin, Better(self.plan.better.value))

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

    @property
    def looks_without_information(self) -> bool:
        """Whether the template's own looks are asked for, and some are held by date or entries.

        What share of the information these see is not known before the size is.
        """
        looks = self.protocol.looks
        if self.request.information or len(looks) < 2:
            return False
        events = events_wanted(looks)
        pairs = zip(looks, events, strict=True)
        return any(k.at.information is None and not (n and events[-1]) for k, n in pairs)

    @cached_property
    def risks(self) -> tuple[float, float]:
        """Control and treated risk at the read-out."""
        return self.truth.risks_on(self.plan.day, self.plan.counted)

    @property
    def is_survival(self) -> bool:
        """Whether the primary endpoint is a time to an event."""
        return isinstance(self.protocol.primary, TimeToEventEndpoint)

    @cached_property
    def cut_day(self) -> float:
        """Expected day of the last look, of the template's own design with a time to an event."""
        course = event_course(self.scenario, self.resolved.template, self.resolved.evidence)
        return expected_day(self.plan.looks[-1].at, course)

    @property
    def outcome(self) -> OutcomeTruth | None:
        """The truth of a primary endpoint that stands under ``nature.outcomes``."""
        return self.truth.outcome(self.protocol.primary.id)

    @property
    def arms_in_words(self) -> str:
        """What is expected in the control arm, then in the treated one."""
        event = self.protocol.primary.event
        if (own := self.outcome) is None or isinstance(own, CompetingTruth):
            control, treated = own.arms if own else self.risks
            return f"{event} in {100 * control:.1f}% v {100 * treated:.1f}%"
        control, treated = own.arms
        return f"{event} {control:.4g} v {treated:.4g} {own.unit}"

    @property
    def with_test(self) -> str:
        """The planned test with its article."""
        article = "an" if self.test_in_words[0] in "aeiou" else "a"
        return f"{article} {self.test_in_words} test"

    @property
    def test_in_words(self) -> str:
        """The test with its sides and level."""
        return self.plan.in_words

    def gain(self, truth: Truth) -> float:
        """Return a number above 0 where a truth favours treatment, below 0 where it is harm."""
        own, summary = truth.outcome(self.protocol.primary.id), self.plan.summary
        if own and not isinstance(own, RiskTruth | LifetimeTruth):  # a lifetime is never primary
            assert isinstance(summary, OutcomeSummary)
            return own.theta(summary) * self.plan.benefit
        control, treated = truth.risks_on(self.plan.day, self.plan.counted)
        return (treated - control) * (1 if self.plan.better.value == "higher" else -1)

    def arms_of(self, total: int) -> tuple[int, int]:
        """Treated and control patients of a total."""
        treated = round(total * self.allocation.treated_share)
        return treated, total - treated

    def _blank(self) -> Row:
        return Row(
            measure=Measure.POWER,
            value=None,
            scenario=self.scenario.id,
            variant=self.resolved.variant or None,
            endpoint=self.protocol.primary.id,
            source=self.truth.source or None,
            status=self.status,
        )


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
        else:  # `plan_size` simulates these
            rule = "has looks by calendar or enrolment, of which the information is not known"
            raise DesignError(Problem(rule, "Give --looks as fractions, and --bounds.", "looks"))
    fractions[-1] = 1.0
    z = [inf if look.efficacy_z is None else look.efficacy_z for look in looks]
    if z[-1] == inf:
        z[-1] = level.critical_z
    futile = [-inf if look.futility_z is None else look.futility_z for look in looks[:-1]]
    futility = GivenFutility(tuple(futile)) if max(futile) > -inf else None
    return tuple(fractions), GivenBounds(tuple(z)), futility
