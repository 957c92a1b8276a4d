"""Slow evidence: the shortcut against the simulation event by event, 2,000 trials each."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from operations.test_shortcut_agrees import SMALL, both_ways, check_agreement
from trialsim import load_template
from trialsim.protocol.enrolled_sites import EnrolledSite, EnrolledSites
from trialsim.studies.operations.enrolled import plan_enrolled

LIKE_TESTS = (  # 22 sites and 1,106 patients
    "protocol.sample_size.total=1106",
    "protocol.operations.sites.planned=22",
    "nature.operations.recruitment.per_site_month=1.2",
)
ONE_SITE = (
    "protocol.operations.sites.planned=1",
    "nature.operations.activation.failing=0",
    "nature.operations.recruitment.shape=4",
)


@pytest.mark.parametrize("settings", [LIKE_TESTS, ONE_SITE], ids=["tests", "one site"])
def test_property_two_thousand_trials_agree_event_by_event_and_at_once(settings):
    check_agreement(both_ways(SMALL, 2000, 31, settings))


def test_analytic_nine_in_ten_intervals_of_trials_under_way_hold_nine_in_ten():
    """And the truth does lie below, between and above their ends as often as it should."""
    luck, resolved = np.random.default_rng(8), load_template("sepsis")
    total, now, n_trials, held = resolved.template.protocol.n_total, 700.0, 200, []
    for trial in range(n_trials):
        opened = np.sort(luck.uniform(0, 500, 25))
        rates = luck.gamma(1.3, 0.04 / 1.3, 25)
        counts = luck.poisson(rates * (now - opened))
        sites = tuple(
            EnrolledSite(str(i), float(day), int(n))
            for i, (day, n) in enumerate(zip(opened, counts, strict=True))
        )
        left = total - int(counts.sum())
        plan = plan_enrolled(resolved, EnrolledSites(sites, now, dated=False))
        row = next(r for r in plan.forecast(runs=600, seed=trial).rows if r.headline)
        full = (now + luck.gamma(left, 1 / rates.sum())) / 30.4375
        held.append(row.lower <= full <= row.upper)
    assert abs(np.mean(held) - 0.9) < 4 * sqrt(0.9 * 0.1 / n_trials)
