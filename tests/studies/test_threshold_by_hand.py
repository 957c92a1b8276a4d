"""Thresholds of `optimise`, worked out again from the numbers in the file by scipy alone."""

from __future__ import annotations

from math import log, sqrt

import pytest
import yaml
from scipy.optimize import brentq
from scipy.stats import lognorm, multivariate_normal, norm

from conftest import ROOT
from trialsim.protocol.optimisation import Quantity, constraints_from_words, vary_from_words
from trialsim.protocol.reading.load import TemplateFile
from trialsim.studies.operations.optimisation import optimise_request, plan_optimisation

DAYS_PER_MONTH = 30.4375
POWER = 0.8


def number(value):
    return value["value"] if isinstance(value, dict) else value


def among_eligible(correlation, of_all, eligible):
    """Return P(in the level | eligible): both latent variables low, over P(eligible)."""
    both = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    return both.cdf([norm.ppf(of_all), norm.ppf(eligible)]) / eligible


def odds(risk, ratio):
    own = risk / (1 - risk) * ratio
    return own / (1 + own)


def power(n, control, treated, alpha=0.05):
    """Return the power of the chi-square test, n patients in arms of one size."""
    pooled = (control + treated) / 2
    at_null, own = 2 * pooled * (1 - pooled), control * (1 - control) + treated * (1 - treated)
    drift = abs(control - treated) * sqrt(n / 2)
    z = norm.ppf(1 - alpha / 2)
    return norm.cdf((drift - z * sqrt(at_null)) / sqrt(own)) + norm.cdf(
        (-drift - z * sqrt(at_null)) / sqrt(own)
    )


class ByHand:
    """The file sepsis-enriched at other thresholds; a share of everybody is eligible at each."""

    def __init__(self, eligible, threshold=30, share=None, screened_in=None):
        text = (ROOT / "protocols" / "sepsis-enriched.yaml").read_text(encoding="utf-8")
        plain = yaml.safe_load(text)
        nature, self.cost, self.eligible = plain["nature"], plain["cost"], eligible
        suppressed, _ = nature["factors"][0]["levels"]
        self.of_all = number(nature["enrichment"]["share_of_all"])
        self.share = share or number(suppressed["share"])
        self.at_file = eligible(threshold)
        self.passing = screened_in or 1 - number(nature["screening_failures"])
        risk, ratio = number(nature["control_risk"]), number(suppressed["odds_ratio"])
        low = brentq(lambda p: self.averaged(odds(p, ratio), p) - risk, 1e-6, 0.999)
        self.control = odds(low, ratio), low
        # one odds ratio over all at the file's threshold, no effect in the other level
        effect = number(plain["scenarios"][2]["effect"]["odds_ratio"])
        rest = (1 - self.share) * low
        self.treated = (odds(risk, effect) - rest) / self.share, low
        self.correlation = brentq(
            lambda r: among_eligible(r, self.of_all, self.at_file) - self.share, -0.99, 0.99
        )

    def averaged(self, in_level, in_others):
        return self.share * in_level + (1 - self.share) * in_others

    def at(self, threshold):
        eligible = self.eligible(threshold)
        share = among_eligible(self.correlation, self.of_all, eligible)
        control, treated = (
            share * risks[0] + (1 - share) * risks[1] for risks in (self.control, self.treated)
        )
        n = 2
        while power(n, control, treated) < POWER:
            n += 2
        passing = self.passing * eligible / self.at_file
        months = 52 * n / 1106 * self.passing / passing + 28 / DAYS_PER_MONTH
        cost = self.cost
        money = (
            n * (cost["per_patient"] + 4 * cost["per_visit"])
            + n / passing * cost["screening"]
            + months * (cost["per_month"] + 22 * cost["per_site_month"])
        )
        return {
            "share": share, "control": control, "treated": treated,
            "size": n, "screened": n / passing, "months": months, "cost": money,
        }  # fmt: skip


def found_at(threshold, *settings):
    """Return what `optimise` makes of a threshold, the smallest design with the power."""
    file = TemplateFile.of("sepsis-enriched", settings)
    vary = ("variant=as it stands", f"threshold={threshold:g}", "looks=1", "sites=22", "ratio=1:1")
    request = optimise_request(
        file.resolved(file.tree()),
        vary=vary_from_words(vary),
        constraints=constraints_from_words([f"power >= {POWER} under predictive"]),
    )
    planned = plan_optimisation(file, request)
    judged = min(
        (own for own in planned.designs if own.values[Quantity.POWER][0] >= POWER),
        key=lambda own: own.design.size,
    )
    resolved = file.resolved(planned.trees["", None, float(threshold)])
    (scenario,) = resolved.scenarios(["predictive"])
    truth, nature = resolved.truth(scenario), resolved.template.nature
    return {
        "share": nature.factors[0].shares[0],
        "control": truth.control_risk,
        "treated": truth.treated_risk,
        "size": judged.design.size,
        "screened": judged.design.size * nature.screened_per_patient,
        "months": judged.values[Quantity.MONTHS][0],
        "cost": judged.values[Quantity.COST][0],
    }


LOG_NORMAL = (
    "nature.outcomes.mhla-dr={geometric_mean: [50, 55], geometric_sd: 1.6, "
    "correlation: {exchangeable: 0.87}, baseline: {geometric_mean: 48, geometric_sd: 1.6, "
    "correlation: 0.87, at_most: 30}}",
    "protocol.endpoints.mhla-dr.scale=log",
    "scenarios.predictive.outcomes=null",
    "scenarios.mhla-dr-alone=null",
    "nature.screening_failures=0.85",
)
AT_LEAST = (
    "nature.outcomes.mhla-dr.baseline.at_most=null",
    "nature.outcomes.mhla-dr.baseline.at_least=40",
    "nature.factors.immune-status.levels.immunosuppressed.share=0.3",
    "nature.factors.immune-status.levels.not-immunosuppressed.share=0.7",
    "nature.screening_failures=0.4",
)


def above(x):
    return norm(52.55, 25).sf(x)


@pytest.mark.parametrize(
    ("thresholds", "by_hand", "settings"),
    [
        ((20, 45, 60), ByHand(norm(52.55, 25).cdf), ()),
        ((40,), ByHand(lognorm(log(1.6), scale=48).cdf, screened_in=0.15), LOG_NORMAL),
        ((50,), ByHand(above, threshold=40, share=0.3, screened_in=0.6), AT_LEAST),
    ],
)
def test_reference_a_threshold_is_what_scipy_makes_of_the_file(thresholds, by_hand, settings):
    """Shares, risks, size, screened, months and cost; the file keeps six decimals of shares."""
    for threshold in thresholds:
        own, found = by_hand.at(threshold), found_at(threshold, *settings)
        for name, value in found.items():
            assert value == pytest.approx(own[name], rel=1e-5), name


def test_analytic_the_odds_ratio_in_the_level_is_the_0_7_the_file_says():
    by_hand = ByHand(norm(52.55, 25).cdf)
    treated, control = by_hand.treated[0], by_hand.control[0]
    assert treated / (1 - treated) / (control / (1 - control)) == pytest.approx(0.7, abs=2e-3)
    assert by_hand.correlation == pytest.approx(0.72, abs=5e-3)
