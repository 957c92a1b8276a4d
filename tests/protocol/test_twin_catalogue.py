"""The rest of the catalogue against its second, blind encoding, number by number.

The two hands chose their own names and rows, so numbers are matched by record (author and year)
and value. What only one of them wrote down (doses, calendar years, percentages beside counts,
arithmetic) was looked at and is listed in `qc/differences.json`; a new difference fails.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

from conftest import CORPUS
from trialsim.protocol.reading.load import shipped_evidence
from trialsim.report.screens.records import evidence_rows

QC = CORPUS / "qc"
FIELDS = ("value", "lower", "upper", "p", "n", "events")


def read(name):
    return json.loads((QC / f"{name}.json").read_text(encoding="utf-8"))


def numbers(rows):
    found = defaultdict(set)
    for row in rows:
        stem = re.match(r"(.*?-(?:19|20)\d\d)", row["evidence"])
        record = stem[1] if stem else row["evidence"]
        for field in FIELDS:
            if row.get(field) is not None:
                found[record, round(float(row[field]), 6)].add(row["status"])
    return found


def twin_of(key, others):
    """Find the same number, which the other hand may have written in percent."""
    record, value = key
    for factor in (1, 100, 0.01):
        for other in others:
            if other[0] == record and abs(other[1] - value * factor) <= 1e-9 + 1e-6 * abs(value):
                return other
    return None


def test_twin_every_number_of_the_catalogue_was_seen_by_two_hands():
    sepsis = {row["evidence"] for row in read("sepsis")["rows"]}
    shipped = evidence_rows(shipped_evidence().records.values())
    first = numbers(row for row in shipped if row["evidence"] not in sepsis)
    second = numbers([*read("other-diseases")["rows"], *read("meta-epidemiology")["rows"]])
    assert len(first) > 450
    looked_at = read("differences")
    only_first = sorted([list(k) for k in first if not twin_of(k, second)])
    only_second = sorted([list(k) for k in second if not twin_of(k, first)])
    assert only_first == looked_at["only the first hand"]
    assert only_second == looked_at["only the second hand"]
    disagree = sorted(
        [list(k) for k in first if (t := twin_of(k, second)) and not first[k] & second[t]]
    )
    assert disagree == looked_at["another status"]  # Yuen's rate is arithmetic on a published share
