"""A published trial that gives two means with their standard deviations.

It is simulated at its own arm sizes, control mean and pooled standard deviation, and compared by
the t test that its means allow, whatever the protocol adjusts for.
"""

from __future__ import annotations

from dataclasses import replace

from trialsim.kernels.measured import from_summaries
from trialsim.protocol.endpoints import ContinuousEndpoint, MeasuredTest
from trialsim.protocol.outcomes import MeasuredTruth
from trialsim.protocol.published.evidence import MeanInArm, Trial
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.trial import AnalysisPlan

__all__ = ["as_published", "difference_of", "truth_at"]


def as_published(plan: AnalysisPlan) -> AnalysisPlan:
    """Return the plan with the t test that published means allow."""
    test = plan.test if plan.test is MeasuredTest.WELCH else MeasuredTest.T_TEST
    return replace(plan, test=test)


def difference_of(
    treated: MeanInArm, control: MeanInArm, plan: AnalysisPlan
) -> tuple[float, float, float]:
    """Return the difference in means with its 95% interval."""
    found = from_summaries(treated, control, pooled=plan.test is not MeasuredTest.WELCH)
    return float(found.estimate[0]), float(found.lower[0]), float(found.upper[0])


def truth_at(
    treated: MeanInArm, control: MeanInArm, scenario: Scenario, resolved: ResolvedTemplate
) -> Truth:
    """Return a scenario's truth at a trial's own control mean and pooled standard deviation.

    The effect is carried as the difference at the read-out; those published are complete, so nobody
    is lost.
    """
    truth, primary = resolved.truth(scenario), resolved.template.protocol.primary
    own = truth.outcome(primary.id)
    assert isinstance(own, MeasuredTruth)
    assert isinstance(primary, ContinuousEndpoint)
    squares = sum((arm.n - 1) * arm.sd**2 for arm in (treated, control))
    pooled = (squares / (treated.n + control.n - 2)) ** 0.5
    there = MeasuredTruth(
        control=(control.mean,),
        treated=(control.mean + own.treated[-1] - own.control[-1],),
        sds=(pooled,),
        baseline=None,
        correlation=((1.0,),),
        lost_per_visit=0.0,
        log=False,
        unit=own.unit,
    )
    cited = isinstance(resolved.evidence.records.get(truth.source), Trial)
    return replace(
        truth,
        outcomes=((primary.id, there),),
        correlations=(),
        enrolment=None,
        sites=None,
        from_data_of=truth.source if cited else truth.from_data_of,
    )
