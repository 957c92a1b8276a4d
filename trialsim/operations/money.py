"""What a trial costs, by category: as it was conducted, or as it is planned."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from trialsim.protocol.cost import Cost
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.template import Template
from trialsim.protocol.truths.pool import dosings_of

if TYPE_CHECKING:
    from trialsim.operations.conducted import ConductedTrial

__all__ = ["CATEGORIES", "Used", "costs_of", "planned_cost", "priced"]

CATEGORIES = (
    "start-up",
    "screening",
    "patients",
    "visits",
    "doses",
    "coordination",
    "sites",
    "looks",
)


@dataclass(frozen=True)
class Used:
    """What a trial is charged for; `site_months` are those of all sites together."""

    sites: float
    screened: float
    patients: float
    visits: float
    doses: float
    months: float
    site_months: float
    looks: float


def priced(used: Used, cost: Cost) -> dict[str, float]:
    """Return what it costs, by category, in the order of `CATEGORIES`."""
    amounts = (
        used.sites * cost.start_up.value,
        used.screened * cost.screening.value,
        used.patients * cost.per_patient.value,
        used.visits * cost.per_visit.value,
        used.doses * cost.per_dose.value,
        used.months * cost.per_month.value,
        used.site_months * cost.per_site_month.value,
        used.looks * cost.per_look.value,
    )
    return dict(zip(CATEGORIES, amounts, strict=True))


def costs_of(trial: ConductedTrial, cost: Cost, doses_per_kit: int) -> dict[str, float]:
    """Return the cost of a trial that ended, by category.

    Coordination is paid from the first patient in to the last data in, a site from its opening
    until then, a dose where it was given or could be given to nobody any more.
    """
    given = sum(arm.doses_taken + arm.doses_left_in_kits for arm in trial.arms)
    wasted = trial.ledger.wasted * doses_per_kit if trial.ledger else 0
    end = trial.locked
    used = Used(
        trial.sites_opened,
        trial.screened,
        len(trial.enrolled),
        trial.visits_held,
        given + wasted,
        (end - float(trial.enrolled[0])) / DAYS_PER_UNIT["mo"],
        sum(end - day for day in trial.openings if day < end) / DAYS_PER_UNIT["mo"],
        len(trial.looks),
    )
    return priced(used, cost)


def planned_cost(
    template: Template,
    n_patients: float,
    months: float,
    *,
    read_out_day: float,
    sites: int,
    looks: float,
    treated: float | None = None,
) -> float:
    """Return what a trial of that size and length costs; 0 without prices.

    Visits and doses are paid as planned, for every patient, and every site from the first patient
    in (assumed).

    Parameters
    ----------
    template : Template
    n_patients : float
    months : float
        From the first patient in to the last read-out.
    read_out_day : float
        Days since entry until which visits are paid.
    sites : int
    looks : float
        Analyses by the monitoring board.
    treated : float, optional
        Share in the experimental arm; left out, that of the file's ratio.
    """
    if template.cost is None:
        return 0.0
    if treated is None:
        first, second = template.protocol.ratio if not template.protocol.is_single_arm else (1, 0)
        treated = first / (first + second)
    experimental, control = _planned_doses(template)
    used = Used(
        sites,
        n_patients * template.nature.screened_per_patient,
        n_patients,
        n_patients * template.protocol.visits_by(read_out_day),
        n_patients * (treated * experimental + (1 - treated) * control),
        months,
        sites * months,
        looks,
    )
    return sum(priced(used, template.cost).values())


def _planned_doses(template: Template) -> tuple[int, int]:
    """Return the doses planned for a patient of the experimental and of the control arm."""
    protocol = template.protocol
    experimental, control = (
        sum(ceil(d.lasting.days / d.every.days - 1e-9) for d in dosings_of(arm.regimen))
        for arm in (protocol.experimental, protocol.control)
    )
    return experimental, control
