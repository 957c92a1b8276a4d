"""A trial under way: rates of sites, when it will be full, what more sites do, and bad tables."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy import stats

from trialsim import ProtocolError, load_template
from trialsim.cli import main
from trialsim.kernels.recruitment import rate_posterior
from trialsim.protocol.enrolled_sites import read_enrolled
from trialsim.studies.operations.enrolled import ADDED_SITES, plan_enrolled
from trialsim.studies.operations.observed_calendar import (
    MEDIAN,
    QUARTILES,
    gamma_from_quartiles,
    observed_calendar_rows,
)
from trialsim.trial import Measure

HEADER = "site,opened,enrolled,as_of\n"
SITES = HEADER + "".join(
    f"{name},{opened},{n},400\n"
    for name, opened, n in (("A", 0, 40), ("B", 30, 11), ("C", 60, 25), ("D", 90, 3), ("E", 200, 9))
)


def table(tmp_path, text):
    path = tmp_path / "enrolled.csv"
    path.write_text(text, encoding="utf-8")
    return path


def planned(tmp_path, text=SITES, total=400):
    settings = (f"protocol.sample_size.total={total}",)
    resolved = load_template("sepsis", settings=settings)
    return plan_enrolled(resolved, read_enrolled(table(tmp_path, text), total))


def rows_of(result, measure):
    return {row.category: row for row in result.rows if row.measure is measure and row.mcse}


def test_analytic_rates_of_sites_equal_bayes_rule_by_quadrature():
    counts, exposures = np.array([40, 11, 3, 0]), np.array([400.0, 370.0, 310.0, 50.0])
    found = rate_posterior(counts, exposures)
    shapes = np.exp(log(0.2) + (np.arange(200) + 0.5) / 200 * log(50 / 0.2))
    means = np.exp(np.linspace(log(1e-4), log(10), 1500))
    shape, per_day = np.meshgrid(shapes, means, indexing="ij")
    likelihood = np.ones(shape.shape)
    for k, e in zip(counts, exposures, strict=True):
        likelihood *= stats.nbinom.pmf(k, shape, shape / (shape + per_day * e))
    for site, (k, e) in enumerate(zip(counts, exposures, strict=True)):
        mean = (likelihood * (shape + k) / (shape / per_day + e)).sum() / likelihood.sum()
        assert found.mean_rates[site] == pytest.approx(mean, rel=5e-3)


def test_analytic_the_closed_form_of_the_mean_time_agrees_with_draws(tmp_path):
    plan = planned(tmp_path)
    found = plan.forecast(runs=3000, seed=3)
    drawn = rows_of(found, Measure.MILESTONE_MONTHS)["0 sites added"]
    (closed,) = (row.value for row in found.rows if row.analysis == "closed form" and row.milestone)
    assert abs(drawn.value - closed) < 4 * drawn.mcse
    in_between = plan.posterior.mean_day_of(plan.remaining, np.full(5, plan.now))
    assert closed == pytest.approx(plan.months(in_between), rel=0.02)  # E's rate is still rising


def test_property_more_sites_are_never_later_and_the_same_seed_gives_the_same(tmp_path):
    plan = planned(tmp_path)
    found, again = (plan.forecast(runs=300, seed=4) for _ in range(2))
    assert found.rows == again.rows
    months = [rows_of(found, Measure.MILESTONE_MONTHS)[f"{n} site{'s' * (n != 1)} added"].value
              for n in ADDED_SITES]  # fmt: skip
    assert months == sorted(months, reverse=True)
    saved = rows_of(found, Measure.MONTHS_SAVED)
    assert saved["10 sites added"].value == pytest.approx(months[0] - months[-1])


def test_analytic_screening_delays_everybody_by_its_mean(tmp_path):
    """Own quadrature: rates on a grid, exposures short of screening, sites opening late."""
    setting = "nature.operations.screening.takes={mean: 60 d, cv: 0.5}"
    failing = "nature.operations.activation={takes: {mean: 90 d, cv: 0.5}, failing: 0.3}"
    settings = ("protocol.sample_size.total=500", setting, failing)
    text = SITES + "F,390,2,400\nG,430,0,400\n"
    resolved = load_template("sepsis", settings=settings)
    plan = plan_enrolled(resolved, read_enrolled(table(tmp_path, text), 500))
    exposures = [340, 310, 280, 250, 140, 5, 0]  # F: half of the days it is open
    assert plan.exposures == pytest.approx(exposures)
    found = plan.forecast(runs=4000, seed=3)
    drawn = rows_of(found, Measure.MILESTONE_MONTHS)["0 sites added"]
    rng = np.random.default_rng(7)
    posterior = rate_posterior(plan.counts, np.array(exposures, dtype=float))
    point = rng.choice(len(posterior.weights), 4000, p=posterior.weights)
    rates = rng.gamma(posterior.site_shapes[point], posterior.site_scales[point])
    need = rng.gamma(500 - plan.counts.sum(), 1, 4000)
    before = rates[:, :6].sum(axis=1)
    late = np.maximum(need - 90 * before, 0)  # G screens from day 430, so enrols from day 490
    days = 400 + np.minimum(need / before, 90) + late / rates.sum(axis=1)
    months = days / 30.4375
    error = np.hypot(drawn.mcse, months.std() / 4000**0.5)
    assert abs(drawn.value - months.mean()) < 4 * error
    assert abs(drawn.upper - np.quantile(months, 0.95)) < 0.05 * months.std() * 4
    assert "enrolled 60 days after they come" in found.texts["rests on"]

    # ten sites more, as alike as these are, invited on day 400, 3 in 10 never open
    more = rng.gamma(posterior.shape[point], size=(10, 4000))
    more *= posterior.per_day[point] / posterior.shape[point]
    begins = 400 + rng.gamma(4, 90 / 4, (10, 4000)) + 60
    begins[rng.random((10, 4000)) < 0.3] = np.inf
    rates = np.concatenate([rates.T, more])
    begins = np.concatenate([np.full((6, 4000), 400.0), np.full((1, 4000), 490.0), begins])
    low, high = np.full(4000, 400.0), np.full(4000, 4e4)
    for _ in range(60):
        middle = (low + high) / 2
        short = (rates * np.maximum(middle - begins, 0)).sum(axis=0) < need
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    ten = rows_of(found, Measure.MILESTONE_MONTHS)["10 sites added"]
    error = np.hypot(ten.mcse, (high / 30.4375).std() / 4000**0.5)
    assert ten.value == pytest.approx(high.mean() / 30.4375, abs=4 * error)
    assert ten.value < drawn.value - 1
    on_time = rows_of(found, Measure.ON_TIME)["0 sites added"]
    share = (days <= plan.planned_day).mean()
    assert 0.02 < share < 0.45
    assert on_time.value == pytest.approx(share, abs=4 * 1.42 * on_time.mcse)


def test_regression_a_site_that_opened_on_the_day_of_the_counts_is_open(tmp_path):
    seen = read_enrolled(table(tmp_path, HEADER + "A,2026-03-01,3,2026-03-01\n"), 100)
    assert seen.as_of - seen.first_opened == 1


def test_property_dates_and_numbers_of_days_say_the_same(tmp_path):
    dates = HEADER + "A,2026-01-01,40,2026-12-31\nB,2026-02-01,11,2026-12-31\n"
    delay = load_template("sepsis").template.nature.operations.activation.takes.mean.days
    days = HEADER + f"A,{delay},40,{delay + 365}\nB,{delay + 31},11,{delay + 365}\n"
    by_date, by_day = (planned(tmp_path, text).forecast(runs=200, seed=1) for text in (dates, days))
    for one, other in zip(by_date.rows, by_day.rows, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-9)


def test_regression_everything_wrong_with_a_table_is_told_at_once(tmp_path):
    text = HEADER + "A,2026-01-01,3,2026-06-01\na,soon,-1,2026-06-01\n=B,2026-07-01,2,2026-06-01\n"
    path = table(tmp_path, text)
    with pytest.raises(ProtocolError) as caught:
        read_enrolled(path, 100)
    told = [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]
    assert told == [
        "FILE:3: site stands twice: first on line 2; got 'a'. "
        "Give one line a site, with all its patients.",
        "FILE:3: enrolled must be a whole number from 0 to 1,000,000; got '-1'. "
        "Write how many patients the site has enrolled.",
        "FILE:3: opened must be a date or a number of days since the first invitation; got 'soon'. "
        "Write for example 2026-03-01, or 90.",
        "FILE:4: site must not begin as a formula does; got '=B'. Leave out the leading '='.",
        "FILE:4: opened comes no earlier than 'as_of', but 2 patients are enrolled; "
        "got '2026-07-01'. Correct the day, or write 0 enrolled.",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("site,open,enrolled\nA,1,2\n", "opened is a column that is missing"),
        ("site;opened;enrolled;as_of\nA;1;2;3\n", "is separated by semicolons"),
        (HEADER, "holds no site"),
        ("", "header is empty. Begin with the line 'site,opened,enrolled,as_of'"),
        ("A,2026-01-01,3,2026-06-01\n", "header is missing: no column is named as it should be"),
        ("site,opened,enrolled,as_of,screened\nA,1,2,30,4\n", "got 'screened'. Remove it."),
        (
            HEADER + "A,2026-02-30,3,2026-06-01\n",
            "must be a day of the calendar, from 1950 to 2199",
        ),
        (HEADER + "A,0206-02-03,3,2026-06-01\n", "must be a day of the calendar"),
        (HEADER + "".join(f"{i},1,-1,30\n" for i in range(25)), "has 5 further mistakes"),
        (HEADER + "A,1,2,30\nB,1,2,31\n", "must be the same on every line: 30 on line 2"),
        (HEADER + "A,1,2,30\nB,1,2,2026-01-01\n", "must be written as 'as_of' is"),
        (HEADER + "A,40,0,30\n", "no site has been open yet"),
        (HEADER + "A,1,0,30\n", "adds up to 0: fewer than 3"),
        (HEADER + "A,1,1,30\nB,1,1,30\n", "adds up to 2: fewer than 3"),
        (HEADER + "A,1_0,3,30\n", "must be a date or a number of days"),
        (HEADER + "A,1,\u0663,30\n", "must be a whole number"),
        (HEADER + "A,2026-03-02,0,2026-03-01\n", "no site has been open yet"),
        (HEADER + "A,1,100,30\n", "enrolment is over"),
        (HEADER + "A,1,2\n", "has 3 cells where the header has 4"),
    ],
)
def test_regression_a_wrong_table_is_refused(tmp_path, text, words):
    with pytest.raises(ProtocolError, match=words):
        read_enrolled(table(tmp_path, text), 100)


def test_reference_observed_times_stand_among_those_of_walters_rates():
    rates = gamma_from_quartiles(0.43, 2.79)
    assert stats.gamma.cdf([0.43, 2.79], rates.shape, scale=rates.per_day / rates.shape) == (
        pytest.approx([0.25, 0.75])
    )
    middle = gamma_from_quartiles(0.43, 2.79, 0.92)
    assert middle.shape == rates.shape
    assert stats.gamma.median(middle.shape, scale=middle.per_day / middle.shape) == (
        pytest.approx(0.92)
    )
    found = observed_calendar_rows(load_template("sepsis"))
    rows = {(row.evidence, row.analysis): row.value for row in found}
    assert len(rows) == 4
    for trial, n, centres, rate in (("tests-2025", 1106, 22, 0.97), ("etass-2013", 361, 6, 1.92)):
        months = n / (centres * rate)
        for analysis, fitted in ((QUARTILES, rates), (MEDIAN, middle)):
            size = centres * fitted.shape
            exact = stats.nbinom.sf(n - 1, size, size / (size + centres * fitted.per_day * months))
            assert rows[trial, analysis] == pytest.approx(exact, abs=1e-9)
    luck = np.random.default_rng(1).gamma(rates.shape, rates.per_day / rates.shape, (6, 20_000))
    drawn = np.random.default_rng(2).gamma(361, 1, 20_000) / luck.sum(axis=0)
    share = (drawn <= 361 / (6 * 1.92)).mean()
    assert abs(rows["etass-2013", QUARTILES] - share) < 4 * 0.5 / np.sqrt(20_000)


def test_regression_the_command_answers_with_figure_and_report_and_refuses_other_options(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ["forecast", "sepsis", "--enrolled", str(table(tmp_path, SITES)), "--runs", "100"]
    assert main([*words, "--out", "run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "What adding sites does, invited now" in shown
    assert "The plan has 22 sites: the 17 that are not in the table are not counted on" in shown
    assert (tmp_path / "run" / "figures" / "enrolled.svg").is_file()
    assert main(["report", "run", "--out", "r.html", "--markdown", "r.md"]) == 0
    assert "## The trial under way" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert main([*words, "--sites", "30"]) == 2
    assert "--sites has no meaning beside --enrolled" in capsys.readouterr().err
