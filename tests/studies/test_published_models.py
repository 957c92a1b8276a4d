"""Every model of published studies, and studies added one by one: what reaches the user."""

from __future__ import annotations

import re
from math import log

import numpy as np
import pytest

from literatures import BCG, METAFOR, SMALL
from trialsim.kernels.random_effects import Estimator, Inference
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.published.trials import Counts, PublishedStudy, PublishedTrials
from trialsim.protocol.reading.load import load_template
from trialsim.report.screens.published_synthesis_screen import (
    model_tables,
    published_synthesis_screen,
)
from trialsim.studies.literature.published_models import model_rows, models_in_words, with_models
from trialsim.studies.literature.published_synthesis import Method, PublishedSynthesis, pool_studies
from trialsim.trial import Measure

SEPSIS = load_template("sepsis")
TESTS = {"z": "z", "knha": "Knapp-Hartung", "adhoc": "Knapp-Hartung, never narrower than z"}


def trials_of(tables, measure=Summary.ODDS_RATIO):
    cells = (
        tables.events_treated,
        tables.n_treated,
        tables.events_control,
        tables.n_control,
    )
    studies = [
        PublishedStudy(f"s{i}", f"Study {i}", Counts(*map(int, row)))
        for i, row in enumerate(np.concatenate(cells).T)
    ]
    return PublishedTrials("table", measure, tuple(studies), recorded=False)


def rows_of(trials):
    return list(model_rows(trials, pool_studies(trials)))


@pytest.mark.parametrize(
    ("prefix", "tables", "measure"),
    [
        ("bcg", BCG, Summary.RISK_RATIO),
        ("bcg_or", BCG, Summary.ODDS_RATIO),
        ("small", SMALL, Summary.ODDS_RATIO),
        ("small_rd", SMALL, Summary.RISK_DIFFERENCE),
    ],
)
def test_reference_every_model_is_that_of_metafor(prefix, tables, measure):
    """METAFOR: metafor 5.0.1, tests/reference/meta_analysis.json; 1e-6."""
    rows = rows_of(trials_of(tables, measure))
    by = {(row.measure, row.analysis): row for row in rows if row.evidence is None}
    back = float if measure is Summary.RISK_DIFFERENCE else log
    seen = 0
    for estimator in Estimator:
        for test, words in TESTS.items():
            expected = METAFOR.get(f"{prefix}_{estimator.value}_{test}")
            row = by.get((Measure.ESTIMATE_BY_MODEL, f"{estimator.value}, {words}"))
            if expected is None or row is None:
                continue
            seen += 1
            for name, value in (
                ("beta", row.value),
                ("ci.lb", row.lower),
                ("ci.ub", row.upper),
            ):
                assert back(value) == pytest.approx(expected[name], abs=1e-6), (estimator, test)
            if estimator is not Estimator.EQUAL_EFFECTS:
                tau2 = by[Measure.TAU2_BY_MODEL, estimator.value].value
                assert tau2 == pytest.approx(expected["tau2"], abs=1e-5)
    assert seen >= 7


def test_reference_studies_added_one_by_one_are_the_pool_of_the_first():
    """The first studies alone, pooled without the rest."""
    trials = trials_of(BCG)
    rows = [row for row in rows_of(trials) if row.measure is Measure.ESTIMATE_CUMULATIVE]
    n = len(trials.studies)
    assert len(rows) == 2 * n
    by = {(row.evidence, row.analysis): row for row in rows}
    for i in range(n):
        first = pool_studies(trials, [k <= i for k in range(n)])
        for method, found in ((Method.MANTEL_HAENSZEL, first.common), (Method.REML, first.reml)):
            row = by[f"s{i}", method.value]
            if row.value is None:
                assert row.why
                assert np.isnan(found.estimate[0])
                continue
            assert log(row.value) == pytest.approx(found.estimate[0], abs=1e-9)
            assert log(row.lower) == pytest.approx(found.lower[0], abs=1e-9)
            assert log(row.upper) == pytest.approx(found.upper[0], abs=1e-9)
    assert by["s0", Method.REML.value].value is None  # one study says nothing of tau2


def test_property_the_screen_has_one_line_and_the_report_every_model():
    planned = PublishedSynthesis(SEPSIS, trials_of(SMALL))
    result = with_models(planned)
    shown = " ".join(published_synthesis_screen(planned, result, "trialsim").split())
    rows = rows_of(planned.trials)
    own = [row for row in rows if row.measure is Measure.ESTIMATE_BY_MODEL]
    assert len(own) == 1 + 3 * (len(Estimator) - 1)
    assert models_in_words(rows) in shown
    assert f"runs from {min(r.value for r in own):.2f} to {max(r.value for r in own):.2f}" in shown
    models, added = model_tables([row.as_dict() for row in result.rows])
    assert len(models.lines) == len(own)
    assert len(added.lines) == len(planned.trials.studies)
    assert {line[2] for line in models.lines} == {own.value for own in Inference}


def test_property_the_range_of_models_is_told_in_digits_that_say_something():
    risks = models_in_words(rows_of(trials_of(SMALL, Summary.RISK_DIFFERENCE)))
    (low, high) = re.search(r"runs from (\S+) to (\S+), ends", risks).groups()
    assert [len(end.rpartition(".")[2]) for end in (low, high)] == [3, 3]
    tiny = (Counts(1, 2, 1, 2), Counts(2, 2, 0, 2))
    studies = tuple(PublishedStudy(f"s{i}", f"s{i}", c) for i, c in enumerate(tiny))
    told = models_in_words(
        rows_of(PublishedTrials("t", Summary.ODDS_RATIO, studies, recorded=False))
    )
    assert re.search(r"intervals from 0\.00 to \d\.\d+e\+\d+\.", told)


def test_property_reasons_stand_whole_below_the_table_on_80_columns():
    empty = Counts(0, 30, 5, 30), Counts(0, 31, 10, 29)
    studies = tuple(PublishedStudy(f"s{i}", f"s{i}", c) for i, c in enumerate(empty))
    trials = PublishedTrials("t", Summary.ODDS_RATIO, studies, recorded=False)
    planned = PublishedSynthesis(SEPSIS, trials)
    shown = published_synthesis_screen(planned, with_models(planned), "trialsim")
    assert max(map(len, shown.splitlines())) <= 80
    assert "No estimate by Mantel-Haenszel: an arm of all studies together has no event, or" in (
        " ".join(shown.split())
    )


def test_regression_what_has_no_model_says_why():
    full = tuple(PublishedStudy(f"s{i}", f"s{i}", Counts(9, 9, 8, 8)) for i in range(3))
    trials = PublishedTrials("t", Summary.ODDS_RATIO, full, recorded=False)
    rows = rows_of(trials)
    assert rows
    assert all(row.value is None and row.why for row in rows)
    assert not models_in_words(rows)
