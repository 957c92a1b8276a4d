"""Simulated literatures: against enumeration, against brute force, and what a file must say."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import binom

from trialsim import ProtocolError, RequestError, SimulationError, load_template
from trialsim.analyse.binary import analyse_counts
from trialsim.engine.reported_tables import reported_tables
from trialsim.kernels.pooling import Tables, mantel_haenszel, pooled_difference
from trialsim.kernels.proportions import Scale
from trialsim.protocol.conduct import Conduct
from trialsim.protocol.reading.load import load_literature
from trialsim.report.screens.synthesis_screen import with_error
from trialsim.studies.literature.synthesis import (
    Pooling,
    odds_ratios_from_words,
    percent,
    plan_synthesis,
)
from trialsim.trial import Measure, Path

SEPSIS = load_template("sepsis")
GU = load_literature("sepsis-meta-analysis", SEPSIS.evidence)
RIGOROUS = GU.model_copy(update={"conduct": ()})  # chance alone
SIX = """schema_version: 1
id: six
title: six trials of 60
true_odds_ratios: [0.82]
splits:
  - {id: half, title: halves, strata: [{id: one, title: one}, {id: other, title: other}]}
trials:
"""


def six(more="", sizes=(30, 30), risk=0.30, n=6):
    rows = [
        f"  - {{id: t{k}, n_treated: {sizes[0]}, n_control: {sizes[1]}, control_risk: {risk}, "
        f"strata: {{half: {'one' if k < n / 2 else 'other'}}}}}\n"
        for k in range(n)
    ]
    return SIX + "".join(rows) + more


def read(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return load_literature(str(path), SEPSIS.evidence)


def with_profile(literature, conduct, trials):
    """Return the literature with these trials (or strata) carried out so, in a set 'flawed'."""
    own = Conduct.model_validate({"id": "own", "title": "own", **conduct})
    text = literature.model_dump(exclude_none=True)
    chosen = {"id": "flawed", "title": "flawed", "conduct": dict.fromkeys(trials, "own")}
    text |= {"profiles": [own.model_dump(exclude_none=True)], "conduct": [chosen]}
    return type(literature).model_validate(text)


def planned(literature=GU, ratio="0.82", split=""):
    return plan_synthesis(
        SEPSIS, literature, split=split, odds_ratios=odds_ratios_from_words(ratio)
    )


def treated_risk(control, ratio):
    odds = ratio * control / (1 - control)
    return odds / (1 + odds)


def joint(control, treated, n=30):
    """Return the law of one trial's table, by events of the treated and of controls."""
    return np.outer(binom.pmf(range(n + 1), n, treated), binom.pmf(range(n + 1), n, control))


@pytest.mark.parametrize("ratio", ["0.82", "1"])
def test_analytic_the_mantel_haenszel_estimating_function_has_mean_0(ratio):
    """sum((ad - psi bc) / N), rigorous trials with a common marginal odds ratio psi."""
    plan = planned(RIGOROUS, ratio)
    chance = plan.simulate(20_000, 2)[0]
    assert chance.conduct.id == "chance"
    for members in (*plan.members, np.ones(11, dtype=bool)):
        a, b, c, d = chance.tables.only(members).cells()
        n = np.maximum(a + b + c + d, 1)
        score = ((a * d - float(ratio) * b * c) / n).sum(axis=1)
        assert abs(score.mean()) < 4 * score.std() / sqrt(len(score))


def enumerated_pool(ratio, n=30, risk=0.30, k=6):
    """Return E(log OR) and E(OR) of Mantel-Haenszel over k equal trials, from the law of one.

    sum(ad) and sum(bc) are whole numbers: their joint law is a k-fold convolution, by FFT.
    """
    width = 2048  # sums beyond it have probability below 1e-12
    law = joint(risk, treated_risk(risk, ratio), n)
    a, c = np.meshgrid(range(n + 1), range(n + 1), indexing="ij")
    one = np.zeros((width, width))
    np.add.at(one, (a * (n - c), (n - a) * c), law)
    found = np.fft.irfft2(np.fft.rfft2(one) ** k, s=one.shape)
    assert found[-1].sum() < 1e-9
    r, s = np.meshgrid(np.arange(width), np.arange(width), indexing="ij")
    known = (r > 0) & (s > 0) & (found > 1e-18)
    pool = r[known] / s[known]
    weights = found[known] / found[known].sum()
    return float(weights @ np.log(pool)), float(weights @ pool)


