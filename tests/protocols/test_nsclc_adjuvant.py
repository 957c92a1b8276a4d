"""Lung cancer: medians as published, a randomised null at its level, what immortal time makes."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, chi2, norm

from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.studies.conduct.bias import plan_bias
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

REPLICATES = 2_000


@pytest.fixture(scope="module")
def template():
    return load_template("nsclc-adjuvant")


@pytest.fixture(scope="module")
def result(template):
    return plan_simulation(template).simulate(replicates=REPLICATES, seed=11)


def row(result, measure, scenario, endpoint="pfs", **more):
    (found,) = [
        r
        for r in result.rows
        if (r.measure, r.scenario, r.endpoint) == (measure, scenario, endpoint)
        and all(getattr(r, key) == value for key, value in more.items())
    ]
    return found


def medians(template, scenario):
    (chosen,) = template.scenarios([scenario])
    lifetimes = template.truth(chosen).lifetimes
    month = 30.4375
    return tuple(
        curve.quantile(0.5) / month for curve in (lifetimes.treated[0], lifetimes.control[0])
    )


def test_reference_medians_are_those_published_and_of_the_document(template):
    """The records asco-ta1-2023, document-004-cancer and gasto-1098."""
    records = template.evidence.records
    cohort = records["asco-ta1-2023"].result("pfs-first-v-third")
    assert medians(template, "as-observed") == pytest.approx(
        (cohort.experimental.value, cohort.control.value)
    )
    quantities = {q.id: q.value for q in records["document-004-cancer"].quantities}
    treated, control = medians(template, "as-in-document")
    assert control == pytest.approx(quantities["pfs-median-control"])
    assert control < treated < 1e4  # "not reached" is an assumption, never infinity
    planned = {q.id: q.value for q in records["gasto-1098"].quantities}
    assert template.template.protocol.n_total == planned["planned-patients"]


@pytest.mark.parametrize("endpoint", ["pfs", "os"])
def test_property_log_rank_keeps_its_level(result, endpoint):
    found = row(result, Measure.POWER, "no-effect", endpoint)
    assert found.value <= 0.05 + 0.005 + 4 * sqrt(0.05 * 0.95 / REPLICATES)


def test_analytic_pneumonitis_is_rejected_as_often_as_both_binomials_say(result):
    n, risk = 57, 0.3
    k = np.arange(n + 1)
    x, y = np.meshgrid(k, k, indexing="ij")
    pooled = (x + y) / (2 * n)
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = ((x - y) / n) ** 2 / (pooled * (1 - pooled) * 2 / n)
    probability = np.outer(binom.pmf(k, n, risk), binom.pmf(k, n, risk))
    size = probability[np.nan_to_num(squared) > chi2.ppf(0.95, 1)].sum()
    found = row(result, Measure.POWER, "no-effect", "pneumonitis")
    assert abs(found.value - size) < 4 * sqrt(size * (1 - size) / REPLICATES)


def test_analytic_power_is_schoenfelds_at_the_expected_events(result):
    events = row(result, Measure.EVENTS, "hr-060").value
    schoenfeld = norm.cdf(sqrt(events / 4) * abs(log(0.6)) - norm.ppf(0.975))
    found = row(result, Measure.POWER, "hr-060")
    assert abs(found.value - schoenfeld) < 0.01 + 4 * found.mcse


def test_analytic_survival_at_two_years_follows_from_the_medians(template):
    for scenario, treated, control in (("as-observed", 26.1, 12.6), ("as-in-document", 36, 14.6)):
        (chosen,) = template.scenarios([scenario])
        truth = template.truth(chosen)
        assert truth.treated_risk == pytest.approx(1 - 0.5 ** (24 / treated))
        assert truth.control_risk == pytest.approx(1 - 0.5 ** (24 / control))


def cox_limit(rate, until, cut):
    """Solve for the limit of Cox's estimate, equal arms, no loss, same hazard in all.

    Those of the treated with the event before `until` (years) count as untreated.
    """
    t = (np.arange(20_000) + 0.5) * cut / 20_000
    at_risk, early = np.exp(-rate * t), t < until
    treated = np.where(early, exp(-rate * until), at_risk)  # still counted as treated
    control = np.where(early, 2 * at_risk - exp(-rate * until), at_risk)
    events = 2 * rate * at_risk
    in_treated = np.where(early, 0, rate * at_risk)

    def score(log_ratio):
        share = treated * exp(log_ratio) / (treated * exp(log_ratio) + control)
        return (in_treated - events * share).sum()

    return exp(brentq(score, -5, 1))


def test_analytic_immortal_time_makes_a_hazard_ratio_out_of_nothing():
    settings = (  # all patients at once, nobody lost, nothing measured beside
        "protocol.sample_size={total: 1000}",
        "nature.enrolment={even: 1 d}",
        "nature.dropout={rate_per_year: 0}",
    )
    template = load_template("nsclc-adjuvant", settings=settings)
    plan = plan_bias(template, load_conduct("tlcr-2025"), ["no-effect"])
    rows = plan.result(replicates=400, seed=5).rows
    means = {r.mechanism: r for r in rows if r.measure is Measure.ESTIMATE_MEAN}
    found = means["immortal-time"]
    limit = cox_limit(log(2) * 12 / 14.6, 0.5, 4.0)
    assert limit < 0.65
    assert abs(found.value - log(limit)) < 0.01 + 4 * found.mcse
    assert abs(means["none"].value) < 0.01 + 4 * means["none"].mcse
