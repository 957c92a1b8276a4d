"""What must hold of ``nature.enrichment`` beside the rest of a file."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.endpoints import BinaryEndpoint
from trialsim.protocol.enrichment import (
    Enrichment,
    baseline_of,
    level_shares_possible,
    share_eligible,
)
from trialsim.protocol.outcomes import Measured
from trialsim.protocol.template import Template

__all__ = ["enrichment_rules"]

Location = tuple[str | int, ...]
Found = Iterator[tuple[Location, str, str]]  # where, rule, remedy

_HERE: Location = ("nature", "enrichment")
_ROUNDED = 1e-4  # shares may be rounded


def enrichment_rules(template: Template) -> Found:
    """Find markers, factors and levels that are not there, and shares that cannot be."""
    own = template.nature.enrichment
    if own is None:
        if template.optimise and template.optimise.vary.threshold:
            rule = "asks for thresholds, and the file does not say what they change"
            remedy = "Add nature.enrichment: {marker, factor, level, share_of_all}."
            yield ("optimise", "vary", "threshold"), rule, remedy
        return
    primary = template.protocol.primary
    if not isinstance(primary, BinaryEndpoint):
        rule = f"knows risks only, and the primary endpoint is of kind {primary.kind}"
        yield _HERE, rule, "Remove it, and write a variant for each threshold."
        return
    names = list(template.nature.outcomes)
    marker = template.nature.outcomes.get(own.marker)
    stated = marker.baseline if isinstance(marker, Measured) else None
    if stated is None or (stated.mean is None and stated.geometric_mean is None):
        rule = f"names '{own.marker}', which is no measurement with a baseline under outcomes"
        yield (*_HERE, "marker"), rule, did_you_mean(own.marker, names, "Add its baseline.")
        return
    yield from _factor(own, template)


def _factor(own: Enrichment, template: Template) -> Found:
    nature = template.nature
    known = {factor.id: factor for factor in nature.factors if factor.levels}
    factor = known.get(own.factor)
    if factor is None:
        rule = f"names '{own.factor}', which is no factor with levels"
        yield (*_HERE, "factor"), rule, did_you_mean(own.factor, list(known), "Add it.")
        return
    levels = {level.id: level.share.value for level in factor.levels or ()}
    if own.level not in levels:
        rule = f"names '{own.level}', which is no level of {own.factor}"
        yield (*_HERE, "level"), rule, did_you_mean(own.level, list(levels), "Use one of them.")
        return
    baseline = baseline_of(nature.outcomes[own.marker])
    if baseline is None:  # everybody is eligible
        return
    threshold = baseline.at_most if baseline.at_most is not None else baseline.at_least
    assert threshold is not None
    eligible = share_eligible(baseline, threshold)
    low, high = level_shares_possible(own.share_of_all.value, eligible) if eligible else (1.0, 0.0)
    if not low - _ROUNDED <= levels[own.level] <= high + _ROUNDED:
        rule = (
            f"cannot be: {100 * eligible:.3g}% of everybody are eligible at {threshold:g}, so that "
            f"between {100 * max(low, 0):.3g}% and {100 * min(high, 1):.3g}% of them are "
            f"{own.level}, not {100 * levels[own.level]:.3g}%"
        )
        yield (*_HERE, "share_of_all"), rule, "Correct it, or the shares of the factor's levels."
