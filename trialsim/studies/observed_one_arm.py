"""A published single arm, simulated at its own size against the protocol's historical control.

It has no control arm of its own to be carried to: a scenario is what it is in the protocol's
patients, with whatever moves them away from the historical control.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, sqrt

from scipy.special import stdtrit

from trialsim.analyse.single_arm import of_published_arm
from trialsim.protocol.design import Protocol, SampleSize
from trialsim.protocol.endpoints import (
    ContinuousEndpoint,
    MeasuredScale,
    MeasuredTest,
    SimulatedEndpoint,
)
from trialsim.protocol.published.evidence import ArmResult, Trial
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.trial import AnalysisPlan

__all__ = ["OneArmSeen", "seen_in_one_arm", "truth_of_one_arm"]


@dataclass(frozen=True)
class OneArmSeen:
    """What a published single arm shows, against the protocol's historical control.

    Attributes
    ----------
    protocol : Protocol
        The template's own, in one stage, with as many patients as the arm.
    plan : AnalysisPlan
    estimate : float
        On the analysis scale.
    lower, upper : float or None
        95% interval; None where no standard deviation was published.
    words : str
        What was seen: "0 of 10", or a mean.
    analysis : str
        What the estimate is from.
    """

    protocol: Protocol
    plan: AnalysisPlan
    estimate: float
    lower: float | None
    upper: float | None
    words: str
    analysis: str


def seen_in_one_arm(own: Protocol, endpoint: SimulatedEndpoint, arm: ArmResult) -> OneArmSeen:
    """Return a published arm as one stage of the protocol.

    Parameters
    ----------
    own : Protocol
    endpoint : SimulatedEndpoint
        What it is held against.
    arm : ArmResult
        With its patients, and events or, of what is measured, a mean: of the change from baseline
        where that is analysed, geometric on the log scale.
    """
    assert arm.n is not None  # by the rules
    changes = {"sample_size": SampleSize(total=arm.n), "two_stage": None}
    protocol = own.model_copy(update=changes)
    plan = AnalysisPlan.of(protocol, endpoint)
    known = plan.historical
    assert known is not None  # of every single arm
    if not isinstance(endpoint, ContinuousEndpoint):
        assert arm.events is not None  # by the rules
        usual = replace(plan, alpha=0.05, sides=2)
        words = f"{arm.events} of {arm.n}"
        numbers = of_published_arm(arm.events, arm.n, usual)
        return OneArmSeen(protocol, plan, *numbers, words, "from its counts")
    assert arm.value is not None  # by the rules
    logs = endpoint.scale is MeasuredScale.LOG
    estimate = (log(arm.value) if logs else arm.value) - known.value
    half = None
    if arm.sd is not None and not logs:
        half = -float(stdtrit(arm.n - 1, 0.025)) * arm.sd / sqrt(arm.n)
    what = "change" if plan.test is MeasuredTest.CHANGE else "value"
    return OneArmSeen(
        protocol,
        plan,
        estimate,
        None if half is None else estimate - half,
        None if half is None else estimate + half,
        f"a mean {what} of {arm.value:g} {endpoint.unit}, {endpoint.variable}",
        "from its mean",
    )


def truth_of_one_arm(scenario: Scenario, resolved: ResolvedTemplate) -> Truth:
    """Return a scenario's truth; when patients enter plays no part in one arm read at one time."""
    truth = resolved.truth(scenario)
    cited = isinstance(resolved.evidence.records.get(truth.source), Trial)
    made_from = truth.from_data_of or (truth.source if cited else "")
    return replace(truth, enrolment=None, sites=None, from_data_of=made_from)
