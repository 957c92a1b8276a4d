"""Published means held against simulated ones, where the answer is a normal distribution."""

from __future__ import annotations

from math import sqrt

import pytest
from scipy import stats

from conftest import CORPUS
from trialsim import load_template, plan_simulation
from trialsim.kernels.measured import from_summaries
from trialsim.protocol.published.evidence import MeanInArm
from trialsim.studies.observed import observed_trials
from trialsim.trial import Measure

FILE = CORPUS / "valid" / "observed-means.yaml"
TREATED, CONTROL = MeanInArm(50, 5.8, 2.9), MeanInArm(48, 6.7, 3.1)
POOLED = sqrt((49 * 2.9**2 + 47 * 3.1**2) / 96)
SE = POOLED * sqrt(1 / 50 + 1 / 48)


@pytest.fixture(scope="module")
def resolved():
    return load_template(str(FILE))


@pytest.fixture(scope="module")
def result(resolved):
    return plan_simulation(resolved).simulate(replicates=4096, seed=3)


def row(result, measure, scenario=None, **more):
    return next(
        r
        for r in result.observed
        if (r.measure, r.scenario) == (measure, scenario)
        and all(getattr(r, key) == value for key, value in more.items())
    )


@pytest.mark.parametrize("pooled", [True, False])
def test_reference_a_difference_from_summaries_is_scipys(pooled):
    found = from_summaries(TREATED, CONTROL, pooled=pooled)
    t = stats.ttest_ind_from_stats(5.8, 2.9, 50, 6.7, 3.1, 48, equal_var=pooled)
    assert found.statistic[0] == pytest.approx(t.statistic, rel=1e-12)
    df = found.degrees_of_freedom[0]
    assert 2 * stats.t.sf(abs(found.statistic[0]), df) == pytest.approx(t.pvalue, rel=1e-10)
    assert found.lower[0] == pytest.approx(-0.9 - stats.t.isf(0.025, df) * found.standard_error[0])


def test_analytic_a_trial_is_shown_and_simulated_at_its_own_sizes_and_sd(resolved, result):
    (trial,) = observed_trials(resolved, resolved.scenarios())
    assert trial.protocol.arm_sizes == (50, 48)
    own = trial.truths[1].outcome("sofa")
    assert (own.control, own.treated) == ((6.7,), (pytest.approx(5.5),))
    assert own.sds == (pytest.approx(POOLED),)
    estimate = row(result, Measure.ESTIMATE)
    assert estimate.value == pytest.approx(-0.9)
    assert estimate.upper == pytest.approx(-0.9 + stats.t.isf(0.025, 96) * SE)
    assert estimate.analysis == "from its means"
    shown = row(result, Measure.ARM_MEAN, arm="placebo")
    assert (shown.value, shown.unit) == (6.7, "points")


@pytest.mark.parametrize(("scenario", "truth"), [("no-effect", 0.0), ("effect", -1.2)])
def test_analytic_percentile_and_power_of_a_published_difference(result, scenario, truth):
    """The estimate is normal about the truth: percentile and power at 4 MCSE."""
    exact = stats.norm.cdf((-0.9 - truth) / SE)
    found = row(result, Measure.PERCENTILE, scenario)
    assert abs(found.value - exact) < 4 * sqrt(exact * (1 - exact) / 4096)
    limit = stats.t.isf(0.025, 96)
    power = stats.nct.sf(limit, 96, truth / SE) + stats.nct.cdf(-limit, 96, truth / SE)
    assert abs(row(result, Measure.POWER, scenario).value - power) < 4 * sqrt(
        power * (1 - power) / 4096
    )


def test_regression_a_scenario_made_from_the_trial_is_marked_and_has_no_power(result):
    assert row(result, Measure.PERCENTILE, "as-seen").analysis == "same data"
    assert row(result, Measure.POWER, "as-seen").value is None


def test_regression_another_time_is_said_not_simulated(tmp_path):
    path = tmp_path / "late.yaml"
    path.write_text(FILE.read_text().replace("unit: points, at: 7 d", "unit: points, at: 28 d"))
    result = plan_simulation(load_template(str(path))).simulate(replicates=128, seed=1)
    assert "read at 28 d" in (row(result, Measure.PERCENTILE, "effect").why or "")


def test_property_adjustment_of_the_protocol_is_not_that_of_published_means(tmp_path):
    text = FILE.read_text().replace("better: lower}", "better: lower, analysis: ancova}", 1)
    text = text.replace("{mean: 7, sd: 3}", "{mean: 7, sd: 3, baseline: {mean: 8, sd: 3}}")
    path = tmp_path / "ancova.yaml"
    path.write_text(text)
    plan = plan_simulation(load_template(str(path)))
    assert [str(job.plans[0].test) for job in plan.jobs] == ["ancova", "t-test"]
    result = plan.simulate(replicates=512, seed=1)
    exact = stats.norm.cdf((-0.9 + 1.2) / SE)
    found = row(result, Measure.PERCENTILE, "effect")
    assert abs(found.value - exact) < 4 * sqrt(exact * (1 - exact) / 512)
