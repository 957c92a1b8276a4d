"""Estimands side by side: what each one is, what its analysis finds, who has the events."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, floor, log10

from trialsim.characteristics import Z95
from trialsim.protocol.endpoints import SimulatedEndpoint
from trialsim.protocol.intercurrent import estimands_of
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.text import table, wrapped
from trialsim.trial import Measure, Row, StudyResult

__all__ = [
    "estimands_table",
    "estimate_in_words",
    "number_in_words",
    "percent_in_words",
]


def estimands_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return, per endpoint and scenario, every estimand; empty without intercurrent events."""
    rows = [row for row in result.rows if row.estimand]
    parts = []
    for endpoint in resolved.endpoints:
        own = [row for row in rows if row.endpoint == endpoint.id]
        if own:
            parts.append("\n".join(_of_endpoint(resolved, endpoint, own)))
    return "\n\n".join([*parts, _LEGEND] if parts else [])


_LEGEND = wrapped(
    "what is true: from potential outcomes of patients of their own, each under both treatments, "
    "nothing missing; mean estimate: of the trials, ratios as geometric means. A principal "
    "stratum is analysed naively: in those without the event in their own arm."
)


def _of_endpoint(
    resolved: ResolvedTemplate, endpoint: SimulatedEndpoint, rows: list[Row]
) -> Iterator[str]:
    asked = estimands_of(endpoint, resolved.template.nature.intercurrent_events)
    told = "of the same simulated patients; hazards of events are assumed"
    yield wrapped(f"Estimands of {endpoint.id}, {told}:")
    summaries = {row.estimand: row.scale for row in rows if row.measure is Measure.TRUE_EFFECT}
    for each in asked:
        yield wrapped(each.in_words, " " * 4, f"  {each.id} ({summaries[each.id]}): ")
    for scenario in resolved.template.scenarios:
        here = [row for row in rows if row.scenario == scenario.id]
        if not here:
            continue
        yield ""
        yield wrapped(f"{scenario.title}: {_events_in_words(resolved, here)}")
        found = {(row.estimand, row.measure): row for row in here}
        lines = [_line(each.id, found) for each in asked]
        header = ("estimand", "what is true", "mean estimate", "95% covers", "found")
        yield table(header, lines)
    analysed = {r.n_replicates or 0 for r in rows if r.measure is Measure.POWER}
    if len(analysed) > 1:
        yield wrapped(f"where values are imputed, {min(analysed):,} of the trials are analysed.")


def _events_in_words(resolved: ResolvedTemplate, rows: list[Row]) -> str:
    protocol = resolved.template.protocol
    shares: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.measure is Measure.EVENT_SHARE:
            shares.setdefault(row.analysis or "", {})[row.arm or ""] = row.value or 0.0
    said = [
        f"{name} by the read-out {100 * arms[protocol.control.id]:.1f}% -> "
        f"{100 * arms[protocol.experimental.id]:.1f}%"
        for name, arms in shares.items()
    ]
    said += [
        f"{100 * (row.value or 0):.1f}% of the patients in the stratum of {row.estimand}"
        for row in rows
        if row.measure is Measure.STRATUM_SHARE
    ]
    return "; ".join(said)


def _line(name: str, found: dict[tuple[str | None, Measure], Row]) -> tuple[str, ...]:
    true, power = found[name, Measure.TRUE_EFFECT], found[name, Measure.POWER]
    estimate, covers = found.get((name, Measure.ESTIMATE_MEAN)), found.get((name, Measure.COVERAGE))
    return (
        name,
        number_in_words(true.value, true.mcse),
        _estimate(estimate),
        _percent(covers),
        _percent(power),
    )


def _estimate(row: Row | None) -> str:
    return "-" if row is None else estimate_in_words(row.value, row.mcse, row.scale or "")


def _percent(row: Row | None) -> str:
    if row is None or row.lower is None or row.upper is None:
        return "-"
    return percent_in_words(row.value, row.mcse or (row.upper - row.lower) / (2 * Z95))


def estimate_in_words(value: float | None, mcse: float | None, scale: str) -> str:
    """Return a mean estimate with its MCSE; logarithms back as ratios."""
    if value is None:
        return "-"
    if scale.startswith("log "):
        return number_in_words(exp(value), exp(value) * mcse if mcse else mcse)
    return number_in_words(value, mcse)


def number_in_words(value: float | None, mcse: float | None) -> str:
    """Return a number with its MCSE, which is left out where the number is exact."""
    if value is None:
        return "-"
    if not mcse:
        return f"{value:.3f}"
    digits = min(5, max(3, -floor(log10(mcse))))
    return f"{value:.{digits}f} +-{mcse:.{digits}f}"


def percent_in_words(value: float | None, mcse: float | None) -> str:
    """Return a share with its MCSE (of 0 or 1: the half-width of its interval over 1.96)."""
    if value is None or mcse is None:
        return "-"
    digits = 2 if mcse < 5e-4 else 1
    return f"{100 * value:.{digits}f}% +-{100 * mcse:.{digits}f}"
