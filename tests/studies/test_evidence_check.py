"""Published numbers held against one another: every row of the acceptance table, and bad input."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from trialsim.cli import main
from trialsim.protocol.published.checks import Verdict
from trialsim.protocol.reading.catalogue import evidence_paths
from trialsim.protocol.reading.load import evidence_with, shipped_evidence
from trialsim.studies.evidence_check.consistency import p_of_interval
from trialsim.studies.evidence_check.records import check_evidence, check_record

CONSISTENT, ROUNDING = Verdict.CONSISTENT, Verdict.ROUNDING
IMPOSSIBLE, UNTESTABLE = Verdict.IMPOSSIBLE, Verdict.UNTESTABLE
INTERVAL = "interval v estimate on the log scale"

# What was looked at, the verdict, and the arithmetic in words.
# (record, check, about, verdict, said)
TABLE = [
    ("chien-1998", "percentages v whole patients", "counts", CONSISTENT, "only 13/32, 9/34, 3/32"),
    ("chien-1998", "P value v counts", "complete-response-18mo", CONSISTENT, "0.0039 (chi-square)"),
    ("chien-1998", "P value v counts", "complete-response-18mo", CONSISTENT, "0.0081 (Fisher)"),
    ("gu-2025-lower-quality", "P value v interval", "", ROUNDING, "P = 0.00079"),
    ("gu-2025-lower-quality", INTERVAL, "", ROUNDING, "is 0.404"),
    ("gu-2025-higher-quality", "P value v interval", "", CONSISTENT, "P = 0.0911"),
    ("gu-2025", "patients of the parts", "", CONSISTENT, "359 + 1568 = 1927"),
    ("gu-2025", "sum", "", CONSISTENT, "967 + 960 = 1927"),
    ("gu-2025", "parts v whole", "", CONSISTENT, "0.732 (0.593 to 0.904), P = 0.0037"),
    ("gu-2025", "difference between parts", "", UNTESTABLE, "0.50 (0.28 to 0.88), P = 0.017"),
    ("document-002", "P value v percentages", "", IMPOSSIBLE, "83 (chi-square), 94 (Fisher), 100"),
    ("document-002", "P value v percentages", "", IMPOSSIBLE, "0.037 (chi-square), 0.041 (Fisher)"),
    ("document-002", "SD behind a P value", "", UNTESTABLE, "at most 6.2"),
    ("document-003", "percentage change", "", CONSISTENT, "59.6"),
    (
        "document-002",
        "percentages v whole patients",
        "",
        UNTESTABLE,
        "65% is no whole number of 56 patients: 36/56 is 64.3% and 37/56 is 66.1%",
    ),
    ("chan-2001-end-of-therapy", "P value v interval", "", CONSISTENT, "P = 0.26"),
    ("chan-2001-6mo", "P value v interval", "", CONSISTENT, "P = 0.15"),
    ("chan-2001-12mo", "P value v interval", "", CONSISTENT, "derived 0.011"),
    ("document-003", "implausible effect size", "", UNTESTABLE, "2.2 standard deviations"),
    ("etass-2013", "estimate v counts", "mortality-28d", CONSISTENT, "RR 0.742 (0.541 to 1.018)"),
    ("etass-2013", "P value v counts", "mortality-28d", CONSISTENT, "0.062 (chi-square)"),
    ("tests-2025", "published versions", "mortality-28d", IMPOSSIBLE, "HR 0.99 and 0.97"),
    ("tests-2025", "hazard ratio v counts", "mortality-28d", CONSISTENT, "HR 0.97"),
    ("tests-2025", "parts v whole", "mortality-28d", CONSISTENT, "to HR 0.988"),
    ("tests-2025", "parts v whole", "mortality-28d", CONSISTENT, "to HR 0.991"),
    ("tests-2025", "parts v whole", "mortality-28d", CONSISTENT, "0.99 (0.77 to 1.27) fits"),
    ("you-2006", "chi-square v counts", "chi2-end-of-therapy", CONSISTENT, "1.353"),
    ("you-2006", "chi-square v counts", "chi2-6mo", CONSISTENT, "2.918"),
    ("you-2006", "chi-square v counts", "chi2-6mo-published", CONSISTENT, "stated 2.93"),
    ("you-2006", "chi-square v counts", "chi2-6mo-v-historical", CONSISTENT, "15.71"),
    ("you-2006", "chi-square v counts", "chi2-interferon-v-historical", CONSISTENT, "14.71"),
    (
        "lin-2007",
        "percentages v whole patients",
        "",
        CONSISTENT,
        "25.1% is 44/175; 38.3% is 64/167",
    ),
    (
        "lin-2007",
        "percentages v whole patients",
        "",
        CONSISTENT,
        "37.1% is 65/175; 52.1% is 87/167",
    ),
    ("chen-2022", "percentages v whole patients", "", CONSISTENT, "75% is 42/56; 53.4% is 31/58"),
    ("chen-2022", "percentages v whole patients", "", CONSISTENT, "32.1% is 18/56; 58.6% is 34/58"),
    ("chen-2022", "percentages v whole patients", "", CONSISTENT, "8.9% is 5/56; 24.1% is 14/58"),
    ("chen-2022", "P value v counts", "encephalopathy", CONSISTENT, "stated 0.029 is chi-square"),
    ("chen-2022", "P value v counts", "new-infection", CONSISTENT, "stated 0.005 is chi-square"),
    ("hopewell-2009", "ratio of percentages", "publication-odds", CONSISTENT, "odds ratio 3.89"),
    ("hopewell-2009", "ratio of percentages", "", CONSISTENT, "risk ratio 1.78"),
    ("document-004", "range of durations", "", CONSISTENT, "the range blends them"),
    (
        "etass-2013",
        "baseline v randomisation",
        "mhla-dr-baseline",
        CONSISTENT,
        "9.6% among 5, 18% among 10, 33% among 20",
    ),
    ("etass-2013-planning", "planned size", "", CONSISTENT, "334 by unpooled variance"),
]


# The verdict of each row: record, and what was found of it. Two rows are about one claim
# among several of a record (document-002, tests-2025), and have the gravest one's verdict.
VERDICTS = {
    "chien-1998": CONSISTENT,
    "gu-2025-lower-quality": ROUNDING,  # "CONSISTENT (rounding)"
    "gu-2025-higher-quality": CONSISTENT,
    "gu-2025": CONSISTENT,  # 359 + 1568, and the pooled OR
    "document-002": IMPOSSIBLE,  # 65% v 45%
    "document-003": CONSISTENT,  # "arith OK, implausible"
    "etass-2013": CONSISTENT,
    "tests-2025": IMPOSSIBLE,  # "CONFLICT within published versions"
    "you-2006": CONSISTENT,
    "chan-2001-end-of-therapy": CONSISTENT,
    "chan-2001-6mo": CONSISTENT,
    "chan-2001-12mo": CONSISTENT,
    "lin-2007": CONSISTENT,
    "chen-2022": CONSISTENT,  # ACLF
    "hopewell-2009": CONSISTENT,
    "document-004": CONSISTENT,  # "blends the two"
}


@pytest.fixture(scope="module")
def checked():
    return {each.record.id: each for each in check_evidence(shipped_evidence())}


@pytest.mark.parametrize(
    ("record", "check", "about", "verdict", "said"), TABLE, ids=[f"{r[0]}-{r[4]}" for r in TABLE]
)
def test_reference_every_row_of_the_acceptance_table(checked, record, check, about, verdict, said):
    found = [f for f in checked[record].findings if f.check == check and about in (f.about, "")]
    assert any(f.verdict is verdict and said in f.detail for f in found), found


@pytest.mark.parametrize("record", VERDICTS)
def test_reference_every_row_has_the_verdict_of_the_acceptance_table(checked, record):
    assert checked[record].verdict is VERDICTS[record]


def test_property_only_what_a_reader_would_stop_at_is_rounding(checked):
    found = {name for name, each in checked.items() if each.verdict is ROUNDING}
    # estimate and P value both moved; two versions that one number rounds to; cut, not rounded
    assert found == {"gu-2025-lower-quality", "feng-2016-combined-90d", "yumin-2009"}
    [moved] = [f for f in checked["etass-2013"].findings if "gives P = 0.0388" in f.detail]
    assert "stated 0.037" in moved.detail
    assert moved.verdict is CONSISTENT


def test_reference_p_values_of_three_intervals(checked):
    # Chan 2001: P = 0.26, 0.15, 0.011 from the intervals; the record states them as derived
    for name, stated in (("end-of-therapy", 0.26), ("6mo", 0.15), ("12mo", 0.011)):
        effect = checked[f"chan-2001-{name}"].record.effects[0]
        p = p_of_interval(effect.value, *effect.ci, ratio=True)
        assert float(f"{p:.2g}") == stated


def test_analytic_paired_t_of_312_to_498_by_hand(checked):
    [found] = [f for f in checked["document-003"].findings if f.check == "implausible effect size"]
    for r in (0.0, 0.7):
        sd = (84**2 + 91**2 - 2 * r * 84 * 91) ** 0.5  # of the differences
        assert found.numbers[f"paired_t_r_{r:g}"] == pytest.approx(186 / (sd / 140**0.5))


POOL = """schema_version: 1
evidence:
  - id: both
    kind: pool
    title: Both
    citation: "A review of one's own."
    condition: sepsis
    outcome: death from any cause
    at: 28 d
    n_trials: 2
    n_patients: 1451
    includes: [etass-2013, tests-2025]
    effects: [{measure: odds ratio, value: 0.86, ci: [0.68, 1.08], status: published}]
