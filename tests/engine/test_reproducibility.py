"""The same seed gives the same replicates, however the work is cut."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim import RequestError, load_template
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.generate.binary import draw_outcomes
from trialsim.generate.candidates import assign, draw_candidates
from trialsim.streams import Decision, Streams, block_width, stable_hash
from trialsim.trial import AnalysisPlan


def job_of(*settings, unit=""):
    resolved = load_template("sepsis", settings=settings)
    protocol = resolved.template.protocol
    truths = tuple(resolved.truth(s) for s in resolved.scenarios(["no-effect", "or-082"]))
    return Job(protocol, (AnalysisPlan.of(protocol),), truths, unit)


SMALL = "protocol.sample_size.total=60"


@pytest.mark.parametrize("analysis", ["chi-square", "fisher"])
def test_property_20_000_replicates_extend_10_000(analysis):
    job = job_of(SMALL, f"protocol.endpoints.mortality-28d.analysis={analysis}")
    (few,) = run([job], n_replicates=10_000, seed=3)
    (many,) = run([job], n_replicates=20_000, seed=3)
    for (short,), (long,) in zip(few.results, many.results, strict=True):
        assert short.same_as(long.first(10_000))


def test_property_600_patients_extend_500():
    """Same patients, same assignment, same fates; the later hundred come after."""
    drawn = []
    for total in (500, 600):
        job = job_of(f"protocol.sample_size.total={total}", "nature.severity_slope=1")
        truth, streams = job.truths[1], Streams(5)
        candidates = draw_candidates(job.protocol, truth.factors, 1.0, streams, 0)
        assigned = assign(candidates, job.protocol, streams, 0)
        (batch,) = draw_outcomes(job.protocol, candidates, assigned, (truth,), streams, 0)
        drawn.append((candidates, batch))
    (few, short), (many, long) = drawn
    assert np.array_equal(few.strata, many.strata[:500])
    assert np.array_equal(few.prognostic_score, many.prognostic_score[:500])
    assert np.array_equal(short.assigned, long.assigned[:500])
    assert np.array_equal(short.events, long.events[:, :500])


def test_property_two_workers_give_the_results_of_one():
    jobs = [job_of(SMALL), job_of(SMALL, unit="etass-2013")]
    alone = run(jobs, n_replicates=2000, seed=7)
    together = run(jobs, n_replicates=2000, seed=7, workers=2)
    for one, other in zip(alone, together, strict=True):
        assert all(a.same_as(b) for (a,), (b,) in zip(one.results, other.results, strict=True))


def test_property_a_unit_has_its_own_patients_and_its_company_does_not_matter():
    own, observed = job_of(SMALL), job_of(SMALL, unit="etass-2013")
    (a,) = run([own], n_replicates=500, seed=1)
    b, c = run([observed, own], n_replicates=500, seed=1)
    assert a.results[0][0].same_as(c.results[0][0])
    assert not a.results[0][0].same_as(b.results[0][0])


def test_property_scenarios_share_patients():
    (simulation,) = run([job_of(SMALL)], n_replicates=1000, seed=1)
    null, benefit = (r.estimate[:, 0] for (r,) in simulation.results)
    assert np.corrcoef(null, benefit)[0, 1] > 0.9


def test_property_streams_differ_by_every_part_of_their_key():
    keys = [
        (Decision.OUTCOME, 0, ""),
        (Decision.OUTCOME, 1, ""),
        (Decision.SEVERITY, 0, ""),
        (Decision.FACTOR, 0, "site"),
        (Decision.FACTOR, 0, "age-group"),
    ]
    first = [
        Streams(seed, unit).generator(*key).random()
        for key in keys
        for seed, unit in ((1, ""), (2, ""), (1, "etass-2013"))
    ]
    assert len(set(first)) == len(first)


def test_regression_decisions_and_hashes_keep_their_numbers_for_ever():
    assert {d.name: d.value for d in Decision} == {
        "FACTOR": 1,
        "SEVERITY": 2,
        "BLOCK_SIZE": 3,
        "ASSIGNMENT": 4,
        "OUTCOME": 5,
        "RESPONSE": 6,
        "RELAPSE": 7,
        "DEATH": 8,
        "LOSS": 9,
        "VISIT_DAY": 10,
        "VISIT_MISSED": 11,
        "ENTRY": 12,
        "COUNTS": 13,
        "REPLAY": 14,
        "LATENT": 15,
        "VISITS": 16,
        "LEAVING": 17,
        "CAUSE": 18,
        "HISTORICAL": 19,
        "COVARIATE": 21,
        "INTERCURRENT": 23,
        "IMPUTATION": 24,
        "CALIBRATION": 27,
        "FRAILTY": 28,
        "FORESIGHT": 30,
        "CO_INTERVENTION": 31,
        "HISTORICAL_CONTROLS": 32,
        "EXCLUSION": 33,
        "DIFFERENTIAL_LOSS": 34,
        "ASSESSMENT": 35,
        "NON_ADHERENCE": 36,
        "IMMORTAL_TIME": 37,
        "UNDECLARED_LOOKS": 38,
        "ALTERNATION": 39,
        "BEST_OF": 40,
        "PUBLICATION": 41,
        "CONDUCT_STRENGTH": 42,
        "EXTENSION": 43,
        "RECONCILIATION": 44,
        "SITE_OPENING": 45,
        "SITE_RATE": 46,
        "SITE_ARRIVALS": 47,
        "SCREENING": 48,
        "STRATUM": 49,
        "ALLOCATION_LIST": 50,
        "DOSES": 51,
        "VISIT_WINDOW": 52,
        "VISIT_NOT_HELD": 53,
        "LEAVING_TRIAL": 54,
        "DATA_ENTRY": 55,
        "SHIPMENTS": 56,
        "OUTCOME_DAYS": 57,
        "EXPOSED_OUTCOMES": 58,
        "OPENINGS": 60,
        "RATES_OF_SITES": 61,
        "ARRIVALS": 62,
        "SCREENINGS": 63,
        "WITHDRAWALS": 64,
    }
    assert stable_hash("etass-2013") == 4203776647
    assert [block_width(n) for n in (2, 4096, 4097)] == [256, 256, 16]


def test_regression_an_empty_arm_is_a_failed_replicate_not_a_negative_one():
    job = job_of("protocol.sample_size.total=3", "protocol.allocation={method: simple}")
    (simulation,) = run([job], n_replicates=4000, seed=1)
    results = simulation.results[0][0]
    share = results.failed.mean()
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)  # all three alike: 2 / 2^3; 4 MCSE
    assert np.isnan(results.estimate[results.failed]).all()
    assert not results.rejected[results.failed].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_replicates": 10**12}, "--replicates must be between 1 and 100,000,000"),
        ({"n_replicates": 0}, "--replicates must be"),
        ({"seed": -1}, "--seed must be"),
        ({"workers": 0}, "--workers must be"),
    ],
)
def test_regression_impossible_requests_are_refused_before_work(options, words):
    with pytest.raises(RequestError, match=words):
        run([job_of(SMALL)], **{"n_replicates": 10, "seed": 1, **options})
