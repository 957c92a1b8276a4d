"""Trials run on paper, held against closed forms, the shortcut, and what TESTS and ETASS took."""

from __future__ import annotations

import os
from math import sqrt
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from scipy.stats import ks_2samp

from conftest import ROOT
from stopped_trials import furthest_from_simulate, single_arm_shares
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.engine.workers import each_by_processes
from trialsim.operations.enrolment import accrual_of, draw_conduct
from trialsim.operations.plan import ConductPlan, plan_conduct
from trialsim.operations.simulation import conduct_trial
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.reading.load import load_template
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.streams import Streams
from trialsim.studies.operations.forecast import plan_forecast, rate_to_enrol_in
from trialsim.trial import Measure

MONTH = DAYS_PER_UNIT["mo"]
N_TRIALS = 2_000
# quartiles 0.43 and 2.79 patients per centre-month (walters-2017) have the ratio of a gamma
# distribution of this shape; its median is then that published, 0.92
WALTERS = "{per_site_month: 1.4954, shape: 0.77219}"

WORLDS = {
    "at once": "{recruitment: {per_site_month: 1.5}, withdrawal: {share: 0.1, by: 28 d}}",
    "unlike sites, opening late": (
        "{activation: {takes: {mean: 3 mo, cv: 0.6}, failing: 0.1}, recruitment: {per_site_month: "
        "1.5, shape: 1.2, ramp_up: 4 mo}, screening: {takes: {mean: 9 d, cv: 1}, withdrawn: 0.1}, "
        "withdrawal: {share: 0.15, by: 28 d}}"
    ),
}


def _resolved(*settings: str) -> ResolvedTemplate:
    return load_template("sepsis", settings=settings)


def _small(world: str) -> ConductPlan:
    """A trial of 120 patients at 8 sites, with one dose and no supply."""
    regimen = "{drug: thymalfasin, dose: 1.6 mg, every: 12 h, for: 12 h}"
    return plan_conduct(
        _resolved(
            "protocol.sample_size={total: 120}",
            f"protocol.arms.thymalfasin.regimen={regimen}",
            f"protocol.arms.placebo.regimen={regimen}",
            "protocol.operations={sites: {planned: 8, invited_over: 5 mo}}",
            "nature.screening_failures=0.3",
            f"nature.operations={world}",
        ).template
    )


@pytest.mark.parametrize("world", list(WORLDS))
def test_reference_event_by_event_agrees_with_the_shortcut(world):
    plan = _small(WORLDS[world])
    trials = conduct_trials(plan, n_runs=N_TRIALS, seed=21, workers=2)
    assert all(trial.full for trial in trials)
    shortcut = draw_conduct(plan.sites, plan.n_patients, Streams(22), 0, N_TRIALS)
    last = [float(trial.enrolled[-1]) for trial in trials]
    fiftieth = [float(trial.enrolled[49]) for trial in trials]
    lost = [float(sum(arm.left for arm in trial.arms)) for trial in trials]
    for one, other in (
        (np.array(fiftieth), shortcut.entry[49]),
        (np.array(last), shortcut.entry[-1]),
        (np.array(lost), shortcut.lost(28.0).astype(float)),
    ):
        assert ks_2samp(one, other).pvalue > 1e-4
        error = sqrt((one.var(ddof=1) + other.var(ddof=1)) / N_TRIALS)
        assert abs(one.mean() - other.mean()) < 4 * error


def test_reference_screened_agree_with_the_shortcut():
    plan = _small(WORLDS["unlike sites, opening late"])
    trials = conduct_trials(plan, n_runs=N_TRIALS, seed=23, workers=2)
    shortcut = draw_conduct(plan.sites, plan.n_patients, Streams(24), 0, N_TRIALS)
    one = np.array([float(trial.screened) for trial in trials])
    other = shortcut.screened.astype(float)
    error = sqrt((one.var(ddof=1) + other.var(ddof=1)) / N_TRIALS)
    assert abs(one.mean() - other.mean()) < 4 * error


def test_analytic_the_solved_rate_gives_the_time_tests_took():
    rate = rate_to_enrol_in(_resolved(), 51.8)
    assert rate == pytest.approx(1.2218, abs=2e-4)  # as the file has it
    planned = plan_forecast(_resolved())
    found = planned.forecast(runs=400, seed=3, workers=2).result.rows
    full = next(row for row in found if row.milestone == "all enrolled")
    assert abs(full.value - 51.8) < 4 * full.mcse


