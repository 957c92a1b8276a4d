"""Published times to an event held against simulated ones: hazard ratios, counts, medians."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import binom, norm

from conftest import CORPUS
from trialsim import load_template, plan_simulation
from trialsim.analyse.survival import _medians
from trialsim.errors import ProtocolError
from trialsim.protocol.published.survival import at_own_control_arm, median_of
from trialsim.protocol.survival import HazardCurve, Lifetimes
from trialsim.studies.observed import observed_trials
from trialsim.trial import Measure

FILE = CORPUS / "valid" / "observed-survival.yaml"
REPLICATES = 2048


@pytest.fixture(scope="module")
def resolved():
    return load_template(str(FILE))


@pytest.fixture(scope="module")
def result(resolved):
    return plan_simulation(resolved).simulate(replicates=REPLICATES, seed=5)


@pytest.fixture(scope="module")
def trials(resolved):
    return {t.record.id: t for t in observed_trials(resolved, resolved.scenarios())}


def row(result, measure, evidence, scenario=None):
    return next(
        r
        for r in result.observed
        if (r.measure, r.evidence, r.scenario) == (measure, evidence, scenario)
    )


def within(found, exact):
    return abs(found.value - exact) <= 4 * sqrt(max(exact * (1 - exact), 1e-4) / REPLICATES)


def test_analytic_counts_by_a_time_are_binomial_at_the_trials_own_control_risk(result):
    """Own control risk 24/48; a hazard ratio of 0.7 leaves 0.5^0.7, one that comes late more."""
    late = exp(-log(2) * (3 + 9 * 0.5) / 12)
    for scenario, left in (("no-effect", 0.5), ("effect", 0.5**0.7), ("late", late)):
        x1, x0 = np.arange(51)[:, None], np.arange(49)[None, :]
        chance = binom.pmf(x1, 50, 1 - left) * binom.pmf(x0, 48, 0.5)
        gap = x1 / 50 - x0 / 48 - (20 / 50 - 24 / 48)
        exact = chance[gap < -1e-12].sum() + 0.5 * chance[abs(gap) <= 1e-12].sum()
        assert within(row(result, Measure.PERCENTILE, "counts-2020", scenario), exact), scenario


def test_analytic_a_hazard_ratio_is_normal_with_the_variance_of_its_events(result, trials):
    """188 events: the variance of its logarithm is about 4/188 under no effect (Schoenfeld)."""
    trial = trials["ratio-2020"]
    assert (trial.protocol.arm_sizes, trial.protocol.looks[0].at.events) == ((150, 148), 188)
    assert trial.lower == pytest.approx(log(0.6))
    for scenario, truth in (("no-effect", 1.0), ("as-seen", 0.8)):
        exact = norm.cdf((log(0.8) - log(truth)) / sqrt(4 / 188))
        found = row(result, Measure.PERCENTILE, "ratio-2020", scenario)
        assert found.value == pytest.approx(exact, abs=4 * found.mcse + 0.01), scenario


def test_regression_what_the_scenario_was_made_from_is_marked_and_has_no_power(result):
    assert row(result, Measure.PERCENTILE, "ratio-2020", "as-seen").analysis == "same data"
    assert row(result, Measure.POWER, "ratio-2020", "as-seen").value is None
    assert row(result, Measure.PERCENTILE, "medians-2020", "as-seen").analysis is None


def test_property_medians_of_equal_arms_are_as_often_longer_as_shorter(result):
    assert within(row(result, Measure.PERCENTILE, "medians-2020", "no-effect"), 0.5)
    found = row(result, Measure.PERCENTILE, "medians-2020", "effect")
    assert found.value < 0.5  # a ratio of 1 is less than what is usual then
    text = result.texts["medians-2020"]
    assert "not randomised" in text
    assert "not recorded" in text
    assert "HR 0.70 (" in text


def test_analytic_kaplan_meier_medians_are_those_counted_by_hand():
    days = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, np.inf], [4.0, np.inf]])
    event = np.array([[True, False], [False, True], [True, False], [True, False]])
    # first: 1, then 2 censored, at 3 one of two: 3/4 * 1/2 = 0.375; second: one of one at 6
    assert _medians(days, event) == pytest.approx([3.0, 6.0])
    assert _medians(days, np.zeros_like(event)).tolist() == [np.inf, np.inf]


def test_reference_kaplan_meier_medians_equal_an_estimate_written_out():
    rng = np.random.default_rng(3)
    days, event = rng.exponential(10, (31, 40)), rng.random((31, 40)) < 0.7
    for trial in range(40):
        left, want = 1.0, np.inf
        for day in np.sort(days[:, trial]):
            here = days[:, trial] == day
            if event[here, trial].any():
                left *= 1 - 1 / (days[:, trial] >= day).sum()
            if left <= 0.5:
                want = day
                break
        assert _medians(days, event)[trial] == want


def test_analytic_hazards_are_multiplied_until_the_control_arm_is_the_published_one():
    curve = HazardCurve((30.0,), (0.01, 0.002), 1.0, 0.1)
    own = Lifetimes("", (0.4, 0.6), (curve, HazardCurve((), (0.004,))), (curve, curve))
    moved = at_own_control_arm(own, (60.0, 0.7))
    assert 1 - moved.risks(60.0)[0] == pytest.approx(0.7, abs=1e-12)
    factor = moved.control[0].rates[0] / 0.01
    assert moved.treated[0].rates == pytest.approx((0.01 * factor, 0.002 * factor))
    with pytest.raises(ValueError, match="which no multiple of the hazards does"):
        at_own_control_arm(own, (60.0, 0.02))  # fewer than the cured


def test_analytic_the_median_of_a_mixture_leaves_one_half():
    curves = (HazardCurve((), (0.01,)), HazardCurve((), (0.05,), 1.3))
    middle = median_of(curves, (0.3, 0.7))
    left = sum(s * c.survival(middle) for s, c in zip((0.3, 0.7), curves, strict=True))
    assert left == pytest.approx(0.5, abs=1e-9)
    assert median_of((HazardCurve((), (0.01,), 1.0, 0.6),), (1.0,)) == np.inf


def scenario_as_observed(settings, template="hbv-aclf", variant="time-to-event"):
    resolved = load_template(template, variant=variant, settings=settings)
    return resolved.truth(resolved.scenarios(["as-observed"])[0])


def test_analytic_a_scenario_may_repeat_counts_by_a_time():
    """hbv-aclf: 31/58 and 42/56 without the event on day 90, whatever the shape before."""
    truth = scenario_as_observed([])
    assert truth.lifetimes.risks(90.0) == pytest.approx((27 / 58, 14 / 56), abs=1e-9)
    assert truth.lifetimes.constant_ratio == pytest.approx(log(42 / 56) / log(31 / 58))
    assert (truth.from_data_of, truth.label) == ("chen-2022", "HR 0.46")
    weibull = scenario_as_observed(["nature.survival={median: 60 d, shape: 1.4}"])
    assert weibull.lifetimes.risks(90.0) == pytest.approx((27 / 58, 14 / 56), abs=1e-9)
    assert weibull.lifetimes.control[0].shape == 1.4


def test_analytic_a_scenario_may_repeat_a_hazard_ratio_or_medians(resolved):
    own = 'scenarios=[{id: no, title: no}, {id: seen, title: seen, as_observed: "%s"}]'
    for record, control, ratio in (("ratio-2020", None, 0.8), ("medians-2020", 12.0, 1.0)):
        one = load_template(str(FILE), settings=[own % record, "observed=[]"])
        truth = one.truth(one.scenarios(["seen"])[0])
        assert truth.lifetimes.constant_ratio == pytest.approx(ratio)
        if control:
            assert truth.lifetimes.control[0].quantile(0.5) == pytest.approx(control * 30.4375)
        assert one.status_of(one.scenarios(["seen"])[0]) == "published"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("measure: risk difference", "measure: hazard ratio", "gives no hazard ratio for 'death'"),
        (", at: 12 mo, experimental: {n: 50", ", experimental: {n: 50", "does not say by when"),
        ("experimental: {n: 40, value: 12}", "experimental: {n: 40}", "gives neither"),
        ("  - medians-2020\n", "  - {evidence: medians-2020, result: pfs}\n", "no result 'pfs'"),
    ],
)
def test_regression_what_a_record_lacks_is_said_with_a_remedy(old, new, message, tmp_path):
    path = tmp_path / "lacking.yaml"
    text = FILE.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(ProtocolError, match=message):
        load_template(str(path))


CITED = "nature.survival={median: %s, source: medians-2020}"


def test_property_a_median_that_is_cited_has_the_status_of_its_record():
    resolved = load_template(str(FILE), settings=[CITED % "12 mo"])
    assert resolved.status_of_lifetime(resolved.template.nature.survival) == "published"
    nsclc = load_template("nsclc-adjuvant")
    assert nsclc.status_of_lifetime(nsclc.template.nature.survival) == "document"
    by_id = {s.id: nsclc.status_of(s) for s in nsclc.template.scenarios}
    assert (by_id["as-observed"], by_id["as-in-document"]) == ("published", "assumed")


def test_regression_a_median_its_record_does_not_state_is_refused():
    with pytest.raises(ProtocolError, match="states no such median"):
        load_template(str(FILE), settings=[CITED % "13 mo"])
