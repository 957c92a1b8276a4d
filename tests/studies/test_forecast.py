"""`trialsim forecast`: its numbers, its words, its files."""

from __future__ import annotations

import csv
import json
import shlex
from html import unescape
from math import sqrt
from re import search
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from conftest import ROOT
from operations.log_reader import TrialToldAgain, counted, read_log
from trialsim import errors
from trialsim.analyse.binary import analyse_counts
from trialsim.cli import main
from trialsim.engine.conducted_power import Analysed, power_as_conducted
from trialsim.engine.outcome_days import outcome_days_of
from trialsim.errors import RequestError, SimulationError
from trialsim.figures.forecast import forecast_figures
from trialsim.operations.conducted import Followed
from trialsim.operations.event_log import MILESTONES, What
from trialsim.protocol.reading.load import load_template
from trialsim.report.screens.forecast_screen import forecast_screen, number_with_error
from trialsim.streams import Streams
from trialsim.studies.estimands import plans_of
from trialsim.studies.operations.forecast import plan_forecast, rate_to_enrol_in
from trialsim.trial import Measure, Row

HEPATITIS = "chronic-hepatitis-b"


@pytest.fixture(scope="module")
def forecast():
    return plan_forecast(load_template(HEPATITIS)).forecast(runs=6, seed=5)


def row(forecast, measure, **about):
    (found,) = (
        r
        for r in forecast.result.rows
        if r.measure is measure and all(getattr(r, k) == v for k, v in about.items())
    )
    return found


def test_analytic_costs_are_prices_times_what_was_counted(forecast):
    def costs(category):
        return row(forecast, Measure.COST, category=category).value

    taken = row(forecast, Measure.DOSES, category="taken", arm="thymalfasin").value
    opened = row(forecast, Measure.DOSES, category="left in opened kits", arm="thymalfasin").value
    kits = {r.category: r.value for r in forecast.result.rows if r.measure is Measure.KITS}
    wasted = 8 * (kits["made"] - kits["dispensed"])
    assert costs("start-up") == 8 * 5000
    assert costs("patients") == 64 * 3000
    assert costs("looks") == 8000
    assert costs("doses") == pytest.approx(30 * (taken + opened + wasted))
    lock = row(forecast, Measure.MILESTONE_MONTHS, milestone="database lock").value
    first = row(forecast, Measure.MILESTONE_MONTHS, milestone="first patient randomised").value
    assert costs("coordination") == pytest.approx(6000 * (lock - first))
    parts = [r for r in forecast.result.rows if r.measure is Measure.COST]
    assert parts[-1].category == "total"
    assert parts[-1].value == pytest.approx(sum(r.value for r in parts[:-1]))


def test_property_every_mean_has_its_error_and_its_trials(forecast):
    for each in forecast.result.rows:
        assert each.n_replicates == 6
        assert each.mcse is not None or each.value is None
    kits = {r.category: r.value for r in forecast.result.rows if r.measure is Measure.KITS}
    assert kits.pop("made") == pytest.approx(sum(kits.values()))
    assert counted(forecast.log)[What.RANDOMISED] == 64


def test_property_any_trial_can_be_run_again_with_its_log(forecast):
    planned = plan_forecast(load_template(HEPATITIS))
    assert planned.log_of(1, 5) == forecast.log
    seen = counted(planned.log_of(4, 5))
    line = forecast.trials[3]
    assert seen[What.SCREENED] == line["screened"]
    assert seen[What.VISIT] > 0
    assert seen[What.KIT_DISPENSED] == line["dispensed"]
    given = seen[What.DOSE_GIVEN] + seen[What.DOSE_LATE]
    assert given == line["thymalfasin: doses_taken"]
    assert seen[What.LEFT] == line["thymalfasin: left"] + line["untreated: left"]


SHORT = {
    "none": ("kits_at_start: 20, produced: {every: 12 mo, kits: 10}", ()),
    "expired": ("kits_at_start: 3000, expires: 4 mo", ()),
    "on the way": (
        "kits_at_start: 3000",
        ("nature.operations.shipping={takes: {mean: 6 mo, cv: 0.1}}",),
    ),
}
SAID = {
    "none": ("the depot had none", "raise 'kits_at_start' or 'produced'."),
    "expired": ("kits had expired", "let 'expires' be longer, or make fewer kits more often"),
    "on the way": ("kits were on their way", "raise 'reorder_at' and 'order_up_to'"),
}