@pytest.mark.parametrize(
    ("total", "sites", "months", "recruitment"),
    [
        (1106, 22, 51.8, "{per_site_month: 0.92}"),
        (1106, 22, 51.8, WALTERS),
        (361, 6, 31.3, "{per_site_month: 0.92}"),
        (361, 6, 31.3, WALTERS),
    ],
)
def test_analytic_percentiles_of_observed_times_under_published_rates(
    total, sites, months, recruitment
):
    from trialsim.kernels.recruitment import probability_enrolled

    regimen = "{drug: thymalfasin, dose: 1.6 mg, every: 12 h, for: 12 h}"
    resolved = _resolved(
        f"protocol.sample_size={{total: {total}}}",
        f"protocol.arms.thymalfasin.regimen={regimen}",
        f"protocol.arms.placebo.regimen={regimen}",
        f"protocol.operations={{sites: {{planned: {sites}}}}}",
        f"nature.operations={{recruitment: {recruitment}}}",
    )
    planned = plan_forecast(resolved, observed_months=months)
    rows = planned.forecast(runs=400, seed=4, workers=2).result.rows
    row = next(row for row in rows if row.measure is Measure.PERCENTILE)
    exact = probability_enrolled(np.array([months * MONTH]), total, accrual_of(planned.plan.sites))
    print(f"{total} at {sites} sites in {months} months, {recruitment}: {row.value} +- {row.mcse}")
    error = max(row.mcse, sqrt(exact[0] * (1 - exact[0]) / 400))
    assert abs(row.value - exact[0]) < 4 * error + 1e-9


def _dies_once(flag: str) -> int:
    if not Path(flag).exists():
        Path(flag).touch()
        os._exit(1)
    return 7


def test_property_a_process_that_dies_costs_only_what_it_had(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}/validation{os.pathsep}{ROOT}")
    flags = [str(tmp_path / "one"), __file__, __file__]
    found = dict(each_by_processes(_dies_once, flags, 2))
    assert found == {0: 7, 1: 7, 2: 7}


def test_property_a_trial_of_the_size_of_tests_takes_little_time():
    plan = plan_conduct(_resolved().template)
    conduct_trial(plan, Streams(1), 0)  # what is imported and compiled on first use
    started = process_time()
    trial = conduct_trial(plan, Streams(1), 1, keep_log=True)
    assert process_time() - started < 0.6
    assert sum(arm.doses_planned for arm in trial.arms) == 14 * 1106


@pytest.mark.parametrize(
    ("template", "scenario", "settings"),
    [
        (
            "sepsis",
            "or-041",
            (
                "protocol.sample_size.total=120",
                "nature.control_risk=0.4",
                "protocol.looks=[{at: {information: 0.3333}, efficacy_z: 2.2, futility_z: 0}, {at: "
                "{enrolled: 90}, efficacy_z: 2.1, futility_z: 0.6}, {at: {information: 1}, "
                "efficacy_z: 2.0}]",
                "protocol.operations={sites: {planned: 8}}",
                "nature.operations={recruitment: {per_site_month: 2}}",
                "nature.enrolment=null",
            ),
        ),
        (
            "tests/protocols/valid/sites-enrol.yaml",
            "good",
            (
                "protocol.looks=[{at: {events: 40}, efficacy_z: 2.6, futility_z: 0.2}, {at: "
                "{events: 80}, efficacy_z: 2.2, futility_z: 0.8}, {at: {events: 120}, "
                "efficacy_z: 1.97}]",
            ),
        ),
        (
            "tests/protocols/valid/continuous-looks.yaml",
            "effect",
            ("protocol.sample_size.total=80",),
        ),
    ],
)
def test_reference_looks_stop_a_trial_on_paper_as_often_as_in_simulate(
    template, scenario, settings
):
    planned = plan_forecast(load_template(template, settings=settings), scenario)
    trials = conduct_trials(
        planned.plan,
        n_runs=N_TRIALS,
        seed=23,
        outcomes=planned.outcomes,
        rules=planned.rules,
        workers=2,
        logged=0,
    )
    assert all(trial.full for trial in trials)
    assert furthest_from_simulate(planned, trials, 20_000, seed=24) < 4


@pytest.mark.parametrize("variant", ["", "minimax"])
@pytest.mark.parametrize("scenario", ["no-effect", "twenty-percent"])
def test_analytic_two_stages_end_a_trial_on_paper_as_often_as_binomials_say(variant, scenario):
    regimen = "protocol.arms.thymalfasin.regimen={drug: thymalfasin, every: 8 wk, for: 8 wk}"
    resolved = load_template("solid-tumour-monotherapy", variant=variant, settings=[regimen])
    planned = plan_forecast(resolved, scenario)
    trials = conduct_trials(
        planned.plan,
        n_runs=N_TRIALS,
        seed=29,
        outcomes=planned.outcomes,
        rules=planned.rules,
        workers=2,
        logged=0,
    )
    for reason, share in single_arm_shares(planned, trials).items():
        print(f"{variant} {scenario} {reason}: {share.seen:.4f}, exact {share.exact:.4f}")
        assert abs(share.seen - share.exact) < 4 * share.error
