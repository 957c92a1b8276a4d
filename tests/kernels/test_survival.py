"""The survival kernels against R, other libraries, closed forms and each other."""

from __future__ import annotations

import csv
import json
from math import exp, log, sqrt

import numpy as np
import pytest

from conftest import ROOT
from trialsim import RequestError
from trialsim.kernels.hazards import Hazard, day_of, entry_days, survival_on
from trialsim.kernels.survival import (
    LOG_RANK,
    FlemingHarrington,
    IntervalScale,
    ModestlyWeighted,
    Ties,
    ZeroBefore,
    cox,
    kaplan_meier,
    milestone,
    restricted_mean,
    risk_tables,
    snapped,
    survival_data,
    weighted_log_rank,
)

REFERENCE = ROOT / "tests" / "reference"  # origin: README.md there
FIGURES = {
    item["id"]: item["value"]
    for item in json.loads((REFERENCE / "survival_tests.json").read_text())["results"]
}
Z95 = 1.959963984540054
CLOSE = {"rel": 1e-8, "abs": 1e-8}  # the figures have twelve digits


def two_hundred(*, stratified=False):
    with (REFERENCE / "surv_data.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return risk_tables(
        survival_data(
            [float(row["tte"]) for row in rows],
            [int(row["event"]) for row in rows],
            [int(row["trt"]) for row in rows],
            [row["stratum"] for row in rows] if stratified else None,
        )
    )


def scored(tables, weight):
    found = weighted_log_rank(tables, [weight])
    return found.score[0, 0], sqrt(found.covariance[0, 0, 0]), -found.z[0, 0]


