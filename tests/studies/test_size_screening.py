"""How many are screened for a size, and what that costs: arithmetic that can be done by hand."""

from __future__ import annotations

import pytest

from conftest import CORPUS
from trialsim import load_template
from trialsim.studies.size.screening import screened_for, screening_rows
from trialsim.trial import Measure, Row

DAYS_PER_MONTH = 30.4375


def test_analytic_screened_and_cost_of_sepsis_enriched_by_hand():
    """82% fail; 5,000 a patient, 4 visits at 300, 150 a screening, 6,000 + 22 x 400 a month."""
    found = screened_for(load_template("sepsis-enriched"), 1638)
    assert found.n == 9_100  # 1,638 / 0.18
    assert found.screening == 9_100 * 150
    months = (52 * DAYS_PER_MONTH * 1638 / 1106 + 28) / DAYS_PER_MONTH
    by_hand = 1638 * (5_000 + 4 * 300) + 9_100 * 150 + months * (6_000 + 22 * 400)
    assert found.trial == pytest.approx(by_hand, abs=0.01)
    rows = list(screening_rows(found, Row(measure=Measure.N_TOTAL, value=None)))
    assert [(r.measure.value, r.value) for r in rows[:2]] == [
        ("n_screened", 9_100.0),
        ("cost", 1_365_000.0),
    ]


def test_regression_without_a_price_only_patients_are_counted_and_without_failures_nothing_is():
    enriched = load_template("sepsis-enriched", settings=["cost.screening=0"])
    assert screened_for(enriched, 90).screening is None
    assert screened_for(enriched, 90).n == 500
    assert screened_for(load_template("sepsis"), 90) is None
    assert list(screening_rows(None, Row(measure=Measure.N_TOTAL, value=None))) == []


@pytest.mark.parametrize(
    "words",
    [
        ("sepsis-enriched", "--scenario", "predictive"),
        (str(CORPUS / "valid" / "single-arm.yaml"), "--set", "nature.screening_failures=0.82"),
    ],
)
def test_regression_size_says_who_is_screened(words, trialsim, tmp_path):
    done = trialsim("size", *words, "--replicates", "256", cwd=tmp_path)
    assert "screened to enrol these" in done.stdout, done.stderr