def test_analytic_the_expected_pool_of_six_trials_of_60_is_that_of_their_enumeration(tmp_path):
    mean_log, mean = enumerated_pool(0.82)
    assert mean == pytest.approx(0.842, abs=0.001)  # small samples, not conduct
    chance = planned(read(tmp_path, six())).simulate(20_000, 3)[0]
    found = mantel_haenszel(chance.tables, Scale.ODDS_RATIO).estimate
    assert np.isfinite(found).all()
    error = found.std() / sqrt(len(found))
    assert abs(found.mean() - mean_log) < 4 * error
    ratios = np.exp(found)
    assert abs(ratios.mean() - mean) < 4 * ratios.std() / sqrt(len(found))


def test_reference_a_gap_as_large_by_chance_is_as_frequent_as_in_brute_force():
    """Drawn here by numpy alone, 200,000 literatures: about 0.5%."""
    plan = planned(RIGOROUS)
    rng, n, columns = np.random.default_rng(7), 200_000, []
    for trial in GU.trials:
        n1, n0, p0 = trial.n_treated.value, trial.n_control.value, trial.control_risk.value
        x1 = rng.binomial(n1, treated_risk(p0, 0.82), n)
        columns.append((x1, np.full(n, n1), rng.binomial(n0, p0, n), np.full(n, n0)))
    tables = Tables(*(np.stack(own, axis=1).astype(float) for own in zip(*columns, strict=True)))
    strata = [mantel_haenszel(tables.only(m), Scale.ODDS_RATIO) for m in plan.members]
    share = (pooled_difference(*strata).estimate <= plan.observed.log_ratio).mean()
    assert 0.003 < share < 0.007
    result = plan.result(replicates=20_000, seed=1)
    (row,) = (r for r in result.rows if r.measure is Measure.GAP_AS_LARGE)
    assert abs(row.value - share) < 4 * sqrt(share * (1 - share) * (1 / n + 1 / 20_000))


def test_analytic_published_trials_are_those_of_a_filtered_enumeration(tmp_path):
    """Of 30 v 30, the filter drops 70% of trials without a significant benefit."""
    flaws = {"publication": {"strength": 0.7}}
    plan = planned(with_profile(read(tmp_path, six()), flaws, ["one"]))
    first = plan.trials["flawed"][0]
    n, law = 10_000, joint(0.30, treated_risk(0.30, 0.82))
    a, c = (grid.ravel() for grid in np.meshgrid(range(31), range(31), indexing="ij"))
    thirty = np.full(a.shape, 30)
    found = analyse_counts(a, thirty, c, thirty, first.job.plans[0])
    good = found.rejected[:, 0] & (found.z[:, 0] > 0)
    out = law.ravel() * np.where(good, 1.0, 0.3)
    ((tables,), (tried,)) = first.published_tables(n, 5)
    share = out.sum()
    assert abs(n / tried - share) < 4 * sqrt(share * (1 - share) / tried)
    for column, values in ((0, a), (2, c)):
        mean = out @ values / share
        assert abs(tables[:, column].mean() - mean) < 4 * tables[:, column].std() / sqrt(n)


@pytest.mark.parametrize(
    "flaws",
    [
        {"foreseen_allocation": {"strength": 0.5}},
        {"exclusion": {"strength": 0.3}, "co_intervention": {"strength": 0.5, "averts": 0.3}},
        {"best_of": {"strength": 0.6, "among": "endpoints", "k": 3, "correlation": 0.5}},
        {"best_of": {"strength": 0.6, "among": "subgroups", "k": 3}},
        {"undeclared_looks": {"strength": 0.7, "looks": 3}},
        {"extension": {"strength": 1.0, "more": 0.5, "p_below": 0.5}},
    ],
    ids=["foreseen", "exclusion", "endpoints", "subgroups", "looks", "extension"],
)
def test_property_the_table_is_that_of_the_result_reported(flaws):
    """Whichever of several results is chosen: its table gives its estimate, to the bit."""
    plan = planned(with_profile(GU, flaws, ["lower"]))
    trial = plan.trials["flawed"][0]
    assert trial.job.path is Path.PATIENTS
    (found,) = reported_tables(trial.job, 1, 0)
    again = analyse_counts(*found.counts.T, trial.job.plans[0])
    for name in ("estimate", "standard_error", "information"):
        one, other = getattr(found.results, name), getattr(again, name)
        assert np.array_equal(one, other, equal_nan=True)
    plain = replace(trial.job, plans=(replace(trial.job.plans[0], conduct=None),))
    (sound,) = reported_tables(plain, 1, 0)
    assert (found.counts != sound.counts).any()