WEIGHTED = {  # simtrial's estimate, se and z; its z is positive when treatment helps
    "wlr_FH_1_0": (False, FlemingHarrington(1, 0)),
    "wlr_FH_strat_0_1": (True, FlemingHarrington(0, 1)),
    "wlr_FH_strat_1_0": (True, FlemingHarrington(1, 0)),
    "wlr_FH_strat_1_1": (True, FlemingHarrington(1, 1)),
    "wlr_FH_strat_0_0.5": (True, FlemingHarrington(0, 0.5)),
    "wlr_mb_wmax2": (False, ModestlyWeighted(most=2)),
    "wlr_earlyzero_4": (False, ZeroBefore(4)),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_reference_weighted_log_rank_of_simtrial(name):
    stratified, weight = WEIGHTED[name]
    seen = FIGURES[name]
    expected = (seen["estimate"], seen["se"], seen["z"])
    assert scored(two_hundred(stratified=stratified), weight) == pytest.approx(expected, **CLOSE)


def test_reference_peto_peto_of_survdiff():
    _, _, z = scored(two_hundred(), FlemingHarrington(1, 0))
    assert z**2 == pytest.approx(FIGURES["survdiff_Grho1"]["chisq"], **CLOSE)


@pytest.mark.parametrize("ties", Ties)
def test_reference_cox_of_coxph(ties):
    fit, seen = cox(two_hundred(), ties), FIGURES[f"coxph_{ties}"]
    assert fit.log_hazard_ratio[0] == pytest.approx(seen["coef"], **CLOSE)
    assert fit.standard_error[0] == pytest.approx(seen["se"], **CLOSE)
    likelihoods = [fit.log_likelihood_null[0], fit.log_likelihood[0]]
    assert likelihoods == pytest.approx(seen["loglik"], **CLOSE)
    assert fit.score_chi_square[0] == pytest.approx(seen["score"], **CLOSE)
    ratio = 2 * (fit.log_likelihood[0] - fit.log_likelihood_null[0])
    assert ratio == pytest.approx(seen["lrt"], rel=1e-7)  # a difference of twelve-digit numbers
    wald = (fit.log_hazard_ratio[0] / fit.standard_error[0]) ** 2
    assert wald == pytest.approx(seen["wald"], abs=5e-3)  # printed with two decimals


def test_reference_stratified_cox_of_coxph():
    fit, seen = cox(two_hundred(stratified=True)), FIGURES["coxph_strat_efron"]
    assert fit.log_hazard_ratio[0] == pytest.approx(seen["coef"], **CLOSE)
    assert fit.standard_error[0] == pytest.approx(seen["se"], **CLOSE)


def test_reference_kaplan_meier_of_survfit():
    (table,), seen = two_hundred(), FIGURES["km_at_times"]
    curves = [kaplan_meier(table, treated=arm) for arm in (False, True)]
    at = [(curve, day) for curve in curves for day in (6, 12, 18, 24)]
    survival, variance = zip(*(curve.on(day) for curve, day in at), strict=True)
    assert np.ravel(survival) == pytest.approx(seen["surv"], **CLOSE)
    deviations = np.ravel(survival) * np.sqrt(np.ravel(variance))
    assert deviations == pytest.approx(seen["std.err"], **CLOSE)
    limits = [curve.interval(day, Z95) for curve, day in at]
    assert [lower[0] for lower, _ in limits] == pytest.approx(seen["lower"], **CLOSE)
    assert [upper[0] for _, upper in limits] == pytest.approx(seen["upper"], **CLOSE)
    at_risk = [curve.at_risk[0][curve.time[0] >= day - 1e-6][0] for curve, day in at]
    assert at_risk == seen["n.risk"]


@pytest.mark.parametrize("scale", IntervalScale)
def test_reference_intervals_of_survfit(scale):
    (table,), seen = two_hundred(), FIGURES[f"km_ci12_{scale}"]
    limits = [kaplan_meier(table, treated=arm).interval(12, Z95, scale) for arm in (False, True)]
    assert [lower[0] for lower, _ in limits] == pytest.approx(seen["lower"], **CLOSE)
    assert [upper[0] for _, upper in limits] == pytest.approx(seen["upper"], **CLOSE)


def test_reference_medians_of_survfit():
    (table,), seen = two_hundred(), FIGURES["km_median"]
    found = [kaplan_meier(table, treated=arm).median(Z95) for arm in (False, True)]
    assert [m[0] for m, _, _ in found] == pytest.approx(seen["median"], **CLOSE)
    assert [lower[0] for _, lower, _ in found] == pytest.approx(seen["lcl"], **CLOSE)
    upper = [limit[0] if np.isfinite(limit[0]) else None for _, _, limit in found]
    assert upper[0] == pytest.approx(seen["ucl"][0], **CLOSE)
    assert upper[1] is seen["ucl"][1] is None


def test_reference_restricted_means_of_survrm2():
    (table,), seen = two_hundred(), FIGURES["rmst_tau24_survRM2"]
    arms = [restricted_mean(table, 24, treated=arm) for arm in (True, False)]
    for found, name in zip(arms, ("arm1", "arm0"), strict=True):
        mean, se = found.mean[0], found.standard_error[0]
        limits = (mean - Z95 * se, mean + Z95 * se)
        assert [mean, se, *limits] == pytest.approx(seen[name], **CLOSE)
    (m1, m0), (s1, s0) = ([getattr(a, k)[0] for a in arms] for k in ("mean", "standard_error"))
    for (d, se), row in zip(
        (
            (m1 - m0, sqrt(s1**2 + s0**2)),
            (log(m1 / m0), sqrt((s1 / m1) ** 2 + (s0 / m0) ** 2)),
            (log((24 - m1) / (24 - m0)), sqrt((s1 / (24 - m1)) ** 2 + (s0 / (24 - m0)) ** 2)),
        ),
        seen["contrast"],
        strict=True,
    ):
        back = exp if row is not seen["contrast"][0] else float
        found = [back(d), back(d - Z95 * se), back(d + Z95 * se)]
        assert found == pytest.approx(row[:3], **CLOSE)


def test_reference_milestone_of_simtrial():
    seen = FIGURES["milestone12_simtrial_loglog"]
    found = milestone(two_hundred()[0], 12, IntervalScale.LOG_LOG)
    assert found.difference[0] == pytest.approx(seen["estimate"], **CLOSE)
    assert found.standard_error[0] == pytest.approx(seen["se"], **CLOSE)
    assert found.difference[0] / found.standard_error[0] == pytest.approx(seen["z"], **CLOSE)


def test_reference_ten_patients_of_nphrct():
    """The ten patients of nphRCT; the Fleming-Harrington row was worked out for this test."""
    tables = risk_tables(
        survival_data(
            [18.06, 9.89, 16.07, 28.07, 13.69, 25.22, 24.66, 8.50, 4.37, 7.64],
            [1, 1, 1, 0, 1, 0, 0, 1, 1, 1],
            [0] * 5 + [1] * 5,
        )
    )
    for weight, u, v, z in (
        (ModestlyWeighted(most=2), -0.8651849, 3.91482, -0.4372734),
        (LOG_RANK, 0.1615079, 1.647592, 0.1258256),
        (FlemingHarrington(0, 1), -0.538492, 0.215767, -1.159276),
    ):
        score, deviation, minus_z = scored(tables, weight)
        found = (score, deviation**2, -minus_z)
        assert found == pytest.approx((u, v, z), rel=1e-6, abs=1e-6)
    weights = ModestlyWeighted(most=2).at(
        np.array([[1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]]), np.arange(7.0)[None]
    )
    assert weights[0] == pytest.approx([1, 1.1111, 1.25, 1.4286, 1.6667, 2, 2], abs=5e-5)


def tied_data(seed, n=80):
    rng = np.random.default_rng(seed)
    time = np.ceil(rng.exponential(10, n))  # whole numbers: many ties
    return time, rng.random(n) < 0.7, rng.random(n) < 0.5, rng.integers(0, 3, n)


@pytest.mark.parametrize("seed", range(5))
def test_reference_lifelines_on_tied_data(seed):
    lifelines = pytest.importorskip("lifelines")
    from lifelines.statistics import logrank_test

    time, event, treated, _ = tied_data(seed)
    tables = risk_tables(survival_data(time, event, treated))
    groups = (time[treated], time[~treated], event[treated], event[~treated])
    for weight, more in (
        (LOG_RANK, {}),
        (FlemingHarrington(1, 0.5), {"weightings": "fleming-harrington", "p": 1, "q": 0.5}),
    ):
        test = logrank_test(*groups, **more)
        _, _, z = scored(tables, weight)
        assert z**2 == pytest.approx(test.test_statistic, **CLOSE)
    for arm in (True, False):
        curve = kaplan_meier(tables[0], treated=arm)
        fitted = lifelines.KaplanMeierFitter().fit(time[treated == arm], event[treated == arm])
        for day in (3, 8, 15):
            if curve.last[0] >= day:
                found = curve.on(day)[0][0]
                assert found == pytest.approx(float(fitted.predict(day)), **CLOSE)


@pytest.mark.parametrize("seed", range(5))
def test_reference_statsmodels_on_tied_data(seed):
    pytest.importorskip("statsmodels")
    from statsmodels.duration.hazard_regression import PHReg
    from statsmodels.duration.survfunc import survdiff

    time, event, treated, stratum = tied_data(seed)
    for strata in (None, stratum):
        tables = risk_tables(survival_data(time, event, treated, strata))
        chi_square, _ = survdiff(time, event, treated, strata=strata)
        assert scored(tables, LOG_RANK)[2] ** 2 == pytest.approx(chi_square, **CLOSE)
        for ties in Ties:
            model = PHReg(time, treated.astype(float), event, strata=strata, ties=ties.value)
            fit, ours = model.fit(tol=1e-12), cox(tables, ties)
            assert ours.log_hazard_ratio[0] == pytest.approx(fit.params[0], **CLOSE)
            assert ours.standard_error[0] == pytest.approx(fit.bse[0], **CLOSE)


def test_reference_the_standard_error_of_a_restricted_mean_is_the_estimators():
    """waltons' miR-137 flies, tau 10: survRM2 has 9.794 and 0.123; lifelines' variance is 0.719."""
    lifelines = pytest.importorskip("lifelines")
    from lifelines.datasets import load_waltons

    flies = load_waltons()
    flies = flies[flies["group"] == "miR-137"]
    assert lifelines.__version__
    data = survival_data(flies["T"].to_numpy(), flies["E"].to_numpy(), np.ones(len(flies)))
    found = restricted_mean(risk_tables(data)[0], 10, treated=True)
    assert (found.mean[0], found.standard_error[0]) == pytest.approx((9.7941, 0.1232), abs=5e-5)


def test_analytic_hazards_invert_to_their_survival():
    luck = np.random.default_rng(1).standard_exponential(2_000)
    for hazard in (
        Hazard((), (0.01,)),
        Hazard((30.0, 90.0), (0.02, 0.0, 0.005)),
        Hazard((), (1e-4,), 2.0),
        Hazard((50.0,), (1e-4, 5e-5), 1.5, 0.3),
    ):
        days = day_of(luck, hazard)
        finite = np.isfinite(days)
        assert survival_on(days[finite], hazard) == pytest.approx(np.exp(-luck[finite]), abs=1e-12)
        assert (np.exp(-luck[~finite]) <= hazard.cured).all()


def test_analytic_entries_have_their_shares():
    drawn = np.random.default_rng(2).standard_exponential((401, 500))
    days = entry_days(drawn, (30.0, 90.0), (0.25, 0.75))
    assert (np.diff(days, axis=0) >= 0).all()
    share = (days < 30).mean(axis=0)
    assert abs(share.mean() - 0.25) < 4 * share.std(ddof=1) / sqrt(500)  # 4 MCSE
    assert share.std(ddof=1) == pytest.approx(sqrt(0.25 * 0.75 / 400), rel=0.15)  # binomial


def test_regression_equal_times_are_tied_whatever_their_last_digits():
    assert snapped([0.1 + 0.2]) == snapped([0.3])
    late, early = snapped([1.0, 1.0 - 1e-16]), snapped([2.0, 2.0 * (1 + 1e-9)])
    assert late[0] == late[1]
    assert early[0] < early[1]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (([1, 2, 3], [5.2, 1, 0], [0, 1, 1]), "event must be 0 or 1 for every patient; got 5.2"),
        (([1, -2, 3], [1, 1, 0], [0, 1, 1]), "time must be a number of at least 0; got -2.0"),
        (([1, 2, 3], [1, 1, 0], [0, 1, 2]), "treated must be 0 or 1 for every patient; got 2"),
        (([1, 2], [1, 1, 0], [0, 1, 1]), "must be columns of one length"),
    ],
)
def test_regression_impossible_data_is_refused_with_a_remedy(columns, words):
    with pytest.raises(RequestError, match=words.replace(".", r"\.")) as caught:
        survival_data(*columns)
    assert all(problem.remedy.endswith(".") for problem in caught.value.problems)


def test_regression_no_event_one_patient_and_one_arm_give_no_estimate_and_no_error():
    for time, event, treated in (
        ([1.0, 2.0], [0, 0], [0, 1]),
        ([1.0], [1], [1]),
        ([1.0, 2.0, 3.0], [1, 1, 0], [1, 1, 1]),
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 0, 0], [1, 1, 0, 0]),  # all events in one arm
    ):
        tables = risk_tables(survival_data(time, event, treated))
        assert np.isnan(cox(tables).log_hazard_ratio[0])
        assert np.isfinite(weighted_log_rank(tables).z[0, 0])
