"""What is chosen among results: levels against the multivariate normal, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from math import asin, pi, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from trialsim.analyse.binary import analyse
from trialsim.analyse.looks import stop
from trialsim.conduct.records import Luck, Records
from trialsim.conduct.reporting import (
    alternatives,
    best,
    correlated_with,
    evidence,
    extending,
    looking_at,
    replaced,
)
from trialsim.engine.blocks import Job, draw_patients, simulate_block
from trialsim.engine.conducted import conducted
from trialsim.kernels.boundaries import crossing_probabilities
from trialsim.kernels.proportions import normal_p
from trialsim.protocol.conduct import (
    BestOfAnalyses,
    BestOfEndpoints,
    BestOfSubgroups,
    BestOfTimePoints,
    Conduct,
    Exclusion,
    Extension,
    UndeclaredLooks,
)
from trialsim.protocol.endpoints import BinaryTest
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.rules.flaws import recruiting
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, InLevel, LookResults

C = NormalDist().inv_cdf(0.975)
NULL = (
    "protocol.sample_size={total: 1000}",
    "nature.control_risk=0.5",
    "nature.factors=[]",
    "protocol.allocation={method: permuted-blocks, block_sizes: [2]}",
)


def plan(sides: int = 2) -> AnalysisPlan:
    own = AnalysisPlan.of(load_template("sepsis").template.protocol)
    return replace(own, sides=sides)


def luck(n_reps: int, n_patients: int = 0) -> Luck:
    return Luck(Streams(11), 0, (n_patients, n_reps))


def results(z: np.ndarray, own: AnalysisPlan) -> LookResults:
    """What normal outcomes of known variance give: z of shape (n_reps, n_looks)."""
    p = normal_p(-z, own.sides)
    no, blank = np.zeros(z.shape, dtype=bool), np.full(z.shape, np.nan)
    columns = dict.fromkeys(("lower", "upper", "information", "enrolled", "day"), blank)
    return LookResults(
        estimate=-z,
        standard_error=np.ones(z.shape),
        p_value=p,
        rejected=own.rejects(z, p),
        corrected=no,
        failed=no,
        z=z,
        short=no,
        **columns,
    )


def within(share: float, expected: float, n: int) -> bool:
    return abs(share - expected) < 4 * sqrt(expected * (1 - expected) / n)


# Armitage, McPherson and Rowe (1969), JRSS A 132:235-244.
LEVELS = {1: 0.05, 2: 0.0831, 3: 0.1073, 4: 0.1262, 5: 0.1417, 10: 0.1934, 20: 0.2479}


@pytest.mark.parametrize(("looks", "level"), list(LEVELS.items()))
def test_reference_undeclared_looks_at_normal_outcomes_of_known_variance(looks, level):
    """Armitage, McPherson and Rowe 1969, table 2."""
    information = [(k + 1) / looks for k in range(looks)]
    crossed = crossing_probabilities(information, [-C] * looks, [C] * looks)
    assert crossed.upper.sum() + crossed.lower.sum() == pytest.approx(level, abs=5.1e-5)
    n, own = 100_000, plan()
    sums = np.cumsum(np.random.default_rng(looks).normal(size=(n, looks)), axis=1)
    z = sums / np.sqrt(np.arange(1, looks + 1))
    peeking = own if looks == 1 else looking_at(own, UndeclaredLooks(strength=1, looks=looks))
    assert within(stop(results(z, peeking), peeking).final.rejected.mean(), level, n)


def level_of(matrix: np.ndarray, reported: str) -> float:
    """P that the best of k has a P below 5%: two-sided in either direction, else one-sided."""
    normal = multivariate_normal(np.zeros(len(matrix)), matrix, allow_singular=True, seed=1)
    if reported == "benefit":
        return 1 - float(normal.cdf([NormalDist().inv_cdf(0.95)] * len(matrix)))
    k = len(matrix)
    return 1 - float(normal.cdf([C] * k, lower_limit=[-C] * k))


@pytest.mark.parametrize("reported", ["benefit", "either direction"])
@pytest.mark.parametrize(
    ("k", "correlation"), [(2, 0.0), (5, 0.0), (10, 0.0), (3, 0.5), (5, 0.9), (3, -0.3), (4, 1.0)]
)
def test_analytic_best_of_k_on_normal_outcomes_of_known_variance(k, correlation, reported):
    n_patients, n = 10, 20_000
    rng = np.random.default_rng(k)
    matrix = np.full((k, k), correlation) + (1 - correlation) * np.eye(k)
    first = rng.normal(size=(n_patients, n))
    others = correlated_with(first, matrix, rng.normal(size=(k - 1, n_patients, n)))
    sign = np.where(np.arange(n_patients) % 2 == 0, 1, -1)[:, None] / sqrt(n_patients)
    own = plan(1 if reported == "benefit" else 2)
    found = [results((sign * y).sum(axis=0)[:, None], own) for y in (first, *others)]
    flaw = BestOfEndpoints(
        strength=1, among="endpoints", k=k, correlation=correlation, reported=reported
    )
    chosen = best(found, own, flaw, luck(n))
    expected = level_of(matrix, reported)
    if correlation == 0:
        assert expected == pytest.approx(1 - 0.95**k, abs=1e-4)
    assert within(chosen.rejected.mean(), expected, n)
    assert np.array_equal(chosen.z > 0, chosen.estimate < 0)  # one result, not pieces of several


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_analytic_other_outcomes_keep_each_arms_risk_and_correlate_as_stated(correlation):
    n, reps, risks = 400, 500, {True: 0.2, False: 0.35}
    rng = np.random.default_rng(5)
    arm = np.broadcast_to((np.arange(n) % 2 == 0)[:, None], (n, reps))
    bad = rng.random((n, reps)) < np.where(arm, risks[True], risks[False])
    records = Records(arm, bad, np.ones((n, reps), dtype=bool), risks[False], risks[True], 28.0)
    ways = {
        "endpoints": BestOfEndpoints(strength=1, among="endpoints", k=3, correlation=correlation),
        "time-points": BestOfTimePoints(
            strength=1, among="time-points", k=3, correlation=correlation
        ),
    }
    for name, flaw in ways.items():
        every = [
            own.unfavourable for own, _ in alternatives(records, plan(), flaw, luck(reps, n), {})
        ]
        assert every[0] is bad
        for treated, risk in risks.items():
            here = arm == treated
            t = NormalDist().inv_cdf(risk)
            for one, other, power in ((0, 1, 1), (1, 2, 1), (0, 2, 2)):
                assert within(every[other][here].mean(), risk, here.sum())
                latent = correlation ** (power if name == "time-points" else 1)
                both = multivariate_normal([0, 0], [[1, latent], [latent, 1]]).cdf([t, t])
                joint = (every[one] & every[other])[here].mean()
                assert within(joint, float(both), here.sum())


def job(*conducts: Conduct | None, settings: tuple[str, ...] = NULL) -> Job:
    resolved = load_template("sepsis", settings=settings)
    protocol = resolved.template.protocol
    own = AnalysisPlan.of(protocol)
    recruits = next((c for c in conducts if c and c.extension), None)
    return Job(
        recruiting(protocol, recruits) if recruits else protocol,
        tuple(replace(own, conduct=conduct) for conduct in conducts),
        (resolved.truth(resolved.scenarios()[0]),),
    )


def simulated(own: Job, blocks: int = 12) -> list[LookResults]:
    found = [simulate_block(own, 7, block)[0] for block in range(blocks)]
    return [LookResults.joined(list(parts)) for parts in zip(*found, strict=True)]


def profile(**flaws: object) -> Conduct:
    return Conduct(id="own", title="t", **flaws)


def test_analytic_best_of_k_of_whole_trials():
    # A binary outcome at risk 1/2: latent correlation r gives 2 asin(r) / pi between outcomes.
    either = {"strength": 1, "reported": "either direction"}
    latent = 0.5
    phi = 2 / pi * asin(latent)
    both = np.array([[1, phi, phi], [phi, 1, phi], [phi, phi, 1]])
    serial = np.array([[1, phi], [phi, 1]])
    halves = np.array([[1, sqrt(0.5), sqrt(0.5)], [sqrt(0.5), 1, 0], [sqrt(0.5), 0, 1]])
    ways = [
        ({"among": "endpoints", "k": 3, "correlation": 0.0}, 1 - 0.95**3),
        (
            {"among": "endpoints", "k": 3, "correlation": latent},
            level_of(both, "either direction"),
        ),
        (
            {"among": "time-points", "k": 2, "correlation": latent},
            level_of(serial, "either direction"),
        ),
        ({"among": "subgroups", "k": 2}, level_of(halves, "either direction")),
    ]
    every = simulated(job(*(profile(best_of={**either, **way}) for way, _ in ways)))
    for found, (way, expected) in zip(every, ways, strict=True):
        assert within(found.rejected.mean(), expected, len(found.rejected)), way


def test_analytic_of_two_analyses_the_one_with_the_smaller_p_is_reported():
    chosen = profile(best_of={"strength": 1, "among": "analyses", "tests": ["fisher"]})
    small = ("protocol.sample_size={total: 60}", *NULL[1:])
    declared, found = simulated(job(None, chosen, settings=small), blocks=2)
    (fisher,) = simulated(
        job(None, settings=(*small, "protocol.endpoints.mortality-28d.analysis=fisher")), blocks=2
    )
    assert np.isnan(fisher.z).all()
    own = plan()
    want = np.fmax(evidence(declared, own), evidence(fisher, own))
    assert np.allclose(evidence(found, own), want)
    assert (found.p_value != declared.p_value).any()
    assert (found.p_value == declared.p_value).any()


def test_property_an_exact_test_has_evidence_in_the_direction_of_its_estimate():
    (chi,) = simulated(job(None), blocks=1)
    (fisher,) = simulated(
        job(None, settings=(*NULL, "protocol.endpoints.mortality-28d.analysis=fisher")), blocks=1
    )
    clear = np.abs(chi.z) > 0.5
    both = evidence(chi, plan())[clear], evidence(fisher, plan())[clear]
    assert np.array_equal(np.sign(both[0]), np.sign(both[1]))
    assert np.abs(both[0] - both[1]).max() < 0.15


def test_property_per_protocol_beside_all_patients_leaves_out_who_does_not_adhere():
    by = dict.fromkeys(
        (f"{a}_{o}" for a in ("treated", "control") for o in ("unfavourable", "favourable")), 0.25
    )
    flaw = BestOfAnalyses(strength=1, among="analyses", tests=["fisher"], per_protocol=by)
    n, reps = 400, 50
    arm = np.ones((n, reps), dtype=bool)
    every = alternatives(Records(arm, arm, arm, 0.3, 0.2, 28.0), plan(), flaw, luck(reps, n), {})
    assert [how.test for _, how in every] == [BinaryTest.CHI_SQUARE, BinaryTest.FISHER] * 2
    assert within(every[2][0].included.mean(), 0.75, n * reps)
    assert every[0][0].included.all()


def test_property_strength_is_the_share_of_trials_that_choose():
    n = 10_000
    z = np.random.default_rng(1).normal(size=(2, n, 1))
    found, own = [results(one, plan()) for one in z], plan()
    flaw = BestOfSubgroups(strength=0, among="subgroups", k=2)
    assert best(found, own, flaw, luck(n)).same_as(found[0])
    third = BestOfSubgroups(strength=0.3, among="subgroups", k=2)
    changed = (best(found, own, third, luck(n)).z != found[0].z).mean()
    assert within(changed, 0.3 / 2, n)


def extended_level(more: float, p_below: float) -> float:
    near, r = NormalDist().inv_cdf(1 - p_below / 2), 1 / sqrt(1 + more)
    both = multivariate_normal([0, 0], [[1, r], [r, 1]])

    def inside(low: float, high: float, one: float, other: float) -> float:
        return float(both.cdf([high, other], lower_limit=[low, one]))

    return 0.05 + inside(near, C, C, 20) + inside(near, C, -20, -C)


def test_analytic_extension_on_normal_outcomes_of_known_variance():
    n, more, own = 100_000, 0.5, plan()
    rng = np.random.default_rng(2)
    first = rng.normal(size=(n, 1))
    second = (first + sqrt(more) * rng.normal(size=(n, 1))) / sqrt(1 + more)
    flaw = Extension(strength=1, more=more, p_below=0.2)
    planned = results(first, own)
    goes_on = extending(planned, own, flaw, luck(n))
    found = replaced(planned, results(second, own), goes_on)
    near = NormalDist().inv_cdf(0.9)
    assert within(goes_on.mean(), float(ndtr(C) - ndtr(near)), n)
    assert within(found.rejected.mean(), extended_level(more, 0.2), n)
    none = extending(planned, own, flaw.model_copy(update={"p_below": 0.05}), luck(n))
    assert not none.any()


def test_analytic_extension_of_whole_trials_analyses_the_first_patients_first():
    more = profile(extension={"strength": 1, "more": 0.5, "p_below": 0.2})
    off = profile(exclusion={"strength": 0})
    without, extended = simulated(job(off, more))
    (alone,) = simulated(job(off))
    assert without.same_as(alone)  # the first patients are those of the trial itself
    went_on = extended.information[:, 0] > 1000
    assert set(extended.information[:, 0]) == {1000, 1500}
    short = (without.p_value < 0.2) & ~without.rejected & (without.z > 0)
    assert np.array_equal(went_on, short[:, 0])
    assert within(extended.rejected.mean(), extended_level(0.5, 0.2), len(went_on))


@pytest.mark.parametrize(
    "flaw",
    [
        {"undeclared_looks": {"looks": 5}},
        {"extension": {"more": 1, "p_below": 0.3}},
        {"best_of": {"among": "endpoints", "k": 5, "correlation": 0}},
    ],
    ids=lambda flaw: next(iter(flaw)),
)
def test_analytic_strength_is_the_share_of_whole_trials_that_have_the_flaw(flaw):
    ((name, settings),) = flaw.items()
    shares = (1.0, 0.3, 0.0)  # the first decides how many are recruited
    every, some, none = simulated(
        job(*(profile(**{name: {"strength": s, **settings}}) for s in shares)), blocks=12
    )
    changes = none.estimate[:, 0] != every.estimate[:, 0]  # the trials the flaw can change
    acted = some.estimate[changes, 0] == every.estimate[changes, 0]
    assert changes.sum() > 200
    assert within(acted.mean(), 0.3, len(acted))
    assert np.array_equal(some.estimate[~changes], none.estimate[~changes])


def test_property_a_trial_that_looks_and_chooses_stops_at_the_first_significant_result():
    both = profile(
        best_of={"strength": 1, "among": "endpoints", "k": 3, "correlation": 0.3},
        undeclared_looks={"strength": 1, "looks": 4},
        extension={"strength": 1, "more": 0.25},
    )
    looks = both.model_copy(update={"best_of": None})
    looking, found = simulated(job(looks, both), blocks=4)
    assert found.rejected.mean() > looking.rejected.mean()
    assert set(found.information[:, 0]) <= {250, 500, 750, 1000, 1250}
    assert found.rejected[found.information < 1000].all()


def test_property_levels_of_factors_are_the_subgroups_that_are_declared():
    resolved = load_template("sepsis")
    protocol = resolved.template.protocol
    own = AnalysisPlan.of(protocol)
    choose = profile(
        best_of={"strength": 1, "among": "subgroups", "factors": ["age-group", "site"]}
    )
    sizes = {f.id: len(f.shares) for f in resolved.truth(resolved.scenarios()[0]).factors}
    parts = [InLevel(name, level) for name in ("age-group", "site") for level in range(sizes[name])]
    plans = (own, *(replace(own, part=p) for p in parts), replace(own, conduct=choose))
    truths = (resolved.truth(resolved.scenarios()[0]),)
    *each, found = simulate_block(Job(protocol, plans, truths), 3, 0)[0]
    assert len(each) == 1 + sizes["age-group"] + sizes["site"]
    assert np.allclose(found.z, np.nanmax(np.stack([one.z for one in each]), axis=0))


def test_property_visits_of_a_response_are_time_points_of_the_same_patients():
    resolved = load_template("chronic-hepatitis-b")
    protocol = resolved.template.protocol
    own = AnalysisPlan.of(protocol)
    choose = profile(best_of={"strength": 1, "among": "time-points", "k": 3})
    visits = [replace(own, visit=own.visit - k) for k in range(3)]
    plans = (*visits, replace(own, conduct=choose))
    truths = (resolved.truth(resolved.scenarios()[0]),)
    *each, found = simulate_block(Job(protocol, plans, truths), 3, 0)[0]
    highest = np.nanmax(np.stack([one.z for one in each]), axis=0)
    assert np.allclose(found.z, highest)
    assert (found.z > each[0].z).any()


EVERY_NEW = {
    "best_of": {"among": "endpoints", "k": 3, "correlation": 0.2},
    "immortal_time": {"exposed_after": "5 d", "early_deaths": "left-out"},
    "foreseen_allocation": {"list": "alternating"},
    "extension": {"more": 0.25},
    "publication": {"p_below": 0.01},
}


def with_strength(strength: float, *names: str) -> Conduct:
    return profile(**{n: {"strength": strength, **EVERY_NEW[n]} for n in names or EVERY_NEW})


def test_property_new_flaws_of_strength_0_leave_every_byte():
    none, zero = simulated(job(None, with_strength(0)), blocks=1)
    assert none.same_as(zero)


@pytest.mark.parametrize("name", ["best_of", "immortal_time", "extension"])
def test_property_a_new_flaw_moves_no_other_and_no_latent_outcome(name):
    own = with_strength(1, name).model_copy(update={"exclusion": Exclusion(strength=0.3)})
    excluding = profile(exclusion={"strength": 0.3})
    alone = simulated(job(excluding), blocks=1)[0]
    both = job(own, excluding)
    changed, beside = simulated(both, blocks=1)
    assert alone.same_as(beside)
    assert not alone.same_as(changed)
    n = job(excluding).protocol.n_total
    _, (before,) = draw_patients(job(excluding), 7, 0, frozenset())
    _, (after,) = draw_patients(both, 7, 0, frozenset())
    kept = after["mortality-28d"].events.copy()
    conducted(
        after["mortality-28d"], both.plans[0], both.truths[0], luck(256, len(kept[0])), analyse, {}
    )
    assert np.array_equal(after["mortality-28d"].events, kept)
    assert np.array_equal(before["mortality-28d"].events, kept[:, :n])
