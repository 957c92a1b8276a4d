"""`trialsim explain`: gap, chance by enumeration, what differences carry, refusals."""

from __future__ import annotations

import json
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import binom

from conftest import ROOT
from trialsim.cli import main
from trialsim.errors import RequestError
from trialsim.figures.explanation import explanation_figure
from trialsim.kernels.trial_gap import as_far_apart
from trialsim.protocol.reading.load import (
    evidence_with,
    load_reconciliation,
    load_template,
    shipped_evidence,
)
from trialsim.studies.conflict.explanation import NO_DATA, explain
from trialsim.studies.conflict.reconciliation import plan_reconciliation

SEPSIS = ("etass-2013", "tests-2025")
HEPATITIS = ("chien-1998", "mutchnick-1999")


@pytest.fixture(scope="module")
def evidence():
    return shipped_evidence()


@pytest.fixture(scope="module")
def sepsis(evidence):
    return explain(SEPSIS, evidence, load_template("sepsis"), replicates=10_000, seed=1)


def carried(found, what):
    return next(d.carried for d in found.differences if d.what == what)


def distribution(n1, p1, n0, p0):
    """Return every log odds ratio a trial can show (Woolf, 0.5 if a cell is 0), and its chance."""
    a, c = (np.arange(n + 1)[:, None] for n in (n1, n0))
    cells = [x + np.zeros((n1 + 1, n0 + 1)) for x in (a, n1 - a, c.T, n0 - c.T)]
    half = 0.5 * (np.minimum.reduce(cells) == 0)
    a, b, c, d = (cell + half for cell in cells)
    chance = binom.pmf(np.arange(n1 + 1), n1, p1)[:, None] * binom.pmf(np.arange(n0 + 1), n0, p0)
    return np.log(a * d / (b * c)).ravel(), chance.ravel()


def enumerated(tables, gap, *, odds_ratio):
    """Return the exact share of pairs whose log odds ratios are at least `gap` apart."""
    every = []
    for _, n1, x0, n0 in tables:
        p0 = x0 / n0
        odds = p0 / (1 - p0) * odds_ratio
        every.append(distribution(n1, odds / (1 + odds), n0, p0))
    (one, chance), (other, weight) = every
    kept = chance > 1e-14
    one, chance = one[kept], chance[kept]
    order = np.argsort(other)
    other, below = other[order], np.concatenate([[0.0], np.cumsum(weight[order])])
    distance = abs(gap) - 1e-9
    low = below[np.searchsorted(other, one - distance, side="right")]
    high = below[-1] - below[np.searchsorted(other, one + distance, side="left")]
    return float(chance @ (low + high))


def mantel_haenszel(tables):
    top = sum(x1 * (n0 - x0) / (n1 + n0) for x1, n1, x0, n0 in tables)
    return top / sum((n1 - x1) * x0 / (n1 + n0) for x1, n1, x0, n0 in tables)


def test_reference_etass_and_tests_have_the_published_ratio(sepsis):
    gap = sepsis.gap
    ends = [exp(gap.estimate + sign * 1.959964 * gap.standard_error) for sign in (0, -1, 1)]
    assert [round(end, 2) for end in ends] == [0.68, 0.40, 1.15]  # derived from both records
    assert round(gap.p, 2) == 0.15


@pytest.mark.parametrize(
    ("ids", "template", "tables"),
    [
        (SEPSIS, "sepsis", ((47, 181, 63, 180), (127, 542, 132, 547))),
        (HEPATITIS, "chronic-hepatitis-b", ((13, 32, 3, 32), (7, 49, 2, 48))),
    ],
)
def test_analytic_so_large_a_gap_under_one_effect_is_as_often_as_enumerated(
    evidence, ids, template, tables
):
    found = explain(ids, evidence, load_template(template), replicates=20_000, seed=3).gap
    common = mantel_haenszel(tables)
    assert exp(found.common) == pytest.approx(common, rel=1e-9)
    exact = enumerated(tables, found.estimate, odds_ratio=common)
    assert 0.05 < exact < 0.95
    assert abs(found.as_large - exact) <= 4 * found.mcse
    assert found.mcse == pytest.approx(sqrt(found.as_large * (1 - found.as_large) / 20_000))