@pytest.mark.parametrize("cause", SHORT)
def test_property_why_doses_find_no_kit_is_told_with_what_would_help(cause):
    supply, more = SHORT[cause]
    others = "doses_per_kit: 8, kits_at_opening: 4, reorder_at: 3, order_up_to: 8"
    settings = [f"protocol.operations.supply={{{others}, {supply}}}", *more]
    planned = plan_forecast(load_template(HEPATITIS, settings=settings))
    found = planned.forecast(runs=2, seed=5)
    told = " ".join(forecast_screen(planned, found.result, 5).split())
    why, remedy = SAID[cause]
    whole, *parts = (r for r in found.result.rows if r.measure is Measure.STOCK_OUTS)
    assert whole.value == pytest.approx(sum(part.value for part in parts))
    assert max(parts, key=lambda part: part.value).category == why
    assert f"as {why}" in told
    assert f"That is more than 1% of those planned: {remedy}" in told
    for other in set(SAID) - {cause}:
        assert SAID[other][1] not in told


def test_property_no_kit_is_missed_where_nobody_waits_for_one():
    supply = "doses_per_kit: 8, kits_at_opening: 400, reorder_at: 3, order_up_to: 8"
    settings = [f"protocol.operations.supply={{{supply}, kits_at_start: 9000}}"]
    planned = plan_forecast(load_template(HEPATITIS, settings=settings))
    found = planned.forecast(runs=2, seed=5)
    (outs,) = (r for r in found.result.rows if r.measure is Measure.STOCK_OUTS)
    assert outs.value == 0
    told = " ".join(forecast_screen(planned, found.result, 5).split())
    assert " 0.0 doses find no kit." in told


def test_regression_the_answer_has_errors_and_a_single_analysis_its_own_name(forecast):
    planned = plan_forecast(load_template(HEPATITIS))
    screen = forecast_screen(planned, forecast.result, 5)
    answer = " ".join(screen.split("\n\n")[1].split())
    lock = row(forecast, Measure.MILESTONE_MONTHS, milestone="database lock")
    full = row(forecast, Measure.MILESTONE_MONTHS, milestone="all enrolled")
    assert f"it takes {lock.value:.1f} +-{lock.mcse:.1f} months" in answer
    assert f"enrolment ends after {full.value:.1f} +-{full.mcse:.1f}" in answer
    assert "The final analysis\nmonth" in screen
    assert "monitoring board" not in screen
    assert "No look comes before the final analysis: no trial stops early." in screen
    assert max(map(len, screen.splitlines())) <= 80


def test_analytic_milestones_of_a_trial_are_days_of_its_log(forecast):
    def months(*kinds):
        return [e.day / 30.4375 for e in forecast.log if e.what in kinds]

    line = forecast.trials[0]
    entered = months(What.RANDOMISED)
    expected = {"first patient randomised": 0, "25% enrolled": 15, "50% enrolled": 31,
                "75% enrolled": 47, "all enrolled": 63}  # fmt: skip
    for name, index in expected.items():
        assert line[f"{name} (months)"] == pytest.approx(entered[index])
    assert line["first site open (months)"] == pytest.approx(months(What.SITE_OPENED)[0])
    assert line["final analysis (months)"] == pytest.approx(months(What.LOOK)[0])
    for milestone in MILESTONES:  # in the same words, once each
        (month,) = months(milestone)
        assert line[f"{milestone} (months)"] == pytest.approx(month)
    days = [entry.day for entry in forecast.log]
    assert days == sorted(days)
    ended = months(What.FOLLOWED, What.LEFT)
    assert line["last visit (months)"] == pytest.approx(max(ended))
    assert line["database lock (months)"] >= max(line["last visit (months)"], months(What.LOOK)[0])


def test_analytic_rows_are_means_errors_and_percentiles_of_the_trials(forecast):
    def check(found, values):
        assert found.value == pytest.approx(values.mean())
        assert found.mcse == pytest.approx(values.std(ddof=1) / sqrt(6))
        assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(values, (0.05, 0.95))))

    def column(name):
        return np.array([trial[name] for trial in forecast.trials])

    for name in ("first patient randomised", "50% enrolled", "database lock", "final analysis"):
        found = row(forecast, Measure.MILESTONE_MONTHS, milestone=name)
        check(found, column(f"{name} (months)"))
    lasts = column("database lock (months)") - column("first patient randomised (months)")
    check(row(forecast, Measure.DURATION_MONTHS), lasts)
    for name, words in (
        ("expired", "expired"),
        ("in_transit", "on their way at the end"),
        ("in_depots", "in depots at the end"),
        ("at_sites", "at sites at the end"),
    ):
        check(row(forecast, Measure.KITS, category=words), column(name))


