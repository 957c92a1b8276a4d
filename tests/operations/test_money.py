"""What a trial costs, counted again from its log alone."""

from __future__ import annotations

from collections import Counter

import pytest

from conftest import ROOT
from trialsim import load_template
from trialsim.operations.event_log import What
from trialsim.operations.money import CATEGORIES, costs_of
from trialsim.operations.plan import plan_conduct
from trialsim.operations.simulation import conduct_trial
from trialsim.streams import Streams

PRICES = {"start_up": 5000, "screening": 70, "per_patient": 900, "per_visit": 110, "per_dose": 20,
          "per_month": 3000, "per_site_month": 250, "per_look": 4000}  # fmt: skip
FILE = str(ROOT / "tests" / "protocols" / "valid" / "forecast.yaml")


def test_analytic_every_category_is_its_price_times_what_the_log_counts():
    cost = ", ".join(f"{name}: {price}" for name, price in PRICES.items())
    settings = (
        f"cost={{currency: EUR, year: 2025, sites: 12, {cost}}}",
        "nature.operations.activation.failing=0.25",
        "protocol.visits=[{at: 7 d}, {at: 14 d}, {at: 28 d}]",
        "protocol.looks=[{at: {information: 0.5}, efficacy_z: 2.8}, "
        "{at: {information: 1}, efficacy_z: 1.98}]",
    )
    template = load_template(FILE, settings=settings).template
    plan = plan_conduct(template)
    trial = conduct_trial(plan, Streams(11), 0, keep_log=True)
    assert trial.full
    seen = Counter()
    for entry in trial.log:
        seen[entry.what] += entry.number
    days = {what: [e.day for e in trial.log if e.what is what] for what in What}
    opened, end, month = days[What.SITE_OPENED], trial.locked, 30.4375
    assert end >= max(entry.day for entry in trial.log if entry.patient)
    assert len(opened) < 12
    own = {
        "start-up": 5000 * len(opened),
        "screening": 70 * seen[What.SCREENED],
        "patients": 900 * 200,
        "visits": 110 * seen[What.VISIT],
        "doses": 20 * 10 * seen[What.KITS_MADE],  # given, left in a kit, or wasted
        "coordination": 3000 * (end - min(days[What.RANDOMISED])) / month,
        "sites": 250 * sum(end - day for day in opened) / month,
        "looks": 4000 * 2,
    }
    assert seen[What.SCREENED] > 220
    assert seen[What.VISIT] > 400
    assert seen[What.LOOK] == 2
    found = costs_of(trial, template.cost, 10)
    assert tuple(found) == CATEGORIES
    assert found == pytest.approx(own)
