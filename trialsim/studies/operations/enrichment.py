"""A file with another threshold of the marker that makes patients eligible.

What a threshold changes follows from the file: the marker is normal (log-normal) at entry, and a
latent normal variable, correlated with it, decides who is in the level of the factor (tetrachoric
correlation; Pearson 1900). The correlation is solved from the share of the level among everybody
and among those eligible at the file's own threshold. Risks in the levels stay what they are.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import NormalDist
from typing import Any

from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr

from trialsim.errors import Problem, RequestError
from trialsim.protocol.endpoints import BinaryEndpoint
from trialsim.protocol.enrichment import Enrichment, baseline_of, share_eligible
from trialsim.protocol.modifiers import ModifiedRisks
from trialsim.protocol.operations import OperationalNature
from trialsim.protocol.outcomes import Baseline
from trialsim.protocol.scenario import Factor, Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = ["Enriched", "enriched_at", "level_share", "read_enrichment", "tetrachoric"]

Tree = dict[str, Any]
_MARK = "by trialsim optimise"
_LEAST_ELIGIBLE = 1e-4
_ROUNDED = 0.005  # a share that passes screening, in whole percent
_NEAR_ONE = 1 - 1e-9


def level_share(z: float, of_all: float, correlation: float) -> float:
    """Return P(in the level | marker at most z standard deviations from its mean).

    Parameters
    ----------
    z : float
        Threshold in standard deviations; the patients below it are eligible.
    of_all : float
        Share of the level among everybody.
    correlation : float
        Of the marker with the latent variable; negative where low markers go with the level.
    """
    cut = -NormalDist().inv_cdf(of_all)  # the latent variable is above it in the level
    spread = sqrt(1 - correlation**2)

    def density(x: float) -> float:
        return exp(-x * x / 2) / 2.5066282746310002 * float(ndtr((correlation * x - cut) / spread))

    both, _ = quad(density, -inf, z, epsabs=1e-12, epsrel=1e-10)
    return float(both / ndtr(z))


def tetrachoric(z: float, of_all: float, share: float) -> float:
    """Return the correlation with which `level_share` at `z` is `share`, the nearest there is."""
    most, least = (level_share(z, of_all, rho) for rho in (-_NEAR_ONE, _NEAR_ONE))
    if not least < share < most:
        return -_NEAR_ONE if share >= most else _NEAR_ONE
    return float(
        brentq(lambda rho: level_share(z, of_all, rho) - share, -_NEAR_ONE, _NEAR_ONE, xtol=1e-12)
    )


@dataclass(frozen=True)
class Enriched:
    """What the file says of its threshold, and what follows for others.

    Attributes
    ----------
    own : Enrichment
    baseline : Baseline
        Of the marker, with the file's threshold.
    factor : Factor
    risks : tuple of float
        Of controls, per level of the factor.
    correlation : float
        Between the marker, turned so that the eligible are low, and being in the level.
    """

    own: Enrichment
    baseline: Baseline
    factor: Factor
    risks: tuple[float, ...]
    correlation: float

    @property
    def threshold(self) -> float:
        """The file's own."""
        at_most, at_least = self.baseline.at_most, self.baseline.at_least
        found = at_most if at_most is not None else at_least
        assert found is not None  # of every baseline that selects
        return found

    def eligible(self, threshold: float) -> float:
        """Share of everybody on the eligible side."""
        return share_eligible(self.baseline, threshold)

    def shares(self, threshold: float) -> tuple[float, ...]:
        """Share of each level among the eligible; levels but the marked one keep proportions."""
        levels = self.factor.levels or ()
        index = [level.id for level in levels].index(self.own.level)
        before = self.factor.shares
        if threshold == self.threshold:
            return before
        z = NormalDist().inv_cdf(self.eligible(threshold))
        share = level_share(z, self.own.share_of_all.value, self.correlation)
        rest = (1 - share) / (1 - before[index])
        return tuple(share if k == index else b * rest for k, b in enumerate(before))

    def relative_pass(self, threshold: float) -> float:
        """How many times as many of those screened are eligible as at the file's threshold."""
        return self.eligible(threshold) / self.eligible(self.threshold)

    def in_words(self) -> str:
        """Return the model in a sentence."""
        low = self.baseline.at_most is not None
        side, sign = ("at most", 1) if low else ("at least", -1)
        share = dict(zip((k.id for k in self.factor.levels or ()), self.factor.shares, strict=True))
        return (
            f"Thresholds: {self.own.marker} at entry is normal; {self.own.level} are "
            f"{100 * self.own.share_of_all.value:g}% of everybody and "
            f"{100 * share[self.own.level]:g}% of those {side} {self.threshold:g}, which is a "
            f"tetrachoric correlation of {sign * self.correlation:.2f} with the marker; risks in "
            "the levels stay, and as many are screened a month (assumed)."
        )