def test_property_some_trials_never_fill_and_doses_after_death_were_planned():
    settings = [
        "protocol.sample_size.total=30",
        "protocol.operations={sites: {planned: 2}}",
        "nature.operations={activation: {failing: 0.6}, recruitment: {per_site_month: 9}}",
        "nature.control_risk=0.9",
    ]
    found = plan_forecast(load_template("sepsis", settings=settings)).forecast(runs=20, seed=1)
    full = np.array([trial["full"] for trial in found.trials])
    assert 0 < full.sum() < 20
    assert row(found, Measure.NOT_ENROLLED).value == pytest.approx(1 - full.mean())
    for arm in ("thymalfasin", "placebo"):
        shares = [t[f"{arm}: doses_taken"] / t[f"{arm}: doses_planned"] for t in found.trials
                  if t["full"]]  # fmt: skip
        assert row(found, Measure.EXPOSURE, arm=arm).value == pytest.approx(np.mean(shares))
        assert row(found, Measure.EXPOSURE, arm=arm).n_failed == 20 - full.sum()


def test_property_a_rate_that_is_not_stated_is_solved_from_enrolment():
    resolved = load_template("nsclc-adjuvant")
    planned = plan_forecast(resolved)
    months = resolved.template.nature.enrolment.last_day / 30.4375
    assert planned.plan.sites.per_day * 30.4375 == pytest.approx(rate_to_enrol_in(resolved, months))
    (rate,) = (each for each in planned.stated if each.what.startswith("patients per open site"))
    assert rate.source == "solved from nature.enrolment"


def test_property_milestones_come_one_after_another(forecast):
    names = ("first site open", "first patient randomised", "25% enrolled", "50% enrolled",
             "75% enrolled", "all enrolled", "final analysis", "last visit",
             "database lock")  # fmt: skip
    months = [row(forecast, Measure.MILESTONE_MONTHS, milestone=name).value for name in names]
    assert months == sorted(months)


def test_property_figures_tell_their_numbers_in_words(forecast):
    figures = forecast_figures(forecast.result)
    assert list(figures) == ["recruitment", "milestones", "consort", "supply", "cost"]
    lock = row(forecast, Measure.MILESTONE_MONTHS, milestone="database lock")
    assert f"{lock.value:.1f} +-{lock.mcse:.1f} months" in figures["milestones"][1]
    assert "64.0" in figures["consort"][1]
    total = row(forecast, Measure.COST, category="total").value
    assert f"{total:,.0f}" in figures["cost"][1]


def test_analytic_a_risk_by_a_day_comes_as_often_by_then():
    resolved = load_template("sepsis")
    truth = resolved.truth(resolved.scenarios(["or-041"])[0])
    model = outcome_days_of(resolved.template.protocol, truth)
    assert model.fatal
    n = 20_000
    found = model.drawn(n, Streams(6), 0)
    for days, risk in zip(found.event_days, (truth.treated_risk, truth.control_risk), strict=True):
        share = (np.array(days) <= 28).mean()
        assert abs(share - risk) < 4 * sqrt(risk * (1 - risk) / n)
    assert all(t >= c for t, c in zip(*found.event_days, strict=True))  # the same luck


def test_analytic_power_at_half_the_doses_is_that_of_half_the_log_effect():
    n, n_trials = 60, 80
    resolved = load_template("sepsis", settings=[f"protocol.sample_size={{total: {2 * n}}}"])
    truth = resolved.truth(resolved.scenarios(["or-041"])[0])
    plan = plans_of(resolved)[0]
    treated = np.arange(2 * n) < n
    trial = SimpleNamespace(
        enrolled=np.arange(2.0 * n), in_first_arm=treated, exposure_alive=np.full(2 * n, 0.5)
    )
    everybody = np.full(2 * n, np.inf), np.full(2 * n, 28.0), np.ones(2 * n, dtype=bool)
    trial.followed = Followed(*everybody, np.zeros(2 * n, dtype=np.int64))
    protocol, streams = resolved.template.protocol, Streams(2)
    found = power_as_conducted([trial] * n_trials, protocol, truth, plan, streams, exposed=True)
    halved = expit((logit(truth.treated_risk) + logit(truth.control_risk)) / 2)
    x = np.arange(n + 1)
    one, other = (a.ravel() for a in np.meshgrid(x, x))
    sizes = np.full(len(one), n)
    rejected = analyse_counts(one, sizes, other, sizes, plan).rejected[:, 0]
    weights = binom.pmf(other, n, truth.control_risk)
    for risk, who in ((truth.treated_risk, Analysed.EVERYONE), (halved, Analysed.EVERYONE_DOSED)):
        seen = found[who]
        exact = float((rejected * weights * binom.pmf(one, n, risk)).sum())
        assert abs(seen.mean() - exact) < 4 * seen.std(ddof=1) / sqrt(n_trials)
    assert (found[Analysed.READ_OUT] == found[Analysed.EVERYONE]).all()
    assert (found[Analysed.READ_OUT_DOSED] == found[Analysed.EVERYONE_DOSED]).all()


