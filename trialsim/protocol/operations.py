"""How a trial is run: what the team decides of sites and supply, and what nature does to it.

`Operations` stands under ``protocol:``, `OperationalNature` under ``nature:``. Every field has a
default, so that a file which says nothing can be forecast; what is not in the file is assumed, or
has the source that stands beside it here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from trialsim.protocol.quantities import (
    Duration,
    Frozen,
    Id,
    Number,
    SourcedNumber,
    Text,
    Whole,
    broken,
    lenient_words,
)
from trialsim.protocol.survival import Dropout

__all__ = [
    "Activation",
    "Adherence",
    "Delay",
    "MonitoringBoard",
    "OperationalNature",
    "Operations",
    "Pause",
    "Production",
    "Proportion",
    "Recruitment",
    "Screening",
    "Sites",
    "Supply",
    "WhileWaiting",
    "WithoutKit",
]

_Kits = Annotated[Whole, Field(ge=0, le=1_000_000)]


class Proportion(SourcedNumber):
    """A share of some whole, from none of it to just below all."""

    value: Annotated[Number, Field(ge=0, lt=1)]


class Delay(Frozen):
    """A time that varies: gamma distributed with this mean and coefficient of variation.

    A `cv` of 0 makes it the same for all, 1 makes it exponential.
    """

    mean: Duration
    cv: Annotated[Number, Field(ge=0, le=3)] = 1.0
    source: Id | None = None
    note: Text | None = None


class Sites(Frozen):
    """How many sites are invited: evenly over a time, the first at its beginning.

    Left out, `planned` is ``cost.sites``, else the levels of a factor `site`, else 10 (assumed).
    """

    planned: Annotated[Whole, Field(ge=1, le=2000)] | None = None
    invited_over: Duration = Duration(0.0, "d")
    source: Id | None = None
    note: Text | None = None


class WithoutKit(StrEnum):
    """What happens to a dose for which the site has no kit."""

    SKIP = "skip"
    DELAY = "delay"


class Production(Frozen):
    """A batch of kits that reaches the depots at regular times."""

    every: Duration
    kits: Annotated[_Kits, Field(ge=1)]

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.every.days <= 0:
            raise broken("must take longer than no time", "Write for example 6 mo.")
        return self


class Supply(Frozen):
    """Kits of study drug, numbers of each arm's own kind: placebo is shipped as the drug is.

    A site gets `kits_at_opening`, and whenever it has at most `reorder_at` (on its shelf and on the
    way) enough to have `order_up_to`. `kits_at_start` lie in the depots on the first day; `expires`
    counts from the day a kit reaches the depot.
    """

    doses_per_kit: Annotated[Whole, Field(ge=1, le=10_000)]
    kits_at_opening: _Kits
    reorder_at: _Kits
    order_up_to: Annotated[_Kits, Field(ge=1)]
    kits_at_start: _Kits
    produced: Production | None = None
    depots: Annotated[Whole, Field(ge=1, le=50)] = 1
    expires: Duration | None = None
    without_kit: Annotated[WithoutKit, lenient_words(WithoutKit)] = WithoutKit.SKIP

    @model_validator(mode="after")
    def _in_order_and_not_empty(self) -> Self:
        if self.reorder_at >= self.order_up_to:
            rule = "must order up to more kits than it reorders at"
            raise broken(rule, "Raise 'order_up_to', or lower 'reorder_at'.")
        if not self.kits_at_start and not self.produced:
            raise broken("has no kit, ever", "Raise 'kits_at_start', or say what is 'produced'.")
        if self.expires and self.expires.days <= 0:
            raise broken("must have kits that last longer than no time", "Write for example 24 mo.")
        return self


class WhileWaiting(StrEnum):
    """What recruitment does from the last patient of stage 1 to the decision on it."""

    GOES_ON = "goes-on"
    PAUSES = "pauses"


class MonitoringBoard(Frozen):
    """How long the board takes from the data of an interim look to its decision.

    Patients go on entering until then; between two stages of a single arm nobody is screened where
    `between_stages` says that recruitment pauses. What the board decides is said by
    ``protocol.looks`` or ``protocol.two_stage``.
    """

    deliberates: Duration = Duration(0.0, "d")
    between_stages: Annotated[WhileWaiting, lenient_words(WhileWaiting)] = WhileWaiting.GOES_ON


class Operations(Frozen):
    """What the team decides of sites, supply and board; without `supply` a kit is always there."""

    sites: Sites = Sites()
    supply: Supply | None = None
    board: MonitoringBoard = MonitoringBoard()


class Pause(Frozen):
    """Calendar time, since the first invitation, in which nobody is screened."""

    after: Duration
    until: Duration

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until.days <= self.after.days:
            raise broken("must end after it begins", "Swap 'after' and 'until'.")
        return self


class PatientsPerSiteMonth(SourcedNumber):
    """Patients enrolled per open site and month (of 30.4375 days)."""

    value: Annotated[Number, Field(gt=0, le=10_000)]


class GammaShape(SourcedNumber):
    """Shape of the gamma distribution of the rates of sites (Anisimov and Fedorov 2007)."""

    value: Annotated[Number, Field(gt=0, le=10_000)]


class Activation(Frozen):
    """From invitation to opening: how long it takes, and the share of sites that never open."""

    takes: Delay = Delay(mean=Duration(0.0, "d"), cv=0.0)
    failing: Proportion = Proportion(value=0.0)


class Recruitment(Frozen):
    """How fast an open site enrols.

    `per_site_month` is the mean over sites, `shape` how they differ (left out: all alike); a site
    reaches its rate linearly over `ramp_up`.
    """

    per_site_month: PatientsPerSiteMonth = PatientsPerSiteMonth(value=0.92, source="walters-2017")
    shape: GammaShape | None = None
    ramp_up: Duration | None = None
    pauses: Annotated[tuple[Pause, ...], Field(max_length=20)] = ()


class Screening(Frozen):
    """From screening to randomisation; who fails it is said by ``nature.screening_failures``."""

    takes: Delay = Delay(mean=Duration(0.0, "d"), cv=0.0)
    withdrawn: Proportion = Proportion(value=0.0)


class Adherence(Frozen):
    """What becomes of planned doses.

    `missed`: each dose is missed by itself; `stopped`: the drug is stopped, follow-up goes on;
    `discharged`: who leaves the hospital gets no further dose.
    """

    missed: Proportion = Proportion(value=0.0)
    stopped: Dropout | None = None
    discharged: Delay | None = None


class Shipping(Frozen):
    """From the depot to a site: how long it takes, and the share of kits damaged on the way."""

    takes: Delay = Delay(mean=Duration(5.0, "d"), cv=0.0, note="assumed")
    damaged: Proportion = Proportion(value=0.0)


class OperationalNature(Frozen):
    """What nature decides about the conduct of a trial; times count from the first invitation."""

    activation: Activation = Activation()
    recruitment: Recruitment = Recruitment()
    screening: Screening = Screening()
    adherence: Adherence = Adherence()
    visits_missed: Proportion = Proportion(value=0.0)
    withdrawal: Dropout | None = None
    data_entry: Delay = Delay(mean=Duration(0.0, "d"), cv=0.0)
    shipping: Shipping = Shipping()
