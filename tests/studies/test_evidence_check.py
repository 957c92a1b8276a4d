"""Published numbers held against one another: every row of the acceptance table, and bad input."""

from __future__ import annotations

import pytest

from trialsim.protocol.checks import Verdict
from trialsim.protocol.load import shipped_evidence
from trialsim.studies.evidence_check.records import check_evidence

CONSISTENT, ROUNDING = Verdict.CONSISTENT, Verdict.ROUNDING
IMPOSSIBLE, UNTESTABLE = Verdict.IMPOSSIBLE, Verdict.UNTESTABLE
INTERVAL = "interval v estimate on the log scale"

# Rows of EVIDENCE.md part 1: what was looked at, the verdict, and the arithmetic in words.
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
    ("document-003", "size of a change", "", UNTESTABLE, "2.2 standard deviations"),
    ("etass-2013", "estimate v counts", "mortality-28d", CONSISTENT, "RR 0.742 (0.541 to 1.018)"),
    ("etass-2013", "P value v counts", "mortality-28d", CONSISTENT, "0.062 (chi-square)"),
    ("tests-2025", "published versions", "mortality-28d", IMPOSSIBLE, "HR 0.99 and 0.97"),
    ("tests-2025", "hazard ratio v counts", "mortality-28d", CONSISTENT, "HR 0.97"),
    ("tests-2025", "parts v whole", "mortality-28d", CONSISTENT, "to HR 0.988"),
    ("tests-2025", "parts v whole", "mortality-28d", CONSISTENT, "to HR 0.991"),
    ("tests-2025", "parts v whole", "mortality-28d", CONSISTENT, "0.99 (0.77 to 1.27) fits"),
    ("you-2006", "chi-square v counts", "chi2-end-of-therapy", CONSISTENT, "1.353"),
    ("you-2006", "chi-square v counts", "chi2-6mo", CONSISTENT, "2.918"),
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
    ("hopewell-2009", "ratio of percentages", "publication-odds", ROUNDING, "odds ratio 3.89"),
    ("hopewell-2009", "ratio of percentages", "", CONSISTENT, "risk ratio 1.78"),
    ("document-004", "range of durations", "", CONSISTENT, "the range blends them"),
    ("etass-2013", "baseline v randomisation", "mhla-dr-baseline", CONSISTENT, "33% among 20"),
    ("etass-2013-planning", "planned size", "", CONSISTENT, "334 by unpooled variance"),
]


@pytest.fixture(scope="module")
def checked():
    return {each.record.id: each for each in check_evidence(shipped_evidence())}


@pytest.mark.parametrize(
    ("record", "check", "about", "verdict", "said"), TABLE, ids=[f"{r[0]}-{r[4]}" for r in TABLE]
)
def test_reference_every_row_of_the_acceptance_table(checked, record, check, about, verdict, said):
    found = [f for f in checked[record].findings if f.check == check and about in (f.about, "")]
    assert any(f.verdict is verdict and said in f.detail for f in found), found


def test_reference_p_values_of_three_intervals(checked):
    # Chan 2001: P = 0.26, 0.15, 0.011 from the intervals; the record states them as derived
    from trialsim.studies.consistency import p_of_interval

    for name, stated in (("end-of-therapy", 0.26), ("6mo", 0.15), ("12mo", 0.011)):
        effect = checked[f"chan-2001-{name}"].record.effects[0]
        p = p_of_interval(effect.value, *effect.ci, ratio=True)
        assert float(f"{p:.2g}") == stated


def test_property_every_stored_verdict_is_the_computed_one(checked):
    stored = {
        name: each.record.consistency.verdict if each.record.consistency else UNTESTABLE
        for name, each in checked.items()
    }
    assert stored == {name: each.verdict for name, each in checked.items()}
    assert sum(verdict is IMPOSSIBLE for verdict in stored.values()) == 3
