"""Evidence about flaws of conduct that takes long."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from conftest import ROOT
from trialsim.protocol.conduct import Conduct
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.studies.conduct.bias import plan_bias
from trialsim.studies.conduct.bias_calibration import plan_bias_calibration
from trialsim.trial import Measure

TEN_LINES = str(ROOT / "tests" / "protocols" / "valid" / "ten-lines.yaml")
FORESEEN = {"strength": 0.3, "waiting": 5, "knows": "next-assignment"}
BLINDING = {"strength": 0.5, "averts": 0.6}
_MISREADING = {
    "strength": 1,
    "sensitivity_treated": 0.8,
    "sensitivity_control": 1,
    "specificity_treated": 1,
    "specificity_control": 0.9,
}


def test_property_domains_together_multiply_about_as_published():
    flaws = {"foreseen_allocation": FORESEEN, "assessment": _MISREADING}
    named = {"id": "own", "title": "t", "co_intervention": BLINDING}
    own = Conduct.model_validate({**named, **flaws})
    planned = plan_bias_calibration(load_template(TEN_LINES), own, outcomes="subjective")
    result = planned.result(replicates=512, seed=1)
    (told,) = (r for r in result.rows if r.mechanism == "all")
    (seen,) = (r for r in result.observed if r.mechanism == "all")
    assert seen.value == pytest.approx(0.88 * 0.82 * 0.77)  # blinding once, all multivariable
    assert seen.status == "derived"
    assert abs(log(told.value / seen.value)) < 0.1  # flaws meet in the same patients
    assert f"{told.value:.3f}" in result.texts["domains"]


def test_property_the_error_of_the_interaction_agrees_with_its_spread_over_runs():
    study = plan_bias(
        load_template("sepsis", settings=["protocol.sample_size={total: 120}"]),
        load_conduct("poor"),
        ["or-082"],
    )
    found = [
        next(
            r
            for r in study.result(replicates=1_000, seed=seed).rows
            if r.measure is Measure.FLAW_INTERACTION
        )
        for seed in range(10, 40)
    ]
    spread = float(np.std([r.value for r in found], ddof=1))
    assert 0.6 * spread < found[0].mcse < 1.6 * spread  # 30 runs know a spread to 13%
