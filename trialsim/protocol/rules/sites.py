"""What must hold of sites, stated once, and of who leaves."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from trialsim.protocol.endpoints import BinaryEndpoint
from trialsim.protocol.operations import OperationalNature
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.template import Template
from trialsim.protocol.truths.site_enrolment import site_enrolment_of

__all__ = ["site_rules"]

Location = tuple[str | int, ...]
Found = Iterator[tuple[Location, str, str]]  # where, rule, remedy

_NO_SITE_OPENS = 1e-6  # of all trials: these would never be full
_LONGEST_YEARS = 100


def site_rules(template: Template) -> Found:
    """Find sites that never enrol everybody, kits that never last, two statements of who leaves."""
    protocol, nature, sites = template.protocol, template.nature, site_enrolment_of(template)
    if nature.dropout and nature.operations and nature.operations.withdrawal:
        here: Location = ("nature", "operations", "withdrawal")
        yield here, "says who leaves the trial, as nature.dropout does", "Keep one of the two."
    decided, cost = protocol.operations, template.cost
    planned = decided.sites.planned if decided else None
    if cost and cost.sites is not None and planned not in (None, cost.sites):
        rule = f"must be the {planned} of protocol.operations.sites.planned"
        yield ("cost", "sites"), rule, "State the number of sites once: leave out cost.sites."
    supply = decided.supply if decided else None
    transit = (nature.operations or OperationalNature()).shipping.takes.mean
    if supply and supply.expires and supply.expires.days <= transit.days:
        rule = f"is no longer than kits are on their way to a site ({transit})"
        here = ("protocol", "operations", "supply", "expires")
        yield here, rule, "Let kits last longer, or shorten nature.operations.shipping.takes."
    fixed_risk = isinstance(protocol.primary, BinaryEndpoint)
    for index, scenario in enumerate(template.scenarios):
        if scenario.exposure and (protocol.is_single_arm or not fixed_risk):
            rule = "is for two arms and a primary endpoint of kind binary"
            yield ("scenarios", index, "exposure"), rule, "Leave it out."
    if sites is None:
        return
    none_opens = sites.failing**sites.n_sites
    if none_opens > _NO_SITE_OPENS:
        here = ("nature", "operations", "activation", "failing")
        rule = f"leaves a trial of {sites.n_sites} sites without any in {none_opens:.2g} of cases"
        yield here, rule, "Plan more sites, lower it, or state nature.enrolment."
    n, days = protocol.n_total, sites.expected_day(protocol.n_total)
    years = days / DAYS_PER_UNIT["yr"]
    if years > _LONGEST_YEARS:
        here = ("nature", "operations", "recruitment", "per_site_month")
        time = f"{years:,.0f} years" if days < inf else "for ever"
        rule = f"would take {time} to enrol {n:,} patients at {sites.n_sites} sites"
        yield here, rule, "Plan more sites (protocol.operations.sites.planned), or raise it."
