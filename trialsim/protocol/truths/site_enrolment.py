"""When patients enter a trial whose sites are stated, and who leaves it: resolved, in days.

A template with `operations` and without ``nature.enrolment`` enrols as its sites do. What is
expected of them is a curve, for formulas; what is drawn of them is in `trialsim.operations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from trialsim.errors import counted
from trialsim.protocol.endpoints import ResponseEndpoint, TimeToEventEndpoint
from trialsim.protocol.operations import Delay, OperationalNature, Operations
from trialsim.protocol.quantities import DAYS_PER_UNIT, Duration, Share
from trialsim.protocol.survival import Enrolment, EnrolmentPiece, HazardCurve

if TYPE_CHECKING:
    from trialsim.protocol.cost import Cost
    from trialsim.protocol.design import Protocol
    from trialsim.protocol.scenario import Nature
    from trialsim.protocol.template import Template

__all__ = [
    "ASSUMED_SITES",
    "EVERYONE_READ_OUT",
    "LEFT_OUT",
    "SITE_FACTORS",
    "SiteEnrolment",
    "enrolment_in_words",
    "enrolment_of",
    "left_out_of",
    "merged",
    "planned_sites",
    "site_enrolment_of",
    "sites_of",
    "stated_sites",
]

ASSUMED_SITES = 10
LEFT_OUT = (  # of trials that are drawn at once, and not event by event
    "supply of kits and stock-outs",
    "single doses and adherence",
    "visits",
    "the lag of data entry",
    "differences between sites in patients and outcomes",
)
EVERYONE_READ_OUT = "who leaves or misses the read-out: everyone is analysed"
SITE_FACTORS = ("site", "sites", "centre", "center")
_PIECES = 40  # of the expected curve
_LONGEST_DAYS = 1e9


@dataclass(frozen=True)
class SiteEnrolment:
    """Sites, how fast they enrol, and who leaves.

    Attributes
    ----------
    per_day : float
        Mean over sites of patients enrolled per open site and day at full rate.
    shape : float
        Of the gamma distribution of rates; infinity where all sites are alike.
    pauses : tuple of (after, until)
        Days without screening, in order, without overlap.
    passing : float
        Share of the patients screened who are randomised.
    leaving : HazardCurve or None
        When patients leave the trial; None for never.
    """

    n_sites: int
    invited_over_days: float
    activation: Delay
    failing: float
    per_day: float
    shape: float
    ramp_up_days: float
    pauses: tuple[tuple[float, float], ...]
    screening: Delay
    passing: float
    leaving: HazardCurve | None

    def invitation_day(self, site: int) -> float:
        """Return when a site, from 0, is invited: evenly, the first on day 0."""
        return self.invited_over_days * site / (self.n_sites - 1) if self.n_sites > 1 else 0.0

    def expected_enrolled(self, day: float) -> float:
        """Return how many to expect by a day if every site opened after its mean delay."""
        until, total = day - self.screening.mean.days, 0.0
        for site in range(self.n_sites):
            opened = self.invitation_day(site) + self.activation.mean.days
            total += self._days_at_full_rate(opened, until)
        return total * self.per_day * (1 - self.failing)

    def _days_at_full_rate(self, opened: float, day: float) -> float:
        def ramped(end: float) -> float:
            since, ramp = max(end - opened, 0.0), self.ramp_up_days
            return since - ramp / 2 if since >= ramp else since**2 / (2 * ramp)

        lost = sum(
            ramped(min(until, day)) - ramped(min(after, day)) for after, until in self.pauses
        )
        return ramped(day) - lost

    def expected_day(self, n: float) -> float:
        """Return the day by which `n` are to be expected; infinity for never."""
        low, high = 0.0, 1.0
        while self.expected_enrolled(high) < n:
            low, high = high, 2 * high
            if high > _LONGEST_DAYS:
                return inf
        for _ in range(50):
            middle = (low + high) / 2
            short = self.expected_enrolled(middle) < n
            low, high = (middle, high) if short else (low, middle)
        return high


@lru_cache(maxsize=64)
def _as_enrolment(sites: SiteEnrolment, n: int) -> Enrolment:
    first = sites.expected_day(1)
    pieces = tuple(
        EnrolmentPiece(
            until=Duration(sites.expected_day(1 + (n - 1) * (k + 1) / _PIECES) - first, "d"),
            share=Share(value=1 / _PIECES),
        )
        for k in range(_PIECES)
    )
    return Enrolment(piecewise=pieces)


def planned_sites(protocol: Protocol, nature: Nature, cost: Cost | None) -> tuple[int, str]:
    """Return the number of sites, and where it is stated."""
    if protocol.operations and protocol.operations.sites.planned is not None:
        return protocol.operations.sites.planned, "protocol.operations.sites.planned"
    if cost and cost.sites is not None:
        return cost.sites, "cost.sites"
    for factor in nature.factors:
        if factor.id in SITE_FACTORS and factor.equal_levels:
            return factor.equal_levels, f"nature.factors.{factor.id}"
    return ASSUMED_SITES, "assumed"


def stated_sites(template: Template) -> int | None:
    """Return the number of sites where operations or prices state it."""
    decided, cost = template.protocol.operations, template.cost
    planned = decided.sites.planned if decided else None
    return planned or (cost.sites if cost else None)


def merged(pauses: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return stretches of time without overlap, in order."""
    found: list[tuple[float, float]] = []
    for after, until in sorted(pauses):
        if found and after <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((after, until))
    return tuple(found)