def read_enrichment(resolved: ResolvedTemplate) -> Enriched | None:
    """Return what a file says of its threshold; None where it enrols everybody.

    Raises
    ------
    RequestError
        Where the file says more of prognosis than a threshold can be worked out with.
    """
    nature = resolved.template.nature
    own = nature.enrichment
    baseline = baseline_of(nature.outcomes.get(own.marker)) if own else None
    if own is None or baseline is None:
        return None
    factor = next(f for f in nature.factors if f.id == own.factor)
    threshold = baseline.at_most if baseline.at_most is not None else baseline.at_least
    assert threshold is not None
    _check(resolved, own, baseline, threshold)
    assert nature.control_risk is not None  # of a binary primary endpoint, by a rule
    risks = _risks_by_level(factor, nature.control_risk.value)
    index = [level.id for level in factor.levels or ()].index(own.level)
    z = NormalDist().inv_cdf(share_eligible(baseline, threshold))
    correlation = tetrachoric(z, own.share_of_all.value, factor.shares[index])
    return Enriched(own, baseline, factor, risks, correlation)


def _check(
    resolved: ResolvedTemplate, own: Enrichment, baseline: Baseline, threshold: float
) -> None:
    template, problems = resolved.template, []
    nature, here = template.nature, "optimise.vary.threshold"
    assert isinstance(template.protocol.primary, BinaryEndpoint)  # by a rule
    other = [
        f.id for f in nature.factors if f.id != own.factor and any(r != 1 for r in f.odds_ratios)
    ]
    if other or (nature.severity_slope and nature.severity_slope.value) or nature.covariates:
        rule = f"cannot be tried: not {own.factor} alone is prognostic"
        remedy = "Write a variant for each threshold, with its control risk."
        problems.append(Problem(rule, remedy, here))
    for scenario in template.scenarios:
        if scenario.control_risk or scenario.as_observed:
            rule = f"cannot be tried: scenario {scenario.id} has a control risk of its own"
            remedy = "Leave it out, or write a variant for each threshold."
            problems.append(Problem(rule, remedy, here))
    passing, eligible = 1 / nature.screened_per_patient, share_eligible(baseline, threshold)
    if passing > eligible + _ROUNDED:
        rule = (
            f"cannot be tried: {100 * passing:.3g}% of those screened pass, and "
            f"{100 * eligible:.3g}% of everybody are eligible at {threshold:g}"
        )
        remedy = f"Raise nature.screening_failures to {1 - eligible:.3g} or more."
        problems.append(Problem(rule, remedy, here))
    if nature.control_risk_by:
        rule = "cannot be tried: the file states risks by other times"
        problems.append(Problem(rule, "Write a variant for each threshold.", here))
    if problems:
        raise RequestError(problems)


def _risks_by_level(factor: Factor, marginal: float) -> tuple[float, ...]:
    """Return the risk of controls in each level, which average to the marginal one."""
    logs = [log(ratio) for ratio in factor.odds_ratios]

    def excess(base: float) -> float:
        risks = (float(expit(base + own)) for own in logs)
        return sum(s * r for s, r in zip(factor.shares, risks, strict=True)) - marginal

    base = brentq(excess, -40, 40, xtol=1e-13)
    return tuple(float(expit(base + own)) for own in logs)


