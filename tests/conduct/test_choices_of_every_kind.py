"""Further endpoints, visits, tests and patients of every kind: levels by the normal, 4 MCSE."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from conftest import CORPUS
from trialsim.analyse.as_recorded import value_of
from trialsim.analyse.other_endpoints import _latent, other_endpoints
from trialsim.conduct.records import Luck
from trialsim.engine.blocks import Job, draw_patients, simulate_block
from trialsim.errors import RequestError
from trialsim.protocol.conduct import Conduct
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.rules.flaws import recruiting
from trialsim.streams import Streams
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import AnalysisPlan

C = NormalDist().inv_cdf(0.975)
TIMES = (
    "protocol.looks=[{at: {calendar: 90 mo}}]",
    "protocol.allocation={method: permuted-blocks, block_sizes: [4]}",
    "protocol.endpoints.death.analysis=log-rank",
)
CASES = {
    "t-test": ("means-primary", ("protocol.endpoints.score.analysis=t-test",)),
    "ancova": ("means-primary", ()),
    "log scale": ("log-means-primary", ()),
    "ordinal": ("ordinal-primary", ()),
    "days alive": ("days-alive-primary", ()),
    "count": ("counts-primary", ()),
    "competing": ("competing-primary", ()),
    "time": ("time-to-event", TIMES),
}


@cache
def job_of(case: str) -> Job:
    """Under no effect."""
    file, settings = CASES[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    plan = AnalysisPlan.of(resolved.template.protocol)
    return Job(resolved.template.protocol, (plan,), (resolved.truth(resolved.scenarios()[0]),))


def rejections(case: str, conduct: Conduct, blocks: int = 4) -> np.ndarray:
    job = job_of(case)
    plan = replace(job.plans[0], conduct=conduct)
    own = replace(job, protocol=recruiting(job.protocol, conduct), plans=(plan,))
    found = [simulate_block(own, 7, block)[0][0] for block in range(blocks)]
    return np.concatenate([f.rejected[~f.failed[:, -1], -1] for f in found])


def near(share: np.ndarray, expected: float, more: float = 0.0) -> bool:
    return abs(share.mean() - expected) < 4 * sqrt(expected * (1 - expected) / len(share)) + more


def best(**how: object) -> Conduct:
    own = {"strength": 1, "reported": "either direction", **how}
    return Conduct(id="own", title="t", best_of=own)


@pytest.mark.parametrize("case", CASES)
def test_analytic_best_of_independent_endpoints_has_the_level_of_k_tests(case):
    found = rejections(case, best(among="endpoints", k=3, correlation=0))
    more = 0.0 if case in ("t-test", "ancova", "log scale") else 0.01  # asymptotic tests
    assert near(found, 1 - 0.95**3, more)


@pytest.mark.parametrize("correlation", [-0.3, 0.6])
@pytest.mark.parametrize("case", CASES)
def test_analytic_other_endpoints_have_the_same_distribution_and_the_latent_correlation(
    case, correlation
):
    job = job_of(case)
    plan, truth = job.plans[0], job.truths[0]
    _, batches = draw_patients(job, 4, 0, frozenset())
    batch, own = batches[0][plan.endpoint], truth.outcome(plan.endpoint)
    luck = Luck(Streams(4), 0, (job.protocol.n_total, job.block_width))
    matrix = np.array([[1, correlation], [correlation, 1]])
    (other,) = other_endpoints(batch, own, matrix, luck)
    one, two = value_of(batch), value_of(other)
    seen = np.isfinite(one) & np.isfinite(two)
    n = seen.sum()
    for cut in np.quantile(one[seen], [0.2, 0.5, 0.8]):
        p, q = (one <= cut).mean(), (two <= cut).mean()
        assert abs(p - q) <= 4 * sqrt(2 * p * (1 - p) / one.size)
    first, second = _latent(batch, own), _latent(other, own)
    known = np.isfinite(first) & np.isfinite(second)
    found = np.corrcoef(first[known], second[known])[0, 1]
    if not (own and getattr(own, "selection", None)):
        assert abs(found - correlation) < 4 * (1 - correlation**2) / sqrt(n)
    (same,) = other_endpoints(batch, own, np.ones((2, 2)), luck)
    np.testing.assert_allclose(value_of(same), one, rtol=1e-5)


def test_analytic_best_of_visits_has_the_level_of_their_correlation():
    # Means at visits of a first-order autoregression correlate as the measurements do, but for
    # patients lost before the later ones: at most 10% of them, which moves 0.7 by less than 0.02.
    matrix = 0.7 ** np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    normal = multivariate_normal(np.zeros(3), matrix, seed=1)
    level = 1 - normal.cdf([C] * 3, lower_limit=[-C] * 3)
    found = rejections("t-test", best(among="time-points", k=3), blocks=8)
    assert near(found, level, 0.002)


def test_analytic_extension_of_measurements_has_the_level_of_two_correlated_tests():
    more, at = 1.0, 0.2
    conduct = Conduct(id="own", title="t", extension={"strength": 1, "more": more, "p_below": at})
    pair = multivariate_normal(np.zeros(2), [[1, sqrt(1 / (1 + more))], [sqrt(1 / (1 + more)), 1]])
    low = NormalDist().inv_cdf(1 - at / 2)

    def between(a: float, b: float) -> float:  # of the second, given the first in (low, C)
        return float(pair.cdf([C, b], lower_limit=[low, a]))

    again = between(-40, 40) - between(-C, C)
    found = rejections("t-test", conduct, blocks=8)
    assert near(found, 0.05 + again)


def test_analytic_best_of_two_tests_of_a_measurement_has_the_level_of_their_correlation():
    # The change, y - b, and the value, y, correlate 0.5 and have SDs 5 and 4: their tests' z
    # correlate as the two do, (25 - 10) / (5 sqrt(25 + 16 - 20)).
    r = 15 / (5 * sqrt(21))
    level = 1 - multivariate_normal(np.zeros(2), [[1, r], [r, 1]]).cdf(
        [C] * 2, lower_limit=[-C] * 2
    )
    found = rejections("t-test", best(among="analyses", tests=["change"]), blocks=8)
    assert near(found, level)


@pytest.mark.parametrize(
    ("case", "how", "words"),
    [
        ("count", {"among": "time-points", "k": 2, "correlation": 0.5}, "adds up over time"),
        ("time", {"among": "time-points", "k": 2, "correlation": 0.5}, "adds up over time"),
        ("ordinal", {"among": "time-points", "k": 2}, "State the correlation of neighbours"),
        ("t-test", {"among": "time-points", "k": 4}, "State k of at most 3"),
        ("t-test", {"among": "time-points", "k": 2, "correlation": 0.2}, "continuous decides"),
        ("t-test", {"among": "analyses", "tests": ["fisher"]}, "Name t-test, welch"),
        ("ordinal", {"among": "analyses", "tests": ["t-test"]}, "Choose per_protocol"),
    ],
)
def test_property_a_choice_that_has_no_meaning_is_refused_with_a_remedy(case, how, words):
    file, settings = CASES[case]
    resolved = load_template(str(CORPUS / "valid" / f"{file}.yaml"), settings=settings)
    with pytest.raises(RequestError) as refused:
        plan_bias(resolved, best(**how))
    assert words in str(refused.value)


def test_property_a_test_that_needs_a_baseline_is_refused_where_there_is_none():
    settings = (*CASES["t-test"][1], "nature.outcomes.score.baseline=null")
    resolved = load_template(str(CORPUS / "valid" / "means-primary.yaml"), settings=settings)
    with pytest.raises(RequestError, match="needs a baseline"):
        plan_bias(resolved, best(among="analyses", tests=["ancova"]))