def test_property_a_difference_carries_as_much_whichever_trial_is_named_first(evidence):
    pairs = (("etass-2013", "tests-2025"), ("tests-2025", "etass-2013"))
    template = load_template("sepsis")
    said = [explain(ids, evidence, template, replicates=2_000, seed=3) for ids in pairs]
    carried = [{c.source: c for d in each.differences for c in d.carried} for each in said]
    assert carried[0].keys() == carried[1].keys()
    assert len(carried[0]) > 6
    for source, one in carried[0].items():
        other = carried[1][source]
        assert one.part == pytest.approx(other.part, abs=1e-9)  # the same pairs are drawn
        assert log(one.ratio) * log(other.ratio) < 0
        assert one.as_large == other.as_large
    assert said[0].gap.as_large == said[1].gap.as_large
    assert said[0].settling.power == said[1].settling.power


def test_property_a_gap_counts_from_the_published_one_on_either_way():
    gaps = np.array([0.39, -0.39, 0.389, -0.389, 1.0])
    assert as_far_apart(gaps, -0.39).tolist() == [True, True, False, False, True]


def test_analytic_a_flaw_carries_its_published_ratio_of_the_gap(sepsis):
    gap, z = log(47 * 117 / (63 * 134)) - log(127 * 415 / (132 * 415)), 1.959963984540054
    brando, metablind = carried(sepsis, "blinding")
    for found, ratio, low, high, spread in (
        (brando, 0.92, 0.80, 1.04, 0.0),
        (metablind, 0.99, 0.86, 1.09, sqrt(0.06**2 + 0.07**2)),
    ):
        assert abs(found.part - log(ratio) / gap) <= 4 * found.part_mcse
        sd = sqrt((log(high / low) / (2 * z)) ** 2 + spread**2) / abs(gap)
        assert found.part_mcse == pytest.approx(sd / sqrt(10_000), rel=0.03)
        assert (found.part_upper - found.part_lower) / (2 * z) == pytest.approx(sd, rel=0.05)
    left_out, wider = carried(sepsis, "left out after randomisation")
    sd = sqrt((log(0.96 / 0.71) / (2 * z)) ** 2 + 0.13) / abs(gap)  # Abraha's tau2, as phi squared
    assert (wider.part_upper - wider.part_lower) / (2 * z) == pytest.approx(sd, rel=0.05)
    assert "its tau2 of 0.13, between what is not said" in wider.source
    # the second trial has it, so that it hides some of the gap
    assert abs(left_out.part + log(0.83) / gap) <= 4 * left_out.part_mcse
    both = sepsis.together
    assert abs(both.part - (log(0.92) - log(0.83)) / gap) <= 4 * both.part_mcse


def test_analytic_pairs_with_a_flaw_are_so_far_apart_as_often_as_enumerated(sepsis, evidence):
    tables = ((47, 181, 63, 180), (127, 542, 132, 547))
    found = carried(sepsis, "blinding")[0]
    spread = log(1.04 / 0.80) / (2 * 1.959963984540054)
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    common, gap, share = mantel_haenszel(tables), sepsis.gap.estimate, 0.0
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        bias = log(0.92) + spread * node
        one = distribution(181, *risks(180, 63, common * exp(bias)))
        other = distribution(542, *risks(547, 132, common))
        share += weight * apart(one, other, gap)
    assert abs(found.as_large - share) <= 4 * found.as_large_mcse


def risks(n0, x0, odds_ratio):
    odds = x0 / (n0 - x0) * odds_ratio
    return odds / (1 + odds), n0, x0 / n0


def apart(one, other, gap):
    order = np.argsort(other[0])
    values, below = other[0][order], np.concatenate([[0.0], np.cumsum(other[1][order])])
    distance = abs(gap) - 1e-9
    low = below[np.searchsorted(values, one[0] - distance, side="right")]
    high = below[-1] - below[np.searchsorted(values, one[0] + distance, side="left")]
    return float(one[1] @ (low + high))


