"""How many are screened for the patients a size asks for, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from trialsim.operations.money import planned_cost
from trialsim.protocol.quantities import DAYS_PER_UNIT, SourcedNumber
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import stated_sites
from trialsim.trial import Measure, Row

__all__ = ["Screened", "screened_for", "screening_rows"]

_RATE = (
    "patients enter at one rate, whatever their number, and every visit and dose is paid (assumed)"
)


@dataclass(frozen=True)
class Screened:
    """Patients screened for so many enrolled.

    Attributes
    ----------
    n, of : int
        Screened, and enrolled of these.
    failures : SourcedNumber
        The share that is not enrolled.
    unit : str
        Currency and year; empty where no price is stated.
    screening, trial : float or None
        Cost of screening them, and of the whole trial; None where prices or months are not stated.
    """

    n: int
    of: int
    failures: SourcedNumber
    unit: str
    screening: float | None
    trial: float | None

    @property
    def in_words(self) -> str:
        """One sentence for screen and protocol."""
        known = self.failures.source or self.failures.note or "assumed"
        said = (
            f"About {self.n:,} are screened to enrol {self.of:,}: "
            f"{100 * self.failures.value:.3g}% of those screened are not enrolled ({known})"
        )
        if self.screening is not None:
            said += f". Screening them costs {self.screening:,.0f} {self.unit}"
            if self.trial is not None:
                said += f", the whole trial {self.trial:,.0f}; {_RATE}"
        return f"{said}."


def screened_for(resolved: ResolvedTemplate, enrolled: int) -> Screened | None:
    """Return who is screened so that so many are enrolled; None where failures are not stated."""
    nature, cost = resolved.template.nature, resolved.template.cost
    if nature.screening_failures is None:
        return None
    n = ceil(enrolled * nature.screened_per_patient - 1e-9)
    screening = trial = None
    if cost and cost.screening.value:
        screening = n * cost.screening.value
        months = _months(resolved, enrolled)
        if months is not None:
            protocol = resolved.template.protocol
            day = protocol.primary.read_out.days_after_entry(protocol.therapy)
            trial = planned_cost(
                resolved.template,
                enrolled,
                months,
                read_out_day=day,
                sites=stated_sites(resolved.template) or 1,
                looks=len(protocol.looks) or 1,
            )
    unit = f"{cost.currency} of {cost.year}" if cost else ""
    return Screened(n, enrolled, nature.screening_failures, unit, screening, trial)


def _months(resolved: ResolvedTemplate, enrolled: int) -> float | None:
    """Return the time from the first patient in to the last read-out; None if not stated."""
    nature, protocol = resolved.template.nature, resolved.template.protocol
    if nature.enrolment is None:
        return None
    lag = protocol.read_out_lag.days if protocol.read_out_lag else 0.0
    entering = nature.enrolment.last_day * enrolled / protocol.n_total
    read = protocol.primary.read_out.days_after_entry(protocol.therapy)
    return (entering + read + lag) / DAYS_PER_UNIT["mo"]


def screening_rows(screened: Screened | None, blank: Row) -> Iterator[Row]:
    """Yield how many are screened, and the cost of screening and of the trial where stated."""
    if screened is None:
        return
    failures = screened.failures
    status = None if failures.source else "assumed"
    told = replace(blank, source=failures.source, status=status, headline=None, level=None)
    yield replace(
        told,
        measure=Measure.N_SCREENED,
        value=float(screened.n),
        analysis=f"to enrol {screened.of:,}",
        unit="patients",
    )
    for words, money in (("screening", screened.screening), ("whole trial", screened.trial)):
        if money is not None:
            yield replace(
                told, measure=Measure.COST, value=money, analysis=words, unit=screened.unit
            )
