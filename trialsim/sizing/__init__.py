"""Sample size and power: one function per design, each returning a frozen result.

Two risks: `proportions_size`, `proportions_power`, `exact_proportions_size`,
`exact_proportions_power`. Two means: `means_size`, `means_power`. Times to an event:
`events_required`, `events_power`, `survival_size`, `survival_power`. Ordinal: `ordinal_size`,
`ordinal_power`. One arm: `single_stage_size`, `simon_two_stage`. With looks: `sequential_design`
and what a look says (`conditional_power`, `predictive_power`, `repeated_confidence_interval`,
`stagewise_inference`, `recomputed`). Imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "fixed": (
        *("Allocation", "FixedSize", "Level", "NonInferiority", "OppositeTail", "Superiority"),
        "SuperiorityByMargin",
    ),
    "means": (
        *("Adjusted", "KnownDeviations", "PooledDeviation", "SeparateDeviations", "TwoMeans"),
        *("means_power", "means_size", "one_mean_power"),
    ),
    "ordinal": ("ordinal_power", "ordinal_size"),
    "proportions": (
        *("Continuity", "NullVariance", "TwoProportions", "exact_proportions_power"),
        *("exact_proportions_size", "proportions_power", "proportions_size"),
    ),
    "sequential": (
        *("BetaSpending", "GivenBounds", "GivenFutility", "HwangShihDeCani"),
        *("LanDeMetsObrienFleming", "LanDeMetsPocock", "ObrienFleming", "Pocock", "UserSpending"),
        *("SequentialDesign", "WangTsiatis", "conditional_power", "predictive_power", "recomputed"),
        *("repeated_confidence_interval", "sequential_design", "stagewise_inference"),
    ),
    "single_arm": (
        *("Sawtooth", "SimonCriterion", "simon_two_stage"),
        *("single_stage_power", "single_stage_size"),
    ),
    "survival": (
        *("EventsFormula", "SurvivalMethod", "TimeToEvent", "events_power", "events_required"),
        *("survival_power", "survival_size"),
    ),
    "with_looks": ("WithLooks",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
