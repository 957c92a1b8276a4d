"""Flaws of conduct: identity at strength 0, and what each does to expected counts."""

from __future__ import annotations

from dataclasses import replace
from math import comb, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.conduct.allocation import AllocationList, foreseen, guesses
from trialsim.conduct.assessment import misread
from trialsim.conduct.attrition import differential_loss, exclusion
from trialsim.conduct.deviations import (
    as_treated,
    co_intervention,
    historical_controls,
    per_protocol,
)
from trialsim.conduct.publication import published
from trialsim.conduct.records import Luck, Records
from trialsim.engine.blocks import Job, draw_patients, simulate_block
from trialsim.kernels.allocation import block_openings, permuted_blocks
from trialsim.protocol.conduct import (
    RIGOROUS,
    Assessment,
    CoIntervention,
    Conduct,
    DifferentialLoss,
    Exclusion,
    ForeseenAllocation,
    Foresight,
    HistoricalControls,
    Mechanism,
    NonAdherence,
    PublicationFilter,
    Strength,
    UndeclaredLooks,
)
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.streams import Decision, Streams
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import AnalysisPlan, LookResults

CELLS = {
    "treated_unfavourable": 0.3,
    "treated_favourable": 0.1,
    "control_unfavourable": 0.2,
    "control_favourable": 0.05,
}
N, REPS = 2_000, 400


def flaws(strength: float) -> dict[Mechanism, object]:
    """Every flaw that acts on records, at one strength."""
    return {
        Mechanism.CO_INTERVENTION: CoIntervention(strength=strength, averts=0.4),
        Mechanism.HISTORICAL_CONTROLS: HistoricalControls(strength=strength, drift=1.5),
        Mechanism.EXCLUSION: Exclusion(strength=strength),
        Mechanism.DIFFERENTIAL_LOSS: DifferentialLoss(strength=strength, lost=CELLS),
        Mechanism.ASSESSMENT: Assessment(
            strength=strength,
            sensitivity_treated=0.8,
            sensitivity_control=0.95,
            specificity_treated=0.98,
            specificity_control=0.9,
        ),
        Mechanism.PER_PROTOCOL: NonAdherence(strength=strength, non_adherent=CELLS),
        Mechanism.AS_TREATED: NonAdherence(strength=strength, non_adherent=CELLS),
    }


ACT = {
    Mechanism.CO_INTERVENTION: co_intervention,
    Mechanism.HISTORICAL_CONTROLS: historical_controls,
    Mechanism.EXCLUSION: exclusion,
    Mechanism.DIFFERENTIAL_LOSS: differential_loss,
    Mechanism.ASSESSMENT: misread,
    Mechanism.PER_PROTOCOL: per_protocol,
    Mechanism.AS_TREATED: as_treated,
}


def records(control: float = 0.3, treated: float = 0.2, seed: int = 5) -> Records:
    rng = np.random.default_rng(seed)
    arm = np.broadcast_to((np.arange(N) % 2 == 0)[:, None], (N, REPS))
    bad = rng.random((N, REPS)) < np.where(arm, treated, control)
    return Records(arm, bad, np.ones((N, REPS), dtype=bool), control)


def luck(seed: int = 1) -> Luck:
    return Luck(Streams(seed), 0, (N, REPS))


def cells(found: Records) -> np.ndarray:
    """Patients by arm (treated first) and outcome (unfavourable first), over all trials."""
    return np.array(
        [
            [
                (found.included & (found.treated == arm) & (found.unfavourable == bad)).sum()
                for bad in (True, False)
            ]
            for arm in (True, False)
        ],
        dtype=float,
    )


def odds_ratio(table: np.ndarray) -> float:
    return float(table[0, 0] * table[1, 1] / table[0, 1] / table[1, 0])


