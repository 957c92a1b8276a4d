"""The size for an effect adjusted for bias, beside that for the same effect as published."""

from __future__ import annotations

from dataclasses import replace
from math import exp

from trialsim.protocol.scenario import Scenario
from trialsim.studies.conflict.adjustment import next_trial
from trialsim.studies.size.planned import PlannedSize, plan_size

__all__ = ["without_adjustment"]


def without_adjustment(planned: PlannedSize) -> str:
    """Say what the trials observed would have needed as they are published."""
    said = next_trial(planned.resolved)
    naive = Scenario.model_validate(
        {"id": "naive", "title": "as published", "effect": {"odds_ratio": exp(said.published)}}
    ).model_copy(update={"control_risk": planned.scenario.control_risk})
    request = replace(planned.request, scenario=naive, prior=())
    other = plan_size(planned.resolved, request)
    assert isinstance(other, PlannedSize)
    low, high = (exp(said.adjusted.inv_cdf(q)) for q in (0.025, 0.975))
    adjusted, published = (
        f"{each.total:,} patients"
        if each.request.total is None
        else f"a power of {100 * each.power_achieved:.1f}%"
        for each in (planned, other)
    )
    return (
        f"Planned for what {', '.join(said.sources)} say together, adjusted for bias: odds ratio "
        f"{exp(said.planned):.2f} (95% of the next trial's {low:.2f} to {high:.2f}), "
        f"{adjusted}. As published, without the adjustment: {exp(said.published):.2f}, "
        f"{published}."
    )