def test_analytic_a_course_carries_what_two_times_make_of_its_odds_ratio(evidence):
    resolved = load_template("chronic-hepatitis-b")
    found = explain(HEPATITIS, evidence, resolved, replicates=2_000, seed=1)
    scenarios = {each.id: each for each in resolved.template.scenarios}
    gap = log(13 * 29 / (3 * 19)) - log(7 * 46 / (2 * 42))
    for each in carried(found, "read-out"):
        truth = resolved.truth(scenarios[each.source.rpartition(" ")[2]])
        logs = []
        for at in ("18 mo", "12 mo"):
            days = float(at.split()[0]) * 365.25 / 12
            p0, p1 = truth.risks_on(days, resolved.template.protocol.primary.counted)
            logs.append(log(p1 / (1 - p1) * (1 - p0) / p0))
        assert each.part == pytest.approx((logs[0] - logs[1]) / gap, abs=0.01)
        assert each.part_mcse == 0
    assert len(carried(found, "read-out")) >= 2


def test_analytic_two_trials_of_the_size_named_have_the_power_they_are_sized_for(sepsis):
    found, gap = sepsis.settling, sepsis.gap.estimate
    per_patient = sum(
        1 / x1 * n1 + 1 / (n1 - x1) * n1 + 1 / x0 * n0 + 1 / (n0 - x0) * n0
        for x1, n1, x0, n0 in ((47, 181, 63, 180), (127, 542, 132, 547))
    )
    assert found.n_per_arm == pytest.approx(per_patient * (2.8015852 / gap) ** 2, abs=1)
    assert abs(found.power - 0.80) <= 4 * found.mcse


def test_property_every_difference_has_a_number_with_its_mcse_or_says_there_are_no_data(capsys):
    for ids in (SEPSIS, HEPATITIS, ("dillman-1987", "tlcr-2025")):
        main(["explain", *ids, "--json", "--replicates", "1000"])
        rows = json.loads(capsys.readouterr().out)["rows"]
        parts = [row for row in rows if row["measure"] == "part_of_gap" and row["same"] is not True]
        assert len(parts) >= 8
        for row in parts:
            quantified = row["value"] is not None and "mcse" in row and row["n_replicates"] == 1000
            assert quantified or row["why"].startswith(NO_DATA)
        assert {"quality", "population", "application", "duration"} <= {
            r["subject"] for r in rows if "subject" in r
        }


def test_property_the_same_pairs_whatever_else_is_asked_and_more_extend_them(evidence):
    few, many = (explain(SEPSIS, evidence, None, replicates=n, seed=1).gap for n in (4_096, 8_192))
    again = explain(SEPSIS, evidence, load_template("sepsis"), replicates=4_096, seed=1).gap
    assert few.as_large == again.as_large
    other = explain(SEPSIS, evidence, None, replicates=4_096, seed=2).gap
    assert few.as_large != other.as_large
    assert abs(few.as_large - many.as_large) < 4 * few.mcse


def test_property_the_screen_says_the_numbers(trialsim, tmp_path):
    shown = " ".join(trialsim("explain", *SEPSIS, cwd=tmp_path).stdout.split())
    for words in ("0.68 (0.40 to 1.15), P = 0.15", "one odds ratio of 0.86", "brando-2012"):
        assert words in shown
    assert "single blind v double blind" in shown
    assert f"{NO_DATA} (published ratios are of one centre to several" in shown
    shown = trialsim("explain", *HEPATITIS, cwd=tmp_path).stdout
    assert "12 mo" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("other", ["tlcr-2025", "gasto-1043"])
def test_property_cancer_has_no_randomised_adjuvant_data(trialsim, tmp_path, other):
    shown = " ".join(trialsim("explain", "dillman-1987", other, cwd=tmp_path).stdout.split())
    assert "No randomised adjuvant data exist" in shown
    assert "gasto-1098, schulof-1985, tarcrc" in shown
    assert "No gap can be put in numbers" in shown


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (("etass-2013", "etass-2013"), "the same record twice"),
        (("etass-2014", "tests-2025"), "Did you mean 'etass-2013'?"),
        (("tlcr-2025", "asco-ta1-2023"), "some of the same patients"),
        (("etass-2013", "chien-1998"), "different conditions"),
        (("gu-2025", "tests-2025"), "is a pool, not a trial"),
        (("gasto-1043", "r0-nsclc"), "no result of the same outcome"),
    ],
)
def test_property_what_cannot_be_explained_is_refused_with_a_remedy(evidence, ids, words):
    with pytest.raises(RequestError) as raised:
        explain(ids, evidence, replicates=100, seed=1)
    assert words in str(raised.value)
    assert all(problem.remedy for problem in raised.value.problems)