def test_property_trials_have_luck_of_their_own_whatever_their_company(tmp_path):
    plan = planned(read(tmp_path, six()))
    assert all(t.job.path is Path.SUFFICIENT_STATISTICS for t in plan.trials["chance"])
    n = 4_000
    events = plan.simulate(n, 1)[0].tables.events_treated
    apart = np.corrcoef(events.T) - np.eye(6)
    assert np.abs(apart).max() < 4 / sqrt(n)
    longer = plan.simulate(2 * n, 1)[0].tables.events_treated[:n]
    assert np.array_equal(events, longer)
    text = six(n=4).replace("half: one}", "half: other}", 1)
    fewer = planned(read(tmp_path, text)).simulate(n, 1)[0].tables.events_treated
    assert np.array_equal(events[:, :4], fewer)


def test_property_the_same_trials_meet_every_truth_and_only_flawed_ones_change():
    plan = planned(ratio="0.82,1")
    by = {(s.conduct.id, s.scenario.id): s.tables for s in plan.simulate(500, 1)}
    one, none = by["chance", "or-0-82"], by["chance", "or-1"]
    assert np.array_equal(one.events_control, none.events_control)
    assert (one.events_treated <= none.events_treated).all()
    typical = by["typical", "or-0-82"]
    assert np.array_equal(one.events_treated[:, 10], typical.events_treated[:, 10])  # TESTS
    assert not np.array_equal(one.events_treated[:, 0], typical.events_treated[:, 0])


def test_reference_what_was_published_of_the_strata_is_placed():
    """Gu 2025: its subgroups by quality, their ratio derived."""
    plan = planned()
    assert plan.ratio_seen == pytest.approx(0.50, abs=0.005)
    assert plan.observed.p_value == pytest.approx(0.017, abs=0.0005)
    reach = 1.96 * plan.observed.standard_error
    ends = [exp(plan.observed.log_ratio + sign * reach) for sign in (-1, 1)]
    assert ends == pytest.approx([0.28, 0.88], abs=0.005)
    centres = planned(split="centres")
    assert centres.ratio_seen == pytest.approx(0.45, abs=0.005)
    assert [m.sum() for m in centres.members] == [9, 2]
    n = [t.n_total for t in GU.trials]
    assert [sum(n[:6]), sum(n[6:9]), n[9], n[10]] == [359, 118, 361, 1089]


def test_reference_sourced_strengths_are_what_their_sources_give():
    """Hopewell 2009: 41% and 73%, odds ratio 2.68 to 5.68; Abraha 2015: 0.83 (0.71 to 0.96)."""
    typical, reach = GU.profiles
    assert typical.publication.strength.value == pytest.approx(1 - 0.41 / 0.73, abs=5e-4)
    odds = 0.73 / 0.27 / 5.68
    assert reach.publication.strength.value == pytest.approx(1 - odds / (1 + odds) / 0.73, abs=1e-3)
    assert typical.exclusion.strength.value == pytest.approx(1 - 0.83, abs=5e-4)
    assert reach.exclusion.strength.value == pytest.approx(1 - 0.71, abs=3e-3)
    for profile in (typical, reach):
        assert profile.foreseen_allocation.strength.source is None
    assert "CHOSEN" in reach.note
    assert "0.41" not in typical.title


def test_analytic_one_stated_set_pools_to_041_and_the_typical_one_does_not():
    plan = planned()
    by = {s.conduct.id: Pooling.of(s, plan.members) for s in plan.simulate(4_000, 1)}
    chosen, typical, chance = (
        exp(float(np.median(by[name].strata[0].estimate)))
        for name in ("to-reach-041", "typical", "chance")
    )
    assert chosen == pytest.approx(0.41, abs=0.03)
    assert 0.45 < typical < 0.65
    assert chance == pytest.approx(0.82, abs=0.02)
    # foreseen allocation alone stays inside BRANDO's interval for mortality, 0.69 to 1.06
    foreseen = {"foreseen_allocation": {"strength": 0.5, "waiting": 2}}
    alone = planned(with_profile(GU, foreseen, ["lower"]))
    flawed = Pooling.of(alone.simulate(4_000, 1)[1], alone.members).strata[0].estimate
    assert 0.69 < exp(float(np.median(flawed)) - log(chance)) < 1.0


