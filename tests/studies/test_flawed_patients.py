"""One trial before and after its flaws, and what records say: against the study and brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import log

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from trialsim.analyse.binary import analyse_counts
from trialsim.engine.flawed_trials import BY_ITS_LIST, flawed_trial
from trialsim.engine.run import run
from trialsim.errors import RequestError
from trialsim.protocol.conduct import (
    Conduct,
    Exclusion,
    ForeseenAllocation,
    HistoricalControls,
    Mechanism,
    NonAdherence,
    PublicationFilter,
)
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.report.parts.flawed_patients import table_per_1000
from trialsim.studies.conduct.bias import PlannedBias, plan_bias
from trialsim.studies.conduct.flawed_patients import look_into
from trialsim.trial import Measure, Row

SMALL = "protocol.sample_size={total: 120}"
NOT_DEATH = "protocol.endpoints.mortality-28d.event=organ failure"
SEED, REPS = 5, 300
CHECKED = (1, 13, 256, 257, 300)  # 13 stops at an undeclared look; the last two: second block


def eight_flaws() -> PlannedBias:
    resolved = load_template("sepsis", settings=(SMALL, NOT_DEATH, "nature.severity_slope=1"))
    return plan_bias(resolved, load_conduct("every-flaw"), ["or-041"])


def responses() -> PlannedBias:
    conduct = load_conduct("every-flaw")
    conduct = conduct.only(set(conduct.mechanisms) - {Mechanism.FORESEEN_ALLOCATION})
    return plan_bias(load_template("chronic-hepatitis-b"), conduct, ["chien-1998"])


def three_flaws() -> PlannedBias:
    return plan_bias(load_template("sepsis", settings=(SMALL,)), load_conduct("poor"), ["or-082"])


def other_controls() -> PlannedBias:
    crossing = {
        "treated_unfavourable": 0.2,
        "treated_favourable": 0.05,
        "control_unfavourable": 0.3,
        "control_favourable": 0.1,
    }
    conduct = Conduct(
        id="own",
        title="t",
        historical_controls=HistoricalControls(strength=0.8, drift=0.5),
        as_treated=NonAdherence(strength=0.5, non_adherent=crossing),
        publication=PublicationFilter(strength=0.5),
    )
    return plan_bias(load_template("chronic-hepatitis-b"), conduct, ["chien-1998"])


PLANS = {
    "eight": eight_flaws,
    "responses": responses,
    "three": three_flaws,
    "controls": other_controls,
}


@cache
def study(name: str):
    """Return a plan, and the trials without flaws and with all of them, as the study has them."""
    planned = PLANS[name]()
    everything = set(planned.mechanisms) - {Mechanism.PUBLICATION}
    full = next(p for p in planned.job.plans if set(p.conduct.mechanisms) == everything)
    job = replace(planned.job, plans=(planned.job.plans[0], full))
    (simulation,) = run([job], n_replicates=REPS, seed=SEED)
    return planned, simulation.results[0]


@cache
def replayed(name: str, replicate: int):
    planned = study(name)[0]
    return planned.replay(planned.only_scenario(), SEED, replicate)


def counted(planned, patients, when):
    """Return the 2 x 2 table by brute force over patients."""
    table = []
    for arm in (planned.job.protocol.experimental.id, planned.job.protocol.control.id):
        own = (patients[f"arm_{when}"] == arm) & patients[f"analysed_{when}"]
        table += [sum(patients[f"event_{when}"][own]), sum(own)]
    return table


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("replicate", CHECKED)
def test_property_a_replayed_trial_is_that_of_the_study_to_the_last_bit(name, replicate):
    planned, (flawless, flawed) = study(name)
    trial = replayed(name, replicate)
    row = slice(replicate - 1, replicate)
    assert trial.planned.same_as(flawless.only(row))
    assert trial.reported.same_as(flawed.only(row))
    plan = replace(planned.job.plans[0], conduct=None)
    for when, found in (("planned", trial.planned), ("reported", trial.reported)):
        table = [np.array([n]) for n in counted(planned, trial.patients, when)]
        assert analyse_counts(*table, plan).estimate[0, 0] == found.estimate[0, -1]
        assert table[1][0] + table[3][0] == found.information[0, -1]
    assert trial.counts_are_reported


def test_property_a_result_that_is_not_of_the_table_is_told_from_it():
    planned, (flawless, flawed) = study("three")
    truth, job = planned.job.truths[0], planned.job
    one = slice(6, 7)
    chosen = replace(
        flawed.only(one), estimate=flawed.estimate[one] - 0.1, information=np.array([[40.0]])
    )
    both = (flawless.only(one), chosen)
    trial = flawed_trial(job, truth, planned.conduct, SEED, 7, both)
    assert not trial.counts_are_reported
    assert counted(planned, trial.patients, "reported") == counted(
        planned, replayed("three", 7).patients, "reported"
    )
    everyone = {planned.conduct: replace(flawed, estimate=flawed.estimate - 0.1)}
    (looked,) = look_into(job, [everyone], SEED, 256)
    assert not looked[planned.conduct].complete
    (plain,) = look_into(job, [{planned.conduct: flawed}], SEED, 256)
    assert np.array_equal(looked[planned.conduct].imbalance, plain[planned.conduct].imbalance)
    blank = Row(measure=Measure.RISK, value=None)
    told = list(looked[planned.conduct].rows(np.ones(256, dtype=bool), blank, ("c", "t")))
    assert [row.value for row in told if row.measure is Measure.EVENTS_PER_1000] == [None] * 3
    assert "chosen among several" in told[0].why


@pytest.mark.parametrize("name", PLANS)
def test_property_publication_of_a_replayed_trial_is_that_of_the_study(name):
    planned, (_, flawed) = study(name)
    out = planned._reported(planned.conduct, flawed, SEED).out
    for replicate in CHECKED:
        assert replayed(name, replicate).published is bool(out[replicate - 1])


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("replicate", CHECKED)
def test_property_only_the_touched_differ_and_columns_say_how(name, replicate):
    trial = replayed(name, replicate)
    seen = trial.patients
    changed = (
        (seen["arm_planned"] != seen["arm_reported"])
        | (seen["event_planned"] != seen["event_reported"])
        | (seen["analysed_planned"] & ~seen["analysed_reported"])
    )
    out_before_it_changed = ~seen["analysed_reported"]
    touched = seen["touched_by"] != ""
    assert not (changed & ~touched & ~out_before_it_changed).any()
    assert touched.any()
    for mechanism, told in trial.touched.items():
        words = set(told) - {""}
        match mechanism:
            case Mechanism.EXCLUSION:
                own = told != ""
                assert words <= {"left out"}
                assert not seen["analysed_reported"][own].any()
            case Mechanism.FORESEEN_ALLOCATION | Mechanism.AS_TREATED:
                arms = np.char.add("to ", seen["arm_reported"])
                plain = np.char.replace(told, BY_ITS_LIST, "")
                assert (plain[told != ""] == arms[told != ""]).all()
            case Mechanism.CO_INTERVENTION | Mechanism.ASSESSMENT | Mechanism.HISTORICAL_CONTROLS:
                assert words <= {"to event", "to no event"}
            case Mechanism.UNDECLARED_LOOKS:
                assert words <= {"not reached"}
            case _:
                assert words <= {"left out"}
        assert (np.char.find(seen["touched_by"], str(mechanism)) >= 0)[told != ""].all()


def test_property_who_is_elsewhere_by_the_list_alone_is_not_called_steered():
    """With a dial at 1e-300 nobody picks; what is left is another list."""
    sound = load_conduct("poor").only({Mechanism.FORESEEN_ALLOCATION})
    never = sound.at(Mechanism.FORESEEN_ALLOCATION, 1e-300)
    resolved = load_template("sepsis", settings=["protocol.sample_size={total: 60}"])
    counts = []
    for conduct in (never, sound):
        planned = plan_bias(resolved, conduct, ["or-082"])
        told = planned.replay("or-082", 1, 7).touched[Mechanism.FORESEEN_ALLOCATION]
        listed = np.char.endswith(told, BY_ITS_LIST)
        counts.append((listed.sum(), ((told != "") & ~listed).sum()))
    assert counts[0][0] > 0
    assert counts[0][1] == 0
    assert counts[1][1] > 0


def test_property_every_flaw_touches_somebody_in_some_trial():
    seen = {
        mechanism
        for replicate in CHECKED
        for mechanism, told in replayed("eight", replicate).touched.items()
        if (told != "").any()
    }
    seen |= {
        mechanism
        for replicate in CHECKED
        for mechanism, told in replayed("controls", replicate).touched.items()
        if (told != "").any()
    }
    both = set(eight_flaws().mechanisms) | set(other_controls().mechanisms)
    assert len(both) == 10
    assert seen == both - {Mechanism.PUBLICATION}


def test_property_one_flaw_alone_acts_on_the_same_patients():
    planned, (flawless, _) = study("eight")
    whole = replayed("eight", 7)
    alone = planned.replay("or-041", SEED, 7, only=Mechanism.CO_INTERVENTION)
    assert list(alone.touched) == [Mechanism.CO_INTERVENTION]
    assert alone.planned.same_as(flawless.only(slice(6, 7)))
    for name in ("severity_sd", "site", "arm_planned", "event_planned"):
        assert (alone.patients[name] == whole.patients[name]).all()
    assert alone.published is None
    with pytest.raises(RequestError, match="Its flaws are"):
        planned.replay("or-041", SEED, 7, only=Mechanism.AS_TREATED)
    with pytest.raises(RequestError, match="at least 1"):
        planned.replay("or-041", SEED, 0)


@pytest.mark.parametrize("name", PLANS)
def test_analytic_records_looked_into_are_those_of_replayed_trials_by_brute_force(name):
    planned, (_, flawed) = study(name)
    n = 257
    conduct = planned.conduct
    (looked,) = look_into(planned.job, [{conduct: flawed}], SEED, n)
    seen = looked[conduct]
    assert seen.complete
    assert len(seen.treated) == n
    for replicate in (1, 13, 256, 257):
        trial = replayed(name, replicate)
        x1, n1, x0, n0 = counted(planned, trial.patients, "reported")
        assert seen.treated[replicate - 1] == pytest.approx(1_000 * x1 / n1, rel=1e-12)
        assert seen.control[replicate - 1] == pytest.approx(1_000 * x0 / n0, rel=1e-12)
        if name in ("responses", "controls"):
            assert seen.imbalance is None
            continue
        score, own = trial.patients["prognosis_sd"], trial.patients["analysed_reported"]
        treated = trial.patients["arm_reported"] == "thymalfasin"
        apart = score[own & treated].mean() - score[own & ~treated].mean()
        assert seen.imbalance[replicate - 1] == pytest.approx(apart, abs=1e-12)
        assert trial.imbalance_reported == pytest.approx(apart, abs=1e-12)


def rows(result, measure, mechanism):
    return {r.arm: r for r in result.rows if (r.measure, r.mechanism) == (measure, mechanism)}


def test_analytic_exclusion_per_1000_and_by_prognosis():
    """Leaving out a share f of the treated events: risk p(1 - f)/(1 - f p), and who is left."""
    share = 0.5
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=share))
    resolved = load_template(
        "sepsis", settings=("protocol.sample_size={total: 600}", "nature.severity_slope=1")
    )
    result = plan_bias(resolved, conduct, ["or-082"]).result(replicates=1_024, seed=2)
    truth = {
        r.arm: r.value
        for r in result.rows
        if r.measure is Measure.EVENTS_PER_1000 and r.mechanism == "truth"
    }
    assert truth["placebo"] == pytest.approx(241)
    odds = 0.82 * 0.241 / 0.759
    p = odds / (1 + odds)
    assert truth["thymalfasin"] == pytest.approx(1_000 * p)
    found = rows(result, Measure.EVENTS_PER_1000, "exclusion")
    expected = 1_000 * p * (1 - share) / (1 - share * p)
    assert abs(found["thymalfasin"].value - expected) < 4 * found["thymalfasin"].mcse
    assert abs(found["placebo"].value - 241) < 4 * found["placebo"].mcse
    difference = found["thymalfasin"].value - found["placebo"].value
    assert found[None].value == pytest.approx(difference, abs=1e-9)
    assert found[None].n_replicates == 1_024
    (none,) = rows(result, Measure.BASELINE_IMBALANCE, "none").values()
    assert abs(none.value) < 4 * none.mcse
    # Severity is N(0, 1) and moves the log odds by 1 per SD; the event leaves with probability f.
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    intercept = brentq(lambda a: weight @ expit(a + z) - p, -9, 9)
    stays = weight * (1 - share * expit(intercept + z))
    expected = -(stays @ z) / stays.sum()
    (apart,) = rows(result, Measure.BASELINE_IMBALANCE, "exclusion").values()
    assert abs(apart.value - expected) < 4 * apart.mcse


def test_property_an_open_list_gives_the_treated_the_better_prognosis():
    flaw = ForeseenAllocation(strength=1, waiting=4, knows="next-assignment")
    conduct = Conduct(id="own", title="t", foreseen_allocation=flaw)
    planned = plan_bias(load_template("sepsis", settings=(SMALL,)), conduct, ["no-effect"])
    result = planned.result(replicates=256, seed=2)
    (apart,) = rows(result, Measure.BASELINE_IMBALANCE, "foreseen-allocation").values()
    assert apart.value > 4 * apart.mcse
    events = rows(result, Measure.EVENTS_PER_1000, "foreseen-allocation")
    assert events[None].value < -4 * events[None].mcse
    (ratio,) = rows(result, Measure.RATIO_OF_ODDS_RATIOS, "foreseen-allocation").values()
    assert log(ratio.value) < 0


def test_property_where_nothing_is_known_of_prognosis_it_is_said():
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=0.2))
    planned = plan_bias(load_template("chronic-hepatitis-b"), conduct, ["chien-1998"])
    result = planned.result(replicates=256, seed=1)
    (row,) = rows(result, Measure.BASELINE_IMBALANCE, "exclusion").values()
    assert row.value is None
    assert "prognosis" in row.why
    header, lines = table_per_1000([r.as_dict() for r in result.rows], ("untreated", "thymalfasin"))
    assert header == ("flaw", "thymalfasin", "untreated", "difference")
    assert [line[0] for line in lines] == ["the truth", "no flaw", "exclusion"]
    events = rows(result, Measure.EVENTS_PER_1000, "exclusion")
    assert all(r.value is not None and r.mcse > 0 for r in events.values())


def test_property_other_kinds_have_no_table_of_two_by_two():
    resolved = load_template("delayed-effect")
    conduct = Conduct(id="own", title="t", exclusion=Exclusion(strength=0.2))
    planned = PlannedBias(resolved, conduct, resolved.scenarios(["at-once"]))
    trial = planned.first_trial(1)
    assert trial.counts_planned is None
    assert trial.counts_are_reported
    assert (trial.touched[Mechanism.EXCLUSION] == "left out").any()
