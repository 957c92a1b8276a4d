"""What published records say of an effect, as a prior to average power over."""

from __future__ import annotations

from math import log, sqrt
from statistics import NormalDist

from trialsim.characteristics import Z95
from trialsim.errors import Problem, RequestError
from trialsim.kernels.bias_adjustment import NextEffect
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.published.evidence import EffectEstimate, Pool, Trial
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.conflict.adjustment import NextTrial, next_trial
from trialsim.studies.size.question import SizeRequest

__all__ = [
    "ADJUSTED",
    "AS_ADJUSTED",
    "EffectBelief",
    "accepted_adjustment",
    "pooled_prior",
    "prior_in_words",
    "prior_sources",
]

ADJUSTED = "adjusted"
"""Instead of a record: the trials observed, less the bias of trials like them."""

AS_ADJUSTED = "of the trials observed, adjusted for bias"
"""Title of a scenario with their effect."""

EffectBelief = NormalDist | NextEffect
"""What is believed of a log ratio."""

_WEAK = ("document", "unverified")


def pooled_prior(resolved: ResolvedTemplate, request: SizeRequest) -> EffectBelief:
    """Return what published records say together: inverse-variance weights of log ratios.

    One record is taken as it is; several as estimates of one effect (assumed). For trials adjusted
    for bias it is the true effect of the next one.

    Raises
    ------
    RequestError
        For an unknown record, one without an estimate on the scale, a weak one that was not
        accepted, or two that share patients.
    """
    if request.prior == (ADJUSTED,):
        return accepted_adjustment(resolved, request.accept_claim).adjusted
    survival = isinstance(resolved.template.protocol.primary, TimeToEventEndpoint)
    found = [_record_estimate(resolved, name, request, survival) for name in request.prior]
    for index, one in enumerate(request.prior):
        for other in request.prior[index + 1 :]:
            if resolved.evidence.shares_patients(one, other):
                rule = f"shares patients with {other}: together they count them twice"
                raise RequestError(Problem(rule, "Keep one of the two.", "--prior", one))
    weights = [1 / estimate.stdev**2 for estimate in found]
    mean = sum(w * e.mean for w, e in zip(weights, found, strict=True)) / sum(weights)
    return NormalDist(mean, sum(weights) ** -0.5)


def accepted_adjustment(resolved: ResolvedTemplate, accept_claim: bool) -> NextTrial:
    """Return what the trials observed say, adjusted for bias.

    Raises
    ------
    RequestError
        Where an estimate of bias is a weak one that was not accepted, or the endpoint is not
        death from any cause: biases are published by kind of outcome.
    """
    try:
        said = next_trial(resolved)
    except RequestError as error:
        if all(problem.field != "--outcomes" for problem in error.problems):
            raise
        rule = "needs an endpoint called death from any cause: biases are published by outcome"
        remedy = (
            "Say the kind to 'trialsim evidence adjust TEMPLATE --outcomes', then give --effect "
            "in numbers."
        )
        raise RequestError(Problem(rule, remedy, ADJUSTED)) from None
    if said.weak and not accept_claim:
        rule = f"rests on {', '.join(said.weak)}"
        raise RequestError(Problem(rule, "Add --accept-claim.", ADJUSTED))
    return said


def prior_in_words(request: SizeRequest) -> str:
    """Return whose numbers a prior is made of."""
    if request.prior == (ADJUSTED,):
        return "the trials observed, adjusted for bias,"
    return " and ".join(request.prior)


def prior_sources(resolved: ResolvedTemplate, request: SizeRequest) -> tuple[str, ...]:
    """Return the records a prior is made of."""
    return next_trial(resolved).sources if request.prior == (ADJUSTED,) else request.prior


def _record_estimate(
    resolved: ResolvedTemplate, name: str, request: SizeRequest, survival: bool
) -> NormalDist:
    record, wanted = resolved.evidence.records.get(name), "HR" if survival else "OR"
    primary = resolved.template.protocol.primary.id
    effects: tuple[EffectEstimate, ...] = ()
    counts = None
    if isinstance(record, Pool):
        effects = record.effects
    elif isinstance(record, Trial) and (result := record.result(primary)):
        effects = result.effects
        counts = (result.experimental, result.control)
    for effect in effects:
        if effect.measure.short == wanted and effect.ci and min(effect.ci) > 0:
            if effect.status.value in _WEAK and not request.accept_claim:
                rule = f"is {effect.status.value} only"
                raise RequestError(Problem(rule, "Add --accept-claim.", "--prior", name))
            width = log(effect.ci[1]) - log(effect.ci[0])
            return NormalDist(log(effect.value), width / (2 * Z95))
    if counts and not survival and counts[0] and counts[1]:
        cells = [
            (arm.events or 0, (arm.n or 0) - (arm.events or 0)) for arm in counts if arm is not None
        ]
        if min(min(pair) for pair in cells) > 0:
            (a, b), (c, d) = cells
            return NormalDist(log(a * d / (b * c)), sqrt(1 / a + 1 / b + 1 / c + 1 / d))
    known = "is not a known evidence id" if record is None else f"states no {wanted} with interval"
    remedy = "'trialsim evidence' lists the records."
    raise RequestError(Problem(known, remedy, "--prior", name))
