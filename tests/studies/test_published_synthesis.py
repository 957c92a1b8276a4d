"""Published trials pooled as they are: against metafor, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from math import log

import numpy as np
import pytest
from scipy.stats import norm

from conftest import ROOT
from trialsim.errors import ProtocolError, RequestError
from trialsim.figures.published_synthesis import funnel_figure, pooled_forest_figure
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.published.trials import (
    Counts,
    PublishedStudy,
    PublishedTrials,
    SplitBy,
    read_trials,
    recorded_trials,
)
from trialsim.protocol.reading.load import load_template
from trialsim.report.published_table import how_to_pool_in_r, write_published_table
from trialsim.report.screens.published_synthesis_screen import published_synthesis_screen
from trialsim.studies.literature.published_synthesis import Method, PublishedSynthesis

METAFOR = json.loads((ROOT / "tests/reference/published_synthesis.json").read_text())
SEPSIS = load_template("sepsis")
SHORT = {"OR": Summary.ODDS_RATIO, "RR": Summary.RISK_RATIO, "RD": Summary.RISK_DIFFERENCE}
HEADER = "study,events_treated,n_treated,events_control,n_control"
STRATA = ["gu-2025-lower-quality", "gu-2025-higher-quality"]


def of_table(name, measure=Summary.ODDS_RATIO):
    """The studies of a reference table; six single-centre ones first, as in a made-up review."""
    studies = [
        PublishedStudy(
            f"s{i}",
            f"Study {i}",
            Counts(*(row[key] for key in ("a", "n1", "c", "n0"))),
            centres=1 if i < 9 else 6,
            quality="lower" if i < 6 else "higher",
        )
        for i, row in enumerate(METAFOR[name]["table"])
    ]
    return PublishedTrials(name, measure, tuple(studies), recorded=False)


def synthesis(trials, split=None):
    return PublishedSynthesis(SEPSIS, trials, split)


def one(rows, **wanted):
    found = [r for r in rows if all(getattr(r, key) == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, found)
    return found[0]


def file_of(tmp_path, *lines, header=HEADER):
    path = tmp_path / "trials.csv"
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def problems(path):
    with pytest.raises(ProtocolError) as caught:
        read_trials(path, SEPSIS)
    return caught.value.problems


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("name", ["two", "eleven"])
def test_reference_pooled_estimates_are_those_of_metafor(name, short):
    planned = synthesis(of_table(name, SHORT[short]))
    theirs, rows = METAFOR[name][short], planned.result().rows
    back = (lambda x: x) if short == "RD" else np.exp
    methods = {
        "mh": Method.MANTEL_HAENSZEL,
        "fixed": Method.INVERSE_VARIANCE,
        "dl": Method.DERSIMONIAN_LAIRD,
        "reml": Method.REML,
        **({"peto": Method.PETO} if short == "OR" else {}),
    }
    for key, method in methods.items():
        ours = one(rows, measure="estimate", analysis=method, stratum=None)
        for field, their in (("value", "estimate"), ("lower", "lower"), ("upper", "upper")):
            assert getattr(ours, field) == pytest.approx(float(back(theirs[key][their])), rel=1e-6)
        p = one(rows, measure="p_value", analysis=method)
        assert p.value == pytest.approx(theirs[key]["p"], rel=1e-6)
    reach = one(rows, measure="prediction")
    assert (reach.lower, reach.upper) == pytest.approx(back(theirs["prediction"]), rel=1e-6)
    assert one(rows, measure="heterogeneity_q").value == pytest.approx(theirs["q"], rel=1e-6)
    assert one(rows, measure="i2").value == pytest.approx(theirs["i2"], rel=1e-6, abs=1e-6)
    tau2 = one(rows, measure="tau2")
    assert tau2.value == pytest.approx(theirs["tau2"], rel=1e-6, abs=1e-9)
    assert (tau2.lower, tau2.upper) == pytest.approx(theirs["tau2_ci"], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("short", SHORT)
def test_reference_weights_and_leave_one_out_are_those_of_metafor(short):
    planned = synthesis(of_table("eleven", SHORT[short]))
    theirs, found = METAFOR["eleven"][short], planned.result()
    for method, key in ((Method.MANTEL_HAENSZEL, "weights"), (Method.REML, "weights_reml")):
        ours = [r.value for r in found.observed if r.measure == "weight" and r.analysis == method]
        assert ours == pytest.approx([w / 100 for w in theirs[key]], rel=1e-6)
    without = [
        r
        for r in found.rows
        if r.measure == "estimate_without" and r.analysis == Method.MANTEL_HAENSZEL
    ]
    expected = [one_out["mh"]["estimate"] for one_out in theirs["without"]]
    expected = expected if short == "RD" else np.exp(expected)
    assert [r.value for r in without] == pytest.approx(expected, rel=1e-6)


def test_reference_asymmetry_of_eleven_studies_is_that_of_metafor():
    theirs, rows = METAFOR["eleven"]["OR"], synthesis(of_table("eleven")).result().rows
    egger = one(rows, analysis="asymmetry, Egger")
    assert egger.value == pytest.approx(theirs["egger"], rel=1e-6)
    assert one(rows, analysis="asymmetry, rank").value == pytest.approx(theirs["rank"], rel=1e-6)
    assert one(rows, measure="studies_missing").value == theirs["missing"]


def test_property_asymmetry_of_few_studies_is_said_not_to_be_informative():
    rows = synthesis(of_table("two")).result().rows
    tests = [r for r in rows if (r.analysis or "").startswith(("asymmetry", "trim"))]
    assert len(tests) == 6
    assert all(r.value is None and "not informative" in r.why for r in tests)


def test_reference_the_two_observed_trials_pool_to_the_published_multi_centre_result():
    """Gu 2025: 0.86 (0.68 to 1.09), P 0.22."""
    found = synthesis(recorded_trials(SEPSIS)).result()
    pooled = one(found.rows, analysis=Method.MANTEL_HAENSZEL, measure="estimate")
    assert f"{pooled.value:.2f} ({pooled.lower:.2f}-{pooled.upper:.2f})" == "0.86 (0.68-1.09)"
    p = one(found.rows, analysis=Method.MANTEL_HAENSZEL, measure="p_value")
    assert p.value == pytest.approx(0.22, abs=0.005)
    shown = [r.evidence for r in found.observed if r.analysis == "pooled"]
    assert shown == ["gu-2025", "gu-2025-multi-centre", *STRATA[::-1]]


def test_reference_published_strata_and_who_says_so():
    found = synthesis(recorded_trials(SEPSIS)).result()
    own = [r for r in found.rows if r.stratum == "sepsis-meta-analysis, quality"]
    ratio = one(own, measure="ratio_of_odds_ratios")
    assert f"{ratio.value:.2f} ({ratio.lower:.2f}-{ratio.upper:.2f})" == "0.50 (0.28-0.88)"
    p = one(own, measure="p_value").value
    assert p == pytest.approx(METAFOR["strata"]["q_p"], rel=1e-6)  # Q of two is z squared
    assert round(p, 3) == 0.017
    lower, higher = (one(own, evidence=name) for name in STRATA)
    assert (lower.value, lower.status) == (0.41, "document")
    assert lower.source.startswith("document 004 only")
    assert (higher.value, higher.status) == (0.82, "published")
    assert higher.source.startswith("the publication; which trials: document 004 only")
    centres = [r for r in found.rows if r.stratum == "sepsis-meta-analysis, centres"]
    assert round(one(centres, measure="ratio_of_odds_ratios").value, 2) == 0.45
    assert {r.value for r in centres if r.source} == {0.39, 0.86}
    assert {r.status for r in own if not r.source} == {"document"}  # as the weaker of the two
    assert {r.status for r in centres if not r.source} == {"derived"}
    assert "cannot be told apart" in found.texts["strata-centres"]


def test_reference_two_published_strata_pool_as_metafor_has_them():
    planned = synthesis(recorded_trials(SEPSIS, STRATA))
    shown = published_synthesis_screen(planned, planned.result(), "trialsim")
    assert "gu-2025-lower-quality, DOCUMENT   0.41 (0.24 to 0.68)" in shown
    rows = planned.result().rows
    theirs = METAFOR["strata"]["pooled"]
    ours = one(rows, analysis=Method.INVERSE_VARIANCE, measure="estimate")
    assert log(ours.value) == pytest.approx(theirs["estimate"], rel=1e-6)
    assert f"{ours.value:.2f} ({ours.lower:.2f}-{ours.upper:.2f})" == "0.73 (0.59-0.90)"
    needs = one(rows, analysis=Method.MANTEL_HAENSZEL, measure="estimate")
    assert (needs.value, needs.why) == (None, "needs the counts of every study")


def test_analytic_difference_per_1000_follows_from_the_odds_ratio_at_the_control_risk():
    rows = synthesis(recorded_trials(SEPSIS)).result().rows
    risk = 195 / 727
    control = one(rows, measure="events_per_1000", arm="control")
    assert control.value == pytest.approx(1000 * risk, rel=1e-12)
    ratio = one(rows, analysis=Method.MANTEL_HAENSZEL, measure="estimate")
    found = one(rows, measure="events_per_1000", analysis=Method.MANTEL_HAENSZEL)
    for effect, seen in ((ratio.value, found.value), (ratio.upper, found.upper)):
        odds = effect * risk / (1 - risk)
        assert seen == pytest.approx(1000 * (odds / (1 + odds) - risk), rel=1e-9)
    assert one(rows, measure="n_patients").value == 1450
    certainty = one(rows, measure="certainty")
    assert (certainty.value, certainty.why) == (None, "for the panel")


@pytest.mark.parametrize("split", SplitBy)
def test_property_a_split_gives_each_stratum_as_if_alone_and_their_ratio(split):
    trials = of_table("eleven")
    found = synthesis(trials, split)
    first = 6 if split is SplitBy.QUALITY else 9
    parts = [
        one(
            synthesis(replace(trials, studies=studies)).result().rows,
            measure="estimate",
            analysis=Method.MANTEL_HAENSZEL,
        )
        for studies in (trials.studies[:first], trials.studies[first:])
    ]
    rows = found.result().rows
    ours = [r for r in rows if r.headline and r.stratum]
    assert [r.value for r in ours] == [r.value for r in parts]
    ratio = one(rows, measure="ratio_of_odds_ratios")
    assert ratio.value == pytest.approx(parts[0].value / parts[1].value, rel=1e-12)
    se = [log(r.upper / r.lower) / (2 * 1.959963984540054) for r in parts]
    z = abs(log(ratio.value)) / np.hypot(*se)
    p = one(rows, measure="p_value", analysis="interaction").value
    assert p == pytest.approx(2 * norm.sf(z), rel=1e-6)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (["etass-2013", "gu-2025"], "includes etass-2013"),
        (["gu-2025", "gu-2025-higher-quality"], "shares trials with"),
        (["gu-2025", "gu-2025-lower-quality"], "may hold patients of gu-2025-lower-quality"),
        (["zhang-2008", "chen-h-2009"], "may be the same as"),
        (["etass-2013", "etass-2013"], "is named twice"),
        (["etass-2013", "etas-2013"], "is not a known record"),
        (["etass-2013", "document-004"], "has nothing to pool"),
        (["etass-2013"], "nothing to pool"),
        (["Not An Id"], "must be RECORD or RECORD:RESULT"),
    ],
)
def test_property_records_of_the_same_patients_are_refused_with_a_remedy(records, says):
    with pytest.raises(RequestError) as caught:
        recorded_trials(SEPSIS, records)
    told = [p for p in caught.value.problems if says in str(p)]
    assert told, caught.value
    assert all(p.remedy for p in told)


def test_property_everything_wrong_in_a_table_is_said_at_once_with_its_line(tmp_path):
    path = file_of(
        tmp_path,
        "A,12,10,3,10,1,low",
        '"=cmd()",-3,10,3,10,0,meh',
        "B,1.5,,3,9,1,high",
        "a ,1,10,3,10,1,",
        "C,1,10",
        header=f"{HEADER},centres,rob_overall",
    )
    found = problems(path)
    assert {(p.line, p.field) for p in found} == {
        (2, "events_treated"),
        (3, "study"),
        (3, "rob_overall"),
        (3, "events_treated"),
        (3, "centres"),
        (4, "events_treated"),
        (4, "n_treated"),
        (5, "study"),
        (6, "line"),
    }
    assert all(p.file == str(path) and p.rule and p.remedy for p in found)


@pytest.mark.parametrize(
    ("lines", "header", "says"),
    [
        (["A,1,9,2"], "study,events_treated,n_treated,events_control", "n_control is a column"),
        (["A,1,9,2,9", "A b,1,9,2,9"], HEADER.replace("study", "sturdy"), "Did you mean 'study'"),
        (["A;1;9;2;9"], HEADER.replace(",", ";"), "semicolons"),
        (["A,1,9,2,9"], HEADER, "holds 1 trial, which is nothing to pool"),
        ([], HEADER, "holds 0 trials"),
        (["A,0,9,0,9", "B,0,8,0,8"], HEADER, "0 in every arm"),
        (["A,1,9,2,9", 'B,"1,9,2,9'], HEADER, "is not a CSV table"),
        (["A,1,9,2,9", "B\u202e,1,9,2,9"], HEADER, "cannot be seen"),
        (["A,1,9,2,9", f"{'x' * 81},1,9,2,9"], HEADER, "at most 80"),
        (["A,1,9,2,9", "B,1,99999999,2,9"], HEADER, "at most 10,000,000"),
        (["A,1,9,2,9", "B,\u0661,9,2,9"], HEADER, "whole number"),
        ([f"S{i},1,9,2,9" for i in range(1001)], HEADER, "more than 1,000 trials"),
    ],
)
def test_property_a_table_that_cannot_be_pooled_is_refused_with_a_remedy(
    tmp_path, lines, header, says
):
    found = problems(file_of(tmp_path, *lines, header=header))
    assert any(says in str(p) for p in found), found
    assert all(p.remedy for p in found)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe\x00", "not UTF-8"), (b"x" * 1_000_001, "larger than 1 MB"), (b"", "is missing")],
)
def test_property_what_is_no_table_is_refused(tmp_path, content, says):
    path = tmp_path / "trials.csv"
    path.write_bytes(content)
    assert says in str(problems(path)[0])


def test_property_a_missing_file_a_folder_and_a_device_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        assert problems(path)[0].remedy == "Name a CSV file."


def test_property_an_arm_without_any_event_gives_no_ratio_and_says_why(tmp_path):
    trials = read_trials(file_of(tmp_path, "A,0,9,2,9", "B,0,8,1,8"), SEPSIS)
    planned = synthesis(trials)
    result = planned.result()
    pooled = one(result.rows, analysis=Method.MANTEL_HAENSZEL, measure="estimate")
    assert pooled.value is None
    assert "has no event" in pooled.why
    assert one(result.rows, analysis=Method.PETO, measure="estimate").value < 1
    assert "no odds ratio by Mantel-Haenszel" in published_synthesis_screen(planned, result, "t")
    for figure in (pooled_forest_figure, funnel_figure):
        assert figure(planned)[1]


def test_property_a_study_without_events_weighs_nothing_and_is_named(tmp_path):
    trials = read_trials(file_of(tmp_path, "A,3,9,5,9", "B,0,8,0,8", "C,1,20,4,20"), SEPSIS)
    result = synthesis(trials).result()
    weights = [r for r in result.observed if r.measure == "weight" and r.evidence == "B"]
    assert [r.value for r in weights] == [0, None]
    assert result.texts["left-out"].startswith("B: nobody")
    others = replace(trials, studies=(trials.studies[0], trials.studies[2]))
    for method in Method:
        both = [
            one(found.rows, analysis=method, measure="estimate").value
            for found in (result, synthesis(others).result())
        ]
        assert both[0] == pytest.approx(both[1], rel=1e-12)


@pytest.mark.parametrize(
    ("trials", "split"),
    [(of_table("eleven"), None), (of_table("eleven"), SplitBy.QUALITY), (None, None)],
)
def test_property_screen_and_figures_say_every_study_in_80_columns(trials, split):
    planned = synthesis(trials or recorded_trials(SEPSIS), split)
    shown = published_synthesis_screen(planned, planned.result(), "trialsim")
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert shown.isascii()
    assert "for the panel" in shown
    _, alt_text = pooled_forest_figure(planned)
    for study in planned.trials.studies:
        assert study.study in shown
        assert study.title in alt_text


def test_property_an_exported_table_is_read_back_and_pools_to_the_same(tmp_path):
    planned = synthesis(of_table("eleven"))
    path = write_published_table(planned, tmp_path / "out.csv")
    again = synthesis(read_trials(path, SEPSIS))
    assert again.result().rows == planned.result().rows
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    y = [float(row["yi"]) for row in rows]
    assert y[0] == pytest.approx(log(3 * 21 / (27 * 9)), rel=1e-12)
    assert "rma(yi, vi" in how_to_pool_in_r(path, planned)
    with pytest.raises(RequestError, match="exists already"):
        write_published_table(planned, path)
    with pytest.raises(RequestError, match=r"must end in \.csv"):
        write_published_table(planned, tmp_path / "out.txt")


@pytest.mark.parametrize(("events", "said"), [((30, 31, 30, 31), True), ((10, 50, 25, 60), False)])
def test_property_a_knapp_hartung_interval_narrower_than_the_normal_one_is_said(
    tmp_path, events, said
):
    lines = [f"S{i},{x},100,35,100" for i, x in enumerate(events)]
    texts = synthesis(read_trials(file_of(tmp_path, *lines), SEPSIS)).result().texts
    assert ("narrow" in texts) is said


def test_regression_the_forest_shows_published_intervals_as_stated():
    _, alt_text = pooled_forest_figure(synthesis(recorded_trials(SEPSIS, STRATA)))
    assert "DOCUMENT 0.41 (0.24 to 0.68)" in alt_text
