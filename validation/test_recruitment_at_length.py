"""Slow evidence: the shortcut against the simulation event by event, 2,000 trials each."""

from __future__ import annotations

import pytest

from operations.test_shortcut_agrees import SMALL, both_ways, check_agreement

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


@pytest.mark.parametrize("settings", [(), LIKE_TESTS, ONE_SITE], ids=["small", "tests", "one site"])
def test_property_two_thousand_trials_agree_event_by_event_and_at_once(settings):
    check_agreement(both_ways(SMALL, 2000, 31, settings))
