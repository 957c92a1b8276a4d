"""What must hold of ``optimise:`` beside the rest of a file."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.optimisation import Optimise, Quantity
from trialsim.protocol.template import Template

__all__ = ["optimise_rules"]

Location = tuple[str | int, ...]
Found = Iterator[tuple[Location, str, str]]  # where, rule, remedy

_MONEY = (Quantity.COST, Quantity.EXPECTED_COST)
_PRICES = "Add cost: {currency: EUR, year: 2025, per_patient: 1000}."


def optimise_rules(template: Template) -> Found:
    """Find scenarios, variants and prices that ``optimise:`` names and the file does not have."""
    asked = template.optimise
    if asked is None:
        return
    scenarios = [scenario.id for scenario in template.scenarios]
    named: list[tuple[Location, str]] = [
        (("optimise", "under", index), name) for index, name in enumerate(asked.under)
    ]
    named += [
        (("optimise", "constraints", index), constraint.under)
        for index, constraint in enumerate(asked.constraints)
        if constraint.under
    ]
    for here, name in named:
        if name not in scenarios:
            listed = f"The scenarios are {', '.join(scenarios)}."
            rule = f"names '{name}', which is no scenario of this file"
            yield here, rule, did_you_mean(name, scenarios, listed)
    variants = [variant.id for variant in template.variants]
    for index, name in enumerate(asked.vary.variant or ()):
        if name not in (*variants, "as it stands"):
            known = ["as it stands", *variants]
            listed = f"Write one of {', '.join(known)}."
            here = ("optimise", "vary", "variant", index)
            yield here, "is no variant of this file", did_you_mean(name, known, listed)
    if template.cost is None:
        yield from _priced(asked)


def _priced(asked: Optimise) -> Found:
    """Find what needs prices."""
    rule = "needs prices, which the file does not state"
    for index, constraint in enumerate(asked.constraints):
        if constraint.quantity in _MONEY:
            yield ("optimise", "constraints", index), rule, _PRICES
    if any(own in _MONEY for own in asked.objectives or ()):
        yield ("optimise", "objectives"), rule, _PRICES
    if asked.choose in _MONEY:
        yield ("optimise", "choose"), rule, _PRICES
