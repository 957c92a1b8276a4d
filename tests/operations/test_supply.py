"""Kits, one step after another: made, shared out, ordered, shipped, damaged, expired."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt

import pytest
from simpy import Environment

from trialsim.kernels.recruitment import GammaDelay
from trialsim.operations.event_log import What
from trialsim.operations.plan import SupplyPlan
from trialsim.operations.supply import Pharmacy, Stock
from trialsim.streams import Streams

PLAN = SupplyPlan(
    doses_per_kit=1, at_opening=2, reorder_at=1, order_up_to=4, at_start=5, depots=2,
    produced_every_days=inf, produced=0, expires_days=inf, delayed=False,
    shipping=GammaDelay(6.0), damaged=0.0,
)  # fmt: skip


class Told:
    """A pharmacy for one arm at two sites, and what it says happened."""

    def __init__(self, **changes):
        self.env, self.events = Environment(), []
        plan = replace(PLAN, **changes)
        self.pharmacy = Pharmacy(self.env, plan, ("drug",), 2, Streams(1), 0, self._note)
        self.pharmacy.take_in(plan.at_start)

    def _note(self, what, site, arm, number):
        self.events.append((self.env.now, what, site, number))

    def all(self, what):
        return [(day, site, number) for day, kind, site, number in self.events if kind is what]

    @property
    def ledger(self):
        return self.pharmacy.ledger

    def dispense(self, site):
        self.pharmacy.shelf(site, "drug").take(1)
        self.pharmacy.dispensed(site, "drug")


def test_property_a_site_orders_when_few_are_left_and_gets_them_after_the_transit():
    told = Told(at_start=40)
    told.pharmacy.open(0)
    assert told.pharmacy.shelf(0, "drug").level == 2
    told.env.run(until=1)
    assert told.all(What.KITS_SHIPPED) == [(0, 0, 2)]  # nothing ordered: two are above one
    told.dispense(0)
    told.env.run(until=6.9)
    assert told.all(What.KITS_SHIPPED)[1:] == [(1, 0, 3)]  # up to four
    assert (told.ledger.in_transit, told.pharmacy.shelf(0, "drug").level) == (3, 1)
    told.env.run(until=7.1)
    assert told.all(What.KITS_RECEIVED)[-1] == (7, 0, 3)
    assert told.pharmacy.shelf(0, "drug").level == 4
    assert told.ledger.wasted == told.ledger.made - 1 == 39


def test_property_kits_on_their_way_are_not_ordered_again():
    told = Told(at_start=40, at_opening=4, reorder_at=3)
    told.pharmacy.open(0)
    for _ in range(3):
        told.dispense(0)
    told.env.run(until=5)
    assert [number for _, _, number in told.all(What.KITS_SHIPPED)] == [4, 1, 1, 1]


def test_property_depots_share_what_is_made_and_serve_their_own_sites():
    told = Told(at_opening=9, reorder_at=0)
    told.pharmacy.open(0)
    told.pharmacy.open(1)
    assert [number for _, _, number in told.all(What.KITS_RECEIVED)] == [3, 2]


def test_property_a_batch_comes_at_regular_times():
    told = Told(at_start=0, produced_every_days=10.0, produced=7)
    told.env.run(until=35)
    assert told.all(What.KITS_MADE) == [(10, -1, 7), (20, -1, 7), (30, -1, 7)]
    assert told.ledger.made == told.ledger.in_depots == 21


def test_property_kits_expire_on_their_day_wherever_they_lie():
    told = Told(expires_days=50.0, produced_every_days=20.0, produced=3)
    told.pharmacy.open(0)
    told.env.run(until=49.9)
    assert told.ledger.expired == 0
    told.env.run(until=50.1)
    assert {day for day, _, _ in told.all(What.KITS_EXPIRED)} == {50}
    assert told.ledger.expired == 5  # all of the first batch
    told.env.run(until=70.1)
    assert {day for day, _, _ in told.all(What.KITS_EXPIRED)} == {50, 70}
    assert told.ledger.balanced
    assert told.pharmacy.balances()


def test_property_the_first_to_expire_are_taken_first():
    stock = Stock(Environment())
    stock.put([(30.0, 2)])
    stock.put([(10.0, 1)])
    assert stock.take(2) == [(10.0, 1), (30.0, 1)]
    assert stock.expire(29.9) == 0
    assert stock.expire(30.0) == 1


def test_analytic_as_many_kits_are_damaged_as_stated():
    n, share = 5000, 0.3
    told = Told(at_start=n, depots=1, at_opening=0, reorder_at=0, order_up_to=n, damaged=share)
    told.pharmacy.open(0)
    told.env.run(until=6.1)
    assert told.ledger.damaged == pytest.approx(share * n, abs=4 * sqrt(n * share * (1 - share)))
    assert told.ledger.at_sites == n - told.ledger.damaged