@pytest.mark.parametrize("mechanism", list(ACT))
def test_property_strength_0_changes_nothing(mechanism):
    before = records()
    after = ACT[mechanism](before, flaws(0.0)[mechanism], luck())
    for name in ("treated", "unfavourable", "included"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


def expected_cells(mechanism: Mechanism, s: float, p1: float, p0: float) -> np.ndarray:
    """Shares by arm and outcome that the formula beside each mechanism gives."""
    table = np.array([[p1, 1 - p1], [p0, 1 - p0]])
    gone = s * np.array([[0.3, 0.1], [0.2, 0.05]])
    match mechanism:
        case Mechanism.CO_INTERVENTION:
            p1 *= 1 - 0.4 * s
            return np.array([[p1, 1 - p1], [p0, 1 - p0]])
        case Mechanism.HISTORICAL_CONTROLS:
            odds = 1.5 * p0 / (1 - p0)
            p0 = (1 - s) * p0 + s * odds / (1 + odds)
            return np.array([[p1, 1 - p1], [p0, 1 - p0]])
        case Mechanism.EXCLUSION:
            return table * np.array([[1 - s, 1], [1, 1]])
        case Mechanism.DIFFERENTIAL_LOSS | Mechanism.PER_PROTOCOL:
            return table * (1 - gone)
        case Mechanism.ASSESSMENT:
            q1 = p1 * (1 - 0.2 * s) + (1 - p1) * 0.02 * s
            q0 = p0 * (1 - 0.05 * s) + (1 - p0) * 0.1 * s
            return np.array([[q1, 1 - q1], [q0, 1 - q0]])
        case _:
            return table * (1 - gone) + (table * gone)[::-1]


@pytest.mark.parametrize("strength", [0.3, 0.9])
@pytest.mark.parametrize("mechanism", list(ACT))
def test_analytic_expected_odds_ratio_of_each_flaw(mechanism, strength):
    found = cells(ACT[mechanism](records(), flaws(strength)[mechanism], luck()))
    expected = expected_cells(mechanism, strength, 0.2, 0.3)
    error = sqrt((1 / found).sum())
    assert abs(log(odds_ratio(found) / odds_ratio(expected))) < 4 * error


@pytest.mark.parametrize("risk", [0.0, 1.0])
def test_regression_a_certain_outcome_does_not_drift(risk):
    whole = replace(records(), control_risk=risk)
    flaw = HistoricalControls(strength=1, drift=1.5)
    assert historical_controls(whole, flaw, luck()) is whole


@pytest.mark.parametrize("share", [0.15, 0.5, 0.95])
def test_analytic_excluding_a_share_of_events_multiplies_the_odds_ratio_by_the_rest(share):
    # 400 v 400 with 100 and 160 events; numbers evenly spread over the events of either arm are
    # below f as often as expected, so these counts are the expected ones.
    arm, place = np.arange(800) < 400, np.arange(800) % 400
    bad = place < np.where(arm, 100, 160)
    even = (place + 0.5) / np.where(arm, 100, 160)
    chance = Luck(Streams(1), 0, (800, 1), {(Decision.EXCLUSION, "", True): (even % 1)[:, None]})
    before = Records(arm[:, None], bad[:, None], np.ones((800, 1), dtype=bool), 0.4, 0.25)
    for side, factor in (("experimental", 1 - share), ("control", 1 / (1 - share))):
        after = exclusion(before, Exclusion(strength=share, arm=side), chance)
        ratio = odds_ratio(cells(after)) / odds_ratio(cells(before))
        assert ratio == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("half", [1, 2, 3])
def test_analytic_guesses_are_right_as_often_as_blackwell_and_hodges_say(half):
    n, reps, size = 12 * 2 * half, 4_000, 2 * half
    rng = np.random.default_rng(half)
    strata = np.zeros((n, reps), dtype=np.int64)
    sizes = rng.random((n, reps))
    assigned = permuted_blocks(rng.random((n, reps)), sizes, strata, 1, (1, 1), (size,))
    opens = block_openings(sizes, strata, 1, (size,))
    guess = guesses(AllocationList(assigned, opens, strata, 1, (1, 1)))
    right = np.where(guess == 0, 0.5, guess == np.where(assigned, 1, -1))
    per_block = right.reshape(12, size, reps).sum(axis=1).ravel()
    expected = half + (4**half / comb(2 * half, half) - 1) / 2
    assert abs(per_block.mean() - expected) <= 4 * per_block.std() / sqrt(len(per_block)) + 1e-12


def lists(n_strata: int, seed: int, n: int = 40, reps: int = 30) -> AllocationList:
    rng = np.random.default_rng(seed)
    strata = rng.integers(n_strata, size=(n, reps))
    sizes = rng.random((n, reps))
    assigned = permuted_blocks(rng.random((n, reps)), sizes, strata, n_strata, (1, 1), (2, 4))
    opens = block_openings(sizes, strata, n_strata, (2, 4))
    return AllocationList(assigned, opens, strata, n_strata, (1, 1))


@given(st.integers(1, 5), st.integers(0, 999), st.integers(2, 6), st.sampled_from(Foresight))
def test_property_steering_uses_every_list_once_and_strength_0_uses_it_in_order(
    n_strata, seed, waiting, knows
):
    own = lists(n_strata, seed)
    merit = np.random.default_rng(seed + 1).normal(size=own.assigned.shape)
    chance = Luck(Streams(seed), 0, own.assigned.shape)
    still = foreseen(own, merit, ForeseenAllocation(strength=0, waiting=waiting), chance)
    assert np.array_equal(still, own.assigned)
    flaw = ForeseenAllocation(strength=1, waiting=waiting, knows=knows)
    steered = foreseen(own, merit, flaw, chance)
    for stratum in range(n_strata):
        there = own.strata == stratum
        assert np.array_equal((steered & there).sum(axis=0), (own.assigned & there).sum(axis=0))


def test_property_knowing_the_next_assignment_sends_the_better_prognosis_to_treatment():
    own = lists(1, 3, n=60, reps=500)
    merit = np.random.default_rng(4).normal(size=own.assigned.shape)
    chance = Luck(Streams(1), 0, own.assigned.shape)
    gap = {}
    for knows in Foresight:
        flaw = ForeseenAllocation(strength=1, knows=knows)
        treated = foreseen(own, merit, flaw, chance)
        gap[knows] = merit[treated].mean() - merit[~treated].mean()
    assert gap[Foresight.NEXT_ASSIGNMENT] > gap[Foresight.PAST_ASSIGNMENTS] > 0.1


@given(st.integers(1, 5), st.integers(0, 999), st.floats(-100, 100), st.sampled_from(Foresight))
def test_regression_the_origin_of_prognosis_picks_nobody(n_strata, seed, origin, knows):
    own = lists(n_strata, seed)
    merit = np.random.default_rng(seed + 1).integers(-50, 50, size=own.assigned.shape) / 8
    merit -= merit.mean(axis=0)
    flaw = ForeseenAllocation(strength=1, waiting=3, knows=knows)
    chance = Luck(Streams(seed), 0, own.assigned.shape)
    here, there = (foreseen(own, m, flaw, chance) for m in (merit, merit + origin))
    assert (here == there).mean() > 0.99  # all but ties that rounding breaks


def test_regression_blocks_of_several_sizes_open_where_the_lists_open(monkeypatch):
    seen = []

    def looked_at(own, merit, flaw, luck):
        seen.append(own)
        return foreseen(own, merit, flaw, luck)

    monkeypatch.setattr("trialsim.engine.conducted.foreseen", looked_at)
    whole = job("sepsis", RIGOROUS)  # blocks of 4 and 6 in 44 strata
    few = "protocol.allocation={method: permuted-blocks, block_sizes: [2, 6]}"
    one_list = job("sepsis", RIGOROUS, settings=(*SMALL, few))
    for own in (whole, one_list):
        draw_patients(own, 1, 0, frozenset(), ForeseenAllocation(strength=0.5))
    for own in seen:
        for stratum in range(own.n_strata):
            here = own.strata == stratum
            lead = np.cumsum(np.where(here, np.where(own.assigned, 1, -1), 0), axis=0)
            before = np.vstack([np.zeros_like(lead[:1]), lead[:-1]])
            assert (before[here & own.opens] == 0).all()
        guess = guesses(own)
        right = np.where(guess == 0, 0.5, guess == np.where(own.assigned, 1, -1)).mean()
        assert right > 0.55
    whole_blocks = [b + (4**b / comb(2 * b, b) - 1) / 2 for b in (1, 3)]
    # Sizes are drawn alike, so of 8 patients in blocks of 2 and 6 as many guesses are right.
    expected = sum(whole_blocks) / 8
    assert right == pytest.approx(expected, abs=0.01)  # the last block may be cut


@given(st.floats(0.05, 0.95), st.floats(0.01, 0.2))
def test_property_strengths_between_trials_have_the_mean_and_sd_stated(mean, sd):
    if sd >= sqrt(mean * (1 - mean)):
        return
    many = Luck(Streams(2), 0, (1, 20_000))
    drawn = many.strength(Mechanism.EXCLUSION, Strength(value=mean, sd=sd))
    assert abs(drawn.mean() - mean) < 4 * sd / sqrt(20_000)
    assert drawn.std() == pytest.approx(sd, rel=0.1)


def test_analytic_the_filter_publishes_what_it_should():
    many = Luck(Streams(3), 0, (1, 10_000))
    z = np.random.default_rng(1).normal(size=10_000)
    rejected = np.abs(z) > 1.959964
    out = published(PublicationFilter(strength=0.7), rejected, z, 100, many)
    assert out[rejected & (z > 0)].all()
    rest = out[~(rejected & (z > 0))]
    assert abs(rest.mean() - 0.3) < 4 * sqrt(0.21 / len(rest))
    always = PublicationFilter(strength=1, always_from=100)
    assert published(always, rejected, z, 100, many).all()
    assert not published(always, rejected, z, 99, many)[~rejected].any()


def test_regression_every_block_of_trials_has_its_own_luck_of_being_published():
    planned = plan_bias(load_template("sepsis"), load_conduct("poor"), only=Mechanism.PUBLICATION)
    filtered = planned.conduct.at(Mechanism.PUBLICATION, 0.5)
    found, *_ = simulate_block(planned.job, 1, 0)
    none = replace(found[0], rejected=np.zeros_like(found[0].rejected))
    first, second, other = (
        planned._published(filtered, none, seed, block) for seed, block in ((1, 0), (1, 1), (2, 0))
    )
    for one in (second, other):
        assert abs((first == one).mean() - 0.5) < 4 * sqrt(0.25 / len(first))


def profile(strength: float) -> Conduct:
    named = {m.key: f for m, f in flaws(strength).items() if m is not Mechanism.AS_TREATED}
    del named["historical_controls"]
    return Conduct(
        id="own",
        title="all",
        foreseen_allocation=ForeseenAllocation(strength=strength),
        undeclared_looks=UndeclaredLooks(strength=strength, looks=3),
        publication=PublicationFilter(strength=strength),
        **named,
    )


SMALL = ("protocol.sample_size={total: 120}", "nature.severity_slope=1")


def job(template: str, *conducts: Conduct | None, settings: tuple[str, ...] = SMALL) -> Job:
    resolved = load_template(template, settings=settings)
    plan = AnalysisPlan.of(resolved.template.protocol)
    truths = tuple(resolved.truth(s) for s in resolved.scenarios()[:2])
    plans = tuple(replace(plan, conduct=conduct) for conduct in conducts)
    return Job(resolved.template.protocol, plans, truths)


@pytest.mark.parametrize("template", ["sepsis", "chronic-hepatitis-b"])
def test_property_strength_0_gives_the_same_bytes_as_no_conduct(template):
    settings = SMALL if template == "sepsis" else SMALL[:1]
    for none, rigorous, zero in simulate_block(
        job(template, None, RIGOROUS, profile(0.0), settings=settings), 1, 0
    ):
        assert none.same_as(rigorous)
        assert none.same_as(zero)


def test_property_no_flaw_changes_a_latent_outcome():
    own = job("sepsis", None, profile(0.8))
    _, before = draw_patients(own, 1, 0, frozenset())
    flaw = ForeseenAllocation(strength=1)
    _, after = draw_patients(own, 1, 0, frozenset(), flaw)
    for one, other in zip(before, after, strict=True):
        a, b = one["mortality-28d"], other["mortality-28d"]
        assert np.array_equal(a.events, b.events)
        assert not np.array_equal(a.assigned, b.assigned)
        kept = a.events.copy()
        simulate_block(own, 1, 0)
        assert np.array_equal(kept, a.events)


def test_property_a_flaw_does_not_move_the_luck_of_another():
    alone = job("sepsis", profile(0.8).only({Mechanism.EXCLUSION}))
    beside = job("sepsis", profile(0.8), profile(0.8).only({Mechanism.EXCLUSION}))
    for (one,), (_, other) in zip(
        simulate_block(alone, 1, 0), simulate_block(beside, 1, 0), strict=True
    ):
        assert one.same_as(other)


@pytest.mark.parametrize(
    ("looks", "level"), [(2, 0.0831), (3, 0.1073), (4, 0.1262), (5, 0.1417), (10, 0.1934)]
)
def test_reference_undeclared_looks_raise_the_type_1_error(looks, level):
    # Armitage, McPherson and Rowe (1969): normal outcomes, known variance. Here the chi-square test
    # at 2,000 patients and a risk of one half, where its z is near normal.
    own = Conduct(id="own", title="t", undeclared_looks=UndeclaredLooks(strength=1, looks=looks))
    settings = (
        "protocol.sample_size={total: 2000}",
        "nature.control_risk=0.5",
        "nature.factors=[]",
        "protocol.allocation={method: permuted-blocks, block_sizes: [2]}",
    )
    whole = job("sepsis", own, settings=settings)
    one = replace(whole, truths=whole.truths[:1])
    found = LookResults.joined([simulate_block(one, 7, block)[0][0] for block in range(16)])
    n = len(found.rejected)
    assert abs(found.rejected.mean() - level) < 4 * sqrt(level * (1 - level) / n)
