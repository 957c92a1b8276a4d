"""The level of GEE where visits are missed, in a trial large enough for its normal test."""

from __future__ import annotations

from math import sqrt

import pytest

from conftest import needs
from studies.test_followup import Words, planned
from trialsim.analyse.longitudinal import models_installed
from trialsim.studies.horizons.delayed_effect import with_gee


def test_analytic_type_i_error_is_nominal_in_a_large_trial_with_missed_visits():
    needs("models", models_installed())
    settings = ["protocol.sample_size={total: 300}", "nature.response.missed_visits=0.2"]
    words = Words("12 mo", "end-of-therapy")
    plan = planned("chronic-hepatitis-b", words, settings, ["no-effect"])
    result = with_gee(plan, plan.result(replicates=500))
    (row,) = result.figure_data["analyses"]
    assert row.n_failed <= 5
    assert row.value == pytest.approx(0.05, abs=4 * sqrt(0.05 * 0.95 / 500))