"""


def test_property_all_trials_of_a_pool_must_have_its_patients(tmp_path):
    path = tmp_path / "pool.yaml"
    for text, verdict in (
        (POOL, IMPOSSIBLE),
        (POOL.replace("1451", "1450"), CONSISTENT),
        (POOL.replace("n_trials: 2", "n_trials: 3"), CONSISTENT),
    ):
        path.write_text(text)
        evidence = evidence_with([path])
        checks = check_record(evidence.records["both"], evidence).findings
        [found] = [f for f in checks if f.check == "patients of trials contained"]
        assert found.verdict is verdict, found.detail


def test_property_every_stored_verdict_is_the_computed_one(checked):
    stored = {
        name: each.record.consistency.verdict if each.record.consistency else UNTESTABLE
        for name, each in checked.items()
    }
    assert stored == {name: each.verdict for name, each in checked.items()}
    assert sum(verdict is IMPOSSIBLE for verdict in stored.values()) == 3


FILE = """schema_version: 1
evidence:
  - id: my-trial-2020
    kind: trial
    title: My trial
    citation: "A trial of one's own."
    condition: sepsis
    read: abstract
    design: {randomised: true, n_randomised: 80}
    results:
      - id: deaths
        outcome: death
        experimental: {n: 40, events: 8}
        control: {n: 40, events: 18}
        effects:
          - {measure: odds ratio, value: 0.31, ci: [0.11, 0.83], p: 0.001, status: published}
        tests: [{name: chi-square, p: 0.017}, {name: Fisher, p: 0.0310}, {name: log-rank, p: 0.2}]
      - id: score
        outcome: a score
        unit: points
        experimental: {n: 40, value: 6.20, sd: 0.50}
        control: {n: 40, value: 8.00, sd: 0.60}
        effects: [{measure: mean difference, value: -1.80, ci: [-3.36, -0.24], status: published}]
        tests: [{name: t test, p: 0.024}]
      - id: entry
        outcome: age
        unit: years
        at: 0 d
        experimental: {n: 40, value: 61.0}
        control: {n: 40, value: 55.0}
        tests: [{name: as published, p: 0.0001}]
    checks:
      - {kind: counts, result: deaths, percentages: [20.0, 46.0]}
      - {kind: sum, parts: [40, 41]}
      - {kind: counts, percentages: [33.3, 12.7], n_total: 20}
