"""Kits from the depots to the sites: production, orders, shipping, damage, expiry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from enum import StrEnum
from math import inf
from typing import Any

import numpy as np
from simpy import Container, Environment

from trialsim.operations.event_log import What
from trialsim.operations.plan import SupplyPlan
from trialsim.streams import Decision, Streams

__all__ = ["Ledger", "Pharmacy", "Shortage", "Stock"]

Note = Callable[[What, int, str, int], None]
Process = Generator[Any, Any, None]
Batch = tuple[float, int]  # day of expiry, kits


class Shortage(StrEnum):
    """Why a site has no kit on the day a dose is due."""

    NONE_MADE = "the depot had none"
    EXPIRED = "kits had expired"
    ON_THE_WAY = "kits were on their way"
    ELSEWHERE = "another depot had them"


@dataclass
class Ledger:
    """Where every kit is or went, at this moment."""

    made: int = 0
    in_depots: int = 0
    in_transit: int = 0
    at_sites: int = 0
    dispensed: int = 0
    damaged: int = 0
    expired: int = 0

    @property
    def balanced(self) -> bool:
        """Whether no kit was lost or came from nowhere."""
        parts: list[int] = [getattr(self, f.name) for f in fields(self)]
        return parts[0] == sum(parts[1:]) and min(parts) >= 0

    @property
    def wasted(self) -> int:
        """Kits that no patient gets, were the trial to end now."""
        return self.made - self.dispensed


class Stock:
    """Kits of one arm at one place: a simpy Container, and which of them expire when."""

    def __init__(self, environment: Environment) -> None:
        self._kits = Container(environment)
        self._batches: deque[Batch] = deque()

    @property
    def level(self) -> int:
        """Kits there now."""
        return int(self._kits.level)

    @property
    def held(self) -> int:
        """Kits there now, and those kept back for somebody who waits."""
        return sum(n for _, n in self._batches)

    def put(self, batches: list[Batch]) -> None:
        """Take kits in, the first to expire to the front."""
        self._batches = deque(sorted([*self._batches, *batches]))
        total = sum(n for _, n in batches)
        if total:
            self._kits.put(total)

    def take(self, n: int) -> list[Batch]:
        """Take `n` kits that are there, the first to expire first."""
        if n:
            self._kits.get(n)
        return self._removed(n)

    def wait_for_one(self) -> Any:
        """Return the event that a kit is there and kept back; `taken` then takes it out."""
        return self._kits.get(1)

    def taken(self) -> list[Batch]:
        """Take out the kit that was kept back."""
        return self._removed(1)

    def _removed(self, n: int) -> list[Batch]:
        found: list[Batch] = []
        while n:
            expires, there = self._batches.popleft()
            used = min(there, n)
            found.append((expires, used))
            if there > used:
                self._batches.appendleft((expires, there - used))
            n -= used
        return found

    def expire(self, day: float) -> int:
        """Throw away what has expired; return how many that were."""
        gone = 0
        while self._batches and self._batches[0][0] <= day and gone < self.level:
            expires, there = self._batches.popleft()
            used = min(there, self.level - gone)
            if there > used:  # one is kept back for a patient who comes at this moment
                self._batches.appendleft((expires, there - used))
            gone += used
        if gone:
            self._kits.get(gone)
        return gone


class Pharmacy:
    """The depots, and the shelf of every site.

    Parameters
    ----------
    note : callable
        Told what happened: kind, site from 0 (-1 for a depot), arm and number of kits.
    """

    def __init__(
        self,
        environment: Environment,
        plan: SupplyPlan,
        arms: tuple[str, ...],
        n_sites: int,
        streams: Streams,
        run: int,
        note: Note,
    ) -> None:
        self._env, self._plan, self._arms, self._note = environment, plan, arms, note
        self.ledger = Ledger()
        self._depots = [{arm: Stock(environment) for arm in arms} for _ in range(plan.depots)]
        self._shelves = [{arm: Stock(environment) for arm in arms} for _ in range(n_sites)]
        self._ordered = [dict.fromkeys(arms, 0) for _ in range(n_sites)]
        self._on_the_way = [dict.fromkeys(arms, 0) for _ in range(n_sites)]
        self._emptied_by_expiry = [dict.fromkeys(arms, False) for _ in range(n_sites)]
        self._expired = dict.fromkeys(arms, 0)
        self._luck: dict[tuple[int, str], np.random.Generator] = {}
        self._streams, self._run = streams, run
        if plan.produced:
            environment.process(self._production())

    def shelf(self, site: int, arm: str) -> Stock:
        """Return the kits of an arm at a site."""
        return self._shelves[site][arm]

    def balances(self) -> bool:
        """Whether shelves and depots hold what the ledger says, but for kits being handed over."""
        held = [sum(s.held for s in place.values()) for place in (*self._shelves, *self._depots)]
        n = len(self._shelves)
        return (sum(held[:n]), sum(held[n:])) == (self.ledger.at_sites, self.ledger.in_depots)

    def open(self, site: int) -> None:
        """Give a site the kits it opens with, as far as the depots have them."""
        for arm in self._arms:
            depot = self._depot(site)[arm]
            there = min(depot.level, self._plan.at_opening)
            batches = depot.take(there)
            self.ledger.in_depots -= there
            if there:
                self._note(What.KITS_SHIPPED, site, arm, there)
            self._receive(site, arm, batches)
            self.reorder(site, arm)

    def dispensed(self, site: int, arm: str) -> None:
        """Write down that a kit has left a shelf for a patient, and order if few are left."""
        self.ledger.at_sites -= 1
        self.ledger.dispensed += 1
        self.reorder(site, arm)

    def reorder(self, site: int, arm: str) -> None:
        """Order kits where the shelf and what is on its way hold too few."""
        plan = self._plan
        there = self.shelf(site, arm).level + self._ordered[site][arm]
        if there <= plan.reorder_at:
            wanted = plan.order_up_to - there
            self._ordered[site][arm] += wanted
            self._env.process(self._order(site, arm, wanted))

    def why_none(self, site: int, arm: str) -> Shortage:
        """Return why an empty shelf is empty.

        Kits had expired where these emptied the shelf, or where as many of the arm had as the
        orders that wait at the site's depot ask for; else they are on their way, or lie in another
        depot, or were never there.
        """
        if self._emptied_by_expiry[site][arm]:
            return Shortage.EXPIRED
        if self._on_the_way[site][arm]:
            return Shortage.ON_THE_WAY
        own = self._depot(site)
        places = [i for i in range(len(self._shelves)) if self._depot(i) is own]
        waiting = sum(self._ordered[i][arm] - self._on_the_way[i][arm] for i in places)
        if self._expired[arm] >= max(waiting, 1):
            return Shortage.EXPIRED
        elsewhere = any(depot[arm].level for depot in self._depots)
        return Shortage.ELSEWHERE if elsewhere else Shortage.NONE_MADE

    def _depot(self, site: int) -> dict[str, Stock]:
        return self._depots[site % len(self._depots)]

    def take_in(self, kits: int) -> None:
        """Share new kits of every arm out to the depots, the first getting what is left over."""
        if not kits:
            return
        expires = self._env.now + self._plan.expires_days
        share, over = divmod(kits, len(self._depots))
        for arm in self._arms:
            for number, depot in enumerate(self._depots):
                own = share + (number < over)
                depot[arm].put([(expires, own)])
        self.ledger.made += kits * len(self._arms)
        self.ledger.in_depots += kits * len(self._arms)
        for arm in self._arms:
            self._note(What.KITS_MADE, -1, arm, kits)
        if expires < inf:
            self._env.process(self._expiry_in_depots())

    def _production(self) -> Process:
        while True:
            yield self._env.timeout(self._plan.produced_every_days)
            self.take_in(self._plan.produced)

    def _order(self, site: int, arm: str, wanted: int) -> Process:
        depot = self._depot(site)[arm]
        while wanted:
            yield depot.wait_for_one()
            batches = depot.taken()
            more = min(depot.level, wanted - 1)
            batches += depot.take(more)
            sent = 1 + more
            wanted -= sent
            self.ledger.in_depots -= sent
            self.ledger.in_transit += sent
            self._on_the_way[site][arm] += sent
            self._note(What.KITS_SHIPPED, site, arm, sent)
            self._env.process(self._shipment(site, arm, batches, sent))

    def _shipment(self, site: int, arm: str, batches: list[Batch], sent: int) -> Process:
        luck = self._luck_of(site, arm)
        days = float(self._plan.shipping.of(luck.random(1))[0])
        whole, damaged = self._sorted_out(batches, luck)
        yield self._env.timeout(days)
        self.ledger.in_transit -= sent
        self._ordered[site][arm] -= sent
        self._on_the_way[site][arm] -= sent
        self.ledger.damaged += damaged
        if damaged:
            self._note(What.KITS_DAMAGED, site, arm, damaged)
        self._receive(site, arm, whole)
        self.reorder(site, arm)

    def _luck_of(self, site: int, arm: str) -> np.random.Generator:
        """Return what decides over a site's shipments of an arm, one after another."""
        if (site, arm) not in self._luck:
            self._luck[site, arm] = self._streams.generator(
                Decision.SHIPMENTS, self._run, f"site-{site + 1} {arm}"
            )
        return self._luck[site, arm]

    def _sorted_out(
        self, batches: list[Batch], luck: np.random.Generator
    ) -> tuple[list[Batch], int]:
        """Return what arrives whole, and how many kits do not."""
        if not self._plan.damaged:
            return batches, 0
        kept: list[Batch] = []
        damaged = 0
        for expires, n in batches:
            broken = int((luck.random(n) < self._plan.damaged).sum())
            damaged += broken
            if n > broken:
                kept.append((expires, n - broken))
        return kept, damaged

    def _receive(self, site: int, arm: str, batches: list[Batch]) -> None:
        total = sum(n for _, n in batches)
        if not total:
            return
        self.ledger.at_sites += total
        self._note(What.KITS_RECEIVED, site, arm, total)
        fresh = [(expires, n) for expires, n in batches if expires > self._env.now]
        self._throw_away(site, arm, total - sum(n for _, n in fresh))
        self.shelf(site, arm).put(fresh)
        self._emptied_by_expiry[site][arm] = not fresh
        for expires in {e for e, _ in fresh if e < inf}:
            self._env.process(self._expiry_at(site, arm, expires))

    def _expiry_at(self, site: int, arm: str, day: float) -> Process:
        yield self._env.timeout(day - self._env.now)
        if self._throw_away(site, arm, self.shelf(site, arm).expire(self._env.now)):
            self.reorder(site, arm)

    def _throw_away(self, site: int, arm: str, gone: int) -> int:
        """Count kits that have expired at a site; return how many."""
        if gone:
            self.ledger.at_sites -= gone
            self.ledger.expired += gone
            self._expired[arm] += gone
            self._emptied_by_expiry[site][arm] = not self.shelf(site, arm).level
            self._note(What.KITS_EXPIRED, site, arm, gone)
        return gone

    def _expiry_in_depots(self) -> Process:
        yield self._env.timeout(self._plan.expires_days)
        for depot in self._depots:
            for arm, stock in depot.items():
                gone = stock.expire(self._env.now)
                if gone:
                    self.ledger.in_depots -= gone
                    self.ledger.expired += gone
                    self._expired[arm] += gone
                    self._note(What.KITS_EXPIRED, -1, arm, gone)
