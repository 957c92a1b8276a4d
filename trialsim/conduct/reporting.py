"""What is analysed and reported (RoB 2, domain 5: selection of the reported result)."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

from trialsim.protocol.conduct import UndeclaredLooks
from trialsim.protocol.design import Look, Trigger
from trialsim.protocol.quantities import Duration
from trialsim.trial import AnalysisPlan

__all__ = ["looking_at"]


def looking_at(plan: AnalysisPlan, flaw: UndeclaredLooks) -> AnalysisPlan:
    """Return the plan with undeclared looks, each at the level of a single one.

    At evenly spaced numbers of patients read out, of events where the last look of a time to an
    event waits for events, or of days where it waits for a date. With normal outcomes of known
    variance and 2, 3, 4, 5 looks a two-sided 5% becomes 8.3, 10.7, 12.6 and 14.2% (Armitage,
    McPherson and Rowe 1969, JRSS A 132:235-244).
    """
    z = NormalDist().inv_cdf(1 - plan.one_sided_alpha)
    last = plan.looks[-1] if plan.looks else Look(at=Trigger(information=1))
    early = tuple(
        Look(at=_part(last.at, k / flaw.looks), efficacy_z=z) for k in range(1, flaw.looks)
    )
    return replace(plan, looks=(*early, last))


def _part(whole: Trigger, share: float) -> Trigger:
    if whole.calendar:
        return Trigger(calendar=Duration(share * whole.calendar.days, "d"))
    return Trigger(information=share)
