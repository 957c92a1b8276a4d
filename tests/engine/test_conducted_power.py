"""Power as conducted: who is read out, and effects in proportion to the doses taken."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from conftest import ROOT
from trialsim.analyse.binary import analyse_counts
from trialsim.engine.blocks import Job, draw_patients
from trialsim.engine.board_decisions import rules_of
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.engine.conducted_power import Analysed, power_as_conducted
from trialsim.errors import ProtocolError
from trialsim.generate.exposure import exposed_risks, with_doses_taken
from trialsim.kernels.survival import FollowUp, followed
from trialsim.operations.conducted import ArmCounts, Followed, Known
from trialsim.operations.doses import DoseCourse
from trialsim.operations.plan import ArmPlan
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.truths.site_enrolment import EVERYONE_READ_OUT, LEFT_OUT
from trialsim.streams import Streams
from trialsim.studies.estimands import plans_of
from trialsim.studies.operations.forecast import (
    ALL_ENROLLED,
    AT_ONCE,
    BY_EVENTS,
    LOST,
    SCREENED,
    plan_forecast,
)
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

VALID = ROOT / "tests" / "protocols" / "valid"
SHARE = 0.4
ENROLMENT = "nature.enrolment={uniform: 6 mo}"
CURED = "nature.survival={median: 12 mo, cure_fraction: 0.3}"
KINDS = {  # file, where the effect stands, the whole one and 0.4 of it
    "mean": ("means-primary", "outcomes.score.mean_difference", -1.5, -0.6, ()),
    "mean of logarithms": (
        "log-means-primary",
        "outcomes.OWN.ratio_of_geometric_means",
        0.6,
        0.6**SHARE,
        (),
    ),
    "ordered": ("ordinal-primary", "outcomes.state.odds_ratio", 1.8, 1.8**SHARE, ()),
    "days alive": ("days-alive-primary", "outcomes.days.odds_ratio", 1.6, 1.6**SHARE, ()),
    "count": ("counts-primary", "outcomes.infections.rate_ratio", 0.7, 0.7**SHARE, ()),
    "time": ("sites-enrol", "survival.hazard_ratio", 0.7, 0.7**SHARE, (ENROLMENT,)),
}


def drawn(kind: str, effect: float, settings: tuple[str, ...] = ()):
    """Truth, endpoint, candidates and one block of outcomes under an effect."""
    name, where, _, _, own = KINDS[kind]
    scenario = "good" if kind == "time" else "effect"
    primary = load_template(str(VALID / f"{name}.yaml")).template.protocol.primary.id
    where = where.replace("OWN", primary)
    sets = [*own, *settings, f"scenarios.{scenario}.{where}={effect!r}"]
    resolved = load_template(str(VALID / f"{name}.yaml"), settings=sets)
    truth = resolved.truth(resolved.scenarios([scenario])[0])
    job = Job(resolved.template.protocol, (plans_of(resolved)[0],), (truth,))
    candidates, (batches,) = draw_patients(job, 3, 0, frozenset())
    return truth, primary, candidates, batches[primary]


def what_happens(batch):
    if isinstance(batch, FollowUp):
        return followed(batch)[0]
    return next(getattr(batch, n) for n in ("visits", "category", "count") if hasattr(batch, n))


@pytest.mark.parametrize("kind", KINDS)
def test_analytic_a_share_of_the_doses_is_a_truth_with_that_share_of_the_effect(kind):
    whole, part = KINDS[kind][2:4]
    truth, primary, candidates, batch = drawn(kind, whole)
    share = np.full((len(candidates.strata), 1), SHARE)
    found = what_happens(with_doses_taken(batch, truth, primary, share, candidates))
    expected = what_happens(drawn(kind, part)[3])
    assert np.nanmax(np.abs(found - expected)) < 1e-9 * max(1.0, np.nanmax(np.abs(expected)))
    assert (found != what_happens(batch)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_analytic_every_dose_changes_nothing_to_the_last_bit_and_none_is_no_effect(kind):
    truth, primary, candidates, batch = drawn(kind, KINDS[kind][2])
    ones = np.ones((len(candidates.strata), 1))
    same = what_happens(with_doses_taken(batch, truth, primary, ones, candidates))
    assert np.array_equal(same, what_happens(batch), equal_nan=True)
    none = what_happens(with_doses_taken(batch, truth, primary, 0 * ones, candidates))
    without = what_happens(drawn(kind, 0.0 if kind == "mean" else 1.0)[3])
    assert np.nanmax(np.abs(none - without)) < 1e-9 * max(1.0, np.nanmax(np.abs(without)))


def test_analytic_a_share_of_who_can_have_the_event_where_some_never_do():
    whole, part = (drawn("time", ratio, (CURED,)) for ratio in (0.7, 0.7**SHARE))
    truth, primary, candidates, batch = whole
    share = np.full((len(candidates.strata), 1), SHARE)
    found = followed(with_doses_taken(batch, truth, primary, share))[0]
    expected = followed(part[3])[0]
    assert found == pytest.approx(expected, rel=1e-6)


def test_analytic_a_mean_that_differs_between_patients_keeps_each_share_of_the_own_effect():
    settings = (
        "nature.factors=[{id: age, levels: [{id: old, share: 0.5}, {id: young, share: 0.5}]}]",
        "scenarios.effect.modifiers=[{factor: age, difference_of_effects: {old: -1}}]",
    )
    truth, primary, candidates, batch = drawn("mean", -1.5, settings)
    nobody = np.zeros((len(candidates.strata), 1))
    found = with_doses_taken(batch, truth, primary, nobody, candidates)
    without = drawn("mean", 0.0)[3]
    assert found.visits == pytest.approx(without.visits, nan_ok=True)


def test_analytic_risks_lie_between_on_the_scale_of_log_odds():
    resolved = load_template("sepsis")
    truth = resolved.truth(resolved.scenarios(["or-041"])[0])
    risks = exposed_risks(truth, np.array([0.0, 0.5, 1.0]))
    odds = risks / (1 - risks)
    assert odds[1] ** 2 == pytest.approx(odds[0] * odds[2])
    assert risks[[0, 2]] == pytest.approx([truth.control_risk, truth.treated_risk])


def like(n: int, exposure: float = 1.0, comes: np.ndarray | None = None) -> SimpleNamespace:
    """A trial of `n` patients, assigned in turn, of whom nobody leaves."""
    comes = np.ones(n, dtype=bool) if comes is None else comes
    never, strata = np.full(n, inf), np.zeros(n, dtype=np.int64)
    return SimpleNamespace(
        enrolled=np.arange(float(n)),
        in_first_arm=np.arange(n) % 2 == 0,
        exposure_alive=np.full(n, exposure),
        followed=Followed(never, np.full(n, 1.0), comes, strata),
    )


@pytest.mark.parametrize("kind", ["mean", "ordered", "count"])
def test_analytic_without_a_dose_the_effect_is_found_as_often_as_the_level_says(kind):
    resolved = load_template(str(VALID / f"{KINDS[kind][0]}.yaml"))
    truth = resolved.truth(resolved.scenarios(["effect"])[0])
    protocol, plan = resolved.template.protocol, plans_of(resolved)[0]
    trials = [like(protocol.n_total, exposure=0.0)] * 40
    found = power_as_conducted(trials, protocol, truth, plan, Streams(4), exposed=True)
    level = found[Analysed.EVERYONE_DOSED]
    assert abs(level.mean() - 0.05) < 4 * level.std(ddof=1) / np.sqrt(40)
    assert found[Analysed.EVERYONE].mean() > 0.3


def test_analytic_of_those_read_out_alone_power_is_that_of_fewer_patients():
    n = 60  # an arm, of whom half are read out; by enumeration
    event = "protocol.endpoints.mortality-28d.event=response"
    settings = (f"protocol.sample_size={{total: {2 * n}}}", event)
    resolved = load_template("sepsis", settings=settings)
    truth = resolved.truth(resolved.scenarios(["or-041"])[0])
    protocol, plan = resolved.template.protocol, plans_of(resolved)[0]
    trials = [like(2 * n, comes=np.arange(2 * n) < n)] * 60
    found = power_as_conducted(trials, protocol, truth, plan, Streams(2), exposed=False)
    assert set(found) == {Analysed.EVERYONE, Analysed.READ_OUT}
    for half, who in ((n, Analysed.EVERYONE), (n // 2, Analysed.READ_OUT)):
        x = np.arange(half + 1)
        one, other = (a.ravel() for a in np.meshgrid(x, x))
        sizes = np.full(len(one), half)
        rejected = analyse_counts(one, sizes, other, sizes, plan).rejected[:, 0]
        weights = binom.pmf(one, half, truth.treated_risk)
        exact = float((rejected * weights * binom.pmf(other, half, truth.control_risk)).sum())
        seen = found[who]
        assert abs(seen.mean() - exact) < 4 * seen.std(ddof=1) / np.sqrt(60)


def test_analytic_who_is_read_out_by_hand():
    leaves, day = np.array([5.0, 3.0, inf, 30.0, 20.0]), np.full(5, 28.0)
    comes = np.array([True, True, False, True, True])
    found = Followed(leaves, day, comes, np.zeros(5, dtype=np.int64))
    never, early = np.full((5, 1), inf), np.full((5, 1), 4.0)
    assert found.read_out(never)[:, 0].tolist() == [False, False, False, True, False]
    assert found.read_out(early)[:, 0].tolist() == [True, False, True, True, True]


def test_property_who_is_read_out_is_who_the_log_reads_out():
    settings = [
        "protocol.sample_size={total: 60}",
        "nature.operations.withdrawal={share: 0.3, by: 28 d}",
        "nature.operations.visits_missed=0.3",
    ]
    planned = plan_forecast(load_template(str(VALID / "forecast.yaml"), settings=settings))
    trials = conduct_trials(planned.plan, n_runs=4, seed=2, outcomes=planned.outcomes, logged=0)
    for run, trial in enumerate(trials):
        drawn = planned.outcomes.drawn(planned.plan.n_patients, Streams(2), run)
        dies = np.where(trial.in_first_arm, *(np.array(days) for days in drawn.event_days))
        seen = trial.followed.read_out(dies[:, None])[:, 0]
        arms = [seen[trial.in_first_arm].sum(), seen[~trial.in_first_arm].sum()]
        assert arms == [arm.read_out for arm in trial.arms]
        assert 0 < seen.sum() < 60


def test_analytic_doses_due_by_a_day_by_hand():
    course = DoseCourse(ArmPlan("drug", (0.0, 7.0, 14.0, 21.0), (1.0,) * 4), ArmCounts())
    assert course.exposure_by(0.0) == 1.0  # none was due
    course.give(0)
    assert [course.exposure_by(day) for day in (0.0, 7.0, 8.0, 15.0, 99.0)] == [
        1, 1, 1 / 2, 1 / 3, 1 / 4,
    ]  # fmt: skip
    assert course.exposure_alive == 1 / 4
    course.not_given("missed")
    course.close()  # the trial is over before the last two
    assert course.exposure_alive == 1 / 2
    assert course.exposure == 1 / 4


@pytest.mark.parametrize("name", ["continuous-looks", "sites-enrol"])
def test_analytic_a_look_at_patients_without_a_dose_sees_no_effect(name):
    """The z of a look is that under no effect, and without exposure another one."""
    resolved = load_template(str(VALID / f"{name}.yaml"))
    protocol, plan = resolved.template.protocol, plans_of(resolved)[0]
    none, effect = (resolved.truth(scenario) for scenario in resolved.scenarios()[:2])
    n = protocol.n_total
    known = Known(
        0, 900.0, np.linspace(0, 500, n), np.arange(n) % 2 == 0, np.ones(n, dtype=bool),
        np.full(n, inf), np.zeros(n, dtype=np.int64), np.zeros(n),
    )  # fmt: skip

    def z(truth, *, exposed):
        rules = rules_of(protocol, truth, plan, exposed=exposed)
        return rules.judge_of(n, Streams(1), 0)(known).z

    assert z(effect, exposed=True) == pytest.approx(z(none, exposed=False))
    assert abs(z(effect, exposed=False) - z(none, exposed=False)) > 0.5


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("response", (), "two courses of response are many hazards"),
        ("competing-primary", (), "of two that compete, a share of each is unclear"),
        ("single-arm", (), "is for two arms: a single one shows no effect"),
        (
            "sites-enrol",
            (
                "scenarios.good.survival=null",
                "scenarios.good.survival={treated: {median: 20 mo}}",
            ),
            "is for one hazard ratio at all times",
        ),
        (
            "sites-enrol",
            (
                "nature.factors=[{id: age, levels: [{id: old, share: 0.5}, "
                "{id: young, share: 0.5}]}]",
                "scenarios.good.modifiers=[{factor: age, ratio_of_effects: {old: 1.2}}]",
            ),
            "is for one hazard ratio in everyone, not beside 'modifiers' of it",
        ),
    ],
)
def test_regression_what_has_no_share_of_an_effect_is_refused(file, settings, message):
    path = str(VALID / f"{file}.yaml")
    last = load_template(path, settings=settings).template.scenarios[-1].id
    exposed = (*settings, f"scenarios.{last}.exposure=proportional")
    with pytest.raises(ProtocolError, match=message):
        load_template(path, settings=exposed)


def test_regression_the_record_says_that_everyone_is_analysed_where_some_leave():
    def left_out(name, *settings):
        record = plan_simulation(load_template(name, settings=settings)).record(1)
        return record.as_dict().get("left_out")

    assert left_out("sepsis") == [EVERYONE_READ_OUT]
    assert left_out("sepsis", "nature.operations.withdrawal=null") is None
    assert left_out("chronic-hepatitis-b") is None  # its courses of response have them
    assert left_out(str(VALID / "sites-enrol.yaml")) == list(LEFT_OUT)


def test_property_a_forecast_tells_power_and_the_shortcut_with_errors_and_counts():
    path = str(VALID / "sites-and-a-risk.yaml")
    planned = plan_forecast(load_template(path))
    found = planned.forecast(runs=30, seed=2)
    rows = found.result.rows
    power = {r.analysis: r for r in rows if r.measure is Measure.POWER}
    assert list(power) == [Analysed.EVERYONE, Analysed.READ_OUT]
    assert all(r.mcse > 0 and r.n_replicates == 30 for r in power.values())
    (lost,) = (r for r in rows if r.measure is Measure.POWER_LOST)
    assert lost.value == pytest.approx(
        power[Analysed.EVERYONE].value - power[Analysed.READ_OUT].value
    )
    both = {(r.category, r.analysis): r for r in rows if r.measure is Measure.SHORTCUT}
    for category in (ALL_ENROLLED, SCREENED, LOST):
        fast, slow = both[category, AT_ONCE], both[category, BY_EVENTS]
        assert (fast.n_replicates, slow.n_replicates) == (1024, 30)
        assert abs(fast.value - slow.value) < 4 * np.hypot(fast.mcse, slow.mcse)
    leaving = planned.plan.leaving.survival(planned.analysis.day)
    expected = planned.plan.n_patients * (1 - leaving)
    fast = both[LOST, AT_ONCE]
    assert abs(fast.value - expected) < 4 * fast.mcse


def test_property_kits_that_run_out_show_in_exposure_and_in_the_chance_to_find_the_effect():
    regimen = "{drug: drug, dose: 1 mg, every: 1 wk, for: 12 wk}"
    supply = (
        "{doses_per_kit: 1, kits_at_opening: 200, reorder_at: 100, order_up_to: 200, "
        "kits_at_start: KITS, without_kit: skip}"
    )

    def told(kits):
        settings = [
            f"protocol.arms.drug.regimen={regimen}",
            f"protocol.operations={{supply: {supply.replace('KITS', str(kits))}}}",
            "protocol.sample_size={total: 120}",
            "nature.operations={recruitment: {per_site_month: 3}}",
            "scenarios.effect.outcomes.score.mean_difference=-3",
            "scenarios.effect.exposure=proportional",
        ]
        path = str(VALID / "means-primary.yaml")
        found = plan_forecast(load_template(path, settings=settings), "effect")
        rows = found.forecast(runs=12, seed=6).result.rows
        exposure = next(r for r in rows if r.measure is Measure.EXPOSURE and r.arm == "drug")
        return exposure.value, {r.analysis: r for r in rows if r.measure is Measure.POWER}

    full, power = told(4000)
    assert full == 1.0
    assert power[Analysed.EVERYONE_DOSED].value == power[Analysed.EVERYONE].value > 0.5
    starved, power = told(300)  # for 720 doses
    assert 0.1 < starved <= 300 / 720
    lost = power[Analysed.EVERYONE].value - power[Analysed.EVERYONE_DOSED].value
    assert lost > 0.3
    none, power = told(1)
    assert none < 0.01
    assert (
        abs(power[Analysed.EVERYONE_DOSED].value - 0.05) < 4 * power[Analysed.EVERYONE_DOSED].mcse
    )
