"""What must hold of sites, stated once, and of who leaves."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from trialsim.errors import counted
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import CompetingEndpoint, ResponseEndpoint, TimeToEventEndpoint
from trialsim.protocol.operations import OperationalNature, WhileWaiting
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.scenario import Scenario
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
    pauses = decided and decided.board.between_stages is WhileWaiting.PAUSES
    if pauses and not protocol.two_stage:
        here = ("protocol", "operations", "board", "between_stages")
        rule = "is for two stages of a single arm, which this trial does not have"
        yield here, rule, "Leave it out, or add two_stage."
    supply = decided.supply if decided else None
    transit = (nature.operations or OperationalNature()).shipping.takes.mean
    if supply and supply.expires and supply.expires.days <= transit.days:
        rule = f"is no longer than kits are on their way to a site ({transit})"
        here = ("protocol", "operations", "supply", "expires")
        yield here, rule, "Let kits last longer, or shorten nature.operations.shipping.takes."
    for index, scenario in enumerate(template.scenarios):
        if scenario.exposure and (why := _indivisible(scenario, protocol)):
            yield ("scenarios", index, "exposure"), *why
    if sites is None:
        return
    none_opens = sites.failing**sites.n_sites
    if none_opens > _NO_SITE_OPENS:
        here = ("nature", "operations", "activation", "failing")
        trial = f"a trial of {counted(sites.n_sites, 'site')}"
        rule = f"leaves {trial} without any in {none_opens:.2g} of cases"
        yield here, rule, "Plan more sites, lower it, or state nature.enrolment."
    n, days = protocol.n_total, sites.expected_day(protocol.n_total)
    years = days / DAYS_PER_UNIT["yr"]
    if years > _LONGEST_YEARS:
        here = ("nature", "operations", "recruitment", "per_site_month")
        time = f"{years:,.0f} years" if days < inf else "for ever"
        at = counted(sites.n_sites, "site")
        rule = f"would take {time} to enrol {counted(n, 'patient')} at {at}"
        yield here, rule, "Plan more sites (protocol.operations.sites.planned), or raise it."


def _indivisible(scenario: Scenario, protocol: Protocol) -> tuple[str, str] | None:
    """Return why no patient can have a share of an effect, and what to do; None where one can."""
    if protocol.is_single_arm:
        return "is for two arms: a single one shows no effect to have a share of", "Leave it out."
    match protocol.primary:
        case ResponseEndpoint():
            rule = "is for an effect that is one number: two courses of response are many hazards"
            return rule, "Leave it out; 'trialsim regimens' says what fewer doses do to a pool."
        case CompetingEndpoint():
            rule = "is for an effect on one event: of two that compete, a share of each is unclear"
            return rule, "Leave it out."
        case TimeToEventEndpoint():
            stated = scenario.survival
            if stated and (stated.hazard_ratios or stated.treated):
                rule = "is for one hazard ratio at all times: of others, when a dose acts matters"
                return rule, "State survival: {hazard_ratio: 0.7}, or leave it out."
            if any(m.endpoint in (None, protocol.primary.id) for m in scenario.modifiers):
                rule = "is for one hazard ratio in everyone, not beside 'modifiers' of it"
                return rule, "Keep one of the two."
    return None
