"""What a trial of its size can see of rare harm: exact, so nothing of it is simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import expm1, log, log1p

from trialsim.protocol.endpoints import BinaryEndpoint, Level
from trialsim.protocol.outcomes import FurtherRisk, ImpossibleOutcomeError, outcome_truth
from trialsim.protocol.published.evidence import Status
from trialsim.protocol.quantities import SourcedNumber
from trialsim.protocol.rules.safety import known_from
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = [
    "BOTH_ARMS",
    "SafetyRisk",
    "chance_of_an_event",
    "safety_endpoints",
    "safety_of",
    "upper_limit_if_none",
]

BOTH_ARMS = "all"


def chance_of_an_event(risk: float, n: int) -> float:
    """Return the chance that at least one of `n` patients has an event of this risk: 1-(1-p)^n."""
    return 1.0 if risk >= 1 else -expm1(n * log1p(-risk))


def upper_limit_if_none(n: int, level: float = 0.95) -> float:
    """Return the exact one-sided upper limit of a risk when none of `n` patients has an event.

    Clopper and Pearson (1934) with x = 0, whose upper end solves ``(1-p)^n = 1 - level``; the
    "rule of three", 3/n, is its limit (Hanley and Lippman-Hand 1983).
    """
    return -expm1(log(1 - level) / n)


@dataclass(frozen=True)
class SafetyRisk:
    """A safety endpoint in one arm, or in both together, under the scenarios of those ids.

    Attributes
    ----------
    arm : str
        Id of the arm, or ``all``.
    n : int
        Patients.
    risk : float
        Of one patient; in both arms together the mean over patients.
    chance : float
        That at least one has the event.
    expected : float
        Patients with the event.
    source : str or None
    status : str
        Of the weakest number behind the risk, or "assumed".
    """

    endpoint: BinaryEndpoint
    arm: str
    scenarios: tuple[str, ...]
    n: int
    risk: float
    chance: float
    expected: float
    source: str | None
    status: str

    @property
    def upper_if_none(self) -> float:
        """One-sided 95% upper limit of the risk if nobody has the event (Clopper-Pearson)."""
        return upper_limit_if_none(self.n)


def safety_endpoints(resolved: ResolvedTemplate) -> tuple[BinaryEndpoint, ...]:
    """Return the safety endpoints whose risk the file states."""
    stated = resolved.template.nature.outcomes
    return tuple(
        e
        for e in resolved.template.protocol.endpoints
        if isinstance(e, BinaryEndpoint) and e.level is Level.SAFETY and e.id in stated
    )


def safety_of(
    resolved: ResolvedTemplate, scenarios: Sequence[Scenario] = ()
) -> tuple[SafetyRisk, ...]:
    """Return what the trial can see of each safety endpoint, per arm and in all.

    Parameters
    ----------
    resolved : ResolvedTemplate
    scenarios : sequence of Scenario
        All of the file's for none; those that state the same two risks share an answer.
    """
    chosen = tuple(scenarios) or resolved.template.scenarios
    return tuple(
        risk
        for endpoint in safety_endpoints(resolved)
        for risk in _of_endpoint(resolved, endpoint, chosen)
    )


def _of_endpoint(
    resolved: ResolvedTemplate, endpoint: BinaryEndpoint, chosen: Sequence[Scenario]
) -> Iterator[SafetyRisk]:
    by_risks: dict[tuple[float, float], list[Scenario]] = {}
    for scenario in chosen:
        by_risks.setdefault(_risks(resolved, scenario, endpoint), []).append(scenario)
    for (treated, control), scenarios in by_risks.items():
        yield from _under(resolved, endpoint, treated, control, scenarios)


def _under(
    resolved: ResolvedTemplate,
    endpoint: BinaryEndpoint,
    treated: float,
    control: float,
    scenarios: list[Scenario],
) -> Iterator[SafetyRisk]:
    protocol = resolved.template.protocol
    sizes = protocol.arm_sizes
    arms = ((protocol.experimental.id, treated, sizes[0]), (protocol.control.id, control, sizes[1]))
    names = tuple(scenario.id for scenario in scenarios)
    source, status = _known_from(resolved, endpoint, scenarios[0])
    none_anywhere = 1.0
    for arm, risk, n in arms:
        if n == 0:
            continue
        chance = chance_of_an_event(risk, n)
        none_anywhere *= 1 - chance
        yield SafetyRisk(endpoint, arm, names, n, risk, chance, n * risk, source, status)
    if 0 in sizes:
        return
    total, expected = sum(sizes), sum(n * risk for _, risk, n in arms)
    yield SafetyRisk(
        endpoint,
        BOTH_ARMS,
        names,
        total,
        expected / total,
        1 - none_anywhere,
        expected,
        source,
        status,
    )


def _risks(
    resolved: ResolvedTemplate, scenario: Scenario, endpoint: BinaryEndpoint
) -> tuple[float, float]:
    """Return the risk in the experimental and in the control arm."""
    model = resolved.template.nature.outcomes[endpoint.id]
    assert isinstance(model, FurtherRisk)  # checked when the file was loaded
    effect = scenario.outcomes.get(endpoint.id)
    if effect is None:
        return (model.treated or model.risk).value, model.risk.value
    try:
        control, treated = outcome_truth(endpoint, model, effect, None, 0.5).arms
    except ImpossibleOutcomeError as why:
        raise AssertionError("checked when the file was loaded") from why
    return treated, control


def _known_from(
    resolved: ResolvedTemplate, endpoint: BinaryEndpoint, scenario: Scenario
) -> tuple[str | None, str]:
    """Return the source of the risks and the weakest status of the numbers behind them."""
    model = resolved.template.nature.outcomes[endpoint.id]
    assert isinstance(model, FurtherRisk)
    numbers: list[tuple[SourcedNumber, str]] = [(model.risk, "control_risk")]
    if effect := scenario.outcomes.get(endpoint.id):
        numbers.append((effect.number, effect.stated[0]))
    elif model.treated:
        numbers.append((model.treated, "treated_risk"))
    statuses = [known_from(*number, resolved.evidence) for number in numbers]
    if "assumed" in statuses:
        return None, "assumed"
    return numbers[0][0].source, max(map(Status, statuses), key=list(Status).index)
