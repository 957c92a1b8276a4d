"""What a forecast rests on: every number, its source, and which are assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trialsim.protocol.operations import Delay, OperationalNature, Operations, WhileWaiting
from trialsim.protocol.quantities import SourcedNumber
from trialsim.protocol.survival import Dropout
from trialsim.protocol.template import Template
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import planned_sites

__all__ = ["Stated", "stated_of", "states_rate"]


@dataclass(frozen=True)
class Stated:
    """A number, in words, and who states it.

    Attributes
    ----------
    source : str
        Evidence id; empty where it is assumed.
    at_rest : bool
        Whether it is a default that leaves everything as if it were not there.
    """

    what: str
    value: str
    source: str = ""
    at_rest: bool = False

    def __str__(self) -> str:
        return f"{self.what} {self.value}"


def states_rate(template: Template) -> bool:
    """Whether a template says how fast an open site enrols."""
    happens = template.nature.operations
    return bool(happens and "per_site_month" in happens.recruitment.model_fields_set)


def stated_of(resolved: ResolvedTemplate, rate: float) -> tuple[Stated, ...]:
    """Return what decides over calendar, doses and kits; `rate` is that of an open site."""
    return tuple(_stated(resolved, rate))


def _stated(resolved: ResolvedTemplate, solved: float) -> Iterator[Stated]:
    template = resolved.template
    decided = template.protocol.operations or Operations()
    happens = template.nature.operations or OperationalNature()
    n, where = planned_sites(template.protocol, template.nature, template.cost)
    site_source = decided.sites.source or ""
    if where not in ("assumed", "protocol.operations.sites.planned"):
        site_source = where
    yield Stated("sites", f"{n:,}", site_source)
    over = decided.sites.invited_over
    yield Stated("invited over", str(over), at_rest=not over.days)
    yield _delayed("opening after", happens.activation.takes)
    yield _share("sites that never open", happens.activation.failing)
    rate = happens.recruitment.per_site_month
    by_enrolment = template.nature.enrolment and not states_rate(template)
    whence = "solved from nature.enrolment" if by_enrolment else rate.source or ""
    yield Stated("patients per open site and month", f"{solved:.4g}", whence)
    shape = happens.recruitment.shape
    if shape:
        yield Stated("gamma shape of site rates", f"{shape.value:g}", shape.source or "")
    else:
        yield Stated("all sites alike", "(no gamma shape)")
    ramp = happens.recruitment.ramp_up
    yield Stated("ramp-up", str(ramp or "none"), at_rest=ramp is None)
    for pause in happens.recruitment.pauses:
        yield Stated("no screening", f"from {pause.after} to {pause.until}")
    failures = template.nature.screening_failures
    value = f"{100 * failures.value:g}%" if failures else "0%"
    source = failures.source if failures else ""
    yield Stated("screening failures", value, source or "", at_rest=failures is None)
    yield _delayed("screening takes", happens.screening.takes)
    yield _share("withdrawn in screening", happens.screening.withdrawn)
    yield _share("doses missed", happens.adherence.missed)
    yield _hazard("drug stopped", happens.adherence.stopped)
    if happens.adherence.discharged:
        yield _delayed("discharged after", happens.adherence.discharged)
    yield _share("visits missed", template.nature.visits_missed)
    yield _hazard("leaving the trial", template.nature.loss_to_follow_up)
    yield _delayed("data entered after", happens.data_entry)
    if decided.board.deliberates.days:
        yield Stated("the board deliberates for", str(decided.board.deliberates))
    yield from _of_stages(template)
    supply = decided.supply
    if supply is None:
        yield Stated("a kit for every dose is always there", "(no 'supply')")
        return
    yield Stated("doses per kit", f"{supply.doses_per_kit}")
    yield Stated("kits at opening", f"{supply.kits_at_opening} an arm")
    yield Stated("reordering", f"at {supply.reorder_at} up to {supply.order_up_to}")
    made = f", {supply.produced.kits} every {supply.produced.every}" if supply.produced else ""
    yield Stated("kits in depots", f"{supply.kits_at_start} an arm at first{made}")
    yield Stated("kits expire after", str(supply.expires or "never"))
    yield _delayed("shipping takes", happens.shipping.takes)
    yield _share("kits damaged", happens.shipping.damaged)


def _of_stages(template: Template) -> Iterator[Stated]:
    """Yield what two stages of a single arm rest on that the rule itself does not say."""
    if template.protocol.two_stage is None:
        return
    decided = template.protocol.operations or Operations()
    waits = {WhileWaiting.GOES_ON: "goes on", WhileWaiting.PAUSES: "pauses"}
    yield Stated("recruitment", f"{waits[decided.board.between_stages]} while stage 1 is read out")
    if template.nature.visits_missed.value or template.nature.loss_to_follow_up:
        yield Stated("who is not read out", "counts as without the good outcome")


def _delayed(what: str, delay: Delay) -> Stated:
    spread = f" (CV {delay.cv:g})" if delay.cv else ""
    return Stated(what, f"{delay.mean}{spread}", delay.source or "", not delay.mean.days)


def _share(what: str, number: SourcedNumber) -> Stated:
    return Stated(what, f"{100 * number.value:g}%", number.source or "", not number.value)


def _hazard(what: str, dropout: Dropout | None) -> Stated:
    if dropout is None:
        return Stated(what, "nobody", at_rest=True)
    if dropout.rate_per_year is not None:
        rate = dropout.rate_per_year
        return Stated(what, f"{rate.value:g} per year", rate.source or "")
    assert dropout.share is not None  # one of both, by the model
    return Stated(
        what, f"{100 * dropout.share.value:g}% by {dropout.by}", dropout.share.source or ""
    )
