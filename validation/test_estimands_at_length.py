"""Slow evidence about estimands: every kind and strategy, with processes that differ by arm."""

from __future__ import annotations

from math import sqrt

import pytest

from engine.test_estimands import ALL, SAME, STOPPING, asking, found, planned
from trialsim.trial import Measure

REPLICATES = 16_384
REFUSED = {"count": {"composite"}, "ordinal": {"while-on"}}
BESIDE = {
    "binary": ", estimand: {summary: risk difference}",
    "response": ", estimand: {summary: risk difference}",
    "ordinal": ", analysis: wilcoxon",
}
# Of log rate ratios with a hundred patients, seen without events too; and of a chi-square test.
SMALL = {"count": 0.008}
ASYMPTOTIC = {"continuous": 0.0}


def asked(kind):
    own = {name: said for name, said in ALL.items() if name not in REFUSED.get(kind, set())}
    if kind == "count":
        own["hypothetical"] = "hypothetical"
    if kind == "response":
        own["hypothetical"] = "hypothetical, missing: multiple imputation"
    return own


@pytest.mark.parametrize("kind", ["binary", "continuous", "count", "ordinal", "response"])
def test_property_every_estimand_is_estimated_without_bias_and_covered(tmp_path, kind):
    events = [STOPPING % ", then: {effect_kept: 0.3}"]
    own = asked(kind)
    plan = planned(tmp_path, kind, events, asking(**own), beside=BESIDE.get(kind, ""))
    rows = found(plan, replicates=REPLICATES, seed=11)
    for name in ("main", *own):
        bias, covers = rows[name, Measure.BIAS], rows[name, Measure.COVERAGE]
        assert abs(bias.value) < 4 * bias.mcse + SMALL.get(kind, 0.0), name
        mcse = sqrt(0.95 * 0.05 / covers.n_replicates)
        assert abs(covers.value - 0.95) < 4 * mcse + 0.005, name


@pytest.mark.parametrize("kind", ["binary", "continuous", "count", "ordinal", "response"])
def test_property_every_strategy_keeps_its_level(tmp_path, kind):
    own = asked(kind)
    plan = planned(tmp_path, kind, [SAME % ""], asking(**own), beside=BESIDE.get(kind, ""))
    rows = found(plan, "none", replicates=REPLICATES, seed=12)
    for name in ("main", *own):
        error = rows[name, Measure.TYPE_I_ERROR]
        mcse = sqrt(0.05 * 0.95 / error.n_replicates)
        assert abs(error.value - 0.05) < 4 * mcse + ASYMPTOTIC.get(kind, 0.005), name