def test_property_few_pairs_and_equal_results_are_refused(evidence, tmp_path):
    with pytest.raises(RequestError, match="at least 100"):
        explain(SEPSIS, evidence, replicates=99, seed=1)
    path = tmp_path / "own.yaml"
    counts = "experimental: {n: 40, events: 5},\n         control: {n: 40, events: 14}"
    same = "experimental: {n: 300, events: 90},\n         control: {n: 300, events: 93}"
    path.write_text(OWN.replace(same, counts))
    assert path.read_text().count("events: 14") == 2
    with pytest.raises(RequestError, match="there is no gap"):
        explain(("poor-2001", "good-2002"), evidence_with([path]), replicates=100, seed=1)


def test_property_results_of_other_measures_are_refused(tmp_path, trialsim):
    record = """
  - id: {id}
    kind: trial
    title: {id}
    citation: "An example."
    condition: example
    design: {{randomised: true}}
    results:
      - id: dead
        outcome: death from any cause
        at: 28 d
        effects:
          - {{measure: {measure}, value: {value}, ci: [0.5, 1.2], status: published}}"""
    for measures, rc in ((("odds ratio", "hazard ratio"), 2), (("hazard ratio",) * 2, 0)):
        ids = ("one-example", "two-example")
        texts = [
            record.format(id=i, measure=m, value=v)
            for i, m, v in zip(ids, measures, (0.8, 0.7), strict=True)
        ]
        path = tmp_path / f"{rc}.yaml"
        path.write_text("schema_version: 1\nevidence:" + "".join(texts) + "\n")
        done = trialsim("explain", *ids, "--evidence", str(path), cwd=tmp_path, check=False)
        assert done.returncode == rc, done.stderr
        said = " ".join((done.stderr + done.stdout).split())
        wanted = "no ratio of one measure" if rc else "Ratio of hazard ratios"
        assert wanted in said
        assert "Traceback" not in said


def test_property_a_report_says_why_two_trials_disagree(trialsim, tmp_path):
    trialsim("explain", *SEPSIS, "--replicates", "1000", cwd=tmp_path)
    trialsim("report", "last", "--out", "r.html", cwd=tmp_path)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for words in ("Why two trials disagree", "0.68 (0.40 to 1.15), P = 0.15", NO_DATA):
        assert words in page
    assert "explained-0" in page  # the figure, and its words
    assert "pairs with one common effect are so far apart." in page


def test_property_the_figure_has_a_bar_for_each_number_and_words_for_each_that_has_none(sepsis):
    figure, said = explanation_figure(sepsis)
    above, below = figure.axes
    numbers = [c for d in sepsis.differing for c in d.carried] + [sepsis.together]
    none = [d for d in sepsis.differing if not d.carried]
    assert [bar.get_width() for bar in below.patches] == pytest.approx(
        [100 * carried.part for carried in numbers]
    )
    assert sum(text.get_text() == NO_DATA for text in below.texts) == len(none)
    assert said.count(NO_DATA) == len(none)
    assert said.count("MCSE") == len(numbers) + 1  # and that of chance
    shown = [text.get_text() for text in above.texts]
    assert shown == ["0.65 (0.41 to 1.02)", "0.96 (0.73 to 1.27)", "0.68 (0.40 to 1.15)"]


def test_property_without_a_gap_the_figure_says_so(evidence):
    found = explain(("dillman-1987", "gasto-1043"), evidence, replicates=1_000, seed=1)
    assert found.gap is None
    figure, said = explanation_figure(found)
    assert len(figure.axes) == 1
    assert not figure.axes[0].patches
    assert "no gap can be put in numbers" in said


def test_analytic_a_subgroup_carries_its_distance_from_all_patients(sepsis):
    z, gap = 1.959963984540054, sepsis.gap.estimate
    published = ((1.67, 1.04, 2.67), (0.81, 0.61, 1.09))
    parts = [(log(hr), log(high / low) / (2 * z)) for hr, low, high in published]
    total = sum(error**-2 for _, error in parts)
    whole = sum(value * error**-2 for value, error in parts) / total
    young, old, *_ = carried(sepsis, "patients")
    for found, (value, error) in zip((young, old), parts, strict=True):
        assert abs(found.part - (value - whole) / gap) <= 4 * found.part_mcse
        sd = sqrt(error**2 - 1 / total) / abs(gap)
        assert found.part_mcse == pytest.approx(sd / sqrt(10_000), rel=0.03)