def test_analytic_a_rate_is_solved_from_the_time_enrolment_takes():
    resolved = load_template(
        "sepsis",
        settings=[
            "protocol.operations={sites: {planned: 20}}",
            "nature.operations={recruitment: {per_site_month: 1}}",
        ],
    )
    assert rate_to_enrol_in(resolved, 50.0) == pytest.approx(1106 / 20 / 50)


def test_regression_the_command_answers_first_and_keeps_its_log(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["forecast", "sepsis", "--runs", "2", "--sites", "40", "--enrol-in", "30 mo"]
    words += ["--observed-enrolment", "52 mo", "--set", "scenarios.or-082.exposure=proportional"]
    words += ["--set", "protocol.sample_size={total: 120}", "--out", "run", "--seed", "3"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "120 patients at 40 sites; 2 simulated trials, event by event, seed 3" in shown
    flat = " ".join(shown.split())
    answer = flat.index("From the first invitation to the database lock it takes")
    assert answer < flat.index("Months since the first invitation milestone")
    assert "of trials enrol faster than the one observed: 52 months." in flat
    assert "with everyone read out, as 'simulate' counts" in flat
    assert "with only those read out and the doses taken" in flat
    assert "The shortcut that power uses where days of entry matter: drawn at once" in flat
    assert "Assumed: invited over 12 mo;" in flat
    (log,) = (tmp_path / "run" / "results").glob("forecast-events-*.csv")
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "day,site,patient,what,detail,number"
    told = TrialToldAgain()
    for entry in read_log(log):
        told.tell(entry)
    assert len(told.arms) == 120
    (table,) = (tmp_path / "run" / "results").glob("forecast-trials-*.csv")
    with table.open(encoding="utf-8") as stream:
        trials = list(csv.DictReader(stream))
    assert [trial["trial"] for trial in trials] == ["1", "2"]
    assert {trial["randomised"] for trial in trials} == {"120"}
    document = json.loads((tmp_path / "run" / "results" / "forecast.json").read_text())
    assert document["command"] == "forecast"
    assert {"power", "power_lost", "percentile"} <= {r["measure"] for r in document["rows"]}
    assert main(["report", "run", "--out", "out.html"]) == 0
    report = unescape((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert "The trial on paper" in report
    again = report.split("Repeat with: trialsim ")[1].split("</p>")[0]
    assert main([*shlex.split(again), "--out", "again"]) == 0
    repeated = json.loads((tmp_path / "again" / "results" / "forecast.json").read_text())
    assert repeated["rows"] == document["rows"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sites", "0"), "protocol.operations.sites.planned must be at least 1; got 0"),
        (("--enrol-in", "soon"), "--enrol-in is not a length of time; got 'soon'"),
        (("--enrol-in", "2 mo"), "asks more than 10,000 patients a month of every open site"),
        (("--enrol-in", "1 d"), "activation, pauses and screening are longer than that"),
        (("--scenario", "or-083"), "Did you mean 'or-082'?"),
        (("--set", "nature.operations.recruitment.per_site_month=-1"), "must be above 0; got -1"),
        (("--set", "nature.operations.recruitment.per_site_month=0.01"), "would take"),
        (("--log", "0"), "--log must be from 1 to 2, the number of a simulated trial; got 0."),
        (("--log", "3"), "Leave it out for the first trial, or ask for --runs 3 or more."),
        (("--log", "2", "--runs", "1"), "--log must be 1; got 2."),
        (("--runs", "5000"), "more than 5,000,000 are not simulated; got 5,000. Ask for --runs 45"),
        (
            ("--set", "nature.screening_failures=0.9999999"),
            "2. Let more come through (nature.screening_failures, or screening.withdrawn).",
        ),
        (
            ("--sites", "1", "--set", "nature.operations.recruitment.per_site_month=0.01"),
            "to enrol 1,106 patients; got 1 site. Plan more sites",
        ),
    ],
)
def test_regression_what_cannot_be_forecast_says_why(words, message, capsys):
    assert main(["forecast", "sepsis", "--runs", "2", "--json", *words]) == 2
    told = capsys.readouterr()
    errors = json.loads(told.out)["errors"]
    said = f"{errors[0]['field']} {errors[0]['rule']}; got {errors[0]['value']}. "
    assert message in said + errors[0]["remedy"]


def test_regression_sites_are_stated_once(capsys):
    words = ["--set", "cost.sites=9", "--runs", "2"]
    assert main(["forecast", HEPATITIS, *words]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "cost.sites must be the 8 of protocol.operations.sites.planned; got 9" in told


def test_regression_what_a_forecast_rests_on_is_what_it_simulates():
    def leaving(template, *settings):
        planned = plan_forecast(load_template(template, settings=settings))
        assert planned.plan.leaving
        (found,) = (each for each in planned.stated if each.what == "leaving the trial")
        assert not found.at_rest
        return found

    assert leaving("nsclc-adjuvant").value == "0.05 per year"  # nature.dropout
    assert leaving("sepsis").source == "ta1-attrition"
    response = str(ROOT / "tests" / "protocols" / "valid" / "response.yaml")
    assert "per year" in leaving(response).value
    planned = plan_forecast(load_template(response))
    (missed,) = (each for each in planned.stated if each.what == "visits missed")
    assert missed.value == f"{100 * planned.plan.missed_visits:g}%" != "0%"


@pytest.mark.parametrize(
    ("event", "fatal"),
    [
        ("death from any cause", True),
        ("mortality", True),
        ("death at home or mortality in hospital", True),
        ("progression or death", False),
        ("death, transplantation", False),
        ("cure", False),
    ],
)
def test_regression_only_death_is_counted_as_death(event, fatal):
    resolved = load_template("sepsis", settings=[f"protocol.endpoints.mortality-28d.event={event}"])
    planned = plan_forecast(resolved)
    assert planned.deaths is fatal
    found = planned.forecast(runs=1, seed=1)
    assert any(r.category == "died" for r in found.result.rows) is fatal
    told = " ".join(forecast_screen(planned, found.result, 1).split())
    assert ("deaths are not simulated" in told) is (event == "cure")
    assert ("are deaths is not stated" in told) is (not fatal and event != "cure")


def test_regression_a_small_error_is_no_zero_and_rounding_is_no_error():
    def shown(value, mcse):
        return number_with_error(Row(measure=Measure.PATIENTS, value=value, mcse=mcse))

    assert shown(1107.3, 0.04) == "1,107 +-0.04"
    assert shown(1107.3, 12.4) == "1,107 +-12"
    assert shown(7.7, 0.04) == "7.7 +-0.04"
    assert shown(11648.0, 2e-12) == "11,648"


def test_regression_a_trial_that_never_fills_says_when_it_was_expected_to():
    settings = ["nature.operations.recruitment.shape=0.0001", "protocol.sample_size.total=30"]
    planned = plan_forecast(load_template("sepsis", settings=settings))
    with pytest.raises(SimulationError, match=r"in any of 2 .* expected after [0-9.]+ months"):
        planned.forecast(runs=2, seed=1)


def test_property_as_many_runs_as_the_remedy_says_are_not_too_many():
    settings = ["nature.screening_failures=0.999", "protocol.sample_size={total: 60}"]
    planned = plan_forecast(load_template("sepsis", settings=settings))
    with pytest.raises(RequestError) as refused:
        planned.forecast(runs=200, seed=1)  # at once: nobody is screened
    (problem,) = refused.value.problems
    assert "would screen about 12,000,000 patients, 60,000 in each trial" in problem.rule
    fine = int(problem.remedy.split("--runs ")[1].split(",")[0])
    planned.check_runs(fine)
    assert fine == 83
    with pytest.raises(RequestError):
        planned.check_runs(fine + 1)


def test_property_a_trial_of_one_site_forecast_once_is_told_in_the_singular():
    planned = plan_forecast(
        load_template("solid-tumour-monotherapy", settings=[
            "protocol.operations={sites: {planned: 1}, board: {deliberates: 1 d}}"
        ])
    )  # fmt: skip
    told = " ".join(forecast_screen(planned, planned.forecast(runs=1, seed=1).result, 1).split())
    assert "29 patients at 1 site; 1 simulated trial, event by event" in told
    assert "An interim decision takes 1 day." in told
    assert not search(r"(?<![\d.,])1 (sites|trials|days|patients|simulated trials)\b", told)


def test_property_nouns_are_counted():
    numbers = (0, 1, 2, 1001, -1)
    assert [errors.counted(n, "site") for n in numbers] == [
        "0 sites", "1 site", "2 sites", "1,001 sites", "-1 site"
    ]  # fmt: skip
    assert errors.counted(1.04, "month", ".0f") == "1 month"
    assert errors.counted(1.0, "month", ".1f") == "1.0 months"
