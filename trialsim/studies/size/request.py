"""The words of ``trialsim size`` as a request: effects, looks, rules, ratios."""

from __future__ import annotations

import re
from math import exp, inf
from typing import Protocol as Shape

from pydantic import ValidationError

from trialsim.errors import Problem, RequestError
from trialsim.kernels.exact import ExactTest
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    CompetingEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    MeasuredScale,
    OrdinalEndpoint,
    OutcomeEndpoint,
    ResponseEndpoint,
    RiskEndpoint,
    SimulatedEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.sizing.fixed import Allocation, NonInferiority, SuperiorityByMargin
from trialsim.sizing.proportions import NullVariance
from trialsim.sizing.sequential import (
    BetaSpending,
    Efficacy,
    Futility,
    GivenFutility,
    bounds_from_words,
    spending_from_words,
)
from trialsim.studies.size.prior import ADJUSTED, AS_ADJUSTED, accepted_adjustment
from trialsim.studies.size.question import SizeRequest
from trialsim.studies.size.reestimation import SizeRule

__all__ = ["SizeWords", "effect_example", "size_request"]

_RISKS = {"OR": "odds_ratio", "RR": "risk_ratio", "RD": "risk_difference"}
_EXACT = {
    "chi-square": ExactTest.CHI_SQUARE,
    "fisher": ExactTest.FISHER,
    "boschloo": ExactTest.BOSCHLOO,
    "barnard": ExactTest.BARNARD,
}
_MARGIN_TESTS = {
    "farrington-manning": NullVariance.RESTRICTED,
    "miettinen-nurminen": NullVariance.MIETTINEN_NURMINEN,
    "wald": NullVariance.UNPOOLED,
}


class SizeWords(Shape):
    """What was typed."""

    scenario: str | None
    effect: str | None
    control_risk: float | None
    power: float
    total: int | None
    looks: str | None
    bounds: str | None
    spending: str | None
    futility: str | None
    binding: bool
    observed: str | None
    information: str | None
    dropout: float | None
    ratio: str | None
    margin: float | None
    superiority_margin: float | None
    margin_test: str | None
    exact: str | None
    accept_claim: bool
    prior: list[str]
    important: str
    realistic: str
    reestimate: str | None
    reestimate_at: float | None
    maximum: int | None
    grid: bool
    by: str | None


def size_request(resolved: ResolvedTemplate, words: SizeWords) -> tuple[SizeRequest, list[str]]:
    """Read what was typed; also return how a bare number was read.

    Raises
    ------
    RequestError
        For words that mean nothing, with an example.
    """
    scenario, echo = _scenario(resolved, words)
    rule: Efficacy | None = None
    _check_alone(resolved, words)
    if words.bounds is not None:
        rule = bounds_from_words(words.bounds)
    elif words.spending is not None:
        rule = spending_from_words(words.spending)
    request = SizeRequest(
        power=words.power,
        total=words.total,
        scenario=scenario,
        information=_numbers("--looks", words.looks, "0.5,0.75,1"),
        efficacy=rule,
        futility=_futility(words.futility),
        binding=words.binding,
        observed=_numbers("--observed", words.observed, "1.2,1.9"),
        seen_information=_numbers("--information", words.information, "0.48,0.77"),
        loss=words.dropout,
        allocation=_allocation(words.ratio),
        margin=words.margin if words.superiority_margin is None else words.superiority_margin,
        margin_kind=NonInferiority if words.superiority_margin is None else SuperiorityByMargin,
        margin_test=_MARGIN_TESTS[words.margin_test or "farrington-manning"],
        exact=_EXACT[words.exact] if words.exact else None,
        accept_claim=words.accept_claim,
        prior=_prior(words),
        important=_sentence(words.important),
        realistic=_sentence(words.realistic),
        reestimate=SizeRule(words.reestimate) if words.reestimate else None,
        reestimate_at=0.5 if words.reestimate_at is None else words.reestimate_at,
        most=words.maximum,
        grid=words.grid,
        by_simulation=words.by == "simulation",
    )
    return request, echo


def _prior(words: SizeWords) -> tuple[str, ...]:
    """Return the records of a prior; an adjusted effect brings its own."""
    asked = tuple(dict.fromkeys(words.prior))
    if ADJUSTED in asked and len(asked) > 1:
        rule, remedy = "cannot stand beside records", "Keep one of the two."
        raise _refused("--prior", rule, remedy, ADJUSTED)
    adjusted = words.effect is not None and words.effect.strip().lower() == ADJUSTED
    return asked or ((ADJUSTED,) if adjusted else ())


