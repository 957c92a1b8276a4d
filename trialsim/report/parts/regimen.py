"""How much of a drug a patient gets: doses, injections, milligrams."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.protocol.design import Regimen
from trialsim.protocol.pool import dosing_of
from trialsim.protocol.scenario import Nature

__all__ = ["regimen_in_words"]

_INJECTED = ("subcutaneous", "intramuscular", "intravenous", "injection", "infusion")


def regimen_in_words(regimen: Regimen | None, nature: Nature) -> Iterator[str]:
    """Yield the doses of one patient and what they add up to; nothing where no dose is stated.

    A dose per m2 or per kg is counted in mg where `nature` states a patient's size.
    """
    dosing = dosing_of(regimen)
    if regimen is None or dosing is None:
        return
    route = (regimen.route or "").lower()
    what = "injections" if any(word in route for word in _INJECTED) else "doses"
    unit, _, per = dosing.dose.unit.partition("/")
    size = {"m2": nature.body_surface_m2, "kg": nature.body_weight_kg}.get(per)
    given = f"{dosing.n_doses} {what}, {dosing.given:g} {dosing.dose.unit} per patient"
    if size is not None:
        total = f"{dosing.given * size.value:.4g} {unit}"
        given += f" = {total} at {size} {per} ({size.source or 'assumed'})"
    elif per:
        given += f" (in {unit}: state nature.{_SIZES.get(per, 'body size')})"
    yield given


_SIZES = {"m2": "body_surface_m2", "kg": "body_weight_kg"}
