"""What one simulated trial's conduct costs, by category."""

from __future__ import annotations

from trialsim.operations.conducted import ConductedTrial
from trialsim.operations.plan import DAYS_PER_MONTH
from trialsim.protocol.cost import Cost

__all__ = ["CATEGORIES", "costs_of"]

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


def costs_of(trial: ConductedTrial, cost: Cost, doses_per_kit: int) -> dict[str, float]:
    """Return the cost of a trial that filled, by category, in the order of `CATEGORIES`.

    Coordination is paid from the first patient in to the last data in, a site from its opening
    until then, a dose where it was given or could be given to nobody any more.
    """
    given = sum(arm.doses_taken + arm.doses_left_in_kits for arm in trial.arms)
    wasted = trial.ledger.wasted * doses_per_kit if trial.ledger else 0
    end = trial.locked
    months = (end - float(trial.enrolled[0])) / DAYS_PER_MONTH
    site_months = sum(end - day for day in trial.openings if day < end) / DAYS_PER_MONTH
    amounts = (
        trial.sites_opened * cost.start_up.value,
        trial.screened * cost.screening.value,
        len(trial.enrolled) * cost.per_patient.value,
        trial.visits_held * cost.per_visit.value,
        (given + wasted) * cost.per_dose.value,
        months * cost.per_month.value,
        site_months * cost.per_site_month.value,
        len(trial.looks) * cost.per_look.value,
    )
    return dict(zip(CATEGORIES, amounts, strict=True))