OWN = """schema_version: 1
evidence:
  - id: poor-2001
    kind: trial
    title: Poor
    citation: "An example."
    condition: sepsis
    design: {randomised: true, allocation_concealment: inadequate, blinding_as_described: double,
      centres: 1, n_randomised: 80, excluded_after_randomisation: 0, application: add-on}
    results:
      - {id: dead, outcome: death from any cause, at: 28 d, experimental: {n: 40, events: 5},
         control: {n: 40, events: 14}}
  - id: good-2002
    kind: trial
    title: Good
    citation: "An example."
    condition: sepsis
    design: {randomised: true, allocation_concealment: adequate, blinding_as_described: double,
      centres: 9, n_randomised: 600, excluded_after_randomisation: 0, application: monotherapy}
    results:
      - {id: dead, outcome: death from any cause, at: 28 d, experimental: {n: 300, events: 90},
         control: {n: 300, events: 93}}
"""


def test_analytic_of_conduct_and_setting_the_larger_counts(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    found = explain(("poor-2001", "good-2002"), evidence_with([path]), replicates=10_000, seed=1)
    (concealment,) = carried(found, "concealment of allocation")
    single = carried(found, "centres")
    gap = found.gap.estimate
    assert abs(concealment.part - log(1.03) / gap) <= 4 * concealment.part_mcse
    assert [each.source.split(",")[0] for each in single] == ["unverzagt-2013", "dechartres-2011"]
    assert abs(single[0].part - log(0.64) / gap) <= 4 * single[0].part_mcse
    assert found.together.part == single[0].part
    assert found.randomised_add_on is not None
    assert "poor-2001" in found.randomised_add_on


def test_analytic_of_an_objective_outcome_blinding_carries_what_reconcile_and_adjust_take(capsys):
    """BRANDO's 0.93 of objective outcomes; unsaid, 0.87 of all outcomes, and that is said."""
    words = ["explain", *HEPATITIS, "--replicates", "1000"]
    assert main([*words, "--outcomes", "objective", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "double-blinding-objective-univariable: ratio of odds ratios 0.93" in json.dumps(told)
    assert "outcomes" not in told["texts"]
    assert main([*words, "--json"]) == 0
    unsaid = json.loads(capsys.readouterr().out)
    assert "ratios of all outcomes together" in unsaid["texts"]["outcomes"]
    evidence = shipped_evidence()
    for name in ("chronic-hepatitis-b", "chronic-hepatitis-b-timing"):
        plan = plan_reconciliation(load_reconciliation(name, evidence), evidence)
        shift = plan.shifts(plan.explanations["quality"])["open"]
        assert shift.mean == pytest.approx(log(0.93), abs=1e-12)


def with_trials_of_its_own(path):
    """Write the sepsis template with two trials of its own, both observed."""
    trial = (
        "  - id: own-{0}\n    kind: trial\n    title: Own {0}\n    citation: none\n"
        "    condition: sepsis\n    design: {{randomised: true, blinding_as_described: {1}}}\n"
        "    results:\n      - id: mortality-28d\n        outcome: death from any cause\n"
        "        at: 28 d\n        experimental: {{n: 100, events: {2}}}\n"
        "        control: {{n: 100, events: 40}}\n"
    )
    text = (ROOT / "protocols" / "sepsis.yaml").read_text(encoding="utf-8")
    text = text.replace("\nobserved: [", "\nobserved: [own-one, own-two, ", 1)
    text += "\nevidence:\n" + trial.format("one", "open", 20) + trial.format("two", "double", 38)
    path.write_text(text, encoding="utf-8")
    return path


def test_regression_a_file_s_own_trials_are_explained_with_it(tmp_path, capsys):
    mine = with_trials_of_its_own(tmp_path / "mine.yaml")
    assert main(["explain", "own-one", "own-two"]) == 2
    assert "is not a known evidence id" in capsys.readouterr().err
    words = ["explain", "own-one", "own-two", "--template", str(mine), "--replicates", "500"]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    ratio = next(row for row in rows if row["measure"] == "ratio")
    assert ratio["value"] == pytest.approx((20 / 80) / (38 / 62))  # the controls are alike