"""


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    return path


def test_property_a_file_of_ones_own_is_checked_figure_by_figure(own_file):
    evidence = evidence_with([own_file])
    checked = check_record(evidence.records["my-trial-2020"], evidence)
    found = {(f.check, f.about, f.detail): f.verdict for f in checked.findings}

    def verdict(check, part):
        [only] = [v for (name, _, said), v in found.items() if name == check and part in said]
        return only

    assert verdict("estimate v counts", "OR 0.306 (0.113 to 0.826)") is CONSISTENT
    assert verdict("P value v interval", "stated 0.001") is IMPOSSIBLE
    assert verdict("P value v counts", "stated 0.017 is chi-square") is CONSISTENT
    # 0.0310 is printed to four digits: Fisher's 0.0302 is not it
    assert verdict("P value v counts", "stated 0.031 as Fisher") is IMPOSSIBLE
    assert verdict("P value v counts", "needs times") is UNTESTABLE
    assert verdict("P value v means", "SE reported as SD?") is IMPOSSIBLE
    assert verdict("interval v SDs", "SE reported as SD?") is IMPOSSIBLE
    assert verdict("difference v arms", "stated -1.8") is CONSISTENT
    assert verdict("implausible effect size", "implausibly large") is UNTESTABLE
    assert verdict("baseline v randomisation", "rare under randomisation") is UNTESTABLE
    assert verdict("percentages v whole patients", "46% is not 18/40") is IMPOSSIBLE
    assert verdict("percentages v whole patients", "no whole numbers") is IMPOSSIBLE
    assert verdict("sum", "40 + 41 = 81; stated 80") is IMPOSSIBLE
    assert checked.verdict is IMPOSSIBLE
    assert checked.abstract_only


def test_property_an_estimate_halfway_to_its_limit_is_no_exact_interval(own_file):
    own_file.write_text(FILE.replace("value: 0.31, ci", "value: 0.50, ci"))
    evidence = evidence_with([own_file])
    findings = check_record(evidence.records["my-trial-2020"], evidence).findings
    [found] = [f for f in findings if f.check == INTERVAL]
    assert found.verdict is IMPOSSIBLE
    assert "off by 50% of half the width" in found.detail


@pytest.mark.parametrize(("p", "verdict"), [(0.04, UNTESTABLE), (0.4, IMPOSSIBLE)])
def test_property_an_interaction_far_from_its_parts_is_no_other_model(p, verdict):
    evidence = shipped_evidence()
    record = evidence.records["tests-2025"]
    stated = [
        result.model_copy(
            update={
                "tests": tuple(
                    test.model_copy(update={"p": p})
                    if test.name == "interaction with diabetes"
                    else test
                    for test in result.tests
                )
            }
        )
        for result in record.results
    ]
    other = record.model_copy(update={"results": tuple(stated)})
    [found] = [
        f
        for f in check_record(other, evidence).findings
        if f.check == "difference between parts" and "diabetes" in f.detail
    ]
    assert found.verdict is verdict


def run(capsys, *words):
    code = main(list(words))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_property_a_verdict_is_an_answer_and_the_screen_is_80_wide(capsys, own_file):
    for words in (["document-002"], ["tests-2025"], [str(own_file)], [], ["gu-2025", "--json"]):
        code, out, err = run(capsys, "evidence", "check", *words)
        assert (code, err) == (0, "")
        if "--json" not in words:
            assert max(len(line) for line in out.splitlines()) <= 80
    rows = json.loads(out)["rows"]
    assert rows[0] == {
        **{"evidence": "gu-2025", "kind": "pool", "check": "record", "verdict": "consistent"},
        **{"n_checks": 8, "read": "abstract", "abstract_only": True},
    }
    [whole] = [row for row in rows if row["check"] == "parts v whole"]
    assert whole["verdict"] == "consistent"
    assert whole["arithmetic"]["estimate"] == pytest.approx(0.7321696, abs=1e-7)
    assert "only 13/32, 9/34, 3/32" in " ".join(
        run(capsys, "evidence", "check", "chien-1998")[1].split()
    )


def test_property_a_shipped_file_and_a_filter_name_the_same_records(capsys):
    [path] = [path for path in evidence_paths() if path.stem == "cancer"]
    by_file = json.loads(run(capsys, "evidence", "check", str(path), "--json")[1])["rows"]
    by_condition = run(capsys, "evidence", "check", "--condition", "cancer", "--json")[1]
    assert by_file == json.loads(by_condition)["rows"]


BAD = [
    ("percentages: [20.0, 46.0]", "percentages: [20.0, 146.0]", "between 0 and 100, not 146"),
    ("ci: [0.11, 0.83]", "ci: [0.83, 0.11]", "must be from the lower limit to the upper one"),
    ("events: 18", "events: 48", "must be at most n, which is 40"),
    ('    citation: "A trial of one\'s own."\n', "", "citation is required"),
    ("parts: [40, 41]", "parts: [men, women]", "is not a quantity of this record"),
    ("result: deaths,", "result: death,", "is not a result of this record"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD, ids=[bad[0] for bad in BAD])
def test_property_bad_input_is_a_message_with_a_remedy(capsys, own_file, old, new, said):
    text = FILE.replace(old, new)
    assert text != FILE
    own_file.write_text(text)
    code, _, err = run(capsys, "evidence", "check", str(own_file))
    assert code == 2
    assert said in err, err
    assert re.match(r"mine\.yaml:\d+: evidence\.my-trial-2020", err)


def test_property_a_percentage_above_100_is_refused(capsys, own_file):
    text = FILE.replace("unit: points", 'unit: "%"').replace("value: 6.20", "value: 620.0")
    own_file.write_text(text)
    code, _, err = run(capsys, "evidence", "check", str(own_file))
    assert code == 2
    assert "must be at most 100, as a percentage of patients" in err


def test_property_numbers_that_divide_by_zero_cannot_be_tested(capsys, own_file):
    text = FILE.replace("ci: [0.11, 0.83], p: 0.001", "ci: [0.0, 0.83], p: 0.001")
    text = text.replace("percentages: [20.0, 46.0]", "percentages: [0, 100]")
    text = text.replace("sd: 0.50", "sd: 0.0001").replace("n: 40, events: 8}", "n: 40, events: 0}")
    own_file.write_text(text)
    code, _, err = run(capsys, "evidence", "check", str(own_file))
    assert (code, err) == (0, "")
    own_file.write_text(
        text.replace("experimental: {n: 40, events: 0}", "experimental: {n: 90000000, events: 9}")
    )
    assert run(capsys, "evidence", "check", str(own_file))[0] == 0


def test_property_parts_that_share_patients_are_no_parts(capsys, tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text("""schema_version: 1
evidence:
  - id: my-pool
    kind: pool
    title: Mine
    citation: "A pool of one's own."
    condition: sepsis
    includes: [chen-h-2009, zhang-2008]
    outcome: death
    effects: [{measure: odds ratio, value: 0.73, ci: [0.59, 0.90], status: published}]
    checks: [{kind: parts, parts: [gu-2025-higher-quality, gu-2025-multi-centre]}]