def test_property_every_number_has_its_error_and_what_nothing_hit_its_bound():
    result = planned(ratio="1").result(replicates=400, seed=1)
    for row in result.rows:
        assert row.mcse is not None
        assert row.n_replicates
        assert row.conduct in ("chance", "typical", "to-reach-041")
    assert {"chance", "limits", "quality or centres"} <= set(result.texts)
    assert "8 of 11 trials" in result.texts["quality or centres"]
    none = next(
        r
        for r in result.rows
        if r.measure is Measure.PERCENTILE and r.value == 0 and r.conduct == "chance"
    )
    assert percent(none) == "below 0.75 %"  # rule of three


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (six(n=1), "has 1 trial, and nothing can be pooled"),
        (six().replace("n_treated: 30", "n_treated: 0", 1), "must be at least 2"),
        (six().replace("n_treated: 30", "n_treated: 30.5", 1), "n_treated"),
        (six().replace("control_risk: 0.3", "control_risk: 30", 1), "must be below 1"),
        (six().replace("{half: one}", "{quarter: one}", 1), "in no stratum of the split 'half'"),
        (six().replace("half: other", "half: one"), "has no trial in the stratum 'other'"),
        (six().replace("id: t1,", "id: t0,"), "has the trial 't0' twice"),
        (six("conduct: [{id: a, title: a, conduct: {one: pooor}}]\n"), "Did you mean 'poor'?"),
        (six("conduct: [{id: a, title: a, conduct: {third: poor}}]\n"), "no trial and no stratum"),
        (six("evidence: gu-2026\n"), "Did you mean 'gu-2025'?"),
        (six("evidence: etass-2013\n"), "states no pooled odds ratio"),
        (six().replace("half: one}}", "half: one}, block_sizes: [3]}"), "not of two equal parts"),
        (six("titel: x\n"), "titel"),
    ],
)
def test_regression_a_literature_that_cannot_be_is_refused_with_a_remedy(tmp_path, text, told):
    with pytest.raises(ProtocolError) as error:
        read(tmp_path, text)
    assert told in str(error.value)
    assert all(p.remedy and p.file for p in error.value.problems)


def test_regression_requests_that_cannot_be_honoured_say_what_can(tmp_path):
    with pytest.raises(RequestError, match="Did you mean 'quality'"):
        planned(split="qualty")
    with pytest.raises(RequestError, match="Its splits are quality, centres"):
        planned(split="size")
    with pytest.raises(RequestError, match="is no literature"):
        load_literature("gu-2052")
    for words in ("0", "0.82;1", "-1", "", "nan", "0.5,inf"):
        with pytest.raises(RequestError, match=r"Write for example 0\.82,0\.97,1"):
            odds_ratios_from_words(words)
    with pytest.raises(RequestError, match="odds ratios of a binary endpoint"):
        plan_synthesis(load_template("chronic-hepatitis-b"), GU)
    later = {
        "exposed_after": "40 d",
        "early_deaths": "left-out",
        "strength": 1,
    }
    with pytest.raises(RequestError, match="the read-out is on day 28"):
        planned(with_profile(GU, {"immortal_time": later}, ["lower"]))


def test_regression_a_filter_that_publishes_nothing_ends_in_words(tmp_path):
    flaws = {"publication": {"strength": 1.0, "p_below": 0.0001}}
    plan = planned(with_profile(read(tmp_path, six()), flaws, ["one"]), ratio="1.5")
    with pytest.raises(SimulationError, match="Weaken the filter") as error:
        plan.result(replicates=200, seed=1)
    assert "of 4,096 trials like 't0'" in str(error.value)


def test_regression_literatures_without_events_are_counted_not_fatal(tmp_path):
    plan = planned(read(tmp_path, six(sizes=(3, 3), risk=0.02)))
    with pytest.raises(SimulationError, match="literatures of 1,000 that can be pooled"):
        plan.result(replicates=1_000, seed=1)
    some = planned(read(tmp_path, six(sizes=(10, 10), risk=0.1)))
    rows = some.result(replicates=1_000, seed=1).rows
    assert 0 < rows[0].n_failed < 1_000


def test_regression_an_error_that_is_not_0_is_never_shown_as_0():
    assert with_error(0.992, 0.0004) == "0.992 +-0.0004"
    assert with_error(0.992, 0.00362) == "0.992 +-0.004"
    assert with_error(1.0, 0.0) == "1.000 +-0.000"