def sites_of(template: Template) -> SiteEnrolment:
    """Resolve sites, recruitment and leaving; what a template does not say has its default."""
    protocol, nature = template.protocol, template.nature
    decided = protocol.operations or Operations()
    happens = nature.operations or OperationalNature()
    recruitment = happens.recruitment
    failures = nature.screening_failures.value if nature.screening_failures else 0.0
    return SiteEnrolment(
        planned_sites(protocol, nature, template.cost)[0],
        decided.sites.invited_over.days,
        happens.activation.takes,
        happens.activation.failing.value,
        recruitment.per_site_month.value / DAYS_PER_UNIT["mo"],
        recruitment.shape.value if recruitment.shape else inf,
        recruitment.ramp_up.days if recruitment.ramp_up else 0.0,
        merged([(pause.after.days, pause.until.days) for pause in recruitment.pauses]),
        happens.screening.takes,
        (1 - failures) * (1 - happens.screening.withdrawn.value),
        nature.leaving.curve if nature.leaving else None,
    )


def site_enrolment_of(template: Template) -> SiteEnrolment | None:
    """Return how sites enrol, where they decide when patients enter and that matters; else None.

    They decide where `operations` are stated and ``nature.enrolment`` is not. It matters to looks
    and to times to an event: a risk read once is the same whenever patients come.
    """
    protocol, nature = template.protocol, template.nature
    stated = (protocol.operations or nature.operations) and nature.enrolment is None
    matters = protocol.looks or isinstance(protocol.primary, TimeToEventEndpoint)
    return sites_of(template) if stated and matters else None


def enrolment_of(template: Template) -> Enrolment | None:
    """Return when patients enter: as stated, or as is expected of the sites; None for unknown.

    The latter counts from the first patient to be expected.
    """
    sites = site_enrolment_of(template)
    if sites is None:
        return template.nature.enrolment
    n = template.protocol.n_total
    return _as_enrolment(sites, n) if sites.expected_day(n) < inf else None


def left_out_of(template: Template) -> tuple[str, ...]:
    """Return what power leaves out of a trial's conduct that the file may state.

    Of times to an event who leaves is censored; courses of response have who is lost in them.
    """
    nature, primary = template.nature, template.protocol.primary
    said = LEFT_OUT if site_enrolment_of(template) else ()
    lost = nature.leaving or nature.visits_missed.value
    in_it = isinstance(primary, TimeToEventEndpoint | ResponseEndpoint)
    return (*said, EVERYONE_READ_OUT) if lost and not in_it else said


def enrolment_in_words(template: Template) -> str:
    """Return who decides when patients enter where sites are stated; empty where all is one."""
    protocol, nature = template.protocol, template.nature
    if not (protocol.operations or nature.operations):
        return ""
    if nature.enrolment:
        return (
            "Patients enter as nature.enrolment states; what operations say of sites and "
            "recruitment is for 'forecast' alone."
        )
    sites = site_enrolment_of(template)
    if sites is None:
        return ""  # nothing depends on it
    number, where = planned_sites(protocol, nature, template.cost)
    rate = sites.per_day * DAYS_PER_UNIT["mo"]
    spread = "all alike" if sites.shape == inf else f"gamma distributed with shape {sites.shape:g}"
    months = sites.expected_day(protocol.n_total) / DAYS_PER_UNIT["mo"]
    return (
        f"Patients enter as sites enrol them: {counted(number, 'site')} ({where}), {rate:.3g} "
        f"patients per open site and month, {spread}; all are expected about {months:.3g} months "
        "after the first invitation. Times count from the first patient. Left out: "
        f"{'; '.join(left_out_of(template))}."
    )
