"""Flaws of several domains switched on together, at strengths from multivariable ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.studies.conduct.bias import PlannedBias
from trialsim.studies.conduct.bias_targets import Target
from trialsim.trial import Measure, Row

__all__ = ["at_once", "flattering", "in_words", "jointly", "switched_on"]

_MULTIVARIABLE = "multivariable"
# A domain is switched on once: misreading stands for blinding where that is in the profile.
_BLINDING = (Mechanism.ASSESSMENT, Mechanism.CO_INTERVENTION)


def at_once(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return one multivariable target per domain of conduct; none for a single flaw.

    Ratios of one model, each adjusted for the other domains, multiply where several domains are
    flawed; univariable ones would count twice what the domains share.
    """
    own = [t for t in targets if t.adjustment == _MULTIVARIABLE]
    allocation = [t for t in own if len(t.estimates) > 1]
    blinding = [t for flaw in _BLINDING for t in own if t.mechanism is flaw]
    found = (*allocation[:1], *blinding[:1])
    return found if len(found) > 1 else ()


def jointly(targets: Sequence[Target]) -> Target:
    """Return the product of several targets of one record."""
    estimates = chain.from_iterable(target.estimates for target in targets)
    return replace(targets[0], estimates=tuple(estimates))


def switched_on(conduct: Conduct, targets: Sequence[Target], rows: Sequence[Row]) -> Conduct | None:
    """Return the profile with each target's flaw at the strength found for it.

    None where a strength was not reached, or none is above 0.
    """
    on = conduct.only({target.mechanism for target in targets})
    for target in targets:
        (needed,) = (
            row
            for row in rows
            if row.measure is Measure.STRENGTH_NEEDED
            and (row.mechanism, row.source) == (target.mechanism.value, target.source)
            and row.analysis == "estimate"
        )
        if needed.value is None:
            return None
        on = on.at(target.mechanism, needed.value)
    return on if on.mechanisms else None


def flattering(planned: PlannedBias, rows: Sequence[Row]) -> list[Row]:
    """Return the ratios of odds ratios among rows, turned so that below 1 flatters."""
    sign = -planned.job.plans[0].benefit  # -1 where more events are good
    found = []
    for row in rows:
        if row.measure is Measure.RATIO_OF_ODDS_RATIOS:
            assert row.value is not None
            assert row.mcse is not None
            value = row.value**sign
            found.append(replace(row, value=value, mcse=value * row.mcse / row.value))
    return found


def in_words(targets: Sequence[Target], on: Conduct | None, told: Row | None, seen: Row) -> str:
    """Say what the flaws do together, beside the product of the ratios."""
    names = ", ".join(target.mechanism for target in targets)
    product = f"{seen.value:.2f}"
    if seen.lower is not None and seen.upper is not None:
        product += f" ({seen.lower:.2f} to {seen.upper:.2f}, as if independent: assumed)"
    ratios = (
        f"{targets[0].record}'s multivariable ratios ({seen.source}) multiply to {product}, derived"
    )
    if on is None or told is None:
        return f"Together ({names}): {ratios}; not every strength is reached, none is simulated."
    strengths = ", ".join(f"{m} {on.of(m).strength.value:.2f}" for m in on.mechanisms)
    return (
        f"Switched on together ({strengths}) the flaws give {told.value:.3f} +-{told.mcse:.3f}; "
        f"{ratios}."
    )
