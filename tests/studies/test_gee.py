"""GEE of response at visits: against geepack, matrices in R, and a closed form."""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from test_followup import Words, planned

from conftest import ROOT, needs
from trialsim.analyse import longitudinal
from trialsim.analyse.longitudinal import fit_gee, models_installed
from trialsim.analyse.response import analyse, responding
from trialsim.engine.blocks import draw_patients
from trialsim.protocol.endpoints import EstimatingEquations
from trialsim.studies.horizons.delayed_effect import with_gee

HEPATITIS = "chronic-hepatitis-b"
REFERENCE = json.loads((ROOT / "tests" / "reference" / "gee.json").read_text())["trials"]


@pytest.fixture
def models():
    needs("models", models_installed())


@pytest.mark.parametrize("trial", REFERENCE, ids=lambda t: f"{len(t['treated'])} patients")
def test_reference_estimate_and_corrected_error_are_those_of_geepack_and_matrices(trial, models):
    """R holds the correlation at its moment estimate; both solve the equations to about 1e-6."""
    response, seen = (np.array(trial[name]).astype(bool) for name in ("response", "seen"))
    found = fit_gee(response, seen, np.array(trial["treated"]).astype(bool))
    assert trial["robust"] == pytest.approx(trial["robust_geepack"], rel=1e-6)
    assert found.log_odds_ratio == pytest.approx(trial["estimate"], abs=1e-5)
    assert found.standard_error == pytest.approx(trial["corrected"], rel=1e-5)


@pytest.mark.parametrize("visits", [1, 3])
def test_analytic_with_every_visit_seen_it_is_woolfs_odds_ratio_with_each_arm_corrected(
    visits, models
):
    rng = np.random.default_rng(3)
    treated = np.arange(90) % 3 > 0
    since = rng.random(90) * np.where(treated, 6, 9)
    response = since[:, None] < np.arange(1, visits + 1)
    found = fit_gee(response, np.ones_like(response), treated)
    log_odds, variance = [], 0.0
    for who in (treated, ~treated):
        n, p = who.sum(), response[who, -1].mean()
        log_odds.append(np.log(p / (1 - p)))
        variance += (n / (n - 1)) ** 2 / (n * p * (1 - p))
    assert found.log_odds_ratio == pytest.approx(log_odds[0] - log_odds[1], abs=1e-8)
    assert found.standard_error == pytest.approx(sqrt(variance), rel=1e-8)


def test_analytic_an_early_visit_without_responders_says_nothing_and_a_last_one_is_failure(models):
    treated = np.arange(40) % 2 > 0
    late = np.random.default_rng(1).random(40) < np.where(treated, 0.6, 0.3)
    seen = np.ones((40, 2), dtype=bool)
    both = fit_gee(np.stack([np.zeros(40, dtype=bool), late], axis=1), seen, treated)
    assert both == pytest.approx(fit_gee(late[:, None], seen[:, :1], treated))
    apart = np.stack([late, treated], axis=1)
    assert np.isnan(fit_gee(apart, seen, treated)).all()


def test_property_separation_counts_as_failed_and_never_as_no_difference(models):
    plan = planned(HEPATITIS, Words("6 mo", "end-of-therapy"), [], ["no-effect"])
    own = replace(plan.jobs[0].plans[0], test=EstimatingEquations.GEE)
    (batches,) = draw_patients(plan.jobs[0], 1, 0, frozenset())[1]
    batch = batches[own.endpoint]
    batch = replace(
        batch,
        **{n: getattr(batch, n)[:, :40] for n in ("assigned", "leaving", "died")},
        **{n: getattr(batch, n)[:, :, :40] for n in ("response", "relapse", "visits", "attended")},
    )
    results = analyse(batch, own)
    shown = responding(batch, own)
    empty = [~(shown & arm).any(axis=0) for arm in (batch.assigned, ~batch.assigned)]
    assert (results.failed[:, 0] == (empty[0] | empty[1])).all()
    assert 0 < results.failed.sum() < 40
    assert np.isnan(results.p_value[results.failed]).all()


def test_property_every_trial_is_fitted_or_failed_and_it_is_said(models):
    plan = planned(HEPATITIS, Words("0 mo", "end-of-therapy"), [], ["no-effect"])
    result = with_gee(plan, plan.result(replicates=100))
    (row,) = result.figure_data["analyses"]
    assert row.n_replicates + row.n_failed == 100
    assert row in result.rows
    assert f"fitted in {row.n_failed} of 100" in result.texts["gee"]


def test_regression_without_statsmodels_or_visits_the_row_is_left_out_and_it_is_said(monkeypatch):
    monkeypatch.setattr(longitudinal, "find_spec", lambda name: None)
    plan = planned(HEPATITIS, Words("12 mo", "end-of-therapy"), [], ["no-effect"])
    result = plan.result(replicates=100)
    without = with_gee(plan, result)
    assert without.rows == result.rows
    assert "pip install 'trialsim[models]'" in without.texts["gee"]
    plan = planned("sepsis", Words("28 d", "entry"), [], ["or-082"])
    assert "only an endpoint of kind response" in with_gee(plan, result).texts["gee"]
