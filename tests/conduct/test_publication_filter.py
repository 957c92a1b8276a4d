"""Which trials are published: truncated normal distributions, and how far they exaggerate."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import truncnorm

from trialsim.characteristics import characteristics
from trialsim.conduct.publication import published
from trialsim.conduct.records import Luck
from trialsim.kernels.proportions import normal_p
from trialsim.protocol.conduct import Conduct, Extension, PublicationFilter
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.streams import Streams
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import LookResults, Measure

N = 200_000
NORMAL = NormalDist()
C = NORMAL.inv_cdf(0.975)


def luck() -> Luck:
    return Luck(Streams(6), 0, (0, N))


def found(z: np.ndarray, flaw: PublicationFilter) -> np.ndarray:
    p = normal_p(z, 2)
    return published(flaw, p <= 0.05, z, 100, luck(), p)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("p_below", [None, 0.01, 0.2, 1.0])
def test_analytic_a_one_sided_filter_leaves_a_truncated_normal(p_below, shift):
    z = np.random.default_rng(1).normal(shift, 1, N)
    seen = z[found(z, PublicationFilter(strength=1, p_below=p_below))]
    bound = NORMAL.inv_cdf(1 - (0.05 if p_below is None else p_below) / 2)
    own = truncnorm(bound - shift, np.inf, loc=shift)
    density, beyond = NORMAL.pdf(bound - shift), 1 - NORMAL.cdf(bound - shift)
    assert own.mean() == pytest.approx(shift + density / beyond, abs=1e-9)
    assert seen.min() >= bound
    assert abs(seen.mean() - own.mean()) < 4 * own.std() / sqrt(len(seen))
    assert abs(len(seen) / N - beyond) < 4 * sqrt(beyond * (1 - beyond) / N)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_analytic_a_two_sided_filter_leaves_both_tails(strength):
    z = np.random.default_rng(2).normal(0.5, 1, N)
    flaw = PublicationFilter(strength=strength, significant="either direction", p_below=0.1)
    seen = found(z, flaw)
    tails = np.abs(z) > NORMAL.inv_cdf(0.95)
    assert seen[tails].all()
    rest = seen[~tails].mean()
    assert abs(rest - (1 - strength)) < 4 * sqrt(strength * (1 - strength) / (~tails).sum()) + 1e-12


def shift_for(power: float) -> float:
    """Mean of Z at which a two-sided 5% test has this power."""

    def short_of(d: float) -> float:
        return NORMAL.cdf(d - C) + NORMAL.cdf(-d - C) - power

    return float(brentq(short_of, 0, 10))


def exaggeration(power: float) -> float:
    """E |Z| / E Z given significance: the mean of both tails of a normal distribution."""
    d = shift_for(power)
    upper = NORMAL.pdf(C - d) + d * NORMAL.cdf(d - C)
    lower = NORMAL.pdf(C + d) - d * NORMAL.cdf(-d - C)
    return (upper + lower) / power / d


EXAGGERATION = {0.1: "3.71", 0.2: "2.26", 0.3: "1.81", 0.5: "1.41", 0.8: "1.125", 0.9: "1.06"}


@pytest.mark.parametrize(("power", "shown"), EXAGGERATION.items())
def test_reference_exaggeration_at_a_power_on_normal_outcomes_of_known_variance(power, shown):
    digits = len(shown.partition(".")[2])
    assert f"{exaggeration(power):.{digits}f}" == shown
    d = shift_for(power)
    z = np.random.default_rng(int(100 * power)).normal(d, 1, (N, 1))
    p = normal_p(z, 2)
    no, blank = np.zeros(z.shape, dtype=bool), np.full(z.shape, np.nan)
    columns = dict.fromkeys(("information", "enrolled", "day"), blank)
    results = LookResults(
        estimate=z,
        standard_error=np.ones(z.shape),
        lower=z - C,
        upper=z + C,
        p_value=p,
        rejected=p <= 0.05,
        corrected=no,
        failed=no,
        z=z,
        short=no,
        **columns,
    )
    rows = {c.measure: c for c in characteristics(results, d, Summary.RISK_DIFFERENCE)}
    own = rows[Measure.TYPE_M]
    assert abs(own.value - exaggeration(power)) < 4 * own.mcse
    assert abs(rows[Measure.POWER].value - power) < 4 * rows[Measure.POWER].mcse


def test_regression_a_filter_by_direction_sees_the_direction_of_an_exact_test():
    # Fisher's test has no z: the direction is the estimate's.
    settings = (
        "protocol.sample_size={total: 240}",
        "protocol.endpoints.mortality-28d.analysis=fisher",
    )
    only = Conduct(id="own", title="t", publication=PublicationFilter(strength=1, p_below=0.3))
    planned = plan_bias(load_template("sepsis", settings=settings), only, ["or-041"])
    result = planned.result(replicates=1_024, seed=1)
    share = {
        row.mechanism: row.value for row in result.rows if row.measure is Measure.PUBLISHED_SHARE
    }
    mean = {row.mechanism: row.value for row in result.rows if row.measure is Measure.ESTIMATE_MEAN}
    assert 0.5 < share["publication"] < share["none"] == 1
    assert mean["publication"] < mean["none"] < 0


def test_property_a_shipped_profile_chooses_what_is_reported():
    resolved = load_template("sepsis", settings=("protocol.sample_size={total: 240}",))
    result = plan_bias(resolved, load_conduct("reporting"), ["no-effect"]).result(
        replicates=1_024, seed=1
    )
    bars = {r.mechanism: r for r in result.rows if r.measure is Measure.ATTRIBUTION}
    assert set(bars) == {
        "small-sample bias",
        "best-of",
        "undeclared-looks",
        "extension",
        "publication",
    }
    for name in ("best-of", "publication"):
        assert bars[name].value < -4 * bars[name].mcse


def test_property_always_from_counts_the_patients_a_trial_recruited():
    flaw = PublicationFilter(strength=1, always_from=100)
    rejected, z = np.zeros(3, dtype=bool), np.zeros(3)
    out = published(flaw, rejected, z, np.array([99.0, 100.0, 150.0]), Luck(Streams(1), 0, (0, 3)))
    assert list(out) == [False, True, True]
    extending = Conduct(
        id="own",
        title="t",
        extension=Extension(strength=1, more=0.5, p_below=0.999),
        publication=PublicationFilter(strength=0.7, always_from=150),
    )
    resolved = load_template("sepsis", settings=("protocol.sample_size={total: 120}",))
    planned = plan_bias(resolved, extending, ["or-082"])
    found = planned.result(replicates=512, seed=1)
    shares = {r.mechanism: r.value for r in found.rows if r.measure is Measure.PUBLISHED_SHARE}
    # of 120 patients 30% of what is not significant; those extended to 180 are published all
    assert shares["publication"] < 0.45
    assert shares["all"] > 0.6
