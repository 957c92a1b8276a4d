"""Looks at a binary endpoint, from patients and from counts: one distribution, exact answers."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from conftest import CORPUS, NO_SITES
from trialsim import load_template
from trialsim.analyse.looks import Reason, patient_cuts, stop
from trialsim.engine.blocks import Job, simulate_block
from trialsim.engine.run import run
from trialsim.generate.binary import counts_suffice, draw_counts
from trialsim.kernels.increments import binomial, hypergeometric
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, Path

SEPSIS_LOOKS = (
    "protocol.looks=[{at: {information: 0.3}, efficacy_z: 2.8, futility_z: -0.5}, "
    "{at: {information: 0.7}, efficacy_z: 2.4, futility_z: 0.3}, "
    "{at: {information: 1}, efficacy_z: 2.0}]"
)
ALLOCATIONS = {
    "blocks": ["protocol.allocation={}", "protocol.sample_size={total: 203}"],
    "blocks-2-to-1": [
        "protocol.allocation={ratio: {thymalfasin: 2, placebo: 1}, block_sizes: [9]}",
        "protocol.sample_size={total: 203}",
    ],
    "fixed": [
        "protocol.allocation={}",
        "protocol.sample_size={per_arm: {thymalfasin: 120, placebo: 83}}",
    ],
    "simple": ["protocol.allocation={method: simple}", "protocol.sample_size={total: 203}"],
}


def job_of(settings, path, scenarios=("no-effect", "or-041")):
    resolved = load_template("sepsis", settings=[*NO_SITES, *settings, "nature.control_risk=0.4"])
    protocol = resolved.template.protocol
    truths = tuple(resolved.truth(s) for s in resolved.scenarios(scenarios))
    return Job(protocol, (AnalysisPlan.of(protocol),), truths, path=path)


def within_4_mcse(a, b):
    spread = sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return abs(a.mean() - b.mean()) <= 4 * spread + 1e-12


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_property_counts_have_the_distribution_of_patients(name):
    settings = [SEPSIS_LOOKS, *ALLOCATIONS[name]]
    patients, counts = (job_of(settings, path) for path in Path)
    assert counts.on_its_shortest_path().path is Path.SUFFICIENT_STATISTICS
    n = 8_000
    slow, fast = run([patients, counts], n_replicates=n, seed=2)
    for truth in range(2):
        a, b = slow.results[truth][0], fast.results[truth][0]
        for column in ("z", "estimate", "information"):
            for look in range(3):
                x, y = (np.nan_to_num(getattr(r, column)[:, look]) for r in (a, b))
                assert within_4_mcse(x, y), (truth, column, look)
                assert within_4_mcse(x**2, y**2), (truth, column, look)
        for first, second in ((0, 1), (1, 2), (0, 2)):  # looks share patients
            x, y = (np.nan_to_num(r.z[:, first] * r.z[:, second]) for r in (a, b))
            assert within_4_mcse(x, y)
        plan = patients.plans[0]
        for reason in Reason:
            for look in range(3):
                x, y = (stop(r, plan).because(reason, look).astype(float) for r in (a, b))
                assert within_4_mcse(x, y), (reason, look)


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_property_arm_sizes_have_the_distribution_of_patients(name):
    settings = [SEPSIS_LOOKS, *ALLOCATIONS[name]]
    job = job_of(settings, Path.PATIENTS)
    looks = job.plans[0].looks
    (drawn, _) = draw_counts(job.protocol, job.truths, looks, Streams(4), 0)
    from trialsim.generate.candidates import assign, draw_candidates

    seen = []
    for block in range(16):
        streams = Streams(4)
        candidates = draw_candidates(job.protocol, (), 0.0, streams, block)
        assigned = assign(candidates, job.protocol, streams, block)
        seen.append(np.cumsum(assigned, axis=0)[[60, 142, 202]].T)  # 61, 143 and 203 read out
    patients = np.concatenate(seen).astype(float)
    for look in range(3):
        own = drawn.n_treated[:, look].astype(float)
        assert within_4_mcse(patients[:, look], own)
        assert within_4_mcse(patients[:, look] ** 2, own**2)
        assert set(own) <= set(range(204))
    for a, b in ((0, 1), (1, 2)):
        steps = (x[:, b] - x[:, a] for x in (patients, drawn.n_treated.astype(float)))
        x, y = steps
        assert within_4_mcse(x, y)
        assert within_4_mcse(x**2, y**2)


def test_analytic_binomial_and_hypergeometric_quantiles():
    u = (np.arange(2_000) + 0.5) / 2_000
    assert np.array_equal(binomial(u, np.full(2_000, 37), 0.2), binom.ppf(u, 37, 0.2))
    mixed = np.where(np.arange(2_000) % 2, 5, 300)
    assert np.array_equal(binomial(u, mixed, 0.7), binom.ppf(u, mixed, 0.7))
    marked = np.where(np.arange(2_000) % 3, 4, 9)
    expected = hypergeom.ppf(u, 20, marked, 7)
    assert np.array_equal(hypergeometric(u, marked, 20, 7), expected)
    assert binomial(np.array([1 - 2**-53]), np.array([10]), 0.5)[0] <= 10


def test_property_higher_risk_never_gives_fewer_events_from_the_same_luck():
    job = job_of([SEPSIS_LOOKS, *ALLOCATIONS["simple"]], Path.SUFFICIENT_STATISTICS)
    null, better = draw_counts(job.protocol, job.truths, job.plans[0].looks, Streams(1), 0)
    assert np.array_equal(null.events_control, better.events_control)
    assert (better.events_treated <= null.events_treated).all()
    assert (better.events_treated < null.events_treated).any()


@pytest.mark.parametrize(
    ("settings", "suffices"),
    [
        (ALLOCATIONS["blocks"], True),
        (["nature.severity_slope=1", *ALLOCATIONS["blocks"]], False),
        (["protocol.allocation.stratify_by=[age-group]"], False),
        (["protocol.allocation={block_sizes: [4, 6]}"], False),  # sizes at a look vary
        (["nature.factors.age-group.levels.under-60.odds_ratio=2", *ALLOCATIONS["simple"]], False),
        (["nature.enrolment={uniform: 6 mo}", *ALLOCATIONS["blocks"]], False),
        (["nature.enrolment={even: 6 mo}", *ALLOCATIONS["blocks"]], True),
    ],
)
def test_property_counts_are_drawn_only_where_nothing_tells_patients_apart(settings, suffices):
    job = job_of([SEPSIS_LOOKS, *settings], Path.PATIENTS)
    assert counts_suffice(job.protocol, job.truths, job.plans[0].looks) is suffices


def test_analytic_one_look_is_the_design_without_looks():
    one = "protocol.looks=[{at: {information: 1}}]"
    for path in Path:
        with_look, without = (job_of([*more, *ALLOCATIONS["fixed"]], path) for more in ([one], []))
        a, b = (simulate_block(job, 1, 0)[1][0] for job in (with_look, without))
        assert np.array_equal(a.rejected, b.rejected)
        assert np.array_equal(a.estimate, b.estimate)


def test_regression_triggers_and_pipeline_against_counting_one_by_one():
    resolved = load_template(str(CORPUS / "valid" / "binary-looks.yaml"))
    protocol = resolved.template.protocol
    truth = resolved.truth(resolved.scenarios(["good"])[0])
    plan = AnalysisPlan.of(protocol)
    rng = np.random.default_rng(1)
    entry = np.sort(rng.random((400, 3)) * 365.25, axis=0)
    events = rng.random((400, 3)) < 0.2
    events[:, 2] = False
    read, short = patient_cuts(plan.looks, plan.day, entry, events)
    assert truth.control_risk > 0
    for r in range(3):
        so_far, by_events = 0, 400
        for i in range(400):
            so_far += events[i, r]
            if so_far == 60:
                by_events = i + 1
                break
        day_300 = entry[299, r]
        by_enrolled = sum(entry[i, r] + 28 <= day_300 for i in range(400))
        by_calendar = sum(entry[i, r] + 28 <= 11 * 30.4375 for i in range(400))
        expected = np.maximum.accumulate([by_events, by_enrolled, by_calendar, 400])
        assert read[r].tolist() == expected.tolist()
        assert short[r].tolist() == [so_far < 60, False, False, False]


def test_regression_futility_not_binding_can_be_ignored_binding_cannot():
    settings = [SEPSIS_LOOKS, *ALLOCATIONS["fixed"]]
    job = job_of(settings, Path.SUFFICIENT_STATISTICS)
    (simulation,) = run([job], n_replicates=4_000, seed=1)
    plan, results = job.plans[0], simulation.results[1][0]
    heeded, ignored = stop(results, plan), stop(results, plan, heed_futility=False)
    assert heeded.final.rejected.sum() < ignored.final.rejected.sum()
    assert not ignored.futile.any()
    looks = tuple(look.model_copy(update={"binding": True}) for look in plan.looks)
    bound = stop(results, replace(plan, looks=looks), heed_futility=False)
    assert np.array_equal(bound.look, heeded.look)
    total = sum(heeded.because(reason, k).sum() for reason in Reason for k in range(3))
    assert total == 4_000
