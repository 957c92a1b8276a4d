"""What a trial can see of rare harm, for screen and report: exact numbers, no simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.safety import BOTH_ARMS, SafetyRisk, safety_endpoints, safety_of
from trialsim.report.text import table, wrapped

__all__ = ["SAFETY_METHOD", "SafetyTable", "safety_lines", "safety_tables"]

SAFETY_METHOD = (
    "Exact, so without simulation error: chance of any, that at least one patient has the event, "
    "1-(1-p)^n; upper 95% if none, the limit of the risk if nobody has it, Clopper and Pearson's "
    "(1934), one-sided, 1-0.05^(1/n)."
)


class SafetyTable(NamedTuple):
    """A caption, a header and lines as long as it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def safety_tables(
    resolved: ResolvedTemplate, scenarios: Sequence[Scenario] = ()
) -> Iterator[SafetyTable]:
    """Yield a table per safety endpoint, and per group of scenarios that state other risks."""
    seen = safety_of(resolved, scenarios)
    therapy = resolved.template.protocol.therapy
    for endpoint in safety_endpoints(resolved):
        own = [risk for risk in seen if risk.endpoint == endpoint]
        groups = list(dict.fromkeys(risk.scenarios for risk in own))
        for group in groups:
            where = f", under {', '.join(group)}" if len(groups) > 1 else ""
            yield SafetyTable(
                f"{endpoint.id}: {endpoint.event}, {endpoint.at.in_words(therapy)}{where}",
                (
                    "arm",
                    "patients",
                    "risk per\n1,000",
                    "known from",
                    "chance\nof any",
                    "events\nexpected",
                    "upper 95%\nif none",
                ),
                tuple(_line(risk) for risk in own if risk.scenarios == group),
            )


def safety_lines(resolved: ResolvedTemplate, scenarios: Sequence[Scenario] = ()) -> str:
    """Return the tables as a terminal shows them; empty where no safety risk is stated."""
    drawn = [
        f"{wrapped(told.caption, '  ', '')}\n{table(told.header, told.rows, folding=(0, 3))}"
        for told in safety_tables(resolved, scenarios)
    ]
    if not drawn:
        return ""
    return "\n".join(["Safety, of which nothing is simulated:", *drawn, wrapped(SAFETY_METHOD)])


def _line(seen: SafetyRisk) -> tuple[str, ...]:
    known = f"{seen.source} ({seen.status})" if seen.source else seen.status
    return (
        "both arms" if seen.arm == BOTH_ARMS else seen.arm,
        f"{seen.n:,}",
        f"{1000 * seen.risk:.3g}",
        known,
        _percent(seen.chance),
        f"{seen.expected:.1f}",
        _percent(seen.upper_if_none),
    )


def _percent(share: float) -> str:
    """Return per cent, never rounded up to certainty."""
    if share > 0.9995:
        return "> 99.9%"
    if share < 0.01:
        return f"{100 * share:.2g}%"
    return f"{100 * share:.3g}%" if share < 0.1 else f"{100 * share:.1f}%"