def enriched_at(
    tree: Tree, resolved: ResolvedTemplate, enriched: Enriched, threshold: float
) -> Tree:
    """Return a file that enrols by another threshold, with all that follows from it.

    Who is eligible, the share of those screened who fail, the levels of the factor, the risk of
    controls, effects that differ between levels, and how fast patients enter.

    Raises
    ------
    RequestError
        For a threshold at which hardly anybody, or everybody, is eligible.
    """
    if threshold == enriched.threshold:
        return tree
    own, found = enriched.own, copy.deepcopy(tree)
    eligible = enriched.eligible(threshold)
    if not _LEAST_ELIGIBLE <= eligible <= 1 - 1e-12:
        rule = f"makes {100 * eligible:.3g}% of everybody eligible"
        remedy = f"Choose one nearer to {enriched.threshold:g}."
        raise RequestError(Problem(rule, remedy, "threshold", f"{threshold:g}"))
    nature, note = found["nature"], f"{_MARK}: {own.marker} threshold {threshold:g}"

    def noted(value: float) -> Tree:
        return {"value": float(f"{value:.6f}"), "note": note}

    side = "at_most" if enriched.baseline.at_most is not None else "at_least"
    nature["outcomes"][own.marker]["baseline"][side] = threshold
    passing = 1 / resolved.template.nature.screened_per_patient
    failing = max(0.0, 1 - passing * enriched.relative_pass(threshold))
    nature["screening_failures"] = noted(failing)
    shares = enriched.shares(threshold)
    rounded = _in_millionths(shares, enriched, threshold)
    for factor in nature["factors"]:
        if factor["id"] == own.factor:
            for level, share in zip(factor["levels"], rounded, strict=True):
                level["share"] = {"value": share, "note": note}
    control = _average(shares, enriched.risks)
    nature["control_risk"] = noted(control)
    for plain, scenario in zip(found["scenarios"], resolved.template.scenarios, strict=True):
        treated = _treated_by_level(resolved, scenario, enriched)
        if treated is not None:
            ratio = exp(float(logit(_average(shares, treated))) - float(logit(control)))
            plain["effect"] = {"odds_ratio": noted(ratio)}
    _put_pace(found, resolved, (1 - failing) / passing, note)
    _reword(found["protocol"], enriched.threshold, threshold)
    return found


def _in_millionths(shares: tuple[float, ...], enriched: Enriched, threshold: float) -> list[float]:
    """Return shares as a file states them, adding up to 1 (RequestError for a level of nobody)."""
    rounded = [float(f"{share:.6f}") for share in shares[:-1]]
    rounded.append(round(1 - sum(rounded), 6))
    for level, share in zip(enriched.factor.levels or (), rounded, strict=True):
        if share <= 0:
            rule = f"leaves nobody of those eligible {level.id}"
            remedy = f"Choose one nearer to {enriched.threshold:g}."
            raise RequestError(Problem(rule, remedy, "threshold", f"{threshold:g}"))
    return rounded


def _average(shares: tuple[float, ...], risks: tuple[float, ...]) -> float:
    return sum(s * r for s, r in zip(shares, risks, strict=True))


def _treated_by_level(
    resolved: ResolvedTemplate, scenario: Scenario, enriched: Enriched
) -> tuple[float, ...] | None:
    """Return risks under treatment by level, where the effect differs between levels."""
    truth = resolved.truth(scenario)
    modified = truth.modified_in(resolved.template.protocol.primary.id)
    if not isinstance(modified, ModifiedRisks):
        return None
    if [name for name, _ in modified.cells.factors] != [enriched.own.factor]:
        rule = f"cannot be tried: in {scenario.id} the effect differs by more than that factor"
        remedy = "Write a variant for each threshold."
        raise RequestError(Problem(rule, remedy, "optimise.vary.threshold"))
    return modified.treated


def _put_pace(found: Tree, resolved: ResolvedTemplate, times: float, note: str) -> None:
    """Let as many be screened a month as before: so many times as many are then enrolled."""
    nature = resolved.template.nature
    if nature.enrolment is not None:
        paced = nature.enrolment.sped_up(times).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )
        found["nature"]["enrolment"] = {**paced, "note": note}
    happens = nature.operations or OperationalNature()
    if nature.enrolment is None or "per_site_month" in happens.recruitment.model_fields_set:
        operations = dict(found["nature"].get("operations") or {})
        recruitment = dict(operations.get("recruitment") or {})
        rate = happens.recruitment.per_site_month.value * times
        recruitment["per_site_month"] = {"value": float(f"{rate:.6g}"), "note": note}
        found["nature"]["operations"] = {**operations, "recruitment": recruitment}


def _reword(protocol: Tree, before: float, after: float) -> None:
    """Write the threshold anew where the population is said in words."""
    pattern = re.compile(rf"\b(at (?:most|least)) {re.escape(f'{before:g}')}(?![\d.]*\d)")

    def reworded(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(rf"\g<1> {after:g}", value)
        if isinstance(value, list):
            return [reworded(each) for each in value]
        return value

    population = protocol.get("population")
    if isinstance(population, dict):
        protocol["population"] = {key: reworded(value) for key, value in population.items()}