def _refused(field: str, rule: str, remedy: str, value: str) -> RequestError:
    return RequestError(Problem(rule, remedy, field, value))


def _check_alone(resolved: ResolvedTemplate, words: SizeWords) -> None:
    """Refuse an option that would do nothing for want of another, or beside another."""
    margin = words.margin is not None or words.superiority_margin is not None
    looks, observed = words.looks is not None, words.observed is not None
    again = words.reestimate is not None
    own = not looks and any(
        look.futility_z is not None for look in resolved.template.protocol.looks
    )
    add_looks = "Add for example --looks 0.5,0.75,1."
    for given, allowed, option, rule, remedy in (
        (words.bounds is not None, looks, "--bounds", "needs --looks", add_looks),
        (words.spending is not None, looks, "--spending", "needs --looks", add_looks),
        (words.futility is not None, looks, "--futility", "needs --looks", add_looks),
        (words.binding, words.futility is not None or own, "--binding", "needs --futility",
         "Add for example --futility hsd:-2."),
        (words.information is not None, observed, "--information", "needs --observed",
         "Add --observed with z at these looks."),
        (words.margin_test is not None, margin, "--margin-test", "needs a margin",
         "Add --margin, or --superiority-margin."),
        (words.maximum is not None, again, "--maximum", "needs --reestimate",
         "Add --reestimate restricted."),
        (words.reestimate_at is not None, again, "--reestimate-at", "needs --reestimate",
         "Add --reestimate restricted."),
    ):  # fmt: skip
        if given and not allowed:
            raise RequestError(Problem(rule, remedy, option))
    _check_simulated_alone(words)
    primary = resolved.template.protocol.primary
    if not isinstance(primary, RiskEndpoint):
        for option, stated in (
            ("--control-risk", words.control_risk),
            ("--margin-test", words.margin_test),
        ):
            if stated is not None:
                rule = f"must belong to a binary endpoint: this one is {_kind_in_words(primary)}"
                raise _refused(option, rule, "Leave it out.", str(stated))


def _check_simulated_alone(words: SizeWords) -> None:
    if words.by != "simulation":
        return
    for option, given in (
        ("--total", words.total is not None),
        ("--dropout", words.dropout is not None),
        ("--prior", bool(words.prior)),
        ("--grid", words.grid),
        ("--reestimate", words.reestimate is not None),
    ):
        if given:
            rule = "cannot stand beside --by simulation, which finds a size for a power"
            raise RequestError(Problem(rule, "Leave one of them out.", option))


def _sentence(words: str) -> str:
    """Return words on one line, without the full stop the paragraph adds."""
    return " ".join(words.split()).rstrip(".")


def _scenario(resolved: ResolvedTemplate, words: SizeWords) -> tuple[Scenario | None, list[str]]:
    if words.scenario is not None and words.effect is not None:
        raise _refused("--effect", "cannot stand beside --scenario", "Keep one.", words.effect)
    if words.control_risk is not None and not 0 < words.control_risk < 1:
        value = f"{words.control_risk:g}"
        raise _refused("--control-risk", "must be in (0, 1)", "Write 24.1% as 0.241.", value)
    if words.scenario is not None:
        (scenario,) = resolved.scenarios([words.scenario])
        return scenario, []
    if words.effect is None:
        if words.control_risk is not None:
            remedy = 'Add for example --effect "OR 0.70".'
            raise _refused("--control-risk", "needs --effect", remedy, f"{words.control_risk:g}")
        return None, []
    if words.effect.strip().lower() == ADJUSTED:
        said = accepted_adjustment(resolved, words.accept_claim)
        ratios = [f"{exp(effect):.4g}" for effect in (said.planned, said.published)]
        scenario, _ = _stated(resolved, f"OR {ratios[0]}", words.control_risk)
        scenario = scenario.model_copy(update={"title": AS_ADJUSTED})
        return scenario, [f"read as odds ratio {ratios[0]}, adjusted for bias; naive {ratios[1]}"]
    return _stated(resolved, words.effect, words.control_risk)