""")
    code, out, _ = run(capsys, "evidence", "check", str(path))
    assert code == 0
    assert "share patients, so they are not parts" in " ".join(out.split())
    assert "chen-h-2009 and zhang-2008 share patients" in " ".join(out.split())


def test_property_nothing_heavy_is_imported():
    script = (
        "import sys\nfrom trialsim.cli import main\n"
        "main(['evidence', 'check'])\nmain(['evidence', 'check', '--json'])\n"
        "print('HEAVY', sorted({'numpy', 'scipy', 'matplotlib', 'numba'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


def test_analytic_an_interval_that_excludes_its_estimate_is_a_verdict(capsys, own_file):
    own_file.write_text(FILE.replace("ci: [0.11, 0.83]", "ci: [0.41, 0.83]"))
    code, out, _ = run(capsys, "evidence", "check", str(own_file))
    assert code == 0
    assert "stated 0.31, which the interval excludes; off by" in " ".join(out.split())
    rows = json.loads(run(capsys, "evidence", "check", str(own_file), "--json")[1])["rows"]
    assert rows[0]["verdict"] == "cannot all be right together"
    [found] = [r for r in rows if r["check"].startswith("interval v estimate on the log")]
    assert found["verdict"] == "cannot all be right together"
    assert found["arithmetic"]["centre"] == pytest.approx((0.41 * 0.83) ** 0.5)


def test_property_elsewhere_such_an_interval_is_refused(capsys, own_file):
    own_file.write_text(FILE.replace("ci: [0.11, 0.83]", "ci: [0.41, 0.83]"))
    code, _, err = run(capsys, "evidence", "--evidence", str(own_file))
    assert code == 2
    assert "must hold the estimate between its two limits" in err