def _stated(
    resolved: ResolvedTemplate, effect: str, control_risk: float | None
) -> tuple[Scenario, list[str]]:
    """Return a scenario of an effect in words; also how a bare number was read."""
    if isinstance(resolved.template.protocol.primary, ResponseEndpoint):
        rule = "cannot be stated for a response that comes and goes"
        remedy = "Plan for a scenario: --scenario ID ('trialsim show' lists them)."
        raise _refused("--effect", rule, remedy, effect)
    primary = resolved.template.protocol.primary
    measure, value, bare = _effect(primary, effect)
    content: dict[str, object] = {"id": "planned", "title": "as asked"}
    if isinstance(primary, OutcomeEndpoint):
        content["outcomes"] = {primary.id: {measure: value}}
    elif isinstance(primary, TimeToEventEndpoint):
        content["survival"] = {measure: value}
    else:
        content["effect"] = {measure: value}
        if control_risk is not None:
            content["control_risk"] = control_risk
    try:
        scenario = Scenario.model_validate(content)
        truth = resolved.truth(scenario)
    except (ValidationError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        remedy = "A ratio is above 0, and both risks lie between 0 and 1."
        raise _refused("--effect", f"is impossible: {said}", remedy, effect) from None
    read = f"read as {measure.replace('_', ' ')} {value:g}"
    if isinstance(primary, RiskEndpoint):
        read += f" = {100 * truth.control_risk:.1f}% -> {100 * truth.treated_risk:.1f}%"
    return scenario, [read] if bare else []


def _measures(primary: SimulatedEndpoint) -> tuple[dict[str, str], str]:
    """Return the keys of effects by what is typed, the one of a bare number first; an example."""
    match primary:
        case TimeToEventEndpoint() | CompetingEndpoint():
            return {"HR": "hazard_ratio"}, '"HR 0.70"'
        case ContinuousEndpoint(scale=MeasuredScale.LOG):
            return {"GMR": "ratio_of_geometric_means"}, '"GMR 1.4"'
        case ContinuousEndpoint():
            return {"MD": "mean_difference"}, '"MD -1.5"'
        case OrdinalEndpoint() | DaysAliveEndpoint():
            return {"OR": "odds_ratio"}, '"OR 1.8"'
        case CountEndpoint():
            return {"RR": "rate_ratio"}, '"RR 0.7"'
        case _:
            return _RISKS, '"OR 0.70", "RR 0.8" or "RD -0.05"'


def effect_example(primary: SimulatedEndpoint) -> str:
    """Return an effect of a kind of endpoint as it may be typed."""
    return _measures(primary)[1].split('"')[1]


def _kind_in_words(primary: SimulatedEndpoint) -> str:
    """Return what a primary endpoint is."""
    if isinstance(primary, TimeToEventEndpoint):
        return "a time to an event"
    if isinstance(primary, BinaryEndpoint):
        return "a binary endpoint"
    return f"an endpoint of kind {primary.kind}"


def _effect(primary: SimulatedEndpoint, words: str) -> tuple[str, float, bool]:
    """Return measure, value, and whether the measure had to be guessed."""
    found = re.fullmatch(r"\s*(?:([A-Za-z]{2,3})\s+)?(-?[0-9]*\.?[0-9]+)\s*", words)
    measures, example = _measures(primary)
    example = f"Write {example}."
    if not found:
        raise _refused("--effect", "must be a measure and a number", example, words)
    name = (found[1] or next(iter(measures))).upper()
    if name not in measures:
        rule = f"must be a measure of {_kind_in_words(primary)}"
        raise _refused("--effect", rule, example, words)
    return measures[name], float(found[2]), found[1] is None


def _numbers(field: str, words: str | None, example: str) -> tuple[float, ...]:
    if words is None:
        return ()
    try:
        return tuple(float(part) for part in words.split(","))
    except ValueError:
        remedy = f"Write for example {example}."
        raise _refused(field, "must be numbers with commas between", remedy, words) from None


def _futility(words: str | None) -> Futility | None:
    if words is None:
        return None
    if re.fullmatch(r"[-0-9.,]+", words):
        z = _numbers("--futility", words, "0,0.5")
        return GivenFutility(tuple(-inf if bound <= -10 else bound for bound in z))
    return BetaSpending(spending_from_words(words))


def _allocation(words: str | None) -> Allocation | None:
    if words is None:
        return None
    found = re.fullmatch(r"([1-9]|1[0-9]|20):([1-9]|1[0-9]|20)", words)
    if not found:
        remedy = "Write 2:1 for two treated to one control."
        raise _refused("--ratio", "must be two whole numbers from 1 to 20", remedy, words)
    return Allocation(int(found[1]), int(found[2]))
